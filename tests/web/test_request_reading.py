"""What is read of requests, in any pieces, and what is not."""

from __future__ import annotations

import httptools
import pytest

from dcmkit.web.request_reading import FIELDS, FIELDS_LIMIT, TARGET_LIMIT, Reading

HEAD = b"POST /a HTTP/1.1\r\nHost: here\r\n"
UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAA\r\n"


class Told:
    """What an event handler of uvicorn hears: target and body of each request."""

    def __init__(self) -> None:
        self.requests: list[tuple[bytes, bytes]] = []
        self.heads = 0
        self.url = self.body = b""

    def on_message_begin(self) -> None:
        self.url = self.body = b""

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        pass

    def on_headers_complete(self) -> None:
        self.heads += 1

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.requests.append((self.url, self.body))


def read(data: bytes, step: int = 1 << 16) -> Told:
    told = Told()
    reading = Reading(told)
    for start in range(0, len(data), step):
        reading.feed_data(data[start : start + step])
    assert told.heads == len(told.requests)
    return told


def refused(data: bytes, step: int = 1 << 16) -> int:
    reading = Reading(Told())
    for start in range(0, len(data), step):
        try:
            reading.feed_data(data[start : start + step])
        except httptools.HttpParserError:
            return reading.status
    return 0


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
@pytest.mark.parametrize(
    ("framing", "body"),
    [
        (b"\r\n", b""),
        (b"Content-Length: 0\r\n\r\n", b""),
        (b"Content-Length: 5\r\n\r\nhello", b"hello"),
        (b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nX: y\r\n\r\n", b"hello"),
        (b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b""),
    ],
)
def test_an_upgrade_is_a_header_like_others(framing: bytes, body: bytes, step: int) -> None:
    one = HEAD + UPGRADE + framing
    assert read(one * 3, step).requests == [(b"/a", body)] * 3
    assert read(HEAD + framing + one + HEAD + framing, step).requests == [(b"/a", body)] * 3


def test_a_long_body_is_no_framing() -> None:
    body = bytes(3 << 20)
    assert read(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body).requests == [(b"/a", body)]
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in bytes(100_000))
    assert read(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n").requests == [
        (b"/a", bytes(100_000))
    ]


def test_requests_in_a_row_are_no_framing() -> None:
    one = HEAD + b"\r\n"
    assert len(read(one * 20_000, 5000).requests) == 20_000


@pytest.mark.parametrize("step", [1000, 1 << 20])
def test_bounds(step: int) -> None:
    assert read(b"GET /" + b"x" * (TARGET_LIMIT - 1) + b" HTTP/1.1\r\nHost: here\r\n\r\n", step).heads == 1
    assert refused(b"GET /" + b"x" * TARGET_LIMIT + b" HTTP/1.1\r\nHost: here\r\n\r\n", step) == 414
    assert read(HEAD + b"X: x\r\n" * (FIELDS - 1) + b"\r\n", step).heads == 1
    assert refused(HEAD + b"X: x\r\n" * FIELDS + b"\r\n", step) == 431
    assert read(HEAD + b"X:" + b"x" * (FIELDS_LIMIT - 9) + b"\r\n\r\n", step).heads == 1
    assert refused(HEAD + b"X:" + b"x" * FIELDS_LIMIT + b"\r\n\r\n", step) == 431
    assert refused(HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: x\r\n" * FIELDS + b"\r\n", step) == 431


@pytest.mark.parametrize(
    ("beginning", "status"),
    [
        (b"", 400), (HEAD + b"X: ", 431), (HEAD + b"X", 431),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;x=", 431),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: ", 431),
        (HEAD + UPGRADE + b"Transfer-Encoding: chunked\r\n\r\n1;x=", 431),
    ],
)  # fmt: skip
def test_what_never_ends(beginning: bytes, status: int) -> None:
    assert refused(beginning + (b"x" if beginning else b"\r\n") * 500_000) == status


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 505),
    ],
)
def test_one_host_and_two_versions(head: bytes, status: int) -> None:
    assert refused(head) == status
    assert read(b"GET / HTTP/1.0\r\n\r\n").heads == 1
