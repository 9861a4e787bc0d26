"""Content items of structured reports and alike, by concept name and value type (PS3.15 E.3.4, Table E.3.4-1)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from dcmkit.deid import tables
from dcmkit.deid.profile import BASIC, FULL_DATES, MODIFIED_DATES, RETAIN_UIDS, Plan, Rule, chosen

CLEAN, DUMMY = "clean", "dummy"
OPTION = "clean-structured-content"

_TEXT, _NAME, _DATE, _TIME, _DATETIME, _UID = 0x0040A160, 0x0040A123, 0x0040A121, 0x0040A122, 0x0040A120, 0x0040A124
_CONCEPT_NAME, _CONCEPT_CODE, _MEASURED, _REFERENCE = 0x0040A043, 0x0040A168, 0x0040A300, 0x00081199
VALUE_OF = {
    "TEXT": _TEXT,
    "PNAME": _NAME,
    "DATE": _DATE,
    "TIME": _TIME,
    "DATETIME": _DATETIME,
    "UIDREF": _UID,
    "CODE": _CONCEPT_CODE,
    "NUM": _MEASURED,
    "IMAGE": _REFERENCE,
    "COMPOSITE": _REFERENCE,
    "WAVEFORM": _REFERENCE,
}
"""Where a content item has its value (PS3.3 C.17.3); the other value types name nobody."""
_TEMPORAL = frozenset({"DATE", "TIME", "DATETIME"})
_REFERENCES = frozenset({"UIDREF", "IMAGE", "COMPOSITE", "WAVEFORM"})
_LEGACY = {
    "DD-60002": "116224001",
    "F-02455": "160476009",
    "F-00033": "271921002",
    "G-C0E3": "363698007",
    "R-42B89": "371524004",
    "G-D320": "397898000",
    "DF-0070B": "398164008",
    "G-D321": "398201009",
    "DF-0068E": "398325003",
    "PA-30029": "440252007",
}
"""Codes that old objects have for concepts of SNOMED CT (PS3.16 8.1.1)."""
_LEGACY_SCHEMES = frozenset({"SRT", "SNM3", "99SDM"})
_SCHEMES = {"NCDR": "NCDR [2.0b]"}

_DUMMY = Rule("D", BASIC)
_DUMMIES: Mapping[int, Rule] = {
    **dict.fromkeys((_TEXT, _CONCEPT_NAME, _CONCEPT_CODE, _MEASURED), _DUMMY),
    **dict.fromkeys((0x0040A301, 0x00700022, 0x0040A138, 0x0040A801), _DUMMY),
}
"""What Table E.1-1 does not name of a content item: text, codes and numbers; numeric value qualifiers, graphic data,
referenced time offsets, tables. Names, dates and UIDs it does, by the options; references stay, with other UIDs."""


def item_rules(
    value_type: str, code_value: str, scheme: str, plan: Plan, *, mode: str, droppable: bool = True
) -> Mapping[int, Rule] | None:
    """The rules for the attributes of one content item, before those of the plan's table; None to drop the item.

    Args:
        value_type: "" where the item does not say, as in acquisition context and waveform annotations.
        code_value, scheme: of the concept name.
        mode: `clean`, as Table E.3.4-1 has it; `dummy`: the structure is kept, and every value becomes a dummy.
        droppable: False where others refer to items by their place, which must stay: what would be dropped becomes a
            dummy instead.
    """
    if mode == DUMMY:
        found: Mapping[int, Rule] | None = _DUMMIES
    else:
        found = _cleaned(value_type, *_concept(code_value, scheme), plan.profile.options, droppable)
    if found and plan.rules is not None and any(map(plan.is_ruled, found)):
        return {tag: rule for tag, rule in found.items() if not plan.is_ruled(tag)}
    return found


def _concept(code_value: str, scheme: str) -> tuple[str, str]:
    """Code value and scheme as Table E.3.4-1 has them."""
    if scheme in _LEGACY_SCHEMES:
        return _LEGACY.get(code_value, code_value), "SCT"
    return code_value, _SCHEMES.get(scheme, scheme)


@lru_cache(maxsize=4096)
def _cleaned(
    value_type: str, code_value: str, scheme: str, options: tuple[str, ...], droppable: bool
) -> Mapping[int, Rule] | None:
    if not value_type:
        return _untyped(code_value, scheme, options)
    rule = _decided(value_type, code_value, scheme, options)
    tag = VALUE_OF.get(value_type)
    if rule.code == "X":
        if droppable:
            return None
        rule = _standing_in(value_type, rule.source)
    return {} if tag is None else {tag: rule}


def _untyped(code_value: str, scheme: str, options: tuple[str, ...]) -> Mapping[int, Rule]:
    """The rules for whichever value an item has that does not say its type."""
    found: dict[int, Rule] = {}
    for value_type, tag in VALUE_OF.items():
        rule = _decided(value_type, code_value, scheme, options)
        listed = (value_type, code_value, scheme) in tables.content_items()
        if listed or tag not in found:
            found[tag] = _standing_in(value_type, rule.source) if rule.code == "X" else rule
    return found


def _decided(value_type: str, code_value: str, scheme: str, options: tuple[str, ...]) -> Rule:
    """What becomes of the value; X drops the item."""
    row = tables.content_items().get((value_type, code_value, scheme))
    if row is None:
        return _unlisted(value_type, options)
    option = chosen(row.columns, options)
    if option:
        kept = row.columns[option] == "K"
        return Rule("K" if kept else "CD" if option == MODIFIED_DATES else "CT", option)
    return Rule("X", OPTION) if row.basic == "X" else _standing_in(value_type, OPTION)


def _standing_in(value_type: str, source: str) -> Rule:
    """For values that must be there: a dummy, or a reference with its UIDs replaced."""
    if value_type in _REFERENCES:
        return Rule("U" if value_type == "UIDREF" else "K", source)
    return Rule("D", source)


def _unlisted(value_type: str, options: tuple[str, ...]) -> Rule:
    """Concepts that the table does not name: text is cleaned, people become pseudonyms, codes and numbers stay."""
    if value_type == "TEXT":
        return Rule("CT", OPTION)
    if value_type in _TEMPORAL:
        if FULL_DATES in options:
            return Rule("K", FULL_DATES)
        return Rule("CD", MODIFIED_DATES) if MODIFIED_DATES in options else Rule("X", OPTION)
    if value_type == "UIDREF" and RETAIN_UIDS in options:
        return Rule("K", RETAIN_UIDS)
    if value_type == "PNAME" or value_type in _REFERENCES:
        return _standing_in(value_type, OPTION)
    return Rule("K", OPTION)
