"""Words of names that sound alike (fuzzy semantic matching, PS3.4 C.2.2.2.1.1; the standard leaves the method open).

A word is told by its sound: its consonants, its first vowel, and its last letter where that is a vowel one hears.

- The first vowel is one of five: `a`, `ae`; `e`, `i`, `y`; `o`, `u`, `oe`, `ue`; `ai`, `ay`, `ei`, `ey`; `au`, `aw` and
  the `ow` of Brown. So Meyer, Maier and Mayr are one, Müller, Mueller and Muller another (with Möller), and Miller
  neither. Vowels within the word are not heard, nor is an `e` at its end.
- Doubled letters are one; `h` is heard at the beginning before a vowel, `j` and `y` as consonants there only.
- `c`, `ck`, `ch`, `k`, `q` are one, `x` is `ks`; `c` before `e`, `i`, `y` is `s`, and so are `z`, `tz`, `ts`, `ds`.
- `ph` is `f`, `th` is `t`; `sch`, `sh`, `tsch`, `tch`, `cz`, and `ch` before a vowel at the beginning, are one, but
  before a consonant at the beginning `sch` is `s`: Schmidt, Schmitt, Schmid and Smith.
- `b` and `p`, `d` and `t`, `g` and `k`, `f`, `v` and `w` are one within a word and differ at its beginning, where `v`
  is `f` before `o` (Vogt) and else `w` (Viktor).

This is for Latin letters, folded (`dataset.values.fold`). Other words, and those of one or two letters, have no sound.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import pairwise

LETTERS_LIMIT = 64
"""A longer word has no sound: a component group of a name is no longer (PS3.5 6.2)."""
WORDS_LIMIT = 64
"""Words of one name that are listened to."""

_APART = str.maketrans("^=\\,", "    ")
_INSIDE = "-'.’"
"""What may stand in a word: O'Brien, Müller-Lüdenscheidt."""
_UNHEARD = str.maketrans("", "", _INSIDE)

_RULES = (
    (r"^h+(?![aeiouy])", ""),
    (r"(?:(?<=q)|(?<=.g))u(?=[ei])", ""),  # Dominique, Miguel
    (r"^s(?:ch|h)(?=[bcdfgklmnpqrtvwxz])", "s"),
    (r"t?sch|t?sh|tch|cz|^ch(?=[aeiouy])", "X"),
    (r"ch", "k"),
    (r"ph", "f"),
    (r"x", "ks"),
    (r"c(?=[eiy])|[sz]", "S"),
    (r"[ckq]", "K"),
    (r"[dt][dth]*(?=S)", ""),
    (r"(?<!^)h", ""),
    (r"^(?:j|y(?=[aeiou]))", "J"),
    (r"^(?:f|v(?=o))", "F"),
    (r"^[vw]", "W"),
    (r"^b+", "B"),
    (r"^d+", "D"),
    (r"^g+", "G"),
    (r"^h+", "H"),
    (r"(?<![aeiouyj])w|w(?=[aeiouyj])", "F"),
)
"""In this order, each wherever it is: small letters become sounds, which are capitals; vowels stay."""
_CONSONANTS = str.maketrans("bpdtgfvlmnr", "PPTTKFFLMNR")
_DIPHTHONGS = dict.fromkeys(("ai", "ay", "aj", "ei", "ey", "ej"), "I") | dict.fromkeys(("au", "aw", "ow"), "U")
_VOWELS = {"a": "A", "e": "E", "i": "E", "y": "E", "j": "E", "o": "O", "u": "O"}

_BEGINNINGS = {
    "A": "a", "E": "eiy", "I": "ae", "O": "ou", "U": "ao",
    "B": "bh", "D": "dh", "F": "fhpv", "G": "gh", "H": "h", "J": "hjy", "K": "chkqx", "L": "hl", "M": "hm", "N": "hn",
    "P": "hp", "R": "hr", "S": "cdhstz", "T": "ht", "W": "hvw", "X": "chst",
}  # fmt: skip
"""What a word whose sound begins so can begin with."""
_LETTERS = {
    "A": "a", "E": "eijy", "I": "ae", "O": "ou", "U": "ao",
    "F": "fpvw", "K": "cgkqx", "L": "l", "M": "m", "N": "n", "P": "bp", "R": "r", "S": "cstxz", "T": "dt", "X": "cs",
}  # fmt: skip
"""What a sound after the first can come from."""


@lru_cache(maxsize=16384)
def sound(word: str) -> str:
    """How a folded word sounds, in capitals; "" where it has no sound that could be compared."""
    if len(word) > 2 * LETTERS_LIMIT:
        return ""
    word = word.translate(_UNHEARD)
    if not (3 <= len(word) <= LETTERS_LIMIT and word.isascii() and word.isalpha() and word.islower()):
        return ""
    for letters, heard in _rules():
        word = letters.sub(heard, word)
    return _joined(re.sub(r"([A-Z])\1+", r"\1", _later_w(word.translate(_CONSONANTS))))


@lru_cache(maxsize=1)
def _rules() -> tuple[tuple[re.Pattern[str], str], ...]:
    """Compiled when they are needed first: most programs never listen."""
    return tuple((re.compile(letters), heard) for letters, heard in _RULES)


def _later_w(word: str) -> str:
    """A `w` is a vowel with the first vowel only: Brown, Newman; not Piotrowski."""
    first = re.match(r"[A-Z]*[^A-Z]*", word)
    end = first.end() if first else 0
    return word[:end] + word[end:].replace("w", "F")


def _joined(word: str) -> str:
    """The consonants, the first vowel and the last, of a word whose consonants are sounds."""
    parts = re.fullmatch(r"([A-Z]*)([a-z]*)(.*?)([a-z]*)", word)
    if parts is None:
        return ""
    before, vowels, after, last = parts.groups()
    heard = _DIPHTHONGS.get(vowels[:2]) or _VOWELS.get(vowels[:1], "")
    end = _VOWELS.get((last or vowels * (not after)).rstrip("ew")[-1:], "")
    if not last and (end in ("E", heard) or heard == "U"):  # the first vowel is the last one
        end = ""
    found = before + heard + re.sub(r"[a-z]+", "", after) + end
    return found if len(found) > 1 else ""


def sounds_like(word: str, name: str | None) -> bool:
    """Whether a word of `name`, or a part of one that has hyphens, sounds like `word`; both are folded."""
    wanted = sound(word)
    if not wanted or not name:
        return False
    first = _BEGINNINGS[wanted[0]] + _INSIDE
    for part in name.translate(_APART).split(None, WORDS_LIMIT)[:WORDS_LIMIT]:
        if part[0] in first and sound(part) == wanted:
            return True
        if "-" in part and wanted in map(sound, part.split("-", WORDS_LIMIT)):
            return True
    return False


def shape(word: str) -> str:
    """A pattern for GLOB that fits ` ` and each name that has a word that sounds like `word`; "" where none does.

    It is quickly told, and leaves few names to `sounds_like`.
    """
    wanted = sound(word)
    if not wanted:
        return ""
    later = "".join(
        f"*[{_LETTERS[heard]}]"
        for before, heard in pairwise(wanted)
        if (before, heard) != ("K", "S")  # x is both
    )
    return rf"*[{_INSIDE} ^=,\][{_BEGINNINGS[wanted[0]]}]{later}*"
