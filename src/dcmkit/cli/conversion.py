"""Many files through one conversion: where each goes, several at a time, and what is said of them."""

from __future__ import annotations

import os
from collections import deque
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

from dcmkit.cli.output import Progress, say
from dcmkit.cli.report import Report
from dcmkit.dataset.files import find_files
from dcmkit.errors import (
    DcmkitError,
    ExitCode,
    InputError,
    NoInputError,
    OutputDirectoryError,
    OutputError,
    UsageError,
)
from dcmkit.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from concurrent.futures import Executor, Future

    from dcmkit.pixels.transcode import Outcome, TranscodeOptions

log = get_logger("transcode")


class Job(NamedTuple):
    """One file, where it goes, and what it becomes: a transfer syntax UID, or "" for the one it has."""

    source: str
    target: str
    transfer_syntax_uid: str


class Where(NamedTuple):
    """What was said about output.

    Attributes:
        output: a file or directory; "" with `in_place`.
        overwrite: replace files that are there.
    """

    output: str
    in_place: bool = False
    overwrite: bool = False


class Tally:
    """Counts what became of the files, tells failures on stderr, and writes the report."""

    def __init__(self, report: str) -> None:
        self.done = self.failed = 0
        self._report = Report(report)

    def unreadable(self, path: str, error: DcmkitError) -> None:
        """A file that could not be converted."""
        self.failed += 1
        say(f"{path}: {error}")
        self._report.write({"file": path, "status": "failed", "error": str(error)})

    def add(self, job: Job, outcome: Outcome, seconds: float) -> None:
        """A file that was."""
        self.done += 1
        for warning in outcome.warnings:
            log.warning("%s: %s", job.source, warning)
        log.info("%s: %s, %d frames, %.1f ms", job.target, outcome.action, outcome.frames, seconds * 1000)
        if self._report:
            self._report.write({
                "file": job.source, "output": job.target, "status": "done", "from": outcome.source_syntax,
                "to": outcome.transfer_syntax_uid, "action": outcome.action, "lossy": outcome.lossy,
                "frames": outcome.frames, "sop_instance_uid": outcome.sop_instance_uid,
                "bytes": os.path.getsize(job.target), "seconds": round(seconds, 6),
                "warnings": list(outcome.warnings),
            })  # fmt: skip

    def close(self) -> None:
        """Finish the report."""
        self._report.close()

    def exit_code(self) -> ExitCode:
        """All, some or none."""
        log.info("%d done, %d failed", self.done, self.failed)
        if not self.failed:
            return ExitCode.DONE
        return ExitCode.PARTLY_DONE if self.done else ExitCode.NOTHING_DONE


def convert_files(
    paths: Sequence[str],
    where: Where,
    transfer_syntax_uid: str,
    options: TranscodeOptions,
    tally: Tally,
    *,
    recurse: bool = True,
    pattern: str = "",
) -> None:
    """Convert files, and what is in directories; failures are counted and told, and stop nothing.

    Raises:
        UsageError, InputError, OutputError: nothing can be done at all.
    """
    jobs = list(planned(paths, where, transfer_syntax_uid, tally, recurse=recurse, pattern=pattern))
    if not jobs:
        if not tally.failed:
            raise NoInputError("no files to convert: the directories are empty")
        return
    several = len(jobs) > 1 or _has_frames(jobs[0])
    if several:
        from dcmkit.pixels.memory import keep_freed

        keep_freed()
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # numpy's would spin while it loads, and have nothing to do
    with Progress("converting", objects=len(jobs)) as progress:
        if options.jobs == 1 or not several:
            for job in jobs:
                _report(job, _convert(job, options, None), tally)
                progress.advance()
            return
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(options.jobs, "frame") as frames, ThreadPoolExecutor(options.jobs, "file") as files:
            _several(jobs, options, tally, progress, files, frames)


def _has_frames(job: Job) -> bool:
    """Whether a file has several frames, as far as one can see: threads take their time to start."""
    from dcmkit.pixels.image_file import ImageFile

    try:
        with ImageFile(job.source) as image:
            return image.number_of_frames > 1
    except DcmkitError:
        return False


def _several(
    jobs: list[Job], options: TranscodeOptions, tally: Tally, progress: Progress, files: Executor, frames: Executor
) -> None:
    waiting: deque[tuple[Job, Future[tuple[Outcome | DcmkitError, float]]]] = deque()
    try:
        for job in jobs:
            if len(waiting) >= 4 * options.jobs:
                _finish(waiting, tally, progress)
            waiting.append((job, files.submit(_convert, job, options, frames)))
        while waiting:
            _finish(waiting, tally, progress)
    finally:
        for _, future in waiting:
            future.cancel()


def _finish(
    waiting: deque[tuple[Job, Future[tuple[Outcome | DcmkitError, float]]]], tally: Tally, progress: Progress
) -> None:
    job, future = waiting.popleft()
    _report(job, future.result(), tally)
    progress.advance()


def _report(job: Job, result: tuple[Outcome | DcmkitError, float], tally: Tally) -> None:
    outcome, seconds = result
    if isinstance(outcome, DcmkitError):
        tally.unreadable(job.source, outcome)
    else:
        tally.add(job, outcome, seconds)


def _convert(job: Job, options: TranscodeOptions, frames: Executor | None) -> tuple[Outcome | DcmkitError, float]:
    from dcmkit.pixels.image_file import ImageFile
    from dcmkit.pixels.transcode import convert

    began = perf_counter()
    try:
        with ImageFile(job.source) as image:
            syntax = job.transfer_syntax_uid or image.transfer_syntax_uid
            return convert(image, job.target, syntax, options, pool=frames), perf_counter() - began
    except DcmkitError as error:
        return error, perf_counter() - began
    except MemoryError:
        return OutputError("out of memory"), perf_counter() - began


# --- where files go ------------------------------------------------------------------------------------------------


def planned(
    paths: Sequence[str], where: Where, transfer_syntax_uid: str, tally: Tally, *, recurse: bool, pattern: str
) -> Iterator[Job]:
    """What is to be converted into which file; what cannot be is counted as failed.

    Raises:
        UsageError: the output cannot be meant so.
        OutputDirectoryError: it cannot be made.
    """
    single = len(paths) == 1 and not os.path.isdir(paths[0])
    as_file = single and not where.in_place and not _is_directory(where.output)
    if not as_file and not where.in_place:
        _make_directory(where.output)
    taken: set[str] = set()
    for path, root in _found(paths, tally, recurse, pattern):
        relative = os.path.relpath(path, root) if root else os.path.basename(path)
        target = path if where.in_place else where.output if as_file else os.path.join(where.output, relative)
        error = _objection(path, target, where, taken)
        if error is not None:
            tally.unreadable(path, error)
            continue
        taken.add(target)
        if not as_file and not where.in_place:
            _make_directory(os.path.dirname(target))
        yield Job(path, target, transfer_syntax_uid)


def _found(paths: Sequence[str], tally: Tally, recurse: bool, pattern: str) -> list[tuple[str, str]]:
    """All files, and the directory named above each: listed before the first output is written."""
    return [
        (path, named if path != named else "")
        for named in paths
        for path in find_files([named], tally.unreadable, recurse=recurse, pattern=pattern)
    ]


def _is_directory(path: str) -> bool:
    return os.path.isdir(path) or path.endswith(("/", os.sep))


def _make_directory(path: str) -> None:
    try:
        os.makedirs(path or ".", exist_ok=True)
    except OSError as error:
        raise OutputDirectoryError(f"{path} cannot be made: {error.strerror or error}") from None


def _objection(source: str, target: str, where: Where, taken: set[str]) -> DcmkitError | None:
    if where.in_place:
        return None
    if target in taken:
        return OutputError(f"another file was converted to {target} already")
    if not os.path.lexists(target):
        return None
    try:
        if os.path.samefile(source, target):
            return InputError("would be overwritten by its own output", hint="say --in-place, or choose another OUT")
    except OSError:
        pass
    if not where.overwrite:
        return OutputError(f"{target} is there already", hint="say --overwrite, or choose another OUT")
    return None


def where_to(paths: Sequence[str], output: str, *, in_place: bool, overwrite: bool) -> Where:
    """What was said about output, checked.

    Raises:
        UsageError: it is contradictory or missing.
    """
    if not paths:
        raise NoInputError("no files to convert", hint="name files or directories")
    if in_place and output:
        raise UsageError("--in-place and --output exclude each other")
    if not in_place and not output:
        raise UsageError("where to? --output is missing", hint="say -o FILE, -o DIRECTORY, or --in-place")
    return Where(output, in_place, overwrite)
