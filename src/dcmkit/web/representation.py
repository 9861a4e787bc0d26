"""From a reply to what goes out: conditional requests, ranges and compression (RFC 9110 8.4, 13, 14)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from dcmkit.web.exchange import BLOCK, FileSlice, Reply, Rope, matches, read_slice

SMALL = 1 << 16
"""Pieces smaller than this are joined."""
_BUDGET = 1 << 25
_WORTH_COMPRESSING = 1024
_LEVEL = 1
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_TEXTS = ("application/dicom+json", "application/json", "application/problem+json", "application/xml", "text/",
          "application/javascript", "application/vnd.sun.wadl+xml", "image/svg+xml")  # fmt: skip
_CACHING = "private, no-cache"
"""May be kept, and has to be asked for again: an instance may be replaced, or a right withdrawn."""


class Ahead:
    """How much is read of bodies before it is sent: less of each, the more of them there are.

    So readers that do not read cost little, however many there are.

    Attributes:
        streams: bodies that are being sent at the moment.
    """

    def __init__(self) -> None:
        self.streams = 0

    @property
    def share(self) -> int:
        """Bytes of one body."""
        return max(SMALL, min(2 * BLOCK, _BUDGET // max(1, self.streams)))

    @property
    def is_crowded(self) -> bool:
        """Whether the next bytes are to be read only when the last ones are on their way."""
        return self.share < 2 * BLOCK


AHEAD = Ahead()
"""Of this process."""


class Outgoing(NamedTuple):
    """A reply, ready to be sent.

    Attributes:
        headers: all of them but those of the connection, names in small letters.
        blocks: the body, in blocks that may be sent one by one; reading them blocks.
        whole: whether `blocks` is a list, all there.
    """

    status: int
    headers: list[tuple[str, str]]
    blocks: Iterable[bytes | memoryview]
    whole: bool


def prepare(reply: Reply, request_headers: Mapping[str, str], *, head: bool = False) -> Outgoing:
    """What is sent, in a thread: bodies of less than a block are read here.

    Args:
        request_headers: by names in small letters.
        head: the request was HEAD: what the answer would have, without its body.
    """
    headers = [(name.lower(), value) for name, value in reply.headers]
    headers.append(("x-content-type-options", "nosniff"))
    if reply.private and not any(name == "cache-control" for name, _ in headers):
        headers.append(("cache-control", _CACHING if reply.etag else "no-store"))
    if reply.content_type:
        headers.append(("content-type", reply.content_type))
    compressible = _is_text(reply.content_type)
    if compressible or reply.etag:
        headers.append(("vary", "Accept, Accept-Encoding, Authorization"))
    if reply.etag and reply.status == 200 and matches(request_headers.get("if-none-match", ""), reply.etag):
        return not_modified(reply.etag)
    if compressible and _takes_gzip(request_headers.get("accept-encoding", "")):
        compressed = _compressed(reply)
        if compressed is not None:
            return _sealed(
                reply.status, [*headers, ("content-encoding", "gzip")], compressed, head, reply.etag, "-gzip"
            )
    body = reply.body
    if isinstance(body, (bytes, Rope)):
        return _ranged(reply, body, headers, request_headers, head)
    if reply.length is not None:
        headers.append(("content-length", str(reply.length)))
    _tag(headers, reply.etag)
    if head:
        _close(body)
        return Outgoing(reply.status, headers, [], True)
    return Outgoing(reply.status, headers, body, False)


def not_modified(etag: str) -> Outgoing:
    """RFC 9110 15.4.5."""
    return Outgoing(304, [("etag", f'"{etag}"'), ("cache-control", _CACHING)], [], True)


def _sealed(
    status: int, headers: list[tuple[str, str]], body: bytes, head: bool, etag: str = "", suffix: str = ""
) -> Outgoing:
    _tag(headers, etag, suffix)
    headers.append(("content-length", str(len(body))))
    return Outgoing(status, headers, [] if head else [body], True)


def _tag(headers: list[tuple[str, str]], etag: str, suffix: str = "") -> None:
    if etag:
        headers.append(("etag", f'"{etag}{suffix}"'))


def _ranged(
    reply: Reply, body: bytes | Rope, headers: list[tuple[str, str]], asked: Mapping[str, str], head: bool
) -> Outgoing:
    """The body, or the one range of it that was asked for (RFC 9110 14.2)."""
    length = body.length if isinstance(body, Rope) else len(body)
    status = reply.status
    if status == 200 and length:
        headers.append(("accept-ranges", "bytes"))
        span = None if head else _span(asked, length, reply.etag)
        if span == ():
            headers = [("content-range", f"bytes */{length}")]
            return _sealed(416, headers, b"", head)
        if span:
            start, stop = span
            headers.append(("content-range", f"bytes {start}-{stop - 1}/{length}"))
            body = body.slice(start, stop) if isinstance(body, Rope) else body[start:stop]
            length, status = stop - start, 206
    _tag(headers, reply.etag)
    if status not in (204, 304):
        headers.append(("content-length", str(length)))
    if head or not length:
        return Outgoing(status, headers, [], True)
    if isinstance(body, bytes):
        return Outgoing(status, headers, [body], True)
    blocks = blocks_of(body)
    if length <= BLOCK:
        return Outgoing(status, headers, list(blocks), True)
    return Outgoing(status, headers, blocks, False)


def _span(asked: Mapping[str, str], length: int, etag: str) -> tuple[int, int] | tuple[()] | None:
    """Start and stop of the range asked for; () where it cannot be; None for all of it."""
    text = asked.get("range", "").replace(" ", "")
    condition = asked.get("if-range", "")
    found = _RANGE.fullmatch(text)
    if found is None or (condition and condition.strip('"') != etag):
        return None  # several ranges, another unit, or what the user agent has is old: all of it
    first, last = found.groups()
    if first:
        start, stop = int(first), min(int(last) + 1, length) if last else length
        if last and int(last) < int(first):
            return None
    elif last:
        start, stop = max(length - int(last), 0), length
    else:
        return None
    return (start, stop) if start < stop else ()


# --- bodies --------------------------------------------------------------------------------------------------------


def blocks_of(rope: Rope) -> Iterator[bytes]:
    """The bytes of a rope in blocks of at most `BLOCK`; small pieces are joined, and come before larger ones.

    Raises:
        GoneError: a file has gone.
        OutputError: it has become shorter, or cannot be read.
    """
    small: list[bytes] = []
    held = 0
    for piece in rope.pieces:
        if isinstance(piece, bytes) and len(piece) <= SMALL:
            small.append(piece)
            held += len(piece)
        else:
            if held:
                yield b"".join(small)
                small, held = [], 0
            yield from read_slice(piece, lambda: AHEAD.share) if isinstance(piece, FileSlice) else (piece,)
        if held >= BLOCK:
            yield b"".join(small)
            small, held = [], 0
    if held:
        yield b"".join(small)


def _close(body: object) -> None:
    close = getattr(body, "close", None)
    if close is not None:
        close()


# --- compression ---------------------------------------------------------------------------------------------------


def _is_text(content_type: str) -> bool:
    return content_type.startswith(_TEXTS)


def _takes_gzip(header: str) -> bool:
    for one in header.lower().split(","):
        name, _, parameters = one.strip().partition(";")
        if name.strip() in ("gzip", "*"):
            quality = parameters.strip().removeprefix("q=").strip()
            return quality.strip("0.") != "" if quality else True
    return False


def _compressed(reply: Reply) -> bytes | None:
    """The body in gzip; None where that is not worth it, or not known before the end."""
    if reply.gzipped is not None:
        return reply.gzipped
    if not isinstance(reply.body, bytes) or len(reply.body) < _WORTH_COMPRESSING:
        return None
    return gzipped(reply.body)


def gzipped(body: bytes) -> bytes:
    """`body` in gzip, as fast as that goes."""
    import zlib

    compressor = zlib.compressobj(_LEVEL, wbits=31)
    return compressor.compress(body) + compressor.flush()
