"""Quotas: which studies leave, and which stay."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from dcmkit.archive import quota, removal
from dcmkit.archive.index import Index
from dcmkit.archive.maintenance import check
from dcmkit.archive.quota import Quota, enforce
from dcmkit.archive.store import Archive
from dcmkit.errors import OutputError, UsageError
from dcmkit.settings import ArchiveSettings
from tests.archive.objects import archive_in, arriving, put, visible


def studies(archive: Archive) -> list[str]:
    archive.flush()
    with archive.index.reading() as connection:
        return [uid for (uid,) in connection.execute("SELECT StudyInstanceUID FROM study ORDER BY 1")]


def come(archive: Archive, study: int, number: int = 1, *, at: int | None = None, pixels: bytes = b"\1\2") -> None:
    """Store an object; `at`: as if it had come at that second."""
    put(archive, f"1.2.{study}.{number}", study=f"1.3.{study}", series=f"1.4.{study}", pixels=pixels)
    archive.flush()
    if at is not None:
        sql = "UPDATE usage SET received = ? WHERE study = (SELECT id FROM study WHERE StudyInstanceUID = ?)"
        archive.index.write(lambda connection: connection.execute(sql, (at, f"1.3.{study}")))


def test_limits_from_the_settings(tmp_path: Path):
    settings = ArchiveSettings(max_studies=3, max_size="2k", max_study_size="1g")
    assert Quota.of(settings) == Quota(3, 2048, 1 << 30)
    assert Archive(ArchiveSettings(output_directory=str(tmp_path))).quota == Quota()
    with pytest.raises(UsageError):
        Archive(ArchiveSettings(output_directory=str(tmp_path), max_size="much"))


def test_allows():
    assert Quota().allows(10**9, 10**18)
    assert Quota(2).allows(2, 10**18)
    assert not Quota(2).allows(3, 0)
    assert not Quota(0, 100).allows(1, 101)


def test_the_study_that_got_nothing_for_the_longest_time_leaves(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    with archive_in(tmp_path) as archive:
        for study, at in ((1, 300), (2, 100), (3, 200)):
            come(archive, study, at=at)
        assert enforce(archive, Quota(2)) == 1
        assert studies(archive) == ["1.3.1", "1.3.3"]
        assert enforce(archive, Quota(2)) == 0
        assert list(check(archive)) == []
        assert not (tmp_path / "1.3.2").exists()
    (line,) = [record.getMessage() for record in caplog.records if "quota" in record.getMessage()]
    assert "1.3.2" in line
    assert "1 instances" in line
    assert "Doe" not in line


def test_what_is_needed_elsewhere_stays(tmp_path: Path):
    with archive_in(tmp_path) as archive:
        for study in (1, 2, 3):
            come(archive, study, at=study)
        wanted = next(path for path in visible(tmp_path) if "1.3.1/" in path)
        archive.needed = lambda paths: wanted in paths
        assert enforce(archive, Quota(1)) == 2
        assert studies(archive) == ["1.3.1"]


def test_bytes_are_counted(tmp_path: Path):
    with archive_in(tmp_path) as archive:
        for study in range(3):
            come(archive, study, at=study, pixels=b"\0" * 10000)
        assert enforce(archive, Quota(0, 25000)) == 1
        assert studies(archive) == ["1.3.1", "1.3.2"]


def test_what_came_last_stays_even_when_it_is_too_much(tmp_path: Path):
    with archive_in(tmp_path) as archive:
        come(archive, 1, at=1, pixels=b"\0" * 10000)
        come(archive, 2, at=2)
        assert enforce(archive, Quota(0, 5000), "1.3.1") == 1
        assert studies(archive) == ["1.3.1"]
        assert enforce(archive, Quota(0, 5000), "1.3.1") == 0


def test_objects_without_a_study_leave_alone(tmp_path: Path):
    with archive_in(tmp_path) as archive:
        come(archive, 1, at=2)
        put(archive, "1.9", without=[0x0020000D, 0x0020000E])
        archive.flush()
        archive.index.write(lambda c: c.execute("UPDATE usage SET received = 1 WHERE received > 2"))
        assert studies(archive) == ["", "1.3.1"]
        assert enforce(archive, Quota(1)) == 1
        assert studies(archive) == ["1.3.1"]


def test_an_archive_keeps_its_quota_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(quota, "_INTERVAL", 0.01)
    with archive_in(tmp_path, max_studies=2) as archive:
        for study in range(5):
            come(archive, study, at=study)
            archive.keeper.settle()
            assert f"1.3.{study}" in studies(archive)
        assert studies(archive) == ["1.3.3", "1.3.4"]
        come(archive, 5)
        deadline = time.monotonic() + 20
        while len(studies(archive)) > 2 and time.monotonic() < deadline:
            threading.Event().wait(0.01)
        assert len(studies(archive)) == 2
    assert not [thread for thread in threading.enumerate() if thread.name == "dcmkit-quota"]
    assert len(visible(tmp_path)) == 2


def test_the_quota_holds_when_the_archive_is_closed(tmp_path: Path):
    with Archive(ArchiveSettings(output_directory=str(tmp_path), durability="none"), Quota(1)) as archive:
        for study in range(3):
            put(archive, f"1.2.{study}", study=f"1.3.{study}", series=f"1.4.{study}")
    assert visible(tmp_path) == ["1.3.2/1.4.2/1.2.2.dcm"]


def test_a_study_that_is_full_takes_no_more(tmp_path: Path):
    with archive_in(tmp_path, max_study_size="25k") as archive:
        for number in (1, 2):
            put(archive, f"1.2.{number}", pixels=b"\0" * 10000)
        with pytest.raises(OutputError, match="largest size") as caught:
            put(archive, "1.2.3", pixels=b"\0" * 10000)
        assert caught.value.dimse_status == 0xA700
        assert put(archive, "1.2.2", pixels=b"\0" * 10000).outcome == "identical"
        assert put(archive, "1.2.4", study="1.8", series="1.9", pixels=b"\0" * 10000).outcome == "stored"
        assert put(archive, "1.2.5").outcome == "stored"
        assert arriving(tmp_path) == []
    assert len(visible(tmp_path)) == 4


def test_room_made_by_others_is_seen(tmp_path: Path):
    with archive_in(tmp_path, max_study_size="15k") as archive, archive_in(tmp_path) as other:
        put(archive, "1.2.1", pixels=b"\0" * 10000)
        archive.flush()
        (number,) = [row[0] for row in other.index.write(lambda c: c.execute("SELECT id FROM study").fetchall())]
        removal.remove_study(other, number)
        assert put(archive, "1.2.2", pixels=b"\0" * 10000).outcome == "stored"


def test_two_processes_remove_no_more_than_one_would(tmp_path: Path):
    with archive_in(tmp_path) as archive, archive_in(tmp_path) as other:
        for study in range(12):
            come(archive, study, at=study)
        threads = [threading.Thread(target=enforce, args=(each, Quota(5))) for each in (archive, other)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(studies(archive)) == 5
        assert list(check(archive)) == []


def test_a_study_killed_in_the_middle_leaves_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    class Killed(BaseException):
        pass

    archive = archive_in(tmp_path).open()
    for number in range(5):
        come(archive, 1, number, at=1)
    come(archive, 2, at=2)
    unlink, calls = os.unlink, [0]

    def dying(path: str) -> None:
        calls[0] += 1
        if calls[0] == 3:
            raise Killed
        unlink(path)

    with monkeypatch.context() as patched:
        patched.setattr(os, "unlink", dying)
        patched.setattr(removal, "BATCH", 2)
        with pytest.raises(Killed):
            enforce(archive, Quota(1))
    assert archive._slot is not None
    archive._slot.leave()
    archive._slot = None
    archive.index.close()
    with archive_in(tmp_path) as again:
        assert studies(again) == ["1.3.2"]
        assert list(check(again)) == []


def test_a_disk_that_fails_is_logged_and_storing_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    def fail(archive: Archive, number: int) -> removal.Removed:
        raise OutputError("out of disk space", hint="a path")

    with archive_in(tmp_path, max_studies=1) as archive:
        come(archive, 1, at=1)
        monkeypatch.setattr(quota, "remove_study", fail)
        come(archive, 2)
        archive.keeper._try()
        assert "the quota is not kept: out of disk space" in caplog.text
        monkeypatch.undo()
    assert len(visible(tmp_path)) == 1
    assert Index(str(tmp_path / ".dcmkit" / "index.sqlite")).open() > 0
