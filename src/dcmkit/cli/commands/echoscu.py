"""Verify that a peer answers: C-ECHO."""

from __future__ import annotations

import click

from dcmkit.cli.options import Peer, build, peer_argument, settings_options, tool
from dcmkit.cli.output import environment
from dcmkit.errors import NoPresentationContextError, StatusError
from dcmkit.logs import get_logger
from dcmkit.net.association import Association
from dcmkit.protocol.pdu import PresentationContextRQ
from dcmkit.services.association_request import association_request
from dcmkit.services.user_identity import identity
from dcmkit.services.verification import echo
from dcmkit.settings import RequestorSettings, UserIdentitySettings
from dcmkit.uids import IMPLICIT_VR_LITTLE_ENDIAN, VERIFICATION

log = get_logger("echoscu")

EXAMPLES = (
    ("Ask whether a peer answers, and see how fast", "dcmkit echoscu localhost 6066 -aec RACCOON_SCP -v"),
    ("Ask a configured peer ten times", "dcmkit echoscu @pacs --repeat 10"),
)


@tool("echoscu")
@settings_options(RequestorSettings, UserIdentitySettings, tool_defaults={"calling_ae_title": "ECHOSCU"})
@peer_argument
@click.option("--repeat", metavar="NUMBER", type=click.IntRange(1), default=1, help="repeat the C-ECHO so many times")
@click.option("--abort", is_flag=True, help="abort the association instead of releasing it")
def command(peer: Peer, repeat: int, abort: bool) -> None:
    """Ask a peer for an association and send C-ECHO requests, as DCMTK's echoscu does.

    Prints nothing when the peer answers; -v tells the round trip.
    """
    settings = build(RequestorSettings)
    rq = association_request(
        settings,
        [PresentationContextRQ(1, VERIFICATION, (IMPLICIT_VR_LITTLE_ENDIAN,))],
        identity(build(UserIdentitySettings)),
    )
    association = Association.request(peer.host, peer.port, rq, settings)
    try:
        for _ in range(repeat):
            seconds = echo(association)
            log.info("%s answered %s in %.3f ms", settings.called_ae_title, environment.program, seconds * 1000)
    except (NoPresentationContextError, StatusError):  # the association is as good as before
        association.release()
        raise
    if abort:
        association.abort()
    else:
        association.release()
