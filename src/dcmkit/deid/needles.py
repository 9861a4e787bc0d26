"""A removed value as the byte strings it could be found as: in other words, and in every encoding of them.

Text is looked for in the character sets the file may use, in UTF-8, Latin 1 and UTF-16 of either byte order; a name
also by its components and with spaces instead of its delimiters; a date also as people write it.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from dcmkit.dataset.elements import CHARACTER_SET_VRS, SINGLE_VRS
from dcmkit.dataset.values import character_set
from dcmkit.deid.pseudonyms import is_of_the_standard

SHORTEST = 4
"""Characters of a value that is looked for, and bytes of any form of it."""

_SHORTEST_IN_BYTES = 6
"""In UTF-8, of text in which no character is ASCII: names of two ideographs are whole names."""
_LINE = 8
"""Characters of a line that is looked for instead of the text it is in."""
_LONGEST = 1024
"""Characters that are looked for of a long value: its beginning."""
_BLOB = 32
"""Bytes that are looked for of a binary value."""
_CACHED = 256
"""Bytes or characters of a value that is remembered: a series has the same ones again and again."""
_TEXT_LIMIT = 64 * _LONGEST
"""Bytes or characters of a long value, or of many, that are looked at."""
_BLANK = " \0\t\r\n\f"
_NUMBERS = frozenset({"AT", "FD", "FL", "SL", "SS", "SV", "UL", "US", "UV"})
_DATE = re.compile(r"(?:^|-)([0-9]{4})\.?([0-9]{2})\.?([0-9]{2})")
_PRINTABLE = re.compile(rb"[\x09\x0a\x0c\x0d\x1b\x20-\x7e\x80-\xff]+")


class Needle(NamedTuple):
    """One byte string to look for.

    Attributes:
        raw: the bytes.
        text: what they say; "" for bytes that are no text.
        wide: whether they are UTF-16.
    """

    raw: bytes
    text: str
    wide: bool = False


def needles(vr: str, value: str | bytes, charsets: tuple[str, ...] = ()) -> tuple[Needle, ...]:
    """What to look for of one removed value; nothing where it is too short to tell anything.

    Args:
        vr: of the attribute it was removed from.
        value: text, several joined by backslashes, or bytes as they were encoded.
        charsets: values of Specific Character Set that the file uses; bytes of text are in the first.
    """
    return _cached(vr, value, charsets) if len(value) <= _CACHED else _needles(vr, value, charsets)


def _needles(vr: str, value: str | bytes, charsets: tuple[str, ...]) -> tuple[Needle, ...]:
    found: dict[tuple[bytes, str], Needle] = {}
    if isinstance(value, bytes):
        for needle in _of_bytes(vr, value, charsets):
            found.setdefault((needle.raw, needle.text), needle)
    else:
        for text in _forms(vr, value):
            for raw, wide in _encoded(text, charsets):
                found.setdefault((raw, text), Needle(raw, text, wide))
    return tuple(found.values())


_cached = lru_cache(maxsize=1 << 14)(_needles)


def _of_bytes(vr: str, value: bytes, charsets: tuple[str, ...]) -> Iterator[Needle]:
    """Bytes as they were, and the text they are, if they are that."""
    bare = value.strip(_BLANK.encode())
    if vr in _NUMBERS:
        piece = _ending(value[:_BLOB])
        if len(piece) >= 16 and len(set(piece)) >= 4:
            yield Needle(piece, "")
        return
    if vr in CHARACTER_SET_VRS or vr not in ("OB", "OD", "OF", "OL", "OV", "OW", "UN") or _PRINTABLE.fullmatch(bare):
        text = character_set(charsets[0] if charsets else "").decode(bare[:_TEXT_LIMIT])
        for form in _forms("LO" if vr in ("OB", "OW", "UN") else vr, text):
            for raw, wide in _encoded(form, charsets):
                yield Needle(raw, form, wide)
        if not bare.isascii() and SHORTEST <= len(bare) <= _LONGEST and b"\\" not in bare:
            yield Needle(bare, text)
        return
    for at in range(0, max(len(value) - _BLOB + 1, 1), _BLOB):
        piece = _ending(value[at : at + _BLOB])
        if len(piece) >= 16 and len(set(piece)) >= 8:
            yield Needle(piece, "")
            return


def _ending(raw: bytes) -> bytes:
    """As much as ends in something that is not everywhere: zeros are."""
    while b"\0\0\0\0" in raw[-8:]:
        raw = raw[:-1]
    return raw


def _forms(vr: str, text: str) -> Iterator[str]:
    """The words a value could be found in."""
    if vr in SINGLE_VRS:
        lines = [line for line in map(_bare, re.split(r"[\r\n\f]+", text[:_TEXT_LIMIT])) if len(line) >= _LINE]
        yield from _long_enough(lines or [text])
        return
    for value in text[:_TEXT_LIMIT].split("\\"):
        value = _bare(value)
        if vr == "UI" and is_of_the_standard(value):
            continue
        if vr == "PN":
            yield from _names(value)
            continue
        yield from _long_enough([value])
        if vr in ("DA", "DT"):
            for year, month, day in _DATE.findall(value):
                yield from (f"{year}{month}{day}", f"{year}-{month}-{day}", f"{year}.{month}.{day}")


def _names(name: str) -> Iterator[str]:
    """A name whole, by group and component, and as people write it (PS3.5 6.2.1)."""
    yield from _long_enough([name.rstrip("^= ")])
    for group in name.split("=") if "=" in name else [name]:
        parts = [part for part in map(_bare, group.split("^")) if part]
        if "=" in name:
            yield from _long_enough([group.rstrip("^ ")])
        long = list(_long_enough(parts))
        yield from long
        if not long and len(parts) > 1:
            first, last = parts[1], parts[0]
            yield from _long_enough(
                [" ".join(parts), f"{first} {last}", f"{last}, {first}", f"{last}{first}", f"{first}{last}"]
            )


def _long_enough(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        bare = _bare(text)[:_LONGEST]
        if len(bare) >= SHORTEST or (
            bare and not any(map(str.isascii, bare)) and len(bare.encode("utf-8", "replace")) >= _SHORTEST_IN_BYTES
        ):
            yield bare


def _bare(text: str) -> str:
    return text.strip(_BLANK)


def _encoded(text: str, charsets: Iterable[str]) -> Iterator[tuple[bytes, bool]]:
    """The bytes of a text in each encoding, and whether that is UTF-16."""
    if text.isascii():
        raw = text.encode()
        yield raw, False
        yield _wide(raw), True
        return
    composed, decomposed = unicodedata.normalize("NFC", text), unicodedata.normalize("NFD", text)
    yield from _alone(composed.encode("utf-8", "replace"), False)
    for other in (text, decomposed):
        if other != composed:
            yield from _alone(other.encode("utf-8", "replace"), False)
            yield from _alone(other.encode("utf-16-le", "replace"), True)
            yield from _alone(other.encode("utf-16-be", "replace"), True)
    for charset in charsets:
        try:
            yield from _alone(character_set(charset).encode(composed), False)
        except UnicodeEncodeError:
            pass
    try:
        raw = composed.encode("latin-1")
    except UnicodeEncodeError:
        yield from _alone(composed.encode("utf-16-le", "replace"), True)
        yield from _alone(composed.encode("utf-16-be", "replace"), True)
    else:
        yield from _alone(raw, False)
        yield _wide(raw), True


def _alone(raw: bytes, wide: bool) -> Iterator[tuple[bytes, bool]]:
    if len(raw) >= SHORTEST:
        yield raw, wide


def _wide(raw: bytes) -> bytes:
    """What UTF-16 of either byte order has in common, for characters of one byte."""
    wide = bytearray(2 * len(raw) - 1)
    wide[::2] = raw
    return bytes(wide)
