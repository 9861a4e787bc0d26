"""Reading again where that helps."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from dcmkit.errors import ConnectError, ConnectionLostError, ProtocolError
from dcmkit.web import repeating
from dcmkit.web.http_client import HttpClient, Options
from dcmkit.web.http_response import HttpStatusError
from dcmkit.web.repeating import Asker, Patience, bounded
from tests.web.http_peer import Reply, peer


@contextmanager
def asking(replies: list[Reply], patience: Patience | None = None) -> Iterator[tuple[Asker, list[float]]]:
    slept: list[float] = []
    with peer(replies) as server, HttpClient(server.url, options=Options(proxy="")) as client:
        yield Asker(client, patience or Patience(3, 0.2), sleep=slept.append), slept


def test_what_passes_is_asked_again() -> None:
    replies = [Reply(503), Reply(502), Reply(hang_up=True), Reply(200, b"well")]
    with asking(replies) as (asker, slept):
        assert asker.fetch("/x", "*/*")[1] == b"well"
    assert sum(slept) == pytest.approx(0.2 + 0.4)


def test_retry_after_is_obeyed_within_reason() -> None:
    replies = [Reply(503, headers=(("Retry-After", "2"),)), Reply(429, headers=(("Retry-After", "999"),)), Reply(200)]
    with asking(replies, Patience(2, 0.1, longest_wait=3)) as (asker, slept):
        asker.fetch("/x", "*/*")
    assert sum(slept) == pytest.approx(5.0)


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 406, 410, 500, 501])
def test_what_does_not_pass_is_not(status: int) -> None:
    with asking([Reply(status)]) as (asker, slept), pytest.raises(HttpStatusError) as caught:
        asker.get("/x", "*/*")
    assert (caught.value.status, slept) == (status, [])
    assert str(status) in caught.value.message


def test_patience_ends() -> None:
    with asking([Reply(503)], Patience(1, 0.01)) as (asker, _), pytest.raises(HttpStatusError):
        asker.get("/x", "*/*")
    with HttpClient("http://127.0.0.1:1", options=Options(proxy="")) as client, pytest.raises(ConnectError):
        Asker(client, Patience(0)).get("/", "*/*")


def test_who_is_stopped_does_not_wait() -> None:
    with peer([Reply(hang_up=True)]) as server, HttpClient(server.url, options=Options(proxy="")) as client:
        with pytest.raises(ConnectionLostError):
            Asker(client, Patience(9, 99), stopped=lambda: True).get("/", "*/*")
        assert len(server.requests) == 1


def test_what_is_compressed_may_not_grow_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repeating, "GROWTH", 1000)
    bomb = Reply(200, gzip.compress(b"\0" * 100_000), (("Content-Encoding", "gzip"),))
    with asking([bomb]) as (asker, _), pytest.raises(ProtocolError):
        list(bounded(asker.get("/", "*/*", identity=True)))
    with asking([Reply(200, b"x" * 5000)]) as (asker, _):
        assert sum(map(len, bounded(asker.get("/", "*/*", identity=True)))) == 5000


def test_warnings_are_safe_to_show() -> None:
    with asking([Reply(200, headers=(("Warning", "299 x \x1b[2J"),))]) as (asker, _):
        assert "\x1b" not in repeating.warnings(asker.get("/", "*/*"))
