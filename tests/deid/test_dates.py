"""Dates that are moved: intervals and precision stay, nothing malformed gets through."""

from __future__ import annotations

import re
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcmkit.deid.dates import shifted

DAYS = st.integers(-3650, -30)
DATES = st.dates(date(1880, 1, 1), date(2100, 12, 31))
TIMES = st.from_regex(r"(?:[01][0-9]|2[0-3])(?:[0-5][0-9](?:[0-5][0-9](?:\.[0-9]{1,6})?)?)?", fullmatch=True)
OFFSETS = st.sampled_from(["", "+0000", "+0100", "-0500", "+1400", "-1200", "+0530"])


def written(day: date) -> str:
    return day.strftime("%Y%m%d")


def read(text: str) -> date:
    return date(int(text[:4]), int(text[4:6]), int(text[6:8]))


@given(DATES, DATES, DAYS)
def test_intervals_stay(one: date, other: date, days: int):
    first, last = shifted(written(one), "DA", days), shifted(written(other), "DA", days)
    assert read(last) - read(first) == other - one
    assert read(first) - one == timedelta(days)
    assert shifted(f"{written(one)}-{written(other)}", "DA", days) == f"{first}-{last}"
    assert shifted(f"{written(one)}\\{written(other)} ", "DA", days) == f"{first}\\{last}"
    assert shifted(f"-{written(other)}", "DA", days) == f"-{last}"
    assert shifted(f"{written(one)}-", "DA", days) == f"{first}-"


@given(DATES, TIMES, OFFSETS, DAYS)
def test_a_date_time_moves_with_its_date(day: date, time: str, offset: str, days: int):
    moved = shifted(written(day) + time + offset, "DT", days)
    assert moved == shifted(written(day), "DA", days) + time + offset
    assert shifted(f"{written(day)}{time}{offset}-{written(day)}{time}{offset}", "DT", days) == f"{moved}-{moved}"


@given(DATES, OFFSETS, DAYS)
def test_precision_stays(day: date, offset: str, days: int):
    text = written(day)
    for length in (4, 6, 8):
        moved = shifted(text[:length] + offset, "DT", days)
        assert len(moved) == length + len(offset)
        assert moved.endswith(offset)
    year, month = shifted(text[:4], "DA", days), shifted(text[:6], "DA", days)
    assert 0 <= (day.replace(month=1, day=1) + timedelta(days) - date(int(year), 1, 1)).days <= 365
    assert 0 <= (day.replace(day=1) + timedelta(days) - date(int(month[:4]), int(month[4:]), 1)).days <= 30
    assert year < text[:4]
    assert month < text[:6]


@pytest.mark.parametrize(
    ("text", "vr", "expected"),
    [
        ("20200301", "DA", "20200130"),
        ("20210301", "DA", "20210129"),
        ("2020.03.01", "DA", "2020.01.30"),
        ("2020.03.01-2020.03.31", "DA", "2020.01.30-2020.02.29"),
        (" 20200301\0", "DA", "20200130"),
        ("2020", "DA", "2019"),
        ("202001", "DA", "201912"),
        ("2020", "DT", "2019"),
        ("20200301-0500", "DT", "20200130-0500"),
        ("2020-0500", "DT", "2019-0500"),
        ("1990-1995", "DT", "1989-1994"),
        ("20200301-0500-20200401-0500", "DT", "20200130-0500-20200301-0500"),
        ("20200301120000.123456+0100-", "DT", "20200130120000.123456+0100-"),
        ("-20200301120000.123456-0100", "DT", "-20200130120000.123456-0100"),
        ("20200301235960", "DT", "20200130235960"),
        ("20200301\\\\20200301", "DA", "20200130\\\\20200130"),
        ("20200301\\Doe", "DA", "20200130\\"),
        ("", "DA", ""),
        ("\\", "DA", ""),
        ("120000.123", "TM", "120000.123"),
        ("12", "TM", "12"),
        ("12:00:00.5", "TM", "12:00:00.5"),
        ("0800-1200", "TM", "0800-1200"),
        ("-1200", "TM", "-1200"),
        ("0800-", "TM", "0800-"),
        ("045Y", "AS", "045Y"),
    ],
)
def test_forms(text: str, vr: str, expected: str):
    assert shifted(text, vr, -31) == expected


@pytest.mark.parametrize(
    ("text", "vr"),
    [
        ("00000000", "DA"),
        ("20200230", "DA"),
        ("20201301", "DA"),
        ("2020-03-01", "DA"),
        ("03/01/2020", "DA"),
        ("20200301120000", "DA"),
        ("20200301-Doe", "DA"),
        ("Doe-20200301", "DA"),
        ("-", "DA"),
        ("--", "DA"),
        ("00010115", "DA"),
        ("٢٠٢٠٠٣٠١", "DA"),
        ("20200301\n", "DA"),
        ("202003011", "DT"),
        ("20200301 120000", "DT"),
        ("20200301250000", "DT"),
        ("20200301120000.", "DT"),
        ("20200301120000.1234567", "DT"),
        ("20200301120000+1500", "DT"),
        ("202012", "TM"),
        ("20200301", "TM"),
        ("Doe^John", "TM"),
        ("-", "TM"),
        ("Doe", "AS"),
        ("20200301", "LO"),
        ("20200301", "UN"),
    ],
)
def test_what_is_malformed_is_gone(text: str, vr: str):
    if vr == "TM" and text == "202012":
        assert shifted(text, vr, -31) == text  # a time of day, whoever meant a date by it
        return
    assert shifted(text, vr, -31) == ""


@given(st.text(max_size=30), st.sampled_from(["DA", "DT", "TM", "AS", "LO"]), DAYS)
def test_no_text_gets_through(text: str, vr: str, days: int):
    moved = shifted(text, vr, days)
    assert re.fullmatch(r"[0-9.+:\\DWMY-]*", moved)
    assert moved.count("\\") <= text.count("\\")


@given(st.text("0123456789.-+\\ ", max_size=24), st.sampled_from(["DA", "DT"]), DAYS)
def test_nothing_like_a_date_stays_as_it_was(text: str, vr: str, days: int):
    for before, after in zip(text.split("\\"), shifted(text, vr, days).split("\\"), strict=False):
        days_before, days_after = re.findall(r"[0-9]{8}", before), re.findall(r"[0-9]{8}", after)
        assert not (days_before and days_after and days_before[0] == days_after[0])


@given(st.text("-0123456789", max_size=400), st.sampled_from(["DA", "DT", "TM"]))
def test_long_values_take_no_time(text: str, vr: str):
    shifted("-" * 100_000 + text, vr, -31)


def test_years_that_are_none():
    assert shifted("00010101", "DA", -40) == ""
    assert shifted("99991231", "DA", 40) == ""
    assert shifted("20200101", "DA", -(10**12)) == ""
