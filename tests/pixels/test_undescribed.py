"""Files written as a whole."""

from __future__ import annotations

import zlib

import pytest

from dcmkit.errors import OutputError
from dcmkit.pixels.undescribed import write_pieces
from dcmkit.pixels.writer import WriterOptions
from dcmkit.uids import DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN


def test_pieces_follow_each_other(tmp_path):
    target = tmp_path / "out"
    write_pieces(target, b"meta", [b"one", b"two"], EXPLICIT_VR_LITTLE_ENDIAN, WriterOptions(sync=True))
    assert target.read_bytes() == b"metaonetwo"
    assert list(tmp_path.iterdir()) == [target]


def test_deflated(tmp_path):
    target = tmp_path / "out"
    write_pieces(target, b"meta", [b"one" * 9, b"two"], DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, WriterOptions())
    data = target.read_bytes()[4:]
    assert not len(data) % 2
    assert zlib.decompressobj(-15).decompress(data) == b"one" * 9 + b"two"


def test_what_fails_leaves_nothing(tmp_path):
    def pieces():
        yield b"one"
        raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match="No space left"):
        write_pieces(tmp_path / "out", b"", pieces(), EXPLICIT_VR_LITTLE_ENDIAN, WriterOptions())
    assert list(tmp_path.iterdir()) == []
