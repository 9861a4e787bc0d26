"""Answers encoded row by row are what the general encoder makes of the same elements."""

from __future__ import annotations

import pytest

from dcmkit.dataset.elements import DataSet, Element, decode, encode
from dcmkit.dataset.identifier import AnswerEncoder, Field
from dcmkit.uids import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)

SYNTAXES = (
    IMPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
)
FIELDS = (
    Field(0x00080020, "DA", 0),
    Field(0x00080052, "CS", value="STUDY"),
    Field(0x00080054, "AE", value="QRSCP"),
    Field(0x00100010, "PN", 1),
    Field(0x0020000D, "UI", 2),
    Field(0x00201208, "IS", 3),
    Field(0x00280010, "US", 4),
    Field(0x00321060, "LO"),
)
ROW = ("20240131", "Doe^Jane", "1.2.3", 17, 512)


def answer(row, *, fields=FIELDS, syntax=EXPLICIT_VR_LITTLE_ENDIAN, charset="") -> DataSet:
    return decode(AnswerEncoder(fields, syntax, charset).encode(row), syntax)


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("row", [ROW, (None,) * 5, ("", "", "", 0, 65535), ("2024013", "D", "1.2.34", 1, 1)])
def test_a_row_is_what_the_general_encoder_makes_of_it(syntax, row):
    values = {field.tag: "" if field.column < 0 else row[field.column] for field in FIELDS}
    expected = {
        field.tag: Element(field.vr, field.value or ("" if values[field.tag] is None else str(values[field.tag])))
        for field in FIELDS
    }
    assert AnswerEncoder(FIELDS, syntax).encode(row) == encode(expected, syntax)


def test_fields_may_come_in_any_order_and_all_may_be_fixed():
    fixed = (Field(0x00080054, "AE", value="QR"), Field(0x00080052, "CS", value="STUDY"))
    assert list(answer((), fields=fixed)) == [0x00080052, 0x00080054]
    assert AnswerEncoder((), EXPLICIT_VR_LITTLE_ENDIAN).encode(()) == b""


@pytest.mark.parametrize(
    ("charset", "name", "told"),
    [
        ("", "Doe^Jane", None),
        ("ISO_IR 100", "Doe^Jane", None),
        ("ISO_IR 100", "Müller^Jörg", "ISO_IR 100"),
        ("", "Müller^Jörg", "ISO_IR 192"),
        ("ISO_IR 100", "Люкceмбypг", "ISO_IR 192"),
        ("ISO_IR 144", "Люкceмбypг", "ISO_IR 144"),
        ("NO SUCH SET", "Müller", "ISO_IR 192"),
        ("\\ISO 2022 IR 149", "Hong^Gildong=洪^吉洞=홍^길동", "\\ISO 2022 IR 149"),
    ],
)
def test_text_in_the_character_set_asked_for_or_in_utf_8(charset, name, told):
    found = answer((None, name, None, None, None), charset=charset)
    assert found[0x00100010].value == name
    assert (found[0x00080005].value if 0x00080005 in found else None) == told


def test_what_a_character_set_says_nothing_about_stays_ascii():
    fields = (Field(0x00080060, "CS", 0), Field(0x00100010, "PN", 1))
    found = answer(("Ü", "ä"), fields=fields, charset="ISO_IR 100")
    assert found[0x00080060].value == "?"


def test_values_too_long_or_no_numbers_are_left_out():
    fields = (Field(0x00080050, "SH", 0), Field(0x00280010, "US", 1), Field(0x00280011, "US", 2))
    found = answer(("x" * 65535, 65536, "many"), fields=fields)
    assert [element.value for element in found.values()] == ["", "", ""]
    assert len(answer(("x" * 65536, 1, 1), fields=fields, syntax=IMPLICIT_VR_LITTLE_ENDIAN)[0x00080050].value) == 65536


SEQUENCE = (
    Field(
        0x00400275,
        "SQ",
        items=(Field(0x00321060, "LO"), Field(0x00400009, "SH", 0), Field(0x00401001, "SH", 1)),
    ),
)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_sequences_have_an_item_for_each_value(syntax):
    items = answer(("S1\\S2", "R1"), fields=SEQUENCE, syntax=syntax)[0x00400275].value
    assert [{tag: element.value for tag, element in item.items()} for item in items] == [
        {0x00321060: "", 0x00400009: "S1", 0x00401001: "R1"},
        {0x00321060: "", 0x00400009: "S2", 0x00401001: ""},
    ]


def test_sequences_without_values_are_empty_and_speak_the_character_set():
    assert answer((None, ""), fields=SEQUENCE)[0x00400275].value == []
    found = answer(("Müller", None), fields=SEQUENCE, charset="ISO_IR 100")
    assert found[0x00080005].value == "ISO_IR 100"
    assert found[0x00400275].value[0][0x00400009].value == "Müller"


def test_what_every_answer_has_is_ascii():
    found = answer((), fields=(Field(0x00090010, "LO", value="ACÍE\x1b"),))
    assert found[0x00090010].value == "AC?E\x1b"
