"""Graphics and texts on pictures that were cut, turned and scaled."""

from __future__ import annotations

import numpy as np
import pytest

from dcmkit.pixels import markup, raster
from dcmkit.pixels.presentation import Graphic, Note
from dcmkit.pixels.raster import Region

BLACK = np.zeros((60, 80), np.uint8)


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("down", [False, True])
def test_points_go_where_pixels_go(degrees, across, down):
    image = np.zeros((8, 12), np.uint8)
    image[5, 7] = 1
    region = Region(2, 1, 9, 6)
    picture = raster.cut(image, region)
    picture = raster.flip(raster.rotate(picture, degrees), horizontally=across, vertically=down)
    rows, columns = picture.shape[0] * 3, picture.shape[1] * 2
    picture = raster.scale(picture, rows, columns, "nearest")
    path = markup.Path(8, 12)
    path.cut(region)
    path.turn(degrees, horizontally=across, vertically=down)
    path.scale(rows, columns)
    ((x, y),) = path.place([(7.5, 5.5)], False)
    where = np.argwhere(picture).mean(axis=0)
    assert (y - 0.5, x - 0.5) == pytest.approx(tuple(where))


def test_fractions_are_of_what_is_displayed():
    path = markup.Path(60, 80)
    path.scale(120, 40)
    assert path.place([(0.5, 0.25)], True).tolist() == [[20, 30]]


@pytest.mark.parametrize(
    ("kind", "points", "lit"),
    [
        ("POINT", [(40, 30)], (30, 40)),
        ("POLYLINE", [(10, 10.5), (70, 10.5)], (10, 40)),
        ("INTERPOLATED", [(10, 10), (40.5, 30.5), (70, 10)], (30, 40)),
        ("CIRCLE", [(40.5, 30.5), (50.5, 30.5)], (30, 50)),
        ("ELLIPSE", [(20.5, 30.5), (60.5, 30.5), (40.5, 20.5), (40.5, 40.5)], (30, 60)),
    ],
)
def test_every_graphic_type(kind, points, lit):
    drawn = markup.draw(BLACK, [Graphic(kind, tuple(points))], [], markup.Path(60, 80))
    assert drawn[lit] == 255
    assert not BLACK.any()


def test_filled_and_grey():
    square = ((10.0, 10.0), (20.0, 10.0), (20.0, 20.0), (10.0, 20.0), (10.0, 10.0))
    drawn = markup.draw(BLACK, [Graphic("POLYLINE", square, filled=True, level=0.5)], [], markup.Path(60, 80))
    assert drawn[15, 15] == 128


def test_texts_stay_inside_and_point_to_their_anchor():
    note = Note("Lesion", (75.0, 55.0), anchor=(10.0, 10.0))
    drawn = markup.draw(BLACK, [], [note], markup.Path(60, 80))
    assert drawn[10, 10] == 255
    assert (drawn[45:, 40:] == 255).sum() > 30


def test_hostile_places():
    everywhere = tuple((x, y) for x in (np.inf, -1e300, 1e18) for y in (np.nan, 5.0))
    graphics = [Graphic(kind, everywhere, filled=True) for kind in ("POINT", "POLYLINE", "CIRCLE", "ELLIPSE", "OTHER")]
    drawn = markup.draw(BLACK, graphics, [Note("x" * 5000, (np.nan, np.inf))], markup.Path(60, 80))
    assert drawn.shape == BLACK.shape
