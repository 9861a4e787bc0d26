"""The elements of an encoded data set as a tree of where they lie, without their values.

Nothing is decoded and nothing but headers is read, so that a file mapped into memory may be of any size. What is
damaged ends the walk: the nodes before it stay, and `Walk.error` says what is wrong, and where.
"""

from __future__ import annotations

import mmap
import struct
from typing import NamedTuple

from dcmkit.dataset.dump_names import implicit_vr, private_entry
from dcmkit.dataset.elements import LONG_LENGTH_VRS, VRS
from dcmkit.errors import InvalidDataSetError

Bytes = bytes | mmap.mmap

UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
PIXEL_DATA = 0x7FE00010
DEPTH_LIMIT = 64
"""Sequences within sequences; deeper nesting is damage."""

ELEMENT, SEQUENCE, SEQUENCE_ITEM, PIXELS, FRAGMENT = range(5)
"""What a node is; `PIXELS` are encapsulated pixel data, whose items are fragments."""
_PIXEL_REPRESENTATION = 0x00280103


class Encoding(NamedTuple):
    """How elements are written."""

    explicit: bool = True
    big_endian: bool = False


class Node:
    """One element, item or fragment.

    Attributes:
        tag, vr: the VR is the one to show; a few that are none stand for what implicit VR leaves open (`dump_names`).
        kind: one of the constants above.
        offset, start, end: of its header, of its value, and behind all of it, delimiter included.
        length: as the header says, perhaps UNDEFINED.
        children: of sequences their items, of items their elements.
        encoding: of its header and value.
        name: of private elements what a dictionary calls it, else "".
    """

    __slots__ = ("children", "encoding", "end", "kind", "length", "name", "offset", "start", "tag", "vr")

    def __init__(self, tag: int, vr: str, kind: int, offset: int, start: int, length: int, encoding: Encoding) -> None:
        self.tag, self.vr, self.kind = tag, vr, kind
        self.offset, self.start, self.length = offset, start, length
        self.end = start
        self.children: list[Node] = []
        self.encoding = encoding
        self.name = ""

    def with_children(self, children: list[Node]) -> Node:
        """The same with other children."""
        node = Node(self.tag, self.vr, self.kind, self.offset, self.start, self.length, self.encoding)
        node.end, node.name, node.children = self.end, self.name, children
        return node


class How(NamedTuple):
    """What may be read otherwise than the standard says.

    Attributes:
        ignore_vr: take the data dictionary's VR, not the one in the bytes.
        implicit_unknown: elements of undefined length and VR UN are in implicit VR (PS3.5 6.2.2, CP-246).
        convert_unknown: elements of VR UN whose VR the data dictionary knows get that.
        even_length: an odd length is one byte too short.
        stop_after, stop_before: tags at which reading ends, or 0.
    """

    ignore_vr: bool = False
    implicit_unknown: bool = True
    convert_unknown: bool = False
    even_length: bool = False
    stop_after: int = 0
    stop_before: int = 0


STANDARD = How()


class _Damaged(Exception):  # noqa: N818 - never leaves this module
    """The walk cannot go on; `Walk.error` says why."""


class _Stop(Exception):  # noqa: N818 - never leaves this module
    """The walk was asked to end here."""


class Walk:
    """The elements between two offsets of `data`.

    Attributes:
        nodes: the top level.
        end: where the walk ended.
        error: what is wrong with what follows, None where nothing is.
    """

    def __init__(
        self, data: Bytes, pos: int, end: int, encoding: Encoding, how: How = STANDARD, *, group: int | None = None
    ) -> None:
        self._data, self._how = data, how
        self._group = group
        self._limit = end
        self._signed = False
        self.nodes: list[Node] = []
        self.error: InvalidDataSetError | None = None
        self.end = pos
        try:
            self.end = self._elements(self.nodes, pos, end, encoding, 0, False)
        except _Stop:
            pass
        except _Damaged:
            pass

    def _damage(self, what: str, offset: int, tag: int | None = None) -> _Damaged:
        self.error = InvalidDataSetError(f"{what} at offset {offset}", offending_element=tag)
        self.end = offset
        return _Damaged()

    def _elements(self, found: list[Node], pos: int, end: int, encoding: Encoding, depth: int, nested: bool) -> int:
        """The elements up to `end` or the delimiter of an item of undefined length; and where they end."""
        creators: dict[int, str] = {}
        data = self._data
        while pos < end:
            if end - pos < 8:
                raise self._damage("the data set ends inside an element", pos)
            tag = _tag(data, pos, encoding)
            if self._group is not None and tag >> 16 != self._group:
                break
            if tag in (ITEM_END, SEQUENCE_END):
                if nested:
                    return pos + 8 if tag == ITEM_END else pos
                pos += 8
                continue
            if tag == ITEM:
                raise self._damage("an item where an element should be", pos, tag)
            if not tag and not data[pos : min(end, pos + 64)].strip(b"\0"):
                pos = self._zeros(pos, end)
                continue
            node = self._header(tag, pos, end, encoding, creators)
            if depth == 0 and tag == self._how.stop_before:
                raise _Stop
            found.append(node)
            pos = self._content(node, end, depth)
            if depth == 0 and tag == self._how.stop_after:
                raise _Stop
            if tag >> 16 & 1 and 0x10 <= tag & 0xFFFF <= 0xFF:
                creators[tag] = data[node.start : min(node.end, node.start + 64)].decode("latin-1").strip(" \0")
            elif tag == _PIXEL_REPRESENTATION and node.length == 2:
                self._signed = any(data[node.start : node.end])
        if nested and pos >= self._limit:
            raise self._damage("the data set ends inside an item", pos)
        return pos

    def _zeros(self, pos: int, end: int) -> int:
        """Behind padding, which some writers leave at the end."""
        while pos < end and not any(self._data[pos : min(end, pos + 4096)]):
            pos = min(end, pos + 4096)
        return min(end, pos + 8) if pos < end else end

    def _header(self, tag: int, pos: int, end: int, encoding: Encoding, creators: dict[int, str]) -> Node:
        data = self._data
        order = ">" if encoding.big_endian else "<"
        start, vr, explicit_vr = pos + 8, "", ""
        if encoding.explicit:
            explicit_vr = vr = data[pos + 4 : pos + 6].decode("latin-1")
            if vr in LONG_LENGTH_VRS or (vr not in VRS and self._is_long(vr, pos, end, order)):
                if end - pos < 12:
                    raise self._damage("the data set ends inside an element", pos, tag)
                start, length = pos + 12, struct.unpack_from(order + "I", data, pos + 8)[0]
            else:
                length = struct.unpack_from(order + "H", data, pos + 6)[0]
        else:
            length = struct.unpack_from(order + "I", data, pos + 4)[0]
        entry = self._private(tag, creators)
        if not encoding.explicit or self._how.ignore_vr:
            known = entry[0] if entry else implicit_vr(tag)
            vr = vr if known == "??" and vr else known
            if vr == "xs" and self._signed:
                vr = "SS"
        elif vr == "UN" and self._how.convert_unknown and length != UNDEFINED:
            known = entry[0] if entry else implicit_vr(tag)
            vr = vr if known == "??" else known
        elif explicit_vr not in VRS:
            vr = "??"
        if length & 1 and length != UNDEFINED and self._how.even_length:
            length += 1
        node = Node(tag, vr, ELEMENT, pos, start, length, encoding)
        node.name = entry[1] if entry else ""
        return node

    def _is_long(self, vr: str, pos: int, end: int, order: str) -> bool:
        """Whether an element of an unknown VR has a length of four bytes, as one of the future would (PS3.5 7.1.2)."""
        if not (vr.isascii() and vr.isalpha() and vr.isupper()) or end - pos < 12:
            return False
        if self._data[pos + 6 : pos + 8] != b"\0\0":
            return False
        length: int = struct.unpack_from(order + "I", self._data, pos + 8)[0]
        return length <= end - pos - 12

    def _private(self, tag: int, creators: dict[int, str]) -> tuple[str, str] | None:
        if not tag >> 16 & 1 or tag & 0xFFFF < 0x1000:
            return None
        creator = creators.get(tag & 0xFFFF0000 | tag >> 8 & 0xFF)
        return private_entry(tag, creator) if creator else None

    def _content(self, node: Node, end: int, depth: int) -> int:
        """Walk what is in an element; where it ends."""
        encoding = node.encoding
        if node.length == UNDEFINED:
            if node.tag == PIXEL_DATA or node.vr in ("OB", "OW", "ox"):
                node.kind, node.vr = PIXELS, "OB"
                return self._fragments(node, end)
            if node.vr == "UN" and self._how.implicit_unknown and not encoding.big_endian:
                encoding = self._guess(node.start, end)
            elif node.vr not in ("SQ", "UN", "??"):
                raise self._damage("a length that only sequences may leave open", node.offset, node.tag)
            node.kind, node.vr = SEQUENCE, "SQ"
            return self._items(node, node.start, end, encoding, depth)
        node.end = node.start + node.length
        if node.end > end:
            node.end = max(node.start, end)
            if node.vr == "SQ":
                node.kind = SEQUENCE
                self._items(node, node.start, node.end, encoding, depth)
            tag = f"({node.tag >> 16:04x},{node.tag & 0xFFFF:04x})"
            what = f"{tag} has {node.length} bytes, of which {node.end - node.start} are there: the end is missing"
            raise self._damage(what, node.offset, node.tag)
        if node.vr == "SQ":
            node.kind = SEQUENCE
            self._items(node, node.start, node.end, encoding, depth)
        return node.end

    def _guess(self, pos: int, end: int) -> Encoding:
        """Implicit VR as CP-246 wants it, unless the first element has a VR."""
        at = pos + 8
        if end - at >= 8 and self._data[at + 4 : at + 6].decode("latin-1") in VRS:
            return Encoding(explicit=True)
        return Encoding(explicit=False)

    def _items(self, sequence: Node, pos: int, end: int, encoding: Encoding, depth: int) -> int:
        if depth >= DEPTH_LIMIT:
            raise self._damage(f"sequences are nested deeper than {DEPTH_LIMIT}", sequence.offset, sequence.tag)
        while pos < end:
            item = self._item(pos, end, encoding)
            if item.tag == SEQUENCE_END:
                sequence.end = pos + 8
                return sequence.end
            pos += 8
            if item.tag == ITEM_END:
                continue
            sequence.children.append(item)
            stop = end if item.length == UNDEFINED else pos + item.length
            if stop > end:
                item.end = end
                self._rest_of_item(item, pos, end, encoding, depth)
                raise self._damage(f"an item has {item.length} bytes, of which {end - pos} are there", item.offset)
            pos = self._elements(item.children, pos, stop, encoding, depth + 1, item.length == UNDEFINED)
            item.end = pos
        if sequence.length == UNDEFINED:
            raise self._damage("the data set ends inside a sequence", pos, sequence.tag)
        sequence.end = pos
        return pos

    def _rest_of_item(self, item: Node, pos: int, end: int, encoding: Encoding, depth: int) -> None:
        """What is there of an item whose end is missing."""
        self._elements(item.children, pos, end, encoding, depth + 1, False)

    def _item(self, pos: int, end: int, encoding: Encoding) -> Node:
        if end - pos < 8:
            raise self._damage("the data set ends inside a sequence", pos)
        tag = _tag(self._data, pos, encoding)
        if tag not in (ITEM, ITEM_END, SEQUENCE_END):
            raise self._damage("something else where an item should be", pos, tag)
        length: int = struct.unpack_from(">I" if encoding.big_endian else "<I", self._data, pos + 4)[0]
        return Node(tag, "na", SEQUENCE_ITEM, pos, pos + 8, length, encoding)

    def _fragments(self, node: Node, end: int) -> int:
        pos = node.start
        while True:
            item = self._item(pos, end, node.encoding)
            pos += 8
            node.end = pos
            if item.tag == SEQUENCE_END:
                return pos
            if item.tag == ITEM_END:
                continue
            item.kind, item.vr = FRAGMENT, "pi"
            node.children.append(item)
            item.end = min(end, pos + item.length)
            if item.length == UNDEFINED or item.end < pos + item.length:
                raise self._damage(f"a fragment has {item.length} bytes, of which {end - pos} are there", item.offset)
            pos = item.end


def _tag(data: Bytes, pos: int, encoding: Encoding) -> int:
    group, element = struct.unpack_from(">HH" if encoding.big_endian else "<HH", data, pos)
    return int(group << 16 | element)
