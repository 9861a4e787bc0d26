"""The tables of the index and how they came to be: numbered migrations, each in a transaction.

One table per level of the query/retrieve model, their columns named by keyword (`attributes.py`), and the directories
files lie in. The number of the last migration applied is SQLite's `user_version`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from dcmkit.archive.attributes import BY_LEVEL, INSTANCE, LEVELS, PATIENT, SERIES, STUDY, Attribute
from dcmkit.errors import IndexVersionError

_OWN_COLUMNS = {
    PATIENT: ("unidentified TEXT NOT NULL",),
    STUDY: ("patient INTEGER NOT NULL REFERENCES patient (id)",),
    SERIES: ("study INTEGER NOT NULL REFERENCES study (id)",),
    INSTANCE: (
        "series INTEGER NOT NULL REFERENCES series (id)",
        "copy INTEGER NOT NULL",
        "directory INTEGER NOT NULL REFERENCES directory (id)",
        "name TEXT NOT NULL",
        "transfer_syntax_uid TEXT NOT NULL",
        "data_set_offset INTEGER NOT NULL",
        "size INTEGER NOT NULL",
        "mtime_ns INTEGER NOT NULL",
        "received INTEGER NOT NULL",
        "source_ae_title TEXT NOT NULL",
        "digest TEXT",
    ),
}
"""Columns that are no attributes. `unidentified`: the folded name of a patient without Patient ID, else empty;
`copy`: 0, and 1, 2, … for more files of the same SOP Instance; `received`: seconds since 1970; `digest`: SHA-256 of
the file; `directory`: relative to the archive, or absolute for a file indexed in place."""

_KEYS = {
    PATIENT: "UNIQUE (PatientID, IssuerOfPatientID, unidentified)",
    STUDY: "UNIQUE (StudyInstanceUID)",
    SERIES: "UNIQUE (study, SeriesInstanceUID)",
    INSTANCE: "UNIQUE (SOPInstanceUID, copy)",
}

_NOT_NULL = frozenset(
    {"PatientID", "IssuerOfPatientID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"}
)

_INDICES = (
    "CREATE INDEX patient_name ON patient (PatientName_folded)",
    "CREATE INDEX study_patient ON study (patient)",
    "CREATE INDEX study_date ON study (StudyDate)",
    "CREATE INDEX study_accession ON study (AccessionNumber)",
    "CREATE INDEX series_uid ON series (SeriesInstanceUID)",
    "CREATE INDEX instance_series ON instance (series)",
    "CREATE INDEX instance_directory ON instance (directory)",
)


def columns_of(level: str) -> tuple[str, ...]:
    """The columns of a level's table that hold attributes, folded names included."""
    names: list[str] = []
    for attribute in BY_LEVEL[level]:
        names.append(attribute.keyword)
        if attribute.is_name:
            names.append(attribute.keyword + "_folded")
    return tuple(names)


def _declarations(attribute: Attribute) -> list[str]:
    kind = "INTEGER" if attribute.is_integer else "TEXT"
    if attribute.keyword in _NOT_NULL:
        kind += " NOT NULL"
    columns = [f"{attribute.keyword} {kind}"]
    if attribute.is_name:
        columns.append(f"{attribute.keyword}_folded TEXT")
    return columns


def _create(connection: sqlite3.Connection) -> None:
    """Migration 1: the first tables."""
    connection.execute("CREATE TABLE directory (id INTEGER PRIMARY KEY AUTOINCREMENT, path TEXT NOT NULL UNIQUE)")
    for level in LEVELS:
        columns = ["id INTEGER PRIMARY KEY" + ("" if level == INSTANCE else " AUTOINCREMENT"), *_OWN_COLUMNS[level]]
        for attribute in BY_LEVEL[level]:
            columns += _declarations(attribute)
        connection.execute(f"CREATE TABLE {level} ({', '.join(columns)}, {_KEYS[level]})")
    connection.execute(
        "CREATE TABLE extra (instance INTEGER NOT NULL REFERENCES instance (id) ON DELETE CASCADE,"
        " keyword TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (instance, keyword))"
    )
    connection.execute("CREATE INDEX extra_value ON extra (keyword, value)")
    for statement in _INDICES:
        connection.execute(statement)


_ADD = (
    "INSERT INTO usage SELECT study, NEW.copy = 0, NEW.size, NEW.received FROM series WHERE id = NEW.series"
    " ON CONFLICT (study) DO UPDATE SET instances = instances + excluded.instances, size = size + excluded.size,"
    " received = MAX(received, excluded.received)"
)
_SUBTRACT = (
    "UPDATE usage SET instances = instances - (OLD.copy = 0), size = size - OLD.size"
    " WHERE study = (SELECT study FROM series WHERE id = OLD.series)"
)
_SECOND = (
    # Studies are told by date and time; counts and modalities come from an index alone.
    "DROP INDEX IF EXISTS study_date",
    "CREATE INDEX study_moment ON study (StudyDate, StudyTime)",
    "DROP INDEX IF EXISTS instance_series",
    "CREATE INDEX instance_series ON instance (series, copy)",
    "CREATE INDEX series_modality ON series (Modality, study)",
    "CREATE INDEX series_study ON series (study, Modality)",
    # Files about to be removed, as they were when that was decided (removal.py).
    (
        "CREATE TABLE removal (directory TEXT NOT NULL, name TEXT NOT NULL, instance INTEGER NOT NULL,"
        " size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, owner TEXT NOT NULL, PRIMARY KEY (directory, name))"
    ),
    # What each study has: SOP Instances, bytes of all their files, and when the last one came.
    (
        "CREATE TABLE usage (study INTEGER PRIMARY KEY REFERENCES study (id) ON DELETE CASCADE,"
        " instances INTEGER NOT NULL, size INTEGER NOT NULL, received INTEGER NOT NULL)"
    ),
    (
        "INSERT INTO usage SELECT e.study, SUM(i.copy = 0), SUM(i.size), MAX(i.received)"
        " FROM instance i JOIN series e ON e.id = i.series GROUP BY e.study"
    ),
    f"CREATE TRIGGER instance_comes AFTER INSERT ON instance BEGIN {_ADD}; END",
    f"CREATE TRIGGER instance_goes AFTER DELETE ON instance BEGIN {_SUBTRACT}; END",
    (
        "CREATE TRIGGER instance_changes AFTER UPDATE OF series, copy, size, received ON instance"
        f" BEGIN {_SUBTRACT}; {_ADD}; END"
    ),
)


def _second(connection: sqlite3.Connection) -> None:
    """Migration 2: indices for queries at a million instances, removals, and what each study has."""
    for statement in _SECOND:
        connection.execute(statement)


MIGRATIONS: tuple[Callable[[sqlite3.Connection], None], ...] = (_create, _second)
VERSION = len(MIGRATIONS)


def migrate(connection: sqlite3.Connection) -> int:
    """Bring the schema up to date; the version found. `connection` must be in autocommit mode.

    Raises:
        IndexVersionError: the index was written by a newer dcmkit.
    """
    found = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if found > VERSION:
        raise IndexVersionError(
            "the index was written by a newer dcmkit", hint=f"its version is {found}, this one knows {VERSION}"
        )
    if found == VERSION:
        return found
    connection.execute("BEGIN IMMEDIATE")
    try:
        current = int(connection.execute("PRAGMA user_version").fetchone()[0])  # another process may have been first
        for number in range(current, VERSION):
            MIGRATIONS[number](connection)
            connection.execute(f"PRAGMA user_version = {number + 1}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    return found
