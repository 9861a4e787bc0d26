"""Queries to put to every server over the objects of `query_objects`, with the answers the standard asks for.

Where a peer answers otherwise, `query_differences` says what, and which paragraph says who is right.

Labels: a patient is its key (`doe`), a study its key (`s1`), a series `s1.2`, an instance `s1.2.1`; told values follow
after a colon. `!A900` is a failure status.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from .query_objects import PATIENTS, study_uid
from .wire_query import PATIENT_ROOT, PATIENT_STUDY_ONLY, STUDY_ROOT

Answers = tuple[str, ...]
Key = str | tuple["Keys", ...]
Keys = Mapping[str, Key]

UID = {study.key: study_uid(study) for patient in PATIENTS for study in patient.studies}


class Row(NamedTuple):
    """One query.

    Attributes:
        keys: matching keys by keyword; sequences as tuples of items. The level and its unique key are added.
        answers: what the standard asks for, in any order.
        told: the keywords whose values are part of the answers.
        charset: the Specific Character Set of the identifier.
        codec: Python's name for the bytes of the values in it.
        extended: SOP class extended negotiation for C-FIND (C.5.1.1.1): relational, combined date and time, fuzzy.
    """

    name: str
    level: str
    keys: Keys
    answers: Answers
    told: tuple[str, ...] = ()
    root: str = STUDY_ROOT
    charset: str = ""
    codec: str = "ascii"
    extended: bytes = b""


def studies(name: str, keys: Keys, *answers: str, **more: object) -> Row:
    """A query at study level."""
    return Row(name, "STUDY", keys, answers, **more)  # type: ignore[arg-type]


ALL = tuple(UID)
DATED = tuple(key for key in ALL if key != "s6")
IN_2021 = tuple(f"s{number}" for number in range(7, 19))
ALL_SERIES_OF_DOE = ("s1.1", "s1.2", "s2.1", "s2.2")

# --- single value, list of UID, universal (C.2.2.2.1 to C.2.2.2.3) ---------------------------------------------------

SINGLE = (
    studies("all studies", {}, *ALL),
    studies("one study", {"StudyInstanceUID": UID["s1"]}, "s1"),
    studies("list of UID", {"StudyInstanceUID": f"{UID['s1']}\\{UID['s8']}\\{UID['s12']}"}, "s1", "s8", "s12"),
    studies("list of UID, one unknown", {"StudyInstanceUID": f"1.2.3\\{UID['s8']}"}, "s8"),
    studies("unknown study", {"StudyInstanceUID": "1.2.3"}),
    studies("Patient ID", {"PatientID": "ID-doe"}, "s1", "s2"),
    studies("Patient ID, spaces around", {"PatientID": " ID-doe "}, "s1", "s2"),
    studies("Patient ID in another case", {"PatientID": "id-DOE"}),
    studies("accession number", {"AccessionNumber": "C303"}, "s10"),
    studies("accession number and Patient ID", {"AccessionNumber": "A100", "PatientID": "ID-doe"}, "s1"),
    studies("accession number of another patient", {"AccessionNumber": "A100", "PatientID": "ID-jane"}),
    studies("study ID", {"StudyID": "S2"}, "s2"),
    studies("empty keys match what is empty", {"AccessionNumber": "", "StudyDate": "", "StudyTime": ""}, *ALL),
    studies("a star matches what is empty", {"AccessionNumber": "*"}, *ALL),
    studies("stars match what is empty", {"StudyDescription": "***"}, *ALL),
)

# --- wild cards (C.2.2.2.4) ------------------------------------------------------------------------------------------

WILD_CARDS = (
    studies("star at the end", {"PatientID": "ID-d*"}, "s1", "s2", "s4"),
    studies("star at the beginning", {"PatientID": "*-jane"}, "s3"),
    studies("star within", {"PatientID": "I*e"}, "s1", "s2", "s3"),
    studies("question mark", {"AccessionNumber": "A10?"}, "s1", "s2", "s3"),
    studies("question mark is one character", {"AccessionNumber": "A10??"}),
    studies("question marks and star", {"AccessionNumber": "?30*"}, *(f"s{number}" for number in range(7, 17))),
    studies("several stars in a row", {"PatientID": "ID-**oe"}, "s1", "s2"),
    studies("case counts in LO", {"StudyDescription": "CT*"}, "s1"),
    studies("what SQL takes for wild cards, as it is", {"StudyDescription": "Chest_PA 100%"}, "s4"),
    studies("an underscore is no wild card", {"AccessionNumber": "A10_"}),
    studies("a percent sign is no wild card", {"StudyDescription": "Chest%"}),
    studies("dots and brackets are no pattern", {"StudyDescription": "C[h]est.*"}),
    studies("no wild card in a UID", {"StudyInstanceUID": "1.2.826*"}),
)

# --- dates and times (C.2.2.2.1, C.2.2.2.5) --------------------------------------------------------------------------

RANGES = (
    studies("date", {"StudyDate": "20200110"}, "s2", "s3"),
    studies("date range", {"StudyDate": "20200101-20200131"}, "s1", "s2", "s3"),
    studies("date range, ends included", {"StudyDate": "20200105-20200110"}, "s1", "s2", "s3"),
    studies("date range, one day", {"StudyDate": "20200105-20200105"}, "s1"),
    studies("date from", {"StudyDate": "20210301-"}, *IN_2021),
    studies("date until", {"StudyDate": "-20200105"}, "s1", "s5"),
    studies("date range, upside down", {"StudyDate": "20200131-20200101"}),
    studies("time", {"StudyTime": "081500"}, "s1"),
    studies("time range", {"StudyTime": "080000-090000"}, "s1", "s9", "s10"),
    studies("time from", {"StudyTime": "170000-"}, "s3", "s18"),
    studies("time until", {"StudyTime": "-070000"}, "s5", "s8"),
    studies("time range by the hour", {"StudyTime": "14-15"}, "s2", "s15", "s16"),
    studies("time range by the minute", {"StudyTime": "1400-1430"}, "s2", "s15"),
    studies("date range and time range, each by itself",
            {"StudyDate": "20200101-20200110", "StudyTime": "090000-150000"}, "s2"),
    studies("date range and time range, combined", {"StudyDate": "20200101-20200110", "StudyTime": "090000-150000"},
            "s1", "s2", extended=b"\0\1"),
    Row("birth date range", "PATIENT", {"PatientBirthDate": "19450101-19500101"}, ("doe", "mueller"),
        root=PATIENT_ROOT),
)  # fmt: skip

# --- person names (C.2.2.2.1 and PS3.5 6.2) --------------------------------------------------------------------------

UTF_8 = {"charset": "ISO_IR 192", "codec": "utf-8"}

NAMES = (
    studies("name", {"PatientName": "Doe^John"}, "s1", "s2"),
    studies("name in another case", {"PatientName": "DOE^john"}, "s1", "s2"),
    studies("name, empty components at its end", {"PatientName": "Doe^John^^"}, "s1", "s2"),
    studies("family name", {"PatientName": "Doe^*"}, "s1", "s2", "s3"),
    studies("beginning of the family name", {"PatientName": "Doe*"}, "s1", "s2", "s3", "s4"),
    studies("family name alone is not the whole name", {"PatientName": "Doe"}),
    studies("given name", {"PatientName": "*^John*"}, "s1", "s2", "s4"),
    studies("question marks in a name", {"PatientName": "Doe^J???"}, "s1", "s2"),
    studies("all five components", {"PatientName": "Doe^Jane^Mary^Dr^III"}, "s3"),
    studies("name of another person", {"ReferringPhysicianName": "Refer^*"}, "s1"),
    studies("umlauts in Latin-1", {"PatientName": "Müller^Jörg"}, "s5", "s6", charset="ISO_IR 100", codec="latin-1"),
    studies("umlauts in UTF-8", {"PatientName": "Müller^Jörg"}, "s5", "s6", **UTF_8),
    studies("capital umlauts", {"PatientName": "MÜLLER*"}, "s5", "s6", **UTF_8),
    studies("umlauts without their dots", {"PatientName": "Muller*"}, "s5", "s6"),
    studies("Latin-2 in its own set", {"PatientName": "Čapek*"}, "s7", charset="ISO_IR 101", codec="iso8859-2"),
    studies("Latin-2 in UTF-8", {"PatientName": "Čapek^Věra"}, "s7", **UTF_8),
    studies("Cyrillic in its own set", {"PatientName": "Иванов*"}, "s8", charset="ISO_IR 144", codec="iso8859-5"),
    studies("Cyrillic in UTF-8", {"PatientName": "Иванов^Иван"}, "s8", **UTF_8),
    studies("Cyrillic in another case", {"PatientName": "ИВАНОВ*"}, "s8", **UTF_8),
    studies("alphabetic group", {"PatientName": "Yamada^Tarou"}, "s9"),
    studies("alphabetic group with a star", {"PatientName": "Yamada*"}, "s9"),
    studies("ideographic group in UTF-8", {"PatientName": "山田*"}, "s9", "s10", **UTF_8),
    studies("ideographic group in its place", {"PatientName": "*=山田^太郎*"}, "s9", **UTF_8),
    studies("all groups in ISO 2022", {"PatientName": "Yamada^Tarou=山田^太郎=やまだ^たろう"}, "s9",
            charset="\\ISO 2022 IR 87", codec="iso2022_jp"),
    studies("Korean phonetic group", {"PatientName": "*홍^길동"}, "s11", **UTF_8),
    studies("Chinese in GB18030", {"PatientName": "*王^小东"}, "s12", charset="GB18030", codec="gb18030"),
    studies("Chinese in UTF-8", {"PatientName": "王^小*"}, "s12", "s13", **UTF_8),
    studies("Arabic", {"PatientName": "قباني*"}, "s14", charset="ISO_IR 127", codec="iso8859-6"),
    studies("Hebrew in UTF-8", {"PatientName": "שרון*"}, "s15", **UTF_8),
    studies("Greek in UTF-8", {"PatientName": "Διον*"}, "s16", **UTF_8),
    studies("fuzzy: words in any order", {"PatientName": "john doe"}, "s1", "s2", "s4", extended=b"\0\0\1"),
)  # fmt: skip

# --- several values, sequences (C.2.2.2.6, C.2.2.2.8), counts and modalities (C.3.4, C.6.2.1) ------------------------

SEVERAL = (
    Row("one of several values", "PATIENT", {"OtherPatientIDs": "OLD-2"}, ("doe",), root=PATIENT_ROOT),
    Row("one of several values by wild card", "PATIENT", {"OtherPatientIDs": "OLD*"}, ("doe",), root=PATIENT_ROOT),
    studies("one of several names", {"NameOfPhysiciansReadingStudy": "Second^Sam"}, "s1"),
    studies("modalities in study", {"ModalitiesInStudy": "SR"}, "s1:CT\\SR", told=("ModalitiesInStudy",)),
    studies("both modalities", {"ModalitiesInStudy": "SR\\CT"}, "s1"),
    studies("counts", {"PatientID": "ID-doe"}, "s1:2:4", "s2:2:3",
            told=("NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances")),
    Row("counts of a patient", "PATIENT", {"PatientID": "ID-doe"}, ("doe:2:4:7",), root=PATIENT_ROOT,
        told=("NumberOfPatientRelatedStudies", "NumberOfPatientRelatedSeries", "NumberOfPatientRelatedInstances")),
    Row("count of a series", "SERIES", {"StudyInstanceUID": UID["s1"]}, ("s1.1:3", "s1.2:1"),
        told=("NumberOfSeriesRelatedInstances",)),
    studies("code in a sequence", {"ProcedureCodeSequence": ({"CodeValue": "BRAIN"},)}, "s2"),
    studies("empty item of a sequence", {"ProcedureCodeSequence": ({},), "PatientID": "ID-doe"}, "s1", "s2"),
)  # fmt: skip

# --- levels and models (C.4.1, C.6) ----------------------------------------------------------------------------------

LEVELS = (
    Row("all patients", "PATIENT", {}, tuple(patient.key for patient in PATIENTS), root=PATIENT_ROOT),
    Row("patients by sex", "PATIENT", {"PatientSex": "O"}, ("doerr",), root=PATIENT_ROOT),
    Row("patient by name", "PATIENT", {"PatientName": "Doe^*"}, ("doe", "jane"), root=PATIENT_ROOT),
    Row("studies of a patient", "STUDY", {"PatientID": "ID-doe"}, ("s1", "s2"), root=PATIENT_ROOT),
    Row("series of a study", "SERIES", {"StudyInstanceUID": UID["s2"]}, ("s2.1", "s2.2")),
    Row("series by modality", "SERIES", {"StudyInstanceUID": UID["s1"], "Modality": "SR"}, ("s1.2",)),
    Row("series by number", "SERIES", {"StudyInstanceUID": UID["s2"], "SeriesNumber": "2"}, ("s2.2",)),
    Row("series by description", "SERIES", {"StudyInstanceUID": UID["s2"], "SeriesDescription": "T?"},
        ("s2.1", "s2.2")),
    Row("series, patient root", "SERIES", {"PatientID": "ID-doe", "StudyInstanceUID": UID["s2"]}, ("s2.1", "s2.2"),
        root=PATIENT_ROOT),
    Row("instances", "IMAGE", {"StudyInstanceUID": UID["s1"], "SeriesInstanceUID": UID["s1"] + ".1"},
        ("s1.1.1", "s1.1.2", "s1.1.3")),
    Row("instance by number", "IMAGE",
        {"StudyInstanceUID": UID["s1"], "SeriesInstanceUID": UID["s1"] + ".1", "InstanceNumber": "2"}, ("s1.1.2",)),
    Row("instance by UID", "IMAGE",
        {"StudyInstanceUID": UID["s1"], "SeriesInstanceUID": UID["s1"] + ".1",
         "SOPInstanceUID": UID["s1"] + ".1.3"}, ("s1.1.3",)),
    Row("instances of another series", "IMAGE",
        {"StudyInstanceUID": UID["s1"], "SeriesInstanceUID": UID["s2"] + ".1"}, ()),
    Row("studies, patient/study only", "STUDY", {"PatientID": "ID-doe"}, ("s1", "s2"), root=PATIENT_STUDY_ONLY),
    Row("relational: series of a patient", "SERIES", {"PatientID": "ID-doe"}, ALL_SERIES_OF_DOE, extended=b"\1"),
    Row("relational: instances by modality", "IMAGE", {"Modality": "SR"}, ("s1.2.1",), extended=b"\1"),
    Row("series without study UID, not relational", "SERIES", {"Modality": "SR"}, ("s1.2",)),
)  # fmt: skip

# --- what is no query (C.4.1.3, Table C.4-1) -------------------------------------------------------------------------

INVALID = (
    Row("no level", "", {"PatientID": "ID-doe"}, ("!A900",)),
    Row("a level that is none", "FOO", {"PatientID": "ID-doe"}, ("!A900",)),
    Row("patient level in study root", "PATIENT", {"PatientID": "ID-doe"}, ("!A900",)),
    Row("series level in patient/study only", "SERIES", {"PatientID": "ID-doe", "StudyInstanceUID": UID["s1"]},
        ("!A900",), root=PATIENT_STUDY_ONLY),
)  # fmt: skip

ROWS = (*SINGLE, *WILD_CARDS, *RANGES, *NAMES, *SEVERAL, *LEVELS, *INVALID)
