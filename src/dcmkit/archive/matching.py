"""One matching key to one SQL condition (PS3.4 C.2.2.2): single value, list of UID, wild card, range, universal.

Every value goes to the database as a parameter; nothing a peer says becomes SQL. Work is bounded: runs of `*` are one.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from dcmkit.dataset.values import fold

WILD_CARD_VRS = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})
RANGE_VRS = frozenset({"DA", "TM", "DT"})
INTEGER_VRS = frozenset({"IS", "US", "SS", "UL", "SL"})
VALUE_LIMIT = 1024
"""A matching value longer than this, stars aside, matches nothing."""

_STARS = re.compile(r"\*+")
_UTC_OFFSET = re.compile(r"[+-]\d{4}$")
_AFTER_DIGITS = ":"
"""Sorts after every digit and point: `value < "10:"` is every time in the hour 10 and before."""

Parameter = str | int


class Condition(NamedTuple):
    """A piece of a WHERE clause and its parameters."""

    sql: str
    parameters: tuple[Parameter, ...] = ()


NOTHING = Condition("1 = 0")


def condition(column: str, vr: str, value: str, *, multiple: bool = False) -> Condition | None:
    """What `column` must be for `value` to match; None where everything matches (universal matching).

    Args:
        column: of an SQL table; for a person name it holds the folded form.
        multiple: the column holds several values joined by backslashes; one of them must match.
    """
    value = value.strip(" \0")
    if not value.replace("*", ""):
        return None
    if len(value) > VALUE_LIMIT:
        value = _STARS.sub("*", value)
        if len(value) > VALUE_LIMIT and vr != "UI":
            return NOTHING
    if vr == "UI":
        return _one_of(column, [uid.strip(" \0") for uid in value.split("\\")], multiple)
    if vr in RANGE_VRS and _is_range(value, vr):
        return _between(column, value, vr)
    if vr in INTEGER_VRS:
        return _number(column, value)
    if vr == "PN":
        return _name(column, fold(value), multiple)
    if vr in WILD_CARD_VRS and ("*" in value or "?" in value):
        return _like(column, value, multiple)
    return _one_of(column, [value], multiple)


def _one_of(column: str, values: list[str], multiple: bool) -> Condition:
    values = [value for value in values if value][:10000]
    if multiple:
        parts = [_like(column, value, True) for value in values[:100]]
        return _any(parts)
    if len(values) == 1:
        return Condition(f"{column} = ?", (values[0],))
    marks = ", ".join("?" * len(values))
    return Condition(f"{column} IN ({marks})", tuple(values)) if values else NOTHING


def _is_range(value: str, vr: str) -> bool:
    if vr == "DT":  # 20240101120000-0500 is a moment with its offset, not a range
        return "-" in _UTC_OFFSET.sub("", value) or value.endswith("-")
    return "-" in value


def _between(column: str, value: str, vr: str) -> Condition:
    low, high = _ends(value, vr)
    if low and high:
        return Condition(f"({column} >= ? AND {column} < ?)", (low, high + _AFTER_DIGITS))
    if low:
        return Condition(f"{column} >= ?", (low,))
    if high:
        return Condition(f"{column} < ?", (high + _AFTER_DIGITS,))
    return Condition(f"{column} IS NOT NULL")


def _ends(value: str, vr: str) -> tuple[str, str]:
    """The two ends of a range; offsets from UTC are left out (they are compared as local times)."""
    if vr == "DT":
        parts = re.match(r"([^+-]*)(?:[+-]\d{4}(?=-))?-(.*)$", value, re.DOTALL)
        low, high = (parts[1], _UTC_OFFSET.sub("", parts[2])) if parts else (value, value)
    else:
        low, _, high = value.partition("-")
    strip = " :." if vr == "DA" else " "
    return low.strip(strip), high.strip(strip)


def _number(column: str, value: str) -> Condition:
    try:
        number = int(value)
    except ValueError:
        return NOTHING
    return Condition(f"{column} = ?", (number,)) if abs(number) < 1 << 63 else NOTHING


def _name(column: str, value: str, multiple: bool) -> Condition:
    """A person name: whole, or one of its component groups (PS3.5 6.2.1)."""
    pattern = _pattern(value)
    if pattern == "%":
        return Condition(f"{column} IS NOT NULL")
    forms = [pattern, pattern + "=%"]
    if not value.isascii() and "=" not in value:
        forms += ["%=" + pattern, "%=" + pattern + "=%"]
    if multiple:
        forms = [whole for form in forms for whole in (form, form + r"\\%", r"%\\" + form, r"%\\" + form + r"\\%")]
    return _any([_pattern_condition(column, form) for form in forms])


def _like(column: str, value: str, multiple: bool) -> Condition:
    pattern = _pattern(value)
    forms = [pattern]
    if multiple:
        forms += [pattern + r"\\%", r"%\\" + pattern, r"%\\" + pattern + r"\\%"]
    return _any([_pattern_condition(column, form) for form in forms])


def _pattern_condition(column: str, pattern: str) -> Condition:
    if "%" not in pattern and "_" not in pattern:
        return Condition(f"{column} = ?", (pattern.replace("\\\\", "\\"),))
    return Condition(rf"{column} LIKE ? ESCAPE '\'", (pattern,))


def _pattern(value: str) -> str:
    """DICOM's wild cards as LIKE's."""
    escaped = _STARS.sub("*", value).replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return escaped.replace("*", "%").replace("?", "_")


def _any(parts: list[Condition]) -> Condition:
    if not parts:
        return NOTHING
    if len(parts) == 1:
        return parts[0]
    return Condition(
        "(" + " OR ".join(part.sql for part in parts) + ")",
        tuple(parameter for part in parts for parameter in part.parameters),
    )
