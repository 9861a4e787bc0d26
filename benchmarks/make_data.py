"""Make the benchmark data: CT, MR, multi-frame and one object of 3 GB, with headers as scanners write them.

    python benchmarks/make_data.py [DIRECTORY] [--only ct mr multiframe huge]

What is already there is kept, so a second run costs nothing. All are uncompressed, explicit VR little endian.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

DEFAULT_DIRECTORY = Path(__file__).parent / "data"
ROOT = "1.2.826.0.1.3680043.9.9999"
CT, MR, MULTIFRAME_CT = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.7.3"
SERIES = 4
"""Each modality's objects lie in so many folders, one per series, so that parallel senders share nothing."""

PATIENT = {
    "SpecificCharacterSet": "ISO_IR 100", "PatientName": "Benchmark^Bernadette^M", "PatientID": "BENCH-0001",
    "IssuerOfPatientID": "BENCHMARK HOSPITAL", "PatientBirthDate": "19610417", "PatientSex": "F",
    "PatientAge": "063Y", "PatientSize": "1.68", "PatientWeight": "71.5", "PatientComments": "synthetic",
    "EthnicGroup": "", "Occupation": "", "AdditionalPatientHistory": "none of note", "PregnancyStatus": 4,
}  # fmt: skip
STUDY = {
    "StudyDate": "20240517", "SeriesDate": "20240517", "AcquisitionDate": "20240517", "ContentDate": "20240517",
    "StudyTime": "093012.120000", "SeriesTime": "093512.730000", "AcquisitionTime": "093544.125000",
    "ContentTime": "093545.010000", "AccessionNumber": "A240517001", "StudyID": "240517",
    "ReferringPhysicianName": "Referrer^Rita^^Dr.", "PerformingPhysicianName": "Performer^Paul",
    "NameOfPhysiciansReadingStudy": "Reader^Rosa", "OperatorsName": "Operator^Otto",
    "StudyDescription": "Abdomen with contrast", "SeriesDescription": "Portal venous 1.0 soft",
    "InstitutionName": "Benchmark General Hospital", "InstitutionAddress": "1 Loopback Lane",
    "InstitutionalDepartmentName": "Radiology", "StationName": "STATION7", "Manufacturer": "Synthetic Scanners",
    "ManufacturerModelName": "Model 7000", "DeviceSerialNumber": "7000-1234", "SoftwareVersions": ["VX10A", "SP2"],
    "ProtocolName": "Abdomen/Pelvis routine", "BodyPartExamined": "ABDOMEN", "PatientPosition": "HFS",
    "RequestingPhysician": "Requester^Ron", "RequestingService": "INTERNAL MEDICINE",
    "RequestedProcedureDescription": "CT abdomen and pelvis with contrast", "CurrentPatientLocation": "WARD 3",
    "PerformedProcedureStepStartDate": "20240517", "PerformedProcedureStepStartTime": "092800",
    "PerformedProcedureStepID": "PPS240517", "PerformedProcedureStepDescription": "Abdomen",
    "PositionReferenceIndicator": "XY", "TimezoneOffsetFromUTC": "+0200", "LossyImageCompression": "00",
}  # fmt: skip
PIXELS = {
    "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": 16, "BitsStored": 12,
    "HighBit": 11, "PixelRepresentation": 0, "WindowCenter": ["40", "400"], "WindowWidth": ["400", "1800"],
    "WindowCenterWidthExplanation": ["ABDOMEN", "BONE"], "BurnedInAnnotation": "NO",
    "PresentationLUTShape": "IDENTITY", "SmallestImagePixelValue": 0, "LargestImagePixelValue": 4095,
}  # fmt: skip
CT_TECHNIQUE = {
    "ScanOptions": "HELICAL MODE", "SliceThickness": "1.25", "KVP": "120", "DataCollectionDiameter": "500",
    "ReconstructionDiameter": "360", "DistanceSourceToDetector": "949.075", "DistanceSourceToPatient": "541",
    "GantryDetectorTilt": "0", "TableHeight": "157.5", "RotationDirection": "CW", "ExposureTime": "500",
    "XRayTubeCurrent": "310", "Exposure": "155", "ExposureInuAs": "155000", "FilterType": "BODY FILTER",
    "GeneratorPower": "37200", "FocalSpots": "1.2", "ConvolutionKernel": "STANDARD", "RevolutionTime": 0.5,
    "SingleCollimationWidth": 0.625, "TotalCollimationWidth": 40.0, "TableSpeed": 78.75,
    "TableFeedPerRotation": 39.375, "SpiralPitchFactor": 0.984375, "CTDIvol": 11.25,
    "ContrastBolusAgent": "Synthol 350", "ContrastBolusRoute": "IV", "ContrastBolusVolume": "95",
    "RescaleIntercept": "-1024", "RescaleSlope": "1", "RescaleType": "HU",
}  # fmt: skip
MR_TECHNIQUE = {
    "ScanningSequence": "SE", "SequenceVariant": ["SK", "SP", "OSP"], "ScanOptions": ["PFP", "FS"],
    "MRAcquisitionType": "2D", "SequenceName": "*tse2d1_15", "AngioFlag": "N", "SliceThickness": "4",
    "RepetitionTime": "3800", "EchoTime": "102", "NumberOfAverages": "1", "ImagingFrequency": "63.67",
    "ImagedNucleus": "1H", "EchoNumbers": "1", "MagneticFieldStrength": "1.5", "SpacingBetweenSlices": "4.4",
    "NumberOfPhaseEncodingSteps": "60", "EchoTrainLength": "15", "PercentSampling": "80",
    "PercentPhaseFieldOfView": "100", "PixelBandwidth": "191", "TransmitCoilName": "Body",
    "ReceiveCoilName": "HeadMatrix", "AcquisitionMatrix": [0, 64, 72, 0], "FlipAngle": "150", "SAR": "0.91",
    "InPlanePhaseEncodingDirection": "ROW", "VariableFlipAngleFlag": "N", "dBdt": "0",
}  # fmt: skip


def filled(*groups: dict[str, Any]) -> Dataset:
    """A data set holding the attributes of each group."""
    made = Dataset()
    for group in groups:
        for keyword, value in group.items():
            setattr(made, keyword, value)
    return made


def code(value: str, meaning: str) -> Dataset:
    """A code sequence item (PS3.3 8.8)."""
    return filled({"CodeValue": value, "CodingSchemeDesignator": "99BENCH", "CodeMeaning": meaning})


def header(sop_class_uid: str, study: int, series: int, number: int, modality: str) -> Dataset:
    """What every object has: patient, study, series, references and a block of private elements."""
    data_set = filled(PATIENT, STUDY, PIXELS)
    data_set.SOPClassUID = UID(sop_class_uid)
    data_set.SOPInstanceUID = UID(f"{ROOT}.{study}.{series}.{number}")
    data_set.StudyInstanceUID = UID(f"{ROOT}.{study}")
    data_set.SeriesInstanceUID = UID(f"{ROOT}.{study}.{series}")
    data_set.FrameOfReferenceUID = UID(f"{ROOT}.{study}.0.9")
    data_set.Modality = modality
    data_set.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    data_set.InstanceCreationDate, data_set.InstanceCreationTime = "20240517", f"0936{number % 60:02}.000000"
    data_set.InstanceCreatorUID = UID(f"{ROOT}.1")
    data_set.SeriesNumber, data_set.AcquisitionNumber, data_set.InstanceNumber = series, 1, number
    data_set.ImagePositionPatient = ["-180.0", "-180.0", f"{-1.25 * number:.2f}"]
    data_set.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    data_set.SliceLocation = f"{-1.25 * number:.2f}"
    data_set.PixelSpacing = ["0.703125", "0.703125"]
    reference = filled({"ReferencedSOPClassUID": UID("1.2.840.10008.3.1.2.3.1")})
    reference.ReferencedSOPInstanceUID = UID(f"{ROOT}.{study}.0.1")
    data_set.ReferencedStudySequence = [reference]
    data_set.ProcedureCodeSequence = [code("CTAP", "CT abdomen and pelvis")]
    request = filled({"ScheduledProcedureStepID": "SPS1", "RequestedProcedureID": "RP1"})
    request.ScheduledProcedureStepDescription = "Abdomen and pelvis"
    request.ScheduledProtocolCodeSequence = [code("P17", "Portal venous")]
    data_set.RequestAttributesSequence = [request]
    private = data_set.private_block(0x0009, "BENCH SCANNER 1.0", create=True)
    for offset, (vr, value) in enumerate(
        (("LO", "internal"), ("DS", "1.5"), ("SH", "K7"), ("UL", 123456), ("OB", bytes(range(64))), ("FD", 0.125))
    ):
        private.add_new(0x10 + offset, vr, value)
    return data_set


def write(path: Path, data_set: Dataset, pixels: bytes | None) -> None:
    """Write a Part 10 file; with no `pixels` the pixel data element is left to the caller."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = data_set.SOPClassUID, data_set.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(f"{ROOT}.2")
    instance = FileDataset(str(path), data_set, preamble=b"\0" * 128, file_meta=meta)
    if pixels is not None:
        instance.PixelData = pixels
        instance["PixelData"].VR = "OW"
    dcmwrite(path, instance, enforce_file_format=True)


def make_series(directory: Path, count: int, make: Callable[[int, int], tuple[Dataset, bytes]]) -> None:
    """`count` objects in `SERIES` folders."""
    for number in range(1, count + 1):
        series = (number - 1) * SERIES // count + 1
        folder = directory / str(series)
        folder.mkdir(parents=True, exist_ok=True)
        data_set, pixels = make(series, number)
        write(folder / f"{number:05}.dcm", data_set, pixels)


def make_ct(directory: Path) -> None:
    """500 CT slices, 512 x 512, 16 bit."""
    noise = random.Random(1).randbytes(512 * 512 * 2 + 4096)

    def slice_of(series: int, number: int) -> tuple[Dataset, bytes]:
        data_set = header(CT, 1, series, number, "CT")
        data_set.update(filled(CT_TECHNIQUE, {"Rows": 512, "Columns": 512}))
        start = number * 8
        return data_set, noise[start : start + 512 * 512 * 2]

    make_series(directory, 500, slice_of)


def make_mr(directory: Path) -> None:
    """2,000 MR slices of 12 kB, the whole file."""
    noise = random.Random(2).randbytes(64 * 72 * 2 + 32768)

    def slice_of(series: int, number: int) -> tuple[Dataset, bytes]:
        data_set = header(MR, 2, series, number, "MR")
        data_set.update(filled(MR_TECHNIQUE, {"Rows": 72, "Columns": 64}))
        start = number * 8
        return data_set, noise[start : start + 64 * 72 * 2]

    make_series(directory, 2000, slice_of)


def make_multiframe(directory: Path) -> None:
    """2 multi-frame objects of 100 MB: 200 frames of 512 x 512, 16 bit."""
    directory.mkdir(parents=True)
    for number in (1, 2):
        make_frames(directory / f"{number}.dcm", 3, number, 200, random.Random(3).randbytes(1 << 20))


def make_huge(directory: Path) -> None:
    """One object of 3 GB; its pixels are a hole in the file, so it takes no room on disk."""
    directory.mkdir(parents=True)
    make_frames(directory / "huge.dcm", 4, 1, 6000, None)


def make_frames(path: Path, study: int, number: int, frames: int, noise: bytes | None) -> None:
    """A multi-frame grayscale object, its pixel data streamed or, without `noise`, left sparse."""
    data_set = header(MULTIFRAME_CT, study, 1, number, "OT")
    data_set.update(
        filled({"Rows": 512, "Columns": 512, "NumberOfFrames": frames, "FrameIncrementPointer": 0x00181063})
    )
    data_set.FrameTime = "40"
    length = frames * 512 * 512 * 2
    write(path, data_set, None)
    with path.open("ab") as sink:
        sink.write(b"\xe0\x7f\x10\x00OW\0\0" + length.to_bytes(4, "little"))
        if noise is None:
            sink.truncate(sink.tell() + length)
        else:
            for start in range(0, length, len(noise)):
                sink.write(noise[: length - start])


SETS: dict[str, Callable[[Path], None]] = {
    "ct": make_ct, "mr": make_mr, "multiframe": make_multiframe, "huge": make_huge,
}  # fmt: skip


def ensure(directory: Path, names: tuple[str, ...]) -> None:
    """Make the sets that are not there yet; each gets its name only when it is complete."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in names:
        if not (directory / name).exists():
            print(f"making {name} ...", file=sys.stderr)
            partial = directory / f"{name}.part"
            shutil.rmtree(partial, ignore_errors=True)
            SETS[name](partial)
            partial.rename(directory / name)


def warm(directory: Path) -> None:
    """Read every file once, so that the page cache holds it."""
    for path in directory.rglob("*.dcm"):
        with path.open("rb", buffering=0) as source:
            while source.readinto(bytearray(1 << 20)):
                pass


def main() -> None:
    """Make what is asked for and say what is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", nargs="?", type=Path, default=DEFAULT_DIRECTORY)
    parser.add_argument("--only", nargs="+", choices=list(SETS), default=list(SETS))
    arguments = parser.parse_args()
    ensure(arguments.directory, tuple(arguments.only))
    for name in arguments.only:
        files = [path for path in (arguments.directory / name).rglob("*") if path.is_file()]
        size = sum(os.stat(path).st_size for path in files)
        print(f"{name:12}{len(files):6} files {size / 1e6:10.1f} MB {size / len(files) / 1e3:12.1f} kB each")


if __name__ == "__main__":
    main()
