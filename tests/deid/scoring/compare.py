"""An input and its output side by side, element by element."""

from __future__ import annotations

import difflib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from struct import iter_unpack
from typing import NamedTuple

from tests.deid.scoring import expected, facts
from tests.deid.scoring.expected import ABSENT, DUMMY, EMPTY, KEEP, SHIFT, UID, WALK, Expected
from tests.deid.scoring.facts import safe_private, tag_text
from tests.deid.scoring.tokens import tokens
from tests.deid.scoring.tree import DataSet, Element, walk

STANDARD_UIDS = "1.2.840.10008."
_UID = re.compile(r"[0-2](?:\.(?:0|[1-9][0-9]*))+")
_DATE = re.compile(r"(?<![0-9])([0-9]{4})\.?([0-9]{2})\.?([0-9]{2})")
PIXEL_DATA = 0x7FE00010
ADDED = frozenset({0x00120062, 0x00120063, 0x00120064, 0x00280303, 0x00280301, 0x00280302})
STRUCTURE_VRS = frozenset({"CS", "AT", "US", "UL", "SS", "SL", "FL", "FD", "IS", "DS", "OW", "OF", "OL", "OD", "UI"})
"""What a dummy of a sequence may keep: its structure, and numbers."""
BYTES = frozenset({"OB", "OW", "OF", "OD", "OL", "OV", "UN", "US", "UL", "SS", "SL", "FL", "FD", "AT"})
CLEANABLE = frozenset({"LO", "LT", "SH", "ST", "UC", "UT", "SQ"})
CODES = frozenset({0x00080100, 0x00080102, 0x00080103})
CODING_SCHEMES = frozenset({0x00080102, 0x00080103})


class Finding(NamedTuple):
    """One thing that is wrong. Values are shown: what is scored is planted, never a patient's."""

    kind: str
    file: str
    path: str
    detail: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.file} {self.path}: {self.detail}"


class Removed(NamedTuple):
    """A value that must not be found any more; of a cleaned text only the planted words must not."""

    path: str
    vr: str
    value: bytes
    whole: bool


@dataclass
class Mapping:
    """What is to be the same in all files."""

    uids: dict[str, str] = field(default_factory=dict)
    back: dict[str, str] = field(default_factory=dict)
    shifts: dict[str, dict[int, str]] = field(default_factory=lambda: defaultdict(dict))


@dataclass
class Comparison:
    """One file's: what is wrong, what must be gone, what may be there."""

    name: str
    options: frozenset[str]
    sop_class: str
    patient: str
    mapping: Mapping
    findings: list[Finding] = field(default_factory=list)
    removed: list[Removed] = field(default_factory=list)
    kept: list[bytes] = field(default_factory=list)
    shifted: set[str] = field(default_factory=set)
    changed: list[str] = field(default_factory=list)
    planes: int = 0
    checked: int = 0

    def wrong(self, kind: str, path: str, detail: str) -> None:
        """Note a finding."""
        self.findings.append(Finding(kind, self.name, path, detail[:160]))

    # --- data sets -----------------------------------------------------------------------------------------------

    def data_sets(self, before: DataSet, after: DataSet, parent: int = 0, path: str = "") -> None:
        """Compare the elements of a data set or item in a sequence `parent`."""
        if not parent:
            self.planes = _planes(before)
        creators = {
            tag & 0xFFFF0000 | (tag & 0xFF) << 8: e.value.decode("latin-1").strip("\0 ")
            for tag, e in before.elements.items()
            if tag & 0x10000 and 0x10 <= tag & 0xFFFF <= 0xFF
        }
        for tag, element in before.elements.items():
            here = f"{path}.{element.name}" if path else element.name
            if tag & 0x10000:
                right = self._private(tag, element, creators, before)
            else:
                right = expected.of_standard(tag, element.vr, self.sop_class, parent, self.options)
            self.element(element, after.elements.get(tag), right, here)
        for element in before.repeated:
            self._forget(element, f"{path}.{element.name}" if path else element.name, whole=True)
        for tag in after.elements.keys() - before.elements.keys():
            if not (tag in ADDED and not parent):
                self.wrong("added", f"{path}.{tag_text(tag)}" if path else tag_text(tag), "was not in the input")

    def _private(self, tag: int, element: Element, creators: dict[int, str], among: DataSet) -> Expected:
        if 0x10 <= tag & 0xFFFF <= 0xFF:
            block = tag & 0xFFFF0000 | (tag & 0xFF) << 8
            creator = creators[block]
            safe = any(
                t & 0xFFFFFF00 == block and (creator, t >> 16, t & 0xFF) in safe_private() for t in among.elements
            )
            kept = safe and "retain-safe-private" in self.options
            return Expected(frozenset({KEEP if kept else ABSENT}), "private creator")
        return expected.of_private(creators.get(tag & 0xFFFFFF00, ""), tag, element.vr, self.options)

    def element(self, before: Element, after: Element | None, right: Expected, path: str) -> None:
        """Judge what became of one element."""
        self.checked += 1
        if right.outcomes & {WALK, "structure"} and before.items is not None:
            self._sequence(before, after, right, path)
            return
        if KEEP in right.outcomes or WALK in right.outcomes:
            if after is not None:
                self.kept.append(before.value)
        else:
            self._forget(before, path, whole=right.code != "C" and right.code != "unlisted")
        if _outcome(before, after) != "same":
            self.changed.append(path)
        if not self._is_right(before, after, right, path):
            self._complain(before, after, right, path)

    def _complain(self, before: Element, after: Element | None, right: Expected, path: str) -> None:
        became = _outcome(before, after)
        kind = "unchanged" if became == "same" else "kept" if right.outcomes == {KEEP} else "action"
        wanted = "/".join(sorted(right.outcomes))
        shown = after.value[:40] if after is not None else b""
        self.wrong(kind, path, f"{right.code}: {wanted}, is {became}: {before.value[:40]!r} -> {shown!r}")

    def _is_right(self, before: Element, after: Element | None, right: Expected, path: str) -> bool:
        became = _outcome(before, after)
        outcomes = right.outcomes
        if became == ABSENT:
            return ABSENT in outcomes
        assert after is not None
        if outcomes == {ABSENT}:
            return False
        if not before.items if before.items is not None else not before.value.strip(b"\0 "):
            return became == "same" or KEEP not in outcomes
        if before.tag == PIXEL_DATA:
            return _pixels(before.value, after.value, self.planes) or "clean-pixel-data" in self.options
        if became == "same":
            return KEEP in outcomes or WALK in outcomes or self._may_stay(before, right)
        if UID in outcomes and self._uids(before, after, path):
            return True
        if SHIFT in outcomes and self._shifted(before, after, path):
            return True
        if became == EMPTY:
            return EMPTY in outcomes
        return DUMMY in outcomes

    def _may_stay(self, before: Element, right: Expected) -> bool:
        """UIDs of the standard; years, which a shift may leave; texts to be cleaned that hold nothing planted."""
        text = _text(before.value)
        if UID in right.outcomes:
            return all(uid.startswith(STANDARD_UIDS) for uid in text.split("\\"))
        if SHIFT in right.outcomes:
            return not _DATE.search(text) and text.isdigit() and len(text) == 4
        return right.code == "C" and before.vr in CLEANABLE and not tokens(before.value)

    # --- sequences -----------------------------------------------------------------------------------------------

    def _sequence(self, before: Element, after: Element | None, right: Expected, path: str) -> None:
        items = before.items or []
        if after is None or after.items is None:
            self.changed.append(path)
            self._forget(before, path, whole=True)
            if after is not None or ABSENT not in right.outcomes:
                self.wrong("kept", path, f"{right.code}: the sequence is gone")
        elif "structure" in right.outcomes:
            self._content(before, after, path)
        elif not after.items and items and EMPTY in right.outcomes:
            self.changed.append(path)
            self._forget(before, path, whole=True)
        elif len(after.items) != len(items):
            self.wrong("kept", path, f"{right.code}: {len(items)} items are {len(after.items)}")
        else:
            for number, (one, other) in enumerate(zip(items, after.items, strict=True), 1):
                self.data_sets(one, other, before.tag, f"{path}[{number}]")

    def _content(self, before: Element, after: Element, path: str) -> None:
        """Content items: those of the output are some of the input's, in order."""
        ours, theirs = before.items or [], after.items or []
        matcher = difflib.SequenceMatcher(None, [_key(i) for i in ours], [_key(i) for i in theirs], autojunk=False)
        pairs: dict[int, int] = {}
        for start, other, size in matcher.get_matching_blocks():
            pairs.update((start + n, other + n) for n in range(size))
        for number, item in enumerate(ours):
            here = f"{path}[{number + 1}]"
            scheme, code, value_type = _key(item)
            if not value_type:  # a waveform's annotation, or no content item: only what was planted must go
                for below, leaf in _leaves(item, here):
                    self._note_removed(leaf, below, whole=False)
                continue
            right = expected.of_content_item(scheme, code, value_type, self.options)
            if number in pairs:
                self._content_item(item, theirs[pairs[number]], right, before.tag, here)
                continue
            if ABSENT not in right.outcomes:
                self.wrong("kept", here, f"{right.code}: content item {code} {scheme} {value_type} is gone")
            for below, leaf in _leaves(item, here):
                self._note_removed(leaf, below, whole=False)
        if len(pairs) != len(theirs) and len(ours) != len(theirs):
            self.wrong("added", path, "content items that were not in the input")

    def _content_item(self, before: DataSet, after: DataSet, right: Expected, parent: int, path: str) -> None:
        if right.outcomes == {ABSENT}:
            self.wrong("action", path, f"content item {'/'.join(_key(before))}: {right.code}, is still there")
            return
        value = expected.VALUE_OF.get(_key(before)[2])
        rest_before, rest_after = DataSet(dict(before.elements)), DataSet(dict(after.elements))
        if value in before.elements:
            element = rest_before.elements.pop(value)
            mine = rest_after.elements.pop(value, None)
            self.element(element, mine, right, f"{path}.{element.name}")
        self.data_sets(rest_before, rest_after, parent, path)

    # --- values --------------------------------------------------------------------------------------------------

    def _uids(self, before: Element, after: Element, path: str) -> bool:
        old, new = _text(before.value).split("\\"), _text(after.value).split("\\")
        if len(old) != len(new):
            return False
        return all(self.uid(a, b, path) for a, b in zip(old, new, strict=True))

    def uid(self, old: str, new: str, path: str) -> bool:
        """Whether `new` is a right pseudonym for `old`; the same everywhere, and nobody else's."""
        if old.startswith(STANDARD_UIDS) or not old:
            return new == old
        if new == old or len(new) > 64 or not _UID.fullmatch(new):
            return False
        known = self.mapping.uids.setdefault(old, new)
        other = self.mapping.back.setdefault(new, old)
        if known != new:
            self.wrong("reference", path, f"{old} is {new}, elsewhere {known}")
        if other != old:
            self.wrong("reference", path, f"{new} is for {old}, elsewhere for {other}")
        return True

    def _shifted(self, before: Element, after: Element, path: str) -> bool:
        old, new = _text(before.value), _text(after.value)
        dates, moved = _dates(old), _dates(new)
        self.shifted.update(re.sub(r"\D", "", day.isoformat()) for day in moved)
        if not dates:
            return new == "" or bool(moved) or (len(new) <= len(old) and new[:4].isdigit() and old[:4].isdigit())
        if len(dates) != len(moved):
            return False
        for one, other in zip(dates, moved, strict=True):
            self.mapping.shifts[self.patient].setdefault((other - one).days, f"{self.name} {path}")
        return _DATE.sub("", old).strip() == _DATE.sub("", new).strip()

    def _forget(self, element: Element, path: str, *, whole: bool) -> None:
        """Note what of an element must not be found any more."""
        if element.items is None:
            self._note_removed(element, path, whole=whole)
            return
        for number, item in enumerate(element.items, 1):
            for below, leaf in _leaves(item, f"{path}[{number}]"):
                if not whole and leaf.tag in CODES:
                    self.kept.append(leaf.value)  # what is cleaned are texts; a code says what it says
                elif self._may_be_kept(leaf, element.tag):
                    self._note_removed(leaf, below, whole=False)
                elif leaf.vr not in STRUCTURE_VRS and leaf.tag not in CODING_SCHEMES:
                    self._note_removed(leaf, below, whole=whole)
                elif leaf.vr == "UI" and not _text(leaf.value).startswith(STANDARD_UIDS):
                    self._note_removed(leaf, below, whole=whole and "retain-uids" not in self.options)
                else:
                    self._note_removed(leaf, below, whole=False)

    def _may_be_kept(self, leaf: Element, parent: int) -> bool:
        """Whether an option keeps the attribute, wherever it is: a dummy sequence may hold it then."""
        if leaf.tag & 0x10000 or facts.rule_of(leaf.tag) is None:
            return False
        right = expected.of_standard(leaf.tag, leaf.vr, self.sop_class, parent, self.options)
        return right.code == "K" or right.code == "C dates"

    def _note_removed(self, leaf: Element, path: str, *, whole: bool) -> None:
        self.removed.append(Removed(path, leaf.vr, leaf.value, whole))


def _leaves(item: DataSet, path: str) -> Iterator[tuple[str, Element]]:
    return ((below, leaf) for below, leaf in walk(item, path) if leaf.items is None)


def _outcome(before: Element, after: Element | None) -> str:
    if after is None:
        return ABSENT
    if before.items is not None:
        if not after.items:
            return EMPTY if before.items else "same"
        return "same" if before.value == after.value else "changed"
    if before.value == after.value and before.encoded_vr == after.encoded_vr:
        return "same"
    return "changed" if after.value.strip(b"\0 ") or (after.value and after.vr in BYTES) else EMPTY


def _text(value: bytes) -> str:
    return value.decode("latin-1").rstrip("\0 ")


def _key(item: DataSet) -> tuple[str, str, str]:
    concept = next(iter(item.items(0x0040A043)), DataSet())
    code = next((text for tag in (0x00080100, 0x00080119, 0x00080120) if (text := concept.text(tag))), "")
    return concept.text(0x00080102), code, item.text(0x0040A040)


def _dates(text: str) -> list[date]:
    found = []
    for part in _DATE.findall(text):
        try:
            found.append(date(*map(int, part)))
        except ValueError:
            return []
    return found


def _planes(data_set: DataSet) -> int:
    """The bits of native little endian cells of 16 bits in which overlays lie (PS3.5 8.1.2)."""
    bits = [
        data_set.value(tag)[0]
        for tag in range(0x60000102, 0x60200102, 0x20000)
        if data_set.value(tag)[:1].strip(b"\0") and tag & 0xFFFF0000 | 0x3000 not in data_set.elements
    ]
    return sum(1 << bit for bit in bits)


def _pixels(before: bytes, after: bytes, planes: int) -> bool:
    """Equal, but for bytes of comments that became zeros, and bits that were overlays (`planes`: a mask of 16 bits)."""
    if planes:
        cells = zip(iter_unpack("<H", before), iter_unpack("<H", after), strict=False)
        return len(before) == len(after) and all(b & ~planes == a for (b,), (a,) in cells)
    if before == after:
        return True
    if len(before) != len(after):
        return False
    return all(b == a or a == 0 for b, a in zip(before, after, strict=True))


def patient_of(data_set: DataSet) -> str:
    """Whose it is: the patient ID as it is encoded."""
    return data_set.text(0x00100020)


def every(comparisons: Iterable[Comparison]) -> list[Finding]:
    """All findings."""
    return [finding for one in comparisons for finding in one.findings]
