"""What a query asks for where the person does not say: the level, and the keys to be answered."""

from __future__ import annotations

from dcmkit.cli.keys import override
from dcmkit.dataset.elements import DataSet, Element, text
from dcmkit.errors import UsageError
from dcmkit.services.find_scu import WORKLIST_FIND
from dcmkit.services.models import (
    BY_FIND,
    IMAGE,
    PATIENT,
    QUERY_RETRIEVE_LEVEL,
    SERIES,
    STUDY,
    UNIQUE_KEYS,
    Model,
)

LEVELS = {"patient": PATIENT, "study": STUDY, "series": SERIES, "image": IMAGE}
"""What `--level` takes."""

_KEYS = {
    PATIENT: ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "NumberOfPatientRelatedStudies"),
    STUDY: (
        "StudyDate", "StudyTime", "AccessionNumber", "ModalitiesInStudy", "PatientName", "PatientID",
        "PatientBirthDate", "StudyDescription", "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances",
        "StudyInstanceUID",
    ),
    SERIES: (
        "Modality", "SeriesNumber", "SeriesDescription", "NumberOfSeriesRelatedInstances", "StudyInstanceUID",
        "SeriesInstanceUID",
    ),
    IMAGE: ("InstanceNumber", "SOPClassUID", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"),
}  # fmt: skip
_SPECIFIC_CHARACTER_SET = 0x00080005
_STEP = "ScheduledProcedureStepSequence[0]."
_WORKLIST_KEYS = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber", "RequestedProcedureID",
    "RequestedProcedureDescription", "ReferringPhysicianName", _STEP + "ScheduledProcedureStepStartDate",
    _STEP + "ScheduledProcedureStepStartTime", _STEP + "Modality", _STEP + "ScheduledStationAETitle",
    _STEP + "ScheduledProcedureStepDescription", _STEP + "ScheduledPerformingPhysicianName",
    _STEP + "ScheduledProcedureStepID", "StudyInstanceUID",
)  # fmt: skip
"""PS3.4 table K.6-1."""


def completed(identifier: DataSet, sop_class_uid: str, level: str = "") -> DataSet:
    """The identifier with its level, and with the usual keys to be answered where it only has keys to match by.

    Args:
        identifier: the keys of the person.
        sop_class_uid: the information model.
        level: the level that was asked for, "" where it was not.

    Raises:
        UsageError: the information model has no such level; no keys, for a model that has no usual ones.
    """
    model = BY_FIND.get(sop_class_uid)
    if model is not None:
        level = level or text(identifier, QUERY_RETRIEVE_LEVEL) or _level(identifier, model)
        identifier = {QUERY_RETRIEVE_LEVEL: Element("CS", level), **identifier}
        identifier[QUERY_RETRIEVE_LEVEL] = Element("CS", level)
        usual = _KEYS.get(level, ())
    elif level:
        raise UsageError("--level is for queries of patients, studies, series and images", hint="use it with -S or -P")
    else:
        usual = _WORKLIST_KEYS if sop_class_uid == WORKLIST_FIND else ()
    if not _asks(identifier):
        identifier = _merged(identifier, usual)
    if not identifier:
        raise UsageError("no keys to ask for", hint="name them with -k, or in a query file")
    return identifier


def _level(identifier: DataSet, model: Model) -> str:
    """Study; but of all patients' studies nobody may ask in the patient root model (PS3.4 C.4.1.2.1)."""
    if model.levels[0] == PATIENT and not text(identifier, UNIQUE_KEYS[PATIENT]):
        return PATIENT
    return STUDY


def _asks(data_set: DataSet) -> bool:
    """Whether some key has no value: it is there to be answered."""
    return any(
        not value or (isinstance(value, list) and any(map(_asks, value)))
        for tag, (_, value) in data_set.items()
        if tag not in (_SPECIFIC_CHARACTER_SET, QUERY_RETRIEVE_LEVEL)
    )


def _merged(identifier: DataSet, keywords: tuple[str, ...]) -> DataSet:
    """The usual keys in their order, with the values given; then the others."""
    usual: DataSet = {}
    override(usual, keywords)
    merged = _over(usual, identifier)
    level = merged.pop(QUERY_RETRIEVE_LEVEL, None)
    return merged if level is None else {QUERY_RETRIEVE_LEVEL: level, **merged}


def _over(usual: DataSet, given: DataSet) -> DataSet:
    merged = dict(usual)
    for tag, found in given.items():
        below = merged.get(tag)
        if isinstance(found.value, list) and below is not None and isinstance(below.value, list) and below.value:
            merged[tag] = Element("SQ", [_over(below.value[0], item) for item in found.value] or below.value)
        else:
            merged[tag] = found
    return merged
