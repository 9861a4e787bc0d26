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
from dcmkit.dataset.part10 import read_file_header
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
