"""What a data set says of its pixels: the Image Pixel module (PS3.3 C.7.6.3), without the pixels."""

from __future__ import annotations

from typing import NamedTuple

ROWS, COLUMNS = 0x00280010, 0x00280011
SAMPLES_PER_PIXEL, PHOTOMETRIC_INTERPRETATION, PLANAR_CONFIGURATION = 0x00280002, 0x00280004, 0x00280006
NUMBER_OF_FRAMES = 0x00280008
BITS_ALLOCATED, BITS_STORED, HIGH_BIT, PIXEL_REPRESENTATION = 0x00280100, 0x00280101, 0x00280102, 0x00280103
PIXEL_DATA, FLOAT_PIXEL_DATA, DOUBLE_FLOAT_PIXEL_DATA = 0x7FE00010, 0x7FE00008, 0x7FE00009

TAGS = frozenset({
    ROWS, COLUMNS, SAMPLES_PER_PIXEL, PHOTOMETRIC_INTERPRETATION, PLANAR_CONFIGURATION, NUMBER_OF_FRAMES,
    BITS_ALLOCATED, BITS_STORED, HIGH_BIT, PIXEL_REPRESENTATION,
})  # fmt: skip
"""The elements a description is made of."""


class PixelDescription(NamedTuple):
    """The shape and meaning of an image's samples, named as PS3.3 C.7.6.3 names them.

    Attributes:
        element: the tag of the element that holds them: PIXEL_DATA, FLOAT_PIXEL_DATA or DOUBLE_FLOAT_PIXEL_DATA.
    """

    rows: int
    columns: int
    samples_per_pixel: int = 1
    photometric_interpretation: str = "MONOCHROME2"
    bits_allocated: int = 16
    bits_stored: int = 16
    high_bit: int = 15
    pixel_representation: int = 0
    planar_configuration: int = 0
    number_of_frames: int = 1
    element: int = PIXEL_DATA

    @property
    def signed(self) -> bool:
        """Whether samples are in two's complement."""
        return self.pixel_representation == 1

    @property
    def frame_bits(self) -> int:
        """Bits of one frame where it is not encapsulated; frames of one-bit samples follow without a gap."""
        samples = self.rows * self.columns * self.samples_per_pixel
        if self.photometric_interpretation == "YBR_FULL_422":  # two pixels share their chroma (PS3.3 C.7.6.3.1.2)
            samples = self.rows * self.columns * 2
        return samples * self.bits_allocated

    @property
    def frame_bytes(self) -> int:
        """The same in bytes, rounded up."""
        return (self.frame_bits + 7) // 8

    @property
    def word_bytes(self) -> int:
        """Bytes of a word in big endian: pixel data are words of 16 bits however long a sample is (PS3.5 6.2, OW)."""
        if self.element == PIXEL_DATA:
            return 2 if self.bits_allocated > 8 else 1
        return self.bits_allocated // 8

    @property
    def dtype(self) -> str:
        """Of a numpy array of samples, little endian: `u1`, `<i2`, `<f4`; one-bit samples are `u1`."""
        if self.element == FLOAT_PIXEL_DATA:
            return "<f4"
        if self.element == DOUBLE_FLOAT_PIXEL_DATA:
            return "<f8"
        size = max(1, self.bits_allocated // 8)
        return ("<" if size > 1 else "") + ("i" if self.signed else "u") + str(size)
