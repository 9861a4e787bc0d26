"""C-FIND as SCU (PS3.4 C.4.1, PS3.7 9.1.2): ask one question, take the answers one by one as they arrive.

finding = find(association, STUDY_ROOT_FIND, identifier)
for answer in finding:
    ...
finding.require_success()
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from dcmkit.dataset.elements import DataSet, decode, encode
from dcmkit.errors import (
    AssociationAbortedError,
    InvalidDataSetError,
    NoPresentationContextError,
    ProtocolError,
    StatusError,
    UsageError,
)
from dcmkit.logs import get_logger
from dcmkit.protocol.message import C_CANCEL_RQ, C_FIND_RQ, C_FIND_RSP
from dcmkit.protocol.pdu import PresentationContextRQ
from dcmkit.protocol.status import (
    CANCEL,
    FAILURE,
    PENDING,
    STATUS_CANCEL,
    STATUS_PENDING,
    STATUS_PENDING_WARNING,
    STATUS_SUCCESS,
    WARNING,
    category,
    describe,
)
from dcmkit.uids import (
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    name_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from dcmkit.net.association import Association

log = get_logger("find")

PATIENT_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.1.1"
STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
PATIENT_STUDY_ONLY_FIND = "1.2.840.10008.5.1.4.1.2.3.1"
WORKLIST_FIND = "1.2.840.10008.5.1.4.31"

TRANSFER_SYNTAXES = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN)
"""What is proposed for identifiers."""

ANSWER_LIMIT = 16 * 1024 * 1024
"""Longest identifier taken from a peer, in bytes."""
CANCEL_PATIENCE = 10.0
"""Seconds a peer may go on answering after a C-CANCEL before the association is aborted."""

_PENDING = (STATUS_PENDING, STATUS_PENDING_WARNING)
_UNDECODED = "\ufffd"
_LAST_RESORTS = ("ISO_IR 192", "ISO_IR 100")
"""What is tried for values that are none in any character set anybody named."""


class Charsets(NamedTuple):
    """How texts are encoded.

    Attributes:
        request: the Specific Character Set of the request, which always says so.
        assume: that of answers which do not declare one, or declare one their bytes contradict.
        override: take `assume` whatever an answer declares.
    """

    request: str = "ISO_IR 192"
    assume: str = ""
    override: bool = False


def find_contexts(
    sop_class_uids: Sequence[str], transfer_syntaxes: Sequence[str] = TRANSFER_SYNTAXES
) -> list[PresentationContextRQ]:
    """A presentation context for each of these SOP classes."""
    return [
        PresentationContextRQ(2 * number + 1, uid, tuple(transfer_syntaxes))
        for number, uid in enumerate(sop_class_uids)
    ]


def find(
    association: Association,
    sop_class_uid: str,
    identifier: DataSet,
    *,
    charset: str = "ISO_IR 192",
    assume_charset: str = "",
    override_charset: bool = False,
    limit: int = 0,
    cancel_after: int = 0,
    on_pause: Callable[[], None] | None = None,
) -> Finding:
    """Send a C-FIND-RQ; the answers are taken by iterating over what is returned.

    Args:
        association: with a presentation context for the SOP class.
        sop_class_uid: the information model.
        identifier: the keys, their texts in Unicode.
        charset: Specific Character Set to encode them in; "" leaves (0008,0005) out.
        assume_charset: that of answers which do not declare one, or one that their bytes contradict.
        override_charset: take `assume_charset` whatever an answer declares.
        limit: take so many answers at most; then send a C-CANCEL-RQ and drop what follows (0: no limit).
        cancel_after: send a C-CANCEL-RQ after so many answers, but take those that still come (0: never).
        on_pause: called whenever the next answer is not there yet.

    Raises:
        NoPresentationContextError: the peer accepted none for the SOP class; the association is as good as before.
        UsageError: a key cannot be encoded in `charset`.
        NetworkError: the association is over.
    """
    context_id, syntax = _context(association, sop_class_uid)
    try:
        data = encode(identifier, syntax, charset=charset)
    except UnicodeEncodeError as error:
        bad = error.object[error.start : error.end]
        raise UsageError(
            f"{bad!r} of a key cannot be written in the character set {charset}", hint="try --charset 'ISO_IR 192'"
        ) from None
    except InvalidDataSetError as error:
        raise UsageError(f"a key cannot be encoded: {error.message}", hint=error.hint) from None
    message_id = association.next_message_id()
    association.send(context_id, C_FIND_RQ(message_id=message_id, affected_sop_class_uid=sop_class_uid), data)
    return Finding(
        association,
        context_id,
        message_id,
        Charsets(charset, assume_charset, override_charset),
        limit=limit,
        cancel_after=cancel_after,
        on_pause=on_pause,
    )


def _context(association: Association, sop_class_uid: str) -> tuple[int, str]:
    accepted = association.contexts.transfer_syntaxes(sop_class_uid)
    if accepted:
        return accepted[0]
    why = association.contexts.why_not(sop_class_uid)
    raise NoPresentationContextError(
        f"no presentation context for {name_of(sop_class_uid)}: {why}", hint=_OTHER_MODELS.get(sop_class_uid, "")
    )


_OTHER_MODELS = {
    PATIENT_ROOT_FIND: "many archives answer in the study root model only: try -S",
    STUDY_ROOT_FIND: "try another information model: -P for patient root, -W for worklists",
    PATIENT_STUDY_ONLY_FIND: "this model is retired: try -S for study root or -P for patient root",
    WORKLIST_FIND: "the peer is no worklist server: try -S to look for studies",
}


class Finding:
    """The answers to one C-FIND-RQ, to be iterated over once; a network error comes out of the iteration.

    Attributes:
        status: the status of the final response; pending (FF00H) until it has come.
        comment: its Error Comment, "" where there is none.
        offending: the tags it complains of.
        count: how many answers were given out.
        faulty: how many answers could not be read, and were left out.
        cancelled: whether the peer stopped because of our C-CANCEL-RQ, or answers beyond the limit were dropped.
        keys_unsupported: whether the peer said that it does not support an optional key (FF01H).
    """

    def __init__(
        self,
        association: Association,
        context_id: int,
        message_id: int,
        charsets: Charsets,
        *,
        limit: int = 0,
        cancel_after: int = 0,
        on_pause: Callable[[], None] | None = None,
    ) -> None:
        self.status = STATUS_PENDING
        self.comment = ""
        self.offending: tuple[int, ...] = ()
        self.count = 0
        self.faulty = 0
        self.cancelled = False
        self.keys_unsupported = False
        self._association = association
        self._context_id = context_id
        self._message_id = message_id
        self._charsets = charsets
        self._limit = limit
        self._cancel_after = cancel_after
        self._on_pause = on_pause
        self._deadline = 0.0  # set when a C-CANCEL-RQ has gone out
        self._answers = self._receive()

    def __iter__(self) -> Iterator[DataSet]:
        return self._answers

    def cancel(self) -> None:
        """Send a C-CANCEL-RQ (PS3.7 9.3.2.3); the peer may go on answering for a while, or finish as if nothing was."""
        if not self._deadline and self.status == STATUS_PENDING:
            self._deadline = monotonic() + CANCEL_PATIENCE
            self._association.send(self._context_id, C_CANCEL_RQ(message_id_being_responded_to=self._message_id))

    def require_success(self) -> None:
        """Raise what the final status means, unless it is success, a warning, or our own cancellation.

        Raises:
            StatusError: the peer refused, failed, or cancelled by itself.
        """
        kind = category(self.status)
        if kind == FAILURE or (kind == CANCEL and not self._deadline):
            raise StatusError(self.describe(), status=self.status, hint=hint(self.status))

    def describe(self) -> str:
        """The final status in words, with what the peer said about it."""
        text = f"the peer answered the C-FIND: {describe(self.status, 'find')}"
        if self.offending:
            from dcmkit.dataset.dictionary import keyword_of

            named = [keyword_of(tag) or f"({tag >> 16:04X},{tag & 0xFFFF:04X})" for tag in self.offending[:8]]
            text += f", because of {', '.join(named)}"
        return f"{text}: {self.comment}" if self.comment else text

    @property
    def capped(self) -> bool:
        """Whether the status says that there may be more matches than were answered."""
        return self.status & 0xFF00 == 0xA700 or category(self.status) == WARNING

    # --- receiving ---

    def _receive(self) -> Iterator[DataSet]:
        association, message_id, on_pause = self._association, self._message_id, self._on_pause
        contexts = association.contexts
        while True:
            if on_pause is not None and association.quiet:
                on_pause()
            received = association.receive()
            if received is None:
                raise AssociationAbortedError("peer released the association before it had answered the C-FIND")
            context_id, response = received
            if type(response) is not C_FIND_RSP or response.message_id_being_responded_to != message_id:
                association.abort()
                raise ProtocolError(f"peer answered the C-FIND with {response!r}", reason=2)
            if response.status not in _PENDING:
                self._finish(response)
                return
            if response.status == STATUS_PENDING_WARNING:
                self.keys_unsupported = True
            if self._deadline:
                self._check_patience()
                if self._limit and self.count >= self._limit:
                    self.cancelled = True
                    if response.has_data_set:
                        association.skip_data_set()
                    continue
            answer = self._answer(response, contexts.contexts[context_id][1])
            if answer is None:
                continue
            self.count += 1
            yield answer
            if self.count in (self._limit, self._cancel_after):
                self.cancel()

    def _answer(self, response: C_FIND_RSP, syntax: str) -> DataSet | None:
        try:
            if not response.has_data_set:
                raise InvalidDataSetError("it has no data set")
            return self._decode(self._association.read_data_set(ANSWER_LIMIT), syntax)
        except InvalidDataSetError as error:
            self.faulty += 1
            log.warning("answer %d of the peer cannot be read and is left out: %s", self.count + self.faulty, error)
            return None

    def _decode(self, data: bytes, syntax: str) -> DataSet:
        """An answer; values that are none in the character set it declares, nor in the one to assume, in another."""
        _, assume, override = self._charsets
        answer = decode(data, syntax, assume_charset=assume, override_charset=override)
        if data.isascii() or not has_undecoded(answer):
            return answer
        for charset in _LAST_RESORTS:
            other = decode(data, syntax, assume_charset=charset, override_charset=override)
            if not has_undecoded(other):
                return other
        return answer

    def _finish(self, response: C_FIND_RSP) -> None:
        if response.has_data_set:  # against PS3.7 9.3.2.2, but seen
            self._association.skip_data_set()
        self.status = response.status
        self.comment = response.error_comment or ""
        self.offending = response.offending_element or ()
        if category(response.status) == CANCEL and self._deadline:
            self.cancelled = True

    def _check_patience(self) -> None:
        if monotonic() > self._deadline:
            self._association.abort()
            self.status, self.cancelled = STATUS_CANCEL, True
            raise AssociationAbortedError(
                f"the peer went on answering for {CANCEL_PATIENCE:g} s after the C-CANCEL; the association was aborted"
            )


def has_undecoded(data_set: DataSet) -> bool:
    """Whether a text of it had bytes that its character set does not know."""
    for _, value in data_set.values():
        if isinstance(value, str):
            if _UNDECODED in value:
                return True
        elif isinstance(value, list) and any(map(has_undecoded, value)):
            return True
    return False


def is_suspicious(count: int) -> bool:
    """Whether so many answers look like a limit of the peer rather than like all there is: 100, 250, 500, 2000, ..."""
    digits = str(count).rstrip("0")
    return count >= 100 and digits in ("1", "2", "5", "25")


def hint(status: int) -> str:
    """What to do about a final status."""
    if status == STATUS_SUCCESS or category(status) == PENDING:
        return ""
    return _HINTS.get(status) or _HINTS.get(status & 0xFF00) or (_HINTS[0xC000] if status >> 12 == 0xC else "")


_HINTS = {
    0xA700: "there are too many matches, or the peer is short of something: ask for less, or use --split-date",
    0xA900: "the keys do not suit the information model or the level: check (0008,0052) and try -S, -P or -W",
    0xB000: "ask for less, or use --split-date",
    0xC000: "the peer does not understand the keys: leave some out, or check their values",
    STATUS_CANCEL: "nobody asked it to stop: the peer was perhaps shut down, or has a limit; ask for less",
    0x0122: "the peer does not answer this information model: try -S, -P or -W",
    0x0124: "the peer must be told that this AE title may query: check -aet",
}
