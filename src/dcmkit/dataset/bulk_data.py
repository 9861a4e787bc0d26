"""A data set without its bulk data (PS3.4 Z.1.3); nothing else in it is touched."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from dcmkit.dataset.part10 import FileHeader
from dcmkit.dataset.scanner import LONG_VRS
from dcmkit.errors import InputError, InvalidDataSetError
from dcmkit.uids import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    is_encapsulated,
)

if TYPE_CHECKING:
    import io

_BLOCK = 1 << 16
INFLATED_LIMIT = 1 << 28
"""Bytes a deflated data set may become."""
_DEPTH_LIMIT = 64

_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_WAVEFORM_SEQUENCE, _WAVEFORM_DATA = 0x54000100, 0x54001010
_PIXELS = 0x7FE0
"""The group of pixel data of all kinds; what comes after it is padding, and signatures that no longer hold."""
_BULK = frozenset({0x00287FE0, 0x56000020})
"""Pixel Data Provider URL, and Spectroscopy Data."""
_BULK_REPEATING = {(0x60, 0x3000), (0x50, 0x3000), (0x50, 0x200C)}
"""Overlay, curve and audio sample data, by the first half of the group."""


def without_bulk_data(path: str, header: FileHeader) -> tuple[bytes, str]:
    """The data set of a file without bulk data, and the transfer syntax it is encoded in.

    That is the file's own, and explicit VR little endian where the file's is one of pixel data only.

    Raises:
        InvalidDataSetError: the data set cannot be followed.
        InputError: the file cannot be read.
    """
    syntax = header.transfer_syntax_uid
    try:
        with open(path, "rb", buffering=0) as file:
            file.seek(header.offset)
            if syntax == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
                return stripped(_inflated(file.read()), EXPLICIT_VR_LITTLE_ENDIAN), EXPLICIT_VR_LITTLE_ENDIAN
            found = _from_beginning(file, header)
    except (OSError, ValueError) as error:
        raise InputError(f"the file cannot be read: {getattr(error, 'strerror', None) or error}") from None
    return found, EXPLICIT_VR_LITTLE_ENDIAN if is_encapsulated(syntax) else syntax


def _from_beginning(file: io.FileIO, header: FileHeader) -> bytes:
    """Read as much as is needed to come to the pixels, seldom more than the first block."""
    block = b""
    while True:
        more = file.read(max(_BLOCK, 3 * len(block)))
        block += more
        try:
            return stripped(block, header.transfer_syntax_uid, whole=not more)
        except InvalidDataSetError:
            if not more:
                raise


def _inflated(raw: bytes) -> bytes:
    import zlib

    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        data = inflater.decompress(raw, INFLATED_LIMIT)
    except zlib.error as error:
        raise InvalidDataSetError(f"the deflated data set is damaged: {error}") from None
    if inflater.unconsumed_tail:
        raise InvalidDataSetError(f"the deflated data set becomes longer than {INFLATED_LIMIT} bytes")
    return data


def stripped(data: bytes, transfer_syntax_uid: str, *, whole: bool = True) -> bytes:
    """An encoded data set without bulk data.

    Args:
        whole: `data` is all of it; else it must reach to the pixels.

    Raises:
        InvalidDataSetError: it cannot be followed.
    """
    walker = _Walker(
        data,
        explicit=transfer_syntax_uid != IMPLICIT_VR_LITTLE_ENDIAN,
        big_endian=transfer_syntax_uid == EXPLICIT_VR_BIG_ENDIAN,
    )
    parts, to_pixels = walker.kept(0, len(data))
    if not (whole or to_pixels):
        raise InvalidDataSetError("the data set goes on")
    return b"".join(parts)


class _Walker:
    """Goes from element to element of one data set."""

    def __init__(self, data: bytes, *, explicit: bool, big_endian: bool) -> None:
        order = ">" if big_endian else "<"
        self._data = data
        self._explicit = explicit
        self._order = order
        self._head = struct.Struct(order + "HH2sH").unpack_from
        self._long = struct.Struct(order + "I").unpack_from

    def kept(self, pos: int, end: int) -> tuple[list[bytes], bool]:
        """The elements of the top level that stay, and whether there are pixels after them."""
        parts: list[bytes] = []
        while pos < end:
            tag, vr, start, length = self._element(pos, end)
            if tag >> 16 >= _PIXELS:
                return parts, True
            stop = self._end(tag, vr, start, length, end, 0)
            if tag == _WAVEFORM_SEQUENCE:
                parts.append(self._waveforms(vr, start, length, stop))
            elif tag not in _BULK and (tag >> 24, tag & 0xFFFF) not in _BULK_REPEATING:
                parts.append(self._data[pos:stop])
            pos = stop
        return parts, False

    def _element(self, pos: int, end: int) -> tuple[int, bytes, int, int]:
        """Tag, VR (b"" where it is implicit), where the value begins, and its length."""
        if end - pos < 8:
            raise InvalidDataSetError("the data set ends inside an element")
        group, element, vr, length = self._head(self._data, pos)
        tag = group << 16 | element
        if not self._explicit or group == 0xFFFE:
            return tag, b"", pos + 8, self._long(self._data, pos + 4)[0]
        if vr in LONG_VRS:
            if end - pos < 12:
                raise InvalidDataSetError("the data set ends inside an element", offending_element=tag)
            return tag, vr, pos + 12, self._long(self._data, pos + 8)[0]
        return tag, vr, pos + 8, length

    def _end(self, tag: int, vr: bytes, start: int, length: int, end: int, depth: int) -> int:
        """Where an element ends, its delimiter included."""
        if length != _UNDEFINED:
            if start + length > end:
                raise InvalidDataSetError("the data set ends inside a value", offending_element=tag)
            return start + length
        if depth > _DEPTH_LIMIT:
            raise InvalidDataSetError(f"sequences are nested deeper than {_DEPTH_LIMIT}")
        if vr == b"UN" and self._explicit:  # PS3.5 6.2.2: its items are in implicit VR little endian
            inner = _Walker(self._data, explicit=False, big_endian=False)
            return inner._end(tag, b"", start, length, end, depth)
        pos = start
        while True:
            item, _, begin, size = self._element(pos, end)
            if item == _SEQUENCE_END:
                return begin
            if item != _ITEM:
                raise InvalidDataSetError("something else where an item should be", offending_element=item)
            pos = self._item_end(begin, size, end, depth + 1)

    def _item_end(self, pos: int, length: int, end: int, depth: int) -> int:
        if length != _UNDEFINED:
            if pos + length > end:
                raise InvalidDataSetError("the data set ends inside an item")
            return pos + length
        while True:
            tag, vr, start, size = self._element(pos, end)
            if tag == _ITEM_END:
                return start
            pos = self._end(tag, vr, start, size, end, depth)

    def _waveforms(self, vr: bytes, start: int, length: int, stop: int) -> bytes:
        """The Waveform Sequence, its items without Waveform Data."""
        parts: list[bytes] = []
        pos = start
        while pos < stop:
            tag, _, begin, size = self._element(pos, stop)
            if tag == _SEQUENCE_END:
                break
            pos = self._item_end(begin, size, stop, 1)
            parts.append(self._waveform(begin, pos))
        value = b"".join(parts)
        group, element = _WAVEFORM_SEQUENCE >> 16, _WAVEFORM_SEQUENCE & 0xFFFF
        if self._explicit:
            return struct.pack(f"{self._order}HH2sHI", group, element, b"SQ", 0, len(value)) + value
        return struct.pack("<HHI", group, element, len(value)) + value

    def _waveform(self, pos: int, end: int) -> bytes:
        parts: list[bytes] = []
        while pos < end:
            tag, vr, start, length = self._element(pos, end)
            if tag == _ITEM_END:
                break
            stop = self._end(tag, vr, start, length, end, 1)
            if tag != _WAVEFORM_DATA:
                parts.append(self._data[pos:stop])
            pos = stop
        value = b"".join(parts)
        return struct.pack(f"{self._order}HHI", _ITEM >> 16, _ITEM & 0xFFFF, len(value)) + value
