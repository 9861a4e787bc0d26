"""Part 10 files as trees of elements with their bytes: a reader of the scorer's own, strict and slow."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from struct import unpack_from

from tests.deid.scoring import facts

UNDEFINED = 0xFFFFFFFF
LONG = {"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"}
TEXT = {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT"}
KNOWN = LONG | TEXT | {"AT", "FD", "FL", "SL", "SS", "UL", "US"}
TRAILING_PADDING = 0xFFFCFFFC
DEFLATED = "1.2.840.10008.1.2.1.99"


class UnreadableError(Exception):
    """Bytes that are no data set."""


@dataclass(eq=False)
class Element:
    """One element: `vr` is the real one, also where it is encoded as UN or not at all."""

    tag: int
    vr: str
    value: bytes
    items: list[DataSet] | None = None
    encoded_vr: str = ""

    @property
    def name(self) -> str:
        """`gggg,eeee`."""
        return facts.tag_text(self.tag)


@dataclass(eq=False)
class DataSet:
    """Elements by tag, in the order they came."""

    elements: dict[int, Element] = field(default_factory=dict)
    repeated: list[Element] = field(default_factory=list)

    def value(self, tag: int) -> bytes:
        """An element's bytes, empty where there is none."""
        return self.elements[tag].value if tag in self.elements else b""

    def text(self, tag: int) -> str:
        """An element's bytes as Latin-1, without padding."""
        return self.value(tag).decode("latin-1").rstrip("\0 ")

    def items(self, tag: int) -> list[DataSet]:
        """A sequence's items, none where there is no sequence."""
        return (self.elements[tag].items if tag in self.elements else None) or []


@dataclass(eq=False)
class File:
    """A Part 10 file.

    Attributes:
        inflated: the bytes of the data set as they are read, that is inflated.
        trailing: what follows data set trailing padding.
    """

    preamble: bytes
    meta: DataSet
    data_set: DataSet
    transfer_syntax_uid: str
    raw: bytes
    inflated: bytes
    trailing: bytes


def read(path: Path | str) -> File:
    """The file at `path`.

    Raises:
        UnreadableError: it is not Part 10, or broken.
    """
    raw = Path(path).read_bytes()
    if raw[128:132] != b"DICM":
        raise UnreadableError("no DICM")
    meta, position = DataSet(), 132
    reader = _Reader(raw, explicit=True, big=False)
    while position < len(raw) and raw[position : position + 2] == b"\x02\0":
        position = reader.element(position, len(raw), meta)
    syntax = meta.text(0x00020010)
    body = raw[position:]
    if syntax == DEFLATED:
        body = zlib.decompressobj(-15).decompress(body)
    big = syntax == "1.2.840.10008.1.2.2"
    data_set, end = _Reader(body, explicit=syntax != "1.2.840.10008.1.2", big=big).data_set(0, len(body))
    return File(raw[:128], meta, data_set, syntax, raw, body, body[end:])


class _Reader:
    def __init__(self, data: bytes, *, explicit: bool, big: bool) -> None:
        self.data, self.explicit, self.big = data, explicit, big
        self.order = ">" if big else "<"

    def data_set(self, start: int, end: int, *, delimited: bool = False) -> tuple[DataSet, int]:
        found = DataSet()
        position = start
        while position < end:
            if delimited and unpack_from(self.order + "HH", self.data, position) == (0xFFFE, 0xE00D):
                return found, position + 8
            position = self.element(position, end, found)
            if TRAILING_PADDING in found.elements:
                return found, position
        if delimited:
            raise UnreadableError("no item delimiter")
        return found, position

    def element(self, position: int, end: int, into: DataSet) -> int:
        if end - position < 8:
            raise UnreadableError(f"{end - position} stray bytes at {position}")
        group, number = unpack_from(self.order + "HH", self.data, position)
        tag = group << 16 | number
        if group == 0xFFFE:
            raise UnreadableError(f"delimiter at {position}")
        vr = self.data[position + 4 : position + 6].decode("latin-1")
        if not self.explicit:
            vr, length, position = "", unpack_from("<L", self.data, position + 4)[0], position + 8
        elif vr in LONG:
            if end - position < 12:
                raise UnreadableError(f"stray bytes at {position}")
            length, position = unpack_from(self.order + "L", self.data, position + 8)[0], position + 12
        elif vr in KNOWN:
            length, position = unpack_from(self.order + "H", self.data, position + 6)[0], position + 8
        else:
            raise UnreadableError(f"VR {vr!r} at {position}")
        real = vr if vr not in {"", "UN"} else vr_of(tag) or _safe_vr(tag, into) or "UN"
        found = Element(tag, real, b"", None, vr)
        start = position
        if length == UNDEFINED and tag == 0x7FE00010:
            found.vr = vr or "OB"
            position = self._fragments(position, end)
        elif length == UNDEFINED:
            found.vr = "SQ"
            found.items, position = self._nested(vr).items(position, end, delimited=True)
        else:
            if length > end - position:
                raise UnreadableError(f"{facts.tag_text(tag)} runs past its end")
            position += length
            if real == "SQ":
                found.items, _ = self._nested(vr).items(start, position)
        found.value = self.data[start:position]
        if tag in into.elements:
            into.repeated.append(found)
        else:
            into.elements[tag] = found
        return position

    def _nested(self, vr: str) -> _Reader:
        """What reads the items: a sequence sent as UN is in implicit VR little endian (PS3.5 6.2.2)."""
        return _Reader(self.data, explicit=False, big=False) if vr == "UN" else self

    def items(self, position: int, end: int, *, delimited: bool = False) -> tuple[list[DataSet], int]:
        found: list[DataSet] = []
        while position < end:
            group, number, length = unpack_from(self.order + "HHL", self.data, position)
            position += 8
            if (group, number) == (0xFFFE, 0xE0DD) and delimited:
                return found, position
            if (group, number) != (0xFFFE, 0xE000):
                raise UnreadableError(f"no item at {position - 8}")
            if length == UNDEFINED:
                item, position = self.data_set(position, end, delimited=True)
            else:
                if length > end - position:
                    raise UnreadableError(f"item at {position - 8} runs past its end")
                item, position = self.data_set(position, position + length)
            found.append(item)
        if delimited:
            raise UnreadableError("no sequence delimiter")
        return found, position

    def _fragments(self, position: int, end: int) -> int:
        while end - position >= 8:
            group, number, length = unpack_from(self.order + "HHL", self.data, position)
            position += 8
            if (group, number) == (0xFFFE, 0xE0DD):
                return position
            if (group, number) != (0xFFFE, 0xE000):
                break
            position += length
        raise UnreadableError("pixel data without an end")


@functools.cache
def vr_of(tag: int) -> str:
    """The VR of a standard tag: pydicom's dictionary, then the table's; `LO` for private creators, else empty."""
    from pydicom.datadict import dictionary_VR

    if tag & 0x10000:
        return "LO" if 0x10 <= tag & 0xFFFF <= 0xFF else ""
    try:
        return str(dictionary_VR(tag)).split()[0]
    except KeyError:
        rule = facts.attributes().get(tag)
        return rule.vr if rule else "UL" if not tag & 0xFFFF else ""


def _safe_vr(tag: int, among: DataSet) -> str:
    """The VR that the table of safe private attributes gives, where its creator has been seen."""
    creator = among.text(tag & 0xFFFF0000 | (tag & 0xFFFF) >> 8)
    return facts.safe_private().get((creator, tag >> 16, tag & 0xFF), "").split("/")[0]


def walk(data_set: DataSet, path: str = "") -> Iterator[tuple[str, Element]]:
    """Every element, depth first, with its path such as `0008,1115[1].0020,000E` (items counted from one)."""
    for element in [*data_set.elements.values(), *data_set.repeated]:
        here = f"{path}.{element.name}" if path else element.name
        yield here, element
        for number, item in enumerate(element.items or (), 1):
            yield from walk(item, f"{here}[{number}]")
