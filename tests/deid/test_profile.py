"""Plans do what Table E.1-1 says: every row, every option, every type."""

from __future__ import annotations

import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcmkit.dataset.dictionary import look_up
from dcmkit.deid import tables
from dcmkit.deid.profile import OPTIONS, Plan, Profile, Rule, parse, profile_of, resolved
from dcmkit.deid.rules import read
from dcmkit.deid.tables import OPTIONAL, Requirement
from dcmkit.errors import UsageError
from tests.deid.scoring import expected, facts

CT, US = (f"1.2.840.10008.5.1.4.1.1.{last}" for last in ("2", "6.1"))
ENHANCED_CT, GSPS, SR, PET = (f"1.2.840.10008.5.1.4.1.1.{last}" for last in ("2.1", "11.1", "88.11", "128"))
SC, RT_PLAN = (f"1.2.840.10008.5.1.4.1.1.{last}" for last in ("7", "481.5"))
DIRECTORY = "1.2.840.10008.1.3.10"
TYPES = {
    "1": Requirement(1, 1),
    "1C": Requirement(1, 3),
    "2": Requirement(2, 2),
    "2C": Requirement(2, 3),
    "3": OPTIONAL,
}


def tag(keyword: str) -> int:
    found = look_up(keyword)
    assert found is not None, keyword
    return found[0]


def plan(*options: str, rules: Any = None) -> Plan:
    return Plan(profile_of(options), rules)


def rules_of(**given: Any) -> Any:
    return SimpleNamespace(**{"tags": {}, "vrs": {}, "private": {}, **given})


# --- profiles --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("basic", ()),
        ("", ()),
        ("basic,retain-uids,clean-descriptors", ("clean-descriptors", "retain-uids")),
        (" Retain-UIDs , retain-uids,", ("retain-uids",)),
        (",".join(reversed([name for name in OPTIONS if name != "retain-full-dates"])), None),
    ],
)
def test_profiles_are_read(text: str, options: tuple[str, ...] | None):
    if options is None:
        options = tuple(name for name in OPTIONS if name != "retain-full-dates")
    assert parse(text) == Profile(options)
    assert parse(str(parse(text))) == parse(text)


def test_unknown_options_are_told():
    with pytest.raises(UsageError, match=r"no such option of the Basic Profile: keep-all \(there are: clean-pixel-da"):
        parse("basic,keep-all")


def test_dates_are_full_or_modified():
    with pytest.raises(UsageError, match="exclude each other"):
        parse("retain-full-dates,retain-modified-dates")


def test_method_codes():
    """CID 7050, in the order of the codes."""
    assert plan().method_codes() == [("113100", "Basic Application Confidentiality Profile")]
    codes = plan("retain-uids", "clean-pixel-data").method_codes()
    assert codes[1:] == [("113101", "Clean Pixel Data Option"), ("113110", "Retain UIDs Option")]
    assert [option.code_value for option in OPTIONS.values()] == [str(number) for number in range(113101, 113113)]
    assert {name: option.code_value for name, option in OPTIONS.items()} | {"basic": "113100"} == facts.METHODS
    assert all(len(option.meaning) <= 64 or "Longitudinal" in option.meaning for option in OPTIONS.values())


def test_columns():
    assert {name for name, option in OPTIONS.items() if option.column} == set(tables.COLUMNS)
    assert set(OPTIONS) - set(tables.COLUMNS) == {"clean-pixel-data", "clean-recognizable-visual-features"}


@pytest.mark.parametrize(
    ("options", "temporal"),
    [((), "REMOVED"), (("retain-full-dates",), "UNMODIFIED"), (("retain-modified-dates",), "MODIFIED")],
)
def test_what_is_said_of_dates(options: tuple[str, ...], temporal: str):
    assert plan(*options).temporal == temporal


def test_faces():
    assert not plan().hides_faces
    assert plan("clean-recognizable-visual-features").hides_faces


# --- the table -------------------------------------------------------------------------------------------------------


ACTIONS = {
    "X": {"1": "D", "1C": "X", "2": "Z", "2C": "X", "3": "X"},
    "Z": {"1": "D", "1C": "D", "2": "Z", "2C": "Z", "3": "Z"},
    "D": dict.fromkeys(TYPES, "D"),
    "U": dict.fromkeys(TYPES, "U"),
    "X/Z": {"1": "D", "1C": "D", "2": "Z", "2C": "Z", "3": "X"},
    "X/D": {"1": "D", "1C": "D", "2": "D", "2C": "D", "3": "X"},
    "Z/D": {"1": "D", "1C": "D", "2": "Z", "2C": "Z", "3": "Z"},
    "X/Z/D": {"1": "D", "1C": "D", "2": "Z", "2C": "Z", "3": "X"},
    "X/Z/U*": {"1": "U", "1C": "U", "2": "U", "2C": "U", "3": "X"},
}


@pytest.mark.parametrize("kind", TYPES)
def test_every_row_by_type(kind: str):
    """657 rows x 5 types: the action that the letters mean, or a UID where a dummy would be one."""
    rows = [*tables.attributes().values(), *tables.repeating().values(), tables.private()]
    assert len(rows) == 657
    for row in rows:
        wanted = ACTIONS[row.basic][kind]
        assert resolved(row, TYPES[kind]) == ("U" if wanted == "D" and row.vr == "UI" else wanted), row


TEXT = {"clean-descriptors", "retain-device-identity", "retain-patient-characteristics"}


@pytest.mark.parametrize("option", OPTIONS)
def test_every_row_by_option(option: str):
    """653 rows x each option: K keeps, C does what the option is for, and without a letter nothing changes."""
    basic, table = plan().table("", 0), plan(option).table("", 0)
    assert table.keys() == basic.keys() == tables.attributes().keys()
    for number, row in tables.attributes().items():
        mark = row.columns.get(option, "")
        if mark == "K":
            assert table[number] == Rule("K", option)
        elif mark == "C" and option == "retain-modified-dates" and row.vr != "OB":
            assert row.vr in ("DA", "DT", "TM") or number == tag("TimezoneOffsetFromUTC")
            assert table[number] == Rule("CD", option)
        elif mark == "C" and option in TEXT and row.vr != "OB":
            assert table[number] == Rule("CT", option)
        elif mark == "C" and option == "clean-structured-content":
            assert table[number] == Rule("CS", option)
        elif mark == "C" and option == "clean-graphics":
            assert table[number] == Rule("CG", option)
        else:
            assert mark == "" or row.vr == "OB"
            assert table[number] == basic[number] == Rule(resolved(row, OPTIONAL), "basic")


OUTCOMES = {
    "X": {expected.ABSENT}, "Z": {expected.EMPTY}, "D": {expected.DUMMY}, "U": {expected.UID, expected.WALK},
    "K": {expected.KEEP, expected.WALK}, "CD": {expected.SHIFT, expected.KEEP}, "CT": {expected.DUMMY, expected.EMPTY},
    "CS": {"structure"}, "CG": {expected.DUMMY, expected.ABSENT},
}  # fmt: skip
"""What the scorer calls what an action leads to."""


@pytest.mark.parametrize("options", ["", *OPTIONS])
def test_the_scorer_accepts_every_row(options: str):
    """It has its own facts. Where an IOD says nothing of the attributes."""
    for number, rule in plan(*options.split()).table("", 0).items():
        check(number, rule, "", 0, frozenset(options.split()))


def test_the_scorer_accepts_every_sop_class():
    """All SOP classes, and all places of which their IODs say something."""
    basic, checked = plan(), 0
    for sop_class, types in facts._types().items():
        if sop_class == DIRECTORY:  # the keys of its records are in no module
            continue
        places = {(parent, number) for number, parent in types if number in tables.attributes()}
        for parent, numbers in tables.requirements(sop_class).items():
            places |= {(parent, number) for number in numbers}
        for parent, number in places:
            check(number, basic.table(sop_class, parent)[number], sop_class, parent, frozenset())
        checked += len(places)
    assert checked > 10_000


def check(number: int, rule: Rule, sop_class: str, parent: int, options: frozenset[str]) -> None:
    vr = tables.attributes()[number].vr
    if number >> 16 not in (0, 2, 4):
        right = expected.of_standard(number, vr, sop_class, parent, options)
        outcomes = OUTCOMES[rule.code] | ({expected.DUMMY} if rule.code == "U" and vr == "UI" else set())
        assert outcomes & right.outcomes, (sop_class, f"{parent:08X}", f"{number:08X}", rule, right)


@given(
    st.sets(st.sampled_from(sorted(OPTIONS))).filter(lambda o: not {"retain-full-dates", "retain-modified-dates"} <= o)
)
def test_options_that_overlap(options: set[str]):
    """Modified dates win, then what keeps, then what cleans; and every rule says which of the options it is."""
    table = plan(*options).table("", 0)
    for number, row in tables.attributes().items():
        marks = {option: row.columns[option] for option in options if option in row.columns}
        code, source, _ = table[number]
        if "retain-modified-dates" in marks and row.vr != "OB":
            assert (code, source) == ("CD", "retain-modified-dates")
        elif "K" in marks.values():
            assert code == "K"
            assert marks[source] == "K"
        elif marks and row.vr != "OB":
            assert code in ("CT", "CS", "CG")
            assert marks[source] == "C"
        else:
            assert source == "basic"


@pytest.mark.parametrize(
    ("sop_class", "parent", "keyword", "code"),
    [
        (CT, "", "PatientName", "Z"),
        (CT, "", "PatientID", "Z"),
        (DIRECTORY, "DirectoryRecordSequence", "PatientID", "D"),
        (CT, "", "StudyDate", "Z"),
        (DIRECTORY, "DirectoryRecordSequence", "StudyDate", "D"),
        (CT, "", "SeriesDate", "X"),
        (PET, "", "SeriesDate", "D"),
        (PET, "", "AcquisitionDate", "Z"),
        (CT, "", "AcquisitionDate", "X"),
        (CT, "", "AcquisitionDateTime", "X"),
        (US, "", "AcquisitionDateTime", "D"),
        (CT, "", "ContentDate", "Z"),
        (ENHANCED_CT, "", "ContentDate", "D"),
        (ENHANCED_CT, "", "DeviceSerialNumber", "D"),
        (CT, "", "DeviceSerialNumber", "X"),
        (CT, "", "OperatorsName", "X"),
        (CT, "", "InstitutionName", "X"),
        (SC, "", "InstitutionName", "X"),
        (CT, "", "ReferencedStudySequence", "X"),
        (CT, "", "SourceImageSequence", "X"),
        (GSPS, "", "ReferencedImageSequence", "X"),
        (GSPS, "ReferencedSeriesSequence", "ReferencedImageSequence", "U"),
        (ENHANCED_CT, "", "ReferencedPerformedProcedureStepSequence", "D"),
        (SR, "", "ReferencedPerformedProcedureStepSequence", "Z"),
        (RT_PLAN, "", "RTPlanDate", "D"),
        (RT_PLAN, "BeamSequence", "TreatmentMachineName", "Z"),
        # the table's conflicts with PS3.3
        (GSPS, "", "PresentationCreationDate", "D"),
        (GSPS, "", "PresentationCreationTime", "D"),
        (CT, "", "PresentationCreationDate", "X"),
        (CT, "", "TimezoneOffsetFromUTC", "X"),
        (CT, "", "ClinicalTrialProtocolEthicsCommitteeName", "D"),
        (SR, "ReferencedRequestSequence", "RequestedProcedureID", "Z"),
        (CT, "RequestAttributesSequence", "RequestedProcedureID", "X"),
        (CT, "DICOMRetrievalSequence", "RetrieveAETitle", "D"),
        ("1.2.3", "", "SeriesDate", "X"),
    ],
)
def test_compound_actions_by_type(sop_class: str, parent: str, keyword: str, code: str):
    assert plan().table(sop_class, tag(parent) if parent else 0)[tag(keyword)] == Rule(code, "basic")


def test_a_dummy_for_a_uid_is_a_uid():
    assert plan().table("", 0)[tag("AnnotationGroupUID")].code == "U"


def test_options_that_keep_are_not_undone_by_types():
    table = plan("retain-full-dates").table(GSPS, 0)
    assert table[tag("PresentationCreationDate")] == Rule("K", "retain-full-dates")
    table = plan("retain-modified-dates", "retain-device-identity").table(PET, 0)
    assert table[tag("SeriesDate")] == table[tag("DateOfLastCalibration")] == Rule("CD", "retain-modified-dates")


def test_bytes_cannot_be_cleaned():
    table = plan("clean-descriptors", "retain-modified-dates").table("", 0)
    assert table[tag("MakerNote")] == Rule("X", "basic")
    assert table[tag("FrameOriginTimestamp")] == Rule("D", "basic")


def test_tables_are_made_once_and_shared():
    made = plan()
    assert made.table(CT, 0) is made.table(CT, 0)
    assert made.table("1.2.3", 0) is made.table("1.2.4", tag("ReferencedSeriesSequence"))


def test_plans_can_be_pickled():
    made = plan("retain-uids", "clean-descriptors")
    made.table(CT, 0)
    copy = pickle.loads(pickle.dumps(made))
    assert copy.profile == made.profile
    assert copy.table(GSPS, 0) == made.table(GSPS, 0)
    assert len(pickle.dumps(made)) < 1000


# --- repeating groups and private attributes -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "covered"),
    [
        (0x50000010, True), (0x501E3000, True), (0x60003000, True), (0x60FE4000, True), (0x60000010, False),
        (0x60003001, False), (0x00100010, False),
    ],
)  # fmt: skip
def test_repeating_groups(number: int, covered: bool):
    assert plan().repeating(number) == (Rule("X", "basic") if covered else None)
    assert plan("clean-graphics").repeating(number) == (Rule("CG", "clean-graphics") if covered else None)


def test_private_attributes_go():
    assert plan().private("SIEMENS MR HEADER", 0x0019, 0x0C) == Rule("X", "basic")
    assert plan("retain-uids").private("SIEMENS MR HEADER", 0x0019, 0x0C) == Rule("X", "basic")


def test_safe_private_attributes_are_kept():
    """But for UIDs, some of which name a series: they go on naming it."""
    made, with_uids = plan("retain-safe-private"), plan("retain-safe-private", "retain-uids")
    for (creator, group, element), vr in tables.safe_private().items():
        assert made.private(creator, group, element) == Rule("U" if vr == "UI" else "K", "retain-safe-private")
        assert with_uids.private(creator, group, element) == Rule("K", "retain-safe-private")
        assert made.private_vr(creator, group << 16 | 0x4200 | element) == vr
    assert made.private("SIEMENS MR HEADER", 0x0019, 0x0B).code == "X"
    assert made.private("siemens mr header", 0x0019, 0x0C).code == "X"
    assert made.private("SIEMENS MR HEADER", 0x0021, 0x0C).code == "X"
    assert made.private_vr("NOBODY", 0x00191001) == ""


# --- with rules from a file ------------------------------------------------------------------------------------------


def test_rules_for_tags_come_last():
    name, height = Rule("K", "rules.toml: tags"), Rule("R", "rules.toml: tags", "1.70")
    rules = rules_of(tags={tag("PatientName"): name, tag("PixelSpacing"): height, 0x60003000: name})
    made = plan("retain-patient-characteristics", rules=rules)
    for sop_class in (CT, GSPS, "1.2.3"):
        table = made.table(sop_class, 0)
        assert table[tag("PatientName")] == name
        assert table[tag("PixelSpacing")] == height
        assert table[tag("PatientID")].code == "Z"
    assert made.repeating(0x60003000) == name
    assert made.repeating(0x60023000) == Rule("X", "basic")


def test_rules_for_vrs_come_before_the_table():
    gone, kept = Rule("X", "rules.toml: vr"), Rule("K", "rules.toml: tags")
    made = plan(rules=rules_of(vrs={"PN": gone}, tags={tag("OperatorsName"): kept}))
    assert made.has_vr_rules
    assert made.vr_rule("PN") == gone
    assert made.vr_rule("LO") is None
    assert made.table(CT, 0)[tag("PatientName")] == gone
    assert made.table(CT, 0)[tag("OperatorsName")] == kept
    assert not plan().has_vr_rules
    assert plan().vr_rule("PN") is None


def test_rules_for_private_attributes():
    """By creator and element, or for all others of a creator; the profile decides about the rest."""
    kept, gone = Rule("K", "rules.toml: private"), Rule("X", "rules.toml: private")
    rules = rules_of(private={"MAKER": {0x10: kept, None: gone}, "SIEMENS MR HEADER": {0x0C: gone}})
    made = plan("retain-safe-private", rules=rules)
    assert made.private("MAKER", 0x0019, 0x10) == kept
    assert made.private("MAKER", 0x0019, 0x11) == gone
    assert made.private("SIEMENS MR HEADER", 0x0019, 0x0C) == gone
    assert made.private("SIEMENS MR HEADER", 0x0019, 0x0D) == Rule("K", "retain-safe-private")
    assert made.private("OTHER", 0x0019, 0x10) == Rule("X", "basic")


def test_which_attributes_a_file_rules():
    made = plan(rules=rules_of(vrs={"PN": Rule("X", "")}, tags={tag("StudyDate"): Rule("K", "")}))
    assert made.is_ruled(tag("StudyDate"))
    assert made.is_ruled(tag("OperatorsName"))
    assert not made.is_ruled(tag("SeriesDate"))
    assert not plan().is_ruled(tag("PatientName"))


def test_a_file_of_rules(tmp_path: Path):
    """As `rules.read` gives it: tags before modules before VRs, and pickled with the plan."""
    path = tmp_path / "rules.toml"
    path.write_text(
        '[tags]\nStudyDate = "keep"\nPatientWeight = { replace = "70" }\n[modules]\npatient-study = "keep"\n'
        '[vr]\nPN = "remove"\nSH = "empty"\n[private."MAKER"]\n10 = "keep"\nall = "remove"\n',
        encoding="utf-8",
    )
    made = plan(rules=read(str(path)))
    for each in (made, pickle.loads(pickle.dumps(made))):
        table = each.table(CT, 0)
        assert table[tag("StudyDate")].code == "K"
        assert table[tag("PatientWeight")][::2] == ("R", "70")
        assert table[tag("PatientSize")].code == "K"
        assert table[tag("PatientName")].code == "X"
        assert each.private("MAKER", 0x0019, 0x10).code == "K"
        assert "rules.toml" in table[tag("StudyDate")].source
