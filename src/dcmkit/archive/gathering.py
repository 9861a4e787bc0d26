"""Attributes that are no columns (PS3.4 C.3.4): counts of what is below, and values collected from there."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from dcmkit.archive.attributes import PATIENT, SERIES, STUDY

_SERIES_OF_PATIENT = "study s CROSS JOIN series e ON e.study = s.id"
_INSTANCES_OF_STUDY = "series e CROSS JOIN instance i ON i.series = e.id AND i.copy = 0"

_COUNTED = {
    "NumberOfPatientRelatedStudies": (PATIENT, "s.patient", "study s"),
    "NumberOfPatientRelatedSeries": (PATIENT, "s.patient", _SERIES_OF_PATIENT),
    "NumberOfPatientRelatedInstances": (PATIENT, "s.patient", "study s CROSS JOIN usage u ON u.study = s.id"),
    "NumberOfStudyRelatedSeries": (STUDY, "e.study", "series e"),
    "NumberOfStudyRelatedInstances": (STUDY, "u.study", "usage u"),
    "NumberOfSeriesRelatedInstances": (SERIES, "i.series", "instance i"),
}
_COLLECTED = {
    "ModalitiesInStudy": (STUDY, "e.study", "series e", "e.Modality"),
    "SOPClassesInStudy": (STUDY, "e.study", _INSTANCES_OF_STUDY, "i.SOPClassUID"),
}
LEVEL_OF = {key: what[0] for key, what in (*_COUNTED.items(), *_COLLECTED.items())}
"""The level whose attribute each of them is."""

_SIZES = (1, 4, 16, 64, 500)


def gather(connection: sqlite3.Connection, key: str, ids: Iterable[int]) -> dict[int, str | int]:
    """What is gathered for each of `ids` (500 at most): a count, or values joined by backslashes."""
    wanted = padded(sorted(set(ids)))
    marks = ", ".join("?" * len(wanted))
    if key in _COUNTED:
        _, column, tables = _COUNTED[key]
        more = " AND i.copy = 0" if tables == "instance i" else ""
        number = "SUM(u.instances)" if "usage u" in tables else "COUNT(*)"
        sql = f"SELECT {column}, {number} FROM {tables} WHERE {column} IN ({marks}){more} GROUP BY {column}"  # noqa: S608
        return dict(connection.execute(sql, wanted).fetchall())
    _, column, tables, value = _COLLECTED[key]
    sql = f"SELECT DISTINCT {column}, {value} FROM {tables} WHERE {column} IN ({marks}) AND {value} <> ''"  # noqa: S608
    found: dict[int, list[str]] = {}
    for number, text in connection.execute(sql, wanted):
        found.setdefault(number, []).append(text)
    return {number: "\\".join(sorted(values)) for number, values in found.items()}


def padded(ids: list[int]) -> list[int]:
    """`ids` made as long as one of a few sizes by repeating the last, so that statements repeat and stay compiled."""
    size = next((size for size in _SIZES if size >= len(ids)), len(ids))
    return ids + ids[-1:] * (size - len(ids))
