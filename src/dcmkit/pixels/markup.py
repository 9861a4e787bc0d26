"""Graphics and texts of presentation states, drawn on a picture that was cut, turned and scaled (PS3.3 C.10.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dcmkit.pixels import drawing
from dcmkit.pixels.presentation import Graphic, Note

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from dcmkit.pixels.raster import Region

    Array = NDArray[Any]

_LIMIT = 5_000
"""Objects that are drawn on one picture."""


class Path:
    """Where a point of the image lies on the picture; as an affine matrix of what was done to it."""

    def __init__(self, rows: int, columns: int) -> None:
        self._rows, self._columns = rows, columns
        self._matrix = np.eye(3)

    def _then(self, *rows: tuple[float, float, float]) -> None:
        self._matrix = np.array([*rows, (0, 0, 1)], np.float64) @ self._matrix

    def cut(self, region: Region) -> None:
        """As `raster.cut` does."""
        self._then((1, 0, -region.left), (0, 1, -region.top))
        self._rows, self._columns = region.height, region.width

    def turn(self, degrees: int, *, horizontally: bool, vertically: bool) -> None:
        """As `raster.rotate` and `raster.flip` do, in this order."""
        for _ in range(degrees % 360 // 90):
            self._then((0, -1, self._rows), (1, 0, 0))
            self._rows, self._columns = self._columns, self._rows
        if horizontally:
            self._then((-1, 0, self._columns), (0, 1, 0))
        if vertically:
            self._then((1, 0, 0), (0, -1, self._rows))

    def scale(self, rows: int, columns: int) -> None:
        """As `raster.scale` does."""
        self._then((columns / self._columns, 0, 0), (0, rows / self._rows, 0))
        self._rows, self._columns = rows, columns

    def place(self, points: Iterable[tuple[float, float]], of_display: bool) -> Array:
        """Points of the image, or fractions of what is displayed, on the picture."""
        array = _bounded(points)
        if of_display:
            return array * (self._columns, self._rows)
        found: Array = array @ self._matrix[:2, :2].T + self._matrix[:2, 2]
        return found


def _bounded(points: Iterable[tuple[float, float]]) -> Array:
    """Points with coordinates that can be calculated with, whatever a file says."""
    return np.clip(np.nan_to_num(np.array(list(points), np.float64)), -1e7, 1e7).reshape(-1, 2)


def draw(picture: Array, graphics: Iterable[Graphic], notes: Iterable[Note], path: Path) -> Array:
    """The picture with them on it."""
    picture = picture.copy()
    mask = np.zeros(picture.shape[:2], bool)
    level = 1.0
    everything: list[Graphic | Note] = [*graphics, *notes]
    for one in everything[:_LIMIT]:
        if one.level != level and mask.any():
            _paint(picture, mask, level)
            mask[:] = False
        level = one.level
        if isinstance(one, Graphic):
            _graphic(mask, one, path)
        else:
            _note(mask, one, path)
    _paint(picture, mask, level)
    return picture


def _paint(picture: Array, mask: Array, level: float) -> None:
    picture[mask] = round(level * np.iinfo(picture.dtype).max)


def _graphic(mask: Array, graphic: Graphic, path: Path) -> None:
    points = path.place(graphic.points, graphic.of_display)
    if graphic.kind == "POINT":
        drawing.cross(mask, *points[0])
        return
    if graphic.kind == "CIRCLE" and len(points) >= 2:
        # in the image: a circle may have become an ellipse since
        outline = path.place(map(tuple, drawing.circle(_bounded(graphic.points[:2]))), graphic.of_display)
    elif graphic.kind == "ELLIPSE" and len(points) >= 4:
        outline = drawing.ellipse(points[:4])
    else:
        outline = drawing.smooth(points) if graphic.kind == "INTERPOLATED" else points
    if graphic.filled:
        drawing.fill(mask, outline)
    drawing.line(mask, outline)


def _note(mask: Array, note: Note, path: Path) -> None:
    x, y = _pixel(path.place([note.place], note.of_display)[0])
    rows, columns = mask.shape
    size = max(1, min(rows, columns) // 400)
    width, height = drawing.text_size(note.text, size)
    x, y = max(0, min(x, columns - width)), max(0, min(y, rows - height))
    drawing.write(mask, note.text, x, y, size)
    if note.anchor is not None:
        anchor = path.place([note.anchor], note.anchor_of_display)[0]
        drawing.line(mask, np.array([[x, y + height], anchor], np.float64))


def _pixel(point: Array) -> tuple[int, int]:
    x, y = np.clip(np.nan_to_num(point), -1e6, 1e6)
    return int(x), int(y)
