"""Many retrieves: side by side, tried again, taken up again."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from dcmkit.archive.folder import Folder
from dcmkit.dataset.elements import DataSet, element, text
from dcmkit.errors import AssociationAbortedError, ConnectError, OutputError
from dcmkit.net.association import Association
from dcmkit.protocol.message import C_GET_RQ, C_MOVE_RQ
from dcmkit.services.get_scu import GetSCU
from dcmkit.services.journal import Journal
from dcmkit.services.models import STUDY_ROOT
from dcmkit.services.move_scu import MoveSCU
from dcmkit.services.retrieve_jobs import Result, Retrieval
from dcmkit.services.retrieve_plan import Request
from dcmkit.services.retrieve_scu import Arrival, Counts
from dcmkit.settings import RequestorSettings
from tests.archive.objects import CT
from tests.services.retrieve_peer import INSTANCE, LEVEL, STUDY, Peer, retrieving, send_store, some

SETTINGS = RequestorSettings(calling_ae_title="GETSCU", called_ae_title="PEER", dimse_timeout=20.0)


class Notes:
    """An observer that remembers."""

    def __init__(self) -> None:
        self.results: list[Result] = []
        self.came: list[str] = []
        self.counts: list[Counts] = []

    def arrived(self, request: Request, arrival: Arrival) -> None:
        self.came.append(arrival.sop_instance_uid)

    def pending(self, request: Request, counts: Counts) -> None:
        self.counts.append(counts)

    def finished(self, result: Result) -> None:
        self.results.append(result)


def request(study: str) -> Request:
    identifier = {LEVEL: element(LEVEL, "STUDY"), STUDY: element(STUDY, study)}
    return Request(f"study {study}", identifier, (CT,), all_classes=True)


def run(peer: Peer, *studies: str, notes: Notes | None = None, folder: Path | None = None, **how: Any) -> Notes:
    notes = notes or Notes()
    how.setdefault("retry_delay", 0.001)
    store = Folder(str(folder), "{SOPInstanceUID}").open() if folder is not None else None
    with retrieving(peer) as listener:
        make = how.pop("make", lambda port: GetSCU("127.0.0.1", port, SETTINGS, STUDY_ROOT, store))
        Retrieval(lambda: make(listener.port), notes, **how).run([request(study) for study in studies])
    return notes


def studies(number: int) -> list[str]:
    return [f"1.2.{i}" for i in range(1, number + 1)]


def objects(number: int, each: int = 2) -> list[Any]:
    return [stored for study in studies(number) for stored in some(each, study)]


def test_one_after_the_other() -> None:
    peer = Peer(objects(3))
    notes = run(peer, *studies(3))
    assert [result.request.label for result in notes.results] == [f"study {study}" for study in studies(3)]
    assert all(result.complete and result.attempts == 1 for result in notes.results)
    assert [len(result.stored) for result in notes.results] == [2, 2, 2]
    assert len(notes.came) == 6
    assert notes.counts[-1].completed == 2
    assert len({id(association) for association in peer.associations}) == 1


def test_side_by_side() -> None:
    together = threading.Barrier(3, timeout=20)
    peer = Peer(objects(6), before_store=lambda association, number: together.wait() and None if number == 0 else None)
    notes = run(peer, *studies(6), jobs=3)
    assert len(notes.results) == 6
    assert all(result.complete for result in notes.results)
    assert len({id(association) for association in peer.associations}) == 3


def test_one_that_fails_stops_no_other() -> None:
    peer = Peer(objects(3), refuses={"1.2.2.1.1"})
    notes = run(peer, *studies(3))
    assert [result.complete for result in notes.results] == [True, False, True]
    assert "1 of 2 sub-operations failed" in notes.results[1].problems


# --- again ---


def test_only_what_has_not_come_is_asked_for_again(tmp_path: Path) -> None:
    peer = Peer(some(5))

    def cut(association: Association, number: int) -> None:
        if number == 3 and len(peer.requests) == 1:
            association.abort()

    peer.before_store = cut
    notes = run(peer, "1.2.1", folder=tmp_path, retries=2)
    (result,) = notes.results
    assert result.complete
    assert (result.attempts, len(result.stored)) == (2, 5)
    assert text(peer.requests[1], LEVEL) == "IMAGE"
    assert text(peer.requests[1], INSTANCE) == "1.2.1.1.4\\1.2.1.1.5"
    assert len(notes.came) == len(list(tmp_path.iterdir())) == 5


def test_all_of_it_where_the_peer_does_not_tell_what_there_is(tmp_path: Path) -> None:
    peer = Peer(some(3), no_find=0xC000)
    peer.before_store = lambda association, number: (
        association.abort() if number == 2 and len(peer.requests) == 1 else None
    )
    (result,) = run(peer, "1.2.1", folder=tmp_path, retries=1).results
    assert result.complete
    assert len(list(tmp_path.iterdir())) == 3


def test_failed_sub_operations_are_tried_again() -> None:
    peer = Peer(some(3), refuses={"1.2.1.1.2"})
    peer.before_store = lambda association, number: peer.refuses.clear() if len(peer.requests) == 3 else None
    (result,) = run(peer, "1.2.1", retries=5).results
    assert result.complete
    assert result.attempts == 3


def test_in_vain() -> None:
    peer = Peer(before_store=lambda association, number: association.abort(), objects=some(1))
    (result,) = run(peer, "1.2.1", retries=2).results
    assert result.attempts == 3
    assert isinstance(result.error, AssociationAbortedError)
    assert result.problems


@pytest.mark.parametrize(("status", "attempts"), [(0xA900, 1), (0x0122, 1), (0xA702, 3), (0xC001, 3)])
def test_a_permanent_refusal_is_not_tried_again(status: int, attempts: int) -> None:
    def script(association: Association, context_id: int, rq: C_GET_RQ, _: DataSet) -> None:
        Peer.answer(association, context_id, rq, status)

    (result,) = run(Peer(get=script), "1.2.1", retries=2).results
    assert result.attempts == attempts
    assert not result.complete


def test_what_is_not_there_is_not_tried_again() -> None:
    (result,) = run(Peer(), "1.2.1", retries=5).results
    assert result.attempts == 1
    assert result.problems == ("the peer has nothing that matches",)


def test_an_unknown_destination_is_asked_for_once() -> None:
    peer = Peer(objects(3))
    notes = run(
        peer, *studies(3), retries=5, make=lambda port: MoveSCU("127.0.0.1", port, SETTINGS, STUDY_ROOT, "NOBODY")
    )
    assert len(peer.requests) == 1
    assert [result.attempts for result in notes.results] == [1, 0, 0]
    assert all("move destination unknown" in result.problems[0] for result in notes.results)


def test_a_peer_that_is_gone() -> None:
    notes = Notes()
    with retrieving(Peer()) as listener:
        port = listener.port
    Retrieval(lambda: GetSCU("127.0.0.1", port, SETTINGS, STUDY_ROOT, None), notes, retries=1, retry_delay=0.001).run(
        [request("1"), request("2")]
    )
    assert [result.attempts for result in notes.results] == [2, 0]
    assert all(isinstance(result.error, ConnectError) for result in notes.results)


# --- a journal ---


def test_a_journal_takes_it_up_again(tmp_path: Path) -> None:
    path, folder = str(tmp_path / "journal"), tmp_path / "objects"
    peer = Peer([*some(4, "1.2.1"), *some(2, "1.2.2")])

    def cut(association: Association, number: int) -> None:
        if number == 2 and text(peer.requests[-1], STUDY) == "1.2.1":
            association.abort()

    peer.before_store = cut
    with Journal(path) as journal:
        first = run(peer, "1.2.1", "1.2.2", folder=folder, journal=journal)
    assert [result.complete for result in first.results] == [False, True]
    peer.before_store = lambda association, number: None
    with Journal(path) as journal:
        second = run(peer, "1.2.1", "1.2.2", folder=folder, journal=journal)
    assert [(result.complete, result.skipped) for result in second.results] == [(True, False), (True, True)]
    assert second.came == ["1.2.1.1.3", "1.2.1.1.4"]
    with Journal(path) as journal:
        third = run(peer, "1.2.1", "1.2.2", folder=folder, journal=journal)
    assert all(result.skipped for result in third.results)


def test_everything_had_come_before_the_kill(tmp_path: Path) -> None:
    with Journal(str(tmp_path / "journal")) as journal:
        for stored in some(2):
            journal.add(request("1.2.1").key, stored.uid, "")
    peer = Peer(some(2))
    with Journal(str(tmp_path / "journal")) as journal:
        (result,) = run(peer, "1.2.1", journal=journal).results
    assert result.complete
    assert peer.requests == []


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_observer_that_cannot_write_ends_it_all(jobs: int) -> None:
    class Full(Notes):
        def arrived(self, request: Request, arrival: Arrival) -> None:
            raise OutputError("report cannot be written")

    peer = Peer(objects(4))
    with pytest.raises(OutputError, match="report"):
        run(peer, *studies(4), jobs=jobs, notes=Full())
    assert len(peer.requests) <= jobs


# --- ending ---


@pytest.mark.parametrize("abort", [False, True])
def test_the_association_is_released_or_aborted(abort: bool) -> None:
    peer = Peer(some(1))
    assert run(peer, "1.2.1", abort=abort).results[0].complete


@pytest.mark.skipif(sys.platform == "win32", reason="no signals to threads there")
@pytest.mark.parametrize("jobs", [1, 2])
def test_ctrl_c_ends_all_of_them(jobs: int) -> None:
    peer = Peer(objects(4))
    waiting = threading.Barrier(jobs + 1, timeout=20)
    ended = threading.Semaphore(0)

    def script(association: Association, context_id: int, rq: C_MOVE_RQ, _: DataSet) -> None:
        waiting.wait()
        try:
            while association.receive() is not None:
                pass
        finally:
            ended.release()

    peer.move = script

    def press() -> None:
        waiting.wait()
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    pressing = threading.Thread(target=press)
    pressing.start()
    with pytest.raises(KeyboardInterrupt):
        run(
            peer, *studies(4), jobs=jobs,
            make=lambda port: MoveSCU("127.0.0.1", port, SETTINGS, STUDY_ROOT, "SOMEBODY"),
        )  # fmt: skip
    pressing.join(20)
    for _ in range(jobs):
        assert ended.acquire(timeout=20)
    assert len(peer.requests) == jobs


def test_objects_sent_unasked_are_no_reason_to_fail(tmp_path: Path) -> None:
    def script(association: Association, context_id: int, rq: C_GET_RQ, identifier: DataSet) -> None:
        for stored in some(2):
            send_store(association, stored)
        Peer.answer(association, context_id, rq, 0, None, 2, 0)

    notes = Notes()
    one = Request("i", {LEVEL: element(LEVEL, "IMAGE"), INSTANCE: element(INSTANCE, "1.2.1.1.1")}, (CT,), True)
    with retrieving(Peer(get=script)) as listener, Folder(str(tmp_path), "{SOPInstanceUID}") as folder:
        Retrieval(lambda: GetSCU("127.0.0.1", listener.port, SETTINGS, STUDY_ROOT, folder), notes).run([one])
    assert notes.results[0].complete
    assert notes.results[0].tally is not None
    assert notes.results[0].tally.unasked_uids == ("1.2.1.1.2",)
