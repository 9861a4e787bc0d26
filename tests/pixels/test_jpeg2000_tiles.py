"""Tiles joined here are what both decoders take for tiles."""

from __future__ import annotations

import numpy as np
import pytest

from dcmkit.errors import UsageError
from dcmkit.pixels import syntaxes
from dcmkit.pixels.codecs import EncodeOptions, decode_frame, encode_frame
from dcmkit.pixels.codestream import inspect

from .images import after, can_encode, described, error, waves

SYNTAXES = [uid for uid in sorted(syntaxes.JPEG_2000_FAMILY | syntaxes.HTJ2K_FAMILY) if can_encode(uid)]
GREY = described(waves(500, 300, -1024, 2047), 12, signed=True)
RGB = described(np.stack([waves(300, 260, 0, 255)] * 3, -1), 8, 8, color="RGB")


@pytest.mark.parametrize("library", ["imagecodecs", "pylibjpeg-openjpeg"])
@pytest.mark.parametrize("uid", SYNTAXES)
@pytest.mark.parametrize("tile", [128, 256, 1024])
def test_tiles(tile: int, uid: str, library: str) -> None:
    for array, description in (GREY, RGB):
        encoded = encode_frame(array, uid, description, EncodeOptions(tile=tile))
        decoded = decode_frame(encoded.data, uid, after(description, encoded), library=library)
        assert error(decoded, array) <= (0 if uid in syntaxes.LOSSLESS else 40)
        tiles = -(-description.rows // tile) * -(-description.columns // tile)
        assert encoded.data.count(b"\xff\x90\0\x0a") >= tiles


def test_a_missing_tile_is_missed() -> None:
    array, description = GREY
    data = encode_frame(array, syntaxes.JPEG_2000_LOSSLESS, description, EncodeOptions(tile=128)).data
    assert inspect(data, syntaxes.JPEG_2000_LOSSLESS).complete
    last = data.rindex(b"\xff\x90\0\x0a")
    assert not inspect(data[:last] + b"\xff\xd9", syntaxes.JPEG_2000_LOSSLESS).complete


@pytest.mark.parametrize("tile", [1, 64, 100, 129])
def test_tiles_that_cannot_be_joined(tile: int) -> None:
    with pytest.raises(UsageError, match="power of two"):
        encode_frame(GREY[0], syntaxes.JPEG_2000_LOSSLESS, GREY[1], EncodeOptions(tile=tile))
