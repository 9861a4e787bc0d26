"""What a dump shows of a data set: which elements (`Choice`), and the same as a data set in memory for JSON and XML.

Values are decoded by `elements.decode`, so that they are the same here as everywhere. Pixel data, and values longer
than a limit, are not read: a URI says where in the file they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from dcmkit.dataset.dictionary import parse_tag
from dcmkit.dataset.dump_file import DumpFile
from dcmkit.dataset.dump_names import name_of
from dcmkit.dataset.elements import BYTES_VRS, DataSet, Element, decode
from dcmkit.dataset.nodes import PIXEL_DATA, PIXELS, SEQUENCE, Bytes, Encoding, Node
from dcmkit.dataset.values import SPECIFIC_CHARACTER_SET
from dcmkit.errors import InvalidDataSetError, UsageError
from dcmkit.uids import EXPLICIT_VR_BIG_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN

_PIXELS = frozenset({PIXEL_DATA, 0x7FE00008, 0x7FE00009})
_RANGE = re.compile(r"\(?([0-9A-Fa-fXx]{4}),?([0-9A-Fa-fXx]{4})\)?")
_STEP = re.compile(r"(.+?)(?:\[[0-9]+\])?")

Test = Callable[[int], bool]


# --- which elements ----------------------------------------------------------------------------------------------


class Choice(NamedTuple):
    """Which elements are shown.

    Attributes:
        tests: an element is shown where one of these says so, with all that is in it and around it; none: all.
        private: whether private elements are shown.
    """

    tests: tuple[Test, ...] = ()
    private: bool = True

    def of(self, nodes: list[Node]) -> list[Node]:
        """What is left of these; the nodes themselves are not changed."""
        if not self.tests and self.private:
            return nodes
        found = []
        for node in nodes:
            if not self.private and node.tag >> 16 & 1:
                continue
            if not self.tests or any(test(node.tag) for test in self.tests):
                found.append(node if self.private else self._inside(node, self._replace(tests=())))
            elif node.kind == SEQUENCE:
                inside = self._inside(node, self)
                if any(item.children for item in inside.children):
                    found.append(inside)
        return found

    @staticmethod
    def _inside(node: Node, choice: Choice) -> Node:
        if node.kind != SEQUENCE:
            return node
        items = [item.with_children(choice.of(item.children)) for item in node.children]
        return node.with_children(items)


def test_of(text: str) -> Test:
    """What `--filter` means by one pattern: a keyword with `*` and `?`, a tag with `x`, or two tags with `-` between.

    Raises:
        UsageError: it is none of these.
    """
    first, dash, last = text.partition("-")
    if dash:
        low, high = _bound(first, "0"), _bound(last, "F")
        if low is None or high is None:
            raise UsageError(f"{text!r} is not a range of tags", hint="for example 0010,0000-0010,ffff")
        return lambda tag: low <= tag <= high
    match = _RANGE.fullmatch(text)
    if match:
        mask = (match[1] + match[2]).upper()
        return lambda tag: all(one in ("X", other) for one, other in zip(mask, f"{tag:08X}", strict=True))
    if not re.fullmatch(r"[A-Za-z0-9*?\[\]!]+", text):
        raise UsageError(f"{text!r} is neither a keyword nor a tag", hint="for example Patient*, 0028,xxxx")
    from fnmatch import fnmatchcase

    folded = text.lower()
    return lambda tag: fnmatchcase(name_of(tag).removeprefix("RETIRED_").lower(), folded)


def _bound(text: str, wild: str) -> int | None:
    match = _RANGE.fullmatch(text)
    if match:
        return int((match[1] + match[2]).upper().replace("X", wild), 16)
    return parse_tag(text)


def path_of(text: str) -> tuple[int, ...]:
    """The tags of `0010,0020`, `PatientID`, `Sequence.Keyword` or `(gggg,eeee).(gggg,eeee)`; indices are ignored.

    Raises:
        UsageError: a part of it is no element.
    """
    path = []
    for step in text.split("."):
        match = _STEP.fullmatch(step)
        tag = parse_tag(match[1]) if match else None
        if tag is None:
            raise UsageError(
                f"{text!r} is not an element", hint="a keyword, a tag such as 0010,0020, or a path of them"
            )
        path.append(tag)
    return tuple(path)


# --- data sets ---------------------------------------------------------------------------------------------------


class Bulk(NamedTuple):
    """Values that stay in the file.

    Attributes:
        limit: of more bytes; 0: only pixel data.
        pixels: whether native pixel data is inline all the same.
    """

    limit: int = 0
    pixels: bool = False


ONLY_PIXELS = Bulk()


class Model:
    """A file as data sets.

    Attributes:
        meta, data_set: the elements; those left in the file have no value here.
        uris: where these are, for the writers of JSON and XML (their `bulk_data`).
    """

    def __init__(self, file: DumpFile, nodes: list[Node], bulk: Bulk = ONLY_PIXELS, charset: str = "") -> None:
        self._file, self._bulk, self._charset = file, bulk, charset
        self.uris: dict[tuple[int, ...], str] = {}
        self.meta = self._decoded(file.meta, file.meta, file.raw)
        self.data_set = self._decoded(nodes, file.nodes, file.data)

    def bulk_data(self, path: tuple[int, ...], _: Element) -> str:
        """The URI of a value; "" for one that is here."""
        return self.uris.get(path, "")

    def _decoded(self, nodes: list[Node], everything: list[Node], data: Bytes) -> DataSet:
        left = {node.tag for node in nodes if self._stays(node)}
        found: DataSet = {}
        wanted = {node.tag for node in nodes}
        for node in everything:
            if node.tag == SPECIFIC_CHARACTER_SET and node not in nodes:
                nodes = [node, *nodes]
        for raw, syntax in _ranges([node for node in nodes if node.tag not in left], data):
            found |= self._decode(raw, syntax)
        for node in nodes:
            if node.tag in left:
                found[node.tag] = Element(_vr(node), b"\0")
                self.uris[(node.tag,)] = self._uri(node)
            elif node.tag in found:
                found[node.tag] = _pruned(found[node.tag], node)
        return {tag: found[tag] for tag in sorted(found) if tag in wanted}

    def _decode(self, raw: bytes, syntax: str) -> DataSet:
        try:
            return decode(raw, syntax, assume_charset=self._charset)
        except InvalidDataSetError as error:
            self._file.errors.append(error)
            return {}

    def _stays(self, node: Node) -> bool:
        if node.kind == PIXELS:
            return True
        if node.tag in _PIXELS:
            return not self._bulk.pixels and node.length > 0
        return node.kind != SEQUENCE and bool(self._bulk.limit) and node.length > self._bulk.limit

    def _uri(self, node: Node) -> str:
        from pathlib import Path

        base = "stdin:" if self._file.path == "-" else Path(self._file.path).absolute().as_uri()
        if self._file.data is not self._file.raw:
            return base  # offsets within a deflated data set are of no use
        return f"{base}?offset={node.start}&length={node.end - node.start}"


def _vr(node: Node) -> str:
    return node.vr if node.vr in BYTES_VRS else "OB" if node.kind == PIXELS else "UN"


def _ranges(nodes: Iterable[Node], data: Bytes) -> Iterable[tuple[bytes, str]]:
    """Encoded elements that `elements.decode` can take in one go. An element that was cut has no place in them."""
    parts: list[bytes] = []
    encoding = Encoding()
    for node in nodes:
        encoding = node.encoding
        if node.kind == SEQUENCE or node.start + node.length == node.end:
            parts.append(data[node.offset : node.end])
    if encoding.explicit:
        syntax = EXPLICIT_VR_BIG_ENDIAN if encoding.big_endian else EXPLICIT_VR_LITTLE_ENDIAN
    else:
        syntax = IMPLICIT_VR_LITTLE_ENDIAN
    if parts:
        yield b"".join(parts), syntax


def _pruned(element: Element, node: Node) -> Element:
    """Of a sequence, the elements that the node still has."""
    if not isinstance(element.value, list) or node.kind != SEQUENCE or len(element.value) != len(node.children):
        return element
    items = []
    for item, shown in zip(element.value, node.children, strict=True):
        wanted = {child.tag: child for child in shown.children}
        items.append({tag: _pruned(found, wanted[tag]) for tag, found in item.items() if tag in wanted})
    return Element(element.vr, items)
