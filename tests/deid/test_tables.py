"""The tables hold what the standard says: compared with the scorer's facts, made by other code."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from dcmkit.dataset import dictionary
from dcmkit.dataset.dictionary import look_up
from dcmkit.deid import tables
from tests.deid.scoring import facts

CT, MR, US = (f"1.2.840.10008.5.1.4.1.1.{last}" for last in ("2", "4", "6.1"))
GSPS, ENHANCED_CT, PDF, SR = (f"1.2.840.10008.5.1.4.1.1.{last}" for last in ("11.1", "2.1", "104.1", "88.11"))
RT_PLAN, SEGMENTATION, OLD_US = (f"1.2.840.10008.5.1.4.1.1.{last}" for last in ("481.5", "66.4", "6"))
DIRECTORY = "1.2.840.10008.1.3.10"


def tag(keyword: str) -> int:
    found = look_up(keyword)
    assert found is not None, keyword
    return found[0]


def test_every_row_is_there():
    ours = {**tables.attributes()}
    theirs = facts.attributes()
    assert len(ours) == len(theirs) == 653
    for number, row in theirs.items():
        assert ours[number] == tables.Row(number, row.vr, row.basic, row.options), row


def test_rows_of_several_attributes():
    assert set(tables.repeating()) == {"50xxxxxx", "60xx3000", "60xx4000"}
    assert all((row.basic, row.columns) == ("X", {"clean-graphics": "C"}) for row in tables.repeating().values())
    assert tables.repeating()["60xx3000"].tag == 0x60003000
    assert tables.private() == tables.Row(tables.PRIVATE_TAG, "", "X", {"retain-safe-private": "C"})


def test_vrs_are_those_of_the_dictionary():
    """Or the table's own, where the dictionary does not have the attribute yet."""
    for number, row in tables.attributes().items():
        assert row.vr == tables.vr_of(number)
        assert dictionary.vr_of(number) in (row.vr, "UN")
    assert tables.vr_of(tag("PatientName")) == "PN"
    assert tables.vr_of(0x00100011) == "SQ"
    assert tables.vr_of(0x0010FFFE) == "UN"


def test_safe_private_attributes():
    assert tables.safe_private() == {place: vr.partition("/")[0] for place, vr in facts.safe_private().items()}
    assert tables.safe_private()["SIEMENS MR HEADER", 0x0019, 0x0C] == "IS"
    assert tables.safe_private()["SIEMENS Ultrasound SC2000", 0x0129, 0x03] == ""


def test_concepts():
    theirs = facts.structured()
    assert len(tables.content_items()) == len(theirs)
    for (value_type, code, scheme), row in tables.content_items().items():
        other = theirs[scheme, code, value_type]
        assert (row.basic, row.columns) == (other.basic, other.options)
    assert tables.content_items()["DATETIME", "15", "NCDR [2.0b]"].basic == "X"


@pytest.mark.parametrize(
    ("sop_class", "parent", "keyword", "strictest", "unconditional"),
    [
        (CT, "", "PatientName", 2, 2),
        (CT, "", "StudyDate", 2, 2),
        (CT, "", "SeriesDate", 3, 3),
        (CT, "", "StationName", 3, 3),
        (CT, "", "StudyInstanceUID", 3, 3),  # its action does not depend on the type
        (CT, "", "AcquisitionDateTime", 3, 3),
        (US, "", "AcquisitionDateTime", 1, 3),
        (ENHANCED_CT, "", "AcquisitionDateTime", 1, 3),
        (ENHANCED_CT, "", "ContentDate", 1, 1),
        (ENHANCED_CT, "", "DeviceSerialNumber", 1, 1),
        (GSPS, "", "PresentationCreationDate", 1, 1),
        (GSPS, "", "ContentCreatorName", 3, 3),
        (CT, "", "PresentationCreationDate", 3, 3),
        (PDF, "", "ContentDate", 2, 2),
        (SR, "", "ContentDate", 1, 1),
        (SR, "ReferencedRequestSequence", "RequestedProcedureID", 2, 2),
        (CT, "RequestAttributesSequence", "RequestedProcedureID", 1, 3),
        (SEGMENTATION, "", "ContentDate", 1, 1),
        (RT_PLAN, "", "RTPlanDate", 2, 2),
        (RT_PLAN, "BeamSequence", "TreatmentMachineName", 2, 2),
        (OLD_US, "", "PatientName", 2, 2),
        (DIRECTORY, "DirectoryRecordSequence", "StudyDate", 1, 1),
        ("1.2.3", "", "PatientName", 3, 3),
        ("", "", "PatientName", 3, 3),
    ],
)
def test_types(sop_class: str, parent: str, keyword: str, strictest: int, unconditional: int):
    place = tag(parent) if parent else 0
    assert tables.requirement(sop_class, place, tag(keyword)) == (strictest, unconditional)
    assert tables.type_of(sop_class, place, tag(keyword)) == strictest


def test_types_are_the_scorer_s():
    """For all SOP classes and places, where the action depends on it."""
    typed = {number for number, row in tables.attributes().items() if row.basic not in ("D", "U") or "C" in row.columns}
    compared = 0
    for sop_class, places in facts._types().items():
        for (number, parent), kind in places.items():
            if number in typed:
                assert tables.type_of(sop_class, parent, number) == int(kind[0]), (sop_class, parent, number)
                compared += 1
    assert compared > 9_000


def test_which_sop_classes_are_known():
    assert tables.is_known(CT)
    assert tables.is_known(OLD_US)
    assert not tables.is_known("1.2.3")


# --- the generator ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    path = Path(__file__).resolve().parents[2] / "tools" / "generate_deid_tables.py"
    spec = importlib.util.spec_from_file_location("generate_deid_tables", path)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def test_the_tables_have_their_form(generator: ModuleType):
    assert generator.main(["--check"]) == 0


@pytest.mark.parametrize(
    ("name", "change", "fault"),
    [
        ("e1.txt", lambda lines: lines[:-1], "656 rows, not 657"),
        ("e1.txt", lambda lines: [lines[1], lines[0], *lines[2:]], "not sorted, or a row twice"),
        ("e1.txt", lambda lines: ["00080050 SH Y ..........", *lines[1:]], "line 1"),
        ("safe_private.txt", lambda lines: [*lines[:-1], lines[0]], "not sorted, or a row twice"),
        ("structured.txt", lambda lines: [lines[0].lower(), *lines[1:]], "line 1"),
        ("types.txt", lambda lines: lines[1:], "modules not numbered from 0"),
        ("types.txt", lambda lines: [*lines, "= 1.2.3 = 9999"], "a module that is not there"),
    ],
)
def test_faults_are_found(generator: ModuleType, name: str, change, fault: str):
    lines = (generator.TARGET / name).read_text(encoding="ascii").splitlines()
    assert generator.faults(name, lines) == []
    assert fault in generator.faults(name, change(lines))


def test_facts_are_compared(generator: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """With their folder, --check tells a table that is not theirs."""
    row = "0008,0050\tAccession Number\tZ" + "\t" * 10 + "\tAccessionNumber\tSH\tN\tY"
    head = "tag\tname\tbasic\t" + "\t".join("abcdefghij") + "\tkeyword\tvr\tretired\tin_std_iod"
    (tmp_path / "ps315_e1.tsv").write_text(f"# a comment\n{head}\n{row}\n", encoding="utf-8")
    assert generator.e1(lambda name: tmp_path / name) == ["00080050 SH Z .........."]
    assert generator.main(["--check", str(tmp_path)]) == 1
    assert "e1.txt is stale" in capsys.readouterr().err
