"""Two cores wired back to back: no socket, no thread, no clock."""

from __future__ import annotations

import struct
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcmkit.errors import ProtocolError
from dcmkit.protocol import message as dimse
from dcmkit.protocol import pdu, state
from dcmkit.protocol.association import AssociationProtocol
from dcmkit.protocol.events import (
    Aborted,
    AssociateAccepted,
    AssociateRejected,
    AssociateRequested,
    DataSetFragment,
    MessageReceived,
    Released,
    ReleaseRequested,
    TransportClosed,
)
from dcmkit.protocol.user_information import UserInformation

CT = "1.2.840.10008.5.1.4.1.1.2"
IMPLICIT = "1.2.840.10008.1.2"


def request(maximum_length: int = 16384) -> pdu.AssociateRQ:
    return pdu.AssociateRQ(
        "SCP",
        "SCU",
        (pdu.PresentationContextRQ(1, CT, (IMPLICIT,)), pdu.PresentationContextRQ(3, CT, (IMPLICIT,))),
        UserInformation(maximum_length=maximum_length, implementation_class_uid="1.2.3"),
    )


def acceptance(maximum_length: int = 16384) -> pdu.AssociateAC:
    return pdu.AssociateAC(
        "SCP",
        "SCU",
        (pdu.PresentationContextAC(1, 0, IMPLICIT), pdu.PresentationContextAC(3, 3, IMPLICIT)),
        UserInformation(maximum_length=maximum_length, implementation_class_uid="1.2.3"),
    )


def give(protocol: AssociationProtocol, data: bytes | Iterable[bytes | memoryview]) -> None:
    protocol.prime(data if isinstance(data, bytes) else b"".join(map(bytes, data)))


def pair(maximum_length: int = 16384) -> tuple[AssociationProtocol, AssociationProtocol]:
    requestor, acceptor = AssociationProtocol(requestor=True), AssociationProtocol(requestor=False)
    give(acceptor, request(maximum_length).encode())
    event = acceptor.next_event()
    assert isinstance(event, AssociateRequested)
    assert event.rq == request(maximum_length)
    give(requestor, acceptor.accept(acceptance(maximum_length)))
    accepted = requestor.next_event()
    assert isinstance(accepted, AssociateAccepted)
    requestor.contexts = frozenset({1})
    return requestor, acceptor


def store(message_id: int = 1) -> dimse.C_STORE_RQ:
    return dimse.C_STORE_RQ(message_id=message_id, affected_sop_class_uid=CT, affected_sop_instance_uid="1.2.3")


@given(st.binary(max_size=5000), st.integers(128, 3000))
def test_a_message_arrives_as_it_was_sent(data: bytes, maximum_length: int) -> None:
    requestor, acceptor = pair(maximum_length)
    data = data or b"x"
    give(acceptor, requestor.send_message(1, store(), data))
    event = acceptor.next_event()
    assert event == MessageReceived(1, store())
    received = b""
    while True:
        fragment = acceptor.next_event()
        assert isinstance(fragment, DataSetFragment)
        received += bytes(fragment.view)
        if fragment.last:
            break
    assert received == data
    assert acceptor.next_event() is None
    assert not acceptor.in_message


def test_release() -> None:
    requestor, acceptor = pair()
    give(acceptor, requestor.release_request())
    assert acceptor.next_event() == ReleaseRequested()
    give(requestor, acceptor.release_response())
    assert requestor.next_event() == Released()
    assert requestor.state == acceptor.state == state.AWAITING_CLOSE


def test_release_collision() -> None:
    requestor, acceptor = pair()
    from_requestor, from_acceptor = requestor.release_request(), acceptor.release_request()
    give(requestor, from_acceptor)
    give(acceptor, from_requestor)
    assert requestor.next_event() == ReleaseRequested()
    assert acceptor.next_event() is None
    give(acceptor, requestor.release_response())
    assert acceptor.next_event() == ReleaseRequested()
    give(requestor, acceptor.release_response())
    assert requestor.next_event() == Released()


def test_reject_and_abort_are_told() -> None:
    requestor, acceptor = AssociationProtocol(requestor=True), AssociationProtocol(requestor=False)
    give(acceptor, request().encode())
    acceptor.next_event()
    give(requestor, acceptor.reject(pdu.AssociateRJ(1, 1, 7)))
    assert requestor.next_event() == AssociateRejected(pdu.AssociateRJ(1, 1, 7))
    requestor, acceptor = pair()
    give(acceptor, requestor.abort())
    assert acceptor.next_event() == Aborted(0, 0)


def test_end_of_the_connection_is_an_event() -> None:
    _, acceptor = pair()
    acceptor.received_eof()
    assert acceptor.next_event() == TransportClosed()


@pytest.mark.parametrize("first", [pdu.ReleaseRQ(), pdu.ReleaseRP(), pdu.AssociateRJ(1, 1, 1), acceptance()])
def test_anything_but_a_request_first_is_unexpected(first: pdu.PDU) -> None:
    acceptor = AssociationProtocol(requestor=False)
    give(acceptor, first.encode())
    with pytest.raises(ProtocolError) as caught:
        acceptor.next_event()
    assert caught.value.reason == 2


@pytest.mark.parametrize("second", [request(), acceptance(), pdu.AssociateRJ(1, 1, 1), pdu.ReleaseRP()])
def test_unexpected_pdus_in_an_association(second: pdu.PDU) -> None:
    _, acceptor = pair()
    give(acceptor, second.encode())
    with pytest.raises(ProtocolError) as caught:
        acceptor.next_event()
    assert caught.value.reason == 2


def pdv(context_id: int, control: int, data: bytes) -> bytes:
    return struct.pack(">BxIIBB", 4, len(data) + 6, len(data) + 2, context_id, control) + data


COMMAND = store().encode()


@pytest.mark.parametrize(
    "pdus",
    [
        [pdv(3, 3, COMMAND)],  # context rejected
        [pdv(5, 3, COMMAND)],  # context unknown
        [pdv(0, 3, COMMAND)],
        [pdv(1, 2, b"data set first")],
        [pdv(1, 1, COMMAND[:20]), pdv(3, 3, COMMAND[20:])],  # context switched in the command set
        [pdv(1, 3, COMMAND), pdv(3, 2, b"data")],  # ... and in the data set
        [pdv(1, 3, COMMAND), pdv(1, 3, COMMAND)],  # a second message before the data set
        [pdv(1, 3, COMMAND), pdv(1, 0, b"begin"), pdv(1, 3, COMMAND)],
        [pdv(1, 3, COMMAND), pdu.ReleaseRQ().encode()],
        [pdv(1, 1, COMMAND[:20]), pdu.ReleaseRQ().encode()],
        [pdv(1, 1, COMMAND), pdv(1, 0, b"data")],  # the command set never ends
        [pdv(1, 1, bytes(100_000)), pdv(1, 1, bytes(100_000)), pdv(1, 1, bytes(100_000))],  # over the cap
    ],
)
def test_messages_out_of_order_end_the_association(pdus: list[bytes]) -> None:
    _, acceptor = pair()
    with pytest.raises(ProtocolError):  # noqa: PT012 - which PDU is refused depends on the case
        for data in pdus:
            give(acceptor, data)
            while acceptor.next_event() is not None:
                pass


@pytest.mark.parametrize("maximum_length", [1, 6, 127])
def test_a_maximum_length_too_short_for_any_message_is_refused(maximum_length: int) -> None:
    acceptor = AssociationProtocol(requestor=False)
    give(acceptor, request(maximum_length).encode())
    with pytest.raises(ProtocolError):
        acceptor.next_event()


def test_maximum_length_zero_is_no_limit() -> None:
    requestor, acceptor = pair(0)
    buffers = requestor.send_message(1, store(), bytes(100_000))
    assert len(buffers) == 4
    give(acceptor, buffers)
    assert isinstance(acceptor.next_event(), MessageReceived)


def test_command_and_data_set_in_one_pdu() -> None:
    _, acceptor = pair()
    pdvs = [pdv(1, 3, COMMAND)[6:], pdv(1, 0, b"one")[6:], pdv(1, 2, b"two")[6:]]
    give(acceptor, struct.pack(">BxI", 4, sum(map(len, pdvs))) + b"".join(pdvs))
    assert isinstance(acceptor.next_event(), MessageReceived)
    assert [(bytes(e.view), e.last) for e in (acceptor.next_event(), acceptor.next_event())] == [  # type: ignore[union-attr]
        (b"one", False),
        (b"two", True),
    ]


def test_nothing_is_sent_where_it_may_not() -> None:
    requestor, acceptor = pair()
    with pytest.raises(ProtocolError):
        requestor.send_message(3, store())
    requestor.release_request()
    with pytest.raises(ProtocolError):
        requestor.send_message(1, store())
    give(acceptor, pdu.Abort().encode())
    acceptor.next_event()
    with pytest.raises(ProtocolError):
        acceptor.release_response()


@given(st.binary(max_size=300))
def test_garbage_gives_the_documented_error(data: bytes) -> None:
    _, acceptor = pair()
    give(acceptor, data)
    try:
        while acceptor.next_event() is not None:
            pass
    except ProtocolError:
        pass


def test_what_comes_after_an_abort_is_ignored() -> None:
    requestor, acceptor = pair()
    acceptor.abort()
    give(acceptor, requestor.send_message(1, store(), b"late"))
    assert acceptor.next_event() is None


def test_pending_responses_that_look_alike_are_read_once_and_others_are_not_taken_for_them() -> None:
    requestor, acceptor = pair()

    def told(status: int, message_id: int = 1) -> dimse.Message:
        response = dimse.C_FIND_RSP(message_id_being_responded_to=message_id, status=status)
        give(requestor, acceptor.send_message(1, response))
        event = requestor.next_event()
        assert isinstance(event, MessageReceived)
        assert event.message == response
        return event.message

    first = told(0xFF00)
    assert told(0xFF00) is first
    assert told(0xFF00, 2) is not first
    assert told(0xFF01) is not told(0)
    assert told(0) is not told(0)
