"""What `getscu` and `movescu` share: options, where objects go, what is said about them, and the exit code."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from dcmkit.cli.keys import parse_queries
from dcmkit.cli.options import build, invocation
from dcmkit.cli.output import Progress
from dcmkit.cli.retrieval_report import Outcome
from dcmkit.cli.wanted import ACCESSION_NUMBER, by_options, read_list
from dcmkit.dataset.elements import DataSet, text
from dcmkit.errors import DcmkitError, ExitCode, NetworkError, NoPresentationContextError, StatusError, UsageError
from dcmkit.logs import get_logger
from dcmkit.services.models import (
    PATIENT_ROOT,
    PATIENT_STUDY_ONLY,
    QUERY_RETRIEVE_LEVEL,
    STUDY_ROOT,
    UNIQUE_KEYS,
    Model,
)
from dcmkit.services.retrieve_jobs import Retrieval
from dcmkit.services.retrieve_plan import Planner, Request, Want
from dcmkit.settings import ArchiveSettings, QuerySettings, RetrieveSettings, RetrySettings
from dcmkit.uids import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dcmkit.services.retrieve_jobs import RetrieveSCU
    from dcmkit.services.storage import Destination

log = get_logger("retrieve")

FOLDER_LAYOUT = "{Modality}.{SOPInstanceUID}"
"""File names in a folder, as DCMTK's tools give them."""

_MODELS = {"patient": PATIENT_ROOT, "study": STUDY_ROOT, "psonly": PATIENT_STUDY_ONLY}

_UNCOMPRESSED = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN)
_PROPOSED = {
    "uncompressed": _UNCOMPRESSED,
    "little": _UNCOMPRESSED,
    "big": (EXPLICIT_VR_BIG_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN),
    "deflated": (DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, *_UNCOMPRESSED),
    "implicit": (IMPLICIT_VR_LITTLE_ENDIAN,),
}
_JPEG = "1.2.840.10008.1.2.4."
PREFERRED = {
    "uncompressed": (),
    "little": (EXPLICIT_VR_LITTLE_ENDIAN,),
    "big": (EXPLICIT_VR_BIG_ENDIAN,),
    "lossless": (_JPEG + "70",),
    "jpeg8": (_JPEG + "50",),
    "jpeg12": (_JPEG + "51",),
    "j2k-lossless": (_JPEG + "90",),
    "j2k-lossy": (_JPEG + "91",),
    "jls-lossless": (_JPEG + "80",),
    "jls-lossy": (_JPEG + "81",),
    "mpeg2": (_JPEG + "100",),
    "mpeg2-high": (_JPEG + "101",),
    "mpeg4": (_JPEG + "102",),
    "mpeg4-bd": (_JPEG + "103",),
    "mpeg4-2-2d": (_JPEG + "104",),
    "mpeg4-2-3d": (_JPEG + "105",),
    "mpeg4-2-st": (_JPEG + "106",),
    "hevc": (_JPEG + "107",),
    "hevc10": (_JPEG + "108",),
    "rle": ("1.2.840.10008.1.2.5",),
    "deflated": (DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,),
    "implicit": (IMPLICIT_VR_LITTLE_ENDIAN,),
}
"""The transfer syntaxes of `--prefer-syntax`."""

_OPTIONS = (
    click.argument("files", nargs=-1, metavar="[QUERY FILES...]"),
    click.option("-k", "--key", "keys", metavar="KEY", multiple=True, help="override or add a key: PatientID=1"),
    click.option("--study", "studies", metavar="UID", multiple=True, help="this study; may be given several times"),
    click.option("--series", metavar="UID", multiple=True, help="this series (of the study given with --study)"),
    click.option("--instance", "instances", metavar="UID", multiple=True, help="this SOP instance"),
    click.option("--accession", "accessions", metavar="NUMBER", multiple=True, help="studies with this number"),
    click.option("--patient", "--patient-id", "patients", metavar="ID", multiple=True, help="studies of this patient"),
    click.option(
        "--list", "lists", metavar="FILE", multiple=True,
        help="what a list names: CSV with a header of keywords, JSON lines of findscu, or study UIDs (-: stdin)",
    ),
    click.option("--archive", metavar="DIRECTORY", default="", help="file objects into this archive, and index them"),
    click.option("--ignore", is_flag=True, help="receive objects and forget them"),
    click.option("--journal", metavar="FILE", default="", help="what is done: run again, only the rest comes"),
    click.option("--report", metavar="FILE", default="", help="write a JSON line for each request and each object"),
    click.option("--cancel", metavar="NUMBER", type=click.IntRange(1), help="cancel after so many pending responses"),
    click.option("--repeat", metavar="NUMBER", type=click.IntRange(1), default=1, help="retrieve so many times"),
    click.option("--abort", is_flag=True, help="abort the association instead of releasing it"),
    click.option("+B", "--bit-preserving", is_flag=True, help="write data sets exactly as received; always so"),
    click.option("-B", "--normal", is_flag=True, help="write data sets as DCMTK sees fit; they stay as received"),
)  # fmt: skip


def retrieval_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a tool the operands and options of both; its function takes them as `**given` for `Given.of`."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


class Given(NamedTuple):
    """What was given of `retrieval_options`."""

    files: tuple[str, ...]
    keys: tuple[str, ...]
    studies: tuple[str, ...]
    series: tuple[str, ...]
    instances: tuple[str, ...]
    accessions: tuple[str, ...]
    patients: tuple[str, ...]
    lists: tuple[str, ...]
    archive: str
    ignore: bool
    journal: str
    report: str
    cancel: int | None
    repeat: int
    abort: bool

    @classmethod
    def of(cls, given: dict[str, Any]) -> Given:
        """From a command's parameters; what is always so is dropped."""
        return cls(*(given[name] for name in cls._fields))

    @property
    def named(self) -> bool:
        """Whether something was named otherwise than by keys."""
        return any((self.studies, self.series, self.instances, self.accessions, self.patients, self.lists))


def chosen_model(given: Given) -> Model:
    """The information model to retrieve with."""
    name = build(RetrieveSettings).information_model
    if name == "auto":
        return STUDY_ROOT if given.named else PATIENT_ROOT
    return _MODELS[name]


def identifier_syntaxes() -> tuple[str, ...]:
    """Transfer syntaxes to propose for requests."""
    return _PROPOSED[build(RetrieveSettings).proposed_syntax]


def wants(given: Given, outcome: Outcome) -> list[Want]:
    """All that is wanted; rows of lists that say nothing are told to `outcome`.

    Raises:
        UsageError: nothing is named, or in contradiction.
        InputError: a query file or list cannot be read.
    """
    base: DataSet = {}
    found: list[Want] = []
    named = list(by_options(given.studies, given.series, given.instances, given.accessions, given.patients))
    if given.named:
        if given.files:
            raise UsageError("query files and named objects together", hint="retrieve them one after the other")
        base = parse_queries(given.keys)[0]
    elif given.keys or given.files:
        for number, keys in enumerate(parse_queries(given.keys, given.files), 1):
            label = "the keys" if not given.files else f"query {number}"
            found.append(Want(label, keys, named=_is_exact(keys), as_given=True))
    else:
        raise UsageError("nothing to retrieve is named", hint="such as --study UID, --accession NUMBER or --list FILE")
    level = text(base, QUERY_RETRIEVE_LEVEL)
    found += [want._replace(keys={**base, **want.keys}) for want in named]
    for path in given.lists:
        found += read_list(path, base, outcome.unusable)
    if level and level not in (*UNIQUE_KEYS,):
        raise UsageError(f"QueryRetrieveLevel {level!r} is none of {', '.join(UNIQUE_KEYS)}")
    return found


def _is_exact(keys: DataSet) -> bool:
    """Whether the keys name something: a value without wild cards or ranges for a unique key or accession number."""
    values = [text(keys, tag) for tag in (*UNIQUE_KEYS.values(), ACCESSION_NUMBER)]
    return any(value and not set(value) & {"*", "?"} for value in values)


# --- where objects go --------------------------------------------------------------------------------------------


@contextmanager
def destination(given: Given) -> Iterator[Destination | None]:
    """The folder or archive for what comes, open; None where it is to be forgotten.

    Raises:
        OutputError: it cannot be used.
        UsageError: an option that only an archive has.
    """
    settings = build(ArchiveSettings)
    directory = given.archive or settings.output_directory
    if given.ignore:
        yield None
    elif given.archive or os.path.isdir(os.path.join(directory, ".dcmkit")):
        from dcmkit.archive.store import Archive

        with Archive(settings.replace(output_directory=directory)) as archive:
            yield archive
    else:
        from dcmkit.archive.folder import Folder

        if "on_duplicate" in invocation().given:
            raise UsageError("--on-duplicate needs an archive", hint="say --archive instead of -od")
        layout = settings.layout if _is_set("layout") else FOLDER_LAYOUT
        durability = settings.durability if _is_set("durability") else "none"  # the peer still has it
        with Folder(directory, layout, settings.replace(durability=durability)) as folder:
            yield folder


def _is_set(name: str) -> bool:
    """Whether a field of the archive's settings has a value that somebody chose."""
    return invocation().value(ArchiveSettings.options[name], ArchiveSettings.section)[1] != "default"


# --- doing it ----------------------------------------------------------------------------------------------------


def run(
    given: Given, outcome: Outcome, make: Callable[[], RetrieveSCU], wanted: list[Want], *, ask_sop_classes: bool
) -> ExitCode:
    """Look up what has to be looked up, retrieve, and tell.

    Raises:
        NetworkError: no association could be had.
        OutputError: journal or report cannot be written.
    """
    if given.journal and given.repeat > 1:
        raise UsageError("--journal and --repeat contradict each other")
    retry, settings = build(RetrySettings), build(RetrieveSettings)
    first = make()
    requests = list(_planned(first, wanted, outcome, retry, ask_sop_classes=ask_sop_classes)) * given.repeat
    outcome.expect(requests)
    unused = [first]
    with _journal(given.journal) as journal:
        if requests:
            retrieval = Retrieval(
                lambda: unused.pop() if unused else make(),
                outcome,
                jobs=settings.jobs,
                retries=retry.retries,
                retry_delay=retry.retry_delay,
                journal=journal,
                abort=given.abort,
            )
            with Progress("retrieving", objects=sum(request.expected for request in requests)) as progress:
                outcome.progress = progress
                retrieval.run(requests)
        else:
            first.close()
    return outcome.exit_code()


@contextmanager
def _journal(path: str) -> Iterator[Any]:
    if not path:
        yield None
        return
    from dcmkit.services.journal import Journal

    with Journal(path) as journal:
        yield journal


def _planned(
    scu: RetrieveSCU, wanted: list[Want], outcome: Outcome, retry: RetrySettings, *, ask_sop_classes: bool
) -> Iterator[Request]:
    planner = Planner(scu.model, scu.association, sop_classes=ask_sop_classes, charset=build(QuerySettings).charset)
    _retried(scu.association, scu, retry)  # where none can be had, nothing can be done
    for want in wanted:
        try:
            yield from _retried(lambda want=want: planner.requests(want), scu, retry)  # type: ignore[misc]
        except DcmkitError as error:
            if isinstance(error, NetworkError) and not isinstance(error, (StatusError, NoPresentationContextError)):
                scu.drop()
            outcome.failed(want.label, error)


def _retried(function: Callable[[], Any], scu: RetrieveSCU, retry: RetrySettings) -> Any:
    """What `function` gives, tried again where the association could not be had or was lost."""
    for left in range(retry.retries, -1, -1):
        try:
            return function()
        except (StatusError, NoPresentationContextError):
            raise
        except NetworkError as error:
            if not left or getattr(error, "result", 2) == 1:
                raise
            log.warning("%s; trying again", error)
            scu.drop()
            time.sleep(retry.retry_delay)
    return None
