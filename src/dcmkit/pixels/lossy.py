"""What a data set has to say once its pixels are no longer what they were (PS3.3 C.7.6.1.1.5, PS3.4 B.3.1.4).

Lossy compression makes another SOP Instance, which names the one it was made of. Lossless compression and
decompression do not.
"""

from __future__ import annotations

import os

from dcmkit.dataset.elements import DataSet, Element, items, text
from dcmkit.uids import name_of

SOP_CLASS_UID, SOP_INSTANCE_UID, IMAGE_TYPE = 0x00080016, 0x00080018, 0x00080008
DERIVATION_DESCRIPTION, SOURCE_IMAGE_SEQUENCE, DERIVATION_CODE_SEQUENCE = 0x00082111, 0x00082112, 0x00089215
LOSSY_IMAGE_COMPRESSION, LOSSY_RATIO, LOSSY_METHOD = 0x00282110, 0x00282112, 0x00282114

NEEDED = frozenset({
    0x00080005, SOP_CLASS_UID, SOP_INSTANCE_UID, IMAGE_TYPE, DERIVATION_DESCRIPTION, SOURCE_IMAGE_SEQUENCE,
    DERIVATION_CODE_SEQUENCE, LOSSY_IMAGE_COMPRESSION, LOSSY_RATIO, LOSSY_METHOD,
})  # fmt: skip
"""The elements these functions look at."""

REFERENCED_CLASS, REFERENCED_INSTANCE, _PURPOSE = 0x00081150, 0x00081155, 0x0040A170
_CODE_VALUE, _CODING_SCHEME, _CODE_MEANING = 0x00080100, 0x00080102, 0x00080104
_DESCRIPTION_LIMIT = 1024
"""Characters of an ST (PS3.5 6.2)."""


def new_uid() -> str:
    """A UID nobody has: of a random UUID (PS3.5 B.2, RFC 4122 4.4)."""
    number = int.from_bytes(os.urandom(16), "big")
    number = number & ~(0xF << 76) | 0x4 << 76
    return f"2.25.{number & ~(0x3 << 62) | 0x2 << 62}"


def ratio_text(ratio: float) -> str:
    """A Lossy Image Compression Ratio: "12.34" is what 12.34:1 is written as."""
    return f"{ratio:.2f}" if ratio < 1e12 else f"{ratio:.8e}"


def already_lossy(data_set: DataSet) -> bool:
    """Whether the data set says that something was lost before."""
    return text(data_set, LOSSY_IMAGE_COMPRESSION).startswith("01")


def compressed(data_set: DataSet, *, ratio: float, method: str) -> DataSet:
    """The three attributes of lossy compression, the new values after those that are there.

    Args:
        data_set: the data set as it was.
        ratio: bytes before through bytes after.
        method: a defined term, `ISO_10918_1`.
    """
    ratios, methods = (_values(text(data_set, tag)) for tag in (LOSSY_RATIO, LOSSY_METHOD))
    known = max(len(ratios), len(methods))  # a ratio belongs to the method in the same place
    return {
        LOSSY_IMAGE_COMPRESSION: Element("CS", "01"),
        LOSSY_RATIO: Element("DS", _joined(ratios, known, ratio_text(ratio))),
        LOSSY_METHOD: Element("CS", _joined(methods, known, method)),
    }


def declared(data_set: DataSet, *, ratio: float, method: str) -> DataSet:
    """The same for a lossy codestream whose data set does not say so yet; nothing where it does.

    Decompressed, nobody could see it any more.
    """
    return {} if already_lossy(data_set) else compressed(data_set, ratio=ratio, method=method)


def derived(data_set: DataSet, *, transfer_syntax_uid: str, details: str, sop_instance_uid: str) -> DataSet:
    """What makes it another instance: its UID, image type, how it was derived, and from which.

    Args:
        data_set: the data set as it was.
        transfer_syntax_uid: it is lossy in this one now.
        details: how: "quality 90".
        sop_instance_uid: the new one; "" leaves the old one, and then names no source.
    """
    description = f"Lossy compression: {name_of(transfer_syntax_uid)}" + (f", {details}" if details else "")
    earlier = text(data_set, DERIVATION_DESCRIPTION)
    whole = f"{earlier}; {description}" if earlier else description
    changes: DataSet = {
        IMAGE_TYPE: Element("CS", image_type(text(data_set, IMAGE_TYPE))),
        DERIVATION_DESCRIPTION: Element("ST", whole if len(whole) <= _DESCRIPTION_LIMIT else earlier),
        DERIVATION_CODE_SEQUENCE: _appended(data_set, DERIVATION_CODE_SEQUENCE, _code("113040", "Lossy Compression")),
    }
    if not sop_instance_uid:
        return changes
    source: DataSet = {
        REFERENCED_CLASS: Element("UI", text(data_set, SOP_CLASS_UID)),
        REFERENCED_INSTANCE: Element("UI", text(data_set, SOP_INSTANCE_UID)),
        _PURPOSE: Element("SQ", [_code("121320", "Uncompressed predecessor")]),
    }
    changes[SOURCE_IMAGE_SEQUENCE] = _appended(data_set, SOURCE_IMAGE_SEQUENCE, source)
    changes[SOP_INSTANCE_UID] = Element("UI", sop_instance_uid)
    return changes


def image_type(value: str) -> str:
    """Image Type with DERIVED as value 1 (PS3.3 C.7.6.1.1.2)."""
    _, backslash, rest = value.partition("\\")
    return f"DERIVED\\{rest}" if backslash else "DERIVED\\SECONDARY"


def _values(value: str) -> list[str]:
    return value.split("\\") if value else []


def _joined(values: list[str], known: int, new: str) -> str:
    return "\\".join([*values, *[""] * (known - len(values)), new])


def _appended(data_set: DataSet, tag: int, item: DataSet) -> Element:
    return Element("SQ", [*items(data_set, tag), item])


def _code(value: str, meaning: str) -> DataSet:
    return {
        _CODE_VALUE: Element("SH", value), _CODING_SCHEME: Element("SH", "DCM"), _CODE_MEANING: Element("LO", meaning),
    }  # fmt: skip
