"""After a kill: the index agrees with the files again, without walking them all."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

import pytest

from dcmkit.archive import recovery
from dcmkit.archive.recovery import files_in_place, reconcile, remove_leftovers, set_aside, sweep
from dcmkit.archive.slot import Slot
from tests.archive.objects import archive_in, part10, put, rows, visible


def test_leftovers_of_the_dead_go_and_those_of_the_living_stay(tmp_path: Path):
    dead, living = Slot(str(tmp_path)), Slot(str(tmp_path))
    for each in (dead, living):
        Path(each.temporary()).write_bytes(b"half")
    dead.leave()
    assert remove_leftovers(str(tmp_path)) == (1, False)
    assert [path.name for path in tmp_path.iterdir()] == [os.path.basename(living.path)]
    assert remove_leftovers(str(tmp_path)) == (0, False)
    living.close()


def test_files_without_rows_and_rows_without_files(tmp_path: Path):
    with archive_in(tmp_path) as archive:
        put(archive, "1.2.1")
        put(archive, "1.2.2")
        put(archive, "1.2.3", study="1.8")
        archive.flush()
        os.unlink(tmp_path / "1.2.3.1" / "1.2.3.2" / "1.2.1.dcm")
        for new in ("1.2.3.1/1.2.3.2", "1.2.3.1/1.77", "1.78/1.79"):
            (tmp_path / new).mkdir(parents=True, exist_ok=True)
            study, series = new.split("/")
            (tmp_path / new / "new.dcm").write_bytes(part10(f"1.9.{series}", study=study, series=series))
        (tmp_path / "1.78" / "notes.txt").write_text("not DICOM")
        assert sweep(archive, time.time() - 3600) == (3, 1)
        assert sweep(archive, time.time() - 3600) == (0, 0)
        assert rows(archive, "1.2.1") == []
        assert rows(archive, "1.9.1.79") == ["1.78/1.79/new.dcm"]
        assert archive.index.count()["instance"] == 5


def test_directories_that_did_not_change_are_not_looked_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    looked: list[str] = []
    with archive_in(tmp_path) as archive:
        for number in range(5):
            put(archive, f"1.2.{number}", study=f"1.3.{number}", series=f"1.4.{number}")
        archive.flush()
        long_ago = time.time() - 100000
        with sqlite3.connect(archive.index.path) as connection:
            connection.execute("UPDATE instance SET received = 0")
        connection.close()
        for directory, _, _ in os.walk(tmp_path):
            os.utime(directory, (long_ago, long_ago))
        (tmp_path / "1.3.2" / "1.4.2" / "new.dcm").write_bytes(part10("1.2.9", study="1.3.2", series="1.4.2"))
        real = recovery.list_directory
        monkeypatch.setattr(recovery, "list_directory", lambda path, name: (looked.append(name), real(path, name))[1])
        assert sweep(archive, time.time() - 600) == (1, 0)
    assert looked == ["1.3.2/1.4.2"]


def test_a_file_that_was_replaced_is_read_again(tmp_path: Path):
    with archive_in(tmp_path) as archive:
        path = Path(put(archive, "1.2.3", instance=1).path)
        archive.flush()
        path.write_bytes(part10("1.2.3", instance=5))
        assert reconcile(archive, "1.2.3.1/1.2.3.2")[:2] == (1, 0)
        with archive.index.reading() as connection:
            assert connection.execute("SELECT InstanceNumber FROM instance").fetchall() == [(5,)]


def test_a_directory_that_is_gone(tmp_path: Path):
    with archive_in(tmp_path) as archive:
        for name in visible(tmp_path):
            os.unlink(tmp_path / name)
        put(archive)
        archive.flush()
        os.unlink(tmp_path / visible(tmp_path)[0])
        os.rmdir(tmp_path / "1.2.3.1" / "1.2.3.2")
        assert sweep(archive, time.time() - 600) == (0, 1)


def test_more_files_than_fit_a_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(recovery, "_BATCH", 4)
    with archive_in(tmp_path) as archive:
        for number in range(10):
            (tmp_path / f"{number}.dcm").write_bytes(part10(f"1.2.{number}"))
        assert reconcile(archive, "") == (10, 0, [])
        assert archive.index.count()["instance"] == 10


def test_a_damaged_index_is_set_aside_with_its_journal(tmp_path: Path):
    (tmp_path / "index").write_text("x")
    (tmp_path / "index-wal").write_text("y")
    assert set_aside(str(tmp_path / "index")) == str(tmp_path / "index.damaged")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index.damaged", "index.damaged-wal"]


def test_files_in_place_are_told_as_far_as_the_index_can(tmp_path: Path):
    from dcmkit.archive.adding import add

    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_bytes(part10())
    with archive_in(tmp_path / "archive") as archive:
        put(archive, "1.9")
        archive.flush()
        add(archive, [str(tmp_path / "outside")])
        assert files_in_place(archive.index) == {str(tmp_path / "outside"): {"file"}}
        archive.index.close()
        (tmp_path / "archive" / ".dcmkit" / "index.sqlite").write_bytes(b"garbage" * 1000)
        for suffix in ("-wal", "-shm"):
            (tmp_path / "archive" / ".dcmkit" / f"index.sqlite{suffix}").unlink(missing_ok=True)
        assert files_in_place(archive.index) == {}


def test_a_name_lost_in_a_power_cut_has_no_row(tmp_path: Path):
    with archive_in(tmp_path) as archive:
        path = Path(put(archive).path)
        archive.flush()
        path.unlink()
        long_ago = time.time() - 100000
        os.utime(path.parent, (long_ago, long_ago))
        assert sweep(archive, archive.index.last_received() - 600) == (0, 1)
