"""What is stored is passed on: in the end, once the destination takes it, and nothing is forgotten on the way."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from dcmkit.archive.filing import IDENTICAL, STORED, Stored
from dcmkit.archive.removal import remove_files
from dcmkit.archive.store import Archive
from dcmkit.errors import ConnectError, OutputError
from dcmkit.services import forwarding as module
from dcmkit.services.delivery import DELIVERED, FAILED, GONE, REFUSED, UNTRIED, Outcome
from dcmkit.services.forwarding import Forwarder, Forwarding, Policy, Target
from dcmkit.services.spool import DEAD, FAILING, WAITING, Failure, Spool
from dcmkit.settings import ArchiveSettings
from tests.archive.objects import CT, EXPLICIT, image
from tests.services.objects import fresh_uid, until

QUICK = Policy(attempts=2, longest_delay=0.01)
DONE = Outcome(DELIVERED)


class Peer:
    """A transport that answers as it is told.

    Attributes:
        got: the names of the files that were delivered, in their order.
        rounds: how often it was asked to deliver.
        answer: is called for each file.
    """

    def __init__(self, answer: Callable[[str], Outcome] = lambda name: DONE) -> None:
        self.got: list[str] = []
        self.rounds = 0
        self.down = False
        self.answer = answer

    def deliver(
        self, paths: Sequence[str], report: Callable[[str, Outcome], None], stopped: Callable[[], bool]
    ) -> None:
        self.rounds += 1
        if self.down:
            raise ConnectError("nobody there", hint="start it")
        for path in paths:
            if stopped():
                return
            outcome = self.answer(Path(path).name)
            if outcome.kind == DELIVERED:
                self.got.append(Path(path).name)
            report(path, outcome)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    made = Spool(str(tmp_path)).open()
    yield made
    made.close()


@contextmanager
def forwarding(spool: Spool, *peers: Peer, policy: Policy = QUICK, **how: object) -> Iterator[Forwarder]:
    """A forwarder of its own to peers a, b, ..."""
    own = Spool(spool.directory)
    targets = [Target(name, peer) for name, peer in zip("abc", peers, strict=False)]
    forwarder = Forwarder(own, targets, policy, **how).open()  # type: ignore[arg-type]
    forwarder.start()
    try:
        yield forwarder
    finally:
        forwarder.close()


def store(forwarder: Forwarder, name: str, outcome: str = STORED) -> None:
    path = Path(forwarder.spool.directory, name)
    path.write_bytes(b"x")
    forwarder.add(Stored(str(path), outcome), f"1.{name}")


def test_everybody_gets_everything(spool: Spool) -> None:
    peers = Peer(), Peer()
    with forwarding(spool, *peers) as forwarder:
        for number in range(5):
            store(forwarder, str(number))
        assert until(lambda: all(len(peer.got) == 5 for peer in peers))
    assert [peer.got for peer in peers] == [list("01234")] * 2
    assert spool.entries() == []
    assert (spool.held("a").delivered, spool.held("b").delivered) == (5, 5)


def test_who_is_down_gets_it_later_and_holds_nobody_up(spool: Spool, caplog: pytest.LogCaptureFixture) -> None:
    up, down = Peer(), Peer()
    down.down = True
    with caplog.at_level(logging.INFO, "dcmkit"), forwarding(spool, up, down) as forwarder:
        store(forwarder, "1")
        assert until(lambda: up.got == ["1"] and down.rounds > 2)
        assert spool.held("b").reason == "nobody there (start it)"
        down.down = False
        assert until(lambda: down.got == ["1"])
        assert until(lambda: not spool.entries() and not spool.held("b").failures)
    assert "b is not reached: nobody there; next attempt in 0 s" in caplog.text
    assert "b is reached again" in caplog.text
    assert "forwarding to b: 1 delivered, 0 waiting, 0 failing, 0 dead letters" in caplog.text


def test_a_start_finds_what_another_has_left(spool: Spool) -> None:
    peer = Peer()
    peer.down = True
    patient = Policy(longest_delay=1000.0)
    with forwarding(spool, peer, policy=patient) as forwarder:
        store(forwarder, "1")
        assert until(lambda: spool.held("a").failures == 1)
        spool.hold("a", 9, spool.held("a").next_attempt + 900, "nobody there")
    peer.down = False
    with forwarding(spool, peer, policy=patient):
        assert until(lambda: peer.got == ["1"])


def test_refused_often_enough_is_a_dead_letter(spool: Spool, caplog: pytest.LogCaptureFixture) -> None:
    peer = Peer(lambda name: Outcome(REFUSED, "does not like Doe", "does not like it") if name == "2" else DONE)
    with forwarding(spool, peer) as forwarder:
        for name in ("1", "2", "3"):
            store(forwarder, name)
        assert until(lambda: [entry.state for entry in spool.entries()] == [DEAD])
        assert until(lambda: spool.held("a").delivered == 2)
        (entry,) = spool.entries()
        assert (entry.attempts, entry.reason) == (2, "does not like Doe")
        assert "1.2 to a is a dead letter after 2 attempts: does not like it" in caplog.text
        assert "Doe" not in caplog.text
        peer.answer = lambda name: DONE
        spool.retry()
        assert until(lambda: peer.got == ["1", "3", "2"])


def test_what_may_pass_is_tried_for_ever_and_holds_nothing_up(spool: Spool) -> None:
    tries: list[str] = []

    def answer(name: str) -> Outcome:
        tries.append(name)
        return Outcome(FAILED, "out of resources", "out of resources") if name == "1" else DONE

    peer = Peer(answer)
    with forwarding(spool, peer) as forwarder:
        store(forwarder, "1")
        assert until(lambda: tries.count("1") > 5)
        store(forwarder, "2")
        assert until(lambda: peer.got == ["2"])
        assert [entry.state for entry in spool.entries(state=FAILING)] == [WAITING]
        assert not spool.held("a").failures
        peer.answer = lambda name: DONE
        assert until(lambda: peer.got == ["2", "1"])


def test_a_file_that_is_gone_is_a_dead_letter_at_once(spool: Spool) -> None:
    peer = Peer(lambda name: Outcome(GONE, "removed", "removed"))
    with forwarding(spool, peer) as forwarder:
        store(forwarder, "1")
        assert until(lambda: [entry.state for entry in spool.entries()] == [DEAD])
    assert spool.entries()[0].attempts == 1


def test_lost_halfway_the_rest_is_not_blamed(spool: Spool) -> None:
    def answer(name: str) -> Outcome:
        return DONE if name == "0" else Outcome(UNTRIED, "nobody there any more", "nobody there any more")

    peer = Peer(answer)
    with forwarding(spool, peer, policy=Policy(longest_delay=1000.0)) as forwarder:
        for number in range(3):
            store(forwarder, str(number))
        assert until(lambda: spool.held("a").failures > 0)
        assert {(entry.attempts, entry.state) for entry in spool.entries()} == {(0, WAITING)}
        assert spool.held("a").reason == "nobody there any more"


def test_one_of_several_processes_delivers(spool: Spool) -> None:
    first, second = Peer(), Peer()
    with forwarding(spool, first) as one:
        store(one, "1")
        assert until(lambda: first.got == ["1"])
        with forwarding(spool, second) as other:
            store(other, "2")
            assert until(lambda: first.got == ["1", "2"])
            one.close()
            store(other, "3")
            assert until(lambda: second.got == ["3"])
    assert first.got == ["1", "2"]


def test_stopping_waits_for_the_object_on_its_way_only(spool: Spool) -> None:
    began, go = threading.Event(), threading.Event()

    def answer(name: str) -> Outcome:
        began.set()
        assert go.wait(20)
        return DONE

    peer = Peer(answer)
    with forwarding(spool, peer) as forwarder:
        store(forwarder, "1")
        assert began.wait(20)
        store(forwarder, "2")
        closing = threading.Thread(target=forwarder.close)
        closing.start()
        go.set()
        closing.join(20)
        assert not closing.is_alive()
    assert peer.got == ["1"]
    assert [entry.path for entry in spool.entries()] == ["2"]


def test_who_does_not_come_back_is_left(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_GRACE", 0.01)
    began, go = threading.Event(), threading.Event()

    def answer(name: str) -> Outcome:
        began.set()
        assert go.wait(20)
        return DONE

    with forwarding(spool, Peer(answer)) as forwarder:
        store(forwarder, "1")
        assert began.wait(20)
        (courier,) = forwarder._couriers
        forwarder.close()
        assert "it will be sent again" in caplog.text
        go.set()
        assert courier.join(20)
        forwarder.spool.close()


def test_a_spool_that_cannot_be_written_stops_nothing_for_good(
    spool: Spool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    peer = Peer()
    errors = [OutputError("out of disk space"), ZeroDivisionError("a defect")]
    with forwarding(spool, peer) as forwarder:
        original = forwarder.spool.settle

        def settle(*args: object) -> None:
            if errors:
                raise errors.pop()
            original(*args)  # type: ignore[arg-type]

        monkeypatch.setattr(forwarder.spool, "settle", settle)
        store(forwarder, "1")
        assert until(lambda: peer.got == ["1"] * 3 and not spool.entries())
    assert "forwarding to a: out of disk space" in caplog.text
    assert "defect in dcmkit: ZeroDivisionError" in caplog.text


def test_an_object_that_a_defect_meets_holds_nothing_up(spool: Spool, caplog: pytest.LogCaptureFixture) -> None:
    def answer(name: str) -> Outcome:
        if name == "1":
            raise ZeroDivisionError("Doe^Jane")
        return DONE

    peer = Peer(answer)
    with forwarding(spool, peer) as forwarder:
        for name in ("0", "1", "2"):
            store(forwarder, name)
        assert until(lambda: sorted(peer.got) == ["0", "2"])
        assert until(lambda: [one.reason for one in spool.entries()] == ["a defect in dcmkit: ZeroDivisionError"])
        peer.answer = lambda name: DONE
        assert until(lambda: not spool.entries())


def test_objects_for_who_is_no_destination_any_more_are_told(spool: Spool, caplog: pytest.LogCaptureFixture) -> None:
    Path(spool.directory, "1").write_bytes(b"x")
    spool.add(["z"], str(Path(spool.directory, "1")), "1.1")
    with forwarding(spool, Peer()):
        pass
    assert "1 objects wait for z, to which nothing is forwarded now" in caplog.text
    assert len(spool.entries()) == 1


def test_delays_grow_to_a_limit_and_are_not_the_same_for_all() -> None:
    policy = Policy(longest_delay=300.0)
    for failures, most in ((1, 1.0), (2, 2.0), (9, 256.0), (10, 300.0), (1000, 300.0)):
        delays = {policy.delay(failures) for _ in range(50)}
        assert most / 2 <= min(delays) <= max(delays) <= most
        assert len(delays) > 10


# --- behind an archive ---


def visible(root: Path) -> list[str]:
    """The files an archive shows, while some of them are being removed."""
    found = [os.path.join(directory, name) for directory, _, names in os.walk(root) for name in names]
    return [path for path in found if ".dcmkit" not in path]


def commit(door: Forwarding, uid: str, **how: str) -> Stored:
    incoming = door.incoming(CT, uid, EXPLICIT)
    incoming.begin()
    incoming.write(memoryview(image(uid, **how)))
    return incoming.commit()


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with Archive(ArchiveSettings(output_directory=str(tmp_path))) as made:
        yield made


def test_whatever_is_stored_is_in_the_spool(archive: Archive, spool: Spool) -> None:
    peer = Peer()
    peer.down = True
    with forwarding(spool, peer) as forwarder:
        door = Forwarding(archive, forwarder)
        assert door.layout is archive.layout
        uid = fresh_uid()
        stored = commit(door, uid)
        (entry,) = spool.entries()
        assert (spool.absolute(entry.path), entry.sop_instance_uid) == (stored.path, uid)
        incoming = door.incoming(CT, "1.2.3", EXPLICIT)
        incoming.begin()
        incoming.abandon()
        assert len(spool.entries()) == 1


def test_what_is_delivered_to_all_is_removed_where_asked(archive: Archive, spool: Spool, tmp_path: Path) -> None:
    first, second = Peer(), Peer()
    second.down = True
    kept = fresh_uid()
    incoming = archive.incoming(CT, kept, EXPLICIT)
    incoming.write(memoryview(image(kept)))
    incoming.commit()

    def remove(paths: list[str]) -> None:
        remove_files(archive, paths)

    with forwarding(spool, first, second, remove=remove) as forwarder:
        door = Forwarding(archive, forwarder)
        commit(door, fresh_uid())
        assert commit(door, kept).outcome == IDENTICAL  # it was here before: not ours to remove
        assert until(lambda: len(first.got) == 2)
        assert len(visible(tmp_path)) == 2
        second.down = False
        assert until(lambda: len(visible(tmp_path)) == 1 and not spool.entries())
    assert visible(tmp_path)[0].endswith(f"{kept}.dcm")


def test_a_removal_that_failed_is_made_up_for(
    archive: Archive, spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_LOOK_EVERY", 0.0)
    failures = [OutputError("read-only")]

    def remove(paths: list[str]) -> None:
        if failures:
            raise failures.pop()
        remove_files(archive, paths)

    with forwarding(spool, Peer(), remove=remove) as forwarder:
        commit(Forwarding(archive, forwarder), fresh_uid())
        assert until(lambda: not visible(tmp_path) and not spool.entries())
    assert "what has been delivered cannot be removed: read-only" in caplog.text


def test_without_removal_nothing_is_left_over_from_when_there_was_one(spool: Spool) -> None:
    path = Path(spool.directory, "1")
    path.write_bytes(b"x")
    spool.add(["a"], str(path), "1.1", removable=True)
    spool.settle("a", spool.due("a", 9), [])
    with forwarding(spool, Peer()):
        assert spool.entries() == []
    assert path.exists()


def test_a_failure_in_settling_is_no_loss(spool: Spool) -> None:
    path = Path(spool.directory, "1")
    path.write_bytes(b"x")
    spool.add(["a"], str(path), "1.1")
    spool.settle("a", [], [Failure(spool.due("a", 1)[0], 0.0, "lost", False)])
    peer = Peer()
    with forwarding(spool, peer):
        assert until(lambda: peer.got == ["1"] and not spool.entries())
