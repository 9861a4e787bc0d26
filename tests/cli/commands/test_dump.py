"""dcmkit dump."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pydicom.data
import pytest
from click.testing import CliRunner

from dcmkit.cli import program_name
from dcmkit.cli.group import group
from dcmkit.dataset.part10 import file_meta
from dcmkit.errors import ExitCode
from dcmkit.uids import EXPLICIT_VR_LITTLE_ENDIAN

TEST_FILES = Path(pydicom.data.__file__).parent / "test_files"
CT = str(TEST_FILES / "CT_small.dcm")
DAMAGED = str(TEST_FILES / "rtplan_truncated.dcm")


def run(*arguments: str, data: bytes | None = None):
    return CliRunner().invoke(group, ["dump", *arguments], input=data)


def test_what_is_before_the_damage_is_printed_then_one_line():
    result = run(DAMAGED)
    assert result.exit_code == ExitCode.INVALID_INPUT_FILE
    assert "IsocenterPosition" in result.stdout
    (line,) = result.stderr.splitlines()
    assert "(300a,012c) has 50 bytes, of which 29 are there" in line
    assert "offset 2092" in line


def test_nothing_of_damaged_files_on_request():
    result = run("-E", DAMAGED)
    assert result.exit_code == ExitCode.INVALID_INPUT_FILE
    assert result.stdout == ""


def test_one_bad_file_stops_nothing(tmp_path):
    bad = tmp_path / "bad.dcm"
    bad.write_bytes(b"no DICOM at all, " * 20)
    result = run("+P", "PatientID", str(bad), str(tmp_path / "missing"), CT)
    assert result.exit_code == ExitCode.PARTLY_DONE
    assert "[1CT1]" in result.stdout
    assert len(result.stderr.splitlines()) == 2
    assert run(str(bad), str(tmp_path / "missing")).exit_code == ExitCode.NOTHING_DONE


def test_usage():
    assert run().exit_code == ExitCode.NO_INPUT_FILES
    assert run("+P", "NoSuchThing", CT).exit_code == ExitCode.BAD_USAGE
    assert run("+T", "+p", CT).exit_code == ExitCode.BAD_USAGE
    assert run("--diff", CT).exit_code == ExitCode.BAD_USAGE


def test_searching_prints_paths():
    result = run("+p", "+P", "OtherPatientIDsSequence.PatientID", CT)
    assert result.stdout.splitlines() == [
        "(0010,1002).(0010,0020) LO [ABCD1234]                               #   8, 1 PatientID",
        "(0010,1002).(0010,0020) LO [1234ABCD]                               #   8, 1 PatientID",
    ]
    assert len(run("-s", "+P", "0010,0020", CT).stdout.splitlines()) == 1


def test_filters_and_private_elements():
    result = run("--no-meta", "--no-private", "--filter", "0009-0011", "--filter", "Patient*", CT)
    assert result.exit_code == ExitCode.BAD_USAGE
    result = run("--no-meta", "--no-private", "--filter", "0009,xxxx", "--filter", "Patient*", CT)
    assert result.stdout.startswith("(0010,0010) PN [CompressedSamples^CT1]")
    assert "(0009," not in result.stdout


def test_json_from_stdin():
    result = run("--format", "json", "--filter", "Modality", "-", data=Path(CT).read_bytes())
    assert json.loads(result.stdout) == [{"00080060": {"vr": "CS", "Value": ["CT"]}}]


def test_directories(tmp_path):
    (tmp_path / "deeper").mkdir()
    shutil.copy(CT, tmp_path / "deeper" / "one.dcm")
    shutil.copy(CT, tmp_path / "two.img")
    assert len(run("+sd", "-s", "+P", "PatientID", str(tmp_path)).stdout.splitlines()) == 2
    assert len(run("+sd", "+sp", "*.dcm", "-s", "+P", "PatientID", str(tmp_path)).stdout.splitlines()) == 1
    assert len(run("+sd", "-r", "-s", "+P", "PatientID", str(tmp_path)).stdout.splitlines()) == 1


def test_exit_codes_of_a_comparison():
    assert run("--diff", CT, CT).exit_code == ExitCode.DONE
    result = run("--diff", CT, str(TEST_FILES / "MR_small.dcm"))
    assert result.exit_code == ExitCode.DIFFERENT
    assert "- (0008,0060) CS [CT]" in result.stdout
    assert "+ (0008,0060) CS [MR]" in result.stdout
    assert run("--diff", DAMAGED, DAMAGED).exit_code == ExitCode.NOTHING_DONE


def test_colours_only_where_they_are_wanted():
    assert "\x1b" not in run(CT).stdout
    assert "\x1b[22m\x1b[32m(0010,0020)" in run("+C", "+P", "PatientID", CT).stdout


def test_every_option_of_dcmdump_that_changes_nothing_is_taken():
    flags = "+f -t= +sd +r +M +ml +ao +ev +vr +ui -uc -sq -rd -oi -vi -pe -Ep +dc +bd -L -T +Un -Qn -C +E +s -p +U8"
    assert run(*flags.split(), CT).stdout == run(CT).stdout


def test_links_named_like_dcmtk_tools():
    assert program_name("/usr/local/bin/dcmdump") == "dump"
    assert program_name("dcmqrscp") == "qrscp"
    assert program_name("dcmsomething") == "dcmkit"


def after_dump(path: str, what: str) -> list[str]:
    """What a process says of itself after it dumped a file."""
    code = (
        f"import sys; from dcmkit.cli import main\ntry: main(['dcmkit', 'dump', sys.argv[1]])\nfinally: print({what})"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.splitlines()


def test_pydicom_and_numpy_are_not_imported():
    modules = after_dump(CT, "sorted(sys.modules)")[-1]
    assert "'dcmkit.cli.commands.dump'" in modules
    for name in ("pydicom", "numpy", "pynetdicom", "rich", "json", "csv"):
        assert f"'{name}'" not in modules


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="nothing tells the memory of a process here")
def test_a_big_file_takes_no_memory(tmp_path):
    path = tmp_path / "big.dcm"
    size = 2 << 30
    with open(path, "wb") as file:
        file.write(file_meta("1.2", "1.3", EXPLICIT_VR_LITTLE_ENDIAN))
        file.write(struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, size))
        file.truncate(file.tell() + size)
    lines = after_dump(str(path), "open('/proc/self/status').read()")
    (peak,) = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
    assert peak < 100_000
