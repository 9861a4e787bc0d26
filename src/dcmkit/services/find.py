"""C-FIND as SCP for the query/retrieve information models (PS3.4 C.4.1). The SCU is `find_scu`."""

from __future__ import annotations

from functools import lru_cache
from time import perf_counter
from typing import TYPE_CHECKING

from dcmkit.archive.items import with_matching_items
from dcmkit.archive.query import select_values
from dcmkit.dataset.dictionary import keyword_of
from dcmkit.dataset.elements import decode
from dcmkit.dataset.identifier import AnswerEncoder
from dcmkit.errors import DataSetMismatchError, DcmkitError, NetworkError, SOPClassNotSupportedError
from dcmkit.logs import get_logger
from dcmkit.protocol.message import C_FIND_RQ, C_FIND_RSP, DATA_SET_PRESENT, Message
from dcmkit.protocol.status import STATUS_CANCEL, STATUS_PENDING, STATUS_PENDING_WARNING, STATUS_SUCCESS
from dcmkit.services.identifier import read_query
from dcmkit.services.models import (
    BY_FIND,
    MODELS,
    PATIENT,
    UNIQUE_KEYS,
    FindExtended,
    Model,
    decode_find_extended,
    encode_extended,
)
from dcmkit.uids import DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, UNCOMPRESSED

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from dcmkit.archive.query import Value
    from dcmkit.archive.store import Archive
    from dcmkit.dataset.identifier import Field
    from dcmkit.net.association import Association
    from dcmkit.protocol.user_information import SOPClassExtended
    from dcmkit.services.application_entity import Handler
    from dcmkit.services.identifier import Asked

log = get_logger("services")

IDENTIFIER_SYNTAXES = (*UNCOMPRESSED, DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN)
"""Transfer syntaxes of identifiers."""

RESPONSE_LIMIT_REACHED = 0xB001
"""PS3.4 C.4.1.1.4: there may be more matches."""

_SUPPORTED = FindExtended(relational=True, combined=True, fuzzy=True, timezone=True)
_LOOK_EVERY = 0.01
"""Seconds between two looks whether a C-CANCEL-RQ has come."""
_WAITS, _WAITS_PER_SECOND = 20, 2
"""Queries that may wait for the index at once, and how many more each second."""
_FEW = 64
"""Elements of an answer whose encoder is worth remembering; a hostile request may have any number."""
_ROWS = 32
"""Answers between two looks at the clock."""


class FindSCP:
    """Answers C-FIND-RQ from an archive's index.

    Args:
        archive: where to look.
        models: the information models offered.
        strict: refuse identifiers that are not as PS3.4 C.4.1.3.1.1 asks.
        limit: the most answers to one request; 0 for no limit.
        charset: Specific Character Set to answer in where the request names none.
        override_charset: answer in `charset` whatever the request names.
        timezone: of objects that do not say theirs, a name or an offset; "" for that of the system.
    """

    def __init__(
        self,
        archive: Archive,
        *,
        models: Collection[Model] = MODELS,
        strict: bool = False,
        limit: int = 0,
        charset: str = "",
        override_charset: bool = False,
        timezone: str = "",
    ) -> None:
        self._archive = archive
        self._models = {uid: model for uid, model in BY_FIND.items() if model in models}
        self._strict = strict
        self._limit = limit
        self._charset = charset
        self._override = override_charset
        self._timezone = timezone
        self._fresh = _Allowance()
        self.handlers: dict[type[Message], Handler] = {C_FIND_RQ: self._find}

    def transfer_syntaxes(self, abstract_syntax: str) -> Sequence[str] | None:
        """Those of identifiers, for the models offered."""
        return IDENTIFIER_SYNTAXES if abstract_syntax in self._models else None

    def extended(self, item: SOPClassExtended) -> bytes | None:
        """What PS3.4 C.5.1.1 lets one ask for, but for views of enhanced images: yes, where asked."""
        asked = decode_find_extended(item.information)
        agreed = FindExtended(*[wanted and offered for wanted, offered in zip(asked, _SUPPORTED, strict=True)])
        return encode_extended(agreed, len(item.information)) if item.information else None

    def _find(self, association: Association, context_id: int, message: Message) -> None:
        rq = message
        assert isinstance(rq, C_FIND_RQ)
        began = perf_counter()
        status, comment, offending, told = STATUS_SUCCESS, None, None, 0
        try:
            asked = self._read(association, context_id, rq)
            status, told = self._answer(association, context_id, rq, asked)
            log.info(
                "%s asked at %s level: %d answers, status %04X, %.1f ms",
                association.rq.calling_ae_title,
                asked.level,
                told,
                status,
                (perf_counter() - began) * 1000,
            )
        except NetworkError:
            raise
        except DcmkitError as error:
            status, comment, offending = failure(error)
            log.warning("a query of %s failed: %s", association.rq.calling_ae_title, error.message)
        association.send(
            context_id,
            C_FIND_RSP(
                message_id_being_responded_to=rq.message_id,
                affected_sop_class_uid=rq.affected_sop_class_uid,
                status=status,
                error_comment=comment,
                offending_element=offending,
            ),
        )

    def _read(self, association: Association, context_id: int, rq: C_FIND_RQ) -> Asked:
        abstract_syntax, transfer_syntax = association.contexts.by_id(context_id)
        data = read_identifier(association, rq, rq.affected_sop_class_uid, abstract_syntax)
        asked = read_query(
            decode(data, transfer_syntax, assume_charset=self._charset),
            self._models[abstract_syntax],
            decode_find_extended(agreed_information(association, abstract_syntax)),
            retrieve_ae_title=association.rq.called_ae_title,
            extra=self._archive.keywords,
            strict=self._strict,
            limit=self._limit + 1 if self._limit else 0,
            timezone=self._timezone,
        )
        if self._override or (self._charset and not asked.charset):
            asked = asked._replace(charset=self._charset)
        return asked

    def _answer(self, association: Association, context_id: int, rq: C_FIND_RQ, asked: Asked) -> tuple[int, int]:
        """Send the matches; the final status, and how many were sent."""
        transfer_syntax = association.contexts.by_id(context_id)[1]
        make = _encoder if len(asked.fields) <= _FEW else AnswerEncoder
        encode = make(asked.fields, transfer_syntax, asked.charset).encode
        pending = C_FIND_RSP(
            message_id_being_responded_to=rq.message_id,
            affected_sop_class_uid=rq.affected_sop_class_uid,
            status=STATUS_PENDING if asked.complete else STATUS_PENDING_WARNING,
            command_data_set_type=DATA_SET_PRESENT,
        )
        cancelled = Watch(association, rq.message_id)
        send = association.send_pending
        told = 0
        for row in self._rows(asked, cancelled):
            if told == self._limit and self._limit:
                return RESPONSE_LIMIT_REACHED, told
            send(context_id, pending, encode(row))
            told += 1
            if not told % _ROWS and cancelled():
                break
        return (STATUS_CANCEL if cancelled.said_so() else STATUS_SUCCESS), told

    def _rows(self, asked: Asked, stop: Callable[[], bool]) -> Iterator[Sequence[Value]]:
        if self._archive.committer.behind and self._fresh():
            catch_up(self._archive)
        unique = keyword_of(UNIQUE_KEYS[asked.level])
        place = asked.query.keys.index(unique)
        for row in select_values(self._archive.index, asked.query, self._archive.keywords, stop=stop):
            if row[place] or asked.level == PATIENT:  # what has no UID cannot be an answer (PS3.4 C.2.2.1.1)
                yield _refined(row, asked) if asked.sequences or asked.adjustment else row


@lru_cache(maxsize=256)
def _encoder(fields: tuple[Field, ...], transfer_syntax_uid: str, charset: str) -> AnswerEncoder:
    """Clients ask for the same keys again and again."""
    return AnswerEncoder(fields, transfer_syntax_uid, charset)


def _refined(row: Sequence[Value], asked: Asked) -> Sequence[Value]:
    """What the index cannot do to a row."""
    for places, keys in asked.sequences:
        row = with_matching_items(row, places, keys)
    return row if asked.adjustment is None else asked.adjustment.row(row)


class Watch:
    """Says whether a request was cancelled; asks the association now and then only, and never raises when asked."""

    def __init__(self, association: Association, message_id: int) -> None:
        self._association = association
        self._message_id = message_id
        self._next = perf_counter() + _LOOK_EVERY
        self._stop = False
        self._error: NetworkError | None = None

    def __call__(self) -> bool:
        """Whether to stop: it was cancelled, as far as is known, or the association is over."""
        if not self._stop and (now := perf_counter()) >= self._next:
            self._next = now + _LOOK_EVERY
            try:
                self._stop = self._association.cancelled(self._message_id)
            except NetworkError as error:  # SQLite, which asks too, would swallow it
                self._stop, self._error = True, error
        return self._stop

    def said_so(self) -> bool:
        """Whether it was cancelled. Raises: NetworkError, the association is over."""
        if self._error is not None:
            raise self._error
        return self._stop


class _Allowance:
    """How often queries may wait for the index to catch up.

    Whoever asks now and then finds what was stored a moment before; where many ask while many store, all would wait
    for each other, and what came in the last twentieth of a second is found by the next query.
    """

    def __init__(self) -> None:
        self._left = float(_WAITS)
        self._since = perf_counter()

    def __call__(self) -> bool:
        """Whether this one may."""
        now = perf_counter()
        self._left = min(_WAITS, self._left + (now - self._since) * _WAITS_PER_SECOND)
        self._since = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


def catch_up(archive: Archive) -> None:
    """Returns when what this process has answered with Success can be found, even where its row was only queued."""
    if archive.committer.behind:
        try:
            archive.flush()
        except DcmkitError as error:
            log.error("what came last cannot be found yet: %s", error.message)


def read_identifier(association: Association, rq: Message, sop_class_uid: str, abstract_syntax: str) -> bytes:
    """The encoded identifier of a request.

    Raises:
        SOPClassNotSupportedError: the request is for another SOP class than its presentation context.
        InvalidDataSetError: there is none, or a far too long one. The association can go on in any case.
    """
    if sop_class_uid != abstract_syntax:
        if rq.has_data_set:
            association.skip_data_set()
        raise SOPClassNotSupportedError("SOP class is not that of the presentation context")
    if not rq.has_data_set:
        raise DataSetMismatchError("a request without an identifier")
    return association.read_data_set()


def agreed_information(association: Association, abstract_syntax: str) -> bytes:
    """What was agreed on for a SOP class in extended negotiation."""
    for item in association.ac.user_information.extended:
        if item.sop_class_uid == abstract_syntax:
            return item.information
    return b""


def failure(error: DcmkitError) -> tuple[int, str, tuple[int, ...] | None]:
    """Status, comment and offending elements of a failed request."""
    tag = getattr(error, "offending_element", None)
    return error.dimse_status, error.message, None if tag is None else (tag,)
