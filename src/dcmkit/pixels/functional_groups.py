"""What the functional groups of an enhanced object have to say after lossy compression (PS3.3 C.7.6.16, C.8.16.1).

Each frame has a type of its own, which is no longer ORIGINAL; and the Derivation Image group names the instance they
all were made of, which is listed as evidence then. Everything else stays byte for byte as it is: groups are changed
where they lie, not decoded.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from dcmkit.dataset.dictionary import vr_of
from dcmkit.dataset.elements import DataSet, Element, encode, items, text
from dcmkit.dataset.raw import UNDEFINED, Encoding, RawElement, RawElements, Reader, inside, walk
from dcmkit.errors import InvalidDataSetError
from dcmkit.pixels.lossy import (
    DERIVATION_CODE_SEQUENCE,
    REFERENCED_CLASS,
    REFERENCED_INSTANCE,
    SOURCE_IMAGE_SEQUENCE,
)

SHARED, PER_FRAME = 0x52009229, 0x52009230
SOURCE_IMAGE_EVIDENCE = 0x00089154
STUDY_INSTANCE_UID, SERIES_INSTANCE_UID = 0x0020000D, 0x0020000E
NEEDED = frozenset({SOURCE_IMAGE_EVIDENCE, STUDY_INSTANCE_UID, SERIES_INSTANCE_UID})
"""The elements of the top level that are looked at here."""
FRAME_TYPE, DERIVATION_IMAGE = 0x00089007, 0x00089124
_REFERENCED_SERIES, _REFERENCED_SOP = 0x00081115, 0x00081199
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_ORIGINAL, _DERIVED = b"ORIGINAL", b"DERIVED"


def derived(elements: RawElements, data_set: DataSet, changes: DataSet) -> list[RawElements]:
    """The functional groups as they have to be now, each to be put over those of the data set; [] where there are none.

    Args:
        elements: of the data set.
        data_set: those of `NEEDED`, decoded.
        changes: what `lossy.derived` says of it; what the groups refer to is noted there as well.

    Raises:
        InvalidDataSetError: a sequence of functional groups cannot be followed.
    """
    data, encoding = elements.data, elements.encoding
    found = [one for tag in (SHARED, PER_FRAME) if (one := elements.get(tag)) is not None]
    layers: dict[int, tuple[memoryview, RawElement]] = {}
    described = False
    for one in found:
        changed = bytearray(data[one.start : one.end])
        for macro, inner in _elements(data, one, encoding):
            described |= macro.tag == DERIVATION_IMAGE
            if macro.vr == "SQ" or (macro.vr == "UN" and vr_of(macro.tag) == "SQ"):
                for element, _ in _elements(data, macro, inner):
                    if element.tag == FRAME_TYPE and element.length != UNDEFINED:
                        start, end = element.value_start - one.start, element.end - one.start
                        changed[start:end] = _frame_type(changed[start:end])
        shift = one.start
        moved = one._replace(start=0, value_start=one.value_start - shift, end=one.end - shift)
        layers[one.tag] = memoryview(changed), moved
    if SHARED in layers and not described:
        before = layers[SHARED]
        layers[SHARED] = _with_derivation(before, encoding, changes)
        if layers[SHARED] is not before:
            changes[SOURCE_IMAGE_EVIDENCE] = evidence(data_set, _last(changes[SOURCE_IMAGE_SEQUENCE]))
    return [RawElements(changed, encoding, [one]) for changed, one in layers.values()]


def _elements(data: memoryview, one: RawElement, encoding: Encoding) -> Iterator[tuple[RawElement, Encoding]]:
    """Those of all items of a sequence, and how they are encoded."""
    inner = inside(Reader(encoding), data, one.vr, one.value_start, one.end).encoding
    for begin, end in _items(data, one, encoding):
        for element in walk(data, begin, end, inner):
            yield element, inner


def _items(data: memoryview, one: RawElement, encoding: Encoding) -> Iterator[tuple[int, int]]:
    """Where the content of each item begins and ends, the delimiter included if there is one."""
    reader = inside(Reader(encoding), data, one.vr, one.value_start, one.end)
    pos = one.value_start
    while pos < one.end:
        tag, _, begin, length = reader.header(data, pos, one.end)
        if tag == _SEQUENCE_END:
            return
        if tag != _ITEM:
            raise InvalidDataSetError("something else where an item should be", offending_element=one.tag)
        pos = reader.item_end(data, begin, one.end, 1) if length == UNDEFINED else begin + length
        if pos > one.end:
            raise InvalidDataSetError("the data set ends inside an item", offending_element=one.tag)
        yield begin, pos


def _frame_type(value: bytearray) -> bytes:
    """As long as it was, so that no length around it changes."""
    if value.split(b"\\")[0].strip() != _ORIGINAL:
        return bytes(value)
    return bytes(value.replace(_ORIGINAL, _DERIVED, 1).rstrip(b" \0").ljust(len(value)))


def _with_derivation(
    given: tuple[memoryview, RawElement], encoding: Encoding, changes: DataSet
) -> tuple[memoryview, RawElement]:
    """The shared groups with what all frames were made of, where it is another instance."""
    data, one = given
    groups = list(_items(data, one, encoding))
    if SOURCE_IMAGE_SEQUENCE not in changes or len(groups) != 1 or one.vr != "SQ":
        return given
    item = {tag: Element("SQ", [_last(changes[tag])]) for tag in (SOURCE_IMAGE_SEQUENCE, DERIVATION_CODE_SEQUENCE)}
    new = encode({DERIVATION_IMAGE: Element("SQ", [item])}, encoding.transfer_syntax_uid)
    begin = end = at = groups[0][0]
    for element in walk(data, *groups[0], encoding):
        end = element.end  # where an item has a delimiter, that lies behind
        if element.tag < DERIVATION_IMAGE:
            at = end
    content = b"".join((data[begin:at], new, data[at:end]))
    return _sequence(data[: one.value_start], content, one, encoding)


def evidence(data_set: DataSet, source: DataSet) -> Element:
    """Source Image Evidence: everything that groups refer to as a source, by study and series (PS3.3 10.8).

    Args:
        data_set: what is there already, and study and series of the source, which are its own.
        source: an item of Source Image Sequence.
    """
    studies = [dict(one) for one in items(data_set, SOURCE_IMAGE_EVIDENCE)]
    study = _entry(studies, STUDY_INSTANCE_UID, text(data_set, STUDY_INSTANCE_UID))
    all_series = [dict(one) for one in items(study, _REFERENCED_SERIES)]
    series = _entry(all_series, SERIES_INSTANCE_UID, text(data_set, SERIES_INSTANCE_UID))
    reference = {tag: source[tag] for tag in (REFERENCED_CLASS, REFERENCED_INSTANCE)}
    series[_REFERENCED_SOP] = Element("SQ", [*items(series, _REFERENCED_SOP), reference])
    study[_REFERENCED_SERIES] = Element("SQ", all_series)
    return Element("SQ", studies)


def _entry(found: list[DataSet], tag: int, uid: str) -> DataSet:
    """That of a UID, made if there is none."""
    for one in found:
        if text(one, tag) == uid:
            return one
    found.append({tag: Element("UI", uid)})
    return found[-1]


def _last(element: Element) -> DataSet:
    assert isinstance(element.value, list)
    return element.value[-1]


def _sequence(head: memoryview, content: bytes, one: RawElement, encoding: Encoding) -> tuple[memoryview, RawElement]:
    """A sequence of one item, of a defined length if it was so before."""
    order = ">" if encoding.big_endian else "<"

    def marked(tag: int, length: int) -> bytes:
        return struct.pack(order + "HHL", tag >> 16, tag & 0xFFFF, length)

    if one.length == UNDEFINED:
        length, value = UNDEFINED, marked(_ITEM, UNDEFINED) + content + marked(_ITEM_END, 0) + marked(_SEQUENCE_END, 0)
    else:
        value = marked(_ITEM, len(content)) + content
        length = len(value)
    whole = bytes(head[:-4]) + struct.pack(order + "L", length) + value
    return memoryview(whole), one._replace(length=length, end=len(whole))
