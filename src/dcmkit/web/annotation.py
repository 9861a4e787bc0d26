"""Annotations of rendered images: who and how, burned into the picture (PS3.18 8.3.5.1.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dcmkit.dataset.elements import DataSet, text
from dcmkit.dataset.raw import RawElements
from dcmkit.pixels import drawing
from dcmkit.web.rendering import PATIENT, TECHNIQUE

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from dcmkit.pixels.image_file import ImageFile

    Array = NDArray[Any]

_CHARACTER_SET = 0x00080005
_LINES: dict[str, tuple[tuple[tuple[str, int, str], ...], ...]] = {
    PATIENT: (
        (("", 0x00100010, ""),),
        (("ID ", 0x00100020, ""),),
        (("born ", 0x00100030, ""), ("", 0x00100040, ""), ("", 0x00101010, "")),
    ),
    TECHNIQUE: (
        (("", 0x00080060, ""), ("", 0x00180015, ""), ("", 0x00200060, ""), ("", 0x00185101, "")),
        (("", 0x0008103E, ""),),
        (("", 0x00080020, ""), ("", 0x00080030, "")),
        (("", 0x00180060, " kV"), ("", 0x00181151, " mA"), ("", 0x00181152, " mAs")),
        (("TR ", 0x00180080, " ms"), ("TE ", 0x00180081, " ms"), ("", 0x00180050, " mm")),
    ),
}
"""Lines of attributes, each with what stands before and after it."""
_TAGS = frozenset({_CHARACTER_SET, *(part[1] for lines in _LINES.values() for line in lines for part in line)})
_LONGEST = 64
_MARGIN = 4


def lines_of(data_set: DataSet, kind: str) -> list[str]:
    """What is written of one kind; lines without a value are left out."""
    found = []
    for line in _LINES[kind]:
        parts = [f"{before}{value}{after}" for before, tag, after in line if (value := _value(data_set, tag))]
        if parts:
            found.append("  ".join(parts))
    return found


def _value(data_set: DataSet, tag: int) -> str:
    value = text(data_set, tag).strip()
    if tag == 0x00100010:
        value = " ".join(value.partition("=")[0].replace("^", " ").split())
    elif tag == 0x00080030:
        value = value.partition(".")[0]
    return "".join(char if char.isprintable() else " " for char in value[:_LONGEST])


def annotated(picture: Array, image: ImageFile, kinds: Collection[str]) -> Array:
    """The picture with texts on it: the patient at the top left, the technique at the bottom left.

    Args:
        picture: shape (rows, columns) or (rows, columns, 3), unsigned.
        image: whose attributes are written.
        kinds: `PATIENT`, `TECHNIQUE` or both.
    """
    wanted = (one for one in image.elements if one.tag in _TAGS)
    data_set = RawElements(image.elements.data, image.encoding, wanted).decoded()
    picture = np.array(picture)
    rows, columns = picture.shape[:2]
    size = max(1, min(rows, columns) // 400)
    for kind in kinds:
        lines = "\n".join(lines_of(data_set, kind))
        if lines:
            width, height = drawing.text_size(lines, size)
            top = _MARGIN if kind == PATIENT else max(_MARGIN, rows - height - _MARGIN)
            around = picture[max(0, top - 2) : top + height, 2 : _MARGIN + width]
            around //= 4  # letters are to be read on bright pixels too
            mask = np.zeros((rows, columns), bool)
            drawing.write(mask, lines, _MARGIN, top, size)
            picture[mask] = np.iinfo(picture.dtype).max
    return picture
