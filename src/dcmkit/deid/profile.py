"""Profiles: the Basic Profile and its options (PS3.15 E.2 and E.3), and the plan that they make of Table E.1-1.

A plan says what becomes of each attribute. Where the table leaves a choice (X/Z, X/D, Z/D, X/Z/D, X/Z/U*), the type of
the attribute in the object's IOD decides, so that what comes out is a valid instance (PS3.15 E.1.1). Where the table
would make an instance invalid, because it removes what PS3.3 always requires, the type decides as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from dcmkit.deid import tables
from dcmkit.deid.tables import OPTIONAL, Requirement, Row
from dcmkit.errors import UsageError

if TYPE_CHECKING:
    from dcmkit.deid.rules import Rules

BASIC = "basic"
BASIC_CODE = ("113100", "Basic Application Confidentiality Profile")
FULL_DATES, MODIFIED_DATES = "retain-full-dates", "retain-modified-dates"
SAFE_PRIVATE, RETAIN_UIDS = "retain-safe-private", "retain-uids"
CLEAN_PIXELS, CLEAN_FACES = "clean-pixel-data", "clean-recognizable-visual-features"


class Option(NamedTuple):
    """An option of the Basic Profile (PS3.15 E.3).

    Attributes:
        code_value, meaning: its code in (0012,0064), of CID 7050; the scheme is DCM.
        column: whether Table E.1-1 has a column for it.
    """

    name: str
    code_value: str
    meaning: str
    column: bool = True


OPTIONS: Mapping[str, Option] = {
    option.name: option
    for option in (
        Option(CLEAN_PIXELS, "113101", "Clean Pixel Data Option", False),
        Option(CLEAN_FACES, "113102", "Clean Recognizable Visual Features Option", False),
        Option("clean-graphics", "113103", "Clean Graphics Option"),
        Option("clean-structured-content", "113104", "Clean Structured Content Option"),
        Option("clean-descriptors", "113105", "Clean Descriptors Option"),
        Option(FULL_DATES, "113106", "Retain Longitudinal Temporal Information Full Dates Option"),
        Option(MODIFIED_DATES, "113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
        Option("retain-patient-characteristics", "113108", "Retain Patient Characteristics Option"),
        Option("retain-device-identity", "113109", "Retain Device Identity Option"),
        Option(RETAIN_UIDS, "113110", "Retain UIDs Option"),
        Option(SAFE_PRIVATE, "113111", "Retain Safe Private Option"),
        Option("retain-institution-identity", "113112", "Retain Institution Identity Option"),
    )
}


class Profile(NamedTuple):
    """The Basic Profile with these options, in the order of their codes."""

    options: tuple[str, ...] = ()

    def __str__(self) -> str:
        return ",".join((BASIC, *self.options))


def profile_of(names: Iterable[str]) -> Profile:
    """The profile with these options; `basic` goes without saying.

    Raises:
        UsageError: there is no such option, or two exclude each other.
    """
    wanted = set(names) - {BASIC}
    unknown = sorted(wanted - OPTIONS.keys())
    if unknown:
        raise UsageError(
            f"no such option of the Basic Profile: {', '.join(unknown)}", hint=f"there are: {', '.join(OPTIONS)}"
        )
    if {FULL_DATES, MODIFIED_DATES} <= wanted:
        raise UsageError(
            f"{FULL_DATES} and {MODIFIED_DATES} exclude each other (PS3.15 E.3.6)", hint="give one of them"
        )
    return Profile(tuple(name for name in OPTIONS if name in wanted))


def parse(text: str) -> Profile:
    """A profile from `basic,OPTION,...`; see `profile_of`."""
    return profile_of(name for name in (part.strip().lower() for part in text.split(",")) if name)


class Rule(NamedTuple):
    """What becomes of an attribute.

    Attributes:
        code: X removed, Z emptied, D replaced by a dummy, U replaced as a UID, K kept, CD date shifted, CT text
            cleaned, CS structured content cleaned, CG graphics cleaned; R replaced by `value`, which only a file of
            rules says. Sequences that are not removed, emptied or replaced are walked into.
        source: by which rule: `basic`, the name of an option, or the place in a file of rules.
    """

    code: str
    source: str
    value: str = ""


_REMOVED = Rule("X", BASIC)
_CLEANED = {"clean-structured-content": "CS", "clean-graphics": "CG", MODIFIED_DATES: "CD"}
"""What C means in a column; in all others, that text is cleaned."""
_DATED_VRS = frozenset({"DA", "TM", "DT", "SH"})
"""VRs that can be modified with the dates; SH is the time zone's, which stays as it is."""
_UNCLEANABLE_VRS = frozenset({"OB", "OW", "UN"})
_BY_TYPE = {
    "Z": "DZZ", "D": "DDD", "U": "UUU",
    "X/Z": "DZX", "X/D": "DDX", "Z/D": "DZZ", "X/Z/D": "DZX", "X/Z/U*": "UUX",
}  # fmt: skip
"""Actions for attributes of type 1, 2 and 3 (PS3.15 E.1.1)."""


def resolved(row: Row, requirement: Requirement) -> str:
    """The action X, Z, D or U that the Basic Profile has for an attribute of this type."""
    removed = row.basic == "X"  # what is always required cannot be: a conflict within the standard
    code = "DZX"[requirement.unconditional - 1] if removed else _BY_TYPE[row.basic][requirement.strictest - 1]
    return "U" if code == "D" and row.vr == "UI" else code


def _cleaning(row: Row, option: str) -> str:
    """What C in the column of an option means for an attribute; "" where its value cannot be cleaned."""
    if option == MODIFIED_DATES and row.vr not in _DATED_VRS:
        return ""
    if row.vr in _UNCLEANABLE_VRS and option not in _CLEANED:
        return ""
    return _CLEANED.get(option, "CT")


def chosen(columns: Mapping[str, str], options: Iterable[str]) -> str:
    """Which of the options decides on a row: dates that are modified are in all of them, else what keeps wins."""
    marked = [option for option in options if option in columns]
    if MODIFIED_DATES in marked:
        return MODIFIED_DATES
    keeping = [option for option in marked if columns[option] == "K"]
    return (keeping or marked or [""])[0]


class Plan:
    """A profile, and a file of rules if there is one, made ready to be asked about attributes. It can be pickled."""

    def __init__(self, profile: Profile, rules: Rules | None = None) -> None:
        self.profile, self.rules = profile, rules
        self._options = frozenset(profile.options)
        self._vr_rules: Mapping[str, Rule] = rules.vrs if rules is not None else {}
        self._tag_rules: Mapping[int, Rule] = rules.tags if rules is not None else {}
        self._private_rules = rules.private if rules is not None else {}
        self._private_rules = rules.private if rules is not None else {}
        self.has_vr_rules = bool(self._vr_rules)
        self._typed: dict[int, Row] = {}
        self._optional = self._of_type_3()
        self._tables: dict[tuple[str, int], Mapping[int, Rule]] = {}
        self._usual: dict[tuple[str, int], dict[int, tuple[str, Rule | None]]] = {}
        self._repeating = {tag: self._rule(row, OPTIONAL) for tag, row in tables.repeating().items()}

    def __reduce__(self) -> tuple[type[Plan], tuple[Profile, Rules | None]]:
        return Plan, (self.profile, self.rules)

    # --- attributes ----------------------------------------------------------------------------------------------

    def table(self, sop_class_uid: str, parent: int) -> Mapping[int, Rule]:
        """The rules for attributes at one place of an object, by tag; those that are not in it stay as they are.

        Args:
            parent: tag of the sequence directly around; 0 at the top level.
        """
        found = self._tables.get((sop_class_uid, parent))
        if found is None:
            required = tables.requirements(sop_class_uid).get(parent)
            if not required:
                return self._optional  # not remembered: a file may have any number of unknown sequences
            found = self._tables[sop_class_uid, parent] = self._of_types(required)
        return found

    def usual(self, sop_class_uid: str, parent: int) -> dict[int, tuple[str, Rule | None]]:
        """VR and rule of attributes at one place about which nothing is special: whoever finds them enters them."""
        return self._usual.setdefault((sop_class_uid, parent), {})

    def _of_type_3(self) -> Mapping[int, Rule]:
        """The rules where an IOD requires nothing."""
        found = {}
        for tag, row in tables.attributes().items():
            found[tag] = rule = self._rule(row, OPTIONAL)
            if rule.source == BASIC:
                self._typed[tag] = row
        for tag, row in tables.attributes().items():
            if row.vr in self._vr_rules:
                found[tag] = self._vr_rules[row.vr]
                self._typed.pop(tag, None)
        for tag, rule in self._tag_rules.items():
            found[tag] = rule
            self._typed.pop(tag, None)
        return found

    def _of_types(self, required: Mapping[int, Requirement]) -> Mapping[int, Rule]:
        changed = {}
        for tag, requirement in required.items():
            row = self._typed.get(tag)
            if row is not None:
                rule = self._rule(row, requirement)
                if rule != self._optional[tag]:
                    changed[tag] = rule
        return {**self._optional, **changed} if changed else self._optional

    def _rule(self, row: Row, requirement: Requirement) -> Rule:
        option = chosen(row.columns, self.profile.options)
        if option:
            code = "K" if row.columns[option] == "K" else _cleaning(row, option)
            if code:
                return Rule(code, option)
        return _BASIC_RULES[resolved(row, requirement)]

    def repeating(self, tag: int) -> Rule | None:
        """The rule for an attribute of a repeating group (50xx, 60xx), if there is one."""
        rule = self._tag_rules.get(tag)
        if rule is not None:
            return rule
        group = tag >> 24
        if group == 0x50:
            return self._repeating["50xxxxxx"]
        return self._repeating.get(f"60xx{tag & 0xFFFF:04X}") if group == 0x60 else None

    def vr_rule(self, vr: str) -> Rule | None:
        """The rule for attributes of a VR that `table` does not name, if a file of rules has one."""
        return self._vr_rules.get(vr)

    def is_ruled(self, tag: int) -> bool:
        """Whether a file of rules says what becomes of an attribute."""
        return tag in self._tag_rules or (self.has_vr_rules and tables.vr_of(tag) in self._vr_rules)

    # --- private attributes --------------------------------------------------------------------------------------

    def private(self, creator: str, group: int, element: int) -> Rule:
        """The rule for a private attribute.

        Args:
            element: the low byte of the element number.
        """
        of_creator = self._private_rules.get(creator)
        if of_creator is not None:
            rule = of_creator.get(element) or of_creator.get(None)
            if rule is not None:
                return rule
        own = self._private_rules.get(creator)
        if own is not None:
            rule = own.get(element) or own.get(None)
            if rule is not None:
                return rule
        if SAFE_PRIVATE not in self._options:
            return _REMOVED
        vr = tables.safe_private().get((creator, group, element))
        if vr is None:
            return _REMOVED
        if vr == "UI" and RETAIN_UIDS not in self._options:
            return _SAFE_UID  # some name a series: C of Table E.1-1, the reference stays good
        return _SAFE

    def private_vr(self, creator: str, tag: int) -> str:
        """The VR that Table E.3.10-1 has for a private attribute; "" for one it does not know."""
        return tables.safe_private().get((creator, tag >> 16, tag & 0xFF), "")

    # --- what is said of it in the object ------------------------------------------------------------------------

    def method_codes(self) -> list[tuple[str, str]]:
        """Code values and meanings for De-identification Method Code Sequence (0012,0064)."""
        return [BASIC_CODE, *((OPTIONS[name].code_value, OPTIONS[name].meaning) for name in self.profile.options)]

    @property
    def temporal(self) -> str:
        """Longitudinal Temporal Information Modified (0028,0303)."""
        if FULL_DATES in self._options:
            return "UNMODIFIED"
        return "MODIFIED" if MODIFIED_DATES in self._options else "REMOVED"

    @property
    def cleans_pixels(self) -> bool:
        """Whether nothing is to be burned into pixels."""
        return CLEAN_PIXELS in self._options

    @property
    def hides_faces(self) -> bool:
        """Whether recognizable visual features are to be cleaned."""
        return CLEAN_FACES in self._options


_SAFE, _SAFE_UID = Rule("K", SAFE_PRIVATE), Rule("U", SAFE_PRIVATE)
_BASIC_RULES = {code: Rule(code, BASIC) for code in "XZDU"}
