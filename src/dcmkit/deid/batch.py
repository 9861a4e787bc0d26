"""Many files de-identified: one after the other, or by worker processes; what became of each is told.

Nothing depends on which worker takes a file, or when: pseudonyms come from the key, names from pseudonyms.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from dcmkit.dataset.dictionary import keyword_of
from dcmkit.dataset.values import character_set, decode_text
from dcmkit.deid.cleaning import cleaned_pieces
from dcmkit.deid.descriptors import Descriptors
from dcmkit.deid.engine import DIRECTORY_SOP_CLASS, Anonymized, Anonymizer, QuarantinedError, Source, pixel_pieces
from dcmkit.deid.output import Claim, Output, Written
from dcmkit.deid.pieces import Buffer
from dcmkit.deid.profile import Plan
from dcmkit.deid.pseudonyms import Pseudonyms, Record
from dcmkit.deid.rewriting import Action
from dcmkit.deid.verification import COINCIDENCE, LEAK, Finding, Removed, search
from dcmkit.errors import DcmkitError, OutputError
from dcmkit.uids import DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN

if TYPE_CHECKING:
    from dcmkit.deid.boxes import Box
    from dcmkit.deid.rules import Rules

WRITTEN, PRESENT, QUARANTINED, FAILED = "written", "present", "quarantined", "failed"
_PATIENT_GROUP = 0x0010
_NUMBERS_OF_CASES = frozenset({0x00080050, 0x00200010, 0x00401001, 0x00400009, 0x00321001})
_DESCRIBING_VRS = frozenset({"LO", "SH", "LT", "ST", "UT", "UC", "CS"})
_DIRECTORY = (
    "a DICOMDIR names files of an output directory, as --names short calls them: "
    "say so, or make a new one of the output"
)
_ONE_DIRECTORY = "an output has one DICOMDIR, and another one was first: give each medium an output of its own"
_TOGETHER = 16
"""Files a worker is given at once."""


class Job(NamedTuple):
    """How files are de-identified; can be given to worker processes.

    Attributes:
        boxes: regions of all images to blank, beside those of the rules.
        verify: search each output for what was removed from it.
        detailed: tell every action, for a report.
        guarded: decode pixels that are cleaned in processes of their own, under limits of time and memory.
    """

    plan: Plan
    pseudonyms: Pseudonyms
    output: Output
    rules: Rules | None = None
    boxes: tuple[Box, ...] = ()
    verify: bool = True
    detailed: bool = False
    guarded: bool = False


class Done(NamedTuple):
    """What became of one file.

    Attributes:
        status: `WRITTEN`, `PRESENT`, `QUARANTINED` or `FAILED`.
        reason: why it was quarantined or failed, or what is not in a directory that was written.
        actions: path, action and rule of each attribute that changed.
        counts: attributes by action.
        findings: what `verify` found.
        claim: on the name of the output.
        directory: whether it names other files, and waits until all of them are written.
    """

    source: str
    status: str
    output: str = ""
    reason: str = ""
    sop_instance_uid: str = ""
    actions: tuple[tuple[str, str, str], ...] = ()
    counts: tuple[tuple[str, int], ...] = ()
    findings: tuple[str, ...] = ()
    claim: Claim | None = None
    directory: bool = False


class Worker:
    """Takes files one by one."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._anonymizer = Anonymizer(job.plan, job.pseudonyms, rules=job.rules, remember=job.verify)

    def __call__(self, path: str) -> Done:
        """One file; never raises for what is wrong with it."""
        return self._told_of_errors(path, self._one)

    def directory(self, path: str) -> Done:
        """A DICOMDIR, whose files are in the output."""
        return self._told_of_errors(path, self._directory)

    def _told_of_errors(self, path: str, take: Callable[[str, Source], Done]) -> Done:
        try:
            with Source(path) as source:
                return take(path, source)
        except QuarantinedError as error:
            return Done(path, QUARANTINED, reason=str(error))
        except OutputError as error:
            return Done(path, FAILED, reason=str(error))
        except DcmkitError as error:
            return Done(path, QUARANTINED, reason=f"it cannot be read: {error}")
        except MemoryError:
            return Done(path, FAILED, reason="out of memory")

    def _one(self, path: str, source: Source) -> Done:
        job = self._job
        if source.header.sop_class_uid == DIRECTORY_SOP_CLASS:
            return Done(path, QUARANTINED, reason=_DIRECTORY, directory=True)
        boxes = self._anonymizer.boxes(source, job.boxes)
        made = self._anonymizer(source, cleaned=bool(boxes))
        with ExitStack() as stack:
            pieces: Iterable[Buffer] = file_pieces(source, made)
            if boxes or made.needs_cleaning(source):
                made.note_pixels("regions" if boxes else "overlays" if made.overlay_bits else "comments in codestreams")
                cleaned = cleaned_pieces(path, made, boxes, job.output.room(), guarded=job.guarded)
                pieces = stack.enter_context(cleaned)
            return self._written(path, made, pieces, job.output)

    def _directory(self, path: str, source: Source) -> Done:
        from dcmkit.deid.directory import NAME, Directory

        output = self._job.output
        made, left_out = Directory(self._anonymizer, output)(source)
        target = Output(os.path.join(output.path, NAME), single=True)
        done = self._written(path, made, file_pieces(source, made), target)
        return done if done.reason else done._replace(reason=left_out)

    def _written(self, path: str, made: Anonymized, pieces: Iterable[Buffer], output: Output) -> Done:
        job = self._job
        findings: list[Finding] = []

        def check(content: memoryview, forget: Callable[[], None]) -> None:
            for found in search(
                content, Removed(made.removed), made.charsets, made.transfer_syntax_uid, self._anonymizer.kept,
                moved=job.plan.temporal == "MODIFIED", passed=forget,
            ):  # fmt: skip
                harmless = found.kind == LEAK and _is_harmless(found.removed, made)
                findings.append(found._replace(kind=COINCIDENCE) if harmless else found)
            if any(finding.kind == LEAK for finding in findings):
                raise _LeakError

        try:
            written = output.write(made.place, pieces, path, check=check if job.verify else None)
        except _LeakError:
            written = Written("", QUARANTINED, Claim(""))
        return self._told(path, made, written, findings)

    def _told(self, path: str, made: Anonymized, written: Written, findings: Sequence[Finding]) -> Done:
        reason = ""
        if written.status == QUARANTINED:
            where = ", ".join(dict.fromkeys(one.found_in for one in findings if one.kind == LEAK))
            reason = f"a value that was removed is still there, in {where}: a file of rules can clean or remove it"
        counts = Counter(action.rule.code for action in made.actions)
        actions = tuple(map(told, made.actions)) if self._job.detailed else ()
        found = tuple(f"{one.kind}: {named(one.removed)} in {one.found_in}" for one in findings)
        return Done(
            path,
            written.status,
            written.path,
            reason,
            made.sop_instance_uid,
            actions,
            tuple(counts.items()),
            found,
            written.claim if written.path else None,
        )


def _is_harmless(tag: int, made: Anonymized) -> bool:
    """Whether all that was removed from an attribute are words of the trade, which others have as well."""
    if tag >> 16 == _PATIENT_GROUP or tag in _NUMBERS_OF_CASES:
        return False
    words, charset = Descriptors(), character_set(made.charsets[0] if made.charsets else None)
    texts = [(vr, decode_text(raw, charset)) for vr, raw, removed in made.removed if removed == tag]
    return all(vr in _DESCRIBING_VRS and words.clean(text).split() == text.split() for vr, text in texts)


class _LeakError(Exception):
    """What was about to be written still holds what was removed."""


def file_pieces(source: Source, made: Anonymized) -> Iterator[Buffer]:
    """A whole file."""
    yield made.meta
    if made.transfer_syntax_uid == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
        from dcmkit.pixels.undescribed import deflated

        yield from deflated(_data_set(source, made))
    else:
        yield from _data_set(source, made)


def _data_set(source: Source, made: Anonymized) -> Iterator[Buffer]:
    yield from made.before
    yield from pixel_pieces(source, made)
    yield from made.after


def told(action: Action) -> tuple[str, str, str]:
    """Path, action and rule as a report has them: `0008,1115[1].0020,000E`."""
    parts = [f"{_tag(action.path[at])}[{action.path[at + 1]}]." for at in range(0, len(action.path), 2)]
    return "".join(parts) + _tag(action.tag), action.rule.code, action.rule.source


def _tag(tag: int) -> str:
    return f"{tag >> 16:04X},{tag & 0xFFFF:04X}"


def named(tag: int) -> str:
    """A tag as people know it."""
    return f"{keyword_of(tag) or 'private attribute'} ({_tag(tag)})"


# --- several -----------------------------------------------------------------------------------------------------


def anonymize(paths: Iterable[str], job: Job, *, workers: int = 1) -> Iterator[Done]:
    """What becomes of each file, in the order they are finished.

    A DICOMDIR comes after all that it may name; one of a run is written.

    Args:
        workers: processes; 1 is this one alone. What they recorded is added to `job.pseudonyms.record`.
    """
    directories = []
    for done in _by_processes(paths, job, workers) if workers > 1 else map(Worker(job), paths):
        if done.directory and job.output.fits_directory:
            directories.append(done.source)
        else:
            yield done
    written = False
    for path in sorted(directories):
        done = Done(path, QUARANTINED, reason=_ONE_DIRECTORY) if written else Worker(job).directory(path)
        written = written or done.status in (WRITTEN, PRESENT)
        yield done


def _by_processes(paths: Iterable[str], job: Job, workers: int) -> Iterator[Done]:
    waiting = iter(paths)
    lost = yield from _pooled(iter(lambda: list(islice(waiting, _TOGETHER)), []), job, workers)
    while lost:  # a worker died: which file it was shows when each is taken alone
        path, *lost = lost
        again = yield from _pooled(iter([[path]]), job, 1)
        if again:
            yield Done(path, FAILED, reason="the process that took it died")


def _pooled(chunks: Iterator[list[str]], job: Job, workers: int) -> Generator[Done, None, list[str]]:
    """By a pool of processes; the files that were under way, or still to come, when one of them died."""
    import multiprocessing
    import threading
    from collections import deque
    from concurrent.futures import Future, ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    forks = "fork" in multiprocessing.get_all_start_methods() and threading.active_count() == 1
    context = multiprocessing.get_context("fork" if forks else "spawn")
    pending: deque[tuple[list[str], Future[tuple[list[Done], Record]]]] = deque()
    chunk: list[str] = []
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start, initargs=(job,)) as pool:
        try:
            for chunk in chunks:
                pending.append((chunk, pool.submit(_work, chunk)))
                chunk = []
                while len(pending) > 2 * workers:
                    yield from _finished(pending[0][1].result(), job)
                    pending.popleft()
            while pending:
                yield from _finished(pending[0][1].result(), job)
                pending.popleft()
        except BrokenProcessPool:
            return [path for lost in (*(each for each, _ in pending), chunk, *chunks) for path in lost]
    return []


def _finished(result: tuple[list[Done], Record], job: Job) -> list[Done]:
    done, record = result
    job.pseudonyms.record.add(record)
    return done


_worker: Worker | None = None
_recording: Pseudonyms | None = None


def _start(job: Job) -> None:
    import signal
    import threading

    global _worker, _recording
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its workers
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    _worker, _recording = Worker(job), job.pseudonyms


def _end_with_parent() -> None:
    """Workers that wait for a parent that was killed would wait for ever."""
    from multiprocessing import connection, parent_process

    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def _work(paths: list[str]) -> tuple[list[Done], Record]:
    assert _worker is not None
    assert _recording is not None
    done = [_worker(path) for path in paths]
    return done, _recording.taken()
