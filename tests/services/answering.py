"""A query service for tests that answers what it is told: the peer of findscu."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from dcmkit.dataset.elements import DataSet, Element, decode, encode
from dcmkit.net.association import Association
from dcmkit.net.listener import Listener
from dcmkit.protocol.message import C_FIND_RQ, C_FIND_RSP, Message
from dcmkit.protocol.user_information import SOPClassExtended
from tests.net.server import listening

NAME, PATIENT_ID, STUDY_UID, STUDY_DATE = 0x00100010, 0x00100020, 0x0020000D, 0x00080020
CHARSET, LEVEL = 0x00080005, 0x00080052

Step = DataSet | bytes | int | Message | None
"""An answer, or an answer as bytes, or a final status, or a message as it is, or the end of the association."""


def study(number: int, **changes: str) -> DataSet:
    """The answer about a study."""
    name = changes.get("name", f"Doe^{number}")
    charset = {} if name.isascii() else {CHARSET: Element("CS", "ISO_IR 192")}
    return {
        **charset,
        STUDY_DATE: Element("DA", changes.get("date", "20240131")),
        LEVEL: Element("CS", "STUDY"),
        NAME: Element("PN", name),
        STUDY_UID: Element("UI", f"1.2.3.{number}"),
    }


class Answering:
    """A query SCP.

    Args:
        answer: what to do for each request, in turn or by what is asked; then Success, unless a status was sent.
        syntaxes: the transfer syntaxes it takes.
        extended: its answer to SOP class extended negotiation.

    Attributes:
        requests: message, transfer syntax and identifier bytes of each request.
        negotiated: what was asked for by extended negotiation.
        cancelled: how many requests were cancelled before they were answered to the end.
        comment: Error Comment of final responses.
    """

    def __init__(
        self,
        answer: Iterable[Step] | Callable[[DataSet], Iterable[Step]] = (),
        *,
        sop_classes: Sequence[str] = (),
        syntaxes: Sequence[str] = (),
        extended: bytes | None = None,
        comment: str = "",
    ) -> None:
        self.requests: list[tuple[C_FIND_RQ, str, bytes]] = []
        self.negotiated: list[SOPClassExtended] = []
        self.cancelled = 0
        self.comment = comment
        self.honours_cancel = True
        self.associations = 0
        self._answer = answer if callable(answer) else lambda _: answer
        self._sop_classes = sop_classes
        self._syntaxes = syntaxes
        self._extended = extended
        self._last: Association | None = None

    @property
    def handlers(self) -> dict[type[Message], Callable[[Association, int, Message], None]]:
        return {C_FIND_RQ: self._find}

    def transfer_syntaxes(self, abstract_syntax: str) -> Sequence[str] | None:
        known = abstract_syntax in self._sop_classes if self._sop_classes else ".5.1.4." in abstract_syntax
        return self._syntaxes if known else None

    def extended(self, item: SOPClassExtended) -> bytes | None:
        self.negotiated.append(item)
        return self._extended

    def identifier(self, number: int = -1) -> DataSet:
        """The keys of a request."""
        _, syntax, data = self.requests[number]
        return decode(data, syntax)

    def _find(self, association: Association, context_id: int, message: Message) -> None:
        assert isinstance(message, C_FIND_RQ)
        if association is not self._last:
            self.associations += 1
            self._last = association
        syntax = association.contexts.by_id(context_id)[1]
        self.requests.append((message, syntax, association.read_data_set()))
        message_id = message.message_id
        for step in self._answer(self.identifier()):
            if self.honours_cancel and association.cancelled(message_id):
                self.cancelled += 1
                self._final(association, context_id, message_id, 0xFE00)
                return
            if step is None:
                association.abort()
                return
            if isinstance(step, int):
                self._final(association, context_id, message_id, step)
                return
            if isinstance(step, Message):
                association.send(context_id, step)
                continue
            data = step if isinstance(step, bytes) else encode(step, syntax)
            association.send(context_id, pending(message_id), data)
        self._final(association, context_id, message_id, 0)

    def _final(self, association: Association, context_id: int, message_id: int, status: int) -> None:
        response = C_FIND_RSP(
            message_id_being_responded_to=message_id, status=status, error_comment=self.comment or None
        )
        association.send(context_id, response)


def pending(message_id: int, status: int = 0xFF00) -> C_FIND_RSP:
    """A response with which an identifier comes."""
    return C_FIND_RSP(message_id_being_responded_to=message_id, status=status, command_data_set_type=1)


@contextmanager
def answering(service: Answering) -> Iterator[Listener]:
    """A running listener with that service."""
    with listening((service,)) as listener:
        yield listener
