"""dcmkit anonymize: what goes where, what is said, and what is returned."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dcmkit.cli.group import group
from dcmkit.dataset.elements import Element
from dcmkit.deid import keys
from dcmkit.deid.pseudonyms import Pseudonyms
from dcmkit.errors import ExitCode
from tests.deid.test_directory import directory
from tests.deid.test_engine import IMAGE, file
from tests.deid.test_output import files


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(group, ["anonymize", *map(str, args)])


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Two images, an ultrasound image, and what is none."""
    directory = tmp_path / "study"
    directory.mkdir()
    file(directory / "a")
    file(directory / "b", {**IMAGE, 0x00080018: Element("UI", "1.2.3.5")})
    file(directory / "us", {**IMAGE, 0x00080060: Element("CS", "US")})
    (directory / "text").write_text("Smith")
    return directory


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    assert run("keygen", path).exit_code == ExitCode.DONE
    return path


def test_a_folder(tmp_path: Path, study: Path, key: Path) -> None:
    result = run(study, "-o", tmp_path / "out", "--key", key, "--report", tmp_path / "report.json")
    assert result.exit_code == ExitCode.PARTLY_DONE
    assert len(files(tmp_path / "out")) == 2
    assert "us: not written: ultrasound" in result.output
    assert "text: not written: it cannot be read" in result.output
    report = json.loads((tmp_path / "report.json").read_text())
    assert stat.S_IMODE((tmp_path / "report.json").stat().st_mode) == 0o600
    assert (report["edition"], report["profile"], report["verified"]) == ("2026d", ["basic"], True)
    assert report["totals"] == {"written": 2, "present": 0, "quarantined": 2, "failed": 0}
    row = next(row for row in report["files"] if row["source"].endswith("/a"))
    assert row["status"] == "written"
    assert Path(row["output"]).is_file()
    assert {"path": "0010,0010", "action": "Z", "rule": "basic"} in row["actions"]
    again = run(study, "-o", tmp_path / "out", "--key", key, "--report", tmp_path / "report.txt")
    assert again.exit_code == ExitCode.PARTLY_DONE
    text = (tmp_path / "report.txt").read_text()
    assert "0 written, 2 present, 2 quarantined, 0 failed" in text
    assert "  0010,0010 Z (basic)" in text


def test_a_file(tmp_path: Path, study: Path, key: Path) -> None:
    result = run(study / "a", "-o", tmp_path / "out.dcm", "--key", key)
    assert (result.exit_code, result.output) == (ExitCode.DONE, "")
    assert b"Smith" not in (tmp_path / "out.dcm").read_bytes()
    assert run(study / "b", "-o", tmp_path / "out.dcm", "--key", key).exit_code == ExitCode.NOTHING_DONE
    assert run(study / "a", "-o", study / "a").exit_code == ExitCode.NOTHING_DONE
    assert b"Smith" in (study / "a").read_bytes()


def test_without_a_key_nothing_is_added_to_what_is_there(tmp_path: Path, study: Path) -> None:
    assert run(study / "a", study / "b", "-o", tmp_path / "out").exit_code == ExitCode.DONE
    result = run(study, "-o", tmp_path / "out")
    assert result.exit_code == ExitCode.BAD_USAGE
    assert "--key" in result.output
    assert len(files(tmp_path / "out")) == 2


def test_identities_that_are_given_and_what_became_what(tmp_path: Path, study: Path, key: Path) -> None:
    (tmp_path / "ids.csv").write_text("id_old,id_new\n12345,SUBJ-1\n")
    result = run(study / "a", study / "b", "-o", tmp_path / "out", "--key", key, "--map", tmp_path / "ids.csv",
                 "--map-out", tmp_path / "out.csv")  # fmt: skip
    assert result.exit_code == ExitCode.DONE
    assert all(name.startswith("SUBJ-1/") for name in files(tmp_path / "out"))
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert stat.S_IMODE((tmp_path / "out.csv").stat().st_mode) == 0o600
    assert any(line.startswith("12345,SUBJ-1,patient") for line in lines)
    new = Pseudonyms(keys.read(str(key))).uid("1.2.3.5")
    assert any(line.startswith(f"1.2.3.5,{new},uid") for line in lines)


def test_options_by_flag_and_by_profile_are_the_same(tmp_path: Path, study: Path, key: Path) -> None:
    options = ("--retain-uids", "--retain-modified-dates")
    run(study / "a", study / "b", "-o", tmp_path / "one", "--key", key, *options)
    run(study / "a", study / "b", "-o", tmp_path / "two", "--key", key, "--profile",
        "basic,retain-modified-dates,retain-uids")  # fmt: skip
    assert files(tmp_path / "one") == files(tmp_path / "two")
    assert any("1.2.3.5" in name for name in files(tmp_path / "one"))


def test_regions_make_what_is_suspected_pass_or_stay_out(tmp_path: Path, study: Path, key: Path) -> None:
    described = {
        0x00080060: Element("CS", "US"), 0x00280002: Element("US", "1"), 0x00280004: Element("CS", "MONOCHROME2"),
        0x00280101: Element("US", "8"), 0x00280102: Element("US", "7"), 0x00280103: Element("US", "0"),
    }  # fmt: skip
    file(study / "us", {**IMAGE, **described})
    regions = ("--blank", "0,0,1,1", "--clean-pixel-data")
    result = run(study / "us", "-o", tmp_path / "out.dcm", "--key", key, *regions)
    assert result.exit_code == ExitCode.DONE, result.output
    assert (tmp_path / "out.dcm").read_bytes().endswith(b"\0\2")


@pytest.mark.parametrize(
    ("args", "code", "text"),
    [
        ((), ExitCode.NO_INPUT_FILES, "no files"),
        (("IN",), ExitCode.BAD_USAGE, "--output"),
        (("IN", "-o", "OUT", "--profile", "basic,everything"), ExitCode.BAD_USAGE, "no such option"),
        (("IN", "-o", "OUT", "--retain-full-dates", "--retain-modified-dates"), ExitCode.BAD_USAGE, "exclude"),
        (("IN", "-o", "OUT", "--blank", "1,2,3"), ExitCode.BAD_USAGE, "X,Y,W,H"),
        (("IN", "-o", "OUT", "--key", "IN/text"), ExitCode.BAD_USAGE, "keygen"),
        (("IN", "-o", "OUT", "--key", "missing"), ExitCode.CANNOT_READ_INPUT, "cannot be read"),
        (("IN", "-o", "OUT", "--uid-root", "1.2.840.10008"), ExitCode.BAD_USAGE, "standard"),
        (("IN", "-o", "IN"), ExitCode.BAD_USAGE, "output directory"),
        (("IN", "-o", "OUT", "--report", "missing/report"), ExitCode.CANNOT_WRITE_REPORT, "report"),
        (("IN", "-o", "IN/text/out"), ExitCode.INVALID_OUTPUT_DIRECTORY, ""),
    ],
)
def test_wrong_use_is_told(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: tuple[str, ...], code: ExitCode, text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*(arg.replace("IN", "study").replace("OUT", "out") for arg in args))
    assert result.exit_code == code, result.output
    assert text in result.output
    assert not (tmp_path / "out").exists() or not files(tmp_path / "out")


def test_outputs_below_inputs_are_no_inputs_of_the_next_run(study: Path, key: Path) -> None:
    for status in ("written", "present"):
        run(study, "-o", study / "out", "--key", key, "--report", key.parent / "report")
        totals = json.loads((key.parent / "report").read_text())["totals"]
        assert totals[status] == 2
        assert sum(totals.values()) == 4


def test_the_profile_is_listed_with_its_edition() -> None:
    result = run("--list-profile", "--format", "json")
    rows = json.loads(result.stdout)
    assert len(rows) == 13
    assert rows[0] == {"name": "basic", "code": "113100", "meaning": rows[0]["meaning"], "edition": "PS3.15 2026d"}


def test_a_medium_has_its_directory_with_short_names_and_is_told_why_without(tmp_path: Path, key: Path) -> None:
    (tmp_path / "in").mkdir()
    file(tmp_path / "in" / "a")
    directory(tmp_path / "in" / "DICOMDIR")
    plain = run(tmp_path / "in", "-o", tmp_path / "plain", "--key", key)
    assert plain.exit_code == ExitCode.PARTLY_DONE
    assert "DICOMDIR: not written: " in plain.output
    assert "--names short" in plain.output
    short = run(tmp_path / "in", "-o", tmp_path / "short", "--key", key, "--names", "short")
    assert (short.exit_code, short.output) == (ExitCode.DONE, "")
    assert (tmp_path / "short" / "DICOMDIR").is_file()
