"""From paths to files: order, loops, and what is no regular file."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from dcmkit.dataset.files import find_files


def found(*paths: Path, **how: object) -> tuple[list[str], list[str]]:
    """The names found, and the names of the problems."""
    problems: list[str] = []
    files = find_files(map(str, paths), lambda path, error: problems.append(Path(path).name), **how)  # type: ignore[arg-type]
    return [Path(path).name for path in files], problems


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("b", "a", "sub/d", "sub/deeper/e", "sub2/f"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path


def test_files_come_in_the_order_of_their_names(tree: Path) -> None:
    assert found(tree) == (["a", "b", "d", "e", "f"], [])
    assert found(tree, recurse=False) == (["a", "b"], [])
    assert found(tree / "b", tree / "a") == (["b", "a"], [])


def test_a_pattern_is_for_directories_only(tree: Path) -> None:
    assert found(tree / "b", tree / "sub", pattern="[d-e]") == (["b", "d", "e"], [])


def test_dicomdir_is_left_out_unless_named(tree: Path) -> None:
    (tree / "sub2" / "DICOMDIR").write_bytes(b"x")
    assert found(tree / "sub2") == (["f"], [])
    assert found(tree / "sub2" / "DICOMDIR") == (["DICOMDIR"], [])


def test_what_is_not_there_is_a_problem_and_the_rest_goes_on(tree: Path) -> None:
    assert found(tree / "gone", tree / "a") == (["a"], ["gone"])
    assert found(Path("a\0b"), tree / "a")[0] == ["a"]


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="no symbolic links here")
def test_directory_loops_end(tree: Path) -> None:
    (tree / "sub" / "up").symlink_to(tree)
    (tree / "dangling").symlink_to(tree / "gone")
    assert found(tree) == (["a", "b", "d", "e", "f"], ["dangling"])


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no sockets in the file system here")
def test_sockets_and_pipes_are_problems(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        os.mkfifo("pipe")
        assert found(tree, recurse=False) == (["a", "b"], ["pipe", "socket"])
        assert found(tree / "pipe") == ([], ["pipe"])


@pytest.mark.skipif(os.name != "posix", reason="names are text here")
def test_names_that_are_no_text(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")).write_bytes(b"x")
    names, problems = found(tmp_path)
    assert [os.fsencode(name) for name in names] == [b"caf\xe9"]
    assert problems == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_directories_without_permission_are_problems(tree: Path) -> None:
    (tree / "sub").chmod(0)
    try:
        assert found(tree) == (["a", "b", "f"], ["sub"])
    finally:
        (tree / "sub").chmod(0o700)


def test_nothing_is_entered_or_told_twice(tree: Path) -> None:
    assert found(tree, tree / "sub", tree) == (["a", "b", "d", "e", "f"], [])
    assert found(tree / "sub", tree) == (["d", "e", "a", "b", "f"], [])
    assert found(tree / "a", tree / "a") == (["a", "a"], [])  # named twice, meant twice


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="no symbolic links here")
def test_links_that_lead_to_themselves_are_problems(tree: Path) -> None:
    (tree / "ring").symlink_to(tree / "ring")
    (tree / "link").symlink_to(tree / "a")
    assert found(tree, recurse=False) == (["a", "b", "link"], ["ring"])
    assert found(tree / "ring") == ([], ["ring"])


def test_what_is_wrong_is_said_without_the_path(tmp_path: Path) -> None:
    said: list[tuple[str, str]] = []
    gone = str(tmp_path / "gone")
    assert list(find_files([gone, "a\0b"], lambda path, error: said.append((path, str(error))))) == []
    assert said[0] == (gone, "cannot be read: No such file or directory")
    assert said[1][1].startswith("cannot be read: ")


def test_what_vanishes_while_listing_is_a_problem(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.scandir

    def scandir(path: str) -> object:
        if path.endswith("sub"):
            raise FileNotFoundError(2, "No such file or directory")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert found(tree) == (["a", "b", "f"], ["sub"])


def test_dicomdir_is_found_where_it_is_asked_for(tree: Path) -> None:
    (tree / "sub2" / "DICOMDIR").write_bytes(b"x")
    assert found(tree / "sub2", directories=True) == (["DICOMDIR", "f"], [])
    assert found(tree / "sub2", directories=True, pattern="f*") == (["f"], [])
