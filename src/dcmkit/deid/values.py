"""New values for old ones: what the rules X, Z, D, U and C of PS3.15 E.1.1 make of a single attribute."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from dcmkit.dataset.values import CharacterSet, decode_text
from dcmkit.deid import dates, documents, dummies
from dcmkit.deid.descriptors import Descriptors
from dcmkit.deid.profile import Rule
from dcmkit.deid.pseudonyms import Patient, Pseudonyms
from dcmkit.deid.tables import type_of
from dcmkit.errors import InvalidDataSetError

PATIENT_NAME, PATIENT_ID, ACCESSION_NUMBER = 0x00100010, 0x00100020, 0x00080050
ENCAPSULATED_DOCUMENT, MIME_TYPE = 0x00420011, 0x00420012
_TIMEZONE_OFFSET = 0x00080201
_OFFSET = re.compile(rb"[+-](?:0[0-9]|1[0-4])[0-5][0-9]")
_TEXT_VRS = frozenset({"LO", "LT", "SH", "ST", "UC", "UT", "PN", "CS", "AE", "UR"})
_TEMPORAL_VRS = frozenset({"DA", "DT", "TM"})
_SINGLE_VALUED = frozenset({"LT", "ST", "UT", "UR"})
_NUMBERS = frozenset({"FL", "FD", "OD", "OF", "OL", "OV", "US", "SS", "UL", "SL", "UV", "SV"})
"""Their dummies are as many zeros: how many there are says what they are, not whose."""
_LIMITS = {"SH": 16, "LO": 64, "CS": 16, "AE": 16, "PN": 64}
_NOTHING_LEFT = "Removed"
"""Stands where cleaning leaves nothing: many attributes must not be empty."""


class Subject(NamedTuple):
    """Whom and what an object is about.

    Attributes:
        patient: the pseudonym.
        identity: gives the words that name the patient and others, which descriptors lose.
        mime_type: of an encapsulated document.
    """

    sop_class_uid: str
    patient: Patient
    identity: Callable[[], frozenset[str]] = frozenset
    mime_type: str = ""


class Values:
    """Makes the values of one object's attributes."""

    def __init__(self, pseudonyms: Pseudonyms, descriptors: Descriptors, subject: Subject) -> None:
        self._pseudonyms, self._descriptors, self._subject = pseudonyms, descriptors, subject
        self._patient = subject.patient
        self._identity: frozenset[str] | None = None

    def changed(self, rule: Rule, tag: int, vr: str, raw: bytes, charset: CharacterSet, parent: int) -> bytes | None:
        """The value to write, of even length; None keeps the old one.

        Args:
            rule: never K or X.
            raw: as it is encoded.
            parent: tag of the sequence around, which decides whether a value is needed.
        """
        code = rule.code
        if code == "Z":
            return self._pseudonym(tag, raw, charset) if tag in _PSEUDONYMOUS and raw.strip(b" \0") else b""
        if not (raw if vr in _NUMBERS else raw.strip(b" \0")) and code != "R":
            return raw  # nothing is there to be replaced
        if code == "U":
            return self._uids(raw)
        if code == "D":
            return self._dummy(tag, vr, raw, charset)
        if code == "CD":
            return self._shifted(tag, vr, raw)
        if code == "CT":
            return self._cleaned(tag, vr, raw, charset, parent)
        if code == "R":
            return _padded(_encoded(rule.value, charset), vr)
        raise InvalidDataSetError(f"no such action for a value: {code}", offending_element=tag)

    def _pseudonym(self, tag: int, raw: bytes, charset: CharacterSet) -> bytes:
        if tag == PATIENT_NAME:
            return _padded(self._patient.name.encode(), "PN")
        if tag == PATIENT_ID:
            return _padded(self._pseudonyms.patient(decode_text(raw, charset)).id.encode(), "LO")
        return _padded(self._pseudonyms.accession(decode_text(raw, charset)).encode(), "SH")

    def _uids(self, raw: bytes) -> bytes:
        old = raw.decode("latin-1").strip(" \0").split("\\")
        return _padded("\\".join([self._pseudonyms.uid(uid.strip(" \0")) for uid in old]).encode(), "UI")

    def _dummy(self, tag: int, vr: str, raw: bytes, charset: CharacterSet) -> bytes:
        if tag in _PSEUDONYMOUS:
            return self._pseudonym(tag, raw, charset)
        if vr == "UI":
            return self._uids(raw)
        if vr == "PN":
            return _padded(self._pseudonyms.name(decode_text(raw, charset)).encode(), "PN")
        if tag == ENCAPSULATED_DOCUMENT:
            return _padded(documents.dummy(self._subject.mime_type), "OB")
        if vr in _NUMBERS:
            return bytes(len(raw))
        if vr in ("DS", "IS") and b"\\" in raw:
            return _padded(b"\\".join([b"0"] * (raw.count(b"\\") + 1)), vr)
        return dummies.dummy(vr, tag)

    def _shifted(self, tag: int, vr: str, raw: bytes) -> bytes | None:
        if tag == _TIMEZONE_OFFSET and _OFFSET.fullmatch(raw.strip(b" \0")):
            return None  # dates are moved by whole days, and times stay as they are: so does what they are relative to
        if vr not in _TEMPORAL_VRS:
            return dummies.dummy(vr, tag)
        old = raw.decode("latin-1")
        found = dates.shifted(old, vr, self._patient.shift)
        if found == old.strip(" \0"):
            return None  # a time of day
        return _padded(found.encode(), vr) if found.strip("\\") else dummies.dummy(vr, tag)

    def _cleaned(self, tag: int, vr: str, raw: bytes, charset: CharacterSet, parent: int) -> bytes:
        """Text loses all words that are not known to be harmless; other values cannot be cleaned and are dummies."""
        if vr not in _TEXT_VRS:
            if vr in _TEMPORAL_VRS or type_of(self._subject.sop_class_uid, parent, tag) == 1:
                return dummies.dummy(vr, tag)
            return b""
        text = decode_text(raw, charset)
        if vr == "PN":
            return _padded(self._pseudonyms.name(text).encode(), "PN")
        values = [text] if vr in _SINGLE_VALUED else text.split("\\")
        if self._identity is None:
            self._identity = self._subject.identity()
        identity = self._identity
        made = [self._descriptors.clean(value, identity)[: _LIMITS.get(vr)] for value in values]
        if vr == "CS":
            made = [value.upper() for value in made]
        if not any(made):
            made = [_NOTHING_LEFT.upper() if vr == "CS" else _NOTHING_LEFT]
        return _padded(_encoded("\\".join(made), charset), vr)


_PSEUDONYMOUS = frozenset({PATIENT_NAME, PATIENT_ID, ACCESSION_NUMBER})


def _encoded(text: str, charset: CharacterSet) -> bytes:
    try:
        return charset.encode(text)
    except UnicodeEncodeError:
        return text.encode("ascii", "replace")


def _padded(value: bytes, vr: str) -> bytes:
    """Of even length (PS3.5 6.2)."""
    if not len(value) & 1:
        return value
    return value + (b"\0" if vr in ("UI", "OB") else b" ")
