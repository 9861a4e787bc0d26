"""Lines and areas as masks; coordinates out of all bounds."""

from __future__ import annotations

import numpy as np
import pytest

from dcmkit.pixels import drawing


def mask(rows=10, columns=12):
    return np.zeros((rows, columns), bool)


def test_lines():
    drawn = mask()
    drawing.line(drawn, np.array([[0.5, 0.5], [4.5, 4.5], [4.5, 8.5]]))
    assert drawn[range(5), range(5)].all()
    assert drawn[4:9, 4].all()
    assert drawn.sum() == 9


@pytest.mark.parametrize("far", [1e300, -1e300, np.inf, np.nan, 1e9])
def test_coordinates_out_of_bounds_cost_nothing(far):
    drawn = mask()
    points = np.array([[0.5, 0.5], [far, 0.5], [far, far], [0.5, 5.5]])
    with np.errstate(all="ignore"):
        drawing.line(drawn, points)
        drawing.fill(drawn, points)
    assert drawn.shape == (10, 12)


def test_a_line_through_the_picture_from_outside_to_outside():
    drawn = mask()
    drawing.line(drawn, np.array([[-1e6, 3.5], [1e6, 3.5]]))
    assert drawn[3].all()
    assert drawn.sum() == 12


def test_areas_by_pixel_centres():
    drawn = mask()
    drawing.fill(drawn, np.array([[2.0, 2.0], [6.0, 2.0], [6.0, 5.0], [2.0, 5.0]]))
    assert drawn[2:5, 2:6].all()
    assert drawn.sum() == 12


def test_discs():
    drawn = mask(11, 11)
    drawing.disc(drawn, 5.5, 5.5, 3)
    assert drawn[5, 2:9].all()
    assert not drawn[5, 1]
    assert np.array_equal(drawn, drawn.T)


def test_circles_and_ellipses():
    outline = drawing.circle(np.array([[10.0, 10], [10, 15]]))
    assert np.hypot(*(outline - 10).T) == pytest.approx(np.full(len(outline), 5))
    outline = drawing.ellipse(np.array([[0.0, 5], [20, 5], [10, 0], [10, 10]]))
    assert outline.min(axis=0) == pytest.approx([0, 0], abs=0.1)
    assert outline.max(axis=0) == pytest.approx([20, 10], abs=0.1)


def test_curves_go_through_their_points():
    points = np.array([[0.0, 0], [5, 5], [10, 0]])
    curve = drawing.smooth(points)
    for point in points:
        assert np.hypot(*(curve - point).T).min() < 1e-9


def test_text_is_cut_at_the_edges():
    drawn = mask()
    drawing.write(drawn, "I", 0, 0)
    assert drawn[0, 1:4].all()
    drawing.write(drawn, "WWW\nW", -3, -3, 4)
    drawing.write(drawn, "W", 100, 100)
    assert drawing.text_size("ab\nc", 2) == (24, 36)
