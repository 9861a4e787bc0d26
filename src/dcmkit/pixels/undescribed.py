"""Files whose pixel data nobody can make frames of: their encoded elements, written as a whole, atomically."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress

from dcmkit.dataset.recode import Buffer
from dcmkit.errors import OutputError
from dcmkit.pixels.writer import WriterOptions
from dcmkit.uids import DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN


def write_pieces(
    path: str | os.PathLike[str],
    meta: bytes,
    pieces: Iterable[Buffer],
    transfer_syntax_uid: str,
    options: WriterOptions,
) -> None:
    """A file of its meta information and the pieces of an encoded data set, deflated where the syntax wants it.

    Raises:
        OutputError: it cannot be written; nothing is left of it then.
    """
    target = os.fspath(path)
    if transfer_syntax_uid == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
        pieces = deflated(pieces, options.deflate_level)
    temporary = ""
    directory = os.path.dirname(target) or "."
    try:
        temporary = os.path.join(directory, f".dcmkit-{os.urandom(8).hex()}.part")
        with open(temporary, "xb") as file:
            file.write(meta)
            for piece in pieces:
                file.write(piece)
            file.flush()
            if options.sync:
                os.fsync(file.fileno())
        os.replace(temporary, target)
        temporary = ""
    except OSError as error:
        raise OutputError(f"the file cannot be written: {error.strerror or error}") from None
    finally:
        if temporary:
            with suppress(OSError):
                os.unlink(temporary)


def deflated(pieces: Iterable[Buffer], level: int = 6) -> Iterator[bytes]:
    """The pieces of a data set, deflated, and padded to an even length (PS3.5 A.5)."""
    deflater, size = zlib.compressobj(level, wbits=-zlib.MAX_WBITS), 0
    for piece in pieces:
        block = deflater.compress(piece)
        size += len(block)
        yield block
    block = deflater.flush()
    yield block + b"\0" * ((size + len(block)) & 1)
