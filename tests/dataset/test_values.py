"""Character sets, numbers and folded names."""

from __future__ import annotations

import struct
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcmkit.dataset.values import (
    character_set,
    decode_integer,
    decode_numbers,
    decode_text,
    decode_values,
    fold,
    is_number,
)


def text(raw: bytes, charset: bytes | str | None) -> str:
    return decode_text(raw, character_set(charset))


@pytest.mark.parametrize(
    ("charset", "codec", "expected"),
    [
        (None, "ascii", "Doe^Jane"),
        ("ISO_IR 6", "ascii", "Doe^Jane"),
        ("ISO_IR 100", "iso8859-1", "Buc^Jérôme"),
        ("ISO_IR 101", "iso8859-2", "Wałęsa"),
        ("ISO_IR 109", "iso8859-3", "ĉapelo"),
        ("ISO_IR 110", "iso8859-4", "Ķirsis"),
        ("ISO_IR 144", "iso8859-5", "Люкceмбypг"),
        ("ISO_IR 127", "iso8859-6", "قباني^لنزار"),
        ("ISO_IR 126", "iso8859-7", "Διονυσιος"),
        ("ISO_IR 138", "iso8859-8", "שרון^דבורה"),
        ("ISO_IR 148", "iso8859-9", "Çavuşoğlu"),
        ("ISO_IR 203", "iso8859-15", "Œuvre €"),
        ("ISO_IR 166", "iso8859-11", "ไทย"),
        ("ISO_IR 13", "shift_jis", "ﾔﾏﾀﾞ^ﾀﾛｳ"),
        ("ISO_IR 192", "utf-8", "Wang^XiaoDong=王^小东"),
        ("GB18030", "gb18030", "Wang^XiaoDong=王^小东"),
        ("GBK", "gbk", "王^小东"),
    ],
)
def test_one_character_set(charset: str | None, codec: str, expected: str):
    raw = expected.encode(codec)
    assert text(raw + b" ", charset) == expected
    assert text(raw, charset.encode() + b" " if charset else None) == expected


@pytest.mark.parametrize(
    ("charset", "raw", "expected"),
    [
        ("\\ISO 2022 IR 87", b"Yamada^Tarou=\33$B;3ED\33(B^\33$BB@O:\33(B", "Yamada^Tarou=山田^太郎"),
        ("ISO 2022 IR 13\\ISO 2022 IR 87", b"\xd4\xcf\xc0\xde=\33$B;3ED\33(J^\33$BB@O:\33(J", "ﾔﾏﾀﾞ=山田^太郎"),
        ("\\ISO 2022 IR 149", b"Hong^Gildong=\33$)C\xfb\xf3^\33$)C\xd1\xce\xd4\xd7", "Hong^Gildong=洪^吉洞"),
        ("\\ISO 2022 IR 58", b"Zhang^XiaoDong=\33$)A\xd5\xc5^\33$)A\xd0\xa1\xb6\xab=", "Zhang^XiaoDong=张^小东="),
        ("ISO 2022 IR 100\\ISO 2022 IR 126", b"Dionysios=\33-F\xc4\xe9\xef\xed^\xe9", "Dionysios=Διον^é"),
        ("ISO 2022 IR 100", b"J\xe9r\xf4me", "Jérôme"),
    ],
)  # fmt: skip
def test_code_extensions(charset: str, raw: bytes, expected: str):
    """PS3.5 6.1.2.5 and the examples of its annexes H to K."""
    assert text(raw, charset) == expected


def test_undeclared_bytes_beyond_ascii_are_utf8_or_latin1():
    assert text("Łukasz".encode(), None) == "Łukasz"
    assert text(b"J\xf6rg", None) == "Jörg"
    assert text(b"J\xf6rg", "ISO_IR 4711") == "Jörg"


@pytest.mark.parametrize(
    "spelling", ["ISO_IR 100", "ISO IR 100", "iso-ir 100", "ISO 2022 IR 100", "ISO_IR_100", "IR 100"]
)
def test_spellings_seen_in_the_field(spelling: str):
    assert text(b"\xe9", spelling) == "é"


def test_several_values_and_padding():
    assert text(b" DERIVED \\PRIMARY\\ AXIAL\0", None) == "DERIVED\\PRIMARY\\AXIAL"
    assert text("a\\表".encode("gb18030"), "GB18030") == "a\\表"


def test_text_is_in_normal_form_c():
    assert text("Jo\u0308rg".encode(), "ISO_IR 192") == "Jörg"


TERMS = st.sampled_from([b"\\ISO 2022 IR 87", b"ISO_IR 192", b"GBK", b"\\ISO 2022 IR 58"])


@given(st.binary(max_size=60), st.one_of(st.none(), st.binary(max_size=40), TERMS))
def test_no_bytes_and_no_character_set_raise(raw: bytes, charset: bytes | None):
    found = text(raw, charset)
    assert unicodedata.is_normalized("NFC", found)
    found.encode()  # no surrogates


def test_what_cannot_be_decoded_is_replaced():
    assert text(b"a\xffb", "ISO_IR 192") == "a\ufffdb"
    assert text(b"a\x1b$Zb", "\\ISO 2022 IR 87").startswith("a\ufffd")


# --- numbers ---


def test_numbers():
    assert decode_numbers(struct.pack("<2H", 1, 65535), "US") == "1\\65535"
    assert decode_numbers(struct.pack(">h", -5), "SS", True) == "-5"
    assert decode_numbers(struct.pack("<d", 0.5), "FD") == "0.5"
    assert decode_numbers(struct.pack("<2H", 0x0010, 0x0020), "AT") == "00100020"
    assert decode_numbers(b"\1\2\3", "US") == "513"
    assert decode_numbers(b"\1", "US") == ""
    assert decode_numbers(b"\1\2", "OB") == ""
    assert is_number("US")
    assert not is_number("DS")


def test_integers():
    assert decode_integer(b"\2\1", "US") == 258
    assert decode_integer(b"\2\1", "US", True) == 513
    assert decode_integer(b"\xff\xff\7\7", "SS") == -1
    assert decode_integer(b"\1", "US") is None
    assert decode_integer(b"\1\1\1\1", "FL") is None


def test_values_together():
    raw = {0x00080005: b"ISO_IR 100", 0x00100010: b"J\xf6rg ", 0x00280010: b"\0\2"}
    assert decode_values(raw, raw[0x00080005], {0x00280010: "US"}) == {
        0x00080005: "ISO_IR 100",
        0x00100010: "Jörg",
        0x00280010: "512",
    }
    assert decode_values(raw, None, {0x00280010: "US"}, big_endian=True)[0x00280010] == "2"


# --- folded names ---


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("MÜLLER^JÖRG", "Muller^Jorg"),
        ("Strauß^Franz", "STRAUSS^franz"),
        ("Łódź^Øystein", "lodz^oystein"),
        ("Doe^Jane^^", "doe^jane"),
        ("Doe^Jane^^==", "DOE^JANE"),
        ("Иванов^Пётр", "иванов^петр"),
        ("Doe  Jane", "doe jane"),
        ("Yamada^Tarou^^=山田^太郎", "yamada^tarou=山田^太郎"),
        ("홍^길동", unicodedata.normalize("NFD", "홍^길동")),
    ],
)
def test_names_that_match(one: str, other: str):
    assert fold(one) == fold(other)


def test_names_that_do_not_match():
    assert len({fold(name) for name in ("Doe^Jane", "Doe^Jan", "Jane^Doe", "Doe", "山田", "田山")}) == 6


@given(st.text(max_size=30))
def test_folding_is_done_once(name: str):
    assert fold(fold(name)) == fold(name)
