"""Send objects by C-STORE."""

from __future__ import annotations

from collections.abc import Iterator

import click

from dcmkit.cli.options import Peer, build, peer_argument, settings_options, tool
from dcmkit.cli.output import Progress, say
from dcmkit.cli.report import Report
from dcmkit.dataset.files import find_files
from dcmkit.dataset.part10 import read_file_header
from dcmkit.errors import DcmkitError, ExitCode, NoInputError
from dcmkit.logs import get_logger
from dcmkit.services.sending import File, Sent
from dcmkit.services.storage_scu import send_files
from dcmkit.services.user_identity import identity
from dcmkit.settings import RequestorSettings, UserIdentitySettings

log = get_logger("storescu")

EXAMPLES = (
    ("Send what a directory holds", "dcmkit storescu localhost 6066 -aec RACCOON_SCP --scan-directories study/"),
    ("Send to a configured peer, and keep a record", "dcmkit storescu @pacs study/ --report sent.jsonl"),
    ("Send the files of a list", "dcmkit storescu @pacs @list.txt"),
)


@tool("storescu")
@settings_options(RequestorSettings, UserIdentitySettings, tool_defaults={"calling_ae_title": "STORESCU"})
@peer_argument
@click.argument("paths", nargs=-1, metavar="FILES...")
@click.option("+sd", "--scan-directories", is_flag=True, help="take directories as well as files; always so")
@click.option("+sp", "--scan-pattern", metavar="PATTERN", default="", help="from directories only files named so")
@click.option("+r/-r", "--recurse/--no-recurse", default=True, help="enter directories within directories")
@click.option("-f", "--read-dataset", is_flag=True, help="take files without file meta information as well")
@click.option("-nh", "--no-halt", is_flag=True, help="do not stop at the first object that fails; always so")
@click.option("-R", "--required", is_flag=True, help="propose only the presentation contexts needed; always so")
@click.option("--never-transcode", is_flag=True, help="send objects as they are or not at all")
@click.option("--report", metavar="FILE", default="", help="write a JSON line for each file: what became of it")
def command(
    peer: Peer,
    paths: tuple[str, ...],
    scan_pattern: str,
    recurse: bool,
    read_dataset: bool,
    never_transcode: bool,
    report: str,
    **as_always: bool,
) -> ExitCode:
    """Send files, and what is in directories, to a peer, as DCMTK's storescu does.

    Each SOP class is proposed in the files' own transfer syntaxes and uncompressed. Files that are no DICOM objects
    are reported and passed over; the exit code tells whether all, some or none arrived.
    """
    settings = build(RequestorSettings)
    user_identity = identity(build(UserIdentitySettings))
    if not paths:
        raise NoInputError("no files to send", hint="name files or directories after the peer")
    outcome = Outcome(report)
    try:
        files = list(scan(paths, outcome, recurse=recurse, pattern=scan_pattern, allow_bare=read_dataset))
        if not files:
            if not outcome.failed:
                raise NoInputError("no files to send: the directories are empty")
            return ExitCode.NO_VALID_INPUT_FILES
        with Progress("sending", objects=len(files), size=sum(file.header.length for file in files)) as progress:

            def reported(sent: Sent) -> None:
                outcome.add(sent)
                progress.advance(1, sent.size)

            send_files(
                peer.host,
                peer.port,
                files,
                settings,
                user_identity=user_identity,
                transcode=not never_transcode,
                report=reported,
            )
    finally:
        outcome.close()
    return outcome.exit_code()


def scan(paths: tuple[str, ...], outcome: Outcome, *, recurse: bool, pattern: str, allow_bare: bool) -> Iterator[File]:
    """The DICOM files among what is named; the others are failures."""
    for path in find_files(paths, outcome.unreadable, recurse=recurse, pattern=pattern):
        try:
            yield File(path, read_file_header(path, allow_bare=allow_bare))
        except DcmkitError as error:
            outcome.unreadable(path, error)


class Outcome:
    """Counts what became of the files, tells failures on stderr, and writes the report.

    Args:
        report: path of the report, or "".
    """

    def __init__(self, report: str) -> None:
        self.done = 0
        self.failed = 0
        self._reasons: set[ExitCode] = set()
        self._report = Report(report)

    def unreadable(self, path: str, error: DcmkitError) -> None:
        """A file that cannot be sent."""
        self.failed += 1
        self._reasons.add(error.exit_code)
        say(f"{path}: {error}")
        self._report.write({"file": path, "status": None, "comment": str(error)})

    def add(self, sent: Sent) -> None:
        """A file that was sent, or could not be."""
        if sent.stored:
            self.done += 1
            if sent.status:
                log.warning("%s: stored with warning 0x%04X: %s", sent.path, sent.status, sent.comment)
            else:
                log.info("%s: stored in %.1f ms", sent.path, sent.seconds * 1000)
        else:
            self.failed += 1
            self._reasons.add(sent.error.exit_code if sent.error is not None else ExitCode.REQUEST_FAILED)
            status = "" if sent.status is None else f"refused with status 0x{sent.status:04X}: "
            say(f"{sent.path}: {status}{sent.comment}")
        if self._report:
            status_text = None if sent.status is None else f"{sent.status:04X}"
            self._report.write(
                {
                    "file": sent.path,
                    "sop_class_uid": sent.sop_class_uid,
                    "sop_instance_uid": sent.sop_instance_uid,
                    "status": status_text,
                    "comment": sent.comment,
                    "seconds": round(sent.seconds, 6),
                    "bytes": sent.size,
                    "transcoded": sent.transcoded,
                }
            )

    def close(self) -> None:
        """Finish the report."""
        self._report.close()

    def exit_code(self) -> ExitCode:
        """All, some or none; and where it is none, whether the peer just does not take such objects."""
        log.info("%d stored, %d failed", self.done, self.failed)
        if not self.failed:
            return ExitCode.DONE
        if self._reasons == {ExitCode.NO_PRESENTATION_CONTEXT} and not self.done:
            return ExitCode.NO_PRESENTATION_CONTEXT
        return ExitCode.PARTLY_DONE if self.done else ExitCode.NOTHING_DONE
