"""Rows of the index as DICOM JSON (PS3.18 Annex F): what stays the same is written once, then values only.

What `services/find.py` has `dataset/identifier.py` for, in the other encoding.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from json.encoder import encode_basestring
from typing import Any

from dcmkit.dataset.elements import SINGLE_VRS, Element
from dcmkit.dataset.identifier import Field
from dcmkit.dataset.json_model import to_json

Value = str | int | None
Row = Sequence[Value]

_RETRIEVE_URL = 0x00081190
_TEXT = frozenset({"AE", "AS", "CS", "DA", "DT", "LO", "LT", "SH", "ST", "TM", "UC", "UI", "UR", "UT"})
_INTEGERS = frozenset({"IS", "SL", "SS", "UL", "US"})
_PARTS = ("studies", "series", "instances")


class RowWriter:
    """Writes the answers of one search.

    Args:
        fields: their elements, with where rows have the values.
        always: tags of those that are written without a value too.
        base_url: of the origin server; "" where answers have no Retrieve URL.
        places: where rows have the UIDs of study, series and instance, as far down as the level goes.
    """

    def __init__(self, fields: Sequence[Field], always: Collection[int], base_url: str, places: Sequence[int]) -> None:
        self._steps: list[tuple[Callable[[Row], str], str]] = []
        steps = {field.tag: (_step(field), _empty(field) if field.tag in always else "") for field in fields}
        if base_url:
            steps[_RETRIEVE_URL] = (_url(base_url, tuple(places)), "")
        self._steps = [steps[tag] for tag in sorted(steps)]

    def write(self, row: Row) -> bytes:
        """One answer: an object in UTF-8."""
        parts = []
        for step, empty in self._steps:
            text = step(row) or empty
            if text:
                parts.append(text)
        return ("{" + ",".join(parts) + "}").encode("utf-8", "replace")


def _empty(field: Field) -> str:
    return f'"{field.tag:08X}":{{"vr":"{field.vr}"}}'


def _step(field: Field) -> Callable[[Row], str]:
    """What writes an element of a row; "" where it has no value."""
    begin = f'"{field.tag:08X}":{{"vr":"{field.vr}","Value":['
    column, vr, tag = field.column, field.vr, field.tag
    if field.items is not None:
        return _sequence(begin, field.items)
    if column < 0:
        fixed = f"{begin}{_value(tag, vr, field.value)}]}}" if field.value else ""
        return lambda row: fixed
    if vr in _TEXT:
        single = vr in SINGLE_VRS

        def of_text(row: Row) -> str:
            value = row[column]
            if not value:
                return ""
            if type(value) is not str:
                return f"{begin}{_value(tag, vr, str(value))}]}}"
            if single or "\\" not in value:
                return f"{begin}{encode_basestring(value)}]}}"
            several = [encode_basestring(one) if one else "null" for one in value.split("\\")]  # PS3.18 F.2.5
            return f"{begin}{','.join(several)}]}}"

        return of_text
    if vr == "PN":

        def of_name(row: Row) -> str:
            value = row[column]
            if not value:
                return ""
            if type(value) is str and "\\" not in value and "=" not in value:
                return f'{begin}{{"Alphabetic":{encode_basestring(value)}}}]}}'
            return f"{begin}{_value(tag, vr, str(value))}]}}"

        return of_name

    def of_any(row: Row) -> str:
        value = row[column]
        if value is None or value == "":
            return ""
        if type(value) is int and vr in _INTEGERS:
            return f"{begin}{value}]}}"
        return f"{begin}{_value(tag, vr, str(value))}]}}"

    return of_any


def _value(tag: int, vr: str, text: str) -> str:
    """The values of an element, by the model."""
    model: dict[str, Any] = to_json({tag: Element(vr, text)})[f"{tag:08X}"]
    return json.dumps(model.get("Value", []), ensure_ascii=False, separators=(",", ":"))[1:-1]


def _sequence(begin: str, fields: tuple[Field, ...]) -> Callable[[Row], str]:
    """A row has the values of all items joined by backslashes (`archive/items.py`)."""
    known = [field for field in fields if field.column >= 0]

    def of_items(row: Row) -> str:
        values = [(field, str(row[field.column] or "").split("\\")) for field in known]
        if not any(any(found) for _, found in values):
            return ""
        items = []
        for number in range(max(len(found) for _, found in values)):
            parts = []
            for field, found in values:
                text = found[number] if number < len(found) else ""
                value = f',"Value":[{_value(field.tag, field.vr, text)}]' if text else ""
                parts.append(f'"{field.tag:08X}":{{"vr":"{field.vr}"{value}}}')
            items.append("{" + ",".join(parts) + "}")
        return begin + ",".join(items) + "]}"

    return of_items


def _url(base_url: str, places: tuple[int, ...]) -> Callable[[Row], str]:
    """Retrieve URL (0008,1190)."""
    base = encode_basestring(base_url)[1:-1]
    names = _PARTS[: len(places)]

    def of_row(row: Row) -> str:
        path = "".join(
            [f"/{name}/{encode_basestring(str(row[place]))[1:-1]}" for name, place in zip(names, places, strict=True)]
        )
        return f'"00081190":{{"vr":"UR","Value":["{base}{path}"]}}'

    return of_row
