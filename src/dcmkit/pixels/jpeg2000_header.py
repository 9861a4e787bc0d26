"""The main header and the tile-parts of a JPEG 2000 codestream (ITU-T T.800 Annex A, HTJ2K: T.814)."""

from __future__ import annotations

import struct

from dcmkit.errors import UnsupportedSyntaxError
from dcmkit.pixels.codestream import Bytes, CodestreamInfo, broken, has_end

_JP2_SIGNATURE = b"\0\0\0\x0cjP  \r\n\x87\n"
_SOC, _SIZ, _CAP, _COD, _SOT, _EOC = 0xFF4F, 0xFF51, 0xFF50, 0xFF52, 0xFF90, 0xFFD9
_SMALLEST_TILE_PART = 14
MAXIMUM_TILES = 65535


def read_header(data: Bytes) -> CodestreamInfo:
    """What SIZ, CAP and COD say, and whether all tile-parts are there."""
    start = _codestream_start(data)
    if bytes(data[start : start + 4]) != b"\xff\x4f\xff\x51":
        raise broken("it does not begin as JPEG 2000 does (FF4F FF51)")
    segments: dict[int, bytes] = {}
    at = start + 2
    while True:
        (marker,) = struct.unpack_from(">H", data, at)
        if marker == _SOT:
            break
        if marker < 0xFF01 or marker in (_SOC, _EOC, 0xFF93):
            raise broken(f"no marker segment at byte {at}")
        (length,) = struct.unpack_from(">H", data, at + 2)
        body = bytes(data[at + 4 : at + 2 + length])
        if length < 2 or len(body) < length - 2:
            raise broken("a marker segment is cut short")
        segments.setdefault(marker, body)
        at += 2 + length
    return _info(segments, data, start, at)


def _codestream_start(data: Bytes) -> int:
    """Past the boxes of a JP2 file, which PS3.5 8.2.4 forbids and some devices write."""
    if bytes(data[:12]) != _JP2_SIGNATURE:
        return 0
    at = 0
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        header = 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, at + 8)
            header = 16
        if kind == b"jp2c":
            return at + header
        if length < header:
            break
        at += length
    raise broken("a JP2 file without a codestream")


def _info(segments: dict[int, bytes], data: Bytes, start: int, first_tile: int) -> CodestreamInfo:
    size, coding = segments.get(_SIZ), segments.get(_COD)
    if size is None or coding is None or len(coding) < 10:
        raise broken("SIZ or COD is missing")
    capabilities, x1, y1, x0, y0, tile_x, tile_y, tile_x0, tile_y0, count = struct.unpack_from(">H8IH", size)
    if not 1 <= count <= 16384 or len(size) < 36 + 3 * count:
        raise broken("SIZ is cut short")
    if not (x0 < x1 and y0 < y1 and tile_x and tile_y):
        raise broken("SIZ has no size")
    if tile_x0 > x0 or tile_y0 > y0 or tile_x0 + tile_x <= x0 or tile_y0 + tile_y <= y0:
        raise broken("the first tile is not in the image")
    precisions, factors = set(size[36 : 36 + 3 * count : 3]), set(size[37 : 36 + 3 * count : 3])
    factors |= set(size[38 : 36 + 3 * count : 3])
    if 0 in factors:
        raise broken("components without samples")
    if len(precisions) != 1:
        raise UnsupportedSyntaxError("the components of a JPEG 2000 codestream differ in bits or sign")
    precision = precisions.pop()
    if (precision & 0x7F) >= 38:
        raise broken(f"{(precision & 0x7F) + 1} bits in a sample")
    tiles = -(-(x1 - tile_x0) // tile_x) * -(-(y1 - tile_y0) // tile_y)
    if tiles > MAXIMUM_TILES:
        raise broken(f"{y1 - y0} rows and {x1 - x0} columns in {tiles} tiles, where {MAXIMUM_TILES} can be")
    reversible = coding[9] == 1
    transformed = coding[4] == 1 and count >= 3
    if x0 or y0:
        raise UnsupportedSyntaxError("a JPEG 2000 image whose origin is not its corner")
    return CodestreamInfo(
        "HTJ2K" if capabilities & 0x4000 or _CAP in segments else "JPEG 2000",
        y1 - y0,
        x1 - x0,
        count,
        (precision & 0x7F) + 1,
        bool(precision & 0x80),
        color=("RCT" if reversible else "ICT") if transformed else "",
        # reversible coding may still have been cut after some layers: then it is not told
        lossless=None if reversible else False,
        complete=_complete(data, first_tile, tiles),
        layers=struct.unpack_from(">H", coding, 2)[0],
        progression=coding[1],
        start=start,
        subsampled=factors != {1},
    )


def _complete(data: Bytes, at: int, tiles: int) -> bool:
    """Whether every tile is there to its end. A missing EOC does not matter then; some devices leave it out."""
    seen = set()
    while at + _SMALLEST_TILE_PART <= len(data):
        marker, length, index, size, _part, _parts = struct.unpack_from(">HHHIBB", data, at)
        if marker != _SOT:
            break
        if length != 10 or index >= tiles:
            raise broken(f"a wrong tile-part header at byte {at}")
        seen.add(index)
        if size == 0:  # reaches to EOC (A.4.2)
            return len(seen) == tiles and has_end(data, at + 12, b"\xff\xd9")
        if size < _SMALLEST_TILE_PART:
            raise broken(f"a wrong tile-part header at byte {at}")
        at += size
        if at > len(data):
            return False
    return len(seen) == tiles
