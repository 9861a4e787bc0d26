"""Bodies: in order, whole, and broken off when a file is not what it was."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dcmkit.web import http_body
from dcmkit.web.http_body import Answered, FileChangedError, FileRange, is_stale, length_of, send


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(5)
        theirs.settimeout(5)
        yield ours, theirs


def received(theirs: socket.socket) -> tuple[threading.Thread, list[bytes]]:
    found: list[bytes] = []

    def run() -> None:
        while data := theirs.recv(65536):
            found.append(data)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, found


@pytest.mark.parametrize("by_system", [True, False])
def test_pieces_arrive_in_order(
    pair: tuple[socket.socket, socket.socket], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_system: bool
) -> None:
    if not by_system:
        monkeypatch.setattr(http_body, "_SENDFILE", None)
    ours, theirs = pair
    content = os.urandom(3_000_000)
    path = tmp_path / "file"
    path.write_bytes(content)
    large = os.urandom(500_000)
    body = [b"a", b"b", FileRange(str(path), 10, 2_900_000), FileRange(str(path), 0, 0), memoryview(large), b"end"]
    thread, found = received(theirs)
    send(ours, body, 5.0)
    ours.shutdown(socket.SHUT_WR)
    thread.join()
    data = b"".join(found)
    assert data == b"ab" + content[10:2_900_010] + large + b"end"
    assert length_of(body) == len(data)


@pytest.mark.parametrize("by_system", [True, False])
def test_a_file_that_changed(
    pair: tuple[socket.socket, socket.socket], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_system: bool
) -> None:
    if not by_system:
        monkeypatch.setattr(http_body, "_SENDFILE", None)
    path = tmp_path / "file"
    path.write_bytes(b"short")
    for name in (str(path), str(tmp_path / "gone")):
        with pytest.raises(FileChangedError) as caught:
            send(pair[0], [FileRange(name, 0, 10)], 5.0)
        assert caught.value.path == name


def test_who_stops_reading_is_heard_or_given_up(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    with pytest.raises(TimeoutError):
        send(ours, [bytes(10_000_000)], 0.05)
    theirs.sendall(b"HTTP/1.1 413")
    with pytest.raises(Answered):
        send(ours, [bytes(10_000_000)], 5.0)


def test_a_stale_connection(pair: tuple[socket.socket, socket.socket]) -> None:
    assert not is_stale(pair[0])
    pair[1].close()
    assert is_stale(pair[0])
