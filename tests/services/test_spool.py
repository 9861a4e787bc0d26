"""Rows that say what is to be delivered: there before Success, gone only after delivery, whatever happens between."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dcmkit.errors import ExitCode, OutputError
from dcmkit.services import spool as module
from dcmkit.services.spool import DEAD, DELIVERED, FAILING, WAITING, Failure, Hold, Spool, SpoolError, backlog

A, B = "a:1", "b:2"


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    made = Spool(str(tmp_path)).open()
    yield made
    made.close()


def put(spool: Spool, name: str, *destinations: str, removable: bool = False) -> str:
    """A file, and its rows."""
    path = Path(spool.directory, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    spool.add(destinations or (A,), str(path), f"1.{name}", removable=removable)
    return str(path)


def states(spool: Spool) -> list[tuple[str, str, str]]:
    return [(entry.destination, entry.path, entry.state) for entry in spool.entries()]


def test_what_was_added_is_due_in_its_order(spool: Spool) -> None:
    for name in ("study/3", "study/1", "study/2"):
        put(spool, name, A, B)
    due = spool.due(A, 2)
    assert [(entry.path, entry.sop_instance_uid) for entry in due] == [
        ("study/3", "1.study/3"),
        ("study/1", "1.study/1"),
    ]
    assert spool.absolute(due[0].path) == os.path.join(spool.directory, "study", "3")
    assert [entry.destination for entry in spool.due(B, 9)] == [B] * 3
    assert spool.due("c:3", 9) == []


def test_rows_outlive_the_process(spool: Spool, tmp_path: Path) -> None:
    put(spool, "1")
    with sqlite3.connect(tmp_path / ".dcmkit" / "spool.sqlite") as other:  # without any closing in order
        assert other.execute("SELECT COUNT(*) FROM entry").fetchone() == (1,)
    other.close()
    again = Spool(str(tmp_path)).open()
    assert len(again.due(A, 9)) == 1
    again.close()


def test_what_is_delivered_goes(spool: Spool) -> None:
    put(spool, "1", A, B)
    spool.settle(A, spool.due(A, 9), [])
    assert states(spool) == [(B, "1", WAITING)]
    assert spool.held(A).delivered == 1
    assert spool.held(B) == Hold(0, 0.0, "", 0)


def test_failures_wait_or_die_with_their_reason(spool: Spool) -> None:
    for name in ("1", "2", "3"):
        put(spool, name)
    first, second, _ = spool.due(A, 9)
    spool.settle(A, [], [Failure(first, time.time() + 60, "full", False), Failure(second, 0.0, "never", True)])
    assert [entry.path for entry in spool.due(A, 9)] == ["3"]
    assert [(entry.attempts, entry.reason) for entry in spool.entries(state=FAILING)] == [(1, "full")]
    assert [(entry.attempts, entry.reason) for entry in spool.entries(state=DEAD)] == [(1, "never")]
    assert [entry.path for entry in spool.entries(state=WAITING)] == ["3"]
    assert spool.counts() == [(A, DEAD, 1, "never"), (A, FAILING, 1, "full"), (A, WAITING, 1, "")]
    assert spool.counts(B) == []


def test_the_backlog_by_destination(spool: Spool) -> None:
    assert backlog(spool.directory) == {}
    before = time.time()
    for name in ("1", "2", "3", "4"):
        put(spool, name)
    first, second, third, _ = spool.due(A, 9)
    failed = [Failure(first, time.time() + 60, "full", False), Failure(second, 0.0, "never", True)]
    spool.settle(A, [third], failed)
    spool.hold(B, 1, 0.0, "nobody there")
    found = backlog(spool.directory)
    assert found[A][:3] == (1, 1, 1)
    assert found[A].delivered == 1
    assert before <= found[A].oldest <= time.time()
    assert found[B] == (0, 0, 0, 0.0, 0)
    assert list(found) == sorted(found)


def test_looking_at_the_backlog_makes_no_spool(tmp_path: Path) -> None:
    assert backlog(str(tmp_path)) == {}
    assert os.listdir(tmp_path) == []
    (tmp_path / ".dcmkit").mkdir()
    (tmp_path / ".dcmkit" / "spool.sqlite").write_bytes(b"nothing of the kind" * 100)
    with pytest.raises(SpoolError):
        backlog(str(tmp_path))


def test_what_comes_anew_while_it_is_delivered_is_delivered_again(spool: Spool) -> None:
    put(spool, "1")
    old = spool.due(A, 9)
    put(spool, "1")
    spool.settle(A, old, [])
    assert [entry.version for entry in spool.due(A, 9)] == [1]
    spool.settle(A, [], [Failure(old[0], 0.0, "never", True)])
    assert states(spool) == [(A, "1", WAITING)]
    spool.settle(A, spool.due(A, 9), [])
    assert states(spool) == []


def test_a_dead_letter_that_comes_anew_lives(spool: Spool) -> None:
    put(spool, "1")
    spool.settle(A, [], [Failure(spool.due(A, 9)[0], 0.0, "never", True)])
    put(spool, "1")
    (entry,) = spool.due(A, 9)
    assert (entry.attempts, entry.reason) == (0, "")


def test_a_file_that_is_gone_is_not_taken(spool: Spool) -> None:
    path = put(spool, "1")
    os.unlink(path)
    with pytest.raises(OutputError, match="send it again"):
        spool.add([A], path, "1.1")


def test_a_file_elsewhere_keeps_its_whole_path(spool: Spool, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("elsewhere") / os.fsdecode(b"caf\xe9")
    path.write_bytes(b"x")
    spool.add([A], str(path), "1.2")
    (entry,) = spool.due(A, 9)
    assert entry.path == str(path) == spool.absolute(entry.path)


# --- files that go when they have been delivered ---


def test_a_file_goes_when_all_have_it(spool: Spool) -> None:
    put(spool, "1", A, B, removable=True)
    put(spool, "2", A)
    gone: list[str] = []
    spool.settle(A, spool.due(A, 9), [])
    assert spool.clear(gone.extend) == 0
    spool.settle(B, spool.due(B, 9), [])
    assert spool.clear(gone.extend, ["2"]) == 0
    assert spool.clear(gone.extend, ["1", "2"]) == 1
    assert gone == ["1"]
    assert states(spool) == []


def test_a_removal_that_fails_is_done_again(spool: Spool) -> None:
    put(spool, "1", removable=True)
    spool.settle(A, spool.due(A, 9), [])

    def fail(paths: list[str]) -> None:
        raise OutputError("read-only")

    with pytest.raises(OutputError, match="read-only"):
        spool.clear(fail)
    assert states(spool) == [(A, "1", DELIVERED)]
    gone: list[str] = []
    assert spool.clear(gone.extend) == 1


def test_what_comes_anew_before_its_file_goes_keeps_it(spool: Spool) -> None:
    put(spool, "1", removable=True)
    spool.settle(A, spool.due(A, 9), [])
    put(spool, "1")
    assert spool.clear(pytest.fail) == 0
    assert [entry.removable for entry in spool.due(A, 9)] == [True]


def test_what_waits_is_needed(spool: Spool) -> None:
    put(spool, "1")
    assert spool.needs(["0"] * 600 + ["1"])
    assert not spool.needs(["0"])
    spool.settle(A, [], [Failure(spool.due(A, 9)[0], 0.0, "never", True)])
    assert not spool.needs(["1"])
    Path(spool.path).unlink()
    with pytest.raises(SpoolError):
        spool.needs(["1"])


def test_only_promises_wait_for_the_disk(spool: Spool) -> None:
    said: list[str] = []
    put(spool, "1")
    put(spool, "2", removable=True)
    with spool._using() as connection:
        connection.set_trace_callback(said.append)
    first, second = spool.due(A, 9)
    spool.settle(A, [first], [])
    assert "PRAGMA synchronous = NORMAL" in said
    said.clear()
    spool.settle(A, [second], [])  # its file goes after that, and must not be missed
    put(spool, "3")
    assert not any("synchronous" in one for one in said)
    with spool._using() as connection:
        connection.set_trace_callback(None)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)


# --- destinations ---


def test_a_destination_that_is_left_alone(spool: Spool) -> None:
    spool.hold(A, 3, 17.0, "refused")
    assert spool.held(A) == Hold(3, 17.0, "refused", 0)
    put(spool, "1", B)
    assert list(spool.destinations()) == [A, B]
    spool.hold(A, 0, 0.0, "")
    assert spool.held(A).failures == 0


def test_a_clock_that_was_set_back_delays_nothing(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("fresh", "failed"):
        put(spool, name)
    failed = spool.due(A, 9)[1]
    spool.settle(A, [], [Failure(failed, time.time() + 300, "full", False)])
    spool.hurry(A, 300.0)
    assert [entry.path for entry in spool.due(A, 9)] == ["fresh"]
    now = time.time()
    monkeypatch.setattr(module.time, "time", lambda: now - 3600)
    assert spool.due(A, 9) == []
    spool.hurry(A, 300.0)
    assert len(spool.due(A, 9)) == 2


# --- by hand ---


def test_retry_makes_everything_due(spool: Spool) -> None:
    for name in ("1", "2"):
        put(spool, name, A, B)
    for destination in (A, B):
        first, second = spool.due(destination, 9)
        spool.settle(
            destination, [], [Failure(first, time.time() + 60, "full", False), Failure(second, 0.0, "no", True)]
        )
        spool.hold(destination, 4, time.time() + 60, "down")
    assert spool.retry(A, FAILING) == 1
    assert [entry.path for entry in spool.due(A, 9)] == ["1"]
    assert (spool.held(A).next_attempt, spool.held(B).next_attempt > 0) == (0, True)
    assert spool.retry(uids=["1.2"]) == 2
    assert [entry.path for entry in spool.due(B, 9)] == ["2"]
    assert spool.retry(B, DEAD) == 0


def test_forgotten_rows_leave_the_files(spool: Spool) -> None:
    for name in ("1", "2"):
        put(spool, name, A, B, removable=True)
    spool.settle(A, spool.due(A, 9), [])
    assert spool.forget(B, uids=["1.1"]) == 1
    assert spool.clear(pytest.fail) == 0  # nobody said that it was delivered everywhere
    assert states(spool) == [(A, "2", DELIVERED), (B, "2", WAITING)]
    assert spool.forget() == 2
    assert list(spool.destinations()) == []


# --- many at once, and damage ---


def test_threads_share_a_commit(spool: Spool) -> None:
    writes = []
    original = spool._add

    def counted(batch: list[module._Job]) -> None:
        writes.append(len(batch))
        original(batch)

    spool._add = counted  # type: ignore[method-assign]
    with spool._lock:  # so that they pile up
        threads = [threading.Thread(target=put, args=(spool, str(number))) for number in range(8)]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 20
        while len(spool._queue) < 7 and time.monotonic() < deadline:
            threading.Event().wait(0.001)
    for thread in threads:
        thread.join(20)
    assert sorted(writes) == [1, 7]
    assert len(spool.due(A, 99)) == 8


def test_rows_that_cannot_be_written_are_an_error_for_each(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(spool, "1")
    monkeypatch.setattr(module, "_ADD", "INSERT INTO full VALUES (?, ?, ?, ?, ?, ?)")
    with pytest.raises(OutputError):
        spool.add([A], path, "1.1")
    monkeypatch.undo()
    spool.add([A], path, "1.1")  # the next one finds a sound spool


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("database or disk is full", "out of disk space"),
        ("database is locked", "the spool is locked"),
        ("attempt to write a readonly database", "cannot be written"),
    ],
)
def test_errors_are_told(text: str, message: str) -> None:
    error = module._translated(sqlite3.OperationalError(text), "/x")
    assert message in error.message
    assert error.dimse_status == 0xA700


def test_damage_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / ".dcmkit").mkdir()
    (tmp_path / ".dcmkit" / "spool.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(SpoolError, match=r"move .* away") as caught:
        Spool(str(tmp_path)).open()
    assert caught.value.exit_code == ExitCode.ARCHIVE_DAMAGED


def test_a_newer_spool_is_left_alone(spool: Spool) -> None:
    with spool._using() as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(SpoolError, match="newer"):
        spool.open()


def test_a_directory_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="cannot be made"):
        Spool(str(tmp_path / "file")).open()
    assert not Spool(str(tmp_path)).exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a POSIX system")
def test_a_new_process_has_a_connection_of_its_own(spool: Spool) -> None:
    put(spool, "1")
    pid = os.fork()
    if not pid:
        code = 1
        try:
            spool.after_fork()
            put(spool, "2")
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
    assert len(spool.due(A, 9)) == 2
