"""A hospital that never was: patients, studies, series and instances by number, as index rows and as small files.

    python benchmarks/synthetic.py [DIRECTORY] [--instances N]

The same number gives the same study everywhere, so a query bench knows what it must find. An index of 1,000,000
instances takes about half a minute to make, and is kept.
"""

from __future__ import annotations

import argparse
import shutil
import sqlite3
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.make_data import DEFAULT_DIRECTORY, ROOT, ensure

SERIES_OF_STUDY, INSTANCES_OF_SERIES = 5, 10
INSTANCES_OF_STUDY = SERIES_OF_STUDY * INSTANCES_OF_SERIES
DEVICES = 7
"""Studies come from so many scanners, each with UIDs of its own: their rows do not lie in the order they came."""
DAYS = 3600
"""The days studies are spread over."""
_FIRST = ("Ab", "Bel", "Cor", "Dan", "Ed", "Fal", "Gor", "Har", "Ib", "Jan", "Kel", "Lam", "Mor", "Nor", "Ol", "Per",
          "Quin", "Rad", "Sor", "Tal", "Ul", "Var", "Wen", "Xan", "Yor", "Zel")  # fmt: skip
_LAST = ("berg", "dahl", "feld", "gard", "holm", "itz", "kamp", "lund", "mann", "nova", "oud", "pert", "rich", "sen",
         "thal", "ulv", "vik", "witz", "yard", "zius")  # fmt: skip
_MIDDLE = ("a", "e", "i")
FAMILIES = len(_FIRST) * len(_MIDDLE) * len(_LAST)
_GIVEN = ("Anna", "Bruno", "Clara", "David", "Elsa", "Felix", "Greta", "Hugo", "Ida", "Jonas", "Karin", "Leo")
_MODALITIES = ("CT", "MR", "CR", "US", "XA")
REFERRER = "Referrer^Rita"
CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"


class Study(NamedTuple):
    """What can be asked for."""

    number: int
    uid: str
    patient: int
    patient_id: str
    patient_name: str
    birth_date: str
    sex: str
    date: str
    time: str
    accession: str
    description: str
    modality: str

    def series_uid(self, number: int) -> str:
        """The UID of its series `number`, from 1."""
        return f"{self.uid}.{number}"


def study(number: int, studies: int, *, crowded: bool = False) -> Study:
    """Study `number` of a hospital of so many; three patients in five have one study, the others two or more.

    Args:
        crowded: as many studies a day, and patients of a name, as in a hospital of 20,000 studies.
    """
    patients = max(1, studies * 3 // 5)
    patient = number * 7919 % patients
    family = patient % (max(1, patients // 8) if crowded else FAMILIES) % FAMILIES
    first, rest = divmod(family, len(_MIDDLE) * len(_LAST))
    middle, last = divmod(rest, len(_LAST))
    day = number * 104729 % (max(1, studies * DAYS // 20000) if crowded else DAYS)
    return Study(
        number,
        f"{ROOT}.8.{number % DEVICES + 1}.{number + 1}",
        patient,
        f"P{patient:07}",
        f"{_FIRST[first]}{_MIDDLE[middle]}{_LAST[last]}^{_GIVEN[patient % len(_GIVEN)]}",
        f"{1930 + patient % 80}{patient % 12 + 1:02}{patient % 28 + 1:02}",
        "MF"[patient % 2],
        f"{2015 + day // 360}{day % 360 // 30 + 1:02}{day % 30 % 28 + 1:02}",
        f"{7 + number % 12:02}{number * 7 % 60:02}{number * 13 % 60:02}.{number % 1000:03}000",
        f"A{number:09}",
        f"{_MODALITIES[number % 5]} examination {number % 97}",
        _MODALITIES[number % 5],
    )  # fmt: skip


# --- index rows --------------------------------------------------------------------------------------------------


def ensure_index(data: Path, instances: int, *, real: bool = False) -> Path:
    """An archive directory whose index has so many rows without files; made once, kept in the data directory.

    Args:
        real: the 500 CT objects of the benchmark data are in it as well, with their files.
    """
    from dcmkit.archive import schema

    place = data / f"index-{schema.VERSION}-{instances}{'-ct' if real else ''}"
    if not place.exists():
        print(f"making an index of {instances:,} instances ...", file=sys.stderr)
        partial = place.with_suffix(".part")
        shutil.rmtree(partial, ignore_errors=True)
        started = time.perf_counter()
        make_index(partial, instances)
        if real:
            ensure(data, ("ct",))
            add_files(partial, data / "ct")
        print(f"... made in {time.perf_counter() - started:.0f} s", file=sys.stderr)
        partial.rename(place)
    return place


def add_files(archive_directory: Path, source: Path) -> None:
    """Index files where they lie."""
    from dcmkit.archive.adding import add
    from dcmkit.archive.store import Archive
    from dcmkit.settings import ArchiveSettings

    with Archive(ArchiveSettings(output_directory=str(archive_directory), durability="none")) as archive:
        add(archive, [str(source)])


def make_index(archive_directory: Path, instances: int) -> None:
    """A new index with synthetic rows, as the archive's own schema has them."""
    from dcmkit.archive.index import Index

    own = archive_directory / ".dcmkit"
    (own / "incoming").mkdir(parents=True)
    index = Index(str(own / "index.sqlite"), "none")
    index.open()
    index.close()
    connection = sqlite3.connect(own / "index.sqlite", isolation_level=None)
    try:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -400000")
        connection.execute("BEGIN")
        studies = instances // INSTANCES_OF_STUDY
        everything = [study(number, studies, crowded=True) for number in range(studies)]
        _insert(connection, "patient", patient_rows(everything))
        _insert(connection, "study", study_rows(everything))
        _insert(connection, "directory", directory_rows(everything))
        _insert(connection, "series", series_rows(everything))
        _insert(connection, "instance", instance_rows(everything))
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()


COLUMNS = {
    "patient": "id unidentified PatientID IssuerOfPatientID PatientName PatientName_folded PatientBirthDate PatientSex",
    "study": "id patient StudyInstanceUID StudyDate StudyTime AccessionNumber StudyID StudyDescription"
    " ReferringPhysicianName ReferringPhysicianName_folded PatientAge PatientWeight",
    "directory": "id path",
    "series": "id study SeriesInstanceUID Modality SeriesNumber SeriesDescription SeriesDate SeriesTime ProtocolName"
    " BodyPartExamined InstitutionName StationName Manufacturer ManufacturerModelName FrameOfReferenceUID",
    "instance": "id series copy directory name transfer_syntax_uid data_set_offset size mtime_ns received"
    " source_ae_title SOPInstanceUID SOPClassUID InstanceNumber AcquisitionNumber AcquisitionDate AcquisitionTime"
    " ContentDate ContentTime ImageType Rows Columns BitsAllocated PhotometricInterpretation SpecificCharacterSet",
}
"""The columns that are filled; the others stay empty, as in most files."""


def _insert(connection: sqlite3.Connection, table: str, rows: Iterator[tuple[object, ...]]) -> None:
    columns = COLUMNS[table].split()
    sql = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"
    connection.executemany(sql, rows)


def patient_rows(studies: list[Study]) -> Iterator[tuple[object, ...]]:
    """One for each patient."""
    from dcmkit.dataset.values import fold

    for one in {one.patient: one for one in studies}.values():
        yield (
            one.patient + 1, "", one.patient_id, "", one.patient_name, fold(one.patient_name), one.birth_date, one.sex,
        )  # fmt: skip


def study_rows(studies: list[Study]) -> Iterator[tuple[object, ...]]:
    """One for each study."""
    from dcmkit.dataset.values import fold

    for one in studies:
        yield (
            one.number + 1, one.patient + 1, one.uid, one.date, one.time, one.accession, str(one.number % 10000),
            one.description, REFERRER, fold(REFERRER), "050Y", "70",
        )  # fmt: skip


def directory_rows(studies: list[Study]) -> Iterator[tuple[object, ...]]:
    """A directory for each series."""
    for one in studies:
        for number in range(1, SERIES_OF_STUDY + 1):
            yield one.number * SERIES_OF_STUDY + number, f"{one.uid}/{one.series_uid(number)}"


def series_rows(studies: list[Study]) -> Iterator[tuple[object, ...]]:
    """Five for each study."""
    for one in studies:
        for number in range(1, SERIES_OF_STUDY + 1):
            yield (
                one.number * SERIES_OF_STUDY + number, one.number + 1, one.series_uid(number), one.modality, number,
                f"Series {number}", one.date, one.time, "Routine", "ABDOMEN", "Benchmark General Hospital",
                f"STATION{one.number % DEVICES}", "Synthetic Scanners", "Model 7000", f"{one.uid}.0",
            )  # fmt: skip


def instance_rows(studies: list[Study]) -> Iterator[tuple[object, ...]]:
    """Ten for each series."""
    row = 0
    for one in studies:
        for number in range(1, SERIES_OF_STUDY + 1):
            series, uid = one.number * SERIES_OF_STUDY + number, one.series_uid(number)
            for instance in range(1, INSTANCES_OF_SERIES + 1):
                row += 1
                sop = f"{uid}.{instance}"
                yield (
                    row, series, 0, series, f"{sop}.dcm", EXPLICIT_VR_LITTLE_ENDIAN, 352, 528000,
                    1_700_000_000_000_000_000 + row, 1_700_000_000 + row // 100, "SCANNER", sop, CT, instance, 1,
                    one.date, one.time, one.date, one.time, "ORIGINAL\\PRIMARY\\AXIAL", 512, 512, 16, "MONOCHROME2",
                    "ISO_IR 100",
                )  # fmt: skip


# --- files -------------------------------------------------------------------------------------------------------


def objects(studies: int) -> Iterator[tuple[str, bytes]]:
    """Every instance of so many studies: its UID and its data set, explicit VR little endian, 4 x 4 pixels."""
    for number in range(studies):
        one = study(number, studies)
        for series in range(1, SERIES_OF_STUDY + 1):
            for instance in range(1, INSTANCES_OF_SERIES + 1):
                uid = f"{one.series_uid(series)}.{instance}"
                yield uid, data_set(one, series, instance, uid)


def data_set(one: Study, series: int, instance: int, uid: str) -> bytes:
    """One small CT image."""
    texts = (
        (0x00080005, "CS", "ISO_IR 100"), (0x00080008, "CS", "ORIGINAL\\PRIMARY\\AXIAL"), (0x00080016, "UI", CT),
        (0x00080018, "UI", uid), (0x00080020, "DA", one.date), (0x00080030, "TM", one.time),
        (0x00080050, "SH", one.accession), (0x00080060, "CS", one.modality), (0x00080070, "LO", "Synthetic Scanners"),
        (0x00080090, "PN", REFERRER), (0x00081030, "LO", one.description),
        (0x0008103E, "LO", f"Series {series}"), (0x00100010, "PN", one.patient_name),
        (0x00100020, "LO", one.patient_id), (0x00100030, "DA", one.birth_date), (0x00100040, "CS", one.sex),
        (0x0020000D, "UI", one.uid), (0x0020000E, "UI", one.series_uid(series)),
        (0x00200010, "SH", str(one.number % 10000)), (0x00200011, "IS", str(series)), (0x00200013, "IS", str(instance)),
    )  # fmt: skip
    parts = [_explicit(tag, vr, value.encode() + b" \0"[vr == "UI" :][: len(value) % 2]) for tag, vr, value in texts]
    for tag, number in (
        (0x00280002, 1), (0x00280010, 4), (0x00280011, 4), (0x00280100, 8), (0x00280101, 8), (0x00280102, 7),
        (0x00280103, 0),
    ):  # fmt: skip
        parts.append(_explicit(tag, "US", struct.pack("<H", number)))
        if tag == 0x00280002:
            parts.append(_explicit(0x00280004, "CS", b"MONOCHROME2 "))
    return b"".join(parts) + b"\xe0\x7f\x10\x00OB\0\0" + struct.pack("<I", 16) + bytes(range(16))


def _explicit(tag: int, vr: str, value: bytes) -> bytes:
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr.encode(), len(value)) + value


def main() -> None:
    """Make an index."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", nargs="?", type=Path, default=DEFAULT_DIRECTORY)
    parser.add_argument("--instances", type=int, default=1_000_000)
    arguments = parser.parse_args()
    arguments.directory.mkdir(parents=True, exist_ok=True)
    print(ensure_index(arguments.directory, arguments.instances))


if __name__ == "__main__":
    main()
