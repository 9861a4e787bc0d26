"""The secret key that all pseudonyms come from: a text file that only its owner may read.

Whoever has the key can tell which pseudonym belongs to a known value; without it nothing can be recomputed.
"""

from __future__ import annotations

import os

from dcmkit.errors import InputError, OutputError, UsageError

SIZE = 32
"""Bytes of a key: as many as HMAC-SHA256 makes use of (RFC 2104 3)."""

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
_LARGEST = 4096
_COMMENT = "# A key of dcmkit anonymize. Who has it can find out which pseudonym belongs to whom: keep it secret.\n"


def ephemeral() -> bytes:
    """A key for one run, never written anywhere."""
    return os.urandom(SIZE)


def create(path: str) -> None:
    """Write a new key to a new file that only its owner may read and write.

    Raises:
        UsageError: there is something of that name already.
        OutputError: it cannot be written.
    """
    text = _COMMENT + os.urandom(SIZE).hex() + "\n"
    try:
        fd = os.open(path, _CREATE, 0o600)
    except FileExistsError:
        raise UsageError(f"{path} is there already", hint="a key is never replaced; name another file") from None
    except OSError as error:
        raise OutputError(f"the key {path} cannot be written: {error.strerror or error}") from None
    try:
        with open(fd, "w", encoding="ascii", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(fd)
    except OSError as error:
        os.unlink(path)
        raise OutputError(f"the key {path} cannot be written: {error.strerror or error}") from None


def read(path: str) -> bytes:
    """The key in a file that `create` wrote.

    Raises:
        InputError: it cannot be read.
        UsageError: it holds no key.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(_LARGEST + 1)
    except OSError as error:
        raise InputError(f"the key {path} cannot be read: {error.strerror or error}") from None
    lines = [line.strip() for line in content.splitlines()]
    wanted = [line for line in lines if line and not line.startswith(b"#")]
    try:
        key = bytes.fromhex(wanted[0].decode("ascii")) if len(wanted) == 1 and len(content) <= _LARGEST else b""
    except ValueError:
        key = b""
    if len(key) != SIZE:
        raise UsageError(f"{path} holds no key", hint=f"make one with: dcmkit anonymize keygen {path}.new")
    return key
