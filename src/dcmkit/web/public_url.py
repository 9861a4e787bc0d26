"""The URL by which user agents reach the service: as set, or as the request and trusted proxies say (RFC 7239)."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from dcmkit.errors import UsageError

Network = IPv4Network | IPv6Network

_HOST = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")
_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]{1,100}){1,10}")
_USUAL = {"http": 80, "https": 443}
_FORWARDED = re.compile(r'(?i)(proto|host)\s*=\s*(?:"([^"]{1,300})"|([^;,"\s]{1,300}))')


def networks(addresses: Collection[str]) -> tuple[Network, ...]:
    """The addresses of proxies: single ones, or networks as `10.0.0.0/8`. Raises: UsageError."""
    try:
        return tuple(ip_network(address, strict=False) for address in addresses)
    except ValueError as error:
        raise UsageError(f"no address of a proxy: {error}") from None


def is_trusted(client: str, proxies: Collection[Network]) -> bool:
    """Whether a request comes from one of the proxies."""
    if not proxies:
        return False
    try:
        address = ip_address(client.partition("%")[0])
    except ValueError:
        return False
    return any(address in network for network in proxies)


def base_url(
    scheme: str, server: tuple[str, int | None] | None, root: str, headers: Mapping[str, str], *, trusted: bool
) -> str:
    """The URL of the service's root, without a slash at its end.

    Args:
        server: address and port of the listener, where no Host header helps.
        trusted: believe what a proxy says: Forwarded, or X-Forwarded-Proto, -Host and -Prefix.
    """
    host = headers.get("host", "")
    prefix = ""
    if trusted:
        said = {name.lower(): quoted or plain for name, quoted, plain in _first(headers.get("forwarded", ""))}
        proto = said.get("proto") or headers.get("x-forwarded-proto", "").partition(",")[0].strip()
        if proto.lower() in ("http", "https"):
            scheme = proto.lower()
        host = said.get("host") or headers.get("x-forwarded-host", "").partition(",")[0].strip() or host
        prefix = headers.get("x-forwarded-prefix", "").strip().rstrip("/")
    if not _HOST.fullmatch(host):
        name, port = server or ("localhost", None)
        host = _with_port(f"[{name}]" if ":" in name else name, port)
    elif not trusted and server is not None and _USUAL.get(scheme) != server[1] and _is_us(host, server[0]):
        host = _with_port(host, server[1])
    if not _PREFIX.fullmatch(prefix):
        prefix = ""
    return f"{scheme}://{host}{prefix}{root}"


def _is_us(host: str, address: str) -> bool:
    """Whether a Host header without a port names the very address that was connected to.

    dicomweb-client forgets the port (RFC 9110 7.2). A name may be that of a proxy on a port of its own; what names our
    own socket cannot be reached elsewhere.
    """
    return host in (address, f"[{address}]") or (host == "localhost" and address in ("127.0.0.1", "::1"))


def _with_port(host: str, port: int | None) -> str:
    return f"{host}:{port}" if port else host


def _first(header: str) -> list[tuple[str, str, str]]:
    """The pairs of the first proxy, the one that the user agent talked to."""
    return _FORWARDED.findall(header.partition(",")[0])


def client_address(client: str, headers: Mapping[str, str], proxies: Collection[Network]) -> str:
    """Whom a request comes from: the last address that a trusted proxy did not add itself."""
    if not is_trusted(client, proxies):
        return client
    for one in reversed(headers.get("x-forwarded-for", "").split(",")):
        address = one.strip()
        try:
            ip_address(address)
        except ValueError:
            break
        client = address
        if not is_trusted(address, proxies):
            break
    return client
