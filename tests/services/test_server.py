"""From settings to a running service, and its end in order."""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dcmkit.errors import AssociationRejectedError, ListenError, OutputDirectoryError, UsageError
from dcmkit.net.listener import Listener
from dcmkit.services import server
from dcmkit.services.application_entity import ApplicationEntity
from dcmkit.services.delivery import StoreTransport
from dcmkit.services.forwarding import Policy, Target
from dcmkit.services.server import Forwards, serve_storage
from dcmkit.services.spool import DEAD, Spool
from dcmkit.services.verification import VerificationSCP, echo
from dcmkit.settings import ArchiveSettings, AssociationSettings, ListenerSettings, RequestorSettings
from tests.net.server import assert_alive, associate
from tests.services.objects import (
    CONTEXTS,
    CT,
    EXPLICIT,
    PRIVATE,
    PRIVATE_SOP_CLASS,
    answer,
    begin,
    fresh_uid,
    image,
    implicit_image,
    store,
    storescp,
    until,
)

ASSOCIATION = AssociationSettings(calling_ae_title="SCP")
LOOPBACK = ListenerSettings(bind=("127.0.0.1",))


@contextmanager
def running(archive: ArchiveSettings | None, listener: ListenerSettings = LOOPBACK, **how: Any) -> Iterator[Listener]:
    """A service in a thread."""
    ready: list[Listener] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            serve_storage(0, listener, ASSOCIATION, archive, on_ready=ready.append, **how)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert until(lambda: bool(ready or failures))
        assert not failures, failures
        yield ready[0]
    finally:
        for service in ready:
            service.stop()
        thread.join(20)
        assert not thread.is_alive()
    assert failures == []


def files(root: Path) -> list[Path]:
    """The objects below a directory, in which others may remove what they like meanwhile."""
    found = [Path(directory, name) for directory, _, names in os.walk(root) for name in names]
    return sorted(path for path in found if path.suffix == ".dcm" and ".dcmkit" not in path.parts)


def test_objects_go_into_the_archive(tmp_path: Path) -> None:
    uid = fresh_uid()
    with running(ArchiveSettings(output_directory=str(tmp_path / "archive"))) as service:
        association = associate(service.port, *CONTEXTS)
        assert echo(association) < 5
        assert store(association, image(uid), uid).status == 0
        association.release()
    assert [path.name for path in files(tmp_path)] == [f"{uid}.dcm"]
    assert list((tmp_path / "archive" / ".dcmkit" / "incoming").iterdir()) == []  # it left in order


def test_without_an_archive_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with running(None) as service:
        association = associate(service.port, *CONTEXTS)
        assert store(association, image("1.2.3"), "1.2.3").status == 0
        association.release()
    assert list(tmp_path.iterdir()) == []


def test_only_known_classes_where_asked(tmp_path: Path) -> None:
    for known_only in (False, True):
        with running(None, known_only=known_only) as service:
            association = associate(service.port, *CONTEXTS)
            assert (PRIVATE in association.contexts.contexts) is not known_only
            assert EXPLICIT in association.contexts.contexts
            association.release()


def test_the_settings_of_the_listener_hold() -> None:
    with (
        running(None, LOOPBACK.replace(check_called_ae_title=True)) as service,
        pytest.raises(AssociationRejectedError, match="called AE title"),
    ):
        associate(service.port, called_ae_title="OTHER")
    with running(None, LOOPBACK.replace(max_associations=1)) as service:
        first = associate(service.port)
        with pytest.raises(AssociationRejectedError, match="local limit"):
            associate(service.port)
        first.release()


def test_both_families_by_default() -> None:
    with running(None, ListenerSettings()) as service:
        for address in ("127.0.0.1", "::1"):
            if address == "::1" and not socket.has_dualstack_ipv6():
                continue
            socket.create_connection((address, service.port), 5).close()
        assert_alive(service.port)


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        archive = ArchiveSettings(output_directory=str(tmp_path / "archive"))
        with pytest.raises(ListenError, match=f"cannot listen on port {port}"):
            serve_storage(port, LOOPBACK, ASSOCIATION, archive, on_ready=pytest.fail)
    assert list(tmp_path.iterdir()) == []


def test_an_archive_that_cannot_be_leaves_the_port_free(tmp_path: Path) -> None:
    (tmp_path / "archive").write_bytes(b"a file")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    archive = ArchiveSettings(output_directory=str(tmp_path / "archive"))
    with pytest.raises(OutputDirectoryError):
        serve_storage(port, LOOPBACK, ASSOCIATION, archive, on_ready=pytest.fail)
    with pytest.raises(UsageError, match="layout"):
        serve_storage(port, LOOPBACK, ASSOCIATION, archive.replace(layout="../{PatientID}/{x"), on_ready=pytest.fail)
    with socket.create_server(("127.0.0.1", port)):
        pass


def test_an_object_on_its_way_is_finished_when_the_service_stops(tmp_path: Path) -> None:
    uid = fresh_uid()
    data = image(uid, pixels=bytes(1_000_000))
    with running(ArchiveSettings(output_directory=str(tmp_path))) as service:
        association = associate(service.port, *CONTEXTS)
        begin(association, uid)
        association.send_data_set(EXPLICIT, data[:500_000], last=False)
        incoming = tmp_path / ".dcmkit" / "incoming"
        assert until(lambda: any(path.name != "owner" for path in incoming.rglob("*") if path.is_file()))
        service.stop()
        association.send_data_set(EXPLICIT, data[500_000:], last=True)
        assert answer(association).status == 0
        association.close()
    assert [path.name for path in files(tmp_path)] == [f"{uid}.dcm"]


# --- passing on ---


def forwards(port: int, *, delete: bool = False) -> Forwards:
    settings = RequestorSettings(calling_ae_title="ROUTER", called_ae_title="SCP", dimse_timeout=15.0)
    target = Target(f"127.0.0.1:{port}", StoreTransport("127.0.0.1", port, settings))
    return Forwards([target], Policy(longest_delay=0.05), delete)


def send(port: int, *uids: str) -> None:
    association = associate(port, *CONTEXTS)
    for uid in uids:
        assert store(association, image(uid), uid).status == 0
    association.release()


def test_what_is_stored_is_passed_on(tmp_path: Path) -> None:
    uids = [fresh_uid() for _ in range(3)]
    router, archive = (ArchiveSettings(output_directory=str(tmp_path / name)) for name in ("router", "archive"))
    with running(archive) as last, running(router, forwards=forwards(last.port)) as first:
        send(first.port, *uids)
        assert until(lambda: len(files(tmp_path / "archive")) == 3)
    for name in ("router", "archive"):
        assert [path.name for path in files(tmp_path / name)] == [f"{uid}.dcm" for uid in uids]


def test_a_router_keeps_nothing_and_loses_nothing(tmp_path: Path) -> None:
    uids = [fresh_uid() for _ in range(3)]
    router, archive = (ArchiveSettings(output_directory=str(tmp_path / name)) for name in ("router", "archive"))
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]  # nobody will be there yet
    spool = Spool(router.output_directory)
    with running(router, forwards=forwards(port, delete=True)) as first:
        send(first.port, *uids)
        assert until(lambda: spool.held(f"127.0.0.1:{port}").failures > 0)
    assert len(files(tmp_path / "router")) == 3
    with running(archive) as last:
        again = forwards(last.port, delete=True)
        with spool._writing() as connection:  # the same peer, at another port
            connection.execute("UPDATE entry SET destination = ?", (again.targets[0].name,))
        spool.close()
        with running(router, forwards=again):
            assert until(lambda: not files(tmp_path / "router") and len(files(tmp_path / "archive")) == 3)


def test_what_the_next_refuses_is_a_dead_letter_and_the_rest_arrives(tmp_path: Path) -> None:
    uids = [fresh_uid() for _ in range(2)]
    router, archive = (ArchiveSettings(output_directory=str(tmp_path / name)) for name in ("router", "archive"))
    spool = Spool(router.output_directory)
    with running(archive, known_only=True) as last, running(router, forwards=forwards(last.port)) as first:
        association = associate(first.port, *CONTEXTS)
        private = implicit_image(uids[0]).replace(CT.encode() + b"\0", PRIVATE_SOP_CLASS.encode().ljust(26, b"\0"))
        assert store(association, private, uids[0], context_id=PRIVATE).status == 0
        assert store(association, image(uids[1]), uids[1]).status == 0
        association.release()
        assert until(lambda: len(files(tmp_path / "archive")) == 1)
        assert until(lambda: [entry.state for entry in spool.entries()] == [DEAD])
        (entry,) = spool.entries()
        assert entry.sop_instance_uid == uids[0]
        assert "no presentation context" in entry.reason
        spool.close()


# --- as a process ---


def children(pid: int) -> list[int]:
    """The processes a process has started."""
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    if not listed.exists():
        pytest.skip("this system does not list child processes")
    return [int(number) for number in listed.read_text().split()]


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it_in_order(tmp_path: Path, number: signal.Signals, workers: str) -> None:
    uid = fresh_uid()
    with storescp(tmp_path, "--workers", workers) as started:
        idle = associate(started.port)
        association = associate(started.port, *CONTEXTS)
        assert store(association, image(uid), uid).status == 0
        association.release()
        os.kill(started.pid, number)
        assert started.process.wait(20) == 0
        idle.close()
        assert "defect" not in started.log_text()
    assert [path.name for path in files(tmp_path)] == [f"{uid}.dcm"]
    assert list((tmp_path / "archive" / ".dcmkit" / "incoming").iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a POSIX system")
def test_workers_share_the_port_and_a_dead_one_is_replaced(tmp_path: Path) -> None:
    with storescp(tmp_path, "--workers", "2") as started:
        before = children(started.pid)
        assert len(before) == 2
        associations = [associate(started.port, *CONTEXTS) for _ in range(4)]
        for association in associations:
            uid = fresh_uid()
            assert store(association, image(uid), uid).status == 0
            begin(association, fresh_uid())
            association.send_data_set(EXPLICIT, image("1.2.3")[:100], last=False)
        os.kill(before[0], signal.SIGKILL)
        assert until(lambda: before[0] not in children(started.pid) and len(children(started.pid)) == 2)
        for association in associations:
            association.close()
        for _ in range(4):
            assert_alive(started.port)
        assert f"worker process {before[0]} died and is replaced" in started.log_text()
        incoming = tmp_path / "archive" / ".dcmkit" / "incoming"
        assert until(lambda: [p for p in incoming.rglob("*") if p.is_file() and p.name != "owner"] == [])
        assert started.stop() == 0
    assert len(files(tmp_path)) == 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a POSIX system")
def test_one_of_several_workers_passes_on_and_another_takes_over(tmp_path: Path) -> None:
    with running(ArchiveSettings(output_directory=str(tmp_path / "last"))) as last:
        options = ("--workers", "2", "--forward", f"SCP@127.0.0.1:{last.port}", "--forward-max-delay", "0.05")
        with storescp(tmp_path, *options) as started:
            for round_ in range(3):
                for _ in range(4):
                    send(started.port, fresh_uid())
                assert until(lambda: len(files(tmp_path / "last")) == 4 * (round_ + 1))  # noqa: B023
                if round_ < 2:
                    victim = children(started.pid)[0]
                    os.kill(victim, signal.SIGKILL)
                    assert until(lambda: victim not in children(started.pid) and len(children(started.pid)) == 2)  # noqa: B023
            assert started.stop() == 0
            assert "defect" not in started.log_text()


def test_the_process_is_tuned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    interval = sys.getswitchinterval()
    resource = pytest.importorskip("resource")
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        server.tune()
        assert sys.getswitchinterval() < interval
        assert gc.get_freeze_count() > 0
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == limit[1]
    finally:
        sys.setswitchinterval(interval)
        gc.unfreeze()
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)


class Fellow:
    """A companion that writes down what is asked of it; it has a socket to be watched."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.asked: list[str] = []
        self.failure = failure
        self.mine, self.theirs = socket.socketpair()
        self.heard = threading.Event()

    def begin(self, processes: server.Processes | None) -> None:
        self.asked.append("begin" if processes is None else f"begin {processes.number}")
        if self.failure is not None:
            raise self.failure

    def held(self) -> list[socket.socket]:
        return [self.mine, self.theirs]

    def watched(self) -> list[socket.socket]:
        return [self.mine]

    def ready(self, sock: socket.socket) -> None:
        sock.recv(1)
        self.heard.set()

    def stop(self) -> None:
        self.asked.append("stop")

    def join(self, timeout: float) -> bool:
        self.asked.append("join")
        return True

    def close(self) -> None:
        self.mine.close()
        self.theirs.close()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_companion_begins_and_ends_with_it(workers: int) -> None:
    fellow = Fellow()
    listener = LOOPBACK.replace(workers=workers)
    ae = ApplicationEntity((VerificationSCP(),), ASSOCIATION, listener)

    def on_ready(service: Listener) -> None:
        def meanwhile() -> None:
            fellow.theirs.send(b"x")
            if fellow.heard.wait(20):
                assert_alive(service.port)
            service.stop()

        if workers == 1:
            threading.Thread(target=meanwhile).start()
        else:
            service.stop()

    server.serve(0, listener, ASSOCIATION, ae, (), companion=fellow, on_ready=on_ready)
    assert fellow.asked == ["begin" if workers == 1 else "begin 2", "stop", "join"]
    assert fellow.heard.is_set() == (workers == 1)
    fellow.close()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_companion_that_cannot_begin(workers: int) -> None:
    fellow = Fellow(UsageError("it cannot"))
    listener = LOOPBACK.replace(workers=workers)
    ae = ApplicationEntity((VerificationSCP(),), ASSOCIATION, listener)
    with pytest.raises(UsageError, match="it cannot"):
        server.serve(0, listener, ASSOCIATION, ae, (), companion=fellow, on_ready=lambda _: None)
    fellow.close()
