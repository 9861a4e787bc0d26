"""The scanner: what pydicom reads it reads, however the bytes are cut; what is broken it says is broken."""

from __future__ import annotations

import io
import os
import struct
import time
import tracemalloc
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcmkit.dataset import scanner as scanner_module
from dcmkit.dataset.part10 import read_file_header
from dcmkit.dataset.scanner import (
    DEPTH_LIMIT,
    LONG_VRS,
    SHORT_VRS,
    VALUE_LIMIT,
    WINDOW,
    DataSetScanner,
    ScannedHeader,
    read_items,
)
from dcmkit.dataset.values import decode_values
from dcmkit.errors import DcmkitError, InvalidDataSetError
from dcmkit.uids import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)
from tests.dataset.encoding import (
    ITEM,
    SEQUENCE_END,
    SYNTAXES,
    UNDEFINED,
    Element,
    Items,
    deflate,
    encode,
    fragments,
    header,
    number,
)
from tests.interop.samples import sources

EXPLICIT = EXPLICIT_VR_LITTLE_ENDIAN
UID, NAME, ID, ROWS, REQUEST = 0x00080018, 0x00100010, 0x00100020, 0x00280010, 0x00400275
WANTED = frozenset({UID, NAME, ID, ROWS, REQUEST})
PLAIN: list[Element] = [(UID, "UI", b"1.2.3"), (NAME, "PN", b"Doe^Jane"), (ROWS, "US", b"\2\0")]


def scan(
    data: bytes, syntax: str = EXPLICIT, cuts: tuple[int, ...] = (), wanted: frozenset[int] = WANTED
) -> ScannedHeader:
    """Feed `data`, cut into pieces at `cuts`."""
    scanner = DataSetScanner(syntax, wanted)
    ends = sorted({min(cut, len(data)) for cut in cuts} | {len(data)})
    start = 0
    for end in ends:
        scanner.feed(memoryview(data)[start:end])
        start = end
    return scanner.finish()


# --- equal to pydicom ---


def sample_files() -> Iterator[str]:
    yield from (str(path) for path in sources() if path.suffix in ("", ".dcm"))


TEXT_TAGS = frozenset(
    {
        0x00080005, 0x00080008, 0x00080016, 0x00080018, 0x00080020, 0x00080030, 0x00080050, 0x00080060, 0x00080070,
        0x00080080, 0x00080090, 0x00081010, 0x00081030, 0x0008103E, 0x00081090, 0x00100010, 0x00100020, 0x00100030,
        0x00100040, 0x00180015, 0x00181030, 0x0020000D, 0x0020000E, 0x00200010, 0x00200011, 0x00200013, 0x00280008,
        0x00280010, 0x00280011, 0x00280100,
    }
)  # fmt: skip
NUMBERS = {0x00280010: "US", 0x00280011: "US", 0x00280100: "US"}


@pytest.mark.filterwarnings("ignore")
def test_index_keys_equal_pydicoms_for_every_bundled_file():
    import pydicom

    compared = 0
    for name in sample_files():
        try:
            found = read_file_header(name)
            data = Path(name).read_bytes()[found.offset :]
            scanned = scan(data, found.transfer_syntax_uid, wanted=TEXT_TAGS)
        except DcmkitError:
            continue
        values = decode_values(scanned.values, scanned.values.get(0x00080005), NUMBERS, big_endian=scanned.big_endian)
        expected = pydicom.dcmread(name)
        for tag in TEXT_TAGS:
            assert (tag in expected) == (tag in values), (name, hex(tag))
            if tag in expected:
                value = expected[tag].value
                several = value if expected[tag].VM > 1 else ["" if value is None else value]
                text = "\\".join(str(each).strip() for each in several)
                assert values[tag].rstrip("=") == text.rstrip("="), (name, hex(tag))  # an empty component group
                compared += 1
    assert compared > 1000


@pytest.mark.filterwarnings("ignore")
def test_what_pydicom_finds_truncated_the_scanner_refuses():
    truncated = {"MR_truncated.dcm", "rtplan_truncated.dcm", "emri_small_jpeg_2k_lossless_too_short.dcm"}
    refused = set()
    for name in sample_files():
        try:
            found = read_file_header(name)
            scan(Path(name).read_bytes()[found.offset :], found.transfer_syntax_uid)
        except InvalidDataSetError as error:
            if "DICOM file" not in error.message:
                refused.add(os.path.basename(name))
    assert refused == truncated


# --- data sets made by Hypothesis ---

TAGS = st.integers(0x0008, 0x0029).flatmap(
    lambda group: st.integers(0x0010, 0x0030).map(lambda element: group << 16 | element)
)
TEXT_VRS = st.sampled_from(["LO", "PN", "UI", "UT", "OB", "UN", "CS"])


def elements(children: st.SearchStrategy[Items]) -> st.SearchStrategy[list[Element]]:
    plain = st.tuples(TAGS, TEXT_VRS, st.binary(max_size=24).map(lambda value: value + b"\0" * (len(value) % 2)))
    nested = st.tuples(TAGS, st.just("SQ"), children)
    return st.lists(st.one_of(plain, nested), min_size=1, max_size=6)


ITEMS = st.recursive(
    st.builds(Items, st.just([]), defined=st.booleans()),
    lambda below: st.builds(Items, st.lists(elements(below), max_size=3), defined=st.booleans()),
    max_leaves=8,
)
WHOLE = st.tuples(elements(ITEMS), st.sampled_from(SYNTAXES), st.lists(st.integers(0, 400), max_size=12))


@given(WHOLE)
def test_any_cut_gives_the_same_values_and_they_are_those_written(made: tuple[list[Element], str, list[int]]):
    parts, syntax, cuts = made
    data = encode(parts, syntax)
    plain = EXPLICIT if syntax == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN else syntax
    wanted = frozenset(tag for tag, _, _ in parts)
    whole = scan(data, syntax, wanted=wanted)
    expected = {}
    for tag, vr, value in parts:
        one = encode([(tag, vr, value)], plain)
        expected[tag] = one[len(header(tag, vr, 0, plain)) :]
    assert whole.values == expected
    assert whole.length == len(data)
    assert scan(data, syntax, tuple(cuts), wanted) == whole


@given(WHOLE)
def test_a_data_set_cut_short_is_refused_or_ends_at_an_element(made: tuple[list[Element], str, list[int]]):
    parts, syntax, cuts = made
    data = encode(parts, syntax)
    ends = {len(encode(parts[:count], syntax)) for count in range(len(parts) + 1)}
    for cut in cuts:
        short = data[: min(cut, len(data))]
        try:
            scan(short, syntax)
        except InvalidDataSetError:
            continue
        clean = syntax != DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN
        assert not clean or any(0 <= len(short) - end < 8 and not short[end:].strip(b"\0") for end in ends)


@given(st.binary(max_size=300), st.sampled_from(SYNTAXES), st.lists(st.integers(0, 300), max_size=5))
def test_random_bytes_give_the_documented_error_or_a_result_and_no_cut_changes_it(
    data: bytes, syntax: str, cuts: list[int]
):
    def verdict(at: tuple[int, ...]) -> object:
        try:
            return scan(data, syntax, at)
        except InvalidDataSetError as error:
            return error.message, error.offending_element

    assert verdict(tuple(cuts)) == verdict(())


@given(WHOLE)
def test_raw_values_equal_pydicoms(made: tuple[list[Element], str, list[int]]):
    import pydicom

    parts, syntax, _ = made
    parts = sorted({part[0]: part for part in parts}.values(), key=lambda part: part[0])
    if syntax == IMPLICIT_VR_LITTLE_ENDIAN:  # there pydicom asks its dictionary what may be a sequence
        parts = [part for part in parts if part[1] != "SQ"]
    parts.insert(0, (0x00080005, "CS", b"ISO_IR 100"))  # pydicom looks at the first element to see how all are encoded
    data = encode(parts, syntax)
    wanted = frozenset(tag for tag, _, _ in parts)
    found = scan(data, syntax, wanted=wanted).values
    plain = zlib.decompress(data, -15) if syntax == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN else data
    read = pydicom.filereader.read_dataset(
        io.BytesIO(plain), syntax == IMPLICIT_VR_LITTLE_ENDIAN, syntax != EXPLICIT_VR_BIG_ENDIAN
    )
    assert set(found) == {int(tag) for tag in read.keys()}  # noqa: SIM118 - a Dataset iterates over its elements
    vrs = {tag: vr for tag, vr, _ in parts}
    for tag, element in read._dict.items():
        if vrs[int(tag)] != "SQ":
            assert found[int(tag)] == (element.value or b""), hex(tag)


# --- what lies there after sequences and pixels, and across windows ---


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_value_that_straddles_a_window_is_whole(syntax: str):
    long = bytes(range(256)) * 100
    data = encode([(0x00091010, "OB", bytes(WINDOW - 30)), (NAME, "UT", long), (ID, "LO", b"77")], syntax)
    found = scan(data, syntax).values
    assert found[NAME] == long
    assert found[ID] == b"77"


def test_a_wanted_sequence_that_straddles_windows_is_whole():
    items = Items([[(ID, "UT", bytes([number % 256]) * 5000)] for number in range(10)])
    data = encode([(REQUEST, "SQ", items), *PLAIN])
    found = scan(data).values
    assert found[REQUEST] == data[12 : 12 + len(found[REQUEST])]
    assert len(read_items(found[REQUEST], WANTED, scan(data))) == 10


def test_values_and_sequences_over_the_limit_are_left_out():
    big = Items([[(ID, "UT", bytes(VALUE_LIMIT))]])
    data = encode([(NAME, "UT", b"x" * (VALUE_LIMIT + 2)), (REQUEST, "SQ", big), (ID, "LO", b"77")])
    assert scan(data).values == {ID: b"77"}


def test_elements_after_encapsulated_pixel_data_are_seen():
    data = (
        encode(PLAIN) + fragments(b"\1\2" * 5000, b"\3\4") + encode([(0xFFFCFFFC, "OB", bytes(10)), (ID, "LO", b"9 ")])
    )
    scanner = DataSetScanner("1.2.840.10008.1.2.5", WANTED)
    scanner.feed(memoryview(data))
    assert scanner.in_pixel_data
    assert scanner.finish().values[ID] == b"9 "


def test_the_bytes_of_pixels_may_be_skipped_unread():
    pixels = header(0x7FE00010, "OW", 1 << 31, EXPLICIT)
    scanner = DataSetScanner(EXPLICIT, WANTED)
    scanner.feed(memoryview(encode(PLAIN) + pixels))
    assert scanner.skippable == 1 << 31
    scanner.skip(1 << 31)
    assert scanner.value(UID) == b"1.2.3\0"
    assert scanner.finish().length == len(encode(PLAIN) + pixels) + (1 << 31)


# --- legal enough ---


def test_it_is_told_what_may_be_skipped():
    whole = encode([(0x00280010, "US", b"\1\0"), (0x7FE00010, "OW", bytes(100))], EXPLICIT)
    scanner = DataSetScanner(EXPLICIT, frozenset())
    scanner.feed(memoryview(whole)[:10])
    assert scanner.skippable_tag == 0
    scanner.feed(memoryview(whole)[10:40])
    assert scanner.skippable_tag == 0x7FE00010
    assert scanner.skippable == len(whole) - 40


def test_a_vr_of_the_future_has_a_long_length():
    data = encode(PLAIN[:1]) + struct.pack("<HH2sHL", 0x0009, 0x1010, b"ZZ", 0, 6) + b"abcdef" + encode(PLAIN[1:])
    assert scan(data).values[NAME] == b"Doe^Jane"


def test_a_wrong_vr_with_a_short_length():
    data = encode(PLAIN[:1]) + struct.pack("<HH2sH", 0x0009, 0x1010, b"ZZ", 6) + b"abcdef" + encode(PLAIN[1:])
    assert scan(data).values[NAME] == b"Doe^Jane"


def test_a_wrong_vr_without_a_value():
    data = encode(PLAIN[:1]) + struct.pack("<HH2sH", 0x0009, 0x1010, b"ZZ", 0) + encode(PLAIN[1:])
    assert scan(data).values[NAME] == b"Doe^Jane"


@pytest.mark.parametrize("vr", [b"??", b"  ", b"\0\0", b"--"])
def test_no_vr_at_all(vr: bytes):
    data = encode(PLAIN[:1]) + struct.pack("<HH2sH", 0x0009, 0x1010, vr, 6) + b"abcdef" + encode(PLAIN[1:])
    assert scan(data).values[NAME] == b"Doe^Jane"


def test_an_implicit_element_that_strayed_into_explicit_ones():
    data = encode(PLAIN[:1]) + header(0x00091010, "", 6, EXPLICIT) + b"abcdef" + encode(PLAIN[1:])
    assert scan(data).values[NAME] == b"Doe^Jane"


@pytest.mark.parametrize(
    ("said", "used"), [(EXPLICIT, IMPLICIT_VR_LITTLE_ENDIAN), (IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT)]
)
def test_the_other_kind_of_vr_than_the_transfer_syntax_says(said: str, used: str):
    found = scan(encode(PLAIN, used), said)
    assert found.values[NAME] == b"Doe^Jane"
    assert found.implicit_vr == (used == IMPLICIT_VR_LITTLE_ENDIAN)


def test_odd_lengths_descending_and_repeated_tags():
    odd = header(ID, "LO", 3, EXPLICIT) + b"abc"
    data = odd + encode(PLAIN) + encode([(ID, "LO", b"last")])
    assert scan(data).values[ID] == b"last"


def test_groups_0000_and_0002_inside():
    data = encode([(0x00000002, "UI", b"1.2"), (0x00020010, "UI", b"1.2.3"), *PLAIN])
    assert scan(data).values[UID] == b"1.2.3\0"


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT_VR_LITTLE_ENDIAN])
def test_un_of_undefined_length_is_implicit_inside(syntax: str):
    """PS3.5 6.2.2."""
    inside = b"".join(
        encode(
            [(0x00091011, "LO", b"ab"), (0x00091012, "SQ", Items([[(0x00091013, "LO", b"cd")]]))],
            IMPLICIT_VR_LITTLE_ENDIAN,
        )
        for _ in range(2)
    )
    item = header(ITEM, "", UNDEFINED, syntax) + inside + header(0xFFFEE00D, "", 0, syntax)
    un = header(0x00091010, "UN", UNDEFINED, syntax) + item + header(SEQUENCE_END, "", 0, syntax)
    assert scan(un + encode(PLAIN, syntax), syntax).values[NAME] == b"Doe^Jane"


def test_un_of_undefined_length_that_is_explicit_inside_all_the_same():
    items = Items([[(0x00091011, "LO", b"ab"), (0x00091012, "UT", b"cd")]])
    data = encode([(0x00091010, "UN", items), *PLAIN])
    assert scan(data).values[NAME] == b"Doe^Jane"


def test_missing_and_surplus_delimiters():
    missing = (
        header(0x00091010, "SQ", UNDEFINED, EXPLICIT)
        + header(ITEM, "", UNDEFINED, EXPLICIT)
        + encode([(0x00091011, "LO", b"ab")])
        + header(ITEM, "", UNDEFINED, EXPLICIT)
        + encode([(0x00091011, "LO", b"ab")])
        + header(SEQUENCE_END, "", 0, EXPLICIT)
    )
    surplus = header(SEQUENCE_END, "", 0, EXPLICIT) + header(0xFFFEE00D, "", 0, EXPLICIT)
    assert scan(missing + surplus + encode(PLAIN)).values[NAME] == b"Doe^Jane"


@pytest.mark.parametrize("padding", [1, 7, 8, 9, 100, 40000])
def test_zero_bytes_at_the_end(padding: int):
    assert scan(encode(PLAIN) + bytes(padding), cuts=(50, 90)).values[NAME] == b"Doe^Jane"


def test_no_bytes_at_all_in_a_sequence():
    data = encode([(REQUEST, "SQ", Items([])), (0x00401001, "SQ", Items([[]], defined=True)), *PLAIN])
    assert scan(data).values[NAME] == b"Doe^Jane"


# --- broken ---


@pytest.mark.parametrize("data", [b"", bytes(4), bytes(8), bytes(5000)])
def test_an_empty_data_set(data: bytes):
    with pytest.raises(InvalidDataSetError, match="empty"):
        scan(data)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_truncated_in_a_value(syntax: str):
    data = encode([*PLAIN, (0x7FE00010, "OW", os.urandom(2000))], syntax)
    with pytest.raises(InvalidDataSetError, match="truncated") as caught:
        scan(data[:-900], syntax)
    assert caught.value.offending_element == 0x7FE00010
    assert caught.value.dimse_status == 0xC000


def test_an_element_of_four_gigabytes():
    with pytest.raises(InvalidDataSetError) as caught:
        scan(encode(PLAIN) + header(0x7FE00010, "OW", 0xFFFFFFFE, EXPLICIT) + bytes(100))
    assert caught.value.offending_element == 0x7FE00010


def test_a_sequence_that_never_ends():
    data = encode(PLAIN) + header(REQUEST, "SQ", UNDEFINED, EXPLICIT)
    data += (header(ITEM, "", UNDEFINED, EXPLICIT) + encode([(0x00091011, "LO", b"ab")])) * 5000
    with pytest.raises(InvalidDataSetError) as caught:
        scan(data)
    assert caught.value.offending_element == REQUEST


def test_encapsulated_pixel_data_without_its_end():
    with pytest.raises(InvalidDataSetError, match="truncated"):
        scan(encode(PLAIN) + fragments(b"ab", ended=False))


@pytest.mark.parametrize(
    "wrong",
    [
        header(0x7FE00010, "OB", UNDEFINED, EXPLICIT) + header(ITEM, "", UNDEFINED, EXPLICIT),
        header(REQUEST, "SQ", UNDEFINED, EXPLICIT) + header(NAME, "PN", 0, EXPLICIT),
        header(ITEM, "", UNDEFINED, EXPLICIT),
    ],
    ids=["fragment of undefined length", "element instead of an item", "item outside a sequence"],
)
def test_structure_that_cannot_be(wrong: bytes):
    with pytest.raises(InvalidDataSetError):
        scan(encode(PLAIN) + wrong + bytes(64))


def test_a_deflated_data_set_that_is_damaged_or_bare():
    text = " ".join(str(number * number) for number in range(2000)).encode()
    good = encode([*PLAIN, (0x00091010, "UT", text)], DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN)
    for bad in (good[:-200], good[:1000] + b"\xff" * 20 + good[1020:], encode(PLAIN) * 20, b"\xff" * 300):
        with pytest.raises(InvalidDataSetError):
            scan(bad, DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN)


# --- hostile ---


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_twenty_thousand_nested_sequences(syntax: str):
    plain = EXPLICIT if syntax == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN else syntax
    depth = 20000
    opened = (header(0x00091010, "SQ", UNDEFINED, plain) + header(ITEM, "", UNDEFINED, plain)) * depth
    closed = (header(0xFFFEE00D, "", 0, plain) + header(SEQUENCE_END, "", 0, plain)) * depth
    data = encode(PLAIN[:1], plain) + opened + closed + encode([(NAME, "PN", b"Doe^Jane")], plain)
    data = deflate(data) if plain != syntax else data
    started = time.process_time()
    assert scan(data, syntax).values[NAME] == b"Doe^Jane"
    assert time.process_time() - started < 2


def test_nesting_beyond_the_limit_is_refused(monkeypatch: pytest.MonkeyPatch):
    assert DEPTH_LIMIT >= 20000
    monkeypatch.setattr(scanner_module, "DEPTH_LIMIT", 100)
    opened = (header(0x00091010, "SQ", UNDEFINED, EXPLICIT) + header(ITEM, "", UNDEFINED, EXPLICIT)) * 60
    with pytest.raises(InvalidDataSetError, match="deeply"):
        scan(opened)


def test_a_deflate_bomb_costs_little():
    bomb = deflate(encode(PLAIN) + header(0x7FE00010, "OW", 1 << 30, EXPLICIT) + bytes(32 << 20))
    scanner = DataSetScanner(DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, WANTED)
    tracemalloc.start()
    try:
        for at in range(0, len(bomb), 16384):
            scanner.feed(memoryview(bomb)[at : at + 16384])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 << 20
    with pytest.raises(InvalidDataSetError):
        scanner.finish()


def test_a_bomb_beyond_the_limit_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(scanner_module, "INFLATE_LIMIT", 1 << 20)
    bomb = deflate(encode(PLAIN) + header(0x7FE00010, "OW", 8 << 20, EXPLICIT) + bytes(8 << 20))
    assert scan(bomb, DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN).values[NAME] == b"Doe^Jane"


def test_endless_values_cost_no_memory():
    scanner = DataSetScanner(EXPLICIT, WANTED)
    scanner.feed(memoryview(encode(PLAIN) + header(REQUEST, "SQ", UNDEFINED, EXPLICIT)))
    piece = memoryview(header(ITEM, "", 8192 - 8, EXPLICIT) + bytes(8192 - 8))
    tracemalloc.start()
    try:
        for _ in range(2000):
            scanner.feed(piece)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20


def test_one_byte_at_a_time():
    data = encode([*PLAIN, (REQUEST, "SQ", Items([[(ID, "LO", b"7")]]))]) + fragments(b"abcd")
    assert scan(data, cuts=tuple(range(len(data)))) == scan(data)


# --- items ---


@pytest.mark.parametrize("syntax", SYNTAXES[:3])
@pytest.mark.parametrize("defined", [True, False])
def test_items_are_read_from_a_captured_sequence(syntax: str, defined: bool):
    nested = Items([[(ID, "LO", b"no")]], defined=defined)
    first: list[Element] = [(ID, "LO", b"one"), (0x00401111, "SQ", nested)]
    second: list[Element] = [(ID, "LO", b"two "), (ROWS, "US", number(7, syntax))]
    items = Items([first, second], defined=defined)
    found = scan(encode([(REQUEST, "SQ", items)], syntax), syntax)
    assert [item[ID].strip() for item in read_items(found.values[REQUEST], WANTED, found)] == [b"one", b"two"]


def test_damaged_items_end_the_list():
    found = ScannedHeader({}, 0, False, False)
    good = header(ITEM, "", 10, EXPLICIT) + encode([(ID, "LO", b"a ")])
    assert len(read_items(good + b"\1\2\3\4\5\6\7\x08", WANTED, found)) == 1
    assert len(read_items(good * 100, WANTED, found, limit=5)) == 5
    assert read_items(header(ITEM, "", UNDEFINED, EXPLICIT) + encode([(ID, "LO", b"a ")]), WANTED, found) == [
        {ID: b"a "}
    ]


def test_every_vr_of_the_standard_is_known():
    from pydicom.valuerep import VR

    assert {vr.decode() for vr in SHORT_VRS | LONG_VRS} == {str(vr) for vr in VR if len(vr) == 2}
