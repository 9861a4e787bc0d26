"""Frames of encapsulated pixel data, found by tables and without."""

from __future__ import annotations

import struct
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcmkit.errors import InvalidDataSetError
from dcmkit.pixels import offsets as module
from dcmkit.pixels.image_file import ImageFile
from dcmkit.pixels.offsets import Encapsulated, is_video, start_markers
from tests.pixels.files import (
    DEFLATED_FRAMES,
    END,
    JPEG,
    JPEG_2000,
    JPEG_XL,
    RLE,
    SOC,
    SOI,
    VIDEO,
    attributes,
    encapsulated,
    item,
    table,
    write,
)

FRAMES = [SOI + b"one!", SOI + b"second", SOI + b"3rd!"]
STARTS = [0, 16, 34]
HEADER = 12  # of the pixel data element


def open_pixels(
    pixels: bytes, syntax: str = JPEG, frames: int | None = 3, extended: bytes | None = None, delimited: bool = True
) -> Encapsulated:
    view = memoryview(pixels)
    table = None if extended is None else memoryview(extended)
    return Encapsulated(view, HEADER, len(view), syntax, frames, extended=table, delimited=delimited)


def all_frames(found: Encapsulated) -> list[bytes]:
    return [b"".join(found.fragments(index)) for index in range(found.count)]


@pytest.mark.parametrize("offsets", [STARTS, ()])
def test_one_fragment_for_each_frame(offsets: list[int]) -> None:
    found = open_pixels(encapsulated(FRAMES, offsets))
    assert all_frames(found) == FRAMES
    assert not found.warnings


@pytest.mark.parametrize("offsets", [[0, 28, 52], ()])
def test_frames_in_several_fragments(offsets: list[int]) -> None:
    pieces = [SOI + b"on", b"e!", SOI + b"se", b"cond", SOI + b"3rd!"]
    starts = [0, 14 + 10, 14 + 10 + 14 + 12]
    found = open_pixels(encapsulated(pieces, starts if offsets else ()))
    assert [bytes(one) for one in found.fragments(1)] == pieces[2:4]
    assert all_frames(found) == [b"".join(pieces[:2]), b"".join(pieces[2:4]), pieces[4]]
    assert not found.warnings


@pytest.mark.parametrize(
    "wrong",
    [
        [0, 0, 0],  # never filled in
        [0, 16, 36],  # the last is no item
        [0, 17, 34],  # one in the middle is no item
        [8, 24, 42],  # counted from the table
        [0, 34, 16],  # not in order
        [0, 16],  # too few
        [0, 16, 34, 50],  # too many
        [0, 16, 1 << 31],  # far away
        [0, 16, 0xFFFFFFF0],
    ],
)
def test_wrong_tables_are_repaired_with_a_warning(wrong: list[int]) -> None:
    found = open_pixels(encapsulated(FRAMES, wrong))
    assert all_frames(found) == FRAMES
    assert found.warnings


def test_a_table_of_fragments_instead_of_frames_is_repaired() -> None:
    pieces = [SOI + b"a1", b"a234", SOI + b"b1", b"b234"]
    for starts in ([0, 14], [0, 14, 26, 40]):
        found = open_pixels(encapsulated(pieces, starts), frames=2)
        assert all_frames(found) == [pieces[0] + pieces[1], pieces[2] + pieces[3]]
        assert found.warnings
    found = open_pixels(encapsulated([SOI + b"1", b"22", b"33", SOI + b"4"], [0, 13, 36]), frames=3)
    with pytest.raises(InvalidDataSetError):
        all_frames(found)


def test_an_extended_table_comes_first() -> None:
    found = open_pixels(encapsulated(FRAMES), extended=table(STARTS, "Q"))
    assert all_frames(found) == FRAMES
    assert not found.warnings
    for wrong in ([0, 16], [0, 16, 1 << 40], [0, 17, 34], [1 << 63, 0, 0]):
        found = open_pixels(encapsulated(FRAMES), extended=table(wrong, "Q"))
        assert all_frames(found) == FRAMES
        assert found.warnings


def test_a_wrong_extended_table_beside_a_right_basic_one() -> None:
    found = open_pixels(encapsulated(FRAMES, STARTS), extended=b"\0" * 7)
    assert all_frames(found) == FRAMES
    assert found.warnings


@pytest.mark.parametrize(
    ("syntax", "head"),
    [(JPEG, SOI), (JPEG_2000, SOC), (JPEG_XL, b"\xff\x0a"), (RLE, b"\2\0\0\0\x40\0\0\0")],
)
def test_frames_are_told_apart_by_how_codestreams_begin(syntax: str, head: bytes) -> None:
    pieces = [head + b"a1", b"a2", head + b"b1", head + b"c1", b"c2", b"c3"]
    found = open_pixels(encapsulated(pieces), syntax)
    assert all_frames(found) == [b"".join(pieces[:2]), pieces[2], b"".join(pieces[3:])]
    assert not found.warnings


def test_one_frame_is_all_fragments() -> None:
    for frames in (1, None):
        found = open_pixels(encapsulated([b"any", b"thing!", b"12"]), frames=frames)
        assert all_frames(found) == [b"anything!12"]


def test_a_frame_of_very_many_fragments(monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = [SOI, *(bytes((index, 1)) for index in range(100))]
    monkeypatch.setattr(module, "_FEW", 8)
    found = open_pixels(encapsulated([*pieces, *pieces], [0, 12 + 1000]), frames=2)
    assert all_frames(found) == [b"".join(pieces)] * 2
    assert not found.warnings


def test_fragments_that_cannot_be_told_apart_are_an_error() -> None:
    found = open_pixels(encapsulated([b"ab", b"cd", b"ef", b"gh"]), DEFLATED_FRAMES)
    with pytest.raises(InvalidDataSetError, match="cannot be told"):
        found.fragments(0)


def test_missing_frames_are_an_error_of_their_own() -> None:
    found = open_pixels(encapsulated(FRAMES[:2]))
    assert found.warnings == ["there are only 2 of 3 frames"]
    assert b"".join(found.fragments(1)) == FRAMES[1]
    with pytest.raises(InvalidDataSetError, match="frame 3 of 3"):
        found.fragments(2)


def test_frames_too_many_are_left_alone() -> None:
    found = open_pixels(encapsulated(FRAMES), frames=2)
    assert all_frames(found) == FRAMES[:2]
    assert found.warnings


@pytest.mark.parametrize("offsets", [STARTS, ()])
def test_a_missing_number_of_frames_is_found(offsets: list[int]) -> None:
    found = open_pixels(encapsulated(FRAMES, offsets), frames=None)
    assert all_frames(found) == FRAMES


def test_a_video_is_one_stream() -> None:
    found = open_pixels(encapsulated([b"ab", b"cd"], [0]), VIDEO, frames=50)
    assert b"".join(found.fragments(0)) == b"abcd"
    assert found.count == 50
    with pytest.raises(InvalidDataSetError):
        found.fragments(1)
    assert is_video("1.2.840.10008.1.2.4.100.1")
    assert not is_video(JPEG)
    assert not start_markers("1.2.3")


def test_odd_fragments_whether_or_not_their_padding_is_counted() -> None:
    odd = [SOI + b"1", SOI + b"333", SOI + b"5"]
    exact = b"".join(item(one) for one in (b"", *odd))
    padded = b"".join(item(one) + b"\0" * (len(one) & 1) for one in (b"", *odd))
    for items in (exact, padded):
        assert all_frames(open_pixels(bytes(HEADER) + items + END)) == odd


def test_a_fragment_of_undefined_length_ends_at_its_delimiter() -> None:
    endless = b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + FRAMES[0] + b"\xfe\xff\x0d\xe0\0\0\0\0"
    found = open_pixels(bytes(HEADER) + item(b"") + endless + item(FRAMES[1]) + END, frames=2)
    assert all_frames(found) == FRAMES[:2]
    assert found.warnings == ["a fragment has no length"]
    with pytest.raises(InvalidDataSetError, match="does not end"):
        open_pixels(bytes(HEADER) + item(b"") + endless[:-8] + bytes(3 << 20), frames=2)


def test_every_cut_is_an_error() -> None:
    for offsets in ((), STARTS, [0, 0, 0]):
        pixels = encapsulated(FRAMES, offsets)
        for cut in range(HEADER, len(pixels)):
            with pytest.raises(InvalidDataSetError):
                open_pixels(pixels[:cut])


def test_offsets_beyond_4_gib(tmp_path: Path) -> None:
    path = write(tmp_path / "big.dcm", JPEG, attributes(frames=2), b"\xe0\x7f\x10\0OB\0\0\xff\xff\xff\xff", item(b""))
    start = path.stat().st_size
    length = 0xFFFFFFF0
    with path.open("r+b") as file:
        file.seek(start)
        file.write(struct.pack("<4sL", b"\xfe\xff\x00\xe0", length) + SOI)
        try:
            file.seek(start + 8 + length)
            file.write(item(FRAMES[1]) + END)
        except OSError:
            pytest.skip("no sparse files here")
    with ImageFile(path) as image:
        assert len(image.frame(0)) == length
        assert bytes(image.frame(1)) == FRAMES[1]
    path.unlink()


def test_endless_fragments_are_refused_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FRAGMENTS_LIMIT", 1000)
    begin = time.monotonic()
    with pytest.raises(InvalidDataSetError, match="more than 1000 fragments"):
        open_pixels(bytes(HEADER) + item(b"") * 100_000 + END)
    assert time.monotonic() - begin < 5


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([JPEG, JPEG_2000, RLE, VIDEO, "1.2.3"]), st.none() | st.integers(1, 5))
def test_any_bytes_are_frames_or_the_documented_error(data: bytes, syntax: str, frames: int | None) -> None:
    try:
        found = open_pixels(bytes(HEADER) + item(b"") + data, syntax, frames)
        for index in range(min(found.count, 5)):
            found.fragments(index)
    except InvalidDataSetError:
        pass


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.lists(st.binary(min_size=2, max_size=9), min_size=1, max_size=3), min_size=1, max_size=6),
    st.booleans(),
)
def test_what_was_put_in_comes_out(frames: list[list[bytes]], with_table: bool) -> None:
    marked = [[SOI + one[0], *(b"x" + more for more in one[1:])] for one in frames]
    padded = [[piece + b"\0" * (len(piece) & 1) for piece in one] for one in marked]
    starts, at = [], 0
    for one in padded:
        starts.append(at)
        at += sum(8 + len(piece) for piece in one)
    pixels = encapsulated([piece for one in padded for piece in one], starts if with_table else ())
    found = open_pixels(pixels, frames=len(frames))
    assert all_frames(found) == [b"".join(one) for one in padded]
    assert not found.warnings
    assert found.end == len(pixels)
