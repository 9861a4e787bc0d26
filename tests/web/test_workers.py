"""Worker processes: they serve, they are replaced, and none is left."""

from __future__ import annotations

import os
import selectors
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from dcmkit.errors import UsageError
from dcmkit.web.workers import READY, Workers

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork"),
    # pytest-timeout and other plug-ins have threads; what is forked here does nothing with what they hold
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]


def obedient(channel: socket.socket) -> None:
    channel.send(READY)
    channel.recv(1)


def wait(workers: Workers, condition: Callable[[], bool]) -> None:
    """Serve the channels until something is the case."""
    while not condition():
        with selectors.DefaultSelector() as selector:
            for sock in workers.watched():
                selector.register(sock, selectors.EVENT_READ)
            found = [key.fileobj for key, _ in selector.select(20)]
        assert found
        for sock in found:
            assert isinstance(sock, socket.socket)
            workers.ready(sock)


def test_they_end_when_they_are_told() -> None:
    workers = Workers(2, obedient)
    wait(workers, lambda: workers.all_ready)
    pids = workers.pids
    assert len(set(pids)) == 2
    workers.stop()
    assert workers.join(20)
    assert workers.watched() == []
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_one_that_dies_is_replaced() -> None:
    dead: list[int] = []
    workers = Workers(2, obedient, on_death=dead.append)
    wait(workers, lambda: workers.all_ready)
    first = workers.pids[0]
    os.kill(first, signal.SIGKILL)
    wait(workers, lambda: first not in workers.pids and workers.all_ready)
    assert dead == [first]
    assert len(workers.pids) == 2
    workers.stop()
    assert workers.join(20)


def test_one_that_dies_at_once_is_not_tried_all_the_time(tmp_path: Path) -> None:
    def dying(channel: socket.socket) -> None:
        with open(tmp_path / "tries", "a") as file:
            file.write("x")
        os._exit(3)

    workers = Workers(1, dying)
    first = workers.pids[0]
    wait(workers, lambda: first not in workers.pids)
    workers.stop()  # the next one is waiting, and is not kept to it
    assert workers.join(20)
    assert (tmp_path / "tries").read_text() == "x"


def test_who_does_not_listen_is_killed() -> None:
    def deaf(channel: socket.socket) -> None:
        channel.send(READY)
        while True:
            signal.pause()

    workers = Workers(1, deaf)
    wait(workers, lambda: workers.all_ready)
    workers.stop()
    assert not workers.join(0.2)
    assert workers.pids == []


def test_what_is_inherited_is_closed(tmp_path: Path) -> None:
    mine, theirs = socket.socketpair()
    workers = Workers(1, obedient, inherited=lambda: [mine])
    wait(workers, lambda: workers.all_ready)
    mine.close()
    assert theirs.recv(1) == b""  # nobody else holds it
    theirs.close()
    workers.stop()
    assert workers.join(20)


def test_a_defect_ends_one_with_a_code() -> None:
    def broken(channel: socket.socket) -> None:
        raise RuntimeError("a defect")

    workers = Workers(1, broken)
    workers.stop()
    workers.join(20)
    assert workers.pids == []


def test_without_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "fork")
    with pytest.raises(UsageError, match="POSIX"):
        Workers(2, obedient)
