"""Retrieve objects by C-MOVE, to here or to somebody else."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from dcmkit.cli.configuration import port_number
from dcmkit.cli.options import Peer, build, invocation, peer_argument, settings_options, tool
from dcmkit.cli.output import say
from dcmkit.cli.retrieval import (
    PREFERRED,
    Given,
    chosen_model,
    destination,
    identifier_syntaxes,
    retrieval_options,
    run,
    wants,
)
from dcmkit.cli.retrieval_report import Outcome
from dcmkit.errors import ExitCode
from dcmkit.logs import get_logger
from dcmkit.net.route import local_address
from dcmkit.protocol.status import MOVE_DESTINATION_UNKNOWN
from dcmkit.services.move_scu import MoveSCU, Receiver
from dcmkit.services.user_identity import identity
from dcmkit.settings import (
    ArchiveSettings,
    QuerySettings,
    RequestorSettings,
    RetrieveSettings,
    RetrySettings,
    UserIdentitySettings,
    ae_title,
)
from dcmkit.uids import IMPLICIT_VR_LITTLE_ENDIAN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dcmkit.services.retrieve_jobs import Result

log = get_logger("movescu")

PORT = 11112
"""Where to receive when no port is given: the port registered for DICOM that needs no rights."""

EXAMPLES = (
    ("Receive a study here", "dcmkit movescu @pacs -aet WORKSTATION +P 11112 --study 1.2.3 -od study"),
    ("Have it sent to somebody else", "dcmkit movescu @pacs -aem WORKSTATION --accession A-1"),
    (
        "All studies of a list into an archive, two at a time, with a record of what is done",
        "dcmkit movescu @pacs +P 11112 --list studies.csv --archive archive --jobs 2 --journal studies.journal",
    ),
)


@tool("movescu")
@settings_options(
    RequestorSettings,
    UserIdentitySettings,
    RetrieveSettings,
    RetrySettings,
    QuerySettings,
    ArchiveSettings,
    tool_defaults={"calling_ae_title": "MOVESCU"},
)
@peer_argument
@retrieval_options
@click.option("-aem", "--move", "move", metavar="AETITLE", default="", help="AE title to send to (default: my own)")
@click.option("+P", "--port", "port", metavar="PORT", help="receive here, on this port (0: any that is free)")
@click.option(
    "--wait",
    metavar="SECONDS",
    type=click.FloatRange(0, 3600),
    default=5.0,
    help="wait so long after the final response for objects on their way",
)
@click.option("--no-port", is_flag=True, help="do not receive; so unless +P, -od, --archive or --ignore")
@click.option("+xa", "--accept-all", is_flag=True, help="accept all transfer syntaxes; always so")
@click.option("-ac", "--access-full", is_flag=True, help="accept associations from any host; always so")
@click.option("-dhl", "--disable-host-lookup", is_flag=True, help="do not look host names up; never done")
@click.option("-pi", "--pending-ignore", is_flag=True, help="do not expect data sets in pending responses")
@click.option("-pr", "--pending-read", is_flag=True, help="read data sets in pending responses; where there are any")
@click.option("-up", "--uid-padding", is_flag=True, help="take space-padded UIDs; always so")
@click.option("+F", "--write-file", is_flag=True, help="write DICOM files with file meta information; always so")
@click.option("+t=", "--write-xfer-same", is_flag=True, help="write the transfer syntax received; always so")
def command(peer: Peer, move: str, port: str | None, wait: float, **options: Any) -> ExitCode:
    """Have a peer send objects, as DCMTK's movescu does: here, or to the AE that -aem names.

    With -od, --archive or +P it receives by itself, on all addresses of this machine, before it asks; the peer must
    know its AE title with this machine's address and the port (11112 unless +P says otherwise). Where it does not, the
    line that its administrator must add is shown.

    What to retrieve is named as for getscu. What was asked for, what the peer promised and what arrived are compared:
    a difference is an error.
    """
    given = Given.of(options)
    settings, user_identity = build(RequestorSettings), identity(build(UserIdentitySettings))
    model, syntaxes = chosen_model(given), identifier_syntaxes()
    title = ae_title(move) if move else settings.calling_ae_title
    receives = bool(port is not None or given.archive or given.ignore or "output_directory" in invocation().given)
    listen_on = PORT if port is None else 0 if port == "0" else port_number(port)
    told = _Adding(peer, title, receives)
    outcome = Outcome(given.report, receives=receives, on_failure=told)
    try:
        wanted = wants(given, outcome)
        with _receiver(given, settings, listen_on, chosen=port == "0") if receives else _nowhere() as receiver:
            told.port = receiver.port if receiver is not None else 0

            def make() -> MoveSCU:
                return MoveSCU(
                    peer.host,
                    peer.port,
                    settings,
                    model,
                    title,
                    receiver,
                    user_identity=user_identity,
                    identifier_syntaxes=syntaxes,
                    cancel_after=given.cancel or 0,
                    wait=wait,
                )

            code = run(given, outcome, make, wanted, ask_sop_classes=False)
            if receiver is not None and receiver.strangers:
                say(f"{receiver.strangers} objects came that we did not ask for; they are stored, and not counted")
            return code
    finally:
        outcome.close()


@contextmanager
def _nowhere() -> Iterator[None]:
    yield None


@contextmanager
def _receiver(given: Given, settings: RequestorSettings, port: int, *, chosen: bool) -> Iterator[Receiver]:
    """The storage SCP of this run, listening."""
    preferred = build(RetrieveSettings).preferred_syntax
    only = (IMPLICIT_VR_LITTLE_ENDIAN,) if preferred == "implicit" else ()
    with destination(given) as store:
        receiver = Receiver(
            port,
            settings.calling_ae_title,
            store,
            settings,
            transfer_syntaxes=only,
            prefer=PREFERRED[preferred],
        )
        log.info("%s receives on port %d", settings.calling_ae_title, receiver.port)
        if chosen:
            say(f"receiving on port {receiver.port}")
        with receiver:
            yield receiver


class _Adding:
    """Says once what the administrator of a peer has to add that does not know the destination (A801H)."""

    def __init__(self, peer: Peer, title: str, receives: bool) -> None:
        self.port = 0
        self._peer = peer
        self._title = title
        self._receives = receives
        self._said = False

    def __call__(self, result: Result) -> None:
        """A result that is not complete."""
        if result.tally is None or result.tally.status != MOVE_DESTINATION_UNKNOWN or self._said:
            return
        self._said = True
        title = self._title
        host = (local_address(self._peer.host, self._peer.port) if self._receives else "") or "HOST"
        port = str(self.port) if self._receives else "PORT"
        name = "".join(character if character.isalnum() else "_" for character in title.lower())
        for line in (
            f"the peer does not know the AE title {title}; its administrator must add it:",
            f"  in general: AE title {title}, address {host}, port {port}",
            f"  dcmkit qrscp: --move-destination {title}={host}:{port}",
            f"  DCMTK's dcmqrscp.cfg, HostTable: {name} = ({title}, {host}, {port})",
            f'  Orthanc, DicomModalities: "{name}" : [ "{title}", "{host}", {port} ]',
        ):
            say(line)
