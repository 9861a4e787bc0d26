"""All that an object says of itself and of what it belongs to, for searches that ask for everything."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from functools import lru_cache
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Any

from dcmkit.archive.attributes import INSTANCE, LEVELS, PATIENT, SERIES, STUDY
from dcmkit.archive.located import Located, locate
from dcmkit.archive.query import Query, select_values
from dcmkit.dataset.json_header import PLACE, json_of_file

if TYPE_CHECKING:
    from dcmkit.archive.store import Archive

JsonOf = Callable[[Located, str], bytes]
"""The object of DICOM JSON of an instance, for the URL of the service; as `read_header`."""

_STUDY_UID, _SERIES_UID, _INSTANCE_UID = "0020000D", "0020000E", "00080018"
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


def wanted(level: str, everything: bool, tags: Collection[int] = ()) -> frozenset[str] | None:
    """The attributes that headers are read for: none at all, or None for all of an instance.

    What does not belong to a level or those above is not told of it (PS3.18 10.6.3.3.1, 10.6.3.3.2); a private element
    comes with its private creator.

    Args:
        everything: whether all that belongs there is wanted.
        tags: what is wanted otherwise.
    """
    if everything:
        return None if level == INSTANCE else _names(level)
    if level == PATIENT or not tags:
        return frozenset()
    creators = [tag & 0xFFFF0000 | (tag & 0xFF00) >> 8 for tag in tags if tag >> 16 & 1 and tag & 0xFF00]
    names = frozenset(f"{tag:08X}" for tag in (*tags, *creators))
    return names if level == INSTANCE else names & _names(level)


class WholeHeaders:
    """Finds the instances of an archive that tell them.

    Args:
        json_of: knows what an instance says.
    """

    def __init__(self, archive: Archive, json_of: JsonOf | None = None) -> None:
        self._archive, self._json_of = archive, json_of or read_header

    def read(self, row: dict[str, Any], level: str, base_url: str, wanted: frozenset[str] | None) -> dict[str, Any]:
        """What the first instance of a result says.

        Args:
            row: the result, an object of DICOM JSON with the UIDs of its level and those above.
            wanted: the tags wanted, as `wanted` has them.

        Raises:
            InputError, InvalidDataSetError: the file has gone, or cannot be read.
            OutputError: the index cannot be read.
        """
        uids = [_uid(row, name) for name in (_STUDY_UID, _SERIES_UID, _INSTANCE_UID)[: LEVELS.index(level)]]
        located = self._first(*uids)
        if located is None:
            return {}
        header: dict[str, Any] = json.loads(self._json_of(located, base_url))
        if wanted is None:
            return header
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


def read_header(one: Located, base_url: str) -> bytes:
    """An object's data set in DICOM JSON, bulk data by reference. Raises: InputError, InvalidDataSetError."""
    url = "/".join((base_url, "studies", one.study, "series", one.series, "instances", one.instance))
    json_text = json_of_file(one.path, one.offset, one.transfer_syntax_uid)
    return json_text.replace(PLACE, encode_basestring(url)[1:-1].encode("utf-8", "replace"))


def _uid(row: dict[str, Any], name: str) -> str:
    return str(row[name]["Value"][0])


@lru_cache(maxsize=8)
def _names(level: str) -> frozenset[str]:
    """The attributes of a level and those above."""
    from dcmkit.deid.rules import modules

    known = modules()
    levels = LEVELS[: LEVELS.index(level) + 1]
    return frozenset(f"{tag:08X}" for one in levels for name in _MODULES[one] for tag, _ in known[name])
