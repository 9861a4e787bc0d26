"""Files of images that are broken, cut short or made to harm: what a stranger may send, and people convert."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dcmkit.dataset.elements import Element
from dcmkit.dataset.raw import encoded_elements
from dcmkit.pixels import syntaxes
from dcmkit.pixels.codecs import encode_frame
from dcmkit.pixels.description import PIXEL_DATA, PixelDescription
from dcmkit.pixels.frames import Array
from tests.pixels.files import END, element, encapsulated, item, table, write
from tests.pixels.images import after, described, waves

MIB = 1 << 20
CT = described(waves(128, 128, -1024, 3071), 16, signed=True)
CINE = described(waves(64, 64, 0, 4095), 12)
GREY = described(waves(120, 160, 0, 255), 8, 8)
RGB = described(np.stack([waves(120, 160, 0, 255)] * 3, -1), 8, 8, color="RGB")
Image = tuple[Array, PixelDescription]
Hostile = tuple[str, str, PixelDescription, bytes]
"""Its name, transfer syntax, what the data set says, and the pixel data element."""


def stream(uid: str, image: Image = CT) -> tuple[bytes, PixelDescription]:
    """A good codestream and its description."""
    encoded = encode_frame(image[0], uid, image[1])
    return encoded.data, after(image[1], encoded)


def file(path: Path, uid: str, described: PixelDescription, pixels: bytes) -> Path:
    """A file with these pixel data, right or wrong."""
    numbers = {
        0x00280002: described.samples_per_pixel, 0x00280010: described.rows, 0x00280011: described.columns,
        0x00280100: described.bits_allocated, 0x00280101: described.bits_stored, 0x00280102: described.high_bit,
        0x00280103: described.pixel_representation,
    }  # fmt: skip
    elements = {tag: Element("US", str(number)) for tag, number in numbers.items()} | {
        0x00080016: Element("UI", "1.2.840.10008.5.1.4.1.1.7"), 0x00080018: Element("UI", "1.2.3"),
        0x00280004: Element("CS", described.photometric_interpretation),
        0x00280008: Element("IS", str(described.number_of_frames)),
    }  # fmt: skip
    if described.samples_per_pixel > 1:
        elements[0x00280006] = Element("US", "0")
    encoded = encoded_elements(elements)
    head = b"".join(bytes(encoded.data[one.start : one.end]) for one in encoded)
    return write(path, uid, head, pixels)


def hostile() -> Iterator[Hostile]:
    """Everything there is an error for."""
    yield from cut()
    yield from sizes()
    yield from rle()
    yield from fragments()
    yield from native()


CODINGS = (
    ("baseline", syntaxes.JPEG_BASELINE, RGB, b"\xff\xd9"), ("extended", syntaxes.JPEG_EXTENDED, CINE, b""),
    ("lossless", syntaxes.JPEG_LOSSLESS_SV1, CT, b""), ("process 14", syntaxes.JPEG_LOSSLESS, RGB, b""),
    ("jpeg-ls", syntaxes.JPEG_LS, CT, b"\xff\xd9"), ("near-lossless", syntaxes.JPEG_LS_NEAR, CINE, b"\xff\xd9"),
    ("j2k", syntaxes.JPEG_2000_LOSSLESS, CT, b"\xff\xd9"), ("lossy j2k", syntaxes.JPEG_2000, RGB, b""),
    ("htj2k", syntaxes.HTJ2K_LOSSLESS, CT, b"\xff\xd9"), ("htj2k rpcl", syntaxes.HTJ2K_RPCL, CT, b""),
    ("lossy htj2k", syntaxes.HTJ2K, CINE, b""), ("jpeg xl", syntaxes.JPEG_XL_LOSSLESS, CT, b"\0\0"),
    ("recompressed", syntaxes.JPEG_XL_RECOMPRESSION, RGB, b"\0"), ("rle", syntaxes.RLE, CT, b"\0"),
    ("deflated", syntaxes.DEFLATED_FRAME, CT, b"\0"), ("encapsulated", syntaxes.ENCAPSULATED_UNCOMPRESSED, CT, b""),
)  # fmt: skip


def cut() -> Iterator[Hostile]:
    """Cut in the header, and in the middle; some with an end marker put behind the cut."""
    for name, uid, image, end in CODINGS:
        data, description = stream(uid, image)
        for where, cut in (("its header", data[:30]), ("the middle", data[: len(data) // 2] + end)):
            if name == "baseline" and where == "the middle":
                cut = data[: len(data) // 2]  # with an end marker it is a JPEG whose lower half is grey: no error
            yield f"{name} cut in {where}", uid, description, encapsulated([cut])


def in_frame_header(data: bytes, rows: int, columns: int) -> bytes:
    """Another size in SOF."""
    at = next(i for i in range(len(data)) if data[i] == 0xFF and data[i + 1] in (0xC0, 0xC1, 0xC3, 0xF7))
    return data[: at + 5] + struct.pack(">HH", rows, columns) + data[at + 9 :]


def in_siz(data: bytes, **fields: int) -> bytes:
    """Other fields in SIZ."""
    out = bytearray(data)
    places = {"x": 8, "y": 12, "x0": 16, "y0": 20, "tile_x": 24, "tile_y": 28, "tile_x0": 32}
    for name, value in fields.items():
        struct.pack_into(">I", out, places[name], value)
    return bytes(out)


def sizes() -> Iterator[Hostile]:
    """Headers that promise gigapixels, or another image than the data set."""
    for name, uid, image in (
        ("baseline", syntaxes.JPEG_BASELINE, GREY), ("extended", syntaxes.JPEG_EXTENDED, CINE),
        ("lossless", syntaxes.JPEG_LOSSLESS_SV1, CT), ("jpeg-ls", syntaxes.JPEG_LS, CT),
    ):  # fmt: skip
        data, one = stream(uid, image)
        huge, large = one._replace(rows=65535, columns=65535), one._replace(rows=20000, columns=20000)
        yield f"{name} of 4 gigapixels", uid, huge, encapsulated([in_frame_header(data, 65535, 65535)])
        yield f"{name} of 400 megapixels", uid, large, encapsulated([in_frame_header(data, 20000, 20000)])
        yield f"{name} larger than its data set", uid, one, encapsulated([in_frame_header(data, 65500, one.columns)])
    for name, uid in (("j2k", syntaxes.JPEG_2000_LOSSLESS), ("htj2k", syntaxes.HTJ2K_LOSSLESS)):
        data, one = stream(uid)
        huge, large = one._replace(rows=65535, columns=65535), one._replace(rows=20000, columns=20000)
        whole = {"x": 20000, "y": 20000, "tile_x": 20000, "tile_y": 20000}
        yield f"{name} of 4 gigapixels", uid, huge, encapsulated([in_siz(data, x=65535, y=65535)])
        yield f"{name} of 400 megapixels", uid, large, encapsulated([in_siz(data, **whole)])
        yield f"{name} with 16,384 tiles for one", uid, one, encapsulated([in_siz(data, tile_x=1, tile_y=1)])
        yield f"{name} without tiles", uid, one, encapsulated([in_siz(data, tile_x=0)])
        yield f"{name} with an origin beyond its end", uid, one, encapsulated([in_siz(data, x0=1 << 31, y0=1 << 31)])
        yield f"{name} whose SIZ is ones", uid, one, encapsulated([data[:8] + b"\xff" * 30 + data[38:]])
    data, one = stream(syntaxes.JPEG_XL_LOSSLESS)
    huge = one._replace(rows=65535, columns=65535)
    yield "jpeg xl in a data set of 4 gigapixels", syntaxes.JPEG_XL_LOSSLESS, huge, encapsulated([data])
    data, one = stream(syntaxes.JPEG_LS)
    tall = one._replace(rows=8192)
    yield "jpeg-ls of 64 times its rows", syntaxes.JPEG_LS, tall, encapsulated([in_frame_header(data, 8192, 128)])


def rle() -> Iterator[Hostile]:
    """RLE headers and runs that lie, and things that inflate."""
    _, one = stream(syntaxes.RLE)

    def of(segments: int, *offsets: int, data: bytes) -> bytes:
        return encapsulated([struct.pack("<16I", segments, *offsets, *[0] * (15 - len(offsets))) + data])

    yield "rle of no segments", syntaxes.RLE, one, of(0, data=bytes(100))
    yield "rle of 4 billion segments", syntaxes.RLE, one, of(0xFFFFFFFF, data=bytes(100))
    yield "rle of 15 segments", syntaxes.RLE, one, of(15, *range(64, 79), data=bytes(100))
    yield "rle whose segments are beyond its end", syntaxes.RLE, one, of(2, 64, 0xFFFFFFF0, data=bytes(100))
    yield "rle whose segments go backwards", syntaxes.RLE, one, of(2, 100, 64, data=bytes(100))
    yield "rle of runs of nothing", syntaxes.RLE, one, of(2, 64, 66, data=b"\x80" * MIB)
    yield "rle of one run", syntaxes.RLE, one, of(2, 64, 66, data=b"\x81\0\x81\0")
    large = one._replace(rows=60000, columns=60000)
    yield "rle, 3,600 megapixels of it", syntaxes.RLE, large, of(2, 64, 66, data=b"\x81\0" * 4)
    deflater = zlib.compressobj(9, wbits=-15)
    bomb = deflater.compress(bytes(64 * MIB)) + deflater.flush()
    yield "64 MiB deflated", syntaxes.DEFLATED_FRAME, one, encapsulated([bomb])
    yield "deflated, and 3,600 megapixels", syntaxes.DEFLATED_FRAME, large, encapsulated([bomb])


def fragments() -> Iterator[Hostile]:
    """Items that lie, or never end."""
    data, one = stream(syntaxes.JPEG_LOSSLESS_SV1)
    sv1 = syntaxes.JPEG_LOSSLESS_SV1
    head = b"\xe0\x7f\x10\0OB\0\0\xff\xff\xff\xff"
    yield "no fragments", sv1, one, encapsulated([])
    yield "an empty fragment", sv1, one, encapsulated([b""])
    yield "a fragment of 4 GiB", sv1, one, head + item(b"") + b"\xfe\xff\x00\xe0\xfe\xff\xff\xff" + data
    yield "a fragment that has no end", sv1, one, head + item(b"") + b"\xfe\xff\x00\xe0" + b"\xff" * 4 + data
    yield "no delimiter, cut short", sv1, one, head + item(b"") + item(data)[:-99]
    yield "an offset table of 4 GiB", sv1, one, head + b"\xfe\xff\x00\xe0\xfc\xff\xff\xff" + item(data) + END
    yield "a million empty fragments", sv1, one, encapsulated([b""] * MIB)
    yield "a million fragments of two bytes", sv1, one, encapsulated([b"\xff\0"] * MIB)
    many = one._replace(number_of_frames=(1 << 31) - 1)
    yield "2 billion frames in a fragment", sv1, many, encapsulated([data], table_of(1 << 16))
    yield "more frames than fragments", sv1, one._replace(number_of_frames=3), encapsulated([data, data])
    yield "elements in place of fragments", sv1, one, head + element(0x00100010, "PN", b"A^B") * 9
    yield "another format than the syntax says", syntaxes.JPEG_2000, one, encapsulated([data])
    yield "zeros", sv1, one, encapsulated([bytes(100_000)])
    yield "markers without end", sv1, one, encapsulated([b"\xff\xd8" + b"\xff" * MIB])
    yield "comments without end", sv1, one, encapsulated([b"\xff\xd8" + b"\xff\xfe\0\2" * (MIB // 4)])


def table_of(count: int) -> tuple[int, ...]:
    """An offset table of zeros."""
    return (0,) * count


def native() -> Iterator[Hostile]:
    """Native pixel data that are not there."""
    one = CT[1]
    pixels = element(PIXEL_DATA, "OW", bytes(100))
    yield "native, cut", syntaxes.EXPLICIT, one, pixels
    yield "native, 4 gigapixels of it", syntaxes.EXPLICIT, one._replace(rows=65535, columns=65535), pixels
    yield "native, no bits", syntaxes.EXPLICIT, one._replace(bits_allocated=0, bits_stored=0), pixels
    yield "native, no rows", syntaxes.EXPLICIT, one._replace(rows=0), pixels
    yield "native, 2 billion frames", syntaxes.EXPLICIT, one._replace(number_of_frames=(1 << 31) - 1), pixels


def lying_tables() -> Iterator[tuple[str, tuple[int, ...], bytes]]:
    """Offset tables, Basic and Extended, that do not say where three good frames are."""
    data, _ = stream(syntaxes.JPEG_LOSSLESS_SV1, CINE)
    step = len(data) + len(data) % 2 + 8
    for name, offsets in (
        ("beyond the end", (0, 1 << 31, 0xFFFFFFFF)), ("all the same", (0, 0, 0)), ("backwards", (2 * step, step, 0)),
        ("between items", (0, step + 2, 2 * step + 2)), ("too few", (0, step)),
        ("too many", (0, step, 2 * step, 3 * step)), ("65,536 of them", table_of(1 << 16)),
    ):  # fmt: skip
        yield f"basic, {name}", offsets, b""
    for name, offsets in (("beyond the end", (0, 1 << 62, 1 << 63)), ("all the same", (0, 0, 0))):
        lengths = element(0x7FE00002, "OV", table([len(data)] * 3, "Q"))
        yield f"extended, {name}", (), element(0x7FE00001, "OV", table(offsets, "Q")) + lengths
