"""Which attributes are wanted."""

from __future__ import annotations

import json

from dcmkit.dataset.elements import Element
from dcmkit.web.metadata_fields import read_fields


def test_names_and_tags_in_lists() -> None:
    fields = read_fields(["PatientName,00200013", "00280010"], False)
    assert fields.tags == {0x00100010, 0x00200013, 0x00280010}
    assert fields.wants(0x0020000D)
    assert not fields.wants(0x00100020)
    assert not fields.warnings


def test_all_is_all() -> None:
    assert read_fields(["all"], False).tags is None
    assert read_fields(["PatientName", "ALL"], True).wants(0x00100020)


def test_what_is_no_attribute_is_ignored() -> None:
    fields = read_fields(["Nonsense", "PatientName"], False)
    assert fields.tags == {0x00100010}
    assert fields.warnings


def test_private_attributes_go_within_sequences_too() -> None:
    fields = read_fields([], True)
    item = {"00091001": {"vr": "LO"}, "00100010": {"vr": "PN"}}
    found = json.loads(fields.of_json(json.dumps({"00081140": {"vr": "SQ", "Value": [item]}, **item}).encode()))
    assert found == {"00081140": {"vr": "SQ", "Value": [{"00100010": {"vr": "PN"}}]}, "00100010": {"vr": "PN"}}
    elements = {0x00091001: Element("LO", "x"), 0x00100010: Element("PN", "y")}
    sequence = {0x00081140: Element("SQ", [elements]), **elements}
    assert fields.of(sequence) == {
        0x00081140: Element("SQ", [{0x00100010: Element("PN", "y")}]),
        0x00100010: Element("PN", "y"),
    }
