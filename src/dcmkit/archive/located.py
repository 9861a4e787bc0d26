"""Where the instances of a study, of a series, or one instance lie: what is sent by its UIDs, without any query."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from dcmkit.archive.store import Archive

_SELECT = (
    "SELECT i.id, d.path, i.name, s.StudyInstanceUID, e.SeriesInstanceUID, i.SOPInstanceUID, i.SOPClassUID,"
    " i.transfer_syntax_uid, i.data_set_offset, i.size, i.mtime_ns, i.received, i.NumberOfFrames, e.Modality"
)
_FROM_ABOVE = (
    f"{_SELECT} FROM study s CROSS JOIN series e ON e.study = s.id CROSS JOIN instance i ON i.series = e.id AND i.copy"
    " = 0 CROSS JOIN directory d ON d.id = i.directory WHERE s.StudyInstanceUID = ?%s"
    " ORDER BY e.SeriesNumber, e.id, i.InstanceNumber, i.id"
)
_FROM_BELOW = (
    f"{_SELECT} FROM instance i CROSS JOIN series e ON e.id = i.series CROSS JOIN study s ON s.id = e.study"
    " CROSS JOIN directory d ON d.id = i.directory WHERE i.SOPInstanceUID = ? AND i.copy = 0%s%s"
)
_NEWER = (
    f"{_SELECT} FROM instance i CROSS JOIN series e ON e.id = i.series CROSS JOIN study s ON s.id = e.study"
    " CROSS JOIN directory d ON d.id = i.directory WHERE i.id > ? AND i.copy = 0 ORDER BY i.id LIMIT ?"
)


class Located(NamedTuple):
    """A SOP Instance and its file.

    Attributes:
        number: its row in the index; may become another instance's when it is removed.
        path: absolute.
        offset: of the data set in the file: after preamble and file meta information.
        size, mtime_ns: of the file, as it was indexed.
        received: seconds since 1970.
        frames: Number of Frames; 1 where the object does not say.
    """

    number: int
    path: str
    study: str
    series: str
    instance: str
    sop_class_uid: str
    transfer_syntax_uid: str
    offset: int
    size: int
    mtime_ns: int
    received: int
    frames: int
    modality: str

    @property
    def version(self) -> str:
        """The same as long as the file is."""
        return f"{self.instance}:{self.size}:{self.mtime_ns}"


def locate(archive: Archive, study: str = "", series: str = "", instance: str = "") -> list[Located]:
    """The instances of a study, of a series of it, or one instance; by series and instance numbers.

    Args:
        study, series: "" where they do not matter, which is for an instance only.

    Raises:
        OutputError: the index cannot be read.
    """
    if instance:
        parameters: list[str] = [instance, *filter(None, (study, series))]
        sql = _FROM_BELOW % (
            " AND s.StudyInstanceUID = ?" if study else "",
            " AND e.SeriesInstanceUID = ?" if series else "",
        )
    else:
        parameters = [study, *filter(None, (series,))]
        sql = _FROM_ABOVE % (" AND e.SeriesInstanceUID = ?" if series else "")
    return _rows(archive, sql, parameters)


def newer(archive: Archive, number: int, limit: int) -> list[Located]:
    """At most `limit` instances whose rows come after row `number`. Raises: OutputError."""
    return _rows(archive, _NEWER, [number, limit])


def newest(archive: Archive) -> int:
    """The number of the last row; 0 where there is none. Raises: OutputError."""
    with archive.index.reading() as connection:
        found: int | None = connection.execute("SELECT MAX(id) FROM instance").fetchone()[0]
    return found or 0


def _rows(archive: Archive, sql: str, parameters: list[str] | list[int]) -> list[Located]:
    with archive.index.reading() as connection:
        rows = connection.execute(sql, parameters).fetchall()
    root = archive.root
    places: dict[str, str] = {}
    found: list[Located] = []
    for number, directory, name, *facts, frames, modality in rows:
        place = places.get(directory)
        if place is None:
            place = places[directory] = os.path.join(root, directory, "")
        found.append(Located._make((number, place + name, *facts, max(1, frames or 1), modality or "")))
    return found
