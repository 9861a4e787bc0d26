"""Associations over real sockets on loopback."""

from __future__ import annotations

import socket
import threading

import pytest

from dcmkit.errors import (
    AssociationAbortedError,
    AssociationRejectedError,
    ConnectError,
    ConnectionLostError,
    NoPresentationContextError,
    PeerTimeoutError,
    ProtocolError,
)
from dcmkit.net.association import Association
from dcmkit.net.transport import Transport
from dcmkit.protocol.association import AssociationProtocol
from dcmkit.protocol.message import C_CANCEL_RQ, C_ECHO_RQ, C_FIND_RSP
from dcmkit.protocol.pdu import Abort, AssociateRJ, PresentationContextRQ
from dcmkit.protocol.state import ESTABLISHED
from dcmkit.services.verification import echo
from dcmkit.settings import AssociationSettings, ListenerSettings
from dcmkit.uids import VERIFICATION
from tests.net.server import associate, listening


def test_echo_and_release() -> None:
    with listening() as listener:
        association = associate(listener.port)
        assert all(echo(association) < 5 for _ in range(20))
        association.release()


def test_long_ae_titles_and_own_settings() -> None:
    with listening(settings=ListenerSettings(check_called_ae_title=True)) as listener:
        associate(listener.port, called_ae_title="SCP").release()
        with pytest.raises(AssociationRejectedError, match="called AE title not recognised"):
            associate(listener.port, called_ae_title="OTHER")
    with listening(settings=ListenerSettings(allowed_calling_ae_titles=("MODALITY",))) as listener:
        associate(listener.port, calling_ae_title="MODALITY").release()
        with pytest.raises(AssociationRejectedError, match="calling AE title not recognised"):
            associate(listener.port, calling_ae_title="STRANGER")


def test_a_context_that_is_not_accepted_is_said() -> None:
    with listening() as listener:
        association = associate(
            listener.port, PresentationContextRQ(1, "1.2.840.10008.5.1.4.1.1.2", ("1.2.840.10008.1.2",))
        )
        with pytest.raises(NoPresentationContextError, match="not proposed"):
            echo(association)
        association.release()


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(ConnectError, match="nothing listens"):
        associate(port)


class Peer:
    """A peer that answers with whatever it is told to, once."""

    def __init__(self, *answers: bytes, keep_open: bool = False) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.settimeout(20)
        self.port = self._server.getsockname()[1]
        self._answers = answers
        self._done = threading.Event()
        if not keep_open:
            self._done.set()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        sock, _ = self._server.accept()
        with sock:
            for answer in self._answers:
                sock.recv(65536)
                sock.sendall(answer)
            self._done.wait(20)

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join(20)
        self._server.close()


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", ProtocolError, "HTTP"),
        (b"\x15\x03\x01\x00\x02\x02\x0a", ProtocolError, "TLS"),
        (Abort(2, 1).encode(), AssociationAbortedError, "unrecognised PDU"),
        (AssociateRJ(2, 3, 2).encode(), AssociationRejectedError, "local limit exceeded"),
        (b"\x02\x00\x00\x00\x00\x04abcd", ProtocolError, "A-ASSOCIATE-AC"),
        (b"", ConnectionLostError, "closed"),
    ],
)
def test_strange_answers_are_explained(answer: bytes, error: type[Exception], words: str) -> None:
    with Peer(answer) as peer, pytest.raises(error, match=words):
        associate(peer.port)


def test_a_peer_that_never_answers_is_given_up() -> None:
    with Peer(b"", keep_open=True) as peer, pytest.raises(PeerTimeoutError, match="silent"):
        associate(peer.port, acse_timeout=0.05)


def test_interrupt_ends_an_idle_association() -> None:
    with listening() as listener:
        association = associate(listener.port)
        echo(association)
        listener.stop()
        with pytest.raises(AssociationAbortedError):
            association.receive()


def pair() -> tuple[Association, Association]:
    """Two ends of an established association."""
    ends = []
    for sock in socket.socketpair():
        protocol = AssociationProtocol(requestor=True)
        protocol.state, protocol.contexts = ESTABLISHED, frozenset({1})
        ends.append(Association(Transport(sock), protocol, AssociationSettings(), patience=5))
    return ends[0], ends[1]


def test_a_cancel_is_seen_between_responses() -> None:
    scu, scp = pair()
    assert not scp.cancelled(7)
    scu.send(1, C_CANCEL_RQ(message_id_being_responded_to=8))
    scu.send(1, C_CANCEL_RQ(message_id_being_responded_to=7))
    assert scp.cancelled(7)
    scu.send(1, C_ECHO_RQ(message_id=9, affected_sop_class_uid=VERIFICATION))
    with pytest.raises(ProtocolError, match="before the last one was answered"):
        scp.cancelled(7)
    scu.close()


def test_a_cancel_that_came_together_with_its_request_is_seen() -> None:
    scu, scp = pair()
    scu.send(1, C_ECHO_RQ(message_id=7, affected_sop_class_uid=VERIFICATION))
    scu.send(1, C_CANCEL_RQ(message_id_being_responded_to=7))
    assert scp.receive() is not None
    assert scp.cancelled(7)
    for end in (scu, scp):
        end.close()


@pytest.mark.parametrize("count", [1, 3, 4000])
def test_pending_responses_go_out_together_and_in_order(count: int) -> None:
    scu, scp = pair()
    pending = C_FIND_RSP(message_id_being_responded_to=1, status=0xFF00, command_data_set_type=1)
    final = C_FIND_RSP(message_id_being_responded_to=1, status=0)

    def answer() -> None:
        for number in range(count):
            scp.send_pending(1, pending, b"%06d" % number)
        scp.send(1, final)

    answering = threading.Thread(target=answer)
    answering.start()
    for number in range(count):
        received = scu.receive()
        assert received is not None
        assert received.message == pending
        assert scu.read_data_set() == b"%06d" % number
    received = scu.receive()
    assert received is not None
    assert received.message == final
    answering.join()
    for end in (scu, scp):
        end.close()


def test_waiting_takes_along_what_was_kept_back() -> None:
    scu, scp = pair()
    scp.send_pending(1, C_FIND_RSP(message_id_being_responded_to=1, status=0xFF00, command_data_set_type=1), b"ab")
    scu.send(1, C_CANCEL_RQ(message_id_being_responded_to=1))
    assert scp.receive() is not None  # already there, so nothing was waited for
    scp.flush()
    assert scu.receive() is not None
    assert scu.read_data_set() == b"ab"
    for end in (scu, scp):
        end.close()


def test_message_ids_start_again() -> None:
    with listening() as listener:
        association = associate(listener.port)
        assert [association.next_message_id() for _ in range(65536)][-2:] == [65535, 1]
        association.release()
