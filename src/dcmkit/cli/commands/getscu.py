"""Retrieve objects by C-GET."""

from __future__ import annotations

from typing import Any

from dcmkit.cli.options import Peer, build, peer_argument, settings_options, tool
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
from dcmkit.services.get_scu import GetSCU
from dcmkit.services.user_identity import identity
from dcmkit.settings import (
    ArchiveSettings,
    QuerySettings,
    RequestorSettings,
    RetrieveSettings,
    RetrySettings,
    UserIdentitySettings,
)

EXAMPLES = (
    ("Retrieve a study into a folder", "dcmkit getscu localhost 11112 -aec ARCHIVE --study 1.2.3 -od study"),
    ("By accession number, into an archive with its index", "dcmkit getscu @pacs --accession A-1 --archive archive"),
    (
        "All studies of a list, three at a time; run again after an interruption, only the rest is retrieved",
        "dcmkit getscu @pacs --list studies.csv --jobs 3 --retries 5 --journal studies.journal -od studies",
    ),
    (
        "What a query found",
        "dcmkit findscu @pacs -k StudyDate=20260101- --format jsonl | dcmkit getscu @pacs --list - -od found",
    ),
)


@tool("getscu")
@settings_options(
    RequestorSettings,
    UserIdentitySettings,
    RetrieveSettings,
    RetrySettings,
    QuerySettings,
    ArchiveSettings,
    tool_defaults={"calling_ae_title": "GETSCU"},
)
@peer_argument
@retrieval_options
def command(peer: Peer, **options: Any) -> ExitCode:
    """Retrieve objects on the association that asks for them, as DCMTK's getscu does.

    What to retrieve is named by its UID, accession number or patient ID, by a list, or by keys and query files; what
    the retrieve model does not know is looked up first. The peer is asked which SOP classes there are, and each is
    proposed in every transfer syntax there is room for, so that objects come as they are stored.

    Objects go to --output-directory, named {Modality}.{SOPInstanceUID} unless --layout says otherwise, or into an
    archive. What was asked for, what the peer promised and what arrived are compared: a difference is an error.
    """
    given = Given.of(options)
    settings, user_identity = build(RequestorSettings), identity(build(UserIdentitySettings))
    preferred = build(RetrieveSettings).preferred_syntax
    model, syntaxes = chosen_model(given), identifier_syntaxes()
    outcome = Outcome(given.report)
    try:
        wanted = wants(given, outcome)
        with destination(given) as store:

            def make() -> GetSCU:
                return GetSCU(
                    peer.host,
                    peer.port,
                    settings,
                    model,
                    store,
                    user_identity=user_identity,
                    prefer=PREFERRED[preferred],
                    only_preferred=preferred == "implicit",
                    identifier_syntaxes=syntaxes,
                    cancel_after=given.cancel or 0,
                )

            return run(given, outcome, make, wanted, ask_sop_classes=True)
    finally:
        outcome.close()
