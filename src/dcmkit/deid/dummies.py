"""Values that say nothing and are valid: for attributes that must not be empty (action D of PS3.15 E.1).

They are the same for every object, in ASCII, of even length, and the same bytes in either byte order. UIDs are
`pseudonyms`' business, encapsulated documents `documents`'; a sequence is kept and walked into.
"""

from __future__ import annotations

WORD = "ANONYMIZED"
"""What text says; within the repertoire of every VR for text (PS3.5 6.2), and short enough for each."""
DATE, TIME = "19000101", "000000"

_BY_VR = {
    "AE": WORD.encode(),
    "AS": b"000Y",
    "AT": bytes(4),
    "CS": WORD.encode(),
    "DA": DATE.encode(),
    "DS": b"0 ",
    "DT": (DATE + TIME).encode(),
    "FD": bytes(8),
    "FL": bytes(4),
    "IS": b"0 ",
    "LO": WORD.encode(),
    "LT": WORD.encode(),
    "OB": bytes(2),
    "OD": bytes(8),
    "OF": bytes(4),
    "OL": bytes(4),
    "OV": bytes(8),
    "OW": bytes(2),
    "PN": WORD.encode(),
    "SH": WORD.encode(),
    "SL": bytes(4),
    "SS": bytes(2),
    "ST": WORD.encode(),
    "SV": bytes(8),
    "TM": TIME.encode(),
    "UC": WORD.encode(),
    "UL": bytes(4),
    "UN": bytes(2),
    "UR": b"urn:anonymized",
    "US": bytes(2),
    "UT": WORD.encode(),
    "UV": bytes(8),
}

_BY_TAG = {
    0x00080060: b"OT",  # Modality: other (PS3.3 C.7.3.1.1.1)
    0x00080102: b"99ANON",  # Coding Scheme Designator of codes that are nobody's (PS3.3 8.2)
    0x00080201: b"+0000 ",  # Timezone Offset From UTC, an SH with a form of its own (PS3.3 C.12.1.1.8)
    0x00100040: b"O ",  # Patient's Sex: M, F, O (C.7.1.1)
    0x00102203: b"UNALTERED ",  # Patient's Sex Neutered (C.7.1.1)
    0x001021A0: b"UNKNOWN ",  # Smoking Status (C.3.4)
    0x00340007: bytes(10),  # Frame Origin Timestamp: seconds in six bytes, nanoseconds in four
    0x04000565: b"CORRECT ",  # Reason for the Attribute Modification: COERCE, CORRECT (C.12.1.1.9)
}
"""Where a form or an enumeration rules, or a defined term is to be had."""


def dummy(vr: str, tag: int = 0) -> bytes:
    """A value for an attribute, as encoded.

    Args:
        vr: any but SQ and UI; an unknown one gets what UN does.
        tag: of the attribute; some allow a few values only.
    """
    return _BY_TAG.get(tag) or _BY_VR.get(vr) or _BY_VR["UN"]
