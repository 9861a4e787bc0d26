"""Rendered arrays as files that other programs show: PNG, JPEG, WebP, GIF, BMP, PNM, TIFF, JPEG-LS."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dcmkit.errors import OutputError, UsageError
from dcmkit.pixels.raster import colored

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Array = NDArray[Any]

PNG, JPEG, WEBP, GIF = "image/png", "image/jpeg", "image/webp", "image/gif"
BMP, PNM, TIFF, JPEG_LS = "image/bmp", "image/x-portable-anymap", "image/tiff", "image/jls"
SUFFIXES = {
    PNG: ("png",),
    JPEG: ("jpg", "jpeg"),
    WEBP: ("webp",),
    GIF: ("gif",),
    BMP: ("bmp",),
    PNM: ("pnm", "pgm", "ppm"),
    TIFF: ("tiff", "tif"),
    JPEG_LS: ("jls",),
}
"""What the names of files end in, the usual one first, by media type."""
DEEP = frozenset({PNG, PNM, TIFF, JPEG_LS})
"""These hold 16 bits for each sample."""
_LARGEST = {JPEG: 65500, WEBP: 16383, GIF: 65535}


def media_type_of(suffix: str) -> str:
    """The media type of a format or file name ending; "" where it is none of ours."""
    wanted = suffix.lower().lstrip(".")
    return next((media_type for media_type, suffixes in SUFFIXES.items() if wanted in suffixes), "")


class Form(NamedTuple):
    """What formats leave open.

    Attributes:
        subsampling: of the colours of a JPEG: 444, 422, 420 or 411; "" is 444 from quality 90 on and 420 below.
        compression: of a TIFF: lzw, packbits or none.
        differences: whether a TIFF's LZW codes horizontal differences.
        rows_per_strip: of a TIFF; 0 is as its library wants.
        plain: whether a PNM is written in letters.
        bits: of a sample of a PNM, 1 to 16; 0 is those of the picture.
        filled: whether a BMP has a fourth byte for each pixel.
    """

    subsampling: str = ""
    compression: str = ""
    differences: bool = False
    rows_per_strip: int = 0
    plain: bool = False
    bits: int = 0
    filled: bool = False


USUAL = Form()


def encode_rendered(picture: Array, media_type: str, quality: int = 90, form: Form = USUAL) -> bytes:
    """One picture as a file.

    Args:
        picture: shape (rows, columns) or (rows, columns, 3), 8 bits, or 16 where the format is in `DEEP`.
        media_type: one of `SUFFIXES`.
        quality: 1 to 100 of JPEG and WebP (there 100 is lossless); ignored elsewhere.
        form: what the format leaves open.

    Raises:
        UsageError: the format cannot hold it.
        OutputError: it could not be encoded.
    """
    if media_type not in SUFFIXES:
        raise UsageError(f"images of type {media_type!r} cannot be written", hint=f"one of {', '.join(SUFFIXES)}")
    if not 1 <= quality <= 100:
        raise UsageError(f"quality {quality}: it is 1 to 100")
    largest = _LARGEST.get(media_type, 0)
    if largest and max(picture.shape[:2]) > largest:
        raise UsageError(
            f"{media_type} holds no more than {largest} rows or columns", hint="choose PNG, or a smaller size"
        )
    if picture.dtype.itemsize == 2 and media_type not in DEEP:
        picture = (picture >> 8).astype(np.uint8)
    picture = np.ascontiguousarray(picture)
    if media_type == PNM:
        return _pnm(picture, form.plain, form.bits)
    if media_type == GIF:
        return encode_animation([picture], [0])
    import imagecodecs

    try:
        if media_type == JPEG:
            ratio = None if picture.ndim == 2 else form.subsampling or ("444" if quality >= 90 else "420")
            return bytes(imagecodecs.jpeg8_encode(picture, quality, subsampling=ratio))
        if media_type == PNG:
            return bytes(imagecodecs.png_encode(picture, 3))
        if media_type == WEBP:
            return bytes(
                imagecodecs.webp_encode(np.ascontiguousarray(colored(picture)), quality, lossless=quality == 100)
            )
        if media_type == BMP:
            return bytes(imagecodecs.bmp_encode(_filled(picture) if form.filled else picture))
        if media_type == JPEG_LS:
            return bytes(imagecodecs.jpegls_encode(picture, out=2 * picture.nbytes + 4096))
        kind = None if form.compression == "none" else form.compression or "lzw"
        more: dict[str, Any] = {"rowsperstrip": form.rows_per_strip} if form.rows_per_strip else {}
        if form.differences and kind == "lzw":
            more["predictor"] = 2
        color = "rgb" if picture.ndim == 3 else 1
        return bytes(imagecodecs.tiff_encode(picture, photometric=color, compression=kind, **more))
    except (RuntimeError, ValueError) as error:
        raise OutputError(f"the image could not be encoded as {media_type}: {error}") from None


def _filled(picture: Array) -> Array:
    """Four samples for each pixel, the last one without a meaning."""
    return np.concatenate([colored(picture), np.full((*picture.shape[:2], 1), 255, np.uint8)], axis=-1)


def _pnm(picture: Array, plain: bool = False, bits: int = 0) -> bytes:
    """PGM or PPM, binary, where 16 bits are big endian, or in letters."""
    rows, columns = picture.shape[:2]
    top = 0xFF if picture.dtype.itemsize == 1 else 0xFFFF
    if bits:
        wanted = (1 << bits) - 1
        picture = ((picture.astype(np.uint32) * wanted + top // 2) // top).astype(np.uint16)
        top = wanted
    kind = (2 if plain else 5) + (picture.ndim == 3)
    head = f"P{kind}\n{columns} {rows}\n{top}\n".encode()
    if plain:  # a line of a row may be longer than netpbm's 70 letters, as DCMTK's are
        return head + b"".join(
            b" ".join(b"%d" % one for one in row) + b"\n" for row in picture.reshape(rows, -1).tolist()
        )
    return head + picture.astype(">u2" if top > 0xFF else np.uint8, copy=False).tobytes()


# --- GIF ---------------------------------------------------------------------------------------------------------

_LEVELS = 6, 7, 6
"""Of red, green and blue in the palette of colour pictures."""


def encode_animation(pictures: Iterable[Array], delays: Iterable[float], *, loop: int = 0) -> bytes:
    """A GIF, which moves when it has several pictures. Colours are dithered to a fixed palette of 252.

    Args:
        pictures: 8 bits, all of the same size and all grey or all colour; taken one after the other.
        delays: how long each is shown, in milliseconds.
        loop: how often it is played, 0 for ever.

    Raises:
        UsageError: pictures of different sizes.
        OutputError: one could not be encoded.
    """
    parts: list[bytes] = []
    shape: tuple[int, ...] = ()
    for picture, delay in zip(pictures, delays, strict=False):
        if picture.dtype.itemsize == 2:
            picture = (picture >> 8).astype(np.uint8)
        if not shape:
            shape = picture.shape
            parts.append(_gif_head(shape))
        elif picture.shape != shape:
            raise UsageError("the frames of an animation have different sizes", hint="give a size with --size")
        hundredths = min(0xFFFF, max(2 if delay else 0, round(delay / 10)))  # below 2 browsers take their own time
        parts.append(struct.pack("<BBBBHBB", 0x21, 0xF9, 4, 4, hundredths, 0, 0) + _gif_frame(picture))
    if not parts:
        raise UsageError("an animation without pictures")
    if len(parts) > 2:
        parts.insert(1, b"\x21\xff\x0bNETSCAPE2.0\x03\x01" + struct.pack("<H", loop) + b"\0")
    return b"".join(parts) + b";"


def _gif_head(shape: tuple[int, ...]) -> bytes:
    if max(shape[:2]) > _LARGEST[GIF]:
        raise UsageError(f"GIF holds no more than {_LARGEST[GIF]} rows or columns")
    return b"GIF89a" + struct.pack("<HHBBB", shape[1], shape[0], 0xF7, 0, 0) + palette(len(shape) == 3).tobytes()


def _gif_frame(picture: Array) -> bytes:
    """The image block: descriptor and LZW data, with the global palette."""
    import imagecodecs

    indexed = np.ascontiguousarray(dithered(picture) if picture.ndim == 3 else picture)
    try:
        file = bytes(imagecodecs.gif_encode(indexed, out=2 * indexed.nbytes + 8192))
    except (RuntimeError, ValueError) as error:
        raise OutputError(f"the image could not be encoded as GIF: {error}") from None
    colors = 3 << (file[10] & 7) + 1 if file[10] & 0x80 else 0
    start = 13 + colors
    if file[start : start + 1] != b"," or file[-1:] != b";":
        raise OutputError("the image could not be encoded as GIF: unexpected structure")
    return file[start:-1]


def palette(is_color: bool) -> Array:
    """256 colours: grey levels, or 252 of six reds, seven greens and six blues."""
    levels = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    if is_color:
        steps = [np.rint(np.linspace(0, 255, count)) for count in _LEVELS]
        corners = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1).reshape(-1, 3)
        levels[: len(corners)] = corners
    return levels


def dithered(picture: Array) -> Array:
    """Indices of a colour picture into the palette; an ordered dither hides its steps."""
    bayer = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]], np.float32) / 16
    rows, columns = picture.shape[:2]
    pattern = np.tile(bayer, (-(-rows // 4), -(-columns // 4)))[:rows, :columns]
    index = np.zeros((rows, columns), np.uint8)
    for channel, count in enumerate(_LEVELS):
        level = picture[..., channel].astype(np.float32) * ((count - 1) / 255)
        step = np.minimum((level + pattern * (15 / 16)).astype(np.uint8), count - 1)
        index = index * np.uint8(count) + step
    return index
