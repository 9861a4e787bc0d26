"""In what two files differ, element by element, for people who look before and after a conversion.

How values are encoded (byte order, explicit or implicit VR, lengths of sequences, padding) makes no difference, group
lengths are left out, and long values are compared piece by piece without being loaded.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from typing import NamedTuple

from dcmkit.dataset.dump import Look, Printer, declared, tag_text
from dcmkit.dataset.dump_file import DumpFile
from dcmkit.dataset.nodes import PIXEL_DATA, PIXELS, SEQUENCE, Bytes, Node
from dcmkit.dataset.values import CharacterSet, character_set

_SHORT = 65536
"""Values up to here are compared as they are shown, longer ones as they are encoded."""
_PIECE = 1 << 20
_WORDS = {"OW": 2, "US": 2, "SS": 2, "OF": 4, "OL": 4, "FL": 4, "UL": 4, "SL": 4, "OD": 8, "OV": 8, "FD": 8}


class Side(NamedTuple):
    """One of the two files, or what is inside an item of it."""

    printer: Printer
    data: Bytes
    charset: CharacterSet


class Difference(NamedTuple):
    """An element that differs.

    Attributes:
        sign: `-` it is only in the first file, or otherwise there; `+` in the second.
        lines: the element as it is printed, the path to it before it.
    """

    sign: str
    lines: list[str]


def differences(first: DumpFile, second: DumpFile, look: Look, *, meta: bool = True) -> Iterator[Difference]:
    """What differs, in the order of the tags: each element of the first file, followed by that of the second."""
    printers = Printer(first, look), Printer(second, look)
    charset = character_set(look.charset)
    if meta:
        sides = Side(printers[0], first.raw, charset), Side(printers[1], second.raw, charset)
        yield from _compare(first.meta, second.meta, *sides, "")
    sides = Side(printers[0], first.data, charset), Side(printers[1], second.data, charset)
    yield from _compare(first.nodes, second.nodes, *sides, "")


def _compare(first: list[Node], second: list[Node], one: Side, other: Side, path: str) -> Iterator[Difference]:
    one = one._replace(charset=declared(first, one.data, one.charset))
    other = other._replace(charset=declared(second, other.data, other.charset))
    left, right = _by_tag(first), _by_tag(second)
    for tag in sorted(left.keys() | right.keys()):
        for before, after in zip_longest(left.get(tag, []), right.get(tag, [])):
            if before is None or after is None:
                yield _told(before, after, one, other, path)
            elif before.kind == after.kind == SEQUENCE:
                yield from _compare_items(before, after, one, other, path)
            elif not _same(before, after, one, other):
                if before is not None:
                    yield _told(before, None, one, other, path)
                yield _told(None, after, one, other, path)


def _told(before: Node | None, after: Node | None, one: Side, other: Side, path: str) -> Difference:
    if before is not None:
        return Difference("-", _lines(before, one, path))
    assert after is not None
    return Difference("+", _lines(after, other, path))


def _compare_items(before: Node, after: Node, one: Side, other: Side, path: str) -> Iterator[Difference]:
    name = path + tag_text(before.tag)
    for at, (item, twin) in enumerate(zip_longest(before.children, after.children)):
        inside = f"{name}[{at}]."
        if item is None or twin is None:
            side, node, sign = (one, item, "-") if twin is None else (other, twin, "+")
            side = side._replace(charset=declared(node.children, side.data, side.charset))
            lines = [line for child in node.children for line in _lines(child, side, inside)]
            yield Difference(sign, lines or [f"{name}[{at}] (an item without elements)"])
        else:
            yield from _compare(item.children, twin.children, one, other, inside)


def _lines(node: Node, side: Side, path: str) -> list[str]:
    return list(side.printer.shown(node, path, side.data, side.charset))


def _by_tag(nodes: list[Node]) -> dict[int, list[Node]]:
    found: dict[int, list[Node]] = {}
    for node in nodes:
        if node.tag & 0xFFFF:  # group lengths follow from the rest
            found.setdefault(node.tag, []).append(node)
    return found


def _same(before: Node, after: Node, one: Side, other: Side) -> bool:
    if before.kind != after.kind:
        return False
    if before.kind == PIXELS:
        return len(before.children) == len(after.children) and all(
            _same_bytes(mine, its, one.data, other.data, 1)
            for mine, its in zip(before.children, after.children, strict=True)
        )
    if before.tag == PIXEL_DATA or max(before.end - before.start, after.end - after.start) > _SHORT:
        swap = _WORDS.get(before.vr, 1) if before.encoding.big_endian != after.encoding.big_endian else 1
        return _same_bytes(before, after, one.data, other.data, swap)
    mine = one.printer.whole(before, one.data, one.charset).text
    return mine == other.printer.whole(after, other.data, other.charset).text


def _same_bytes(before: Node, after: Node, data: Bytes, other: Bytes, swap: int) -> bool:
    length = before.end - before.start
    if length != after.end - after.start:
        return False
    for at in range(0, length, _PIECE):
        mine = data[before.start + at : min(before.end, before.start + at + _PIECE)]
        its = other[after.start + at : min(after.end, after.start + at + _PIECE)]
        if swap > 1:
            its = b"".join(its[i : i + swap][::-1] for i in range(0, len(its), swap))
        if mine != its:
            return False
    return True
