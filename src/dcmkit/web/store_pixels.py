"""Compressed frames that come as media types: their transfer syntax, and what their headers tell of the image.

PS3.18 8.7.3 says which media types there are for pixel data, PS3.18 10.5.2 that who stores them may leave out what
describes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dcmkit.dataset.elements import DataSet, element
from dcmkit.errors import UnsupportedSyntaxError
from dcmkit.pixels import description as tags
from dcmkit.pixels import syntaxes
from dcmkit.pixels.codestream import CodestreamInfo, inspect
from dcmkit.uids import TRANSFER_SYNTAXES, is_encapsulated
from dcmkit.web.negotiation import FRAME_TYPES
from dcmkit.web.store_parts import TransferSyntaxNotSupportedError

if TYPE_CHECKING:
    from dcmkit.web.media_types import MediaType

_LOSSY, _LOSSY_METHOD = 0x00282110, 0x00282114
_METHODS = {"JPEG": "ISO_10918_1", "JPEG-LS": "ISO_14495_1", "JPEG 2000": "ISO_15444_1", "HTJ2K": "ISO_15444_15",
            "JPEG XL": "ISO_18181_1"}  # fmt: skip
_JPEG = {0: syntaxes.JPEG_BASELINE, 1: syntaxes.JPEG_EXTENDED, 2: "1.2.840.10008.1.2.4.55"}
_RPCL = 2
"""Resolution, position, component, layer: the progression that HTJ2K_RPCL is named for (PS3.5 8.2.14)."""


class Frame(NamedTuple):
    """A compressed frame.

    Attributes:
        info: what its header says; None for what is not looked into, video for instance.
        start: where its codestream begins, which alone is stored (PS3.5 8.2.4).
    """

    transfer_syntax: str
    info: CodestreamInfo | None = None
    start: int = 0


def transfer_syntax_of(media_type: MediaType, data: memoryview) -> Frame:
    """How a frame is encoded: as its media type says, or its header.

    Raises:
        InvalidDataSetError: it is no such frame.
        TransferSyntaxNotSupportedError: there is no transfer syntax for it.
    """
    possible = FRAME_TYPES.get(media_type.name, ())
    said = media_type.parameters.get("transfer-syntax", "").strip()
    if said and (said not in TRANSFER_SYNTAXES or not is_encapsulated(said) or (possible and said not in possible)):
        raise TransferSyntaxNotSupportedError("the transfer syntax of a part is none of its media type")
    if not (possible or said):
        raise TransferSyntaxNotSupportedError("the media type of a part is none for pixel data")
    try:
        info = inspect(data, said or possible[0])
    except UnsupportedSyntaxError:
        return Frame(said or possible[0])
    return Frame(said or _by_header(info) or possible[0], info, info.start)


def _by_header(info: CodestreamInfo) -> str:
    if info.format == "JPEG":
        if info.process == 3:
            return syntaxes.JPEG_LOSSLESS_SV1 if info.predictor == 1 else syntaxes.JPEG_LOSSLESS
        return _JPEG.get(info.process, "")
    if info.format == "JPEG-LS":
        return syntaxes.JPEG_LS_NEAR if info.near else syntaxes.JPEG_LS
    if info.format == "JPEG 2000":
        return syntaxes.JPEG_2000_LOSSLESS if info.lossless else syntaxes.JPEG_2000
    if info.format == "HTJ2K":
        lossless = syntaxes.HTJ2K_RPCL if info.progression == _RPCL else syntaxes.HTJ2K_LOSSLESS
        return lossless if info.lossless else syntaxes.HTJ2K
    if info.format == "JPEG XL":
        if info.recompressed:
            return syntaxes.JPEG_XL_RECOMPRESSION
        return syntaxes.JPEG_XL_LOSSLESS if info.lossless else syntaxes.JPEG_XL
    return ""


def described(data_set: DataSet, frame: Frame, frames: int) -> DataSet:
    """The data set with what is missing in it of the Image Pixel Module (PS3.3 C.7.6.3), as the frame says it.

    Args:
        frames: how many there are.
    """
    info = frame.info
    found: dict[int, str] = {}
    if info is not None and info.rows and info.columns:
        found |= {tags.ROWS: str(info.rows), tags.COLUMNS: str(info.columns)}
    if info is not None and info.samples:
        found |= {tags.SAMPLES_PER_PIXEL: str(info.samples), tags.PHOTOMETRIC_INTERPRETATION: _photometric(info)}
        if info.samples > 1:
            found[tags.PLANAR_CONFIGURATION] = "0"
    if info is not None and info.bits:
        found |= {
            tags.BITS_ALLOCATED: str(8 if info.bits <= 8 else 16 if info.bits <= 16 else 32),
            tags.BITS_STORED: str(info.bits),
            tags.HIGH_BIT: str(info.bits - 1),
            tags.PIXEL_REPRESENTATION: "1" if info.signed else "0",
        }
    if frames > 1:
        found[tags.NUMBER_OF_FRAMES] = str(frames)
    if info is not None and frame.transfer_syntax not in syntaxes.LOSSLESS and not info.lossless:
        found[_LOSSY] = "01"
        if info.format in _METHODS and not _has(data_set, _LOSSY):
            found[_LOSSY_METHOD] = _METHODS[info.format]
    return data_set | {
        tag: element(tag, value, _VRS.get(tag, "")) for tag, value in found.items() if not _has(data_set, tag)
    }


_VRS = {_LOSSY: "CS", _LOSSY_METHOD: "CS"}


def _has(data_set: DataSet, tag: int) -> bool:
    found = data_set.get(tag)
    return found is not None and bool(found.value)


def _photometric(info: CodestreamInfo) -> str:
    """PS3.5 8.2, PS3.3 C.7.6.3.1.2."""
    if info.samples != 3:
        return "MONOCHROME2"
    if info.format == "JPEG" or info.recompressed:
        if info.color == "RGB" or info.process == 3:
            return "RGB"
        return "YBR_FULL_422" if info.subsampled else "YBR_FULL"
    return {"RCT": "YBR_RCT", "ICT": "YBR_ICT", "XYB": "XYB"}.get(info.color, "RGB")
