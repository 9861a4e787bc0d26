"""JPEG-LS by CharLS: lossless and near-lossless (PS3.5 8.2.3, ITU-T T.87)."""

from __future__ import annotations

from functools import cache
from typing import Any

from dcmkit.errors import UnsupportedSyntaxError
from dcmkit.pixels import syntaxes
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
from dcmkit.pixels.jpeg import lossless_precision


def decode(data: Bytes, syntax: str, description: PixelDescription, info: CodestreamInfo) -> Decoded:
    """Components as they are; JPEG-LS transforms no color."""
    import numpy as np

    imagecodecs = library("imagecodecs")
    if info.subsampled:
        raise UnsupportedSyntaxError("JPEG-LS whose components differ in size")
    try:
        samples = imagecodecs.jpegls_decode(data)
    except LIBRARY_ERRORS as error:
        raise broken(str(error)[:200]) from None
    shape = shape_of(description)
    if samples.shape != shape and samples.ndim == 3 and samples.shape[0] == shape[-1]:
        samples = np.ascontiguousarray(samples.transpose(1, 2, 0))
    array = restored_samples(samples, info.bits, description)
    bits = min(info.bits, description.bits_stored)
    return Decoded(array, color_after_lossless(description), bits, description.signed)


@cache
def _has_precision() -> bool:
    """Whether this imagecodecs takes the precision; older ones know 8 and 16 bits."""
    import inspect

    imagecodecs = library("imagecodecs")
    return "bitspersample" in inspect.signature(imagecodecs.jpegls_encode).parameters


def encode(array: Array, syntax: str, description: PixelDescription, options: EncodeOptions) -> Encoded:
    """Lossless; near-lossless where the syntax allows it, unless samples could wrap around zero or run over."""
    imagecodecs = library("imagecodecs")
    precision = lossless_precision(array, description, "JPEG-LS")
    if description.bits_allocated > 8:  # DCMTK wants samples of two bytes where two are allocated
        precision = max(9, precision)
    near = options.near if syntax == syntaxes.JPEG_LS_NEAR else 0
    if near and description.signed:  # the ends of the range are then far off, in this frame and in the next
        precision = description.bits_allocated
    kwargs: dict[str, Any] = {}
    if _has_precision():
        kwargs["bitspersample"] = precision
    elif precision > 8:
        precision = 16
    bits_stored = description.bits_stored
    if near:
        _check_near(array, description, near, precision)
        bits_stored = precision
    samples = unsigned_samples(array, precision)
    try:
        data = imagecodecs.jpegls_encode(samples, near, **kwargs)
    except RuntimeError:  # versions before 2026.10 make too little room for noise
        data = imagecodecs.jpegls_encode(samples, near, out=2 * samples.nbytes + 4096, **kwargs)
    lossy = near > 0
    return Encoded(bytes(data), color_after_lossless(description), bits_stored, lossy,
                   syntaxes.METHODS[syntax] if lossy else "")  # fmt: skip


def _check_near(array: Array, description: PixelDescription, near: int, precision: int) -> None:
    """A signed sample at the end of its range would come back at the other one."""
    check_lossy(array, description)
    if near > min(255, ((1 << precision) - 1) // 2):
        raise UnsupportedSyntaxError(f"a difference of {near} in samples of {precision} bits")
    if not description.signed:
        return
    limit = 1 << (precision - 1)
    if int(array.min()) < near - limit or int(array.max()) > limit - 1 - near:
        raise UnsupportedSyntaxError(
            f"signed samples within {near} of the ends of {precision} bits wrap around in near-lossless JPEG-LS",
            hint="choose JPEG-LS lossless, or shift the samples",
        )
