"""Look after an archive: compare files and index both ways, make the index anew, count."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from dcmkit.archive import disk
from dcmkit.archive.adding import Added, Progress, digest, fill
from dcmkit.archive.directories import list_directory
from dcmkit.archive.index import Index
from dcmkit.archive.recovery import files_in_place, reconcile
from dcmkit.archive.slot import locked, others_active
from dcmkit.errors import InputError, OutputError
from dcmkit.logs import get_logger

if TYPE_CHECKING:
    from dcmkit.archive.store import Archive

log = get_logger("archive")

MISSING, CHANGED, UNINDEXED, DAMAGED = "missing", "changed", "unindexed", "damaged"


class Difference(NamedTuple):
    """One place where files and index disagree.

    Attributes:
        kind: `missing` (a row without its file), `changed` (size or time differ), `unindexed` (a DICOM file without a
            row), `damaged` (the content is not what it was).
        path: relative to the archive, or absolute.
        detail: more about it, for people.
    """

    kind: str
    path: str
    detail: str


def check(
    archive: Archive, *, digests: bool = False, repair: bool = False, progress: Progress | None = None
) -> Iterator[Difference]:
    """Compare files and index both ways.

    Args:
        digests: read every file and compare its SHA-256 with the one noted; note it where there is none.
        repair: bring the index up to date with the files (a damaged file stays as it is).
        progress: told the files and bytes looked at since the last call.

    Raises:
        OutputError: the index cannot be read or written.
    """
    indexed = set(archive.index.directories())
    waiting, visited = [""], set[str]()
    while waiting or indexed - visited:
        directory = waiting.pop() if waiting else min(indexed - visited)
        visited.add(directory)
        differences, below = _check_directory(archive, directory, digests, progress)
        yield from differences
        if repair and any(each.kind != DAMAGED for each in differences):
            _repair(archive, directory, differences)
        waiting += sorted(below, reverse=True) if not os.path.isabs(directory) else []


def _check_directory(
    archive: Archive, directory: str, digests: bool, progress: Progress | None
) -> tuple[list[Difference], list[str]]:
    rows = archive.index.files_in(directory)
    path = archive.directories.absolute(directory)
    files, below = list_directory(path, directory)
    prefix = f"{directory}/" if directory else ""
    found: list[Difference] = []
    sound: list[str] = []
    for name, (size, mtime) in rows.items():
        facts = files.get(name)
        if facts is None:
            try:
                facts = os.stat(os.path.join(path, name))
            except OSError:
                found.append(Difference(MISSING, prefix + name, "the index has it, and there is no such file"))
                continue
        if (facts.st_size, facts.st_mtime_ns) != (size, mtime):
            found.append(Difference(CHANGED, prefix + name, "the file was changed after it was indexed"))
        else:
            sound.append(name)
    if digests:
        found += _check_digests(archive, directory, sound)
    if not os.path.isabs(directory):
        for name in files.keys() - rows.keys():
            try:
                archive.read_record(os.path.join(path, name))
            except InputError:
                continue  # not DICOM: none of the archive's business
            found.append(Difference(UNINDEXED, prefix + name, "a DICOM file the index does not have"))
    if progress is not None:
        progress(len(files), sum(facts.st_size for facts in files.values()))
    return found, below


def _check_digests(archive: Archive, directory: str, names: list[str]) -> list[Difference]:
    """Compare the files' content with the digests noted, and note those there are none of."""
    path = archive.directories.absolute(directory)
    prefix = f"{directory}/" if directory else ""
    noted = {name: fact.digest for name, fact in _facts_in(archive.index, directory).items()}
    found: list[Difference] = []
    new: dict[str, str] = {}
    for name in names:
        try:
            now = digest(os.path.join(path, name))
        except InputError as error:
            found.append(Difference(DAMAGED, prefix + name, error.message))
            continue
        if noted.get(name) is None:
            new[name] = now
        elif noted[name] != now:
            found.append(Difference(DAMAGED, prefix + name, "the content is not what it was"))
    if new:
        archive.index.write(lambda connection: _note_digests(connection, directory, new))
    return found


class _Fact(NamedTuple):
    """What only the index knows of a file."""

    size: int
    mtime_ns: int
    received: int
    digest: str | None


def _facts_in(index: Index, directory: str) -> dict[str, _Fact]:
    with index.reading() as connection:
        rows = connection.execute(
            "SELECT i.name, i.size, i.mtime_ns, i.received, i.digest FROM instance i"
            " JOIN directory d ON d.id = i.directory WHERE d.path = ?",
            (directory,),
        )
        return {name: _Fact(*facts) for name, *facts in rows}


def _note_digests(connection: sqlite3.Connection, directory: str, digests: dict[str, str]) -> None:
    for name, value in digests.items():
        connection.execute(
            "UPDATE instance SET digest = ? WHERE name = ? AND directory = (SELECT id FROM directory WHERE path = ?)",
            (value, name, directory),
        )


def _repair(archive: Archive, directory: str, differences: list[Difference]) -> None:
    if os.path.isabs(directory):
        archive.index.remove(
            [(directory, each.path.rpartition("/")[2]) for each in differences if each.kind == MISSING]
        )
    else:
        reconcile(archive, directory)


def rebuild(archive: Archive, *, jobs: int = 1, progress: Progress | None = None) -> Added:
    """Make the index anew from all files of the archive, and those indexed in place where the old index tells them.

    The old index serves until the new one is complete.

    Raises:
        OutputError: another process uses the archive, or the new index cannot be written.
    """
    own = os.path.dirname(archive.index.path)
    with locked(os.path.join(own, "lock")):
        if others_active(os.path.join(own, "incoming"), archive.slot().path):
            raise OutputError("another process uses the archive", hint="stop it, or use 'dcmkit index check --repair'")
        new = Index(archive.index.path + ".new", "none")
        _remove_index(new.path)
        new.open()
        result = fill(archive, new, files_in_place(archive.index), jobs=jobs, progress=progress)
        _carry_over(archive, new)
        new.close()
        archive.index.close()
        _remove_index(archive.index.path, but_itself=True)
        os.replace(new.path, archive.index.path)
        if archive.settings.durability == "full":
            disk.sync_directory(own)
    return result


def _carry_over(archive: Archive, new: Index) -> None:
    """What only the old index knows of files that did not change: when they came, and their digests."""

    def work(connection: sqlite3.Connection) -> None:
        for directory in new.directories():
            for name, fact in _facts_in(archive.index, directory).items():
                connection.execute(
                    "UPDATE instance SET received = ?, digest = ? WHERE name = ? AND size = ? AND mtime_ns = ?"
                    " AND directory = (SELECT id FROM directory WHERE path = ?)",
                    (fact.received, fact.digest, name, fact.size, fact.mtime_ns, directory),
                )

    try:
        new.write(work)
    except OutputError as error:
        log.warning("times of receipt and digests are not told by the old index (%s)", error)


def _remove_index(path: str, *, but_itself: bool = False) -> None:
    for suffix in ("-wal", "-shm") if but_itself else ("", "-wal", "-shm"):
        disk.remove(path + suffix)


class Statistics(NamedTuple):
    """What is in an archive.

    Attributes:
        counts: patients, studies, series, instances, bytes (of files), bytes_of_index.
        parts: instances and bytes by modality, SOP class and transfer syntax: (keyword, value, instances, bytes).
    """

    counts: dict[str, int]
    parts: list[tuple[str, str, int, int]]


_PARTS = {
    "Modality": "SELECT e.Modality, COUNT(*), SUM(i.size) FROM instance i JOIN series e ON e.id = i.series GROUP BY 1",
    "SOPClassUID": "SELECT SOPClassUID, COUNT(*), SUM(size) FROM instance GROUP BY 1",
    "TransferSyntaxUID": "SELECT transfer_syntax_uid, COUNT(*), SUM(size) FROM instance GROUP BY 1",
}


def statistics(archive: Archive) -> Statistics:
    """Count. Raises: OutputError."""
    rows = archive.index.count()
    parts: list[tuple[str, str, int, int]] = []
    with archive.index.reading() as connection:
        size = int(connection.execute("SELECT COALESCE(SUM(size), 0) FROM instance").fetchone()[0])
        for keyword, sql in _PARTS.items():
            for value, number, length in connection.execute(sql + " ORDER BY 2 DESC"):
                parts.append((keyword, value or "", number, length))
    counts = {
        "patients": rows["patient"],
        "studies": rows["study"],
        "series": rows["series"],
        "instances": rows["instance"],
        "bytes": size,
        "bytes_of_index": _size_of_index(archive.index.path),
    }
    return Statistics(counts, parts)


def _size_of_index(path: str) -> int:
    return sum(os.stat(path + end).st_size for end in ("", "-wal", "-shm") if os.path.exists(path + end))
