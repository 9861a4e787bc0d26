"""What `dcmkit render --image-info` prints of an image: what dcmj2pnm's option of that name does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dcmkit import uids
from dcmkit.dataset.elements import text
from dcmkit.logs import escape

if TYPE_CHECKING:
    from dcmkit.pixels.image_file import ImageFile


def described(path: str, image: ImageFile, frames: range) -> list[str]:
    """Lines about an image with pixels; values of the first of `frames`.

    Raises:
        InvalidDataSetError, UnsupportedSyntaxError: that frame cannot be decoded.
    """
    from dcmkit.pixels import overlays, presentation
    from dcmkit.pixels.luts import Lut, Window
    from dcmkit.pixels.render import extent, frame_elements, rendering_elements

    pixels = image.description
    assert pixels is not None
    elements = rendering_elements(image)
    shown = frame_elements(elements, frames[0])
    sop_class, instance = (text(elements, tag) for tag in (presentation.SOP_CLASS_UID, presentation.SOP_INSTANCE_UID))
    lines = [
        ("filename", path),
        ("transfer syntax", uids.name_of(image.transfer_syntax_uid)),
        ("SOP class", uids.name_of(sop_class)),
        ("SOP instance UID", instance),
        ("columns x rows", f"{pixels.columns} x {pixels.rows}"),
        ("bits per sample", str(pixels.bits_stored)),
        ("color model", pixels.photometric_interpretation),
        ("pixel aspect ratio", text(shown, 0x00280034).replace("\\", ":") or "1:1"),
        ("number of frames", f"{image.number_of_frames} ({len(frames)} processed)"),
    ]
    vois = presentation.read_vois(shown)
    for name, kind in (("VOI windows in file", Window), ("VOI LUTs in file", Lut)):
        there = [one for one in vois if isinstance(one, kind)]
        lines.append((name, str(len(there))))
        for one in there:
            values = f"{one.center:g}, {one.width:g}" if isinstance(one, Window) else f"{len(one.entries)} entries"
            lines.append(("", f"- {values} {one.explanation}".rstrip()))
    lines += [
        ("VOI LUT function", text(shown, presentation.FUNCTION) or "<default>"),
        ("presentation shape", text(shown, presentation.PRESENTATION_SHAPE) or "<default>"),
        ("overlays in file", str(len(overlays.find_overlays(elements)))),
    ]
    ends = extent(image, frames[0])
    if ends is not None:
        lines += [("maximum pixel value", f"{ends[1]:.12g}"), ("minimum pixel value", f"{ends[0]:.12g}")]
    return [escape(f"{name:<20}: {value}" if name else f"{'':<20}  {value}") for name, value in lines]
