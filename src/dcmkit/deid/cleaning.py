"""Files whose pixels are cleaned: what is de-identified of them is joined with frames that `boxes` has changed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dcmkit.dataset.raw import RawElements, walk
from dcmkit.deid.engine import Anonymized, QuarantinedError
from dcmkit.deid.pieces import Buffer
from dcmkit.errors import InputError, OutputError

if TYPE_CHECKING:
    from dcmkit.deid.boxes import Box

_BLOCK = 4 << 20


@contextmanager
def cleaned_pieces(
    path: str, made: Anonymized, boxes: Sequence[Box], directory: str, *, guarded: bool = False
) -> Iterator[Iterator[Buffer]]:
    """The whole file, as pieces, while the context lasts.

    Args:
        path: the file as it came, which has the pixels.
        made: what became of its elements.
        directory: where the file may wait until it gets its name.
        guarded: decode in a process of its own, under limits of time and memory.

    Raises:
        QuarantinedError: the pixels cannot be cleaned.
        OutputError: there is no room.
    """
    from dcmkit.deid import boxes as cleaning
    from dcmkit.pixels.guard import decode_guarded

    data = memoryview(b"".join((*made.before, *made.after)))
    elements = RawElements(data, made.encoding, walk(data, 0, len(data), made.encoding))
    try:
        holder = tempfile.TemporaryDirectory(prefix=".dcmkit-", dir=directory)
    except OSError as error:
        raise OutputError(f"the output cannot be written: {error.strerror or error}") from None
    with holder as place:
        target = os.path.join(place, "cleaned")
        try:
            cleaning.write(
                path, elements, target, made.transfer_syntax_uid, sop_class_uid=made.sop_class_uid,
                sop_instance_uid=made.sop_instance_uid, boxes=boxes, clear_bits=made.overlay_bits,
                decode=decode_guarded if guarded else None,
            )  # fmt: skip
        except InputError as error:
            raise QuarantinedError(f"its pixels cannot be cleaned: {error}") from None
        with open(target, "rb", buffering=0) as file:
            yield iter(lambda: file.read(_BLOCK), b"")
