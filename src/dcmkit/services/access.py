"""Who may do what: the AEs served on one port with their rights and peers, and where a C-MOVE may go.

The words are those of DCMTK's dcmqrscp, whose tables can be read as they are (`cli/dcmqrscp.py`).
"""

from __future__ import annotations

import socket
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

from dcmkit.errors import UsageError
from dcmkit.logs import get_logger
from dcmkit.protocol.rejection import CALLING_AE_TITLE_NOT_RECOGNIZED
from dcmkit.protocol.status import NOT_AUTHORIZED
from dcmkit.services.application_entity import ApplicationEntity, refusal
from dcmkit.services.sub_operations import Destination

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from dcmkit.net.association import Association
    from dcmkit.protocol.message import Message
    from dcmkit.protocol.negotiation import AcceptedContexts
    from dcmkit.protocol.pdu import AssociateAC, AssociateRJ, AssociateRQ
    from dcmkit.services.application_entity import Handler, Service
    from dcmkit.settings import AssociationSettings, ListenerSettings, RequestorSettings

log = get_logger("services")

OPERATIONS = ("query", "retrieve", "store", "delete")

_REMEMBER = 60.0
"""Seconds the addresses of a host name are remembered."""


class Rights(NamedTuple):
    """What may be done with an archive."""

    query: bool = False
    retrieve: bool = False
    store: bool = False
    delete: bool = False

    def __and__(self, other: Rights) -> Rights:
        """What both allow."""
        return Rights(*[mine and theirs for mine, theirs in zip(self, other, strict=True)])


ALL = Rights(True, True, True, True)
_BY_LETTERS = {
    "R": Rights(query=True, retrieve=True),
    "W": Rights(store=True),
    "RW": Rights(query=True, retrieve=True, store=True),
}


def rights(access: str | Collection[str]) -> Rights:
    """The rights of `R`, `W`, `RW`, or of some of OPERATIONS.

    Raises:
        UsageError: it is neither.
    """
    if isinstance(access, str):
        letters = _BY_LETTERS.get(access.upper())
        if letters is not None:
            return letters
        access = [word.strip() for word in access.split(",")]
    unknown = [word for word in access if word not in OPERATIONS]
    if unknown or not access:
        said = unknown[0] if unknown else ""
        raise UsageError(f"{said!r} is no access", hint=f"say R, W, RW, or some of {', '.join(OPERATIONS)}")
    return Rights(**dict.fromkeys(access, True))


class Peer(NamedTuple):
    """An AE elsewhere: a symbolic name stands for one or several.

    Attributes:
        host: name or address; "" for any.
        port: where it listens; 0 where that is not known, so that nothing can be sent to it.
    """

    ae_title: str
    host: str = ""
    port: int = 0

    def is_it(self, ae_title: str, address: str) -> bool:
        """Whether this is who calls itself so, from there."""
        return self.ae_title == ae_title and (not self.host or address in _addresses(self.host))


class Rule(NamedTuple):
    """Peers, None for anyone, and what they may do."""

    peers: tuple[Peer, ...] | None
    rights: Rights


class Served(NamedTuple):
    """One AE title that is served.

    Attributes:
        ae_title: what it is called.
        directory: its archive.
        rights: what may be done there at all.
        rules: for whom; the first that fits counts. None fits: the association is rejected.
        max_studies, max_size, max_study_size: its quota in studies and bytes; 0 for none.
    """

    ae_title: str
    directory: str
    rights: Rights = ALL
    rules: tuple[Rule, ...] = (Rule(None, ALL),)
    max_studies: int = 0
    max_size: int = 0
    max_study_size: int = 0

    def rights_of(self, ae_title: str, address: str) -> Rights | None:
        """What this peer may do; None where it is not known here."""
        for rule in self.rules:
            if rule.peers is None or any(peer.is_it(ae_title, address) for peer in rule.peers):
                return self.rights & rule.rights
        return None


class _Names:
    """Addresses of host names, remembered for a while."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, frozenset[str]]] = {}

    def __call__(self, host: str) -> frozenset[str]:
        """The addresses; none where the name is not known."""
        known = self._known.get(host)
        if known is not None and known[0] > monotonic():
            return known[1]
        try:
            found = frozenset(str(info[4][0]) for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError):
            log.warning("host %s has no address", host)
            found = frozenset()
        self._known[host] = monotonic() + _REMEMBER, found
        return found


_addresses = _Names()


# --- associations ------------------------------------------------------------------------------------------------


class RestrictedEntity(ApplicationEntity):
    """An AE that rejects peers it does not know.

    Args:
        served: whom it knows; the rest as for `ApplicationEntity`.
    """

    def __init__(
        self,
        served: Served,
        services: Sequence[Service],
        association: AssociationSettings,
        listener: ListenerSettings,
        *,
        preferred: Sequence[str] = (),
    ) -> None:
        super().__init__(services, association, listener, preferred=preferred)
        self._served = served

    def decide(self, rq: AssociateRQ) -> tuple[AssociateAC, AcceptedContexts] | AssociateRJ:
        """The answer to an association request."""
        if self._served.rights_of(rq.calling_ae_title, rq.peer_address) is None:
            log.warning(
                "rejected an association from %r (%s): no peer of %s",
                rq.calling_ae_title,
                rq.peer_address,
                self._served.ae_title,
            )
            return CALLING_AE_TITLE_NOT_RECOGNIZED
        return super().decide(rq)


class Guarded:
    """A service that only those with the right to it may use; others are told so (0124H).

    Args:
        service: what is guarded.
        served: who has which rights.
        operation: one of OPERATIONS.
    """

    def __init__(self, service: Service, served: Served, operation: str) -> None:
        self._service = service
        self._served = served
        self._operation = operation
        self.handlers: dict[type[Message], Handler] = {
            kind: self._guard(handler) for kind, handler in service.handlers.items()
        }

    def __getattr__(self, name: str) -> Any:
        return getattr(self._service, name)

    def transfer_syntaxes(self, abstract_syntax: str) -> Sequence[str] | None:
        """As the service says."""
        return self._service.transfer_syntaxes(abstract_syntax)

    def _guard(self, handler: Handler) -> Handler:
        def guarded(association: Association, context_id: int, message: Message) -> None:
            found = self._served.rights_of(association.rq.calling_ae_title, association.peer_address)
            if found is not None and getattr(found, self._operation):
                handler(association, context_id, message)
                return
            if message.has_data_set:
                association.skip_data_set()
            log.warning("%s may not %s at %s", association.rq.calling_ae_title, self._operation, self._served.ae_title)
            response = refusal(message, getattr(message, "message_id", 0))
            response.__dict__["status"] = NOT_AUTHORIZED
            response.__dict__["error_comment"] = f"this AE title may not {self._operation} here"
            association.send(context_id, response)

        return guarded


# --- move destinations -------------------------------------------------------------------------------------------


class MoveTargets:
    """The configured move destinations.

    Args:
        peers: AE title to where it is.
        settings: how to associate with it; the AE titles are filled in.
        restriction: "" for none; "aetitle", "host" or "vendor": the destination must have that in common with who
            asks (DCMTK's -ZA, -ZH and -ZV).
        vendors: peers that belong together.
    """

    def __init__(
        self,
        peers: Mapping[str, Peer],
        settings: RequestorSettings,
        *,
        restriction: str = "",
        vendors: Sequence[Sequence[Peer]] = (),
    ) -> None:
        self._peers = dict(peers)
        self._settings = settings
        self._restriction = restriction
        self._vendors = vendors

    def find(self, ae_title: str, association: Association) -> Destination | None:
        """The destination of this AE title, as far as the requestor of `association` may use it."""
        peer = self._peers.get(ae_title)
        if peer is None or not peer.host or not peer.port:
            return None
        if not self._allowed(peer, association.rq.calling_ae_title, association.peer_address):
            log.warning("%s may not move to %s", association.rq.calling_ae_title, ae_title)
            return None
        settings = self._settings.replace(
            calling_ae_title=association.rq.called_ae_title or self._settings.calling_ae_title,
            called_ae_title=ae_title,
        )
        return Destination(peer.host, peer.port, settings)

    def _allowed(self, peer: Peer, calling: str, address: str) -> bool:
        check: Callable[[], bool] | None = {
            "aetitle": lambda: peer.ae_title == calling,
            "host": lambda: address in _addresses(peer.host),
            "vendor": lambda: any(
                peer in group and any(other.ae_title == calling for other in group) for group in self._vendors
            ),
        }.get(self._restriction)
        return check is None or check()
