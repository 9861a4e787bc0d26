"""Hostile and faulty peers before and in an association, against a live listener (docs/hostile-inputs.md).

After every one of them another association's C-ECHO is answered.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest

from dcmkit.errors import AssociationRejectedError
from dcmkit.net.listener import Listener
from dcmkit.protocol import message as dimse
from dcmkit.protocol import pdu
from dcmkit.protocol.message import C_ECHO_RQ, C_FIND_RQ, N_DELETE_RQ
from dcmkit.protocol.pdu import AssociateRJ, PresentationContextRQ
from dcmkit.protocol.user_information import Role, UserInformation
from dcmkit.settings import AssociationSettings, ListenerSettings
from dcmkit.uids import IMPLICIT_VR_LITTLE_ENDIAN, VERIFICATION
from tests.net.server import ECHO_CONTEXT, Rude, assert_alive, listening, pdv, rq

pytestmark = pytest.mark.hostile

ABORT, REJECT, ACCEPT, CLOSED = 7, 3, 2, 0
ECHO = C_ECHO_RQ(message_id=1, affected_sop_class_uid=VERIFICATION).encode()


@pytest.fixture(scope="module")
def listener() -> Iterator[Listener]:
    settings = AssociationSettings(calling_ae_title="SCP", socket_timeout=5.0)
    with listening(association=settings) as running:
        yield running


@pytest.fixture(autouse=True)
def still_alive(listener: Listener) -> Iterator[None]:
    yield
    assert_alive(listener.port)


def abort_reason(body: bytes) -> tuple[int, int]:
    return body[2], body[3]


# --- before an association ---


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        (b"\x09" + bytes(9), 1),
        (b"\x00" + bytes(9), 1),
        (pdu.AssociateRJ(1, 1, 1).encode(), 2),
        (pdu.ReleaseRQ().encode(), 2),
        (pdv(1, 3, ECHO), 2),
        (b"GET / HTTP/1.1\r\nHost: pacs\r\n\r\n", 1),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 1),
        (struct.pack(">BxI", 1, 0xFFFFFFFF), 6),
    ],
)
def test_what_is_no_association_request_is_aborted(listener: Listener, first: bytes, reason: int) -> None:
    with Rude(listener.port) as rude:
        pdu_type, body = rude.send(first).read()
        assert pdu_type == ABORT
        assert abort_reason(body) == (2, reason)
        assert rude.read() == (CLOSED, b"")


def test_abort_first_is_closed(listener: Listener) -> None:
    with Rude(listener.port) as rude:
        assert rude.send(pdu.Abort().encode()).read() == (CLOSED, b"")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\0\1",
        rq().encode()[6:60],
        rq().encode()[6:74] + b"\x10\0\xff\xff1.2",  # an item that runs past the PDU
        rq().encode()[6:] + b"\x50",
    ],
)
def test_malformed_requests_are_aborted(listener: Listener, body: bytes) -> None:
    with Rude(listener.port) as rude:
        pdu_type, answer = rude.send(struct.pack(">BxI", 1, len(body)) + body).read()
        assert pdu_type == ABORT
        assert abort_reason(answer) == (2, 6)


def test_one_byte_at_a_time_works(listener: Listener) -> None:
    with Rude(listener.port) as rude:
        for byte in rq().encode():
            rude.send(bytes((byte,)))
        assert rude.read()[0] == ACCEPT


def test_request_and_first_message_at_once_work(listener: Listener) -> None:
    with Rude(listener.port) as rude:
        rude.send(rq().encode() + pdv(1, 3, ECHO))
        assert rude.read()[0] == ACCEPT
        pdu_type, body = rude.read()
        assert pdu_type == 4
        assert isinstance(dimse.decode(body[6:]), dimse.C_ECHO_RSP)


def test_artim_ends_half_a_request_and_silence() -> None:
    with listening(artim=0.05) as own:
        with Rude(own.port) as silent, Rude(own.port) as half:
            half.send(rq().encode()[:30])
            assert silent.read() == (CLOSED, b"")
            assert half.read() == (CLOSED, b"")
        assert_alive(own.port)


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (rq(protocol_version=2), AssociateRJ(1, 2, 2)),
        (rq(protocol_version=0), AssociateRJ(1, 2, 2)),
        (rq(application_context_name="1.2.3"), AssociateRJ(1, 1, 2)),
        (rq(called_ae_title="   "), AssociateRJ(1, 1, 7)),
        (rq(called_ae_title="\x1b[2J"), AssociateRJ(1, 1, 7)),
        (rq(calling_ae_title="a\nb"), AssociateRJ(1, 1, 3)),
    ],
)
def test_rejections_say_why(listener: Listener, request_: pdu.AssociateRQ, expected: AssociateRJ) -> None:
    with Rude(listener.port) as rude:
        pdu_type, body = rude.send(request_.encode()).read()
        assert pdu_type == REJECT
        assert pdu.decode(pdu_type, body) == expected


def test_ae_titles_are_checked_where_asked() -> None:
    with listening(settings=ListenerSettings(check_called_ae_title=True)) as own, Rude(own.port) as rude:
        pdu_type, body = rude.send(rq(called_ae_title="OTHER").encode()).read()
        assert pdu.decode(pdu_type, body) == AssociateRJ(1, 1, 7)


def test_strange_presentation_contexts_are_never_accepted(listener: Listener) -> None:
    strange = [
        PresentationContextRQ(2, VERIFICATION, (IMPLICIT_VR_LITTLE_ENDIAN,)),
        PresentationContextRQ(0, VERIFICATION, (IMPLICIT_VR_LITTLE_ENDIAN,)),
        PresentationContextRQ(5, VERIFICATION, ()),
        PresentationContextRQ(7, "", (IMPLICIT_VR_LITTLE_ENDIAN,)),
        PresentationContextRQ(9, "1." * 150, (IMPLICIT_VR_LITTLE_ENDIAN,)),
        PresentationContextRQ(11, VERIFICATION, ("9" * 300,)),
        PresentationContextRQ(3, VERIFICATION, (IMPLICIT_VR_LITTLE_ENDIAN,)),
        PresentationContextRQ(3, VERIFICATION, (IMPLICIT_VR_LITTLE_ENDIAN,)),
    ]
    with Rude(listener.port) as rude:
        pdu_type, body = rude.send(rq([ECHO_CONTEXT, *strange]).encode()).read()
        if pdu_type == ABORT:
            return
        ac = pdu.decode(pdu_type, body)
        assert isinstance(ac, pdu.AssociateAC)
        assert [c.context_id for c in ac.presentation_contexts if c.result == 0] == [1]


def test_more_than_128_contexts(listener: Listener) -> None:
    contexts = [PresentationContextRQ(2 * (i % 128) + 1, VERIFICATION, ("1.2.840.10008.1.2",)) for i in range(300)]
    with Rude(listener.port) as rude:
        assert rude.send(rq(contexts).encode()).read()[0] in (ACCEPT, ABORT, REJECT)


@pytest.mark.parametrize(("maximum_length", "answers"), [(0, [ACCEPT]), (0xFFFFFFFF, [ACCEPT]), (1, [ABORT, REJECT])])
def test_maximum_lengths(listener: Listener, maximum_length: int, answers: list[int]) -> None:
    information = UserInformation(maximum_length=maximum_length, implementation_class_uid="1.2.3")
    with Rude(listener.port) as rude:
        assert rude.send(rq(user_information=information).encode()).read()[0] in answers


def test_role_items_in_a_plain_association(listener: Listener) -> None:
    roles = tuple(Role(f"1.2.840.10008.5.1.4.1.1.{i}", True, True) for i in range(1500))
    information = UserInformation(maximum_length=16384, implementation_class_uid="1.2.3", roles=roles)
    with Rude(listener.port) as rude:
        assert rude.send(rq(user_information=information).encode()).read()[0] == ACCEPT


def test_user_identity_whose_lengths_lie(listener: Listener) -> None:
    identity = struct.pack(">BBHBBH", 0x58, 0, 8, 2, 1, 500) + b"user"
    request = bytearray(rq().encode())
    at = request.index(b"\x50\0", 74)
    request[at + 2 : at + 4] = (int.from_bytes(request[at + 2 : at + 4], "big") + len(identity)).to_bytes(2, "big")
    request += identity
    request[2:6] = (len(request) - 6).to_bytes(4, "big")
    with Rude(listener.port) as rude:
        assert rude.send(bytes(request)).read()[0] == ABORT


def test_unknown_items_are_ignored(listener: Listener) -> None:
    request = bytearray(rq().encode()) + b"\x77\0\0\3abc"
    request[2:6] = (len(request) - 6).to_bytes(4, "big")
    with Rude(listener.port) as rude:
        assert rude.send(bytes(request)).read()[0] == ACCEPT


def test_over_the_limit_is_rejected_as_transient() -> None:
    with listening(settings=ListenerSettings(max_associations=2)) as own:
        with Rude(own.port) as first, Rude(own.port) as second, Rude(own.port) as third:
            first.associate()
            second.associate()
            pdu_type, body = third.send(rq().encode()).read()
            assert pdu.decode(pdu_type, body) == AssociateRJ(2, 3, 2)
            first.send(pdu.ReleaseRQ().encode())
            assert first.read()[0] == 6
            assert first.read() == (CLOSED, b"")
        for _ in range(1000):  # until the places are free again
            try:
                assert_alive(own.port)
                break
            except AssociationRejectedError:
                continue
        else:
            pytest.fail("the places of ended associations stay taken")


def test_visitors_that_say_nothing_take_no_place_of_others() -> None:
    with listening(settings=ListenerSettings(max_associations=3)) as own:
        visitors = [Rude(own.port) for _ in range(300)]
        assert_alive(own.port)
        for visitor in visitors:
            visitor.sock.close()


# --- in an association ---


@pytest.mark.parametrize(
    "data",
    [
        rq().encode(),
        pdu.ReleaseRP().encode(),
        pdu.AssociateRJ(1, 1, 1).encode(),
        b"\x09" + bytes(9),
        struct.pack(">BxI", 4, 0),
        struct.pack(">BxIIBB", 4, 6, 0, 1, 3),
        struct.pack(">BxIIBB", 4, 6, 1, 1, 3),
        struct.pack(">BxIIBB", 4, 10, 60, 1, 3) + b"abcd",
        struct.pack(">BxIIBB", 4, 12, 6, 1, 3) + b"abcdef",
        struct.pack(">BxI", 4, 0x7FFFFFFF),
        pdv(0, 3, ECHO),
        pdv(2, 3, ECHO),
        pdv(99, 3, ECHO),
        pdv(1, 2, b"data set without a command"),
        pdv(1, 3, b"\xff" * 40),
        pdv(1, 3, ECHO[:-3]),
        pdv(1, 1, ECHO[:20]) + pdv(3, 3, ECHO[20:]),
        pdv(1, 1, bytes(100_000)) * 3,
        pdv(1, 3, dimse.C_ECHO_RSP(message_id_being_responded_to=9, status=0).encode()),
    ],
)
def test_broken_rules_end_the_association(listener: Listener, data: bytes) -> None:
    with Rude(listener.port) as rude:
        rude.associate().send(data)
        assert rude.read()[0] == ABORT
        assert rude.read() == (CLOSED, b"")


def test_release_in_mid_message_is_aborted(listener: Listener) -> None:
    with Rude(listener.port) as rude:
        rude.associate().send(pdv(1, 1, ECHO[:20]) + pdu.ReleaseRQ().encode())
        assert rude.read()[0] == ABORT


def test_what_is_not_offered_is_refused_and_the_association_goes_on(listener: Listener) -> None:
    find = C_FIND_RQ(message_id=3, affected_sop_class_uid=VERIFICATION)
    delete = N_DELETE_RQ(message_id=4, requested_sop_class_uid=VERIFICATION, requested_sop_instance_uid="1.2")
    unknown = bytearray(ECHO)
    unknown[unknown.index(b"\0\0\0\1\2\0\0\0") + 8] = 0x77
    with Rude(listener.port) as rude:
        rude.associate()
        rude.send(pdv(1, 3, find.encode()) + pdv(1, 2, b"identifier"))
        rude.send(pdv(1, 3, delete.encode()))
        rude.send(pdv(1, 3, bytes(unknown)))
        rude.send(pdv(1, 3, ECHO))
        answers = [dimse.decode(rude.read()[1][6:]) for _ in range(4)]
    assert [getattr(answer, "status", None) for answer in answers] == [0x0211, 0x0211, 0x0211, 0]
    assert isinstance(answers[0], dimse.C_FIND_RSP)
    assert isinstance(answers[1], dimse.N_DELETE_RSP)


def test_a_cancel_for_nothing_is_ignored(listener: Listener) -> None:
    with Rude(listener.port) as rude:
        rude.associate().send(pdv(1, 3, dimse.C_CANCEL_RQ(message_id_being_responded_to=5).encode()))
        rude.send(pdv(1, 3, ECHO))
        assert isinstance(dimse.decode(rude.read()[1][6:]), dimse.C_ECHO_RSP)


def test_pipelined_requests_are_answered_in_order(listener: Listener) -> None:
    requests = [C_ECHO_RQ(message_id=i, affected_sop_class_uid=VERIFICATION).encode() for i in range(1, 6)]
    with Rude(listener.port) as rude:
        rude.associate().send(b"".join(pdv(1, 3, request) for request in requests))
        answers = [dimse.decode(rude.read()[1][6:]) for _ in requests]
    assert [getattr(answer, "message_id_being_responded_to", None) for answer in answers] == [1, 2, 3, 4, 5]


def test_a_pdu_over_the_announced_maximum_is_taken(listener: Listener) -> None:
    big = C_ECHO_RQ(message_id=1, affected_sop_class_uid=VERIFICATION).encode()
    filler = struct.pack("<HHI", 0, 0x0902, 200_000) + b" " * 200_000
    with Rude(listener.port) as rude:
        rude.associate().send(pdv(1, 3, big + filler))
        assert isinstance(dimse.decode(rude.read()[1][6:]), dimse.C_ECHO_RSP)


def test_a_frozen_peer_is_given_up() -> None:
    settings = AssociationSettings(calling_ae_title="SCP", socket_timeout=0.05)
    with listening(association=settings, settings=ListenerSettings(idle_timeout=0.1)) as own:
        with Rude(own.port) as in_message, Rude(own.port) as idle:
            in_message.associate().send(pdv(1, 1, ECHO[:20]))
            idle.associate()
            assert in_message.read()[0] == ABORT
            assert idle.read()[0] == ABORT
        assert_alive(own.port)


def test_reset_and_half_close_at_every_stage(listener: Listener) -> None:
    import socket

    stages = [b"", rq().encode()[:40], rq().encode(), rq().encode() + pdv(1, 1, ECHO[:20])]
    for stage in stages:
        with Rude(listener.port) as rude:
            rude.send(stage)
            rude.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with Rude(listener.port) as rude:
            rude.send(stage).sock.shutdown(socket.SHUT_WR)
            while rude.read()[0]:
                pass
