"""Storage service class as SCU (PS3.4 Annex B): files from disk to a peer, straight from their bytes.

`send_files` plans which associations are needed for what the files hold, sends every file it can, and reports each.
One bad file never stops the others; one lost association neither.
"""

from __future__ import annotations

import os
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

from dcmkit.dataset.completeness import require_complete
from dcmkit.dataset.part10 import FileHeader
from dcmkit.errors import (
    AssociationRejectedError,
    ConnectError,
    DcmkitError,
    InputError,
    InvalidDataSetError,
    NetworkError,
    NoPresentationContextError,
    ProtocolError,
)
from dcmkit.logs import get_logger
from dcmkit.net.association import Association
from dcmkit.protocol.message import C_STORE_RQ, C_STORE_RSP
from dcmkit.protocol.negotiation import propose
from dcmkit.protocol.status import SUCCESS, WARNING, category, describe
from dcmkit.services.association_request import association_request
from dcmkit.uids import UNCOMPRESSED, is_uid, name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from dcmkit.protocol.pdu import PresentationContextRQ
    from dcmkit.protocol.user_information import UserIdentity
    from dcmkit.settings import RequestorSettings

log = get_logger("services")

PIECE = 1024 * 1024
"""Bytes read from a file at once; the rest of a file that is longer is streamed."""

STREAM_PIECE = 64 * 1024
"""Bytes streamed at a time: they are still in the processor's cache when the system copies them to the socket."""

GIVE_UP_AFTER = 3
"""Associations lost one after the other without a single object stored."""


class Sent(NamedTuple):
    """What became of one file."""

    path: str
    sop_class_uid: str
    sop_instance_uid: str
    status: int | None
    """The status the peer answered; None where none was."""
    comment: str
    """The peer's error comment, or why there is no status."""
    seconds: float
    size: int
    transcoded: bool
    error: DcmkitError | None = None
    """What prevented an answer, where there is none."""

    @property
    def stored(self) -> bool:
        """Whether the peer has it: success, or a warning (PS3.4 B.2.3)."""
        return self.status is not None and category(self.status) in (SUCCESS, WARNING)


class File(NamedTuple):
    """A file to send: where it is, and what its header says."""

    path: str
    header: FileHeader


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
) -> None:
    """Send files; every one of them is reported once, with the peer's answer or with what prevented it.

    Args:
        host, port: the peer.
        files: what to send.
        settings: AE titles, limits, time-outs.
        user_identity: sent with every association request (PS3.7 D.3.3.7).
        transcode: convert to an uncompressed syntax what the peer takes in no other.
        report: called with the outcome of each file, in the order of sending.

    Raises:
        ConnectError, AssociationRejectedError: no association could be had at all; nothing was reported.
    """
    anything = False
    for contexts, group in plan(_proposable(files, report)):
        rq = association_request(settings, contexts, user_identity)
        left = group
        failures = 0
        while left:
            try:
                association = Association.request(host, port, rq, settings)
            except NetworkError as error:
                if not anything and isinstance(error, (ConnectError, AssociationRejectedError)):
                    raise
                _report_lost(left, error, report)
                break
            anything = True
            batch = _Batch(association, left, report, transcode=transcode)
            batch.run()
            left = left[batch.done :]
            failures = 0 if batch.stored else failures + 1
            if left and failures >= GIVE_UP_AFTER:
                assert batch.error is not None
                _report_lost(left, batch.error, report)
                break


def _report_lost(files: Sequence[File], error: DcmkitError, report: Callable[[Sent], None]) -> None:
    for path, header in files:
        size = header.length
        report(Sent(path, header.sop_class_uid, header.sop_instance_uid, None, str(error), 0.0, size, False, error))


class _Content(NamedTuple):
    """The encoded data set of one file, ready to go out."""

    context_id: int
    first: bytes | memoryview
    """All of the data set, or its first piece."""
    descriptor: int
    """Open on the rest of the data set; -1 where `first` is all of it."""
    left: int
    """Bytes of the data set after `first`."""
    transcoded: bool

    def close(self) -> None:
        """Give the descriptor back."""
        if self.descriptor >= 0:
            os.close(self.descriptor)


class _Batch:
    """The files of one association, one C-STORE after the other.

    While the peer works on one object, the next is read from disk.

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
        self._files = files
        self._report = report
        self._transcode = transcode
        self._buffers = (bytearray(0), bytearray(0))  # one on its way out, one being filled
        self._told: set[str] = set()
        self._next: _Content | DcmkitError | None = None
        self._upcoming: tuple[File, int] | None = None

    def run(self) -> None:
        """Send all files, or as many as the association lives for, and release it."""
        try:
            self._send_all()
        finally:
            if isinstance(self._next, _Content):
                self._next.close()

    def _send_all(self) -> None:
        began = 0.0
        try:
            for file, content in self._contents():
                if isinstance(content, DcmkitError):
                    self._reported(file, None, str(content), 0.0, transcoded=False, error=content)
                    continue
                began = perf_counter()
                status, comment = self._store(file.header, content)
                self._reported(file, status, comment, perf_counter() - began, transcoded=content.transcoded)
        except NetworkError as error:
            self.error = error
            if self.done < len(self._files):  # the one that was on its way
                lost = self._files[self.done]
                self._reported(lost, None, str(error), perf_counter() - began, transcoded=False, error=error)
            return
        except BaseException:
            self._association.abort()
            raise
        try:
            self._association.release()
        except NetworkError as error:
            log.warning("the association was not released in order: %s", error)

    def _reported(
        self,
        file: File,
        status: int | None,
        comment: str,
        seconds: float,
        *,
        transcoded: bool,
        error: DcmkitError | None = None,
    ) -> None:
        header = file.header
        sent = Sent(
            file.path,
            header.sop_class_uid,
            header.sop_instance_uid,
            status,
            comment,
            seconds,
            header.length,
            transcoded,
            error,
        )
        self.done += 1
        self.stored += sent.stored
        self._report(sent)

    # --- reading ---

    def _contents(self) -> Iterator[tuple[File, _Content | DcmkitError]]:
        """Each file with its content. The next one is read between the request and the response: see `_store`."""
        files = self._files
        for number, file in enumerate(files):
            content = self._next
            self._next = None
            if content is None:
                content = self._content(file, number)
            self._upcoming = (files[number + 1], number + 1) if number + 1 < len(files) else None
            yield file, content

    def _read_ahead(self) -> None:
        if self._upcoming is not None and self._next is None:
            self._next = self._content(*self._upcoming)

    def _content(self, file: File, number: int) -> _Content | DcmkitError:
        try:
            return self._prepare(file, number)
        except DcmkitError as error:
            return error
        except OSError as error:
            return InputError(f"cannot be read: {error.strerror or error}")

    def _prepare(self, file: File, number: int) -> _Content:
        header = file.header
        contexts = self._association.contexts
        context_id = contexts.find(header.sop_class_uid, header.transfer_syntax_uid)
        if context_id is None:
            return self._converted(file)
        descriptor = os.open(file.path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        keep = False
        try:
            first = min(header.length, PIECE)
            view = self._read(descriptor, header.offset, first, number % 2)
            left = header.length - first
            if os.fstat(descriptor).st_size != header.offset + header.length:
                raise InvalidDataSetError("the file has changed since it was scanned", hint="send it again")
            if len(view) != first:
                raise InvalidDataSetError("the file is shorter than it was", hint="send it again")
            require_complete(descriptor, header, view)
            if header.length % 2 and not left:
                view = memoryview(bytes(view) + b"\0")
            keep = left > 0
            if keep:
                os.lseek(descriptor, header.offset + first, os.SEEK_SET)
            return _Content(context_id, view, descriptor if keep else -1, left, False)
        finally:
            if not keep:
                os.close(descriptor)

    def _read(self, descriptor: int, offset: int, length: int, which: int) -> memoryview:
        buffer = self._buffers[which]
        if not hasattr(os, "preadv"):  # Windows
            os.lseek(descriptor, offset, os.SEEK_SET)
            return memoryview(os.read(descriptor, length))
        if len(buffer) < length:
            buffer = bytearray(max(length, 65536))
            self._buffers = (buffer, self._buffers[1]) if which == 0 else (self._buffers[0], buffer)
        view = memoryview(buffer)[:length]
        return view[: os.preadv(descriptor, [view], offset)]

    def _converted(self, file: File) -> _Content:
        """The data set in an uncompressed syntax the peer takes."""
        header = file.header
        name = name_of(header.transfer_syntax_uid)
        accepted = [
            (context_id, syntax)
            for context_id, syntax in self._association.contexts.transfer_syntaxes(header.sop_class_uid)
            if syntax in UNCOMPRESSED
        ]
        if not accepted:
            why = self._association.contexts.why_not(header.sop_class_uid)
            raise NoPresentationContextError(
                f"no presentation context for {name_of(header.sop_class_uid)} in {name} or uncompressed: {why}",
                hint="the peer must be configured for this SOP class and transfer syntax",
            )
        if not self._transcode:
            raise NoPresentationContextError(
                f"peer does not take {name_of(header.sop_class_uid)} in {name}", hint="leave out --never-transcode"
            )
        from dcmkit.dataset.convert import to_uncompressed

        context_id, syntax = min(accepted, key=lambda item: UNCOMPRESSED.index(item[1]))
        data = to_uncompressed(file.path, header, syntax)
        message = f"{name} is converted to {name_of(syntax)}, which is what the peer takes"
        if message not in self._told:
            self._told.add(message)
            log.warning("%s (first: %s)", message, file.path)
        return _Content(context_id, data, -1, 0, True)

    # --- sending ---

    def _store(self, header: FileHeader, content: _Content) -> tuple[int, str]:
        association = self._association
        message_id = association.next_message_id()
        rq = C_STORE_RQ(
            message_id=message_id,
            affected_sop_class_uid=header.sop_class_uid,
            affected_sop_instance_uid=header.sop_instance_uid,
        )
        try:
            if content.left:
                association.send(content.context_id, rq)
                self._stream(content)
            else:
                association.send(content.context_id, rq, content.first)
        finally:
            content.close()
        self._read_ahead()
        received = association.receive()
        response = received.message if received is not None else None
        if not isinstance(response, C_STORE_RSP) or response.message_id_being_responded_to != message_id:
            association.abort()
            raise ProtocolError(f"peer answered the C-STORE with {response!r}", reason=2)
        comment = response.error_comment or ""
        if response.status and not comment:
            comment = describe(response.status, "storage")
        return response.status, comment

    def _stream(self, content: _Content) -> None:
        association = self._association
        full = association.data_set_piece
        piece = STREAM_PIECE // full * full or full
        view, left = memoryview(content.first), content.left
        whole = len(view) // piece * piece
        association.send_data_set(content.context_id, view[:whole], last=False)
        rest = bytes(view[whole:])
        odd = (len(view) + left) % 2
        buffer = memoryview(bytearray(piece + odd))
        while left:
            buffer[: len(rest)] = rest
            want = min(left, piece - len(rest))
            got = _read_fully(content.descriptor, buffer[len(rest) : len(rest) + want])
            if got < want:
                association.abort()
                raise ProtocolError("the file became shorter while it was sent", source=0, reason=0)
            left -= got
            end = len(rest) + got
            if odd and not left:
                buffer[end], end = 0, end + 1
            association.send_data_set(content.context_id, buffer[:end], last=not left)
            rest = b""


def _read_fully(descriptor: int, view: memoryview) -> int:
    total = 0
    while total < len(view):
        if hasattr(os, "readv"):
            count = os.readv(descriptor, [view[total:]])
        else:
            data = os.read(descriptor, len(view) - total)
            count = len(data)
            view[total : total + count] = data
        if not count:
            break
        total += count
    return total
