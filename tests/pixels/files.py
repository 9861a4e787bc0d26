"""Make files of images for tests, right ones and wrong ones."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

from dcmkit.dataset.part10 import file_meta
from dcmkit.uids import EXPLICIT_VR_LITTLE_ENDIAN

JPEG, JPEG_2000, RLE = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.5"
JPEG_XL, VIDEO, DEFLATED_FRAMES = "1.2.840.10008.1.2.4.110", "1.2.840.10008.1.2.4.102", "1.2.840.10008.1.2.8.1"
SOI, SOC = b"\xff\xd8\xff\xe0", b"\xff\x4f\xff\x51"
END = b"\xfe\xff\xdd\xe0\0\0\0\0"


def element(tag: int, vr: str, value: bytes) -> bytes:
    value += (b"\0" if vr in ("UI", "OB") else b" ") * (len(value) & 1)
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr.encode())
    if vr in ("OB", "OW", "OV", "UN", "SQ", "UT"):
        return head + struct.pack("<HL", 0, len(value)) + value
    return head + struct.pack("<H", len(value)) + value


def attributes(
    rows: int = 2, columns: int = 3, bits: int = 8, frames: int | None = None, *, photometric: str = "MONOCHROME2"
) -> bytes:
    """Everything before the pixel data, in explicit VR."""
    number = b"" if frames is None else element(0x00280008, "IS", str(frames).encode())
    return b"".join((
        element(0x00080016, "UI", b"1.2"), element(0x00080018, "UI", b"1.2.3"), element(0x00100010, "PN", b"A^B"),
        element(0x00280002, "US", b"\1\0"), element(0x00280004, "CS", photometric.encode()), number,
        element(0x00280010, "US", struct.pack("<H", rows)), element(0x00280011, "US", struct.pack("<H", columns)),
        element(0x00280100, "US", struct.pack("<H", bits)), element(0x00280101, "US", struct.pack("<H", bits)),
    ))  # fmt: skip


def item(value: bytes) -> bytes:
    return b"\xfe\xff\x00\xe0" + struct.pack("<L", len(value)) + value


def table(offsets: Sequence[int], shape: str = "L") -> bytes:
    return struct.pack(f"<{len(offsets)}{shape}", *offsets)


def encapsulated(fragments: Sequence[bytes], offsets: Sequence[int] = (), end: bytes = END) -> bytes:
    """The pixel data element."""
    items = b"".join(item(one) for one in (table(offsets), *fragments))
    return b"\xe0\x7f\x10\0OB\0\0\xff\xff\xff\xff" + items + end


def write(path: Path, syntax: str, *parts: bytes) -> Path:
    path.write_bytes(file_meta("1.2", "1.2.3", syntax) + b"".join(parts))
    return path


def native(path: Path, value: bytes, attributes: bytes, vr: str = "OB") -> Path:
    return write(path, EXPLICIT_VR_LITTLE_ENDIAN, attributes, element(0x7FE00010, vr, value))
