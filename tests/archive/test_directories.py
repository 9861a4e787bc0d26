"""The directories of an archive."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dcmkit.archive import disk
from dcmkit.archive.directories import OWN, Directories, list_directory
from dcmkit.errors import OutputError


def test_made_when_missing(tmp_path: Path):
    directories = Directories(str(tmp_path))
    assert directories.prepare("a/b") == os.path.join(directories.root, "a/b")
    assert (tmp_path / "a" / "b").is_dir()
    assert directories.prepare("") == directories.root


def test_absolute_paths_are_those_of_files_indexed_in_place(tmp_path: Path):
    directories = Directories(str(tmp_path))
    assert directories.absolute("/elsewhere") == "/elsewhere"
    assert directories.absolute("a") == os.path.join(directories.root, "a")


def test_a_link_within_the_archive_is_followed_and_one_out_of_it_is_not(tmp_path: Path):
    root = tmp_path / "root"
    (root / "real").mkdir(parents=True)
    (tmp_path / "rootless").mkdir()
    os.symlink(root / "real", root / "inside")
    os.symlink(tmp_path / "rootless", root / "outside")  # begins with the archive's own name
    directories = Directories(str(root))
    directories.prepare("inside/x")
    assert (root / "real" / "x").is_dir()
    for path in ("outside", "outside/x", "../elsewhere"):
        with pytest.raises(OutputError, match="leads out"):
            directories.prepare(path)
    assert list((tmp_path / "rootless").iterdir()) == []
    assert not (tmp_path / "elsewhere").exists()


def test_a_file_in_the_way(tmp_path: Path):
    (tmp_path / "a").write_text("x")
    with pytest.raises(OutputError, match="a file stands"):
        Directories(str(tmp_path)).prepare("a/b")


def test_each_name_on_the_way_up_is_synced_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    synced: list[str] = []
    monkeypatch.setattr(disk, "sync_directory", synced.append)
    directories = Directories(str(tmp_path))
    for path in ("a/b", "a/c"):
        directories.prepare(path)
    directories.sync(["a/b"])
    assert synced == [directories.absolute(path) for path in ("a/b", "a", "")]
    synced.clear()
    directories.sync(["a/b"])
    assert synced == [directories.absolute("a/b")]
    synced.clear()
    directories.forget("a/b")
    directories.prepare("a/b")
    directories.sync(["a/b", "a/c"])
    assert sorted(synced) == sorted(directories.absolute(path) for path in ("a/b", "a", "", "a/c"))


def test_a_failed_sync_is_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    directories = Directories(str(tmp_path))
    directories.prepare("a/b")

    def fail(path: str) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr(disk, "sync_directory", fail)
        with pytest.raises(OSError, match="Input"):
            directories.sync(["a/b"])
    synced: list[str] = []
    monkeypatch.setattr(disk, "sync_directory", synced.append)
    directories.sync(["a/b"])
    assert len(synced) == 3


def test_the_cache_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("dcmkit.archive.directories._CACHE_LIMIT", 10)
    directories = Directories(str(tmp_path))
    for number in range(50):
        directories.prepare(str(number))
    assert len(directories._durable) <= 10


def test_listing(tmp_path: Path):
    (tmp_path / "sub").mkdir()
    (tmp_path / OWN).mkdir()
    (tmp_path / "file").write_text("x")
    os.symlink(tmp_path / "file", tmp_path / "link")
    files, below = list_directory(str(tmp_path), "")
    assert list(files) == ["file"]
    assert below == ["sub"]
    assert list_directory(str(tmp_path), "up")[1] == [f"up/{name}" for name in below] + [f"up/{OWN}"] or set(
        list_directory(str(tmp_path), "up")[1]
    ) == {"up/sub", f"up/{OWN}"}
    assert list_directory(str(tmp_path / "none"), "") == ({}, [])
