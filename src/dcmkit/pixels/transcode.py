"""Files from one transfer syntax into another (PS3.5 Annex A), frame by frame and in flat memory.

Lossless transcoding and decompression change nothing but how samples are encoded, and the attributes that say so. Only
lossy compression makes another SOP Instance (`lossy`).
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator
from itertools import chain
from typing import IO, TYPE_CHECKING, NamedTuple

from dcmkit.dataset.elements import DataSet, Element, text
from dcmkit.dataset.part10 import file_meta
from dcmkit.dataset.raw import RawElements, encoded_elements, encoding_of, walk
from dcmkit.dataset.recode import recode
from dcmkit.errors import InvalidDataSetError, UnsupportedSyntaxError
from dcmkit.pixels import description as tags
from dcmkit.pixels import functional_groups, lossy, plan, syntaxes
from dcmkit.pixels.frames import EncodeOptions
from dcmkit.pixels.image_file import ImageFile, describe
from dcmkit.pixels.plan import Steps
from dcmkit.pixels.recoding import Decode, Frame, FrameRecoder, holds, in_order
from dcmkit.pixels.writer import ImageWriter, WriterOptions
from dcmkit.uids import name_of

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from dcmkit.dataset.part10 import FileHeader

__all__ = ["Outcome", "TranscodeOptions", "convert", "plan", "transcode_file", "transcoded"]

NEW_IF_LOSSY, ALWAYS_NEW, NEVER_NEW = "default", "always", "never"
"""When the output is another SOP Instance."""
_SPOOL_LIMIT = 32 << 20
_MANY = 1 << 16
"""Frames beyond which the last one is looked for before there is made room for a table of all of them."""
_CHARACTER_SET = 0x00080005


class TranscodeOptions(NamedTuple):
    """How to transcode.

    Attributes:
        encode: how frames are encoded.
        writer: how the file is written.
        uid: `NEW_IF_LOSSY`, `ALWAYS_NEW` or `NEVER_NEW`.
        relabel: keep codestreams where both syntaxes allow them.
        force: encode again even what is in the target syntax already.
        rgb: decoded YBR becomes RGB. None: where it comes out of lossy JPEG, and does not go into it again; many
            objects (ultrasound) allow YBR_FULL_422 and RGB, but not the YBR_FULL that decoding alone would leave.
        allow_lossy: let samples become others; otherwise that is refused.
        decode: in place of `codecs.decode_frame`, under limits for instance.
        jobs: frames at once, where there is a pool.
    """

    encode: EncodeOptions = EncodeOptions()
    writer: WriterOptions = WriterOptions()
    uid: str = NEW_IF_LOSSY
    relabel: bool = True
    force: bool = False
    rgb: bool | None = None
    allow_lossy: bool = True
    decode: Decode | None = None
    jobs: int = 1


class Outcome(NamedTuple):
    """What became of a file.

    Attributes:
        action: of `plan`: what was done with the frames.
        sop_instance_uid: of the output.
    """

    source_syntax: str
    transfer_syntax_uid: str
    action: str
    lossy: bool
    frames: int
    sop_instance_uid: str
    warnings: tuple[str, ...]


def transcode_file(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    transfer_syntax_uid: str,
    options: TranscodeOptions = TranscodeOptions(),  # noqa: B008 - immutable
    *,
    pool: Executor | None = None,
) -> Outcome:
    """One file into another, which is there when it is complete; it may be the same one.

    Args:
        pool: threads for the frames of a file with several.

    Raises:
        InputError, InvalidDataSetError: the source is not what it should be.
        UnsupportedSyntaxError: the target syntax cannot hold it, or nothing here decodes or encodes it.
        OutputError: the target cannot be written, or what was encoded does not decode to the same.
    """
    with ImageFile(source) as image:
        return convert(image, target, transfer_syntax_uid, options, pool=pool)


def convert(
    image: ImageFile,
    target: str | os.PathLike[str],
    transfer_syntax_uid: str,
    options: TranscodeOptions = TranscodeOptions(),  # noqa: B008 - immutable
    *,
    pool: Executor | None = None,
) -> Outcome:
    """The same for a file that is open."""
    steps = plan.plan(
        image.description, image.transfer_syntax_uid, transfer_syntax_uid, relabel=options.relabel, force=options.force
    )
    if steps.condition and not holds(image, steps):
        if not steps.otherwise:
            raise UnsupportedSyntaxError(f"{name_of(transfer_syntax_uid)} cannot hold it: it is not {steps.condition}")
        steps = steps.fallback()
    return _Conversion(image, target, steps, options, pool).run()


def transcoded(path: str, header: FileHeader, transfer_syntax_uid: str) -> bytes:
    """A file's data set, encoded in another transfer syntax without loss, in memory. The UIDs stay the same.

    Raises:
        DcmkitError: as `transcode_file`.
    """
    import tempfile

    from dcmkit.dataset.part10 import read_file_header

    with tempfile.TemporaryDirectory(prefix="dcmkit-") as directory:
        target = os.path.join(directory, "converted")
        options = TranscodeOptions(EncodeOptions(verify=False), allow_lossy=False, uid=NEVER_NEW)
        transcode_file(path, target, transfer_syntax_uid, options)
        with open(target, "rb") as file:
            file.seek(read_file_header(file.fileno()).offset)
            return file.read()


class _Conversion:
    """One file on its way."""

    def __init__(
        self,
        image: ImageFile,
        target: str | os.PathLike[str],
        steps: Steps,
        options: TranscodeOptions,
        pool: Executor | None,
    ) -> None:
        self._image, self._target, self._steps, self._options, self._pool = image, target, steps, options, pool
        self._warnings = dict.fromkeys(image.warnings)
        self._instance = image.header.sop_instance_uid
        self._lossy = False

    def run(self) -> Outcome:
        image, steps = self._image, self._steps
        count = image.number_of_frames
        described = image.description
        if described is not None and not described.frame_bits and not (image.is_video and steps.source == steps.target):
            if steps.action != plan.COPY:
                raise InvalidDataSetError("there is pixel data, but no rows, columns or samples")
            self._write_undescribed()
            return self._outcome()
        if image.is_video:
            count = min(count, 1)
        changes: DataSet = {}
        if not count:
            self._write(self._new_instance(changes), iter(()), 0)
        else:
            self._with_frames(count)
        return self._outcome()

    def _outcome(self) -> Outcome:
        image, steps = self._image, self._steps
        return Outcome(
            steps.source, steps.target, steps.action, self._lossy, image.number_of_frames, self._instance,
            tuple(self._warnings),
        )  # fmt: skip

    # --- frames ----------------------------------------------------------------------------------------------

    def _with_frames(self, count: int) -> None:
        options, image = self._options, self._image
        assert image.description is not None
        if count > _MANY:
            image.frame(count - 1)
        recode = FrameRecoder(image, self._steps, options.encode, rgb=options.rgb, decode=options.decode)
        room = 4 * image.description.frame_bytes
        frames = self._noted(in_order(recode, count, self._pool, room, options.jobs))
        try:
            first = next(frames)
            changes = self._described(first.description)
            if first.lossy:
                self._write_lossy(first, frames, changes, count)
                return
            changes |= self._declared()
            self._write(self._new_instance(changes), self._lossless(chain((first,), frames)), count)
        finally:
            frames.close()

    def _noted(self, frames: Iterator[Frame]) -> Generator[Frame, None, None]:
        for frame in frames:
            self._warnings.update(dict.fromkeys(frame.warnings))
            yield frame

    def _lossless(self, frames: Iterator[Frame]) -> Iterator[bytes | memoryview]:
        for frame in frames:
            if frame.lossy:  # near-lossless and the like are what the options say, the same for all frames
                raise UnsupportedSyntaxError("some frames would lose something, and others not")
            yield frame.data

    def _write_lossy(self, first: Frame, frames: Iterator[Frame], changes: DataSet, count: int) -> None:
        """The ratio stands before the frames, and is known after them: they wait in a temporary file if need be."""
        if not self._options.allow_lossy:
            raise UnsupportedSyntaxError(
                f"{name_of(self._steps.target)} would lose something", hint="nothing was asked for that may"
            )
        import tempfile

        self._lossy = True
        directory = os.path.dirname(os.fspath(self._target)) or "."
        with tempfile.SpooledTemporaryFile(_SPOOL_LIMIT, dir=directory, prefix=".dcmkit-") as spool:
            lengths = []
            for frame in chain((first,), frames):
                lengths.append(len(frame.data))
                spool.write(frame.data)
            spool.seek(0)
            ratio = first.description.frame_bytes * count / max(1, sum(lengths))
            data_set = self._needed()
            changes |= lossy.compressed(data_set, ratio=ratio, method=first.method)
            new = "" if self._options.uid == NEVER_NEW else lossy.new_uid()
            details = _details(self._steps.target, self._options.encode)
            changes |= lossy.derived(
                data_set, transfer_syntax_uid=self._steps.target, details=details, sop_instance_uid=new
            )
            self._instance = new or self._instance
            groups = functional_groups.derived(self._image.elements, data_set, changes)
            self._write(changes, _pieces(spool, lengths), count, groups)

    # --- elements --------------------------------------------------------------------------------------------

    def _needed(self) -> DataSet:
        elements = self._image.elements
        wanted = [one for one in elements if one.tag in lossy.NEEDED or one.tag in functional_groups.NEEDED]
        return RawElements(elements.data, elements.encoding, wanted).decoded()

    def _described(self, now: tags.PixelDescription) -> DataSet:
        """What has to be said otherwise of the pixels than the elements do."""
        said = describe(self._image.elements, now.element)
        changes: DataSet = {}

        def say(tag: int, vr: str, before: int | str, after: int | str) -> None:
            if before != after:
                changes[tag] = Element(vr, str(after))

        say(tags.PHOTOMETRIC_INTERPRETATION, "CS", said.photometric_interpretation, now.photometric_interpretation)
        if now.samples_per_pixel > 1:
            known = tags.PLANAR_CONFIGURATION in self._image.elements
            say(tags.PLANAR_CONFIGURATION, "US", said.planar_configuration if known else -1, now.planar_configuration)
        say(tags.BITS_ALLOCATED, "US", said.bits_allocated, now.bits_allocated)
        say(tags.BITS_STORED, "US", said.bits_stored, now.bits_stored)
        say(tags.HIGH_BIT, "US", said.high_bit, now.high_bit)
        if not self._image.is_video:
            say(tags.NUMBER_OF_FRAMES, "IS", said.number_of_frames, now.number_of_frames)
        return changes

    def _declared(self) -> DataSet:
        """A lossy codestream whose data set does not say so is the last that could tell."""
        image, steps = self._image, self._steps
        if steps.source not in plan.LOSSY or steps.action not in (
            plan.DECODE,
            plan.RECODE,
        ):
            return {}
        data_set = self._needed()
        if lossy.already_lossy(data_set) or holds(image, steps._replace(condition=plan.IS_LOSSLESS)):
            return {}
        assert image.description is not None
        size = sum(len(image.frame(index)) for index in range(image.number_of_frames))
        ratio = image.description.frame_bytes * image.number_of_frames / max(1, size)
        return lossy.declared(data_set, ratio=ratio, method=syntaxes.METHODS[steps.source])

    def _new_instance(self, changes: DataSet) -> DataSet:
        if self._options.uid == ALWAYS_NEW:
            self._instance = lossy.new_uid()
            changes[lossy.SOP_INSTANCE_UID] = Element("UI", self._instance)
        return changes

    # --- writing ---------------------------------------------------------------------------------------------

    def _write(
        self, changes: DataSet, frames: Iterator[bytes | memoryview], count: int, over: Iterable[RawElements] = ()
    ) -> None:
        image, header = self._image, self._image.header
        layers = [image.elements, *over]
        if changes:
            charset = image.elements.text(_CHARACTER_SET)
            layers.append(encoded_elements(changes, charset))
        options = self._options.writer._replace(number_of_frames=count, source_ae_title=header.source_ae_title)
        if image.description is not None:
            options = options._replace(pixel_element=image.description.element)
        sop_class = header.sop_class_uid or text(image.data_set, lossy.SOP_CLASS_UID)
        with ImageWriter(
            self._target, layers, self._steps.target, sop_class_uid=sop_class, sop_instance_uid=self._instance,
            options=options,
        ) as writer:  # fmt: skip
            for data in frames:
                writer.write_frame(data)
            writer.commit()

    def _write_undescribed(self) -> None:
        """Native pixel data of which nobody can say what they are, as they are."""
        from dcmkit.pixels.undescribed import write_pieces

        elements, header = self._image.elements, self._image.header
        start = 0 if self._steps.source == syntaxes.DEFLATED else header.offset  # inflated, there is nothing before it
        found = walk(elements.data, start, len(elements.data), elements.encoding)
        everything = RawElements(elements.data, elements.encoding, found)
        options = self._options.writer
        pieces = recode(
            [everything], encoding_of(self._steps.target), sequences=options.sequences,
            group_lengths=options.group_lengths,
        )  # fmt: skip
        meta = file_meta(
            header.sop_class_uid, self._instance, self._steps.target, source_ae_title=header.source_ae_title
        )
        write_pieces(self._target, meta, pieces, self._steps.target, options)


def _pieces(file: IO[bytes], lengths: list[int]) -> Iterator[bytes]:
    for length in lengths:
        yield file.read(length)


def _details(syntax: str, options: EncodeOptions) -> str:
    if syntax == syntaxes.JPEG_LS_NEAR:
        return f"maximum deviation {options.near}"
    if options.ratio and syntax == syntaxes.JPEG_2000:
        return f"ratio {options.ratio:g}"
    if options.psnr and syntax in (syntaxes.JPEG_2000, syntaxes.HTJ2K):
        return f"peak signal-to-noise ratio {options.psnr:g} dB"
    return f"quality {options.quality}"
