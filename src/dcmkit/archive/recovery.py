"""After a kill or a power cut: what was on its way in goes, what made it to its name gets its row.

Files are found by the time their directory last changed, not by walking them all: only what came after the newest row
can lack one. The newest rows are looked at too: after a power cut, names may be lost that were not synced yet.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from dcmkit.archive import slot
from dcmkit.archive.directories import list_directory
from dcmkit.errors import InputError, OutputError
from dcmkit.logs import get_logger

if TYPE_CHECKING:
    from dcmkit.archive.index import Index
    from dcmkit.archive.record import Record
    from dcmkit.archive.store import Archive

log = get_logger("archive")

MARGIN = 600
"""Seconds before the newest row that a sweep looks back: clocks are set, and rows wait in queues."""
_BATCH = 500


def remove_leftovers(incoming: str) -> tuple[int, bool]:
    """Remove what dead processes left in `incoming`; how many processes that was, and whether the system went down."""
    dead, rebooted = 0, False
    for path, since_reboot in slot.abandoned(incoming):
        dead += 1
        rebooted = rebooted or since_reboot
        removed = slot.clear(path)
        log.warning("a process was killed: removed %d unfinished objects it left", removed)
    return dead, rebooted


def sweep(archive: Archive, since: float) -> tuple[int, int]:
    """Bring the index up to date with the directories that changed after `since` (seconds since 1970).

    Returns:
        How many files were added to the index, and how many rows were removed from it.

    Raises:
        OutputError: the index cannot be read or written.
    """
    known = set(_with_ancestors(archive.index.directories()))
    added = removed = 0
    waiting = {directory for directory in known if _changed(archive.directories.absolute(directory), since)}
    waiting.update(path for path in archive.index.newest_directories(since) if not os.path.isabs(path))
    while waiting:
        directory = waiting.pop()
        more, fewer, below = reconcile(archive, directory)
        added, removed = added + more, removed + fewer
        waiting.update(path for path in below if path not in known)
    if added or removed:
        log.warning("the index was behind the files: %d added, %d removed", added, removed)
    return added, removed


def _with_ancestors(directories: Iterable[str]) -> Iterator[str]:
    """The directories of the archive (not those of files indexed in place), each with those above it."""
    seen = {""}
    yield ""
    for directory in directories:
        here = directory
        while here not in seen and not os.path.isabs(here):
            seen.add(here)
            yield here
            here = here.rpartition("/")[0]


def _changed(path: str, since: float) -> bool:
    try:
        return os.stat(path).st_mtime >= since
    except OSError:
        return True


def reconcile(archive: Archive, directory: str) -> tuple[int, int, list[str]]:
    """Make the rows of one directory agree with its files.

    Returns:
        How many files were added, how many rows removed, and the directories below.

    Raises:
        OutputError: the index cannot be read or written.
    """
    rows = archive.index.files_in(directory)  # before the files: a row that comes now has its file already
    path = archive.directories.absolute(directory)
    files, below = list_directory(path, directory)
    batch: list[Record] = []
    added = 0
    for name, facts in files.items():
        if rows.get(name) != (facts.st_size, facts.st_mtime_ns):
            try:
                record = archive.read_record(os.path.join(path, name))
            except InputError as error:
                log.debug("not indexed: %s", error)
                continue
            record.directory, record.name = directory, name
            batch.append(record)
            added += 1
        if len(batch) >= _BATCH:
            archive.index.insert(batch)
            batch = []
    if batch:
        archive.index.insert(batch)
    gone = [(directory, name) for name in rows if name not in files and not os.path.lexists(os.path.join(path, name))]
    removed = archive.index.remove(gone) if gone else 0
    return added, removed, below


def files_in_place(index: Index) -> dict[str, set[str]]:
    """The files outside the archive that an index has, as far as it can tell: names by absolute directory."""
    found: dict[str, set[str]] = {}
    try:
        for directory in index.directories():
            if os.path.isabs(directory):
                found[directory] = set(index.files_in(directory))
    except OutputError as error:
        log.warning("the index does not tell which files were indexed in place: add them again (%s)", error)
    return found


def set_aside(path: str) -> str:
    """Rename a damaged index, so that a new one can be made; its new name. Raises: OSError."""
    aside = f"{path}.damaged"
    os.replace(path, aside)
    for suffix in ("-wal", "-shm"):
        try:
            os.replace(path + suffix, aside + suffix)
        except FileNotFoundError:
            pass
    return aside
