"""Query parameters of rendered resources, and the pictures that come of them."""

from __future__ import annotations

import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file

from dcmkit.errors import DcmkitError, InputError, InvalidDataSetError, UnsupportedSyntaxError, UsageError
from dcmkit.pixels.image_file import ImageFile
from dcmkit.pixels.presentation import PresentationState
from dcmkit.web import rendering
from dcmkit.web.rendering import (
    GIF,
    JPEG,
    JPEG_XL,
    PICTURE_LIMIT,
    PNG,
    WEBP,
    RenderingParameters,
    encode_picture,
    read_rendered,
    read_wado_uri,
    render_animation,
    render_frame,
    rendering_of,
)
from tests.pixels.files import JPEG as JPEG_BASELINE
from tests.pixels.files import VIDEO, attributes, encapsulated, native, write
from tests.pixels.test_presentation import state

ROWS, COLUMNS = 20, 30
PIXELS = np.arange(ROWS * COLUMNS, dtype=np.uint16).reshape(ROWS, COLUMNS) % 251
NAMES = [("requestType", "WADO"), ("studyUID", "1.1"), ("seriesUID", "1.2"), ("objectUID", "1.3")]


@pytest.fixture
def image(tmp_path: Path) -> Any:
    """Two frames of 8 bits, the second one the negative."""
    frames = PIXELS.astype(np.uint8).tobytes() + (255 - PIXELS).astype(np.uint8).tobytes()
    with ImageFile(native(tmp_path / "image", frames, attributes(ROWS, COLUMNS, frames=2))) as found:
        yield found


def shown(image: ImageFile, frame: int = 0, **parameters: str) -> Any:
    return imagecodecs.png_decode(render_frame(image, frame, read_rendered([*parameters.items()]), PNG))


# --- reading ---


def test_nothing_asked_for():
    assert read_rendered([]) == RenderingParameters()
    assert read_rendered([], thumbnail=True).viewport == (128, 128)
    assert read_rendered([("accept", "image/png"), ("charset", "utf-8")]).warnings == ()


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("viewport", "512,256", {"viewport": (256, 512)}),
        ("viewport", "512,256,,,,", {"viewport": (256, 512)}),
        ("viewport", "8,4,1,2,3.5,4", {"viewport": (4, 8), "source": (1, 2, 3.5, 4)}),
        ("viewport", "8,4,,,-3,4", {"viewport": (4, 8), "source": (None, None, 3, 4), "flip_horizontally": True}),
        ("viewport", "8,4,,,,-4", {"viewport": (4, 8), "source": (None, None, None, 4), "flip_vertically": True}),
        ("viewport", "8,4,1", {"viewport": (4, 8), "source": (1, None, None, None)}),
        ("window", "40,400,linear", {"window": (40, 400), "function": "LINEAR"}),
        ("window", "-0.5,.25,linear-exact", {"window": (-0.5, 0.25), "function": "LINEAR_EXACT"}),
        ("window", "4e1,4E2,SIGMOID", {"window": (40, 400), "function": "SIGMOID"}),
        ("window", "40,0.5", {"window": (40, 0.5), "function": ""}),
        ("quality", "1", {"quality": 1}),
        ("annotation", "patient,technique", {"annotation": ("patient", "technique")}),
        ("iccprofile", "sRGB", {"icc_profile": "srgb"}),
        ("presentationUID", "1.2.3", {"presentation": "1.2.3"}),
        ("overlay", "Yes", {"overlays": ()}),
        ("overlay", "no", {}),
        ("overlay", "0,2,0", {"overlays": (0, 2)}),
    ],
)
def test_what_is_read(name: str, value: str, wanted: dict[str, Any]):
    assert read_rendered([(name, value)]) == RenderingParameters(**wanted)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("viewport", value) for value in (
            "512", "0,512", "512,-1", "1000000000,1000000000", "8193,1", "8192,8192", "1.5,2", "a,b", "nan,1",
            "1,2,3,4,5,6,7", "8,8,-1,0,2,2", "8,8,0,0,0,2", "8,8,0,0,nan,2", "8,8,inf,0,1,2", "8,8,1e99,0,1,1",
            "٣,٣", ",",
        )],
        *[("window", value) for value in (
            "40", "nan,400,linear", "40,inf,linear", "40,0,linear", "40,0.5,linear", "40,-1,sigmoid",
            "40,0,linear-exact", "40,400,cubic", "40,400,linear,1", "1e99,1,linear", "40,,linear", "0x10,4", "1_0,4",
        )],
        *[("quality", value) for value in ("0", "101", "-1", "best", "1e1", "9" * 400)],
        ("annotation", "patient,secret"), ("annotation", ","), ("iccprofile", "cmyk"),
        ("overlay", "16"), ("overlay", "all"), ("overlay", "1,"),
        ("presentationUID", "../../etc"), ("presentationUID", "1" * 65), ("presentationSeriesUID", "1.2"),
    ],
)  # fmt: skip
def test_what_is_refused(name: str, value: str):
    with pytest.raises(UsageError) as caught:
        read_rendered([(name, value)])
    assert caught.value.http_status == 400
    assert name in str(caught.value).replace("window width", "window")
    assert len(str(caught.value)) < 300
    assert str(caught.value).isascii()


@pytest.mark.parametrize(
    "parameters", [[("quality", "1"), ("Quality", "2")], [("window", "1,2"), ("window", "1,2")], [("a", "")] * 101]
)
def test_given_twice_or_too_often(parameters: list[tuple[str, str]]):
    with pytest.raises(UsageError):
        read_rendered(parameters)


def test_unknown_parameters_are_ignored_with_a_warning():
    found = read_rendered([("colour", "red"), ("quality", "50")])
    assert (found.quality, len(found.warnings)) == (50, 1)
    assert "'colour'" in found.warnings[0]
    assert "\n" not in read_rendered([("a\r\nSet-Cookie: b", "")]).warnings[0]


def test_thumbnails():
    for value, viewport in (("64", (64, 64)), ("64x32", (32, 64)), ("64,32", (32, 64))):
        assert read_rendered([("size", value)], thumbnail=True).viewport == viewport
    assert read_rendered([("viewport", "60,40")], thumbnail=True).viewport == (40, 60)
    assert read_rendered([("size", "64")]).warnings
    for name, value in (("viewport", "60,40,0,0,1,1"), ("size", "0"), ("size", "1x2x3"), ("size", "big")):
        with pytest.raises(UsageError):
            read_rendered([(name, value)], thumbnail=True)


def test_requests_by_uri():
    found = read_wado_uri([
        *NAMES, ("contentType", "image/jpeg"), ("rows", "100"), ("region", "0,0.25,0.5,1"), ("windowCenter", "40"),
        ("windowWidth", "400"), ("frameNumber", "2"), ("imageQuality", "70"), ("annotation", "technique"),
        ("charset", "UTF-8"), ("anonymize", "yes"),
    ])  # fmt: skip
    assert (found.study, found.series, found.instance) == ("1.1", "1.2", "1.3")
    assert (found.content_type, found.charset, found.anonymize) == ("image/jpeg", "UTF-8", True)
    how = found.rendering
    assert how.viewport == (100, 8192)
    assert (how.region, how.window, how.frame) == ((0, 0.25, 0.5, 1), (40, 400), 1)
    assert (how.quality, how.annotation, how.warnings) == (70, ("technique",), ())
    assert read_wado_uri([(name.upper(), value) for name, value in NAMES]).instance == "1.3"
    assert read_wado_uri([*NAMES, ("transferSyntax", "*")]).transfer_syntax == "*"


def test_dicom_by_uri_is_not_rendered():
    found = read_wado_uri([*NAMES, ("contentType", "application/dicom; a=b"), ("rows", "100")])
    assert found.rendering.viewport is None
    assert len(found.rendering.warnings) == 1


@pytest.mark.parametrize(
    "parameters",
    [
        [],
        NAMES[1:],
        NAMES[:3],
        [("requestType", "XDS"), *NAMES[1:]],
        [*NAMES[:3], ("objectUID", "../etc")],
        *[
            [*NAMES, extra]
            for extra in (
                ("region", "0,0,1"), ("region", "0.5,0,0.5,1"), ("region", "0,0,1.01,1"), ("region", "-0.1,0,1,1"),
                ("region", "nan,0,1,1"), ("windowCenter", "1"), ("windowWidth", "1"), ("frameNumber", "0"),
                ("frameNumber", "x"), ("frameNumber", "1" * 30), ("rows", "0"), ("columns", "100000"),
                ("imageQuality", "0"), ("anonymize", "perhaps"), ("transferSyntax", "jpeg"),
            )
        ],
        [*NAMES, ("rows", "8192"), ("columns", "8192")],
        [*NAMES, ("anonymize", "yes"), ("annotation", "patient")],
        [*NAMES, ("presentationUID", "1.2"), ("region", "0,0,1,1")],
        [*NAMES, ("windowCenter", "1"), ("windowWidth", "0")],
    ],
)  # fmt: skip
def test_what_is_refused_by_uri(parameters: list[tuple[str, str]]):
    with pytest.raises(UsageError) as caught:
        read_wado_uri(parameters)
    assert caught.value.http_status == 400


@given(
    st.sampled_from(["viewport", "window", "quality", "size", "region", "rows", "frameNumber"]), st.text(max_size=30)
)
def test_any_text_is_read_or_refused(name: str, value: str):
    for read in (
        lambda: read_rendered([(name, value)]),
        lambda: read_rendered([(name, value)], thumbnail=True),
        lambda: read_wado_uri([*NAMES, (name, value)]),
    ):
        try:
            found = read()
        except UsageError:
            continue
        how = found if isinstance(found, RenderingParameters) else found.rendering
        assert how.viewport is None or how.viewport[0] * how.viewport[1] <= PICTURE_LIMIT


def test_reading_imports_no_numpy():
    code = "import sys; import dcmkit.web.rendering as r; r.read_rendered([]); print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "False"


# --- rendering ---


def test_a_frame_as_it_is(image: ImageFile):
    assert np.array_equal(shown(image), PIXELS)
    assert np.array_equal(shown(image, 1), 255 - PIXELS)


def test_the_source_is_cut_first_then_flipped_then_fitted(image: ImageFile):
    part = PIXELS[2:6, 3:13]
    assert np.array_equal(shown(image, viewport="10,10,3,2,10,4"), part)
    assert np.array_equal(shown(image, viewport="10,10,3,2,-10,4"), part[:, ::-1])
    assert np.array_equal(shown(image, viewport="10,10,3,2,10,-4"), part[::-1])
    assert shown(image, viewport="40,40,3,2,10,4").shape == (16, 40)
    assert np.array_equal(shown(image, viewport="20,20,10"), PIXELS[:, 10:])
    assert np.array_equal(shown(image, viewport="30,20"), PIXELS)
    assert shown(image, viewport="6,6").shape == (4, 6)


def test_regions_by_uri_are_fractions(image: ImageFile):
    wanted = read_wado_uri([*NAMES, ("region", "0.1,0.5,0.6,1")]).rendering
    assert np.array_equal(imagecodecs.png_decode(render_frame(image, 0, wanted, PNG)), PIXELS[10:, 3:18])
    wanted = read_wado_uri([*NAMES, ("region", "0.999,0.999,1,1"), ("columns", "5")]).rendering
    assert imagecodecs.png_decode(render_frame(image, 0, wanted, PNG)).shape == (5, 5)


@pytest.mark.parametrize("viewport", ["8,8,30,0,1,1", "8,8,0,20", "8,8,0,0,31,20", "8,8,0,1,30,20", "8,8,29.5,0,1,1"])
def test_regions_outside_of_the_image(image: ImageFile, viewport: str):
    with pytest.raises(UsageError, match="outside"):
        shown(image, viewport=viewport)


def test_windows(image: ImageFile):
    found = shown(image, window="100,50,linear-exact")
    assert found[PIXELS <= 75].max() == 0
    assert found[PIXELS >= 125].min() == 255
    assert found[PIXELS == 100][0] == 128
    with pytest.raises(InvalidDataSetError):  # the object's function is LINEAR
        shown(image, window="100,0.5")


@pytest.mark.parametrize(
    ("media_type", "begin"), [(JPEG, b"\xff\xd8"), (PNG, b"\x89PNG"), (GIF, b"GIF89a"), (WEBP, b"RIFF")]
)
def test_media_types(image: ImageFile, media_type: str, begin: bytes):
    assert render_frame(image, 0, RenderingParameters(), media_type).startswith(begin)


def test_quality(image: ImageFile):
    low, high = (render_frame(image, 0, read_rendered([("quality", value)])) for value in ("1", "100"))
    assert len(low) < len(high)


def test_presentation_states(image: ImageFile):
    wanted = read_rendered([("presentationUID", "9.9")])
    with pytest.raises(InputError, match="not there") as caught:
        render_frame(image, 0, wanted, PNG)
    assert caught.value.http_status == 404
    found = PresentationState(state(ImageRotation="180"))
    picture = imagecodecs.png_decode(render_frame(image, 0, wanted, PNG, state=found))
    assert np.array_equal(picture, PIXELS[::-1, ::-1])
    assert rendering_of(image, wanted, found).state is found


def test_what_cannot_be_rendered(image: ImageFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def status(file: ImageFile, frame: int = 0, media_type: str = PNG) -> int:
        with pytest.raises(DcmkitError) as caught:
            render_frame(file, frame, RenderingParameters(), media_type)
        return caught.value.http_status

    assert status(image, 2) == status(image, -1) == 404
    assert status(image, 0, "image/x-unheard-of") == 406
    with ImageFile(write(tmp_path / "none", "1.2.840.10008.1.2.1", attributes())) as file:
        assert status(file) == 406
    with ImageFile(write(tmp_path / "video", VIDEO, attributes(), encapsulated([b"\0" * 8]))) as file:
        assert status(file) == 406
    with ImageFile(write(tmp_path / "broken", JPEG_BASELINE, attributes(), encapsulated([b"\xff\xd8" * 8]))) as file:
        assert status(file) == 400
    monkeypatch.setattr(rendering, "FRAME_LIMIT", 10)
    with pytest.raises(UnsupportedSyntaxError, match="too large"):
        render_frame(image, 0, RenderingParameters(), PNG)


def test_annotations_are_burned_in(image: ImageFile):
    assert not np.array_equal(shown(image, annotation="patient"), PIXELS)
    assert np.array_equal(shown(image, annotation="technique"), PIXELS)  # it says nothing of that


def test_profiles_are_embedded_in_colour_pictures(tmp_path: Path, image: ImageFile):
    head = attributes(8, 8, photometric="RGB").replace(
        struct.pack("<HH2sHH", 0x28, 2, b"US", 2, 1), struct.pack("<HH2sHH", 0x28, 2, b"US", 2, 3)
    )
    with ImageFile(native(tmp_path / "rgb", bytes(range(192)), head)) as file:
        jpeg = render_frame(file, 0, read_rendered([("iccprofile", "yes")]))
        assert b"ICC_PROFILE" in jpeg
        assert b"ICC_PROFILE" not in render_frame(file, 0, RenderingParameters())
    assert b"ICC_PROFILE" not in render_frame(image, 0, read_rendered([("iccprofile", "yes")]))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    st.lists(
        st.sampled_from(["0", "1", "-1", "3.7", "-29.5", "30", "19.999", "1e9", "1e-9", "-1e-20", "100", ""]),
        min_size=2,
        max_size=4,
    ),
    st.sampled_from(["0,1,linear", "-1e9,1e9,sigmoid", "1e9,1e-20,sigmoid", "0,1e-99,linear-exact", "100,1", "5,.1"]),
)
def test_whatever_was_read_is_rendered_or_refused(image: ImageFile, numbers: list[str], window: str):
    try:
        picture = shown(image, viewport="40,50," + ",".join(numbers), window=window)
    except (UsageError, InvalidDataSetError):
        return
    assert picture.shape[0] == 50 or picture.shape[1] == 40


# --- encoding ---


@pytest.mark.parametrize("color", [False, True])
@pytest.mark.parametrize(
    ("media_type", "decode"),
    [(PNG, imagecodecs.png_decode), (WEBP, imagecodecs.webp_decode), (JPEG_XL, imagecodecs.jpegxl_decode)],
)
def test_quality_100_loses_nothing(media_type: str, decode: Any, color: bool) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (21, 33, 3), dtype=np.uint8)
    picture = picture if color else picture[..., 0]
    found = decode(encode_picture(picture, media_type, 100))
    wanted = np.repeat(picture[..., None], 3, axis=2) if media_type == WEBP and not color else picture
    assert np.array_equal(found, wanted)


def test_quality_has_an_effect() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (64, 64), dtype=np.uint8)
    for media_type in (JPEG, WEBP, JPEG_XL):
        sizes = [len(encode_picture(picture, media_type, quality)) for quality in (1, 50, 99)]
        assert sizes == sorted(sizes)
        assert len(set(sizes)) == 3
    with pytest.raises(UsageError):
        encode_picture(np.zeros((1, 20_000), np.uint8), WEBP)


def test_an_animation(image: ImageFile) -> None:
    moving = render_animation(image, [0, 1], read_rendered([]))
    assert moving.count(b"\x21\xf9\x04") == 2
    with pytest.raises(InputError):
        render_animation(image, [0, 2], read_rendered([]))
    assert render_animation(image, [1], read_rendered([("iccprofile", "srgb")]))  # grey has no profile


def test_overlays_are_shown_on_request() -> None:
    with ImageFile(str(get_testdata_file("examples_overlay.dcm", download=False))) as file:
        plain, shown, first, second = (
            render_frame(file, 0, read_rendered([("overlay", value)])) for value in ("no", "yes", "0", "1")
        )
    assert plain != shown == first
    assert second == plain  # there is only one
