"""Identifiers, encoded and decoded."""

from __future__ import annotations

import struct
import time
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcmkit.dataset.elements import DataSet, Element, decode, element, encode, items, text
from dcmkit.errors import InvalidDataSetError
from dcmkit.uids import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)

SYNTAXES = (
    IMPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
)
NAME, ROWS, STEPS, MODALITY, LEVEL = 0x00100010, 0x00280010, 0x00400100, 0x00080060, 0x00080052


def example() -> DataSet:
    return {
        LEVEL: element(LEVEL, "STUDY"),
        NAME: element(NAME, "Müller^Jörg"),
        ROWS: element(ROWS, "512"),
        STEPS: element(STEPS, [{MODALITY: element(MODALITY, "CT\\MR"), NAME: element(NAME, "Größe")}, {}]),
        0x0020000D: element(0x0020000D, "1.2.3\\1.2.4"),
        0x00189073: element(0x00189073, "2.5"),
        0x00720026: element(0x00720026, "00100010"),
    }


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("charset", ["ISO_IR 192", "ISO_IR 100"])
def test_decode_after_encode_is_identity(syntax: str, charset: str):
    data = encode(example(), syntax, charset=charset)
    found = decode(data, syntax)
    assert found.pop(0x00080005).value == charset
    assert found == example()
    assert len(data) % 2 == 0


@pytest.mark.parametrize("syntax", SYNTAXES[:3])
def test_every_cut_is_an_error_or_ends_between_elements(syntax: str):
    data = encode(example(), syntax, charset="ISO_IR 192")
    whole = decode(data, syntax)
    for length in range(len(data)):
        try:
            found = decode(data[:length], syntax)
        except InvalidDataSetError:
            continue
        assert found.items() <= whole.items()


def test_a_name_without_declared_character_set():
    data = b"\x10\0\x10\0\x06\0\0\0H\xfcfte "
    assert text(decode(data, IMPLICIT_VR_LITTLE_ENDIAN), NAME) == "Hüfte"
    assert text(decode(data, IMPLICIT_VR_LITTLE_ENDIAN, assume_charset="ISO_IR 144"), NAME) == "Hќfte"


def test_a_wrong_declaration_is_overridden():
    data = encode({NAME: element(NAME, "Иван")}, IMPLICIT_VR_LITTLE_ENDIAN, charset="ISO_IR 144")
    data = data.replace(b"ISO_IR 144", b"ISO_IR 100")
    assert (
        text(decode(data, IMPLICIT_VR_LITTLE_ENDIAN, assume_charset="ISO_IR 144", override_charset=True), NAME)
        == "Иван"
    )


def test_undefined_lengths_and_unknown_sequences():
    item = b"\xfe\xff\0\xe0\xff\xff\xff\xff" + b"\x08\0\x60\0\x02\0\0\0CT" + b"\xfe\xff\x0d\xe0\0\0\0\0"
    tail = item + b"\xfe\xff\xdd\xe0\0\0\0\0"
    implicit = b"\x40\0\0\x01\xff\xff\xff\xff" + tail
    unknown = b"\x40\0\0\x01UN\0\0\xff\xff\xff\xff" + tail
    for data, syntax in ((implicit, IMPLICIT_VR_LITTLE_ENDIAN), (unknown, EXPLICIT_VR_LITTLE_ENDIAN)):
        assert text(items(decode(data, syntax), STEPS)[0], MODALITY) == "CT"
        with pytest.raises(InvalidDataSetError):
            decode(data[:-10], syntax)


def test_nesting_has_a_limit():
    data = b""
    for _ in range(40):
        data = (
            b"\x40\0\0\x01"
            + (len(data) + 8).to_bytes(4, "little")
            + b"\xfe\xff\0\xe0"
            + len(data).to_bytes(4, "little")
            + data
        )
    with pytest.raises(InvalidDataSetError, match="nested"):
        decode(data, IMPLICIT_VR_LITTLE_ENDIAN)


def test_inflating_has_a_limit():
    import zlib

    deflater = zlib.compressobj(wbits=-15)
    bomb = deflater.compress(bytes(64 * 1024 * 1024)) + deflater.flush()
    with pytest.raises(InvalidDataSetError, match="longer"):
        decode(bomb, DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN)
    with pytest.raises(InvalidDataSetError, match="damaged"):
        decode(b"\xff" * 20, DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN)


def test_what_cannot_be_encoded():
    with pytest.raises(UnicodeEncodeError):
        encode({NAME: element(NAME, "山田")}, IMPLICIT_VR_LITTLE_ENDIAN, charset="ISO_IR 100")
    with pytest.raises(InvalidDataSetError, match="not a value of US"):
        encode({ROWS: element(ROWS, "many")}, IMPLICIT_VR_LITTLE_ENDIAN)
    with pytest.raises(InvalidDataSetError, match="too long"):
        encode({NAME: element(NAME, "x" * 70000)}, EXPLICIT_VR_LITTLE_ENDIAN)


def test_backslash_is_a_character_of_long_texts():
    comments = 0x00104000
    data = encode({comments: element(comments, " a\\ b ")}, IMPLICIT_VR_LITTLE_ENDIAN)
    assert text(decode(data, IMPLICIT_VR_LITTLE_ENDIAN), comments) == " a\\ b"


# --- what peers get wrong ---


@pytest.mark.parametrize("declared", SYNTAXES[:2])
@pytest.mark.parametrize("real", SYNTAXES[:2])
def test_the_other_vr_encoding_than_declared(declared: str, real: str):
    found = decode(encode(example(), real, charset="ISO_IR 192"), declared)
    assert found.pop(0x00080005).value == "ISO_IR 192"
    assert found == example()


def test_a_first_element_in_explicit_vr_that_could_be_a_length():
    comments = {0x00080005: element(0x00080005, "ISO_IR 100"), 0x00104000: element(0x00104000, "x" * 30000)}
    data = encode(comments, EXPLICIT_VR_LITTLE_ENDIAN)
    assert decode(data, IMPLICIT_VR_LITTLE_ENDIAN) == comments
    long = {0x00400100: element(0x00400100, [{}]), 0x00404000: element(0x00404000, "y" * 60000, "LT")}
    assert decode(encode(long, EXPLICIT_VR_LITTLE_ENDIAN), IMPLICIT_VR_LITTLE_ENDIAN) == long


@pytest.mark.parametrize("vr", [b"??", b"  ", b"--", b"\0\0"])
def test_no_vr_where_one_belongs(vr: bytes):
    data = b"\x08\0\x60\0CS\x02\0CT" + b"\x10\0\x10\0" + vr + b"\x04\0Doe " + b"\x09\0\x01\x10" + vr + b"\x02\0\1\2"
    assert decode(data, EXPLICIT_VR_LITTLE_ENDIAN) == {
        MODALITY: ("CS", "CT"),
        NAME: ("PN", "Doe"),
        0x00091001: ("UN", b"\1\2"),
    }


def test_vrs_of_the_future_and_strays():
    first, last = b"\x08\0\x60\0CS\x02\0CT", b"\x20\0\x10\0SH\x02\0AB"
    future = b"\x08\0\x99\0XX\0\0\x06\0\0\0abcdef"
    short = b"\x08\0\x99\0XX\x04\0abcd"
    stray = b"\x10\0\x10\0\x04\0\0\0Doe "
    for middle, tag, expected in (
        (future, 0x00080099, b"abcdef"),
        (short, 0x00080099, b"abcd"),
        (stray, NAME, "Doe"),
    ):
        found = decode(first + middle + last, EXPLICIT_VR_LITTLE_ENDIAN)
        assert found[tag].value == expected
        assert text(found, 0x00200010) == "AB"


def test_unknown_vr_is_read_as_the_dictionary_has_it():
    def unknown(tag: int, value: bytes) -> bytes:
        return struct.pack("<HH4sI", tag >> 16, tag & 0xFFFF, b"UN", len(value)) + value

    item = b"\xfe\xff\0\xe0\x0a\0\0\0" + b"\x08\0\x60\0\x02\0\0\0CT"
    explicit_item = b"\xfe\xff\0\xe0\x0a\0\0\0" + b"\x08\0\x60\0CS\x02\0MR"
    data = b"".join((
        unknown(0x00080005, b"ISO_IR 192"), unknown(NAME, "Müller".encode() + b" "), unknown(ROWS, b"\0\2"),
        unknown(0x00280011, b"\0\2\1"), unknown(STEPS, item + explicit_item), unknown(0x00400440, b"nonsense"),
        unknown(0x00091001, b"ab"),
    ))  # fmt: skip
    assert decode(data, EXPLICIT_VR_LITTLE_ENDIAN) == {
        0x00080005: ("CS", "ISO_IR 192"),
        NAME: ("PN", "Müller"),
        ROWS: ("US", "512"),
        0x00280011: ("UN", b"\0\2\1"),
        STEPS: ("SQ", [{MODALITY: ("CS", "CT")}, {MODALITY: ("CS", "MR")}]),
        0x00400440: ("UN", b"nonsense"),
        0x00091001: ("UN", b"ab"),
    }


def test_group_lengths_and_padding_are_left_out():
    modality = b"\x08\0\x60\0CS\x02\0CT"
    length = b"\x08\0\0\0UL\x04\0\x0a\0\0\0"
    padding = b"\xfc\xff\xfc\xffOB\0\0\x04\0\0\0\0\0\0\0"
    for zeros in range(20):
        assert decode(length + modality + padding + bytes(zeros), EXPLICIT_VR_LITTLE_ENDIAN) == {MODALITY: ("CS", "CT")}
    assert decode(b"", EXPLICIT_VR_LITTLE_ENDIAN) == {}
    stray = modality + b"\0\0\0\0\x04\0\0\0\1\2\3\4" + b"\xfc\xff\xfc\xff\x02\0\0\0\1\2"
    assert decode(stray, EXPLICIT_VR_LITTLE_ENDIAN) == {MODALITY: ("CS", "CT")}


def test_odd_lengths():
    data = b"\x08\0\x60\0CS\x03\0CT\0" + b"\x10\0\x10\0PN\x03\0Doe" + b"\x20\0\x10\0SH\x01\0A"
    assert decode(data, EXPLICIT_VR_LITTLE_ENDIAN) == {
        MODALITY: ("CS", "CT"),
        NAME: ("PN", "Doe"),
        0x00200010: ("SH", "A"),
    }


def test_out_of_order_and_twice_the_last_counts():
    name = b"\x10\0\x10\0PN\x02\0\xc3\xa9"
    data = name + b"\x08\0\x60\0CS\x02\0CT" + b"\x08\0\x05\0CS\x0a\0ISO_IR 144" + b"\x08\0\x60\0CS\x02\0MR"
    found = decode(data, EXPLICIT_VR_LITTLE_ENDIAN)
    assert text(found, MODALITY) == "MR"
    assert text(found, NAME) == b"\xc3\xa9".decode("iso8859-5")


def test_delimiters_that_are_missing_or_too_many():
    item, item_end, end = b"\xfe\xff\0\xe0\xff\xff\xff\xff", b"\xfe\xff\x0d\xe0\0\0\0\0", b"\xfe\xff\xdd\xe0\0\0\0\0"
    head, one = b"\x40\0\0\x01SQ\0\0\xff\xff\xff\xff", b"\x08\0\x60\0CS\x02\0CT"
    last = b"\x40\0\x01\x10SH\x02\0AB"
    for content in (item + one + item_end, item + one, item + one + item_end + item_end):
        for tail in (end, end + end, end + item_end):
            found = decode(head + content + tail + last, EXPLICIT_VR_LITTLE_ENDIAN)
            assert items(found, STEPS) == [{MODALITY: ("CS", "CT")}]
            assert text(found, 0x00401001) == "AB"
    assert len(items(decode(head + (item + one) * 2 + end, EXPLICIT_VR_LITTLE_ENDIAN), STEPS)) == 2
    with pytest.raises(InvalidDataSetError, match="an item where"):
        decode(one + item, EXPLICIT_VR_LITTLE_ENDIAN)


def test_values_that_are_none_in_the_declared_set_are_read_in_the_assumed_one():
    data = b"\x08\0\x05\0CS\x0a\0ISO_IR 192" + b"\x10\0\x10\0PN\x04\0\xcd\xf5\xd0\xa1"
    assert "\ufffd" in text(decode(data, EXPLICIT_VR_LITTLE_ENDIAN), NAME)
    assert text(decode(data, EXPLICIT_VR_LITTLE_ENDIAN, assume_charset="GB18030"), NAME) == "王小"


def test_items_have_character_sets_of_their_own():
    inner = {0x00080005: element(0x00080005, "ISO_IR 144"), NAME: element(NAME, "Иван")}
    data_set = {
        0x00080005: element(0x00080005, "ISO_IR 100"),
        NAME: element(NAME, "Jörg"),
        STEPS: element(STEPS, [inner]),
    }
    for syntax in SYNTAXES:
        assert decode(encode(data_set, syntax), syntax) == data_set


@pytest.mark.parametrize("charset", ["\\ISO 2022 IR 87", "GB18030", "\\ISO 2022 IR 149"])
def test_multi_byte_character_sets(charset: str):
    names = {NAME: element(NAME, "Hong^Gildong=洪^吉"), 0x00101001: element(0x00101001, "山^太\\A\\王")}
    if charset.endswith("149"):
        names[0x00101001] = element(0x00101001, "洪\\A\\吉")
    data = encode(names, IMPLICIT_VR_LITTLE_ENDIAN, charset=charset)
    assert decode(data, IMPLICIT_VR_LITTLE_ENDIAN) == {0x00080005: ("CS", charset), **names}


def test_many_zeros_and_many_different_headers_take_linear_time():
    began = time.perf_counter()
    zeros = (bytes(8) + b"\x08\0\x60\0CS\x02\0CT") * 50_000
    assert decode(zeros, EXPLICIT_VR_LITTLE_ENDIAN) == {MODALITY: ("CS", "CT")}
    headers = b"".join(struct.pack("<HH2sH", 0x0009, 0x1000 + at % 0xE000, b"SH", 0) for at in range(50_000))
    assert len(decode(headers, EXPLICIT_VR_LITTLE_ENDIAN)) == 50_000
    assert time.perf_counter() - began < 5


def test_unknown_sequences_within_each_other_take_linear_time():
    data = b"nonsense" * 10_000
    for _ in range(60):
        body = b"\xfe\xff\0\xe0" + struct.pack("<I", len(data)) + data
        data = b"\x40\0\0\x01UN\0\0" + struct.pack("<I", len(body)) + body
    began = time.perf_counter()
    assert STEPS in decode(data, EXPLICIT_VR_LITTLE_ENDIAN)
    assert time.perf_counter() - began < 5


def _text_of(vr: str) -> st.SearchStrategy[str]:
    if vr in ("US", "UL"):
        return st.lists(st.integers(0, 65535), max_size=3).map(lambda found: "\\".join(map(str, found)))
    if vr in ("FD", "SV"):
        numbers = st.floats(allow_nan=False) if vr == "FD" else st.integers(-(2**63), 2**63 - 1)
        return st.lists(numbers, max_size=3).map(lambda found: "\\".join(map(repr, found)))
    alphabet = "abc 1.^=" + ("äé山ü" if vr in ("PN", "LO", "LT") else "")
    one = st.text(alphabet, max_size=12).map(lambda found: found.rstrip() if vr == "LT" else found.strip())
    return one if vr == "LT" else st.lists(one, max_size=3).map("\\".join)


TAGS = {
    0x00100010: "PN", 0x0008103E: "LO", 0x00104000: "LT", 0x00080060: "CS", 0x00280010: "US", 0x00720078: "UL",
    0x00189073: "FD", 0x0020000D: "UI", 0x00720082: "SV", 0x00091001: "UN", 0x00281201: "OW",
}  # fmt: skip


def _data_sets(depth: int = 2) -> st.SearchStrategy[DataSet]:
    optional: dict[int, st.SearchStrategy[Any]] = {
        tag: (
            st.binary(max_size=8).map(lambda raw: raw + bytes(len(raw) % 2)) if vr in ("UN", "OW") else _text_of(vr)
        ).map(
            lambda value, vr=vr: Element(vr, value)  # type: ignore[misc]
        )
        for tag, vr in TAGS.items()
    }
    if depth:
        optional[STEPS] = st.lists(_data_sets(depth - 1), max_size=2).map(lambda found: Element("SQ", found))
    return st.fixed_dictionaries({}, optional=optional)


@given(_data_sets(), st.sampled_from(SYNTAXES))
def test_any_data_set_survives(data_set: DataSet, syntax: str):
    charset = element(0x00080005, "ISO_IR 192")
    data_set = {0x00080005: charset, **data_set}
    if syntax == IMPLICIT_VR_LITTLE_ENDIAN:
        assert decode(encode(data_set, syntax), syntax).keys() == data_set.keys()
    else:
        assert decode(encode(data_set, syntax), syntax) == data_set


@given(st.binary(max_size=200), st.sampled_from(SYNTAXES))
def test_any_bytes_are_a_data_set_or_none(data: bytes, syntax: str):
    try:
        decode(data, syntax, assume_charset="\\ISO 2022 IR 87")
    except InvalidDataSetError:
        pass


def test_pydicom_reads_what_is_written():
    from pydicom import dcmread

    for charset in ("ISO_IR 100", "ISO_IR 192", "GB18030"):
        data = encode(example(), EXPLICIT_VR_LITTLE_ENDIAN, charset=charset)
        read = dcmread(BytesIO(bytes(128) + b"DICM" + data), force=True)
        assert str(read.PatientName) == "Müller^Jörg"
        assert read.Rows == 512
        assert read.ScheduledProcedureStepSequence[0].Modality == ["CT", "MR"]
