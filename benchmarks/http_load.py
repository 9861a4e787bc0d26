"""A lean HTTP/1.1 client for measuring servers: prepared requests, answers counted and not kept."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Sequence

from benchmarks.measure import BenchError

Request = Sequence[bytes]
"""A whole request in buffers that are sent as they are."""
_BUFFER = 1 << 20
_QUICK_ACKNOWLEDGEMENTS: int = getattr(socket, "TCP_QUICKACK", 0)


class Connection:
    """One connection that is kept; `request` returns when the answer has come to its end."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket = self._connected()
        self._buffer = bytearray(_BUFFER)

    def _connected(self) -> socket.socket:
        found = socket.create_connection(("127.0.0.1", self._port), 60)
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return found

    def request(self, request: Request, *, keep: bool = False) -> tuple[int, int, bytes]:
        """Status, bytes of the body, and the body where it is to be kept."""
        pending = [memoryview(piece) for piece in request]
        while pending:
            sent = self._socket.sendmsg(pending[:64])
            while pending and sent >= len(pending[0]):
                sent -= len(pending.pop(0))
            if sent:
                pending[0] = pending[0][sent:]
        head = b""
        while b"\r\n\r\n" not in head:
            if _QUICK_ACKNOWLEDGEMENTS:  # or a server that sends its answer in two pieces waits 40 ms for ours
                self._socket.setsockopt(socket.IPPROTO_TCP, _QUICK_ACKNOWLEDGEMENTS, 1)
            piece = self._socket.recv(65536)
            if not piece:
                raise BenchError("the server closed the connection")
            head += piece
        head, _, rest = head.partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        status = int(lines[0].split()[1])
        fields = {
            name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines[1:])
        }
        if fields.get(b"transfer-encoding", b"").lower() == b"chunked":
            return self._chunked(status, rest, keep)
        if b"content-length" not in fields and status == 200:
            return self._to_the_end(status, len(rest))
        length = int(fields.get(b"content-length", b"0"))
        kept = [rest] if keep else []
        left = length - len(rest)
        while left > 0:
            count = self._socket.recv_into(self._buffer, min(left, _BUFFER))
            if not count:
                raise BenchError("the server closed the connection in the middle of an answer")
            if keep:
                kept.append(bytes(self._buffer[:count]))
            left -= count
        return status, length, b"".join(kept)

    def _to_the_end(self, status: int, total: int) -> tuple[int, int, bytes]:
        """A body that ends with the connection; the next request has another one."""
        while count := self._socket.recv_into(self._buffer):
            total += count
        self._socket.close()
        self._socket = self._connected()
        return status, total, b""

    def _chunked(self, status: int, rest: bytes, keep: bool) -> tuple[int, int, bytes]:
        total, kept = 0, []
        while True:
            while b"\r\n" not in rest:
                rest += self._more()
            size_text, _, rest = rest.partition(b"\r\n")
            size = int(size_text.partition(b";")[0], 16)
            left = size + 2
            if keep:
                while len(rest) < left:
                    rest += self._more()
                kept.append(rest[:size])
                rest = rest[left:]
            elif len(rest) >= left:
                rest = rest[left:]
            else:
                left -= len(rest)
                rest = b""
                while left:
                    count = self._socket.recv_into(self._buffer, min(left, _BUFFER))
                    if not count:
                        raise BenchError("the server closed the connection in the middle of an answer")
                    left -= count
            total += size
            if not size:
                return status, total, b"".join(kept)

    def _more(self) -> bytes:
        piece = self._socket.recv(_BUFFER)
        if not piece:
            raise BenchError("the server closed the connection in the middle of an answer")
        return piece

    def close(self) -> None:
        """End it."""
        self._socket.close()


def get(path: str, **headers: str) -> Request:
    """A GET request."""
    lines = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1", *(f"{name}: {value}" for name, value in headers.items())]
    return ["\r\n".join([*lines, "", ""]).encode()]


def latencies(port: int, requests: Sequence[Request], *, least: int = 1) -> list[float]:
    """Milliseconds of each request, one after the other on one connection.

    Raises:
        BenchError: an answer is not 200, or has fewer bytes than `least`.
    """
    connection = Connection(port)
    times = []
    try:
        for request in requests:
            began = time.perf_counter()
            status, length, _ = connection.request(request)
            times.append((time.perf_counter() - began) * 1000)
            if status != 200 or length < least:
                raise BenchError(f"{request[0].splitlines()[0]!r} was answered with {status}, {length} bytes")
    finally:
        connection.close()
    return times


def load(port: int, work: Sequence[Sequence[Request]], check: Callable[[int], bool]) -> tuple[float, list[float]]:
    """Several connections at once, each with its own requests: wall seconds, and milliseconds of every request."""
    times: list[float] = []
    failures: list[str] = []

    def client(requests: Sequence[Request]) -> None:
        connection = Connection(port)
        try:
            for request in requests:
                began = time.perf_counter()
                status, _, body = connection.request(request, keep=len(request) > 1)
                times.append((time.perf_counter() - began) * 1000)
                if not check(status):
                    failures.append(f"{bytes(request[0]).splitlines()[0]!r}: {status} {body[:1000]!r}")
        except (OSError, BenchError) as error:
            failures.append(str(error))
        finally:
            connection.close()

    threads = [threading.Thread(target=client, args=(requests,)) for requests in work]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    if failures:
        raise BenchError(f"{len(failures)} requests failed: {failures[0]}")
    return seconds, times
