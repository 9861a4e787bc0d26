"""What a search found, in the representation that was asked for: DICOM JSON, XML in parts, CSV (PS3.18 10.6.3.3)."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import TYPE_CHECKING, Any

from dcmkit.dataset.elements import BYTES_VRS, DataSet, Element
from dcmkit.web.negotiation import CSV, DICOM_XML

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dcmkit.web.negotiation import Choice

_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write(rows: Sequence[bytes], choice: Choice) -> tuple[bytes, str]:
    """A body and its Content-Type.

    Args:
        rows: an object of DICOM JSON for each result, in UTF-8, written by us.
    """
    if choice.media_type == DICOM_XML:
        return _xml_parts(rows)
    if choice.media_type == CSV:
        return _csv(rows), CSV + "; charset=utf-8"
    return b"[" + b",".join(rows) + b"]", choice.media_type


# --- XML -------------------------------------------------------------------------------------------------------------


def _xml_parts(rows: Sequence[bytes]) -> tuple[bytes, str]:
    """A part for each result (PS3.18 8.7.3.2, PS3.19 A.1)."""
    from dcmkit.dataset.xml_model import to_native_xml
    from dcmkit.web.multipart import MultipartWriter, content_type, make_boundary

    boundary = make_boundary(b"search", *rows)
    writer = MultipartWriter(boundary)
    pieces = []
    for row in rows:
        uris: list[str] = []
        data_set = data_set_of(json.loads(row), uris)
        text = to_native_xml(data_set, bulk_data=lambda _, element, uris=uris: _uri(element, uris))  # type: ignore[misc]
        content = text.encode("utf-8", "replace")
        pieces += [writer.head({"Content-Type": DICOM_XML}, len(content)), content]
    return b"".join([*pieces, writer.end()]), content_type(boundary, DICOM_XML)


class _Elsewhere(bytes):
    """Stands for bytes that a URI leads to: the number of the URI."""


def _uri(element: Element, uris: list[str]) -> str:
    value = element.value
    return uris[int(value)] if isinstance(value, _Elsewhere) else ""


def data_set_of(row: dict[str, Any], uris: list[str]) -> DataSet:
    """The data set behind an object that we wrote: whatever text an object had in place of a number stays.

    Args:
        uris: gets those of bulk data, whose values stand for them.
    """
    found: DataSet = {}
    for name, attribute in row.items():
        vr, values = attribute["vr"], attribute.get("Value", ())
        value: str | bytes | list[DataSet]
        if vr == "SQ":
            value = [data_set_of(item or {}, uris) for item in values]
        elif "InlineBinary" in attribute:
            value = b64decode(attribute["InlineBinary"])
        elif "BulkDataURI" in attribute:
            value = _Elsewhere(b"%d" % len(uris)) if vr in BYTES_VRS else ""
            uris.append(attribute["BulkDataURI"])
        else:
            value = b"" if vr in BYTES_VRS else "\\".join(map(_text, values))
        found[int(name, 16)] = Element(vr, value)
    return found


def _text(value: Any) -> str:
    if isinstance(value, dict):  # a person's name
        return "=".join(value.get(group, "") for group in _GROUPS).rstrip("=")
    return "" if value is None else str(value)


# --- CSV -------------------------------------------------------------------------------------------------------------


def _csv(rows: Sequence[bytes]) -> bytes:
    """A line for each result under keywords, those of all results (RFC 4180)."""
    import csv
    import io

    from dcmkit.dataset.json_model import flat

    found = [flat(_without_bytes(data_set_of(json.loads(row), []))) for row in rows]
    columns = _columns(found)
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    if columns:
        writer.writerow(columns)
    writer.writerows([_cell(row.get(column, "")) for column in columns] for row in found)
    return text.getvalue().encode("utf-8", "replace")


def _without_bytes(data_set: DataSet) -> DataSet:
    """Bytes are nothing for a table."""
    kept: DataSet = {}
    for tag, (vr, value) in data_set.items():
        if isinstance(value, list):
            kept[tag] = Element(vr, [_without_bytes(item) for item in value])
        elif isinstance(value, str):
            kept[tag] = Element(vr, value)
    return kept


def _columns(rows: Iterable[dict[str, str]]) -> list[str]:
    """All names, each after that which it came after first."""
    order: list[str] = []
    known: set[str] = set()
    for row in rows:
        if known.issuperset(row):
            continue
        at = 0
        for name in row:
            if name in known:
                at = order.index(name) + 1
            else:
                order.insert(at, name)
                known.add(name)
                at += 1
    return order


def _cell(text: str) -> str:
    """What a table would take for a formula gets an apostrophe before it; numbers and time zones stay."""
    if not text.startswith(_FORMULA) or (text[0] in "+-" and text[1:].replace(".", "", 1).isdigit()):
        return text
    return "'" + text
