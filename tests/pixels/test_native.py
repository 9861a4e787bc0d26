"""Native frames in every layout, deflated frames, RLE as PS3.5 has it."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcmkit.errors import InvalidDataSetError, UnsupportedSyntaxError
from dcmkit.pixels import native, syntaxes
from dcmkit.pixels.codecs import decode_frame, encode_frame
from dcmkit.pixels.codestream import inspect, rle_segments
from dcmkit.pixels.description import DOUBLE_FLOAT_PIXEL_DATA, FLOAT_PIXEL_DATA, PixelDescription

from .images import IMAGES, described, error, noise

RGB = IMAGES["rgb"]


def test_planes_are_interleaved() -> None:
    array, description = RGB
    planes = array.transpose(2, 0, 1).tobytes()
    decoded = decode_frame(planes, syntaxes.EXPLICIT, description._replace(planar_configuration=1))
    assert error(decoded, array) == 0
    assert decoded.array.flags.c_contiguous


def test_chroma_that_two_pixels_share() -> None:
    description = PixelDescription(2, 4, 3, "YBR_FULL_422", 8, 8, 7)
    decoded = decode_frame(bytes(range(16)), syntaxes.EXPLICIT, description)
    assert decoded.photometric_interpretation == "YBR_FULL"
    assert decoded.array[0].tolist() == [[0, 2, 3], [1, 2, 3], [4, 6, 7], [5, 6, 7]]
    whole = decode_frame(bytes(range(24)), syntaxes.EXPLICIT, description)
    assert whole.array[0, 1].tolist() == [3, 4, 5]
    assert "own chroma" in whole.warnings[0]
    with pytest.raises(UnsupportedSyntaxError, match="odd number of columns"):
        decode_frame(bytes(12), syntaxes.EXPLICIT, description._replace(columns=3))


def test_big_endian_samples_are_swapped() -> None:
    array, description = IMAGES["12 bits"]
    encoded = encode_frame(array, syntaxes.BIG_ENDIAN, description)
    assert encoded.data == array.astype(">u2").tobytes()
    decoded = decode_frame(encoded.data, syntaxes.BIG_ENDIAN, description)
    assert decoded.array.dtype == np.dtype("<u2")
    assert error(decoded, array) == 0


@pytest.mark.parametrize(("element", "bits"), [(FLOAT_PIXEL_DATA, 32), (DOUBLE_FLOAT_PIXEL_DATA, 64)])
def test_floating_point_is_native_or_refused(element: int, bits: int) -> None:
    description = PixelDescription(7, 5, bits_allocated=bits, bits_stored=bits, high_bit=bits - 1, element=element)
    array = np.random.default_rng(1).normal(size=(7, 5)).astype(description.dtype)
    for uid in sorted(syntaxes.NATIVE):
        encoded = encode_frame(array, uid, description)
        assert np.array_equal(decode_frame(encoded.data, uid, description).array, array)
    for uid in (syntaxes.RLE, syntaxes.JPEG_LS, syntaxes.JPEG_2000_LOSSLESS, syntaxes.HTJ2K, syntaxes.DEFLATED_FRAME,
                syntaxes.ENCAPSULATED_UNCOMPRESSED, syntaxes.JPEG_XL, syntaxes.JPEG_BASELINE):  # fmt: skip
        with pytest.raises(UnsupportedSyntaxError):
            encode_frame(array, uid, description)


def test_one_bit_samples_begin_at_the_least_significant() -> None:
    description = PixelDescription(2, 5, bits_allocated=1, bits_stored=1, high_bit=0)
    decoded = decode_frame(bytes((0b01101, 0b11)), syntaxes.EXPLICIT, description)
    assert decoded.array.tolist() == [[1, 0, 1, 1, 0], [0, 0, 0, 1, 1]]


@pytest.mark.parametrize("name", ["12 bits", "one bit", "rgb"])
def test_native_frames_that_are_too_short(name: str) -> None:
    array, description = IMAGES[name]
    data = encode_frame(array, syntaxes.EXPLICIT, description).data
    with pytest.raises(InvalidDataSetError, match="truncated"):
        decode_frame(data[:-1], syntaxes.EXPLICIT, description)


# --- deflated -----------------------------------------------------------------------------------------------------


def test_deflated_frames_have_no_header() -> None:
    array, description = IMAGES["12 bits"]
    encoded = encode_frame(array, syntaxes.DEFLATED_FRAME, description)
    assert zlib.decompress(encoded.data, -15) == array.tobytes()


def test_deflated_without_libdeflate(monkeypatch: pytest.MonkeyPatch) -> None:
    import imagecodecs

    monkeypatch.setattr(imagecodecs.DEFLATE, "available", False)
    assert zlib.decompress(native.deflate(b"abc" * 100), -15) == b"abc" * 100


@pytest.mark.parametrize("libdeflate", [True, False])
@pytest.mark.parametrize("length", [0, 1, 6143, 6145, 6146, 1 << 20])
def test_a_deflated_frame_of_another_length(length: int, libdeflate: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    import imagecodecs

    monkeypatch.setattr(imagecodecs.DEFLATE, "available", libdeflate)
    array, description = IMAGES["12 bits"]
    right = encode_frame(array, syntaxes.DEFLATED_FRAME, description).data
    assert error(decode_frame(right, syntaxes.DEFLATED_FRAME, description), array) == 0
    with pytest.raises(InvalidDataSetError):
        decode_frame(b"\xff" * 20, syntaxes.DEFLATED_FRAME, description)
    with pytest.raises(InvalidDataSetError):
        decode_frame(native.deflate(bytes(length)), syntaxes.DEFLATED_FRAME, IMAGES["12 bits"][1])


# --- RLE ----------------------------------------------------------------------------------------------------------


def unpacked(segment: bytes) -> list[bytes]:
    """The runs of a segment (PS3.5 G.3.2)."""
    runs, at = [], 0
    while at < len(segment):
        head = segment[at]
        if head == 128:
            at += 1
        elif head < 128:
            runs.append(segment[at + 1 : at + 2 + head])
            at += 2 + head
        else:
            runs.append(segment[at + 1 : at + 2] * (257 - head))
            at += 2
    return runs


@pytest.mark.parametrize("name", ["12 bits", "rgb of 16 bits", "all zero", "one column", "24 of 32 bits"])
def test_rle_is_as_the_standard_has_it(name: str) -> None:
    """Planes from the most significant byte on, even segments, no run across rows."""
    array, description = IMAGES[name]
    data = encode_frame(array, syntaxes.RLE, description).data
    size = array.itemsize
    segments = rle_segments(data)
    assert len(segments) == size * description.samples_per_pixel
    octets = array.view(np.uint8).reshape(description.rows, description.columns, -1)
    for number, segment in enumerate(segments):
        assert len(segment) % 2 == 0
        sample, byte = number // size, size - 1 - number % size
        at, plane = 0, octets[:, :, sample * size + byte].tobytes()
        for run in unpacked(bytes(segment)):
            if at == len(plane):
                break  # the padding
            assert at // description.columns == (at + len(run) - 1) // description.columns
            assert plane[at : at + len(run)] == run
            at += len(run)
        assert at == len(plane)


def test_more_segments_than_a_header_has_room_for() -> None:
    array, description = described(noise((5, 5, 4), 0, 9), 32, 32, color="CMYK")
    with pytest.raises(UnsupportedSyntaxError, match="no room"):
        encode_frame(array, syntaxes.RLE, description)


def test_one_bit_rle_is_packed_bits() -> None:
    description = PixelDescription(2, 8, bits_allocated=1, bits_stored=1, high_bit=0)
    data = struct.pack("<16I", 1, 64, *[0] * 14) + b"\x80\xff\x0f\0"
    assert decode_frame(data, syntaxes.RLE, description).array.tolist() == [[1, 1, 1, 1, 0, 0, 0, 0]] * 2
    with pytest.raises(InvalidDataSetError, match="1 bytes of 2"):
        decode_frame(data[:64] + b"\0\1", syntaxes.RLE, description)


@pytest.mark.parametrize("library", ["imagecodecs", "pylibjpeg-rle"])
@pytest.mark.parametrize("cut", [100, 500, 2000])
def test_a_cut_segment_is_an_error(library: str, cut: int) -> None:
    array, description = IMAGES["16 bits, full range"]
    data = encode_frame(array, syntaxes.RLE, description).data
    with pytest.raises(InvalidDataSetError):
        decode_frame(data[:-cut], syntaxes.RLE, description, library=library)


@given(st.integers(1, 12), st.integers(1, 300), st.sampled_from([8, 16, 32]), st.randoms(use_true_random=False))
def test_rle_round_trip(rows: int, columns: int, bits: int, random: object) -> None:
    values = np.random.default_rng(random.randrange(1 << 32)).integers(0, 3, (rows, columns))  # type: ignore[attr-defined]
    array, description = described(values, bits, bits)
    encoded = encode_frame(array, syntaxes.RLE, description)
    assert inspect(encoded.data, syntaxes.RLE).segments == bits // 8
    assert np.array_equal(decode_frame(encoded.data, syntaxes.RLE, description).array, array)
