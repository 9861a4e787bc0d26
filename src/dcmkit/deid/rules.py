"""Files of rules: TOML that changes what a profile does (`docs/anonymize-rules.toml` shows all of it).

    [tags]                            one attribute, by keyword or tag, wherever it is
    InstitutionName = "keep"
    "0008,1010" = { replace = "CT" }
    [modules]                         all attributes of a module of PS3.3
    patient-study = "keep"
    [vr]                              all attributes of a VR
    PN = "dummy"
    [private."MAKER 1.0"]             private attributes of a creator, by the last two digits of the tag
    10 = "keep"
    all = "remove"
    [descriptors]                     what the Clean Descriptors Option keeps and removes beside its vocabulary
    words = ["dixonplus"]
    names_file = "staff.txt"
    [[pixels]]                        regions to blank, by what the object is
    modality = "US"
    boxes = [[0, 0, 1024, 60]]
    [quarantine]                      what is let through or held
    pass = ["angiography"]

The rules of a file go before those of the profile; of these, tags go before modules, and modules before VRs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any, NamedTuple

from dcmkit import toml
from dcmkit.dataset.dictionary import keywords, parse_tag, vr_of
from dcmkit.deid.descriptors import Descriptors
from dcmkit.deid.profile import Rule
from dcmkit.deid.suspicion import KINDS, Facts, Overrides
from dcmkit.errors import UsageError
from dcmkit.uids import is_uid, resolve

_MODULES_PATH = os.path.join(os.path.dirname(__file__), "modules.txt")

ACTIONS: Mapping[str, str] = {
    "keep": "K", "remove": "X", "empty": "Z", "dummy": "D", "uid": "U", "shift": "CD", "clean": "CT", "replace": "R",
}  # fmt: skip
"""The words of a file of rules, and the codes of `profile.Rule`."""

_TEXT_VRS = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})
_FITTING: Mapping[str, frozenset[str]] = {
    "uid": frozenset({"UI"}),
    "shift": frozenset({"DA", "DT", "TM"}),
    "clean": _TEXT_VRS | {"SQ"},
}
"""The VRs of which an action makes something; those that are not named fit all."""
_ANY_LINE, _ANY_TEXT = r"[ -~]*", r"[ -~\t\r\n\f]*"
_VALUES: Mapping[str, tuple[str, int]] = {
    "AE": (r"[ -\[\]-~]*", 16), "AS": (r"[0-9]{3}[DWMY]", 4), "CS": (r"[A-Z0-9 _]*", 16), "DA": (r"[0-9]{8}", 8),
    "DS": (r"[-+0-9.eE ]+", 16), "DT": (r"[0-9]{4,14}(?:\.[0-9]{1,6})?(?:[-+][0-9]{4})?", 26), "IS": (r"[-+0-9 ]+", 12),
    "LO": (_ANY_LINE, 64), "LT": (_ANY_TEXT, 10240), "PN": (_ANY_LINE, 64), "SH": (_ANY_LINE, 16),
    "ST": (_ANY_TEXT, 1024), "TM": (r"[0-9]{2,6}(?:\.[0-9]{1,6})?", 14), "UC": (_ANY_LINE, 1 << 16),
    "UR": (_ANY_LINE, 1 << 16), "UT": (_ANY_TEXT, 1 << 16),
}  # fmt: skip
"""What a replacement may be (PS3.5 6.2), within ASCII, which every character set has."""
_WHOLE = frozenset({"LT", "ST", "UT", "UR"})
"""VRs in which a backslash is a character."""
_VR_ACTIONS: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(("AE", "AS", "DA", "DT", "TM", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"), frozenset(ACTIONS)),
    "UI": frozenset({"keep", "uid"}),
    "UN": frozenset({"keep", "remove", "empty"}),
}
"""By VR, only what leaves an image an image."""
_PRIVATE_ACTIONS = frozenset(ACTIONS) - {"replace"}

_NEVER = frozenset({0x00080005, 0x00080016})
_IDENTIFIERS = frozenset({0x00080018, 0x0020000D, 0x0020000E})
_OURS = frozenset({0x00120062, 0x00120063, 0x00120064, 0x00280303})
_IMAGE = frozenset({
    0x00280002, 0x00280004, 0x00280006, 0x00280008, 0x00280010, 0x00280011, 0x00280100, 0x00280101, 0x00280102,
    0x00280103,
})  # fmt: skip
_UNTOUCHED = _NEVER | _IDENTIFIERS | _OURS
"""What rules of modules leave as it would be without them."""
_PIXEL_GROUP = 0x7FE0
_FOREIGN_GROUPS = frozenset({0x0000, 0x0002, 0x0004, 0xFFFC, 0xFFFE})
_REPEATING = re.compile(r"\(?([56]0)[xX]{2},?([0-9A-Fa-f]{4})\)?")
_MODALITY = re.compile(r"[A-Z][A-Z0-9]{1,15}")

_TABLES = ("tags", "modules", "vr", "private", "descriptors", "pixels", "quarantine")
_DESCRIPTOR_LISTS = ("words", "names", "patterns", "keep")
_DESCRIPTOR_KEYS = (*_DESCRIPTOR_LISTS, *(f"{name}_file" for name in _DESCRIPTOR_LISTS))
_TEXT_CONDITIONS = ("modality", "manufacturer", "model", "image_type")
_NUMBER_CONDITIONS = ("rows", "columns")
_PIXEL_KEYS = (*_TEXT_CONDITIONS, "sop_class", *_NUMBER_CONDITIONS, "boxes")
_QUARANTINE_KEYS = ("pass", "hold", "believe_no")
_LARGEST = 65535


class Box(NamedTuple):
    """A region of a frame: column and row of its first pixel, counted from 0; columns and rows."""

    x: int
    y: int
    width: int
    height: int


class Blanking(NamedTuple):
    """Regions to blank in objects of which all conditions are true; a condition that is empty always is.

    Attributes:
        texts: by the name of a fact, patterns with `*` and `?`, in small letters.
    """

    boxes: tuple[Box, ...]
    texts: tuple[tuple[str, tuple[str, ...]], ...] = ()
    sop_classes: frozenset[str] = frozenset()
    rows: frozenset[int] = frozenset()
    columns: frozenset[int] = frozenset()

    def matches(self, facts: Facts) -> bool:
        """Whether an object is meant."""
        if self.sop_classes and facts.sop_class_uid not in self.sop_classes:
            return False
        if (self.rows and facts.rows not in self.rows) or (self.columns and facts.columns not in self.columns):
            return False
        for name, patterns in self.texts:
            value = str(getattr(facts, name)).strip().lower()
            if not any(fnmatchcase(value, pattern) for pattern in patterns):
                return False
        return True


class Rules(NamedTuple):
    """What a file says. It can be pickled.

    Attributes:
        private: by creator, then by the low byte of the element number; None stands for all others.
    """

    tags: Mapping[int, Rule] = {}
    vrs: Mapping[str, Rule] = {}
    private: Mapping[str, Mapping[int | None, Rule]] = {}
    descriptors: Descriptors = Descriptors()
    blankings: tuple[Blanking, ...] = ()
    quarantine: Overrides = Overrides()

    def boxes_for(self, facts: Facts) -> list[Box]:
        """The regions of an object's frames that are to be blanked."""
        if not facts.pixels:
            return []
        return list(dict.fromkeys(box for one in self.blankings if one.matches(facts) for box in one.boxes))


def read(path: str) -> Rules:
    """The rules of a file.

    Raises:
        UsageError: it cannot be read, or something in it is not as it must be; file, table and key are named.
    """
    content = toml.read(path, "file of rules")
    reader = _Reader(path)
    reader.only(content, _TABLES, "", what="table")
    vrs = {vr: reader.of_vr(vr, action) for vr, action in reader.table(content, "vr").items()}
    tags = reader.modules(reader.table(content, "modules"))
    for key, action in reader.table(content, "tags").items():
        tags.update(reader.of_tag(key, action))
    return Rules(
        tags,
        vrs,
        reader.private(reader.table(content, "private")),
        reader.descriptors(reader.table(content, "descriptors")),
        reader.pixels(content.get("pixels", [])),
        reader.quarantine(reader.table(content, "quarantine")),
    )


@lru_cache(maxsize=1)
def modules() -> Mapping[str, tuple[tuple[int, str], ...]]:
    """Modules by name: tag and type (PS3.5 7.4; "" is optional or conditional) of the attributes at their top level."""
    found = {}
    with open(_MODULES_PATH, encoding="ascii") as file:
        for line in file:
            name, *entries = line.split()
            found[name] = tuple((int(entry[:8], 16), entry[9:]) for entry in entries)
    return found


class _Reader:
    """Reads one file. Names of people may stand in it: errors tell keys and positions, and of values only words of
    ours."""

    def __init__(self, path: str) -> None:
        self._path, self._name = path, os.path.basename(path)

    # --- form ----------------------------------------------------------------------------------------------------

    def error(self, heading: str, key: str, what: str, allowed: Iterable[str] = (), hint: str = "") -> UsageError:
        place = " ".join(part for part in (heading if heading[:1] in ("", "[") else f"[{heading}]", key) if part)
        return UsageError(
            f"{self._path}, {place}: {what}" if place else f"{self._path}: {what}",
            hint=hint or f"there are: {', '.join(allowed)}",
        )

    def table(self, content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
        found = content.get(name, {})
        if not isinstance(found, dict):
            raise self.error("", name, "is not a table", hint=f"begin it with a line [{name}]")
        return found

    def only(self, found: Iterable[str], known: Iterable[str], heading: str, *, what: str = "key") -> None:
        for key in found:
            if key not in known:
                raise self.error(heading, key, f"no such {what}{toml.suggestion(key, known)}", known)

    def texts(self, value: Any, heading: str, key: str) -> tuple[str, ...]:
        found = [value] if isinstance(value, str) else value
        if not isinstance(found, list) or not all(isinstance(one, str) and one for one in found):
            raise self.error(heading, key, "is neither a text nor a list of texts", hint='for example ["a", "b"]')
        return tuple(found)

    def numbers(self, value: Any, heading: str, key: str) -> frozenset[int]:
        found = value if isinstance(value, list) else [value]
        if not all(_is_whole(one, 1) for one in found):
            raise self.error(heading, key, "is neither a whole number nor a list of them", hint="for example 1024")
        return frozenset(found)

    # --- actions -------------------------------------------------------------------------------------------------

    def action(self, value: Any, heading: str, key: str, allowed: Iterable[str]) -> tuple[str, str]:
        """The word of an action, and the text to replace by."""
        choice = [word for word in ACTIONS if word in set(allowed)]
        shown = ['{ replace = "TEXT" }' if word == "replace" else word for word in choice]
        if isinstance(value, dict) and value.keys() == {"replace"} and isinstance(value["replace"], str):
            word, text = "replace", value["replace"]
        else:
            word, text = (value, "") if isinstance(value, str) and value != "replace" else ("", "")
        if word not in ACTIONS:
            raise self.error(heading, key, "is not an action", shown)
        if word not in choice:
            raise self.error(heading, key, f"{word} is not possible here", shown)
        return word, text

    def rule(self, word: str, text: str, heading: str, key: str) -> Rule:
        return Rule(ACTIONS[word], f"{self._name}: [{heading}] {key}", text)

    def of_tag(self, key: str, value: Any) -> dict[int, Rule]:
        """The rule of a key of [tags], for each tag it stands for."""
        tags = _tags_of(key)
        if not tags:
            similar = toml.suggestion(key, keywords())
            hint = "write a keyword of PS3.6, or a tag as in 0008,0080"
            raise self.error("tags", key, f"no such attribute{similar}", hint=hint)
        found = {}
        for tag in tags:
            self._changeable(tag, key)
            word, text = self.action(value, "tags", key, _possible(tag))
            if word == "replace":
                self._replacement(vr_of(tag), text, "tags", key)
            if tag not in _NEVER:
                found[tag] = self.rule(word, text, "tags", key)
        return found

    def _changeable(self, tag: int, key: str) -> None:
        group = tag >> 16
        if group & 1:
            hint = 'name its creator: [private."CREATOR"]'
            raise self.error("tags", key, "private attributes mean what their creator says", hint=hint)
        if group in _FOREIGN_GROUPS or not tag & 0xFFFF:
            raise self.error(
                "tags", key, "is not part of what is written", hint="leave it out: it is made anew, or goes"
            )
        if tag in _OURS:
            raise self.error("tags", key, "tells how the object was de-identified", hint="leave it out: it is written")

    def _replacement(self, vr: str, text: str, heading: str, key: str) -> None:
        form, longest = _VALUES[vr]
        values = [text] if vr in _WHOLE else text.split("\\")
        if not text or not all(re.fullmatch(form, value) and len(value) <= longest for value in values):
            hint = f"up to {longest} characters of ASCII, in the form PS3.5 6.2 has for {vr}"
            raise self.error(heading, key, f"the replacement is no value of VR {vr}", hint=hint)

    def of_vr(self, vr: str, value: Any) -> Rule:
        """The rule of a key of [vr]."""
        if vr not in _VR_ACTIONS:
            raise self.error(
                "vr", vr, f"no VR that rules can be made for{toml.suggestion(vr, _VR_ACTIONS)}", _VR_ACTIONS
            )
        possible = [word for word in _VR_ACTIONS[vr] if vr in _FITTING.get(word, (vr,))]
        word, text = self.action(value, "vr", vr, possible)
        if word == "replace":
            self._replacement(vr, text, "vr", vr)
        return self.rule(word, text, "vr", vr)

    def modules(self, table: Mapping[str, Any]) -> dict[int, Rule]:
        """The rules of [modules]. What a module always requires is never removed, but emptied or replaced."""
        found: dict[int, Rule] = {}
        for key, value in table.items():
            name = "-".join(key.lower().split())
            if name not in modules():
                raise self.error("modules", key, f"no such module{toml.suggestion(name, modules())}", modules())
            word, _ = self.action(value, "modules", key, ("keep", "remove", "empty", "dummy", "clean", "shift"))
            for tag, kind in modules()[name]:
                if tag not in _UNTOUCHED and word in _possible(tag):
                    found[tag] = self.rule(_milder(word, kind), "", "modules", key)
        return found

    def private(self, table: Mapping[str, Any]) -> dict[str, dict[int | None, Rule]]:
        """The rules of [private."CREATOR"]."""
        found: dict[str, dict[int | None, Rule]] = {}
        for creator, entries in table.items():
            heading = f'private."{creator}"'
            if not isinstance(entries, dict):
                raise self.error("private", creator, "is not a table", hint=f"begin it with a line [{heading}]")
            found[creator.strip()] = rules = {}
            for key, value in entries.items():
                if key != "all" and not re.fullmatch("[0-9A-Fa-f]{2}", key):
                    hint = "the last two digits of the tag, as in 10 = for (0019,xx10), or all ="
                    raise self.error(heading, key, "is not an element", hint=hint)
                word, text = self.action(value, heading, key, _PRIVATE_ACTIONS)
                rules[None if key == "all" else int(key, 16)] = self.rule(word, text, heading, key)
        return found

    # --- descriptors ---------------------------------------------------------------------------------------------

    def descriptors(self, table: Mapping[str, Any]) -> Descriptors:
        """What [descriptors] says."""
        self.only(table, _DESCRIPTOR_KEYS, "descriptors")
        lists: dict[str, tuple[str, ...]] = {}
        for name in _DESCRIPTOR_LISTS:
            entries = self.texts(table.get(name, []), "descriptors", name)
            for path in self.texts(table.get(f"{name}_file", []), "descriptors", f"{name}_file"):
                entries += self._lines(path, f"{name}_file")
            lists[name] = entries
        for name in ("patterns", "keep"):
            for number, pattern in enumerate(lists[name], 1):
                self._expression(pattern, name, number)
        return Descriptors(lists["words"], lists["names"], lists["patterns"], lists["keep"])

    def _lines(self, path: str, key: str) -> tuple[str, ...]:
        """One entry a line; `#` begins a comment line. Relative paths begin where the file of rules is."""
        path = os.path.join(os.path.dirname(self._path), path)
        try:
            with open(path, encoding="utf-8-sig") as file:
                lines = [line.strip() for line in file]
        except OSError as error:
            why = f"{path} cannot be read: {error.strerror}"
            raise self.error("descriptors", key, why, hint="give a path from where the file of rules is") from None
        except UnicodeDecodeError:
            raise self.error("descriptors", key, f"{path} is not UTF-8", hint="save it as UTF-8 text") from None
        return tuple(line for line in lines if line and not line.startswith("#"))

    def _expression(self, pattern: str, key: str, number: int) -> None:
        try:
            matches_nothing = re.compile(pattern, re.IGNORECASE).search("") is not None
        except (re.error, OverflowError, RecursionError) as error:
            why = getattr(error, "msg", "too large")
            hint = "see the syntax of Python's re module; TOML wants '...' around backslashes"
            raise self.error("descriptors", key, f"entry {number} is no regular expression: {why}", hint=hint) from None
        if matches_nothing:
            hint = "say + in place of *, or leave out what may be missing"
            raise self.error("descriptors", key, f"entry {number} matches an empty text", hint=hint)

    # --- pixels and quarantine -----------------------------------------------------------------------------------

    def pixels(self, tables: Any) -> tuple[Blanking, ...]:
        """What [[pixels]] say."""
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            raise self.error("", "pixels", "is not a list of tables", hint="begin each with a line [[pixels]]")
        return tuple(self._blanking(table, f"[[pixels]] {number}") for number, table in enumerate(tables, 1))

    def _blanking(self, table: Mapping[str, Any], heading: str) -> Blanking:
        self.only(table, _PIXEL_KEYS, heading)
        if len(table) < 2 or "boxes" not in table:
            hint = f"boxes, and at least one of: {', '.join(_PIXEL_KEYS[:-1])}; --blank is for all images"
            raise self.error(heading, "", "lacks boxes or a condition", hint=hint)
        texts = [
            (name, tuple(text.lower() for text in self.texts(table[name], heading, name)))
            for name in _TEXT_CONDITIONS if name in table
        ]  # fmt: skip
        classes = [self._sop_class(text, heading, "sop_class")
                   for text in self.texts(table.get("sop_class", []), heading, "sop_class")]  # fmt: skip
        rows, columns = (self.numbers(table.get(name, []), heading, name) for name in _NUMBER_CONDITIONS)
        return Blanking(self._boxes(table["boxes"], heading), tuple(texts), frozenset(classes), rows, columns)

    def _boxes(self, value: Any, heading: str) -> tuple[Box, ...]:
        found = value if isinstance(value, list) else []
        for box in found:
            sized = isinstance(box, list) and len(box) == 4 and all(_is_whole(number, 0) for number in box)
            if not sized or not box[2] or not box[3]:
                found = []
                break
        if not found:
            hint = "[[X, Y, WIDTH, HEIGHT], ...] in pixels from the upper left corner"
            raise self.error(heading, "boxes", "is not a list of boxes", hint=hint)
        return tuple(Box(*box) for box in found)

    def _sop_class(self, text: str, heading: str, key: str) -> str:
        try:
            return resolve(text)
        except UsageError as error:
            raise self.error(heading, key, error.message, hint=error.hint) from None

    def quarantine(self, table: Mapping[str, Any]) -> Overrides:
        """What [quarantine] says."""
        self.only(table, _QUARANTINE_KEYS, "quarantine")
        believe = table.get("believe_no", False)
        if not isinstance(believe, bool):
            raise self.error("quarantine", "believe_no", "is neither true nor false", hint="write true or false")
        passing, held = (
            frozenset(self._kind(text, key) for text in self.texts(table.get(key, []), "quarantine", key))
            for key in ("pass", "hold")
        )
        return Overrides(passing, held, believe)

    def _kind(self, text: str, key: str) -> str:
        """A kind of object that is suspected, a SOP Class UID or a modality."""
        text = text.strip()
        if text.lower() in KINDS:
            return text.lower()
        if _MODALITY.fullmatch(text):
            return text
        try:
            return text if is_uid(text) else resolve(text)
        except UsageError:
            what = f"{text!r} is no kind of object, SOP class or modality{toml.suggestion(text.lower(), KINDS)}"
            hint = f"kinds: {', '.join(KINDS)}; SOP classes by UID or keyword; modalities in capitals"
            raise self.error("quarantine", key, what, hint=hint) from None


def _is_whole(value: Any, smallest: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and smallest <= value <= _LARGEST


def _tags_of(key: str) -> list[int]:
    """The tags that a key means: of repeating groups all, if they are not numbered."""
    match = _REPEATING.fullmatch(key.strip())
    if match is not None:
        return _repeated(int(match[1] + "00" + match[2], 16))
    tag = parse_tag(key)
    if tag is None:
        return []
    named = key.strip().isalnum() and not key.strip()[0].isdigit()
    return _repeated(tag) if named and tag >> 24 in (0x50, 0x60) else [tag]


def _repeated(tag: int) -> list[int]:
    return [tag + (group << 16) for group in range(0, 0x20, 2)]


def _possible(tag: int) -> list[str]:
    """The actions that an attribute can bear."""
    if tag in _NEVER or tag in _IMAGE or tag >> 16 == _PIXEL_GROUP:
        return ["keep"]
    if tag in _IDENTIFIERS:
        return ["keep", "uid"]
    vr = vr_of(tag)
    return [word for word in ACTIONS if vr in _FITTING.get(word, (vr,)) and (word != "replace" or vr in _VALUES)]


def _milder(word: str, kind: str) -> str:
    """What becomes of an attribute of type 1 or 2, in place of what would make the object invalid."""
    if kind == "1" and word in ("remove", "empty"):
        return "dummy"
    return "empty" if kind in ("2", "2C") and word == "remove" else word
