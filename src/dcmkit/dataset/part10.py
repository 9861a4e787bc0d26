"""DICOM files (PS3.10 7): reading where the data set lies, writing what comes before it. Never the pixels.

Reads one block from the start of the file; no pydicom. Tolerates what is found in the field: no preamble, a wrong or
missing group length, a file meta in implicit VR, and, when asked, a bare data set without any file meta.
"""

from __future__ import annotations

import os
from functools import lru_cache
from struct import Struct
from typing import NamedTuple

from dcmkit import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dcmkit.dataset.scanner import LONG_VRS, SHORT_VRS, DataSetScanner
from dcmkit.errors import InputError, InvalidDataSetError
from dcmkit.uids import EXPLICIT_VR_BIG_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN

BLOCK = 8192
"""Bytes read first: the file meta and most of the header."""
META_LIMIT = 1 << 20
"""A file meta longer than this is none."""

_NO_END = 1 << 62
"""More bytes than any file has."""
_PREAMBLE = b"\0" * 128 + b"DICM"
_SOP_CLASS_UID, _SOP_INSTANCE_UID = 0x00080016, 0x00080018
_UIDS = frozenset({_SOP_CLASS_UID, _SOP_INSTANCE_UID})
_header = Struct("<HH2sH").unpack_from
_length = Struct("<L").unpack_from
_element = Struct("<HH2sH").pack
_group_length = Struct("<HH2sHL").pack
_long_element = Struct("<HH2sHL").pack


class FileHeader(NamedTuple):
    """What a file's first bytes say.

    Attributes:
        sop_class_uid, sop_instance_uid: the data set's, where they can be seen; otherwise the file meta's. They should
            be equal (PS3.10 7.1), but a peer compares those of a C-STORE-RQ with the data set's (PS3.4 B.2.3).
        transfer_syntax_uid: how the data set is encoded (guessed where nothing says it).
        offset, length: where the encoded data set lies in the file, in bytes.
        source_ae_title: who sent the object, where the file meta says it.
    """

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    offset: int
    length: int
    source_ae_title: str = ""


class _TooShort(Exception):  # noqa: N818 - never leaves this module
    """The file meta goes on beyond the bytes at hand."""


def read_file_header(source: str | os.PathLike[str] | int, *, allow_bare: bool = False) -> FileHeader:
    """The header of a DICOM file, given by path or open file descriptor.

    Args:
        allow_bare: take a data set without preamble and file meta too, and guess its transfer syntax.

    Raises:
        InvalidDataSetError: the file is not DICOM, or ends within the file meta.
        InputError: the file cannot be read.
    """
    try:
        if isinstance(source, int):
            return _read(source, allow_bare)
        fd = os.open(source, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0))
        try:
            return _read(fd, allow_bare)
        finally:
            os.close(fd)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"the file cannot be read: {reason}") from None


def _read(fd: int, allow_bare: bool) -> FileHeader:
    return parse_file_header(read_at(fd, BLOCK, 0), fd, os.fstat(fd).st_size, allow_bare=allow_bare)


def read_at(fd: int, count: int, offset: int) -> bytes:
    """Up to `count` bytes at `offset`."""
    if hasattr(os, "pread"):
        return os.pread(fd, count, offset)
    os.lseek(fd, offset, os.SEEK_SET)
    return os.read(fd, count)


def parse_file_header(block: bytes, fd: int, size: int, *, allow_bare: bool = False) -> FileHeader:
    """The header in `block`, the first bytes of the file open as `fd`; more is read only where it must be.

    Raises:
        InvalidDataSetError: the file is not DICOM, or ends within the file meta.
    """
    while True:
        try:
            return _parse(block, size, allow_bare)
        except _TooShort:
            more = min(META_LIMIT, len(block) * 8)
            if len(block) >= size or len(block) >= META_LIMIT:
                raise InvalidDataSetError("the file ends within its file meta information") from None
            block = read_at(fd, more, 0)
            if not block:
                raise InvalidDataSetError("the file is empty") from None


def parse_beginning(block: bytes, *, whole: bool, allow_bare: bool = False) -> FileHeader | None:
    """As `parse_file_header`, of a file that is still on its way; its `length` is only right where `block` is all.

    Args:
        whole: whether nothing will come behind `block`.

    Returns:
        None where more of it is needed.

    Raises:
        InvalidDataSetError: the file is not DICOM, or its file meta information does not end.
    """
    try:
        return _parse(block, len(block) if whole else _NO_END, allow_bare)
    except _TooShort:
        if whole or len(block) >= META_LIMIT:
            raise InvalidDataSetError("the file ends within its file meta information") from None
        return None


def _parse(block: bytes, size: int, allow_bare: bool) -> FileHeader:
    if block[128:132] == b"DICM":
        start = 132
    elif block[:4] == b"DICM":
        start = 4
    elif not size:
        raise InvalidDataSetError("the file is empty")
    elif allow_bare:
        start = 0
    else:
        raise InvalidDataSetError("the file is not a DICOM file", hint="it lacks the DICM prefix")
    meta, offset = _read_meta(block, start, size)
    if not meta and not _looks_like_data_set(block[start : start + 8]):
        raise InvalidDataSetError("the file is not a DICOM file", hint="no data set begins where one should")
    transfer_syntax = meta.get(0x0010, "") or _guess_transfer_syntax(block[offset : offset + 8])
    sop_class, sop_instance = meta.get(0x0002, ""), meta.get(0x0003, "")
    if not (_holds(block, sop_class, offset) and _holds(block, sop_instance, offset)):
        found_class, found_instance = _uids_of_data_set(block[offset:], transfer_syntax)
        sop_class, sop_instance = found_class or sop_class, found_instance or sop_instance
    return FileHeader(sop_class, sop_instance, transfer_syntax, offset, max(0, size - offset), meta.get(0x0016, ""))


def _read_meta(block: bytes, pos: int, size: int) -> tuple[dict[int, str], int]:
    """Group 2 by element number, and where it ends. It ends where another group begins, whatever its length says."""
    meta: dict[int, str] = {}
    end = len(block)
    while True:
        if pos + 8 > end:
            if end < size:
                raise _TooShort
            if pos < end and block[pos : pos + 2] == b"\2\0":
                raise _TooShort
            return meta, pos
        group, element, vr, length = _header(block, pos)
        if group != 2:
            return meta, pos
        if vr in SHORT_VRS:
            start = pos + 8
        elif vr in LONG_VRS:
            if pos + 12 > end:
                raise _TooShort
            start, length = pos + 12, _length(block, pos + 8)[0]
        else:  # implicit VR, against PS3.10 7.1
            start, length = pos + 8, _length(block, pos + 4)[0]
        pos = start + length
        if pos > end:
            raise _TooShort
        if length <= 128 and element:
            meta[element] = block[start:pos].decode("ascii", "replace").strip(" \0")


def _looks_like_data_set(head: bytes) -> bool:
    if len(head) < 8:
        return False
    group, element, vr, _ = _header(head)
    if head[:4] in (b"\0\x08\0\0", b"\0\x08\0\x05", b"\0\x08\0\x08", b"\0\x08\0\x16") or vr in SHORT_VRS | LONG_VRS:
        return True
    return bool(2 <= group <= 0x0028 and element < 0x2000 and _length(head, 4)[0] < 65536)


def _guess_transfer_syntax(head: bytes) -> str:
    """From the first element of the data set: a VR or none, and which byte of the group number is zero."""
    if head[4:6] not in SHORT_VRS | LONG_VRS:
        return IMPLICIT_VR_LITTLE_ENDIAN
    return EXPLICIT_VR_BIG_ENDIAN if head[:1] == b"\0" and head[1:2] != b"\0" else EXPLICIT_VR_LITTLE_ENDIAN


def _holds(block: bytes, uid: str, offset: int) -> bool:
    """Whether the data set seems to say the same: so it nearly always is, and this is quickly seen."""
    return bool(uid) and block.find(uid.encode("ascii", "replace"), offset) >= 0


def _uids_of_data_set(block: bytes, transfer_syntax_uid: str) -> tuple[str, str]:
    scanner = DataSetScanner(transfer_syntax_uid, _UIDS)
    try:
        scanner.feed(memoryview(block))
    except InvalidDataSetError:
        pass
    values = scanner.header().values
    return clean_uid(values.get(_SOP_CLASS_UID, b"")), clean_uid(values.get(_SOP_INSTANCE_UID, b""))


def clean_uid(raw: bytes) -> str:
    """A UID as text without its padding; whatever else is in it stays in it."""
    return raw.decode("ascii", "replace").strip(" \0")


# --- writing -----------------------------------------------------------------------------------------------------


def file_meta(
    sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, *, source_ae_title: str = ""
) -> bytes:
    """Preamble, prefix and file meta information (PS3.10 7.1), to be written before the data set."""
    before, after = _meta_around_instance(sop_class_uid, transfer_syntax_uid, source_ae_title)
    instance = sop_instance_uid.encode("ascii", "replace")
    if len(instance) & 1:
        instance += b"\0"
    length = len(before) + 8 + len(instance) + len(after)
    return b"".join(
        (
            _PREAMBLE,
            _group_length(2, 0, b"UL", 4, length),
            before,
            _element(2, 3, b"UI", len(instance)),
            instance,
            after,
        )
    )


@lru_cache(maxsize=256)
def _meta_around_instance(sop_class_uid: str, transfer_syntax_uid: str, source_ae_title: str) -> tuple[bytes, bytes]:
    before = _long_element(2, 1, b"OB", 0, 2) + b"\0\1" + _text(0x0002, b"UI", sop_class_uid)
    after = (
        _text(0x0010, b"UI", transfer_syntax_uid)
        + _text(0x0012, b"UI", IMPLEMENTATION_CLASS_UID)
        + _text(0x0013, b"SH", IMPLEMENTATION_VERSION_NAME[:16])
    )
    if source_ae_title:
        after += _text(0x0016, b"AE", source_ae_title[:16])
    return before, after


def _text(element: int, vr: bytes, text: str) -> bytes:
    value = text.encode("ascii", "replace")
    if len(value) & 1:
        value += b"\0" if vr == b"UI" else b" "
    return _element(2, element, vr, len(value)) + value
