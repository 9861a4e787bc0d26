"""The report of `dcmkit anonymize`, and how many processes take part."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dcmkit.cli.anonymizing import Report, Tally
from dcmkit.cli.report import ReportError
from dcmkit.dataset.elements import Element
from dcmkit.deid.batch import FAILED, QUARANTINED, WRITTEN, Done, Job, anonymize
from dcmkit.deid.output import Output
from dcmkit.deid.profile import Plan, parse
from dcmkit.deid.pseudonyms import Pseudonyms
from dcmkit.errors import ExitCode, InputError
from dcmkit.pixels.image_file import ImageFile
from tests.deid.test_engine import IMAGE, file


def job(tmp_path: Path) -> Job:
    return Job(Plan(parse("basic")), Pseudonyms(b"k" * 32), Output(str(tmp_path)))


def test_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    tally = Tally()
    assert tally.exit_code() == ExitCode.DONE
    tally.add(Done("a", WRITTEN, "out"))
    assert tally.exit_code() == ExitCode.DONE
    tally.add(Done("b", QUARANTINED, reason="it is what it is"))
    assert tally.exit_code() == ExitCode.PARTLY_DONE
    tally = Tally()
    tally.add(Done("c", FAILED, reason="no room"))
    tally.unreadable("d", InputError("is gone"))
    assert tally.exit_code() == ExitCode.NOTHING_DONE
    assert capsys.readouterr().err.splitlines() == [
        "b: not written: it is what it is", "c: no room", "d: is gone"
    ]  # fmt: skip


def test_a_report_that_cannot_be_finished_says_so_once(tmp_path: Path) -> None:
    report = Report("/dev/full", job(tmp_path))
    long = Done("a", WRITTEN, "out", reason="x" * 100000)
    with pytest.raises(ReportError, match="No space"):
        report.add(long)
    report.add(long)
    report.close(Tally())


@pytest.mark.parametrize("suffix", [".json", ".txt"])
def test_names_are_those_of_the_end(tmp_path: Path, suffix: str) -> None:
    paths = []
    for number in range(5):
        image = {**IMAGE, 0x00200013: Element("IS", str(number))}
        paths.append(str(file(tmp_path / f"in {number}", image)))
    work = Job(Plan(parse("basic")), Pseudonyms(b"k" * 32), Output(str(tmp_path / "out")), detailed=True)
    report = Report(str(tmp_path / f"report{suffix}"), work)
    for done in anonymize(paths, work):
        report.add(done)
    report.close(Tally())
    text = (tmp_path / f"report{suffix}").read_text()
    if suffix == ".json":
        found = {row["source"]: row["output"] for row in json.loads(text)["files"]}
    else:
        found = dict(line.split(": written as ") for line in text.splitlines() if ": written as " in line)
    assert sorted(found) == paths
    for path, output in found.items():
        with ImageFile(output) as image:
            assert f"in {image.elements.text(0x00200013)}" in path
