"""From paths a person names to the files below them: every tool that takes "files and directories" takes them here."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator

from dcmkit.errors import InputError

DICOMDIR = "DICOMDIR"

Problem = Callable[[str, InputError], None]


def find_files(
    paths: Iterable[str], problem: Problem, *, recurse: bool = True, pattern: str = "", directories: bool = False
) -> Iterator[str]:
    """The files named, and those in the directories named, in the order of their names.

    A directory is entered once, however many links lead to it. DICOMDIR files (PS3.10 8.6) describe others and hold
    no object: they are left out below directories. Everything else that is no readable regular file is a problem.

    Args:
        paths: files and directories.
        problem: called with a path and what is wrong with it.
        recurse: enter directories below the directories named.
        pattern: only files below directories whose names match this (`*`, `?`, `[...]`); empty is all.
        directories: leave no DICOMDIR out.
    """
    seen: set[tuple[int, int]] = set()
    for path in paths:
        try:
            found = os.stat(path)
        except (OSError, ValueError) as error:
            problem(path, _error(error))
            continue
        if stat.S_ISDIR(found.st_mode):
            yield from _below(path, problem, seen, recurse, _matcher(pattern, directories))
        elif stat.S_ISREG(found.st_mode):
            yield path
        else:
            problem(path, InputError("is not a regular file"))


def _matcher(pattern: str, directories: bool) -> Callable[[str], bool]:
    if not pattern:
        return lambda name: directories or name != DICOMDIR
    from fnmatch import fnmatchcase

    return lambda name: (directories or name != DICOMDIR) and fnmatchcase(name, pattern)


def _below(
    root: str, problem: Problem, seen: set[tuple[int, int]], recurse: bool, matches: Callable[[str], bool]
) -> Iterator[str]:
    waiting = [root]
    while waiting:
        directory = waiting.pop()
        try:
            found = os.stat(directory)
            if (found.st_dev, found.st_ino) in seen and found.st_ino:
                continue
            seen.add((found.st_dev, found.st_ino))
            with os.scandir(directory) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            problem(directory, _error(error))
            continue
        directories = []
        for entry in listed:
            try:
                if entry.is_dir():
                    directories.append(entry.path)
                elif not matches(entry.name):
                    continue
                elif entry.is_file():
                    yield entry.path
                else:
                    problem(entry.path, InputError("is not a regular file"))
            except OSError as error:
                problem(entry.path, _error(error))
        if recurse:
            waiting.extend(reversed(directories))


def _error(error: OSError | ValueError) -> InputError:
    reason = getattr(error, "strerror", None) or str(error)
    return InputError(f"cannot be read: {reason}")
