"""Reading and comparing Part 10 files, independent of dcmkit: it judges dcmkit."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any, NamedTuple

LONG_VRS = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")

CHANGED_BY_DECODING = frozenset({
    0x00280004, 0x00280006, 0x00280101, 0x00280102, 0x00282110, 0x00282112, 0x00282114,
})  # fmt: skip
"""Photometric interpretation and planar configuration: a decoder gives RGB for YBR_RCT and YBR_ICT (PS3.5 A.4.4); bits
stored and high bit, where the codestream has fewer; and that there was lossy compression, where nothing said so."""


class Part10(NamedTuple):
    """A Part 10 file's meta information that matters, and the data set's bytes exactly as they lie in the file."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    data_set: bytes


def read_part10(path: Path) -> Part10:
    """Split a file into meta information and data set (PS3.10 7.1). The group length is not trusted.

    Raises:
        ValueError: not a Part 10 file.
    """
    data = path.read_bytes()
    if data[128:132] != b"DICM":
        raise ValueError(f"{path} is not a Part 10 file")
    elements, position = {}, 132
    while data[position : position + 2] == b"\x02\x00":
        group, element, vr = struct.unpack_from("<HH2s", data, position)
        if vr in LONG_VRS:
            length, start = struct.unpack_from("<I", data, position + 8)[0], position + 12
        else:
            length, start = struct.unpack_from("<H", data, position + 6)[0], position + 8
        elements[group << 16 | element] = data[start : start + length]
        position = start + length
    class_uid, instance_uid, syntax = (
        elements.get(tag, b"").rstrip(b"\0 ").decode("ascii", "replace") for tag in (0x00020002, 0x00020003, 0x00020010)
    )
    return Part10(class_uid, instance_uid, syntax, data[position:])


def difference(expected: Path, actual: Path) -> str:
    """What differs between two files' data sets, element by element and pixel by pixel; "" when nothing does.

    Encoding does not count: transfer syntax, byte order, explicit or undefined lengths, group lengths and padding
    may differ. Pixel data of different transfer syntaxes is compared decoded.
    """
    from pydicom import dcmread

    first, second = dcmread(expected, force=True), dcmread(actual, force=True)
    same_syntax = first.file_meta.TransferSyntaxUID == second.file_meta.TransferSyntaxUID
    found = _elements_differ(first, second, "", frozenset() if same_syntax else CHANGED_BY_DECODING)
    if found or "PixelData" not in first:
        return found
    if "PixelData" not in second:
        return "no pixel data arrived"
    if same_syntax and first.PixelData == second.PixelData:
        return ""
    import numpy as np

    if first.PhotometricInterpretation.startswith("YBR") and second.PhotometricInterpretation == "RGB":
        differences = np.abs(_samples(expected, rgb=True).astype(int) - _samples(actual))
        return "" if differences.max() <= 1 else "the pixels differ"
    try:
        same = np.array_equal(first.pixel_array, second.pixel_array)
    except RuntimeError:  # pydicom has no decoder; dcmkit's have tests of their own
        same = np.array_equal(_samples(expected), _samples(actual))
    return "" if same else "the pixels differ"


def _elements_differ(first: Any, second: Any, where: str, allowed: frozenset[int]) -> str:
    tags = {element.tag for data_set in (first, second) for element in data_set if _counts(element.tag)} - allowed
    for tag in sorted(tags):
        name = f"{where}{tag}"
        if (tag in first) != (tag in second):
            return f"{name} only in the {'first' if tag in first else 'second'}"
        one, other = first[tag], second[tag]
        if one.VR == "SQ" and other.VR == "SQ":
            if len(one.value) != len(other.value):
                return f"{name}: {len(one.value)} items became {len(other.value)}"
            for index, (item_one, item_other) in enumerate(zip(one.value, other.value, strict=True)):
                found = _elements_differ(item_one, item_other, f"{name}[{index}]/", frozenset())
                if found:
                    return found
        elif _plain(one) != _plain(other):
            return f"{name}: {_plain(one)!r:.80} became {_plain(other)!r:.80}"
    return ""


def _counts(tag: Any) -> bool:
    return tag.element != 0 and tag not in (0x7FE00010, 0xFFFCFFFC)


def _plain(element: Any) -> Any:
    value = element.value
    if isinstance(value, (bytes, str)):
        return value.rstrip("\0 " if isinstance(value, str) else b"\0 ")
    return str(value) if element.VM > 1 or value else ""


def _samples(path: Path, *, rgb: bool = False) -> Any:
    """All frames, as dcmkit decodes them; with `rgb`, luminance and chrominance made that."""
    import numpy as np

    from dcmkit.pixels.codecs import decode_frame
    from dcmkit.pixels.image_file import ImageFile
    from tests.interop.transcoding import as_rgb

    frames = []
    with ImageFile(str(path)) as image:
        assert image.description is not None
        for index in range(image.number_of_frames):
            found = decode_frame(image.frame(index), image.transfer_syntax_uid, image.description)
            array = as_rgb(found.array, found.photometric_interpretation, found.bits_stored) if rgb else found.array
            frames.append(array.copy())
    return np.array(frames)
