"""Pictures as arrays of shape (rows, columns) or with samples: cut out, scaled, turned, flipped, set side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dcmkit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Array = NDArray[Any]

NEAREST, BILINEAR, AREA = "nearest", "linear", "area"
METHODS = (NEAREST, BILINEAR, AREA)
"""How a picture is scaled."""
PIXEL_LIMIT = 400_000_000
"""Pixels a picture may have when it is done."""


class Region(NamedTuple):
    """A part of a picture, in pixels; it may reach beyond the edges."""

    left: int
    top: int
    width: int
    height: int


def cut(picture: Array, region: Region, background: int = 0) -> Array:
    """The region of a picture; what lies outside the picture becomes the background.

    Raises:
        UsageError: it is empty, lies outside altogether, or is too large.
    """
    rows, columns = picture.shape[:2]
    left, top, width, height = region
    require_size(height, width)
    right, bottom = left + width, top + height
    if left >= columns or top >= rows or right <= 0 or bottom <= 0:
        raise UsageError(f"region {left},{top},{width},{height} is outside of the image of {columns} by {rows} pixels")
    inside = picture[max(0, top) : bottom, max(0, left) : right]
    if inside.shape[:2] == (height, width):
        return inside
    whole = np.full((height, width, *picture.shape[2:]), background, picture.dtype)
    y, x = max(0, -top), max(0, -left)
    whole[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
    return whole


def require_size(rows: int, columns: int) -> None:
    """Refuse pictures that are empty or would fill the memory.

    Raises:
        UsageError: one of these.
    """
    if rows < 1 or columns < 1:
        raise UsageError(f"a picture of {columns} by {rows} pixels is none")
    if rows * columns > PIXEL_LIMIT or max(rows, columns) > 0xFFFFF:
        raise UsageError(f"a picture of {columns} by {rows} pixels is too large", hint="choose a smaller size")


def rotate(picture: Array, degrees: int) -> Array:
    """Turned clockwise.

    Raises:
        UsageError: the angle is not a multiple of 90.
    """
    if degrees % 90:
        raise UsageError(f"an angle of {degrees} degrees: only multiples of 90 can be")
    return np.rot90(picture, -degrees // 90)


def flip(picture: Array, *, horizontally: bool = False, vertically: bool = False) -> Array:
    """Left and right, or top and bottom, exchanged."""
    if horizontally:
        picture = picture[:, ::-1]
    if vertically:
        picture = picture[::-1]
    return picture


# --- scaling -----------------------------------------------------------------------------------------------------


def scale(picture: Array, rows: int, columns: int, method: str = "") -> Array:
    """A picture of that size.

    Args:
        picture: what to scale.
        rows, columns: the size to get.
        method: one of `METHODS`; "" averages where it gets smaller and interpolates where it gets larger.

    Raises:
        UsageError: the size or the method is none.
    """
    require_size(rows, columns)
    if method not in ("", *METHODS):
        raise UsageError(f"scaling method {method!r} is unknown", hint=f"one of {', '.join(METHODS)}")
    for axis, size in enumerate((rows, columns)):
        if picture.shape[axis] != size:
            how = method or (AREA if size < picture.shape[axis] else BILINEAR)
            picture = _scale_axis(picture, axis, size, how)
    return picture


def _scale_axis(picture: Array, axis: int, size: int, method: str) -> Array:
    old = picture.shape[axis]
    if method == NEAREST:
        nearest: Array = picture.take((np.arange(size) * 2 + 1) * old // (2 * size), axis=axis)
        return nearest
    if method == AREA and size < old:
        return _averaged(picture, axis, size)
    centers = np.clip((np.arange(size) + 0.5) * old / size - 0.5, 0, old - 1)
    lower = np.minimum(centers.astype(np.intp), max(0, old - 2))
    share = (centers - lower).astype(np.float32)
    share = share.reshape([-1 if number == axis else 1 for number in range(picture.ndim)])
    low = picture.take(lower, axis=axis).astype(np.float32)
    high = picture.take(np.minimum(lower + 1, old - 1), axis=axis)
    low += (high - low) * share
    return _rounded(low, picture.dtype)


def _averaged(picture: Array, axis: int, size: int) -> Array:
    """The mean of what each new pixel covers, parts of pixels included."""
    old = picture.shape[axis]
    if old % size == 0:
        parts = (*picture.shape[:axis], size, old // size, *picture.shape[axis + 1 :])
        return _rounded(picture.reshape(parts).mean(axis=axis + 1, dtype=np.float32), picture.dtype)
    edges = np.arange(size + 1) * (old / size)
    whole = np.minimum(edges.astype(np.intp), old - 1)
    share = (edges - whole).reshape([-1 if number == axis else 1 for number in range(picture.ndim)])
    sums = np.cumsum(picture, axis=axis, dtype=np.float64)
    before = sums.take(np.maximum(whole - 1, 0), axis=axis)
    before[tuple(slice(0, 1) if number == axis else slice(None) for number in range(picture.ndim))] = 0
    covered = before + picture.take(whole, axis=axis) * share
    return _rounded(np.diff(covered, axis=axis) * (size / old), picture.dtype)


def _rounded(values: Array, dtype: Any) -> Array:
    top = np.iinfo(dtype).max
    return np.clip(values + 0.5, 0, top).astype(dtype)


def fitted(rows: int, columns: int, most_rows: int, most_columns: int, aspect: float = 1.0) -> tuple[int, int]:
    """The largest size within a viewport that keeps the proportions; 0 for a side that may be anything.

    Args:
        rows, columns: what the picture has.
        most_rows, most_columns: the viewport.
        aspect: height of a pixel divided by its width.
    """
    height = rows * aspect
    factors = [most / size for most, size in ((most_rows, height), (most_columns, columns)) if most]
    factor = min(factors, default=1.0)
    return max(1, round(height * factor)), max(1, round(columns * factor))


# --- several -----------------------------------------------------------------------------------------------------


def montage(pictures: Sequence[Array], across: int, down: int = 0, gap: int = 0) -> Array:
    """Pictures in rows, each in the middle of a cell that holds the largest; colour if one of them has it.

    Args:
        pictures: from left to right, from top to bottom; those beyond the last cell are left out.
        across: cells in a row.
        down: rows, or 0 for as many as are needed.
        gap: pixels between cells.
    """
    down = down or -(-len(pictures) // across)
    pictures = pictures[: across * down]
    height = max(picture.shape[0] for picture in pictures)
    width = max(picture.shape[1] for picture in pictures)
    require_size(down * (height + gap) - gap, across * (width + gap) - gap)
    colored = any(picture.ndim == 3 for picture in pictures)
    shape = (down * (height + gap) - gap, across * (width + gap) - gap, *((3,) if colored else ()))
    sheet = np.zeros(shape, pictures[0].dtype)
    for number, picture in enumerate(pictures):
        y, x = number // across * (height + gap), number % across * (width + gap)
        y += (height - picture.shape[0]) // 2
        x += (width - picture.shape[1]) // 2
        shown = picture[..., None] if colored and picture.ndim == 2 else picture
        sheet[y : y + picture.shape[0], x : x + picture.shape[1]] = shown
    return sheet


def grey_of(picture: Array) -> Array:
    """Luminance of a colour picture (ITU-R BT.601, as PS3.3 C.7.6.3.1.2 has it)."""
    if picture.ndim == 2:
        return picture
    luminance = picture @ np.array([0.299, 0.587, 0.114], np.float32)
    return _rounded(luminance, picture.dtype)


def colored(picture: Array) -> Array:
    """The same picture with three samples for each pixel."""
    return np.repeat(picture[..., None], 3, axis=-1) if picture.ndim == 2 else picture
