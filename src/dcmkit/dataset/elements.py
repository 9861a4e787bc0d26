"""Small data sets in memory (identifiers of queries, answers, lists of UIDs), to and from their encoded form (PS3.5 7).

Text is Unicode in memory, whatever the character set of the bytes. Objects with pixel data are no business of this
module: their bytes are passed on or scanned (`scanner`).
"""

from __future__ import annotations

import re
import struct
from typing import Literal, NamedTuple

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

LONG_LENGTH_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"})
"""VRs with two reserved bytes and a length of four (PS3.5 7.1.2)."""
BYTES_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
CHARACTER_SET_VRS = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
"""Only these depend on Specific Character Set (PS3.5 6.1.2.3)."""
VRS = LONG_LENGTH_VRS | CHARACTER_SET_VRS | {
    "AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "SL", "SS", "TM", "UI", "UL", "US",
}  # fmt: skip
SINGLE_VRS = frozenset({"LT", "ST", "UT", "UR"})
"""A backslash is a character of these, no delimiter; spaces before them count."""
_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_PADDING = 0xFFFCFFFC
"""Data Set Trailing Padding (PS3.10 7.2)."""
_NO_VRS = frozenset({b"??", b"  ", b"--", b"\0\0"})
"""What some writers put where the VR belongs, with a 16-bit length after it."""
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
        value = [] if vr == "SQ" else b"" if vr in BYTES_VRS else ""
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

# What is done with an element, by its tag and VR.
_TEXT, _CHARACTER_SET, _OTHER, _LEFT_OUT, _DELIMITER, _STRAY, _FUTURE = range(7)

_Header = tuple[int, str, int, int]
"""Tag, VR, one of the above, and how many bytes the header has."""
_HEADERS_LIMIT = 4096
"""Headers remembered; peers do not send more different ones, unless they mean harm."""


class _Encoding:
    """One way to encode elements, and the headers seen in it."""

    __slots__ = ("_order", "big_endian", "explicit", "header", "headers", "item", "long")

    def __init__(self, *, explicit: bool, big_endian: bool) -> None:
        self.explicit, self.big_endian = explicit, big_endian
        self._order: Literal["big", "little"] = "big" if big_endian else "little"
        order = ">" if big_endian else "<"
        self.header = struct.Struct(order + ("6sH" if explicit else "4sI")).unpack_from
        self.item = struct.Struct(order + "HHI").unpack_from
        self.long = struct.Struct(order + "I").unpack_from
        self.headers: dict[bytes, _Header] = {}

    def learn(self, key: bytes) -> _Header:
        """What a header never seen before says: tag, VR if there is one."""
        if len(self.headers) >= _HEADERS_LIMIT:
            self.headers.clear()
        found = self.headers[key] = self._read(key)
        return found

    def _read(self, key: bytes) -> _Header:
        tag = int.from_bytes(key[:2], self._order) << 16 | int.from_bytes(key[2:4], self._order)
        if tag >> 16 == 0xFFFE:
            return tag, "", _DELIMITER, 8
        vr, size = key[4:].decode("latin-1") or vr_of(tag), 8
        if self.explicit and vr in LONG_LENGTH_VRS:
            size = 12
        elif self.explicit and vr not in VRS:
            if key[4:] in _NO_VRS:
                vr = vr_of(tag)
            else:
                future = vr.isalpha() and vr.isupper() and vr.isascii()
                return tag, "UN", _FUTURE if future else _STRAY, 8
        if tag == _PADDING or not tag & 0xFFFF:
            return tag, vr, _LEFT_OUT, size
        if tag == SPECIFIC_CHARACTER_SET:
            return tag, "CS", _CHARACTER_SET, size
        return tag, vr, _OTHER if vr == "SQ" or vr in BYTES_VRS or is_number(vr) else _TEXT, size


_EXPLICIT = _Encoding(explicit=True, big_endian=False)
_BIG_ENDIAN = _Encoding(explicit=True, big_endian=True)
_IMPLICIT = _Encoding(explicit=False, big_endian=False)
_ZEROS = re.compile(rb"\0*")


def decode(
    data: bytes | memoryview, transfer_syntax_uid: str, *, assume_charset: str = "", override_charset: bool = False
) -> DataSet:
    """A whole encoded data set. Group lengths and padding are left out.

    What peers get wrong is read as it is meant, where that can be told: elements in the other VR encoding than the
    transfer syntax says (the first one shows), a VR of blanks or question marks, UN in place of the VR of the data
    dictionary (PS3.5 6.2.2), odd lengths, elements out of order, delimiters that are missing or too many, zeros at
    the end. Of elements with the same tag the last counts.

    Args:
        data: its bytes.
        transfer_syntax_uid: an uncompressed or the deflated one.
        assume_charset: the Specific Character Set (defined terms joined by backslashes) where none is declared, and
            for values that are none in the declared one.
        override_charset: take `assume_charset` even where one is declared.

    Raises:
        InvalidDataSetError: it is cut short, nested too deeply, or no data set.
    """
    raw = bytes(data)
    if transfer_syntax_uid == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
        raw = _inflated(raw)
    encoding = _BIG_ENDIAN if transfer_syntax_uid == EXPLICIT_VR_BIG_ENDIAN else _EXPLICIT
    if transfer_syntax_uid == IMPLICIT_VR_LITTLE_ENDIAN:
        encoding = _IMPLICIT
    decoder = _Decoder(raw, character_set(assume_charset), override_charset and bool(assume_charset))
    encoding = decoder.guess(encoding, 0, len(raw))
    data_set, _ = decoder.elements(encoding, 0, len(raw), decoder.assumed, 0)
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

    __slots__ = ("_data", "_override", "_text", "assumed")

    def __init__(self, data: bytes, assumed: CharacterSet, override: bool) -> None:
        self._data = data
        self._text = data.decode("latin-1")
        self.assumed = assumed
        self._override = override

    def guess(self, encoding: _Encoding, pos: int, end: int) -> _Encoding:
        """How the elements really are encoded, by the first one."""
        if end - pos < 8 or encoding.big_endian:
            return encoding
        data = self._data
        vr = data[pos + 4 : pos + 6]
        if encoding.explicit:
            plausible = (vr.isalpha() and vr.isupper()) or (vr in _NO_VRS and vr != b"\0\0")
            return encoding if plausible or data.startswith((b"\xfe\xff", b"\0\0\0\0"), pos) else _IMPLICIT
        name = vr.decode("latin-1")
        if name not in VRS:
            return encoding
        tag = _EXPLICIT.learn(data[pos : pos + 6])[0]
        too_long = encoding.long(data, pos + 4)[0] > end - pos - 8
        return _EXPLICIT if too_long or name == vr_of(tag) else encoding

    def elements(
        self, encoding: _Encoding, pos: int, end: int, charset: CharacterSet, depth: int, nested: bool = False
    ) -> tuple[DataSet, int]:
        """The elements up to `end`, or of an item of undefined length up to its delimiter; and where they end."""
        data_set: DataSet = {}
        early: list[tuple[int, str, int, int]] = []  # beyond ASCII, before a character set was declared
        data, latin1, header, known = self._data, self._text, encoding.header, encoding.headers.get
        new, extended = tuple.__new__, charset.extended
        last = end - 8
        while pos <= last:
            key, length = header(data, pos)
            tag, vr, kind, size = known(key) or encoding.learn(key)
            if kind == _DELIMITER:
                if nested:
                    return data_set, pos + 8 if tag == _ITEM_END else pos
                if tag == _ITEM:
                    raise InvalidDataSetError("an item where an element should be", offending_element=tag)
                pos += 8
                continue
            if not tag and (zeros := _ZEROS.match(data, pos, end)) and zeros.end() - pos >= 8:
                pos += (zeros.end() - pos) // 8 * 8
                continue
            start = pos + size
            if size == 12:
                if start > end:
                    raise InvalidDataSetError("the data set ends inside an element", offending_element=tag)
                length = encoding.long(data, pos + 8)[0]
            elif kind >= _STRAY:
                start, length = self._unusual(pos, end, kind, length)
                vr, kind = "UN", _OTHER if tag & 0xFFFF and tag != _PADDING else _LEFT_OUT
            stop = start + length
            if stop > end and (length != _UNDEFINED or kind != _OTHER):
                raise InvalidDataSetError("the data set ends inside a value", offending_element=tag)
            if kind == _TEXT:
                value = latin1[start:stop]
                if not value.isascii() or (extended and "\x1b" in value):
                    early.append((tag, vr, start, stop))
                    value = self._decoded(vr, start, stop, charset)
                elif vr in SINGLE_VRS:
                    value = value.rstrip(" \0")
                else:
                    value = value.strip(" \0")
                    if "\\" in value:
                        value = "\\".join([one.strip(" \0") for one in value.split("\\")])
                data_set[tag] = new(Element, (vr, value))
            elif kind == _OTHER:
                data_set[tag], stop = self._other(encoding, tag, vr, start, stop, end, charset, depth)
            elif kind == _CHARACTER_SET:
                declared = decode_text(data[start:stop], _ASCII)
                data_set[tag] = Element(vr, declared)
                if not self._override:
                    charset = character_set(declared) if declared else self.assumed
                    extended = charset.extended
                    for early_tag, early_vr, begin, until in early:
                        data_set[early_tag] = Element(early_vr, self._decoded(early_vr, begin, until, charset))
                    early.clear()
            pos = stop
        if nested and end == len(data):
            raise InvalidDataSetError("the data set ends inside an item")
        if data[pos:end].strip(b"\0"):
            raise InvalidDataSetError("the data set ends inside an element")
        return data_set, end

    def _unusual(self, pos: int, end: int, kind: int, short: int) -> tuple[int, int]:
        """Start and length of the value of an element whose VR is unknown.

        A VR of two letters is one of the future and has a 32-bit length (PS3.5 7.1.2), or a wrong one with a 16-bit
        length: what follows tells. Anything else is an element in implicit VR that strayed here.
        """
        data = self._data
        if kind == _STRAY:
            return pos + 8, int.from_bytes(data[pos + 4 : pos + 8], "little")
        if short or end - pos < 12 or data[pos + 12 : pos + 14].decode("latin-1") in VRS:
            return pos + 8, short
        return pos + 12, int.from_bytes(data[pos + 8 : pos + 12], "little")

    def _decoded(self, vr: str, start: int, stop: int, charset: CharacterSet) -> str:
        """Text beyond ASCII."""
        raw = self._data[start:stop]
        if vr not in CHARACTER_SET_VRS:
            charset = _ASCII
        text = charset.decode(raw)
        if "\ufffd" in text and (self.assumed.codec or self.assumed.extended):
            other = self.assumed.decode(raw)
            text = text if "\ufffd" in other else other
        if vr in SINGLE_VRS:
            return text.rstrip(" \0")
        return "\\".join([value.strip(" \0") for value in text.split("\\")])

    def _other(
        self, encoding: _Encoding, tag: int, vr: str, start: int, stop: int, end: int, charset: CharacterSet, depth: int
    ) -> tuple[Element, int]:
        """An element that is no text, and where it ends."""
        if stop > end:  # undefined length
            if vr not in ("SQ", "UN"):
                raise InvalidDataSetError("an element of undefined length that is no sequence", offending_element=tag)
            found, stop = self._items(encoding, start, end, charset, depth, vr == "UN")
            return Element("SQ", found), stop
        if vr == "SQ":
            found, _ = self._items(encoding, start, stop, charset, depth, False)
            return Element(vr, found), stop
        if vr == "UN":
            return self._unknown(vr_of(tag), start, stop, charset, depth), stop
        raw = self._data[start:stop]
        return Element(vr, raw if vr in BYTES_VRS else decode_numbers(raw, vr, encoding.big_endian)), stop

    def _unknown(self, vr: str, start: int, stop: int, charset: CharacterSet, depth: int) -> Element:
        """A value of unknown VR: as the data dictionary has it, in implicit VR little endian (PS3.5 6.2.2)."""
        raw = self._data[start:stop]
        if vr == "SQ":
            try:
                return Element(vr, self._items(_IMPLICIT, start, stop, charset, depth, True)[0])
            except InvalidDataSetError:
                return Element("UN", raw)
        if vr in BYTES_VRS:
            return Element(vr, raw)
        if is_number(vr):
            numbers = decode_numbers(raw, vr)
            whole = len(encode_numbers(numbers, vr)) == len(raw)
            return Element(vr, numbers) if whole else Element("UN", raw)
        return Element(vr, self._decoded(vr, start, stop, charset))

    def _items(
        self, encoding: _Encoding, pos: int, end: int, charset: CharacterSet, depth: int, unknown: bool
    ) -> tuple[list[DataSet], int]:
        """The items; those of a sequence of unknown VR should be in implicit VR little endian (PS3.5 6.2.2)."""
        if depth >= DEPTH_LIMIT:
            raise InvalidDataSetError(f"sequences are nested deeper than {DEPTH_LIMIT}")
        if unknown and not encoding.big_endian:
            encoding = _IMPLICIT
        found: list[DataSet] = []
        while pos < end:
            if end - pos < 8:
                raise InvalidDataSetError("the data set ends inside a sequence")
            group, number, length = encoding.item(self._data, pos)
            tag = group << 16 | number
            pos += 8
            if tag == _SEQUENCE_END:
                return found, pos
            if tag == _ITEM_END:
                continue
            if tag != _ITEM:
                raise InvalidDataSetError("something else where an item should be", offending_element=tag)
            inside = self.guess(encoding, pos, end) if unknown else encoding
            if length == _UNDEFINED:
                item, pos = self.elements(inside, pos, end, charset, depth + 1, nested=True)
            elif pos + length > end:
                raise InvalidDataSetError("the data set ends inside an item")
            else:
                item, _ = self.elements(inside, pos, pos + length, charset, depth + 1)
                pos += length
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
        if vr in LONG_LENGTH_VRS:
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
        if vr in CHARACTER_SET_VRS:
            raw = charset.encode(value)
        else:
            try:
                raw = _ASCII.encode(value)
            except UnicodeEncodeError:
                message = f"{vr} has letters of the default repertoire only"
                raise InvalidDataSetError(message, offending_element=tag) from None
        return raw + (b"\0" if vr == "UI" else b" ") * (len(raw) % 2)

    def _items(self, found: list[DataSet], charset: CharacterSet) -> bytes:
        parts: list[bytes] = []
        for item in found:
            own = item.get(SPECIFIC_CHARACTER_SET)
            raw = self.elements(item, charset if own is None else character_set(str(own.value)))
            parts += struct.pack(f"{self._order}HHI", 0xFFFE, 0xE000, len(raw)), raw
        return b"".join(parts)
