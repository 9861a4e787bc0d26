"""Pseudonyms from one secret key: UIDs, patients, accession numbers, names, and each patient's date shift.

Each is HMAC-SHA256 of what it stands for, under a key of its own kind that comes from the secret one. So they are the
same in any process, order and number of workers, without a database, and a value used as two kinds of thing has two
pseudonyms that do not show it. Without the key none can be recomputed, however few values there are to try.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from typing import NamedTuple, TypeVar

from dcmkit.errors import UsageError

SHORTEST_SHIFT, LONGEST_SHIFT = 30, 3650
"""Days that dates are moved by, into the past."""
UUID_ROOT = "2.25"
"""The root of UIDs that are UUIDs (PS3.5 B.2)."""

_UID_LENGTH = 64
_ENOUGH_DIGITS = 39
"""Digits of 128 bits; more tell nothing apart."""
_FEWEST_DIGITS = 20
"""Fewer, and two instances of a large archive might get the same UID."""
_UID = re.compile(r"(?:[01]\.(?:[0-9]|[123][0-9])|2\.(?:0|[1-9][0-9]*))(?:\.(?:0|[1-9][0-9]*))*")
_OF_THE_STANDARD = re.compile(r"1\.2\.840\.10008(?:\.(?:0|[1-9][0-9]{0,3})){1,14}")
"""What PS3.6 registers: numbers of four digits at most. Longer ones under its root are somebody's instances."""
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_CODE_LENGTH = 16
_NAME_LENGTH = 12
_FAMILY_NAME = "ANON"
_BLANK = " \0"
_CACHED = 1 << 16

_Value = TypeVar("_Value")


class Given(NamedTuple):
    """What a mapping says about one patient.

    Attributes:
        id: the new Patient ID.
        name: the new Patient's Name; "" for one from the key.
        shift: days to move dates by; None for a number from the key.
    """

    id: str
    name: str = ""
    shift: int | None = None


class Patient(NamedTuple):
    """One patient's pseudonyms.

    Attributes:
        id: Patient ID, 16 letters and digits unless it was given.
        name: Patient's Name, a PN.
        shift: days to move this patient's dates by.
    """

    id: str
    name: str
    shift: int


class Record(NamedTuple):
    """What was mapped to what, old to new."""

    patients: dict[str, Patient]
    accessions: dict[str, str]
    uids: dict[str, str]

    def add(self, other: Record) -> None:
        """Take in what another worker recorded."""
        self.patients.update(other.patients)
        self.accessions.update(other.accessions)
        self.uids.update(other.uids)


class Pseudonyms:
    """Pseudonyms under one key. Cheap to make; can be pickled, which leaves out what it recorded.

    Args:
        key: the secret, see `keys`.
        uid_root: what replaced UIDs begin with; `2.25` makes them UUIDs (PS3.5 B.2).
        given: by old Patient ID what is not to come from the key.
        recording: keep all that was mapped in `record`; otherwise memory stays bounded.

    Raises:
        UsageError: `uid_root` is no root of UIDs, or too long for one.
    """

    def __init__(
        self,
        key: bytes,
        *,
        uid_root: str = UUID_ROOT,
        given: Mapping[str, Given] | None = None,
        recording: bool = True,
    ) -> None:
        self._key, self._given, self._recording = key, dict(given or {}), recording
        self._root = _checked_root(uid_root)
        self._digits = min(_ENOUGH_DIGITS, _UID_LENGTH - len(self._root) - 1)
        self._uid_key = _derived(key, "uid")
        self._patient_id_key = _derived(key, "patient id")
        self._patient_name_key = _derived(key, "patient name")
        self._shift_key = _derived(key, "date shift")
        self._accession_key = _derived(key, "accession number")
        self._name_key = _derived(key, "name")
        self._text_key = _derived(key, "text")
        self.record = Record({}, {}, {})

    def __reduce__(self) -> tuple[object, ...]:
        return _again, (self._key, self._root, self._given, self._recording)

    def __repr__(self) -> str:
        return "Pseudonyms(...)"

    def uid(self, old: str) -> str:
        """The UID that stands for `old`, or for each of several; those of the standard stay."""
        found = self.record.uids.get(old)
        if found is not None:
            return found
        if "\\" in old:
            return "\\".join([self.uid(one) for one in old.split("\\")])
        bare = old.strip(_BLANK)
        if bare != old:
            return self.uid(bare)
        if not bare or is_of_the_standard(bare):
            return bare
        return self._keep(self.record.uids, bare, self._new_uid(bare))

    def patient(self, identity: str) -> Patient:
        """The pseudonyms of a patient.

        Args:
            identity: what tells patients apart, in general the Patient ID; blanks around it do not count. One that
                begins with NUL is no Patient ID's.
        """
        found = self.record.patients.get(identity)
        if found is not None:
            return found
        bare = identity.lstrip(" ").rstrip(_BLANK)
        if bare != identity:
            return self.patient(bare)
        given = self._given.get(bare)
        shift = None if given is None else given.shift
        patient = Patient(
            id=given.id if given is not None else _code(_digest(self._patient_id_key, bare), _CODE_LENGTH),
            name=given.name if given is not None and given.name else self._new_name(self._patient_name_key, bare),
            shift=self._new_shift(bare) if shift is None else shift,
        )
        return self._keep(self.record.patients, bare, patient)

    def accession(self, old: str) -> str:
        """The Accession Number that stands for `old`; "" stays."""
        found = self.record.accessions.get(old)
        if found is not None:
            return found
        bare = old.strip(_BLANK)
        if not bare:
            return ""
        new = _code(_digest(self._accession_key, bare), _CODE_LENGTH)
        return self._keep(self.record.accessions, bare, new)

    def name(self, old: str) -> str:
        """The name that stands for somebody's who is not the patient, or for each of several; "" stays.

        Case, accents and trailing delimiters do not count.
        """
        from dcmkit.dataset.values import fold

        names = [one.strip(_BLANK) for one in old.split("\\")]
        return "\\".join([self._new_name(self._name_key, fold(one)) if one else "" for one in names])

    def text(self, old: str, length: int) -> str:
        """Letters and digits, `length` or 16 at most, that stand for a text; "" stays."""
        bare = old.strip(_BLANK)
        return _code(_digest(self._text_key, bare), min(length, _CODE_LENGTH)) if bare else ""

    def taken(self) -> Record:
        """What was recorded since this was last asked; nothing unless `recording`."""
        if not self._recording:
            return Record({}, {}, {})
        found, self.record = self.record, Record({}, {}, {})
        return found

    def _new_uid(self, old: str) -> str:
        digest = _digest(self._uid_key, old)
        if self._root == UUID_ROOT:
            # A UUID of version 4, variant 1 (ITU-T X.667 15): nothing tells it from a random one.
            number = int.from_bytes(digest[:16], "big") & ~(0xF << 76) | 4 << 76
            return f"{UUID_ROOT}.{number & ~(3 << 62) | 2 << 62}"
        least: int = 10 ** (self._digits - 1)
        return f"{self._root}.{least + int.from_bytes(digest, 'big') % (9 * least)}"

    def _new_shift(self, identity: str) -> int:
        number = int.from_bytes(_digest(self._shift_key, identity)[:16], "big")
        return -SHORTEST_SHIFT - number % (LONGEST_SHIFT - SHORTEST_SHIFT + 1)

    @staticmethod
    def _new_name(key: bytes, old: str) -> str:
        return f"{_FAMILY_NAME}^{_code(_digest(key, old), _NAME_LENGTH)}"

    def _keep(self, recorded: dict[str, _Value], old: str, new: _Value) -> _Value:
        if not self._recording and len(recorded) >= _CACHED:
            recorded.clear()
        recorded[old] = new
        return new


def is_of_the_standard(uid: str) -> bool:
    """Whether a UID is one that PS3.6 registers, which says nothing about anybody."""
    return _OF_THE_STANDARD.fullmatch(uid) is not None


def _again(key: bytes, root: str, given: Mapping[str, Given], recording: bool) -> Pseudonyms:
    return Pseudonyms(key, uid_root=root, given=given, recording=recording)


def _derived(key: bytes, kind: str) -> bytes:
    return hmac.digest(key, b"dcmkit deid 1: " + kind.encode(), "sha256")


def _digest(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode("utf-8", "surrogatepass"), "sha256")


def _code(digest: bytes, length: int) -> str:
    """So many letters and digits, five bits each."""
    number = int.from_bytes(digest, "big")
    return "".join([_LETTERS[number >> 5 * at & 31] for at in range(length)])


def _checked_root(root: str) -> str:
    bare = root.strip().rstrip(".")
    if _UID.fullmatch(bare) is None:
        raise UsageError(f"{root!r} is no root of UIDs", hint="numbers joined by dots, such as 1.3.6.1.4.1.99999.1")
    if bare == "1.2.840.10008" or bare.startswith("1.2.840.10008."):
        raise UsageError(f"{root!r} belongs to the DICOM standard", hint="take 2.25 or a root of your own")
    if len(bare) + 1 + _FEWEST_DIGITS > _UID_LENGTH:
        longest = _UID_LENGTH - 1 - _FEWEST_DIGITS
        raise UsageError(f"the UID root {root!r} is too long", hint=f"{longest} characters at most")
    return bare
