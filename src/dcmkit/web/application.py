"""The DICOMweb application: ASGI on one side, handlers that are plain functions on the other.

What all transactions have in common is here, and nothing else: whose request it is, which route it takes, how it gets
a thread, and how its reply, or its error, goes out. Whatever a handler raises becomes a status and a problem document;
the connection is dropped only when a body has begun that cannot be finished.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from time import perf_counter
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from dcmkit.errors import DcmkitError
from dcmkit.logs import INFO, get_logger
from dcmkit.web import public_url
from dcmkit.web.authentication import Authenticator
from dcmkit.web.counters import NO_ROUTE, Counters
from dcmkit.web.exchange import OPEN, HttpError, NotModified, Reply, Request
from dcmkit.web.links import PARAMETERS as LINK_PARAMETERS
from dcmkit.web.multipart import BodyTooLargeError
from dcmkit.web.representation import AHEAD, Outgoing, not_modified, prepare
from dcmkit.web.request_body import StreamedBody
from dcmkit.web.routes import Route, Routes

log = get_logger("web")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

OUTSIDE = frozenset({"wado", "docs", "openapi.json", "health", "metrics", "ohif", "viewer"})
"""What is found beside the root of the service as well as below it."""
PROBLEM = "application/problem+json"
QUERY_LIMIT = 1 << 16
_FIELDS_LIMIT = 1000
_FORM_LIMIT = 1 << 20
"""Bytes of a body that is not stored."""
Blocks = deque[bytes | memoryview]


class Limits(NamedTuple):
    """What requests may take.

    Attributes:
        body: bytes of what is stored with one request; 0 for no limit.
        threads: requests that are answered at a time; others wait.
        uploads: requests that store at a time; further ones are told to come again.
        patience: seconds in which more of a body has to come.
    """

    body: int = 0
    threads: int = 16
    uploads: int = 16
    patience: float = 60.0


class Application:
    """An ASGI application.

    Args:
        routes: what it answers.
        root: path of the service, as `/dicom-web`, or "".
        public: URL of the service as the world knows it; "" to go by each request.
        proxies: addresses whose word on that is believed.
        authenticator: who may do what; None lets everybody do everything.
        counters: where requests are counted; they begin here.
    """

    def __init__(
        self,
        routes: Routes,
        *,
        root: str = "/dicom-web",
        public: str = "",
        proxies: Sequence[str] = (),
        authenticator: Authenticator | None = None,
        limits: Limits | None = None,
        counters: Counters | None = None,
    ) -> None:
        self.routes = routes
        self._counters = counters or Counters()
        self._counters.begin(routes.all)
        self._root = "/" + root.strip("/") if root.strip("/") else ""
        self._public = public.rstrip("/")
        self._proxies = public_url.networks(proxies)
        self._authenticator = authenticator
        self._limits = limits or Limits()
        self._threads = ThreadPoolExecutor(self._limits.threads, "dcmkit-web")
        self._stores = ThreadPoolExecutor(self._limits.uploads, "dcmkit-store")
        self._storing = 0

    def close(self) -> None:
        """End the threads, when nothing is asked any more."""
        self._threads.shutdown(cancel_futures=True)
        self._stores.shutdown(cancel_futures=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI 3."""
        if scope["type"] == "http":
            await self._answer(scope, receive, send)
        elif scope["type"] == "lifespan":
            await _live(receive, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = perf_counter()
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        headers = _headers(scope["headers"])
        body: StreamedBody | None = None
        operation, sent = NO_ROUTE, 0
        try:
            route, request = await self._request(scope, method, headers)
            operation = route.operation
            pool = self._threads
            if method not in ("GET", "OPTIONS"):
                body = self._body(receive, headers, route)
                if route.stores:
                    if self._storing >= self._limits.uploads:
                        raise _come_again()
                    pool = self._stores
                    self._storing += 1
                    self._counters.storing(self._storing)
                try:
                    await body.begin()
                    outgoing = await self._run(pool, route, request._replace(body=body), headers, scope)
                finally:
                    if route.stores:
                        self._storing -= 1
                        self._counters.storing(self._storing)
            else:
                outgoing = await self._run(pool, route, request, headers, scope)
        except NotModified as same:
            outgoing = not_modified(same.etag)
        except DcmkitError as error:
            outgoing = prepare(problem(error), headers, head=scope["method"] == "HEAD")
        if body is not None:
            if not body.is_complete:  # what is still to come would be read as the next request
                outgoing.headers.append(("connection", "close"))
            await body.end()
        try:
            sent = await self._send(outgoing, receive, send)
        finally:
            received = body.received if body is not None else 0
            spent = perf_counter() - began
            self._counters.count(operation, scope["method"], outgoing.status, sent, received, spent)
        if log.enabled_for(INFO):
            log.info("%s %s from %s: %d, %d bytes, %.1f ms", scope["method"], scope["path"],
                     (scope.get("client") or ("-",))[0], outgoing.status, sent, spent * 1000)  # fmt: skip

    # --- reading -------------------------------------------------------------------------------------------------

    async def _request(self, scope: Scope, method: str, headers: dict[str, str]) -> tuple[Route, Request]:
        """The route and the request, without its body. Raises: DcmkitError."""
        path = self._below_root(scope)
        found = self.routes.find(path) if path else None
        if found is None and scope["path"] == "/" and method == "GET":  # somebody who looks what is here
            raise HttpError(302, "there is a page on the service", headers=(("Location", "/docs"),))
        if found is None:
            raise HttpError(404, "there is no such resource", hint=f"the service is at {self._root or '/'}")
        query = _query(scope.get("query_string", b""))
        address = (scope.get("client") or ("",))[0]
        trusted = public_url.is_trusted(address, self._proxies)
        client = public_url.client_address(address, headers, self._proxies) if trusted else address
        route = found.methods.get(method)
        if route is None:
            allowed = [*found.methods, *(("HEAD",) if "GET" in found.methods else ())]
            allow = ("Allow", ", ".join(dict.fromkeys((*allowed, "OPTIONS"))))
            raise HttpError(204 if method == "OPTIONS" else 405, f"{method[:20]} is not allowed here", headers=(allow,))
        identity = OPEN
        if self._authenticator is not None and route.scopes:
            study = found.variables.get("study")
            authorize = self._authenticator.authorize
            links = dict(query)

            def decide() -> Any:
                return authorize(
                    method, scope["path"], route.scopes, headers, studies=(study,) if study else (),
                    filters=route.filters, query=links, client=client,
                )  # fmt: skip

            if self._authenticator.is_quick(headers):
                identity = decide()
            else:
                identity = await asyncio.get_running_loop().run_in_executor(self._threads, decide)
        base = self._public or public_url.base_url(
            scope.get("scheme", "http"), scope.get("server"), self._root, headers, trusted=trusted
        )
        parameters = tuple(pair for pair in query if pair[0] not in LINK_PARAMETERS)
        return route, Request(method, path, found.variables, parameters, headers, identity, base, client)

    def _below_root(self, scope: Scope) -> str:
        """The path below the root, still encoded; "" where it is beside it."""
        raw = scope.get("raw_path") or scope["path"].encode("utf-8", "surrogateescape")
        path = raw.partition(b"?")[0].decode("latin-1")
        if not self._root:
            return path or "/"
        if path == self._root or path.startswith(self._root + "/"):
            return path[len(self._root) :] or "/"
        return path if path.strip("/").partition("/")[0] in OUTSIDE else ""

    def _body(self, receive: Receive, headers: Mapping[str, str], route: Route) -> StreamedBody:
        limit = self._limits.body if route.stores else _FORM_LIMIT
        claimed = headers.get("content-length", "")
        if limit > 0 and claimed.isdigit() and int(claimed) > limit:
            raise BodyTooLargeError(f"a body of more than {limit} bytes")
        return StreamedBody(receive, limit, self._limits.patience)

    # --- answering -----------------------------------------------------------------------------------------------

    async def _run(
        self, pool: ThreadPoolExecutor, route: Route, request: Request, headers: Mapping[str, str], scope: Scope
    ) -> Outgoing:
        """The handler, and what can be done with its reply in the same thread: of the pool, where it may take time."""
        head = scope["method"] == "HEAD"

        def work(handler: Callable[[Request], Reply | None]) -> Outgoing | None:
            try:
                reply = handler(request)
                return None if reply is None else prepare(reply, headers, head=head)
            except NotModified as same:
                return not_modified(same.etag)
            except DcmkitError as error:
                return prepare(problem(error), headers, head=head)
            except Exception as error:
                log.error("%s %s failed: %s: %s", request.method, request.path, type(error).__name__, error)
                log.debug("%s", _traceback(error))
                return prepare(problem(HttpError(500, "the server failed")), headers, head=head)

        outgoing = work(route.quick) if route.quick is not None else None
        if outgoing is None:
            outgoing = await asyncio.get_running_loop().run_in_executor(pool, work, route.handler)
        assert outgoing is not None
        return outgoing

    async def _send(self, outgoing: Outgoing, receive: Receive, send: Send) -> int:
        raw = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in outgoing.headers]
        await send({"type": "http.response.start", "status": outgoing.status, "headers": raw})
        sent = 0
        if not outgoing.whole:
            return await self._stream(outgoing.blocks, receive, send)
        for block in outgoing.blocks:
            sent += len(block)
            await send({"type": "http.response.body", "body": block, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        return sent

    async def _stream(self, blocks: Any, receive: Receive, send: Send) -> int:
        """Blocks as they are made, the next ones while the last ones are on their way, unless there are many bodies."""
        loop = asyncio.get_running_loop()
        iterator = iter(blocks)
        gone = asyncio.ensure_future(_disconnected(receive))
        AHEAD.streams += 1
        pending: asyncio.Future[Blocks] | None = loop.run_in_executor(self._threads, _some, iterator)
        sent = 0
        try:
            while not gone.done():
                found = await (pending or loop.run_in_executor(self._threads, _some, iterator))
                if not found:
                    await send({"type": "http.response.body", "body": b""})
                    return sent
                pending = None if AHEAD.is_crowded else loop.run_in_executor(self._threads, _some, iterator)
                while found:
                    sent += len(found[0])
                    await send({"type": "http.response.body", "body": found.popleft(), "more_body": True})
            return sent
        except DcmkitError as error:
            log.error("an answer was cut off: %s", error)
            raise ConnectionAbortedError("the answer cannot be finished") from None
        finally:
            AHEAD.streams -= 1
            gone.cancel()
            await asyncio.gather(gone, *((pending,) if pending is not None else ()), return_exceptions=True)
            close = getattr(iterator, "close", None)
            if close is not None:
                await loop.run_in_executor(self._threads, close)


def _some(iterator: Iterator[bytes | memoryview]) -> Blocks:
    """The next blocks, as many as may be made ahead; none at the end."""
    found: Blocks = deque()
    length = 0
    for block in iterator:
        found.append(block)
        length += len(block)
        if length >= AHEAD.share:
            break
    return found


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _live(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


def _headers(raw: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    """By name in small letters; several of one name are joined (RFC 9110 5.3)."""
    found: dict[str, str] = {}
    for name, value in raw:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        found[key] = f"{found[key]}, {text}" if key in found else text
    return found


def _query(raw: bytes) -> list[tuple[str, str]]:
    """Names and values, decoded. Raises: HttpError (400, 414)."""
    if len(raw) > QUERY_LIMIT:
        raise HttpError(414, f"a query of more than {QUERY_LIMIT} bytes")
    if not raw:
        return []
    try:
        return parse_qsl(raw.decode("ascii"), keep_blank_values=True, max_num_fields=_FIELDS_LIMIT, errors="strict")
    except ValueError:
        hint = f"at most {_FIELDS_LIMIT} parameters, in UTF-8, percent-encoded"
        raise HttpError(400, "the query cannot be read", hint=hint) from None


def _come_again() -> HttpError:
    return HttpError(503, "too much is being stored at the moment", headers=(("Retry-After", "2"),))


def problem(error: DcmkitError) -> Reply:
    """An error as its answer (RFC 9457)."""
    status = error.http_status
    headers: tuple[tuple[str, str], ...] = getattr(error, "headers", ())
    if status == 204:
        return Reply(204, headers=headers)
    title = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else "Error"
    document = {"title": title, "status": status, "detail": error.message}
    if status >= 500:  # its hint is for whoever runs the server
        log.error("answered with %d: %s", status, error)
    elif error.hint:
        document["hint"] = error.hint
    return Reply(status, json.dumps(document).encode(), PROBLEM, headers)


def _traceback(error: Exception) -> str:
    import traceback

    return "".join(traceback.format_exception(error))
