"""Files without a name: nobody sees them before they are complete, and nothing is left when the process dies."""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Callable, Iterable
from contextlib import suppress

from dcmkit.deid.pieces import Buffer

Check = Callable[[memoryview, Callable[[], None]], None]
"""Is shown a whole file, and what to call when what was read of it is not needed any more."""

_BY_DESCRIPTOR = "/proc/self/fd"
_BLOCK = 1 << 20
_AT_ONCE = 512
"""Buffers given to the system in one call."""


class UnnamedFile:
    """A file being written; where the system knows no files without a name, one whose name only we know.

    Args:
        candidate: a path that nobody else uses, in the directory where the file is made.
        mode: who may read it.

    Attributes:
        fd: open for reading and writing.
        path: how this process may open it again.

    Raises:
        OSError: by every method.
    """

    def __init__(self, candidate: str, *, mode: int = 0o666) -> None:
        self._directory, self._name = os.path.dirname(candidate) or ".", ""
        flags = getattr(os, "O_TMPFILE", 0)
        self.fd = -1
        if flags and os.path.isdir(_BY_DESCRIPTOR):
            with suppress(OSError):
                self.fd = os.open(self._directory, flags | os.O_RDWR | os.O_CLOEXEC, mode)
                self.path = f"{_BY_DESCRIPTOR}/{self.fd}"
        if self.fd < 0:
            how = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
            self.fd = os.open(candidate, how, mode)
            self.path = self._name = candidate

    def __enter__(self) -> UnnamedFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """It goes, unless it was given a name."""
        os.close(self.fd)
        if self._name:
            with suppress(OSError):
                os.unlink(self._name)

    def write(self, pieces: Iterable[Buffer]) -> None:
        """Append; pieces that are ready are handed over together, and not copied."""
        if not hasattr(os, "writev"):
            for piece in pieces:
                self._write_all(piece)
            return
        waiting: list[Buffer] = []
        size = 0
        for piece in pieces:
            waiting.append(piece)
            size += len(piece)
            if size >= _BLOCK or len(waiting) >= _AT_ONCE:
                self._flush(waiting, size)
                waiting, size = [], 0
        if waiting:
            self._flush(waiting, size)

    def _flush(self, waiting: list[Buffer], size: int) -> None:
        done = os.writev(self.fd, waiting)
        if done == size:
            return
        for piece in waiting:  # the disk took a part of it, or there is more than fits one call
            if done >= len(piece):
                done -= len(piece)
            else:
                self._write_all(memoryview(piece)[done:])
                done = 0

    def _write_all(self, piece: Buffer) -> None:
        view = memoryview(piece)
        while view:
            view = view[os.write(self.fd, view) :]

    def show(self, check: Check) -> None:
        """Let all of it be looked at. Raises: what `check` raises, too."""
        content = mmap.mmap(self.fd, 0, access=mmap.ACCESS_READ)
        try:
            with memoryview(content) as view:
                check(view, lambda: content.madvise(mmap.MADV_DONTNEED) if hasattr(mmap, "MADV_DONTNEED") else None)
        finally:
            with suppress(BufferError):  # whoever looked at it still holds a part: it goes with that
                content.close()

    def link(self, target: str) -> bool:
        """Give it a name that nobody has; whether it worked."""
        try:
            if self._name:
                os.link(self._name, target)
            else:
                # With a directory given, Python asks for links to be followed; the path is absolute all the same.
                os.link(self.path, target, src_dir_fd=self.fd, follow_symlinks=True)
        except FileExistsError:
            return False
        return True

    def replace(self, target: str) -> None:
        """Give it a name that another has."""
        name = os.path.join(self._directory, f".dcmkit-{os.urandom(8).hex()}.part")
        self.link(name)
        os.replace(name, target)

    def digest(self) -> str:
        """Of what was written."""
        return digest_of(self.path)


def digest_of(path: str) -> str:
    """Of a file."""
    found = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        while block := file.read(_BLOCK):
            found.update(block)
    return found.hexdigest()
