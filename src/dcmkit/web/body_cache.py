"""Bodies of answers that are asked for again and again, in memory, as many as fit."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

WHOLE = 16 << 20
"""Bytes of a body that is put together; a longer one is sent as it is made."""


class KeptBody(NamedTuple):
    """A body as it is, and in gzip where somebody took that."""

    body: bytes
    gzipped: bytes | None = None

    @property
    def size(self) -> int:
        """Bytes of both."""
        return len(self.body) + len(self.gzipped or b"")


class BodyCache:
    """Bodies by entity tag; those not asked for the longest go first. Safe for many threads.

    Args:
        limit: bytes of all of them together; one of more than half as many is not kept.
    """

    def __init__(self, limit: int) -> None:
        self._limit, self._size = limit, 0
        self._lock = threading.Lock()
        self._bodies: OrderedDict[str, KeptBody] = OrderedDict()

    def get(self, etag: str) -> KeptBody | None:
        """The body with this entity tag."""
        with self._lock:
            found = self._bodies.get(etag)
            if found is not None:
                self._bodies.move_to_end(etag)
            return found

    def put(self, etag: str, body: KeptBody) -> None:
        """Keep a body, in place of what was there."""
        if body.size * 2 > self._limit:
            return
        with self._lock:
            before = self._bodies.pop(etag, None)
            self._size += body.size - (before.size if before is not None else 0)
            self._bodies[etag] = body
            while self._size > self._limit:
                _, oldest = self._bodies.popitem(last=False)
                self._size -= oldest.size


def gathered(pieces: Iterator[bytes], limit: int = 0) -> tuple[bytes, Iterator[bytes] | None]:
    """What there is of a body, up to a limit (`WHOLE`); and the rest, where there is more."""
    found: list[bytes] = []
    size, limit = 0, limit or WHOLE
    for piece in pieces:
        found.append(piece)
        size += len(piece)
        if size > limit:
            return b"".join(found), pieces
    return b"".join(found), None
