"""Objects with one peculiarity each that a de-identifier may stumble over."""

from __future__ import annotations

import gc
from datetime import date
from pathlib import Path
from struct import pack
from typing import TYPE_CHECKING

from tests.deid.planted import objects
from tests.deid.planted.objects import Study, made, reference
from tests.deid.planted.values import Planter

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4.1"


def study(planter: Planter) -> Study:
    """A study of a patient of its own."""
    return Study(planter, planter.name(), planter.token(), date(1930, 1, 2), planter.day(), "ISO_IR 192")


def character_set_of_an_item(planter: Planter) -> Dataset:
    """An item has another Specific Character Set than what is around it (PS3.3 C.12.1.1.2)."""
    data_set = objects.ct(study(planter))
    planter.letters = "юлкбыгджзф"
    item = made(SpecificCharacterSet="ISO_IR 144", PatientComments=planter.text("LT"), PatientName=planter.name())
    data_set.ReferencedSeriesSequence = [item, made(PatientName=f"{planter.token()}^山田{planter.token()}")]
    planter.letters = ""
    return data_set


def same_instance_twice(planter: Planter) -> list[Dataset]:
    """Two data sets with one SOP Instance UID, that differ."""
    one = study(planter)
    found = [objects.ct(one), objects.ct(one)]
    found[1].SOPInstanceUID = found[0].SOPInstanceUID
    return found


def several_uids(planter: Planter) -> Dataset:
    """Lists of UIDs, empty ones, and one that is none."""
    data_set = objects.ct(study(planter))
    own = [data_set.SOPInstanceUID, data_set.StudyInstanceUID, planter.uid(), planter.uid()]
    data_set.FailedSOPInstanceUIDList = own
    data_set.ReferencedSeriesSequence = [made(SeriesInstanceUID="", FailedSOPInstanceUIDList=own[2:])]
    data_set.ContributingEquipmentSequence[0].DeviceUID = "1.2." + planter.token()
    return data_set


def harmless_name(planter: Planter) -> Dataset:
    """A patient whose names are words of radiologists, in descriptions of all sorts."""
    data_set = objects.ct(study(planter))
    data_set.PatientName, data_set.BodyPartExamined = "SPINE^LATERAL", "HEAD"
    data_set.SeriesDescription = f"T2 SPINE LATERAL {planter.token()}"
    data_set.StudyDescription = "Mr. Spine, lateral"
    data_set.ProtocolName = f"spine/{data_set.PatientID}"
    return data_set


def embedded_overlay(planter: Planter) -> Dataset:
    """An overlay in bit 12 of the pixel data, as was allowed until 2004."""
    data_set = objects.ct(study(planter))
    data_set.PixelData = bytes(range(256)) * 2
    data_set.BitsStored, data_set.HighBit, data_set.PixelRepresentation = 12, 11, 0
    for tag, vr, value in (
        (0x60000010, "US", 16), (0x60000011, "US", 16), (0x60000040, "CS", "G"), (0x60000050, "SS", [1, 1]),
        (0x60000100, "US", 16), (0x60000102, "US", 12), (0x60000022, "LO", planter.text("LO")),
    ):  # fmt: skip
        data_set.add_new(tag, vr, value)
    data_set.PixelData = b"".join(pack("<H", 0x1234 if number % 3 else 0x0234) for number in range(256))
    return data_set


def enhanced(planter: Planter) -> Dataset:
    """An enhanced multi-frame image: functional groups with dates, comments and references."""
    one = study(planter)
    source = [objects.mr(one), objects.mr(one)]
    data_set = objects.describe(objects.example("MR_small.dcm"), one, "MR")
    data_set.SOPClassUID, data_set.NumberOfFrames = ENHANCED_MR, 2
    data_set.PixelData = data_set.PixelData * 2
    data_set.AcquisitionDateTime = one.day.strftime("%Y%m%d") + planter.clock()
    data_set.AcquisitionContextSequence = []
    data_set.DimensionOrganizationSequence = [made(DimensionOrganizationUID=planter.uid())]
    data_set.ReferencedImageEvidenceSequence = [
        made(
            StudyInstanceUID=one.uid,
            ReferencedSeriesSequence=[
                made(SeriesInstanceUID=source[0].SeriesInstanceUID, ReferencedSOPSequence=[reference(source[0])])
            ],
        )
    ]
    data_set.SharedFunctionalGroupsSequence = [made(ReferencedImageSequence=[reference(source[0])])]
    data_set.PerFrameFunctionalGroupsSequence = [
        made(
            FrameContentSequence=[
                made(
                    FrameReferenceDateTime=one.day.strftime("%Y%m%d") + planter.clock(),
                    FrameAcquisitionDateTime=one.day.strftime("%Y%m%d") + planter.clock(),
                    FrameComments=planter.text("LT"), FrameLabel=f"{number}",
                )
            ],
            DerivationImageSequence=[
                made(
                    DerivationDescription=planter.text("ST"), SourceImageSequence=[reference(source[number])],
                    DerivationCodeSequence=objects.code("113040", "DCM", "Lossy Compression"),
                )
            ],
            ReferencedImageSequence=[reference(source[number])],
        )
        for number in range(2)
    ]  # fmt: skip
    return data_set


def commented(planter: Planter) -> Dataset:
    """A JPEG image with a camera's comments: COM, EXIF, XMP, an unknown APP."""
    from pydicom.encaps import encapsulate, generate_frames

    one = study(planter)
    data_set = objects.describe(objects.example("SC_rgb_jpeg_dcmtk.dcm"), one, "CT")
    data_set.SOPClassUID, data_set.ImageType = objects.CT, ["ORIGINAL", "PRIMARY", "AXIAL"]
    frame = next(generate_frames(data_set.PixelData, number_of_frames=1))
    comments = b""
    for marker, start in ((0xFE, b""), (0xE1, b"Exif\0\0MM"), (0xE1, b"http://ns.adobe.com/xap/1.0/\0"), (0xED, b"")):
        text = start + f"{one.name} {planter.token()}".encode()
        comments += b"\xff" + bytes([marker]) + pack(">H", len(text) + 2) + text
    frame = frame[:2] + comments + frame[2:]
    data_set.PixelData = encapsulate([frame + b"\0" * (len(frame) % 2)])
    data_set["PixelData"].is_undefined_length = True
    return data_set


def media(root: Path, planter: Planter) -> list[str]:
    """A medium with a DICOMDIR; the names of its files."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.fileset import FileSet
    from pydicom.uid import ExplicitVRLittleEndian

    one = study(planter)
    files = FileSet()
    files.ID = planter.token().upper()[:8]
    for _ in range(2):
        data_set = objects.ct(one)
        data_set.file_meta = FileMetaDataset()
        data_set.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        files.add(data_set)
    files.write(root / "media")
    del files
    gc.collect()  # its temporary directory goes here, with the warning of that
    return [path.relative_to(root).as_posix() for path in sorted((root / "media").rglob("*")) if path.is_file()]
