"""Ask a peer what it has by C-FIND: patients, studies, series, images, worklists."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dcmkit.cli.answers import ANSWER_FORMATS, Extraction, columns_of, printer
from dcmkit.cli.asking import Asking, Plan
from dcmkit.cli.keys import charset_term, parse_queries
from dcmkit.cli.options import Peer, build, invocation, peer_argument, settings_options, tool
from dcmkit.cli.query_defaults import LEVELS, completed
from dcmkit.dataset.elements import DataSet, Element, text
from dcmkit.errors import ExitCode, UsageError
from dcmkit.protocol.user_information import SOPClassExtended
from dcmkit.services.association_request import association_request
from dcmkit.services.find_scu import (
    PATIENT_ROOT_FIND,
    PATIENT_STUDY_ONLY_FIND,
    STUDY_ROOT_FIND,
    TRANSFER_SYNTAXES,
    WORKLIST_FIND,
    Charsets,
    find_contexts,
)
from dcmkit.services.models import (
    BY_FIND,
    PATIENT,
    QUERY_RETRIEVE_LEVEL,
    UNIQUE_KEYS,
    FindExtended,
    encode_extended,
)
from dcmkit.services.user_identity import identity
from dcmkit.settings import QuerySettings, RequestorSettings, RetrySettings, UserIdentitySettings
from dcmkit.uids import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    is_uid,
    resolve,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

EXAMPLES = (
    ("All studies of a patient", "dcmkit findscu @pacs -S -k PatientID=4711"),
    ("Studies of a week as JSON lines", "dcmkit findscu @pacs -S -k StudyDate=20240101-20240107 --format jsonl"),
    (
        "Everything an archive has, though it answers no more than 500 studies at a time",
        "dcmkit findscu @pacs -S --split-date 30d --format csv",
    ),
    (
        "The worklist of a scanner",
        "dcmkit findscu @ris -W -k 'ScheduledProcedureStepSequence[0].ScheduledStationAETitle=CT1'",
    ),
    ("As DCMTK's findscu: answers into files", "dcmkit findscu -S -X -od out localhost 11112 query.dcm"),
)

_MODELS = {"W": WORKLIST_FIND, "P": PATIENT_ROOT_FIND, "S": STUDY_ROOT_FIND, "O": PATIENT_STUDY_ONLY_FIND}
_CHARSET, _STUDY_DATE = 0x00080005, 0x00080020
_PROPOSALS = {
    "xe": TRANSFER_SYNTAXES,
    "xb": (EXPLICIT_VR_BIG_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN),
    "xd": (DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, *TRANSFER_SYNTAXES),
    "xi": (IMPLICIT_VR_LITTLE_ENDIAN,),
}


def _choice(*flags: str, to: str, value: str, help: str) -> Callable[[Any], Any]:  # noqa: A002
    return click.option(*flags, to, flag_value=value, default=None, help=help)


@tool("findscu")
@settings_options(
    RequestorSettings,
    RetrySettings,
    QuerySettings,
    UserIdentitySettings,
    tool_defaults={"calling_ae_title": "FINDSCU"},
)
@peer_argument
@click.argument("query_files", nargs=-1, metavar="[FILES]...")
@click.option("-k", "--key", "keys", metavar="KEY", multiple=True, help="a key to match by, or to be answered")
@_choice("-W", "--worklist", to="model", value="W", help="modality worklist information model; so by default")
@_choice("-P", "--patient", to="model", value="P", help="patient root information model")
@_choice("-S", "--study", to="model", value="S", help="study root information model; so where a level is asked for")
@_choice("-O", "--psonly", to="model", value="O", help="patient/study only information model")
@click.option("--sop-class", metavar="UID", default="", help="any other information model, by UID or keyword")
@click.option("--level", type=click.Choice(list(LEVELS)), default=None, help="what is asked for, as (0008,0052)")
@click.option("--accession", metavar="NUMBER", default="", help="with this Accession Number; as -k")
@click.option("--patient-id", metavar="ID", default="", help="with this Patient ID; as -k")
@click.option("--format", "form", type=click.Choice(list(ANSWER_FORMATS)), default=None, help="how answers are printed")
@click.option(
    "--limit", metavar="NUMBER", type=click.IntRange(1), default=None, help="take so many answers, then cancel"
)
@click.option("--split-date", metavar="DAYS", default="", help="ask in windows of Study Date, such as 7d")
@click.option("--relational", is_flag=True, help="ask for relational queries: keys of any level")
@click.option("--fuzzy", is_flag=True, help="ask for fuzzy matching of person names")
@click.option("--combined-datetime", is_flag=True, help="ask for date and time ranges to be matched as one")
@_choice(
    "-x=",
    "--propose-uncompr",
    to="propose",
    value="xe",
    help="propose all uncompressed transfer syntaxes; so by default",
)
@_choice("-xe", "--propose-little", to="propose", value="xe", help="the same, explicit VR little endian first")
@_choice("-xb", "--propose-big", to="propose", value="xb", help="the same, explicit VR big endian first")
@_choice("-xd", "--propose-deflated", to="propose", value="xd", help="propose deflated explicit VR little endian too")
@_choice("-xi", "--propose-implicit", to="propose", value="xi", help="propose implicit VR little endian only")
@click.option("--repeat", metavar="NUMBER", type=click.IntRange(1), default=1, help="ask everything so many times")
@click.option("--abort", is_flag=True, help="abort the association instead of releasing it")
@click.option("--cancel", metavar="NUMBER", type=click.IntRange(1), default=None, help="cancel after so many answers")
@click.option("-od", "--output-directory", metavar="DIRECTORY", default=".", help="where answers are written as files")
@click.option("+sr", "--show-responses", is_flag=True, help="print answers even where they are written as files")
@click.option("-sr", "--hide-responses", is_flag=True, help="do not print answers")
@click.option("-X", "--extract", is_flag=True, help="write answers as DICOM files: rsp0001.dcm ...")
@click.option("-Xx", "--extract-xml", is_flag=True, help="write answers as XML files: rsp0001.xml ...")
@click.option("-Xs", "--extract-xml-single", metavar="FILE", default="", help="write all answers to one XML file")
@click.option(
    "-Xlo",
    "--limit-output",
    metavar="NUMBER",
    type=click.IntRange(1),
    default=None,
    help="write so many answers at most",
)
@click.option("+u", "--enable-new-vr", is_flag=True, help="support all VRs; always so")
@click.option("-dc", "--disable-correction", is_flag=True, help="take answers as they are; always so")
@click.option("-tls", "--disable-tls", is_flag=True, help="use a plain TCP connection; always so")
def command(peer: Peer, query_files: tuple[str, ...], keys: tuple[str, ...], **given: Any) -> ExitCode:
    """Ask a peer by C-FIND, as DCMTK's findscu does, and print the answers as they arrive.

    Keys are written PatientID=1, 0010,0020=1 or ScheduledProcedureStepSequence[0].Modality=CT; one without a value is
    to be answered. Where no key is to be answered, the usual ones of the level are. Query files are DICOM files, bare
    data sets or DICOM JSON; each is a query of its own, and keys override what is in it.

    Without an information model it is the worklist, as with DCMTK, but the study root where a level (or
    --accession, --patient-id, --split-date) is given. The level is STUDY where nothing says otherwise; in the patient
    root without a Patient ID it is PATIENT.

    --split-date asks piece by piece, and halves a piece where the peer caps its answers. Studies without a date are
    not found so.
    """
    shortcuts = [f"AccessionNumber={given['accession']}"] if given["accession"] else []
    shortcuts += [f"PatientID={given['patient_id']}"] if given["patient_id"] else []
    level = LEVELS.get(given["level"] or "", "")
    identifiers = parse_queries([*keys, *shortcuts], query_files)
    if "charset" in invocation().given:
        for identifier in identifiers:
            identifier.pop(_CHARSET, None)
    sop_class = _sop_class(given, identifiers)
    queries = [completed(identifier, sop_class, level) for identifier in identifiers]
    if given["split_date"]:
        queries = [_splittable(query, sop_class) for query in queries]
    plan = _plan(given, sop_class)
    files = Extraction(
        given["output_directory"],
        dicom=given["extract"],
        xml=given["extract_xml"],
        xml_single=given["extract_xml_single"],
        limit=given["limit_output"] or 0,
        sop_class_uid=sop_class,
    )
    extracts = given["extract"] or given["extract_xml"] or bool(given["extract_xml_single"])
    shown = not given["hide_responses"] and (given["show_responses"] or given["form"] or not extracts)
    columns = list(dict.fromkeys(column for query in queries for column in columns_of(query)))
    show = printer(given["form"] or "table", columns) if shown else None
    return Asking(peer, plan, show, files).run(queries * given["repeat"])


def _sop_class(given: dict[str, Any], identifiers: Sequence[DataSet]) -> str:
    if given["sop_class"]:
        if given["model"]:
            raise UsageError("--sop-class and one of -W, -P, -S, -O cannot both be")
        uid = resolve(given["sop_class"])
        if not is_uid(uid):
            raise UsageError(f"--sop-class {given['sop_class']!r} is no UID")
        return uid
    if given["model"]:
        return _MODELS[given["model"]]
    level = LEVELS.get(given["level"] or "") or next(
        (level for identifier in identifiers if (level := text(identifier, QUERY_RETRIEVE_LEVEL))), ""
    )
    if level == PATIENT:
        return PATIENT_ROOT_FIND
    asks = level or given["accession"] or given["patient_id"] or given["split_date"]
    return STUDY_ROOT_FIND if asks else WORKLIST_FIND


def _splittable(query: DataSet, sop_class: str) -> DataSet:
    """With the keys that tell answers apart."""
    level = text(query, QUERY_RETRIEVE_LEVEL)
    if sop_class not in BY_FIND or level == PATIENT or level not in UNIQUE_KEYS:
        raise UsageError("--split-date is for queries of studies, series and images", hint="use it with -S")
    query.setdefault(_STUDY_DATE, Element("DA", ""))
    query.setdefault(UNIQUE_KEYS[level], Element("UI", ""))
    return query


def _plan(given: dict[str, Any], sop_class: str) -> Plan:
    settings = build(RequestorSettings)
    query = build(QuerySettings)
    wanted = FindExtended(given["relational"], given["combined_datetime"], given["fuzzy"])
    extended = []
    if any(wanted):
        length = max(number for number, on in enumerate(wanted, 1) if on)
        extended = [SOPClassExtended(sop_class, encode_extended(wanted, length))]
    window = 0
    if given["split_date"]:
        from dcmkit.services.date_windows import parse_length

        window = parse_length(given["split_date"])
    assume = charset_term(query.assume_charset, "--assume-charset")
    if query.override_charset and not assume:
        raise UsageError("--override-charset needs --assume-charset, which says what to take instead")
    contexts = find_contexts([sop_class], _PROPOSALS[given["propose"] or "xe"])
    return Plan(
        sop_class,
        settings,
        association_request(settings, contexts, identity(build(UserIdentitySettings)), extended=extended),
        build(RetrySettings),
        Charsets(charset_term(query.charset) or "ISO_IR 6", assume, query.override_charset),
        wanted,
        given["limit"] or 0,
        given["cancel"] or 0,
        window,
        given["abort"],
    )
