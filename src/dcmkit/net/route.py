"""Which of this machine's addresses a peer sees."""

from __future__ import annotations

import socket


def local_address(host: str, port: int) -> str:
    """The address of this machine from which `host` is reached, "" where that cannot be told; nothing is sent.

    Args:
        host: name or IP address.
        port: any of its ports.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        return ""
    for family, kind, protocol, _, address in found:
        try:
            with socket.socket(family, kind, protocol) as sock:
                sock.connect(address)  # of a datagram socket: only the route is looked up
                return str(sock.getsockname()[0])
        except OSError:
            continue
    return ""
