"""What presentation states say of a frame."""

from __future__ import annotations

import pytest

from dcmkit.dataset.dictionary import look_up
from dcmkit.dataset.elements import Element, element, encode
from dcmkit.dataset.part10 import file_meta
from dcmkit.errors import InputError, InvalidDataSetError, UnsupportedSyntaxError
from dcmkit.pixels import presentation
from dcmkit.pixels.luts import Lut, Rescale, Window
from dcmkit.pixels.overlays import find_overlays
from dcmkit.pixels.presentation import PresentationState, Shutters

GSPS = presentation.GRAYSCALE
UID = "1.2.3"


def made(**values):
    """A data set by keyword."""
    found = {}
    for keyword, value in values.items():
        tag, vr = look_up(keyword)
        found[tag] = Element(vr, value) if isinstance(value, bytes | list) else element(tag, str(value), vr)
    return found


def refers(uid=UID, frame=""):
    return [made(ReferencedSOPInstanceUID=uid, ReferencedFrameNumber=frame)]


def state(**values):
    series = [made(ReferencedImageSequence=refers())]
    return made(SOPClassUID=GSPS, ReferencedSeriesSequence=series, PresentationLUTShape="IDENTITY", **values)


def test_an_image_it_does_not_refer_to():
    with pytest.raises(InvalidDataSetError, match="does not refer"):
        PresentationState(state()).view("1.2.4", 0)


@pytest.mark.parametrize("number", ["4", "8", "99"])
def test_kinds_that_cannot_be_shown_are_refused(number):
    with pytest.raises(UnsupportedSyntaxError):
        PresentationState(made(SOPClassUID=f"1.2.840.10008.5.1.4.1.1.11.{number}"))


def test_what_is_no_state():
    with pytest.raises(InvalidDataSetError):
        PresentationState(made(SOPClassUID="1.2.840.10008.5.1.4.1.1.2"))


def test_windows_by_image_and_frame():
    items = [
        made(ReferencedImageSequence=refers(frame="1"), WindowCenter="1", WindowWidth="10"),
        made(
            ReferencedImageSequence=refers(frame="2\\3"), WindowCenter="2", WindowWidth="20", VOILUTFunction="SIGMOID"
        ),
    ]
    found = PresentationState(state(SoftcopyVOILUTSequence=items, RescaleSlope="2", RescaleIntercept="-5"))
    assert found.view(UID, 0).voi == Window(1, 10)
    assert found.view(UID, 2).voi == Window(2, 20, "SIGMOID")
    assert found.view(UID, 3).voi is None
    assert found.view(UID, 0).modality == Rescale(2, -5)


def test_presentation_luts_and_shapes():
    table = made(LUTDescriptor="2\\0\\8", LUTData="255\\0")
    values = state(PresentationLUTSequence=[table])
    assert isinstance(PresentationState(values).view(UID, 0).presentation, Lut)
    inverse = {**state(), **made(PresentationLUTShape="INVERSE")}
    assert PresentationState(inverse).view(UID, 0).inverted


def test_displayed_area():
    item = made(
        DisplayedAreaTopLeftHandCorner="30\\1", DisplayedAreaBottomRightHandCorner="11\\20",
        PresentationSizeMode="MAGNIFY", PresentationPixelAspectRatio="2\\1", PresentationPixelMagnificationRatio="1.5",
    )  # fmt: skip
    view = PresentationState(state(DisplayedAreaSelectionSequence=[item], ImageRotation="90", ImageHorizontalFlip="Y"))
    found = view.view(UID, 0)
    assert found.area == presentation.Area(11, 1, 30, 20, "MAGNIFY", 2.0, 1.5)
    assert (found.rotation, found.flipped) == (90, True)


def test_displayed_area_without_corners():
    with pytest.raises(InvalidDataSetError):
        PresentationState(state(DisplayedAreaSelectionSequence=[made(PresentationSizeMode="MAGNIFY")])).view(UID, 0)


def test_shutters():
    values = made(
        ShutterShape="RECTANGULAR\\CIRCULAR", ShutterLeftVerticalEdge="2", ShutterRightVerticalEdge="7",
        ShutterUpperHorizontalEdge="3", ShutterLowerHorizontalEdge="6", CenterOfCircularShutter="5\\5",
        RadiusOfCircularShutter="4", ShutterPresentationValue="32768",
    )  # fmt: skip
    shutters = presentation.read_shutters(values)
    assert shutters.level == pytest.approx(0.5, abs=1e-4)
    kept = presentation.uncovered(shutters, 10, 10)
    assert not kept[:2].any()
    assert not kept[6:].any()
    assert kept[4, 1:7].all()
    assert kept.sum() == 4 * 6


def test_polygonal_and_bitmap_shutters():
    polygon = presentation.read_shutters(
        made(ShutterShape="POLYGONAL", VerticesOfThePolygonalShutter="1\\1\\1\\5\\5\\5")
    )
    kept = presentation.uncovered(polygon, 5, 5)
    assert kept[0, 3]
    assert not kept[4, 0]
    overlay = made(OverlayRows="2", OverlayColumns="2", OverlayOrigin="1\\1", OverlayData=b"\x01\x00")
    (found,) = find_overlays(overlay)
    assert presentation.uncovered(Shutters(overlay=found), 2, 2).tolist() == [[False, True], [True, True]]


def test_no_shutter():
    assert presentation.read_shutters(made(ShutterShape="RECTANGULAR")) is None


def test_annotations_by_layer_order():
    layers = [
        made(GraphicLayer="TOP", GraphicLayerOrder="2", GraphicLayerRecommendedDisplayGrayscaleValue="65535"),
        made(GraphicLayer="LOW", GraphicLayerOrder="1", GraphicLayerRecommendedDisplayGrayscaleValue="0"),
    ]
    graphic = made(
        GraphicAnnotationUnits="DISPLAY", GraphicData="0\\0\\1\\1", GraphicType="POLYLINE", GraphicFilled="N"
    )
    note = made(
        AnchorPointAnnotationUnits="PIXEL", UnformattedTextValue="here", AnchorPoint="5\\6", AnchorPointVisibility="Y"
    )
    annotations = [
        made(GraphicLayer="TOP", GraphicObjectSequence=[graphic]),
        made(GraphicLayer="LOW", GraphicObjectSequence=[graphic], TextObjectSequence=[note]),
        made(GraphicLayer="TOP", ReferencedImageSequence=refers("9.9"), GraphicObjectSequence=[graphic]),
    ]
    found = PresentationState(state(GraphicLayerSequence=layers, GraphicAnnotationSequence=annotations)).view(UID, 0)
    assert [one.level for one in found.graphics] == [0, 1]
    assert found.graphics[0].points == ((0, 0), (1, 1))
    assert found.graphics[0].of_display
    assert found.notes[0].text == "here"
    assert found.notes[0].place == (5, 6)


def test_windows_of_an_image_come_before_its_luts():
    table = made(LUTDescriptor="2\\0\\8", LUTData="255\\0", LUTExplanation="BONE")
    item = made(
        WindowCenter="1\\2\\3", WindowWidth="10\\0\\30", WindowCenterWidthExplanation="A\\B\\C", VOILUTSequence=[table]
    )
    found = presentation.read_vois(item)
    assert [one.explanation for one in found] == ["A", "C", "BONE"]


def test_files(tmp_path):
    file = tmp_path / "state"
    values = state(SOPInstanceUID="1.2.5")
    meta = file_meta(GSPS, "1.2.5", "1.2.840.10008.1.2.1")
    file.write_bytes(meta + encode(values, "1.2.840.10008.1.2.1"))
    assert presentation.read_state(file).view(UID, 0).rotation == 0
    with pytest.raises(InputError):
        presentation.read_state(tmp_path / "missing")
