"""The DICOM JSON of instances, kept beside the index: SQLite in WAL mode, a cache of what the files say.

A series lies together in it and comes with one read. Each row says which file it was made of, by size and time, and
is of no use when that is another one now. The file may be deleted at any time; one that is damaged is thrown away.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

from dcmkit.dataset.json_header import FORMAT
from dcmkit.logs import get_logger

log = get_logger("web")

_PAGE_SIZE = 32768
"""Rows of up to 8 kB lie in their page."""
_READERS = 4
_BUSY = 2.0
_MANY = 400
"""Instances asked for in one statement."""
_COLUMNS = "study, series, instance, size, mtime_ns, json"
_TABLE = (
    "CREATE TABLE IF NOT EXISTS instance_json (study TEXT NOT NULL, series TEXT NOT NULL, instance TEXT NOT NULL,"
    " size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, json BLOB NOT NULL,"
    " PRIMARY KEY (study, series, instance)) WITHOUT ROWID"
)

_T = TypeVar("_T")
Key = tuple[str, str, str]
"""Study, series and SOP Instance UID."""


class Row(NamedTuple):
    """What is kept of an instance.

    Attributes:
        size, mtime_ns: of the file that `json` was made of.
        json: as `dataset/json_header.py` gives it.
    """

    study: str
    series: str
    instance: str
    size: int
    mtime_ns: int
    json: bytes


class MetadataStore:
    """The rows of one archive; safe for many threads, beside other processes. Nothing here ever fails: without the
    file, nothing is found in it.

    Args:
        path: of the SQLite file.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._inherited: list[object] = []
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._inode: tuple[int, int] | None = None

    def read(self, study: str, series: str, instances: Sequence[str], *, most: bool = False) -> dict[str, Row]:
        """The rows of instances of a series, by SOP Instance UID.

        Args:
            most: they are most of the series: it is read as a whole.
        """

        def rows(connection: sqlite3.Connection) -> dict[str, Row]:
            found: dict[str, Row] = {}
            if most:
                sql = f"SELECT {_COLUMNS} FROM instance_json WHERE study = ? AND series = ?"  # noqa: S608
                return {row[2]: Row._make(row) for row in connection.execute(sql, (study, series))}
            for at in range(0, len(instances), _MANY):
                some = instances[at : at + _MANY]
                marks = ",".join("?" * len(some))
                sql = f"SELECT {_COLUMNS} FROM instance_json WHERE study = ? AND series = ? AND instance IN ({marks})"  # noqa: S608
                found.update((row[2], Row._make(row)) for row in connection.execute(sql, (study, series, *some)))
            return found

        return self._with(rows, {})

    def write(self, rows: Iterable[Row]) -> None:
        """Keep these, in place of what was there."""
        sql = f"INSERT OR REPLACE INTO instance_json ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)"  # noqa: S608
        ordered = sorted(rows, key=lambda row: row[:3])
        self._change(lambda connection: connection.executemany(sql, ordered))

    def forget(self, keys: Iterable[Key]) -> None:
        """Keep these no more."""
        sql = "DELETE FROM instance_json WHERE study = ? AND series = ? AND instance = ?"
        gone = list(keys)
        self._change(lambda connection: connection.executemany(sql, gone))

    def keys_after(self, key: Key, limit: int) -> list[Key]:
        """At most `limit` keys that come after one, in order."""
        sql = (
            "SELECT study, series, instance FROM instance_json"
            " WHERE (study, series, instance) > (?, ?, ?) ORDER BY study, series, instance LIMIT ?"
        )
        return self._with(lambda connection: connection.execute(sql, (*key, limit)).fetchall(), [])

    def close(self) -> None:
        """Close every connection; the store can be used again."""
        with self._lock:
            connections, self._idle = self._idle, []
            self._inode = None
        for connection in connections:
            _close(connection)

    # --- connections ---------------------------------------------------------------------------------------------

    def _change(self, action: Callable[[sqlite3.Connection], object]) -> None:
        def change(connection: sqlite3.Connection) -> None:
            connection.execute("BEGIN IMMEDIATE")
            try:
                action(connection)
            except BaseException:
                connection.rollback()
                raise
            connection.commit()

        with self._writing:
            self._with(change, None)

    def _with(self, action: Callable[[sqlite3.Connection], _T], otherwise: _T) -> _T:
        if self._pid != os.getpid():  # never touch the connections of the parent, not even to close them
            self._inherited.append((self._idle, self._lock, self._writing))
            self._reset()
        connection = None
        try:
            connection = self._take()
            found = action(connection)
        except sqlite3.Error as error:
            if connection is not None:
                _close(connection)
            passing = isinstance(error, sqlite3.OperationalError) and "no such" not in str(error)
            if isinstance(error, sqlite3.DatabaseError) and not passing:
                self._discard(error)
            else:
                log.debug("the metadata that was kept cannot be used now: %s", error)
            return otherwise
        with self._lock:
            if len(self._idle) < _READERS and self._inode is not None:
                self._idle.append(connection)
                return found
        _close(connection)
        return found

    def _take(self) -> sqlite3.Connection:
        """A connection to the file that has its name now. Raises: sqlite3.Error."""
        inode = self._inode_now()
        with self._lock:
            if inode is None or inode != self._inode:  # it was deleted, or is another one
                stale, self._idle = self._idle, []
            else:
                stale = []
                if self._idle:
                    return self._idle.pop()
        for connection in stale:
            _close(connection)
        connection = self._connect()
        with self._lock:
            self._inode = self._inode_now()
        return connection

    def _inode_now(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self.path)
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=_BUSY, isolation_level=None, check_same_thread=False)
        try:
            if connection.execute("PRAGMA user_version").fetchone()[0] != FORMAT:
                connection.execute(f"PRAGMA page_size = {_PAGE_SIZE}")
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("BEGIN IMMEDIATE")
                if connection.execute("PRAGMA user_version").fetchone()[0] != FORMAT:
                    connection.execute("DROP TABLE IF EXISTS instance_json")
                    connection.execute(_TABLE)
                    connection.execute(f"PRAGMA user_version = {FORMAT}")
                connection.execute("COMMIT")
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("PRAGMA cache_size = -2000")
        except BaseException:
            _close(connection)
            raise
        return connection

    def _discard(self, error: Exception) -> None:
        """The file is damaged: it is a cache, and a new one is made when it is next asked."""
        log.warning("the metadata that was kept is damaged (%s) and thrown away", error)
        self.close()
        for suffix in ("", "-wal", "-shm"):
            try:
                os.unlink(self.path + suffix)
            except OSError:
                pass


def _close(connection: sqlite3.Connection) -> None:
    try:
        connection.close()
    except sqlite3.Error:
        pass
