"""Reports as text, and what keeps documents harmless."""

from __future__ import annotations

from pathlib import Path

import pytest

from dcmkit.dataset.elements import DataSet, Element
from dcmkit.errors import InvalidDataSetError
from dcmkit.pixels.image_file import ImageFile
from dcmkit.web import documents
from dcmkit.web.documents import report_as_html, report_as_text, text_charset
from tests.pixels.files import VIDEO, attributes, encapsulated, native, write


def code(meaning: str) -> Element:
    return Element("SQ", [{0x00080100: Element("SH", "1"), 0x00080104: Element("LO", meaning)}])


def item(kind: str, name: str = "", **values: Element) -> DataSet:
    found: DataSet = {0x0040A040: Element("CS", kind)}
    if name:
        found[0x0040A043] = code(name)
    found |= {int(tag.removeprefix("tag_"), 16): value for tag, value in values.items()}
    return dict(sorted(found.items()))


REFERENCE = Element("SQ", [{
    0x00081150: Element("UI", "1.2.840.10008.5.1.4.1.1.2"), 0x00081155: Element("UI", "1.2.3.4"),
    0x00081160: Element("IS", "1\\2"),
}])  # fmt: skip
MEASURED = Element("SQ", [{
    0x004008EA: Element("SQ", [{0x00080100: Element("SH", "mm")}]), 0x0040A30A: Element("DS", "12.5"),
}])  # fmt: skip
REPORT: DataSet = {
    0x00080005: Element("CS", "ISO_IR 192"),
    0x00080016: Element("UI", "1.2.840.10008.5.1.4.1.1.88.33"),
    0x00080018: Element("UI", "1.2.9"),
    0x00080020: Element("DA", "20240131"),
    0x00080060: Element("CS", "SR"),
    0x00100010: Element("PN", "Müller^<b>Jane"),
    0x00100020: Element("LO", "4711"),
    0x0040A040: Element("CS", "CONTAINER"),
    0x0040A043: code("Chest <Report>"),
    0x0040A730: Element("SQ", [
        item("CONTAINER", "Findings", tag_0040A730=Element("SQ", [
            item("TEXT", "Finding", tag_0040A160=Element("UT", "<script>alert(1)</script>\r\nsecond line")),
            item("NUM", "Length", tag_0040A300=MEASURED),
            item("CODE", "Side", tag_0040A168=code("left")),
            item("PNAME", "Reader", tag_0040A123=Element("PN", "Doe^John")),
            item("DATE", "Day", tag_0040A121=Element("DA", "20240131")),
            item("IMAGE", "", tag_00081199=REFERENCE),
            item("SCOORD", "Place", tag_00700022=Element("FL", "1\\2"), tag_00700023=Element("CS", "POINT")),
            item("UIDREF", "Track", tag_0040A124=Element("UI", "1.2.3")),
            item("STRANGE", "Odd"),
        ])),
    ]),
}  # fmt: skip


def test_a_report_as_text() -> None:
    found = report_as_text(REPORT).decode()
    assert found.startswith("Chest <Report>\n==============\n\nPatient: Müller <b>Jane\n")
    assert "Study date: 2024-01-31" in found
    assert "Findings\n  Finding: <script>alert(1)</script>\n    second line\n  Length: 12.5 mm\n  Side: left\n" in found
    assert (
        "  Reader: Doe John\n  Day: 2024-01-31\n  CT Image Storage 1.2.3.4, frame 1, 2\n  Place: POINT 1 2\n" in found
    )
    assert found.endswith("  Track: 1.2.3\n  Odd\n")


def test_a_report_as_html_runs_nothing() -> None:
    found = report_as_html(REPORT).decode()
    assert "<script" not in found
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\nsecond line" in found
    assert "<title>Chest &lt;Report&gt;</title>" in found
    assert "Müller &lt;b&gt;Jane" in found
    ascii_only = report_as_html(REPORT, "us-ascii")
    assert b"M&#252;ller" in ascii_only


def test_an_empty_report() -> None:
    assert report_as_text({}) == b"Report\n======\n\n\n"
    assert b"<h1>Report</h1>" in report_as_html({})


def test_control_characters_do_not_get_through() -> None:
    report = {**REPORT, 0x0040A730: Element("SQ", [item("TEXT", "a\x1b[31mb", tag_0040A160=Element("UT", "\x07\0"))])}
    assert b"\x1b" not in report_as_text(report)
    assert b"\x1b" not in report_as_html(report)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("", "utf-8"), ("UTF-8", "utf-8"), ("ISO-8859-1", "iso-8859-1"), ("utf-16", "utf-8"), ("utf-7", "utf-8"),
        ("nothing, shift_jis;q=1", "shift_jis"), ("iso-8859-99", "utf-8"), ("x\r\nSet-Cookie: a", "utf-8"),
        ("rot13", "utf-8"), ("hex", "utf-8"),
    ],
)  # fmt: skip
def test_character_sets(wanted: str, found: str) -> None:
    assert text_charset(wanted) == found


@pytest.mark.parametrize(
    ("first", "found"),
    [
        (b"\0\0\0\x18ftypmp42", "video/mp4"),
        (b"\0\0\0\x18ftypqt  ", "video/quicktime"),
        (b"\x47\x40\0\x10", "video/mp2t"),
        (b"\0\0\1\xba", "video/mp4"),
    ],
)
def test_what_a_video_is(tmp_path: Path, first: bytes, found: str) -> None:
    path = write(tmp_path / "video", VIDEO, attributes(), encapsulated([first + bytes(20)]))
    with ImageFile(path) as image:
        assert documents.video_type(image) == found
        assert documents.video(image).length == len(first) + 20


def test_an_object_without_a_document(tmp_path: Path) -> None:
    with ImageFile(native(tmp_path / "image", bytes(6), attributes())) as image:
        assert documents.document_type(image) == ""
        assert not documents.is_report(image)
        with pytest.raises(InvalidDataSetError):
            documents.document(image)
