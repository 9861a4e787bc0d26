"""All that an object says of itself and of what it belongs to, for searches that ask for everything."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from dcmkit.archive.attributes import INSTANCE, LEVELS, PATIENT, SERIES, STUDY
from dcmkit.archive.located import Located, locate
from dcmkit.archive.query import Query, select_values

if TYPE_CHECKING:
    from dcmkit.archive.store import Archive

_STUDY_UID, _SERIES_UID, _INSTANCE_UID = "0020000D", "0020000E", "00080018"
_LONGEST = 1024
"""Bytes of a value that is told; longer ones can be retrieved as bulk data."""
_MODULES = {
    PATIENT: (
        "patient",
        "clinical-trial-subject",
        "patient-identification",
        "patient-demographic",
        "patient-medical",
    ),
    STUDY: ("general-study", "patient-study", "clinical-trial-study"),
    SERIES: ("general-series", "clinical-trial-series", "general-equipment", "frame-of-reference"),
}
"""The modules that describe a level: of composite objects (PS3.3 A.1.3), and of patients (PS3.3 C.2)."""


class WholeHeaders:
    """Reads them from the files of an archive."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive

    def read(self, row: dict[str, Any], level: str) -> dict[str, Any]:
        """What the first instance of a result says of the level and those above; of an instance, all of it.

        Args:
            row: the result, an object of DICOM JSON with the UIDs of its level and those above.

        Raises:
            InputError, InvalidDataSetError: the file has gone, or cannot be read.
            OutputError: the index cannot be read.
        """
        uids = [_uid(row, name) for name in (_STUDY_UID, _SERIES_UID, _INSTANCE_UID)[: LEVELS.index(level)]]
        located = self._first(*uids)
        if located is None:
            return {}
        header = read_header(located)
        if level == INSTANCE:
            return header
        wanted = _names(level)
        return {name: value for name, value in header.items() if name in wanted}

    def _first(self, study: str, series: str = "", instance: str = "") -> Located | None:
        if not instance:
            match = {"StudyInstanceUID": study, "SeriesInstanceUID": series}
            query = Query(INSTANCE, match, ("SOPInstanceUID",), limit=1)
            found = next(select_values(self._archive.index, query), None)
            if found is None:
                return None
            instance = str(found[0])
        return next(iter(locate(self._archive, study, series, instance)), None)


def read_header(located: Located) -> dict[str, Any]:
    """An object's data set in DICOM JSON, without bulk data. Raises: InputError, InvalidDataSetError."""
    from dcmkit.dataset.bulk_data import without_bulk_data
    from dcmkit.dataset.elements import decode
    from dcmkit.dataset.json_model import to_json
    from dcmkit.dataset.part10 import FileHeader

    file = FileHeader(located.sop_class_uid, located.instance, located.transfer_syntax_uid, located.offset,
                      located.size - located.offset)  # fmt: skip
    data_set = decode(*without_bulk_data(located.path, file))
    long = [
        tag for tag, element in data_set.items() if isinstance(element.value, bytes) and len(element.value) > _LONGEST
    ]
    for tag in long:
        del data_set[tag]
    return to_json(data_set)


def _uid(row: dict[str, Any], name: str) -> str:
    return str(row[name]["Value"][0])


@lru_cache(maxsize=8)
def _names(level: str) -> frozenset[str]:
    """The attributes of a level and those above."""
    from dcmkit.deid.rules import modules

    known = modules()
    levels = LEVELS[: LEVELS.index(level) + 1]
    return frozenset(f"{tag:08X}" for one in levels for name in _MODULES[one] for tag, _ in known[name])
