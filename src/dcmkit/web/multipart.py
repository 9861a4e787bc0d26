"""Bodies in parts (RFC 2046 5.1): multipart/related of DICOMweb (RFC 2387, PS3.18 8.6.1.2), multipart/form-data.

Bytes in, events out; nothing here knows a socket. The reader hands out views of what it was fed and keeps no more of
it than may be the beginning of a boundary line, so pixels are never joined. The writer makes byte strings to go
between the bytes of others, and knows the length of the whole before the first of them.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from dcmkit.errors import ExitCode, NetworkError
from dcmkit.web.media_types import MediaTypeError, parse_disposition
from dcmkit.web.multipart_writing import MultipartWriter, content_type, lay_out, make_boundary

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping

__all__ = [
    "BodyEnded",
    "BodyTooLargeError",
    "Event",
    "Limits",
    "MultipartError",
    "MultipartReader",
    "MultipartWriter",
    "PartBegan",
    "PartData",
    "PartEnded",
    "content_type",
    "lay_out",
    "make_boundary",
]

MAX_PREAMBLE = 64 * 1024
"""A boundary that does not occur in so many bytes is not the body's."""

MAX_PADDING = 32
"""White space that may stand behind a boundary (RFC 2046 5.1.1, transport padding)."""


class MultipartError(NetworkError):
    """A body that is not made of parts as its Content-Type says, or ends before its last boundary."""

    exit_code = ExitCode.REQUEST_FAILED
    http_status = 400


class BodyTooLargeError(MultipartError):
    """A body, or a part of it, of more bytes than are taken."""

    http_status = 413


class Limits(NamedTuple):
    """What a body may have: number of parts, bytes of the header of one, of one, of all; 0 is without limit."""

    parts: int = 100_000
    header: int = 16 * 1024
    part: int = 0
    body: int = 0


class PartBegan(NamedTuple):
    """The header of a part is there; names are in lower case.

    Values are as they came, a stranger's text; of bytes that are no UTF-8, Latin 1 was made.
    """

    headers: dict[str, str]

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "")

    @property
    def length(self) -> int | None:
        """What Content-Length claims: a hint. Parts end where the boundary is."""
        return _length(self.headers)

    @property
    def field(self) -> tuple[str, str]:
        """Name and file name of a part of multipart/form-data, "" where there is none; never a path to write to."""
        try:
            _, parameters = parse_disposition(self.headers.get("content-disposition", ""))
        except MediaTypeError:
            return "", ""
        return parameters.get("name", ""), parameters.get("filename", "")

    @property
    def is_encoded(self) -> bool:
        """Whether the bytes are not the content's own, but base64 or quoted-printable (RFC 2045 6)."""
        encoding = self.headers.get("content-transfer-encoding", "binary").strip().lower()
        return encoding not in ("binary", "8bit", "7bit", "")


class PartData(NamedTuple):
    """Bytes of the part, lent until the next feed. The cuts say nothing."""

    view: memoryview


class PartEnded(NamedTuple):
    """The part is complete.

    Attributes:
        size: its bytes.
        as_claimed: False where its own Content-Length says another number: something was lost on the way.
    """

    size: int
    as_claimed: bool


class BodyEnded(NamedTuple):
    """The last boundary was there; what comes behind it is passed over."""


Event = PartBegan | PartData | PartEnded | BodyEnded

_PREAMBLE, _HEADER, _DATA, _EPILOGUE = range(4)
_MORE = -1
_HEADER_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,127}")
_PADDING = b" \t"


class MultipartReader:
    """One body. Feed it as it comes, in whatever pieces, and say when it has ended.

    Boundary lines end as the first of them does: CR LF, or LF alone from those who cannot do better; a line feed before
    a boundary then belongs to the boundary, and in the other case only together with its carriage return.
    """

    def __init__(self, boundary: str, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._dashes = b"--" + boundary.encode("ascii")
        self._delimiter = b"\n" + self._dashes
        self._state = _PREAMBLE
        self._tail = b"\n"  # what was held back: it may begin a delimiter. The first needs no line before it
        self._unreal = 1  # bytes of it that were never fed
        self._lines: list[bytes] = []
        self._line = bytearray()
        self._header_size = 0
        self._claimed: int | None = None
        self._size = self._parts = self._received = self._skipped = 0

    def feed(self, data: bytes | bytearray) -> Iterator[Event]:
        """What `data` brings. Go through all of it before the next call; nothing happens until then.

        Raises:
            MultipartError: this is no such body, or has too many parts; the reader is of no use any more.
            BodyTooLargeError: a limit of size is passed.
        """
        self._received += len(data)
        if 0 < self._limits.body < self._received:
            raise BodyTooLargeError(f"a body of more than {self._limits.body} bytes")
        position = 0
        while position < len(data) and self._state != _EPILOGUE:
            if self._state == _HEADER:
                position = self._read_header(data, position)
                if self._state == _DATA:
                    yield self._begin()
            else:
                position = yield from self._read_content(data, position)

    def close(self) -> None:
        """The body has ended.

        Raises:
            MultipartError: too early.
        """
        if self._state == _PREAMBLE:
            raise MultipartError("a multipart body without its boundary", hint="Content-Type names another, or none")
        if self._state != _EPILOGUE:
            raise MultipartError("a multipart body without its last boundary", hint="it was cut off on the way")

    # --- preamble and data, up to a delimiter -----------------------------------------------------------------------

    def _read_content(self, data: bytes | bytearray, position: int) -> Generator[Event, None, int]:
        """Go on to the next delimiter, or to the end of `data`; returns where."""
        if self._tail:
            # what was held back, and so much of what follows that it can be told whether a delimiter begins in it
            tail, unreal = self._tail, self._unreal
            window = tail + data[position : position + len(self._delimiter) + MAX_PADDING + 2]
            found, end = self._search(window, 0, len(tail))
            self._tail, self._unreal = b"", 0
            yield from self._content(window, unreal, len(tail) if found < 0 else found)
            if found >= 0 and end == _MORE:
                self._tail, self._unreal = window[found:], max(0, unreal - found)
                return len(data)
            if found >= 0:
                yield from self._delimited(window, end)
                return position + end - len(tail)
        found, end = self._search(data, position, len(data))
        yield from self._content(data, position, len(data) if found < 0 else found)
        if found < 0:
            return len(data)
        if end == _MORE:
            self._tail = bytes(data[found:])
            return len(data)
        yield from self._delimited(data, end)
        return end

    def _search(self, data: bytes | bytearray, position: int, stop: int) -> tuple[int, int]:
        """Where the next delimiter begins, before `stop`, and where it ends, or _MORE if that is not to be seen yet."""
        delimiter = self._delimiter
        begin = max(position, len(data) - len(delimiter) + 1)
        while (position := data.find(delimiter, position, stop + len(delimiter) - 1)) >= 0:
            end = self._end_of_line(data, position + len(delimiter))
            if end:
                return position, end
            position += 1
        position = begin  # of one that is not all there
        while (position := data.find(delimiter[:1], position, stop)) >= 0:
            if delimiter.startswith(bytes(data[position:])):
                return position, _MORE
            position += 1
        return -1, 0

    @staticmethod
    def _end_of_line(data: bytes | bytearray, position: int) -> int:
        """Where the boundary line ends whose boundary ends at `position`; 0 if that was none after all."""
        rest = data[position : position + MAX_PADDING + 2]
        if rest[:2] == b"--":
            return position + 2
        unpadded = rest.lstrip(_PADDING)
        if unpadded[:1] == b"\n":
            return position + len(rest) - len(unpadded) + 1
        if unpadded[:2] == b"\r\n":
            return position + len(rest) - len(unpadded) + 2
        complete = len(rest) == MAX_PADDING + 2
        return 0 if complete or (unpadded not in (b"", b"\r") and rest != b"-") else _MORE

    def _content(self, data: bytes | bytearray, start: int, stop: int) -> Iterator[Event]:
        """Bytes that are no delimiter."""
        if start >= stop:
            return
        if self._state == _PREAMBLE:
            self._skipped += stop - start
            if self._skipped > MAX_PREAMBLE:
                raise MultipartError("a multipart body that does not begin with its boundary")
            return
        self._size += stop - start
        if 0 < self._limits.part < self._size:
            raise BodyTooLargeError(f"a part of more than {self._limits.part} bytes")
        yield PartData(memoryview(data)[start:stop])

    def _delimited(self, data: bytes | bytearray, end: int) -> Iterator[Event]:
        """A delimiter that ends at `end` of `data`."""
        closing = data[end - 1 : end] == b"-"
        if self._state == _DATA:
            yield PartEnded(self._size, self._claimed in (None, self._size))
        elif data[end - 2 : end] == b"\r\n":
            self._delimiter = b"\r\n" + self._dashes
        self._state = _EPILOGUE if closing else _HEADER
        if closing:
            yield BodyEnded()
            return
        self._parts += 1
        if 0 < self._limits.parts < self._parts:
            raise MultipartError(f"a multipart body of more than {self._limits.parts} parts")
        self._lines, self._header_size = [], 0

    # --- the header of a part ----------------------------------------------------------------------------------------

    def _read_header(self, data: bytes | bytearray, position: int) -> int:
        """Go on to the end of the header, or of `data`; returns where."""
        while position < len(data):
            found = data.find(b"\n", position, position + self._limits.header + 1)
            end = len(data) if found < 0 else found + 1
            self._header_size += end - position
            if self._header_size > self._limits.header:
                raise MultipartError(f"a part with a header of more than {self._limits.header} bytes")
            self._line += data[position:end]
            position = end
            if found < 0:
                break
            line = bytes(self._line[:-1]).removesuffix(b"\r")
            self._line.clear()
            if not line:
                self._state = _DATA
                break
            self._lines.append(line)
        return position

    def _begin(self) -> PartBegan:
        part = PartBegan(dict(_headers(tuple(self._lines))))
        self._claimed, self._size, self._lines = part.length, 0, []
        if 0 < self._limits.part < (self._claimed or 0):
            raise BodyTooLargeError(f"a part of more than {self._limits.part} bytes")
        # an empty part may be followed by the next boundary at once: the line before it is the blank one
        self._tail = self._delimiter[: -len(self._dashes)]
        self._unreal = len(self._tail)
        return part


@lru_cache(maxsize=64)
def _headers(lines: tuple[bytes, ...]) -> Mapping[str, str]:
    """The fields of a header (RFC 5322 2.2, continued lines too).

    Raises:
        MultipartError: a line is no field, or a field of the content is said twice.
    """
    fields: list[tuple[bytes, bytearray]] = []
    for line in lines:
        if line[:1] in (b" ", b"\t") and fields:
            fields[-1][1].extend(b" " + line.strip(_PADDING))
            continue
        name, colon, value = line.partition(b":")
        if not colon or not _HEADER_NAME.fullmatch(name.rstrip(_PADDING)):
            raise MultipartError("a part with a header line that is none", hint="it is written Name: value")
        fields.append((name.rstrip(_PADDING), bytearray(value.strip(_PADDING))))
    headers: dict[str, str] = {}
    for field, content in fields:
        if b"\r" in content or b"\0" in content:
            raise MultipartError("a part with control characters in its header")
        key = field.decode("ascii").lower()
        text = _text(bytes(content))
        if key in headers and key.startswith("content-"):
            raise MultipartError("a part that says a field of its content twice")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers


def _text(content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _length(headers: Mapping[str, str]) -> int | None:
    text = headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else None
