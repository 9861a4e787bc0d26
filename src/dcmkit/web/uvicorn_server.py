"""uvicorn, as it is run here: on sockets that are bound already, with bounds on what a connection may cost.

uvicorn itself has none on the size of a request's head, on the time it takes to come, and on how long an answer may
lie unread. Import this module only where the extra `web` is known to be installed (`server.require`).
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import deque
from contextlib import nullcontext
from http import HTTPStatus
from time import monotonic
from typing import TYPE_CHECKING, Any

import uvicorn

from dcmkit.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from dcmkit.web.tls import Certificates

log = get_logger("web")

HEAD_LIMIT = 1 << 17
"""Bytes of a request before its body, where h11 reads it; else see `request_reading`."""
LINGER = 2.0
"""Seconds in which a user agent that still sends may read why it is not listened to."""
_UNSENT = 1 << 18
"""Bytes of an answer that the kernel keeps ahead of what can be sent."""
_LINGER_BYTES = 1 << 22
"""What it may send meanwhile, where it does not speak HTTP."""

BACKLOG = 2048
_CERTIFICATES = 60.0
"""Seconds between two looks at whether the certificate has been renewed."""


class Bounds:
    """What a connection may cost.

    Args:
        connections: at a time; beyond it the one that has been idle longest is closed.
        keep_alive: seconds it may be idle between requests.
        head: seconds until the head of a request must be there.
        stall: seconds in which some of an answer must be taken.
    """

    def __init__(
        self, connections: int = 1024, keep_alive: float = 30.0, head: float = 30.0, stall: float = 120.0
    ) -> None:
        self.connections, self.keep_alive, self.head, self.stall = connections, keep_alive, head, stall


class _Lingering:
    """A transport that is closed only when the other side has had a chance to read why.

    Where it still sends what nobody reads any more, closing would reset the connection, and the answer be lost.
    """

    def __init__(self, transport: Any, protocol: _Watched) -> None:
        self._transport, self._protocol = transport, protocol
        self._lingers = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: Any) -> None:
        """Nothing comes after the end."""
        if not self._lingers:
            self._transport.write(data)

    def is_closing(self) -> bool:
        """Whether it is to end."""
        return self._lingers or bool(self._transport.is_closing())

    def close(self) -> None:
        """At once where all that was said has been read; else a little later."""
        if self.is_closing() or not self._protocol.is_interrupted:
            self._transport.close()
            return
        self._lingers = self._protocol.is_deaf = True
        self._protocol.since = monotonic()
        if self._transport.can_write_eof():
            self._transport.write_eof()
        self._transport.resume_reading()
        asyncio.get_running_loop().call_later(LINGER, self._transport.close)


def _keep_little(transport: Any) -> None:
    """Leave the kernel no more than it needs of an answer that is not taken: it would keep megabytes of each."""
    try:
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT)
    except (AttributeError, OSError):
        pass  # not every system can


class _Watched:
    """What is added to uvicorn's protocols, of which only the public attributes are used.

    Attributes:
        is_deaf: nothing that comes is read any more.
    """

    bounds: Bounds
    connections: set[Any]
    cycle: Any
    transport: Any

    def connection_made(self, transport: Any) -> None:
        self.since = monotonic()
        self.unread = 0
        self.stalled_since = self.since
        self.is_deaf = False
        self.broken = False
        self.unheard = 0
        _keep_little(transport)
        super().connection_made(_Lingering(transport, self))  # type: ignore[misc]
        if len(self.connections) >= self.bounds.connections:
            self._make_room()

    def data_received(self, data: bytes) -> None:
        if not self.is_deaf:
            super().data_received(data)  # type: ignore[misc]
            return
        self.unheard += len(data)
        if self.broken and self.unheard > _LINGER_BYTES:
            self.transport.abort()

    def on_response_complete(self) -> None:
        self.since = monotonic()
        super().on_response_complete()  # type: ignore[misc]

    def send_400_response(self, msg: str) -> None:
        self.broken = True
        super().send_400_response(msg)  # type: ignore[misc]

    def shutdown(self) -> None:
        if self.transport.is_closing():
            self.transport.abort()
        else:
            super().shutdown()  # type: ignore[misc]

    @property
    def is_interrupted(self) -> bool:
        """Whether something is still said that is not going to be read."""
        return self.broken or (self.cycle is not None and bool(self.cycle.more_body))

    @property
    def is_idle(self) -> bool:
        """Whether no request is being answered, and no answer on its way."""
        answered = self.cycle is None or bool(self.cycle.response_complete)
        return answered and not self.transport.get_write_buffer_size()

    def _make_room(self) -> None:
        idle = [other for other in self.connections if other is not self and other.is_idle]
        if idle:
            oldest = min(idle, key=lambda other: other.since)
            self.connections.discard(oldest)
            oldest.transport.abort()

    def look(self, now: float) -> None:
        """End the connection where it has taken too long."""
        if self.is_idle:
            patience = self.bounds.head + (self.bounds.keep_alive if self.cycle is not None else 0.0)
            if now - self.since > patience:
                self.transport.abort()
            return
        self.since = now
        unread = self.transport.get_write_buffer_size()
        if not unread or unread != self.unread:
            self.unread, self.stalled_since = unread, now
        elif now - self.stalled_since > self.bounds.stall:
            log.warning("a connection is closed: nothing of its answer was taken for %g s", self.bounds.stall)
            self.transport.abort()


def _protocol(bounds: Bounds) -> type[asyncio.Protocol]:
    """httptools where it is installed, else h11, which has bounds of its own on the head."""
    try:
        import httptools  # noqa: F401
    except ImportError:
        return _on_h11(bounds)
    return _on_httptools(bounds)


def _on_h11(bounds: Bounds) -> type[asyncio.Protocol]:
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Connection(_Watched, H11Protocol):  # type: ignore[misc]
        """Refuses what h11 takes as one of two things it may be (RFC 9112 6.1)."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.app: Any = _framed_once(self.config.loaded_app)

    Connection.bounds = bounds
    return Connection


def _framed_once(app: Any) -> Any:
    async def answer(scope: Any, receive: Any, send: Any) -> None:
        if {b"content-length", b"transfer-encoding"} <= {name for name, _ in scope["headers"]}:
            headers = [(b"content-length", b"0"), (b"connection", b"close")]
            await send({"type": "http.response.start", "status": 400, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
        else:
            await app(scope, receive, send)

    return answer


def _on_httptools(bounds: Bounds) -> type[asyncio.Protocol]:
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    from dcmkit.web.request_reading import Reading

    class Connection(_Watched, HttpToolsProtocol):  # type: ignore[misc]
        """Reads in bounds, and answers nothing in the middle of an answer."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.parser = self.reading = Reading(self)
            self.unfinished: deque[Any] = deque()

        def on_headers_complete(self) -> None:
            super().on_headers_complete()
            while self.unfinished and self.unfinished[0].response_complete:
                self.unfinished.popleft()
            self.unfinished.append(self.cycle)

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if self.expect_100_continue and self.cycle.response_complete and self.cycle.more_body:
                self.transport.close()  # its body may come or not: what comes next cannot be told from it

        def connection_lost(self, exc: Exception | None) -> None:
            for cycle in self.unfinished:  # uvicorn tells only the last
                cycle.disconnected = cycle.disconnected or not cycle.response_complete
                cycle.message_event.set()
            self.unfinished.clear()
            super().connection_lost(exc)

        def send_400_response(self, msg: str) -> None:
            """Refuse what cannot be read, after what is being answered."""
            cycle = self.cycle
            self.broken = self.is_deaf = True
            if cycle is not None and not cycle.response_complete and not cycle.more_body:
                cycle.keep_alive = False
                return
            if cycle is None or cycle.response_complete or not cycle.response_started:
                status = HTTPStatus(self.reading.status)
                head = f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                self.transport.write(head.encode())
            if cycle is not None and not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()
            self.transport.close()

    Connection.bounds = bounds
    return Connection


class Server(uvicorn.Server):  # type: ignore[misc]
    """Serves an ASGI application until `stop`; signals are somebody else's business.

    Args:
        application: what answers.
        bounds: what connections may cost.
        certificates: for HTTPS.
        grace: seconds that requests get to finish in the end.
        on_started: called from the loop when connections are taken.
    """

    def __init__(
        self,
        application: Any,
        bounds: Bounds,
        certificates: Certificates | None = None,
        grace: float = 30.0,
        on_started: Callable[[], None] | None = None,
    ) -> None:
        _relay_logs()
        config = uvicorn.Config(
            application,
            http=_protocol(bounds),
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=BACKLOG,
            limit_concurrency=bounds.connections + 1,
            timeout_keep_alive=bounds.keep_alive,
            timeout_graceful_shutdown=grace,
            h11_max_incomplete_event_size=HEAD_LIMIT,
        )
        config.load()
        if certificates is not None:
            config.ssl = certificates.context
        super().__init__(config)
        self._certificates = certificates
        self._on_started = on_started
        self._looked = monotonic()

    def stop(self) -> None:
        """Take no more connections, let what is being answered finish. From any thread."""
        self.should_exit = True

    def stop_now(self) -> None:
        """Wait for nothing."""
        self.force_exit = self.should_exit = True

    def capture_signals(self) -> AbstractContextManager[None]:
        """None are captured."""
        return nullcontext()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn, and what goes wrong in the loop goes to our log."""
        asyncio.get_running_loop().set_exception_handler(_loop_error)
        await super().startup(sockets)
        if self.started and self._on_started is not None:
            self._on_started()

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second; looks at the connections once a second."""
        if counter % 10 == 0:
            now = monotonic()
            for connection in list(self.server_state.connections):
                connection.look(now)
            if self._certificates is not None and now - self._looked > _CERTIFICATES:
                self._looked = now
                self._certificates.refresh()
        return bool(await super().on_tick(counter))


def _loop_error(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error = context.get("exception")
    log.debug("%s: %r", context.get("message", "an error of the event loop"), error)


class _Relay(logging.Handler):
    """What uvicorn says, in dcmkit's log; what strangers can cause at no cost is not said aloud."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and isinstance(record.exc_info[1], (ConnectionAbortedError, asyncio.CancelledError)):
            return  # the application, or the end of the service, has ended the connection on purpose, and said why
        text = record.getMessage().strip()
        if record.exc_info and record.exc_info[1] is not None:
            text = f"{text}: {type(record.exc_info[1]).__name__}"
        if record.levelno >= logging.ERROR:
            log.error("%s", text)
        else:
            log.info("%s", text)


def _relay_logs() -> None:
    logger = logging.getLogger("uvicorn")
    if not any(isinstance(handler, _Relay) for handler in logger.handlers):
        logger.addHandler(_Relay())
        logger.propagate = False
