"""URLs of HTTP servers, and the proxies on the way to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit

from dcmkit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

_LONGEST_URL = 8000
_PORTS = {"http": 80, "https": 443}


class Origin(NamedTuple):
    """Scheme, host and port (RFC 6454 4)."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port == _PORTS[self.scheme] else f":{self.port}")


class Url(NamedTuple):
    """A URL taken apart: where, what there, and who asks."""

    origin: Origin
    target: str
    user: str = ""
    password: str = ""

    def __repr__(self) -> str:
        return f"Url({self.origin}{self.target})"

    def __str__(self) -> str:
        return f"{self.origin}{self.target}"


def parse_url(text: str) -> Url:
    """A URL of an HTTP server. Raises: UsageError: it is none; what it says is not repeated, it may be a password."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise UsageError("the URL cannot be read", hint="say http://HOST:PORT/PATH") from None
    scheme = parts.scheme.lower()
    if scheme not in _PORTS or not host:
        raise UsageError("that is no URL of an HTTP server", hint="say http://HOST:PORT/PATH or https://...")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if len(text) > _LONGEST_URL or not all(33 <= ord(letter) < 127 for letter in target + host):
        raise UsageError("the URL has characters that are not allowed there, or is too long", hint="escape them with %")
    origin = Origin(scheme, host, _PORTS[scheme] if port is None else port)
    return Url(origin, target, unquote(parts.username or ""), unquote(parts.password or ""))


def proxy_for(origin: Origin, given: str | None, environment: Mapping[str, str]) -> Url | None:
    """The proxy on the way to an origin. Raises: UsageError: it is one that we cannot use."""
    text = given if given is not None else _proxy_of(origin, environment)
    if not text:
        return None
    try:
        url = parse_url(text if "://" in text else f"http://{text}")
    except UsageError:
        raise UsageError("the URL of the proxy cannot be used", hint="say http://HOST:PORT") from None
    if url.origin.scheme != "http":
        raise UsageError("a proxy is spoken to by plain HTTP only", hint="say http://HOST:PORT")
    return url


def _proxy_of(origin: Origin, environment: Mapping[str, str]) -> str:
    """What the environment says, in small letters first; HTTP_PROXY is a request's header in a CGI program."""
    for entry in (environment.get("no_proxy") or environment.get("NO_PROXY") or "").split(","):
        name = entry.strip().lower().removeprefix("*").lstrip(".")
        host, port = origin.host.lower(), f":{origin.port}"
        if entry.strip() == "*" or (name and f".{host}".endswith(f".{name.removesuffix(port)}")):
            return ""
    for name in (f"{origin.scheme}_proxy", "all_proxy"):
        value = environment.get(name) or ("" if "REQUEST_METHOD" in environment else environment.get(name.upper(), ""))
        if value:
            return value
    return ""
