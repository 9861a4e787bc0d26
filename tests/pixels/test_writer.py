"""Files of images, written frame by frame."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import dcmread

from dcmkit.pixels.image_file import ImageFile
from dcmkit.pixels.writer import ImageWriter
from dcmkit.uids import DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from tests.pixels.test_image_file import bundled


@pytest.mark.parametrize("name", ["CT_small.dcm", "rtdose.dcm", "examples_palette.dcm"])
@pytest.mark.parametrize(
    "syntax", [EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN]
)
def test_what_is_written_is_what_pydicom_reads(tmp_path: Path, name: str, syntax: str) -> None:
    source, target = bundled(name), tmp_path / "out.dcm"
    with (
        ImageFile(source) as image,
        ImageWriter(target, image.elements, syntax, sop_class_uid="1.2", sop_instance_uid="1.2.3") as writer,
    ):
        for index in range(image.number_of_frames):
            writer.write_frame(image.frame(index))
        writer.commit()
    written, wanted = dcmread(target), dcmread(source)
    wanted.pop("DataSetTrailingPadding", None)
    assert written.file_meta.TransferSyntaxUID == syntax
    assert written.PixelData == wanted.PixelData
    assert {str(one) for one in written if one.VR != "UN"} <= {str(one) for one in wanted} | {str(written["PixelData"])}
    assert list(tmp_path.iterdir()) == [target]
