"""C-ECHO, both sides (PS3.4 Annex A)."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from dcmkit.errors import NoPresentationContextError, ProtocolError, StatusError
from dcmkit.protocol.events import MessageReceived
from dcmkit.protocol.message import C_ECHO_RQ, C_ECHO_RSP, C_FIND_RSP, Message
from dcmkit.protocol.negotiation import AcceptedContexts
from dcmkit.protocol.pdu import PresentationContextAC, PresentationContextRQ
from dcmkit.services.verification import VerificationSCP, echo
from dcmkit.uids import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, VERIFICATION
from tests.net.server import ECHO_CONTEXT, associate, listening


class Scripted:
    """An association whose peer answers with what it is told to."""

    def __init__(self, answer: Message | None, result: int = 0) -> None:
        ac = PresentationContextAC(1, result, IMPLICIT_VR_LITTLE_ENDIAN)
        self.contexts = AcceptedContexts([ECHO_CONTEXT], [ac])
        self.sent: list[tuple[int, Message]] = []
        self.aborted = False
        self._answer = answer

    def next_message_id(self) -> int:
        return 7

    def send(self, context_id: int, message: Message) -> None:
        self.sent.append((context_id, message))

    def receive(self) -> MessageReceived | None:
        return MessageReceived(1, self._answer) if self._answer is not None else None

    def abort(self) -> None:
        self.aborted = True


def scripted(answer: Message | None, result: int = 0) -> Any:
    return Scripted(answer, result)


def test_the_round_trip_is_measured() -> None:
    peer = scripted(C_ECHO_RSP(message_id_being_responded_to=7, status=0))
    assert 0 <= echo(peer) < 5
    assert peer.sent == [(1, C_ECHO_RQ(message_id=7, affected_sop_class_uid=VERIFICATION))]
    assert not peer.aborted


def test_a_failure_status_is_an_error() -> None:
    with pytest.raises(StatusError, match="0x0122") as caught:
        echo(scripted(C_ECHO_RSP(message_id_being_responded_to=7, status=0x0122)))
    assert caught.value.status == 0x0122


@pytest.mark.parametrize(
    "answer",
    [
        None,
        C_ECHO_RSP(message_id_being_responded_to=8, status=0),
        C_FIND_RSP(message_id_being_responded_to=7, status=0),
        C_ECHO_RQ(message_id=7),
    ],
)
def test_any_other_answer_ends_the_association(answer: Message | None) -> None:
    peer = scripted(answer)
    with pytest.raises(ProtocolError, match="answered the C-ECHO with"):
        echo(peer)
    assert peer.aborted


def test_without_a_context_nothing_is_sent() -> None:
    peer = scripted(None, result=3)
    with pytest.raises(NoPresentationContextError, match="peer does not support it"):
        echo(peer)
    assert peer.sent == []


def test_only_the_verification_sop_class_is_of_this_service() -> None:
    assert VerificationSCP().transfer_syntaxes(VERIFICATION) == ()
    assert VerificationSCP().transfer_syntaxes("1.2.840.10008.5.1.4.1.1.2") is None


def test_any_transfer_syntax_does() -> None:
    with listening() as listener:
        association = associate(
            listener.port, PresentationContextRQ(9, VERIFICATION, ("1.2.840.10008.1.2.4.90", EXPLICIT_VR_LITTLE_ENDIAN))
        )
        assert echo(association) < 5
        association.release()


def test_the_response_carries_the_id_of_its_request() -> None:
    sent: list[tuple[int, Message]] = []
    association: Any = SimpleNamespace(send=lambda context_id, message: sent.append((context_id, message)))
    handler = VerificationSCP().handlers[C_ECHO_RQ]
    handler(association, 5, C_ECHO_RQ(message_id=65535, affected_sop_class_uid=VERIFICATION))
    assert sent == [(5, C_ECHO_RSP(message_id_being_responded_to=65535, affected_sop_class_uid=VERIFICATION, status=0))]


def test_a_data_set_nobody_asked_for_is_read_over() -> None:
    with listening() as listener:
        association = associate(listener.port)
        request = C_ECHO_RQ(message_id=3, affected_sop_class_uid=VERIFICATION, command_data_set_type=1)
        association.send(1, request)
        association.send_data_set(1, bytes(300_000), last=True)
        received = association.receive()
        assert received is not None
        assert received.message == C_ECHO_RSP(
            message_id_being_responded_to=3, affected_sop_class_uid=VERIFICATION, status=0
        )
        assert echo(association) < 5
        association.release()
