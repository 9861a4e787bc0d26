"""Elements within sequences: found by their path, and all bulk data of a data set, where it lies.

A path is the tag of a sequence, the index of an item, and so on, and the tag of the element, as in `json_model`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from mmap import mmap
from typing import NamedTuple

from dcmkit.dataset.dictionary import vr_of
from dcmkit.dataset.elements import BYTES_VRS
from dcmkit.dataset.json_header import NOT_HERE, PIXELS, is_bulk, walked
from dcmkit.dataset.raw import (
    DEPTH_LIMIT,
    ITEM,
    ITEM_END,
    SEQUENCE_END,
    UNDEFINED,
    Encoding,
    RawElement,
    Reader,
    inside,
    walk,
)
from dcmkit.errors import InvalidDataSetError

Path = tuple[int, ...]
_NO_TEXT = BYTES_VRS | {"SQ"}
_TAG, _INDEX = re.compile("[0-9A-Fa-f]{8}"), re.compile("[1-9][0-9]{0,8}")


class Placed(NamedTuple):
    """An element of a data set, its VR as it is in the JSON model, and how it is encoded."""

    path: Path
    element: RawElement
    vr: str
    encoding: Encoding

    @property
    def in_fragments(self) -> bool:
        """Whether it is encapsulated pixel data."""
        return self.element.length == UNDEFINED


def parse_path(text: str) -> Path | None:
    """A path as BulkDataURIs have it: tags of eight digits, and numbers of items counted from 1. None if it is none."""
    parts = text.split("/")
    if not len(parts) % 2 or len(parts) > 2 * DEPTH_LIMIT:
        return None
    if not all((_INDEX if at % 2 else _TAG).fullmatch(part) for at, part in enumerate(parts)):
        return None
    return tuple(int(part) - 1 if at % 2 else int(part, 16) for at, part in enumerate(parts))


def find(data: bytes | mmap, start: int, end: int, encoding: Encoding, path: Path) -> Placed | None:
    """The element at a path; None where there is none, or it is a sequence.

    Raises:
        InvalidDataSetError: the data set cannot be followed.
    """
    view = memoryview(data)
    elements: Iterator[RawElement] = iter(walked(view, start, end, encoding))
    for at in range(0, len(path), 2):
        found = None
        for one in elements:
            if one.tag == path[at]:
                found = one
        if found is None:
            return None
        if at + 1 == len(path):
            if _is_sequence(found) and (found.vr == "SQ" or found.length == UNDEFINED):
                return None
            return Placed(path, found, _vr(found), encoding)
        if not _is_sequence(found):
            return None
        for index, item in enumerate(_items(view, found, encoding)):
            if index == path[at + 1]:
                encoding, begin, stop = item
                elements = walk(view, begin, stop, encoding)
                break
        else:
            return None
    return None


def bulk_elements(
    data: bytes | mmap, start: int, end: int, encoding: Encoding, tags: frozenset[int] = frozenset()
) -> Iterator[Placed]:
    """All bulk data, in order: what has a BulkDataURI in the JSON.

    Args:
        tags: those of the top level that are looked at; none for all.

    Raises:
        InvalidDataSetError: the data set cannot be followed.
    """
    view = memoryview(data)
    last = {one.tag: one for one in walked(view, start, end, encoding)}
    kept = [last[tag] for tag in sorted(tags.intersection(last) if tags else last) if tag >> 16 not in NOT_HERE]
    yield from _bulk(view, kept, encoding, (), 0)


def _bulk(
    view: memoryview, elements: list[RawElement], encoding: Encoding, above: Path, depth: int
) -> Iterator[Placed]:
    if depth > DEPTH_LIMIT:
        raise InvalidDataSetError(f"sequences are nested deeper than {DEPTH_LIMIT}")
    for one in elements:
        if one.vr not in _NO_TEXT:
            continue
        path = (*above, one.tag)
        if _is_sequence(one):
            for index, (within, begin, stop) in enumerate(_items(view, one, encoding)):
                inner = list(walk(view, begin, stop, within))
                yield from _bulk(view, inner, within, (*path, index), depth + 1)
        elif (one.length == UNDEFINED and one.tag in PIXELS) or (
            one.length != UNDEFINED and is_bulk(one.tag, _vr(one), one.length)
        ):
            yield Placed(path, one, _vr(one), encoding)


def _vr(element: RawElement) -> str:
    known = vr_of(element.tag)
    return known if element.vr == "UN" and known in BYTES_VRS else element.vr


def _is_sequence(element: RawElement) -> bool:
    if element.vr == "UN":
        return element.length == UNDEFINED or vr_of(element.tag) == "SQ"
    return element.vr == "SQ"


def _items(view: memoryview, element: RawElement, encoding: Encoding) -> Iterator[tuple[Encoding, int, int]]:
    """How each item is encoded, where its elements begin, and where they end, a delimiter perhaps included."""
    pos = element.value_start
    stop = element.end if element.length == UNDEFINED else pos + element.length
    reader: Reader = inside(Reader(encoding), view, element.vr, pos, stop)
    while pos < stop:
        tag, _, begin, size = reader.header(view, pos, stop)
        if tag == SEQUENCE_END:
            return
        if tag == ITEM_END:
            pos = begin
            continue
        if tag != ITEM:
            raise InvalidDataSetError("something else where an item should be", offending_element=element.tag)
        pos = reader.item_end(view, begin, stop, 1) if size == UNDEFINED else begin + size
        if pos > stop:
            raise InvalidDataSetError("the data set ends inside an item", offending_element=element.tag)
        yield reader.encoding, begin, pos
