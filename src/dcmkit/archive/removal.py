"""Removing objects, files and rows together, whenever the process may be killed.

In batches: first the files that are to go are written down in the index (table `removal`), as they are; then they are
unlinked, those alone that still are what was written down; then their rows go together with what was written down.
What a killed process left is finished by the next `Archive.open`: every step may be done twice.

An object that comes meanwhile is never answered with Success for a file that is going: `Filing` looks at the table
first and at the file afterwards, so whatever it finds, the decision to remove came after the answer, or it stores anew.

What goes into the trash (`trash.py`) goes the same way, but is moved instead of unlinked; what was written down says
where to.
"""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
from array import array
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from dcmkit.archive import disk
from dcmkit.archive.attributes import INSTANCE
from dcmkit.archive.directories import OWN
from dcmkit.archive.index import Unchanged
from dcmkit.archive.matching import Parameter
from dcmkit.archive.planning import plan
from dcmkit.archive.query import Query
from dcmkit.archive.slot import locked
from dcmkit.errors import OutputError
from dcmkit.logs import get_logger

if TYPE_CHECKING:
    from dcmkit.archive.store import Archive

log = get_logger("archive")

BATCH = 500
TRASH = "trash"
"""The directory, in that which is the archive's own, of what can be had back."""
_INTO = ">"
"""Between the slot of whoever removes and the folder of the trash that files go to."""

_WRITE_DOWN = (
    "INSERT OR REPLACE INTO removal (directory, name, instance, size, mtime_ns, owner)"
    " SELECT d.path, i.name, i.id, i.size, i.mtime_ns, ? FROM instance i JOIN directory d ON d.id = i.directory"
    " WHERE i.id = ? AND i.size = ? AND i.mtime_ns = ?"
)
_READ = (
    "SELECT i.id, d.path, i.name, i.size, i.mtime_ns FROM instance i JOIN directory d ON d.id = i.directory"
    " WHERE i.id = ? AND i.size = ? AND i.mtime_ns = ?"
)
_CROSS_OUT = "DELETE FROM removal WHERE directory = ? AND name = ? AND size = ? AND mtime_ns = ?"


class Removed(NamedTuple):
    """What was taken away: index rows, files, bytes; and `kept`, objects left because their files had changed."""

    instances: int
    files: int
    size: int
    kept: int = 0

    def plus(self, more: Removed) -> Removed:
        """Both together."""
        return Removed(*(one + other for one, other in zip(self, more, strict=True)))


def remove(archive: Archive, query: Query, *, keep_files: bool = False) -> Removed:
    """Remove every instance that matches `query.match`, with all its files in the archive.

    Files outside the archive, indexed in place, are never removed; their rows are. A file that was changed after it
    was indexed is left, and so is its row.

    Raises:
        UsageError: a keyword that is no index key.
        OutputError: a file or row cannot be removed; those before it are gone.
    """
    found = plan(INSTANCE, query.match, archive.keywords, fuzzy=query.fuzzy, combine=query.combined, copies=True)
    return _remove(archive, found.source, found.parameters, keep_files, BATCH)


def remove_study(archive: Archive, number: int) -> Removed:
    """Remove a study by the number of its row: as a whole, even if the process is killed. Raises: OutputError."""
    source = "instance i JOIN series e ON e.id = i.series WHERE e.study = ?"
    return _remove(archive, source, (number,), False, 1 << 30)


def remove_files(archive: Archive, paths: Iterable[str]) -> Removed:
    """Remove files by their paths relative to the archive, with their rows. Raises: OutputError."""
    places = [(directory, name) for directory, _, name in (path.rpartition("/") for path in paths)]
    total = Removed(0, 0, 0)
    for at in range(0, len(places), BATCH):
        batch = places[at : at + BATCH]
        source = (
            "instance i JOIN directory d ON d.id = i.directory"
            f" WHERE (d.path, i.name) IN (VALUES {', '.join(['(?, ?)'] * len(batch))})"
        )
        parameters = [text for place in batch for text in place]
        total = total.plus(_remove(archive, source, parameters, False, BATCH))
    return total


def finish(archive: Archive) -> int:
    """Finish the removals of processes that are dead; how many files that was. The archive's lock is held.

    Raises:
        OutputError: a file or row cannot be removed.
    """
    incoming = os.path.dirname(archive.slot().path)
    with archive.index.reading() as connection:
        rows = connection.execute("SELECT instance, directory, name, size, mtime_ns, owner FROM removal").fetchall()
    left: list[tuple[str, Unchanged]] = []
    for *row, owner in rows:
        slot, _, into = owner.partition(_INTO)
        if not os.path.isdir(os.path.join(incoming, slot)):
            left.append((into, Unchanged(*row)))
    left.sort()
    for into, group in groupby(left, key=lambda one: one[0]):
        found = [row for _, row in group]
        for at in range(0, len(found), BATCH):
            _carry_out(archive, found[at : at + BATCH], into)
    if left:
        log.warning("a process was killed while it removed objects: %d of them are removed now", len(left))
    return len(left)


def _remove(archive: Archive, source: str, parameters: Iterable[Parameter], keep_files: bool, size: int) -> Removed:
    archive.flush()
    facts = array("q")
    with archive.index.reading() as connection:
        for row in connection.execute(f"SELECT i.id, i.size, i.mtime_ns FROM {source}", tuple(parameters)):  # noqa: S608
            facts.extend(row)
    total = Removed(0, 0, 0)
    for at in range(0, len(facts), 3 * size):
        part = facts[at : at + 3 * size]
        batch = list(zip(part[::3], part[1::3], part[2::3], strict=True))
        try:
            with locked(archive.lock_path):
                done = remove_batch(archive, batch, keep_files=keep_files)
        except OSError as error:
            raise disk.output_error(error) from None
        total = total.plus(done)
    return total


def remove_batch(
    archive: Archive, batch: Sequence[tuple[int, int, int]], *, keep_files: bool = False, into: str = ""
) -> Removed:
    """One batch, of row numbers with size and modification time; the archive's lock is held.

    What has changed since is left alone.

    Args:
        into: the folder of the trash that files are moved to; "" where they go for good.

    Raises:
        OutputError: a file or row cannot be removed.
    """
    owner = os.path.basename(archive.slot().path) + (f"{_INTO}{into}" if into else "")

    def begin(connection: sqlite3.Connection) -> list[Unchanged]:
        rows: list[Unchanged] = []
        for number, size, mtime_ns in batch:
            for row in connection.execute(_READ, (number, size, mtime_ns)):
                rows.append(Unchanged(*row))
                if not keep_files and not os.path.isabs(rows[-1].directory):
                    connection.execute(_WRITE_DOWN, (owner, number, size, mtime_ns))
        return rows

    rows = archive.index.write(begin)
    if keep_files:
        return Removed(archive.index.write(lambda connection: archive.index.remove_unchanged(connection, rows)), 0, 0)
    return _carry_out(archive, rows, into)


def _carry_out(archive: Archive, rows: list[Unchanged], into: str = "") -> Removed:
    """Unlink or move what was written down, then let the rows go.

    Raises:
        OutputError: after all that could be done was.
    """
    folder = folder_of(archive, into) if into else ""
    gone: list[Unchanged] = []
    kept: list[Unchanged] = []
    files = size = 0
    error: OutputError | None = None
    for row in rows:
        try:
            unlinked = not os.path.isabs(row.directory) and _unlink(archive, row, folder)
        except _ChangedError:
            kept.append(row)
        except OSError as failure:
            error = error or disk.output_error(failure)
            kept.append(row)
        else:
            gone.append(row)
            files, size = files + unlinked, size + (row.size if unlinked else 0)
    try:
        if folder and files and archive.settings.durability == "full":
            disk.sync_directory(folder)
        _leave_directories(archive, {row.directory for row in gone})
    except OSError as failure:  # the names might come back in a power cut: what was written down stays until then
        raise disk.output_error(failure) from None

    def end(connection: sqlite3.Connection) -> int:
        for row in rows:
            connection.execute(_CROSS_OUT, (row.directory, row.name, row.size, row.mtime_ns))
        return archive.index.remove_unchanged(connection, gone)

    removed = archive.index.write(end)
    if error is not None:
        raise error
    if kept:
        log.warning("%d objects were not removed: their files have changed since they were indexed", len(kept))
    return Removed(removed, files, size, len(kept))


class _ChangedError(Exception):
    """The file is not the one that was to be removed."""


def folder_of(archive: Archive, into: str) -> str:
    """The path of a folder of the trash."""
    return os.path.join(archive.root, OWN, TRASH, into)


def _unlink(archive: Archive, row: Unchanged, folder: str) -> bool:
    """Whether there was a file, which is gone now, or in `folder`. Raises: _ChangedError, OSError."""
    directory = archive.directories.absolute(row.directory)
    path = os.path.join(directory, row.name)
    try:
        facts = os.lstat(path)
        if (facts.st_size, facts.st_mtime_ns) != (row.size, row.mtime_ns) or not archive.directories.holds(directory):
            raise _ChangedError
        if folder:
            _move(path, folder, f"{row.number}.dcm")
        else:
            os.unlink(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _move(path: str, folder: str, name: str) -> None:
    """Into the trash; over file systems, where part of the archive lies in another one. Raises: OSError."""
    os.makedirs(folder, exist_ok=True)
    target = os.path.join(folder, name)
    try:
        os.replace(path, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        shutil.copy2(path, target + ".part")
        fd = os.open(target + ".part", os.O_RDWR)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
        os.replace(target + ".part", target)
        os.unlink(path)


def _leave_directories(archive: Archive, relatives: set[str]) -> None:
    """Remove the directories that are empty now, and make that all these names are gone survive a power cut."""
    remaining: set[str] = set()
    for relative in relatives:
        here = relative
        while here and not os.path.isabs(here):
            path = archive.directories.absolute(here)
            try:
                os.rmdir(path)
            except FileNotFoundError:
                pass
            except OSError:
                break
            archive.directories.forget(here)
            here = here.rpartition("/")[0]
        if not os.path.isabs(here):
            remaining.add(here)
    if archive.settings.durability == "full":
        for relative in remaining:
            try:
                disk.sync_directory(archive.directories.absolute(relative))
            except FileNotFoundError:
                pass
