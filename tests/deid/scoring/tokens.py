"""Words that the corpus plants in texts; see planted/values.py. Coded strings (CS) are looked for by these only."""

from __future__ import annotations

import re

TOKEN = re.compile(rb"zq[a-v]{5}", re.IGNORECASE)
_WIDE = (re.compile(rb"(?:[zZ]\0[qQ]\0(?:[a-vA-V]\0){5})"), re.compile(rb"(?:\0[zZ]\0[qQ](?:\0[a-vA-V]){5})"))


def tokens(data: bytes) -> set[bytes]:
    """The words in some bytes, in small letters; found in any letter case, in one or two bytes per character."""
    found = {match.lower() for match in TOKEN.findall(data)}
    for pattern in _WIDE:
        found |= {match.replace(b"\0", b"").lower() for match in pattern.findall(data)}
    return found
