"""A DICOM file that comes in pieces, on its way to where objects are received: only its beginning is held."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dcmkit.dataset.part10 import BLOCK, META_LIMIT, FileHeader, parse_file_header
from dcmkit.errors import InvalidDataSetError
from dcmkit.uids import is_uid

if TYPE_CHECKING:
    from dcmkit.services.storage import Destination, IncomingObject

_NO_FILE = -1
_ENDLESS = 1 << 62


class Taken(NamedTuple):
    """An object that is safe.

    Attributes:
        status, message: what is odd about it, as in `archive.filing.Stored`.
        path: "" where it was forgotten.
    """

    header: FileHeader
    size: int
    path: str
    status: int
    message: str


class Part10Stream:
    """One object. Feed it, then finish it or abandon it.

    Args:
        destination: where it goes; None forgets it.
        source: AE title that its file meta information names as its source.
    """

    def __init__(self, destination: Destination | None, source: str = "") -> None:
        self._destination, self._source = destination, source
        self._head = bytearray()
        self._needed = BLOCK
        self._incoming: IncomingObject | None = None
        self.size = 0
        self.header: FileHeader | None = None

    def feed(self, view: memoryview) -> None:
        """More of it.

        Raises:
            InvalidDataSetError: it is no DICOM file, or not a usable one.
            OutputError: it cannot be written.
        """
        self.size += len(view)
        if self.header is not None:
            if self._incoming is not None:
                self._incoming.write(view)
            return
        self._head += view
        if len(self._head) >= self._needed:
            self._begin(_ENDLESS)

    def finish(self) -> Taken:
        """All of it was fed: it is kept.

        Raises:
            InvalidDataSetError: it is no DICOM file, or not all of one.
            DuplicateError, OutputError: as `Incoming.commit`.
        """
        if self.header is None:
            self._begin(len(self._head))
        header = self.header
        assert header is not None
        if self._incoming is None:
            return Taken(header, self.size, "", 0, "")
        stored = self._incoming.commit()
        return Taken(header, self.size, stored.path, stored.dimse_status, stored.message)

    def abandon(self) -> None:
        """It will not be complete: nothing is left of it. May be called at any time."""
        if self._incoming is not None:
            self._incoming.abandon()

    def _begin(self, size: int) -> None:
        """The file meta information may be all there."""
        try:
            header = parse_file_header(bytes(self._head), _NO_FILE, size, allow_bare=True)
        except OSError:  # it wanted to read on
            if len(self._head) >= META_LIMIT:
                raise InvalidDataSetError("the object's file meta information has no end") from None
            self._needed = len(self._head) * 2
            return
        if not is_uid(header.sop_instance_uid) or not is_uid(header.sop_class_uid):
            raise InvalidDataSetError("the object has no SOP Class or SOP Instance UID")
        if not is_uid(header.transfer_syntax_uid):
            raise InvalidDataSetError("the object's transfer syntax is not a UID")
        if self._destination is not None:
            self._incoming = self._destination.incoming(
                header.sop_class_uid, header.sop_instance_uid, header.transfer_syntax_uid, self._source
            )
        self.header = header
        rest = bytes(memoryview(self._head)[header.offset :])
        self._head = bytearray()
        if rest and self._incoming is not None:
            self._incoming.write(memoryview(rest))
