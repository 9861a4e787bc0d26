"""Group commit, and the queue of durability "none"."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import pytest

from dcmkit.archive import committer as committer_module
from dcmkit.archive.committer import Committer
from dcmkit.archive.record import Record
from dcmkit.dataset.scanner import ScannedHeader
from dcmkit.errors import OutputError


class Pretended:
    """An index that notes what it is given, and may be told to wait or fail."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.go = threading.Event()
        self.go.set()
        self.entered = threading.Event()
        self.failing: set[str] = set()
        self.broken = False
        self.removed: list[tuple[str, str]] = []

    def write(self, work: Callable[[object], object]) -> None:
        work(None)

    def remove_rows(self, _: object, files: Sequence[tuple[str, str]]) -> None:
        self.removed += files

    def insert(self, records: Sequence[Record]) -> None:
        self.entered.set()
        assert self.go.wait(10)
        if self.broken:
            raise KeyboardInterrupt
        if self.failing & {record.sop_instance_uid for record in records}:
            raise OutputError("the index is locked")
        self.batches.append([record.sop_instance_uid for record in records])


def record(uid: str, size: int = 0) -> Record:
    return Record(ScannedHeader({0x00100010: bytes(size)}, 0, False, False), "1.2", uid, "1.2.840.10008.1.2.1")


@pytest.fixture
def index() -> Pretended:
    return Pretended()


def committing(index: Pretended, sync: object = None) -> Committer:
    return Committer(index, sync)  # type: ignore[arg-type]


def test_who_waits_is_written_together(index: Pretended):
    committer = committing(index)
    index.go.clear()
    threads = [threading.Thread(target=committer.commit, args=(record(str(number)),)) for number in range(6)]
    threads[0].start()
    assert index.entered.wait(10)
    for thread in threads[1:]:
        thread.start()
    while len(committer._queue) < 5:
        pass
    index.go.set()
    for thread in threads:
        thread.join()
    assert sorted(map(len, index.batches)) == [1, 5]


def test_success_waits_for_the_directories_to_be_synced(index: Pretended):
    done: list[set[str]] = []
    committer = committing(index, done.append)
    for directory in ("a", "b"):
        one = record(directory)
        one.directory = directory
        committer.commit(one)
        assert done[-1] == {directory}
    assert index.batches == [["a"], ["b"]]
    committer.close()


def test_a_failure_is_told_to_the_one_it_concerns(index: Pretended):
    index.failing = {"1"}
    committer = committing(index)
    with pytest.raises(OutputError, match="locked"):
        committer.commit(record("1"))
    committer.commit(record("2"))
    assert index.batches == [["2"]]


def test_a_failing_sync_is_an_output_error(index: Pretended):
    def sync(directories: set[str]) -> None:
        raise OSError(28, "No space left on device")

    committer = committing(index, sync)
    with pytest.raises(OutputError, match="out of disk space"):
        committer.commit(record("1"))
    assert index.removed == [("", "")]  # the row was there first, and goes with the file
    committer.close()


def test_an_interrupted_writer_is_no_success_for_those_who_wait(index: Pretended):
    committer = committing(index)
    index.go.clear()
    index.broken = True
    outcomes: list[object] = []

    def run(uid: str) -> None:
        try:
            committer.commit(record(uid))
            outcomes.append("stored")
        except BaseException as error:
            outcomes.append(type(error))

    threads = [threading.Thread(target=run, args=(str(number),)) for number in range(3)]
    threads[0].start()
    assert index.entered.wait(10)
    for thread in threads[1:]:
        thread.start()
    while len(committer._queue) < 2:
        pass
    index.go.set()
    for thread in threads:
        thread.join()
    assert sorted(map(str, outcomes)) == sorted(map(str, [KeyboardInterrupt, KeyboardInterrupt, OutputError]))


# --- posted ---


def test_posted_records_are_written_in_batches_by_a_thread(index: Pretended, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(committer_module, "BATCH_DELAY", 0.001)
    committer = committing(index)
    committer.post(record("1"))
    assert index.entered.wait(10)
    committer.close()
    assert index.batches == [["1"]]


def test_pending_until_flushed(index: Pretended, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(committer_module, "BATCH_DELAY", 1000)
    committer = committing(index)
    committer.post(record("1"))
    committer.post(record("2"))
    assert committer.pending("1") is not None
    assert index.batches == []
    committer.flush()
    assert committer.pending("1") is None
    assert index.batches == [["1", "2"]]
    committer.flush()
    committer.close()
    assert index.batches == [["1", "2"]]


@pytest.mark.parametrize(("limit", "value"), [("QUEUE_LIMIT", 10), ("QUEUE_BYTES", 1000)])
def test_a_full_queue_is_written_by_who_posts(
    index: Pretended, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
):
    monkeypatch.setattr(committer_module, "BATCH_DELAY", 1000)
    monkeypatch.setattr(committer_module, limit, value)
    committer = committing(index)
    for number in range(25):
        committer.post(record(str(number), 100))
    assert [len(batch) for batch in index.batches] == [10, 10]
    index.failing = {str(number) for number in range(100)}
    for number in range(25, 30):
        committer.post(record(str(number), 100))
    with pytest.raises(OutputError, match="locked"):
        committer.post(record("31", 100))
    assert committer.pending("31") is None
    index.failing = set()
    committer.close()
    assert sum(map(len, index.batches)) == 30


def test_what_fails_stays_posted(index: Pretended, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(committer_module, "BATCH_DELAY", 1000)
    index.failing = {"2"}
    committer = committing(index)
    for uid in ("1", "2", "3"):
        committer.post(record(uid))
    with pytest.raises(OutputError):
        committer.flush()
    assert index.batches == [["1"], ["3"]]
    assert committer.pending("2") is not None
    with pytest.raises(OutputError):
        committer.close()
    index.failing = set()
    committer.flush()
    assert index.batches[-1] == ["2"]


def test_the_thread_tries_again(index: Pretended, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(committer_module, "BATCH_DELAY", 0.001)
    monkeypatch.setattr(committer_module, "_RETRY_DELAY", 0.001)
    index.failing = {"1"}
    committer = committing(index)
    committer.post(record("1"))
    for _ in range(3):
        index.entered.clear()
        assert index.entered.wait(10)
    index.failing = set()
    committer.close()
    assert index.batches == [["1"]]
