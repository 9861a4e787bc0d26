"""Raw values to text: character sets (PS3.5 6.1, PS3.3 C.12.1.1.2), binary numbers, and the folded form of names.

Nothing here raises on bytes: what cannot be decoded becomes U+FFFD, and text comes out in Unicode normal form C.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from struct import Struct

SPECIFIC_CHARACTER_SET = 0x00080005

_CODECS = {
    "ISO_IR 100": "iso8859-1", "ISO_IR 101": "iso8859-2", "ISO_IR 109": "iso8859-3", "ISO_IR 110": "iso8859-4",
    "ISO_IR 144": "iso8859-5", "ISO_IR 127": "iso8859-6", "ISO_IR 126": "iso8859-7", "ISO_IR 138": "iso8859-8",
    "ISO_IR 148": "iso8859-9", "ISO_IR 203": "iso8859-15", "ISO_IR 166": "iso8859-11", "ISO_IR 13": "shift_jis",
    "ISO_IR 192": "utf-8", "GB18030": "gb18030", "GBK": "gbk",
}  # fmt: skip

_ESCAPES = {
    b"(B": "ascii", b"-A": "iso8859-1", b"-B": "iso8859-2", b"-C": "iso8859-3", b"-D": "iso8859-4",
    b"-L": "iso8859-5", b"-G": "iso8859-6", b"-F": "iso8859-7", b"-H": "iso8859-8", b"-M": "iso8859-9",
    b"-b": "iso8859-15", b"-T": "iso8859-11", b"(J": "shift_jis", b")I": "shift_jis",
    b"$B": "iso2022_jp_2", b"$(D": "iso2022_jp_2", b"$)C": "euc_kr", b"$)A": "gb2312",
}  # fmt: skip
"""What follows ESC (PS3.3 tables C.12-3 and C.12-4), and the codec of the text after it."""

_RESETS = b"\\^=\r\n\t\f"
"""After these the initial character set is in force again (PS3.5 6.1.2.5.3)."""

_BINARY = {
    "US": "H", "SS": "h", "UL": "L", "SL": "l", "UV": "Q", "SV": "q", "FL": "f", "FD": "d", "AT": "HH",
}  # fmt: skip

_INTEGERS = {"US": (2, False), "SS": (2, True), "UL": (4, False), "SL": (4, True), "UV": (8, False), "SV": (8, True)}

_PLAIN_LETTERS = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i", "ħ": "h", "ŧ": "t", "ŋ": "n"}
)
"""Letters that are one character in Unicode and a letter with a stroke to people (after case folding)."""


class CharacterSet:
    """One value of Specific Character Set (0008,0005), ready to decode with."""

    __slots__ = ("codec", "extended")

    def __init__(self, terms: tuple[str, ...]) -> None:
        first = terms[0] if terms else ""
        self.codec = _codec(first)
        self.extended = len(terms) > 1 or first.startswith("ISO 2022")

    def decode(self, raw: bytes) -> str:
        """The text of `raw`; never raises."""
        if self.extended and b"\x1b" in raw:
            text = self._decode_extended(raw)
        elif self.codec:
            text = raw.decode(self.codec, "replace")
        else:
            text = _decode_undeclared(raw)
        return unicodedata.normalize("NFC", text)

    def encode(self, text: str) -> bytes:
        """The bytes of `text`, without padding.

        Raises:
            UnicodeEncodeError: it has a character that this character set does not have.
        """
        return unicodedata.normalize("NFC", text).encode(self.codec or "ascii")

    def _decode_extended(self, raw: bytes) -> str:
        initial = self.codec or "iso8859-1"
        first, *others = raw.split(b"\x1b")
        parts = [first.decode(initial, "replace")]
        for part in others:
            length = 3 if part[:3] in _ESCAPES else 2
            codec = _ESCAPES.get(part[:length])
            if codec is None:
                parts.append("\ufffd" + part.decode(initial, "replace"))
            elif codec == "iso2022_jp_2":
                parts.append((b"\x1b" + part).decode(codec, "replace"))
            else:
                text = part[length:]
                reset = min((at for at in map(text.find, _RESETS_SPLIT) if at >= 0), default=len(text))
                parts += text[:reset].decode(codec, "replace"), text[reset:].decode(initial, "replace")
        return "".join(parts)


_RESETS_SPLIT = [bytes((byte,)) for byte in _RESETS]


def _codec(term: str) -> str:
    """The codec of a defined term; "" when the term is absent, ISO_IR 6 or unknown."""
    term = term.upper().replace("_", " ").replace("-", " ")
    if term.startswith("ISO 2022 IR "):
        term = term[9:]
    elif term.startswith("ISO IR "):
        term = term[4:]
    if term.startswith("IR "):
        term = "ISO_" + term
    return _CODECS.get(term, "")


def _decode_undeclared(raw: bytes) -> str:
    """Bytes beyond ASCII although no character set is declared: UTF-8 where they are that, else Latin 1."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("iso8859-1")


@lru_cache(maxsize=64)
def character_set(specific_character_set: bytes | str | None) -> CharacterSet:
    """The character set named by the raw (or decoded) value of Specific Character Set."""
    if isinstance(specific_character_set, bytes):
        specific_character_set = specific_character_set[:256].decode("ascii", "replace")
    terms = (specific_character_set or "").split("\\")
    return CharacterSet(tuple(term.strip(" \0") for term in terms))


def decode_text(raw: bytes, charset: CharacterSet) -> str:
    """One text value, its padding removed; several values stay joined by backslashes."""
    if raw.isascii() and not charset.extended:
        text = raw.decode("ascii").strip(" \0")
    else:
        text = charset.decode(raw).strip(" \0")
    if "\\" in text:
        return "\\".join([value.strip(" \0") for value in text.split("\\")])
    return text


def decode_numbers(raw: bytes, vr: str, big_endian: bool = False) -> str:
    """Binary numbers as text, joined by backslashes; "" for a VR that is no number."""
    shape = _BINARY.get(vr)
    if shape is None:
        return ""
    numbers = _number_struct(shape, big_endian)
    usable = len(raw) // numbers.size * numbers.size
    if vr == "AT":
        return "\\".join(f"{group:04X}{element:04X}" for group, element in numbers.iter_unpack(raw[:usable]))
    return "\\".join([repr(number) for (number,) in numbers.iter_unpack(raw[:usable])])


def encode_numbers(text: str, vr: str, big_endian: bool = False) -> bytes:
    """The other way round.

    Raises:
        ValueError, OverflowError, struct.error: the text is no number, or none of this VR.
    """
    if not text:
        return b""
    values = text.split("\\")
    if vr == "AT":
        numbers: list[int | float] = [half for value in values for half in divmod(int(value, 16), 0x10000)]
    else:
        numbers = [float(value) if vr in ("FL", "FD") else int(value) for value in values]
    return Struct(f"{'>' if big_endian else '<'}{len(numbers)}{_BINARY[vr][0]}").pack(*numbers)


def decode_integer(raw: bytes, vr: str, big_endian: bool = False) -> int | None:
    """The first of binary whole numbers; None where there is none."""
    size, signed = _INTEGERS.get(vr, (0, False))
    if not 0 < size <= len(raw):
        return None
    return int.from_bytes(raw[:size], "big" if big_endian else "little", signed=signed)


@lru_cache(maxsize=32)
def _number_struct(shape: str, big_endian: bool) -> Struct:
    return Struct((">" if big_endian else "<") + shape)


def is_number(vr: str) -> bool:
    """Whether values of `vr` are binary numbers."""
    return vr in _BINARY


def decode_values(
    values: Mapping[int, bytes],
    specific_character_set: bytes | str | None,
    vrs: Mapping[int, str] | None = None,
    *,
    big_endian: bool = False,
) -> dict[int, str]:
    """Raw values to text.

    Args:
        values: raw value bytes by tag.
        specific_character_set: the value of (0008,0005), raw or decoded.
        vrs: the VR of those tags whose values are binary numbers; anything else is taken as text.
        big_endian: the byte order of the numbers.
    """
    charset = character_set(specific_character_set)
    binary = vrs or {}
    return {
        tag: decode_numbers(raw, binary[tag], big_endian) if tag in binary else decode_text(raw, charset)
        for tag, raw in values.items()
    }


def fold(text: str) -> str:
    """What a name is compared by: no case, no accents, single spaces; component and group delimiters stay.

    Trailing empty components and groups (`^`, `=`) go, as PS3.5 6.2.1.1 lets writers leave them out.
    """
    if text.isascii():
        folded = text.lower()
    else:
        decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
        bare = "".join([char for char in decomposed if unicodedata.category(char) != "Mn"])
        folded = unicodedata.normalize("NFC", bare.translate(_PLAIN_LETTERS))
    folded = " ".join(folded.split())
    if "=" in folded:
        folded = "=".join([group.rstrip("^ ") for group in folded.split("=")])
    return folded.rstrip("^= ")
