"""De-identification of what is received, before it is stored: the door before an archive's (PS3.15 Annex E).

An object waits in a file without a name, which only this process can read and which goes when it goes, however that
ends. Complete, it is de-identified and searched for what was removed; the result goes through the inner door under its
new UIDs. What cannot be made safe is refused, and nothing of it is kept or told.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple, Protocol

from dcmkit.archive import disk
from dcmkit.archive.layout import is_safe_uid
from dcmkit.dataset.part10 import file_meta, read_file_header
from dcmkit.deid.batch import QUARANTINED, WRITTEN, Job, Worker
from dcmkit.deid.engine import Anonymizer
from dcmkit.deid.output import Output, Written
from dcmkit.deid.unnamed import Check, UnnamedFile
from dcmkit.errors import DcmkitError, InvalidDataSetError, OutputError

if TYPE_CHECKING:
    from dcmkit.archive.filing import Stored
    from dcmkit.archive.layout import Layout
    from dcmkit.deid.pieces import Buffer
    from dcmkit.deid.profile import Plan
    from dcmkit.deid.pseudonyms import Pseudonyms
    from dcmkit.deid.rules import Rules
    from dcmkit.services.storage import Destination

_SOP_CLASS_UID, _SOP_INSTANCE_UID = 0x00080016, 0x00080018
_BLOCK = 1 << 20


class NotAnonymizedError(DcmkitError):
    """An object that cannot be made safe."""

    dimse_status = 0xC100
    """Cannot understand (PS3.4 B.2.3)."""
    http_status = 409


class Anonymization(NamedTuple):
    """How received objects are de-identified.

    Attributes:
        verify: search each result for what was removed, and refuse where anything is found.
    """

    plan: Plan
    pseudonyms: Pseudonyms
    rules: Rules | None = None
    verify: bool = True


class Door(Protocol):
    """Who knows a place for files on their way: an archive, or a folder."""

    def temporary(self) -> str:
        """A path nobody else uses."""


class Copies:
    """De-identified copies of files; several threads may make some at a time.

    Args:
        door: where a copy may wait.
        how: what is done with them.
    """

    def __init__(self, door: Door, how: Anonymization) -> None:
        self._results = _Results(door)
        self._worker = Worker(Job(how.plan, how.pseudonyms, self._results, how.rules, verify=how.verify, guarded=True))

    def make(self, path: str) -> tuple[UnnamedFile, str]:
        """What becomes of a file, which whoever takes it closes, and its new SOP Instance UID.

        Raises:
            NotAnonymizedError: it cannot be made safe.
            OutputError: it cannot be written.
        """
        try:
            done = self._worker(path)
            result = self._results.take()
        except BaseException:
            self._results.discard()
            raise
        if result is None or done.status != WRITTEN:
            if result is not None:
                result.close()
            raise NotAnonymizedError(done.reason) if done.status == QUARANTINED else OutputError(done.reason)
        return result, done.sop_instance_uid


class Anonymizing:
    """A `Destination` before another.

    Args:
        inner: where de-identified objects go.
        door: where they may wait; what a killed process leaves there goes at the next start.
        how: what is done with them.

    Attributes:
        anonymous: the UIDs that come are not for the log.
    """

    anonymous = True

    def __init__(self, inner: Destination, door: Door, how: Anonymization) -> None:
        self._inner, self._door = inner, door
        self._copies = Copies(door, how)
        self._anonymizer = Anonymizer(how.plan, how.pseudonyms, rules=how.rules)

    @property
    def layout(self) -> Layout:
        """Of the inner destination."""
        return self._inner.layout

    def incoming(
        self, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, source_ae_title: str = ""
    ) -> _Incoming:
        """An object that is about to come. Raises: InvalidDataSetError when a UID is none."""
        for uid, tag in ((sop_instance_uid, _SOP_INSTANCE_UID), (sop_class_uid, _SOP_CLASS_UID)):
            if not is_safe_uid(uid):
                raise InvalidDataSetError("the UID of an object is not a UID", offending_element=tag)
        return _Incoming(self, sop_class_uid, sop_instance_uid, transfer_syntax_uid)

    def new_file(self) -> UnnamedFile:
        """Where an object may wait. Raises: OSError, OutputError."""
        return UnnamedFile(self._door.temporary(), mode=0o600)

    def store(self, original: UnnamedFile, sop_class_uid: str, sop_instance_uid: str) -> tuple[Stored, str]:
        """De-identify a file and store what comes of it.

        Args:
            sop_class_uid, sop_instance_uid: those of the request: the data set may have others.

        Returns:
            How that ended, and the new SOP Instance UID.

        Raises:
            NotAnonymizedError: it cannot be made safe.
            DcmkitError: it cannot be stored.
        """
        result, told = self._copies.make(original.path)
        try:
            new_uid = self._anonymizer.new_uid(_SOP_INSTANCE_UID, sop_instance_uid)
            return self._store(result, sop_class_uid, new_uid), told
        finally:
            result.close()

    def _store(self, result: UnnamedFile, sop_class_uid: str, sop_instance_uid: str) -> Stored:
        header = read_file_header(result.path)
        # Without the AE title it came from, which may name a station or a place.
        incoming = self._inner.incoming(sop_class_uid, sop_instance_uid, header.transfer_syntax_uid)
        try:
            incoming.begin()
            os.lseek(result.fd, header.offset, os.SEEK_SET)
            while block := os.read(result.fd, _BLOCK):
                incoming.write(memoryview(block))
        except BaseException:
            incoming.abandon()
            raise
        return incoming.commit()


class _Incoming:
    """An object being received, see `archive.incoming.Incoming`.

    Attributes:
        told: the SOP Instance UID for the log: the new one, as soon as there is one.
    """

    def __init__(
        self, destination: Anonymizing, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str
    ) -> None:
        self._destination = destination
        self._sop_class_uid, self._sop_instance_uid = sop_class_uid, sop_instance_uid
        self._meta = file_meta(sop_class_uid, sop_instance_uid, transfer_syntax_uid)
        self._file: UnnamedFile | None = None
        self._head = b""
        self._failure: DcmkitError | None = None
        self.told = ""

    def begin(self) -> None:
        """Make the file. Raises: OutputError."""
        try:
            self._file = self._destination.new_file()
            self._file.write([self._meta])
        except OSError as error:
            raise self._fail(disk.output_error(error)) from None

    def write(self, view: memoryview) -> None:
        """Append a piece of the data set. Raises: OutputError, InvalidDataSetError; the object is abandoned then."""
        if self._failure is not None:
            return
        if self._file is None:
            self.begin()
        assert self._file is not None
        if len(self._head) < 2:
            self._head += bytes(view[: 2 - len(self._head)])
            if self._head == b"\2\0":  # it would overrule ours
                message = "there is file meta information in the data set"
                raise self._fail(InvalidDataSetError(message, offending_element=0x00020000))
        try:
            self._file.write([view])
        except OSError as error:
            raise self._fail(disk.output_error(error)) from None

    def abandon(self) -> None:
        """Forget the object."""
        self._fail(OutputError("the object was abandoned"))

    def commit(self) -> Stored:
        """The object is complete.

        Raises:
            NotAnonymizedError: it cannot be made safe.
            DcmkitError: it cannot be stored. Nothing of the object is left then.
        """
        if self._failure is not None:
            raise self._failure
        try:
            if self._file is None:
                raise InvalidDataSetError("the data set is empty")
            stored, self.told = self._destination.store(self._file, self._sop_class_uid, self._sop_instance_uid)
            return stored
        except OSError as error:
            raise disk.output_error(error) from None
        finally:
            self._fail(OutputError("the object was committed already"))

    def _fail(self, error: DcmkitError) -> DcmkitError:
        self._failure = self._failure or error
        file, self._file = self._file, None
        if file is not None:
            file.close()
        return error


class _Results(Output):
    """Takes what is made of an object, in place of a directory: one for each thread, until that has taken it."""

    def __init__(self, door: Door) -> None:
        super().__init__("")
        self._door = door
        self._own = threading.local()

    def room(self) -> str:
        """Where frames that are cleaned may wait."""
        return os.path.dirname(self._door.temporary())

    def write(
        self,
        place: tuple[str, str, str, str],
        pieces: Iterable[Buffer],
        source: str = "",
        *,
        check: Check | None = None,
    ) -> Written:
        """Keep it, if `check` lets it pass. Raises: OutputError, and what `check` raises."""
        self.discard()
        try:
            result = self._own.result = UnnamedFile(self._door.temporary(), mode=0o600)
            result.write(pieces)
        except OSError as error:
            raise disk.output_error(error) from None
        if check is not None:
            result.show(check)
        return Written("", WRITTEN)

    def take(self) -> UnnamedFile | None:
        """What this thread has made last."""
        result: UnnamedFile | None = getattr(self._own, "result", None)
        self._own.result = None
        return result

    def discard(self) -> None:
        """Nobody wants it."""
        result = self.take()
        if result is not None:
            result.close()
