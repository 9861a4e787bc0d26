"""A small HTTP/1.1 client that blocks: one connection, kept alive; bodies straight from files; answers as they come.

On `http.client` of the standard library, which writes requests and reads answers well enough, and lends its socket, so
that files go out by `sendfile`. The libraries above it do not: they pass every body through Python, piece by piece, and
their start costs more. What is ours: bodies (`http_body`), proxies, TLS, decoding, redirects, limits, errors.

Not for two threads at a time: each has a client of its own. No secret is in an error, a log line or a `repr`.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import socket
import ssl
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urljoin

from dcmkit.errors import (
    ConnectError,
    ConnectionLostError,
    InputError,
    ProtocolError,
    UsageError,
)
from dcmkit.logs import escape
from dcmkit.web import http_body
from dcmkit.web.http_auth import Auth, Basic, basic
from dcmkit.web.http_response import Answer, Response, lost
from dcmkit.web.http_url import Origin, parse_url, proxy_for

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dcmkit.web.http_body import Piece

_REDIRECTS = 5
_REDIRECT = frozenset({301, 302, 303, 307, 308})
_LATE_ANSWER = 2.0
"""Seconds that a peer which stopped reading gets to say why."""


class UntrustedError(ConnectError):
    """Who is there is not who it should be, and will not be at the next attempt."""


class Options(NamedTuple):
    """How to speak to a server.

    Attributes:
        connect_timeout, timeout: seconds for a connection, and for the next byte, either way.
        ca_file: certificates of the authorities to trust in place of the system's; "" for those.
        certificate, key: our own, in PEM files; the key may be in the first.
        key_password: of the key.
        insecure: trust whoever is there, whatever its certificate.
        proxy: its URL; "" for none; None for what `http_proxy`, `https_proxy`, `all_proxy` and `no_proxy` say.
        headers: sent with every request.
    """

    connect_timeout: float = 10.0
    timeout: float = 60.0
    ca_file: str = ""
    certificate: str = ""
    key: str = ""
    key_password: str = ""
    insecure: bool = False
    proxy: str | None = None
    headers: tuple[tuple[str, str], ...] = ()

    def __repr__(self) -> str:
        return f"Options(timeout={self.timeout!r}, ...)"  # passwords and headers are nobody's business


class HttpClient:
    """A client of one server.

    Args:
        url: of the server; what it has of a user and a password is used where `auth` is None.
        auth: who we are.
        environment: where proxies are looked up; None for the process's.
        context: what `tls_context` has made of the same options; reading the system's certificates takes a while.

    Raises:
        UsageError, InputError: the URL, a certificate or the proxy is not usable.
    """

    def __init__(
        self,
        url: str,
        *,
        auth: Auth | None = None,
        options: Options | None = None,
        environment: Mapping[str, str] | None = None,
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.url = parse_url(url)
        self.options = options or Options()
        self._auth = auth or (Basic(self.url.user, self.url.password) if self.url.user else None)
        origin = self.url.origin
        self._context = (context or tls_context(self.options)) if origin.scheme == "https" else None
        self._proxy = proxy_for(origin, self.options.proxy, os.environ if environment is None else environment)
        self._connection: http.client.HTTPConnection | None = None
        self._last: Response | None = None
        self.connections = 0
        """How many were made."""

    def __repr__(self) -> str:
        return f"HttpClient({self.url})"

    def __enter__(self) -> HttpClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; the next request makes another."""
        connection, self._connection, self._last = self._connection, None, None
        if connection is not None:
            connection.close()

    def interrupt(self) -> None:
        """From another thread: whoever waits for the server here is told that the connection is lost."""
        connection = self._connection
        sock = None if connection is None else connection.sock
        if sock is not None:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)  # TLS is not asked: its owner is in the middle of it

    def request(
        self,
        method: str,
        target: str = "",
        *,
        headers: Sequence[tuple[str, str]] = (),
        body: Sequence[Piece] | None = None,
        repeatable: bool = True,
    ) -> Response:
        """Send a request and read the head of its answer, whatever its status.

        An answer before that was not read to its end costs the connection. A redirect within the origin is followed,
        with a body only where that stays the same request (RFC 9110 15.4.8, 15.4.9); any other is the answer.

        Args:
            target: path and query; "" for those of the client's URL.
            repeatable: whether it does no harm twice: then it is repeated when a kept connection turns out to be dead.

        Raises:
            ConnectError: there is no connection, or no trust in who is there.
            ConnectionLostError, PeerTimeoutError: the connection, or the patience, ended before the answer.
            ProtocolError: the answer is none.
            FileChangedError: a file of the body cannot be read as it was.
            InputError: our own token or password cannot be had.
        """
        target = target or self.url.target
        renewed = False
        for _ in range(_REDIRECTS + 2):
            response = self._exchange(method, target, headers, body, repeatable)
            if response.status == 401 and not renewed and self._auth is not None and self._auth.renew():
                renewed = True
                response.skip()
                continue
            further = self._redirect(method, target, response)
            if not further:
                return response
            response.skip()
            target = further
            if response.status == 303:
                method, body = ("HEAD" if method == "HEAD" else "GET"), None
        raise ProtocolError("the server redirects again and again")

    def _redirect(self, method: str, target: str, response: Response) -> str:
        """Where a redirect leads within the origin; "" for none that may be followed."""
        location = response.header("Location")
        if response.status not in _REDIRECT or not location:
            return ""
        if response.status in (301, 302) and method not in ("GET", "HEAD"):
            return ""
        try:
            url = parse_url(urljoin(f"{self.url.origin}{target}", location))
        except (UsageError, ValueError):
            return ""
        return url.target if url.origin == self.url.origin else ""

    def _exchange(
        self,
        method: str,
        target: str,
        headers: Sequence[tuple[str, str]],
        body: Sequence[Piece] | None,
        repeatable: bool,
    ) -> Response:
        all_headers = self._headers(headers, body)
        held, last = self._connection, self._last
        if held is not None and (
            held.sock is None or (last is not None and not last.is_over) or http_body.is_stale(held.sock)
        ):
            self.close()
        kept = self._connection is not None
        try:
            return self._once(method, target, all_headers, body)
        except ConnectionLostError:
            if not kept or not repeatable:
                raise
        return self._once(method, target, all_headers, body)

    def _headers(self, headers: Sequence[tuple[str, str]], body: Sequence[Piece] | None) -> list[tuple[str, str]]:
        given = [*self.options.headers, *headers]
        names = {name.lower() for name, _ in given}
        origin, proxy = self.url.origin, self._proxy
        added = [("User-Agent", "dcmkit"), ("Accept-Encoding", "gzip")]
        if self._auth is not None:
            value = self._auth.header(origin.host)
            if value:
                added.append(("Authorization", value))
        if proxy is not None and proxy.user and origin.scheme == "http":
            added.append(("Proxy-Authorization", basic(proxy.user, proxy.password)))
        found = [(name, value) for name, value in added if name.lower() not in names] + given
        if body is not None:
            found.append(("Content-Length", str(http_body.length_of(body))))
        for name, value in found:
            if not value.isprintable() or not name.isascii() or not name.replace("-", "").replace("_", "").isalnum():
                raise UsageError("a header has characters that are not allowed there")
        return found

    def _once(
        self, method: str, target: str, headers: Sequence[tuple[str, str]], body: Sequence[Piece] | None
    ) -> Response:
        connection = self._connect()
        answered = False
        try:
            failure = self._send(connection, method, target, headers, body)
            raw = self._answer(connection, failure)
            answered = True
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise lost(error, "before the answer") from None
        finally:
            if not answered:
                self.close()
        self._last = Response(raw, self.close)
        self._last.complete = failure is None
        return self._last

    def _send(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        target: str,
        headers: Sequence[tuple[str, str]],
        body: Sequence[Piece] | None,
    ) -> Exception | None:
        """Send a request; what ended that early, where something did."""
        url = f"{self.url.origin}{target}" if self._proxy and self.url.origin.scheme == "http" else target
        connection.putrequest(method, url, skip_accept_encoding=True, skip_host=True)
        connection.putheader("Host", str(self.url.origin).partition("://")[2])
        for name, value in headers:
            connection.putheader(name, value.encode("utf-8", "surrogateescape"))
        try:
            connection.endheaders()
            if body is not None:
                http_body.send(connection.sock, body, self.options.timeout)
        except (OSError, http_body.Answered) as error:
            return error
        return None

    def _answer(self, connection: http.client.HTTPConnection, failure: Exception | None) -> http.client.HTTPResponse:
        """The head of the answer; who stopped reading may still have said why (RFC 9112 9.5)."""
        if isinstance(failure, OSError):
            try:
                connection.sock.settimeout(min(_LATE_ANSWER, self.options.timeout))
                return connection.getresponse()
            except (OSError, http.client.HTTPException, ValueError):
                raise failure from None
        return connection.getresponse()

    def _connect(self) -> http.client.HTTPConnection:
        """The connection, which is made where there is none."""
        if self._connection is not None:
            return self._connection
        origin, proxy = self.url.origin, self._proxy
        place = proxy.origin if proxy is not None else origin
        connection: http.client.HTTPConnection
        if self._context is not None:
            connection = http.client.HTTPSConnection(
                place.host, place.port, timeout=self.options.connect_timeout, context=self._context
            )
        else:
            connection = http.client.HTTPConnection(place.host, place.port, timeout=self.options.connect_timeout)
        if proxy is not None and origin.scheme == "https":
            known = {"Proxy-Authorization": basic(proxy.user, proxy.password)} if proxy.user else {}
            connection.set_tunnel(origin.host, origin.port, known)
        connection.response_class = Answer
        try:
            connection.connect()
        except (OSError, http.client.HTTPException, ValueError) as error:
            connection.close()
            raise _no_connection(error, place, proxy is not None) from None
        connection.sock.settimeout(self.options.timeout)
        self._connection = connection
        self.connections += 1
        return connection


# --- errors ------------------------------------------------------------------------------------------------------


def _no_connection(error: Exception, place: Origin, is_proxy: bool) -> ConnectError:
    what = f"the proxy {place}" if is_proxy else str(place)
    if isinstance(error, ssl.SSLCertVerificationError):
        return UntrustedError(
            f"the certificate of {what} is not trusted: {escape(error.verify_message or 'unknown reason')}",
            hint="name the file with the certificate of its authority: --cacert",
        )
    if isinstance(error, ssl.SSLError):
        return ConnectError(f"TLS with {what} failed: {escape(error.reason or 'no reason known')}")
    if isinstance(error, TimeoutError):
        return ConnectError(f"{what} did not answer in time")
    if isinstance(error, socket.gaierror):
        return ConnectError(f"the name in {what} is not known")
    if is_proxy and isinstance(error, OSError) and error.errno is None:
        return ConnectError(f"{what} makes no tunnel to the server", hint="perhaps it asks for a user and a password")
    if isinstance(error, OSError):
        return ConnectError(f"{what} cannot be reached: {error.strerror or 'no reason known'}")
    return ConnectError(f"{what} does not speak HTTP as it should")


# --- proxies and certificates ------------------------------------------------------------------------------------


def tls_context(options: Options) -> ssl.SSLContext:
    """What TLS is spoken with; for many clients at once. Raises: InputError: a certificate or key cannot be used."""
    try:
        context = ssl.create_default_context(cafile=options.ca_file or None)
    except OSError as error:
        raise InputError(f"the certificates in {options.ca_file} cannot be used: {_reason(error)}") from None
    if options.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if options.certificate:
        try:
            context.load_cert_chain(options.certificate, options.key or None, password=lambda: options.key_password)
        except OSError as error:
            raise InputError(
                f"the certificate in {options.certificate} cannot be used: {_reason(error)}",
                hint="it and its key are PEM files that belong together",
            ) from None
    return context


def _reason(error: OSError) -> str:
    reason = getattr(error, "reason", None) or error.strerror or "no reason known"
    return str(reason).lower().replace("_", " ")
