"""Is the data set of a file all there? Follows its structure to the end; pixel data is passed over, not read."""

from __future__ import annotations

from dcmkit.dataset.part10 import FileHeader, read_at
from dcmkit.dataset.scanner import DataSetScanner
from dcmkit.errors import InvalidDataSetError

_STEP = 4096
"""Bytes read at a time after a jump: the next item or element header, and some more."""
_NOTHING: frozenset[int] = frozenset()


def require_complete(descriptor: int, header: FileHeader, first: bytes | memoryview) -> None:
    """Check a file's data set.

    Args:
        descriptor: open on the file.
        header: of that file.
        first: the first bytes of its data set, or all of it.

    Raises:
        InvalidDataSetError: it is empty, damaged or truncated, or the file has become shorter.
    """
    scanner = DataSetScanner(header.transfer_syntax_uid, _NOTHING)
    scanner.feed(memoryview(first))
    position, end = header.offset + len(first), header.offset + header.length
    while position < end:
        jump = min(scanner.skippable, end - position)
        if jump:
            scanner.skip(jump)
            position += jump
            continue
        data = read_at(descriptor, min(_STEP, end - position), position)
        if not data:
            raise InvalidDataSetError("the file is shorter than it was", hint="send it again")
        scanner.feed(memoryview(data))
        position += len(data)
    scanner.finish()
