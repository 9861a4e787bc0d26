"""From a file on disk to its record: the file meta and the header, up to the pixels only."""

from __future__ import annotations

import os

from dcmkit.archive import disk
from dcmkit.archive.attributes import SOP_CLASS_UID, SOP_INSTANCE_UID, Attribute
from dcmkit.archive.record import Record
from dcmkit.dataset.part10 import clean_uid, parse_file_header, read_at
from dcmkit.dataset.scanner import DataSetScanner
from dcmkit.errors import InputError, InvalidDataSetError

_BLOCK = 12288
_NEXT_BLOCK = 65536


def read_record(
    path: str, wanted: frozenset[int], extra: tuple[Attribute, ...] = (), *, lenient: bool = False
) -> Record:
    """The record of a DICOM file, its directory and name still empty.

    Args:
        lenient: take a data set that cannot be followed to its end for what could be read of it.

    Raises:
        InvalidDataSetError: it is not DICOM, truncated (as far as the header tells), or lacks its UIDs.
        InputError: it cannot be read.
    """
    try:
        fd = disk.open_for_reading(path)
        try:
            return _read(fd, wanted, extra, lenient)
        finally:
            os.close(fd)
    except (OSError, ValueError) as error:
        raise InputError(f"the file cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _read(fd: int, wanted: frozenset[int], extra: tuple[Attribute, ...], lenient: bool) -> Record:
    facts = os.fstat(fd)
    block = read_at(fd, _BLOCK, 0)
    header = parse_file_header(block, fd, facts.st_size)
    scanner = DataSetScanner(header.transfer_syntax_uid, wanted)
    try:
        scan(fd, scanner, header.offset, facts.st_size, block[header.offset :])
        found = scanner.header() if scanner.in_pixel_data else scanner.finish()
    except InvalidDataSetError:
        if not lenient:
            raise
        found = scanner.header()
    sop_class = clean_uid(found.values.get(SOP_CLASS_UID, b"")) or header.sop_class_uid
    sop_instance = clean_uid(found.values.get(SOP_INSTANCE_UID, b"")) or header.sop_instance_uid
    if not sop_instance:
        raise InvalidDataSetError("the data set has no SOP Instance UID", offending_element=SOP_INSTANCE_UID)
    record = Record(found, sop_class, sop_instance, header.transfer_syntax_uid, extra)
    record.data_set_offset, record.size, record.mtime_ns = header.offset, facts.st_size, facts.st_mtime_ns
    record.received = int(facts.st_mtime)
    record.source_ae_title = header.source_ae_title
    return record


def scan(fd: int, scanner: DataSetScanner, offset: int, size: int, block: bytes) -> None:
    """Feed a file from `offset` on, `block` first, stepping over what need not be read; ends at encapsulated pixels."""
    while True:
        if block:
            scanner.feed(memoryview(block))
            offset += len(block)
        step = min(scanner.skippable, size - offset)
        if step > 0:
            scanner.skip(step)
            offset += step
        if scanner.in_pixel_data or offset >= size:
            return
        block = read_at(fd, _NEXT_BLOCK, offset)
        if not block:
            return
