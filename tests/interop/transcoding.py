"""Files through every transfer syntax that can hold them, judged by other toolkits: what the matrix is made of.

A conversion is right when its pixels are those of the source, as dcmkit decodes both and as DCMTK or gdcm decodes the
result; when nothing but pixels and what has to be said of them has changed; and when dciodvfy finds no new error.
"""

from __future__ import annotations

import atexit
import re
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from dcmkit.errors import DcmkitError, UnsupportedSyntaxError
from dcmkit.pixels import plan, syntaxes
from dcmkit.pixels.codecs import decode_frame
from dcmkit.pixels.colors import to_rgb
from dcmkit.pixels.frames import EncodeOptions
from dcmkit.pixels.image_file import ImageFile
from dcmkit.pixels.transcode import Outcome, TranscodeOptions, transcode_file

from .peers import program_path
from .samples import BROKEN

TARGETS = (
    syntaxes.IMPLICIT, syntaxes.EXPLICIT, syntaxes.BIG_ENDIAN, syntaxes.DEFLATED, syntaxes.ENCAPSULATED_UNCOMPRESSED,
    syntaxes.DEFLATED_FRAME, syntaxes.RLE, syntaxes.JPEG_BASELINE, syntaxes.JPEG_EXTENDED, syntaxes.JPEG_LOSSLESS,
    syntaxes.JPEG_LOSSLESS_SV1, syntaxes.JPEG_LS, syntaxes.JPEG_LS_NEAR, syntaxes.JPEG_2000_LOSSLESS,
    syntaxes.JPEG_2000, syntaxes.HTJ2K_LOSSLESS, syntaxes.HTJ2K_RPCL, syntaxes.HTJ2K, syntaxes.JPEG_XL_LOSSLESS,
    syntaxes.JPEG_XL_RECOMPRESSION, syntaxes.JPEG_XL,
)  # fmt: skip
_DCMTK: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(syntaxes.JPEG_FAMILY, ("dcmdjpeg", "+cn", "+px")),
    **dict.fromkeys(syntaxes.JPEG_LS_FAMILY, ("dcmdjpls",)),
    syntaxes.RLE: ("dcmdrle",),
    **dict.fromkeys(syntaxes.NATIVE, ("dcmconv", "+te")),
}
_UNKNOWN_TO_DCIODVFY = syntaxes.JPEG_XL_FAMILY | syntaxes.HTJ2K_FAMILY | {
    syntaxes.DEFLATED, syntaxes.ENCAPSULATED_UNCOMPRESSED, syntaxes.DEFLATED_FRAME,
}  # fmt: skip
"""It cannot read them at all."""
_OUT_OF_JPEG = syntaxes.JPEG_LOSSY_FAMILY | {syntaxes.JPEG_XL_RECOMPRESSION, syntaxes.JPEG_XL}
"""What comes out of these as luminance and chrominance is written as RGB."""
_CHANGED_BY_CODING = frozenset({0x00280004, 0x00280006, 0x7FE00001, 0x7FE00002})
_CHANGED_BY_LOSS = _CHANGED_BY_CODING | {
    0x00080008, 0x00080018, 0x00082111, 0x00082112, 0x00089154, 0x00089215, 0x00282110, 0x00282112, 0x00282114,
}  # fmt: skip
_FRAME_TYPE, _DERIVED_FROM = 0x00089007, 0x00082112
_CHANGED_IN_GROUPS = frozenset({_FRAME_TYPE, 0x00089124})
_DECLARED = frozenset({0x00282110, 0x00282112, 0x00282114})
DECIBELS, DECIBELS_XL = 30.0, 20.0
"""Peak signal-to-noise ratio that quality 90 reaches, against the range of the frame's own values; less in JPEG XL,
which counts what is seen: the blue of one-pixel test patterns it nearly drops."""
_SMALL_ERROR = 8.0
"""Or this mean square error: where there are few values, decibels against their range say nothing."""
_COLOR_ROUNDING = 2
"""So much may two toolkits' RGB of the same luminance and chrominance differ."""
_FRAMES = 3
"""Of each file, so many frames are compared, spread over it."""
_PEER_SECONDS = 60


class Verdict(NamedTuple):
    """What became of one file on its way into one transfer syntax.

    Attributes:
        state: `right`, `refused` (with the reason in `text`), `wrong` (with what is wrong).
        peer: who else decoded it and agreed; "" where nobody could.
    """

    source: str
    target: str
    state: str
    text: str = ""
    action: str = ""
    lossy: bool = False
    peer: str = ""


def judge(source: Path, target: str, directory: Path, options: EncodeOptions | None = None) -> Verdict:
    """Transcode one file, and see whether it is right."""
    output = directory / "output.dcm"
    options = options or EncodeOptions()
    try:
        outcome = transcode_file(source, output, target, TranscodeOptions(options))
    except DcmkitError as error:
        state = "refused" if not output.exists() else "wrong"
        reason = error.message if isinstance(error, UnsupportedSyntaxError) else f"{type(error).__name__}: {error}"
        return Verdict(source.name, target, state, reason)
    try:
        peer, wrong = _peer_agrees(output, target, directory)
        problem = (
            wrong
            or bookkeeping(source, output, outcome)
            or pixels_differ(source, output, outcome, options)
            or (colors_differ(source, output, outcome, directory) if target == syntaxes.EXPLICIT else "")
            or ("" if target in _UNKNOWN_TO_DCIODVFY or BROKEN.search(source.name) else new_errors(source, output))
        )
    finally:
        output.unlink()
    state = "wrong" if problem else "right"
    return Verdict(source.name, target, state, problem, outcome.action, outcome.lossy, peer)


# --- elements ----------------------------------------------------------------------------------------------------


def bookkeeping(source: Path, output: Path, outcome: Outcome) -> str:
    """What of the elements is not as it has to be; "" when all are."""
    from pydicom import dcmread

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before, after = dcmread(little_endian(source), force=True), dcmread(little_endian(output))
        with ImageFile(output) as image:
            if image.transfer_syntax_uid != outcome.transfer_syntax_uid:
                return f"the file says {image.transfer_syntax_uid}"
            if image.elements.text(0x00080018) != image.header.sop_instance_uid:
                return "the file meta information has another SOP Instance UID"
        known = before.get("SOPInstanceUID", "")
        if (after.get("SOPInstanceUID", "") != known) != outcome.lossy:
            return "another SOP instance, and not lossy" if not outcome.lossy else "lossy, and the same SOP instance"
        allowed = _CHANGED_BY_LOSS if outcome.lossy else _CHANGED_BY_CODING
        if outcome.source_syntax in plan.LOSSY:
            allowed |= _DECLARED
        if outcome.warnings or outcome.lossy:  # what the codestream says, where the data set said otherwise
            allowed |= {0x00280008, 0x00280101, 0x00280102}
        if found := _changed(before, after, allowed):
            return found
        return _lossy_says(before, after) if outcome.lossy else ""


def _changed(first: Any, second: Any, allowed: frozenset[int] = frozenset(), where: str = "") -> str:
    """The first element whose bytes are others; "" when none are. Group lengths, padding and pixels do not count."""
    tags = {
        tag for data_set in (first, second) for tag in list(data_set._dict) if tag.element and tag not in _NO_ELEMENTS
    }
    for tag in sorted(tags - allowed):
        if (tag in first) != (tag in second):
            return f"{where}{tag} only in the {'first' if tag in first else 'second'}"
        one, other = _bytes(first, tag), _bytes(second, tag)
        if one is not None and other is not None:
            if one.rstrip(b"\0 ") != other.rstrip(b"\0 "):
                return f"{where}{tag}: {one!r:.60} became {other!r:.60}"
            continue
        if tag.is_private and (one is None) != (other is None):  # without a VR nobody knows that it is a sequence
            continue
        items, others = first[tag].value, second[tag].value
        if len(items) != len(others):
            return f"{where}{tag}: {len(items)} items became {len(others)}"
        for index, (item, other_item) in enumerate(zip(items, others, strict=True)):
            inner = _CHANGED_IN_GROUPS if _DERIVED_FROM in allowed and tag in (0x52009229, 0x52009230) else frozenset()
            if where and _FRAME_TYPE in allowed:
                inner = allowed
            if found := _changed(item, other_item, inner, f"{where}{tag}[{index}]/"):
                return found
    return ""


_NO_ELEMENTS = frozenset({0x7FE00010, 0x7FE00008, 0x7FE00009, 0xFFFCFFFC})


def _bytes(data_set: Any, tag: Any) -> bytes | None:
    """A value as it lies in the file; None where it is a sequence."""
    from pydicom.dataelem import RawDataElement

    found = data_set.get_item(tag)
    if not isinstance(found, RawDataElement):
        if found.value is None:
            return b""
        if isinstance(found.value, int):  # pydicom has looked at it already
            return found.value.to_bytes(2, "little")
        return None if found.VR == "SQ" else bytes(str(found.value), "utf-8")
    if found.VR == "SQ" or (found.VR in (None, "UN") and data_set[tag].VR == "SQ"):
        return None
    return found.value or b""


def little_endian(path: Path) -> Path:
    """A file pydicom reads without swapping: big endian and deflated ones as DCMTK makes them, beside the file."""
    program = program_path("dcmconv")
    with open(path, "rb") as file:
        syntax = file.read(1024)
    if program is None or b"1.2.840.10008.1.2.2\0" not in syntax:
        return path
    made = Path(tempfile.mkdtemp(prefix="little-", dir=_place())) / path.name
    subprocess.run([program, "+te", path, made], capture_output=True, timeout=_PEER_SECONDS, check=False)
    return made if made.exists() else path


@cache
def _place() -> str:
    place = tempfile.mkdtemp(prefix="transcoding-")
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    return place


def _lossy_says(before: Any, after: Any) -> str:
    if after.get("LossyImageCompression") != "01":
        return "Lossy Image Compression is not 01"
    for keyword in _RATIO_AND_METHOD:
        if _count(after, keyword) != max(_count(before, one) for one in _RATIO_AND_METHOD) + 1:
            return f"{keyword}: {before.get(keyword)} became {after.get(keyword)}"
    if after.ImageType[0] != "DERIVED":
        return f"ImageType {after.ImageType}"
    source = after.SourceImageSequence[-1].ReferencedSOPInstanceUID
    return "" if source == before.get("SOPInstanceUID", "") else f"the source is {source}"


_RATIO_AND_METHOD = ("LossyImageCompressionRatio", "LossyImageCompressionMethod")


def _count(data_set: Any, keyword: str) -> int:
    return int(data_set[keyword].VM) if keyword in data_set else 0


_ONLY_ORIGINAL = "Attribute present when condition unsatisfied (which may not be present otherwise)"
"""dicom3tools wants attributes of enhanced objects gone once Image Type says DERIVED, as lossy compression makes it."""


@cache
def _errors(path: Path) -> frozenset[str]:
    program = program_path("dciodvfy")
    if program is None:
        return frozenset()
    found = subprocess.run([program, path], capture_output=True, timeout=_PEER_SECONDS, check=False)
    if found.returncode < 0:  # an assertion of its own failed: native samples of 32 bits
        return _ABORTED
    lines = (found.stderr + found.stdout).decode("latin-1").splitlines()
    told = (line for line in lines if line.startswith("Error") and _ONLY_ORIGINAL not in line)
    return frozenset(re.sub(r"<[^>]*>|\[[^\]]*\]|\d{6,}|(?<=root for UID).*", "", line) for line in told)


_ABORTED = frozenset({"Error - aborted"})
_UNREADABLE = frozenset({"Error - Dicom dataset read failed"}) | _ABORTED


def _as_explicit(source: Path) -> Path:
    """The same elements in a syntax dciodvfy reads."""
    made = Path(tempfile.mkdtemp(prefix="explicit-", dir=_place())) / source.name
    try:
        transcode_file(source, made, syntaxes.EXPLICIT)
    except DcmkitError:
        return source
    return made


def new_errors(source: Path, output: Path) -> str:
    """What dciodvfy says of the output and does not of the source."""
    before = _errors(source)
    if _UNREADABLE & before:
        before = _errors(_as_explicit(source))
    if _UNREADABLE & before:
        return ""
    found = _errors.__wrapped__(output) - before - _ABORTED
    return f"dciodvfy: {sorted(found)[0]}" if found else ""


# --- pixels ------------------------------------------------------------------------------------------------------


def some(count: int) -> list[int]:
    """Frames to look at: the first, the last, and some between."""
    return sorted({round(place * (count - 1) / max(1, _FRAMES - 1)) for place in range(_FRAMES)}) if count else []


def decoded(path: Path) -> Iterator[tuple[int, Any, str, int]]:
    """Some frames of a file: number, samples, photometric interpretation, bits stored."""
    with ImageFile(path) as image:
        if image.description is not None:
            for index in some(image.number_of_frames):
                found = decode_frame(image.frame(index), image.transfer_syntax_uid, image.description)
                yield index, found.array.copy(), found.photometric_interpretation, found.bits_stored


def pixels_differ(source: Path, output: Path, outcome: Outcome, options: EncodeOptions) -> str:
    """How the pixels of two files differ by more than they may; "" when they do not."""
    import numpy as np

    with ImageFile(source) as image:
        if image.description is not None and not image.description.frame_bits:
            return _values_differ(source, output)
    try:
        before = list(decoded(source))
    except DcmkitError:  # broken, and relabelled: the codestreams have to be the same
        return "" if _frames(source) == _frames(output) else "a broken codestream became another"
    after = list(decoded(output))
    if len(before) != len(after):
        return f"{len(before)} frames became {len(after)}"
    for (index, one, color, bits), (_, other, color_after, bits_after) in zip(before, after, strict=True):
        if color == "YBR_FULL" and color_after == "RGB" and outcome.source_syntax in _OUT_OF_JPEG:
            one, color = as_rgb(one, color, bits), color_after
        if not outcome.lossy:
            if one.shape != other.shape or not np.array_equal(one, other, equal_nan=one.dtype.kind == "f"):
                return f"frame {index + 1} differs"
            if color != color_after:
                return f"frame {index + 1}: {color} became {color_after}"
            continue
        if one.ndim == 3 and color != color_after:
            one, other = as_rgb(one, color, bits), as_rgb(other, color_after, bits_after)
        error = np.abs(one.astype(np.int64) - other.astype(np.int64))
        if outcome.transfer_syntax_uid == syntaxes.JPEG_LS_NEAR:
            if int(error.max()) > options.near:
                return f"frame {index + 1}: error {error.max()}, near is {options.near}"
            continue
        square = float((error.astype(float) ** 2).mean())
        peak = float(one.max()) - float(one.min())
        least = DECIBELS_XL if outcome.transfer_syntax_uid == syntaxes.JPEG_XL else DECIBELS
        if square > _SMALL_ERROR and 10 * np.log10(peak * peak / square) < least:
            return f"frame {index + 1}: {10 * np.log10(peak * peak / square):.1f} dB, largest error {error.max()}"
    return ""


def colors_differ(source: Path, output: Path, outcome: Outcome, directory: Path) -> str:
    """Where RGB out of lossy JPEG is not what DCMTK makes of it, by more than rounding; "" where it is."""
    import numpy as np

    if outcome.source_syntax not in syntaxes.JPEG_LOSSY_FAMILY or program_path("dcmdjpeg") is None:
        return ""
    found = list(decoded(output))
    if not found or found[0][2] != "RGB":
        return ""
    frames = _converted(
        "DCMTK", ["dcmdjpeg", "+ca" if _is_ybr(source) else "+cn", "+px"], source, directory / "rgb.dcm"
    )
    if isinstance(frames, str):  # DCMTK is stricter about some sources
        return ""
    for index, ours, _, _ in found:
        error = int(np.abs(ours.astype(int) - frames[index].astype(int)).max())
        if error > _COLOR_ROUNDING:
            return f"DCMTK makes other colours of frame {index + 1}: by up to {error}"
    return ""


def _is_ybr(path: Path) -> bool:
    return next(decoded(path))[2].startswith("YBR_")


def _values_differ(source: Path, output: Path) -> str:
    """Pixel data that nothing describes are copied as they are, words turned for big endian."""
    from pydicom import dcmread

    one, other = (dcmread(little_endian(path), force=True).PixelData for path in (source, output))
    return "" if one == other else "pixel data without description became others"


def _frames(path: Path) -> list[bytes]:
    with ImageFile(path) as image:
        return [bytes(image.frame(index)) for index in range(image.number_of_frames)]


def as_rgb(array: Any, color: str, bits: int) -> Any:
    """Samples of three components in one color space."""
    return to_rgb(array, color, bits) if color.startswith("YBR_") else array


def _peer_agrees(output: Path, target: str, directory: Path) -> tuple[str, str]:
    """Another toolkit's name, and where it reads other pixels than dcmkit does; nobody's when none can read it."""
    import numpy as np

    with ImageFile(output) as image:
        if image.description is None or not image.description.frame_bits:
            return "", ""
    name, frames = _read_by_peer(output, target, directory / "raw.dcm") if _is_sound(output) else ("", None)
    if not name:
        return "", ""
    if name == "gdcm" and isinstance(frames, str):  # it refuses some legal files: colour of 16 bits, strange markers
        name, frames = "OpenJPEG", _by_openjpeg(output)
    if isinstance(frames, str):
        return "", f"{name} cannot read it: {frames}"
    for index, ours, _, _ in decoded(output):
        theirs = frames[index]
        tolerance = 1 if target in (syntaxes.JPEG_2000, syntaxes.HTJ2K) and ours.ndim == 3 else 0
        if ours.shape != theirs.shape or not np.allclose(_low(ours, image), _low(theirs, image), 0, tolerance, True):
            return "", f"{name} reads other pixels in frame {index + 1}: {_how(ours, theirs)}"
    return name, ""


def _low(samples: Any, image: ImageFile) -> Any:
    """Signed samples by the bits stored: not all toolkits extend the sign, which PS3.5 8.1.1 leaves open."""
    import numpy as np

    described = image.description
    if described is None or samples.dtype.kind == "f":
        return samples
    wide = samples.astype(np.int64)
    if not described.signed or described.high_bit != described.bits_stored - 1:
        return wide
    return ((wide & ((1 << described.bits_stored) - 1)) ^ (1 << described.bits_stored - 1)) - (
        1 << described.bits_stored - 1
    )


def _is_sound(path: Path) -> bool:
    try:
        return bool(list(decoded(path)))
    except DcmkitError:
        return False


def _read_by_peer(output: Path, target: str, raw: Path) -> tuple[str, Any]:
    """Who it is, and the frames by number, or what it said."""
    if target in syntaxes.HTJ2K_FAMILY:  # written by OpenJPH
        return "OpenJPEG", _by_openjpeg(output)
    if target in (syntaxes.ENCAPSULATED_UNCOMPRESSED, syntaxes.DEFLATED_FRAME):
        return "pydicom", _by_pydicom(output)
    with ImageFile(output) as image:
        assert image.description is not None
        if image.description.bits_allocated == 1 and target == syntaxes.RLE:
            return "", None  # nobody else has it
    if target in _DCMTK:
        name, (tool, *words) = "DCMTK", _DCMTK[target]
    elif target in syntaxes.JPEG_2000_FAMILY:
        name, tool, words = "gdcm", "gdcmconv", ["--raw", "-i"]
    else:
        return "", None
    return (name, _converted(name, [tool, *words], output, raw)) if program_path(tool) else ("", None)


def _converted(name: str, words: list[str], path: Path, raw: Path) -> Any:
    """The frames of a file that a program has made native, or what it said."""
    program = program_path(words[0])
    assert program is not None
    last = ["-o", raw] if name == "gdcm" else [raw]
    done = subprocess.run([program, *words[1:], path, *last], capture_output=True, timeout=_PEER_SECONDS, check=False)
    try:
        if done.returncode or not raw.exists():
            return (done.stderr or done.stdout).decode("latin-1").strip()[-200:]
        return native_frames(raw)
    finally:
        raw.unlink(missing_ok=True)


def _by_openjpeg(output: Path) -> Any:
    with ImageFile(output) as image:
        assert image.description is not None
        return {
            index: decode_frame(
                image.frame(index), image.transfer_syntax_uid, image.description, library="pylibjpeg-openjpeg"
            ).array.copy()
            for index in some(image.number_of_frames)
        }


def _by_pydicom(output: Path) -> Any:
    import zlib

    from pydicom import dcmread
    from pydicom.encaps import generate_frames

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data_set = dcmread(output)
        count = int(data_set.get("NumberOfFrames", 1) or 1)
        frames = list(generate_frames(data_set.PixelData, number_of_frames=count))
        if data_set.file_meta.TransferSyntaxUID == syntaxes.DEFLATED_FRAME:
            frames = [zlib.decompressobj(-15).decompress(frame) for frame in frames]
        return [_shaped(data_set, frame, 1)[0] for frame in frames]


def _how(ours: Any, theirs: Any) -> str:
    import numpy as np

    if ours.shape != theirs.shape:
        return f"{ours.shape}, {theirs.shape}"
    return f"by up to {np.abs(ours.astype(np.int64) - theirs.astype(np.int64)).max()}"


def native_frames(raw: Path) -> list[Any]:
    """The frames of a native file as another toolkit wrote it, interleaved; read by pydicom."""
    from pydicom import dcmread

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data_set = dcmread(raw)
        value = next(data_set[keyword].value for keyword in (*_FLOATS, "PixelData") if keyword in data_set)
        return list(_shaped(data_set, value, int(data_set.get("NumberOfFrames", 1) or 1)))


_FLOATS = {"FloatPixelData": "<f4", "DoubleFloatPixelData": "<f8"}


def _dtype(data_set: Any) -> str:
    order = ">" if data_set.file_meta.TransferSyntaxUID == syntaxes.BIG_ENDIAN else "<"
    return f"{order}{'i' if data_set.get('PixelRepresentation') else 'u'}{data_set.BitsAllocated // 8}"


def _shaped(data_set: Any, value: bytes, count: int) -> Any:
    """Native samples as (frames, rows, columns[, samples])."""
    import numpy as np
    from pydicom.pixels.utils import unpack_bits

    rows, columns, samples = data_set.Rows, data_set.Columns, data_set.get("SamplesPerPixel", 1)
    planar = samples > 1 and data_set.get("PlanarConfiguration", 0)
    dtype = next((dtype for keyword, dtype in _FLOATS.items() if keyword in data_set), None)
    width = max(1, data_set.BitsAllocated // 8)
    if data_set.BitsAllocated == 1:
        flat = unpack_bits(value)
    else:
        flat = np.frombuffer(value[: len(value) // width * width], dtype or _dtype(data_set))
    if data_set.PhotometricInterpretation == "YBR_FULL_422" and flat.size < rows * columns * 3 * count:
        pairs = flat[: rows * columns * 2 * count].reshape(count, -1, 4)
        return pairs[:, :, [0, 2, 3, 1, 2, 3]].reshape(count, rows, columns, 3)
    shape = (samples, rows, columns) if planar else (rows, columns, samples) if samples > 1 else (rows, columns)
    frames = flat[: rows * columns * samples * count].reshape(count, *shape)
    return np.moveaxis(frames, 1, -1) if planar else frames
