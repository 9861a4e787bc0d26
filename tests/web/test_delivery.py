"""STOW-RS as a way to a destination: what answers mean for the spool, and a forwarder that uses it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dcmkit.archive.store import Archive
from dcmkit.errors import ConnectError, InputError, NetworkError, UsageError
from dcmkit.services.delivery import DELIVERED, FAILED, GONE, REFUSED, Outcome, Transport
from dcmkit.services.forwarding import Forwarder, Forwarding, Policy, Target
from dcmkit.services.sending import Sent
from dcmkit.services.spool import Spool
from dcmkit.settings import ArchiveSettings
from dcmkit.web import delivery
from dcmkit.web.delivery import StowTransport, outcome_of_stow
from dcmkit.web.http_body import FileChangedError
from dcmkit.web.http_client import Options
from dcmkit.web.http_response import HttpStatusError
from tests.services.objects import fresh_uid, until
from tests.services.test_forwarding import commit
from tests.web.http_peer import Reply, Request, peer
from tests.web.test_stow_client import answer, everything, files, refusing, uid_of, uids

DIRECT = Options(proxy="")


def never() -> bool:
    return False


def delivered(url: str, paths: list[str], stopped: Callable[[], bool] = never) -> dict[str, Outcome]:
    found: dict[str, Outcome] = {}
    transport: Transport = StowTransport(url, options=DIRECT)
    transport.deliver(paths, found.__setitem__, stopped)
    return found


def test_delivery(tmp_path: Path) -> None:
    paths = files(tmp_path, 3)
    with peer(everything) as server:
        assert delivered(server.url + "/dicom-web", paths) == dict.fromkeys(paths, Outcome(DELIVERED))
    assert sorted(uid for request in server.requests for uid in uids(request)) == sorted(map(uid_of, paths))


def test_what_cannot_be_delivered(tmp_path: Path) -> None:
    good, bad = files(tmp_path, 2)
    text, none = tmp_path / "text", tmp_path / "none"
    text.write_text("no DICOM " * 100)
    with peer(refusing([uid_of(bad)], 400, b"Doe^Jane")) as server:
        found = delivered(server.url, [str(text), good, str(none), bad])
    assert {path: outcome.kind for path, outcome in found.items()} == {
        str(text): REFUSED, str(none): GONE, good: DELIVERED, bad: REFUSED,
    }  # fmt: skip
    assert "Doe" in found[bad].reason
    assert not any("Doe" in outcome.told for outcome in found.values())


@pytest.mark.parametrize(("reason", "kind"), [(0xA700, FAILED), (0x0110, FAILED), (0xC000, REFUSED), (0x0122, REFUSED)])
def test_failure_reasons(tmp_path: Path, reason: int, kind: str) -> None:
    (path,) = files(tmp_path, 1)
    with peer([Reply(409, answer([], {uid_of(path): reason}))]) as server:
        (outcome,) = delivered(server.url, [path]).values()
    assert (outcome.kind, f"({reason:04X}H)" in outcome.told) == (kind, True)


def test_a_server_that_does_not_want_us_is_no_reason_to_give_an_object_up(tmp_path: Path) -> None:
    paths = files(tmp_path, 2)
    for status in (401, 403, 404):
        with peer([Reply(status)]) as server, pytest.raises(NetworkError):
            delivered(server.url, paths)


def test_a_busy_server_is_left_alone_at_once_when_all_stops(tmp_path: Path) -> None:
    paths = files(tmp_path, 1)
    with peer([Reply(503, b"", (("Retry-After", "1000"),))]) as server:
        assert delivered(server.url, paths, lambda: bool(server.requests)) == {}


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (HttpStatusError("500", status=500), FAILED),
        (HttpStatusError("too large", status=413), REFUSED),
        (FileChangedError("shorter", "x"), FAILED),
        (InputError("no permission"), REFUSED),
        (ConnectError("nobody there"), "untried"),
    ],
)
def test_errors(tmp_path: Path, error: NetworkError, kind: str) -> None:
    path = tmp_path / "there"
    path.write_bytes(b"")
    assert outcome_of_stow(Sent(str(path), "1.2", "1.3", None, "why", 0.0, 0, False, error)).kind == kind


def test_a_url_that_is_none() -> None:
    with pytest.raises(UsageError):
        StowTransport("pacs:8042")


def test_through_the_spool_while_the_server_has_its_moods(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not know us, hangs up, answers nonsense, fails, and is well: everything arrives, and nothing is left."""
    monkeypatch.setattr(delivery, "LONGEST_WAIT", 0.0)
    arrived: set[str] = set()
    moods = [Reply(401), Reply(hang_up=True), Reply(200, b"<html>hello</html>"), Reply(500)]

    def handle(request: Request) -> Reply:
        if moods:
            return moods.pop(0)
        arrived.update(uids(request))
        return everything(request)

    with peer(handle) as server, Archive(ArchiveSettings(output_directory=str(tmp_path))) as archive:
        spool = Spool(str(tmp_path))
        target = Target("web", StowTransport(server.url, options=DIRECT))
        forwarder = Forwarder(spool, [target], Policy(attempts=50, longest_delay=0.05)).open()
        forwarder.start()
        door = Forwarding(archive, forwarder)
        stored = {fresh_uid() for _ in range(4)}
        for uid in stored:
            commit(door, uid)
        assert until(lambda: not spool.counts("web"))
        forwarder.close()
        spool.close()
    assert arrived == stored
