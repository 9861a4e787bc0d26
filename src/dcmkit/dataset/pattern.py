"""Headers that look like one seen before: objects of a series have the same elements, at most with other lengths.

A `Pattern` is the outline of a header as the scanner walked it: runs of bytes in which every element header must be
what it was, compared at once as one long number under a mask, and between them single elements whose length changes
from object to object. Where a pattern matches, the walk of the scanner is known without being made again, and the
values wanted lie where the pattern says; the scanner goes on behind it. Where none does, nothing is lost but a
microsecond. `benchmarks/index_keys.py` shows what it brings.

Only the scanner's own walk makes patterns (`learn`), so the two cannot disagree; a property test holds them equal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

PATTERNS = 6
"""Patterns kept for one set of wanted tags, the one that matched last first."""
_FIRST_INTERVAL, _LAST_INTERVAL = 4, 512
"""Headers that did not match between two attempts to learn: where it does not pay, the attempts become rare."""
_WORTH = 4
"""Matches for each header that did not, from which on learning pays: it costs as much as ten walks."""
_MOST_CHANGING = 40
"""Elements of changing length beyond which a pattern ends: comparing runs must stay cheaper than walking."""

Value = tuple[int, int, int]
"""Tag, and start and end of its value in a run."""


class Element(NamedTuple):
    """One element at the top level of a header that was walked.

    Attributes:
        start, value, end: where its header, its value and the next element begin.
        head: what must stay the same: tag and VR.
        tag: its tag where its value is wanted, else 0.
        plain: an explicit VR with a 16-bit length: its length may change.
    """

    start: int
    value: int
    end: int
    head: bytes
    tag: int
    plain: bool


class Outline(NamedTuple):
    """A header as it was walked.

    Attributes:
        window: the bytes.
        elements: at the top level, up to the pixel data.
        spans: start and length of everything that was looked at, nested headers included.
    """

    window: bytes
    elements: list[Element]
    spans: list[tuple[int, int]]


class Run(NamedTuple):
    """Bytes whose structure is fixed, and after them one element of changing length (`head` is empty for none)."""

    length: int
    expected: int
    mask: int
    values: tuple[Value, ...]
    head: bytes
    tag: int


class Match(NamedTuple):
    """What a pattern says of a header.

    Attributes:
        values: the raw values wanted, by tag.
        position: where the pattern ends.
        last: the four bytes of the tag of the last element before that.
    """

    values: dict[int, bytes]
    position: int
    last: bytes


class Pattern:
    """How headers of one kind are laid out."""

    __slots__ = ("_changing", "_last", "_lengths", "_sequence", "runs")

    def __init__(self, outline: Outline, before: Pattern | None = None) -> None:
        self._sequence = [element.head for element in outline.elements]
        self._lengths = [element.end - element.start for element in outline.elements]
        self._changing: set[int] = set()
        if before is not None:
            pairs = zip(self._lengths, before._lengths, strict=True)
            self._changing = before._changing | {number for number, (now, then) in enumerate(pairs) if now != then}
        self._last = b""
        self.runs = tuple(self._make_runs(outline))

    def is_like(self, outline: Outline) -> bool:
        """Whether `outline` has the same elements."""
        return self._sequence == [element.head for element in outline.elements]

    def _make_runs(self, outline: Outline) -> list[Run]:
        runs: list[Run] = []
        at = 0
        fixed: list[Element] = []
        for number, element in enumerate(outline.elements):
            if number in self._changing and (not element.plain or len(runs) == _MOST_CHANGING):
                break
            self._last = element.head[:4]
            if number not in self._changing:
                fixed.append(element)
                continue
            runs.append(_run(outline, at, element.start, fixed, element.head, element.tag))
            at, fixed = element.end, []
        end = fixed[-1].end if fixed else at
        runs.append(_run(outline, at, end, fixed, b"", 0))
        return runs

    def match(self, window: bytes, limit: int) -> Match | None:
        """What the pattern says of `window`, or None where it does not match.

        Args:
            limit: the longest value kept, in bytes.
        """
        values: dict[int, bytes] = {}
        position = 0
        number = int.from_bytes
        for length, expected, mask, wanted, head, tag in self.runs:
            end = position + length
            if (number(window[position:end], "little") ^ expected) & mask:
                return None
            for value_tag, start, stop in wanted:
                values[value_tag] = window[position + start : position + stop]
            position = end
            if head:
                start = end + 8
                if window[end : end + 6] != head or start > len(window):
                    return None
                position = start + (window[end + 6] | window[end + 7] << 8)
                if tag and position - start <= limit:
                    values[tag] = window[start:position]
        return Match(values, position, self._last) if position <= len(window) else None


def _run(outline: Outline, start: int, end: int, fixed: list[Element], head: bytes, tag: int) -> Run:
    mask = bytearray(end - start)
    for at, length in outline.spans:
        if start <= at < end:
            mask[at - start : at - start + length] = b"\xff" * length
    bits = int.from_bytes(mask[: end - start], "little")
    expected = int.from_bytes(outline.window[start:end], "little") & bits
    values = tuple((each.tag, each.value - start, each.end - start) for each in fixed if each.tag)
    return Run(end - start, expected, bits, values, head, tag)


class Patterns:
    """The patterns for one set of wanted tags, learnt from what comes by. May be used by several threads.

    Args:
        walk: makes the outline of a header, or None where it is unusual.
        limit: the longest value kept, in bytes.
    """

    __slots__ = ("_hits", "_interval", "_limit", "_patterns", "_until_next", "_walk")

    def __init__(self, walk: Callable[[bytes], Outline | None], limit: int) -> None:
        self._walk = walk
        self._limit = limit
        self._patterns: tuple[Pattern, ...] = ()
        self._interval = self._until_next = _FIRST_INTERVAL
        self._hits = 0

    def match(self, window: bytes) -> Match | None:
        """As `Pattern.match`, with the first pattern that does."""
        patterns = self._patterns
        for pattern in patterns:
            found = pattern.match(window, self._limit)
            if found is not None:
                if pattern is not patterns[0]:
                    self._patterns = (pattern, *(other for other in patterns if other is not pattern))
                self._hits += 1
                return found
        self._until_next -= 1
        if self._until_next <= 0:
            self._learn(window)
        return None

    def _learn(self, window: bytes) -> None:
        paid = self._hits > _WORTH * self._interval
        self._interval = _FIRST_INTERVAL if paid else min(self._interval * 2, _LAST_INTERVAL)
        self._until_next, self._hits = self._interval, 0
        outline = self._walk(window)
        if outline is None:
            return
        like = next((pattern for pattern in self._patterns if pattern.is_like(outline)), None)
        others = tuple(pattern for pattern in self._patterns if pattern is not like)
        self._patterns = (Pattern(outline, like), *others)[:PATTERNS]
