"""Elements from one encoding into another."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcmkit.dataset import recode as module
from dcmkit.dataset.raw import BIG_ENDIAN, EXPLICIT, IMPLICIT, UNDEFINED, Encoding, RawElements, encoding_of
from dcmkit.dataset.recode import CREATE, DEFINED, RECALCULATE, UNDEFINED_LENGTHS, recode, swapped
from dcmkit.errors import InvalidDataSetError
from dcmkit.uids import EXPLICIT_VR_BIG_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from tests.dataset.encoding import Element, Items, encode
from tests.dataset.test_raw import SYNTAXES, TREE, parse

ENCODINGS = (EXPLICIT, IMPLICIT, BIG_ENDIAN)


def to(layers: RawElements | list[RawElements], target: Encoding, **options: str) -> bytes:
    return b"".join(recode(layers if isinstance(layers, list) else [layers], target, **options))  # type: ignore[arg-type]


def words(order: str) -> list[Element]:
    """Values in one byte order, a nested sequence with it."""
    numbers: list[Element] = [
        (0x00280009, "AT", struct.pack(f"{order}4H", 0x18, 0x1063, 0x10, 0x20)),
        (0x00280010, "US", struct.pack(f"{order}H", 512)),
        (0x00280106, "SS", struct.pack(f"{order}h", -3)),
        (0x00281201, "OW", struct.pack(f"{order}3H", 1, 2, 3)),
        (0x00189073, "FD", struct.pack(f"{order}d", 2.5)),
        (0x00186020, "SL", struct.pack(f"{order}l", -70000)),
        (0x0009100A, "UN", b"\1\2\3"),
        (0x00420011, "OB", b"\1\2"),
    ]
    return [
        *numbers,
        (0x00081140, "SQ", Items([[*numbers, (0x00081199, "SQ", Items([numbers], defined=True))], []])),
        (0x00100010, "PN", b"A^B"),
    ]


@pytest.mark.parametrize("source", SYNTAXES)
@pytest.mark.parametrize("target", SYNTAXES)
def test_every_encoding_into_every_other(source: str, target: str) -> None:
    def tree(syntax: str) -> list[Element]:
        found = words(">" if syntax == EXPLICIT_VR_BIG_ENDIAN else "<")
        signed = struct.pack(">H" if syntax == EXPLICIT_VR_BIG_ENDIAN else "<H", 1)
        return sorted([*found, (0x00280103, "US", signed)], key=lambda one: one[0])

    raw = parse(encode(tree(source), source), encoding_of(source))
    assert to(raw, encoding_of(target)) == encode(tree(target), target)


@pytest.mark.parametrize("source", SYNTAXES)
@pytest.mark.parametrize("target", ENCODINGS)
def test_lengths_of_sequences(source: str, target: Encoding) -> None:
    raw = parse(encode(TREE, source), encoding_of(source))
    for sequences, length in ((DEFINED, False), (UNDEFINED_LENGTHS, True)):
        data = to(raw, target, sequences=sequences)
        found = parse(data, target)
        for tag in (0x00081140, 0x00081115):
            one = found.get(tag)
            assert one is not None
            assert (one.length == UNDEFINED) == length
        assert found.decoded() == raw.decoded()
        assert (b"\xff\xff\xff\xff" in data) == length


@pytest.mark.parametrize("target", ENCODINGS)
@pytest.mark.parametrize("sequences", [DEFINED, UNDEFINED_LENGTHS])
def test_long_sequences_are_the_same(monkeypatch: pytest.MonkeyPatch, target: Encoding, sequences: str) -> None:
    raw = parse(encode(words("<") * 1, EXPLICIT_VR_LITTLE_ENDIAN), EXPLICIT)
    wanted = to(raw, target, sequences=sequences, group_lengths=CREATE)
    monkeypatch.setattr(module, "_LARGE", 10)
    monkeypatch.setattr(module, "_SMALL", 4)
    monkeypatch.setattr(module, "_BLOCK", 8)
    assert to(raw, target, sequences=sequences, group_lengths=CREATE) == wanted


def test_group_lengths() -> None:
    lengths: list[Element] = [(0x00080000, "UL", b"\x63\0\0\0"), *TREE]
    raw = parse(encode(lengths, EXPLICIT_VR_LITTLE_ENDIAN), EXPLICIT)
    assert 0x00080000 not in parse(to(raw, EXPLICIT), EXPLICIT)
    found = parse(to(raw, IMPLICIT, group_lengths=RECALCULATE), IMPLICIT)
    assert [one.tag for one in found if not one.tag & 0xFFFF] == [0x00080000]
    last, first = found.get(0x00081140), found.get(0x00080016)
    assert last is not None
    assert first is not None
    assert found.unsigned(0x00080000) == last.end - first.start
    created = parse(to(raw, EXPLICIT, group_lengths=CREATE), EXPLICIT)
    assert [one.tag for one in created if not one.tag & 0xFFFF] == [0x00080000, 0x00090000, 0x00100000, 0x00420000]


def test_the_last_layer_counts() -> None:
    below = parse(encode(TREE, IMPLICIT_VR_LITTLE_ENDIAN), IMPLICIT)
    above = parse(encode([(0x00080016, "UI", b"9.9"), (0x00100020, "LO", b"4711")], EXPLICIT_VR_BIG_ENDIAN), BIG_ENDIAN)
    found = parse(to([below, above], EXPLICIT), EXPLICIT)
    assert found.text(0x00080016) == "9.9"
    assert found.text(0x00100020) == "4711"
    assert len(found) == len(TREE) + 1
    part = parse(b"".join(recode([below, above], EXPLICIT, first=0x00090010, last=0x00100010)), EXPLICIT)
    assert [one.tag for one in part] == [0x00090010, 0x00100010]


def test_what_does_not_belong_into_a_data_set_is_left_out() -> None:
    strange = [(0x00020010, "UI", b"1.2"), (0x00000002, "UI", b"1.2"), (0x00100010, "PN", b"AB")]
    raw = parse(encode([*strange, (0xFFFCFFFC, "OB", b"12")], EXPLICIT_VR_LITTLE_ENDIAN), EXPLICIT)
    assert [one.tag for one in parse(to(raw, EXPLICIT), EXPLICIT)] == [0x00100010]


def test_odd_lengths_become_even() -> None:
    odd = b"\x10\0\x10\0PN\3\0A^B" + b"\x08\0\x18\0UI\3\x001.2" + b"\x09\0\x01\x10UN\0\0\1\0\0\0a"
    assert to(parse(odd, EXPLICIT), EXPLICIT) == (
        b"\x08\0\x18\0UI\4\x001.2\0" + b"\x09\0\x01\x10UN\0\0\2\0\0\0a\0" + b"\x10\0\x10\0PN\4\0A^B "
    )


def test_values_too_long_for_their_vr_become_unknown() -> None:
    raw = parse(encode([(0x00283006, "LO", bytes(70000))], IMPLICIT_VR_LITTLE_ENDIAN), IMPLICIT)
    assert [one.vr for one in parse(to(raw, EXPLICIT), EXPLICIT)] == ["OW"]
    raw = parse(encode([(0x00281101, "US", b"\1\2" * 40000)], IMPLICIT_VR_LITTLE_ENDIAN), IMPLICIT)
    for target in (EXPLICIT, BIG_ENDIAN):
        found = parse(to(raw, target), target)
        assert [one.vr for one in found] == ["UN"]
        assert found.value(0x00281101) == b"\1\2" * 40000


def test_unknown_sequences_become_sequences() -> None:
    private: list[Element] = [(0x00091001, "UN", Items([[(0x00091002, "LO", b"1234")]]))]
    raw = parse(encode(private, IMPLICIT_VR_LITTLE_ENDIAN), IMPLICIT)
    data = to(raw, EXPLICIT)
    assert [one.vr for one in parse(data, EXPLICIT)] == ["SQ"]
    assert to(parse(data, EXPLICIT), IMPLICIT) == encode(private, IMPLICIT_VR_LITTLE_ENDIAN)


def test_fragments_in_an_icon_stay_as_they_are() -> None:
    pixels = b"\xe0\x7f\x10\0OB\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\4\0\0\0abcd" + b"\xfe\xff\xdd\xe0\0\0\0\0"
    icon = b"\x88\0\0\2SQ\0\0" + struct.pack("<L", 8 + len(pixels)) + b"\xfe\xff\x00\xe0"
    data = icon + struct.pack("<L", len(pixels)) + pixels
    assert to(parse(data, EXPLICIT), EXPLICIT) == data
    undefined = to(parse(data, EXPLICIT), EXPLICIT, sequences=UNDEFINED_LENGTHS)
    assert pixels in undefined
    assert to(parse(undefined, EXPLICIT), EXPLICIT, sequences=DEFINED) == data
    with pytest.raises(InvalidDataSetError, match="big endian"):
        to(parse(data, EXPLICIT), BIG_ENDIAN)


def test_broken_sequences_are_refused() -> None:
    item = b"\xfe\xff\x00\xe0\x08\0\0\0"
    inside = (item + b"\xfe\xff\x0d\x53\0\0\0\0", item + b"\xfe\xff\x00\xe0\0\0\0\0")
    for value in (b"\x08\0\0\0", b"\xfe\xff\x00\xe0\x63\0\0\0", b"\x08\0\x60\0CS\0\0", *inside):
        data = b"\x08\0\x40\x11SQ\0\0" + struct.pack("<L", len(value)) + value
        with pytest.raises(InvalidDataSetError):
            to(parse(data, EXPLICIT), IMPLICIT)
    deep = b""
    for _ in range(100):
        item = b"\xfe\xff\x00\xe0" + struct.pack("<L", len(deep)) + deep
        deep = b"\x08\0\x40\x11SQ\0\0" + struct.pack("<L", len(item)) + item
    with pytest.raises(InvalidDataSetError, match="deeper"):
        to(parse(deep, EXPLICIT), IMPLICIT)


def test_items_without_bound_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BUFFER_LIMIT", 100)
    raw = parse(encode([(0x00081140, "SQ", Items([[(0x00081150, "UI", b"12")] * 50]))], SYNTAXES[0]), EXPLICIT)
    with pytest.raises(InvalidDataSetError, match="longer than 100"):
        to(raw, IMPLICIT)


def test_swapped() -> None:
    assert swapped(b"\1\2\3\4\5", 2) == b"\2\1\4\3\5"
    assert swapped(b"\1\2\3\4\5", 4) == b"\4\3\2\1\5"


_leaf = st.one_of(
    st.tuples(st.just(0x00280010), st.just("US"), st.binary(min_size=2, max_size=2)),
    st.tuples(st.just(0x00100010), st.just("PN"), st.binary(max_size=9)),
    st.tuples(st.just(0x00281201), st.just("OW"), st.binary(max_size=5).map(lambda one: one * 2)),
    st.tuples(st.just(0x00091001), st.just("UN"), st.binary(max_size=9)),
)
_items = st.recursive(
    st.lists(_leaf, max_size=3),
    lambda inner: st.lists(
        st.builds(
            lambda items, defined: (0x00081140, "SQ", Items(items, defined=defined)),
            st.lists(inner, max_size=3), st.booleans(),
        ) | _leaf,
        max_size=3,
    ),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(_items, st.sampled_from(SYNTAXES), st.sampled_from(ENCODINGS))
def test_there_and_back_is_identity(tree: list[Element], syntax: str, other: Encoding) -> None:
    unique = sorted({one[0]: one for one in tree}.values(), key=lambda one: one[0])
    source = encoding_of(syntax)
    data = encode(unique, syntax)
    there = to(parse(data, source), other)
    assert to(parse(there, other), source) == data
