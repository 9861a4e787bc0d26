"""Raw values to text: character sets (PS3.5 6.1, PS3.3 C.12.1.1.2), binary numbers, and the folded form of names.

Nothing here raises on bytes: what cannot be decoded becomes U+FFFD, and text comes out in Unicode normal form C.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import lru_cache
from struct import Struct

SPECIFIC_CHARACTER_SET = 0x00080005

_CODECS = {
    "ISO_IR 100": "iso8859-1", "ISO_IR 101": "iso8859-2", "ISO_IR 109": "iso8859-3", "ISO_IR 110": "iso8859-4",
    "ISO_IR 144": "iso8859-5", "ISO_IR 127": "iso8859-6", "ISO_IR 126": "iso8859-7", "ISO_IR 138": "iso8859-8",
    "ISO_IR 148": "iso8859-9", "ISO_IR 203": "iso8859-15", "ISO_IR 166": "iso8859-11", "ISO_IR 13": "shift_jis",
    "ISO_IR 192": "utf-8", "GB18030": "gb18030", "GBK": "gbk",
}  # fmt: skip
"""Those that can be the first value (PS3.3 tables C.12-2 to C.12-5)."""

_ALONE = frozenset({"utf-8", "gb18030", "gbk"})
"""These know no code extensions (PS3.5 6.1.2.4): further values beside them are ignored."""

_FURTHER = {"ISO_IR 87": "iso2022_jp", "ISO_IR 159": "iso2022_jp_1", "ISO_IR 149": "euc_kr", "ISO_IR 58": "gb2312"}
"""Sets of two bytes a character, which extend another (table C.12-4)."""

_G1 = {
    b"-A": "iso8859-1", b"-B": "iso8859-2", b"-C": "iso8859-3", b"-D": "iso8859-4", b"-L": "iso8859-5",
    b"-G": "iso8859-6", b"-F": "iso8859-7", b"-H": "iso8859-8", b"-M": "iso8859-9", b"-b": "iso8859-15",
    b"-T": "iso8859-11", b")I": "shift_jis", b"$)C": "euc_kr", b"$)A": "gb2312",
}  # fmt: skip
"""What stands after ESC, and the codec that then reads the bytes beyond ASCII (PS3.3 tables C.12-3 and C.12-4)."""

_G0 = {b"(B": "", b"(J": "", b"(I": "shift_jis", b"$B": "iso2022_jp", b"$@": "iso2022_jp", b"$(D": "iso2022_jp_1"}
"""Likewise for the bytes within ASCII; "" is ASCII. JIS X 0201 (`(J`) counts as such, see `CharacterSet`."""

_ESCAPES = {codec: b"\x1b" + escape for escape, codec in _G1.items()} | {
    "iso2022_jp": b"\x1b$B",
    "iso2022_jp_1": b"\x1b$(D",
}
_ESC = 0x1B
_TO_ASCII, _TO_ROMAJI = b"\x1b(B", b"\x1b(J"

_RESETS = re.compile(rb"([\\^=\r\n\t\f])")
_RESETS_OF_TWO_BYTES = re.compile(rb"([\r\n\t\f])")
"""Before these the initial character set is in force again (PS3.5 6.1.2.5.3). Where a character has two bytes within
ASCII, the delimiters may be halves of one; there an escape sequence stands before them."""
_SEGMENTS = re.compile(r"([\\^=\r\n\t\f])")
_HIGH = re.compile(rb"([\x80-\xff]+)")

_BINARY = {
    "US": "H", "SS": "h", "UL": "L", "SL": "l", "UV": "Q", "SV": "q", "FL": "f", "FD": "d", "AT": "HH",
}  # fmt: skip

_INTEGERS = {"US": (2, False), "SS": (2, True), "UL": (4, False), "SL": (4, True), "UV": (8, False), "SV": (8, True)}

_PLAIN_LETTERS = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "ı": "i", "ħ": "h", "ŧ": "t", "ŋ": "n"}
)
"""Letters that are one character in Unicode and a letter with a stroke to people (after case folding)."""


class CharacterSet:
    """One value of Specific Character Set (0008,0005), ready to decode and encode with.

    JIS X 0201 (ISO_IR 13) has a yen sign at 05/12 and an overline at 07/14. 05/12 separates values whatever it looks
    like (PS3.5 6.1.2.3), and what writers mean by 07/14 is the tilde; so both are read and written as in ASCII, and
    the yen sign and the overline cannot be encoded: they would come back as something else.
    """

    __slots__ = ("_further", "_g1", "codec", "extended")

    def __init__(self, terms: tuple[str, ...]) -> None:
        names = [_name(term) for term in terms] or [""]
        self.codec = _CODECS.get(names[0], "")
        further = [_CODECS.get(name) or _FURTHER.get(name, "") for name in names]
        self._further = tuple(
            codec
            for at, codec in enumerate(dict.fromkeys(further))
            if codec and codec not in _ALONE and (at or codec in _FURTHER.values())
        )
        self._g1 = self.codec or (further[0] if further[0] in ("euc_kr", "gb2312") else "")
        self.extended = self.codec not in _ALONE and (
            len(terms) > 1 or (terms[:1] != () and terms[0].startswith("ISO 2022")) or bool(self._further)
        )

    def decode(self, raw: bytes) -> str:
        """The text of `raw`; never raises."""
        escaped = self.extended and _ESC in raw
        if raw.isascii() and not escaped:
            return raw.decode("ascii")
        text = self._decode_extended(raw) if escaped else _decode_with(self._g1, raw)
        return unicodedata.normalize("NFC", text)

    def encode(self, text: str) -> bytes:
        """The bytes of `text`, without padding.

        Raises:
            UnicodeEncodeError: it has a character that this character set does not have.
        """
        if text.isascii():
            if self.extended and "\x1b" in text:
                raise _cannot(text, text.index("\x1b"), "an escape character is no text")
            return text.encode("ascii")
        text = unicodedata.normalize("NFC", text)
        if not self.extended and self.codec != "shift_jis":
            return text.encode(self.codec or "ascii")
        return b"".join([self._encode_segment(segment) for segment in _SEGMENTS.split(text)])

    def _encode_segment(self, text: str) -> bytes:
        """Text between two resets: begins and ends in the initial state (PS3.5 6.1.2.5.3)."""
        if text.isascii() and "\x1b" not in text:
            return text.encode("ascii")
        to_initial = _TO_ROMAJI if self.codec == "shift_jis" else _TO_ASCII
        parts: list[bytes] = []
        g0, g1 = "", self.codec
        for at, char in enumerate(text):
            if char.isascii() and char != "\x1b":
                needed, raw = "", char.encode()
            else:
                needed, raw = self._encode_char(char, g0 or g1)
                if not raw:
                    raise _cannot(text, at, f"no character of {self._names()}")
            if raw[0] < 0x80 and needed != g0:
                parts.append(_ESCAPES[needed] if needed else to_initial)
                g0 = needed
            elif raw[0] >= 0x80 and needed != g1:
                parts.append(_ESCAPES[needed])
                g1 = needed
            parts.append(raw)
        if g0:
            parts.append(to_initial)
        if self.codec and g1 != self.codec:
            parts.append(_ESCAPES[self.codec])
        return b"".join(parts)

    def _encode_char(self, char: str, current: str) -> tuple[str, bytes]:
        """The codec of the first set that has `char`, and its bytes; none where no set has it."""
        for codec in (self.codec, current, *self._further):
            if codec:
                raw = _encode_char(char, codec)
                if raw:
                    return codec, raw
        return "", b""

    def _names(self) -> str:
        return ", ".join(dict.fromkeys(filter(None, (self.codec, *self._further)))) or "ascii"

    def _decode_extended(self, raw: bytes) -> str:
        first, *others = raw.split(b"\x1b")
        parts: list[str] = []
        g0, g1 = self._decode_run(first, "", self._g1, parts)
        for part in others:
            length = 3 if part[:3] in _G1 or part[:3] in _G0 else 2
            escape, run = part[:length], part[length:]
            if escape in _G1:
                g1 = _G1[escape]
            elif escape in _G0:
                g0 = _G0[escape]
            else:
                parts.append("\ufffd")
                run = part
            g0, g1 = self._decode_run(run, g0, g1, parts)
        return "".join(parts)

    def _decode_run(self, run: bytes, g0: str, g1: str, parts: list[str]) -> tuple[str, str]:
        """The text between two escape sequences, appended to `parts`; and the state after it.

        Where the initial state has no set beyond ASCII, the last one stays: nothing else can be meant by such bytes.
        """
        resets = _RESETS_OF_TWO_BYTES if g0 else _RESETS
        if run.isascii() and not resets.search(run):
            parts.append(_decode_g0(g0, run) if g0 else run.decode("ascii"))
            return g0, g1
        for at, piece in enumerate(resets.split(run)):
            if at % 2:
                parts.append(piece.decode("ascii"))
                g0, g1 = "", self._g1 or g1
            elif not g0:
                parts.append(_decode_with(g1, piece))
            else:
                for high, half in enumerate(_HIGH.split(piece)):
                    parts.append(_decode_with(g1, half) if high % 2 else _decode_g0(g0, half))
        return g0, g1


def _decode_with(codec: str, raw: bytes) -> str:
    return raw.decode(codec, "replace") if codec else _decode_undeclared(raw)


def _decode_g0(codec: str, raw: bytes) -> str:
    """Bytes within ASCII that are no ASCII."""
    if codec == "shift_jis":
        return bytes([byte | 0x80 if byte > 0x20 else byte for byte in raw]).decode(codec, "replace")
    return (_ESCAPES[codec] + raw).decode(codec, "replace")


@lru_cache(maxsize=4096)
def _encode_char(char: str, codec: str) -> bytes:
    """A character beyond ASCII in a set of one or two bytes; b"" where the set does not have it."""
    try:
        raw = char.encode(codec)
    except UnicodeEncodeError:
        return b""
    if codec in ("iso2022_jp", "iso2022_jp_1"):
        escape = _ESCAPES[codec]
        return raw[len(escape) :][:2] if raw.startswith(escape) else b""
    size = 2 if codec in ("euc_kr", "gb2312") else 1
    return raw if len(raw) == size and raw[0] >= 0x80 else b""


def _cannot(text: str, at: int, why: str) -> UnicodeEncodeError:
    return UnicodeEncodeError("DICOM", text, at, at + 1, why)


def _name(term: str) -> str:
    """A defined term as `_CODECS` and `_FURTHER` have it, from the spellings seen in the field."""
    term = term.upper().replace("_", " ").replace("-", " ")
    if term.startswith("ISO 2022 IR "):
        term = term[9:]
    elif term.startswith("ISO IR "):
        term = term[4:]
    return "ISO_" + term if term.startswith("IR ") else term


def _decode_undeclared(raw: bytes) -> str:
    """Bytes beyond ASCII although no character set is declared: UTF-8 where they are that, else Latin 1."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("iso8859-1")


def character_set(specific_character_set: bytes | str | None) -> CharacterSet:
    """The character set named by the raw (or decoded) value of Specific Character Set."""
    if isinstance(specific_character_set, bytes):
        specific_character_set = specific_character_set[:256].decode("ascii", "replace")
    return _character_set((specific_character_set or "")[:256])


@lru_cache(maxsize=64)
def _character_set(value: str) -> CharacterSet:
    return CharacterSet(tuple(term.strip(" \0") for term in value.split("\\")))


def best_character_set(texts: Iterable[str], wanted: str) -> str:
    """The value of Specific Character Set to write `texts` with: `wanted` if all of them fit, else UTF-8."""
    charset = character_set(wanted)
    for text in texts:
        if not text.isascii() or "\x1b" in text:
            try:
                charset.encode(text)
            except UnicodeEncodeError:
                return "ISO_IR 192"
    return wanted


def decode_text(raw: bytes, charset: CharacterSet) -> str:
    """One text value, its padding removed; several values stay joined by backslashes."""
    if raw.isascii() and not charset.extended:  # as `decode` would, without asking it
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
