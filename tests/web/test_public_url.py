"""The URL the world knows the service by."""

from __future__ import annotations

import pytest

from dcmkit.errors import UsageError
from dcmkit.web.public_url import base_url, client_address, is_trusted, networks

SERVER = ("127.0.0.1", 8042)


@pytest.mark.parametrize(("headers", "trusted", "url"), [
    ({"host": "pacs.example:8042"}, False, "http://pacs.example:8042/dicom-web"),
    ({}, False, "http://127.0.0.1:8042/dicom-web"),
    ({"host": "a b"}, False, "http://127.0.0.1:8042/dicom-web"),
    ({"host": "evil.example/x?"}, False, "http://127.0.0.1:8042/dicom-web"),
    ({"host": "[::1]:80"}, False, "http://[::1]:80/dicom-web"),
    ({"host": "127.0.0.1"}, False, "http://127.0.0.1:8042/dicom-web"),
    ({"host": "localhost"}, False, "http://localhost:8042/dicom-web"),
    ({"host": "localhost"}, True, "http://localhost/dicom-web"),
    ({"host": "pacs.example"}, False, "http://pacs.example/dicom-web"),
    ({"host": "in", "x-forwarded-host": "out", "x-forwarded-proto": "https"}, False, "http://in/dicom-web"),
    ({"host": "in", "x-forwarded-host": "out", "x-forwarded-proto": "https"}, True, "https://out/dicom-web"),
    ({"host": "in", "x-forwarded-prefix": "/pacs/"}, True, "http://in/pacs/dicom-web"),
    ({"host": "in", "x-forwarded-prefix": "//x"}, True, "http://in/dicom-web"),
    ({"host": "in", "forwarded": 'for=1.2.3.4;proto=https;host="out:8443", for=x'}, True, "https://out:8443/dicom-web"),
    ({"host": "in", "x-forwarded-proto": "javascript"}, True, "http://in/dicom-web"),
])  # fmt: skip
def test_what_requests_and_proxies_say(headers: dict[str, str], trusted: bool, url: str) -> None:
    assert base_url("http", SERVER, "/dicom-web", headers, trusted=trusted) == url


def test_proxies() -> None:
    known = networks(["10.0.0.0/8", "::1"])
    assert is_trusted("10.1.2.3", known)
    assert is_trusted("::1", known)
    assert not is_trusted("192.0.2.1", known)
    assert not is_trusted("", known)
    assert not is_trusted("10.1.2.3", ())
    with pytest.raises(UsageError):
        networks(["proxy"])


def test_whom_a_request_comes_from() -> None:
    known = networks(["10.0.0.0/8"])
    forwarded = {"x-forwarded-for": "6.6.6.6, 192.0.2.7, 10.0.0.2"}
    assert client_address("192.0.2.1", forwarded, known) == "192.0.2.1"
    assert client_address("10.0.0.1", forwarded, known) == "192.0.2.7"
    assert client_address("10.0.0.1", {"x-forwarded-for": "unknown"}, known) == "10.0.0.1"
    assert client_address("10.0.0.1", {}, known) == "10.0.0.1"
