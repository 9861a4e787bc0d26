"""Sub-operations of a retrieve (PS3.4 C.4.2, C.4.3): how they are counted, and the thread that performs a C-MOVE's."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NamedTuple

from dcmkit.dataset.part10 import read_file_header
from dcmkit.errors import DcmkitError, InvalidDataSetError, NetworkError
from dcmkit.logs import get_logger
from dcmkit.net.association import Association
from dcmkit.protocol.status import (
    STATUS_SUCCESS,
    SUB_OPERATIONS_WITH_FAILURES,
    SUCCESS,
    UNABLE_TO_PERFORM_SUB_OPERATIONS,
    WARNING,
    category,
)
from dcmkit.services.association_request import association_request
from dcmkit.services.sending import File, Sender, Sent, lost
from dcmkit.services.storage_scu import plan
from dcmkit.uids import is_uid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dcmkit.protocol.pdu import AssociateRQ
    from dcmkit.settings import RequestorSettings

log = get_logger("services")

_TOLD = 5
"""Failed sub-operations of one retrieve that are logged one by one."""


class Destination(NamedTuple):
    """Where a C-MOVE may go: address, and how to associate."""

    host: str
    port: int
    settings: RequestorSettings


class Tally:
    """The sub-operations of one retrieve (PS3.4 C.4.2.1.6 to 9).

    Args:
        files: what is to be sent.
    """

    def __init__(self, files: Sequence[File]) -> None:
        self.remaining = len(files)
        self.completed = self.failed = self.warning = 0
        self.failed_uids: list[str] = []
        self.comment: str | None = None
        self._left = dict.fromkeys(file.header.sop_instance_uid for file in files)

    @property
    def done(self) -> int:
        """How many have been performed."""
        return self.completed + self.failed + self.warning

    def take(self, sent: Sent) -> None:
        """Count the outcome of one."""
        self.remaining -= 1
        self._left.pop(sent.sop_instance_uid, None)
        kind = None if sent.status is None else category(sent.status)
        if kind == SUCCESS:
            self.completed += 1
        elif kind == WARNING:
            self.warning += 1
        else:
            self.failed += 1
            self.failed_uids.append(sent.sop_instance_uid)
            self.comment = self.comment or (sent.error.message if sent.error is not None else sent.comment)
            level = log.warning if self.failed <= _TOLD else log.debug
            level("sub-operation for %s failed: %s", sent.sop_instance_uid, sent.comment)

    def fail_rest(self, comment: str) -> None:
        """What has not been performed never will be."""
        self.comment = comment
        self.failed_uids += self._left
        self.failed, self.remaining = self.failed + self.remaining, 0

    def final_status(self) -> int:
        """PS3.4 C.4.2.3.1: success, some failed or had a warning, all failed."""
        if not (self.failed or self.warning):
            return STATUS_SUCCESS
        if self.failed and not (self.completed or self.warning):
            return UNABLE_TO_PERFORM_SUB_OPERATIONS
        return SUB_OPERATIONS_WITH_FAILURES


def unusable(file: File) -> DcmkitError | None:
    """Why a file cannot even be proposed."""
    header = file.header
    if not (is_uid(header.sop_class_uid) and is_uid(header.transfer_syntax_uid)):
        return InvalidDataSetError("its SOP class or transfer syntax is not a UID")
    if not header.sop_instance_uid or not header.sop_instance_uid.isascii():
        return InvalidDataSetError("it has no SOP Instance UID")
    return None


def store_one(sender: Sender, file: File, after: File | None) -> Sent:
    """Send one object; one whose file is not what the index says is looked at again. Raises: NetworkError."""
    sent = sender.store(file, after)
    if isinstance(sent.error, InvalidDataSetError):
        try:
            header = read_file_header(file.path)
        except DcmkitError as error:
            return lost(file, error)
        if header != file.header and header.sop_instance_uid == file.header.sop_instance_uid:
            sent = sender.store(File(file.path, header), after)
    return sent


class Mover(threading.Thread):
    """The sub-operations of one C-MOVE, to another AE.

    Attributes:
        ended: set when nothing more will be sent.
    """

    def __init__(
        self,
        destination: Destination,
        files: Sequence[File],
        tally: Tally,
        originator: tuple[str, int],
        transcode: bool,
    ) -> None:
        super().__init__(name="C-MOVE", daemon=True)
        self.ended = threading.Event()
        self._destination = destination
        self._files = files
        self._tally = tally
        self._originator = originator
        self._transcode = transcode
        self._association: Association | None = None
        self._stop_asked = False
        self._counting = threading.Lock()
        self._closed = False

    def run(self) -> None:
        """Send everything, or as much as can be until told to stop."""
        try:
            proposable: list[File] = []
            for file in self._files:
                error = unusable(file)
                if error is None:
                    proposable.append(file)
                else:
                    self._take(lost(file, error))
            for contexts, group in plan(proposable):
                rq = association_request(self._destination.settings, contexts)
                self._send_group(rq, group)
        except BaseException as error:
            log.error("C-MOVE failed: %s", error)
            raise
        finally:
            self.ended.set()

    def stop(self) -> None:
        """From another thread: no further object; one on its way may still arrive."""
        self._stop_asked = True

    def close_account(self) -> None:
        """From another thread: what is still on its way is not counted any more."""
        with self._counting:
            self._closed = True

    def abandon(self) -> None:
        """From another thread: wait for nothing any more."""
        association = self._association
        if association is not None:
            association.interrupt()

    def _take(self, sent: Sent) -> None:
        with self._counting:
            if not self._closed:
                self._tally.take(sent)

    def _send_group(self, rq: AssociateRQ, left: Sequence[File]) -> None:
        """What one association is for; where it is lost, another one for the rest."""
        losses = 0
        while left and not self._stop_asked:
            try:
                done, error = self._send_over_one(rq, left)
            except NetworkError as refused:
                self._lose(left, refused)
                return
            left = left[done:]
            if error is None:
                return
            losses = 1 if done else losses + 1
            log.warning("the association with the move destination was lost: %s", error)
            if losses == 2 and left:  # twice at the same object
                self._lose(left[:1], error)
                left = left[1:]
            elif losses > 2:
                self._lose(left, error)
                return

    def _lose(self, files: Sequence[File], error: DcmkitError) -> None:
        for file in files:
            self._take(lost(file, error))

    def _send_over_one(self, rq: AssociateRQ, files: Sequence[File]) -> tuple[int, NetworkError | None]:
        """How many were dealt with, and what ended the association early. Raises: NetworkError when there is none."""
        host, port, settings = self._destination
        association = Association.request(host, port, rq, settings)
        self._association = association
        sender = Sender(association, transcode=self._transcode, originator=self._originator)
        done = 0
        try:
            for file in files:
                if self._stop_asked:
                    break
                self._take(store_one(sender, file, files[done + 1] if done + 1 < len(files) else None))
                done += 1
        except NetworkError as error:
            return done, error
        except BaseException:
            association.abort()
            raise
        finally:
            sender.close()
            self._association = None
        try:
            association.release()
        except NetworkError as error:
            log.warning("the association with the move destination was not released in order: %s", error)
        return done, None
