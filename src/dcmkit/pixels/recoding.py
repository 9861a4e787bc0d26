"""What one frame goes through on its way into another transfer syntax, as a plan says; and many at once, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from dcmkit.dataset.recode import swapped
from dcmkit.errors import DcmkitError, OutputError, UnsupportedSyntaxError
from dcmkit.pixels import codestream, plan, syntaxes
from dcmkit.pixels.description import PixelDescription
from dcmkit.pixels.frames import Decoded, EncodeOptions
from dcmkit.pixels.image_file import ImageFile
from dcmkit.pixels.plan import Steps

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

Buffer = bytes | memoryview
Decode = Callable[[Buffer, str, PixelDescription], Decoded]

WINDOW_BYTES = 64 << 20
"""Frames on their way at once take about so much together."""
_EIGHT_BITS = frozenset({syntaxes.JPEG_BASELINE, syntaxes.JPEG_XL_RECOMPRESSION})
_OUT_OF_JPEG = syntaxes.JPEG_LOSSY_FAMILY | {syntaxes.JPEG_XL_RECOMPRESSION, syntaxes.JPEG_XL}
"""Where luminance and chrominance are JPEG's doing: the last two may hold a JPEG."""
_INTO_JPEG = frozenset({syntaxes.JPEG_BASELINE, syntaxes.JPEG_EXTENDED, syntaxes.JPEG_XL_RECOMPRESSION})


class Frame(NamedTuple):
    """A frame as it is to be written, and what the data set must say of it.

    Attributes:
        description: of the frame now.
        lossy, method: as `frames.Encoded` has them.
    """

    data: Buffer
    description: PixelDescription
    lossy: bool = False
    method: str = ""
    warnings: tuple[str, ...] = ()


class FrameRecoder:
    """Carries a plan out, frame by frame; may be called by several threads.

    Args:
        image: where the frames are.
        steps: the plan, without a condition.
        options: how to encode.
        rgb: give decoded YBR as RGB; None: where it comes out of lossy JPEG, and does not go into it again.
        decode: in place of `codecs.decode_frame`.
    """

    def __init__(
        self,
        image: ImageFile,
        steps: Steps,
        options: EncodeOptions,
        *,
        rgb: bool | None = None,
        decode: Decode | None = None,
    ) -> None:
        assert image.description is not None
        self._image, self._steps, self._options = image, steps, options
        self._description = image.description
        if rgb is None:
            rgb = steps.source in _OUT_OF_JPEG and steps.target not in _INTO_JPEG
        self._rgb, self._given_decode = rgb, decode
        actions = {
            plan.COPY: self._copied,
            plan.RELABEL: self._copied,
            plan.RECOMPRESS: self._recompressed,
            plan.DECODE: self._decoded,
            plan.ENCODE: self._encoded,
            plan.RECODE: self._encoded,
        }
        self._action = actions[steps.action]

    def __call__(self, index: int) -> Frame:
        """One frame.

        Raises:
            DcmkitError: it cannot be done; the message says which frame.
        """
        try:
            return self._action(self._image.frame(index))
        except DcmkitError as error:
            if self._description.number_of_frames > 1:
                error.args = (f"frame {index + 1}: {error.message}",)
                error.message = error.args[0]
            raise

    def _little_endian(self, data: Buffer) -> Buffer:
        width = self._description.word_bytes
        return swapped(data, width) if self._steps.source == syntaxes.BIG_ENDIAN and width > 1 else data

    def _copied(self, data: Buffer) -> Frame:
        return Frame(self._little_endian(data), self._description)

    def _recompressed(self, data: Buffer) -> Frame:
        """JPEG XL around the coefficients of a JPEG, or that JPEG again, byte for byte (ISO 18181-2)."""
        from dcmkit.pixels import jpegxl

        back = self._steps.source == syntaxes.JPEG_XL_RECOMPRESSION
        codestream.check(codestream.inspect(data, self._steps.source), self._description)
        found = jpegxl.restore_jpeg(data) if back else jpegxl.recompress(data)
        if not back and self._options.verify and jpegxl.restore_jpeg(found) != bytes(data):
            raise OutputError("the JPEG does not come back from what was made of it as it was")
        if back and codestream.inspect(found, syntaxes.JPEG_BASELINE).process != 0:
            raise UnsupportedSyntaxError(
                "the JPEG that comes back is not baseline", hint="transcode to an uncompressed syntax"
            )
        return Frame(found, self._description)

    def _samples(self, data: Buffer) -> tuple[Decoded, PixelDescription]:
        from dcmkit.pixels.codecs import decode_frame

        described = self._description
        source = self._steps.source
        if source == syntaxes.BIG_ENDIAN:
            data, source = self._little_endian(data), syntaxes.EXPLICIT
        decoded = (self._given_decode or decode_frame)(data, source, described)
        array, interpretation = decoded.array, decoded.photometric_interpretation
        if self._rgb and interpretation.startswith("YBR_"):
            from dcmkit.pixels.colors import to_rgb

            array, interpretation = to_rgb(array, interpretation, decoded.bits_stored), "RGB"
            decoded = decoded._replace(array=array)
        described = described._replace(photometric_interpretation=interpretation, planar_configuration=0)
        return decoded, _with_bits(described, decoded.bits_stored)

    def _decoded(self, data: Buffer) -> Frame:
        from dcmkit.pixels.codecs import encode_frame

        decoded, described = self._samples(data)
        encoded = encode_frame(decoded.array, syntaxes.EXPLICIT, described, self._options)
        return Frame(encoded.data, described, warnings=decoded.warnings)

    def _encoded(self, data: Buffer) -> Frame:
        from dcmkit.pixels.codecs import encode_frame

        decoded, described = self._samples(data)
        array, target = decoded.array, self._steps.target
        if target in _EIGHT_BITS and described.bits_allocated == 16 and described.bits_stored <= 8:
            if int(array.max()) > 255 or int(array.min()) < 0:
                raise UnsupportedSyntaxError("bits above Bits Stored are in use, and JPEG Baseline has 8")
            array = array.astype("u1")
            described = described._replace(bits_allocated=8)
        encoded = encode_frame(array, target, described, self._options)
        described = _with_bits(described, encoded.bits_stored)
        planar = 1 if target == syntaxes.RLE and described.samples_per_pixel > 1 else 0  # PS3.5 G.2
        described = described._replace(
            photometric_interpretation=encoded.photometric_interpretation, planar_configuration=planar
        )
        return Frame(encoded.data, described, encoded.lossy, encoded.method, decoded.warnings)


def _with_bits(described: PixelDescription, stored: int) -> PixelDescription:
    if stored == described.bits_stored:
        return described
    return described._replace(bits_stored=stored, high_bit=stored - 1)


def holds(image: ImageFile, steps: Steps) -> bool:
    """Whether the condition of a plan holds of every frame.

    Raises:
        InvalidDataSetError: a frame is missing, or none.
    """
    return all(_holds(image, index, steps) for index in range(image.number_of_frames))


def _holds(image: ImageFile, index: int, steps: Steps) -> bool:
    info = codestream.inspect(image.frame(index), steps.source)
    if steps.condition == plan.SV1_PREDICTOR:
        return info.process == 3 and info.predictor == 1
    if steps.condition == plan.BASELINE_PROCESS:
        return info.process == 0 and info.bits == 8
    return info.lossless is True


def in_order(
    recode: Callable[[int], Frame], count: int, pool: Executor | None, room: int, jobs: int
) -> Iterator[Frame]:
    """All frames, one after the other; with a pool several at once, but never more than there is room for.

    Args:
        recode: makes a frame.
        count: how many there are.
        pool: threads.
        room: bytes that one frame takes on its way.
        jobs: how many threads are worth keeping busy.
    """
    ahead = min(2 * jobs, max(1, WINDOW_BYTES // max(1, room)))
    if pool is None or count < 2 or ahead < 2:
        for index in range(count):
            yield recode(index)
        return
    waiting: deque[Future[Frame]] = deque()
    try:
        for index in range(count):
            if len(waiting) >= ahead:
                yield waiting.popleft().result()
            waiting.append(pool.submit(recode, index))
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
        for future in waiting:
            if not future.cancelled():
                future.exception()
