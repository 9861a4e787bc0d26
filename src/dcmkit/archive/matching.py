"""One matching key to one SQL condition (PS3.4 C.2.2.2).

Every value goes to the database as a parameter; nothing a peer says becomes SQL. Work is bounded: runs of `*` are one.
What an index of SQLite can answer is written as a comparison or a range, never as LIKE alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import NamedTuple

from dcmkit.archive.sounding import shape
from dcmkit.dataset.values import fold

WILD_CARD_VRS = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})
RANGE_VRS = frozenset({"DA", "TM", "DT"})
INTEGER_VRS = frozenset({"IS", "US", "SS", "UL", "SL"})
VALUE_LIMIT = 1024
"""A matching value longer than this, stars aside, matches nothing; of several values each."""
PATTERNS_LIMIT = 256
"""More wild cards and ranges than these in one key match nothing: each is a condition of its own."""
_MARKS_LIMIT = 64
"""Values of a list that are parameters of their own; a longer list is one parameter."""
EMPTY = '""'
"""Empty value matching (PS3.4 C.2.2.2.7): two quotation marks match what has no value."""

ONE, SOME, RANGE, SCAN = range(4)
"""How a condition can be answered from an index on its column: one value, a few or a prefix, an open range, not."""

_STARS = re.compile(r"\*+")
_UTC_OFFSET = re.compile(r"[+-]\d{4}$")
_AFTER_DIGITS = ":"
"""Sorts after every digit and point: `value < "10:"` is every time in the hour 10 and before."""
_OPTIONAL_TAIL = re.compile(r"[\^*]*\^\*$")
_WORDS = re.compile(r"[\s^=\\,]+")
_WORDS_LIMIT = 16

Parameter = str | int | float


class Condition(NamedTuple):
    """A piece of a WHERE clause, its parameters, and how an index on its column can answer it."""

    sql: str
    parameters: tuple[Parameter, ...] = ()
    access: int = SCAN


NOTHING = Condition("1 = 0")


def condition(
    column: str, vr: str, value: str | Sequence[str], *, multiple: bool = False, fuzzy: bool = False
) -> Condition | None:
    """What `column` must be for `value` to match; None where everything matches (universal matching).

    Args:
        column: of an SQL table; for a person name it holds the folded form.
        value: several are joined by backslashes, or come as a sequence. Of UIDs, and of an attribute with one value,
            one must match; of an attribute with several values all must (C.2.2.2.8).
        multiple: the column holds several values joined by backslashes.
        fuzzy: a person name matches when each word of `value` begins a word of it, or sounds like one, in any order
            (C.2.2.2.1.1).
    """
    text = (value if isinstance(value, str) else "\\".join(value)).strip(" \0")
    if not text.replace("*", ""):
        return None
    if text == EMPTY:
        return Condition(f"({column} IS NULL OR {column} = '')" if vr not in INTEGER_VRS else f"{column} IS NULL")
    if len(text) > VALUE_LIMIT:
        text = _STARS.sub("*", text)
    if vr in ("LT", "ST", "UT", "UR") or (vr == "PN" and fuzzy):  # one value, backslashes and all
        if len(text) > VALUE_LIMIT:
            return NOTHING
        return _fuzzy(column, text) if vr == "PN" else _text(column, text, False)
    values = [part for part in (part.strip(" \0") for part in text.split("\\")) if part]
    if vr == "UI":
        return _uids(column, values, multiple)
    plain: list[str] = []
    if len(values) > 1 and not multiple and vr in WILD_CARD_VRS and vr != "PN":
        plain = [text, *(value for value in values if "*" not in value and "?" not in value)]
        values = [value for value in values if "*" in value or "?" in value]
    if len(values) > PATTERNS_LIMIT or any(len(value) > VALUE_LIMIT for value in values):
        return NOTHING
    found = [_single(column, vr, part, multiple) for part in values]
    conditions = [each for each in found if each is not None]
    if len(conditions) < len(found) and not multiple:
        return None
    if plain:  # the text as a whole has a backslash where there should be none
        conditions.append(_among(column, plain))
    return (_all if multiple else _any)(conditions) if conditions else (None if found else NOTHING)


def _single(column: str, vr: str, value: str, multiple: bool) -> Condition | None:
    if not value.replace("*", ""):
        return None
    if vr in RANGE_VRS:
        return _between(column, value, vr) if is_range(value, vr) else _moment(column, value, vr)
    if vr in INTEGER_VRS:
        return _integer(column, value)
    if vr == "DS":
        return _decimal(column, value)
    if vr == "PN":
        return _name(column, fold(value), multiple)
    return _text(column, value, multiple, wild=vr in WILD_CARD_VRS)


def _uids(column: str, values: list[str], multiple: bool) -> Condition:
    """List of UID matching (C.2.2.2.2); a list of one is single value matching."""
    if not multiple:
        return _among(column, values) if values else NOTHING
    if len(values) <= _MARKS_LIMIT:
        return _any([_text(column, value, True, wild=False) for value in values])
    one = rf"instr('\' || {column} || '\', '\' || value || '\') > 0"
    return Condition(f"EXISTS (SELECT 1 FROM json_each(?) WHERE {one})", (json.dumps(values),))  # noqa: S608


def _among(column: str, values: list[str]) -> Condition:
    """One of `values`, however many they are."""
    if len(values) == 1:
        return Condition(f"{column} = ?", (values[0],), ONE)
    if len(values) > _MARKS_LIMIT:
        return Condition(f"{column} IN (SELECT value FROM json_each(?))", (json.dumps(values),), SOME)  # noqa: S608
    return Condition(f"{column} IN ({', '.join('?' * len(values))})", tuple(values), SOME)


# --- dates and times -------------------------------------------------------------------------------------------------


def is_range(value: str, vr: str) -> bool:
    """Whether `value` asks for range matching (C.2.2.2.5)."""
    if vr == "DT":  # 20240101120000-0500 is a moment with its offset, not a range
        return "-" in _UTC_OFFSET.sub("", value) or value.endswith("-")
    return "-" in value


def ends(value: str, vr: str) -> tuple[str, str]:
    """The two ends of a range; offsets from UTC are left out (they are compared as local times)."""
    if vr == "DT":
        parts = re.match(r"([^+-]*)(?:[+-]\d{4}(?=-))?-(.*)$", value, re.DOTALL)
        low, high = (parts[1], _UTC_OFFSET.sub("", parts[2])) if parts else (value, value)
    else:
        low, _, high = value.partition("-")
    return _plain(low, vr), _plain(high, vr)


def _plain(value: str, vr: str) -> str:
    """Without the separators of ACR-NEMA 2.0 (PS3.5 6.2, DA and TM)."""
    value = value.strip(" ")
    return value.replace("." if vr == "DA" else ":", "") if vr != "DT" else value


def _between(column: str, value: str, vr: str) -> Condition:
    low, high = ends(value, vr)
    if low and high:
        return Condition(f"({column} >= ? AND {column} < ?)", (low, high + _AFTER_DIGITS), SOME)
    if low:
        return Condition(f"{column} >= ?", (low,), RANGE)
    if high:
        return Condition(f"{column} < ?", (high + _AFTER_DIGITS,), RANGE)
    return Condition(f"{column} IS NOT NULL")


def combined(date_column: str, dates: str, time_column: str, times: str) -> Condition | None:
    """A date and a time matched as one, where both are ranges of the same form; else None (C.2.2.2.5.5)."""
    if not (is_range(dates, "DA") and is_range(times, "TM")):
        return None
    (first, last), (begin, end) = ends(dates, "DA"), ends(times, "TM")
    if bool(first) != bool(begin) or bool(last) != bool(end) or not (first or last):
        return None
    time = f"COALESCE({time_column}, '')"
    parts: list[Condition] = []
    if first:
        sql = f"({date_column} >= ? AND ({date_column} > ? OR {time} >= ?))"
        parts.append(Condition(sql, (first, first, begin), RANGE))
    if last:
        sql = f"({date_column} <= ? AND ({date_column} < ? OR {time} < ?))"
        parts.append(Condition(sql, (last, last, end + _AFTER_DIGITS), RANGE))
    joined = _all(parts)
    return joined._replace(access=SOME if len(parts) == 2 else RANGE)


def _moment(column: str, value: str, vr: str) -> Condition:
    """One date or time: what it leaves out may be anything, and zeros it adds may be left out."""
    value = _plain(value, vr)
    if vr == "DA" or "+" in value or "-" in value:
        return Condition(f"{column} = ?", (value,), ONE)
    whole, point, fraction = value.partition(".")
    fraction = fraction.rstrip("0")
    shorter = [value]
    if point:
        exact = f"{whole}.{fraction}"
        within = f"({column} >= ? AND {column} < ? AND RTRIM({column}, '0') = ?)"
        last = Condition(within, (exact, exact + _AFTER_DIGITS, exact))
        shorter.append(exact if fraction else whole)
    else:
        last = Condition(f"({column} >= ? AND {column} < ?)", (value, value + _AFTER_DIGITS))
    least = 2 if vr == "TM" else 8
    while not fraction and len(whole) > least and whole.endswith("00"):
        whole = whole[:-2]
        shorter.append(whole)
    found = _any([*(Condition(f"{column} = ?", (each,)) for each in dict.fromkeys(shorter)), last])
    return found._replace(access=SOME)


# --- numbers ---------------------------------------------------------------------------------------------------------


def _integer(column: str, value: str) -> Condition:
    try:
        number = int(value)
    except ValueError:
        try:
            number = int(float(value)) if float(value).is_integer() else 1 << 63
        except (ValueError, OverflowError):
            return NOTHING
    return Condition(f"{column} = ?", (number,), ONE) if abs(number) < 1 << 63 else NOTHING


def _decimal(column: str, value: str) -> Condition:
    """A number, however it is written."""
    exact = Condition(f"{column} = ?", (value,))
    try:
        number = float(value)
    except ValueError:
        return exact
    if number != number or abs(number) == float("inf"):
        return exact
    return _any([exact, Condition(f"({column} <> '' AND CAST({column} AS REAL) = ?)", (number,))])


# --- text ------------------------------------------------------------------------------------------------------------


def _text(column: str, value: str, multiple: bool, *, wild: bool = True) -> Condition:
    """Single value or wild card matching, case sensitive (C.2.2.2.1, C.2.2.2.4)."""
    pattern = _pattern(value) if wild else _escaped(value)
    if multiple:
        return Condition(rf"'\' || {column} || '\' LIKE ? ESCAPE '\'", (rf"%\\{pattern}\\%",))
    if not wild or ("*" not in value and "?" not in value):
        return Condition(f"{column} = ?", (value,), ONE)
    return _wild(column, value, pattern)


def _wild(column: str, value: str, pattern: str) -> Condition:
    """Wild cards: a range of the index where the value begins with text, and LIKE for what the range does not say."""
    prefix = re.split(r"[*?]", value, maxsplit=1)[0]
    like = Condition(rf"{column} LIKE ? ESCAPE '\'", (pattern,))
    upper = _after(prefix)
    if not upper:
        return like
    within = Condition(f"({column} >= ? AND {column} < ?)", (prefix, upper), SOME)
    return within if value.rstrip("*") == prefix else _all([within, like])._replace(access=SOME)


def _after(prefix: str) -> str:
    """The least text above all that begin with `prefix`, in order of code points; "" where there is none."""
    while prefix:
        last = ord(prefix[-1]) + 1
        if last < 0x110000:
            return prefix[:-1] + chr(0xE000 if 0xD800 <= last < 0xE000 else last)
        prefix = prefix[:-1]
    return ""


def _name(column: str, value: str, multiple: bool) -> Condition | None:
    """A person name: whole, or one of its component groups (PS3.5 6.2.1), without regard to case and accents."""
    if not value:
        return NOTHING
    forms = [value]
    tail = _OPTIONAL_TAIL.search(value)
    if tail and tail.start():
        forms.append(value[: tail.start()])  # SMITH^* is a SMITH without given name, too
    patterns = [_pattern(form) for form in forms]
    groups = [
        Condition(rf"'\' || {column} || '\' LIKE ? ESCAPE '\'", (f"%{left}{pattern}{right}%",))
        for pattern in patterns
        for left in ((r"\\", "=") if multiple else ("=",))
        for right in (r"\\", "=")
    ]
    if multiple:
        return _any(groups)
    whole = _any([_first_group(column, form, pattern) for form, pattern in zip(forms, patterns, strict=True)])
    if len(forms) > 1:  # one range of the index for both
        stem = forms[1]
        prefix = re.split(r"[*?]", stem, maxsplit=1)[0]
        upper = stem + "_" if stem == prefix else _after(prefix)
        if upper:
            whole = _all([Condition(f"({column} >= ? AND {column} < ?)", (prefix, upper)), whole])
    if value.isascii() or "=" in value:  # ideographic and phonetic groups have other letters
        return whole._replace(access=SOME if all(form[:1] not in "*?" for form in forms) else SCAN)
    return _any([whole, _all([Condition(f"{column} LIKE '%=%'"), _any(groups)])])


def _first_group(column: str, value: str, pattern: str) -> Condition:
    if value.endswith("*"):
        return _wild(column, value, pattern)
    if "*" not in value and "?" not in value:
        sql = f"({column} >= ? AND {column} < ? AND ({column} = ? OR {column} >= ?))"
        return Condition(sql, (value, value + ">", value, value + "="))
    likes = _any([Condition(rf"{column} LIKE ? ESCAPE '\'", (form,)) for form in (pattern, pattern + "=%")])
    prefix = re.split(r"[*?]", value, maxsplit=1)[0]
    if not prefix:
        return likes
    return _all([Condition(f"({column} >= ? AND {column} < ?)", (prefix, _after(prefix))), likes])


def _fuzzy(column: str, value: str) -> Condition | None:
    """Each word begins a word of the name, or sounds like one, wherever it stands."""
    written = [word for word in dict.fromkeys(_WORDS.split(fold(value))) if word.strip("*")][:_WORDS_LIMIT]
    if not written:
        return None
    words = [word.rstrip("*") for word in written]
    name = rf"REPLACE(REPLACE(REPLACE('^' || {column}, ' ', '^'), '=', '^'), '\', '^')"
    anywhere = [Condition(rf"{column} LIKE ? ESCAPE '\'", (f"%{_pattern(word)}%",)) for word in words]
    begun = [Condition(rf"{name} LIKE ? ESCAPE '\'", (f"%^{_pattern(word)}%",)) for word in words]
    alike = [_alike(column, word) for word in written]
    if alike.count(None) == len(alike):
        return _all([*anywhere, *begun])  # the first are quick, and leave few names to the others
    each = [
        _all([held, first]) if sounding is None else _any([_all([held, first]), sounding])
        for held, first, sounding in zip(anywhere, begun, alike, strict=True)
    ]
    return _all(each)


def _alike(column: str, word: str) -> Condition | None:
    """A word that sounds like `word`, which has no wild card: those whose letters allow it are listened to."""
    pattern = shape(word)
    if not pattern:
        return None
    return Condition(f"(' ' || {column} GLOB ? AND sounds_like(?, {column}))", (pattern, word))


def _pattern(value: str) -> str:
    """DICOM's wild cards as LIKE's."""
    return _escaped(_STARS.sub("*", value)).replace("*", "%").replace("?", "_")


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _any(parts: list[Condition]) -> Condition:
    return _joined(parts, " OR ", SCAN if any(part.access == SCAN for part in parts) else SOME)


def _all(parts: list[Condition]) -> Condition:
    return _joined(parts, " AND ", min((part.access for part in parts), default=SCAN))


def _joined(parts: list[Condition], word: str, access: int) -> Condition:
    if not parts:
        return NOTHING
    if len(parts) == 1:
        return parts[0]
    parameters = tuple(parameter for part in parts for parameter in part.parameters)
    return Condition("(" + word.join(part.sql for part in parts) + ")", parameters, access)
