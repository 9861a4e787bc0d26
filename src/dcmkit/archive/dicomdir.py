"""DICOMDIR: the directory of a file-set (PS3.10 8, PS3.3 F), made of the headers of its files.

Four levels: PATIENT, STUDY, SERIES, and what kind of object there is (PS3.3 Table F.4-1). What a record must have and
its object lacks is made up, as others do: a directory that cannot be read is of less use than one with `19000101`.
"""

from __future__ import annotations

import mmap
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from struct import Struct
from typing import TYPE_CHECKING

from dcmkit.dataset.elements import DataSet, Element, element, encode, items, text
from dcmkit.dataset.part10 import file_meta, read_file_header
from dcmkit.dataset.raw import EXPLICIT, Encoding, RawElement, RawElements, encoding_of, guess, walk
from dcmkit.errors import InputError, InvalidDataSetError
from dcmkit.uids import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    MEDIA_STORAGE_DIRECTORY_STORAGE,
    SOP_CLASSES,
)

if TYPE_CHECKING:
    from dcmkit.archive.located import Located

NAME = "DICOMDIR"
PATIENT, STUDY, SERIES, IMAGE, PRIVATE = "PATIENT", "STUDY", "SERIES", "IMAGE", "PRIVATE"

_LINKS = Struct("<HH2sHLHH2sHHHH2sHL").pack
_LINKS_LENGTH = 34
"""(0004,1400) next record, (0004,1410) in use, (0004,1420) first record below: all of fixed length."""
_ITEM = Struct("<HHL").pack
_UNSIGNED = Struct("<HH2sHL").pack
_LONG = Struct("<HH2sHL").pack
_SHORT = Struct("<HH2sHH").pack
_UTF_8 = "ISO_IR 192"

_CHARACTER_SET, _SOP_CLASS, _MODALITY = 0x00080005, 0x00080016, 0x00080060
_PATIENT_NAME, _PATIENT_ID, _STUDY_UID, _SERIES_UID = 0x00100010, 0x00100020, 0x0020000D, 0x0020000E
_STUDY_DATE, _STUDY_TIME, _STUDY_ID, _ACCESSION, _STUDY_DESCRIPTION = (
    0x00080020, 0x00080030, 0x00200010, 0x00080050, 0x00081030,
)  # fmt: skip
_SERIES_NUMBER, _INSTANCE_NUMBER, _ROWS, _NUMBER_OF_FRAMES = 0x00200011, 0x00200013, 0x00280010, 0x00280008
_CONTENT_DATE, _CONTENT_TIME, _CONCEPT_NAME, _CONTENT = 0x00080023, 0x00080033, 0x0040A043, 0x0040A730
_COMPLETION, _VERIFICATION, _VERIFICATION_TIME = 0x0040A491, 0x0040A493, 0x0040A030
_LABEL, _DESCRIPTION, _CREATOR = 0x00700080, 0x00700081, 0x00700084
_RELATIONSHIP, _VERIFIERS = 0x0040A010, 0x0040A073
_RECORD_TYPE, _RECORD_UID = 0x00041430, 0x00041432
_FILE_ID, _FILE_CLASS, _FILE_INSTANCE, _FILE_SYNTAX = 0x00041500, 0x00041510, 0x00041511, 0x00041512

_GENERIC = (_CONTENT_DATE, _CONTENT_TIME, _INSTANCE_NUMBER, _LABEL, _DESCRIPTION, _CREATOR)
_DOCUMENT = (_INSTANCE_NUMBER, _CONTENT_DATE, _CONTENT_TIME, _CONCEPT_NAME, _CONTENT)
_KEYS: dict[str, tuple[int, ...]] = {
    IMAGE: (_INSTANCE_NUMBER,),
    "RT DOSE": (_INSTANCE_NUMBER, 0x3004000A),
    "RT STRUCTURE SET": (_INSTANCE_NUMBER, 0x30060002, 0x30060008, 0x30060009),
    "RT PLAN": (_INSTANCE_NUMBER, 0x300A0002, 0x300A0006, 0x300A0007),
    "RT TREAT RECORD": (_INSTANCE_NUMBER, 0x30080250, 0x30080251),
    "PRESENTATION": (0x00700082, 0x00700083, _INSTANCE_NUMBER, _LABEL, _DESCRIPTION, _CREATOR, 0x00081115, 0x00700402),
    "WAVEFORM": (_INSTANCE_NUMBER, _CONTENT_DATE, _CONTENT_TIME),
    "SR DOCUMENT": (*_DOCUMENT, _COMPLETION, _VERIFICATION, _VERIFICATION_TIME),
    "KEY OBJECT DOC": _DOCUMENT,
    "SPECTROSCOPY": (
        0x00080008, _CONTENT_DATE, _CONTENT_TIME, _INSTANCE_NUMBER, 0x00089154, _NUMBER_OF_FRAMES, _ROWS, 0x00280011,
        0x00289001, 0x00289002,
    ),
    "RAW DATA": (_CONTENT_DATE, _CONTENT_TIME, _INSTANCE_NUMBER),
    "REGISTRATION": _GENERIC,
    "FIDUCIAL": _GENERIC,
    "VALUE MAP": _GENERIC,
    "SURFACE": _GENERIC,
    "TRACT": _GENERIC,
    "MEASUREMENT": _GENERIC,
    "ANNOTATION": _GENERIC,
    "SURFACE SCAN": (_CONTENT_DATE, _CONTENT_TIME),
    "ASSESSMENT": (_INSTANCE_NUMBER, 0x00080012, 0x00080013),
    "RADIOTHERAPY": (_INSTANCE_NUMBER, 0x30100033, 0x30100034, _DESCRIPTION, _CREATOR),
    "ENCAP DOC": (_CONTENT_DATE, _CONTENT_TIME, _INSTANCE_NUMBER, _CONCEPT_NAME, 0x00420010, 0x0040E001, 0x00420012),
    "STEREOMETRIC": (),
    "PLAN": (),
    PRIVATE: (),
}  # fmt: skip
"""What is taken from the object for its record (PS3.3 F.5), by record type."""
_OF_PATIENT = (_PATIENT_NAME, _PATIENT_ID)
_OF_STUDY = (_STUDY_DATE, _STUDY_TIME, _ACCESSION, _STUDY_DESCRIPTION, _STUDY_UID, _STUDY_ID)
_OF_SERIES = (_MODALITY, _SERIES_UID, _SERIES_NUMBER)

_DATES = (_STUDY_DATE, 0x00080021, 0x00080022, _CONTENT_DATE, 0x00080012)
_TIMES = (_STUDY_TIME, 0x00080031, 0x00080032, _CONTENT_TIME, 0x00080013)
"""Of study, series, acquisition, content, creation: one can stand in for another."""
_NO_DATE, _NO_TIME = "19000101", "000000"
_MADE_UP = {
    _COMPLETION: "PARTIAL", _VERIFICATION: "UNVERIFIED", _LABEL: "UNLABELED", 0x30060002: "UNLABELED",
    0x300A0002: "UNLABELED", 0x3004000A: "PLAN", 0x00420012: "application/octet-stream", _MODALITY: "OT",
    0x00080008: "ORIGINAL\\PRIMARY",
}  # fmt: skip
_DATES_NEEDED = frozenset({_STUDY_DATE, _CONTENT_DATE, 0x00700082, 0x00080012})
_TIMES_NEEDED = frozenset({_STUDY_TIME, _CONTENT_TIME, 0x00700083})
_MAY_BE_EMPTY = frozenset({
    _PATIENT_NAME, _ACCESSION, _STUDY_DESCRIPTION, _DESCRIPTION, _CREATOR, 0x30060008, 0x30060009, 0x300A0006,
    0x300A0007, 0x30080250, 0x30080251, 0x00420010, 0x00080013, _CONCEPT_NAME,
})  # fmt: skip
"""Type 2: there, with a value or without."""
_WANTED = frozenset(
    {tag for keys in _KEYS.values() for tag in keys}
    | {*_OF_PATIENT, *_OF_STUDY, *_OF_SERIES, *_DATES, *_TIMES, _CHARACTER_SET, _SOP_CLASS, _VERIFIERS, 0x300A0002}
)
_LONGEST_TEXT, _LONGEST_SEQUENCE, _LONGEST_VALUE = 1024, 1 << 16, 1 << 22
"""Characters of a text and bytes of a sequence in a record, and bytes of an element that is read."""
_PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_INFLATED = 1 << 26
_MUST_NUMBER = frozenset({_INSTANCE_NUMBER, _SERIES_NUMBER})
_IMAGES_BY_NAME = ("ImageStorage", "USVolumeStorage", "VolumeAnalysisStorage", "MapStorage", "SegmentationStorage")


# --- kinds of records ----------------------------------------------------------------------------------------------


def record_type(sop_class_uid: str, keys: DataSet) -> str:
    """The type of an object's record (PS3.3 Table F.4-1): by its SOP class, or by what it has."""
    name = SOP_CLASSES.get(sop_class_uid, "")
    for ends, kind in _TYPES:
        if name.endswith(ends):
            return kind
    if name.endswith(_IMAGES_BY_NAME) or _ROWS in keys:
        return IMAGE
    return PRIVATE


_TYPES: tuple[tuple[tuple[str, ...], str], ...] = (
    (("SpectaclePrescriptionReportStorage", "MacularGridThicknessAndVolumeReportStorage"), "SR DOCUMENT"),
    (("KeyObjectSelectionDocumentStorage",), "KEY OBJECT DOC"),
    (("SRStorage", "ProcedureLogStorage"), "SR DOCUMENT"),
    (("PresentationStateStorage", "BasicStructuredDisplayStorage"), "PRESENTATION"),
    (("WaveformStorage",), "WAVEFORM"),
    (("RTDoseStorage",), "RT DOSE"),
    (("RTStructureSetStorage",), "RT STRUCTURE SET"),
    (("RTPlanStorage", "RTIonPlanStorage"), "RT PLAN"),
    (("TreatmentRecordStorage", "TreatmentSummaryRecordStorage"), "RT TREAT RECORD"),
    (("DeliveryInstructionStorage",), "PLAN"),
    (
        (
            "RTPhysicianIntentStorage", "RTSegmentAnnotationStorage", "RTRadiationSetStorage", "RadiationStorage",
            "RadiationRecordStorage", "RTRadiationRecordSetStorage", "RTRadiationSalvageRecordStorage",
            "RTTreatmentPreparationStorage", "RTPatientPositionAcquisitionInstructionStorage",
        ),
        "RADIOTHERAPY",
    ),
    (("SpectroscopyStorage",), "SPECTROSCOPY"),
    (("RawDataStorage",), "RAW DATA"),
    (("SpatialRegistrationStorage",), "REGISTRATION"),
    (("SpatialFiducialsStorage",), "FIDUCIAL"),
    (("RealWorldValueMappingStorage",), "VALUE MAP"),
    (("StereometricRelationshipStorage",), "STEREOMETRIC"),
    (("MeasurementsStorage", "IntraocularLensCalculationsStorage"), "MEASUREMENT"),
    (("SurfaceSegmentationStorage",), "SURFACE"),
    (("SurfaceScanMeshStorage", "SurfaceScanPointCloudStorage"), "SURFACE SCAN"),
    (("TractographyResultsStorage",), "TRACT"),
    (("ContentAssessmentResultsStorage",), "ASSESSMENT"),
    (("MicroscopyBulkSimpleAnnotationsStorage",), "ANNOTATION"),
    (
        tuple(f"Encapsulated{kind}Storage" for kind in ("PDF", "CDA", "STL", "OBJ", "MTL")),
        "ENCAP DOC",
    ),
)  # fmt: skip


# --- names of files ------------------------------------------------------------------------------------------------


class FileNames:
    """File IDs (PS3.10 8.2): components of at most eight capitals and digits, which any medium takes (PS3.12 F)."""

    def __init__(self) -> None:
        self._studies: dict[str, int] = {}
        self._series: dict[tuple[str, str], int] = {}
        self._files: dict[tuple[str, str], int] = {}

    def of(self, study: str, series: str) -> tuple[str, ...]:
        """The components of the path of one more file."""
        here = study, series
        number = self._studies.setdefault(study, len(self._studies) + 1)
        of_series = self._series.setdefault(here, len(self._series) + 1)
        file = self._files[here] = self._files.get(here, 0) + 1
        return "DICOM", f"ST{number:06}", f"SE{of_series:06}", f"IM{file:06}"


# --- reading -------------------------------------------------------------------------------------------------------


def read_keys(path: str) -> DataSet:
    """The elements of a file that its records are made of.

    Raises:
        InputError, InvalidDataSetError: it cannot be read, or not be followed.
    """
    header = read_file_header(path, allow_bare=True)
    try:
        with open(path, "rb", buffering=0) as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise InputError(f"the file cannot be read: {getattr(error, 'strerror', None) or error}") from None
    view = memoryview(mapped)
    try:
        if header.transfer_syntax_uid == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
            return _decoded(memoryview(_inflated(view[header.offset :])), 0, EXPLICIT)
        return _decoded(view, header.offset, encoding_of(header.transfer_syntax_uid))
    finally:
        try:
            view.release()
            mapped.close()
        except BufferError:  # an error on its way out still looks at it
            pass


def _decoded(data: memoryview, start: int, encoding: Encoding) -> DataSet:
    end = len(data)
    encoding = guess(data, start, end, encoding)
    found: list[RawElement] = []
    for one in walk(data, start, end, encoding, stop=_PIXELS):
        if one.tag in _PIXELS:
            break
        if one.tag in _WANTED and one.end - one.start <= _LONGEST_VALUE:
            found.append(one)
    return RawElements(data, encoding, found).decoded()


def _inflated(data: memoryview) -> bytes:
    """The beginning of a deflated data set; what records are made of stands there."""
    try:
        return zlib.decompressobj(-15).decompress(data, _INFLATED)
    except zlib.error:
        raise InvalidDataSetError("the deflated data set is damaged") from None


# --- the directory -------------------------------------------------------------------------------------------------


class _Record:
    """A directory record: its own elements, and the records below it."""

    __slots__ = ("below", "content", "position")

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.below: dict[str, _Record] = {}
        self.position = 0


class Directory:
    """The directory of a file-set. `add` its files, then `encode`.

    Args:
        file_set_id: up to 16 capitals, digits and underscores.
    """

    def __init__(self, file_set_id: str = "") -> None:
        self._file_set_id = file_set_id
        self._patients: dict[str, _Record] = {}
        self._patient_of: dict[str, _Record] = {}
        self._digest = sha256()
        self.count = 0

    def add(
        self,
        path: Sequence[str],
        one: Located,
        keys: Mapping[int, Element],
        transfer_syntax_uid: str,
        instance: str = "",
    ) -> None:
        """One more file.

        Args:
            path: components of its File ID.
            one: what the index knows of it.
            keys: what `read_keys` found in it; may be empty.
            transfer_syntax_uid, instance: of the file in the file-set.
        """
        self.count += 1
        instance = instance or one.instance
        known = dict(keys)
        known[_STUDY_UID], known[_SERIES_UID] = element(_STUDY_UID, one.study), element(_SERIES_UID, one.series)
        if one.modality and not text(known, _MODALITY):
            known[_MODALITY] = element(_MODALITY, one.modality)
        series = self._series(known, one)
        kind = record_type(one.sop_class_uid, known)
        own = {
            _FILE_ID: element(_FILE_ID, "\\".join(path)),
            _FILE_CLASS: element(_FILE_CLASS, one.sop_class_uid),
            _FILE_INSTANCE: element(_FILE_INSTANCE, instance),
            _FILE_SYNTAX: element(_FILE_SYNTAX, transfer_syntax_uid),
        }
        if kind == PRIVATE:  # PS3.3 F.6.1: what it means is told by whoever has the class
            own[_RECORD_UID] = element(_RECORD_UID, one.sop_class_uid)
        content = _content(kind, own, _taken(_KEYS[kind], known, len(series.below) + 1))
        series.below[f"{instance}/{self.count}"] = _Record(content)
        self._digest.update(f"{instance}\n{'/'.join(path)}\n".encode("utf-8", "replace"))

    def _series(self, known: DataSet, one: Located) -> _Record:
        """The record of the file's series; those above it are made, too, where they are new."""
        patient = self._patient_of.get(one.study)
        if patient is None:
            number = len(self._patients) + 1
            key = text(known, _PATIENT_ID) or f"{text(known, _PATIENT_NAME)}\n{one.study}"
            patient = self._patients.get(key)
            if patient is None:
                patient = _Record(_content(PATIENT, {}, _taken(_OF_PATIENT, known, number)))
                self._patients[key] = patient
            self._patient_of[one.study] = patient
        study = _below(patient, STUDY, one.study, _OF_STUDY, known)
        return _below(study, SERIES, one.series, _OF_SERIES, known)

    def encode(self) -> bytes:
        """The file. The same files make the same bytes."""
        uid = "2.25." + str(int.from_bytes(self._digest.digest()[:16], "big") >> 8)
        meta = file_meta(MEDIA_STORAGE_DIRECTORY_STORAGE, uid, EXPLICIT_VR_LITTLE_ENDIAN)
        head = encode({0x00041130: element(0x00041130, self._file_set_id)}, EXPLICIT_VR_LITTLE_ENDIAN)
        start = len(meta) + len(head) + 12 + 12 + 10 + 12
        order = list(_in_order(self._patients.values()))
        position = start
        for record in order:
            record.position = position
            position += 8 + _LINKS_LENGTH + len(record.content)
        if position > 0xFFFFFFFF:
            raise InvalidDataSetError("a directory of more than four gigabytes")
        roots = list(self._patients.values())
        pieces = [
            meta,
            head,
            _UNSIGNED(4, 0x1200, b"UL", 4, roots[0].position if roots else 0),
            _UNSIGNED(4, 0x1202, b"UL", 4, roots[-1].position if roots else 0),
            _SHORT(4, 0x1212, b"US", 2, 0),
            _LONG(4, 0x1220, b"SQ", 0, position - start),
        ]
        for record, following in _with_next(roots):
            first = next(iter(record.below.values())).position if record.below else 0
            pieces.append(_ITEM(0xFFFE, 0xE000, _LINKS_LENGTH + len(record.content)))
            pieces.append(
                _LINKS(4, 0x1400, b"UL", 4, following, 4, 0x1410, b"US", 2, 0xFFFF, 4, 0x1420, b"UL", 4, first)
            )
            pieces.append(record.content)
        return b"".join(pieces)


def _below(above: _Record, kind: str, uid: str, keys: tuple[int, ...], known: DataSet) -> _Record:
    record = above.below.get(uid)
    if record is None:
        record = above.below[uid] = _Record(_content(kind, {}, _taken(keys, known, len(above.below) + 1)))
    return record


def _in_order(records: Iterable[_Record]) -> Iterator[_Record]:
    """Each record, then those below it; never more than four levels."""
    for record in records:
        yield record
        yield from _in_order(record.below.values())


def _with_next(records: Sequence[_Record]) -> Iterator[tuple[_Record, int]]:
    """As `_in_order`, each with where the next one of its level is."""
    for at, record in enumerate(records):
        yield record, records[at + 1].position if at + 1 < len(records) else 0
        yield from _with_next(list(record.below.values()))


# --- the elements of a record --------------------------------------------------------------------------------------


def _taken(tags: Iterable[int], known: DataSet, number: int) -> DataSet:
    """What a record has of its object; what it needs and the object lacks is made up.

    Args:
        number: of the record among those beside it.
    """
    found: DataSet = {}
    for tag in tags:
        one = _usable(tag, known)
        if one is None:
            made = _made_up(tag, known, number)
            if made is not None:
                found[tag] = element(tag, made)
        else:
            found[tag] = one
    if text(found, _VERIFICATION) == "VERIFIED" and _VERIFICATION_TIME not in found:
        times = [text(verifier, _VERIFICATION_TIME) for verifier in items(known, _VERIFIERS)]
        newest = max(times, default="")
        if newest:
            found[_VERIFICATION_TIME] = element(_VERIFICATION_TIME, newest)
        else:
            found[_VERIFICATION] = element(_VERIFICATION, "UNVERIFIED")
    return found


def _usable(tag: int, known: DataSet) -> Element | None:
    """An element that a record can have as it is."""
    one = known.get(tag)
    if one is None or not one.value:
        return None
    if isinstance(one.value, str):
        return one if len(one.value) <= _LONGEST_TEXT else Element(one.vr, one.value[:64])
    if not isinstance(one.value, list):
        return None
    inside = one.value
    if tag == _CONTENT:  # PS3.3 F.5.24: modifiers of the concept name only
        inside = [item for item in inside if text(item, _RELATIONSHIP) == "HAS CONCEPT MOD"]
    if not inside:
        return None
    try:
        size = len(encode({tag: Element("SQ", inside)}, EXPLICIT_VR_LITTLE_ENDIAN, charset=_UTF_8))
    except (UnicodeEncodeError, InvalidDataSetError):
        return None
    return Element("SQ", inside) if size <= _LONGEST_SEQUENCE else None


def _made_up(tag: int, known: DataSet, number: int) -> str | None:
    """The value of an attribute that the object does not have; None where the record does without it, too."""
    if tag in _DATES_NEEDED:
        return next((value for one in _DATES if (value := text(known, one))), _NO_DATE)
    if tag in _TIMES_NEEDED:
        return next((value for one in _TIMES if (value := text(known, one))), _NO_TIME)
    if tag in _MUST_NUMBER or tag == _STUDY_ID:
        return str(number)
    if tag == _PATIENT_ID:
        return f"UNKNOWN{number}"
    if tag in _MADE_UP:
        return _MADE_UP[tag]
    return "" if tag in _MAY_BE_EMPTY else None


def _content(kind: str, own: DataSet, taken: DataSet) -> bytes:
    """A record's elements behind its links."""
    whole = {_RECORD_TYPE: element(_RECORD_TYPE, kind), **own, **taken}
    whole = {tag: whole[tag] for tag in sorted(whole)}
    try:
        return encode(whole, EXPLICIT_VR_LITTLE_ENDIAN, charset="")
    except (UnicodeEncodeError, InvalidDataSetError):
        pass
    try:
        return encode(whole, EXPLICIT_VR_LITTLE_ENDIAN, charset=_UTF_8)
    except (UnicodeEncodeError, InvalidDataSetError):  # text that is none
        safe = {tag: one if tag not in taken else _harmless(one) for tag, one in whole.items()}
        return encode(safe, EXPLICIT_VR_LITTLE_ENDIAN, charset="")


def _harmless(one: Element) -> Element:
    if isinstance(one.value, list):
        return Element("SQ", [])
    if isinstance(one.value, bytes):
        return Element(one.vr, b"")
    return Element(one.vr, one.value.encode("ascii", "replace").decode("ascii"))
