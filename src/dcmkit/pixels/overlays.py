"""Overlay planes (PS3.3 C.9.2): in groups 6000 to 601E, or in bits of the pixel data that hold no sample (retired)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dcmkit.dataset.elements import text
from dcmkit.errors import InvalidDataSetError
from dcmkit.pixels.luts import numbers

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from dcmkit.dataset.elements import DataSet

    Array = NDArray[Any]

GROUPS = tuple(range(0x6000, 0x6020, 2))
_ROWS, _COLUMNS, _FRAMES, _DESCRIPTION, _TYPE, _ORIGIN = 0x10, 0x11, 0x15, 0x22, 0x40, 0x50
_FRAME_ORIGIN, _BITS_ALLOCATED, _BIT_POSITION, _LAYER, _LABEL, _DATA = 0x51, 0x100, 0x102, 0x1001, 0x1500, 0x3000

REPLACE, THRESHOLD, COMPLEMENT, INVERT, ROI = "replace", "threshold", "complement", "invert", "roi"
MODES = (REPLACE, THRESHOLD, COMPLEMENT, INVERT, ROI)
"""How an overlay is drawn, as DCMTK names them."""


class Overlay(NamedTuple):
    """One group of overlay planes.

    Attributes:
        group: 0x6000 to 0x601E.
        kind: `G` graphics, `R` region of interest.
        top, left: where the first pixel is, counted from 0.
        data: the bits, or None where they are in the pixel data.
        bit: which bit of a sample it is, where it is in the pixel data.
        first_frame: the frame of the image the first plane belongs to, counted from 0.
        frames: how many planes there are; one alone is for all frames.
        layer: the graphic layer of a presentation state (PS3.3 C.11.7), or "".
        label: what a person may call it.
    """

    group: int
    rows: int
    columns: int
    kind: str
    top: int
    left: int
    data: bytes | None
    bit: int = 0
    first_frame: int = 0
    frames: int = 1
    layer: str = ""
    label: str = ""

    def plane(self, frame: int, stored: Array | None) -> Array | None:
        """The bits for a frame of the image, as booleans of shape (rows, columns); None where it has none.

        Raises:
            InvalidDataSetError: there are fewer bits than rows and columns need.
        """
        if self.data is None:
            if stored is None or stored.ndim != 2 or stored.dtype.kind not in "iu":
                return None
            return (stored >> self.bit & 1).astype(bool)
        number = frame - self.first_frame if self.frames > 1 or self.first_frame else 0
        if not 0 <= number < self.frames:
            return None
        size = self.rows * self.columns
        start = number * size
        if len(self.data) * 8 < start + size:
            raise InvalidDataSetError(
                f"overlay {self.group:04X} has {len(self.data)} bytes, fewer than its size says",
                offending_element=self.group << 16 | _DATA,
            )
        packed = np.frombuffer(self.data, np.uint8, (start + size + 7) // 8 - start // 8, start // 8)
        bits = np.unpackbits(packed, bitorder="little")[start % 8 : start % 8 + size]
        return bits.reshape(self.rows, self.columns).astype(bool)


def find_overlays(data_set: DataSet) -> list[Overlay]:
    """The overlays of a data set, in the order of their groups; what cannot be one is left out."""
    found = []
    for group in GROUPS:
        base = group << 16
        if not (base | _BIT_POSITION in data_set or base | _DATA in data_set):
            continue
        rows, columns = _integer(data_set, base | _ROWS), _integer(data_set, base | _COLUMNS)
        origin = [int(value) for value in numbers(data_set, base | _ORIGIN)] + [1, 1]
        data = _bits(data_set, base | _DATA)
        bit = _integer(data_set, base | _BIT_POSITION)
        if data is None and not (0 < bit < 16 and _integer(data_set, base | _BITS_ALLOCATED) > 1):
            continue
        if data is not None and (rows < 1 or columns < 1):
            continue
        if len(numbers(data_set, base | _ORIGIN)) == 1:
            origin[1] = 1
        first = max(1, _integer(data_set, base | _FRAME_ORIGIN, 1)) - 1
        frames = max(1, _integer(data_set, base | _FRAMES, 1))
        kind, layer = text(data_set, base | _TYPE, "G").strip(), text(data_set, base | _LAYER)
        label = text(data_set, base | _LABEL) or text(data_set, base | _DESCRIPTION)
        place = origin[0] - 1, origin[1] - 1
        found.append(Overlay(group, rows, columns, kind, *place, data, bit, first, frames, layer, label))
    return found


def _integer(data_set: DataSet, tag: int, default: int = 0) -> int:
    values = numbers(data_set, tag)
    return int(values[0]) if values else default


def _bits(data_set: DataSet, tag: int) -> bytes | None:
    found = data_set.get(tag)
    if found is None or not isinstance(found.value, bytes) or not found.value:
        return None
    return found.value


def placed(overlay: Overlay, plane: Array, rows: int, columns: int) -> Array:
    """A mask of the image's size: the plane at its origin, cut where it reaches beyond the image."""
    mask = np.zeros((rows, columns), bool)
    top, left = (overlay.top, overlay.left) if overlay.data is not None else (0, 0)
    inside = plane[max(0, -top) : max(0, rows - top), max(0, -left) : max(0, columns - left)]
    y, x = max(0, top), max(0, left)
    mask[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
    return mask


def draw(picture: Array, mask: Array, mode: str = REPLACE, level: float = 1.0, threshold: float = 0.5) -> Array:
    """A picture with a mask drawn on it.

    Args:
        picture: grey levels or colours, unsigned.
        mask: of the same rows and columns.
        mode: one of `MODES`. `replace` puts `level`, `threshold` black or `level`, whichever stands out, `complement`
            inverts half of the bits, `invert` all of them, `roi` leaves only what is inside.
        level: from 0 to 1.
        threshold: from 0 to 1: where the picture is brighter, `threshold` draws black.
    """
    top = np.iinfo(picture.dtype).max
    white = picture.dtype.type(round(level * top))
    wide = mask[..., None] if picture.ndim == 3 else mask
    if mode == COMPLEMENT:
        half = picture.dtype.type(1 << (picture.dtype.itemsize * 8 - 1))
        return np.where(wide, picture ^ half, picture)
    if mode == INVERT:
        return np.where(wide, top - picture, picture).astype(picture.dtype, copy=False)
    if mode == ROI:
        return np.where(wide, picture, 0).astype(picture.dtype, copy=False)
    if mode == THRESHOLD:
        bright = picture > threshold * top
        return np.where(wide, np.where(bright, 0, white), picture).astype(picture.dtype, copy=False)
    return np.where(wide, white, picture).astype(picture.dtype, copy=False)


def wanted(overlays: list[Overlay], which: Collection[int] | None) -> list[Overlay]:
    """Those with the given groups (0x6000) or numbers (0 is 6000, 1 is 6002); None is all."""
    if which is None:
        return overlays
    groups = {number if number >= 0x6000 else 0x6000 + 2 * number for number in which}
    return [overlay for overlay in overlays if overlay.group in groups]
