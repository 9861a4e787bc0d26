"""Slots: what tells the living from the dead."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from dcmkit.archive import slot
from dcmkit.archive.slot import Slot, abandoned, clear, locked, others_active


def test_a_slot_is_held_while_its_process_lives(tmp_path: Path):
    mine = Slot(str(tmp_path))
    assert list(abandoned(str(tmp_path))) == []
    assert not others_active(str(tmp_path), mine.path)
    assert others_active(str(tmp_path), "")
    mine.close()
    assert list(tmp_path.iterdir()) == []


def test_temporary_names_are_never_used_twice(tmp_path: Path):
    mine = Slot(str(tmp_path))
    assert len({mine.temporary() for _ in range(100)}) == 100
    mine.close()


def test_what_a_dead_process_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    left = Slot(str(tmp_path))
    Path(left.temporary()).write_bytes(b"half")
    directory = Path(left.path, ".dcmkit-cleaning")
    directory.mkdir()
    (directory / "cleaned").write_bytes(b"half")
    left.leave()
    living = Slot(str(tmp_path))
    found = list(abandoned(str(tmp_path)))
    assert found == [(left.path, not slot.boot_id())]
    assert (tmp_path / os.path.basename(left.path)).exists()  # what is in it is the caller's to remove
    assert clear(left.path) == 2
    assert os.listdir(left.path) == []
    left = Slot(str(tmp_path))
    left.leave()
    monkeypatch.setattr(slot, "boot_id", lambda: "another")
    assert list(abandoned(str(tmp_path))) == [(left.path, True)]
    assert not os.path.exists(left.path)
    living.close()


def test_a_slot_that_never_got_an_owner(tmp_path: Path):
    (tmp_path / "1-old").mkdir()
    (tmp_path / "2-new").mkdir()
    long_ago = time.time() - 3600
    os.utime(tmp_path / "1-old", (long_ago, long_ago))
    assert list(abandoned(str(tmp_path))) == []
    assert [path.name for path in tmp_path.iterdir()] == ["2-new"]


def test_a_slot_taken_for_abandoned_while_it_was_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    answers = iter([False, True])
    real = slot.lock
    monkeypatch.setattr(slot, "lock", lambda fd: real(fd) and next(answers))
    mine = Slot(str(tmp_path))
    monkeypatch.undo()
    assert len(list(tmp_path.iterdir())) == 2
    mine.close()


def test_only_one_at_a_time(tmp_path: Path):
    path = str(tmp_path / "lock")
    with locked(path):
        fd = os.open(path, os.O_RDWR)
        assert not slot.lock(fd)
        os.close(fd)
    with locked(path):
        pass


def test_nothing_to_list(tmp_path: Path):
    assert list(abandoned(str(tmp_path / "none"))) == []
    assert clear(str(tmp_path / "none")) == 0
