"""Answers as text and as files."""

from __future__ import annotations

import json
import os

import pytest

from dcmkit.cli.answers import ANSWER_FORMATS, Extraction, cell, columns_of, printer, write_file
from dcmkit.cli.keys import parse_keys
from dcmkit.dataset.elements import DataSet, Element
from dcmkit.errors import OutputDirectoryError, OutputError
from tests.services.answering import study

STEPS, CODES, MODALITY = 0x00400100, 0x00400008, 0x00080060


def printed(form: str, keys: list[str], *answers: DataSet, pause: int = 0) -> None:
    show = printer(form, columns_of(parse_keys(keys)))
    for number, answer in enumerate(answers, 1):
        show.add(answer)
        if number == pause:
            show.pause()
    show.close()


def test_columns_are_the_keys_in_their_order():
    keys = [
        "StudyDate",
        "0008,0052=STUDY",
        "SpecificCharacterSet",
        "PatientName=x",
        "(0040,0100)[0].Modality",
        "00091001",
    ]
    columns = columns_of(parse_keys([*keys, "0040,0100[1].Modality", "0040,0100[1].0040,0002"]))
    assert [column.name for column in columns] == [
        "StudyDate",
        "PatientName",
        "ScheduledProcedureStepSequence.Modality",
        "ScheduledProcedureStepSequence.ScheduledProcedureStepStartDate",
        "00091001",
    ]


def test_cells():
    step = {MODALITY: Element("CS", "CT"), CODES: Element("SQ", [{0x00080104: Element("LO", "Head")}])}
    answer: DataSet = {
        0x00100020: Element("LO", "1\x1b"),
        0x00091001: Element("UN", b"\1\2"),
        STEPS: Element("SQ", [step, {MODALITY: Element("CS", "MR")}, {}]),
    }
    assert cell(answer, (0x00100020,)) == "1\\x1b"
    assert cell(answer, (0x00100010,)) == ""
    assert cell(answer, (0x00091001,)) == "0102"
    assert cell(answer, (STEPS, MODALITY)) == "CT\\MR"
    assert cell(answer, (STEPS, CODES, 0x00080104)) == "Head"
    assert cell(answer, (STEPS,)) == "Modality=CT, ScheduledProtocolCodeSequence=CodeMeaning=Head; Modality=MR"


def test_a_table_is_as_wide_as_its_rows(capsys):
    printed("table", ["PatientName", "NumberOfStudyRelatedInstances"], study(1), study(2, name="Müller^Jürgen"))
    assert capsys.readouterr().out == (
        "PatientName    NumberOf\n"
        "               Study\n"
        "               Related\n"
        "               Instances\n"
        "-------------  ---------\n"
        "Doe^1\n"
        "Müller^Jürgen\n"
    )


def test_a_table_that_begins_early_expects_more(capsys):
    printed("table", ["PatientName", "StudyDate"], study(1), study(2, name="A" * 20), study(3, name="B" * 30), pause=1)
    lines = capsys.readouterr().out.splitlines()
    assert [line.index("20240131") for line in lines[2:]] == [22, 22, 32]


def test_a_table_knows_how_wide_characters_are(capsys):
    printed("table", ["PatientName", "StudyDate"], study(1, name="山田太郎山田太郎"), study(2, name="x" * 16))
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2].index("20240131") == 10
    assert lines[-1].index("20240131") == 18


@pytest.mark.parametrize(
    ("form", "text"),
    [("table", ""), ("json", "[]"), ("jsonl", ""), ("csv", "PatientName"), ("xml", "</NativeDicomModels>")],
)
def test_without_answers(form, text, capsys):
    assert form in ANSWER_FORMATS
    printed(form, ["PatientName"])
    assert capsys.readouterr().out.rstrip("\n").endswith(text)


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_json_with_what_a_terminal_would_obey(form, capsys):
    printed(form, [], study(1, name="A\x9b\u202eB"), study(2))
    out = capsys.readouterr().out
    assert "\\u009b\\u202e" in out
    first = json.loads(out)[0] if form == "json" else json.loads(out.splitlines()[0])
    assert first["00100010"]["Value"] == [{"Alphabetic": "A\x9b\u202eB"}]


def test_a_file_is_whole_or_not_there(tmp_path):
    path = tmp_path / "rsp0001.dcm"
    write_file(str(path), b"old")
    write_file(str(path), b"new")
    assert path.read_bytes() == b"new"
    with pytest.raises(OutputError, match="cannot be written"):
        write_file(str(tmp_path / "none" / "x"), b"")
    (tmp_path / "taken").mkdir()
    with pytest.raises(OutputError, match="taken"):
        write_file(str(tmp_path / "taken"), b"")
    assert sorted(os.listdir(tmp_path)) == ["rsp0001.dcm", "taken"]


def test_the_one_file_appears_when_it_is_complete(tmp_path):
    files = Extraction(str(tmp_path), xml_single="all.xml")
    files.add(study(1))
    assert not (tmp_path / "all.xml").exists()
    files.close()
    assert os.listdir(tmp_path) == ["all.xml"]


def test_nowhere_to_write(tmp_path):
    with pytest.raises(OutputDirectoryError):
        Extraction(str(tmp_path / "none"), dicom=True)
    with pytest.raises(OutputError):
        Extraction(str(tmp_path), xml_single="none/all.xml")
    assert not Extraction(str(tmp_path / "none")).wanted
