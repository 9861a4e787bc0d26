"""The tables, and how old ones become new ones."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest

from dcmkit.archive import schema
from dcmkit.archive.attributes import BY_LEVEL, LEVELS
from dcmkit.errors import IndexVersionError


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    made = sqlite3.connect(":memory:", isolation_level=None)
    yield made
    made.close()


def version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def test_the_tables_have_a_column_for_each_attribute_and_folded_names(connection: sqlite3.Connection):
    assert schema.migrate(connection) == 0
    assert version(connection) == schema.VERSION
    for level in LEVELS:
        columns = {row[1] for row in connection.execute(f"PRAGMA table_info({level})")}
        assert set(schema.columns_of(level)) <= columns
        for attribute in BY_LEVEL[level]:
            assert attribute.keyword in columns
            assert (attribute.keyword + "_folded" in columns) == attribute.is_name


def test_what_is_up_to_date_is_left_alone(connection: sqlite3.Connection):
    schema.migrate(connection)
    assert schema.migrate(connection) == schema.VERSION


def test_migrations_are_done_one_after_the_other(connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch):
    schema.migrate(connection)

    def second(made: sqlite3.Connection) -> None:
        made.execute("ALTER TABLE patient ADD COLUMN Species TEXT")

    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, second))
    monkeypatch.setattr(schema, "VERSION", schema.VERSION + 1)
    assert schema.migrate(connection) == schema.VERSION - 1
    assert "Species" in {row[1] for row in connection.execute("PRAGMA table_info(patient)")}
    assert version(connection) == schema.VERSION


def test_a_migration_that_fails_leaves_the_old_version(connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch):
    schema.migrate(connection)
    before = version(connection)

    def broken(made: sqlite3.Connection) -> None:
        made.execute("ALTER TABLE patient ADD COLUMN Half TEXT")
        raise OSError("disk full")

    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, broken))
    monkeypatch.setattr(schema, "VERSION", schema.VERSION + 1)
    with pytest.raises(OSError, match="disk full"):
        schema.migrate(connection)
    assert version(connection) == before
    assert "Half" not in {row[1] for row in connection.execute("PRAGMA table_info(patient)")}
    assert not connection.in_transaction


def test_a_newer_index_is_refused(connection: sqlite3.Connection):
    connection.execute("PRAGMA user_version = 99")
    with pytest.raises(IndexVersionError, match="newer"):
        schema.migrate(connection)


def version_1() -> sqlite3.Connection:
    made = sqlite3.connect(":memory:", isolation_level=None)
    schema.MIGRATIONS[0](made)
    made.execute("PRAGMA user_version = 1")
    made.execute("INSERT INTO directory VALUES (1, 'a')")
    made.execute("INSERT INTO patient (id, unidentified, PatientID, IssuerOfPatientID) VALUES (1, '', 'P', '')")
    made.execute("INSERT INTO study (id, patient, StudyInstanceUID) VALUES (1, 1, '1.2')")
    made.execute("INSERT INTO series (id, study, SeriesInstanceUID) VALUES (1, 1, '1.3')")
    for number, copy in ((1, 0), (2, 0), (3, 1)):
        insert(made, number, copy)
    return made


def insert(connection: sqlite3.Connection, number: int, copy: int = 0) -> None:
    connection.execute(
        "INSERT INTO instance (id, series, copy, directory, name, transfer_syntax_uid, data_set_offset, size, mtime_ns,"
        " received, source_ae_title, SOPInstanceUID, SOPClassUID) VALUES (?, 1, ?, 1, ?, '', 0, 10, 0, ?, '', ?, '1')",
        (number, copy, str(number), 100 + number, f"1.{number - copy}"),
    )


def usage(connection: sqlite3.Connection) -> list[tuple[int, ...]]:
    return connection.execute("SELECT * FROM usage").fetchall()


def test_an_index_of_the_first_version_learns_what_each_study_has():
    connection = version_1()
    assert schema.migrate(connection) == 1
    assert usage(connection) == [(1, 2, 30, 103)]
    indices = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'index'")}
    assert {"study_moment", "series_modality", "instance_series"} <= indices
    assert "study_date" not in indices
    connection.close()


def test_what_each_study_has_follows_its_instances():
    connection = version_1()
    schema.migrate(connection)
    connection.execute("PRAGMA foreign_keys = ON")
    insert(connection, 4)
    assert usage(connection) == [(1, 3, 40, 104)]
    connection.execute("UPDATE instance SET size = 50 WHERE id = 1")
    assert usage(connection) == [(1, 3, 80, 104)]
    connection.execute("DELETE FROM instance WHERE id = 2")
    connection.execute("UPDATE instance SET copy = 0 WHERE id = 3")
    assert usage(connection) == [(1, 3, 70, 104)]
    for table in ("instance", "series", "study"):
        connection.execute(f"DELETE FROM {table}")
    assert usage(connection) == []
    connection.close()
