"""Results as JSON, as XML in parts, as CSV."""

from __future__ import annotations

import csv
import io
import json
from typing import Any
from xml.etree.ElementTree import fromstring

import pytest

from dcmkit.dataset.elements import Element
from dcmkit.web.media_types import parse_media_type
from dcmkit.web.multipart import MultipartReader, PartBegan, PartData
from dcmkit.web.negotiation import CSV, DICOM_JSON, DICOM_XML, Choice
from dcmkit.web.search_output import data_set_of, write

JSON_ROW: dict[str, Any] = {
    "00080020": {"vr": "DA", "Value": ["20240101"]},
    "00080061": {"vr": "CS", "Value": ["CT", None, "SR"]},
    "00090010": {"vr": "LO", "Value": ["ME"]},
    "00091001": {"vr": "UN", "InlineBinary": "AAE="},
    "00091002": {"vr": "OB", "BulkDataURI": "http://a/b?c&d"},
    "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Müller^Jörg", "Phonetic": "x"}, {"Alphabetic": "B"}]},
    "00101030": {"vr": "DS", "Value": [1.5]},
    "00200011": {"vr": "IS", "Value": ["no number"]},
    "00400275": {"vr": "SQ", "Value": [{"00400009": {"vr": "SH", "Value": ["S1"]}}, {"00400009": {"vr": "SH"}}]},
    "00401001": {"vr": "SH"},
    "7FE00010": {"vr": "OW"},
}


def row(**changed: Any) -> bytes:
    return json.dumps({**JSON_ROW, **changed}).encode()


def parts(body: bytes, content_type: str) -> list[tuple[str, bytes]]:
    reader = MultipartReader(parse_media_type(content_type).parameters["boundary"])
    found: list[tuple[str, bytes]] = []
    for event in reader.feed(body):
        if isinstance(event, PartBegan):
            found.append((event.content_type, b""))
        elif isinstance(event, PartData):
            found[-1] = (found[-1][0], found[-1][1] + bytes(event.view))
    reader.close()
    return found


def test_json_is_the_rows():
    assert write([b"{}", b'{"a":1}'], Choice(DICOM_JSON, "", False)) == (b'[{},{"a":1}]', DICOM_JSON)
    assert write([], Choice("application/json", "", False)) == (b"[]", "application/json")


def test_xml_has_a_part_for_each():
    body, content_type = write([row(), b"{}"], Choice(DICOM_XML, "", True))
    assert content_type.startswith('multipart/related; type="application/dicom+xml"; boundary=')
    (kind, first), (_, second) = parts(body, content_type)
    assert kind == DICOM_XML
    found = {one.get("keyword") or one.get("tag"): one for one in fromstring(first)}
    space = "{http://dicom.nema.org/PS3.19/models/NativeDICOM}"
    assert found["StudyDate"][0].text == "20240101"
    assert found["SeriesNumber"][0].text == "no number"
    assert [one.text for one in found["ModalitiesInStudy"]] == ["CT", None, "SR"] or len(
        found["ModalitiesInStudy"]
    ) == 2
    assert found["00090002"][0].get("uri") == "http://a/b?c&d"
    assert found["00090001"][0].tag == space + "InlineBinary"
    assert len(found["RequestAttributesSequence"]) == 2
    assert len(fromstring(second)) == 0


def test_xml_of_nothing():
    body, content_type = write([], Choice(DICOM_XML, "", True))
    assert parts(body, content_type) == []


def test_values_of_an_object():
    uris: list[str] = []
    found = data_set_of(JSON_ROW, uris)
    assert found[0x00100010] == Element("PN", "Müller^Jörg==x\\B")
    assert found[0x00080061].value == "CT\\\\SR"
    assert found[0x00101030].value == "1.5"
    assert found[0x00091001].value == b"\0\1"
    assert uris == ["http://a/b?c&d"]
    assert found[0x7FE00010].value == b""


def table(*rows: bytes) -> list[dict[str, str]]:
    body, content_type = write(rows, Choice(CSV, "", False))
    assert content_type == "text/csv; charset=utf-8"
    return list(csv.DictReader(io.StringIO(body.decode(), newline="")))


def test_csv_has_the_columns_of_all():
    found = table(b'{"00100020":{"vr":"LO","Value":["1"]}}', row(), b"{}")
    assert list(found[0])[:2] == ["StudyDate", "ModalitiesInStudy"]
    assert found[1]["RequestAttributesSequence[0].ScheduledProcedureStepID"] == "S1"
    assert found[1]["PatientName"] == "Müller^Jörg==x\\B"
    assert found[0]["StudyDate"] == ""
    assert not any(found[2].values())
    assert write([], Choice(CSV, "", False))[0] == b""


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ('=cmd("a")', '\'=cmd("a")'),
        ("@x", "'@x"),
        ("-1.5", "-1.5"),
        ("+0100", "+0100"),
        ("-a", "'-a"),
        ("a,\n", "a,\n"),
    ],
)
def test_no_text_of_an_object_becomes_a_formula(value, shown):
    (found,) = table(json.dumps({"00100020": {"vr": "LT", "Value": [value]}}).encode())
    assert found["PatientID"] == shown
