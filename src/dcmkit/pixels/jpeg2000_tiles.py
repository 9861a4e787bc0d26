"""JPEG 2000 in tiles, which OpenJPEG's binding cannot write: each tile is encoded as an image, then they are joined.

Tiles are coded independently of each other (ITU-T T.800 B.3), so a codestream of tiles is one main header and the
tile-parts, if code-blocks lie in each tile as they lie in an image of its own. They do where the tile's edge is a power
of two and the smallest resolution still has a whole code-block (64 samples) along it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

from dcmkit.errors import UsageError
from dcmkit.pixels.frames import Array, library
from dcmkit.pixels.jpeg2000_header import MAXIMUM_TILES

_CODE_BLOCK = 64
_SOT, _SOT_LENGTH = b"\xff\x90", 12
_COD, _QCD = b"\xff\x52", b"\xff\x5c"
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
    main, segments, parts = b"", list[bytes](), list[bytes]()
    for top in range(0, rows, edge):
        for left in range(0, columns, edge):
            tile = np.ascontiguousarray(array[top : top + edge, left : left + edge])
            encoded = bytes(encode(tile, resolutions=resolutions, **kwargs))
            own = _coding_segments(encoded)
            at = _first_tile_part(encoded)
            if not parts:
                main, segments = encoded[:at], own
            # OpenJPEG takes fewer resolutions for a narrow tile at the edge: that tile says so itself (A.6.1)
            different = b"".join(segment for segment in own if segment not in segments)
            parts.append(_renumbered(encoded[at : encoded.rindex(_EOC)], len(parts), different))
    return b"".join((_resized(main, rows, columns, edge), *parts, _EOC))


def _main_segments(encoded: bytes) -> Iterator[tuple[int, bytes]]:
    """The marker segments between SOC and the first tile-part, each with its place."""
    at = 2
    while encoded[at : at + 2] != _SOT:
        length = 2 + int.from_bytes(encoded[at + 2 : at + 4], "big")
        yield at, encoded[at : at + length]
        at += length


def _coding_segments(encoded: bytes) -> list[bytes]:
    """COD and QCD."""
    return [segment for _, segment in _main_segments(encoded) if segment[:2] in (_COD, _QCD)]


def _first_tile_part(encoded: bytes) -> int:
    """Past the marker segments of the main header."""
    return max(at + len(segment) for at, segment in _main_segments(encoded))


def _renumbered(parts: bytes, index: int, segments: bytes) -> bytes:
    """The tile-parts of an image of one tile, as those of tile `index`, with `segments` in the header of the first."""
    out, at = bytearray(parts[:_SOT_LENGTH] + segments + parts[_SOT_LENGTH:]), 0
    length = int.from_bytes(out[6:10], "big")
    if length:
        struct.pack_into(">I", out, 6, length + len(segments))  # Psot (A.4.2)
    while at < len(out):
        struct.pack_into(">H", out, at + 4, index)  # Isot
        at += int.from_bytes(out[at + 6 : at + 10], "big") or len(out)
    return bytes(out)


def _resized(header: bytes, rows: int, columns: int, edge: int) -> bytes:
    """The main header of the first tile, with the size of the image and of its tiles in SIZ (A.5.1)."""
    out = bytearray(header)
    struct.pack_into(">6I", out, 8, columns, rows, 0, 0, edge, edge)
    return bytes(out)
