"""Regions made black in every transfer syntax: inside nothing is left, outside nothing changes."""

from __future__ import annotations

import os
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pydicom
import pytest

from dcmkit.dataset.elements import Element, text
from dcmkit.dataset.raw import encoded_elements
from dcmkit.deid import boxes
from dcmkit.deid.boxes import Box
from dcmkit.errors import DcmkitError, InvalidDataSetError, UnsupportedSyntaxError, UsageError
from dcmkit.pixels import codecs, jpegxl, syntaxes
from dcmkit.pixels.frames import Array, EncodeOptions
from dcmkit.pixels.image_file import ImageFile
from dcmkit.pixels.plan import named
from dcmkit.pixels.transcode import TranscodeOptions, transcode_file
from dcmkit.pixels.writer import ImageWriter
from tests.pixels import files
from tests.pixels.images import IMAGES, can_encode, described, waves

LOSSLESS = ("explicit", "implicit", "big-endian", "deflated", "encapsulated", "deflated-frames", "rle", "jpeg-lossless",
            "jpeg-lossless-14", "jpegls", "j2k", "htj2k", "htj2k-rpcl", "jxl")  # fmt: skip
MAY_LOSE = ("jpegls-near", "j2k-lossy", "htj2k-lossy", "jxl-lossy")
LOSES = ("jpeg-baseline", "jpeg-extended", "jxl-jpeg")
BOX: Box = (3, 2, 9, 5)


def made(path: Path, name: str, frames: int = 1, **more: object) -> Path:
    """A native file of one of the made images, each frame another."""
    array, said = IMAGES[name]
    said = said._replace(**more)
    elements = b"".join(
        files.element(tag, vr, value if isinstance(value, bytes) else value.to_bytes(2, "little"))
        for tag, vr, value in [
            (0x00080008, "CS", b"ORIGINAL\\PRIMARY"), (0x00080016, "UI", b"1.2"), (0x00080018, "UI", b"1.2.3"),
            (0x00100010, "PN", b"A^B"), (0x00280002, "US", said.samples_per_pixel),
            (0x00280004, "CS", said.photometric_interpretation.encode()),
            *([(0x00280006, "US", said.planar_configuration)] if said.samples_per_pixel > 1 else []),
            (0x00280008, "IS", str(frames).encode()), (0x00280010, "US", said.rows), (0x00280011, "US", said.columns),
            (0x00280100, "US", said.bits_allocated), (0x00280101, "US", said.bits_stored),
            (0x00280102, "US", said.high_bit), (0x00280103, "US", said.pixel_representation),
        ]
    )  # fmt: skip
    one = [np.roll(array, 7 * index, 0) for index in range(frames)]
    if said.bits_allocated == 1:
        data = np.packbits(np.concatenate([frame.ravel() for frame in one]), bitorder="little").tobytes()
    elif said.planar_configuration:
        data = b"".join(frame.transpose(2, 0, 1).tobytes() for frame in one)
    else:
        data = b"".join(frame.tobytes() for frame in one)
    return files.native(path, data, elements, "OW" if said.bits_allocated > 8 else "OB")


def in_syntax(path: Path, syntax: str, **options: object) -> Path:
    """The same in another transfer syntax; skipped where that cannot hold it."""
    uid = named(syntax)
    if not can_encode(uid):
        pytest.skip("this installation does not encode it")
    target = path.with_name(f"{path.name}-{syntax}")
    try:
        transcode_file(path, target, uid, TranscodeOptions(EncodeOptions(**options), rgb=False))  # type: ignore[arg-type]
    except UnsupportedSyntaxError as error:
        pytest.skip(str(error))
    return target


def pixels(path: Path) -> list[Array]:
    with ImageFile(path) as image:
        assert image.description is not None
        return [
            codecs.decode_frame(image.frame(index), image.transfer_syntax_uid, image.description).array
            for index in range(image.number_of_frames)
        ]


def clean(source: Path, *wanted: Box, bits: tuple[int, ...] = ()) -> tuple[Path, boxes.Cleaned]:
    target = source.with_name(f"{source.name}-clean")
    with ImageFile(source) as image:
        elements, uid = image.elements, image.transfer_syntax_uid
        done = boxes.write(
            source, elements, target, uid, sop_class_uid="1.2", sop_instance_uid="1.2.3", boxes=wanted, clear_bits=bits
        )
    return target, done


def split(array: Array, box: Box = BOX) -> tuple[Array, Array]:
    """What is inside, and a copy with that set to zero."""
    x, y, width, height = box
    outside = array.copy()
    outside[y : y + height, x : x + width] = 0
    return array[y : y + height, x : x + width], outside


def assert_equal_outside(before: list[Array], after: list[Array], box: Box = BOX) -> None:
    assert len(before) == len(after)
    for one, other in zip(before, after, strict=True):
        assert np.array_equal(split(one, box)[1], split(other, box)[1])


def elements_of(path: Path) -> dict[int, bytes]:
    with ImageFile(path) as image:
        return {one.tag: bytes(image.elements.value(one.tag) or b"") for one in image.elements}


# --- without loss -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", LOSSLESS)
@pytest.mark.parametrize(
    "name", [name for name in IMAGES if IMAGES[name][0].shape[0] > 7 and IMAGES[name][0].shape[1] > 12]
)
def test_every_kind_of_samples_in_every_lossless_syntax(tmp_path, name, syntax):
    source = in_syntax(made(tmp_path / "x", name, frames=2), syntax)
    target, done = clean(source, BOX)
    before, after = pixels(source), pixels(target)
    assert_equal_outside(before, after)
    assert (done.frames, done.lossy, done.changes) == (2, False, {})
    assert elements_of(source) == elements_of(target)
    said = IMAGES[name][1]
    low = -(1 << (said.bits_stored - 1)) if said.signed else 0
    dark = {"MONOCHROME1": low + (1 << said.bits_stored) - 1, "YBR_FULL": (0, 128, 128)}
    for array in after:
        assert (split(array)[0] == np.array(dark.get(said.photometric_interpretation, low))).all()


@pytest.mark.parametrize("syntax", LOSSLESS)
def test_pydicom_sees_the_same(tmp_path, syntax):
    source = in_syntax(made(tmp_path / "x", "12 signed bits", frames=3), syntax)
    target, _ = clean(source, BOX)
    try:
        before, after = (pydicom.dcmread(one).pixel_array for one in (source, target))
    except (NotImplementedError, RuntimeError) as error:
        pytest.skip(str(error))
    assert_equal_outside(list(before), list(after))
    assert (after[:, 2:7, 3:12] == -2048).all()


@pytest.mark.parametrize("syntax", ["explicit", "implicit", "big-endian", "deflated"])
@pytest.mark.parametrize("name", ["rgb", "rgb of 16 bits", "ybr_full"])
def test_planes_stay_planes(tmp_path, name, syntax):
    source = in_syntax(made(tmp_path / "x", name, frames=2, planar_configuration=1), syntax)
    target, _ = clean(source, BOX)
    assert elements_of(source) == elements_of(target)
    assert_equal_outside(pixels(source), pixels(target))
    assert len({tuple(pixel) for array in pixels(target) for pixel in split(array)[0].reshape(-1, 3)}) == 1


def test_halved_chroma_stays_halved(tmp_path):
    elements = files.attributes(4, 6, frames=2, photometric="YBR_FULL_422")
    elements = elements.replace(b"\x28\0\2\0US\2\0\1\0", b"\x28\0\2\0US\2\0\3\0")
    source = files.native(tmp_path / "x", bytes(range(96)), elements)
    target, done = clean(source, (0, 0, 4, 2))
    assert done.changes == {}
    with ImageFile(target) as image:
        dark = bytes((0, 0, 128, 128))
        assert bytes(image.frame(1)) == dark * 2 + bytes(range(56, 60)) + dark * 2 + bytes(range(68, 96))


@pytest.mark.parametrize("frames", [1, 3])
def test_single_bits_that_do_not_fill_bytes(tmp_path, frames):
    source = made(tmp_path / "x", "one bit", frames)
    target, _ = clean(source, BOX)
    assert_equal_outside(pixels(source), pixels(target))
    assert not any(split(array)[0].any() for array in pixels(target))


def test_monochrome_1_is_black_at_its_top(tmp_path):
    source = made(tmp_path / "x", "12 bits", photometric_interpretation="MONOCHROME1")
    target, _ = clean(source, BOX)
    assert (split(pixels(target)[0])[0] == 4095).all()


def test_floating_point_samples(tmp_path):
    values = np.linspace(-3, 9, 24, dtype="<f4").reshape(4, 6)
    elements = files.attributes(4, 6, bits=32)
    source = files.write(tmp_path / "x", syntaxes.EXPLICIT, elements,
                         struct.pack("<HH2sHL", 0x7FE0, 8, b"OF", 0, 96) + values.tobytes())  # fmt: skip
    target, _ = clean(source, (2, 1, 3, 9))
    assert_equal_outside([values], pixels(target), (2, 1, 3, 9))
    assert (split(pixels(target)[0], (2, 1, 3, 9))[0] == -3).all()


def test_several_boxes_and_such_beyond_the_edge(tmp_path):
    source = made(tmp_path / "x", "12 bits")
    target, _ = clean(source, (-5, -5, 10, 10), (60, 60, 100, 100), (500, 500, 1, 1), (20, 0, 3, 1000))
    wanted = pixels(source)[0].copy()
    wanted[:5, :5] = wanted[60:, 60:] = wanted[:, 20:23] = 0
    assert np.array_equal(pixels(target)[0], wanted)


def test_the_predictor_of_lossless_jpeg_stays(tmp_path):
    from dcmkit.pixels.codestream import inspect

    source = in_syntax(made(tmp_path / "x", "12 bits"), "jpeg-lossless-14", predictor=6)
    target, _ = clean(source, BOX)
    with ImageFile(target) as image:
        assert inspect(image.frame(0), syntaxes.JPEG_LOSSLESS).predictor == 6


@pytest.mark.parametrize("syntax", MAY_LOSE)
@pytest.mark.parametrize("name", ["12 bits", "rgb", "8 bits", "ct of 16 signed bits"])
def test_syntaxes_that_allow_loss_lose_nothing_more(tmp_path, name, syntax):
    source = in_syntax(made(tmp_path / "x", name, frames=2), syntax)
    target, done = clean(source, BOX)
    assert_equal_outside(pixels(source), pixels(target))
    assert not done.lossy
    assert set(done.changes) <= {0x00280004}
    before, after = elements_of(source), elements_of(target)
    assert [tag for tag in before if before[tag] != after[tag]] == list(done.changes)
    with ImageFile(target) as image:
        assert image.transfer_syntax_uid == named(syntax)


# --- with loss ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", LOSES)
@pytest.mark.parametrize("quality", [60, 90, 99])
@pytest.mark.parametrize("name", ["8 bits", "7 bits", "rgb", "ybr_full", "12 bits", "9 bits"])
def test_lossy_jpeg_stays_near(tmp_path, name, quality, syntax):
    source = in_syntax(made(tmp_path / "x", name, frames=2), syntax, quality=quality)
    target, done = clean(source, (8, 8, 16, 16))
    assert done.lossy
    assert set(done.changes) == {0x00282110, 0x00282112, 0x00282114}
    assert len(text(done.changes, 0x00282112).split("\\")) == 2, "after that of the first time"
    assert text(done.changes, 0x00282114) == "ISO_10918_1\\ISO_10918_1"
    assert elements_of(target)[0x00282110] == b"01"
    assert elements_of(target)[0x00280004] == elements_of(source)[0x00280004]
    original = pixels(made(tmp_path / "y", name, frames=2))
    for made_of, before, after in zip(original, pixels(source), pixels(target), strict=True):
        if made_of.ndim == 2 or "ybr" in name:
            made_of, before, after = (
                one.reshape(*one.shape[:2], -1)[..., :1].astype(int) for one in (made_of, before, after)
            )
            loss = np.abs(split(before, (0, 0, 32, 32))[1] - split(made_of, (0, 0, 32, 32))[1]).mean()
            again = np.abs(split(before, (0, 0, 32, 32))[1] - split(after, (0, 0, 32, 32))[1]).mean()
            assert again <= max(1, loss)
        assert np.ptp(after[10:22, 10:22].astype(int), axis=(0, 1)).max() <= 4 + after.max() // 60


def test_color_of_lossy_jpeg_is_black(tmp_path):
    source = in_syntax(made(tmp_path / "x", "rgb"), "jpeg-baseline", subsampling="rgb")
    target, _ = clean(source, (0, 0, 16, 16))
    assert pixels(target)[0][:16, :16].max() <= 2
    with ImageFile(target) as image:
        assert image.elements.text(0x00280004) == "RGB"


def test_lossy_attributes_of_a_file_that_has_none(tmp_path):
    array, said = described(waves(40, 48, 0, 255), 8, 8)
    data = codecs.encode_frame(array, syntaxes.JPEG_BASELINE, said).data
    source = files.write(tmp_path / "x", syntaxes.JPEG_BASELINE, files.attributes(40, 48), files.encapsulated([data]))
    target, done = clean(source, (0, 0, 8, 8))
    assert text(done.changes, 0x00282114) == "ISO_10918_1"
    with ImageFile(target) as image:
        assert image.elements.text(0x00282112) == text(done.changes, 0x00282112)


# --- overlays in samples ------------------------------------------------------------------------------------------


def overlay(position: int, bits: int = 16, *, data: bool = False) -> dict[int, Element]:
    found = {0x60000100: Element("US", str(bits)), 0x60000102: Element("US", str(position))}
    return {**found, 0x60003000: Element("OW", b"ab")} if data else found


def test_where_overlays_are():
    assert boxes.overlay_bits(encoded_elements(overlay(13))) == (13,)
    assert boxes.overlay_bits(encoded_elements({})) == ()
    assert boxes.overlay_bits(encoded_elements(overlay(0, 1, data=True))) == ()
    assert boxes.overlay_bits(encoded_elements(overlay(0, 1))) == ()
    assert boxes.overlay_bits(encoded_elements(overlay(12, data=True))) == (), "it has data of its own"
    two = {**overlay(15), 0x60020100: Element("US", "16"), 0x60020102: Element("US", "12")}
    assert boxes.overlay_bits(encoded_elements(two)) == (12, 15)


@pytest.mark.parametrize("syntax", LOSSLESS)
@pytest.mark.parametrize("name", ["overlay in unused bits", "overlay above signed samples"])
def test_overlays_are_cleared_out_of_samples(tmp_path, name, syntax):
    source = in_syntax(made(tmp_path / "x", name, frames=2), syntax)
    target, done = clean(source, bits=(12, 13, 14, 15))
    assert (done.changes, done.lossy) == ({}, False)
    for before, after in zip(pixels(source), pixels(target), strict=True):
        assert np.array_equal(before & 0x0FFF, after & 0x0FFF)
        if syntax in ("explicit", "implicit", "big-endian", "deflated", "encapsulated", "deflated-frames", "rle"):
            assert np.array_equal(before & 0x0FFF, after)


def test_boxes_and_overlays_at_once(tmp_path):
    source = made(tmp_path / "x", "overlay in unused bits")
    target, _ = clean(source, BOX, bits=(15,))
    wanted = pixels(source)[0] & 0x7FFF
    wanted[2:7, 3:12] = 0
    assert np.array_equal(pixels(target)[0], wanted)


def test_frames_without_overlays_are_not_encoded_again(tmp_path):
    source = in_syntax(made(tmp_path / "x", "12 bits"), "jpegls")
    target, _ = clean(source, bits=(15,))
    assert target.read_bytes() == source.read_bytes()


@pytest.mark.parametrize("bit", [0, 11, 16])
def test_bits_of_samples_are_never_cleared(tmp_path, bit):
    with pytest.raises(InvalidDataSetError, match="bits that hold samples"):
        clean(made(tmp_path / "x", "12 bits"), bits=(bit,))


# --- only comments ------------------------------------------------------------------------------------------------


def test_without_boxes_comments_go(tmp_path):
    source = in_syntax(made(tmp_path / "x", "8 bits"), "jpegls")
    with ImageFile(source) as image:
        data, elements = bytes(image.frame(0)), files.attributes(41, 37)
    commented = data[:2] + b"\xff\xfe\0\x0aDoe^Jane" + data[2:]
    source = files.write(tmp_path / "y", syntaxes.JPEG_LS, elements, files.encapsulated([commented]))
    target, _ = clean(source)
    with ImageFile(target) as image:
        assert bytes(image.frame(0)).rstrip(b"\0") == commented.replace(b"Doe^Jane", bytes(8)).rstrip(b"\0")


def test_comments_of_a_jpeg_within_jpeg_xl_go(tmp_path):
    array, said = IMAGES["rgb"]
    jpeg = codecs.encode_frame(array, syntaxes.JPEG_BASELINE, said).data
    commented = jpeg[:2] + b"\xff\xfe\0\x0aDoe^Jane" + jpeg[2:]
    elements = files.attributes(41, 37, photometric="YBR_FULL_422").replace(b"\2\0US\2\0\1\0", b"\2\0US\2\0\3\0")
    for name, content in (("commented", commented), ("plain", jpeg)):
        data = jpegxl.recompress(content)
        source = files.write(tmp_path / name, syntaxes.JPEG_XL_RECOMPRESSION, elements, files.encapsulated([data]))
        target, _ = clean(source)
        with ImageFile(target) as image:
            assert jpegxl.restore_jpeg(image.frame(0)) == content.replace(b"Doe^Jane", bytes(8))
    assert target.read_bytes()[-len(data) :] == source.read_bytes()[-len(data) :]


@pytest.mark.parametrize("syntax", ["explicit", "big-endian", "deflated", "rle"])
def test_without_anything_to_do_pixels_stay(tmp_path, syntax):
    source = in_syntax(made(tmp_path / "x", "12 bits", frames=2), syntax)
    target, done = clean(source)
    assert [array.tolist() for array in pixels(source)] == [array.tolist() for array in pixels(target)]
    assert done.changes == {}


# --- what is refused ----------------------------------------------------------------------------------------------


def test_boxes_as_text():
    assert boxes.parse("0,10,640,32") == (0, 10, 640, 32)
    assert boxes.parse("-2, 0, 5, 5") == (-2, 0, 5, 5)
    for wrong in ("", "1,2,3", "1,2,3,4,5", "a,b,c,d", "0,0,0,5", "0,0,5,-1", "1.5,0,1,1"):
        with pytest.raises(UsageError):
            boxes.parse(wrong)


PACKED = files.element(0x7FE00010, "OW", bytes(9))
PROGRESSIVE, PART_2 = "1.2.840.10008.1.2.4.55", "1.2.840.10008.1.2.4.92"


@pytest.mark.parametrize(
    ("syntax", "parts", "wanted"),
    [
        (syntaxes.EXPLICIT, [files.attributes()], InvalidDataSetError),
        (syntaxes.EXPLICIT, [files.attributes(0, 0), files.element(0x7FE00010, "OB", b"ab")], InvalidDataSetError),
        (syntaxes.EXPLICIT, [files.attributes(), files.element(0x7FE00010, "OB", b"ab")], InvalidDataSetError),
        (syntaxes.EXPLICIT, [files.attributes(bits=12), PACKED], UnsupportedSyntaxError),
        (syntaxes.JPEG_LS, [files.attributes(), files.encapsulated([b"\xff\xd8rubbish!"])], InvalidDataSetError),
        (syntaxes.RLE, [files.attributes(), files.encapsulated([bytes(64)])], InvalidDataSetError),
        (syntaxes.DEFLATED_FRAME, [files.attributes(), files.encapsulated([b"rubbish!"])], InvalidDataSetError),
        (files.VIDEO, [files.attributes(frames=2), files.encapsulated([b"\0\0\1\xba"])], UnsupportedSyntaxError),
        (PROGRESSIVE, [files.attributes(), files.encapsulated([b"\xff\xd8rubbish!"])], InvalidDataSetError),
        (PART_2, [files.attributes(), files.encapsulated([b"\xff\x4f\xff\x51"])], UnsupportedSyntaxError),
    ],
)  # fmt: skip
def test_what_cannot_be_cleaned_is_refused_and_leaves_nothing(tmp_path, syntax, parts, wanted):
    source = files.write(tmp_path / "x", syntax, *parts)
    with pytest.raises(wanted):
        clean(source, (0, 0, 2, 2))
    assert os.listdir(tmp_path) == ["x"]


def test_a_frame_that_is_damaged_leaves_nothing(tmp_path):
    source = in_syntax(made(tmp_path / "x", "8 bits", frames=3), "jpegls")
    data = bytearray(source.read_bytes())
    last = data.rindex(b"\xff\xd8\xff")
    data[last : last + 8] = bytes(8)
    source.write_bytes(data)
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(DcmkitError, match="frame 3"):
        clean(source, BOX)
    assert sorted(os.listdir(tmp_path)) == before


def test_it_stays_in_its_transfer_syntax(tmp_path):
    source = made(tmp_path / "x", "8 bits")
    with ImageFile(source) as image, pytest.raises(UsageError):
        boxes.write(image, image.elements, tmp_path / "y", syntaxes.RLE, sop_class_uid="1.2", sop_instance_uid="1.2.3")


def test_progressive_jpeg_can_be_read_and_not_written(tmp_path):
    array, said = IMAGES["8 bits"]
    data = codecs.encode_frame(array, syntaxes.JPEG_BASELINE, said).data
    source = files.write(tmp_path / "x", PROGRESSIVE, files.attributes(41, 37), files.encapsulated([data]))
    with pytest.raises(UnsupportedSyntaxError):
        clean(source, BOX)


# --- frames for a writer, and how they get there ------------------------------------------------------------------


@pytest.mark.parametrize("syntax", ["explicit", "big-endian", "rle"])
def test_frames_for_a_writer(tmp_path, syntax):
    source = in_syntax(made(tmp_path / "x", "12 bits", frames=2), syntax)
    target = tmp_path / "y"
    with ImageFile(source) as image:
        with ImageWriter(
            target, image.elements, image.transfer_syntax_uid, sop_class_uid="1.2", sop_instance_uid="1.2.3"
        ) as writer:
            for frame in boxes.cleaned(image, [BOX]):
                writer.write_frame(frame.data)
            writer.commit()
        with pytest.raises(InvalidDataSetError):
            boxes.cleaned(image, [(900, 0, 1, 1)])
    assert_equal_outside(pixels(source), pixels(target))


def test_elements_are_those_given(tmp_path):
    source = made(tmp_path / "x", "8 bits")
    with ImageFile(source) as image:
        given = image.elements.without({0x00100010})
        boxes.write(
            image, given, tmp_path / "y", image.transfer_syntax_uid, sop_class_uid="1.2", sop_instance_uid="1.2.9",
            boxes=[BOX],
        )  # fmt: skip
    assert 0x00100010 not in elements_of(tmp_path / "y")
    assert pydicom.dcmread(tmp_path / "y").file_meta.MediaStorageSOPInstanceUID == "1.2.9"


def test_twice_is_the_same(tmp_path):
    for syntax in ("explicit", "jpegls", "jpeg-baseline", "j2k"):
        source = in_syntax(made(tmp_path / "x", "8 bits"), syntax)
        first = clean(source, BOX)[0].read_bytes()
        assert clean(source, BOX)[0].read_bytes() == first


@pytest.mark.parametrize("syntax", ["explicit", "jpegls"])
def test_memory_is_flat(tmp_path, syntax):
    array, said = described(np.zeros((256, 256)), 16)
    frames = 120
    source = tmp_path / "x"
    elements = files.attributes(256, 256, bits=16, frames=frames)
    data = codecs.encode_frame(array, named(syntax), said).data
    if syntax == "explicit":
        files.native(source, bytes(data) * frames, elements, "OW")
    else:
        files.write(
            source, named(syntax), elements, files.encapsulated([bytes(data) + b"\0" * (len(data) & 1)] * frames)
        )
    clean(source, BOX)
    tracemalloc.start()
    try:
        clean(source, BOX)
        assert tracemalloc.get_traced_memory()[1] < 6 << 20  # the file is 16 MB
    finally:
        tracemalloc.stop()
