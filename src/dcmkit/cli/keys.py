"""Matching keys as people write them (`-k`), and query files: the identifier of a C-FIND, C-MOVE or C-GET.

    PatientName=Doe*                                   keyword and value
    0010,0020=4711     (0010,0020)=4711                tag and value
    StudyDescription                                   universal matching: to be answered, whatever it is
    ScheduledProcedureStepSequence[0].Modality=CT      in the item of a sequence; [0] may be left out

A query file is a DICOM file, a bare data set, or the DICOM JSON model; keys override what is in files.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

from dcmkit.dataset.dictionary import parse_tag
from dcmkit.dataset.elements import SIZE_LIMIT, DataSet, Element, decode, element
from dcmkit.errors import InputError, InvalidDataSetError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

_STEP = re.compile(
    r"(\([0-9A-Fa-f]{4},[0-9A-Fa-f]{4}\)|[0-9A-Fa-f]{4},[0-9A-Fa-f]{4}|[0-9A-Fa-f]{8}|\w+)(?:\[(\d+|\*)\])?"
)
_MANY_ITEMS = 100
"""More items in a key are a slip of the keyboard."""
_PIXELS = 0x7FE0
"""Nothing of this group or above is a key."""


class Key:
    """One `-k`.

    Attributes:
        path: tag and item number of each sequence on the way; the item number of the last step is -1. An item number
            of None means all items there are.
        value: the text to match; "" for universal matching.
    """

    __slots__ = ("path", "value")

    def __init__(self, path: tuple[tuple[int, int | None], ...], value: str) -> None:
        self.path = path
        self.value = value


def parse_keys(keys: Iterable[str], query_files: Iterable[str] = ()) -> DataSet:
    """One identifier of all query files, the later over the earlier, and the keys over them.

    Raises:
        UsageError: a key is none.
        InputError: a query file cannot be read, or is none.
    """
    identifier: DataSet = {}
    for path in query_files:
        for data_set in read_query(path):
            identifier.update(data_set)
    override(identifier, keys)
    return identifier


def parse_queries(keys: Sequence[str], query_files: Sequence[str] = ()) -> list[DataSet]:
    """An identifier for each query in the files, with the keys over it; without files that of the keys alone.

    Raises:
        UsageError: a key is none.
        InputError: a query file cannot be read, or is none.
    """
    identifiers: list[DataSet] = [query for path in query_files for query in read_query(path)] if query_files else [{}]
    for identifier in identifiers:
        override(identifier, keys)
    return identifiers


def override(identifier: DataSet, keys: Iterable[str]) -> None:
    """Put keys into an identifier, over those it has.

    Raises:
        UsageError: a key is none.
    """
    for text in keys:
        key = parse_key(text)
        _put(identifier, key.path, key.value, text)


# --- keys --------------------------------------------------------------------------------------------------------


def parse_key(text: str) -> Key:
    """What `-k` says.

    Raises:
        UsageError: no such keyword, no tag, an item of what is no sequence.
    """
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise UsageError(f"key {text!r} is not in the encoding of this terminal", hint="check LANG and LC_ALL")
    path, _, value = text.partition("=")
    steps: list[tuple[int, int | None]] = []
    at, last = 0, len(path)
    while at <= last:
        match = _STEP.match(path, at)
        if match is None or (match.end() < last and path[match.end()] != "."):
            raise UsageError(
                f"key {text!r} is none",
                hint="say PatientID=1, 0010,0020=1 or ScheduledProcedureStepSequence[0].Modality=CT",
            )
        at = match.end() + 1
        steps.append(_step(match[1], match[2], at > last, text))
    if steps[-1][0] >> 16 < 8:
        raise UsageError(f"key {text!r} is no part of a data set", hint="keys begin with group 0008")
    return Key(tuple(steps), value)


def _step(name: str, item: str | None, is_last: bool, text: str) -> tuple[int, int | None]:
    tag = parse_tag(name)
    if tag is None:
        raise UsageError(f"key {text!r}: {name!r} is no keyword or tag", hint=_suggestion(name))
    if is_last and item is None:
        return tag, -1
    number = None if item == "*" else int(item or 0)
    if number is not None and number >= _MANY_ITEMS:
        raise UsageError(f"key {text!r}: item {number} is too far up; the last is {_MANY_ITEMS - 1}")
    return tag, number


def _suggestion(name: str) -> str:
    from difflib import get_close_matches

    from dcmkit.dataset.dictionary import keywords

    close = get_close_matches(name, keywords(), 1)
    folded = {keyword.lower(): keyword for keyword in keywords()}
    found = folded.get(name.lower()) or (close[0] if close else "")
    return f"did you mean {found}?" if found else "keywords are those of PS3.6, such as PatientName"


def _put(data_set: DataSet, path: tuple[tuple[int, int | None], ...], value: str, text: str) -> None:
    (tag, number), rest = path[0], path[1:]
    if number == -1:
        data_set[tag] = _element(tag, value, text)
        return
    found = data_set.get(tag)
    own = element(tag)
    if found is None or not isinstance(found.value, list):
        if own.vr not in ("SQ", "UN"):
            raise UsageError(f"key {text!r}: it goes into an item of what is no sequence")
        found = data_set[tag] = Element("SQ", [])
    items = found.value
    assert isinstance(items, list)
    while len(items) <= (number or 0):
        items.append({})
    if rest:
        for item in items if number is None else [items[number]]:
            _put(item, rest, value, text)


def _element(tag: int, value: str, text: str) -> Element:
    found = element(tag)
    if not value:
        return found
    if found.vr == "SQ":
        raise UsageError(
            f"key {text!r}: a sequence has items, not a value", hint="name the element in it: ...[0].Modality=CT"
        )
    if isinstance(found.value, bytes):
        return Element(found.vr, value.encode())
    if found.vr == "UI":
        value = "\\".join(_uid(uid, text) for uid in value.split("\\"))
    elif found.vr == "AT":
        value = "\\".join(_tag(name, text) for name in value.split("\\"))
    else:
        _check_number(found.vr, value, text)
    return Element(found.vr, value)


def _uid(value: str, text: str) -> str:
    if not any(character.isalpha() for character in value):
        return value
    from dcmkit.uids import resolve

    try:
        return resolve(value)
    except UsageError as error:
        raise UsageError(f"key {text!r}: {error.message}", hint=error.hint) from None


def _tag(value: str, text: str) -> str:
    tag = parse_tag(value)
    if tag is None:
        raise UsageError(f"key {text!r}: {value!r} is no keyword or tag")
    return f"{tag:08X}"


def _check_number(vr: str, value: str, text: str) -> None:
    import struct

    from dcmkit.dataset.values import encode_numbers, is_number

    if is_number(vr):
        try:
            encode_numbers(value, vr)
        except (ValueError, OverflowError, struct.error):
            raise UsageError(f"key {text!r}: {value!r} is not a value of {vr}") from None


def charset_term(text: str, option: str = "--charset") -> str:
    """A value of Specific Character Set from its defined terms, or from the name other programs give it.

    Raises:
        UsageError: no such character set.
    """
    from dcmkit.dataset.values import character_set

    term = _CHARSET_NAMES.get(text.strip().lower().replace("_", "-"), text.strip())
    charset = character_set(term)
    if term and not (charset.codec or charset.extended) and term.upper().replace("_", " ") != "ISO IR 6":
        raise UsageError(
            f"{option} {text!r} is no Specific Character Set",
            hint="say ISO_IR 192 (UTF-8), ISO_IR 100 (Latin 1), GB18030",
        )
    return term


_CHARSET_NAMES = {
    "utf-8": "ISO_IR 192",
    "utf8": "ISO_IR 192",
    "ascii": "ISO_IR 6",
    "latin-1": "ISO_IR 100",
    "latin1": "ISO_IR 100",
    "iso-8859-1": "ISO_IR 100",
    "iso-8859-2": "ISO_IR 101",
    "iso-8859-5": "ISO_IR 144",
    "iso-8859-6": "ISO_IR 127",
    "iso-8859-7": "ISO_IR 126",
    "iso-8859-8": "ISO_IR 138",
    "iso-8859-9": "ISO_IR 148",
    "gb18030": "GB18030",
    "gbk": "GBK",
}


# --- query files -------------------------------------------------------------------------------------------------


def read_query(path: str) -> list[DataSet]:
    """The identifiers in a query file: one in a DICOM file, one or several in JSON. `-` is stdin (JSON).

    Raises:
        InputError: it cannot be read, or is no query file.
    """
    from dcmkit.dataset.part10 import read_file_header

    if path == "-":
        return _from_json(sys.stdin.buffer.read(SIZE_LIMIT), "stdin")
    try:
        with open(path, "rb") as file:
            data = file.read(SIZE_LIMIT + 1)
    except OSError as error:
        raise InputError(f"query file {path} cannot be read: {error.strerror}") from None
    if len(data) > SIZE_LIMIT:
        raise InvalidDataSetError(f"query file {path} is longer than {SIZE_LIMIT} bytes", hint="is it an image?")
    if data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"["):
        return _from_json(data, path)
    try:
        header = read_file_header(path, allow_bare=True)
        return [_keys_of(decode(data[header.offset :], header.transfer_syntax_uid))]
    except InvalidDataSetError as error:
        raise InvalidDataSetError(
            f"query file {path} cannot be used: {error.message}",
            hint=error.hint or "it must be a DICOM file, a bare data set, or DICOM JSON",
        ) from None


def _from_json(data: bytes, path: str) -> list[DataSet]:
    import json

    from dcmkit.dataset.json_model import from_json

    try:
        found: Any = json.loads(data.decode("utf-8-sig"))
        queries = [_keys_of(from_json(query)) for query in (found if isinstance(found, list) else [found])]
    except (ValueError, RecursionError) as error:
        raise InvalidDataSetError(f"query file {path} is no JSON: {error}") from None
    except InvalidDataSetError as error:
        raise InvalidDataSetError(f"query file {path} cannot be used: {error.message}", hint=error.hint) from None
    if not queries:
        raise InvalidDataSetError(f"query file {path} holds no query")
    return queries


def _keys_of(data_set: DataSet) -> DataSet:
    return {tag: found for tag, found in data_set.items() if 8 <= tag >> 16 < _PIXELS and tag & 0xFFFF}
