"""A blocking TCP socket with the options DIMSE needs: no Nagle, quick acknowledgements, kernel-side timeouts.

PS3.8 9.1 leaves the transport to TCP. Nagle's algorithm and delayed acknowledgements together cost 40 ms a message
between two default tools; either side alone can avoid it, so this one does both.
"""

from __future__ import annotations

import socket
import struct
import sys
from threading import Lock
from time import perf_counter

from dcmkit.errors import ConnectError, ConnectionLostError, PeerTimeoutError
from dcmkit.settings import usable_cores

_TCP_QUICKACK = getattr(socket, "TCP_QUICKACK", None)
_IOV_MAX = 1024
_NEVER = 0.0
_LONGEST = 2_000_000_000
"""Seconds beyond which no system counts; a longer time-out is this one (on Windows, that many milliseconds)."""

_DONTWAIT = getattr(socket, "MSG_DONTWAIT", 0)  # not on Windows
SPIN = 100e-6
"""Seconds a busy association looks for its peer's next bytes before it lets the system wait for them.

Waking a sleeping thread takes 20 to 50 microseconds on most machines, as long as a small object takes altogether."""
_CONFIDENCE = 16
"""How many fruitless spins it takes to stop spinning, and how many waits pass before it is tried again."""


def _timeval(seconds: float) -> bytes | int:
    if sys.platform == "win32":
        return max(1, int(min(seconds * 1000, _LONGEST))) if seconds else 0
    seconds = min(seconds, _LONGEST)
    whole = int(seconds)
    return struct.pack("@ll", whole, max(1, int((seconds - whole) * 1_000_000)) if seconds else 0)


def connect(host: str, port: int, timeout: float) -> socket.socket:
    """A connected TCP socket; every address the name has is tried (IPv6 and IPv4).

    Args:
        host: name or address; brackets around an IPv6 address are allowed.
        port: 1 to 65535.
        timeout: seconds for each address; 0 is the system's own.

    Raises:
        ConnectError: no such name, refused, unreachable, timeout.
    """
    name = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    where = f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
    try:
        sock = socket.create_connection((name, port), min(timeout, _LONGEST) or None)
    except socket.gaierror as error:
        raise ConnectError(f"no address found for {name!r}: {error.strerror}", hint="check the host name") from error
    except TimeoutError as error:
        raise ConnectError(
            f"no answer from {where}", hint="is the host up, and does a firewall let the port through?"
        ) from error
    except ConnectionRefusedError as error:
        raise ConnectError(f"nothing listens on {where}", hint="check the port, and that the peer runs") from error
    except (OSError, OverflowError) as error:
        raise ConnectError(f"cannot connect to {where}: {error}") from error
    except ValueError as error:
        raise ConnectError(f"{name!r} cannot be a host name", hint="check the host name") from error
    sock.settimeout(None)
    return sock


_open_transports = 0  # only a lone one spins: several would take the processor from each other
_counting = Lock()


def _count(change: int) -> None:
    global _open_transports
    with _counting:
        _open_transports += change


_SPINS = bool(_DONTWAIT) and usable_cores() > 1


class Transport:
    """One connected socket, driven by one thread.

    Args:
        sock: connected; owned by the transport from now on.
        send_timeout: seconds the peer may refuse to take bytes; 0 is for ever.
    """

    __slots__ = ("_confidence", "_open", "_receive_timeout", "_sendmsg", "peer_address", "recv_into", "sock")

    def __init__(self, sock: socket.socket, send_timeout: float = _NEVER) -> None:
        self.sock = sock
        self._receive_timeout = _NEVER
        self._confidence = _CONFIDENCE
        self._open = True
        _count(1)
        self._sendmsg = getattr(sock, "sendmsg", None)  # not on Windows
        self.recv_into = sock.recv_into
        try:
            sock.setblocking(True)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if send_timeout:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(send_timeout))
            name = sock.getpeername()
            self.peer_address = name[0].removeprefix("::ffff:") if isinstance(name, tuple) else ""
        except OSError:  # the peer has gone already, or this is a socket pair: reading tells
            self.peer_address = ""

    def set_receive_timeout(self, seconds: float) -> None:
        """How long `receive_into` waits; 0 or infinity is for ever. Costs nothing where it is set already."""
        if seconds == float("inf"):
            seconds = _NEVER
        if seconds != self._receive_timeout:
            self._receive_timeout = seconds
            try:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(seconds))
            except OSError as error:
                raise ConnectionLostError(f"connection lost: {error.strerror or error}") from error

    def poll_into(self, view: memoryview) -> int:
        """Like `receive_into`, but wait a moment at most; -1 when nothing came.

        Raises:
            ConnectionLostError: the connection is gone.
        """
        if not _SPINS or _open_transports > 1:
            return -1
        if self._confidence <= 0:
            self._confidence -= 1
            if self._confidence > -_CONFIDENCE:
                return -1
            self._confidence = 1
        receive = self.recv_into
        until = perf_counter() + SPIN
        try:
            while True:
                try:
                    count = receive(view, 0, _DONTWAIT)
                except BlockingIOError:
                    if perf_counter() > until:
                        self._confidence -= 1
                        return -1
                else:
                    self._confidence = _CONFIDENCE
                    return count
        except OSError as error:
            raise ConnectionLostError(f"connection lost: {error.strerror or error}") from error

    def receive_into(self, view: memoryview) -> int:
        """Receive at most `len(view)` bytes; 0 when the peer has closed.

        Raises:
            PeerTimeoutError: nothing came in time.
            ConnectionLostError: the connection is gone.
        """
        try:
            return self.recv_into(view)
        except BlockingIOError:
            raise PeerTimeoutError(f"the peer was silent for {self._receive_timeout:g} s") from None
        except OSError as error:
            raise ConnectionLostError(f"connection lost: {error.strerror or error}") from error

    def readable(self) -> bool:
        """Whether something has arrived, without waiting."""
        if _DONTWAIT:
            try:
                self.sock.recv(1, socket.MSG_PEEK | _DONTWAIT)
            except BlockingIOError:
                return False
            except OSError:
                pass  # reading tells
            return True
        import selectors

        with selectors.DefaultSelector() as selector:  # not select(): descriptors above 1023 are common in a server
            selector.register(self.sock, selectors.EVENT_READ)
            return bool(selector.select(0))

    def acknowledge(self) -> None:
        """Let the system acknowledge now what has arrived, for peers that wait for it (Nagle)."""
        if _TCP_QUICKACK is not None:
            try:
                self.sock.setsockopt(socket.IPPROTO_TCP, _TCP_QUICKACK, 1)
            except OSError:
                pass  # gone, or no TCP socket: the next receive tells

    def send(self, buffers: list[bytes | memoryview]) -> None:
        """Send all bytes of all buffers, in order.

        Raises:
            PeerTimeoutError: the peer takes nothing.
            ConnectionLostError: the connection is gone.
        """
        try:
            if self._sendmsg is None:
                for buffer in buffers:
                    self.sock.sendall(buffer)
                return
            while buffers:
                batch = buffers[:_IOV_MAX] if len(buffers) > _IOV_MAX else buffers
                sent = self._sendmsg(batch)
                total = sum(map(len, batch))
                rest = buffers[len(batch) :]
                buffers = _after(batch, sent) + rest if sent < total else rest
        except BlockingIOError:
            raise PeerTimeoutError("the peer does not take what is sent") from None
        except OSError as error:
            raise ConnectionLostError(f"connection lost: {error.strerror or error}") from error

    def interrupt(self) -> None:
        """From another thread: make a waiting `receive_into` return 0."""
        try:
            self.sock.shutdown(socket.SHUT_RD)
        except OSError:
            pass

    def close(self, *, linger: float = 0.0) -> None:
        """Close; with `linger` seconds, wait so long for the peer to close first, so that it reads our last PDU."""
        try:
            if linger:
                self.sock.shutdown(socket.SHUT_WR)
                self.set_receive_timeout(linger)
                scratch = memoryview(bytearray(16384))
                for _ in range(256):  # at most 4 MB of what the peer still sends
                    if not self.recv_into(scratch):
                        break
        except (OSError, ConnectionLostError):
            pass
        finally:
            if self._open:
                self._open = False
                _count(-1)
            self.sock.close()


def _after(buffers: list[bytes | memoryview], sent: int) -> list[bytes | memoryview]:
    """What is left of `buffers` after `sent` bytes."""
    for index, buffer in enumerate(buffers):
        if sent < len(buffer):
            return [memoryview(buffer)[sent:], *buffers[index + 1 :]]
        sent -= len(buffer)
    return []
