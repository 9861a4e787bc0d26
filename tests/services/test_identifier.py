"""Identifiers of requests as queries, without an archive."""

from __future__ import annotations

import pytest

from dcmkit.dataset.dictionary import parse_tag
from dcmkit.dataset.elements import DataSet, element
from dcmkit.dataset.identifier import Field
from dcmkit.errors import DataSetMismatchError
from dcmkit.services.identifier import FILE_KEYS, read_query, read_retrieve
from dcmkit.services.models import (
    COMPOSITE_INSTANCE_ROOT,
    PATIENT_ROOT,
    PATIENT_STUDY_ONLY,
    STUDY_ROOT,
    FindExtended,
    RetrieveExtended,
)


def identifier(level="STUDY", **keys) -> DataSet:
    found: DataSet = {}
    if level is not None:
        keys["QueryRetrieveLevel"] = level
    for keyword, value in keys.items():
        tag = parse_tag(keyword)
        assert tag is not None
        found[tag] = element(tag, value)
    return found


def ask(found, model=STUDY_ROOT, extended=FindExtended(), **how):  # noqa: B008
    return read_query(found, model, extended, retrieve_ae_title="QR", **how)


def test_keys_match_and_are_told():
    asked = ask(identifier(PatientName="DOE*", StudyDate="20240101-", StudyDescription="", AccessionNumber="*"))
    query = asked.query
    assert query.level == "study"
    assert query.match == {"PatientName": "DOE*", "StudyDate": "20240101-"}
    assert set(query.keys) == {"PatientName", "StudyDate", "StudyDescription", "AccessionNumber", "StudyInstanceUID"}
    assert asked.complete
    tags = [field.tag for field in asked.fields]
    assert tags == sorted(tags)
    assert {"0008,0052", "0008,0054"} <= {f"{tag >> 16:04x},{tag & 0xFFFF:04x}" for tag in tags}


def test_answers_name_level_source_and_availability():
    asked = ask(identifier(InstanceAvailability="", StorageMediaFileSetID="", RetrieveAETitle="ELSEWHERE"))
    fixed = {field.tag: field.value for field in asked.fields if field.column < 0}
    assert fixed == {0x00080052: "STUDY", 0x00080054: "QR", 0x00080056: "ONLINE", 0x00880130: ""}
    assert asked.complete


@pytest.mark.parametrize(
    "keys",
    [
        {"RequestedProcedureDescription": ""},  # not in the index
        {"Modality": ""},  # of a level below
        {"NumberOfStudyRelatedInstances": "5"},  # told, not matched
        {"00091001": b"private"},
        {"ReferencedStudySequence": []},
    ],
)
def test_keys_that_are_not_supported_make_the_warning(keys):
    asked = ask(identifier(**keys))
    assert not asked.complete
    assert parse_tag(next(iter(keys))) in [field.tag for field in asked.fields]


def test_group_lengths_and_file_meta_are_no_keys():
    found = identifier(PatientID="1")
    found |= {0x00100000: element(0x00100000, "12"), 0x00020010: element(0x00020010, "1.2")}
    asked = ask(found)
    assert [field.tag for field in asked.fields] == [0x00080052, 0x00080054, 0x00100020, 0x0020000D]
    assert asked.complete


def test_private_creators_are_told_as_they_came():
    asked = ask(identifier(**{"00090010": "ACME", "00091001": b""}))
    assert {field.tag: field.value for field in asked.fields if field.tag >> 16 & 1} == {
        0x00090010: "ACME",
        0x00091001: "",
    }


def test_sequences_match_inside_of_items():
    inner = identifier(None, ScheduledProcedureStepID="S*", RequestedProcedureID="", RequestedProcedureDescription="x")
    asked = ask(identifier("SERIES", RequestAttributesSequence=[inner]))
    query = asked.query
    assert query.match == {"RequestAttributesSequence_ScheduledProcedureStepID": "S*"}
    (sequence,) = [field for field in asked.fields if field.items]
    assert isinstance(sequence, Field)
    assert [field.tag for field in sequence.items] == [0x00321060, 0x00400009, 0x00401001]
    assert asked.sequences == (((sequence.items[1].column, sequence.items[2].column), ("S*", "")),)
    assert not asked.complete


@pytest.mark.parametrize("items", [[], [{}]])
def test_a_sequence_without_keys_asks_for_all_that_is_known(items):
    asked = ask(identifier(ProcedureCodeSequence=items))
    (sequence,) = [field for field in asked.fields if field.items]
    assert [field.tag for field in sequence.items] == [0x00080100, 0x00080102, 0x00080104]
    assert asked.sequences == ()
    assert asked.complete


@pytest.mark.parametrize(
    ("level", "model"),
    [(None, STUDY_ROOT), ("", STUDY_ROOT), ("PATIENT", STUDY_ROOT), ("SERIES", PATIENT_STUDY_ONLY), ("x", STUDY_ROOT)],
)
def test_the_level_must_be_one_of_the_model(level, model):
    with pytest.raises(DataSetMismatchError) as caught:
        ask(identifier(level), model)
    assert caught.value.offending_element == 0x00080052
    assert caught.value.dimse_status == 0xA900


@pytest.mark.parametrize(
    ("model", "found", "offending"),
    [
        (PATIENT_ROOT, identifier("STUDY"), 0x00100020),
        (PATIENT_ROOT, identifier("STUDY", PatientID="4*"), 0x00100020),
        (STUDY_ROOT, identifier("SERIES", StudyInstanceUID="1.2\\1.3"), 0x0020000D),
        (STUDY_ROOT, identifier("STUDY", Modality="CT"), 0x00080060),
        (PATIENT_ROOT, identifier("STUDY", PatientID="4711", PatientName=""), 0x00100010),
    ],
)
def test_strict_queries_are_hierarchical_unless_negotiated(model, found, offending):
    with pytest.raises(DataSetMismatchError) as caught:
        ask(found, model, strict=True)
    assert caught.value.offending_element == offending
    assert ask(found, model, FindExtended(relational=True), strict=True).query
    assert ask(found, model).query


def test_patient_keys_are_study_keys_in_the_study_root():
    assert ask(identifier("STUDY", PatientName="A", PatientID="1"), strict=True).query
    assert ask(identifier("STUDY", PatientID="1", StudyDate=""), PATIENT_ROOT, strict=True).query


def test_what_was_negotiated_goes_into_the_query():
    query = ask(identifier(PatientName="A"), extended=FindExtended(fuzzy=True, combined=True), limit=6).query
    assert (query.fuzzy, query.combined, query.limit) == (True, True, 6)


def test_times_in_a_zone_need_columns_nobody_asked_for():
    found = identifier("IMAGE", ContentTime="10-12", AcquisitionDateTime="", TimezoneOffsetFromUTC="+0100")
    asked = ask(found, extended=FindExtended(timezone=True), timezone="Europe/Berlin")
    assert asked.query.zones == ("+0100", "Europe/Berlin")
    assert asked.query.match == {"ContentTime": "10-12"}
    assert asked.adjustment is not None
    keys = asked.query.keys
    (pair,) = asked.adjustment.pairs
    assert [keys[place] for place in (asked.adjustment.zone, *pair, *asked.adjustment.date_times)] == [
        "TimezoneOffsetFromUTC", "ContentDate", "ContentTime", "AcquisitionDateTime",
    ]  # fmt: skip
    assert {field.tag: field.value for field in asked.fields}[0x00080201] == "+0100"
    assert 0x00080023 not in {field.tag for field in asked.fields}
    assert ask(found).adjustment is None
    assert ask(found).query.zones is None


def test_an_endless_character_set_is_none():
    assert ask(identifier(SpecificCharacterSet="ISO_IR 100")).charset == "ISO_IR 100"
    assert ask(identifier(SpecificCharacterSet="\\ISO 2022 IR 87" * 100)).charset == ""


# --- retrieve ---


def test_a_retrieve_is_a_query_for_instances():
    level, query = read_retrieve(identifier("SERIES", StudyInstanceUID="1.2", SeriesInstanceUID="1\\2"), STUDY_ROOT)
    assert level == "SERIES"
    assert query.level == "instance"
    assert query.match == {"StudyInstanceUID": ["1.2"], "SeriesInstanceUID": ["1", "2"]}
    assert query.keys == FILE_KEYS


def test_composite_instances_need_their_uid_only():
    _, query = read_retrieve(identifier("IMAGE", SOPInstanceUID="1.2\\1.3"), COMPOSITE_INSTANCE_ROOT)
    assert query.match == {"SOPInstanceUID": ["1.2", "1.3"]}


@pytest.mark.parametrize(
    ("found", "offending"),
    [
        (identifier("STUDY"), 0x0020000D),
        (identifier("STUDY", StudyInstanceUID=""), 0x0020000D),
        (identifier("STUDY", StudyInstanceUID="*"), 0x0020000D),
        (identifier("STUDY", StudyInstanceUID="1.2", PatientID="?"), 0x00100020),
        (identifier("PATIENT", PatientID="*"), 0x00100020),
        (identifier("PATIENT", PatientID='""'), 0x00100020),
        (identifier("PATIENT", PatientID="1\\2"), 0x00100020),
        (identifier("FRAME", SOPInstanceUID="1.2"), 0x00080052),
    ],
)
def test_a_retrieve_never_gives_more_than_was_asked_for(found, offending):
    with pytest.raises(DataSetMismatchError) as caught:
        read_retrieve(found, PATIENT_ROOT)
    assert caught.value.offending_element == offending


def test_strict_retrieves_need_the_keys_above():
    found = identifier("SERIES", SeriesInstanceUID="1.2")
    assert read_retrieve(found, STUDY_ROOT)
    assert read_retrieve(found, STUDY_ROOT, RetrieveExtended(relational=True), strict=True)
    with pytest.raises(DataSetMismatchError):
        read_retrieve(found, STUDY_ROOT, strict=True)
    with pytest.raises(DataSetMismatchError):
        read_retrieve(identifier("STUDY", StudyInstanceUID="1", StudyDate="2024"), STUDY_ROOT, strict=True)


def test_long_lists_of_retrieves():
    uids = "\\".join(f"1.2.{number}" for number in range(100000))
    _, query = read_retrieve(identifier("IMAGE", SOPInstanceUID=uids), STUDY_ROOT)
    assert len(query.match["SOPInstanceUID"]) == 100000
