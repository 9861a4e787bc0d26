"""Where a peer answers a query of `query_table` otherwise, what it answers, and the paragraph that says who is right.

Paragraphs are PS3.4's unless another part is named. "may": the standard leaves it open, and dcmkit takes the answer
that finds more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from .query_table import ALL, Answers


class Other(NamedTuple):
    """What a peer answers, and why the table says otherwise."""

    answers: Answers
    why: str


def other(*answers: str, why: str) -> Other:
    """A difference."""
    return Other(answers, why)


_BLIND = "C.2.2.2.1: an SCP may match names without regard to case and accents"
_GROUPS = "PS3.5 6.2.1.1: the component groups of a name may be matched one by one"
_TRAILING = "PS3.5 6.2.1.1: empty components at the end, with their delimiters, say nothing"
_MINUTE = "C.2.2.2.5 and PS3.5 6.2 (TM): 1430 is the whole minute, which the range includes"
_COMBINED = "C.2.2.2.5.5 and C.5.1.1.1: combined matching needs negotiation, which the peer does not offer"
_FUZZY = "C.2.2.2.1.1 and C.5.1.1.1: fuzzy matching needs negotiation, which the peer does not offer"
_VALUES = "C.2.2.2.8: an attribute of several values matches when one of them does"
_SEQUENCE = "C.2.2.2.6: keys in an item of a sequence are matched; a peer without the optional key ignores it"
_COUNTS = "C.3.4: counts are optional; the peer leaves them out"
_MODALITIES = "C.6.2.1.2 and Table C.6-5: Modalities in Study is optional; the peer neither matches nor tells it"
_STATUS = "C.4.1.1.4, Table C.4-1: an identifier that is none of the SOP class is A900"
_RELATIONAL = "C.4.1.2.2.1 and C.5.1.1.1: relational queries are optional, and the peer does not offer them"
_HIERARCHICAL = (
    "C.4.1.2.1: without relational queries the SCU owes the unique keys of the levels above; an SCP may refuse"
)
_RETIRED = "C.6.3: the patient/study only model is retired; the peer does not have it"
_EMPTY_IN_RANGE = "C.2.2.2.5: what has no value lies in no range"

DIFFERENCES: Mapping[str, Mapping[str, Other]] = {
    "DCMTK": {
        "time range by the minute": other("s15", why=_MINUTE),
        "date range and time range, combined": other("s2", why=_COMBINED),
        "name in another case": other(why=_BLIND),
        "name, empty components at its end": other(why=_TRAILING),
        "capital umlauts": other(why=_BLIND),
        "umlauts without their dots": other(why=_BLIND),
        "Cyrillic in another case": other(why=_BLIND),
        "alphabetic group": other(why=_GROUPS),
        "ideographic group in UTF-8": other(why=_GROUPS),
        "ideographic group in its place": other(
            why="PS3.5 6.1.2.5 and C.2.2.2.1: text matches by its characters; without a converter for ISO 2022 "
            "the peer compares bytes"
        ),
        "Chinese in UTF-8": other(why=_GROUPS),
        "fuzzy: words in any order": other(why=_FUZZY),
        "one of several values": other(why=_VALUES),
        "one of several names": other(why=_VALUES),
        "modalities in study": other(*(f"{study}:" for study in ALL), why=_MODALITIES),
        "both modalities": other(*ALL, why=_MODALITIES),
        "counts": other("s1::", "s2::", why=_COUNTS),
        "counts of a patient": other("doe:::", why=_COUNTS),
        "count of a series": other("s1.1:", "s1.2:", why=_COUNTS),
        "code in a sequence": other(*ALL, why=_SEQUENCE),
        "relational: series of a patient": other("!C000", why=_RELATIONAL),
        "relational: instances by modality": other("!C000", why=_RELATIONAL),
        "a level that is none": other("!C000", why=_STATUS),
        "patient level in study root": other("!C000", why=_STATUS),
        "series level in patient/study only": other("s1.1", "s1.2", why=_STATUS),
        "series without study UID, not relational": other("!C000", why=_HIERARCHICAL),
    },
    "Orthanc": {
        "Patient ID, spaces around": other(why="PS3.5 6.2: spaces around a value of LO do not count"),
        "no wild card in a UID": other("!C000", why="C.2.2.2.4: a UID has no wild cards, and is matched as it is"),
        "date until": other("s1", "s5", "s6", why=_EMPTY_IN_RANGE),
        "time until": other("s4", "s5", "s6", "s8", why=_EMPTY_IN_RANGE),
        "time range by the hour": other(
            "s15", "s2", why="C.2.2.2.5 and PS3.5 6.2 (TM): 15 is the whole hour, which the range includes"
        ),
        "time range by the minute": other("s15", why=_MINUTE),
        "date range and time range, combined": other("s2", why=_COMBINED),
        "name, empty components at its end": other(why=_TRAILING),
        "umlauts without their dots": other(why=_BLIND),
        "alphabetic group": other(why=_GROUPS),
        "ideographic group in UTF-8": other(why=_GROUPS),
        "Chinese in UTF-8": other(why=_GROUPS),
        "fuzzy: words in any order": other(why=_FUZZY),
        "one of several values": other(why=_VALUES),
        "one of several names": other(why=_VALUES),
        "code in a sequence": other(*ALL, why=_SEQUENCE),
        "studies, patient/study only": other("!no context", why=_RETIRED),
        "no level": other("!C000", why=_STATUS),
        "a level that is none": other("!C000", why=_STATUS),
        "patient level in study root": other("doe", why=_STATUS),
        "series level in patient/study only": other("!no context", why=_RETIRED),
        "both modalities": other(
            *("s1", "s3", "s5", "s8", "s11", "s12", "s13", "s14", "s15", "s16"),
            why="C.2.2.2.8: several values of a key all match; without negotiation it is undefined",
        ),
    },
}
