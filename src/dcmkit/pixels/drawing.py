"""Lines, outlines and areas as masks: what graphic annotations and shutters are made of. Points are (x, y) in pixels.

Coordinates come from files: they may be anything, and cost no more than the picture is large.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from dcmkit.pixels.lettering import GLYPH_HEIGHT, GLYPH_WIDTH, glyph

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

POINTS_LIMIT = 20_000
"""Points of one line that are drawn."""
_TEXT_LIMIT = 2000


def line(mask: Array, points: Array) -> None:
    """Join points, each to the next; pixel centres are at halves."""
    points = points[:POINTS_LIMIT]
    rows, columns = mask.shape
    for start, end in itertools.pairwise(points):
        part = _clipped(start, end, columns, rows)
        if part is None:
            continue
        (x0, y0), (x1, y1) = part
        steps = max(1, math.ceil(max(abs(x1 - x0), abs(y1 - y0))))
        x = np.floor(np.linspace(x0, x1, steps + 1)).astype(np.intp)
        y = np.floor(np.linspace(y0, y1, steps + 1)).astype(np.intp)
        inside = (x >= 0) & (x < columns) & (y >= 0) & (y < rows)
        mask[y[inside], x[inside]] = True


def _clipped(start: Array, end: Array, columns: int, rows: int) -> tuple[Array, Array] | None:
    """The part of a line that may touch the picture (Liang and Barsky's way), or None."""
    if not (np.isfinite(start).all() and np.isfinite(end).all()):
        return None
    delta = end - start
    first, last = 0.0, 1.0
    for axis, limit in ((0, columns), (1, rows)):
        for direction, distance in ((-delta[axis], start[axis] + 1), (delta[axis], limit + 1 - start[axis])):
            if direction == 0:
                if distance < 0:
                    return None
            elif direction < 0:
                first = max(first, distance / direction)
            else:
                last = min(last, distance / direction)
    return None if first > last else (start + delta * first, start + delta * last)


def fill(mask: Array, points: Array) -> None:
    """What a closed outline encloses (even-odd rule), by the centres of pixels."""
    points = points[:POINTS_LIMIT]
    if len(points) < 3 or not np.isfinite(points).all():
        return
    rows, columns = mask.shape
    crossings = np.zeros((rows, columns + 1), np.int32)
    for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
        if y0 == y1:
            continue
        top, bottom = min(y0, y1), max(y0, y1)
        first, last = max(0, math.ceil(max(top, -1) - 0.5)), min(rows, math.ceil(min(bottom, rows + 1) - 0.5))
        if first >= last:
            continue
        y = np.arange(first, last)
        x = np.ceil(np.clip(x0 + (y + 0.5 - y0) * ((x1 - x0) / (y1 - y0)) - 0.5, 0, columns)).astype(np.intp)
        crossings[y, x] += 1
    mask |= (np.cumsum(crossings, axis=1)[:, :columns] & 1).astype(bool)


def disc(mask: Array, x: float, y: float, radius: float) -> None:
    """A filled circle."""
    rows, columns = mask.shape
    across = np.arange(columns) + 0.5 - x
    down = np.arange(rows) + 0.5 - y
    mask |= across**2 + (down**2)[:, None] <= radius**2


def ellipse(points: Array) -> Array:
    """The outline of an ellipse given by the ends of its two axes (PS3.3 C.10.5.1.2)."""
    center: Array = points[:2].mean(axis=0)
    major, minor = (points[1] - points[0]) / 2, (points[3] - points[2]) / 2
    size = float(np.clip(np.abs(points).max(initial=1.0), 1, 1e6))
    angles = np.linspace(0, 2 * np.pi, int(np.clip(size, 64, 1024)) + 1)[:, None]
    outline: Array = center + np.cos(angles) * major + np.sin(angles) * minor
    return outline


def circle(points: Array) -> Array:
    """The outline of a circle given by its centre and a point on it."""
    radius = points[1] - points[0]
    across = np.array([-radius[1], radius[0]])
    return ellipse(np.stack([points[0] - radius, points[0] + radius, points[0] - across, points[0] + across]))


def smooth(points: Array) -> Array:
    """A curve through points (Catmull-Rom), for the graphic type INTERPOLATED."""
    points = points[: POINTS_LIMIT // 16]
    if len(points) < 3:
        return points
    closed = np.array_equal(points[0], points[-1])
    before = points[-2:-1] if closed else 2 * points[:1] - points[1:2]
    after = points[1:2] if closed else 2 * points[-1:] - points[-2:-1]
    knots = np.concatenate([before, points, after])
    t = np.linspace(0, 1, 16, endpoint=False)[:, None]
    curves = [
        0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
        for a, b, c, d in zip(knots, knots[1:], knots[2:], knots[3:], strict=False)
    ]
    return np.concatenate([*curves, points[-1:]])


def cross(mask: Array, x: float, y: float, arm: int = 3) -> None:
    """A point that can be seen."""
    line(mask, np.array([[x - arm, y], [x + arm, y]]))
    line(mask, np.array([[x, y - arm], [x, y + arm]]))


# --- text --------------------------------------------------------------------------------------------------------


def text_size(text: str, size: int = 1) -> tuple[int, int]:
    """Width and height of a text, in pixels."""
    lines = text[:_TEXT_LIMIT].splitlines() or [""]
    return max(len(one) for one in lines) * (GLYPH_WIDTH + 1) * size, len(lines) * (GLYPH_HEIGHT + 2) * size


def write(mask: Array, text: str, x: int, y: int, size: int = 1) -> None:
    """Text with its top left corner at a pixel; what lies beyond the picture is cut off."""
    rows, columns = mask.shape
    for number, one in enumerate(text[:_TEXT_LIMIT].splitlines()):
        for place, character in enumerate(one):
            left, top = x + place * (GLYPH_WIDTH + 1) * size, y + number * (GLYPH_HEIGHT + 2) * size
            bits = glyph(character).repeat(size, axis=0).repeat(size, axis=1)
            bits = bits[max(0, -top) : max(0, rows - top), max(0, -left) : max(0, columns - left)]
            if bits.size:
                mask[max(0, top) :, max(0, left) :][: bits.shape[0], : bits.shape[1]] |= bits
