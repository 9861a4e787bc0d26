"""JPEG XL: lossless, recompression byte for byte, lossy with its own color space."""

from __future__ import annotations

import pytest

from dcmkit.errors import InvalidDataSetError, UnsupportedSyntaxError
from dcmkit.pixels import jpegxl, syntaxes
from dcmkit.pixels.codecs import EncodeOptions, decode_frame, encode_frame
from dcmkit.pixels.codestream import inspect

from .images import IMAGES, after, error


@pytest.mark.parametrize("name", ["8 bits", "rgb", "ybr_full", "7 bits"])
@pytest.mark.parametrize("subsampling", ["444", "422", "420", "rgb"])
def test_a_jpeg_comes_back_byte_for_byte(name: str, subsampling: str) -> None:
    array, description = IMAGES[name]
    encoded = encode_frame(array, syntaxes.JPEG_BASELINE, description, EncodeOptions(subsampling=subsampling))
    for baseline in (encoded.data, encoded.data + b"\0"):
        recompressed = jpegxl.recompress(baseline)
        assert jpegxl.restore_jpeg(recompressed) == baseline
        assert jpegxl.restore_jpeg(recompressed + b"\0") == baseline
    written = after(description, encoded)
    one = decode_frame(encoded.data, syntaxes.JPEG_BASELINE, written)
    other = decode_frame(recompressed, syntaxes.JPEG_XL_RECOMPRESSION, written)
    assert (one.array == other.array).all()
    assert one[1:] == other[1:]


def test_frames_become_a_jpeg_that_is_recompressed() -> None:
    array, description = IMAGES["rgb"]
    encoded = encode_frame(array, syntaxes.JPEG_XL_RECOMPRESSION, description)
    assert encoded.photometric_interpretation == "YBR_FULL_422"
    assert encoded.lossy
    assert jpegxl.restore_jpeg(encoded.data) == encode_frame(array, syntaxes.JPEG_BASELINE, description).data


@pytest.mark.parametrize("uid", [syntaxes.JPEG_LOSSLESS_SV1, syntaxes.JPEG_EXTENDED])
def test_what_is_not_recompressed(uid: str) -> None:
    data = encode_frame(*(IMAGES["12 bits"][0], uid, IMAGES["12 bits"][1])).data
    with pytest.raises(UnsupportedSyntaxError, match="lossy JPEG of 8 bits"):
        jpegxl.recompress(data)


def test_what_holds_no_jpeg() -> None:
    array, description = IMAGES["8 bits"]
    data = encode_frame(array, syntaxes.JPEG_XL_LOSSLESS, description).data
    for stream in (data, b"", data[:100]):
        with pytest.raises(InvalidDataSetError, match="no JPEG can be restored"):
            jpegxl.restore_jpeg(stream)
    with pytest.raises(InvalidDataSetError):
        jpegxl.recompress(b"")
    broken = encode_frame(array, syntaxes.JPEG_BASELINE, description).data.replace(b"\xff\xdb", b"\xff\xe5")
    with pytest.raises(UnsupportedSyntaxError):
        jpegxl.recompress(broken)


@pytest.mark.parametrize("name", ["rgb", "ybr_full"])
def test_lossy_color_is_xyb_and_comes_back_as_rgb(name: str) -> None:
    array, description = IMAGES[name]
    encoded = encode_frame(array, syntaxes.JPEG_XL, description, EncodeOptions(quality=95))
    assert encoded.photometric_interpretation == "XYB"
    assert inspect(encoded.data, syntaxes.JPEG_XL).color == "XYB"
    assert decode_frame(encoded.data, syntaxes.JPEG_XL, after(description, encoded)).photometric_interpretation == "RGB"


def test_lossy_signed_samples_are_refused() -> None:
    array, description = IMAGES["12 signed bits"]
    with pytest.raises(UnsupportedSyntaxError, match="no signed"):
        encode_frame(array, syntaxes.JPEG_XL, description)


@pytest.mark.parametrize("effort", [2, 3, 5])
def test_noise_of_many_bits_at_low_effort(effort: int) -> None:
    """At effort 1 libjxl before 0.12 writes beyond its buffer; 2 is the lowest there is."""
    array, description = IMAGES["16 bits, full range"]
    encoded = encode_frame(array, syntaxes.JPEG_XL_LOSSLESS, description, EncodeOptions(effort=effort))
    assert error(decode_frame(encoded.data, syntaxes.JPEG_XL_LOSSLESS, description), array) == 0


def test_qualities_as_distances() -> None:
    assert jpegxl.distance(90) == pytest.approx(1.0)
    assert jpegxl.distance(99) == pytest.approx(0.19)
    assert jpegxl.distance(100) == jpegxl.FINEST
    assert jpegxl.distance(29) == pytest.approx(jpegxl.distance(30), rel=0.1)
    distances = [jpegxl.distance(quality) for quality in range(1, 101)]
    assert distances == sorted(distances, reverse=True)


@pytest.mark.parametrize("uid", [syntaxes.JPEG_XL_LOSSLESS, syntaxes.JPEG_XL])
def test_cut_codestreams(uid: str) -> None:
    array, description = IMAGES["16 bits, full range"]
    encoded = encode_frame(array, uid, description)
    for end in (20, len(encoded.data) // 2, len(encoded.data) - 10):
        with pytest.raises(InvalidDataSetError):
            decode_frame(encoded.data[:end], uid, after(description, encoded))
