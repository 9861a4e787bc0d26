"""A frame between its encoded forms: what decoders give, what encoders take, and the bits between them.

Decoded samples are interleaved and little endian, one array of (rows, columns) or (rows, columns, samples).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from dcmkit.errors import InvalidDataSetError, UnsupportedSyntaxError, UsageError
from dcmkit.pixels.description import PIXEL_DATA, PixelDescription

if TYPE_CHECKING:
    from numpy.typing import NDArray

Array: TypeAlias = "NDArray[Any]"
"""numpy is imported by those who work with one."""

MAXIMUM_FRAME_BYTES = 1 << 31
"""What a frame may take decoded: larger ones come as tiles, or from someone who means harm."""

LIBRARY_ERRORS = (RuntimeError, ValueError, OverflowError, IndexError, OSError)
"""What the codec libraries raise: their own errors are RuntimeErrors."""


def library(name: str) -> Any:
    """A module of one of the codec libraries, imported when it is first needed."""
    return import_module(name)


class Decoded(NamedTuple):
    """A frame's samples, and what they turned out to be."""

    array: Array
    photometric_interpretation: str
    bits_stored: int
    signed: bool
    warnings: tuple[str, ...] = ()


class Encoded(NamedTuple):
    """A frame encoded, and what the data set has to say of it.

    Attributes:
        bits_stored: what Bits Stored must become; lossy syntaxes may need more bits than there were.
        lossy: whether samples may have changed.
        method: Lossy Image Compression Method (0028,2114), empty where not lossy.
    """

    data: bytes
    photometric_interpretation: str
    bits_stored: int
    lossy: bool = False
    method: str = ""


class EncodeOptions(NamedTuple):
    """How to encode.

    Attributes:
        quality: 1 to 100, of lossy JPEG, JPEG 2000, HTJ2K and JPEG XL.
        ratio, psnr: of lossy JPEG 2000, in place of quality; the peak of psnr is the frame's own range of values.
        near: largest difference of a sample, of near-lossless JPEG-LS.
        layers: quality layers of lossy JPEG 2000.
        tile: edge of the tiles of JPEG 2000 and HTJ2K; 0: one tile.
        predictor: 1 to 7, of lossless JPEG.
        effort: 2 to 9, of JPEG XL.
        subsampling: of lossy JPEG in color: 444, 422, 420, or rgb for no color transform.
        verify: decode and compare what was encoded without loss.
    """

    quality: int = 90
    ratio: float = 0.0
    psnr: float = 0.0
    near: int = 2
    layers: int = 1
    tile: int = 0
    predictor: int = 1
    effort: int = 3
    subsampling: str = "422"
    verify: bool = True

    def checked(self) -> EncodeOptions:
        """These options.

        Raises:
            UsageError: one of them cannot be.
        """
        ranges = {"quality": (1, 100), "near": (0, 255), "layers": (1, 64), "predictor": (1, 7), "effort": (2, 9),
                  "tile": (0, 65535), "ratio": (0, 10000), "psnr": (0, 200)}  # fmt: skip
        for name, (low, high) in ranges.items():
            if not low <= getattr(self, name) <= high:
                raise UsageError(f"{name} is from {low} to {high}, not {getattr(self, name)}")
        if self.subsampling not in ("444", "422", "420", "rgb"):
            raise UsageError(f"subsampling is 444, 422, 420 or rgb, not {self.subsampling}")
        return self


def check_description(description: PixelDescription) -> None:
    """Refuse what is no image, or too large a one, before anything is allocated.

    Raises:
        InvalidDataSetError, UnsupportedSyntaxError
    """
    rows, columns, samples = description.rows, description.columns, description.samples_per_pixel
    allocated = description.bits_allocated
    if not (rows and columns and samples):
        raise InvalidDataSetError(f"an image of {rows} rows, {columns} columns, {samples} samples per pixel",
                                  offending_element=PIXEL_DATA)  # fmt: skip
    if allocated not in (1, 8, 16, 32, 64):
        raise UnsupportedSyntaxError(f"samples of {allocated} bits allocated")
    if not 1 <= description.bits_stored <= allocated:
        raise InvalidDataSetError(f"{description.bits_stored} bits stored of {allocated} allocated")
    if rows * columns * samples * max(1, allocated // 8) > MAXIMUM_FRAME_BYTES:
        raise UnsupportedSyntaxError(f"a frame of {rows}x{columns}x{samples} samples of {allocated} bits",
                                     hint=f"frames up to {MAXIMUM_FRAME_BYTES >> 30} GiB are decoded")  # fmt: skip


def shape_of(description: PixelDescription) -> tuple[int, ...]:
    """Of a decoded frame."""
    shape = (description.rows, description.columns)
    return shape if description.samples_per_pixel == 1 else (*shape, description.samples_per_pixel)


def in_smallest_type(array: Array, precision: int) -> Array:
    """One byte for up to 8 bits: libraries take the range of values from the type."""
    return array.astype(f"{array.dtype.kind}1") if precision <= 8 < 8 * array.itemsize else array


def checked_array(array: Array, description: PixelDescription) -> Array:
    """The array to encode, contiguous, in the type the description says.

    Raises:
        UsageError: it is of another shape or type: a defect of the caller's.
    """
    import numpy as np

    if array.shape != shape_of(description):
        raise UsageError(f"an array of shape {array.shape} for an image of shape {shape_of(description)}")
    wanted = np.dtype(description.dtype)
    if array.dtype.newbyteorder("=") != wanted.newbyteorder("="):
        raise UsageError(f"an array of {array.dtype} for an image of {wanted}")
    return np.ascontiguousarray(array, dtype=wanted)


def check_native_bits(description: PixelDescription) -> None:
    """Refuse to compress what is no integer of one or two bytes, or more (PS3.5 8.2).

    Raises:
        UnsupportedSyntaxError
    """
    if description.element != PIXEL_DATA:
        raise UnsupportedSyntaxError("floating point pixel data can only be native",
                                     hint="try an uncompressed or the deflated transfer syntax")  # fmt: skip


def check_lossy(array: Array, description: PixelDescription) -> None:
    """Refuse lossy coding of what is no quantity.

    Raises:
        UnsupportedSyntaxError: indices of a palette, single bits, bits of an overlay above those of the sample.
    """
    if description.photometric_interpretation == "PALETTE COLOR":
        raise UnsupportedSyntaxError("lossy coding would mix the colors of a palette", hint="choose a lossless syntax")
    if description.bits_allocated == 1:
        raise UnsupportedSyntaxError("lossy coding of single bits", hint="choose a lossless syntax")
    if needed_precision(array, description) > description.bits_stored:
        raise UnsupportedSyntaxError(
            "bits above Bits Stored are in use (an overlay may lie there), and lossy coding would change them",
            hint="choose a lossless syntax",
        )


# --- samples and their bits ---------------------------------------------------------------------------------------


def needed_precision(array: Array, description: PixelDescription) -> int:
    """The bits of a sample that must be kept: those stored, or all where others are in use (embedded overlays)."""
    stored, allocated = description.bits_stored, description.bits_allocated
    if stored == allocated or allocated == 1:
        return stored
    if description.high_bit != stored - 1:
        return allocated
    low, high = int(array.min()), int(array.max())
    if description.signed:
        return stored if -(1 << (stored - 1)) <= low and high < 1 << (stored - 1) else allocated
    return stored if high < 1 << stored else allocated


def unsigned_samples(array: Array, precision: int) -> Array:
    """The lowest `precision` bits of two's complement, in the smallest unsigned type (JPEG knows no sign)."""
    import numpy as np

    out = array.view(np.dtype(f"u{array.itemsize}"))
    if array.dtype.kind == "i" and precision < 8 * array.itemsize:
        out = out & out.dtype.type((1 << precision) - 1)
    return out.astype(np.uint8) if precision <= 8 and out.itemsize > 1 else out


def restored_samples(samples: Array, precision: int, description: PixelDescription) -> Array:
    """What `unsigned_samples` was made of: the type the description says, sign extended.

    Bits above Bits Stored are kept where the codestream has them and they mean something.
    """
    import numpy as np

    wanted = np.dtype(description.dtype)
    if not description.signed:
        return _in_range(samples, precision).astype(wanted, copy=False)
    width = 8 * wanted.itemsize
    out = samples.astype(np.dtype(f"u{wanted.itemsize}"), copy=False).view(wanted)
    if precision < width:  # nobody else has what a decoder gave, but some give what cannot be written to
        out = np.left_shift(out, width - precision, out=out if out.flags.writeable else None)
        out >>= width - precision
    if description.bits_stored < precision and description.high_bit == description.bits_stored - 1:
        limit = 1 << description.bits_stored
        low, high = int(out.min()), int(out.max())
        if low >= 0 and limit >> 1 <= high < limit:  # written without sign extension
            shift = width - description.bits_stored
            out = (out << shift) >> shift
    return out


def _in_range(samples: Array, precision: int) -> Array:
    """Lossless JPEG of 12 bits may count modulo 2^16 (T.81 H.1.2.1): bits above the precision mean nothing."""
    import numpy as np

    if samples.dtype.kind == "i":
        samples = samples.view(np.dtype(f"u{samples.itemsize}"))
    if precision >= 8 * samples.itemsize or int(samples.max()) < 1 << precision:
        return samples
    masked: Array = samples & samples.dtype.type((1 << precision) - 1)
    return masked


def color_after_lossless(description: PixelDescription) -> str:
    """Photometric interpretation of interleaved samples at full resolution: as it was, but for what is undone."""
    interpretation = description.photometric_interpretation
    if interpretation in ("YBR_FULL_422", "YBR_PARTIAL_422"):
        return interpretation.removesuffix("_422")
    return "RGB" if interpretation in ("YBR_RCT", "YBR_ICT", "XYB") else interpretation
