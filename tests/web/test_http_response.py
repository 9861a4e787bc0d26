"""Answers: decoded, bounded in size and time, and never taken for whole when they are not."""

from __future__ import annotations

import gzip
import socket
import zlib

import pytest

from dcmkit.errors import ConnectionLostError, NetworkError, PeerTimeoutError, ProtocolError
from dcmkit.web.http_client import HttpClient, Options
from dcmkit.web.http_response import HttpStatusError, Response, status_error
from tests.web.http_peer import raw_peer, read_head


def asked(answer: bytes, url_options: Options | None = None) -> tuple[int, bytes]:
    """Status and body of what a peer that says `answer` and hangs up has said."""

    def handle(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(answer)

    with raw_peer(handle) as url, HttpClient(url, options=url_options, environment={}) as client:
        response = client.request("GET")
        return response.status, response.read(1_000_000)


def test_bodies() -> None:
    assert asked(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcdef") == (200, b"abc")
    assert asked(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 OK\r\n\r\nabc") == (202, b"abc")
    assert asked(b"HTTP/1.1 404 no\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n") == (404, b"abc")
    assert asked(b"HTTP/1.1 204 \r\n\r\n") == (204, b"")


def test_compressed() -> None:
    data = gzip.compress(b"a" * 100_000)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n"
    assert asked(head + data) == (200, b"a" * 100_000)
    with pytest.raises(ConnectionLostError):
        asked(head + data[:-20])
    with pytest.raises(ProtocolError, match="damaged"):
        asked(head + b"no gzip at all")
    with pytest.raises(ProtocolError, match="encoding"):
        asked(b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\n\r\n" + zlib.compress(b"a"))


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", ConnectionLostError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", ConnectionLostError),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc", ConnectionLostError),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nabc", NetworkError),
        (b"\x02\0\0\0garbage\r\n\r\n", ProtocolError),
        (b"HTTP/1.1 abc OK\r\n\r\n", ProtocolError),
        (b"HTTP/1.1 200 " + b"x" * 100_000 + b"\r\n\r\n", ProtocolError),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 1000 + b"\r\n", ProtocolError),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1_000_001, ProtocolError),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(bytes(50_000_000)), ProtocolError),
    ],
)
def test_answers_that_are_none(answer: bytes, error: type[NetworkError]) -> None:
    with pytest.raises(error):
        asked(answer)


@pytest.mark.hostile
def test_a_peer_that_drips() -> None:
    def handle(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        connection.settimeout(0.005)
        for _ in range(2000):
            connection.sendall(b"x")
            try:
                connection.recv(1)
                return
            except TimeoutError:
                pass

    with raw_peer(handle) as url:
        client = HttpClient(url, options=Options(timeout=0.02), environment={})
        with client, pytest.raises(PeerTimeoutError):
            client.request("GET").read()


def test_a_silent_peer() -> None:
    def handle(connection: socket.socket) -> None:
        read_head(connection)
        connection.recv(1)

    with raw_peer(handle) as url:
        client = HttpClient(url, options=Options(timeout=0.05), environment={})
        with client, pytest.raises(PeerTimeoutError, match="before the answer"):
            client.request("GET")


def test_what_is_not_wanted() -> None:
    def handle(connection: socket.socket) -> None:
        for _ in range(3):
            if read_head(connection):
                connection.sendall(
                    b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nX-A: b\r\nContent-Type: Text/Plain; q=1\r\n\r\n"
                )
                connection.sendall(b"x" * 1000)

    with raw_peer(handle) as url, HttpClient(url, environment={}) as client:
        response: Response = client.request("GET")
        assert (response.header("x-a"), response.header("x-c"), response.content_type) == ("b", "", "text/plain")
        response.skip()
        client.request("GET").read()
        assert client.connections == 1
        assert b"".join(client.request("GET").pieces()) == b"x" * 1000
        assert client.connections == 1


def test_what_statuses_mean() -> None:
    error = status_error(404, HttpStatusError)
    assert (error.status, error.message) == (404, "the server answers with HTTP status 404")
    assert "no such thing" in error.hint
    assert status_error(404, HttpStatusError, {404: "elsewhere"}).hint == "elsewhere"
    assert "--bearer" in status_error(401, HttpStatusError, {404: "elsewhere"}).hint
    assert "not followed" in status_error(307, HttpStatusError).hint
    assert status_error(599, HttpStatusError).hint == ""
