"""Media types as HTTP headers and query parameters say them (RFC 9110 8.3, 12.5.1; RFC 2045 5.1; PS3.18 8.7).

What is read here was written by strangers: its length and the number of its pieces are bounded, a piece of an Accept
header that is none is passed over, and nothing is taken from it but names that are compared.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from dcmkit.errors import ExitCode, NetworkError

MAX_LENGTH = 8192
"""Of one header or parameter, in characters; clients send 300 at most."""

MAX_RANGES = 32
"""Of one Accept header; what is after them is not looked at."""

MAX_BOUNDARY = 200
"""RFC 2046 5.1.1 allows 70; there are programs that do not count."""

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,127}"  # noqa: S105
_NAMES = re.compile(rf"[ \t]*({_TOKEN})[ \t]*/[ \t]*({_TOKEN})[ \t]*")
_ANYTHING = re.compile(r"[ \t]*\*[ \t]*(?=[;,]|$)")
_VALUE = re.compile(rf"[ \t]*({_TOKEN})[ \t]*")
_PARAMETER = re.compile(
    rf';[ \t]*(?:({_TOKEN})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^";,]*))[ \t]*)?'  # a lone semicolon too
)
_QUALITY = re.compile(r"(?:0|1|)(?:\.\d{0,16})?")
_ESCAPED = re.compile(r"\\(.)")
_LOST_PLUS = re.compile(r"/([\w.-]+) (json|xml)\b", re.IGNORECASE)
_UNPRINTABLE = re.compile(r"[^\t\x20-\x7e\x80-\U0010ffff]")

ALIASES = {
    "image/jpg": "image/jpeg",
    "image/x-jls": "image/jls",
    "image/dicom+rle": "image/dicom-rle",
    "image/x-dicom-rle": "image/dicom-rle",
    "image/dicom+jpeg": "image/jpeg",
    "image/dicom+jpeg-jls": "image/jls",
    "image/dicom+jp2": "image/jp2",
    "image/dicom+jpx": "image/jpx",
    "video/h265": "video/H265",
}
"""Names of media types that the standard had once, or that clients use, and the one it has now."""


class MediaTypeError(NetworkError):
    """A media type, or a list of them, that cannot be read."""

    exit_code = ExitCode.REQUEST_FAILED
    http_status = 400


class UnsupportedMediaTypeError(MediaTypeError):
    """A request whose payload is of a media type that the resource does not take (PS3.18 8.5)."""

    http_status = 415


class MediaType(NamedTuple):
    """`type/subtype` in lower case, and its parameters; their names are in lower case, their values as they came."""

    name: str
    parameters: dict[str, str]

    def __str__(self) -> str:
        return self.name + "".join(f"; {name}={quote(value)}" for name, value in self.parameters.items())


class MediaRange(NamedTuple):
    """What an Accept header says of one kind of media types (RFC 9110 12.5.1); `*` stands for any."""

    type: str
    subtype: str
    parameters: dict[str, str]
    quality: float

    def covers(self, name: str) -> bool:
        """Whether the media type `name` is one of them, whatever the parameters."""
        return covers(f"{self.type}/{self.subtype}", name)


def covers(pattern: str, name: str) -> bool:
    """Whether `name` is the media type `pattern`, or one of those that it means by asterisks."""
    if pattern in (name, "*/*"):
        return True
    kind, _, rest = pattern.partition("/")
    return rest == "*" and name.startswith(kind + "/")


def quote(value: str) -> str:
    """`value` as a parameter's value is written: a token, or quoted (RFC 9110 5.6.6), without control characters."""
    if re.fullmatch(_TOKEN, value):
        return value
    value = _UNPRINTABLE.sub(" ", value)
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def parse_media_type(text: str) -> MediaType:
    """The media type of a Content-Type header.

    Raises:
        MediaTypeError: it is none, or says a parameter twice.
    """
    if len(text) > MAX_LENGTH:
        raise MediaTypeError(f"a Content-Type of {len(text)} characters")
    found = _NAMES.match(text)
    if found is None:
        raise MediaTypeError("a Content-Type that is no media type", hint="it is written type/subtype")
    parameters, end = _parameters(text, found.end(), once=True)
    if end < len(text):
        raise MediaTypeError("a Content-Type with parameters that cannot be read", hint="quote their values")
    return MediaType(_canonical(found[1], found[2]), parameters)


def parse_disposition(text: str) -> tuple[str, dict[str, str]]:
    """The type of a Content-Disposition header in lower case, and its parameters (RFC 7578 4.2, RFC 6266).

    Raises:
        MediaTypeError: it cannot be read.
    """
    found = _VALUE.match(text) if len(text) <= MAX_LENGTH else None
    if found is None:
        raise MediaTypeError("a Content-Disposition that cannot be read")
    parameters, end = _parameters(text, found.end(), once=True)
    if end < len(text):
        raise MediaTypeError("a Content-Disposition with parameters that cannot be read", hint="quote their values")
    return found[1].lower(), parameters


def parse_accept(text: str | None, *, query: bool = False) -> list[MediaRange]:
    """What an Accept header, or with `query` the parameter `accept` of a query, says, in its order.

    No header, or an empty one, accepts anything. Pieces that are no media range are passed over.

    Raises:
        MediaTypeError: too long, or nothing in it is a media range.
    """
    if text is None or not text.strip():
        return [MediaRange("*", "*", {}, 1.0)]
    if len(text) > MAX_LENGTH:
        raise MediaTypeError(f"an Accept header of {len(text)} characters")
    if query:  # who did not write %2B meant it all the same
        text = _LOST_PLUS.sub(r"/\1+\2", text)
    ranges: list[MediaRange] = []
    position = pieces = 0
    while position < len(text) and pieces < MAX_RANGES:
        pieces += 1
        position, one = _media_range(text, position)
        if one is not None:
            ranges.append(one)
    if not ranges:
        raise MediaTypeError("an Accept header without any media type", hint="it is a list of type/subtype")
    return ranges


class StoreContent(NamedTuple):
    """How the payload of a store request is put together (PS3.18 10.5.1.2, 8.7.3).

    Attributes:
        media_type: of the object, or of the root part: application/dicom, application/dicom+json or
            application/dicom+xml; "" where each part says it (multipart/form-data).
        boundary: of its parts; "" for one object without any.
    """

    media_type: str
    boundary: str


STORED = frozenset({"application/dicom", "application/dicom+json", "application/dicom+xml"})
"""What can be stored; metadata comes with its bulk data in further parts."""


def parse_store_content(text: str | None) -> StoreContent:
    """What the Content-Type of a store request says.

    RFC 2387 asks multipart/related for its `type`, unquoted by some; without one it is application/dicom.

    Raises:
        MediaTypeError: it cannot be read, or has no usable boundary.
        UnsupportedMediaTypeError: there is none, or it is another than `STORED`, by itself or in parts.
    """
    if text is None or not text.strip():
        raise UnsupportedMediaTypeError(
            "a store request without Content-Type", hint='send multipart/related; type="application/dicom"'
        )
    content = parse_media_type(text)
    media_type = content.name
    if media_type == "multipart/form-data":
        return StoreContent("", boundary_of(content))
    if media_type == "multipart/related":
        media_type = content.parameters.get("type", "application/dicom").partition(";")[0].strip().lower()
        if media_type in STORED:
            return StoreContent(media_type, boundary_of(content))
    if media_type not in STORED:
        raise UnsupportedMediaTypeError(
            "a store request of a media type that cannot be stored",
            hint="taken are " + ", ".join(sorted(STORED)) + ", in multipart/related or alone, and multipart/form-data",
        )
    return StoreContent(media_type, "")


def boundary_of(content: MediaType) -> str:
    """The boundary of a multipart media type.

    Raises:
        MediaTypeError: there is none, or none that can be (RFC 2046 5.1.1; other printable characters are let be).
    """
    boundary = content.parameters.get("boundary", "").rstrip(" ")
    if not boundary:
        raise MediaTypeError("a multipart body without boundary", hint="Content-Type must say it")
    if len(boundary) > MAX_BOUNDARY or not boundary.isascii() or not boundary.isprintable():
        raise MediaTypeError("a multipart body whose boundary cannot be one")
    return boundary


def _canonical(kind: str, subtype: str) -> str:
    name = f"{kind}/{subtype}".lower()
    return ALIASES.get(name, name)


def _parameters(text: str, position: int, *, once: bool = False) -> tuple[dict[str, str], int]:
    """The parameters from `position` on, the first of each name, and where they end."""
    parameters: dict[str, str] = {}
    while found := _PARAMETER.match(text, position):
        position = found.end()
        if found[1] is None:
            continue
        name = found[1].lower()
        value = found[3].rstrip() if found[2] is None else _ESCAPED.sub(r"\1", found[2])
        if name in parameters and once:
            raise MediaTypeError("a media type that says a parameter twice")
        parameters.setdefault(name, value)
    return parameters, position


def _media_range(text: str, position: int) -> tuple[int, MediaRange | None]:
    """The piece of a list at `position`, None if it is no media range, and where the next one begins."""
    found = _NAMES.match(text, position)
    kind, subtype = "*", "*"
    if found is not None:
        kind, subtype = _canonical(found[1], found[2]).split("/", 1)
    else:
        found = _ANYTHING.match(text, position)  # as Java sends it: "*; q=.2"
    if found is not None:
        parameters, end = _parameters(text, found.end())
        quality = _quality(parameters.pop("q", "1"))
        if quality is not None and (end == len(text) or text[end] == ","):
            return end + 1, MediaRange(kind, subtype, parameters, quality)
    comma = text.find(",", position)
    return (len(text) if comma < 0 else comma + 1), None


def _quality(text: str) -> float | None:
    if not _QUALITY.fullmatch(text) or text in ("", "."):
        return None
    return min(float(text), 1.0)
