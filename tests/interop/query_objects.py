"""Small objects to query: patients with names in many character sets, several studies, series, dates and codes.

Every name is declared once, in Unicode, with the character set its object is encoded in; what an object cannot say of
itself (no character set declared, the wrong one) is declared beside it.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import NamedTuple

ROOT = "1.2.826.0.1.3680043.9.9999.77"
CT, MR, CR, SC = (f"1.2.840.10008.5.1.4.1.1.{number}" for number in ("2", "4", "1", "7"))


class Study(NamedTuple):
    """One study; `series` are modality, SOP class, number of instances and description."""

    key: str
    date: str
    time: str
    accession: str
    description: str
    series: tuple[tuple[str, str, int, str], ...]
    referring: str = "Referrer^Rita"
    study_id: str = ""
    readers: tuple[str, ...] = ()
    code: tuple[str, str] = ()  # type: ignore[assignment]


class Patient(NamedTuple):
    """One patient. `declared`: the Specific Character Set in the file where it is not the one of the bytes."""

    key: str
    name: str
    charset: str
    birth_date: str
    sex: str
    studies: tuple[Study, ...]
    declared: str | None = None
    other_ids: tuple[str, ...] = ()

    @property
    def patient_id(self) -> str:
        """Its Patient ID."""
        return f"ID-{self.key}"


def one(modality: str, sop_class: str, instances: int = 1, description: str = "") -> tuple[str, str, int, str]:
    """A series."""
    return modality, sop_class, instances, description


PATIENTS = (
    Patient("doe", "Doe^John", "", "19500101", "M", (
        Study("s1", "20200105", "081500", "A100", "CT HEAD", (one("CT", CT, 3, "Head 1mm"), one("SR", SC)),
              "Refer^Rita", "S1", ("Reader^Rosa", "Second^Sam"), ("HEAD", "99TEST")),
        Study("s2", "20200110", "143000.500000", "A101", "MR Brain", (one("MR", MR, 2, "T1"), one("MR", MR, 1, "T2")),
              "Other^Otto", "S2", ("Reader^Rosa",), ("BRAIN", "99TEST")),
    ), other_ids=("OLD-1", "OLD-2")),
    Patient("jane", "Doe^Jane^Mary^Dr^III", "", "19600229", "F", (
        Study("s3", "20200110", "235959", "A102", "Ct abdomen", (one("CT", CT, 2, "Abdomen"),), study_id="S3"),
    )),
    Patient("doerr", "Doerr^Johnny", "", "19700315", "O", (
        Study("s4", "20200201", "", "", "Chest_PA 100%", (one("CR", CR),)),
    )),
    Patient("mueller", "Müller^Jörg", "ISO_IR 100", "19451231", "M", (
        Study("s5", "20191231", "000000", "B200", "Schädel", (one("CT", CT),)),
        Study("s6", "", "", "B201", "", (one("CR", CR),)),
    )),
    Patient("capek", "Čapek^Věra", "ISO_IR 101", "19800808", "F", (
        Study("s7", "20210301", "101112", "C300", "Hlava", (one("MR", MR),)),
    )),
    Patient("ivanov", "Иванов^Иван", "ISO_IR 144", "19710101", "M", (
        Study("s8", "20210302", "070000", "C301", "Голова", (one("CT", CT),)),
    )),
    Patient("yamada", "Yamada^Tarou=山田^太郎=やまだ^たろう", "\\ISO 2022 IR 87", "19720101", "M", (
        Study("s9", "20210303", "080000", "C302", "", (one("MR", MR),)),
    )),
    Patient("katakana", "ﾔﾏﾀﾞ^ﾊﾅｺ=山田^花子=やまだ^はなこ", "ISO 2022 IR 13\\ISO 2022 IR 87", "19730101", "F", (
        Study("s10", "20210304", "090000", "C303", "", (one("MR", MR),)),
    )),
    Patient("hong", "Hong^Gildong=洪^吉洞=홍^길동", "\\ISO 2022 IR 149", "19740101", "M", (
        Study("s11", "20210305", "100000", "C304", "", (one("CT", CT),)),
    )),
    Patient("wang", "Wang^XiaoDong=王^小东", "GB18030", "19750101", "F", (
        Study("s12", "20210306", "110000", "C305", "头", (one("CT", CT),)),
    )),
    Patient("utf", "Wang^XiaoDong=王^小東", "ISO_IR 192", "19760101", "F", (
        Study("s13", "20210307", "120000", "C306", "頭 Schädel голова", (one("CT", CT),)),
    )),
    Patient("nizar", "قباني^لنزار", "ISO_IR 127", "19770101", "M", (
        Study("s14", "20210308", "130000", "C307", "", (one("CT", CT),)),
    )),
    Patient("sharon", "שרון^דבורה", "ISO_IR 138", "19780101", "F", (
        Study("s15", "20210309", "140000", "C308", "", (one("CT", CT),)),
    )),
    Patient("greek", "Διονυσιος", "ISO_IR 126", "19790101", "M", (
        Study("s16", "20210310", "150000", "C309", "", (one("CT", CT),)),
    )),
    Patient("missing", "Hüfte^Ümit", "ISO_IR 100", "19400101", "M", (
        Study("s17", "20210311", "160000", "D400", "", (one("CR", CR),)),
    ), declared=""),
    Patient("wrong", "Größe^Änne", "ISO_IR 100", "19410101", "F", (
        Study("s18", "20210312", "170000", "D401", "", (one("CR", CR),)),
    ), declared="ISO_IR 192"),
)  # fmt: skip

BY_KEY = {patient.key: patient for patient in PATIENTS}


def study_uid(study: Study) -> str:
    """Its Study Instance UID."""
    return f"{ROOT}.{study.key[1:]}"


def write_objects(directory: Path) -> dict[str, Path]:
    """Write all objects as Part 10 files; by SOP Instance UID."""
    directory.mkdir(parents=True, exist_ok=True)
    written = {}
    for patient in PATIENTS:
        for study in patient.studies:
            for index, (modality, sop_class, instances, description) in enumerate(study.series, 1):
                for number in range(1, instances + 1):
                    uid = f"{study_uid(study)}.{index}.{number}"
                    written[uid] = directory / f"{study.key}-{index}-{number}.dcm"
                    _write(written[uid], patient, study, uid, (modality, sop_class, index, number, description))
    return written


def _write(path: Path, patient: Patient, study: Study, uid: str, series: tuple[str, str, int, int, str]) -> None:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    modality, sop_class, index, number, description = series
    data_set = Dataset()
    if patient.charset:
        terms = patient.charset.split("\\")
        data_set.SpecificCharacterSet = terms if len(terms) > 1 else terms[0]
    values = {
        "PatientName": patient.name, "PatientID": patient.patient_id, "PatientBirthDate": patient.birth_date,
        "PatientSex": patient.sex, "StudyInstanceUID": study_uid(study), "StudyDate": study.date,
        "StudyTime": study.time, "AccessionNumber": study.accession, "StudyDescription": study.description,
        "StudyID": study.study_id, "ReferringPhysicianName": study.referring, "Modality": modality,
        "SeriesInstanceUID": f"{study_uid(study)}.{index}", "SeriesNumber": str(index),
        "SeriesDescription": description, "SOPClassUID": sop_class, "SOPInstanceUID": uid,
        "InstanceNumber": str(number), "Rows": 4, "Columns": 4, "BitsAllocated": 8, "BitsStored": 8, "HighBit": 7,
        "PixelRepresentation": 0, "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2",
        "PixelData": bytes(range(16)), "ImageType": ["ORIGINAL", "PRIMARY"], "BodyPartExamined": "HEAD",
    }  # fmt: skip
    if patient.other_ids:
        values["OtherPatientIDs"] = list(patient.other_ids)
    if study.readers:
        values["NameOfPhysiciansReadingStudy"] = list(study.readers)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for keyword, value in values.items():
            setattr(data_set, keyword, value)
        if study.code:
            item = Dataset()
            item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = *study.code, study.description
            data_set.ProcedureCodeSequence = [item]
        data_set.file_meta = FileMetaDataset()
        data_set.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data_set.save_as(path, enforce_file_format=True)
    if patient.declared is not None:
        _declare(path, patient.charset, patient.declared)


def _declare(path: Path, true: str, declared: str) -> None:
    """Say another Specific Character Set, or none; the bytes of the names stay."""
    before, after = (_specific_character_set(value) for value in (true, declared.ljust(len(true)) if declared else ""))
    data = path.read_bytes()
    assert data.count(before) == 1
    path.write_bytes(data.replace(before, after))


def _specific_character_set(value: str) -> bytes:
    """The element in explicit VR little endian; nothing for an empty value."""
    return b"\x08\x00\x05\x00CS" + len(value).to_bytes(2, "little") + value.encode() if value else b""
