"""SIZ, COD and tile-parts, right and wrong."""

from __future__ import annotations

import struct

import pytest

from dcmkit.errors import InvalidDataSetError, UnsupportedSyntaxError
from dcmkit.pixels.jpeg2000_header import read_header


def siz(**changed: int) -> bytes:
    """A main header up to COD, in SIZ whatever is given."""
    fields = {"rsiz": 0, "x": 100, "y": 80, "x0": 0, "y0": 0, "tx": 100, "ty": 80, "tx0": 0, "ty0": 0, "count": 1}
    fields |= {"precision": 11, "dx": 1, "dy": 1} | changed
    numbers = [fields[name] for name in ("rsiz", "x", "y", "x0", "y0", "tx", "ty", "tx0", "ty0", "count")]
    components = bytes((fields["precision"], fields["dx"], fields["dy"])) * min(fields["count"], 100)
    body = struct.pack(">H8IH", *numbers) + components
    return b"\xff\x4f\xff\x51" + struct.pack(">H", len(body) + 2) + body


def cod(*, mct: int = 0, transform: int = 1) -> bytes:
    return b"\xff\x52" + struct.pack(">HBBHBBBBBB", 12, 0, 0, 2, mct, 5, 4, 4, 0, transform)


def tile_part(index: int = 0, size: int = 20, room: int = 8) -> bytes:
    return struct.pack(">HHHIBB", 0xFF90, 10, index, size, 0, 1) + bytes(room)


END = b"\xff\xd9"


def test_what_is_read() -> None:
    info = read_header(siz() + cod() + tile_part() + END)
    assert (info.rows, info.columns, info.samples, info.bits, info.signed) == (80, 100, 1, 12, False)
    assert (info.lossless, info.layers, info.complete, info.format) == (None, 2, True, "JPEG 2000")
    info = read_header(siz(count=3, precision=0x87, rsiz=0x4000) + cod(mct=1, transform=0) + tile_part() + END)
    assert (info.color, info.lossless, info.signed, info.bits, info.format) == ("ICT", False, True, 8, "HTJ2K")
    assert read_header(siz(count=3, dx=2) + cod() + tile_part() + END).subsampled


@pytest.mark.parametrize(
    ("tail", "complete"),
    [
        (tile_part() + END, True), (tile_part(), True), (tile_part(size=0) + END, True), (tile_part(size=0), False),
        (tile_part(size=21), False), (tile_part(size=0xFFFFFFFF), False), (tile_part() + tile_part() + END, True),
        (tile_part() + b"\0\0", True), (tile_part(room=2, size=14), True),
    ],
)  # fmt: skip
def test_tile_parts_tell_whether_all_is_there(tail: bytes, complete: bool) -> None:
    assert read_header(siz() + cod() + tail).complete is complete


def test_all_tiles_must_be_there() -> None:
    head = siz(tx=50, ty=80) + cod()
    assert read_header(head + tile_part(0) + tile_part(1) + END).complete
    assert not read_header(head + tile_part(0) + tile_part(0) + END).complete


@pytest.mark.parametrize(
    "stream",
    [
        siz(x=0) + cod() + tile_part(), siz(tx=0) + cod() + tile_part(), siz(tx0=1) + cod() + tile_part(),
        siz(x0=200) + cod() + tile_part(), siz(count=0) + cod() + tile_part(), siz(count=99)[:-9] + cod() + tile_part(),
        siz(dx=0) + cod() + tile_part(), siz(precision=60) + cod() + tile_part(), siz(tx=1, ty=1, x=999, y=99) + cod()
        + tile_part(), siz() + tile_part(), siz() + b"\xff\x52\0\3\0" + tile_part(), siz() + cod() + b"\xff\xd9",
        siz() + cod() + b"\xff\x5c\0\0", siz() + cod() + tile_part(index=1), siz() + cod() + tile_part(size=13),
        b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(8), b"\xff\x4f\xff\x52", siz(x=1 << 31, y=1 << 31) + cod() + tile_part(),
    ],
)  # fmt: skip
def test_what_is_no_header(stream: bytes) -> None:
    with pytest.raises(InvalidDataSetError):
        read_header(stream)


def test_what_is_not_decoded() -> None:
    with pytest.raises(UnsupportedSyntaxError, match="origin"):
        read_header(siz(x0=3) + cod() + tile_part())
    two = bytearray(siz(count=2))
    two[-3] ^= 1
    with pytest.raises(UnsupportedSyntaxError, match="differ in bits"):
        read_header(bytes(two) + cod() + tile_part())
