"""What the archive asks of a file system."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from dcmkit.archive import disk


def test_a_name_is_given_to_one_only(tmp_path: Path):
    one, other, final = tmp_path / "one", tmp_path / "other", tmp_path / "final"
    one.write_bytes(b"1")
    other.write_bytes(b"2")
    disk.give_name(str(one), str(final))
    with pytest.raises(FileExistsError):
        disk.give_name(str(other), str(final))
    assert final.read_bytes() == b"1"
    assert not one.exists()
    assert other.exists()


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK])
def test_names_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int):
    def link(*_: object) -> None:
        raise OSError(number, "no")

    monkeypatch.setattr(os, "link", link)
    test_a_name_is_given_to_one_only(tmp_path)


def test_a_claim_without_hard_links_is_given_back_on_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise OSError(errno.EPERM, "no")

    (tmp_path / "one").write_bytes(b"1")
    monkeypatch.setattr(os, "link", fail)
    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no"):
        disk.give_name(str(tmp_path / "one"), str(tmp_path / "final"))
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def test_a_directory_that_is_missing(tmp_path: Path):
    (tmp_path / "one").write_bytes(b"1")
    with pytest.raises(FileNotFoundError):
        disk.give_name(str(tmp_path / "one"), str(tmp_path / "none" / "final"))


def test_new_files_are_new(tmp_path: Path):
    os.close(disk.create(str(tmp_path / "file")))
    with pytest.raises(FileExistsError):
        disk.create(str(tmp_path / "file"))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [(b"xxDATA", b"DATA", True), (b"xxDATA", b"DATB", False), (b"xxDATA", b"DATAA", False), (b"xx", b"", True)],
)
def test_comparing_data_sets(tmp_path: Path, one: bytes, other: bytes, same: bool):
    (tmp_path / "one").write_bytes(one)
    (tmp_path / "other").write_bytes(other)
    assert disk.same_data_set(str(tmp_path / "one"), 2, str(tmp_path / "other"), 0) is same


def test_comparing_in_several_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(disk, "_CHUNK", 100)
    content = bytes(range(256)) * 4
    (tmp_path / "one").write_bytes(content)
    (tmp_path / "other").write_bytes(content)
    assert disk.same_data_set(str(tmp_path / "one"), 0, str(tmp_path / "other"), 0)
    (tmp_path / "other").write_bytes(content[:-1] + b"!")
    assert not disk.same_data_set(str(tmp_path / "one"), 0, str(tmp_path / "other"), 0)


def test_messages_hold_no_path_and_fit_an_error_comment():
    for number in (*errno.errorcode, 99999):
        error = disk.output_error(OSError(number, os.strerror(number), "/secret"))
        assert "secret" not in error.message
        assert len(error.message) <= 64
        assert error.dimse_status == 0xA700
    assert "/secret" in disk.output_error(OSError(28, "x", "/secret")).hint


def test_directories_are_synced_and_removal_never_fails(tmp_path: Path):
    disk.sync_directory(str(tmp_path))
    disk.remove(str(tmp_path / "none"))
    disk.remove(str(tmp_path))


def test_writing_out_is_only_a_hint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    fd = disk.create(str(tmp_path / "a"))
    os.write(fd, b"abc")
    disk.begin_sync(fd)
    os.close(fd)
    disk.begin_sync(fd)
    monkeypatch.setattr(disk, "_ADVISE", None)
    disk.begin_sync(fd)
    assert (tmp_path / "a").read_bytes() == b"abc"
