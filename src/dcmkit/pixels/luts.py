"""Grey values and colours by tables: modality LUT, VOI LUT, presentation LUT and palettes (PS3.3 C.11, C.7.9).

Everything a grey image goes through on its way to a display depends on one stored value at a time. So the whole way is
worked out once for each value a sample can have, and a frame is looked up in that table; only what has no more than a
few values too many for one (32 bits, floating point) is calculated pixel by pixel.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dcmkit.dataset.elements import text
from dcmkit.errors import InvalidDataSetError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dcmkit.dataset.elements import DataSet

    Array = NDArray[Any]

LUT_DESCRIPTOR, LUT_EXPLANATION, LUT_DATA = 0x00283002, 0x00283003, 0x00283006
LINEAR, LINEAR_EXACT, SIGMOID = "LINEAR", "LINEAR_EXACT", "SIGMOID"
FUNCTIONS = (LINEAR, LINEAR_EXACT, SIGMOID)
"""VOI LUT Function (0028,1056)."""
_TABLE_BITS = 16


class Rescale(NamedTuple):
    """Rescale Slope and Intercept (PS3.3 C.11.1.1.2)."""

    slope: float = 1.0
    intercept: float = 0.0

    def apply(self, values: Array) -> Array:
        """The values in the units of the modality."""
        if self.slope == 1.0 and self.intercept == 0.0:
            return values.astype(np.float64, copy=False)
        return values * self.slope + self.intercept

    def bounds(self, low: float, high: float) -> tuple[float, float]:
        """What becomes of the lowest and highest value."""
        ends = low * self.slope + self.intercept, high * self.slope + self.intercept
        return min(ends), max(ends)


class Lut(NamedTuple):
    """A table: the first entry is for `first` and all below, the last one for all above (PS3.3 C.11.1.1.1).

    Attributes:
        first: the first stored value mapped.
        data: the entries, 16 bits each, little endian.
        bits: how many bits an entry has.
        explanation: what a person may call it.
    """

    first: int
    data: bytes
    bits: int
    explanation: str = ""

    @property
    def entries(self) -> Array:
        """The entries."""
        return np.frombuffer(self.data, "<u2")

    def apply(self, values: Array) -> Array:
        """The entries for values."""
        entries = self.entries
        wanted = np.nan_to_num(np.floor(values)) - self.first
        found: Array = entries[np.clip(wanted, 0, len(entries) - 1).astype(np.intp)]
        return found.astype(np.float64)

    def bounds(self, low: float, high: float) -> tuple[float, float]:
        """What the entries can be."""
        return 0.0, float((1 << self.bits) - 1)


class Window(NamedTuple):
    """Window Center and Width, and the function they are meant for."""

    center: float
    width: float
    function: str = LINEAR
    explanation: str = ""

    def apply(self, values: Array) -> Array:
        """From 0 to 1."""
        return windowed(values, self.center, self.width, self.function)


def between(low: float, high: float) -> Window:
    """The window in which `low` is black and `high` white."""
    return Window((low + high) / 2, high - low, LINEAR_EXACT)


def windowed(values: Array, center: float, width: float, function: str = LINEAR) -> Array:
    """Window functions of PS3.3 C.11.2.1.2 and C.11.2.1.3, with an output from 0 to 1.

    Raises:
        InvalidDataSetError: a width or function that is none.
    """
    if not np.isfinite(center) or not np.isfinite(width):
        raise InvalidDataSetError(f"window {center}, {width} is no window")
    if function == SIGMOID:
        if width <= 0:
            raise InvalidDataSetError(f"window width {width:g}: it must be above 0 (PS3.3 C.11.2.1.3)")
        with np.errstate(over="ignore"):
            return 1 / (1 + np.exp(-4 * (values - center) / width))
    if function == LINEAR_EXACT:
        if width < 0:
            raise InvalidDataSetError(f"window width {width:g}: it must be above 0 (PS3.3 C.11.2.1.3.2)")
        if width == 0:
            return (values > center).astype(np.float64)
        return np.clip((values - center) / width + 0.5, 0.0, 1.0)
    if function != LINEAR:
        raise InvalidDataSetError(f"VOI LUT function {function!r} is unknown", hint=f"one of {', '.join(FUNCTIONS)}")
    if width < 1:
        raise InvalidDataSetError(f"window width {width:g}: it must be 1 or more (PS3.3 C.11.2.1.2)")
    if width == 1:
        return (values > center - 0.5).astype(np.float64)
    return np.clip((values - (center - 0.5)) / (width - 1) + 0.5, 0.0, 1.0)


# --- the whole way of a grey value -------------------------------------------------------------------------------


class Grey(NamedTuple):
    """What a stored value goes through.

    Attributes:
        presentation: applied after the VOI, or None for identity (PS3.3 C.11.4, C.11.6).
        inverted: whether low values are bright at the end.
        padding: the stored values, first and last, that are no image and become black; or None (PS3.3 C.7.5.1.1.2).
        depth: bits of the result, 8 or 16.
    """

    modality: Rescale | Lut = Rescale()
    voi: Window | Lut = Window(0.5, 1.0, LINEAR_EXACT)
    presentation: Lut | None = None
    inverted: bool = False
    padding: tuple[int, int] | None = None
    depth: int = 8

    def apply(self, stored: Array) -> Array:
        """Grey levels of stored values."""
        shown = self.modality.apply(stored)
        if isinstance(self.voi, Lut):
            shown = self.voi.apply(shown) / ((1 << self.voi.bits) - 1)
        else:
            shown = self.voi.apply(shown)
        if self.presentation is not None:
            last = len(self.presentation.data) // 2 - 1
            shown = self.presentation.entries[np.rint(shown * last).astype(np.intp)]
            shown = shown / ((1 << self.presentation.bits) - 1)
        if self.inverted:
            shown = 1.0 - shown
        if self.padding is not None:
            shown = np.where((stored >= self.padding[0]) & (stored <= self.padding[1]), 0.0, shown)
        top = (1 << self.depth) - 1
        levels = np.nan_to_num(shown * top + 0.5, nan=0.0)
        return np.clip(levels, 0, top).astype(np.uint8 if self.depth == 8 else np.uint16)


def render_grey(stored: Array, bits_stored: int, signed: bool, shift: int, grey: Grey) -> Array:
    """Grey levels of a frame, through a table where samples have 16 bits or less.

    Args:
        stored: the samples as allocated; bits outside of those stored do not matter.
        bits_stored: how many of their bits are the value.
        signed: whether the value is in two's complement.
        shift: how many bits are below the value.
        grey: the way of a value.
    """
    if stored.dtype.itemsize > 2 or stored.dtype.kind == "f":
        return grey.apply(stored_values(stored, bits_stored, signed, shift))
    allocated = stored.dtype.itemsize * 8
    table = _table(allocated, min(bits_stored, allocated), signed, shift, grey)
    return look_up(table, stored)


@lru_cache(maxsize=64)
def _table(allocated: int, bits_stored: int, signed: bool, shift: int, grey: Grey) -> Array:
    """The grey level of each pattern of bits a sample can have."""
    values = np.arange(1 << bits_stored, dtype=np.int64)
    if signed:
        values[len(values) // 2 :] -= len(values)
    levels = grey.apply(values)
    if shift:
        levels = np.repeat(levels, 1 << shift)
    return np.tile(levels, max(1, (1 << allocated) // len(levels)))


def look_up(table: Array, stored: Array) -> Array:
    """The entry of a table for each sample's bits; the table has as many entries as samples have patterns."""
    plain = stored if stored.dtype.isnative else stored.astype(stored.dtype.newbyteorder("="))
    unsigned = plain.view(np.uint8 if plain.dtype.itemsize == 1 else np.uint16)
    return table.take(unsigned)


def stored_values(stored: Array, bits_stored: int, signed: bool, shift: int) -> Array:
    """The values of samples: what is beside the bits stored is taken away, and the sign extended."""
    if stored.dtype.kind not in "iu":
        return stored
    allocated = stored.dtype.itemsize * 8
    if bits_stored + shift >= allocated and not shift:
        if (stored.dtype.kind == "i") == signed:
            return stored
        return stored.view(stored.dtype.str.replace("u" if signed else "i", "i" if signed else "u"))
    up = max(0, allocated - bits_stored - shift)
    raw = stored.view(stored.dtype.str.replace("i", "u")) << up
    if signed:
        raw = raw.view(raw.dtype.str.replace("u", "i"))
    values: Array = raw >> (up + shift)
    return values


def percentiles(values: Array, low: float, high: float) -> tuple[float, float]:
    """The values that no more than `low` percent are below, and `100 - high` above; both are there.

    Raises:
        UsageError: these are no percentages, or not in order.
    """
    if not 0 <= low < high <= 100:
        raise UsageError(f"percentiles {low:g} to {high:g}", hint="for example 1 to 99")
    values = values.ravel()
    lower, upper = values.size * low / 100, values.size * high / 100
    if values.dtype.kind in "iu" and values.dtype.itemsize <= 2 and values.size > 256:  # counted, not sorted
        least = int(values.min())
        reached = np.bincount(values.astype(np.intp) - least).cumsum()
        first, last = int(np.searchsorted(reached, lower, "right")), int(np.searchsorted(reached, upper, "left"))
        return float(min(first, len(reached) - 1) + least), float(last + least)
    places = min(int(lower), values.size - 1), max(0, math.ceil(upper) - 1)
    found = np.partition(values, places)
    return float(found[places[0]]), float(found[places[1]])


# --- reading tables ----------------------------------------------------------------------------------------------


def numbers(data_set: DataSet, tag: int) -> list[float]:
    """The values of an element with numbers; what is no number is left out."""
    found = []
    for value in text(data_set, tag).split("\\"):
        try:
            number = float(value)
        except ValueError:
            continue
        if np.isfinite(number):
            found.append(number)
    return found


def read_lut(
    item: DataSet, *, signed: bool = False, descriptor: int = LUT_DESCRIPTOR,
    data: int = LUT_DATA,
) -> Lut:  # fmt: skip
    """A LUT from an item of a LUT sequence, or from a data set (palettes).

    Args:
        item: where descriptor and data are.
        signed: whether the first value mapped is, should it not say so itself.
        descriptor: tag of the descriptor.
        data: tag of the data.

    Raises:
        InvalidDataSetError: there is none, or less of it than the descriptor says.
    """
    count, first, bits = _descriptor(item, descriptor, signed)
    entries = _entries(item, data, count)
    if not len(entries):
        raise InvalidDataSetError("a lookup table without data", offending_element=data)
    if len(entries) < count:  # some writers leave out the last one
        entries = np.concatenate([entries, np.repeat(entries[-1:], count - len(entries))])
    entries = entries[:count]
    bits = max(bits, int(entries.max()).bit_length(), 1)
    return Lut(first, entries.astype("<u2").tobytes(), bits, text(item, LUT_EXPLANATION))


def _descriptor(item: DataSet, tag: int, signed: bool) -> tuple[int, int, int]:
    """Number of entries, first value mapped, bits of an entry (PS3.3 C.11.1.1.1)."""
    values = numbers(item, tag)
    if len(values) < 3:
        raise InvalidDataSetError("a lookup table without a descriptor of three values", offending_element=tag)
    count, first, bits = (int(value) for value in values[:3])
    count &= 0xFFFF
    if signed and first > 0x7FFF:
        first -= 0x10000
    elif not signed and first < 0 and _vr(item, tag) != "SS":
        first &= 0xFFFF
    if not 1 <= bits <= 16:
        raise InvalidDataSetError(f"a lookup table with entries of {bits} bits", offending_element=tag)
    return count or 0x10000, first, bits


def _vr(item: DataSet, tag: int) -> str:
    found = item.get(tag)
    return found.vr if found is not None else ""


def _entries(item: DataSet, tag: int, count: int) -> Array:
    found = item.get(tag)
    if found is None:
        raise InvalidDataSetError("a lookup table without data", offending_element=tag)
    if isinstance(found.value, bytes):
        raw = found.value
        if len(raw) < 2 * count and len(raw) in (count, count + count % 2):
            return np.frombuffer(raw, np.uint8)[:count].astype(np.uint16)
        return np.frombuffer(raw, "<u2", len(raw) // 2).astype(np.uint16)
    if isinstance(found.value, str):
        try:
            values = np.array(found.value.split("\\") if found.value else [], np.float64).astype(np.int64)
        except ValueError:
            raise InvalidDataSetError("a lookup table whose data are no numbers", offending_element=tag) from None
        if len(values) < count <= 2 * len(values):  # two entries of 8 bits in each value
            return values.astype("<u2").view(np.uint8)[:count].astype(np.uint16)
        return (values & 0xFFFF).astype(np.uint16)
    raise InvalidDataSetError("a lookup table whose data are a sequence", offending_element=tag)


# --- palettes ----------------------------------------------------------------------------------------------------

_DESCRIPTORS = 0x00281101, 0x00281102, 0x00281103
_DATA = 0x00281201, 0x00281202, 0x00281203
_SEGMENTED = 0x00281221, 0x00281222, 0x00281223


class Palette(NamedTuple):
    """Red, green and blue Palette Color Lookup Tables (PS3.3 C.7.9).

    Attributes:
        first: the first stored value that has a colour.
        colors: shape (entries, 3), unsigned 16 bit, scaled to 16 bits.
    """

    first: int
    colors: Array

    def apply(self, values: Array, depth: int = 8) -> Array:
        """Colours of stored values, with one more axis."""
        place = np.clip(values.astype(np.int64) - self.first, 0, len(self.colors) - 1)
        colors = self.colors if depth == 16 else (self.colors >> 8).astype(np.uint8)
        return colors[place]


def has_palette(data_set: DataSet) -> bool:
    """Whether there are palettes, plain or segmented."""
    return _DESCRIPTORS[0] in data_set and (_DATA[0] in data_set or _SEGMENTED[0] in data_set)


def read_palette(data_set: DataSet, *, signed: bool = False) -> Palette:
    """The palettes of a data set; 8-bit ones are widened so that white stays white.

    Raises:
        InvalidDataSetError: one of the three is missing or damaged.
    """
    channels = []
    first = 0
    for descriptor, data, segmented in zip(_DESCRIPTORS, _DATA, _SEGMENTED, strict=True):
        if segmented in data_set and data not in data_set:
            count, first, bits = _descriptor(data_set, descriptor, signed)
            entries = _expanded(data_set, segmented, count, bits)
        else:
            lut = read_lut(data_set, signed=signed, descriptor=descriptor, data=data)
            first, entries, bits = lut.first, lut.entries, lut.bits
        channels.append((entries, bits))
    if len({len(entries) for entries, _ in channels}) != 1:
        raise InvalidDataSetError("palettes of different lengths", offending_element=_DESCRIPTORS[0])
    narrow = all(bits <= 8 for _, bits in channels) or all(int(entries.max()) <= 0xFF for entries, _ in channels)
    colors = np.stack([entries for entries, _ in channels], axis=-1).astype(np.uint16)
    return Palette(first, colors * 257 if narrow else colors)


def _expanded(data_set: DataSet, tag: int, count: int, bits: int) -> Array:
    """Segments of a segmented palette written out (PS3.3 C.7.9.2)."""
    found = data_set[tag].value
    if isinstance(found, str):
        found = np.array(found.split("\\"), np.int64).astype("<u2").tobytes()
    if not isinstance(found, bytes):
        raise InvalidDataSetError("a segmented palette that is a sequence", offending_element=tag)
    kind = "u1" if bits == 8 else "<u2"
    words = np.frombuffer(found, kind, len(found) // np.dtype(kind).itemsize).tolist()
    levels: list[int] = []
    _segments(words, 0, len(words), levels, count, bits, top=True)
    if not levels:
        raise InvalidDataSetError("a segmented palette without segments", offending_element=tag)
    levels += levels[-1:] * (count - len(levels))
    return np.array(levels[:count], np.uint16)


def _segments(
    words: list[int], pos: int, limit: int, levels: list[int], count: int, bits: int, *, top: bool, most: int = -1
) -> None:
    """Write out `most` segments (-1: all) from `pos`; indirect ones do not nest (PS3.3 C.7.9.2.3)."""
    while pos + 1 < limit and len(levels) < count and most:
        most -= 1
        code, length = words[pos], words[pos + 1]
        pos += 2
        if code == 0:  # discrete
            levels += words[pos : pos + length]
            pos += length
        elif code == 1 and pos < limit and levels:  # linear
            ramp = np.linspace(levels[-1], words[pos], length + 1)[1:]
            levels += np.rint(ramp).astype(int).tolist()
            pos += 1
        elif code == 2 and top:  # indirect: so many segments again, from an offset in bytes
            parts = words[pos : pos + (4 if bits == 8 else 2)]
            pos += len(parts)
            size = 1 if bits == 8 else 2
            offset = sum(part << (bits if bits == 8 else 16) * place for place, part in enumerate(parts)) // size
            _segments(words, offset, limit, levels, count, bits, top=False, most=length)
        else:
            raise InvalidDataSetError(f"a segmented palette with a segment of type {code} that cannot be there")
