"""Files of images, written frame by frame in flat memory, and there only when they are complete.

Everything goes to a temporary file in the directory of the target, which gets its name by `commit`. Lengths and offset
tables are filled in then; nothing needs to be known of compressed frames before they come.
"""

from __future__ import annotations

import os
import stat
import struct
import sys
from array import array
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from dcmkit.dataset.part10 import file_meta
from dcmkit.dataset.raw import EXPLICIT, RawElements, encoded_elements, encoding_of, walk
from dcmkit.dataset.recode import AS_THEY_ARE, REMOVE, Buffer, Recoder, recode, swapped
from dcmkit.errors import DcmkitError, InvalidDataSetError, OutputDirectoryError, OutputError, UsageError
from dcmkit.pixels import description as tags
from dcmkit.pixels.description import DOUBLE_FLOAT_PIXEL_DATA, FLOAT_PIXEL_DATA, PIXEL_DATA
from dcmkit.pixels.image_file import (
    EXTENDED_OFFSET_TABLE,
    EXTENDED_OFFSET_TABLE_LENGTHS,
    NOT_IN_DATA_SET,
    describe,
)
from dcmkit.uids import DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, is_encapsulated

if TYPE_CHECKING:
    from dcmkit.dataset.elements import DataSet

OFFSET_LIMIT = 1 << 32
"""Offsets of the Basic Offset Table stay below this."""
LENGTH_LIMIT = 0xFFFFFFFE
"""The longest value there can be."""
_TOTAL_LENGTH = 0x7FE00003
_LEFT_OUT = NOT_IN_DATA_SET | {_TOTAL_LENGTH}
_UNDEFINED = 0xFFFFFFFF
_ITEM, _SEQUENCE_END = struct.pack("<HH", 0xFFFE, 0xE000), struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
_BLOCK = 1 << 20


class WriterOptions(NamedTuple):
    """How a file is written.

    Attributes:
        sequences, group_lengths: as in `recode.recode`.
        number_of_frames: None takes it from the elements, 0 is no pixel data; a video stream is 1.
        extended_offset_table: write one, and no Basic Offset Table; beyond 4 GiB it is written anyway.
        basic_offset_table: fill it; False leaves it empty.
        fragment_size: bytes of a fragment at most; 0 is one fragment for a frame.
        pixel_element: the tag of the pixel data.
        padding: the file becomes a multiple of so many bytes, by Data Set Trailing Padding.
        sync: it is on disk when `commit` returns.
    """

    sequences: str = AS_THEY_ARE
    group_lengths: str = REMOVE
    number_of_frames: int | None = None
    extended_offset_table: bool = False
    basic_offset_table: bool = True
    fragment_size: int = 0
    pixel_element: int = PIXEL_DATA
    padding: int = 0
    source_ae_title: str = ""
    deflate_level: int = 6
    sync: bool = False


class ImageWriter:
    """One file being written. As a context manager it is abandoned unless it was committed.

    Attributes:
        description: of the pixels, as the elements have it.
        frames: written so far.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        elements: DataSet | RawElements | Sequence[RawElements],
        transfer_syntax_uid: str,
        *,
        sop_class_uid: str,
        sop_instance_uid: str,
        options: WriterOptions = WriterOptions(),  # noqa: B008 - immutable
    ) -> None:
        """Begin it, and write everything before the pixel data.

        Args:
            elements: of the data set; several are laid over each other, the last on top. Pixel data and offset tables
                in them are left out.
            transfer_syntax_uid: of the file; the frames come in it.

        Raises:
            OutputError: the file cannot be written.
            InvalidDataSetError: the elements cannot be followed, or native pixel data would be too long.
        """
        self._path, self._options = os.fspath(path), options
        layers = [encoded_elements(elements)] if isinstance(elements, dict) else elements
        layers = [layers] if isinstance(layers, RawElements) else list(layers)
        self._layers = [layer.without(_LEFT_OUT) for layer in layers]
        self._encoding = encoding_of(transfer_syntax_uid)
        self._recoder = Recoder(self._encoding)
        self._encapsulated = is_encapsulated(transfer_syntax_uid)
        self.description = _described(self._layers, options.pixel_element)
        self.frames = 0
        self._count = self._number_of_frames()
        self._offsets, self._lengths = array("Q"), array("Q")
        self._split = False
        self._pixels = self._pixels_start = self._written = self._extended_start = 0
        self._carry = self._carried_bits = 0
        self._deflater: Any = None
        self._file: IO[bytes] | None = None
        self._temporary = ""
        self._extended = self._wants_extended()
        try:
            self._create()
            meta = file_meta(
                sop_class_uid, sop_instance_uid, transfer_syntax_uid, source_ae_title=options.source_ae_title
            )
            self._write(meta)
            if transfer_syntax_uid == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
                import zlib

                self._deflater = zlib.compressobj(options.deflate_level, wbits=-zlib.MAX_WBITS)
            self._write_elements(last=EXTENDED_OFFSET_TABLE - 1)
            if self._count:
                self._begin_pixels()
        except OSError as error:
            raise self._failed(error) from None
        except BaseException:
            self.abandon()
            raise

    def __enter__(self) -> ImageWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abandon()

    # --- before the frames -----------------------------------------------------------------------------------

    def _number_of_frames(self) -> int:
        if self._options.number_of_frames is not None:
            return self._options.number_of_frames
        if not self.description.frame_bits:
            return 0
        return self.description.number_of_frames

    def _wants_extended(self) -> bool:
        options = self._options
        if options.extended_offset_table and options.fragment_size:
            raise UsageError("frames in several fragments cannot have an extended offset table (PS3.3 C.7.6.3.1.8)")
        likely = self.description.frame_bytes * self._count >= OFFSET_LIMIT and not options.fragment_size
        return self._encapsulated and (options.extended_offset_table or (likely and options.basic_offset_table))

    def _create(self) -> None:
        directory = os.path.dirname(self._path) or "."
        if os.path.lexists(self._path) and not stat.S_ISREG(os.stat(self._path).st_mode):
            raise OutputError("the output is there, and is not a regular file")
        temporary = os.path.join(directory, f".dcmkit-{os.urandom(8).hex()}.part")
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
        try:
            descriptor = os.open(temporary, flags, 0o666)
        except (FileNotFoundError, NotADirectoryError):
            raise OutputDirectoryError("the directory of the output does not exist") from None
        self._temporary = temporary
        self._file = open(descriptor, "w+b", buffering=_BLOCK)  # noqa: SIM115

    def _write(self, piece: Buffer) -> None:
        assert self._file is not None
        if self._deflater is not None:
            piece = self._deflater.compress(piece)
        self._file.write(piece)

    def _write_elements(self, *, first: int = 0, last: int = _UNDEFINED) -> None:
        options = self._options
        for piece in recode(
            self._layers, self._encoding, sequences=options.sequences, group_lengths=options.group_lengths,
            first=first, last=last,
        ):  # fmt: skip
            self._write(piece)

    def _begin_pixels(self) -> None:
        assert self._file is not None
        if not self._encapsulated:
            self._begin_native()
            return
        if self._extended:
            self._extended_start = self._file.tell()
            size = 8 * self._count
            for tag in (EXTENDED_OFFSET_TABLE, EXTENDED_OFFSET_TABLE_LENGTHS):
                self._write(self._recoder.header(tag, "OV", size) + bytes(size))
        self._pixels = self._file.tell()
        table = 0 if self._extended or not self._options.basic_offset_table else 4 * self._count
        if table > LENGTH_LIMIT:
            raise InvalidDataSetError("there are too many frames for an offset table")
        self._write(self._recoder.header(self._options.pixel_element, "OB", _UNDEFINED))
        self._write(_ITEM + struct.pack("<L", table))
        for at in range(0, table, _BLOCK):
            self._write(bytes(min(_BLOCK, table - at)))
        self._pixels_start = self._file.tell()

    def _begin_native(self) -> None:
        """The length is known where the description is right, and filled in by `commit` where it can be."""
        assert self._file is not None
        described = self.description
        length = (described.frame_bits * self._count + 7) // 8
        length += length & 1
        if length > LENGTH_LIMIT:
            raise InvalidDataSetError(
                f"{self._count} frames are {length} bytes, more than a value can have without compression",
                hint="take a transfer syntax with encapsulated frames",
            )
        self._native_length = length
        self._pixels = self._file.tell()
        vr = "OW" if described.bits_allocated > 8 else "OB"
        vr = {FLOAT_PIXEL_DATA: "OF", DOUBLE_FLOAT_PIXEL_DATA: "OD"}.get(self._options.pixel_element, vr)
        self._write(self._recoder.header(self._options.pixel_element, vr, length))

    # --- frames ----------------------------------------------------------------------------------------------

    def write_frame(self, data: Buffer) -> None:
        """The next frame: one codestream, or native samples in little endian, one-bit frames from the lowest bit on.

        Raises:
            InvalidDataSetError: it is a frame too many, or of another size than described.
            OutputError: it cannot be written.
            Either way the file is abandoned.
        """
        view = memoryview(data).cast("B")
        try:
            self._require_open()
            if self.frames >= self._count:
                raise InvalidDataSetError(f"there are more frames than the {self._count} there should be")
            if self._encapsulated:
                self._write_fragments(view)
            else:
                self._write_native(view)
        except OSError as error:
            raise self._failed(error) from None
        except BaseException:
            self.abandon()
            raise
        self.frames += 1

    def _write_fragments(self, view: memoryview) -> None:
        assert self._file is not None
        limit = min(self._options.fragment_size or LENGTH_LIMIT, LENGTH_LIMIT) & ~1 or 2
        if len(view) > limit and self._extended:
            raise InvalidDataSetError("a frame beyond 4 GiB cannot be in one fragment")
        self._offsets.append(self._written)
        self._lengths.append(len(view))
        for at in range(0, max(1, len(view)), limit):
            piece = view[at : at + limit]
            odd = len(piece) & 1
            self._write(_ITEM + struct.pack("<L", len(piece) + odd))
            self._write(piece)
            if odd:
                self._write(b"\0")
            self._written += 8 + len(piece) + odd
        self._split = self._split or len(view) > limit

    def _write_native(self, view: memoryview) -> None:
        described = self.description
        if len(view) != described.frame_bytes:
            raise InvalidDataSetError(
                f"a frame has {len(view)} bytes, and should have {described.frame_bytes}",
                offending_element=described.element,
            )
        bits = described.frame_bits
        if bits % 8:
            value = int.from_bytes(view, "little") & ((1 << bits) - 1)
            whole, self._carried_bits = divmod(self._carried_bits + bits, 8)
            value = self._carry | value << (self._carried_bits + whole * 8 - bits)
            self._carry = value >> (whole * 8)
            view = memoryview((value & ((1 << whole * 8) - 1)).to_bytes(whole, "little"))
        width = described.word_bytes if self._encoding.big_endian else 1
        self._written += len(view)
        if width < 2:
            self._write(view)
            return
        step = _BLOCK // width * width
        for at in range(0, len(view), step):
            self._write(swapped(view[at : at + step], width))

    # --- the end ---------------------------------------------------------------------------------------------

    def commit(self) -> None:
        """All frames are written: finish the file, and give it its name.

        Raises:
            InvalidDataSetError: frames are missing.
            OutputError: it cannot be written. Nothing is left of it then.
        """
        try:
            self._require_open()
            self._finish()
            os.replace(self._temporary, self._path)
            self._temporary = ""
            if self._options.sync and os.name == "posix":
                _sync_directory(os.path.dirname(self._path) or ".")
        except OSError as error:
            raise self._failed(error) from None
        except BaseException:
            self.abandon()
            raise

    def abandon(self) -> None:
        """Forget the file; nothing is left of it. Does nothing after `commit`, and may be called again."""
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except OSError:  # what could not be written is not wanted
                pass
        temporary, self._temporary = self._temporary, ""
        if temporary:
            try:
                os.unlink(temporary)
            except OSError:
                pass

    def _require_open(self) -> None:
        if self._file is None:
            raise OutputError("the file is closed")

    def _failed(self, error: OSError) -> DcmkitError:
        self.abandon()
        return OutputError(f"the file cannot be written: {error.strerror or error}")

    def _finish(self) -> None:
        assert self._file is not None
        if self.frames != self._count:
            raise InvalidDataSetError(f"there are {self.frames} frames, and should be {self._count}")
        if self._count:
            self._finish_pixels()
        self._write_elements(first=PIXEL_DATA + 1)
        self._pad()
        if self._deflater is not None:
            rest, self._deflater = self._deflater.flush(), None
            self._file.write(rest)
            if self._file.tell() & 1:
                self._file.write(b"\0")  # PS3.5 A.5
        if self._count and self._encapsulated:
            self._fill_tables()
        self._file.flush()
        if self._options.sync:
            os.fsync(self._file.fileno())
        self._file.close()
        self._file = None

    def _finish_pixels(self) -> None:
        if self._encapsulated:
            self._write(_SEQUENCE_END)
            return
        if self._carried_bits:
            self._write(bytes((self._carry,)))
            self._written += 1
        if self._written & 1:
            self._write(b"\0")
            self._written += 1
        if self._written != self._native_length:
            raise InvalidDataSetError(f"the frames are {self._written} bytes, and should be {self._native_length}")

    def _pad(self) -> None:
        """Data Set Trailing Padding (PS3.10 7.2)."""
        assert self._file is not None
        if self._options.padding > 0 and self._deflater is None:
            header = len(self._recoder.header(0xFFFCFFFC, "OB", 0))
            length = -(self._file.tell() + header) % self._options.padding
            self._write(self._recoder.header(0xFFFCFFFC, "OB", length))
            self._write(bytes(length))

    def _fill_tables(self) -> None:
        assert self._file is not None
        file = self._file
        if self._extended:
            file.seek(self._extended_start + len(self._recoder.header(EXTENDED_OFFSET_TABLE, "OV", 0)))
            file.write(_little(self._offsets))
            file.seek(self._pixels - 8 * self._count)
            file.write(_little(self._lengths))
        elif self._options.basic_offset_table and self._offsets[-1] < OFFSET_LIMIT:
            file.seek(self._pixels_start - 4 * self._count)
            file.write(_little(array("I", self._offsets)))
        elif self._options.basic_offset_table:
            self._rewrite()

    def _rewrite(self) -> None:
        """More came than was to be expected: room for an Extended Offset Table, by copying the file."""
        assert self._file is not None
        self._file.flush()
        old, removed = self._file, self._temporary
        self._file = None
        try:
            self._create()
            _copy(old, self._file, 0, self._pixels)
            if not self._split:
                for tag, table in (
                    (EXTENDED_OFFSET_TABLE, self._offsets),
                    (EXTENDED_OFFSET_TABLE_LENGTHS, self._lengths),
                ):
                    self._write(self._recoder.header(tag, "OV", 8 * len(table)) + _little(table))
            self._write(self._recoder.header(self._options.pixel_element, "OB", _UNDEFINED) + _ITEM + bytes(4))
            _copy(old, self._file, self._pixels_start, None)
        finally:
            old.close()
            os.unlink(removed)


def _described(layers: Iterable[RawElements], element: int) -> tags.PixelDescription:
    wanted = [layer.without(one.tag for one in layer if one.tag not in tags.TAGS) for layer in layers]
    data = memoryview(b"".join(recode(wanted, EXPLICIT)))
    return describe(RawElements(data, EXPLICIT, walk(data, 0, len(data), EXPLICIT)), element)


def _little(table: array[int]) -> bytes:
    if sys.byteorder == "big":
        table = array(table.typecode, table)
        table.byteswap()
    return table.tobytes()


def _copy(source: IO[bytes], target: IO[bytes] | None, start: int, stop: int | None) -> None:
    assert target is not None
    source.seek(start)
    while stop is None or start < stop:
        block = source.read(_BLOCK if stop is None else min(_BLOCK, stop - start))
        if not block:
            return
        target.write(block)
        start += len(block)


def _sync_directory(directory: str) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
