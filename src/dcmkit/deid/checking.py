"""What in an object could still identify somebody: whatever a plan would change (PS3.15 E.1.1). Values are never told.

The object is gone over as if it were to be de-identified, and nothing is written. Where an object says that it is
de-identified, values of the forms that we give are not found again: dummies, pseudonyms, UIDs below our root, dates
that were moved. An object that was de-identified by the same plan shows nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from dcmkit.dataset.dictionary import keyword_of
from dcmkit.dataset.raw import EXPLICIT, UNDEFINED, Encoding, RawElement, encoding_of, guess, walk
from dcmkit.dataset.values import CharacterSet, character_set, decode_text
from dcmkit.deid import comments, suspicion
from dcmkit.deid.batch import told
from dcmkit.deid.directory import DESCRIBING, FILE_ID, FILE_SET_ID, KEPT, LINKS, RECORDS, SHORT_NAME, Tree, rules_of
from dcmkit.deid.dummies import dummy
from dcmkit.deid.engine import DIRECTORY_SOP_CLASS, SEVERAL_ENCODINGS, Anonymizer, Known, Source, fragments, listed
from dcmkit.deid.profile import Plan, Rule
from dcmkit.deid.pseudonyms import Given, Pseudonyms, is_of_the_standard
from dcmkit.deid.rewriting import Action, Rewriter, items
from dcmkit.deid.values import ACCESSION_NUMBER, PATIENT_ID, Subject, Values
from dcmkit.errors import InputError, InvalidDataSetError

if TYPE_CHECKING:
    from dcmkit.deid.boxes import Box
    from dcmkit.deid.rules import Rules

_IDENTITY_REMOVED, _BURNED_IN, _TEMPORAL = 0x00120062, 0x00280301, 0x00280303
_MARKS = (_IDENTITY_REMOVED, 0x00120063, 0x00120064, _TEMPORAL)
_META_KEPT = frozenset(range(0x00020000, 0x00020004)) | {0x00020010, 0x00020012, 0x00020013}
"""File meta information that every file has, and which software wrote it."""
_META_LIMIT = 1 << 20
_PREAMBLE = 128
_CODE = re.compile(r"[A-Z2-7]{16}")
_NAME = re.compile(r"ANON\^[A-Z2-7]{12}")
_BLANK = b" \0"
_METHOD, _META = Rule("D", "method"), Rule("X", "file meta information")
_ADD = Rule("add", "method")
_PIXEL_DATA = 0x7FE00010


class Suspect(NamedTuple):
    """Something that could identify somebody.

    Attributes:
        path: of the attribute, `0008,1115[1].0020,000E`; "" for the object as a whole, or `preamble`.
        keyword: of the attribute; "" for a private one.
        action: what the plan would do: the codes of `Rule`; `add`, `blank` or `quarantine`.
        rule: by which rule.
    """

    path: str
    keyword: str
    action: str
    rule: str


class Checker:
    """Looks at objects by a plan.

    Args:
        uid_root: what UIDs of ours begin with.
        given: identities that were given, not made.
        boxes: regions that would be blanked.
    """

    def __init__(
        self, plan: Plan, *, rules: Rules | None = None, uid_root: str = "2.25",
        given: Mapping[str, Given] | None = None, boxes: Sequence[Box] = (),
    ) -> None:  # fmt: skip
        pseudonyms = Pseudonyms(bytes(32), uid_root=uid_root, recording=False)
        self._anonymizer = Anonymizer(plan, pseudonyms, rules=rules)
        self._plan, self._boxes = plan, boxes
        identities = list((given or {}).values())
        self._ours = _Ours(
            uid_root.strip().rstrip("."), frozenset(one.id for one in identities),
            frozenset(one.name for one in identities),
        )  # fmt: skip

    def __call__(self, path: str) -> Iterator[Suspect]:
        """What is found in a file.

        Raises:
            InputError, InvalidDataSetError: it cannot be read.
        """
        with Source(path) as source:
            header, data = source.header, source.data
            encoding = guess(data, source.start, len(data), encoding_of(header.transfer_syntax_uid))
            elements, pixels = listed(data, source.start, encoding, header.transfer_syntax_uid)
            known = Known(data, elements, encoding)
            ours = self._ours.of(known)
            yield from self._of_meta(path, header.offset, ours)
            yield from self._of_marks(data, elements, encoding)
            if header.sop_class_uid == DIRECTORY_SOP_CLASS:
                yield from self._of_directory(source, ours)
            else:
                yield from self._of_object(source, known, elements, pixels, encoding, ours)

    # --- around the data set -------------------------------------------------------------------------------------

    def _of_meta(self, path: str, end: int, ours: _Ours) -> Iterator[Suspect]:
        try:
            with open(path, "rb") as file:
                content = file.read(min(end, _META_LIMIT))
        except OSError as error:
            raise InputError(f"the file cannot be read: {error.strerror or error}") from None
        start, head = 0, memoryview(content)
        if content.startswith(b"DICM", _PREAMBLE):
            start = _PREAMBLE + 4
            if any(head[:_PREAMBLE]):
                yield Suspect("preamble", "", _META.code, _META.source)
        elif content.startswith(b"DICM"):
            start = 4
        encoding = guess(head, start, len(head), EXPLICIT)
        for one in walk(head, start, len(head), encoding):
            if one.tag not in _META_KEPT and one.tag >> 16 == 2 and not is_empty(head, one, encoding):
                yield _suspect(Action((), one.tag, _META))
        rule = self._plan.table("", 0).get(0x00080018)
        if rule is not None and rule.code == "U":
            for one in walk(head, start, len(head), encoding):
                if one.tag == 0x00020003 and not ours.is_uid(bytes(head[one.value_start : one.end])):
                    yield _suspect(Action((), one.tag, rule))

    def _of_marks(self, data: memoryview, elements: Sequence[RawElement], encoding: Encoding) -> Iterator[Suspect]:
        expected = self._anonymizer.additions(encoding, cleaned=False)
        found = {one.tag: bytes(data[one.start : one.end]) for one in elements if one.tag in _MARKS}
        for tag in _MARKS:
            if tag not in found:
                yield _suspect(Action((), tag, _ADD))
            elif found[tag] != expected[tag]:
                yield _suspect(Action((), tag, _METHOD))

    # --- objects -------------------------------------------------------------------------------------------------

    def _of_object(
        self, source: Source, known: Known, elements: list[RawElement], pixels: RawElement | None,
        encoding: Encoding, ours: _Ours,
    ) -> Iterator[Suspect]:  # fmt: skip
        facts = known.facts(source.header)
        cleaned = bool(self._anonymizer.boxes(source, self._boxes)) or (ours.marked and facts.burned_in == "NO")
        reason = suspicion.reason(facts, self._plan, cleaned)
        if reason:
            yield Suspect("", "", "quarantine", reason)
        finder = self._finder(self._anonymizer.subject(known, facts), encoding, ours)
        at = elements.index(pixels) if pixels is not None else len(elements)
        kept = finder.level(source.data, [one for one in elements[:at] if one.tag not in _MARKS], encoding)
        if kept and guess(memoryview(kept[0]), 0, len(kept[0]), encoding) != encoding:
            yield Suspect("", "", "quarantine", SEVERAL_ENCODINGS)
        finder.level(source.data, elements[at + 1 :], encoding, charset=known.charset)
        yield from map(_suspect, finder.found)
        if pixels is not None:
            if finder.embedded:
                yield _of_pixels("overlays within samples")
            if pixels.length == UNDEFINED and _has_comments(source, pixels, encoding):
                yield _of_pixels("comments in codestreams")

    def _finder(self, subject: Subject, encoding: Encoding, ours: _Ours, *, directory: bool = False) -> _Finder:
        values = _Values(self._anonymizer, subject, ours)
        return _Finder(self._plan, values, encoding, subject.sop_class_uid, directory=directory)

    # --- directories ---------------------------------------------------------------------------------------------

    def _of_directory(self, source: Source, ours: _Ours) -> Iterator[Suspect]:
        tree = Tree(source, follow=False)
        data = tree.data
        others = [one for one in tree.top if one.tag >> 16 != FILE_ID >> 16 and one.tag not in _MARKS]
        for one in tree.top:
            if one.tag in DESCRIBING and not is_empty(data, one, tree.encoding):
                yield _suspect(Action((), one.tag, Rule("Z" if one.tag == FILE_SET_ID else "X", "directory")))
        patient = self._anonymizer.patient("", "", "", "")
        finder = self._finder(Subject(DIRECTORY_SOP_CLASS, patient), tree.encoding, ours)
        finder.level(data, others, tree.encoding)
        yield from map(_suspect, finder.found)
        charset = character_set(tree.top.text(0x00080005))
        for record in tree.all:
            elements = [one for one in walk(data, record.start, record.end, record.encoding) if one.tag not in LINKS]
            sop_class = record.sop_class or DIRECTORY_SOP_CLASS
            subject = Subject(sop_class, patient, tree.known(record).identity)
            finder = self._finder(subject, record.encoding, ours, directory=True)
            finder.level(
                data, elements, record.encoding, rules=rules_of(self._plan, sop_class), charset=charset
            )  # fmt: skip
            place = (RECORDS, record.number)
            for one in elements:
                if one.tag == FILE_ID and not ours.is_file_id(bytes(data[one.value_start : one.end])):
                    yield _suspect(Action(place, FILE_ID, Rule("D", "directory")))
                own = one.tag >> 16 == FILE_ID >> 16
                if own and one.tag not in KEPT and not is_empty(data, one, record.encoding):
                    yield _suspect(Action(place, one.tag, Rule("X", "directory")))
            for action in finder.found:
                yield _suspect(action._replace(path=(*place, *action.path)))


class _Ours(NamedTuple):
    """What values of ours look like."""

    root: str
    ids: frozenset[str]
    names: frozenset[str]
    marked: bool = False
    moved: bool = False

    def of(self, known: Known) -> _Ours:
        """The same for an object, if it says that it is de-identified."""
        return self._replace(
            marked=known.text(_IDENTITY_REMOVED) == "YES", moved=known.text(_TEMPORAL) == "MODIFIED"
        )  # fmt: skip

    def is_uid(self, raw: bytes) -> bool:
        """Whether all UIDs are below our root, or the standard's."""
        uids = [uid.strip() for uid in raw.decode("latin-1").strip(" \0").split("\\")]
        return all(not uid or is_of_the_standard(uid) or (self.marked and self._is_below(uid)) for uid in uids)

    def _is_below(self, uid: str) -> bool:
        return uid.startswith(self.root + ".")

    def is_file_id(self, raw: bytes) -> bool:
        """Whether it is a path of short names, or none."""
        parts = raw.decode("latin-1").strip(" \0").split("\\")
        return parts == [""] or (self.marked and all(SHORT_NAME.fullmatch(part) for part in parts))

    def is_value(self, rule: Rule, tag: int, vr: str, raw: bytes, text: str) -> bool:
        """Whether a value has been replaced already."""
        if not self.marked:
            return False
        if tag in (PATIENT_ID, ACCESSION_NUMBER):
            return _CODE.fullmatch(text) is not None or (tag == PATIENT_ID and text in self.ids)
        if vr == "PN":
            names = [name.strip() for name in text.split("\\")]
            if all(not name or _NAME.fullmatch(name) or name in self.names for name in names):
                return True
        if vr == "UI":
            return self.is_uid(raw)
        if rule.code == "CD" and self.moved and vr in ("DA", "DT", "TM"):
            return True
        return raw.strip(_BLANK) == dummy(vr, tag).strip(_BLANK)


class _Values(Values):
    """Makes values, and says whether the last one is another than the one that was there."""

    def __init__(self, anonymizer: Anonymizer, subject: Subject, ours: _Ours) -> None:
        super().__init__(anonymizer.pseudonyms, anonymizer.descriptors, subject)
        self._ours = ours
        self.taken = False

    def changed(self, rule: Rule, tag: int, vr: str, raw: bytes, charset: CharacterSet, parent: int) -> bytes | None:
        """As `Values`; nothing for what is empty, or ours."""
        self.taken = False
        if not raw.strip(_BLANK) or self._ours.is_value(rule, tag, vr, raw, decode_text(raw, charset)):
            return None
        made = super().changed(rule, tag, vr, raw, charset, parent)
        self.taken = made is not None and made.strip(_BLANK) != raw.strip(_BLANK)
        return made if self.taken else None


class _Finder(Rewriter):
    """Goes over a data set and keeps which attributes would change, but for those that are empty."""

    def __init__(
        self, plan: Plan, values: _Values, encoding: Encoding, sop_class_uid: str, *, directory: bool = False
    ) -> None:
        super().__init__(plan, values, encoding, sop_class_uid, remember=True, directory=directory)
        self._taking = values
        self.found: list[Action] = []

    def _note(self, tag: int, rule: Rule) -> None:
        if self._taking.taken:
            self.found.append(Action(self._path, tag, rule))
        self._taking.taken = False

    def _gone(self, data: memoryview, one: RawElement, rule: Rule, encoding: Encoding) -> None:
        if one.tag & 0xFFFF and not is_empty(data, one, encoding):
            self.found.append(Action(self._path, one.tag, rule))


def is_empty(data: memoryview, one: RawElement, encoding: Encoding) -> bool:
    """Whether an element has no value, or a sequence of elements without one."""
    if one.vr != "SQ" and one.length != UNDEFINED:
        return not bytes(data[one.value_start : one.end]).strip(_BLANK)
    try:
        found = items(data, one, encoding)
        return all(
            is_empty(data, each, within) for start, end, within in found for each in walk(data, start, end, within)
        )
    except InvalidDataSetError:
        return False


def _has_comments(source: Source, pixels: RawElement, encoding: Encoding) -> bool:
    data, syntax = source.data, source.header.transfer_syntax_uid
    for first, last in comments.in_fragments(data, fragments(data, pixels, encoding), syntax):
        if bytes(data[first:last]).strip(b"\0"):
            return True
    return any(comments.is_sealed(data[start:end], syntax) for start, end in fragments(data, pixels, encoding))


def _of_pixels(rule: str) -> Suspect:
    return _suspect(Action((), _PIXEL_DATA, Rule("blank", rule)))


def _suspect(action: Action) -> Suspect:
    path, code, rule = told(action)
    return Suspect(path, keyword_of(action.tag), code, rule)
