"""A DICOMweb server over an archive of its own, and a client that keeps no rule."""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from dcmkit.settings import ArchiveSettings
from dcmkit.web.server import Running, serve_web
from dcmkit.web.settings import WebSettings
from tests.archive.objects import part10
from tests.interop.process import Server, listens, serving

ROOT = "/dicom-web"
STUDY, SERIES = "1.2.3.1", "1.2.3.2"
HEALTH = b"GET /dicom-web/health HTTP/1.1\r\nHost: here\r\n\r\n"
SETTINGS = WebSettings(web_bind=("127.0.0.1",), grace=10.0)
BOUNDARY = "hostile-boundary"
MULTIPART = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'


class Answer(NamedTuple):
    """What came back; status 0 where the connection ended without."""

    status: int
    headers: dict[str, str]
    body: bytes


class Site:
    """A server in a thread of this process.

    Attributes:
        root: of its archive.
    """

    def __init__(self, running: Running, root: Path) -> None:
        self.running, self.root = running, root
        self.port: int = running.port

    def incoming(self) -> list[Path]:
        """What is on its way in."""
        return [
            path for path in (self.root / ".dcmkit" / "incoming").rglob("*") if path.is_file() and path.name != "owner"
        ]


@contextlib.contextmanager
def site(root: Path, settings: WebSettings = SETTINGS, *, durability: str = "none") -> Iterator[Site]:
    """A server in a thread, healthy at the end, and with nothing on its way in."""
    ready: list[Running] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            serve_web(
                0, settings, ArchiveSettings(output_directory=str(root), durability=durability), on_ready=ready.append
            )
        except BaseException as error:
            failures.append(error)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dcmkit.services.server.tune", lambda: None)
        thread = threading.Thread(target=run, name="site")
        thread.start()
        try:
            assert until(lambda: ready or failures)
            assert not failures, failures
            running = Site(ready[0], root)
            yield running
            assert_well(running.port)
            assert until(lambda: not running.incoming())
        finally:
            for one in ready:
                one.stop()
            thread.join(30)
            assert not thread.is_alive()
    assert failures == []


@contextlib.contextmanager
def process(
    directory: Path, *options: str, shell: str = "", ready: Callable[[int], bool] = listens
) -> Iterator[Server]:
    """A server in a process of its own; `shell` are commands before it begins, limits for example."""

    def command(port: int) -> Sequence[str]:
        words = [sys.executable, "-m", "dcmkit", "web", "serve", str(port), "-od", str(directory / "archive"),
                 "--bind", "127.0.0.1", *options]  # fmt: skip
        return ["sh", "-c", f'{shell}; exec "$@"', "sh", *words] if shell else words

    with serving("web", command, directory, ready=listens) as server:
        yield server


def until(condition: Callable[[], object], seconds: float = 20.0) -> bool:
    """Whether it becomes true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        threading.Event().wait(0.01)
    return True


def connect(port: int, timeout: float = 30.0) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout)


def all_of(sock: socket.socket) -> bytes:
    """Until the other side closes, in whatever way."""
    data = b""
    with contextlib.suppress(ConnectionError):
        while block := sock.recv(1 << 16):
            data += block
    return data


def say(port: int, *pieces: bytes, half_close: bool = False) -> bytes:
    """Everything that is answered until the server closes. What it does not want to hear any more is not said."""
    with connect(port) as sock:
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                sock.sendall(piece)
            if half_close:
                sock.shutdown(socket.SHUT_WR)
        return all_of(sock)


def statuses(answer: bytes) -> list[int]:
    """Of all answers in what came."""
    return [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]


def ask(
    port: int,
    method: str,
    path: str,
    body: bytes | Iterator[bytes] | None = None,
    headers: dict[str, str] | None = None,
) -> Answer:
    """One request, below the root of the service. The server may refuse it before it is said."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        with contextlib.suppress(ConnectionError):
            connection.request(method, ROOT + path, body=body, headers=headers or {})
        try:
            found = connection.getresponse()
            return Answer(found.status, {name.lower(): value for name, value in found.getheaders()}, found.read())
        except (ConnectionError, http.client.HTTPException):
            return Answer(0, {}, b"")
    finally:
        connection.close()


def assert_well(port: int, seconds: float = 2.0) -> None:
    """Whether somebody else is answered, and soon."""
    began = time.monotonic()
    assert ask(port, "GET", "/health").status == 200
    assert time.monotonic() - began < seconds


def multipart(*parts: bytes, kind: str = "application/dicom", end: bool = True) -> bytes:
    """A body of parts."""
    head = f"--{BOUNDARY}\r\nContent-Type: {kind}\r\n\r\n".encode()
    return b"".join(head + part + b"\r\n" for part in parts) + (f"--{BOUNDARY}--\r\n".encode() if end else b"")


def store(port: int, *parts: bytes, content_type: str = MULTIPART, path: str = "/studies") -> Answer:
    """Objects, or what is said to be."""
    return ask(port, "POST", path, multipart(*parts), {"Content-Type": content_type})


def instance(uid: str) -> str:
    """The path of one."""
    return f"/studies/{STUDY}/series/{SERIES}/instances/{uid}"


def seed(port: int, *uids: str) -> None:
    """Small images in the archive."""
    assert store(port, *(part10(uid) for uid in uids)).status == 200


def resident(pid: int) -> int:
    """Bytes of memory a process holds that are its own: not of files it has mapped."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        pytest.skip("this system does not tell how much memory a process holds")
    found = {line.split(":")[0]: line.split() for line in status.splitlines()}
    return int(found["RssAnon"][1]) << 10


def whole_resident(pid: int) -> int:
    """Bytes of memory a process holds, its code too."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def descriptors(pid: int | str = "self") -> int:
    """Open files, but for those of the index, of which each thread that ever read has one."""
    place = f"/proc/{pid}/fd"
    if not os.path.isdir(place):
        pytest.skip("this system does not list open files")
    names = []
    for name in os.listdir(place):
        with contextlib.suppress(OSError):
            names.append(os.readlink(f"{place}/{name}"))
    return sum("index.sqlite" not in name for name in names)
