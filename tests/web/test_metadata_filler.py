"""What is read ahead, and what is forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dcmkit.archive.located import locate
from dcmkit.archive.store import Archive
from dcmkit.web.metadata import Metadata
from tests.archive.objects import archive_in, put


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with archive_in(tmp_path) as archive:
        put(archive, "1.1.1.1", study="1.1", series="1.1.1")
        archive.flush()
        yield archive


@pytest.fixture
def metadata(archive: Archive) -> Iterator[Metadata]:
    metadata = Metadata(archive, ahead=False)
    yield metadata
    metadata.close()


def kept(metadata: Metadata) -> list[str]:
    return [instance for _, _, instance in metadata._store.keys_after(("", "", ""), 100)]


def test_what_came_last_is_read_when_it_is_quiet(archive: Archive, metadata: Metadata) -> None:
    filler = metadata._filler
    assert not filler.step()  # it begins
    put(archive, "1.1.1.2", study="1.1", series="1.1.1")
    archive.flush()
    assert not filler.step()  # there was a change
    assert kept(metadata) == []
    assert filler.step()
    assert kept(metadata) == ["1.1.1.2"]
    assert not filler.step()


def test_what_was_asked_to_be_remembered(archive: Archive, metadata: Metadata) -> None:
    filler = metadata._filler
    filler.step()
    filler._asked = locate(archive, "1.1")
    assert filler.step()
    assert kept(metadata) == ["1.1.1.1"]


def test_one_process_reads_ahead(archive: Archive, metadata: Metadata) -> None:
    other = Metadata(archive, ahead=False)
    for one in (metadata, other):
        one._filler.step()
        one._filler.step()
    assert metadata._filler._fd >= 0 > other._filler._fd
    other.close()


def test_what_is_no_longer_in_the_index_is_forgotten(archive: Archive, metadata: Metadata) -> None:
    from dcmkit.web.metadata_store import Row

    metadata._store.write([Row("1.1", "1.1.1", name, 1, 1, b"{}") for name in ("1.1.1.1", "gone")])
    for _ in range(3):
        metadata._filler.step()
    assert kept(metadata) == ["1.1.1.1"]


def test_the_thread_begins_and_ends(archive: Archive) -> None:
    metadata = Metadata(archive)
    metadata.remember(locate(archive, "1.1"))
    assert metadata._filler._thread is not None
    metadata.close()
    metadata.close()
    assert metadata._filler._thread is None
