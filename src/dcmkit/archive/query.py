"""Ask the index: one `Query` for `index ls`, C-FIND and QIDO-RS, at the four levels (PS3.4 C.6).

First the numbers of the rows that match are read, in order; then the rows themselves, a batch at a time. So nothing
wide is sorted, the first rows come early, and no transaction is open while whoever asked takes his time.
"""

from __future__ import annotations

import sqlite3
from array import array
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache

from dcmkit.archive.attributes import BY_KEYWORD, INSTANCE, LEVELS, PATIENT, SERIES, STUDY
from dcmkit.archive.gathering import LEVEL_OF, gather, padded
from dcmkit.archive.index import Index
from dcmkit.archive.moments import Zones
from dcmkit.archive.planning import (
    ALIAS,
    FILE_COLUMNS,
    LAST_RECEIVED,
    LAST_RECEIVED_COLUMN,
    Plan,
    is_key,
    ordered_by,
    plan,
)
from dcmkit.errors import UsageError

__all__ = [
    "DEFAULT_KEYS", "Query", "Row", "Value", "count", "count_unless", "is_key", "is_known", "select", "select_values",
]  # fmt: skip

Value = str | int | None
Row = dict[str, Value]
Stop = Callable[[], bool]

_BATCH = 500
_FIRST_BATCH = 64
_FEW = 64
"""Keys of a query that is worth remembering; a hostile one may have any number."""
_INSTRUCTIONS = 20000
"""How many instructions of SQLite's machine may pass before `stop` is asked: some tenths of a millisecond."""

_JOINS = {
    PATIENT: "patient p",
    STUDY: "study s CROSS JOIN patient p ON p.id = s.patient",
    SERIES: "series e CROSS JOIN study s ON s.id = e.study CROSS JOIN patient p ON p.id = s.patient",
    INSTANCE: "instance i CROSS JOIN series e ON e.id = i.series CROSS JOIN study s ON s.id = e.study"
    " CROSS JOIN patient p ON p.id = s.patient CROSS JOIN directory d ON d.id = i.directory",
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
        match: matching values by keyword (PS3.4 C.2.2.2): single value, list of UID (joined by backslashes, or a
            sequence), wild cards `*` and `?`, ranges `a-b`, `a-`, `-b`; an empty one matches all, `""` (two quotation
            marks) what has no value. Keys of any level may be given: those below `level` match where at least one
            thing below does. An attribute in a sequence is `SequenceKeyword_Keyword`.
        keys: the keywords told; a level's DEFAULT_KEYS when empty. Beyond attributes: `Path` and `FILE_COLUMNS`.
        copies: at instance level, tell further files of the same SOP Instance too.
        fuzzy: person names match when each word of the value begins a word of the name or sounds like one, in any
            order.
        combined: a date and a time that are both ranges of the same form are matched as one (C.2.2.2.5).
        zones: dates with times and date-times are matched as in another time zone (C.2.2.2.1.3); they are told as they
            are stored.
        order: keywords of attributes of the level or one above, each with `-` before it where the highest comes first;
            the level's natural order when empty, and where rows have the same values.
    """

    level: str = STUDY
    match: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    keys: tuple[str, ...] = ()
    limit: int = 0
    offset: int = 0
    copies: bool = False
    fuzzy: bool = False
    combined: bool = False
    zones: Zones | None = None
    order: tuple[str, ...] = ()


def select(index: Index, query: Query, extra: Collection[str] = ()) -> Iterator[Row]:
    """The rows that match by keyword, otherwise as `select_values`. Raises: as `select_values`."""
    keys = query.keys or DEFAULT_KEYS[query.level]
    return (dict(zip(keys, values, strict=True)) for values in select_values(index, query, extra))


def select_values(
    index: Index, query: Query, extra: Collection[str] = (), *, stop: Stop | None = None
) -> Iterator[tuple[Value, ...]]:
    """The rows that match, in the level's natural order: the values of `query.keys`.

    What is removed while the rows are being told is left out.

    Args:
        extra: the configured index keywords beyond those of `attributes.py`.
        stop: asked during long searches and between batches; the rows end when it says so.

    Raises:
        UsageError: a keyword that is no index key, or is below the level where it is to be told or ordered by.
        OutputError: the index cannot be read.
    """
    keys = query.keys or DEFAULT_KEYS[query.level]
    telling = (_telling if len(keys) <= _FEW else _Telling)(query.level, tuple(keys), tuple(extra))
    found = _numbers(index, query, _plan(query, extra), stop)
    size = _FIRST_BATCH
    at = 0
    while at < len(found):
        if stop is not None and stop():
            return
        rows = telling.rows(index, found[at : at + size].tolist(), stop)
        if rows is None:
            return
        yield from rows
        at, size = at + size, _BATCH


def count(index: Index, query: Query, extra: Collection[str] = ()) -> int:
    """How many rows `select` would give, without limit and offset. Raises: as `select`."""
    found = _plan(query, extra)
    with index.reading() as connection:
        sql = f"SELECT COUNT(*) FROM {found.source}"  # noqa: S608
        return int(connection.execute(sql, found.parameters).fetchone()[0])


def count_unless(index: Index, query: Query, extra: Collection[str] = (), *, stop: Stop) -> int | None:
    """As `count`; None where `stop` says so first."""
    found = _plan(query, extra)
    with _stoppable(index, stop) as connection:
        sql = f"SELECT COUNT(*) FROM {found.source}"  # noqa: S608
        return int(connection.execute(sql, found.parameters).fetchone()[0])
    return None


def is_known(keyword: str, level: str, extra: Collection[str] = ()) -> bool:
    """Whether a query can tell `keyword` at `level`."""
    return _expression(keyword, level, tuple(extra)) is not None


def _plan(query: Query, extra: Collection[str]) -> Plan:
    return plan(
        query.level,
        query.match,
        extra,
        fuzzy=query.fuzzy,
        combine=query.combined,
        copies=query.copies,
        zones=query.zones,
    )


def _numbers(index: Index, query: Query, found: Plan, stop: Stop | None) -> array[int]:
    """The row numbers of all that match, in order; none when stopped."""
    order = ordered_by(query.level, query.order) if query.order else found.order
    sql = f"SELECT {ALIAS[query.level]}.id FROM {found.source} ORDER BY {order}"  # noqa: S608
    parameters = [*found.parameters]
    if query.limit or query.offset:
        sql += " LIMIT ? OFFSET ?"
        parameters += query.limit or 1 << 62, query.offset
    with _stoppable(index, stop) as connection:
        return array("q", [number for (number,) in connection.execute(sql, parameters)])
    return array("q")


@contextmanager
def _stoppable(index: Index, stop: Stop | None) -> Iterator[sqlite3.Connection]:
    """A reading connection that gives up when `stop` says so: the block ends then."""
    with index.reading() as connection:
        if stop is None:
            yield connection
            return
        connection.set_progress_handler(stop, _INSTRUCTIONS)
        try:
            yield connection
        except sqlite3.OperationalError as error:
            if "interrupted" not in str(error):
                raise
        finally:
            connection.set_progress_handler(None, 0)


class _Telling:
    """How the rows of a level are told: one SELECT for the columns, others for what is gathered."""

    def __init__(self, level: str, keys: tuple[str, ...], extra: tuple[str, ...]) -> None:
        expressions: list[str] = []
        for key in keys:
            expression = _expression(key, level, extra)
            if expression is None:
                hint = "it is no index key, or one of a level below"
                raise UsageError(f"{key!r} cannot be told at {level} level", hint=hint)
            expressions.append(expression)
        self._gathered = [(place, key) for place, key in enumerate(keys, 1) if key in LEVEL_OF]
        for place, key in self._gathered:
            expressions[place - 1] = f"{ALIAS[LEVEL_OF[key]]}.id"
        columns = ", ".join([f"{ALIAS[level]}.id", *expressions])
        self._sql = f"SELECT {columns} FROM {_JOINS[level]} WHERE {ALIAS[level]}.id IN (%s)"  # noqa: S608

    def rows(self, index: Index, numbers: list[int], stop: Stop | None) -> list[tuple[Value, ...]] | None:
        """The rows of these numbers, in their order, as far as they are still there; None when stopped."""
        wanted = padded(numbers)
        sql = self._sql % ", ".join("?" * len(wanted))
        with _stoppable(index, stop) as connection:
            by_number = {row[0]: row for row in connection.execute(sql, wanted)}
            rows = [by_number[number] for number in numbers if number in by_number]
            if not self._gathered or not rows:
                return [row[1:] for row in rows]
            columns: list[Sequence[Value]] = list(zip(*rows, strict=True))
            for place, key in self._gathered:
                missing = 0 if key.startswith("Number") else None
                values = gather(connection, key, columns[place])  # type: ignore[arg-type]
                columns[place] = [values.get(number, missing) for number in columns[place]]  # type: ignore[arg-type]
            return list(zip(*columns[1:], strict=True))
        return None


@lru_cache(maxsize=256)
def _telling(level: str, keys: tuple[str, ...], extra: tuple[str, ...]) -> _Telling:
    """Clients ask for the same keys again and again."""
    return _Telling(level, keys, extra)


@lru_cache(maxsize=4096)
def _expression(key: str, level: str, extra: tuple[str, ...]) -> str | None:
    """What tells `key` at `level` in SQL; None where nothing does."""
    depth = LEVELS.index(level)
    attribute = BY_KEYWORD.get(key)
    if attribute is not None and LEVELS.index(attribute.level) <= depth:
        return f"{ALIAS[attribute.level]}.{key}"
    if key in LEVEL_OF and LEVELS.index(LEVEL_OF[key]) <= depth:
        return "NULL"
    if key == LAST_RECEIVED and level != PATIENT:
        return LAST_RECEIVED_COLUMN
    if level == INSTANCE:
        if key == "Path":
            return "CASE d.path WHEN '' THEN i.name ELSE d.path || '/' || i.name END"
        if key in FILE_COLUMNS:
            return FILE_COLUMNS[key][0]
        if key in extra:
            return f"(SELECT x.value FROM extra x WHERE x.instance = i.id AND x.keyword = '{key}')"  # noqa: S608
    return None
