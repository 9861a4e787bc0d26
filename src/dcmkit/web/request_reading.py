"""httptools' parser of requests, with bounds on all it keeps; it has none itself.

It also skips the body of a request that would rather have another protocol, as Java's HTTP client sends with every
first request (`Upgrade: h2c`). Here that is a header like others, which a server may ignore (RFC 9110 7.8).
"""

from __future__ import annotations

from typing import Any, Protocol

import httptools

TARGET_LIMIT = 1 << 16
"""Bytes of a request's target."""
FIELDS_LIMIT = 1 << 16
"""Bytes of all fields of its head, and of its trailer."""
FIELDS = 1000
"""How many fields there may be."""
FRAMING_LIMIT = 1 << 17
"""Bytes in a row that are no body, beyond those of one read."""


class RefusedError(httptools.HttpParserError):
    """What is not read, though it may be HTTP: it is too long, or too new. The status is that of the `Reading`."""


class Events(Protocol):
    """Who is told what is read: a protocol of uvicorn."""

    def on_message_begin(self) -> None: ...
    def on_url(self, url: bytes) -> None: ...
    def on_header(self, name: bytes, value: bytes) -> None: ...
    def on_headers_complete(self) -> None: ...
    def on_body(self, body: bytes) -> None: ...
    def on_message_complete(self) -> None: ...


class Reading:
    """What uvicorn takes for the parser.

    Args:
        events: is told.

    Attributes:
        status: of the answer to what cannot be read.
    """

    def __init__(self, events: Events) -> None:
        self._events = events
        self.status = 400
        self._framing = self._target = self._fields = self._count = self._hosts = 0
        self._begun = self._muted = False
        self._body: list[bytes] = []
        self._parser = self._new()

    def _new(self) -> Any:
        parser = httptools.HttpRequestParser(self)
        parser.set_dangerous_leniencies(lenient_data_after_close=True)  # uvicorn closes after the answer
        return parser

    def feed_data(self, data: bytes) -> None:
        """The next bytes. Raises: httptools.HttpParserError."""
        self._framing += len(data)
        while data:
            try:
                self._parser.feed_data(data)
                break
            except httptools.HttpParserUpgrade as upgrade:
                data = data[upgrade.args[0] :]
                self._stay()
        if self._framing > FRAMING_LIMIT:
            raise self._refusal(431 if self._begun else 400)

    def _stay(self) -> None:
        """Go on after the head of a request to upgrade: the parser itself leaves its body out."""
        self._parser = self._new()
        if self._body:
            self._muted = True
            self._parser.feed_data(b"POST / HTTP/1.1\r\n" + b"".join(self._body) + b"\r\n")
            self._muted = False

    def _refusal(self, status: int) -> RefusedError:
        self.status = status
        return RefusedError(f"refused with {status}")

    # --- as uvicorn asks ---------------------------------------------------------------------------------------------

    def get_http_version(self) -> str:
        return str(self._parser.get_http_version())

    def get_method(self) -> bytes:
        return bytes(self._parser.get_method())

    def should_keep_alive(self) -> bool:
        return bool(self._parser.should_keep_alive())

    def should_upgrade(self) -> bool:
        """Never."""
        return False

    # --- as httptools tells ------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if not self._muted:
            self._framing = self._target = self._fields = self._count = self._hosts = 0
            self._begun, self._body = True, []
            self._events.on_message_begin()

    def on_url(self, url: bytes) -> None:
        if not self._muted:
            self._target += len(url)
            if self._target > TARGET_LIMIT:
                raise self._refusal(414)
            self._events.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._muted:
            return
        self._count += 1
        self._fields += len(name) + len(value)
        if self._count > FIELDS or self._fields > FIELDS_LIMIT:
            raise self._refusal(431)
        kind = name.lower()
        if kind == b"host":
            self._hosts += 1
        elif kind == b"transfer-encoding" or (kind == b"content-length" and value.strip(b" \t0")):
            self._body.append(name + b": " + value + b"\r\n")
        self._events.on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._muted:
            return
        version = self._parser.get_http_version()
        if version not in ("1.0", "1.1"):
            raise self._refusal(505)
        if self._hosts > 1 or (not self._hosts and version == "1.1"):
            raise httptools.HttpParserError("a request for no host, or for several")  # RFC 9112 3.2
        self._events.on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._framing = 0
        self._events.on_body(body)

    def on_message_complete(self) -> None:
        if self._muted or (self._body and self._parser.should_upgrade()):
            return  # its body is still to come
        self._begun = False
        self._events.on_message_complete()
