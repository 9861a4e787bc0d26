"""What is sent as the body of a request: byte strings and ranges of files, one after the other, never joined.

A body is a sequence, so that it can be sent again, and its length is known before the first byte.
"""

from __future__ import annotations

import os
import select
import socket
import time
from typing import TYPE_CHECKING, NamedTuple

from dcmkit.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable

PIECE = 256 * 1024
"""Bytes read from a file at a time where the system cannot copy them to the socket itself."""
_SHORT = 64 * 1024
_SENDFILE = getattr(os, "sendfile", None)


class FileRange(NamedTuple):
    """Some bytes of a file."""

    path: str
    offset: int
    length: int


Piece = bytes | memoryview | FileRange


class FileChangedError(InputError):
    """A file cannot be read while it is being sent, or has become shorter: the request is broken off.

    Attributes:
        path: which one.
    """

    def __init__(self, message: str, path: str) -> None:
        super().__init__(message, hint="send it again")
        self.path = path


class Answered(Exception):  # noqa: N818 - no error, and never leaves the client
    """The peer answered before it had everything, and reads no further."""


def length_of(body: Iterable[Piece]) -> int:
    """How many bytes that is."""
    return sum(piece.length if isinstance(piece, FileRange) else len(piece) for piece in body)


def send(connection: socket.socket, body: Iterable[Piece], timeout: float) -> None:
    """Send a body.

    Args:
        connection: connected, with a time-out set.
        timeout: seconds in which at least one more byte has to go out.

    Raises:
        OSError, TimeoutError: the connection is lost, or the peer reads nothing more.
        Answered: the peer does not read any more, but has said something.
        FileChangedError: a file is not what it was; the connection is of no more use.
    """
    small: list[bytes | memoryview] = []
    for piece in body:
        if isinstance(piece, FileRange):
            if piece.length:
                _send_small(connection, small, timeout)
                _send_range(connection, piece, timeout)
        else:
            small.append(piece)
    _send_small(connection, small, timeout)


def _send_small(connection: socket.socket, pieces: list[bytes | memoryview], timeout: float) -> None:
    """Byte strings that follow each other: if they are short, they go out together."""
    if len(pieces) > 1 and sum(map(len, pieces)) <= _SHORT:
        pieces[:] = [b"".join(pieces)]
    for data in pieces:
        _send_bytes(connection, data, timeout)
    pieces.clear()


def _send_bytes(connection: socket.socket, data: bytes | memoryview, timeout: float) -> None:
    if type(connection) is not socket.socket:  # TLS; `ssl` itself is not looked at: it takes a while to import
        connection.sendall(data)
        return
    view = memoryview(data)
    while view:
        _wait(connection, timeout)
        view = view[connection.send(view) :]


def _send_range(connection: socket.socket, piece: FileRange, timeout: float) -> None:
    try:
        descriptor = os.open(piece.path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0))
    except OSError as error:
        raise FileChangedError(f"the file cannot be read any more: {error.strerror}", piece.path) from None
    try:
        if _SENDFILE is not None and type(connection) is socket.socket:
            _send_file(connection, descriptor, piece, timeout)
        else:
            _send_read(connection, descriptor, piece, timeout)
    finally:
        os.close(descriptor)


def _send_file(connection: socket.socket, descriptor: int, piece: FileRange, timeout: float) -> None:
    assert _SENDFILE is not None
    position, end = piece.offset, piece.offset + piece.length
    while position < end:
        _wait(connection, timeout)
        try:
            sent = _SENDFILE(connection.fileno(), descriptor, position, min(end - position, 1 << 30))
        except BlockingIOError:
            continue
        if not sent:
            raise FileChangedError("the file is shorter than it was", piece.path)
        position += sent


def _send_read(connection: socket.socket, descriptor: int, piece: FileRange, timeout: float) -> None:
    os.lseek(descriptor, piece.offset, os.SEEK_SET)
    left = piece.length
    while left:
        try:
            data = os.read(descriptor, min(left, PIECE))
        except OSError as error:
            raise FileChangedError(f"the file cannot be read any more: {error.strerror}", piece.path) from None
        if not data:
            raise FileChangedError("the file is shorter than it was", piece.path)
        _send_bytes(connection, data, timeout)
        left -= len(data)


def _wait(connection: socket.socket, timeout: float) -> None:
    """Until the socket takes more. A peer that answers and reads no further is heard (RFC 9110 10.1.1, 9112 9.3).

    Raises:
        Answered: there is an answer while nothing more can be sent.
        TimeoutError: neither.
    """
    deadline = time.monotonic() + timeout
    ready = _poll(connection, 0.0, answers=False)
    while not ready:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        ready = _poll(connection, left, answers=True)
        if ready == "read":
            raise Answered


def _poll(connection: socket.socket, timeout: float, *, answers: bool) -> str:
    """Which comes first: "write", "read", or "" when neither does."""
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(connection, select.POLLOUT | (select.POLLIN if answers else 0))
        events = poll.poll(int(timeout * 1000) + (timeout > 0))
        found = events[0][1] if events else 0
        if found & (select.POLLOUT | select.POLLERR | select.POLLHUP):
            return "write"
        return "read" if found else ""
    readable, writable, _ = select.select([connection] if answers else [], [connection], [], timeout)
    return "write" if writable else "read" if readable else ""


def is_stale(connection: socket.socket) -> bool:
    """Whether a connection that waits for its next request was closed by the peer, or has said what nobody asked."""
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(connection, select.POLLIN)
        return bool(poll.poll(0))
    return bool(select.select([connection], [], [], 0)[0])
