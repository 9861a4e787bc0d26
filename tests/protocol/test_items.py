"""Items and sub-items (PS3.8 9.3.2)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcmkit.errors import ProtocolError, UsageError
from dcmkit.protocol.items import (
    Record,
    decode_sized,
    decode_text,
    encode_item,
    encode_sized,
    encode_text,
    iterate_items,
)


class Point(Record):
    __slots__ = ("x", "y")

    def __init__(self, x: int, y: int) -> None:
        self.x, self.y = x, y


class OtherPoint(Point):
    __slots__ = ()


def test_a_record_is_equal_by_class_and_fields() -> None:
    assert Point(1, 2) == Point(1, 2)
    assert hash(Point(1, 2)) == hash(Point(1, 2))
    assert Point(1, 2) != Point(1, 3)
    assert Point(1, 2) != (1, 2)
    assert Point(1, 2) != OtherPoint(1, 2)
    assert repr(Point(1, 2)) == "Point(x=1, y=2)"


@given(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=40))), st.binary(max_size=9))
def test_items_come_back_as_written(items: list[tuple[int, bytes]], prefix: bytes) -> None:
    data = prefix + b"".join(encode_item(item_type, value) for item_type, value in items)
    assert list(iterate_items(data, len(prefix), "the test")) == items


@given(st.binary(max_size=64))
def test_any_bytes_are_items_or_a_protocol_error(data: bytes) -> None:
    try:
        items = list(iterate_items(data, 0, "the test"))
    except ProtocolError as error:
        assert (error.source, error.reason) == (2, 6)  # noqa: PT017
    else:
        assert sum(4 + len(value) for _, value in items) == len(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x10\0\0\1", "item 10H of the test runs 1 bytes past its end"),
        (b"\x10\0\xff\xff" + bytes(10), "item 10H of the test runs 65525 bytes past its end"),
        (b"\x10\0\0\1A\0", "1 stray bytes after the last item of the test"),
        (b"\0\0\0", "3 stray bytes"),
    ],
)
def test_lengths_that_lie(data: bytes, message: str) -> None:
    with pytest.raises(ProtocolError, match=message):
        list(iterate_items(data, 0, "the test"))


def test_an_item_longer_than_its_length_field() -> None:
    assert len(encode_item(0x20, bytes(0xFFFF))) == 4 + 0xFFFF
    with pytest.raises(UsageError, match="65536 bytes"):
        encode_item(0x20, bytes(0xFFFF), b"!")


@pytest.mark.parametrize("padded", [b"1.2.3", b"1.2.3\0", b" 1.2.3 \0\0", b"\0 1.2.3  "])
def test_padding_of_any_device_goes(padded: bytes) -> None:
    assert decode_text(padded) == "1.2.3"


@given(st.binary())
def test_any_text_of_a_peer_can_be_read(value: bytes) -> None:
    assert encode_text(decode_text(value), "text") == value.strip(b"\0 ")


def test_text_that_cannot_be_sent() -> None:
    with pytest.raises(UsageError, match="AE title '東京'"):
        encode_text("東京", "AE title")


@given(st.binary(max_size=99), st.binary(max_size=9), st.binary(max_size=9))
def test_sized_fields_come_back(value: bytes, before: bytes, after: bytes) -> None:
    data = before + encode_sized(value) + after
    assert decode_sized(data, len(before), "a test") == (value, len(data) - len(after))


@pytest.mark.parametrize("data", [b"", b"\0", b"\0\1", b"\xff\xff" + bytes(9)])
def test_sized_fields_that_lie(data: bytes) -> None:
    with pytest.raises(ProtocolError, match="a test"):
        decode_sized(data, 0, "a test")


def test_a_field_longer_than_its_length_field() -> None:
    with pytest.raises(UsageError, match="65536"):
        encode_sized(bytes(65536))
