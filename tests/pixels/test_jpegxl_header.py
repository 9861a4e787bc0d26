"""The first fields of JPEG XL codestreams, by libjxl and made by hand."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest

from dcmkit.errors import InvalidDataSetError, UnsupportedSyntaxError
from dcmkit.pixels.jpegxl_header import read_header


@pytest.mark.parametrize("shape", [(1, 1), (8, 8), (5, 7), (41, 37), (256, 256), (480, 640), (600, 800), (768, 512),
                                   (300, 300, 3), (270, 480, 3), (100, 200, 3), (96, 120), (2000, 3)])  # fmt: skip
@pytest.mark.parametrize("bits", [8, 9, 10, 12, 14, 16])
@pytest.mark.parametrize("lossless", [True, False])
def test_headers_by_libjxl(shape: tuple[int, ...], bits: int, lossless: bool) -> None:
    image = np.zeros(shape, "u1" if bits == 8 else "u2")
    data = imagecodecs.jpegxl_encode(image, lossless=lossless, bitspersample=bits, effort=2, numthreads=1)
    info = read_header(bytes(data))
    assert (info.rows, info.columns) == shape[:2]
    assert (info.samples, info.bits) == (3 if len(shape) == 3 else 1, bits)
    assert info.complete
    assert info.color == ("XYB" if not lossless and len(shape) == 3 else "")


def fields(*values: tuple[int, int]) -> bytes:
    """(value, bits) from the least significant bit on, after the signature."""
    number = at = 0
    for value, bits in values:
        number |= value << at
        at += bits
    return b"\xff\x0a" + number.to_bytes(at // 8 + 40, "little")


SIZE = ((1, 1), (0, 5), (1, 3))  # 8x8


def test_all_default() -> None:
    info = read_header(fields(*SIZE, (1, 1)))
    assert (info.rows, info.columns, info.samples, info.bits, info.color) == (8, 8, 3, 8, "XYB")


@pytest.mark.parametrize(
    "values",
    [
        ((1, 1), (5, 3)),  # an orientation
        ((1, 1), (0, 3), (0, 1), (1, 1)),  # a preview
        ((1, 1), (0, 3), (1, 1), *SIZE, (0, 1), (1, 1)),  # an animation
        ((0, 1), (1, 1)),  # floating point
        ((0, 1), (0, 1), (0, 2), (1, 1), (1, 2)),  # an extra channel
    ],
)
def test_what_dicom_has_no_use_for(values: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(UnsupportedSyntaxError):
        read_header(fields(*SIZE, (0, 1), *values))


@pytest.mark.parametrize("stream", [b"", b"\xff", b"\xff\x0a", b"\xff\x0b" + bytes(30),
                                    b"\0\0\0\x0cJXL \r\n\x87\n", b"\0\0\0\x0cJXL \r\n\x87\n\0\0\0\4jxlc"])  # fmt: skip
def test_what_is_no_jpeg_xl(stream: bytes) -> None:
    with pytest.raises(InvalidDataSetError):
        read_header(stream)


def test_boxes_of_every_kind_of_length() -> None:
    codestream = fields(*SIZE, (1, 1))
    signature = b"\0\0\0\x0cJXL \r\n\x87\n"
    long = (16 + len(codestream)).to_bytes(8, "big")
    for box in (b"\0\0\0\0jxlc", b"\0\0\0\1jxlc" + long, (8 + len(codestream)).to_bytes(4, "big") + b"jxlc"):
        assert read_header(signature + box + codestream).rows == 8
    part = (8 + 4 + 10).to_bytes(4, "big") + b"jxlp\0\0\0\0" + codestream[:10]
    rest = (8 + 4 + len(codestream) - 10).to_bytes(4, "big") + b"jxlp\x80\0\0\1" + codestream[10:]
    assert read_header(signature + part + rest).complete
    assert read_header(signature + part + rest + b"\0").complete
    assert not read_header(signature + rest[:8] + b"\0\0\0\0" + codestream[:20]).complete
    assert not read_header(signature + part).complete
