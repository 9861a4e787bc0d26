"""A record: the index keys of one object, decoded."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from dcmkit.archive.attributes import BY_KEYWORD, INSTANCE, LEVELS, PATIENT, SERIES, STUDY, WANTED, Attribute
from dcmkit.archive.record import Record
from dcmkit.archive.schema import columns_of
from dcmkit.dataset.scanner import DataSetScanner
from dcmkit.uids import EXPLICIT_VR_BIG_ENDIAN
from tests.archive.objects import CT, EXPLICIT, image
from tests.dataset.encoding import SYNTAXES, Items


def record(syntax: str = EXPLICIT, extra: tuple[Attribute, ...] = (), **how: Any) -> Record:
    scanner = DataSetScanner(syntax, WANTED | {attribute.tag for attribute in extra})
    scanner.feed(memoryview(image(syntax=syntax, **how)))
    return Record(scanner.finish(), CT, "1.2.3", syntax, extra)


def columns(found: Record, level: str) -> dict[str, Any]:
    return dict(zip(columns_of(level), found.columns(level), strict=True))


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_columns_of_each_level(syntax: str):
    found = record(syntax, name="Müller^Jörg")
    assert columns(found, PATIENT)["PatientName"] == "Müller^Jörg"
    assert columns(found, PATIENT)["PatientName_folded"] == "muller^jorg"
    assert columns(found, PATIENT)["IssuerOfPatientID"] == ""
    assert columns(found, PATIENT)["PatientSex"] is None
    assert columns(found, STUDY)["StudyDate"] == "20240131"
    assert columns(found, SERIES)["SeriesNumber"] == 7
    assert columns(found, INSTANCE)["Rows"] == 2
    assert columns(found, INSTANCE)["ImageType"] == "ORIGINAL\\PRIMARY"
    assert found.study_instance_uid == "1.2.3.1"
    assert found.series_instance_uid == "1.2.3.2"


def test_what_is_missing():
    found = record(without=(0x0020000D, 0x0020000E, 0x00100010, 0x00100020, 0x00280010, 0x00200013))
    assert found.study_instance_uid == found.series_instance_uid == ""
    assert columns(found, STUDY)["StudyInstanceUID"] == ""
    assert columns(found, PATIENT) | {"PatientName": None} == columns(found, PATIENT)
    assert columns(found, INSTANCE)["Rows"] is None
    assert columns(found, INSTANCE)["InstanceNumber"] is None
    for level in LEVELS:
        assert len(found.columns(level)) == len(columns_of(level))


@pytest.mark.parametrize(
    ("raw", "number"),
    [(b"12", 12), (b" +7 ", 7), (b"3\\4", 3), (b"1.5", None), (b"x", None), (b"9" * 30, None), (b"-" * 5000, None)],
)
def test_integer_strings(raw: bytes, number: int | None):
    assert columns(record(more=[(0x00200011, "IS", raw)]), SERIES)["SeriesNumber"] == number


@pytest.mark.parametrize("defined", [True, False])
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_values_in_sequences(syntax: str, defined: bool):
    items = Items(
        [[(0x00400009, "SH", b"S1"), (0x00401001, "SH", b"R1")], [(0x00401001, "SH", b"R2")]], defined=defined
    )
    found = columns(record(syntax, more=[(0x00400275, "SQ", items)]), SERIES)
    assert found["RequestAttributesSequence_RequestedProcedureID"] == "R1\\R2"
    assert found["RequestAttributesSequence_ScheduledProcedureStepID"] == "S1\\"  # the second item has its place


def test_a_value_with_a_backslash_takes_one_place():
    items = Items([[(0x00080100, "SH", b"A\\B")], [(0x00080104, "LO", b"x")], [(0x00080100, "SH", b"C")]])
    found = columns(record(more=[(0x00081032, "SQ", items)]), STUDY)
    assert found["ProcedureCodeSequence_CodeValue"] == "A\\\\C"
    assert found["ProcedureCodeSequence_CodeMeaning"] == "\\x\\"
    assert found["ProcedureCodeSequence_CodingSchemeDesignator"] is None


def test_an_item_with_its_own_character_set():
    items = Items([[(0x00080005, "CS", b"ISO_IR 100"), (0x00080104, "LO", b"Sch\xe4del")]])
    found = columns(record(more=[(0x00081032, "SQ", items)]), STUDY)
    assert found["ProcedureCodeSequence_CodeMeaning"] == "Schädel"


def test_text_of_one_attribute():
    found = record(EXPLICIT_VR_BIG_ENDIAN)
    assert found.text(BY_KEYWORD["Rows"]) == "2"
    assert found.text(BY_KEYWORD["PatientID"]) == "4711"
    assert found.text(BY_KEYWORD["PatientSex"]) == ""
    assert found.text(BY_KEYWORD["ProcedureCodeSequence_CodeValue"]) == ""


def test_path():
    found = record()
    found.name = "x.dcm"
    assert found.path == "x.dcm"
    found.directory = "a/b"
    assert found.path == "a/b/x.dcm"


def test_records_go_from_process_to_process():
    found = record(extra=(Attribute("KVP", 0x00180060, "instance", "DS"),))
    again = pickle.loads(pickle.dumps(found))
    assert again.columns(PATIENT) == found.columns(PATIENT)
    assert again.extra == found.extra


def test_bytes_that_are_not_of_the_declared_character_set():
    """Declared UTF-8, written in Latin 1, as some devices do: the name is kept, not its replacement characters."""
    name = "Größe^Änne"
    found = columns(record(more=[(0x00100010, "PN", name.encode("latin-1"))]), PATIENT)
    assert (found["PatientName"], found["PatientName_folded"]) == (name, "grosse^anne")
