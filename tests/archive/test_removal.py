"""Removal of files and rows together, killed anywhere, beside others."""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dcmkit.archive import removal
from dcmkit.archive.adding import add
from dcmkit.archive.maintenance import UNINDEXED, check
from dcmkit.archive.query import Query
from dcmkit.archive.removal import Removed, finish, remove, remove_files, remove_study
from dcmkit.archive.store import Archive
from dcmkit.errors import OutputError, UsageError
from tests.archive.objects import archive_in, part10, put, rows, visible
from tests.dataset.encoding import Items

FIRST = Query("study", {"StudyInstanceUID": "1.3.1"})
ALL = Query("study", {"PatientID": "4711"})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "archive"


def fill(archive: Archive) -> None:
    for number in range(4):
        put(archive, f"1.2.{number}", study=f"1.3.{number % 2}", series=f"1.4.{number % 2}")
    archive.flush()


@pytest.fixture
def archive(root: Path) -> Iterator[Archive]:
    with archive_in(root) as made:
        fill(made)
        yield made


@pytest.fixture
def outside(tmp_path: Path, archive: Archive) -> Path:
    """A file indexed in place."""
    path = tmp_path / "outside" / "x.dcm"
    path.parent.mkdir()
    path.write_bytes(part10("1.9", study="1.3.9", series="1.4.9"))
    add(archive, [str(path)])
    return path


def differences(archive: Archive) -> list[tuple[str, str]]:
    return sorted((each.kind, each.path) for each in check(archive))


def going(archive: Archive) -> int:
    with archive.index.reading() as connection:
        return int(connection.execute("SELECT COUNT(*) FROM removal").fetchone()[0])


def die(archive: Archive) -> None:
    """As if the process had been killed: its slot stays, nobody holds it."""
    assert archive._slot is not None
    archive._slot.leave()
    archive._slot = None
    archive.index.close()


class Killed(BaseException):
    """In the place of a SIGKILL."""


# --- what goes and what stays ---


def test_a_study_goes_with_its_files_and_directories(archive: Archive, root: Path):
    size = sum((root / name).stat().st_size for name in visible(root) if name.startswith("1.3.1"))
    assert remove(archive, FIRST) == Removed(2, 2, size)
    assert sorted(os.listdir(root)) == [".dcmkit", "1.3.0"]
    assert archive.index.count() == {"patient": 1, "study": 1, "series": 1, "instance": 2}
    assert differences(archive) == []
    assert going(archive) == 0
    assert put(archive, "1.2.9", study="1.3.1").outcome == "stored"


@pytest.mark.parametrize("durability", ["full", "file"])
def test_durable_removal(tmp_path: Path, durability: str):
    with archive_in(tmp_path, durability=durability) as archive:
        fill(archive)
        assert remove(archive, ALL).files == 4
        assert os.listdir(tmp_path) == [".dcmkit"]


def test_more_than_a_batch(archive: Archive, root: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(removal, "BATCH", 3)
    assert remove(archive, ALL)[:2] == (4, 4)
    assert visible(root) == []


def test_objects_that_wait_to_be_indexed_go_too(archive: Archive, root: Path):
    put(archive, "1.2.8", study="1.3.1", series="1.4.1")
    assert remove(archive, FIRST).files == 3


def test_a_study_by_number(archive: Archive, root: Path):
    with archive.index.reading() as connection:
        (number,) = connection.execute("SELECT id FROM study WHERE StudyInstanceUID = '1.3.0'").fetchone()
    assert remove_study(archive, number).files == 2
    assert sorted(os.listdir(root)) == [".dcmkit", "1.3.1"]


def test_files_are_kept_when_asked_for(archive: Archive, root: Path):
    assert remove(archive, FIRST, keep_files=True) == Removed(2, 0, 0)
    assert len(visible(root)) == 4
    assert [kind for kind, _ in differences(archive)] == [UNINDEXED, UNINDEXED]


def test_by_what_only_a_function_can_match(archive: Archive):
    codes = Items([[(0x00080100, "SH", b"A"), (0x00080102, "SH", b"DCM")], [(0x00080100, "SH", b"B")]])
    put(archive, "1.5", study="1.5", series="1.5.1", more=[(0x00081032, "SQ", codes)])
    archive.flush()
    keys = ("ProcedureCodeSequence_CodeValue", "ProcedureCodeSequence_CodingSchemeDesignator")
    assert remove(archive, Query("study", dict(zip(keys, ("B", "DCM"), strict=True)))).files == 0
    assert remove(archive, Query("study", dict(zip(keys, ("A", "DCM"), strict=True)))).files == 1
    assert remove(archive, Query("study", {"AcquisitionDateTime": "20240101+0100"})).files == 0


def test_files_indexed_in_place_are_never_removed(archive: Archive, outside: Path):
    assert remove(archive, Query("study", {"SOPInstanceUID": "1.9"})) == Removed(1, 0, 0)
    assert outside.exists()
    assert rows(archive, "1.9") == []


def test_copies_go_with_the_first(archive: Archive, root: Path):
    put(archive, "1.2.0", study="1.3.0", series="1.4.0", pixels=b"copy")
    archive.flush()
    assert remove(archive, Query("instance", {"SOPInstanceUID": "1.2.0"})).files == 2
    assert len(visible(root)) == 3


def test_other_files_in_a_directory_stay(archive: Archive, root: Path):
    (root / "1.3.1" / "notes.txt").write_text("mine")
    remove(archive, FIRST)
    assert sorted(path.name for path in (root / "1.3.1").iterdir()) == ["notes.txt"]


def test_a_file_changed_since_stays_with_its_row(archive: Archive, root: Path):
    path = root / "1.3.1" / "1.4.1" / "1.2.1.dcm"
    path.write_bytes(path.read_bytes() + b"\0\0")
    removed = remove(archive, FIRST)
    assert (removed.instances, removed.files, removed.kept) == (1, 1, 1)
    assert path.exists()
    assert rows(archive, "1.2.1") == ["1.3.1/1.4.1/1.2.1.dcm"]
    assert going(archive) == 0


def test_a_file_that_is_gone_loses_its_row(archive: Archive, root: Path):
    (root / "1.3.1" / "1.4.1" / "1.2.1.dcm").unlink()
    assert remove(archive, FIRST)[:2] == (2, 1)
    assert differences(archive) == []


@pytest.mark.skipif(os.name != "posix", reason="needs symbolic links")
def test_nothing_outside_the_archive_is_removed(archive: Archive, root: Path, tmp_path: Path):
    (root / "1.3.1" / "1.4.1").rename(tmp_path / "elsewhere")
    (root / "1.3.1" / "1.4.1").symlink_to(tmp_path / "elsewhere")
    assert remove(archive, FIRST) == Removed(0, 0, 0, 2)
    assert len(list((tmp_path / "elsewhere").iterdir())) == 2


def test_a_wrong_key_removes_nothing(archive: Archive, root: Path):
    with pytest.raises(UsageError):
        remove(archive, Query("study", {"StudyUID": "1.3.1"}))
    assert len(visible(root)) == 4


# --- disk errors ---


def test_a_file_that_cannot_be_removed(archive: Archive, root: Path, monkeypatch: pytest.MonkeyPatch):
    unlink = os.unlink

    def fail(path: str) -> None:
        if path.endswith("1.2.1.dcm"):
            raise PermissionError(errno.EACCES, "Permission denied")
        unlink(path)

    monkeypatch.setattr(os, "unlink", fail)
    with pytest.raises(OutputError, match="no permission"):
        remove(archive, FIRST)
    monkeypatch.undo()
    assert archive.index.count()["instance"] == 3
    assert len(visible(root)) == 3
    assert going(archive) == 0
    assert differences(archive) == []


def test_the_index_cannot_be_written(archive: Archive, root: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(work: Callable[[sqlite3.Connection], Any]) -> Any:
        raise OutputError("out of disk space")

    monkeypatch.setattr(archive.index, "write", fail)
    with pytest.raises(OutputError, match="disk space"):
        remove(archive, FIRST)
    assert len(visible(root)) == 4


# --- killed ---


@pytest.mark.parametrize("step", range(12))
def test_killed_at_any_step_and_finished_by_the_next_start(root: Path, monkeypatch: pytest.MonkeyPatch, step: int):
    """Every transaction, unlink and rmdir is a step; the process dies before one of them."""
    archive = archive_in(root).open()
    fill(archive)
    left = [step]
    write, unlink, rmdir = archive.index.write, os.unlink, os.rmdir

    def counting(what: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any) -> Any:
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            return what(*given)

        return call

    with monkeypatch.context() as patched:
        patched.setattr(archive.index, "write", counting(write))
        patched.setattr(os, "unlink", counting(unlink))
        patched.setattr(os, "rmdir", counting(rmdir))
        try:
            remove(archive, ALL)
            finished = True
        except Killed:
            finished = False
    begun = going(archive) > 0 or finished
    die(archive)
    with archive_in(root) as again:
        assert going(again) == 0
        assert differences(again) == []
        assert again.index.count()["instance"] == (0 if begun else 4)
        assert len(visible(root)) == (0 if begun else 4)
        assert not begun or os.listdir(root) == [".dcmkit"]
    assert begun == (step > 0)


def test_the_removals_of_the_living_are_left_to_them(archive: Archive, root: Path, monkeypatch: pytest.MonkeyPatch):
    with monkeypatch.context() as patched:
        patched.setattr(removal, "_carry_out", lambda *_: Removed(0, 0, 0))
        remove(archive, FIRST)
    assert going(archive) == 2
    with archive_in(root):
        assert going(archive) == 2
        assert len(visible(root)) == 4
    assert remove(archive, FIRST).files == 2
    assert going(archive) == 0


def test_what_cannot_be_finished_does_not_keep_an_archive_closed(root: Path, monkeypatch: pytest.MonkeyPatch):
    archive = archive_in(root).open()
    fill(archive)
    with monkeypatch.context() as patched:
        patched.setattr(removal, "_carry_out", lambda *_: Removed(0, 0, 0))
        remove(archive, FIRST)
    die(archive)

    def fail(*_: object) -> bool:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(removal, "_unlink", fail)
    with archive_in(root) as again:
        assert again.index.count()["instance"] == 4


# --- beside what comes ---


def test_a_file_that_is_going_is_no_duplicate(archive: Archive, root: Path, monkeypatch: pytest.MonkeyPatch):
    """Success without a write must not be answered for a file whose removal is decided."""
    with monkeypatch.context() as patched:
        patched.setattr(removal, "_carry_out", lambda *_: Removed(0, 0, 0))
        remove(archive, FIRST)
    assert put(archive, "1.2.1", study="1.3.1", series="1.4.1").outcome == "stored"
    archive.flush()
    assert rows(archive, "1.2.1") == ["1.3.1/1.4.1/1.2.1~2.dcm"]
    owner = os.path.basename(archive.slot().path)
    archive.index.write(lambda connection: connection.execute("UPDATE removal SET owner = 'dead'"))
    assert owner
    assert finish(archive) == 2
    assert rows(archive, "1.2.1") == ["1.3.1/1.4.1/1.2.1~2.dcm"]
    assert differences(archive) == []


@pytest.mark.parametrize("policy", ["keep", "replace", "reject", "keep-both"])
def test_an_object_stored_between_the_steps_survives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: str):
    """After the unlink and before the rows go, the same object is stored again."""
    with archive_in(tmp_path, on_duplicate=policy) as archive:
        fill(archive)
        leave = removal._leave_directories

        def store_again(archive: Archive, relatives: set[str]) -> None:
            leave(archive, relatives)
            assert put(archive, "1.2.1", study="1.3.1", series="1.4.1", pixels=b"another1").outcome == "stored"
            archive.flush()

        monkeypatch.setattr(removal, "_leave_directories", store_again)
        remove(archive, FIRST)
        assert rows(archive, "1.2.1") == ["1.3.1/1.4.1/1.2.1.dcm"]
        assert rows(archive, "1.2.3") == []
        assert differences(archive) == []


@pytest.mark.timeout(120)
def test_storing_and_removing_the_same_objects_at_once(tmp_path: Path):
    """Two archives on one directory, as of two processes: what was answered is there, or was removed after."""
    with archive_in(tmp_path) as storing, archive_in(tmp_path) as removing:
        ended = threading.Event()
        failures: list[BaseException] = []

        def keep_removing() -> None:
            try:
                while not ended.is_set():
                    remove(removing, ALL)
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=keep_removing)
        thread.start()
        for turn in range(60):
            stored = put(storing, f"1.2.{turn % 3}", study="1.3.1", series="1.4.1")
            assert stored.outcome in ("stored", "identical", "kept-both")
        ended.set()
        thread.join()
        assert failures == []
        storing.flush()
        assert differences(storing) == []
        put(storing, "1.2.7")
        storing.flush()
        assert len(rows(storing, "1.2.7")) == 1


def test_files_are_removed_by_their_paths(archive: Archive, root: Path, outside: Path) -> None:
    first, second, *others = visible(root)
    size = sum((root / path).stat().st_size for path in (first, second))
    assert remove_files(archive, [first, second, "no/such.dcm", "none.dcm"]) == Removed(2, 2, size)
    assert visible(root) == others
    assert outside.exists()
    assert differences(archive) == []
    assert remove_files(archive, [first]) == Removed(0, 0, 0)
