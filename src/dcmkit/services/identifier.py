"""Identifiers of C-FIND, C-MOVE and C-GET requests as queries of the archive (PS3.4 C.2.2, C.4.1, C.4.2).

What a request has too little of is forgiven where it can be understood all the same; `strict` says it must not be.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from dcmkit.archive.attributes import BY_KEYWORD
from dcmkit.archive.items import Keys
from dcmkit.archive.moments import DATE_TIMES, DATES, PAIRS, Adjustment, Zones, is_offset
from dcmkit.archive.query import Query, is_key, is_known
from dcmkit.dataset.dictionary import keyword_of, vr_of
from dcmkit.dataset.elements import DataSet, Element, text
from dcmkit.dataset.identifier import Field
from dcmkit.dataset.values import SPECIFIC_CHARACTER_SET
from dcmkit.errors import DataSetMismatchError
from dcmkit.services.models import (
    ARCHIVE_LEVELS,
    IMAGE,
    PATIENT,
    PATIENT_ROOT,
    PATIENT_STUDY_ONLY,
    QUERY_RETRIEVE_LEVEL,
    UNIQUE_KEYS,
    FindExtended,
    Model,
    RetrieveExtended,
)

RETRIEVE_AE_TITLE = 0x00080054
INSTANCE_AVAILABILITY = 0x00080056
TIMEZONE_OFFSET_FROM_UTC = 0x00080201
_STORAGE_MEDIA = frozenset({0x00880130, 0x00880140})
"""Storage Media File-Set ID and UID: for what is not online."""
_DOUBLE_QUOTES = '""'
_LO_LIMIT = 64
"""Characters of a value of LO (PS3.5 6.2)."""
_TERM_LIMIT = 128
"""The longest Specific Character Set that is one: all terms of PS3.3 C.12.1.1.2 together are hardly longer."""

_ARCHIVE_LEVELS = tuple(ARCHIVE_LEVELS)

FILE_KEYS = ("SOPInstanceUID", "SOPClassUID", "TransferSyntaxUID", "DataSetOffset", "FileSize", "Path")
"""What a retrieve asks the index for, in this order."""


class Asked(NamedTuple):
    """What a C-FIND-RQ asks for.

    Attributes:
        level: the query/retrieve level.
        query: put to the index.
        fields: the elements of an answer; a row has the values of the query's keys.
        complete: every key is supported; else the pending status is FF01 (PS3.4 C.4.1.1.4).
        charset: Specific Character Set to answer in.
        sequences: of each whose items are to match: where a row has its columns, and the keys in their order.
        adjustment: of the times of a row to the zone of the request.
    """

    level: str
    query: Query
    fields: tuple[Field, ...]
    complete: bool
    charset: str
    sequences: tuple[tuple[tuple[int, ...], Keys], ...] = ()
    adjustment: Adjustment | None = None


def level_of(identifier: DataSet, model: Model) -> str:
    """The query/retrieve level. Raises: DataSetMismatchError when it is none of the model's."""
    level = text(identifier, QUERY_RETRIEVE_LEVEL).strip()
    if level not in model.levels:
        what = "is missing" if not level else f"is none of {', '.join(model.levels)}"
        raise DataSetMismatchError(f"Query/Retrieve Level {what}", offending_element=QUERY_RETRIEVE_LEVEL)
    return level


def read_query(
    identifier: DataSet,
    model: Model,
    extended: FindExtended = FindExtended(),  # noqa: B008 - immutable
    *,
    retrieve_ae_title: str,
    extra: Collection[str] = (),
    strict: bool = False,
    limit: int = 0,
    timezone: str = "",
) -> Asked:
    """What a C-FIND-RQ asks for.

    Args:
        identifier: of the request.
        model: of the SOP class.
        extended: as negotiated.
        retrieve_ae_title: where the objects can be had.
        extra: the archive's further index keywords.
        strict: refuse keys of other levels than PS3.4 C.4.1.3.1.1 allows, where no relational query was negotiated.
        limit: the most answers wanted; 0 for all.
        timezone: the archive's, a name or an offset; "" for that of the system.

    Raises:
        DataSetMismatchError: the identifier does not match the SOP class (A900).
    """
    level = level_of(identifier, model)
    if strict and not extended.relational:
        _check_hierarchy(identifier, model, level)
    reader = _Reader(ARCHIVE_LEVELS[level], extra)
    zones = _zones(identifier, timezone) if extended.timezone else None
    if zones is not None:
        reader.fixed(TIMEZONE_OFFSET_FROM_UTC, zones.asked)
    reader.fixed(QUERY_RETRIEVE_LEVEL, level)
    reader.fixed(RETRIEVE_AE_TITLE, retrieve_ae_title)
    for tag, found in identifier.items():
        if tag > SPECIFIC_CHARACTER_SET and tag not in reader.fields:
            reader.key(tag, found)
    unique = UNIQUE_KEYS[level]
    if unique not in identifier:
        reader.key(unique, Element(vr_of(unique), ""))
    adjustment = None if zones is None else reader.adjustment(zones)
    query = Query(
        ARCHIVE_LEVELS[level],
        reader.match,
        tuple(reader.keys),
        limit=limit,
        fuzzy=extended.fuzzy,
        combined=extended.combined,
        zones=zones,
    )
    charset = text(identifier, SPECIFIC_CHARACTER_SET)
    fields = tuple(reader.fields[tag] for tag in sorted(reader.fields))
    return Asked(
        level,
        query,
        fields,
        reader.complete,
        charset if len(charset) <= _TERM_LIMIT else "",
        tuple(reader.sequences),
        adjustment,
    )


def _zones(identifier: DataSet, timezone: str) -> Zones | None:
    """The zone the times of a request are in (PS3.4 C.4.1.1.3.1); None where it says nothing of that."""
    offset = _value(identifier.get(TIMEZONE_OFFSET_FROM_UTC))
    if not offset:
        return None
    if not is_offset(offset):
        raise DataSetMismatchError(
            "Timezone Offset From UTC is no offset such as +0100", offending_element=TIMEZONE_OFFSET_FROM_UTC
        )
    return Zones(offset, timezone)


def read_retrieve(
    identifier: DataSet,
    model: Model,
    extended: RetrieveExtended = RetrieveExtended(),  # noqa: B008 - immutable
    *,
    strict: bool = False,
) -> tuple[str, Query]:
    """The level of a C-MOVE-RQ or C-GET-RQ, and the query that finds its instances, told as FILE_KEYS.

    Args:
        strict: refuse identifiers without the unique keys of the levels above, where no relational retrieve was
            negotiated, and such with other keys (PS3.4 C.4.2.2.1).

    Raises:
        DataSetMismatchError: the identifier does not match the SOP class (A900).
    """
    level = level_of(identifier, model)
    match: dict[str, str | list[str]] = {}
    for each in (*model.above(level), level):
        tag = UNIQUE_KEYS[each]
        values = _unique_values(identifier, tag)
        if not values:
            if each == level or (strict and not extended.relational):
                raise DataSetMismatchError(
                    f"{keyword_of(tag)} is missing or empty for a retrieve at {level} level", offending_element=tag
                )
        elif len(values) > 1 and (each == PATIENT or (strict and each != level)):
            raise DataSetMismatchError(f"{keyword_of(tag)} has several values", offending_element=tag)
        else:
            match[keyword_of(tag)] = values
    if strict:
        allowed = {UNIQUE_KEYS[each] for each in (*model.above(level), level)} | {QUERY_RETRIEVE_LEVEL}
        other = [tag for tag in identifier if tag > SPECIFIC_CHARACTER_SET and tag not in allowed]
        if other:
            raise DataSetMismatchError("a retrieve is asked for by unique keys only", offending_element=other[0])
    return level, Query(ARCHIVE_LEVELS[IMAGE], match, FILE_KEYS)


def _unique_values(identifier: DataSet, tag: int) -> list[str]:
    """The values of a unique key of a retrieve: no wild cards, which would give more than was asked for."""
    values = [value for value in (part.strip() for part in _value(identifier.get(tag)).split("\\")) if value]
    if any("*" in value or "?" in value or value == _DOUBLE_QUOTES for value in values):
        raise DataSetMismatchError(f"{keyword_of(tag)} of a retrieve is no single value", offending_element=tag)
    return values


def _value(found: Element | None) -> str:
    """A value as text, also where the peer says it does not know its VR."""
    if found is None or isinstance(found.value, list):
        return ""
    value = found.value
    return (value if isinstance(value, str) else value.decode("utf-8", "replace")).strip(" \0")


def _check_hierarchy(identifier: DataSet, model: Model, level: str) -> None:
    """PS3.4 C.4.1.3.1.1: keys of the level itself, and a single value for the unique key of each level above.

    In the study root model the patient's attributes belong to the study (C.6.2.1.1).
    """
    for each in model.above(level):
        tag = UNIQUE_KEYS[each]
        value = _value(identifier.get(tag))
        if not value or "*" in value or "?" in value or "\\" in value:
            raise DataSetMismatchError(
                f"{keyword_of(tag)} must have a single value at {level} level", offending_element=tag
            )
    with_patient = model in (PATIENT_ROOT, PATIENT_STUDY_ONLY)
    for tag in identifier:
        attribute = BY_KEYWORD.get(keyword_of(tag))
        if attribute is None or tag <= SPECIFIC_CHARACTER_SET or tag in [UNIQUE_KEYS[e] for e in model.above(level)]:
            continue
        own = next(name for name in _ARCHIVE_LEVELS if ARCHIVE_LEVELS[name] == attribute.level)
        own = own if with_patient or own != PATIENT else model.levels[0]
        if own != level:
            raise DataSetMismatchError(f"{attribute.keyword} is no key at {level} level", offending_element=tag)


class _Reader:
    """Collects what the keys of an identifier match, and what an answer has of them."""

    def __init__(self, level: str, extra: Collection[str]) -> None:
        self.match: dict[str, str | list[str]] = {}
        self.keys: list[str] = []
        self.fields: dict[int, Field] = {}
        self.complete = True
        self.sequences: list[tuple[tuple[int, ...], Keys]] = []
        self._level = level
        self._extra = extra

    def fixed(self, tag: int, value: str, vr: str = "") -> None:
        """An element that is the same in every answer."""
        self.fields[tag] = Field(tag, vr or vr_of(tag), -1, value)

    def key(self, tag: int, found: Element) -> None:
        """A key of the request, other than those every answer has."""
        if not tag & 0xFFFF:
            return  # group length
        if tag == INSTANCE_AVAILABILITY:
            self.fixed(tag, "ONLINE")
        elif tag in _STORAGE_MEDIA:
            self.fixed(tag, "")
        elif tag >> 16 & 1:
            self._private(tag, found)
        elif isinstance(found.value, list):
            self._sequence(tag, found.value)
        else:
            self._plain(tag, found)

    def _plain(self, tag: int, found: Element) -> None:
        keyword = keyword_of(tag)
        vr = vr_of(tag)
        if vr == "SQ":  # without an item
            self._sequence(tag, [])
            return
        column = self._column(keyword)
        self.fields[tag] = Field(tag, vr if vr != "UN" else found.vr, column)
        self._match(keyword, _value(found))

    def _column(self, keyword: str) -> int:
        """Where rows will have it; -1 and not complete where the archive does not know it."""
        if not keyword or not is_known(keyword, self._level, self._extra):
            self.complete = False
            return -1
        self.keys.append(keyword)
        return len(self.keys) - 1

    def _match(self, keyword: str, value: str) -> None:
        if not value.replace("*", ""):
            return  # universal matching
        if is_key(keyword, self._extra):
            self.match[keyword] = value
        else:
            self.complete = False

    def adjustment(self, zones: Zones) -> Adjustment | None:
        """How rows are told in the zone of the request; what that takes becomes a column too."""
        pairs = {DATES.get(key, key) for key in self.keys if key in PAIRS or key in DATES}
        date_times = [key for key in self.keys if key in DATE_TIMES]
        if not pairs and not date_times:
            return None
        return Adjustment(
            zones,
            self._place(keyword_of(TIMEZONE_OFFSET_FROM_UTC)),
            tuple((self._place(date), self._place(PAIRS[date])) for date in sorted(pairs)),
            tuple(map(self._place, date_times)),
        )

    def _place(self, keyword: str) -> int:
        if keyword not in self.keys:
            self.keys.append(keyword)
        return self.keys.index(keyword)

    def _private(self, tag: int, found: Element) -> None:
        """Answered without a value, under the creator the request names (PS3.5 7.8)."""
        creator = 0x10 <= tag & 0xFFFF <= 0xFF
        self.fixed(tag, _value(found)[:_LO_LIMIT] if creator else "", "LO" if creator else found.vr)
        self.complete = self.complete and creator

    def _sequence(self, tag: int, items: list[DataSet]) -> None:
        """Matching inside of items (PS3.4 C.2.2.2.6); a sequence without an item asks for all that is known."""
        sequence = keyword_of(tag)
        wanted = items[0] if items else {}
        if not wanted:
            known = [a for a in BY_KEYWORD.values() if a.sequence == tag and is_known(a.keyword, self._level)]
            wanted = {attribute.tag: Element(attribute.vr, "") for attribute in known}
        fields: list[Field] = []
        keys: dict[int, str] = {}
        for inner, found in sorted(wanted.items()):
            if inner & 0xFFFF and inner > SPECIFIC_CHARACTER_SET:
                keyword = f"{sequence}_{keyword_of(inner)}"
                fields.append(Field(inner, vr_of(inner) if vr_of(inner) != "UN" else found.vr, self._column(keyword)))
                if not isinstance(found.value, list):
                    self._match(keyword, _value(found))
                    keys[fields[-1].column] = _value(found)
        if not wanted:
            self.complete = False
        keys.pop(-1, None)
        if any(keys.values()):
            self.sequences.append((tuple(keys), tuple(keys.values())))
        if any(field.column >= 0 for field in fields):
            self.fields[tag] = Field(tag, "SQ", -1, "", tuple(fields))
        else:
            self.fixed(tag, "", "SQ")
