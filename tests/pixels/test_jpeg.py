"""JPEG: its color, its precision, its predictors."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest

from dcmkit.errors import InvalidDataSetError, UnsupportedSyntaxError
from dcmkit.pixels import jpeg, syntaxes
from dcmkit.pixels.codecs import EncodeOptions, decode_frame, encode_frame
from dcmkit.pixels.codestream import inspect
from dcmkit.pixels.colors import to_rgb
from dcmkit.pixels.description import PixelDescription

from .images import IMAGES, after, described, error, waves

BARS = np.repeat(np.repeat(np.array(
    [[[255, 255, 255], [255, 255, 0], [0, 255, 255], [0, 255, 0]],
     [[255, 0, 255], [255, 0, 0], [0, 0, 255], [0, 0, 0]]]), 32, 0), 32, 1)  # fmt: skip
COLORS = described(BARS, 8, 8, color="RGB")


@pytest.mark.parametrize(
    ("subsampling", "interpretation"),
    [("444", "YBR_FULL"), ("422", "YBR_FULL_422"), ("420", "YBR_FULL_422"), ("rgb", "RGB")],
)
def test_color_bars(subsampling: str, interpretation: str) -> None:
    array, description = COLORS
    options = EncodeOptions(quality=98, subsampling=subsampling)
    encoded = encode_frame(array, syntaxes.JPEG_BASELINE, description, options)
    assert encoded.photometric_interpretation == interpretation
    decoded = decode_frame(encoded.data, syntaxes.JPEG_BASELINE, after(description, encoded))
    assert decoded.photometric_interpretation == ("RGB" if subsampling == "rgb" else "YBR_FULL")
    rgb = to_rgb(decoded.array, decoded.photometric_interpretation, 8)
    off = np.abs(rgb.astype(int) - array).reshape(2, 32, 4, 32, 3)
    assert off[:, 8:24, :, 8:24].max() <= 2  # bars run into each other where they share their chroma
    assert not decoded.warnings


@pytest.mark.parametrize("subsampling", ["444", "rgb"])
def test_luminance_and_chroma_stay_what_they_are(subsampling: str) -> None:
    array, description = described(BARS // 2 + 64, 8, 8, color="YBR_FULL")
    options = EncodeOptions(quality=98, subsampling=subsampling)
    encoded = encode_frame(array, syntaxes.JPEG_BASELINE, description, options)
    assert encoded.photometric_interpretation == "YBR_FULL"
    decoded = decode_frame(encoded.data, syntaxes.JPEG_BASELINE, after(description, encoded))
    assert error(decoded, array) <= 3


def test_the_codestream_is_believed_about_its_color() -> None:
    array, description = COLORS
    encoded = encode_frame(array, syntaxes.JPEG_BASELINE, description, EncodeOptions(subsampling="444"))
    decoded = decode_frame(encoded.data, syntaxes.JPEG_BASELINE, description)
    assert decoded.photometric_interpretation == "YBR_FULL"
    assert "PhotometricInterpretation is RGB" in decoded.warnings[0]
    plain = encode_frame(array, syntaxes.JPEG_BASELINE, description, EncodeOptions(subsampling="rgb"))
    decoded = decode_frame(plain.data, syntaxes.JPEG_BASELINE, description._replace(
        photometric_interpretation="YBR_FULL_422"))  # fmt: skip
    assert decoded.photometric_interpretation == "RGB"
    assert decoded.warnings


@pytest.mark.parametrize("predictor", range(1, 8))
@pytest.mark.parametrize("name", ["12 signed bits", "16 bits, full range", "rgb", "7 bits"])
def test_predictors(name: str, predictor: int) -> None:
    array, description = IMAGES[name]
    encoded = encode_frame(array, syntaxes.JPEG_LOSSLESS, description, EncodeOptions(predictor=predictor))
    assert inspect(encoded.data, syntaxes.JPEG_LOSSLESS).predictor == predictor
    encoded = encode_frame(array, syntaxes.JPEG_LOSSLESS_SV1, description, EncodeOptions(predictor=predictor))
    assert inspect(encoded.data, syntaxes.JPEG_LOSSLESS_SV1).predictor == 1


@pytest.mark.parametrize("bits", range(2, 17))
@pytest.mark.parametrize("signed", [False, True])
def test_lossless_of_every_precision(bits: int, signed: bool) -> None:
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    array, description = described(waves(30, 40, low, high, noise=high / 8), bits, signed=signed)
    encoded = encode_frame(array, syntaxes.JPEG_LOSSLESS_SV1, description)
    assert inspect(encoded.data, syntaxes.JPEG_LOSSLESS_SV1).bits == max(8, bits)
    assert error(decode_frame(encoded.data, syntaxes.JPEG_LOSSLESS_SV1, description), array) == 0


@pytest.mark.parametrize("bits", range(2, 17))
def test_foreign_precisions_below_eight_are_decoded(bits: int) -> None:
    array, description = described(waves(30, 40, 0, (1 << bits) - 1), bits, 8 if bits <= 8 else 16)
    data = imagecodecs.jpeg8_encode(array, lossless=True, predictor=1, bitspersample=bits)
    assert error(decode_frame(data, syntaxes.JPEG_LOSSLESS, description), array) == 0


def test_extended_has_twelve_bits() -> None:
    array, description = described(waves(64, 64, 0, 1023), 10)
    encoded = encode_frame(array, syntaxes.JPEG_EXTENDED, description)
    assert encoded.bits_stored == 12
    assert inspect(encoded.data, syntaxes.JPEG_EXTENDED).bits == 12
    assert error(decode_frame(encoded.data, syntaxes.JPEG_EXTENDED, after(description, encoded)), array) < 40


@pytest.mark.parametrize(
    ("name", "uid", "says"),
    [
        ("12 bits", syntaxes.JPEG_BASELINE, "has 8 bits"), ("8 of 16 bits", syntaxes.JPEG_BASELINE, "has 8 bits"),
        ("16 bits, full range", syntaxes.JPEG_EXTENDED, "12 bits"), ("rgb of 16 bits", syntaxes.JPEG_EXTENDED, "12"),
        ("12 signed bits", syntaxes.JPEG_EXTENDED, "no signed"), ("8 signed bits", syntaxes.JPEG_BASELINE, "no signed"),
        ("palette", syntaxes.JPEG_BASELINE, "palette"), ("32 bits", syntaxes.JPEG_LOSSLESS, "32 bits allocated"),
    ],
)  # fmt: skip
def test_nothing_is_squeezed(name: str, uid: str, says: str) -> None:
    array, description = IMAGES[name]
    with pytest.raises(UnsupportedSyntaxError, match=says):
        encode_frame(array, uid, description)


def test_samples_that_have_no_way_to_jpeg() -> None:
    with pytest.raises(UnsupportedSyntaxError, match="no way from HSV"):
        encode_frame(BARS.astype("u1"), syntaxes.JPEG_BASELINE, COLORS[1]._replace(photometric_interpretation="HSV"))
    array, description = described(np.zeros((8, 8, 4)), 8, 8, color="CMYK")
    with pytest.raises(UnsupportedSyntaxError, match="4 samples"):
        encode_frame(array, syntaxes.JPEG_BASELINE, description)


def test_arithmetic_coding_is_refused_and_garbage_is_broken() -> None:
    array, description = IMAGES["8 bits"]
    data = encode_frame(array, syntaxes.JPEG_BASELINE, description).data
    with pytest.raises(UnsupportedSyntaxError, match="SOF9"):
        decode_frame(data.replace(b"\xff\xc0", b"\xff\xc9"), syntaxes.JPEG_BASELINE, description)
    with pytest.raises(InvalidDataSetError):  # without quantization tables
        decode_frame(data.replace(b"\xff\xdb", b"\xff\xe5"), syntaxes.JPEG_BASELINE, description)


PROGRESSIVE = {
    "55": "ffd8ffe000104a46494600010100000100010000ffdb0043000302020302020303030304030304050805050404050a070706080c0a0c"
    "0c0b0a0b0b0d0e12100d0e110e0b0b1016101113141515150c0f171816141812141514ffc2000b080010001001011100ffc400150001010000"
    "0000000000000000000000000704ffda00080101000000011a4ba92fffc4001510010100000000000000000000000000000500ffda00080101"
    "000105023cd8f363cd8f36ffc400161000030000000000000000000000000000000121ffda0008010100063f0250505050ffc4001410010000"
    "0000000000000000000000000020ffda0008010100013f2100001fffda0008010100000010bfffc40016100003000000000000000000000000"
    "00000041a1ffda0008010100013f108a88a88a88a8ffffd9",
    "53": "ffd8ffe000104a46494600010100000100010000ffdb0043000302020302020303030304030304050805050404050a070706080c0a0c"
    "0c0b0a0b0b0d0e12100d0e110e0b0b1016101113141515150c0f171816141812141514ffc2000b080010001001011100ffc400150001010000"
    "0000000000000000000000000805ffda00080101000000001b256aa5bfffc4001510010100000000000000000000000000000700ffda000801"
    "01000105003f368fcda3f368fcdaffc4001810000203000000000000000000000000000003234151ffda0008010100063f005c5942e2ca1716"
    "50b8b28fffffd9",
}
"""Full progression and spectral selection, by dcmcjpeg, of the image below."""


@pytest.mark.parametrize("number", PROGRESSIVE)
def test_progressive_jpeg_is_decoded(number: str) -> None:
    data, uid = bytes.fromhex(PROGRESSIVE[number]), f"1.2.840.10008.1.2.4.{number}"
    array, description = described(np.add.outer(np.arange(16) * 8, np.arange(16) * 7), 8, 8)
    assert inspect(data, uid).process == 2
    assert error(decode_frame(data, uid, description), array) <= 1


def test_precision_for_lossless() -> None:
    array, description = IMAGES["7 bits"]
    assert jpeg.lossless_precision(array, description, "") == 8
    assert jpeg.lossless_precision(*IMAGES["overlay in unused bits"], "") == 16
    assert isinstance(description, PixelDescription)


def lossless_by_hand(array: np.ndarray, counts: list[int], categories: list[int]) -> bytes:
    """Lossless JPEG of 12 bits with a Huffman table of one's own (T.81 H.1.2)."""
    codes, code, entries = {}, 0, iter(categories)
    for length, count in enumerate(counts, 1):
        for _ in range(count):
            codes.setdefault(next(entries), f"{code:0{length}b}")
            code += 1
        code <<= 1
    before = np.full(array.shape, 2048)
    before[1:, 0], before[:, 1:] = array[:-1, 0], array[:, :-1]
    bits = ""
    for value in (array.astype(int) - before).ravel().tolist():
        size = abs(value).bit_length()
        bits += codes[size] + (f"{value if value > 0 else value + (1 << size) - 1:0{size}b}" if size else "")
    bits += "1" * (-len(bits) % 8)
    scan = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    segments = (
        (0xC3, bytes((12, *array.shape[0].to_bytes(2, "big"), *array.shape[1].to_bytes(2, "big"), 1, 1, 0x11, 0))),
        (0xC4, bytes((0, *counts, *categories))),
        (0xDA, bytes((1, 1, 0, 1, 0, 0))),
    )
    head = b"".join(bytes((0xFF, mark)) + (len(body) + 2).to_bytes(2, "big") + body for mark, body in segments)
    return b"\xff\xd8\xff" + head + scan + b"\xff\xd9"  # with a fill byte, which B.1.1.2 allows


@pytest.mark.parametrize(
    ("counts", "categories"),
    [
        ([0] * 4 + [17] + [0] * 11, list(range(17))),
        ([0] * 7 + [255, 1] + [0] * 7, list(range(256))),
        ([0] * 4 + [17, 0, 0, 0, 0, 239] + [0] * 6, list(range(256))),
        ([0] * 7 + [255, 1] + [0] * 7, [*range(100, 150), *range(100), *range(150, 256)]),
        ([0, 0, 0, 15, 2] + [0] * 11, list(range(17))),
    ],
)
def test_huffman_tables_with_categories_that_cannot_be(counts: list[int], categories: list[int]) -> None:
    array, description = described(waves(24, 20, 0, 4095), 12, 16)
    data = lossless_by_hand(array, counts, categories)
    assert error(decode_frame(data, syntaxes.JPEG_LOSSLESS, description), array) == 0


def test_huffman_tables_that_are_damaged() -> None:
    array, description = described(waves(24, 20, 0, 4095), 12, 16)
    data = lossless_by_hand(array, [0] * 7 + [255, 1] + [0] * 7, list(range(256)))
    at = data.index(b"\xff\xc4")
    for wrong in (bytes((0, *[255] * 16, *range(256))), b"\0" * 10, bytes((0, 3, *[0] * 15, 200, 201, 202))):
        segment = b"\xff\xc4" + (len(wrong) + 2).to_bytes(2, "big") + wrong
        with pytest.raises(InvalidDataSetError, match="broken"):
            decode_frame(data[:at] + segment + data[at + 2 + 2 + 273 :], syntaxes.JPEG_LOSSLESS, description)
