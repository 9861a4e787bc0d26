"""C-MOVE as SCU (PS3.4 C.4.2), and the storage SCP of its own that the objects can be sent to.

The receiver takes whatever comes, from whom it comes, and counts only what a request of ours brought: a C-STORE that
names our AE title and the Message ID of a running C-MOVE (PS3.7 9.1.1.1.10); where the peer names no originator, one
from the peer while a C-MOVE is running.
"""

from __future__ import annotations

import threading
from itertools import count
from typing import TYPE_CHECKING

from dcmkit.errors import NoPresentationContextError, UsageError
from dcmkit.logs import get_logger
from dcmkit.net.association import Association
from dcmkit.net.dispatch import AssociationThreads
from dcmkit.net.listener import Listener, bind
from dcmkit.protocol.pdu import PresentationContextRQ
from dcmkit.services.application_entity import ApplicationEntity
from dcmkit.services.association_request import association_request
from dcmkit.services.get_scu import IDENTIFIER_SYNTAXES
from dcmkit.services.retrieve_scu import Arrivals, OwnAssociation, ask
from dcmkit.services.storage import StorageSCP
from dcmkit.services.tally import Tally, tally
from dcmkit.services.verification import VerificationSCP
from dcmkit.settings import AssociationSettings, ListenerSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from dcmkit.protocol.user_information import UserIdentity
    from dcmkit.services.models import Model
    from dcmkit.services.retrieve_plan import Request
    from dcmkit.services.retrieve_scu import Counts
    from dcmkit.services.storage import Destination, Received
    from dcmkit.settings import RequestorSettings

log = get_logger("retrieve")

_GRACE = 10.0
"""Seconds that associations of the receiver get to end when it stops."""


class _Running:
    """A C-MOVE that waits for its objects."""

    def __init__(self, message_id: int, arrivals: Arrivals, peer_address: str, called_ae_title: str) -> None:
        self.message_id = message_id
        self.arrivals = arrivals
        self.peer_address = peer_address
        self.called_ae_title = called_ae_title


class Receiver:
    """A storage SCP in a thread of this process, from `start` to `stop`.

    Args:
        port: where to listen; 0 lets the system choose.
        ae_title: what it calls itself; associations that call it otherwise are taken too.
        destination: where objects go; None forgets them.
        settings: limits and time-outs.
        listener: addresses and limits.
        transfer_syntaxes: those to take; () for all.
        prefer: those to choose where they are proposed, the best first.

    Attributes:
        strangers: objects that came for none of our requests.

    Raises:
        ListenError: the port cannot be had.
    """

    def __init__(
        self,
        port: int,
        ae_title: str,
        destination: Destination | None,
        settings: AssociationSettings,
        listener: ListenerSettings | None = None,
        *,
        transfer_syntaxes: Sequence[str] = (),
        prefer: Sequence[str] = (),
    ) -> None:
        listener = listener or ListenerSettings()
        self.ae_title = ae_title
        self.strangers = 0
        self._changed = threading.Condition()
        self._unnamed: list[Received] = []
        self._running: dict[int, _Running] = {}
        self._message_ids = count(1)
        storage = _Storage(destination, transfer_syntaxes, on_object=self._take)
        ae = ApplicationEntity((VerificationSCP(), storage), settings, listener, preferred=prefer)
        dispatcher = AssociationThreads(
            ae.decide, ae.serve, settings, limit=listener.max_associations, idle_timeout=listener.idle_timeout
        )
        self._listener = Listener(bind(listener.bind, port), dispatcher, artim=settings.acse_timeout, grace=_GRACE)
        self.port = self._listener.port
        self._thread = threading.Thread(target=self._listener.run, name="receiver", daemon=True)

    def start(self) -> Receiver:
        """Listen."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Finish the objects on their way, and end."""
        self._listener.stop()
        self._thread.join(2 * _GRACE)

    def __enter__(self) -> Receiver:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def next_message_id(self) -> int:
        """A Message ID that no other request of this process is using: objects are told apart by it."""
        while True:
            message_id = (next(self._message_ids) - 1) % 65535 + 1
            if message_id not in self._running:
                return message_id

    def expect(self, message_id: int, arrivals: Arrivals, association: Association) -> None:
        """What comes for this request belongs to `arrivals`, until `forget`."""
        running = _Running(message_id, arrivals, association.peer_address, association.rq.called_ae_title)
        with self._changed:
            self._running[message_id] = running

    def forget(self, message_id: int) -> None:
        """The request is over."""
        with self._changed:
            self._running.pop(message_id, None)
            if not self._running:  # nobody is left whose they could be
                self.strangers += len(self._unnamed)
                self._unnamed.clear()

    def _take(self, received: Received) -> None:
        with self._changed:
            whose, own = self._whose(received)
            if whose is not None:
                whose.take(received)
            elif own:
                self._unnamed.append(received)
            else:
                self.strangers += 1
            self._changed.notify_all()
        if whose is None and not own:
            log.warning(
                "%s (%s) sent an object that no request of ours asked for",
                received.association.rq.calling_ae_title,
                received.association.peer_address,
            )

    def _whose(self, received: Received) -> tuple[Arrivals | None, bool]:
        """Which request an object came for; else, whether it may be any of those that are running."""
        rq, association = received.rq, received.association
        message_id, title = rq.move_originator_message_id, rq.move_originator_ae_title
        sender = association.rq.calling_ae_title  # whom pynetdicom's qrscp names where we should be named
        if message_id is not None and title in (None, "", self.ae_title, sender):
            running = self._running.get(message_id)
            return (None, False) if running is None else (running.arrivals, True)
        if message_id is not None or title:
            return None, False
        own = [
            running.arrivals
            for running in self._running.values()
            if association.peer_address == running.peer_address
            or association.rq.calling_ae_title == running.called_ae_title
        ]
        return (own[0] if len(own) == 1 else None), bool(own)

    @property
    def unnamed(self) -> int:
        """Objects that may be any running request's."""
        return len(self._unnamed)

    def settle(self, arrivals: Arrivals, operations: int, seconds: float) -> None:
        """Wait for what is still on its way, and give a request its share of what came without a name."""
        with self._changed:

            def lacking() -> int:
                return operations - arrivals.operations - len(arrivals.refused)

            self._changed.wait_for(lambda: len(self._unnamed) >= lacking(), seconds)
            while self._unnamed and lacking() > 0:
                arrivals.take(self._unnamed.pop(0))


class _Storage(StorageSCP):
    """Takes these transfer syntaxes only, () for all."""

    def __init__(
        self,
        destination: Destination | None,
        transfer_syntaxes: Sequence[str],
        on_object: Callable[[Received], None],
    ) -> None:
        super().__init__(destination, on_object=on_object)
        self._transfer_syntaxes = tuple(transfer_syntaxes)

    def transfer_syntaxes(self, abstract_syntax: str) -> Sequence[str] | None:
        """Those, for whatever may be stored."""
        return None if super().transfer_syntaxes(abstract_syntax) is None else self._transfer_syntaxes


class MoveSCU(OwnAssociation):
    """Retrieves by C-MOVE, one request after the other on one association.

    Args:
        host, port: the peer.
        settings: AE titles, limits, time-outs.
        model: the information model.
        move_destination: AE title to send to.
        receiver: where that is; None when it is somewhere else.
        user_identity: sent with the association request.
        identifier_syntaxes: what to propose for the C-MOVE.
        cancel_after: send a C-CANCEL-RQ after so many pending responses (0: never).
        wait: seconds to wait after the final response for objects still on their way.
    """

    service = "move"

    def __init__(
        self,
        host: str,
        port: int,
        settings: RequestorSettings,
        model: Model,
        move_destination: str,
        receiver: Receiver | None = None,
        *,
        user_identity: UserIdentity | None = None,
        identifier_syntaxes: Sequence[str] = IDENTIFIER_SYNTAXES,
        cancel_after: int = 0,
        wait: float = 5.0,
    ) -> None:
        self.model = model
        self._peer = host, port
        self._settings = settings
        self._move_destination = move_destination
        self._receiver = receiver
        self._user_identity = user_identity
        self._identifier_syntaxes = tuple(identifier_syntaxes)
        self._cancel_after = cancel_after
        self._wait = wait
        super().__init__()

    def association(self) -> Association:
        """An association for C-MOVE and C-FIND. Raises: NetworkError."""
        if self._association is None:
            uids = [uid for uid in (self.model.move, self.model.find) if uid]
            contexts = [
                PresentationContextRQ(2 * number + 1, uid, self._identifier_syntaxes) for number, uid in enumerate(uids)
            ]
            rq = association_request(self._settings, contexts, self._user_identity)
            self._association = Association.request(*self._peer, rq, self._settings)
        return self._association

    def fetch(self, request: Request, arrivals: Arrivals, on_pending: Callable[[Counts], None] | None = None) -> Tally:
        """One request.

        Args:
            request: what to ask for.
            arrivals: new; takes what comes to the receiver.
            on_pending: called with the counts of each pending response.

        Raises:
            NetworkError: the association is over, or could not be had; what came before is in `arrivals`.
            NoPresentationContextError: the peer does not take the information model.
        """
        association = self.association()
        receiver = self._receiver
        message_id = receiver.next_message_id() if receiver is not None else association.next_message_id()
        if receiver is not None:
            receiver.expect(message_id, arrivals, association)
        try:
            answer = ask(
                association,
                self.model.move,
                request.identifier,
                destination=self._move_destination,
                message_id=message_id,
                on_pending=self._watching(arrivals, on_pending),
                cancel_after=self._cancel_after,
                patience=self._settings.dimse_timeout,
                progress=lambda: arrivals.operations,
            )
            if receiver is not None:
                expected = answer.counts.sent if answer.counts.known else request.expected
                receiver.settle(arrivals, expected, self._wait)
            return tally(request, [answer], None if receiver is None else arrivals)
        except (NoPresentationContextError, UsageError):
            raise
        except BaseException:
            self.drop()
            raise
        finally:
            if receiver is not None:
                receiver.forget(message_id)

    def _watching(
        self, arrivals: Arrivals, on_pending: Callable[[Counts], None] | None
    ) -> Callable[[Counts], None] | None:
        """`on_pending`, and a warning when the peer sends objects that do not come here."""
        receiver = self._receiver
        if receiver is None:
            return on_pending
        told = False

        def watch(counts: Counts) -> None:
            nonlocal told
            if on_pending is not None:
                on_pending(counts)
            if counts.sent and not told and not (arrivals.operations or arrivals.refused or receiver.unnamed):
                told = True
                log.warning(
                    "the peer says that it has sent %d objects to %s, and nothing has arrived: "
                    "it may have another address or port for that AE title",
                    counts.sent,
                    self._move_destination,
                )

        return watch
