"""Clocks: the only place that reads one. All timers are monotonic, so a clock that jumps changes nothing."""

from __future__ import annotations

from time import monotonic


class Deadline:
    """A point in time some seconds from now.

    Args:
        seconds: how long from now; 0 or less is never.
    """

    __slots__ = ("at",)

    def __init__(self, seconds: float) -> None:
        self.at = monotonic() + seconds if seconds > 0 else float("inf")

    def remaining(self) -> float:
        """Seconds left, 0 when passed, infinity when there is no deadline."""
        return max(0.0, self.at - monotonic()) if self.at != float("inf") else self.at

    @property
    def passed(self) -> bool:
        """Whether the time has come."""
        return monotonic() >= self.at


class Pace:
    """A peer must deliver at least `MINIMUM_BYTES` in every `window` seconds: silence and trickles both end.

    Args:
        window: seconds; 0 or less is never.
    """

    MINIMUM_BYTES = 4096

    __slots__ = ("_bytes", "_until", "_window")

    def __init__(self, window: float) -> None:
        self._window = window if window > 0 else float("inf")
        self.restart()

    def restart(self) -> None:
        """A message begins."""
        self._bytes = 0
        self._until = monotonic() + self._window

    def arrived(self, count: int) -> bool:
        """`count` bytes have arrived; False when the peer is too slow."""
        self._bytes += count
        if monotonic() < self._until:
            return True
        if self._bytes < self.MINIMUM_BYTES:
            return False
        self.restart()
        return True
