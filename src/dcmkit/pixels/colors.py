"""Colour pictures: luminance and chrominance to red, green and blue (PS3.3 C.7.6.3.1.2), ICC profiles to sRGB."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from dcmkit.errors import InvalidDataSetError, UnsupportedSyntaxError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

_FULL = (1.0, 0.0, 1.402, -0.344136, -0.714136, 1.772)
"""Gain and zero of luminance, red of Cr, green of Cb and Cr, blue of Cb."""
_PARTIAL = (255 / 219, 16.0, 1.402 * 255 / 224, -0.344136 * 255 / 224, -0.714136 * 255 / 224, 1.772 * 255 / 224)
_FULL_RANGE = frozenset({"YBR_FULL", "YBR_FULL_422"})
_PARTIAL_RANGE = frozenset({"YBR_PARTIAL_420", "YBR_PARTIAL_422", "YBR_PARTIAL"})


def to_rgb(samples: Array, interpretation: str, bits: int) -> Array:
    """Samples of three for each pixel as red, green and blue, in the same range.

    Args:
        samples: shape (rows, columns, 3), unsigned.
        interpretation: Photometric Interpretation.
        bits: of a sample.

    Raises:
        UnsupportedSyntaxError: the colour space is one of those the standard has retired.
    """
    if interpretation in ("RGB", "YBR_RCT", "YBR_ICT", "XYB"):  # the last three are undone by their decoders
        return samples
    if interpretation not in _FULL_RANGE | _PARTIAL_RANGE:
        raise UnsupportedSyntaxError(f"images of photometric interpretation {interpretation!r} cannot be rendered")
    kind = _FULL if interpretation in _FULL_RANGE else _PARTIAL
    if samples.dtype == np.uint8 and bits == 8:
        return _rgb_of_bytes(samples, kind)
    return _rgb_of_any(samples, kind, bits)


@lru_cache(maxsize=2)
def _tables(kind: tuple[float, ...]) -> tuple[Array, ...]:
    """What each value of a sample adds, in 64ths."""
    gain, zero, *factors = kind
    values = np.arange(256)
    luminance = np.rint((values - zero) * gain * 64).astype(np.int16) + np.int16(32)
    return (luminance, *(np.rint((values - 128) * factor * 64).astype(np.int16) for factor in factors))


def _rgb_of_bytes(samples: Array, kind: tuple[float, ...]) -> Array:
    luminance, red, green_blue, green_red, blue = _tables(kind)
    y, b, r = luminance.take(samples[..., 0]), samples[..., 1], samples[..., 2]
    out = np.empty(samples.shape, np.uint8)
    for channel, added in enumerate((red.take(r), green_blue.take(b) + green_red.take(r), blue.take(b))):
        added += y
        added >>= 6
        out[..., channel] = np.clip(added, 0, 255, out=added)
    return out


def _rgb_of_any(samples: Array, kind: tuple[float, ...], bits: int) -> Array:
    gain, zero, red, green_blue, green_red, blue = kind
    unit = (1 << bits) / 256
    y = (samples[..., 0] - zero * unit) * gain
    b, r = samples[..., 1] - 128 * unit, samples[..., 2] - 128 * unit
    rgb = np.stack([y + red * r, y + green_blue * b + green_red * r, y + blue * b], axis=-1)
    return np.clip(rgb + 0.5, 0, (1 << bits) - 1).astype(samples.dtype)


def with_depth(samples: Array, bits: int, depth: int) -> Array:
    """Samples of `bits` bits in the full range of `depth` bits, 8 or 16."""
    dtype: Any = np.uint8 if depth == 8 else np.uint16
    if bits == depth:
        return samples.astype(dtype, copy=False)
    top, wanted = (1 << bits) - 1, (1 << depth) - 1
    if bits <= 16:
        table = ((np.arange(top + 1, dtype=np.uint64) * wanted * 2 + top) // (2 * top)).astype(dtype)
        return table.take(samples, mode="clip")
    return (samples.astype(np.float64) * (wanted / top) + 0.5).clip(0, wanted).astype(dtype)


def to_srgb(picture: Array, profile: bytes) -> Array:
    """Colours as an ICC profile means them, in sRGB.

    Raises:
        InvalidDataSetError: the profile is damaged, or not for red, green and blue.
        UnsupportedSyntaxError: this installation has no colour management.
    """
    import imagecodecs

    if not imagecodecs.CMS.available:
        raise UnsupportedSyntaxError("ICC profiles cannot be applied: imagecodecs was built without lcms2")
    try:
        srgb = imagecodecs.cms_profile("srgb")
        found = imagecodecs.cms_transform(
            np.ascontiguousarray(picture), profile, srgb, colorspace="rgb", outcolorspace="rgb"
        )
    except (RuntimeError, ValueError, TypeError) as error:
        raise InvalidDataSetError(f"the ICC profile cannot be used: {error}", offending_element=0x00282000) from None
    return np.asarray(found)
