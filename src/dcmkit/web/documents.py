"""What is shown though it is no image: documents and video as they are stored, structured reports as text.

Stored bytes come from strangers, and browsers show them as pages of this server. So a document is sent as one of a few
media types only, whatever the object says, and those that could hold scripts go into a sandbox.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from html import escape
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from dcmkit.dataset.elements import DataSet, items, text
from dcmkit.dataset.raw import UNDEFINED
from dcmkit.errors import InvalidDataSetError
from dcmkit.uids import DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, name_of
from dcmkit.web.exchange import FileSlice, Rope

if TYPE_CHECKING:
    from dcmkit.pixels.image_file import ImageFile

PDF, CDA, STL, OBJ, MTL = "application/pdf", "application/xml", "model/stl", "model/obj", "model/mtl"
HTML, TEXT = "text/html", "text/plain"
MP4, MPEG, TRANSPORT, HEVC, QUICKTIME = "video/mp4", "video/mpeg", "video/mp2t", "video/H265", "video/quicktime"
SANDBOX = ("Content-Security-Policy", "sandbox; default-src 'none'; style-src 'unsafe-inline'")

_DOCUMENTS = "1.2.840.10008.5.1.4.1.1.104."
_TYPES = {_DOCUMENTS + "1": PDF, _DOCUMENTS + "2": CDA, _DOCUMENTS + "3": STL, _DOCUMENTS + "4": OBJ,
          _DOCUMENTS + "5": MTL}  # fmt: skip
_REPORTS = "1.2.840.10008.5.1.4.1.1.88."
_DOCUMENT, _DOCUMENT_LENGTH, _CONTENT = 0x00420011, 0x00420015, 0x0040A730
_ITEMS_LIMIT = 50_000
_TEXT_LIMIT = 64 << 10
_CHARSET = re.compile(
    r"utf-?8|us-ascii|iso-8859-\d\d?|windows-125\d|koi8-r|gbk|gb2312|gb18030|big5|euc-(?:jp|kr)|shift_jis"
)


# --- documents ---------------------------------------------------------------------------------------------------


def document_type(image: ImageFile) -> str:
    """The media type of the document in an object: that of its SOP class, checked where it can be; "" for none."""
    found = _TYPES.get(image.header.sop_class_uid, "")
    value = image.elements.value(_DOCUMENT)
    if not found or value is None or not len(value):
        return ""
    if found == PDF and b"%PDF-" not in bytes(value[:1024]):
        return ""
    return found


def document(image: ImageFile) -> Rope:
    """The document in an object, where it lies.

    Raises:
        InvalidDataSetError: there is none.
    """
    one = image.elements.get(_DOCUMENT)
    if one is None or one.length in (0, UNDEFINED):
        raise InvalidDataSetError("there is no document in it", offending_element=_DOCUMENT)
    length = one.length
    said = image.elements.unsigned(_DOCUMENT_LENGTH)
    if said == length - 1:  # padded
        length = said
    if image.transfer_syntax_uid == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
        return Rope((bytes(image.elements.data[one.value_start : one.value_start + length]),))
    return Rope((FileSlice(image.path, one.value_start, length),))


def document_headers(media_type: str) -> tuple[tuple[str, str], ...]:
    """What keeps a browser from running what a document holds; viewers of PDF do not work in a sandbox."""
    return () if media_type == PDF or media_type.startswith("video/") else (SANDBOX,)


# --- video -------------------------------------------------------------------------------------------------------


def video_type(image: ImageFile) -> str:
    """The media type of a video: what its first bytes are, whatever wraps it (PS3.5 8.2.5 ff.)."""
    places = image.places(0)
    first = bytes(image.frame(0)[:12]) if places is None else b""
    if places is not None:
        with open(image.path, "rb", buffering=0) as file:
            file.seek(places[0][0])
            first = file.read(12)
    if first[4:8] == b"ftyp":
        return QUICKTIME if first[8:12] == b"qt  " else MP4
    if first[:1] == b"\x47":
        return TRANSPORT
    number = image.transfer_syntax_uid.rpartition("1.2.840.10008.1.2.4.")[2].partition(".")[0]
    return MPEG if number in ("100", "101") else HEVC if number in ("107", "108") else MP4


def video(image: ImageFile) -> Rope:
    """The stream, where it lies. Raises: InvalidDataSetError."""
    places = image.places(0)
    if places is None:
        return Rope((bytes(image.frame(0)),))
    return Rope(tuple(FileSlice(image.path, start, length) for start, length in places))


# --- structured reports ------------------------------------------------------------------------------------------


class Line(NamedTuple):
    """A content item as it is read: how deep, what it is about, and what it says."""

    depth: int
    name: str
    value: str


def is_report(image: ImageFile) -> bool:
    """Whether it is a structured report, or a list of key objects."""
    return image.header.sop_class_uid.startswith(_REPORTS) and _CONTENT in image.elements


def report_as_html(data_set: DataSet, charset: str = "utf-8") -> bytes:
    """A report as a page without scripts, links or images."""
    title, facts, lines = _report(data_set)
    head = (
        f'<!DOCTYPE html><html><head><meta charset="{charset}"><title>{_safe(title)}</title>'
        "<style>body{font-family:sans-serif;margin:2em;max-width:60em}dt{font-weight:bold}p{white-space:pre-wrap;"
        "margin:.3em 0}th{text-align:left;padding-right:1em}</style></head><body>"
        f"<h1>{_safe(title)}</h1><table>"
    )
    found = [head]
    found += [f"<tr><th>{_safe(name)}</th><td>{_safe(value)}</td></tr>" for name, value in facts]
    found.append("</table><hr>")
    for line in lines:
        name, value = _safe(line.name), _safe(line.value)
        if line.value:
            found.append(f'<p style="margin-left:{2 * line.depth}em"><b>{name}{":" if name else ""}</b> {value}</p>')
        else:
            level = min(6, line.depth + 2)
            found.append(f'<h{level} style="margin-left:{2 * line.depth}em">{name}</h{level}>')
    found.append("</body></html>\n")
    return "".join(found).encode(charset, "xmlcharrefreplace")


def report_as_text(data_set: DataSet, charset: str = "utf-8") -> bytes:
    """A report as plain text."""
    title, facts, lines = _report(data_set)
    found = [title, "=" * max(1, len(title)), ""]
    found += [f"{name}: {value}" for name, value in facts]
    found.append("")
    for line in lines:
        indent = "  " * line.depth
        value = line.value.replace("\n", "\n" + indent + "  ")
        found.append(indent + (f"{line.name}: {value}" if line.name and value else line.name or value))
    return ("\n".join(map(_printable, found)) + "\n").encode(charset, "replace")


def text_charset(wanted: str) -> str:
    """A character set to write text in: the one asked for where it is known and writes ASCII as ASCII, else UTF-8."""
    for one in wanted.split(",")[:8]:
        name = one.partition(";")[0].strip().lower()
        if not _CHARSET.fullmatch(name):
            continue
        try:
            if "<a>".encode(name) == b"<a>":
                return name
        except (LookupError, ValueError):
            continue
    return "utf-8"


def _report(data_set: DataSet) -> tuple[str, list[tuple[str, str]], Iterator[Line]]:
    title = _meaning(data_set, 0x0040A043) or name_of(text(data_set, 0x00080016)) or "Report"
    facts = []
    for name, tag in (
        ("Patient", 0x00100010), ("Patient ID", 0x00100020), ("Date of birth", 0x00100030), ("Sex", 0x00100040),
        ("Study", 0x00081030), ("Study date", 0x00080020), ("Accession number", 0x00080050),
        ("Completion", 0x0040A491), ("Verification", 0x0040A493),
    ):  # fmt: skip
        value = text(data_set, tag).strip()
        if value:
            facts.append((name, _name(value) if tag == 0x00100010 else _date(value) if "ate" in name else value))
    return title, facts, islice(_lines(items(data_set, _CONTENT), 0), _ITEMS_LIMIT)


def _lines(content: list[DataSet], depth: int) -> Iterator[Line]:
    """Content items, one after the other; data sets in memory are nested 32 deep at most."""
    for item in content:
        value = _VALUES.get(text(item, 0x0040A040), _nothing)(item)
        name = _meaning(item, 0x0040A043)
        if name or value:
            yield Line(depth, name[:_TEXT_LIMIT], value[:_TEXT_LIMIT])
        yield from _lines(items(item, _CONTENT), depth + 1)


def _nothing(_item: DataSet) -> str:
    return ""


def _meaning(item: DataSet, tag: int) -> str:
    return next((text(code, 0x00080104) or text(code, 0x00080100) for code in items(item, tag)), "")


def _number(item: DataSet) -> str:
    for measured in items(item, 0x0040A300):
        unit = next((text(code, 0x00080100) for code in items(measured, 0x004008EA)), "")
        return f"{text(measured, 0x0040A30A)} {'' if unit == '1' else unit}".strip()
    return _meaning(item, 0x0040A301)


def _reference(item: DataSet) -> str:
    for found in items(item, 0x00081199):
        frames = text(found, 0x00081160)
        what = f"{name_of(text(found, 0x00081150))} {text(found, 0x00081155)}"
        return what + (f", frame {frames.replace(chr(92), ', ')}" if frames else "")
    return ""


def _coordinates(item: DataSet) -> str:
    return f"{text(item, 0x00700023)} {text(item, 0x00700022).replace(chr(92), ' ')}"[:1000].strip()


def _name(value: str) -> str:
    return " ".join(value.partition("=")[0].replace("^", " ").split())


def _date(value: str) -> str:
    return f"{value[:4]}-{value[4:6]}-{value[6:8]}" if len(value) == 8 and value.isdigit() else value


def _of(tag: int, change: Callable[[str], str] = str) -> Callable[[DataSet], str]:
    return lambda item: change(text(item, tag))


_VALUES: dict[str, Callable[[DataSet], str]] = {
    "TEXT": _of(0x0040A160), "CODE": lambda item: _meaning(item, 0x0040A168), "NUM": _number,
    "PNAME": _of(0x0040A123, _name), "DATE": _of(0x0040A121, _date), "TIME": _of(0x0040A122),
    "DATETIME": _of(0x0040A120), "UIDREF": _of(0x0040A124), "IMAGE": _reference, "COMPOSITE": _reference,
    "WAVEFORM": _reference, "SCOORD": _coordinates, "SCOORD3D": _coordinates, "TCOORD": _of(0x0040A130),
}  # fmt: skip
"""What content items say, by their value type (PS3.3 C.17.3.2)."""


def _printable(line: str) -> str:
    return "".join(char if char in "\n\t" or char.isprintable() else " " for char in line.replace("\r\n", "\n"))


def _safe(line: str) -> str:
    return escape(_printable(line))
