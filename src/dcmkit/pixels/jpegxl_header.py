"""The boxes and the first fields of a JPEG XL codestream (ISO/IEC 18181-1 Annexes A, B, D, E, 18181-2)."""

from __future__ import annotations

import struct

from dcmkit.errors import UnsupportedSyntaxError
from dcmkit.pixels.codestream import Bytes, CodestreamInfo, broken

_CONTAINER = b"\0\0\0\x0cJXL \r\n\x87\n"
_HEADER_ROOM = 256
"""More than the fields read here ever take."""
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))


class _Bits:
    """Fields from the least significant bit on (18181-1 B.2)."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "little")
        self._left = 8 * len(data)

    def u(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise broken("its header is cut short")
        value = self._value & ((1 << count) - 1)
        self._value >>= count
        return value

    def u32(self, *distributions: tuple[int, int]) -> int:
        """One of four (offset, bits), chosen by two bits."""
        offset, bits = distributions[self.u(2)]
        return offset + self.u(bits)


def read_header(data: Bytes) -> CodestreamInfo:
    """Size, bits, color and whether a JPEG can be restored."""
    codestream, complete, recompressed = _codestream_head(data)
    if codestream[:2] != b"\xff\x0a":
        raise broken("it does not begin as JPEG XL does (FF0A)")
    bits = _Bits(codestream[2:])
    rows, columns = _size(bits)
    samples, precision, xyb = 3, 8, True
    if not bits.u(1):  # all default: eight bits, XYB, sRGB
        _extra_fields(bits)
        precision, xyb, samples = _metadata(bits)
    return CodestreamInfo(
        "JPEG XL",
        rows,
        columns,
        samples,
        precision,
        color="XYB" if xyb and samples == 3 else "YBR" if recompressed and samples == 3 else "",
        lossless=False if xyb or recompressed else None,
        complete=complete,
        recompressed=recompressed,
    )


def _codestream_head(data: Bytes) -> tuple[bytes, bool, bool]:
    """The first bytes of the codestream, whether all boxes are whole, whether one of them restores a JPEG."""
    if bytes(data[:12]) != _CONTAINER:
        return bytes(data[:_HEADER_ROOM]), True, False
    head, recompressed, at, last = b"", False, 0, False
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        header = 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, at + 8)
            header = 16
        elif length == 0:
            length = len(data) - at
        elif kind == b"\0\0\0\0":  # padding to an even length
            break
        if length < header:
            raise broken("a box without a length")
        if at + length > len(data):
            return head or bytes(data[at + header + 4 * (kind == b"jxlp") :][:_HEADER_ROOM]), False, recompressed
        recompressed |= kind == b"jbrd"
        if kind in (b"jxlc", b"jxlp"):
            skipped = 4 if kind == b"jxlp" else 0
            last |= kind == b"jxlc" or bool(data[at + header] & 0x80)
            if len(head) < _HEADER_ROOM:
                head += bytes(data[at + header + skipped : min(at + length, at + header + skipped + _HEADER_ROOM)])
        at += length
    return head, last, recompressed


def _size(bits: _Bits) -> tuple[int, int]:
    """SizeHeader (D.2)."""
    small = bits.u(1)
    sizes = ((1, 9), (1, 13), (1, 18), (1, 30))
    rows = 8 * (bits.u(5) + 1) if small else bits.u32(*sizes)
    ratio = bits.u(3)
    if ratio:
        numerator, denominator = _RATIOS[ratio - 1]
        return rows, rows * numerator // denominator
    return rows, 8 * (bits.u(5) + 1) if small else bits.u32(*sizes)


def _extra_fields(bits: _Bits) -> None:
    """The beginning of ImageMetadata (D.3): what DICOM has no use for is not taken."""
    if not bits.u(1):
        return
    if bits.u(3):
        raise UnsupportedSyntaxError("a JPEG XL image that is to be turned")
    if bits.u(1):
        _size(bits)
    if bits.u(1) or bits.u(1):
        raise UnsupportedSyntaxError("a JPEG XL image with a preview or an animation")


def _metadata(bits: _Bits) -> tuple[int, bool, int]:
    """Bits, whether the color is XYB, samples per pixel."""
    if bits.u(1):
        raise UnsupportedSyntaxError("a JPEG XL image of floating point samples")
    precision = bits.u32((8, 0), (10, 0), (12, 0), (1, 6))
    bits.u(1)  # modular_16bit_buffers
    if bits.u32((0, 0), (1, 0), (2, 4), (1, 12)):
        raise UnsupportedSyntaxError("a JPEG XL image with extra channels")
    xyb = bool(bits.u(1))
    samples = 3
    if not bits.u(1):  # ColourEncoding (E.2)
        bits.u(1)  # want_icc
        samples = 1 if bits.u32((0, 0), (1, 0), (2, 4), (18, 6)) == 1 else 3
    return precision, xyb, samples
