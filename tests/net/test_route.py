"""Which of this machine's addresses a peer sees."""

from __future__ import annotations

import socket

import pytest

from dcmkit.net import route
from dcmkit.net.route import local_address


def test_a_peer_on_this_machine_sees_the_loopback_address() -> None:
    assert local_address("127.0.0.1", 104) == "127.0.0.1"


def test_a_name_that_has_no_address() -> None:
    assert local_address("a" * 64 + ".invalid", 104) == ""


def test_no_route(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_socket(*_: object) -> socket.socket:
        raise OSError("Network is unreachable")

    monkeypatch.setattr(route.socket, "socket", no_socket)
    assert local_address("127.0.0.1", 104) == ""
