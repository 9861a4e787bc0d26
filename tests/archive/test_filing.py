"""Names and duplicates (`--on-duplicate`): nothing is ever overwritten unasked."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from dcmkit.archive import disk
from dcmkit.archive.store import Archive
from dcmkit.errors import DuplicateError
from tests.archive.objects import EXPLICIT, archive_in, arriving, image, part10, put, rows, visible

FIRST = "1.2.3.1/1.2.3.2/1.2.3.dcm"
SECOND = "1.2.3.1/1.2.3.2/1.2.3~2.dcm"
POLICIES = ("keep", "replace", "reject", "keep-both")


def pixels_of(directory: Path, name: str) -> bytes:
    return (directory / name).read_bytes()[-4:]


@pytest.mark.parametrize("durability", ["full", "none"])
@pytest.mark.parametrize("policy", POLICIES)
def test_the_same_again_is_success_without_a_write(tmp_path: Path, policy: str, durability: str):
    with archive_in(tmp_path, on_duplicate=policy, durability=durability) as archive:
        put(archive, source="ONE")
        before = (tmp_path / FIRST).stat()
        stored = put(archive, source="ANOTHER")
        assert (stored.outcome, stored.dimse_status, stored.message) == ("identical", 0, "")
        assert stored.path == str(tmp_path / FIRST)
        after = (tmp_path / FIRST).stat()
        assert (after.st_ino, after.st_mtime_ns, after.st_ctime_ns) == (
            before.st_ino,
            before.st_mtime_ns,
            before.st_ctime_ns,
        )
        assert rows(archive, "1.2.3") == [FIRST]
    assert arriving(tmp_path) == []


def duplicate(archive: Archive, **how: Any) -> Any:
    put(archive, pixels=b"1111")
    return put(archive, pixels=b"2222", **how)


@pytest.mark.parametrize("flushed", [True, False])
def test_keep_both(tmp_path: Path, flushed: bool):
    with archive_in(tmp_path) as archive:
        put(archive, pixels=b"1111")
        if flushed:
            archive.flush()
        stored = put(archive, pixels=b"2222")
        assert (stored.outcome, stored.dimse_status) == ("kept-both", 0)
        assert "kept-both" in stored.message
        assert put(archive, pixels=b"3333").outcome == "kept-both"
        assert put(archive, pixels=b"2222").outcome == "identical"
        assert put(archive, pixels=b"1111").outcome == "identical"
        assert rows(archive, "1.2.3") == [FIRST, SECOND, "1.2.3.1/1.2.3.2/1.2.3~3.dcm"]
        assert [pixels_of(tmp_path, name) for name in rows(archive, "1.2.3")] == [b"1111", b"2222", b"3333"]


def test_keep_the_first(tmp_path: Path):
    with archive_in(tmp_path, on_duplicate="keep") as archive:
        stored = duplicate(archive)
        assert (stored.outcome, stored.dimse_status) == ("kept", 0)
        assert stored.message
        assert visible(tmp_path) == rows(archive, "1.2.3") == [FIRST]
        assert pixels_of(tmp_path, FIRST) == b"1111"


def test_reject(tmp_path: Path):
    with archive_in(tmp_path, on_duplicate="reject") as archive:
        with pytest.raises(DuplicateError) as caught:
            duplicate(archive)
        assert caught.value.dimse_status == 0x0111
        assert visible(tmp_path) == [FIRST]
        assert pixels_of(tmp_path, FIRST) == b"1111"
    assert arriving(tmp_path) == []


def test_replace(tmp_path: Path):
    with archive_in(tmp_path, on_duplicate="replace") as archive:
        stored = duplicate(archive, instance=9)
        assert stored.outcome == "replaced"
        assert visible(tmp_path) == rows(archive, "1.2.3") == [FIRST]
        assert pixels_of(tmp_path, FIRST) == b"2222"
        with archive.index.reading() as connection:
            assert connection.execute("SELECT copy, InstanceNumber FROM instance").fetchall() == [(0, 9)]


def test_replace_by_one_of_another_series(tmp_path: Path):
    with archive_in(tmp_path, on_duplicate="replace") as archive:
        stored = duplicate(archive, series="1.9")
        assert stored.outcome == "replaced"
        assert visible(tmp_path) == rows(archive, "1.2.3") == ["1.2.3.1/1.9/1.2.3.dcm"]
        assert archive.index.count() == {"patient": 1, "study": 1, "series": 1, "instance": 1}


def test_the_same_instance_in_another_series_is_a_duplicate_too(tmp_path: Path):
    with archive_in(tmp_path) as archive:
        assert duplicate(archive, series="1.9").outcome == "kept-both"
        assert rows(archive, "1.2.3") == [FIRST, "1.2.3.1/1.9/1.2.3.dcm"]


def test_a_file_that_is_gone_is_stored_anew(tmp_path: Path):
    with archive_in(tmp_path, on_duplicate="reject") as archive:
        put(archive, pixels=b"1111")
        archive.flush()
        os.unlink(tmp_path / FIRST)
        assert put(archive, pixels=b"2222").outcome == "stored"
        assert rows(archive, "1.2.3") == [FIRST]


@pytest.mark.parametrize("durability", ["full", "none"])
def test_a_file_without_a_row_gets_one(tmp_path: Path, durability: str):
    """Its process was killed between name and row, or another process is just about to write the row."""
    with archive_in(tmp_path, durability=durability) as archive:
        (tmp_path / FIRST).parent.mkdir(parents=True)
        (tmp_path / FIRST).write_bytes(part10("1.2.3", image("1.2.3")))
        stored = put(archive)
        assert stored.outcome == "identical"
        assert rows(archive, "1.2.3") == visible(tmp_path) == [FIRST]


@pytest.mark.parametrize(
    ("policy", "outcome"), [("keep", "kept"), ("replace", "replaced"), ("keep-both", "kept-both"), ("reject", "")]
)
def test_another_file_without_a_row(tmp_path: Path, policy: str, outcome: str):
    with archive_in(tmp_path, on_duplicate=policy) as archive:
        (tmp_path / FIRST).parent.mkdir(parents=True)
        (tmp_path / FIRST).write_bytes(part10("1.2.3", image("1.2.3", pixels=b"1111")))
        if outcome:
            assert put(archive).outcome == outcome
        else:
            with pytest.raises(DuplicateError):
                put(archive)
        expected = {"replace": [FIRST], "keep-both": [SECOND]}.get(policy, [])
        assert rows(archive, "1.2.3") == expected


@pytest.mark.parametrize("what", ["text", "directory"])
def test_something_else_has_the_name(tmp_path: Path, what: str):
    with archive_in(tmp_path, on_duplicate="replace") as archive:
        if what == "directory":
            (tmp_path / FIRST).mkdir(parents=True)
        else:
            (tmp_path / FIRST).parent.mkdir(parents=True)
            (tmp_path / FIRST).write_text("my notes")
        stored = put(archive)
        assert stored.outcome == "stored"
        assert Path(stored.path).name.startswith("1.2.3~")
        assert (tmp_path / FIRST).exists()
        assert rows(archive, "1.2.3") == [os.path.relpath(stored.path, tmp_path).replace(os.sep, "/")]


def test_instances_to_which_the_layout_gives_the_same_path(tmp_path: Path):
    with archive_in(tmp_path, layout="{PatientID}.dcm", on_duplicate="replace") as archive:
        for number in range(20):
            assert put(archive, f"1.2.{number}").outcome == "stored"
        assert put(archive, "1.2.7").outcome == "identical"
        assert put(archive, "1.2.7", pixels=b"new!").outcome == "replaced"
        assert len(visible(tmp_path)) == 20
        assert sum(len(rows(archive, f"1.2.{number}")) for number in range(20)) == 20
        assert pixels_of(tmp_path, rows(archive, "1.2.7")[0]) == b"new!"


def test_copies_of_instances_to_which_the_layout_gives_the_same_path(tmp_path: Path):
    with archive_in(tmp_path, layout="{PatientID}.dcm") as archive:
        put(archive, "1.2.1")
        assert put(archive, "1.2.2", pixels=b"aaaa").outcome == "stored"
        assert put(archive, "1.2.2", pixels=b"bbbb").outcome == "kept-both"
        assert put(archive, "1.2.2", pixels=b"bbbb").outcome == "identical"
        assert len(rows(archive, "1.2.2")) == 2
        assert len(visible(tmp_path)) == 3


@pytest.mark.parametrize("syntax", [EXPLICIT])
def test_a_file_system_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, syntax: str):
    def link(*_: Any, **__: Any) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    with archive_in(tmp_path) as archive:
        assert put(archive, pixels=b"1111").outcome == "stored"
        assert put(archive, pixels=b"1111").outcome == "identical"
        assert put(archive, pixels=b"2222").outcome == "kept-both"
        assert len(visible(tmp_path)) == 2
    assert arriving(tmp_path) == []


def test_a_file_that_cannot_be_read_is_not_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with archive_in(tmp_path) as archive:
        put(archive, pixels=b"1111")
        archive.flush()
        real = disk.open_for_reading

        def unreadable(path: str) -> int:
            if "incoming" not in path:
                raise PermissionError(13, "Permission denied")
            return real(path)

        monkeypatch.setattr(disk, "open_for_reading", unreadable)
        with pytest.raises(Exception, match="permission"):
            put(archive, pixels=b"2222")
        assert pixels_of(tmp_path, FIRST) == b"1111"
        assert arriving(tmp_path) == []
