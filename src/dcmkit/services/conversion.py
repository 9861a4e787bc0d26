"""Objects on their way out, converted into what the peer takes: the transfer syntax that changes least (PS3.4 B.4)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from dcmkit.errors import DcmkitError, InputError, InvalidDataSetError, UnsupportedSyntaxError
from dcmkit.uids import DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, UNCOMPRESSED, name_of

if TYPE_CHECKING:
    from dcmkit.pixels.image_file import ImageFile
    from dcmkit.pixels.transcode import TranscodeOptions

_UNCOMPRESSED = (*UNCOMPRESSED, DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN)
_LOSSLESS = tuple(
    f"1.2.840.10008.1.2.{end}"
    for end in ("4.80", "4.201", "4.202", "4.90", "4.70", "4.57", "5", "4.110", "8.1", "1.98")
)
"""JPEG-LS, HTJ2K, JPEG 2000, lossless JPEG, RLE, JPEG XL, deflated frames: small and fast first."""
_LOSSY = tuple(f"1.2.840.10008.1.2.4.{end}" for end in ("81", "91", "203", "51", "50", "112"))


class Converted(NamedTuple):
    """A converted data set in a file that has no name any more.

    Attributes:
        context_id, transfer_syntax_uid: which of the ways was taken.
        descriptor: open on the data set; the caller closes it.
        length: bytes from there on.
        sop_instance_uid: of the data set; another one where something was lost.
    """

    context_id: int
    transfer_syntax_uid: str
    descriptor: int
    length: int
    sop_instance_uid: str
    lossy: bool


def convert(path: str, ways: Sequence[tuple[int, str]]) -> Converted:
    """Convert a file's data set into the best of what is accepted.

    Codestreams stay as they are where one of the syntaxes allows it; else it is decoded; else compressed again without
    loss; and only where nothing else is left, with loss. Frames are decoded under limits of time and memory.

    Args:
        ways: presentation context IDs and their transfer syntaxes.

    Raises:
        UnsupportedSyntaxError: none of them can hold it.
        InputError: it cannot be read, or is damaged.
        OutputError: there is no room for it.
    """
    from dcmkit.pixels.guard import decode_guarded
    from dcmkit.pixels.image_file import ImageFile
    from dcmkit.pixels.transcode import TranscodeOptions

    refused: DcmkitError | None = None
    options = TranscodeOptions(decode=decode_guarded)
    source = ""
    try:
        with ImageFile(path) as image:
            source = image.transfer_syntax_uid
            for context_id, syntax in ranked(image, ways):
                try:
                    return _converted(image, context_id, syntax, options._replace(allow_lossy=syntax in _LOSSY))
                except UnsupportedSyntaxError as error:
                    refused = refused or error
    except InputError as error:
        if isinstance(error, InvalidDataSetError) and source:
            raise InvalidDataSetError(f"cannot be converted from {name_of(source)}: {error.message}") from error
        raise
    reason = f": {refused.message}" if refused is not None else ""
    raise UnsupportedSyntaxError(f"cannot be converted from {name_of(source)} into what the peer takes{reason}")


def ranked(image: ImageFile, ways: Sequence[tuple[int, str]]) -> list[tuple[int, str]]:
    """The ways that can be tried, the best first; those that keep the codestreams come before all."""
    from dcmkit.pixels import plan

    order = {syntax: rank for rank, syntax in enumerate((*_UNCOMPRESSED, *_LOSSLESS, *_LOSSY))}
    found: list[tuple[int, int, str]] = []
    for context_id, syntax in ways:
        try:
            steps = plan.plan(image.description, image.transfer_syntax_uid, syntax)
        except UnsupportedSyntaxError:
            continue
        keeps = steps.action in (plan.RELABEL, plan.RECOMPRESS) and steps.target == syntax
        if keeps or (syntax in order and steps.target == syntax):
            found.append((-1 if keeps else order[syntax], context_id, syntax))
    return [(context_id, syntax) for _, context_id, syntax in sorted(found)]


def _converted(image: ImageFile, context_id: int, syntax: str, options: TranscodeOptions) -> Converted:
    import tempfile

    from dcmkit.dataset.part10 import read_file_header
    from dcmkit.pixels.transcode import convert as transcode

    with tempfile.TemporaryDirectory(prefix="dcmkit-", ignore_cleanup_errors=True) as directory:
        target = os.path.join(directory, "converted")
        outcome = transcode(image, target, syntax, options)
        descriptor = os.open(target, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        header = read_file_header(descriptor)
        os.lseek(descriptor, header.offset, os.SEEK_SET)
    except BaseException:
        os.close(descriptor)
        raise
    uid = outcome.sop_instance_uid
    return Converted(context_id, syntax, descriptor, header.length, uid, outcome.lossy)
