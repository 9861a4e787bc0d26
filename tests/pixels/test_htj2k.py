"""HTJ2K: exact precision in SIZ, RPCL, lossy without overflow, versions without OpenJPH."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest

from dcmkit.errors import InvalidDataSetError, UnsupportedSyntaxError
from dcmkit.pixels import htj2k, syntaxes
from dcmkit.pixels.codecs import EncodeOptions, available, decode_frame, encode_frame
from dcmkit.pixels.codestream import inspect
from dcmkit.pixels.description import PixelDescription

from .images import IMAGES, after, described, error, noise, waves

pytestmark = pytest.mark.skipif(not htj2k.has_openjph(), reason="this imagecodecs encodes no HTJ2K")


@pytest.mark.parametrize("bits", range(1, 17))
@pytest.mark.parametrize("signed", [False, True])
def test_the_precision_is_the_bits_stored(bits: int, signed: bool) -> None:
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    array, description = described(noise((33, 40), low, high), bits, signed=signed)
    encoded = encode_frame(array, syntaxes.HTJ2K_LOSSLESS, description)
    info = inspect(encoded.data, syntaxes.HTJ2K_LOSSLESS)
    assert (info.bits, info.signed, info.format) == (bits, signed, "HTJ2K")
    for library in ("imagecodecs", "pylibjpeg-openjpeg"):
        decoded = decode_frame(encoded.data, syntaxes.HTJ2K_LOSSLESS, description, library=library)
        assert error(decoded, array) == 0


@pytest.mark.parametrize("name", ["12 bits", "rgb", "ybr_full", "one pixel"])
def test_rpcl_has_its_order_and_lengths(name: str) -> None:
    array, description = IMAGES[name]
    data = encode_frame(array, syntaxes.HTJ2K_RPCL, description).data
    assert inspect(data, syntaxes.HTJ2K_RPCL).progression == 2
    assert b"\xff\x55" in data[:400]


@pytest.mark.parametrize(("edge", "decompositions"), [(1, 5), (64, 5), (2048, 5), (2049, 6), (8192, 7)])
def test_the_lowest_resolution_fits_into_64(edge: int, decompositions: int) -> None:
    assert htj2k._resolutions(PixelDescription(1, edge)) == decompositions


@pytest.mark.parametrize("name", ["8 bits", "rgb noise", "16 bits, full range", "16 signed bits, full range"])
def test_lossy_samples_at_the_ends_of_their_range_do_not_run_over(name: str) -> None:
    """OpenJPH does not clip what it decodes; 255 would become 0."""
    array, description = IMAGES[name]
    encoded = encode_frame(array, syntaxes.HTJ2K, description, EncodeOptions(quality=60))
    decoded = decode_frame(encoded.data, syntaxes.HTJ2K, after(description, encoded))
    assert error(decoded, array) < int(array.max()) // 4


@pytest.mark.parametrize("quality", [30, 60, 90])
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_quality_is_of_the_values_there_are(bits: int, quality: int) -> None:
    top = (1 << bits) - 1
    array, description = described(waves(256, 256, 0, top, noise=top / 200), bits)
    encoded = encode_frame(array, syntaxes.HTJ2K, description, EncodeOptions(quality=quality))
    decoded = decode_frame(encoded.data, syntaxes.HTJ2K, after(description, encoded)).array
    noise_power = max(1e-9, float(np.mean((decoded.astype(float) - array) ** 2)))
    assert 10 * np.log10(top**2 / noise_power) > 25.0 + 0.35 * quality - 5


def test_more_bits_than_other_decoders_read() -> None:
    with pytest.raises(UnsupportedSyntaxError, match="24 bits, where 16"):
        encode_frame(*_with_syntax("24 of 32 bits"))


def _with_syntax(name: str) -> tuple[np.ndarray, str, PixelDescription]:
    array, description = IMAGES[name]
    return array, syntaxes.HTJ2K_LOSSLESS, description


def test_versions_without_openjph(monkeypatch: pytest.MonkeyPatch) -> None:
    array, description = IMAGES["12 bits"]
    data = encode_frame(array, syntaxes.HTJ2K_LOSSLESS, description).data
    htj2k.has_openjph.cache_clear()
    monkeypatch.setattr(imagecodecs.HTJ2K, "available", False)
    try:
        assert error(decode_frame(data, syntaxes.HTJ2K_LOSSLESS, description), array) == 0
        with pytest.raises(UnsupportedSyntaxError, match="nothing here encodes"):
            encode_frame(array, syntaxes.HTJ2K_LOSSLESS, description)
        assert (syntaxes.HTJ2K, ("imagecodecs", "pylibjpeg-openjpeg"), ()) in available()
    finally:
        htj2k.has_openjph.cache_clear()


def test_a_codestream_without_high_throughput_coding_is_decoded() -> None:
    array, description = IMAGES["12 bits"]
    data = encode_frame(array, syntaxes.JPEG_2000_LOSSLESS, description).data
    assert error(decode_frame(data, syntaxes.HTJ2K_LOSSLESS, description), array) == 0


def test_garbage_is_broken() -> None:
    array, description = described(waves(64, 64, 0, 4095), 12)
    data = bytearray(encode_frame(array, syntaxes.HTJ2K_LOSSLESS, description).data)
    at = data.index(b"\xff\x5c")
    data[at + 2 : at + 4] = b"\0\3"
    with pytest.raises(InvalidDataSetError):
        decode_frame(bytes(data), syntaxes.HTJ2K_LOSSLESS, description)
