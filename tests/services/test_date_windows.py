"""Windows of Study Date: nothing is left out, whatever is halved."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcmkit.errors import UsageError
from dcmkit.services.date_windows import DateWindows, Window, parse_length

TODAY = date(2024, 2, 10)


def dates(value: str, days: int) -> list[str]:
    return [str(window) for window in DateWindows(value, days, today=TODAY)]


def test_a_range_in_weeks():
    assert dates("20240101-20240116", 7) == ["20240101-20240107", "20240108-20240114", "20240115-20240116"]
    assert dates("20240131", 7) == ["20240131"]
    assert dates("20240301-20240302", 1) == ["20240301", "20240302"]


def test_open_ranges_reach_as_far_as_there_are_studies():
    assert dates("20240130-", 7) == ["20240130-20240205", "20240206-20240210", "20240211-"]
    assert dates("-19700101", 7) == ["-19700101"]
    assert dates("-19800103", 7) == ["-19791231", "19800101-19800103"]
    everything = dates("", 365)
    assert (everything[0], everything[-1]) == ("-19791231", "20240211-")


def test_dates_of_the_old_form():
    assert dates("2024.01.01-2024.01.02", 7) == ["20240101-20240102"]


def test_windows_grow_while_nothing_is_found():
    windows = DateWindows("19900101-19911231", 7, today=TODAY)
    lengths = []
    for window in windows:
        lengths.append(window.last - window.first + 1)
        if len(lengths) == 4:
            windows.found_something()
        else:
            windows.found_nothing()
    assert lengths[:6] == [7, 14, 28, 56, 7, 14]


def test_halves_come_before_what_follows():
    windows = DateWindows("20240101-20240110", 8, today=TODAY)
    seen = []
    for window in windows:
        seen.append(str(window))
        if window == Window(date(2024, 1, 1).toordinal(), date(2024, 1, 8).toordinal()):
            assert windows.halve(window)
    assert seen == ["20240101-20240108", "20240101-20240104", "20240105-20240108", "20240109-20240110"]


def test_a_day_is_halved_by_time_and_the_halves_touch():
    windows = DateWindows("20240101", 1, today=TODAY)
    (whole,) = windows
    assert windows.halve(whole)
    morning, afternoon = windows
    assert (morning.date, morning.time) == ("20240101", "-120000")
    assert (afternoon.date, afternoon.time) == ("20240101", "120000-")
    windows.halve(afternoon)
    assert [window.time for window in windows] == ["120000-180000", "180000-"]


def test_where_time_is_taken_a_day_is_as_short_as_it_gets():
    windows = DateWindows("20240101", 1, by_time=False, today=TODAY)
    (whole,) = windows
    assert not windows.halve(whole)


@pytest.mark.parametrize("value", ["", "20240101", "-20240101", "20240101-"])
def test_halving_everything_ends(value):
    windows = DateWindows(value, 365, today=TODAY)
    steps = 0
    first = next(iter(windows))
    while windows.halve(first):
        first = next(iter(windows))
        steps += 1
    assert 10 < steps < 60


@given(st.integers(0, 20), st.integers(1, 9), st.sets(st.integers(0, 5)))
def test_every_day_is_in_a_window(length, days, halved):
    first = date(2024, 1, 1)
    last = first + timedelta(days=length)
    windows = DateWindows(f"{first:%Y%m%d}-{last:%Y%m%d}", days, today=TODAY)
    covered = []
    for number, window in enumerate(windows):
        if number in halved and window.first != window.last:
            windows.halve(window)
        else:
            covered += range(window.first, window.last + 1)
    assert covered == list(range(first.toordinal(), last.toordinal() + 1))


@pytest.mark.parametrize("value", ["2024", "20240101-20240102-20240103", "yesterday", "20241301", "20240230-", "*"])
def test_what_is_no_range_of_dates(value):
    with pytest.raises(UsageError, match="Study Date"):
        DateWindows(value, 7)


def test_lengths():
    assert [parse_length(text) for text in ("7d", "7", "2w", "3m", "1Y")] == [7, 7, 14, 90, 365]
    for text in ("", "0d", "d", "7x", "-7d", "99999y"):
        with pytest.raises(UsageError, match="7d"):
            parse_length(text)
