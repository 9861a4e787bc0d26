"""Send objects to a DICOMweb server."""

from __future__ import annotations

import os
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import click

from dcmkit.cli.options import build, invocation, settings_options, tool, web_peer_argument
from dcmkit.cli.output import Progress, environment, say
from dcmkit.cli.sending import SendOutcome, listed, path_options
from dcmkit.cli.web_peer import WebPeer, WebPeerSettings, peer_of
from dcmkit.dataset.files import find_files
from dcmkit.errors import DcmkitError, ExitCode, InputError, NoInputError, UsageError
from dcmkit.logs import get_logger
from dcmkit.settings import RetrySettings, size_of, size_text
from dcmkit.uids import is_uid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dcmkit.services.journal import Journal
    from dcmkit.services.sending import Sent

log = get_logger("stow")

EXAMPLES = (
    ("Send what a directory holds", "dcmkit stow http://localhost:8080/dicom-web study/"),
    ("Send to a configured server over four connections", "dcmkit stow @raccoon study/ --jobs 4 --report sent.jsonl"),
    ("Send what a list names, and go on where it stopped",
     "find /data -name '*.dcm' -print0 | dcmkit stow @raccoon - --journal sent.journal"),
    ("Show a token that a command prints", "dcmkit stow https://pacs.example/dicom-web a.dcm --bearer-cmd 'pass pacs'"),
)  # fmt: skip

_NO_LIMIT = 1 << 62


@tool("stow")
@settings_options(WebPeerSettings, RetrySettings, tool_defaults={"retries": 3, "retry_delay": 1.0})
@web_peer_argument
@click.argument("paths", nargs=-1, metavar="PATHS...")
@path_options
@click.option(
    "--file-list",
    "lists",
    metavar="FILE",
    multiple=True,
    help="what a list names, one path on each line or ended by NUL (-: stdin); may be given several times",
)
@click.option("--study", metavar="UID", default="", help="store into this study: objects of others are refused")
@click.option(
    "--batch",
    metavar="NUMBER",
    type=click.IntRange(1, 100000),
    default=50,
    show_default=True,
    help="so many objects in one request at most",
)
@click.option(
    "--batch-bytes",
    metavar="BYTES",
    default="64m",
    show_default=True,
    help="so many bytes in one request, a larger object goes by itself (0: no limit); k, m and g may follow",
)
@click.option(
    "--jobs",
    metavar="NUMBER",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="send over so many connections at once",
)
@click.option("--journal", metavar="FILE", default="", help="what is stored: run again, only the rest is sent")
@click.option("--report", metavar="FILE", default="", help="write a JSON line for each file: what became of it")
def command(
    server: str,
    paths: tuple[str, ...],
    lists: tuple[str, ...],
    study: str,
    batch: int,
    batch_bytes: str,
    jobs: int,
    journal: str,
    report: str,
    scan_pattern: str,
    recurse: bool,
    **as_always: bool,
) -> ExitCode:
    """Send files, and what is in directories, to a DICOMweb server (STOW-RS).

    PATHS are files and directories; - reads a list of them from stdin. Objects go out in the transfer syntax they are
    in, many in one request. Those that the server refuses, and files that are no DICOM objects, are reported each with
    the reason, and stop nothing; the exit code tells whether all, some or none arrived. A server that is busy or cannot
    be reached is asked again (--retries), after the time it names or one that doubles; a request that is too large for
    it is halved. Objects stored twice do no harm.
    """
    peer = peer_of(server, build(WebPeerSettings), invocation().configuration)
    from dcmkit.web.stow_client import Limits
    from dcmkit.web.stow_jobs import StowJobs

    target = _target(peer, study)
    retry = build(RetrySettings)
    limits = Limits(batch, _bytes(batch_bytes), retry.retries + 1, delay=retry.retry_delay)
    if not paths and not lists:
        raise NoInputError("no files to send", hint="name files or directories after the server")
    names = _Names(paths, lists, pattern=scan_pattern, recurse=recurse)
    with _journal(journal) as kept:
        outcome = Outcome(report, Kept(kept, f"{peer.name} {target}") if kept is not None else None)
        try:
            found = names.files(outcome)
            objects = size = 0
            if environment.stderr_is_terminal and not names.stream:
                known = list(found)
                objects, size, found = len(known), sum(map(_size, known)), iter(known)
            with Progress("sending", objects=objects, size=size) as progress:
                outcome.progress = progress
                work = StowJobs(peer.client, jobs=jobs, limits=limits, target=target)
                unsent = work.store(outcome.new(found), outcome.add)
            if work.error is not None:
                for path in unsent if names.stream else [*unsent, *outcome.new(found)]:
                    outcome.unsent(path, work.error)
                if not outcome.done:
                    raise work.error
                say(f"{environment.program}: {work.error}: the other files were not sent")
        finally:
            outcome.close()
    if not (outcome.done or outcome.failed):
        raise NoInputError("no files to send: the directories and lists are empty")
    return outcome.exit_code()


def _target(peer: WebPeer, study: str) -> str:
    """Where objects are posted to (PS3.18 10.5.1). Raises: UsageError."""
    if len(peer.resource) > 2 or (peer.resource and peer.resource[0] != "studies"):
        raise UsageError("objects are stored into the service or a study", hint="leave out what follows in the URL")
    if study and not is_uid(study):
        raise UsageError(f"option --study: {study!r} is not a UID")
    if study and peer.study and study != peer.study:
        raise UsageError("--study is another one than the URL's")
    chosen = study or peer.study
    return peer.target("studies", chosen) if chosen else peer.target("studies")


def _bytes(text: str) -> int:
    try:
        return size_of(size_text(text)) or _NO_LIMIT
    except UsageError as error:
        raise UsageError(f"option --batch-bytes: {error.message}", hint=error.hint) from None


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:
        return 0


def _journal(path: str) -> Any:
    if not path:
        return nullcontext()
    from dcmkit.services.journal import Journal

    return Journal(path)


class _Names:
    """The files that are named, by themselves, in directories and in lists.

    Attributes:
        stream: whether more of them come from somebody who may still be at work.
    """

    def __init__(self, paths: tuple[str, ...], lists: tuple[str, ...], *, pattern: str, recurse: bool) -> None:
        self._paths, self._lists = paths, lists
        self._pattern, self._recurse = pattern, recurse
        self.stream = "-" in paths or "-" in lists
        if [*paths, *lists].count("-") > 1:
            raise UsageError("stdin is named twice")

    def files(self, outcome: Outcome) -> Iterator[str]:
        """They, as they are needed; what cannot be read is told."""
        return find_files(self._all(outcome), outcome.unreadable, recurse=self._recurse, pattern=self._pattern)

    def _all(self, outcome: Outcome) -> Iterator[str]:
        for path in self._paths:
            if path == "-":
                yield from self._listed(path, outcome)
            else:
                yield path
        for name in self._lists:
            yield from self._listed(name, outcome)

    @staticmethod
    def _listed(name: str, outcome: Outcome) -> Iterator[str]:
        try:
            yield from listed(name)
        except InputError as error:
            outcome.unreadable("stdin" if name == "-" else name, error)


class Kept:
    """What the journal says of files: they are known by path, size and time of change."""

    def __init__(self, journal: Journal, key: str) -> None:
        self._journal, self._key = journal, key
        self._arrived = journal.arrived(key)
        self._marks: dict[str, str] = {}

    def is_stored(self, path: str) -> bool:
        """Whether it was stored, as it is now; otherwise it is remembered how it is."""
        try:
            found = os.stat(path)
        except OSError:
            return False
        mark = f"{os.path.abspath(path)} {found.st_size} {found.st_mtime_ns}"
        if mark in self._arrived:
            return True
        self._marks[path] = mark
        return False

    def add(self, path: str) -> None:
        """It is stored. Raises: JournalError."""
        mark = self._marks.pop(path, "")
        if mark:
            self._journal.add(self._key, mark, "")


class Outcome(SendOutcome):
    """What became of the files.

    Attributes:
        skipped: those that the journal says are stored.
    """

    log = log

    def __init__(self, report: str, kept: Kept | None = None) -> None:
        super().__init__(report)
        self._kept = kept
        self.skipped = 0
        self.progress: Progress | None = None

    def new(self, paths: Iterator[str]) -> Iterator[str]:
        """Those that are still to be sent."""
        for path in paths:
            if self._kept is not None and self._kept.is_stored(path):
                self.done += 1
                self.skipped += 1
                if self.progress is not None:
                    self.progress.advance(1, _size(path))
                log.info("%s: stored before, as the journal says", path)
                self._report.write({"file": path, "status": "0000", "comment": "stored before"})
            else:
                yield path

    def add(self, sent: Sent) -> None:
        """See `SendOutcome`."""
        super().add(sent)
        if sent.stored and self._kept is not None:
            self._kept.add(sent.path)
        if self.progress is not None:
            self.progress.advance(1, sent.size)

    def row(self, sent: Sent) -> dict[str, Any]:
        """See `SendOutcome`."""
        row = super().row(sent)
        del row["transcoded"]
        status = getattr(sent.error, "status", None)
        return row if status is None else {**row, "http_status": status}

    def unreadable(self, path: str, error: DcmkitError) -> None:
        """See `SendOutcome`."""
        super().unreadable(path, error)
        if self.progress is not None:
            self.progress.advance(1)

    def exit_code(self) -> ExitCode:
        """See `SendOutcome`; where there was no object among the files, that is said."""
        code = super().exit_code()
        bad = self._reasons <= {ExitCode.CANNOT_READ_INPUT, ExitCode.INVALID_INPUT_FILE}
        return ExitCode.NO_VALID_INPUT_FILES if code == ExitCode.NOTHING_DONE and bad else code
