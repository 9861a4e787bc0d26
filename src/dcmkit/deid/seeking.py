"""Finding any of many byte strings in one pass over a file: all bytes of a 512x512 CT in half a millisecond.

A file that was cleaned holds almost none of what is looked for, so all that counts is how fast that is seen. Every
occurrence of a string of seven bytes or more covers a group of four bytes that begins at a multiple of four; of a
shorter one, a pair that begins at an even place. A table tells whether a group can be part of any string; what it lets
through is compared. numpy does that, once there is enough to do to be worth importing it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, np.dtype[Any]]

SHORTEST = 4
"""Bytes a string must have."""
_LONG = 7
_CHUNK = 1 << 20
_WITHOUT_NUMPY = 1 << 26
"""Bytes times strings that are searched without numpy before it is imported: about as long as the import takes."""
_MANY = 4096
"""Candidates in one chunk beyond which each string is searched by itself."""
_MOST = 256
"""Occurrences of one string in a chunk that are told from either end of it, when there are many."""
_TABLE_SIZE = 1 << 16
_HASH = 0x9E3779B1

_spent = 0


class Strings:
    """Byte strings to be found.

    Args:
        strings: of `SHORTEST` bytes or more; shorter ones are left out.
    """

    def __init__(self, strings: Iterable[bytes]) -> None:
        self._strings = [one for one in dict.fromkeys(strings) if len(one) >= SHORTEST]
        self._longest = max(map(len, self._strings), default=0)
        self._filter: _Filter | None = None

    def find(self, data: bytes | bytearray | memoryview) -> Iterator[tuple[int, bytes]]:
        """Where each string occurs: offset and string, in no particular order.

        Of a string that occurs very often not every place is told.
        """
        if not self._strings:
            return
        view = memoryview(data).cast("B")
        step = self._longest - 1
        for start in range(0, max(len(view) - SHORTEST + 1, 0), _CHUNK):
            chunk = view[start : start + _CHUNK + step]
            for at, string in self._find(chunk):
                if at < _CHUNK:
                    yield start + at, string

    def _find(self, chunk: memoryview) -> Iterator[tuple[int, bytes]]:
        global _spent
        if self._filter is None:
            _spent += len(chunk) * len(self._strings)
            if "numpy" not in sys.modules and _spent < _WITHOUT_NUMPY:
                return _each(bytes(chunk), self._strings)
            self._filter = _Filter(self._strings)
        return self._filter.find(chunk)


def _each(data: bytes, strings: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Every string by itself."""
    for string in strings:
        at, last = data.find(string), -1
        for _ in range(_MOST):
            if at < 0:
                break
            yield at, string
            last, at = at, data.find(string, at + 1)
        if at < 0:
            continue
        end = len(data)
        for _ in range(_MOST):
            at = data.rfind(string, last + 1, end)
            if at < 0:
                break
            yield at, string
            end = at + len(string) - 1


class _Filter:
    """The tables for some strings, and what they are made of.

    The groups of four are taken from the end of a string: beginnings are alike more often (UIDs).
    """

    def __init__(self, strings: list[bytes]) -> None:
        import numpy as np

        self._np = np
        self._long = [one for one in strings if len(one) >= _LONG]
        self._short = [one for one in strings if len(one) < _LONG]
        number = int.from_bytes
        groups = [number(one[at : at + 4 or None], "little") for one in self._long for at in (-7, -6, -5, -4)]
        self._groups = np.sort(np.array(groups, "<u4"))
        self._table = np.zeros(_TABLE_SIZE, np.bool_)
        self._table[self._hashed(self._groups)] = True
        if not groups or self._groups[0]:
            self._table[0] = False  # zeros are common and in no string
        pairs = [number(one[at : at + 2], "little") for one in self._short for at in (0, 1)]
        self._pairs = np.zeros(_TABLE_SIZE, np.bool_)
        self._pairs[np.array(pairs, np.intp)] = True
        self._heads = np.sort(np.array([number(one[:4], "little") for one in self._short], "<u4"))
        self._by_group: dict[int, list[tuple[int, bytes]]] = {}
        self._by_head: dict[int, list[tuple[int, bytes]]] = {}

    def _hashed(self, groups: Array) -> Array:
        np = self._np
        hashed: Array = ((groups * np.uint32(_HASH)) >> np.uint32(16)).astype(np.intp)
        return hashed

    def find(self, chunk: memoryview) -> Iterator[tuple[int, bytes]]:
        """Offset and string of all that occur in a chunk."""
        if self._long:
            yield from self._find_long(chunk)
        if self._short:
            yield from self._find_short(chunk)

    def _find_long(self, chunk: memoryview) -> Iterator[tuple[int, bytes]]:
        np = self._np
        if len(chunk) < _LONG:
            return
        values = np.frombuffer(chunk, "<u4", len(chunk) // 4)
        places = np.flatnonzero(self._table.take(self._hashed(values), mode="clip"))
        if not places.size:
            return
        found = values[places]
        places, found = self._known(self._groups, places, found)
        if not places.size:
            return
        if not self._by_group:
            for one in self._long:
                for at in range(len(one) - 7, len(one) - 3):
                    self._by_group.setdefault(int.from_bytes(one[at : at + 4], "little"), []).append((at, one))
        yield from _compared(chunk, (places * 4).tolist(), found.tolist(), self._by_group)

    def _find_short(self, chunk: memoryview) -> Iterator[tuple[int, bytes]]:
        np = self._np
        values = np.frombuffer(chunk, "<u2", len(chunk) // 2)
        places = np.flatnonzero(self._pairs.take(values.astype(np.intp), mode="clip")) * 2
        if not places.size:
            return
        octets = np.frombuffer(chunk, np.uint8)
        starts = np.concatenate((places, places - 1))
        starts = starts[(starts >= 0) & (starts <= len(chunk) - 4)]
        heads = octets[starts].astype("<u4")
        for at in (1, 2, 3):
            heads |= octets[starts + at].astype("<u4") << np.uint32(8 * at)
        starts, heads = self._known(self._heads, starts, heads)
        if not starts.size:
            return
        if not self._by_head:
            for one in self._short:
                self._by_head.setdefault(int.from_bytes(one[:4], "little"), []).append((0, one))
        yield from _compared(chunk, starts.tolist(), heads.tolist(), self._by_head)

    def _known(self, keys: Array, places: Array, values: Array) -> tuple[Array, Array]:
        """Those places whose value is really among the keys."""
        found = keys.take(self._np.searchsorted(keys, values), mode="clip") == values
        return places[found], values[found]


def _compared(
    chunk: memoryview, places: list[int], keys: list[int], strings: dict[int, list[tuple[int, bytes]]]
) -> Iterator[tuple[int, bytes]]:
    """Which candidates are what they look like."""
    if len(places) > _MANY:
        alike = dict.fromkeys(string for key in set(keys) for _, string in strings[key])
        yield from _each(bytes(chunk), alike)
        return
    for place, key in zip(places, keys, strict=True):
        for at, string in strings[key]:
            start = place - at
            if start >= 0 and chunk[start : start + len(string)] == string:
                yield start, string
