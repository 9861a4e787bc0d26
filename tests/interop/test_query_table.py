"""The same queries put to dcmkit, DCMTK and Orthanc over the same objects: equal answers, or the standard says why"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .query_differences import DIFFERENCES
from .query_objects import ROOT, write_objects
from .query_peers import SERVERS, TITLE, can_serve, fill
from .query_table import ROWS, Answers, Key, Row
from .wire_query import FIND, PATIENT_ROOT, PATIENT_STUDY_ONLY, STUDY_ROOT, Identifier, Outcome, Querier, Value

pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("ignore::UserWarning")]

QUERY_RETRIEVE_LEVEL, SPECIFIC_CHARACTER_SET = 0x00080052, 0x00080005
UNIQUE = {"PATIENT": 0x00100020, "STUDY": 0x0020000D, "SERIES": 0x0020000E, "IMAGE": 0x00080018}
NOT_ACCEPTED = "!no context"


def identifier(row: Row) -> Identifier:
    """A row's query as it goes over the wire."""
    found: Identifier = {UNIQUE.get(row.level, 0x0020000D): b"", **{tag_of(keyword): b"" for keyword in row.told}}
    if row.level:
        found[QUERY_RETRIEVE_LEVEL] = row.level.encode()
    if row.charset:
        found[SPECIFIC_CHARACTER_SET] = row.charset.encode()
    return found | {tag_of(keyword): packed(value, row) for keyword, value in row.keys.items()}


def packed(value: Key, row: Row) -> Value:
    """A value in the row's character set."""
    if isinstance(value, str):
        return value.encode(row.codec)
    return [{tag_of(keyword): packed(inner, row) for keyword, inner in item.items()} for item in value]


def tag_of(keyword: str) -> int:
    from pydicom.datadict import tag_for_keyword

    tag = tag_for_keyword(keyword)
    assert tag is not None, keyword
    return tag


def answers_of(row: Row, outcome: Outcome) -> list[str]:
    """What came back, as the table writes it."""
    if outcome.status:
        return [f"!{outcome.status:04X}"]
    return sorted(labelled(row, answer) for answer in outcome.answers)


def labelled(row: Row, answer: Identifier) -> str:
    """One answer's label and what it tells."""
    unique = text(answer.get(UNIQUE[row.level], b""))
    label = unique.removeprefix("ID-") if row.level == "PATIENT" else "s" + unique.removeprefix(ROOT + ".")
    return ":".join([label, *(text(answer.get(tag_of(keyword), b"")) for keyword in row.told)])


def text(value: Value) -> str:
    assert isinstance(value, bytes)
    return value.strip(b" \0").decode("ascii")


def ask_all(port: int) -> dict[str, list[str]]:
    """The answers to every row, by its name; one association for each model and extended negotiation."""
    found = {}
    for root in (PATIENT_ROOT, STUDY_ROOT, PATIENT_STUDY_ONLY):
        for extended in sorted({row.extended for row in ROWS if row.root == root}):
            rows = [row for row in ROWS if row.root == root and row.extended == extended]
            offered = {root + FIND: extended} if extended else {}
            with Querier(port, root, called=TITLE, extended=offered) as association:
                for row in rows:
                    taken = root + FIND in association.accepted
                    found[row.name] = answers_of(row, association.find(identifier(row))) if taken else [NOT_ACCEPTED]
    return found


def test_rows_have_names_of_their_own() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS) >= 60


@pytest.mark.parametrize("name", ["dcmkit", "DCMTK", "Orthanc"])
def test_answers_are_as_the_table_says(name: str, tmp_path: Path) -> None:
    """dcmkit answers every row as the standard asks; a peer as the table says of it."""
    if not can_serve(name):
        pytest.skip(f"absent peers: {name}")
    objects = write_objects(tmp_path / "sources")
    with SERVERS[name](tmp_path / name) as running:
        fill(running.port, objects.values())
        found = ask_all(running.port)
    wrong = {}
    for row in ROWS:
        other = DIFFERENCES.get(name, {}).get(row.name)
        expected: Answers = other.answers if other else row.answers
        if found[row.name] != sorted(expected):
            wrong[row.name] = f"answered {found[row.name]}, the table has {sorted(expected)}"
    assert wrong == {}, "\n".join(f"{row}: {what}" for row, what in wrong.items())


@pytest.mark.parametrize("name", DIFFERENCES)
def test_where_peers_differ_the_table_says_why(name: str) -> None:
    rows = {row.name: row for row in ROWS}
    for row, other in DIFFERENCES[name].items():
        assert sorted(other.answers) != sorted(rows[row].answers), f"{row}: {name} does not differ"
        assert re.match(r"C\.\d|PS3\.\d", other.why), f"{row}: no paragraph for {name}"
