"""Which element a byte belongs to, in every encoding."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcmkit.deid.places import Places
from dcmkit.uids import EXPLICIT_VR_BIG_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from tests.dataset.encoding import Items, _element, header

PLAIN = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN)


def part_10(elements: bytes, syntax: str) -> bytes:
    meta = _element((0x00020003, "UI", b"1.2.3.META"), EXPLICIT_VR_LITTLE_ENDIAN)
    meta += _element((0x00020010, "UI", syntax.encode()), EXPLICIT_VR_LITTLE_ENDIAN)
    return b"PREAMBLE" + bytes(120) + b"DICM" + meta + elements


def objects(syntax: str, *, defined: bool) -> bytes:
    order = "big" if syntax == EXPLICIT_VR_BIG_ENDIAN else "little"
    inner = Items([[(0x00081150, "UI", b"1.2.INNER")], [(0x00081155, "UI", b"1.2.INMOST")]], defined=defined)
    outer = Items(
        [[(0x00080060, "CS", b"FIRST")], [(0x00081199, "SQ", inner), (0x0008103E, "LO", b"AFTER")]], defined=defined
    )
    listed = [
        (0x00081115, "SQ", outer),
        (0x00100010, "PN", b"NAME"),
        (0x00280100, "US", (16).to_bytes(2, order)),
        (0x7FE00010, "OW", b"PIXELS" + bytes(20)),
        (0xFFFCFFFC, "OB", b"PADDING!"),
    ]
    return part_10(b"".join(_element(one, syntax) for one in listed), syntax)


@pytest.mark.parametrize("syntax", PLAIN)
@pytest.mark.parametrize("defined", [True, False])
def test_names_of_places(syntax: str, defined: bool):
    data = objects(syntax, defined=defined)
    places = Places(memoryview(data))
    expected = {
        b"PREAMBLE": "preamble",
        b"DICM": "preamble",
        b"1.2.3.META": "0002,0003",
        b"FIRST": "0008,0060",
        b"1.2.INNER": "0008,1150",
        b"1.2.INMOST": "0008,1155",
        b"AFTER": "0008,103E",
        b"NAME": "0010,0010",
        b"PIXELS": "pixel data",
        b"PADDING!": "FFFC,FFFC",
    }
    assert {what: places.at(data.index(what)).name for what in expected} == expected
    for what, name in reversed(expected.items()):
        assert places.at(data.index(what)).name == name
    place = places.at(data.index(b"PIXELS") + 5)
    assert (place.bits, place.encapsulated, place.of_pixels) == (16, False, True)
    place = places.at(data.index(b"1.2.INMOST"))
    assert data[place.start : place.end].rstrip(b"\0") == b"1.2.INMOST"


def test_encapsulated_pixel_data():
    syntax = "1.2.840.10008.1.2.4.50"
    fragments = (
        header(0xFFFEE000, "", 0, "") + header(0xFFFEE000, "", 8, "") + b"FRAGMENT" + header(0xFFFEE0DD, "", 0, "")
    )
    data = part_10(header(0x7FE00010, "OB", 0xFFFFFFFF, EXPLICIT_VR_LITTLE_ENDIAN) + fragments, syntax)
    place = Places(memoryview(data)).at(data.index(b"FRAGMENT"))
    assert place.name == "pixel data"
    assert place.encapsulated
    assert place.bits == 0


def test_a_sequence_of_unknown_vr():
    inner = _element((0x00100010, "PN", b"NAME"), IMPLICIT_VR_LITTLE_ENDIAN)
    item = header(0xFFFEE000, "", len(inner), "") + inner + header(0xFFFEE0DD, "", 0, "")
    data = part_10(header(0x00091001, "UN", 0xFFFFFFFF, EXPLICIT_VR_LITTLE_ENDIAN) + item, EXPLICIT_VR_LITTLE_ENDIAN)
    assert Places(memoryview(data)).at(data.index(b"NAME")).name == "0010,0010"


def test_a_data_set_by_itself():
    data = memoryview(_element((0x00100010, "PN", b"NAME"), IMPLICIT_VR_LITTLE_ENDIAN))
    assert Places(data, IMPLICIT_VR_LITTLE_ENDIAN, bare=True).at(9).name == "0010,0010"
    assert Places(data, IMPLICIT_VR_LITTLE_ENDIAN).at(9).name == "0010,0010"


@pytest.mark.parametrize("cut", range(140, 330, 7))
def test_what_cannot_be_followed_is_unknown(cut: int):
    data = objects(EXPLICIT_VR_LITTLE_ENDIAN, defined=True)[:cut]
    places = Places(memoryview(data))
    assert all(places.at(offset).name for offset in range(len(data)))
    assert places.at(len(data) + 100).name == "unknown"


@given(st.binary(max_size=300), st.integers(0, 400))
def test_any_bytes_have_some_place(garbage: bytes, offset: int):
    for data in (garbage, part_10(garbage, EXPLICIT_VR_LITTLE_ENDIAN)):
        assert Places(memoryview(data)).at(offset).name
