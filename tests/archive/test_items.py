"""Keys of a sequence, item by item."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcmkit.archive.items import keys_of, matching_items, needs_items, same_item, with_matching_items
from dcmkit.archive.query import Query, select
from tests.archive.objects import archive_in, put
from tests.dataset.encoding import Items

VALUE, SCHEME, MEANING = (f"ProcedureCodeSequence_Code{name}" for name in ("Value", "Scheme", "Meaning"))
SCHEME = "ProcedureCodeSequence_CodingSchemeDesignator"


@pytest.mark.parametrize(
    ("keys", "columns", "expected"),
    [
        (("A", "x"), ("A\\B", "x\\y"), [0]),
        (("A", "y"), ("A\\B", "x\\y"), []),
        (("?", "y"), ("A\\B", "x\\y"), [1]),
        (("", "*"), ("A\\B", "x\\y"), [0, 1]),
        (("A", '""'), ("A\\A", "x\\"), [1]),
        (("A", '""'), ("A", None), [0]),
        (("A", ""), (None, None), []),
        (("A\\B", "y"), ("A\\B", "x\\y"), [1]),
        (("A", "y"), ("A\\B", "y"), None),  # an index without places for empty values: any item will do
        (("A", "z"), ("A\\B", "y"), []),
        (("A*B",), ("A1\\2B",), []),
        (("A*B",), ("A1\\A2B",), [1]),
    ],
)
def test_items_that_match(keys, columns, expected):
    assert matching_items(keys, columns) == expected
    assert same_item(json.dumps(keys), *columns) is (expected is None or bool(expected))


def test_which_keys_need_it():
    found = keys_of({VALUE: "A", SCHEME: "*", "PatientID": "1", "RequestAttributesSequence_RequestedProcedureID": "R*"})
    assert sorted(found.values(), key=len) == [{VALUE: "A"}, {"RequestAttributesSequence_RequestedProcedureID": "R*"}]
    assert [needs_items(keys) for keys in found.values()] == [False, True]
    assert needs_items({VALUE: "A", SCHEME: "B"})


def test_answers_have_the_items_that_match():
    assert with_matching_items(["1", "A\\B\\A", None, "x\\y\\z"], (1, 3, 2), ("A", "", "")) == [
        "1",
        "A\\A",
        None,
        "x\\z",
    ]
    row = ("A\\B", "y")
    assert with_matching_items(row, (0, 1), ("A", "y")) is row


@given(st.text("ab*?", max_size=6), st.text("ab", max_size=6))
def test_wild_cards(pattern, value):
    def slow(pattern, value):
        if not pattern:
            return not value
        if pattern[0] == "*":
            return slow(pattern[1:], value) or bool(value and slow(pattern, value[1:]))
        return bool(value) and pattern[0] in ("?", value[0]) and slow(pattern[1:], value[1:])

    if pattern.strip("*"):
        assert bool(matching_items((pattern,), (value or None,))) == (bool(value) and slow(pattern, value))


def test_wild_cards_that_explode_do_not():
    started = time.process_time()
    assert matching_items(("*a" * 500 + "b",), ("a" * 5000,)) == []
    assert time.process_time() - started < 2


@pytest.fixture
def archive(tmp_path):
    def codes(*items):
        tags = (0x00080100, "SH"), (0x00080102, "SH"), (0x00080104, "LO")
        pairs = [zip(tags, item, strict=True) for item in items]
        return [(0x00081032, "SQ", Items([[(*tag, text.encode()) for tag, text in pair if text] for pair in pairs]))]

    with archive_in(tmp_path) as archive:
        put(archive, "1.1", study="1.1", series="1.1.1", more=codes(("A", "DCM", ""), ("B", "SCT", "Bee")))
        put(archive, "1.2", study="1.2", series="1.2.1", more=codes(("A", "SCT", "Ay"), ("B", "DCM", "")))
        put(archive, "1.3", study="1.3", series="1.3.1")
        archive.flush()
        yield archive


def test_two_keys_match_in_one_item(archive):
    def studies(level="study", **match):
        return [row["StudyInstanceUID"] for row in select(archive.index, Query(level, match, ("StudyInstanceUID",)))]

    assert studies(**{VALUE: "A"}) == ["1.1", "1.2"]
    assert studies(**{VALUE: "A", SCHEME: "DCM"}) == ["1.1"]
    assert studies(**{VALUE: "A", SCHEME: "S*"}) == ["1.2"]
    assert studies("instance", **{VALUE: "B", MEANING: "B*"}) == ["1.1"]
    assert studies(**{VALUE: "B", MEANING: '""'}) == ["1.2"]
    assert studies(**{MEANING: "B*e"}) == ["1.1"]
    assert studies(**{VALUE: '""'}) == ["1.3"]
