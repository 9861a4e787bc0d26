"""A request and its reply, as the transactions see them: plain values and blocking reads, nothing of a server.

A handler is a function from Request to Reply that runs in a thread. What it replies with is bytes, a `Rope` of bytes
and slices of files, which are sent without being joined and of which ranges can be served, or an iterator of pieces,
which is asked for the next one when there is room. `application.py` does what all transactions have in common: HEAD,
304, ranges, gzip, CORS, errors.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import NamedTuple, Protocol
from urllib.parse import quote

from dcmkit.errors import DcmkitError, ExitCode, InputError, OutputError
from dcmkit.web.identity import ALL_SCOPES, Identity

Parameters = Sequence[tuple[str, str]]
"""Names and values of a query string, decoded, in their order."""

BLOCK = 1 << 20
"""Bytes of a file that are read in one go."""

OPEN = Identity("-", "anonymous", ALL_SCOPES)
"""Whoever asks where everybody may do everything."""


class HttpError(DcmkitError):
    """A request that is answered with a status other than its error's class has.

    Attributes:
        status: of the answer.
        headers: of the answer, beside those every answer has.
    """

    exit_code = ExitCode.REQUEST_FAILED

    def __init__(self, status: int, message: str, *, hint: str = "", headers: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.headers = headers

    @property
    def http_status(self) -> int:  # type: ignore[override]
        """See `DcmkitError`."""
        return self.status


class NotFoundError(InputError):
    """There is no such thing, or not for whoever asks (404)."""


class GoneError(InputError):
    """It was there; its file has gone (410)."""

    http_status = 410


class NotModified(Exception):  # noqa: N818 - it is an answer, and no error
    """What the user agent has is still right (RFC 9110 15.4.5); never leaves the application."""

    def __init__(self, etag: str) -> None:
        super().__init__(etag)
        self.etag = etag


class FileSlice(NamedTuple):
    """Bytes of a file that are sent from where they lie."""

    path: str
    offset: int
    length: int


class Rope(NamedTuple):
    """A body of known length in pieces."""

    pieces: tuple[bytes | FileSlice, ...]

    @property
    def length(self) -> int:
        """Bytes of all of it."""
        return sum(piece.length if isinstance(piece, FileSlice) else len(piece) for piece in self.pieces)

    def slice(self, start: int, stop: int) -> Rope:
        """The bytes from `start` up to `stop`."""
        found: list[bytes | FileSlice] = []
        at = 0
        for piece in self.pieces:
            length = piece.length if isinstance(piece, FileSlice) else len(piece)
            first, last = max(start - at, 0), min(stop - at, length)
            if first < last:
                if isinstance(piece, FileSlice):
                    found.append(FileSlice(piece.path, piece.offset + first, last - first))
                else:
                    found.append(piece[first:last])
            at += length
            if at >= stop:
                break
        return Rope(tuple(found))


class Body(Protocol):
    """The body of a request. Going through it reads it, once; blocks are lent until the next one."""

    def __iter__(self) -> Iterator[bytes | bytearray]:
        """Blocks as they come. Raises: NetworkError (ended too early, too slow), BodyTooLargeError."""

    def read(self, limit: int) -> bytes:
        """All of it. Raises: BodyTooLargeError beyond `limit` bytes; as iterating."""


class WholeBody:
    """A body that is there already: for tests, and for requests without one."""

    def __init__(self, content: bytes = b"") -> None:
        self._content = content

    def __iter__(self) -> Iterator[bytes]:
        if self._content:
            yield self._content

    def read(self, limit: int) -> bytes:
        """See `Body`."""
        return self._content


class Request(NamedTuple):
    """What is asked.

    Attributes:
        method: in capitals; HEAD comes as GET.
        path: decoded, below the root of the service, `/studies/1.2.3`.
        variables: what the route's template names: `study`, `series`, `instance`, `frames` and so on, as they came.
        parameters: of the query, without those of links.
        headers: by names in small letters.
        identity: whom it comes from; the application has checked that it may use the route.
        base_url: public URL of the root of the service, without a slash at its end; what answers refer to.
        client: the address it comes from, "" where that is not known.
        body: of the request.
    """

    method: str = "GET"
    path: str = "/"
    variables: Mapping[str, str] = {}
    parameters: Parameters = ()
    headers: Mapping[str, str] = {}
    identity: Identity = OPEN
    base_url: str = "http://localhost"
    client: str = ""
    body: Body = WholeBody()

    def parameter(self, name: str) -> str | None:
        """The first value of a parameter; names are in small letters or not. None where it is not there."""
        for key, value in self.parameters:
            if key == name or key.lower() == name:
                return value
        return None

    @property
    def accept(self) -> tuple[str | None, str | None]:
        """The Accept header and the accept parameter, as `negotiation.select` takes them."""
        return self.headers.get("accept"), self.parameter("accept")

    def url(self, *parts: str) -> str:
        """The public URL of something: `request.url("studies", uid)`."""
        return "/".join((self.base_url, *(quote(part, safe="") for part in parts)))

    def unless_known(self, etag: str) -> None:
        """For what costs something to make: end here where the user agent has it (RFC 9110 13.1.2).

        Raises:
            NotModified: it has; the application answers.
        """
        if matches(self.headers.get("if-none-match", ""), etag):
            raise NotModified(etag)


class Reply(NamedTuple):
    """What is answered.

    Attributes:
        body: bytes, a rope, or an iterator of pieces, whose `close` is called if it has one when nobody listens.
        content_type: "" for an answer without a body.
        headers: further ones; no Content-Length, ETag, Vary, Date, Content-Encoding.
        etag: without quotation marks; "" where there is none. The application answers 304 and If-Match.
        length: bytes of a body that is an iterator, where that is known.
        gzipped: `body`, compressed already, for those who take it.
        private: whether shared caches must not keep it: everything, as long as it is about patients.
    """

    status: int = 200
    body: bytes | Rope | Iterable[bytes | memoryview] = b""
    content_type: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    etag: str = ""
    length: int | None = None
    gzipped: bytes | None = None
    private: bool = True


Handler = Callable[[Request], Reply]


def make_etag(*seeds: str | bytes | int) -> str:
    """An entity tag of what an answer depends on."""
    digest = blake2b(digest_size=12)
    for seed in seeds:
        raw = seed if isinstance(seed, bytes) else str(seed).encode("utf-8", "surrogatepass")
        digest.update(len(raw).to_bytes(8, "big"))
        digest.update(raw)
    return digest.hexdigest()


def matches(header: str, etag: str) -> bool:
    """Whether an If-None-Match or If-Match header names an entity tag, by weak comparison (RFC 9110 8.8.3.2)."""
    if not header:
        return False
    tags = [one.strip().removeprefix("W/").strip('"').removesuffix("-gzip") for one in header.split(",")]
    return header.strip() == "*" or etag in tags


def read_slice(piece: FileSlice, share: Callable[[], int] | None = None) -> Iterator[bytes]:
    """The bytes of a slice, in blocks of at most `BLOCK`.

    Args:
        share: tells how long the next block may be, where that is less.

    Raises:
        GoneError: the file has gone.
        OutputError: it became shorter, or cannot be read.
    """
    try:
        fd = os.open(piece.path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0))
        try:
            if piece.offset:
                os.lseek(fd, piece.offset, os.SEEK_SET)
            left = piece.length
            while left:
                block = os.read(fd, min(left, BLOCK, share() if share is not None else BLOCK))
                if not block:
                    raise OutputError("a file became shorter while it was sent")
                left -= len(block)
                yield block
        finally:
            os.close(fd)
    except FileNotFoundError:
        raise GoneError("it was deleted while it was asked for") from None
    except OSError as error:
        raise OutputError(f"a file cannot be read while it is sent: {error.strerror}") from None


def warning_header(service: str, text: str) -> str:
    """The value of a Warning header as PS3.18 8.3.4 has it; nothing in it can end the header.

    Args:
        service: the base URI of the origin server.
    """
    value = f"299 {service}: {text}"
    return "".join(char if " " <= char <= "~" else "?" for char in value[:1000])
