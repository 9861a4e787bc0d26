"""Receive objects by C-STORE into an archive and index them."""

from __future__ import annotations

import click

from dcmkit.cli.anonymized import AnonymizeSettings, anonymization_of
from dcmkit.cli.configuration import port_number
from dcmkit.cli.forwarding import ForwardSettings, forwards_of
from dcmkit.cli.options import build, invocation, settings_options, tool
from dcmkit.errors import UsageError
from dcmkit.settings import ArchiveSettings, AssociationSettings, ListenerSettings

EXAMPLES = (
    ("Receive on port 6066 into the directory archive", "dcmkit storescp 6066 -aet RACCOON_SCP -od archive -v"),
    (
        "Two worker processes, folders by patient and study date",
        "dcmkit storescp 6066 --workers 2 --layout '{PatientID}/{StudyDate}/{SOPInstanceUID}.dcm'",
    ),
    (
        "Pass on everything to an archive, and keep nothing",
        "dcmkit storescp 6066 -od router --forward ARCHIVE@192.0.2.10:11112 --forward-delete",
    ),
    (
        "Pass on everything to a DICOMweb server, however often that is down",
        "dcmkit storescp 6066 -aet RACCOON_SCP -od router --forward-stow http://127.0.0.1:8081/dicom-web/studies",
    ),
    (
        "De-identify what comes, and pass it on",
        "dcmkit storescp 6066 -od research --anonymize basic --anonymize-key study.key --forward @research",
    ),
    (
        "Take objects from two peers only",
        "dcmkit storescp 6066 --allow-calling-ae-title CT1 --allow-calling-ae-title MR1",
    ),
)


@tool("storescp")
@settings_options(
    ListenerSettings,
    AssociationSettings,
    ArchiveSettings,
    ForwardSettings,
    AnonymizeSettings,
    tool_defaults={"calling_ae_title": "STORESCP"},
)
@click.argument("port")
@click.option("--ignore", is_flag=True, help="receive objects, answer Success, and forget them")
@click.option("--known-only", is_flag=True, help="take only the storage SOP classes of the standard, no private ones")
@click.option("+B", "--bit-preserving", is_flag=True, help="write data sets exactly as received; always so")
@click.option("+xa", "--accept-all", is_flag=True, help="accept all transfer syntaxes; always so")
@click.option("-pm", "--promiscuous", is_flag=True, help="accept unknown SOP classes; so unless --known-only")
@click.option("--fork", is_flag=True, help="serve associations side by side; always so (see --workers)")
@click.option("-dhl", "--disable-host-lookup", is_flag=True, help="do not look host names up; never done")
@click.option("+F", "--write-file", is_flag=True, help="write DICOM files with file meta information; always so")
def command(port: str, ignore: bool, known_only: bool, **as_always: bool) -> None:
    """Listen on PORT and file what peers send, as DCMTK's storescp does, with an index.

    Objects go to --output-directory, by default the current directory; `dcmkit index` looks into it. SIGTERM or
    Ctrl-C end the service in order: objects on their way are finished, and what was not yet forwarded waits in the
    directory for the next start.
    """
    from dcmkit.services.server import serve_storage

    association = build(AssociationSettings)
    forwards = forwards_of(build(ForwardSettings), association, invocation().configuration)
    anonymization = anonymization_of(build(AnonymizeSettings))
    if ignore and (forwards is not None or anonymization is not None):
        raise UsageError("--ignore stores nothing, so nothing is forwarded or de-identified", hint="leave it out")
    serve_storage(
        port_number(port),
        build(ListenerSettings),
        association,
        None if ignore else build(ArchiveSettings),
        known_only=known_only,
        forwards=forwards,
        anonymization=anonymization,
    )
