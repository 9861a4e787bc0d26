"""Queries at four levels."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dcmkit.archive import query as query_module
from dcmkit.archive.query import DEFAULT_KEYS, Query, count, count_unless, is_key, is_known, select, select_values
from dcmkit.archive.store import Archive
from dcmkit.errors import UsageError
from tests.archive.objects import MR, archive_in, put
from tests.dataset.encoding import Items

STUDIES: list[dict[str, Any]] = [
    {"patient": "1", "name": "Müller^Jörg", "study": "1.1", "series": "1.1.1", "date": "20240101"},
    {"patient": "1", "name": "Müller^Jörg", "study": "1.1", "series": "1.1.2", "modality": "SR", "date": "20240101"},
    {
        "patient": "1",
        "name": "Müller^Jörg",
        "study": "1.2",
        "series": "1.2.1",
        "date": "20240201",
        "modality": "MR",
        "sop_class": MR,
    },
    {"patient": "2", "name": "Doe^Jane", "study": "1.3", "series": "1.3.1", "date": "20240301"},
]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    directory = tmp_path_factory.mktemp("archive")
    with archive_in(directory, index_keywords=("KVP",)) as made:
        for number, study in enumerate(STUDIES):
            for instance in range(3):
                more = [(0x00180060, "DS", b"120" if number else b"80")]
                put(made, f"1.9.{number}.{instance}", instance=3 - instance, more=more, **study)
        codes = Items([[(0x00080100, "SH", b"T1"), (0x00080104, "LO", b"Skull")], [(0x00080100, "SH", b"T2")]])
        put(
            made,
            "1.9.8",
            patient="3",
            name="Roe^Ri_chard",
            study="1.4",
            series="1.4.1",
            date="",
            more=[(0x00081032, "SQ", codes)],
        )
        put(made, "1.9.8", patient="3", name="Roe^Ri_chard", study="1.4", series="1.4.1", date="", pixels=b"copy")
        made.flush()
        yield made


def values(archive: Archive, key: str, level: str = "study", **match: str) -> list[Any]:
    return [row[key] for row in select(archive.index, Query(level, match, (key,)), archive.keywords)]


@pytest.mark.parametrize(("level", "number"), [("patient", 3), ("study", 4), ("series", 5), ("instance", 13)])
def test_everything_at_each_level(archive: Archive, level: str, number: int):
    found = list(select(archive.index, Query(level)))
    assert len(found) == number == count(archive.index, Query(level))
    assert tuple(found[0]) == DEFAULT_KEYS[level]


def test_keys_of_the_level_and_above_are_told(archive: Archive):
    query = Query("series", {"SeriesInstanceUID": "1.1.2"}, ("Modality", "StudyDate", "PatientName", "SeriesNumber"))
    assert list(select(archive.index, query)) == [
        {"Modality": "SR", "StudyDate": "20240101", "PatientName": "Müller^Jörg", "SeriesNumber": 7}
    ]


def test_matching_above_at_and_below_the_level(archive: Archive):
    assert values(archive, "StudyInstanceUID", PatientName="muller*") == ["1.1", "1.2"]
    assert values(archive, "StudyInstanceUID", PatientName="muller*", StudyDate="20240115-") == ["1.2"]
    assert values(archive, "StudyInstanceUID", Modality="SR") == ["1.1"]
    assert values(archive, "StudyInstanceUID", ModalitiesInStudy="CT") == ["1.4", "1.1", "1.3"]
    assert values(archive, "PatientID", "patient", SOPInstanceUID="1.9.2.1") == ["1"]
    assert values(archive, "PatientID", "patient", StudyInstanceUID="1.3\\1.4", InstanceNumber="1") == ["2", "3"]
    assert values(archive, "StudyInstanceUID", SOPClassUID=MR, Modality="CT") == []


def test_keys_below_describe_one_thing(archive: Archive):
    assert values(archive, "StudyInstanceUID", Modality="SR", SeriesInstanceUID="1.1.2") == ["1.1"]
    assert values(archive, "StudyInstanceUID", Modality="SR", SeriesInstanceUID="1.1.1") == []


def test_computed_attributes(archive: Archive):
    query = Query(
        "study",
        {"StudyInstanceUID": "1.1"},
        ("ModalitiesInStudy", "SOPClassesInStudy", "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances"),
    )
    assert list(select(archive.index, query)) == [
        {
            "ModalitiesInStudy": "CT\\SR",
            "SOPClassesInStudy": "1.2.840.10008.5.1.4.1.1.2",
            "NumberOfStudyRelatedSeries": 2,
            "NumberOfStudyRelatedInstances": 6,
        }
    ]
    keys = ("NumberOfPatientRelatedStudies", "NumberOfPatientRelatedSeries", "NumberOfPatientRelatedInstances")
    (row,) = select(archive.index, Query("patient", {"PatientID": "1"}, keys))
    assert tuple(row.values()) == (2, 3, 9)
    assert values(archive, "NumberOfSeriesRelatedInstances", "series", SeriesInstanceUID="1.4.1") == [1]


def test_computed_attributes_of_levels_above(archive: Archive):
    keys = ("ModalitiesInStudy", "NumberOfPatientRelatedStudies", "NumberOfSeriesRelatedInstances")
    query = Query("instance", {"SOPInstanceUID": "1.9.1.0"}, keys)
    assert [tuple(row.values()) for row in select(archive.index, query)] == [("CT\\SR", 2, 3)]


def test_copies_are_told_when_asked_for(archive: Archive):
    match = {"SOPInstanceUID": "1.9.8"}
    assert len(list(select(archive.index, Query("instance", match)))) == 1
    found = list(select(archive.index, Query("instance", match, ("Path", "Copy"), copies=True)))
    assert [row["Copy"] for row in found] == [0, 1]
    assert found[0]["Path"] == "1.4/1.4.1/1.9.8.dcm"


def test_facts_about_files(archive: Archive):
    keys = (
        "TransferSyntaxUID",
        "SourceApplicationEntityTitle",
        "FileSize",
        "Received",
        "Digest",
        "Directory",
        "FileName",
    )
    (row,) = select(archive.index, Query("instance", {"SOPInstanceUID": "1.9.0.0"}, keys))
    assert row["SourceApplicationEntityTitle"] == "SENDER"
    assert row["Directory"] == "1.1/1.1.1"
    assert abs(int(row["Received"] or 0) - time.time()) < 3600
    assert row["Digest"] is None
    assert values(archive, "StudyInstanceUID", SourceApplicationEntityTitle="NOBODY") == []
    assert len(values(archive, "StudyInstanceUID", TransferSyntaxUID="1.2.840.10008.1.2.1")) == 4


def test_configured_keywords(archive: Archive):
    assert values(archive, "KVP", "instance", SOPInstanceUID="1.9.0.0") == ["80"]
    assert values(archive, "StudyInstanceUID", KVP="80") == ["1.1"]
    assert len(values(archive, "StudyInstanceUID", KVP="*")) == 4
    assert is_key("KVP", archive.keywords)
    assert not is_key("KVP")


def test_values_in_sequences(archive: Archive):
    key = "ProcedureCodeSequence_CodeValue"
    assert values(archive, key, ProcedureCodeSequence_CodeValue="T2") == ["T1\\T2"]


def test_order_limit_and_offset(archive: Archive):
    assert values(archive, "InstanceNumber", "instance", SeriesInstanceUID="1.1.1") == [1, 2, 3]
    assert [row["StudyDate"] for row in select(archive.index, Query("study", keys=("StudyDate",)))] == [
        None,
        "20240101",
        "20240201",
        "20240301",
    ]
    assert [
        row["StudyDate"] for row in select(archive.index, Query("study", keys=("StudyDate",), limit=2, offset=1))
    ] == ["20240101", "20240201"]
    assert len(list(select(archive.index, Query("study", offset=3)))) == 1


def test_wild_card_characters_of_sql_are_text(archive: Archive):
    assert values(archive, "PatientID", "patient", PatientName="*_*") == ["3"]
    assert values(archive, "PatientID", "patient", PatientName="*%*") == []


@pytest.mark.parametrize("keyword", ["NoSuchKey", "KVP", "Path", "id", "patient; DROP TABLE patient", "Directory"])
def test_what_is_no_key(archive: Archive, keyword: str):
    with pytest.raises(UsageError, match="index key"):
        list(select(archive.index, Query("study", {keyword: "x"})))


@pytest.mark.parametrize(
    ("level", "key"),
    [
        ("study", "Modality"),
        ("patient", "StudyDate"),
        ("patient", "ModalitiesInStudy"),
        ("study", "Path"),
        ("instance", "x'--"),
    ],
)
def test_what_cannot_be_told_at_a_level(archive: Archive, level: str, key: str):
    with pytest.raises(UsageError, match="cannot be told"):
        list(select(archive.index, Query(level, keys=(key,))))


def test_rows_come_while_others_write(tmp_path: Path):
    with archive_in(tmp_path) as archive:
        for number in range(5):
            put(archive, f"1.2.{number}")
        archive.flush()
        rows = select(archive.index, Query("instance"))
        next(rows)
        put(archive, "1.2.9")
        archive.flush()
        assert len(list(rows)) == 4
        assert count(archive.index, Query("instance")) == 6


# --- values, stopping, what is known ---


def test_values_come_in_the_order_of_the_keys(archive: Archive):
    query = Query("study", {"StudyInstanceUID": ["1.1", "1.3"]}, ("PatientID", "ModalitiesInStudy", "StudyInstanceUID"))
    assert list(select_values(archive.index, query)) == [("1", "CT\\SR", "1.1"), ("2", "CT", "1.3")]


def test_rows_end_when_stopped(archive: Archive):
    asked: list[bool] = []

    def stop() -> bool:
        asked.append(True)
        return True

    assert list(select_values(archive.index, Query("instance"), stop=stop)) == []
    assert asked
    assert len(list(select_values(archive.index, Query("instance"), stop=lambda: False))) == 13


def test_a_long_search_is_stopped_in_the_middle(archive: Archive, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(query_module, "_INSTRUCTIONS", 10)
    assert list(select_values(archive.index, Query("instance"), stop=lambda: True)) == []
    assert len(list(select(archive.index, Query("instance")))) == 13


def test_stopped_between_batches(archive: Archive, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(query_module, "_FIRST_BATCH", 2)
    told: list[tuple[Any, ...]] = []
    for row in select_values(archive.index, Query("instance"), stop=lambda: len(told) >= 2):
        told.append(row)
    assert len(told) == 2


def test_what_is_removed_meanwhile_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(query_module, "_FIRST_BATCH", 1)
    with archive_in(tmp_path) as archive:
        for number in range(3):
            put(archive, f"1.2.{number}")
        archive.flush()
        found = select(archive.index, Query("instance", keys=("SOPInstanceUID",)))
        next(found)
        archive.index.write(lambda c: c.execute("DELETE FROM instance WHERE SOPInstanceUID = '1.2.1'"))
        assert [row["SOPInstanceUID"] for row in found] == ["1.2.2"]


def test_a_generator_given_up_leaves_no_connection_busy(archive: Archive):
    for _ in range(50):
        next(select_values(archive.index, Query("instance")))
    assert len(archive.index._readers) <= 2


@pytest.mark.parametrize(
    ("keyword", "level", "known"),
    [
        ("StudyDate", "study", True),
        ("StudyDate", "patient", False),
        ("ModalitiesInStudy", "series", True),
        ("NumberOfSeriesRelatedInstances", "study", False),
        ("TransferSyntaxUID", "instance", True),
        ("KVP", "instance", True),
        ("KVP", "study", False),
        ("PixelData", "instance", False),
        ("ProcedureCodeSequence_CodeValue", "study", True),
    ],
)
def test_what_can_be_told(keyword: str, level: str, known: bool):
    assert is_known(keyword, level, ("KVP",)) is known


def test_fuzzy_names(archive: Archive):
    for name, patients in (
        ("jorg mull", ["1"]),
        ("jane", ["2"]),
        ("DOE JA*", ["2"]),
        ("doe richard", []),
        ("ri", ["3"]),
        ("Joerg Mueller", ["1"]),
        ("Yürg mull", ["1"]),
        ("miller", []),
        ("jayn*", []),
        ("Jeane do", []),
        ("Jäne Dow", []),
        ("Roh", ["3"]),
    ):
        query = Query("patient", {"PatientName": name}, ("PatientID",), fuzzy=True)
        assert [row["PatientID"] for row in select(archive.index, query)] == patients, name


def test_modalities_in_a_study_are_all_asked_for_and_are_the_studys(archive: Archive):
    assert values(archive, "StudyInstanceUID", ModalitiesInStudy="CT\\SR") == ["1.1"]
    assert values(archive, "StudyInstanceUID", ModalitiesInStudy="CT\\MR") == []
    assert values(archive, "SeriesInstanceUID", "series", ModalitiesInStudy="SR") == ["1.1.1", "1.1.2"]
    assert values(archive, "PatientID", "patient", ModalitiesInStudy="MR") == ["1"]
    assert values(archive, "StudyInstanceUID", SOPClassesInStudy=MR) == ["1.2"]
    assert values(archive, "StudyInstanceUID", ModalitiesInStudy="S*", Modality="CT") == ["1.1"]


def test_empty_values(archive: Archive):
    assert values(archive, "StudyInstanceUID", StudyDate='""') == ["1.4"]
    assert values(archive, "StudyInstanceUID", StudyDate='""', PatientID="1") == []


def test_when_a_study_last_got_something(archive: Archive):
    now = int(time.time())
    assert len(values(archive, "StudyInstanceUID", LastReceived=f"{now - 3600}-")) == 4
    assert values(archive, "StudyInstanceUID", LastReceived=f"-{now - 3600}") == []
    assert values(archive, "StudyInstanceUID", LastReceived="yesterday") == []
    assert len(values(archive, "StudyInstanceUID", LastReceived="-")) == 4
    assert values(archive, "LastReceived")[0] > now - 3600


def test_dates_and_times_as_one(tmp_path: Path):
    with archive_in(tmp_path) as archive:
        for number, (date, clock) in enumerate(
            (("20240101", "230000"), ("20240102", "030000"), ("20240103", "090000"), ("20240103", "170000"))
        ):
            time_element = [(0x00080030, "TM", clock.encode())]
            put(archive, f"1.2.{number}", study=f"1.{number}", series=f"1.{number}.1", date=date, more=time_element)
        archive.flush()

        def found(combined: bool, dates: str, times: str) -> list[Any]:
            match = {"StudyDate": dates, "StudyTime": times}
            query = Query("study", match, ("StudyInstanceUID",), combined=combined)
            return [row["StudyInstanceUID"] for row in select(archive.index, query)]

        assert found(True, "20240101-20240103", "10-12") == ["1.0", "1.1", "1.2"]
        assert found(False, "20240101-20240103", "10-12") == []
        assert found(True, "20240102-", "04-") == ["1.2", "1.3"]
        assert found(True, "-20240103", "-09") == ["1.0", "1.1", "1.2"]
        assert found(True, "20240101-", "-12") == found(False, "20240101-", "-12")  # not the same form
        assert found(True, "20240103", "08-10") == ["1.2"]


def test_an_order_of_ones_own(archive: Archive):
    def found(level: str, *order: str, key: str = "StudyInstanceUID", **how: Any) -> list[Any]:
        return [row[key] for row in select(archive.index, Query(level, how, (key,), order=order))]

    natural = values(archive, "StudyInstanceUID")
    assert found("study", "-StudyDate", "-StudyTime") == natural[::-1]
    assert found("study", "StudyInstanceUID") == sorted(natural)
    by_name = [row["PatientName"] for row in select(archive.index, Query("study", keys=("PatientName",)))]
    assert len(found("study", "PatientName", key="PatientName")) == len(by_name)
    assert found("instance", "-StudyInstanceUID", "SOPInstanceUID")[0] == max(natural)
    assert found("series", "PatientID", "-SeriesInstanceUID", key="PatientID")[0] == "1"
    assert found("study", "-StudyInstanceUID", Modality="SR") == ["1.1"]
    for wrong in ("Modality", "Nothing", "s.id; DROP TABLE study"):
        with pytest.raises(UsageError, match="ordered by"):
            found("study", wrong)


def test_counting_may_be_given_up(archive: Archive, monkeypatch: pytest.MonkeyPatch):
    assert count_unless(archive.index, Query("instance"), stop=lambda: False) == 13
    monkeypatch.setattr(query_module, "_INSTRUCTIONS", 10)
    assert count_unless(archive.index, Query("instance"), stop=lambda: True) is None
