"""A small mutator, for running the targets where atheris is not there: seeds in, damaged seeds out."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

INTERESTING = (
    b"\0", b"\xff", b"\x7f", b"\x80", b"\0\0", b"\xff\xff", b"\0\1", b"\1\0", b"\0\0\0\0", b"\xff\xff\xff\xff",
    b"\xfe\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xfe\xff\x00\xe0", b"\xfe\xff\x0d\xe0", b"\xfe\xff\xdd\xe0",
    b"SQ", b"UN", b"\\", b"\x1b$B",
)  # fmt: skip
"""Lengths at their limits, delimiters, and what switches a decoder's mode."""

MAXIMUM_LENGTH = 1 << 16


def mutate(seeds: Sequence[bytes], random: Random) -> bytes:
    """One of `seeds` with one to six changes."""
    data = bytearray(random.choice(seeds))
    for _ in range(random.randint(1, 6)):
        random.choice(_CHANGES)(data, seeds, random)
    return bytes(data[:MAXIMUM_LENGTH])


def _place(data: bytearray, random: Random) -> int:
    return random.randint(0, len(data))


def _flip_bit(data: bytearray, _seeds: Sequence[bytes], random: Random) -> None:
    if data:
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)


def _set_byte(data: bytearray, _seeds: Sequence[bytes], random: Random) -> None:
    if data:
        data[random.randrange(len(data))] = random.randrange(256)


def _overwrite(data: bytearray, _seeds: Sequence[bytes], random: Random) -> None:
    value = random.choice(INTERESTING)
    at = _place(data, random)
    data[at : at + len(value)] = value


def _insert(data: bytearray, _seeds: Sequence[bytes], random: Random) -> None:
    at = _place(data, random)
    data[at:at] = random.choice(INTERESTING) * random.choice((1, 1, 2, 40))


def _delete(data: bytearray, _seeds: Sequence[bytes], random: Random) -> None:
    at = _place(data, random)
    del data[at : at + random.randint(1, 12)]


def _cut(data: bytearray, _seeds: Sequence[bytes], random: Random) -> None:
    del data[_place(data, random) :]


def _repeat(data: bytearray, _seeds: Sequence[bytes], random: Random) -> None:
    at = _place(data, random)
    piece = data[at : at + random.randint(1, 64)]
    data[at:at] = piece * random.choice((1, 2, 30))


def _splice(data: bytearray, seeds: Sequence[bytes], random: Random) -> None:
    other = random.choice(seeds)
    data[_place(data, random) :] = other[random.randint(0, len(other)) :]


_CHANGES = (_flip_bit, _set_byte, _overwrite, _insert, _delete, _cut, _repeat, _splice)
