"""High-throughput JPEG 2000 by OpenJPH (PS3.5 8.2.14, ITU-T T.814): lossless, in RPCL order, lossy."""

from __future__ import annotations

import math
import struct
from functools import cache
from typing import Any

from dcmkit.errors import UnsupportedSyntaxError
from dcmkit.pixels import jpeg2000, syntaxes
from dcmkit.pixels.codestream import Bytes, CodestreamInfo, broken
from dcmkit.pixels.description import PixelDescription
from dcmkit.pixels.frames import LIBRARY_ERRORS, Array, Decoded, Encoded, EncodeOptions, check_lossy, library

MAXIMUM_BITS = 16
"""OpenJPH codes more; no other decoder reads it."""
_STEP_TO_ERROR = 0.45
"""Root mean square error of 9-7 coding over its quantization step, both relative to the range of samples; measured."""
_SMALLEST_RESOLUTION = 64
"""What RPCL wants: the lowest resolution fits into 64 by 64 (PS3.5 8.2.14)."""


@cache
def has_openjph() -> bool:
    """Whether imagecodecs has it, which alone encodes: its OpenJPEG reads HTJ2K too, at half the speed."""
    try:
        return bool(library("imagecodecs").HTJ2K.available)
    except AttributeError:
        return False


def decode(data: Bytes, syntax: str, description: PixelDescription, info: CodestreamInfo) -> Decoded:
    """Reversible codestreams by OpenJPH. It does not clip irreversible ones to their range, so OpenJPEG has those."""
    if info.format != "HTJ2K" or info.lossless is False or not has_openjph():
        return jpeg2000.decode(data, syntax, description, info)
    imagecodecs = library("imagecodecs")
    jpeg2000.check_decodable(info)
    try:
        samples = imagecodecs.htj2k_decode(data[info.start :], planar=False)
    except LIBRARY_ERRORS as error:
        raise broken(str(error)[:200]) from None
    return jpeg2000.decoded(samples, description, info)


def encode(array: Array, syntax: str, description: PixelDescription, options: EncodeOptions) -> Encoded:
    """Progression RPCL with tile-part lengths where the syntax asks for it; the order is the same in all."""
    import numpy as np

    imagecodecs = library("imagecodecs")
    precision = jpeg2000.precision_for(array, description, MAXIMUM_BITS)
    lossy = syntax not in syntaxes.LOSSLESS
    transform = jpeg2000.transforms_color(description)
    kwargs: dict[str, Any] = {"rgb": transform, "resolutions": _resolutions(description), "reversible": not lossy}
    if syntax == syntaxes.HTJ2K_RPCL:
        kwargs["tlm"] = True
    if options.tile and options.tile < max(array.shape[:2]):
        kwargs["tile"] = (options.tile, options.tile)
    if lossy:
        check_lossy(array, description)
        kwargs["level"] = _step(array, precision, options)
    samples = _level_shifted(array, precision, lossy=lossy)
    if samples.ndim == 3 and not transform:
        samples = np.ascontiguousarray(samples.transpose(2, 0, 1))
        kwargs["planar"] = True
    try:
        data = bytes(imagecodecs.htj2k_encode(samples, **kwargs))
    except LIBRARY_ERRORS as error:
        raise UnsupportedSyntaxError(f"OpenJPH cannot encode this frame: {error}") from None
    return jpeg2000.encoded(_with_precision(data, precision, signed=description.signed), syntax, description,
                            lossy=lossy)  # fmt: skip


def _resolutions(description: PixelDescription) -> int:
    """Decompositions."""
    longest = max(description.rows, description.columns)
    return max(5, math.ceil(math.log2(longest / _SMALLEST_RESOLUTION))) if longest > _SMALLEST_RESOLUTION else 5


def _step(array: Array, precision: int, options: EncodeOptions) -> float:
    """The quantization step that gives about the signal-to-noise ratio asked for."""
    noise: float = 10 ** (-jpeg2000.absolute_psnr(array, precision, options) / 20)
    return min(0.5, max(1e-6, noise / _STEP_TO_ERROR))


def _level_shifted(array: Array, precision: int, *, lossy: bool) -> Array:
    """Signed samples around zero; irreversible coding counts in the range of their type, so they fill it.

    OpenJPH takes the precision from the type of the samples and shifts unsigned ones by half of it (T.800 G.1). Done
    here, only SIZ has to be told which precision it was.
    """
    import numpy as np

    kind = np.dtype("i1" if precision <= 8 else "<i2")
    wide = array.astype(np.int32)
    if array.dtype.kind == "u":
        wide -= 1 << (precision - 1)
    if lossy:
        wide <<= 8 * kind.itemsize - precision
    return wide.astype(kind)


def _with_precision(data: bytes, precision: int, *, signed: bool) -> bytes:
    """`data` with Ssiz of all components as given (T.800 A.5.1)."""
    out = bytearray(data)
    (count,) = struct.unpack_from(">H", out, 40)
    out[42 : 42 + 3 * count : 3] = bytes((precision - 1 | 0x80 * signed,)) * count
    return bytes(out)
