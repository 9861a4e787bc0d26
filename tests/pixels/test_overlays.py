"""Overlay planes: their bits, their place, how they are drawn."""

from __future__ import annotations

import numpy as np
import pytest

from dcmkit.dataset.elements import Element, element
from dcmkit.errors import InvalidDataSetError
from dcmkit.pixels import overlays
from dcmkit.pixels.overlays import find_overlays


def group(number=0x6000, *, rows=2, columns=3, data=b"\x15\0", origin="1\\1", **more):
    base = number << 16
    found = {
        base | 0x10: element(base | 0x10, str(rows), "US"),
        base | 0x11: element(base | 0x11, str(columns), "US"),
        base | 0x40: element(base | 0x40, "G", "CS"),
        base | 0x50: element(base | 0x50, origin, "SS"),
        base | 0x3000: Element("OW", data),
    }
    for key, value in more.items():
        found[base | int(key[1:], 16)] = Element("US", value)
    return found


def test_bits_are_read_from_the_lowest_on():
    (overlay,) = find_overlays(group())
    assert overlay.plane(0, None).tolist() == [[True, False, True], [False, True, False]]
    assert overlays.placed(overlay, overlay.plane(0, None), 3, 2).tolist() == [
        [True, False],
        [False, True],
        [False, False],
    ]


def test_origin_may_be_outside():
    (overlay,) = find_overlays(group(origin="0\\2"))
    assert overlays.placed(overlay, overlay.plane(0, None), 2, 3).tolist() == [[False, False, True], [False] * 3]


def test_several_frames_from_a_frame_on():
    (overlay,) = find_overlays(group(data=b"\xc0\x0f", x15="2", x51="3"))
    assert overlay.plane(0, None) is None
    assert not overlay.plane(2, None).any()
    assert overlay.plane(3, None).all()
    assert overlay.plane(4, None) is None


def test_bits_within_the_pixels():
    data_set = {
        0x60000100: element(0x60000100, "16", "US"),
        0x60000102: element(0x60000102, "12", "US"),
    }
    (overlay,) = find_overlays(data_set)
    assert overlay.plane(0, np.array([[0x1000, 0x0FFF]], np.uint16)).tolist() == [[True, False]]
    assert overlay.plane(0, None) is None


def test_too_few_bits():
    (overlay,) = find_overlays(group(rows=200))
    with pytest.raises(InvalidDataSetError):
        overlay.plane(0, None)


def test_what_is_no_overlay_is_left_out():
    assert find_overlays(group(rows=0)) == []
    assert find_overlays({0x60000102: element(0x60000102, "0", "US")}) == []


def test_choice_by_number_and_group():
    found = find_overlays({**group(), **group(0x6004)})
    assert [overlay.group for overlay in overlays.wanted(found, [2])] == [0x6004]
    assert [overlay.group for overlay in overlays.wanted(found, [0x6000])] == [0x6000]
    assert overlays.wanted(found, None) == found


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("replace", [255, 200, 255]),
        ("threshold", [255, 200, 0]),
        ("complement", [138, 200, 122]),
        ("invert", [245, 200, 5]),
        ("roi", [10, 0, 250]),
    ],
)
def test_modes(mode, expected):
    picture = np.array([[10, 200, 250]], np.uint8)
    mask = np.array([[True, False, True]])
    drawn = overlays.draw(picture, mask, mode)
    assert drawn.tolist() == [expected]
    assert drawn.dtype == np.uint8
    assert overlays.draw(np.repeat(picture[..., None], 3, 2), mask, mode)[0, :, 1].tolist() == expected
