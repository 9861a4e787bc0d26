"""Conversion to uncompressed transfer syntaxes, held against pydicom."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import FileMetaDataset

from dcmkit.dataset.convert import to_uncompressed
from dcmkit.dataset.part10 import file_meta, read_file_header
from dcmkit.errors import InvalidDataSetError
from dcmkit.uids import EXPLICIT_VR_BIG_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, UNCOMPRESSED


def sample(name: str) -> Path:
    path = get_testdata_file(name, download=False)
    assert isinstance(path, str), f"{name} is not bundled with pydicom"
    return Path(path)


def read_back(data: bytes, syntax: str) -> Any:
    data_set = pydicom.filereader.read_dataset(
        BytesIO(data), syntax == IMPLICIT_VR_LITTLE_ENDIAN, syntax != EXPLICIT_VR_BIG_ENDIAN
    )
    data_set.file_meta = FileMetaDataset()
    data_set.file_meta.TransferSyntaxUID = syntax
    return data_set


@pytest.mark.parametrize("target", UNCOMPRESSED)
@pytest.mark.parametrize(
    "name",
    [
        "CT_small.dcm",
        "MR_small_implicit.dcm",
        "MR_small_bigendian.dcm",
        "MR_small_RLE.dcm",
        "MR_small_jp2klossless.dcm",
        "image_dfl.dcm",
        "liver_1frame.dcm",
    ],
)
def test_pixels_and_attributes_survive(name: str, target: str) -> None:
    path = sample(name)
    before = pydicom.dcmread(path)
    after = read_back(to_uncompressed(str(path), read_file_header(path), target), target)
    assert np.array_equal(after.pixel_array, before.pixel_array)
    assert after.SOPInstanceUID == before.SOPInstanceUID
    for element in before:
        if element.VR not in ("OB", "OW", "OB or OW", "SQ", "UN") and element.keyword != "PhotometricInterpretation":
            assert after[element.tag].value == element.value, element


def test_there_and_back_is_the_same_bytes() -> None:
    path = sample("MR_small_bigendian.dcm")
    little = to_uncompressed(str(path), read_file_header(path), EXPLICIT_VR_LITTLE_ENDIAN)
    assert read_back(little, EXPLICIT_VR_LITTLE_ENDIAN).PixelData == pydicom.dcmread(sample("MR_small.dcm")).PixelData


def test_bare_data_sets(tmp_path: Path) -> None:
    whole = sample("MR_small_implicit.dcm")
    header = read_file_header(whole)
    bare = tmp_path / "bare"
    bare.write_bytes(whole.read_bytes()[header.offset :])
    header = read_file_header(bare, allow_bare=True)
    data = to_uncompressed(str(bare), header, EXPLICIT_VR_LITTLE_ENDIAN)
    assert np.array_equal(read_back(data, EXPLICIT_VR_LITTLE_ENDIAN).pixel_array, pydicom.dcmread(whole).pixel_array)


WORDS = {
    0x00281201: ("OW", 2), 0x00660016: ("OF", 4), 0x00660040: ("OL", 4), 0x7FE00009: ("OD", 8), 0x7FE00001: ("OV", 8),
}  # fmt: skip
"""Elements whose values are streams of words, and the bytes of a word (PS3.5 6.2)."""
STREAM = bytes(range(16))


@pytest.mark.parametrize("source", UNCOMPRESSED)
@pytest.mark.parametrize("target", UNCOMPRESSED)
def test_streams_of_words_are_swapped_in_their_own_size_wherever_they_are(
    tmp_path: Path, source: str, target: str
) -> None:
    item = pydicom.Dataset()
    item.LUTDescriptor = [256, 0, 16]
    item.add_new(0x00283006, "OW", swapped(STREAM, 2, source))  # without its VR: US or OW
    outer = pydicom.Dataset()
    outer.ModalityLUTSequence = [item]
    whole = pydicom.Dataset()
    whole.SOPClassUID, whole.SOPInstanceUID, whole.PixelRepresentation, whole.BitsAllocated = "1.2", "1.2.3", 0, 16
    whole.SharedFunctionalGroupsSequence = [outer, item]
    for tag, (vr, size) in WORDS.items():
        whole.add_new(tag, vr, swapped(STREAM, size, source))
    path = tmp_path / "words.dcm"
    path.write_bytes(file_meta("1.2", "1.2.3", source) + encoded(whole, source))
    after = read_back(to_uncompressed(str(path), read_file_header(path), target), target)
    for tag, (vr, size) in WORDS.items():
        if vr != "OV":  # read as numbers by pydicom where a data set does not say
            assert after[tag].value == swapped(STREAM, size, target), vr
    first, second = after.SharedFunctionalGroupsSequence
    for found in (first.ModalityLUTSequence[0], second):
        assert found[0x00283006].value == swapped(STREAM, 2, target)
        assert found.LUTDescriptor == [256, 0, 16]


def swapped(value: bytes, size: int, syntax: str) -> bytes:
    """Little endian words in the byte order of `syntax`."""
    if syntax != EXPLICIT_VR_BIG_ENDIAN:
        return value
    return b"".join(value[at : at + size][::-1] for at in range(0, len(value), size))


def encoded(data_set: pydicom.Dataset, syntax: str) -> bytes:
    output = pydicom.filebase.DicomBytesIO()
    output.is_implicit_VR = syntax == IMPLICIT_VR_LITTLE_ENDIAN
    output.is_little_endian = syntax != EXPLICIT_VR_BIG_ENDIAN
    pydicom.filewriter.write_dataset(output, data_set)
    return output.getvalue()


def test_words_of_pixels_are_16_bit_even_where_pixels_are_32() -> None:
    """PS3.5 6.2: OW is a stream of 16-bit words, whatever they make up; DCMTK's dcmconv does the same."""
    path = sample("rtdose_1frame.dcm")
    big = read_back(to_uncompressed(str(path), read_file_header(path), EXPLICIT_VR_BIG_ENDIAN), EXPLICIT_VR_BIG_ENDIAN)
    assert big.PixelData == swapped(pydicom.dcmread(path).PixelData, 2, EXPLICIT_VR_BIG_ENDIAN)


def test_values_of_odd_length_are_swapped_as_far_as_they_go(tmp_path: Path) -> None:
    path = tmp_path / "odd.dcm"
    data_set = b"\x7f\xe0\0\x10OW\0\0\0\0\0\x05\1\2\3\4\5"
    path.write_bytes(file_meta("1.2", "1.2.3", EXPLICIT_VR_BIG_ENDIAN) + data_set)
    after = to_uncompressed(str(path), read_file_header(path), EXPLICIT_VR_LITTLE_ENDIAN)
    assert after == b"\xe0\x7f\x10\0OW\0\0\6\0\0\0\2\1\4\3\5\0"


@pytest.mark.parametrize("name", ["MR_small.dcm", "MR_small_RLE.dcm", "MR_small_bigendian.dcm", "image_dfl.dcm"])
@pytest.mark.parametrize("cut", [20, 500])
def test_a_truncated_file_is_not_made_a_whole_one(tmp_path: Path, name: str, cut: int) -> None:
    path = tmp_path / name
    path.write_bytes(sample(name).read_bytes()[:-cut])
    with pytest.raises(InvalidDataSetError):
        to_uncompressed(str(path), read_file_header(path), IMPLICIT_VR_LITTLE_ENDIAN)


def test_a_deflated_data_set_needs_its_file_meta_information(tmp_path: Path) -> None:
    path = sample("image_dfl.dcm")
    header = read_file_header(path)
    bare = tmp_path / "bare"
    bare.write_bytes(path.read_bytes()[header.offset :])
    with pytest.raises(InvalidDataSetError, match="without file meta information"):
        to_uncompressed(str(bare), header._replace(offset=0), EXPLICIT_VR_LITTLE_ENDIAN)


def test_nothing_is_said_about_odd_values(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What pydicom would warn of holds them, and they may be a patient's."""
    odd = pydicom.Dataset()
    odd.SOPClassUID, odd.SOPInstanceUID = "1.2", "1.2.3"
    path = tmp_path / "odd.dcm"
    data = encoded(odd, EXPLICIT_VR_LITTLE_ENDIAN) + b"\x10\0\x30\0DA\x08\0Jane Doe" + b"\x10\0\x10\x10AS\4\0DoeJ"
    data += b"\x28\0\x06\x01SS\2\0\1\0"
    path.write_bytes(file_meta("1.2", "1.2.3", EXPLICIT_VR_LITTLE_ENDIAN) + data)
    for target in UNCOMPRESSED:
        assert b"Jane Doe" in to_uncompressed(str(path), read_file_header(path), target)
    assert "Doe" not in caplog.text


@pytest.mark.filterwarnings("ignore")
def test_what_cannot_be_decoded_is_said(tmp_path: Path) -> None:
    path = sample("MR_small_jp2klossless.dcm")
    damaged = tmp_path / "damaged.dcm"
    content = bytearray(path.read_bytes())
    at = content.rindex(b"\xff\x4f\xff\x51")
    content[at : at + 200] = bytes(200)
    damaged.write_bytes(content)
    with pytest.raises(InvalidDataSetError, match="cannot be converted from JPEG 2000"):
        to_uncompressed(str(damaged), read_file_header(damaged), EXPLICIT_VR_LITTLE_ENDIAN)
    with pytest.raises(InvalidDataSetError, match="cannot be converted"):
        to_uncompressed(str(tmp_path / "gone"), read_file_header(path), EXPLICIT_VR_LITTLE_ENDIAN)
