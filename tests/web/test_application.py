"""What all transactions have in common."""

from __future__ import annotations

import base64
import json
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from dcmkit.errors import InvalidDataSetError, OutputError
from dcmkit.web.application import QUERY_LIMIT, Application, Limits
from dcmkit.web.authentication import Authenticator
from dcmkit.web.exchange import FileSlice, HttpError, Reply, Request, Rope
from dcmkit.web.routes import Route, Routes
from tests.web.asgi import call

SEEN: list[Request] = []


def handler(request: Request) -> Reply:
    SEEN.append(request)
    what = request.variables.get("study", "")
    if what == "bad":
        raise InvalidDataSetError("no data set", hint="look at it")
    if what == "full":
        raise OutputError("out of disk space", hint="/secret/path")
    if what == "bug":
        raise RuntimeError("secret")
    if what == "odd":
        raise HttpError(410, "gone", headers=(("Retry-After", "1"),))
    if what == "known":
        request.unless_known("e")
    if what == "stream":
        return Reply(200, (bytes([number]) * 100_000 for number in range(100)), "application/zip", length=10_000_000)
    if what == "cut":
        return Reply(200, cut(), "application/zip")
    return Reply(200, b'{"a": "b"}' * 500, "application/json", etag="e")


def cut() -> Iterator[bytes]:
    yield b"x" * (1 << 22)
    raise OutputError("the file has gone")


def store(request: Request) -> Reply:
    return Reply(200, str(sum(map(len, request.body))).encode(), "text/plain")


def routes(more: tuple[Route, ...] = ()) -> Routes:
    return Routes([
        Route("GET", "/studies/{study}", handler, ("retrieve",), "retrieve", "", "Retrieve"),
        Route("GET", "/wado", handler, ("retrieve",), "uri", "", "URI"),
        Route("POST", "/studies", store, ("store",), "store", "", "Store", stores=True),
        Route("POST", "/form", store, ("store",), "form", "", "Store"),
        *more,
    ])  # fmt: skip


@pytest.fixture
def app() -> Iterator[Application]:
    application = Application(routes(), limits=Limits(body=1 << 20))
    yield application
    application.close()


def test_a_request_reaches_its_handler(app: Application) -> None:
    answer = call(app, "GET", "/dicom-web/studies/1%2E2?a=%C3%A9&linkStudy=1.2", {"Accept": "a/b", "X-One": "1"})
    assert answer.status == 200
    request = SEEN[-1]
    assert request.variables == {"study": "1.2"}
    assert request.parameters == (("a", "é"),)
    assert request.headers["x-one"] == "1"
    assert request.base_url == "http://archive.example/dicom-web"
    assert request.client == "127.0.0.1"
    assert answer.headers["etag"] == '"e"'


def test_head_and_compression(app: Application) -> None:
    answer = call(app, "HEAD", "/dicom-web/studies/1")
    assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b"", "5000")
    answer = call(app, "GET", "/dicom-web/studies/1", {"accept-encoding": "gzip"})
    assert zlib.decompress(answer.body, 31) == b'{"a": "b"}' * 500
    assert call(app, "GET", "/dicom-web/studies/known", {"if-none-match": '"e"'}).status == 304


@pytest.mark.parametrize(("method", "path", "status"), [
    ("GET", "/dicom-web/nothing", 404),
    ("GET", "/elsewhere", 404),
    ("GET", "/", 302),
    ("POST", "/", 404),
    ("GET", "/dicom-web/", 404),
    ("GET", "/dicom-webstudies/1", 404),
    ("DELETE", "/dicom-web/studies/1", 405),
    ("BREW", "/dicom-web/studies/1", 405),
    ("OPTIONS", "/dicom-web/studies/1", 204),
    ("GET", "/dicom-web/studies/bad", 400),
    ("GET", "/dicom-web/studies/full", 507),
    ("GET", "/dicom-web/studies/bug", 500),
    ("GET", "/dicom-web/studies/odd", 410),
    ("GET", "/dicom-web/studies/1?a=%FF", 400),
    ("GET", "/dicom-web/studies/1?" + "&" * 900, 200),
    ("GET", "/dicom-web/studies/1?" + "a&" * 2000, 400),
    ("GET", "/dicom-web/studies/1?a=" + "b" * QUERY_LIMIT, 414),
    ("GET", "/wado?requestType=WADO", 200),
    ("GET", "/dicom-web/wado", 200),
])  # fmt: skip
def test_statuses(app: Application, method: str, path: str, status: int) -> None:
    answer = call(app, method, path)
    assert answer.status == status
    if status >= 400:
        document = json.loads(answer.body)
        assert answer.headers["content-type"] == "application/problem+json"
        assert document["status"] == status
        assert "secret" not in answer.body.decode()
        assert ("hint" in document) is (status in (400, 404) and "hint" in document)
    if status == 302:
        assert answer.headers["location"] == "/docs"
    if status in (204, 405):
        assert answer.headers["allow"] == "GET, HEAD, OPTIONS"
    if status == 410:
        assert answer.headers["retry-after"] == "1"


def test_what_is_quick_needs_no_thread(app: Application) -> None:
    where: list[str] = []

    def quick(request: Request) -> Reply | None:
        where.append(threading.current_thread().name)
        if request.parameter("bug"):
            raise RuntimeError("secret")
        return None if request.parameter("slow") else Reply(200, b"quick", "text/plain")

    def slow(request: Request) -> Reply:
        where.append(threading.current_thread().name)
        return Reply(200, b"slow", "text/plain")

    more = Route("GET", "/quick", slow, (), "quick", "", "Search", quick=quick)
    app = Application(routes((more,)))
    assert call(app, "GET", "/dicom-web/quick").body == b"quick"
    assert call(app, "GET", "/dicom-web/quick?slow=1").body == b"slow"
    assert call(app, "GET", "/dicom-web/quick?bug=1").status == 500
    assert [name.startswith("dcmkit-web") for name in where] == [False, False, True, False]
    app.close()


def test_long_answers_are_streamed(app: Application) -> None:
    answer = call(app, "GET", "/dicom-web/studies/stream")
    assert answer.headers["content-length"] == "10000000"
    assert answer.body == b"".join(bytes([number]) * 100_000 for number in range(100))


def test_an_answer_that_cannot_be_finished_ends_the_connection(app: Application) -> None:
    with pytest.raises(ConnectionAbortedError):
        call(app, "GET", "/dicom-web/studies/cut")


def test_files_are_streamed(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(range(256)) * 20_000)
    rope = Rope((b"head", FileSlice(str(path), 0, 5_120_000), b"tail"))
    more = Route("GET", "/rope", lambda request: Reply(200, rope, "a/b"), (), "rope", "", "Retrieve")
    app = Application(routes((more,)), root="")
    whole = call(app, "GET", "/rope")
    assert whole.body == b"head" + path.read_bytes() + b"tail"
    part = call(app, "GET", "/rope", {"range": "bytes=2-3000001"})
    assert (part.status, part.body) == (206, whole.body[2:3000002])
    app.close()


def test_bodies(app: Application) -> None:
    assert call(app, "POST", "/dicom-web/studies", {}, [b"a" * 100_000] * 5).body == b"500000"
    assert call(app, "POST", "/dicom-web/studies", {}, b"").body == b"0"
    answer = call(app, "POST", "/dicom-web/studies", {}, [b"a" * 100_000] * 50)
    assert answer.status == 413
    assert answer.headers["connection"] == "close"
    assert call(app, "POST", "/dicom-web/studies", {"content-length": "99999999"}).status == 413
    assert call(app, "POST", "/dicom-web/studies", {}, b"abc", lost=True).status == 400
    assert call(app, "POST", "/dicom-web/form", {}, [b"a" * 100_000] * 11).status == 413


def test_more_uploads_than_allowed() -> None:
    app = Application(routes(), limits=Limits(uploads=1))
    app._storing = 1
    answer = call(app, "POST", "/dicom-web/studies", {}, b"abc")
    assert (answer.status, answer.headers["retry-after"]) == (503, "2")
    app._storing = 0
    assert call(app, "POST", "/dicom-web/studies", {}, b"abc").status == 200
    assert app._storing == 0
    app.close()


def test_who_may_do_what() -> None:
    app = Application(routes(), authenticator=Authenticator(anonymous=("retrieve",)))
    assert call(app, "GET", "/dicom-web/studies/1").status == 200
    assert call(app, "POST", "/dicom-web/studies", {}, b"a" * 100).status == 403
    token = base64.b64encode(b"a:b").decode()
    assert call(app, "GET", "/dicom-web/studies/1", {"authorization": f"Basic {token}"}).status == 403
    app.close()


def test_forwarded_headers_of_trusted_proxies() -> None:
    app = Application(routes(), proxies=("127.0.0.1",))
    headers = {"x-forwarded-proto": "https", "x-forwarded-host": "out.example", "x-forwarded-for": "192.0.2.7"}
    call(app, "GET", "/dicom-web/studies/1", headers)
    assert (SEEN[-1].base_url, SEEN[-1].client) == ("https://out.example/dicom-web", "192.0.2.7")
    call(app, "GET", "/dicom-web/studies/1", headers, client="192.0.2.1")
    assert (SEEN[-1].base_url, SEEN[-1].client) == ("http://archive.example/dicom-web", "192.0.2.1")
    app.close()
    app = Application(routes(), public="https://public.example/x/")
    call(app, "GET", "/dicom-web/studies/1")
    assert SEEN[-1].base_url == "https://public.example/x"
    app.close()
