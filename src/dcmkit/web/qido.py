"""QIDO-RS: query parameters as queries of the archive, rows as DICOM JSON (PS3.18 8.3.4, 10.6).

A search becomes the identifier a C-FIND would have, and is read by what reads those (`services/identifier.py`); so both
doors match alike. Rows are written as they come, without objects in between.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import lru_cache
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

from dcmkit.archive.attributes import BY_KEYWORD, INSTANCE, LEVELS, PATIENT, SERIES, STUDY
from dcmkit.archive.items import with_matching_items
from dcmkit.archive.matching import EMPTY
from dcmkit.archive.query import count_unless, is_key, is_known, select_values
from dcmkit.dataset.dictionary import keyword_of, look_up, parse_tag, vr_of
from dcmkit.dataset.elements import DataSet, Element
from dcmkit.dataset.identifier import Field
from dcmkit.dataset.values import SPECIFIC_CHARACTER_SET
from dcmkit.errors import UsageError
from dcmkit.services.identifier import INSTANCE_AVAILABILITY, RETRIEVE_AE_TITLE, Asked, read_query
from dcmkit.services.models import ARCHIVE_LEVELS, PATIENT_ROOT, QUERY_RETRIEVE_LEVEL, FindExtended
from dcmkit.web.json_rows import RowWriter

if TYPE_CHECKING:
    from dcmkit.archive.index import Index
    from dcmkit.archive.query import Query, Value

__all__ = [
    "Answer", "Search", "SearchTooLongError", "answer", "count_matches", "read_search", "search",
]  # fmt: skip

Parameters = Sequence[tuple[str, str]]
"""Names and values of a query string, decoded, in their order."""

RESULTS_LIMIT = 10_000
"""Results of one response, unless the caller says otherwise; the rest can be asked for by pages."""
SIZE_LIMIT = 64 << 20
"""Bytes of the results of one response."""
_PARAMETERS_LIMIT = 500
_VALUE_LIMIT = 1 << 16
_NAME_LIMIT = 256
_ORDER_LIMIT = 8
_NUMBER_DIGITS = 15
_SEARCH_SECONDS = 30.0
_COUNTING_SECONDS = 0.01
"""What knowing the number of all matches may take."""
_EVERYTHING = "all"
_UID = re.compile(r"[0-9.]{1,64}")
_SURROGATES = re.compile("[\ud800-\udfff]")
_CONTROL = frozenset({"accept", "charset", "access_token"})
"""Parameters of every transaction: they are for whoever answers (PS3.18 8.3.3)."""
_RETRIEVE_URL = 0x00081190
_STUDY_UID, _SERIES_UID, _INSTANCE_UID = 0x0020000D, 0x0020000E, 0x00080018
_MODALITIES_IN_STUDY, _MODALITY = 0x00080061, 0x00080060
_REQUEST_ATTRIBUTES = 0x00400275
_OF_PATIENT = frozenset({0x00201200, 0x00201202, 0x00201204})
"""What a patient has in all: studies, series, instances."""
_QUERY_LEVELS = {archive: dimse for dimse, archive in ARCHIVE_LEVELS.items()}
_NOT_TOLD = frozenset({QUERY_RETRIEVE_LEVEL, RETRIEVE_AE_TITLE})

_RETURNED = {
    PATIENT: (0x00100010, 0x00100020, 0x00100021, 0x00100030, 0x00100040, 0x00201200, 0x00201202, 0x00201204),
    STUDY: (
        0x00080020, 0x00080030, 0x00080050, INSTANCE_AVAILABILITY, _MODALITIES_IN_STUDY, 0x00080090, 0x00080201,
        0x00100010, 0x00100020, 0x00100030, 0x00100040, _STUDY_UID, 0x00200010, 0x00201206, 0x00201208,
    ),
    SERIES: (
        INSTANCE_AVAILABILITY, _MODALITY, 0x00080201, 0x0008103E, _STUDY_UID, _SERIES_UID, 0x00200011, 0x00201209,
        0x00400244, 0x00400245, _REQUEST_ATTRIBUTES,
    ),
    INSTANCE: (
        0x00080016, _INSTANCE_UID, INSTANCE_AVAILABILITY, 0x00080201, _STUDY_UID, _SERIES_UID, 0x00200013, 0x00280008,
        0x00280010, 0x00280011, 0x00280100,
    ),
}  # fmt: skip
"""What each answer has (PS3.18 tables 10.6.3-3 to 10.6.3-5), and the UIDs that say where it belongs."""
_UTF_8 = Field(SPECIFIC_CHARACTER_SET, "CS", -1, "ISO_IR 192")
"""What answers are in, as the example in PS3.18 F.4 says it."""
_IF_KNOWN = frozenset({0x00080201, 0x00280008, 0x00280010, 0x00280011, 0x00280100, 0x00100021, _REQUEST_ATTRIBUTES})
"""Conditional: left out where there is no value, unless it was asked for."""
_NATURAL = {STUDY: ("-StudyDate", "-StudyTime")}
"""The latest studies first; other levels have the archive's order."""

MORE = "There are additional results that can be requested"


class SearchTooLongError(UsageError):
    """A search that was given up (PS3.18 table 10.6.3-1: 413, repeat it with a narrower query)."""

    http_status = 413


class Search(NamedTuple):
    """A search, read and checked.

    Attributes:
        asked: put to the index; a row has the values of `asked.query.keys`.
        always: tags whose elements every answer has, without a value too.
        limit: results wanted; None where all are, as far as the origin server lets them.
        nothing: whether a value can match nothing at all.
        warnings: texts for Warning headers.
        everything: whether all attributes were asked for; rows have those of the index.
        further: tags that were asked for and that the index does not tell at this level.
    """

    asked: Asked
    always: frozenset[int]
    limit: int | None
    nothing: bool
    warnings: tuple[str, ...]
    everything: bool = False
    further: frozenset[int] = frozenset()

    @property
    def query(self) -> Query:
        """What is put to the index."""
        return self.asked.query


class Answer(NamedTuple):
    """What a search found.

    Attributes:
        rows: an object of DICOM JSON for each result, in UTF-8.
        total: matches there are, with those of other pages; None where that takes long to tell.
        more: whether there are further matches.
        warnings: texts for Warning headers.
    """

    rows: list[bytes]
    total: int | None
    more: bool
    warnings: tuple[str, ...] = ()

    @property
    def body(self) -> bytes:
        """The array of all results."""
        return b"[" + b",".join(self.rows) + b"]"


def search(
    index: Index,
    level: str,
    parameters: Parameters,
    base_url: str,
    *,
    study: str = "",
    series: str = "",
    extra: Collection[str] = (),
    strict: bool = True,
    most: int = RESULTS_LIMIT,
) -> Answer:
    """Answer a search.

    Args:
        index: of the archive. What was stored a moment ago is in it when `services.find.catch_up` was called before.
        level: `patient`, `study`, `series` or `instance`.
        parameters: of the query string, decoded.
        base_url: of the origin server, without a slash at its end.
        study, series: UIDs of the path.
        extra: the archive's further index keywords.
        strict: refuse parameters that are not known; otherwise they are ignored, with a warning.
        most: results of one response.

    Raises:
        UsageError: a parameter is wrong (400).
        SearchTooLongError: it was given up (413).
        OutputError: the index cannot be read.
    """
    asked = read_search(level, parameters, study=study, series=series, extra=extra, strict=strict)
    return answer(index, asked, base_url, extra=extra, most=most)


def answer(
    index: Index,
    search: Search,
    base_url: str,
    *,
    extra: Collection[str] = (),
    most: int = RESULTS_LIMIT,
    seconds: float = 0.0,
) -> Answer:
    """The same for a search that is read already.

    Args:
        seconds: after which it is given up; 0 for what is usual.

    Raises:
        SearchTooLongError: it takes too long.
        OutputError: the index cannot be read.
    """
    if search.nothing:
        return Answer([], 0, False, search.warnings)
    query, limit = search.query, most if search.limit is None else min(search.limit, most)
    places = tuple(query.keys.index(keyword_of(tag)) for tag in _uids(query.level))
    rows: list[bytes] = []
    found = size = 0
    seconds = seconds or _SEARCH_SECONDS
    late = _Clock(seconds)
    if limit:
        write = _writer(search.asked.fields, search.always, query.level, places, base_url).write
        values: Sequence[Value]
        for values in select_values(index, replace(query, limit=limit + 1), extra, stop=late):
            found += 1
            if found > limit:
                break
            if all(values[place] for place in places):  # what has no UID cannot be named, or retrieved
                for columns, keys in search.asked.sequences:
                    values = with_matching_items(values, columns, keys)
                rows.append(write(values))
                size += len(rows[-1])
                if size > SIZE_LIMIT:
                    raise too_large()
    if late.struck:
        raise _too_long()
    told = min(found, limit)
    if found > limit or not found:
        total = (
            0
            if limit and not query.offset and not found
            else _count(index, query, extra, min(seconds, _COUNTING_SECONDS))
        )
    else:
        total = query.offset + found
    more = found > limit or (not limit and bool(total))
    warnings = search.warnings
    if more:
        left = "are" if total is None else f"are {max(1, total - query.offset - told)}"
        warnings = (*warnings, MORE.replace("are", left, 1))
    return Answer(rows, total, more, warnings)


def count_matches(index: Index, search: Search, *, extra: Collection[str] = ()) -> int:
    """How many matches there are, whatever limit and offset say. Raises: SearchTooLongError, OutputError."""
    if search.nothing:
        return 0
    found = count_unless(index, search.query, extra, stop=_Clock(_SEARCH_SECONDS))
    if found is None:
        raise _too_long()
    return found


def _too_long() -> SearchTooLongError:
    return SearchTooLongError("the search takes too long", hint="ask for less: a name that begins, a range of dates")


def too_large() -> SearchTooLongError:
    """For results that are more than goes into one response (PS3.18 table 10.6.3-1)."""
    return SearchTooLongError("the results are too large", hint="ask for them by pages, with limit and offset")


def _count(index: Index, query: Query, extra: Collection[str], seconds: float) -> int | None:
    return count_unless(index, query, extra, stop=_Clock(seconds))


class _Clock:
    """Says when time is up, and remembers that it did."""

    def __init__(self, seconds: float) -> None:
        self._until = perf_counter() + seconds
        self.struck = False

    def __call__(self) -> bool:
        self.struck = perf_counter() > self._until
        return self.struck


def _uids(level: str) -> tuple[int, ...]:
    """The attributes that make the URL of something."""
    return (_STUDY_UID, _SERIES_UID, _INSTANCE_UID)[: LEVELS.index(level)]


@lru_cache(maxsize=128)
def _writer(
    fields: tuple[Field, ...], always: frozenset[int], level: str, places: tuple[int, ...], base_url: str
) -> RowWriter:
    """Viewers ask for the same attributes again and again."""
    told = [_UTF_8, *(field for field in fields if field.tag not in _NOT_TOLD)]
    return RowWriter(told, always, base_url.rstrip("/") if level != PATIENT else "", places)


# --- reading ---------------------------------------------------------------------------------------------------------


def read_search(
    level: str,
    parameters: Parameters,
    *,
    study: str = "",
    series: str = "",
    extra: Collection[str] = (),
    strict: bool = True,
    studies: Collection[str] | None = None,
) -> Search:
    """What the parameters of a search ask for.

    Args:
        studies: the Study Instance UIDs that whoever asks may learn of; None for all.

    Other Args, Raises: as `search`.
    """
    reader = _Reader(level, extra, strict)
    if studies is not None:
        reader.limit_to(studies)
    for tag, uid in ((_STUDY_UID, study), (_SERIES_UID, series)):
        if uid:
            reader.within(tag, uid)
    reader.default_fields(study, series)
    reader.read(parameters)
    return reader.search()


class _Reader:
    """Collects what parameters say."""

    def __init__(self, level: str, extra: Collection[str], strict: bool) -> None:
        self._level, self._extra, self._strict = level, extra, strict
        self._identifier: DataSet = {}
        self._within: dict[int, list[str]] = {}
        self._always: set[int] = set()
        self._further: set[int] = set()
        self._matched: set[tuple[int, ...]] = set()
        self._warnings: list[str] = []
        self._nothing = self._everything = self._limited = False
        self._empty = self._multiple = self._fuzzy = False
        self._limit: int | None = None
        self._offset = 0
        self._order: tuple[str, ...] = _NATURAL.get(level, ())

    def limit_to(self, studies: Collection[str]) -> None:
        """Whoever asks may learn of these studies only, and not how many others a patient has."""
        self.within(_STUDY_UID, *sorted(studies))
        self._limited = True

    def within(self, tag: int, *uids: str) -> None:
        """What a UID must be: that of the path, or one of several. Further calls narrow it down."""
        before = self._within.get(tag)
        self._within[tag] = [uid for uid in uids if _UID.fullmatch(uid) and (before is None or uid in before)]

    def default_fields(self, study: str, series: str) -> None:
        """What every answer has: where the path does not say of which study or series, their attributes too."""
        levels = [self._level]
        if self._level in (SERIES, INSTANCE) and not study:
            levels.append(STUDY)
        if self._level == INSTANCE and not series:
            levels.append(SERIES)
        for each in levels:
            for tag in _RETURNED[each]:
                if self._field((tag,)) and tag not in _IF_KNOWN:
                    self._always.add(tag)

    def read(self, parameters: Parameters) -> None:
        """All parameters."""
        if len(parameters) > _PARAMETERS_LIMIT:
            raise UsageError(f"the query has {len(parameters)} parameters", hint=f"{_PARAMETERS_LIMIT} at most")
        single: dict[str, str] = {}
        matches: list[tuple[str, str]] = []
        for name, value in parameters:
            if len(value) > _VALUE_LIMIT or len(name) > _NAME_LIMIT:
                raise UsageError(f"the parameter {_short(name)} is too long")
            if not value.isascii() and _SURROGATES.search(value):
                raise UsageError(f"the parameter {_short(name)} is no text")
            lowered = name.lower()
            if lowered == "includefield":
                self._include(value)
            elif lowered in _SETTINGS:
                _once(single, "fuzzymatching" if lowered == "fuzzy" else lowered, value)
            elif lowered not in _CONTROL:
                matches.append((name, value))
        self._fuzzy = _flag(single, "fuzzymatching")
        self._empty = _flag(single, "emptyvaluematching")
        self._multiple = _flag(single, "multiplevaluematching")
        if "limit" in single:
            self._limit = _number("limit", single["limit"])
        self._offset = _number("offset", single.get("offset", "0"))
        if single.get("orderby"):
            self._order = self._ordered(single["orderby"])
        for name, value in sorted(matches, key=lambda match: "," in match[1]):  # see _value
            self._match(name, value)

    def search(self) -> Search:
        """What was read."""
        for tag in _uids(self._level):
            self._field((tag,))
        for tag, uids in self._within.items():
            given = self._identifier.get(tag)
            value = _both(uids, given.value if given is not None and isinstance(given.value, str) else "")
            self._nothing = self._nothing or not value
            self._identifier[tag] = Element("UI", value)
        self._identifier[QUERY_RETRIEVE_LEVEL] = Element("CS", _QUERY_LEVELS[self._level])
        extended = FindExtended(relational=True, combined=True, fuzzy=self._fuzzy)
        found = read_query(self._identifier, PATIENT_ROOT, extended, retrieve_ae_title="", extra=self._extra)
        query = replace(found.query, offset=self._offset, order=self._order)
        asked = found._replace(query=query)
        return Search(
            asked, frozenset(self._always), self._limit, self._nothing, tuple(self._warnings), self._everything,
            frozenset(self._further),
        )  # fmt: skip

    # --- matching ---

    def _match(self, name: str, value: str) -> None:
        path = self._path(name)
        keyword = _joined_keyword(path)
        if path == (SPECIFIC_CHARACTER_SET,):  # never matched, and the parameters are UTF-8
            return
        if not keyword or path[0] < SPECIFIC_CHARACTER_SET or not is_key(keyword, self._extra):
            self._unknown(name, "no attribute" if not path else "no attribute that can be searched by")
            return
        is_uid = vr_of(path[-1]) == "UI"
        if path in self._matched and not is_uid:  # PS3.18 8.3.4.1: once, but for lists of UIDs
            raise UsageError(f"the attribute {keyword} is given twice")
        self._matched.add(path)
        path, value = self._value(path, value)
        place = self._identifier if len(path) == 1 else self._item(path[0])
        before = place.get(path[-1])
        if before is not None and is_uid and before.value:
            value = f"{before.value!s}\\{value}"
        place[path[-1]] = Element(vr_of(path[-1]), value)
        if is_known(_joined_keyword(path), self._level, self._extra):
            self._always.add(path[0])

    def _value(self, path: tuple[int, ...], value: str) -> tuple[tuple[int, ...], str]:
        """A matching value as C-FIND has it, and what it is matched with."""
        value = value.strip(" \0")
        vr = vr_of(path[-1])
        if vr == "UI":
            return path, "\\".join(part.strip() for part in value.replace(",", "\\").split("\\"))
        if vr == "CS" and "," in value:  # no value of CS has a comma: it is a list, of which one is to match
            if (
                path == (_MODALITIES_IN_STUDY,)
                and self._level in (PATIENT, STUDY)
                and (_MODALITY,) not in self._matched
            ):
                path = (_MODALITY,)
            return path, value.replace(",", "\\")
        if value == EMPTY and not self._empty:
            self._cannot(path, "emptyvaluematching")
        elif "\\" in value and vr not in ("CS", "LT", "ST", "UT", "UR") and not self._multiple:
            self._cannot(path, "multiplevaluematching")
        return path, value

    def _cannot(self, path: tuple[int, ...], parameter: str) -> None:
        """PS3.18 8.3.4.5, 8.3.4.6: it is taken as it stands, and no attribute has such a value."""
        self._nothing = True
        self._warnings.append(f"The value of {_joined_keyword(path)} is matched as it stands without {parameter}=true.")

    def _unknown(self, name: str, what: str) -> None:
        if self._strict:
            raise UsageError(
                f"the parameter {_short(name)} is {what} here", hint="a keyword, a tag of eight hexadecimal digits, "
                "or the path of one in a sequence, with a point between them",
            )  # fmt: skip
        self._warnings.append(f"The parameter {_short(name)} is not supported and was ignored.")

    # --- what is told ---

    def _include(self, value: str) -> None:
        for name in value.split(","):
            name = name.strip()
            if not name:
                continue
            if name.lower() == _EVERYTHING:
                self._include_everything()
                continue
            path = self._path(name)
            if not path:
                self._unknown(f"includefield={name}", "no attribute")
            elif self._field(path):
                self._always.add(path[0])
            else:
                self._further.add(path[0])

    def _include_everything(self) -> None:
        """All attributes the index has of the level and those above."""
        self._everything = True
        depth = LEVELS.index(self._level)
        for attribute in BY_KEYWORD.values():
            if LEVELS.index(attribute.level) <= depth and attribute.keyword != "SpecificCharacterSet":
                self._field((attribute.sequence or attribute.tag,))
        for keyword in self._extra if self._level == INSTANCE else ():
            found = look_up(keyword)
            if found is not None:
                self._field((found[0],))

    def _field(self, path: tuple[int, ...]) -> bool:
        """Ask for an attribute; whether it can be told at this level."""
        tag = path[0]
        if self._limited and tag in _OF_PATIENT:
            return False
        is_sequence = vr_of(tag) == "SQ"
        if len(path) == 1 and not is_sequence:
            if tag != INSTANCE_AVAILABILITY and not is_known(keyword_of(tag), self._level, self._extra):
                return False
            self._identifier.setdefault(tag, Element(vr_of(tag), ""))
            return True
        known = _inside(tag, self._level)
        if not known or (len(path) > 1 and path[1] not in known):
            return False
        item = self._item(tag)
        for inner in known if len(path) == 1 else (path[1],):
            item.setdefault(inner, Element(vr_of(inner), ""))
        return True

    def _item(self, sequence: int) -> DataSet:
        found = self._identifier.setdefault(sequence, Element("SQ", [{}])).value
        assert isinstance(found, list)
        return found[0]

    def _ordered(self, value: str) -> tuple[str, ...]:
        """The extension of dcm4chee: keywords with commas between them, `-` before descending ones."""
        found: list[str] = []
        for part in value.split(","):
            name = part.strip()
            path = self._path(name.lstrip("+-"))
            attribute = BY_KEYWORD.get(_joined_keyword(path))
            if attribute is None or LEVELS.index(attribute.level) > LEVELS.index(self._level):
                raise UsageError(f"results cannot be ordered by {_short(name)}", hint="an attribute of their level")
            found.append(("-" if name.startswith("-") else "") + attribute.keyword)
        if len(found) > _ORDER_LIMIT:
            raise UsageError(f"results are to be ordered by {len(found)} attributes", hint=f"{_ORDER_LIMIT} at most")
        return tuple(found)

    def _path(self, name: str) -> tuple[int, ...]:
        """The tags of an attribute, or of one in a sequence; () for what is none."""
        parts = name.split(".")
        if len(parts) > 2:
            return ()
        tags = [_tag(part) for part in parts]
        if any(tag is None for tag in tags):
            return ()
        path = tuple(tag for tag in tags if tag is not None)
        return path if len(path) == 1 or vr_of(path[0]) == "SQ" else ()


_SETTINGS = frozenset({
    "limit", "offset", "fuzzymatching", "fuzzy", "emptyvaluematching", "multiplevaluematching", "orderby",
})  # fmt: skip


def _tag(name: str) -> int | None:
    """A keyword, in any case where it is one of the index, or eight hexadecimal digits."""
    tag = parse_tag(name) if name.isalnum() and name.isascii() else None
    return tag if tag is not None else _friendly().get(name.lower())


@lru_cache(maxsize=1)
def _friendly() -> dict[str, int]:
    """Raccoon and DicomSCP write names such as `patientId`."""
    found = {attribute.keyword.lower(): attribute.tag for attribute in BY_KEYWORD.values() if not attribute.sequence}
    found["modalitiesinstudy"] = _MODALITIES_IN_STUDY
    return found


def _joined_keyword(path: tuple[int, ...]) -> str:
    """What the archive calls an attribute; "" for one the standard does not know."""
    names = [keyword_of(tag) for tag in path]
    return "_".join(names) if all(names) else ""


@lru_cache(maxsize=256)
def _inside(sequence: int, level: str) -> tuple[int, ...]:
    """What the index has of the items of a sequence."""
    return tuple(one.tag for one in BY_KEYWORD.values() if one.sequence == sequence and is_known(one.keyword, level))


def _both(allowed: Collection[str], asked: str) -> str:
    """The UIDs that the path allows and the parameter, if any, has too; "" where there is none."""
    wanted = {part for part in asked.split("\\") if part.replace("*", "")}
    return "\\".join(uid for uid in allowed if not wanted or uid in wanted)


def _once(found: dict[str, str], name: str, value: str) -> None:
    if name in found:
        raise UsageError(f"the parameter {name} is given twice")
    found[name] = value.strip()


def _flag(found: dict[str, str], name: str) -> bool:
    value = found.get(name, "false").lower()
    if value not in ("true", "false"):
        raise UsageError(f"the parameter {name} is {_short(value)}", hint="true or false")
    return value == "true"


def _number(name: str, value: str) -> int:
    if not (value.isascii() and value.isdigit()) or len(value) > _NUMBER_DIGITS:
        raise UsageError(f"the parameter {name} is {_short(value)}", hint="a whole number from 0 on")
    return int(value)


def _short(text: str) -> str:
    """What somebody wrote, fit for a message."""
    return ascii(text if len(text) <= 60 else text[:57] + "...")
