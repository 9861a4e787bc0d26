"""Files of credentials: one entry a line, `#` before a comment; read again when they change.

A line that is no entry is an error at the start. In a file that changes while a server runs it is logged and left out,
and a file that has become unreadable allows nobody: who is no longer listed must not get in.
"""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING, Generic, TypeVar

from dcmkit.errors import InputError, OutputError, UsageError
from dcmkit.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable

log = get_logger("web")

LARGEST = 4 << 20
"""Bytes of a file that is read."""

_SETTLED = 100_000_000
"""Nanoseconds after which a change of a file is sure to change its time as well."""

ValueT = TypeVar("ValueT")
EntryT = TypeVar("EntryT")


class WatchedFile(Generic[ValueT]):
    """What a file says, as it is now.

    Args:
        load: reads it; is told whether it is the start, and everything has to be right.
        nothing: what it says when it cannot be read.

    Raises:
        InputError, UsageError: what `load` raises at the start.
    """

    def __init__(self, path: str, load: Callable[[bool], ValueT], nothing: ValueT) -> None:
        self.path = path
        self._load = load
        self._nothing = nothing
        self._lock = threading.Lock()
        self._failed = False
        self._signature = _signature(path)
        self._value = load(True)

    def current(self) -> ValueT:
        """What it says; not to be changed."""
        if self._signature is None or self._signature != _signature(self.path):
            with self._lock:
                self._reload()
        return self._value

    def _reload(self) -> None:
        signature = _signature(self.path)  # before reading: a change in between is seen the next time
        try:
            self._value, self._signature, self._failed = self._load(False), signature, False
        except (InputError, UsageError) as error:
            if not self._failed:
                log.error("%s; nobody gets in by it", error)
            self._value, self._signature, self._failed = self._nothing, signature, True


class CredentialFile(Generic[EntryT]):
    """The entries of a file, by key, as the file is now.

    Args:
        what: the file is called in errors and logs, for example `password file`.
        parse: a line to a key and an entry; raises UsageError, whose message must not quote it.

    Raises:
        InputError: it cannot be read.
        UsageError: a line of it is no entry.
    """

    def __init__(self, path: str, what: str, parse: Callable[[str], tuple[str, EntryT]]) -> None:
        self.path = path
        self._what = what
        self._parse = parse
        self._file: WatchedFile[dict[str, EntryT]] = WatchedFile(path, self._load, {})
        warn_of_readers(path, what)

    def entries(self) -> dict[str, EntryT]:
        """What is in the file; not to be changed."""
        return self._file.current()

    def get(self, key: str) -> EntryT | None:
        """The entry of this key."""
        return self._file.current().get(key)

    def _load(self, strict: bool) -> dict[str, EntryT]:
        entries: dict[str, EntryT] = {}
        for number, line in enumerate(read_lines(self.path, self._what), 1):
            wanted = line.strip()
            if not wanted or wanted.startswith("#"):
                continue
            try:
                key, entry = self._parse(wanted)
                if key in entries:
                    raise UsageError("the same as a line before it")
                entries[key] = entry
            except UsageError as error:
                said = f"{self._what} {self.path}, line {number}: {error}"
                if strict:
                    raise UsageError(said) from None
                log.error("%s; it is left out", said)
        return entries


def read_lines(path: str, what: str) -> list[str]:
    """The lines of a file.

    Raises:
        InputError: it cannot be read, is too long, or is not UTF-8.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise InputError(f"{what} {path} has more than {LARGEST} bytes")
        return content.decode("utf-8-sig").split("\n")
    except OSError as error:
        raise InputError(f"{what} {path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{what} {path} is not UTF-8 at byte {error.start}") from None


def write_lines(path: str, what: str, lines: list[str]) -> None:
    """Put lines in place of a file's, all or nothing; a new file can be read by its owner only.

    Raises:
        OutputError: it cannot be written.
    """
    target = os.path.realpath(path)
    temporary = f"{target}.{os.getpid()}-{threading.get_ident():x}.part"
    try:
        try:
            mode = os.stat(target).st_mode & 0o777
        except FileNotFoundError:
            mode = 0o600
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600)
        try:
            with open(fd, "w", encoding="utf-8", newline="\n") as file:
                file.writelines(f"{line}\n" for line in lines)
                file.flush()
                os.fsync(fd)
            os.chmod(temporary, mode)
            os.replace(temporary, target)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise OutputError(f"{what} {path} cannot be written: {error.strerror or error}") from None


def change(path: str, what: str, edit: Callable[[list[str]], list[str]]) -> None:
    """Read a file's lines (none where there is no file), and write what `edit` makes of them.

    Raises:
        InputError: it is there and cannot be read.
        OutputError: it cannot be written.
    """
    lines = read_lines(path, what) if os.path.exists(path) else []
    while lines and not lines[-1].strip():
        lines.pop()
    write_lines(path, what, edit(lines))


def _signature(path: str) -> tuple[int, ...] | None:
    """What differs when the file does; None where that cannot be told: it has only just changed, or is not there."""
    try:
        facts = os.stat(path)
    except OSError:
        return None
    if abs(time.time_ns() - facts.st_mtime_ns) < _SETTLED:
        return None
    return facts.st_mtime_ns, facts.st_ctime_ns, facts.st_size, facts.st_ino


def warn_of_readers(path: str, what: str) -> None:
    """Say it where everybody on this machine can read what should be secret."""
    try:
        readable = os.name == "posix" and os.stat(path).st_mode & 0o004
    except OSError:
        return
    if readable:
        log.warning("%s %s can be read by every user of this machine (chmod o-r)", what, path)
