"""Frames as they are (PS3.5 8.1, Annex D), deflated one by one (PS3.5 A.4.11), and run length encoded (Annex G)."""

from __future__ import annotations

import struct
import zlib

from dcmkit.dataset.recode import swapped
from dcmkit.errors import InvalidDataSetError, UnsupportedSyntaxError
from dcmkit.pixels import syntaxes
from dcmkit.pixels.codestream import RLE_HEADER, Bytes, CodestreamInfo, broken, rle_segments
from dcmkit.pixels.description import PIXEL_DATA, PixelDescription
from dcmkit.pixels.frames import (
    LIBRARY_ERRORS,
    Array,
    Decoded,
    Encoded,
    EncodeOptions,
    check_native_bits,
    color_after_lossless,
    library,
    shape_of,
)


def decode_native(data: Bytes, syntax: str, description: PixelDescription, _info: object = None) -> Decoded:
    """Uncompressed samples. 8-bit big endian words have been swapped already, where the value was OW."""
    import numpy as np

    if description.bits_allocated == 1:
        return _decode_bits(data, description)
    dtype = np.dtype(description.dtype)
    if syntax == syntaxes.BIG_ENDIAN and description.word_bytes > 1:
        data = swapped(data, description.word_bytes)
    warnings: list[str] = []
    interpretation = description.photometric_interpretation
    count = description.rows * description.columns * description.samples_per_pixel
    halved = description.rows * description.columns * 2
    if interpretation.endswith("_422") and description.samples_per_pixel == 3:
        if len(data) >= count * dtype.itemsize:
            warnings.append(f"PhotometricInterpretation is {interpretation}, but every pixel has its own chroma")
        else:
            samples = np.frombuffer(_exactly(data, halved * dtype.itemsize), dtype)
            return _decoded(_chroma_doubled(samples, description), description, warnings)
    samples = np.frombuffer(_exactly(data, count * dtype.itemsize), dtype)
    if description.samples_per_pixel > 1 and description.planar_configuration == 1:
        planes = samples.reshape(description.samples_per_pixel, description.rows, description.columns)
        return _decoded(np.ascontiguousarray(planes.transpose(1, 2, 0)), description, warnings)
    return _decoded(samples.reshape(shape_of(description)), description, warnings)


def _decoded(array: Array, description: PixelDescription, warnings: list[str]) -> Decoded:
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    return Decoded(native, color_after_lossless(description), description.bits_stored, description.signed,
                   tuple(warnings))  # fmt: skip


def _exactly(data: Bytes, length: int) -> Bytes:
    if len(data) < length:
        raise InvalidDataSetError(f"a frame has {len(data)} bytes of {length}", hint="the pixel data are truncated",
                                  offending_element=PIXEL_DATA)  # fmt: skip
    return data[:length] if len(data) > length else data


def _decode_bits(data: Bytes, description: PixelDescription) -> Decoded:
    """One bit for a sample, the first in the least significant (PS3.5 8.1.1)."""
    import numpy as np

    count = description.rows * description.columns * description.samples_per_pixel
    packed = np.frombuffer(_exactly(data, (count + 7) // 8), np.uint8)
    bits = np.unpackbits(packed, count=count, bitorder="little")
    return Decoded(bits.reshape(shape_of(description)), description.photometric_interpretation, 1, False)


def _chroma_doubled(samples: Array, description: PixelDescription) -> Array:
    """Y1 Y2 Cb Cr for two pixels (PS3.3 C.7.6.3.1.2) as three samples for each."""
    import numpy as np

    if description.columns % 2:
        raise UnsupportedSyntaxError("an odd number of columns, two of which share their chroma")
    pairs = samples.reshape(description.rows, description.columns // 2, 4)
    out = np.empty((description.rows, description.columns // 2, 2, 3), samples.dtype)
    out[..., 0] = pairs[..., :2]
    out[..., 1] = pairs[..., 2:3]
    out[..., 2] = pairs[..., 3:4]
    return out.reshape(shape_of(description))


def encode_native(array: Array, syntax: str, description: PixelDescription, _options: EncodeOptions) -> Encoded:
    """Interleaved samples (planar configuration 0). One-bit frames are padded to a byte, as encapsulation wants it."""
    import numpy as np

    if syntax == syntaxes.ENCAPSULATED_UNCOMPRESSED:
        check_native_bits(description)
    if description.bits_allocated == 1:
        data = np.packbits(array.reshape(-1), bitorder="little").tobytes()
    elif syntax == syntaxes.BIG_ENDIAN:
        data = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
        data = bytes(swapped(data, description.word_bytes)) if description.word_bytes > 1 else data
    else:
        data = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    return Encoded(data, color_after_lossless(description), description.bits_stored)


# --- deflated image frames ----------------------------------------------------------------------------------------


def decode_deflated(data: Bytes, syntax: str, description: PixelDescription, _info: object = None) -> Decoded:
    """Each frame deflated on its own, without a header."""
    length = description.frame_bytes
    frame = inflate(data, length + length % 2)
    if not length <= len(frame) <= length + length % 2:
        raise broken(f"{len(frame)} bytes of {length} when inflated")
    return decode_native(frame, syntaxes.EXPLICIT, description)


def inflate(data: Bytes, most: int) -> bytes:
    """`data` inflated, up to one byte more than `most`; libdeflate is three times as fast as zlib."""
    imagecodecs = library("imagecodecs")
    if imagecodecs.DEFLATE.available:
        try:
            return bytes(imagecodecs.deflate_decode(data, raw=True, out=most))
        except LIBRARY_ERRORS as error:
            raise broken(_last_words(error)) from None
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, most + 1)
    except zlib.error as error:
        raise broken(str(error)) from None


def encode_deflated(array: Array, syntax: str, description: PixelDescription, options: EncodeOptions) -> Encoded:
    """As `decode_deflated` reads it."""
    check_native_bits(description)
    native = encode_native(array, syntaxes.EXPLICIT, description, options)
    return native._replace(data=deflate(native.data))


def deflate(data: bytes) -> bytes:
    """Deflated without a header; libdeflate is five times as fast as zlib."""
    imagecodecs = library("imagecodecs")
    if imagecodecs.DEFLATE.available:
        return bytes(imagecodecs.deflate_encode(data, raw=True))
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflater.compress(data) + deflater.flush()


# --- RLE ----------------------------------------------------------------------------------------------------------


def decode_rle(data: Bytes, syntax: str, description: PixelDescription, info: CodestreamInfo) -> Decoded:
    """A segment for each byte of a sample, the most significant first, sample by sample (PS3.5 G.2)."""
    import numpy as np

    imagecodecs = library("imagecodecs")
    if description.bits_allocated == 1:
        _rle_segments_are(info, 1)
        packed = _unpacked(rle_segments(data)[0], (description.rows * description.columns + 7) // 8)
        return _decode_bits(packed, description)
    dtype = np.dtype(description.dtype)
    _rle_segments_are(info, dtype.itemsize * description.samples_per_pixel)
    length = description.rows * description.columns * description.samples_per_pixel * dtype.itemsize
    try:
        frame = imagecodecs.dicomrle_decode(data, dtype.newbyteorder("<"), out=length)
    except LIBRARY_ERRORS as error:
        raise broken(_last_words(error)) from None
    if len(frame) != length:
        raise broken(f"{len(frame)} bytes of {length} when decoded")
    planes = np.frombuffer(frame, dtype)
    if description.samples_per_pixel > 1:
        shape = (description.samples_per_pixel, description.rows, description.columns)
        return _decoded(np.ascontiguousarray(planes.reshape(shape).transpose(1, 2, 0)), description, [])
    return _decoded(planes.reshape(shape_of(description)), description, [])


def decode_rle_plugin(data: Bytes, syntax: str, description: PixelDescription, info: CodestreamInfo) -> Decoded:
    """The same by pylibjpeg-rle."""
    import numpy as np

    rle = library("rle.utils")
    if description.bits_allocated == 1:
        return decode_rle(data, syntax, description, info)
    _rle_segments_are(info, description.bits_allocated // 8 * description.samples_per_pixel)
    pixels = description.rows * description.columns
    try:
        frame = rle.decode_frame(bytes(data), pixels, description.bits_allocated, "<")
    except LIBRARY_ERRORS as error:
        raise broken(_last_words(error)) from None
    planes = np.frombuffer(_exactly(frame, description.frame_bytes), np.dtype(description.dtype))
    if description.samples_per_pixel > 1:
        shape = (description.samples_per_pixel, description.rows, description.columns)
        return _decoded(np.ascontiguousarray(planes.reshape(shape).transpose(1, 2, 0)), description, [])
    return _decoded(planes.reshape(shape_of(description)), description, [])


def _last_words(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _rle_segments_are(info: CodestreamInfo, wanted: int) -> None:
    if info.segments != wanted:
        raise broken(f"{info.segments} segments, where the data set says {wanted}")


def _unpacked(segment: Bytes, length: int) -> Bytes:
    """A segment on its own (PS3.5 G.3.2), for what the library has no type for."""
    out = bytearray()
    at = 0
    while len(out) < length and at < len(segment):
        head = segment[at]
        if head < 128:
            out += bytes(segment[at + 1 : at + 2 + head])
            at += 2 + head
        else:
            if head > 128:
                out += bytes(segment[at + 1 : at + 2]) * (257 - head)
            at += 2 if head > 128 else 1
    if len(out) < length:
        raise broken(f"{len(out)} bytes of {length} when decoded")
    return bytes(out[:length])


def encode_rle(array: Array, syntax: str, description: PixelDescription, _options: EncodeOptions) -> Encoded:
    """No run crosses a row (PS3.5 G.3.1), every segment is even."""
    import numpy as np

    check_native_bits(description)
    if description.bits_allocated == 1:
        packed = np.packbits(array.reshape(-1), bitorder="little")
        return Encoded(_with_header([_packed(packed)]), color_after_lossless(description), 1)
    size = array.itemsize
    if size * description.samples_per_pixel > 15:
        raise UnsupportedSyntaxError(f"RLE has no room for {description.samples_per_pixel} samples of {8 * size} bits")
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    octets = little.view(np.uint8).reshape(description.rows, description.columns, -1)
    segments = [
        _packed(np.ascontiguousarray(octets[:, :, sample * size + byte]))
        for sample in range(description.samples_per_pixel)
        for byte in reversed(range(size))
    ]
    return Encoded(_with_header(segments), color_after_lossless(description), description.bits_stored)


def _packed(plane: Array) -> bytes:
    if plane.shape[-1] == 1:  # rows of one byte: a literal run of one each
        encoded = b"".join(b"\0" + bytes((octet,)) for octet in plane.tobytes())
    else:
        encoded = bytes(library("imagecodecs").packbits_encode(plane, axis=-1))
    return encoded + b"\0" if len(encoded) % 2 else encoded


def _with_header(segments: list[bytes]) -> bytes:
    offsets, at = [], RLE_HEADER
    for segment in segments:
        offsets.append(at)
        at += len(segment)
    header = struct.pack("<16I", len(segments), *offsets, *[0] * (15 - len(segments)))
    return b"".join((header, *segments))
