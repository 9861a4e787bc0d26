"""Sockets on loopback: everything goes out, nothing waits for ever, and systems without the niceties work too."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import socket
import struct
import threading
from collections.abc import Iterator
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcmkit.errors import ConnectError, ConnectionLostError, PeerTimeoutError
from dcmkit.net import transport as module
from dcmkit.net.transport import SPIN, Transport, _after, _timeval, connect

Pair = tuple[Transport, socket.socket]


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Two connected TCP sockets."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname(), 10)
        far, _ = server.accept()
    for sock in (near, far):
        sock.settimeout(20)
    return near, far


@pytest.fixture
def pair() -> Iterator[Pair]:
    near, far = tcp_pair()
    transport = Transport(near)
    yield transport, far
    transport.close()
    far.close()


def receive_exactly(sock: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        piece = sock.recv(1 << 20)
        assert piece
        data += piece
    return bytes(data)


def send_much(transport: Transport) -> None:
    """More than any socket buffer holds."""
    for _ in range(1000):
        transport.send([bytes(100_000), bytes(100_000)])


# --- connecting ---


def test_connect_to_ipv4_and_ipv6() -> None:
    for address in ("127.0.0.1", "::1", "[::1]"):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        try:
            server = socket.create_server((address.strip("[]"), 0), family=family)
        except OSError as error:
            pytest.skip(f"{address}: {error}")
        with server, connect(address, server.getsockname()[1], 5) as sock:
            assert sock.gettimeout() is None


def test_every_address_of_a_name_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_server(("127.0.0.1", 0)) as closed:
        dead = closed.getsockname()
        closed.close()
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", where) for where in (dead, server.getsockname())]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_: found)
        connect("two-addresses", 104, 5).close()


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(ConnectError, match=rf"nothing listens on 127\.0\.0\.1:{port} \(check the port"):
        connect("127.0.0.1", port, 5)


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (
            socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
            "no address found for 'pacs'.*check",
        ),
        (TimeoutError(), r"no answer from pacs:104 \(is the host up"),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), "cannot connect to pacs:104: .*unreachable"),
        (OverflowError("port must be 0-65535"), "cannot connect to pacs:104: port must be"),
    ],
)
def test_what_went_wrong_is_said(monkeypatch: pytest.MonkeyPatch, failure: Exception, words: str) -> None:
    def fail(*_: object) -> None:
        raise failure

    monkeypatch.setattr(socket, "create_connection", fail)
    with pytest.raises(ConnectError, match=words):
        connect("pacs", 104, 5)


@pytest.mark.parametrize("name", ["a..b", "x" * 70])
def test_what_cannot_be_a_name(name: str) -> None:
    with pytest.raises(ConnectError, match="cannot be a host name"):
        connect(name, 104, 5)


def test_any_timeout_will_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        connect("127.0.0.1", server.getsockname()[1], 1e300).close()
        connect("127.0.0.1", server.getsockname()[1], 0).close()


# --- options ---


def test_the_options_dimse_needs(pair: Pair) -> None:
    transport, _ = pair
    assert transport.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert transport.sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert transport.sock.gettimeout() is None
    assert transport.peer_address == "127.0.0.1"


def test_an_ipv4_peer_of_a_dual_stack_socket_is_called_by_its_ipv4_address() -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("no dual stack here")
    with (
        socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True) as server,
        socket.create_connection(("127.0.0.1", server.getsockname()[1])),
    ):
        transport = Transport(server.accept()[0])
        assert transport.peer_address == "127.0.0.1"
        transport.close()


def test_a_socket_that_is_gone_already_is_taken() -> None:
    near, far = tcp_pair()
    near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    near.close()
    transport = Transport(far, 5)
    with contextlib.suppress(ConnectionLostError):
        assert not transport.receive_into(memoryview(bytearray(10)))
    transport.close()


@pytest.mark.parametrize("seconds", [0, 1e-9, 0.25, 60, 1e8, 1e300, float("inf")])
def test_timeouts_fit_the_system(pair: Pair, seconds: float) -> None:
    transport, _ = pair
    transport.set_receive_timeout(seconds)
    set_to = struct.unpack("@ll", transport.sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, 16))
    assert (set_to == (0, 0)) == (seconds in (0, float("inf")))
    if 0.25 <= seconds <= 1e8:
        assert abs(set_to[0] + set_to[1] / 1e6 - seconds) < 0.02


def test_timeouts_of_windows_are_milliseconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "win32")
    assert [_timeval(seconds) for seconds in (0, 1e-9, 1.5)] == [0, 1, 1500]
    assert 0 < int(_timeval(1e300)) < 2**31


# --- receiving ---


def test_receive_until_the_peer_closes(pair: Pair) -> None:
    transport, far = pair
    view = memoryview(bytearray(10))
    far.sendall(b"hello")
    assert transport.receive_into(view) == 5
    assert view[:5] == b"hello"
    far.close()
    assert transport.receive_into(view) == 0


def test_silence_ends(pair: Pair) -> None:
    transport, _ = pair
    transport.set_receive_timeout(0.02)
    with pytest.raises(PeerTimeoutError, match=r"silent for 0\.02 s"):
        transport.receive_into(memoryview(bytearray(10)))


def test_a_reset_connection_is_lost(pair: Pair) -> None:
    transport, far = pair
    far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    far.close()
    with pytest.raises(ConnectionLostError, match="connection lost: "):
        transport.receive_into(memoryview(bytearray(10)))


def test_after_close_everything_says_lost(pair: Pair) -> None:
    transport, _ = pair
    transport.close()
    view = memoryview(bytearray(10))
    for attempt in (
        lambda: transport.receive_into(view),
        lambda: transport.send([b"x"]),
        lambda: transport.set_receive_timeout(1),
    ):
        with pytest.raises(ConnectionLostError):
            attempt()
    transport.acknowledge()
    transport.interrupt()
    transport.close()


def test_interrupt_wakes_a_waiting_receiver(pair: Pair) -> None:
    transport, _ = pair
    got: list[int] = []
    thread = threading.Thread(target=lambda: got.append(transport.receive_into(memoryview(bytearray(10)))))
    thread.start()
    transport.interrupt()
    thread.join(20)
    assert got == [0]


def test_readable_tells_without_waiting(pair: Pair) -> None:
    transport, far = pair
    assert not transport.readable()
    far.sendall(b"x")
    transport.set_receive_timeout(20)
    peeked = transport.sock.recv(1, socket.MSG_PEEK)  # it has arrived
    assert peeked == b"x"
    assert transport.readable()


# --- spinning ---


class NothingComes:
    """`recv_into` of a silent peer, counting how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, *_: object) -> int:
        self.asked += 1
        raise BlockingIOError


@pytest.fixture
def lone(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    """A transport that may spin, on a clock that takes half a spin for each look."""
    ticks = iter(range(10**9))
    monkeypatch.setattr(module, "_SPINS", True)
    monkeypatch.setattr(module, "_open_transports", 1)
    monkeypatch.setattr(module, "perf_counter", lambda: next(ticks) * SPIN / 2)
    return pair


def test_what_is_there_is_taken_at_once(lone: Pair) -> None:
    transport, far = lone
    far.sendall(b"x")
    assert transport.receive_into(memoryview(bytearray(1))) == 1
    view = memoryview(bytearray(10))
    assert transport.poll_into(view) == -1
    far.sendall(b"abc")
    transport.sock.recv(1, socket.MSG_PEEK)
    assert transport.poll_into(view) == 3
    far.close()
    transport.sock.recv(1, socket.MSG_PEEK)
    assert transport.poll_into(view) == 0


def test_fruitless_spinning_is_given_up_and_tried_again_later(lone: Pair) -> None:
    transport, _ = lone
    transport.recv_into = nothing = NothingComes()
    view = memoryview(bytearray(10))
    for _ in range(module._CONFIDENCE):
        before = nothing.asked
        assert transport.poll_into(view) == -1
        assert nothing.asked > before
    asked = nothing.asked
    for _ in range(module._CONFIDENCE - 1):
        assert transport.poll_into(view) == -1
    assert nothing.asked == asked
    assert transport.poll_into(view) == -1
    assert nothing.asked > asked
    asked = nothing.asked
    assert transport.poll_into(view) == -1
    assert nothing.asked == asked


def test_a_fruitful_spin_restores_confidence(lone: Pair) -> None:
    transport, _ = lone
    view = memoryview(bytearray(10))
    transport.recv_into = NothingComes()
    for _ in range(module._CONFIDENCE - 1):
        transport.poll_into(view)
    transport.recv_into = lambda *_: 7
    assert transport.poll_into(view) == 7
    transport.recv_into = nothing = NothingComes()
    for _ in range(module._CONFIDENCE):
        transport.poll_into(view)
    assert nothing.asked >= module._CONFIDENCE


def test_several_associations_do_not_spin(lone: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    transport, _ = lone
    transport.recv_into = nothing = NothingComes()
    monkeypatch.setattr(module, "_open_transports", 2)
    assert transport.poll_into(memoryview(bytearray(10))) == -1
    assert not nothing.asked


def test_a_spin_on_a_lost_connection_says_so(lone: Pair) -> None:
    transport, _ = lone
    transport.close()
    module._open_transports = 1
    with pytest.raises(ConnectionLostError):
        transport.poll_into(memoryview(bytearray(10)))


def test_open_transports_are_counted_once_each() -> None:
    before = module._open_transports
    first, second = (Transport(sock) for sock in tcp_pair())
    assert module._open_transports == before + 2
    first.close()
    first.close()
    second.close(linger=0.01)
    assert module._open_transports == before


# --- sending ---


def test_long_lists_of_buffers_go_out_whole(pair: Pair) -> None:
    transport, far = pair
    buffers = [b"%06d" % number for number in range(5000)]
    thread = threading.Thread(target=transport.send, args=([*buffers],))
    thread.start()
    assert receive_exactly(far, 30000) == b"".join(buffers)
    thread.join(20)


def test_what_the_system_takes_in_parts_goes_out_whole_and_in_order(pair: Pair) -> None:
    transport, _ = pair
    taken = bytearray()

    def take_a_little(buffers: list[bytes | memoryview]) -> int:
        assert len(buffers) <= module._IOV_MAX
        taken.extend(b"".join(buffers)[:7])
        return min(7, sum(map(len, buffers)))

    transport._sendmsg = take_a_little
    buffers = [bytes([number % 251]) * (number % 5) for number in range(3000)]
    transport.send([*buffers])
    assert taken == b"".join(buffers)


def test_more_than_the_socket_buffers_hold_with_a_timeout_set() -> None:
    near, far = tcp_pair()
    transport = Transport(near, 20)
    content = [bytes([number]) * 300_000 for number in range(40)]
    thread = threading.Thread(target=transport.send, args=([*content],))
    thread.start()
    assert receive_exactly(far, 12_000_000) == b"".join(content)
    thread.join(20)
    transport.close()
    far.close()


def test_a_peer_that_takes_nothing_is_given_up() -> None:
    near, far = tcp_pair()
    transport = Transport(near, 0.02)
    with pytest.raises(PeerTimeoutError, match="does not take"):
        send_much(transport)
    transport.close()
    far.close()


def test_sending_to_a_peer_that_is_gone(pair: Pair) -> None:
    transport, far = pair
    far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    far.close()
    with pytest.raises(ConnectionLostError, match="connection lost: "):
        send_much(transport)


@given(st.lists(st.binary(max_size=9), max_size=9), st.data())
def test_after_is_what_was_not_sent(buffers: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(buffers)
    sent = data.draw(st.integers(0, len(whole)))
    assert b"".join(_after([*buffers], sent)) == whole[sent:]


# --- closing ---


def test_last_words_are_read_before_the_connection_ends(pair: Pair) -> None:
    """Closing with unread input resets the connection, and the peer would lose what it has not read yet."""
    transport, far = pair
    far.sendall(bytes(100_000))
    transport.send([b"goodbye"])
    closing = threading.Thread(target=lambda: transport.close(linger=20))
    closing.start()
    far.sendall(bytes(1000))
    assert receive_exactly(far, 7) == b"goodbye"
    assert far.recv(1) == b""
    far.close()
    closing.join(20)
    assert not closing.is_alive()


def test_lingering_ends_although_the_peer_does_not(pair: Pair) -> None:
    transport, far = pair
    transport.close(linger=0.02)
    assert far.recv(1) == b""


# --- elsewhere ---


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module as a system has it that knows no TCP_QUICKACK, MSG_DONTWAIT or affinities."""
    for name in ("TCP_QUICKACK", "MSG_DONTWAIT"):
        monkeypatch.delattr(socket, name, raising=False)
    monkeypatch.delattr("os.sched_getaffinity", raising=False)
    spec = importlib.util.spec_from_file_location("transport_elsewhere", module.__file__)
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def test_without_quick_acknowledgements_and_spinning(elsewhere: ModuleType) -> None:
    near, far = tcp_pair()
    transport = elsewhere.Transport(near, 5)
    transport.acknowledge()
    far.sendall(b"x")
    view = memoryview(bytearray(10))
    assert transport.poll_into(view) == -1
    assert transport.receive_into(view) == 1
    transport.close()
    far.close()


def test_without_sendmsg(pair: Pair) -> None:
    transport, far = pair
    transport._sendmsg = None
    transport.send([b"one", memoryview(b"two")])
    assert receive_exactly(far, 6) == b"onetwo"
