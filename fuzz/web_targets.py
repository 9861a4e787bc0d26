"""Targets of DICOMweb; `targets.py` enters them."""

from __future__ import annotations

import contextlib

from dcmkit.pixels.syntaxes import EXPLICIT, JPEG_LS
from dcmkit.web import media_types, negotiation, request_reading
from dcmkit.web.multipart import Limits, MultipartError, MultipartReader, PartBegan, PartData, PartEnded, lay_out

BOUNDARY = "dcmkit"
LIMITS = Limits(parts=8, header=256, part=4096)


def fuzz_multipart(data: bytes) -> None:
    """A body in pieces of a size that the first byte says: the same parts as in one piece, or the same error."""
    if not data:
        return
    body, step = data[1:], data[0] + 1
    assert _parts(body, step) == _parts(body, len(body) + 1)


def _parts(body: bytes, step: int) -> list[object]:
    reader = MultipartReader(BOUNDARY, LIMITS)
    parts: list[object] = []
    content = b""
    try:
        for start in range(0, len(body), step):
            for event in reader.feed(body[start : start + step]):
                if isinstance(event, PartData):
                    content += event.view
                    continue
                if isinstance(event, PartBegan):
                    assert event.field is not None
                elif isinstance(event, PartEnded):
                    assert event.size == len(content)
                    parts.append(content)
                    content = b""
                parts.append(event)
        reader.close()
    except MultipartError as error:
        parts.append(str(error))
    return parts


def fuzz_media_types(data: bytes) -> None:
    """A text as Content-Type, as Content-Disposition and as what is accepted: read, or refused as documented."""
    text = data.decode("latin-1")
    with contextlib.suppress(media_types.MediaTypeError):
        read = media_types.parse_media_type(text)
        again = media_types.parse_media_type(str(read))
        assert (again.name, list(again.parameters)) == (read.name, list(read.parameters))
    for parse in (media_types.parse_disposition, media_types.parse_store_content):
        with contextlib.suppress(media_types.MediaTypeError):
            parse(text)
    for offers in (
        negotiation.instance_offers((EXPLICIT, JPEG_LS), one=True),
        negotiation.frame_offers(JPEG_LS, (EXPLICIT,)),
        negotiation.search_offers(),
    ):
        with contextlib.suppress(media_types.MediaTypeError):
            choice = negotiation.select(offers, text, text)
            assert any(choice.media_type == offer.media_type for offer in offers)


def fuzz_requests(data: bytes) -> None:
    """Requests in pieces of a size that the first byte says: the same ones as in one piece, as far as both go."""
    if not data:
        return
    whole, pieces = (_requests(data[1:], step) for step in (len(data), data[0] + 1))
    assert all(one == other for one, other in zip(whole, pieces, strict=False))


class _Told:
    """What is told of requests: target, fields and body of each that is complete."""

    def __init__(self) -> None:
        self.requests: list[tuple[bytes, list[tuple[bytes, bytes]], bytes]] = []
        self.url = self.body = b""
        self.fields: list[tuple[bytes, bytes]] = []

    def on_message_begin(self) -> None:
        self.url, self.body, self.fields = b"", b"", []

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value))

    def on_headers_complete(self) -> None:
        assert len(self.url) <= request_reading.TARGET_LIMIT
        assert len(self.fields) <= request_reading.FIELDS

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.requests.append((self.url, self.fields, self.body))


def _requests(data: bytes, step: int) -> list[tuple[bytes, list[tuple[bytes, bytes]], bytes]]:
    import httptools

    told = _Told()
    reading = request_reading.Reading(told)
    with contextlib.suppress(httptools.HttpParserError):
        for start in range(0, len(data), step):
            reading.feed_data(data[start : start + step])
    return told.requests


def _request_seeds() -> list[bytes]:
    upgrade = b"Connection: Upgrade\r\nUpgrade: h2c\r\n"
    head = b"POST /a HTTP/1.1\r\nHost: here\r\n"
    chunked = b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nX: y\r\n\r\n"
    known = b"Content-Length: 5\r\n\r\nhello"
    requests = (
        head + chunked + head + known,
        head + upgrade + known + head + upgrade + chunked,
        head + upgrade + b"\r\n",
    )
    return [bytes((step,)) + request for request in requests for step in (0, 6, 255)]


def _bodies() -> list[bytes]:
    pieces, _ = lay_out(BOUNDARY, [({"Content-Type": "application/dicom"}, 4, [b"DICM"]), ({}, 0, [])])
    whole = b"".join(bytes(piece) for piece in pieces)
    form = b'--dcmkit\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n\r\n--dcmki\r\n--dcmkit--'
    bodies = (whole, b"preamble\r\n" + form, whole.replace(b"\r\n", b"\n"))
    return [bytes((step,)) + body for body in bodies for step in (0, 6, 255)]


_TEXTS = (
    'multipart/related; type="application/dicom"; boundary="a\\"b"; transfer-syntax=*',
    "multipart/related; type=application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1;q=0.5, image/*;q=.2, *;q=0",
    'form-data; name="file"; filename="a.dcm"',
    "application/dicom json,text/csv",
)

RUNS = {
    "multipart": (fuzz_multipart, tuple(_bodies())),
    "requests": (fuzz_requests, tuple(_request_seeds())),
    "media_types": (fuzz_media_types, tuple(text.encode("latin-1") for text in _TEXTS)),
}
"""Function and seeds by name."""
