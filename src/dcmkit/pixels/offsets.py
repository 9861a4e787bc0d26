"""Where the frames of encapsulated pixel data lie (PS3.5 A.4): from its offset table, or from the fragments themselves.

Offset tables are believed as far as they can be checked: a frame begins at an item and ends where the next one begins.
Where that does not hold, or there is no table, the fragments are walked once, and where there are more of them than
frames, told apart by how codestreams of the transfer syntax begin.
"""

from __future__ import annotations

import sys
import threading
from array import array
from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

from dcmkit.dataset.raw import UNDEFINED
from dcmkit.errors import InvalidDataSetError
from dcmkit.pixels.description import PIXEL_DATA

FRAGMENTS_LIMIT = 1 << 20
"""Fragments of one object; walking so many takes about a second."""

_FEW = 4096
"""Fragments of one frame that are handed out one by one; more are joined as they come."""

_ITEM_KEY, _END_KEY = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
_ITEM_END = b"\xfe\xff\x0d\xe0\0\0\0\0"
_tag_and_length = Struct("<4sL").unpack_from
_JPEG, _JPEG_2000 = (b"\xff\xd8\xff",), (b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ")
_JPEG_XL = (b"\xff\x0a", b"\0\0\0\x0cJXL ")
_RLE = tuple(bytes((count, 0, 0, 0, 64, 0, 0, 0)) for count in range(1, 16))
_PREFIX = "1.2.840.10008.1.2."
_VIDEO = tuple(f"4.{number}" for number in range(100, 109))


def start_markers(transfer_syntax_uid: str) -> tuple[bytes, ...]:
    """What codestreams of a transfer syntax may begin with; nothing where no such mark is known."""
    name = transfer_syntax_uid.removeprefix(_PREFIX)
    if name == "5":
        return _RLE
    if not name.startswith("4.") or is_video(transfer_syntax_uid):
        return ()
    part = name[2:]
    if part in ("90", "91", "92", "93", "201", "202", "203"):
        return _JPEG_2000
    if part in ("110", "111", "112"):
        return _JPEG_XL
    return _JPEG


def is_video(transfer_syntax_uid: str) -> bool:
    """Whether all frames are in one stream (PS3.5 8.2.5 ff.)."""
    name = transfer_syntax_uid.removeprefix(_PREFIX)
    return name.removesuffix(".1") in _VIDEO and name != transfer_syntax_uid


class Fragment(NamedTuple):
    """An item of encapsulated pixel data: where it begins, its value, and the next item."""

    start: int
    value_start: int
    length: int
    end: int


class _Found(NamedTuple):
    """Where frames begin; one object, so that threads see all of it or none."""

    starts: array[int]
    end: int
    scanned: bool = False
    ambiguous: bool = False


class Encapsulated:
    """The frames of encapsulated pixel data. Frames may be asked for by several threads.

    Attributes:
        count: the frames there should be.
        end: where the pixel data ends, its delimiter included.
        warnings: what was repaired.
    """

    def __init__(
        self,
        data: memoryview,
        start: int,
        end: int,
        transfer_syntax_uid: str,
        number_of_frames: int | None,
        *,
        extended: memoryview | None = None,
        delimited: bool = True,
        warnings: list[str] | None = None,
    ) -> None:
        """Look at the offset table and the last frame; all fragments only where that does not do.

        Args:
            data: what the pixel data lies in, from `start` on, at most to `end`.
            number_of_frames: as the data set says; None where it does not.
            extended: the value of the Extended Offset Table.
            delimited: a sequence delimiter is at the end.

        Raises:
            InvalidDataSetError: the items cannot be followed to the end.
        """
        self._data, self._limit, self._delimited = data, end, delimited
        self._markers = start_markers(transfer_syntax_uid)
        self._declared = number_of_frames
        self._lock = threading.Lock()
        self._check = False
        self._found = _Found(array("Q"), -1)
        self.warnings = [] if warnings is None else warnings
        table = self._item(start)
        if table is None:
            raise _invalid("the pixel data has no items")
        self._base = table.end
        self.count = number_of_frames or 1
        self.end = -1
        if is_video(transfer_syntax_uid):
            self.end = self._end_after(self._base)
            self._found = _Found(array("Q", (self._base,)), self.end, scanned=True)
            return
        starts = self._extended(extended) if extended is not None and len(extended) else None
        if starts is None:
            starts = self._basic(table)
        if starts is None or not self._holds(starts):
            self._scan()

    # --- items -----------------------------------------------------------------------------------------------

    def _item(self, pos: int) -> Fragment | None:
        """The item at `pos`, None at the end of the sequence."""
        data, limit = self._data, self._limit
        if limit - pos < 8:
            if pos >= limit and not self._delimited:
                return None
            raise _invalid("the data set ends inside the pixel data")
        key, length = _tag_and_length(data, pos)
        if key != _ITEM_KEY:
            if key == _END_KEY:
                return None
            raise _invalid("something else than an item in the pixel data")
        if length == UNDEFINED:
            return self._undefined(pos)
        if length > limit - pos - 8:
            raise _invalid("the data set ends inside a fragment")
        end = pos + 8 + length
        if (
            length & 1
            and data[end : end + 4] not in (_ITEM_KEY, _END_KEY)
            and data[end + 1 : end + 5]
            in (
                _ITEM_KEY,
                _END_KEY,
            )
        ):
            end += 1  # padded, and not counted
        return Fragment(pos, pos + 8, length, end)

    def _undefined(self, pos: int) -> Fragment:
        """A fragment of undefined length, against PS3.5 A.4, ends at the first delimiter that could be its own."""
        at = pos + 8
        while at < self._limit:
            block = bytes(self._data[at : at + (1 << 20) + 7])
            found = block.find(_ITEM_END)
            if found >= 0:
                self._warn("a fragment has no length")
                return Fragment(pos, pos + 8, at + found - pos - 8, at + found + 8)
            at += 1 << 20
        raise _invalid("a fragment of undefined length does not end")

    def _walk(self, pos: int) -> Iterator[tuple[int, int]]:
        """Beginning and length of each item from `pos` on; then that of what comes after them, with -1."""
        data, limit = self._data, self._limit
        for _ in range(FRAGMENTS_LIMIT):
            if limit - pos >= 8:
                key, length = _tag_and_length(data, pos)
                if key == _ITEM_KEY and not length & 1 and length <= limit - pos - 8:
                    yield pos, length
                    pos += 8 + length
                    continue
            item = self._item(pos)
            if item is None:
                yield (min(pos + 8, limit) if self._delimited else limit), -1
                return
            yield pos, item.length
            pos = item.end
        raise _invalid(f"the pixel data has more than {FRAGMENTS_LIMIT} fragments")

    def _end_after(self, pos: int) -> int:
        """Where the pixel data ends, from the fragment at `pos` on."""
        at = pos
        for at, _ in self._walk(pos):  # noqa: B007 - the last one counts
            pass
        return at

    def _marked(self, start: int, length: int) -> bool:
        """Whether the fragment that begins at `start` is the first of a codestream, by its mark."""
        return bytes(self._data[start + 8 : start + 8 + min(12, length)]).startswith(self._markers)

    # --- offset tables ---------------------------------------------------------------------------------------

    def _extended(self, extended: memoryview) -> array[int] | None:
        """Offsets of the Extended Offset Table (PS3.3 C.7.6.3.1.8)."""
        table = _numbers(extended, "Q")
        if table is None or (self._declared is not None and len(table) != self._declared):
            self._warn("the extended offset table does not have an entry for each frame")
            return None
        return table

    def _basic(self, item: Fragment) -> array[int] | None:
        if not item.length:
            return None
        table = _numbers(self._data[item.value_start : item.value_start + item.length], "I")
        if table is None:
            self._warn("the basic offset table has an odd length")
            return None
        if self._declared is not None and len(table) != self._declared:
            self._warn(f"the basic offset table has {len(table)} entries for {self._declared} frames")
            return None
        for index in range(1, len(table)):
            if table[index] < table[index - 1]:  # beyond 4 GiB they begin again
                self._warn("the basic offset table is not in order")
                return None
        return array("Q", table)

    def _holds(self, table: array[int]) -> bool:
        """Take a table that is in order, and whose first and last frames begin with an item."""
        base, room = self._base, self._limit - self._base
        if not table or table[0] or any(map(int.__ge__, table, table[1:])) or table[-1] > room - 8:
            self._warn("the offset table is wrong")
            return False
        try:
            first, last = self._item(base), self._item(base + table[-1])
            if first is None or last is None:
                raise _invalid("no frame begins here")
            self._check = bool(self._markers) and self._marked(first.start, first.length)
            if self._check and not self._marked(last.start, last.length):
                raise _invalid("no frame begins here")
            self.end = self._end_after(last.start)
        except InvalidDataSetError:
            self._warn("the offset table is wrong")
            return False
        self._found = _Found(array("Q", (base + offset for offset in table)), self.end)
        self.count = self._declared or len(table)
        return True

    # --- fragments -------------------------------------------------------------------------------------------

    def _scan(self) -> None:
        """Walk all fragments, and see which of them begin a frame."""
        starts, lengths, declared = array("Q"), array("L"), self._declared
        for start, length in self._walk(self._base):
            if length < 0:
                self.end = start
                break
            starts.append(start)
            lengths.append(length)
        first_bytes, data = frozenset(marker[0] for marker in self._markers), self._data
        marked = array("Q", (
            start for start, length in zip(starts, lengths, strict=True)
            if length and data[start + 8] in first_bytes and self._marked(start, length)
        ))  # fmt: skip
        all_marked = bool(marked) and marked[0] == self._base
        ambiguous = False
        if declared is None:
            chosen = marked if len(marked) > 1 and all_marked else starts[:1]
            self.count = max(1, len(chosen))
            if len(chosen) > 1:
                self._warn(f"the number of frames is missing; there are {len(chosen)}")
        elif declared == 1:
            chosen = starts[:1]
        elif len(starts) > declared and all_marked and len(marked) >= declared:
            chosen = marked
        else:
            chosen, ambiguous = starts, len(starts) > declared
        if declared is not None and len(chosen) > declared:
            self._warn(f"there are more fragments than {declared} frames need")
        elif declared is not None and len(chosen) < declared:
            self._warn(f"there are only {len(chosen)} of {declared} frames")
        self._found = _Found(chosen, self.end, scanned=True, ambiguous=ambiguous)

    def fragments(self, index: int) -> list[memoryview]:
        """The values of the fragments of one frame.

        Raises:
            InvalidDataSetError: they are not there, or it cannot be told which they are.
        """
        found = self._fragments(self._found, index)
        if found is None and not self._found.scanned:
            with self._lock:
                if not self._found.scanned:
                    self._warn("the offset table is wrong")
                    self._scan()
            found = self._fragments(self._found, index)
        if not found:
            raise _invalid(f"frame {index + 1} of {self.count} is not in the pixel data")
        return found

    def places(self, index: int) -> Iterator[tuple[int, int]]:
        """Where the fragments of one frame lie, as beginning and length, for who passes them on without reading them.

        Raises:
            InvalidDataSetError: they are not there, or it cannot be told which they are.
        """
        if not self._found.scanned or self._found.ambiguous or index >= len(self._found.starts):
            self.fragments(index)
        table = self._found
        stop = table.end if index + 1 == len(table.starts) else table.starts[index + 1]
        for at, length in self._walk(table.starts[index]):
            if length < 0 or at >= stop:
                return
            yield at + 8, length

    def _fragments(self, table: _Found, index: int) -> list[memoryview] | None:
        """None: the frame is not where the table has it."""
        if index >= len(table.starts):
            return None
        if table.ambiguous:
            raise _invalid("it cannot be told which fragments belong to which frame")
        first = table.starts[index]
        last = index + 1 == len(table.starts)
        stop = table.end if last else table.starts[index + 1]
        found: list[memoryview] = []
        joined = bytearray()
        at = first
        try:
            for at, length in self._walk(first):
                if length < 0 or at >= stop:
                    break
                if len(found) >= _FEW:
                    joined += b"".join(found)
                    found.clear()
                found.append(self._data[at + 8 : at + 8 + length])
        except InvalidDataSetError:
            if table.scanned:
                raise
            return None
        if joined:
            found.insert(0, memoryview(joined))
        if table.scanned:
            return found
        misplaced = self._check and not self._marked(first, len(found[0]) if found else 0)
        return found if (last or at == stop) and not misplaced else None

    def _warn(self, text: str) -> None:
        if text not in self.warnings:
            self.warnings.append(text)


def _numbers(value: memoryview, code: str) -> array[int] | None:
    """Little-endian numbers; None where bytes are left over."""
    found = array(code)
    if len(value) % found.itemsize:
        return None
    found.frombytes(value)
    if sys.byteorder == "big":
        found.byteswap()
    return found


def _invalid(what: str) -> InvalidDataSetError:
    return InvalidDataSetError(what, offending_element=PIXEL_DATA)
