"""What a removed value is looked for as."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcmkit.dataset.values import character_set
from dcmkit.deid.needles import needles


def texts(vr: str, value: str | bytes, *charsets: str) -> set[str]:
    return {needle.text for needle in needles(vr, value, charsets)}


def raws(vr: str, value: str | bytes, *charsets: str) -> set[bytes]:
    return {needle.raw for needle in needles(vr, value, charsets)}


@pytest.mark.parametrize(
    ("vr", "value", "expected"),
    [
        ("LO", "12345", {"12345"}),
        ("LO", "123", set()),
        ("LO", " 12  ", set()),
        ("LO", "abcd\\ef\\ghij ", {"abcd", "ghij"}),
        ("PN", "Doe^Jonathan^^", {"Doe^Jonathan", "Jonathan"}),
        ("PN", "Li^Wei", {"Li^Wei", "Li Wei", "Wei Li", "Li, Wei", "WeiLi", "LiWei"}),
        ("PN", "Roe^Jane\\Poe^Edgar", {"Roe^Jane", "Jane", "Poe^Edgar", "Edgar"}),
        (
            "PN",
            "Wang^XiaoDong=王^小东",
            {"Wang^XiaoDong=王^小东", "Wang^XiaoDong", "Wang", "XiaoDong", "王^小东", "小东"},
        ),
        ("DA", "20200115", {"20200115", "2020-01-15", "2020.01.15"}),
        ("DT", "20200115120000.5+0100", {"20200115120000.5+0100", "20200115", "2020-01-15", "2020.01.15"}),
        ("DA", "2020.01.15", {"20200115", "2020-01-15", "2020.01.15"}),
        ("TM", "120000.12", {"120000.12"}),
        ("UI", "1.2.3.4\\1.2.840.10008.1.2", {"1.2.3.4"}),
        ("ST", "Seen by\r\nDr Roe today\nok", {"Dr Roe today"}),
        ("ST", "a\\b c", {"a\\b c"}),
        ("LT", "ab\ncd", {"ab\ncd"}),
        ("UN", b"Doe^John\0", {"Doe^John"}),
        ("OB", bytes(100), set()),
        ("OB", bytes(range(16)), {""}),
        ("FL", b"\0\0\x80\x3f", set()),
        ("LO", "Jo\0", set()),
        ("LO", "", set()),
        ("PN", "^^", set()),
    ],
)
def test_words(vr: str, value: str | bytes, expected: set[str]):
    assert texts(vr, value) == expected


def test_every_encoding_of_a_name():
    for charset, name in (
        ("ISO_IR 100", "Buc^Jérôme"),
        ("ISO_IR 101", "Wałęsa^Lech"),
        ("ISO_IR 109", "Ĉapelo^X"),
        ("ISO_IR 110", "Ķirsis^X"),
        ("ISO_IR 144", "Люкceмбypг"),
        ("ISO_IR 127", "قباني^لنزار"),
        ("ISO_IR 126", "Διονυσιος"),
        ("ISO_IR 138", "שרון^דבורה"),
        ("ISO_IR 148", "Çavuşoğlu"),
        ("ISO_IR 203", "Œuvre^€"),
        ("ISO_IR 166", "สวัสดี"),
        ("ISO_IR 13", "ﾔﾏﾀﾞ^ﾀﾛｳ"),
        ("ISO_IR 192", "Wang^XiaoDong=王^小东"),
        ("GB18030", "Wang^XiaoDong=王^小东"),
        ("GBK", "Wang^XiaoDong=王^小东"),
        ("\\ISO 2022 IR 87", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        ("ISO 2022 IR 13\\ISO 2022 IR 87", "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎"),
        ("\\ISO 2022 IR 149", "Hong^Gildong=洪^吉洞=홍^길동"),
        ("\\ISO 2022 IR 58", "Zhang^XiaoDong=张^小东"),
        ("ISO 2022 IR 100\\ISO 2022 IR 144", "Jérôme=Люк"),
    ):
        found = raws("PN", name, charset)
        composed = unicodedata.normalize("NFC", name)
        assert character_set(charset).encode(composed) in found, charset
        assert composed.encode("utf-8") in found, charset
        for order in ("utf-16-le", "utf-16-be"):
            wide = composed.encode(order)
            assert any(raw in wide for raw in found), (charset, order)


def test_ascii_has_one_form_and_one_of_utf_16():
    assert raws("LO", "Doe12", "ISO_IR 100", "ISO_IR 192") == {b"Doe12", b"D\0o\0e\x001\x002"}
    wide = b"D\0o\0e\x001\x002"
    assert wide in "Doe12".encode("utf-16-le")
    assert wide in "Doe12".encode("utf-16-be")


def test_accents_that_stand_by_themselves():
    assert unicodedata.normalize("NFD", "Jérôme").encode() in raws("PN", "Jérôme")


def test_bytes_as_they_were():
    raw = "Jérôme".encode("iso8859-1")
    assert {raw, "Jérôme".encode()} <= raws("PN", raw + b" ", "ISO_IR 100")
    japanese = b"Yamada^Tarou=\33$B;3ED\33(B^\33$BB@O:\33(B"
    assert japanese in raws("PN", japanese, "\\ISO 2022 IR 87")
    assert "山田".encode() in raws("PN", japanese, "\\ISO 2022 IR 87")


def test_a_long_binary_value_is_looked_for_by_a_part_that_tells_something():
    blob = bytes(320) + bytes(range(64)) + bytes(320)
    (needle,) = needles("OB", blob)
    assert needle.raw in blob
    assert len(needle.raw) == 32


def test_a_long_text_by_its_beginning():
    assert {len(one) for one in texts("UT", "word " * 10_000)} == {1024}


@given(
    st.sampled_from(["PN", "LO", "ST", "DA", "DT", "UI", "UN", "CS", "OB", "US"]), st.text(max_size=60) | st.binary()
)
def test_anything_can_be_removed(vr: str, value: str | bytes):
    for needle in needles(vr, value, ("ISO_IR 100", "\\ISO 2022 IR 87", "ISO_IR 192", "nonsense")):
        assert len(needle.raw) >= 4
