"""Dummies are valid for their VR, whatever the attribute."""

from __future__ import annotations

import re

import pytest

from dcmkit.dataset.dictionary import vr_of
from dcmkit.dataset.elements import VRS, decode
from dcmkit.deid import dummies
from dcmkit.deid.dates import shifted
from dcmkit.deid.dummies import dummy
from dcmkit.uids import EXPLICIT_VR_LITTLE_ENDIAN

TEXT = {
    "AE": 16,
    "CS": 16,
    "LO": 64,
    "LT": 10240,
    "PN": 64,
    "SH": 16,
    "ST": 1024,
    "UC": 1 << 20,
    "UT": 1 << 20,
    "UR": 99,
}
SIZES = {"AT": 4, "FD": 8, "FL": 4, "OB": 1, "OD": 8, "OF": 4, "OL": 4, "OV": 8, "OW": 2, "SL": 4, "SS": 2, "SV": 8}
SIZES |= {"UL": 4, "UN": 1, "US": 2, "UV": 8}


@pytest.mark.parametrize("vr", sorted(VRS - {"SQ", "UI"}))
def test_one_for_every_vr(vr: str):
    value = dummy(vr)
    assert value
    assert len(value) % 2 == 0
    assert value.isascii()
    if vr in TEXT:
        assert len(value) <= TEXT[vr]
        assert b"\\" not in value
    elif vr in SIZES:
        assert len(value) % SIZES[vr] == 0
        assert not any(value)  # so it is the same in either byte order
    elif vr in ("DS", "IS"):
        assert float(value) == 0
    else:
        assert shifted(value.decode(), vr, 0) == value.decode().strip()


def test_text_is_within_every_repertoire():
    assert re.fullmatch("[A-Z0-9_ ]{1,16}", dummies.WORD)


@pytest.mark.parametrize("tag", [0x00080060, 0x00080201, 0x00100040, 0x00102203, 0x001021A0, 0x00340007, 0x04000565])
def test_those_with_a_form_of_their_own(tag: int):
    vr = vr_of(tag)
    value = dummy(vr, tag)
    assert value != dummy(vr)
    assert len(value) % 2 == 0
    assert len(value) <= 16
    if vr == "CS":
        assert re.fullmatch("[A-Z0-9_ ]{1,16}", value.decode())


def test_the_timezone_is_one():
    assert re.fullmatch(rb"[+-](?:0[0-9]|1[0-4])[0-5][0-9] ", dummy("SH", 0x00080201))


def test_it_can_be_read_back():
    for vr in ("LO", "DA", "DS"):
        value = dummy(vr)
        raw = b"\x10\x00\x10\x40" + vr.encode() + len(value).to_bytes(2, "little") + value
        (element,) = decode(raw, EXPLICIT_VR_LITTLE_ENDIAN).values()
        assert element.value == value.decode().strip()


def test_an_unknown_vr():
    assert dummy("ZZ") == dummy("UN")
