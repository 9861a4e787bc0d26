"""The index: SQLite in WAL mode, one writer, read-only connections from a pool. A cache of what the files say.

SQL stays in what SQLite 3.35 and PostgreSQL share, and a function or two that can be given to either. Connections are
made when first used and never cross a fork.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

from dcmkit.archive import schema
from dcmkit.archive.attributes import INSTANCE, LEVELS, PATIENT, SERIES, SERIES_INSTANCE_UID, STUDY, STUDY_INSTANCE_UID
from dcmkit.archive.planning import FUNCTIONS
from dcmkit.archive.record import Record
from dcmkit.errors import IndexDamagedError, OutputError
from dcmkit.logs import get_logger

log = get_logger("archive")

BUSY_TIMEOUT = 10.0
"""Seconds to wait for another process's transaction."""
_CACHE_LIMIT = 20000
_NEWEST = 100000
_WRITER_CACHE = 32000
"""KiB of pages the writer may keep: rows of a big index go to pages all over it."""
_SYNCHRONOUS = {"full": "FULL", "file": "NORMAL", "none": "OFF"}

_T = TypeVar("_T")


def _insert(level: str, own: tuple[str, ...], conflict: str) -> str:
    columns = (*own, *schema.columns_of(level))
    return f"INSERT INTO {level} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))}) {conflict}"  # noqa: S608


def _fill(level: str, key: tuple[str, ...]) -> str:
    """On conflict: keep what is there, and fill what was missing."""
    filled = ", ".join(f"{c} = COALESCE({level}.{c}, excluded.{c})" for c in schema.columns_of(level) if c not in key)
    return f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET {filled} RETURNING id"


_PATIENT_KEY = ("PatientID", "IssuerOfPatientID", "unidentified")
_INSERT_PATIENT = _insert(PATIENT, ("unidentified",), _fill(PATIENT, _PATIENT_KEY))
_INSERT_STUDY = _insert(STUDY, ("patient",), _fill(STUDY, ("StudyInstanceUID",)))
_INSERT_SERIES = _insert(SERIES, ("study",), _fill(SERIES, ("study", "SeriesInstanceUID")))
_INSTANCE_COLUMNS = (
    "series", "copy", "directory", "name", "transfer_syntax_uid", "data_set_offset", "size", "mtime_ns", "received",
    "source_ae_title", "digest",
)  # fmt: skip
_INSERT_INSTANCE = _insert(INSTANCE, _INSTANCE_COLUMNS, "ON CONFLICT DO NOTHING")
_ASSIGNMENTS = ", ".join(f"{column} = ?" for column in (*_INSTANCE_COLUMNS, *schema.columns_of(INSTANCE)))
_UPDATE_INSTANCE = f"UPDATE instance SET {_ASSIGNMENTS} WHERE id = ?"  # noqa: S608
_FIND = (
    "SELECT d.path, i.name, i.data_set_offset FROM instance i JOIN directory d ON d.id = i.directory"
    " WHERE i.SOPInstanceUID = ? ORDER BY i.copy"
)
_NEXT_FIRST_COPY = (
    "UPDATE instance SET copy = 0 WHERE id = (SELECT id FROM instance WHERE SOPInstanceUID = ? ORDER BY copy LIMIT 1)"
)
_REMOVE_EMPTY_DIRECTORY = (
    "DELETE FROM directory WHERE path = ?"
    " AND NOT EXISTS (SELECT 1 FROM instance WHERE instance.directory = directory.id)"
)
_SOP_CLASS_COLUMN = schema.columns_of(INSTANCE).index("SOPClassUID")
_SOP_INSTANCE_COLUMN = schema.columns_of(INSTANCE).index("SOPInstanceUID")
_NAME_FOLDED_COLUMN = schema.columns_of(PATIENT).index("PatientName_folded")


class Unchanged(NamedTuple):
    """A file's row as it was when it was read."""

    number: int
    directory: str
    name: str
    size: int
    mtime_ns: int


class Index:
    """The index of one archive.

    Args:
        path: the SQLite file; its directory exists.
        durability: how far a write survives a power cut (`ArchiveSettings.durability`).
    """

    def __init__(self, path: str, durability: str = "full") -> None:
        self.path = path
        self._synchronous = _SYNCHRONOUS[durability]
        self._inherited: list[object] = []
        self._watches = 0
        self._reset()

    def _reset(self) -> None:
        self._write_lock = threading.Lock()
        self._writer: sqlite3.Connection | None = None
        self._readers: list[sqlite3.Connection] = []
        self._watch_lock = threading.Lock()
        self._watcher: sqlite3.Connection | None = None
        self._series: dict[tuple[bytes | None, bytes | None], int] = {}
        self._directories: dict[str, int] = {}

    def open(self) -> int:
        """Make or migrate the tables, and check that the file is an index; the version found, 0 for a new one.

        Raises:
            IndexDamagedError: it is not, or a newer dcmkit wrote it.
            OutputError: it cannot be opened.
        """
        with translated_errors():
            connection = self._connect()
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                found = schema.migrate(connection)
                connection.execute("SELECT COUNT(*) FROM instance WHERE id = 0").fetchone()
                return found
            finally:
                connection.close()

    def close(self) -> None:
        """Close every connection; the index can be used again."""
        with self._write_lock:
            connections = [*self._readers, *(each for each in (self._writer, self._watcher) if each)]
            self._readers, self._writer, self._watcher = [], None, None
        for connection in connections:
            try:
                connection.close()
            except sqlite3.Error:
                pass

    def after_fork(self) -> None:
        """In a new process: never touch the connections of the old one, not even to close them."""
        self._inherited.append((self._writer, self._readers, self._watcher, self._write_lock))
        self._reset()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
        for function in FUNCTIONS:
            connection.create_function(function.__name__, -1, function)
        return connection

    # --- writing ---------------------------------------------------------------------------------------------

    def write(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """Run `work` in one transaction, the only one at a time. Raises: OutputError; nothing is changed then."""
        with self._write_lock, translated_errors():
            connection = self._writer
            if connection is None:
                connection = self._writer = self._connect()
                connection.execute(f"PRAGMA synchronous = {self._synchronous}")
                connection.execute("PRAGMA foreign_keys = ON")
                connection.execute(f"PRAGMA cache_size = -{_WRITER_CACHE}")
            try:
                return self._transaction(connection, work)
            except sqlite3.IntegrityError:  # a row another process removed is still in our caches
                return self._transaction(connection, work)
            except sqlite3.DatabaseError:
                self._drop_writer(connection)
                raise

    def _transaction(self, connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], _T]) -> _T:
        connection.execute("BEGIN IMMEDIATE")
        try:
            result = work(connection)
            connection.execute("COMMIT")
            return result
        except BaseException:
            self._series.clear()
            self._directories.clear()
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def _drop_writer(self, connection: sqlite3.Connection) -> None:
        self._writer = None
        try:
            connection.close()
        except sqlite3.Error:
            pass

    def insert(self, records: Sequence[Record]) -> None:
        """Add or update the rows of `records`, all or none. Raises: OutputError."""

        def work(connection: sqlite3.Connection) -> None:
            for record in records:
                self._insert(connection, record)

        self.write(work)

    def _insert(self, connection: sqlite3.Connection, record: Record) -> None:
        if record.supersedes:
            self.remove_rows(connection, record.supersedes)
        values = record.header.values
        series = self._series.get((values.get(STUDY_INSTANCE_UID), values.get(SERIES_INSTANCE_UID)))
        if series is None:
            series = self._insert_series(connection, record)
        directory = self._directories.get(record.directory)
        if directory is None:
            directory = self._insert_directory(connection, record.directory)
        attributes = record.columns(INSTANCE)
        attributes[_SOP_CLASS_COLUMN] = record.sop_class_uid
        attributes[_SOP_INSTANCE_COLUMN] = record.sop_instance_uid
        row = [
            series, record.copy, directory, record.name, record.transfer_syntax_uid, record.data_set_offset,
            record.size, record.mtime_ns, record.received, record.source_ae_title, record.digest, *attributes,
        ]  # fmt: skip
        cursor = connection.execute(_INSERT_INSTANCE, row)
        if cursor.rowcount < 1:
            self._insert_again(connection, record, row, directory)
        elif record.extra:
            assert cursor.lastrowid is not None
            self._insert_extra(connection, record, cursor.lastrowid)

    def _insert_again(
        self, connection: sqlite3.Connection, record: Record, row: list[str | int | None], directory: int
    ) -> None:
        """There are rows of this SOP Instance: update that of the same file, or count one copy more."""
        rows = connection.execute(
            "SELECT id, copy, directory, name FROM instance WHERE SOPInstanceUID = ?", (record.sop_instance_uid,)
        ).fetchall()
        same = [(number, copy) for number, copy, place, name in rows if place == directory and name == record.name]
        if same:
            number, record.copy = same[0]
            row[1] = record.copy
            connection.execute(_UPDATE_INSTANCE, [*row, number])
            connection.execute("DELETE FROM extra WHERE instance = ?", (number,))
        else:
            taken = {copy for _, copy, _, _ in rows}
            record.copy = next(copy for copy in range(len(taken) + 1) if copy not in taken)
            row[1] = record.copy
            inserted = connection.execute(_INSERT_INSTANCE, row).lastrowid
            assert inserted is not None
            number = inserted
        self._insert_extra(connection, record, number)

    def _insert_extra(self, connection: sqlite3.Connection, record: Record, number: int) -> None:
        for attribute in record.extra:
            text = record.text(attribute)
            if text:
                connection.execute("INSERT INTO extra VALUES (?, ?, ?)", (number, attribute.keyword, text))

    def _insert_directory(self, connection: sqlite3.Connection, path: str) -> int:
        number = _one(
            connection.execute(
                "INSERT INTO directory (path) VALUES (?) ON CONFLICT (path) DO UPDATE SET path = excluded.path"
                " RETURNING id",
                (path,),
            )
        )
        if len(self._directories) >= _CACHE_LIMIT:
            self._directories.clear()
        self._directories[path] = number
        return number

    def _insert_series(self, connection: sqlite3.Connection, record: Record) -> int:
        """The series' row, and those above it; what they lacked is filled from `record`."""
        study_uid = record.study_instance_uid
        found = connection.execute("SELECT patient FROM study WHERE StudyInstanceUID = ?", (study_uid,)).fetchone()
        patient = found[0] if found else self._insert_patient(connection, record)
        study = _one(connection.execute(_INSERT_STUDY, [patient, *record.columns(STUDY)]))
        series = _one(connection.execute(_INSERT_SERIES, [study, *record.columns(SERIES)]))
        if len(self._series) >= _CACHE_LIMIT:
            self._series.clear()
        values = record.header.values
        self._series[values.get(STUDY_INSTANCE_UID), values.get(SERIES_INSTANCE_UID)] = series
        return series

    def _insert_patient(self, connection: sqlite3.Connection, record: Record) -> int:
        columns = record.columns(PATIENT)
        if not record.study_instance_uid:  # objects that belong to no study share one patient without a name
            columns = ["", "", *[None] * (len(columns) - 2)]
        unidentified = "" if columns[0] else columns[_NAME_FOLDED_COLUMN] or ""
        return _one(connection.execute(_INSERT_PATIENT, [unidentified, *columns]))

    def remove_rows(self, connection: sqlite3.Connection, files: Iterable[tuple[str, str]]) -> int:
        """In a transaction: remove the rows of files (directory, name), and of what is empty then; how many."""
        gone: list[tuple[int, str, int]] = []
        directories: set[str] = set()
        for directory, name in files:
            directories.add(directory)
            gone += connection.execute(
                "DELETE FROM instance WHERE name = ? AND directory = (SELECT id FROM directory WHERE path = ?)"
                " RETURNING series, SOPInstanceUID, copy",
                (name, directory),
            ).fetchall()
        self._after_removal(connection, gone, directories)
        return len(gone)

    def remove_unchanged(self, connection: sqlite3.Connection, rows: Iterable[Unchanged]) -> int:
        """In a transaction: as `remove_rows`, by row numbers, of those alone that are what they were; how many."""
        gone: list[tuple[int, str, int]] = []
        directories: set[str] = set()
        for row in rows:
            directories.add(row.directory)
            gone += connection.execute(
                "DELETE FROM instance WHERE id = ? AND name = ? AND size = ? AND mtime_ns = ?"
                " AND directory = (SELECT id FROM directory WHERE path = ?)"
                " RETURNING series, SOPInstanceUID, copy",
                (row.number, row.name, row.size, row.mtime_ns, row.directory),
            ).fetchall()
        self._after_removal(connection, gone, directories)
        return len(gone)

    def _after_removal(
        self, connection: sqlite3.Connection, gone: list[tuple[int, str, int]], directories: set[str]
    ) -> None:
        for _, uid, copy in gone:
            if copy == 0:
                connection.execute(_NEXT_FIRST_COPY, (uid,))
        self._series.clear()
        self._directories.clear()
        for number in {series for series, _, _ in gone}:
            _remove_empty(connection, number)
        for path in directories:
            connection.execute(_REMOVE_EMPTY_DIRECTORY, (path,))

    # --- reading ---------------------------------------------------------------------------------------------

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A read-only connection, for this block alone. Raises: OutputError."""
        with translated_errors():
            connection = self._reader()
            try:
                yield connection
            except sqlite3.DatabaseError:
                connection.close()
                raise
            self._readers.append(connection)

    def _reader(self) -> sqlite3.Connection:
        try:
            return self._readers.pop()
        except IndexError:
            connection = self._connect()
            connection.execute("PRAGMA query_only = ON")
            connection.execute("PRAGMA case_sensitive_like = ON")
            return connection

    def revision(self) -> tuple[int, int]:
        """Another one after every change, whoever made it; to be compared within this process only.

        What is read after asking is at least as new. Raises: OutputError.
        """
        with self._watch_lock, translated_errors():
            if self._watcher is None:  # data_version says whether others have changed anything, this connection never
                self._watches += 1
                self._watcher = self._connect()
                self._watcher.execute("PRAGMA query_only = ON")
            return self._watches, _one(self._watcher.execute("PRAGMA data_version"))

    def find(self, sop_instance_uid: str) -> list[tuple[str, str, int]]:
        """Directory, name and data set offset of every file of a SOP Instance. Raises: OutputError."""
        try:
            connection = self._reader()
            rows = connection.execute(_FIND, (sop_instance_uid,)).fetchall()
        except sqlite3.Error as error:
            raise translate(error) from None
        self._readers.append(connection)
        return rows

    def is_going(self, directory: str, name: str) -> bool:
        """Whether somebody has decided to remove this file (removal.py). Raises: OutputError."""
        with self.reading() as connection:
            sql = "SELECT 1 FROM removal WHERE directory = ? AND name = ?"
            return connection.execute(sql, (directory, name)).fetchone() is not None

    def count(self) -> dict[str, int]:
        """How many rows each level has. Raises: OutputError."""
        with self.reading() as connection:
            return {level: _one(connection.execute(f"SELECT COUNT(*) FROM {level}")) for level in LEVELS}  # noqa: S608

    # --- for recovery ----------------------------------------------------------------------------------------

    def is_sound(self) -> bool:
        """Whether every page of the file is in order: slow for a big index, for after a power cut."""
        try:
            with self.reading() as connection:
                return bool(connection.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok")
        except OutputError:
            return False

    def last_received(self) -> int:
        """When the newest object came, in seconds since 1970; 0 when there is none."""
        with self.reading() as connection:
            found = connection.execute("SELECT received FROM instance ORDER BY id DESC LIMIT 1").fetchone()
            return int(found[0]) if found else 0

    def directories(self) -> list[str]:
        """Every directory with files in the index, sorted."""
        with self.reading() as connection:
            return [path for (path,) in connection.execute("SELECT path FROM directory ORDER BY path")]

    def newest_directories(self, since: float) -> list[str]:
        """The directories of what came after `since` (seconds since 1970), among the newest _NEWEST objects."""
        with self.reading() as connection:
            rows = connection.execute(
                "SELECT DISTINCT d.path FROM instance i JOIN directory d ON d.id = i.directory"
                " WHERE i.id > (SELECT MAX(id) FROM instance) - ? AND i.received >= ?",
                (_NEWEST, since),
            )
            return [path for (path,) in rows]

    def files_in(self, directory: str) -> dict[str, tuple[int, int]]:
        """Size and modification time (ns) of each file in a directory, by name, as the index has them."""
        with self.reading() as connection:
            rows = connection.execute(
                "SELECT i.name, i.size, i.mtime_ns FROM instance i JOIN directory d ON d.id = i.directory"
                " WHERE d.path = ?",
                (directory,),
            )
            return {name: (size, mtime) for name, size, mtime in rows}

    def remove(self, files: Iterable[tuple[str, str]]) -> int:
        """Remove the rows of files (directory, name), and of what is empty then; how many. Raises: OutputError."""
        return self.write(lambda connection: self.remove_rows(connection, files))


def _remove_empty(connection: sqlite3.Connection, series: int) -> None:
    """Remove a series, its study and its patient where nothing is left in them."""
    number = series
    for table, child, parent in (
        ("series", "instance", "study"),
        ("study", "series", "patient"),
        ("patient", "study", ""),
    ):
        rows = connection.execute(
            f"DELETE FROM {table} WHERE id = ? AND NOT EXISTS (SELECT 1 FROM {child} WHERE {table} = ?)"  # noqa: S608
            f" RETURNING {parent or 'id'}",
            (number, number),
        ).fetchall()
        if not rows:
            return
        number = rows[0][0]


def _one(cursor: sqlite3.Cursor) -> int:
    return int(cursor.fetchall()[0][0])


@contextmanager
def translated_errors() -> Iterator[None]:
    """SQLite's errors as ours."""
    try:
        yield
    except sqlite3.Error as error:
        raise translate(error) from None


def translate(error: sqlite3.Error) -> OutputError:
    """What a SQLite error means for whoever stores or asks."""
    text = str(error)
    if "malformed" in text or "not a database" in text or "no such" in text:
        return IndexDamagedError("the index is damaged", hint=f"{text}; run 'dcmkit index rebuild'")
    for part, message in (
        ("full", "out of disk space"),
        ("locked", "the index is locked"),
        ("readonly", "the index is read-only"),
        ("unable to open", "the index cannot be opened"),
    ):
        if part in text:
            return OutputError(message, hint=text)
    if "I/O" in text:
        text += "; see whether there is room on its disk, and whether that is sound"
    return OutputError("the index cannot be written", hint=text)
