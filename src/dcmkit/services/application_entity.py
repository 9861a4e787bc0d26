"""The services one AE offers: which associations it takes, and which service answers a message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from dcmkit import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dcmkit.errors import NetworkError
from dcmkit.logs import get_logger
from dcmkit.protocol import status
from dcmkit.protocol.message import Message, Request, UnknownMessage
from dcmkit.protocol.negotiation import AcceptorPolicy, accept

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dcmkit.net.association import Association
    from dcmkit.protocol.events import MessageReceived
    from dcmkit.protocol.negotiation import AcceptedContexts
    from dcmkit.protocol.pdu import AssociateAC, AssociateRJ, AssociateRQ
    from dcmkit.settings import AssociationSettings, ListenerSettings

log = get_logger("services")

UNEXPECTED_RESPONSE = 2
"""A-ABORT reason: unexpected PDU (PS3.8 9.3.8)."""


class Service(Protocol):
    """A service class as SCP."""

    @property
    def handlers(self) -> Mapping[type[Message], Callable[[Association, int, Message], None]]:
        """The requests it answers. A handler takes the request's data set and sends the response."""

    def transfer_syntaxes(self, abstract_syntax: str) -> Sequence[str] | None:
        """The transfer syntaxes taken for an abstract syntax, () for all, None where it is not of this service."""


class ApplicationEntity:
    """An AE that accepts associations.

    Args:
        services: what it offers; the first that knows an abstract syntax answers for it.
        association: its AE title, and limits.
        listener: whom it lets in.
    """

    def __init__(
        self, services: Sequence[Service], association: AssociationSettings, listener: ListenerSettings
    ) -> None:
        self.services = services
        self._policy = AcceptorPolicy(
            ae_title=association.calling_ae_title,
            transfer_syntaxes=self._transfer_syntaxes,
            maximum_length=association.max_pdu,
            implementation_class_uid=IMPLEMENTATION_CLASS_UID,
            implementation_version_name=IMPLEMENTATION_VERSION_NAME,
            check_called_ae_title=listener.check_called_ae_title,
            allowed_calling_ae_titles=frozenset(listener.allowed_calling_ae_titles),
        )

    def _service(self, abstract_syntax: str) -> Service | None:
        for service in self.services:
            if service.transfer_syntaxes(abstract_syntax) is not None:
                return service
        return None

    def _transfer_syntaxes(self, abstract_syntax: str) -> Sequence[str] | None:
        service = self._service(abstract_syntax)
        return None if service is None else service.transfer_syntaxes(abstract_syntax)

    def decide(self, rq: AssociateRQ) -> tuple[AssociateAC, AcceptedContexts] | AssociateRJ:
        """The answer to an association request."""
        return accept(rq, self._policy)

    def serve(self, association: Association) -> None:
        """Answer every message of an association until it ends.

        Raises:
            NetworkError: it ended badly.
        """
        rq = association.rq
        log.info("association from %s (%s) to %s", rq.calling_ae_title, association.peer_address, rq.called_ae_title)
        services: dict[int, Service | None] = {}
        while (received := association.receive()) is not None:
            context_id, message = received
            if context_id not in services:
                services[context_id] = self._service(association.contexts.by_id(context_id)[0])
            service = services[context_id]
            handler = service.handlers.get(type(message)) if service is not None else None
            if handler is None:
                self._refuse(association, received)
            else:
                handler(association, context_id, message)
        log.info("association from %s (%s) ended", rq.calling_ae_title, association.peer_address)

    def _refuse(self, association: Association, received: MessageReceived) -> None:
        """A message no service on this context answers (PS3.7 C.5.23, unrecognized operation)."""
        context_id, message = received
        if message.has_data_set:
            association.skip_data_set()
        if type(message).__name__ == "C_CANCEL_RQ":
            return  # for an operation that is over: ignored (PS3.7 9.3.2.3.2)
        message_id = getattr(message, "message_id", None)
        if message_id is None or not isinstance(message, (Request, UnknownMessage)):
            association.abort()
            raise NetworkError(f"peer sent {type(message).__name__}, to which there is no answer")
        log.warning("%s from %s is not offered here", type(message).__name__, association.peer_address)
        association.send(context_id, refusal(message, message_id))


def refusal(request: Message, message_id: int) -> Message:
    """The response to a request that is not understood, of the request's own kind where that is known."""
    from dcmkit.protocol.message import Response

    command_field = request.command_field | 0x8000
    cls = Message.by_command_field.get(command_field, Response)
    response = cls(message_id_being_responded_to=message_id, status=status.UNRECOGNIZED_OPERATION)
    response.__dict__["command_field"] = command_field
    return response
