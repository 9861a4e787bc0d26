"""What the server says of itself: capabilities (PS3.18 8.9), OpenAPI, a page to try it with, and whether it lives."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from dcmkit import __version__
from dcmkit.web.exchange import Reply, Request, make_etag
from dcmkit.web.negotiation import JSON, ONE, Offer, select
from dcmkit.web.routes import Route
from dcmkit.web.wadl import MEDIA_TYPE as WADL

if TYPE_CHECKING:
    from collections.abc import Hashable

OPENAPI = "application/vnd.oai.openapi+json"
_PAGE = os.path.join(os.path.dirname(__file__), "docs.html")
_DESCRIPTIONS = (Offer(WADL, forms=(ONE,)), Offer("application/xml", forms=(ONE,)), Offer(JSON, forms=(ONE,)),
                 Offer(OPENAPI, forms=(ONE,)))  # fmt: skip
_KEPT = 8
"""Documents that are kept: there is one for each name by which the server is called, and anybody may call it names."""


class Capabilities:
    """Describes a server by its routes.

    Args:
        routes: gives all of them, these too.
        title: of the service.
        version: of the server.
    """

    def __init__(
        self, routes: Callable[[], Sequence[Route]], *, title: str = "dcmkit DICOMweb", version: str = __version__
    ) -> None:
        self._routes, self._title, self._version = routes, title, version
        self._documents: dict[Hashable, Reply] = {}

    def routes(self) -> tuple[Route, ...]:
        """All for everybody: nothing here is about patients."""
        return (
            Route("OPTIONS", "/", self._capabilities, (), "retrieveCapabilities", "What the server can do.", "Server",
                  produces=(WADL, JSON)),
            Route("GET", "/openapi.json", self._openapi, (), "getOpenAPI", "What the server can do, as OpenAPI.",
                  "Server", produces=(JSON,)),
            Route("GET", "/docs", self._docs, (), "getDocumentation", "A page to read and try all this.", "Server",
                  produces=("text/html",)),
            Route("GET", "/health", self._health, (), "getHealth", "Whether the server answers.", "Server",
                  produces=(JSON,)),
        )  # fmt: skip

    def _capabilities(self, request: Request) -> Reply:
        choice = select(_DESCRIPTIONS, request.headers.get("accept"))
        return self._document(request, choice.media_type)

    def _openapi(self, request: Request) -> Reply:
        return self._document(request, JSON)

    def _document(self, request: Request, media_type: str) -> Reply:
        """A description, kept for who asks by the same URL."""
        key = (request.base_url, media_type)
        found = self._documents.get(key)
        if found is None:
            body = self._wadl(request) if media_type in (WADL, "application/xml") else self._json(request)
            found = Reply(200, body, media_type, etag=make_etag(body), private=False)
            if len(self._documents) >= _KEPT:
                self._documents.clear()
            self._documents[key] = found
        return found

    def _wadl(self, request: Request) -> bytes:
        from dcmkit.web import wadl

        return wadl.document(self._routes(), request.base_url, title=self._title)

    def _json(self, request: Request) -> bytes:
        from dcmkit.web import openapi

        described = openapi.document(self._routes(), request.base_url, title=self._title, version=self._version)
        return json.dumps(described, ensure_ascii=False).encode()

    def _docs(self, request: Request) -> Reply:
        return page()

    def _health(self, request: Request) -> Reply:
        return Reply(200, b'{"status": "ok"}', JSON, (("Cache-Control", "no-store"),), private=False)


@lru_cache(maxsize=1)
def page() -> Reply:
    """The page, with a policy that lets it run its own script and talk to its own server only."""
    with open(_PAGE, "rb") as file:
        body = file.read()
    policy = (
        f"default-src 'none'; connect-src 'self'; img-src blob:; script-src {_source(body, 'script')};"
        f" style-src {_source(body, 'style')}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    headers = (("Content-Security-Policy", policy), ("Referrer-Policy", "no-referrer"))
    return Reply(200, body, "text/html; charset=utf-8", headers, make_etag(body), private=False)


def _source(body: bytes, element: str) -> str:
    found = re.search(rf"<{element}>(.*?)</{element}>".encode(), body, re.DOTALL)
    assert found is not None
    return f"'sha256-{base64.b64encode(hashlib.sha256(found[1]).digest()).decode()}'"
