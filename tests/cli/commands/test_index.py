"""dcmkit index: add, ls, show, stats, check, rebuild, rm, trash."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from dcmkit.cli.group import group
from dcmkit.dataset.part10 import file_meta
from dcmkit.errors import ExitCode
from tests.archive.objects import CT, EXPLICIT, MR, archive_in, image, put


def write(path: Path, uid: str, *, sop_class: str = CT, **attributes: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(file_meta(sop_class, uid, EXPLICIT) + image(uid, sop_class=sop_class, **attributes))
    return path


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "in" / "a.dcm", "1.2.3.1.1")
    write(tmp_path / "in" / "b.dcm", "1.2.3.1.2")
    other = {"study": "1.2.4", "series": "1.2.4.1", "patient": "12", "name": "Rö^Zoë", "modality": "MR"}
    write(tmp_path / "in" / "below" / "c.dcm", "1.2.4.1.1", sop_class=MR, **other)
    return tmp_path / "in"


@pytest.fixture
def run(tmp_path):
    def runner(subcommand, *args, stdin=None):
        return CliRunner().invoke(group, ["index", subcommand, "-od", str(tmp_path / "archive"), *args], input=stdin)

    return runner


@pytest.fixture
def archive(run, folder):
    """An archive with three objects indexed in place."""
    assert run("add", str(folder)).exit_code == 0
    return run


def lines(result):
    assert result.exit_code == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_add_counts_and_goes_on_where_it_was(run, folder):
    assert "3 added, 0 known already, 0 not taken" in run("add", str(folder)).stderr
    write(folder / "d.dcm", "1.2.3.1.3")
    assert "1 added, 3 known already, 0 not taken" in run("add", str(folder)).stderr


def test_add_names_what_it_does_not_take(run, folder):
    (folder / "notes.txt").write_text("no DICOM")
    result = run("add", str(folder), str(folder / "gone"))
    assert result.exit_code == ExitCode.PARTLY_DONE
    assert "notes.txt: " in result.stderr
    assert "gone: " in result.stderr
    assert run("add", str(folder / "notes.txt")).exit_code == ExitCode.NO_VALID_INPUT_FILES
    assert run("add").exit_code == ExitCode.NO_INPUT_FILES


@pytest.mark.parametrize(("level", "number"), [("patient", 2), ("study", 2), ("series", 2), ("instance", 3)])
def test_ls_at_four_levels(archive, level, number):
    assert len(lines(archive("ls", "--level", level, "--format", "jsonl"))) == number


def test_ls_chooses_columns_limits_and_matches(archive):
    names = lines(archive("ls", "--columns", "PatientName,PatientID", "PatientName=ro^*", "--format", "jsonl"))
    assert names == [{"PatientName": "Rö^Zoë", "PatientID": "12"}]
    assert len(lines(archive("ls", "--level", "instance", "--limit", "2", "--offset", "2", "--format", "jsonl"))) == 1
    assert lines(archive("ls", "StudyDate=20250101-", "--format", "jsonl")) == []


def test_ls_in_every_format(archive):
    assert json.loads(archive("ls", "Modality=MR", "--format", "json").stdout)[0]["StudyInstanceUID"] == "1.2.4"
    rows = list(csv.DictReader(archive("ls", "Modality=MR", "--format", "csv").stdout.splitlines()))
    assert rows[0]["ModalitiesInStudy"] == "MR"
    assert archive("ls", "Modality=MR").stdout.splitlines()[0].startswith("StudyInstanceUID")


@pytest.mark.parametrize("key", ["Modality", "NoSuchKeyword=1", "PixelData=1"])
def test_ls_refuses_what_is_no_key(archive, key):
    result = archive("ls", key)
    assert result.exit_code == ExitCode.BAD_USAGE
    assert key.partition("=")[0] in result.stderr


def test_nowhere_is_no_archive(run):
    result = run("ls")
    assert result.exit_code == ExitCode.INVALID_OUTPUT_DIRECTORY
    assert "holds no archive" in result.stderr


def test_show_takes_a_uid_of_any_level(archive):
    assert lines(archive("show", "1.2.4", "--format", "jsonl"))[0]["PatientName"] == "Rö^Zoë"
    assert lines(archive("show", "1.2.4.1", "--format", "jsonl"))[0]["Modality"] == "MR"
    instance = lines(archive("show", "1.2.3.1.2", "--format", "jsonl"))[0]
    assert instance["Path"].endswith("b.dcm")
    assert instance["TransferSyntaxUID"] == EXPLICIT
    assert "1.2.3.1.1" in archive("show", "Modality=CT").stdout
    assert archive("show", "9.9.9").exit_code == ExitCode.NOTHING_DONE
    assert archive("show").exit_code == ExitCode.BAD_USAGE


def test_stats(archive):
    rows = {(row["what"], row["value"]): row for row in lines(archive("stats", "--format", "jsonl"))}
    assert rows["instances", ""]["number"] == 3
    assert rows["Modality", "CT"]["number"] == 2


def test_check_finds_what_disagrees_and_repairs_it(run, folder, tmp_path):
    root = tmp_path / "archive"
    write(root / "x" / "one.dcm", "1.2.3.1.1")
    write(root / "x" / "two.dcm", "1.2.3.1.2")
    assert run("rebuild").exit_code == 0
    agree = run("check")
    assert (agree.exit_code, agree.stdout) == (0, "")
    (root / "x" / "one.dcm").unlink()
    write(root / "x" / "three.dcm", "1.2.3.1.3")
    found = run("check", "--format", "jsonl")
    assert found.exit_code == ExitCode.ARCHIVE_DAMAGED
    kinds = sorted((row["kind"], row["path"]) for row in map(json.loads, found.stdout.splitlines()))
    assert kinds == [("missing", "x/one.dcm"), ("unindexed", "x/three.dcm")]
    assert run("check", "--repair").exit_code == 0
    assert run("check").exit_code == 0


def test_check_with_digests_finds_damage(archive, folder):
    assert archive("check", "--digests").exit_code == 0
    path = folder / "a.dcm"
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[-1] ^= 0xFF
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert archive("check").exit_code == 0
    result = archive("check", "--digests")
    assert result.exit_code == ExitCode.ARCHIVE_DAMAGED
    assert "damaged" in result.stdout


def test_rebuild_needs_a_directory(run):
    assert run("rebuild").exit_code == ExitCode.INVALID_OUTPUT_DIRECTORY


def test_rm_removes_files_and_rows(run, tmp_path):
    root = tmp_path / "archive"
    write(root / "x" / "one.dcm", "1.2.3.1.1")
    write(root / "y" / "two.dcm", "1.2.4.1.1", study="1.2.4", series="1.2.4.1")
    assert run("rebuild").exit_code == 0
    assert run("rm", "StudyInstanceUID=1.2.4").exit_code == ExitCode.BAD_USAGE  # nobody to ask
    result = run("rm", "StudyInstanceUID=1.2.4", "--yes")
    assert result.exit_code == 0
    assert "1 instances removed, with 1 files" in result.stderr
    assert not (root / "y").exists()
    assert (root / "x" / "one.dcm").exists()
    assert run("check").exit_code == 0
    assert run("rm", "StudyInstanceUID=1.2.4", "--yes").exit_code == ExitCode.NOTHING_DONE


@pytest.mark.parametrize("keys", [(), ("PatientID=*",), ("PatientID=",), ("PatientID=x\\*",)])
def test_rm_never_removes_everything_by_mistake(archive, keys):
    assert archive("rm", "--yes", *keys).exit_code == ExitCode.BAD_USAGE
    assert len(lines(archive("ls", "--level", "instance", "--format", "jsonl"))) == 3


def test_rm_keeps_files_in_place(archive, folder):
    assert archive("rm", "Modality=CT", "--yes").exit_code == 0
    assert (folder / "a.dcm").exists()
    assert len(lines(archive("ls", "--level", "instance", "--format", "jsonl"))) == 1


def test_control_characters_do_not_reach_the_terminal(run, tmp_path):
    write(tmp_path / "in" / "evil.dcm", "1.2.9", name="\x1b]0;owned\x07^X")
    assert run("add", str(tmp_path / "in")).exit_code == 0
    for form in ("table", "csv", "json", "jsonl"):
        assert "\x1b" not in run("ls", "--format", form).stdout


# --- rm ---


@pytest.fixture
def stored(run, tmp_path):
    """An archive with files of its own: two studies, one of them of long ago."""
    for number, study in (("1", "1.5"), ("2", "1.5"), ("3", "1.6")):
        series = f"{study}.1"
        path = write(tmp_path / "archive" / study / f"{number}.dcm", f"1.2.{number}", study=study, series=series)
        if study == "1.5":
            os.utime(path, (1e9, 1e9))
    assert run("rebuild").exit_code == 0
    return run


def left(run):
    return {row["SOPInstanceUID"] for row in lines(run("ls", "--level", "instance", "--format", "jsonl"))}


@pytest.mark.parametrize(
    ("keys", "stays"),
    [
        (("1.5",), {"1.2.3"}),
        (("1.5.1",), {"1.2.3"}),
        (("1.2.1",), {"1.2.2", "1.2.3"}),
        (("1.2.1", "1.6"), {"1.2.2"}),
        (("1.5", "InstanceNumber=1"), {"1.2.3"}),
    ],
)
def test_rm_takes_bare_uids(stored, tmp_path, keys, stays):
    assert stored("rm", "--yes", *keys).exit_code == 0
    assert left(stored) == stays
    assert len(list((tmp_path / "archive").glob("1.*/*.dcm"))) == len(stays)


def test_rm_says_by_its_exit_code_what_it_did(stored, tmp_path):
    result = stored("rm", "--yes", "1.5", "1.99")
    assert result.exit_code == ExitCode.PARTLY_DONE
    assert "1.99: nothing matches" in result.stderr
    assert stored("rm", "--yes", "1.99").exit_code == ExitCode.NOTHING_DONE
    (tmp_path / "archive" / "1.6" / "3.dcm").write_bytes(b"changed")
    result = stored("rm", "--yes", "1.6")
    assert result.exit_code == ExitCode.NOTHING_DONE
    assert "changed" in result.stderr


@pytest.mark.parametrize("key", ["../etc", "1.2.", "hello"])
def test_rm_refuses_what_is_no_uid(stored, key):
    assert stored("rm", "--yes", key).exit_code == ExitCode.BAD_USAGE


def test_rm_by_age(stored):
    assert stored("rm", "--older-than", "3d", "1.6", "--yes").exit_code == ExitCode.NOTHING_DONE
    assert stored("rm", "--older-than", "3d", "--yes").exit_code == 0
    assert left(stored) == {"1.2.3"}


@pytest.mark.parametrize("time", ["", "d", "3", "3m", "-3d", "1.5d", "9999999d"])
def test_rm_refuses_what_is_no_time(stored, time):
    assert stored("rm", "--older-than", time, "--yes").exit_code == ExitCode.BAD_USAGE
    assert len(left(stored)) == 3


def test_rm_dry_run(stored):
    result = stored("rm", "--older-than", "3d", "--dry-run")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[1].split()[:2] == ["1.5", "2"]
    assert stored("rm", "1.6", "1.99", "--dry-run").exit_code == ExitCode.PARTLY_DONE
    assert stored("rm", "1.99", "--dry-run").exit_code == ExitCode.NOTHING_DONE
    assert len(left(stored)) == 3


@pytest.fixture
def trashed(run, tmp_path):
    """Two studies were deleted, the first of them long ago."""
    from dcmkit.archive import trash

    with archive_in(tmp_path / "archive") as made:
        for number in range(3):
            put(made, f"1.2.{number}", study=f"1.3.{min(number, 1)}")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("dcmkit.archive.trash.time.gmtime", lambda: (2020, 1, 1, 0, 0, 0, 0, 1, 0))
            trash.delete(made, "1.3.0", by="alice")
        trash.delete(made, "1.3.1")
    return run


def deletions(run):
    return {row["study"]: row for row in lines(run("trash", "ls", "--format", "jsonl"))}


def test_the_trash_is_listed(trashed):
    found = deletions(trashed)
    assert {key: found["1.3.0"][key] for key in ("deleted", "series", "by", "instances")} == {
        "deleted": "2020-01-01T00:00:00Z", "series": "", "by": "alice", "instances": 1,
    }  # fmt: skip
    assert found["1.3.1"]["instances"] == 2
    for form in ("table", "csv", "json"):
        result = trashed("trash", "ls", "--format", form)
        assert found["1.3.0"]["id"] in result.stdout
        assert "Doe" not in result.stdout
    assert len(lines(trashed("trash", "ls", found["1.3.0"]["id"], "--format", "jsonl"))) == 1
    assert trashed("trash", "ls", "x").exit_code == ExitCode.NOTHING_DONE


def test_what_is_in_the_trash_comes_back(trashed):
    identifier = deletions(trashed)["1.3.1"]["id"]
    result = trashed("trash", "restore", identifier)
    assert (result.exit_code, result.stderr) == (0, "2 instances are back\n")
    assert [row["StudyInstanceUID"] for row in lines(trashed("ls", "--format", "jsonl"))] == ["1.3.1"]
    assert "1.3.1" not in deletions(trashed)
    assert trashed("trash", "restore", identifier).exit_code == ExitCode.NOTHING_DONE
    other = deletions(trashed)["1.3.0"]["id"]
    assert trashed("trash", "restore", identifier, other).exit_code == ExitCode.PARTLY_DONE
    assert len(lines(trashed("ls", "--format", "jsonl"))) == 2


def test_what_came_meanwhile_stays(trashed, tmp_path):
    with archive_in(tmp_path / "archive") as made:
        put(made, "1.2.0", study="1.3.0", name="Other")
    result = trashed("trash", "restore", "--on-duplicate", "replace", deletions(trashed)["1.3.0"]["id"])
    assert result.exit_code == ExitCode.NOTHING_DONE
    assert "0 instances are back, 1 are left in the trash" in result.stderr
    assert "1.3.0" in deletions(trashed)


def test_the_trash_is_purged_of_what_is_old(trashed):
    result = trashed("trash", "purge", "--older-than", "30d", "--dry-run", "--format", "csv")
    assert [row["study"] for row in csv.DictReader(result.stdout.splitlines())] == ["1.3.0"]
    assert len(deletions(trashed)) == 2
    assert trashed("trash", "purge").exit_code == ExitCode.BAD_USAGE  # nobody to ask
    result = trashed("trash", "purge", "--older-than", "30d", "--yes")
    assert (result.exit_code, result.stderr) == (0, "1 deletions are gone for good, with 1 instances\n")
    assert list(deletions(trashed)) == ["1.3.1"]
    assert trashed("trash", "purge", "--older-than", "30d", "--yes").exit_code == ExitCode.NOTHING_DONE
    assert trashed("trash", "purge", deletions(trashed)["1.3.1"]["id"], "--yes").exit_code == 0
    assert trashed("trash", "purge", "--yes").exit_code == ExitCode.NOTHING_DONE


@pytest.mark.parametrize(
    "arguments",
    [
        ("restore",), ("ls", "--yes"), ("restore", "x", "--dry-run"), ("purge", "x", "--older-than", "1d"),
        ("purge", "--older-than", "soon"), ("empty",),
    ],
)  # fmt: skip
def test_the_trash_command_says_what_it_cannot_do(trashed, arguments):
    assert trashed("trash", *arguments).exit_code == ExitCode.BAD_USAGE
    assert len(deletions(trashed)) == 2
