"""What codestreams say beside their pixels: JPEG comments and application data, JPEG 2000 comments, boxes of files.

Nothing is decoded, and nothing moves: contents are overwritten with zeros where they lie, and a decoder sees the same
pixels (ITU-T T.81 B.2.4.5 and B.2.4.6, T.87 C.2, T.800 A.9.2 and I.7, ISO/IEC 18181-2). What cannot be followed is left
as it is; whoever decodes it will complain.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

from dcmkit.pixels import syntaxes

Bytes = bytes | bytearray | memoryview
Range = tuple[int, int]

_HARMLESS = re.compile(
    rb"(?:Created by (?:GDCM/)?OpenJPEG version [0-9.]+|Kakadu-v?[0-9.]+|Creator: JasPer Version [0-9.]+"
    rb"|Kdu-Layer-Info: log_2\{Delta-D\((?:squared-error|MSE)\)/Delta-L\(bytes\)\}, L\(bytes\)\n[-+0-9.e, \n]+"
    rb"|OpenJPH Ver [0-9.]+|Lavc[0-9.]+|LEAD Technologies Inc\. V[0-9.]+)\0?"
)
"""What encoders say of themselves; pixel data need not change for that."""


def blanks(codestream: Bytes, transfer_syntax_uid: str) -> list[Range]:
    """The ranges of one frame's codestream, from first byte to behind the last, that are to become zeros.

    Args:
        codestream: a whole frame, its fragments joined.

    Returns:
        In ascending order; empty for most frames, and for syntaxes whose frames have no room for comments. What is
        zeros already is not named.
    """
    look = _WAYS.get(transfer_syntax_uid)
    found: list[Range] = []
    if look is not None:
        look(memoryview(codestream).cast("B"), found)
    return found


def in_fragments(data: memoryview, fragments: Iterable[Range], transfer_syntax_uid: str) -> Iterator[Range]:
    """The same for encapsulated pixel data: ranges of `data`, in ascending order.

    A fragment that begins as codestreams do begins a frame; those after it that do not belong to it.

    Args:
        data: what the fragments lie in.
        fragments: where the value of each item begins and ends; that of the offset table may be among them.
    """
    starts = _STARTS.get(transfer_syntax_uid)
    if starts is None:
        return
    frame: list[Range] = []
    for start, end in fragments:
        if frame and bytes(data[start : start + 12]).startswith(starts):
            yield from _of_frame(data, frame, transfer_syntax_uid)
            frame = []
        frame.append((start, end))
    if frame:
        yield from _of_frame(data, frame, transfer_syntax_uid)


def _of_frame(data: memoryview, fragments: list[Range], transfer_syntax_uid: str) -> Iterator[Range]:
    if len(fragments) == 1:
        ((first, last),) = fragments
        for start, end in blanks(data[first:last], transfer_syntax_uid):
            yield first + start, first + end
        return
    whole = b"".join(data[first:last] for first, last in fragments)
    found, at = blanks(whole, transfer_syntax_uid), 0
    for first, last in fragments:
        size = last - first
        for start, end in found:
            begin, stop = max(start - at, 0), min(end - at, size)
            if begin < stop:
                yield first + begin, first + stop
        at += size


def without(codestream: Bytes, transfer_syntax_uid: str) -> Bytes:
    """The codestream with zeros there: the same object where there is nothing to overwrite."""
    found = blanks(codestream, transfer_syntax_uid)
    if not found:
        return codestream
    changed = bytearray(codestream)
    for start, end in found:
        changed[start:end] = bytes(end - start)
    return bytes(changed)


def is_sealed(codestream: Bytes, transfer_syntax_uid: str) -> bool:
    """Whether it is JPEG XL made of a JPEG: that one's comments are compressed, and come back with it.

    `boxes.write` makes such frames anew.
    """
    if transfer_syntax_uid not in syntaxes.JPEG_XL_FAMILY:
        return False
    data = memoryview(codestream).cast("B")
    return bytes(data[:12]) == _JXL_SIGNATURE and any(kind == b"jbrd" for kind, _, _ in _boxes(data, 0, len(data)))


def _note(data: memoryview, start: int, end: int, found: list[Range], *, comment: bool = False) -> None:
    content = bytes(data[start:end])
    if content.strip(b"\0") and not (comment and _HARMLESS.fullmatch(content)):
        found.append((start, min(end, len(data))))


# --- JPEG and JPEG-LS ---------------------------------------------------------------------------------------------

_SOI, _EOI, _SOS, _COM = 0xD8, 0xD9, 0xDA, 0xFE
_STANDALONE = frozenset((0x00, 0x01, *range(0xD0, 0xD9)))
_TABLES = frozenset((0xC4, 0xC8, 0xCC, *range(0xDB, 0xE0), 0xF8))
_FRAMES = frozenset((*range(0xC0, 0xD0), 0xF7)) - _TABLES
_PROGRESSIVE = frozenset((0xC2, 0xC6, 0xCA, 0xCE))
_KEPT = {
    (0xE0, b"JFIF\0"): 14, (0xE0, b"LJIF\0"): 14, (0xE8, b"SPIFF"): 30, (0xE8, b"mrfx"): 5, (0xEE, b"Adobe"): 12,
}  # fmt: skip
"""Application data that decoders go by, and how much of it. `mrfx` is a color transform of JPEG-LS."""
_SPIFF_END = b"\0\0\0\1\xff\xd8"
_NEXT_MARKER = re.compile(rb"\xff[\xc0-\xcf\xd8-\xfe]")
_WINDOW = 4096


def _jpeg(data: memoryview, found: list[Range]) -> None:
    if bytes(data[:2]) == b"\xff\xd8":
        at = 0
        while at >= 0:
            at = _rest(data, _jpeg_image(data, at + 2, found), found, b"\xff\xd8\xff")


def _jpeg_image(data: memoryview, at: int, found: list[Range]) -> int:
    """From behind SOI to behind EOI."""
    size = len(data)
    components, highest = 0, b""
    while at + 4 <= size:
        if data[at] != 0xFF:
            at = _marker_after(data, at)
            continue
        marker = data[at + 1]
        if marker == _EOI:
            return at + 2
        if marker == 0xFF or marker in _STANDALONE:
            at += 1 if marker == 0xFF else 2
            continue
        length = data[at + 2] << 8 | data[at + 3]
        if length < 2:
            at += 2
            continue
        end = at + 2 + length
        if marker == _SOS:
            alone = at + 4 < size and data[at + 4] == components
            end = _scan_end(data, end, highest if alone else b"")
        elif marker in _FRAMES:
            components = data[at + 9] if at + 9 < size else 0
            highest = b"" if marker in _PROGRESSIVE else b"\x7f" if marker == 0xF7 else b"\0"
        elif marker not in _TABLES:
            _note(data, at + 4 + _kept(data, marker, at + 4, end), end, found, comment=marker == _COM)
        at = end
    return at + 2 if bytes(data[at : at + 2]) == b"\xff\xd9" else size


def _kept(data: memoryview, marker: int, start: int, end: int) -> int:
    """How many bytes of a segment's content stay."""
    if not 0xE0 <= marker <= 0xEE:
        return 0
    head = bytes(data[start : min(end, start + 6)])
    if marker == 0xE8 and head[:3] == b"\0\0\0":  # an entry of a SPIFF directory: its number, or the end
        return len(head) if head == _SPIFF_END else 4
    return min(end - start, _KEPT.get((marker, head[:5]), _KEPT.get((marker, head[:4]), 0)))


def _scan_end(data: memoryview, at: int, highest: bytes) -> int:
    """Where the marker behind entropy-coded data is.

    Of an image in one scan, EOI is known to follow, unless someone put segments before it. Then the last bytes would
    show it: what is text has no byte FF for pages, and what is not has others behind it than coded data.

    Args:
        highest: byte behind FF in coded data, but for restart markers; empty where there may be other scans.
    """
    size = len(data)
    end = size - 2 if bytes(data[size - 2 :]) == b"\xff\xd9" else size - 3
    if highest and end >= at and bytes(data[end : end + 2]) == b"\xff\xd9":
        begin = max(at, end - _WINDOW)
        pieces = bytes(data[begin:end]).split(b"\xff")
        if len(pieces) > 1:
            del pieces[0]
            found = max(pieces)[:1]
            if found <= highest or b"\xd0" <= found < b"\xd8":
                return end
        elif begin == at:
            return end
    return _marker_after(data, at)


def _marker_after(data: memoryview, at: int) -> int:
    marker = _NEXT_MARKER.search(data, at)
    return marker.start() if marker else len(data)


def _rest(data: memoryview, at: int, found: list[Range], mark: bytes) -> int:
    """What comes behind an image: another one (its place is returned), padding, or something that has to go."""
    if at >= len(data) or (at == len(data) - 1 and not data[at]):
        return -1
    rest = bytes(data[at:])
    begin = at + len(rest) - len(rest.lstrip(b"\0"))
    if begin == len(data):
        return -1
    if bytes(data[begin : begin + len(mark)]) == mark:
        return begin
    found.append((at, len(data)))
    return -1


# --- JPEG 2000 ----------------------------------------------------------------------------------------------------

_JP2_SIGNATURE = b"\0\0\0\x0cjP  \r\n\x87\n"
_J2K_START = b"\xff\x4f\xff\x51"
_SOT, _SOD, _EOC, _J2K_COM = 0xFF90, 0xFF93, 0xFFD9, 0xFF64
_NEXT_EOC = re.compile(rb"\xff\xd9")
_J2K_KNOWN = frozenset((*range(0xFF50, 0xFF64), *range(0xFF70, 0xFF80)))
"""SIZ to CRG, and those of T.801."""
_JP2_KEPT = frozenset((b"jP  ", b"ftyp", b"jp2h", b"jp2c"))
_JP2_HEADER_KEPT = frozenset((b"ihdr", b"bpcc", b"colr", b"pclr", b"cmap", b"cdef", b"res "))


def _jpeg_2000(data: memoryview, found: list[Range]) -> None:
    if bytes(data[:12]) == _JP2_SIGNATURE:
        _jp2(data, found)
    elif bytes(data[:4]) == _J2K_START:
        at = 0
        while at >= 0:
            at = _rest(data, _j2k_image(data, at + 2, found), found, _J2K_START)


def _j2k_image(data: memoryview, at: int, found: list[Range]) -> int:
    """From behind SOC to behind EOC."""
    size = len(data)
    tile_part = -1
    while at + 4 <= size:
        marker = data[at] << 8 | data[at + 1]
        if marker == _SOD:
            if tile_part < 0:
                return size
            length = int.from_bytes(data[tile_part + 6 : tile_part + 10], "big")  # Psot
            if length == 0:
                return _after_last_tile_part(data, at)
            at, tile_part = max(at + 2, tile_part + length), -1
            continue
        if marker == _EOC:
            return at + 2
        length = data[at + 2] << 8 | data[at + 3]
        if marker < 0xFF01 or length < 2:
            return size
        end = at + 2 + length
        if marker == _SOT:
            tile_part = at
        elif marker not in _J2K_KNOWN:
            kept = 2 if marker == _J2K_COM else 0  # Rcom: what kind of comment it is
            _note(data, at + 4 + kept, end, found, comment=bool(kept))
        at = end
    return at + 2 if bytes(data[at : at + 2]) == b"\xff\xd9" else size


def _after_last_tile_part(data: memoryview, at: int) -> int:
    """Behind EOC, where a tile-part reaches to it (A.4.2): at the end, unless something was put behind it."""
    for end in (len(data), len(data) - 1):
        if end - 2 >= at and bytes(data[end - 2 : end]) == b"\xff\xd9":
            return end
    found = _NEXT_EOC.search(data, at)
    return found.end() if found else len(data)


def _jp2(data: memoryview, found: list[Range]) -> None:
    for kind, start, end in _boxes(data, 0, len(data)):
        if kind == b"jp2c":
            if bytes(data[start : start + 4]) == _J2K_START:
                if b"\xff\xd9" in bytes(data[max(start, end - 3) : end]):
                    _codestream(data[start:end], start, found)
                    continue
                last = start + _codestream(data[start:], start, found)  # readers do not mind how long its box is
                if last > end:
                    _note(data, last, len(data), found)
                    return
        elif kind == b"jp2h":
            for inner_kind, inner_start, inner_end in _boxes(data, start, end):
                if inner_kind not in _JP2_HEADER_KEPT:
                    _note(data, inner_start, inner_end, found)
        elif kind not in _JP2_KEPT:
            _note(data, start, end, found)


def _codestream(data: memoryview, offset: int, found: list[Range]) -> int:
    """Within a box that begins at `offset`."""
    inner: list[Range] = []
    end = _j2k_image(data, 2, inner)
    found += [(offset + start, offset + stop) for start, stop in inner]
    return end


# --- JPEG XL ------------------------------------------------------------------------------------------------------

_JXL_SIGNATURE = b"\0\0\0\x0cJXL \r\n\x87\n"
_JXL_KEPT = frozenset((b"JXL ", b"ftyp", b"jxll", b"jxli", b"jxlc", b"jxlp", b"jbrd"))


def _jpeg_xl(data: memoryview, found: list[Range]) -> None:
    if bytes(data[:12]) == _JXL_SIGNATURE:
        for kind, start, end in _boxes(data, 0, len(data)):
            if kind not in _JXL_KEPT:
                _note(data, start, end, found)


def _boxes(data: memoryview, at: int, stop: int) -> list[tuple[bytes, int, int]]:
    """Type, and where the content of each box begins and ends (T.800 I.4); a rest, if any, has no type."""
    boxes = []
    while at + 8 <= stop:
        length, header = int.from_bytes(data[at : at + 4], "big"), 8
        if length == 1:
            length, header = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        elif length == 0:
            if not any(data[at + 4 : at + 8]):  # padding
                break
            length = stop - at
        if length < header:
            if bytes(data[at + 4 : at + 8]) != b"jp2c":  # whose length readers do not mind
                break
            length = stop - at
        boxes.append((bytes(data[at + 4 : at + 8]), min(at + header, stop), min(at + length, stop)))
        at += length
    if at < stop:
        boxes.append((b"", at, stop))
    return boxes


_WAYS: dict[str, Callable[[memoryview, list[Range]], None]] = {
    **dict.fromkeys(syntaxes.JPEG_FAMILY | syntaxes.JPEG_LS_FAMILY, _jpeg),
    **dict.fromkeys(syntaxes.JPEG_2000_FAMILY | syntaxes.HTJ2K_FAMILY, _jpeg_2000),
    **dict.fromkeys(("1.2.840.10008.1.2.4.92", "1.2.840.10008.1.2.4.93"), _jpeg_2000),
    **dict.fromkeys(syntaxes.JPEG_XL_FAMILY, _jpeg_xl),
}
_STARTS: dict[str, tuple[bytes, ...]] = {
    **{uid: (b"\xff\xd8\xff",) for uid, way in _WAYS.items() if way is _jpeg},
    **{uid: (_J2K_START, _JP2_SIGNATURE) for uid, way in _WAYS.items() if way is _jpeg_2000},
    **{uid: (_JXL_SIGNATURE,) for uid, way in _WAYS.items() if way is _jpeg_xl},
}
"""What frames with room for comments begin with."""
