"""`Association`: drives an `AssociationProtocol` over a blocking socket, in one thread.

The requestor gets one from `Association.request`, the acceptor from `Association.accept`. Both `receive` messages,
take data sets as lent views from `fragments`, and `send` messages; the requestor `release`s. Every way an association
can end badly is one of the errors in `dcmkit.errors`, and the socket is closed by then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import perf_counter
from typing import TYPE_CHECKING, NoReturn

from dcmkit.errors import (
    AssociationAbortedError,
    AssociationRejectedError,
    ConnectionLostError,
    InvalidDataSetError,
    NetworkError,
    PeerTimeoutError,
    ProtocolError,
)
from dcmkit.logs import get_logger
from dcmkit.net.deadline import Deadline, Pace
from dcmkit.net.transport import Transport, connect
from dcmkit.protocol.association import AssociationProtocol
from dcmkit.protocol.events import (
    Aborted,
    AssociateAccepted,
    AssociateRejected,
    AssociateRequested,
    DataSetFragment,
    Event,
    MessageReceived,
    Released,
    ReleaseRequested,
    TransportClosed,
)
from dcmkit.protocol.negotiation import AcceptedContexts, agreed_roles
from dcmkit.protocol.pdu import Abort, AssociateAC, AssociateRJ, AssociateRQ
from dcmkit.protocol.rejection import abort_reason, reject_reason

if TYPE_CHECKING:
    import socket

    from dcmkit.protocol.message import Message
    from dcmkit.settings import AssociationSettings, RequestorSettings

log = get_logger("net")

_SOON = 1.0
"""Seconds after which an association counts as idle."""

_HOLD_BYTES = 64 * 1024
_HOLD_SECONDS = 0.005
"""How much, and how long, pending responses may wait for each other."""

_LINGER = 1.0
"""Seconds the peer gets to read our last PDU before the connection is closed."""

Decision = Callable[[AssociateRQ], "tuple[AssociateAC, AcceptedContexts] | AssociateRJ"]


class Association:
    """One association over one connection.

    Attributes:
        rq: the A-ASSOCIATE-RQ of this association.
        contexts: the accepted presentation contexts.
        peer_address: the peer's IP address.
        stopping: set by `interrupt`; `receive` ends the association at the next message boundary.
    """

    def __init__(
        self,
        transport: Transport,
        protocol: AssociationProtocol,
        settings: AssociationSettings,
        *,
        patience: float,
    ) -> None:
        self.rq: AssociateRQ
        self.ac: AssociateAC
        self.contexts: AcceptedContexts
        self.stopping = False
        self.peer_address = transport.peer_address
        self._transport = transport
        self._protocol = protocol
        self._settings = settings
        self._patience = patience  # seconds to wait for a message to begin
        self._pace = Pace(settings.socket_timeout)
        self._in_message = False
        self._busy = True
        self._message_id = 0
        self._held = bytearray()  # pending responses that are yet to go out
        self._held_since = 0.0
        self._pending: Message | None = None  # the one encoded last, with where it goes
        self._pending_context = 0
        self._pending_command = b""

    # --- establishing ---

    @classmethod
    def request(cls, host: str, port: int, rq: AssociateRQ, settings: RequestorSettings) -> Association:
        """Ask a peer for an association (PS3.8 7.1).

        Args:
            host: name or IP address.
            port: TCP port.
            rq: what to ask for; its maximum length is what `settings` says.
            settings: time-outs and limits.

        Raises:
            ConnectError, AssociationRejectedError, AssociationAbortedError, PeerTimeoutError, ConnectionLostError.
            UsageError: `rq` holds what no PDU can say.
        """
        encoded = rq.encode()
        transport = Transport(connect(host, port, settings.connection_timeout), settings.socket_timeout)
        protocol = AssociationProtocol(
            requestor=True, maximum_length=settings.max_pdu, send_limit=settings.max_send_pdu
        )
        association = cls(transport, protocol, settings, patience=settings.acse_timeout)
        association.rq = rq
        try:
            transport.send([encoded])
        except NetworkError:
            transport.close()
            raise
        event = association._next_event()
        association._patience = settings.dimse_timeout
        if isinstance(event, AssociateAccepted):
            association.ac = event.ac
            roles = agreed_roles(rq.user_information.roles, event.ac.user_information.roles)
            association.contexts = AcceptedContexts(rq.presentation_contexts, event.ac.presentation_contexts, roles)
            protocol.contexts = frozenset(association.contexts.contexts)
            return association
        transport.close()
        if isinstance(event, AssociateRejected):
            rj = event.rj
            message, hint = reject_reason(rj)
            raise AssociationRejectedError(message, hint=hint, result=rj.result, source=rj.source, reason=rj.reason)
        raise association._ended(event, "before it answered the association request")

    @classmethod
    def accept(
        cls,
        sock: socket.socket,
        received: bytes,
        settings: AssociationSettings,
        decide: Decision,
        *,
        idle_timeout: float = 0.0,
    ) -> Association | None:
        """Answer a requestor; None when it was rejected, or went away without asking.

        Args:
            sock: the accepted connection; owned by the association from now on.
            received: what has been read from it already.
            settings: time-outs and limits.
            decide: the A-ASSOCIATE-AC with its contexts, or the A-ASSOCIATE-RJ.
            idle_timeout: seconds an established association may be idle; 0 is for ever.

        Raises:
            NetworkError: the connection ended, or broke the protocol, before an association came to be.
        """
        transport = Transport(sock, settings.socket_timeout)
        protocol = AssociationProtocol(requestor=False, maximum_length=settings.max_pdu)
        association = cls(transport, protocol, settings, patience=settings.acse_timeout)
        protocol.prime(received)
        event = association._next_event()
        if isinstance(event, (TransportClosed, Aborted)):
            transport.close()
            return None
        assert isinstance(event, AssociateRequested)
        association.rq = event.rq
        event.rq.peer_address = transport.peer_address
        try:
            decision = decide(event.rq)
        except BaseException:
            transport.close()
            raise
        if isinstance(decision, AssociateRJ):
            association._send([protocol.reject(decision)])
            transport.close(linger=_LINGER)
            return None
        association.ac, association.contexts = decision
        association._send([protocol.accept(association.ac)])
        association._patience = idle_timeout
        return association

    # --- receiving ---

    def receive(self) -> MessageReceived | None:
        """The next message; None when the association has ended in order (the peer released, or we are stopping).

        The data set of the last message, where it has one, must have been taken.

        Raises:
            AssociationAbortedError, PeerTimeoutError, ConnectionLostError, ProtocolError.
        """
        self._busy = False
        if self.stopping:
            self.abort()
            return None
        event = self._next_event()
        if type(event) is MessageReceived:
            self._busy = True
            return event
        if isinstance(event, ReleaseRequested):
            self._send([self._protocol.release_response()])
            self._transport.close(linger=_LINGER)
            return None
        if self.stopping and isinstance(event, TransportClosed):
            self.abort()
            return None
        self._transport.close()
        raise self._ended(event, "without release")

    def fragments(self) -> Iterator[memoryview]:
        """The data set of the message just received, in pieces; each is valid until the next is asked for."""
        while True:
            event = self._next_event()
            if type(event) is not DataSetFragment:
                self._transport.close()
                raise self._ended(event, "inside a data set")
            yield event.view
            if event.last:
                return

    def read_data_set(self, limit: int = 16 * 1024 * 1024) -> bytes:
        """The whole data set of the message just received.

        Args:
            limit: the longest that is kept, in bytes.

        Raises:
            InvalidDataSetError: longer than `limit`; it was read to its end, so the association can go on.
        """
        data = bytearray()
        length = 0
        for view in self.fragments():
            length += len(view)
            if length <= limit:
                data += view
        if length > limit:
            raise InvalidDataSetError(f"data set of {length} bytes where at most {limit} are taken")
        return bytes(data)

    def skip_data_set(self) -> None:
        """Read the data set of the message just received, and forget it."""
        for _ in self.fragments():
            pass

    @property
    def quiet(self) -> bool:
        """Whether nothing of the next message has arrived yet, so that `receive` would wait; asked without waiting."""
        return not self._protocol.in_message and not self._transport.readable()

    def cancelled(self, message_id: int) -> bool:
        """Whether a C-CANCEL-RQ for `message_id` has arrived, without waiting (PS3.7 9.3.2.3).

        A C-CANCEL-RQ for another message is ignored, as the standard asks.
        """
        from dcmkit.protocol.message import C_CANCEL_RQ

        while self._protocol.in_message or self._transport.readable():
            event = self._next_event()
            if type(event) is MessageReceived and isinstance(event.message, C_CANCEL_RQ):
                if event.message.message_id_being_responded_to == message_id:
                    return True
                continue
            if type(event) is MessageReceived:
                self._fail(ProtocolError("a request before the last one was answered", reason=2))
            self._transport.close()
            raise self._ended(event, "before its request was answered")
        return False

    def _next_event(self) -> Event:
        protocol = self._protocol
        transport = self._transport
        try:
            while True:
                event = protocol.next_event()
                if event is not None:
                    return event
                if not protocol.in_message:
                    self._in_message = False
                elif not self._in_message:
                    self._in_message = True
                    self._pace.restart()
                view = protocol.lend()
                if self._held:
                    self.flush()
                count = transport.poll_into(view)
                if count < 0:
                    count = self._wait(view)
                if not count:
                    protocol.received_eof()
                    continue
                protocol.received(count)
                if self._in_message and not self._pace.arrived(count):
                    raise PeerTimeoutError("the peer sends too slowly in the middle of a message")
        except (ProtocolError, PeerTimeoutError) as error:
            self._fail(error)
        except NetworkError:
            transport.close()
            raise

    def _wait(self, view: memoryview) -> int:
        """Let the system wait for the peer, for as long as suits where we are in the message."""
        transport = self._transport
        if self._in_message:
            transport.acknowledge()  # a peer with Nagle's algorithm may be waiting for it
            transport.set_receive_timeout(self._settings.socket_timeout)
            return transport.receive_into(view)
        patience = self._patience
        if not patience or patience > _SOON:
            transport.set_receive_timeout(_SOON)
            try:
                return transport.receive_into(view)
            except PeerTimeoutError:
                self._protocol.drop_buffer()  # thousands of idle associations are not to hold one each
                view = self._protocol.lend()
        transport.set_receive_timeout(patience)
        return transport.receive_into(view)

    def _fail(self, error: AssociationAbortedError) -> NoReturn:
        """Tell the peer, close, and raise."""
        self._abort(error.source, error.reason)
        raise error

    def _ended(self, event: Event, when: str) -> NetworkError:
        if isinstance(event, Aborted):
            message, hint = abort_reason(Abort(event.source, event.reason))
            return AssociationAbortedError(f"{message} {when}", hint=hint, source=event.source, reason=event.reason)
        if isinstance(event, TransportClosed):
            return ConnectionLostError(f"peer closed the connection {when}")
        return ProtocolError(f"{type(event).__name__} {when}", reason=2)

    # --- sending ---

    def next_message_id(self) -> int:
        """A Message ID not in use: 1 to 65535, in turn (PS3.7 E.1)."""
        self._message_id = self._message_id % 65535 + 1
        return self._message_id

    def send(self, context_id: int, message: Message, data_set: bytes | memoryview = b"") -> None:
        """Send a message, with its data set where it is given whole.

        Raises:
            NetworkError: the association is over.
        """
        self._send(self._protocol.send_message(context_id, message, data_set))

    def send_pending(self, context_id: int, message: Message, data_set: bytes) -> None:
        """Send one of many small messages: it may wait for others, 64 kB or 5 ms at most until the next of them.

        Whatever is sent or awaited next, or `flush`, takes along what waits. Hand the same `message` in again where
        only the data set is another one: it is encoded once.
        """
        if message is not self._pending or context_id != self._pending_context:
            self._pending_command = b"".join(self._protocol.send_message(context_id, message))
            self._pending, self._pending_context = message, context_id
        held = self._held
        now = perf_counter()
        if not held:
            self._held_since = now
        held += self._pending_command
        for buffer in self._protocol.send_data_set(context_id, data_set, last=True):
            held += buffer
        if len(held) >= _HOLD_BYTES or now - self._held_since > _HOLD_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Send what `send_pending` keeps back."""
        if self._held:
            self._send([])

    def send_data_set(self, context_id: int, piece: bytes | memoryview, *, last: bool) -> None:
        """Send a piece of the data set of the message sent last."""
        self._send(self._protocol.send_data_set(context_id, piece, last=last))

    @property
    def data_set_piece(self) -> int:
        """Bytes of a data set that fill one PDU to the peer; pieces that are a multiple of it travel best."""
        return self._protocol.data_set_piece

    def _send(self, buffers: list[bytes | memoryview]) -> None:
        if self._held:
            buffers = [memoryview(self._held), *buffers]
            self._held = bytearray()
        try:
            self._transport.send(buffers)
        except ConnectionLostError as error:
            raise self._why_lost(error) from error
        except PeerTimeoutError as error:
            self._fail(error)

    def _why_lost(self, error: ConnectionLostError) -> NetworkError:
        """A peer that aborts and closes makes our send fail: its A-ABORT is still to be read."""
        deadline = Deadline(1.0)
        try:
            while not deadline.passed:
                event = self._protocol.next_event()
                if isinstance(event, (Aborted, TransportClosed)):
                    return self._ended(event, "while it was sent to")
                if event is None:
                    self._transport.set_receive_timeout(0.2)
                    count = self._transport.receive_into(self._protocol.lend())
                    if count:
                        self._protocol.received(count)
                    else:
                        self._protocol.received_eof()
        except NetworkError:
            pass
        finally:
            self._transport.close()
        return error

    # --- ending ---

    def release(self) -> None:
        """A-RELEASE by the requestor (PS3.8 7.2); what else arrives meanwhile is dropped.

        Raises:
            NetworkError: the peer did not answer in order; the connection is closed all the same.
        """
        self._patience = self._settings.acse_timeout
        self._send([self._protocol.release_request()])
        while True:
            event = self._next_event()
            if isinstance(event, Released):
                self._transport.close()
                return
            if isinstance(event, ReleaseRequested):  # release collision (PS3.8 9.2.3, AR-8)
                self._send([self._protocol.release_response()])
            elif isinstance(event, (MessageReceived, DataSetFragment)):
                log.debug("dropped what arrived after the release request")
            else:
                self._transport.close()
                raise self._ended(event, "instead of releasing it")

    def abort(self) -> None:
        """A-ABORT by the service user (PS3.8 7.3). Never fails."""
        self._abort(0, 0)

    def _abort(self, source: int, reason: int) -> None:
        try:
            self._transport.send([self._protocol.abort(source, reason)])
        except NetworkError:
            self._transport.close()
        else:
            self._transport.close(linger=_LINGER)

    def interrupt(self) -> None:
        """From another thread: end the association, but let a message in progress be answered first."""
        self.stopping = True
        if not self._busy and not self._protocol.in_message:
            self._transport.interrupt()

    def close(self) -> None:
        """Drop the connection without a word; for when nothing can be said any more. Never fails."""
        self._transport.close()
