"""Forked worker processes."""

from __future__ import annotations

import os
import signal
import socket
import warnings
from collections.abc import Callable
from typing import NamedTuple

import pytest

from dcmkit.net import processes

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


class Worker(NamedTuple):
    pid: int
    channel: socket.socket


def start(work: Callable[[socket.socket], None], *held: socket.socket) -> Worker:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # pytest's own threads
        return Worker(*processes.fork(work, lambda: held, "test worker"))


def until_told(channel: socket.socket) -> None:
    channel.sendall(b"r")
    while channel.recv(1):
        pass


def test_workers_end_when_they_are_told() -> None:
    workers = [start(until_told) for _ in range(2)]
    assert [worker.channel.recv(1) for worker in workers] == [b"r", b"r"]
    processes.stop(workers)
    assert processes.join(workers, 30.0)
    for worker in workers:
        with pytest.raises(ChildProcessError):
            os.waitpid(worker.pid, 0)


def test_who_does_not_end_in_time_is_killed() -> None:
    def stubborn(channel: socket.socket) -> None:
        channel.sendall(b"r")
        signal.pause()

    worker = start(stubborn)
    assert worker.channel.recv(1) == b"r"
    processes.stop([worker])
    assert not processes.join([worker], 0.05)


def test_what_the_parent_holds_is_closed_first() -> None:
    mine, theirs = socket.socketpair()

    def work(channel: socket.socket) -> None:
        channel.sendall(b"closed" if theirs.fileno() < 0 else b"open")

    worker = start(work, theirs)
    assert worker.channel.recv(10) == b"closed"
    assert processes.join([worker], 30.0)
    mine.close()
    theirs.close()


def test_a_worker_that_fails_ends() -> None:
    def fails(channel: socket.socket) -> None:
        raise RuntimeError("a defect")

    worker = start(fails)
    assert worker.channel.recv(1) == b""
    worker.channel.close()
    assert os.waitstatus_to_exitcode(os.waitpid(worker.pid, 0)[1]) == 1


def test_stopping_the_dead_does_no_harm() -> None:
    worker = start(lambda channel: None)
    assert worker.channel.recv(1) == b""
    processes.stop([worker])
    assert processes.join([worker], 30.0)
