"""Walk an encoded data set as it streams by: keep a few values, check that it ends where it should (PS3.5 7).

The rules of this file:

- No recursion. Open sequences and items of undefined length are bytes on a stack; everything whose length is defined
  is stepped over, whatever is in it.
- Bounded memory: a window of `WINDOW` bytes, the values asked for (at most `VALUE_LIMIT` bytes each, longer ones are
  left out), one byte per open level (at most `DEPTH_LIMIT`).
- Any cut of the bytes into pieces gives the same result.
- What is legal enough passes: unknown VRs, odd lengths, descending and repeated tags (the last one counts), stray
  delimiters, zero bytes at the end. What cannot be followed to its end is an `InvalidDataSetError`, nothing else.
"""

from __future__ import annotations

import itertools
import zlib
from functools import lru_cache
from struct import Struct
from typing import Any, Literal, NamedTuple

from dcmkit.dataset.pattern import Element, Outline, Patterns
from dcmkit.errors import InvalidDataSetError
from dcmkit.uids import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)

WINDOW = 16384
"""Bytes looked at in one go: a typical header up to the pixels."""
VALUE_LIMIT = 65536
DEPTH_LIMIT = 1 << 20
INFLATE_LIMIT = 64 << 20
"""Bytes of a deflated data set that are inflated to check it; beyond that it is taken as it is."""

PIXEL_DATA = 0x7FE00010
JPIP_REFERENCED_DEFLATE = "1.2.840.10008.1.2.4.95"
JPIP_HTJ2K_REFERENCED_DEFLATE = "1.2.840.10008.1.2.4.205"
DEFLATED = frozenset({DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, JPIP_REFERENCED_DEFLATE, JPIP_HTJ2K_REFERENCED_DEFLATE})

_NO_PATTERNS = DEFLATED | {IMPLICIT_VR_LITTLE_ENDIAN}

# PS3.5 7.1.2: VRs with a 16-bit length, and those with two reserved bytes and a 32-bit length.
SHORT_VRS = frozenset(b"AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US".split())
LONG_VRS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())

_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_INFLATE_STEP = 1024
"""Compressed bytes inflated in one go: deflate expands at most 1032 times, so about 1 MB comes out at most."""

# What the innermost open level holds: elements, items, or fragments of encapsulated pixel data.
_EXPLICIT, _IMPLICIT, _GUESS, _ITEMS_EXPLICIT, _ITEMS_IMPLICIT, _ITEMS_UN, _FRAGMENTS = range(7)
_ELEMENTS_IN = {_ITEMS_EXPLICIT: _EXPLICIT, _ITEMS_IMPLICIT: _IMPLICIT, _ITEMS_UN: _GUESS}
_NO_VRS = frozenset({b"??", b"  ", b"--", b"\0\0"})
"""What some writers put where the VR belongs, with a 16-bit length after it."""
_NO_KEYS: dict[int, int] = {}


class ScannedHeader(NamedTuple):
    """What a scan found.

    Attributes:
        values: raw value bytes by tag, for the tags wanted that are there (a sequence: its items, undecoded).
        length: bytes of the encoded data set.
        implicit_vr, big_endian: how `values` are encoded.
    """

    values: dict[int, bytes]
    length: int
    implicit_vr: bool
    big_endian: bool


class _ByteOrder:
    """Structs and constants as read in one byte order. A "key" is a tag read as one 32-bit number."""

    def __init__(self, order: Literal["little", "big"]) -> None:
        self.big_endian = order == "big"
        prefix = ">" if self.big_endian else "<"
        self.explicit = Struct(prefix + "LHH").unpack_from
        self.implicit = Struct(prefix + "LL").unpack_from
        self.long = Struct(prefix + "L").unpack_from
        self.short_vrs = frozenset(int.from_bytes(vr, order) for vr in SHORT_VRS)
        self.long_vrs = frozenset(int.from_bytes(vr, order) for vr in LONG_VRS)
        self.item, self.item_end, self.sequence_end = map(self.swap, (_ITEM, _ITEM_END, _SEQUENCE_END))
        self.delimiters = frozenset({self.item, self.item_end, self.sequence_end})

    def swap(self, number: int) -> int:
        """Tag to key, or key to tag."""
        return number if self.big_endian else (number >> 16 | number << 16) & 0xFFFFFFFF


_LITTLE, _BIG = _ByteOrder("little"), _ByteOrder("big")


@lru_cache(maxsize=16)
def _keys(wanted: frozenset[int], big_endian: bool) -> dict[int, int]:
    swap = (_BIG if big_endian else _LITTLE).swap
    return {swap(tag): tag for tag in wanted}


class DataSetScanner:
    """Follows one encoded data set, fed piece by piece.

    Args:
        transfer_syntax_uid: how the data set is encoded; any compressed or unknown syntax is explicit VR little endian.
        wanted: tags (0xGGGGEEEE) at the top level whose values are kept.

    Attributes:
        in_pixel_data: encapsulated pixel data was reached; what is left are fragments, most likely.
    """

    __slots__ = (
        "_carry", "_inflated", "_inflater", "_keys", "_length", "_levels", "_nested", "_order", "_patterns", "_record",
        "_record_defined", "_record_from", "_record_tag", "_seen", "_skip", "_tag", "_values",
        "in_pixel_data", "item_end",
    )  # fmt: skip

    def __init__(self, transfer_syntax_uid: str, wanted: frozenset[int]) -> None:
        big = transfer_syntax_uid == EXPLICIT_VR_BIG_ENDIAN
        self._order = _BIG if big else _LITTLE
        self._keys = _keys(wanted, big)
        self._patterns = None if big or transfer_syntax_uid in _NO_PATTERNS else _patterns(wanted)
        self._inflater = zlib.decompressobj(-15) if transfer_syntax_uid in DEFLATED else None
        self._inflated = 0
        self._levels = bytearray((_GUESS,))
        self._values: dict[int, bytes] = {}
        self._carry = b""
        self._skip = 0
        self._length = 0
        self._tag = 0
        self._seen = False
        self._record: bytearray | None = None
        self._record_tag = 0
        self._record_defined = False
        self._record_from = 0
        self.in_pixel_data = False
        self._nested = False
        self.item_end = -1

    @property
    def skippable(self) -> int:
        """How many of the next bytes need not be fed: `skip()` may pass over them."""
        return self._skip if self._record is None and self._inflater is None else 0

    @property
    def skippable_tag(self) -> int:
        """The tag of the element at the top level that `skippable` is the rest of; 0 for none."""
        return self._tag if self._skip and len(self._levels) == 1 else 0

    def skip(self, count: int) -> None:
        """Pass over the next `count` bytes (at most `skippable`) unread."""
        self._skip -= count
        self._length += count

    def value(self, tag: int) -> bytes | None:
        """The raw value of a wanted tag, if it has gone by already."""
        return self._values.get(tag)

    def feed(self, view: memoryview) -> None:
        """Take the next piece. Raises: InvalidDataSetError."""
        count = len(view)
        self._length += count
        if self._inflater is not None:
            self._feed_deflated(view)
        elif self._skip >= count and self._record is None:
            self._skip -= count
        elif self._length == count and self._patterns is not None:
            self._feed_first(view, self._patterns)
        else:
            self._feed(view)

    def finish(self) -> ScannedHeader:
        """The verdict, after the last piece. Raises: InvalidDataSetError when the data set is empty or truncated."""
        if self._inflated <= INFLATE_LIMIT:
            if self._inflater is not None and not self._inflater.eof:
                raise InvalidDataSetError("the deflated data set is truncated", offending_element=self._tag or None)
            self._check_end()
        return self.header()

    def header(self) -> ScannedHeader:
        """What was found so far, without a verdict."""
        return ScannedHeader(self._values, self._length, self._levels[0] == _IMPLICIT, self._order.big_endian)

    def _check_end(self) -> None:
        if self._carry and not self._skip:
            carry, self._carry = self._carry, b""
            self._run(carry, final=True)
        if self._skip or len(self._levels) > 1 or self._carry.strip(b"\0"):
            raise self._invalid("the data set is truncated")
        if not self._seen:
            raise InvalidDataSetError("the data set is empty")

    def _invalid(self, what: str) -> InvalidDataSetError:
        tag = self._tag
        if not tag:  # nothing was read yet
            return InvalidDataSetError(what)
        return InvalidDataSetError(f"{what} in ({tag >> 16:04X},{tag & 0xFFFF:04X})", offending_element=tag)

    def _feed_deflated(self, view: memoryview) -> None:
        inflater = self._inflater
        assert inflater is not None
        for at in range(0, len(view), _INFLATE_STEP):
            if inflater.eof or self._inflated > INFLATE_LIMIT:
                return
            try:
                piece = inflater.decompress(view[at : at + _INFLATE_STEP])
            except zlib.error:
                raise self._invalid("the deflated data set is damaged") from None
            self._inflated += len(piece)
            self._feed(memoryview(piece))

    def _feed_first(self, view: memoryview, patterns: Patterns) -> None:
        """The first piece: often its header looks like one before."""
        window = bytes(view[:WINDOW])
        found = patterns.match(window)
        if found is None:
            self._run(window)
        else:
            self._values, position, last = found
            self._tag = last[1] << 24 | last[0] << 16 | last[3] << 8 | last[2]
            self._levels[0] = _EXPLICIT
            self._seen = True
            self._run(window, start=position)
        if len(view) > len(window):
            self._feed(view[len(window) :])

    def _feed(self, view: memoryview) -> None:
        at, end = 0, len(view)
        while at < end:
            if self._skip:
                step = min(self._skip, end - at)
                self._skip -= step
                if self._record is not None:
                    self._keep(view[at : at + step])
                at += step
            else:
                window = bytes(view[at : at + WINDOW])
                at += len(window)
                if self._carry:
                    window = self._carry + window
                    self._carry = b""
                self._run(window)

    # --- one window ------------------------------------------------------------------------------------------

    def _run(self, window: bytes, final: bool = False, start: int = 0) -> None:
        """Walk `window`; what of it cannot be understood yet becomes the carry, what lies beyond it the skip."""
        pos = start
        levels = self._levels
        self._record_from = 0
        while pos >= 0:
            kind = levels[-1]
            if kind == _EXPLICIT:
                pos = self._explicit(window, pos, final)
            elif kind == _IMPLICIT:
                pos = self._implicit(window, pos)
            elif kind == _GUESS:
                pos = self._guess(window, pos)
            else:
                pos = self._items(window, pos)
        if self._record is not None and not self._record_defined:
            self._keep(window[self._record_from : len(window) - len(self._carry)])

    def _explicit(self, window: bytes, pos: int, final: bool) -> int:
        """Elements in explicit VR: the tight loop. Returns where the level changed, or -1 at the end of `window`."""
        order = self._order
        header, short_vrs, long_vrs = order.explicit, order.short_vrs, order.long_vrs
        keys = self._keys if len(self._levels) == 1 else _NO_KEYS
        values = self._values
        end = len(window)
        last = end - 8
        key = 0
        while pos <= last:
            key, vr, length = header(window, pos)
            if vr in short_vrs:
                start = pos + 8
            elif vr in long_vrs:
                start = pos + 12
                if start > end:
                    break
                (length,) = order.long(window, pos + 8)
                if length == _UNDEFINED:
                    return self._open(key, window[pos + 4 : pos + 6], start)
            else:
                if key in order.delimiters or not (key or vr or length):
                    return self._delimiter(key, window, pos)
                start, length = self._unusual(window, pos, final)
                if start < 0:
                    break
                if length == _UNDEFINED:
                    return self._open(key, b"UN", start)
            stop = start + length
            if stop > end:
                return self._beyond(key, window, start, stop)
            if key in keys and length <= VALUE_LIMIT:
                values[keys[key]] = window[start:stop]
            pos = stop
        return self._rest(key, window, pos)

    def _implicit(self, window: bytes, pos: int) -> int:
        """Elements in implicit VR. Returns as `_explicit` does."""
        order = self._order
        header, delimiters = order.implicit, order.delimiters
        keys = self._keys if len(self._levels) == 1 else _NO_KEYS
        values = self._values
        end = len(window)
        last = end - 8
        key = 0
        while pos <= last:
            key, length = header(window, pos)
            if key in delimiters or not (key or length):
                return self._delimiter(key, window, pos)
            start = pos + 8
            if length == _UNDEFINED:
                return self._open(key, b"", start)
            stop = start + length
            if stop > end:
                return self._beyond(key, window, start, stop)
            if key in keys and length <= VALUE_LIMIT:
                values[keys[key]] = window[start:stop]
            pos = stop
        return self._rest(key, window, pos)

    def _guess(self, window: bytes, pos: int) -> int:
        """The first element of a data set, or of an item of UN (PS3.5 6.2.2): it shows how the rest is encoded."""
        if len(window) - pos < 8:
            return self._rest(0, window, pos)
        key, length = self._order.implicit(window, pos)
        if key in self._order.delimiters or not (key or length):
            return self._delimiter(key, window, pos)
        vr = window[pos + 4 : pos + 6]
        explicit = self._order.big_endian or _is_letters(vr) or (vr in _NO_VRS and vr != b"\0\0")
        self._levels[-1] = _EXPLICIT if explicit else _IMPLICIT
        self._seen = True
        return pos

    def _items(self, window: bytes, pos: int) -> int:
        """Items of a sequence of undefined length, or fragments (PS3.5 7.5, A.4). Returns as `_explicit` does."""
        order, levels = self._order, self._levels
        header, item = order.implicit, order.item
        end = len(window)
        last = end - 8
        kind = levels[-1]
        while pos <= last:
            key, length = header(window, pos)
            pos += 8
            if key == item:
                if length == _UNDEFINED:
                    if kind == _FRAGMENTS:
                        raise self._invalid("a fragment of undefined length")
                    self._push(_ELEMENTS_IN[kind])
                    return pos
                pos += length
                if pos > end:
                    self._skip = pos - end
                    return -1
            elif key == order.sequence_end:
                self._close(window, pos)
                return pos
            elif key != order.item_end:
                raise self._invalid("there is something that is no item")
        return self._rest(0, window, pos)

    def _unusual(self, window: bytes, pos: int, final: bool) -> tuple[int, int]:
        """Start and length of the value of an element whose VR is unknown; a start of -1 needs more bytes to tell.

        A VR of two letters is one of the future and has a 32-bit length (PS3.5 7.1.2), or a wrong one with a 16-bit
        length: what follows tells. Anything else is an element in implicit VR that strayed here.
        """
        vr = window[pos + 4 : pos + 6]
        start = pos + 8
        _, _, short = self._order.explicit(window, pos)
        if vr in _NO_VRS:
            return start, short
        if not _is_letters(vr):
            return start, self._order.long(window, pos + 4)[0]
        if short:
            return start, short
        room = len(window) - pos
        if room < 16 and not final:
            return -1, 0
        if room < 12 or window[pos + 12 : pos + 14] in SHORT_VRS | LONG_VRS:
            return start, 0
        return pos + 12, self._order.long(window, start)[0]

    # --- levels and values that straddle windows -------------------------------------------------------------

    def _push(self, kind: int) -> None:
        if len(self._levels) >= DEPTH_LIMIT:
            raise self._invalid("sequences are nested too deeply")
        self._levels.append(kind)

    def _open(self, key: int, vr: bytes, start: int) -> int:
        """A value of undefined length begins at `start`: a sequence, or encapsulated pixel data."""
        top = len(self._levels) == 1
        if top:
            self._tag = self._order.swap(key)
            if key in self._keys:
                self._record = bytearray()
                self._record_tag, self._record_defined, self._record_from = self._tag, False, start
        if vr[:1] == b"O" or self._order.swap(key) == PIXEL_DATA:
            self.in_pixel_data = self.in_pixel_data or top
            self._push(_FRAGMENTS)
        elif self._levels[-1] == _IMPLICIT:
            self._push(_ITEMS_IMPLICIT)
        else:
            self._push(_ITEMS_UN if vr == b"UN" else _ITEMS_EXPLICIT)
        return start

    def _close(self, window: bytes, pos: int) -> None:
        """The sequence delimiter before `pos` ends the innermost sequence."""
        self._levels.pop()
        if len(self._levels) == 1 and self._record is not None:
            self._keep(window[self._record_from : pos])
            if self._record is not None:
                self._values[self._record_tag] = bytes(self._record)
                self._record = None

    def _delimiter(self, key: int, window: bytes, pos: int) -> int:
        """A delimiter where an element is expected: the end of an item, or one that strayed; or zeros as padding."""
        levels, order = self._levels, self._order
        if not key:
            zeros = len(window) - pos - len(window[pos:].lstrip(b"\0"))
            return pos + zeros // 8 * 8
        if len(levels) == 1:
            self._tag = order.swap(key)
            if key == order.item:
                raise self._invalid("there is an item outside a sequence")
            if self._nested and key == order.item_end:
                self.item_end = pos + 8
                return -1
            return pos + 8
        levels.pop()
        if key == order.item:  # the delimiter of the item before it is missing
            return pos
        if key == order.sequence_end:  # so it is here
            self._close(window, pos + 8)
        return pos + 8

    def _beyond(self, key: int, window: bytes, start: int, stop: int) -> int:
        """An element whose value goes on beyond the window."""
        self._skip = stop - len(window)
        if len(self._levels) == 1:
            self._tag = self._order.swap(key)
            if key in self._keys and stop - start <= VALUE_LIMIT:
                self._record = bytearray(window[start:])
                self._record_tag, self._record_defined = self._tag, True
        return -1

    def _rest(self, key: int, window: bytes, pos: int) -> int:
        """Too few bytes for the next header."""
        if key and len(self._levels) == 1:
            self._tag = self._order.swap(key)
        self._carry = window[pos:]
        return -1

    def _keep(self, piece: bytes | memoryview) -> None:
        """More of the value being recorded."""
        record = self._record
        assert record is not None
        record += piece
        if self._record_defined:
            if not self._skip:
                self._values[self._record_tag] = bytes(record)
                self._record = None
        elif len(record) > VALUE_LIMIT:
            self._record = None


class _Unusual(Exception):  # noqa: N818 - never leaves this module
    """The header is none a pattern can be made of."""


class _Tracer(DataSetScanner):
    """A scanner that notes everything it looks at."""

    __slots__ = ("spans", "top")

    def __init__(self, wanted: frozenset[int]) -> None:
        super().__init__(EXPLICIT_VR_LITTLE_ENDIAN, wanted)
        self._patterns = None
        self.spans: list[tuple[int, int]] = []
        self.top: dict[int, int] = {}  # start of an element at the top level: its key
        order = _ByteOrder("little")
        explicit, implicit, long = order.explicit, order.implicit, order.long

        def trace_explicit(window: bytes, pos: int) -> tuple[Any, ...]:
            self.spans.append((pos, 8))
            read = explicit(window, pos)
            if len(self._levels) == 1:
                self.top[pos] = read[0]
            return read

        def trace_implicit(window: bytes, pos: int) -> tuple[Any, ...]:
            self.spans.append((pos, 8))
            return implicit(window, pos)

        def trace_long(window: bytes, pos: int) -> tuple[Any, ...]:
            self.spans.append((pos, 4))
            return long(window, pos)

        order.explicit, order.implicit, order.long = trace_explicit, trace_implicit, trace_long  # type: ignore[assignment]
        self._order = order

    def _unusual(self, window: bytes, pos: int, final: bool) -> tuple[int, int]:
        raise _Unusual

    def _delimiter(self, key: int, window: bytes, pos: int) -> int:
        if not key or len(self._levels) == 1:
            raise _Unusual
        return super()._delimiter(key, window, pos)

    def outline(self, window: bytes) -> Outline | None:
        """The header in `window` up to its pixel data; None where it is unusual, or has none here."""
        try:
            self._run(window)
        except (_Unusual, InvalidDataSetError):
            return None
        pixels = next((pos for pos, key in self.top.items() if self._order.swap(key) == PIXEL_DATA), 0)
        starts = [pos for pos in self.top if pos <= pixels]
        if len(starts) < 2 or self._levels[0] != _EXPLICIT:
            return None
        elements = [self._element(window, start, end) for start, end in itertools.pairwise(starts)]
        kept = {element.tag: window[element.value : element.end] for element in elements if element.tag}
        if kept != {tag: value for tag, value in self._values.items() if tag in kept}:
            return None
        return Outline(window, elements, [(pos, length) for pos, length in self.spans if pos < pixels])

    def _element(self, window: bytes, start: int, end: int) -> Element:
        vr = int.from_bytes(window[start + 4 : start + 6], "little")
        plain = vr in self._order.short_vrs
        tag = self._order.swap(self.top[start])
        wanted = tag if tag in self._values else 0
        return Element(start, start + (8 if plain else 12), end, window[start : start + 6], wanted, plain)


@lru_cache(maxsize=16)
def _patterns(wanted: frozenset[int]) -> Patterns:
    """Shared by all scanners of this process that look for the same tags."""
    return Patterns(lambda window: _Tracer(wanted).outline(window), VALUE_LIMIT)


def _is_letters(vr: bytes) -> bool:
    return vr.isalpha() and vr.isupper()


def read_items(value: bytes, wanted: frozenset[int], header: ScannedHeader, limit: int = 64) -> list[dict[int, bytes]]:
    """The wanted values in each of the first `limit` items of a sequence's raw `value`; ends where it is damaged."""
    order = _BIG if header.big_endian else _LITTLE
    items: list[dict[int, bytes]] = []
    pos, end = 0, len(value)
    while pos + 8 <= end and len(items) < limit:
        key, length = order.implicit(value, pos)
        if key != order.item:
            break
        pos += 8
        scanner = DataSetScanner(EXPLICIT_VR_BIG_ENDIAN if header.big_endian else "", wanted)
        scanner._nested = True
        stop = end if length == _UNDEFINED else min(pos + length, end)
        try:
            scanner._run(value[pos:stop], final=True)
        except InvalidDataSetError:
            break
        items.append(scanner._values)
        if length != _UNDEFINED:
            pos = stop
        elif scanner.item_end >= 0:
            pos += scanner.item_end
        else:
            break
    return items
