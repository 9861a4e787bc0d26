"""Directories of file-sets: read by pydicom, dcmdump and dciodvfy."""

from __future__ import annotations

import os
import shutil
import subprocess
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dcmkit.archive.dicomdir import NAME, Directory, FileNames, read_keys, record_type
from dcmkit.archive.located import Located
from dcmkit.dataset.elements import text
from dcmkit.dataset.part10 import file_meta, read_file_header
from dcmkit.errors import InputError, InvalidDataSetError
from dcmkit.uids import STORAGE_SOP_CLASSES
from tests.archive.objects import CT, image, part10
from tests.dataset.encoding import Items

EXPLICIT, DEFLATED = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99"
SR, KEY_OBJECT = "1.2.840.10008.5.1.4.1.1.88.11", "1.2.840.10008.5.1.4.1.1.88.59"
STATE, PDF, RAW = "1.2.840.10008.5.1.4.1.1.11.1", "1.2.840.10008.5.1.4.1.1.104.1", "1.2.840.10008.5.1.4.1.1.66"
STRUCTURES, PLAN, DOSE = (f"1.2.840.10008.5.1.4.1.1.481.{number}" for number in (3, 5, 2))
CODE = [(0x00080100, "SH", b"11528-7 "), (0x00080102, "SH", b"LN"), (0x00080104, "LO", b"Report")]
NO_PIXELS = (0x7FE00010, 0x00280010, 0x00280011)


def located(uid: str, sop_class: str = CT, study: str = "1.2.3.1", series: str = "1.2.3.2") -> Located:
    return Located(1, "", study, series, uid, sop_class, EXPLICIT, 0, 0, 0, 0, 1, "CT")


class FileSet:
    """A file-set on disk, as it grows."""

    def __init__(self, root: Path) -> None:
        self.root, self.names, self.directory = root, FileNames(), Directory("TEST")

    def add(
        self, uid: str, *, sop_class: str = CT, study: str = "1.2.3.1", series: str = "1.2.3.2", **how: Any
    ) -> None:
        path = self.names.of(study, series)
        file = self.root.joinpath(*path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(part10(uid, sop_class=sop_class, study=study, series=series, **how))
        self.directory.add(path, located(uid, sop_class, study, series), read_keys(str(file)), EXPLICIT)

    def write(self) -> Path:
        path = self.root / NAME
        path.write_bytes(self.directory.encode())
        return path


@pytest.fixture
def made(tmp_path: Path) -> FileSet:
    return FileSet(tmp_path)


def of_all_kinds(made: FileSet) -> None:
    made.add("1.2.1")
    made.add("1.2.2", series="1.7")
    made.add("1.2.3", study="1.8", series="1.9")
    made.add("1.2.4", study="1.18", series="1.19", patient="4712", name="Müller^Jörg")
    document = [(0x00080023, "DA", b"20240131"), (0x00080033, "TM", b"120000"), (0x0040A043, "SQ", Items([CODE]))]
    report = [*document, (0x0040A491, "CS", b"COMPLETE"), (0x0040A493, "CS", b"UNVERIFIED")]
    made.add("1.3.1", sop_class=SR, series="1.20", without=NO_PIXELS, more=report, modality="SR")
    made.add("1.3.2", sop_class=KEY_OBJECT, series="1.21", without=NO_PIXELS, more=document, modality="KO")
    shown = [(0x00081140, "SQ", Items([[(0x00081150, "UI", CT.encode()), (0x00081155, "UI", b"1.2.1")]]))]
    shows = [(0x00081115, "SQ", Items([[*shown, (0x0020000E, "UI", b"1.2.3.2")]]))]
    made.add("1.3.3", sop_class=STATE, series="1.22", without=NO_PIXELS, modality="PR", more=shows)
    made.add("1.3.4", sop_class=PDF, series="1.23", without=NO_PIXELS, modality="DOC")
    made.add("1.3.5", sop_class=RAW, series="1.24", without=NO_PIXELS)
    for number, sop_class in enumerate((STRUCTURES, PLAN, DOSE)):
        made.add(f"1.3.{6 + number}", sop_class=sop_class, series=f"1.3{number}", without=NO_PIXELS, modality="RT")
    made.add("1.3.9", sop_class="1.2.999.1", series="1.40", without=NO_PIXELS)


KINDS = {
    "IMAGE": 4, "SR DOCUMENT": 1, "KEY OBJECT DOC": 1, "PRESENTATION": 1, "ENCAP DOC": 1, "RAW DATA": 1,
    "RT STRUCTURE SET": 1, "RT PLAN": 1, "RT DOSE": 1, "PRIVATE": 1, "PATIENT": 2, "STUDY": 3, "SERIES": 13,
}  # fmt: skip


def records(path: Path) -> list[Any]:
    from pydicom import dcmread

    read = dcmread(path)
    assert read.file_meta.MediaStorageSOPClassUID == "1.2.840.10008.1.3.10"
    return list(read.DirectoryRecordSequence)


def test_all_kinds(made: FileSet) -> None:
    of_all_kinds(made)
    found = records(made.write())
    assert {kind: sum(one.DirectoryRecordType == kind for one in found) for kind in KINDS} == KINDS
    assert len(found) == sum(KINDS.values())
    report = next(one for one in found if one.DirectoryRecordType == "SR DOCUMENT")
    assert report.CompletionFlag == "COMPLETE"
    assert report.ConceptNameCodeSequence[0].CodeValue == "11528-7"
    assert report.ReferencedFileID == ["DICOM", "ST000001", "SE000005", "IM000001"]
    assert report.ReferencedSOPClassUIDInFile == SR
    names = [str(one.PatientName) for one in found if one.DirectoryRecordType == "PATIENT"]
    assert names == ["Doe^Jane", "Müller^Jörg"]


def test_pydicom_finds_the_files(made: FileSet) -> None:
    from pydicom.fileset import FileSet as Reader

    of_all_kinds(made)
    read = Reader(made.write())
    try:
        assert read.ID == "TEST"
        assert {one.SOPInstanceUID: one.load().SOPInstanceUID for one in read} == {
            one.SOPInstanceUID: one.SOPInstanceUID for one in read
        }
        assert len(read) == 13
        assert len(read.find(PatientID="4712")) == 1
        assert len(read.find(StudyInstanceUID="1.8")) == 1
    finally:
        read._stage["t"].cleanup()


def test_dcmdump_reads_it(made: FileSet) -> None:
    if not shutil.which("dcmdump"):
        pytest.skip("dcmdump is not installed")
    of_all_kinds(made)
    done = subprocess.run(["dcmdump", str(made.write())], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "W:" not in done.stderr
    assert "E:" not in done.stderr
    assert done.stdout.count("(0004,1430)") == sum(KINDS.values())


def test_dciodvfy_is_content(made: FileSet) -> None:
    if not shutil.which("dciodvfy"):
        pytest.skip("dciodvfy is not installed")
    of_all_kinds(made)
    done = subprocess.run(["dciodvfy", str(made.write())], capture_output=True, text=True, check=False)
    errors = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")]
    errors = [line for line in errors if "BlendingSequence" not in line]  # it wants that of every presentation state
    assert errors == []


def test_the_same_files_make_the_same_bytes(tmp_path: Path) -> None:
    made = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        one = FileSet(tmp_path / name)
        of_all_kinds(one)
        made.append(one.write().read_bytes())
    assert made[0] == made[1]


def test_an_empty_one(made: FileSet) -> None:
    assert records(made.write()) == []


def test_what_is_missing_is_made_up(made: FileSet) -> None:
    without = (0x00080020, 0x00100010, 0x00100020, 0x00200013, 0x00200011, 0x00080060)
    made.add("1.2.1", without=without)
    made.directory.add(("DICOM", "A", "B", "C"), located("1.2.2", "", "1.5", "1.6"), {}, EXPLICIT)
    found = records(made.write())
    assert [one.PatientID for one in found if one.DirectoryRecordType == "PATIENT"] == ["UNKNOWN1", "UNKNOWN2"]
    study = next(one for one in found if one.DirectoryRecordType == "STUDY")
    assert (study.StudyDate, study.StudyTime, study.StudyID) == ("19000101", "000000", "1")
    assert found[3].InstanceNumber == 1


def test_hostile_values(made: FileSet) -> None:
    made.add("1.2.1", name="A" * 60000, patient="x\\y\x1b[31m")
    made.add("1.2.2", series="1.7", more=[(0x00080005, "CS", b"NOSUCHSET "), (0x00081030, "LO", b"\xff\xfe\x80")])
    deep: Any = [(0x00080100, "SH", b"1 ")]
    for _ in range(20):
        deep = [(0x0040A043, "SQ", Items([deep]))]
    more = [(0x0040A043, "SQ", Items([deep])), (0x0040A730, "SQ", Items([[(0x0040A010, "CS", b"CONTAINS")]] * 50))]
    made.add("1.2.3", series="1.8", sop_class=SR, without=NO_PIXELS, more=more)
    found = records(made.write())
    assert len(str(found[0].PatientName)) <= 1024
    assert "ContentSequence" not in next(one for one in found if one.DirectoryRecordType == "SR DOCUMENT")


@pytest.mark.parametrize(
    "raw", [b"", b"no DICOM at all", part10("1.2")[:200], file_meta(CT, "1.2", DEFLATED) + b"\xff" * 9]
)
def test_what_cannot_be_read(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "x"
    path.write_bytes(raw)
    with pytest.raises((InputError, InvalidDataSetError)):
        read_keys(str(path))
    with pytest.raises(InputError):
        read_keys(str(tmp_path / "nowhere"))


def test_every_encoding_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x"
    for syntax in (EXPLICIT, "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"):
        path.write_bytes(part10("1.2", image("1.2", syntax=syntax), syntax=syntax))
        assert text(read_keys(str(path)), 0x00200011) == "7"
    deflater = zlib.compressobj(wbits=-15)
    path.write_bytes(file_meta(CT, "1.2", DEFLATED) + deflater.compress(image("1.2")) + deflater.flush())
    assert text(read_keys(str(path)), 0x00200011) == "7"
    assert 0x7FE00010 not in read_keys(str(path))


def kinds() -> Iterator[tuple[str, str]]:
    yield from (
        ("1.2.840.10008.5.1.4.1.1.128", "IMAGE"), ("1.2.840.10008.5.1.4.1.1.66.4", "IMAGE"),
        ("1.2.840.10008.5.1.4.1.1.66.5", "SURFACE"), ("1.2.840.10008.5.1.4.1.1.67", "VALUE MAP"),
        ("1.2.840.10008.5.1.4.1.1.30", "IMAGE"), ("1.2.840.10008.5.1.4.1.1.9.1.1", "WAVEFORM"),
        ("1.2.840.10008.5.1.4.1.1.9.100.1", "PRESENTATION"), ("1.2.840.10008.5.1.4.1.1.78.8", "MEASUREMENT"),
        ("1.2.840.10008.5.1.4.1.1.78.6", "SR DOCUMENT"), ("1.2.840.10008.5.1.4.1.1.66.3", "REGISTRATION"),
        ("1.2.840.10008.5.1.4.1.1.481.9", "RT TREAT RECORD"), ("1.2.840.10008.5.1.4.34.7", "PLAN"),
        ("1.2.840.10008.5.1.4.1.1.481.13", "RADIOTHERAPY"), ("1.2.840.10008.5.1.4.1.1.4.2", "SPECTROSCOPY"),
        ("1.2.840.10008.5.1.4.1.1.91.1", "ANNOTATION"), ("1.2.840.10008.5.1.4.1.1.481.1", "IMAGE"),
        ("1.2.840.10008.5.1.4.1.1.104.3", "ENCAP DOC"), ("1.2.3", "PRIVATE"),
    )  # fmt: skip


@pytest.mark.parametrize(("sop_class", "kind"), tuple(kinds()))
def test_record_types(sop_class: str, kind: str) -> None:
    assert record_type(sop_class, {}) == kind


def test_pydicom_says_the_same() -> None:
    """As far as it knows the class."""
    from pydicom.fileset import _FOUR_LEVEL_SOP_CLASSES

    different = {
        uid: (kind, record_type(uid, {}))
        for uid, kind in _FOUR_LEVEL_SOP_CLASSES.items()
        if str(uid) in STORAGE_SOP_CLASSES and record_type(uid, {}) != kind
    }
    assert different == {}


def test_names_are_of_eight_capitals_and_digits() -> None:
    names = FileNames()
    found = [names.of(study, series) for study in "ab" for series in "xy" for _ in range(3)]
    assert len(set(found)) == 12
    assert all(len(part) <= 8 and part.isalnum() and part.isupper() for path in found for part in path)


def test_the_file_is_one(made: FileSet) -> None:
    of_all_kinds(made)
    header = read_file_header(made.write())
    assert header.transfer_syntax_uid == EXPLICIT
    assert header.length == os.stat(made.root / NAME).st_size - header.offset
