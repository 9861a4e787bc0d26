"""A long query in pieces: windows of Study Date, halved where a peer answers no more than it likes to.

    windows = DateWindows("20200101-", days=7)
    for window in windows:
        ...                             # ask with window.date and window.time
        if capped:
            windows.halve(window)       # its halves come next
        elif not count:
            windows.found_nothing()     # the next window may be longer

A window of one day is halved by Study Time. The halves of a day share the second between them, so that nothing falls
between them: whoever asks drops what came before, by its UID.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, timedelta
from typing import NamedTuple

from dcmkit.errors import UsageError

_RANGE = re.compile(r"(\d{8})?(?:(-)(\d{8})?)?")
_LENGTH = re.compile(r"(\d{1,5})([dwmy]?)")
_DAYS = {"": 1, "d": 1, "w": 7, "m": 30, "y": 365}
_LONGEST = 366
"""Days a window grows to where nothing is found."""
_EARLY = date(1980, 1, 1).toordinal()
"""What was before comes in one window first: hardly anything, or placeholders such as 19000101."""
_FLOOR, _CEILING = date(1850, 1, 1).toordinal(), date(2200, 1, 1).toordinal()
"""Windows that are open towards the past or the future are not halved beyond these."""
_DAY = 86400


class Window(NamedTuple):
    """From one day to another, both included, as ordinals; None is open. Of one day perhaps a part, in seconds."""

    first: int | None
    last: int | None
    seconds: tuple[int, int] | None = None

    @property
    def date(self) -> str:
        """The value of Study Date."""
        first = "" if self.first is None else _text(self.first)
        last = "" if self.last is None else _text(self.last)
        return first if first == last else f"{first}-{last}"

    @property
    def time(self) -> str:
        """The value of Study Time; "" for the whole day."""
        if self.seconds is None:
            return ""
        first, last = self.seconds
        return f"{_time(first) if first else ''}-{_time(last) if last < _DAY else ''}"

    def __str__(self) -> str:
        return f"{self.date} {self.time}".rstrip()


class DateWindows:
    """The windows of a range, from the past to the future.

    Args:
        value: a value of Study Date: one day, a range, or "" for all.
        days: how long a window is to begin with.
        by_time: whether a day may be halved by Study Time.
        today: the last day that is likely to have anything.

    Raises:
        UsageError: `value` is no date or range of dates.
    """

    def __init__(self, value: str, days: int, *, by_time: bool = True, today: date | None = None) -> None:
        self._days = self._length = days
        self._by_time = by_time
        self._today = (today or date.today()).toordinal()
        first, self._last = _parse(value)
        self._halves: list[Window] = []
        self._next = first
        if first is None:
            end = _EARLY - 1 if self._last is None else min(self._last, _EARLY - 1)
            self._halves.append(Window(None, end))
            self._next = end + 1

    def __iter__(self) -> Iterator[Window]:
        while True:
            if self._halves:
                yield self._halves.pop()
                continue
            first = self._next
            if first is None or (self._last is not None and first > self._last):
                return
            yield self._advance(first)

    def _advance(self, first: int) -> Window:
        last = first + self._length - 1
        if self._last is not None:
            last = min(last, self._last)
        elif first > self._today:  # appointments, clocks that are fast
            self._next = None
            return Window(first, None)
        else:
            last = min(last, self._today)
        self._next = last + 1
        return Window(first, last)

    def found_nothing(self) -> None:
        """The last window was empty: the next that is no half is twice as long."""
        self._length = max(self._days, min(self._length * 2, _LONGEST))

    def found_something(self) -> None:
        """The next window is as long as was asked for."""
        self._length = self._days

    def halve(self, window: Window) -> bool:
        """Let the halves of `window` come next; False where it is as short as can be."""
        self.found_something()
        halves = self._split(window)
        self._halves += reversed(halves)
        return bool(halves)

    def _split(self, window: Window) -> tuple[Window, ...]:
        first, last, seconds = window
        if first is not None and first == last:
            begin, end = seconds or (0, _DAY)
            if not self._by_time or end - begin <= 1:
                return ()
            middle = (begin + end) // 2
            return Window(first, last, (begin, middle)), Window(first, last, (middle, end))
        low = _FLOOR if first is None else first
        high = _CEILING if last is None else last
        if low >= high:
            return ()
        middle = (low + high) // 2
        return Window(first, middle), Window(middle + 1, last)


def _parse(value: str) -> tuple[int | None, int | None]:
    match = _RANGE.fullmatch(value.strip().replace(".", ""))
    if match is None:
        raise UsageError(f"Study Date {value!r} is no date or range of dates", hint="say 20240101-20241231")
    first, dash, last = match.groups()
    if not dash:
        last = first
    try:
        days = [date(int(day[:4]), int(day[4:6]), int(day[6:])).toordinal() if day else None for day in (first, last)]
    except ValueError:
        raise UsageError(f"Study Date {value!r}: there is no such day") from None
    return days[0], days[1]


def parse_length(text: str) -> int:
    """Days from `7d`, `7`, `2w`, `3m` or `1y`.

    Raises:
        UsageError: it is none of these.
    """
    match = _LENGTH.fullmatch(text.strip().lower())
    days = int(match[1]) * _DAYS[match[2]] if match is not None else 0
    if not 1 <= days <= 36500:
        raise UsageError(f"{text!r} is no length of time in days", hint="say 7d, 2w, 3m or 1y")
    return days


def _text(ordinal: int) -> str:
    return (date.min + timedelta(days=ordinal - 1)).strftime("%Y%m%d").zfill(8)


def _time(seconds: int) -> str:
    return f"{seconds // 3600:02}{seconds // 60 % 60:02}{seconds % 60:02}"
