"""Attribute matching (PS3.4 C.2.2.2), against a small table and against hostile values."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcmkit.archive.matching import EMPTY, NOTHING, condition
from dcmkit.dataset.values import fold


@pytest.fixture(scope="module")
def database() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:")
    connection.execute("PRAGMA case_sensitive_like = ON")
    yield connection
    connection.close()


def matches(
    database: sqlite3.Connection, stored: str | int | None, vr: str, value: str, *, multiple: bool = False
) -> bool:
    found = condition("x", vr, value, multiple=multiple)
    if found is None:
        return True
    sql = f"SELECT 1 FROM (SELECT ? AS x) WHERE {found.sql}"
    return database.execute(sql, (stored, *found.parameters)).fetchone() is not None


@pytest.mark.parametrize("vr", ["LO", "PN", "UI", "DA", "TM", "DT", "IS", "US", "CS"])
@pytest.mark.parametrize("value", ["", "*", "**", " ", "\0"])
def test_universal_matching_also_matches_what_is_missing(vr: str, value: str):
    assert condition("x", vr, value) is None


@pytest.mark.parametrize(
    ("stored", "vr", "value", "expected"),
    [
        ("CT", "CS", "CT", True),
        ("CT", "CS", "ct", False),
        ("CT", "CS", "MR", False),
        ("Head", "LO", "Head ", True),
        (None, "LO", "Head", False),
        ("100%", "LO", "100%", True),
        ("100x", "LO", "100%", False),
        ("a_b", "LO", "a_b", True),
        ("axb", "LO", "a_b", False),
        ("O'Brien; DROP", "LO", "O'Brien; DROP", True),
        # wild cards
        ("Head", "LO", "H*d", True),
        ("Head", "LO", "H?ad", True),
        ("Head", "LO", "H?d", False),
        ("Head", "LO", "*EAD", False),
        ("Head 100%", "LO", "*100%", True),
        ("Head 100x", "LO", "*100%", False),
        ("a\\b", "LT", "a\\*", True),
        ("1.2.3", "UI", "1.2.*", False),
        (None, "LO", "?*", False),
        # lists of UID
        ("1.2.3", "UI", "1.2.3", True),
        ("1.2.3", "UI", "1.2\\1.2.3\\", True),
        ("1.2.3", "UI", "1.2\\1.2.4", False),
        ("1.2.3", "UI", "\\", False),
        # numbers
        (7, "IS", "007", True),
        (7, "IS", "8", False),
        (7, "IS", "x", False),
        (7, "US", "9" * 40, False),
        # dates and times
        ("20240131", "DA", "20240131", True),
        ("20240131", "DA", "20240101-20240131", True),
        ("20240131", "DA", "20240201-", False),
        ("20240131", "DA", "-20240131", True),
        ("20240131", "DA", "-20240130", False),
        ("20240131", "DA", "20240201-20240101", False),
        ("20240131", "DA", "-", True),
        (None, "DA", "-20990101", False),
        (None, "DA", "-", False),
        ("101530.5", "TM", "10-11", True),
        ("115959.999", "TM", "10-11", True),
        ("120000", "TM", "10-11", False),
        ("101530", "TM", "101530-", True),
        ("20240131101530", "DT", "20240131-20240131", True),
        ("20240131101530", "DT", "20240131101530-0500", False),
        ("20240131101530-0500", "DT", "20240131101530-0500", True),
        ("20240131101530", "DT", "2024-0500-2025-0500", True),
        ("20240131101530", "DT", "-2023", False),
        ("20240131101530", "DT", "2024-", True),
        # names
        (fold("Müller^Jörg"), "PN", "muller^jorg", True),
        (fold("Müller^Jörg"), "PN", "MÜLLER*", True),
        (fold("Müller^Jörg"), "PN", "M?ller^*", True),
        (fold("Müller^Jörg"), "PN", "Müller", False),
        (fold("Müller^Jörg"), "PN", "Müller^Jörg^^", True),
        (fold("Yamada^Tarou=山田^太郎=やまだ^たろう"), "PN", "yamada^tarou", True),
        (fold("Yamada^Tarou=山田^太郎=やまだ^たろう"), "PN", "山田^太郎", True),
        (fold("Yamada^Tarou=山田^太郎=やまだ^たろう"), "PN", "やまだ*", True),
        (fold("Yamada^Tarou=山田^太郎=やまだ^たろう"), "PN", "Yamada^Tarou=山田*", True),
        (fold("Yamada^Tarou=山田^太郎"), "PN", "太郎", False),
        (None, "PN", "*a", False),
    ],
)
def test_matching(database: sqlite3.Connection, stored: str | int | None, vr: str, value: str, expected: bool):
    assert matches(database, stored, vr, value) is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("ORIGINAL", True),
        ("PRIMARY", True),
        ("AXIAL", True),
        ("PRIM*", True),
        ("PRIM", False),
        ("ORIGINAL\\PRIMARY", True),
    ],
)
def test_one_of_several_values(database: sqlite3.Connection, value: str, expected: bool):
    assert matches(database, "ORIGINAL\\PRIMARY\\AXIAL", "CS", value, multiple=True) is expected


def test_one_of_several_names(database: sqlite3.Connection):
    stored = fold("Doe^Jane\\Müller^Jörg")
    assert matches(database, stored, "PN", "müller^jörg", multiple=True)
    assert matches(database, stored, "PN", "doe*", multiple=True)
    assert not matches(database, stored, "PN", "jörg", multiple=True)


def test_one_of_several_uids(database: sqlite3.Connection):
    assert matches(database, "1.2\\1.3", "UI", "1.3\\1.4", multiple=True)
    assert not matches(database, "1.2\\1.3", "UI", "1.4", multiple=True)


# --- hostile ---


def test_ten_thousand_stars(database: sqlite3.Connection):
    started = time.process_time()
    assert condition("x", "LO", "*" * 10000) is None
    assert matches(database, "Head", "LO", "*" * 10000 + "H" + "*" * 10000)
    assert not matches(database, "a" * 64, "LO", "*a" * 500 + "b")
    assert not matches(database, "a" * 64, "PN", "*a" * 500 + "b")
    assert time.process_time() - started < 2


def test_values_far_too_long():
    assert condition("x", "LO", "a" * 100000) == NOTHING
    found = condition("x", "UI", "\\".join(["1.2.3"] * 20000))
    assert found is not None
    assert len(found.parameters) <= 10000


@given(st.text(max_size=40), st.sampled_from(["LO", "PN", "UI", "DA", "TM", "DT", "IS", "CS"]), st.booleans())
def test_no_value_becomes_sql_or_an_error(value: str, vr: str, multiple: bool):
    found = condition("x", vr, value, multiple=multiple)
    if found is None:
        return
    assert re.fullmatch(r"[x =?<>()%\\',.|^A-Z10]*", found.sql), found.sql
    connection = sqlite3.connect(":memory:")
    try:
        connection.execute(f"SELECT 1 FROM (SELECT 'a' AS x) WHERE {found.sql}", found.parameters).fetchall()
    finally:
        connection.close()


@given(st.text(alphabet="ab%_\\'\"", min_size=1, max_size=8).filter(lambda text: text != EMPTY))
def test_text_matches_itself_and_its_wild_cards(text: str):
    connection = sqlite3.connect(":memory:")
    connection.execute("PRAGMA case_sensitive_like = ON")
    try:
        for value in (text, text + "*", "*" + text, "?" * len(text), text[:-1] + "?"):
            assert matches(connection, text, "LT", value), value
    finally:
        connection.close()
