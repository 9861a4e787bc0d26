"""The proof: nothing that was removed is left anywhere in an output.

Every byte is searched, those of deflated data inflated too, for every removed value in every form that `needles` knows.
What is found is a leak, or a coincidence that is told as such: four digits of a removed time in somebody's pixels, a
word of a description that a kept code has too. In doubt it is a leak.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import lru_cache
from itertools import islice
from math import log2
from typing import NamedTuple

from dcmkit.deid import dummies
from dcmkit.deid.needles import Needle, needles
from dcmkit.deid.places import PIXEL_DATA, Place, Places
from dcmkit.deid.seeking import Strings
from dcmkit.uids import DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN

LEAK, COINCIDENCE = "leak", "coincidence"

_DEFLATED = frozenset({DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"})
_DEFLATED_FRAMES = "1.2.840.10008.1.2.8.1"
_DEFLATED_CHUNK, _INFLATED_CHUNK = 1 << 16, 1 << 20
_MAPPED_LIMIT = 1 << 28
"""Bytes of inflated data that are kept, to tell the elements that things were found in."""

_CERTAINTY = 20
"""Bits that what is found must tell beyond those that chance explains in so many bytes: one in a million."""
_LONG_WORD, _LONG_NUMBER = 6, 8
"""Characters from which a part of a longer word or number is no coincidence."""

_TEMPORAL = frozenset({"DA", "DT", "TM"})
_MEASURES = frozenset({"DS", "IS", "AT", "FD", "FL", "SL", "SS", "SV", "UL", "US", "UV"})
_NUMERIC = _TEMPORAL | _MEASURES | {"AS"}
_BINARY = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN", "AT", "FD", "FL", "SL", "SS", "SV", "UL", "US", "UV"})
_OURS = frozenset(
    {0x00020001, 0x00020002, 0x00020010, 0x00020012, 0x00020013, 0x00120062, 0x00120063, 0x00120064, 0x00280303}
)
"""Elements in which every byte is ours."""
_CODES = frozenset(
    {
        0x00080100,
        0x00080102,
        0x00080103,
        0x00080104,
        0x0008010C,
        0x00080115,
        0x00080117,
        0x00080118,
        0x00080119,
        0x00080120,
    }
)
"""Codes and what they mean: words of the trade."""
_EQUIPMENT = frozenset({0x00080070, 0x00081090, 0x00180024, 0x00181020, 0x00181250, 0x00181251})
"""Manufacturer, model, software, sequence and coil names."""
_FILLERS = frozenset(
    {
        "anonymous",
        "anonymised",
        "anonymized",
        "anon",
        "default",
        "none",
        "null",
        "other",
        "patient",
        "test",
        "undefined",
    }
    | {"unknown", "unspecified"}
)
"""What stands in place of a value; nobody is known by it."""
_OUR_WORDS = (dummies.WORD, dummies.DATE + dummies.TIME, "ANON^")
_TRADE_LIMIT = 256
"""Bytes of text that is looked at whole: may what was found begin or end another harmless word."""
_NUMBER = re.compile(r"[0-9.+: -]+")
_WORD = re.compile(r"[^\W_]+")
_CODED = re.compile(r"[A-Z0-9_ ]{1,16}")
_DIGITS = frozenset(b"0123456789")
_LETTERS = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz") | frozenset(range(0x80, 0x100))


class Finding(NamedTuple):
    """A removed value that is still there.

    Attributes:
        removed: the tag it was removed from.
        offset: where it was found; in a deflated data set, of the inflated bytes.
        found_in: the element, as `0010,0020`; `pixel data`, `preamble`, `deflated data` or `unknown`.
        kind: `LEAK` or `COINCIDENCE`.
    """

    removed: int
    offset: int
    found_in: str
    kind: str


class Removed:
    """What was removed from one file, or changed.

    Args:
        values: VR, value as text or bytes, and tag; several values joined by backslashes. UIDs of the standard may
            be among them and are passed over.
    """

    __slots__ = ("_values",)

    def __init__(self, values: Iterable[tuple[str, str | bytes, int]] = ()) -> None:
        self._values = dict.fromkeys(values)

    def __len__(self) -> int:
        return len(self._values)

    def strings(self, charsets: tuple[str, ...]) -> list[bytes]:
        """The bytes to look for."""
        found: list[bytes] = []
        for vr, value, _ in self._values:
            found += _cached(vr, value, charsets) if len(value) <= _CACHED_SIZE else _strings(vr, value, charsets)
        return found

    def needles(self, charsets: tuple[str, ...]) -> dict[bytes, list[tuple[int, str, Needle]]]:
        """Tag, VR and needle by the bytes to look for."""
        found: dict[bytes, list[tuple[int, str, Needle]]] = {}
        for vr, value, tag in self._values:
            for needle in needles(vr, value, charsets):
                found.setdefault(needle.raw, []).append((tag, vr, needle))
        return found


def _strings(vr: str, value: str | bytes, charsets: tuple[str, ...]) -> tuple[bytes, ...]:
    return tuple([needle.raw for needle in needles(vr, value, charsets)])


_CACHED_SIZE = 256
_cached = lru_cache(maxsize=1 << 14)(_strings)


def search(
    output: bytes | bytearray | memoryview,
    removed: Removed,
    charsets: Iterable[str] = (),
    transfer_syntax_uid: str = "",
    kept: Collection[int] = (),
    *,
    moved: bool = False,
    passed: Callable[[], None] | None = None,
) -> list[Finding]:
    """What is left of the removed values in an output: of each attribute the first place in every element.

    Args:
        output: the whole file.
        removed: from the object it was made of.
        charsets: all values of Specific Character Set of that object and of the output, the object's own first.
        transfer_syntax_uid: of the data set, where there is no file meta.
        kept: tags of elements that were kept because somebody said so; what is found in them is a coincidence.
        moved: dates were moved, so that one may be what another was.
        passed: called now and then, when what was read is not needed any more.
    """
    used = tuple(dict.fromkeys(charsets))
    strings = Strings(removed.strings(used))
    view = memoryview(output).cast("B")
    places = _LazyPlaces(view, transfer_syntax_uid)
    findings = _Findings(removed, used, len(view), kept, moved)
    hits = sorted(strings.find(view, passed))
    if hits:
        deflated_from = places.deflated_from
        for offset, raw in hits:
            whole = deflated_from is None or offset < deflated_from
            findings.add(view, offset, raw, places.at(offset) if whole else _deflated(view, offset))
    if places.deflated_from is not None:
        _search_inflated(view[places.deflated_from :], strings, findings)
    elif places.syntax == _DEFLATED_FRAMES:
        _search_frames(view, strings, findings)
    return findings.listed()


class _LazyPlaces:
    """The map of a file, made when it is needed; what the transfer syntax is, is known at once."""

    def __init__(self, view: memoryview, transfer_syntax_uid: str) -> None:
        self._view, self._given = view, transfer_syntax_uid
        self._places: Places | None = None
        self.syntax = transfer_syntax_uid or _transfer_syntax(view)
        self.deflated_from: int | None = self.places.data_set if self.syntax in _DEFLATED else None

    @property
    def places(self) -> Places:
        if self._places is None:
            self._places = Places(self._view, self._given)
        return self._places

    def at(self, offset: int) -> Place:
        return self.places.at(offset)


_SYNTAX = re.compile(rb"\x02\x00\x10\x00UI..([0-9.]{1,64})", re.DOTALL)


def _transfer_syntax(view: memoryview) -> str:
    found = _SYNTAX.search(view, 0, 4096)
    return found[1].decode("ascii") if found else ""


def _deflated(view: memoryview, offset: int) -> Place:
    return Place(None, "deflated data", offset, len(view))


class _Findings:
    """What was found, once for each attribute, element and kind."""

    def __init__(
        self, removed: Removed, charsets: tuple[str, ...], size: int, kept: Collection[int], moved: bool
    ) -> None:
        self._removed, self._charsets, self._size, self._kept, self._moved = removed, charsets, size, kept, moved
        self._wanted: dict[bytes, list[tuple[int, str, Needle]]] = {}
        self._found: dict[tuple[int, str, str], Finding] = {}

    def add(self, data: memoryview, offset: int, raw: bytes, place: Place, *, size: int = 0, at: int = -1) -> None:
        if not self._wanted:
            self._wanted = self._removed.needles(self._charsets)
        for tag, vr, needle in self._wanted[raw]:
            if place.tag in self._kept or _are_alike(tag, needle, place):
                kind = COINCIDENCE
            elif tag == place.tag and not (self._moved and vr in _TEMPORAL) and _is_itself(needle, data, place):
                kind = LEAK
            else:
                kind = _kind(vr, needle, data, offset, place, size or self._size)
            key = (tag, place.name, kind)
            if key not in self._found:
                self._found[key] = Finding(tag, offset if at < 0 else at, place.name, kind)

    def listed(self) -> list[Finding]:
        """Leaks first; where an attribute leaks into an element, no coincidence of the two is told as well."""
        leaks = {(one.removed, one.found_in) for one in self._found.values() if one.kind == LEAK}
        found = [one for one in self._found.values() if one.kind == LEAK or (one.removed, one.found_in) not in leaks]
        return sorted(found, key=lambda one: (one.kind != LEAK, one.offset, one.removed))


# --- deflated data -----------------------------------------------------------------------------------------------


def _inflated(data: memoryview) -> Iterator[bytes]:
    """Deflated bytes (RFC 1951) inflated, in pieces of bounded size; it ends where they do or are damaged."""
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for at in range(0, len(data), _DEFLATED_CHUNK):
            pending: bytes | memoryview = data[at : at + _DEFLATED_CHUNK]
            while not stream.eof:
                piece = stream.decompress(pending, _INFLATED_CHUNK)
                pending = stream.unconsumed_tail
                if piece:
                    yield piece
                if not pending and len(piece) < _INFLATED_CHUNK:
                    break
    except zlib.error:
        return


def _search_inflated(data: memoryview, strings: Strings, findings: _Findings) -> None:
    """Search a data set that is deflated; the elements are known if it is not larger than can be kept."""
    kept, complete = bytearray(), True
    hits: list[tuple[int, bytes]] = []
    tail, start, size = b"", 0, 0
    for piece in _inflated(data):
        chunk = tail + piece
        for at, raw in strings.find(chunk):
            if at + len(raw) > len(tail):  # otherwise it was found in the piece before
                hits.append((start + at, raw))
        size += len(piece)
        complete = complete and size <= _MAPPED_LIMIT
        if complete:
            kept += piece
        tail = chunk[-max(strings.longest - 1, 1) :]
        start += len(chunk) - len(tail)
    if not hits:
        return
    view = memoryview(kept)
    places = Places(view, bare=True)
    for offset, raw in sorted(hits):
        if offset + len(raw) <= len(kept):
            findings.add(view, offset, raw, places.at(offset) if complete else Place(None, "", offset, size), size=size)
        else:
            findings.add(memoryview(raw), 0, raw, Place(None, "", 0, len(raw)), size=size, at=offset)


def _search_frames(view: memoryview, strings: Strings, findings: _Findings) -> None:
    """Search frames that are deflated one by one (PS3.5 A.4.14)."""
    from dcmkit.dataset.raw import EXPLICIT, ITEM, UNDEFINED, Reader, walk
    from dcmkit.errors import InvalidDataSetError

    place = Place(0x7FE00010, "OB", 0, 0, encapsulated=True)
    try:
        for one in walk(view, Places(view).data_set, len(view), EXPLICIT):
            if one.tag in PIXEL_DATA and one.length == UNDEFINED:
                reader, pos = Reader(EXPLICIT), one.value_start
                while pos < one.end:
                    tag, _, begin, length = reader.header(view, pos, one.end)
                    if tag != ITEM:
                        break
                    frame = b"".join(islice(_inflated(view[begin : begin + length]), _MAPPED_LIMIT // _INFLATED_CHUNK))
                    for at, raw in strings.find(frame):
                        findings.add(memoryview(frame), at, raw, place)
                    pos = begin + length
    except InvalidDataSetError:
        return


# --- leak or coincidence -----------------------------------------------------------------------------------------


def _kind(vr: str, needle: Needle, data: memoryview, offset: int, place: Place, size: int) -> str:
    """What to make of a needle found somewhere."""
    leaks = place.tag not in _OURS and not _says_nothing(needle.text, vr)
    if leaks:
        if _is_binary(place, data):
            leaks = _tells(needle, place) >= log2(max(size, 2)) + _CERTAINTY
        elif place.vr in _NUMERIC:
            leaks = vr not in _NUMERIC and not (_NUMBER.fullmatch(needle.text) and len(needle.text) < 10)
        elif place.vr == "UI":
            leaks = _leaks_into_uid(vr, needle, data, offset, place)
        elif place.vr == "CS" or place.tag in _CODES or place.tag in _EQUIPMENT:
            leaks = _is_somebodys(vr, needle.text, place) and _stands_alone(needle, data, offset, place)
        else:
            leaks = _leaks_into_text(vr, needle, data, offset, place)
    return LEAK if leaks else COINCIDENCE


def _are_alike(tag: int, needle: Needle, place: Place) -> bool:
    """Whether it is no wonder that both have the same value: codes, private creators, and the bytes of images.

    An icon that was removed has the lookup tables and the profile of its image, and sometimes its pixels.
    """
    if place.tag is None:
        return False
    if not needle.text and tag >> 16 in (0x0028, 0x7FE0):
        return True
    return (tag in _CODES and place.tag in _CODES) or (_is_creator(tag) and _is_creator(place.tag))


def _is_itself(needle: Needle, data: memoryview, place: Place) -> bool:
    """Whether an attribute still has a value that was to be taken from it, whatever it says.

    Content items and private attributes may be kept in one place and removed in another.
    """
    tag = place.tag or 0
    of_content = 0x0040A000 <= tag <= 0x0040FFFF
    if of_content or tag >> 16 & 1 or tag in _OURS or place.end - place.start > len(needle.raw) + 1024:
        return False
    values = bytes(data[place.start : place.end]).split(b"\\")
    return not _is_ours(needle.text) and any(value.strip(b" \0") == needle.raw for value in values)


def _is_creator(tag: int) -> bool:
    """Whether it is a Private Creator (PS3.5 7.8.1)."""
    return tag >> 16 & 1 == 1 and 0x10 <= tag & 0xFFFF <= 0xFF


def _says_nothing(text: str, vr: str) -> bool:
    """Whether it is a word that we write ourselves, that stands for no value, or that is of the trade."""
    return vr != "UI" and (_is_ours(text) or (vr != "PN" and _is_of_the_trade(text)))


def _is_ours(text: str) -> bool:
    return text.casefold() in _FILLERS or (bool(text) and any(text in word for word in _OUR_WORDS))


@lru_cache(maxsize=1 << 10)
def _is_of_the_trade(text: str) -> bool:
    """Whether it has words of anatomy, modality and technique only, which are in many an element (`Brain-MRA`)."""
    from dcmkit.deid.descriptors import Descriptors

    words, left = ([word for word in _WORD.findall(one) if len(word) > 1] for one in (text, Descriptors().clean(text)))
    return words == left and any(len(word) > 2 and word.isalpha() for word in words)


def _is_binary(place: Place, data: memoryview) -> bool:
    if place.vr == "deflated data":
        return True
    if place.vr not in _BINARY:
        return False
    if place.vr not in ("UN", "OB") or place.of_pixels or place.encapsulated or place.end - place.start > 1 << 16:
        return True
    value = bytes(data[place.start : place.end]).rstrip(b"\0 ")
    return any(octet < 32 and octet not in b"\t\n\f\r\33" for octet in value)


def _tells(needle: Needle, place: Place) -> float:
    """Bits of information in a needle, compared with the bytes around it.

    Neighbouring pixels are alike, and small numbers are common: what could be pixels tells less for each character.
    """
    text, raw = needle.text, needle.raw
    steps = {
        after - before
        for before, after in zip(raw[:: 1 + needle.wide], raw[1 + needle.wide :: 1 + needle.wide], strict=False)
    }
    if len(steps) <= 1:
        return 0  # all the same, or a ramp: a lookup table has it
    if place.encapsulated or (place.vr in ("deflated data", "OB", "UN") and not place.of_pixels):
        return 8 * (len(text) if needle.wide and text else len(raw))
    words = place.bits > 8 or (place.vr in ("US", "OW", "SS") and not place.of_pixels)
    plausible = needle.wide if words else not needle.wide
    if not plausible:
        return 8 * len(raw)
    return len(text or raw) * (3.3 if text and _NUMBER.fullmatch(text) else 5.0)


def _leaks_into_uid(vr: str, needle: Needle, data: memoryview, offset: int, place: Place) -> bool:
    if vr in _NUMERIC:
        return False  # a UID that is kept may have a date in it; whoever keeps UIDs keeps that
    if vr == "UI":
        return _is_whole_uid(needle, data, offset, place)
    if not _NUMBER.fullmatch(needle.text):
        return True
    uid = bytes(data[place.start : place.end])
    return not uid.startswith(b"1.2.840.10008.") and (
        len(needle.text) > _LONG_NUMBER + 1 or _stands_alone(needle, data, offset, place)
    )


def _is_somebodys(vr: str, text: str, place: Place) -> bool:
    """Whether a removed value in an element of codes is more than a word both use."""
    if vr in ("PN", "UI"):
        return True
    if vr == "CS" or vr in _NUMERIC or place.tag in _EQUIPMENT:
        return False
    if place.vr == "CS":
        return _CODED.fullmatch(text) is None
    return len(text) >= _LONG_WORD and any(map(str.isdigit, text))


def _leaks_into_text(vr: str, needle: Needle, data: memoryview, offset: int, place: Place) -> bool:
    text = needle.text
    if vr == "CS" or (vr in _MEASURES and len(text) < _LONG_NUMBER) or (vr == "TM" and len(text) < _LONG_WORD):
        return False
    if vr == "UI":
        return _is_whole_uid(needle, data, offset, place)
    longest = _LONG_NUMBER if _NUMBER.fullmatch(text) else _LONG_WORD
    if not _stands_alone(needle, data, offset, place):
        if len(text) < longest and text.isascii():
            return False
        if vr != "PN" and place.end - place.start <= _TRADE_LIMIT:
            return not _is_of_the_trade(bytes(data[place.start : place.end]).decode("latin-1").strip(" \0"))
    return True


def _is_whole_uid(needle: Needle, data: memoryview, offset: int, place: Place) -> bool:
    """Whether no other UID has this one in it."""
    if needle.wide:
        return True
    end = offset + len(needle.raw)
    before = bytes(data[max(offset - 1, place.start) : offset])
    after = bytes(data[end : min(end + 2, place.end)])
    return not (
        before.isdigit() or before == b"." or after[:1].isdigit() or (after[:1] == b"." and after[1:].isdigit())
    )


def _stands_alone(needle: Needle, data: memoryview, offset: int, place: Place) -> bool:
    """Whether what is found is no part of a longer number, or of a longer word."""
    step = 2 if needle.wide else 1
    end = offset + len(needle.raw) + step - 1
    before = data[offset - step] if offset - step >= place.start else 0
    after = data[end] if end < min(place.end, len(data)) else 0
    for outside, inside in ((before, needle.raw[0]), (after, needle.raw[-1])):
        if (outside in _DIGITS and inside in _DIGITS) or (outside in _LETTERS and inside in _LETTERS):
            return False
    return True
