"""HTTP as nobody should speak it, over real sockets: the server answers in bounds, and others are served."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.archive.objects import part10
from tests.hostile import web
from tests.hostile.web import HEALTH, Site, all_of, ask, connect, instance, say, statuses, until

pytestmark = pytest.mark.hostile
GET = b"GET /dicom-web/health HTTP/1.1\r\nHost: here\r\n"
CLOSE = b"Connection: close\r\n\r\n"
POST = b"POST /dicom-web/studies HTTP/1.1\r\nHost: here\r\n"
SMUGGLED = b"GET /dicom-web/studies/smuggled HTTP/1.1\r\nHost: here\r\n\r\n"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with web.site(tmp_path_factory.mktemp("site")) as running:
        web.seed(running.port, "1.2.3", "1.2.4")
        yield running


@pytest.fixture
def here(shared: Site) -> Iterator[Site]:
    """Well before and after each test."""
    web.assert_well(shared.port)
    yield shared
    web.assert_well(shared.port)


# --- too slow, and too much ------------------------------------------------------------------------------------------


def test_slow_heads_are_ended_and_keep_nobody_out(tmp_path: Path) -> None:
    """A byte now and then is no progress: the head has to be there in time, of the first request and of later ones."""
    settings = web.SETTINGS.replace(head_timeout=0.5, keep_alive=0.5, stall_timeout=1.0)
    with web.site(tmp_path, settings) as here:
        fresh = [connect(here.port) for _ in range(20)]
        used = [connect(here.port) for _ in range(20)]
        try:
            for sock in used:
                sock.sendall(HEALTH)
                assert sock.recv(4096)
            slow = [*fresh[10:], *used]  # the others say nothing at all
            head, open_ = iter(GET * 100), set(fresh + used)
            deadline = time.monotonic() + 15
            while open_ and time.monotonic() < deadline:
                byte = bytes((next(head),))
                open_ -= {sock for sock in list(open_) if not _drip(sock, byte if sock in slow else b"")}
            assert not open_
        finally:
            for sock in fresh + used:
                sock.close()


def _drip(sock: socket.socket, byte: bytes) -> bool:
    """Say a byte; whether the server still listens."""
    sock.settimeout(0.002)
    try:
        if byte:
            sock.sendall(byte)
        return sock.recv(4096) != b""
    except TimeoutError:
        return True
    except OSError:
        return False


@pytest.mark.parametrize(
    ("beginning", "more", "status"),
    [
        (b"GET /", b"x" * 65536, 414),
        (b"GET /dicom-web/studies?PatientID=", b"%41" * 20000, 414),
        (GET + b"X: ", b"x" * 65536, 431),
        (GET + b"X", b"x" * 65536, 431),
        (GET, b"X: x\r\n" * 10000, 431),
        (GET, b"X:\r\n" * 10000, 431),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", b"X: x\r\n" * 10000, 431),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX:", b"x" * 65536, 431),
        (POST + b"Transfer-Encoding: chunked\r\n\r\n5;a=", b"x" * 65536, 431),
        (b"X" * 10, b"X" * 65536, 400),
        (b"", b"\r\n" * 32768, 400),
    ],
    ids=[
        "target",
        "query",
        "value",
        "name",
        "fields",
        "empty fields",
        "trailers",
        "trailer",
        "chunk",
        "method",
        "lines",
    ],
)
def test_no_head_is_endless(here: Site, beginning: bytes, more: bytes, status: int) -> None:
    """100 MB of it: cut off at the bounds, and the answer is there to be read."""
    said = 0
    with connect(here.port) as sock:
        with contextlib.suppress(ConnectionError):
            sock.sendall(beginning)
            for _ in range(1600):
                sock.sendall(more)
                said += len(more)
        answer = all_of(sock)
    assert said < 16 << 20, "it listened all the time"
    assert not answer or statuses(answer) == [status]


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /dicom-web/studies/" + b"1" * 70000 + b" HTTP/1.1\r\nHost: here\r\n" + CLOSE, 414),
        (GET + b"X: " + b"x" * 70000 + b"\r\n" + CLOSE, 431),
        (GET + b"X: x\r\n" * 10000 + CLOSE, 431),
        (GET + b"Cookie: " + b"x" * 30000 + b"\r\n" + CLOSE, 200),
    ],
)
def test_a_long_head_that_comes_at_once(here: Site, head: bytes, status: int) -> None:
    assert statuses(say(here.port, head)) == [status]


def test_a_thousand_idle_connections(here: Site) -> None:
    threads = threading.active_count()
    files = web.descriptors()
    idle = []
    try:
        for _ in range(1000):
            idle.append(connect(here.port))
            idle[-1].sendall(HEALTH)
        for sock in idle:
            assert sock.recv(4096).startswith(b"HTTP/1.1 200")
        web.assert_well(here.port)
        assert threading.active_count() <= threads + 16
    finally:
        for sock in idle:
            sock.close()
    assert until(lambda: web.descriptors() <= files + 4)


def test_two_hundred_at_once(here: Site) -> None:
    """All are answered, those that search, retrieve and store."""
    paths = ("/health", "/studies", f"/studies/{web.STUDY}/metadata", instance("1.2.3"))

    def one(number: int) -> int:
        if number % 5:
            return ask(here.port, "GET", paths[number % 4]).status
        return web.store(here.port, part10(f"1.2.77.{number}")).status

    with ThreadPoolExecutor(200) as many:
        answers = list(many.map(one, range(200)))
    assert {answer for number, answer in enumerate(answers) if number % 5} == {200}
    assert set(answers) <= {200, 503}


# --- requests that mean two things -----------------------------------------------------------------------------------

BODY = web.multipart(b"none")
_KIND = f"Content-Type: {web.MULTIPART}\r\n".encode()


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        b"Content-Length: 0\r\nContent-Length: 60\r\n\r\n",
        b"Content-Length: 0, 60\r\n\r\n",
        b"Content-Length: +0\r\n\r\n",
        b"Content-Length: -1\r\n\r\n",
        b"Content-Length: 0x0\r\n\r\n",
        b"Content-Length: 99999999999999999999999999\r\n\r\n",
        b"Content-Length: 18446744073709551616\r\n\r\n",
        b"Content-Length: \r\n\r\n",
        b"Content-Length : 0\r\n\r\n",
        b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: identity\r\n\r\n",
        b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
        b"X: x\r\n Transfer-Encoding: chunked\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\ng\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n 0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\n\n0\n\n",
        b"X: a\x00b\r\n\r\n",
        b"X: a\rb: c\r\n\r\n",
        b"\x00: x\r\n\r\n",
        b": x\r\n\r\n",
        b"no colon\r\n\r\n",
    ],
)
def test_nothing_is_smuggled(here: Site, framing: bytes) -> None:
    """What two readers may take for different requests is refused, and the connection closed."""
    answer = say(here.port, POST + _KIND + framing + SMUGGLED, half_close=True)
    assert len(statuses(answer)) <= 1, answer
    assert not answer or 400 <= statuses(answer)[0] < 500, answer
    assert b"smuggled" not in answer


def test_a_chunk_of_exabytes(here: Site) -> None:
    """It is not waited for in memory: what came until the end of the connection is what there is."""
    answer = say(
        here.port, POST + _KIND + b"Transfer-Encoding: chunked\r\n\r\n7FFFFFFFFFFFFFFF\r\n" + BODY, half_close=True
    )
    assert statuses(answer) in ([], [400], [409])


def test_chunks_of_one_byte(here: Site) -> None:
    body = web.multipart(part10("1.2.88.1"))
    chunks = b"".join(b"1;x=y\r\n%c\r\n" % byte for byte in body) + b"0\r\nTrailer: x\r\n\r\n"
    assert statuses(say(here.port, POST + _KIND + b"Transfer-Encoding: chunked\r\n" + CLOSE + chunks)) == [200]


def test_a_body_of_another_length_than_it_says(here: Site) -> None:
    shorter = POST + _KIND + b"Content-Length: 100000\r\n\r\n" + BODY
    assert statuses(say(here.port, shorter, half_close=True)) in ([], [400], [409])
    longer = POST + _KIND + b"Content-Length: 10\r\n\r\n" + BODY
    assert statuses(say(here.port, longer)) == [400]


def test_pipelined_requests_are_answered_in_order(here: Site) -> None:
    paths = [b"/dicom-web/health", b"/dicom-web/studies", b"/dicom-web/nothing"] * 30
    requests = b"".join(b"GET " + path + b" HTTP/1.1\r\nHost: here\r\n\r\n" for path in paths)
    answer = say(here.port, requests + GET + CLOSE)
    assert statuses(answer) == [200, 200, 404] * 30 + [200]


def test_garbage_behind_a_request_spoils_no_answer(here: Site) -> None:
    """It is not answered in the middle of what is being answered."""
    path = f"/dicom-web{instance('1.2.3')}".encode()
    for garbage in (b"\x16\x03\x01" + bytes(100), b"GET / HTTP/9.9\r\n\r\n", b"X: " + b"x" * 200_000):
        answer = say(here.port, b"GET " + path + b" HTTP/1.1\r\nHost: here\r\nAccept: */*\r\n\r\n" + garbage)
        found = statuses(answer)
        assert found in ([], [200], [200, 400], [200, 431]), answer[:200]
        if found:
            head, _, rest = answer.partition(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            assert len(rest) == length or rest[length:].startswith(b"HTTP/1.1 4")


def test_bodies_where_none_belong(here: Site) -> None:
    get = b"GET /dicom-web/studies HTTP/1.1\r\nHost: here\r\n"
    for framing in (
        b"Content-Length: %d\r\n\r\n%s" % (len(SMUGGLED), SMUGGLED),
        b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED),
    ):
        answer = say(here.port, get + framing + GET + CLOSE)
        assert statuses(answer) in ([200, 200], [200]), answer
    delete = b"DELETE /dicom-web/nothing HTTP/1.1\r\nHost: here\r\nContent-Length: 9999999999\r\n\r\n"
    assert statuses(say(here.port, delete, half_close=True)) == [404]


# --- odd, but legal --------------------------------------------------------------------------------------------------


def test_expectations(here: Site) -> None:
    body = web.multipart(part10("1.2.88.2"))
    head = POST + _KIND + b"Content-Length: %d\r\nExpect: 100-continue\r\n\r\n" % len(body)
    with connect(here.port) as sock:
        sock.sendall(head)
        assert sock.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(body)
        assert sock.recv(65536).startswith(b"HTTP/1.1 200")
    # who is refused does not send it, and what comes next on the connection would be taken for the body
    for refused, status in (
        (head.replace(b"/dicom-web/studies", b"/dicom-web/nothing"), 404),
        (head.replace(b"POST", b"PUT"), 405),
    ):
        assert statuses(say(here.port, refused)) == [status]


def test_old_and_new_versions(here: Site) -> None:
    assert b" 200 OK\r\n" in say(here.port, b"GET /dicom-web/health HTTP/1.0\r\n\r\n")
    for odd in (
        b"GET /dicom-web/health\r\n\r\n",
        b"GET /dicom-web/health HTTP/3.0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ):
        assert statuses(say(here.port, odd, half_close=True)) in ([], [400], [505])


def test_an_upgrade_that_is_not_there(here: Site) -> None:
    """User agents ask for HTTP/2 so; they get HTTP/1.1, for as many requests as they like."""
    upgrade = GET + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAA\r\n\r\n"
    body = web.multipart(part10("1.2.88.3"))
    storing = upgrade.replace(GET, POST + _KIND + b"Content-Length: %d\r\n" % len(body)) + body
    with connect(here.port) as sock:
        for request in (upgrade, upgrade, storing, upgrade, storing, HEALTH):
            sock.sendall(request)
            assert sock.recv(65536).startswith(b"HTTP/1.1 200")
    assert statuses(say(here.port, upgrade + storing + upgrade + GET + CLOSE)) == [200] * 4


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"GET http://elsewhere.example/dicom-web/health HTTP/1.1", {200}),
        (b"GET http://elsewhere.example HTTP/1.1", {400, 404}),
        (b"GET http:// HTTP/1.1", {400}),
        (b"GET dicom-web/health HTTP/1.1", {400}),
        (b"OPTIONS * HTTP/1.1", {200, 204, 400, 404}),
        (b"CONNECT elsewhere.example:443 HTTP/1.1", {400, 404, 405}),
        (b"GET //dicom-web/health HTTP/1.1", {400, 404}),
        (b"GET /dicom-web//health HTTP/1.1", {200, 400, 404}),
        (b"GET /dicom-web/../dicom-web/health HTTP/1.1", {400, 404}),
        (b"GET /dicom-web/%2e%2e/%2e%2e/etc/passwd HTTP/1.1", {400, 404}),
        (b"GET /dicom-web/studies/..%2f..%2f..%2fetc%2fpasswd HTTP/1.1", {400, 404}),
        (b"GET /dicom-web/studies/%00 HTTP/1.1", {400, 404}),
        (b"GET /dicom-web/studies/\0 HTTP/1.1", {400}),
        (b"GET /dicom-web/studies/\xff\xfe HTTP/1.1", {400, 404}),
        (b"GET /dicom-web/studies/%ff%fe HTTP/1.1", {400, 404}),
        (b"GET /dicom-web/studies/%zz HTTP/1.1", {400, 404}),
        (b"GET /dicom-web/studies/% HTTP/1.1", {400, 404}),
        (b"GET /dicom-web/studies/1.2.3.1%0d%0aX:%20y/metadata HTTP/1.1", {400, 404}),
        (b"GET /dicom-web/studies/" + b"1." * 5000 + b"1 HTTP/1.1", {400, 404}),
        (b"GET /dicom-web/" + b"a/" * 10000 + b" HTTP/1.1", {400, 404}),
        (b"GET /dicom-web/studies?%ff=%zz&&&=&% HTTP/1.1", {200, 400}),
        (b"GET /dicom-web/studies?" + b"&" * 50000 + b" HTTP/1.1", {200, 400}),
        (b"GET /dicom-web/studies?a=1" + b"&a=1" * 12000 + b" HTTP/1.1", {400}),
        (b"GET /dicom-web/health#fragment HTTP/1.1", {200, 400}),
        (b"PATCH /dicom-web/studies HTTP/1.1", {405}),
        (b"TRACE /dicom-web/studies HTTP/1.1", {405}),
        (b"PROPFIND /dicom-web/studies HTTP/1.1", {405}),
        (b"STEAL /dicom-web/studies HTTP/1.1", {400, 405}),
        (b"get /dicom-web/studies HTTP/1.1", {400, 405}),
    ],
)
def test_odd_request_lines(here: Site, line: bytes, expected: set[int]) -> None:
    answer = say(here.port, line + b"\r\nHost: here\r\n" + CLOSE)
    assert statuses(answer), answer
    assert statuses(answer)[0] in expected, answer
    assert b"root:" not in answer
    assert b"\r\nX: y" not in answer


def test_hosts_that_are_none(here: Site) -> None:
    """No two, of which a proxy may take the other one; and nothing of it gets into an answer as it came."""
    line = f"GET /dicom-web/studies/{web.STUDY}/metadata HTTP/1.1\r\n".encode()
    for host in (b"", b"Host: a\r\nHost: b\r\n"):
        assert statuses(say(here.port, line + host + CLOSE)) == [400]
    for evil in (b'a"><script>', b"a b", b"user@elsewhere", b"elsewhere/path", b"\x1b[2J", b"a" * 10000):
        answer = say(here.port, line + b"Host: " + evil + b"\r\n" + CLOSE)
        assert statuses(answer)[0] in (200, 400)
        assert evil not in answer


def test_a_viewers_files_and_no_others(tmp_path: Path) -> None:
    """Paths that lead elsewhere show its first page, as all that it routes itself; and no method fails for us."""
    folder = tmp_path / "viewer"
    folder.mkdir()
    (folder / "index.html").write_text("first page")
    (tmp_path / "secret").write_text("secret")
    (folder / "link").symlink_to(tmp_path / "secret")
    names = (b"../secret", b"%2e%2e/secret", b"..%2fsecret", b"%00", b"a.js%00", b"a/" * 9000, b"a" * 5000,
             b"/etc/passwd", b"%2fetc%2fpasswd", b"link", b"%ff%fe", b"%5c..%5csecret")  # fmt: skip
    with web.site(tmp_path / "archive", web.SETTINGS.replace(ohif=str(folder))) as here:
        for name in names:
            line = b"GET /ohif/" + name + b" HTTP/1.1\r\nHost: here\r\n" + CLOSE
            answer = say(here.port, line)
            assert statuses(answer) == [200]
            assert answer.endswith(b"first page")
            assert statuses(say(here.port, b"POST" + line[3:])) == [405]


# --- who is gone -----------------------------------------------------------------------------------------------------


def test_who_goes_in_the_middle_leaves_nothing(here: Site) -> None:
    """Of an upload and of a download: no file, no thread, no descriptor."""
    big = part10("1.2.99.1", pixels=bytes(8 << 20))
    assert web.store(here.port, big).status == 200
    body = web.multipart(part10("1.2.99.2", pixels=bytes(4 << 20)))
    head = POST + _KIND + b"Content-Length: %d\r\n\r\n" % len(body)
    get = f"GET /dicom-web{instance('1.2.99.1')} HTTP/1.1\r\nHost: here\r\nAccept: */*\r\n\r\n".encode()
    assert statuses(say(here.port, head.replace(b"\r\n\r\n", b"\r\n" + CLOSE) + body)) == [200]
    _settled(here)
    threads, files = threading.active_count(), web.descriptors()
    reset = b"\1\0\0\0\0\0\0\0"
    for number in range(60):
        with connect(here.port) as sock:
            if number % 2:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
            if number % 3:
                sock.sendall(head + body[: len(body) * number // 60])
            else:
                sock.sendall(get)
                assert sock.recv(1000)
    assert until(lambda: web.descriptors() <= files)
    assert until(lambda: threading.active_count() <= threads + 16)
    assert until(lambda: not here.incoming())


def _settled(here: Site) -> None:
    """All threads there may be have been made."""
    with ThreadPoolExecutor(40) as many:
        list(many.map(lambda _: ask(here.port, "GET", "/studies"), range(80)))
        list(many.map(lambda number: web.store(here.port, part10(f"1.2.66.{number}")), range(40)))
    assert until(lambda: not here.incoming())
