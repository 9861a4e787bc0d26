"""Searches by QIDO-RS, against a small archive."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dcmkit.archive.store import Archive
from dcmkit.errors import UsageError
from dcmkit.web import qido
from dcmkit.web.exchange import warning_header
from dcmkit.web.qido import Answer, count_matches, read_search, search
from tests.archive.objects import MR, archive_in, put
from tests.dataset.encoding import Items

BASE = "http://pacs.example/dicom-web"
STUDIES: list[dict[str, Any]] = [
    {"patient": "1", "name": "Müller^Jörg", "study": "1.1", "series": "1.1.1", "date": "20240101"},
    {"patient": "1", "name": "Müller^Jörg", "study": "1.1", "series": "1.1.2", "modality": "SR", "date": "20240101"},
    {"patient": "1", "name": "Müller^Jörg", "study": "1.2", "series": "1.2.1", "modality": "MR", "date": "20240201",
     "sop_class": MR},
    {"patient": "2", "name": "Doe^Jane", "study": "1.3", "series": "1.3.1", "date": "20240301"},
]  # fmt: skip


def request(step: str, procedure: str) -> list[Any]:
    return [(0x00400009, "SH", step.encode()), (0x00401001, "SH", procedure.encode())]


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    with archive_in(Path(tmp_path_factory.mktemp("archive"))) as archive:
        for number, study in enumerate(STUDIES):
            more = [(0x00080030, "TM", b"101500")]
            if study["series"] == "1.1.1":
                more.append((0x00400275, "SQ", Items([request("S1", "P1"), request("S2", "P2")])))
            for instance in (1, 2):
                put(archive, f"{study['series']}.{instance}", more=more, instance=instance + number, **study)
        archive.flush()
        yield archive


def ask(archive: Archive, level: str, *parameters: tuple[str, str], **how: Any) -> Answer:
    return search(archive.index, level, parameters, how.pop("base_url", BASE), extra=archive.keywords, **how)


def objects(answer: Answer) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(answer.body)
    assert found == [json.loads(row) for row in answer.rows]
    return found


def uids(archive: Archive, level: str, *parameters: tuple[str, str], **how: Any) -> list[str]:
    tag = {"patient": "00100020", "study": "0020000D", "series": "0020000E", "instance": "00080018"}[level]
    return [one[tag]["Value"][0] for one in objects(ask(archive, level, *parameters, **how))]


def test_a_study_has_what_the_standard_asks_for(archive: Archive):
    (found,) = objects(ask(archive, "study", ("StudyInstanceUID", "1.1")))
    assert list(found) == sorted(found)
    assert found == {
        "00080005": {"vr": "CS", "Value": ["ISO_IR 192"]},
        "00080020": {"vr": "DA", "Value": ["20240101"]},
        "00080030": {"vr": "TM", "Value": ["101500"]},
        "00080050": {"vr": "SH", "Value": ["A-1"]},
        "00080056": {"vr": "CS", "Value": ["ONLINE"]},
        "00080061": {"vr": "CS", "Value": ["CT", "SR"]},
        "00080090": {"vr": "PN"},
        "00081190": {"vr": "UR", "Value": [f"{BASE}/studies/1.1"]},
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Müller^Jörg"}]},
        "00100020": {"vr": "LO", "Value": ["1"]},
        "00100030": {"vr": "DA"},
        "00100040": {"vr": "CS"},
        "0020000D": {"vr": "UI", "Value": ["1.1"]},
        "00200010": {"vr": "SH"},
        "00201206": {"vr": "IS", "Value": [2]},
        "00201208": {"vr": "IS", "Value": [4]},
    }


def test_a_series_and_an_instance(archive: Archive):
    (found,) = objects(ask(archive, "series", ("SeriesInstanceUID", "1.1.1"), study="1.1"))
    assert found["00081190"]["Value"] == [f"{BASE}/studies/1.1/series/1.1.1"]
    assert found["00201209"]["Value"] == [2]
    assert found["00200011"]["Value"] == [7]
    assert [item["00400009"]["Value"] for item in found["00400275"]["Value"]] == [["S1"], ["S2"]]
    assert "00100010" not in found
    (found,) = objects(ask(archive, "instance", ("InstanceNumber", "4"), study="1.3", series="1.3.1"))
    assert found["00081190"]["Value"] == [f"{BASE}/studies/1.3/series/1.3.1/instances/1.3.1.1"]
    assert (found["00280010"]["Value"], found["00080018"]["Value"]) == ([2], ["1.3.1.1"])
    assert "00280008" not in found  # conditional, and not known


def test_without_a_study_in_the_path_its_attributes_come_too(archive: Archive):
    assert objects(ask(archive, "series"))[0]["00100020"]["Value"] == ["1"]
    found = objects(ask(archive, "instance"))[0]
    assert "00100010" in found
    assert "00080060" in found
    assert "00100010" not in objects(ask(archive, "instance", study="1.1"))[0]


def test_patients(archive: Archive):
    found = objects(ask(archive, "patient", ("PatientID", "1")))[0]
    assert found["00201200"]["Value"] == [2]
    assert "00081190" not in found


@pytest.mark.parametrize(
    ("parameters", "wanted"),
    [
        ([], ["1.3", "1.2", "1.1"]),
        ([("PatientID", "2")], ["1.3"]),
        ([("00100020", "2")], ["1.3"]),
        ([("patientId", "2")], ["1.3"]),
        ([("PatientName", "mull*")], ["1.2", "1.1"]),
        ([("PatientName", "jane d")], []),
        ([("PatientName", "jane d"), ("fuzzymatching", "true")], ["1.3"]),
        ([("PatientName", "jane d"), ("fuzzy", "true")], ["1.3"]),
        ([("PatientName", "Jain D"), ("fuzzymatching", "true")], []),
        ([("PatientName", "Mueller"), ("fuzzymatching", "true")], ["1.2", "1.1"]),
        ([("StudyInstanceUID", "1.1,1.3")], ["1.3", "1.1"]),
        ([("StudyInstanceUID", "1.1\\1.3")], ["1.3", "1.1"]),
        ([("StudyInstanceUID", "1.1"), ("0020000D", "1.2")], ["1.2", "1.1"]),
        ([("StudyDate", "20240115-20240215")], ["1.2"]),
        ([("StudyDate", "20240201-")], ["1.3", "1.2"]),
        ([("StudyDate", "20240101-20240201"), ("StudyTime", "1100-1000")], []),
        ([("StudyDate", "20240101-20240201"), ("StudyTime", "1100-1100")], ["1.2"]),  # as one moment
        ([("ModalitiesInStudy", "SR")], ["1.1"]),
        ([("ModalitiesInStudy", "SR,MR")], ["1.2", "1.1"]),
        ([("ModalitiesInStudy", "CT\\SR")], ["1.1"]),
        ([("ModalitiesInStudy", "CT,MR"), ("Modality", "SR")], []),
        ([("Modality", "MR")], ["1.2"]),
        ([("00400275.00400009", "S2")], ["1.1"]),
        ([("RequestAttributesSequence.ScheduledProcedureStepID", "S2")], ["1.1"]),
        ([("PatientID", "")], ["1.3", "1.2", "1.1"]),
        ([("PatientID", "*")], ["1.3", "1.2", "1.1"]),
        ([("PatientID", "' OR 1=1 --")], []),
        ([("PatientID", "%")], []),
        ([("StudyDescription", '""'), ("emptyvaluematching", "true")], []),
        ([("StudyID", '""'), ("emptyvaluematching", "true")], ["1.3", "1.2", "1.1"]),
        ([("PatientID", "1\\2"), ("multiplevaluematching", "true")], ["1.3", "1.2", "1.1"]),
        ([("orderby", "StudyDate")], ["1.1", "1.2", "1.3"]),
        ([("orderby", "-PatientName,-StudyDate")], ["1.2", "1.1", "1.3"]),
        ([("orderby", "00100010,StudyInstanceUID")], ["1.3", "1.1", "1.2"]),
        ([("limit", "1"), ("offset", "1")], ["1.2"]),
        ([("SpecificCharacterSet", "ISO_IR 192"), ("accept", "application/dicom+json")], ["1.3", "1.2", "1.1"]),
    ],
)  # fmt: skip
def test_what_is_found(archive: Archive, parameters: list[tuple[str, str]], wanted: list[str]):
    answer = ask(archive, "study", *parameters)
    assert [one["0020000D"]["Value"][0] for one in objects(answer)] == wanted
    if not any(name in ("limit", "offset") for name, _ in parameters):
        assert (answer.total, answer.more, answer.warnings) == (len(wanted), False, ())


def test_uids_of_the_path_stay_what_they_are(archive: Archive):
    assert uids(archive, "series", study="1.1") == ["1.1.1", "1.1.2"]
    assert uids(archive, "series", ("StudyInstanceUID", "1.1,1.3"), study="1.3") == ["1.3.1"]
    assert uids(archive, "series", ("StudyInstanceUID", "1.1"), ("StudyInstanceUID", "1.2"), study="1.3") == []
    assert uids(archive, "series", ("StudyInstanceUID", "*"), study="1.3") == ["1.3.1"]
    assert uids(archive, "instance", study="1.1", series="1.1.2") == ["1.1.2.1", "1.1.2.2"]
    assert uids(archive, "instance", study="1.3", series="1.1.2") == []
    for wrong in ("*", "1.?", "..", "1" * 65, "1.1\\1.2"):
        assert uids(archive, "series", study=wrong) == []


def test_pages_and_what_is_left(archive: Archive):
    answer = ask(archive, "instance", ("limit", "3"))
    assert (len(answer.rows), answer.total, answer.more) == (3, 8, True)
    assert answer.warnings == ("There are 5 additional results that can be requested",)
    answer = ask(archive, "instance", ("limit", "3"), ("offset", "6"))
    assert (len(answer.rows), answer.total, answer.more, answer.warnings) == (2, 8, False, ())
    answer = ask(archive, "instance", ("offset", "50"))
    assert (answer.body, answer.total, answer.more) == (b"[]", 8, False)
    answer = ask(archive, "instance", ("limit", "0"))
    assert (answer.rows, answer.total, answer.more) == ([], 8, True)
    answer = ask(archive, "instance", ("limit", "100"), most=2)  # the server's own limit
    assert (len(answer.rows), answer.more) == (2, True)
    pages = [uids(archive, "instance", ("limit", "3"), ("offset", str(offset))) for offset in (0, 3, 6)]
    assert [uid for page in pages for uid in page] == uids(archive, "instance")


def test_where_counting_takes_long_no_number_is_told(archive: Archive, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(qido, "count_unless", lambda *_, **__: None)
    answer = ask(archive, "instance", ("limit", "3"))
    assert (answer.total, answer.warnings) == (None, ("There are additional results that can be requested",))


def test_further_fields(archive: Archive):
    (found,) = objects(
        ask(archive, "study", ("StudyInstanceUID", "1.1"), ("includefield", "00081030,StudyID"),
            ("includefield", "PatientAge"), ("includefield", "00080060"))
    )  # fmt: skip
    assert found["00081030"] == {"vr": "LO", "Value": ["Head"]}
    assert found["00101010"] == {"vr": "AS"}
    assert "00080060" not in found  # of a level below
    (found,) = objects(ask(archive, "series", ("SeriesInstanceUID", "1.1.1"), ("includefield", "all"), study="1.1"))
    assert {"00080020", "00081030", "0008103E", "00100010", "00400275"} <= set(found) | {"0008103E"}
    assert found["00081030"]["Value"] == ["Head"]
    assert "00080018" not in found


def test_items_that_do_not_match_are_left_out(archive: Archive):
    (found,) = objects(ask(archive, "series", ("00400275.00400009", "S2")))
    assert [item["00400009"]["Value"] for item in found["00400275"]["Value"]] == [["S2"]]


@pytest.mark.parametrize(
    "parameters",
    [
        [("Colour", "red")],
        [("0010", "1")],
        [("00400275", "1")],
        [("00100020.00400009", "1")],
        [("1.2.3", "1")],
        [("TransferSyntaxUID", "1.2.840.10008.1.2")],
        [("PixelData", "1")],
        [("00091001", "1")],
        [("includefield", "Colour")],
        [("PatientID", "1"), ("00100020", "2")],
        [("limit", "-1")],
        [("limit", "many")],
        [("limit", "٣")],
        [("limit", "9" * 30)],
        [("offset", "1.5")],
        [("limit", "1"), ("limit", "2")],
        [("fuzzymatching", "maybe")],
        [("orderby", "Modality")],
        [("orderby", "StudyDate; DROP TABLE study")],
        [("orderby", ",".join(["StudyDate"] * 9))],
        [("PatientID", "x" * 70_000)],
        [("x" * 1000, "1")],
        [("includefield", "StudyID")] * 501,
    ],
)
def test_what_is_refused(archive: Archive, parameters: list[tuple[str, str]]):
    with pytest.raises(UsageError) as caught:
        ask(archive, "study", *parameters)
    assert caught.value.http_status == 400
    assert len(str(caught.value)) < 300


def test_what_is_unknown_may_be_ignored_with_a_warning(archive: Archive):
    answer = ask(archive, "study", ("Colour", "red"), ("PatientID", "2"), ("includefield", "Shape"), strict=False)
    assert len(answer.rows) == 1
    assert [text for text in answer.warnings if "Colour" in text and "ignored" in text]
    assert len(answer.warnings) == 2


@pytest.mark.parametrize(("name", "value"), [("PatientID", '""'), ("PatientID", "1\\2")])
def test_values_that_need_a_parameter_to_mean_more(archive: Archive, name: str, value: str):
    answer = ask(archive, "study", (name, value))
    assert (answer.rows, answer.total) == ([], 0)
    assert "matching=true" in answer.warnings[0]


def test_warnings_as_headers():
    assert warning_header(BASE, qido.MORE) == f"299 {BASE}: There are additional results that can be requested"
    assert "\n" not in warning_header(BASE + "\r\nSet-Cookie: a", "Colour\r\nX: y")


def test_the_latest_studies_come_from_an_index_in_their_order(archive: Archive):
    query = read_search("study", [("limit", "25")]).query
    from dcmkit.archive.planning import ordered_by

    sql = (
        f"EXPLAIN QUERY PLAN SELECT s.id FROM study s WHERE 1 = 1 ORDER BY {ordered_by('study', query.order)} LIMIT 26"
    )
    with archive.index.reading() as connection:
        plan = " ".join(str(row) for row in connection.execute(sql))
    assert "study_moment" in plan
    assert "TEMP B-TREE" not in plan


def test_a_search_that_takes_long_is_given_up(archive: Archive, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(qido, "_SEARCH_SECONDS", -1.0)
    with pytest.raises(qido.SearchTooLongError) as caught:
        ask(archive, "instance")
    assert caught.value.http_status == 413
    monkeypatch.setattr(qido, "count_unless", lambda *_, **__: None)
    with pytest.raises(qido.SearchTooLongError):
        count_matches(archive.index, read_search("instance", []))


def test_counting_alone(archive: Archive):
    assert count_matches(archive.index, read_search("instance", [("limit", "1"), ("offset", "3")])) == 8
    assert count_matches(archive.index, read_search("series", [("Modality", "CT")])) == 2
    assert count_matches(archive.index, read_search("series", [], study="*")) == 0


NAMES = st.sampled_from([
    "PatientName", "PatientID", "StudyDate", "StudyTime", "StudyInstanceUID", "ModalitiesInStudy", "InstanceNumber",
    "PatientWeight", "AcquisitionDateTime", "PatientComments", "00400275.00400009", "SOPClassesInStudy", "limit",
    "offset", "orderby", "includefield", "fuzzymatching", "emptyvaluematching", "multiplevaluematching", "Rows",
])  # fmt: skip
VALUES = st.one_of(
    st.text(max_size=30),
    st.text("0123456789-.,:*?\\\"'^=% ", max_size=30),
    st.sampled_from(["true", '""', "-", "\udcff", "9" * 5000, "*" * 5000 + "?", "\\" * 400, ",,,", "0x1", "1e400"]),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(
    st.sampled_from(["patient", "study", "series", "instance"]),
    st.lists(st.tuples(NAMES | st.text(max_size=10), VALUES), max_size=4),
    st.booleans(),
)
def test_any_query_is_answered_or_refused(
    archive: Archive, level: str, parameters: list[tuple[str, str]], strict: bool
):
    try:
        found = ask(archive, level, *parameters, strict=strict)
    except UsageError:
        return
    objects(found)
    for text in found.warnings:
        assert warning_header(BASE, text).isprintable()


def test_limited_to_studies(archive: Archive):
    def found(*parameters: tuple[str, str], level: str = "study", **how: Any) -> list[str]:
        asked = read_search(level, parameters, **how)
        tag = {"patient": "00100020", "study": "0020000D", "series": "0020000E"}[level]
        rows = qido.answer(archive.index, asked, BASE).rows
        assert len(rows) == count_matches(archive.index, asked)
        return [json.loads(row)[tag]["Value"][0] for row in rows]

    assert found(studies=["1.3", "1.1", "9.9"]) == ["1.3", "1.1"]
    assert found(("StudyInstanceUID", "1.1,1.2"), studies=["1.3", "1.1"]) == ["1.1"]
    assert found(("StudyInstanceUID", "*"), studies=["1.1"]) == ["1.1"]
    assert found(("StudyInstanceUID", "1.2"), studies=["1.1"]) == []
    assert found(study="1.2", studies=["1.1"], level="series") == []
    assert found(study="1.1", studies=["1.1", "1.2"], level="series") == ["1.1.1", "1.1.2"]
    assert found(level="patient", studies=["1.3"]) == ["2"]
    assert found(studies=[]) == []
    assert found(studies=["*"]) == []
