"""The archive as a whole: open, close, fork, many at once, disasters."""

from __future__ import annotations

import errno
import os
import signal
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dcmkit.archive import committer, disk, slot, store
from dcmkit.archive.store import Archive, attribute_of
from dcmkit.errors import (
    ExitCode,
    IndexDamagedError,
    IndexVersionError,
    OutputDirectoryError,
    OutputError,
    UsageError,
)
from tests.archive.objects import archive_in, arriving, image, part10, put, rows, visible

DURABILITIES = ("full", "file", "none")
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
posix = pytest.mark.skipif(os.name != "posix", reason="needs fork")


@pytest.mark.parametrize("durability", DURABILITIES)
def test_an_object_is_stored_and_found_again(tmp_path: Path, durability: str):
    with archive_in(tmp_path, durability=durability) as archive:
        stored = put(archive, "1.2.3")
        assert stored.outcome == "stored"
        assert stored.dimse_status == 0
        assert rows(archive, "1.2.3") == ["1.2.3.1/1.2.3.2/1.2.3.dcm"]
        assert Path(stored.path).read_bytes().endswith(image("1.2.3"))
    with archive_in(tmp_path, durability=durability) as archive:
        assert archive.index.count()["instance"] == 1
    assert visible(tmp_path) == ["1.2.3.1/1.2.3.2/1.2.3.dcm"]
    assert arriving(tmp_path) == []


def test_the_directory_is_made(tmp_path: Path):
    with archive_in(tmp_path / "a" / "b") as archive:
        put(archive)
    assert visible(tmp_path / "a" / "b")


def test_a_file_where_the_archive_should_be(tmp_path: Path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputDirectoryError) as caught:
        archive_in(tmp_path / "file").open()
    assert caught.value.exit_code == ExitCode.INVALID_OUTPUT_DIRECTORY


def test_keywords_to_index_and_for_the_layout(tmp_path: Path):
    with archive_in(tmp_path, index_keywords=("KVP", "Modality"), layout="{KVP}/{SOPInstanceUID}") as archive:
        put(archive, more=[(0x00180060, "DS", b"120")])
        assert archive.keywords == ("KVP",)
        assert visible(tmp_path) == ["120/1.2.3"]
        archive.flush()
        with archive.index.reading() as connection:
            assert connection.execute("SELECT keyword, value FROM extra").fetchall() == [("KVP", "120")]


@pytest.mark.parametrize("keyword", ["NoSuchKeyword", "PixelData", "ProcedureCodeSequence", ""])
def test_keywords_that_cannot_be_indexed(tmp_path: Path, keyword: str):
    with pytest.raises(UsageError):
        archive_in(tmp_path, index_keywords=(keyword,))
    with pytest.raises(UsageError):
        attribute_of(keyword)


# --- many at once ---


def at_once(count: int, work: Callable[[int], Any]) -> list[Any]:
    results: list[Any] = [None] * count
    barrier = threading.Barrier(count)

    def run(number: int) -> None:
        barrier.wait()
        try:
            results[number] = work(number)
        except Exception as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.mark.parametrize("durability", DURABILITIES)
def test_ten_senders_of_one_instance_at_once(tmp_path: Path, durability: str):
    with archive_in(tmp_path, durability=durability) as archive:
        stored = at_once(10, lambda _: put(archive, "1.2.3"))
        assert sorted(each.outcome for each in stored) == ["identical"] * 9 + ["stored"]
        assert all(each.dimse_status == 0 for each in stored)
        assert rows(archive, "1.2.3") == visible(tmp_path) == ["1.2.3.1/1.2.3.2/1.2.3.dcm"]
    assert arriving(tmp_path) == []


@pytest.mark.parametrize("durability", DURABILITIES)
def test_ten_different_objects_of_one_instance_at_once(tmp_path: Path, durability: str):
    with archive_in(tmp_path, durability=durability) as archive:
        stored = at_once(10, lambda number: put(archive, "1.2.3", pixels=bytes([number, 0])))
        assert sorted(each.outcome for each in stored) == ["kept-both"] * 9 + ["stored"]
        assert len(rows(archive, "1.2.3")) == len(visible(tmp_path)) == 10
        contents = {Path(each.path).read_bytes()[-2] for each in stored}
        assert contents == set(range(10))


def test_many_senders_of_many_instances_share_syncs_and_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    commits = []
    insert = committer.Index.insert
    monkeypatch.setattr(
        committer.Index, "insert", lambda index, batch: (commits.append(len(batch)), insert(index, batch))[1]
    )
    with archive_in(tmp_path, durability="full") as archive:
        at_once(8, lambda number: [put(archive, f"1.2.{number}.{each}", series=f"1.3.{number}") for each in range(15)])
        assert archive.index.count() == {"patient": 1, "study": 1, "series": 8, "instance": 120}
        assert len(visible(tmp_path)) == 120
    assert sum(commits) == 120
    assert len(commits) < 120  # some were written together


# --- fork and kill ---


def fork(work: Callable[[], None]) -> int:
    """Run `work` in a new process; its id."""
    child = os.fork()
    if not child:
        try:
            work()
            os._exit(0)
        except BaseException:
            os._exit(1)
    return child


def ended(child: int) -> int:
    """How a process ended."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def forked(work: Callable[[], None]) -> int:
    """Run `work` in a new process; how it ended."""
    return ended(fork(work))


@posix
@pytest.mark.parametrize("durability", ["full", "none"])
def test_several_processes_over_one_directory(tmp_path: Path, durability: str):
    def work() -> None:
        with archive_in(tmp_path, durability=durability) as archive:
            for number in range(30):
                put(archive, f"1.2.{number}", pixels=bytes([number, 0]))

    children = [fork(work) for _ in range(3)]
    assert [ended(child) for child in children] == [0, 0, 0]
    with archive_in(tmp_path) as archive:
        assert archive.index.count()["instance"] == 30
    assert len(visible(tmp_path)) == 30


@posix
@pytest.mark.parametrize("told", [True, False])
def test_workers_are_forked_after_the_archive_was_opened(tmp_path: Path, told: bool):
    with archive_in(tmp_path) as archive:
        put(archive, "1.2.1")
        archive.flush()

        def work() -> None:
            if told:
                archive.after_fork()
            put(archive, "1.2.2")
            archive.close()

        assert forked(work) == 0
        put(archive, "1.2.3")
        archive.flush()
        assert archive.index.count()["instance"] == 3
        assert len(os.listdir(tmp_path / ".dcmkit" / "incoming")) == 1


@posix
def test_a_worker_that_dies_leaves_nothing_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with archive_in(tmp_path) as archive:

        def work() -> None:
            archive.after_fork()
            monkeypatch.setattr(committer, "BATCH_DELAY", 1000)
            put(archive, "1.2.1")
            put(archive, "1.2.2")
            unfinished = archive.incoming("1.2", "1.2.9", "1.2.840.10008.1.2.1")
            unfinished.write(memoryview(b"\x08\0\x05\0CS"))
            os.kill(os.getpid(), signal.SIGKILL)

        assert forked(work) == -signal.SIGKILL
        assert len(visible(tmp_path)) == 2
        assert archive.index.count()["instance"] == 0
        assert len(arriving(tmp_path)) == 1
        archive.recover_process(4711)
        assert archive.index.count()["instance"] == 2
        assert arriving(tmp_path) == []


@posix
def test_a_killed_server_starts_again_with_all_it_acknowledged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with archive_in(tmp_path) as archive:
        put(archive, "1.2.0")

    def work() -> None:
        monkeypatch.setattr(committer, "BATCH_DELAY", 1000)
        archive = archive_in(tmp_path).open()
        put(archive, "1.2.1")
        put(archive, "1.2.2", series="1.3", study="1.4")
        os.kill(os.getpid(), signal.SIGKILL)

    assert forked(work) == -signal.SIGKILL
    with archive_in(tmp_path) as archive:
        assert archive.index.count() == {"patient": 1, "study": 2, "series": 2, "instance": 3}
        assert rows(archive, "1.2.2") == ["1.4/1.3/1.2.2.dcm"]
    assert os.listdir(tmp_path / ".dcmkit" / "incoming") == []


def test_a_power_cut_that_damaged_the_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with archive_in(tmp_path) as archive:
        put(archive, "1.2.1")
    monkeypatch.setattr(slot, "boot_id", lambda: "before")
    left = slot.Slot(str(tmp_path / ".dcmkit" / "incoming"))
    left.leave()
    monkeypatch.setattr(slot, "boot_id", lambda: "after")
    monkeypatch.setattr(store.Index, "is_sound", lambda _: False)
    with archive_in(tmp_path) as archive:
        assert archive.index.count()["instance"] == 1
    assert (tmp_path / ".dcmkit" / "index.sqlite.damaged").exists()


# --- the index is damaged, missing, newer, locked ---


@pytest.mark.parametrize("damage", [b"this is not a database" * 400, b""], ids=["garbage", "empty"])
def test_a_damaged_index_is_made_anew_from_the_files(tmp_path: Path, damage: bytes, caplog: pytest.LogCaptureFixture):
    with archive_in(tmp_path) as archive:
        put(archive, "1.2.1")
        put(archive, "1.2.2")
    (tmp_path / ".dcmkit" / "index.sqlite").write_bytes(damage)
    with archive_in(tmp_path) as archive:
        assert archive.index.count()["instance"] == 2
        assert rows(archive, "1.2.1") == ["1.2.3.1/1.2.3.2/1.2.1.dcm"]
    assert "made anew" in caplog.text


def test_a_damaged_index_another_process_uses_is_left_alone(tmp_path: Path):
    with archive_in(tmp_path) as archive:
        put(archive, "1.2.1")
        archive.close()
        archive.slot()
        (tmp_path / ".dcmkit" / "index.sqlite").write_bytes(b"garbage" * 1000)
        with pytest.raises(IndexDamagedError) as caught:
            archive_in(tmp_path).open()
        assert caught.value.exit_code == ExitCode.ARCHIVE_DAMAGED


def test_a_missing_index_is_made_from_the_files(tmp_path: Path):
    with archive_in(tmp_path) as archive:
        put(archive, "1.2.1")
    os.unlink(tmp_path / ".dcmkit" / "index.sqlite")
    with archive_in(tmp_path) as archive:
        assert archive.index.count()["instance"] == 1


def test_files_that_lay_in_a_directory_before_it_was_an_archive_are_not_walked(tmp_path: Path):
    (tmp_path / "old.dcm").write_bytes(part10("1.2.1"))
    with archive_in(tmp_path) as archive:
        assert archive.index.count()["instance"] == 0


def test_an_index_of_a_newer_dcmkit_is_not_touched(tmp_path: Path):
    with archive_in(tmp_path) as archive:
        put(archive, "1.2.1")
    path = tmp_path / ".dcmkit" / "index.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 1000")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    with pytest.raises(IndexVersionError, match="newer"):
        archive_in(tmp_path).open()
    assert path.read_bytes() == before
    assert os.listdir(tmp_path / ".dcmkit" / "incoming") == []


def locked_by_another(directory: Path) -> sqlite3.Connection:
    other = sqlite3.connect(directory / ".dcmkit" / "index.sqlite", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    return other


def test_a_locked_index_is_a700_and_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("dcmkit.archive.index.BUSY_TIMEOUT", 0.01)
    with archive_in(tmp_path, durability="file") as archive:
        other = locked_by_another(tmp_path)
        with pytest.raises(OutputError, match="the index is locked") as caught:
            put(archive, "1.2.1")
        assert caught.value.dimse_status == 0xA700
        assert visible(tmp_path) == arriving(tmp_path) == []
        other.close()
        assert put(archive, "1.2.1").outcome == "stored"


def test_without_durability_a_locked_index_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("dcmkit.archive.index.BUSY_TIMEOUT", 0.01)
    monkeypatch.setattr(committer, "_RETRY_DELAY", 0.01)
    with archive_in(tmp_path) as archive:
        other = locked_by_another(tmp_path)
        put(archive, "1.2.1")
        with pytest.raises(OutputError):
            archive.flush()
        other.close()
        assert rows(archive, "1.2.1")


def test_what_could_not_be_indexed_at_the_end_is_indexed_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("dcmkit.archive.index.BUSY_TIMEOUT", 0.01)
    archive = archive_in(tmp_path).open()
    other = locked_by_another(tmp_path)
    put(archive, "1.2.1")
    with pytest.raises(OutputError, match="locked"):
        archive.close()
    other.close()
    with archive_in(tmp_path) as again:
        assert rows(again, "1.2.1")


# --- the disk ---


def failing(number: int, path_part: str = "") -> Callable[..., Any]:
    def fail(*args: Any, **_: Any) -> Any:
        raise OSError(number, os.strerror(number), "/secret/path")

    return fail


ERRORS = [
    (errno.ENOSPC, "out of disk space"),
    (errno.EDQUOT, "out of disk quota"),
    (errno.EROFS, "read-only"),
    (errno.EACCES, "no permission"),
    (errno.EMFILE, "out of file descriptors"),
    (errno.EIO, "input/output error"),
]


@pytest.mark.parametrize("where", ["create", "writev", "fsync", "link", "makedirs"])
@pytest.mark.parametrize(("number", "message"), ERRORS)
def test_a_disk_that_fails_is_a700_nothing_is_left_and_it_recovers_by_itself(
    tmp_path: Path, where: str, number: int, message: str
):
    with archive_in(tmp_path, durability="full") as archive:
        put(archive, "1.2.0")
        with pytest.MonkeyPatch.context() as broken:
            if where == "create":
                broken.setattr(disk, "create", failing(number))
            elif where == "fsync":
                broken.setattr(disk, "sync_data", failing(number))
            elif where == "makedirs":
                broken.setattr(os, "makedirs", failing(number))
            else:
                broken.setattr(os, where, failing(number))
            with pytest.raises(OutputError, match=message) as caught:
                put(archive, "1.2.1", study="1.9")
        assert caught.value.dimse_status == 0xA700
        assert len(caught.value.message) <= 64
        assert "secret" not in caught.value.message
        assert len(visible(tmp_path)) == 1
        assert arriving(tmp_path) == []
        assert put(archive, "1.2.1", study="1.9").outcome == "stored"


def test_a_directory_that_cannot_be_synced(tmp_path: Path):
    with archive_in(tmp_path, durability="full") as archive:
        with pytest.MonkeyPatch.context() as broken:
            broken.setattr(disk, "sync_directory", failing(errno.EIO))
            with pytest.raises(OutputError, match="input/output"):
                put(archive, "1.2.1")
        assert visible(tmp_path) == []
        assert put(archive, "1.2.1").outcome == "stored"
        assert rows(archive, "1.2.1") == visible(tmp_path)


def test_one_bad_record_does_not_spoil_the_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    real = committer.Index.insert

    def insert(index: Any, batch: list[Any]) -> None:
        if any(record.sop_instance_uid == "1.2.3" for record in batch):
            raise OutputError("out of disk space")
        real(index, batch)

    monkeypatch.setattr(committer.Index, "insert", insert)
    with archive_in(tmp_path, durability="file") as archive:
        results = at_once(8, lambda number: put(archive, f"1.2.{number}"))
        assert [isinstance(each, OutputError) for each in results] == [number == 3 for number in range(8)]
        assert archive.index.count()["instance"] == 7
        assert len(visible(tmp_path)) == 7


def test_directories_that_vanish_are_made_again(tmp_path: Path):
    with archive_in(tmp_path) as archive:
        put(archive, "1.2.1")
        os.unlink(tmp_path / visible(tmp_path)[0])
        os.rmdir(tmp_path / "1.2.3.1" / "1.2.3.2")
        os.rmdir(tmp_path / "1.2.3.1")
        put(archive, "1.2.2")
        assert visible(tmp_path) == ["1.2.3.1/1.2.3.2/1.2.2.dcm"]


@posix
def test_symbolic_links_that_lead_out_are_not_followed(tmp_path: Path):
    outside = tmp_path / "outside"
    outside.mkdir()
    with archive_in(tmp_path / "archive") as archive:
        os.symlink(outside, tmp_path / "archive" / "1.2.3.1")
        with pytest.raises(OutputError, match="leads out"):
            put(archive)
    assert list(outside.iterdir()) == []


def test_close_may_be_called_again_and_an_archive_used_again(tmp_path: Path):
    archive: Archive = archive_in(tmp_path).open()
    put(archive, "1.2.1")
    archive.close()
    archive.close()
    put(archive, "1.2.2")
    archive.close()
    with archive_in(tmp_path) as again:
        assert again.index.count()["instance"] == 2
