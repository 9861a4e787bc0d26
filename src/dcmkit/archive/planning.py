"""From matching keys to SQL: which table to begin with, and what to look up from there.

SQLite knows nothing of an archive's statistics, so the order of tables is decided here (CROSS JOIN keeps it): begin
with the key that leaves the fewest rows, by the rank of its column's index, and go to the level asked for from there.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from dcmkit.archive.attributes import BY_KEYWORD, INSTANCE, LEVELS, PATIENT, SERIES, STUDY
from dcmkit.archive.items import keys_of, needs_items, same_item
from dcmkit.archive.matching import EMPTY, NOTHING, RANGE, SCAN, Condition, Parameter, combined, condition
from dcmkit.archive.moments import (
    DATE_TIMES,
    DATES,
    PAIRS,
    Zones,
    names_zone,
    same_combined,
    same_date_time,
    same_moment,
    widened,
)
from dcmkit.archive.sounding import sounds_like
from dcmkit.errors import UsageError

FUNCTIONS = (same_item, same_moment, same_combined, same_date_time, sounds_like)
"""What SQL calls by its name."""

FILE_COLUMNS = {
    "TransferSyntaxUID": ("i.transfer_syntax_uid", "UI"),
    "SourceApplicationEntityTitle": ("i.source_ae_title", "AE"),
    "FileSize": ("i.size", "UL"),
    "Received": ("i.received", "UL"),
    "DataSetOffset": ("i.data_set_offset", "UL"),
    "Digest": ("i.digest", "LO"),
    "Copy": ("i.copy", "UL"),
    "Directory": ("d.path", "UT"),
    "FileName": ("i.name", "UT"),
}
"""What the index knows of a file beyond its attributes, by the name a query uses."""

LAST_RECEIVED = "LastReceived"
"""When a study last got something, in seconds since 1970; matched by ranges."""
LAST_RECEIVED_COLUMN = "(SELECT u.received FROM usage u WHERE u.study = s.id)"

_COLLECTED = {
    "ModalitiesInStudy": ("CS", "m.Modality", "series m"),
    "SOPClassesInStudy": ("UI", "n.SOPClassUID", "series m CROSS JOIN instance n ON n.series = m.id"),
}
"""Attributes of a study that are collected from what is in it (PS3.4 C.3.4): VR, column, and where that is."""

ALIAS = {PATIENT: "p", STUDY: "s", SERIES: "e", INSTANCE: "i"}
_PARENT = {STUDY: "s.patient", SERIES: "e.study", INSTANCE: "i.series"}
_ORDER = {
    PATIENT: "p.PatientName_folded, p.PatientID, p.id",
    STUDY: "s.StudyDate, s.StudyTime, s.id",
    SERIES: "e.study, e.SeriesNumber, e.id",
    INSTANCE: "i.series, i.InstanceNumber, i.id",
}

_RANKS = {
    "SOPInstanceUID": 0,
    "SeriesInstanceUID": 1,
    "StudyInstanceUID": 2,
    "AccessionNumber": 3,
    "PatientID": 4,
    "PatientName": 5,
    "StudyDate": 6,
    "Modality": 50,
}
"""The attributes that have an index, those with the fewest rows for a value first."""
_NAMES = 900
"""A name that must be looked for among all names: there are fewer patients than studies."""
_LAST = 1000
"""What no index helps with."""


class _Key(NamedTuple):
    """One condition on one level.

    Attributes:
        rank: orders by how few rows it is likely to leave, the best first; _LAST cannot lead.
        leading: the condition in the form that serves when this key leads, where that is another one.
    """

    level: int
    condition: Condition
    rank: int = _LAST
    leading: Condition | None = None

    @property
    def leads(self) -> bool:
        return self.rank < _LAST

    def as_leader(self) -> _Key:
        return self if self.leading is None else self._replace(condition=self.leading)


class Plan(NamedTuple):
    """What comes after SELECT ... and before ORDER BY, with its parameters; `order` is the level's natural one."""

    source: str
    parameters: tuple[Parameter, ...]
    order: str


def is_key(keyword: str, extra: Collection[str] = ()) -> bool:
    """Whether a query may match by `keyword`."""
    if keyword == "SpecificCharacterSet":  # never matched (PS3.4 C.2.2.2)
        return False
    return (
        keyword in BY_KEYWORD
        or (keyword in FILE_COLUMNS and keyword != "Directory")
        or keyword in _COLLECTED
        or keyword == LAST_RECEIVED
        or keyword in extra
    )


def plan(
    level: str,
    match: Mapping[str, str | Sequence[str]],
    extra: Collection[str],
    *,
    fuzzy: bool = False,
    combine: bool = False,
    copies: bool = False,
    zones: Zones | None = None,
) -> Plan:
    """How to find the rows of `level` that match. Raises: UsageError for a keyword that is no key."""
    target = LEVELS.index(level)
    keys = _keys(match, extra, fuzzy, combine, zones or Zones(""))
    here = [key for key in keys if key.level <= target]
    below = [key for key in keys if key.level > target]
    if level == INSTANCE and not copies:
        here.append(_Key(target, Condition("i.copy = 0")))
    leader = min((key for key in keys if key.leads), key=lambda key: key.rank, default=None)
    if leader is not None:
        here = [key.as_leader() if key is leader else key for key in here]
        below = [key.as_leader() if key is leader else key for key in below]
        if leader.level > target:
            return _from_below(target, leader, here, below)
    conditions = [key.condition for key in here]
    if below:
        conditions.append(_exists(target, below))
    start = target if leader is None else leader.level
    highest = min((key.level for key in here), default=target)
    tables = _tables(start, target, min(highest, target))
    where = _all(conditions)
    return Plan(f"{tables} WHERE {where.sql}", where.parameters, _ORDER[level])


def ordered_by(level: str, keys: Sequence[str]) -> str:
    """What comes after ORDER BY for keywords, `-` before those whose highest values come first.

    A study is told by date and time, so what begins with these alone comes from their index; its last key is the row.

    Raises:
        UsageError: one is no attribute of the level or one above.
    """
    parts: list[str] = []
    target = LEVELS.index(level)
    for key in keys:
        keyword = key.lstrip("-")
        attribute = BY_KEYWORD.get(keyword)
        if attribute is None or LEVELS.index(attribute.level) > target:
            raise UsageError(
                f"rows of {level} level cannot be ordered by {keyword!r}", hint="it is no key of that level"
            )
        alias = ALIAS[attribute.level]
        column = f"{alias}.{keyword}{'_folded' if attribute.is_name else ''}"
        if attribute.level != level:
            above = LEVELS.index(attribute.level)
            tables = _tables(target - 1, target - 1, above)
            link = f"{ALIAS[LEVELS[target - 1]]}.id = {_PARENT[level]}"
            column = f"(SELECT {column} FROM {tables} WHERE {link})"  # noqa: S608
        parts.append(column + (" DESC" if key.startswith("-") else ""))
    last = f"{ALIAS[level]}.id" + (" DESC" if keys and keys[-1].startswith("-") else "")
    return ", ".join([*parts, last])


def _from_below(target: int, leader: _Key, here: list[_Key], below: list[_Key]) -> Plan:
    """Begin with what is below: few rows there, each leading to one of the level."""
    lowest = max(key.level for key in below)
    inner = _tables(leader.level, lowest, target + 1)
    conditions = _all([key.condition for key in below])
    parent = _PARENT[LEVELS[target + 1]]
    outer = _all([key.condition for key in here])
    tables = _tables(target, target, min((key.level for key in here), default=target), first=False)
    alias = ALIAS[LEVELS[target]]
    source = (
        f"(SELECT DISTINCT {parent} AS id FROM {inner} WHERE {conditions.sql}) AS found"  # noqa: S608
        f" CROSS JOIN {LEVELS[target]} {alias} ON {alias}.id = found.id{tables} WHERE {outer.sql}"
    )
    return Plan(source, conditions.parameters + outer.parameters, _ORDER[LEVELS[target]])


def _tables(start: int, lowest: int, highest: int, *, first: bool = True) -> str:
    """The tables from `start` down to `lowest`, then from above `start` up to `highest`."""
    joined = [f"{LEVELS[start]} {ALIAS[LEVELS[start]]}"] if first else [""]
    for level in LEVELS[start + 1 : lowest + 1]:
        joined.append(f"{level} {ALIAS[level]} ON {_PARENT[level]} = {ALIAS[LEVELS[LEVELS.index(level) - 1]]}.id")
    for number in range(start - 1, highest - 1, -1):
        alias = ALIAS[LEVELS[number]]
        joined.append(f"{LEVELS[number]} {alias} ON {alias}.id = {_PARENT[LEVELS[number + 1]]}")
    return " CROSS JOIN ".join(joined)


def _exists(target: int, below: list[_Key]) -> Condition:
    """All keys below the level together describe one thing below."""
    lowest = max(key.level for key in below)
    link = f"{_PARENT[LEVELS[target + 1]]} = {ALIAS[LEVELS[target]]}.id"
    inner = _all([Condition(link), *(key.condition for key in below)])
    return Condition(
        f"EXISTS (SELECT 1 FROM {_tables(target + 1, lowest, target + 1)} WHERE {inner.sql})",  # noqa: S608
        inner.parameters,
    )


# --- keys ------------------------------------------------------------------------------------------------------------


def _keys(
    match: Mapping[str, str | Sequence[str]], extra: Collection[str], fuzzy: bool, combine: bool, zones: Zones
) -> list[_Key]:
    found, paired = _zoned(match, zones, combine)
    if combine and not zones.asked:
        more, both = _pairs(match)
        found, paired = found + more, paired | both
    sequences = [keys for keys in keys_of(match).values() if needs_items(keys)]
    paired |= {keyword for keys in sequences for keyword, value in keys.items() if value == EMPTY}
    for keyword, value in sorted(match.items(), key=_is_name) if fuzzy else match.items():
        if keyword not in paired:
            if not is_key(keyword, extra):
                raise UsageError(f"{keyword!r} is not an index key", hint="see the list in 'dcmkit index ls --help'")
            if keyword in _COLLECTED:
                found += _collected(keyword, value)
            elif keyword == LAST_RECEIVED:
                found += _last_received(value)
            else:
                key = _key(keyword, value, extra, fuzzy)
                found += [] if key is None else [key]
    return [*found, *map(_same_item, sequences)]


def _is_name(item: tuple[str, object]) -> bool:
    """Fuzzy names come last: what is cheaper to tell leaves them few rows."""
    attribute = BY_KEYWORD.get(item[0])
    return attribute is not None and attribute.is_name


def _same_item(keys: Mapping[str, str]) -> _Key:
    """An item of a sequence matches all of its keys; that its columns match each says SQL besides, which is quicker."""
    level = BY_KEYWORD[next(iter(keys))].level
    columns = ", ".join(f"{ALIAS[level]}.{keyword}" for keyword in keys)
    return _Key(LEVELS.index(level), Condition(f"same_item(?, {columns})", (json.dumps(list(keys.values())),)))


_ZONE = {
    STUDY: "s.TimezoneOffsetFromUTC",
    SERIES: "(SELECT z.TimezoneOffsetFromUTC FROM study z WHERE z.id = e.study)",
    INSTANCE: "(SELECT z.TimezoneOffsetFromUTC FROM series y CROSS JOIN study z ON z.id = y.study"
    " WHERE y.id = i.series)",
}


def _zoned(match: Mapping[str, str | Sequence[str]], zones: Zones, combine: bool) -> tuple[list[_Key], set[str]]:
    """Dates and times that are to be compared in another zone than they are stored in."""
    found: list[_Key] = []
    taken: set[str] = set()
    texts = {
        keyword: text
        for keyword in match
        if (keyword in PAIRS or keyword in DATES or keyword in DATE_TIMES)
        and (text := _joined(match[keyword])).replace("*", "") not in ("", EMPTY)
    }
    for keyword, text in texts.items():
        if keyword in DATE_TIMES:
            if zones.asked or names_zone(text):
                level, alias = _place(keyword)
                sql = f"same_date_time(?, ?, {_ZONE[level]}, ?, {alias}.{keyword})"
                found.append(_Key(LEVELS.index(level), Condition(sql, (*zones, text))))
                taken.add(keyword)
        elif zones.asked and keyword not in taken:
            date = DATES.get(keyword, keyword)
            found += _pair_in_zone(date, texts.get(date, ""), texts.get(PAIRS[date], ""), zones, combine)
            taken |= {date, PAIRS[date]} & set(texts)
    return found, taken


def _pair_in_zone(date: str, dates: str, times: str, zones: Zones, combine: bool) -> list[_Key]:
    level, alias = _place(date)
    one = combine and combined(date, dates, PAIRS[date], times) is not None
    function = "same_combined" if one else "same_moment"
    sql = f"{function}(?, ?, {_ZONE[level]}, ?, ?, {alias}.{date}, {alias}.{PAIRS[date]})"
    found = [_Key(LEVELS.index(level), Condition(sql, (*zones, dates, times)))]
    around = condition(f"{alias}.{date}", "DA", widened(dates)) if dates else None
    if around is not None:  # an index may help with it
        found.insert(0, _Key(LEVELS.index(level), around, _rank(date, around)))
    return found


def _place(keyword: str) -> tuple[str, str]:
    level = BY_KEYWORD[keyword].level
    return level, ALIAS[level]


def _joined(value: str | Sequence[str]) -> str:
    return (value if isinstance(value, str) else "\\".join(value)).strip(" \0")


def _collected(keyword: str, value: str | Sequence[str]) -> list[_Key]:
    """Each of several modalities must be in the study (C.2.2.2.8); of SOP classes, which are UIDs, one."""
    vr, column, tables = _COLLECTED[keyword]
    text = value if isinstance(value, str) else "\\".join(value)
    found: list[_Key] = []
    for part in [text] if vr == "UI" else text.split("\\"):
        inner = condition(column, vr, part)
        if inner is None:
            continue
        exists = f"EXISTS (SELECT 1 FROM {tables} WHERE m.study = s.id AND {inner.sql})"  # noqa: S608
        key = _Key(LEVELS.index(STUDY), Condition(exists, inner.parameters))
        if keyword == "ModalitiesInStudy" and inner.access < RANGE:
            among = f"s.id IN (SELECT m.study FROM {tables} WHERE {inner.sql})"  # noqa: S608
            key = key._replace(rank=_RANKS["Modality"] + inner.access, leading=Condition(among, inner.parameters))
        found.append(key)
    return found


def _last_received(value: str | Sequence[str]) -> list[_Key]:
    low, dash, high = (value if isinstance(value, str) else "\\".join(value)).strip().partition("-")
    if not low and not high:
        return []
    if not (low or "0").isdecimal() or not (high or "0").isdecimal() or len(low + high) > 36:
        return [_Key(LEVELS.index(STUDY), NOTHING)]
    between = Condition(
        f"({LAST_RECEIVED_COLUMN} BETWEEN ? AND ?)", (int(low or 0), int(high or 1 << 62) if dash else int(low))
    )
    return [_Key(LEVELS.index(STUDY), between)]


def _pairs(match: Mapping[str, str | Sequence[str]]) -> tuple[list[_Key], set[str]]:
    """Dates with their times, to be matched as one."""
    found: list[_Key] = []
    paired: set[str] = set()
    for keyword, dates in match.items():
        time = keyword[:-4] + "Time" if keyword.endswith("Date") else ""
        attribute = BY_KEYWORD.get(keyword)
        times = match.get(time)
        if attribute is None or time not in BY_KEYWORD or not isinstance(dates, str) or not isinstance(times, str):
            continue
        alias = ALIAS[attribute.level]
        both = combined(f"{alias}.{keyword}", dates, f"{alias}.{time}", times)
        if both is not None:
            found.append(_Key(LEVELS.index(attribute.level), both, _rank(keyword, both)))
            paired |= {keyword, time}
    return found, paired


def _key(keyword: str, value: str | Sequence[str], extra: Collection[str], fuzzy: bool) -> _Key | None:
    """One matching key; None where it matches everything."""
    attribute = BY_KEYWORD.get(keyword)
    if attribute is not None:
        column = f"{ALIAS[attribute.level]}.{keyword}{'_folded' if attribute.is_name else ''}"
        found = condition(column, attribute.vr, value, multiple=attribute.multiple, fuzzy=fuzzy)
        return None if found is None else _Key(LEVELS.index(attribute.level), found, _rank(keyword, found))
    depth = LEVELS.index(INSTANCE)
    if keyword in FILE_COLUMNS:
        column, vr = FILE_COLUMNS[keyword]
        found = condition(column, vr, value)
        return None if found is None else _Key(depth, found)
    found = condition("x.value", "LO", value, multiple=True)
    if found is None:
        return None
    if value == EMPTY:
        none = "NOT EXISTS (SELECT 1 FROM extra x WHERE x.instance = i.id AND x.keyword = ?)"
        return _Key(depth, Condition(none, (keyword,)))
    sql = f"EXISTS (SELECT 1 FROM extra x WHERE x.instance = i.id AND x.keyword = ? AND {found.sql})"  # noqa: S608
    return _Key(depth, Condition(sql, (keyword, *found.parameters)))


def _rank(keyword: str, found: Condition) -> int:
    """Few rows first: one value before a few, those before an open range; what no index helps with is last."""
    column = _RANKS.get(keyword)
    if column is None or found.access == SCAN:
        return _NAMES if keyword == "PatientName" else _LAST
    return found.access * 10 + column


def _all(conditions: list[Condition]) -> Condition:
    parameters: list[Parameter] = [value for each in conditions for value in each.parameters]
    return Condition(" AND ".join(each.sql for each in conditions) or "1 = 1", tuple(parameters))
