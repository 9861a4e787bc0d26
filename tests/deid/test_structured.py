"""Content items by Table E.3.4-1: every row, every option; unlisted concepts by their value type."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from dcmkit.deid import tables
from dcmkit.deid.profile import OPTIONS, Plan, Rule, profile_of
from dcmkit.deid.structured import VALUE_OF, item_rules
from tests.deid.scoring import expected, facts

OPTION = "clean-structured-content"
TEXT, NAME, DATE, UID, CODE, NUM, REFERENCE = (
    VALUE_OF[kind] for kind in ("TEXT", "PNAME", "DATE", "UIDREF", "CODE", "NUM", "IMAGE")
)
KINDS = [*VALUE_OF, "CONTAINER", "SCOORD", "SCOORD3D", "TCOORD", "TABLE"]


def plan(*options: str, rules: Any = None) -> Plan:
    return Plan(profile_of((OPTION, *options)), rules)


def clean(kind: str, code: str, scheme: str, *options: str, **more: Any) -> Mapping[int, Rule] | None:
    return item_rules(kind, code, scheme, plan(*options), mode="clean", **more)


def outcomes(rules: Mapping[int, Rule] | None, kind: str) -> set[str]:
    """What the scorer calls it."""
    if rules is None:
        return {expected.ABSENT}
    rule = rules.get(VALUE_OF.get(kind, 0))
    if rule is None:
        return {expected.KEEP, expected.WALK}
    found = {"D": {expected.DUMMY}, "CT": {expected.DUMMY}, "U": {expected.UID}, "CD": {expected.SHIFT, expected.KEEP}}
    return found.get(rule.code, {expected.KEEP, expected.WALK})


@pytest.mark.parametrize("option", [OPTION, *(name for name in OPTIONS if name != OPTION)])
def test_every_row_by_option(option: str):
    """Each concept of the table with each option: the scorer, which has its own facts, accepts it."""
    made = plan(option)
    for (kind, code, scheme), row in tables.content_items().items():
        rules = item_rules(kind, code, scheme, made, mode="clean")
        right = expected.of_content_item(scheme, code, kind, frozenset({OPTION, option}))
        assert outcomes(rules, kind) & right.outcomes, (kind, code, rules, right)
        mark = row.columns.get(option)
        if mark is None and row.basic == "X":
            assert rules is None
        elif mark is not None and kind in VALUE_OF:
            wanted = "K" if mark == "K" else "CD" if option == "retain-modified-dates" else "CT"
            assert rules == {VALUE_OF[kind]: Rule(wanted, option)}


@pytest.mark.parametrize("option", [name for name in OPTIONS if name != "retain-uids"])
@pytest.mark.parametrize("kind", KINDS)
def test_unlisted_concepts(kind: str, option: str):
    right = expected.of_content_item("99NOBODY", "1", kind, frozenset({OPTION, option}))
    assert outcomes(clean(kind, "1", "99NOBODY", option), kind) & right.outcomes


@pytest.mark.parametrize(
    ("kind", "code", "scheme", "options", "rules"),
    [
        # listed
        ("TEXT", "121106", "DCM", (), None),
        ("TEXT", "121106", "DCM", ("clean-descriptors",), {TEXT: Rule("CT", "clean-descriptors")}),
        ("PNAME", "121008", "DCM", (), {NAME: Rule("D", OPTION)}),
        ("DATE", "111060", "DCM", (), {DATE: Rule("D", OPTION)}),
        ("DATE", "111060", "DCM", ("retain-full-dates",), {DATE: Rule("K", "retain-full-dates")}),
        ("DATE", "111060", "DCM", ("retain-modified-dates",), {DATE: Rule("CD", "retain-modified-dates")}),
        ("DATE", "121031", "DCM", ("retain-full-dates",), None),  # a birth date
        ("UIDREF", "110180", "DCM", (), {UID: Rule("U", OPTION)}),
        ("UIDREF", "110180", "DCM", ("retain-uids",), {UID: Rule("K", "retain-uids")}),
        ("UIDREF", "121012", "DCM", ("retain-device-identity",), {UID: Rule("K", "retain-device-identity")}),
        ("IMAGE", "121112", "DCM", (), {REFERENCE: Rule("K", OPTION)}),
        ("WAVEFORM", "121112", "DCM", (), None),
        ("CODE", "121032", "DCM", (), None),
        ("CODE", "121032", "DCM", ("retain-patient-characteristics",),
         {CODE: Rule("K", "retain-patient-characteristics")}),
        ("CONTAINER", "121000", "DCM", (), None),
        ("CONTAINER", "121000", "DCM", ("retain-device-identity",), {}),
        # not listed
        ("TEXT", "1", "99X", (), {TEXT: Rule("CT", OPTION)}),
        ("PNAME", "1", "99X", (), {NAME: Rule("D", OPTION)}),
        ("DATE", "1", "99X", (), None),
        ("DATE", "1", "99X", ("retain-full-dates",), {DATE: Rule("K", "retain-full-dates")}),
        ("DATE", "1", "99X", ("retain-modified-dates",), {DATE: Rule("CD", "retain-modified-dates")}),
        ("UIDREF", "1", "99X", (), {UID: Rule("U", OPTION)}),
        ("UIDREF", "1", "99X", ("retain-uids",), {UID: Rule("K", "retain-uids")}),
        ("COMPOSITE", "1", "99X", (), {REFERENCE: Rule("K", OPTION)}),
        ("NUM", "1", "99X", (), {NUM: Rule("K", OPTION)}),
        ("CONTAINER", "1", "99X", (), {}),
        ("SCOORD", "1", "99X", (), {}),
        ("NONSENSE", "1", "99X", (), {}),
        # a concept by its number, but of another value type or scheme
        ("TEXT", "121106", "99X", (), {TEXT: Rule("CT", OPTION)}),
        ("NUM", "121106", "DCM", (), {NUM: Rule("K", OPTION)}),
        # by what older objects call it
        ("TEXT", "363698007", "SCT", (), {TEXT: Rule("D", OPTION)}),
        ("TEXT", "G-C0E3", "SRT", (), {TEXT: Rule("D", OPTION)}),
        ("TEXT", "G-C0E3", "SNM3", (), {TEXT: Rule("D", OPTION)}),
        ("DATETIME", "15", "NCDR", (), None),
        ("DATETIME", "15", "NCDR [2.0b]", (), None),
    ],
)  # fmt: skip
def test_items(kind: str, code: str, scheme: str, options: tuple[str, ...], rules: Mapping[int, Rule] | None):
    assert clean(kind, code, scheme, *options) == rules


@pytest.mark.parametrize(
    ("kind", "code", "rules"),
    [
        ("TEXT", "121106", {TEXT: Rule("D", OPTION)}),
        ("WAVEFORM", "121112", {REFERENCE: Rule("K", OPTION)}),
        ("UIDREF", "121028", {UID: Rule("U", OPTION)}),
        ("CODE", "121032", {CODE: Rule("D", OPTION)}),
        ("CONTAINER", "121000", {}),
    ],
)
def test_items_that_others_refer_to_by_their_place(kind: str, code: str, rules: Mapping[int, Rule]):
    """They cannot be dropped: positions would shift (PS3.3 C.17.3.2.5)."""
    assert clean(kind, code, "DCM") is None
    assert clean(kind, code, "DCM", droppable=False) == rules


def test_items_without_a_value_type():
    """Acquisition context need not say it: whichever value there is has a rule, and no item is dropped."""
    rules = clean("", "121032", "DCM")
    assert rules is not None
    assert set(rules) == set(VALUE_OF.values())
    assert rules[CODE].code == "D"
    assert rules[TEXT].code == "CT"
    assert rules[NUM].code == "K"
    assert rules[DATE].code == "D"
    assert rules[REFERENCE].code == "K"


@pytest.mark.parametrize("kind", KINDS)
def test_dummies(kind: str):
    """The structure stays; names, dates and UIDs are left to Table E.1-1, which has rows for them."""
    rules = item_rules(kind, "121106", "DCM", plan(), mode="dummy")
    assert rules is not None
    table = plan().table("", 0)
    number = VALUE_OF.get(kind)
    if number is not None and number != REFERENCE:
        assert (rules.get(number) or table[number]).code in ("D", "U")
    assert rules[0x0040A043].code == "D"
    assert not {0x0040A730, 0x0040A040, 0x0040A010, 0x0040A050, 0x0040A504} & rules.keys()


def test_options_for_dates_hold_in_dummies():
    made = Plan(profile_of(["retain-full-dates"]))
    rules = item_rules("DATE", "111060", "DCM", made, mode="dummy")
    assert rules is not None
    assert (rules.get(DATE) or made.table("", 0)[DATE]).code == "K"


@pytest.mark.parametrize("mode", ["clean", "dummy"])
def test_rules_of_a_file_come_last(mode: str):
    rules = SimpleNamespace(tags={TEXT: Rule("K", "rules.toml: tags")}, vrs={}, private={})
    made = plan(rules=rules)
    found = item_rules("TEXT", "1", "99X", made, mode=mode)
    assert found is not None
    assert TEXT not in found
    assert made.table("", 0)[TEXT].code == "K"


def test_rules_for_vrs_come_before_items():
    made = plan(rules=SimpleNamespace(tags={}, vrs={"UT": Rule("X", "rules.toml: vr")}, private={}))
    assert item_rules("TEXT", "1", "99X", made, mode="clean") == {}
    assert item_rules("PNAME", "1", "99X", made, mode="clean") == {NAME: Rule("D", OPTION)}


def test_answers_are_remembered():
    assert clean("TEXT", "1", "99X") is clean("TEXT", "1", "99X")


def test_the_scorer_has_as_many():
    assert len(facts.structured()) == len(tables.content_items()) == 214
