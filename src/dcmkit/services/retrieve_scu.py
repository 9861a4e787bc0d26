"""C-GET and C-MOVE as SCU (PS3.4 C.4.2 and C.4.3, PS3.7 9.1.3 and 9.1.4): one request, its responses, what arrived.

`ask` drives one request on an association to its final response; `Arrivals` counts the objects that came for it.
"""

from __future__ import annotations

import threading
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from dcmkit.dataset.elements import DataSet, decode, encode, text
from dcmkit.errors import (
    AssociationAbortedError,
    InvalidDataSetError,
    NetworkError,
    NoPresentationContextError,
    PeerTimeoutError,
    ProtocolError,
    UsageError,
)
from dcmkit.logs import get_logger
from dcmkit.protocol.message import C_CANCEL_RQ, C_GET_RQ, C_GET_RSP, C_MOVE_RQ, C_MOVE_RSP, C_STORE_RQ
from dcmkit.protocol.status import PENDING, SUCCESS, WARNING, category
from dcmkit.services.models import PATIENT_ROOT, PATIENT_STUDY_ONLY, STUDY_ROOT
from dcmkit.uids import name_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from dcmkit.net.association import Association
    from dcmkit.protocol.message import Message
    from dcmkit.services.storage import Received

log = get_logger("retrieve")

FAILED_SOP_INSTANCE_UID_LIST = 0x00080058
SPECIFIC_CHARACTER_SET = 0x00080005


class OwnAssociation:
    """What holds one association at a time, made when it is needed."""

    def __init__(self) -> None:
        self._association: Association | None = None

    def interrupt(self) -> None:
        """From another thread: end at the next message."""
        association = self._association
        if association is not None:
            association.interrupt()

    def drop(self) -> None:
        """The association is over, or not to be used any more."""
        association, self._association = self._association, None
        if association is not None:
            association.abort()

    def close(self) -> None:
        """Release the association."""
        association, self._association = self._association, None
        if association is not None:
            try:
                association.release()
            except NetworkError as error:
                log.warning("the association was not released in order: %s", error)


IDENTIFIER_LIMIT = 16 * 1024 * 1024
"""Longest identifier taken from a peer, in bytes."""


class Counts(NamedTuple):
    """Sub-operations as a peer tells them (PS3.7 9.1.3.1); None where it does not."""

    remaining: int | None = None
    completed: int | None = None
    failed: int | None = None
    warning: int | None = None

    @property
    def known(self) -> bool:
        """Whether the peer told how many were done."""
        return self.completed is not None

    @property
    def sent(self) -> int:
        """Objects that arrived, as the peer sees it."""
        return (self.completed or 0) + (self.warning or 0)

    @property
    def total(self) -> int:
        """Objects there are, as the peer sees it."""
        return self.sent + (self.failed or 0) + (self.remaining or 0)


class Answer(NamedTuple):
    """What the responses to one request said.

    Attributes:
        status: of the final response.
        comment: its Error Comment, "" where there is none.
        counts: of the final response; what it leaves out is taken from the last pending one.
        failed_uids: its Failed SOP Instance UID List.
        cancelled: whether a C-CANCEL-RQ of ours went out.
    """

    status: int
    comment: str = ""
    counts: Counts = Counts()
    failed_uids: tuple[str, ...] = ()
    cancelled: bool = False


class Arrival(NamedTuple):
    """One object that came, or was refused."""

    sop_class_uid: str
    sop_instance_uid: str
    status: int
    comment: str
    path: str

    @property
    def stored(self) -> bool:
        """Whether the peer was told that we have it."""
        return category(self.status) in (SUCCESS, WARNING)


class Arrivals:
    """The objects that came for one request; safe for many threads.

    Attributes:
        stored: those we have, by SOP Instance UID.
        refused: those we could not take.
        operations: C-STORE sub-operations answered with success or a warning; the same object may come twice.
    """

    def __init__(self, on_arrival: Callable[[Arrival], None] | None = None) -> None:
        self.stored: dict[str, Arrival] = {}
        self.refused: dict[str, Arrival] = {}
        self.operations = 0
        self._on_arrival = on_arrival
        self._lock = threading.Lock()

    def take(self, received: Received) -> None:
        """An object has been dealt with."""
        rq = received.rq
        uid = rq.affected_sop_instance_uid
        arrival = Arrival(rq.affected_sop_class_uid, uid, received.status, received.comment, received.path)
        if self._on_arrival is not None:
            self._on_arrival(arrival)
        with self._lock:
            if arrival.stored:
                self.operations += 1
                self.stored[uid] = arrival
                self.refused.pop(uid, None)
            elif uid not in self.stored:
                self.refused[uid] = arrival


def ask(
    association: Association,
    sop_class_uid: str,
    identifier: DataSet,
    *,
    destination: str | None = None,
    message_id: int = 0,
    on_store: Callable[[Association, int, Message], None] | None = None,
    on_pending: Callable[[Counts], None] | None = None,
    cancel_after: int = 0,
    patience: float = 0.0,
    progress: Callable[[], int] | None = None,
) -> Answer:
    """One C-MOVE (with a destination) or C-GET, up to its final response.

    Args:
        association: with a presentation context for the SOP class.
        sop_class_uid: the information model.
        identifier: the unique keys, with the level.
        destination: AE title to move to; None is a C-GET.
        message_id: to use instead of the association's next one.
        on_store: answers the C-STORE requests of a C-GET.
        on_pending: called with the counts of each pending response.
        cancel_after: send a C-CANCEL-RQ after so many pending responses (0: never).
        patience: seconds without an object or a count that changes after which pending responses are no excuse any
            more (0: for ever).
        progress: a number that changes when an object has come some other way.

    Raises:
        NoPresentationContextError: the peer accepted none for the SOP class; the association is as good as before.
        UsageError: the identifier cannot be encoded.
        NetworkError: the association is over.
    """
    asking = _Asking(
        association, sop_class_uid, destination is None, on_store, on_pending, cancel_after, patience, progress
    )
    return asking.run(identifier, destination, message_id)


class _Asking:
    def __init__(
        self,
        association: Association,
        sop_class_uid: str,
        is_get: bool,
        on_store: Callable[[Association, int, Message], None] | None,
        on_pending: Callable[[Counts], None] | None,
        cancel_after: int,
        patience: float,
        progress: Callable[[], int] | None,
    ) -> None:
        self._association = association
        self._sop_class_uid = sop_class_uid
        self._is_get = is_get
        self._on_store = on_store
        self._on_pending = on_pending
        self._cancel_after = cancel_after
        self._patience = patience or float("inf")
        self._progress = progress or (lambda: 0)
        self._progressed = self._progress()
        self._counts = Counts()
        self._pending = 0
        self._cancelled = False
        self._context_id = 0
        self._message_id = 0
        self._moved = monotonic()  # when something happened last

    def run(self, identifier: DataSet, destination: str | None, message_id: int) -> Answer:
        association = self._association
        self._context_id, syntax = self._context()
        data = encode_identifier(identifier, syntax)
        self._message_id = message_id or association.next_message_id()
        rq: Message
        if destination is None:
            rq = C_GET_RQ(message_id=self._message_id, affected_sop_class_uid=self._sop_class_uid)
        else:
            rq = C_MOVE_RQ(
                message_id=self._message_id,
                affected_sop_class_uid=self._sop_class_uid,
                move_destination=destination,
            )
        association.send(self._context_id, rq, data)
        try:
            return self._receive()
        except KeyboardInterrupt:
            self._cancel()
            association.abort()
            raise
        except (AssociationAbortedError, NoPresentationContextError):
            raise
        except BaseException:
            association.abort()
            raise

    def _context(self) -> tuple[int, str]:
        contexts = self._association.contexts
        accepted = contexts.transfer_syntaxes(self._sop_class_uid)
        if accepted:
            return accepted[0]
        why = contexts.why_not(self._sop_class_uid)
        raise NoPresentationContextError(
            f"no presentation context for {name_of(self._sop_class_uid)}: {why}",
            hint=other_model(self._sop_class_uid),
        )

    def _receive(self) -> Answer:
        association = self._association
        response_class = C_GET_RSP if self._is_get else C_MOVE_RSP
        while True:
            received = association.receive()
            if received is None:
                raise AssociationAbortedError("the association ended before the retrieve was answered")
            context_id, message = received
            if type(message) is C_STORE_RQ and self._on_store is not None:
                self._on_store(association, context_id, message)
                self._moved = monotonic()
                continue
            if not isinstance(message, response_class) or message.message_id_being_responded_to != self._message_id:
                association.abort()
                raise ProtocolError(f"peer answered the retrieve with {message!r}", reason=2)
            if category(message.status) == PENDING:
                self._take_pending(message)
            else:
                return self._final(message, association.contexts.by_id(context_id)[1])

    def _take_pending(self, response: C_GET_RSP | C_MOVE_RSP) -> None:
        if response.has_data_set:  # not allowed, but harmless (PS3.4 C.4.2.3.1)
            self._association.skip_data_set()
        counts, progressed = _counts(response, self._counts), self._progress()
        if counts != self._counts or progressed != self._progressed:
            self._counts, self._progressed = counts, progressed
            self._moved = monotonic()
        if self._on_pending is not None:
            self._on_pending(counts)
        self._pending += 1
        if self._pending == self._cancel_after:
            self._cancel()
        if monotonic() - self._moved > self._patience:
            self._cancel()
            self._association.abort()
            raise PeerTimeoutError(
                f"the peer says pending again and again, but for {self._patience:g} s nothing has happened"
            )

    def _cancel(self) -> None:
        if not self._cancelled:
            self._cancelled = True
            self._association.send(self._context_id, C_CANCEL_RQ(message_id_being_responded_to=self._message_id))

    def _final(self, response: C_GET_RSP | C_MOVE_RSP, syntax: str) -> Answer:
        failed: tuple[str, ...] = ()
        if response.has_data_set:
            try:
                failed = _failed_uids(self._association.read_data_set(IDENTIFIER_LIMIT), syntax)
            except InvalidDataSetError as error:
                log.warning("the list of what failed cannot be read: %s", error)
        counts = _counts(response, self._counts)
        if response.number_of_remaining_suboperations is None:  # only a cancelled one has any left (PS3.7 9.1.4.1)
            counts = counts._replace(remaining=0)
        return Answer(response.status, response.error_comment or "", counts, failed, self._cancelled)


def _counts(response: C_GET_RSP | C_MOVE_RSP, before: Counts) -> Counts:
    told = (
        response.number_of_remaining_suboperations,
        response.number_of_completed_suboperations,
        response.number_of_failed_suboperations,
        response.number_of_warning_suboperations,
    )
    return Counts(*(old if new is None else new for new, old in zip(told, before, strict=True)))


def _failed_uids(data: bytes, syntax: str) -> tuple[str, ...]:
    listed = text(decode(data, syntax), FAILED_SOP_INSTANCE_UID_LIST)
    return tuple(dict.fromkeys(uid for uid in listed.split("\\") if uid))


def encode_identifier(identifier: DataSet, syntax: str) -> bytes:
    """An identifier as bytes; texts beyond ASCII make it UTF-8 unless it says otherwise.

    Raises:
        UsageError: a value cannot be one of its element.
    """
    charset = None if SPECIFIC_CHARACTER_SET in identifier else ""
    if charset == "" and not all(
        isinstance(found.value, str) and found.value.isascii() for found in identifier.values()
    ):
        charset = "ISO_IR 192"
    try:
        return encode(identifier, syntax, charset=charset)
    except UnicodeEncodeError as error:
        bad = error.object[error.start : error.end]
        raise UsageError(f"{bad!r} of a key cannot be written in the key's own character set") from None
    except InvalidDataSetError as error:
        raise UsageError(f"a key cannot be encoded: {error.message}", hint=error.hint) from None


def other_model(sop_class_uid: str) -> str:
    """What to try when a peer does not take an information model."""
    if sop_class_uid in (PATIENT_ROOT.get, PATIENT_ROOT.move, PATIENT_ROOT.find):
        return "many archives know the study root model only: try -S"
    if sop_class_uid in (STUDY_ROOT.get, STUDY_ROOT.move, STUDY_ROOT.find):
        return "try -P for the patient root model, or the other way to retrieve: getscu or movescu"
    if sop_class_uid in (PATIENT_STUDY_ONLY.get, PATIENT_STUDY_ONLY.move, PATIENT_STUDY_ONLY.find):
        return "this model is retired: try -S for study root or -P for patient root"
    return ""
