"""JPEG 2000: rates, layers, color transforms, signs that disagree, both libraries."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from dcmkit.errors import InvalidDataSetError, UnsupportedSyntaxError, UsageError
from dcmkit.pixels import jpeg2000, syntaxes
from dcmkit.pixels.codecs import EncodeOptions, decode_frame, encode_frame
from dcmkit.pixels.codestream import inspect

from .images import IMAGES, after, described, error, noise, waves

CT = described(waves(256, 256, 0, 4095, noise=20), 16)
LIBRARIES = ("imagecodecs", "pylibjpeg-openjpeg")


def signal_to_noise(options: EncodeOptions) -> tuple[float, float]:
    """Against the range of values, and the ratio."""
    array, description = CT
    encoded = encode_frame(array, syntaxes.JPEG_2000, description, options)
    decoded = decode_frame(encoded.data, syntaxes.JPEG_2000, description).array
    noise_power = np.mean((decoded.astype(float) - array) ** 2)
    return float(10 * np.log10(4095.0**2 / noise_power)), array.nbytes / len(encoded.data)


@pytest.mark.parametrize("psnr", [45.0, 55.0, 65.0])
def test_the_signal_to_noise_ratio_is_of_the_values_there_are(psnr: float) -> None:
    assert abs(signal_to_noise(EncodeOptions(psnr=psnr))[0] - psnr) < 4


@pytest.mark.parametrize("ratio", [4.0, 10.0, 20.0])
def test_the_ratio_is_kept(ratio: float) -> None:
    assert signal_to_noise(EncodeOptions(ratio=ratio))[1] == pytest.approx(ratio, rel=0.15)


def test_layers() -> None:
    array, description = CT
    for options in (EncodeOptions(ratio=10, layers=3), EncodeOptions(layers=3)):
        encoded = encode_frame(array, syntaxes.JPEG_2000, description, options)
        assert inspect(encoded.data, syntaxes.JPEG_2000).layers == 3
    with pytest.raises(UsageError, match="lossy"):
        encode_frame(array, syntaxes.JPEG_2000_LOSSLESS, description, EncodeOptions(layers=3))
    with pytest.raises(UsageError, match="same time"):
        encode_frame(array, syntaxes.JPEG_2000, description, EncodeOptions(layers=3, tile=128))


def test_a_ratio_without_the_library_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openjpeg.utils", None)
    with pytest.raises(UnsupportedSyntaxError, match="pylibjpeg-openjpeg"):
        encode_frame(CT[0], syntaxes.JPEG_2000, CT[1], EncodeOptions(ratio=10))


@pytest.mark.parametrize("library", LIBRARIES)
def test_both_libraries_encode(library: str) -> None:
    for array, description in (CT, IMAGES["rgb"], IMAGES["12 signed bits"]):
        for uid in (syntaxes.JPEG_2000_LOSSLESS, syntaxes.JPEG_2000):
            encoded = encode_frame(array, uid, description, library=library)
            decoded = decode_frame(encoded.data, uid, after(description, encoded))
            assert error(decoded, array) <= (0 if uid in syntaxes.LOSSLESS else 40)
            if description.samples_per_pixel == 3:
                assert encoded.photometric_interpretation == ("YBR_RCT" if uid in syntaxes.LOSSLESS else "YBR_ICT")


def test_small_images_are_refused_by_one_of_them() -> None:
    array, description = IMAGES["5x7"]
    with pytest.raises(UnsupportedSyntaxError, match="32 rows"):
        encode_frame(array, syntaxes.JPEG_2000_LOSSLESS, description, library=LIBRARIES[1])


@pytest.mark.parametrize("library", LIBRARIES)
def test_signs_that_disagree(library: str) -> None:
    """An unsigned codestream of two's complement: the bits are what the data set says, and somebody is told."""
    array, description = described(noise((40, 40), -4096, 4095), 13, signed=True)
    unsigned = description._replace(pixel_representation=0)
    masked = (array.view("<u2") & 0x1FFF).astype("<u2")
    data = encode_frame(masked, syntaxes.JPEG_2000_LOSSLESS, unsigned).data
    decoded = decode_frame(data, syntaxes.JPEG_2000_LOSSLESS, description, library=library)
    assert error(decoded, array) == 0
    assert "PixelRepresentation says signed" in decoded.warnings[0]
    data = encode_frame(array, syntaxes.JPEG_2000_LOSSLESS, description).data
    decoded = decode_frame(data, syntaxes.JPEG_2000_LOSSLESS, unsigned, library=library)
    assert error(decoded, masked) == 0
    assert decoded.warnings


@pytest.mark.parametrize(
    ("declared", "color", "interpretation", "warned"),
    [
        ("YBR_RCT", True, "RGB", False), ("RGB", True, "RGB", False), ("YBR_FULL", True, "RGB", True),
        ("YBR_RCT", False, "RGB", True), ("YBR_FULL", False, "YBR_FULL", False),
        ("YBR_FULL_422", False, "YBR_FULL", False),
    ],
)  # fmt: skip
def test_the_codestream_is_believed_about_its_color(
    declared: str, color: bool, interpretation: str, warned: bool
) -> None:
    array, description = IMAGES["rgb"]
    source = description if color else description._replace(photometric_interpretation="YBR_FULL")
    data = encode_frame(array, syntaxes.JPEG_2000_LOSSLESS, source).data
    decoded = decode_frame(data, syntaxes.JPEG_2000_LOSSLESS, description._replace(photometric_interpretation=declared))
    assert (decoded.photometric_interpretation, bool(decoded.warnings)) == (interpretation, warned)
    assert error(decoded, array) == 0


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_jp2_file_in_place_of_its_codestream(library: str) -> None:
    array, description = IMAGES["12 bits"]
    data = encode_frame(array, syntaxes.JPEG_2000_LOSSLESS, description).data
    boxes = b"\0\0\0\x0cjP  \r\n\x87\n" + b"\0\0\0\x14ftypjp2 \0\0\0\0jp2 "
    for box in (b"\0\0\0\0jp2c", b"\0\0\0\1jp2c" + (len(data) + 16).to_bytes(8, "big")):
        assert (
            error(decode_frame(boxes + box + data, syntaxes.JPEG_2000_LOSSLESS, description, library=library), array)
            == 0
        )


@pytest.mark.parametrize("library", LIBRARIES)
def test_garbage_is_broken(library: str) -> None:
    array, description = CT
    data = bytearray(encode_frame(array, syntaxes.JPEG_2000_LOSSLESS, description).data)
    data[data.index(b"\xff\x52") + 9] = 60  # decompositions
    with pytest.raises(InvalidDataSetError):
        decode_frame(bytes(data), syntaxes.JPEG_2000_LOSSLESS, description, library=library)


def test_samples_there_is_no_room_for() -> None:
    for name in ("32 bits",):
        with pytest.raises(UnsupportedSyntaxError, match="32 bits, where 24"):
            encode_frame(IMAGES[name][0], syntaxes.JPEG_2000, IMAGES[name][1])
    array, description = described(np.zeros((8, 8, 4)), 8, 8, color="CMYK")
    with pytest.raises(UnsupportedSyntaxError, match="4 samples"):
        encode_frame(array, syntaxes.JPEG_2000, description)


def test_quality_as_signal_to_noise() -> None:
    assert jpeg2000.target_psnr(EncodeOptions(quality=100)) == pytest.approx(60)
    assert jpeg2000.target_psnr(EncodeOptions(psnr=33)) == 33
