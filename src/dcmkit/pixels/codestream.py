"""What a codestream says of itself, read from its bytes alone: JPEG, JPEG-LS, JPEG 2000, HTJ2K, JPEG XL, RLE.

Libraries allocate what a header asks for, and most of them take half a codestream for a whole one. So a codestream is
looked at here first: `inspect` reads its header and whether its end is there, `check` holds it against the data set.
"""

from __future__ import annotations

import struct
from itertools import pairwise
from typing import NamedTuple

from dcmkit.errors import InvalidDataSetError, UnsupportedSyntaxError
from dcmkit.pixels import syntaxes
from dcmkit.pixels.description import PIXEL_DATA, PixelDescription

Bytes = bytes | memoryview | bytearray

RLE_HEADER = 64
_TAIL = 1 << 16
"""How far from its end the end marker of a codestream is looked for: some devices pad generously."""

_LARGE, _SPARSE = 1 << 25, 512
"""Samples of a frame that are many, and for one byte too many then."""


class CodestreamInfo(NamedTuple):
    """What a header says; zero and the empty string where it does not say.

    Attributes:
        format: `JPEG`, `JPEG-LS`, `JPEG 2000`, `HTJ2K`, `JPEG XL`, `RLE`.
        bits: precision of a sample.
        signed: None where the format has no sign.
        color: what is to be undone, or is known of three components: `RGB`, `YBR`, `RCT`, `ICT`, `XYB`.
        lossless: None where the header does not tell.
        complete: whether the end is where it should be.
        process: JPEG: the number of the SOF marker (0 baseline, 1 extended, 2 progressive, 3 lossless).
        predictor: of lossless JPEG. near: of JPEG-LS. layers, progression: of JPEG 2000.
        start: where the codestream begins; not 0 where it is wrapped in a JP2 file.
        segments: of RLE.
        subsampled: components have fewer rows or columns than the image.
        recompressed: a JPEG XL codestream that a JPEG can be restored from.
    """

    format: str
    rows: int = 0
    columns: int = 0
    samples: int = 0
    bits: int = 0
    signed: bool | None = None
    color: str = ""
    lossless: bool | None = None
    complete: bool = True
    process: int = -1
    predictor: int = 0
    near: int = 0
    layers: int = 0
    progression: int = 0
    start: int = 0
    segments: int = 0
    subsampled: bool = False
    recompressed: bool = False


def inspect(data: Bytes, transfer_syntax_uid: str) -> CodestreamInfo:
    """Read the header of one frame's codestream.

    Raises:
        InvalidDataSetError: it is none of that transfer syntax.
        UnsupportedSyntaxError: frames of that syntax have no codestream known here.
    """
    try:
        if transfer_syntax_uid in syntaxes.JPEG_FAMILY:
            return _jpeg(data, "JPEG")
        if transfer_syntax_uid in syntaxes.JPEG_LS_FAMILY:
            return _jpeg(data, "JPEG-LS")
        if transfer_syntax_uid in syntaxes.JPEG_2000_FAMILY | syntaxes.HTJ2K_FAMILY:
            from dcmkit.pixels.jpeg2000_header import read_header as read_jpeg_2000

            return _with_room(read_jpeg_2000(data), len(data))
        if transfer_syntax_uid in syntaxes.JPEG_XL_FAMILY:
            from dcmkit.pixels.jpegxl_header import read_header as read_jpeg_xl

            return _with_room(read_jpeg_xl(data), len(data))
        if transfer_syntax_uid == syntaxes.RLE:
            return _rle(data)
    except (IndexError, struct.error):
        raise broken("its header is cut short") from None
    raise UnsupportedSyntaxError(f"frames of transfer syntax {transfer_syntax_uid} have no codestream that is known")


def _with_room(info: CodestreamInfo, length: int) -> CodestreamInfo:
    """Blank images of any size become a few bytes in these formats; libraries take a minute and gigabytes for one."""
    samples = info.rows * info.columns * info.samples
    if samples > _LARGE and samples > length * _SPARSE:
        raise broken(f"{samples} samples are promised, in {length} bytes", hint="it is made to harm, or all blank")
    return info


def broken(what: str, *, hint: str = "the file was damaged before it came here") -> InvalidDataSetError:
    """The error for a codestream that is none."""
    return InvalidDataSetError(f"the codestream of a frame is broken: {what}", hint=hint, offending_element=PIXEL_DATA)


def check(info: CodestreamInfo, description: PixelDescription) -> list[str]:
    """Hold a codestream's header against the data set, before anything is allocated.

    Returns:
        Warnings: where both say something, the codestream is believed.

    Raises:
        InvalidDataSetError: it is another image than the data set describes, or only a part of it.
    """
    if not info.complete:
        raise broken("its end is missing", hint="it was truncated; get the object again from where it came")
    if (info.rows or info.columns) and (info.rows, info.columns) != (description.rows, description.columns):
        raise _contradiction("rows and columns", f"{info.rows}x{info.columns}",
                             f"{description.rows}x{description.columns}")  # fmt: skip
    if info.samples and info.samples != description.samples_per_pixel:
        raise _contradiction("samples per pixel", str(info.samples), str(description.samples_per_pixel))
    if info.bits > max(8, description.bits_allocated):
        raise _contradiction("bits", str(info.bits), f"{description.bits_allocated} allocated")
    warnings = []
    if info.bits and info.bits < description.bits_stored:
        warnings.append(f"BitsStored is {description.bits_stored}, the codestream has {info.bits} bits")
    if info.signed is not None and info.signed != description.signed:
        kinds = "unsigned", "signed"
        warnings.append(f"PixelRepresentation says {kinds[description.signed]}, the codestream {kinds[info.signed]}")
    return warnings


def _contradiction(what: str, codestream: str, data_set: str) -> InvalidDataSetError:
    return InvalidDataSetError(
        f"the codestream of a frame has {codestream} {what}, the data set says {data_set}",
        hint="one of them was damaged or changed alone",
        offending_element=PIXEL_DATA,
    )


def has_end(data: Bytes, start: int, marker: bytes) -> bool:
    """Whether `marker` is near the end; it occurs nowhere within entropy coded data."""
    return any(bytes(data[max(start, len(data) - reach) :]).rfind(marker) >= 0 for reach in (16, _TAIL))


# --- JPEG (ITU-T T.81 Annex B) and JPEG-LS (T.87 Annex C) ---------------------------------------------------------

_STANDALONE = frozenset((0x01, *range(0xD0, 0xD8)))
_FRAME_HEADERS = frozenset((*range(0xC0, 0xD0), 0xF7)) - {0xC4, 0xC8, 0xCC}


class _JPEGHeader:
    """What the marker segments up to the first scan say."""

    def __init__(self) -> None:
        self.process = -1
        self.rows = self.columns = self.bits = 0
        self.components: tuple[int, ...] = ()
        self.factors: set[int] = set()
        self.jfif = False
        self.adobe = -1

    def frame(self, marker: int, body: bytes) -> None:
        """SOF (B.2.2)."""
        if self.process >= 0:
            raise broken("it has two frame headers")
        self.bits, self.rows, self.columns, count = struct.unpack_from(">BHHB", body)
        if len(body) < 6 + 3 * count:
            raise broken("its frame header is cut short")
        self.process = marker - 0xC0
        self.components = tuple(body[6 + 3 * i] for i in range(count))
        self.factors = {body[7 + 3 * i] for i in range(count)}
        if not (self.rows and self.columns and count):
            raise broken("its frame header has no rows, columns or components")
        if any(not 1 <= factor >> 4 <= 4 or not 1 <= factor & 15 <= 4 for factor in self.factors):
            raise broken("sampling factors are from 1 to 4")

    def color(self) -> str:
        """RGB or YBR where the markers tell; libjpeg's rules for files without an Adobe marker."""
        if len(self.components) != 3:
            return ""
        if self.adobe >= 0:
            return "YBR" if self.adobe == 1 else "RGB"
        if self.jfif or len(self.factors) > 1:
            return "YBR"
        return "RGB" if self.components == (0x52, 0x47, 0x42) else ""


def _jpeg(data: Bytes, name: str) -> CodestreamInfo:
    if bytes(data[:2]) != b"\xff\xd8":
        raise broken(f"it does not begin as {name} does (FFD8)")
    header = _JPEGHeader()
    at = 2
    while True:
        if data[at] != 0xFF:
            raise broken(f"no marker at byte {at}")
        marker = data[at + 1]
        at += 1 if marker == 0xFF else 2  # fill bytes (B.1.1.2)
        if marker == 0xFF or marker in _STANDALONE:
            continue
        if marker in (0xD8, 0xD9, 0x00):
            raise broken("it ends before its first scan")
        (length,) = struct.unpack_from(">H", data, at)
        body = bytes(data[at + 2 : at + length])
        if length < 2 or len(body) < length - 2:
            raise broken("a marker segment is cut short")
        if marker in _FRAME_HEADERS:
            header.frame(marker, body)
        elif marker == 0xE0 and body.startswith(b"JFIF\0"):
            header.jfif = True
        elif marker == 0xEE and body.startswith(b"Adobe") and len(body) >= 12:
            header.adobe = body[11]
        elif marker == 0xDA:
            return _jpeg_info(header, body, has_end(data, at + length, b"\xff\xd9"), name, len(data) - at - length)
        at += length


_JPEG_LS_PROCESS = 0xF7 - 0xC0
_SAMPLES_PER_BYTE = {0: 768, 1: 768, 3: 8}
"""At most: lossless coding takes a bit for a sample, sequential coding two for a block of 64; chroma may be sparse."""


def _jpeg_info(header: _JPEGHeader, scan: bytes, complete: bool, name: str, room: int) -> CodestreamInfo:
    if header.process < 0:
        raise broken("it has a scan without a frame header")
    if (header.process == _JPEG_LS_PROCESS) != (name == "JPEG-LS"):
        raise broken(f"it is not {name}, but JPEG" + ("-LS" if name == "JPEG" else ""))
    first = 1 + 2 * scan[0]  # Ss: predictor, NEAR (B.2.3, T.87 C.2.3)
    parameter = scan[first]
    if header.process == 3 and not 1 <= parameter <= 7:
        raise broken(f"there is no predictor {parameter}")
    near = parameter if name == "JPEG-LS" else 0
    samples = header.rows * header.columns * len(header.components)
    if header.process in _SAMPLES_PER_BYTE:
        complete = complete and room >= samples // _SAMPLES_PER_BYTE[header.process]
    return CodestreamInfo(
        name,
        header.rows,
        header.columns,
        len(header.components),
        header.bits,
        color=header.color(),
        lossless=header.process == 3 or (name == "JPEG-LS" and near == 0),
        complete=complete,
        process=header.process,
        predictor=parameter if header.process == 3 else 0,
        near=near,
        subsampled=len(header.factors) > 1,
    )


# --- RLE (PS3.5 Annex G) ------------------------------------------------------------------------------------------


def _rle(data: Bytes) -> CodestreamInfo:
    if len(data) < RLE_HEADER:
        raise broken("its header is cut short")
    count, *offsets = struct.unpack_from("<16I", data)
    if not 1 <= count <= 15:
        raise broken(f"{count} segments, where 1 to 15 can be")
    used = offsets[:count]
    if used[0] != RLE_HEADER or any(a >= b for a, b in pairwise(used)):
        raise broken("segments are out of order")
    return CodestreamInfo("RLE", lossless=True, complete=used[-1] < len(data), segments=count)


def rle_segments(data: Bytes) -> list[Bytes]:
    """The segments after a header that `inspect` has accepted."""
    count, *offsets = struct.unpack_from("<16I", data)
    bounds = [*offsets[:count], len(data)]
    return [data[bounds[i] : bounds[i + 1]] for i in range(count)]
