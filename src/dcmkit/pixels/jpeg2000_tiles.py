"""JPEG 2000 in tiles, which OpenJPEG's binding cannot write: each tile is encoded as an image, then they are joined.

Tiles are coded independently of each other (ITU-T T.800 B.3), so a codestream of tiles is one main header and the
tile-parts, if code-blocks lie in each tile as they lie in an image of its own. They do where the tile's edge is a power
of two and the smallest resolution still has a whole code-block (64 samples) along it.
"""

from __future__ import annotations

import struct
from typing import Any

from dcmkit.errors import UsageError
from dcmkit.pixels.frames import Array, library
from dcmkit.pixels.jpeg2000_header import MAXIMUM_TILES

_CODE_BLOCK = 64
_SOT = b"\xff\x90"
_EOC = b"\xff\xd9"


def encode_tiles(array: Array, edge: int, kwargs: dict[str, Any]) -> bytes:
    """`array` in tiles of `edge` rows and columns, each by imagecodecs with `kwargs`.

    Raises:
        UsageError: no such tiles are possible.
    """
    import numpy as np

    if edge & (edge - 1) or edge < 2 * _CODE_BLOCK:
        raise UsageError(f"tiles of JPEG 2000 have a power of two from {2 * _CODE_BLOCK} on as their edge, not {edge}")
    rows, columns = array.shape[:2]
    if -(-rows // edge) * -(-columns // edge) > MAXIMUM_TILES:
        raise UsageError(f"more than {MAXIMUM_TILES} tiles")
    encode = library("imagecodecs").jpeg2k_encode
    resolutions = min(6, (edge // _CODE_BLOCK).bit_length())
    header, parts = b"", list[bytes]()
    for top in range(0, rows, edge):
        for left in range(0, columns, edge):
            tile = np.ascontiguousarray(array[top : top + edge, left : left + edge])
            encoded = bytes(encode(tile, resolutions=resolutions, **kwargs))
            at = _first_tile_part(encoded)
            header = header or encoded[:at]
            parts.append(_renumbered(encoded[at : encoded.rindex(_EOC)], len(parts)))
    return b"".join((_resized(header, rows, columns, edge), *parts, _EOC))


def _first_tile_part(encoded: bytes) -> int:
    """Past the marker segments of the main header."""
    at = 2
    while encoded[at : at + 2] != _SOT:
        at += 2 + int.from_bytes(encoded[at + 2 : at + 4], "big")
    return at


def _renumbered(parts: bytes, index: int) -> bytes:
    """The tile-parts of an image of one tile, as those of tile `index`."""
    out, at = bytearray(parts), 0
    while at < len(out):
        struct.pack_into(">H", out, at + 4, index)  # Isot (A.4.2)
        length = int.from_bytes(out[at + 6 : at + 10], "big")
        at += length or len(out)
    return bytes(out)


def _resized(header: bytes, rows: int, columns: int, edge: int) -> bytes:
    """The main header of the first tile, with the size of the image and of its tiles in SIZ (A.5.1)."""
    out = bytearray(header)
    struct.pack_into(">6I", out, 8, columns, rows, 0, 0, edge, edge)
    return bytes(out)
