"""A scripted HTTP server on a free port, and one that answers with bytes of the test's."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple


class Request(NamedTuple):
    """What came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int


class Reply(NamedTuple):
    """What goes back; or nothing, and the connection ends."""

    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    hang_up: bool = False


class Peer:
    """A running server: what it was asked, and where it is."""

    def __init__(self, answer: Callable[[Request], Reply]) -> None:
        self.requests: list[Request] = []
        self.answer = answer
        self.connections = 0
        self.url = ""
        self.host = self.address = ""


@contextlib.contextmanager
def peer(answer: Callable[[Request], Reply] | list[Reply], tls: ssl.SSLContext | None = None) -> Iterator[Peer]:
    """A server that answers as it is told: by a function, or a list whose last entry is repeated."""
    if isinstance(answer, list):
        left = list(answer)
        running = Peer(lambda _: left.pop(0) if len(left) > 1 else left[0])
    else:
        running = Peer(answer)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 20

        def setup(self) -> None:
            super().setup()
            running.connections += 1
            self.number = running.connections

        def handle_any(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            body = self.rfile.read(int(headers.get("content-length", "0")))
            request = Request(self.command, self.path, headers, body, self.number)
            running.requests.append(request)
            reply = running.answer(request)
            if reply.hang_up:
                self.close_connection = True
                return
            self.send_response(reply.status)
            for name, value in reply.headers:
                self.send_header(name, value)
            if not any(name.lower() == "content-length" for name, _ in reply.headers):
                self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)
            self.wfile.flush()

        do_GET = do_POST = do_HEAD = do_CONNECT = handle_any  # noqa: N815 - the standard library's names

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    running.address = f"127.0.0.1:{server.server_address[1]}"
    running.url = f"{'http' if tls is None else 'https'}://{running.address}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield running
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def raw_peer(handle: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that hands each connection to `handle`; its URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def run() -> None:
        while True:
            connection, _ = listener.accept()
            with connection:
                if stop.is_set():
                    return
                connection.settimeout(10)
                with contextlib.suppress(OSError):
                    handle(connection)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        stop.set()
        socket.create_connection(listener.getsockname()).close()
        thread.join()
        listener.close()


def read_head(connection: socket.socket) -> bytes:
    """The head of a request."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            break
        data += more
    return data
