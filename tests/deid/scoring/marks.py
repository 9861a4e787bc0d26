"""What a de-identified file says about itself: file meta information, preamble, and the marks of PS3.15 E.1."""

from __future__ import annotations

from tests.deid.scoring.compare import Comparison
from tests.deid.scoring.facts import METHODS, tag_text
from tests.deid.scoring.tree import File

_META = frozenset({0x00020000, 0x00020001, 0x00020002, 0x00020003, 0x00020010, 0x00020012, 0x00020013})
_TEMPORAL = 0x00280303


def meta(comparison: Comparison, before: File, after: File) -> None:
    """File meta information made anew (PS3.10 7.1), in the same transfer syntax; an empty preamble."""
    if after.preamble.strip(b"\0"):
        comparison.wrong("meta", "preamble", "is not empty")
    for tag in after.meta.elements.keys() - _META:
        comparison.wrong("meta", tag_text(tag), "has no business there")
    for tag, wanted in (
        (0x00020002, after.data_set.text(0x00080016)),
        (0x00020003, after.data_set.text(0x00080018)),
        (0x00020010, before.meta.text(0x00020010)),
    ):
        if wanted and after.meta.text(tag) != wanted:
            comparison.wrong("meta", tag_text(tag), f"is {after.meta.text(tag)!r}, not {wanted!r}")
    if after.meta.value(0x00020001) != b"\0\1":
        comparison.wrong("meta", "0002,0001", "is not 00 01")
    if not after.meta.text(0x00020012):
        comparison.wrong("meta", "0002,0012", "is missing")
    if after.trailing:
        comparison.wrong("meta", "end", f"{len(after.trailing)} bytes after the data set")
    length = int.from_bytes(after.meta.value(0x00020000), "little")
    actual = sum(len(e.value) + (12 if e.vr == "OB" else 8) for t, e in after.meta.elements.items() if t != 0x00020000)
    if length != actual:
        comparison.wrong("meta", "0002,0000", f"is {length}, not {actual}")


def marks(comparison: Comparison, before: File, after: File) -> None:
    """(0012,0062), (0012,0063), (0012,0064) and (0028,0303)."""
    options = comparison.options
    if after.data_set.text(0x00120062) != "YES":
        comparison.wrong("mark", "0012,0062", f"is {after.data_set.text(0x00120062)!r}")
    if not after.data_set.text(0x00120063):
        comparison.wrong("mark", "0012,0063", "is missing or empty")
    codes = _codes(after)
    wanted = {METHODS[option] for option in {"basic", *options}}
    if missing := wanted - codes:
        comparison.wrong("mark", "0012,0064", f"does not name {sorted(missing)}")
    if stray := codes & set(METHODS.values()) - wanted - _codes(before):
        comparison.wrong("mark", "0012,0064", f"names {sorted(stray)}, which was not done")
    temporal = "REMOVED"
    if "retain-full-dates" in options:
        temporal = "UNMODIFIED"
    elif "retain-modified-dates" in options:
        temporal = "MODIFIED"
    if after.data_set.text(_TEMPORAL) != temporal:
        comparison.wrong("mark", "0028,0303", f"is {after.data_set.text(_TEMPORAL)!r}, not {temporal}")


def _codes(file: File) -> set[str]:
    items = file.data_set.items(0x00120064)
    return {item.text(0x00080100) for item in items if item.text(0x00080102) == "DCM" and item.text(0x00080104)}
