"""C-MOVE, and the receiver that the objects are sent to: whose an object is, and what came too late."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dcmkit import logs
from dcmkit.archive.folder import Folder
from dcmkit.dataset.elements import element
from dcmkit.errors import AssociationAbortedError, ListenError, NoPresentationContextError
from dcmkit.net.association import Association
from dcmkit.protocol.message import C_MOVE_RQ
from dcmkit.protocol.pdu import PresentationContextRQ
from dcmkit.services.models import STUDY_ROOT
from dcmkit.services.move_scu import MoveSCU, Receiver
from dcmkit.services.retrieve_plan import Request
from dcmkit.services.retrieve_scu import Arrivals
from dcmkit.services.tally import Tally, problems
from dcmkit.settings import ListenerSettings, RequestorSettings
from dcmkit.uids import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from tests.archive.objects import CT
from tests.net.server import associate
from tests.services.retrieve_peer import LEVEL, STUDY, Peer, retrieving, send_store, sending, some

SETTINGS = RequestorSettings(calling_ae_title="MOVESCU", called_ae_title="PEER", dimse_timeout=20.0)
LOOPBACK = ListenerSettings(bind=("127.0.0.1",))


def request(study: str = "1.2.1", expected: int = 0) -> Request:
    identifier = {LEVEL: element(LEVEL, "STUDY"), STUDY: element(STUDY, study)}
    return Request(f"study {study}", identifier, expected=expected)


@contextmanager
def receiving(folder: Path | None = None, **how: Any) -> Iterator[Receiver]:
    if folder is None:
        with Receiver(0, "MOVESCU", None, SETTINGS, LOOPBACK, **how) as receiver:
            yield receiver
        return
    store = Folder(str(folder), "{SOPInstanceUID}").open()
    with Receiver(0, "MOVESCU", store, SETTINGS, LOOPBACK, **how) as receiver:
        yield receiver


def move(peer: Peer, receiver: Receiver | None, wanted: Request | None = None, **how: Any) -> tuple[Tally, Arrivals]:
    arrivals = Arrivals()
    if receiver is not None:
        peer.destinations["MOVESCU"] = receiver.port
    with retrieving(peer) as listener:
        scu = MoveSCU("127.0.0.1", listener.port, SETTINGS, STUDY_ROOT, "MOVESCU", receiver, **{"wait": 5.0, **how})
        try:
            found = scu.fetch(wanted or request(), arrivals)
            scu.close()
        finally:
            scu.drop()
    return found, arrivals


def by_hand(script: Callable[[Association, int, C_MOVE_RQ], None], **changes: Any) -> Peer:
    return Peer(move=lambda association, context_id, rq, _: script(association, context_id, rq), **changes)


def test_objects_come_and_are_filed(tmp_path: Path) -> None:
    with receiving(tmp_path) as receiver:
        found, arrivals = move(Peer(some(5)), receiver)
    assert problems(found, request(), "move") == []
    assert (found.total, found.promised, found.operations) == (5, 5, 5)
    assert sorted(arrivals.stored) == sorted(path.name for path in tmp_path.iterdir())


def test_objects_go_somewhere_else(tmp_path: Path) -> None:
    with receiving(tmp_path) as elsewhere:
        peer = Peer(some(3), destinations={"MOVESCU": elsewhere.port})
        found, arrivals = move(peer, None)
    assert problems(found, request(), "move") == []
    assert found.operations is None
    assert not arrivals.stored
    assert len(list(tmp_path.iterdir())) == 3


def test_an_unknown_destination() -> None:
    found, _ = move(Peer(some(1)), None)
    assert found.status == 0xA801


def test_a_model_the_peer_does_not_take() -> None:
    with pytest.raises(NoPresentationContextError):
        move(Peer(some(1), models=(STUDY_ROOT.get,)), None)


def test_a_port_that_is_taken() -> None:
    with receiving() as receiver, pytest.raises(ListenError):
        Receiver(receiver.port, "MOVESCU", None, SETTINGS, LOOPBACK)


# --- whose an object is ---


def test_a_peer_that_names_no_originator_is_known_by_its_address() -> None:
    with receiving() as receiver:
        found, _ = move(Peer(some(3), originator=False, calling="SOMEBODY"), receiver)
    assert found.operations == 3
    assert receiver.strangers == 0


def test_objects_of_strangers_are_stored_and_not_counted(tmp_path: Path) -> None:
    """Nothing runs, another request's number, another AE's: it is stored all the same."""
    with receiving(tmp_path) as receiver, sending(receiver.port) as stranger:
        assert send_store(stranger, some(1, "6.1")[0]) == 0

        def script(association: Association, context_id: int, rq: C_MOVE_RQ) -> None:
            with sending(receiver.port) as out:
                assert send_store(out, some(1, "6.2")[0], ("MOVESCU", 4711)) == 0
                assert send_store(out, some(1, "6.3")[0], ("OTHER", rq.message_id)) == 0
                assert send_store(out, some(1)[0], ("MOVESCU", rq.message_id)) == 0
            Peer.answer(association, context_id, rq, 0, None, 1, 0)

        found, arrivals = move(by_hand(script), receiver)
    assert problems(found, request(), "move") == []
    assert list(arrivals.stored) == ["1.2.1.1.1"]
    assert receiver.strangers == 3
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("originator", [True, False])
def test_two_requests_at_once(originator: bool) -> None:
    """Without names the objects are shared out by what each request was promised."""
    together = threading.Barrier(2, timeout=20)
    peer = Peer(
        [*some(3, "1.2.1"), *some(2, "1.2.2")],
        originator=originator,
        before_store=lambda association, number: together.wait() and None if number < 2 else None,
    )
    results: dict[str, Tally] = {}
    with receiving() as receiver, retrieving(peer) as listener:
        peer.destinations["MOVESCU"] = receiver.port

        def one(study: str) -> None:
            scu = MoveSCU("127.0.0.1", listener.port, SETTINGS, STUDY_ROOT, "MOVESCU", receiver)
            results[study] = scu.fetch(request(study), Arrivals())
            scu.close()

        threads = [threading.Thread(target=one, args=(study,)) for study in ("1.2.1", "1.2.2")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert {study: found.operations for study, found in results.items()} == {"1.2.1": 3, "1.2.2": 2}


# --- stragglers and liars ---


def test_objects_that_come_after_the_final_response_are_waited_for() -> None:
    with receiving() as receiver:
        ended = threading.Event()

        def late(message_id: int) -> None:
            with sending(receiver.port) as out:
                for stored in some(3):
                    send_store(out, stored, ("MOVESCU", message_id))
            ended.set()

        def script(association: Association, context_id: int, rq: C_MOVE_RQ) -> None:
            Peer.answer(association, context_id, rq, 0, None, 3, 0)
            threading.Thread(target=late, args=(rq.message_id,)).start()

        found, _ = move(by_hand(script), receiver)
        assert ended.wait(20)
    assert found.operations == 3


def test_a_peer_that_sends_to_another_address_is_found_out(capsys: pytest.CaptureFixture[str]) -> None:
    def script(association: Association, context_id: int, rq: C_MOVE_RQ) -> None:
        for number in (1, 2, 3):
            Peer.answer(association, context_id, rq, 0xFF00, 3 - number, number, 0)
        Peer.answer(association, context_id, rq, 0, None, 3, 0)

    logs.configure("warn", "text")
    try:
        with receiving() as receiver:
            found, _ = move(by_hand(script), receiver, wait=0.0)
    finally:
        logs.reset()
    assert problems(found, request(), "move") == ["the peer says that it has sent 3 objects, and nothing arrived"]
    assert capsys.readouterr().err.count("nothing has arrived") == 1


def test_a_peer_that_does_not_count_is_held_to_the_number_it_knows() -> None:
    def script(association: Association, context_id: int, rq: C_MOVE_RQ) -> None:
        with sending(peer.destinations["MOVESCU"]) as out:
            send_store(out, some(1)[0], ("MOVESCU", rq.message_id))
        Peer.answer(association, context_id, rq, 0, warning=None)

    peer = by_hand(script)
    with receiving() as receiver:
        found, _ = move(peer, receiver, request(expected=2), wait=0.0)
    assert problems(found, request(expected=2), "move") == ["the peer has 2 objects by its own account, and 1 arrived"]


def test_an_abort_in_the_middle_keeps_what_came() -> None:
    def script(association: Association, context_id: int, rq: C_MOVE_RQ) -> None:
        with sending(peer.destinations["MOVESCU"]) as out:
            send_store(out, some(1)[0], ("MOVESCU", rq.message_id))
        association.abort()

    peer = by_hand(script)
    arrivals = Arrivals()
    with receiving() as receiver, retrieving(peer) as listener:
        peer.destinations["MOVESCU"] = receiver.port
        scu = MoveSCU("127.0.0.1", listener.port, SETTINGS, STUDY_ROOT, "MOVESCU", receiver)
        with pytest.raises(AssociationAbortedError):
            scu.fetch(request(), arrivals)
        assert receiver._running == {}
    assert len(arrivals.stored) == 1


# --- transfer syntaxes ---


def test_the_receiver_takes_all_syntaxes_and_may_prefer_one() -> None:
    proposed = PresentationContextRQ(1, CT, (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, "1.2.3.4"))
    for how, chosen in (
        ({}, EXPLICIT_VR_LITTLE_ENDIAN),
        ({"prefer": (IMPLICIT_VR_LITTLE_ENDIAN,)}, IMPLICIT_VR_LITTLE_ENDIAN),
        ({"transfer_syntaxes": (IMPLICIT_VR_LITTLE_ENDIAN,)}, IMPLICIT_VR_LITTLE_ENDIAN),
    ):
        with receiving(None, **how) as receiver:
            association = associate(receiver.port, proposed)
            assert association.contexts.transfer_syntaxes(CT) == ((1, chosen),)
            association.release()


def test_message_ids_are_not_used_twice_at_once() -> None:
    with receiving() as receiver:
        first = receiver.next_message_id()
        receiver._running[first + 1] = None  # type: ignore[assignment]
        assert receiver.next_message_id() == first + 2
