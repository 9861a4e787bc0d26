"""ICC profiles of rendered images: colours in the space asked for, and the profile in the file (PS3.18 8.3.5.1.5)."""

from __future__ import annotations

import struct
import zlib
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from dcmkit.errors import InvalidDataSetError, UnsupportedSyntaxError, UsageError
from dcmkit.pixels.render import rendering_elements

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dcmkit.pixels.image_file import ImageFile

    Array = NDArray[Any]

_ICC_PROFILE = 0x00282000
_ROMM_WHITE = [0.3457, 0.3585, 1.0]
_ROMM_PRIMARIES = [0.7347, 0.2653, 1.0, 0.1596, 0.8404, 1.0, 0.0366, 0.0001, 1.0]
"""ISO 22028-2: D50, and the primaries of reference output medium metric RGB."""
_JPEG_LIMIT = 0xFFFF - 16
_PROFILE_LIMIT = 255 * _JPEG_LIMIT


def with_profile(picture: Array, image: ImageFile, wanted: str) -> tuple[Array, bytes]:
    """A rendered picture in a colour space, and the profile of that.

    Args:
        picture: as rendered; grey ones have no colours to be managed.
        image: whose own profile says what its colours mean; without one they are sRGB.
        wanted: `yes` for as they are, `srgb`, `adobergb` or `rommrgb`.

    Returns:
        The picture, and b"" where it has no profile.

    Raises:
        InvalidDataSetError: the object's profile is damaged, or not for red, green and blue.
        UnsupportedSyntaxError: this installation has no colour management.
    """
    if picture.ndim == 2:
        return picture, b""
    element = rendering_elements(image).get(_ICC_PROFILE)
    own = element.value if element is not None and isinstance(element.value, bytes) else b""
    if wanted == "yes":
        return picture, own if 128 < len(own) <= _PROFILE_LIMIT else profile("srgb")
    target = profile(wanted)
    if not own and wanted == "srgb":
        return picture, target
    import imagecodecs

    try:
        found = imagecodecs.cms_transform(
            np.ascontiguousarray(picture), own or profile("srgb"), target, colorspace="rgb", outcolorspace="rgb"
        )
    except (RuntimeError, ValueError, TypeError) as error:
        raise InvalidDataSetError(f"the ICC profile cannot be used: {error}", offending_element=_ICC_PROFILE) from None
    return np.asarray(found), target


@lru_cache(maxsize=4)
def profile(name: str) -> bytes:
    """One of the standard's. Raises: UnsupportedSyntaxError, without colour management."""
    import imagecodecs

    if not imagecodecs.CMS.available:
        raise UnsupportedSyntaxError("ICC profiles cannot be made: imagecodecs was built without lcms2")
    if name == "rommrgb":
        return bytes(imagecodecs.cms_profile("rgb", whitepoint=_ROMM_WHITE, primaries=_ROMM_PRIMARIES, gamma=1.8))
    return bytes(imagecodecs.cms_profile(name))


def embedded(file: bytes, media_type: str, found: bytes) -> bytes:
    """A JPEG or PNG file with a profile in it (ICC.1 annex B.4; PNG 11.3.2.3).

    Raises:
        UsageError: files of the media type have none here.
    """
    if media_type == "image/jpeg":
        return _in_jpeg(file, found)
    if media_type == "image/png":
        return _in_png(file, found)
    raise UsageError(f"{media_type} is written without an ICC profile", hint="iccprofile=no, or another media type")


def _in_jpeg(file: bytes, found: bytes) -> bytes:
    at = 2
    if file[2:4] == b"\xff\xe0":  # JFIF comes first
        at += 2 + int.from_bytes(file[4:6], "big")
    parts = [found[start : start + _JPEG_LIMIT] for start in range(0, len(found), _JPEG_LIMIT)]
    segments = [
        struct.pack(">HH12sBB", 0xFFE2, len(part) + 16, b"ICC_PROFILE\0", number, len(parts)) + part
        for number, part in enumerate(parts, 1)
    ]
    return file[:at] + b"".join(segments) + file[at:]


def _in_png(file: bytes, found: bytes) -> bytes:
    at = 8 + 25  # behind the signature and IHDR
    content = b"iCCP" + b"ICC\0\0" + zlib.compress(found)
    return (
        file[:at] + struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content)) + file[at:]
    )
