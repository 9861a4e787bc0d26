"""What cannot be made safe by changing attributes: objects that are not written, each with the reason.

Names burned into pixels, spoken, or within a document cannot be told from the attributes of an object. What kind of
object it is tells how likely they are (PS3.15 E.3.1). Suspected are ultrasound, secondary captures, angiography and
fluoroscopy, photographs, video, film and scanned documents, labels of slides, whatever has BurnedInAnnotation YES, and
SOP classes that nobody but their maker knows. Images of CT, MR, PET, NM and of digital X-ray have it where they say so.

BurnedInAnnotation NO is not believed of an object that is suspected: many devices always send it. A file of rules may
say that it is, and which kinds, SOP classes and modalities pass or are held.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from dcmkit.uids import SOP_CLASSES

if TYPE_CHECKING:
    from dcmkit.deid.profile import Plan

_SOP_CLASS_UID, _IMAGE_TYPE, _MODALITY, _CONVERSION_TYPE = 0x00080016, 0x00080008, 0x00080060, 0x00080064
_MANUFACTURER, _MODEL, _BURNED_IN, _RECOGNIZABLE = 0x00080070, 0x00081090, 0x00280301, 0x00280302
_BODY_PART = 0x00180015
_ROWS, _COLUMNS, _DOCUMENT, _MIME_TYPE = 0x00280010, 0x00280011, 0x00420011, 0x00420012
_PIXELS = (_ROWS, _COLUMNS, 0x7FE00010, 0x7FE00008, 0x7FE00009, 0x00287FE0)
_DOCUMENT_GONE = frozenset("XZDR")

_STORAGE = "1.2.840.10008.5.1.4.1.1."


class Facts(NamedTuple):
    """What of an object decides whether it is suspected, and which boxes of its pixels are blanked.

    Attributes:
        burned_in, recognizable: (0028,0301) and (0028,0302).
        image_type: values joined by backslashes.
        pixels: whether it is an image at all.
        document: whether a document is encapsulated.
        body_part: (0018,0015).
    """

    sop_class_uid: str
    modality: str = ""
    burned_in: str = ""
    recognizable: str = ""
    conversion_type: str = ""
    image_type: str = ""
    manufacturer: str = ""
    model: str = ""
    transfer_syntax_uid: str = ""
    rows: int = 0
    columns: int = 0
    pixels: bool = True
    document: bool = False
    body_part: str = ""


class Overrides(NamedTuple):
    """What a file of rules says of suspicion.

    Attributes:
        passing, held: kinds (keys of `KINDS`), SOP Class UIDs and modalities. What is held wins.
        believe_no: whether BurnedInAnnotation NO is believed of all objects.
    """

    passing: frozenset[str] = frozenset()
    held: frozenset[str] = frozenset()
    believe_no: bool = False


KINDS: Mapping[str, str] = {
    "burned-in-annotation": "the object says that annotation is burned into its pixels",
    "ultrasound": "ultrasound images usually show the patient's name",
    "secondary-capture": "secondary captures often show the patient's name",
    "angiography": "angiographic and fluoroscopic images often show the patient's name",
    "photography": "photographs may show the patient, or a name",
    "video": "video may show the patient, or a name, and is heard as well",
    "film": "film that was printed or scanned usually shows the patient's name",
    "label": "images of slides with their label show whose they are",
    "face": "the patient may be recognized in its pixels",
    "audio": "recorded speech may name the patient",
    "document": "the encapsulated document is kept, and may name the patient",
    "unknown-sop-class": "nothing is known of the SOP class, and so of what else may name the patient",
}
"""Of what is suspected, and why."""
_BLANKABLE = frozenset(KINDS) - {"audio", "document"}
"""What boxes that are blanked make safe. Nobody blanks a frame of an object whose pixels he has not looked at."""
_SECTIONS = frozenset({"CT", "MR", "PT"})
_HEADS = frozenset({
    "HEAD", "HEADNECK", "HEAD AND NECK", "HEAD NECK", "SKULL", "BRAIN", "FACE", "ORBIT", "EYE", "NOSE", "SINUS",
    "PARANASALSINUS", "SPARANASAL", "JAW", "MAXILLA", "MANDIBLE", "EAR", "IAC", "TMJ", "WHOLEBODY", "WHOLE BODY",
})  # fmt: skip
"""Body parts (PS3.16 Annex L) with a face on them."""
_DISTRUSTED_NO = frozenset({"ultrasound", "secondary-capture", "angiography", "photography", "film"})
"""Where BurnedInAnnotation NO counts if rules say that it is believed."""


def _classes(suffixes: str, kind: str) -> dict[str, str]:
    return {_STORAGE + suffix: kind for suffix in suffixes.split()}


_BY_CLASS: Mapping[str, str] = {
    **_classes("3 3.1 6 6.1 6.2", "ultrasound"),
    **_classes("7 7.1 7.2 7.3 7.4", "secondary-capture"),
    **_classes("12.1 12.1.1 12.2 12.2.1 12.3", "angiography"),
    **_classes("77.1 77.2 77.1.1 77.1.2 77.1.3 77.1.4 77.1.5.1 77.1.5.2 77.1.5.5 77.1.5.6 77.1.7", "photography"),
    **_classes("77.1.1.1 77.1.2.1 77.1.4.1", "video"),
    **_classes("9.4.1 9.4.2", "audio"),
    "1.2.840.10008.5.1.1.29": "film",
    "1.2.840.10008.5.1.1.30": "film",
}
_BY_MODALITY: Mapping[str, str] = {
    **dict.fromkeys(("US", "IVUS", "EC", "CD", "DD"), "ultrasound"),
    **dict.fromkeys(("SC", "DOC"), "secondary-capture"),
    **dict.fromkeys(("XA", "RF", "XRF", "DS", "DSA", "CF", "DF", "VF"), "angiography"),
    **dict.fromkeys(("ES", "GM", "XC", "OP", "DMS", "CP", "CS", "LP", "FA", "FS"), "photography"),
    "HC": "film",
    "AU": "audio",
}
"""Retired terms as well (PS3.3 C.7.3.1.1.1)."""
_CAPTURES = frozenset({"DV", "DF", "WSD", "SD", "SI", "DRW"})
"""Conversion Types (PS3.3 C.8.6.1) that put on what stood on a screen, on film or on paper."""
_CAPTURES_FOR_RADIOTHERAPY = _CAPTURES - {"WSD"}
_RT_IMAGE = _STORAGE + "481.1"
"""There WSD is said of images that were calculated."""
_SLIDES = _STORAGE + "77.1.6"
_DOCUMENTS = _STORAGE + "104."
_VIDEO_SYNTAXES = ("1.2.840.10008.1.2.4.10", "1.2.840.10008.1.2.7.")
_SCREENS = ("SCREENSAVE", "SCREENCAPTURE", "SCREENSHOT", "SCREENGRAB")
_CAPTURED_TYPES = frozenset({
    "CAPTURE", "SECONDARYCAPTURE", "DOSEINFO", "DOSEREPORT", "DOSESHEET", "CSAREPORT", "PATIENTPROTOCOL", "REPORT",
    "HARDCOPY", "PRINT", "SCANNEDDOCUMENT", "SNAPSHOT",
})  # fmt: skip
"""Values of Image Type, without blanks, that makers give to pictures of a screen."""


def facts_of(
    text: Callable[[int], str],
    sop_class_uid: str,
    transfer_syntax_uid: str = "",
    number: Callable[[int], int] | None = None,
) -> Facts:
    """The facts of an object.

    Args:
        text: gives the value of an attribute at the top level as text, "" if there is none.
        sop_class_uid: where the data set names none.
        number: the same for attributes with VR US, 0 if there is none.
    """
    uid = text(_SOP_CLASS_UID) or sop_class_uid
    rows, columns = (number(_ROWS), number(_COLUMNS)) if number is not None else (0, 0)
    return Facts(
        uid, _code(text(_MODALITY)), _code(text(_BURNED_IN)), _code(text(_RECOGNIZABLE)), _code(text(_CONVERSION_TYPE)),
        _code(text(_IMAGE_TYPE)), text(_MANUFACTURER), text(_MODEL), transfer_syntax_uid, rows, columns,
        pixels=bool(rows or columns) or any(text(tag) for tag in _PIXELS),
        document=uid.startswith(_DOCUMENTS) or bool(text(_MIME_TYPE)), body_part=_code(text(_BODY_PART)),
    )  # fmt: skip


def reason(facts: Facts, plan: Plan, cleaning: bool) -> str | None:
    """Why an object cannot be made safe, in a sentence that says what to do next; None if it can.

    Args:
        cleaning: boxes of its pixels will be blanked.
    """
    overrides = plan.rules.quarantine if plan.rules is not None else Overrides()
    for kind in (facts.sop_class_uid, facts.modality):
        if kind and kind in overrides.held and not cleaning:
            return "the rules hold its SOP class or modality: blank what its pixels show, or change [quarantine] hold"
    kind = _suspected(facts, plan, cleaning, overrides)
    return _sentence(kind) if kind else None


def _suspected(facts: Facts, plan: Plan, cleaning: bool, overrides: Overrides) -> str:
    """The first kind of which an object is suspected that neither blanking nor rules settle."""
    passing = overrides.passing - overrides.held
    excused = facts.sop_class_uid in passing or (facts.modality in passing and bool(facts.modality))
    for kind in _kinds(facts, plan):
        settled = kind in passing or (excused and kind not in ("burned-in-annotation", "face"))
        if kind in _DISTRUSTED_NO and overrides.believe_no and facts.burned_in == "NO":
            settled = True
        if cleaning and kind in _BLANKABLE:
            settled = kind != "unknown-sop-class" or facts.pixels
        if not settled:
            return kind
    return ""


def _kinds(facts: Facts, plan: Plan) -> list[str]:
    """Everything an object is suspected of, the plainest first."""
    found = []
    if facts.burned_in not in ("", "NO"):
        found.append("burned-in-annotation")
    if plan.hides_faces and _shows_a_face(facts):
        found.append("face")
    if facts.document and _is_kept(facts, plan):
        found.append("document")
    if facts.sop_class_uid not in SOP_CLASSES:
        found.append("unknown-sop-class")
    if facts.sop_class_uid in _BY_CLASS:
        found.append(_BY_CLASS[facts.sop_class_uid])
    if facts.transfer_syntax_uid.startswith(_VIDEO_SYNTAXES):
        found.append("video")
    if facts.pixels:
        found += _of_pixels(facts)
    return found


def _shows_a_face(facts: Facts) -> bool:
    """Whether the surface of a head may be made of the pixels: it is said, or they are sections of one, or of what is
    not said."""
    if facts.recognizable in ("YES", "NO"):
        return facts.recognizable == "YES"
    return facts.pixels and facts.modality in _SECTIONS and (not facts.body_part or facts.body_part in _HEADS)


def _of_pixels(facts: Facts) -> list[str]:
    found = []
    types = [value.replace("_", "").replace(" ", "").replace("-", "") for value in facts.image_type.split("\\")]
    if facts.modality in _BY_MODALITY:
        found.append(_BY_MODALITY[facts.modality])
    captures = _CAPTURES_FOR_RADIOTHERAPY if facts.sop_class_uid == _RT_IMAGE else _CAPTURES
    pictured = any(value in _CAPTURED_TYPES or value.startswith(_SCREENS) for value in types)
    if pictured or facts.conversion_type in captures:
        found.append("secondary-capture")
    if (facts.sop_class_uid == _SLIDES or facts.modality == "SM") and not {"LABEL", "OVERVIEW"}.isdisjoint(types):
        found.append("label")
    return found


def _is_kept(facts: Facts, plan: Plan) -> bool:
    rule = plan.table(facts.sop_class_uid, 0).get(_DOCUMENT)
    return rule is None or rule.code not in _DOCUMENT_GONE


def _sentence(kind: str) -> str:
    passing = f'[quarantine] pass = ["{kind}"]'
    if kind == "document":
        remedy = f"let a dummy replace it, or let such objects pass with {passing} in the file of rules"
    elif kind in _BLANKABLE - {"unknown-sop-class", "video"}:
        remedy = f"blank it with --blank or a file of rules, or let such objects pass there with {passing}"
    else:
        remedy = f"look at it, and let such objects pass with {passing} in a file of rules"
    return f"{KINDS[kind]}: {remedy}"


def _code(text: str) -> str:
    """A value of VR CS, as it should have been written."""
    return "\\".join([value.strip(" \0") for value in text.upper().split("\\")])
