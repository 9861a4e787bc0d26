"""Colour spaces against the formulas of PS3.3 C.7.6.3.1.2."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest

from dcmkit.errors import InvalidDataSetError, UnsupportedSyntaxError
from dcmkit.pixels import colors

_CORNERS = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [0, 255, 255], [255, 0, 255]]
BARS = np.array([[*_CORNERS, [255] * 3, [0] * 3, [128] * 3]], np.uint8)


def ybr_full(rgb):
    r, g, b = (rgb[..., channel].astype(float) for channel in range(3))
    y = 0.2990 * r + 0.5870 * g + 0.1140 * b
    cb = -0.1687 * r - 0.3313 * g + 0.5000 * b + 128
    cr = 0.5000 * r - 0.4187 * g - 0.0813 * b + 128
    return np.clip(np.rint(np.stack([y, cb, cr], axis=-1)), 0, 255).astype(np.uint8)


def test_colour_bars_come_back_from_ybr_full():
    assert abs(colors.to_rgb(ybr_full(BARS), "YBR_FULL", 8).astype(int) - BARS).max() <= 1


def test_ybr_full_of_bytes_is_what_the_formula_says():
    rng = np.random.default_rng(1)
    samples = rng.integers(0, 256, (64, 64, 3), np.uint8)
    y, cb, cr = (samples[..., channel].astype(float) for channel in range(3))
    exact = np.stack(
        [y + 1.402 * (cr - 128), y - 0.344136 * (cb - 128) - 0.714136 * (cr - 128), y + 1.772 * (cb - 128)], axis=-1
    )
    assert abs(colors.to_rgb(samples, "YBR_FULL", 8) - np.clip(exact, 0, 255)).max() <= 0.55


def test_ybr_partial_black_white_and_red():
    """16 and 235 are black and white; red by ITU-R BT.601 is 81, 90, 240."""
    samples = np.array([[[16, 128, 128], [235, 128, 128], [81, 90, 240]]], np.uint8)
    found = colors.to_rgb(samples, "YBR_PARTIAL_422", 8).astype(int)
    assert abs(found - [[[0, 0, 0], [255, 255, 255], [255, 0, 0]]]).max() <= 2


def test_16_bit_ybr():
    deep = ybr_full(BARS).astype(np.uint16) * 256
    found = colors.to_rgb(deep, "YBR_FULL", 16)
    assert abs((found >> 8).astype(int) - BARS).max() <= 2


def test_what_is_red_green_and_blue_already():
    for interpretation in ("RGB", "YBR_RCT", "YBR_ICT"):
        assert colors.to_rgb(BARS, interpretation, 8) is BARS


@pytest.mark.parametrize("interpretation", ["HSV", "CMYK", "ARGB", "CIELAB"])
def test_retired_colour_spaces_are_refused(interpretation):
    with pytest.raises(UnsupportedSyntaxError):
        colors.to_rgb(BARS, interpretation, 8)


def test_depths():
    assert colors.with_depth(np.array([0, 4095, 2048], np.uint16), 12, 8).tolist() == [0, 255, 128]
    assert colors.with_depth(np.array([0, 255], np.uint8), 8, 16).tolist() == [0, 65535]
    assert colors.with_depth(np.array([0, 2**32 - 1], np.uint32), 32, 8).tolist() == [0, 255]


def test_a_profile_of_srgb_changes_nothing_and_a_damaged_one_is_an_error():
    profile = bytes(imagecodecs.cms_profile("srgb"))
    assert abs(colors.to_srgb(BARS, profile).astype(int) - BARS).max() <= 1
    with pytest.raises(InvalidDataSetError):
        colors.to_srgb(BARS, b"no profile")
