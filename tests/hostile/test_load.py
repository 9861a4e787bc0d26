"""Many connections and associations: threads, descriptors and memory stay flat (docs/hostile-inputs.md).

Bounded and quick; the full figures are those of `benchmarks/`.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dcmkit.errors import NetworkError
from dcmkit.net.listener import Listener
from dcmkit.services.storage import StorageSCP
from dcmkit.services.verification import echo
from dcmkit.settings import AssociationSettings, ListenerSettings
from tests.interop.process import Server, serving
from tests.net.server import Rude, assert_alive, associate, listening, rq
from tests.services.objects import CONTEXTS, EXPLICIT, begin, fresh_uid, image, site, store, storescp, until

pytestmark = pytest.mark.hostile


@pytest.fixture
def listener() -> Iterator[Listener]:
    association = AssociationSettings(calling_ae_title="SCP")
    with listening((StorageSCP(None),), association, ListenerSettings(max_associations=64)) as running:
        assert_alive(running.port)
        assert until(lambda: not associations())
        yield running
        assert_alive(running.port)


def associations() -> int:
    """The threads that serve one."""
    return sum(thread.name == "association" for thread in threading.enumerate())


def descriptors() -> int:
    """Open files, but for those of the index, which keeps a connection for each thread that ever read at a time."""
    if not os.path.isdir("/dev/fd"):
        pytest.skip("this system does not list open files")
    return sum("index.sqlite" not in name for name in map(_target, os.listdir("/dev/fd")))


def _target(descriptor: str) -> str:
    try:
        return os.readlink(f"/dev/fd/{descriptor}")
    except OSError:
        return ""  # the one by which they were listed


def resident(pid: int) -> int:
    """Bytes of memory a process holds."""
    try:
        status = Path(f"/proc/{pid}/statm").read_text()
    except OSError:
        pytest.skip("this system does not tell how much memory a process holds")
    return int(status.split()[1]) * os.sysconf("SC_PAGE_SIZE")


def at_rest(threads: int, files: int) -> bool:
    """Whether what came has gone again."""
    return until(lambda: threading.active_count() <= threads and descriptors() <= files)


def test_a_thousand_connections_that_come_and_go(listener: Listener) -> None:
    threads, files = threading.active_count(), descriptors()
    most = 0
    for number in range(1000):
        with socket.create_connection(("127.0.0.1", listener.port), 10) as sock:
            if number % 10 == 0:
                sock.sendall(b"\1\0\0\0\1\0")  # the beginning of a request
        most = max(most, threading.active_count())
    assert most == threads, "a connection that asks for nothing takes no thread"
    assert at_rest(threads, files)


def test_two_hundred_associations_one_after_the_other(listener: Listener) -> None:
    threads, files = threading.active_count(), descriptors()
    for number in range(200):
        association = associate(listener.port)
        assert echo(association) < 5
        if number % 3 == 0:
            association.abort()
        elif number % 3 == 1:
            association.close()
        else:
            association.release()
    assert at_rest(threads, files)


def test_associations_at_a_time_are_bounded(listener: Listener) -> None:
    threads, files = threading.active_count(), descriptors()
    taken, refused = [], 0
    for _ in range(100):
        try:
            taken.append(associate(listener.port))
        except NetworkError:
            refused += 1
    most = threading.active_count()
    for association in taken:
        assert echo(association) < 5
        association.release()
    assert (len(taken), refused) == (64, 36)
    assert most == threads + 64
    assert at_rest(threads, files)


def test_objects_cut_short_leave_nothing_behind(tmp_path: Path) -> None:
    with site(tmp_path) as here:
        assert here.send(image("1.2.3"), "1.2.3").status == 0
        assert until(lambda: not associations())
        threads, files = threading.active_count(), descriptors()
        for _ in range(60):
            association = here.associate()
            begin(association, fresh_uid())
            association.send_data_set(EXPLICIT, image("1.2.3")[:100], last=False)
            association.close()
        assert at_rest(threads, files)
        here.assert_sound()
        assert_alive(here.port)


def test_slow_peers_do_not_slow_the_others(listener: Listener) -> None:
    """A request at one byte at a time from many, while others come, store and go."""
    slow = [Rude(listener.port) for _ in range(40)]
    try:
        request = rq(CONTEXTS).encode()
        for byte in request[:60]:
            for rude in slow:
                rude.send(bytes((byte,)))
            if byte % 8 == 0:
                association = associate(listener.port, *CONTEXTS)
                assert store(association, image("1.2.3"), "1.2.3").status == 0
                association.release()
        for rude in slow:
            assert rude.send(request[60:]).read()[0] == 2
    finally:
        for rude in slow:
            rude.sock.close()


def test_memory_stays_flat(tmp_path: Path) -> None:
    """A server of its own: after a warm-up, hundreds of associations and refusals cost nothing that stays."""
    with storescp(tmp_path, "--durability", "none") as server:

        def work(rounds: int) -> None:
            for _ in range(rounds):
                association = associate(server.port, *CONTEXTS)
                uid = fresh_uid()
                assert store(association, image(uid, pixels=bytes(200_000)), uid).status == 0
                assert store(association, b"\xff" * 5000, uid).status == 0xC000
                association.release()
                socket.create_connection(("127.0.0.1", server.port), 10).close()

        work(60)
        before = resident(server.pid)
        work(150)
        assert resident(server.pid) - before < 8 * 1024 * 1024


def test_out_of_descriptors_and_well_again(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    assert resource

    def command(port: int) -> list[str]:
        server = [
            sys.executable,
            "-m",
            "dcmkit",
            "storescp",
            str(port),
            "-aet",
            "SCP",
            "-od",
            str(tmp_path / "archive"),
        ]
        return ["sh", "-c", 'ulimit -n 40; exec "$@"', "sh", *server]

    with serving("storescp", command, tmp_path) as server:
        hold_many(server)
        assert "cannot accept connections" in server.log_text()
        uid = fresh_uid()
        association = associate(server.port, *CONTEXTS)
        assert store(association, image(uid), uid).status == 0
        association.release()
        assert server.stop() == 0


def hold_many(server: Server) -> None:
    """Connections until the server has no descriptor left; then all go."""
    held = [socket.create_connection(("127.0.0.1", server.port), 10) for _ in range(80)]
    try:
        assert until(lambda: "cannot accept connections" in server.log_text())
    finally:
        for sock in held:
            sock.close()
