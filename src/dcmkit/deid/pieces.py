"""What a rewritten data set is put together from: ranges of the source, and elements that are new."""

from __future__ import annotations

from struct import Struct

from dcmkit.dataset.elements import LONG_LENGTH_VRS
from dcmkit.dataset.raw import Encoding, RawElement

Buffer = bytes | memoryview


class Writer:
    """Collects what is to be written of a level: ranges of the source, and what is new.

    Attributes:
        to: where the range ends that was kept last.
        changed: whether anything is not as it was.
        fresh: the element that was replaced last, unless one was kept since.
    """

    __slots__ = ("_from", "_out", "changed", "data", "encoding", "fresh", "to")

    def __init__(self, data: memoryview, encoding: Encoding) -> None:
        self.data, self.encoding = data, encoding
        self._out: list[Buffer] = []
        self._from = self.to = -1
        self.changed = False
        self.fresh: bytes | None = None

    def keep(self, one: RawElement) -> None:
        """An element as it lies there."""
        self.fresh = None
        if one.start != self.to:
            if self._from >= 0:
                self._flush()
                self.changed = True
            self._from = one.start
        self.to = one.end

    def drop(self, one: RawElement) -> None:
        """An element that goes."""
        self.changed = True

    def add(self, encoded: Buffer) -> None:
        """Something new."""
        self._flush()
        self.changed = True
        self._out.append(encoded)

    def replace(self, one: RawElement, value: bytes) -> None:
        """Another value of the same element."""
        self.fresh = _header(self.encoding, one, len(value)) + value
        self.add(self.fresh)

    def replace_with(self, one: RawElement, content: list[Buffer]) -> None:
        """The items of a sequence, of defined length from now on."""
        self.add(_header(self.encoding, one, sum(map(len, content))))
        self._out += content

    def _flush(self) -> None:
        if self._from >= 0:
            self._out.append(self.data[self._from : self.to])
            self._from = self.to = -1

    def finished(self) -> list[Buffer] | None:
        """All of it; None where nothing changed."""
        if not self.changed:
            return None
        self._flush()
        return self._out


_SHORT = {False: Struct("<HH2sH").pack, True: Struct(">HH2sH").pack}
_LONG = {False: Struct("<HH2sHL").pack, True: Struct(">HH2sHL").pack}
_IMPLICIT = Struct("<HHL").pack


def _header(encoding: Encoding, one: RawElement, length: int) -> bytes:
    group, number = one.tag >> 16, one.tag & 0xFFFF
    if not encoding.explicit:
        return _IMPLICIT(group, number, length)
    if one.vr in LONG_LENGTH_VRS or length > 0xFFFF:
        vr = one.vr if one.vr in LONG_LENGTH_VRS else "UN"
        return _LONG[encoding.big_endian](group, number, vr.encode(), 0, length)
    return _SHORT[encoding.big_endian](group, number, one.vr.encode(), length)


def encoded(encoding: Encoding, tag: int, vr: str, value: bytes) -> bytes:
    """An element of one's own; an odd value is padded (PS3.5 6.2)."""
    if len(value) & 1:
        value += b"\0" if vr == "UI" else b" "
    return _header(encoding, RawElement(tag, vr, 0, 0, 0, 0), len(value)) + value
