"""A DICOM file of an image: its elements, and its frames one by one, read where they lie (memory-mapped).

Nothing is decoded and nothing copied that need not be. Everything that is wrong with a file is an
`InvalidDataSetError`; what can be read as it is meant is, with a warning in `ImageFile.warnings`.
"""

from __future__ import annotations

import mmap
import os
import threading
from itertools import islice
from types import TracebackType
from typing import IO

from dcmkit.dataset.elements import DataSet
from dcmkit.dataset.part10 import FileHeader, read_file_header
from dcmkit.dataset.raw import Encoding, RawElement, RawElements, encoding_of, guess, number, walk
from dcmkit.errors import InputError, InvalidDataSetError
from dcmkit.pixels import description as tags
from dcmkit.pixels.description import (
    DOUBLE_FLOAT_PIXEL_DATA,
    FLOAT_PIXEL_DATA,
    PIXEL_DATA,
    PixelDescription,
)
from dcmkit.pixels.offsets import Encapsulated, is_video
from dcmkit.uids import DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, is_encapsulated

EXTENDED_OFFSET_TABLE, EXTENDED_OFFSET_TABLE_LENGTHS = 0x7FE00001, 0x7FE00002
INFLATED_LIMIT = 1 << 30
"""Bytes a deflated data set may become, on disk."""
PIXEL_ELEMENTS = frozenset({PIXEL_DATA, FLOAT_PIXEL_DATA, DOUBLE_FLOAT_PIXEL_DATA})
NOT_IN_DATA_SET = PIXEL_ELEMENTS | {EXTENDED_OFFSET_TABLE, EXTENDED_OFFSET_TABLE_LENGTHS}
_STEP = 1 << 20
_PLACES_LIMIT = 1 << 14
_BOMB_SIZE, _BOMB_RATIO = 1 << 27, 500
"""What becomes so long, and was deflated to so small a part, is no image."""
_FORGET_AFTER = 1 << 26
"""Bytes of frames handed out after which the pages of the file are given back to the system."""


class ImageFile:
    """A file open for reading; a context manager. Frames may be asked for by several threads.

    Attributes:
        path: of the file.
        header: what its first bytes say.
        elements: where its elements lie, pixel data and offset tables left out.
        description: of its pixels; None where there are none.
        warnings: what is wrong with the file, and was read nevertheless.
    """

    def __init__(self, path: str | os.PathLike[str], *, inflated_limit: int = INFLATED_LIMIT) -> None:
        """Open it, and walk its elements.

        Args:
            inflated_limit: bytes that a deflated data set may become (in a temporary file).

        Raises:
            InputError: it cannot be read.
            InvalidDataSetError: it is not DICOM, is damaged, or ends too early.
        """
        self.path = os.fspath(path)
        self.warnings: list[str] = []
        self.description: PixelDescription | None = None
        self._data_set: DataSet | None = None
        self._frames: Encapsulated | None = None
        self._pixels = memoryview(b"")
        self._pixels_at = 0
        self._swapped = False
        self._handed_out = 0
        self._lock = threading.Lock()
        self._map: mmap.mmap | None = None
        try:
            with open(self.path, "rb", buffering=0) as file:
                self.header: FileHeader = read_file_header(file.fileno(), allow_bare=True)
                start, end = self._open(file, inflated_limit)
            self._read(start, end)
        except InputError:
            self.close()
            raise
        except (OSError, ValueError) as error:
            self.close()
            raise InputError(f"the file cannot be read: {getattr(error, 'strerror', None) or error}") from None

    def __enter__(self) -> ImageFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file, at the latest when the last view of a frame is gone."""
        found, self._map = self._map, None
        if found is not None:
            try:
                self._data.release()
                found.close()
            except BufferError:  # views of frames are still in use
                pass

    # --- opening ---------------------------------------------------------------------------------------------

    def _open(self, file: IO[bytes], limit: int) -> tuple[int, int]:
        """Map the file, or what it inflates to; where the data set begins and ends in that."""
        header = self.header
        if header.transfer_syntax_uid == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
            import tempfile

            with tempfile.TemporaryFile(buffering=0) as inflated:
                file.seek(header.offset)
                size = inflate(file, inflated, limit)
                self._map_file(inflated.fileno(), size)
                return 0, size
        size = header.offset + header.length
        self._map_file(file.fileno(), size)
        return header.offset, size

    def _map_file(self, fd: int, size: int) -> None:
        if not size:
            raise InvalidDataSetError("the data set is empty")
        self._map = mmap.mmap(fd, size, access=mmap.ACCESS_READ)
        self._data = memoryview(self._map)

    def _read(self, start: int, end: int) -> None:
        if start >= end:
            raise InvalidDataSetError("the data set is empty")
        data = self._data
        encoding = guess(data, start, end, encoding_of(self.header.transfer_syntax_uid))
        found = list(walk(data, start, end, encoding, stop=PIXEL_ELEMENTS))
        pixels = next((one for one in found if one.tag in PIXEL_ELEMENTS), None)
        everything = RawElements(data, encoding, found)
        if pixels is not None:
            self._read_pixels(pixels, everything, end)
            if pixels.end < 0 and self._frames is not None:
                found += walk(data, self._frames.end, end, encoding)
                everything = RawElements(data, encoding, found)
        self.elements = everything.without(NOT_IN_DATA_SET)

    def _read_pixels(self, pixels: RawElement, elements: RawElements, end: int) -> None:
        declared = self._declared_frames(elements)
        described = describe(elements, pixels.tag)
        encapsulated = is_encapsulated(self.transfer_syntax_uid)
        if pixels.end < 0 and not encapsulated:
            raise InvalidDataSetError(
                "the pixel data is encapsulated, which the transfer syntax does not allow", offending_element=pixels.tag
            )
        if not described.frame_bits:
            self.warnings.append("there is pixel data, but no rows, columns or samples")
        self.description = described._replace(number_of_frames=declared or 1)
        self._pixels_at = pixels.value_start
        if not encapsulated:
            self._pixels = self._data[pixels.value_start : pixels.end]
            self._swapped = elements.encoding.big_endian and pixels.vr == "OW" and described.bits_allocated <= 8
            self._fit_native(declared)
            return
        stop = end if pixels.end < 0 else pixels.end
        if pixels.end >= 0:
            self.warnings.append("the encapsulated pixel data has a defined length")
            if bytes(self._data[pixels.value_start : pixels.value_start + 4]) != b"\xfe\xff\x00\xe0":
                self._pixels = self._data[pixels.value_start : pixels.end]
                return
        self._frames = Encapsulated(
            self._data, pixels.value_start, stop, self.transfer_syntax_uid, declared,
            extended=elements.value(EXTENDED_OFFSET_TABLE), delimited=pixels.end < 0, warnings=self.warnings,
        )  # fmt: skip
        self.description = self.description._replace(number_of_frames=self._frames.count)

    def _declared_frames(self, elements: RawElements) -> int | None:
        """Number of Frames; None where it is missing or none."""
        if tags.NUMBER_OF_FRAMES not in elements:
            return None
        declared = number(elements.text(tags.NUMBER_OF_FRAMES))
        if declared is None or not 0 < declared < 1 << 31:
            self.warnings.append("the number of frames is not a number of frames")
            return None
        return declared

    def _fit_native(self, declared: int | None) -> None:
        """Compare what there is with what is described."""
        described = self.description
        assert described is not None
        length, frame_bits = len(self._pixels), described.frame_bits
        count = declared or 1
        if described.photometric_interpretation == "YBR_FULL_422":
            full = described._replace(photometric_interpretation="YBR_FULL")
            if frame_bits and length * 8 >= full.frame_bits * count:
                self.warnings.append("the pixel data is not subsampled as YBR_FULL_422 should be: taken as YBR_FULL")
                described, frame_bits = full, full.frame_bits
        if declared is None and frame_bits >= 8 and not frame_bits % 8:
            found, rest = divmod(length, frame_bits // 8)
            if found > 1 and rest < 2:
                self.warnings.append(f"the number of frames is missing; there are {found}")
                count = found
        wanted = (frame_bits * count + 7) // 8
        if length < wanted:
            self.warnings.append(f"the pixel data has {length} bytes, and should have {wanted}")
        elif length > wanted + wanted % 2:
            self.warnings.append(f"the pixel data has {length} bytes, {length - wanted} more than it needs")
        self.description = described._replace(number_of_frames=count)

    # --- what is in it ---------------------------------------------------------------------------------------

    @property
    def transfer_syntax_uid(self) -> str:
        """How the data set is encoded, as the file says."""
        return self.header.transfer_syntax_uid

    @property
    def encoding(self) -> Encoding:
        """How the elements are encoded, after inflating."""
        return self.elements.encoding

    @property
    def data_set(self) -> DataSet:
        """All elements but pixel data and its offset tables, decoded when first asked for.

        Raises:
            InvalidDataSetError: a sequence cannot be followed, or there is too much of it all.
        """
        if self._data_set is None:
            self._data_set = self.elements.decoded()
        return self._data_set

    @property
    def number_of_frames(self) -> int:
        """The frames there should be; of those that are missing `frame` says so. 0 without pixel data."""
        return self.description.number_of_frames if self.description is not None else 0

    @property
    def is_video(self) -> bool:
        """All frames are in one stream, which `frame(0)` gives."""
        return is_video(self.transfer_syntax_uid)

    def frame(self, index: int) -> bytes | memoryview:
        """One frame, as it is encoded: a codestream, or the raw bytes of its samples.

        One-bit frames begin at a byte. In explicit VR big endian, samples of up to 8 bits that are encoded as words
        (OW) come in the order of the pixels; longer samples are in big endian.

        Args:
            index: counted from 0.

        Raises:
            InvalidDataSetError: it is not there, or not all of it.
        """
        if not 0 <= index < self.number_of_frames:
            raise InvalidDataSetError(f"there is no frame {index + 1}, only {self.number_of_frames}")
        self._forget()
        if self._frames is not None:
            fragments = self._frames.fragments(index)
            found = fragments[0] if len(fragments) == 1 else b"".join(fragments)
        elif is_encapsulated(self.transfer_syntax_uid):
            if index:
                raise InvalidDataSetError("the frames are not in fragments", offending_element=PIXEL_DATA)
            found = self._pixels
        else:
            found = self._native(index)
        self._handed_out += len(found)
        return found

    def places(self, index: int) -> list[tuple[int, int]] | None:
        """Where the bytes that `frame` gives lie in the file, as offsets and lengths, for who need not read them.

        None where they do not lie there so: inflated, swapped, not at the beginning of a byte, in very many fragments.

        Raises:
            InvalidDataSetError: as `frame`.
        """
        if not 0 <= index < self.number_of_frames:
            raise InvalidDataSetError(f"there is no frame {index + 1}, only {self.number_of_frames}")
        if self.transfer_syntax_uid == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN or self._swapped:
            return None
        if self._frames is not None:
            found = list(islice(self._frames.places(index), _PLACES_LIMIT + 1))
            return found if len(found) <= _PLACES_LIMIT else None
        described = self.description
        if is_encapsulated(self.transfer_syntax_uid) or described is None or described.frame_bits % 8:
            return None
        size = described.frame_bits // 8
        if not size or (index + 1) * size > len(self._pixels):
            self._native(index)  # says why not
        return [(self._pixels_at + index * size, size)]

    def _native(self, index: int) -> bytes | memoryview:
        described = self.description
        assert described is not None
        bits = described.frame_bits
        if not bits:
            raise InvalidDataSetError("the image has no rows, columns or samples", offending_element=tags.ROWS)
        first, shift = divmod(index * bits, 8)
        last = (index * bits + bits + 7) // 8
        if last > len(self._pixels):
            raise InvalidDataSetError(
                f"the pixel data ends before frame {index + 1} of {described.number_of_frames} does",
                offending_element=described.element,
            )
        found: bytes | memoryview = self._pixels[first:last]
        if self._swapped:
            begin = first & ~1
            words = self._pixels[begin : last + (last & 1)]
            found = swapped_pairs(words)[first - begin : last - begin]
        if shift or bits % 8:  # PS3.5 8.1.1: the first pixel is the lowest bit
            whole = int.from_bytes(found, "little") >> shift & ((1 << bits) - 1)
            return whole.to_bytes(described.frame_bytes, "little")
        return found

    def _forget(self) -> None:
        """Give pages back that have been read, so that memory stays flat; they come again when they are needed."""
        if self._handed_out < _FORGET_AFTER or not hasattr(mmap, "MADV_DONTNEED"):
            return
        with self._lock:
            self._handed_out = 0
            if self._map is not None:
                self._map.madvise(mmap.MADV_DONTNEED)


def swapped_pairs(words: memoryview | bytes) -> bytes:
    """Bytes with each two exchanged; a last odd one stays."""
    found = bytearray(words)
    even = len(found) & ~1
    found[0:even:2], found[1:even:2] = words[1:even:2], words[0:even:2]
    return bytes(found)


def describe(elements: RawElements, element: int = PIXEL_DATA) -> PixelDescription:
    """What the elements say of pixels, defaults where they say nothing: no rows, no columns."""

    def value(tag: int, default: int) -> int:
        found = elements.unsigned(tag)
        return default if found is None else found

    allocated = value(tags.BITS_ALLOCATED, {FLOAT_PIXEL_DATA: 32, DOUBLE_FLOAT_PIXEL_DATA: 64}.get(element, 16))
    samples = value(tags.SAMPLES_PER_PIXEL, 1)
    stored = value(tags.BITS_STORED, allocated)
    return PixelDescription(
        rows=value(tags.ROWS, 0),
        columns=value(tags.COLUMNS, 0),
        samples_per_pixel=samples,
        photometric_interpretation=elements.text(tags.PHOTOMETRIC_INTERPRETATION)
        or ("RGB" if samples == 3 else "MONOCHROME2"),
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=value(tags.HIGH_BIT, max(0, stored - 1)),
        pixel_representation=value(tags.PIXEL_REPRESENTATION, 0),
        planar_configuration=value(tags.PLANAR_CONFIGURATION, 0),
        number_of_frames=max(1, number(elements.text(tags.NUMBER_OF_FRAMES)) or 1),
        element=element,
    )


def inflate(source: IO[bytes], target: IO[bytes], limit: int) -> int:
    """Inflate the rest of a file into another; how many bytes came out."""
    import zlib

    inflater, size, consumed = zlib.decompressobj(-zlib.MAX_WBITS), 0, 0
    while not inflater.eof:
        block = inflater.unconsumed_tail or source.read(_STEP)
        if not block:
            raise InvalidDataSetError("the deflated data set ends too early")
        try:
            piece = inflater.decompress(block, _STEP)
        except zlib.error as error:
            raise InvalidDataSetError(f"the deflated data set is damaged: {error}") from None
        size += len(piece)
        consumed += len(block) - len(inflater.unconsumed_tail)
        if size > limit or (size > _BOMB_SIZE and size > consumed * _BOMB_RATIO):
            limit = min(size, limit)
            raise InvalidDataSetError(f"the deflated data set becomes longer than {limit} bytes")
        view = memoryview(piece)
        while view:
            view = view[target.write(view) :]
    return size
