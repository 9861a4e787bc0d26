"""A data set as text, line for line as dcmdump prints it, but for what no terminal should get.

Text is shown in Unicode, whatever character set the data set has; control characters, line ends and what turns the
direction of writing are escaped. Of a long value only what is shown is read.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from dcmkit.dataset.dump_file import DumpFile
from dcmkit.dataset.dump_names import UNKNOWN, name_of, shown_vr, syntax_name, uid_name
from dcmkit.dataset.dump_numbers import float_text
from dcmkit.dataset.elements import CHARACTER_SET_VRS, SINGLE_VRS
from dcmkit.dataset.nodes import FRAGMENT, PIXEL_DATA, PIXELS, SEQUENCE, UNDEFINED, Bytes, Encoding, Node
from dcmkit.dataset.values import SPECIFIC_CHARACTER_SET, CharacterSet, character_set
from dcmkit.logs import escape

LINE = 70
"""Longer values are cut to this."""
_VALUE = 40
"""Columns of a value."""
_NAME = 33
_TEXT_LIMIT = 1 << 20
"""Of a text that will be cut, no more bytes are decoded."""
_NUMBERS = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "UV": "Q", "SV": "q", "up": "I", "xs": "H",
            "FL": "f", "FD": "d", "OF": "f", "OD": "d", "OL": "I", "OV": "Q", "AT": "HH"}  # fmt: skip
_DIGITS = {"f": 9, "d": 17}
_WORDS = frozenset({"OW", "lt"})
_OTHER = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN", "??", "ox", "pi", "lt"})
"""Their VM is 1, whatever is in them."""
_DIRECTORY_RECORDS, _RECORD_TYPE, _FILE_ID = 0x00041220, 0x00041430, 0x00041500
_ASCII = character_set("ISO_IR 100")
_NO_VALUE = "(no value available)"
_MARKUP = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&apos;"}


class Look(NamedTuple):
    """How it is printed.

    Attributes:
        short: cut long values.
        tree: names only, with bars for the nesting.
        uid_names: names in place of well-known UIDs.
        quote: "" escapes only what is harmful; "xml" and "octal" write all that is not ASCII so, byte by byte.
        color: escape sequences for colours.
        load_limit: values of more bytes are not read; 0 reads what is shown.
        values: whether values are shown at all.
        depth: levels of sequences shown; 0 the top level only, None all.
        charset: Specific Character Set where none is declared.
    """

    short: bool = True
    tree: bool = False
    uid_names: bool = True
    quote: str = ""
    color: bool = False
    load_limit: int = 0
    values: bool = True
    depth: int | None = None
    charset: str = ""


DEFAULT_LOOK = Look()


class Shown(NamedTuple):
    """A value as it stands in its line; whether it only says something about the value; and the VM."""

    text: str
    note: bool
    vm: int


class Printer:
    """Prints the nodes of one file."""

    def __init__(self, file: DumpFile, look: Look = DEFAULT_LOOK) -> None:
        self._file, self._look = file, look
        self._data: Bytes = file.data
        self._line: Callable[[Node, Shown, str, int], str] = _tree_line if look.tree else _line
        if look.color:
            self._line = _colored_tree_line if look.tree else _colored_line

    def lines(self, *, headings: bool = True) -> Iterator[str]:
        """The whole file, without line ends; without `headings` the elements of the data set only."""
        file = self._file
        charset = character_set(self._look.charset)
        if not headings:
            yield from self._nodes(file.nodes, 0, charset)
            return
        if not file.bare:
            yield ""
            yield self._heading("# Dicom-File-Format")
            yield ""
            meta = syntax_name("1.2.840.10008.1.2.1") if file.meta else "Unknown Transfer Syntax"
            yield from self._headings("# Dicom-Meta-Information-Header", meta)
            self._data = file.raw
            yield from self._nodes(file.meta, 0, charset)
            self._data = file.data
        yield ""
        yield from self._headings("# Dicom-Data-Set", syntax_name(file.transfer_syntax_uid))
        yield from self._nodes(file.nodes, 0, charset)

    def _heading(self, text: str) -> str:
        return f"\x1b[1m\x1b[30m{text}\x1b[0m" if self._look.color else text

    def _headings(self, title: str, syntax: str) -> Iterator[str]:
        if self._look.color:
            yield f"\x1b[1m\x1b[30m{title}"
        else:
            yield title
        yield self._heading(f"# Used TransferSyntax: {syntax}")

    def shown(self, node: Node, prefix: str, data: Bytes, charset: CharacterSet) -> Iterator[str]:
        """One element of `data` (the file's `raw` or `data`), with the path to it before it."""
        self._data = data
        lines = self._element(node, 0, charset)
        yield prefix + next(lines)
        yield from lines

    def whole(self, node: Node, data: Bytes, charset: CharacterSet) -> Shown:
        """A value of `data` as text, not cut unless it is pixel data."""
        mine, self._data = self._look, data
        short = mine.short and (node.kind in (PIXELS, FRAGMENT) or node.tag == PIXEL_DATA)
        self._look = mine._replace(short=short)
        try:
            if node.kind == PIXELS:
                return Shown("", True, 1)
            return self._value(node, charset)
        finally:
            self._look = mine

    @staticmethod
    def name(node: Node) -> str:
        """What the element is called."""
        return escape(node.name or name_of(node.tag))

    def _nodes(self, nodes: list[Node], level: int, charset: CharacterSet) -> Iterator[str]:
        charset = declared(nodes, self._data, charset)
        for node in sorted(nodes, key=_by_tag):
            yield from self._element(node, level, charset)

    def _element(self, node: Node, level: int, charset: CharacterSet) -> Iterator[str]:
        name = node.name or name_of(node.tag)
        if node.kind not in (SEQUENCE, PIXELS):
            yield self._line(node, self._value(node, charset), name, level)
            return
        if node.kind == PIXELS:
            text = f"(PixelSequence #={len(node.children)})"
        else:
            text = f"(Sequence with {_length_kind(node)} length #={len(node.children)})"
        yield self._line(node, Shown(text, True, 1), name, level)
        limit = self._look.depth
        if limit is None or level < limit * 2:
            for item in node.children:
                yield from self._item(item, node, level + 1, charset)
        if not self._look.tree:
            undefined = node.length == UNDEFINED
            text = "(SequenceDelimitationItem)" if undefined else "(SequenceDelimitationItem for re-encod.)"
            yield self._delimiter(0xFFFEE0DD, text, level)

    def _item(self, item: Node, sequence: Node, level: int, charset: CharacterSet) -> Iterator[str]:
        if item.kind == FRAGMENT:
            yield self._line(item, self._value(item, charset), "Item", level)
            return
        record = sequence.tag == _DIRECTORY_RECORDS
        text = f"(Item with {_length_kind(item)} length #={len(item.children)})"
        end = "(ItemDelimitationItem)" if item.length == UNDEFINED else "(ItemDelimitationItem for re-encoding)"
        if record:
            kind = self._plain(item, _RECORD_TYPE) or "PRIVATE"
            text = f'"Directory Record" {kind} #={len(item.children)}'
            end = f'"{end[1:-1]}"'
        yield self._line(item, Shown(text, True, 1), "Item", level)
        if record and not self._look.tree:
            yield self._record_comment(item, level)
        yield from self._nodes(item.children, level + 1, charset)
        if not self._look.tree:
            yield self._delimiter(0xFFFEE00D, end, level)

    def _record_comment(self, item: Node, level: int) -> str:
        file_id = self._plain(item, _FILE_ID)
        comment = f'#  offset=${item.offset}  refFileID="{file_id}"' if file_id else f"#  offset=${item.offset}"
        return "  " * level + self._heading(comment)

    def _plain(self, item: Node, tag: int) -> str:
        for node in item.children:
            if node.tag == tag:
                return escape(self._data[node.start : min(node.end, node.start + 200)].decode("latin-1").rstrip(" \0"))
        return ""

    def _delimiter(self, tag: int, text: str, level: int) -> str:
        node = Node(tag, "na", SEQUENCE, 0, 0, 0, Encoding())
        return self._line(node, Shown(text, True, 0), name_of(tag), level)

    # --- values --------------------------------------------------------------------------------------------------

    def _value(self, node: Node, charset: CharacterSet) -> Shown:
        length = node.length
        if self._look.load_limit and length > self._look.load_limit:
            return Shown("(not loaded)", True, 1)
        if node.vr in _NUMBERS:
            shown = self._numbers(node)
        elif node.vr in _OTHER:
            shown = self._bytes(node)
        else:
            shown = self._text(node, charset)
        if not self._look.values and not shown.note:
            return Shown("(not shown)", True, shown.vm)
        return shown

    def _numbers(self, node: Node) -> Shown:
        shape = _NUMBERS[node.vr]
        one = struct.Struct((">" if node.encoding.big_endian else "<") + shape)
        available = node.end - node.start
        count = (available + (available & 1)) // one.size
        vm = 1 if node.vr in _OTHER else count
        if not count:
            return Shown("(invalid value)", True, vm) if available else Shown(_NO_VALUE, True, vm)
        wanted = min(count, LINE) if self._look.short else count
        raw = self._data[node.start : min(node.end, node.start + wanted * one.size)]
        raw += b"\0" * (wanted * one.size - len(raw))
        digits = _DIGITS.get(shape)
        texts: Iterable[str]
        if digits:
            texts = (float_text(number, digits) for (number,) in one.iter_unpack(raw))
        elif node.vr == "AT":
            texts = (f"({group:04x},{element:04x})" for group, element in one.iter_unpack(raw))
        else:
            texts = (str(number) for (number,) in one.iter_unpack(raw))
        return Shown(_joined(texts, count) if self._look.short else "\\".join(texts), False, vm)

    def _bytes(self, node: Node) -> Shown:
        length = node.end - node.start
        if not length:
            return Shown(_NO_VALUE, True, 1)
        width = 2 if node.vr in _WORDS else 1
        count = (length + (length & 1)) // width
        shown = count
        if self._look.short and count * (2 * width + 1) - 1 > LINE:
            shown = (LINE - 2) // (2 * width + 1)
        raw = self._data[node.start : min(node.end, node.start + shown * width)]
        raw += b"\0" * (shown * width - len(raw))
        if width == 2 and not node.encoding.big_endian:
            swapped = bytearray(raw)
            swapped[::2], swapped[1::2] = raw[1::2], raw[::2]
            raw = bytes(swapped)
        text = raw.hex("\\", width)
        return Shown(text + "..." if shown < count else text, False, 1)

    def _text(self, node: Node, charset: CharacterSet) -> Shown:
        start, end = node.start, node.end
        limit = min(end, start + _TEXT_LIMIT) if self._look.short else end
        raw = self._data[start:limit]
        raw = raw.rstrip(b"\0").replace(b" ", b"") if node.vr == "UI" else raw.rstrip(b" ")
        if not raw:
            return Shown(_NO_VALUE, True, 0)
        vm = 1 if node.vr in SINGLE_VRS else raw.count(b"\\") + 1
        if limit < end and node.vr not in SINGLE_VRS:
            vm += sum(self._data[at : min(end, at + _TEXT_LIMIT)].count(b"\\") for at in range(limit, end, _TEXT_LIMIT))
        if self._look.quote:
            text = _quoted(raw, self._look.quote)
        else:
            raw = raw.rstrip(b"\0") or raw
            text = (charset if node.vr in CHARACTER_SET_VRS else _ASCII).decode(raw)
        if node.vr == "UI" and self._look.uid_names and (name := uid_name(text)):
            return Shown("=" + name, False, vm)
        if self._look.short and len(text) + 2 > LINE:
            return Shown(f"[{escape(text[: LINE - 4])}...", False, vm)
        return Shown(f"[{escape(text)}]", False, vm)


def declared(nodes: list[Node], data: Bytes, charset: CharacterSet) -> CharacterSet:
    """The character set these elements are in: their own, else the one around them (PS3.3 C.12.1.1.2)."""
    for node in nodes:
        if node.tag == SPECIFIC_CHARACTER_SET:
            text = data[node.start : min(node.end, node.start + 1024)].decode("latin-1").strip(" \0")
            return character_set(text) if text else charset
        if node.tag > SPECIFIC_CHARACTER_SET:
            break
    return charset


def _by_tag(node: Node) -> int:
    return node.tag


def _length_kind(node: Node) -> str:
    return "undefined" if node.length == UNDEFINED else "explicit"


def _joined(texts: Iterable[str], count: int) -> str:
    """Numbers up to the width of a line."""
    parts: list[str] = []
    length = 0
    for at, text in enumerate(texts, 1):
        longer = length + len(text) + (1 if parts else 0)
        if longer > LINE or (at < count and longer + 3 > LINE):
            return "\\".join(parts) + "..."
        parts.append(text)
        length = longer
    return "\\".join(parts)


def _quoted(raw: bytes, how: str) -> str:
    text = raw.decode("latin-1")
    if how == "octal":
        return re.sub(r"[^\x20-\x7e]", lambda match: f"\\{ord(match[0]):03o}", text)
    return re.sub(r"[^\x20-\x7e]|[&<>\"']", lambda match: _MARKUP.get(match[0]) or f"&#{ord(match[0])};", text)


# --- lines -------------------------------------------------------------------------------------------------------


def tag_text(tag: int) -> str:
    """`(0010,0020)`, as dcmdump writes it."""
    return f"({tag >> 16:04x},{tag & 0xFFFF:04x})"


def _length_text(node: Node) -> str:
    length = node.length
    return "u/l" if length == UNDEFINED else f"{length + (length & 1):3d}"


def _line(node: Node, shown: Shown, name: str, level: int) -> str:
    indent = "  " * level
    vr = shown_vr(node.tag, node.vr)
    return (
        f"{indent}{tag_text(node.tag)} {vr} {shown.text:{_VALUE}} # {_length_text(node)},{shown.vm:2d} {escape(name)}"
    )


def _colored_line(node: Node, shown: Shown, name: str, level: int) -> str:
    value = f"\x1b[1m\x1b[30m{shown.text:{_VALUE}}" if shown.note else f"{shown.text:{_VALUE}}"
    return (
        f"{'  ' * level}\x1b[22m\x1b[32m{tag_text(node.tag)} \x1b[22m\x1b[31m{shown_vr(node.tag, node.vr)} "
        f"\x1b[1m\x1b[37m{value}\x1b[1m\x1b[30m # \x1b[22m\x1b[36m{_length_text(node)}\x1b[1m\x1b[30m,"
        f"\x1b[22m\x1b[35m{shown.vm:2d} \x1b[22m\x1b[33m{escape(name)}\x1b[0m"
    )


def _tree_line(node: Node, shown: Shown, name: str, level: int) -> str:
    value = "" if node.children or node.kind == SEQUENCE or node.vr == "na" else shown.text
    return f"{'| ' * level}{escape(name):{max(0, _NAME - 2 * level)}} {value}"


def _colored_tree_line(node: Node, shown: Shown, name: str, level: int) -> str:
    value = "" if node.children or node.kind == SEQUENCE or node.vr == "na" else shown.text
    hue = 32 if node.vr == "SQ" else 30 if node.vr in ("na", "pi") else 33
    color = f"\x1b[{1 if hue == 30 or not level else 22}m\x1b[{hue}m"
    padded = f"{escape(name):{max(0, _NAME - 2 * level)}}"
    return f"\x1b[1m\x1b[30m{'| ' * level}{color}{padded} \x1b[1m\x1b[37m{value}\x1b[0m"


# --- searching ---------------------------------------------------------------------------------------------------


class Found(NamedTuple):
    """An element that was searched for.

    Attributes:
        path: the tags of the sequences around it.
        charset: what its text is in.
    """

    node: Node
    path: tuple[int, ...]
    charset: CharacterSet


def search(nodes: list[Node], data: Bytes, wanted: tuple[int, ...], charset: CharacterSet) -> Iterator[Found]:
    """All elements of a tag (a path of one) wherever they are, or of a path of tags that ends in them."""
    yield from _search(nodes, data, wanted, charset, ())


def _search(
    nodes: list[Node], data: Bytes, wanted: tuple[int, ...], charset: CharacterSet, path: tuple[int, ...]
) -> Iterator[Found]:
    charset = declared(nodes, data, charset)
    for node in sorted(nodes, key=_by_tag):
        if node.tag == wanted[-1] and (*path, node.tag)[-len(wanted) :] == wanted:
            yield Found(node, path, charset)
        if node.kind == SEQUENCE:
            for item in node.children:
                yield from _search(item.children, data, wanted, charset, (*path, node.tag))


__all__ = ["UNKNOWN", "Found", "Look", "Printer", "declared", "search", "tag_text"]
