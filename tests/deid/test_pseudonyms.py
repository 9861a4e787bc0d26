"""Pseudonyms: valid, the same whenever the key is, and not to be found without it."""

from __future__ import annotations

import base64
import hashlib
import pickle
import re
import subprocess
import sys
import uuid
import zlib
from collections.abc import Iterator

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dcmkit.deid.pseudonyms import Given, Patient, Pseudonyms, Record, is_of_the_standard
from dcmkit.errors import UsageError

KEY, OTHER_KEY = bytes(range(32)), bytes(range(1, 33))
UID = re.compile(r"(?:[01]\.(?:[0-9]|[123][0-9])|2\.(?:0|[1-9][0-9]*))(?:\.(?:0|[1-9][0-9]*))*")
"""PS3.5 9.1: numbers without leading zeros; the second below 40 under 0 and 1 (ISO/IEC 8824)."""
ROOTS = st.sampled_from(["2.25", "1.3.6.1.4.1.99999.1", "1.2.826.0.1.3680043.10.543", "1.2." + "3" * 39, "0.9"])
TEXT = st.text(st.characters(exclude_characters="\\\0 "), min_size=1, max_size=70)


def valid(uid: str) -> bool:
    return len(uid) <= 64 and UID.fullmatch(uid) is not None


@given(TEXT, ROOTS)
def test_uids_are_valid_and_the_same_again(old: str, root: str):
    new = Pseudonyms(KEY, uid_root=root).uid(old)
    assert valid(new)
    assert new.startswith(root + ".")
    assert new == Pseudonyms(KEY, uid_root=root).uid(old)
    assert new != Pseudonyms(OTHER_KEY, uid_root=root).uid(old)


@given(TEXT)
def test_a_uid_below_2_25_is_a_uuid(old: str):
    assume(not is_of_the_standard(old.strip(" \0")))
    found = uuid.UUID(int=int(Pseudonyms(KEY).uid(old)[5:]))
    assert found.variant == uuid.RFC_4122
    assert found.version == 4


def test_a_root_gets_as_many_digits_as_fit():
    assert len(Pseudonyms(KEY, uid_root="1.2." + "3" * 39).uid("1.2.3")) == 64
    assert {len(Pseudonyms(KEY, uid_root="1.2.3").uid(f"1.2.{n}")) for n in range(50)} == {45}


@pytest.mark.parametrize(
    "root", ["", "x", "1.", "1.2.03", "1..2", "3.1", "1.40.1", "1.2." + "3" * 40, "1.2.840.10008.1"]
)
def test_what_is_no_root_is_told(root: str):
    if root == "1.":
        assert Pseudonyms(KEY, uid_root="1.2.3.").uid("1") == Pseudonyms(KEY, uid_root="1.2.3").uid("1")
    with pytest.raises(UsageError, match=r"root|standard"):
        Pseudonyms(KEY, uid_root=root)


@pytest.mark.parametrize(
    "uid", ["1.2.840.10008.1.4.1.1", "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.40.1.1", "1.2.840.10008.6.1.1530"]
)
def test_uids_of_the_standard_stay(uid: str):
    assert Pseudonyms(KEY).uid(uid) == uid


@pytest.mark.parametrize(
    "uid", ["1.2.840.10008.5.1.4.1.1.2.20200115.1", "1.2.840.10008.Doe", "1.2.840.1000", "1.2.840.100081.1"]
)
def test_what_only_looks_like_one_does_not(uid: str):
    assert Pseudonyms(KEY).uid(uid).startswith("2.25.")


def test_several_uids_and_their_padding():
    names = Pseudonyms(KEY)
    one, other = names.uid("1.2.3"), names.uid("1.2.4")
    assert names.uid("1.2.3\\1.2.4\\") == f"{one}\\{other}\\"
    assert names.uid("1.2.3\0") == names.uid(" 1.2.3 ") == one
    assert names.uid("") == names.uid("\0") == ""
    assert names.record.uids == {"1.2.3": one, "1.2.4": other}


@given(st.text(max_size=70))
def test_a_patient_is_the_same_again(identity: str):
    patient = Pseudonyms(KEY).patient(identity)
    assert re.fullmatch("[A-Z0-9]{16}", patient.id)
    assert re.fullmatch(r"[A-Z]+\^[A-Z0-9]+", patient.name)
    assert -3650 <= patient.shift <= -30
    assert patient == Pseudonyms(KEY).patient(identity)
    other = Pseudonyms(OTHER_KEY).patient(identity)
    assert patient.id != other.id
    assert patient.name != other.name


def test_whoever_has_no_patient_id_is_nobody_who_has_one():
    names = Pseudonyms(KEY)
    assert names.patient("\0Doe") != names.patient("Doe")
    assert names.patient("\0Doe\0\0") == names.patient("\0Doe")
    assert names.patient(" Doe \0") == names.patient("Doe")


def test_shifts_are_spread():
    names = Pseudonyms(KEY)
    shifts = {names.patient(str(number)).shift for number in range(5000)}
    assert len(shifts) > 2500
    assert min(shifts) < -3600
    assert max(shifts) > -80


def test_kinds_do_not_show_each_other():
    names = Pseudonyms(KEY)
    patient = names.patient("12345")
    codes = [patient.id, patient.name[5:], names.accession("12345"), names.name("12345")[5:], names.text("12345", 16)]
    assert len({code[:8] for code in codes}) == 5


def test_given_identities_win():
    names = Pseudonyms(
        KEY, given={"1": Given("SUBJ-1"), "2": Given("SUBJ-2", "Two", -40), "3": Given("SUBJ-3", shift=7)}
    )
    plain = Pseudonyms(KEY)
    assert names.patient("1") == plain.patient("1")._replace(id="SUBJ-1")
    assert names.patient("2 ") == Patient("SUBJ-2", "Two", -40)
    assert names.patient("3") == plain.patient("3")._replace(id="SUBJ-3", shift=7)
    assert names.patient("4") == plain.patient("4")


def test_accession_numbers_and_texts():
    names = Pseudonyms(KEY)
    assert re.fullmatch("[A-Z0-9]{16}", names.accession("A1"))
    assert names.accession("A1") == names.accession("A1 ")
    assert names.accession(" ") == names.text("", 16) == names.name("") == ""
    assert [len(names.text("x", length)) for length in (1, 8, 16, 64)] == [1, 8, 16, 16]


def test_names():
    names = Pseudonyms(KEY)
    assert names.name("Doe^John") == names.name("DOE^JOHN^^") == names.name(" doe^john ")
    one, other = names.name("Doe^John\\Roe^Jane").split("\\")
    assert one == names.name("Doe^John")
    assert other == names.name("Roe^Jane") != one


def test_what_is_recorded():
    names = Pseudonyms(KEY)
    patient, accession, uid = names.patient("P1"), names.accession("A1"), names.uid("1.2.3")
    assert names.record == Record({"P1": patient}, {"A1": accession}, {"1.2.3": uid})
    merged = Record({}, {}, {})
    merged.add(names.record)
    merged.add(Record({}, {}, {"1.2.4": "2.25.1"}))
    assert merged.uids == {"1.2.3": uid, "1.2.4": "2.25.1"}


def test_memory_is_bounded_where_nothing_is_recorded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("dcmkit.deid.pseudonyms._CACHED", 10)
    names = Pseudonyms(KEY, recording=False)
    for number in range(100):
        names.uid(f"1.2.{number}")
    assert len(names.record.uids) <= 10


def test_another_process_makes_the_same():
    names = Pseudonyms(KEY, uid_root="1.2.3", given={"P2": Given("X")})
    expected = names.uid("1.9"), names.patient("P1"), names.patient("P2"), names.accession("A"), names.name("D^J")
    again = pickle.loads(pickle.dumps(names))
    assert expected == (
        again.uid("1.9"),
        again.patient("P1"),
        again.patient("P2"),
        again.accession("A"),
        again.name("D^J"),
    )
    script = (
        "import sys; from dcmkit.deid.pseudonyms import *\n"
        "n = Pseudonyms(bytes(range(32)), uid_root='1.2.3', given={'P2': Given('X')})\n"
        "print((n.uid('1.9'), n.patient('P1'), n.patient('P2'), n.accession('A'), n.name('D^J')))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == repr(expected)


def test_the_key_is_not_shown():
    assert KEY.hex() not in repr(Pseudonyms(KEY))
    assert repr(KEY) not in repr(Pseudonyms(KEY))


def test_another_key_has_nothing_in_common():
    def made(key: bytes) -> set[str]:
        names = Pseudonyms(key)
        found = {names.uid(f"1.2.{n}") for n in range(500)}
        for number in range(500):
            patient = names.patient(f"P{number}")
            found |= {patient.id, patient.name, names.accession(f"A{number}"), names.name(f"N{number}")}
        return found

    one, other = made(KEY), made(OTHER_KEY)
    assert len(one) == len(other) == 2500
    assert not one & other


# --- without the key ---------------------------------------------------------------------------------------------

HASHES = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512", "sha3_256", "blake2b", "blake2s", "crc32", "adler32")


def digest(name: str, raw: bytes) -> bytes:
    if name in ("crc32", "adler32"):
        return (zlib.crc32 if name == "crc32" else zlib.adler32)(raw).to_bytes(4, "big")
    return hashlib.new(name, raw).digest()


def guesses(old: str) -> Iterator[str]:
    """What a tool without a secret would make of a value: its digests, as letters and as numbers."""
    for text in (old, old.upper(), old.lower(), old + " ", old + "\0"):
        for encoding in ("utf-8", "latin-1", "utf-16-le"):
            raw = text.encode(encoding)
            for name in HASHES:
                made = digest(name, raw)
                for part in (made, made[:16], made[-16:], made[:8], made[:20], made[::-1]):
                    yield part.hex()
                    for order in ("big", "little"):
                        yield str(int.from_bytes(part, order))
                    yield base64.b32encode(part).decode().rstrip("=")
                    yield base64.b64encode(part).decode().rstrip("=")
                if len(made) >= 16:
                    for version in (1, 3, 4, 5):
                        yield str(uuid.UUID(bytes=made[:16], version=version).int)
        for space in (uuid.NAMESPACE_OID, uuid.NAMESPACE_DNS, uuid.NAMESPACE_URL, uuid.NAMESPACE_X500):
            for made_uuid in (uuid.uuid5(space, text), uuid.uuid3(space, text)):
                yield str(made_uuid.int)
                yield made_uuid.hex


@pytest.mark.parametrize("root", ["2.25", "1.2.826.0.1.3680043.10.543"])
def test_digesting_old_values_finds_no_pseudonym(root: str):
    """Neither whole nor as the beginning or end of a digest, for 11 common hashes and name-based UUIDs."""
    names = Pseudonyms(KEY, uid_root=root)
    for old in ("1.2.826.0.1.3680043.8.498.1", "PID-0001", "123456", "Doe^John"):
        patient = names.patient(old)
        uid = names.uid(old)[len(root) + 1 :]
        codes = [patient.id, patient.name[5:], names.accession(old), names.name(old)[5:], names.text(old, 16)]
        for guess in guesses(old):
            assert uid[:10] not in guess
            assert uid[-10:] not in guess
            folded = guess.upper()
            assert not any(code[:10] in folded or code in folded for code in codes)


def test_a_date_shift_is_not_a_digest():
    """Over many patients, no digest of the identity tells the shift more often than chance does."""
    names = Pseudonyms(KEY)
    for name in HASHES:
        hits = 0
        for number in range(300):
            identity = f"PID-{number}"
            value = int.from_bytes(digest(name, identity.encode()), "big")
            hits += names.patient(identity).shift in (-30 - value % 3621, -(value % 3650), -30 - value % 3620)
        assert hits <= 4
