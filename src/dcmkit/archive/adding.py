"""Index files where they lie: `dcmkit index add`, and the reading half of `rebuild`.

Files are neither copied nor changed. What is indexed already, with the same size and time, is passed over, so an
interrupted run goes on where it was. Several processes may read headers; one writes the index.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from dcmkit.archive import disk
from dcmkit.archive.attributes import Attribute
from dcmkit.archive.directories import OWN, list_directory
from dcmkit.archive.reading import read_record
from dcmkit.archive.record import Record
from dcmkit.errors import DcmkitError, InputError
from dcmkit.uids import MEDIA_STORAGE_DIRECTORY_STORAGE

if TYPE_CHECKING:
    from concurrent.futures import Future

    from dcmkit.archive.index import Index
    from dcmkit.archive.store import Archive

_CHUNK = 64
_BATCH = 500
_WORTH_PROCESSES = 1000
"""Fewer files are read by this process alone: starting others takes longer."""

Problem = Callable[[str, DcmkitError], None]
Progress = Callable[[int, int], None]


class Added(NamedTuple):
    """How many files were added or brought up to date, were known already, or could not be taken; and bytes added."""

    added: int
    known: int
    failed: int
    size: int


class _Chunk(NamedTuple):
    """Some files of one directory, to be read in one go."""

    path: str
    directory: str
    names: list[str]
    size: int


class _Job(NamedTuple):
    """What a reading process needs to know."""

    wanted: frozenset[int]
    extra: tuple[Attribute, ...]
    lenient: bool
    digests: bool


def add(
    archive: Archive,
    paths: Sequence[str],
    *,
    jobs: int = 1,
    digests: bool = False,
    problem: Problem | None = None,
    progress: Progress | None = None,
) -> Added:
    """Index the DICOM files in `paths` (files, or directories with all below them).

    Args:
        jobs: processes that read headers; 0 is one per core.
        digests: note each file's SHA-256, for `check`.
        problem: told of each file that is not taken, and why.
        progress: told the files and bytes done since the last call.

    Raises:
        OutputError: the index cannot be written.
    """
    adder = Adder(archive, archive.index, digests=digests, lenient=False, problem=problem, progress=progress)
    return adder.run(walk([os.path.realpath(path) for path in paths], adder.refuse), jobs)


def fill(
    archive: Archive,
    index: Index,
    in_place: Mapping[str, Collection[str]],
    *,
    jobs: int = 1,
    progress: Progress | None = None,
) -> Added:
    """Take all files of the archive into an empty index, and those `in_place`: names by absolute directory.

    Raises:
        OutputError: the index cannot be written.
    """
    adder = Adder(archive, index, digests=False, lenient=archive.lenient, progress=progress)
    return adder.run(_all_directories(archive, in_place), jobs)


def _all_directories(
    archive: Archive, in_place: Mapping[str, Collection[str]]
) -> Iterator[tuple[str, dict[str, os.stat_result]]]:
    directories_left = [""]
    while directories_left:
        directory = directories_left.pop()
        path = archive.directories.absolute(directory)
        files, below = list_directory(path, directory)
        yield path, files
        directories_left += below
    for path, names in in_place.items():
        files, _ = list_directory(path, path)
        yield path, {name: facts for name, facts in files.items() if name in names}


class Adder:
    """Takes the files of directories into an index."""

    def __init__(
        self,
        archive: Archive,
        index: Index,
        *,
        digests: bool,
        lenient: bool,
        problem: Problem | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._index = index
        self._inside = archive.directories.root.rstrip(os.sep) + os.sep
        self._root = archive.directories.root
        self._job = _Job(archive.wanted, archive.extra, lenient, digests)
        self._problem = problem
        self._progress = progress
        self._batch: list[Record] = []
        self._added = self._known = self._failed = self._size = 0

    def refuse(self, path: str, error: DcmkitError) -> None:
        """Count and report what is not taken."""
        self._failed += 1
        if self._problem is not None:
            self._problem(path, error)

    def run(self, directories: Iterable[tuple[str, dict[str, os.stat_result]]], jobs: int) -> Added:
        """Take the files of `directories` (absolute path, files). Raises: OutputError."""
        chunks = self._chunks(directories)
        if jobs == 0:
            jobs = os.cpu_count() or 1
        first: list[_Chunk] = []
        while jobs > 1 and sum(len(chunk.names) for chunk in first) < _WORTH_PROCESSES:
            chunk = next(chunks, None)
            if chunk is None:
                jobs = 1
            else:
                first.append(chunk)
        if jobs > 1:
            self._run_processes(first, chunks, jobs)
        else:
            for chunk in (*first, *chunks):
                self._take(chunk, _read_chunk(chunk, self._job))
        self._write()
        return Added(self._added, self._known, self._failed, self._size)

    def _run_processes(self, first: list[_Chunk], chunks: Iterator[_Chunk], jobs: int) -> None:
        from concurrent.futures import ProcessPoolExecutor
        from multiprocessing import get_context

        waiting: deque[tuple[_Chunk, Future[list[tuple[str, Record | DcmkitError]]]]] = deque()
        pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"))
        try:
            for chunk in (*first, *chunks):
                waiting.append((chunk, pool.submit(_read_chunk, chunk, self._job)))
                if len(waiting) > jobs * 4:
                    done, future = waiting.popleft()
                    self._take(done, future.result())
            for done, future in waiting:
                self._take(done, future.result())
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _chunks(self, directories: Iterable[tuple[str, dict[str, os.stat_result]]]) -> Iterator[_Chunk]:
        for path, files in directories:
            directory = self._relative(path)
            if directory is None:
                self.refuse(path, InputError("the directory's name is not UTF-8"))
                continue
            known = self._index.files_in(directory)
            names: list[str] = []
            size = 0
            for name, facts in files.items():
                if known.get(name) == (facts.st_size, facts.st_mtime_ns):
                    self._known += 1
                elif not _is_text(name):
                    self.refuse(os.path.join(path, name), InputError("the file's name is not UTF-8"))
                else:
                    names.append(name)
                    size += facts.st_size
                if len(names) == _CHUNK:
                    yield _Chunk(path, directory, names, size)
                    names, size = [], 0
            if names:
                yield _Chunk(path, directory, names, size)

    def _relative(self, path: str) -> str | None:
        """As the index names it: relative inside the archive, else absolute; None when it is no text."""
        if path == self._root:
            return ""
        if path.startswith(self._inside):
            path = path[len(self._inside) :].replace(os.sep, "/")
        return path if _is_text(path) else None

    def _take(self, chunk: _Chunk, results: list[tuple[str, Record | DcmkitError]]) -> None:
        for name, result in results:
            if isinstance(result, DcmkitError):
                self.refuse(os.path.join(chunk.path, name), result)
            elif result.sop_class_uid != MEDIA_STORAGE_DIRECTORY_STORAGE:
                result.directory, result.name = chunk.directory, name
                self._batch.append(result)
                self._added += 1
                self._size += result.size
        if len(self._batch) >= _BATCH:
            self._write()
        if self._progress is not None:
            self._progress(len(chunk.names), chunk.size)

    def _write(self) -> None:
        if self._batch:
            self._index.insert(self._batch)
            self._batch = []


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _read_chunk(chunk: _Chunk, job: _Job) -> list[tuple[str, Record | DcmkitError]]:
    """In a reading process: the record of each file, or why there is none."""
    results: list[tuple[str, Record | DcmkitError]] = []
    for name in chunk.names:
        path = os.path.join(chunk.path, name)
        try:
            record = read_record(path, job.wanted, job.extra, lenient=job.lenient)
            if job.digests:
                record.digest = digest(path)
        except DcmkitError as error:
            results.append((name, InputError(error.message, hint=error.hint)))
        else:
            results.append((name, record))
    return results


def digest(path: str) -> str:
    """SHA-256 of a file, hexadecimal. Raises: InputError."""
    try:
        total = sha256()
        fd = disk.open_for_reading(path)
        try:
            while piece := os.read(fd, 1 << 20):
                total.update(piece)
        finally:
            os.close(fd)
        return total.hexdigest()
    except OSError as error:
        raise InputError(f"the file cannot be read: {error.strerror}") from None


def walk(paths: Iterable[str], problem: Problem) -> Iterator[tuple[str, dict[str, os.stat_result]]]:
    """Every directory under `paths` with its regular files; a file among `paths` counts as one of its directory.

    Symbolic links are followed, each directory is visited once, archives' own directories are left out.
    """
    seen: set[tuple[int, int]] = set()
    directories_left: list[str] = []
    for path in paths:
        try:
            facts = os.stat(path)
        except OSError as error:
            problem(path, InputError(f"it cannot be read: {error.strerror}"))
            continue
        if os.path.isdir(path):
            directories_left.append(path)
        else:
            yield os.path.dirname(path), {os.path.basename(path): facts}
    directories_left.reverse()
    while directories_left:
        path = directories_left.pop()
        try:
            facts = os.stat(path)
            if (facts.st_dev, facts.st_ino) in seen and facts.st_ino:
                continue
            seen.add((facts.st_dev, facts.st_ino))
            files, below = _list(path, problem)
        except OSError as error:
            problem(path, InputError(f"the directory cannot be read: {error.strerror}"))
            continue
        yield path, files
        directories_left += reversed(below)


def _list(path: str, problem: Problem) -> tuple[dict[str, os.stat_result], list[str]]:
    files: dict[str, os.stat_result] = {}
    below: list[str] = []
    with os.scandir(path) as entries:
        for entry in sorted(entries, key=lambda each: each.name):
            try:
                if entry.is_dir():
                    if entry.name != OWN:
                        below.append(os.path.realpath(entry.path) if entry.is_symlink() else entry.path)
                elif entry.is_file():
                    files[entry.name] = entry.stat()
                else:
                    problem(entry.path, InputError("it is not a regular file"))
            except OSError as error:
                problem(entry.path, InputError(f"it cannot be read: {error.strerror}"))
    return files, below
