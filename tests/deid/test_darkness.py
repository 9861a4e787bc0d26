"""What is dark, for each way samples are meant; and that nothing else changes."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from dcmkit.deid.darkness import clear, darken, darkest, inside, palette_index, samples_of, with_sign
from dcmkit.errors import InvalidDataSetError, UnsupportedSyntaxError, UsageError
from dcmkit.pixels.description import FLOAT_PIXEL_DATA, PixelDescription
from dcmkit.pixels.image_file import ImageFile
from tests.pixels import files

BYTES = PixelDescription(4, 6, bits_allocated=8, bits_stored=8, high_bit=7)


def test_boxes_are_cut_to_the_image():
    assert inside([(-3, 2, 5, 90), (5, 3, 1, 1)], BYTES) == [(0, 2, 2, 2), (5, 3, 1, 1)]
    assert inside([(6, 0, 3, 3), (1, 1, 2, 2)], BYTES) == [(1, 1, 2, 2)], "one that touches is enough"


@pytest.mark.parametrize("box", [(6, 0, 1, 1), (0, 4, 1, 1), (-2, 0, 2, 1)])
def test_boxes_that_miss_the_image(box):
    with pytest.raises(InvalidDataSetError, match="no box touches the image of 6 columns and 4 rows"):
        inside([box], BYTES)


@pytest.mark.parametrize("box", [(0, 0, 0, 1), (0, 0, 1, -1)])
def test_boxes_without_pixels(box):
    with pytest.raises(UsageError):
        inside([box], BYTES)


NOTHING = np.zeros((1, 1), "u1")


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ({}, (0,)),
        ({"photometric_interpretation": "MONOCHROME1"}, (255,)),
        ({"photometric_interpretation": "MONOCHROME1", "bits_allocated": 16, "bits_stored": 9, "high_bit": 8}, (511,)),
        ({"photometric_interpretation": "MONOCHROME1", "pixel_representation": 1}, (127,)),
        ({"photometric_interpretation": "MONOCHROME1", "bits_allocated": 1, "bits_stored": 1, "high_bit": 0}, (1,)),
        ({"pixel_representation": 1}, (-128,)),
        ({"pixel_representation": 1, "bits_allocated": 16, "bits_stored": 12, "high_bit": 15}, (-2048 << 4,)),
        ({"photometric_interpretation": "PALETTE COLOR"}, (7,)),
        ({"photometric_interpretation": "RGB", "samples_per_pixel": 3}, (0, 0, 0)),
        ({"photometric_interpretation": "YBR_FULL", "samples_per_pixel": 3}, (0, 128, 128)),
        ({"photometric_interpretation": "YBR_PARTIAL_422", "samples_per_pixel": 3}, (16, 128, 128)),
        ({"photometric_interpretation": "CMYK", "samples_per_pixel": 4}, (255,) * 4),
    ],
)  # fmt: skip
def test_what_is_darkest(said, wanted):
    assert darkest(BYTES._replace(**said), NOTHING, palette_index=7) == wanted


def test_what_is_darkest_of_a_codestream_with_fewer_bits():
    said = BYTES._replace(photometric_interpretation="MONOCHROME1", bits_allocated=16, bits_stored=16, high_bit=15)
    assert darkest(said, NOTHING, bits=12) == (4095,)


def test_what_is_darkest_of_the_image():
    assert darkest(BYTES, np.array([[7, 9]]), of_image=True) == (7,)
    assert darkest(BYTES._replace(photometric_interpretation="MONOCHROME1"), np.array([[7, 9]]), of_image=True) == (9,)
    floats = BYTES._replace(element=FLOAT_PIXEL_DATA, bits_allocated=32, bits_stored=32, high_bit=31)
    assert darkest(floats, np.array([[np.nan, 2.5, np.inf, -1.5]], "<f4")) == (-1.5,)
    assert darkest(floats, np.array([[np.nan]], "<f4")) == (0,)


@pytest.mark.parametrize("bits", [1, 8, 16, 32])
@pytest.mark.parametrize("samples", [1, 3])
@pytest.mark.parametrize("planar", [0, 1])
def test_samples_are_changed_where_they_lie(bits, samples, planar):
    said = BYTES._replace(bits_allocated=bits, bits_stored=bits, high_bit=bits - 1, samples_per_pixel=samples,
                          planar_configuration=planar, photometric_interpretation="RGB")  # fmt: skip
    content = bytearray(b"\xff" * said.frame_bytes)
    with samples_of(content, said) as array:
        assert array.shape[:2] == (4, 6)
        darken(array, [(1, 2, 3, 1)], (0,) * samples, said)
    with samples_of(content, said) as array:
        top = (1 << bits) - 1
        assert int((array == 0).sum()) == 3 * samples
        assert (array[2, 1:4] == 0).all()
        assert int((array == top).sum()) == 21 * samples
    if planar and samples == 3 and bits == 8:
        assert content[2 * 6 + 1 : 2 * 6 + 4] == b"\0\0\0"


def test_signed_samples_keep_their_bits():
    said = BYTES._replace(bits_allocated=16, bits_stored=12, high_bit=11, pixel_representation=1)
    content = bytearray(said.frame_bytes)
    with samples_of(content, said) as array:
        darken(array, [(0, 0, 1, 1)], darkest(said, array), said)
    assert content[:2] == b"\0\xf8", "-2048, sign extended"


@pytest.mark.parametrize(("left", "width"), [(0, 6), (1, 1), (1, 2), (1, 4), (2, 2), (5, 1), (2, 3)])
def test_chroma_that_is_shared_with_a_pixel_outside_stays(left, width):
    said = BYTES._replace(samples_per_pixel=3, photometric_interpretation="YBR_FULL_422")
    content = bytearray(range(1, 49))
    before = np.array(content).reshape(4, 3, 4)
    with samples_of(content, said) as array:
        darken(array, [(left, 1, width, 2)], darkest(said, array), said)
    after = np.array(content).reshape(4, 3, 4)
    for row in range(4):
        for column in range(6):
            within = row in (1, 2) and left <= column < left + width
            pair, half = divmod(column, 2)
            both = within and left <= 2 * pair and 2 * pair + 1 < left + width
            assert after[row, pair, half] == (0 if within else before[row, pair, half])
            assert both == (after[row, pair, 2:].tolist() == [128, 128])
            assert both or after[row, pair, 2:].tolist() == before[row, pair, 2:].tolist()


def test_an_odd_number_of_columns_shares_no_chroma():
    said = BYTES._replace(columns=5, samples_per_pixel=3, photometric_interpretation="YBR_FULL_422")
    with pytest.raises(UnsupportedSyntaxError), samples_of(bytearray(40), said):
        pass


def test_bits_are_cleared():
    array = np.array([[0x1FFF, -1, 5]], "<i2")
    assert clear(array, 0x3000)
    assert array.view("<u2").tolist() == [[0x0FFF, 0xCFFF, 5]]
    assert not clear(array, 0x3000)
    with pytest.raises(UnsupportedSyntaxError):
        clear(np.zeros((1, 1), "<f4"), 1)


def test_the_sign_fills_bits_that_are_zero():
    said = BYTES._replace(bits_allocated=16, bits_stored=12, high_bit=11, pixel_representation=1)
    assert with_sign(np.array([[0xFFF, 0x7FF]], "<i2"), said).tolist() == [[-1, 2047]]
    for other in ([[-1, 5]], [[0x1000, 0xFFF]]):
        assert with_sign(np.array(other, "<i2"), said).tolist() == other
    unsigned = np.array([[0xFFF]], "<u2")
    assert with_sign(unsigned, said._replace(pixel_representation=0)) is unsigned


def palette(path, first: int, colors: list[tuple[int, int, int]], stored: bytes = b"\x08\0") -> int:
    descriptor = struct.pack("<HHH", len(colors), first, 8)
    elements = files.attributes(photometric="PALETTE COLOR")
    elements = elements.replace(b"\x01\x01US\x02\0\x08\0", b"\x01\x01US\x02\0" + stored)
    for channel in range(3):
        elements += files.element(0x00281101 + channel, "US", descriptor)
    for channel in range(3):
        elements += files.element(0x00281201 + channel, "OW", bytes(color[channel] for color in colors))
    with ImageFile(files.native(path, bytes(6), elements)) as image:
        return palette_index(image)


def test_the_darkest_color_of_a_palette(tmp_path):
    colors = [(200, 200, 200), (0, 60, 0), (60, 0, 40), (255, 255, 255)]
    assert palette(tmp_path / "x", 0, colors) == 2
    assert palette(tmp_path / "y", 10, colors) == 12
    assert palette(tmp_path / "z", 0, colors, stored=b"\1\0") == 1, "2 takes more bits than are stored"


def test_a_palette_that_cannot_be_read(tmp_path):
    with ImageFile(files.native(tmp_path / "x", bytes(6), files.attributes(photometric="PALETTE COLOR"))) as image:
        assert palette_index(image) == 0
