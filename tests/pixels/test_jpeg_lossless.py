"""Lossless JPEG as encoded here: decoded by the libraries to the same samples."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest

from dcmkit.pixels import codestream, jpeg_lossless, syntaxes

SHAPES = ((1, 1), (1, 7), (7, 1), (33, 65), (100, 100), (3, 3001), (40, 30, 3), (1, 1, 3))


def _images(shape: tuple[int, ...], precision: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(4)
    most = (1 << precision) - 1
    images = {
        "noise": random.integers(0, most, shape, endpoint=True),
        "faint": random.integers(0, 1, shape, endpoint=True),
        "dots": np.where(random.random(shape) < 0.01, most, 0),
        "black": np.zeros(shape),
        "white": np.full(shape, most),
        "steps": np.arange(int(np.prod(shape))).reshape(shape) % (most + 1),
    }
    return {name: image.astype("u1" if precision <= 8 else "u2") for name, image in images.items()}


def _decoded(data: bytes, shape: tuple[int, ...]) -> np.ndarray:
    color = {"colorspace": "RGB", "outcolorspace": "RGB"} if len(shape) > 2 else {}
    return imagecodecs.jpeg8_decode(data, **color).reshape(shape)


@pytest.mark.parametrize("precision", [2, 5, 8, 9, 12, 15, 16])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_comes_back(shape: tuple[int, ...], precision: int) -> None:
    for name, image in _images(shape, precision).items():
        data = jpeg_lossless.encode(image, precision)
        assert np.array_equal(_decoded(data, shape), image), name


@pytest.mark.parametrize("block", [1, 100, 1000])
def test_blocks_are_joined_bit_by_bit(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(jpeg_lossless, "_BLOCK", block)
    for shape in ((50, 31), (20, 10, 3)):
        for name, image in _images(shape, 12).items():
            assert np.array_equal(_decoded(jpeg_lossless.encode(image, 12), shape), image), name


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    image = _images((60, 41), 16)["noise"]
    whole = jpeg_lossless.encode(image, 16)
    monkeypatch.setattr(jpeg_lossless, "_BLOCK", 128)
    assert jpeg_lossless.encode(image, 16) == whole


def test_another_decoder_reads_it() -> None:
    for name, image in _images((64, 48), 16).items():
        assert np.array_equal(imagecodecs.ljpeg_decode(jpeg_lossless.encode(image, 16)), image), name


def test_is_what_the_syntax_wants() -> None:
    info = codestream.inspect(jpeg_lossless.encode(_images((33, 65), 12)["noise"], 12), syntaxes.JPEG_LOSSLESS_SV1)
    assert (info.process, info.predictor, info.bits, info.rows, info.columns) == (3, 1, 12, 33, 65)


def test_is_as_small_as_that_of_a_library() -> None:
    random = np.random.default_rng(4)
    image = (2000 + np.cumsum(random.normal(0, 20, (256, 256)), axis=1)).astype("u2")
    library = imagecodecs.jpeg8_encode(image, lossless=True, predictor=1, bitspersample=12)
    assert len(jpeg_lossless.encode(image, 12)) < 1.01 * len(library)


def test_codes_have_sixteen_bits_at_most() -> None:
    """Frequencies of Fibonacci make the deepest tree there is."""
    counts = [1, 1]
    while len(counts) < 17:
        counts.append(counts[-2] + counts[-1])
    codes = jpeg_lossless._codes(counts)
    assert sorted(one.symbol for one in codes) == list(range(17))
    assert max(one.length for one in codes) <= 16
    assert sum(2.0**-one.length for one in codes) < 1
    assert all(one.bits != (1 << one.length) - 1 for one in codes)
