"""The facts of PS3.15 Annex E and, as far as actions depend on them, of PS3.3: what de-identification decides by.

`tools/generate_deid_tables.py` writes the text files and describes their form; each is read when first asked for, in
about a millisecond.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from dcmkit.dataset import dictionary

EDITION = "2026d"
"""The edition of DICOM that Table E.1-1 and Table E.3.10-1 are of."""

COLUMNS = (
    "retain-safe-private",
    "retain-uids",
    "retain-device-identity",
    "retain-institution-identity",
    "retain-patient-characteristics",
    "retain-full-dates",
    "retain-modified-dates",
    "clean-descriptors",
    "clean-structured-content",
    "clean-graphics",
)
"""The option columns of Table E.1-1, by the names of the options, in their order there."""
CONTENT_COLUMNS = COLUMNS[1:8]
"""The option columns of Table E.3.4-1."""
PRIVATE_TAG = 0x00010000
"""Stands for all private attributes, in `Row.tag`."""


class Row(NamedTuple):
    """One row of Table E.1-1.

    Attributes:
        tag: of repeating groups the first, of all private attributes `PRIVATE_TAG`.
        vr: "" where it varies.
        basic: action of the Basic Profile: X, Z, D, U, or a compound such as X/Z/D.
        columns: K or C by the name of the option; those that do not name the attribute are not there.
    """

    tag: int
    vr: str
    basic: str
    columns: Mapping[str, str]


class ContentRow(NamedTuple):
    """One row of Table E.3.4-1, as `Row`."""

    basic: str
    columns: Mapping[str, str]


class Requirement(NamedTuple):
    """Types of an attribute in an IOD, 1, 2 or 3: the strictest, and the strictest that holds without a condition."""

    strictest: int
    unconditional: int


OPTIONAL = Requirement(3, 3)
_REQUIREMENTS = {"1": Requirement(1, 1), "1C": Requirement(1, 3), "2": Requirement(2, 2), "2C": Requirement(2, 3)}


def _lines(name: str) -> list[str]:
    with open(os.path.join(os.path.dirname(__file__), name), encoding="ascii") as file:
        return file.read().splitlines()


@lru_cache(maxsize=64)
def _columns(marks: str, names: tuple[str, ...]) -> Mapping[str, str]:
    return {name: mark for name, mark in zip(names, marks, strict=True) if mark != "."}


@lru_cache(maxsize=1)
def _rows() -> tuple[dict[int, Row], dict[str, Row]]:
    """The rows of Table E.1-1 by tag, and those that stand for several tags by what the table calls these."""
    single, several = {}, {}
    for line in _lines("e1.txt"):
        tag, vr, basic, marks = line.split(" ")
        columns = _columns(marks, COLUMNS)
        try:
            number = int(tag, 16)
        except ValueError:
            number = PRIVATE_TAG if tag == "ggggeeee" else int(tag.replace("x", "0"), 16)
            several[tag] = Row(number, "" if vr == "--" else vr, basic, columns)
        else:
            single[number] = Row(number, vr, basic, columns)
    return single, several


def attributes() -> dict[int, Row]:
    """The rows of Table E.1-1 that are of one attribute each, by tag."""
    return _rows()[0]


def vr_of(tag: int) -> str:
    """The VR of an attribute, of those too that the data dictionary does not know yet; `UN` where nobody does."""
    found = dictionary.vr_of(tag)
    if found == "UN" and tag in attributes():
        return attributes()[tag].vr or found
    return found


def repeating() -> dict[str, Row]:
    """The rows of repeating groups, `x` for the digits that repeat: `50xxxxxx`, `60xx3000`, `60xx4000`."""
    return {tag: row for tag, row in _rows()[1].items() if "x" in tag}


def private() -> Row:
    """The row of all private attributes."""
    return _rows()[1]["ggggeeee"]


@lru_cache(maxsize=1)
def safe_private() -> dict[tuple[str, int, int], str]:
    """Table E.3.10-1: VRs ("" unknown) by private creator, group and low byte of the element."""
    found = {}
    for line in _lines("safe_private.txt"):
        group, element, vr, creator = line.split(" ", 3)
        found[creator, int(group, 16), int(element, 16)] = "" if vr == "--" else vr
    return found


@lru_cache(maxsize=1)
def content_items() -> dict[tuple[str, str, str], ContentRow]:
    """Table E.3.4-1: rows by value type, code value and coding scheme designator of the concept name."""
    found = {}
    for line in _lines("structured.txt"):
        value_type, code, basic, marks, scheme = line.split(" ", 4)
        found[value_type, code, scheme] = ContentRow(basic, _columns(marks, CONTENT_COLUMNS))
    return found


@lru_cache(maxsize=1)
def _modules() -> tuple[list[str], dict[str, str]]:
    """The attributes of each module, and the numbers of the modules of each SOP class."""
    modules, classes = [], {}
    for line in _lines("types.txt"):
        if line.startswith("="):
            _, uids, numbers = line.split("=")
            classes.update(dict.fromkeys(uids.split(), numbers))
        else:
            modules.append(line.partition(" ")[2])
    return modules, classes


@lru_cache(maxsize=32)
def requirements(sop_class_uid: str) -> dict[int, dict[int, Requirement]]:
    """What the IOD of a SOP class requires, by the sequence around (0: none) and tag; type 3 is left out.

    Only of attributes for which it matters. Of several modules it is the strictest. A SOP class that is
    not known requires nothing.
    """
    modules, classes = _modules()
    found: dict[int, dict[int, Requirement]] = {}
    for number in classes.get(sop_class_uid, "").split():
        for entry in modules[int(number)].split(" "):
            path, _, kind = entry.partition(":")
            parent, _, tag = path.rpartition("/")
            within, attribute = found.setdefault(int(parent or "0", 16), {}), int(tag, 16)
            within[attribute] = _stricter(within.get(attribute, OPTIONAL), _REQUIREMENTS[kind])
    return found


def _stricter(first: Requirement, second: Requirement) -> Requirement:
    return Requirement(min(first.strictest, second.strictest), min(first.unconditional, second.unconditional))


def requirement(sop_class_uid: str, parent: int, tag: int) -> Requirement:
    """What the IOD of a SOP class requires of an attribute; `parent` is the sequence directly around, 0 for none."""
    return requirements(sop_class_uid).get(parent, {}).get(tag, OPTIONAL)


def type_of(sop_class_uid: str, parent: int, tag: int) -> int:
    """The type of an attribute, 1, 2 or 3 (of 1C: 1, of 2C: 2, unknown: 3), as `requirement`."""
    return requirement(sop_class_uid, parent, tag).strictest


def is_known(sop_class_uid: str) -> bool:
    """Whether there are types for a SOP class."""
    return sop_class_uid in _modules()[1]
