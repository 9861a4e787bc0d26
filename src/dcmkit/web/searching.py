"""QIDO-RS (PS3.18 10.6): searches for patients, studies, series and instances, and how many there are.

What a search means is in `qido.py`; here is what HTTP adds: which representation goes out, what the headers say, and
that an answer is not made twice while the index stays as it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from dcmkit.archive.attributes import INSTANCE, PATIENT, SERIES, STUDY
from dcmkit.errors import DcmkitError
from dcmkit.services.find import catch_up
from dcmkit.web import qido, search_output
from dcmkit.web.exchange import Reply, Request, make_etag, warning_header
from dcmkit.web.negotiation import CSV, DICOM_JSON, DICOM_XML, JSON, ONE, Choice, Offer, search_offers, select
from dcmkit.web.routes import QueryParameter, Route
from dcmkit.web.search_cache import SearchCache

if TYPE_CHECKING:
    from dcmkit.archive.store import Archive
    from dcmkit.web.exchange import Handler
    from dcmkit.web.whole_header import JsonOf, WholeHeaders

HEADERS_LIMIT = 1000
"""Results of one response when what is not in the index is wanted, which is read from files."""
_OFFERS = search_offers()
_COUNT_OFFERS = (Offer(JSON, forms=(ONE,)),)
_PRODUCES = (DICOM_JSON, f'multipart/related; type="{DICOM_XML}"', JSON, CSV)
_TOO_MUCH = {413: "The search takes too long; ask for less."}
_PARAMETERS = (
    QueryParameter("limit", "How many results, at most.", "integer"),
    QueryParameter("offset", "How many results to pass over.", "integer"),
    QueryParameter("includefield", "Further attributes, with commas between them, or all."),
    QueryParameter("orderby", "Attributes to sort by, with commas between them, - before descending ones."),
    QueryParameter("accept", "The media type, in place of the Accept header."),
)
_MATCHING = (
    QueryParameter("fuzzymatching", "Match names by how their words begin or sound, in any order.", "boolean"),
    QueryParameter("emptyvaluematching", 'Let "" match what has no value.', "boolean"),
    QueryParameter("multiplevaluematching", "Let a list of values match by each of them.", "boolean"),
)
_KEYS = {
    PATIENT: ("PatientID", "PatientName", "PatientBirthDate", "PatientSex"),
    STUDY: (
        "StudyInstanceUID",
        "StudyDate",
        "StudyTime",
        "AccessionNumber",
        "ModalitiesInStudy",
        "StudyID",
        "StudyDescription",
        "ReferringPhysicianName",
    ),
    SERIES: ("SeriesInstanceUID", "Modality", "SeriesNumber", "SeriesDescription", "BodyPartExamined"),
    INSTANCE: ("SOPInstanceUID", "SOPClassUID", "InstanceNumber", "NumberOfFrames"),
}

_FEW, _AT_ONCE = 40, 0.003
"""Results, and seconds, that a search may take on the event loop."""


class _Resource(NamedTuple):
    """What can be searched: its level, path, operation, and name."""

    level: str
    template: str
    operation: str
    name: str


_RESOURCES = (
    _Resource(STUDY, "/studies", "searchForStudies", "studies"),
    _Resource(SERIES, "/series", "searchForSeries", "series"),
    _Resource(INSTANCE, "/instances", "searchForInstances", "instances"),
    _Resource(SERIES, "/studies/{study}/series", "searchForStudySeries", "series of a study"),
    _Resource(INSTANCE, "/studies/{study}/instances", "searchForStudyInstances", "instances of a study"),
    _Resource(
        INSTANCE,
        "/studies/{study}/series/{series}/instances",
        "searchForSeriesInstances",
        "instances of a series",
    ),
    _Resource(PATIENT, "/patients", "searchForPatients", "patients"),
)


class Searching:
    """The search transactions of one archive.

    Args:
        strict: refuse parameters that are not known; otherwise they are ignored, with a warning.
        no_match_status: of an answer without results: 200 with an empty list (as PS3.18 2026a 11.9.3 has it for
            worklists), or 204 (as earlier editions have it).
        json_of: knows what an instance says, for who asks for everything; without it files are read.
    """

    def __init__(
        self, archive: Archive, *, strict: bool = True, no_match_status: int = 200, json_of: JsonOf | None = None
    ) -> None:
        self._archive, self._strict, self._no_match_status = archive, strict, no_match_status
        self._json_of = json_of
        self._cache = SearchCache()
        self._headers: WholeHeaders | None = None

    def routes(self) -> tuple[Route, ...]:
        """For each resource its search, and the number of what matches."""
        return tuple(route for one in _RESOURCES for route in (self._search_route(one), self._count_route(one)))

    def _search_route(self, of: _Resource) -> Route:
        return Route(
            "GET", of.template, self._handler(of.level), ("query",), of.operation, f"Search for {of.name}.", "Search",
            (*_keys(of), *_PARAMETERS, *_MATCHING), produces=_PRODUCES,
            statuses=_TOO_MUCH | ({204: "Nothing matches."} if self._no_match_status == 204 else {}), filters=True,
            quick=lambda request: self._quick(of.level, request),
        )  # fmt: skip

    def _count_route(self, of: _Resource) -> Route:
        def count(request: Request) -> Reply:
            return self._count(of.level, request)

        return Route(
            "GET", of.template + "/count", count, ("query",), of.operation.replace("searchFor", "count"),
            f"How many {of.name} match.", "Search", (*_keys(of), *_MATCHING), produces=(JSON,), statuses=_TOO_MUCH,
            filters=True,
        )  # fmt: skip

    def _handler(self, level: str) -> Handler:
        def search(request: Request) -> Reply:
            return self._search(level, request)

        return search

    # --- searches ------------------------------------------------------------------------------------------------

    def _search(self, level: str, request: Request) -> Reply:
        catch_up(self._archive)
        reply = self._answered(level, request, quickly=False)
        assert reply is not None
        return reply

    def _quick(self, level: str, request: Request) -> Reply | None:
        """The same, if the answer is known, or some milliseconds are enough to find it."""
        return None if self._archive.committer.behind else self._answered(level, request, quickly=True)

    def _answered(self, level: str, request: Request, *, quickly: bool) -> Reply | None:
        choice = select(_OFFERS, *request.accept)
        revision = self._archive.index.revision()
        asked = (level, *_named(request.variables), tuple(request.parameters), choice, request.base_url,
                 request.identity.studies)  # fmt: skip
        reply = self._cache.get(revision, asked)
        if reply is None:
            reply = self._found(level, request, choice, quickly)
            if reply is not None:
                self._cache.put(revision, asked, reply)
        return reply

    def _found(self, level: str, request: Request, choice: Choice, quickly: bool) -> Reply | None:
        search = self._read(level, request)
        archive = self._archive
        wanted = self._wanted(search, level)
        plain = wanted is not None and not wanted
        if quickly:
            if not plain or search.query.fuzzy or choice.media_type not in (JSON, DICOM_JSON):
                return None
            try:
                found = qido.answer(
                    archive.index, search, request.base_url, extra=archive.keywords, most=_FEW, seconds=_AT_ONCE
                )
            except qido.SearchTooLongError:
                return None
            if len(found.rows) >= _FEW or found.total is None:
                return None
        else:
            found = qido.answer(
                archive.index, search, request.base_url, extra=archive.keywords,
                most=qido.RESULTS_LIMIT if plain else HEADERS_LIMIT,
            )  # fmt: skip
        rows = found.rows if plain else self._with_headers(found.rows, level, request.base_url, wanted)
        headers = [("Warning", warning_header(request.base_url, text)) for text in found.warnings]
        if found.total is not None:
            headers.append(("X-Total-Count", str(found.total)))
        if not rows and not found.more and self._no_match_status == 204:
            return Reply(204, headers=tuple(headers))
        body, content_type = search_output.write(rows, choice)
        return Reply(200, body, content_type, tuple(headers), make_etag(body, content_type))

    def _count(self, level: str, request: Request) -> Reply:
        select(_COUNT_OFFERS, *request.accept)
        catch_up(self._archive)
        search = self._read(level, request)
        number = qido.count_matches(self._archive.index, search, extra=self._archive.keywords)
        headers = tuple(("Warning", warning_header(request.base_url, text)) for text in search.warnings)
        body = json.dumps({"count": number}).encode()
        return Reply(200, body, JSON, headers, make_etag(body))

    def _read(self, level: str, request: Request) -> qido.Search:
        study, series = _named(request.variables)
        return qido.read_search(
            level, request.parameters, study=study, series=series, extra=self._archive.keywords, strict=self._strict,
            studies=request.identity.studies,
        )  # fmt: skip

    @staticmethod
    def _wanted(search: qido.Search, level: str) -> frozenset[str] | None:
        """The attributes that are read from files, None for all."""
        if level == PATIENT or not (search.everything or search.further):
            return frozenset()
        from dcmkit.web.whole_header import wanted

        return wanted(level, search.everything, search.further)

    def _with_headers(self, rows: list[bytes], level: str, base_url: str, wanted: frozenset[str] | None) -> list[bytes]:
        """Results with what their first instances say."""
        if self._headers is None:
            from dcmkit.web.whole_header import WholeHeaders

            self._headers = WholeHeaders(self._archive, self._json_of)
        made: list[bytes] = []
        size = 0
        for row in rows:
            found = json.loads(row)
            try:
                header = self._headers.read(found, level, base_url, wanted)
            except DcmkitError:  # its file has gone: what the index knows
                header = {}
            made.append(_joined(header, found))
            size += len(made[-1])
            if size > qido.SIZE_LIMIT:
                raise qido.too_large()
        return made


def _joined(header: dict[str, Any], found: dict[str, Any]) -> bytes:
    """A result with more than the index knows; of items it knows parts only."""
    for name, value in found.items():
        if name not in header or (len(value) > 1 and value["vr"] != "SQ"):
            header[name] = value
    return json.dumps(dict(sorted(header.items())), ensure_ascii=False, separators=(",", ":")).encode(
        "utf-8", "replace"
    )


def _named(variables: Mapping[str, str]) -> tuple[str, str]:
    return variables.get("study", ""), variables.get("series", "")


def _keys(of: _Resource) -> tuple[QueryParameter, ...]:
    """The usual matching keys: those of the level and of those above that the path does not name."""
    levels = [of.level]
    if of.level != PATIENT and "{study}" not in of.template:
        levels = [PATIENT, STUDY, *levels] if of.level != STUDY else [PATIENT, STUDY]
    if of.level == INSTANCE and "{series}" not in of.template:
        levels.insert(-1, SERIES)
    keys = [key for level in levels for key in _KEYS[level]]
    return tuple(QueryParameter(key, "Matching key; other attributes of the index, by keyword or tag, are too.")
                 for key in keys)  # fmt: skip
