"""uvicorn, as it is run here: on sockets that are bound already, with bounds on what a connection may cost.

uvicorn itself has none on the size of a request's head, on the time it takes to come, and on how long an answer may
lie unread. Import this module only where the extra `web` is known to be installed (`server.require`).
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import nullcontext
from time import monotonic
from typing import TYPE_CHECKING, Any

import uvicorn

from dcmkit.logs import get_logger

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from dcmkit.web.tls import Certificates

log = get_logger("web")

HEAD_LIMIT = 1 << 17
"""Bytes of a request before its body."""

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


class _Watched:
    """What is added to uvicorn's protocols, of which only the public attributes are used."""

    bounds: Bounds
    connections: set[Any]
    cycle: Any
    transport: Any

    def connection_made(self, transport: Any) -> None:
        self.since = monotonic()
        self.unread = 0
        self.stalled_since = self.since
        super().connection_made(transport)  # type: ignore[misc]
        if len(self.connections) >= self.bounds.connections:
            self._make_room()

    def on_response_complete(self) -> None:
        self.since = monotonic()
        super().on_response_complete()  # type: ignore[misc]

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
        from uvicorn.protocols.http.h11_impl import H11Protocol

        return type("Connection", (_Watched, H11Protocol), {"bounds": bounds})
    from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

    class Connection(_Watched, HttpToolsProtocol):  # type: ignore[misc]
        """Counts the bytes of each head."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.in_head = True
            self.head = 0

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.in_head:
                self.head += len(data)
                if self.head > HEAD_LIMIT and not self.transport.is_closing():
                    self.send_400_response("The head of the request is too long.")

        def on_message_begin(self) -> None:
            self.in_head, self.head = True, 0
            super().on_message_begin()

        def on_headers_complete(self) -> None:
            self.in_head = False
            super().on_headers_complete()

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
