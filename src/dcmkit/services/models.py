"""The query/retrieve information models (PS3.4 C.6, Y, Z): their SOP classes, levels, unique keys and negotiation."""

from __future__ import annotations

from typing import NamedTuple

PATIENT, STUDY, SERIES, IMAGE = "PATIENT", "STUDY", "SERIES", "IMAGE"
"""Values of Query/Retrieve Level (0008,0052) (PS3.4 C.6.1.1.1)."""

QUERY_RETRIEVE_LEVEL = 0x00080052

UNIQUE_KEYS = {PATIENT: 0x00100020, STUDY: 0x0020000D, SERIES: 0x0020000E, IMAGE: 0x00080018}
"""Patient ID, and the UIDs of study, series and SOP instance (PS3.4 C.6.1.1)."""

ARCHIVE_LEVELS = {PATIENT: "patient", STUDY: "study", SERIES: "series", IMAGE: "instance"}
"""What `archive.query` calls the levels."""

_STEM = "1.2.840.10008.5.1.4.1.2."


class Model(NamedTuple):
    """One information model.

    Attributes:
        name: as people say it.
        find, move, get: its SOP class UIDs; "" where it has none.
        levels: from the top.
        bulk_data: whether what is retrieved comes with its bulk data (PS3.4 Z).
    """

    name: str
    find: str
    move: str
    get: str
    levels: tuple[str, ...]
    bulk_data: bool = True

    def above(self, level: str) -> tuple[str, ...]:
        """The levels above `level`."""
        return self.levels[: self.levels.index(level)]


def _model(name: str, number: int, levels: tuple[str, ...]) -> Model:
    return Model(name, f"{_STEM}{number}.1", f"{_STEM}{number}.2", f"{_STEM}{number}.3", levels)


PATIENT_ROOT = _model("Patient Root", 1, (PATIENT, STUDY, SERIES, IMAGE))
STUDY_ROOT = _model("Study Root", 2, (STUDY, SERIES, IMAGE))
PATIENT_STUDY_ONLY = _model("Patient/Study Only", 3, (PATIENT, STUDY))  # retired, and still asked for
COMPOSITE_INSTANCE_ROOT = Model("Composite Instance Root", "", _STEM + "4.2", _STEM + "4.3", (IMAGE,))
WITHOUT_BULK_DATA = Model("Composite Instance Without Bulk Data", "", "", _STEM + "5.3", (IMAGE,), bulk_data=False)

MODELS = (PATIENT_ROOT, STUDY_ROOT, PATIENT_STUDY_ONLY, COMPOSITE_INSTANCE_ROOT, WITHOUT_BULK_DATA)

BY_FIND = {model.find: model for model in MODELS if model.find}
BY_MOVE = {model.move: model for model in MODELS if model.move}
BY_GET = {model.get: model for model in MODELS if model.get}


# --- SOP class extended negotiation ------------------------------------------------------------------------------


class FindExtended(NamedTuple):
    """What a C-FIND may do beyond the baseline, a byte for each (PS3.4 C.5.1.1.1)."""

    relational: bool = False
    """Keys of any level, without the unique keys of those above."""
    combined: bool = False
    """Date and time ranges of a pair are matched as one."""
    fuzzy: bool = False
    """Person names by sound or by parts."""
    timezone: bool = False
    """Times are adjusted to the request's Timezone Offset From UTC."""
    enhanced: bool = False
    """Views of enhanced multi-frame images as classic ones, or the other way round."""


class RetrieveExtended(NamedTuple):
    """What a C-MOVE or C-GET may do beyond the baseline, a byte for each (PS3.4 C.5.2.1.1, C.5.3.1)."""

    relational: bool = False
    enhanced: bool = False


def encode_extended(extended: FindExtended | RetrieveExtended, length: int = 0) -> bytes:
    """The application information of the sub-item.

    Args:
        length: bytes to give; 0 for as many as are defined.
    """
    return bytes(extended)[: length or None]


def decode_find_extended(information: bytes) -> FindExtended:
    """What a sub-item asks for; bytes that are missing are zero, more than are defined mean nothing."""
    return FindExtended(*[byte == 1 for byte in information[: len(FindExtended._fields)]])


def decode_retrieve_extended(information: bytes) -> RetrieveExtended:
    """What a sub-item asks for; bytes that are missing are zero, more than are defined mean nothing."""
    return RetrieveExtended(*[byte == 1 for byte in information[: len(RetrieveExtended._fields)]])
