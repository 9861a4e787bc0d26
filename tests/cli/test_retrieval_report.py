"""What is said about a retrieve, the report, and the exit code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dcmkit.cli.output import Progress
from dcmkit.cli.report import ReportError
from dcmkit.cli.retrieval_report import Outcome
from dcmkit.dataset.elements import element
from dcmkit.errors import AssociationAbortedError, ExitCode, InputError, NetworkError
from dcmkit.services.retrieve_jobs import Result
from dcmkit.services.retrieve_plan import NothingMatchedError, Request
from dcmkit.services.retrieve_scu import Arrival, Counts
from dcmkit.services.tally import Tally
from tests.services.retrieve_peer import LEVEL, STUDY


def request(study: str = "1.2", label: str = "") -> Request:
    identifier = {LEVEL: element(LEVEL, "STUDY"), STUDY: element(STUDY, study)}
    return Request(label or f"study {study}", identifier)


CAME = {"1.2.3": Arrival("1.2", "1.2.3", 0, "", "there")}
GOOD = Result(request(), Tally(total=1, promised=1, operations=1), stored=CAME, seconds=1.0, attempts=1)


def bad(status: int = 0xB000, stored: dict[str, Arrival] | None = None, **how: Any) -> Result:
    how.setdefault("failed", 1)
    return Result(request("1.3"), Tally(status, **how), problems=("wrong",), stored=stored or {})


@pytest.mark.parametrize(
    ("results", "code"),
    [
        ([], ExitCode.DONE),
        ([GOOD], ExitCode.DONE),
        ([bad(stored=CAME)], ExitCode.MOVE_WARNING),
        ([bad(promised=1)], ExitCode.MOVE_WARNING),
        ([bad()], ExitCode.MOVE_ERROR),
        ([bad(0xA801)], ExitCode.MOVE_ERROR),
        ([bad(0xA801), bad(0xA900)], ExitCode.MOVE_ERROR),
        ([bad(0, failed=0)], ExitCode.NOTHING_DONE),
        ([GOOD, bad()], ExitCode.PARTLY_DONE),
        ([bad(stored=CAME), bad()], ExitCode.PARTLY_DONE),
        ([bad(0, failed=0), bad()], ExitCode.NOTHING_DONE),
        ([Result(request(), error=AssociationAbortedError("gone"), problems=("gone",))], ExitCode.ASSOCIATION_ABORTED),
    ],
)
def test_the_exit_code(results: list[Result], code: ExitCode) -> None:
    outcome = Outcome("")
    for result in results:
        outcome.finished(result)
    assert outcome.exit_code() == code


def test_what_could_not_be_asked_for_counts() -> None:
    outcome = Outcome("")
    outcome.failed("accession X", NothingMatchedError("accession X: the peer has nothing that matches"))
    assert outcome.exit_code() == ExitCode.NOTHING_DONE
    outcome.unusable(InputError("line 3 of list: not JSON"))
    outcome.finished(GOOD)
    assert outcome.exit_code() == ExitCode.PARTLY_DONE


def test_every_failure_is_told_by_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = Outcome("")
    same = [request("1.2", "patient P\x1b[2J"), request("1.3", "patient P\x1b[2J")]
    outcome.expect(same)
    outcome.finished(Result(same[0], Tally(0xA702), problems=("one", "two")))
    outcome.finished(GOOD._replace(tally=Tally(warnings=3)))
    outcome.failed("accession X", NothingMatchedError("accession X: nothing"))
    outcome.failed("accession Y", NetworkError("lost"))
    assert capsys.readouterr().err.splitlines() == [
        r"patient P\x1b[2J (study 1.2): one",
        r"patient P\x1b[2J (study 1.2): two",
        "study 1.2: 3 objects were stored with a warning",
        "accession X: nothing",
        "accession Y: lost",
    ]


def test_who_wants_to_know_of_failures() -> None:
    told: list[Result] = []
    outcome = Outcome("", on_failure=told.append)
    outcome.finished(GOOD)
    outcome.finished(bad())
    assert [result.request.label for result in told] == ["study 1.3"]


def test_the_report(tmp_path: Path) -> None:
    path = tmp_path / "report"
    outcome = Outcome(str(path))
    outcome.arrived(request(), Arrival("1.2.840", "1.2.3", 0xA700, "disk full", ""))
    outcome.finished(bad(failed_uids=("1.2.3",), total=2, promised=1, comment="no"))
    outcome.finished(Result(request(), skipped=True))
    outcome.failed("accession X", NothingMatchedError("nothing"))
    outcome.unusable(InputError("line 3"))
    outcome.close()
    outcome.close()
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert rows[0] == {
        "object": "1.2.3",
        "request": "study 1.2",
        "sop_class_uid": "1.2.840",
        "status": "A700",
        "comment": "disk full",
        "file": "",
    }
    assert rows[1]["identifier"] == {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": "1.3"}
    assert (rows[1]["status"], rows[1]["failed_uids"], rows[1]["complete"]) == ("B000", ["1.2.3"], False)
    assert rows[2]["skipped"] is True
    assert rows[3]["request"] == "accession X"
    assert rows[4]["request"] is None


def test_a_report_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="cannot be written"):
        Outcome(str(tmp_path / "missing" / "report"))
    if Path("/dev/full").exists():
        outcome = Outcome("/dev/full")
        with pytest.raises(ReportError, match="No space left") as caught:
            outcome.finished(GOOD)
        assert caught.value.exit_code == ExitCode.CANNOT_WRITE_REPORT


class Bar(Progress):
    def __init__(self) -> None:
        self.count = 0

    def advance(self, objects: int = 1, size: int = 0) -> None:
        self.count += objects


def test_progress_is_by_what_comes_or_by_what_the_peer_counts() -> None:
    here, there = Outcome(""), Outcome("", receives=False)
    here.progress, there.progress = Bar(), Bar()
    here.arrived(request(), CAME["1.2.3"])
    for outcome in (here, there):
        for counts in (Counts(9, 1, 0, 0), Counts(7, 2, 1, 0), Counts(7, 2, 1, 0), Counts()):
            outcome.pending(request(), counts)
    assert here.progress.count == 1
    assert there.progress.count == 3
