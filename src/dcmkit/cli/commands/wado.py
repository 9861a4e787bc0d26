"""Retrieve objects, metadata, frames and images from a DICOMweb server by WADO-RS"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urljoin

import click

from dcmkit.cli.options import build, invocation, settings_options, tool, web_peer_argument
from dcmkit.cli.output import Progress
from dcmkit.cli.retrieval import Given, destination
from dcmkit.cli.retrieval_report import Outcome
from dcmkit.cli.web_peer import WebPeer, WebPeerSettings, peer_of
from dcmkit.errors import DcmkitError, ExitCode, UsageError
from dcmkit.settings import ArchiveSettings, RetrySettings

if TYPE_CHECKING:
    from collections.abc import Callable

    from dcmkit.services.retrieve_plan import Request, Want
    from dcmkit.services.retrieve_scu import Arrival
    from dcmkit.services.storage import Destination
    from dcmkit.web.repeating import Asker
    from dcmkit.web.wado_files import What
    from dcmkit.web.wado_jobs import Kind, Plan, Present
    from dcmkit.web.wado_targets import Target

EXAMPLES = (
    ("Retrieve a study into a folder", "dcmkit wado https://pacs.example/dicom-web --study 1.2.3 -od study"),
    ("By accession number, into an archive with its index", "dcmkit wado @raccoon --accession A-1 --archive archive"),
    (
        "What a query found; run again after an interruption, only the rest is retrieved",
        "dcmkit qido @raccoon -k StudyDate=20240101- --format jsonl | dcmkit wado @raccoon --list - --jobs 3 -od found",
    ),
    ("All images of a series as PNG", "dcmkit wado @raccoon --series 1.2.3.4 --rendered --accept image/png -od png"),
    (
        "Two frames of an instance as they are stored",
        "dcmkit wado @raccoon studies/1.2.3/series/1.2.3.4/instances/1.2.3.4.5 --frames 1,2 -od frames",
    ),
)

_KINDS = ("metadata", "frames", "bulkdata", "rendered", "thumbnail", "zip")


@tool("wado")
@settings_options(WebPeerSettings, RetrySettings, ArchiveSettings, tool_defaults={"retries": 3, "retry_delay": 1.0})
@web_peer_argument
@click.argument("resources", nargs=-1, metavar="[URLS]...")
@click.option("-k", "--key", "keys", metavar="KEY", multiple=True, help="what matches this key: PatientID=1")
@click.option("--study", "studies", metavar="UID", multiple=True, help="this study; may be given several times")
@click.option("--series", metavar="UID", multiple=True, help="this series (of the study given with --study)")
@click.option("--instance", "instances", metavar="UID", multiple=True, help="this SOP instance")
@click.option("--accession", "accessions", metavar="NUMBER", multiple=True, help="studies with this number")
@click.option("--patient", "--patient-id", "patients", metavar="ID", multiple=True, help="studies of this patient")
@click.option(
    "--list",
    "lists",
    metavar="FILE",
    multiple=True,
    help="what a list names: output of qido as CSV or JSON, or study UIDs (-: stdin); or a file of URLs",
)
@click.option("--metadata", is_flag=True, help="retrieve metadata as DICOM JSON, a file for each of what is named")
@click.option("--frames", metavar="LIST", default="", help="retrieve these frames of each instance: 1,3,5-8")
@click.option("--bulkdata", is_flag=True, help="retrieve the bulk data that the metadata of each instance refer to")
@click.option("--rendered", is_flag=True, help="retrieve each instance, or its --frames, as an image")
@click.option("--thumbnail", is_flag=True, help="retrieve a small image for each of what is named")
@click.option("--zip", is_flag=True, help="retrieve a ZIP archive for each of what is named")
@click.option("--uri", metavar="URL", default="", help="retrieve objects, or --rendered, by WADO-URI there: /wado")
@click.option(
    "--transfer-syntax", metavar="NAME", default="*", help="ask for this transfer syntax; without it, as stored"
)
@click.option("--accept", metavar="TYPE", default="", help="ask for this media type: image/png")
@click.option(
    "--parameter",
    "parameters",
    metavar="NAME=VALUE",
    multiple=True,
    help="a parameter of what is rendered: viewport=512,512, window=40,400,linear, quality=90",
)
@click.option("--jobs", metavar="NUMBER", type=click.IntRange(1, 64), default=1, help="retrieve so much side by side")
@click.option("--archive", metavar="DIRECTORY", default="", help="file objects into this archive, and index them")
@click.option("--ignore", is_flag=True, help="receive objects and forget them")
@click.option("--again", is_flag=True, help="retrieve what is there already, too")
@click.option("--journal", metavar="FILE", default="", help="what is done: run again, only the rest comes")
@click.option("--report", metavar="FILE", default="", help="write a JSON line for each request and each object")
def command(server: str, **given: Any) -> ExitCode:
    """Retrieve by WADO-RS what is named by its UID, accession number or patient ID, by keys, URLs or a list.

    Objects go to --output-directory, named {Modality}.{SOPInstanceUID} unless --layout says otherwise, or into an
    archive; as they are stored, unless --transfer-syntax says otherwise. Everything else becomes files named by UID.

    The server is asked what there is, and what came is compared with it: what is missing is asked for instance by
    instance, and what does not come then is an error. What is there already is not retrieved again.
    """
    from dcmkit.web.http_url import parse_url
    from dcmkit.web.wado_targets import place_of

    peer = peer_of(server, build(WebPeerSettings), invocation().configuration)
    place = place_of(parse_url(peer.url).target)
    outcome = Outcome(given["report"])
    try:
        work = _Work(peer, place.root, given, outcome)
        if place.target is not None:
            work.take_url(place.target, place.rest)
        wants = work.wants()
        what = work.what()
        if what is not None:
            return work.run(wants, None, what)
        with destination(_as_getscu(given)) as store:
            return work.run(wants, store, None)
    finally:
        outcome.close()


def _as_getscu(given: dict[str, Any]) -> Given:
    """What `destination` looks at."""
    known: dict[str, Any] = {
        **dict.fromkeys(Given._fields, ()),
        "archive": given["archive"], "ignore": given["ignore"], "journal": given["journal"],
        "report": given["report"], "cancel": None, "repeat": 1, "abort": False,
    }  # fmt: skip
    return Given.of(known)


class _Work:
    """One run."""

    def __init__(self, peer: WebPeer, root: str, given: dict[str, Any], outcome: Outcome) -> None:
        self._peer, self._root, self._given, self._outcome = peer, root, given, outcome
        self._named: list[Target] = []
        self._rests: set[str] = set()
        retry = build(RetrySettings)
        self._retries, self._delay = retry.retries, retry.retry_delay
        self._stopped: Callable[[], bool] = lambda: False

    def take_url(self, target: Target, rest: str) -> None:
        """A resource that a URL names."""
        self._named.append(target)
        self._rests.add(rest)

    # --- what ------------------------------------------------------------------------------------------------------

    def wants(self) -> list[Want]:
        """What is named otherwise than by URL. Raises: UsageError, InputError."""
        from dcmkit.cli.keys import parse_queries
        from dcmkit.cli.wado_wants import named_by_url, url_lines
        from dcmkit.cli.wanted import by_options, read_list
        from dcmkit.services.retrieve_plan import Want
        from dcmkit.web.http_url import parse_url

        given = self._given
        words = list(given["resources"])
        lists = []
        for path in given["lists"]:
            lines = url_lines(path)
            words += lines
            lists += [] if lines else [path]
        for word in words:
            named = named_by_url(word, parse_url(self._peer.url), self._root)
            self.take_url(named.target, named.rest)
        base = parse_queries(given["keys"])[0] if given["keys"] else {}
        options = (given[name] for name in ("studies", "series", "instances", "accessions", "patients"))
        found = [want._replace(keys={**base, **want.keys}) for want in by_options(*options)]
        for path in lists:
            found += read_list(path, base, self._outcome.unusable)
        if given["keys"] and not found:
            found = [Want("the keys", base)]
        if not found and not self._named and not given["lists"]:
            raise UsageError(
                "nothing to retrieve is named", hint="such as --study UID, --accession NUMBER, a URL or --list FILE"
            )
        return found

    def what(self) -> What | None:
        """What is wanted that is no DICOM object. Raises: UsageError: too much at a time."""
        from dcmkit.cli.wado_wants import frame_numbers
        from dcmkit.web.wado_files import What

        given = self._given
        kinds = [kind for kind in _KINDS if given[kind]]
        frames = frame_numbers(given["frames"]) if given["frames"] else ()
        kinds, frames = self._of_urls(kinds, frames)
        if frames and len(kinds) > 1 and kinds[0] == "frames":
            kinds.remove("frames")
        if len(kinds) > 1 or (kinds and given["uri"] and kinds != ["rendered"]):
            raise UsageError("several things at once: " + ", ".join(f"--{kind}" for kind in kinds), hint="say one")
        if given["uri"] and frames and len(frames) > 1:
            raise UsageError("WADO-URI has one frame at a time")
        if not kinds:
            return None
        for option in ("archive", "ignore"):
            if given[option]:
                raise UsageError(f"--{option} is for objects, and --{kinds[0]} makes none")
        return What(kinds[0], frames, given["accept"], self._syntax(), _parameters(given["parameters"]))

    def _of_urls(self, kinds: list[str], frames: tuple[int, ...]) -> tuple[list[str], tuple[int, ...]]:
        """What the URLs themselves name: `.../metadata`, `.../frames/1`."""
        from dcmkit.cli.wado_wants import frame_numbers

        for rest in self._rests:
            parts = [part for part in rest.split("/") if part]
            if parts[:1] == ["frames"] and len(parts) > 1:
                frames = frames or frame_numbers(parts[1])
                parts = parts[2:] or ["frames"]
            for part in parts:
                if part not in _KINDS:
                    raise UsageError(f"a URL that ends in {part[:40]!r}, which cannot be retrieved")
                kinds = list(dict.fromkeys([*kinds, part]))
        return kinds, frames

    def _syntax(self) -> str:
        from dcmkit.uids import is_uid, resolve

        name = self._given["transfer_syntax"]
        uid = name if name == "*" else resolve(name)
        if uid != "*" and not is_uid(uid):
            raise UsageError(f"--transfer-syntax {name!r} is none", hint="say a name such as JPEGLSLossless, or a UID")
        return str(uid)

    # --- doing it --------------------------------------------------------------------------------------------------

    def run(self, wants: list[Want], store: Destination | None, what: What | None) -> ExitCode:
        """Look up what has to be, retrieve, and tell."""
        from dcmkit.web.wado_jobs import Retrieval

        kind = _kind(what, self._given["uri"])
        requests = self._requests(wants, kind)
        self._outcome.expect(requests)
        retrieval: Retrieval
        journal = _open_journal(self._given["journal"])
        try:
            retrieval = Retrieval(
                lambda: self._plan(store, what),
                self._outcome,
                kind=kind,
                jobs=self._given["jobs"],
                journal=journal,
                present=None if self._given["again"] else self._present(store, what),
                server=self._peer.name,
            )
            self._stopped = lambda: retrieval.stopped
            with Progress("retrieving", objects=sum(request.expected for request in requests)) as progress:
                self._outcome.progress = progress
                retrieval.run(requests)
        finally:
            if journal is not None:
                journal.close()
        return self._outcome.exit_code()

    def _asker(self) -> Asker:
        from dcmkit.web.repeating import Asker, Patience

        return Asker(self._peer.client(), Patience(self._retries, self._delay), stopped=lambda: self._stopped())

    def _requests(self, wants: list[Want], kind: Kind) -> list[Request]:
        from dcmkit.cli.wado_wants import by_series, requests_for
        from dcmkit.web.qido_client import QidoClient
        from dcmkit.web.wado_jobs import request_of

        found = [request_of(target, str(target)) for target in self._named]
        asker = self._asker()
        with asker.client:
            finder = QidoClient(asker, self._root)
            for want in wants:
                try:
                    found += requests_for(want, finder)
                except DcmkitError as error:
                    self._outcome.failed(want.label, error)
            if kind.checked and len(found) < self._given["jobs"]:
                found = by_series(found, finder)
        return found

    def _plan(self, store: Destination | None, what: What | None) -> Plan:
        from dcmkit.web.qido_client import QidoClient
        from dcmkit.web.wado_jobs import Plan

        asker = self._asker()
        finder = QidoClient(asker, self._root)
        if what is not None and not self._given["uri"]:
            from dcmkit.web.wado_files import FileFetcher

            return Plan(asker, finder, FileFetcher(asker, self._root, _directory(), what).fetch)
        if what is not None:
            from dcmkit.web.wado_files import FileFetcher

            fetcher = FileFetcher(asker, self._root, _directory(), what)
            return Plan(asker, finder, lambda target, take: fetcher.fetch(target, take, self._uri(target, what)))
        return Plan(asker, finder, self._object_fetcher(asker, store))

    def _object_fetcher(
        self, asker: Asker, store: Destination | None
    ) -> Callable[[Target, Callable[[Arrival], None]], str]:
        from dcmkit.web.wado_client import WadoClient

        client = WadoClient(asker, store, transfer_syntax=self._syntax(), accept=self._given["accept"])
        by_uri = bool(self._given["uri"])

        def fetch(target: Target, take: Callable[[Arrival], None]) -> str:
            place = self._uri(target, None) if by_uri else self._root + target.path
            fetched = client.fetch(place, take, single=by_uri)
            if fetched.status == 206:
                return f"the server says that it has not all of it (206) {fetched.warning}".rstrip()
            return f"the server warns: {fetched.warning}" if fetched.warning else ""

        return fetch

    def _uri(self, target: Target, what: What | None) -> str:
        """PS3.18 9.1.2.1."""
        from dcmkit.web.http_url import parse_url

        origin = parse_url(self._peer.url).origin
        url = parse_url(urljoin(f"{origin}{self._root}/", self._given["uri"]))
        if url.origin != origin:
            raise UsageError("--uri is of another server", hint="ask each server with a command of its own")
        kind = (self._given["accept"] or "image/jpeg") if what is not None else "application/dicom"
        query = f"requestType=WADO&studyUID={target.study}&seriesUID={target.series}&objectUID={target.instance}"
        query += f"&contentType={quote(kind, safe='/')}"
        if what is None and self._syntax() != "*":
            query += f"&transferSyntax={self._syntax()}"
        if what is not None and what.frames:
            query += f"&frameNumber={what.frames[0]}"
        if what is not None and what.parameters:
            query += f"&{what.parameters}"
        return f"{url.target}{'&' if '?' in url.target else '?'}{query}"

    def _present(self, store: Destination | None, what: What | None) -> Present | None:
        """What knows what is there already."""
        from dcmkit.archive.folder import Folder
        from dcmkit.cli.wado_wants import AsFiles, InArchive, InFolder

        if what is not None:
            if what.kind == "bulkdata":
                return None
            is_small = what.kind == "thumbnail"
            return AsFiles(_directory(), ".thumbnail" if is_small else "", () if is_small else what.frames)
        if store is None:
            return None
        if isinstance(store, Folder):
            return InFolder(store.root, store.layout.template.count("/"))
        known = getattr(store, "known", None)
        return InArchive(known) if known is not None else None


def _directory() -> str:
    return os.path.abspath(build(ArchiveSettings).output_directory)


def _kind(what: What | None, uri: str) -> Kind:
    from dcmkit.web.wado_jobs import OBJECTS, Kind

    if what is not None:
        frames = ",".join(map(str, what.frames))
        words = [what.kind, frames, what.accept, what.parameters]
        return Kind(" ".join(word for word in words if word), not (what.of_instances or uri), what.of_instances)
    return Kind("objects by URI", whole=False) if uri else OBJECTS


def _parameters(given: tuple[str, ...]) -> str:
    from dcmkit.web.wado_targets import encoded

    found = []
    for text in given:
        name, sign, value = text.partition("=")
        if not sign or not name.isalnum():
            raise UsageError(f"--parameter {text[:80]!r} is none", hint="say NAME=VALUE, such as viewport=512,512")
        found.append(encoded(name, value))
    return "&".join(found)


def _open_journal(path: str) -> Any:
    if not path:
        return None
    from dcmkit.services.journal import Journal

    return Journal(path)
