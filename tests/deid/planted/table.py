"""Files that hold every attribute of Table E.1-1: at the top, in sequences, in UN, in all encodings and many IODs."""

from __future__ import annotations

from collections.abc import Iterator
from struct import pack
from typing import TYPE_CHECKING

from tests.deid.planted.values import CHARSETS, Planter
from tests.deid.scoring import facts

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

NOT_TOGETHER = frozenset({0xFFFCFFFC, 0xFFFAFFFA})
CURVES = {0x5000, 0x5002, 0x501E}
OVERLAYS = {0x6000, 0x6002, 0x601E}
STRUCTURAL = frozenset({0x00080005, 0x00020003})


def attributes(*, low: bool = False) -> Iterator[tuple[int, str]]:
    """Tag and VR of the rows for one attribute; those of groups 0000 to 0004 only if `low`."""
    for tag, rule in sorted(facts.attributes().items()):
        if (tag >> 16 <= 4) == low and tag not in NOT_TOGETHER | STRUCTURAL:
            yield tag, rule.vr


def plant_all(item: Dataset, planter: Planter, *, keep: bool = False) -> None:
    """Plant every attribute of the table in `item`; `keep` leaves those it has."""
    for tag, vr in attributes():
        if not (keep and tag in item):
            item.add_new(tag, vr, planter.value(vr))
    repeating(item, planter)
    private(item, planter)


def repeating(item: Dataset, planter: Planter) -> None:
    """Curves and overlays of several groups."""
    from pydicom.dataset import Dataset

    for group in CURVES:
        base = group << 16
        item.add_new(base | 0x0005, "US", 1)
        item.add_new(base | 0x0010, "US", 8)
        item.add_new(base | 0x0020, "CS", "POLY")
        item.add_new(base | 0x0022, "LO", planter.value("LO"))
        item.add_new(base | 0x0103, "US", 0)
        item.add_new(base | 0x2500, "LO", planter.value("LO"))
        item.add_new(base | 0x3000, "OW", planter.value("OW"))
        referenced = Dataset()
        referenced.ReferencedSOPInstanceUID = planter.uid()
        item.add_new(base | 0x2600, "SQ", [referenced])
    for group in OVERLAYS:
        base = group << 16
        item.add_new(base | 0x0010, "US", 8)
        item.add_new(base | 0x0011, "US", 14)
        item.add_new(base | 0x0040, "CS", "G")
        item.add_new(base | 0x0050, "SS", [1, 1])
        item.add_new(base | 0x0100, "US", 1)
        item.add_new(base | 0x0102, "US", 0)
        item.add_new(base | 0x3000, "OW", planter.value("OW"))
        item.add_new(base | 0x4000, "LT", planter.value("LT"))


SAFE_VRS = {"CS", "DS", "IS", "LO", "LT", "OB", "SH", "ST"}
_BINARY = {"US": 12345, "SS": -1234, "UL": 123456789, "SL": -123456789, "FL": 1.5, "FD": 2.25, "AT": 0x00100010}


def private(item: Dataset, planter: Planter, *, every: bool = False) -> None:
    """Private blocks: safe ones, others, two creators in a group, none, sequences, and UN."""
    blocks: dict[tuple[int, str], int] = {}
    taken: dict[int, int] = {}
    for number, ((creator, group, low), vr) in enumerate(facts.safe_private().items()):
        if not (every or number % 11 == 0) or vr not in SAFE_VRS | _BINARY.keys() | {"SQ"}:
            continue
        block = blocks.setdefault((group, creator), taken.get(group, 0x10))
        taken[group] = max(taken.get(group, 0x10), block + 1)
        item.add_new(group << 16 | block, "LO", creator)
        tag = group << 16 | block << 8
        item.add_new(tag | low, vr, safe_value(vr, planter, group << 16 | block, creator))
        item.add_new(tag | _unlisted(creator, group), "LO", planter.value("LO"))
    for group, block in ((0x0009, 0x90), (0x0029, 0x91), (0x7FE1, 0x10)):
        item.add_new(group << 16 | block, "LO", "CREATOR " + planter.token())
        base = group << 16 | block << 8
        for place, vr in enumerate(("LO", "PN", "UI", "DA", "DS", "UT", "OB", "UN", "SQ", "US"), 1):
            item.add_new(base | place, vr, planter.value(vr))
    item.add_new(0x00315501, "LO", planter.value("LO"))  # of nobody's block
    item.add_new(0x00310001, "LO", planter.value("LO"))


def safe_value(vr: str, planter: Planter, creator_tag: int, creator: str) -> object:
    """A value of a safe private attribute; in a sequence what is safe and what is not."""
    from pydicom.dataset import Dataset

    if vr != "SQ":
        return _BINARY.get(vr) or planter.value(vr)
    inner = Dataset()
    inner.PatientName = planter.name()
    inner.ReferencedSOPInstanceUID = planter.uid()
    inner.add_new(creator_tag, "LO", creator)
    unlisted = _unlisted(creator, creator_tag >> 16)
    inner.add_new(creator_tag & 0xFFFF0000 | (creator_tag & 0xFF) << 8 | unlisted, "LO", planter.value("LO"))
    return [inner]


def _unlisted(creator: str, group: int) -> int:
    """The low byte of an element that is not safe although its creator has safe ones."""
    return next(low for low in range(0xFF, 0, -1) if (creator, group, low) not in facts.safe_private())


def nested(planter: Planter, depth: int, tags: tuple[int, ...] = (0x00081115, 0x00321064, 0x00400260)) -> Dataset:
    """An item with everything planted, `depth` sequences down, in sequences that the table does not name."""
    from pydicom.dataset import Dataset

    inner = Dataset()
    plant_all(inner, planter)
    for level in range(depth):
        outer = Dataset()
        outer.add_new(tags[level % len(tags)], "SQ", [inner])
        outer.PatientID = planter.token()
        inner = outer
    return inner


# --- bytes that pydicom does not write -------------------------------------------------------------------------------


def element(tag: int, vr: str, value: bytes, order: str = "<", *, explicit: bool = True) -> bytes:
    """One element's bytes."""
    value += (b"\0" if vr in {"UI", "OB", "UN"} else b" ") * (len(value) % 2)
    head = pack(order + "HH", tag >> 16, tag & 0xFFFF)
    if not explicit:
        return head + pack("<L", len(value)) + value
    if vr in {"OB", "OW", "UN", "UT", "SQ", "UC", "UR"}:
        return head + vr.encode() + b"\0\0" + pack(order + "L", len(value)) + value
    return head + vr.encode() + pack(order + "H", len(value)) + value


def low_groups(planter: Planter, order: str = "<", *, explicit: bool = True) -> bytes:
    """Elements of groups 0000, 0002 and 0004 and a group length, as they do not belong in a data set."""
    found = b""
    elements = [(tag, vr) for tag, vr in attributes(low=True)] + [
        (0x00020016, "AE"), (0x00020102, "OB"), (0x00040010, "CS"), (0x00041130, "CS"), (0x00041500, "CS"),
    ]  # fmt: skip
    for tag, vr in sorted(elements):
        value = planter.value(vr)
        assert isinstance(value, (str, bytes))
        found += element(tag, vr, value if isinstance(value, bytes) else value.encode(), order, explicit=explicit)
    return found + element(0x00080000, "UL", pack(order + "L", 4711), order, explicit=explicit)


def as_unknown(planter: Planter) -> bytes:
    """Every text of the table as UN, sequences in implicit VR of known and of unknown length (PS3.5 6.2.2)."""
    found = b""
    for tag, vr in attributes():
        if tag <= 0x00080018 or tag in {0x00281199, 0x00281214}:
            continue
        value = planter.value(vr)
        if isinstance(value, str):
            found += element(tag, "UN", value.encode("utf-8"))
        elif isinstance(value, bytes):
            found += element(tag, "UN", value)
        elif vr == "SQ":
            inner = element(0x00080100, "SH", planter.token().encode(), explicit=False)
            inner += element(0x00080104, "LO", planter.token().encode(), explicit=False)
            inner += element(0x00100010, "PN", planter.token().encode(), explicit=False)
            found += sequence(tag, inner, undefined=bool(planter.count % 2))
    return found


def sequence(tag: int, inner: bytes, *, undefined: bool) -> bytes:
    """A sequence of one item sent as UN."""
    head = pack("<HH2sH", tag >> 16, tag & 0xFFFF, b"UN", 0)
    if undefined:
        item = pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF) + inner + pack("<HHL", 0xFFFE, 0xE00D, 0)
        return head + b"\xff\xff\xff\xff" + item + pack("<HHL", 0xFFFE, 0xE0DD, 0)
    item = pack("<HHL", 0xFFFE, 0xE000, len(inner)) + inner
    return head + pack("<L", len(item)) + item


def charset_planter(start: int, number: int) -> tuple[str, Planter]:
    """A Specific Character Set and a planter that uses it."""
    charset, letters = list(CHARSETS.items())[number % len(CHARSETS)]
    return charset, Planter(start, letters)
