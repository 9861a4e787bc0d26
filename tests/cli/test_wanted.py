"""What to retrieve: options, and lists in every form people have them."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path

import pytest

from dcmkit.cli.wanted import by_options, read_list
from dcmkit.dataset.dictionary import keyword_of
from dcmkit.dataset.elements import DataSet, element, text
from dcmkit.errors import DcmkitError, InputError, UsageError
from dcmkit.services.retrieve_plan import Want


def told(want: Want) -> dict[str, str]:
    return {keyword_of(tag): text(want.keys, tag) for tag in want.keys}


def options(**given: tuple[str, ...]) -> list[Want]:
    names = ("studies", "series", "instances", "accessions", "patients")
    return list(by_options(*(given.get(name, ()) for name in names)))


def listed(path: Path, content: str | bytes, base: DataSet | None = None) -> tuple[list[Want], list[DcmkitError]]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    bad: list[DcmkitError] = []
    return read_list(str(path), base or {}, bad.append), bad


# --- options ---


def test_each_is_a_want() -> None:
    wants = options(studies=("1.2", "1.3"), accessions=("A1",), patients=("P1",))
    assert [(want.label, told(want)) for want in wants] == [
        ("study 1.2", {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": "1.2"}),
        ("study 1.3", {"QueryRetrieveLevel": "STUDY", "StudyInstanceUID": "1.3"}),
        ("accession A1", {"AccessionNumber": "A1", "QueryRetrieveLevel": "STUDY"}),
        ("patient P1", {"PatientID": "P1"}),
    ]


def test_series_of_a_study_and_instances_of_a_series() -> None:
    (series,) = options(studies=("1",), series=("1.2",))
    assert told(series) == {"StudyInstanceUID": "1", "QueryRetrieveLevel": "SERIES", "SeriesInstanceUID": "1.2"}
    instances = options(studies=("1",), series=("1.2",), instances=("1.2.3", "1.2.4"))
    assert [told(want)["SOPInstanceUID"] for want in instances] == ["1.2.3", "1.2.4"]
    assert {told(want)["SeriesInstanceUID"] for want in instances} == {"1.2"}
    assert {told(want)["QueryRetrieveLevel"] for want in instances} == {"IMAGE"}
    (alone,) = options(instances=("1.2.3",))
    assert told(alone) == {"QueryRetrieveLevel": "IMAGE", "SOPInstanceUID": "1.2.3"}


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"studies": ("-k",)}, r"'-k' is not a UID.*-S"),
        ({"series": ("x",)}, "'x' is not a UID"),
        ({"patients": ("-k",)}, r"needs a value, not '-k'.*-P"),
        ({"accessions": (" ",)}, "needs a value"),
        ({"studies": ("1", "2"), "series": ("3",)}, "of several studies"),
        ({"series": ("1", "2"), "instances": ("3",)}, "of several series"),
    ],
)
def test_what_makes_no_sense(given: dict[str, tuple[str, ...]], sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        options(**given)
    assert re.search(sentence, str(caught.value))


# --- lists ---


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_csv_with_keywords(tmp_path: Path, delimiter: str, mark: str) -> None:
    rows = [["StudyInstanceUID", "Comment", "(0010,0020)"], ["1.2.3", "a, b", "P1"], ["", "", ""], ["1.2.4", "", ""]]
    content = mark + "\r\n".join(delimiter.join(f'"{cell}"' for cell in row) for row in rows)
    wants, bad = listed(tmp_path / "list.csv", content)
    assert not bad
    assert [told(want) for want in wants] == [
        {"PatientID": "P1", "StudyInstanceUID": "1.2.3", "QueryRetrieveLevel": "STUDY"},
        {"StudyInstanceUID": "1.2.4", "QueryRetrieveLevel": "STUDY"},
    ]
    assert wants[0].label == f"line 2 of {tmp_path / 'list.csv'}"


def test_rows_without_uids_are_looked_up_by_what_they_have(tmp_path: Path) -> None:
    header = "AccessionNumber,PatientID,StudyDate,PatientName,PatientBirthDate\n"
    rows = "A1,,,,\n,P1,20240101,Doe^J,\n,P2,,,\n,,,Müller^J,19700101\n,,20240101,Doe^K,\n"
    wants, _ = listed(tmp_path / "list.csv", header + rows)
    study = {"QueryRetrieveLevel": "STUDY"}
    assert [told(want) for want in wants] == [
        {"AccessionNumber": "A1", **study},
        {"PatientID": "P1", "StudyDate": "20240101", **study},
        {"PatientID": "P2"},
        {"PatientName": "Müller^J", "PatientBirthDate": "19700101", **study},
        {"StudyDate": "20240101", "PatientName": "Doe^K", **study},
    ]


def test_what_spreadsheets_write(tmp_path: Path) -> None:
    (want,), _ = listed(tmp_path / "list.csv", "PatientName;PatientBirthDate\nMüller;19700101".encode("cp1252"))
    assert told(want)["PatientName"] == "Müller"


def test_json_lines_of_findscu(tmp_path: Path) -> None:
    answer = {
        "0020000D": {"vr": "UI", "Value": ["1.2.3"]},
        "0020000E": {"vr": "UI", "Value": ["1.2.3.4"]},
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Doe^J"}]},
        "00081140": {"vr": "SQ", "Value": [{"00080018": {"vr": "UI", "Value": ["9"]}}]},
        "00080050": {"vr": "SH"},
    }
    lines = [json.dumps(answer), "", json.dumps(answer), json.dumps({"AccessionNumber": "A1", "none": 1})]
    wants, bad = listed(tmp_path / "list", "\n".join(lines))
    assert not bad
    assert [told(want) for want in wants] == [
        {"StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.3.4", "QueryRetrieveLevel": "SERIES"},
        {"AccessionNumber": "A1", "QueryRetrieveLevel": "STUDY"},
    ]
    (want, _), _ = listed(tmp_path / "list", json.dumps([answer, {"AccessionNumber": "A1"}]))
    assert told(want)["SeriesInstanceUID"] == "1.2.3.4"


def test_names_in_json(tmp_path: Path) -> None:
    answer = {"00100010": {"vr": "PN", "Value": [{"Alphabetic": "Doe^J"}]}}
    (want,), _ = listed(tmp_path / "list", json.dumps(answer))
    assert told(want)["PatientName"] == "Doe^J"


def test_uids_one_on_each_line(tmp_path: Path) -> None:
    wants, _ = listed(tmp_path / "list", "# studies\n1.2.3\n\n1.2.4\n1.2.3\n")
    assert [told(want)["StudyInstanceUID"] for want in wants] == ["1.2.3", "1.2.4"]
    level = {0x00080052: element(0x00080052, "SERIES")}
    (want,), _ = listed(tmp_path / "list", "1.2.3", level)
    assert told(want) == {"QueryRetrieveLevel": "SERIES", "SeriesInstanceUID": "1.2.3"}


def test_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"1.2.3\n")))
    (want,) = read_list("-", {}, lambda error: None)
    assert "stdin" in want.label


def test_bad_rows_are_told_and_stop_no_others(tmp_path: Path) -> None:
    wants, bad = listed(tmp_path / "list", "StudyInstanceUID,Comment\n1.2.3,\n../..,\n,what?\n")
    assert len(wants) == 1
    assert ["line 3" in str(bad[0]), "line 4" in str(bad[1])] == [True, True]
    wants, bad = listed(tmp_path / "list", '{"AccessionNumber": "A1"}\n[1]\n{"broken\n')
    assert len(wants) == 1
    assert len(bad) == 2


@pytest.mark.parametrize("content", ["", "\n\n", "hello\nworld\n", "[", "StudyInstanceUID\n", "[]"])
def test_no_list(tmp_path: Path, content: str) -> None:
    with pytest.raises(InputError):
        listed(tmp_path / "list", content)


def test_a_list_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_list(str(tmp_path / "missing"), {}, lambda error: None)
