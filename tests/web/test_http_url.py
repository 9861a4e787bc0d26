"""URLs taken apart, and which proxy is asked."""

from __future__ import annotations

import pytest

from dcmkit.errors import UsageError
from dcmkit.web.http_url import Origin, parse_url, proxy_for

HTTP, HTTPS = Origin("http", "pacs.example", 80), Origin("https", "pacs.example", 8443)


def test_parts() -> None:
    url = parse_url("HTTPS://jane:p%40ss@Pacs.Example:8443/a/b?c=d#e")
    assert url == (HTTPS, "/a/b?c=d", "jane", "p@ss")
    assert str(url) == "https://pacs.example:8443/a/b?c=d"
    assert "p@ss" not in repr(url)
    assert "p@ss" not in f"{url}"
    assert parse_url("http://[::1]").origin == ("http", "::1", 80)
    assert str(parse_url("http://[::1]:8080/x")) == "http://[::1]:8080/x"
    assert parse_url("http://h").target == "/"


@pytest.mark.parametrize(
    "text",
    ["", "pacs/x", "ftp://h/", "http://", "http://h:x/", "http://h:99999/", "http://h/a b", "http://h/é", "http://[::1",
     "http://h/" + "x" * 9000],
)  # fmt: skip
def test_what_is_no_url(text: str) -> None:
    with pytest.raises(UsageError):
        parse_url(text)


@pytest.mark.parametrize(
    ("origin", "environment", "proxy"),
    [
        (HTTP, {}, None),
        (HTTP, {"http_proxy": "http://p:3128"}, "http://p:3128/"),
        (HTTP, {"HTTP_PROXY": "p:3128"}, "http://p:3128/"),
        (HTTP, {"HTTP_PROXY": "p:3128", "REQUEST_METHOD": "GET"}, None),
        (HTTP, {"https_proxy": "http://p"}, None),
        (HTTPS, {"https_proxy": "http://p"}, "http://p/"),
        (HTTPS, {"all_proxy": "http://p"}, "http://p/"),
        (HTTP, {"http_proxy": "http://p", "no_proxy": "*"}, None),
        (HTTP, {"http_proxy": "http://p", "no_proxy": "localhost, example"}, None),
        (HTTP, {"http_proxy": "http://p", "no_proxy": ".example"}, None),
        (HTTP, {"http_proxy": "http://p", "no_proxy": "*.example"}, None),
        (HTTP, {"http_proxy": "http://p", "no_proxy": "ample"}, "http://p/"),
        (HTTP, {"http_proxy": "http://p", "NO_PROXY": "pacs.example:80"}, None),
        (HTTP, {"http_proxy": "http://p", "NO_PROXY": "pacs.example:81"}, "http://p/"),
    ],
)
def test_proxies_of_the_environment(origin: Origin, environment: dict[str, str], proxy: str | None) -> None:
    found = proxy_for(origin, None, environment)
    assert (str(found) if found else None) == proxy


def test_a_proxy_that_is_given() -> None:
    assert proxy_for(HTTP, "", {"http_proxy": "http://p"}) is None
    assert str(proxy_for(HTTP, "q:1", {"http_proxy": "http://p"})) == "http://q:1/"
    for text in ("socks5://u:s3cret@p", "https://u:s3cret@p", "http://u:s3cret@"):
        with pytest.raises(UsageError) as caught:
            proxy_for(HTTP, text, {})
        assert "s3cret" not in str(caught.value)
