"""The listener: binds, accepts, and keeps whoever has not yet asked for an association in a lobby.

One thread watches the listening sockets and the lobby. A visitor leaves the lobby when its A-ASSOCIATE-RQ is
complete (it is admitted, or rejected at the limit), when it says anything else (aborted), when ARTIM expires, or when
it goes. So connections that say nothing cost a descriptor and a few hundred bytes, never a thread, and health checks
of load balancers cost nothing.
"""

from __future__ import annotations

import errno
import os
import selectors
import signal
import socket
from typing import TYPE_CHECKING, Protocol

from dcmkit.errors import ListenError
from dcmkit.logs import get_logger
from dcmkit.net.deadline import Deadline
from dcmkit.protocol.pdata import PDU_BODY_CAP
from dcmkit.protocol.pdu import A_ABORT, A_ASSOCIATE_RQ, Abort
from dcmkit.protocol.rejection import LOCAL_LIMIT_EXCEEDED

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import FrameType

log = get_logger("net")

LOBBY_SIZE = 2048
"""Visitors at a time; beyond it the one that has waited longest is sent away."""

_BACKLOG = 1024
_NO_SUCH_ADDRESS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT)
_LEAVING = 1.0
"""Seconds a rejected visitor gets to read why."""
_PAUSE = 0.1
"""Seconds without accepting when the process is out of descriptors."""
_LONGEST_WAIT = 3600.0
"""Seconds until the loop looks around although nothing has happened: systems cannot wait for any number of them."""


class Closable(Protocol):
    """A socket, or what holds some."""

    def close(self) -> None:
        """Give it back to the system."""


class Dispatcher(Protocol):
    """Who serves the associations: threads of this process, or worker processes."""

    def full(self) -> bool:
        """Whether a further association is over the limit."""

    def start(self, sock: socket.socket, received: bytes) -> None:
        """Take over a connection whose A-ASSOCIATE-RQ has been read."""

    def watched(self) -> Iterable[socket.socket]:
        """Sockets the listener's loop is to watch for the dispatcher."""

    def ready(self, sock: socket.socket) -> None:
        """A watched socket is readable."""

    def stop(self) -> None:
        """Let messages in progress finish, end everything else; returns at once."""

    def join(self, timeout: float) -> bool:
        """Wait for the end of all associations; False when `timeout` seconds were not enough."""


class _Visitor:
    __slots__ = ("address", "data", "deadline", "leaving", "sock")

    def __init__(self, sock: socket.socket, address: str, patience: float) -> None:
        self.sock = sock
        self.address = address
        self.data = bytearray()
        self.deadline = Deadline(patience)
        self.leaving = False


def bind(addresses: Iterable[str], port: int) -> list[socket.socket]:
    """Listening sockets: the addresses given, or all of IPv4 and IPv6.

    Args:
        addresses: names or IP addresses; none is all.
        port: 0 lets the system choose one, the same for all.

    Raises:
        ListenError: the port is taken, needs more rights, or an address is not ours.
    """
    sockets: list[socket.socket] = []
    where = ""
    try:
        wanted = dict.fromkeys(address.strip("[]") for address in addresses)
        if not wanted:
            return [_bind_all(port)]
        for where in wanted:
            sockets += _bind_address(where, port)
            port = port or sockets[0].getsockname()[1]
        return sockets
    except (OSError, OverflowError, ValueError) as error:  # ValueError: what cannot be a host name
        for sock in sockets:
            sock.close()
        at = f" of {where}" if where else ""
        raise ListenError(f"cannot listen on port {port}{at}: {_reason(error)}", hint=_hint(error)) from error


def _bind_all(port: int) -> socket.socket:
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(("", port), family=socket.AF_INET6, backlog=_BACKLOG, dualstack_ipv6=True)
        except OSError as error:
            if error.errno not in _NO_SUCH_ADDRESS:
                raise  # taken for IPv6 alone is taken, too
    return socket.create_server(("", port), backlog=_BACKLOG)


def _bind_address(name: str, port: int) -> list[socket.socket]:
    """Every address a name has; those this machine lacks (IPv6 switched off) matter only where there is no other."""
    sockets: list[socket.socket] = []
    missing: OSError | None = None
    found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    for family, address in dict.fromkeys((family, address) for family, _, _, _, address in found):
        try:
            at = (address[0], port, *address[2:])  # with the scope of an IPv6 address that has one
            sock = socket.create_server(at, family=family, backlog=_BACKLOG)
        except OSError as error:
            if error.errno not in _NO_SUCH_ADDRESS:
                for sock in sockets:
                    sock.close()
                raise
            missing = error
            continue
        sockets.append(sock)
        port = port or sock.getsockname()[1]
    if not sockets and missing is not None:
        raise missing
    return sockets


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeError):
        return "it cannot be a host name"
    code = getattr(error, "errno", None)
    return os.strerror(code) if code and code > 0 else getattr(error, "strerror", None) or str(error)


def _hint(error: Exception) -> str:
    return {
        errno.EADDRINUSE: "another program listens there; choose another port or stop it",
        errno.EACCES: "ports below 1024 need more rights; choose a higher one",
        errno.EADDRNOTAVAIL: "the address given with --bind is not one of this machine",
    }.get(getattr(error, "errno", 0), "")


class Listener:
    """Accepts connections and hands associations to a dispatcher, until stopped.

    Args:
        sockets: from `bind`.
        dispatcher: who serves them.
        artim: seconds a visitor has to ask for an association (PS3.8 9.1.5, the ARTIM timer).
        grace: seconds messages in progress get to finish when stopping; 0 is for ever.
    """

    def __init__(
        self, sockets: list[socket.socket], dispatcher: Dispatcher, *, artim: float = 30.0, grace: float = 60.0
    ) -> None:
        self.port: int = sockets[0].getsockname()[1]
        self._sockets = sockets
        self._dispatcher = dispatcher
        self._artim = artim
        self._grace = grace
        self._selector = selectors.DefaultSelector()
        self._lobby: dict[socket.socket, _Visitor] = {}  # in order of arrival
        self._stopping = False
        self._joining = False
        self._paused: Deadline | None = None
        self._wake_receiver, self._wake_sender = socket.socketpair()
        for sock in (self._wake_receiver, self._wake_sender, *sockets):
            sock.setblocking(False)

    # --- life ---

    def run(self, *, handle_signals: bool = False) -> None:
        """Serve until `stop`, or until SIGTERM or SIGINT where asked to handle them; then end in order.

        A second signal does not wait for messages in progress.
        """
        if handle_signals:
            signal.set_wakeup_fd(self._wake_sender.fileno(), warn_on_full_buffer=False)
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self._on_signal)
        self._selector.register(self._wake_receiver, selectors.EVENT_READ, "wake")
        for sock in self._sockets:
            self._selector.register(sock, selectors.EVENT_READ, "accept")
        watched: set[socket.socket] = set()
        try:
            while not self._stopping:
                watched = self._watch(watched)
                for key, _ in self._selector.select(self._timeout()):
                    self._handle(key)
                self._expire()
        finally:
            self._end()
            if handle_signals:
                signal.set_wakeup_fd(-1)

    def stop(self) -> None:
        """End `run` in order. From any thread."""
        self._stopping = True
        try:
            self._wake_sender.send(b"\0")
        except OSError:
            pass  # full: it wakes anyway; closed: it has ended already

    def inherited(self) -> list[Closable]:
        """What a new worker process has of the listener and is to close: sockets, and what watches them."""
        return [self._selector, self._wake_receiver, self._wake_sender, *self._sockets, *self._lobby]

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._stopping:
            log.warning("stopped again: not waiting for messages in progress")
            self._grace = 0.001
            if self._joining:
                raise KeyboardInterrupt
        self._stopping = True

    def _end(self) -> None:
        for sock in self._sockets:
            sock.close()
        for visitor in list(self._lobby.values()):
            self._dismiss(visitor)
        self._dispatcher.stop()
        self._joining = True
        try:
            if not self._dispatcher.join(self._grace):
                log.warning("associations were still busy after %g s and are dropped", self._grace)
            self._joining = False
        except KeyboardInterrupt:
            self._joining = False
            self._dispatcher.join(self._grace)
        self._selector.close()
        self._wake_receiver.close()
        self._wake_sender.close()

    # --- the loop ---

    def _watch(self, watched: set[socket.socket]) -> set[socket.socket]:
        current = set(self._dispatcher.watched())
        for sock in watched - current:
            self._selector.unregister(sock)
        for sock in current - watched:
            self._selector.register(sock, selectors.EVENT_READ, "dispatcher")
        return current

    def _timeout(self) -> float | None:
        waits = [visitor.deadline.remaining() for visitor in self._first_visitors()]
        if self._paused is not None:
            waits.append(self._paused.remaining())
        wait = min(waits, default=float("inf"))
        return None if wait == float("inf") else min(wait, _LONGEST_WAIT)

    def _first_visitors(self) -> list[_Visitor]:
        """Who may expire first: the oldest, and all that are leaving."""
        visitors = [visitor for visitor in self._lobby.values() if visitor.leaving]
        for visitor in self._lobby.values():
            if not visitor.leaving:
                visitors.append(visitor)
                break
        return visitors

    def _handle(self, key: selectors.SelectorKey) -> None:
        sock = key.fileobj
        assert isinstance(sock, socket.socket)
        if key.data == "accept":
            self._accept(sock)
        elif key.data == "visitor":
            visitor = self._lobby.get(sock)
            if visitor is not None:  # sent away a moment ago, when another came
                self._read(visitor)
        elif key.data == "dispatcher":
            self._dispatcher.ready(sock)
        else:
            sock.recv(4096)

    def _expire(self) -> None:
        for visitor in self._first_visitors():
            if visitor.deadline.passed:
                if not visitor.leaving:
                    log.info("%s asked for no association in time", visitor.address)
                self._dismiss(visitor)
        if self._paused is not None and self._paused.passed:
            self._paused = None
            for sock in self._sockets:
                self._selector.register(sock, selectors.EVENT_READ, "accept")

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(64):  # then the others get their turn
            try:
                sock, address = listening.accept()
            except (BlockingIOError, ConnectionAbortedError, InterruptedError):
                return
            except OSError as error:
                self._pause(error)
                return
            sock.setblocking(False)
            visitor = _Visitor(sock, str(address[0]).removeprefix("::ffff:"), self._artim)
            self._lobby[sock] = visitor
            self._selector.register(sock, selectors.EVENT_READ, "visitor")
            if len(self._lobby) > LOBBY_SIZE:
                self._dismiss(next(iter(self._lobby.values())))

    def _pause(self, error: OSError) -> None:
        log.error("cannot accept connections: %s", error.strerror)
        if self._lobby:
            self._dismiss(next(iter(self._lobby.values())))
        if self._paused is None:
            for sock in self._sockets:
                self._selector.unregister(sock)
            self._paused = Deadline(_PAUSE)

    def _read(self, visitor: _Visitor) -> None:
        try:
            data = visitor.sock.recv(65536)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self._dismiss(visitor)
            return
        if visitor.leaving:
            return
        visitor.data += data
        first = visitor.data[0]
        if first != A_ASSOCIATE_RQ:
            if first != A_ABORT:
                self._abort(visitor, _what_it_was(bytes(visitor.data[:8])), 2 if 1 <= first <= 7 else 1)
            else:
                self._dismiss(visitor)
            return
        if len(visitor.data) < 6:
            return
        length = int.from_bytes(visitor.data[2:6], "big")
        if length > PDU_BODY_CAP:
            self._abort(visitor, f"an A-ASSOCIATE-RQ that claims {length} bytes", 6)
        elif len(visitor.data) >= length + 6:
            self._admit(visitor)

    def _admit(self, visitor: _Visitor) -> None:
        if self._dispatcher.full():
            log.warning("rejected an association from %s: local limit exceeded", visitor.address)
            self._say(visitor, LOCAL_LIMIT_EXCEEDED.encode())
            return
        self._forget(visitor)
        try:
            self._dispatcher.start(visitor.sock, bytes(visitor.data))
        except (OSError, RuntimeError) as error:  # no thread to be had
            log.error("cannot serve an association from %s: %s", visitor.address, error)
            visitor.sock.close()

    def _abort(self, visitor: _Visitor, what: str, reason: int) -> None:
        log.warning("%s sent %s: aborted", visitor.address, what)
        self._say(visitor, Abort(2, reason).encode())

    def _say(self, visitor: _Visitor, last_words: bytes) -> None:
        """Send, and give the peer a moment to read it: closing with unread input would throw it away."""
        try:
            visitor.sock.send(last_words)
            visitor.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._dismiss(visitor)
            return
        visitor.leaving = True
        visitor.deadline = Deadline(_LEAVING)

    def _forget(self, visitor: _Visitor) -> None:
        del self._lobby[visitor.sock]
        self._selector.unregister(visitor.sock)

    def _dismiss(self, visitor: _Visitor) -> None:
        self._forget(visitor)
        visitor.sock.close()


def _what_it_was(data: bytes) -> str:
    if data[:1] == b"\x16":
        return "a TLS ClientHello on a port without TLS"
    if data[:4] in (b"GET ", b"POST", b"HEAD", b"PUT ", b"OPTI", b"PRI ", b"DELE", b"CONN"):
        return "an HTTP request on a DICOM port"
    return f"a PDU of type 0x{data[0]:02X} instead of an A-ASSOCIATE-RQ"
