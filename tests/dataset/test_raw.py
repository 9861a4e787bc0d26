"""Where the elements of a data set lie."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcmkit.dataset import elements
from dcmkit.dataset.raw import (
    BIG_ENDIAN,
    DEPTH_LIMIT,
    EXPLICIT,
    IMPLICIT,
    UNDEFINED,
    Encoding,
    RawElements,
    encoded_elements,
    encoding_of,
    guess,
    number,
    walk,
)
from dcmkit.errors import InvalidDataSetError
from dcmkit.uids import EXPLICIT_VR_BIG_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from tests.dataset.encoding import Element, Items, encode

SYNTAXES = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN)
TREE: list[Element] = [
    (0x00080016, "UI", b"1.2.3.4"),
    (0x00081140, "SQ", Items([[(0x00081150, "UI", b"1.2"), (0x00081140, "SQ", Items([[]]))], []])),
    (0x00081115, "SQ", Items([[(0x00081150, "UI", b"1.2")]], defined=True)),
    (0x00090010, "LO", b"ACME"),
    (0x00100010, "PN", b"A^B"),
    (0x00420011, "OB", b"\1\2\3\4"),
]


def parse(data: bytes, encoding: Encoding) -> RawElements:
    view = memoryview(data)
    return RawElements(view, encoding, walk(view, 0, len(view), encoding))


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_elements_lie_side_by_side(syntax: str) -> None:
    data = encode(TREE, syntax)
    found = parse(data, encoding_of(syntax))
    assert [one.tag for one in found] == sorted(tag for tag, _, _ in TREE)
    assert sorted(one.start for one in found)[1:] == sorted(one.end for one in found)[:-1]
    assert max(one.end for one in found) == len(data)
    undefined = found.get(0x00081140)
    assert undefined is not None
    assert undefined.length == UNDEFINED
    assert found.value(0x00081140) is None
    assert found.text(0x00080016) == "1.2.3.4"
    assert found.encoding.transfer_syntax_uid == syntax
    assert found.decoded() == elements.decode(data, syntax)
    assert 0x00080016 not in found.without({0x00080016})
    assert len(found.without({0x00080016})) == len(found) - 1


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_every_cut_is_an_error_or_ends_between_elements(syntax: str) -> None:
    data, encoding = encode(TREE, syntax), encoding_of(syntax)
    ends = {0} | {one.end for one in parse(data, encoding)}
    for cut in range(len(data)):
        if not data[max(end for end in ends if end <= cut) : cut].strip(b"\0"):  # zeros at the end are padding
            parse(data[:cut], encoding)
        else:
            with pytest.raises(InvalidDataSetError):
                parse(data[:cut], encoding)


def test_numbers() -> None:
    for syntax in SYNTAXES:
        value = b"\1\0" if syntax == EXPLICIT_VR_BIG_ENDIAN else b"\0\1"
        assert parse(encode([(0x00280010, "US", value)], syntax), encoding_of(syntax)).unsigned(0x00280010) == 256
    text = parse(encode([(0x00280010, "IS", b"512 ")], EXPLICIT_VR_LITTLE_ENDIAN), EXPLICIT)
    assert text.unsigned(0x00280010) == 512
    assert text.unsigned(0x00280011) is None
    found = {"12": 12, " 7 ": 7, "3\\4": 3, "1.0": 1, "": None, "x": None, "9" * 17: None, "inf": None, "nan": None}
    assert {given: number(given) for given in found} == found


def test_the_encoding_shows_in_the_first_element() -> None:
    for real in SYNTAXES[:2]:
        data = memoryview(encode(TREE, real))
        for said in (EXPLICIT, IMPLICIT):
            assert guess(data, 0, len(data), said) == encoding_of(real)
    assert guess(memoryview(b"abc"), 0, 3, IMPLICIT) == IMPLICIT
    assert guess(memoryview(bytes(8)), 0, 8, BIG_ENDIAN) == BIG_ENDIAN


def test_strange_vrs_and_zeros() -> None:
    unknown = b"\x08\0\x60\0??\2\0CT" + b"\x08\0\x70\0ZZ\0\0\4\0\0\0abcd" + b"\x10\0\x10\0\4\0\0\0ABCD"
    found = parse(bytes(16) + unknown + b"\xfe\xff\xdd\xe0\0\0\0\0" + bytes(7), EXPLICIT)
    assert [(one.tag, one.vr) for one in found] == [(0x00080060, "CS"), (0x00080070, "UN"), (0x00100010, "UN")]
    assert found.text(0x00080070) == "abcd"


def test_unknown_sequences_are_in_implicit_vr() -> None:
    inner = encode([(0x00091002, "LO", b"1234")], IMPLICIT_VR_LITTLE_ENDIAN)
    item = b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + inner + b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
    data = b"\x09\0\x01\x10UN\0\0\xff\xff\xff\xff" + item + b"\x10\0\x10\0PN\2\0AB"
    assert [one.tag for one in parse(data, EXPLICIT)] == [0x00091001, 0x00100010]


def test_bounds() -> None:
    begin = time.monotonic()
    deep = (b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff") * 20_000
    with pytest.raises(InvalidDataSetError, match=f"deeper than {DEPTH_LIMIT}"):
        parse(deep, EXPLICIT)
    with pytest.raises(InvalidDataSetError, match="more than"):
        parse(b"\x08\0\x60\0CS\0\0" * 200_000, EXPLICIT)
    with pytest.raises(InvalidDataSetError, match="item where"):
        parse(b"\xfe\xff\x00\xe0\0\0\0\0", EXPLICIT)
    assert time.monotonic() - begin < 10


def test_large_values_are_decoded_without_copies_of_copies() -> None:
    value = bytes(range(256)) * 1024
    tree = [(0x00091001, "UN", value), (0x00100010, "PN", b"A^B"), (0x60003000, "OW", value)]
    found = parse(encode(tree, EXPLICIT_VR_LITTLE_ENDIAN), EXPLICIT).decoded()
    assert found[0x60003000] == elements.Element("OW", value)
    assert found[0x00091001] == elements.Element("UN", value)
    assert list(found) == sorted(found)


def test_words_are_decoded_into_little_endian() -> None:
    big = parse(encode([(0x00281201, "OW", b"\0\1\0\2")], EXPLICIT_VR_BIG_ENDIAN), BIG_ENDIAN)
    assert big.decoded()[0x00281201].value == b"\1\0\2\0"


def test_data_sets_in_memory() -> None:
    data_set = {0x00100010: elements.element(0x00100010, "Müller")}
    found = encoded_elements(data_set, "ISO_IR 100")
    assert [one.tag for one in found] == [0x00100010]
    assert found.value(0x00100010) == "Müller".encode("latin-1")
    data_set[0x00080005] = elements.element(0x00080005, "ISO_IR 192")
    found = encoded_elements(data_set, "ISO_IR 100")
    assert bytes(found.value(0x00100010) or b"").rstrip() == "Müller".encode()


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=120), st.sampled_from([EXPLICIT, IMPLICIT, BIG_ENDIAN]))
def test_any_bytes_are_elements_or_the_documented_error(data: bytes, encoding: Encoding) -> None:
    try:
        found = parse(data, encoding)
        found.decoded()
    except InvalidDataSetError:
        return
    assert all(0 <= one.start < one.value_start <= one.end <= len(data) for one in found)
