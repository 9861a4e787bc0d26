"""Small data sets in memory (identifiers of queries, answers, lists of UIDs), to and from their encoded form (PS3.5 7).

Text is Unicode in memory, whatever the character set of the bytes. Objects with pixel data are no business of this
module: their bytes are passed on or scanned (`scanner`).
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from dcmkit.dataset.dictionary import vr_of
from dcmkit.dataset.values import (
    SPECIFIC_CHARACTER_SET,
    CharacterSet,
    character_set,
    decode_numbers,
    decode_text,
    encode_numbers,
    is_number,
)
from dcmkit.errors import InvalidDataSetError
from dcmkit.uids import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)

DEPTH_LIMIT = 32
"""Sequences within sequences; deeper nesting is refused."""
SIZE_LIMIT = 16 * 1024 * 1024
"""Bytes a deflated data set may become."""

_LONG_LENGTH = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})
"""VRs with two reserved bytes and a length of four (PS3.5 7.1.2)."""
_BYTES = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
CHARACTER_SET_VRS = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
"""Only these depend on Specific Character Set (PS3.5 6.1.2.3)."""
_VRS = _LONG_LENGTH | CHARACTER_SET_VRS | {
    "AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "SL", "SS", "TM", "UI", "UL", "US",
}  # fmt: skip
_SINGLE = frozenset({"LT", "ST", "UT", "UR"})
"""A backslash is a character of these, no delimiter; spaces before them count."""
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_ASCII = character_set("ISO_IR 100")


class Element(NamedTuple):
    """One data element.

    Attributes:
        vr: its value representation.
        value: text, several values joined by backslashes (numbers too, `AT` as eight hexadecimal digits); bytes for
            OB, OD, OF, OL, OV, OW and UN; the items of a sequence.
    """

    vr: str
    value: str | bytes | list[DataSet]


DataSet = dict[int, Element]
"""Elements by tag."""


def element(tag: int, value: str | bytes | list[DataSet] = "", vr: str = "") -> Element:
    """An element with the VR of the data dictionary, or the one given; "" becomes the VR's own empty value."""
    vr = vr or vr_of(tag)
    if value == "":
        value = [] if vr == "SQ" else b"" if vr in _BYTES else ""
    return Element(vr, value)


def text(data_set: DataSet, tag: int, default: str = "") -> str:
    """A text value, `default` where it is missing, empty or no text."""
    found = data_set.get(tag)
    return found.value if found is not None and isinstance(found.value, str) and found.value else default


def items(data_set: DataSet, tag: int) -> list[DataSet]:
    """The items of a sequence; none where it is missing or no sequence."""
    found = data_set.get(tag)
    return found.value if found is not None and isinstance(found.value, list) else []


# --- decoding ----------------------------------------------------------------------------------------------------


def decode(
    data: bytes | memoryview, transfer_syntax_uid: str, *, assume_charset: str = "", override_charset: bool = False
) -> DataSet:
    """A whole encoded data set. Group lengths and padding are left out.

    Args:
        data: its bytes.
        transfer_syntax_uid: an uncompressed or the deflated one.
        assume_charset: the Specific Character Set (defined terms joined by backslashes) where none is declared.
        override_charset: take `assume_charset` even where one is declared.

    Raises:
        InvalidDataSetError: it is cut short, nested too deeply, or no data set.
    """
    raw = bytes(data)
    if transfer_syntax_uid == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
        raw = _inflated(raw)
    decoder = _Decoder(
        raw,
        explicit=transfer_syntax_uid != IMPLICIT_VR_LITTLE_ENDIAN,
        big_endian=transfer_syntax_uid == EXPLICIT_VR_BIG_ENDIAN,
    )
    decoder.assumed = character_set(assume_charset)
    decoder.override = override_charset and bool(assume_charset)
    data_set, _ = decoder.elements(0, len(raw), decoder.assumed, 0)
    return data_set


def _inflated(raw: bytes) -> bytes:
    import zlib

    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        data = inflater.decompress(raw, SIZE_LIMIT)
    except zlib.error as error:
        raise InvalidDataSetError(f"the deflated data set is damaged: {error}") from None
    if inflater.unconsumed_tail:
        raise InvalidDataSetError(f"the deflated data set becomes longer than {SIZE_LIMIT} bytes")
    return data


class _Decoder:
    """Walks one encoded data set."""

    __slots__ = ("_at_vr", "_big", "_data", "_explicit", "_long", "_short", "_tag", "assumed", "override")

    def __init__(self, data: bytes, *, explicit: bool, big_endian: bool) -> None:
        self._data = data
        self._explicit = explicit
        self._big = big_endian
        order = ">" if big_endian else "<"
        self._tag = struct.Struct(order + "HHI").unpack_from
        self._short = struct.Struct(order + "HH2sH").unpack_from
        self._long = struct.Struct(order + "I").unpack_from
        self.assumed = _ASCII
        self.override = False

    def elements(
        self, pos: int, end: int, charset: CharacterSet, depth: int, nested: bool = False
    ) -> tuple[DataSet, int]:
        """The elements up to `end`, or of an item of undefined length up to its delimiter; and where they end."""
        data_set: DataSet = {}
        data = self._data
        while pos < end:
            if end - pos < 8:
                raise InvalidDataSetError("the data set ends inside an element")
            group, number, length = self._tag(data, pos)
            tag = group << 16 | number
            if group == 0xFFFE:
                if nested and tag == _ITEM_END:
                    return data_set, pos + 8
                raise InvalidDataSetError("an item delimiter where an element should be", offending_element=tag)
            pos += 8
            if self._explicit:
                vr, length, pos = self._explicit_vr(tag, pos, end)
            else:
                vr = vr_of(tag)
            if length == _UNDEFINED:
                if vr not in ("SQ", "UN"):
                    raise InvalidDataSetError(
                        "an element of undefined length that is no sequence", offending_element=tag
                    )
                value, pos = self._sequence(pos, end, charset, depth, vr == "UN")
                data_set[tag] = Element("SQ", value)
                continue
            stop = pos + length
            if stop > end:
                raise InvalidDataSetError("the data set ends inside a value", offending_element=tag)
            if vr == "SQ":
                value, _ = self._sequence(pos, stop, charset, depth, False)
                data_set[tag] = Element(vr, value)
            elif number:
                raw = data[pos:stop]
                if tag == SPECIFIC_CHARACTER_SET and not self.override:
                    charset = character_set(raw) if raw.strip(b" \0") else self.assumed
                data_set[tag] = Element(vr, self._value(vr, raw, charset))
            pos = stop
        if nested and end == len(data):
            raise InvalidDataSetError("the data set ends inside an item")
        return data_set, pos

    def _explicit_vr(self, tag: int, pos: int, end: int) -> tuple[str, int, int]:
        _, _, vr, length = self._short(self._data, pos - 8)
        name = vr.decode("latin-1")
        if name not in _VRS:
            raise InvalidDataSetError("an element with an unknown value representation", offending_element=tag)
        if name not in _LONG_LENGTH:
            return name, length, pos
        if end - pos < 4:
            raise InvalidDataSetError("the data set ends inside an element", offending_element=tag)
        return name, self._long(self._data, pos)[0], pos + 4

    def _value(self, vr: str, raw: bytes, charset: CharacterSet) -> str | bytes:
        if vr in _BYTES:
            return raw
        if is_number(vr):
            return decode_numbers(raw, vr, self._big)
        if vr in _SINGLE:
            return (charset if vr != "UR" else _ASCII).decode(raw).rstrip(" \0")
        return decode_text(raw, charset if vr in CHARACTER_SET_VRS else _ASCII)

    def _sequence(
        self, pos: int, end: int, charset: CharacterSet, depth: int, implicit: bool
    ) -> tuple[list[DataSet], int]:
        """The items; a sequence of unknown VR has its items in implicit VR little endian (PS3.5 6.2.2)."""
        if depth >= DEPTH_LIMIT:
            raise InvalidDataSetError(f"sequences are nested deeper than {DEPTH_LIMIT}")
        if implicit and self._explicit:
            decoder = _Decoder(self._data, explicit=False, big_endian=False)
            decoder.assumed, decoder.override = self.assumed, self.override
            return decoder._sequence(pos, end, charset, depth, False)
        found: list[DataSet] = []
        while pos < end:
            if end - pos < 8:
                raise InvalidDataSetError("the data set ends inside a sequence")
            group, number, length = self._tag(self._data, pos)
            tag = group << 16 | number
            pos += 8
            if tag == _SEQUENCE_END:
                return found, pos
            if tag != _ITEM:
                raise InvalidDataSetError("something else where an item should be", offending_element=tag)
            if length == _UNDEFINED:
                item, pos = self.elements(pos, end, charset, depth + 1, nested=True)
            elif pos + length > end:
                raise InvalidDataSetError("the data set ends inside an item")
            else:
                item, pos = self.elements(pos, pos + length, charset, depth + 1)
            found.append(item)
        return found, pos


# --- encoding ----------------------------------------------------------------------------------------------------


def encode(data_set: DataSet, transfer_syntax_uid: str, *, charset: str | None = None) -> bytes:
    """An encoded data set, its elements in order, sequences and items with explicit lengths.

    Args:
        data_set: what to encode.
        transfer_syntax_uid: an uncompressed or the deflated one.
        charset: the value of Specific Character Set to encode in, which is then written ("" leaves it out); None is
            what the data set itself says.

    Raises:
        UnicodeEncodeError: a text has a character that the character set does not.
        InvalidDataSetError: a value is no value of its VR, or longer than the VR can be.
    """
    if charset is not None:
        data_set = {tag: found for tag, found in data_set.items() if tag != SPECIFIC_CHARACTER_SET}
        if charset:
            data_set[SPECIFIC_CHARACTER_SET] = Element("CS", charset)
    encoder = _Encoder(transfer_syntax_uid != IMPLICIT_VR_LITTLE_ENDIAN, transfer_syntax_uid == EXPLICIT_VR_BIG_ENDIAN)
    data = encoder.elements(data_set, character_set(text(data_set, SPECIFIC_CHARACTER_SET)))
    if transfer_syntax_uid == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
        import zlib

        deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        data = deflater.compress(data) + deflater.flush()
        data += b"\0" * (len(data) % 2)
    return data


class _Encoder:
    """Writes one data set."""

    __slots__ = ("_big", "_explicit", "_order")

    def __init__(self, explicit: bool, big_endian: bool) -> None:
        self._explicit, self._big = explicit, big_endian
        self._order = ">" if big_endian else "<"

    def elements(self, data_set: DataSet, charset: CharacterSet) -> bytes:
        """The elements in the order of their tags."""
        parts: list[bytes] = []
        for tag in sorted(data_set):
            vr, value = data_set[tag]
            raw = self._raw(tag, vr, value, charset)
            parts += self.header(tag, vr, len(raw)), raw
        return b"".join(parts)

    def header(self, tag: int, vr: str, length: int) -> bytes:
        """What stands before a value."""
        group, number = tag >> 16, tag & 0xFFFF
        if not self._explicit:
            return struct.pack("<HHI", group, number, length)
        if vr in _LONG_LENGTH:
            return struct.pack(f"{self._order}HH2sHI", group, number, vr.encode(), 0, length)
        if length > 0xFFFF:
            raise InvalidDataSetError(f"a value of {length} bytes is too long for {vr}", offending_element=tag)
        return struct.pack(f"{self._order}HH2sH", group, number, vr.encode(), length)

    def _raw(self, tag: int, vr: str, value: str | bytes | list[DataSet], charset: CharacterSet) -> bytes:
        if isinstance(value, list):
            return self._items(value, charset)
        if isinstance(value, bytes):
            return value + b"\0" * (len(value) % 2)
        if is_number(vr):
            try:
                return encode_numbers(value, vr, self._big)
            except (ValueError, OverflowError, struct.error):
                raise InvalidDataSetError(f"{value!r} is not a value of {vr}", offending_element=tag) from None
        raw = (charset if vr in CHARACTER_SET_VRS else _ASCII).encode(value)
        return raw + (b"\0" if vr == "UI" else b" ") * (len(raw) % 2)

    def _items(self, found: list[DataSet], charset: CharacterSet) -> bytes:
        parts: list[bytes] = []
        for item in found:
            own = item.get(SPECIFIC_CHARACTER_SET)
            raw = self.elements(item, charset if own is None else character_set(str(own.value)))
            parts += struct.pack(f"{self._order}HHI", 0xFFFE, 0xE000, len(raw)), raw
        return b"".join(parts)
