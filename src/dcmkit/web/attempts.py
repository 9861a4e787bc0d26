"""What is remembered of credentials: right ones for a while, and wrong ones, so that guessing is slow.

Both are bounded, whatever a stranger sends.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import threading
from collections import OrderedDict
from time import monotonic
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

ValueT = TypeVar("ValueT")


class Remembered(Generic[ValueT]):
    """What secrets stood for, for a while: not the secrets but keyed digests of them.

    Args:
        seconds: how long.
        most: how many; the one longest unused is forgotten first.
        clock: for tests.
    """

    def __init__(self, seconds: float, most: int = 1024, clock: Callable[[], float] = monotonic) -> None:
        self._seconds = seconds
        self._most = most
        self._clock = clock
        self._key = os.urandom(32)
        self._known: OrderedDict[bytes, tuple[float, ValueT]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, *secrets: str) -> ValueT | None:
        """What these stood for, if that was told not long ago."""
        digest = self._digest(secrets)
        with self._lock:
            found = self._known.get(digest)
            if found is None:
                return None
            if found[0] <= self._clock():
                del self._known[digest]
                return None
            self._known.move_to_end(digest)
            return found[1]

    def put(self, value: ValueT, *secrets: str) -> None:
        """Remember what these stand for."""
        digest = self._digest(secrets)
        with self._lock:
            self._known[digest] = self._clock() + self._seconds, value
            self._known.move_to_end(digest)
            while len(self._known) > self._most:
                self._known.popitem(last=False)

    def __len__(self) -> int:
        return len(self._known)

    def _digest(self, secrets: tuple[str, ...]) -> bytes:
        parts = [secret.encode("utf-8", "surrogatepass") for secret in secrets]
        joined = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return hmac.digest(self._key, joined, hashlib.sha256)


class Brake:
    """Slows down who is wrong again and again: after some free attempts each further one has to wait, twice as long
    as the one before, up to a limit. Nobody is made to wait within the server: who comes too early is told when to.

    Args:
        free: attempts that cost nothing.
        longest: seconds.
        most: how many are watched; the one longest without an attempt is forgotten first.
        clock: for tests.
    """

    def __init__(
        self, free: int = 5, longest: float = 60.0, most: int = 4096, clock: Callable[[], float] = monotonic
    ) -> None:
        self._free = free
        self._longest = longest
        self._most = most
        self._clock = clock
        self._wrong: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait(self, who: str) -> float:
        """Seconds until the next attempt is looked at; 0 for at once."""
        with self._lock:
            return max(0.0, self._wrong.get(who, (0, 0.0))[1] - self._clock())

    def wrong(self, who: str) -> None:
        """An attempt was wrong."""
        with self._lock:
            count, until = self._wrong.pop(who, (0, 0.0))
            now = self._clock()
            if count and now - until > 10 * self._longest:
                count = 0
            count += 1
            delay = min(self._longest, 2.0 ** min(count - self._free, 30)) if count > self._free else 0.0
            self._wrong[who] = count, now + delay
            while len(self._wrong) > self._most:
                self._wrong.popitem(last=False)

    def right(self, who: str) -> None:
        """An attempt was right: all is forgiven."""
        with self._lock:
            self._wrong.pop(who, None)

    def __len__(self) -> int:
        return len(self._wrong)
