"""The quality a lossy JPEG was made with, to make it again with no more loss than it has (ITU-T T.81 B.2.4.1)."""

from __future__ import annotations

from functools import lru_cache

_LUMINANCE = (
    16, 11, 12, 14, 12, 10, 16, 14, 13, 14, 18, 17, 16, 19, 24, 40, 26, 24, 22, 22, 24, 49, 35, 37, 29, 40, 58, 51, 61,
    60, 57, 51, 56, 55, 64, 72, 92, 78, 64, 68, 87, 69, 55, 56, 80, 109, 81, 87, 95, 98, 103, 104, 103, 62, 77, 113,
    121, 112, 100, 120, 92, 101, 103, 99,
)  # fmt: skip
"""T.81 Table K.1, in zigzag order."""


def quality_of(jpeg: bytes | bytearray | memoryview) -> int:
    """The quality, from 1 to 100, whose quantization of luminance a JPEG has; 0: no one's.

    With the same quantization, blocks that nothing changed in come out nearly as they were.
    """
    at = 2
    while at + 4 <= len(jpeg) and jpeg[at] == 0xFF and jpeg[at + 1] != 0xDA:
        length = jpeg[at + 2] << 8 | jpeg[at + 3]
        if jpeg[at + 1] == 0xDB and length >= 67 and jpeg[at + 4] == 0 and len(jpeg) >= at + 69:
            return _quality_of_table(bytes(jpeg[at + 5 : at + 69]))
        at += 2 + length
    return 0


@lru_cache(maxsize=8)
def _quality_of_table(table: bytes) -> int:
    for quality in range(100, 0, -1):
        scale = 5000 // quality if quality < 50 else 200 - 2 * quality
        if all(
            min(255, max(1, (one * scale + 50) // 100)) == have for one, have in zip(_LUMINANCE, table, strict=False)
        ):
            return quality
    return 0
