"""Keys as people write them, and query files."""

from __future__ import annotations

import json

import pytest

from dcmkit.cli.keys import parse_keys, parse_queries, read_query
from dcmkit.dataset.elements import Element, encode, text
from dcmkit.dataset.part10 import file_meta
from dcmkit.errors import InputError, InvalidDataSetError, UsageError
from dcmkit.uids import EXPLICIT_VR_BIG_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN

NAME, PATIENT_ID, MODALITY, STEPS = 0x00100010, 0x00100020, 0x00080060, 0x00400100


@pytest.mark.parametrize("key", ["0010,0020=1", "PatientID=1", "(0010,0020)=1", "00100020=1"])
def test_every_way_to_write_a_key(key):
    assert parse_keys([key]) == {PATIENT_ID: Element("LO", "1")}


@pytest.mark.parametrize("key", ["PatientID", "PatientID=", "0010,0020", "(0010,0020)"])
def test_without_a_value_it_matches_all(key):
    assert parse_keys([key]) == {PATIENT_ID: Element("LO", "")}


@pytest.mark.parametrize(
    "key",
    [
        "ScheduledProcedureStepSequence[0].Modality=CT",
        "ScheduledProcedureStepSequence.Modality=CT",
        "(0040,0100)[0].(0008,0060)=CT",
        "(0040,0100)[0].Modality=CT",
        "0040,0100[0].0008,0060=CT",
    ],
)
def test_every_way_to_write_a_path(key):
    assert parse_keys([key]) == {STEPS: Element("SQ", [{MODALITY: Element("CS", "CT")}])}


def test_keys_of_one_item_come_together():
    keys = ("ScheduledProcedureStepSequence[0].Modality=CT", "ScheduledProcedureStepSequence[0].0040,0001=ROOM1")
    assert parse_keys(keys) == {
        STEPS: Element("SQ", [{MODALITY: Element("CS", "CT"), 0x00400001: Element("AE", "ROOM1")}])
    }


def test_items_by_number_and_all_of_them():
    keys = ("0040,0100[1].Modality", "0040,0100[*].Modality=CT", "0040,0100[0].0040,0008[0].0008,0104=x")
    items = parse_keys(keys)[STEPS].value
    assert len(items) == 2
    assert [text(item, MODALITY) for item in items] == ["CT", "CT"]
    assert items[0][0x00400008].value == [{0x00080104: Element("LO", "x")}]


def test_a_sequence_alone_is_asked_for_as_a_whole():
    assert parse_keys(["ScheduledProcedureStepSequence"]) == {STEPS: Element("SQ", [])}
    assert parse_keys(["ScheduledProcedureStepSequence[0]"]) == {STEPS: Element("SQ", [{}])}


def test_later_keys_win_and_values_may_hold_anything():
    found = parse_keys(["PatientName=x", "PatientName=a=b.c[0]\\d^é"])
    assert found == {NAME: Element("PN", "a=b.c[0]\\d^é")}


def test_values_of_uids_tags_numbers_and_private_elements():
    found = parse_keys(
        ["SOPClassUID=CTImageStorage\\1.2.3", "0020,0062", "FrameIncrementPointer=FrameTime", "Rows=512", "0009,1001=x"]
    )
    assert found[0x00080016].value == "1.2.840.10008.5.1.4.1.1.2\\1.2.3"
    assert found[0x00280009].value == "00181063"
    assert found[0x00280010] == Element("US", "512")
    assert found[0x00091001] == Element("UN", b"x")


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("PatientNam=1", "did you mean PatientName"),
        ("patientname=1", "did you mean PatientName"),
        ("x", "no keyword or tag"),
        ("", "is none"),
        ("=1", "is none"),
        ("PatientID.", "is none"),
        ("0010,0020]=1", "is none"),
        ("PatientID[0].Modality=CT", "no sequence"),
        ("ScheduledProcedureStepSequence=CT", "items, not a value"),
        ("ScheduledProcedureStepSequence[100].Modality=CT", "too far up"),
        ("Rows=many", "not a value of US"),
        ("FrameIncrementPointer=Nowhere", "no keyword or tag"),
        ("SOPClassUID=CTImageStorag", "CTImageStorage"),
        ("0002,0010=1.2", "no part of a data set"),
        ("PatientName=M\udcfcller", "encoding of this terminal"),
    ],
)
def test_what_is_no_key(key, words):
    with pytest.raises(UsageError, match=words):
        parse_keys([key])


# --- query files ---


QUERY = {
    NAME: Element("PN", "Doe*"),
    PATIENT_ID: Element("LO", ""),
    STEPS: Element("SQ", [{MODALITY: Element("CS", "CT")}]),
}


@pytest.mark.parametrize("syntax", [IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN])
def test_dicom_files_and_bare_data_sets(tmp_path, syntax):
    data = encode({MODALITY: Element("CS", "CT"), **QUERY}, syntax)
    (tmp_path / "a.dcm").write_bytes(file_meta("1.2", "1.2.3", syntax) + data)
    (tmp_path / "bare").write_bytes(data)
    assert read_query(str(tmp_path / "a.dcm")) == [{MODALITY: Element("CS", "CT"), **QUERY}]
    assert read_query(str(tmp_path / "bare")) == [{MODALITY: Element("CS", "CT"), **QUERY}]


def test_keys_override_files(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(encode(QUERY, IMPLICIT_VR_LITTLE_ENDIAN))
    (tmp_path / "b").write_bytes(encode({PATIENT_ID: Element("LO", "b")}, IMPLICIT_VR_LITTLE_ENDIAN))
    files = [str(path), str(tmp_path / "b")]
    keys = ["PatientName=Roe", "0040,0100[0].0008,0060=MR"]
    both = parse_queries(keys, files)
    assert [text(query, NAME) for query in both] == ["Roe", "Roe"]
    assert [text(query, PATIENT_ID) for query in both] == ["", "b"]
    assert both[0][STEPS].value == [{MODALITY: Element("CS", "MR")}]
    assert text(parse_keys(keys, files), PATIENT_ID) == "b"
    assert parse_queries(["PatientID=1"]) == [{PATIENT_ID: Element("LO", "1")}]


def test_json_queries(tmp_path):
    pytest.importorskip("dcmkit.dataset.json_model")
    path = tmp_path / "queries.json"
    name = {"vr": "PN", "Value": [{"Alphabetic": "Hüfte"}]}
    path.write_text(json.dumps([{"00100010": name}, {"00100020": {"vr": "LO"}}]), encoding="utf-8")
    assert read_query(str(path)) == [{NAME: Element("PN", "Hüfte")}, {PATIENT_ID: Element("LO", "")}]


@pytest.mark.parametrize(
    "content", [b"", b"not DICOM at all, but a text", b"\x08\0\x05\0\xff\xff\xff\x7f", b"{", b"[1]", b"[]", b'{"x": 1}']
)
def test_what_is_no_query_file(tmp_path, content):
    pytest.importorskip("dcmkit.dataset.json_model")
    path = tmp_path / "query"
    path.write_bytes(content)
    with pytest.raises(InvalidDataSetError, match="query file"):
        read_query(str(path))


def test_a_query_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_query(str(tmp_path / "none"))
