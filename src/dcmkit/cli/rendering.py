"""What the options of `dcmkit render` and of DCMTK's dcmj2pnm and dcm2img say, as a `Rendering`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dcmkit.errors import UsageError

if TYPE_CHECKING:
    from dcmkit.pixels.raster import Region
    from dcmkit.pixels.render import Rendering

MONTAGE_LIMIT = 100
_METHODS = {0: "nearest", 1: "", 2: "linear", 3: "linear", 4: "linear"}
"""DCMTK's numbers of interpolation algorithms."""

ALWAYS_SO = (
    "+f --read-file", "+fo --read-file-only", "-f --read-dataset", "-t= --read-xfer-auto", "+Mc --check-lut-depth",
    "+Pd --predictor-default", "+Pn --predictor-none", "-il --nointerlace", "-mf --meta-none",
    "+Trl --rendered-lossless", "+bs --bits-stored-fix",
)  # fmt: skip
"""Options of dcmj2pnm and dcm2img that change nothing here."""

_SYNTAX = "the transfer syntax is the one that the file meta information names, or its absence shows"
_COLORS = "colours are converted as the codestream and the object say"
_DEFECTS = "frames are decoded as T.81 has it, without workarounds for defects of encoders"
_DISPLAY = "pictures hold P-values or grey levels, not calibrated for one display or printer"
_DEPTH = "entries of a LUT have the bits that its descriptor says, or more where they need them"
REFUSED = {
    "-td --read-xfer-detect": _SYNTAX, "-te --read-xfer-little": _SYNTAX, "-tb --read-xfer-big": _SYNTAX,
    "-ti --read-xfer-implicit": _SYNTAX, "+ca --conv-always": _COLORS, "+cn --conv-never": _COLORS,
    "+w6 --workaround-pred6": _DEFECTS, "+wc --workaround-cornell": _DEFECTS,
    "+wi --workaround-incpl": "frames that are cut short are no pictures; they are named and left out",
    "-bs --bits-stored-keep": "samples have the bits that the codestream says",
    "+Pod --lin-od-shape": "it is for printing on film",
    "+Dm --monitor-file": _DISPLAY, "+Dp --printer-file": _DISPLAY, "+Da --ambient-light": _DISPLAY,
    "+Di --illumination": _DISPLAY, "+Dn --min-density": _DISPLAY, "+Dx --max-density": _DISPLAY,
    "+Dg --gsd-function": _DISPLAY, "+Dc --cielab-function": _DISPLAY,
    "+Ma --accept-acr-nema": "an image has to say its photometric interpretation",
    "+Mp --accept-palettes": "palettes are read where the standard has them",
    "+Mm --ignore-mlut-depth": _DEPTH, "+Mv --ignore-vlut-depth": _DEPTH,
    "+il --interlace": "PNG files are written without interlacing",
    "+mf --meta-file": "PNG files get no texts",
    "+Tll --true-lossless": "pictures are what is shown; dcmkit transcode --to jpegls keeps the stored values",
}  # fmt: skip
"""Options of dcmj2pnm and dcm2img that are not here, and why."""


def refuse(flags: str, given: bool) -> None:
    """Say why an option is not here.

    Raises:
        UsageError: always where it is given.
    """
    if given:
        raise UsageError(f"option {flags.replace(' ', ', ')} is DCMTK's, not dcmkit's: {REFUSED[flags]}")


def numbers(option: str, value: str, count: int, example: str) -> list[float]:
    """Numbers separated by commas.

    Raises:
        UsageError: not so many, or no numbers.
    """
    try:
        found = [float(part) for part in value.split(",")]
    except ValueError:
        found = []
    if len(found) != count or not all(math.isfinite(one) for one in found):
        raise UsageError(f"option {option}: {value!r} is not {count} numbers", hint=f"for example {option} {example}")
    return found


def size(option: str, value: str) -> tuple[int, int]:
    """Rows and columns of `COLUMNSxROWS`; 0 for the one that is left out.

    Raises:
        UsageError: it is no size.
    """
    width, separator, height = value.lower().partition("x")
    try:
        columns, rows = int(width or 0), int(height or 0)
    except ValueError:
        columns = rows = -1
    if not separator or columns < 0 or rows < 0 or not (columns or rows):
        raise UsageError(f"option {option}: {value!r} is no size", hint=f"for example {option} 512x512, 512x or x512")
    return rows, columns


def montage(value: str) -> tuple[int, int]:
    """Columns and rows of a montage; rows may be left out (0).

    Raises:
        UsageError: there are none, or too many.
    """
    rows, columns = size("--montage", value if "x" in value.lower() else f"{value}x")
    if not 1 <= columns <= MONTAGE_LIMIT or rows > MONTAGE_LIMIT:
        raise UsageError(f"option --montage: {value!r} is not 1 to {MONTAGE_LIMIT} columns and rows")
    return columns, rows


def frames(value: str, count: int) -> range:
    """The frames, counted from 0, of `N`, `FIRST-LAST` or `all`.

    Args:
        value: counted from 1.
        count: how many frames there are.

    Raises:
        UsageError: it is no such text, or there are not so many.
    """
    if value == "all":
        return range(count)
    first, separator, last = value.partition("-")
    try:
        begin, end = int(first), int(last if separator else first)
    except ValueError:
        begin, end = 0, 0
    if not 1 <= begin <= end:
        raise UsageError(
            f"option --frame: {value!r} is no frame", hint="a number from 1 on, two with - between, or all"
        )
    if begin > count or end > count:
        raise UsageError(f"there is no frame {end}", hint=f"the image has {count}")
    return range(begin - 1, end)


def rendering(given: Mapping[str, Any]) -> Rendering:
    """How to render, from the values of the command's options.

    Raises:
        UsageError: one of them is none.
        InputError, InvalidDataSetError, UnsupportedSyntaxError: the presentation state cannot be used.
    """
    from dcmkit.pixels.raster import Region
    from dcmkit.pixels.render import Rendering

    changes: dict[str, Any] = _values(given)
    if given["region"]:
        left, top, width, height = (int(one) for one in numbers("--region", given["region"], 4, "0,0,256,256"))
        changes["region"] = Region(left, top, width, height)
    if given["clip"] is not None:
        changes["region"] = Region(*given["clip"])
    if given["state"]:
        from dcmkit.pixels.presentation import read_state

        changes["state"] = read_state(given["state"])
    return Rendering(
        **changes,
        **_geometry(given),
        **_overlays(given),
        shape=given["shape"] or "",
        modality=given["modality"],
        padding=given["padding"],
        invert=given["invert"],
        grayscale=given["grayscale"],
        icc=given["icc"],
        shutters=given["shutters"],
        annotations=given["annotations"],
        depth=16 if given["bits"] == 16 else 8,
    )


def _values(given: Mapping[str, Any]) -> dict[str, Any]:
    """Which values are shown."""
    from dcmkit.pixels.render import MINMAX, MINMAX_INNER, NONE, PERCENTILES, PRESET, VOI_LUT

    function = {"linear": "LINEAR", "linear-exact": "LINEAR_EXACT", "sigmoid": "SIGMOID"}
    found: dict[str, Any] = {"function": function.get(given["function"] or "", "")}
    window = given["window"]
    if given["set_window"] is not None:
        found["window"] = given["set_window"]
    elif window in ("none", "minmax", "minmax-inner"):
        found["voi"] = {"none": NONE, "minmax": MINMAX, "minmax-inner": MINMAX_INNER}[window]
    elif window and window != "auto":
        found["window"] = tuple(numbers("--window", window, 2, "40,400"))
    if given["preset"]:
        name = given["preset"]
        found.update(voi=PRESET, preset=int(name) if name.isdecimal() else name)
    if given["voi_lut"] is not None:
        found.update(voi=VOI_LUT, preset=given["voi_lut"])
    if given["percentiles"]:
        low, high = numbers("--percentiles", given["percentiles"], 2, "1,99")
        found.update(voi=PERCENTILES, percentiles=(low, high))
    if given["histogram"] is not None:
        found.update(voi=PERCENTILES, percentiles=(given["histogram"], 100.0 - given["histogram"]))
    if given["window_of"] is not None:
        found.update(voi=MINMAX, window_of=_region(given["window_of"]))
    return found


def _region(values: tuple[int, int, int, int]) -> Region:
    from dcmkit.pixels.raster import Region

    return Region(*values)


def _geometry(given: Mapping[str, Any]) -> dict[str, Any]:
    flip = given["flip"] or ""
    found: dict[str, Any] = {
        "rotation": given["rotate"] or 0,
        "flip_horizontally": flip in ("horizontal", "both"),
        "flip_vertically": flip in ("vertical", "both"),
        "aspect": given["aspect"],
        "method": given["interpolation"] or "",
    }
    if given["algorithm"] is not None:
        found["method"] = _METHODS[given["algorithm"]]
    if given["size"]:
        found["size"] = size("--size", given["size"])
    elif given["x_size"] or given["y_size"]:
        found["size"] = given["y_size"] or 0, given["x_size"] or 0
    if given["viewport"]:
        found["viewport"] = size("--viewport", given["viewport"])
    if given["scale"] or given["x_factor"] or given["y_factor"]:
        factor = given["scale"] or 0.0
        found["factors"] = given["y_factor"] or factor, given["x_factor"] or factor
    return found


def _overlays(given: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "overlay_mode": given["overlay_mode"] or "",
        "overlay_level": given["overlay_level"],
        "overlay_threshold": given["overlay_threshold"],
    }
    chosen = [_overlay(value) for value in given["display_overlay"]]
    if chosen:
        found["overlays"] = () if 0 in chosen else tuple(one - 1 if one < 0x6000 else one for one in chosen)
    elif given["overlays"]:
        found["overlays"] = ()
    return found


def _overlay(value: str) -> int:
    """DCMTK's number of an overlay: 0 all, 1 to 16, or a group from 0x6000 on."""
    try:
        found = int(value, 0)
    except ValueError:
        found = -1
    if not (0 <= found <= 16 or (0x6000 <= found <= 0x601E and found % 2 == 0)):
        raise UsageError(f"option +O: {value!r} is no overlay", hint="0 for all, 1 to 16, or a group such as 0x6000")
    return found
