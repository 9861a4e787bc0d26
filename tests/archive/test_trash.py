"""What is deleted and had back, killed anywhere."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dcmkit.archive import disk, removal, trash
from dcmkit.archive.adding import add
from dcmkit.archive.maintenance import check, rebuild
from dcmkit.archive.store import Archive
from dcmkit.archive.trash import (
    Discarded,
    NeededError,
    NotInTrashError,
    delete,
    discard,
    discarded,
    purge,
    restore,
)
from dcmkit.errors import OutputError
from tests.archive.objects import archive_in, image, part10, put, rows, visible
from tests.archive.test_removal import Killed, die, going


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "archive"


def fill(archive: Archive) -> None:
    for number in range(4):
        put(archive, f"1.2.{number}", study=f"1.3.{number % 2}", series=f"1.4.{number}")
    archive.flush()


@pytest.fixture
def archive(root: Path) -> Iterator[Archive]:
    with archive_in(root) as made:
        fill(made)
        yield made


def in_trash(root: Path) -> list[str]:
    return sorted(path.name for path in (root / ".dcmkit" / "trash").rglob("*.dcm"))


def only(archive: Archive) -> Discarded:
    (found,) = discarded(archive)
    return found


# --- there and back ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("durability", ["full", "file", "none"])
def test_a_study_goes_and_comes_back(root: Path, durability: str) -> None:
    with archive_in(root, durability=durability) as archive:
        fill(archive)
        before = {name: ((root / name).read_bytes(), (root / name).stat().st_mtime_ns) for name in visible(root)}
        done = delete(archive, "1.3.1", by="somebody")
        assert done is not None
        assert done[:2] == (2, 2)
        assert len(visible(root)) == 2
        assert rows(archive, "1.2.1") == []
        assert list(check(archive)) == []
        found = only(archive)
        assert found[2:] == ("1.3.1", "", "", "somebody", 2, done.size)
        assert restore(archive, found.identifier) == (2, [])
        after = {name: ((root / name).read_bytes(), (root / name).stat().st_mtime_ns) for name in visible(root)}
        assert after == before
        assert rows(archive, "1.2.1") == ["1.3.1/1.4.1/1.2.1.dcm"]
        assert list(check(archive)) == []
        assert discarded(archive) == []
        assert os.listdir(root / ".dcmkit" / "trash") == []


def test_a_series_and_an_instance(archive: Archive, root: Path) -> None:
    assert delete(archive, "1.3.1", "1.4.9") is None
    assert delete(archive, "1.3.0", "1.4.1", "1.2.1") is None
    assert delete(archive, "1.3.0", "1.4.0", "1.2.0") is not None
    assert delete(archive, "1.3.1", "1.4.3") is not None
    assert visible(root) == ["1.3.0/1.4.2/1.2.2.dcm", "1.3.1/1.4.1/1.2.1.dcm"]
    assert {(one.series, one.instance) for one in discarded(archive)} == {("1.4.0", "1.2.0"), ("1.4.3", "")}


def test_the_time_of_receipt_comes_back(archive: Archive) -> None:
    archive.index.write(lambda connection: connection.execute("UPDATE instance SET received = 12345"))
    delete(archive, "1.3.1")
    restore(archive, only(archive).identifier)
    with archive.index.reading() as connection:
        assert {row[0] for row in connection.execute("SELECT received FROM instance")} == {12345}


def test_without_trash(archive: Archive, root: Path) -> None:
    assert delete(archive, "1.3.1", trash=False) is not None
    assert len(visible(root)) == 2
    assert in_trash(root) == []
    assert discarded(archive) == []


def test_all_files_of_an_instance(root: Path) -> None:
    with archive_in(root, on_duplicate="keep-both") as archive:
        put(archive, "1.2.1")
        put(archive, "1.2.1", pixels=b"\5\6\7\x08")
        assert delete(archive, "1.2.3.1", "1.2.3.2", "1.2.1") == (2, 2, archive_size(root), 0)
        assert restore(archive, only(archive).identifier) == (2, [])
        assert len(rows(archive, "1.2.1")) == 2


def archive_size(root: Path) -> int:
    return sum(path.stat().st_size for path in (root / ".dcmkit" / "trash").rglob("*.dcm"))


def test_what_is_indexed_in_place_stays(archive: Archive, tmp_path: Path) -> None:
    outside = tmp_path / "outside.dcm"
    outside.write_bytes(part10("1.9", study="1.3.9", series="1.4.9"))
    add(archive, [str(outside)])
    delete(archive, "1.3.9")
    assert outside.exists()
    assert rows(archive, "1.9") == []
    assert restore(archive, only(archive).identifier) == (1, [])
    assert rows(archive, "1.9") == [str(outside)]


def test_what_waits_to_be_delivered_stays(archive: Archive, root: Path) -> None:
    archive.needed = lambda paths: "1.3.1/1.4.3/1.2.3.dcm" in paths
    with pytest.raises(NeededError) as needed:
        delete(archive, "1.3.1")
    assert needed.value.http_status == 409
    assert len(visible(root)) == 4
    assert delete(archive, "1.3.1", "1.4.1") is not None


def test_a_changed_file_stays(archive: Archive, root: Path) -> None:
    path = root / "1.3.1/1.4.1/1.2.1.dcm"
    path.write_bytes(path.read_bytes() + b"\0\0")
    done = delete(archive, "1.3.1", "1.4.1")
    assert done is not None
    assert done.kept == 1
    assert path.exists()
    assert discarded(archive) == []
    assert os.listdir(root / ".dcmkit" / "trash") == []


# --- what has come meanwhile ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["reject", "replace", "keep", "keep-both"])
def test_what_came_meanwhile_is_not_replaced(root: Path, policy: str) -> None:
    with archive_in(root, on_duplicate=policy) as archive:
        put(archive, "1.2.1")
        put(archive, "1.2.2", instance=2)
        delete(archive, "1.2.3.1")
        put(archive, "1.2.1", pixels=b"\5\6\7\x08")
        put(archive, "1.2.2", instance=2)
        path = root / rows(archive, "1.2.1")[0]
        newer = path.read_bytes()
        done = restore(archive, only(archive).identifier)
        assert path.read_bytes() == newer
        assert done.instances == (2 if policy == "keep-both" else 1)
        assert len(done.left) == 2 - done.instances
        assert in_trash(root) == ([] if policy == "keep-both" else ["1.dcm"])
        assert list(check(archive)) == []


def test_a_damaged_file_is_left(archive: Archive, root: Path) -> None:
    delete(archive, "1.3.1")
    (root / ".dcmkit" / "trash" / only(archive).identifier / "2.dcm").write_bytes(b"")
    done = restore(archive, only(archive).identifier)
    assert done.instances == 1
    assert len(done.left) == 1


def test_without_its_manifest(archive: Archive, root: Path) -> None:
    delete(archive, "1.3.1")
    folder = root / ".dcmkit" / "trash" / only(archive).identifier
    for content in (b"[1]", b"{", b'{"files": [1, {"file": [], "path": 5}]}'):
        (folder / trash.MANIFEST).write_bytes(content)
        if content.endswith(b"}"):
            (folder / trash.MANIFEST).unlink()
        assert only(archive).instances == 2
    assert restore(archive, folder.name).instances == 2


# --- emptying ------------------------------------------------------------------------------------------------------


def test_for_good(archive: Archive, root: Path) -> None:
    delete(archive, "1.3.1")
    delete(archive, "1.3.0")
    discard(archive, discarded(archive)[0].identifier)
    assert len(in_trash(root)) == 2
    assert purge(archive, 3600) == 0
    assert purge(archive) == 1
    assert in_trash(root) == []
    assert purge(archive) == 0


def test_half_purged(archive: Archive, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    delete(archive, "1.3.1")
    identifier = only(archive).identifier
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", lambda *_: (_ for _ in ()).throw(OSError(errno.EACCES, "no")))
        with pytest.raises(OutputError):
            discard(archive, identifier)
    assert discarded(archive) == []
    with pytest.raises(NotInTrashError):
        restore(archive, identifier)
    purge(archive)
    assert in_trash(root) == []


@pytest.mark.parametrize("identifier", ["", ".", "..", "../..", "20240101T000000Z-00000000", "a/b", "x\0", "1" * 5000])
def test_what_is_not_in_the_trash(archive: Archive, identifier: str) -> None:
    with pytest.raises(NotInTrashError):
        restore(archive, identifier)
    with pytest.raises(NotInTrashError):
        discard(archive, identifier)


# --- killed --------------------------------------------------------------------------------------------------------


def everything(root: Path) -> list[str]:
    """The SOP Instances that are in the archive or in the trash, wherever, once each."""
    from dcmkit.dataset.part10 import read_file_header

    files = [path for path in root.rglob("*.dcm") if path.is_file()]
    return sorted(read_file_header(path).sop_instance_uid for path in files)


WHOLE = ["1.2.0", "1.2.1", "1.2.2", "1.2.3"]


@pytest.mark.parametrize("at", ["_move 0", "_move 1", "_leave_directories 0", "remove_batch 0", "write 1"])
def test_killed_while_deleting(root: Path, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    archive = archive_in(root).open()
    fill(archive)
    name, count = at.split()
    calls: list[Any] = []
    where: Any = {"remove_batch": trash, "write": archive.index}.get(name, removal)
    real = getattr(where, name)

    def kill(*args: Any, **more: Any) -> Any:
        calls.append(args)
        if len(calls) > int(count):
            raise Killed
        return real(*args, **more)

    with monkeypatch.context() as patched:
        patched.setattr(where, name, kill)
        with pytest.raises(Killed):
            delete(archive, "1.3.1")
    assert everything(root) == WHOLE
    die(archive)
    with archive_in(root) as again:
        assert everything(root) == WHOLE
        assert going(again) == 0
        assert list(check(again)) == []
        if name == "remove_batch":  # nothing was written down yet
            assert discarded(again) == []
            assert len(visible(root)) == 4
            assert purge(again) == 1
        else:
            assert len(visible(root)) == 2
            assert restore(again, only(again).identifier) == (2, [])
        assert visible(root) == [f"1.3.{n % 2}/1.4.{n}/1.2.{n}.dcm" for n in (0, 2, 1, 3)]
        assert list(check(again)) == []


@pytest.mark.parametrize("at", ["unlink 0", "unlink 1"])
def test_killed_while_restoring(root: Path, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    archive = archive_in(root).open()
    fill(archive)
    delete(archive, "1.3.1")
    calls: list[str] = []
    real = os.unlink

    def kill(path: Any, *args: Any, **more: Any) -> None:
        if "trash" in str(path):
            calls.append(path)
            if len(calls) > int(at.split()[1]):
                raise Killed
        real(path, *args, **more)

    with monkeypatch.context() as patched:
        patched.setattr(os, "unlink", kill)
        with pytest.raises(Killed):
            restore(archive, only(archive).identifier)
    die(archive)
    with archive_in(root) as again:
        assert sorted(set(everything(root))) == WHOLE
        assert restore(again, only(again).identifier).left == []
        assert everything(root) == WHOLE
        assert list(check(again)) == []


def test_nothing_in_the_trash_is_indexed(root: Path) -> None:
    with archive_in(root) as archive:
        fill(archive)
        delete(archive, "1.3.1")
        rebuild(archive)
        assert rows(archive, "1.2.1") == []
    (root / ".dcmkit" / "index.sqlite").unlink()
    with archive_in(root) as archive:
        assert rows(archive, "1.2.1") == []
        assert rows(archive, "1.2.0") != []
        add(archive, [str(root)])
        assert rows(archive, "1.2.1") == []
        assert len(in_trash(root)) == 2


def test_over_file_systems(archive: Archive, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.replace

    def replace(source: Any, target: Any) -> None:
        if str(source).startswith(str(root / "1.3")):
            raise OSError(errno.EXDEV, "another file system")
        real(source, target)

    before = (root / "1.3.1/1.4.1/1.2.1.dcm").stat()
    monkeypatch.setattr(os, "replace", replace)
    delete(archive, "1.3.1")
    assert everything(root) == WHOLE
    assert restore(archive, only(archive).identifier) == (2, [])
    after = (root / "1.3.1/1.4.1/1.2.1.dcm").stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def test_without_hard_links(archive: Archive, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def link(*_: Any, **__: Any) -> None:
        raise OSError(errno.EPERM, "no hard links here")

    delete(archive, "1.3.1")
    monkeypatch.setattr(os, "link", link)
    assert restore(archive, only(archive).identifier) == (2, [])
    assert everything(root) == WHOLE


def test_a_full_disk(archive: Archive, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def create(path: str) -> int:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patched:
        patched.setattr(disk, "create", create)
        with pytest.raises(OutputError, match="out of disk space"):
            delete(archive, "1.3.1")
    assert len(visible(root)) == 4
    assert discarded(archive) == []


def test_the_manifest_says_what_there_was(archive: Archive, root: Path) -> None:
    delete(archive, "1.3.1", "1.4.1", by="me")
    found = json.loads((root / ".dcmkit" / "trash" / only(archive).identifier / trash.MANIFEST).read_bytes())
    assert found["files"][0]["path"] == "1.3.1/1.4.1/1.2.1.dcm"
    assert found["by"] == "me"
    assert "Doe" not in json.dumps(found)
    assert len(image("1.2.1")) > 0
