"""QIDO-RS as user agent (PS3.18 10.6): keys as query parameters, and all answers, however many pages they come in.

Servers cap their answers, with a Warning 299 or without; ignore `limit` or `offset`; say 204 or `[]` where there is
nothing more. So pages are asked for until one brings nothing new, and what came before is known by its UIDs.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from dcmkit.dataset.elements import DataSet, text
from dcmkit.dataset.json_model import from_json
from dcmkit.errors import InvalidDataSetError, ProtocolError, UsageError
from dcmkit.logs import get_logger
from dcmkit.services.models import IMAGE, PATIENT, QUERY_RETRIEVE_LEVEL, SERIES, STUDY, UNIQUE_KEYS
from dcmkit.uids import is_uid
from dcmkit.web.http_response import HttpStatusError
from dcmkit.web.repeating import Asker, warnings
from dcmkit.web.wado_targets import Target, encoded

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dcmkit.web.http_response import Response

log = get_logger("web")

ACCEPT = "application/dicom+json, application/json;q=0.9"
PAGE, SMALL_PAGE = 1000, 100
"""Answers asked for at a time; the smaller number where a server will not have the larger."""
FEW = 10
"""A server that caps its answers does so at more than these: a page of fewer is the last."""
MOST_PAGES = 100_000
PAGE_LIMIT = 256 << 20
"""Bytes of one page, for servers that know no limit."""
_CHARSET = 0x00080005
_COLLECTIONS = {PATIENT: "/patients", STUDY: "/studies", SERIES: "/series", IMAGE: "/instances"}
ALWAYS = {
    PATIENT: frozenset({0x00100010, 0x00100020}),
    STUDY: frozenset({
        0x00080020, 0x00080030, 0x00080050, 0x00080056, 0x00080061, 0x00080090, 0x00080201, 0x00081190, 0x00100010,
        0x00100020, 0x00100030, 0x00100040, 0x0020000D, 0x00200010, 0x00201206, 0x00201208,
    }),
    SERIES: frozenset({
        0x00080060, 0x00080201, 0x0008103E, 0x00081190, 0x0020000E, 0x00200011, 0x00201209, 0x00400244, 0x00400245,
        0x00400275,
    }),
    IMAGE: frozenset({
        0x00080016, 0x00080018, 0x00080056, 0x00080201, 0x00081190, 0x00200013, 0x00280008, 0x00280010, 0x00280011,
        0x00280100,
    }),
}  # fmt: skip
"""What every server answers without being asked (PS3.18 Tables 10.6.3-3 to 10.6.3-5)."""


class Query(NamedTuple):
    """What is searched for.

    Attributes:
        level: PATIENT, STUDY, SERIES or IMAGE.
        keys: elements with a value are matched, those without are to be answered.
        within: a study or series that the path names.
        include: further attributes to be answered: tags, keywords, "all".
        fuzzy: whether names that sound alike match.
        more: further parameters, encoded.
    """

    level: str
    keys: DataSet
    within: Target | None = None
    include: tuple[str, ...] = ()
    fuzzy: bool = False
    more: str = ""

    def path(self) -> str:
        """The resource below the root; as deep as the keys name what it is in (PS3.18 Table 10.6.1-1)."""
        within = self._within()
        return (within.path if within is not None else "") + _COLLECTIONS[self.level]

    def _within(self) -> Target | None:
        if self.within is not None or self.level not in (SERIES, IMAGE):
            return self.within
        study, series = text(self.keys, UNIQUE_KEYS[STUDY]), text(self.keys, UNIQUE_KEYS[SERIES])
        if not is_uid(study):
            return None
        return Target(study, series if self.level == IMAGE and is_uid(series) else "")

    def parameters(self) -> list[str]:
        """Encoded: matching keys, what else is to be answered, fuzzy matching. Raises: UsageError."""
        within = self._within()
        in_path = set()
        if within is not None:
            in_path = {UNIQUE_KEYS[STUDY]} | ({UNIQUE_KEYS[SERIES]} if within.series else set())
        found: list[str] = []
        fields: list[str] = []
        for path, value in _paths(self.keys):
            if path[0] in (QUERY_RETRIEVE_LEVEL, _CHARSET):
                continue
            if value and not (len(path) == 1 and path[0] in in_path):
                found.append(encoded(_name(path), value))
            elif not value and not (len(path) == 1 and path[0] in ALWAYS[self.level]):
                fields.append(_name(path))
        if "all" in self.include:
            fields = ["all"]
        else:
            fields += self.include
        if fields:
            found.append(encoded("includefield", ",".join(dict.fromkeys(fields))))
        if self.fuzzy:
            found.append("fuzzymatching=true")
        return found + ([self.more] if self.more else [])


def _name(path: tuple[int, ...]) -> str:
    return ".".join([f"{tag:08X}" for tag in path])


def _paths(keys: DataSet, above: tuple[int, ...] = ()) -> Iterator[tuple[tuple[int, ...], str]]:
    """The elements, those in sequences by the tags that lead there, with what they match (PS3.18 8.3.4.1)."""
    for tag, (vr, value) in keys.items():
        path = (*above, tag)
        if isinstance(value, bytes):
            if value:
                raise UsageError(f"{_name(path)} has bytes for a value, which cannot be matched by QIDO-RS")
            yield path, ""
        elif isinstance(value, str):
            yield path, value.replace("\\", ",") if vr == "UI" else value
        elif not any(value):
            yield path, ""
        else:
            for item in value:
                yield from _paths(item, path)


class QidoClient:
    """Searches at one service.

    Args:
        asker: speaks to the server.
        root: the path of the service.

    Attributes:
        faulty: answers that were none.
    """

    def __init__(self, asker: Asker, root: str) -> None:
        self._asker, self._root = asker, root
        self.faulty = 0

    def answers(self, query: Query, limit: int = 0) -> Iterator[DataSet]:
        """All answers, or so many; each once.

        Raises:
            HttpStatusError: the server refuses.
            NetworkError: it cannot be reached, or what it says is no answer.
        """
        count = 0
        for rows in self._pages(query, limit):
            for answer in rows:
                yield answer
                count += 1
                if count == limit:
                    return

    def _pages(self, query: Query, limit: int) -> Iterator[list[DataSet]]:
        base = self._root + query.path() + "?"
        parameters = query.parameters()
        size, offset, came = PAGE, 0, 0
        seen: set[object] = set()
        for _ in range(MOST_PAGES):
            wanted = min(size, limit - came) if limit else size
            try:
                response, rows = self._page(base, [*parameters, f"limit={wanted}", f"offset={offset}"])
            except HttpStatusError as error:
                if error.status not in (400, 413) or size == SMALL_PAGE or offset or wanted <= SMALL_PAGE:
                    raise
                size = SMALL_PAGE
                continue
            if not offset:
                self._tell(response, query)
            new = self._new(rows, query.level, seen)
            came += len(new)
            if new:
                yield new
            if limit and came >= limit:
                return
            if not rows or _is_last(response, len(rows), wanted, offset + len(rows)):
                return
            if not new:
                yield from self._without_pages(base, parameters, query.level, seen, len(rows) >= wanted)
                return
            offset += len(rows)
        log.warning("stopped after %d pages; the server has more", MOST_PAGES)

    def _without_pages(
        self, base: str, parameters: list[str], level: str, seen: set[object], was_full: bool
    ) -> Iterator[list[DataSet]]:
        """The server says the same again: it knows no offset. Perhaps it gives all at once."""
        if not was_full:
            return
        log.info("the server ignores offset: all is asked for at once")
        try:
            response, rows = self._page(base, parameters)
        except HttpStatusError:
            rows, response = [], None
        new = self._new(rows, level, seen)
        if new:
            yield new
        if not new or (response is not None and _has_more(response)):
            log.warning("the server ignores offset: there may be more answers than it gives")

    def _page(self, base: str, parameters: Sequence[str]) -> tuple[Response, list[Any]]:
        target = (base + "&".join(parameters)).rstrip("?")
        response, body = self._asker.fetch(target, ACCEPT, PAGE_LIMIT)
        if response.status == 204 or not body.strip():
            return response, []
        return response, rows_of(body, response.content_type)

    def _new(self, rows: list[Any], level: str, seen: set[object]) -> list[DataSet]:
        """The answers that have not been there before."""
        found = []
        for row in rows:
            try:
                answer = data_set_of(row)
            except InvalidDataSetError as error:
                self.faulty += 1
                log.warning("an answer of the server cannot be read: %s", error)
                continue
            unique = text(answer, UNIQUE_KEYS[level]) or json.dumps(row, sort_keys=True)
            if unique not in seen:
                seen.add(unique)
                found.append(answer)
        return found

    def _tell(self, response: Response, query: Query) -> None:
        """What the server warns of, except that there are more pages."""
        said = warnings(response)
        if said and not _has_more(response):
            log.warning("the server warns: %s", said)
        elif query.fuzzy and not said:
            log.info("the server does not say whether it matches names that sound alike")


def rows_of(body: bytes, content_type: str) -> list[Any]:
    """The answers in a body. Raises: ProtocolError: it is no array of them."""
    try:
        rows = json.loads(body)
    except (ValueError, RecursionError):
        kind = f" ({content_type[:80]})" if content_type.isprintable() and content_type else ""
        raise ProtocolError(
            f"the server's answer is no DICOM JSON{kind}", hint="is this the URL of a DICOMweb service?"
        ) from None
    if isinstance(rows, dict):
        rows = [rows]
    if not isinstance(rows, list):
        raise ProtocolError("the server's answer is no array of DICOM JSON objects")
    return rows


def data_set_of(row: object) -> DataSet:
    """An answer, without those of its attributes that are none. Raises: InvalidDataSetError: it is no object."""
    try:
        return from_json(row, bulk_data=_nothing)
    except InvalidDataSetError:
        if not isinstance(row, dict):
            raise
    found: DataSet = {}
    for name, attribute in row.items():
        try:
            found.update(from_json({name: attribute}, bulk_data=_nothing))
        except InvalidDataSetError as error:
            log.debug("an attribute is left out: %s", error)
    if not found:
        raise InvalidDataSetError("none of its attributes can be read")
    return found


def _nothing(_: str) -> bytes:
    return b""


def _has_more(response: Response) -> bool:
    """PS3.18 8.3.4.4: "There are <n> additional results that can be requested"."""
    said = response.header("Warning")
    return "299" in said and "additional" in said.lower()


def _is_last(response: Response, rows: int, wanted: int, came: int) -> bool:
    if _has_more(response):
        return False
    total = response.header("X-Total-Count").strip()
    if total.isascii() and total.isdecimal() and int(total[:18]) <= came:
        return True
    return rows > wanted or rows < min(FEW, wanted)
