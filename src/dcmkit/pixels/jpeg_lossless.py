"""Lossless JPEG, process 14 with selection value 1 (ITU-T T.81 Annex H), encoded in blocks by numpy.

libjpeg-turbo codes it sample by sample, in two passes; here whole blocks of rows are looked up in a table of codes at
once, neighbours are joined until they fill a word, and the words are laid beside each other.
"""

from __future__ import annotations

import heapq
import struct
import threading
from collections.abc import Iterator
from typing import NamedTuple

from dcmkit.pixels.frames import Array

_BLOCK = 1 << 18
"""Samples at a time: a slice of a CT is one block, and threads seldom wait for each other."""
_COUNTED = 1 << 15
"""About so many samples are counted to make the Huffman table."""
_LONGEST = 16
_HALF = 126
"""The exponent, in a float of 32 bits, of numbers from a half to one: that of n bits is n more."""
_NOBODY = -1
"""What gets the code of ones only, which no symbol may have (T.81 C.2)."""
_ADOBE = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0\0"
"""Says that no color was transformed."""


class _Code(NamedTuple):
    symbol: int
    length: int
    bits: int


def encode(samples: Array, precision: int) -> bytes:
    """A codestream of unsigned samples: (rows, columns), or (rows, columns, 3), whose components are interleaved.

    Args:
        precision: 2 to 16; no sample is 2^precision or more.
    """
    rows, columns = samples.shape[:2]
    components = samples.shape[2] if samples.ndim > 2 else 1
    plane = samples.reshape(rows, columns * components)
    codes = _codes(_counts(plane, components, precision))
    data = b"".join(_packed(plane, components, precision, codes)).replace(b"\xff", b"\xff\0")
    return b"".join((*_headers(rows, columns, components, precision, codes), data, b"\xff\xd9"))


def _headers(rows: int, columns: int, components: int, precision: int, codes: list[_Code]) -> Iterator[bytes]:
    names = b"RGB" if components == 3 else bytes(range(1, components + 1))
    yield b"\xff\xd8"
    if components == 3:
        yield _ADOBE
    described = b"".join(bytes((name, 0x11, 0)) for name in names)
    yield b"\xff\xc3" + struct.pack(">HBHHB", 8 + len(described), precision, rows, columns, components) + described
    lengths = [one.length for one in codes]
    counted = bytes(lengths.count(length) for length in range(1, _LONGEST + 1))
    yield b"\xff\xc4" + struct.pack(">HB", 19 + len(codes), 0) + counted + bytes(one.symbol for one in codes)
    scanned = b"".join(bytes((name, 0)) for name in names)
    yield b"\xff\xda" + struct.pack(">HB", 6 + len(scanned), components) + scanned + b"\1\0\0"


def _differences(plane: Array, first: int, last: int, components: int, precision: int) -> Array:
    """Of some rows from what is predicted: the sample before, above at the start of a row (T.81 H.1.2.1), mod 2^16."""
    import numpy as np

    wanted = plane[first:last].astype(np.uint16)
    found = np.empty_like(wanted)
    np.subtract(wanted[:, components:], wanted[:, :-components], out=found[:, components:])
    above = np.empty_like(wanted[:, :components])
    above[1:] = wanted[:-1, :components]
    above[0] = plane[first - 1, :components] if first else 1 << (precision - 1)
    np.subtract(wanted[:, :components], above, out=found[:, :components])
    return found.reshape(-1)


def _blocks(plane: Array, components: int, precision: int) -> Iterator[Array]:
    rows, width = plane.shape
    step = max(1, _BLOCK // width)
    for first in range(0, rows, step):
        yield _differences(plane, first, min(rows, first + step), components, precision)


# --- Huffman codes ------------------------------------------------------------------------------------------------


def _counts(plane: Array, components: int, precision: int) -> list[int]:
    """How often there is a difference of so many bits, in some rows; all that can be are there once."""
    import numpy as np

    rows, width = plane.shape
    step = max(1, rows * width // _COUNTED)
    some = plane[::step].astype(np.uint16)
    found = some[:, components:] - some[:, :-components]
    magnitudes = np.abs(found.view(np.int16)).view(np.uint16)  # of -32768, 32768
    exponents = np.ascontiguousarray(magnitudes, np.float32).view(np.uint32) >> np.uint32(23)
    counts = np.bincount(exponents.reshape(-1), minlength=_HALF + _LONGEST + 1)
    known = [int(counts[0]), *(int(count) for count in counts[_HALF + 1 :])]
    return [count + 1 for count in known[: precision + 1]]


def _codes(counts: list[int]) -> list[_Code]:
    """A code for each symbol, none longer than 16 bits, the shortest first (T.81 Annex C)."""
    lengths = _lengths(counts)
    while max(lengths.values()) > _LONGEST:
        counts = [(count + 1) // 2 for count in counts]
        lengths = _lengths(counts)
    del lengths[_NOBODY]
    codes: list[_Code] = []
    bits = before = 0
    for length, symbol in sorted((length, symbol) for symbol, length in lengths.items()):
        bits <<= length - before
        codes.append(_Code(symbol, length, bits))
        bits, before = bits + 1, length
    return codes


def _lengths(counts: list[int]) -> dict[int, int]:
    symbols = {_NOBODY: 0} | dict(enumerate(counts))
    lengths = dict.fromkeys(symbols, 0)
    heap: list[tuple[int, int, tuple[int, ...]]] = [(count, symbol, (symbol,)) for symbol, count in symbols.items()]
    heapq.heapify(heap)
    while len(heap) > 1:
        less, _, some = heapq.heappop(heap)
        more, first, others = heapq.heappop(heap)
        for symbol in some + others:
            lengths[symbol] += 1
        heapq.heappush(heap, (less + more, first, some + others))
    return lengths


def _table(codes: list[_Code]) -> Array:
    """For each difference its code with the bits that follow, and in the lowest six bits the length of both."""
    import numpy as np

    table = np.zeros(1 << 16, np.uint64)
    for symbol, length, bits in codes:
        if symbol in (0, 16):  # no bits follow (T.81 H.1.2.2)
            table[symbol and 1 << 15] = bits << 6 | length
            continue
        low, high = 1 << (symbol - 1), 1 << symbol
        follow = np.arange(high, dtype=np.uint64)
        entries = (np.uint64(bits << symbol) + follow << np.uint64(6)) + np.uint64(length + symbol)
        table[low:high] = entries[low:]
        table[(1 << 16) - high + 1 : (1 << 16) - low + 1] = entries[:low]
    return table


# --- bits ---------------------------------------------------------------------------------------------------------


def _packed(plane: Array, components: int, precision: int, codes: list[_Code]) -> Iterator[bytes]:
    """The codes of all differences, without the zeros after bytes of ones; the last byte is filled with ones."""
    import numpy as np

    table = _table(codes)
    begun, used = 0, 0  # a word that is not full, and its bits
    for differences in _blocks(plane, components, precision):
        words, bits = _scratch.laid(*_scratch.looked_up(table, differences), used)
        words[0] |= np.uint64(begun)
        full, used = divmod(bits, 64)
        begun = int(words[full])
        yield words[:full].astype(">u8").tobytes()
    if used:
        count = (used + 7) // 8
        yield (begun >> (64 - 8 * count) | (1 << (8 * count - used)) - 1).to_bytes(count, "big")


class _Scratch(threading.local):
    """Room for a block, which each thread keeps: to get it anew takes longer than what is done in it."""

    _room = 0

    def _make_room(self, size: int) -> None:
        import numpy as np

        self._room = max(size, _BLOCK)
        self._index = np.empty(self._room, np.intp)
        self._words = np.empty((2, self._room + 1), np.uint64)
        self._halves = np.empty((5, self._room // 2 + 2), np.uint64)

    def looked_up(self, table: Array, differences: Array) -> tuple[Array, Array]:
        """What a table says of differences, and how many bits each of it has; good until this is called again."""
        import numpy as np

        size = len(differences)
        if size > self._room:
            self._make_room(size)
        index, (values, lengths) = self._index[:size], self._words[:, :size]
        np.copyto(index, differences)
        table.take(index, out=values, mode="clip")  # where there is an `out`, only this mode makes no copy
        np.bitwise_and(values, np.uint64(63), out=lengths)
        values >>= np.uint64(6)
        return self._joined(size)

    def _joined(self, size: int) -> tuple[Array, Array]:
        """Neighbours made one, again and again, as long as all of them fit words."""
        import numpy as np

        words, others = self._words, self._halves[:2]
        while size > 1:
            if size % 2:
                words[:, size] = 0
                size += 1
            values, lengths = words[:, :size]
            joined, both = others[:, : size // 2]
            np.add(lengths[::2], lengths[1::2], out=both)
            if int(both.max()) > 64:
                break
            np.left_shift(values[::2], lengths[1::2], out=joined)
            joined |= values[1::2]
            words, others, size = others, words, size // 2
        return words[0, :size], words[1, :size]

    def laid(self, values: Array, lengths: Array, used: int) -> tuple[Array, int]:
        """Words with joined values one after the other from bit `used` on, and a word more; and the bits so far.

        No value is longer than a word, so that one begins in each word but the last, and at most one runs over.
        """
        import numpy as np

        starts, places, shifted = self._halves[2:, : len(values)]
        np.cumsum(lengths, out=starts)
        starts += np.uint64(used)
        bits = int(starts[-1])
        starts -= lengths
        np.right_shift(starts, np.uint64(6), out=places)
        starts &= np.uint64(63)
        np.subtract(np.uint64(64), lengths, out=shifted)
        values <<= shifted
        np.right_shift(values, starts, out=shifted)
        lasts = np.append(np.flatnonzero(places[1:] != places[:-1]), len(places) - 1)
        words = np.zeros(bits // 64 + 2, np.uint64)
        words[: len(lasts)] = np.bitwise_or.reduceat(shifted, np.append(0, lasts[:-1] + 1))
        words[1 : len(lasts) + 1] |= values[lasts] << (np.uint64(64) - starts[lasts])
        return words, bits


_scratch = _Scratch()
