"""dcmkit transcode: what goes where, what is said, and what is returned."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dcmkit.cli.group import group
from dcmkit.dataset.part10 import read_file_header
from dcmkit.errors import ExitCode
from dcmkit.pixels.plan import named
from tests.pixels.test_transcode import made, same, sample


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(group, ["transcode", *map(str, args)])


def syntax(path: Path) -> str:
    return read_file_header(path).transfer_syntax_uid


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Three images in two directories, and what is none."""
    directory = tmp_path / "study"
    (directory / "one").mkdir(parents=True)
    (directory / "two").mkdir()
    made(directory / "one" / "a", "12 bits")
    made(directory / "one" / "b", "rgb", 12)
    made(directory / "two" / "a", "8 bits")
    return directory


def test_one_file(tmp_path: Path, study: Path) -> None:
    result = run(study / "one" / "a", "-o", tmp_path / "out.dcm", "--to", "jpegls")
    assert (result.exit_code, result.output) == (ExitCode.DONE, "")
    assert syntax(tmp_path / "out.dcm") == named("jpegls")
    assert same(study / "one" / "a", tmp_path / "out.dcm")


@pytest.mark.parametrize("jobs", ["1", "3"])
def test_a_folder_keeps_its_structure(tmp_path: Path, study: Path, jobs: str) -> None:
    result = run(study, "-o", tmp_path / "out", "--to", "RLELossless", "--jobs", jobs)
    assert result.exit_code == ExitCode.DONE
    for name in ("one/a", "one/b", "two/a"):
        assert syntax(tmp_path / "out" / name) == named("rle")
        assert same(study / name, tmp_path / "out" / name)


def test_what_is_bad_stops_nothing(tmp_path: Path, study: Path) -> None:
    (study / "one" / "bad").write_text("no image")
    (study / "two" / "cut").write_bytes((study / "two" / "a").read_bytes()[:-100])
    report = tmp_path / "report.jsonl"
    result = run(study, "-o", tmp_path / "out", "--to", "rle", "--report", report)
    assert result.exit_code == ExitCode.PARTLY_DONE
    assert len(result.stderr.splitlines()) == 2
    rows = {Path(row["file"]).name: row for row in map(json.loads, report.read_text().splitlines())}
    assert {name: row["status"] for name, row in rows.items()} == {
        "a": "done", "b": "done", "bad": "failed", "cut": "failed",
    }  # fmt: skip
    assert (rows["b"]["action"], rows["b"]["frames"], rows["b"]["lossy"]) == ("encode", 12, False)
    assert not (tmp_path / "out" / "one" / "bad").exists()


def test_where_all_fails_nothing_was_done(tmp_path: Path) -> None:
    (tmp_path / "bad").write_text("no image")
    assert run(tmp_path / "bad", "-o", tmp_path / "out", "--to", "rle").exit_code == ExitCode.NOTHING_DONE
    assert run(tmp_path / "gone", "-o", tmp_path / "out", "--to", "rle").exit_code == ExitCode.NOTHING_DONE
    assert not (tmp_path / "out").exists()


def test_nothing_is_overwritten_unasked(tmp_path: Path, study: Path) -> None:
    target = tmp_path / "out.dcm"
    target.write_text("mine")
    result = run(study / "one" / "a", "-o", target, "--to", "rle")
    assert result.exit_code == ExitCode.NOTHING_DONE
    assert "--overwrite" in result.stderr
    assert target.read_text() == "mine"
    assert run(study / "one" / "a", "-o", target, "--to", "rle", "--overwrite").exit_code == ExitCode.DONE
    assert syntax(target) == named("rle")


def test_an_input_is_replaced_only_in_place(study: Path) -> None:
    file = study / "one" / "a"
    result = run(file, "-o", file, "--to", "rle", "--overwrite")
    assert result.exit_code == ExitCode.NOTHING_DONE
    assert "--in-place" in result.stderr
    assert run(study, "-o", study, "--to", "rle", "--overwrite").exit_code == ExitCode.NOTHING_DONE
    assert run(study, "--in-place", "--to", "rle").exit_code == ExitCode.DONE
    assert {syntax(path) for path in study.glob("*/*")} == {named("rle")}
    assert len(list(study.glob("*/*"))) == 3


def test_two_files_do_not_become_one(tmp_path: Path, study: Path) -> None:
    result = run(study / "one" / "a", study / "two" / "a", "-o", tmp_path / "out", "--to", "rle")
    assert result.exit_code == ExitCode.PARTLY_DONE
    assert "another file was converted to" in result.stderr
    assert same(study / "one" / "a", tmp_path / "out" / "a")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["x", "-o", "y"], "--to is missing"),
        (["x", "--to", "rle"], "--output is missing"),
        (["x", "--to", "gif", "-o", "y"], "is no transfer syntax"),
        (["x", "--to", "rle", "-o", "y", "--in-place"], "exclude each other"),
        (["x", "--to", "rle", "-o", "y", "--quality", "0"], "0 is not in the range"),
        (["x", "--to", "rle", "-o", "y", "+fs", "1x"], "not a number of bytes"),
        (["x", "--to", "rle", "-o", "y", "+xx"], "no such option"),
    ],
)
def test_what_makes_no_sense(args: list[str], message: str) -> None:
    result = run(*args)
    assert result.exit_code == ExitCode.BAD_USAGE
    assert message in result.stderr


def test_nothing_to_do(tmp_path: Path) -> None:
    assert run("-o", "x", "--to", "rle").exit_code == ExitCode.NO_INPUT_FILES
    (tmp_path / "empty").mkdir()
    assert run(tmp_path / "empty", "-o", tmp_path / "x", "--to", "rle").exit_code == ExitCode.NO_INPUT_FILES


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["+te"], "explicit"), (["+ti"], "implicit"), (["+tb"], "big-endian"), (["+td"], "deflated"),
        (["+e1"], "jpeg-lossless"), (["+el"], "jpeg-lossless-14"), (["+ee"], "jpeg-extended"), (["+en"], "jpegls-near"),
        (["--rle"], "rle"), (["--j2k"], "j2k"), (["--jpegls", "--lossy"], "jpegls-near"), (["--raw"], "explicit"),
        (["+te", "+ti"], "implicit"), (["--rle", "--to", "j2k"], "j2k"), (["--to", "j2k", "--rle"], "rle"),
        (["--to", "same"], "explicit"), (["--j2k", "--lossy"], "j2k-lossy"),
    ],
)  # fmt: skip
def test_other_ways_to_say_it(tmp_path: Path, study: Path, args: list[str], expected: str) -> None:
    assert run(study / "one" / "a", "-o", tmp_path / "out", *args).exit_code == ExitCode.DONE
    assert syntax(tmp_path / "out") == named(expected)


def test_a_quality_that_is_asked_for_is_made(tmp_path: Path, study: Path) -> None:
    file = study / "one" / "a"
    run(file, "-o", tmp_path / "j2k", "--to", "j2k")
    run(tmp_path / "j2k", "-o", tmp_path / "kept", "--to", "j2k-lossy")
    run(tmp_path / "j2k", "-o", tmp_path / "small", "--to", "j2k-lossy", "--quality", "20")
    assert same(file, tmp_path / "kept")
    assert not same(file, tmp_path / "small")
    assert os.path.getsize(tmp_path / "small") < os.path.getsize(tmp_path / "kept")


def test_writing_options(tmp_path: Path, study: Path) -> None:
    file = study / "one" / "b"
    assert run(file, "-o", tmp_path / "e", "--to", "rle", "--offset-table", "extended").exit_code == ExitCode.DONE
    assert b"\xe0\x7f\x01\x00OV" in (tmp_path / "e").read_bytes()
    assert run(file, "-o", tmp_path / "f", "--to", "rle", "+fs", "1", "-ot").exit_code == ExitCode.DONE
    assert same(file, tmp_path / "e")
    assert same(file, tmp_path / "f")


def test_list() -> None:
    result = run("--list", "--format", "jsonl")
    rows = {row["name"]: row for row in map(json.loads, result.stdout.splitlines()) if row["name"]}
    assert "imagecodecs" in rows["jpegls"]["decodes"]
    assert rows["htj2k"]["uid"] == named("htj2k")
    assert result.exit_code == ExitCode.DONE


def test_as_a_tool_of_dcmtk(tmp_path: Path, study: Path) -> None:
    out = tmp_path / "out"
    out.write_text("is replaced, as DCMTK does")
    assert run("--as", "dcmcjpls", study / "one" / "a", out).exit_code == ExitCode.DONE
    assert syntax(out) == named("jpegls")
    result = run("--as", "dcmcjpls", "+zz", study / "one" / "a", out)
    assert (result.exit_code, "no such option" in result.stderr) == (ExitCode.BAD_USAGE, True)


@pytest.mark.parametrize("called", [["dcmkit", "dcmdrle"], ["dcmdrle"]])
def test_called_by_the_name_of_a_tool(tmp_path: Path, called: list[str]) -> None:
    program = "import sys; from dcmkit.cli import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", program, *called, str(sample("MR_small_RLE.dcm")), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert syntax(tmp_path / "out") == named("explicit")


def test_pydicom_is_not_imported(tmp_path: Path) -> None:
    """Importing it takes longer than all the rest."""
    program = (
        "import sys; from dcmkit.cli.group import group\n"
        "code = group.main(sys.argv[1:], 'dcmkit', standalone_mode=False)\n"
        "assert not code, code; assert 'pydicom' not in sys.modules"
    )
    for target in ("implicit", "rle"):
        args = ["transcode", str(sample("CT_small.dcm")), "-o", str(tmp_path / target), "--to", target]
        done = subprocess.run([sys.executable, "-c", program, *args], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")
