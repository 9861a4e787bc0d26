"""The last answers to searches: viewers ask the same again and again; while the index stays as it is, so do they."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable

    from dcmkit.web.exchange import Reply

SIZE = 8 << 20
"""Bytes of bodies that are kept."""
_LARGEST = 1 << 20
_ENTRY = 1024
"""What one entry takes beside its body, about."""


class SearchCache:
    """Replies by what was asked, as long as the revision of the index stays the same.

    Args:
        size: bytes of bodies that may be kept.
    """

    def __init__(self, size: int = SIZE) -> None:
        self._size = size
        self._used = 0
        self._revision: object = None
        self._replies: OrderedDict[Hashable, Reply] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, revision: object, asked: Hashable) -> Reply | None:
        """The reply that was given at this revision."""
        with self._lock:
            if revision != self._revision:
                return None
            reply = self._replies.get(asked)
            if reply is not None:
                self._replies.move_to_end(asked)
            return reply

    def put(self, revision: object, asked: Hashable, reply: Reply) -> None:
        """Keep a reply whose body is bytes; `revision` was there before the index was asked."""
        if not isinstance(reply.body, bytes) or len(reply.body) > min(_LARGEST, self._size):
            return
        with self._lock:
            if revision != self._revision:
                self._replies.clear()
                self._revision, self._used = revision, 0
            if asked in self._replies:
                return
            self._replies[asked] = reply
            self._used += len(reply.body) + _ENTRY
            while self._used > self._size:
                _, oldest = self._replies.popitem(last=False)
                assert isinstance(oldest.body, bytes)
                self._used -= len(oldest.body) + _ENTRY
