"""JPEG by libjpeg-turbo: lossy of 8 and 12 bits, lossless of 2 to 16 (PS3.5 8.2.1, ITU-T T.81)."""

from __future__ import annotations

from typing import Any

from dcmkit.errors import UnsupportedSyntaxError
from dcmkit.pixels import jpeg_lossless, syntaxes
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
    library,
    needed_precision,
    restored_samples,
    unsigned_samples,
)

_LOSSLESS, _LARGEST_CATEGORY = 3, 16
_DECODED = frozenset((0, 1, 2, _LOSSLESS))
"""Numbers of SOF markers: sequential, progressive and lossless, with Huffman coding."""


def decode(data: Bytes, syntax: str, description: PixelDescription, info: CodestreamInfo) -> Decoded:
    """Components as they are in the codestream, at full resolution; their color is told, not changed."""
    imagecodecs = library("imagecodecs")
    if info.process not in _DECODED:
        raise UnsupportedSyntaxError(f"hierarchical or arithmetic coding (SOF{info.process}) of JPEG")
    raw: dict[str, Any] = {"colorspace": "RGB", "outcolorspace": "RGB"} if info.samples == 3 else {}
    try:
        samples = imagecodecs.jpeg8_decode(data, **raw)
    except LIBRARY_ERRORS as error:
        without = _without_impossible_categories(data) if info.process == _LOSSLESS else None
        if without is None:
            raise broken(str(error)[:200]) from None
        try:
            samples = imagecodecs.jpeg8_decode(without, **raw)
        except LIBRARY_ERRORS as again:
            raise broken(str(again)[:200]) from None
    if samples.ndim > 2 and samples.shape[2] == 1:
        samples = samples[:, :, 0]
    interpretation, warnings = _color(description, info)
    bits = min(info.bits, description.bits_stored)
    array = restored_samples(samples, info.bits, description)
    return Decoded(array, interpretation, bits, description.signed, warnings)


def _without_impossible_categories(data: Bytes) -> bytes | None:
    """Lossless JPEG whose Huffman tables have codes for differences of more than 16 bits, which T.81 H.1.2.2 has not.

    Some encoders write tables of 256 entries that they use 17 of; libjpeg refuses them. Codes go by their order, so
    entries at the end can go; one before them keeps its place, for a code that no difference has.

    Returns:
        None where there are no such entries, or the header cannot be followed.
    """
    from struct import unpack_from

    changed = bytearray(data[:2])
    at, found = 2, False
    while at + 4 <= len(data):
        marker, length = unpack_from(">HH", data, at)
        if marker == 0xFFFF:
            changed, at = changed + b"\xff", at + 1
            continue
        body = bytes(data[at + 4 : at + 2 + length])
        if marker == 0xFFC4:
            tables = _possible_tables(body)
            found = found or tables != body
            body = tables
        changed += marker.to_bytes(2, "big") + (len(body) + 2).to_bytes(2, "big") + body
        at += 2 + length
        if marker == 0xFFDA:
            return bytes(changed + data[at:]) if found else None
    return None


def _possible_tables(body: bytes) -> bytes:
    """The tables of a DHT segment (T.81 B.2.4.2) with categories up to 16."""
    found, at = b"", 0
    while at + 17 <= len(body):
        counts = list(body[at + 1 : at + 17])
        categories = list(body[at + 17 : at + 17 + sum(counts)])
        if len(categories) < sum(counts):
            break
        for length in reversed(range(16)):
            while counts[length] and categories[-1] > _LARGEST_CATEGORY:
                counts[length] -= 1
                categories.pop()
            if counts[length]:
                break
        if not categories:  # none that can be: damaged
            return body
        found += bytes((body[at], *counts, *(min(one, _LARGEST_CATEGORY) for one in categories)))
        at += 17 + sum(body[at + 1 : at + 17])
    return found + body[at:]


def _color(description: PixelDescription, info: CodestreamInfo) -> tuple[str, tuple[str, ...]]:
    declared = color_after_lossless(description)
    if info.samples != 3 or info.process == _LOSSLESS:  # lossless JPEG transforms no color
        return declared, ()
    said = {"RGB": "RGB", "YBR": "YBR_FULL"}.get(info.color, declared)
    if said == declared:
        return declared, ()
    return said, (f"PhotometricInterpretation is {description.photometric_interpretation}, the codestream {said}",)


def encode_lossy(array: Array, syntax: str, description: PixelDescription, options: EncodeOptions) -> Encoded:
    """Baseline of 8 bits; extended of up to 12 bits in grey."""
    imagecodecs = library("imagecodecs")
    check_native_bits(description)
    _check_room(syntax, description)
    check_lossy(array, description)
    if description.bits_allocated == 8:
        return _encode_eight_bits(array, syntax, description, options)
    data = imagecodecs.jpeg8_encode(array, options.quality, bitspersample=12, lossless=False)
    return Encoded(bytes(data), description.photometric_interpretation, 12, True, syntaxes.METHODS[syntax])


def _check_room(syntax: str, description: PixelDescription) -> None:
    if description.signed:
        raise UnsupportedSyntaxError("lossy JPEG has no signed samples", hint="shift them, or choose another syntax")
    if description.bits_allocated == 8:
        return
    if syntax == syntaxes.JPEG_BASELINE:
        raise UnsupportedSyntaxError(f"JPEG Baseline has 8 bits, the image {description.bits_allocated} allocated",
                                     hint="JPEG Extended has 12 bits, lossless syntaxes all of them")  # fmt: skip
    if description.bits_allocated != 16 or description.bits_stored > 12 or description.samples_per_pixel > 1:
        raise UnsupportedSyntaxError("JPEG Extended has up to 12 bits in grey, 8 bits in color",
                                     hint="lossless syntaxes have 16 bits")  # fmt: skip


def _encode_eight_bits(array: Array, syntax: str, description: PixelDescription, options: EncodeOptions) -> Encoded:
    imagecodecs = library("imagecodecs")
    interpretation = color_after_lossless(description)
    kwargs: dict[str, Any] = {"bitspersample": 8, "lossless": False}
    if description.samples_per_pixel == 3:
        if interpretation not in ("RGB", "YBR_FULL"):
            raise UnsupportedSyntaxError(f"no way from {interpretation} to JPEG")
        source, target = ("RGB", "RGB" if options.subsampling == "rgb" else "YCbCr")
        if interpretation == "YBR_FULL":
            source = target = "YCbCr"
        subsampling = "444" if options.subsampling == "rgb" else options.subsampling
        kwargs.update(colorspace=source, outcolorspace=target, subsampling=subsampling)
        interpretation = "RGB" if target == "RGB" else "YBR_FULL" if subsampling == "444" else "YBR_FULL_422"
    elif description.samples_per_pixel != 1:
        raise UnsupportedSyntaxError(f"JPEG of {description.samples_per_pixel} samples per pixel")
    data = bytes(imagecodecs.jpeg8_encode(array, options.quality, **kwargs))
    return Encoded(data, interpretation, 8, True, syntaxes.METHODS[syntax])


def encode_lossless(array: Array, syntax: str, description: PixelDescription, options: EncodeOptions) -> Encoded:
    """Process 14; selection value 1 of the first-order prediction where the syntax wants that one."""
    imagecodecs = library("imagecodecs")
    precision = lossless_precision(array, description, "lossless JPEG")
    kwargs: dict[str, Any] = {}
    if description.samples_per_pixel == 3:
        kwargs = {"colorspace": "RGB", "outcolorspace": "RGB"}
    predictor = options.predictor if syntax == syntaxes.JPEG_LOSSLESS else 1
    samples = unsigned_samples(array, precision)
    data = imagecodecs.jpeg8_encode(samples, lossless=True, predictor=predictor, bitspersample=precision, **kwargs)
    return Encoded(bytes(data), color_after_lossless(description), description.bits_stored)


def encode_first_order(array: Array, syntax: str, description: PixelDescription, options: EncodeOptions) -> Encoded:
    """Selection value 1, in a quarter of the time."""
    precision = lossless_precision(array, description, "lossless JPEG")
    data = jpeg_lossless.encode(unsigned_samples(array, precision), precision)
    return Encoded(data, color_after_lossless(description), description.bits_stored)


def lossless_precision(array: Array, description: PixelDescription, name: str) -> int:
    """The precision to code with: 8 bits where fewer would do, since most readers know no other below 9.

    Raises:
        UnsupportedSyntaxError: more bits or samples than the syntax has room for.
    """
    check_native_bits(description)
    if description.bits_allocated not in (8, 16) or description.samples_per_pixel not in (1, 3):
        raise UnsupportedSyntaxError(
            f"{name} of {description.bits_allocated} bits allocated, {description.samples_per_pixel} samples per pixel",
            hint="uncompressed syntaxes and RLE have room for them",
        )
    return max(8, needed_precision(array, description))
