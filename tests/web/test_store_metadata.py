"""Metadata of instances to be stored."""

from __future__ import annotations

import pytest

from dcmkit.dataset.elements import DataSet, Element
from dcmkit.dataset.json_model import from_json
from dcmkit.dataset.xml_model import NativeWriter, to_native_xml
from dcmkit.errors import InvalidDataSetError
from dcmkit.web.store_metadata import parse_json, parse_xml

DATA: DataSet = {
    0x00080005: Element("CS", "ISO_IR 192"),
    0x00080008: Element("CS", "ORIGINAL\\\\PRIMARY"),
    0x00080018: Element("UI", "1.2.3"),
    0x00081032: Element("SQ", [{0x00080100: Element("SH", "A")}, {}]),
    0x00100010: Element("PN", "Yamada^Tarou=\u5c71\u7530^\u592a\u90ce\\Doe^J^^Dr"),
    0x00100030: Element("DA", ""),
    0x00180050: Element("DS", "2.5"),
    0x00190010: Element("LO", "ACME"),
    0x00190011: Element("LO", "OTHER"),
    0x00191002: Element("US", "5"),
    0x00191103: Element("LO", "<text> & more"),
    0x00280010: Element("US", "512"),
    0x00420011: Element("OB", b"\1\2\3\4"),
}


def test_what_we_write_is_read():
    (found,) = parse_xml(to_native_xml(DATA).encode())
    assert from_json(found) == DATA
    parts: list[str] = []
    writer = NativeWriter(parts.append)
    writer.add(DATA)
    writer.add({})
    writer.close()
    assert [from_json(one) for one in parse_xml("".join(parts).encode())] == [DATA, {}]


def test_bulk_data():
    (found,) = parse_xml(to_native_xml(DATA, bulk_data=lambda *_: "urn:x?a&b").encode())
    assert found["00420011"] == {"vr": "OB", "BulkDataURI": "urn:x?a&b"}  # type: ignore[index]


def attribute(tag: str, vr: str, content: str, more: str = "") -> str:
    return f'<DicomAttribute tag="{tag}" vr="{vr}" {more}>{content}</DicomAttribute>'


def read(content: str) -> DataSet:
    (found,) = parse_xml(f"<NativeDicomModel>{content}</NativeDicomModel>".encode())
    return from_json(found)


def test_private_elements_get_a_block():
    found = read(
        attribute("00190010", "LO", '<Value number="1">A</Value>')
        + attribute("00190001", "LO", "<Value>x</Value>", 'privateCreator="B"')
        + attribute("00190002", "LO", "<Value>y</Value>", 'privateCreator="A"')
    )
    assert {tag: one.value for tag, one in found.items()} == {
        0x00190010: "A", 0x00191002: "y", 0x00190011: "B", 0x00191101: "x",
    }  # fmt: skip


def test_values_by_their_numbers():
    assert read(attribute("00080008", "CS", '<Value number="3">C</Value><Value number="1">A</Value>')) == {
        0x00080008: Element("CS", "A\\\\C".replace("\\\\", "\\\\"))
    }


@pytest.mark.parametrize(
    "body",
    [
        "", "<", "<a/>", "{}", "<NativeDicomModel>", '<!DOCTYPE a [<!ENTITY b "c">]><NativeDicomModel/>',
        "<NativeDicomModel>" + attribute("00080008", "CS", '<Value number="9999">x</Value>') + "</NativeDicomModel>",
        "<NativeDicomModel>" + attribute("00080008", "CS", '<Value number="0">x</Value>') + "</NativeDicomModel>",
        "<NativeDicomModel>" + "<DicomAttribute><Item>" * 40 + "</Item></DicomAttribute>" * 40 + "</NativeDicomModel>",
        "<NativeDicomModel>" + "".join(attribute("00190001", "LO", "", f'privateCreator="{n}"') for n in range(300))
        + "</NativeDicomModel>",
    ],
)  # fmt: skip
def test_xml_that_is_no_metadata(body: str):
    for encoding in ("utf-8", "utf-16"):
        with pytest.raises(InvalidDataSetError):
            parse_xml(body.encode(encoding))


def test_json():
    assert parse_json(b"[{}, 1]") == [{}, 1]
    assert parse_json(b'{"a": 1}') == [{"a": 1}]
    for body in (b"", b"[", b"[" * 200_000, b"\xff", b"1" * 10_000):
        with pytest.raises(InvalidDataSetError):
            parse_json(body)
