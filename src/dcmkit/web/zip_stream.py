"""Zip archives as they are sent (APPNOTE 6.3): files as they are, in flat memory, their length known beforehand.

Nothing is compressed: pixels that can be are already. A file that is small enough is read before its header is made,
which then has its checksum, so that readers that cannot go back take it too; that of a larger one comes after it
(4.3.9). Sizes beyond four gigabytes, and more entries than 65,534, are written as Zip64 (4.3.14, 4.5.3).
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from struct import Struct
from typing import NamedTuple
from zlib import crc32

from dcmkit.errors import OutputError

WHOLE = 4 << 20
"""Bytes of a file that is read before its header is made."""
MEDIA_TYPE = "application/zip"

_LOCAL, _CENTRAL = Struct("<LHHHHHLLLHH"), Struct("<LHHHHHHLLLHHHHHLL")
_DESCRIPTOR, _DESCRIPTOR_64 = Struct("<LLLL"), Struct("<LLQQ")
_END, _END_64, _LOCATOR = Struct("<LHHHHLLH"), Struct("<LQHHLLQQQQ"), Struct("<LLQL")
_SIZES_64 = Struct("<HHQQ")
_UNIX = 3 << 8
_PLAIN, _ZIP64 = 20, 45
"""Versions of the format that an entry needs."""
_CHECKSUM_LATER, _UTF_8 = 1 << 3, 1 << 11
_REGULAR_FILE = 0o100644 << 16
_FULL_16, _FULL_32 = 0xFFFF, 0xFFFFFFFF
_FIRST_YEAR, _LAST_YEAR = 1980, 2107


class Entry(NamedTuple):
    """A file to be sent.

    Attributes:
        name: with slashes; whoever makes it sees that it leads nowhere else.
        size: in bytes.
        blocks: its content, exactly that long; gone through once.
        moment: seconds since 1970.
    """

    name: str
    size: int
    blocks: Iterable[bytes | memoryview] = ()
    moment: float = 0.0


class ZipStream:
    """What stands around the files of one archive. `add` each entry, then `end`.

    Attributes:
        length: bytes that were made so far, those of the files included.
    """

    def __init__(self) -> None:
        self.length = 0
        self._central: list[bytes] = []

    def add(self, entry: Entry) -> Iterator[bytes | memoryview]:
        """The bytes of an entry.

        Raises:
            OutputError: its content is longer or shorter than was said.
        """
        if entry.size <= WHOLE:
            content = _exactly(b"".join(entry.blocks), entry.size)
            yield self._begin(entry, checksum := crc32(content))
            yield content
            self._note(entry, checksum)
            return
        offset = self.length
        yield self._begin(entry, None)
        checksum = size = 0
        for block in entry.blocks:
            checksum, size = crc32(block, checksum), size + len(block)
            yield block
        if size != entry.size:
            raise _changed()
        yield self._after(entry, checksum)
        self._note(entry, checksum, offset)

    def pass_over(self, entry: Entry) -> None:
        """Count an entry without its content."""
        offset = self.length
        later = entry.size > WHOLE
        self._begin(entry, None if later else 0)
        if later:
            self._after(entry, 0)
            self._note(entry, 0, offset)
        else:
            self._note(entry, 0)

    def end(self) -> bytes:
        """What comes after all entries: their directory."""
        start, count = self.length, len(self._central)
        central = b"".join(self._central)
        size = len(central)
        end = b""
        if count >= _FULL_16 or start >= _FULL_32 or size >= _FULL_32:
            made = _UNIX | _ZIP64
            end += _END_64.pack(0x06064B50, _END_64.size - 12, made, _ZIP64, 0, 0, count, count, size, start)
            end += _LOCATOR.pack(0x07064B50, 0, start + size, 1)
        some = min(count, _FULL_16)
        end += _END.pack(0x06054B50, 0, 0, some, some, min(size, _FULL_32), min(start, _FULL_32), 0)
        self.length += size + len(end)
        return central + end

    # --- records -------------------------------------------------------------------------------------------------

    def _begin(self, entry: Entry, checksum: int | None) -> bytes:
        """The local file header (4.3.7); sizes are zero where the checksum comes later (4.4.4)."""
        name, flags = _name(entry.name)
        size, extra, version = entry.size, b"", _PLAIN
        if checksum is None:
            flags, size = flags | _CHECKSUM_LATER, 0
        if entry.size >= _FULL_32:
            extra, version = _SIZES_64.pack(1, 16, size, size), _ZIP64
            size = _FULL_32
        clock, day = _moment(entry.moment)
        head = _LOCAL.pack(
            0x04034B50, version, flags, 0, clock, day, checksum or 0, size, size, len(name), len(extra)
        )  # fmt: skip
        self.length += len(head) + len(name) + len(extra) + entry.size
        return head + name + extra

    def _after(self, entry: Entry, checksum: int) -> bytes:
        """The data descriptor (4.3.9)."""
        record = _DESCRIPTOR_64 if entry.size >= _FULL_32 else _DESCRIPTOR
        self.length += record.size
        return record.pack(0x08074B50, checksum, entry.size, entry.size)

    def _note(self, entry: Entry, checksum: int, offset: int | None = None) -> None:
        """The entry of the central directory (4.3.12)."""
        name, flags = _name(entry.name)
        if offset is None:
            offset = self.length - entry.size - _LOCAL.size - len(name)
        else:
            flags |= _CHECKSUM_LATER
        large = [number for number in (entry.size, entry.size, offset) if number >= _FULL_32]
        extra = Struct(f"<HH{len(large)}Q").pack(1, 8 * len(large), *large) if large else b""
        clock, day = _moment(entry.moment)
        size = min(entry.size, _FULL_32)
        record = _CENTRAL.pack(
            0x02014B50, _UNIX | _ZIP64, _ZIP64 if large else _PLAIN, flags, 0, clock, day, checksum, size, size,
            len(name), len(extra), 0, 0, 0, _REGULAR_FILE, min(offset, _FULL_32),
        )  # fmt: skip
        self._central.append(record + name + extra)


def stream(entries: Iterable[Entry]) -> Iterator[bytes | memoryview]:
    """A whole archive, piece by piece.

    Raises:
        OutputError: as `ZipStream.add`; the archive is cut off then.
    """
    made = ZipStream()
    for entry in entries:
        yield from made.add(entry)
    yield made.end()


def length_of(entries: Iterable[Entry]) -> int:
    """The length of the archive that `stream` makes of these, their contents not looked at."""
    made = ZipStream()
    for entry in entries:
        made.pass_over(entry)
    made.end()
    return made.length


def _name(text: str) -> tuple[bytes, int]:
    return text.encode("utf-8", "replace"), 0 if text.isascii() else _UTF_8


def _moment(seconds: float) -> tuple[int, int]:
    """Time and date as MS-DOS has them (4.4.6), in UTC."""
    try:
        moment = time.gmtime(seconds)
    except (OverflowError, OSError, ValueError):
        moment = time.gmtime(0)
    if not _FIRST_YEAR <= moment.tm_year <= _LAST_YEAR:
        return 0, 1 << 5 | 1
    clock = moment.tm_hour << 11 | moment.tm_min << 5 | min(moment.tm_sec, 59) >> 1
    return clock, (moment.tm_year - _FIRST_YEAR) << 9 | moment.tm_mon << 5 | moment.tm_mday


def _exactly(content: bytes, size: int) -> bytes:
    if len(content) != size:
        raise _changed()
    return content


def _changed() -> OutputError:
    return OutputError("a file changed its length while it was sent")
