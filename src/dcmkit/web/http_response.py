"""Answers of HTTP servers: head, body as it comes, decoded, bounded; and what it means when there is none."""

from __future__ import annotations

import contextlib
import http.client
import io
import socket
import ssl
import time
import zlib
from typing import TYPE_CHECKING, Any, TypeVar

from dcmkit.errors import ConnectionLostError, ExitCode, NetworkError, PeerTimeoutError, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

ANSWER_LIMIT = 64 << 20
"""Bytes of an answer that is read as a whole, decoded."""
_PIECE = 64 * 1024
_PATIENCE, _SLOWEST = 10, 1024
"""An answer may take so many time-outs, and a second for so many of its bytes."""
_DRAIN = 64 * 1024
"""Bytes of an answer nobody wants that are read, so that the connection can be used again."""


_HINTS = {
    400: "it does not understand the request",
    401: "it wants to know who asks: say --bearer, or a user and a password",
    403: "it knows who asks, and does not allow it",
    404: "there is no such thing, or no such service: are the UIDs and the path right?",
    405: "it does not do that: is the path right?",
    406: "it has nothing in the form that was asked for",
    407: "the proxy wants to know who asks",
    410: "it had this once",
    413: "it will not answer so much at once",
    429: "it is asked too often",
    503: "it is busy",
}
_ELSEWHERE = "it sends us to another place, which is not followed: use that URL"


class HttpStatusError(NetworkError):
    """The server answered with a status that is no success.

    Attributes:
        status: the HTTP status.
    """

    exit_code = ExitCode.REQUEST_FAILED

    def __init__(self, message: str, *, status: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status


_Error = TypeVar("_Error", bound=HttpStatusError)


def status_error(status: int, kind: type[_Error], own: Mapping[int, str] | None = None) -> _Error:
    """What a status that is no success means to who asked for something.

    Args:
        kind: of the error.
        own: hints that say more of this request than those for any.
    """
    hint = _ELSEWHERE if 300 <= status < 400 else {**_HINTS, **(own or {})}.get(status, "")
    return kind(f"the server answers with HTTP status {status}", status=status, hint=hint)


class Response:
    """An answer: its status and headers; its body, as it comes.

    Attributes:
        status: of HTTP.
        complete: whether the peer had read all of the request when it answered.
    """

    def __init__(self, raw: http.client.HTTPResponse, on_close: Callable[[], None]) -> None:
        self.status = raw.status
        self.complete = True
        self._raw, self._on_close = raw, on_close

    def header(self, name: str) -> str:
        """A header's value; "" where there is none."""
        return self._raw.headers.get(name, "") or ""

    @property
    def content_type(self) -> str:
        """The media type, in small letters, without parameters."""
        return self.header("Content-Type").partition(";")[0].strip().lower()

    def pieces(self) -> Iterator[bytes]:
        """The body, decoded, piece by piece.

        Raises:
            ConnectionLostError, PeerTimeoutError, ProtocolError: it ends early or is damaged.
        """
        inflate = self._decoder()
        while True:
            data = self._read_piece()
            if not data:
                break
            if inflate is None:
                yield data
                continue
            while data:
                try:
                    piece = inflate.decompress(data, _PIECE)
                except zlib.error:
                    self.close()
                    raise ProtocolError("the peer's answer is damaged: it cannot be decompressed") from None
                data = inflate.unconsumed_tail
                if piece:
                    yield piece
        if inflate is not None and not inflate.eof:
            raise ConnectionLostError("the connection was lost in the middle of the answer")

    def _decoder(self) -> zlib._Decompress | None:
        encoding = self.header("Content-Encoding").strip().lower()
        if encoding in ("gzip", "x-gzip"):
            return zlib.decompressobj(31)
        if encoding not in ("", "identity"):
            self.close()
            raise ProtocolError("the peer answers in an encoding that it was not asked for")
        return None

    def _read_piece(self) -> bytes:
        try:
            data = self._raw.read(_PIECE)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            raise lost(error, "in the middle of the answer") from None
        if not data and self._raw.length:
            self.close()
            raise ConnectionLostError("the connection was lost in the middle of the answer")
        return data

    def read(self, limit: int = ANSWER_LIMIT) -> bytes:
        """All of the body.

        Raises:
            ProtocolError: it is longer than the limit, or damaged.
            ConnectionLostError, PeerTimeoutError: it ends early, or comes too slowly.
        """
        parts: list[bytes] = []
        size = 0
        for piece in self.pieces():
            size += len(piece)
            if size > limit:
                self.close()
                raise ProtocolError(f"the peer's answer is longer than {limit} bytes")
            parts.append(piece)
        return b"".join(parts)

    def skip(self) -> None:
        """The rest is not wanted."""
        with contextlib.suppress(NetworkError):
            left = _DRAIN
            while left > 0:
                data = self._read_piece()
                if not data:
                    return
                left -= len(data)
        self.close()

    def close(self) -> None:
        """Done with it and with its connection."""
        self._raw.close()
        self._on_close()

    @property
    def is_over(self) -> bool:
        """Whether all of it has been read, so that its connection can be used again."""
        return self.complete and self._raw.isclosed()


class Answer(http.client.HTTPResponse):
    """An answer that does not take for ever, however slowly the peer speaks."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(_Door(sock), *args, **kwargs)  # type: ignore[arg-type]  # makefile is all it asks for


class _Door:
    """What `HTTPResponse` needs of a socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def makefile(self, *_: Any, **__: Any) -> io.BufferedReader:
        return io.BufferedReader(_Patience(self._sock), _PIECE)


class _Patience(io.RawIOBase):
    """Reads from a socket as long as enough comes."""

    def __init__(self, sock: socket.socket) -> None:
        self._inner = sock.makefile("rb", buffering=0)
        self._longest = _PATIENCE * (sock.gettimeout() or 0.0)
        self._received, self._began = 0, 0.0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        count: int | None = self._inner.readinto(buffer)
        now = time.monotonic()
        self._began = self._began or now
        self._received += count or 0
        if count and now - self._began > self._longest + self._received / _SLOWEST:
            raise TimeoutError
        return count

    def close(self) -> None:
        self._inner.close()
        super().close()


def lost(error: Exception, when: str) -> NetworkError:
    """What an exception of the socket or of `http.client` means.

    Nothing of it is repeated: the peer may have said it.
    """
    if isinstance(error, TimeoutError):
        return PeerTimeoutError(f"the peer took too long {when}", hint="perhaps it is busy: try again, or wait longer")
    if isinstance(error, ssl.SSLError):
        return ConnectionLostError(f"the TLS connection was lost {when}", hint=error.reason or "")
    if isinstance(error, (OSError, http.client.RemoteDisconnected, http.client.IncompleteRead)):
        return ConnectionLostError(f"the connection was lost {when}", hint=getattr(error, "strerror", None) or "")
    return ProtocolError("the peer does not speak HTTP as it should", hint=type(error).__name__)
