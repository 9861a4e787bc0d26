"""Character sets, numbers and folded names."""

from __future__ import annotations

import struct
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcmkit.dataset.values import (
    best_character_set,
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


# --- encoding ---

EXAMPLES = [
    (
        "\\ISO 2022 IR 87",
        "Yamada^Tarou=山田^太郎=やまだ^たろう",
        b"Yamada^Tarou=\33$B;3ED\33(B^\33$BB@O:\33(B=\33$B$d$^$@\33(B^\33$B$?$m$&\33(B",
    ),
    (
        "ISO 2022 IR 13\\ISO 2022 IR 87",
        "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
        b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\33$B;3ED\33(J^\33$BB@O:\33(J=\33$B$d$^$@\33(J^\33$B$?$m$&\33(J",
    ),
    (
        "\\ISO 2022 IR 149",
        "Hong^Gildong=洪^吉洞=홍^길동",
        b"Hong^Gildong=\33$)C\xfb\xf3^\33$)C\xd1\xce\xd4\xd7=\33$)C\xc8\xab^\33$)C\xb1\xe6\xb5\xbf",
    ),
    ("\\ISO 2022 IR 58", "Zhang^XiaoDong=张^小东", b"Zhang^XiaoDong=\33$)A\xd5\xc5^\33$)A\xd0\xa1\xb6\xab"),
    ("ISO_IR 192", "Wang^XiaoDong=王^小东", b"Wang^XiaoDong=\xe7\x8e\x8b^\xe5\xb0\x8f\xe4\xb8\x9c"),
    ("GB18030", "Wang^XiaoDong=王^小东", b"Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab"),
    ("GBK", "Wang^XiaoDong=王^小东", b"Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab"),
]
"""PS3.5 H.3.1, H.3.2, I.2, K.2, J.1, J.2, J.3."""


@pytest.mark.parametrize(("terms", "name", "raw"), EXAMPLES)
def test_the_examples_of_the_standard(terms: str, name: str, raw: bytes):
    charset = character_set(terms)
    assert charset.encode(name) == raw
    assert charset.decode(raw) == name
    assert best_character_set(["Doe^Jane", name], terms) == terms


@pytest.mark.parametrize(("terms", "name", "raw"), [one for one in EXAMPLES if "58" not in one[0]])
def test_pydicom_encodes_and_decodes_the_same(terms: str, name: str, raw: bytes):
    """Other than in ISO 2022 IR 58, whose escape sequences it takes for text."""
    from pydicom.charset import convert_encodings, decode_bytes
    from pydicom.valuerep import PersonName

    encodings = convert_encodings(terms.split("\\"))
    assert str(PersonName(raw, encodings)) == name
    assert PersonName(name, encodings).encode(encodings) == raw
    assert decode_bytes(raw, encodings, set("^=")) == name


def test_korean_text_in_lines():
    """PS3.5 I.3: the escape sequence stands once in each line."""
    lines = "The first line includes 한글 .\r\nThe second 한글, too.\r\nThe third line"
    raw = character_set("\\ISO 2022 IR 149").encode(lines)
    assert raw.count(b"\33$)C") == 2
    shared = b"\33$)CThe first line includes \xc7\xd1\xb1\xdb ."
    assert text(shared, "\\ISO 2022 IR 149") == "The first line includes 한글 ."
    assert text(raw, "\\ISO 2022 IR 149") == lines


def test_several_sets_in_one_value():
    terms = "ISO 2022 IR 100\\ISO 2022 IR 126\\ISO 2022 IR 87\\ISO 2022 IR 159"
    name = "é Διον é山鷗鷧a^é\\鷧"
    raw = character_set(terms).encode(name)
    assert raw.startswith(b"\xe9 \33-F\xc4\xe9\xef\xed \33-A\xe9\33$B")
    assert b"\33$(D" in raw
    assert raw.endswith(b"\33(B")
    assert text(raw, terms) == name


def test_sets_beyond_ascii_stay_where_nothing_else_can_be_meant():
    assert text(b"\33$)C\xc8\xab^\xb1\xe6\xb5\xbf", "\\ISO 2022 IR 149") == "홍^길동"
    assert text(b"\33$)C\xc8\xab^\xe9", "ISO 2022 IR 100\\ISO 2022 IR 149") == "홍^é"
    assert text(b"\xc8\xab", "ISO 2022 IR 149") == "홍"
    assert text(b"\33$B;3\xd4\33(J\xcf", "ISO 2022 IR 13\\ISO 2022 IR 87") == "山ﾔﾏ"
    assert text(b"\33(IOP\33(J~", "ISO 2022 IR 13\\ISO 2022 IR 87") == "ﾏﾐ~"


@pytest.mark.parametrize("terms", ["GB18030", "GBK"])
def test_a_backslash_within_a_character_separates_nothing(terms: str):
    pair = next(chr(code) for code in range(0x4E00, 0x9FFF) if chr(code).encode("gbk", "ignore")[1:] == b"\\")
    assert text(f"{pair}\\b".encode(terms.lower()), terms).split("\\") == [pair, "b"]


def test_a_backslash_within_shift_jis_separates_nothing():
    assert text("表\\b".encode("shift_jis"), "ISO_IR 13").split("\\") == ["表", "b"]


@pytest.mark.parametrize(
    ("terms", "what"),
    [
        ("", "é"), ("ISO_IR 6", "é"), ("ISO_IR 4711", "é"), ("ISO_IR 100", "山"), ("ISO_IR 100", "€"),
        ("ISO_IR 13", "山"),
        ("ISO_IR 13", "¥"), ("ISO_IR 13", "‾"), ("\\ISO 2022 IR 87", "é"), ("\\ISO 2022 IR 87", "鷧"),
        ("\\ISO 2022 IR 149", "똠"), ("\\ISO 2022 IR 58", "龍"), ("GBK", "😀"), ("ISO_IR 192", "\ud800"),
        ("\\ISO 2022 IR 87", "a\x1bb"), ("\\ISO 2022 IR 87", "山\x1bb"),
    ],
)  # fmt: skip
def test_what_does_not_fit(terms: str, what: str):
    with pytest.raises(UnicodeEncodeError):
        character_set(terms).encode(f"Doe^{what}")
    assert best_character_set(["Doe", f"Doe^{what}"], terms) == "ISO_IR 192"


def _repertoire(codec: str) -> st.SearchStrategy[str]:
    """Text of the characters of a codec, the delimiters among them."""
    found = []
    for code in [*range(0x20, 0x7F), 9, 10, 12, 13, *range(0xA0, 0xD800), *range(0xF900, 0x11000)]:
        char = unicodedata.normalize("NFC", chr(code))
        if len(char) == 1 and char not in "¥‾" and len(char.encode(codec, "ignore")) in (1, 2, 4, 5, 8):
            found.append(char)
    return st.text(st.one_of(st.sampled_from(found), st.sampled_from("^=\\ \r\n")), max_size=20)


SETS = {
    "ISO_IR 6": "ascii", "ISO_IR 100": "iso8859-1", "ISO_IR 101": "iso8859-2", "ISO_IR 109": "iso8859-3",
    "ISO_IR 110": "iso8859-4", "ISO_IR 144": "iso8859-5", "ISO_IR 127": "iso8859-6", "ISO_IR 126": "iso8859-7",
    "ISO_IR 138": "iso8859-8", "ISO_IR 148": "iso8859-9", "ISO_IR 203": "iso8859-15", "ISO_IR 166": "iso8859-11",
    "ISO_IR 192": "utf-8", "GB18030": "gb18030", "GBK": "gbk",
}  # fmt: skip
FURTHER = {"ISO 2022 IR 87": "iso2022_jp", "ISO 2022 IR 58": "gb2312", "ISO 2022 IR 149": "euc_kr"}
EXTENDED = {
    f"{first}\\{further}": codec
    for first in ("", "ISO 2022 IR 6", "ISO 2022 IR 100")
    for further, codec in (
        FURTHER | {term.replace("_", " 2022 "): codec for term, codec in SETS.items() if codec.startswith("iso")}
    ).items()
} | {"ISO 2022 IR 13\\ISO 2022 IR 87": "iso2022_jp", "\\ISO 2022 IR 159\\ISO 2022 IR 87": "iso2022_jp_1"}


@pytest.mark.parametrize("terms", [*SETS, *EXTENDED])
def test_decode_after_encode_is_identity(terms: str):
    charset = character_set(terms)

    @settings(max_examples=60)
    @given(_repertoire((SETS | EXTENDED)[terms]))
    def holds(value: str) -> None:
        normal = unicodedata.normalize("NFC", value)
        try:
            raw = charset.encode(value)
        except UnicodeEncodeError:
            assert terms not in SETS or normal != value
            return
        assert charset.decode(raw) == normal

    holds()


@given(st.text(max_size=20), st.sampled_from([*SETS, *EXTENDED]))
def test_any_text_is_encoded_or_refused(value: str, terms: str):
    charset = character_set(terms)
    try:
        raw = charset.encode(value)
    except UnicodeEncodeError:
        return
    assert charset.decode(raw) == unicodedata.normalize("NFC", value)


@given(st.text(st.sampled_from([chr(code) for code in (*range(0x20, 0x7F), *range(0xFF61, 0xFFA0))]), max_size=20))
def test_jis_x_0201(value: str):
    for terms in ("ISO_IR 13", "ISO 2022 IR 13", "ISO 2022 IR 13\\ISO 2022 IR 87"):
        assert character_set(terms).decode(character_set(terms).encode(value)) == value


def test_the_best_character_set():
    assert best_character_set([], "") == ""
    assert best_character_set(["Doe"], "") == ""
    assert best_character_set(["Müller"], "ISO_IR 100") == "ISO_IR 100"
    assert best_character_set(["Doe", "Müller"], "ISO_IR 144") == "ISO_IR 192"


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
