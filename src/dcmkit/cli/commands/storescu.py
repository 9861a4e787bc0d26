"""Send objects by C-STORE."""

from __future__ import annotations

from collections.abc import Iterator

import click

from dcmkit.cli.options import Peer, build, peer_argument, settings_options, tool
from dcmkit.cli.output import Progress
from dcmkit.cli.sending import SendOutcome, path_options
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
@path_options
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


class Outcome(SendOutcome):
    """What became of the files."""

    log = log
