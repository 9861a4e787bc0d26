"""Each process that writes has a slot: a directory for objects on their way in, locked while the process lives.

The lock is the system's, on an open file, so it goes when the process goes, whatever kills it; no process id is
trusted. A slot nobody holds is what a dead process left.
"""

from __future__ import annotations

import itertools
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager

from dcmkit.archive import disk

_OWNER = "owner"
_BEING_MADE = 60.0
"""Seconds after which a slot without an owner will never get one."""


def lock(fd: int) -> bool:
    """Lock an open file for this process; False when another holds it."""
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        else:
            import fcntl

            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@contextmanager
def locked(path: str) -> Iterator[None]:
    """Only one process at a time is in this block. Raises: OSError."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
    try:
        if os.name == "nt":
            while not lock(fd):
                time.sleep(0.05)
        else:
            import fcntl

            fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


class Slot:
    """This process's place in `incoming`, a directory of the archive. Raises: OSError."""

    def __init__(self, incoming: str) -> None:
        self._numbers = itertools.count()
        while True:
            self.path = os.path.join(incoming, f"{os.getpid()}-{secrets.token_hex(4)}")
            os.mkdir(self.path)
            owner = os.path.join(self.path, _OWNER)
            try:
                self._fd = disk.create(owner)
            except FileNotFoundError:  # taken for an abandoned one; the next is luckier
                continue
            if lock(self._fd) and os.path.exists(owner):
                os.write(self._fd, boot_id().encode())
                return
            os.close(self._fd)

    def temporary(self) -> str:
        """A path nobody else uses."""
        return f"{self.path}/{next(self._numbers)}"

    def leave(self) -> None:
        """In a new process: the slot is its parent's."""
        os.close(self._fd)

    def close(self) -> None:
        """The orderly end: the slot goes."""
        clear(self.path)
        os.close(self._fd)
        _remove(self.path)


def clear(path: str) -> int:
    """Remove the objects in a slot; how many there were."""
    objects = [name for name in _names(path) if name != _OWNER]
    for name in objects:
        at = os.path.join(path, name)
        if os.path.isdir(at):  # frames that were being cleaned
            shutil.rmtree(at, ignore_errors=True)
        else:
            disk.remove(at)
    return len(objects)


def abandoned(incoming: str) -> Iterator[tuple[str, bool]]:
    """The slots of processes that died; each is locked while the caller looks at it, and removed then.

    With each comes whether the system was started anew since: its process may have ended in a power cut.
    """
    for name in sorted(_names(incoming)):
        path = os.path.join(incoming, name)
        try:
            fd = os.open(os.path.join(path, _OWNER), os.O_RDWR)
        except OSError:
            _remove_unowned(path)
            continue
        try:
            dead = lock(fd)
            if dead:
                before = os.read(fd, 64).decode("ascii", "replace")
                yield path, not before or before != boot_id()
        finally:
            os.close(fd)
        if dead:
            _remove(path)


def others_active(incoming: str, own: str) -> bool:
    """Whether a slot besides `own` is held by a living process."""
    for name in _names(incoming):
        path = os.path.join(incoming, name)
        if path == own:
            continue
        try:
            fd = os.open(os.path.join(path, _OWNER), os.O_RDWR)
        except OSError:
            continue
        try:
            if not lock(fd):
                return True
        finally:
            os.close(fd)
    return False


def boot_id() -> str:
    """What tells one run of the system from the next, or "" where nothing does."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def _remove(path: str) -> None:
    disk.remove(os.path.join(path, _OWNER))
    try:
        os.rmdir(path)
    except OSError:
        pass


def _remove_unowned(path: str) -> None:
    """A slot without an owner is just being made, or was when its process died."""
    try:
        if time.time() - os.stat(path).st_mtime > _BEING_MADE:
            os.rmdir(path)
    except OSError:
        pass


def _names(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except OSError:
        return []
