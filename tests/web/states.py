"""Presentation states in archives."""

from __future__ import annotations

from typing import Any

from dcmkit.archive.store import Archive
from dcmkit.dataset.elements import Element, encode
from dcmkit.uids import EXPLICIT_VR_LITTLE_ENDIAN
from tests.archive.objects import put
from tests.web.pictures import INSTANCE, STUDY

GRAYSCALE = "1.2.840.10008.5.1.4.1.1.11.1"


def put_state(archive: Archive, uid: str, text: str = "") -> None:
    """A grayscale state that inverts the image; and writes a text on it."""
    reference = {0x00081150: Element("UI", "1.2.840.10008.5.1.4.1.1.2"), 0x00081155: Element("UI", INSTANCE)}
    state: dict[int, Any] = {
        0x00080016: Element("UI", GRAYSCALE),
        0x00080018: Element("UI", uid),
        0x00080060: Element("CS", "PR"),
        0x00081115: Element("SQ", [{0x0020000E: Element("UI", "1.2.3.2"), 0x00081140: Element("SQ", [reference])}]),
        0x00100010: Element("PN", "Doe^Jane"),
        0x00100020: Element("LO", "4711"),
        0x0020000D: Element("UI", STUDY),
        0x0020000E: Element("UI", "1.2.3.77"),
        0x20500020: Element("CS", "INVERSE"),
    }
    if text:
        note = {
            0x00700004: Element("CS", "PIXEL"), 0x00700006: Element("ST", text),
            0x00700014: Element("FL", "2\\2"), 0x00700015: Element("CS", "N"),
        }  # fmt: skip
        state[0x00700001] = Element(
            "SQ", [{0x00700002: Element("CS", "NOTES"), 0x00700008: Element("SQ", [note])}]
        )  # fmt: skip
    data = encode(dict(sorted(state.items())), EXPLICIT_VR_LITTLE_ENDIAN)
    put(archive, uid, data, sop_class=GRAYSCALE)
    archive.flush()
