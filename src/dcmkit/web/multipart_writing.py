"""Writing bodies in parts (RFC 2046 5.1): byte strings to go between the bytes of others, which are never joined.

A module of its own, since who only sends is spared what it takes to read; `dcmkit.web.multipart` has all of it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ContentT = TypeVar("ContentT")

_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")


def make_boundary(key: bytes, *seeds: str | bytes) -> str:
    """A boundary that is the same for the same answer, so that ranges and entity tags of it have a meaning.

    Who stored an object must not be able to have put it there: `key` is what only the server knows, or the seeds hold
    a digest of all contents.
    """
    from hashlib import blake2b

    digest = blake2b(key=blake2b(key).digest(), digest_size=20)
    for seed in seeds:
        seed = seed.encode() if isinstance(seed, str) else seed
        digest.update(len(seed).to_bytes(8, "big"))
        digest.update(seed)
    return "dcmkit-" + digest.hexdigest()


def content_type(boundary: str, root_type: str = "application/dicom") -> str:
    """The Content-Type of a multipart/related body (RFC 2387): quoted `type`, as all peers read it."""
    plain = boundary.replace("-", "").isalnum() and boundary.isascii()
    if not plain:
        from dcmkit.web.media_types import quote

        boundary = quote(boundary)
    return f'multipart/related; type="{root_type}"; boundary={boundary}'


class MultipartWriter:
    """What stands between the contents of parts: `head` before each, `end` after the last."""

    def __init__(self, boundary: str) -> None:
        self._line = f"--{boundary}".encode("ascii")
        self._first = True

    def head(self, headers: Mapping[str, str], size: int | None = None) -> bytes:
        """The boundary line and header of the next part, with Content-Length where its `size` is known.

        Control characters in values become blanks: no text from an object ends a line.
        """
        line_break, self._first = b"" if self._first else b"\r\n", False
        text = ""
        for name, value in headers.items():
            text += f"{name}: {value if value.isprintable() else _CONTROL.sub(' ', value)}\r\n"
        if size is not None:
            text += f"Content-Length: {size}\r\n"
        return b"%s%s\r\n%s\r\n" % (line_break, self._line, text.encode("utf-8"))

    def end(self) -> bytes:
        """The last boundary line."""
        return b"%s%s--\r\n" % (b"" if self._first else b"\r\n", self._line)


def lay_out(
    boundary: str, parts: Iterable[tuple[Mapping[str, str], int, Iterable[ContentT]]]
) -> tuple[list[bytes | ContentT], int]:
    """A whole body as pieces, never joined, and its length.

    Args:
        parts: header, size in bytes, and content of each; contents are passed on as they are, whatever they are:
            byte strings, ranges of files.
    """
    writer = MultipartWriter(boundary)
    pieces: list[bytes | ContentT] = []
    length = 0
    for headers, size, contents in parts:
        head = writer.head(headers, size)
        pieces.append(head)
        pieces.extend(contents)
        length += len(head) + size
    end = writer.end()
    pieces.append(end)
    return pieces, length + len(end)
