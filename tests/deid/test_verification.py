"""The proof that nothing is left: what was planted is found wherever it is, what is none is no leak."""

from __future__ import annotations

import random
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcmkit.dataset.values import character_set
from dcmkit.deid import verification
from dcmkit.deid.verification import COINCIDENCE, LEAK, Finding, Removed, search
from dcmkit.uids import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)
from tests.dataset.encoding import Element, Items, _element, header

NAME, ID, BIRTH, STUDY, DESCRIPTION = 0x00100010, 0x00100020, 0x00100030, 0x0020000D, 0x00081030
REMOVED = Removed(
    [
        ("PN", "Roe^Magdalena", NAME),
        ("LO", "PID-77123", ID),
        ("DA", "19510203", BIRTH),
        ("UI", "1.2.826.0.1.3680043.9.1", STUDY),
        ("LO", "Knee of Mrs Roe", DESCRIPTION),
    ]
)


def part_10(elements: list[Element], syntax: str = EXPLICIT_VR_LITTLE_ENDIAN, *, preamble: bytes = bytes(128)) -> bytes:
    meta = _element((0x00020003, "UI", b"2.25.1"), EXPLICIT_VR_LITTLE_ENDIAN)
    meta += _element((0x00020010, "UI", syntax.encode()), EXPLICIT_VR_LITTLE_ENDIAN)
    inner = EXPLICIT_VR_LITTLE_ENDIAN if syntax == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN else syntax
    body = b"".join(_element(one, inner) for one in elements)
    if syntax == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
        deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
        body = deflater.compress(body) + deflater.flush()
    return preamble + b"DICM" + meta + body


def kinds(findings: list[Finding]) -> set[tuple[int, str, str]]:
    return {(one.removed, one.found_in, one.kind) for one in findings}


def within(value: bytes, tag: int, vr: str, removed: Removed, *charsets: str) -> set[tuple[int, str, str]]:
    return kinds(search(part_10([(tag, vr, value), (0x7FE00010, "OW", bytes(4000))]), removed, charsets))


def test_nothing_left():
    data = part_10(
        [(0x00100010, "PN", b"ANON^ABCDEFGHIJKL"), (0x00080060, "CS", b"CT"), (0x7FE00010, "OW", bytes(9999))]
    )
    assert search(data, REMOVED, ["ISO_IR 100"]) == []
    assert search(data, Removed(), []) == []
    assert search(b"", REMOVED) == []


@pytest.mark.parametrize(
    "syntax",
    [
        EXPLICIT_VR_LITTLE_ENDIAN,
        IMPLICIT_VR_LITTLE_ENDIAN,
        EXPLICIT_VR_BIG_ENDIAN,
        DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    ],
)
def test_in_any_element_of_any_syntax(syntax: str):
    nested = Items([[(0x0040A730, "SQ", Items([[(0x0040A160, "UT", b"... of Magdalena ...")]]))]])
    data = part_10(
        [
            (0x0008103E, "LO", b"PID-77123"),
            (0x00081110, "SQ", nested),
            (0x00091010, "LO", b"1.2.826.0.1.3680043.9.1"),
            (0x00204000, "LT", b"born 1951-02-03"),
        ],
        syntax,
    )
    assert kinds(search(data, REMOVED)) == {
        (ID, "0008,103E", LEAK),
        (NAME, "0040,A160", LEAK),
        (STUDY, "0009,1010", LEAK),
        (BIRTH, "0020,4000", LEAK),
    }


def test_outside_of_elements():
    data = part_10([(0x00080060, "CS", b"CT")], preamble=b"Roe^Magdalena".ljust(128, b"\0"))
    assert kinds(search(data, REMOVED)) == {(NAME, "preamble", LEAK)}
    data = part_10([(0x00080060, "CS", b"CT"), (0xFFFCFFFC, "OB", bytes(30) + b"PID-77123")])
    assert kinds(search(data, REMOVED)) == {(ID, "FFFC,FFFC", LEAK)}
    data = part_10([(0x00080060, "CS", b"CT")]) + b"PID-77123"
    assert kinds(search(data, REMOVED)) == {(ID, "unknown", LEAK)}
    data = part_10([(0x00080060, "CS", b"CT")]).replace(b"2.25.1", b"PID-77123"[:6])
    assert kinds(search(data, Removed([("LO", "PID-77", ID)]))) == {(ID, "0002,0003", LEAK)}


CHARSETS = [
    ("ISO_IR 100", "Jérôme"),
    ("ISO_IR 101", "Wałęsa"),
    ("ISO_IR 109", "Ĉapelo"),
    ("ISO_IR 110", "Ķirsis"),
    ("ISO_IR 144", "Люкceмбypг"),
    ("ISO_IR 127", "قباني"),
    ("ISO_IR 126", "Διονυσιος"),
    ("ISO_IR 138", "דבורה"),
    ("ISO_IR 148", "Çavuşoğlu"),
    ("ISO_IR 203", "Œuvre"),
    ("ISO_IR 166", "สวัสดี"),
    ("ISO_IR 13", "ﾔﾏﾀﾞ"),
    ("ISO_IR 192", "王^小东"),
    ("GB18030", "王^小东"),
    ("GBK", "王^小东"),
    ("\\ISO 2022 IR 87", "山田"),
    ("\\ISO 2022 IR 159", "丂丄"),
    ("ISO 2022 IR 13\\ISO 2022 IR 87", "山田"),
    ("\\ISO 2022 IR 149", "김희중"),
    ("\\ISO 2022 IR 58", "张小东"),
    ("ISO 2022 IR 100\\ISO 2022 IR 144", "Люк Жо"),
]


@pytest.mark.parametrize(("charset", "name"), CHARSETS)
def test_in_every_encoding(charset: str, name: str):
    """As the file's character set writes it, in UTF-8, and in UTF-16; given as text or as it was encoded."""
    raw = character_set(charset).encode(name)
    for value in (name, raw):
        removed = Removed([("PN", value, NAME)])
        for encoded in (raw, name.encode("utf-8"), name.encode("utf-16-le"), name.encode("utf-16-be")):
            for at in range(4):
                found = within(b"x" * at + b"  " + encoded + b"  ", 0x0008103E, "LO", removed, charset)
                assert found == {(NAME, "0008,103E", LEAK)}, (value, encoded)


@given(
    st.text(st.characters(categories=["Lu", "Ll", "Lo"]), min_size=4, max_size=20),
    st.sampled_from(["utf-8", "utf-16-le", "utf-16-be", "latin-1"]),
    st.binary(max_size=40),
)
def test_any_name_is_found_anywhere(name: str, codec: str, before: bytes):
    try:
        raw = name.encode(codec)
    except UnicodeEncodeError:
        return
    data = before + raw + before
    assert search(data, Removed([("PN", name, NAME)])), name


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.90"])
def test_within_a_codestream(syntax: str):
    comment = b"\xff\xd8\xff\xfe\x00\x16Patient Roe^Magdalena"
    fragments = header(0xFFFEE000, "", 0, "")
    for body in (random.Random(1).randbytes(20_000), comment + random.Random(2).randbytes(20_001)):
        fragments += header(0xFFFEE000, "", len(body), "") + body
    fragments += header(0xFFFEE0DD, "", 0, "")
    data = part_10([(0x00280100, "US", b"\x08\0")], syntax)
    data += header(0x7FE00010, "OB", 0xFFFFFFFF, EXPLICIT_VR_LITTLE_ENDIAN) + fragments
    (finding,) = search(data, REMOVED)
    assert finding == Finding(NAME, data.index(b"Roe^Mag"), "pixel data", LEAK)


def test_frames_that_are_deflated():
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    frame = deflater.compress(bytes(5000) + b"Roe^Magdalena" + bytes(5000)) + deflater.flush()
    frame += bytes(len(frame) % 2)
    data = part_10([(0x00280100, "US", b"\x08\0")], "1.2.840.10008.1.2.8.1")
    data += header(0x7FE00010, "OB", 0xFFFFFFFF, EXPLICIT_VR_LITTLE_ENDIAN) + header(0xFFFEE000, "", 0, "")
    data += header(0xFFFEE000, "", len(frame), "") + frame + header(0xFFFEE0DD, "", 0, "")
    assert kinds(search(data, REMOVED)) == {(NAME, "pixel data", LEAK)}


def test_much_deflated_data_is_searched_piece_by_piece(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(verification, "_INFLATED_CHUNK", 1000)
    for before in range(960, 1040):
        filling = bytes([n % 251 for n in range(before)])
        data = part_10(
            [(0x00091010, "UN", filling), (0x0020000D, "LO", b"Magdalena"), (0x7FE00010, "OW", bytes(5000))],
            DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
        )
        (finding,) = search(data, REMOVED)
        assert (finding.removed, finding.found_in, finding.kind) == (NAME, "0020,000D", LEAK)
    monkeypatch.setattr(verification, "_MAPPED_LIMIT", 500)
    assert kinds(search(data, REMOVED)) == {(NAME, "unknown", LEAK)}


def test_damaged_deflated_data_is_searched_as_far_as_it_goes():
    data = part_10(
        [(0x0020000D, "LO", b"Magdalena"), (0x7FE00010, "OB", random.Random(1).randbytes(9000))],
        DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    )
    assert kinds(search(data[:-4000], REMOVED))
    for cut in range(0, len(data), 997):
        search(data[:cut] + b"\xff" * 50, REMOVED)


# --- leak or coincidence -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("vr", "value", "tag", "where", "text", "kind"),
    [
        # names
        ("PN", "Roe^Mark", NAME, (0x00204000, "LT"), "Markers on the skin", COINCIDENCE),
        ("PN", "Roe^Mark", NAME, (0x00204000, "LT"), "seen by Mark today", LEAK),
        ("PN", "Roe^Mark", NAME, (0x00204000, "LT"), "Roe Mark", LEAK),
        ("PN", "Smith^Al", NAME, (0x00200010, "SH"), "Smith01", LEAK),
        ("PN", "Smithson^Al", NAME, (0x00200010, "SH"), "xsmithSmithsonx", LEAK),
        ("PN", "SMITH^AL", NAME, (0x00180015, "CS"), "SMITH", LEAK),
        ("PN", "Smith^Al", NAME, (0x00081090, "LO"), "Smith", LEAK),
        ("PN", "Smith^Al", NAME, (0x00080104, "LO"), "of Smith", LEAK),
        ("PN", "ANON^Al", NAME, (0x00100010, "PN"), "ANON^ABCDEFGHIJKL", COINCIDENCE),
        ("PN", "Anonymous", NAME, (0x00081030, "LO"), "Anonymous", COINCIDENCE),
        ("PN", "Li^Wei", NAME, (0x00081030, "LO"), "for Wei Li", LEAK),
        # identifiers
        ("LO", "123456", ID, (0x00081030, "LO"), "ACC123456", LEAK),
        ("LO", "123456", ID, (0x00081030, "LO"), "91234567", COINCIDENCE),
        ("LO", "1234567890", ID, (0x00081030, "LO"), "912345678909", LEAK),
        ("LO", "123456", ID, (0x00280030, "DS"), "0.123456", COINCIDENCE),
        ("LO", "1234567890", ID, (0x00280030, "DS"), "0.1234567890", LEAK),
        ("LO", "AB-12345", ID, (0x00280030, "DS"), "AB-12345", LEAK),
        ("LO", "123456", ID, (0x0020000E, "UI"), "2.25.91234567890", COINCIDENCE),
        ("LO", "123456", ID, (0x0020000E, "UI"), "1.2.826.123456.7", LEAK),
        ("SH", "10008", 0x00200010, (0x00080016, "UI"), "1.2.840.10008.5.1.4.1.1.2", COINCIDENCE),
        # dates, times, numbers
        ("DA", "20200115", BIRTH, (0x00080020, "DA"), "20200115", COINCIDENCE),
        ("DA", "20200115", BIRTH, (0x00100030, "DA"), "20200115", LEAK),
        ("DS", "70.5", 0x00101030, (0x00101030, "DS"), "70.5", LEAK),
        ("DS", "70.5", 0x00101030, (0x00101030, "DS"), "70.51", COINCIDENCE),
        ("DS", "70.5", 0x0040A30A, (0x0040A30A, "DS"), "70.5", COINCIDENCE),
        ("LO", "Brain-MRA", DESCRIPTION, (0x00081030, "LO"), "Brain-MRA", LEAK),
        ("LO", "ANONYMIZED", DESCRIPTION, (0x00081030, "LO"), "ANONYMIZED", COINCIDENCE),
        ("DA", "20200115", BIRTH, (0x00080020, "LO"), "on 20200115", LEAK),
        ("DA", "20200115", BIRTH, (0x00080020, "LO"), "on 2020-01-15", LEAK),
        ("DT", "20200115101112", BIRTH, (0x00080020, "LO"), "S20200115", LEAK),
        ("DA", "20200115", BIRTH, (0x0020000D, "UI"), "1.2.3.20200115.4", COINCIDENCE),
        ("TM", "1200", 0x00080030, (0x00081030, "LO"), "1200 mAs", COINCIDENCE),
        ("TM", "121314.567", 0x00080030, (0x00081030, "LO"), "at 121314.567", LEAK),
        ("DS", "70.5", 0x00101030, (0x00180050, "DS"), "70.5", COINCIDENCE),
        ("DS", "70.5", 0x00101030, (0x00081030, "LO"), "70.5 mm", COINCIDENCE),
        ("AS", "045Y", 0x00101010, (0x00081030, "LO"), "woman 045Y", LEAK),
        # words
        ("LO", "CHEST", DESCRIPTION, (0x00180015, "CS"), "CHEST", COINCIDENCE),
        ("LO", "Chest", DESCRIPTION, (0x00080104, "LO"), "Chest", COINCIDENCE),
        ("LO", "Knee of Mrs Roe", DESCRIPTION, (0x00180015, "CS"), "Knee of Mrs Roe", LEAK),
        ("LO", "Chest Mr Roe", DESCRIPTION, (0x00181030, "LO"), "Chest Mr Roe", LEAK),
        ("SH", "Aquilion", 0x00081010, (0x00081090, "LO"), "Aquilion", COINCIDENCE),
        ("CS", "UNCLEAR", 0x001021A0, (0x00081030, "LO"), "UNCLEAR", COINCIDENCE),
        ("SH", "113076", 0x00080100, (0x00080100, "SH"), "113076", COINCIDENCE),
        ("LO", "Unknown", DESCRIPTION, (0x00181030, "LO"), "Unknown", COINCIDENCE),
        ("LO", "Brain-MRA", DESCRIPTION, (0x00201040, "LO"), "Brain-MRA", COINCIDENCE),
        ("LO", "WHOLE BODY_E", DESCRIPTION, (0x00540400, "SH"), "WHOLE BODY_E", COINCIDENCE),
        ("LO", "CT BRAIN WO CONT", DESCRIPTION, (0x00081030, "LO"), "CT BRAIN WO CONTRAST", COINCIDENCE),
        ("LO", "of Magdal", DESCRIPTION, (0x00081030, "LO"), "Brain of Magdalena", LEAK),
        ("LO", "Brain 12345", DESCRIPTION, (0x00201040, "LO"), "Brain 12345", LEAK),
        ("PN", "Brain^Whole", NAME, (0x00201040, "LO"), "Brain", LEAK),
        ("LO", "ACME 1.0 x", 0x00490010, (0x00430010, "LO"), "ACME 1.0 x", COINCIDENCE),
        ("LO", "ACME 1.0 x", 0x00490010, (0x00431010, "LO"), "ACME 1.0 x", LEAK),
        # UIDs
        ("UI", "1.2.826.0.1.9.1", STUDY, (0x00081030, "LO"), "see 1.2.826.0.1.9.1.", LEAK),
        ("UI", "1.2.826.0.1.9.1", STUDY, (0x0020000E, "UI"), "1.2.826.0.1.9.1", LEAK),
        ("UI", "1.2.826.0.1.9.1", STUDY, (0x0020000E, "UI"), "1.2.826.0.1.9.1.5", COINCIDENCE),
        ("UI", "1.2.826.0.1.9.1", STUDY, (0x0020000E, "UI"), "1.2.826.0.1.9.12", COINCIDENCE),
        ("UI", "1.2.826.0.1.9.1", STUDY, (0x0020000E, "UI"), "1.2.3\\1.2.826.0.1.9.1\\4", LEAK),
        # what we write
        ("LO", "dcmkit", ID, (0x00120063, "LO"), "dcmkit", COINCIDENCE),
        ("LO", "Basic Profile", DESCRIPTION, (0x00120064, "LO"), "Basic Profile", COINCIDENCE),
        ("SH", "+0000", 0x00080201, (0x00080201, "SH"), "+0000", LEAK),
    ],
)
def test_what_it_is(vr: str, value: str, tag: int, where: tuple[int, str], text: str, kind: str):
    found = within(text.encode(), *where, Removed([(vr, value, tag)]))
    assert {(removed, one) for removed, _, one in found} == {(tag, kind)}


def test_elements_that_were_kept_on_purpose():
    data = part_10([(0x00080080, "LO", b"St Magdalena")])
    assert kinds(search(data, REMOVED, kept={0x00080080})) == {(NAME, "0008,0080", COINCIDENCE)}


def test_a_date_that_was_moved_may_be_what_another_was():
    data = part_10([(0x00080022, "DA", b"20200115")])
    removed = Removed([("DA", "20200115", 0x00080022)])
    assert kinds(search(data, removed)) == {(0x00080022, "0008,0022", LEAK)}
    assert kinds(search(data, removed, moved=True)) == {(0x00080022, "0008,0022", COINCIDENCE)}


@pytest.mark.parametrize(
    ("bits", "planted", "kind"),
    [
        (16, b"Magdalena Roe", LEAK),
        (16, b"PID-77123", LEAK),
        (16, b"Jane", COINCIDENCE),
        (16, "Jane".encode("utf-16-le"), COINCIDENCE),
        (8, b"1111", COINCIDENCE),
        (8, b"abcdefgh", COINCIDENCE),
        (8, b"12345987", COINCIDENCE),
        (8, b"Magdalena Roe", LEAK),
    ],
)
def test_pixels(bits: int, planted: bytes, kind: str):
    text = planted.replace(b"\0", b"").decode()
    pixels = bytearray(random.Random(1).randbytes(30_000))
    pixels[10_000 : 10_000 + len(planted)] = planted
    data = part_10([(0x00280100, "US", struct.pack("<H", bits)), (0x7FE00010, "OW", bytes(pixels))])
    assert kinds(search(data, Removed([("LO", text, ID)]))) == {(ID, "pixel data", kind)}


def test_a_lookup_table_is_no_leak():
    ramp = bytes(range(256)) + b"".join(struct.pack("<H", n) for n in range(256))
    for text in ("ABCD", "abcdefghijklm", "0123456789"):
        assert {kind for *_, kind in within(ramp, 0x00281201, "OW", Removed([("LO", text, ID)]))} == {COINCIDENCE}


def test_an_icon_has_the_tables_of_its_image():
    table = random.Random(1).randbytes(512)
    removed = Removed([("OW", table, 0x00281201), ("OB", table, 0x00091010)])
    assert within(table, 0x00281201, "OW", removed) == {
        (0x00281201, "0028,1201", COINCIDENCE),
        (0x00091010, "0028,1201", LEAK),
    }


def test_random_files_are_no_leaks():
    generator = random.Random(3)
    removed = Removed([("SH", "".join(generator.choices("abcdefgh0123", k=4)), 0x00200010 + n) for n in range(200)])
    for _ in range(10):
        data = part_10([(0x00280100, "US", b"\x10\0"), (0x7FE00010, "OW", generator.randbytes(200_000))])
        assert all(one.kind == COINCIDENCE for one in search(data, removed))


def test_leaks_come_first_and_no_value_is_shown():
    data = part_10([(0x00080020, "DA", b"19510203"), (0x0008103E, "LO", b"PID-77123 PID-771234")])
    findings = search(data, REMOVED)
    assert [(one.removed, one.found_in, one.kind) for one in findings] == [
        (ID, "0008,103E", LEAK),
        (BIRTH, "0008,0020", COINCIDENCE),
    ]
    assert "77123" not in repr(findings)


def test_a_value_removed_from_two_attributes_is_told_of_both():
    removed = Removed([("LO", "PID-77123", ID), ("SH", "PID-77123", 0x00101000)])
    found = within(b"PID-77123", 0x0008103E, "LO", removed)
    assert found == {(ID, "0008,103E", LEAK), (0x00101000, "0008,103E", LEAK)}


@given(
    st.binary(max_size=400), st.lists(st.tuples(st.sampled_from(["PN", "LO", "UI", "DA", "UN"]), st.text(), st.just(1)))
)
def test_any_bytes_and_any_values(data: bytes, values: list[tuple[str, str, int]]):
    for syntax in ("", DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, "1.2.840.10008.1.2.8.1"):
        search(data, Removed(values), ["ISO_IR 100"], syntax)
