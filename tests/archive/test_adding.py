"""Files indexed where they lie."""

from __future__ import annotations

import os
import socket
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from dcmkit.archive import adding
from dcmkit.archive.adding import Added, add, digest, fill, walk
from dcmkit.archive.index import Index
from dcmkit.archive.store import Archive
from dcmkit.errors import DcmkitError, InputError, OutputError
from dcmkit.uids import MEDIA_STORAGE_DIRECTORY_STORAGE
from tests.archive.objects import archive_in, part10, put, rows


class Report:
    """What `add` said."""

    def __init__(self) -> None:
        self.problems: dict[str, str] = {}
        self.files = self.size = 0

    def problem(self, path: str, error: DcmkitError) -> None:
        self.problems[os.path.basename(path)] = error.message

    def progress(self, files: int, size: int) -> None:
        self.files += files
        self.size += size


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "folder"
    for number in range(6):
        directory = made / f"s{number % 2}"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"{number}").write_bytes(part10(f"1.2.{number}", series=f"1.3.{number % 2}"))
    return made


def adding_to(archive: Archive, *paths: Path, **how: Any) -> tuple[Added, Report]:
    report = Report()
    added = add(archive, [str(path) for path in paths], problem=report.problem, progress=report.progress, **how)
    return added, report


def test_a_folder_is_indexed_and_not_changed(tmp_path: Path, folder: Path):
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with archive_in(tmp_path / "archive") as archive:
        added, report = adding_to(archive, folder)
        assert added == Added(6, 0, 0, sum(map(len, before.values())))
        assert (report.files, report.size) == (6, added.size)
        assert archive.index.count() == {"patient": 1, "study": 1, "series": 2, "instance": 6}
        assert rows(archive, "1.2.3") == [str(folder / "s1" / "3")]
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert os.listdir(tmp_path / "archive") == [".dcmkit"]


def test_what_is_known_is_passed_over_and_what_changed_is_read_again(tmp_path: Path, folder: Path):
    with archive_in(tmp_path / "archive") as archive:
        adding_to(archive, folder)
        assert adding_to(archive, folder)[0] == Added(0, 6, 0, 0)
        (folder / "s0" / "0").write_bytes(part10("1.2.0", instance=77, series="1.3.0"))
        assert adding_to(archive, folder)[0][:3] == (1, 5, 0)
        assert archive.index.count()["instance"] == 6


def test_an_interrupted_run_goes_on_where_it_was(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(adding, "_CHUNK", 1)
    monkeypatch.setattr(adding, "_BATCH", 1)
    with archive_in(tmp_path / "archive") as archive:
        seen = 0

        def interrupt(files: int, size: int) -> None:
            nonlocal seen
            seen += 1
            if seen == 3:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            add(archive, [str(folder)], progress=interrupt)
        assert adding_to(archive, folder)[0][:2] == (3, 3)


def test_single_files_and_files_inside_the_archive(tmp_path: Path, folder: Path):
    with archive_in(tmp_path / "archive") as archive:
        inside = tmp_path / "archive" / "mine" / "x.dcm"
        inside.parent.mkdir()
        inside.write_bytes(part10("1.9"))
        (tmp_path / "archive" / "top.dcm").write_bytes(part10("1.8"))
        added, _ = adding_to(archive, folder / "s0" / "0", tmp_path / "archive")
        assert added.added == 3
        assert rows(archive, "1.9") == ["mine/x.dcm"]
        assert rows(archive, "1.8") == ["top.dcm"]


def test_whatever_else_lies_there_is_told_and_the_rest_goes_on(tmp_path: Path, folder: Path):
    (folder / "README.txt").write_text("no DICOM")
    (folder / "empty").write_bytes(b"")
    (folder / "truncated").write_bytes(part10("1.7")[:-2])
    directory = MEDIA_STORAGE_DIRECTORY_STORAGE
    (folder / "DICOMDIR").write_bytes(part10("1.6", sop_class=directory))
    os.symlink(folder / "gone", folder / "broken-link")
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(folder / "socket"))
    server.close()
    with archive_in(tmp_path / "archive") as archive:
        added, report = adding_to(archive, folder, tmp_path / "none")
        assert added.added == 6
        assert added.failed == len(report.problems) == 6
        assert report.problems.keys() == {"README.txt", "empty", "truncated", "broken-link", "socket", "none"}
        assert "not a DICOM file" in report.problems["README.txt"]
        assert "truncated" in report.problems["truncated"]


def test_names_that_are_not_utf8(tmp_path: Path, folder: Path):
    name = os.fsencode(folder) + b"/caf\xe9"
    try:
        os.mkdir(name)
    except OSError:
        pytest.skip("the file system takes UTF-8 names only")
    for path in (name + b"/x", os.fsencode(folder) + b"/n\xe9"):
        with open(path, "wb") as file:
            file.write(part10("1.7"))
    with archive_in(tmp_path / "archive") as archive:
        added, report = adding_to(archive, folder)
        assert added[:3] == (6, 0, 2)
        assert set(report.problems.values()) == {"the directory's name is not UTF-8", "the file's name is not UTF-8"}


def test_a_file_that_vanishes_and_one_that_may_not_be_read(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    real = adding.read_record

    def read_record(path: str, *args: Any, **how: Any) -> Any:
        if path.endswith("3"):
            os.unlink(path)
        if path.endswith("4"):
            raise InputError("the file cannot be read: Permission denied")
        return real(path, *args, **how)

    monkeypatch.setattr(adding, "read_record", read_record)
    with archive_in(tmp_path / "archive") as archive:
        added, report = adding_to(archive, folder)
        assert added[:3] == (4, 0, 2)
        assert "No such file" in report.problems["3"]


def test_links_are_followed_and_loops_end(tmp_path: Path, folder: Path):
    os.symlink(folder, folder / "s0" / "loop")
    os.symlink(tmp_path / "elsewhere", folder / "link")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "x").write_bytes(part10("1.7"))
    visited = Counter(path for path, _ in walk([str(folder)], lambda *_: None))
    assert set(visited.values()) == {1}
    with archive_in(tmp_path / "archive") as archive:
        assert adding_to(archive, folder)[0].added == 7
        assert rows(archive, "1.7") == [str(tmp_path / "elsewhere" / "x")]


def test_archives_own_directories_are_left_out(tmp_path: Path):
    with archive_in(tmp_path / "one") as one:
        put(one, "1.2.3")
        (tmp_path / "one" / ".dcmkit" / "x").write_bytes(part10("1.7"))
        with archive_in(tmp_path / "two") as two:
            assert adding_to(two, tmp_path / "one")[0].added == 1


@pytest.mark.parametrize("jobs", [0, 2])
def test_several_processes_give_the_same(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, jobs: int):
    monkeypatch.setattr(adding, "_WORTH_PROCESSES", 2)
    monkeypatch.setattr(adding, "_CHUNK", 1)
    (folder / "bad").write_text("x")
    with archive_in(tmp_path / "archive") as archive:
        added, report = adding_to(archive, folder, jobs=jobs, digests=True)
        assert added[:3] == (6, 0, 1)
        assert report.files == 7
        assert report.problems == {"bad": "the file is not a DICOM file"}
        with archive.index.reading() as connection:
            assert all(len(value) == 64 for (value,) in connection.execute("SELECT digest FROM instance"))


def test_few_files_are_read_without_other_processes(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(adding.Adder, "_run_processes", None)
    with archive_in(tmp_path / "archive") as archive:
        assert adding_to(archive, folder, jobs=8)[0].added == 6


def test_an_index_that_cannot_be_written_ends_it(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: Any) -> None:
        raise OutputError("out of disk space")

    with archive_in(tmp_path / "archive") as archive:
        with monkeypatch.context() as broken:
            broken.setattr(Index, "insert", fail)
            with pytest.raises(OutputError, match="disk space"):
                adding_to(archive, folder)
        assert adding_to(archive, folder)[0].added == 6


def test_digests(tmp_path: Path):
    (tmp_path / "x").write_bytes(b"abc")
    assert digest(str(tmp_path / "x")) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    with pytest.raises(InputError):
        digest(str(tmp_path / "none"))


def test_filling_an_index(tmp_path: Path, folder: Path):
    with archive_in(tmp_path / "archive") as archive:
        put(archive, "1.9")
        new = Index(str(tmp_path / "new.sqlite"), "none")
        new.open()
        assert fill(archive, new, {str(folder / "s0"): {"0", "2", "none"}}).added == 3
        assert new.count()["instance"] == 3
        new.close()


def test_the_same_instance_in_two_places_is_indexed_twice(tmp_path: Path, folder: Path):
    (folder / "copy").write_bytes((folder / "s0" / "0").read_bytes())
    with archive_in(tmp_path / "archive") as archive:
        adding_to(archive, folder)
        assert len(rows(archive, "1.2.0")) == 2
