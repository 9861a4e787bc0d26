"""Threads and worker processes that serve associations."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dcmkit.errors import (
    AssociationAbortedError,
    AssociationRejectedError,
    ListenError,
    NetworkError,
    OutputError,
    UsageError,
)
from dcmkit.net import transport
from dcmkit.net.association import Association
from dcmkit.net.dispatch import AssociationThreads, WorkerProcesses
from dcmkit.protocol.message import C_ECHO_RQ, C_ECHO_RSP
from dcmkit.services.application_entity import ApplicationEntity
from dcmkit.services.verification import VerificationSCP, echo
from dcmkit.settings import AssociationSettings, ListenerSettings
from dcmkit.uids import VERIFICATION
from tests.interop.process import wait_until
from tests.net.server import Rude, associate, listening, pdv, rq
from tests.net.worker_server import NOT_NOW, Server, workers

RQ = rq().encode()
ECHO = pdv(1, 3, C_ECHO_RQ(message_id=1, affected_sop_class_uid=VERIFICATION).encode())
ACCEPT, RELEASE_RP, ABORT = 2, 6, 7
SETTINGS = AssociationSettings(calling_ae_title="SCP")
AE = ApplicationEntity((VerificationSCP(),), SETTINGS, ListenerSettings())


def until(condition: Callable[[], bool]) -> None:
    assert wait_until(condition, 20)


# --- threads ---


class Side(Rude):
    """The requestor's end of a connection."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(20)
        self.sock = sock


class Threads:
    """An `AssociationThreads` whose associations are begun by hand."""

    def __init__(self, serve: Callable[[Association], None] = AE.serve, **how: float) -> None:
        self.ends = 0
        self.threads = AssociationThreads(AE.decide, serve, SETTINGS, limit=2, on_end=self._ended, **how)
        self._sides: list[Side] = []

    def _ended(self) -> None:
        self.ends += 1

    def begin(self, received: bytes = RQ) -> Side:
        near, far = socket.socketpair()
        side = Side(far)
        self._sides.append(side)
        self.threads.start(near, received)
        return side

    def close(self) -> None:
        for side in self._sides:
            side.sock.close()
        assert self.threads.join(20)


@pytest.fixture
def make() -> Iterator[Callable[..., Threads]]:
    before = transport._open_transports
    made: list[Threads] = []

    def make(*args: Callable[[Association], None], **how: float) -> Threads:
        made.append(Threads(*args, **how))
        return made[-1]

    yield make
    for threads in made:
        threads.close()
    assert transport._open_transports <= before


def test_associations_run_side_by_side_up_to_the_limit(make: Callable[..., Threads]) -> None:
    threads = make()
    first = threads.begin()
    assert not threads.threads.full()
    second = threads.begin(RQ + ECHO)
    assert threads.threads.full()
    assert (second.read()[0], second.read()[0]) == (ACCEPT, 4)
    assert first.read()[0] == ACCEPT
    first.send(bytes.fromhex("05000000000400000000"))
    assert first.read()[0] == RELEASE_RP
    first.sock.close()
    until(lambda: threads.ends == 1)
    until(lambda: not threads.threads.full())


def test_nothing_of_it_is_watched(make: Callable[..., Threads]) -> None:
    threads = make().threads
    assert list(threads.watched()) == []
    assert threads.join(0.001)


@pytest.mark.parametrize(
    ("failure", "level", "words"),
    [
        (NetworkError("gone"), logging.WARNING, "association with  ended: gone"),
        (OutputError("full"), logging.ERROR, "association ended: full"),
        (
            ZeroDivisionError("oops"),
            logging.ERROR,
            "association ended by a defect in dcmkit: ZeroDivisionError('oops')",
        ),
    ],
)
def test_however_it_fails_it_ends(
    make: Callable[..., Threads], caplog: pytest.LogCaptureFixture, failure: Exception, level: int, words: str
) -> None:
    def serve(association: Association) -> None:
        raise failure

    threads = make(serve)
    side = threads.begin()
    assert [side.read()[0], side.read()[0]] == [ACCEPT, 0]
    until(lambda: threads.ends == 1)
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [(level, words)]


def test_a_defect_before_the_answer_closes_the_connection(caplog: pytest.LogCaptureFixture) -> None:
    before = transport._open_transports

    def decide(_: object) -> object:
        raise ZeroDivisionError

    near, far = socket.socketpair()
    threads = AssociationThreads(decide, AE.serve, SETTINGS, limit=1)  # type: ignore[arg-type]
    threads.start(near, RQ)
    assert Side(far).read() == (0, b"")
    far.close()
    assert threads.join(20)
    assert "a defect in dcmkit" in caplog.text
    assert transport._open_transports <= before


def test_a_peer_that_breaks_the_protocol_at_once(
    make: Callable[..., Threads], caplog: pytest.LogCaptureFixture
) -> None:
    threads = make()
    side = threads.begin(RQ[:74] + b"\x10\0\xff\xff" + RQ[78:])  # an item that runs past the PDU
    assert side.read()[0] == ABORT
    side.sock.close()
    until(lambda: threads.ends == 1)
    assert "association with a peer ended" in caplog.text


def test_no_thread_to_be_had(make: Callable[..., Threads], monkeypatch: pytest.MonkeyPatch) -> None:
    threads = make()

    def refuse(_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    for _ in range(3):
        near, far = socket.socketpair()
        with near, far, pytest.raises(RuntimeError):
            threads.threads.start(near, RQ)
    monkeypatch.undo()
    assert threads.ends == 3
    assert not threads.threads.full()
    assert threads.begin().read()[0] == ACCEPT


def test_an_idle_association_is_ended_in_time(make: Callable[..., Threads], caplog: pytest.LogCaptureFixture) -> None:
    threads = make(idle_timeout=0.05)
    side = threads.begin(RQ + ECHO)
    assert [side.read()[0] for _ in range(3)] == [ACCEPT, 4, ABORT]
    side.sock.close()
    until(lambda: threads.ends == 1)
    assert "silent for 0.05 s" in caplog.text


def test_stopping_lets_the_busy_finish(make: Callable[..., Threads]) -> None:
    threads = make()
    idle, busy = threads.begin(), threads.begin(RQ + ECHO[:20])
    assert (idle.read()[0], busy.read()[0]) == (ACCEPT, ACCEPT)
    until(lambda: any(a._protocol.in_message for a in list(threads.threads._associations)))
    threads.threads.stop()
    assert idle.read()[0] == ABORT
    assert not threads.threads.join(0.01)
    busy.send(ECHO[20:])
    assert [busy.read()[0], busy.read()[0]] == [4, ABORT]


def test_whoever_comes_after_stop_is_not_kept(make: Callable[..., Threads]) -> None:
    threads = make()
    threads.threads.stop()
    side = threads.begin()
    assert [side.read()[0], side.read()[0]] == [ACCEPT, ABORT]


# --- worker processes, in this process ---


def no_workers() -> WorkerProcesses:
    return WorkerProcesses(0, lambda _: pytest.fail("a worker"), lambda: None, limit=5)


def test_systems_without_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "fork", raising=False)
    with pytest.raises(UsageError, match=r"POSIX system \(leave --workers at 1\)"):
        no_workers()


def test_a_system_that_allows_no_more_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    def fork() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    before = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    monkeypatch.setattr(os, "fork", fork)
    with pytest.raises(ListenError, match="cannot start 2 worker processes: Resource temporarily"):
        WorkerProcesses(2, lambda _: pytest.fail("a worker"), lambda: None, limit=5)
    if sys.platform == "linux":
        assert len(os.listdir("/proc/self/fd")) == before


def test_without_a_living_worker_nobody_is_served() -> None:
    near, far = socket.socketpair()
    with near, far, pytest.raises(OSError, match="no worker process is alive"):
        no_workers().start(near, RQ)
    assert near.fileno() == -1


class Served:
    """Stands for the threads of a worker."""

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.refuse = False

    def start(self, sock: socket.socket, received: bytes) -> None:
        if self.refuse:
            raise RuntimeError("can't start new thread")
        sock.close()
        self.got.append(received)

    def stop(self) -> None:
        self.got.append(b"stop")

    def join(self, timeout: float) -> bool:
        return True


class WorkerHere:
    """The worker's side of `WorkerProcesses`, in a thread of this process."""

    def __init__(self) -> None:
        self.served = Served()
        self.left = False
        processes = no_workers()
        processes._make_threads = lambda _: self.served  # type: ignore[assignment, return-value]
        processes._leave = self._leave
        self.parent, channel = socket.socketpair()
        self.parent.settimeout(20)
        self._thread = threading.Thread(target=processes._work, args=(channel,))
        self._channel = channel
        self._thread.start()
        assert self.parent.recv(1) == b"r"

    def _leave(self) -> None:
        self.left = True

    def hand_over(self, data: bytes) -> None:
        near, far = socket.socketpair()
        with near, far:
            socket.send_fds(self.parent, [data], [near.fileno()])

    def tell(self, what: bytes) -> None:
        """As the worker, to its parent."""
        self._channel.send(what)

    def end(self) -> list[bytes]:
        self.parent.close()
        self._thread.join(20)
        assert not self._thread.is_alive()
        self._channel.close()
        assert self.left
        return self.served.got


def test_a_worker_takes_connections_until_its_parent_stops() -> None:
    worker = WorkerHere()
    worker.hand_over(b"\0\0\0\3abc")
    worker.hand_over(b"\0\0")
    worker.parent.sendall(b"\0\2x")
    worker.parent.sendall(b"y")
    assert worker.end() == [b"abc", b"xy", b"stop"]


@pytest.mark.parametrize("half", [b"", b"\0\0", b"\0\0\0\3ab"])
def test_a_parent_that_dies_while_handing_over(half: bytes) -> None:
    worker = WorkerHere()
    if half:
        worker.hand_over(half)
    worker.tell(b"e")  # not heard any more: the system calls the end a reset
    assert worker.end() == [b"stop"]


def test_a_worker_out_of_descriptors_or_threads_lives_on(caplog: pytest.LogCaptureFixture) -> None:
    worker = WorkerHere()
    worker.parent.sendall(b"\0\0\0\1a")  # the descriptor was lost on the way
    assert worker.parent.recv(1) == b"e"
    worker.served.refuse = True
    worker.hand_over(b"\0\0\0\1b")
    until(lambda: "can't start new thread" in caplog.text)
    worker.served.refuse = False
    worker.hand_over(b"\0\0\0\1c")
    assert worker.end() == [b"c", b"stop"]
    assert "out of file descriptors" in caplog.text


# --- worker processes ---


needs_proc = pytest.mark.skipif(
    not Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").exists(), reason="no /proc to look for children in"
)
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


def who_answers(association: Association) -> int:
    """The process that answers a C-ECHO on this association."""
    association.send(1, C_ECHO_RQ(message_id=association.next_message_id(), affected_sop_class_uid=VERIFICATION))
    received = association.receive()
    assert received is not None
    assert isinstance(received.message, C_ECHO_RSP)
    return int(received.message.error_comment or 0)


def is_gone(pid: int) -> bool:
    """Whether a process has ended with all its threads, waited for or not."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
        return len(threads) < 2 and Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


@needs_proc
def test_associations_are_spread_evenly_and_the_limit_is_for_all(tmp_path: Path) -> None:
    with workers(tmp_path, 3, limit=9) as server:
        associations = [server.associate() for _ in range(9)]
        by_process = [who_answers(association) for association in associations]
        assert sorted(set(by_process)) == sorted(server.workers())
        assert {by_process.count(pid) for pid in by_process} == {3}
        with pytest.raises(AssociationRejectedError, match="local limit"):
            server.associate()
        for association in associations:
            if who_answers(association) == by_process[0]:
                association.release()

        def let_in_again() -> bool:
            """The parent has heard of all three ends, so the freed worker gets all three newcomers."""
            newcomers = []
            try:
                while len(newcomers) < 3:
                    newcomers.append(server.associate())
                return {who_answers(newcomer) for newcomer in newcomers} == {by_process[0]}
            except AssociationRejectedError:
                return False
            finally:
                for newcomer in newcomers:
                    newcomer.abort()  # the parent may still hear of it late, too

        until(let_in_again)
        children = server.workers()
        server.terminate()
        assert server.wait() == 0
        assert server.log.count(" leaves") == 3
        assert all(is_gone(pid) for pid in children)


@needs_proc
def test_a_worker_that_dies_is_replaced_and_the_others_go_on(tmp_path: Path) -> None:
    with workers(tmp_path) as server:
        first, second = server.associate(), server.associate()
        dying, living = who_answers(first), who_answers(second)
        with server.rude() as visitor:
            visitor.send(RQ[:30])  # in the lobby while the new worker is made
            os.kill(dying, signal.SIGKILL)
            with pytest.raises(NetworkError):
                who_answers(first)
            assert who_answers(second) == living
            until(lambda: dying not in server.workers() and len(server.workers()) == 2)
            (new,) = set(server.workers()) - {living}
            third = server.associate()
            assert who_answers(third) == new
            held = [os.path.realpath(f"/proc/{new}/fd/{fd}") for fd in os.listdir(f"/proc/{new}/fd")]
            sockets = [name for name in held if "socket" in name]
            assert len(sockets) == 2, held  # its parent and the third association, nothing of the visitor
            assert not [name for name in held if "epoll" in name]
        assert f"worker process {dying} died and is replaced" in server.log
        assert f"mourning {dying}" in server.log
        for association in (second, third):
            association.release()
        server.terminate()
        assert server.wait() == 0


@needs_proc
def test_a_connection_goes_to_another_when_a_worker_has_just_died(tmp_path: Path) -> None:
    with workers(tmp_path) as server:
        server.associate().release()
        server.terminate(signal.SIGSTOP)  # it does not hear of the death
        for pid in server.workers()[:1]:
            os.kill(pid, signal.SIGKILL)
            until(lambda pid=pid: is_gone(pid))
        sides = [server.rude().send(RQ) for _ in range(4)]
        server.terminate(signal.SIGCONT)
        assert [side.read()[0] for side in sides] == [ACCEPT] * 4
        server.close()
        server.terminate()
        assert server.wait() == 0


@needs_proc
def test_workers_that_cannot_begin_are_not_begun_again_and_again(tmp_path: Path) -> None:
    with workers(tmp_path) as server:
        associations = [server.associate(), server.associate()]
        processes = set(map(who_answers, associations))
        assert len(processes) == 2
        (tmp_path / NOT_NOW).touch()
        for pid in processes:
            os.kill(pid, signal.SIGKILL)
        until(lambda: server.log.count("is replaced") == 2 and server.log.count("before it was ready") >= 2)
        until(lambda: not server.workers())
        with server.rude() as visitor:
            visitor.send(RQ)
            assert visitor.read()[0] == 0
        until(lambda: server.log.count("before it was ready") >= 4)
        assert server.log.count("before it was ready") <= 5  # of the first two, one may have been tried twice
        (tmp_path / NOT_NOW).unlink()
        assert who_answers(server.associate()) in server.workers()
        server.close()
        server.terminate()
        assert server.wait() == 0


@needs_proc
def test_workers_let_the_busy_finish(tmp_path: Path) -> None:
    with workers(tmp_path) as server:
        idle = server.associate()
        who_answers(idle)
        busy = in_a_message(server)
        server.terminate(signal.SIGINT)
        with pytest.raises(AssociationAbortedError):
            idle.receive()
        busy.send(ECHO[20:])
        assert [busy.read()[0], busy.read()[0]] == [4, ABORT]
        server.close()
        assert server.wait() == 0


def in_a_message(server: Server) -> Rude:
    """A requestor that has begun a message, and its worker knows."""
    witnesses = [server.associate(), server.associate()]
    busy = server.rude().associate().send(ECHO[:20])
    until(lambda: not unread_bytes(busy.sock))
    assert all(map(who_answers, witnesses))  # each worker has had its turn since
    for witness in witnesses:
        witness.release()
    return busy


def unread_bytes(sock: socket.socket) -> int:
    """How many bytes the other end, on this machine, has not read yet."""
    near, far = (f"0100007F:{port:04X}" for port in (sock.getsockname()[1], sock.getpeername()[1]))
    for line in Path("/proc/net/tcp").read_text().splitlines():
        _, local, remote, _, queues, *_ = line.split()
        if (local, remote) == (far, near):
            return int(queues.partition(":")[2], 16)
    raise AssertionError("no such connection")


def refuses_connections(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 10).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        pass  # it was closed in between
    return False


@needs_proc
@pytest.mark.parametrize("again", [False, True])
def test_who_does_not_finish_is_dropped_in_the_end_or_at_the_second_signal(tmp_path: Path, again: bool) -> None:
    with workers(tmp_path, grace=60.0 if again else 0.2) as server:
        busy = in_a_message(server)
        children = server.workers()
        server.terminate()
        if again:
            until(lambda: refuses_connections(server.port))
            server.terminate()
        assert busy.read()[0] == 0
        assert server.wait() == 0
        until(lambda: all(is_gone(pid) for pid in children))
        assert ("stopped again" if again else "still busy") in server.log


@needs_proc
def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    with workers(tmp_path) as server:
        association = server.associate()
        who_answers(association)
        children = server.workers()
        server.process.kill()
        with pytest.raises(AssociationAbortedError):
            association.receive()
        until(lambda: all(is_gone(pid) for pid in children))


def test_threads_of_one_process_stop_when_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "dcmkit")
    with listening() as listener:
        association = associate(listener.port)
        assert echo(association) < 5
        association.abort()
    assert "peer aborted the association" in caplog.text
