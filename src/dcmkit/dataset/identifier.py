"""Identifiers of C-FIND answers, many of the same form: what stays the same is encoded once, then rows of values only.

An answer is described by `Field`s in the order of their tags. Text goes out in the character set asked for; a row
that does not fit it goes out in UTF-8, and (0008,0005) says which, where a row is not plain ASCII (PS3.4 C.4.1.1.3.2).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

from dcmkit.dataset.elements import CHARACTER_SET_VRS, element, encode
from dcmkit.dataset.scanner import LONG_VRS
from dcmkit.dataset.values import SPECIFIC_CHARACTER_SET, CharacterSet, character_set, encode_numbers, is_number
from dcmkit.uids import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)

UTF_8 = "ISO_IR 192"
_SHORT_LIMIT = 0xFFFE
"""The longest value of most VRs where the VR is explicit (PS3.5 7.1.2); what is longer cannot be told."""
_ITEM = 0xFFFEE000

Value = str | int | None
Row = Sequence[Value]


class Field(NamedTuple):
    """One element of an answer.

    Attributes:
        tag, vr: of the element.
        column: where a row has its value; -1 for one that is the same in every answer.
        value: that value; ASCII, since every answer has it.
        items: of a sequence: the elements of its items. A row's value then has the values of all items, joined by
            backslashes; as many items go out as the longest of them has.
    """

    tag: int
    vr: str
    column: int = -1
    value: str = ""
    items: tuple[Field, ...] | None = None


def _tag(field: Field) -> int:
    return field.tag


class _Headers(dict[int, bytes]):
    """What stands before a value of an element, by the value's length."""

    def __init__(self, tag: int, vr: str, transfer_syntax_uid: str) -> None:
        self._group, self._element, self._vr = tag >> 16, tag & 0xFFFF, vr.encode()
        self._order = ">" if transfer_syntax_uid == EXPLICIT_VR_BIG_ENDIAN else "<"
        self._explicit = transfer_syntax_uid != IMPLICIT_VR_LITTLE_ENDIAN
        self.longest = _SHORT_LIMIT if self._explicit and self._vr not in LONG_VRS else 0xFFFFFFFE

    def __missing__(self, length: int) -> bytes:
        if not self._explicit:
            header = struct.pack("<HHI", self._group, self._element, length)
        elif self.longest > _SHORT_LIMIT:
            header = struct.pack(f"{self._order}HH2sHI", self._group, self._element, self._vr, 0, length)
        else:
            header = struct.pack(f"{self._order}HH2sH", self._group, self._element, self._vr, length)
        if length < 256:
            self[length] = header
        return header


@lru_cache(maxsize=2048)
def _headers(tag: int, vr: str, transfer_syntax_uid: str) -> _Headers:
    return _Headers(tag, vr, transfer_syntax_uid)


_Convert = Callable[[Row, "CharacterSet | None"], bytes]


class _Step(NamedTuple):
    """A value of a row, and what stands after it in every answer."""

    column: int
    headers: _Headers
    padding: bytes
    in_charset: bool
    convert: _Convert | None
    after: bytes


class AnswerEncoder:
    """Encodes the answers of one query.

    Args:
        fields: the elements, without Specific Character Set.
        transfer_syntax_uid: uncompressed, or the deflated one.
        charset: the value of Specific Character Set asked for.
    """

    def __init__(self, fields: Sequence[Field], transfer_syntax_uid: str, charset: str = "") -> None:
        self._deflated = transfer_syntax_uid == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN
        self._syntax = EXPLICIT_VR_LITTLE_ENDIAN if self._deflated else transfer_syntax_uid
        self._charset = charset
        self._first = b""
        self._steps: list[_Step] = []
        after = b""
        for field in sorted(fields, key=_tag, reverse=True):
            if field.column < 0 and field.items is None:
                after = self._fixed(field) + after
            else:
                self._steps.append(self._step(field, after))
                after = b""
        self._first = after
        self._steps.reverse()

    def encode(self, row: Row) -> bytes:
        """The identifier of one row."""
        try:
            data = self._ascii(row)
        except UnicodeEncodeError:
            try:
                data = self._in_charset(row, self._charset)
            except UnicodeEncodeError:
                data = self._in_charset(row, UTF_8)
        return _deflate(data) if self._deflated else data

    # --- rows ---

    def _ascii(self, row: Row) -> bytes:
        """Nearly every row, and so written for speed. Raises: UnicodeEncodeError, where it is not plain."""
        parts = [self._first]
        add = parts.append
        for column, headers, padding, _, convert, after in self._steps:
            if convert is not None:
                raw = convert(row, None)
            else:
                value = row[column]
                raw = b"" if value is None else str(value).encode("ascii")
            length = len(raw)
            if length & 1:
                raw += padding
                length += 1
            if length > headers.longest:
                raw, length = b"", 0
            add(headers[length])
            add(raw)
            if after:
                add(after)
        return b"".join(parts)

    def _in_charset(self, row: Row, term: str) -> bytes:
        """A row with other characters. Raises: UnicodeEncodeError, where `term` does not have them."""
        charset = character_set(term)
        parts = [self._fixed(Field(SPECIFIC_CHARACTER_SET, "CS", value=term)) if term else b"", self._first]
        for step in self._steps:
            if step.convert is not None:
                raw = step.convert(row, charset)
            else:
                raw = _text(row[step.column], charset if step.in_charset else None)
            if len(raw) & 1:
                raw += step.padding
            if len(raw) > step.headers.longest:
                raw = b""
            parts += step.headers[len(raw)], raw, step.after
        return b"".join(parts)

    # --- preparation ---

    def _fixed(self, field: Field) -> bytes:
        value = field.value.encode("ascii", "replace").decode()
        return encode({field.tag: element(field.tag, value, field.vr)}, self._syntax)

    def _step(self, field: Field, after: bytes) -> _Step:
        convert: _Convert | None = None
        if field.items is not None:
            convert = self._sequence(field.items)
        elif is_number(field.vr):
            convert = self._number(field)
        headers = _headers(field.tag, field.vr, self._syntax)
        padding = b"\0" if field.vr == "UI" else b" "
        return _Step(field.column, headers, padding, field.vr in CHARACTER_SET_VRS, convert, after)

    def _number(self, field: Field) -> _Convert:
        column, vr, big_endian = field.column, field.vr, self._syntax == EXPLICIT_VR_BIG_ENDIAN

        def convert(row: Row, _: CharacterSet | None) -> bytes:
            value = row[column]
            try:
                return b"" if value is None else encode_numbers(str(value), vr, big_endian)
            except (ValueError, OverflowError, struct.error):
                return b""

        return convert

    def _sequence(self, fields: tuple[Field, ...]) -> _Convert:
        syntax = self._syntax
        pack = struct.Struct((">" if syntax == EXPLICIT_VR_BIG_ENDIAN else "<") + "HHI").pack
        known = [field for field in fields if field.column >= 0]

        def convert(row: Row, charset: CharacterSet | None) -> bytes:
            values = {field.tag: str(row[field.column] or "").split("\\") for field in known}
            if not any(any(found) for found in values.values()):
                return b""
            parts: list[bytes] = []
            for number in range(max(map(len, values.values()))):
                item = b""
                for field in fields:
                    found = values.get(field.tag, ())
                    text = found[number] if number < len(found) else ""
                    item += _item_element(field, text, syntax, charset)
                parts += pack(_ITEM >> 16, _ITEM & 0xFFFF, len(item)), item
            return b"".join(parts)

        return convert


def _item_element(field: Field, text: str, syntax: str, charset: CharacterSet | None) -> bytes:
    if charset is None:
        text.encode("ascii")
    raw = _text(text, charset if field.vr in CHARACTER_SET_VRS else None)
    raw += (b"\0" if field.vr == "UI" else b" ") * (len(raw) & 1)
    headers = _headers(field.tag, field.vr, syntax)
    return headers[len(raw)] + raw if len(raw) <= headers.longest else headers[0]


def _text(value: Value, charset: CharacterSet | None) -> bytes:
    """What only PS3.5 6.1.2.3's VRs may hold becomes a question mark elsewhere."""
    if value is None:
        return b""
    return str(value).encode("ascii", "replace") if charset is None else charset.encode(str(value))


def _deflate(data: bytes) -> bytes:
    import zlib

    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    data = deflater.compress(data) + deflater.flush()
    return data + b"\0" * (len(data) % 2)
