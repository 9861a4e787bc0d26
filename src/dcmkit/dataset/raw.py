"""Where the elements of an encoded data set lie, without decoding or copying them (PS3.5 7).

For what goes over the files of images: a header may be re-encoded (`recode`), a few of its elements decoded, and the
pixel data handed on as it is. Data sets of any size are walked in linear time and bounded memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from mmap import mmap
from struct import Struct
from typing import NamedTuple

from dcmkit.dataset.dictionary import vr_of
from dcmkit.dataset.elements import BYTES_VRS as _BYTES
from dcmkit.dataset.elements import LONG_LENGTH_VRS, VRS, DataSet, Element, decode, encode
from dcmkit.errors import InvalidDataSetError
from dcmkit.uids import EXPLICIT_VR_BIG_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN

UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
DEPTH_LIMIT = 64
"""Sequences within sequences; deeper nesting is refused."""
ELEMENTS_LIMIT = 1 << 17
"""Elements of one data set, those in sequences not counted."""
SMALL = 1 << 16
"""Values of bytes up to this size are decoded together with the others."""
DECODED_LIMIT = 1 << 26
"""Bytes of elements that `RawElements.decoded` decodes."""

_SPECIFIC_CHARACTER_SET = 0x00080005
_SHORT_VRS = {vr.encode(): vr for vr in VRS - LONG_LENGTH_VRS}
_HEADERS_LIMIT = 1 << 14
_KNOWN_HEADERS: dict[bool, dict[bytes, tuple[int, str, int]]] = {False: {}, True: {}}
"""What headers say that were met before, by the order of their bytes: objects of a series have the same ones."""
_HEADS = {False: Struct("<HH2sH").unpack_from, True: Struct(">HH2sH").unpack_from}
_UNREAL_VRS = frozenset({"??", "  ", "--", "\0\0"})
_ZEROS = re.compile(rb"\0*")


class Encoding(NamedTuple):
    """How elements are encoded, whatever is in them (PS3.5 Annex A)."""

    explicit: bool = True
    big_endian: bool = False

    @property
    def transfer_syntax_uid(self) -> str:
        """The uncompressed transfer syntax that is encoded so."""
        if self.big_endian:
            return EXPLICIT_VR_BIG_ENDIAN
        return EXPLICIT_VR_LITTLE_ENDIAN if self.explicit else IMPLICIT_VR_LITTLE_ENDIAN


IMPLICIT, EXPLICIT, BIG_ENDIAN = Encoding(explicit=False), Encoding(), Encoding(big_endian=True)


def encoding_of(transfer_syntax_uid: str) -> Encoding:
    """The encoding of a transfer syntax's elements, after inflating where it is a deflated one."""
    if transfer_syntax_uid in (IMPLICIT_VR_LITTLE_ENDIAN, "1.2.840.10008.1.20"):
        return IMPLICIT
    return BIG_ENDIAN if transfer_syntax_uid == EXPLICIT_VR_BIG_ENDIAN else EXPLICIT


class RawElement(NamedTuple):
    """Where one element lies.

    Attributes:
        vr: as it is encoded; in implicit VR that of the data dictionary, `UN` where there is none.
        start, value_start: of its header, of its value.
        length: of its value as encoded, or `UNDEFINED`.
        end: where the next begins, after the delimiter if there is one.
    """

    tag: int
    vr: str
    start: int
    value_start: int
    length: int
    end: int


class Reader:
    """Reads headers and finds ends in one encoding."""

    __slots__ = ("_head", "_long", "encoding")

    def __init__(self, encoding: Encoding) -> None:
        order = ">" if encoding.big_endian else "<"
        self.encoding = encoding
        self._head = Struct(order + "HH2sH").unpack_from
        self._long = Struct(order + "L").unpack_from

    def header(self, data: memoryview, pos: int, end: int) -> tuple[int, str, int, int]:
        """Tag, VR, where the value begins, and its length.

        Raises:
            InvalidDataSetError: the data set ends inside it.
        """
        if end - pos < 8:
            raise InvalidDataSetError("the data set ends inside an element")
        group, number, letters, length = self._head(data, pos)
        tag = group << 16 | number
        if group == 0xFFFE:
            if tag not in (ITEM, ITEM_END, SEQUENCE_END):
                raise InvalidDataSetError("an element that cannot be", offending_element=tag)
            return tag, "", pos + 8, self._long(data, pos + 4)[0]
        if not self.encoding.explicit:
            return tag, vr_of(tag), pos + 8, self._long(data, pos + 4)[0]
        vr = letters.decode("latin-1")
        if vr in LONG_LENGTH_VRS:
            if end - pos < 12:
                raise InvalidDataSetError("the data set ends inside an element", offending_element=tag)
            return tag, vr, pos + 12, self._long(data, pos + 8)[0]
        if vr in VRS:
            return tag, vr, pos + 8, length
        return self._unusual(data, pos, end, tag, vr, length)

    def _unusual(
        self, data: memoryview, pos: int, end: int, tag: int, vr: str, short: int
    ) -> tuple[int, str, int, int]:
        """A VR that PS3.5 does not know: blank, of the future (PS3.5 7.1.2), or of an element in implicit VR."""
        if vr in _UNREAL_VRS and not (vr == "\0\0" and short):
            return tag, vr_of(tag), pos + 8, short
        if not (vr.isascii() and vr.isalpha() and vr.isupper()):
            return tag, "UN", pos + 8, self._long(data, pos + 4)[0]
        if short or end - pos < 12 or bytes(data[pos + 12 : pos + 14]).decode("latin-1") in VRS:
            return tag, "UN", pos + 8, short
        return tag, "UN", pos + 12, self._long(data, pos + 8)[0]

    def end(self, data: memoryview, tag: int, vr: str, start: int, length: int, end: int, depth: int = 0) -> int:
        """Where an element ends, its delimiter included."""
        if length != UNDEFINED:
            if length > end - start:
                raise InvalidDataSetError("the data set ends inside a value", offending_element=tag)
            return start + length
        if depth >= DEPTH_LIMIT:
            raise InvalidDataSetError(f"sequences are nested deeper than {DEPTH_LIMIT}", offending_element=tag)
        within = inside(self, data, vr, start, end)
        fragments = vr not in ("SQ", "UN") and self.encoding.explicit
        pos = start
        while True:
            item, _, begin, size = within.header(data, pos, end)
            if item == SEQUENCE_END:
                return begin
            if item != ITEM:
                raise InvalidDataSetError("something else where an item should be", offending_element=tag)
            if size == UNDEFINED and not fragments:
                pos = within.item_end(data, begin, end, depth + 1)
            elif size > end - begin:
                raise InvalidDataSetError("the data set ends inside an item", offending_element=tag)
            else:
                pos = begin + size

    def item_end(self, data: memoryview, pos: int, end: int, depth: int) -> int:
        """Where an item of undefined length ends, its delimiter included."""
        while True:
            tag, vr, start, length = self.header(data, pos, end)
            if tag == ITEM_END:
                return start
            if tag == SEQUENCE_END:  # its own delimiter is missing
                return pos
            if tag == ITEM:
                raise InvalidDataSetError("an item where an element should be", offending_element=tag)
            pos = self.end(data, tag, vr, start, length, end, depth)


_IMPLICIT_READER, _EXPLICIT_READER = Reader(IMPLICIT), Reader(EXPLICIT)


def inside(reader: Reader, data: memoryview, vr: str, pos: int, end: int) -> Reader:
    """How the items of an element are encoded: those of UN in implicit VR (PS3.5 6.2.2), unless they show another."""
    if vr != "UN" or not reader.encoding.explicit:
        return reader
    letters = bytes(data[pos + 12 : min(pos + 14, end)]).decode("latin-1")
    return _EXPLICIT_READER if letters in VRS else _IMPLICIT_READER


def guess(data: memoryview, pos: int, end: int, encoding: Encoding) -> Encoding:
    """How the elements really are encoded: the first one shows where it is not as the transfer syntax says."""
    if end - pos < 8 or encoding.big_endian:
        return encoding
    letters = bytes(data[pos + 4 : pos + 6])
    vr = letters.decode("latin-1")
    if encoding.explicit:
        zero = bytes(data[pos : pos + 4])
        plausible = vr in VRS or vr in ("??", "  ", "--") or (vr.isalpha() and vr.isupper() and vr.isascii())
        return encoding if plausible or zero[:2] == b"\xfe\xff" or zero == b"\0\0\0\0" else IMPLICIT
    if vr not in VRS:
        return encoding
    tag, _, start, length = _IMPLICIT_READER.header(data, pos, end)
    return EXPLICIT if length > end - start or vr == vr_of(tag) else encoding


def walk(
    data: memoryview, pos: int, end: int, encoding: Encoding, *, stop: frozenset[int] = frozenset()
) -> Iterator[RawElement]:
    """The elements of the top level, in the order they come.

    Zeros between and after elements are passed over. At an element of `stop` that has an undefined length the walk
    is over; its `end` is then -1.

    Raises:
        InvalidDataSetError: the data set ends too early, is nested too deeply, or is none.
    """
    reader, count = Reader(encoding), 0
    known = _KNOWN_HEADERS[encoding.big_endian] if encoding.explicit else None
    source, new = b"", tuple.__new__
    whole = data.obj
    if isinstance(whole, (bytes, mmap)) and len(whole) == len(data):
        source = whole  # type: ignore[assignment]  # a slice of a map is bytes, too
    else:
        known = None
    while pos < end:
        if not data[pos] and (zeros := _ZEROS.match(data, pos, end)):
            if zeros.end() == end:
                return
            if zeros.end() - pos >= 8:
                pos += (zeros.end() - pos) // 8 * 8
                continue
        if known is not None and end - pos >= 8:  # what most elements are, without a call
            header = source[pos : pos + 8]
            found = known.get(header)
            if found is None:
                found = _short_header(header, encoding.big_endian, known)
            tag, vr, length = found
            last = pos + 8 + length
            if vr and last <= end:
                count += 1
                if count > ELEMENTS_LIMIT:
                    raise InvalidDataSetError(f"the data set has more than {ELEMENTS_LIMIT} elements")
                yield new(RawElement, (tag, vr, pos, pos + 8, length, last))
                pos = last
                continue
        tag, vr, start, length = reader.header(data, pos, end)
        if tag >> 16 == 0xFFFE:
            if tag == ITEM:
                raise InvalidDataSetError("an item where an element should be", offending_element=tag)
            pos = start  # a delimiter too many
            continue
        count += 1
        if count > ELEMENTS_LIMIT:
            raise InvalidDataSetError(f"the data set has more than {ELEMENTS_LIMIT} elements")
        if length == UNDEFINED and tag in stop:
            yield RawElement(tag, vr, pos, start, length, -1)
            return
        last = reader.end(data, tag, vr, start, length, end)
        yield RawElement(tag, vr, pos, start, length, last)
        pos = last


def _short_header(header: bytes, big_endian: bool, known: dict[bytes, tuple[int, str, int]]) -> tuple[int, str, int]:
    """Tag, VR and length of an element with a short length; no VR for others. It is remembered."""
    group, number, letters, length = _HEADS[big_endian](header)
    vr = _SHORT_VRS.get(letters, "") if group != 0xFFFE else ""
    if len(known) >= _HEADERS_LIMIT:
        known.clear()
    known[header] = found = (group << 16 | number, vr, length)
    return found


class RawElements:
    """The top level of an encoded data set: each tag once (the last of several counts), in order.

    Attributes:
        data: what the elements lie in.
        encoding: how.
    """

    __slots__ = ("_by_tag", "data", "encoding")

    def __init__(self, data: memoryview, encoding: Encoding, elements: Iterable[RawElement]) -> None:
        self.data, self.encoding = data, encoding
        found = {one.tag: one for one in elements}
        self._by_tag = {tag: found[tag] for tag in sorted(found)}

    def __iter__(self) -> Iterator[RawElement]:
        return iter(self._by_tag.values())

    def __len__(self) -> int:
        return len(self._by_tag)

    def __contains__(self, tag: int) -> bool:
        return tag in self._by_tag

    def get(self, tag: int) -> RawElement | None:
        """The element with this tag."""
        return self._by_tag.get(tag)

    def value(self, tag: int) -> memoryview | None:
        """The encoded value of an element of defined length."""
        found = self._by_tag.get(tag)
        if found is None or found.length == UNDEFINED:
            return None
        return self.data[found.value_start : found.value_start + found.length]

    def text(self, tag: int) -> str:
        """The value of an element that holds ASCII, without padding."""
        value = self.value(tag)
        return "" if value is None else bytes(value[:SMALL]).decode("latin-1").strip(" \0")

    def unsigned(self, tag: int) -> int | None:
        """The first value of a US or UL element, or of IS or DS text that strayed there."""
        value = self.value(tag)
        if value is None or len(value) < 2:
            return None
        if self._by_tag[tag].vr in ("IS", "DS"):
            return number(self.text(tag))
        size = 4 if self._by_tag[tag].vr == "UL" and len(value) >= 4 else 2
        return int.from_bytes(value[:size], "big" if self.encoding.big_endian else "little")

    def without(self, tags: Iterable[int]) -> RawElements:
        """The same without some."""
        left_out = frozenset(tags)
        return RawElements(self.data, self.encoding, (one for one in self if one.tag not in left_out))

    def decoded(self, *, assume_charset: str = "", override_charset: bool = False) -> DataSet:
        """All elements in memory, by the rules of `elements.decode`; binary values in little endian.

        Raises:
            InvalidDataSetError: a sequence cannot be followed, or there is too much of it all.
        """
        if sum(one.end - one.start for one in self) > DECODED_LIMIT:
            raise InvalidDataSetError(f"the elements are longer than {DECODED_LIMIT} bytes together")
        if self.encoding.big_endian:
            from dcmkit.dataset.recode import recode

            data = memoryview(b"".join(recode([self], EXPLICIT)))
            turned = RawElements(data, EXPLICIT, walk(data, 0, len(data), EXPLICIT))
            return turned.decoded(assume_charset=assume_charset, override_charset=override_charset)
        large: dict[int, RawElement] = {}
        parts: list[memoryview] = []
        for one in self:
            if one.vr in _BYTES and SMALL < one.length < UNDEFINED and one.end - one.value_start == one.length:
                large[one.tag] = one
            else:
                parts.append(self.data[one.start : one.end])
        syntax = self.encoding.transfer_syntax_uid
        found = decode(b"".join(parts), syntax, assume_charset=assume_charset, override_charset=override_charset)
        for tag, one in large.items():
            known = vr_of(tag)
            vr = known if one.vr == "UN" and known in _BYTES else one.vr
            found[tag] = Element(vr, bytes(self.data[one.value_start : one.end]))
        return {tag: found[tag] for tag in sorted(found)} if large else found


def encoded_elements(data_set: DataSet, charset: str = "") -> RawElements:
    """The elements of a data set in memory, encoded in explicit VR little endian.

    Args:
        charset: the Specific Character Set to encode in where the data set itself says none.

    Raises:
        UnicodeEncodeError, InvalidDataSetError: as `elements.encode`.
    """
    assumed = bool(charset) and _SPECIFIC_CHARACTER_SET not in data_set
    data = memoryview(encode(data_set, EXPLICIT_VR_LITTLE_ENDIAN, charset=charset if assumed else None))
    found = RawElements(data, EXPLICIT, walk(data, 0, len(data), EXPLICIT))
    return found.without({_SPECIFIC_CHARACTER_SET}) if assumed else found


def number(text: str) -> int | None:
    """The first of the integers in an IS value, None where it is none."""
    first = text.split("\\", 1)[0].strip(" \0")
    if len(first) > 16:
        return None
    try:
        return int(first)
    except ValueError:
        try:
            return int(float(first))  # "1.0" is found in the field
        except (ValueError, OverflowError):
            return None
