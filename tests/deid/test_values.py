"""New values for old ones."""

from __future__ import annotations

import pytest

from dcmkit.dataset.values import character_set
from dcmkit.deid.descriptors import Descriptors
from dcmkit.deid.profile import Rule
from dcmkit.deid.pseudonyms import Pseudonyms
from dcmkit.deid.values import ACCESSION_NUMBER, ENCAPSULATED_DOCUMENT, PATIENT_ID, PATIENT_NAME, Subject, Values
from dcmkit.errors import InvalidDataSetError

PSEUDONYMS = Pseudonyms(b"k" * 32)
PATIENT = PSEUDONYMS.patient("P1")
CT = "1.2.840.10008.5.1.4.1.1.2"
UTF_8 = character_set("ISO_IR 192")


def changed(code: str, tag: int, vr: str, raw: bytes, *, value: str = "", mime_type: str = "") -> bytes | None:
    subject = Subject(CT, PATIENT, lambda: frozenset({"brain"}), mime_type)
    made = Values(PSEUDONYMS, Descriptors(), subject).changed(Rule(code, "test", value), tag, vr, raw, UTF_8, 0)
    assert made is None or not len(made) & 1
    return made


@pytest.mark.parametrize("code", ["Z", "D"])
def test_identities_get_pseudonyms(code: str) -> None:
    assert changed(code, PATIENT_NAME, "PN", b"Smith^John") == _even(PATIENT.name)
    assert changed(code, PATIENT_ID, "LO", b"P1") == PATIENT.id.encode()
    assert changed(code, PATIENT_ID, "LO", b"P2") == PSEUDONYMS.patient("P2").id.encode()
    assert changed(code, ACCESSION_NUMBER, "SH", b"123 ") == PSEUDONYMS.accession("123").encode()


def test_what_was_empty_stays_empty() -> None:
    for code in "ZD":
        assert changed(code, PATIENT_NAME, "PN", b"") == b""
        assert not (changed(code, PATIENT_ID, "LO", b"  ") or b"").strip()
    assert changed("D", 0x0008002A, "DT", b"") == b""


def test_uids_are_mapped_one_by_one_and_those_of_the_standard_stay() -> None:
    made = changed("U", 0x00080058, "UI", b"1.2.3\\1.2.840.10008.1.2\\1.2.4")
    assert made is not None
    assert made.rstrip(b"\0").decode().split("\\") == [
        PSEUDONYMS.uid("1.2.3"), "1.2.840.10008.1.2", PSEUDONYMS.uid("1.2.4")
    ]  # fmt: skip
    assert changed("D", 0x006A0003, "UI", b"1.2.3\0") == changed("U", 0x006A0003, "UI", b"1.2.3\0")


def test_dummies_have_as_many_numbers_as_there_were() -> None:
    assert changed("D", 0x00700022, "FL", b"\1" * 16) == b"\0" * 16
    assert changed("D", 0x00181411, "DS", b"1.5\\2\\3") == b"0\\0\\0 "
    assert changed("D", 0x00081070, "PN", b"Jones^Ann") == _even(PSEUDONYMS.name("Jones^Ann"))


def test_numbers_that_look_like_blanks_are_numbers() -> None:
    assert changed("D", 0x00720078, "US", b"  ") == b"\0\0"


def test_documents_are_replaced_by_an_empty_one_of_their_type() -> None:
    made = changed("D", ENCAPSULATED_DOCUMENT, "OB", b"%PDF-1.4 Smith", mime_type="application/pdf")
    assert made is not None
    assert made.startswith(b"%PDF-")
    assert b"Smith" not in made


def test_dates_are_shifted_and_times_stay() -> None:
    made = changed("CD", 0x00080020, "DA", b"20200229")
    assert made not in (None, b"20200229")
    assert changed("CD", 0x00080030, "TM", b"101112.5") is None
    assert changed("CD", 0x00080201, "SH", b"-0330 ") is None
    assert changed("CD", 0x00080201, "SH", b"Smith ") == b"+0000 "
    for vr in ("DA", "TM", "DT"):
        malformed = changed("CD", 0x00080020, vr, b"Smith's birthday")
        assert malformed
        assert b"Smith" not in malformed


def test_text_loses_what_is_not_known_to_be_harmless() -> None:
    assert changed("CT", 0x0008103E, "LO", "Kopf Müller CT 1.5mm".encode()) == _even("Kopf CT 1.5mm")
    assert changed("CT", 0x0008103E, "LO", b"Brain") == b"Removed "  # it is a name in this object
    assert changed("CT", 0x00280301, "CS", b"SMITH ") == b"REMOVED "
    assert changed("CT", 0x00081070, "PN", b"Jones") == _even(PSEUDONYMS.name("Jones"))
    assert changed("CT", 0x00340007, "OB", b"Jones ") == b""


def test_a_rule_may_replace_a_value() -> None:
    assert changed("R", 0x00080080, "LO", b"", value="Universität") == _even("Universität")
    with pytest.raises(InvalidDataSetError):
        changed("?", 0x00080080, "LO", b"x")


def _even(text: str) -> bytes:
    raw = text.encode()
    return raw + b" " * (len(raw) & 1)
