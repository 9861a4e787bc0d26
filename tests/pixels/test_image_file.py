"""Files of images, as pydicom reads them, and as nobody should."""

from __future__ import annotations

import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.encaps import generate_frames
from pydicom.errors import InvalidDicomError

from dcmkit.dataset import elements
from dcmkit.errors import InputError, InvalidDataSetError
from dcmkit.pixels import image_file as module
from dcmkit.pixels.image_file import ImageFile, swapped_pairs
from dcmkit.uids import DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN
from tests.dataset.encoding import encode
from tests.pixels.files import JPEG, SOI, attributes, element, encapsulated, item, native, write

BUNDLED = (
    "CT_small.dcm", "MR_small.dcm", "MR_small_RLE.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm",
    "MR_small_padded.dcm", "JPEG2000.dcm", "JPEG-lossy.dcm", "SC_rgb_rle_2frame.dcm", "emri_small_RLE.dcm",
    "emri_small_jpeg_ls_lossless.dcm", "image_dfl.dcm", "rtdose.dcm", "examples_palette.dcm", "examples_ybr_color.dcm",
    "SC_rgb_jpeg_dcmtk.dcm", "color3d_jpeg_baseline.dcm", "SC_ybr_full_422_uncompressed.dcm", "693_J2KI.dcm",
)  # fmt: skip


def bundled(name: str) -> Path:
    found = get_testdata_file(name, download=False)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return Path(str(found))


@pytest.mark.parametrize("name", BUNDLED)
def test_frames_and_elements_are_those_pydicom_finds(name: str) -> None:
    path = bundled(name)
    theirs = dcmread(path)
    with ImageFile(path) as image:
        frames = [bytes(image.frame(index)) for index in range(image.number_of_frames)]
        assert image.number_of_frames == int(theirs.get("NumberOfFrames", 1))
        if theirs.file_meta.TransferSyntaxUID.is_encapsulated:
            assert frames == list(generate_frames(theirs.PixelData, number_of_frames=len(frames)))
        else:
            assert theirs.PixelData.startswith(b"".join(frames))
        assert image.description is not None
        assert image.description.rows == theirs.Rows
        assert image.description.photometric_interpretation == theirs.PhotometricInterpretation
        wanted = {int(one.tag) for one in theirs if one.keyword != "PixelData" and one.tag.element}
        assert set(image.data_set) == wanted - {0xFFFCFFFC}


@pytest.mark.parametrize("name", BUNDLED)
def test_frames_lie_where_it_is_said(name: str) -> None:
    path = bundled(name)
    content = path.read_bytes()
    with ImageFile(path) as image:
        for index in range(image.number_of_frames):
            places = image.places(index)
            if places is None:
                assert name == "image_dfl.dcm"
                continue
            assert b"".join(content[start : start + length] for start, length in places) == image.frame(index)
        with pytest.raises(InvalidDataSetError, match="there is no frame"):
            image.places(image.number_of_frames)


def test_all_bundled_files_that_pydicom_reads(tmp_path: Path) -> None:
    """What pydicom reads to its end is read here, and the frames are the same; the truncated are refused."""
    different, count = [], 0
    for path in sorted(bundled("CT_small.dcm").parent.rglob("*.dcm")):
        try:
            with ImageFile(path) as image, warnings.catch_warnings():
                warnings.simplefilter("ignore")
                frames = [bytes(image.frame(index)) for index in range(image.number_of_frames)]
                theirs = dcmread(path)
                value = theirs.PixelData if frames else b""
        except (InvalidDicomError, InvalidDataSetError):
            different.append(path.stem)
            continue
        if theirs.file_meta.TransferSyntaxUID.is_encapsulated and frames:
            value = b"".join(generate_frames(value, number_of_frames=len(frames)))
        described = image.description
        if image.encoding.big_endian and described and described.bits_allocated == 8 and theirs["PixelData"].VR == "OW":
            value = swapped_pairs(value)
        if not value.startswith(b"".join(frames)):
            different.append(path.stem)
        count += 1
    assert count > 70
    assert set(different) <= NOT_ALIKE, set(different) - NOT_ALIKE


NOT_ALIKE = {
    "ExplVR_BigEndNoMeta", "ExplVR_LitEndNoMeta", "rtstruct", "OT-PAL-8-face", "no_meta",  # no file meta
    "MR_truncated", "rtplan_truncated", "emri_small_jpeg_2k_lossless_too_short", "MR_small_truncated",
    "meta_missing_tsyntax", "nested_priv_SQ",  # pixel data without rows and columns
}  # fmt: skip


def open_all(path: Path) -> list[bytes]:
    """Everything there is to read."""
    with ImageFile(path) as image:
        assert isinstance(image.data_set, dict)
        return [bytes(image.frame(index)) for index in range(image.number_of_frames)]


def test_native_frames(tmp_path: Path) -> None:
    path = native(tmp_path / "a.dcm", bytes(range(12)), attributes(frames=2))
    with ImageFile(path) as image:
        assert [bytes(image.frame(index)) for index in (1, 0)] == [bytes(range(6, 12)), bytes(range(6))]
        assert isinstance(image.frame(0), memoryview)
        assert not image.warnings
        assert image.header.sop_instance_uid == "1.2.3"
        assert elements.text(image.data_set, 0x00100010) == "A^B"
        with pytest.raises(InvalidDataSetError, match="no frame 3"):
            image.frame(2)


@given(st.integers(1, 5), st.integers(1, 9), st.integers(1, 5), st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_one_bit_frames_begin_at_a_byte(rows: int, columns: int, frames: int, random: Random) -> None:
    size = rows * columns
    bits = [random.randrange(2) for _ in range(size * frames)]
    packed = int("".join(map(str, reversed(bits))), 2).to_bytes((len(bits) + 7) // 8, "little")
    with TemporaryDirectory() as directory:
        path = native(Path(directory) / "a.dcm", packed, attributes(rows, columns, 1, frames))
        for index, frame in enumerate(open_all(path)):
            found = [frame[at // 8] >> at % 8 & 1 for at in range(len(frame) * 8)]
            assert found[:size] == bits[index * size : index * size + size]
            assert not any(found[size:])


def test_one_bit_frames_in_big_endian_words(tmp_path: Path) -> None:
    data_set = [
        (0x00280002, "US", b"\0\1"), (0x00280008, "IS", b"3 "), (0x00280010, "US", b"\0\1"),
        (0x00280011, "US", b"\0\5"), (0x00280100, "US", b"\0\1"), (0x7FE00010, "OW", b"\x5b\x41"),
    ]  # fmt: skip
    path = write(tmp_path / "a.dcm", EXPLICIT_VR_BIG_ENDIAN, encode(data_set, EXPLICIT_VR_BIG_ENDIAN))
    value = 0x5B41
    assert open_all(path) == [bytes((value >> 5 * index & 31,)) for index in range(3)]


def test_pixel_data_too_short_or_too_long(tmp_path: Path) -> None:
    with ImageFile(native(tmp_path / "a.dcm", bytes(10), attributes(frames=2))) as image:
        assert image.warnings == ["the pixel data has 10 bytes, and should have 12"]
        assert bytes(image.frame(0)) == bytes(6)
        with pytest.raises(InvalidDataSetError, match="ends before frame 2 of 2"):
            image.frame(1)
    with ImageFile(native(tmp_path / "a.dcm", bytes(20), attributes(frames=2))) as image:
        assert image.warnings == ["the pixel data has 20 bytes, 8 more than it needs"]
        assert bytes(image.frame(1)) == bytes(6)


def test_a_number_of_frames_that_is_missing_or_none(tmp_path: Path) -> None:
    for given_frames in (b"", element(0x00280008, "IS", b"many"), element(0x00280008, "IS", b"-4")):
        path = native(tmp_path / "a.dcm", bytes(18), given_frames + attributes())
        with ImageFile(path) as image:
            assert image.number_of_frames == 3
            assert image.warnings
    with ImageFile(native(tmp_path / "a.dcm", bytes(6), attributes())) as image:
        assert image.number_of_frames == 1
        assert not image.warnings


def test_frames_no_memory_is_taken_for(tmp_path: Path) -> None:
    path = native(tmp_path / "a.dcm", bytes(6), attributes(65535, 65535, 64, 2147483647))
    with ImageFile(path) as image, pytest.raises(InvalidDataSetError, match="ends before frame"):
        image.frame(2147483646)
    with ImageFile(native(tmp_path / "a.dcm", bytes(6), attributes(0))) as image:
        assert image.warnings
        with pytest.raises(InvalidDataSetError, match="no rows"):
            image.frame(0)


def test_ybr_full_422_that_is_none(tmp_path: Path) -> None:
    samples = element(0x00280002, "US", b"\3\0")
    for length, photometric in ((12, "YBR_FULL_422"), (18, "YBR_FULL")):
        path = native(tmp_path / "a.dcm", bytes(length), attributes(photometric="YBR_FULL_422") + samples)
        with ImageFile(path) as image:
            assert image.description is not None
            assert image.description.photometric_interpretation == photometric
            assert len(image.frame(0)) == length
            assert bool(image.warnings) == (length == 18)


def test_encapsulated_in_a_defined_length(tmp_path: Path) -> None:
    for value in (item(b"") + item(SOI + b"1234"), SOI + b"1234"):
        path = write(tmp_path / "a.dcm", JPEG, attributes(), element(0x7FE00010, "OB", value))
        assert open_all(path) == [SOI + b"1234"]
    path = write(tmp_path / "a.dcm", EXPLICIT_VR_LITTLE_ENDIAN, attributes(), encapsulated([SOI]))
    with pytest.raises(InvalidDataSetError, match="encapsulated"):
        ImageFile(path)


def test_elements_after_the_pixel_data_are_there(tmp_path: Path) -> None:
    after = element(0xFFFCFFFC, "OB", b"1234") + bytes(8)
    path = write(tmp_path / "a.dcm", JPEG, attributes(frames=2), encapsulated([SOI, SOI + b"ab"]), after)
    with ImageFile(path) as image:
        assert 0xFFFCFFFC in image.elements
        assert bytes(image.frame(1)) == SOI + b"ab"
    float_pixels = element(0x7FE00008, "OW", struct.pack("<f", 1.5)).replace(b"OW", b"OF")
    with ImageFile(write(tmp_path / "b.dcm", EXPLICIT_VR_LITTLE_ENDIAN, attributes(1, 1, 32), float_pixels)) as image:
        assert image.description is not None
        assert image.description.dtype == "<f4"
        assert bytes(image.frame(0)) == struct.pack("<f", 1.5)


def test_without_pixel_data(tmp_path: Path) -> None:
    with ImageFile(write(tmp_path / "a.dcm", EXPLICIT_VR_LITTLE_ENDIAN, attributes())) as image:
        assert image.description is None
        assert image.number_of_frames == 0
        with pytest.raises(InvalidDataSetError):
            image.frame(0)


def test_without_file_meta_information(tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    path.write_bytes(attributes() + element(0x7FE00010, "OB", b"123456"))
    assert open_all(path) == [b"123456"]


def test_a_bomb_in_a_deflated_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deflater = zlib.compressobj(9, wbits=-15)
    data = deflater.compress(attributes(1024, 1024) + element(0x7FE00010, "OB", bytes(1 << 20))) + deflater.flush()
    path = write(tmp_path / "a.dcm", DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, data)
    assert open_all(path) == [bytes(1 << 20)]
    with pytest.raises(InvalidDataSetError, match="longer than 1000 bytes"):
        ImageFile(path, inflated_limit=1000)
    monkeypatch.setattr(module, "_BOMB_SIZE", 1 << 19)
    with pytest.raises(InvalidDataSetError, match="becomes longer"):
        ImageFile(path)


@pytest.mark.parametrize("syntax", [JPEG, EXPLICIT_VR_LITTLE_ENDIAN, DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN])
def test_every_cut_is_an_error(tmp_path: Path, syntax: str) -> None:
    frames = encapsulated([SOI, SOI + b"ab"], [0, 12]) if syntax == JPEG else element(0x7FE00010, "OB", bytes(12))
    whole = attributes(frames=2) + frames
    if syntax == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
        deflater = zlib.compressobj(wbits=-15)
        whole = deflater.compress(whole) + deflater.flush()
    path = write(tmp_path / "a.dcm", syntax, whole)
    assert len(open_all(path)) == 2
    data, passed = path.read_bytes(), 0
    for cut in range(len(data)):
        path.write_bytes(data[:cut])
        try:
            with ImageFile(path) as image:
                assert image.description is None  # cut between two elements before the pixel data
                passed += 1
        except InvalidDataSetError:
            pass
    assert passed <= 12


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        ImageFile(tmp_path / "missing")
    with pytest.raises(InputError):
        ImageFile(tmp_path)
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "text").write_bytes(b"no such thing" * 99)
    for name in ("empty", "text"):
        with pytest.raises(InvalidDataSetError):
            ImageFile(tmp_path / name)


def test_views_outlive_the_file(tmp_path: Path) -> None:
    with ImageFile(native(tmp_path / "a.dcm", b"123456", attributes())) as image:
        frame = image.frame(0)
    assert bytes(frame) == b"123456"


def test_frames_in_threads(tmp_path: Path) -> None:
    fragments = [SOI + bytes((index, 0)) for index in range(200)]
    wrong = [index * 14 for index in range(200)]
    wrong[100] += 1
    path = write(tmp_path / "a.dcm", JPEG, attributes(frames=200), encapsulated(fragments, wrong))
    with ImageFile(path) as image, ThreadPoolExecutor(4) as pool:
        found = [bytes(one) for one in pool.map(image.frame, range(200))]
    assert found == fragments
    assert image.warnings == ["the offset table is wrong"]
