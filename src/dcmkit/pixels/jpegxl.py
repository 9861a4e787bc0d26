"""JPEG XL by libjxl (PS3.5 8.2.16, ISO/IEC 18181): lossless, recompressed JPEG, lossy."""

from __future__ import annotations

from typing import Any

from dcmkit.errors import UnsupportedSyntaxError
from dcmkit.pixels import codestream, jpeg, syntaxes
from dcmkit.pixels.codestream import Bytes, CodestreamInfo, broken
from dcmkit.pixels.description import PixelDescription
from dcmkit.pixels.frames import (
    LIBRARY_ERRORS,
    Array,
    Decoded,
    Encoded,
    EncodeOptions,
    check_lossy,
    color_after_lossless,
    library,
    restored_samples,
    shape_of,
    unsigned_samples,
)

FINEST = 0.01
"""The least distance libjxl knows beside none at all."""
SAFEST_EFFORT = 2
"""libjxl before 0.12 writes beyond its buffer at effort 1."""


def decode(data: Bytes, syntax: str, description: PixelDescription, info: CodestreamInfo) -> Decoded:
    """A codestream that holds a JPEG is decoded as that JPEG is."""
    if info.recompressed:
        restored = restore_jpeg(data)
        return jpeg.decode(restored, syntaxes.JPEG_BASELINE, description,
                           codestream.inspect(restored, syntaxes.JPEG_BASELINE))  # fmt: skip
    imagecodecs = library("imagecodecs")
    try:
        samples = imagecodecs.jpegxl_decode(data, numthreads=1)
    except LIBRARY_ERRORS as error:
        raise broken(str(error)[:200]) from None
    if samples.shape != shape_of(description):
        raise broken(f"samples in a shape of {samples.shape}")
    interpretation = "RGB" if info.color == "XYB" else color_after_lossless(description)
    bits = min(info.bits, description.bits_stored)
    return Decoded(restored_samples(samples, info.bits, description), interpretation, bits, description.signed)


def encode(array: Array, syntax: str, description: PixelDescription, options: EncodeOptions) -> Encoded:
    """Lossless or lossy; as JPEG recompression, the frame becomes a baseline JPEG first."""
    if syntax == syntaxes.JPEG_XL_RECOMPRESSION:
        baseline = jpeg.encode_lossy(array, syntaxes.JPEG_BASELINE, description, options)
        return baseline._replace(data=recompress(baseline.data))
    imagecodecs = library("imagecodecs")
    lossy = syntax == syntaxes.JPEG_XL
    precision = jpeg.lossless_precision(array, description, "JPEG XL")
    kwargs: dict[str, Any] = {"effort": max(SAFEST_EFFORT, options.effort), "numthreads": 1, "lossless": not lossy}
    interpretation = color_after_lossless(description)
    if lossy:
        _check_lossy(array, description)
        kwargs["distance"] = distance(options.quality)
        if interpretation.startswith("YBR_"):
            from dcmkit.pixels.colors import to_rgb

            array = to_rgb(array, interpretation, precision)
        interpretation = "XYB" if description.samples_per_pixel == 3 else interpretation
    try:
        data = imagecodecs.jpegxl_encode(unsigned_samples(array, precision), bitspersample=precision, **kwargs)
    except LIBRARY_ERRORS as error:
        raise UnsupportedSyntaxError(f"libjxl cannot encode this frame: {error}") from None
    bits_stored = precision if lossy else description.bits_stored
    return Encoded(bytes(data), interpretation, bits_stored, lossy, syntaxes.METHODS[syntax] if lossy else "")


def _check_lossy(array: Array, description: PixelDescription) -> None:
    check_lossy(array, description)
    if description.signed:
        raise UnsupportedSyntaxError("lossy JPEG XL has no signed samples",
                                     hint="shift them, or choose another syntax")  # fmt: skip


def distance(quality: int) -> float:
    """Butteraugli distance for a quality as JPEG counts it: 1.0, visually lossless, at 90; the finest at 100."""
    if quality == 100:
        return FINEST
    if quality >= 30:
        return 0.1 + 0.09 * (100 - quality)
    return 53 / 3000 * quality * quality - 23 / 20 * quality + 25


# --- JPEG recompression -------------------------------------------------------------------------------------------


def recompress(data: Bytes) -> bytes:
    """A JPEG of 8 bits, a fifth smaller; `restore_jpeg` gives back the same bytes.

    Raises:
        UnsupportedSyntaxError: lossless, 12 bits, or otherwise no JPEG that JPEG XL can hold.
    """
    info = codestream.inspect(data, syntaxes.JPEG_BASELINE)
    if info.process not in (0, 1, 2) or info.bits != 8:
        raise UnsupportedSyntaxError(f"JPEG XL recompresses lossy JPEG of 8 bits, this one has SOF{info.process} and "
                                     f"{info.bits} bits")  # fmt: skip
    imagecodecs = library("imagecodecs")
    try:
        return bytes(imagecodecs.jpegxl_encode_jpeg(data, usecontainer=True, numthreads=1))
    except LIBRARY_ERRORS as error:
        raise UnsupportedSyntaxError(f"libjxl cannot recompress this JPEG: {error}") from None


def restore_jpeg(data: Bytes) -> bytes:
    """The JPEG that was recompressed, byte for byte.

    Raises:
        InvalidDataSetError: there is none in it, or it is broken.
    """
    imagecodecs = library("imagecodecs")
    try:
        return bytes(imagecodecs.jpegxl_decode_jpeg(data))
    except LIBRARY_ERRORS as error:
        raise broken(f"no JPEG can be restored: {str(error)[:200]}") from None
