"""What is still to be delivered, on disk: a row for each object and destination, there before Success goes out.

One SQLite file beside the index of the archive. It knows nothing of how things are delivered. Any number of processes
add rows; one of them delivers to a destination. Times are seconds since 1970, for they outlive the process.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from dcmkit.archive.directories import OWN
from dcmkit.errors import DcmkitError, ExitCode, OutputError

NAME = "spool.sqlite"
WAITING, DEAD, DELIVERED = "waiting", "dead", "delivered"
"""States. `FAILING` is shown for what waits and has failed before; `DELIVERED` is what is about to be removed."""
FAILING = "failing"

_VERSION = 1
_BUSY_TIMEOUT = 10.0
_SYNCHRONOUS = {"full": "FULL", "file": "NORMAL", "none": "OFF"}
_TABLES = (
    (
        "CREATE TABLE entry (id INTEGER PRIMARY KEY AUTOINCREMENT, destination TEXT NOT NULL, path TEXT NOT NULL,"
        " sop_instance_uid TEXT NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL, queued REAL NOT NULL,"
        " next_attempt REAL NOT NULL, reason TEXT NOT NULL, version INTEGER NOT NULL, removable INTEGER NOT NULL,"
        " UNIQUE (destination, path))"
    ),
    "CREATE INDEX entry_due ON entry (destination, state, next_attempt, id)",
    "CREATE INDEX entry_path ON entry (path, state)",
    (
        "CREATE TABLE destination (name TEXT PRIMARY KEY, failures INTEGER NOT NULL, next_attempt REAL NOT NULL,"
        " reason TEXT NOT NULL, delivered INTEGER NOT NULL)"
    ),
)
_ADD = (
    "INSERT INTO entry (destination, path, sop_instance_uid, state, attempts, queued, next_attempt, reason, version,"
    " removable) VALUES (?, ?, ?, 'waiting', 0, ?, ?, '', 0, ?)"
    " ON CONFLICT (destination, path) DO UPDATE SET sop_instance_uid = excluded.sop_instance_uid,"
    " state = excluded.state, attempts = 0, queued = excluded.queued, next_attempt = excluded.next_attempt,"
    " reason = '', version = version + 1, removable = MAX(removable, excluded.removable)"
)
_COLUMNS = "id, destination, path, sop_instance_uid, state, attempts, queued, next_attempt, reason, version, removable"


class SpoolError(OutputError):
    """The spool cannot be used."""

    exit_code = ExitCode.ARCHIVE_DAMAGED


class Entry(NamedTuple):
    """An object that is to go to a destination.

    Attributes:
        path: of its file, relative to the spool's directory, or absolute where it lies elsewhere.
        attempts: how often its delivery failed.
        reason: of the last failure.
        version: counts how often the object came anew.
        removable: the file is to go when the object has been delivered everywhere.
    """

    id: int
    destination: str
    path: str
    sop_instance_uid: str
    state: str
    attempts: int
    queued: float
    next_attempt: float
    reason: str
    version: int
    removable: bool


class Failure(NamedTuple):
    """A delivery that failed: when to try again, or never (`dead`)."""

    entry: Entry
    next_attempt: float
    reason: str
    dead: bool


class Hold(NamedTuple):
    """A destination that cannot be reached: how often in a row, until when it is left alone, why; and what it has."""

    failures: int
    next_attempt: float
    reason: str
    delivered: int


class Backlog(NamedTuple):
    """What a destination has still to get.

    Attributes:
        waiting, failing, dead: objects that have not been tried; that have failed and are tried again; that are not.
        oldest: when the oldest that waits or is failing came, in seconds since 1970; 0 where there is none.
        delivered: objects it has got.
    """

    waiting: int
    failing: int
    dead: int
    oldest: float
    delivered: int


class _Job:
    """Rows on their way in."""

    __slots__ = ("done", "error", "path", "rows")

    def __init__(self, path: str, rows: list[tuple[Any, ...]]) -> None:
        self.path, self.rows = path, rows
        self.done = False
        self.error: DcmkitError | None = None


class Spool:
    """The spool of a directory; safe for many threads, beside other processes.

    Args:
        directory: of the objects.
        durability: how far a row survives a power cut (`ArchiveSettings.durability`).
    """

    def __init__(self, directory: str, durability: str = "full") -> None:
        self.directory = os.path.realpath(directory)
        self.path = os.path.join(self.directory, OWN, NAME)
        self._synchronous = _SYNCHRONOUS[durability]
        self._inherited: list[object] = []
        self._reset()

    def _reset(self) -> None:
        self._connection: sqlite3.Connection | None = None
        self._lock = threading.Lock()
        self._queue: list[_Job] = []
        self._leading = False
        self._changed = threading.Condition(threading.Lock())

    # --- life ----------------------------------------------------------------------------------------------------

    def open(self) -> Spool:
        """Make what is missing. Raises: OutputError, SpoolError."""
        try:
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
        except OSError as error:
            raise OutputError(f"the spool cannot be made: {error.strerror}", hint=self.path) from None
        try:
            self._prepare()
        finally:
            self.close()  # workers may be forked now
        return self

    def _prepare(self) -> None:
        with self._using() as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            found = int(connection.execute("PRAGMA user_version").fetchone()[0])
            if found > _VERSION:
                raise SpoolError("the spool was written by a newer dcmkit", hint=self.path)
        if not found:
            with self._writing() as connection:
                if not int(connection.execute("PRAGMA user_version").fetchone()[0]):
                    for statement in _TABLES:
                        connection.execute(statement)
                    connection.execute(f"PRAGMA user_version = {_VERSION}")

    def exists(self) -> bool:
        """Whether there is one."""
        return os.path.isfile(self.path)

    def close(self) -> None:
        """Close the connection; the spool can be used again."""
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    def after_fork(self) -> None:
        """In a new process: the connection of the old one is never touched."""
        self._inherited.append((self._connection, self._lock, self._changed))
        self._reset()

    @contextmanager
    def _using(self) -> Iterator[sqlite3.Connection]:
        """The connection, for this block alone. Raises: OutputError, SpoolError."""
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = sqlite3.connect(
                        self.path, timeout=_BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
                    )
                    self._connection.execute(f"PRAGMA synchronous = {self._synchronous}")
                yield self._connection
            except sqlite3.Error as error:
                connection, self._connection = self._connection, None
                if connection is not None:
                    connection.close()
                raise _translated(error, self.path) from None

    @contextmanager
    def _writing(self, *, relaxed: bool = False) -> Iterator[sqlite3.Connection]:
        """A transaction; a relaxed one may be forgotten in a power cut.

        Raises:
            OutputError, SpoolError: nothing is changed.
        """
        relaxed = relaxed and self._synchronous == "FULL"
        with self._using() as connection:
            if relaxed:
                connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            finally:
                if relaxed:
                    connection.execute("PRAGMA synchronous = FULL")

    # --- adding --------------------------------------------------------------------------------------------------

    def add(self, destinations: Iterable[str], path: str, sop_instance_uid: str, *, removable: bool = False) -> None:
        """An object is to go to destinations. Returns when the rows are as safe as the durability says.

        Whoever comes while nobody writes writes for all who wait.

        Args:
            path: its file, absolute.

        Raises:
            OutputError: the rows cannot be written, or the file has just been removed.
        """
        now, inside = time.time(), _column(self.relative(path))
        job = _Job(path, [(name, inside, sop_instance_uid, now, now, int(removable)) for name in destinations])
        with self._changed:
            self._queue.append(job)
            while self._leading and not job.done:
                self._changed.wait()
            if not job.done:
                self._leading = True
                batch, self._queue = self._queue, []
        if not job.done:
            try:
                self._add(batch)
            finally:
                with self._changed:
                    self._leading = False
                    self._changed.notify_all()
        if job.error is not None:
            raise type(job.error)(job.error.message, hint=job.error.hint)

    def _add(self, batch: list[_Job]) -> None:
        error: DcmkitError | None = OutputError("the spool cannot be written")
        try:
            with self._writing() as connection:
                for job in batch:
                    if os.path.lexists(job.path):
                        connection.executemany(_ADD, job.rows)
                    else:  # delivered and removed since it was stored
                        job.error = OutputError("the object was removed as it came: send it again")
            error = None
        except DcmkitError as failure:
            error = failure
        finally:
            for job in batch:
                job.error = job.error or error
                job.done = True

    def relative(self, path: str) -> str:
        """A path as rows have it."""
        inside = self.directory.rstrip(os.sep) + os.sep
        return path[len(inside) :].replace(os.sep, "/") if path.startswith(inside) else path

    def absolute(self, path: str) -> str:
        """A path of a row, as the system wants it."""
        return os.path.join(self.directory, *path.split("/")) if not os.path.isabs(path) else path

    # --- delivering ----------------------------------------------------------------------------------------------

    def due(self, destination: str, limit: int) -> list[Entry]:
        """What is to be delivered now, what has waited longest first."""
        sql = (
            f"SELECT {_COLUMNS} FROM entry WHERE destination = ? AND state = '{WAITING}' AND next_attempt <= ?"  # noqa: S608
            " ORDER BY next_attempt, id LIMIT ?"
        )
        with self._using() as connection:
            return [_entry(row) for row in connection.execute(sql, (destination, time.time(), limit))]

    def hurry(self, destination: str, longest: float) -> None:
        """Whatever waits longer than it can be meant to, since the clock was set back, is due."""
        now = time.time()
        with self._writing(relaxed=True) as connection:
            connection.execute(
                f"UPDATE entry SET next_attempt = ? WHERE destination = ? AND state = '{WAITING}'"  # noqa: S608
                " AND next_attempt > ? AND (attempts = 0 OR next_attempt > ?)",
                (now, destination, now + 1, now + longest),
            )

    def settle(self, destination: str, delivered: Sequence[Entry], failed: Sequence[Failure]) -> None:
        """Write down how deliveries ended; what came anew meanwhile stays as it is.

        In a power cut that may be forgotten, and the objects are delivered again; but not where files go then.
        """
        with self._writing(relaxed=not any(entry.removable for entry in delivered)) as connection:
            for entry in delivered:
                sql = f"UPDATE entry SET state = '{DELIVERED}'" if entry.removable else "DELETE FROM entry"  # noqa: S608
                connection.execute(f"{sql} WHERE id = ? AND version = ?", (entry.id, entry.version))
            connection.executemany(
                "UPDATE entry SET state = ?, attempts = ?, next_attempt = ?, reason = ? WHERE id = ? AND version = ?",
                [
                    (DEAD if one.dead else WAITING, one.entry.attempts + 1, one.next_attempt, one.reason,
                     one.entry.id, one.entry.version)
                    for one in failed
                ],
            )  # fmt: skip
            connection.execute(
                "INSERT INTO destination VALUES (?, 0, 0, '', ?)"
                " ON CONFLICT (name) DO UPDATE SET delivered = delivered + excluded.delivered",
                (destination, len(delivered)),
            )

    def hold(self, destination: str, failures: int, next_attempt: float, reason: str) -> None:
        """A destination is to be left alone until `next_attempt`; or is well again, with 0 failures."""
        with self._writing(relaxed=True) as connection:
            connection.execute(
                "INSERT INTO destination VALUES (?, ?, ?, ?, 0) ON CONFLICT (name) DO UPDATE SET"
                " failures = excluded.failures, next_attempt = excluded.next_attempt, reason = excluded.reason",
                (destination, failures, next_attempt, reason),
            )

    def held(self, destination: str) -> Hold:
        """How a destination is."""
        sql = "SELECT failures, next_attempt, reason, delivered FROM destination WHERE name = ?"
        with self._using() as connection:
            row = connection.execute(sql, (destination,)).fetchone()
        return Hold(*row) if row else Hold(0, 0.0, "", 0)

    def needs(self, paths: Sequence[str]) -> bool:
        """Whether any of these files, by their paths as rows have them, waits to be delivered. Raises: OutputError."""
        try:
            with closing(sqlite3.connect(self.path, timeout=_BUSY_TIMEOUT)) as connection:  # others may have closed
                for at in range(0, len(paths), 500):
                    part = [_column(path) for path in paths[at : at + 500]]
                    sql = f"SELECT 1 FROM entry WHERE path IN ({', '.join('?' * len(part))}) AND state = '{WAITING}'"  # noqa: S608
                    if connection.execute(f"{sql} LIMIT 1", part).fetchone() is not None:
                        return True
        except sqlite3.Error as error:
            raise _translated(error, self.path) from None
        return False

    def clear(self, remove: Callable[[list[str]], None], paths: Sequence[str] | None = None, limit: int = 200) -> int:
        """Remove files that have been delivered everywhere; how many.

        Nothing can be added meanwhile: who comes later finds the file gone.

        Args:
            remove: is given paths as rows have them.
            paths: look at these only.

        Raises:
            DcmkitError: of `remove`; it will have to be done again.
        """
        unfinished = f"EXISTS (SELECT 1 FROM entry o WHERE o.path = e.path AND o.state <> '{DELIVERED}')"  # noqa: S608
        sql = f"SELECT DISTINCT path FROM entry e WHERE state = '{DELIVERED}' AND NOT {unfinished}"  # noqa: S608
        columns: list[str | bytes] = [_column(path) for path in paths or ()]
        if paths is not None:
            sql += f" AND path IN ({', '.join('?' * len(columns))})"
        with self._writing() as connection:
            found = connection.execute(f"{sql} LIMIT ?", (*columns, limit)).fetchall()
            if found:
                remove([_text(path) for (path,) in found])
                connection.executemany("DELETE FROM entry WHERE path = ?", found)
        return len(found)

    # --- looking, and changing by hand ---------------------------------------------------------------------------

    def counts(self, destination: str = "") -> list[tuple[str, str, int, str]]:
        """Destination, state, number and reason, for every state and reason there is."""
        state = f"CASE WHEN state = '{WAITING}' AND attempts > 0 THEN '{FAILING}' ELSE state END"
        where = "WHERE destination = ?" if destination else ""
        sql = (
            f"SELECT destination, {state} AS shown, COUNT(*), reason FROM entry {where}"  # noqa: S608
            " GROUP BY destination, shown, reason ORDER BY destination, shown, COUNT(*) DESC"
        )
        with self._using() as connection:
            return list(connection.execute(sql, (destination,) if destination else ()))

    def destinations(self) -> dict[str, Hold]:
        """Every destination there has been a delivery to, or is one for."""
        with self._using() as connection:
            found = {
                name: Hold(0, 0.0, "", 0) for (name,) in connection.execute("SELECT DISTINCT destination FROM entry")
            }
            sql = "SELECT name, failures, next_attempt, reason, delivered FROM destination"
            found |= {row[0]: Hold(*row[1:]) for row in connection.execute(sql)}
        return dict(sorted(found.items()))

    def entries(self, destination: str = "", state: str = "", uids: Sequence[str] = ()) -> list[Entry]:
        """The rows that are chosen, in the order they came."""
        where, parameters = _chosen(destination, state, uids)
        with self._using() as connection:
            rows = connection.execute(f"SELECT {_COLUMNS} FROM entry WHERE {where} ORDER BY id", parameters)  # noqa: S608
            return [_entry(row) for row in rows]

    def retry(self, destination: str = "", state: str = "", uids: Sequence[str] = ()) -> int:
        """What is chosen is due at once, and so are its destinations; how many rows."""
        where, parameters = _chosen(destination, state, uids)
        with self._writing() as connection:
            done = connection.execute(
                f"UPDATE entry SET state = '{WAITING}', attempts = 0, next_attempt = 0 WHERE {where}"  # noqa: S608
                f" AND state <> '{DELIVERED}'",
                parameters,
            ).rowcount
            connection.execute("UPDATE destination SET next_attempt = 0 WHERE ? IN ('', name)", (destination,))
        return done

    def forget(self, destination: str = "", state: str = "", uids: Sequence[str] = ()) -> int:
        """Remove the rows that are chosen, how many; files are left."""
        where, parameters = _chosen(destination, state, uids)
        with self._writing() as connection:
            gone = connection.execute(f"DELETE FROM entry WHERE {where} RETURNING path", parameters).fetchall()  # noqa: S608
            connection.executemany(f"DELETE FROM entry WHERE path = ? AND state = '{DELIVERED}'", gone)  # noqa: S608
            connection.execute(
                "DELETE FROM destination WHERE ? IN ('', name)"
                " AND NOT EXISTS (SELECT 1 FROM entry WHERE entry.destination = destination.name)",
                (destination,),
            )
        return len(gone)


def backlog(directory: str) -> dict[str, Backlog]:
    """What is still to be delivered from a directory, by destination; only looks, and makes nothing.

    Raises:
        OutputError, SpoolError: there is a spool that cannot be read.
    """
    path = os.path.join(os.path.realpath(directory), OWN, NAME)
    if not os.path.isfile(path):
        return {}
    late = f"state = '{WAITING}' AND attempts"
    sql = (
        f"SELECT destination, SUM({late} = 0), SUM({late} > 0), SUM(state = '{DEAD}'),"  # noqa: S608
        f" MIN(CASE WHEN state = '{WAITING}' THEN queued END) FROM entry GROUP BY destination"
    )
    try:
        with closing(sqlite3.connect(f"{Path(path).as_uri()}?mode=ro", uri=True, timeout=_BUSY_TIMEOUT)) as connection:
            delivered = dict(connection.execute("SELECT name, delivered FROM destination").fetchall())
            found = {name: Backlog(0, 0, 0, 0.0, number) for name, number in delivered.items()}
            for name, waiting, failing, dead, oldest in connection.execute(sql):
                found[name] = Backlog(waiting, failing, dead, oldest or 0.0, delivered.get(name, 0))
    except sqlite3.Error as error:
        raise _translated(error, path) from None
    return dict(sorted(found.items()))


def _chosen(destination: str, state: str, uids: Sequence[str]) -> tuple[str, list[str]]:
    where, parameters = ["1"], []
    if destination:
        where.append("destination = ?")
        parameters.append(destination)
    if state in (WAITING, FAILING):
        where.append(f"state = '{WAITING}' AND attempts {'>' if state == FAILING else '='} 0")
    elif state:
        where.append("state = ?")
        parameters.append(state)
    if uids:
        where.append(f"sop_instance_uid IN ({', '.join('?' * len(uids))})")
        parameters += uids
    return " AND ".join(where), parameters


def _entry(row: tuple[Any, ...]) -> Entry:
    return Entry._make((*row[:2], _text(row[2]), *row[3:10], bool(row[10])))


def _column(path: str) -> str | bytes:
    """A path as SQLite takes it, which has no text that is not Unicode."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return path.encode("utf-8", "surrogateescape")
    return path


def _text(path: str | bytes) -> str:
    return path if isinstance(path, str) else path.decode("utf-8", "surrogateescape")


def _translated(error: sqlite3.Error, path: str) -> OutputError:
    text = str(error)
    if any(part in text for part in ("malformed", "not a database", "no such")):
        hint = f"{text}; what it had is lost: move {path} away, and send again what the peers lack"
        return SpoolError("the spool is damaged", hint=hint)
    if "full" in text:
        return OutputError("out of disk space", hint=path)
    if "locked" in text:
        return OutputError("the spool is locked", hint=text)
    return OutputError("the spool cannot be written", hint=f"{path}: {text}")
