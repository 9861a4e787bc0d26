"""Dates moved by a number of days: as precise and as far apart as they were, and never what they were.

PS3.15 E.3.6.2 wants intervals kept. Times of day and offsets from UTC stay, since whole days are what dates are moved
by. What is no date of PS3.5 6.2 becomes "": there is no telling what it says.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, timedelta

_BLANK = " \0"

_DATE = re.compile(r"([0-9]{4})(?:([0-9]{2})([0-9]{2})?)?")
_ACR_NEMA_DATE = re.compile(r"([0-9]{4})\.([0-9]{2})\.([0-9]{2})")
"""As ACR-NEMA wrote dates; PS3.5 6.2 asks to understand them."""

_HOUR, _SIXTY, _FRACTION = "(?:[01][0-9]|2[0-3])", "[0-5][0-9]", r"\.[0-9]{1,6}"
_SECOND = "(?:[0-5][0-9]|60)"
_TIME = f"{_HOUR}(?:{_SIXTY}(?:{_SECOND}(?:{_FRACTION})?)?)?"
_OFFSET = r"(?:\+(?:0[0-9]|1[0-4])[0-5][0-9]|-(?:0[0-9]|1[0-2])[0-5][0-9])"
_DATE_TIME = re.compile(f"([0-9]{{4}}(?:[0-9]{{2}}(?:[0-9]{{2}})?)?)((?:(?<=[0-9]{{8}}){_TIME})?(?:{_OFFSET})?)")
_ONE_TIME = f"(?:{_TIME}|{_HOUR}:{_SIXTY}(?::{_SECOND}(?:{_FRACTION})?)?)"
_TIMES = re.compile(f"{_ONE_TIME}(?:-(?:{_ONE_TIME})?)?|-{_ONE_TIME}")
_AGE = re.compile("[0-9]{1,3}[DWMY]")


def shifted(text: str, vr: str, days: int) -> str:
    """Values with their dates moved; several, joined by backslashes, one by one.

    A date of a year or a month only is moved from its first day, so that a month into the past always
    shows. Times (TM) and ages (AS) stay as they are, if they are
    that.

    Args:
        text: the values of an element, or of a key that is a range.
        vr: DA, DT, TM or AS; nothing is left of any other.
        days: negative for the past.

    Returns:
        The new values; "" for each that is malformed or would leave the years 1 to 9999.
    """
    shift = _SHIFTS.get(vr)
    if shift is None:
        return ""
    values = [shift(value.strip(_BLANK), days) for value in text.split("\\")]
    return "\\".join(values) if any(values) else ""


def _date(text: str, days: int) -> str:
    dotted = _ACR_NEMA_DATE.fullmatch(text)
    match = dotted or _DATE.fullmatch(text)
    if match is None:
        return ""
    year, month, day = match.groups()
    try:
        moved = date(int(year), int(month or 1), int(day or 1)) + timedelta(days)
    except (ValueError, OverflowError):
        return ""
    if dotted:
        return f"{moved.year:04}.{moved.month:02}.{moved.day:02}"
    return f"{moved.year:04}{moved.month:02}{moved.day:02}"[: len(text)]


def _date_time(text: str, days: int) -> str:
    match = _DATE_TIME.fullmatch(text)
    moved = _date(match[1], days) if match else ""
    return moved + match[2] if match and moved else ""


def _range(one: Callable[[str, int], str]) -> Callable[[str, int], str]:
    """The same for a range as well, `A-B`, `A-` or `-B` (PS3.4 C.2.2.2.5).

    The minus of an offset from UTC may stand where one that makes a range does: a single value is preferred.
    """

    def shift(text: str, days: int) -> str:
        moved = one(text, days)
        if moved or "-" not in text:
            return moved
        pieces = text.split("-", 4)
        for at in range(1, len(pieces)):
            first, last = "-".join(pieces[:at]), "-".join(pieces[at:])
            ends = one(first, days), one(last, days)
            if any(ends) and bool(first) == bool(ends[0]) and bool(last) == bool(ends[1]):
                return f"{ends[0]}-{ends[1]}"
        return ""

    return shift


def _if_it_is(pattern: re.Pattern[str]) -> Callable[[str, int], str]:
    def stay(text: str, days: int) -> str:
        return text if pattern.fullmatch(text) else ""

    return stay


_SHIFTS: dict[str, Callable[[str, int], str]] = {
    "DA": _range(_date),
    "DT": _range(_date_time),
    "TM": _if_it_is(_TIMES),
    "AS": _if_it_is(_AGE),
}
