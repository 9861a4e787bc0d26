"""Finding any of many byte strings in one pass over a file: all bytes of a 512x512 CT in half a millisecond.

A file that was cleaned holds almost none of what is looked for, so all that counts is how fast that is seen. Every
occurrence of a string of seven bytes or more covers a group of four bytes that begins at a multiple of four; of a
shorter one, a pair that begins at an even place. A table tells whether a group can be part of any string; what it lets
through is compared. numpy does that, once there is enough to do to be worth importing it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
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
_PASSED = 32 * _CHUNK
_TABLE_SIZE = 1 << 16
_HASH = 0x9E3779B1

_spent = 0


class Strings:
    """Byte strings to be found.

    Args:
        strings: of `SHORTEST` bytes or more; shorter ones are left out.

    Attributes:
        longest: bytes of the longest.
    """

    def __init__(self, strings: Iterable[bytes]) -> None:
        self._strings = [one for one in dict.fromkeys(strings) if len(one) >= SHORTEST]
        self.longest = max(map(len, self._strings), default=0)
        self._filter: _Filter | None = None

    def find(
        self, data: bytes | bytearray | memoryview, passed: Callable[[], None] | None = None
    ) -> Iterator[tuple[int, bytes]]:
        """Where each string occurs: offset and string, in no particular order.

        Of a string that occurs very often not every place is told.

        Args:
            passed: called now and then, when what was read is not needed any more.
        """
        if not self._strings:
            return
        view = memoryview(data).cast("B")
        step = self.longest - 1
        for start in range(0, max(len(view) - SHORTEST + 1, 0), _CHUNK):
            chunk = view[start : start + _CHUNK + step]
            for at, string in self._find(chunk):
                if at < _CHUNK:
                    yield start + at, string
            if passed is not None and start % _PASSED == _PASSED - _CHUNK:
                passed()

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
    """The tables for some strings.

    Of a long string its last seven bytes are in them: beginnings are alike more often (UIDs). They make four groups
    of four bytes, and one of these begins at a multiple of four wherever the string lies.
    """

    def __init__(self, strings: list[bytes]) -> None:
        import numpy as np

        self._np = np
        self._long = [one for one in strings if len(one) >= _LONG]
        self._short = [one for one in strings if len(one) < _LONG]
        tails = np.frombuffer(b"".join([one[-_LONG:] for one in self._long]), np.uint8).reshape(-1, _LONG)
        groups = [np.ascontiguousarray(tails[:, at : at + 4]).view("<u4")[:, 0] for at in range(4)]
        self._firsts, self._lasts = groups[0], groups[3]
        every = np.concatenate(groups)
        self._order = np.argsort(every, kind="stable")
        self._groups = every[self._order]
        self._table = np.zeros(_TABLE_SIZE, np.bool_)
        self._table[self._hashed(every)] = True
        if self._groups.size and self._groups[0]:
            self._table[0] = False  # zeros are common and in no string
        heads = np.frombuffer(b"".join([one[:4] for one in self._short]), "<u4")
        self._heads = np.sort(heads)
        self._pairs = np.zeros(_TABLE_SIZE, np.bool_)
        self._pairs[heads & np.uint32(0xFFFF)] = True
        self._pairs[heads >> np.uint32(8) & np.uint32(0xFFFF)] = True

    def _hashed(self, groups: Array) -> Array:
        np = self._np
        hashed: Array = ((groups * np.uint32(_HASH)) >> np.uint32(16)).astype(np.intp)
        return hashed

    def find(self, chunk: memoryview) -> Iterator[tuple[int, bytes]]:
        """Offset and string of all that occur in a chunk."""
        if self._long and len(chunk) >= _LONG:
            yield from self._find_long(chunk)
        if self._short:
            yield from self._find_short(chunk)

    def _find_long(self, chunk: memoryview) -> Iterator[tuple[int, bytes]]:
        np = self._np
        values = np.frombuffer(chunk, "<u4", len(chunk) // 4)
        places = np.flatnonzero(self._table.take(self._hashed(values), mode="clip"))
        if not places.size:
            return
        found = values[places]
        begins, ends = np.searchsorted(self._groups, found), np.searchsorted(self._groups, found, "right")
        counts = ends - begins
        total = int(counts.sum())
        if not total:
            return
        # Every pair of a place and a group that is there: which string, and where its last seven bytes would be.
        entries = np.arange(total) + np.repeat(begins - counts.cumsum() + counts, counts)
        which, string = np.divmod(self._order[entries], len(self._long))
        starts = np.repeat(places, counts) * 4 - which
        fits = (starts >= 0) & (starts + _LONG <= len(chunk))
        starts, string = starts[fits], string[fits]
        octets = np.frombuffer(chunk, np.uint8)
        same = (_groups_at(octets, starts) == self._firsts[string]) & (
            _groups_at(octets, starts + 3) == self._lasts[string]
        )
        starts, string = starts[same], string[same]
        if starts.size > _MANY:
            yield from _each(bytes(chunk), [self._long[one] for one in np.unique(string).tolist()])
            return
        for start, at in zip(starts.tolist(), string.tolist(), strict=True):
            one = self._long[at]
            begin = start + _LONG - len(one)
            if begin >= 0 and chunk[begin : begin + len(one)] == one:
                yield begin, one

    def _find_short(self, chunk: memoryview) -> Iterator[tuple[int, bytes]]:
        np = self._np
        values = np.frombuffer(chunk, "<u2", len(chunk) // 2)
        places = np.flatnonzero(self._pairs.take(values.astype(np.intp), mode="clip")) * 2
        if not places.size:
            return
        starts = np.concatenate((places, places - 1))
        starts = starts[(starts >= 0) & (starts <= len(chunk) - 4)]
        heads = _groups_at(np.frombuffer(chunk, np.uint8), starts)
        known = self._heads.take(np.searchsorted(self._heads, heads), mode="clip") == heads
        starts, heads = starts[known], heads[known]
        if starts.size > _MANY:
            yield from _each(bytes(chunk), self._short)
            return
        for start in starts.tolist():
            for one in self._short:
                if chunk[start : start + len(one)] == one:
                    yield start, one


def _groups_at(octets: Array, starts: Array) -> Array:
    """The four bytes from each place on."""
    import numpy as np

    groups: Array = octets[starts].astype("<u4")
    for at in (1, 2, 3):
        groups |= octets[starts + at].astype("<u4") << np.uint32(8 * at)
    return groups
