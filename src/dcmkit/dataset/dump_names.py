"""What a dump calls elements, UIDs and transfer syntaxes, and the VR it takes where the bytes say none.

The names are those dcmdump 3.6.7 prints, since people and scripts know them: `dump_uids.txt` has its names of UIDs and
transfer syntaxes, `dump_tags.txt` (generated) which elements are retired. Names of private elements come from DCMTK's
dictionaries where there are some: those in the environment variable DCMDICTPATH, else the installed one.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache

from dcmkit.dataset.dictionary import keyword_of, vr_of

UNKNOWN = "Unknown Tag & Data"
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD

_HERE = os.path.dirname(__file__)
_DELIMITERS = {ITEM: "Item", ITEM_END: "ItemDelimitationItem", SEQUENCE_END: "SequenceDelimitationItem"}
_OFFSETS = frozenset((0x00041200, 0x00041202, 0x00041400, 0x00041420, 0x00041504))
"""Offsets of directory records (PS3.3 F.3): dcmdump marks them by a VR of its own, `up`."""
_BYTES_OR_WORDS = frozenset((0x00143050, 0x00143070, 0x54000110, 0x54000112, 0x5400100A, 0x54001010))
"""OB or OW by what other elements say; in implicit VR dcmdump leaves it open: `ox`."""
_REPEATING = ((2, 4), (6, 8), (6, 7), (4, 7), (4, 8))
"""Where the digits that repeat stand in the tags of repeating elements."""
_INSTALLED = ("/usr/share", "/usr/local/share")
_PRIVATE = re.compile(r'\(([0-9A-Fa-f]{4})[^,"]*,"([^"]*)",([0-9A-Fa-f]{2})\)\t+(\S\S)\t+([^\t]+)')
_DICTIONARY_LIMIT = 16 << 20

PrivateEntry = tuple[str, str]
"""VR and name."""


@lru_cache(maxsize=1)
def _kinds() -> dict[str, frozenset[str]]:
    with open(os.path.join(_HERE, "dump_tags.txt"), encoding="ascii") as file:
        lines = [line.split() for line in file]
    return {words[0]: frozenset(words[1:]) for words in lines}


def _is_retired(tag: int) -> bool:
    text, retired = f"{tag:08X}", _kinds()["RETIRED"]
    if text in retired:
        return True
    return tag >> 16 != 0x7FE0 and any(
        text[:first] + "x" * (last - first) + text[last:] in retired for first, last in _REPEATING
    )


@lru_cache(maxsize=4096)
def name_of(tag: int) -> str:
    """The name of a standard element; of a private one only what its number says."""
    if tag in _DELIMITERS:
        return _DELIMITERS[tag]
    group, element = tag >> 16, tag & 0xFFFF
    keyword = keyword_of(tag)
    if keyword:
        return f"RETIRED_{keyword}" if _is_retired(tag) else keyword
    if not element:
        return "PrivateGroupLength" if group & 1 and group > 8 else "GenericGroupLength"
    if group & 1 and group > 8 and 0x10 <= element <= 0xFF:
        return "PrivateCreator"
    return UNKNOWN


@lru_cache(maxsize=4096)
def implicit_vr(tag: int) -> str:
    """The VR of a standard element in implicit VR, as dcmdump shows it: `??` unknown, `xs` US or SS, `ox` OB or OW."""
    if tag in _OFFSETS:
        return "up"
    if tag == 0x7FE00010:
        return "OW"
    if tag in _BYTES_OR_WORDS:
        return "ox"
    text = f"{tag:08X}"
    if text in _kinds()["US/SS"]:
        return "xs"
    if text in _kinds()["US/OW"]:
        return "lt"
    vr = vr_of(tag)
    if vr == "UN" and not keyword_of(tag):
        return "??"
    return "OW" if vr == "OB" and tag >> 24 in (0x50, 0x60) else vr


def shown_vr(tag: int, vr: str) -> str:
    """How the VR that stands in the bytes is shown."""
    return "up" if tag in _OFFSETS and vr == "UL" else vr


# --- private elements --------------------------------------------------------------------------------------------


def private_entry(tag: int, creator: str) -> PrivateEntry | None:
    """VR and name of a private element, where a dictionary knows its creator."""
    return _private().get((tag >> 16, creator, tag & 0xFF))


@lru_cache(maxsize=1)
def _private() -> dict[tuple[int, str, int], PrivateEntry]:
    found: dict[tuple[int, str, int], PrivateEntry] = {}
    for path in _dictionaries():
        try:
            with open(path, encoding="latin-1") as file:
                text = file.read(_DICTIONARY_LIMIT)
        except OSError:
            continue
        for group, creator, element, vr, name in _PRIVATE.findall(text):
            found[int(group, 16), creator, int(element, 16)] = (vr, name.replace(" ", ""))
    return found


def _dictionaries() -> list[str]:
    named = os.environ.get("DCMDICTPATH")
    if named is not None:
        return [path for path in named.split(os.pathsep) if path]
    for directory in _INSTALLED:
        try:
            entries = sorted((name for name in os.listdir(directory) if "dcmtk" in name), reverse=True)
        except OSError:
            continue
        for entry in entries:
            path = os.path.join(directory, entry, "private.dic")
            if os.path.isfile(path):
                return [path]
    return []


# --- UIDs --------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def _uids() -> dict[str, list[str]]:
    with open(os.path.join(_HERE, "dump_uids.txt"), encoding="ascii") as file:
        lines = [line.rstrip("\n").split(" ", 2) for line in file]
    return {uid: names for uid, *names in lines}


def uid_name(uid: str) -> str:
    """What a dump prints in place of a well-known UID; "" for others."""
    found = _uids().get(uid)
    return found[0] if found else ""


def syntax_name(transfer_syntax_uid: str) -> str:
    """The name of a transfer syntax in the heading of a data set."""
    found = _uids().get(transfer_syntax_uid, ())
    if len(found) == 2:
        return found[1]
    from dcmkit.uids import TRANSFER_SYNTAXES

    return TRANSFER_SYNTAXES.get(transfer_syntax_uid, "Unknown Transfer Syntax")
