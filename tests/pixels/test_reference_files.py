"""Files of other makers decode to what is known of them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.encaps import generate_frames

from dcmkit.errors import InvalidDataSetError
from dcmkit.pixels.codecs import decode_frame
from dcmkit.pixels.colors import to_rgb
from dcmkit.pixels.description import PixelDescription
from dcmkit.pixels.frames import Decoded
from dcmkit.pixels.image_file import ImageFile


def read(name: str) -> Any:
    """One of the files that come with pydicom."""
    path = get_testdata_file(name, download=False)
    if path is None:
        pytest.skip(f"{name} is not there")
    with warnings.catch_warnings():  # some are wrong in what pydicom warns of
        warnings.simplefilter("ignore")
        return pydicom.dcmread(str(path))


def described(data_set: Any) -> PixelDescription:
    return PixelDescription(
        data_set.Rows, data_set.Columns, data_set.SamplesPerPixel, data_set.PhotometricInterpretation,
        data_set.BitsAllocated, data_set.BitsStored, data_set.HighBit, data_set.PixelRepresentation,
        data_set.get("PlanarConfiguration") or 0, int(data_set.get("NumberOfFrames") or 1),
    )  # fmt: skip


def first_frame(data_set: Any) -> Decoded:
    description, uid = described(data_set), str(data_set.file_meta.TransferSyntaxUID)
    if data_set.file_meta.TransferSyntaxUID.is_encapsulated:
        frame = next(generate_frames(data_set.PixelData, number_of_frames=description.number_of_frames))
    else:
        frame = data_set.PixelData[: description.frame_bytes]
    return decode_frame(frame, uid, description)


@pytest.mark.parametrize(
    "name",
    ["MR_small_RLE", "MR_small_jp2klossless", "MR_small_jpeg_ls_lossless", "MR_small_bigendian", "MR_small_expb"],
)
def test_the_same_image_in_other_syntaxes(name: str) -> None:
    wanted = first_frame(read("MR_small.dcm"))
    decoded = first_frame(read(f"{name}.dcm"))
    assert np.array_equal(decoded.array, wanted.array)
    assert decoded.bits_stored == wanted.bits_stored
    assert not decoded.warnings


BARS = {5: (255, 0, 0), 15: (255, 128, 128), 25: (0, 255, 0), 35: (128, 255, 128), 45: (0, 0, 255),
        55: (128, 128, 255), 65: (0, 0, 0), 75: (64, 64, 64), 85: (192, 192, 192), 95: (255, 255, 255)}  # fmt: skip
"""Row to color of the bars in pydicom's SC_rgb files."""


@pytest.mark.parametrize(
    ("name", "off"),
    [
        ("SC_rgb_rle", 0), ("SC_rgb_jpeg_gdcm", 0), ("SC_rgb_gdcm_KY", 2), ("SC_rgb_dcmtk_+eb+cr", 2),
        ("SC_rgb_dcmtk_+eb+cy+n1", 5), ("SC_rgb_dcmtk_+eb+cy+n2", 5), ("SC_rgb_dcmtk_+eb+cy+np", 5),
        ("SC_rgb_dcmtk_+eb+cy+s2", 5), ("SC_rgb_dcmtk_+eb+cy+s4", 5), ("SC_rgb_jpeg_dcmtk", 5),
        ("SC_rgb_jpeg_lossy_gdcm", 5), ("SC_rgb_jls_lossy_line", 5),
        ("SC_rgb_jls_lossy_sample", 5),
    ],
)  # fmt: skip
def test_color_bars_by_others(name: str, off: int) -> None:
    decoded = first_frame(read(f"{name}.dcm"))
    rgb = to_rgb(decoded.array, decoded.photometric_interpretation, 8)
    for row, color in BARS.items():
        assert np.abs(rgb[row, 50].astype(int) - color).max() <= off, row


@pytest.mark.parametrize("name", ["SC_rgb_jpeg", "SC_rgb_jpeg_dcmd", "SC_rgb_jpeg_app14_dcmd",
                                  "SC_jpeg_no_color_transform", "SC_jpeg_no_color_transform_2"])  # fmt: skip
def test_components_that_were_never_transformed(name: str) -> None:
    """A picture on white paper: taken for luminance and chroma it would be pink or green."""
    decoded = first_frame(read(f"{name}.dcm"))
    assert decoded.photometric_interpretation == "RGB"
    assert decoded.array.shape == (256, 256, 3)
    assert decoded.array[0, 0].min() >= 240


@pytest.mark.parametrize(("name", "bits"), [("JPGExtended", 12), ("JPEG-lossy", 12)])
def test_twelve_bits_by_others(name: str, bits: int) -> None:
    decoded = first_frame(read(f"{name}.dcm"))
    assert decoded.array.shape == (1024, 256)
    assert decoded.bits_stored == bits
    assert 0 < int(decoded.array.max()) < 1 << bits


@pytest.mark.parametrize("name", ["JPEGLSNearLossless_08", "JPEGLSNearLossless_16", "J2K_pixelrep_mismatch",
                                  "693_J2KI", "JPEG2000", "examples_jpeg2k", "GDCMJ2K_TextGBR", "rtdose_rle_1frame",
                                  "SC_rgb_rle_16bit", "SC_rgb_rle_32bit"])  # fmt: skip
def test_others_decode(name: str) -> None:
    data_set = read(f"{name}.dcm")
    decoded = first_frame(data_set)
    assert decoded.array.shape[:2] == (data_set.Rows, data_set.Columns)
    assert int(decoded.array.max()) > int(decoded.array.min())


def test_a_codestream_of_another_sign() -> None:
    decoded = first_frame(read("J2K_pixelrep_mismatch.dcm"))
    assert "PixelRepresentation" in decoded.warnings[0]
    assert decoded.array.dtype == np.dtype("<i2")
    assert int(decoded.array.min()) == -2000


def test_a_codestream_that_was_tampered_with() -> None:
    """A sequence delimiter was written over the first bytes of SIZ: its size is damaged, the fragment is whole."""
    path = get_testdata_file("JPEG2000-embedded-sequence-delimiter.dcm", download=False)
    if path is None:
        pytest.skip("pydicom's file is not there")
    with ImageFile(str(path)) as image:
        data, description = bytes(image.frame(0)), image.description
        assert image.warnings == []
        assert description is not None
        assert len(data) == 250
        assert data.endswith(b"\xff\xd9")
        assert b"\xfe\xff\xdd\xe0" in data
        with pytest.raises(InvalidDataSetError, match="1024 rows and 3722445056 columns in 14540801 tiles"):
            decode_frame(data, image.transfer_syntax_uid, description)
    mended = data.replace(b"\xfe\xff\xdd\xe0", bytes(4))
    assert decode_frame(mended, image.transfer_syntax_uid, description).array.shape == (1024, 256)
