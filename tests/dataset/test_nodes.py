"""Where elements lie, and what is left of damaged data sets."""

from __future__ import annotations

import struct

import pytest

from dcmkit.dataset.nodes import DEPTH_LIMIT, FRAGMENT, PIXELS, SEQUENCE, UNDEFINED, Encoding, How, Walk

END_ITEM, END_SEQUENCE = struct.pack("<HHI", 0xFFFE, 0xE00D, 0), struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
EXPLICIT, IMPLICIT = Encoding(), Encoding(explicit=False)


def element(tag: int, vr: str, value: bytes, length: int | None = None) -> bytes:
    size = len(value) if length is None else length
    if vr in ("OB", "OW", "SQ", "UN", "UT", "ZZ"):
        return struct.pack("<HH2sHI", tag >> 16, tag & 0xFFFF, vr.encode(), 0, size) + value
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr.encode(), size) + value


def item(value: bytes, length: int | None = None) -> bytes:
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(value) if length is None else length) + value


def walk(data: bytes, encoding: Encoding = EXPLICIT, **how) -> Walk:
    return Walk(data, 0, len(data), encoding, How(**how))


NAME = element(0x00100010, "PN", b"A^B ")
NESTED = element(0x00081115, "SQ", item(NAME, UNDEFINED) + END_ITEM + item(NAME) + END_SEQUENCE, UNDEFINED)
PIXEL_DATA = element(0x7FE00010, "OB", item(b"") + item(b"abcd") + END_SEQUENCE, UNDEFINED)


def test_sequences_items_and_fragments():
    found = walk(NESTED + NAME + PIXEL_DATA)
    assert found.error is None
    assert [node.kind for node in found.nodes] == [SEQUENCE, 0, PIXELS]
    sequence, _, pixels = found.nodes
    assert [[child.tag for child in one.children] for one in sequence.children] == [[0x00100010]] * 2
    assert [(one.kind, one.length) for one in pixels.children] == [(FRAGMENT, 0), (FRAGMENT, 4)]
    assert sequence.end == len(NESTED)
    assert pixels.end == found.end == len(NESTED + NAME + PIXEL_DATA)


@pytest.mark.parametrize("data", [NESTED + NAME, NAME + PIXEL_DATA, element(0x00081115, "SQ", item(NAME) * 2)])
def test_any_cut_leaves_what_is_before_it(data):
    whole = walk(data)
    ends = {node.end for node in whole.nodes}
    for cut in range(1, len(data)):
        found = walk(data[:cut])
        assert (found.error is None) == (cut in ends), cut
        assert [node.tag for node in found.nodes] == [node.tag for node in whole.nodes][: len(found.nodes)]
        if found.error is not None:
            assert "offset" in str(found.error)


def test_deep_nesting_is_bounded():
    data = b"".join(element(0x00081115, "SQ", item(b"", UNDEFINED), UNDEFINED) for _ in range(20000))
    found = walk(data)
    assert f"deeper than {DEPTH_LIMIT}" in str(found.error)


def test_unknown_vrs():
    future = element(0x00091001, "ZZ", b"abcd")
    found = walk(future + element(0x00091002, "??", b"ab") + NAME)
    assert found.error is None
    assert [(node.vr, node.end - node.start) for node in found.nodes] == [("??", 4), ("??", 2), ("PN", 4)]


def test_un_of_undefined_length_is_implicit():
    inner = struct.pack("<HHI", 0x0010, 0x0010, 4) + b"A^B "
    found = walk(element(0x00291001, "UN", item(inner) + END_SEQUENCE, UNDEFINED))
    assert found.error is None
    assert found.nodes[0].vr == "SQ"
    assert found.nodes[0].children[0].children[0].vr == "PN"


def test_the_sign_of_numbers_follows_pixel_representation():
    signed = struct.pack("<HHI", 0x28, 0x103, 2) + b"\1\0"
    padding = struct.pack("<HHI", 0x28, 0x120, 2) + b"\xff\xff"
    assert [node.vr for node in walk(signed + padding, IMPLICIT).nodes] == ["US", "SS"]
    assert [node.vr for node in walk(padding, IMPLICIT).nodes] == ["xs"]


def test_reading_ends_where_asked():
    data = element(0x00080050, "SH", b"ab") + NAME + element(0x00100020, "LO", b"id")
    assert [node.tag for node in walk(data, stop_after=0x00100010).nodes] == [0x00080050, 0x00100010]
    assert [node.tag for node in walk(data, stop_before=0x00100010).nodes] == [0x00080050]


def test_zeros_at_the_end_are_padding():
    found = walk(NAME + b"\0" * 100)
    assert found.error is None
    assert len(found.nodes) == 1


def test_vrs_of_the_dictionary_on_request():
    data = element(0x00280010, "UN", b"\1\0") + element(0x00209999, "UN", b"ab")
    assert [node.vr for node in walk(data).nodes] == ["UN", "UN"]
    assert [node.vr for node in walk(data, convert_unknown=True).nodes] == ["US", "UN"]
    assert [node.vr for node in walk(element(0x00280010, "SS", b"\1\0"), ignore_vr=True).nodes] == ["US"]
