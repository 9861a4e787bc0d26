"""Where outputs go: complete or not at all, never over another, the same whatever the order."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from itertools import permutations
from pathlib import Path

import pytest

from dcmkit.deid.output import PRESENT, SHORT_NAMES, WRITTEN, Output, short_name
from dcmkit.errors import InputError, OutputDirectoryError, OutputError

PLACE = ("PAT", "1.2", "1.2.3", "1.2.3.4")


def files(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and not path.name.endswith(".lock")
    }


def test_names_are_pseudonyms(tmp_path: Path) -> None:
    written = Output(str(tmp_path)).write(PLACE, [b"one", memoryview(b"two")])
    assert (written.status, files(tmp_path)) == (WRITTEN, {"PAT/1.2/1.2.3/1.2.3.4.dcm": b"onetwo"})
    assert Output(str(tmp_path)).write(PLACE, [b"onetwo"]).status == PRESENT
    short = Output(str(tmp_path / "s"), names=SHORT_NAMES).write(PLACE, [b"x"]).path
    parts = Path(short).relative_to(tmp_path / "s").parts
    assert parts == tuple(short_name(part) for part in PLACE)
    assert all(len(part) == 8 and part.isalnum() and part.upper() == part for part in parts)


@pytest.mark.parametrize("part", ["..", "", "a/b", "é", "x" * 65, "a b", ".", "con\n"])
def test_no_name_leads_elsewhere(tmp_path: Path, part: str) -> None:
    Output(str(tmp_path / "out")).write((part, "1", "2", part), [b"x"])
    (name,) = files(tmp_path)
    assert len(Path(name).parts) == 5
    assert name.startswith("out/")


@pytest.mark.parametrize("names", ["uid", "short"])
def test_the_order_does_not_matter(tmp_path: Path, names: str) -> None:
    results = []
    for number, order in enumerate(permutations([b"first", b"second", b"third", b"first"])):
        directory = tmp_path / str(number)
        output = Output(str(directory), names=names)
        for content in order:
            output.write(PLACE, [content])
        results.append(files(directory))
    assert len(results[0]) == 3
    assert all(result == results[0] for result in results)


def test_a_single_file_is_never_replaced(tmp_path: Path) -> None:
    target = tmp_path / "out.dcm"
    output = Output(str(target), single=True)
    assert output.write(PLACE, [b"one"]).path == str(target)
    assert output.write(PLACE, [b"one"]).status == PRESENT
    with pytest.raises(OutputError, match="there already"):
        output.write(PLACE, [b"two"])
    with pytest.raises(InputError, match="own output"):
        output.write(PLACE, [b"two"], str(target))
    assert target.read_bytes() == b"one"


@pytest.mark.parametrize("unnamed", [True, False])
def test_nothing_is_left_of_what_fails(tmp_path: Path, unnamed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not unnamed:
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)

    def full(fd: int, pieces: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def broken() -> Iterator[bytes]:
        yield b"x" * (2 << 20)
        raise ValueError

    output = Output(str(tmp_path))
    with pytest.raises(ValueError):  # noqa: PT011 - our own
        output.write(PLACE, broken())
    monkeypatch.setattr(os, "writev", full)
    with pytest.raises(OutputError, match="No space left"):
        output.write(PLACE, [b"x"])
    assert files(tmp_path) == {}


def test_pieces_that_the_system_takes_in_part_are_written_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "writev", lambda fd, pieces: os.write(fd, b"".join(pieces)[:5]))
    pieces = [b"abc", b"defg", b"", b"hij"]
    assert Path(Output(str(tmp_path)).write(PLACE, pieces).path).read_bytes() == b"abcdefghij"


def test_what_a_check_objects_to_is_not_written(tmp_path: Path) -> None:
    seen = []

    def check(content: memoryview, forget: Callable[[], None]) -> None:
        forget()
        seen.append(bytes(content))
        raise OutputError("no")

    with pytest.raises(OutputError, match="no"):
        Output(str(tmp_path)).write(PLACE, [b"one", b"two"], check=check)
    assert (seen, files(tmp_path)) == ([b"onetwo"], {})


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputDirectoryError):
        Output(str(tmp_path / "file" / "out")).write(PLACE, [b"x"])
