"""What may become of an element: Table E.1-1 with the options and the IOD's types, read without the tool's help.

Where PS3.15 leaves a choice, more than one outcome is right; `dciodvfy` says whether the choice fits the IOD.
"""

from __future__ import annotations

from typing import NamedTuple

from tests.deid.scoring import facts

ABSENT, EMPTY, DUMMY, KEEP, UID, SHIFT, WALK = "absent", "empty", "dummy", "keep", "uid", "shift", "walk"
CLEANED = frozenset({ABSENT, EMPTY, DUMMY})
"""A cleaned text: something else, or nothing, without a word that was planted."""
ANY = frozenset({ABSENT, EMPTY, DUMMY, KEEP})
STRUCTURED = frozenset({0x0040A730, 0x00400555, 0x00400610, 0x0040B020})
"""Sequences of content items: the clean_struct column of the table."""
DICOMDIR_CLASS = "1.2.840.10008.1.3.10"

_OWN = frozenset({0x00120062, 0x00120063, 0x00120064, 0x00280303})
"""What a de-identifier writes itself; looked at separately."""
_PIXEL_NOTES = frozenset({0x00280301, 0x00280302, 0x00282110, 0x00282112, 0x00282114})
_EITHER = frozenset({0x00080001, 0x04000500, 0x4FFE0001})
"""A retired length, encrypted attributes, MAC parameters: useless once the rest has changed."""

_ETHICS = frozenset({0x00120081, 0x00120082})
"""Name of the committee (D, type 1C) and number of its approval (X): the one may be there only with the other."""


class Expected(NamedTuple):
    """Outcomes that are right, and by which code."""

    outcomes: frozenset[str]
    code: str


def _expected(code: str, *outcomes: str) -> Expected:
    return Expected(frozenset(outcomes), code)


KEPT = _expected("keep", KEEP)
WALKED = _expected("keep", WALK)


def of_standard(tag: int, vr: str, sop_class: str, parent: int, options: frozenset[str]) -> Expected:
    """What is right for a standard attribute in items of `parent` (0: at the top)."""
    group = tag >> 16
    if group in {0, 2} or not tag & 0xFFFF or (group == 4 and sop_class != DICOMDIR_CLASS):
        return _expected("not of a data set", ABSENT)
    if tag in _OWN and not parent:
        return Expected(ANY | {WALK}, "own")
    if (tag in _PIXEL_NOTES and options & {"clean-pixel-data", "clean-recognizable-visual-features"}) or tag in _EITHER:
        return Expected(ANY | {WALK}, "either")
    rule = facts.rule_of(tag)
    if rule is None:
        if group & 0xFF01 == 0x6000:
            return Expected(frozenset({ABSENT, KEEP}), "overlay plane")
        return WALKED if vr == "SQ" else KEPT
    if tag in _ETHICS and not options & rule.options.keys():
        return Expected(frozenset({ABSENT, DUMMY}), rule.basic)
    given = {option: rule.options[option] for option in options if option in rule.options}
    if given:
        return _by_options(tag, vr, given)
    return _by_type(rule.basic, vr, facts.type_of(sop_class, parent, tag))


def _by_options(tag: int, vr: str, given: dict[str, str]) -> Expected:
    if given.get("retain-modified-dates") == "C":
        if vr in {"DA", "DT"}:
            return _expected("C dates", SHIFT)
        return Expected(ANY if vr in {"TM", "SH"} else CLEANED, "C dates")
    if "K" in given.values():
        return WALKED if vr == "SQ" else _expected("K", KEEP)
    if "clean-structured-content" in given and tag in STRUCTURED:
        return _expected("C structure", "structure", ABSENT, EMPTY)
    return Expected(CLEANED, "C")


def _by_type(code: str, vr: str, kind: str) -> Expected:
    """The Basic Profile's code where the IOD says the attribute's type is `kind` (PS3.15 E.1.1, Table E.1-1a)."""
    if code == "U":
        return _expected("U", UID)
    if code == "X":
        also = {"1": {DUMMY}, "2": {EMPTY, DUMMY}}.get(kind[0], set())
        return Expected(frozenset({ABSENT, *also}), "X")
    if code == "Z":
        return Expected(frozenset({DUMMY}) if kind == "1" else frozenset({EMPTY, DUMMY}), "Z")
    if code == "D":
        return _expected("D", DUMMY)
    if code == "Z/D":
        return _expected(code, DUMMY) if kind[0] == "1" else _expected(code, EMPTY, DUMMY)
    if kind == "3":
        return _expected(code, ABSENT)
    if code == "X/Z/U*":
        return _expected(code, WALK) if kind[0] == "1" else _expected(code, WALK, EMPTY)
    if code == "X/Z" or (code == "X/Z/D" and kind[0] == "2"):
        return _expected(code, EMPTY, DUMMY)
    if code in {"X/D", "X/Z/D"}:
        return _expected(code, DUMMY)
    raise AssertionError(f"code {code!r}, VR {vr!r}")


def of_private(creator: str, tag: int, vr: str, options: frozenset[str]) -> Expected:
    """What is right for a private attribute."""
    key = creator, tag >> 16, tag & 0xFF
    if "retain-safe-private" in options and key in facts.safe_private():
        if vr == "UI" and "retain-uids" not in options:
            return _expected("safe", KEEP, UID)
        return _expected("safe", WALK, KEEP) if vr == "SQ" else _expected("safe", KEEP)
    return _expected("private", ABSENT)


VALUE_OF = {
    "TEXT": 0x0040A160,
    "PNAME": 0x0040A123,
    "DATE": 0x0040A121,
    "TIME": 0x0040A122,
    "DATETIME": 0x0040A120,
    "UIDREF": 0x0040A124,
    "CODE": 0x0040A168,
    "NUM": 0x0040A300,
    "IMAGE": 0x00081199,
    "COMPOSITE": 0x00081199,
    "WAVEFORM": 0x00081199,
}
"""Where a content item has its value (PS3.3 C.17.3.2)."""
_TEMPORAL = {"DATE", "TIME", "DATETIME"}
_REFERENCES = {"UIDREF", "IMAGE", "COMPOSITE", "WAVEFORM"}


def of_content_item(scheme: str, code: str, value_type: str, options: frozenset[str]) -> Expected:
    """What is right for a content item's value (Table E.3.4-1); ABSENT is the whole item's end."""
    rule = facts.structured().get((scheme, code, value_type))
    given = {o: rule.options[o] for o in options if rule and o in rule.options}
    if given.get("retain-modified-dates") == "C" and value_type in _TEMPORAL:
        return _expected("C dates", SHIFT) if value_type != "TIME" else Expected(ANY, "C dates")
    if "K" in given.values():
        return _expected("K", KEEP, WALK)
    if given:
        return Expected(CLEANED, "C")
    if value_type in _REFERENCES:
        if rule is not None:
            return _expected(rule.basic, ABSENT, UID, WALK)
        return _expected("references", UID, WALK)
    if rule is not None:
        return Expected({"X": frozenset({ABSENT}), "D": frozenset({DUMMY})}.get(rule.basic, CLEANED), rule.basic)
    if value_type == "TEXT" or value_type == "PNAME":
        return Expected(CLEANED, "unlisted")
    if value_type in _TEMPORAL:
        if "retain-full-dates" in options:
            return Expected(ANY, "unlisted")
        if "retain-modified-dates" in options and value_type != "TIME":
            return _expected("unlisted", ABSENT, EMPTY, DUMMY, SHIFT)
        return Expected(ANY if "retain-modified-dates" in options else CLEANED, "unlisted")
    return _expected("unlisted", KEEP, WALK)
