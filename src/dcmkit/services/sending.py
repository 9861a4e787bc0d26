"""C-STORE-RQ out, one object after the other over one association: storescu's, C-MOVE's and C-GET's (PS3.4 B, C.4).

The bytes go from the file to the socket as they are, where the peer took their transfer syntax; otherwise they are
converted. While the peer works on one object, the next is read from disk.
"""

from __future__ import annotations

import os
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

from dcmkit.dataset.completeness import require_complete
from dcmkit.dataset.part10 import FileHeader
from dcmkit.errors import DcmkitError, InputError, InvalidDataSetError, NoPresentationContextError, ProtocolError
from dcmkit.logs import get_logger
from dcmkit.protocol.message import C_CANCEL_RQ, C_STORE_RQ, C_STORE_RSP
from dcmkit.protocol.status import SUCCESS, WARNING, category, describe
from dcmkit.uids import name_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from dcmkit.net.association import Association
    from dcmkit.services.conversion import Converted

log = get_logger("services")

PIECE = 1024 * 1024
"""Bytes read from a file at once; the rest of a file that is longer is streamed."""

STREAM_PIECE = 64 * 1024
"""Bytes streamed at a time: they are still in the processor's cache when the system copies them to the socket."""


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
    sop_instance_uid: str = ""
    """Where it is another than the file's."""

    def close(self) -> None:
        """Give the descriptor back."""
        if self.descriptor >= 0:
            os.close(self.descriptor)


class Sender:
    """Sends objects over one association.

    Args:
        association: established; its contexts say what can go how.
        transcode: convert what the peer does not take as it is.
        originator: AE title and message ID of the C-MOVE-RQ this is a sub-operation of (PS3.7 9.3.1.1.9).
        on_cancel: called with the message ID of a C-CANCEL-RQ that arrives in place of a response (C-GET).
    """

    def __init__(
        self,
        association: Association,
        *,
        transcode: bool = True,
        originator: tuple[str, int] | None = None,
        on_cancel: Callable[[int], None] | None = None,
    ) -> None:
        self._association = association
        self._transcode = transcode
        self._originator = originator or (None, None)
        self._on_cancel = on_cancel
        self._buffers = [bytearray(0), bytearray(0)]  # one on its way out, one being filled
        self._which = 0
        self._told: set[str] = set()
        self._ahead: tuple[File, _Content | DcmkitError] | None = None

    def store(self, file: File, after: File | None = None) -> Sent:
        """Send one object.

        Args:
            file: what to send; one that cannot be read or converted has no status but an error.
            after: what comes next: it is read while the peer works.

        Raises:
            NetworkError: the association is over.
        """
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead[0] is file:
            content = ahead[1]
        else:
            _discard(ahead)
            content = self._content(file)
        if isinstance(content, DcmkitError):
            return lost(file, content)
        began = perf_counter()
        status, comment = self._store(file.header, content, after)
        path, header = file
        return Sent(
            path,
            header.sop_class_uid,
            header.sop_instance_uid,
            status,
            comment,
            perf_counter() - began,
            header.length,
            content.transcoded,
        )

    def close(self) -> None:
        """Give back what was read ahead."""
        _discard(self._ahead)
        self._ahead = None

    # --- reading ---

    def _content(self, file: File) -> _Content | DcmkitError:
        try:
            return self._prepare(file)
        except DcmkitError as error:
            return error
        except OSError as error:
            return InputError(f"cannot be read: {error.strerror or error}")

    def _prepare(self, file: File) -> _Content:
        header = file.header
        contexts = self._association.contexts
        context_id = contexts.find(header.sop_class_uid, header.transfer_syntax_uid)
        if context_id is None:
            return self._converted(file)
        descriptor = os.open(file.path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        keep = False
        try:
            first = min(header.length, PIECE)
            view = self._read(descriptor, header.offset, first)
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

    def _read(self, descriptor: int, offset: int, length: int) -> memoryview:
        if not hasattr(os, "preadv"):  # Windows
            os.lseek(descriptor, offset, os.SEEK_SET)
            return memoryview(os.read(descriptor, length))
        self._which ^= 1
        buffer = self._buffers[self._which]
        if len(buffer) < length:
            buffer = self._buffers[self._which] = bytearray(max(length, 65536))
        view = memoryview(buffer)[:length]
        return view[: os.preadv(descriptor, [view], offset)]

    def _converted(self, file: File) -> _Content:
        """The data set in the syntax the peer takes that changes it least."""
        header = file.header
        name = name_of(header.transfer_syntax_uid)
        contexts = self._association.contexts
        ways = contexts.transfer_syntaxes(header.sop_class_uid)
        if not ways:
            raise NoPresentationContextError(
                f"no presentation context for {name_of(header.sop_class_uid)} in {name} or uncompressed: "
                f"{contexts.why_not(header.sop_class_uid)}",
                hint="the peer must be configured for this SOP class and transfer syntax",
            )
        if not self._transcode:
            raise NoPresentationContextError(
                f"peer does not take {name_of(header.sop_class_uid)} in {name}", hint="leave out --never-transcode"
            )
        from dcmkit.services.conversion import convert

        found = convert(file.path, ways)
        content = self._of_converted(found)
        message = f"{name} is converted to {name_of(found.transfer_syntax_uid)}, which is what the peer takes"
        if found.lossy:
            log.warning("%s, with loss: another SOP Instance is sent, %s", message, found.sop_instance_uid)
        elif message not in self._told:
            self._told.add(message)
            log.warning("%s (first: %s)", message, header.sop_instance_uid)  # a path may name a patient
        return content

    def _of_converted(self, found: Converted) -> _Content:
        first, left = bytearray(min(found.length, PIECE)), 0
        try:
            if _read_fully(found.descriptor, memoryview(first)) == len(first):
                left = found.length - len(first)
        finally:
            if not left:
                os.close(found.descriptor)
        uid = found.sop_instance_uid if found.lossy else ""
        descriptor = found.descriptor if left else -1
        return _Content(found.context_id, memoryview(first), descriptor, left, True, uid)

    # --- sending ---

    def _store(self, header: FileHeader, content: _Content, after: File | None) -> tuple[int, str]:
        association = self._association
        message_id = association.next_message_id()
        rq = C_STORE_RQ(
            message_id=message_id,
            affected_sop_class_uid=header.sop_class_uid,
            affected_sop_instance_uid=content.sop_instance_uid or header.sop_instance_uid,
            move_originator_ae_title=self._originator[0],
            move_originator_message_id=self._originator[1],
        )
        try:
            if content.left:
                association.send(content.context_id, rq)
                self._stream(content)
            else:
                association.send(content.context_id, rq, content.first)
        finally:
            content.close()
        if after is not None:
            self._ahead = after, self._content(after)
        received = association.receive()
        while received is not None and isinstance(received.message, C_CANCEL_RQ) and self._on_cancel is not None:
            self._on_cancel(received.message.message_id_being_responded_to)
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


def lost(file: File, error: DcmkitError) -> Sent:
    """The outcome of a file to which there was no answer."""
    path, header = file
    return Sent(path, header.sop_class_uid, header.sop_instance_uid, None, str(error), 0.0, header.length, False, error)


def _discard(ahead: tuple[File, _Content | DcmkitError] | None) -> None:
    if ahead is not None and isinstance(ahead[1], _Content):
        ahead[1].close()
