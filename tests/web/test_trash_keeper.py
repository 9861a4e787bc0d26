"""The trash is emptied by the service of what has been there too long."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dcmkit.archive import trash
from dcmkit.archive.store import Archive
from dcmkit.errors import OutputError
from dcmkit.web import trash_keeper
from dcmkit.web.service import ServiceOptions, build
from dcmkit.web.trash_keeper import TrashKeeper
from tests.archive.objects import archive_in, put


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with archive_in(tmp_path / "archive") as made:
        for number in range(2):
            put(made, f"1.2.{number}", study=f"1.3.{number}")
        yield made


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> threading.Semaphore:
    """One more each time the trash has been looked at."""
    times = threading.Semaphore(0)
    look = TrashKeeper.look

    def watched(keeper: TrashKeeper) -> int:
        try:
            return look(keeper)
        finally:
            times.release()

    monkeypatch.setattr(TrashKeeper, "look", watched)
    return times


def age(archive: Archive, monkeypatch: pytest.MonkeyPatch, study: str) -> None:
    """What is deleted now was deleted long ago."""
    with monkeypatch.context() as patch:
        patch.setattr("dcmkit.archive.trash.time.gmtime", lambda: (2020, 1, 1, 0, 0, 0, 0, 1, 0))
        trash.delete(archive, study)


def test_at_the_start_and_every_day(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, looked: threading.Semaphore
) -> None:
    age(archive, monkeypatch, "1.3.0")
    monkeypatch.setattr(trash_keeper, "DAY", 0.01)
    keeper = TrashKeeper(archive, 3_000_000)
    assert looked.acquire(timeout=20)
    assert looked.acquire(timeout=20)
    keeper.close()
    assert not keeper._thread.is_alive()


def test_what_is_too_old_goes_and_the_rest_stays(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    age(archive, monkeypatch, "1.3.0")
    trash.delete(archive, "1.3.1")
    keeper = TrashKeeper(archive, 30)
    keeper.close()
    assert [one.study for one in trash.discarded(archive)] == ["1.3.1"]


def test_trouble_is_told_and_the_thread_goes_on(
    archive: Archive, monkeypatch: pytest.MonkeyPatch, looked: threading.Semaphore
) -> None:
    def failing(archive: Archive, older_than: float) -> int:
        raise OutputError("out of disk space")

    monkeypatch.setattr(trash_keeper, "purge", failing)
    monkeypatch.setattr(trash_keeper, "DAY", 0.01)
    keeper = TrashKeeper(archive, 30)
    assert all(looked.acquire(timeout=20) for _ in range(3))
    keeper.close()


def test_the_service_does_it(archive: Archive, monkeypatch: pytest.MonkeyPatch, looked: threading.Semaphore) -> None:
    age(archive, monkeypatch, "1.3.0")
    service = build(archive, archive, ServiceOptions(trash_keep=30))
    try:
        assert looked.acquire(timeout=20)
        assert trash.discarded(archive) == []
    finally:
        service.close()


def test_without_the_option_nothing_goes(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    age(archive, monkeypatch, "1.3.0")
    service = build(archive, archive, ServiceOptions())
    service.close()
    assert len(trash.discarded(archive)) == 1
