"""Which table a search begins with."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest

from dcmkit.archive import schema
from dcmkit.archive.planning import FUNCTIONS, is_key, plan
from dcmkit.errors import UsageError


@pytest.fixture(scope="module")
def database() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    schema.migrate(connection)
    connection.execute("PRAGMA case_sensitive_like = ON")
    for function in FUNCTIONS:
        connection.create_function(function.__name__, -1, function)
    yield connection
    connection.close()


def steps(database: sqlite3.Connection, level: str, *, fuzzy: bool = False, **match: str) -> list[str]:
    found = plan(level, match, (), fuzzy=fuzzy)
    alias = level[0] if level != "series" else "e"
    sql = f"EXPLAIN QUERY PLAN SELECT {alias}.id FROM {found.source} ORDER BY {found.order}"
    return [row[3].replace("COVERING ", "") for row in database.execute(sql, found.parameters)]


@pytest.mark.parametrize(
    ("level", "match", "first"),
    [
        ("study", {"StudyInstanceUID": "1.2"}, "SEARCH s USING INDEX sqlite_autoindex_study_1"),
        ("study", {"StudyInstanceUID": "1.2\\1.3"}, "SEARCH s USING INDEX sqlite_autoindex_study_1"),
        ("study", {"PatientID": "1", "StudyDate": "2024-"}, "SEARCH p USING"),
        ("study", {"PatientID": "1*"}, "SEARCH p USING"),
        ("study", {"AccessionNumber": "A1"}, "SEARCH s USING INDEX study_accession (AccessionNumber=?)"),
        ("study", {"AccessionNumber": "A?1"}, "SEARCH s USING INDEX study_accession (AccessionNumber>?"),
        ("study", {"StudyDate": "20240101-20240102"}, "SEARCH s USING"),
        ("study", {"PatientName": "smith*"}, "SEARCH p USING"),
        ("study", {"PatientName": "smith^john"}, "SEARCH p USING"),
        ("study", {"PatientName": "smith^*", "ModalitiesInStudy": "CT"}, "SEARCH p USING"),
        ("series", {"StudyInstanceUID": "1.2"}, "SEARCH s USING INDEX sqlite_autoindex_study_1"),
        ("series", {"PatientID": "1", "StudyInstanceUID": "1.2"}, "SEARCH s USING INDEX sqlite_autoindex_study_1"),
        ("instance", {"StudyInstanceUID": "1", "SeriesInstanceUID": "1.2"}, "SEARCH e USING INDEX series_uid"),
        ("instance", {"SOPInstanceUID": "1.2"}, "SEARCH i USING INDEX sqlite_autoindex_instance_1"),
    ],
)
def test_the_most_telling_key_leads(database: sqlite3.Connection, level: str, match: dict[str, str], first: str):
    assert steps(database, level, **match)[0].startswith(first)


@pytest.mark.parametrize(
    ("match", "first"),
    [
        ({"PatientID": "1"}, "SEARCH p USING INDEX"),
        ({"StudyDate": "20240101"}, "SEARCH s USING"),
        ({"ModalitiesInStudy": "CT"}, "SEARCH s USING INTEGER PRIMARY KEY"),
        ({"StudyDescription": "Head"}, "SCAN p"),
    ],
)
def test_fuzzy_names_follow_what_an_index_tells(database: sqlite3.Connection, match: dict[str, str], first: str):
    assert steps(database, "study", fuzzy=True, PatientName="meyer", **match)[0].startswith(first)
    found = plan("patient", {"PatientName": "meyer", "PatientBirthDate": "19700101"}, (), fuzzy=True)
    assert found.source.index("PatientBirthDate") < found.source.index("sounds_like")


@pytest.mark.parametrize(
    "match", [{"SOPInstanceUID": "1.2"}, {"SeriesInstanceUID": "1.2", "Rows": "5"}, {"SOPInstanceUID": "1\\2"}]
)
def test_a_telling_key_below_leads_too(database: sqlite3.Connection, match: dict[str, str]):
    found = steps(database, "study", **match)
    assert not [step for step in found if step.startswith("SCAN") and "found" not in step]


def test_specific_character_set_is_never_matched():
    assert not is_key("SpecificCharacterSet")
    with pytest.raises(UsageError):
        plan("study", {"SpecificCharacterSet": "ISO_IR 100"}, ())
