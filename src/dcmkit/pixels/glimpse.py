"""Where the one frame of a plain image lies, seen in the first bytes of its data set.

Objects of a series have headers alike, so what is looked for is found without walking each of them (`dataset.pattern`).
Whatever takes more than a look is left to `ImageFile`, which says the same of all that is found here.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from dcmkit.dataset.raw import number
from dcmkit.dataset.scanner import WINDOW, DataSetScanner
from dcmkit.errors import InvalidDataSetError
from dcmkit.pixels import description as tags
from dcmkit.pixels.description import PIXEL_DATA, PixelDescription
from dcmkit.uids import EXPLICIT_VR_LITTLE_ENDIAN

_NEEDED = (tags.ROWS, tags.COLUMNS, tags.BITS_ALLOCATED, tags.BITS_STORED, tags.HIGH_BIT, tags.PIXEL_REPRESENTATION,
           tags.SAMPLES_PER_PIXEL)  # fmt: skip
_PIXEL_DATA = b"\xe0\x7f\x10\0"


class Glimpse(NamedTuple):
    """A plain image: one frame, in explicit VR little endian.

    Attributes:
        offset, length: of the frame in the file.
    """

    description: PixelDescription
    offset: int
    length: int


def glimpse(path: str, offset: int, size: int) -> Glimpse | None:
    """What there is to see of an image in explicit VR little endian; None where `ImageFile` has to look.

    Args:
        offset: of the data set in the file.
        size: of the file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0))
        try:
            os.lseek(descriptor, offset, os.SEEK_SET)
            block = os.read(descriptor, WINDOW)
        finally:
            os.close(descriptor)
        scanner = DataSetScanner(EXPLICIT_VR_LITTLE_ENDIAN, tags.TAGS)
        scanner.feed(memoryview(block))
    except (OSError, InvalidDataSetError):
        return None
    found = scanner.header()
    if scanner.skippable_tag != PIXEL_DATA or found.implicit_vr:
        return None
    end = len(block) + scanner.skippable
    described = _described(found.values)
    if described is None or offset + end > size:
        return None
    length = described.frame_bytes
    for start in (end - length, end - length - 1):  # where it is of odd length, there is a byte after it
        head = block[start - 12 : start] if start >= 12 else b""
        says = head[:4] == _PIXEL_DATA and head[4:8] in (b"OW\0\0", b"OB\0\0")
        if says and start + int.from_bytes(head[8:12], "little") == end:
            return Glimpse(described, offset + start, length)
    return None


def _described(values: dict[int, bytes]) -> PixelDescription | None:
    """Only what is said in the usual way."""
    needed = [values.get(tag, b"") for tag in _NEEDED]
    frames = values.get(tags.NUMBER_OF_FRAMES)
    planar = values.get(tags.PLANAR_CONFIGURATION, b"\0\0")
    if any(len(value) != 2 for value in (*needed, planar)):
        return None
    if frames is not None and number(frames.decode("latin-1")) != 1:
        return None
    rows, columns, allocated, stored, high, sign, samples = (int.from_bytes(value, "little") for value in needed)
    photometric = values.get(tags.PHOTOMETRIC_INTERPRETATION, b"").decode("latin-1").strip(" \0")
    if not (rows and columns and samples and allocated in (8, 16, 32)) or photometric in ("", "YBR_FULL_422"):
        return None
    return PixelDescription(
        rows, columns, samples, photometric, allocated, stored, high, sign, int.from_bytes(planar, "little")
    )  # fmt: skip
