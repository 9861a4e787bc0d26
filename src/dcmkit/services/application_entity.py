"""The services one AE offers: which associations it takes, and which service answers a message."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from dcmkit import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dcmkit.errors import NetworkError
from dcmkit.logs import get_logger
from dcmkit.protocol import status
from dcmkit.protocol.message import Message, Request, UnknownMessage
from dcmkit.protocol.negotiation import AcceptorPolicy, accept
from dcmkit.protocol.pdu import AssociateAC
from dcmkit.protocol.rejection import CALLED_AE_TITLE_NOT_RECOGNIZED, refuse
from dcmkit.uids import is_uid

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dcmkit.net.association import Association
    from dcmkit.protocol.events import MessageReceived
    from dcmkit.protocol.negotiation import AcceptedContexts
    from dcmkit.protocol.pdu import AssociateRJ, AssociateRQ
    from dcmkit.protocol.user_information import SOPClassExtended
    from dcmkit.settings import AssociationSettings, ListenerSettings

    Handler = Callable[[Association, int, Message], None]

log = get_logger("services")


class Service(Protocol):
    """A service class as SCP.

    One may have two methods more: `scp_role(abstract_syntax) -> bool`, whether the requestor may be SCP of it (PS3.7
    D.3.3.4), and `extended(item) -> bytes | None`, which answers SOP class extended negotiation (PS3.7 D.3.3.5).
    """

    @property
    def handlers(self) -> Mapping[type[Message], Handler]:
        """The requests it answers. A handler takes the request's data set and sends the response."""

    def transfer_syntaxes(self, abstract_syntax: str) -> Sequence[str] | None:
        """The transfer syntaxes taken for an abstract syntax, () for all, None where it is not of this service."""


class ApplicationEntity:
    """An AE that accepts associations.

    Args:
        services: what it offers; the first that knows an abstract syntax answers for it.
        association: its AE title, and limits.
        listener: whom it lets in.
        preferred: transfer syntaxes to choose where they are proposed, the best first.
    """

    def __init__(
        self,
        services: Sequence[Service],
        association: AssociationSettings,
        listener: ListenerSettings,
        *,
        preferred: Sequence[str] = (),
    ) -> None:
        self.services = services
        self._maximum_length = association.max_pdu
        self._policy = _Policy(self, preferred)
        self._called = (association.calling_ae_title,) if listener.check_called_ae_title else None
        self._calling = listener.allowed_calling_ae_titles or None

    def service_for(self, abstract_syntax: str) -> Service | None:
        """The service that answers for an abstract syntax."""
        for service in self.services:
            if service.transfer_syntaxes(abstract_syntax) is not None:
                return service
        return None

    def decide(self, rq: AssociateRQ) -> tuple[AssociateAC, AcceptedContexts] | AssociateRJ:
        """The answer to an association request."""
        rejection = refuse(rq, called_ae_titles=self._called, calling_ae_titles=self._calling)
        if rejection is None:
            acceptance = accept(rq, self._policy)
            rejection = acceptance.rejection
        if rejection is not None:
            log.warning(
                "rejected an association from %r to %r: source %d, reason %d",
                rq.calling_ae_title,
                rq.called_ae_title,
                rejection.source,
                rejection.reason,
            )
            return rejection
        information = acceptance.user_information(
            self._maximum_length, IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
        )
        # PS3.8 9.3.3: the AE titles of the request are sent back as they came.
        ac = AssociateAC(rq.called_ae_title, rq.calling_ae_title, acceptance.presentation_contexts, information)
        return ac, acceptance.contexts

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
                services[context_id] = self.service_for(association.contexts.by_id(context_id)[0])
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


class ApplicationEntities:
    """Several AEs behind one port: the called AE title says which.

    Args:
        by_title: AE title to AE.
        default: who answers to any other title; without one such an association is rejected.
    """

    def __init__(self, by_title: Mapping[str, ApplicationEntity], default: ApplicationEntity | None = None) -> None:
        self._by_title = dict(by_title)
        self._default = default

    def decide(self, rq: AssociateRQ) -> tuple[AssociateAC, AcceptedContexts] | AssociateRJ:
        """The answer of the AE called."""
        ae = self._by_title.get(rq.called_ae_title, self._default)
        if ae is None:
            log.warning("rejected an association from %r: no AE is called %r", rq.calling_ae_title, rq.called_ae_title)
            return CALLED_AE_TITLE_NOT_RECOGNIZED
        return ae.decide(rq)

    def serve(self, association: Association) -> None:
        """As `ApplicationEntity.serve`, by the AE called."""
        ae = self._by_title.get(association.rq.called_ae_title, self._default)
        assert ae is not None  # or there were no association
        ae.serve(association)


class _ScpRoles:
    """The abstract syntaxes of which the requestor may be SCP, as the services say."""

    def __init__(self, ae: ApplicationEntity) -> None:
        self._ae = ae

    def __contains__(self, abstract_syntax: object) -> bool:
        return any(service.scp_role(abstract_syntax) for service in self._ae.services if hasattr(service, "scp_role"))


class _Policy(AcceptorPolicy):
    """The services decide what is supported."""

    def __init__(self, ae: ApplicationEntity, preferred: Sequence[str] = ()) -> None:
        super().__init__({}, preferred=preferred, scp_roles=_ScpRoles(ae), extended=self._extended)
        self._ae = ae

    def _extended(self, item: SOPClassExtended) -> bytes | None:
        service = self._ae.service_for(item.sop_class_uid)
        answer = getattr(service, "extended", None)
        information: bytes | None = answer(item) if answer is not None else None
        return information

    def supports(self, abstract_syntax: str) -> bool:
        """Whether one of the services answers for it."""
        return is_uid(abstract_syntax) and self._ae.service_for(abstract_syntax) is not None

    def choose(self, abstract_syntax: str, proposed: Sequence[str]) -> str:
        """The transfer syntax to accept, of those the service takes."""
        service = self._ae.service_for(abstract_syntax)
        taken = service.transfer_syntaxes(abstract_syntax) if service is not None else None
        return super().choose(abstract_syntax, [uid for uid in proposed if uid in taken] if taken else proposed)


def refusal(request: Message, message_id: int) -> Message:
    """The response to a request that is not understood, of the request's own kind where that is known."""
    from dcmkit.protocol.message import Response

    command_field = request.command_field | 0x8000
    cls = Message.by_command_field.get(command_field, Response)
    response = cls(message_id_being_responded_to=message_id, status=status.UNRECOGNIZED_OPERATION)
    response.__dict__["command_field"] = command_field
    return response
