"""JPEG 2000 by OpenJPEG (PS3.5 8.2.4): reversible, irreversible, with the color transforms RCT and ICT, in tiles."""

from __future__ import annotations

import math
import threading
from typing import Any

from dcmkit.errors import UnsupportedSyntaxError, UsageError
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
    check_native_bits,
    color_after_lossless,
    in_smallest_type,
    library,
    needed_precision,
    restored_samples,
    shape_of,
)

MAXIMUM_BITS = 24
"""What OpenJPEG codes exactly, in 32-bit arithmetic."""

_plugin_lock = threading.Lock()
"""pylibjpeg-openjpeg's encoder keeps Python objects in static variables while others run."""


def decode(data: Bytes, syntax: str, description: PixelDescription, info: CodestreamInfo) -> Decoded:
    """With imagecodecs' OpenJPEG."""
    imagecodecs = library("imagecodecs")
    check_decodable(info)
    try:
        samples = imagecodecs.jpeg2k_decode(data[info.start :], verbose=0)
    except LIBRARY_ERRORS as error:
        raise broken(str(error)[:200]) from None
    return decoded(samples, description, info)


def decode_plugin(data: Bytes, syntax: str, description: PixelDescription, info: CodestreamInfo) -> Decoded:
    """With pylibjpeg's OpenJPEG."""
    openjpeg = library("openjpeg.utils")
    check_decodable(info)
    try:
        samples = openjpeg.decode(bytes(data[info.start :]), j2k_format=0)
    except LIBRARY_ERRORS as error:
        raise broken(str(error)[:200]) from None
    return decoded(samples, description, info)


def check_decodable(info: CodestreamInfo) -> None:
    """Refuse what the libraries would give in another shape."""
    if info.subsampled:
        raise UnsupportedSyntaxError("JPEG 2000 whose components differ in size")


def decoded(samples: Array, description: PixelDescription, info: CodestreamInfo) -> Decoded:
    """Samples as the codestream has them, their color and sign told."""
    if samples.shape != shape_of(description):
        raise broken(f"samples in a shape of {samples.shape}")
    interpretation, warnings = color_of(description, info)
    bits = min(info.bits, description.bits_stored)
    array = restored_samples(samples, info.bits, description)
    return Decoded(array, interpretation, bits, description.signed, warnings)


def color_of(description: PixelDescription, info: CodestreamInfo) -> tuple[str, tuple[str, ...]]:
    """The library has undone RCT or ICT: what is left is RGB."""
    declared = description.photometric_interpretation
    if info.samples != 3:
        return color_after_lossless(description), ()
    if info.color:
        if declared in ("RGB", "YBR_RCT", "YBR_ICT"):
            return "RGB", ()
        return "RGB", (f"PhotometricInterpretation is {declared}, the codestream has RGB in YBR_{info.color}",)
    if declared in ("YBR_RCT", "YBR_ICT"):
        return "RGB", (f"PhotometricInterpretation is {declared}, the codestream has no color transform",)
    return color_after_lossless(description), ()


# --- encoding -----------------------------------------------------------------------------------------------------


def encode(array: Array, syntax: str, description: PixelDescription, options: EncodeOptions) -> Encoded:
    """Lossless, or to a quality, a ratio or a signal-to-noise ratio."""
    imagecodecs = library("imagecodecs")
    precision = precision_for(array, description, MAXIMUM_BITS)
    lossy = syntax not in syntaxes.LOSSLESS
    if lossy:
        check_lossy(array, description)
    array = in_smallest_type(array, precision)
    transform = transforms_color(description)
    kwargs: dict[str, Any] = {"codecformat": "J2K", "bitspersample": precision, "mct": transform}
    if not lossy:
        if options.layers > 1:
            raise UsageError("quality layers are for lossy JPEG 2000")
        kwargs["reversible"] = True
    elif options.ratio or options.layers > 1:
        return encode_plugin(array, syntax, description, options)
    else:
        kwargs.update(reversible=False, level=absolute_psnr(array, precision, options))
    try:
        if options.tile and options.tile < max(array.shape[:2]):
            from dcmkit.pixels.jpeg2000_tiles import encode_tiles

            data = encode_tiles(array, options.tile, kwargs)
        else:
            data = bytes(imagecodecs.jpeg2k_encode(array, **kwargs))
    except LIBRARY_ERRORS as error:
        raise UnsupportedSyntaxError(f"OpenJPEG cannot encode this frame: {error}") from None
    return encoded(data, syntax, description, lossy=lossy)


def encode_plugin(array: Array, syntax: str, description: PixelDescription, options: EncodeOptions) -> Encoded:
    """With pylibjpeg-openjpeg: compression ratios and quality layers."""
    try:
        openjpeg = library("openjpeg.utils")
    except ImportError:
        raise UnsupportedSyntaxError("a ratio and quality layers need pylibjpeg-openjpeg") from None
    if options.tile:
        raise UsageError("a ratio or quality layers and tiles at the same time")
    precision = precision_for(array, description, MAXIMUM_BITS)
    lossy = syntax not in syntaxes.LOSSLESS
    if lossy:
        check_lossy(array, description)
    array = in_smallest_type(array, precision)
    kwargs: dict[str, Any] = {}
    steps = [2.0**i for i in reversed(range(options.layers))]
    if lossy and options.ratio:
        kwargs["compression_ratios"] = [max(1.0, options.ratio) * step for step in steps]
    elif lossy:
        best = absolute_psnr(array, precision, options)
        kwargs["signal_noise_ratios"] = [max(1.0, best - 6.0 * i) for i in reversed(range(options.layers))]
    color = 1 if transforms_color(description) else 0
    try:
        with _plugin_lock:
            data = openjpeg.encode_array(array, bits_stored=precision, photometric_interpretation=color,
                                               use_mct=bool(color), **kwargs)  # fmt: skip
    except LIBRARY_ERRORS as error:
        raise UnsupportedSyntaxError(f"pylibjpeg-openjpeg cannot encode this frame: {error}",
                                     hint="it wants 32 rows and columns at least") from None  # fmt: skip
    return encoded(bytes(data), syntax, description, lossy=lossy)


def encoded(data: bytes, syntax: str, description: PixelDescription, *, lossy: bool) -> Encoded:
    """With the photometric interpretation that the transform asks for (PS3.5 8.2.4)."""
    interpretation = color_after_lossless(description)
    if transforms_color(description):
        interpretation = "YBR_ICT" if lossy else "YBR_RCT"
    return Encoded(data, interpretation, description.bits_stored, lossy, syntaxes.METHODS[syntax] if lossy else "")


def transforms_color(description: PixelDescription) -> bool:
    """RGB is decorrelated: half the size, half the time."""
    return description.samples_per_pixel == 3 and color_after_lossless(description) == "RGB"


def precision_for(array: Array, description: PixelDescription, maximum: int) -> int:
    """The bits to code with.

    Raises:
        UnsupportedSyntaxError: more than the library codes exactly.
    """
    check_native_bits(description)
    if description.samples_per_pixel not in (1, 3):
        raise UnsupportedSyntaxError(f"JPEG 2000 of {description.samples_per_pixel} samples per pixel")
    precision = needed_precision(array, description)
    if precision > maximum:
        raise UnsupportedSyntaxError(f"samples of {precision} bits, where {maximum} can be coded",
                                     hint="uncompressed syntaxes and RLE have room for them")  # fmt: skip
    return precision


def target_psnr(options: EncodeOptions) -> float:
    """The signal-to-noise ratio meant, against the range of values that the frame has."""
    return options.psnr or 25.0 + 0.35 * options.quality


def absolute_psnr(array: Array, precision: int, options: EncodeOptions) -> float:
    """The same against 2^precision, as the library counts: a CT fills a sixteenth of its 16 bits."""
    extent = max(1, int(array.max()) - int(array.min()))
    return target_psnr(options) + 20 * math.log10(((1 << precision) - 1) / extent)
