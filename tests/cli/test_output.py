"""Results in four formats, progress, escaping, exit codes."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys

import pytest

from dcmkit import logs
from dcmkit.cli import output
from dcmkit.errors import ConnectError, ExitCode

ROWS = [
    {"PatientName": "Jörg^山田", "Instances": 12, "Modalities": ["CT", "MR"]},
    {"PatientName": "EVIL\x1b[2J\u202e\x9b", "Instances": 3, "extra": True},
]
COLUMNS = ("PatientName", "Modalities", "Instances")


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


@pytest.mark.parametrize("rows", [ROWS, ROWS[:1], []])
def test_json_is_one_list(rows, capsys):
    assert output.emit(iter(rows), COLUMNS, "json") == len(rows)
    assert json.loads(capsys.readouterr().out) == rows


def test_jsonl_is_one_object_a_line_in_column_order(capsys):
    assert output.emit(ROWS, COLUMNS, "jsonl") == 2
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line) for line in lines] == ROWS
    assert list(json.loads(lines[0])) == list(COLUMNS)
    assert "Jörg^山田" in lines[0]


def test_csv(capsys):
    assert output.emit(ROWS, COLUMNS, "csv") == 2
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert rows[0] == {"PatientName": "Jörg^山田", "Modalities": "CT\\MR", "Instances": "12"}
    assert rows[1]["Modalities"] == ""


def test_plain_table_lines_up_and_needs_no_rich(capsys):
    assert output.emit(ROWS[:1], COLUMNS, "table") == 1
    assert capsys.readouterr().out == "PatientName  Modalities  Instances\nJörg^山田      CT\\MR              12\n"
    code = """
import sys
from dcmkit.cli.output import emit
emit([{"a": 1}], ["a"], "table")
print("rich" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.endswith("False\n")


def test_table_on_a_terminal(monkeypatch):
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)
    output.emit([{"PatientName": "[bold]x[/]", "Instances": 1}], COLUMNS, "table")
    assert "[bold]x[/]" in sys.stdout.getvalue()


def test_no_color(monkeypatch):
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert output.environment.color
    monkeypatch.setenv("NO_COLOR", "1")
    assert not output.environment.color
    output.emit(ROWS, COLUMNS, "table")
    assert "\x1b[3" not in sys.stdout.getvalue()


@pytest.mark.parametrize("format_", output.FORMATS)
def test_nothing_reaches_the_terminal_raw(format_, capsys):
    output.emit(ROWS, COLUMNS, format_)
    output.say("from \x1b]0;a peer\x07")
    captured = capsys.readouterr()
    for character in "\x1b\x07\u202e\x9b":
        assert character not in captured.out + captured.err


def test_rows_are_streamed(capsys):
    def rows():
        yield {"a": 1}
        assert '"a": 1' in capsys.readouterr().out
        yield {"a": 2}

    assert output.emit(rows(), ["a"], "jsonl") == 2


def test_progress_is_silent_under_cron(capsys):
    with output.Progress("sending", objects=2, size=10) as progress:
        progress.advance(1, 5)
    assert capsys.readouterr().err == ""


def test_progress_on_a_terminal_lets_messages_stand_above_it(monkeypatch):
    logs.configure("warn")
    monkeypatch.setattr(sys, "stderr", Terminal())
    with output.Progress("sending", objects=2, size=2000) as progress:
        progress.advance(1, 1000)
        output.say("look")
        progress.advance(1, 1000)
    said = sys.stderr.getvalue()
    assert "sending" in said
    assert "look\n" in said
    output.say("after")
    assert sys.stderr.getvalue().endswith("after\n")


@pytest.mark.parametrize("level", ["fatal", "info", "debug"])
def test_no_progress_when_quiet_or_when_the_log_tells_it(level, monkeypatch):
    logs.configure(level)
    monkeypatch.setattr(sys, "stderr", Terminal())
    with output.Progress("sending", objects=2) as progress:
        progress.advance()
    assert sys.stderr.getvalue() == ""


def fail(error):
    def main(**_):
        raise error

    return output.run_command(main, [], "dcmkit echoscu", standalone_mode=False)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (
            ConnectError("no answer from h:1\x1b", hint="is it up?"),
            61,
            "dcmkit echoscu: error: no answer from h:1\\x1b (is it up?)\n",
        ),
        (KeyboardInterrupt(), 130, ""),
        (BrokenPipeError(), 141, ""),
        (MemoryError(), 19, "dcmkit echoscu: error: out of memory\n"),
        (
            KeyError("x"),
            19,
            "dcmkit echoscu: error: KeyError: 'x' (this is a defect; please report it with the output of --debug)\n",
        ),
    ],
)
def test_errors_become_one_line_and_a_code(error, code, said, capsys):
    assert fail(error) == code
    assert capsys.readouterr().err == said


def test_errors_as_json_lines(capsys):
    logs.configure("warn", "json")
    assert fail(ConnectError("no answer", hint="is it up?")) == 61
    record = json.loads(capsys.readouterr().err)
    assert (record["level"], record["message"]) == ("fatal", "no answer (is it up?)")


def test_results_become_codes():
    for result, code in ((None, 0), (ExitCode.PARTLY_DONE, 10), (0, 0), ("text", 0)):
        assert output.run_command(lambda r=result, **_: r, [], "x", standalone_mode=False) == code
    with pytest.raises(SystemExit) as caught:
        output.run_command(lambda **_: ExitCode.NOTHING_DONE, [], "x")
    assert caught.value.code == 11


def test_a_reader_that_goes_away_is_no_traceback():
    code = "from dcmkit.cli import main; main(['dcmkit', 'config', 'init', '--output', '-'])"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(60) == ExitCode.BROKEN_PIPE


def test_results_are_utf8_whatever_the_locale(tmp_path):
    (tmp_path / "c.toml").write_text("[archive]\nlayout = 'Jörg/{SOPInstanceUID}'", encoding="utf-8")
    env = {**os.environ, "PYTHONIOENCODING": "ascii", "DCMKIT_CONFIG": str(tmp_path / "c.toml")}
    args = [sys.executable, "-m", "dcmkit", "config", "show", "--format", "jsonl"]
    done = subprocess.run(args, capture_output=True, env=env)
    assert done.returncode == 0, done.stderr
    assert "Jörg".encode() in done.stdout


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
@pytest.mark.parametrize("rows", [1, 100_000])
def test_a_full_disk_behind_stdout_is_told_as_such(rows):
    code = f"""
from dcmkit.cli.output import emit, run_command
run_command(lambda **_: emit(({{"a": "b"}} for _ in range({rows})), ("a",), "jsonl"), [], "dcmkit")
"""
    with open("/dev/full", "wb") as full:
        done = subprocess.run([sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == ExitCode.CANNOT_WRITE_OUTPUT
    assert "No space left" in done.stderr
    assert done.stderr.count("\n") == 1
