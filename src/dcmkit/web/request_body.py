"""A request's body on its way from the event loop to the thread that reads it.

The loop collects what comes, up to a bound, and goes on reading while the thread works; so a body passes through in
blocks of up to a megabyte, which costs one change of threads each, and memory stays flat however long it is.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any

from dcmkit.errors import ExitCode, NetworkError
from dcmkit.web.exchange import HttpError
from dcmkit.web.multipart import BodyTooLargeError

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

BLOCK = 1 << 20
"""Bytes that are handed over in one go, about; twice as many may wait."""
SLOWEST = 100
"""Bytes a second that have to come: who sends less keeps a place that others wait for."""


class BodyLostError(NetworkError):
    """The user agent has gone before the end of what it sends."""

    exit_code = ExitCode.TRANSPORT_ERROR
    http_status = 400


class StreamedBody:
    """See `exchange.Body`. Made on the loop, read in a thread.

    Args:
        receive: of ASGI.
        limit: bytes of it; 0 for no limit.
        timeout: seconds in which something more has to come, at `SLOWEST` at least.
    """

    def __init__(self, receive: Receive, limit: int, timeout: float) -> None:
        self._receive, self._limit, self._timeout = receive, limit, timeout
        self._loop = asyncio.get_running_loop()
        self._changed = threading.Condition()
        self._blocks: list[bytes] = []
        self._waiting = self._received = 0
        self._complete = False
        self._failure: Exception | None = None
        self._room: asyncio.Event = asyncio.Event()
        self._room.set()
        self._begun = asyncio.Event()
        self._heard, self._lately = self._loop.time(), 0
        self._pump = asyncio.ensure_future(self._go_on())
        self._clock = self._loop.call_later(timeout, self._look)

    async def begin(self) -> None:
        """Returns when the first block is there, or all of it."""
        await self._begun.wait()

    async def end(self) -> None:
        """The reply is made: nobody reads any more."""
        self._clock.cancel()
        self._pump.cancel()
        await asyncio.gather(self._pump, return_exceptions=True)
        self._fail(BodyLostError("the body is read no further"))

    @property
    def is_complete(self) -> bool:
        """Whether all of it has come."""
        return self._complete

    @property
    def received(self) -> int:
        """Bytes that have come."""
        return self._received

    async def _go_on(self) -> None:
        while not self._complete and self._failure is None:
            if not self._room.is_set():
                await self._room.wait()
                self._heard, self._lately = self._loop.time(), 0
            self._take(await self._receive())
            if self._lately >= SLOWEST * self._timeout:
                self._heard, self._lately = self._loop.time(), 0

    def _look(self) -> None:
        """Whether enough came lately; time in which there was no room for it does not count."""
        left = self._heard + self._timeout - self._loop.time() if self._room.is_set() else self._timeout
        if left <= 0:
            self._fail(HttpError(408, f"nothing more, or very little, came of the body for {self._timeout:g} seconds"))
            self._pump.cancel()
        elif not self._complete and self._failure is None:
            self._clock = self._loop.call_later(left, self._look)

    def _take(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] != "http.request":
            self._fail(BodyLostError("the connection was closed before the end of the body"))
            return
        block: bytes = message.get("body", b"")
        self._received += len(block)
        self._lately += len(block)
        if 0 < self._limit < self._received:
            self._fail(BodyTooLargeError(f"a body of more than {self._limit} bytes"))
            return
        with self._changed:
            if block:
                self._blocks.append(block)
                self._waiting += len(block)
            self._complete = not message.get("more_body", False)
            enough = self._complete or self._waiting >= BLOCK
            if enough:
                self._changed.notify()
        if enough:
            self._begun.set()
        if self._waiting >= 2 * BLOCK:
            self._room.clear()
            if self._waiting < 2 * BLOCK:  # taken in between
                self._room.set()

    def _fail(self, error: Exception) -> None:
        with self._changed:
            self._failure = self._failure or error
            self._changed.notify()
        self._begun.set()

    # --- in the thread -------------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[bytes]:
        """See `exchange.Body`."""
        while True:
            with self._changed:
                while not (self._complete or self._failure or self._waiting >= BLOCK):
                    self._changed.wait()
                blocks, self._blocks, self._waiting = self._blocks, [], 0
                complete, failure = self._complete, self._failure
            if not self._room.is_set():
                self._loop.call_soon_threadsafe(self._room.set)
            if blocks:
                yield blocks[0] if len(blocks) == 1 else b"".join(blocks)
            if complete:
                return
            if failure is not None:
                raise failure

    def read(self, limit: int) -> bytes:
        """See `exchange.Body`."""
        found = bytearray()
        for block in self:
            found += block
            if len(found) > limit:
                raise BodyTooLargeError(f"a body of more than {limit} bytes")
        return bytes(found)
