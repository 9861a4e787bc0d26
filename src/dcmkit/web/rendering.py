"""Rendered resources: what query parameters ask for, and a frame as a picture (PS3.18 8.3.5, 9.1.2, 10.4.1).

Reading parameters needs nothing but their text; only what renders imports numpy. Every number is bounded before
anything is allocated for it.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

from dcmkit.errors import InputError, OutputError, UnsupportedSyntaxError, UsageError

if TYPE_CHECKING:
    from dcmkit.pixels.image_file import ImageFile
    from dcmkit.pixels.presentation import PresentationState
    from dcmkit.pixels.raster import Region
    from dcmkit.pixels.render import Decoder, Rendering

Parameters = Sequence[tuple[str, str]]
"""Names and values of a query string, decoded, in their order."""

JPEG, PNG, GIF, WEBP, JPEG_XL = "image/jpeg", "image/png", "image/gif", "image/webp", "image/jxl"
MEDIA_TYPES = (JPEG, PNG, GIF, WEBP, JPEG_XL)
"""What frames are rendered as, the default first (PS3.18 table 8.7.4-1)."""

QUALITY = 90
THUMBNAIL_SIZE = 128
SIDE_LIMIT = 8192
"""Rows or columns of a viewport."""
PICTURE_LIMIT = 1 << 25
"""Pixels of a viewport: an 8K display."""
FRAME_LIMIT = 1 << 27
"""Pixels of a frame that is rendered."""
_WEBP_SIDE = 16383
_RUN_LENGTHS = 3
"""Z_RLE of zlib."""
_LARGE_FRAME = 1 << 25
_LARGE = threading.Lock()
"""Frames so large are rendered one after the other: several at once would take gigabytes."""

PATIENT, TECHNIQUE = "patient", "technique"
ICC_PROFILES = ("no", "yes", "srgb", "adobergb", "rommrgb")

_FUNCTIONS = {"linear": "LINEAR", "linear-exact": "LINEAR_EXACT", "sigmoid": "SIGMOID"}
_CONTROL = frozenset({"accept", "charset", "access_token"})
"""Parameters of every transaction: they are for whoever answers (PS3.18 8.3.3)."""
_DECIMAL = re.compile(r"[+-]?(?:[0-9]{1,20}\.?[0-9]{0,20}|\.[0-9]{1,20})(?:[eE][+-]?[0-9]{1,2})?")
_LARGEST = 1e9
_UID = re.compile(r"[0-9.]{1,64}")
_DICOM = "application/dicom"
_PARAMETERS_LIMIT = 100


class RenderingParameters(NamedTuple):
    """How a frame is to be rendered, checked as far as that can be done without the image.

    Attributes:
        viewport: rows and columns the picture is fitted into; 0 where one does not matter.
        source: left, top, width and height of what is shown, in pixels; None for what is left out.
        region: left, top, right and bottom of what is shown, as fractions of the image (WADO-URI).
        window, function: as of `Rendering`.
        annotation: `PATIENT`, `TECHNIQUE`, both or none.
        icc_profile: one of `ICC_PROFILES`.
        frame: counted from 0; None where none is named.
        presentation: UID of the presentation state to apply, or "".
        presentation_series: UID of its series, or "".
        overlays: as of `Rendering`; an extension of ours.
        warnings: texts for Warning headers.
    """

    viewport: tuple[int, int] | None = None
    source: tuple[float | None, float | None, float | None, float | None] | None = None
    region: tuple[float, float, float, float] | None = None
    flip_horizontally: bool = False
    flip_vertically: bool = False
    window: tuple[float, float] | None = None
    function: str = ""
    quality: int = QUALITY
    annotation: tuple[str, ...] = ()
    icc_profile: str = "no"
    frame: int | None = None
    presentation: str = ""
    presentation_series: str = ""
    overlays: tuple[int, ...] | None = None
    warnings: tuple[str, ...] = ()


class WadoURI(NamedTuple):
    """A request by URI (PS3.18 9.1.2).

    Attributes:
        content_type: media types with commas between them, as they came; "" where any will do.
        transfer_syntax: a UID, `*` for as it is stored, or "".
        anonymize: whether what is answered must not identify the patient.
        rendering: how, where the answer is rendered.
    """

    study: str
    series: str
    instance: str
    content_type: str
    transfer_syntax: str
    charset: str
    anonymize: bool
    rendering: RenderingParameters


# --- reading ---------------------------------------------------------------------------------------------------------


def read_rendered(parameters: Parameters, *, thumbnail: bool = False) -> RenderingParameters:
    """The query parameters of a rendered resource, or of a thumbnail (PS3.18 8.3.5).

    Raises:
        UsageError: one is wrong (400).
    """
    reader = _Reader(parameters)
    found = RenderingParameters(viewport=(THUMBNAIL_SIZE, THUMBNAIL_SIZE)) if thumbnail else RenderingParameters()
    size = reader.take("size") if thumbnail else ""
    if size:
        found = found._replace(viewport=_size(size))
    viewport = reader.take("viewport")
    if viewport:
        found = _with_viewport(found, viewport, thumbnail)
    window = reader.take("window")
    if window:
        found = _with_window(found, window)
    return _finished(_common(reader, found, "quality"), reader)


def read_wado_uri(parameters: Parameters) -> WadoURI:
    """The query parameters of a request by URI (PS3.18 9.1.2).

    Raises:
        UsageError: one is missing or wrong (400).
    """
    reader = _Reader(parameters)
    kind = reader.take("requestType")
    if kind.upper() != "WADO":
        raise UsageError(f"the parameter requestType is {_short(kind)}" if kind else "the parameter requestType is "
                         "missing", hint="requestType=WADO")  # fmt: skip
    study, series, instance = (_uid(name, reader.take(name), True) for name in ("studyUID", "seriesUID", "objectUID"))
    content_type, charset = reader.take("contentType"), reader.take("charset")
    syntax = reader.take("transferSyntax")
    if syntax != "*":
        _uid("transferSyntax", syntax)
    anonymize = reader.take("anonymize").lower()
    if anonymize not in ("", "yes", "no"):  # never passed over: somebody counts on it
        raise UsageError(f"the parameter anonymize is {_short(anonymize)}", hint="anonymize=yes")
    rendering = _uri_rendering(reader)
    if anonymize == "yes" and PATIENT in rendering.annotation:
        raise UsageError("annotation=patient cannot be with anonymize=yes")
    only_dicom = content_type and {part.partition(";")[0].strip().lower() for part in content_type.split(",")} == {
        _DICOM
    }
    if only_dicom and rendering._replace(warnings=()) != RenderingParameters():
        text = f"Rendering parameters do not apply to {_DICOM} and were ignored."
        rendering = RenderingParameters(warnings=(*rendering.warnings, text))
    return WadoURI(study, series, instance, content_type, syntax, charset, anonymize == "yes", rendering)


def _uri_rendering(reader: _Reader) -> RenderingParameters:
    found = RenderingParameters()
    rows, columns = (_side(name, reader.take(name)) for name in ("rows", "columns"))
    if rows or columns:
        found = found._replace(viewport=_viewport(rows, columns))
    region = reader.take("region")
    if region:
        left, top, right, bottom = _decimals("region", region, 4, "0,0,0.5,0.5")
        if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
            raise UsageError(f"the region {_short(region)} is not within the image",
                             hint="left, top, right and bottom, from 0 to 1")  # fmt: skip
        found = found._replace(region=(left, top, right, bottom))
    center, width = reader.take("windowCenter"), reader.take("windowWidth")
    if center or width:
        if not (center and width):
            raise UsageError("windowCenter and windowWidth are given together or not at all")
        values = _decimals("windowCenter", center, 1, "40") + _decimals("windowWidth", width, 1, "400")
        found = found._replace(window=_window(values[0], values[1], ""))
    found = _common(reader, found, "imageQuality")
    if found.presentation and (found.region or found.window):
        raise UsageError("region and window cannot be with presentationUID", hint="the presentation state has its own")
    number = reader.take("frameNumber")
    if number:
        found = found._replace(frame=_integer("frameNumber", number, 1, (1 << 31) - 1) - 1)
    return _finished(found, reader)


class _Reader:
    """Takes parameters by name, whatever the case; says which were not taken."""

    def __init__(self, parameters: Parameters) -> None:
        if len(parameters) > _PARAMETERS_LIMIT:
            raise UsageError(f"the query has {len(parameters)} parameters", hint=f"{_PARAMETERS_LIMIT} at most")
        self._found: dict[str, tuple[str, str]] = {}
        for name, value in parameters:
            if name.lower() in self._found:
                raise UsageError(f"the parameter {_short(name)} is given twice")
            self._found[name.lower()] = name, value.strip()

    def take(self, name: str) -> str:
        """Its value; "" where it is not there."""
        return self._found.pop(name.lower(), ("", ""))[1]

    def left(self) -> list[str]:
        """The names of those nobody took."""
        return [name for name, _ in self._found.values() if name.lower() not in _CONTROL]


def _common(reader: _Reader, found: RenderingParameters, quality: str) -> RenderingParameters:
    """What both kinds of requests have."""
    value = reader.take(quality)
    if value:
        found = found._replace(quality=_integer(quality, value, 1, 100))
    value = reader.take("annotation")
    if value:
        wanted = [part.strip().lower() for part in value.split(",")]
        if not set(wanted) <= {PATIENT, TECHNIQUE}:
            raise UsageError(f"the annotation {_short(value)} is unknown", hint=f"{PATIENT}, {TECHNIQUE}, or both")
        found = found._replace(annotation=tuple(dict.fromkeys(wanted)))
    value = reader.take("overlay").lower()
    if value:
        found = found._replace(overlays=_overlays(value))
    value = reader.take("iccprofile").lower()
    if value:
        if value not in ICC_PROFILES:
            raise UsageError(f"the iccprofile {_short(value)} is unknown", hint=f"one of {', '.join(ICC_PROFILES)}")
        found = found._replace(icc_profile=value)
    state, series = (_uid(name, reader.take(name)) for name in ("presentationUID", "presentationSeriesUID"))
    if series and not state:
        raise UsageError("presentationSeriesUID is given without presentationUID")
    return found._replace(presentation=state, presentation_series=series)


def _overlays(value: str) -> tuple[int, ...] | None:
    """`no`, `yes` for all overlay planes there are, or their numbers from 0 with commas between them."""
    if value in ("no", "yes"):
        return None if value == "no" else ()
    return tuple(dict.fromkeys(_integer("overlay", part.strip(), 0, 15) for part in value.split(",")))


def _finished(found: RenderingParameters, reader: _Reader) -> RenderingParameters:
    ignored = [f"The parameter {_short(name)} is not supported and was ignored." for name in reader.left()]
    return found._replace(warnings=(*found.warnings, *ignored))


def _with_viewport(found: RenderingParameters, value: str, thumbnail: bool) -> RenderingParameters:
    """vw, vh, and where it is no thumbnail sx, sy, sw, sh, each of which may be left out (PS3.18 8.3.5.1.3)."""
    parts = [part.strip() for part in value.split(",")]
    if not 2 <= len(parts) <= (2 if thumbnail else 6):
        hint = "viewport=WIDTH,HEIGHT" + ("" if thumbnail else "[,LEFT,TOP,WIDTH,HEIGHT of the source]")
        raise UsageError(f"the viewport {_short(value)} is none", hint=hint)
    columns, rows = (_side("viewport", part, True) for part in parts[:2])
    found = found._replace(viewport=_viewport(rows, columns))
    source = [_decimals("viewport", part, 1, "256")[0] if part else None for part in parts[2:]]
    if not any(one is not None for one in source):
        return found
    left, top, width, height = (*source, None, None, None, None)[:4]
    if width == 0 or height == 0 or (left or 0) < 0 or (top or 0) < 0:
        raise UsageError(f"the viewport {_short(value)} shows a region outside of the image")
    return found._replace(
        source=(left, top, None if width is None else abs(width), None if height is None else abs(height)),
        flip_horizontally=width is not None and width < 0,
        flip_vertically=height is not None and height < 0,
    )


def _with_window(found: RenderingParameters, value: str) -> RenderingParameters:
    """center, width, function; the function may be left out, and is the object's then (PS3.18 8.3.5.1.4)."""
    parts = [part.strip() for part in value.split(",")]
    example = "window=40,400,linear"
    if not 2 <= len(parts) <= 3:
        raise UsageError(f"the window {_short(value)} is none", hint=f"for example {example}")
    function = ""
    if len(parts) == 3:
        function = _FUNCTIONS.get(parts[2].lower().replace("_", "-"), "")
        if not function:
            raise UsageError(f"the window function {_short(parts[2])} is unknown", hint=", ".join(_FUNCTIONS))
    center, width = _decimals("window", ",".join(parts[:2]), 2, "40,400")
    return found._replace(window=_window(center, width, function), function=function)


def _window(center: float, width: float, function: str) -> tuple[float, float]:
    if width < 1 and function == "LINEAR":
        raise UsageError(f"the window width {width:g} is not 1 or more (PS3.3 C.11.2.1.2)")
    if width <= 0:
        raise UsageError(f"the window width {width:g} is not above 0 (PS3.3 C.11.2.1.3)")
    return center, width


def _viewport(rows: int, columns: int) -> tuple[int, int]:
    """Both sides; one that does not matter is as long as a picture may be."""
    if rows * columns > PICTURE_LIMIT:
        raise UsageError(f"a viewport of {columns} by {rows} pixels is too large",
                         hint=f"{PICTURE_LIMIT} pixels at most")  # fmt: skip
    if rows and columns:
        return rows, columns
    other = min(SIDE_LIMIT, PICTURE_LIMIT // (rows or columns))
    return rows or other, columns or other


def _size(value: str) -> tuple[int, int]:
    """`size` of a thumbnail, which other servers know: N, or WIDTHxHEIGHT."""
    parts = re.split("[,xX]", value)
    if len(parts) > 2:
        raise UsageError(f"the size {_short(value)} is none", hint="size=128, or size=128x96")
    columns, rows = (_side("size", part, True) for part in (parts * 2)[:2])
    return _viewport(rows, columns)


def _side(name: str, value: str, required: bool = False) -> int:
    """0 where there is none, and none is needed."""
    return _integer(name, value, 1, SIDE_LIMIT) if value or required else 0


def _integer(name: str, value: str, least: int, most: int) -> int:
    plain = value.removeprefix("+")
    if not (plain.isascii() and plain.isdigit() and len(plain) <= 12 and least <= int(plain) <= most):
        raise UsageError(f"the parameter {name} is {_short(value)}", hint=f"a whole number from {least} to {most}")
    return int(plain)


def _decimals(name: str, value: str, count: int, example: str) -> list[float]:
    parts = [part.strip() for part in value.split(",")]
    found = [float(part) for part in parts if _DECIMAL.fullmatch(part)]
    if not len(found) == len(parts) == count or any(abs(one) > _LARGEST for one in found):
        what = "a number" if count == 1 else f"{count} numbers"
        raise UsageError(f"the parameter {name} is {_short(value)}, not {what}", hint=f"for example {example}")
    return found


def _uid(name: str, value: str, required: bool = False) -> str:
    if required and not value:
        raise UsageError(f"the parameter {name} is missing")
    if value and not _UID.fullmatch(value):
        raise UsageError(f"the parameter {name} is no UID")
    return value


def _short(text: str) -> str:
    """What somebody wrote, fit for a message."""
    return ascii(text if len(text) <= 60 else text[:57] + "...")


# --- rendering -------------------------------------------------------------------------------------------------------


def rendering_of(image: ImageFile, wanted: RenderingParameters, state: PresentationState | None = None) -> Rendering:
    """How `pixels.render` is to show a frame of an image.

    Args:
        image: an open file.
        wanted: by the request.
        state: the presentation state it names.

    Raises:
        UsageError: a region reaches out of the image (400).
        InputError: the presentation state is not there (404).
    """
    from dcmkit.pixels.render import Rendering

    if wanted.presentation and state is None:
        raise InputError("the presentation state is not there")
    return Rendering(
        window=wanted.window,
        function=wanted.function,
        state=state,
        region=_region(image, wanted),
        flip_horizontally=wanted.flip_horizontally,
        flip_vertically=wanted.flip_vertically,
        viewport=wanted.viewport,
        overlays=wanted.overlays,
    )


def _region(image: ImageFile, wanted: RenderingParameters) -> Region | None:
    from dcmkit.pixels.raster import Region

    assert image.description is not None
    rows, columns = image.description.rows, image.description.columns
    if wanted.region is not None:
        left, top, right, bottom = wanted.region
        ends = left * columns, top * rows, right * columns, bottom * rows
    elif wanted.source is not None:
        start = wanted.source[0] or 0.0, wanted.source[1] or 0.0
        width, height = wanted.source[2:]
        across = columns if width is None else start[0] + width
        down = rows if height is None else start[1] + height
        ends = *start, across, down
        if start[0] >= columns or start[1] >= rows or across > columns or down > rows:
            raise UsageError(f"the viewport shows a region outside of the image of {columns} by {rows} pixels")
    else:
        return None
    x, y = min(columns - 1, round(ends[0])), min(rows - 1, round(ends[1]))
    return Region(x, y, max(1, round(ends[2]) - x), max(1, round(ends[3]) - y))


def render_frame(
    image: ImageFile,
    frame: int,
    wanted: RenderingParameters,
    media_type: str = JPEG,
    *,
    state: PresentationState | None = None,
    decode: Decoder | None = None,
) -> bytes:
    """One frame as a file of a media type.

    Args:
        image: an open file; only this frame of it is read.
        frame: counted from 0.
        wanted: by the request.
        media_type: one of `MEDIA_TYPES`.
        state: the presentation state that `wanted` names.
        decode: in place of `guard.decode_guarded`, which decodes in another process.

    Raises:
        UsageError: the request asks for what cannot be (400).
        InputError: there is no such frame, or presentation state (404).
        InvalidDataSetError: the image is damaged.
        UnsupportedSyntaxError: it cannot be rendered so (406).
    """
    require_renderable(image, frame, media_type)
    picture, profile = picture_of(image, frame, wanted, state, decode)
    encoded = encode_picture(picture, media_type, wanted.quality)
    if profile:
        from dcmkit.web.color_profiles import embedded

        encoded = embedded(encoded, media_type, profile)
    return encoded


def render_animation(
    image: ImageFile,
    frames: Sequence[int],
    wanted: RenderingParameters,
    *,
    state: PresentationState | None = None,
    decode: Decoder | None = None,
) -> bytes:
    """Frames as a GIF that moves, each as long as the object says. Raises: as `render_frame`."""
    for frame in (*frames[:1], *frames[-1:]):
        require_renderable(image, frame, GIF)
    from dcmkit.pixels.pictures import encode_animation
    from dcmkit.pixels.render import frame_delays

    def picture(frame: int) -> Any:
        found, profile = picture_of(image, frame, wanted, state, decode)
        if profile:
            raise UsageError(f"{GIF} is written without an ICC profile", hint="iccprofile=no, or another media type")
        return found

    delays = frame_delays(image)
    return encode_animation(map(picture, frames), [delays[frame] for frame in frames])


def require_renderable(image: ImageFile, frame: int, media_type: str) -> None:
    """Raises: UnsupportedSyntaxError, InputError: as `render_frame`, before anything is decoded."""
    described = image.description
    if media_type not in MEDIA_TYPES:
        raise UnsupportedSyntaxError(f"images cannot be rendered as {_short(media_type)}", hint=", ".join(MEDIA_TYPES))
    if described is None or image.is_video:
        raise UnsupportedSyntaxError("it has no frames that can be rendered as images")
    if not 0 <= frame < image.number_of_frames:
        raise InputError(f"there is no frame {frame + 1}, only {image.number_of_frames}")
    if described.rows * described.columns > FRAME_LIMIT:
        raise UnsupportedSyntaxError(f"a frame of {described.columns} by {described.rows} pixels is too large for this")


def picture_of(
    image: ImageFile,
    frame: int,
    wanted: RenderingParameters,
    state: PresentationState | None = None,
    decode: Decoder | None = None,
) -> tuple[Any, bytes]:
    """One frame as an array, and its ICC profile or b"". Raises: as `render_frame`."""
    from dcmkit.pixels.render import render

    if decode is None:
        from dcmkit.pixels.guard import decode_guarded as decode
    described = image.description
    assert described is not None
    with _LARGE if described.rows * described.columns > _LARGE_FRAME else nullcontext():
        picture = render(image, frame, rendering_of(image, wanted, state), decode=decode)
    profile = b""
    if wanted.icc_profile != "no":
        from dcmkit.web.color_profiles import with_profile

        picture, profile = with_profile(picture, image, wanted.icc_profile)
    if wanted.annotation:
        from dcmkit.web.annotation import annotated

        picture = annotated(picture, image, wanted.annotation)
    return picture, profile


def encode_picture(picture: Any, media_type: str, quality: int = QUALITY) -> bytes:
    """A picture of 8 bits as a file. Raises: UsageError, OutputError, UnsupportedSyntaxError."""
    from dcmkit.pixels.pictures import encode_rendered
    from dcmkit.pixels.raster import colored

    if media_type in (JPEG, GIF) or (media_type == WEBP and max(picture.shape) > _WEBP_SIDE):
        return encode_rendered(picture, media_type, quality)
    import imagecodecs
    import numpy as np

    if media_type == JPEG_XL and not imagecodecs.JPEGXL.available:
        raise UnsupportedSyntaxError("JPEG XL cannot be written: imagecodecs was built without libjxl")
    picture, lossless = np.ascontiguousarray(picture), quality == 100
    try:
        if media_type == JPEG_XL:
            distance = 0.0 if lossless else 0.1 + (100 - quality) * 0.09  # as libjxl has it from quality 30 on
            return bytes(imagecodecs.jpegxl_encode(picture, effort=3, distance=distance, lossless=lossless))
        if media_type == PNG:  # half the time of what is usual, and no longer for images with noise in them
            return bytes(imagecodecs.png_encode(picture, 1, strategy=_RUN_LENGTHS))
        samples = np.ascontiguousarray(colored(picture))
        return bytes(imagecodecs.webp_encode(samples, quality, lossless=lossless, method=0))
    except (RuntimeError, ValueError) as error:
        raise OutputError(f"the image could not be encoded as {media_type}: {error}") from None
