"""What is written for each format."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from xml.etree import ElementTree

import pydicom.data
import pytest

from dcmkit.cli.dumping import FORMATS, WRITERS, Wanted
from dcmkit.dataset.dump import Look
from dcmkit.dataset.dump_file import DumpFile
from dcmkit.dataset.dump_model import Choice
from dcmkit.errors import UsageError

TEST_FILES = Path(pydicom.data.__file__).parent / "test_files"
FILES = TEST_FILES / "CT_small.dcm", TEST_FILES / "test-SR.dcm"


def dumped(form: str, *paths: Path, **wanted) -> None:
    writer = WRITERS[form](Wanted(Look(), Choice(), **wanted))
    for path in paths:
        with DumpFile(str(path)) as file:
            writer.add(file)
    writer.close()


def test_every_format_has_a_writer():
    assert set(WRITERS) == set(FORMATS)


def test_json_is_an_array(capsys):
    dumped("json", *FILES)
    first, second = json.loads(capsys.readouterr().out)
    assert first["00080060"]["Value"] == ["CT"]
    assert second["00080060"]["Value"] == ["SR"]
    assert "00020010" not in first
    dumped("json")
    assert json.loads(capsys.readouterr().out) == []


def test_json_lines_with_file_meta(capsys):
    dumped("jsonl", *FILES, meta=True)
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["00020010"]["Value"] for line in lines] == [["1.2.840.10008.1.2.1"]] * 2


@pytest.mark.parametrize("form", ["xml", "dcm2xml"])
def test_xml_is_one_document(capsys, form):
    dumped(form, FILES[1])
    ElementTree.fromstring(capsys.readouterr().out)
    with pytest.raises(UsageError, match="one data set"):
        dumped(form, *FILES)


def test_csv_has_a_row_for_each_element(capsys):
    dumped("csv", *FILES)
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    (pixels,) = [row for row in rows if row["name"] == "PixelData"]
    assert (pixels["vr"], pixels["length"]) == ("OW", "32768")
    assert len(pixels["value"]) < 100
    assert [row["value"] for row in rows if row["path"] == "(0010,1002)[1].(0010,0020)"] == ["[1234ABCD]"]


def test_headings_of_files_in_which_something_is_found(capsys):
    dumped("text", *FILES, paths=((0x00101002,),), heading=2)
    out = capsys.readouterr().out
    assert out.count("# dcmdump (1): ") == 1
    assert "test-SR" not in out
