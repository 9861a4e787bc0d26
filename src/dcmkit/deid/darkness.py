"""Samples of a frame made as dark as they can be shown, by what they mean (PS3.3 C.7.6.3.1.2)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dcmkit.dataset.raw import RawElements
from dcmkit.errors import InvalidDataSetError, UnsupportedSyntaxError, UsageError
from dcmkit.pixels.description import PIXEL_DATA, PIXEL_REPRESENTATION, PixelDescription

if TYPE_CHECKING:
    from dcmkit.pixels.frames import Array
    from dcmkit.pixels.image_file import ImageFile

Box = tuple[int, int, int, int]
"""Column and row of its first pixel, counted from 0; columns and rows."""

_HALVED = "YBR_FULL_422"
_PALETTE_TAGS = frozenset({0x002811, 0x002812})
"""Tags of palettes, but for their last byte."""


def inside(boxes: Iterable[Box], description: PixelDescription) -> list[Box]:
    """What lies within the image.

    Raises:
        UsageError: a box has no pixels.
        InvalidDataSetError: none of them touches the image.
    """
    rows, columns = description.rows, description.columns
    found = []
    for x, y, width, height in boxes:
        if width < 1 or height < 1:
            raise UsageError(f"a box of {width} columns and {height} rows")
        left, top, right, bottom = max(0, x), max(0, y), min(columns, x + width), min(rows, y + height)
        if left < right and top < bottom:
            found.append((left, top, right - left, bottom - top))
    if not found:
        raise InvalidDataSetError(f"no box touches the image of {columns} columns and {rows} rows",
                                  hint="X,Y,W,H are counted in pixels from the upper left corner")  # fmt: skip
    return found


@contextmanager
def samples_of(content: bytearray, description: PixelDescription) -> Iterator[Array]:
    """A native frame, in little endian, as an array that can be written to; what was written is in `content` after.

    Of shape (rows, columns) or (rows, columns, samples), whatever the planar configuration. With YBR_FULL_422 it is
    (rows, columns / 2, 4), the last axis being Y1 Y2 Cb Cr.

    Raises:
        UnsupportedSyntaxError: an odd number of columns, two of which share their chroma.
    """
    import numpy as np

    rows, columns, samples = description.rows, description.columns, description.samples_per_pixel
    if description.bits_allocated == 1:
        flat = np.unpackbits(np.frombuffer(content, np.uint8), count=rows * columns * samples, bitorder="little")
    else:
        flat = np.frombuffer(content, np.dtype(description.dtype))
    if description.photometric_interpretation == _HALVED:
        if columns % 2:
            raise UnsupportedSyntaxError("an odd number of columns, two of which share their chroma")
        array: Array = flat.reshape(rows, columns // 2, 4)
    elif samples == 1:
        array = flat.reshape(rows, columns)
    elif description.planar_configuration == 1:
        array = flat.reshape(samples, rows, columns).transpose(1, 2, 0)
    else:
        array = flat.reshape(rows, columns, samples)
    yield array
    if description.bits_allocated == 1:
        content[:] = np.packbits(flat, bitorder="little").tobytes()


def clear(samples: Array, mask: int) -> bool:
    """Set bits to zero in all samples; whether any was set before.

    Raises:
        UnsupportedSyntaxError: floating point samples, which have no bits of their own.
    """
    import numpy as np

    if samples.dtype.kind not in "iu":
        raise UnsupportedSyntaxError("bits of floating point samples cannot be cleared")
    bits = samples.view(samples.dtype.str.replace("i", "u"))
    wanted = np.array(mask, bits.dtype)
    if not bool((bits & wanted).any()):
        return False
    bits &= ~wanted
    return True


def with_sign(samples: Array, description: PixelDescription) -> Array:
    """Signed samples whose unused bits are all zero, with their sign in these bits, which codecs count on."""
    stored = description.bits_stored
    shift = 8 * samples.dtype.itemsize - stored
    if samples.dtype.kind != "i" or not shift or description.high_bit != stored - 1:
        return samples
    if int(samples.min()) < 0 or int(samples.max()) >= 1 << stored:
        return samples
    extended: Array = (samples << shift) >> shift
    return extended


def darkest(
    description: PixelDescription,
    samples: Array,
    *,
    palette_index: int = 0,
    bits: int = 0,
    of_image: bool = False,
) -> tuple[float, ...]:
    """One value for each sample of a pixel, as they are stored.

    Args:
        description: of `samples`.
        palette_index: the value of the darkest color of a palette.
        bits: stored, where a codestream has fewer than the data set says.
        of_image: of grey values, the darkest that occurs: one far from them all would cost lossy coding its quality.
    """
    interpretation = description.photometric_interpretation
    count = description.samples_per_pixel
    stored = min(bits or description.bits_stored, description.bits_stored)
    inverse = interpretation == "MONOCHROME1"
    if description.element != PIXEL_DATA or (of_image and count == 1):
        import numpy as np

        finite = samples[np.isfinite(samples)] if samples.dtype.kind == "f" else samples
        if not finite.size:
            return (0,)
        return ((finite.max() if inverse else finite.min()).item(),)
    top = (1 << stored) - 1
    low = -(1 << (stored - 1)) if description.signed else 0
    values = {
        "PALETTE COLOR": (palette_index,),
        "MONOCHROME1": (low + top,) * count,
        "CMYK": (low + top,) * count,
        "YBR_PARTIAL_422": (1 << max(0, stored - 4), 1 << (stored - 1), 1 << (stored - 1)),
        "YBR_PARTIAL_420": (1 << max(0, stored - 4), 1 << (stored - 1), 1 << (stored - 1)),
        "YBR_FULL": (low, *((low + (1 << (stored - 1))),) * 2),
        "YBR_FULL_422": (low, *((low + (1 << (stored - 1))),) * 2),
    }.get(interpretation, (low,) * count)
    shift = max(0, description.high_bit + 1 - description.bits_stored)
    return tuple(value << shift for value in values)


def darken(samples: Array, boxes: Iterable[Box], values: tuple[float, ...], description: PixelDescription) -> None:
    """Give all pixels of the boxes these values.

    With YBR_FULL_422 chroma that a pixel outside shares stays, since that one would change.

    Args:
        samples: as `samples_of` gives them, or decoded ones.
        boxes: within the image.
    """
    import numpy as np

    if samples.dtype.kind in "iu":
        mask = (1 << 8 * samples.dtype.itemsize) - 1
        unsigned = samples.view(samples.dtype.str.replace("i", "u"))
        fill = np.array([int(value) & mask for value in values], unsigned.dtype)
    else:
        unsigned, fill = samples, np.array(values, samples.dtype)
    halved = description.photometric_interpretation == _HALVED and samples.shape[-1] == 4
    for left, top, width, height in boxes:
        right, bottom = left + width, top + height
        if halved:
            rows = unsigned[top:bottom]
            rows[:, (left + 1) // 2 : (right + 1) // 2, 0] = fill[0]
            rows[:, left // 2 : right // 2, 1] = fill[0]
            rows[:, (left + 1) // 2 : right // 2, 2:] = fill[1:]
        elif unsigned.ndim == 2:
            unsigned[top:bottom, left:right] = fill[0]
        else:
            unsigned[top:bottom, left:right] = fill


def palette_index(image: ImageFile) -> int:
    """The stored value whose color is the darkest; 0 where the palette cannot be read."""
    import numpy as np

    from dcmkit.pixels.luts import read_palette

    described = image.description
    assert described is not None
    wanted = [one for one in image.elements if one.tag == PIXEL_REPRESENTATION or one.tag >> 8 in _PALETTE_TAGS]
    try:
        data_set = RawElements(image.elements.data, image.encoding, wanted).decoded()
        palette = read_palette(data_set, signed=described.signed)
    except InvalidDataSetError:
        return 0
    low = -(1 << (described.bits_stored - 1)) if described.signed else 0
    values = np.arange(len(palette.colors)) + palette.first
    luminance = palette.colors @ np.array([299, 587, 114])
    usable = (values >= low) & (values < low + (1 << described.bits_stored))
    return int(values[usable][luminance[usable].argmin()]) if usable.any() else 0
