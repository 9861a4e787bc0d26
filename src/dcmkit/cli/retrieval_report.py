"""What became of a retrieve: told on stderr, written as a report, and summed up in an exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dcmkit.cli.output import say
from dcmkit.cli.report import Report
from dcmkit.dataset.dictionary import keyword_of
from dcmkit.errors import ExitCode
from dcmkit.logs import get_logger
from dcmkit.protocol.status import FAILURE, category

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dcmkit.cli.output import Progress
    from dcmkit.errors import DcmkitError
    from dcmkit.services.retrieve_jobs import Result
    from dcmkit.services.retrieve_plan import Request
    from dcmkit.services.retrieve_scu import Arrival, Counts

log = get_logger("retrieve")


class Outcome:
    """Observes a retrieve (`services.retrieve_jobs.Observer`).

    Args:
        report: path of the report, or "".
        receives: whether objects come here; else progress is what the peer counts.
        on_failure: called with each result that is not complete, after it was told.

    Attributes:
        progress: advanced by sub-operations, where there is one.
    """

    def __init__(
        self, report: str, *, receives: bool = True, on_failure: Callable[[Result], None] | None = None
    ) -> None:
        self._receives = receives
        self.progress: Progress | None = None
        self._on_failure = on_failure
        self._done = 0
        self._partly = False
        self._codes: list[ExitCode] = []
        self._counted: dict[str, int] = {}
        self._labels: dict[str, int] = {}
        self._report = Report(report)

    def expect(self, requests: Sequence[Request]) -> None:
        """These are about to be made."""
        for request in requests:
            self._labels[request.label] = self._labels.get(request.label, 0) + 1

    # --- what happens ---

    def unusable(self, error: DcmkitError) -> None:
        """A row of a list that says nothing."""
        self._fail(error.exit_code)
        say(str(error))
        self._report.write({"request": None, "complete": False, "problems": [str(error)]}, flush=True)

    def failed(self, label: str, error: DcmkitError) -> None:
        """Something wanted that could not be asked for."""
        self._fail(error.exit_code)
        said = str(error)
        said = said if said.startswith(f"{label}: ") else f"{label}: {said}"
        say(said)
        self._report.write({"request": label, "complete": False, "problems": [said]}, flush=True)

    def arrived(self, request: Request, arrival: Arrival) -> None:
        """An object came."""
        if self.progress is not None:
            self.progress.advance()
        if self._report:
            row = {
                "object": arrival.sop_instance_uid,
                "request": request.label,
                "sop_class_uid": arrival.sop_class_uid,
                "status": f"{arrival.status:04X}",
                "comment": arrival.comment,
                "file": arrival.path,
            }
            self._report.write(row)

    def pending(self, request: Request, counts: Counts) -> None:
        """The peer counts: progress where objects go somewhere else."""
        if self.progress is not None and counts.known and not self._receives:
            done = counts.sent + (counts.failed or 0)
            self.progress.advance(max(0, done - self._counted.get(request.key, 0)))
            self._counted[request.key] = done

    def finished(self, result: Result) -> None:
        """A request is over."""
        request, found = result.request, result.tally
        label = self._label(request)
        if result.complete:
            self._done += 1
            how = "as the journal says" if result.skipped else f"in {result.seconds:.2f} s"
            log.info("%s: complete, %d objects %s", request.name, len(result.stored), how)
        else:
            self._fail(_code(result))
            self._partly = self._partly or bool(result.stored) or bool(found is not None and found.promised)
            for sentence in result.problems:
                say(f"{label}: {sentence}")
        if found is not None and found.warnings:
            say(f"{label}: {found.warnings} objects were stored with a warning")
        self._report.write(_row(result), flush=True)
        if not result.complete and self._on_failure is not None:
            self._on_failure(result)

    def _label(self, request: Request) -> str:
        if self._labels.get(request.label, 1) == 1 or request.name in request.label:
            return request.label
        return f"{request.label} ({request.name})"

    def _fail(self, code: ExitCode) -> None:
        self._codes.append(code)

    def close(self) -> None:
        """Finish the report."""
        self._report.close()

    def exit_code(self) -> ExitCode:
        """All, some or none; and where it is none, why, if it is always the same."""
        log.info("%d complete, %d not", self._done, len(self._codes))
        if not self._codes:
            return ExitCode.DONE
        if self._done:
            return ExitCode.PARTLY_DONE
        if len(set(self._codes)) == 1:
            return self._codes[0]
        return ExitCode.PARTLY_DONE if self._partly else ExitCode.NOTHING_DONE


def _code(result: Result) -> ExitCode:
    found = result.tally
    if result.error is not None and found is None:
        return result.error.exit_code
    if found is None or category(found.status) == FAILURE:
        return ExitCode.MOVE_ERROR
    if found.nothing:
        return ExitCode.NOTHING_DONE
    return ExitCode.MOVE_WARNING if result.stored or found.promised else ExitCode.MOVE_ERROR


def _row(result: Result) -> dict[str, Any]:
    request, found = result.request, result.tally
    row: dict[str, Any] = {
        "request": request.label,
        "identifier": {keyword_of(tag): found.value for tag, found in request.identifier.items()},
        "complete": result.complete,
        "problems": list(result.problems),
        "arrived": len(result.stored),
        "refused": len(result.refused),
        "seconds": round(result.seconds, 6),
        "attempts": result.attempts,
        "skipped": result.skipped,
    }
    if found is not None:
        row |= {
            "status": f"{found.status:04X}",
            "comment": found.comment,
            "total": found.total,
            "promised": found.promised,
            "stored": found.operations,
            "warnings": found.warnings,
            "failed": found.failed,
            "remaining": found.remaining,
            "failed_uids": list(found.failed_uids),
            "missing_uids": list(found.missing_uids),
        }
    return row
