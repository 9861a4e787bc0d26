"""Objects that are stored together: each as if it came alone, in one commit."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from dcmkit.archive import disk
from dcmkit.archive.batch import Batch
from dcmkit.archive.filing import IDENTICAL, KEPT_BOTH, REPLACED, STORED, Stored
from dcmkit.archive.incoming import Incoming
from dcmkit.archive.store import Archive
from dcmkit.errors import DuplicateError, InvalidDataSetError, OutputError
from tests.archive.objects import CT, EXPLICIT, archive_in, arriving, image, put, rows, visible

DURABILITIES = ("none", "file", "full")


def coming(archive: Archive, uid: str, data: bytes | None = None, **how: str) -> Incoming:
    incoming = archive.incoming(CT, uid, EXPLICIT)
    incoming.write(memoryview(image(uid, **how) if data is None else data))  # type: ignore[arg-type]
    return incoming


def batch_of(archive: Archive, *uids: str) -> Batch:
    batch = archive.batch()
    for uid in uids:
        batch.add(coming(archive, uid))
    return batch


def outcomes(batch: Batch) -> list[str]:
    return [one.outcome if isinstance(one, Stored) else type(one).__name__ for one in batch.settle()]


@pytest.mark.parametrize("durability", DURABILITIES)
def test_all_are_stored_in_one_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durability: str):
    with archive_in(tmp_path, durability=durability) as archive:
        written: list[int] = []
        insert = archive.index.insert
        monkeypatch.setattr(archive.index, "insert", lambda records: (written.append(len(records)), insert(records)))
        batch = batch_of(archive, "1.1", "1.2", "1.3")
        assert len(batch) == 3
        assert visible(tmp_path) == []
        assert outcomes(batch) == [STORED] * 3
        assert len(batch) == 0
        for uid in ("1.1", "1.2", "1.3"):
            assert len(rows(archive, uid)) == 1
        assert written == [3]
    assert len(visible(tmp_path)) == 3
    assert arriving(tmp_path) == []


def test_contents_and_directories_are_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    synced: list[int] = []
    monkeypatch.setattr(disk, "sync_data", synced.append)
    directories: list[str] = []
    monkeypatch.setattr(disk, "sync_directory", directories.append)
    with archive_in(tmp_path, durability="full") as archive:
        directories.clear()
        assert outcomes(batch_of(archive, *(f"1.{number}" for number in range(1, 8)))) == [STORED] * 7
        assert len(set(synced)) == 7
        assert len(directories) == len(set(directories))


def test_what_cannot_be_synced_is_not_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with archive_in(tmp_path, durability="file") as archive:
        batch = batch_of(archive, "1.1", "1.2")
        bad = batch._waiting[0].file[1]

        def sync(fd: int) -> None:
            if fd == bad:
                raise OSError(errno.EIO, "no")

        monkeypatch.setattr(disk, "sync_data", sync)
        assert outcomes(batch) == ["OutputError", STORED]
        assert rows(archive, "1.1") == []
    assert len(visible(tmp_path)) == 1
    assert arriving(tmp_path) == []


@pytest.mark.parametrize("durability", DURABILITIES)
def test_the_same_object_twice(tmp_path: Path, durability: str):
    with archive_in(tmp_path, durability=durability) as archive:
        put(archive, "1.2")
        assert outcomes(batch_of(archive, "1.1", "1.1", "1.2", "1.1")) == [STORED, IDENTICAL, IDENTICAL, IDENTICAL]
        assert len(rows(archive, "1.1")) == 1
    assert len(visible(tmp_path)) == 2
    assert arriving(tmp_path) == []


@pytest.mark.parametrize(
    ("policy", "expected"),
    [("replace", REPLACED), ("keep-both", KEPT_BOTH), ("keep", "kept"), ("reject", DuplicateError.__name__)],
)
def test_another_content_under_the_same_uid(tmp_path: Path, policy: str, expected: str):
    with archive_in(tmp_path, durability="full", on_duplicate=policy) as archive:
        put(archive, "1.1", name="Old")
        batch = archive.batch()
        batch.add(coming(archive, "1.1", name="New"))
        batch.add(coming(archive, "1.2"))
        assert outcomes(batch) == [expected, STORED]
        found = visible(tmp_path)[0]
        content = (tmp_path / found).read_bytes()
        assert (b"New" in content) == (policy == "replace")
        assert len(rows(archive, "1.1")) == (2 if policy == "keep-both" else 1)
    assert len(visible(tmp_path)) == (3 if policy == "keep-both" else 2)
    assert arriving(tmp_path) == []


def test_what_the_index_does_not_take_is_not_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with archive_in(tmp_path, durability="full") as archive:
        insert = archive.index.insert

        def refusing(records: list[object]) -> None:
            if any(record.sop_instance_uid == "1.2" for record in records):  # type: ignore[attr-defined]
                raise OutputError("the index is locked")
            insert(records)  # type: ignore[arg-type]

        monkeypatch.setattr(archive.index, "insert", refusing)
        assert outcomes(batch_of(archive, "1.1", "1.2", "1.3")) == [STORED, "OutputError", STORED]
        assert rows(archive, "1.2") == []
    assert len(visible(tmp_path)) == 2
    assert arriving(tmp_path) == []


def test_an_interrupted_commit_leaves_no_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with archive_in(tmp_path, durability="full") as archive:

        def interrupted(records: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(archive.index, "insert", interrupted)
        with pytest.raises(KeyboardInterrupt):
            batch_of(archive, "1.1", "1.2").settle()
        assert visible(tmp_path) == arriving(tmp_path) == []
        monkeypatch.undo()
        assert outcomes(batch_of(archive, "1.1")) == [STORED]


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with archive_in(tmp_path) as archive:

        def full(temporary: str, final: str) -> None:
            raise OSError(errno.ENOSPC, "full")

        batch = batch_of(archive, "1.1", "1.2")
        monkeypatch.setattr(disk, "give_name", full)
        (first, second) = batch.settle()
        assert isinstance(first, OutputError)
        assert isinstance(second, OutputError)
        assert first.message == "out of disk space"
    assert visible(tmp_path) == arriving(tmp_path) == []


def test_what_is_no_data_set_does_not_get_into_it(tmp_path: Path):
    with archive_in(tmp_path) as archive:
        batch = batch_of(archive, "1.1")
        bad = coming(archive, "1.2", image("1.2")[:-3])
        with pytest.raises(InvalidDataSetError):
            batch.add(bad)
        with pytest.raises(InvalidDataSetError):
            bad.commit()
        assert outcomes(batch) == [STORED]
    assert arriving(tmp_path) == []


def test_abandoned(tmp_path: Path):
    with archive_in(tmp_path) as archive:
        batch = batch_of(archive, "1.1", "1.2")
        batch.abandon()
        assert batch.settle() == []
    assert visible(tmp_path) == arriving(tmp_path) == []


def test_a_study_that_reaches_its_quota(tmp_path: Path):
    size = len(image("1.1")) + 600
    with archive_in(tmp_path, durability="full", max_study_size=str(2 * size)) as archive:
        found = outcomes(batch_of(archive, "1.1", "1.2", "1.3", "1.4"))
        assert found.count("OutputError") >= 1
        assert found[0] == STORED
    assert len(visible(tmp_path)) == found.count(STORED)


@pytest.mark.parametrize("durability", ["none", "full"])
def test_many_threads_with_the_same_objects(tmp_path: Path, durability: str):
    uids = [f"1.{number}" for number in range(1, 13)]
    failures: list[object] = []
    with archive_in(tmp_path, durability=durability) as archive:

        def work(turn: int) -> None:
            try:
                for _ in range(3):
                    order = uids[turn:] + uids[:turn]
                    found = outcomes(batch_of(archive, *order))
                    if not set(found) <= {STORED, IDENTICAL}:
                        failures.append(found)
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=work, args=(turn * 3,)) for turn in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert failures == []
        assert all(len(rows(archive, uid)) == 1 for uid in uids)
    assert len(visible(tmp_path)) == len(uids)
    assert arriving(tmp_path) == []
    assert os.listdir(tmp_path)
