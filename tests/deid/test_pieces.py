"""Ranges and new elements, put together."""

from __future__ import annotations

from dcmkit.dataset.raw import BIG_ENDIAN, EXPLICIT, IMPLICIT, RawElement, walk
from dcmkit.deid.pieces import Writer, encoded

DATA = b"".join(encoded(EXPLICIT, 0x00080000 | number, "LO", b"%d" % number) for number in range(1, 6))


def elements() -> list[RawElement]:
    return list(walk(memoryview(DATA), 0, len(DATA), EXPLICIT))


def test_what_is_kept_as_it_lies_is_no_change() -> None:
    writer = Writer(memoryview(DATA), EXPLICIT)
    for one in elements():
        writer.keep(one)
    assert writer.finished() is None


def test_neighbours_are_one_range() -> None:
    writer = Writer(memoryview(DATA), EXPLICIT)
    first, second, third, fourth, fifth = elements()
    writer.keep(first)
    writer.keep(second)
    writer.drop(third)
    writer.keep(fourth)
    writer.replace(fifth, b"new ")
    made = writer.finished()
    assert made is not None
    assert [bytes(piece) for piece in made] == [
        DATA[: second.end], DATA[fourth.start : fourth.end], encoded(EXPLICIT, 0x00080005, "LO", b"new")
    ]  # fmt: skip
    assert writer.fresh == made[-1]


def test_elements_are_encoded_as_the_others_are() -> None:
    assert encoded(EXPLICIT, 0x00080018, "UI", b"1.2") == b"\x08\0\x18\0UI\4\x001.2\0"
    assert encoded(IMPLICIT, 0x00080018, "UI", b"1.2") == b"\x08\0\x18\0\4\0\0\x001.2\0"
    assert encoded(BIG_ENDIAN, 0x00080018, "UI", b"1.2") == b"\0\x08\0\x18UI\0\x041.2\0"
    assert encoded(EXPLICIT, 0x00080006, "SQ", b"") == b"\x08\0\x06\0SQ\0\0\0\0\0\0"
    long = encoded(EXPLICIT, 0x00080104, "LO", bytes(0x10000))
    assert long.startswith(b"\x08\0\x04\x01UN\0\0\0\0\1\0")
