"""Encode data sets for tests, true and false, in the four uncompressed ways (PS3.5 7, A)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import Union

from dcmkit.uids import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)

SYNTAXES = (
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
)
UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
LONG = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})

Element = tuple[int, str, Union[bytes, "Items"]]
"""Tag, VR and value."""


class Items(list[Sequence[Element]]):
    """The items of a sequence, and whether lengths are defined."""

    def __init__(self, items: Sequence[Sequence[Element]], *, defined: bool = False) -> None:
        super().__init__(items)
        self.defined = defined


def header(tag: int, vr: str, length: int, syntax: str) -> bytes:
    """The bytes before a value."""
    order = ">" if syntax == EXPLICIT_VR_BIG_ENDIAN else "<"
    head = struct.pack(order + "HH", tag >> 16, tag & 0xFFFF)
    if syntax == IMPLICIT_VR_LITTLE_ENDIAN or not vr:
        return head + struct.pack(order + "L", length)
    if vr in LONG:
        return head + vr.encode() + struct.pack(order + "HL", 0, length)
    return head + vr.encode() + struct.pack(order + "H", length)


def _element(element: Element, syntax: str) -> bytes:
    tag, vr, value = element
    if isinstance(value, Items):
        body = b"".join(_item(item, syntax, value.defined) for item in value)
        if value.defined:
            return header(tag, vr, len(body), syntax) + body
        return header(tag, vr, UNDEFINED, syntax) + body + header(SEQUENCE_END, "", 0, syntax)
    if len(value) % 2:
        value += b"\0" if vr in ("UI", "OB", "UN") else b" "
    return header(tag, vr, len(value), syntax) + value


def _item(item: Sequence[Element], syntax: str, defined: bool) -> bytes:
    body = b"".join(_element(element, syntax) for element in item)
    if defined:
        return header(ITEM, "", len(body), syntax) + body
    return header(ITEM, "", UNDEFINED, syntax) + body + header(ITEM_END, "", 0, syntax)


def deflate(data: bytes) -> bytes:
    """As PS3.5 A.5 has it: no zlib header, padded to an even length."""
    packer = zlib.compressobj(wbits=-15)
    packed = packer.compress(data) + packer.flush()
    return packed + b"\0" * (len(packed) % 2)


def encode(elements: Sequence[Element], syntax: str = EXPLICIT_VR_LITTLE_ENDIAN) -> bytes:
    """A data set."""
    plain = EXPLICIT_VR_LITTLE_ENDIAN if syntax == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN else syntax
    data = b"".join(_element(element, plain) for element in elements)
    return deflate(data) if syntax == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN else data


def number(value: int, syntax: str = EXPLICIT_VR_LITTLE_ENDIAN) -> bytes:
    """A US value."""
    return struct.pack(">H" if syntax == EXPLICIT_VR_BIG_ENDIAN else "<H", value)


def fragments(*pieces: bytes, ended: bool = True) -> bytes:
    """Encapsulated Pixel Data (PS3.5 A.4): an empty offset table, then `pieces`."""
    syntax = EXPLICIT_VR_LITTLE_ENDIAN
    body = b"".join(header(ITEM, "", len(piece), syntax) + piece for piece in (b"", *pieces))
    end = header(SEQUENCE_END, "", 0, syntax) if ended else b""
    return header(0x7FE00010, "OB", UNDEFINED, syntax) + body + end
