"""Where files go, and what is counted; the rest is tested with the command."""

from __future__ import annotations

from pathlib import Path

import pytest

from dcmkit.cli.conversion import Tally, Where, convert_files, planned, where_to
from dcmkit.errors import ExitCode, NoInputError, OutputDirectoryError, UsageError
from dcmkit.pixels.transcode import TranscodeOptions
from tests.pixels.test_transcode import made


def targets(tally: Tally, where: Where, *paths: Path) -> list[str]:
    jobs = planned([str(path) for path in paths], where, "", tally, recurse=True, pattern="")
    return [job.target for job in jobs]


def test_a_directory_that_is_there_takes_a_single_file(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    (tmp_path / "out").mkdir()
    tally = Tally("")
    assert targets(tally, Where(str(tmp_path / "out")), tmp_path / "a") == [str(tmp_path / "out" / "a")]
    assert targets(tally, Where(str(tmp_path / "new")), tmp_path / "a") == [str(tmp_path / "new")]
    assert targets(tally, Where(f"{tmp_path}/more/"), tmp_path / "a") == [f"{tmp_path}/more/a"]


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    (tmp_path / "file").touch()
    with pytest.raises(OutputDirectoryError):
        targets(Tally(""), Where(str(tmp_path / "file" / "x") + "/"), tmp_path / "a")


def test_files_made_meanwhile_are_no_input(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    made(tmp_path / "in" / "a", "8 bits")
    tally = Tally("")
    for _ in range(2):
        convert_files([str(tmp_path / "in")], Where(str(tmp_path / "in" / "out"), overwrite=True), "",
                      TranscodeOptions(jobs=2), tally)  # fmt: skip
    assert (tally.done, tally.failed, tally.exit_code()) == (3, 0, ExitCode.DONE)


def test_where_to() -> None:
    assert where_to(["x"], "", in_place=True, overwrite=False) == Where("", in_place=True)
    with pytest.raises(NoInputError):
        where_to([], "y", in_place=False, overwrite=False)
    with pytest.raises(UsageError):
        where_to(["x"], "", in_place=False, overwrite=False)
