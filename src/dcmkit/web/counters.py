"""Counts of requests: cheap to keep, for each process by itself, and added up over those that share a port.

Each process writes to a part of a file that is nowhere on disk, and never to another's; whoever asks reads all parts.
A process that takes the place of a dead one goes on where that had come to, so counts never go back.
"""

from __future__ import annotations

import mmap
import os
from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dcmkit.web.routes import Route

BOUNDS = (0.005, 0.025, 0.1, 0.5, 2.5, 10.0)
"""Seconds: requests are counted by the first of these they are not longer than."""
NO_ROUTE = "none"
"""The operation of a request that leads nowhere, or is refused before it is known where it leads."""
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS")
OTHER = "other"

_CLASSES = 5
_SECONDS, _SENT, _RECEIVED, _BUCKETS = _CLASSES, _CLASSES + 1, _CLASSES + 2, _CLASSES + 3
_WIDTH = _BUCKETS + len(BOUNDS) + 1
_SLOTS = 1024
_CELL = 8


class Counted(NamedTuple):
    """What is known of the requests of one operation, made with one method.

    Attributes:
        statuses: their number by the first digit of their status.
        seconds, sent, received: sums, of time and of bytes of bodies.
        buckets: their number by how long they took, see `BOUNDS`; the last is for those that took longer.
    """

    operation: str
    method: str
    statuses: dict[int, int]
    seconds: float
    sent: int
    received: int
    buckets: tuple[int, ...]

    @property
    def number(self) -> int:
        """Of all of them."""
        return sum(self.buckets)


def shared_file() -> int:
    """A file for the counts of processes that are still to be forked; -1 where there is none to be had."""
    try:
        if hasattr(os, "memfd_create"):
            return os.memfd_create("dcmkit-counts")
        if hasattr(os, "fork"):
            from tempfile import mkstemp

            fd, path = mkstemp(prefix="dcmkit-counts-")
            os.unlink(path)
            return fd
    except OSError:
        pass
    return -1


class Counters:
    """The counts. Written by one thread, the loop's, and read by any.

    Args:
        file: see `shared_file`; -1 keeps them in this process alone.
    """

    def __init__(self, file: int = -1) -> None:
        self._file = file
        self._places: dict[tuple[str, str], int] = {}
        self._number = 1
        self._length = 0
        self._cells: array[float] | memoryview[float] = array("d", bytes(_CELL))
        self._map: mmap.mmap | None = None
        self._elsewhere = 0

    def begin(self, routes: Iterable[Route]) -> None:
        """Count from now on, in this process, which is not forked any more; the routes are the same in all."""
        names = [(NO_ROUTE, method) for method in (*METHODS, OTHER)]
        for route in routes:
            names += [(route.operation, route.method)] + [(route.operation, "HEAD")] * (route.method == "GET")
        self._places = {name: 1 + number * _WIDTH for number, name in enumerate(names)}
        self._elsewhere = self._places[NO_ROUTE, OTHER]
        self._number = 1 + len(names) * _WIDTH
        step = mmap.ALLOCATIONGRANULARITY
        self._length = (self._number * _CELL + step - 1) // step * step
        if not self._claim():
            self._file = -1
            self._cells = array("d", bytes(_CELL * self._number))
        self._cells[0] = 0.0  # whoever had this part before is not storing any more

    def _claim(self) -> bool:
        """A part of the file that is no living process's."""
        if self._file < 0:
            return False
        import fcntl

        for slot in range(_SLOTS):
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, slot)
            except OSError:
                continue  # somebody's
            try:
                if os.fstat(self._file).st_size < (slot + 1) * self._length:
                    os.ftruncate(self._file, (slot + 1) * self._length)
                self._map = mmap.mmap(self._file, self._length, offset=slot * self._length)
            except (OSError, ValueError):
                return False
            self._cells = memoryview(self._map).cast("d")
            return True
        return False

    def close(self) -> None:
        """Write no more to the file."""
        cells, self._cells = self._cells, array("d", bytes(_CELL * self._number))
        if self._map is not None and isinstance(cells, memoryview):
            cells.release()
            self._map.close()
            self._map = None

    # --- counting ------------------------------------------------------------------------------------------------

    def count(self, operation: str, method: str, status: int, sent: int, received: int, seconds: float) -> None:
        """A request has been answered."""
        at = self._places.get((operation, method)) or self._places.get((NO_ROUTE, method), self._elsewhere)
        cells = self._cells
        cells[at + status // 100 - 1] += 1
        cells[at + _SECONDS] += seconds
        cells[at + _BUCKETS + bisect_left(BOUNDS, seconds)] += 1
        if sent:
            cells[at + _SENT] += sent
        if received:
            cells[at + _RECEIVED] += received

    def storing(self, number: int) -> None:
        """So many requests store in this process at the moment."""
        self._cells[0] = number

    # --- reading -------------------------------------------------------------------------------------------------

    def read(self) -> tuple[int, list[Counted]]:
        """How many requests store at the moment, and all counts, of all processes."""
        sums = [0.0] * self._number
        for cells in self._parts():
            sums = [one + other for one, other in zip(sums, cells, strict=False)]
        found = [_counted(*name, sums[at : at + _WIDTH]) for name, at in self._places.items()]
        return int(sums[0]), [one for one in found if one.number]

    def _parts(self) -> Iterator[Iterable[float]]:
        if self._map is None:
            yield self._cells
            return
        for offset in range(0, os.fstat(self._file).st_size, self._length):
            yield memoryview(os.pread(self._file, self._number * _CELL, offset)).cast("d")


def _counted(operation: str, method: str, cells: list[float]) -> Counted:
    statuses = {digit + 1: int(number) for digit, number in enumerate(cells[:_CLASSES]) if number}
    buckets = tuple(map(int, cells[_BUCKETS:]))
    return Counted(operation, method, statuses, cells[_SECONDS], int(cells[_SENT]), int(cells[_RECEIVED]), buckets)
