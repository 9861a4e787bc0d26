"""What the server says of itself."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import fromstring

import pytest

from dcmkit.web.capabilities import Capabilities, page
from dcmkit.web.exchange import Reply, Request
from dcmkit.web.negotiation import NotAcceptableError
from dcmkit.web.routes import Route, Routes
from dcmkit.web.searching import Searching
from dcmkit.web.service import ServiceOptions, transactions
from tests.archive.objects import archive_in
from tests.web.test_openapi import check

SERIES, INSTANCE = "/studies/{study}/series/{series}", "/studies/{study}/series/{series}/instances/{instance}"
TABLE_H_1 = {
    "get /studies", "post /studies", "get /studies/{study}", "post /studies/{study}", "get /studies/{study}/series",
    *(f"get {level}/{resource}" for level in ("/studies/{study}", SERIES, INSTANCE)
      for resource in ("metadata", "rendered", "thumbnail", "bulkdata", "pixeldata")),
    f"get {SERIES}", f"get {SERIES}/instances", f"get {INSTANCE}", f"get {INSTANCE}/frames/{{frames}}",
    f"get {INSTANCE}/frames/{{frames}}/rendered", f"get {INSTANCE}/frames/{{frames}}/thumbnail",
}  # fmt: skip
"""The resources of the studies service and their transactions (PS3.18 H)."""


def described(more: tuple[Route, ...] = ()) -> tuple[Routes, Capabilities]:
    everything: list[Route] = [*more]
    made = Capabilities(lambda: everything, title="Ours")
    everything += made.routes()
    return Routes(everything), made


def ask(routes: Routes, method: str, path: str, accept: str = "", base: str = "http://a/b") -> Reply:
    found = routes.find(path)
    assert found is not None
    headers = {"accept": accept} if accept else {}
    return found.methods[method].handler(Request(method, path, headers=headers, base_url=base))


def content(reply: Reply) -> bytes:
    assert reply.status == 200
    assert isinstance(reply.body, bytes)
    return reply.body


def test_capabilities_are_wadl_unless_json_is_accepted():
    routes, _ = described()
    reply = ask(routes, "OPTIONS", "/")
    assert reply.content_type == "application/vnd.sun.wadl+xml"
    assert b'base="http://a/b/"' in content(reply)
    assert ask(routes, "OPTIONS", "/", "application/xml").body == reply.body
    found = ask(routes, "OPTIONS", "/", "application/json")
    assert json.loads(content(found))["info"]["title"] == "Ours"
    with pytest.raises(NotAcceptableError):
        ask(routes, "OPTIONS", "/", "image/png")


def test_openapi_is_of_all_routes(tmp_path: Path):
    with archive_in(tmp_path) as archive:
        routes, _ = described(Searching(archive).routes())
        reply = ask(routes, "GET", "/openapi.json")
        api: dict[str, Any] = json.loads(content(reply))
        check(api)
        assert set(api["paths"]) == {route.template for route in routes.all} - {"/"}
        assert reply.etag
        assert reply.content_type == "application/json"


def test_the_whole_service_is_described(tmp_path: Path):
    with archive_in(tmp_path) as archive:
        routes, closers = transactions(archive, archive, ServiceOptions())
        try:
            api: dict[str, Any] = json.loads(content(ask(routes, "GET", "/openapi.json")))
            wadl = content(ask(routes, "OPTIONS", "/"))
        finally:
            for close in closers:
                close()
    check(api)
    operations = {
        f"{method} {path}" for path, item in api["paths"].items() for method in item if method != "parameters"
    }
    assert operations >= TABLE_H_1
    assert len(operations) == len(routes.all) - 1
    assert len(list(fromstring(wadl).iter("{http://wadl.dev.java.net/2009/02}method"))) == len(operations)


def test_documents_are_kept_but_not_many():
    routes, made = described()
    first = ask(routes, "GET", "/openapi.json")
    assert ask(routes, "GET", "/openapi.json") is first
    assert ask(routes, "GET", "/openapi.json", base="http://other").body != first.body
    for number in range(100):
        ask(routes, "GET", "/openapi.json", base=f"http://{number}")
    assert len(made._documents) <= 8


def test_health():
    routes, _ = described()
    reply = ask(routes, "GET", "/health")
    assert json.loads(content(reply)) == {"status": "ok"}
    assert ("Cache-Control", "no-store") in reply.headers


def test_everybody_may_ask():
    routes, _ = described()
    assert all(not route.scopes for route in routes.all)


def test_the_page_needs_nothing_from_elsewhere():
    text = content(page()).decode()
    assert re.findall(r"""(?:src|href)=["']([^"']*)""", text) == ["openapi.json"]
    assert not re.search(r"https?://|@import|url\(|innerHTML|document\.write|eval\(|\son[a-z]+=\"", text)
    assert not re.search(r"\sstyle=", text)


def test_the_page_runs_its_own_script_only():
    reply = page()
    policy = dict(reply.headers)["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for element in ("script", "style"):
        found = re.search(rf"<{element}>(.*?)</{element}>", content(reply).decode(), re.DOTALL)
        assert found is not None
        assert base64.b64encode(hashlib.sha256(found[1].encode()).digest()).decode() in policy
