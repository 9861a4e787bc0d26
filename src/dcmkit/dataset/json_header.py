"""The DICOM JSON model of an encoded data set (PS3.18 Annex F), without its bulk data: from bytes to text in one go.

What `json_model.to_json` makes of the decoded data set, many times faster for objects of a series: elements that were
met before, byte for byte, are written as they were written then. What is out of the ordinary is decoded and goes
through the model.

Values of bytes of more than `THRESHOLD` bytes, and those that are always bulk data, become BulkDataURIs: `PLACE`,
which stands for the URL of the instance and cannot occur in JSON otherwise, and `/bulkdata/` with the tag. Within
sequences that is the tag of the sequence, the number of the item, counted from 1, and so on:
`/bulkdata/54000100/1/54001010`.
"""

from __future__ import annotations

import os
import re
from binascii import b2a_base64
from json import JSONEncoder
from json.encoder import encode_basestring
from mmap import ACCESS_READ, mmap
from struct import Struct
from typing import IO, TYPE_CHECKING, NamedTuple

from dcmkit.dataset.dictionary import vr_of
from dcmkit.dataset.elements import BYTES_VRS, LONG_LENGTH_VRS, SINGLE_VRS, VRS, DataSet, Element, decode
from dcmkit.dataset.json_model import to_json
from dcmkit.dataset.raw import (
    ELEMENTS_LIMIT,
    UNDEFINED,
    Encoding,
    RawElement,
    RawElements,
    Reader,
    encoding_of,
    guess,
    walk,
)
from dcmkit.errors import InputError, InvalidDataSetError
from dcmkit.uids import DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT = 1
"""Another one when something is written in another way, so that what was kept is not mistaken for it."""
PLACE = b"\0"
"""Stands for the URL of the instance: control characters are escaped in JSON."""
THRESHOLD = 1024
"""Values of bytes up to this size are written inline."""
AVAILABLE_TRANSFER_SYNTAX_UID = 0x00083002
INFLATED_LIMIT = 1 << 30
"""Bytes a deflated data set may become, on disk."""

PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_ALWAYS = PIXELS | {0x00420011, 0x54001010, 0x56000020}
_ALWAYS_REPEATING = {(0x60, 0x3000), (0x50, 0x3000), (0x50, 0x200C)}
"""Overlay, curve and audio sample data, by the first half of the group."""
NOT_HERE = frozenset({0, 2})
"""Groups of command sets and of file meta information, which strayed here."""
_CHARACTER_SET = 0x00080005
_BLOCK = 1 << 15
"""What is read of a file at first: more than the headers of nearly all images have."""
_TEXT_LIMIT = 1 << 24
"""Bytes of elements other than bulk data; more is refused."""
_CACHED, _CACHE_ITEMS, _CACHES = 512, 1 << 12, 6
"""Elements up to so many bytes are remembered, so many of each character set, and of so many character sets:
32 MB in the worst case, 4 MB in practice."""

_MORE, _UNUSUAL = "more", "unusual"
_LEFT_OUT, _TEXT, _OTHER, _LONG, _STRANGE = range(5)
_Header = tuple[int, str, int, int]
"""Tag, VR, length and one of the above."""
_PLAIN = frozenset({"AE", "AS", "CS", "DA", "DT", "LO", "LT", "SH", "ST", "TM", "UC", "UI", "UR", "UT"})
_DECIMAL = re.compile(r"-?[0-9]+\.[0-9]+")
_dumps = JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":")).encode
_head, _short, _word = Struct("<HH2sH").unpack_from, Struct("<HHL").unpack_from, Struct("<L").unpack_from


class _Stop(Exception):  # noqa: N818 - a turn, and no error
    """The quick way ends here."""


def is_bulk(tag: int, vr: str, length: int) -> bool:
    """Whether a value of the top level or of an item is bulk data here; `vr` as it is in the JSON."""
    if tag in _ALWAYS or (tag >> 24, tag & 0xFFFF) in _ALWAYS_REPEATING:
        return bool(length) and vr in BYTES_VRS
    return length > THRESHOLD and vr in BYTES_VRS


def bulk_path(path: tuple[int, ...]) -> str:
    """The end of a BulkDataURI for the path of an element as `json_model.BulkData` has it."""
    return "/".join(str(one + 1) if at % 2 else f"{one:08X}" for at, one in enumerate(path))


# --- files -------------------------------------------------------------------------------------------------------


def json_of_file(path: str, offset: int, transfer_syntax_uid: str) -> bytes:
    """The object of a file's data set, in UTF-8, with `PLACE` in BulkDataURIs.

    Args:
        offset: of the data set in the file.

    Raises:
        InputError: the file cannot be read.
        InvalidDataSetError: the data set cannot be followed, or has too much text.
    """
    extra = {AVAILABLE_TRANSFER_SYNTAX_UID: _available(transfer_syntax_uid)} if transfer_syntax_uid else {}
    try:
        with open(path, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            if transfer_syntax_uid == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
                with mapped(file, offset, transfer_syntax_uid) as found:
                    return json_of(found.data, found.start, found.end, EXPLICIT_VR_LITTLE_ENDIAN, extra)
            file.seek(offset)
            block = file.read(_BLOCK) or b""
            try:
                return _quick(block, 0, size - offset, encoding_of(transfer_syntax_uid), extra)
            except _Stop:
                with mapped(file, offset, transfer_syntax_uid) as found:
                    return json_of(found.data, found.start, found.end, transfer_syntax_uid, extra)
    except (OSError, ValueError) as error:
        raise InputError(f"the file cannot be read: {getattr(error, 'strerror', None) or error}") from None


def data_set_of_file(path: str, offset: int, transfer_syntax_uid: str) -> tuple[DataSet, frozenset[int]]:
    """The decoded data set of a file, as `skeleton` gives it. Raises: as `json_of_file`."""
    try:
        with (
            open(path, "rb", buffering=0) as file,
            mapped(file, offset, transfer_syntax_uid) as (data, start, end, _),
        ):
            view = memoryview(data)
            try:
                return skeleton(data, start, end, guess(view, start, end, encoding_of(transfer_syntax_uid)))
            finally:
                view.release()
    except (OSError, ValueError) as error:
        raise InputError(f"the file cannot be read: {getattr(error, 'strerror', None) or error}") from None


class Mapped(NamedTuple):
    """A file's data set in memory, as the system has it; a context manager.

    Attributes:
        data: what it lies in: the file, or what it was inflated to.
        inflated: whether that is not the file.
    """

    data: mmap
    start: int
    end: int
    inflated: bool

    def __enter__(self) -> Mapped:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.data.close()
        except BufferError:  # a view of it is in use by a traceback
            pass


def mapped(file: IO[bytes], offset: int, transfer_syntax_uid: str) -> Mapped:
    """Map a file; a deflated one is inflated into a temporary file first.

    Raises:
        InvalidDataSetError: it is empty, or becomes too large.
        OSError: it cannot be read.
    """
    if transfer_syntax_uid != DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
        size = os.fstat(file.fileno()).st_size
        if size <= offset:
            raise InvalidDataSetError("the data set is empty")
        return Mapped(mmap(file.fileno(), size, access=ACCESS_READ), offset, size, False)
    import tempfile

    with tempfile.TemporaryFile(buffering=0) as inflated:
        file.seek(offset)
        size = _inflate(file, inflated)
        if not size:
            raise InvalidDataSetError("the data set is empty")
        return Mapped(mmap(inflated.fileno(), size, access=ACCESS_READ), 0, size, True)


def _inflate(source: IO[bytes], target: IO[bytes]) -> int:
    import zlib

    inflater, size = zlib.decompressobj(-zlib.MAX_WBITS), 0
    try:
        while not inflater.eof:
            block = inflater.unconsumed_tail or source.read(1 << 20)
            if not block:
                break
            found = inflater.decompress(block, 1 << 20)
            size += len(found)
            if size > INFLATED_LIMIT:
                raise InvalidDataSetError(f"the deflated data set becomes longer than {INFLATED_LIMIT} bytes")
            target.write(found)
    except zlib.error as error:
        raise InvalidDataSetError(f"the deflated data set is damaged: {error}") from None
    return size


# --- data sets ---------------------------------------------------------------------------------------------------


def json_of(
    data: bytes | mmap, start: int, end: int, transfer_syntax_uid: str, extra: Mapping[int, str] | None = None
) -> bytes:
    """The object of the data set from `start` to `end`, in UTF-8.

    Args:
        extra: members to be written where the data set does not have them, by tag, with their names.

    Raises:
        InvalidDataSetError: the data set cannot be followed, or has too much text.
    """
    extra = extra or {}
    encoding = guess(memoryview(data), start, end, encoding_of(transfer_syntax_uid))
    try:
        return _quick(data, start, end, encoding, extra)
    except _Stop:
        return slow_json(data, start, end, encoding, extra)


def slow_json(data: bytes | mmap, start: int, end: int, encoding: Encoding, extra: Mapping[int, str]) -> bytes:
    """The same by way of the model: what the quick way is held against."""
    model, bulk = skeleton(data, start, end, encoding)
    place = PLACE.decode()

    def uri(path: tuple[int, ...], element: Element) -> str:
        large = path[0] in bulk if len(path) == 1 else is_bulk(path[-1], element.vr, len(element.value))
        return f"{place}/bulkdata/{bulk_path(path)}" if large else ""

    found = {int(name, 16): f'"{name}":{_dumps(value)}' for name, value in to_json(model, bulk_data=uri).items()}
    return _joined({tag: _placed(text) for tag, text in found.items()}, extra)


def skeleton(data: bytes | mmap, start: int, end: int, encoding: Encoding) -> tuple[DataSet, frozenset[int]]:
    """The decoded data set with one byte in place of each bulk data of its top level; and the tags of these.

    Raises:
        InvalidDataSetError: the data set cannot be followed, or has too much text.
    """
    view = memoryview(data)
    bulk: dict[int, str] = {}
    kept: dict[int, RawElement] = {}
    size = 0
    for one in walked(view, start, end, encoding):
        if one.tag >> 16 in NOT_HERE:
            continue
        vr = vr_of(one.tag) if one.vr == "UN" and vr_of(one.tag) in BYTES_VRS else one.vr
        fragments = one.length == UNDEFINED and one.vr in BYTES_VRS - {"UN"}
        if fragments or (one.length != UNDEFINED and one.tag & 0xFFFF and is_bulk(one.tag, vr, one.length)):
            if fragments and one.tag not in PIXELS:
                raise InvalidDataSetError("fragments of what is no pixel data", offending_element=one.tag)
            bulk[one.tag] = _bulk_vr(one.tag, vr, encoding)
            kept.pop(one.tag, None)
            continue
        bulk.pop(one.tag, None)
        kept[one.tag] = one
        size += one.end - one.start
        if size > _TEXT_LIMIT:
            raise InvalidDataSetError(f"the data set has more than {_TEXT_LIMIT} bytes beside bulk data")
    found = RawElements(view, encoding, kept.values()).decoded() if kept else {}
    found = found | {tag: Element(vr, b"\0") for tag, vr in bulk.items()}
    return {tag: found[tag] for tag in sorted(found)}, frozenset(bulk)


def _bulk_vr(tag: int, vr: str, encoding: Encoding) -> str:
    """Pixel Data in implicit VR is words (PS3.5 A.1)."""
    return vr if encoding.explicit or tag != 0x7FE00010 else "OW"


def walked(view: memoryview, start: int, end: int, encoding: Encoding) -> list[RawElement]:
    """All elements of the top level, pixel data in fragments too."""
    found = list(walk(view, start, end, encoding, stop=PIXELS))
    if found and found[-1].end < 0:
        last = found[-1]
        vr = last.vr if encoding.explicit else "OB"
        reader = Reader(encoding if encoding.explicit else Encoding())
        stop = reader.end(view, last.tag, "OB" if vr == "UN" else vr, last.value_start, UNDEFINED, end)
        found[-1] = last._replace(end=stop, vr="OB" if vr not in ("OB", "OW") else vr)
        found += walk(view, stop, end, encoding)
    return found


def _joined(found: dict[int, str], extra: Mapping[int, str]) -> bytes:
    for tag, text in extra.items():
        found.setdefault(tag, text)
    text = ",".join([found[tag] for tag in sorted(found)])
    return f"{{{text}}}".encode("utf-8", "replace")


def _number(text: str, vr: str) -> str:
    """A decimal or whole number as the model has it; "" where that takes thought."""
    text = text.strip(" \0")
    if len(text) < 16 and text.isascii():
        if text.removeprefix("-").isdigit():
            return str(int(text))
        if vr == "DS" and _DECIMAL.fullmatch(text):
            return repr(float(text))
    return ""


def _placed(text: str) -> str:
    """JSON with `PLACE` as it is; no text within a string looks like this, since its quotation marks are escaped."""
    return text.replace('"BulkDataURI":"\\u0000', '"BulkDataURI":"\0') if "\\u0000" in text else text


def _available(transfer_syntax_uid: str) -> str:
    return f'"00083002":{{"vr":"UI","Value":[{encode_basestring(transfer_syntax_uid)}]}}'


# --- the quick way -----------------------------------------------------------------------------------------------

_HEADERS: dict[bool, dict[bytes, _Header]] = {True: {}, False: {}}
_TEXTS: dict[tuple[bool, bytes], dict[bytes, str]] = {}
"""What elements were written as, by encoding and encoded character set, and by their bytes."""


def _quick(data: bytes | mmap, pos: int, end: int, encoding: Encoding, extra: Mapping[int, str]) -> bytes:
    """`data` may end before `end` does, where bulk data lies.

    Raises:
        _Stop: something is unusual, or lies beyond `data`.
        InvalidDataSetError: there is too much.
    """
    if encoding.big_endian:
        raise _Stop(_UNUSUAL)
    view = memoryview(data)
    if guess(view, pos, len(data), encoding) != encoding:
        raise _Stop(_UNUSUAL)
    writer = _Writer(data, end, encoding)
    texts, found, headers = writer.texts, {}, _HEADERS[encoding.explicit]
    limit, last = len(data), -1
    for _ in range(ELEMENTS_LIMIT):
        if pos >= end:
            break
        key = data[pos : pos + 8]
        known = headers.get(key)
        if known is None:
            known = _learn(key, encoding.explicit, headers)
        tag, vr, length, kind = known
        if tag <= last:  # out of order, or twice
            raise _Stop(_UNUSUAL)
        last = tag
        if kind <= _OTHER:
            stop = pos + 8 + length
            if stop > limit:
                raise _Stop(_MORE)
            if kind != _LEFT_OUT:
                raw = data[pos:stop]
                text = texts.get(raw)
                if text is None:
                    text = writer.write(tag, vr, raw, kind)
                    texts = writer.texts
                found[tag] = text
            pos = stop
        else:
            found[tag], pos = writer.long(tag, vr, pos, length, kind)
    else:
        raise InvalidDataSetError(f"the data set has more than {ELEMENTS_LIMIT} elements")
    if pos != end:
        raise _Stop(_UNUSUAL)
    return _joined(found, extra)


def _learn(key: bytes, explicit: bool, headers: dict[bytes, _Header]) -> _Header:
    """What the first eight bytes of an element say."""
    if len(key) < 8:
        raise _Stop(_MORE)
    if explicit:
        group, number, letters, length = _head(key)
        vr = letters.decode("latin-1")
    else:
        group, number, length = _short(key)
        vr = vr_of(group << 16 | number)
    tag = group << 16 | number
    if group == 0xFFFE or not tag or tag == 0xFFFCFFFC or vr not in VRS or (tag == _CHARACTER_SET and vr != "CS"):
        raise _Stop(_UNUSUAL)
    if vr in LONG_LENGTH_VRS if explicit else (length > 0xFFFF or vr == "SQ" or vr in BYTES_VRS):
        kind = _LONG
    elif group in NOT_HERE or not number:
        kind = _LEFT_OUT
    else:
        kind = _TEXT if vr in _PLAIN or vr in ("PN", "IS", "DS") else _OTHER
    if len(headers) >= _CACHE_ITEMS:
        headers.clear()
    found = headers[key] = (tag, vr, length, kind)
    return found


class _Writer:
    """Writes elements of one data set."""

    __slots__ = ("_charset", "_data", "_encoding", "_end", "_explicit", "_extended", "_size", "texts")

    def __init__(self, data: bytes | mmap, end: int, encoding: Encoding) -> None:
        self._data, self._end = data, end
        self._encoding, self._explicit = encoding, encoding.explicit
        self._size = 0
        self._extended = False
        self._declare(b"\x08\0\x05\0CS\0\0" if encoding.explicit else b"\x08\0\x05\0\0\0\0\0")

    def _declare(self, raw: bytes) -> None:
        """From here on, text is in the character set that this element names."""
        self._charset = raw
        self._extended = b"2022" in raw
        found = _TEXTS.get((self._explicit, raw))
        if found is None:
            if len(_TEXTS) >= _CACHES:
                _TEXTS.clear()
            found = _TEXTS[self._explicit, raw] = {}
        self.texts = found

    def write(self, tag: int, vr: str, raw: bytes, kind: int) -> str:
        """An element never met before, with its header."""
        if tag < _CHARACTER_SET and not raw[8:].isascii():
            raise _Stop(_UNUSUAL)  # before the character set is known
        text = self._text(tag, vr, raw) if kind == _TEXT else ""
        text = text or self._by_model(tag, raw)
        if tag == _CHARACTER_SET:
            self._declare(raw)
        self._remember(raw, text)
        return text

    def _remember(self, raw: bytes, text: str) -> None:
        self._size += len(raw)
        if self._size > _TEXT_LIMIT:
            raise InvalidDataSetError(f"the data set has more than {_TEXT_LIMIT} bytes beside bulk data")
        if len(raw) <= _CACHED:
            if len(self.texts) >= _CACHE_ITEMS:
                self.texts.clear()
            self.texts[raw] = text

    def _text(self, tag: int, vr: str, raw: bytes) -> str:
        """What most elements are; "" for the others."""
        value = raw[8:]
        if not value.isascii() or (self._extended and b"\x1b" in value):
            return ""
        text = value.decode("ascii")
        if vr in SINGLE_VRS:
            text = text.rstrip(" \0")
        else:
            text = text.strip(" \0")
            if "\\" in text and (vr == "PN" or not all(one.strip(" \0") for one in text.split("\\"))):
                return ""
        if not text:
            return f'"{tag:08X}":{{"vr":"{vr}"}}'
        if vr == "PN":
            return (
                f'"{tag:08X}":{{"vr":"PN","Value":[{{"Alphabetic":{encode_basestring(text)}}}]}}'
                if "=" not in text
                else ""
            )
        if vr in ("IS", "DS"):
            values = ",".join([_number(one, vr) or "?" for one in text.split("\\")])
            return "" if "?" in values else f'"{tag:08X}":{{"vr":"{vr}","Value":[{values}]}}'
        if "\\" in text and vr not in SINGLE_VRS:
            values = ",".join([encode_basestring(one.strip(" \0")) for one in text.split("\\")])
        else:
            values = encode_basestring(text)
        return f'"{tag:08X}":{{"vr":"{vr}","Value":[{values}]}}'

    def _by_model(self, tag: int, raw: bytes) -> str:
        """Any element, alone, after the character set."""
        syntax = EXPLICIT_VR_LITTLE_ENDIAN if self._explicit else IMPLICIT_VR_LITTLE_ENDIAN
        try:
            found = decode(self._charset + raw, syntax)[tag]
        except (InvalidDataSetError, KeyError):  # what comes after it may make sense of it
            raise _Stop(_UNUSUAL) from None

        def uri(path: tuple[int, ...], element: Element) -> str:
            large = is_bulk(path[-1], element.vr, len(element.value))
            return f"\0/bulkdata/{bulk_path(path)}" if large else ""

        return _placed(_dumps(to_json({tag: found}, bulk_data=uri))[1:-1])

    def long(self, tag: int, vr: str, pos: int, length: int, kind: int) -> tuple[str, int]:
        """An element whose length has four bytes; and where it ends."""
        data = self._data
        start = pos + 8
        if self._explicit:
            start = pos + 12
            if start > len(data):
                raise _Stop(_MORE)
            length = _word(data, pos + 8)[0]
        if not tag & 0xFFFF or tag >> 16 in NOT_HERE:
            raise _Stop(_UNUSUAL)
        actual = vr_of(tag) if vr == "UN" else vr
        if length == UNDEFINED:
            return self._undefined(tag, vr, pos, start)
        stop = start + length
        if stop > self._end:
            raise InvalidDataSetError("the data set ends inside a value", offending_element=tag)
        if actual in BYTES_VRS and is_bulk(tag, actual, length):
            actual = _bulk_vr(tag, actual, self._encoding)
            return f'"{tag:08X}":{{"vr":"{actual}","BulkDataURI":"\0/bulkdata/{tag:08X}"}}', stop
        if stop > len(data):
            raise _Stop(_MORE)
        raw = data[pos:stop]
        text = self.texts.get(raw, "")
        if not text:
            if actual in BYTES_VRS:
                inline = b2a_base64(data[start:stop], newline=False).decode("ascii")
                text = f'"{tag:08X}":{{"vr":"{actual}"' + (f',"InlineBinary":"{inline}"}}' if inline else "}")
            else:
                text = self._by_model(tag, raw)
            self._remember(raw, text)
        return text, stop

    def _undefined(self, tag: int, vr: str, pos: int, start: int) -> tuple[str, int]:
        data = self._data
        if len(data) < self._end:
            raise _Stop(_MORE)  # whether all of it is there is to be seen only where all is
        pixels = tag in PIXELS and vr in ("OB", "OW") and self._explicit
        if not pixels and (vr != "SQ" or tag in PIXELS):
            raise _Stop(_UNUSUAL)
        stop = Reader(self._encoding).end(memoryview(data), tag, vr, start, UNDEFINED, self._end)
        if pixels:
            return f'"{tag:08X}":{{"vr":"{vr}","BulkDataURI":"\0/bulkdata/{tag:08X}"}}', stop
        raw = data[pos:stop]
        text = self.texts.get(raw, "")
        if not text:
            text = self._by_model(tag, raw)
            self._remember(raw, text)
        return text, stop
