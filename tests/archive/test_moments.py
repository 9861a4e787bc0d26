"""Dates and times in time zones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcmkit.archive.moments import (
    PAIRS,
    Adjustment,
    Zones,
    adjusted,
    adjusted_date_time,
    check_zone,
    is_offset,
    names_zone,
    same_combined,
    same_date_time,
    same_moment,
    widened,
)
from dcmkit.archive.query import Query, select
from dcmkit.errors import UsageError
from tests.archive.objects import archive_in, put


@pytest.mark.parametrize("text", ["+0100", "-0330", "+1400", "+0000"])
def test_offsets(text):
    assert is_offset(text)
    assert check_zone(text) == text


@pytest.mark.parametrize("text", ["", "0100", "+100", "+1560", "+0160", "Z", "+0100 ", "+2400"])
def test_what_is_no_offset(text):
    assert not is_offset(text)


@pytest.mark.parametrize("name", ["Nowhere/Land", "/etc/passwd", "../etc", "+9900", "x\0y", "a" * 5000])
def test_time_zones_that_are_none(name):
    with pytest.raises(UsageError, match="time zone"):
        check_zone(name)


def test_which_dates_have_times():
    assert PAIRS["StudyDate"] == "StudyTime"
    assert PAIRS["PerformedProcedureStepStartDate"] == "PerformedProcedureStepStartTime"
    assert "PatientBirthDate" not in PAIRS  # a day wherever one is


@pytest.mark.parametrize(
    ("date", "time", "zone", "asked", "expected"),
    [
        ("20240101", "0030", "+0100", "+0000", ("20231231", "2330")),
        ("20231231", "233000.123", "+0000", "+0100", ("20240101", "003000.123")),
        ("20240229", "23", "-0500", "+0530", ("20240301", "0930")),
        ("20240229", "23", "-0500", "+0600", ("20240301", "10")),
        ("20240101", "12", "+1400", "-1200", ("20231231", "10")),
        ("20240701", "1200", "Europe/Berlin", "+0000", ("20240701", "1000")),
        ("20240101", "1200", "Europe/Berlin", "+0000", ("20240101", "1100")),
        (None, "2330", "+0000", "+0100", (None, "0030")),
        ("20240101", None, "+0000", "+0100", ("20240101", None)),
        ("20240101", "", "+0000", "+0100", ("20240101", "")),
        ("2024", "1200", "+0000", "+0100", ("2024", "1200")),
        ("20241399", "1200", "+0000", "+0100", ("20241399", "1200")),
        ("20240101", "2560", "+0000", "+0100", ("20240101", "2560")),
        ("00010101", "0000", "+0100", "-1200", ("00010101", "0000")),
        ("99991231", "2359", "-0100", "+1200", ("99991231", "2359")),
        ("20161231", "235960", "+0000", "+0100", ("20170101", "005960")),
    ],
)
def test_times_with_their_dates(date, time, zone, asked, expected):
    assert adjusted(date, time, zone, asked) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("20240101003000.5", "20231231233000.5"),
        ("2024010100", "2023123123"),
        ("20240101", "20240101"),
        ("20240101003000+0500", "20240101003000+0500"),
        ("what", "what"),
        (None, None),
    ],
)
def test_date_times(value, expected):
    assert adjusted_date_time(value, "+0100", "+0000") == expected


@pytest.mark.parametrize(
    ("dates", "times", "expected"),
    [
        ("20231231", "", True),
        ("20240101", "", False),
        ("20240101\\20231231", "", True),
        ("-20231231", "2330", True),
        ("", "2300-2330", True),
        ("", "233000-", True),
        ("", "-2329", False),
        ("", "00-01", False),
        ("20231231-20231231", "23:30", True),
        ("2023.12.31", "", True),
    ],
)
def test_each_by_itself(dates, times, expected):
    assert same_moment("+0000", "", "+0100", dates, times, "20240101", "0030") is expected
    assert same_moment("+0000", "+0100", None, dates, times, "20240101", "0030") is expected


def test_what_is_missing_does_not_match():
    assert not same_moment("+0000", "", "+0100", "20240101", "", None, "0030")
    assert not same_moment("+0000", "", "+0100", "", "0030", "20240101", None)
    assert same_moment("+0000", "", "+0100", "20240101", "", "20240101", None)


@pytest.mark.parametrize(
    ("dates", "times", "expected"),
    [
        ("20231230-20231231", "2300-2330", True),
        ("20231231-20240102", "2331-0000", False),
        ("20231231-", "2330-", True),
        ("-20231231", "-2329", False),
    ],
)
def test_both_as_one(dates, times, expected):
    assert same_combined("+0000", "", "+0100", dates, times, "20240101", "0030") is expected


@pytest.mark.parametrize(
    ("wanted", "value", "zone", "expected"),
    [
        ("20240101120000+0200", "20240101100000", "+0000", True),
        ("20240101120000+0200", "20240101120000", "+0000", False),
        ("20240101120000+0200", "20240101120000", None, True),  # nobody knows where that was
        ("20240101120000+0200", "20240101110000+0100", None, True),
        ("20240101120000-0500", "20240101180000+0100", None, True),
        ("20240101120000+0200-20240101130000+0200", "20240101103000.5", "+0000", True),
        ("20240101120000+0200-", "20240101095959", "+0000", False),
        ("-20240101120000-0500", "20240101180000", "+0100", True),
        ("-20240101120000-0500", "20240101180001", "+0100", False),
        ("20231231+0000", "20240101003000", "+0100", True),
        ("202401+0000", "20240101003000", "+0100", False),
        ("19990101\\20240101120000+0200", "20240101100000", "+0000", True),
        ("rubbish+0200", "20240101100000", "+0000", False),
        ("20240101120000+0200", "rubbish", "+0000", False),
    ],
)
def test_date_times_match_as_moments(wanted, value, zone, expected):
    assert same_date_time("", "", zone, wanted, value) is expected


def test_date_times_in_the_zone_of_the_request():
    assert same_date_time("-0300", "+0100", None, "20240101093000", "20240101133000")
    assert same_date_time("-0300", "+0100", None, "20240101-20240101", "20240102025959")
    assert not same_date_time("-0300", "+0100", None, "20240101-20240101", "20240102040000")


def test_which_values_name_a_zone():
    assert names_zone("20240101+0100")
    assert names_zone("20240101-20240102+0100")
    assert not names_zone("20240101-20240102")
    assert not names_zone("2023-2024")


def test_days_around():
    assert widened("20240301") == "20240228-20240303"
    assert widened("20240301-\\-20240301") == "20240228-\\-20240303"
    assert widened("2024") == "-"
    assert widened("99991231") == "99991229-"


@given(st.text("0123456789-+.\\ ", max_size=40), st.text("0123456789-+.", max_size=20), st.text(max_size=5))
def test_nothing_is_an_error(wanted, stored, zone):
    widened(wanted)
    for asked in ("", "+0100"):
        assert same_date_time(asked, "", zone, wanted, stored) in (True, False)
    assert same_moment("+0100", "+0000", zone, wanted, wanted, stored, stored) in (True, False)
    assert same_combined("+0100", "+0000", zone, wanted, wanted, stored, stored) in (True, False)


def test_rows_in_another_zone():
    adjustment = Adjustment(Zones("+0000", "+0100"), 0, ((1, 2),), (3,))
    row = ("-0200", "20240101", "2300", "20240101230000")
    assert adjustment.row(row) == ["-0200", "20240102", "0100", "20240102010000"]
    assert adjustment.row((None, *row[1:])) == [None, "20240101", "2200", "20240101220000"]


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    def times(zone):
        more = [(0x00080030, "TM", b"0030"), (0x00080031, "TM", b"0130"), (0x00080021, "DA", b"20240101")]
        more.append((0x0008002A, "DT", b"20240101003000"))
        return [*more, (0x00080201, "SH", zone)] if zone else more

    with archive_in(tmp_path_factory.mktemp("archive")) as archive:
        for number, zone in enumerate((b"+0100", b"-0500", b"")):
            put(archive, f"1.{number}", study=f"1.{number}", series=f"2.{number}", date="20240101", more=times(zone))
        archive.flush()
        yield archive


@pytest.mark.parametrize(
    ("match", "expected"),
    [
        ({"StudyDate": "20231231"}, "02"),
        ({"StudyDate": "20240101"}, "1"),
        ({"StudyDate": "20240101", "StudyTime": "0530"}, "1"),
        ({"StudyTime": "2000-"}, "02"),
        ({"SeriesDate": "20240101-", "SeriesTime": "0000-0030"}, "0"),
        ({"AcquisitionDateTime": "20240101"}, "1"),
        ({"AcquisitionDateTime": "20240101003000+0100"}, "0"),
        ({"StudyDate": "", "StudyTime": '""'}, ""),
    ],
)
@pytest.mark.parametrize("level", ["patient", "study", "series", "instance"])
def test_queries_in_a_zone(archive, level, match, expected):
    if level == "patient":
        found = select(archive.index, Query(level, match, ("PatientID",), zones=Zones("+0000", "+0200")))
        assert bool(list(found)) == bool(expected)
        return
    found = select(archive.index, Query(level, match, ("StudyInstanceUID",), zones=Zones("+0000", "+0200")))
    assert "".join(str(row["StudyInstanceUID"])[-1] for row in found) == expected


def test_date_and_time_as_one_in_a_zone(archive):
    match = {"StudyDate": "20231231-20240101", "StudyTime": "2200-0500"}
    query = Query("study", match, ("StudyInstanceUID",), combined=True, zones=Zones("+0000", "+0200"))
    assert [row["StudyInstanceUID"] for row in select(archive.index, query)] == ["1.0", "1.2"]


def test_an_offset_counts_without_negotiation_where_the_study_has_one(archive):
    match = {"AcquisitionDateTime": "20240101053000+0000"}
    assert [row["SOPInstanceUID"] for row in select(archive.index, Query("instance", match))] == ["1.1"]
    match = {"AcquisitionDateTime": "20240101003000"}
    assert len(list(select(archive.index, Query("instance", match)))) == 3
