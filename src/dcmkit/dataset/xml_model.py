"""Data sets as XML: the native DICOM model (PS3.19 A.1), and the form of DCMTK's dcm2xml and findscu.

Everything is written in UTF-8 and nothing is read back here. Characters XML 1.0 cannot hold become U+FFFD.
"""

from __future__ import annotations

import math
import re
import struct
from binascii import b2a_base64
from collections.abc import Callable

from dcmkit.dataset.dictionary import keyword_of
from dcmkit.dataset.elements import BYTES_VRS, LONG_LENGTH_VRS, SINGLE_VRS, DataSet, Element
from dcmkit.dataset.values import SPECIFIC_CHARACTER_SET, is_number
from dcmkit.uids import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)

DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'
NAMESPACE = "http://dicom.nema.org/PS3.19/models/NativeDICOM"

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What is no character of XML 1.0 (its production 2)."""
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&apos;", "\n": "&#10;", "\r": "&#13;"}
_SPECIAL = re.compile(f"[{''.join(_ENTITIES)}]")
_PLAIN = re.compile(r"[ !#-%(-;=?-~\t]*")
_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
_COMPONENTS = ("FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix")
_PRIVATE_CREATORS = range(0x10, 0x100)

BulkData = Callable[[tuple[int, ...], Element], str]
"""As in `json_model`: asked for each value of bytes, and answers with a URI, or "" to write it inline."""


def escape(text: str) -> str:
    """`text` as content or attribute value. Line ends are written as references: parsers change them otherwise."""
    if _PLAIN.fullmatch(text):
        return text
    return _SPECIAL.sub(lambda match: _ENTITIES[match[0]], _NOT_XML.sub("\ufffd", text))


# --- native DICOM model ------------------------------------------------------------------------------------------


def to_native_xml(data_set: DataSet, *, bulk_data: BulkData | None = None) -> str:
    """A whole document with one `NativeDicomModel`.

    Specific Character Set (0008,0005) stays as it is, as in the JSON model.
    """
    return DECLARATION + _native_model(data_set, f' xmlns="{NAMESPACE}"', bulk_data)


class NativeWriter:
    """Writes one document with a `NativeDicomModel` for each data set, as they come.

    The element around them, `NativeDicomModels`, is dcmkit's own: PS3.19 knows only one model in a document.
    """

    def __init__(self, write: Callable[[str], object], *, bulk_data: BulkData | None = None) -> None:
        self._write = write
        self._bulk_data = bulk_data
        write(f'{DECLARATION}<NativeDicomModels xmlns="{NAMESPACE}">\n')

    def add(self, data_set: DataSet) -> None:
        """One more data set."""
        self._write(_native_model(data_set, "", self._bulk_data))

    def close(self) -> None:
        """The end of the document."""
        self._write("</NativeDicomModels>\n")


def _native_model(data_set: DataSet, namespace: str, bulk_data: BulkData | None) -> str:
    parts = [f'<NativeDicomModel xml:space="preserve"{namespace}>\n']
    _native_elements(data_set, parts, bulk_data, ())
    parts.append("</NativeDicomModel>\n")
    return "".join(parts)


def _native_elements(data_set: DataSet, parts: list[str], bulk_data: BulkData | None, path: tuple[int, ...]) -> None:
    """The DICOM Data Set Macro (PS3.19 table A.1.5-2)."""
    for tag in sorted(data_set):
        vr, value = data_set[tag]
        parts.append(f'<DicomAttribute tag="{_native_tag(tag, data_set)}" vr="{vr}"{_native_name(tag, data_set)}>\n')
        if isinstance(value, str):
            if value:
                _native_values(vr, value, parts)
        elif isinstance(value, bytes):
            if value:
                uri = bulk_data((*path, tag), data_set[tag]) if bulk_data is not None else ""
                text = b2a_base64(value, newline=False).decode("ascii")
                parts.append(f'<BulkData uri="{escape(uri)}"/>\n' if uri else f"<InlineBinary>{text}</InlineBinary>\n")
        else:
            for number, item in enumerate(value, 1):
                parts.append(f'<Item number="{number}">\n')
                _native_elements(item, parts, bulk_data, (*path, tag, number - 1))
                parts.append("</Item>\n")
        parts.append("</DicomAttribute>\n")


def _native_tag(tag: int, data_set: DataSet) -> str:
    """Eight digits; of a private element without the block its creator reserved (PS3.19 table A.1.5-2)."""
    return f"{tag & 0xFFFF00FF:08X}" if _creator(tag, data_set) else f"{tag:08X}"


def _native_name(tag: int, data_set: DataSet) -> str:
    creator = _creator(tag, data_set)
    if creator:
        return f' privateCreator="{escape(creator)}"'
    keyword = keyword_of(tag)
    return f' keyword="{keyword}"' if keyword else ""


def _creator(tag: int, data_set: DataSet) -> str:
    """The private creator of an element; "" where there is none."""
    if not tag >> 16 & 1 or tag & 0xFFFF < 0x1000:
        return ""
    found = data_set.get(tag & 0xFFFF0000 | tag >> 8 & 0xFF)
    return found.value if found is not None and isinstance(found.value, str) else ""


def _native_values(vr: str, value: str, parts: list[str]) -> None:
    if vr in ("FL", "FD"):
        value = _dcmtk_numbers(vr, value)
    values = [value] if vr in SINGLE_VRS else value.split("\\")
    for number, one in enumerate(values, 1):
        if vr == "PN":
            _native_name_parts(number, one, parts)
        else:
            parts.append(f'<Value number="{number}">{escape(one)}</Value>\n')


def _native_name_parts(number: int, name: str, parts: list[str]) -> None:
    parts.append(f'<PersonName number="{number}">\n')
    for group, text in zip(_GROUPS, name.split("=", 2), strict=False):
        if text:
            parts.append(f"<{group}>\n")
            for component, part in zip(_COMPONENTS, text.split("^", 4), strict=False):
                if part:
                    parts.append(f"<{component}>{escape(part)}</{component}>\n")
            parts.append(f"</{group}>\n")
    parts.append("</PersonName>\n")


# --- DCMTK's form ------------------------------------------------------------------------------------------------

_SYNTAX_NAMES = {
    IMPLICIT_VR_LITTLE_ENDIAN: "Little Endian Implicit",
    EXPLICIT_VR_LITTLE_ENDIAN: "Little Endian Explicit",
    EXPLICIT_VR_BIG_ENDIAN: "Big Endian Explicit",
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN: "Deflated Explicit VR Little Endian",
}
_NUMBERS_OF = {"OF": "f", "OD": "d", "OL": "I", "OV": "Q"}
"""Bytes that are written as the numbers they are; of the others only the length is."""
_NUMBER_SIZES = {"US": 2, "SS": 2, "UL": 4, "SL": 4, "UV": 8, "SV": 8, "FL": 4, "FD": 8, "AT": 4}


def to_dcm2xml(data_set: DataSet, transfer_syntax_uid: str = EXPLICIT_VR_LITTLE_ENDIAN) -> str:
    """One answer as `findscu -Xx` writes it into a file of its own.

    What differs from DCMTK: retired elements have their keywords without `RETIRED_` before them, spaces around values
    are gone, numbers have no more digits than they need.
    """
    return DECLARATION + _dcmtk_data_set(data_set, transfer_syntax_uid)


class Dcm2xmlWriter:
    """Writes all answers as `findscu -Xs` does into one document, as they come."""

    def __init__(self, write: Callable[[str], object], transfer_syntax_uid: str = EXPLICIT_VR_LITTLE_ENDIAN) -> None:
        self._write = write
        self._transfer_syntax_uid = transfer_syntax_uid
        write(f'{DECLARATION}<responses type="C-FIND">\n')

    def add(self, data_set: DataSet) -> None:
        """One more answer."""
        self._write(_dcmtk_data_set(data_set, self._transfer_syntax_uid))

    def close(self) -> None:
        """The end of the document."""
        self._write("</responses>\n")


def _dcmtk_data_set(data_set: DataSet, transfer_syntax_uid: str) -> str:
    """As DCMTK does, the text becomes UTF-8 and Specific Character Set says so."""
    if SPECIFIC_CHARACTER_SET in data_set:
        data_set = data_set | {SPECIFIC_CHARACTER_SET: Element("CS", "ISO_IR 192")}
    name = _SYNTAX_NAMES.get(transfer_syntax_uid, "Unknown Transfer Syntax")
    content, _ = _dcmtk_elements(data_set, transfer_syntax_uid != IMPLICIT_VR_LITTLE_ENDIAN)
    return f'<data-set xfer="{escape(transfer_syntax_uid)}" name="{name}">\n{content}</data-set>\n'


def _dcmtk_elements(data_set: DataSet, explicit: bool) -> tuple[str, int]:
    """The elements, and how many bytes they have when they are encoded."""
    parts: list[str] = []
    total = 0
    for tag in sorted(data_set):
        vr, value = data_set[tag]
        label = f'tag="{tag >> 16:04x},{tag & 0xFFFF:04x}" vr="{vr}"'
        if isinstance(value, list):
            content, length = _dcmtk_items(value, explicit)
            head = f'{label} card="{len(value)}" len="{length}" name="{_dcmtk_name(tag)}"'
            parts.append(f"<sequence {head}>\n{content}</sequence>\n")
        else:
            content, count, length = _dcmtk_value(vr, value)
            head = f'{label} vm="{count}" len="{length}" name="{_dcmtk_name(tag)}"'
            hidden = ' binary="hidden"' if vr in BYTES_VRS and vr not in _NUMBERS_OF else ""
            parts.append(f"<element {head}{hidden}>{content}</element>\n")
        total += length + (12 if explicit and vr in LONG_LENGTH_VRS else 8)
    return "".join(parts), total


def _dcmtk_items(items: list[DataSet], explicit: bool) -> tuple[str, int]:
    parts: list[str] = []
    total = 0
    for item in items:
        content, length = _dcmtk_elements(item, explicit)
        parts.append(f'<item card="{len(item)}" len="{length}">\n{content}</item>\n')
        total += length + 8
    return "".join(parts), total


def _dcmtk_value(vr: str, value: str | bytes) -> tuple[str, int, int]:
    """Content, VM and length of a value."""
    if isinstance(value, bytes):
        shape = _NUMBERS_OF.get(vr)
        return _numbers(value, shape) if shape else "", 1, len(value) + len(value) % 2
    if not value:
        return "", 0, 0
    count = 1 if vr in SINGLE_VRS else value.count("\\") + 1
    if is_number(vr):
        return escape(_dcmtk_numbers(vr, value)), count, count * _NUMBER_SIZES[vr]
    length = len(value) if value.isascii() else len(value.encode("utf-8", "replace"))
    return escape(value), count, length + length % 2


def _dcmtk_numbers(vr: str, value: str) -> str:
    if vr == "AT":
        return "\\".join(f"({one[:4].lower()},{one[4:].lower()})" for one in value.split("\\"))
    if vr in ("FL", "FD"):
        return "\\".join(_shortened(one, vr) for one in value.split("\\"))
    return value


def _numbers(value: bytes, shape: str) -> str:
    numbers = struct.Struct("<" + shape)
    usable = value[: len(value) // numbers.size * numbers.size]
    vr = {"f": "FL", "d": "FD"}.get(shape, "")
    return "\\".join(_significant(one, vr) if vr else str(one) for (one,) in numbers.iter_unpack(usable))


def _significant(number: float, vr: str) -> str:
    """The digits the number has: nine at most for FL, what tells it from every other for FD."""
    if not math.isfinite(number):
        return str(number)
    if vr == "FL":
        return f"{number:.9g}"
    return repr(number).removesuffix(".0")


def _shortened(text: str, vr: str) -> str:
    try:
        return _significant(float(text), vr)
    except ValueError:
        return text


def _dcmtk_name(tag: int) -> str:
    keyword = keyword_of(tag)
    if keyword:
        return keyword
    if tag >> 16 & 1 and tag & 0xFFFF in _PRIVATE_CREATORS:
        return "PrivateCreator"
    return "Unknown Tag &amp; Data"
