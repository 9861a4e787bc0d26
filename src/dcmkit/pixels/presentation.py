"""Softcopy presentation states (PS3.3 A.33, PS3.4 Annex N): how somebody wanted an image to be looked at.

A state is read once; `PresentationState.view` says what of it is meant for a frame of an image.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dcmkit.dataset.elements import DataSet, items, text
from dcmkit.errors import InvalidDataSetError, UnsupportedSyntaxError
from dcmkit.pixels.luts import Lut, Palette, Rescale, Window, has_palette, numbers, read_lut, read_palette
from dcmkit.pixels.overlays import Overlay, find_overlays

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[Any]

SOP_CLASS_UID, SOP_INSTANCE_UID = 0x00080016, 0x00080018
_STATES = "1.2.840.10008.5.1.4.1.1.11."
GRAYSCALE, COLOR, PSEUDO_COLOR = _STATES + "1", _STATES + "2", _STATES + "3"
_REFERENCED_SERIES, _REFERENCED_IMAGES = 0x00081115, 0x00081140
_REFERENCED_UID, _REFERENCED_FRAMES = 0x00081155, 0x00081160
MODALITY_LUTS, VOI_LUTS, PRESENTATION_LUTS = 0x00283000, 0x00283010, 0x20500010
INTERCEPT, SLOPE, PRESENTATION_SHAPE = 0x00281052, 0x00281053, 0x20500020
CENTER, WIDTH, EXPLANATION, FUNCTION = 0x00281050, 0x00281051, 0x00281055, 0x00281056
_SOFTCOPY_VOI, _ROTATION, _FLIP = 0x00283110, 0x00700042, 0x00700041
_AREAS, _TOP_LEFT, _BOTTOM_RIGHT = 0x0070005A, 0x00700052, 0x00700053
_SIZE_MODE, _SPACING, _ASPECT, _MAGNIFICATION = 0x00700100, 0x00700101, 0x00700102, 0x00700103
_SHUTTER, _SHUTTER_VALUE, _SHUTTER_GROUP = 0x00181600, 0x00181622, 0x00181623
_EDGES = 0x00181602, 0x00181604, 0x00181606, 0x00181608
_CENTER, _RADIUS, _VERTICES = 0x00181610, 0x00181612, 0x00181620
_ANNOTATIONS, _LAYER, _LAYERS, _LAYER_ORDER = 0x00700001, 0x00700002, 0x00700060, 0x00700062
_LAYER_GREY = 0x00700066
_TEXTS, _GRAPHICS = 0x00700008, 0x00700009
_BOX_UNITS, _ANCHOR_UNITS, _UNITS = 0x00700003, 0x00700004, 0x00700005
_TEXT, _BOX_TOP_LEFT, _BOX_BOTTOM_RIGHT = 0x00700006, 0x00700010, 0x00700011
_ANCHOR, _ANCHOR_VISIBLE = 0x00700014, 0x00700015
_DATA, _KIND, _FILLED = 0x00700022, 0x00700023, 0x00700024


class Graphic(NamedTuple):
    """One graphic object (PS3.3 C.10.5.1.2).

    Attributes:
        kind: POINT, POLYLINE, INTERPOLATED, CIRCLE or ELLIPSE.
        points: x and y, in pixels of the image or as fractions of the displayed area.
        of_display: whether they are fractions.
        level: grey level of its layer, 0 to 1.
    """

    kind: str
    points: tuple[tuple[float, float], ...]
    filled: bool = False
    of_display: bool = False
    level: float = 1.0


class Note(NamedTuple):
    """One text object (PS3.3 C.10.5.1.1): where its box begins, or what it is anchored to."""

    text: str
    place: tuple[float, float]
    of_display: bool = False
    anchor: tuple[float, float] | None = None
    anchor_of_display: bool = False
    level: float = 1.0


class Area(NamedTuple):
    """A displayed area (PS3.3 C.10.4): pixels of the image, counted from 1, both corners included.

    Attributes:
        mode: SCALE TO FIT, TRUE SIZE or MAGNIFY.
        aspect: height of a pixel divided by its width.
        magnification: output pixels for one of the image, where the mode is MAGNIFY.
    """

    left: int
    top: int
    right: int
    bottom: int
    mode: str = "SCALE TO FIT"
    aspect: float = 1.0
    magnification: float = 1.0


class Shutters(NamedTuple):
    """What is not covered (PS3.3 C.7.6.11, C.7.6.15); several shapes leave what all of them leave.

    Attributes:
        rectangle: left, top, right and bottom edge.
        circle: x and y of the centre, and the radius.
    """

    rectangle: tuple[float, float, float, float] | None = None
    circle: tuple[float, float, float] | None = None
    polygon: tuple[tuple[float, float], ...] = ()
    overlay: Overlay | None = None
    level: float = 0.0


class View(NamedTuple):
    """What a state says of one frame; None where it says nothing.

    Attributes:
        inverted: the presentation LUT shape is INVERSE; the image's MONOCHROME1 does not count any more.
        rotation: clockwise, before the flip.
        overlays: those of the state; groups of the image's own that are to be shown are in `groups`.
    """

    modality: Rescale | Lut | None = None
    voi: Window | Lut | None = None
    presentation: Lut | None = None
    inverted: bool = False
    palette: Palette | None = None
    rotation: int = 0
    flipped: bool = False
    area: Area | None = None
    shutters: Shutters | None = None
    overlays: tuple[Overlay, ...] = ()
    groups: tuple[int, ...] = ()
    graphics: tuple[Graphic, ...] = ()
    notes: tuple[Note, ...] = ()


class PresentationState:
    """A presentation state of a kind that can be shown here: grayscale, colour or pseudo-colour softcopy.

    Args:
        data_set: the object.

    Raises:
        UnsupportedSyntaxError: it is of another kind.
        InvalidDataSetError: it is none.
    """

    def __init__(self, data_set: DataSet) -> None:
        kind = text(data_set, SOP_CLASS_UID)
        if kind not in (GRAYSCALE, COLOR, PSEUDO_COLOR):
            if kind.startswith(_STATES):
                raise UnsupportedSyntaxError(
                    f"presentation states of SOP class {kind} cannot be shown",
                    hint="grayscale, color and pseudo-color softcopy presentation states can",
                )
            raise InvalidDataSetError("is no presentation state", offending_element=SOP_CLASS_UID)
        self._data_set, self._kind = data_set, kind

    def view(self, sop_instance_uid: str, frame: int) -> View:
        """What it says of a frame, counted from 0.

        Raises:
            InvalidDataSetError: it is not about this image, or contradicts itself.
        """
        state = self._data_set
        series = items(state, _REFERENCED_SERIES)
        if not any(_refers(item, sop_instance_uid, frame, empty=False) for item in series):
            raise InvalidDataSetError(
                "the presentation state does not refer to this image", hint="render it without --presentation-state"
            )

        def meant(tag: int) -> list[DataSet]:
            return [item for item in items(state, tag) if _refers(item, sop_instance_uid, frame)]

        layers = {text(item, _LAYER): item for item in items(state, _LAYERS)}
        own = find_overlays(state)
        hidden = _shutter_group(state)
        modality = read_modality(state) if self._kind != COLOR else None
        voi = next((found for item in meant(_SOFTCOPY_VOI) for found in read_vois(item)), None)
        presentations = items(state, PRESENTATION_LUTS)
        wants_palette = self._kind == PSEUDO_COLOR and has_palette(state)
        areas = meant(_AREAS)
        return View(
            modality=modality,
            voi=voi,
            presentation=read_lut(presentations[0]) if presentations else None,
            inverted=text(state, PRESENTATION_SHAPE) == "INVERSE",
            palette=read_palette(state) if wants_palette else None,
            rotation=_integer(state, _ROTATION) % 360,
            flipped=text(state, _FLIP) == "Y",
            area=_area(areas[0]) if areas else None,
            shutters=_shutters(state, own),
            overlays=tuple(one for one in own if one.layer and one.group != hidden),
            groups=_activated(state, own),
            graphics=tuple(_graphics(meant(_ANNOTATIONS), layers)),
            notes=tuple(_notes(meant(_ANNOTATIONS), layers)),
        )


def read_state(path: str | os.PathLike[str]) -> PresentationState:
    """The presentation state in a file.

    Raises:
        InputError, InvalidDataSetError, UnsupportedSyntaxError: it cannot be read, or is none that can be shown.
    """
    from dcmkit.pixels.image_file import ImageFile

    with ImageFile(path) as file:
        return PresentationState(file.data_set)


def _refers(item: DataSet, uid: str, frame: int, *, empty: bool = True) -> bool:
    """Whether an item is about a frame of an image: without references it is about all (`empty`)."""
    references = items(item, _REFERENCED_IMAGES)
    if not references:
        return empty
    for reference in references:
        frames = numbers(reference, _REFERENCED_FRAMES)
        if text(reference, _REFERENCED_UID) == uid and (not frames or frame + 1 in frames):
            return True
    return False


def _integer(item: DataSet, tag: int, default: int = 0) -> int:
    found = numbers(item, tag)
    return int(found[0]) if found else default


# --- grey levels -------------------------------------------------------------------------------------------------


def read_modality(item: DataSet, *, signed: bool = False) -> Rescale | Lut | None:
    """The modality LUT of an image, a functional group or a state; None where there is none (PS3.3 C.11.1)."""
    tables = items(item, MODALITY_LUTS)
    if tables:
        return read_lut(tables[0], signed=signed)
    slopes, intercepts = numbers(item, SLOPE), numbers(item, INTERCEPT)
    if not slopes and not intercepts:
        return None
    slope = slopes[0] if slopes else 1.0
    return Rescale(slope or 1.0, intercepts[0] if intercepts else 0.0)


def read_vois(item: DataSet, *, signed: bool = False) -> list[Window | Lut]:
    """The windows, then the VOI LUTs (PS3.3 C.11.2)."""
    function = text(item, FUNCTION) or "LINEAR"
    explanations = text(item, EXPLANATION).split("\\")
    pairs = zip(numbers(item, CENTER), numbers(item, WIDTH), strict=False)
    found: list[Window | Lut] = []
    for number, (center, width) in enumerate(pairs):
        if width >= 1 or (width > 0 and function != "LINEAR"):
            explanation = explanations[number] if number < len(explanations) else ""
            found.append(Window(center, width, function, explanation))
    for table in items(item, VOI_LUTS):
        found.append(read_lut(table, signed=signed))
    return found


# --- where -------------------------------------------------------------------------------------------------------


def _area(item: DataSet) -> Area:
    corners = [*numbers(item, _TOP_LEFT)[:2], *numbers(item, _BOTTOM_RIGHT)[:2]]
    if len(corners) != 4:
        raise InvalidDataSetError("a displayed area without its two corners", offending_element=_TOP_LEFT)
    x0, y0, x1, y1 = (int(value) for value in corners)
    aspect, spacing, magnification = numbers(item, _ASPECT), numbers(item, _SPACING), numbers(item, _MAGNIFICATION)
    ratio = 1.0
    if len(spacing) == 2 and spacing[0] > 0 and spacing[1] > 0:
        ratio = spacing[0] / spacing[1]
    elif len(aspect) == 2 and aspect[0] > 0 and aspect[1] > 0:
        ratio = aspect[0] / aspect[1]
    mode = text(item, _SIZE_MODE) or "SCALE TO FIT"
    factor = magnification[0] if magnification and 0 < magnification[0] <= 100 else 1.0
    return Area(min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1), mode, ratio, factor)


def _shutter_group(state: DataSet) -> int:
    return _integer(state, _SHUTTER_GROUP) if "BITMAP" in text(state, _SHUTTER) else 0


def _shutters(state: DataSet, overlays: list[Overlay]) -> Shutters | None:
    return read_shutters(state, next((one for one in overlays if one.group == _shutter_group(state)), None))


def read_shutters(item: DataSet, overlay: Overlay | None = None) -> Shutters | None:
    """The display shutters of an image or a state; x before y, counted from 0; None where there are none."""
    shapes = text(item, _SHUTTER).split("\\")
    rectangle = circle = None
    polygon: tuple[tuple[float, float], ...] = ()
    edges = [numbers(item, tag) for tag in _EDGES]
    if "RECTANGULAR" in shapes and all(edges):
        left, right, upper, lower = (edge[0] for edge in edges)
        rectangle = left - 1, upper - 1, right, lower
    center, radius = numbers(item, _CENTER), numbers(item, _RADIUS)
    if "CIRCULAR" in shapes and len(center) == 2 and radius:
        circle = center[1] - 0.5, center[0] - 0.5, radius[0]
    vertices = numbers(item, _VERTICES)
    if "POLYGONAL" in shapes and len(vertices) >= 6:
        polygon = tuple((x - 0.5, y - 0.5) for y, x in zip(vertices[::2], vertices[1::2], strict=False))
    if not (rectangle or circle or polygon or overlay):
        return None
    value = numbers(item, _SHUTTER_VALUE)
    return Shutters(rectangle, circle, polygon, overlay, min(1.0, max(0.0, value[0] / 0xFFFF)) if value else 0.0)


def _activated(state: DataSet, own: list[Overlay]) -> tuple[int, ...]:
    """Groups of the image's overlays that have a layer, the state's own left out (PS3.3 C.11.7)."""
    groups = {one.group for one in own}
    return tuple(
        group for group in range(0x6000, 0x6020, 2) if group not in groups and text(state, group << 16 | 0x1001)
    )


# --- annotations -------------------------------------------------------------------------------------------------


def _level(layers: dict[str, DataSet], name: str) -> float:
    grey = numbers(layers.get(name, {}), _LAYER_GREY)
    return min(1.0, max(0.0, grey[0] / 0xFFFF)) if grey else 1.0


def _ordered(annotations: list[DataSet], layers: dict[str, DataSet]) -> list[DataSet]:
    """Lower layers first."""
    return sorted(annotations, key=lambda item: _integer(layers.get(text(item, _LAYER), {}), _LAYER_ORDER))


def _graphics(annotations: list[DataSet], layers: dict[str, DataSet]) -> list[Graphic]:
    found = []
    for annotation in _ordered(annotations, layers):
        level = _level(layers, text(annotation, _LAYER))
        for item in items(annotation, _GRAPHICS):
            values = numbers(item, _DATA)
            points = tuple(zip(values[::2], values[1::2], strict=False))
            if points:
                filled, of_display = text(item, _FILLED) == "Y", text(item, _UNITS) == "DISPLAY"
                found.append(Graphic(text(item, _KIND), points, filled, of_display, level))
    return found


def _notes(annotations: list[DataSet], layers: dict[str, DataSet]) -> list[Note]:
    found = []
    for annotation in _ordered(annotations, layers):
        level = _level(layers, text(annotation, _LAYER))
        for item in items(annotation, _TEXTS):
            box, anchor = _pair(item, _BOX_TOP_LEFT), _pair(item, _ANCHOR)
            other = _pair(item, _BOX_BOTTOM_RIGHT)
            if box and other:
                box = min(box[0], other[0]), min(box[1], other[1])
            place = box or anchor
            if place is None or not text(item, _TEXT):
                continue
            of_display = text(item, _BOX_UNITS if box else _ANCHOR_UNITS) == "DISPLAY"
            shown = anchor if box and text(item, _ANCHOR_VISIBLE) == "Y" else None
            anchor_of_display = text(item, _ANCHOR_UNITS) == "DISPLAY"
            found.append(Note(text(item, _TEXT), place, of_display, shown, anchor_of_display, level))
    return found


def _pair(item: DataSet, tag: int) -> tuple[float, float] | None:
    values = numbers(item, tag)
    return (values[0], values[1]) if len(values) >= 2 else None


def uncovered(shutters: Shutters, rows: int, columns: int) -> Array:
    """A mask of what the shutters leave."""
    from dcmkit.pixels import drawing, overlays

    left_open = np.ones((rows, columns), bool)
    if shutters.rectangle:
        left, top, right, bottom = (int(np.clip(edge, 0, 1 << 20)) for edge in shutters.rectangle)
        inside = np.zeros_like(left_open)
        inside[top:bottom, left:right] = True
        left_open &= inside
    if shutters.circle:
        inside = np.zeros_like(left_open)
        drawing.disc(inside, *shutters.circle)
        left_open &= inside
    if shutters.polygon:
        inside = np.zeros_like(left_open)
        drawing.fill(inside, np.array(shutters.polygon))
        left_open &= inside
    if shutters.overlay is not None:
        plane = shutters.overlay.plane(0, None)
        if plane is not None:
            left_open &= ~overlays.placed(shutters.overlay, plane, rows, columns)
    return left_open
