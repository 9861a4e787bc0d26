"""One C-GET or C-MOVE: its responses, honest and hostile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dcmkit.dataset.elements import DataSet, Element, element
from dcmkit.errors import (
    AssociationAbortedError,
    NetworkError,
    NoPresentationContextError,
    PeerTimeoutError,
    ProtocolError,
    UsageError,
)
from dcmkit.net.association import Association
from dcmkit.protocol.message import C_FIND_RSP, C_GET_RQ, C_GET_RSP, C_MOVE_RQ, DATA_SET_PRESENT
from dcmkit.protocol.pdu import PresentationContextRQ
from dcmkit.services.models import PATIENT_ROOT, STUDY_ROOT
from dcmkit.services.retrieve_scu import (
    Answer,
    Arrival,
    Arrivals,
    Counts,
    ask,
    encode_identifier,
    other_model,
)
from dcmkit.uids import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from tests.net.server import associate
from tests.services.retrieve_peer import LEVEL, STUDY, Peer, retrieving, some

IDENTIFIER: DataSet = {LEVEL: element(LEVEL, "STUDY"), STUDY: element(STUDY, "1.2.1")}
CONTEXTS = (
    PresentationContextRQ(1, STUDY_ROOT.get, (EXPLICIT_VR_LITTLE_ENDIAN,)),
    PresentationContextRQ(3, STUDY_ROOT.move, (IMPLICIT_VR_LITTLE_ENDIAN,)),
)


def asked(peer: Peer, destination: str | None = "ELSEWHERE", **how: Any) -> Answer:
    uid = STUDY_ROOT.get if destination is None else STUDY_ROOT.move
    with retrieving(peer) as listener:
        association = associate(listener.port, *CONTEXTS)
        answer = ask(association, uid, IDENTIFIER, destination=destination, **how)
        association.release()
    return answer


def move(script: Callable[[Association, int, C_MOVE_RQ], None]) -> Peer:
    return Peer(move=lambda association, context_id, rq, _: script(association, context_id, rq))


def test_the_final_response_tells_status_comment_counts_and_what_failed() -> None:
    def script(association: Association, context_id: int, rq: C_MOVE_RQ) -> None:
        assert rq.move_destination == "ELSEWHERE"
        Peer.answer(association, context_id, rq, 0xFF00, 3, 0, 0)
        Peer.answer(association, context_id, rq, 0xB000, None, 1, 2, ["1.2.3", "1.2.4"], comment="out of paper")

    pending: list[Counts] = []
    peer = move(script)
    answer = asked(peer, on_pending=pending.append)
    assert pending == [Counts(3, 0, 0, 0)]
    assert answer == Answer(0xB000, "out of paper", Counts(0, 1, 2, 0), ("1.2.3", "1.2.4"))
    assert answer.counts.sent == 1
    assert answer.counts.total == 3
    assert peer.requests == [IDENTIFIER]


def test_counts_that_the_final_response_leaves_out_are_those_of_the_last_pending_one() -> None:
    def script(association: Association, context_id: int, rq: C_MOVE_RQ) -> None:
        Peer.answer(association, context_id, rq, 0xFF00, 0, 5, 0)
        Peer.answer(association, context_id, rq, 0, warning=None)

    answer = asked(move(script))
    assert answer.counts == Counts(0, 5, 0, 0)


def test_a_peer_that_never_counts() -> None:
    answer = asked(move(lambda association, context_id, rq: Peer.answer(association, context_id, rq, 0, warning=None)))
    assert not answer.counts.known


def test_a_list_of_what_failed_that_is_none_is_left_out() -> None:
    def script(association: Association, context_id: int, rq: C_MOVE_RQ) -> None:
        Peer.answer(association, context_id, rq, 0xFF00, 1, 0, 0)
        response = C_GET_RSP(message_id_being_responded_to=rq.message_id, status=0xA702)
        response.__dict__.update(command_field=0x8021, command_data_set_type=DATA_SET_PRESENT)
        association.send(context_id, response, b"nonsense")

    answer = asked(move(script))
    assert answer.status == 0xA702
    assert answer.failed_uids == ()


def test_data_sets_after_pending_responses_are_passed_over() -> None:
    def script(association: Association, context_id: int, rq: C_MOVE_RQ) -> None:
        Peer.answer(association, context_id, rq, 0xFF00, 1, 0, 0, ["1.2.3"])
        Peer.answer(association, context_id, rq, 0, None, 1, 0)

    assert asked(move(script)).counts.completed == 1


def test_cancelling_after_so_many_responses() -> None:
    def script(association: Association, context_id: int, rq: C_MOVE_RQ) -> None:
        number = 0
        while not association.cancelled(rq.message_id):
            number += 1
            if number <= 2:
                Peer.answer(association, context_id, rq, 0xFF00, 9, number, 0)
        Peer.answer(association, context_id, rq, 0xFE00, 7, 2, 0)

    answer = asked(move(script), cancel_after=2)
    assert answer.status == 0xFE00
    assert answer.cancelled
    assert answer.counts.remaining == 7


@pytest.mark.parametrize("moving", [False, True])
def test_pending_for_ever_is_given_up(moving: bool) -> None:
    """Counts that change are progress; the same over and over are not."""
    ended: list[bool] = []

    def script(association: Association, context_id: int, rq: C_MOVE_RQ) -> None:
        try:
            for number in range(1_000_000):
                if moving and number == 2000:
                    Peer.answer(association, context_id, rq, 0, 0, number, 0)
                    return
                Peer.answer(association, context_id, rq, 0xFF00, 1, number if moving else 1, 0)
        except NetworkError:
            ended.append(True)
            raise

    peer = move(script)
    if moving:
        assert asked(peer, patience=0.2).status == 0
        return
    with pytest.raises(PeerTimeoutError, match="nothing has happened"):
        asked(peer, patience=0.05)
    assert ended


def test_arrivals_elsewhere_are_progress() -> None:
    came = iter(range(10_000_000))

    def script(association: Association, context_id: int, rq: C_MOVE_RQ) -> None:
        for _ in range(2000):
            Peer.answer(association, context_id, rq, 0xFF00, 1, 1, 0)
        Peer.answer(association, context_id, rq, 0, 0, 1, 0)

    assert asked(move(script), patience=0.001, progress=lambda: next(came)).status == 0


def test_an_abort_in_the_middle() -> None:
    def script(association: Association, context_id: int, rq: C_MOVE_RQ) -> None:
        Peer.answer(association, context_id, rq, 0xFF00, 1, 0, 0)
        association.abort()

    with pytest.raises(AssociationAbortedError):
        asked(move(script))


@pytest.mark.parametrize("other", ["another message id", "another kind"])
def test_an_answer_to_something_else_ends_the_association(other: str) -> None:
    def script(association: Association, context_id: int, rq: C_MOVE_RQ) -> None:
        if other == "another kind":
            association.send(context_id, C_FIND_RSP(message_id_being_responded_to=rq.message_id, status=0))
        else:
            another = C_MOVE_RQ(message_id=999, affected_sop_class_uid=STUDY_ROOT.move, move_destination="X")
            Peer.answer(association, context_id, another, 0)

    with pytest.raises(ProtocolError, match="peer answered the retrieve with"):
        asked(move(script))


def test_a_c_store_in_the_middle_of_a_c_move_is_no_answer() -> None:
    peer = Peer(some(1), get=None)

    def script(association: Association, context_id: int, rq: C_GET_RQ, _: DataSet) -> None:
        peer.honest_get(association, context_id, rq, IDENTIFIER)

    peer.get = script
    assert asked(peer, None).counts.failed == 1  # no context for it was proposed


def test_a_model_the_peer_does_not_take() -> None:
    with retrieving(Peer(models=(STUDY_ROOT.get, STUDY_ROOT.find))) as listener:
        association = associate(listener.port, *CONTEXTS)
        with pytest.raises(NoPresentationContextError, match="Study Root") as caught:
            ask(association, STUDY_ROOT.move, IDENTIFIER, destination="X")
        assert caught.value.hint
        association.release()  # it is as good as before


def test_what_to_try_when_a_model_is_refused() -> None:
    assert "-S" in other_model(PATIENT_ROOT.get)
    assert "-P" in other_model(STUDY_ROOT.move)
    assert other_model("1.2.3") == ""


def test_identifiers_are_utf_8_only_where_they_must_be() -> None:
    plain = encode_identifier(IDENTIFIER, EXPLICIT_VR_LITTLE_ENDIAN)
    assert b"ISO_IR" not in plain
    name = {**IDENTIFIER, 0x00100020: element(0x00100020, "Müller")}
    assert b"ISO_IR 192" in encode_identifier(name, EXPLICIT_VR_LITTLE_ENDIAN)
    latin = {**name, 0x00080005: element(0x00080005, "ISO_IR 100")}
    assert "Müller".encode("latin-1") in encode_identifier(latin, EXPLICIT_VR_LITTLE_ENDIAN)


def test_identifiers_that_cannot_be_written() -> None:
    with pytest.raises(UsageError, match="character set"):
        encode_identifier(
            {0x00080005: element(0x00080005, "ISO_IR 100"), 0x00100020: element(0x00100020, "山田")},
            EXPLICIT_VR_LITTLE_ENDIAN,
        )
    with pytest.raises(UsageError, match="cannot be encoded"):
        encode_identifier({0x00280010: Element("US", "many")}, EXPLICIT_VR_LITTLE_ENDIAN)


def test_arrivals_count_operations_and_know_objects() -> None:
    class Rq:
        affected_sop_class_uid, affected_sop_instance_uid = "1.2", "1.2.3"

    class Came:
        rq, status, comment, path = Rq, 0, "", "there"

    told: list[Arrival] = []
    arrivals = Arrivals(told.append)
    for status in (0xA700, 0, 0xB000, 0xA700):
        Came.status = status
        arrivals.take(Came)  # type: ignore[arg-type]
    assert arrivals.operations == 2
    assert list(arrivals.stored) == ["1.2.3"]
    assert arrivals.refused == {}
    assert [arrival.stored for arrival in told] == [False, True, True, False]
