"""Search a DICOMweb server by QIDO-RS: patients, studies, series, instances"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from dcmkit.cli.answers import ANSWER_FORMATS, columns_of, printer
from dcmkit.cli.keys import override, parse_queries
from dcmkit.cli.options import build, invocation, settings_options, tool, web_peer_argument
from dcmkit.cli.output import environment, say
from dcmkit.cli.query_defaults import LEVELS, completed
from dcmkit.cli.web_peer import WebPeerSettings, peer_of
from dcmkit.errors import DcmkitError, ExitCode, UsageError
from dcmkit.settings import RetrySettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dcmkit.cli.answers import Printer
    from dcmkit.dataset.elements import DataSet
    from dcmkit.web.qido_client import QidoClient, Query
    from dcmkit.web.wado_targets import Place

EXAMPLES = (
    ("All studies of a patient", "dcmkit qido https://pacs.example/dicom-web -k PatientID=4711"),
    ("Studies of a week as JSON lines", "dcmkit qido @raccoon -k StudyDate=20240101-20240107 --format jsonl"),
    ("The series of a study", "dcmkit qido https://pacs.example/dicom-web/studies/1.2.3/series"),
    (
        "What a query found, retrieved",
        "dcmkit qido @raccoon -k StudyDate=20240101- --format jsonl | dcmkit wado @raccoon --list - -od found",
    ),
)

_LEVELS = {**LEVELS, "instance": LEVELS["image"]}
_COLLECTIONS = {"patients": "PATIENT", "studies": "STUDY", "series": "SERIES", "instances": "IMAGE"}


@tool("qido")
@settings_options(WebPeerSettings, RetrySettings, tool_defaults={"retries": 3, "retry_delay": 1.0})
@web_peer_argument
@click.argument("query_files", nargs=-1, metavar="[FILES]...")
@click.option("-k", "--key", "keys", metavar="KEY", multiple=True, help="a key to match by, or to be answered")
@click.option("--level", type=click.Choice(list(_LEVELS)), default=None, help="what is asked for; so the path may say")
@click.option("--study", metavar="UID", default="", help="in this study; as -k")
@click.option("--series", metavar="UID", default="", help="in this series; as -k")
@click.option("--accession", metavar="NUMBER", default="", help="with this Accession Number; as -k")
@click.option("--patient-id", metavar="ID", default="", help="with this Patient ID; as -k")
@click.option(
    "--include", metavar="FIELD", multiple=True, help="answer this attribute too, or all; may be given several times"
)
@click.option("--fuzzy", is_flag=True, help="match names that sound alike, where the server can")
@click.option("--limit", metavar="NUMBER", type=click.IntRange(1), default=None, help="take so many answers")
@click.option("--format", "form", type=click.Choice(list(ANSWER_FORMATS)), default=None, help="how answers are printed")
def command(server: str, query_files: tuple[str, ...], keys: tuple[str, ...], **given: Any) -> ExitCode:
    """Search by QIDO-RS, and print the answers as they arrive.

    Keys are written PatientID=1, 0010,0020=1 or RequestAttributesSequence[0].ScheduledProcedureStepID=7; one without a
    value is to be answered. Where no key is to be answered, the usual ones of the level are. Query files are DICOM
    files, bare data sets or DICOM JSON; each is a query of its own, and keys override what is in it.

    The URL is that of the service, or of what is searched: .../studies/UID/series. The level is study where nothing
    says otherwise. All pages of the answers are asked for, whether the server says that there are more or not.
    """
    from dcmkit.web.http_url import parse_url
    from dcmkit.web.qido_client import QidoClient
    from dcmkit.web.repeating import Asker, Patience
    from dcmkit.web.wado_targets import place_of

    peer = peer_of(server, build(WebPeerSettings), invocation().configuration)
    place = place_of(parse_url(peer.url).target)
    queries = _queries(keys, query_files, given, place)
    columns = list(dict.fromkeys(column for query in queries for column in columns_of(query.keys)))
    show = printer(given["form"] or "table", columns)
    retry = build(RetrySettings)
    with peer.client() as client:
        finder = QidoClient(Asker(client, Patience(retry.retries, retry.retry_delay)), place.root)
        return _ask(finder, queries, show, given["limit"] or 0)


def _queries(keys: tuple[str, ...], files: tuple[str, ...], given: dict[str, Any], place: Place) -> list[Query]:
    from dcmkit.services.find_scu import PATIENT_ROOT_FIND, STUDY_ROOT_FIND
    from dcmkit.web.qido_client import Query

    shortcuts = [
        f"{name}={given[option]}"
        for name, option in (
            ("StudyInstanceUID", "study"), ("SeriesInstanceUID", "series"), ("AccessionNumber", "accession"),
            ("PatientID", "patient_id"),
        )
        if given[option]
    ]  # fmt: skip
    level = _COLLECTIONS.get(place.collection, "")
    asked = _LEVELS.get(given["level"] or "", "")
    if level and asked and level != asked:
        raise UsageError(f"--level {given['level']} with the URL of {place.collection}", hint="say one of them")
    if place.rest:
        raise UsageError("that URL is of something that cannot be searched", hint="say .../studies, or the service's")
    level = asked or level or ("" if place.target is None else _below(place.target.level))
    include = [name for text in given["include"] for name in text.split(",") if name]
    found = []
    for identifier in parse_queries([*keys, *shortcuts], files):
        query: DataSet = completed(identifier, PATIENT_ROOT_FIND if level == "PATIENT" else STUDY_ROOT_FIND, level)
        fields: DataSet = {}
        override(fields, [name for name in include if name != "all"])
        for tag, field in fields.items():
            query.setdefault(tag, field)
        every = ("all",) if "all" in include else ()
        found.append(Query(_level(query), query, place.target, every, given["fuzzy"], _own(place.query)))
    return found


def _level(query: DataSet) -> str:
    from dcmkit.dataset.elements import text
    from dcmkit.services.models import QUERY_RETRIEVE_LEVEL

    level = text(query, QUERY_RETRIEVE_LEVEL)
    return level if level in _LEVELS.values() else "STUDY"


def _below(level: str) -> str:
    """What the URL of a study or series is searched for."""
    return "SERIES" if level == "STUDY" else "IMAGE"


def _own(query: str) -> str:
    """What the URL itself asks; pages are our business."""
    return "&".join(part for part in query.split("&") if part and part.partition("=")[0] not in ("limit", "offset"))


def _ask(finder: QidoClient, queries: Sequence[Query], show: Printer, limit: int) -> ExitCode:
    """Ask them all; every failure is told, and one does not stop the others."""
    failures: list[DcmkitError] = []
    count = 0
    try:
        for query in queries:
            try:
                for answer in finder.answers(query, limit - count if limit else 0):
                    show.add(answer)
                    count += 1
            except DcmkitError as error:
                if len(queries) == 1 and not count:
                    raise
                failures.append(error)
            show.pause()
            if limit and count >= limit:
                break
    finally:
        show.close()
    for failure in failures:
        say(f"{environment.program}: error: {failure}")
    if finder.faulty:
        say(f"{environment.program}: error: {finder.faulty} of the server's answers could not be read")
    if failures or finder.faulty:
        if count:
            return ExitCode.PARTLY_DONE
        return failures[0].exit_code if failures else ExitCode.NOTHING_DONE
    return ExitCode.DONE
