"""Window functions and tables against values worked out by hand from PS3.3."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dcmkit.dataset.elements import Element, element
from dcmkit.errors import InvalidDataSetError, UsageError
from dcmkit.pixels import luts
from dcmkit.pixels.luts import LINEAR, LINEAR_EXACT, SIGMOID, Grey, Lut, Rescale, Window, between


def lut_item(count, first, bits, data, vr="US"):
    return {
        luts.LUT_DESCRIPTOR: element(luts.LUT_DESCRIPTOR, f"{count}\\{first}\\{bits}", "US"),
        luts.LUT_DATA: Element(vr, data),
    }


def test_linear_is_the_example_of_the_standard():
    """PS3.3 C.11.2.1.2.1: c=2048, w=4096 is y = ((x - 2047.5) / 4095 + 0.5) * (ymax - ymin) + ymin."""
    x = np.array([-10, 0, 1, 2047, 2048, 4094, 4095, 5000])
    expected = [0, 0, 1 / 4095, 2047 / 4095, 2048 / 4095, 4094 / 4095, 1, 1]
    assert luts.windowed(x, 2048, 4096) == pytest.approx(expected)


def test_linear_of_width_one_is_a_threshold():
    """The standard's second example: c=0, w=1: at or below -0.5 black, above white."""
    assert luts.windowed(np.array([-1, -0.5, -0.25, 0, 1]), 0, 1).tolist() == [0, 0, 1, 1, 1]


def test_linear_of_width_100_around_0():
    """c=0, w=100: at or below -50 black, above 49 white, else (x + 0.5) / 99 + 0.5."""
    assert luts.windowed(np.array([-50, -49, 0, 49, 50]), 0, 100) == pytest.approx([0, 1 / 99, 50 / 99, 1, 1])


def test_linear_exact_reaches_half_a_width_to_both_sides():
    x = np.array([-1, 0, 1024, 2048, 4096, 5000])
    assert luts.windowed(x, 2048, 4096, LINEAR_EXACT) == pytest.approx([0, 0, 0.25, 0.5, 1, 1])
    assert luts.windowed(np.array([0.0, 0.1]), 0, 0, LINEAR_EXACT).tolist() == [0, 1]


def test_sigmoid():
    x = np.array([2048, 2048 + 1024, -1e9])
    expected = [0.5, 1 / (1 + math.exp(-1)), 0]
    assert luts.windowed(x, 2048, 4096, SIGMOID) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("center", "width", "function"),
    [(0, 0, LINEAR), (0, 0.5, LINEAR), (0, -3, LINEAR_EXACT), (0, 0, SIGMOID), (math.nan, 1, LINEAR), (0, 9, "CUBIC")],
)
def test_windows_that_are_none(center, width, function):
    with pytest.raises(InvalidDataSetError):
        luts.windowed(np.array([1]), center, width, function)


def test_a_table_says_the_same_as_the_formula():
    grey = Grey(Rescale(1, -1024), Window(40, 400))
    stored = np.arange(0, 4096, dtype="<u2").reshape(64, 64)
    by_table = luts.render_grey(stored, 12, False, 0, grey)
    assert by_table.dtype == np.uint8
    assert np.array_equal(by_table, grey.apply(stored.astype(np.int64)))
    assert by_table.flat[1024 - 160 - 1] == 0
    assert by_table.flat[1024 + 240] == 255
    assert by_table.flat[1024 + 40] == round(((40 - 39.5) / 399 + 0.5) * 255)


def test_bits_beside_the_value_do_not_matter_and_the_sign_does():
    grey = Grey(voi=between(-8, 7))
    values = np.arange(-8, 8)
    stored = ((values & 0xF) << 2 | 0x40 | 3).astype(np.uint8)  # four bits from bit 2 on, others around
    assert luts.render_grey(stored, 4, True, 2, grey).tolist() == [i * 17 for i in range(16)]
    assert luts.stored_values(stored, 4, True, 2).tolist() == values.tolist()


@pytest.mark.parametrize("dtype", ["<i4", "<u4", "<f4", "<f8", ">i2", "<i2", "i1"])
def test_every_kind_of_sample(dtype):
    stored = np.array([[0, 50, 100]], dtype)
    bits = np.dtype(dtype).itemsize * 8
    assert luts.render_grey(stored, bits, np.dtype(dtype).kind == "i", 0, Grey(voi=between(0, 100))).tolist() == [
        [0, 128, 255]
    ]


def test_inverted_deep_and_padding():
    stored = np.array([-2000, 0, 100], "<i2")
    grey = Grey(voi=between(0, 100), inverted=True, padding=(-2000, -2000), depth=16)
    assert luts.render_grey(stored, 16, True, 0, grey).tolist() == [0, 65535, 0]


def test_presentation_lut_comes_after_the_window():
    presentation = Lut(0, np.array([255, 0], "<u2").tobytes(), 8)
    grey = Grey(voi=between(0, 100), presentation=presentation)
    assert luts.render_grey(np.array([0, 100], np.uint8), 8, False, 0, grey).tolist() == [255, 0]


def test_not_a_number_is_black():
    assert luts.render_grey(np.array([np.nan, 1], "<f4"), 32, False, 0, Grey(voi=between(0, 1))).tolist() == [0, 255]


def test_lut_values_below_the_first_and_above_the_last_entry():
    lut = luts.read_lut(lut_item(3, -1, 12, "5\\6\\4095", "US"), signed=True)
    assert (lut.first, lut.bits) == (-1, 12)
    assert lut.apply(np.array([-9, -1, 0, 1, 9])).tolist() == [5, 5, 6, 4095, 4095]


def test_lut_descriptor_counts_to_65536_and_first_value_is_signed_by_the_pixels():
    item = lut_item(0, 65535, 16, np.zeros(65536, "<u2").tobytes(), "OW")
    assert luts.read_lut(item, signed=True).first == -1
    assert luts.read_lut(item, signed=False).first == 65535
    assert len(luts.read_lut(item).entries) == 65536


def test_lut_of_bytes():
    assert luts.read_lut(lut_item(3, 0, 8, b"\1\2\3\0", "OW")).entries.tolist() == [1, 2, 3]
    assert luts.read_lut(lut_item(4, 0, 8, "513\\1027")).entries.tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize(
    "item",
    [
        {},
        lut_item(3, 0, 17, "1\\2\\3"),
        lut_item(3, 0, 8, ""),
        lut_item(3, 0, 8, "a\\b"),
        lut_item(3, 0, 8, []),
        {luts.LUT_DESCRIPTOR: element(luts.LUT_DESCRIPTOR, "1\\2", "US")},
    ],
)
def test_luts_that_are_none(item):
    with pytest.raises(InvalidDataSetError):
        luts.read_lut(item)


def palette(data, *, count=3, bits=16, first=0, segmented=False):
    found = {}
    for channel in range(3):
        found[0x00281101 + channel] = element(0x00281101, f"{count}\\{first}\\{bits}", "US")
        tag = (0x00281221 if segmented else 0x00281201) + channel
        found[tag] = Element("OW", data[channel])
    return found


def words(*values):
    return np.array(values, "<u2").tobytes()


def test_palette():
    found = luts.read_palette(palette([words(0, 0x8000, 0xFFFF), words(1, 2, 0x300), words(0, 0, 0xFF00)]))
    assert found.apply(np.array([[0, 1, 2, 9]])).tolist() == [[[0, 0, 0], [128, 0, 0], [255, 3, 255], [255, 3, 255]]]
    assert found.apply(np.array([1]), 16).tolist() == [[0x8000, 2, 0]]


def test_palette_of_bytes_in_words_is_widened():
    found = luts.read_palette(palette([words(0, 128, 255)] * 3))
    assert found.apply(np.array([1, 2])).tolist() == [[128] * 3, [255] * 3]


def test_segmented_palette_with_every_kind_of_segment():
    """Discrete 2 entries, linear to 1000 over 4, then both again from byte 0 (PS3.3 C.7.9.2)."""
    segments = words(0, 2, 0, 200, 1, 4, 1000, 2, 2, 0, 0)
    found = luts.read_palette(palette([segments] * 3, count=12, segmented=True))
    half = [0, 200, 400, 600, 800, 1000]
    assert found.colors[:, 0].tolist() == half + half


@pytest.mark.parametrize("segments", [words(3, 1, 1), words(1, 4, 7), words(2, 1, 8, 0, 2, 1, 0, 0), b""])
def test_segmented_palettes_that_are_none(segments):
    with pytest.raises(InvalidDataSetError):
        luts.read_palette(palette([segments] * 3, segmented=True))


def test_palettes_of_different_lengths():
    data = palette([words(1, 2, 3)] * 3)
    data[0x00281103] = element(0x00281103, "2\\0\\16", "US")
    with pytest.raises(InvalidDataSetError):
        luts.read_palette(data)


@pytest.mark.parametrize("dtype", ["u1", "<i2", "<u2", "<i4", "<f4"])
@pytest.mark.parametrize(("low", "high"), [(0, 100), (1, 99), (25, 75.5), (0, 0.1), (99.9, 100)])
@pytest.mark.parametrize("size", [1, 5, 100, 300, 5000])
def test_percentiles_leave_no_more_outside_than_they_say(dtype, low, high, size):
    values = np.random.default_rng(7).integers(0, 120, size).astype(dtype)
    first, last = luts.percentiles(values, low, high)
    assert first in values
    assert last in values
    assert (values < first).sum() <= size * low / 100
    assert (values > last).sum() <= size * (100 - high) / 100 + 1e-6
    assert (values <= first).sum() > size * low / 100 or first == values.max()


def test_percentiles_that_are_none():
    for low, high in ((-1, 5), (5, 5), (0, 101)):
        with pytest.raises(UsageError):
            luts.percentiles(np.arange(5), low, high)
