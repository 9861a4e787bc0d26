"""A DICOM object on its way from a part of a body into an archive: its bytes pass through, and only its head is kept.

What is read here is as it is found in files: file meta information may be missing, wrong, or in implicit VR.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dcmkit.dataset.part10 import BLOCK, FileHeader, clean_uid, parse_beginning
from dcmkit.dataset.scanner import DataSetScanner
from dcmkit.errors import DcmkitError, InvalidDataSetError, SOPClassNotSupportedError
from dcmkit.uids import SOP_CLASSES, STORAGE_SOP_CLASSES, TRANSFER_SYNTAXES, is_uid

if TYPE_CHECKING:
    from dcmkit.services.storage import Destination, IncomingObject

_STUDY, _SERIES = 0x0020000D, 0x0020000E
_PLACE = frozenset({_STUDY, _SERIES})
_REGISTERED = "1.2.840.10008."
"""The root of what DICOM itself defines (PS3.5 9)."""


class TransferSyntaxNotSupportedError(DcmkitError):
    """A data set in a transfer syntax that is none."""

    dimse_status = 0xC122
    """Referenced Transfer Syntax not supported (PS3.18 Table I.2-2)."""
    http_status = 409


class StudyMismatchError(DcmkitError):
    """An object of another study than the one it was sent to."""

    dimse_status = 0xA901
    """One of A9xx, data set does not match (PS3.18 Table I.2-2, 10.5.3.1)."""
    http_status = 409


def require_storable(sop_class_uid: str, transfer_syntax_uid: str) -> None:
    """Whether objects like this are stored here: of any class that is not another service's, as C-STORE takes them.

    Raises:
        SOPClassNotSupportedError, TransferSyntaxNotSupportedError.
    """
    if sop_class_uid not in STORAGE_SOP_CLASSES and sop_class_uid in SOP_CLASSES:
        raise SOPClassNotSupportedError("the SOP class is none that is stored")
    if transfer_syntax_uid not in TRANSFER_SYNTAXES and (
        not is_uid(transfer_syntax_uid) or transfer_syntax_uid.startswith(_REGISTERED)
    ):
        raise TransferSyntaxNotSupportedError("the transfer syntax is none")


class Arrival:
    """One object. Write its bytes as they come, then `finish`, then let the destination store it, or `abandon`.

    Args:
        together: whether `destination` tells of an object that is complete where it belongs.

    Attributes:
        header: what its first bytes say, once there are enough of them.
        incoming: the destination's side of it, from then on.
        failure: why it is not stored.
        study, series: of the data set, once it is finished.
    """

    def __init__(self, destination: Destination, *, together: bool) -> None:
        self._destination = destination
        self._together = together
        self._head = bytearray()
        self._needed = BLOCK
        self._places: DataSetScanner | None = None
        self.header: FileHeader | None = None
        self.incoming: IncomingObject | None = None
        self.failure: DcmkitError | None = None
        self.study = self.series = ""

    def write(self, view: memoryview) -> None:
        """The next bytes, lent; what goes wrong is in `failure`."""
        if self.failure is not None:
            return
        try:
            if self.incoming is not None:
                self._pass_on(view)
            elif self._head or len(view) < self._needed:
                self._head += view
                if len(self._head) >= self._needed:
                    self._look(self._head, whole=False)
            elif not self._look(view, whole=False):
                self._head += view
        except DcmkitError as error:
            self.fail(error)

    def begin(self, header: FileHeader) -> None:
        """What its header says is known already: only the data set is going to be written. Raises: DcmkitError."""
        self.header = header
        require_storable(header.sop_class_uid, header.transfer_syntax_uid)
        self.incoming = self._destination.incoming(
            header.sop_class_uid, header.sop_instance_uid, header.transfer_syntax_uid
        )
        if not self._together:
            self._places = DataSetScanner(header.transfer_syntax_uid, _PLACE)
            self.incoming.begin()

    def _look(self, head: memoryview | bytearray, *, whole: bool) -> bool:
        """Whether these bytes are enough to begin with."""
        header = parse_beginning(bytes(head if whole else head[: self._needed]), whole=whole, allow_bare=True)
        if header is None:
            self._needed *= 8
            return False
        self.begin(header)
        self._pass_on(memoryview(head)[header.offset :])
        self._head = bytearray()
        return True

    def _pass_on(self, view: memoryview) -> None:
        assert self.incoming is not None
        if not view:
            return
        self.incoming.write(view)
        if self._places is not None:
            try:
                self._places.feed(view)
            except InvalidDataSetError:  # the destination decides what becomes of it
                self._note_place()

    def _note_place(self) -> None:
        places, self._places = self._places, None
        if places is not None:
            values = places.header().values
            self.study, self.series = (clean_uid(values.get(tag, b"")) for tag in (_STUDY, _SERIES))

    def finish(self) -> None:
        """All has come. What is wrong with it is in `failure`."""
        if self.failure is not None:
            return
        try:
            if self.incoming is None:
                self._look(self._head, whole=True)
            self._note_place()
            if self._together:
                record = self.incoming.complete()  # type: ignore[union-attr]
                self.study, self.series = record.study_instance_uid, record.series_instance_uid
        except DcmkitError as error:
            self.fail(error)

    def fail(self, error: DcmkitError) -> None:
        """It is not going to be stored; nothing of it is left."""
        self.failure = self.failure or error
        self._head = bytearray()
        if self.incoming is not None:
            self.incoming.abandon()
