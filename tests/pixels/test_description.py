"""What follows from the Image Pixel module."""

from __future__ import annotations

import pytest

from dcmkit.pixels.description import DOUBLE_FLOAT_PIXEL_DATA, FLOAT_PIXEL_DATA, PIXEL_DATA, PixelDescription


@pytest.mark.parametrize(
    ("description", "frame_bytes", "dtype"),
    [
        (PixelDescription(512, 512), 524288, "<u2"),
        (PixelDescription(512, 512, pixel_representation=1), 524288, "<i2"),
        (PixelDescription(3, 5, 3, "RGB", 8, 8, 7), 45, "u1"),
        (PixelDescription(4, 6, 3, "YBR_FULL_422", 8, 8, 7), 48, "u1"),
        (PixelDescription(3, 3, bits_allocated=1, bits_stored=1, high_bit=0), 2, "u1"),
        (PixelDescription(2, 2, bits_allocated=32, bits_stored=32, high_bit=31), 16, "<u4"),
        (PixelDescription(2, 2, bits_allocated=32, element=FLOAT_PIXEL_DATA), 16, "<f4"),
        (PixelDescription(2, 2, bits_allocated=64, element=DOUBLE_FLOAT_PIXEL_DATA), 32, "<f8"),
    ],
)
def test_size_and_type(description: PixelDescription, frame_bytes: int, dtype: str):
    assert (description.frame_bytes, description.dtype) == (frame_bytes, dtype)


@pytest.mark.parametrize(
    ("bits", "element", "expected"),
    [(1, PIXEL_DATA, 1), (8, PIXEL_DATA, 1), (16, PIXEL_DATA, 2), (32, PIXEL_DATA, 2), (32, FLOAT_PIXEL_DATA, 4)],
)
def test_words_of_big_endian_pixel_data(bits, element, expected):
    assert PixelDescription(1, 1, bits_allocated=bits, element=element).word_bytes == expected
