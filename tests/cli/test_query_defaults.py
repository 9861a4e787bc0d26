"""What is asked for where the person does not say."""

from __future__ import annotations

import pytest

from dcmkit.cli.keys import parse_keys
from dcmkit.cli.query_defaults import completed
from dcmkit.dataset.dictionary import keyword_of
from dcmkit.dataset.elements import Element, text
from dcmkit.errors import UsageError
from dcmkit.services.find_scu import PATIENT_ROOT_FIND, PATIENT_STUDY_ONLY_FIND, STUDY_ROOT_FIND, WORKLIST_FIND
from dcmkit.services.models import QUERY_RETRIEVE_LEVEL, UNIQUE_KEYS

STEPS = 0x00400100


@pytest.mark.parametrize(
    ("model", "keys", "asked", "level"),
    [
        (STUDY_ROOT_FIND, [], "", "STUDY"),
        (STUDY_ROOT_FIND, [], "SERIES", "SERIES"),
        (STUDY_ROOT_FIND, ["0008,0052=IMAGE"], "", "IMAGE"),
        (STUDY_ROOT_FIND, ["0008,0052=IMAGE"], "SERIES", "SERIES"),
        (STUDY_ROOT_FIND, ["0008,0052"], "", "STUDY"),
        (PATIENT_ROOT_FIND, [], "", "PATIENT"),
        (PATIENT_ROOT_FIND, ["PatientName=Doe*"], "", "PATIENT"),
        (PATIENT_ROOT_FIND, ["PatientID=1"], "", "STUDY"),
        (PATIENT_STUDY_ONLY_FIND, ["PatientID=1"], "", "STUDY"),
    ],
)
def test_the_level(model, keys, asked, level):
    identifier = completed(parse_keys(keys), model, asked)
    assert text(identifier, QUERY_RETRIEVE_LEVEL) == level
    assert next(iter(identifier)) == QUERY_RETRIEVE_LEVEL
    assert UNIQUE_KEYS[level] in identifier or "0008,0052" not in keys


def test_keys_to_match_by_get_the_usual_ones_to_be_answered():
    identifier = completed(parse_keys(["PatientName=Doe*", "BodyPartExamined=HEAD"]), STUDY_ROOT_FIND)
    names = [keyword_of(tag) for tag in identifier]
    assert {"StudyInstanceUID", "StudyDate", "ModalitiesInStudy"} <= set(names)
    assert names[-1] == "BodyPartExamined"
    assert text(identifier, 0x00100010) == "Doe*"


def test_keys_to_be_answered_stay_what_they_are():
    keys = parse_keys(["PatientName=Doe*", "StudyInstanceUID"])
    assert completed(keys, STUDY_ROOT_FIND) == {QUERY_RETRIEVE_LEVEL: Element("CS", "STUDY"), **keys}


def test_the_usual_keys_of_a_worklist_go_into_the_step():
    identifier = completed(parse_keys(["ScheduledProcedureStepSequence[0].Modality=CT", "PatientID=1"]), WORKLIST_FIND)
    (step,) = identifier[STEPS].value
    assert text(step, 0x00080060) == "CT"
    assert 0x00400002 in step
    assert text(identifier, 0x00100020) == "1"
    assert QUERY_RETRIEVE_LEVEL not in identifier
    keys = parse_keys(["ScheduledProcedureStepSequence[0].Modality"])
    assert completed(keys, WORKLIST_FIND) == keys


def test_what_cannot_be_asked():
    with pytest.raises(UsageError, match="--level"):
        completed({}, WORKLIST_FIND, "STUDY")
    with pytest.raises(UsageError, match="no keys"):
        completed({}, "1.2.840.10008.5.1.4.38.2")
    assert completed(parse_keys(["0072,0002=x"]), "1.2.840.10008.5.1.4.38.2")
