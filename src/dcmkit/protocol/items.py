"""The items and sub-items of association PDUs: one byte type, one reserved byte, a 16-bit length (PS3.8 9.3.2).

Shared by `pdu` (PS3.8 9.3) and `user_information` (PS3.7 D.3.3). Decoding is strict on structure: what runs past its
parent is a `ProtocolError`. It is tolerant on text, since real devices pad with spaces or NULs: peer text is read as
ISO 8859-1, so any bytes have a reading, and stripped of padding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dcmkit.errors import ProtocolError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    Buffer = bytes | bytearray | memoryview

_MAXIMUM_ITEM_LENGTH = 0xFFFF


class Record:
    """Equality, hash and repr by the fields in `__slots__`; a tenth of what a NamedTuple costs at import."""

    __slots__: tuple[str, ...] = ()

    def _fields(self) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in self.__slots__)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and isinstance(other, Record) and self._fields() == other._fields()

    def __hash__(self) -> int:
        return hash((type(self), self._fields()))

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__)
        return f"{type(self).__name__}({fields})"


def iterate_items(data: bytes, start: int, parent: str) -> Iterator[tuple[int, bytes]]:
    """The type and value of each item in `data` from `start` on; linear in the length of `data`.

    Args:
        parent: what the items lie in, for the error message.

    Raises:
        ProtocolError: an item runs past the end of its parent, or stray bytes follow the last item.
    """
    end = len(data)
    while start < end:
        value = start + 4
        if value > end:
            raise ProtocolError(f"{end - start} stray bytes after the last item of {parent}")
        stop = value + (data[start + 2] << 8 | data[start + 3])
        if stop > end:
            raise ProtocolError(f"item {data[start]:02X}H of {parent} runs {stop - end} bytes past its end")
        yield data[start], data[value:stop]
        start = stop


def encode_item(item_type: int, *parts: bytes) -> bytes:
    """One item with `parts` as its value.

    Raises:
        UsageError: the value is longer than the 16-bit length field can say.
    """
    value = b"".join(parts)
    if len(value) > _MAXIMUM_ITEM_LENGTH:
        raise UsageError(
            f"item {item_type:02X}H of an association message would be {len(value)} bytes long, "
            f"{_MAXIMUM_ITEM_LENGTH} is the most PS3.8 can express"
        )
    return bytes((item_type, 0)) + len(value).to_bytes(2, "big") + value


def decode_text(value: bytes) -> str:
    """A UID, AE title or name without the spaces and NULs devices pad it with; never raises."""
    return value.decode("latin-1").strip("\0 ")


def encode_text(text: str, what: str) -> bytes:
    """`text` as bytes, without padding: PS3.8 Annex F lets UIDs have odd lengths here.

    Raises:
        UsageError: a character outside ISO 8859-1.
    """
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        raise UsageError(f"{what} {text!r} holds characters an association message cannot carry") from None


def encode_sized(value: bytes) -> bytes:
    """`value` behind its 16-bit length, the form of the fields within PS3.7's sub-items.

    Raises:
        UsageError: `value` is longer than the length field can say.
    """
    if len(value) > _MAXIMUM_ITEM_LENGTH:
        raise UsageError(f"a field of {len(value)} bytes does not fit an association message")
    return len(value).to_bytes(2, "big") + value


def decode_sized(data: bytes, offset: int, what: str) -> tuple[bytes, int]:
    """The field behind a 16-bit length at `offset`, and the offset after it.

    Raises:
        ProtocolError: length or field run past the end of `data`.
    """
    start = offset + 2
    if start > len(data):
        raise ProtocolError(f"{what} ends before the length of a field")
    stop = start + (data[offset] << 8 | data[offset + 1])
    if stop > len(data):
        raise ProtocolError(f"a field of {what} runs {stop - len(data)} bytes past its end")
    return data[start:stop], stop
