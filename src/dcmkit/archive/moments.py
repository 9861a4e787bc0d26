"""Dates and times as moments: in which time zone they are, and whether they match once they are in another.

PS3.4 C.2.2.2.1.3 and C.2.2.2.5: where adjustment is negotiated, Timezone Offset From UTC (0008,0201) of a request says
what zone its times, with their dates, are in. Those of an object are in the zone its own (0008,0201) says, else in that
of the archive. A date without its time is a day wherever one is, and so is what belongs to a patient.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import NamedTuple

from dcmkit.archive.attributes import BY_KEYWORD, PATIENT
from dcmkit.archive.matching import ends, is_range
from dcmkit.errors import UsageError

WIDENED_DAYS = 2
"""A day here is within so many days of that day elsewhere: zones are up to 26 hours apart."""

Value = str | int | None

_OFFSET = re.compile(r"[+-](?:0\d|1[0-4])[0-5]\d")
_DATE_TIME = re.compile(r"(\d{4}|\d{6}|\d{8}|\d{10}|\d{12}|\d{14})(\.\d{1,6})?([+-]\d{4})?")
_TIME = re.compile(r"(\d{2}|\d{4}|\d{6})(\.\d{1,6})?")
_EARLIEST, _LATEST = "00010101000000", "99991231235959"
_SOME_DAY = "20000101"
"""Of a time without its date only the offset matters."""


class Zones(NamedTuple):
    """The time zone a request speaks of, and that of the archive.

    Attributes:
        asked: `+HHMM` or `-HHMM`; "" where only what a matching value says itself counts.
        own: a name of the IANA database, an offset, or "" for that of the system.
    """

    asked: str
    own: str = ""


def is_offset(text: str) -> bool:
    """Whether `text` is an offset from UTC as (0008,0201) has it."""
    return _OFFSET.fullmatch(text) is not None


def check_zone(name: str) -> str:
    """A time zone as people name it. Raises: UsageError: it is none."""
    try:
        _zone(name)
    except (KeyError, ValueError, OSError, ImportError):
        hint = "a name such as Europe/Berlin, or an offset such as +0100"
        raise UsageError(f"time zone {name!r} is unknown", hint=hint) from None
    return name


def paired_time(keyword: str) -> str:
    """The keyword of the time that belongs to the date `keyword`; "" where none does, or it is a patient's."""
    attribute = BY_KEYWORD.get(keyword)
    if attribute is None or attribute.vr != "DA" or attribute.level == PATIENT:
        return ""
    time = keyword.removesuffix("Date") + "Time"
    return time if time in BY_KEYWORD and BY_KEYWORD[time].vr == "TM" else ""


PAIRS = {keyword: time for keyword in BY_KEYWORD if (time := paired_time(keyword))}
"""Dates and their times."""
DATES = {time: date for date, time in PAIRS.items()}
"""Times and their dates."""
DATE_TIMES = frozenset(a.keyword for a in BY_KEYWORD.values() if a.vr == "DT" and a.level != PATIENT)


# --- zones -----------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def _zone(name: str) -> tzinfo | None:
    """None for that of the system."""
    if not name:
        return None
    if is_offset(name):
        minutes = int(name[1:3]) * 60 + int(name[3:5])
        return timezone(timedelta(minutes=minutes if name[0] == "+" else -minutes))
    from zoneinfo import ZoneInfo

    return ZoneInfo(name)


def _in(zone: str, moment: datetime) -> datetime:
    """A local time as a moment."""
    found = _zone(zone)
    return moment.astimezone() if found is None else moment.replace(tzinfo=found)


def _shifted(digits: str, zone: str, asked: str) -> str | None:
    """14 digits of a date and a time, as in another zone; None where there is no such moment."""
    try:
        moment = datetime(int(digits[:4]), int(digits[4:6]), int(digits[6:8]), int(digits[8:10]), int(digits[10:12]))
        there = _in(zone, moment).astimezone(_zone(asked))
    except (OverflowError, ValueError, OSError):
        return None
    return f"{there.year:04}{there.month:02}{there.day:02}{there.hour:02}{there.minute:02}{digits[12:]}"


# --- answers ---------------------------------------------------------------------------------------------------------


def adjusted(date: Value, time: Value, zone: str, asked: str) -> tuple[Value, Value]:
    """A date with its time, as in the zone asked for; as they are where they are none, or the time is missing."""
    found = _TIME.fullmatch(str(time or "").strip())
    if found is None:
        return date, time
    digits = found[1].ljust(6, "0")
    day = str(date or "").strip()
    there = _shifted((day or _SOME_DAY) + digits, zone, asked) if len(day) in (0, 8) else None
    if there is None:
        return date, time
    length = 4 if len(found[1]) == 2 and there[10:12] != "00" else len(found[1])
    return there[:8] if day else date, there[8 : 8 + length] + (found[2] or "")


def adjusted_date_time(value: Value, zone: str, asked: str) -> Value:
    """A date-time as in the zone asked for, where it has an hour, and no offset of its own."""
    found = _DATE_TIME.fullmatch(str(value or "").strip())
    if found is None or found[3] or len(found[1]) < 10:
        return value
    day, time = adjusted(found[1][:8], found[1][8:] + (found[2] or ""), zone, asked)
    return f"{day}{time}"


class Adjustment(NamedTuple):
    """Which columns of rows are to be told as in another zone.

    Attributes:
        zones: that one, and the archive's own.
        zone: the column with the (0008,0201) of the study.
        pairs: the columns of dates and of their times.
        date_times: the columns of date-times.
    """

    zones: Zones
    zone: int
    pairs: tuple[tuple[int, int], ...] = ()
    date_times: tuple[int, ...] = ()

    def row(self, row: Sequence[Value]) -> Sequence[Value]:
        """`row` as in the other zone."""
        found = list(row)
        zone = zone_of(row[self.zone], self.zones.own)
        for date, time in self.pairs:
            found[date], found[time] = adjusted(row[date], row[time], zone, self.zones.asked)
        for column in self.date_times:
            found[column] = adjusted_date_time(row[column], zone, self.zones.asked)
        return found


# --- matching --------------------------------------------------------------------------------------------------------


class _Span(NamedTuple):
    """From one text to another, both included; the digits and fraction of times are filled up."""

    low: str
    high: str

    def has(self, value: str) -> bool:
        return self.low <= value <= self.high


@lru_cache(maxsize=256)
def _days(text: str) -> tuple[_Span, ...]:
    """What the matching values of a date mean."""
    return tuple(_Span(low or "0", high or "9") for low, high in _both(text, "DA"))


@lru_cache(maxsize=256)
def _times(text: str) -> tuple[_Span, ...]:
    """What the matching values of a time mean."""
    return tuple(_Span(_filled(low, "0"), _filled(high, "9")) for low, high in _both(text, "TM"))


def _both(text: str, vr: str) -> list[tuple[str, str]]:
    values = [value for value in (part.strip(" \0") for part in text.split("\\")) if value]
    return [ends(value if is_range(value, vr) else f"{value}-{value}", vr) for value in values]


def _filled(time: str, digit: str) -> str:
    whole, _, fraction = time.partition(".")
    return f"{whole.ljust(6, digit)}.{fraction.ljust(6, digit)}"


def same_moment(asked: str, own: str, stored_zone: Value, dates: str, times: str, date: Value, time: Value) -> bool:
    """Whether a date and a time match, each by itself, in the zone asked for.

    Args:
        asked, own: as of `Zones`.
        stored_zone: (0008,0201) of the study.
        dates, times: the matching values; "" matches all.
        date, time: as stored.
    """
    date, time = adjusted(date, time, zone_of(stored_zone, own), asked)
    day, hour = str(date or "").strip(), str(time or "").strip()
    if dates and not (day and any(span.has(day) for span in _days(dates))):
        return False
    return not times or bool(hour and any(span.has(_filled(hour, "0")) for span in _times(times)))


def same_combined(asked: str, own: str, stored_zone: Value, dates: str, times: str, date: Value, time: Value) -> bool:
    """Whether a date and its time, as one, are within ranges of the same form (C.2.2.2.5.4)."""
    date, time = adjusted(date, time, zone_of(stored_zone, own), asked)
    day, hour = str(date or "").strip(), str(time or "").strip()
    days, hours = _days(dates), _times(times)
    if not (day and days and hours):
        return False
    return _Span(days[0].low + hours[0].low, days[0].high + hours[0].high).has(day + _filled(hour, "0"))


def same_date_time(asked: str, own: str, stored_zone: Value, wanted: str, value: Value) -> bool:
    """Whether a date-time matches: as a moment, where the zones of both are known, else by what is written.

    Args:
        asked: the zone of matching values that name none themselves; "" where it is unknown.
    """
    stored = _DATE_TIME.fullmatch(str(value or "").strip())
    if stored is None:
        return False
    zone: str | None = zone_of(stored[3], zone_of(stored_zone, own))
    if not asked and not is_offset(stored[3] or "") and not is_offset(str(stored_zone or "").strip()):
        zone = None
    return any(
        (low is None or _less(low, "0", stored, asked or None, zone))
        and (high is None or not _less(high, "9", stored, asked or None, zone, or_same=False))
        for low, high in _date_times(wanted)
    )


def zone_of(stored: Value, own: str) -> str:
    """The zone of an object: `stored` is its (0008,0201)."""
    text = str(stored or "").strip()
    return text if is_offset(text) else own


def names_zone(wanted: str) -> bool:
    """Whether a matching value of a date-time says itself which zone it is in."""
    return any(end is not None and bool(end[3]) for both in _date_times(wanted) for end in both)


_End = re.Match[str] | None


@lru_cache(maxsize=256)
def _date_times(wanted: str) -> tuple[tuple[_End, _End], ...]:
    """Both ends of each matching value of a date-time, None for open ones."""
    found: list[tuple[_End, _End]] = []
    for text in (part.strip(" \0") for part in wanted.split("\\")):
        single = _DATE_TIME.fullmatch(text)
        if single is not None and is_offset(single[3] or "+0000"):
            found.append((single, single))
            continue
        for dash in (place for place, char in enumerate(text) if char == "-"):
            low, high = (_DATE_TIME.fullmatch(part) for part in (text[:dash], text[dash + 1 :]))
            if (low is not None or not dash) and (high is not None or dash == len(text) - 1) and (low or high):
                found.append((low, high))
                break
    return tuple(found)


def _less(
    end: re.Match[str], digit: str, stored: re.Match[str], asked: str | None, zone: str | None, *, or_same: bool = True
) -> bool:
    """Whether `end`, filled up with `digit`, is before `stored` or the same."""
    wanted = end[3] or asked
    if wanted is None or zone is None:
        wanted = zone = None
    first, second = _universal(end, digit, wanted), _universal(stored, "0", zone)
    return first <= second if or_same else first < second


def _universal(found: re.Match[str], digit: str, zone: str | None) -> str:
    """As digits, in UTC where a zone is given and there is at least a day; a year or month is so everywhere."""
    whole, fraction = found[1], (found[2] or ".").ljust(7, digit)
    filled = whole + (_EARLIEST if digit == "0" else _LATEST)[len(whole) :]
    there = _shifted(filled, zone, "+0000") if zone is not None and len(whole) >= 8 else None
    return (there or filled) + fraction


# --- for SQL ---------------------------------------------------------------------------------------------------------


def widened(dates: str) -> str:
    """Matching values of a date that match whatever `dates` match in any zone."""
    return "\\".join(f"{_moved(low, -WIDENED_DAYS)}-{_moved(high, WIDENED_DAYS)}" for low, high in _both(dates, "DA"))


def _moved(day: str, days: int) -> str:
    """A day some days later; "", which is open, for what is none."""
    try:
        moved = datetime.strptime(day, "%Y%m%d") + timedelta(days=days)
    except (ValueError, OverflowError):
        return ""
    return f"{moved.year:04}{moved.month:02}{moved.day:02}"
