"""Counts of requests, of one process and of several."""

from __future__ import annotations

import os
import time

import pytest

from dcmkit.web import counters as module
from dcmkit.web.counters import NO_ROUTE, OTHER, Counters, shared_file
from dcmkit.web.exchange import Reply, Request
from dcmkit.web.routes import Route


def handler(request: Request) -> Reply:
    return Reply()


ROUTES = (
    Route("GET", "/studies", handler, ("query",), "search", "", "Search"),
    Route("POST", "/studies", handler, ("store",), "store", "", "Store", stores=True),
)


def made(file: int = -1) -> Counters:
    counters = Counters(file)
    counters.begin(ROUTES)
    return counters


@pytest.mark.parametrize("shared", [False, True])
def test_what_is_counted(shared: bool) -> None:
    file = shared_file() if shared else -1
    counters = made(file)
    counters.count("search", "GET", 200, 100, 0, 0.001)
    counters.count("search", "GET", 404, 10, 0, 0.005)
    counters.count("search", "HEAD", 200, 0, 0, 0.3)
    counters.count("store", "POST", 503, 5, 1 << 40, 60.0)
    counters.count("unheard of", "GET", 200, 1, 0, 0.0)
    counters.count(NO_ROUTE, "BREW", 405, 1, 0, 0.0)
    uploads, found = counters.read()
    by = {(one.operation, one.method): one for one in found}
    assert uploads == 0
    assert list(by) == [(NO_ROUTE, "GET"), (NO_ROUTE, OTHER), ("search", "GET"), ("search", "HEAD"), ("store", "POST")]
    search = by["search", "GET"]
    assert search.statuses == {2: 1, 4: 1}
    assert (search.number, search.sent, search.received) == (2, 110, 0)
    assert search.seconds == pytest.approx(0.006)
    assert search.buckets == (2, 0, 0, 0, 0, 0, 0)
    assert by["search", "HEAD"].buckets == (0, 0, 0, 1, 0, 0, 0)
    assert by["store", "POST"].buckets == (0, 0, 0, 0, 0, 0, 1)
    assert by["store", "POST"].received == 1 << 40
    counters.close()
    counters.count("search", "GET", 200, 1, 1, 1.0)  # one that was still being answered
    if file >= 0:
        os.close(file)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_processes_add_up_and_follow_one_another() -> None:
    file = shared_file()
    receiver, sender = os.pipe()
    children = [_fork(file, receiver, sender) for _ in range(3)]
    counters = made(file)  # this one comes after them, or between
    os.close(receiver)
    counters.count("search", "GET", 200, 1, 0, 0.0)
    deadline = time.monotonic() + 20
    while counters.read()[1][0].number < 4 and time.monotonic() < deadline:
        os.sched_yield()
    uploads, (found,) = counters.read()
    assert (found.number, found.sent, uploads) == (4, 4, 3)
    os.close(sender)
    for pid in children:
        os.waitpid(pid, 0)
    length = os.fstat(file).st_size
    receiver, sender = os.pipe()
    again = _fork(file, receiver, sender)  # takes the place of one that is gone
    os.close(receiver)
    os.close(sender)
    os.waitpid(again, 0)
    uploads, (found,) = counters.read()
    assert (found.number, os.fstat(file).st_size) == (5, length)
    counters.close()
    os.close(file)


def _fork(file: int, receiver: int, sender: int) -> int:
    """A process that counts one request, and says that it stores; it ends with the pipe."""
    pid = os.fork()
    if pid:
        return pid
    try:
        os.close(sender)
        counters = made(file)
        counters.count("search", "GET", 200, 1, 0, 0.0)
        counters.storing(1)
        os.read(receiver, 1)
    finally:
        os._exit(0)


def test_without_a_file_to_share(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*arguments: object) -> int:
        raise OSError("no")

    monkeypatch.setattr(module.os, "memfd_create", none, raising=False)
    assert shared_file() == -1
    counters = made(-1)
    counters.storing(2)
    assert counters.read() == (2, [])


def test_a_file_that_cannot_be_used_is_none() -> None:
    receiver, sender = os.pipe()
    counters = made(receiver)
    counters.count("store", "POST", 200, 0, 1, 0.0)
    assert counters.read()[1][0].number == 1
    counters.close()
    os.close(receiver)
    os.close(sender)
