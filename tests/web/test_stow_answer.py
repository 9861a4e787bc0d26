"""The data set of an answer to a store, as servers write it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcmkit.errors import InvalidDataSetError
from dcmkit.web.stow_answer import Failure, StoreAnswer, describe_reason, parse_answer

ANSWER = {
    "00081190": {"vr": "UR", "Value": ["http://h/studies/1"]},
    "00081198": {
        "vr": "SQ",
        "Value": [
            {"00081155": {"vr": "UI", "Value": ["1.3"]}, "00081197": {"vr": "US", "Value": [43264]}},
            {
                "00081155": {"vr": "UI", "Value": ["1.4"]},
                "00081197": {"vr": "US", "Value": ["272"]},
                "00000902": {"vr": "LO", "Value": ["disk is full"]},
            },
            {"00081197": {"vr": "US", "Value": [49152]}},
        ],
    },
    "00081199": {
        "vr": "SQ",
        "Value": [
            {"00081155": {"vr": "UI", "Value": ["1.1 "]}},
            {"00081155": {"vr": "UI", "Value": ["1.2"]}, "00081196": {"vr": "US", "Value": [45056]}},
            {"00081155": {"vr": "UI", "Value": ["1.3"]}},
            {},
        ],
    },
    "0008119a": {"vr": "SQ", "Value": [{"00081197": {"vr": "US"}}]},
}
XML = b"""<?xml version="1.0" encoding="UTF-8"?>
<NativeDicomModel xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM"><!-- so -->
<DicomAttribute tag="00081190" vr="UR" keyword="RetrieveURL"><Value number="1">http://h/studies/1</Value></DicomAttribute>
<DicomAttribute tag="00081198" vr="SQ"><Item number="1">
  <DicomAttribute tag="00081155" vr="UI"><Value number="1">1.3</Value></DicomAttribute>
  <DicomAttribute tag="00081197" vr="US"><Value number="1">290</Value></DicomAttribute>
</Item></DicomAttribute>
<DicomAttribute tag="00081199" vr="SQ"><Item number="1">
  <DicomAttribute tag="00081155" vr="UI"><Value number="1">1.1</Value></DicomAttribute>
</Item></DicomAttribute>
</NativeDicomModel>"""


def test_json() -> None:
    expected = StoreAnswer(
        {"1.1": 0, "1.2": 0xB000},
        {"1.3": Failure(0xA900), "1.4": Failure(0x0110, "disk is full")},
        (Failure(0xC000), Failure(0x0110)),
        "http://h/studies/1",
    )
    assert parse_answer(json.dumps(ANSWER).encode()) == expected
    assert parse_answer(b"\xef\xbb\xbf" + json.dumps([ANSWER]).encode()) == expected


def test_an_answer_for_each_instance() -> None:
    def one(uid: str) -> dict[str, object]:
        return {"00081199": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": [uid]}}]}}

    assert parse_answer(json.dumps([one("1.1"), one("1.2")]).encode()).stored == {"1.1": 0, "1.2": 0}


def test_xml() -> None:
    answer = parse_answer(XML)
    assert answer == StoreAnswer({"1.1": 0}, {"1.3": Failure(0x0122)}, (), "http://h/studies/1")


def test_an_empty_sequence_says_nothing() -> None:
    assert parse_answer(b'{"00081198": {"vr": "SQ"}, "00081199": {"vr": "SQ", "Value": []}}') == ({}, {}, (), "")


@pytest.mark.hostile
@pytest.mark.parametrize(
    "body",
    [b"", b"OK", b"<html><body>200</body></html>", b"7", b'"text"', b"null", b"[[1]]", b"{", b"<a", b"\xff\xfe{",
     b"[" * 100_000, b'{"a":' * 100_000, b"9" * 10_000,
     b'<!DOCTYPE a [<!ENTITY b "c">]><NativeDicomModel>&b;</NativeDicomModel>',
     b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><NativeDicomModel/>'],
)  # fmt: skip
def test_what_is_no_answer(body: bytes) -> None:
    with pytest.raises(InvalidDataSetError):
        parse_answer(body)


@pytest.mark.hostile
def test_deep_xml() -> None:
    body = b"<NativeDicomModel>" + b"<Item>" * 50_000 + b"</Item>" * 50_000 + b"</NativeDicomModel>"
    assert parse_answer(body) == ({}, {}, (), "")


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["vr", "Value", "00081199", "00081198", "00081155", "00081197"]), inner, max_size=4
        )
    ),
    max_leaves=20,
)


@given(_VALUES)
def test_any_json_is_an_answer_or_an_error(value: object) -> None:
    try:
        parse_answer(json.dumps(value).encode())
    except InvalidDataSetError:
        pass


def test_reasons() -> None:
    assert describe_reason(0xC122) == "refused, transfer syntax not supported (C122H)"
    assert describe_reason(0xA700) == "refused, out of resources (A700H)"
