"""Regions of an image made black, and overlays cleared out of its samples, in the transfer syntax the file has.

What lies outside stays as it is, sample for sample, wherever the transfer syntax allows that: native frames are changed
where they lie, all others are decoded and encoded without loss, in syntaxes that allow loss as well. Only JPEG Baseline
and Extended know nothing but loss: their frames are encoded with the quantization they had, or finer, and the data set
then says so once more (PS3.3 C.7.6.1.1.5). What cannot be done is refused.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from dcmkit.dataset.elements import DataSet, Element
from dcmkit.dataset.raw import RawElements, encoded_elements
from dcmkit.dataset.recode import swapped
from dcmkit.deid import comments
from dcmkit.deid.darkness import Box, clear, darken, darkest, inside, palette_index, samples_of, with_sign
from dcmkit.deid.quantization import quality_of
from dcmkit.errors import DcmkitError, InvalidDataSetError, UnsupportedSyntaxError, UsageError
from dcmkit.pixels import codestream, lossy, syntaxes
from dcmkit.pixels import description as tags
from dcmkit.pixels.frames import Decoded, EncodeOptions, check_description
from dcmkit.pixels.image_file import ImageFile, describe
from dcmkit.pixels.recoding import Decode, Frame
from dcmkit.pixels.writer import ImageWriter, WriterOptions

if TYPE_CHECKING:
    from dcmkit.pixels.frames import Array

__all__ = ["Box", "Cleaned", "FrameCleaner", "cleaned", "overlay_bits", "parse", "write"]

Buffer = bytes | memoryview

_PLAIN = syntaxes.NATIVE | {syntaxes.ENCAPSULATED_UNCOMPRESSED, syntaxes.DEFLATED_FRAME}
_WITHOUT_LOSS = {
    syntaxes.JPEG_LS_NEAR: syntaxes.JPEG_LS,
    syntaxes.JPEG_2000: syntaxes.JPEG_2000_LOSSLESS,
    syntaxes.HTJ2K: syntaxes.HTJ2K_LOSSLESS,
    syntaxes.JPEG_XL: syntaxes.JPEG_XL_LOSSLESS,
}
"""Syntaxes that allow loss, and do not ask for it (PS3.5 8.2.3, 8.2.4, 8.2.14, 8.2.16)."""
_ALWAYS_LOSSY = frozenset({syntaxes.JPEG_BASELINE, syntaxes.JPEG_EXTENDED, syntaxes.JPEG_XL_RECOMPRESSION})
_CHARACTER_SET = 0x00080005
_OVERLAY_BITS, _OVERLAY_POSITION, _OVERLAY_DATA = 0x0100, 0x0102, 0x3000
_SPOOL_LIMIT = 32 << 20
_FINE = 97
"""Quality of lossy JPEG whose own quantization is nobody's standard."""


class Cleaned(NamedTuple):
    """What became of the pixels.

    Attributes:
        lossy: whether samples outside the boxes may have changed.
        changes: what the data set says otherwise than the elements that were given.
    """

    frames: int
    lossy: bool
    changes: DataSet
    warnings: tuple[str, ...]


def parse(text: str) -> Box:
    """A box from `X,Y,W,H`: column and row of its first pixel, counted from 0, columns and rows.

    Raises:
        UsageError: it is none.
    """
    try:
        x, y, width, height = (int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"{text!r} is no box", hint="X,Y,W,H in pixels, for example 0,0,800,60") from None
    if width < 1 or height < 1:
        raise UsageError(f"the box {text!r} has no pixels", hint="X,Y,W,H: width and height are from 1 on")
    return x, y, width, height


def overlay_bits(elements: RawElements) -> tuple[int, ...]:
    """The bits of a sample that overlays are in, by groups 6000 to 601E (retired; PS3.3 of 2004, C.9.2)."""
    found = set()
    for group in range(0x6000, 0x6020, 2):
        base = group << 16
        position = elements.unsigned(base | _OVERLAY_POSITION) or 0
        if position and base | _OVERLAY_DATA not in elements and (elements.unsigned(base | _OVERLAY_BITS) or 1) > 1:
            found.add(position)
    return tuple(sorted(found))


class FrameCleaner:
    """Cleans one frame after the other; may be called by several threads.

    Args:
        image: where the frames are.
        boxes: to be made black; may reach beyond the image, as long as one of them touches it.
        clear_bits: of every sample, counted from the lowest; none of those that hold its value.
        decode: in place of `codecs.decode_frame`, under limits for instance.

    Raises:
        InvalidDataSetError: there are no pixels, no box touches them, or a bit to be cleared is theirs.
        UnsupportedSyntaxError: such pixels cannot be cleaned.
        UsageError: a box is none.
    """

    def __init__(
        self,
        image: ImageFile,
        boxes: Iterable[Box],
        *,
        clear_bits: Iterable[int] = (),
        decode: Decode | None = None,
    ) -> None:
        described = image.description
        if described is None:
            raise InvalidDataSetError("there are no pixels that could be cleaned")
        boxes = list(boxes)
        self._image, self._description, self._syntax = image, described, image.transfer_syntax_uid
        self._mask = sum(1 << bit for bit in set(clear_bits))
        self._boxes = inside(boxes, described) if boxes else []
        self._given_decode = decode
        if not (self._boxes or self._mask):
            return
        if image.is_video:
            raise UnsupportedSyntaxError("regions of a video cannot be blanked here", hint="leave it out")
        check_description(described)
        self._check_bits()
        self._palette_index = palette_index(image) if described.photometric_interpretation == "PALETTE COLOR" else 0

    def _check_bits(self) -> None:
        described = self._description
        low = described.high_bit + 1 - described.bits_stored
        used = ((1 << described.bits_stored) - 1) << max(0, low)
        if self._mask & used or self._mask >> described.bits_allocated:
            raise InvalidDataSetError("an overlay is said to be in bits that hold samples, or in none",
                                      offending_element=tags.BITS_STORED)  # fmt: skip

    def __call__(self, index: int) -> Frame:
        """One frame.

        Raises:
            DcmkitError: it cannot be done; the message says which frame.
        """
        try:
            data = self._image.frame(index)
            if not (self._boxes or self._mask):
                return self._uncommented(data)
            return self._plain(data) if self._syntax in _PLAIN else self._coded(data)
        except DcmkitError as error:
            if self._description.number_of_frames > 1:
                error.args = (f"frame {index + 1}: {error.message}",)
                error.message = error.args[0]
            raise

    def _uncommented(self, data: Buffer) -> Frame:
        """The frame as it is, but for what its codestream says beside pixels."""
        if self._syntax == syntaxes.BIG_ENDIAN and self._description.word_bytes > 1:
            return Frame(swapped(data, self._description.word_bytes), self._description)
        if comments.is_sealed(data, self._syntax):
            from dcmkit.pixels import jpegxl

            jpeg = jpegxl.restore_jpeg(data)
            clean = comments.without(jpeg, syntaxes.JPEG_BASELINE)
            if clean is not jpeg:
                return Frame(jpegxl.recompress(bytes(clean)), self._description)
        found = comments.without(data, self._syntax)
        return Frame(found if isinstance(found, memoryview) else bytes(found), self._description)

    # --- samples as they are ---------------------------------------------------------------------------------

    def _plain(self, data: Buffer) -> Frame:
        described = self._description
        length = described.frame_bytes
        if self._syntax == syntaxes.DEFLATED_FRAME:
            from dcmkit.pixels.native import inflate

            data = inflate(data, length + length % 2)
        elif self._syntax == syntaxes.BIG_ENDIAN and described.word_bytes > 1:
            data = swapped(data, described.word_bytes)
        if not length <= len(data) <= length + length % 2:
            raise InvalidDataSetError(f"a frame has {len(data)} bytes, and should have {length}",
                                      offending_element=described.element)  # fmt: skip
        content = bytearray(data[:length])
        with samples_of(content, described) as samples:
            if self._mask:
                clear(samples, self._mask)
            if self._boxes:
                values = darkest(described, samples, palette_index=self._palette_index)
                darken(samples, self._boxes, values, described)
        if self._syntax == syntaxes.DEFLATED_FRAME:
            from dcmkit.pixels.native import deflate

            return Frame(deflate(bytes(content)), described)
        return Frame(memoryview(content), described)

    # --- codestreams -----------------------------------------------------------------------------------------

    def _coded(self, data: Buffer) -> Frame:
        import numpy as np

        from dcmkit.pixels.codecs import decode_frame

        decoded = (self._given_decode or decode_frame)(data, self._syntax, self._description)
        array = np.array(decoded.array)
        if self._mask:
            changed = clear(array, self._mask)
            if not (changed or self._boxes):
                return self._uncommented(data)
            if self._syntax != syntaxes.RLE:  # which has all bits, whatever they mean
                array = with_sign(array, self._description)
        lossy_syntax = self._syntax in _ALWAYS_LOSSY
        if self._boxes:
            color = self._description._replace(
                photometric_interpretation=decoded.photometric_interpretation, planar_configuration=0
            )
            values = darkest(
                color, array, palette_index=self._palette_index, bits=decoded.bits_stored, of_image=lossy_syntax
            )
            darken(array, self._boxes, values, color)
        return self._lossy(data, array, decoded) if lossy_syntax else self._lossless(data, array, decoded)

    def _lossless(self, data: Buffer, array: Array, decoded: Decoded) -> Frame:
        from dcmkit.pixels.codecs import encode_frame

        described = self._description
        options = EncodeOptions()
        if self._syntax == syntaxes.JPEG_LOSSLESS:
            options = options._replace(predictor=codestream.inspect(data, self._syntax).predictor or 1)
        color = described._replace(photometric_interpretation=decoded.photometric_interpretation)
        target = _WITHOUT_LOSS.get(self._syntax, self._syntax)
        encoded = encode_frame(array, target, color, options)
        if encoded.lossy:
            raise UnsupportedSyntaxError("nothing here encodes it without loss")
        now = described._replace(photometric_interpretation=encoded.photometric_interpretation)
        return Frame(encoded.data, now, warnings=decoded.warnings)

    def _lossy(self, data: Buffer, array: Array, decoded: Decoded) -> Frame:
        """JPEG as it was: of the same color, with half the chroma where there was less of it before."""
        from dcmkit.pixels.codecs import encode_frame

        described = self._description
        jpeg: Buffer = data
        if self._syntax == syntaxes.JPEG_XL_RECOMPRESSION:
            from dcmkit.pixels import jpegxl

            jpeg = jpegxl.restore_jpeg(data)
        info = codestream.inspect(jpeg, syntaxes.JPEG_BASELINE)
        color = described._replace(
            photometric_interpretation=decoded.photometric_interpretation, bits_stored=info.bits, high_bit=info.bits - 1
        )
        if array.ndim == 3:
            rgb = decoded.photometric_interpretation == "RGB"
            subsampling = "rgb" if rgb else "422" if info.subsampled else "444"
        else:
            subsampling = "444"
        if info.bits == 8 and described.bits_allocated == 16 and not described.signed:
            color, array = color._replace(bits_allocated=8), array.astype("u1")
        options = EncodeOptions(quality=quality_of(jpeg) or _FINE, subsampling=subsampling)
        encoded = encode_frame(array, self._syntax, color, options)
        return Frame(encoded.data, described, encoded.lossy, encoded.method, decoded.warnings)


def cleaned(
    image: ImageFile, boxes: Iterable[Box], *, clear_bits: Iterable[int] = (), decode: Decode | None = None
) -> Iterator[Frame]:
    """All frames, cleaned, for a writer of the same transfer syntax: native ones in little endian.

    Without boxes and bits only what codestreams say beside pixels is taken out.

    Raises:
        DcmkitError: as `FrameCleaner`, at once or with the frame.
    """
    cleaner = FrameCleaner(image, boxes, clear_bits=clear_bits, decode=decode)
    return map(cleaner, range(image.number_of_frames))


def write(
    source: str | os.PathLike[str] | ImageFile,
    elements: RawElements,
    target: str | os.PathLike[str],
    transfer_syntax_uid: str,
    *,
    sop_class_uid: str,
    sop_instance_uid: str,
    boxes: Iterable[Box] = (),
    clear_bits: Iterable[int] = (),
    decode: Decode | None = None,
    options: WriterOptions = WriterOptions(),  # noqa: B008 - immutable
) -> Cleaned:
    """A whole file: elements that are de-identified already, and the pixels of another file, cleaned.

    Frame by frame, in flat memory; the file is there when it is complete.

    Args:
        source: the file with the pixels, as it came.
        elements: of the new file; pixel data and offset tables among them are left out.
        transfer_syntax_uid: that of the source.

    Raises:
        InputError, InvalidDataSetError, UnsupportedSyntaxError: it cannot be read, or not be cleaned.
        OutputError: the target cannot be written. Nothing is left of it then.
    """
    if not isinstance(source, ImageFile):
        with ImageFile(source) as image:
            return write(
                image, elements, target, transfer_syntax_uid, sop_class_uid=sop_class_uid,
                sop_instance_uid=sop_instance_uid, boxes=boxes, clear_bits=clear_bits, decode=decode, options=options,
            )  # fmt: skip
    if source.transfer_syntax_uid != transfer_syntax_uid:
        raise UsageError("pixels are cleaned in the transfer syntax they have")
    cleaner = FrameCleaner(source, boxes, clear_bits=clear_bits, decode=decode)
    assert source.description is not None
    count = min(source.number_of_frames, 1) if source.is_video else source.number_of_frames
    warnings = dict.fromkeys(source.warnings)

    def noted(frame: Frame) -> Frame:
        warnings.update(dict.fromkeys(frame.warnings))
        return frame

    first = noted(cleaner(0))
    frames = chain((first,), (noted(cleaner(index)) for index in range(1, count)))
    options = options._replace(number_of_frames=count, pixel_element=source.description.element)

    def written(changes: DataSet, pieces: Iterable[Buffer]) -> None:
        layers = [elements]
        if changes:
            layers.append(encoded_elements(changes, elements.text(_CHARACTER_SET)))
        with ImageWriter(
            target, layers, transfer_syntax_uid, sop_class_uid=sop_class_uid, sop_instance_uid=sop_instance_uid,
            options=options,
        ) as writer:  # fmt: skip
            for piece in pieces:
                writer.write_frame(piece)
            writer.commit()

    changes = _described(elements, first, source)
    if first.lossy:
        changes |= _write_lossy(elements, target, frames, changes, written)
    else:
        written(changes, (_same(frame, first).data for frame in frames))
    return Cleaned(count, first.lossy, changes, tuple(warnings))


def _same(frame: Frame, first: Frame) -> Frame:
    """One data set describes all frames."""
    if frame.lossy != first.lossy or frame.description != first.description:
        raise UnsupportedSyntaxError("the frames differ in what the data set would have to say of them")
    return frame


def _described(elements: RawElements, first: Frame, image: ImageFile) -> DataSet:
    """What has to be said otherwise of the frames than the elements do."""
    said, now = describe(elements, first.description.element), first.description
    changes: DataSet = {}
    if said.photometric_interpretation != now.photometric_interpretation:
        changes[tags.PHOTOMETRIC_INTERPRETATION] = Element("CS", now.photometric_interpretation)
    if said.number_of_frames != now.number_of_frames and not image.is_video:
        changes[tags.NUMBER_OF_FRAMES] = Element("IS", str(now.number_of_frames))
    return changes


def _write_lossy(
    elements: RawElements,
    target: str | os.PathLike[str],
    frames: Iterable[Frame],
    changes: DataSet,
    written: Callable[[DataSet, Iterable[Buffer]], None],
) -> DataSet:
    """The ratio stands before the frames, and is known after them: they wait in a temporary file if need be."""
    import tempfile

    directory = os.path.dirname(os.fspath(target)) or "."
    with tempfile.SpooledTemporaryFile(_SPOOL_LIMIT, dir=directory, prefix=".dcmkit-") as spool:
        lengths: list[int] = []
        first: Frame | None = None
        for frame in frames:
            first = first or frame
            lengths.append(len(_same(frame, first).data))
            spool.write(frame.data)
        assert first is not None
        spool.seek(0)
        size = first.description._replace(photometric_interpretation="").frame_bytes
        ratio = size * len(lengths) / max(1, sum(lengths))
        wanted = [one for one in elements if one.tag in lossy.NEEDED]
        before = RawElements(elements.data, elements.encoding, wanted).decoded()
        changes = changes | lossy.compressed(before, ratio=ratio, method=first.method)
        written(changes, (spool.read(length) for length in lengths))
    return changes
