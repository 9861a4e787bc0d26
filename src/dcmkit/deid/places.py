"""Which element a byte of a file belongs to.

Only asked about files in which something was found, so it walks them element by element, into sequences to any depth
that `raw` allows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from dcmkit.dataset.raw import (
    DEPTH_LIMIT,
    EXPLICIT,
    ITEM,
    ITEM_END,
    SEQUENCE_END,
    UNDEFINED,
    Reader,
    encoding_of,
    guess,
    inside,
)
from dcmkit.errors import InvalidDataSetError

PIXEL_DATA = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
"""Float, double float and other Pixel Data (PS3.3 C.7.6.3, C.7.6.24)."""
_BITS_ALLOCATED = 0x00280100
_TRANSFER_SYNTAX = 0x00020010


class Place(NamedTuple):
    """Where a byte lies.

    Attributes:
        tag: of the innermost element; None before the file meta, or where the data set cannot be followed.
        vr: its VR; "" outside of elements.
        start, end: its value; of encapsulated data all fragments.
        encapsulated: whether that is in fragments.
        bits: Bits Allocated of native pixel data, else 0.
    """

    tag: int | None
    vr: str
    start: int
    end: int
    encapsulated: bool = False
    bits: int = 0

    @property
    def name(self) -> str:
        """`0010,0020`, `pixel data`, or what lies outside of elements."""
        if self.tag is None:
            return self.vr or "unknown"
        if self.tag in PIXEL_DATA:
            return "pixel data"
        return f"{self.tag >> 16:04X},{self.tag & 0xFFFF:04X}"

    @property
    def of_pixels(self) -> bool:
        """Whether it is pixel data."""
        return self.tag in PIXEL_DATA


class Places:
    """A map of one file, or of a data set without its file meta.

    Args:
        data: all bytes.
        transfer_syntax_uid: of the data set, where the file meta does not say it.
        bare: there is no preamble and no file meta (a data set that was inflated).

    Attributes:
        data_set: where the data set begins.
        transfer_syntax_uid: of the data set.
    """

    def __init__(self, data: memoryview, transfer_syntax_uid: str = "", *, bare: bool = False) -> None:
        self._data, self._bits = data, 0
        self._last = Place(None, "", 0, 0)
        self.data_set, self.transfer_syntax_uid = 0, transfer_syntax_uid
        self._meta: list[Place] = []
        self._first = 0 if bare else self._read_meta()
        found = encoding_of(self.transfer_syntax_uid)
        self._reader = Reader(guess(data, self.data_set, len(data), found))

    def at(self, offset: int) -> Place:
        """The place of the byte at `offset`."""
        last = self._last
        if last.tag is not None and last.start <= offset < last.end:
            return last
        self._last = place = self._find(offset)
        return place

    def _read_meta(self) -> int:
        """Where the file meta begins; it and the syntax of the data set are noted."""
        data, pos = self._data, 132 if bytes(self._data[128:132]) == b"DICM" else 0
        first, reader = pos, Reader(EXPLICIT)
        try:
            while pos < len(data) and bytes(data[pos : pos + 2]) == b"\x02\0":
                tag, vr, start, length = reader.header(data, pos, len(data))
                end = reader.end(data, tag, vr, start, length, len(data))
                self._meta.append(Place(tag, vr, start, end))
                if tag == _TRANSFER_SYNTAX and not self.transfer_syntax_uid:
                    self.transfer_syntax_uid = bytes(data[start:end]).decode("latin-1").strip(" \0")
                pos = end
        except InvalidDataSetError:
            pass
        self.data_set = pos
        return first

    def _find(self, offset: int) -> Place:
        if offset < self._first:
            return Place(None, "preamble", 0, self._first)
        if offset < self.data_set:
            return next((one for one in self._meta if offset < one.end), Place(None, "", offset, offset))
        try:
            return self._within(self._reader, self.data_set, len(self._data), offset, 0)
        except InvalidDataSetError:
            return Place(None, "", offset, offset)

    def _within(self, reader: Reader, pos: int, end: int, offset: int, depth: int) -> Place:
        """The place among the elements of a data set or an item."""
        if depth > DEPTH_LIMIT:
            return Place(None, "", offset, offset)
        for tag, vr, start, length, last in self._elements(reader, pos, end, top=depth == 0):
            if offset >= last:
                continue
            if vr == "SQ" or (vr == "UN" and length == UNDEFINED):
                within = inside(reader, self._data, vr, start, last)
                return self._items(within, start, last, offset, depth)
            pixels = tag in PIXEL_DATA
            encapsulated = length == UNDEFINED
            return Place(tag, vr, start, last, encapsulated, self._bits if pixels and not encapsulated else 0)
        return Place(None, "", offset, offset)

    def _elements(self, reader: Reader, pos: int, end: int, *, top: bool) -> Iterator[tuple[int, str, int, int, int]]:
        data = self._data
        while pos < end:
            tag, vr, start, length = reader.header(data, pos, end)
            if tag in (ITEM_END, SEQUENCE_END, ITEM):
                pos = start
                continue
            last = reader.end(data, tag, vr, start, length, end)
            if top and tag == _BITS_ALLOCATED and length >= 2:
                self._bits = int.from_bytes(data[start : start + 2], "big" if reader.encoding.big_endian else "little")
            yield tag, vr, start, length, last
            pos = last

    def _items(self, reader: Reader, pos: int, end: int, offset: int, depth: int) -> Place:
        """The place among the items of a sequence."""
        data = self._data
        while pos < end:
            tag, _, start, length = reader.header(data, pos, end)
            if tag != ITEM:
                break
            last = reader.item_end(data, start, end, depth + 1) if length == UNDEFINED else start + length
            if offset < last:
                return self._within(reader, start, min(last, end), offset, depth + 1)
            pos = last
        return Place(None, "", offset, offset)
