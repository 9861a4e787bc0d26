"""`AssociationProtocol`: one association without I/O, requestor or acceptor. Bytes in, events out; what `net/` drives.

The driver's loop: `lend` memory, receive into it, say how much was `received`, then take events from `next_event`
until it is None. What is to be sent comes back from the other methods, as bytes or as a list of buffers.

A `ProtocolError` out of `next_event` ends the association: send what `abort` returns and close.
"""

from __future__ import annotations

from dcmkit.errors import ProtocolError
from dcmkit.protocol import message as dimse
from dcmkit.protocol import pdata, pdu, state
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

Buffers = list["bytes | memoryview"]

MAXIMUM_LENGTH_FLOOR = 128
"""Shortest maximum length taken from a peer, in bytes: below it a message costs more headers than content."""


class AssociationProtocol:
    """The protocol state of one association.

    Args:
        requestor: whether this side asks for the association.
        maximum_length: what this side announces, in bytes (PS3.8 D.1).
        send_limit: never send longer PDUs than this, in bytes; 0 is no limit.

    Attributes:
        contexts: accepted presentation context IDs; set by the driver when the association is established. PDVs on
            any other context end the association.
        peer_maximum_length: what the peer announced, in bytes; 0 is no limit.
    """

    def __init__(self, *, requestor: bool, maximum_length: int = pdata.BUFFER_SIZE, send_limit: int = 0) -> None:
        self.requestor = requestor
        self.state = state.AWAITING_ASSOCIATE_RESPONSE if requestor else state.AWAITING_ASSOCIATE_RQ
        self.contexts: frozenset[int] = frozenset()
        self.peer_maximum_length = 0
        self._send_limit = send_limit
        self._fragment_size = pdata.fragment_size(16384, send_limit)
        self._reader = pdata.PDUReader(maximum_length)
        self._command: bytearray | None = None  # the command set that is arriving
        self._context_id = 0  # of the message that is arriving
        self._pending: tuple[bytes, dimse.Message] = b"", dimse.Message()  # the last pending response
        self._awaiting_data_set = False
        self._closed = False
        self.lend = self._reader.lend
        self.received = self._reader.received
        self.prime = self._reader.prime
        self.drop_buffer = self._reader.drop_buffer

    @property
    def in_message(self) -> bool:
        """Whether a message or a PDU has begun to arrive and is not complete."""
        return self._awaiting_data_set or self._command is not None or self._reader.in_pdu

    @property
    def oversized_pdu(self) -> int:
        """The longest PDU received beyond the announced maximum, in bytes; 0 where there was none."""
        return self._reader.oversized

    # --- in ---

    def received_eof(self) -> None:
        """The transport connection was closed by the peer."""
        self._closed = True

    def next_event(self) -> Event | None:
        """The next event, or None when more bytes are needed.

        Raises:
            ProtocolError: the peer broke PS3.7 or PS3.8.
        """
        while True:
            item = self._reader.next()
            if item is None:
                if self._closed:
                    self.state = state.AWAITING_CLOSE
                    return TransportClosed()
                return None
            event = self._fragment(item) if type(item) is pdata.ReceivedFragment else self._pdu(item)
            if event is not None:
                return event

    def _fragment(self, item: pdata.ReceivedFragment) -> Event | None:
        if self.state != state.ESTABLISHED:
            action, self.state = state.RECEIVED[self.state, pdata.P_DATA_TF]
            if action is state.IGNORE:
                return None
            if action is not state.INDICATE:
                raise ProtocolError("P-DATA-TF where none may come", reason=2)
        context_id, is_command, view, last = item
        if self._awaiting_data_set:
            if is_command or context_id != self._context_id:
                raise ProtocolError("another message begins before the data set is complete", reason=2)
            if last:
                self._awaiting_data_set = False
            elif not view:
                return None
            return DataSetFragment(view, last)
        if not is_command:
            raise ProtocolError("a data set without a command set before it", reason=2)
        command = self._command
        if command is None:
            if context_id not in self.contexts:
                raise ProtocolError(f"presentation context {context_id} was not accepted")
            self._context_id = context_id
            if last:
                return self._message(context_id, view)
            self._command = bytearray(view)
            return None
        if context_id != self._context_id:
            raise ProtocolError("the presentation context changes inside a command set", reason=2)
        command += view
        if len(command) > dimse.COMMAND_SET_CAP:
            raise ProtocolError(f"command set of more than {dimse.COMMAND_SET_CAP} bytes")
        if not last:
            return None
        self._command = None
        return self._message(context_id, command)

    def _message(self, context_id: int, command: bytearray | memoryview) -> Event:
        data = bytes(command)
        if data == self._pending[0]:  # thousands of answers to a query begin alike
            message = self._pending[1]
        else:
            message = dimse.decode(data)
            if type(message) is dimse.C_FIND_RSP and message.status & 0xFFFE == 0xFF00:
                self._pending = data, message
        self._awaiting_data_set = message.has_data_set
        return MessageReceived(context_id, message)

    def _pdu(self, item: pdata.ReceivedFragment | pdata.ReceivedPDU) -> Event | None:
        assert isinstance(item, pdata.ReceivedPDU)
        pdu_type = item.pdu_type
        action, self.state = state.RECEIVED[self.state, pdu_type]
        if action in (state.IGNORE, state.ABORT_AGAIN):
            return None
        if action in (state.ABORT_UNEXPECTED, state.ABORT_SILENTLY):
            raise ProtocolError(f"unexpected PDU: {pdu.PDU_NAMES[pdu_type]}", reason=2)
        if pdu_type in (pdu.A_RELEASE_RQ, pdu.A_RELEASE_RP) and (self._awaiting_data_set or self._command is not None):
            raise ProtocolError(f"{pdu.PDU_NAMES[pdu_type]} in the middle of a message", reason=2)
        received = pdu.decode(pdu_type, item.body)
        if isinstance(received, pdu.AssociateRQ):
            self._take_maximum_length(received.user_information.maximum_length)
            return AssociateRequested(received)
        if isinstance(received, pdu.AssociateAC):
            self._take_maximum_length(received.user_information.maximum_length)
            return AssociateAccepted(received)
        if isinstance(received, pdu.AssociateRJ):
            return AssociateRejected(received)
        if isinstance(received, pdu.Abort):
            return Aborted(received.source, received.reason)
        if isinstance(received, pdu.ReleaseRQ):
            if action is state.RELEASE_COLLISION and not self.requestor:
                self.state = state.COLLISION_ACCEPTOR_AWAITING_RP
                return None
            return ReleaseRequested()
        if self.state == state.COLLISION_ACCEPTOR_AWAITING_LOCAL_RESPONSE:
            return ReleaseRequested()
        return Released()

    def _take_maximum_length(self, maximum_length: int) -> None:
        if 0 < maximum_length < MAXIMUM_LENGTH_FLOOR:
            raise ProtocolError(f"the peer's maximum length is {maximum_length} bytes, too short for any message")
        self.peer_maximum_length = maximum_length
        self._fragment_size = pdata.fragment_size(maximum_length, self._send_limit)

    # --- out ---

    def _issue(self, primitive: str) -> None:
        try:
            self.state = state.ISSUED[self.state, primitive]
        except KeyError:
            raise ProtocolError(f"{primitive} is not possible in {self.state}", source=0, reason=0) from None

    def accept(self, ac: pdu.AssociateAC) -> bytes:
        """A-ASSOCIATE response, accepted."""
        self._issue("accept")
        self.contexts = frozenset(c.context_id for c in ac.presentation_contexts if c.result == 0)
        return ac.encode()

    def reject(self, rj: pdu.AssociateRJ) -> bytes:
        """A-ASSOCIATE response, rejected."""
        self._issue("reject")
        return rj.encode()

    def release_request(self) -> bytes:
        """A-RELEASE request."""
        self._issue("release_request")
        return pdu.ReleaseRQ().encode()

    def release_response(self) -> bytes:
        """A-RELEASE response."""
        self._issue("release_response")
        return pdu.ReleaseRP().encode()

    def abort(self, source: int = 0, reason: int = 0) -> bytes:
        """A-ABORT request, in any state."""
        self.state = state.AWAITING_CLOSE
        return pdu.Abort(source, reason).encode()

    def send_message(self, context_id: int, message: dimse.Message, data_set: bytes | memoryview = b"") -> Buffers:
        """A message as buffers; `data_set` whole, or empty to send it in pieces with `send_data_set`."""
        self._may_send(context_id)
        buffers = pdata.pdata(context_id, message.encode(), self._fragment_size, is_command=True)
        if data_set:
            buffers += pdata.pdata(context_id, data_set, self._fragment_size, is_command=False)
        return buffers

    def send_data_set(self, context_id: int, piece: bytes | memoryview, *, last: bool) -> Buffers:
        """A piece of a data set as buffers. Pieces but the last are best a multiple of `data_set_piece`."""
        return pdata.pdata(context_id, piece, self._fragment_size, is_command=False, last=last)

    @property
    def data_set_piece(self) -> int:
        """Bytes of a data set that fill one PDU to the peer."""
        return self._fragment_size

    def _may_send(self, context_id: int) -> None:
        if (self.state, "data") not in state.ISSUED:
            raise ProtocolError("the association is not established", source=0, reason=0)
        if context_id not in self.contexts:
            raise ProtocolError(f"presentation context {context_id} was not accepted", source=0, reason=0)
