"""Reports: what is in them, and what happens where they cannot be written."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from dcmkit.cli.report import Report, ReportError
from dcmkit.errors import ExitCode


def test_a_line_for_each(tmp_path: Path):
    path = tmp_path / "report.jsonl"
    report = Report(str(path))
    assert report
    report.write({"file": "ä", "status": None}, flush=True)
    assert json.loads(path.read_text()) == {"file": "ä", "status": None}
    report.write({"file": "b"})
    report.close()
    report.close()
    assert len(path.read_text().splitlines()) == 2


def test_no_report():
    report = Report("")
    assert not report
    report.write({"file": "a"})
    report.close()


def test_a_directory_that_is_not_there(tmp_path: Path):
    with pytest.raises(ReportError, match="No such file") as caught:
        Report(str(tmp_path / "none" / "report"))
    assert caught.value.exit_code == ExitCode.CANNOT_WRITE_REPORT


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk_is_told_once():
    report = Report("/dev/full")
    with pytest.raises(ReportError, match="No space left"):
        report.write({"file": "a"}, flush=True)
    report.write({"file": "b"})
    report.close()
    report = Report("/dev/full")
    report.write({"file": "a"})
    with pytest.raises(ReportError, match="No space left"):
        report.close()
    report.close()
