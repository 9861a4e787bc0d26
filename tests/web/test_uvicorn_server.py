"""What a connection may cost: silence, half a request, one that is too long, and an answer that nobody takes."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from dcmkit.web.uvicorn_server import Bounds, Server

REQUEST = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"


async def application(scope: Any, receive: Any, send: Any) -> None:
    """As many bytes as the path says; a refusal that ends the connection; the body again."""
    if scope["path"] == "/closed":
        headers = [(b"content-length", b"2"), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 403, "headers": headers})
        await send({"type": "http.response.body", "body": b"no"})
        return
    if scope["path"] == "/echo":
        body = (await receive())["body"]
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})
        return
    count = int(scope["path"].strip("/") or 2)
    if scope["path"] == "/0":
        raise RuntimeError("a defect")
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % count)]})
    await send({"type": "http.response.body", "body": bytes(count)})


@contextmanager
def running(bounds: Bounds) -> Iterator[int]:
    sock = socket.create_server(("127.0.0.1", 0))
    port = int(sock.getsockname()[1])
    started = threading.Event()
    server = Server(application, bounds, grace=2.0, on_started=started.set)
    thread = threading.Thread(target=server.run, args=([sock],))
    thread.start()
    try:
        assert started.wait(20)
        yield port
    finally:
        server.stop()
        thread.join(20)
        assert not thread.is_alive()


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), 30)


def all_of(sock: socket.socket) -> bytes:
    """Until the other side closes."""
    data = b""
    try:
        while block := sock.recv(65536):
            data += block
    except ConnectionResetError:
        pass
    return data


@pytest.fixture(params=["httptools", "h11"])
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to read HTTP."""
    if request.param == "h11":
        monkeypatch.setitem(sys.modules, "httptools", None)
    return str(request.param)


@pytest.mark.parametrize(
    "said",
    [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: here\r\nX", REQUEST, REQUEST + b"GET /", REQUEST + b"\r\n\r\n"],
)
def test_who_says_nothing_more_is_sent_away(parser: str, said: bytes) -> None:
    with running(Bounds(keep_alive=0.3, head=0.3)) as port, connect(port) as sock:
        if said:
            sock.sendall(said)
        answer = all_of(sock)
        assert answer.startswith(b"HTTP/1.1 200") == (REQUEST in said)


def test_an_endless_head_is_cut_off(parser: str) -> None:
    with running(Bounds()) as port:
        for piece in (b"X: " + b"x" * 65536, b"X: x\r\n" * 10000):
            with connect(port) as sock:
                answer = b""
                try:
                    sock.sendall(b"GET / HTTP/1.1\r\nHost: here\r\n")
                    for _ in range(20):
                        sock.sendall(piece)
                    answer = all_of(sock)
                except (BrokenPipeError, ConnectionResetError):
                    answer = answer or b"HTTP/1.1 400"  # it was closed while there was more to come
                assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 431")) or not answer


def test_garbage_is_no_request(parser: str) -> None:
    with running(Bounds()) as port:
        for garbage in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64), b"\x01\x00" + bytes(100)):
            with connect(port) as sock:
                sock.sendall(garbage)
                assert all_of(sock).startswith(b"HTTP/1.1 400")
        with connect(port) as sock:
            sock.sendall(REQUEST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            assert all_of(sock).startswith(b"HTTP/1.1 200")


def test_two_lengths_of_one_body(parser: str) -> None:
    both = b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    with running(Bounds()) as port, connect(port) as sock:
        sock.sendall(both + REQUEST)
        answer = all_of(sock)
    assert answer.startswith(b"HTTP/1.1 400")
    assert answer.count(b"HTTP/1.1") == 1


def test_who_still_sends_reads_why_it_is_refused(parser: str) -> None:
    """Megabytes of its body are on their way when the answer comes: the connection is not reset before that is read."""
    body = bytes(1 << 20)
    with running(Bounds()) as port, connect(port) as sock:
        sock.sendall(b"POST /closed HTTP/1.1\r\nHost: here\r\nContent-Length: 1000000000\r\n\r\n")
        assert sock.recv(12) == b"HTTP/1.1 403"
        for _ in range(20):
            sock.sendall(body)
        assert b"\r\n\r\nno" in all_of(sock)


def test_an_upgrade_leaves_no_body_out() -> None:
    """As Java's HTTP client asks for HTTP/2; h11 never looks at it."""
    upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAA\r\n"
    post = b"POST /echo HTTP/1.1\r\nHost: here\r\n" + upgrade + b"Content-Length: 5\r\n\r\nhello"
    with running(Bounds()) as port, connect(port) as sock:
        sock.sendall(post * 3 + REQUEST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        answer = all_of(sock)
    assert answer.count(b"HTTP/1.1 200") == 4
    assert answer.count(b"\r\n\r\nhello") == 3


def test_the_oldest_idle_one_makes_room() -> None:
    with running(Bounds(connections=8)) as port:
        idle = [connect(port) for _ in range(20)]
        with connect(port) as sock:
            sock.sendall(REQUEST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
            assert all_of(sock).startswith(b"HTTP/1.1 200")
        assert all_of(idle[0]) == b""
        for one in idle:
            one.close()


def test_an_answer_nobody_takes_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    with running(Bounds(stall=1.0)) as port, connect(port) as sock:
        sock.sendall(b"GET /100000000 HTTP/1.1\r\nHost: here\r\n\r\n")
        deadline = threading.Event()
        for _ in range(200):
            if "nothing of its answer was taken" in caplog.text:
                break
            deadline.wait(0.1)
        assert "nothing of its answer was taken" in caplog.text
        assert len(all_of(sock)) < 100_000_000


def test_a_defect_is_logged_without_what_it_said(caplog: pytest.LogCaptureFixture) -> None:
    with running(Bounds()) as port, connect(port) as sock:
        sock.sendall(b"GET /0 HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
        assert all_of(sock).startswith(b"HTTP/1.1 500")
    said = [record.getMessage() for record in caplog.records if record.name == "dcmkit.web"]
    assert said == ["Exception in ASGI application: RuntimeError"]


def test_no_header_tells_what_serves() -> None:
    with running(Bounds()) as port, connect(port) as sock:
        sock.sendall(REQUEST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        head = all_of(sock).lower()
    assert b"\r\ndate: " in head
    assert b"\r\nserver:" not in head
