"""dcmkit anonymize --check: rows, formats and exit codes."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dcmkit.cli.group import group
from dcmkit.errors import ExitCode
from tests.deid.test_directory import directory
from tests.deid.test_engine import file


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(group, ["anonymize", *map(str, args)])


def test_what_is_found_is_told_without_values(tmp_path: Path) -> None:
    path = file(tmp_path / "image")
    result = run("--check", path, "--format", "jsonl")
    assert result.exit_code == ExitCode.DIFFERENT
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert {"file": str(path), "path": "0010,0010", "keyword": "PatientName", "action": "Z", "rule": "basic"} in rows
    assert "Smith" not in result.output
    table = run("--check", path)
    assert table.stdout.splitlines()[0].split() == ["file", "path", "keyword", "action", "rule"]
    assert len(table.stdout.splitlines()) == len(rows) + 1
    assert json.loads(run("--check", path, "--format", "json").stdout) == rows
    assert len(list(csv.DictReader(io.StringIO(run("--check", path, "--format", "csv").stdout)))) == len(rows)
    assert "0008,0020" not in run("--check", path, "--retain-full-dates", "--format", "csv").stdout


@pytest.mark.parametrize("options", [[], ["--clean-descriptors", "--retain-modified-dates"]])
def test_outputs_of_the_same_profile_show_nothing(tmp_path: Path, options: list[str]) -> None:
    (tmp_path / "in").mkdir()
    file(tmp_path / "in" / "a")
    directory(tmp_path / "in" / "DICOMDIR")
    result = run(tmp_path / "in", "-o", tmp_path / "out", "--names", "short", *options)
    assert result.exit_code == ExitCode.DONE, result.output
    result = run("--check", tmp_path / "out", "--format", "json", *options)
    assert (result.exit_code, json.loads(result.stdout)) == (ExitCode.DONE, [])


def test_rules_and_identities_are_taken_into_account(tmp_path: Path) -> None:
    path = file(tmp_path / "image")
    (tmp_path / "rules.toml").write_text('[tags]\n"PatientName" = "keep"\n')
    result = run("--check", path, "--rules", tmp_path / "rules.toml", "--format", "csv")
    assert "0010,0010" not in result.stdout
    (tmp_path / "ids.csv").write_text("id_old,id_new,name_new\n12345,SUBJ-1,Nobody\n")
    known = ("--map", tmp_path / "ids.csv")
    assert run(path, "-o", tmp_path / "out.dcm", *known).exit_code == ExitCode.DONE
    assert run("--check", tmp_path / "out.dcm", *known).exit_code == ExitCode.DONE
    assert run("--check", tmp_path / "out.dcm").exit_code == ExitCode.DIFFERENT


def test_what_cannot_be_read_counts_as_failure(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("Smith" * 99)
    file(tmp_path / "image")
    result = run("--check", tmp_path)
    assert result.exit_code == ExitCode.PARTLY_DONE
    assert f"{tmp_path / 'text'}: " in result.stderr
    assert run("--check", tmp_path / "text").exit_code == ExitCode.NOTHING_DONE
    assert run("--check", tmp_path / "missing").exit_code == ExitCode.NOTHING_DONE


def test_wrong_use_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert run("--check").exit_code == ExitCode.NO_INPUT_FILES
    assert run("--check", tmp_path / "empty").exit_code == ExitCode.NO_INPUT_FILES
    result = run("--check", tmp_path, "-o", tmp_path / "out")
    assert result.exit_code == ExitCode.BAD_USAGE
    assert "writes nothing" in result.output
