"""What the archive asks of a file system: exclusive names, syncs, comparing; and its errors as ours."""

from __future__ import annotations

import errno
import os

from dcmkit.dataset.part10 import read_at
from dcmkit.errors import OutputError

_CHUNK = 1 << 20
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_READ = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EXDEV})

sync_data = getattr(os, "fdatasync", os.fsync)

_ADVISE = getattr(os, "posix_fadvise", None)


def begin_sync(fd: int) -> None:
    """Have the system write a file out, without waiting: syncing several then takes one journal commit, not each one.

    Linux does that for who says that the content will not be needed; what is still to be written stays in memory.
    """
    if _ADVISE is not None:
        try:
            _ADVISE(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        except OSError:  # it is a hint
            pass


_MESSAGES = {
    errno.ENOSPC: "out of disk space",
    errno.EDQUOT: "out of disk quota",
    errno.EROFS: "the archive is read-only",
    errno.EACCES: "no permission to write to the archive",
    errno.EPERM: "no permission to write to the archive",
    errno.EMFILE: "out of file descriptors",
    errno.ENFILE: "out of file descriptors",
    errno.ENAMETOOLONG: "the archive's file name is too long",
    errno.EIO: "input/output error of the disk",
    errno.ENOENT: "the archive's directory is gone",
}


def output_error(error: OSError) -> OutputError:
    """An error of the system as ours: short, without a path (it goes to the peer); the path is in the hint."""
    message = _MESSAGES.get(error.errno or 0) or f"cannot write: {error.strerror or error}"
    return OutputError(message[:64], hint=str(error))


def create(path: str) -> int:
    """A new file, open for writing; FileExistsError where there is one."""
    return os.open(path, _CREATE, 0o644)


def open_for_reading(path: str) -> int:
    """A file, open for reading."""
    return os.open(path, _READ)


def give_name(temporary: str, final: str) -> None:
    """Move a file to a name nobody has; FileExistsError, and nothing done, where somebody has it.

    Where the file system has no hard links, the name is claimed by an empty file first: a reader could see that one.
    """
    try:
        os.link(temporary, final)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        os.close(create(final))
        try:
            os.replace(temporary, final)
        except BaseException:
            os.unlink(final)
            raise
        return
    os.unlink(temporary)


def sync_directory(path: str) -> None:
    """Make the names in a directory survive a power cut (where the system can)."""
    if os.name == "nt":
        return
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def remove(path: str) -> None:
    """Remove a file that may be gone already, whatever happens."""
    try:
        os.unlink(path)
    except OSError:
        pass


def same_data_set(first: str, first_offset: int, second: str, second_offset: int) -> bool:
    """Whether two files hold the same bytes from the given offsets on."""
    one = open_for_reading(first)
    try:
        other = open_for_reading(second)
        try:
            length = os.fstat(one).st_size - first_offset
            if os.fstat(other).st_size - second_offset != length:
                return False
            for at in range(0, length, _CHUNK):
                if read_at(one, _CHUNK, first_offset + at) != read_at(other, _CHUNK, second_offset + at):
                    return False
            return True
        finally:
            os.close(other)
    finally:
        os.close(one)
