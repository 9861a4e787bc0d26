"""What becomes of the elements of a data set, byte for byte."""

from __future__ import annotations

import pytest

from dcmkit.dataset.elements import DataSet, Element, decode, encode
from dcmkit.dataset.raw import EXPLICIT, encoding_of, walk
from dcmkit.deid.descriptors import Descriptors
from dcmkit.deid.pieces import encoded
from dcmkit.deid.profile import Plan, parse
from dcmkit.deid.pseudonyms import Pseudonyms
from dcmkit.deid.rewriting import Action, Rewriter
from dcmkit.deid.values import Subject, Values
from dcmkit.errors import InvalidDataSetError
from dcmkit.uids import EXPLICIT_VR_BIG_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN

CT = "1.2.840.10008.5.1.4.1.1.2"
PSEUDONYMS = Pseudonyms(b"k" * 32)
SYNTAXES = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN)


def rewriter(profile: str = "basic", *, syntax: str = EXPLICIT_VR_LITTLE_ENDIAN, remember: bool = False) -> Rewriter:
    subject = Subject(CT, PSEUDONYMS.patient("P1"))
    values = Values(PSEUDONYMS, Descriptors(), subject)
    return Rewriter(Plan(parse(profile)), values, encoding_of(syntax), CT, remember=remember)


def rewritten(content: bytes, profile: str = "basic", *, syntax: str = EXPLICIT_VR_LITTLE_ENDIAN) -> bytes:
    data = memoryview(content)
    encoding = encoding_of(syntax)
    made = rewriter(profile, syntax=syntax).level(data, walk(data, 0, len(data), encoding), encoding)
    return content if made is None else b"".join(made)


def changed(data_set: DataSet, profile: str = "basic", *, syntax: str = EXPLICIT_VR_LITTLE_ENDIAN) -> DataSet:
    return decode(rewritten(encode(data_set, syntax), profile, syntax=syntax), syntax)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_each_rule_at_the_top_and_within(syntax: str) -> None:
    inner: DataSet = {
        0x00080018: Element("UI", "1.2.3"), 0x00081030: Element("LO", "Mr Smith's head"),
        0x00100010: Element("PN", "Smith^John"), 0x00180050: Element("DS", "1.25"),
    }  # fmt: skip
    before: DataSet = {
        0x00080016: Element("UI", CT), **inner, 0x00081140: Element("SQ", [inner]), 0x00082218: Element("SQ", [inner]),
    }  # fmt: skip
    after = changed(before, syntax=syntax)
    assert sorted(after) == [0x00080016, 0x00080018, 0x00082218, 0x00100010, 0x00180050]
    patient, uid = PSEUDONYMS.patient("P1").name, PSEUDONYMS.uid("1.2.3")
    for level in (after, after[0x00082218].value[0]):
        assert isinstance(level, dict)
        assert (level[0x00080018].value, level[0x00100010].value, level[0x00180050].value) == (uid, patient, "1.25")


def test_what_is_kept_is_kept_to_the_byte() -> None:
    odd = encoded(EXPLICIT, 0x00180050, "DS", b" 1.25") + encoded(EXPLICIT, 0x00280010, "US", b"\1\0")
    nested = b"\x08\0\x18\x22SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff" + odd
    nested += b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0"
    assert rewritten(nested + odd) == nested + odd
    name = encoded(EXPLICIT, 0x00100030, "DA", b"19700101")
    assert rewritten(nested + name + odd) == nested + encoded(EXPLICIT, 0x00100030, "DA", b"") + odd


def test_private_blocks_go_or_stay_with_their_creator() -> None:
    creator = encoded(EXPLICIT, 0x20010010, "LO", b"Philips Imaging DD 001")
    other = encoded(EXPLICIT, 0x20010011, "LO", b"SOMEBODY")
    safe = encoded(EXPLICIT, 0x20011003, "FL", b"\0\0\x80\x3f")
    unsafe = encoded(EXPLICIT, 0x200110FF, "LO", b"Smith") + encoded(EXPLICIT, 0x20011103, "FL", b"\0\0\x80\x3f")
    content = creator + other + safe + unsafe
    assert rewritten(content) == b""
    assert rewritten(content, "retain-safe-private") == creator + safe
    assert rewritten(other + safe, "retain-safe-private") == b""
    other_vr = encoded(EXPLICIT, 0x20011003, "LO", b"Smith")
    assert rewritten(creator + other_vr, "retain-safe-private") == b""


def test_unknown_vr_hides_nothing() -> None:
    item = encode({0x00100010: Element("PN", "Smith^John"), 0x00180050: Element("DS", "1")}, IMPLICIT_VR_LITTLE_ENDIAN)
    sequence = b"\xfe\xff\0\xe0" + len(item).to_bytes(4, "little") + item
    content = encoded(EXPLICIT, 0x00082218, "UN", sequence) + encoded(EXPLICIT, 0x00100020, "UN", b"12345 ")
    after = rewritten(content)
    assert b"Smith" not in after
    assert b"12345" not in after
    assert PSEUDONYMS.patient("12345").id.encode() in after


def test_curves_and_overlays_go_as_a_whole_unless_they_are_regions() -> None:
    def plane(group: int, kind: str) -> bytes:
        return (
            encoded(EXPLICIT, group << 16 | 0x10, "US", b"\1\0")
            + encoded(EXPLICIT, group << 16 | 0x22, "LO", b"Smith")
            + encoded(EXPLICIT, group << 16 | 0x40, "CS", kind.encode())
            + encoded(EXPLICIT, group << 16 | 0x3000, "OW", b"\1\0")
            + encoded(EXPLICIT, group << 16 | 0x4000, "LT", b"Smith")
        )

    content = plane(0x5000, "G") + plane(0x6000, "G") + plane(0x6002, "R")
    assert rewritten(content) == b""
    after = decode(rewritten(content, "clean-graphics"), EXPLICIT_VR_LITTLE_ENDIAN)
    assert after[0x60023000].value == b"\1\0"
    assert not [tag for tag in after if tag >> 16 != 0x6002]
    assert "Smith" not in str(after)


def test_overlays_within_samples_are_told() -> None:
    content = encoded(EXPLICIT, 0x60000100, "US", b"\x10\0") + encoded(EXPLICIT, 0x60000102, "US", b"\x0c\0")
    data = memoryview(content)
    one = rewriter()
    assert one.level(data, walk(data, 0, len(data), EXPLICIT), EXPLICIT) == []
    assert one.embedded == [12]


def test_groups_that_are_no_part_of_a_data_set_go() -> None:
    kept = encoded(EXPLICIT, 0x00180050, "DS", b"1")
    gone = [0x00020003, 0x00041500, 0x00080000, 0xFFFCFFFC]
    content = b"".join(encoded(EXPLICIT, tag, "LO", b"Smith") for tag in gone[:3]) + kept
    assert rewritten(content + encoded(EXPLICIT, gone[3], "OB", b"Smith")) == kept


def test_a_dummy_sequence_says_nothing_and_stays_valid() -> None:
    item: DataSet = {
        0x00080100: Element("SH", "S1"), 0x00080102: Element("SH", "99SMITH"), 0x00080104: Element("LO", "John Smith"),
    }  # fmt: skip
    after = changed({0x00401101: Element("SQ", [item])})
    (code,) = after[0x00401101].value
    assert isinstance(code, dict)
    assert sorted(code) == sorted(item)
    assert "Smith" not in str(code)
    assert all(element.value for element in code.values())


def test_a_committee_has_a_name_and_a_number_or_none() -> None:
    both: DataSet = {0x00120081: Element("LO", "Committee"), 0x00120082: Element("LO", "12/3456")}
    after = changed(both | {0x00082218: Element("SQ", [{0x00120082: Element("LO", "12/3456")}])})
    assert 0x00120081 in after
    assert after[0x00120082].value not in ("", "12/3456")
    assert after[0x00082218].value == [{}]


def test_actions_and_removed_values_are_told() -> None:
    inner: DataSet = {0x00081030: Element("LO", "Brain"), 0x00102180: Element("SH", "Pilot")}
    content = encode({0x00081110: Element("SQ", [inner]), 0x00082218: Element("SQ", [inner, inner])},
                     EXPLICIT_VR_LITTLE_ENDIAN)  # fmt: skip
    data = memoryview(content)
    one = rewriter(remember=True)
    one.level(data, walk(data, 0, len(data), EXPLICIT), EXPLICIT)
    assert one.actions[0] == Action((), 0x00081110, one.actions[0].rule)
    assert [(action.path, action.tag) for action in one.actions[1:]] == [
        ((0x00082218, 1), 0x00081030), ((0x00082218, 1), 0x00102180),
        ((0x00082218, 2), 0x00081030), ((0x00082218, 2), 0x00102180),
    ]  # fmt: skip
    assert [value.strip() for _, value, _ in one.removed] == [b"Brain", b"Pilot"] * 3


def test_sequences_that_cannot_be_followed_are_refused() -> None:
    content = b"\x08\0\x18\x22SQ\0\0\x08\0\0\0\x08\0\x50\0SH\0\0"
    with pytest.raises(InvalidDataSetError):
        rewritten(content)
    deep = b"\x08\0\x18\x22SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff" * 200
    with pytest.raises(InvalidDataSetError):
        rewritten(deep)
