"""Storage service class as SCU (PS3.4 Annex B): files from disk to a peer, straight from their bytes.

`send_files` plans which associations are needed for what the files hold, sends every file it can, and reports each.
One bad file never stops the others; one lost association neither.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

from dcmkit.errors import (
    AssociationRejectedError,
    ConnectError,
    DcmkitError,
    InvalidDataSetError,
    NetworkError,
)
from dcmkit.logs import get_logger
from dcmkit.net.association import Association
from dcmkit.protocol.negotiation import propose
from dcmkit.services.association_request import association_request
from dcmkit.services.sending import File, Sender, Sent, lost
from dcmkit.uids import is_uid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from dcmkit.protocol.pdu import PresentationContextRQ
    from dcmkit.protocol.user_information import UserIdentity
    from dcmkit.settings import RequestorSettings

log = get_logger("services")

GIVE_UP_AFTER = 3
"""Associations lost one after the other without a single object stored."""


def plan(files: Iterable[File]) -> list[tuple[list[PresentationContextRQ], list[File]]]:
    """The associations the files need: the contexts of each, and the files it is for, in the files' own order."""
    files = list(files)
    syntaxes: dict[str, dict[str, None]] = {}
    for _, header in files:
        syntaxes.setdefault(header.sop_class_uid, {})[header.transfer_syntax_uid] = None
    associations: list[tuple[list[PresentationContextRQ], list[File]]] = []
    place: dict[tuple[str, str], list[File]] = {}
    for contexts in propose((sop_class, tuple(own)) for sop_class, own in syntaxes.items()):
        group: list[File] = []
        associations.append((contexts, group))
        for context in contexts:
            for syntax in context.transfer_syntaxes:
                place.setdefault((context.abstract_syntax, syntax), group)
    for file in files:
        place[file.header.sop_class_uid, file.header.transfer_syntax_uid].append(file)
    return [(contexts, group) for contexts, group in associations if group]


def _proposable(files: Iterable[File], report: Callable[[Sent], None]) -> Iterator[File]:
    """The files whose SOP class and transfer syntax are UIDs, of an instance that has one; the others are reported."""
    for file in files:
        header = file.header
        instance = header.sop_instance_uid
        if not (is_uid(header.sop_class_uid) and is_uid(header.transfer_syntax_uid)):
            _report_lost([file], InvalidDataSetError("its SOP class or transfer syntax is not a UID"), report)
        elif not instance or not instance.isascii():  # letters in it are the peer's business
            _report_lost([file], InvalidDataSetError("it has no SOP Instance UID"), report)
        else:
            yield file


def send_files(
    host: str,
    port: int,
    files: Iterable[File],
    settings: RequestorSettings,
    *,
    user_identity: UserIdentity | None = None,
    transcode: bool = True,
    report: Callable[[Sent], None],
    stopped: Callable[[], bool] = lambda: False,
) -> None:
    """Send files; every one of them is reported once, with the peer's answer or with what prevented it.

    Args:
        host, port: the peer.
        files: what to send.
        settings: AE titles, limits, time-outs.
        user_identity: sent with every association request (PS3.7 D.3.3.7).
        transcode: convert to an uncompressed syntax what the peer takes in no other.
        report: called with the outcome of each file, in the order of sending.
        stopped: asked before each file; once it says yes, the others are neither sent nor reported.

    Raises:
        ConnectError, AssociationRejectedError: no association could be had at all; nothing was reported.
    """
    anything = False
    for contexts, group in plan(_proposable(files, report)):
        rq = association_request(settings, contexts, user_identity)
        left = group
        failures = 0
        while left and not stopped():
            try:
                association = Association.request(host, port, rq, settings)
            except NetworkError as error:
                if not anything and isinstance(error, (ConnectError, AssociationRejectedError)):
                    raise
                _report_lost(left, error, report)
                break
            anything = True
            batch = _Batch(association, left, report, transcode=transcode)
            batch.run(stopped)
            left = left[batch.done :]
            failures = 0 if batch.stored else failures + 1
            if left and failures >= GIVE_UP_AFTER and not stopped():
                assert batch.error is not None
                _report_lost(left, batch.error, report)
                break


def _report_lost(files: Sequence[File], error: DcmkitError, report: Callable[[Sent], None]) -> None:
    for file in files:
        report(lost(file, error))


class _Batch:
    """The files of one association, one C-STORE after the other.

    Attributes:
        done: how many files have been reported.
        stored: how many of them the peer has.
        error: what ended the association early, or None.
    """

    def __init__(
        self, association: Association, files: Sequence[File], report: Callable[[Sent], None], *, transcode: bool
    ) -> None:
        self.done = 0
        self.stored = 0
        self.error: NetworkError | None = None
        self._association = association
        self._sender = Sender(association, transcode=transcode)
        self._files = files
        self._report = report

    def run(self, stopped: Callable[[], bool]) -> None:
        """Send all files, or as many as the association lives for, and release it."""
        began = 0.0
        try:
            for number, file in enumerate(self._files, 1):
                if stopped():
                    break
                began = perf_counter()
                after = self._files[number] if number < len(self._files) else None
                self._reported(self._sender.store(file, after))
        except NetworkError as error:
            self.error = error
            if self.done < len(self._files):  # the one that was on its way
                self._reported(lost(self._files[self.done], error)._replace(seconds=perf_counter() - began))
            return
        except BaseException:
            self._association.abort()
            raise
        finally:
            self._sender.close()
        try:
            self._association.release()
        except NetworkError as error:
            log.warning("the association was not released in order: %s", error)

    def _reported(self, sent: Sent) -> None:
        self.done += 1
        self.stored += sent.stored
        self._report(sent)
