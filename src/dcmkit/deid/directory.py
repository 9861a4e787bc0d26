"""The directory of a file-set, DICOMDIR, without identity (PS3.10 8, PS3.3 F).

It is rewritten after the objects it names, and names them as they are called in the output. A record whose file is not
there goes, and so does one above it that has none left below it. What an object says of itself, its record says as the
plan has it; only attributes that records need get a dummy where the plan would leave nothing.

What comes in is not trusted: each record is met once, however its offsets lead, and a directory that cannot be followed
is refused. Another can always be made of the output.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from struct import Struct

from dcmkit.dataset.part10 import file_meta
from dcmkit.dataset.raw import EXPLICIT, UNDEFINED, Encoding, RawElement, RawElements, encoding_of, guess, walk
from dcmkit.dataset.recode import recode
from dcmkit.dataset.values import character_set
from dcmkit.deid.engine import DIRECTORY_SOP_CLASS, Anonymized, Anonymizer, Known, QuarantinedError, Source
from dcmkit.deid.output import Output
from dcmkit.deid.pieces import encoded
from dcmkit.deid.profile import BASIC, Plan, Rule
from dcmkit.deid.pseudonyms import Patient
from dcmkit.deid.rewriting import Action, Removed, Rewriter, items
from dcmkit.deid.suspicion import Facts
from dcmkit.deid.values import PATIENT_ID, PATIENT_NAME, Subject, Values
from dcmkit.errors import InvalidDataSetError
from dcmkit.uids import EXPLICIT_VR_LITTLE_ENDIAN

NAME = "DICOMDIR"
RECORDS_LIMIT = 1 << 17
"""Records of one directory."""
RECORDS = 0x00041220
FILE_ID = 0x00041500
FILE_SET_ID = 0x00041130
DESCRIBING = frozenset({FILE_SET_ID, 0x00041141})
_CHARACTER_SET = 0x00080005
_FIRST = 0x00041200
_NEXT, _IN_USE, _LOWER, _TYPE = 0x00041400, 0x00041410, 0x00041420, 0x00041430
_SHARED, _REFERENCES = 0x00041504, 0x00041600
_FILE_SOP_CLASS, _FILE_INSTANCE, _LAST_OF_FILE = 0x00041510, 0x00041511, 0x0004151A
LINKS = frozenset({0x00040000, _NEXT, _IN_USE, _LOWER, _SHARED, _REFERENCES})
_SOP_INSTANCE_UID, _STUDY_UID, _SERIES_UID, _BIRTH_DATE = 0x00080018, 0x0020000D, 0x0020000E, 0x00100030
_NOBODYS = frozenset({"PRIVATE", "MRDR"})
"""Records whose meaning only their maker knows, and those that others lead to in place of a file (retired)."""
_LINKS_OF = Struct("<HH2sHLHH2sHHHH2sHL")
_ITEM = Struct("<HHL")
KEPT = frozenset({_TYPE, FILE_ID, _FILE_SOP_CLASS, _FILE_INSTANCE, 0x00041512, _LAST_OF_FILE})
"""What of their own group records keep; others nobody knows."""
SHORT_NAME = re.compile(r"[A-Z2-7]{8}")
_HINT = "make a new one of the output, for example with dcmmkdir"
_SOURCE = "directory"
_NOBODY = Patient("", "", 0)
_UNKNOWN = ("", "", "")
_TYPE_1 = frozenset({
    0x00080012, 0x00080020, 0x00080023, 0x00080030, 0x00080033, 0x00080060, 0x00080070, 0x00200010, 0x00200011,
    0x00200013, 0x0040A030, 0x0040E001, 0x0040E004, 0x00700080, 0x00700082, 0x00700083, 0x00720002, 0x00720004,
    0x00720008, 0x0072000A, 0x30060002, 0x300A0002, 0x30100033, 0x30100034,
})  # fmt: skip
_TYPE_2 = frozenset({
    PATIENT_NAME, 0x00080013, 0x00080050, 0x00081030, 0x00420010, 0x00700081, 0x00700084, 0x30060008, 0x30060009,
    0x300A0006, 0x300A0007, 0x30080250, 0x30080251,
})  # fmt: skip
"""What some record needs, with a value or without one (PS3.3 F.5)."""


class Record:
    """One directory record (PS3.3 F.3.2.2).

    Attributes:
        number: of its item, from 1.
        start, end: of the content of its item.
        file: where the elements are that name its file: its own, or the record's that it leads to.
        patient, study, series: the records of these types that it is below of, or itself.
        path: components of its file's path in the output.
        kept: whether it is written.
    """

    __slots__ = (
        "encoding", "end", "file", "in_use", "instance", "kept", "kind", "lower", "names_file", "next", "number",
        "parent", "path", "patient", "series", "shared", "sop_class", "start", "study", "uids",
    )  # fmt: skip

    def __init__(self, data: memoryview, number: int, start: int, end: int, encoding: Encoding) -> None:
        self.number, self.start, self.end, self.encoding = number, start, end, encoding
        known = RawElements(data, encoding, walk(data, start, end, encoding))
        self.next, self.lower = known.unsigned(_NEXT) or 0, known.unsigned(_LOWER) or 0
        self.shared = known.unsigned(_SHARED) or 0
        self.kind = known.text(_TYPE)
        self.in_use = known.unsigned(_IN_USE) != 0 and self.kind not in _NOBODYS
        self.sop_class, self.instance = known.text(_FILE_SOP_CLASS), known.text(_FILE_INSTANCE)
        self.uids = known.text(_STUDY_UID), known.text(_SERIES_UID)
        self.names_file = bool(known.text(FILE_ID)) or self.shared > 0
        self.file = self
        self.parent: Record | None = None
        self.patient: Record | None = None
        self.study: Record | None = None
        self.series: Record | None = None
        self.path: tuple[str, ...] = ()
        self.kept = False

    def below(self, parent: Record | None) -> None:
        """Where it is in the tree."""
        self.parent = parent
        if parent is not None:
            self.patient, self.study, self.series = parent.patient, parent.study, parent.series
        if self.kind == "PATIENT":
            self.patient = self
        elif self.kind == "STUDY":
            self.study = self
        elif self.kind == "SERIES":
            self.series = self


class Tree:
    """The records of a directory.

    Args:
        follow: where offsets lead.

    Attributes:
        all: in the order they lie there.
        records: with `follow` those in use, each after the one above it.
        lost: how many name a file and are not among them, although they are in use.

    Raises:
        InvalidDataSetError: they cannot be followed.
    """

    def __init__(self, source: Source, *, follow: bool = True) -> None:
        self.lost = 0
        self.data = data = source.data
        self.encoding = guess(data, source.start, len(data), encoding_of(source.header.transfer_syntax_uid))
        self.top = RawElements(data, self.encoding, walk(data, source.start, len(data), self.encoding))
        found = self.top.get(RECORDS)
        self.all: list[Record] = []
        if found is not None:
            for number, (start, end, within) in enumerate(items(data, found, self.encoding), 1):
                if number > RECORDS_LIMIT:
                    raise InvalidDataSetError(f"the directory has more than {RECORDS_LIMIT} records", hint=_HINT)
                self.all.append(Record(data, number, start, end, within))
        self.records = self._linked(self.top.unsigned(_FIRST) or 0) if follow else []

    def _linked(self, first: int) -> list[Record]:
        by_offset = {record.start - _ITEM.size: record for record in self.all}
        found: list[Record] = []
        met: set[int] = set()
        waiting: list[tuple[int, Record | None]] = [(first, None)]
        while waiting:
            offset, parent = waiting.pop()
            if not offset:
                continue
            record = _at(by_offset, offset)
            if offset in met:
                raise InvalidDataSetError("the directory's records lead in a circle", hint=_HINT)
            met.add(offset)
            waiting.append((record.next, parent))
            if record.in_use:
                if record.shared:
                    record.file = shared = _at(by_offset, record.shared)
                    record.sop_class, record.instance = shared.sop_class, shared.instance
                record.below(parent)
                found.append(record)
                waiting.append((record.lower, record))
        self.lost = sum(one.in_use and one.names_file and one.start - _ITEM.size not in met for one in self.all)
        return found

    def elements(self, record: Record) -> list[RawElement]:
        """The elements of a record, in order, without links; those that name its file from where they are.

        Of several with one tag the last counts.
        """
        own = walk(self.data, record.start, record.end, record.encoding)
        found = [one for one in own if one.tag not in LINKS and (record.file is record or not _of_file(one.tag))]
        if record.file is not record:
            shared = record.file
            others = walk(self.data, shared.start, shared.end, shared.encoding)
            found += [one for one in others if _of_file(one.tag)]
        return sorted({one.tag: one for one in found}.values())

    def known(self, record: Record) -> Known:
        """What is read of a record."""
        return Known(self.data, list(walk(self.data, record.start, record.end, record.encoding)), record.encoding)


def _at(by_offset: Mapping[int, Record], offset: int) -> Record:
    found = by_offset.get(offset)
    if found is None:
        raise InvalidDataSetError("an offset of the directory leads to no record", hint=_HINT)
    return found


def _of_file(tag: int) -> bool:
    return FILE_ID <= tag <= _LAST_OF_FILE and tag != _SHARED


def rules_of(plan: Plan, sop_class_uid: str) -> Mapping[int, Rule]:
    """Rules for a record that differ from those for objects, since other attributes are needed in records."""
    table = plan.table(sop_class_uid, 0)
    found = {}
    for tag in _TYPE_1 | _TYPE_2:
        rule = table.get(tag)
        if rule is not None and rule.source == BASIC:
            if tag in _TYPE_1 and rule.code in ("X", "Z"):
                found[tag] = rule._replace(code="D")
            elif rule.code == "X":
                found[tag] = rule._replace(code="Z")
    return found


class Directory:
    """De-identifies directories whose files are in an output.

    Args:
        anonymizer: as it was used for the files.
        output: where they are, with short names.
    """

    def __init__(self, anonymizer: Anonymizer, output: Output) -> None:
        self._anonymizer, self._output = anonymizer, output
        self._elsewhere: dict[str, tuple[str, ...]] | None = None

    def __call__(self, source: Source) -> tuple[Anonymized, str]:
        """A directory, ready to be written, and what is not in it any more.

        Raises:
            InvalidDataSetError: it cannot be followed.
            QuarantinedError: none of its files is in the output.
        """
        tree = Tree(source)
        rewriting = Rewriting(tree, self._anonymizer)
        named = [record for record in tree.records if record.names_file]
        for record in named:
            record.path = self._path(rewriting.place(record))
        for record in reversed(tree.records):
            record.kept = record.kept or bool(record.path)
            if record.kept and record.parent is not None:
                record.parent.kept = True
        kept = [record for record in tree.records if record.kept]
        if not kept:
            raise QuarantinedError("none of the files that the directory names is in the output")
        instance = self._anonymizer.instance(source.header, source.data, source.start)
        meta = file_meta(DIRECTORY_SOP_CLASS, instance, EXPLICIT_VR_LITTLE_ENDIAN)
        pieces = rewriting.pieces(kept, len(meta))
        made = Anonymized(
            meta, pieces, None, (), DIRECTORY_SOP_CLASS, instance, EXPLICIT_VR_LITTLE_ENDIAN, ("", "", "", instance),
            rewriting.actions, rewriting.removed, tuple(rewriting.charsets), EXPLICIT, Facts(DIRECTORY_SOP_CLASS),
        )  # fmt: skip
        return made, _left_out(sum(not record.path for record in named), tree.lost)

    def _path(self, place: tuple[str, str, str, str]) -> tuple[str, ...]:
        """The File ID of an object in the output, () if it is not there.

        Where the object's own patient or study differ from its record's, its name still tells which it is.
        """
        full = self._output.name(place)
        if os.path.isfile(full):
            return tuple(os.path.relpath(full, self._output.path).split(os.sep))
        if self._elsewhere is None:
            self._elsewhere = {}
            for path in _short_paths(self._output.path, 4):
                known = self._elsewhere.get(path[-1])
                self._elsewhere[path[-1]] = path if known is None else min(path, known)
        return self._elsewhere.get(os.path.basename(full), ())


def _left_out(missing: int, lost: int) -> str:
    found = [f"files it named that are not in the output: {missing}"] if missing else []
    found += [f"files it named in records that no other leads to: {lost}"] if lost else []
    return ", ".join(found)


def _short_paths(directory: str, depth: int, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    try:
        entries = list(os.scandir(directory))
    except OSError:
        return
    for entry in entries:
        if SHORT_NAME.fullmatch(entry.name):
            path = (*above, entry.name)
            if depth == 1 and entry.is_file():
                yield path
            elif depth > 1 and entry.is_dir():
                yield from _short_paths(entry.path, depth - 1, path)


class Rewriting:
    """The records of one directory, rewritten.

    Attributes:
        actions, removed, charsets: as of `Rewriter`, for all of it.
    """

    def __init__(self, tree: Tree, anonymizer: Anonymizer) -> None:
        self._tree, self._anonymizer = tree, anonymizer
        self._patients: dict[tuple[int, int], Patient] = {}
        self._identities: dict[int, frozenset[str]] = {}
        self._rules: dict[str, Mapping[int, Rule]] = {}
        self._charset = character_set(tree.top.text(_CHARACTER_SET))
        self.actions: list[Action] = []
        self.removed: list[Removed] = []
        self.charsets: dict[str, None] = {}

    # --- about a record --------------------------------------------------------------------------------------

    def patient(self, record: Record) -> Patient:
        """Whose it is."""
        of, study = record.patient, record.study
        key = (of.number if of is not None else 0, study.number if study is not None else 0)
        found = self._patients.get(key)
        if found is None:
            known = self._tree.known(of) if of is not None else None
            patient_id, name, birth_date = (
                (known.decoded(PATIENT_ID), known.decoded(PATIENT_NAME), known.text(_BIRTH_DATE)) if known else _UNKNOWN
            )
            found = self._anonymizer.patient(patient_id, name, birth_date, study.uids[0] if study is not None else "")
            self._patients[key] = found
        return found

    def place(self, record: Record) -> tuple[str, str, str, str]:
        """Where its file is in the output, if it agrees with it about patient and study."""
        new_uid = self._anonymizer.new_uid
        return (
            self.patient(record).id,
            new_uid(_STUDY_UID, record.study.uids[0] if record.study is not None else ""),
            new_uid(_SERIES_UID, record.series.uids[1] if record.series is not None else ""),
            new_uid(_SOP_INSTANCE_UID, record.instance),
        )

    def _identity(self, record: Record) -> frozenset[str]:
        """The words that name somebody, in the record and above it."""
        found: frozenset[str] = frozenset()
        for one in {id(one): one for one in (record.patient, record.study, record.series, record) if one}.values():
            words = self._identities.get(one.number)
            if words is None:
                words = self._tree.known(one).identity()
                if one is not record:
                    self._identities[one.number] = words
            found |= words
        return found

    def rewriter(self, record: Record, *, remember: bool) -> Rewriter:
        """What rewrites its elements."""
        sop_class = record.sop_class or DIRECTORY_SOP_CLASS
        subject = Subject(sop_class, self.patient(record), lambda: self._identity(record))
        return Rewriter(
            self._anonymizer.plan, self._values(subject), record.encoding, sop_class, remember=remember, directory=True
        )  # fmt: skip

    def _values(self, subject: Subject) -> Values:
        return Values(self._anonymizer.pseudonyms, self._anonymizer.descriptors, subject)

    # --- what is written -------------------------------------------------------------------------------------

    def pieces(self, kept: list[Record], start: int) -> list[bytes]:
        """The data set.

        Args:
            kept: the records that are written, each after the one above it.
            start: offset of the data set in the file.
        """
        tail = self._top()
        contents = [self._content(record) for record in kept]
        offsets, at = {}, start + _HEAD_SIZE
        for record, content in zip(kept, contents, strict=True):
            offsets[record.number] = at
            at += _ITEM.size + _LINKS_OF.size + len(content)
        if at - start >= UNDEFINED:
            raise InvalidDataSetError("the directory is longer than its offsets reach", hint=_HINT)
        following, lower, last = _links(kept)
        pieces = [_head(offsets[kept[0].number], offsets[last.number], at - start - _HEAD_SIZE)]
        for record, content in zip(kept, contents, strict=True):
            after, below = (offsets.get(found.get(record.number, 0), 0) for found in (following, lower))
            pieces += (_ITEM.pack(0xFFFE, 0xE000, _LINKS_OF.size + len(content)), _linked(after, below), content)
        return [*pieces, tail]

    def _top(self) -> bytes:
        """What there is beside the records: the name of the file-set and the file that describes it go."""
        tree, others = self._tree, []
        for one in tree.top:
            if one.tag >> 16 != FILE_ID >> 16:
                others.append(one)
            elif one.tag in DESCRIBING and one.length:
                self.actions.append(Action((), one.tag, Rule("Z" if one.tag == FILE_SET_ID else "X", _SOURCE)))
                self.removed.append((one.vr, bytes(tree.data[one.value_start : one.end]), one.tag))
        rewriter = Rewriter(
            self._anonymizer.plan, self._values(Subject(DIRECTORY_SOP_CLASS, _NOBODY)), tree.encoding,
            DIRECTORY_SOP_CLASS, remember=self._anonymizer.remember,
        )  # fmt: skip
        marks = self._anonymizer.additions(tree.encoding, cleaned=False)
        found = rewriter.level(tree.data, others, tree.encoding, additions=marks)
        self._take(rewriter, ())
        return _explicit(b"".join(found or ()), tree.encoding)

    def _content(self, record: Record) -> bytes:
        """A record without its links."""
        data, encoding, additions = self._tree.data, record.encoding, {}
        elements = []
        for one in self._tree.elements(record):
            if one.tag >> 16 != FILE_ID >> 16 or one.tag in KEPT:
                elements.append(one)
            else:
                self.actions.append(Action((RECORDS, record.number), one.tag, Rule("X", _SOURCE)))
                self.removed.append((one.vr, bytes(data[one.value_start : one.end]), one.tag))
        if record.path:
            additions[FILE_ID] = encoded(encoding, FILE_ID, "CS", "\\".join(record.path).encode())
            old = next((one for one in elements if one.tag == FILE_ID), None)
            if old is not None:
                self.removed.append(("CS", bytes(data[old.value_start : old.end]), FILE_ID))
        else:
            elements = [one for one in elements if not _of_file(one.tag)]
        rewriter = self.rewriter(record, remember=self._anonymizer.remember)
        sop_class = record.sop_class or DIRECTORY_SOP_CLASS
        rules = self._rules.get(sop_class)
        if rules is None:
            rules = self._rules[sop_class] = rules_of(self._anonymizer.plan, sop_class)
        found = rewriter.level(data, elements, encoding, rules=rules, additions=additions, charset=self._charset)
        self._take(rewriter, (RECORDS, record.number))
        if found is None:
            found = [data[elements[0].start : elements[-1].end]] if elements else []
        return _explicit(b"".join(found), encoding)

    def _take(self, rewriter: Rewriter, path: tuple[int, ...]) -> None:
        self.actions += [Action((*path, *one.path), one.tag, one.rule) for one in rewriter.actions]
        self.removed += rewriter.removed
        self.charsets |= rewriter.charsets


def _explicit(content: bytes, encoding: Encoding) -> bytes:
    """Elements as a directory has to have them: in explicit VR little endian (PS3.10 8.6)."""
    if encoding == EXPLICIT or not content:
        return content
    data = memoryview(content)
    found = RawElements(data, encoding, walk(data, 0, len(data), encoding))
    return b"".join(recode([found], EXPLICIT))


def _links(kept: list[Record]) -> tuple[dict[int, int], dict[int, int], Record]:
    """The number of the record after each, of the first below each, and the last one of the root."""
    following: dict[int, int] = {}
    lower: dict[int, int] = {}
    latest: dict[int, Record] = {}
    for record in kept:
        above = record.parent.number if record.parent is not None else 0
        before = latest.get(above)
        if before is not None:
            following[before.number] = record.number
        elif above:
            lower[above] = record.number
        latest[above] = record
    return following, lower, latest[0]


def _linked(after: int, below: int) -> bytes:
    """The links of a record that is in use."""
    return _LINKS_OF.pack(4, 0x1400, b"UL", 4, after, 4, 0x1410, b"US", 2, 0xFFFF, 4, 0x1420, b"UL", 4, below)


def _head(first: int, last: int, size: int) -> bytes:
    """What stands before the records; that they are consistent is said as well."""
    numbers = [(_FIRST, "UL", first, 4), (_FIRST + 2, "UL", last, 4), (_FIRST + 18, "US", 0, 2)]
    elements = [encoded(EXPLICIT, tag, vr, number.to_bytes(length, "little")) for tag, vr, number, length in numbers]
    return b"".join((encoded(EXPLICIT, FILE_SET_ID, "CS", b""), *elements, _sequence(size)))


def _sequence(size: int) -> bytes:
    return Struct("<HH2sHL").pack(RECORDS >> 16, RECORDS & 0xFFFF, b"SQ", 0, size)


_HEAD_SIZE = len(_head(0, 0, 0))
