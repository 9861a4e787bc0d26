"""The tables of PS3.15 Annex E as the scorer knows them; see make_facts.py."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parents[1] / "facts"
METHODS = {
    "basic": "113100",
    "clean-pixel-data": "113101",
    "clean-recognizable-visual-features": "113102",
    "clean-graphics": "113103",
    "clean-structured-content": "113104",
    "clean-descriptors": "113105",
    "retain-full-dates": "113106",
    "retain-modified-dates": "113107",
    "retain-patient-characteristics": "113108",
    "retain-device-identity": "113109",
    "retain-uids": "113110",
    "retain-safe-private": "113111",
    "retain-institution-identity": "113112",
}
"""PS3.16 CID 7050."""


class Rule(NamedTuple):
    """A row of a table: what the Basic Profile does, and what each option does instead."""

    tag: str
    vr: str
    basic: str
    options: dict[str, str]


def _lines(name: str) -> list[list[str]]:
    return [line.split("\t") for line in (HERE / f"{name}.tsv").read_text(encoding="utf-8").splitlines()]


def tag_text(tag: int) -> str:
    """`gggg,eeee`."""
    return f"{tag >> 16:04X},{tag & 0xFFFF:04X}"


def _options(text: str) -> dict[str, str]:
    return dict(word.split("=") for word in text.split())


@functools.cache
def rows() -> list[Rule]:
    """All 657 rows of Table E.1-1."""
    return [Rule(tag, vr, basic, _options(options)) for tag, vr, basic, options in _lines("e1")]


@functools.cache
def attributes() -> dict[int, Rule]:
    """The rows for one tag each."""
    return {
        int(rule.tag.replace(",", ""), 16): rule for rule in rows() if "x" not in rule.tag and rule.tag != "private"
    }


@functools.cache
def _repeating() -> dict[str, Rule]:
    return {rule.tag: rule for rule in rows() if "x" in rule.tag}


def rule_of(tag: int) -> Rule | None:
    """The row for a standard tag, repeating groups as well."""
    group = tag >> 16
    if group & 0xFF01 == 0x5000 and tag & 0xFFFF:
        return _repeating()["50xx,xxxx"]
    if group & 0xFF01 == 0x6000:
        return _repeating().get(f"60xx,{tag & 0xFFFF:04X}")
    return attributes().get(tag)


@functools.cache
def safe_private() -> dict[tuple[str, int, int], str]:
    """Table E.3.10-1: VR by creator, group and low byte of the element."""
    return {(creator, int(group, 16), int(low, 16)): vr for creator, group, low, vr in _lines("safe_private")}


@functools.cache
def structured() -> dict[tuple[str, str, str], Rule]:
    """Table E.3.4-1 by coding scheme, code value and value type."""
    return {
        (scheme, code, value_type): Rule(code, value_type, basic, _options(options))
        for scheme, code, value_type, basic, options in _lines("structured")
    }


@functools.cache
def _types() -> dict[str, dict[tuple[int, int], str]]:
    from pydicom.datadict import tag_for_keyword

    (first,), *rest = _lines("types")
    classes = [f"1.2.840.10008.{suffix}" for suffix in first.split()]
    found: dict[str, dict[tuple[int, int], str]] = {uid: {} for uid in classes}
    for tag, parent, kind, places in rest:
        if "x" in tag:
            continue
        key = int(tag.replace(",", ""), 16), (tag_for_keyword(parent) or -1) if parent else 0
        for part in places.split():
            begin, _, end = part.partition("-")
            for place in range(int(begin), int(end or begin) + 1):
                found[classes[place]][key] = kind
    return found


def type_of(sop_class_uid: str, parent: int, tag: int) -> str:
    """1, 1C, 2, 2C or 3: the attribute's type in that IOD, in items of `parent` (0: at the top); 3 where unknown."""
    return _types().get(sop_class_uid, {}).get((tag, parent), "3")


def knows_class(sop_class_uid: str) -> bool:
    """Whether the types of this SOP class's IOD are known."""
    return sop_class_uid in _types()
