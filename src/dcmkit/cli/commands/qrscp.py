"""Serve an archive: store, query and retrieve."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import click

from dcmkit.cli.anonymized import AnonymizeSettings, anonymization_of
from dcmkit.cli.configuration import port_number
from dcmkit.cli.forwarding import ForwardSettings, forwards_of
from dcmkit.cli.invocation import Invocation
from dcmkit.cli.options import Tool, build, invocation, settings_options, tool, warn_of_unknown_keys
from dcmkit.cli.serving_web import leave, scopes_of
from dcmkit.errors import UsageError
from dcmkit.settings import (
    ArchiveSettings,
    AssociationSettings,
    ListenerSettings,
    Option,
    RequestorSettings,
    RetrieveSettings,
    Settings,
    Shortcut,
    option,
)
from dcmkit.web.settings import WebSettings

if TYPE_CHECKING:
    from dcmkit.archive.store import Archive
    from dcmkit.cli.dcmqrscp import QRConfiguration
    from dcmkit.services.access import Peer, Rights, Served
    from dcmkit.services.query_retrieve import Offer
    from dcmkit.services.storage import Destination
    from dcmkit.web.server import Offering, WebService

EXAMPLES = (
    ("Serve the directory archive", "dcmkit qrscp 11112 -aet RACCOON -od archive -v"),
    (
        "With a destination for C-MOVE",
        "dcmkit qrscp 11112 -aet RACCOON -od archive --move-destination VIEWER=192.0.2.7:104",
    ),
    ("DIMSE and DICOMweb over one archive", "dcmkit qrscp 11112 -aet RACCOON -od archive --web 8042"),
    ("As DCMTK's dcmqrscp is configured", "dcmkit qrscp -c /etc/dcmtk/dcmqrscp.cfg"),
)


class _Tables(Option):
    """Sections within a section; only a configuration file can have them."""

    def convert(self, value: Any) -> Any:
        """The sections as they are."""
        if not isinstance(value, dict):
            raise UsageError("this is no section of keys and values", hint="write [qrscp.ae.TITLE]")
        return value


_PROPOSE = (
    "-xs", "--propose-lossless",
    "-xy", "--propose-jpeg8",
    "-xx", "--propose-jpeg12",
    "-xv", "--propose-j2k-lossless",
    "-xw", "--propose-j2k-lossy",
    "-xt", "--propose-jls-lossless",
    "-xu", "--propose-jls-lossy",
    "-xm", "--propose-mpeg2",
    "-xh", "--propose-mpeg2-high",
    "-xn", "--propose-mpeg4",
    "-xl", "--propose-mpeg4-bd",
    "-x2", "--propose-mpeg4-2-2d",
    "-x3", "--propose-mpeg4-2-3d",
    "-xo", "--propose-mpeg4-2-st",
    "-x4", "--propose-hevc",
    "-x5", "--propose-hevc10",
    "-xr", "--propose-rle",
    "-xd", "--propose-deflated",
    "-x=", "--propose-uncompr",
)  # fmt: skip
_PREFER = RetrieveSettings.options["preferred_syntax"]


def _zone(name: str) -> str:
    from dcmkit.archive.moments import check_zone

    return check_zone(name)


class QRSettings(Settings):
    """What is offered to whom."""

    section: ClassVar[str] = "qrscp"
    title: ClassVar[str] = "query/retrieve options"

    ae: Any = _Tables((), "AE titles with their archives", default=())
    move_destination: tuple[str, ...] = option(
        (), "--move-destination", metavar="TITLE=HOST:PORT", multiple=True,
        help="a C-MOVE may go there; may be given several times. Configured nodes are destinations too",
    )  # fmt: skip
    move_restriction: str = option(
        "none", "--move-restriction", metavar="WHAT", choices=("none", "aetitle", "host", "vendor"),
        help="what a move destination must have in common with who asks",
        shortcuts=(
            Shortcut(("--move-unrestricted",), "none", "do not restrict move destinations"),
            Shortcut(("-ZA", "--move-aetitle"), "aetitle", "move to the requesting AE title only"),
            Shortcut(("-ZH", "--move-host"), "host", "move to the requesting host only"),
            Shortcut(("-ZV", "--move-vendor"), "vendor", "move within the requesting vendor only (see VendorTable)"),
        ),
    )  # fmt: skip
    connection_timeout: float = option(
        30.0, "-to", "--timeout", metavar="SECONDS", minimum=0, unit="seconds",
        help="how long to wait for the TCP connection to a move destination (0: as long as the system does)",
    )  # fmt: skip
    max_results: int = option(
        0, "--max-results", metavar="NUMBER", minimum=0,
        help="give at most so many answers to a query, and end it with a warning (0: no limit)",
    )  # fmt: skip
    check_find: bool = option(
        False, "-XF", "--check-find", off_flags=("--no-check-find",),
        help="refuse queries whose keys are not those of their level, unless relational queries were negotiated",
    )  # fmt: skip
    check_move: bool = option(
        False, "-XM", "--check-move", off_flags=("--no-check-move",),
        help="refuse retrieves without the unique keys of the levels above, unless relational retrieve was negotiated",
    )  # fmt: skip
    require_find: bool = option(
        False, "--require-find", help="refuse retrieves of a peer that has not negotiated C-FIND of the same model"
    )
    disable_get: bool = option(False, "--disable-get", help="do not offer C-GET")
    no_patient_root: bool = option(False, "-QP", "--no-patient-root", help="do not offer the patient root models")
    no_study_root: bool = option(False, "-QS", "--no-study-root", help="do not offer the study root models")
    no_patient_study: bool = option(
        False, "-QO", "--no-patient-study", help="do not offer the patient/study only models"
    )
    answer_charset: str = option(
        "", "+C", "--convert-to-charset", metavar="TERM",
        help="character set of answers where the request names none; what does not fit goes out in UTF-8",
        shortcuts=(
            Shortcut(("+A7", "--convert-to-ascii"), "ISO_IR 6", "answer in ASCII where possible"),
            Shortcut(("+U8", "--convert-to-utf8"), "ISO_IR 192", "answer in UTF-8"),
            Shortcut(("+L1", "--convert-to-latin1"), "ISO_IR 100", "answer in ISO 8859-1 where possible"),
        ),
    )  # fmt: skip
    override_answer_charset: bool = option(
        False, "-Cr", "--override-charset", off_flags=("+Cr", "--use-request-charset"),
        help="answer in that character set even where the request names another",
    )  # fmt: skip
    timezone: str = option(
        "", "--timezone", metavar="ZONE", check=_zone,
        help="time zone of objects that do not say theirs, as Europe/Berlin or +0100, for peers that negotiate time"
        " zones in queries (default: that of the system)",
    )  # fmt: skip
    known_only: bool = option(
        False, "--known-only", help="store only the storage SOP classes of the standard, no private ones"
    )
    prefer_syntax: str = option(
        "uncompressed", "--prefer-syntax", metavar="NAME",
        choices=tuple(name for name in _PREFER.choices if name != "implicit"),
        help="transfer syntax to prefer for what is stored; all others are taken too",
        shortcuts=tuple(shortcut for shortcut in _PREFER.shortcuts if shortcut.value != "implicit"),
    )  # fmt: skip
    web: int = option(
        0, "--web", metavar="PORT", minimum=0, maximum=65535,
        help="serve the archive by DICOMweb too, on this port, as section [web] of the configuration says (0: not)",
    )  # fmt: skip
    web_ae: str = option("", "--web-ae", metavar="AETITLE", help="which archive, of several (default: the first)")


@tool("qrscp")
@settings_options(
    QRSettings,
    ListenerSettings,
    AssociationSettings,
    ArchiveSettings,
    ForwardSettings,
    AnonymizeSettings,
    tool_defaults={"calling_ae_title": "QRSCP"},
)
@click.argument("port", required=False)
@click.option("-c", "config_file", metavar="FILE", default="", help="read this file: DCMTK's dcmqrscp.cfg, or TOML")
@click.option("-s", "--single-process", is_flag=True, help="serve all associations in one process; so unless --workers")
@click.option("--fork", is_flag=True, help="serve associations side by side; always so")
@click.option("-ac", "--access-full", is_flag=True, help="do not ask TCP wrappers; always so")
@click.option("-dhl", "--disable-host-lookup", is_flag=True, help="do not look host names of peers up; never done")
@click.option("as_stored", *_PROPOSE, is_flag=True, help="send objects as they are stored, or uncompressed; always so")
@click.option("-Ct", "--transliterate", is_flag=True, help="not needed: what does not fit goes out in UTF-8")
@click.option("-Cd", "--discard-illegal", is_flag=True, help="not needed: what does not fit goes out in UTF-8")
@click.option("+B", "--bit-preserving", is_flag=True, help="write data sets exactly as received; always so")
@click.option("+F", "--write-file", is_flag=True, help="write DICOM files with file meta information; always so")
@click.option("+t=", "--write-xfer-same", is_flag=True, help="write in the transfer syntax of the network; always so")
def command(port: str | None, config_file: str, **as_always: bool) -> None:
    """Serve archives on PORT, as DCMTK's dcmqrscp does: C-ECHO, C-STORE, C-FIND, C-MOVE and C-GET.

    Without a configuration one archive is served, that of --output-directory, to anyone, under any AE title. Several
    AE titles, with rights and peers, come from [qrscp.ae.TITLE] sections or from the tables of a dcmqrscp.cfg. A
    C-MOVE goes to configured destinations only. SIGTERM or Ctrl-C end the service in order.

    With --web the same archive is served by DICOMweb: what C-STORE stored is found and fetched over HTTP in the same
    moment, and the other way round. Its options are those of `dcmkit web`, in section [web] of the configuration.
    """
    run = invocation()
    dcmtk = _read(run, config_file) if config_file else None
    settings = build(QRSettings)
    listener, association = build(ListenerSettings), build(AssociationSettings)
    if dcmtk is not None:
        if dcmtk.max_associations and "max_associations" not in run.given:
            listener = listener.replace(max_associations=dcmtk.max_associations)
        if dcmtk.max_pdu and "max_pdu" not in run.given:
            association = association.replace(max_pdu=dcmtk.max_pdu)
    from dcmkit.cli.served import destinations_of
    from dcmkit.services.access import MoveTargets
    from dcmkit.services.query_retrieve import Beside, serve_archives

    served, alone = _served(run, settings, association, dcmtk)
    peers: dict[str, Peer] = dcmtk.destinations() if dcmtk is not None else {}
    peers |= destinations_of(run.configuration, settings.move_destination)
    targets = MoveTargets(
        peers,
        RequestorSettings(
            max_pdu=association.max_pdu,
            socket_timeout=association.socket_timeout,
            acse_timeout=association.acse_timeout,
            dimse_timeout=association.dimse_timeout,
            connection_timeout=settings.connection_timeout,
        ),
        restriction="" if settings.move_restriction == "none" else settings.move_restriction,
        vendors=dcmtk.vendors if dcmtk is not None else (),
    )
    offering = _offering(settings)
    made: list[WebService] = []

    def beside(store: Archive, destination: Destination, rights: Rights) -> WebService:
        assert offering is not None
        made.append(offering.over(store, destination, scopes_of(rights)))
        return made[0]

    try:
        serve_archives(
            _port(port, dcmtk),
            served,
            targets,
            _offer(settings, dcmtk),
            listener,
            association,
            build(ArchiveSettings),
            any_title=alone and not listener.check_called_ae_title,
            forwards=forwards_of(build(ForwardSettings), association, run.configuration),
            anonymization=anonymization_of(build(AnonymizeSettings)),
            beside=Beside(beside, settings.web_ae) if offering is not None else None,
        )
    finally:
        if offering is not None:
            offering.close()
    if any(service.is_stuck for service in made):
        leave()


def _offering(settings: QRSettings) -> Offering | None:
    """The DICOMweb service, ready to begin. Raises: UsageError, InputError, ListenError."""
    if not settings.web:
        if settings.web_ae:
            raise UsageError("--web-ae without --web", hint="say the port")
        return None
    from dcmkit.web.server import Offering

    return Offering(build(WebSettings), settings.web)


def _read(run: Invocation, path: str) -> QRConfiguration | None:
    """A configuration file of either kind; what is TOML goes where --config goes. Raises: UsageError."""
    from dcmkit.cli.dcmqrscp import looks_like_dcmqrscp, read_dcmqrscp

    if looks_like_dcmqrscp(path):
        return read_dcmqrscp(path)
    run.configuration.read(path)
    run.forget()
    tool_command = click.get_current_context().command
    assert isinstance(tool_command, Tool)
    warn_of_unknown_keys(run, tool_command.settings_classes, path)
    return None


def _served(
    run: Invocation, settings: QRSettings, association: AssociationSettings, dcmtk: QRConfiguration | None
) -> tuple[list[Served], bool]:
    """The AE titles, and whether there is but the one of the command line. Raises: UsageError."""
    from dcmkit.cli.served import served_of
    from dcmkit.services.access import Served

    tables, origin = run.value(QRSettings.options["ae"], "qrscp")
    found = list(dcmtk.served) if dcmtk is not None else []
    if tables:
        found += served_of(tables, origin, run.configuration)
    if not found and dcmtk is not None and "output_directory" not in run.given:
        raise UsageError("the AETable serves no AE title", hint="add an entry to it, or say -od for one archive")
    archive = build(ArchiveSettings)
    if not found:
        return [Served(association.calling_ae_title, archive.output_directory)], True
    if "output_directory" in run.given:
        raise UsageError("-od names one archive, the configuration several", hint="leave one of them out")
    return found, False


def _port(port: str | None, dcmtk: QRConfiguration | None) -> int:
    if port is not None:
        return port_number(port)
    if dcmtk is not None and dcmtk.port:
        return dcmtk.port
    raise UsageError("the port is missing", hint="give it, or NetworkTCPPort in the file of -c")


def _offer(settings: QRSettings, dcmtk: QRConfiguration | None) -> Offer:
    from dcmkit.cli.retrieval import PREFERRED
    from dcmkit.services.models import MODELS, PATIENT_ROOT, PATIENT_STUDY_ONLY, STUDY_ROOT
    from dcmkit.services.query_retrieve import Offer

    without = {
        PATIENT_ROOT: settings.no_patient_root,
        STUDY_ROOT: settings.no_study_root,
        PATIENT_STUDY_ONLY: settings.no_patient_study,
    }
    charset, override = settings.answer_charset, settings.override_answer_charset
    if dcmtk is not None:
        charset, override = charset or dcmtk.charset, override or dcmtk.override_charset
    return Offer(
        models=tuple(model for model in MODELS if not without.get(model, False)),
        get=not settings.disable_get,
        strict_find=settings.check_find,
        strict_retrieve=settings.check_move,
        require_find=settings.require_find,
        limit=settings.max_results,
        charset=charset,
        override_charset=override,
        known_only=settings.known_only,
        preferred=PREFERRED[settings.prefer_syntax],
        timezone=settings.timezone,
    )
