"""Ask the index: one `Query` for `index ls`, C-FIND and QIDO-RS, at the four levels (PS3.4 C.6)."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from dcmkit.archive.attributes import (
    BY_KEYWORD,
    INSTANCE,
    LEVELS,
    PATIENT,
    SERIES,
    STUDY,
    Attribute,
)
from dcmkit.archive.index import Index
from dcmkit.archive.matching import Condition, Parameter, condition
from dcmkit.errors import UsageError

Row = dict[str, "str | int | None"]

_BATCH = 500

_FILE_COLUMNS = {
    "TransferSyntaxUID": ("i.transfer_syntax_uid", "UI"),
    "SourceApplicationEntityTitle": ("i.source_ae_title", "AE"),
    "FileSize": ("i.size", "UL"),
    "Received": ("i.received", "UL"),
    "DataSetOffset": ("i.data_set_offset", "UL"),
    "Digest": ("i.digest", "LO"),
    "Copy": ("i.copy", "UL"),
    "Directory": ("d.path", "UT"),
    "FileName": ("i.name", "UT"),
}
"""What the index knows of a file beyond its attributes, by the name a query uses."""

_COUNT_INSTANCES = (
    "SELECT {0}, COUNT(*) FROM study s JOIN series e ON e.study = s.id JOIN instance i ON i.series = e.id"
)
_GATHERED = {
    "NumberOfPatientRelatedStudies": (PATIENT, "SELECT s.patient, COUNT(*) FROM study s", "s.patient"),
    "NumberOfPatientRelatedSeries": (
        PATIENT,
        "SELECT s.patient, COUNT(*) FROM study s JOIN series e ON e.study = s.id",
        "s.patient",
    ),
    "NumberOfPatientRelatedInstances": (PATIENT, _COUNT_INSTANCES.format("s.patient") + " AND i.copy = 0", "s.patient"),
    "NumberOfStudyRelatedSeries": (STUDY, "SELECT e.study, COUNT(*) FROM series e", "e.study"),
    "NumberOfStudyRelatedInstances": (STUDY, _COUNT_INSTANCES.format("e.study") + " AND i.copy = 0", "e.study"),
    "NumberOfSeriesRelatedInstances": (SERIES, _COUNT_INSTANCES.format("i.series") + " AND i.copy = 0", "i.series"),
    "ModalitiesInStudy": (STUDY, "SELECT e.study, e.Modality FROM series e", "e.study, e.Modality"),
    "SOPClassesInStudy": (
        STUDY,
        "SELECT e.study, i.SOPClassUID FROM series e JOIN instance i ON i.series = e.id",
        "e.study, i.SOPClassUID",
    ),
}
"""Attributes that are no columns (PS3.4 C.3.4): their level, how they are gathered, and by what grouped."""

_COLLECTED_FROM = {"ModalitiesInStudy": "Modality", "SOPClassesInStudy": "SOPClassUID"}

_ALIAS = {PATIENT: "p", STUDY: "s", SERIES: "e", INSTANCE: "i"}
_JOINS = {
    PATIENT: "patient p",
    STUDY: "study s JOIN patient p ON p.id = s.patient",
    SERIES: "series e JOIN study s ON s.id = e.study JOIN patient p ON p.id = s.patient",
    INSTANCE: "instance i JOIN series e ON e.id = i.series JOIN study s ON s.id = e.study"
    " JOIN patient p ON p.id = s.patient JOIN directory d ON d.id = i.directory",
}
_BELOW = {
    STUDY: ("study s", "s.patient = p.id"),
    SERIES: ("series e", "e.study = s.id"),
    INSTANCE: ("instance i", "i.series = e.id"),
}
_ORDER = {
    PATIENT: "p.PatientName_folded, p.PatientID, p.id",
    STUDY: "s.StudyDate, s.StudyTime, s.id",
    SERIES: "s.id, e.SeriesNumber, e.id",
    INSTANCE: "e.id, i.InstanceNumber, i.id",
}

DEFAULT_KEYS = {
    PATIENT: (
        "PatientID",
        "PatientName",
        "PatientBirthDate",
        "PatientSex",
        "NumberOfPatientRelatedStudies",
        "NumberOfPatientRelatedInstances",
    ),
    STUDY: (
        "StudyInstanceUID",
        "StudyDate",
        "PatientID",
        "PatientName",
        "AccessionNumber",
        "ModalitiesInStudy",
        "StudyDescription",
        "NumberOfStudyRelatedSeries",
        "NumberOfStudyRelatedInstances",
    ),
    SERIES: (
        "SeriesInstanceUID",
        "Modality",
        "SeriesNumber",
        "SeriesDescription",
        "BodyPartExamined",
        "NumberOfSeriesRelatedInstances",
    ),
    INSTANCE: ("SOPInstanceUID", "SOPClassUID", "InstanceNumber", "TransferSyntaxUID", "FileSize", "Path"),
}


@dataclass(frozen=True)
class Query:
    """What to look for and what to tell of it.

    Attributes:
        level: `patient`, `study`, `series` or `instance`: one row for each that matches.
        match: matching values by keyword (PS3.4 C.2.2.2): single value, list of UID joined by backslashes, wild cards
            `*` and `?`, ranges `a-b`, `a-`, `-b`; an empty one matches all. Keys of any level may be given: those
            below `level` match where at least one thing below does.
        keys: the keywords told; a level's DEFAULT_KEYS when empty. Beyond attributes: `Path` and `_FILE_COLUMNS`.
        copies: at instance level, tell further files of the same SOP Instance too.
    """

    level: str = STUDY
    match: Mapping[str, str] = field(default_factory=dict)
    keys: tuple[str, ...] = ()
    limit: int = 0
    offset: int = 0
    copies: bool = False


def select(index: Index, query: Query, extra: Collection[str] = ()) -> Iterator[Row]:
    """The rows that match, in the level's natural order.

    Args:
        extra: the configured index keywords beyond those of `attributes.py`.

    Raises:
        UsageError: a keyword that is no index key, or is below the level where it is to be told.
        OutputError: the index cannot be read.
    """
    keys = query.keys or DEFAULT_KEYS[query.level]
    above = LEVELS[: LEVELS.index(query.level) + 1]
    columns = [f"{_ALIAS[level]}.id" for level in above] + [_selected(key, query.level, extra) for key in keys]
    gathered = [key for key in keys if key in _GATHERED]
    where = _where(query, extra)
    sql = (
        f"SELECT {', '.join(columns)} FROM {_JOINS[query.level]}"  # noqa: S608
        f" WHERE {where.sql} ORDER BY {_ORDER[query.level]}"
    )
    parameters = [*where.parameters]
    if query.limit or query.offset:
        sql += " LIMIT ? OFFSET ?"
        parameters += query.limit or 1 << 62, query.offset
    with index.reading() as connection:
        cursor = connection.execute(sql, parameters)
        while batch := cursor.fetchmany(_BATCH):
            rows: list[Row] = [dict(zip(keys, row[len(above) :], strict=True)) for row in batch]
            for key in gathered:
                place = above.index(_GATHERED[key][0])
                found = _gather(connection, key, {row[place] for row in batch})
                for line, row in zip(rows, batch, strict=True):
                    line[key] = found.get(row[place], 0 if key.startswith("Number") else None)
            yield from rows


def _gather(connection: sqlite3.Connection, key: str, ids: set[int]) -> dict[int, str | int]:
    """What is gathered for each of `ids`: a count, or values joined by backslashes."""
    _, sql, group = _GATHERED[key]
    column = group.partition(",")[0]
    marks = ", ".join("?" * len(ids))
    word = "AND" if " ON " in sql else "WHERE"
    rows = connection.execute(f"{sql} {word} {column} IN ({marks}) GROUP BY {group}", [*ids]).fetchall()
    if key.startswith("Number"):
        return dict(rows)
    found: dict[int, list[str]] = {}
    for number, value in rows:
        if value:
            found.setdefault(number, []).append(value)
    return {number: "\\".join(sorted(values)) for number, values in found.items()}


def count(index: Index, query: Query, extra: Collection[str] = ()) -> int:
    """How many rows `select` would give, without limit and offset. Raises: as `select`."""
    where = _where(query, extra)
    with index.reading() as connection:
        sql = f"SELECT COUNT(*) FROM {_JOINS[query.level]} WHERE {where.sql}"  # noqa: S608
        return int(connection.execute(sql, where.parameters).fetchone()[0])


def is_key(keyword: str, extra: Collection[str] = ()) -> bool:
    """Whether a query may match by `keyword`."""
    return keyword in BY_KEYWORD or keyword in _FILE_COLUMNS or keyword in _COLLECTED_FROM or keyword in extra


def _selected(key: str, level: str, extra: Collection[str]) -> str:
    attribute = BY_KEYWORD.get(key)
    if attribute is not None and LEVELS.index(attribute.level) <= LEVELS.index(level):
        return f"{_ALIAS[attribute.level]}.{key}"
    if key in _GATHERED and LEVELS.index(_GATHERED[key][0]) <= LEVELS.index(level):
        return "NULL"
    if level == INSTANCE:
        if key == "Path":
            return "CASE d.path WHEN '' THEN i.name ELSE d.path || '/' || i.name END"
        if key in _FILE_COLUMNS:
            return _FILE_COLUMNS[key][0]
        if key in extra:
            return f"(SELECT x.value FROM extra x WHERE x.instance = i.id AND x.keyword = '{key}')"  # noqa: S608
    raise UsageError(f"{key!r} cannot be told at {level} level", hint="it is no index key, or one of a level below")


def _where(query: Query, extra: Collection[str]) -> Condition:
    """All matching keys; those below the level together describe one thing below."""
    here: list[Condition] = []
    below: list[Condition] = []
    deepest = depth = LEVELS.index(query.level)
    for keyword, value in query.match.items():
        level, found = _match(keyword, value, extra)
        if found is None:
            continue
        if LEVELS.index(level) > depth:
            below.append(found)
            deepest = max(deepest, LEVELS.index(level))
        else:
            here.append(found)
    if query.level == INSTANCE and not query.copies:
        here.append(Condition("i.copy = 0"))
    if below:
        here.append(_exists(depth, deepest, below))
    return _all(here)


def _exists(depth: int, deepest: int, conditions: list[Condition]) -> Condition:
    tables, link = _BELOW[LEVELS[depth + 1]]
    for level in LEVELS[depth + 2 : deepest + 1]:
        table, on = _BELOW[level]
        tables += f" JOIN {table} ON {on}"
    inner = _all([Condition(link), *conditions])
    return Condition(f"EXISTS (SELECT 1 FROM {tables} WHERE {inner.sql})", inner.parameters)  # noqa: S608


def _match(keyword: str, value: str, extra: Collection[str]) -> tuple[str, Condition | None]:
    """The level of a matching key, and its condition."""
    keyword = _COLLECTED_FROM.get(keyword, keyword)
    attribute = BY_KEYWORD.get(keyword)
    if attribute is not None:
        return attribute.level, condition(_column(attribute), attribute.vr, value, multiple=attribute.multiple)
    if keyword in _FILE_COLUMNS and not _FILE_COLUMNS[keyword][0].startswith("d."):
        column, vr = _FILE_COLUMNS[keyword]
        return INSTANCE, condition(column, vr, value)
    if keyword in extra:
        found = condition("x.value", "LO", value, multiple=True)
        if found is None:
            return INSTANCE, None
        sql = f"EXISTS (SELECT 1 FROM extra x WHERE x.instance = i.id AND x.keyword = ? AND {found.sql})"  # noqa: S608
        return INSTANCE, Condition(sql, (keyword, *found.parameters))
    raise UsageError(f"{keyword!r} is not an index key", hint="see the list in 'dcmkit index ls --help'")


def _column(attribute: Attribute) -> str:
    return f"{_ALIAS[attribute.level]}.{attribute.keyword}{'_folded' if attribute.is_name else ''}"


def _all(conditions: list[Condition]) -> Condition:
    parameters: list[Parameter] = [value for each in conditions for value in each.parameters]
    return Condition(" AND ".join(each.sql for each in conditions) or "1 = 1", tuple(parameters))
