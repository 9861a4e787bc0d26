"""Descriptors without identity (PS3.15 E.3.6, Clean Descriptors Option): what is known to be harmless stays.

Free text is cleaned by a list of what may stay, never by a list of what must go: nobody can list all names. The list
is `words.txt`, our own: anatomy, modality, technique, contrast, laterality, orientation, phases, findings, units.
Beside it, what scanners write of letters and digits stays (`T2w`, `L4`, `b800`), and numbers of up to three digits. A
number alone goes with the word beside it that goes (`bed 12`), and so do two numbers in a row: dates and telephones.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

from dcmkit.dataset.values import fold


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


_PATH = os.path.join(os.path.dirname(__file__), "words.txt")
_CACHED = 4096
"""Texts whose cleaned form is kept at hand: all objects of a series have the same."""
_CACHED_LENGTH = 1024
_LONGEST = 1 << 20
"""Nothing is left of a longer value: nobody describes so much, and every word costs memory."""

_TOKEN = re.compile(
    r"(?P<phrase>(?<![^\W_])(?:x[ -]rays?|jpeg[ -]2000)(?![^\W_]))"
    r"|(?P<number>[0-9]+(?:[.,:/x×*-][0-9]+)*)(?P<suffix>[^\W_]*)"
    r"|(?P<word>[^\W_]+)"
    r"|(?P<hole>\0)",
    re.IGNORECASE,
)
_SEPARATOR = re.compile(r"[ \t\r\n!-/:-@\[-`{-~°×–—]{1,4}")
_SIGNS = "%°*"
"""What belongs to the number or word before it."""
_CASES = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_PLAIN = re.compile(r"[0-9]{1,3}(?:[.,][0-9]{1,3})?")
_DAY_AND_MONTH = re.compile(r"(?:0?[1-9]|[12][0-9]|3[01])[.,](?:0[1-9]|1[0-2])")
_RATIO = re.compile(r"[0-9]{1,3}:1")
_RANGE = re.compile(r"[0-9]{1,3}(?:[.,][0-9]{1,3})?[/-][0-9]{1,3}(?:[.,][0-9]{1,3})?")
_TIMES = re.compile(r"[x×*]")
_ORDINALS = frozenset({"st", "nd", "rd", "th"})
_MONTHS = _set("""
    jan feb mar apr may jun jul aug sep sept oct nov dec january february march april june july august september october
    november december januar februar marz mai juni juli oktober dezember janvier fevrier avril juin juillet aout octobre
    enero febrero marzo abril mayo junio julio agosto octubre
""")
"""Beside a number they are part of a date, even where the word may stay: OCT is a modality, too."""
_UNITS = _set("""
    mm cm m um μm nm t mt ms s sec secs second seconds min mins minute minutes hz khz mhz ghz kv kvp kev mev mv ma mas
    mgy gy cgy ugy sv msv usv bq kbq mbq gbq mci uci ml l cc mg g ug mmol mol deg degree degrees hu px pix pixel pixels
    ppm pct percent mm2 mm3 cm2 cm3 msec usec μs psi mmhg bpm fps dpi % °
""")
"""Kilograms and years are not among them: they tell weight and age."""

_LEVEL = r"(?:c[1-7]|(?:d|t|th)(?:1[0-2]|[1-9])|l[1-6]|s[1-5])"
_PLANE = r"(?:ax|axi|axial|sag|cor|tra|trans|obl)"
_CONTRASTED = r"(?:t1|t2|pd|dwi|adc|flair|stir|swi|tof|gre|tse|fse)"
_PREPARED = r"(?:w|wi|fs|wfs|fatsat|fse|tse|se|gd|c|ce|star|flair|stir|gre|vibe|space|mprage)"
_SHORTHAND = re.compile(
    "|".join((
        rf"{_LEVEL}{_LEVEL}?",  # levels of the spine
        r"b(?:50|[0-9]{0,2}(?:00|50))",  # b-values
        rf"{_PLANE}?{_CONTRASTED}{_PREPARED}?{_PLANE}?",
        r"[bhiuvt][0-9]{2}[fshmu]|(?:br|bl|bv|bf|hr|hv|hf|hc|hn|qr|sa|ur|ub)[0-9]{2}[a-z]?|fc[0-9]{2}",  # kernels
        r"(?:te|tr|ti|fa|pat|sl|ph|ch|se|im|ser|img|dyn|vol)[0-9]{1,3}",
    ))
)  # fmt: skip
_NUMBERED = re.compile(r"([a-z]{3,})[0-9]{1,2}")

_GONE, _KEPT, _BARE, _ADDITION = range(4)
"""What becomes of a token: an addition is a unit, kept with the number before it."""


class _Token:
    __slots__ = ("end", "fate", "folded", "start")

    def __init__(self, start: int, end: int, folded: str, fate: int) -> None:
        self.start, self.end, self.folded, self.fate = start, end, folded, fate


@lru_cache(maxsize=1)
def vocabulary() -> frozenset[str]:
    """The words that may stay, folded."""
    with open(_PATH, encoding="ascii") as file:
        return frozenset(file.read().split())


class Descriptors:
    """Cleans descriptors. It can be pickled.

    Args:
        words: further words that may stay.
        names: words that go, though they may be in the vocabulary.
        patterns: regular expressions; what they match goes, whatever it is. Case does not matter.
        keep: regular expressions; what they match stays, unless `patterns`, `names` or the identity say otherwise.

    Raises:
        re.error: one is no regular expression.
    """

    def __init__(
        self,
        words: Iterable[str] = (),
        names: Iterable[str] = (),
        patterns: Iterable[str] = (),
        keep: Iterable[str] = (),
    ) -> None:
        self.words, self.names = tuple(words), tuple(names)
        self.patterns, self.keep = tuple(patterns), tuple(keep)
        self._removed = [re.compile(pattern, re.IGNORECASE) for pattern in self.patterns]
        self._exempt = [re.compile(pattern, re.IGNORECASE) for pattern in self.keep]
        self._added = frozenset(word for text in self.words for word in _words(text))
        self._scrubbed = frozenset(word for text in self.names for word in _words(text))
        self._cache: dict[tuple[str, frozenset[str]], str] = {}
        self._named: tuple[frozenset[str] | None, tuple[frozenset[str], frozenset[str]]]
        self._named = None, (frozenset(), frozenset())

    def __reduce__(self) -> tuple[Any, ...]:
        return Descriptors, (self.words, self.names, self.patterns, self.keep)

    def clean(self, text: str, identity: frozenset[str] = frozenset()) -> str:
        """What may stay of a text; values joined by backslashes are cleaned one by one.

        Args:
            identity: names, IDs and the like of the object itself, folded: they go, even if they are in the vocabulary.

        Returns:
            "" if nothing is left.
        """
        found = self._cache.get((text, identity))
        if found is None:
            values = [self._value(value, identity) for value in text.split("\\")]
            found = "\\".join(values) if any(values) else ""
            if len(text) <= _CACHED_LENGTH:
                if len(self._cache) >= _CACHED:
                    self._cache.clear()
                self._cache[text, identity] = found
        return found

    def _value(self, text: str, identity: frozenset[str]) -> str:
        if not text or text.isspace() or len(text) > _LONGEST:
            return ""
        text = text.replace("\0", " ")
        for pattern in self._removed:
            text = pattern.sub("\0", text)
        named = self._named  # one read and one write: associations of a service take turns here
        if named[0] is not identity:
            named = self._named = identity, _parts(identity)
        words, phrases = named[1]
        tokens = list(self._tokens(text, words))
        _drop_phrases(tokens, phrases)
        _drop_numbers(tokens)
        return _joined(text, tokens)

    # --- tokens --------------------------------------------------------------------------------------------------

    def _tokens(self, text: str, identity: frozenset[str]) -> Iterator[_Token]:
        begin = 0
        for start, end in self._exemptions(text):
            yield from self._between(text, begin, start, identity)
            words = _words(text[start:end])
            fate = _GONE if any(word in identity or word in self._scrubbed for word in words) else _KEPT
            yield _Token(start, end, "".join(words), fate)
            begin = end
        yield from self._between(text, begin, len(text), identity)

    def _exemptions(self, text: str) -> list[tuple[int, int]]:
        """Where `keep` matches; of matches that overlap, the first."""
        if not self._exempt:
            return []
        spans = sorted(match.span() for pattern in self._exempt for match in pattern.finditer(text))
        found: list[tuple[int, int]] = []
        for start, end in spans:
            if end > start and "\0" not in text[start:end] and (not found or start >= found[-1][1]):
                found.append((start, end))
        return found

    def _between(self, text: str, start: int, end: int, identity: frozenset[str]) -> Iterator[_Token]:
        number: _Token | None = None  # the one before, if a unit may follow it
        for match in _TOKEN.finditer(text, start, end):
            whole = match[0]
            folded = fold(whole)
            token = _Token(match.start(), match.end(), folded, _GONE)
            kind = match.lastgroup
            if kind == "word":
                after = number is not None and text[number.end : token.start] in (" ", "-")
                if after and folded in _UNITS:
                    token.fate = _ADDITION
                elif self._may_stay(whole, folded, identity):
                    token.fate = _KEPT
            elif kind == "suffix":
                suffix = fold(match["suffix"]) or text[token.end : token.end + 1]
                token.fate = self._number(match["number"], suffix, folded, identity)
            elif kind == "phrase":
                token.fate = _KEPT
            number = token if kind == "suffix" and not match["suffix"] else None
            yield token

    def _may_stay(self, word: str, folded: str, identity: frozenset[str]) -> bool:
        if folded in identity or folded in self._scrubbed:
            return False
        if folded in vocabulary() or folded in self._added or _SHORTHAND.fullmatch(word.lower()):
            return True
        numbered = _NUMBERED.fullmatch(folded)
        if numbered is not None:
            return self._may_stay(numbered[1], numbered[1], identity)
        pieces = _CASES.split(word) if word.isascii() else [word]
        return len(pieces) > 1 and all(len(one) > 1 and self._may_stay(one, fold(one), identity) for one in pieces)

    def _number(self, digits: str, suffix: str, folded: str, identity: frozenset[str]) -> int:
        """What becomes of a number with what follows it at once."""
        if folded in identity or folded in self._scrubbed or digits in identity:
            return _GONE
        if folded in self._added or folded in vocabulary():
            return _KEPT
        if suffix in _UNITS:
            return _KEPT if _RANGE.fullmatch(digits) or _are_factors(_TIMES.split(digits)) else _GONE
        if suffix in _ORDINALS and len(digits) < 3 and digits.isdigit():
            return _BARE
        if suffix.isalnum():
            return _GONE
        if _RATIO.fullmatch(digits):
            return _KEPT
        factors = _TIMES.split(digits)
        if len(factors) > 1:
            return _KEPT if _are_factors(factors) else _GONE
        return _BARE


def _are_factors(parts: list[str]) -> bool:
    """Whether they are a size, in up to four dimensions."""
    return len(parts) <= 4 and all(map(_PLAIN.fullmatch, parts))


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", fold(text))


def _parts(identity: frozenset[str]) -> tuple[frozenset[str], frozenset[str]]:
    """Words that go, and what goes as a whole, without what stands between its letters and digits."""
    single, whole = set(), set()
    for entry in identity:
        words = _words(entry)
        if len(words) == 1:
            single.add(words[0])
        else:
            single.update(word for word in words if len(word) > 2)
        joined = "".join(words)
        if len(words) > 1 or not joined.isalpha():
            whole.add(joined)
    return frozenset(single), frozenset(phrase for phrase in whole if len(phrase) > 2)


def _drop_phrases(tokens: list[_Token], phrases: frozenset[str]) -> None:
    """Tokens that together are an ID or a name go."""
    if not phrases:
        return
    longest = max(map(len, phrases))
    plain = ["".join(filter(str.isalnum, token.folded)) for token in tokens]
    for first in range(len(tokens)):
        joined = ""
        for last in range(first, len(tokens)):
            joined += plain[last]
            if len(joined) > longest or not plain[last]:
                break
            if joined in phrases:
                for token in tokens[first : last + 1]:
                    token.fate = _GONE


def _drop_numbers(tokens: list[_Token]) -> None:
    """Numbers alone go with their neighbours; a number too long, or with a unit that is gone, is gone as well."""
    count = len(tokens)
    followed = [at + 1 < count and tokens[at + 1].fate == _ADDITION for at in range(count)]
    bare = [token.fate == _BARE and not followed[at] for at, token in enumerate(tokens)]
    lost = [token.fate == _GONE or token.folded in _MONTHS for token in tokens]
    for at, token in enumerate(tokens):
        near = [other for other in (at - 1, at + 1) if 0 <= other < count]
        if token.fate == _BARE:
            digits = token.folded.rstrip("stndrh")
            if followed[at]:
                token.fate = _KEPT if _PLAIN.fullmatch(digits) or _RANGE.fullmatch(digits) else _GONE
            elif not _PLAIN.fullmatch(digits) or _DAY_AND_MONTH.fullmatch(digits):
                token.fate = _GONE
            else:
                token.fate = _GONE if any(bare[other] or lost[other] for other in near) else _KEPT
        elif token.fate == _ADDITION:
            token.fate = _KEPT if tokens[at - 1].fate == _KEPT else _GONE
        elif token.folded in _MONTHS and any(tokens[other].folded[:1].isdigit() for other in near):
            token.fate = _GONE


def _joined(text: str, tokens: list[_Token]) -> str:
    """The tokens that stay, with what stood between those that stood together."""
    opening = text[: tokens[0].start].strip() if tokens and tokens[0].fate != _GONE else ""
    out = [opening] if opening in _OPENING else []
    before = -1
    for at, token in enumerate(tokens):
        if token.fate == _GONE:
            continue
        if before >= 0:
            between = text[tokens[before].end : token.start] if before == at - 1 else ""
            if before != at - 1:
                out.append(_sign(text, tokens[before].end) + " ")
            else:
                out.append(between if not between or _SEPARATOR.fullmatch(between) else " ")
        out.append(text[token.start : token.end])
        before = at
    if before >= 0:
        rest = text[tokens[before].end :].rstrip()
        out.append(rest if before == len(tokens) - 1 and rest in _CLOSING else _sign(text, tokens[before].end))
    return _balanced("".join(out)).strip()


_OPENING = frozenset({"(", "[", "<"})
_CLOSING = frozenset({")", "]", ">", ".", "%)", "*)"})


def _sign(text: str, at: int) -> str:
    return text[at] if at < len(text) and text[at] in _SIGNS else ""


def _balanced(text: str) -> str:
    """Without brackets whose partner is gone."""
    for opening, closing in ("()", "[]", "<>", "{}"):
        if text.count(opening) != text.count(closing):
            text = " ".join(text.replace(opening, " ").replace(closing, " ").split(" "))
    return text
