"""The whole way of a frame, against values worked out by hand."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file

from dcmkit.dataset.elements import Element
from dcmkit.errors import DcmkitError, InvalidDataSetError, UnsupportedSyntaxError, UsageError
from dcmkit.pixels.description import PixelDescription
from dcmkit.pixels.frames import Decoded
from dcmkit.pixels.image_file import ImageFile
from dcmkit.pixels.presentation import PresentationState
from dcmkit.pixels.raster import Region
from dcmkit.pixels.render import Rendering, extent, frame_delays, frame_elements, render, render_decoded
from tests.pixels.test_presentation import UID, made, state

ROW = np.array([[0, 25, 50, 75, 100]], np.uint8)


def shown(
    array, how=None, *, photometric="MONOCHROME2", bits=0, signed=None, frame=0, shift=0, elements=None, **values
):
    allocated = array.dtype.itemsize * 8
    bits = bits or allocated
    signed = array.dtype.kind == "i"
    description = PixelDescription(
        array.shape[0], array.shape[1], 1 if array.ndim == 2 else 3, photometric, allocated, bits, bits - 1 + shift,
        int(signed),
    )  # fmt: skip
    decoded = Decoded(array, photometric, bits, signed)
    return render_decoded(decoded, description, made(**values), frame, how or Rendering())


# --- grey ---


def test_eight_bits_without_a_window_are_as_they_are():
    assert shown(ROW).tolist() == ROW.tolist()


def test_others_without_a_window_go_from_percentile_to_percentile():
    assert shown(ROW.astype(np.int16) * 10 - 500).tolist() == [[0, 64, 128, 191, 255]]
    image = np.arange(1000, dtype=np.int16)[None] + 100
    image[0, :5], image[0, -5:] = -30000, 30000
    found = shown(image, RescaleSlope="2", RescaleIntercept="7")[0]
    assert (found[10], found[11], found[989], found[988]) == (0, 0, 255, 255)
    assert int(found[500]) == 128
    assert [int(found[0]), int(found[-1])] == [0, 255]
    image[:] = -30000  # what is not an image is not measured
    image[0, 900:] = np.arange(100) * 10
    assert shown(image, PixelPaddingValue="-30000")[0, 950] == 129


def test_where_nearly_all_is_one_value_the_rest_is_shown_too():
    image = np.zeros((40, 40), np.uint16)
    image[3, 4], image[3, 5] = 100, 400
    assert shown(image)[3, 3:6].tolist() == [0, 64, 255]


def test_large_images_are_measured_by_a_part_of_their_pixels():
    image = np.tile(np.arange(2000, dtype=np.uint16), (1500, 1))
    assert abs(int(shown(image)[0, 1000]) - 128) <= 1


def test_modality_luts_that_are_not_in_order_are_measured_behind():
    table = made(LUTDescriptor="3\\0\\12", LUTData="500\\100\\900")
    image = np.array([[0, 1, 2]], np.uint16)
    assert shown(image, bits=12, ModalityLUTSequence=[table]).tolist() == [[128, 0, 255]]


def test_the_first_window_is_taken_after_the_modality_lut():
    found = shown(ROW, RescaleSlope="2", RescaleIntercept="-100", WindowCenter="0.5\\9", WindowWidth="101\\9")
    assert found.tolist() == [[0, 0, 128, 255, 255]]  # stored 25 is -50: ((-50 - 0) / 100 + 0.5) * 255


def test_windows_by_number_name_and_lut():
    table = made(LUTDescriptor="101\\0\\8", LUTData="\\".join(str(n) for n in range(101)), LUTExplanation="SOFT")
    values = {
        "WindowCenter": "50\\25", "WindowWidth": "101\\2", "WindowCenterWidthExplanation": "WIDE\\Narrow",
        "VOILUTSequence": [table],
    }  # fmt: skip
    assert shown(ROW, Rendering(voi="preset", preset=2), **values).tolist() == [[0, 255, 255, 255, 255]]
    assert shown(ROW, Rendering(voi="preset", preset="narrow"), **values).tolist() == [[0, 255, 255, 255, 255]]
    assert shown(ROW, Rendering(voi="lut"), **values).tolist() == ROW.tolist()
    assert shown(ROW, Rendering(voi="preset", preset="soft"), **values).tolist() == ROW.tolist()
    for how in (Rendering(voi="preset", preset=3), Rendering(voi="lut", preset=2), Rendering(voi="preset", preset="x")):
        with pytest.raises(InvalidDataSetError, match="there is no"):
            shown(ROW, how, **values)


def test_a_window_of_ones_own_and_functions():
    assert shown(ROW, Rendering(window=(50, 100), function="LINEAR_EXACT")).tolist() == [[0, 64, 128, 191, 255]]
    assert shown(ROW, Rendering(window=(50, 100), function="SIGMOID"))[0, 2] == 128


def test_measured_windows():
    array = np.array([[-2000, 0, 10, 90, 100, 100]], np.int16)
    values = {"PixelPaddingValue": "-2000"}
    assert shown(array, Rendering(voi="minmax"), **values).tolist() == [[0, 0, 25, 230, 255, 255]]
    assert shown(array, Rendering(voi="minmax", padding=False), **values)[0, 1] == 243
    assert shown(array, Rendering(voi="minmax-inner"), **values).tolist() == [[0, 0, 0, 255, 255, 255]]
    assert shown(array, Rendering(voi="percentiles", percentiles=(0, 100)), **values)[0, 3] == 230
    assert shown(array, Rendering(voi="minmax", window_of=Region(2, 0, 2, 1)))[0].tolist() == [0, 0, 0, 255, 255, 255]
    with pytest.raises(UsageError):
        shown(array, Rendering(voi="percentiles", percentiles=(9, 1)))


def test_all_that_could_be():
    assert shown(np.array([[0, 4095]], np.uint16), Rendering(voi="none"), bits=12).tolist() == [[0, 255]]
    assert shown(np.array([[-8, 7]], np.int8), Rendering(voi="none"), bits=4).tolist() == [[0, 255]]


def test_monochrome1_and_the_shape_inverse_say_the_same():
    assert shown(ROW, photometric="MONOCHROME1").tolist() == (255 - ROW).tolist()
    assert shown(ROW, photometric="MONOCHROME1", PresentationLUTShape="INVERSE").tolist() == (255 - ROW).tolist()
    assert shown(ROW, photometric="MONOCHROME1", how=Rendering(invert=True)).tolist() == ROW.tolist()
    assert shown(ROW, Rendering(shape="INVERSE")).tolist() == (255 - ROW).tolist()


def test_modality_luts_and_x_ray_images_that_must_not_have_theirs():
    table = made(LUTDescriptor="3\\0\\8", LUTData="0\\255\\128")
    array = np.array([[0, 1, 2]], np.uint16)
    assert shown(array, Rendering(voi="none"), ModalityLUTSequence=[table]).tolist() == [[0, 255, 128]]
    xa = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.12.1", "PixelIntensityRelationship": "LOG"}
    assert shown(array, Rendering(window=(1.5, 3)), ModalityLUTSequence=[table], **xa).tolist() == [[0, 128, 255]]


def test_deep_floats_bits_and_words():
    assert shown(ROW, Rendering(depth=16))[0, 4] == 100 * 257
    assert shown(np.array([[0.25, 0.5, 0.75]], np.float32)).tolist() == [[0, 128, 255]]
    assert shown(np.array([[np.nan, 0, 1]], np.float64)).tolist() == [[0, 0, 255]]
    assert shown(np.array([[0, 1]], np.uint8), bits=1).tolist() == [[0, 255]]
    assert shown(np.array([[-(2**31), 2**31 - 1]], np.int32)).tolist() == [[0, 255]]


def test_bits_around_the_value_do_not_matter():
    array = np.array([[0xF00F, 0xF0FF]], np.uint16)
    assert shown(array, Rendering(window=(8, 16)), bits=4, shift=4).tolist() == [[0, 255]]


def test_functional_groups_go_before_the_object_and_are_by_frame():
    def group(center):
        return made(FrameVOILUTSequence=[made(WindowCenter=center, WindowWidth="1")])

    shared = made(PixelValueTransformationSequence=[made(RescaleSlope="1", RescaleIntercept="-1000")])
    values = {
        "SharedFunctionalGroupsSequence": [shared], "PerFrameFunctionalGroupsSequence": [group("-990"), group("-900")],
        "WindowCenter": "5", "WindowWidth": "1",
    }  # fmt: skip
    assert shown(ROW, frame=0, **values).tolist() == [[0, 255, 255, 255, 255]]
    assert shown(ROW, frame=1, **values).tolist() == [[0, 0, 0, 0, 255]]
    assert frame_elements(made(**values), 5)  # fewer groups than frames


# --- colours ---


def test_colours_are_windowed_only_when_asked():
    array = np.array([[[0, 100, 200], [250, 50, 0]]], np.uint8)
    assert shown(array, photometric="RGB", WindowCenter="1", WindowWidth="1").tolist() == array.tolist()
    assert shown(array, Rendering(window=(101.5, 2)), photometric="RGB").tolist() == [[[0, 0, 255], [255, 0, 0]]]
    assert shown(array, Rendering(grayscale=True), photometric="RGB").shape == (1, 2)
    assert shown(array, Rendering(invert=True), photometric="RGB").tolist() == (255 - array).tolist()


def palette(first=0):
    data = np.array([0, 0x8000, 0xFF00], "<u2").tobytes()
    values = {f"{color}PaletteColorLookupTableDescriptor": f"3\\{first}\\16" for color in ("Red", "Green", "Blue")}
    values |= {f"{color}PaletteColorLookupTableData": data for color in ("Red", "Green", "Blue")}
    return values


def test_palettes():
    assert shown(np.array([[0, 1, 2]], np.uint8), photometric="PALETTE COLOR", **palette())[0, :, 0].tolist() == [
        0,
        128,
        255,
    ]


def test_supplemental_palettes_colour_only_what_is_theirs():
    array = np.array([[0, 50, 101]], np.uint16)
    found = shown(array, Rendering(window=(50.5, 101)), PixelPresentation="COLOR", **palette(100))
    assert found.tolist() == [[[0] * 3, [128] * 3, [128] * 3]]


def test_icc_profiles_on_request():
    profile = bytes(imagecodecs.cms_profile("srgb"))
    array = np.array([[[10, 100, 200]]], np.uint8)
    found = shown(array, Rendering(icc=True), photometric="RGB", ICCProfile=profile)
    assert abs(found.astype(int) - array).max() <= 1


def test_colour_spaces_of_old():
    with pytest.raises(UnsupportedSyntaxError):
        shown(np.zeros((1, 1, 3), np.uint8), photometric="HSV")


# --- over the picture, and where ---


def test_overlays_on_request():
    values = {"OverlayRows": "1", "OverlayColumns": "2", "OverlayOrigin": "1\\2", "OverlayType": "G"}
    values |= {"OverlayData": b"\x03\x00", "OverlayBitsAllocated": "1", "OverlayBitPosition": "0"}
    assert shown(ROW, **values).tolist() == ROW.tolist()
    assert shown(ROW, Rendering(overlays=()), **values).tolist() == [[0, 255, 255, 75, 100]]
    assert shown(ROW, Rendering(overlays=(1,)), **values).tolist() == ROW.tolist()


def test_shutters_on_request():
    values = {"ShutterShape": "RECTANGULAR", "ShutterLeftVerticalEdge": "2", "ShutterRightVerticalEdge": "3"}
    values |= {"ShutterUpperHorizontalEdge": "1", "ShutterLowerHorizontalEdge": "1"}
    assert shown(ROW, **values).tolist() == ROW.tolist()
    assert shown(ROW, Rendering(shutters=True), **values).tolist() == [[0, 25, 50, 0, 0]]


@pytest.mark.parametrize(
    ("how", "shape"),
    [
        (Rendering(region=Region(1, 0, 3, 1)), (1, 3)),
        (Rendering(rotation=90), (5, 1)),
        (Rendering(size=(0, 10)), (4, 10)),
        (Rendering(size=(3, 10)), (3, 10)),
        (Rendering(viewport=(10, 10)), (4, 10)),
        (Rendering(viewport=(10, 10), aspect=False), (2, 10)),
        (Rendering(factors=(2, 2)), (4, 10)),
        (Rendering(factors=(0, 2), aspect=False), (2, 10)),
        (Rendering(aspect=True), (2, 5)),
        (Rendering(aspect=True, rotation=90), (5, 2)),
    ],
)
def test_sizes(how, shape):
    assert shown(ROW, how, PixelAspectRatio="2\\1").shape == shape


def test_a_presentation_state_comes_before_the_image():
    image = np.arange(12, dtype=np.uint8).reshape(3, 4) * 10
    area = made(DisplayedAreaTopLeftHandCorner="2\\1", DisplayedAreaBottomRightHandCorner="4\\2")
    values = state(
        SoftcopyVOILUTSequence=[made(WindowCenter="50", WindowWidth="1")], ImageRotation="90", ImageHorizontalFlip="Y",
        DisplayedAreaSelectionSequence=[area],
    )  # fmt: skip
    how = Rendering(state=PresentationState(values))
    found = shown(image, how, photometric="MONOCHROME1", SOPInstanceUID=UID, WindowCenter="0", WindowWidth="1")
    # columns 2 to 4 of rows 1 and 2 are 10 20 30 / 50 60 70, turned and flipped is transposed; shape IDENTITY
    assert found.tolist() == [[0, 255], [0, 255], [0, 255]]


def test_what_a_presentation_state_leaves_out_is_not_taken_from_the_image():
    """Modality and VOI LUT are required in a state if they are to be applied (PS3.3 A.33.1.3)."""
    image = np.array([[0, 100, 4095]], np.uint16)
    own = {"SOPInstanceUID": UID, "WindowCenter": "50", "WindowWidth": "10", "RescaleSlope": "7"}
    how = Rendering(state=PresentationState(state()))
    assert shown(image, how, bits=12, **own).tolist() == [[0, 6, 255]]
    assert shown(image, how._replace(voi="preset"), bits=12, **own).tolist() == [[0, 255, 255]]


def test_pseudo_colour_states():
    values = {**state(**palette()), **made(SOPClassUID="1.2.840.10008.5.1.4.1.1.11.3")}
    how = Rendering(state=PresentationState(values), window=(50, 101))
    assert shown(ROW, how, SOPInstanceUID=UID)[0, :, 0].tolist() == [0, 0, 128, 255, 255]


# --- files ---


def test_the_values_of_a_file():
    with ImageFile(get_testdata_file("CT_small.dcm")) as image:
        stored = pydicom.dcmread(get_testdata_file("CT_small.dcm")).pixel_array
        assert extent(image) == (stored.min() - 1024, stored.max() - 1024)
    with ImageFile(get_testdata_file("examples_palette.dcm")) as image:
        assert extent(image) is None


def test_a_file_is_rendered_frame_by_frame():
    with ImageFile(get_testdata_file("rtdose.dcm")) as image:
        assert render(image, 3).shape == (10, 10)
        assert render(image, 3).max() == 255
        with pytest.raises(InvalidDataSetError):
            render(image, 99)


def test_big_endian_is_the_same_picture():
    """Not of 32-bit samples: pydicom's rtdose_expb swaps them whole, PS3.5 the 16-bit words they are in."""
    with (
        ImageFile(get_testdata_file("MR_small.dcm")) as one,
        ImageFile(get_testdata_file("MR_small_bigendian.dcm")) as other,
    ):
        assert np.array_equal(render(one), render(other))


def test_a_file_without_pixels():
    with ImageFile(get_testdata_file("rtplan.dcm")) as image, pytest.raises(InvalidDataSetError, match="no pixel data"):
        render(image)


def test_the_linear_window_equals_the_formula_on_a_real_image():
    path = get_testdata_file("CT_small.dcm")
    expected = pydicom.dcmread(path).pixel_array.astype(float) - 1024
    expected = np.clip(((expected - (40 - 0.5)) / (400 - 1) + 0.5) * 255, 0, 255)
    with ImageFile(path) as image:
        found = render(image, 0, Rendering(window=(40, 400)))
    assert abs(found - expected).max() <= 0.5 + 1e-9


def test_delays_of_frames():
    with ImageFile(get_testdata_file("rtdose.dcm")) as image:
        assert frame_delays(image) == [100.0] * 15


def test_only_the_elements_that_count_are_read(tmp_path):
    source = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    source.add_new(0x00091010, "OB", b"\0" * 100)
    source.save_as(tmp_path / "a.dcm")
    with ImageFile(tmp_path / "a.dcm") as image:
        render(image)
        assert image._data_set is None


def test_elements_that_contradict_themselves():
    item = made(LUTDescriptor="3\\0\\8")
    item[0x00283006] = Element("OW", b"")
    with pytest.raises(InvalidDataSetError):
        shown(ROW, ModalityLUTSequence=[item])


@pytest.mark.parametrize(
    "name", ["CT_small.dcm", "examples_palette.dcm", "examples_overlay.dcm", "SC_rgb_small_odd.dcm"]
)
def test_damaged_descriptions_of_pixels_are_one_error(name, tmp_path):
    """Bytes of the image module and after are changed at random: a picture, or an error of ours; nothing else."""
    with open(get_testdata_file(name), "rb") as file:
        original = file.read()
    begin = original.find(b"\x28\x00\x02\x00")
    rng = np.random.default_rng(7)
    path = tmp_path / "damaged.dcm"
    pictures = 0
    for _ in range(100):
        data = bytearray(original)
        for place in rng.integers(begin, min(begin + 600, len(data)), 4):
            data[place] = rng.integers(0, 256)
        path.write_bytes(data)
        try:
            with ImageFile(path) as image:
                pictures += render(image, 0, Rendering(overlays=(), shutters=True, viewport=(40, 40))).size > 0
        except DcmkitError:
            continue
    assert pictures > 5


def test_a_presentation_state_asks_for_a_picture_of_any_size():
    area = made(
        DisplayedAreaTopLeftHandCorner="-2000000000\\1", DisplayedAreaBottomRightHandCorner="2000000000\\2000000000"
    )
    how = Rendering(state=PresentationState(state(DisplayedAreaSelectionSequence=[area])))
    with pytest.raises(UsageError, match="too large"):
        shown(ROW, how, SOPInstanceUID=UID)
