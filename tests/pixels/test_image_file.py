"""Files of images, as pydicom reads them, and as nobody should."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.encaps import generate_frames

from dcmkit.pixels.image_file import ImageFile

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
