"""Cutting, scaling, turning and setting side by side."""

from __future__ import annotations

import numpy as np
import pytest

from dcmkit.errors import UsageError
from dcmkit.pixels import raster
from dcmkit.pixels.raster import Region

SMALL = np.arange(6, dtype=np.uint8).reshape(2, 3)


def test_cut_inside_and_beyond():
    assert raster.cut(SMALL, Region(1, 0, 2, 1)).tolist() == [[1, 2]]
    assert raster.cut(SMALL, Region(-1, 1, 3, 2), 9).tolist() == [[9, 3, 4], [9, 9, 9]]


@pytest.mark.parametrize(
    "region", [Region(3, 0, 1, 1), Region(0, 0, 0, 1), Region(-2, 0, 2, 1), Region(0, 0, 10**6, 10**6)]
)
def test_regions_that_are_none(region):
    with pytest.raises(UsageError):
        raster.cut(SMALL, Region(*region))


def test_rotation_is_clockwise_and_flips_are_what_they_say():
    assert raster.rotate(SMALL, 90).tolist() == [[3, 0], [4, 1], [5, 2]]
    assert raster.rotate(SMALL, -90).tolist() == raster.rotate(SMALL, 270).tolist() == [[2, 5], [1, 4], [0, 3]]
    assert raster.flip(SMALL, horizontally=True).tolist() == [[2, 1, 0], [5, 4, 3]]
    assert raster.flip(SMALL, vertically=True).tolist() == [[3, 4, 5], [0, 1, 2]]
    with pytest.raises(UsageError):
        raster.rotate(SMALL, 45)


def test_area_keeps_the_mean_and_weighs_parts_of_pixels():
    row = np.array([[0, 30, 60]], np.uint8)
    assert raster.scale(row, 1, 2).tolist() == [[10, 50]]  # (0 + 30/2) / 1.5, (30/2 + 60) / 1.5
    assert raster.scale(np.array([[10, 20, 30, 40]], np.uint8), 1, 2).tolist() == [[15, 35]]


def test_linear_and_nearest():
    row = np.array([[0, 100]], np.uint8)
    assert raster.scale(row, 1, 4, "linear").tolist() == [[0, 25, 75, 100]]
    assert raster.scale(row, 1, 4, "nearest").tolist() == [[0, 0, 100, 100]]
    assert raster.scale(np.array([[7]], np.uint8), 2, 2, "linear").tolist() == [[7, 7], [7, 7]]


def test_colours_and_16_bits_are_scaled_too():
    picture = np.full((4, 6, 3), 65535, np.uint16)
    assert raster.scale(picture, 3, 9).shape == (3, 9, 3)
    assert int(raster.scale(picture, 3, 9).min()) == 65535


@pytest.mark.parametrize(("rows", "columns", "method"), [(0, 1, ""), (10**9, 10**9, ""), (1, 1, "cubic")])
def test_sizes_that_are_none(rows, columns, method):
    with pytest.raises(UsageError):
        raster.scale(SMALL, rows, columns, method)


def test_fitted():
    assert raster.fitted(512, 256, 100, 100) == (100, 50)
    assert raster.fitted(512, 256, 0, 128) == (256, 128)
    assert raster.fitted(100, 100, 0, 0, aspect=2.0) == (200, 100)


def test_montage_centres_and_mixes_grey_with_colour():
    sheet = raster.montage([np.full((2, 2), 5, np.uint8), np.full((1, 1, 3), 7, np.uint8)], 2, gap=1)
    assert sheet.shape == (2, 5, 3)
    assert sheet[0, 0].tolist() == [5, 5, 5]
    assert sheet[0, 3].tolist() == [7, 7, 7]
    assert raster.montage([SMALL] * 5, 2).shape == (6, 6)
    assert raster.montage([SMALL] * 5, 2, 1).shape == (2, 6)


def test_grey_of_colours():
    assert raster.grey_of(np.array([[[255, 0, 0], [255, 255, 255]]], np.uint8)).tolist() == [[76, 255]]
    assert raster.colored(SMALL).shape == (2, 3, 3)
