"""Made images: each kind of samples that DICOM knows and codecs get wrong, with the description of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from dcmkit.pixels.codecs import available
from dcmkit.pixels.description import PixelDescription
from dcmkit.pixels.frames import Array, Decoded, Encoded

GREY, PALETTE = "MONOCHROME2", "PALETTE COLOR"


def waves(rows: int, columns: int, low: int, high: int, *, noise: float = 8.0) -> Array:
    """A smooth image of the whole range with some noise, as an acquisition has it."""
    random = np.random.default_rng(rows * 1000 + columns)
    y, x = np.mgrid[0:rows, 0:columns]
    image = (np.sin(x / 17) + np.cos(y / 23) + 2) / 4 * (high - low) + low
    return np.clip(np.rint(image + random.normal(0, noise, image.shape)), low, high)


def noise(shape: tuple[int, ...], low: int, high: int) -> Array:
    """Every value from `low` to `high`, at random."""
    return np.random.default_rng(sum(shape)).integers(low, high + 1, shape)


def described(
    samples: Array, stored: int, allocated: int = 16, *, signed: bool = False, color: str = GREY, **more: Any
) -> tuple[Array, PixelDescription]:
    """`samples` in the type of their description, and that."""
    description = PixelDescription(
        samples.shape[0], samples.shape[1], samples.shape[2] if samples.ndim == 3 else 1, color, allocated, stored,
        more.pop("high_bit", stored - 1), int(signed), **more,
    )  # fmt: skip
    return samples.astype(description.dtype), description


def made() -> dict[str, tuple[Array, PixelDescription]]:
    """By what is special about them."""
    extremes = np.tile(np.array([[-32768, 32767], [32767, -32768]]), (20, 25))
    return {
        "ct of 16 signed bits": described(waves(64, 48, -1024, 3071), 16, signed=True),
        "12 signed bits": described(waves(64, 48, -1024, 2047), 12, signed=True),
        "12 bits": described(waves(64, 48, 0, 4095), 12),
        "13 signed bits, monochrome 1": described(noise((33, 31), -4096, 4095), 13, signed=True, color="MONOCHROME1"),
        "16 bits, full range": described(noise((40, 50), 0, 65535), 16),
        "16 signed bits, full range": described(noise((40, 50), -32768, 32767), 16, signed=True),
        "extreme steps": described(extremes, 16, signed=True),
        "9 bits": described(noise((40, 34), 0, 511), 9),
        "8 bits": described(noise((41, 37), 0, 255), 8, 8),
        "8 signed bits": described(noise((41, 37), -128, 127), 8, 8, signed=True),
        "7 bits": described(noise((41, 37), 0, 127), 7, 8),
        "8 of 16 bits": described(noise((41, 37), 0, 255), 8),
        "5 signed of 16 bits": described(noise((41, 37), -16, 15), 5, signed=True),
        "overlay in unused bits": described(noise((41, 37), 0, 65535), 12),
        "overlay above signed samples": described(noise((41, 37), -32768, 32767), 12, signed=True),
        "samples in the high bits": described(noise((41, 37), 0, 4095) << 4, 12, high_bit=15),
        "5x7": described(noise((5, 7), 0, 4095), 12),
        "one row": described(noise((1, 40), 0, 4095), 12),
        "one column": described(noise((40, 1), 0, 4095), 12),
        "one pixel": described(noise((1, 1), 0, 4095), 12),
        "all zero": described(np.zeros((64, 64)), 16, signed=True),
        "rgb": described(np.stack([waves(41, 37, 0, 240)] * 3, -1) + noise((41, 37, 3), 0, 9), 8, 8, color="RGB"),
        "rgb noise": described(noise((40, 38, 3), 0, 255), 8, 8, color="RGB"),
        "ybr_full": described(noise((40, 38, 3), 0, 255), 8, 8, color="YBR_FULL"),
        "rgb of 16 bits": described(noise((40, 38, 3), 0, 65535), 16, color="RGB"),
        "palette": described(noise((40, 38), 0, 255), 8, 8, color=PALETTE),
        "palette of 16 bits": described(noise((40, 38), 0, 65535), 16, color=PALETTE),
        "24 of 32 bits": described(noise((40, 38), 0, (1 << 24) - 1), 24, 32),
        "20 signed of 32 bits": described(noise((40, 38), -(1 << 19), (1 << 19) - 1), 20, 32, signed=True),
        "32 bits": described(noise((40, 38), 0, (1 << 32) - 1), 32, 32),
        "one bit": described(noise((41, 37), 0, 1), 1, 1),
    }


IMAGES = made()


def after(description: PixelDescription, encoded: Encoded) -> PixelDescription:
    """What the data set says when the frame is written."""
    high_bit = description.high_bit
    if encoded.bits_stored != description.bits_stored:
        high_bit = encoded.bits_stored - 1
    return description._replace(
        photometric_interpretation=encoded.photometric_interpretation,
        bits_stored=encoded.bits_stored,
        high_bit=high_bit,
    )


def error(decoded: Decoded, array: Array) -> int:
    """The largest difference of a sample."""
    return int(np.abs(decoded.array.astype(np.int64) - array.astype(np.int64)).max())


def can_encode(uid: str) -> bool:
    """Whether this installation does: old versions of imagecodecs encode no HTJ2K."""
    return any(one.transfer_syntax_uid == uid and one.encoders for one in available())
