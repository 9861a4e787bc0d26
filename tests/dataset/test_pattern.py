"""Headers that look like one before: with patterns and without, the scanner finds the same."""

from __future__ import annotations

import random
from functools import lru_cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcmkit.dataset import scanner
from dcmkit.dataset.pattern import Outline, Pattern, Patterns
from dcmkit.dataset.scanner import DataSetScanner, ScannedHeader
from dcmkit.errors import InvalidDataSetError
from dcmkit.uids import EXPLICIT_VR_LITTLE_ENDIAN as EXPLICIT
from tests.dataset.encoding import Element, Items, encode

SEQUENCE = 0x00081140
WANTED = frozenset({0x00080018, 0x00080060, 0x00100010, 0x00200013, 0x00200032, 0x00280010, SEQUENCE, 0x00081115})


def result(data: bytes, patterns: Patterns | None, cut: int = 0) -> ScannedHeader | str:
    """What the scanner makes of a data set, in one piece or two."""
    made = DataSetScanner(EXPLICIT, WANTED)
    made._patterns = patterns
    try:
        if cut:
            made.feed(memoryview(data)[:cut])
        made.feed(memoryview(data)[cut:])
        return made.finish()
    except InvalidDataSetError as error:
        return error.message


def fresh() -> Patterns:
    """Patterns that nobody else has taught."""
    scanner._patterns.cache_clear()
    return scanner._patterns(WANTED)


def header(number: int, *, nested: str = "1.2.3", pixels: bytes = b"\1\2\3\4") -> bytes:
    """One of a series: numbers and positions of changing length, sequences of both kinds."""
    item: list[Element] = [(0x00081150, "UI", b"1.2.840.10008"), (0x00081155, "UI", nested.encode())]
    elements: list[Element] = [
        (0x00080008, "CS", b"ORIGINAL\\PRIMARY"),
        (0x00080018, "UI", f"1.2.3.{number}".encode()),
        (0x00080060, "CS", b"MR"),
        (0x00081115, "SQ", Items([item], defined=True)),
        (SEQUENCE, "SQ", Items([item, item])),
        (0x00100010, "PN", b"Doe^Jane"),
        (0x00200013, "IS", str(number).encode()),
        (0x00200032, "DS", f"{number / 7:.6g}\\{-number}\\1".encode()),
        (0x00280010, "US", b"\2\0"),
        (0x00291010, "OB", bytes(300)),
        (0x7FE00010, "OW", pixels),
        (0xFFFCFFFC, "OB", bytes(6)),
    ]
    return encode(elements, EXPLICIT)


def test_a_series_is_recognised_and_its_values_are_right() -> None:
    patterns = fresh()
    for number in range(300):
        data = header(number)
        assert result(data, patterns) == result(data, None)
    recognised = [number for number in range(300) if patterns.match(header(number)) is not None]
    assert len(recognised) > 290


@given(st.lists(st.tuples(st.integers(0, 10**6), st.sampled_from(["1.2.3", "1.2.3.44", ""])), min_size=8, max_size=30))
@settings(max_examples=60)
def test_whatever_changes_the_values_are_right(series: list[tuple[int, str]]) -> None:
    patterns = fresh()
    for number, nested in series * 3:
        data = header(number, nested=nested)
        assert result(data, patterns) == result(data, None)


@given(st.integers(0, 999), st.integers(0, 5000), st.integers(0, 255), st.integers(0, 400))
@settings(max_examples=150)
def test_damage_is_found_as_without_patterns(number: int, where: int, byte: int, cut: int) -> None:
    patterns = taught()
    data = bytearray(header(number))
    data[where % len(data)] = byte
    assert result(bytes(data), patterns) == result(bytes(data), None)
    short = header(number)[: len(data) - cut]
    assert result(short, patterns) == result(short, None)


@given(st.integers(0, 999), st.integers(1, 700))
def test_a_cut_in_the_header_changes_nothing(number: int, cut: int) -> None:
    data = header(number)
    assert result(data, taught(), cut) == result(data, None)


@lru_cache(maxsize=1)
def taught() -> Patterns:
    patterns = fresh()
    for number in range(100):
        patterns.match(header(number))
    assert patterns.match(header(50)) is not None
    return patterns


def test_headers_that_are_all_different_are_soon_left_alone() -> None:
    learnt: list[bytes] = []

    def walk(window: bytes) -> Outline | None:
        learnt.append(window)
        return None

    patterns = Patterns(walk, 65536)
    random.seed(1)
    for _ in range(2000):
        assert patterns.match(random.randbytes(300)) is None
    assert len(learnt) < 15


@pytest.mark.parametrize(
    "data",
    [
        encode([(0x00080018, "UI", b"1.2.3")], EXPLICIT),  # no pixel data
        b"\x08\0\x18\0UI\4\0" + b"1.2\0" + b"\x08\0\x60\0ZZ\2\0MR" + encode([(0x7FE00010, "OW", b"12")], EXPLICIT),
        header(1)[:100],
        b"",
    ],
)
def test_what_is_unusual_makes_no_pattern(data: bytes) -> None:
    assert scanner._Tracer(WANTED).outline(data) is None


def test_a_pattern_ends_where_lengths_of_sequences_change() -> None:
    tracer = scanner._Tracer
    first, second = tracer(WANTED).outline(header(1)), tracer(WANTED).outline(header(1, nested="1.2.3.4.5.6"))
    assert first is not None
    assert second is not None
    pattern = Pattern(second, Pattern(first))
    found = pattern.match(header(1, nested="1.9"), 65536)
    assert found is not None
    assert set(found.values) == {0x00080018, 0x00080060}
    assert header(1, nested="1.9")[found.position : found.position + 4] == b"\x08\0\x15\x11"
    assert found.last == b"\x08\0\x60\0"
