"""Retrieve metadata (PS3.18 10.4.1.1.5): the attributes of instances without their bulk data, as JSON or XML.

JSON is read from files once and kept (`metadata_store.py`), with the URL of the instance left open; bodies that were
put together are kept in memory for a while. Whether all files are still there is looked at in any case.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator
from itertools import chain, groupby
from json.encoder import encode_basestring
from time import time_ns
from typing import TYPE_CHECKING, NamedTuple

from dcmkit.dataset.json_header import FORMAT, PLACE, json_of_file
from dcmkit.errors import DcmkitError, InputError, InvalidDataSetError
from dcmkit.logs import get_logger
from dcmkit.services.find import catch_up
from dcmkit.web.body_cache import BodyCache, KeptBody, gathered
from dcmkit.web.exchange import GoneError, Reply, Request, make_etag
from dcmkit.web.metadata_filler import Filler
from dcmkit.web.metadata_store import MetadataStore, Row
from dcmkit.web.negotiation import DICOM_XML, metadata_offers, select
from dcmkit.web.resources import instances_of
from dcmkit.web.routes import QueryParameter, Route

if TYPE_CHECKING:
    from dcmkit.archive.located import Located
    from dcmkit.archive.store import Archive
    from dcmkit.web.metadata_fields import Fields

log = get_logger("web")

MEMORY = 32 << 20
"""Bytes of bodies that are kept in memory."""
_CHUNK = 250
"""Instances whose metadata is read together."""
_SERIES_LIMIT = 1000
"""Instances of a series that are read with one look, if all of it is wanted."""
_PLACES = 64
"""Resources of which it is remembered where their files are."""
_SETTLED = 50_000_000
"""Nanoseconds after which a change of a directory has another time."""

_STUDY = "/studies/{study}"
_SERIES = _STUDY + "/series/{series}"
_INSTANCE = _SERIES + "/instances/{instance}"
_PARAMETERS = (
    QueryParameter("includefield", "attributes wanted, by keyword or tag; without it, all"),
    QueryParameter("excludeprivate", "leave private attributes out", values=("true", "false")),
    QueryParameter("accept", "media types, in place of those of the Accept header"),
)


class _Place(NamedTuple):
    """Where the files of a resource are, as it was when `revision` was that of the index.

    Attributes:
        directories: of the files, each with when it last changed.
        gone: how many files are missing.
        tag: of all the files that are there.
    """

    revision: tuple[int, int]
    directories: tuple[tuple[str, int], ...]
    instances: list[Located]
    gone: int
    tag: str


class Metadata:
    """The transactions, for one archive.

    Args:
        memory: bytes of bodies that are kept in memory.
        ahead: read metadata of what was stored before it is asked for.
    """

    def __init__(self, archive: Archive, *, memory: int = MEMORY, ahead: bool = True) -> None:
        self._archive = archive
        own = os.path.dirname(archive.lock_path)
        self._store = MetadataStore(os.path.join(own, "metadata.sqlite"))
        self._filler = Filler(archive, self._store, self._row, os.path.join(own, "metadata.lock"))
        self._bodies = BodyCache(memory)
        self._places: dict[tuple[str, ...], _Place] = {}
        self._key = secrets.token_bytes(16)
        if ahead:
            self._filler.start()

    def routes(self) -> tuple[Route, ...]:
        """What is answered here."""
        levels = ((_STUDY, "Study", "a study"), (_SERIES, "Series", "a series"), (_INSTANCE, "Instance", "an instance"))
        return tuple(
            Route(
                "GET", f"{path}/metadata", self.retrieve, ("retrieve",), f"retrieve{name}Metadata",
                f"Metadata of {what}", "Retrieve", _PARAMETERS,
                produces=("application/dicom+json", 'multipart/related; type="application/dicom+xml"',
                          "application/json"),
                statuses={304: "not modified", 410: "the files have gone"},
            )
            for path, name, what in levels
        )  # fmt: skip

    def close(self) -> None:
        """Write what is not kept yet, and end."""
        self._filler.close()
        self._store.close()

    def remember(self, instances: Iterable[Located]) -> None:
        """Instances that will be asked for: they are read when there is time."""
        self._filler.remember(instances)

    def json_of(self, one: Located, base_url: str = "") -> bytes:
        """The object of an instance.

        Args:
            base_url: of the service; without it, `json_header.PLACE` stands for the URL of the instance.

        Raises:
            GoneError: its file is not there.
            InvalidDataSetError: it cannot be read.
        """
        row = self._store.read(one.study, one.series, [one.instance]).get(one.instance)
        if row is None or (row.size, row.mtime_ns) != (one.size, one.mtime_ns):
            row = self._made(one)
            self._filler.keep([row])
        return row.json.replace(PLACE, _url(one, base_url)) if base_url else row.json

    # --- answering -----------------------------------------------------------------------------------------------

    def retrieve(self, request: Request) -> Reply:
        """One request for metadata."""
        one = "instance" in request.variables
        choice = select(metadata_offers(one=one), *request.accept)
        fields = _fields(request)
        place = self._place(request)
        asked = (choice.media_type, choice.multipart, fields.text if fields else "", request.base_url)
        etag = make_etag(place.tag, FORMAT, *map(str, asked))
        request.unless_known(etag)
        warnings = [f"{place.gone} files have gone from the archive"] if place.gone else []
        warnings += fields.warnings if fields else ()
        headers = tuple(("Warning", _warning(request.base_url, text)) for text in warnings)
        if choice.media_type == DICOM_XML:
            from dcmkit.web.metadata_xml import xml_reply

            return xml_reply(place.instances, fields, choice, request, headers, etag, self._key)
        return self._json_reply(place.instances, fields, request, headers, etag, str(choice.content_type()))

    def _json_reply(
        self, instances: list[Located], fields: Fields | None, request: Request, headers: tuple[tuple[str, str], ...],
        etag: str, content_type: str,
    ) -> Reply:  # fmt: skip
        kept = self._bodies.get(etag)
        if kept is None:
            objects = self._objects(instances, request.base_url)
            if fields is not None:
                objects = map(fields.of_json, objects)
            whole, rest = gathered(_array(objects))
            if rest is not None:
                return Reply(200, chain((whole,), rest), content_type, headers, etag)
            kept = KeptBody(whole)
            self._bodies.put(etag, kept)
        if kept.gzipped is None and "gzip" in request.headers.get("accept-encoding", ""):
            from dcmkit.web.representation import gzipped

            kept = kept._replace(gzipped=gzipped(kept.body))
            self._bodies.put(etag, kept)
        return Reply(200, kept.body, content_type, headers, etag, gzipped=kept.gzipped)

    # --- which instances -----------------------------------------------------------------------------------------

    def _place(self, request: Request) -> _Place:
        """The instances that are asked for and whose files are there.

        Raises:
            NotFoundError, ForbiddenError, OutputError: as `instances_of`.
            GoneError: no file is there.
        """
        limited = request.identity.studies is not None
        key = tuple(request.variables.get(name, "") for name in ("study", "series", "instance"))
        catch_up(self._archive)
        revision = self._archive.index.revision()
        place = None if limited else self._places.get(key)
        if place is None or place.revision != revision or not _as_before(place):
            place = _looked_at(instances_of(self._archive, request), revision)
            if not limited and place.directories:
                if len(self._places) >= _PLACES:
                    self._places.clear()
                self._places[key] = place
        if not place.instances:
            raise GoneError("the files have gone from the archive", hint="dcmkit index check finds such")
        return place

    # --- objects -------------------------------------------------------------------------------------------------

    def _objects(self, instances: list[Located], base_url: str) -> Iterator[bytes]:
        """The objects, complete, in order."""
        for _, group in groupby(instances, key=lambda one: (one.study, one.series)):
            series = list(group)
            whole = 1 < len(series) <= _SERIES_LIMIT
            step = len(series) if whole else _CHUNK
            for at in range(0, len(series), step):
                yield from self._some_objects(series[at : at + step], base_url, whole)

    def _some_objects(self, some: list[Located], base_url: str, whole: bool) -> Iterator[bytes]:
        first = some[0]
        rows = self._store.read(first.study, first.series, [one.instance for one in some], most=whole)
        made: list[Row] = []
        for one in some:
            row = rows.get(one.instance)
            if row is None or row.size != one.size or row.mtime_ns != one.mtime_ns:
                row = self._row(one)
                if row is None:
                    yield _bare(one)
                    continue
                made.append(row)
            yield row.json.replace(PLACE, _url(one, base_url))
        if made:
            self._filler.keep(made)

    def _row(self, one: Located) -> Row | None:
        """What is kept of an instance; None where its file cannot be read as a data set."""
        try:
            return self._made(one)
        except DcmkitError as error:
            log.warning("no metadata of %s: %s", one.instance, error.message)
            return None

    def _made(self, one: Located) -> Row:
        try:
            json = json_of_file(one.path, one.offset, one.transfer_syntax_uid)
        except InvalidDataSetError:
            raise
        except InputError:
            raise GoneError("a file has gone from the archive", hint="dcmkit index check finds such") from None
        return Row(one.study, one.series, one.instance, one.size, one.mtime_ns, json)


def _fields(request: Request) -> Fields | None:
    wanted = [value for name, value in request.parameters if name.lower() == "includefield"]
    public = (request.parameter("excludeprivate") or "").lower() == "true"
    if not wanted and not public:
        return None
    from dcmkit.web.metadata_fields import read_fields

    return read_fields(wanted, public)


def _warning(base_url: str, text: str) -> str:
    from dcmkit.web.exchange import warning_header

    return warning_header(base_url, text)


def _looked_at(instances: list[Located], revision: tuple[int, int]) -> _Place:
    """Which of these have their files, and where these are."""
    began = time_ns()
    directories = {os.path.dirname(one.path) for one in instances}
    changed = tuple((directory, _changed(directory)) for directory in directories)
    there = []
    for one in instances:
        try:
            found = os.stat(one.path)
        except OSError:
            continue
        if found.st_size != one.size or found.st_mtime_ns != one.mtime_ns:
            one = one._replace(size=found.st_size, mtime_ns=found.st_mtime_ns)
        there.append(one)
    settled = all(0 < at < began - _SETTLED for _, at in changed)
    tag = make_etag("\n".join([one.version for one in there]))
    return _Place(revision, changed if settled else (), there, len(instances) - len(there), tag)


def _as_before(place: _Place) -> bool:
    """Whether no file has come or gone. What is in a file of the archive never changes."""
    return all(_changed(directory) == at for directory, at in place.directories)


def _changed(directory: str) -> int:
    try:
        return os.stat(directory).st_mtime_ns
    except OSError:
        return -1


def instance_url(one: Located, base_url: str) -> str:
    """The URL of an instance; UIDs need no escaping."""
    return f"{base_url}/studies/{one.study}/series/{one.series}/instances/{one.instance}"


def _url(one: Located, base_url: str) -> bytes:
    return encode_basestring(instance_url(one, base_url))[1:-1].encode("utf-8", "replace")


def _bare(one: Located) -> bytes:
    """What the index knows of an instance whose data set cannot be followed."""
    uids = (
        ("00080016", one.sop_class_uid),
        ("00080018", one.instance),
        ("0020000D", one.study),
        ("0020000E", one.series),
    )
    text = ",".join(f'"{tag}":{{"vr":"UI","Value":[{encode_basestring(uid)}]}}' for tag, uid in uids)
    return f"{{{text}}}".encode("utf-8", "replace")


def _array(objects: Iterable[bytes]) -> Iterator[bytes]:
    between = b"["
    for one in objects:
        yield between + one
        between = b","
    yield b"]"
