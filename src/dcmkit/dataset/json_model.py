"""The DICOM JSON model (PS3.18 Annex F), both ways; and data sets as flat rows for tables."""

from __future__ import annotations

import math
import re
import struct
from base64 import b64decode
from binascii import b2a_base64
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from dcmkit.dataset.dictionary import keyword_of
from dcmkit.dataset.elements import BYTES_VRS, DEPTH_LIMIT, SINGLE_VRS, VRS, DataSet, Element
from dcmkit.dataset.values import decode_numbers, encode_numbers
from dcmkit.errors import InvalidDataSetError

JsonObject = dict[str, Any]

_GROUPS = ("Alphabetic", "Ideographic", "Phonetic")
_FLOATS = frozenset({"FD", "FL"})
_INTEGERS = frozenset({"SL", "SS", "UL", "US"})
_LONG_INTEGERS = frozenset({"SV", "UV"})
_NUMERIC = _FLOATS | _INTEGERS | _LONG_INTEGERS | {"DS", "IS"}
_SAFE = 2**53 - 1
"""Whole numbers up to here survive every JSON parser (RFC 8259 6)."""
_WHOLE = re.compile(r"[+-]?[0-9]{1,15}")
_DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_TAG = re.compile(r"[0-9A-Fa-f]{8}")
_SURROGATES = re.compile("[\ud800-\udfff]")
_NAMES: dict[int, str] = {}
"""Tags as hexadecimal digits."""
_NAMES_LIMIT = 4096

BulkData = Callable[[tuple[int, ...], Element], str]
"""Asked for each value of bytes: the URI to write in place of it, or "" to write it inline. The path of an element
within sequences is: tag of the sequence, index of the item, and so on, its own tag."""


# --- to JSON -----------------------------------------------------------------------------------------------------


def to_json(data_set: DataSet, *, bulk_data: BulkData | None = None) -> JsonObject:
    """The object of PS3.18 F.2.2, in the order of the tags.

    Specific Character Set (0008,0005) stays as it is: it tells how the source was encoded, and says nothing of the
    JSON, which is Unicode (PS3.18 F.2.2, note 3).
    """
    return _object(data_set, bulk_data, ())


def _object(data_set: DataSet, bulk_data: BulkData | None, path: tuple[int, ...]) -> JsonObject:
    found: JsonObject = {}
    for tag in sorted(data_set):
        vr, value = data_set[tag]
        name = _NAMES.get(tag) or _name(tag)
        if not value:  # PS3.18 F.2.5
            found[name] = {"vr": vr}
        elif isinstance(value, str):
            if vr == "PN":
                values: list[Any] = [_person_name(one) if one else None for one in value.split("\\")]
            elif vr in _NUMERIC:
                values = [_number(one, vr) if one else None for one in value.split("\\")]
            elif "\\" in value and vr not in SINGLE_VRS:
                values = [one or None for one in value.split("\\")]
            else:
                values = [value]
            found[name] = {"vr": vr, "Value": values}
        elif isinstance(value, bytes):
            uri = bulk_data((*path, tag), data_set[tag]) if bulk_data is not None else ""
            found[name] = {"vr": vr, "BulkDataURI": uri} if uri else {"vr": vr, "InlineBinary": _base64(value)}
        else:
            items = [_object(item, bulk_data, (*path, tag, at)) for at, item in enumerate(value)]
            found[name] = {"vr": vr, "Value": items}
    return found


def _name(tag: int) -> str:
    if len(_NAMES) >= _NAMES_LIMIT:
        _NAMES.clear()
    name = _NAMES[tag] = f"{tag:08X}"
    return name


def _base64(value: bytes) -> str:
    return b2a_base64(value, newline=False).decode("ascii")


def _person_name(value: str) -> dict[str, str] | None:
    """Component groups; empty ones are left out (PS3.18 F.2.2)."""
    if "=" not in value:
        return {"Alphabetic": value}
    return {name: group for name, group in zip(_GROUPS, value.split("=", 2), strict=False) if group} or None


def _number(text: str, vr: str) -> int | float | str:
    """A JSON number where that is the same number, else the text (PS3.18 F.2.3)."""
    if _WHOLE.fullmatch(text):
        return int(text)
    if vr in _FLOATS:
        return _float(text)
    if vr == "DS":
        return _decimal(text)
    if vr in _INTEGERS:
        try:
            return int(text)
        except ValueError:
            return text
    return text


def _float(text: str) -> float | str:
    try:
        number = float(text)
    except ValueError:
        return text
    if math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def _decimal(text: str) -> float | str:
    if len(text) > 64 or not _DECIMAL.fullmatch(text):
        return text
    number = float(text)
    if not math.isfinite(number) or (len(text) > 15 and Decimal(text) != Decimal(repr(number))):
        return text
    return number


# --- from JSON ---------------------------------------------------------------------------------------------------


def from_json(obj: object, *, bulk_data: Callable[[str], bytes] | None = None) -> DataSet:
    """A data set from the object of PS3.18 F.2.2.

    Args:
        obj: what `json.loads` made of it.
        bulk_data: gets the bytes behind a BulkDataURI; without it such a URI is an error.

    Raises:
        InvalidDataSetError: it is none, for whatever reason.
    """
    return _data_set(obj, bulk_data, 0)


def _data_set(obj: object, bulk_data: Callable[[str], bytes] | None, depth: int) -> DataSet:
    if depth > DEPTH_LIMIT:
        raise InvalidDataSetError(f"sequences are nested deeper than {DEPTH_LIMIT}")
    if not isinstance(obj, dict):
        raise InvalidDataSetError(f"a data set in the DICOM JSON model must be an object, not {_kind(obj)}")
    data_set: DataSet = {}
    for name, attribute in obj.items():
        if not isinstance(name, str) or not _TAG.fullmatch(name):
            raise InvalidDataSetError(f"{str(name)[:40]!r} is not a tag of eight hexadecimal digits")
        tag = int(name, 16)
        if tag >> 16 == 0xFFFE:
            raise InvalidDataSetError("an item delimiter is no attribute", offending_element=tag)
        if tag & 0xFFFF:  # group lengths have no place here
            data_set[tag] = _attribute(tag, attribute, bulk_data, depth)
    return data_set


def _attribute(tag: int, attribute: object, bulk_data: Callable[[str], bytes] | None, depth: int) -> Element:
    if not isinstance(attribute, dict):
        raise _wrong(tag, f"the attribute must be an object, not {_kind(attribute)}")
    vr = attribute.get("vr")
    if not isinstance(vr, str) or vr not in VRS:
        raise _wrong(tag, f"there is no value representation {str(vr)[:20]!r}")
    given = [name for name in ("Value", "BulkDataURI", "InlineBinary") if name in attribute]
    if len(given) > 1:
        raise _wrong(tag, f"there may be only one of {' and '.join(given)}")
    if not given:
        return Element(vr, [] if vr == "SQ" else b"" if vr in BYTES_VRS else "")
    content = attribute[given[0]]
    if given[0] == "Value":
        return _values(tag, vr, content, bulk_data, depth)
    if not isinstance(content, str):
        raise _wrong(tag, f"{given[0]} must be a string, not {_kind(content)}")
    if given[0] == "InlineBinary":
        return _inline(tag, vr, content)
    if bulk_data is None or vr == "SQ":
        raise _wrong(tag, "the value is bulk data, which cannot be fetched here")
    raw = bulk_data(content)
    return Element(vr, raw) if vr in BYTES_VRS else _values(tag, vr, [raw.decode("utf-8", "replace")], None, depth)


def _inline(tag: int, vr: str, content: str) -> Element:
    if vr not in BYTES_VRS:
        raise _wrong(tag, f"{vr} cannot be InlineBinary")
    try:
        return Element(vr, b64decode(content, validate=True))
    except ValueError:
        raise _wrong(tag, "InlineBinary is not base64") from None


def _values(tag: int, vr: str, content: object, bulk_data: Callable[[str], bytes] | None, depth: int) -> Element:
    if not isinstance(content, list):
        raise _wrong(tag, f"Value must be an array, not {_kind(content)}")
    if vr == "SQ":
        return Element(vr, [_data_set({} if item is None else item, bulk_data, depth + 1) for item in content])
    if vr in BYTES_VRS:
        raise _wrong(tag, f"{vr} must be InlineBinary or BulkDataURI")
    if vr in SINGLE_VRS and len(content) > 1:
        raise _wrong(tag, f"{vr} has one value, not {len(content)}")
    value = "\\".join([_text(tag, vr, one) for one in content])
    if vr in _NUMERIC or vr == "AT":
        value = _checked_numbers(tag, vr, value)
    return Element(vr, value)


def _text(tag: int, vr: str, value: object) -> str:
    if isinstance(value, str):
        if not value.isascii() and _SURROGATES.search(value):
            raise _wrong(tag, "the text has half a surrogate pair")
        return value
    if value is None:
        return ""
    if vr == "PN" and isinstance(value, dict):
        return _joined(tag, value)
    if vr in _NUMERIC and isinstance(value, (int, float)) and not isinstance(value, bool):
        return _number_text(tag, vr, value)
    raise _wrong(tag, f"{_kind(value)} is not a value of {vr}")


def _joined(tag: int, value: dict[str, object]) -> str:
    """The component groups of a name, joined."""
    groups = [value.get(name, "") for name in _GROUPS]
    found: list[str] = []
    for group in groups:
        if not isinstance(group, (str, type(None))):
            raise _wrong(tag, f"{_kind(group)} is not a component group of a name")
        found.append(_text(tag, "PN", group))
    if any("=" in group for group in found[:2]):
        raise _wrong(tag, "a component group of a name has a delimiter in it")
    return "=".join(found).rstrip("=")


def _number_text(tag: int, vr: str, value: float) -> str:
    if isinstance(value, float) and (vr == "DS" or vr not in _FLOATS):
        if not math.isfinite(value):
            raise _wrong(tag, f"{value} is not a value of {vr}")
        if value.is_integer() and abs(value) <= _SAFE:
            value = int(value)
        elif vr != "DS":
            raise _wrong(tag, f"{value} is not a value of {vr}")
        elif len(repr(value)) > 16:  # PS3.5 6.2: a decimal string has 16 bytes at most
            return next(text for digits in range(15, 0, -1) if len(text := f"{value:.{digits}g}") <= 16)
    if isinstance(value, int) and value.bit_length() > 1024:
        raise _wrong(tag, f"the number is too large for {vr}")
    return repr(float(value)) if vr in _FLOATS else str(value)


def _checked_numbers(tag: int, vr: str, value: str) -> str:
    """`value` as the decoder writes it, if its parts are numbers of this VR."""
    if not value or vr in ("DS", "IS"):
        return value
    if vr == "AT" and not all(_TAG.fullmatch(one) for one in value.split("\\")):
        raise _wrong(tag, f"{value[:40]!r} is not a value of AT")
    try:
        return decode_numbers(encode_numbers(value, vr), vr)
    except (ValueError, OverflowError, struct.error):
        raise _wrong(tag, f"{value[:40]!r} is not a value of {vr}") from None


def _wrong(tag: int, what: str) -> InvalidDataSetError:
    return InvalidDataSetError(f"({tag >> 16:04X},{tag & 0xFFFF:04X}): {what}", offending_element=tag)


def _kind(value: object) -> str:
    """What JSON calls it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    for kind, name in ((dict, "an object"), (list, "an array"), (str, "a string"), ((int, float), "a number")):
        if isinstance(value, kind):
            return name
    return type(value).__name__


# --- rows --------------------------------------------------------------------------------------------------------


def flat(data_set: DataSet) -> dict[str, str]:
    """One row for a table: keyword (or the tag as eight digits) to text, in the order of the tags.

    Elements of sequences are `Sequence[0].Keyword`; a sequence without items is `Sequence`, empty. Bytes are base64.
    """
    row: dict[str, str] = {}
    _flatten(data_set, "", row)
    return row


def _flatten(data_set: DataSet, prefix: str, row: dict[str, str]) -> None:
    for tag in sorted(data_set):
        value = data_set[tag].value
        name = prefix + (keyword_of(tag) or f"{tag:08X}")
        if isinstance(value, str):
            row[name] = value
        elif isinstance(value, bytes):
            row[name] = _base64(value)
        elif value:
            for at, item in enumerate(value):
                _flatten(item, f"{name}[{at}].", row)
        else:
            row[name] = ""
