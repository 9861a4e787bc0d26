"""Which element a byte of a file belongs to.

Only asked about files in which something was found, so it walks them element by element, into sequences to any depth
that `raw` allows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from dcmkit.dataset.raw import (
    DEPTH_LIMIT,
    EXPLICIT,
    ITEM,
    UNDEFINED,
    Encoding,
    RawElement,
    Reader,
    encoding_of,
    guess,
    inside,
    walk,
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

    Made while it is asked, and only as far: asking in the order of offsets walks the file once.

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
        self.data_set, self.transfer_syntax_uid = 0, transfer_syntax_uid
        self._meta: list[Place] = []
        self._first = 0 if bare else self._read_meta()
        self._encoding = guess(data, self.data_set, len(data), encoding_of(self.transfer_syntax_uid))
        self._offset = 0
        self._ahead = self._walked()
        self._last = Place(None, "", self.data_set, self.data_set)

    def at(self, offset: int) -> Place:
        """The place of the byte at `offset`."""
        if offset < self._first:
            return Place(None, "preamble", 0, self._first)
        if offset < self.data_set:
            return next((one for one in self._meta if offset < one.end), Place(None, "", offset, offset))
        if offset < self._last.start:
            self._ahead = self._walked()
        elif offset < self._last.end:
            return self._last
        self._offset = offset
        for place in self._ahead:
            if offset < place.end:
                self._last = place
                return place
        self._last = Place(None, "", min(self._last.end, offset), len(self._data))
        return Place(None, "", offset, offset)

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

    def _walked(self) -> Iterator[Place]:
        """The elements of the data set that end after what was asked for, those with values only."""
        try:
            yield from self._within(self.data_set, len(self._data), self._encoding, 0)
        except InvalidDataSetError:
            return

    def _within(self, pos: int, end: int, encoding: Encoding, depth: int) -> Iterator[Place]:
        """Those of a data set or an item."""
        if depth > DEPTH_LIMIT:
            return
        for one in walk(self._data, pos, end, encoding):
            if not depth and one.tag == _BITS_ALLOCATED and one.length >= 2:
                order: Literal["big", "little"] = "big" if encoding.big_endian else "little"
                self._bits = int.from_bytes(self._data[one.value_start : one.value_start + 2], order)
            if one.end <= self._offset:
                continue
            if one.vr == "SQ" or (one.vr == "UN" and one.length == UNDEFINED):
                yield from self._items(one, encoding, depth)
                continue
            bits = self._bits if one.tag in PIXEL_DATA and one.length != UNDEFINED else 0
            yield Place(one.tag, one.vr, one.value_start, one.end, one.length == UNDEFINED, bits)

    def _items(self, one: RawElement, encoding: Encoding, depth: int) -> Iterator[Place]:
        """Those of the items of a sequence."""
        data, pos = self._data, one.value_start
        reader = inside(Reader(encoding), data, one.vr, pos, one.end)
        while pos < one.end:
            tag, _, start, length = reader.header(data, pos, one.end)
            if tag != ITEM:
                return
            pos = reader.item_end(data, start, one.end, depth + 1) if length == UNDEFINED else start + length
            if pos > self._offset:
                yield from self._within(start, min(pos, one.end), reader.encoding, depth + 1)
