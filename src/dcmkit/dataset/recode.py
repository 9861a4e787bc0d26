"""Elements from one encoding into another: implicit and explicit VR, little and big endian (PS3.5 7, Annex A).

Values are not interpreted, only put into another byte order where their VR has one. Sequences are followed to any
depth that `raw` allows; large values are handed on piece by piece, so that memory stays flat.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple, TypeAlias

from dcmkit.dataset.dictionary import vr_of
from dcmkit.dataset.elements import BYTES_VRS, LONG_LENGTH_VRS
from dcmkit.dataset.raw import (
    DEPTH_LIMIT,
    ITEM,
    ITEM_END,
    SEQUENCE_END,
    UNDEFINED,
    Encoding,
    RawElement,
    RawElements,
    Reader,
    inside,
)
from dcmkit.errors import InvalidDataSetError

AS_THEY_ARE, DEFINED, UNDEFINED_LENGTHS = "as-they-are", "defined", "undefined"
"""What becomes of the lengths of sequences and items."""
REMOVE, RECALCULATE, CREATE = "remove", "recalculate", "create"
"""What becomes of group lengths: none, for the groups that have one, for all."""

WORDS = {
    "AT": 2, "OW": 2, "SS": 2, "US": 2, "FL": 4, "OF": 4, "OL": 4, "SL": 4, "UL": 4,
    "FD": 8, "OD": 8, "OV": 8, "SV": 8, "UV": 8,
}  # fmt: skip
"""Bytes of a word of the VRs that have a byte order (PS3.5 7.3)."""
_SIGNED_OR_NOT = frozenset({
    0x00189810, 0x00221452, 0x00280071, 0x00280104, 0x00280105, 0x00280106, 0x00280107, 0x00280108, 0x00280109,
    0x00280110, 0x00280111, 0x00280120, 0x00280121, 0x00281100, 0x00281101, 0x00281102, 0x00281103, 0x00281111,
    0x00281112, 0x00281113, 0x00283002, 0x00409211, 0x00409216, 0x00603004, 0x00603006,
})  # fmt: skip
"""US or SS, as Pixel Representation says."""
_WORDS_IF_IMPLICIT = frozenset({
    0x00143050, 0x00143070, 0x00281200, 0x00283006, 0x54000110, 0x54000112, 0x5400100A, 0x54001010, 0x7FE00010,
})  # fmt: skip
"""OB, US or OW by PS3.6; in implicit VR they are words (PS3.5 A.1)."""
_PIXEL_REPRESENTATION = 0x00280103
_NOT_OF_DATA_SETS = frozenset({0x0000, 0x0002, 0xFFFC})
"""Groups of commands, file meta information and padding."""
_BLOCK = 1 << 20
_SMALL, _LARGE = 1 << 12, 1 << 20
_BUFFER_LIMIT = 1 << 26
"""Bytes of one item with its sequences, large values not counted."""

Buffer: TypeAlias = bytes | bytearray | memoryview


class _Swapped(NamedTuple):
    """A value whose words have to be turned."""

    value: memoryview
    width: int


class Parts:
    """Encoded bytes: small pieces joined, large values where they lie."""

    __slots__ = ("_parts", "_small", "size")

    def __init__(self) -> None:
        self._parts: list[bytearray | memoryview | _Swapped] = []
        self.size = self._small = 0

    def add(self, piece: Buffer) -> None:
        """Append bytes; large ones are not copied."""
        length = len(piece)
        self.size += length
        if length > _SMALL:
            self._parts.append(memoryview(piece))
            return
        self._small += length
        if self._small > _BUFFER_LIMIT:
            raise InvalidDataSetError(f"an item is longer than {_BUFFER_LIMIT} bytes")
        last = self._parts[-1] if self._parts else None
        if not isinstance(last, bytearray):
            last = bytearray()
            self._parts.append(last)
        last += piece

    def add_swapped(self, value: memoryview, width: int) -> None:
        """Append a value with its words turned."""
        if len(value) <= _SMALL:
            self.add(swapped(value, width))
            return
        self.size += len(value)
        self._parts.append(_Swapped(value, width))

    def extend(self, other: Parts) -> None:
        """Append all of another."""
        for part in other._parts:
            if isinstance(part, _Swapped):
                self.add_swapped(*part)
            else:
                self.add(part)

    def pieces(self) -> Iterator[Buffer]:
        """The bytes, none longer than a block where they have to be made."""
        for part in self._parts:
            if isinstance(part, _Swapped):
                for at in range(0, len(part.value), _BLOCK):
                    yield swapped(part.value[at : at + _BLOCK], part.width)
            else:
                yield part


class _Large:
    """A long sequence of the top level: gone through twice instead of kept, when its length must be known."""

    def __init__(self, recoder: Recoder, elements: RawElements, one: RawElement, defined: bool) -> None:
        self._recoder, self._elements, self._one, self._defined = recoder, elements, one, defined
        self._length = sum(item.size for item in self._items()) if defined else UNDEFINED
        if defined and self._length >= UNDEFINED:
            raise InvalidDataSetError("a sequence becomes longer than 4 GiB", offending_element=one.tag)

    def _items(self) -> Iterator[Parts]:
        one, elements = self._one, self._elements
        reader = Reader(elements.encoding)
        within = inside(reader, elements.data, one.vr, one.value_start, one.end)
        return self._recoder.items(within, elements.data, one, 0)

    @property
    def size(self) -> int:
        """Bytes of all of it, header included."""
        header = len(self._recoder.header(self._one.tag, "SQ", self._length))
        return header + (self._length if self._defined else sum(item.size for item in self._items()) + 8)

    def pieces(self) -> Iterator[Buffer]:
        """The bytes."""
        yield self._recoder.header(self._one.tag, "SQ", self._length)
        for item in self._items():
            yield from item.pieces()
        if not self._defined:
            yield self._recoder.delimiter(SEQUENCE_END)


class Recoder:
    """Writes elements in one encoding.

    Args:
        target: that encoding.
        sequences: `AS_THEY_ARE`, `DEFINED` or `UNDEFINED_LENGTHS`.
        signed: Pixel Representation is 1, which decides between US and SS where the source does not.
    """

    def __init__(self, target: Encoding, *, sequences: str = AS_THEY_ARE, signed: bool = False) -> None:
        self.target, self._sequences, self._signed = target, sequences, signed
        self._order = ">" if target.big_endian else "<"

    # --- headers ---------------------------------------------------------------------------------------------

    def header(self, tag: int, vr: str, length: int) -> bytes:
        """What stands before a value; a length of 16 bits must suffice where the VR has such a one."""
        group, element = tag >> 16, tag & 0xFFFF
        if not self.target.explicit:
            return struct.pack("<HHL", group, element, length)
        if vr in LONG_LENGTH_VRS:
            return struct.pack(f"{self._order}HH2sHL", group, element, vr.encode(), 0, length)
        return struct.pack(f"{self._order}HH2sH", group, element, vr.encode(), length)

    def delimiter(self, tag: int, length: int = 0) -> bytes:
        """An item, or the end of one or of a sequence."""
        return struct.pack(f"{self._order}HHL", tag >> 16, tag & 0xFFFF, length)

    # --- elements --------------------------------------------------------------------------------------------

    def top_level(self, elements: RawElements, one: RawElement) -> Parts | _Large:
        """One element of a data set's top level."""
        sequence = self._sequence_vr(elements.encoding, one)
        if sequence and one.end - one.start > _LARGE and not self.as_it_is(elements.encoding, elements.data, one):
            return _Large(self, elements, one, self._defined(one.length))
        parts = Parts()
        self._element(parts, Reader(elements.encoding), elements.data, one, 0)
        return parts

    def _defined(self, length: int) -> bool:
        return self._sequences == DEFINED or (self._sequences == AS_THEY_ARE and length != UNDEFINED)

    def _sequence_vr(self, source: Encoding, one: RawElement) -> bool:
        return one.vr == "SQ" or (one.length == UNDEFINED and (one.vr == "UN" or not source.explicit))

    def as_it_is(self, source: Encoding, data: memoryview, one: RawElement) -> bool:
        """Whether the bytes can stay."""
        if source != self.target or (one.length != UNDEFINED and one.length & 1):
            return False
        if source.explicit and bytes(data[one.start + 4 : one.start + 6]) != one.vr.encode():
            return False
        return self._sequences == AS_THEY_ARE or not self._sequence_vr(source, one)

    def _element(self, parts: Parts, reader: Reader, data: memoryview, one: RawElement, depth: int) -> None:
        source = reader.encoding
        if self.as_it_is(source, data, one):
            parts.add(data[one.start : one.end])
        elif self._sequence_vr(source, one):
            within = inside(reader, data, one.vr, one.value_start, one.end)
            value = Parts()
            for item in self.items(within, data, one, depth):
                value.extend(item)
            defined = self._defined(one.length)
            if defined and value.size >= UNDEFINED:
                raise InvalidDataSetError("a sequence becomes longer than 4 GiB", offending_element=one.tag)
            parts.add(self.header(one.tag, "SQ", value.size if defined else UNDEFINED))
            parts.extend(value)
            if not defined:
                parts.add(self.delimiter(SEQUENCE_END))
        elif one.length == UNDEFINED:
            if source.big_endian or self.target.big_endian:
                raise InvalidDataSetError("encapsulated data cannot be in big endian", offending_element=one.tag)
            parts.add(self.header(one.tag, one.vr, UNDEFINED))
            parts.add(data[one.value_start : one.end])
        else:
            self._plain(parts, source, data[one.value_start : one.end], one)

    def _plain(self, parts: Parts, source: Encoding, value: memoryview, one: RawElement) -> None:
        vr = one.vr if source.explicit else self._implicit_vr(one.tag)
        value = value[: one.length]
        odd = len(value) & 1
        big_endian = self.target.big_endian
        if vr not in LONG_LENGTH_VRS and len(value) + odd > 0xFFFF and self.target.explicit:
            written, big_endian = "UN", False  # PS3.5 6.2.2
        else:
            written = vr
        parts.add(self.header(one.tag, written, len(value) + odd))
        if source.big_endian != big_endian and vr in WORDS:
            parts.add_swapped(value, WORDS[vr])
        else:
            parts.add(value)
        if odd:
            parts.add(b"\0" if vr in BYTES_VRS or vr in WORDS or vr in ("UI", "SQ") else b" ")

    def _implicit_vr(self, tag: int) -> str:
        """The VR of an element that was encoded without."""
        if tag in _SIGNED_OR_NOT:
            return "SS" if self._signed else "US"
        if tag in _WORDS_IF_IMPLICIT or (tag >> 24 in (0x50, 0x60) and tag & 0xFFFF in (0x3000, 0x200C)):
            return "OW"
        return vr_of(tag)

    # --- sequences -------------------------------------------------------------------------------------------

    def items(self, reader: Reader, data: memoryview, one: RawElement, depth: int) -> Iterator[Parts]:
        """The items of a sequence, encoded."""
        if depth >= DEPTH_LIMIT:
            raise InvalidDataSetError(f"sequences are nested deeper than {DEPTH_LIMIT}", offending_element=one.tag)
        pos, end = one.value_start, one.end
        while pos < end:
            tag, _, begin, size = reader.header(data, pos, end)
            if tag == SEQUENCE_END:
                return
            if tag != ITEM:
                raise InvalidDataSetError("something else where an item should be", offending_element=one.tag)
            if size != UNDEFINED and size > end - begin:
                raise InvalidDataSetError("the data set ends inside an item", offending_element=one.tag)
            stop = end if size == UNDEFINED else begin + size
            content, pos = self._content(reader, data, begin, stop, size == UNDEFINED, depth)
            item, defined = Parts(), self._defined(size)
            item.add(self.delimiter(ITEM, content.size if defined else UNDEFINED))
            item.extend(content)
            if not defined:
                item.add(self.delimiter(ITEM_END))
            yield item

    def _content(
        self, reader: Reader, data: memoryview, pos: int, end: int, delimited: bool, depth: int
    ) -> tuple[Parts, int]:
        """The elements of one item without group lengths, and where it ends."""
        content = Parts()
        while pos < end:
            tag, vr, start, length = reader.header(data, pos, end)
            if tag == ITEM_END:
                pos = start
                if delimited:
                    break
                continue
            if tag == SEQUENCE_END:
                break
            if tag == ITEM:
                raise InvalidDataSetError("an item where an element should be", offending_element=tag)
            last = reader.end(data, tag, vr, start, length, end, depth + 1)
            if tag & 0xFFFF:
                one = RawElement(tag, vr, pos, start, length, last)
                self._element(content, reader, data, one, depth + 1)
            pos = last
        return content, pos


def swapped(value: Buffer, width: int) -> bytes:
    """A value with its words turned; bytes that make no whole word stay."""
    turned = bytearray(value)
    whole = len(turned) - len(turned) % width
    for index in range(width):
        turned[index:whole:width] = value[width - 1 - index : whole : width]
    return bytes(turned)


def recode(
    layers: Sequence[RawElements],
    target: Encoding,
    *,
    sequences: str = AS_THEY_ARE,
    group_lengths: str = REMOVE,
    first: int = 0,
    last: int = 0xFFFFFFFF,
) -> Iterator[Buffer]:
    """Data sets laid over each other (of several elements with one tag that of the last counts), encoded anew.

    Args:
        layers: they may be in different encodings.
        target: how they are to be encoded.
        sequences: `AS_THEY_ARE`, `DEFINED` or `UNDEFINED_LENGTHS`.
        group_lengths: `REMOVE`, `RECALCULATE` or `CREATE`; never of the pixel data's group.
        first, last: tags; others are left out.

    Raises:
        InvalidDataSetError: a sequence cannot be followed.
    """
    found: dict[int, tuple[RawElements, RawElement]] = {}
    representation = None
    for layer in layers:
        found.update((one.tag, (layer, one)) for one in layer if one.tag >> 16 not in _NOT_OF_DATA_SETS)
        if _PIXEL_REPRESENTATION in layer:
            representation = layer.unsigned(_PIXEL_REPRESENTATION)
    recoder = Recoder(target, sequences=sequences, signed=representation == 1)
    wanted = [tag for tag in sorted(found) if first <= tag <= last]
    for group, tags in groupby(wanted, lambda tag: tag >> 16):
        numbers = list(tags)
        kept = [recoder.top_level(*found[tag]) for tag in numbers if tag & 0xFFFF] if group_lengths != REMOVE else None
        if kept and group != 0x7FE0 and (group_lengths == CREATE or not numbers[0] & 0xFFFF):
            size = sum(one.size for one in kept)
            order = ">" if target.big_endian else "<"
            yield recoder.header(group << 16, "UL", 4) + struct.pack(f"{order}L", min(size, 0xFFFFFFFF))
        if kept is None:
            yield from _runs(recoder, [found[tag] for tag in numbers if tag & 0xFFFF])
        else:
            for one in kept:
                yield from one.pieces()


def _runs(recoder: Recoder, wanted: list[tuple[RawElements, RawElement]]) -> Iterator[Buffer]:
    """Elements one by one, but those that can stay and follow each other in one piece."""
    layer, start, end = None, 0, 0
    for elements, one in wanted:
        if recoder.as_it_is(elements.encoding, elements.data, one):
            if elements is layer and one.start == end:
                end = one.end
                continue
            if layer is not None:
                yield layer.data[start:end]
            layer, start, end = elements, one.start, one.end
            continue
        if layer is not None:
            yield layer.data[start:end]
            layer = None
        yield from recoder.top_level(elements, one).pieces()
    if layer is not None:
        yield layer.data[start:end]
