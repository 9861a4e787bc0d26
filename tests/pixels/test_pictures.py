"""Files of pictures, read back with independent readers."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest

from dcmkit.errors import UsageError
from dcmkit.pixels import pictures
from dcmkit.pixels.pictures import (
    BMP,
    GIF,
    JPEG,
    JPEG_LS,
    PNG,
    PNM,
    TIFF,
    WEBP,
    Form,
    encode_animation,
    encode_rendered,
)

GREY = np.linspace(0, 255, 40 * 50).astype(np.uint8).reshape(40, 50)
COLOR = np.stack([GREY, GREY[::-1], GREY[:, ::-1]], axis=-1)


@pytest.mark.parametrize("picture", [GREY, COLOR], ids=["grey", "colour"])
@pytest.mark.parametrize(
    ("media_type", "decode"),
    [
        (PNG, imagecodecs.png_decode), (BMP, imagecodecs.bmp_decode), (TIFF, imagecodecs.tiff_decode),
        (JPEG_LS, imagecodecs.jpegls_decode),
    ],
)  # fmt: skip
def test_lossless_formats_come_back(picture, media_type, decode):
    decoded = decode(encode_rendered(picture, media_type))
    assert np.array_equal(decoded, picture)


@pytest.mark.parametrize("picture", [GREY, COLOR], ids=["grey", "colour"])
def test_jpeg_comes_back_nearly(picture):
    decoded = imagecodecs.jpeg8_decode(encode_rendered(picture, JPEG, 95))
    assert decoded.shape == picture.shape
    assert abs(decoded.astype(int) - picture).max() <= 8


def test_webp_of_quality_100_is_lossless():
    assert np.array_equal(imagecodecs.webp_decode(encode_rendered(COLOR, WEBP, 100)), COLOR)


def test_pnm_in_letters_and_of_other_depths():
    assert encode_rendered(np.array([[0, 7], [255, 128]], np.uint8), PNM, form=Form(plain=True)) == (
        b"P2\n2 2\n255\n0 7\n255 128\n"
    )
    assert encode_rendered(COLOR[:1, :1], PNM, form=Form(plain=True)).startswith(b"P3\n1 1\n255\n")
    deep = np.array([[0, 32768, 65535]], np.uint16)
    assert encode_rendered(deep, PNM, form=Form(plain=True, bits=12)) == b"P2\n3 1\n4095\n0 2048 4095\n"
    assert encode_rendered(deep, PNM, form=Form(bits=3)) == b"P5\n3 1\n7\n\0\x04\x07"


@pytest.mark.parametrize("picture", [GREY, COLOR], ids=["grey", "colour"])
def test_what_tiff_and_bmp_leave_open(picture):
    for form in (
        Form(differences=True), Form(rows_per_strip=3), Form(compression="none"), Form(compression="packbits"),
        Form(compression="none", differences=True),
    ):  # fmt: skip
        assert np.array_equal(imagecodecs.tiff_decode(encode_rendered(picture, TIFF, form=form)), picture)
    filled = encode_rendered(picture, BMP, form=Form(filled=True))
    assert filled[28] == 32
    assert np.array_equal(
        imagecodecs.bmp_decode(filled)[..., :3], picture if picture.ndim == 3 else picture[..., None].repeat(3, 2)
    )


def test_pnm_of_both_depths():
    assert encode_rendered(GREY, PNM) == b"P5\n50 40\n255\n" + GREY.tobytes()
    assert encode_rendered(COLOR, PNM) == b"P6\n50 40\n255\n" + COLOR.tobytes()
    assert encode_rendered(np.array([[258]], np.uint16), PNM) == b"P5\n1 1\n65535\n\x01\x02"


def test_16_bits_where_they_can_be():
    deep = GREY.astype(np.uint16) * 257
    assert np.array_equal(imagecodecs.png_decode(encode_rendered(deep, PNG)), deep)
    assert np.array_equal(imagecodecs.bmp_decode(encode_rendered(deep, BMP)), GREY)


def test_gif_of_one_grey_picture_is_exact():
    file = encode_rendered(GREY, GIF)
    assert file[:6] == b"GIF89a"
    assert np.array_equal(imagecodecs.gif_decode(file)[..., 0], GREY)


def test_gif_of_noise_is_exact_too():
    noise = np.random.default_rng(1).integers(0, 256, (64, 80), np.uint8)
    assert np.array_equal(imagecodecs.gif_decode(encode_rendered(noise, GIF))[..., 0], noise)


def test_gif_of_colours_is_near():
    decoded = imagecodecs.gif_decode(encode_rendered(COLOR, GIF))
    assert abs(decoded.astype(int) - COLOR).max() <= 51
    assert abs(decoded.astype(int).mean() - COLOR.mean()) < 4


def test_animation_moves_and_says_how_fast():
    file = encode_animation(iter([GREY, GREY[::-1]]), iter([40, 1000]))
    assert b"NETSCAPE2.0" in file
    assert b"\x21\xf9\x04\x04\x04\x00" in file
    assert b"\x21\xf9\x04\x04\x64\x00" in file
    assert np.array_equal(imagecodecs.gif_decode(file)[1, ..., 0], GREY[::-1])


def test_animation_of_different_sizes_or_nothing():
    with pytest.raises(UsageError):
        encode_animation([GREY, GREY[1:]], [1, 1])
    with pytest.raises(UsageError):
        encode_animation([], [])


@pytest.mark.parametrize(("media_type", "quality"), [("image/heic", 90), (JPEG, 0), (JPEG, 101)])
def test_what_cannot_be(media_type, quality):
    with pytest.raises(UsageError):
        encode_rendered(GREY, media_type, quality)


def test_too_large_for_the_format():
    with pytest.raises(UsageError, match="16383"):
        encode_rendered(np.zeros((1, 20000), np.uint8), WEBP)


def test_media_types_by_suffix():
    assert pictures.media_type_of(".JPG") == JPEG
    assert pictures.media_type_of("pgm") == PNM
    assert pictures.media_type_of("dcm") == ""
