"""The listener: where it binds, whom it lets in, whom it sends away, and its end."""

from __future__ import annotations

import errno
import logging
import os
import selectors
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from dcmkit.errors import AssociationRejectedError, ListenError
from dcmkit.net import listener as module
from dcmkit.net.listener import Listener, bind
from dcmkit.protocol.message import C_ECHO_RQ
from dcmkit.services.verification import echo
from dcmkit.settings import ListenerSettings
from dcmkit.uids import VERIFICATION
from tests.interop.process import wait_until
from tests.net.server import Rude, assert_alive, associate, listening, pdv, rq

RQ = rq().encode()
HALF = RQ[:40]
ECHO = pdv(1, 3, C_ECHO_RQ(message_id=1, affected_sop_class_uid=VERIFICATION).encode())


class Dispatcher:
    """Takes connections and keeps them; holds the listener's loop while `go` is not set."""

    def __init__(self) -> None:
        self.started: list[tuple[socket.socket, bytes]] = []
        self.is_full = False
        self.fail_with: Exception | None = None
        self.go = threading.Event()
        self.go.set()
        self.held = threading.Event()
        self.calls: list[str] = []

    def full(self) -> bool:
        return self.is_full

    def start(self, sock: socket.socket, received: bytes) -> None:
        if self.fail_with is not None:
            raise self.fail_with
        self.started.append((sock, received))

    def watched(self) -> tuple[socket.socket, ...]:
        if not self.go.is_set():
            self.held.set()
            self.go.wait(20)
        return ()

    def ready(self, sock: socket.socket) -> None:
        raise AssertionError("nothing is watched")

    def stop(self) -> None:
        self.calls.append("stop")

    def join(self, timeout: float) -> bool:
        self.calls.append(f"join {timeout:g}")
        for sock, _ in self.started:
            sock.close()
        return True


@contextmanager
def running(
    dispatcher: Dispatcher, sockets: list[socket.socket] | None = None, *, artim: float = 30.0
) -> Iterator[Listener]:
    listener = Listener(sockets or bind(("127.0.0.1",), 0), dispatcher, artim=artim)
    thread = threading.Thread(target=listener.run)
    thread.start()
    try:
        yield listener
    finally:
        dispatcher.go.set()
        listener.stop()
        thread.join(20)
        assert not thread.is_alive()
        for sock, _ in dispatcher.started:
            sock.close()


def until(condition: Callable[[], bool]) -> None:
    assert wait_until(condition, 20)


def is_closed(sock: socket.socket) -> bool:
    """Whether the other end closes within the socket's own timeout."""
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


# --- binding ---


def close(sockets: list[socket.socket]) -> list[tuple[int, str, int]]:
    """Family, address and port of each, then closed."""
    found = [(sock.family, *sock.getsockname()[:2]) for sock in sockets]
    for sock in sockets:
        sock.close()
    return found


def test_all_addresses_of_both_families_by_default() -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("no dual stack here")
    dispatcher = Dispatcher()
    with running(dispatcher, bind((), 0)) as listener:
        for number, host in enumerate(("127.0.0.1", "::1"), 1):
            with socket.create_connection((host, listener.port), 10) as sock:
                sock.sendall(RQ)
                until(lambda number=number: len(dispatcher.started) == number)
    assert [received for _, received in dispatcher.started] == [RQ, RQ]


def test_several_addresses_share_a_port_the_system_chose() -> None:
    try:
        found = close(bind(("127.0.0.1", "[::1]", "127.0.0.1"), 0))
    except ListenError as error:
        pytest.skip(str(error))
    assert [where[:2] for where in found] == [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
    assert len({port for _, _, port in found}) == 1


def test_all_addresses_of_a_name_that_this_machine_has(monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(host: str, port: int, **_: object) -> list[tuple[int, int, int, str, tuple[object, ...]]]:
        assert host == "pacs"
        addresses = ["203.0.113.9", "127.0.0.1", "127.0.0.1"]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    assert [where[1] for where in close(bind(("pacs",), 0))] == ["127.0.0.1"]


def test_ipv6_switched_off_leaves_ipv4(monkeypatch: pytest.MonkeyPatch) -> None:
    create = socket.create_server

    def without_ipv6(address: tuple[str, int], *, family: int = socket.AF_INET, **how: object) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
        return create(address, family=family, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: True)
    monkeypatch.setattr(socket, "create_server", without_ipv6)
    assert [where[:2] for where in close(bind((), 0))] == [(socket.AF_INET, "0.0.0.0")]
    monkeypatch.setattr(socket, "has_dualstack_ipv6", lambda: False)
    assert [where[0] for where in close(bind((), 0))] == [socket.AF_INET]


def test_a_port_taken_is_refused_even_if_only_for_ipv6() -> None:
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        try:
            other = socket.create_server((address, 0), family=family)
        except OSError as error:
            pytest.skip(f"{address}: {error}")
        with other:
            port = other.getsockname()[1]
            for where in ((), (address,)):
                with pytest.raises(ListenError, match=rf"cannot listen on port {port}.*in use \(another program"):
                    bind(where, port)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("203.0.113.9", r"of 203\.0\.113\.9: .* \(the address given with --bind is not one of this machine\)"),
        ("a..b", r"of a\.\.b: it cannot be a host name"),
    ],
)
def test_addresses_that_cannot_be(address: str, words: str) -> None:
    with pytest.raises(ListenError, match=words):
        bind(("127.0.0.1", address), 0)


def test_what_the_system_says_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    failures = [PermissionError(errno.EACCES, "x"), socket.gaierror(socket.EAI_NONAME, "Name not known")]
    for failure, words in zip(failures, (r"denied \(ports below 1024 need more rights", "Name not known"), strict=True):

        def fail(*_: object, failure: Exception = failure, **__: object) -> None:
            raise failure

        monkeypatch.setattr(socket, "create_server" if failure is failures[0] else "getaddrinfo", fail)
        with pytest.raises(ListenError, match=words):
            bind(("127.0.0.1",), 104)


# --- who is let in ---


def test_whoever_asks_is_handed_over_with_all_it_said() -> None:
    dispatcher = Dispatcher()
    with running(dispatcher) as listener, Rude(listener.port) as eager, Rude(listener.port) as slow:
        slow.send(RQ[:5])
        eager.send(RQ + b"and more")
        until(lambda: len(dispatcher.started) == 1)
        slow.send(RQ[5:10]).send(RQ[10:])
        until(lambda: len(dispatcher.started) == 2)
    assert [received for _, received in dispatcher.started] == [RQ + b"and more", RQ]


def test_the_limit_rejects_and_lets_in_again() -> None:
    with listening(settings=ListenerSettings(max_associations=2)) as listener:
        first, second = associate(listener.port), associate(listener.port)
        with pytest.raises(AssociationRejectedError, match="local limit exceeded") as caught:
            associate(listener.port)
        assert (caught.value.result, caught.value.source, caught.value.reason) == (2, 3, 2)
        assert echo(first) < 5
        first.release()

        def let_in() -> bool:
            try:
                associate(listener.port).release()
            except AssociationRejectedError:
                return False
            return True

        until(let_in)
        second.release()


def test_the_rejected_are_gone_soon_although_they_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LEAVING", 0.02)
    dispatcher = Dispatcher()
    dispatcher.is_full = True
    with running(dispatcher) as listener, Rude(listener.port) as rude, Rude(listener.port) as waiting:
        waiting.send(HALF)
        assert rude.send(RQ).read()[0] == 3
        rude.send(b"what they say now is not heard")
        until(lambda: len(listener._lobby) == 1)
        dispatcher.is_full = False
        waiting.send(RQ[40:])
        until(lambda: bool(dispatcher.started))


def test_when_nobody_can_serve_the_connection_is_closed(caplog: pytest.LogCaptureFixture) -> None:
    dispatcher = Dispatcher()
    dispatcher.fail_with = RuntimeError("can't start new thread")
    with running(dispatcher) as listener:
        with Rude(listener.port) as rude:
            assert is_closed(rude.send(RQ).sock)
        dispatcher.fail_with = None
        with Rude(listener.port) as rude:
            rude.send(RQ)
            until(lambda: bool(dispatcher.started))
    assert "cannot serve an association from 127.0.0.1: can't start new thread" in caplog.text


# --- who is sent away ---


def test_the_lobby_sends_the_oldest_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOBBY_SIZE", 3)
    with running(Dispatcher()) as listener:
        visitors = [Rude(listener.port) for _ in range(5)]
        assert is_closed(visitors[0].sock)
        assert is_closed(visitors[1].sock)
        assert len(listener._lobby) == 3
        for visitor in visitors:
            visitor.sock.close()


class DoorFirst(selectors.DefaultSelector):
    """Tells of new connections before anything else."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return sorted(super().select(timeout), key=lambda found: found[0].data != "accept")


def test_whoever_is_sent_away_while_speaking_is_no_longer_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection that fills the lobby and the words of the one that leaves it arrive in the same moment."""
    monkeypatch.setattr(module, "LOBBY_SIZE", 1)
    monkeypatch.setattr(selectors, "DefaultSelector", DoorFirst)
    dispatcher = Dispatcher()
    with running(dispatcher) as listener, Rude(listener.port) as old:
        until(lambda: len(listener._lobby) == 1)
        dispatcher.go.clear()
        old.send(RQ[:1])  # the loop goes round, and stops
        assert dispatcher.held.wait(20)
        with Rude(listener.port) as new:
            old.send(RQ[1:])
            dispatcher.go.set()
            assert is_closed(old.sock)
            new.send(RQ)
            until(lambda: bool(dispatcher.started))
    assert len(dispatcher.started) == 1


def test_artim_ends_many_silent_visitors(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "dcmkit.net")
    with running(Dispatcher(), artim=0.05) as listener:
        visitors = [Rude(listener.port) for _ in range(50)]
        for visitor in visitors:
            assert is_closed(visitor.sock)
            visitor.sock.close()
        until(lambda: not listener._lobby)
    assert caplog.text.count("127.0.0.1 asked for no association in time") == 50


@pytest.mark.parametrize("artim", [0, 1e9, 1e300])
def test_artim_may_be_never(artim: float) -> None:
    dispatcher = Dispatcher()
    with running(dispatcher, artim=artim) as listener, Rude(listener.port) as rude:
        rude.send(HALF)
        until(lambda: any(visitor.data for visitor in listener._lobby.values()))
        rude.send(RQ[40:])
        until(lambda: bool(dispatcher.started))


def test_health_checks_cost_nothing() -> None:
    descriptors = f"/proc/{os.getpid()}/fd"
    if not os.path.isdir(descriptors):
        pytest.skip("no /proc here")
    with listening() as listener:
        threads = threading.active_count()
        assert_alive(listener.port)
        until(lambda: threading.active_count() <= threads)  # the association's own has ended
        before = len(os.listdir(descriptors))
        for number in range(300):
            sock = socket.create_connection(("127.0.0.1", listener.port), 10)
            if number % 3 == 1:
                sock.sendall(HALF)
            if number % 3 == 2:
                reset(sock)
            sock.close()
            assert threading.active_count() <= threads
        until(lambda: not listener._lobby and len(os.listdir(descriptors)) <= before)
        assert_alive(listener.port)


# --- out of descriptors ---


class Exhausted(socket.socket):
    """A listening socket of a process that is out of descriptors for a while."""

    failures = 2

    def accept(self) -> tuple[socket.socket, object]:
        if self.failures:
            self.failures -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


def test_out_of_descriptors_pauses_and_makes_room(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_PAUSE", 0.02)
    listening_socket = Exhausted()
    listening_socket.bind(("127.0.0.1", 0))
    listening_socket.listen()
    listening_socket.failures = 0
    dispatcher = Dispatcher()
    with running(dispatcher, [listening_socket]) as listener, Rude(listener.port) as waiting:
        until(lambda: len(listener._lobby) == 1)
        listening_socket.failures = 2
        with Rude(listener.port) as late:
            late.send(RQ)
            assert is_closed(waiting.sock)
            until(lambda: bool(dispatcher.started))
    assert caplog.text.count("cannot accept connections: Too many open files") == 2


def test_a_visitor_that_went_before_it_was_accepted() -> None:
    class Gone(Exhausted):
        def accept(self) -> tuple[socket.socket, object]:
            if self.failures:
                self.failures -= 1
                raise ConnectionAbortedError(errno.ECONNABORTED, "Software caused connection abort")
            return socket.socket.accept(self)

    sock = Gone()
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    dispatcher = Dispatcher()
    with running(dispatcher, [sock]) as listener, Rude(listener.port) as rude:
        rude.send(RQ)
        until(lambda: bool(dispatcher.started))


# --- the end ---


def test_stopping_closes_the_door_and_empties_the_lobby() -> None:
    dispatcher = Dispatcher()
    with running(dispatcher) as listener, Rude(listener.port) as silent, Rude(listener.port) as half:
        half.send(HALF)
        until(lambda: len(listener._lobby) == 2)
        listener.stop()
        assert is_closed(silent.sock)
        assert is_closed(half.sock)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", listener.port), 10)
    assert dispatcher.calls == ["stop", "join 60"]
    listener.stop()  # once more, too late


def someone_is_in_a_message(listener: Listener) -> bool:
    associations = listener._dispatcher._associations  # type: ignore[attr-defined]
    return any(association._protocol.in_message for association in list(associations))


def test_a_message_in_progress_is_answered_first() -> None:
    with listening() as listener, Rude(listener.port) as busy, Rude(listener.port) as idle:
        idle.associate()
        busy.associate().send(ECHO[:20])
        until(lambda: someone_is_in_a_message(listener))
        listener.stop()
        assert idle.read()[0] == 7
        busy.send(ECHO[20:])
        assert busy.read()[0] == 4
        assert busy.read()[0] == 7


def test_who_is_busy_for_too_long_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    with listening(grace=0.02) as listener:
        rude = Rude(listener.port).associate()
        rude.send(ECHO[:20])
        until(lambda: someone_is_in_a_message(listener))
        listener.stop()
    assert "associations were still busy after 0.02 s and are dropped" in caplog.text
    with rude:
        pass
    until(lambda: all(thread.name != "association" for thread in threading.enumerate()))
