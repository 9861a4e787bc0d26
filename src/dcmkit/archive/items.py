"""Keys within one sequence match within one and the same item (PS3.4 C.2.2.2.6).

The index has a column for each attribute of a sequence, with the values of all items joined by backslashes: the n-th
of each belongs to the n-th item. What matches one column alone SQL says (`matching.py`); what matches one item is asked
of `same_item`, a function SQL calls.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache

from dcmkit.archive.attributes import BY_KEYWORD
from dcmkit.archive.matching import EMPTY, VALUE_LIMIT

Column = str | int | None
Keys = tuple[str, ...]
"""One matching value for each attribute; "" matches all."""


def keys_of(match: Mapping[str, str | Sequence[str]]) -> dict[int, dict[str, str]]:
    """The matching values among `match` that are in sequences: sequence to keyword to value."""
    found: dict[int, dict[str, str]] = {}
    for keyword, value in match.items():
        attribute = BY_KEYWORD.get(keyword)
        if attribute is not None and attribute.sequence:
            text = (value if isinstance(value, str) else "\\".join(value)).strip(" \0")
            if text.replace("*", ""):
                found.setdefault(attribute.sequence, {})[keyword] = text
    return found


def needs_items(keys: Mapping[str, str]) -> bool:
    """Whether the columns, each by itself, do not say enough: several keys, or a wild card that may span items."""
    return len(keys) > 1 or any("*" in value or "?" in value for value in keys.values())


def same_item(keys: str, *columns: Column) -> bool:
    """Whether an item matches all of `keys`, which are in JSON, in the order of the columns."""
    found = matching_items(_read(keys), columns)
    return found is None or bool(found)


def matching_items(keys: Keys, columns: Sequence[Column]) -> list[int] | None:
    """The numbers of the items that match all keys, from 0.

    None where that cannot be told, and each key matches an item: indexes were made that leave the place of an empty
    value out.
    """
    values = [str(column).split("\\") if column else None for column in columns]
    lengths = {len(each) for each in values if each is not None}
    if not lengths:
        return []
    matchers = [_alternatives(key) for key in keys]
    if len(lengths) > 1:
        everywhere = all(
            any(_matches(wanted, value) for value in each or [""])
            for wanted, each in zip(matchers, values, strict=True)
        )
        return None if everywhere else []
    return [
        number
        for number in range(lengths.pop())
        if all(_matches(wanted, each[number] if each else "") for wanted, each in zip(matchers, values, strict=True))
    ]


def with_matching_items(row: Sequence[Column], places: Sequence[int], keys: Keys) -> Sequence[Column]:
    """`row`, whose columns at `places` are those of a sequence, without the items that do not match."""
    numbers = matching_items(keys, [row[place] for place in places])
    if numbers is None:
        return row
    found = list(row)
    for place in places:
        if found[place]:
            values = str(found[place]).split("\\")
            found[place] = "\\".join([values[number] for number in numbers])
    return found


@lru_cache(maxsize=64)
def _read(keys: str) -> Keys:
    return tuple(json.loads(keys))


@lru_cache(maxsize=256)
def _alternatives(key: str) -> tuple[str, ...]:
    """What an item may have; nothing where anything will do."""
    if not key.strip(" \0").replace("*", ""):
        return ()
    if key == EMPTY:
        return ("",)
    return tuple(value for value in (part.strip(" \0")[:VALUE_LIMIT] for part in key.split("\\")) if value)


def _matches(wanted: tuple[str, ...], value: str) -> bool:
    return not wanted or any(_fits(pattern, value) for pattern in wanted)


def _fits(pattern: str, value: str) -> bool:
    """Wild card matching (C.2.2.2.4), in steps no more than pattern times value."""
    if "*" not in pattern and "?" not in pattern:
        return pattern == value
    at = place = 0
    star, resumed = -1, 0
    while at < len(value):
        if place < len(pattern) and pattern[place] == "*":
            star, resumed = place, at
            place += 1
        elif place < len(pattern) and pattern[place] in ("?", value[at]):
            place, at = place + 1, at + 1
        elif star >= 0:
            resumed += 1
            place, at = star + 1, resumed
        else:
            return False
    return not pattern[place:].strip("*")
