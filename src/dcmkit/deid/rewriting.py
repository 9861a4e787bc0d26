"""The elements of a data set, rewritten by the rules of a plan (PS3.15 E.1.1), without decoding what stays.

What is kept is copied as it is encoded, byte for byte; only what changes is encoded anew, in the encoding of the file.
Sequences are followed to any depth that `raw` allows, those within UN included.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from struct import Struct
from typing import NamedTuple

from dcmkit.dataset.raw import (
    DEPTH_LIMIT,
    ITEM,
    SEQUENCE_END,
    UNDEFINED,
    Encoding,
    RawElement,
    Reader,
    inside,
    walk,
)
from dcmkit.dataset.values import CharacterSet, character_set
from dcmkit.deid import structured
from dcmkit.deid.pieces import Buffer, Writer
from dcmkit.deid.profile import Plan, Rule
from dcmkit.deid.tables import vr_of
from dcmkit.deid.values import Values
from dcmkit.errors import InvalidDataSetError

PLAIN, DUMMY, CLEAN, CONTENT, CONTENT_DUMMY = range(5)
"""What becomes of the attributes of an item that have no rule of their own: kept; dummies; text cleaned; as the content
item they are in says, cleaned or made a dummy."""

_SPECIFIC_CHARACTER_SET = 0x00080005
_CONTENT_SEQUENCE, _CONCEPT_NAME, _VALUE_TYPE = 0x0040A730, 0x0040A043, 0x0040A040
_CODE_VALUE, _CODING_SCHEME, _CODE_MEANING = 0x00080100, 0x00080102, 0x00080104
_REFERENCED_FILES = 0x0004
_FIRST_OF_DATA_SETS, _LAST_OF_DATA_SETS = 0x00080000, 0xFFFBFFFF
"""Commands, file meta information, directories and padding lie beyond; group lengths are not recalculated."""
_PLANE_DATA, _OVERLAY_TYPE, _OVERLAY_BIT_POSITION = 0x3000, 0x0040, 0x0102
_COMMITTEE_NAME, _APPROVAL_NUMBER = 0x00120081, 0x00120082
"""The name of an ethics committee must not be there without its number (PS3.3 C.7.1.3): Table E.1-1 replaces the one
and removes the other, which leaves no valid instance. Both are dummies then."""
_REFERENCED_ITEM = re.compile(rb"\x40\x00\x73\xdb|\x00\x40\xdb\x73")
"""Referenced Content Item Identifier (0040,DB73) names other items by their number: none may be left out then."""
_USUAL_LIMIT, _MEMO_LIMIT, _MEMO_LENGTH = 4096, 4096, 256
_SAME_FOR_ALL = frozenset("ZDUR") | {"CD"}
"""Rules whose outcome depends on the value, the patient and the SOP class alone."""
_PIXEL_ELEMENTS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_TEXT_VRS = frozenset({"LO", "LT", "SH", "ST", "UC", "UT", "PN"})
_REMOVE = Rule("X", "basic")
_DUMMY = Rule("D", "basic")
_UID = Rule("U", "basic")
_CLEAN = Rule("CT", "clean-descriptors")
_CODE = frozenset({0x00080100, 0x00080102, 0x00080103})
_KNOWN_CODE = dict.fromkeys((*_CODE, 0x00080104), Rule("K", "basic"))
_NOT_OF_DATA_SETS = Rule("X", "not part of a data set")
_STRUCTURE = frozenset({
    0x0040A040, 0x0040A010, 0x0040A050, 0x0040DB00, 0x00080105, 0x0040A130, 0x00700002, 0x00700003,
    0x00700004, 0x00700005, 0x00700012, 0x00700015, 0x00700020, 0x00700023, 0x00700024,
})  # fmt: skip
"""Codes that say how an item is built, and name nobody: dummies would make it invalid."""
_NUMBERS_KEPT = frozenset({"US", "SS", "UL", "SL", "AT", "UV", "SV"})
_SCHEMES = frozenset({
    "ACR", "ASTM-sigpurpose", "BARI", "BI", "C4", "C5", "CD2", "CTV3", "DC", "DCM", "DCMUID", "EUCAIM", "FMA",
    "HL7", "HPC", "I10", "I10P", "I9", "I9C", "I9P", "IBSI", "ICDO3", "ISO3166_1", "ISO3166_2", "ISO639_1",
    "ISO639_2", "ITIS_TSN", "IVI", "LB", "LN", "MA", "MAYOASRG", "MDC", "MDNS", "MGI", "MSH", "NCDR", "NCI", "NCIt",
    "NDC", "NEU", "NICIP", "NPSID", "ORPHA", "PATHLEX", "POS", "PUBCHEM_CID", "RADELEMENT", "RADLEX", "RFC3066",
    "RFC4646", "RFC5646", "RO", "RXNORM", "SCPECG", "SCT", "SDM", "SNM3", "SPM", "SRT", "STEDMAN", "TNM", "UBERON",
    "UCUM", "UMLS", "UNII", "UNS", "UPC", "X12DE738", "99SDM", "NCDR [2.0b]",
})  # fmt: skip
"""Coding schemes of the standard (PS3.16 table 8-1) whose codes mean what everybody can look up."""


class Action(NamedTuple):
    """What was done with one attribute.

    Attributes:
        path: tags of the sequences around it and the numbers of their items, from 1.
    """

    path: tuple[int, ...]
    tag: int
    rule: Rule


Removed = tuple[str, bytes, int]
"""VR, value and tag of what must not be found again."""


class Rewriter:
    """Rewrites the data set of one object.

    Args:
        values: makes new values of old ones.
        encoding: of the elements.
        remember: collect what was removed.
        memo: what elements of the top level became in other objects of the same patient, SOP class and encoding.

    Attributes:
        actions, removed: what was done, and with `remember` the values that went.
        charsets: all values of Specific Character Set, in the order they were met.
        embedded: bit positions of overlays within the samples of pixel data that were removed.
    """

    def __init__(
        self, plan: Plan, values: Values, encoding: Encoding, sop_class_uid: str, *, remember: bool = False,
        directory: bool = False, memo: dict[bytes, bytes] | None = None,
    ) -> None:  # fmt: skip
        self._plan, self._values, self._sop_class = plan, values, sop_class_uid
        self._remember, self._directory, self._memo = remember, directory, memo
        self.actions: list[Action] = []
        self.removed: list[Removed] = []
        self.embedded: list[int] = []
        self.charsets: dict[str, None] = {}
        self.encoding = encoding
        self._path: tuple[int, ...] = ()
        self._counted: bool | None = None
        self._committee: tuple[int, ...] | None = None

    # --- a level -----------------------------------------------------------------------------------------------

    def level(
        self,
        data: memoryview,
        elements: Iterable[RawElement],
        encoding: Encoding,
        *,
        parent: int = 0,
        mode: int = PLAIN,
        charset: CharacterSet | None = None,
        rules: Mapping[int, Rule] | None = None,
        additions: Mapping[int, bytes] | None = None,
    ) -> list[Buffer] | None:
        """The elements of one level as they are to be written; None where all of them stay as they lie, one after
        the other.

        Args:
            elements: in the order they come.
            parent: tag of the sequence the level is an item of.
            rules: of this item alone; before those of the plan.
            additions: encoded elements by tag, in place of those that are there.
        """
        charset = charset or character_set(None)
        table = self._plan.table(self._sop_class, parent)
        vr_rules = self._plan.has_vr_rules
        writer = Writer(data, encoding)
        pending = sorted(additions.items()) if additions else []
        group: list[RawElement] = []
        memo = self._memo if parent == 0 and mode == PLAIN and not self._remember else None
        usual = self._plan.usual(self._sop_class, parent) if memo is not None and not self._directory else {}
        for one in elements:
            tag, vr = one.tag, one.vr
            known = usual.get(tag)
            if known is not None and known[0] == vr and not group and not (pending and pending[0][0] <= tag):
                rule = known[1]
                if rule is None:
                    if one.start == writer.to:
                        writer.to = one.end
                    else:
                        writer.keep(one)
                    continue
                if rule.code == "X":
                    self.actions.append(Action((), tag, rule))
                    writer.changed = True
                    continue
                made = memo.get(bytes(data[one.start : one.end])) if memo else None
                if made is not None:
                    self.actions.append(Action((), tag, rule))
                    writer.add(made)
                    continue
            if group and (tag >> 16 != group[0].tag >> 16):
                self._group(writer, group, charset)
                group = []
            while pending and pending[0][0] <= tag:
                writer.add(pending.pop(0)[1])
            if additions and tag in additions:
                self._note(tag, Rule("D", "method"))
                continue
            if tag & 0x10000 or tag >> 24 in (0x50, 0x60):
                group.append(one)
                continue
            if (tag < _FIRST_OF_DATA_SETS or not tag & 0xFFFF or tag > _LAST_OF_DATA_SETS) and not (
                self._directory and tag >> 16 == _REFERENCED_FILES
            ):
                self._gone(data, one, _NOT_OF_DATA_SETS, encoding)
                writer.drop(one)
                continue
            rule = rules.get(tag) if rules else None
            if rule is None:
                rule = table.get(tag)
                if rule is None:
                    rule = self._unlisted(tag, vr, mode, vr_rules)
            if vr == "UN":
                vr = vr_of(tag)
            if rule is None:
                if tag == _SPECIFIC_CHARACTER_SET:
                    terms = _ascii(data, one)
                    charset = character_set(terms)
                    self.charsets[terms] = None
                if vr == "SQ" or (one.length == UNDEFINED and tag not in _PIXEL_ELEMENTS):
                    self._sequence(writer, data, one, encoding, mode, charset)
                else:
                    writer.keep(one)
                    if vr == one.vr and tag != _SPECIFIC_CHARACTER_SET and len(usual) < _USUAL_LIMIT:
                        usual[tag] = vr, None
                continue
            writer.fresh = None
            self._apply(writer, data, one, vr, rule, encoding, parent, mode, charset)
            if memo is not None and vr == one.vr and vr != "SQ" and tag not in (_COMMITTEE_NAME, _APPROVAL_NUMBER):
                if rule.code == "X":
                    usual[tag] = vr, rule
                elif writer.fresh is not None and rule.code in _SAME_FOR_ALL and one.length < _MEMO_LENGTH:
                    usual[tag] = vr, rule
                    if len(memo) < _MEMO_LIMIT:
                        memo[bytes(data[one.start : one.end])] = writer.fresh
        if group:
            self._group(writer, group, charset)
        for _, addition in pending:
            writer.add(addition)
        return writer.finished()

    def _unlisted(self, tag: int, vr: str, mode: int, vr_rules: bool) -> Rule | None:
        """The rule for an attribute that the table does not name."""
        if vr_rules:
            rule = self._plan.vr_rule(vr if vr != "UN" else vr_of(tag))
            if rule is not None:
                return rule
        if mode == DUMMY:
            return _in_dummy(tag, vr if vr != "UN" else vr_of(tag))
        if mode == CONTENT_DUMMY and vr in _TEXT_VRS and tag not in _STRUCTURE:
            return _DUMMY
        if mode == CONTENT and vr in _TEXT_VRS and tag not in _STRUCTURE:
            return _CLEAN
        if mode == CLEAN and vr in _TEXT_VRS and tag not in _CODE:
            return _CLEAN
        return None

    # --- one element -------------------------------------------------------------------------------------------

    def _apply(
        self, writer: Writer, data: memoryview, one: RawElement, vr: str, rule: Rule, encoding: Encoding, parent: int,
        mode: int, charset: CharacterSet,
    ) -> None:  # fmt: skip
        code, tag = rule.code, one.tag
        if tag == _COMMITTEE_NAME and code != "X":
            self._committee = self._path
        elif tag == _APPROVAL_NUMBER and code == "X" and self._committee == self._path:
            code, rule = "D", _DUMMY
        if code == "X":
            self._gone(data, one, rule, encoding)
            writer.drop(one)
            return
        if vr == "SQ" or one.length == UNDEFINED:
            if code == "Z":
                self._gone(data, one, rule, encoding)
                writer.replace(one, b"")
                return
            if code != "K":
                self._note(tag, rule)
            self._sequence(writer, data, one, encoding, _mode_within(tag, code, mode), charset)
            return
        if code == "K":
            writer.keep(one)
            return
        raw = bytes(data[one.value_start : one.value_start + one.length])
        made = self._values.changed(rule, tag, vr, raw, charset, parent)
        if made is None:
            writer.keep(one)
            return
        if made != raw:
            if self._remember and raw:
                self.removed.append((vr, raw, tag))
            self._note(tag, rule)
            writer.replace(one, made)
        else:
            writer.keep(one)

    def _note(self, tag: int, rule: Rule) -> None:
        self.actions.append(Action(self._path, tag, rule))

    def _gone(self, data: memoryview, one: RawElement, rule: Rule, encoding: Encoding) -> None:
        self._note(one.tag, rule)
        if self._remember:
            self._remember_all(data, one, encoding)

    def _remember_all(self, data: memoryview, one: RawElement, encoding: Encoding) -> None:
        """Every value of an element that goes, those of its items included."""
        if one.vr != "SQ" and one.length != UNDEFINED:
            known = vr_of(one.tag) if one.vr == "UN" else one.vr
            if known != "SQ":
                if one.length:
                    self.removed.append((known, bytes(data[one.value_start : one.end]), one.tag))
                return
        if one.vr not in ("SQ", "UN") and encoding.explicit:  # fragments
            return
        try:
            for start, end, within in items(data, one, encoding):
                for each in walk(data, start, end, within):
                    self._remember_all(data, each, within)
        except InvalidDataSetError:  # a value that only looks like a sequence
            self.removed.append(("UN", bytes(data[one.value_start : one.end]), one.tag))

    # --- sequences ---------------------------------------------------------------------------------------------

    def _sequence(
        self, writer: Writer, data: memoryview, one: RawElement, encoding: Encoding, mode: int, charset: CharacterSet
    ) -> None:
        around = self._path
        if len(around) >= 2 * DEPTH_LIMIT:
            raise InvalidDataSetError(f"sequences are nested deeper than {DEPTH_LIMIT}", offending_element=one.tag)
        made: list[tuple[list[Buffer] | None, int, int]] = []
        changed = False
        within = encoding
        for number, (start, end, within) in enumerate(items(data, one, encoding), 1):
            self._path = (*around, one.tag, number)
            found = list(walk(data, start, end, within))
            rules: Mapping[int, Rule] | None = None
            if mode > CLEAN:
                decided = self._content_item(data, found, within, mode)
                if decided is None:
                    for each in found:
                        self._gone(data, each, _REMOVE, within)
                    changed = True
                    continue
                rules = decided
            elif mode == CLEAN:
                rules = _of_foreign_code(data, found)
            item = self.level(data, found, within, parent=one.tag, mode=mode, charset=charset, rules=rules)
            changed = changed or item is not None
            made.append((item, start, end))
        self._path = around
        if not changed:
            writer.keep(one)
            return
        if not made and mode > CLEAN:  # content without items is none (PS3.3 C.17.3)
            writer.drop(one)
            return
        content: list[Buffer] = []
        pack = Struct("<HHL" if not within.big_endian else ">HHL").pack
        for item, start, end in made:
            buffers = [data[start:end]] if item is None else item
            content.append(pack(0xFFFE, 0xE000, sum(map(len, buffers))))
            content += buffers
        writer.replace_with(one, content)

    def _content_item(
        self, data: memoryview, found: list[RawElement], encoding: Encoding, mode: int
    ) -> Mapping[int, Rule] | None:
        """The rules of a content item (PS3.3 C.17.3), by what it is said to be; None where it goes."""
        kind = code = scheme = ""
        for one in found:
            if one.tag == _VALUE_TYPE:
                kind = _ascii(data, one)
            elif one.tag == _CONCEPT_NAME:
                code, scheme = _coded(data, one, encoding)
        if not kind and not code:
            return _of_foreign_code(data, found) or _of_known_code(data, found)
        if self._counted is None:
            self._counted = _REFERENCED_ITEM.search(data) is not None
        return structured.item_rules(
            kind, code, scheme, self._plan, mode="clean" if mode == CONTENT else "dummy", droppable=not self._counted
        )

    # --- groups ------------------------------------------------------------------------------------------------

    def _group(self, writer: Writer, elements: list[RawElement], charset: CharacterSet) -> None:
        if elements[0].tag & 0x10000:
            self._private(writer, elements, charset)
        else:
            self._plane(writer, elements, charset)

    def _plane(self, writer: Writer, elements: list[RawElement], charset: CharacterSet) -> None:
        """A curve or an overlay: nothing is left of one without its data. Regions of interest are no writing."""
        data, encoding = writer.data, writer.encoding
        group = elements[0].tag & 0xFFFF0000
        rule = self._plan.repeating(group | _PLANE_DATA)
        cleaned = rule is not None and rule.code in ("CG", "K")
        kinds = [_ascii(data, one) for one in elements if one.tag & 0xFFFF == _OVERLAY_TYPE]
        if rule is not None and (rule.code == "X" or (rule.code == "CG" and (group >> 24 == 0x50 or kinds != ["R"]))):
            for one in elements:
                self._gone(data, one, rule if rule.code == "X" else rule._replace(code="X"), encoding)
                writer.drop(one)
                if one.tag & 0xFFFF == _OVERLAY_BIT_POSITION and one.length >= 2:
                    order = "big" if encoding.big_endian else "little"
                    position = int.from_bytes(data[one.value_start : one.value_start + 2], order)  # type: ignore[arg-type]
                    if position and not any(each.tag & 0xFFFF == _PLANE_DATA for each in elements):
                        self.embedded.append(position)
            return
        for one in elements:
            own = self._plan.repeating(one.tag)
            if not one.tag & 0xFFFF:
                own = _NOT_OF_DATA_SETS
            elif cleaned and one.vr in _TEXT_VRS and (own is None or own.code == "CG"):
                own = _CLEAN
            if own is None or own.code == "CG":
                writer.keep(one)
            else:
                self._apply(writer, data, one, one.vr, own, encoding, 0, PLAIN, charset)

    def _private(self, writer: Writer, elements: list[RawElement], charset: CharacterSet) -> None:
        """All of one odd group: blocks are kept with their creators, or go with them (PS3.5 7.8.1)."""
        data, encoding = writer.data, writer.encoding
        creators: dict[int, RawElement] = {}
        names: dict[int, str] = {}
        kept: list[tuple[RawElement, Rule]] = []
        used: set[int] = set()
        for one in elements:
            number = one.tag & 0xFFFF
            if 0x10 <= number <= 0xFF:
                creators[number] = one
                names[number] = _ascii(data, one)
                continue
            name = names.get(number >> 8, "")
            rule = self._plan.private(name, one.tag >> 16, number & 0xFF) if name and number > 0xFF else _REMOVE
            if rule.code == "X" or not self._is_what_is_known(name, one):
                self._gone(data, one, rule, encoding)
                writer.drop(one)
            else:
                kept.append((one, rule))
                used.add(number >> 8)
        for number, one in creators.items():
            if number in used:
                writer.keep(one)
            else:
                self._gone(data, one, _REMOVE, encoding)
                writer.drop(one)
        for one, rule in kept:
            vr = self._known_vr(names[one.tag >> 8 & 0xFF], one) if one.vr == "UN" else one.vr
            if rule.code == "K" and (vr == "SQ" or one.length == UNDEFINED):
                self._sequence(writer, data, one, encoding, PLAIN, charset)
            else:
                self._apply(writer, data, one, vr or "UN", rule, encoding, 0, PLAIN, charset)

    def _known_vr(self, creator: str, one: RawElement) -> str:
        return self._plan.private_vr(creator, one.tag).split("/")[0]

    def _is_what_is_known(self, creator: str, one: RawElement) -> bool:
        """An attribute of another VR than the safe one is another attribute."""
        known = self._plan.private_vr(creator, one.tag)
        return one.vr == "UN" or not known or one.vr in known.split("/")


def items(data: memoryview, one: RawElement, encoding: Encoding) -> Iterator[tuple[int, int, Encoding]]:
    """Where the content of each item of a sequence begins and ends, and how it is encoded.

    Raises:
        InvalidDataSetError: it is none.
    """
    reader = inside(Reader(encoding), data, one.vr, one.value_start, one.end)
    pos, end = one.value_start, one.end
    while pos < end:
        tag, _, start, length = reader.header(data, pos, end)
        if tag == SEQUENCE_END:
            return
        if tag != ITEM:
            raise InvalidDataSetError("something else where an item should be", offending_element=one.tag)
        if length == UNDEFINED:
            pos = reader.item_end(data, start, end, 1)
            stop = pos - 8 if data[pos - 8 : pos - 4] == _item_end(reader.encoding) else pos
            yield start, stop, reader.encoding
        else:
            if length > end - start:
                raise InvalidDataSetError("the data set ends inside an item", offending_element=one.tag)
            pos = start + length
            yield start, pos, reader.encoding


def _item_end(encoding: Encoding) -> bytes:
    return b"\xff\xfe\xe0\x0d" if encoding.big_endian else b"\xfe\xff\x0d\xe0"


def _ascii(data: memoryview, one: RawElement) -> str:
    return bytes(data[one.value_start : one.value_start + min(one.length, 256)]).decode("latin-1").strip(" \0")


def _coded(data: memoryview, one: RawElement, encoding: Encoding) -> tuple[str, str]:
    """Code Value and Coding Scheme Designator of the first item."""
    code = scheme = ""
    for start, end, within in items(data, one, encoding):
        for each in walk(data, start, end, within):
            if each.tag == _CODE_VALUE:
                code = _ascii(data, each)
            elif each.tag == _CODING_SCHEME:
                scheme = _ascii(data, each)
        break
    return code, scheme


def _of_foreign_code(data: memoryview, found: list[RawElement]) -> Mapping[int, Rule] | None:
    """A code that is nobody's but the sender's may say anything: it becomes a dummy."""
    scheme = next((_ascii(data, one) for one in found if one.tag == _CODING_SCHEME), None)
    if scheme is None or scheme in _SCHEMES:
        return None
    return {_CODE_VALUE: _DUMMY, _CODING_SCHEME: _DUMMY, _CODE_MEANING: _DUMMY}


def _of_known_code(data: memoryview, found: list[RawElement]) -> Mapping[int, Rule]:
    """A code that everybody can look up says what an item is about, and stays in one that becomes a dummy."""
    return _KNOWN_CODE if any(one.tag == _CODING_SCHEME for one in found) else {}


def _mode_within(tag: int, code: str, mode: int) -> int:
    """How the items of a sequence with a rule are treated."""
    if code == "D":
        return CONTENT_DUMMY if tag == _CONTENT_SEQUENCE else DUMMY
    if code == "CS":
        return CONTENT
    if code in ("CT", "CG"):
        return CLEAN
    return mode if mode >= CLEAN else PLAIN


def _in_dummy(tag: int, vr: str) -> Rule | None:
    """What becomes of an attribute within a sequence that is to be a dummy."""
    if vr == "SQ":
        return _DUMMY
    if vr == "UI":
        return _UID
    if tag in _STRUCTURE or vr in _NUMBERS_KEPT:
        return None
    return _DUMMY
