"""From a frame to what a display shows: the grayscale and colour pipelines of PS3.4 N.2 and PS3.3 C.11.

frame -> modality LUT -> VOI LUT -> presentation LUT (or palette, or colour space) -> overlays and shutters
      -> region, rotation, flip, scale -> annotations
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from dcmkit.dataset.elements import DataSet, items, text
from dcmkit.dataset.raw import RawElements
from dcmkit.errors import InvalidDataSetError, UsageError
from dcmkit.pixels import colors, luts, markup, overlays, presentation, raster
from dcmkit.pixels.luts import Grey, Lut, Rescale, Window, between, numbers
from dcmkit.pixels.presentation import PresentationState, View
from dcmkit.pixels.raster import Region

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from dcmkit.pixels.description import PixelDescription
    from dcmkit.pixels.frames import Decoded
    from dcmkit.pixels.image_file import ImageFile

    Array = NDArray[Any]
    Decoder = Callable[[bytes | memoryview, str, PixelDescription], Decoded]

AUTO, PRESET, VOI_LUT, MINMAX, MINMAX_INNER, PERCENTILES, NONE = (
    "auto", "preset", "lut", "minmax", "minmax-inner", "percentiles", "none",
)  # fmt: skip
VOIS = (AUTO, PRESET, VOI_LUT, MINMAX, MINMAX_INNER, PERCENTILES, NONE)
"""How the values to show are chosen where no window is given: what the object says or else percentiles, a window of the
object, a VOI LUT of it, lowest to highest, the same without the two extremes, percentiles, all that could be."""

_MEASURED = 1 << 16
"""Pixels that are enough to know the percentiles of an image that says nothing."""

_SHARED, _PER_FRAME = 0x52009229, 0x52009230
_PIXEL_VALUE, _FRAME_VOI, _PIXEL_MEASURES = 0x00289145, 0x00289132, 0x00289110
_MACROS = (_PIXEL_VALUE, _FRAME_VOI, _PIXEL_MEASURES)
_PADDING, _PADDING_LIMIT, _ICC_PROFILE = 0x00280120, 0x00280121, 0x00282000
_RELATIONSHIP, _PIXEL_PRESENTATION = 0x00281040, 0x00089205
_ASPECT, _SPACINGS = 0x00280034, (0x00280030, 0x00181164)
_XRAY = ("1.2.840.10008.5.1.4.1.1.12.1", "1.2.840.10008.5.1.4.1.1.12.2", "1.2.840.10008.5.1.4.1.1.12.3")
_GROUPS = frozenset({0x28, 0x2050, 0x5200, *overlays.GROUPS})
_TAGS = frozenset({
    0x00080005, presentation.SOP_CLASS_UID, presentation.SOP_INSTANCE_UID, _PIXEL_PRESENTATION, _SPACINGS[1],
    *range(0x00181600, 0x00181625),
})  # fmt: skip
_CINE = frozenset({0x00082144, 0x00180040, 0x00181063, 0x00181065})
_elements: WeakKeyDictionary[ImageFile, DataSet] = WeakKeyDictionary()


class Rendering(NamedTuple):
    """How to show a frame. The defaults show it as the object itself wants to be shown.

    Attributes:
        window: centre and width; colour images are windowed only when it is given.
        function: VOI LUT function of `window`; "" is what the object says, or LINEAR.
        voi: one of `VOIS`.
        preset: number of the window or VOI LUT, counted from 1, or its explanation.
        percentiles: lowest and highest, of `PERCENTILES`, and of an object that has neither window nor VOI LUT.
        window_of: where lowest, highest and percentiles are looked for; None is the whole frame.
        modality: whether the modality LUT is applied.
        padding: whether pixel padding is left out of measurements, and black.
        shape: presentation LUT shape in place of the object's: IDENTITY, INVERSE or "".
        invert: bright becomes dark, at the end.
        grayscale: colours become their luminance.
        icc: colours are brought from the object's ICC profile to sRGB.
        overlays: None for none, () for all, or groups or their numbers from 0.
        overlay_mode: one of `overlays.MODES`, or "" for what fits the overlay.
        overlay_level, overlay_threshold: 0 to 1.
        shutters: whether the object's own display shutter is applied.
        state: a presentation state; its transformations alone count, also those it leaves out, and options over it.
        annotations: whether its graphics and texts are drawn.
        region: what to cut out, in pixels of the image.
        rotation: clockwise, a multiple of 90; after that of a presentation state.
        size: rows and columns that the picture gets exactly; 0 where one follows from the other.
        viewport: rows and columns it is fitted into; 0 where one does not matter.
        factors: of rows and columns; 0 where one follows from the other.
        method: one of `raster.METHODS`, or "".
        aspect: whether pixels that are not square are made so; None is where the picture is scaled anyway.
        depth: bits of a sample of the result, 8 or 16.
    """

    window: tuple[float, float] | None = None
    function: str = ""
    voi: str = AUTO
    preset: int | str = 1
    percentiles: tuple[float, float] = (1.0, 99.0)
    window_of: Region | None = None
    modality: bool = True
    padding: bool = True
    shape: str = ""
    invert: bool = False
    grayscale: bool = False
    icc: bool = False
    overlays: tuple[int, ...] | None = None
    overlay_mode: str = ""
    overlay_level: float = 1.0
    overlay_threshold: float = 0.5
    shutters: bool = False
    state: PresentationState | None = None
    annotations: bool = True
    region: Region | None = None
    rotation: int = 0
    flip_horizontally: bool = False
    flip_vertically: bool = False
    size: tuple[int, int] | None = None
    viewport: tuple[int, int] | None = None
    factors: tuple[float, float] | None = None
    method: str = ""
    aspect: bool | None = None
    depth: int = 8


AS_IS = Rendering()


def render(image: ImageFile, frame: int = 0, how: Rendering = AS_IS, *, decode: Decoder | None = None) -> Array:
    """One frame of an image, ready for a display.

    Args:
        image: an open file; only this frame of it is read.
        frame: counted from 0.
        how: what to do with it.
        decode: in place of `codecs.decode_frame` (for example `guard.decode_guarded`).

    Returns:
        Shape (rows, columns), or (rows, columns, 3) for colours; unsigned, of `how.depth` bits.

    Raises:
        InvalidDataSetError: there are no pixels, they are damaged, or what is said about them contradicts itself.
        UnsupportedSyntaxError: they cannot be decoded here.
        UsageError: `how` asks for what cannot be.
    """
    if image.description is None:
        raise InvalidDataSetError("there is no image in it: the object has no pixel data")
    if decode is None:
        from dcmkit.pixels.codecs import decode_frame

        decode = decode_frame
    decoded = decode(image.frame(frame), image.transfer_syntax_uid, image.description)
    return render_decoded(decoded, image.description, rendering_elements(image), frame, how)


def rendering_elements(image: ImageFile) -> DataSet:
    """Those elements of an image that say how it is to be shown; private ones and texts are many, and cost time."""
    found = _elements.get(image)
    if found is None:
        wanted = (one for one in image.elements if one.tag in _TAGS or one.tag >> 16 in _GROUPS)
        found = _elements[image] = RawElements(image.elements.data, image.encoding, wanted).decoded()
    return found


def frame_delays(image: ImageFile) -> list[float]:
    """How long each frame of an image is shown when it moves, in milliseconds (PS3.3 C.7.6.5)."""
    wanted = (one for one in image.elements if one.tag in _CINE)
    said = RawElements(image.elements.data, image.encoding, wanted).decoded()
    vector, time = numbers(said, 0x00181065), numbers(said, 0x00181063)
    count = image.number_of_frames
    if len(vector) == count and count > 1:  # each is the time since the frame before
        steps = [*vector[1:], vector[-1]]
        if all(1 <= step <= 60_000 for step in steps):
            return steps
    rates = numbers(said, 0x00082144) or numbers(said, 0x00180040)
    delay = time[0] if time and time[0] > 0 else 1000 / rates[0] if rates and rates[0] > 0 else 100.0
    return [min(60_000.0, max(1.0, delay))] * count


def render_decoded(
    decoded: Decoded,
    description: PixelDescription,
    data_set: DataSet,
    frame: int = 0,
    how: Rendering = AS_IS,
) -> Array:
    """The same for a frame that is decoded already."""
    return _Renderer(decoded, description, data_set, frame, how).picture()


def extent(image: ImageFile, frame: int = 0, *, decode: Decoder | None = None) -> tuple[float, float] | None:
    """The lowest and highest value of a frame, behind the modality LUT; None of colours.

    Raises:
        InvalidDataSetError, UnsupportedSyntaxError: as `render`.
    """
    assert image.description is not None
    if decode is None:
        from dcmkit.pixels.codecs import decode_frame

        decode = decode_frame
    decoded = decode(image.frame(frame), image.transfer_syntax_uid, image.description)
    if decoded.array.ndim == 3 or decoded.photometric_interpretation == "PALETTE COLOR":
        return None
    how = Rendering(voi=MINMAX, padding=False)
    return _Renderer(decoded, image.description, rendering_elements(image), frame, how).extent()


def frame_elements(data_set: DataSet, frame: int) -> DataSet:
    """The elements that hold for a frame: those of functional groups go before the object's (PS3.3 C.7.6.16)."""
    if _SHARED not in data_set and _PER_FRAME not in data_set:
        return data_set
    found = dict(data_set)
    for group in (*items(data_set, _SHARED)[:1], *items(data_set, _PER_FRAME)[frame : frame + 1]):
        for macro in _MACROS:
            for item in items(group, macro)[:1]:
                found.update(item)
    return found


class _Renderer:
    """One frame on its way."""

    def __init__(
        self, decoded: Decoded, description: PixelDescription, data_set: DataSet, frame: int, how: Rendering
    ) -> None:
        self._decoded, self._description, self._how, self._frame = decoded, description, how, frame
        self._elements = frame_elements(data_set, frame)
        uid = text(data_set, presentation.SOP_INSTANCE_UID)
        self._view = how.state.view(uid, frame) if how.state is not None else View()
        odd = description.high_bit - description.bits_stored + 1
        self._shift = max(0, min(odd, description.bits_allocated - description.bits_stored))
        if description.bits_allocated == 1 or decoded.bits_stored != description.bits_stored:
            self._shift = 0
        if how.depth not in (8, 16):
            raise UsageError(f"pictures of {how.depth} bits cannot be", hint="8 or 16")

    def picture(self) -> Array:
        """All of the way."""
        array = self._decoded.array
        if array.ndim == 3:
            picture = self._color(array)
        elif self._decoded.photometric_interpretation == "PALETTE COLOR":
            picture = self._palette(array)
        else:
            picture = self._grey(array)
        if self._how.icc and picture.ndim == 3:
            profile = self._elements.get(_ICC_PROFILE)
            if profile is not None and isinstance(profile.value, bytes):
                picture = colors.to_srgb(picture, profile.value)
        if self._how.grayscale:
            picture = raster.grey_of(picture)
        if self._how.invert and not self._inverted_in_table:
            picture = np.iinfo(picture.dtype).max - picture
        picture = self._with_overlays(picture)
        return self._placed(self._with_shutters(picture))

    def extent(self) -> tuple[float, float]:
        """Lowest and highest value that are there."""
        window = self._measured(self._decoded.array, self._modality(self._decoded.signed))
        return window.center - window.width / 2, window.center + window.width / 2

    # --- grey values ---------------------------------------------------------------------------------------------

    @property
    def _inverted_in_table(self) -> bool:
        is_grey = self._decoded.array.ndim == 2 and self._decoded.photometric_interpretation != "PALETTE COLOR"
        return is_grey and self._view.palette is None and not self._supplemented()

    def _supplemented(self) -> bool:
        return text(self._elements, _PIXEL_PRESENTATION) in ("COLOR", "MIXED") and luts.has_palette(self._elements)

    def _grey(self, stored: Array) -> Array:
        how, view = self._how, self._view
        bits, signed = self._decoded.bits_stored, self._decoded.signed
        modality = self._modality(signed)
        voi = self._voi(stored, modality)
        palette = view.palette
        inverted = self._inverted()
        if self._inverted_in_table and how.invert:
            inverted = not inverted
        grey = Grey(modality, voi, self._presentation_lut(), inverted, self._padding(signed), how.depth)
        if palette is not None:  # what the VOI gives, over all of the palette (PS3.4 N.2.3)
            levels = luts.render_grey(stored, bits, signed, self._shift, grey._replace(depth=16))
            places = levels.astype(np.uint32) * len(palette.colors) >> 16
            return palette.apply(places + palette.first, how.depth)
        levels = luts.render_grey(stored, bits, signed, self._shift, grey)
        return self._supplement(stored, levels) if self._supplemented() else levels

    def _supplement(self, stored: Array, levels: Array) -> Array:
        """Stored values from the first mapped one on have colours (PS3.3 C.8.16.2.1.1.1)."""
        signed = self._decoded.signed
        palette = luts.read_palette(self._elements, signed=signed)
        values = luts.stored_values(stored, self._decoded.bits_stored, signed, self._shift)
        picture = raster.colored(levels)
        marked = values >= palette.first
        picture[marked] = palette.apply(values[marked], self._how.depth)
        return picture

    def _modality(self, signed: bool) -> Rescale | Lut:
        if not self._how.modality:
            return Rescale()
        if self._how.state is not None:  # required there if one is to be applied (PS3.3 A.33.1.3)
            return self._view.modality or Rescale()
        xray = text(self._elements, presentation.SOP_CLASS_UID) in _XRAY
        if xray and text(self._elements, _RELATIONSHIP) in ("LOG", "DISP"):
            return Rescale()  # not meant for display (PS3.3 C.8.7.1.1.2)
        return presentation.read_modality(self._elements, signed=signed) or Rescale()

    def _voi(self, stored: Array, modality: Rescale | Lut) -> Window | Lut:
        how = self._how
        lowest, highest = self._possible()
        signed = modality.bounds(lowest, highest)[0] < 0
        if how.window is not None:
            function = how.function or text(self._elements, presentation.FUNCTION) or luts.LINEAR
            return Window(*how.window, function)
        if how.voi in (AUTO, PRESET, VOI_LUT):
            if how.state is not None and how.voi == AUTO and how.preset == 1:
                return self._view.voi or between(*modality.bounds(lowest, highest))
            found = self._chosen(presentation.read_vois(self._elements, signed=signed))
            if found is not None:
                if how.function and isinstance(found, Window):
                    return found._replace(function=how.function)
                return found
        if how.voi == NONE or (stored.dtype == np.uint8 and self._decoded.bits_stored == 1):
            return between(*modality.bounds(lowest, highest))
        plain = self._decoded.bits_stored == 8 and not self._decoded.signed and modality == Rescale()
        if how.voi == AUTO and plain:  # 8 bits without a window are meant as they are
            return between(0, 255)
        if how.voi not in VOIS:
            raise UsageError(f"{how.voi!r} is no way to choose values", hint=f"one of {', '.join(VOIS)}")
        return self._measured(stored, modality)

    def _chosen(self, found: list[Window | Lut]) -> Window | Lut | None:
        how = self._how
        wanted = found
        if how.voi == PRESET:
            wanted = [one for one in found if isinstance(one, Window)] if isinstance(how.preset, int) else found
        elif how.voi == VOI_LUT:
            wanted = [one for one in found if isinstance(one, Lut)]
        if isinstance(how.preset, int):
            if 1 <= how.preset <= len(wanted):
                return wanted[how.preset - 1]
        else:
            for one in wanted:
                if one.explanation.strip().casefold() == how.preset.strip().casefold():
                    return one
        if how.voi == AUTO and how.preset == 1:
            return None
        kind = "VOI LUT" if how.voi == VOI_LUT else "window"
        there = ", ".join(f"{number} {one.explanation}".strip() for number, one in enumerate(wanted, 1))
        raise InvalidDataSetError(
            f"there is no {kind} {how.preset}", hint=f"it has: {there}" if there else "it has none"
        )

    def _measured(self, stored: Array, modality: Rescale | Lut) -> Window:
        """From the lowest value that is there to the highest, or between percentiles; padding is left out."""
        how, signed = self._how, self._decoded.signed
        if how.window_of is not None:
            stored = raster.cut(stored, how.window_of)
        values = luts.stored_values(stored, self._decoded.bits_stored, signed, self._shift)
        padding = self._padding(signed)
        if padding is not None:
            kept = values[(values < padding[0]) | (values > padding[1])]
            values = kept if kept.size else values
        if values.dtype.kind == "f":
            kept = values[np.isfinite(values)]
            values = kept if kept.size else np.zeros(1)
        if isinstance(modality, Lut):  # a table may have any order
            values, modality = modality.apply(values).astype(np.uint16), Rescale()
        if how.voi in (AUTO, PERCENTILES):
            part = values
            if how.voi == AUTO and values.size > _MEASURED:
                part = values.ravel()[:: values.size // _MEASURED | 1]  # odd: not always the same columns
            low, high = luts.percentiles(part, *how.percentiles)
            if low < high:  # else nearly everything has one value
                return between(*modality.bounds(low, high))
        least, most = values.min(), values.max()
        ends = least, most
        if how.voi == MINMAX_INNER:
            inner = values[(values > least) & (values < most)]
            ends = (inner.min(), inner.max()) if inner.size else ends
        return between(*modality.bounds(float(ends[0]), float(ends[1])))

    def _possible(self) -> tuple[float, float]:
        """The lowest and highest value a sample can have."""
        array = self._decoded.array
        if array.dtype.kind == "f":
            finite = array[np.isfinite(array)]
            return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
        top = 1 << self._decoded.bits_stored
        return (-top / 2, top / 2 - 1) if self._decoded.signed else (0.0, top - 1.0)

    def _presentation_lut(self) -> Lut | None:
        if self._how.shape:
            return None
        if self._view.presentation is not None or self._how.state is not None:
            return self._view.presentation
        tables = items(self._elements, presentation.PRESENTATION_LUTS)
        return luts.read_lut(tables[0]) if tables else None

    def _inverted(self) -> bool:
        """Once for MONOCHROME1 or the shape INVERSE, which say the same; a state counts alone (PS3.3 C.11.6)."""
        if self._how.shape:
            return self._how.shape == "INVERSE"
        if self._how.state is not None:
            return self._view.inverted
        shape = text(self._elements, presentation.PRESENTATION_SHAPE)
        return self._decoded.photometric_interpretation == "MONOCHROME1" or shape == "INVERSE"

    def _padding(self, signed: bool) -> tuple[int, int] | None:
        found = numbers(self._elements, _PADDING)
        if not found or not self._how.padding:
            return None
        limits = int(found[0]), int((numbers(self._elements, _PADDING_LIMIT) or found)[0])
        bits = self._decoded.bits_stored
        if bits > 16:
            return min(limits), max(limits)
        mask = (1 << bits) - 1
        half = 1 << bits - 1
        inside = [((limit & mask) ^ half) - half if signed else limit & mask for limit in limits]
        return min(inside), max(inside)

    # --- colours -------------------------------------------------------------------------------------------------

    def _color(self, samples: Array) -> Array:
        how, bits = self._how, self._decoded.bits_stored
        if samples.shape[2] == 4:  # ARGB of old, or an alpha that some writers add
            samples = samples[..., :3]
        if samples.shape[2] != 3:
            raise InvalidDataSetError(f"an image of {samples.shape[2]} samples for each pixel cannot be rendered")
        if samples.dtype.kind == "i":
            samples = samples.view(samples.dtype.str.replace("i", "u"))
        picture = colors.to_rgb(samples, self._decoded.photometric_interpretation, bits)
        if how.window is not None:
            grey = Grey(Rescale(), Window(*how.window, how.function or luts.LINEAR), depth=how.depth)
            return luts.render_grey(picture, bits, False, 0, grey)
        return colors.with_depth(picture, bits, how.depth)

    def _palette(self, stored: Array) -> Array:
        palette = luts.read_palette(self._elements, signed=self._decoded.signed)
        values = luts.stored_values(stored, self._decoded.bits_stored, self._decoded.signed, self._shift)
        return palette.apply(values, self._how.depth)

    # --- over the picture ----------------------------------------------------------------------------------------

    def _with_overlays(self, picture: Array) -> Array:
        how, view = self._how, self._view
        own = overlays.find_overlays(self._elements)
        shown = [*view.overlays, *(overlays.wanted(own, view.groups) if view.groups else ())]
        if how.overlays is not None:
            shown += overlays.wanted(own, how.overlays or None)
        rows, columns = picture.shape[:2]
        for overlay in shown:
            plane = overlay.plane(self._frame, self._decoded.array)
            if plane is not None:
                mask = overlays.placed(overlay, plane, rows, columns)
                mode = how.overlay_mode or (overlays.REPLACE if overlay.kind != "R" else overlays.COMPLEMENT)
                picture = overlays.draw(picture, mask, mode, how.overlay_level, how.overlay_threshold)
        return picture

    def _with_shutters(self, picture: Array) -> Array:
        shutters = self._view.shutters
        if shutters is None and self._how.shutters:
            shutters = presentation.read_shutters(self._elements)
        if shutters is None:
            return picture
        kept = presentation.uncovered(shutters, *picture.shape[:2])
        level = round(shutters.level * np.iinfo(picture.dtype).max)
        return np.where(kept[..., None] if picture.ndim == 3 else kept, picture, level).astype(picture.dtype)

    # --- where and how large -------------------------------------------------------------------------------------

    def _placed(self, picture: Array) -> Array:
        how, view = self._how, self._view
        region = how.region
        if region is None and view.area is not None:
            area = view.area
            region = Region(area.left - 1, area.top - 1, area.right - area.left + 1, area.bottom - area.top + 1)
        path = markup.Path(*picture.shape[:2])
        if region is not None:
            picture = raster.cut(picture, region)
            path.cut(region)
        for degrees, across, down in (
            (view.rotation, view.flipped, False),
            (how.rotation, how.flip_horizontally, how.flip_vertically),
        ):
            picture = raster.flip(raster.rotate(picture, degrees), horizontally=across, vertically=down)
            path.turn(degrees, horizontally=across, vertically=down)
        rows, columns = self._target(*picture.shape[:2])
        picture = raster.scale(picture, rows, columns, how.method)
        path.scale(rows, columns)
        if how.annotations and (view.graphics or view.notes):
            picture = markup.draw(picture, view.graphics, view.notes, path)
        return picture

    def _target(self, rows: int, columns: int) -> tuple[int, int]:
        """The size of the picture."""
        how = self._how
        turned = (self._view.rotation + how.rotation) % 180 == 90
        scaled = (how.size or how.viewport or how.factors or self._view.area) is not None
        aspect = self._aspect() if (scaled if how.aspect is None else how.aspect) else 1.0
        aspect = 1 / aspect if turned else aspect
        if how.size is not None:
            height, width = how.size
            if height and width:
                return height, width
            return raster.fitted(rows, columns, height, width, aspect)
        if how.viewport is not None:
            return raster.fitted(rows, columns, *how.viewport, aspect)
        down, across = how.factors or (1.0, 1.0)
        area = self._view.area
        if area is not None and area.mode == "MAGNIFY" and how.factors is None:
            down = across = area.magnification
        down, across = down or across, across or down
        if aspect >= 1:  # no pixel is lost: the shorter side grows
            down *= aspect
        else:
            across /= aspect
        return max(1, round(rows * down)), max(1, round(columns * across))

    def _aspect(self) -> float:
        """Height of a pixel divided by its width (PS3.3 C.7.6.3.1.7); of spacings only where no ratio is given."""
        if self._view.area is not None:
            return self._view.area.aspect
        for tag in (_ASPECT, *_SPACINGS):
            found = numbers(self._elements, tag)
            if len(found) == 2 and found[0] > 0 and found[1] > 0:
                ratio = found[0] / found[1]
                return ratio if 0.1 <= ratio <= 10 and abs(ratio - 1) > 1e-3 else 1.0
        return 1.0
