"""JPEG-LS: near-lossless within its bound and never around zero; old and new versions of the library."""

from __future__ import annotations

from typing import Any

import imagecodecs
import numpy as np
import pytest

from dcmkit.errors import InvalidDataSetError, UnsupportedSyntaxError
from dcmkit.pixels import jpegls, syntaxes
from dcmkit.pixels.codecs import EncodeOptions, decode_frame, encode_frame

from .images import IMAGES, after, described, error, noise, waves


@pytest.mark.parametrize("near", [0, 1, 2, 5, 20])
@pytest.mark.parametrize(
    "name", ["12 bits", "ct of 16 signed bits", "12 signed bits", "8 bits", "7 bits", "rgb", "16 bits, full range"]
)
def test_no_sample_is_further_off_than_near(name: str, near: int) -> None:
    array, description = IMAGES[name]
    encoded = encode_frame(array, syntaxes.JPEG_LS_NEAR, description, EncodeOptions(near=near))
    assert encoded.lossy == (near > 0)
    decoded = decode_frame(encoded.data, syntaxes.JPEG_LS_NEAR, after(description, encoded))
    assert error(decoded, array) <= near
    assert int(decoded.array.max()) < 1 << encoded.bits_stored


@pytest.mark.parametrize(
    ("low", "high", "fits"),
    [(-32768, 0, False), (0, 32767, False), (-32766, 32765, True), (-32767, 0, False), (0, 32766, False)],
)
def test_signed_samples_do_not_wrap_around(low: int, high: int, fits: bool) -> None:
    array, description = described(np.array([[low, high] * 8] * 8), 16, signed=True)
    if fits:
        encoded = encode_frame(array, syntaxes.JPEG_LS_NEAR, description, EncodeOptions(near=2))
        assert error(decode_frame(encoded.data, syntaxes.JPEG_LS_NEAR, description), array) <= 2
    else:
        with pytest.raises(UnsupportedSyntaxError, match="wrap around"):
            encode_frame(array, syntaxes.JPEG_LS_NEAR, description, EncodeOptions(near=2))
    assert not encode_frame(array, syntaxes.JPEG_LS, description, EncodeOptions(near=2)).lossy


def test_a_difference_larger_than_samples_have_room_for() -> None:
    array, description = IMAGES["8 bits"]
    with pytest.raises(UnsupportedSyntaxError, match="a difference of 200"):
        encode_frame(array, syntaxes.JPEG_LS_NEAR, description, EncodeOptions(near=200))


def test_noise_needs_more_room_than_old_versions_make() -> None:
    array, description = described(noise((300, 300), 0, 65535), 16)
    encoded = encode_frame(array, syntaxes.JPEG_LS, description)
    assert error(decode_frame(encoded.data, syntaxes.JPEG_LS, description), array) == 0


def test_versions_that_take_the_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    real = imagecodecs.jpegls_encode

    def newer(data: Any, level: int | None = None, *, bitspersample: int | None = None, out: Any = None) -> Any:
        given.update(bitspersample=bitspersample)
        return real(data, level, out=out)

    jpegls._has_precision.cache_clear()
    monkeypatch.setattr(imagecodecs, "jpegls_encode", newer)
    try:
        array, description = IMAGES["12 bits"]
        encode_frame(array, syntaxes.JPEG_LS, description, EncodeOptions(verify=False))
        assert given == {"bitspersample": 12}
    finally:
        jpegls._has_precision.cache_clear()


def test_components_in_planes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What decodes to planes is interleaved."""
    array, description = IMAGES["rgb"]
    encoded = encode_frame(array, syntaxes.JPEG_LS, description)
    monkeypatch.setattr(imagecodecs, "jpegls_decode", lambda _: np.ascontiguousarray(array.transpose(2, 0, 1)))
    assert error(decode_frame(encoded.data, syntaxes.JPEG_LS, description), array) == 0


def test_garbage_is_broken() -> None:
    array, description = described(waves(64, 64, 0, 255), 8, 8)
    data = encode_frame(array, syntaxes.JPEG_LS, description).data
    with pytest.raises(InvalidDataSetError):
        decode_frame(data[:200] + data[-2:], syntaxes.JPEG_LS, description)
    array, description = IMAGES["rgb"]
    subsampled = bytearray(encode_frame(array, syntaxes.JPEG_LS, description).data)
    subsampled[subsampled.index(b"\xff\xf7") + 11] = 0x22
    with pytest.raises(UnsupportedSyntaxError, match="differ in size"):
        decode_frame(bytes(subsampled), syntaxes.JPEG_LS, description)
