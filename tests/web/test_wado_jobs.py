"""Many retrieves. What servers do wrong: tests/cli/commands/test_wado.py."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from dcmkit.dataset.elements import element
from dcmkit.errors import ConnectError, ConnectionLostError, UsageError
from dcmkit.services.retrieve_jobs import Result
from dcmkit.services.retrieve_plan import Request
from dcmkit.services.retrieve_scu import Arrival, Counts
from dcmkit.web.http_client import HttpClient, Options
from dcmkit.web.qido_client import QidoClient
from dcmkit.web.repeating import Asker, Patience
from dcmkit.web.wado_jobs import Plan, Retrieval, request_of, target_of
from dcmkit.web.wado_targets import Target
from tests.web.dicomweb_peer import ROOT, Service, some
from tests.web.http_peer import peer, raw_peer, read_head


class Seen:
    def __init__(self) -> None:
        self.results: list[Result] = []
        self.arrivals: list[Arrival] = []

    def arrived(self, request: Request, arrival: Arrival) -> None:
        self.arrivals.append(arrival)

    def pending(self, request: Request, counts: Counts) -> None:
        raise AssertionError

    def finished(self, result: Result) -> None:
        self.results.append(result)


@pytest.mark.parametrize("target", [Target("1.2"), Target("1.2", "1.3"), Target("1.2", "1.3", "1.4")])
def test_requests_name_targets(target: Target) -> None:
    assert target_of(request_of(target, "x").identifier) == target


def test_a_request_has_a_study() -> None:
    with pytest.raises(UsageError):
        target_of({0x0020000E: element(0x0020000E, "1.2")})


def retrieved(fetch: object, count: int, jobs: int = 1) -> Seen:
    seen = Seen()
    objects = [one for number in range(1, count + 1) for one in some(2, f"1.2.{number}")]
    with peer(Service(objects)) as server:

        def make() -> Plan:
            asker = Asker(HttpClient(server.url, options=Options(proxy="")), Patience(0))
            return Plan(asker, QidoClient(asker, ROOT), fetch)  # type: ignore[arg-type]

        requests = [request_of(Target(f"1.2.{number}"), f"study {number}") for number in range(1, count + 1)]
        Retrieval(make, seen, jobs=jobs).run(requests)
    return seen


def whole(target: Target, take: object) -> str:
    numbers = [target.instance] if target.instance else [f"{target.study}.1.{n}" for n in (1, 2)]
    for uid in numbers:
        take(Arrival("1.2", uid, 0, "", ""))  # type: ignore[operator]
    return ""


@pytest.mark.parametrize("jobs", [1, 4])
def test_side_by_side(jobs: int) -> None:
    seen = retrieved(whole, 9, jobs)
    assert len(seen.results) == 9
    assert all(result.complete and len(result.stored) == 2 for result in seen.results)
    assert len(seen.arrivals) == 18


def test_what_comes_unasked_is_no_problem() -> None:
    def fetch(target: Target, take: object) -> str:
        take(Arrival("1.2", "9.9.9", 0, "", ""))  # type: ignore[operator]
        return whole(target, take)

    (result,) = retrieved(fetch, 1).results
    assert result.complete
    assert result.tally is not None
    assert result.tally.unasked_uids == ("9.9.9",)


def test_a_server_that_is_gone_is_asked_no_more() -> None:
    calls = []

    def fetch(target: Target, take: object) -> str:
        calls.append(target)
        raise ConnectError("gone")

    seen = retrieved(fetch, 5)
    assert len(seen.results) == 5
    assert not any(result.complete for result in seen.results)
    assert len(calls) == 1


def test_lost_in_the_middle() -> None:
    def fetch(target: Target, take: object) -> str:
        if target.instance:
            return whole(target, take)
        take(Arrival("1.2", f"{target.study}.1.1", 0, "", ""))  # type: ignore[operator]
        raise ConnectionLostError("cut")

    (result,) = retrieved(fetch, 1).results
    assert result.complete
    assert result.attempts == 2
    assert result.error is None


def test_an_observer_that_fails_ends_it() -> None:
    class Broken(Seen):
        def arrived(self, request: Request, arrival: Arrival) -> None:
            raise ZeroDivisionError

    with peer(Service(some(2))) as server:

        def make() -> Plan:
            asker = Asker(HttpClient(server.url, options=Options(proxy="")), Patience(0))
            return Plan(asker, QidoClient(asker, ROOT), whole)

        with pytest.raises(ZeroDivisionError):
            Retrieval(make, Broken()).run([request_of(Target("1.2.1"), "x")])


def test_an_interrupt_ends_what_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting = threading.Barrier(3)
    seen = Seen()

    def say_nothing(connection: socket.socket) -> None:
        read_head(connection)
        threading.Thread(target=waiting.wait, args=(10,), daemon=True).start()
        connection.recv(1)

    def interrupted(self: threading.Thread, timeout: float | None = None) -> None:
        if self.name == "retrieve" and timeout is None:
            waiting.wait(10)
            raise KeyboardInterrupt
        joined(self, timeout)

    joined = threading.Thread.join
    with raw_peers(say_nothing) as url:

        def make() -> Plan:
            asker = Asker(HttpClient(url, options=Options(proxy="")), Patience(0))
            return Plan(asker, QidoClient(asker, ROOT), whole)

        requests = [request_of(Target(f"1.2.{number}"), f"study {number}") for number in range(1, 9)]
        monkeypatch.setattr(threading.Thread, "join", interrupted)
        with pytest.raises(KeyboardInterrupt):
            Retrieval(make, seen, jobs=2).run(requests)
        monkeypatch.undo()
    assert len(seen.results) <= 2
    assert not [thread for thread in threading.enumerate() if thread.name == "retrieve"]


@contextlib.contextmanager
def raw_peers(handle: Callable[[socket.socket], None]) -> Iterator[str]:
    """As `raw_peer`, for connections side by side."""
    threads: list[threading.Thread] = []

    def in_thread(connection: socket.socket) -> None:
        own = connection.dup()

        def run() -> None:
            with own:
                handle(own)

        threads.append(threading.Thread(target=run))
        threads[-1].start()

    with raw_peer(in_thread) as url:
        yield url
    for thread in threads:
        thread.join(10)
