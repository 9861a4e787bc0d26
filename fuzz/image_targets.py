"""Targets of what reads and writes files of images; `targets.py` enters them."""

from __future__ import annotations

import os
import struct
import tempfile
import zlib

from dcmkit import uids
from dcmkit.dataset.part10 import file_meta
from dcmkit.dataset.raw import BIG_ENDIAN, EXPLICIT, IMPLICIT, RawElements, walk
from dcmkit.dataset.recode import AS_THEY_ARE, CREATE, DEFINED, RECALCULATE, REMOVE, UNDEFINED_LENGTHS, recode
from dcmkit.deid import comments
from dcmkit.errors import InputError, InvalidDataSetError
from dcmkit.pixels import syntaxes
from dcmkit.pixels.codestream import inspect
from dcmkit.pixels.image_file import ImageFile
from dcmkit.pixels.writer import ImageWriter, WriterOptions
from dcmkit.uids import is_encapsulated

JPEG, RLE, VIDEO = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.102"
ENCODINGS = (EXPLICIT, IMPLICIT, BIG_ENDIAN)
FRAMES_READ = 8


def fuzz_image_file(data: bytes) -> None:
    """A file of an image: its elements and frames, and the same written and read again."""
    with tempfile.TemporaryDirectory() as directory:
        path, copy = os.path.join(directory, "a"), os.path.join(directory, "b")
        with open(path, "wb") as file:
            file.write(data)
        try:
            with ImageFile(path, inflated_limit=1 << 20) as image:
                frames = [bytes(image.frame(index)) for index in range(min(image.number_of_frames, FRAMES_READ))]
                _ = image.data_set
                written = _written(image, frames, copy)
        except InputError:
            return
        if written:
            _check_copy(copy, frames)


def _written(image: ImageFile, frames: list[bytes], path: str) -> bool:
    """Whether the frames could be written as they are."""
    if not frames or image.is_video or image.encoding.big_endian or image.encoding != EXPLICIT:
        return False
    if image.number_of_frames > len(frames) or not is_encapsulated(image.transfer_syntax_uid):
        return False
    options = WriterOptions(number_of_frames=len(frames))
    with ImageWriter(
        path, image.elements, image.transfer_syntax_uid, sop_class_uid="1.2", sop_instance_uid="1.2.3", options=options
    ) as writer:
        for frame in frames:
            writer.write_frame(frame)
        writer.commit()
    return True


def _check_copy(path: str, frames: list[bytes]) -> None:
    with ImageFile(path) as image:
        found = [bytes(image.frame(index)) for index in range(min(image.number_of_frames, len(frames)))]
    padded = [frame + b"\0" * (len(frame) & 1) for frame in frames]
    if found != padded[: len(found)]:
        raise AssertionError("does not hold: frames written are read back")


def fuzz_recode(data: bytes) -> None:
    """First byte: from which encoding into which, and how; the rest: elements."""
    if not data:
        return
    variant, view = data[0], memoryview(data)[1:]
    source, target = ENCODINGS[variant % 3], ENCODINGS[variant // 3 % 3]
    sequences = (AS_THEY_ARE, DEFINED, UNDEFINED_LENGTHS)[variant // 9 % 3]
    lengths = (REMOVE, RECALCULATE, CREATE)[variant // 27 % 3]
    try:
        found = RawElements(view, source, walk(view, 0, len(view), source))
        first = memoryview(b"".join(recode([found], target, sequences=sequences, group_lengths=lengths)))
    except InvalidDataSetError:
        return
    if not target.explicit:  # VRs that were not those of the dictionary are lost: what was bytes may be a sequence now
        return
    again = RawElements(first, target, walk(first, 0, len(first), target))
    second = b"".join(recode([again], target, sequences=sequences, group_lengths=lengths))
    if second != first:
        raise AssertionError("does not hold: elements encoded anew stay as they are")


# --- seeds -------------------------------------------------------------------------------------------------------


def _element(tag: int, vr: str, value: bytes) -> bytes:
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr.encode())
    if vr in ("OB", "OV", "SQ"):
        return head + struct.pack("<HL", 0, len(value)) + value
    return head + struct.pack("<H", len(value)) + value


def _item(value: bytes) -> bytes:
    return b"\xfe\xff\x00\xe0" + struct.pack("<L", len(value)) + value


def _attributes(frames: bytes = b"3 ") -> bytes:
    return b"".join((
        _element(0x00080016, "UI", b"1.2\0"), _element(0x00081140, "SQ", _item(_element(0x00081150, "UI", b"1.2\0"))),
        _element(0x00280002, "US", b"\1\0"), _element(0x00280008, "IS", frames), _element(0x00280010, "US", b"\2\0"),
        _element(0x00280011, "US", b"\3\0"), _element(0x00280100, "US", b"\x08\0"),
    ))  # fmt: skip


def _files() -> tuple[bytes, ...]:
    frames = (b"\xff\xd8\xff\xe0one!", b"\xff\xd8\xff\xe0second", b"\xff\xd8\xff\xe03rd!")
    opened, end = b"\xe0\x7f\x10\0OB\0\0\xff\xff\xff\xff", b"\xfe\xff\xdd\xe0\0\0\0\0"
    items = b"".join(map(_item, frames)) + end
    pieces = b"".join(_item(part) for frame in frames for part in (frame[:6], frame[6:])) + end
    table, offsets = _item(struct.pack("<3L", 0, 16, 34)), struct.pack("<3Q", 0, 16, 34)
    native = _attributes() + _element(0x7FE00010, "OB", bytes(18))
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    bits = _attributes().replace(b"US\2\0\x08\0", b"US\2\0\1\0") + _element(0x7FE00010, "OB", b"\x12\x34\x56\x78")
    return tuple(
        file_meta("1.2", "1.2.3", syntax) + rest
        for syntax, rest in (
            (JPEG, _attributes() + opened + table + items),
            (JPEG, _attributes() + opened + _item(b"") + pieces),
            (JPEG, _attributes() + _element(0x7FE00001, "OV", offsets) + opened + _item(b"") + items),
            (RLE, _attributes(b"1 ") + opened + _item(b"") + _item(b"\1\0\0\0\x40\0\0\0" + bytes(60)) + end),
            (VIDEO, _attributes() + opened + table + items),
            (uids.EXPLICIT_VR_LITTLE_ENDIAN, native),
            (uids.EXPLICIT_VR_LITTLE_ENDIAN, bits),
            (uids.DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, deflater.compress(native) + deflater.flush()),
        )
    )


def _elements() -> tuple[bytes, ...]:
    undefined = b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + _element(0x00081150, "UI", b"1.2\0") + b"\xfe\xff\x0d\xe0\0\0\0\0"
    more = b"\x08\0\x11\x11SQ\0\0\xff\xff\xff\xff" + undefined + b"\xfe\xff\xdd\xe0\0\0\0\0"
    view = memoryview(_attributes() + more)
    found = RawElements(view, EXPLICIT, walk(view, 0, len(view), EXPLICIT))
    encoded = [b"".join(recode([found], encoding)) for encoding in ENCODINGS]
    return tuple(bytes((variant,)) + encoded[variant % 3] for variant in range(0, 81, 2))


def fuzz_comments(data: bytes) -> None:
    """What a codestream says beside its pixels; the first byte chooses the transfer syntax."""
    syntax, codestream = WITH_COMMENTS[data[0] % len(WITH_COMMENTS)] if data else "", data[1:]
    at = 0
    for start, end in comments.blanks(memoryview(codestream), syntax):
        assert at <= start < end <= len(codestream), "ranges are in order, and within"
        at = end
    clean = comments.without(codestream, syntax)
    assert len(clean) == len(codestream), "nothing moves"
    comments.is_sealed(codestream, syntax)
    try:
        info = inspect(codestream, syntax)
    except InputError:
        return
    if not info.complete:
        return
    now = inspect(clean, syntax)._replace(
        complete=info.complete
    )  # what was taken for its end may have been a comment's
    assert now == info, "a header says the same without comments"


WITH_COMMENTS = (syntaxes.JPEG_BASELINE, syntaxes.JPEG_LS, syntaxes.JPEG_2000_LOSSLESS, syntaxes.JPEG_XL_LOSSLESS)


def _commented() -> tuple[bytes, ...]:
    def segment(marker: int, content: bytes) -> bytes:
        return struct.pack(">HH", marker, len(content) + 2) + content

    def box(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">L4s", len(content) + 8, kind) + content

    def jpeg(sof: int) -> bytes:
        marked = segment(0xFFE0, b"JFIF\0\1\2\0\0\1\0\1\0\0") + segment(0xFFFE, b"Doe") + segment(0xFFE1, b"Exif\0\0")
        frame = segment(0xFF00 | sof, b"\x08\0\1\0\1\1\1\x11\0") + segment(0xFFDA, b"\1\1\0\0\x3f\0")
        return b"\xff\xd8" + marked + frame + b"\x12\xff\0\x34" + segment(0xFFFE, b"Jane") + b"\xff\xd9rest"

    size = struct.pack(">H8IH3B", 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 7, 1, 1)
    main = segment(0xFF51, size) + segment(0xFF52, bytes(4) + b"\0\0\4\4\0\1") + segment(0xFF64, b"\0\1Doe^Jane")
    tile = b"\xff\x90\0\x0a\0\0\0\0\0\x1a\0\1" + segment(0xFF64, b"\0\1Doe") + b"\xff\x93\x01\x02\x03"
    j2k = b"\xff\x4f" + main + tile + b"\xff\xd9"
    jp2 = box(b"jP  ", b"\r\n\x87\n") + box(b"jp2h", box(b"lbl ", b"Doe")) + box(b"xml ", b"Doe") + box(b"jp2c", j2k)
    jxl = box(b"JXL ", b"\r\n\x87\n") + box(b"Exif", b"Doe") + box(b"jxlc", b"\xff\x0a" + bytes(20))
    return b"\0" + jpeg(0xC0), b"\1" + jpeg(0xF7), b"\2" + j2k, b"\2" + jp2, b"\3" + jxl


RUNS = {
    "image_file": (fuzz_image_file, _files()),
    "recode": (fuzz_recode, _elements()),
    "comments": (fuzz_comments, _commented()),
}
"""Each target's function and seeds."""
