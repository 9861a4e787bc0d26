"""One object de-identified as a whole: file meta, data set and pixel data (PS3.15 E, PS3.10 7.1).

The source is mapped into memory and never copied: what is written are ranges of it, and between them what is new.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from types import TracebackType
from typing import IO, TYPE_CHECKING, NamedTuple

from dcmkit.dataset.part10 import FileHeader, file_meta, parse_file_header
from dcmkit.dataset.raw import (
    ITEM,
    SEQUENCE_END,
    UNDEFINED,
    Encoding,
    RawElement,
    Reader,
    encoding_of,
    guess,
    walk,
)
from dcmkit.dataset.values import CharacterSet, character_set, decode_text, fold
from dcmkit.deid import comments, suspicion
from dcmkit.deid.descriptors import Descriptors
from dcmkit.deid.pieces import Buffer, encoded
from dcmkit.deid.profile import Plan, Rule
from dcmkit.deid.pseudonyms import Patient, Pseudonyms
from dcmkit.deid.rewriting import Action, Removed, Rewriter, items
from dcmkit.deid.tables import EDITION
from dcmkit.deid.values import MIME_TYPE, PATIENT_ID, PATIENT_NAME, Subject, Values
from dcmkit.errors import DcmkitError, ExitCode, InputError, InvalidDataSetError
from dcmkit.uids import DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, is_encapsulated

if TYPE_CHECKING:
    from dcmkit.deid.boxes import Box
    from dcmkit.deid.rules import Rules

_MAPPED_FROM = 1 << 16
"""Files below this are read instead."""
_FORGET_AFTER = 32 << 20
_INFLATED_LIMIT = 1 << 31
_PIXEL_ELEMENTS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_JPEG_XL = frozenset({"1.2.840.10008.1.2.4.110", "1.2.840.10008.1.2.4.111", "1.2.840.10008.1.2.4.112"})
_SOP_INSTANCE_UID, _TRAILING_PADDING = 0x00080018, 0xFFFCFFFC
_STUDY_UID, _SERIES_UID = 0x0020000D, 0x0020000E
_CHARACTER_SET, _BIRTH_DATE = 0x00080005, 0x00100030
_IDENTITY_REMOVED, _METHOD, _METHOD_CODES = 0x00120062, 0x00120063, 0x00120064
_BURNED_IN, _RECOGNIZABLE, _TEMPORAL = 0x00280301, 0x00280302, 0x00280303
_NAMING = (PATIENT_NAME, PATIENT_ID, 0x00080090, 0x00081070, 0x00081050, 0x00081060, 0x00081048, 0x00080080, 0x00080081,
           0x00080050, 0x00101000, 0x00101001, 0x00101005, 0x00101040, 0x00102154, 0x00321032)  # fmt: skip
"""Attributes whose words descriptors lose, whatever the vocabulary says."""
DIRECTORY_SOP_CLASS = "1.2.840.10008.1.3.10"
SEVERAL_ENCODINGS = "its elements are encoded in several ways: others may read it otherwise"


class QuarantinedError(DcmkitError):
    """An object that cannot be made safe: it is not written, and the message is the reason."""

    exit_code = ExitCode.PARTLY_DONE


class Source:
    """A file, mapped into memory; what is deflated in it, inflated.

    Raises:
        InputError, InvalidDataSetError: it cannot be read, or is not DICOM.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._map: mmap.mmap | None = None
        try:
            with open(path, "rb", buffering=0) as file:
                size = os.fstat(file.fileno()).st_size
                block = os.read(file.fileno(), _MAPPED_FROM)
                self.header: FileHeader = parse_file_header(block, file.fileno(), size, allow_bare=True)
                self.data = self._content(file, block, size)
        except (OSError, ValueError) as error:
            raise InputError(f"the file cannot be read: {getattr(error, 'strerror', None) or error}") from None
        if not len(self.data) - self.start:
            raise InvalidDataSetError("the data set is empty")

    def _content(self, file: IO[bytes], block: bytes, size: int) -> memoryview:
        self.start = self.header.offset
        if self.header.transfer_syntax_uid == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
            import tempfile

            from dcmkit.pixels.image_file import inflate

            self.start = 0
            with tempfile.TemporaryFile(buffering=0) as inflated:
                file.seek(self.header.offset)
                size = inflate(file, inflated, _INFLATED_LIMIT)
                return self._mapped(inflated.fileno(), size)
        if size <= len(block):
            return memoryview(block)
        return self._mapped(file.fileno(), size)

    def _mapped(self, fd: int, size: int) -> memoryview:
        if not size:
            return memoryview(b"")
        self._map = mmap.mmap(fd, size, access=mmap.ACCESS_READ)
        return memoryview(self._map)

    def __enter__(self) -> Source:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        found, self._map = self._map, None
        if found is not None:
            try:
                self.data.release()
                found.close()
            except BufferError:  # ranges of it are still in use
                pass

    def forget(self) -> None:
        """Give back the pages that have been read, so that memory stays flat."""
        if self._map is not None and hasattr(mmap, "MADV_DONTNEED"):
            self._map.madvise(mmap.MADV_DONTNEED)


class Anonymized(NamedTuple):
    """An object without identity, ready to be written while its source is open.

    Attributes:
        meta: preamble and file meta information.
        pieces: of the data set before the pixel data, and after them.
        pixels: where the element of the pixel data is; None where there is none.
        place: pseudonyms of the patient, and the new Study, Series and SOP Instance UID.
        actions: what was done; pixel data are added when they are read.
        overlay_bits: bit positions within samples that overlays left behind.
    """

    meta: bytes
    before: Sequence[Buffer]
    pixels: RawElement | None
    after: Sequence[Buffer]
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    place: tuple[str, str, str, str]
    actions: list[Action]
    removed: Sequence[Removed]
    charsets: tuple[str, ...]
    encoding: Encoding
    facts: suspicion.Facts
    overlay_bits: tuple[int, ...] = ()

    def note_pixels(self, why: str) -> None:
        """Tell that the pixel data are not as they were."""
        if self.pixels is not None:
            self.actions.append(Action((), self.pixels.tag, Rule("C", why)))

    def needs_cleaning(self, source: Source) -> bool:
        """Whether its frames cannot stay where they lie: overlays are in their samples, or comments within
        compressed parts of JPEG XL."""
        if self.overlay_bits or self.pixels is None or self.transfer_syntax_uid not in _JPEG_XL:
            return bool(self.overlay_bits) and self.pixels is not None
        found = fragments(source.data, self.pixels, self.encoding)
        return any(comments.is_sealed(source.data[start:end], self.transfer_syntax_uid) for start, end in found)


class Anonymizer:
    """De-identifies objects by a plan.

    Args:
        remember: collect the values that were removed, so that they can be searched for.
        cleaned: pixels are cleaned: what is suspected of burned-in annotation passes.
    """

    def __init__(
        self, plan: Plan, pseudonyms: Pseudonyms, *, rules: Rules | None = None, remember: bool = False,
    ) -> None:  # fmt: skip
        self.plan, self.pseudonyms, self.rules = plan, pseudonyms, rules
        self.remember = remember
        self.kept = frozenset(tag for tag, rule in plan.table("", 0).items() if rule.code == "K")
        self._memo: tuple[tuple[object, ...], dict[bytes, bytes]] = ((), {})
        self.descriptors = rules.descriptors if rules is not None else Descriptors()

    def __call__(self, source: Source, *, cleaned: bool = False) -> Anonymized:
        """One object.

        Args:
            cleaned: its pixels will be cleaned.

        Raises:
            QuarantinedError: it cannot be made safe.
            InvalidDataSetError: it cannot be followed.
        """
        header, data = source.header, source.data
        if header.sop_class_uid == DIRECTORY_SOP_CLASS:
            raise QuarantinedError("a DICOMDIR names files that are called otherwise in the output")
        encoding = guess(data, source.start, len(data), encoding_of(header.transfer_syntax_uid))
        elements, pixels = listed(data, source.start, encoding, header.transfer_syntax_uid)
        known = Known(data, elements, encoding)
        facts = known.facts(header)
        reason = suspicion.reason(facts, self.plan, cleaned)
        if reason:
            raise QuarantinedError(reason)
        subject = self.subject(known, facts)
        rewriter = Rewriter(
            self.plan, Values(self.pseudonyms, self.descriptors, subject), encoding, facts.sop_class_uid,
            remember=self.remember, memo=self._remembered(subject, encoding, known.text(_CHARACTER_SET)),
        )  # fmt: skip
        at = elements.index(pixels) if pixels is not None else len(elements)
        head, tail = elements[:at], elements[at + 1 :]
        before = rewriter.level(data, head, encoding, additions=self.additions(encoding, cleaned))
        after = rewriter.level(data, tail, encoding, charset=known.charset) if tail else []
        if after is None:
            after = [data[tail[0].start : tail[-1].end]]
        if before and guess(memoryview(before[0]), 0, len(before[0]), encoding) != encoding:
            raise QuarantinedError(SEVERAL_ENCODINGS)
        instance = self.instance(header, data, source.start)
        meta = file_meta(header.sop_class_uid, instance, header.transfer_syntax_uid)
        study = self.new_uid(_STUDY_UID, known.text(_STUDY_UID))
        series = self.new_uid(_SERIES_UID, known.text(_SERIES_UID))
        place = (subject.patient.id, study, series, instance)
        return Anonymized(
            meta, before or [], pixels, after, header.sop_class_uid, instance, header.transfer_syntax_uid, place,
            rewriter.actions, rewriter.removed, tuple(rewriter.charsets), encoding, facts, tuple(rewriter.embedded),
        )  # fmt: skip

    def boxes(self, source: Source, given: Sequence[Box] = ()) -> Sequence[Box]:
        """The regions of an object's pixels that are blanked: those given, and those of the rules."""
        if self.rules is None or not self.rules.blankings:
            return given
        header, data = source.header, source.data
        encoding = guess(data, source.start, len(data), encoding_of(header.transfer_syntax_uid))
        elements, _ = listed(data, source.start, encoding, header.transfer_syntax_uid)
        return (*given, *self.rules.boxes_for(Known(data, elements, encoding).facts(header)))

    def _remembered(self, subject: Subject, encoding: Encoding, charset: str) -> dict[bytes, bytes]:
        """What elements became: begun anew wherever something else that decides on them is another."""
        context = (subject.patient, subject.sop_class_uid, subject.mime_type, encoding, charset)
        known = self._memo  # one read and one write: associations of a service take turns here
        if known[0] != context:
            known = self._memo = context, {}
        return known[1]

    # --- about the object ----------------------------------------------------------------------------------------

    def subject(self, known: Known, facts: suspicion.Facts) -> Subject:
        """Whom and what an object is about."""
        name, patient_id = known.decoded(PATIENT_NAME), known.decoded(PATIENT_ID)
        patient = self.patient(patient_id, name, known.text(_BIRTH_DATE), known.text(_STUDY_UID))
        return Subject(facts.sop_class_uid, patient, known.identity, known.text(MIME_TYPE))

    def patient(self, patient_id: str, name: str, birth_date: str, study: str) -> Patient:
        """The pseudonym of a patient: by the Patient ID, and where there is none by what else tells people apart."""
        return self.pseudonyms.patient(patient_id or "\0".join(("", name, birth_date, "" if name else study)))

    def new_uid(self, tag: int, old: str) -> str:
        """What a UID becomes, or that it stays."""
        rule = self.plan.table("", 0).get(tag)
        return old if rule is not None and rule.code == "K" else self.pseudonyms.uid(old)

    def instance(self, header: FileHeader, data: memoryview, start: int) -> str:
        """The new SOP Instance UID of an object."""
        if not header.sop_instance_uid:  # its content names it
            return self.pseudonyms.uid(hashlib.sha256(data[start:]).hexdigest())
        return self.new_uid(_SOP_INSTANCE_UID, header.sop_instance_uid)

    def additions(self, encoding: Encoding, cleaned: bool) -> Mapping[int, bytes]:
        """The elements that say so, encoded, by tag."""
        codes = tuple(self.plan.method_codes())
        return _method(encoding, codes, self.plan.temporal, cleaned or self.plan.cleans_pixels, self.plan.hides_faces)


@lru_cache(maxsize=32)
def _method(
    encoding: Encoding, codes: tuple[tuple[str, str], ...], temporal: str, cleaned: bool, faceless: bool
) -> Mapping[int, bytes]:
    """What says that an object is de-identified, and how (PS3.15 E.1.1 and E.3)."""

    def element(tag: int, vr: str, text: str) -> bytes:
        return encoded(encoding, tag, vr, text.encode())

    order = "big" if encoding.big_endian else "little"
    coded = b""
    for code, meaning in codes:
        item = (
            element(0x00080100, "SH", code)
            + element(0x00080102, "SH", "DCM")
            + element(0x00080103, "SH", EDITION)
            + element(0x00080104, "LO", meaning[:64])
        )
        coded += b"\xff\xfe\xe0\0" if encoding.big_endian else b"\xfe\xff\0\xe0"
        coded += len(item).to_bytes(4, order) + item  # type: ignore[arg-type]
    names = [f"PS3.15 {EDITION} {meaning}"[:64] for _, meaning in codes]
    found = {
        _IDENTITY_REMOVED: element(_IDENTITY_REMOVED, "CS", "YES"),
        _METHOD: element(_METHOD, "LO", "\\".join(names)),
        _METHOD_CODES: encoded(encoding, _METHOD_CODES, "SQ", coded),
        _TEMPORAL: element(_TEMPORAL, "CS", temporal),
    }
    if cleaned:
        found[_BURNED_IN] = element(_BURNED_IN, "CS", "NO")
    if faceless:
        found[_RECOGNIZABLE] = element(_RECOGNIZABLE, "CS", "NO")
    return found


class Known:
    """What is read of an object before anything is decided."""

    def __init__(self, data: memoryview, elements: Sequence[RawElement], encoding: Encoding) -> None:
        self._data, self._encoding = data, encoding
        self._by_tag = {one.tag: one for one in elements}
        self.charset: CharacterSet = character_set(self.text(_CHARACTER_SET))

    def _raw(self, tag: int) -> bytes:
        one = self._by_tag.get(tag)
        if one is None or one.length == UNDEFINED:
            return b""
        return bytes(self._data[one.value_start : one.value_start + min(one.length, 4096)])

    def _number(self, tag: int) -> int:
        return int.from_bytes(self._raw(tag)[:2], "big" if self._encoding.big_endian else "little")

    def text(self, tag: int) -> str:
        """A value of ASCII."""
        return self._raw(tag).decode("latin-1").strip(" \0")

    def decoded(self, tag: int) -> str:
        """A value of text."""
        return decode_text(self._raw(tag), self.charset)

    def identity(self) -> frozenset[str]:
        """The words that name people, places and cases: all Person Names at any depth among them."""
        texts = [self.decoded(tag) for tag in _NAMING]
        texts += [
            decode_text(raw, self.charset) for raw in _person_names(self._data, self._by_tag.values(), self._encoding)
        ]
        return frozenset(word for text in texts for word in _words(text))

    def facts(self, header: FileHeader) -> suspicion.Facts:
        """What suspicion wants to know."""
        return suspicion.facts_of(self.text, header.sop_class_uid, header.transfer_syntax_uid, self._number)


def _person_names(data: memoryview, elements: Iterable[RawElement], encoding: Encoding) -> Iterator[bytes]:
    for one in elements:
        if one.vr == "PN" and one.length != UNDEFINED:
            yield bytes(data[one.value_start : one.end])
        elif one.vr == "SQ":
            for start, end, within in items(data, one, encoding):
                yield from _person_names(data, walk(data, start, end, within), within)


def _words(text: str) -> list[str]:
    return [word for word in fold(text).replace("^", " ").replace("=", " ").replace("\\", " ").split() if len(word) > 1]


def listed(
    data: memoryview, start: int, encoding: Encoding, transfer_syntax_uid: str
) -> tuple[list[RawElement], RawElement | None]:
    """The elements of the top level up to the trailing padding, and which of them is the pixel data."""
    found = list(_up_to_padding(walk(data, start, len(data), encoding, stop=_PIXEL_ELEMENTS)))
    pixels = next((one for one in reversed(found) if one.tag in _PIXEL_ELEMENTS), None)
    if pixels is not None and pixels.end < 0:
        if not is_encapsulated(transfer_syntax_uid):
            raise InvalidDataSetError(
                "the pixel data is encapsulated, which the transfer syntax does not allow", offending_element=pixels.tag
            )
        end = _fragments_end(data, pixels, encoding)
        whole = pixels._replace(end=end)
        found[found.index(pixels)] = pixels = whole
        found += _up_to_padding(walk(data, end, len(data), encoding))
    return found, pixels


def _up_to_padding(elements: Iterable[RawElement]) -> Iterator[RawElement]:
    for one in elements:
        yield one
        if one.tag == _TRAILING_PADDING:  # what comes then is no element
            return


def _fragments_end(data: memoryview, pixels: RawElement, encoding: Encoding) -> int:
    end = pixels.value_start
    for item in fragments(data, pixels, encoding):
        end = item[1]
    return end + 8


def fragments(data: memoryview, pixels: RawElement, encoding: Encoding) -> Iterator[tuple[int, int]]:
    """Where each item of encapsulated pixel data begins and ends, the offset table first (PS3.5 A.4).

    Raises:
        InvalidDataSetError: the file ends within them.
    """
    reader, pos = Reader(encoding), pixels.value_start
    while True:
        tag, _, start, length = reader.header(data, pos, len(data))
        if tag == SEQUENCE_END:
            return
        if tag != ITEM or length > len(data) - start:
            raise InvalidDataSetError("the pixel data ends too early", offending_element=pixels.tag)
        yield start, start + length
        pos = start + length


def pixel_pieces(source: Source, made: Anonymized) -> Iterator[Buffer]:
    """The element of the pixel data as it lies there, but for what codestreams say beside pixels."""
    data, pixels = source.data, made.pixels
    if pixels is None:
        return
    begin = pixels.start
    if pixels.length == UNDEFINED:
        ranges = _passed(source, fragments(data, pixels, made.encoding))
        for first, last in comments.in_fragments(data, ranges, made.transfer_syntax_uid):
            if begin == pixels.start:
                made.note_pixels("comments in codestreams")
            yield from _slices(source, begin, first)
            yield bytes(last - first)
            begin = last
    yield from _slices(source, begin, pixels.end)


def _passed(source: Source, ranges: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Ranges that are read one after the other: what lies behind is not kept in memory."""
    since = 0
    for start, end in ranges:
        yield start, end
        if end - since > _FORGET_AFTER:
            source.forget()
            since = end


def _slices(source: Source, begin: int, end: int) -> Iterator[memoryview]:
    """A range in pieces that are forgotten when they are written."""
    for start in range(begin, end, _FORGET_AFTER):
        yield source.data[start : min(start + _FORGET_AFTER, end)]
        if end - start > _FORGET_AFTER:
            source.forget()
