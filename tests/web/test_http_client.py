"""The client against a scripted server: keep-alive, redirects, who asks, proxies, TLS, answers before the end."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from shutil import which

import pytest

from dcmkit.errors import ConnectError, ConnectionLostError, InputError, ProtocolError, UsageError
from dcmkit.web.http_auth import Basic, Bearer
from dcmkit.web.http_body import FileChangedError, FileRange
from dcmkit.web.http_client import HttpClient, Options, tls_context
from tests.web.http_peer import Reply, Request, peer, raw_peer, read_head

SECRET = "s3cret-Token"


def client(url: str, **how: object) -> HttpClient:
    return HttpClient(url, environment={}, **how)  # type: ignore[arg-type]


def test_one_connection_for_many_requests(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    with peer([Reply(200, b"answer")]) as server, client(server.url + "/base?x=1") as ours:
        body = [b"<", FileRange(str(path), 2, 5), b">"]
        for _ in range(3):
            assert ours.request("POST", body=body, headers=[("Content-Type", "a/b")]).read() == b"answer"
        assert ours.request("GET", "/other").read() == b"answer"
        assert ours.connections == server.connections == 1
    first = server.requests[0]
    assert (first.method, first.path, first.body) == ("POST", "/base?x=1", b"<23456>")
    assert first.headers["content-length"] == "7"
    assert first.headers["content-type"] == "a/b"
    assert first.headers["host"] == server.address
    assert server.requests[3].path == "/other"


def test_a_connection_that_the_server_closed() -> None:
    with peer([Reply(200, b"1", (("Connection", "close"),)), Reply(200, b"2")]) as server, client(server.url) as ours:
        assert ours.request("GET").read() == b"1"
        assert ours.request("GET").read() == b"2"
        assert ours.connections == 2


def test_an_answer_left_unread_costs_the_connection() -> None:
    with peer([Reply(200, b"x" * 10)]) as server, client(server.url) as ours:
        ours.request("GET")
        assert ours.request("GET").read() == b"x" * 10
        assert ours.connections == 2


def test_a_dead_kept_connection_is_tried_again_where_that_does_no_harm() -> None:
    replies = [Reply(200, b"1"), Reply(hang_up=True), Reply(200, b"2"), Reply(hang_up=True)]
    with peer(replies) as server, client(server.url) as ours:
        ours.request("GET").read()
        assert ours.request("POST", body=[b"x"]).read() == b"2"
        with pytest.raises(ConnectionLostError):
            ours.request("POST", body=[b"x"], repeatable=False)
        assert len(server.requests) == 4


@pytest.mark.parametrize(
    ("status", "method", "then"),
    [(307, "POST", "POST"), (308, "POST", "POST"), (303, "POST", "GET"), (302, "GET", "GET"), (301, "POST", "")],
)
def test_redirects_within_the_origin(status: int, method: str, then: str) -> None:
    replies = [Reply(status, b"moved", (("Location", "/new?a=b"),)), Reply(200, b"here")]
    with peer(replies) as server, client(server.url + "/old", auth=Bearer(SECRET)) as ours:
        response = ours.request(method, body=[b"x"] if method == "POST" else None)
        assert response.status == (200 if then else status)
        assert [(r.method, r.path) for r in server.requests][1:] == ([(then, "/new?a=b")] if then else [])


def test_redirects_elsewhere_are_not_followed() -> None:
    with peer([Reply(200, b"")]) as other:
        for place in (other.url + "/x", "file:///etc/passwd", "http://[::1", "//" + other.address):
            reply = Reply(307, b"", (("Location", place),))
            with peer([reply]) as server, client(server.url, auth=Bearer(SECRET)) as ours:
                assert ours.request("GET").status == 307
        assert not other.requests


def test_redirects_without_end() -> None:
    with peer([Reply(302, b"", (("Location", "/again"),))]) as server, client(server.url) as ours:
        with pytest.raises(ProtocolError, match="again and again"):
            ours.request("GET")
        assert len(server.requests) < 10


class Renewed:
    """A token that is a new one each time it is renewed."""

    def __init__(self) -> None:
        self.number = 0

    def header(self, host: str) -> str:
        return f"Bearer {host}-{self.number}"

    def renew(self) -> bool:
        self.number += 1
        return True


def test_a_token_is_renewed_once() -> None:
    with peer([Reply(401), Reply(200), Reply(401)]) as server, client(server.url, auth=Renewed()) as ours:
        assert ours.request("POST", body=[b"x"]).status == 200
        assert [r.headers["authorization"][-2:] for r in server.requests] == ["-0", "-1"]
        assert ours.request("POST", body=[b"x"]).status == 401
        assert len(server.requests) == 4


def test_who_asks_comes_from_the_url_and_is_never_shown() -> None:
    with peer([Reply(200)]) as server:
        url = server.url.replace("://", f"://jane:{SECRET}@")
        options = Options(headers=(("X-Key", SECRET), ("User-Agent", "me")), key_password=SECRET)
        with client(url, options=options) as ours:
            ours.request("GET").read()
            assert SECRET not in f"{ours!r} {options!r} {options}"
        headers = server.requests[0].headers
        assert headers["authorization"] == Basic("jane", SECRET).header("")
        assert (headers["x-key"], headers["user-agent"]) == (SECRET, "me")
        with client(url, options=Options(headers=(("X-Key", f"{SECRET}\r\nX: y"),))) as ours:
            with pytest.raises(UsageError) as caught:
                ours.request("GET")
            assert SECRET not in str(caught.value)


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with pytest.raises(ConnectError, match="cannot be reached") as caught:
        client(f"http://u:{SECRET}@127.0.0.1:{port}/x").request("GET")
    assert SECRET not in str(caught.value)


def test_a_file_that_changed_breaks_the_request_off(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"short")
    with peer([Reply(200, b"fine")]) as server, client(server.url) as ours:
        with pytest.raises(FileChangedError):
            ours.request("POST", body=[FileRange(str(path), 0, 100)])
        assert ours.request("POST", body=[FileRange(str(path), 0, 5)]).read() == b"fine"
        assert server.requests[-1].body == b"short"


@pytest.mark.parametrize("hang_up", [True, False])
def test_an_answer_before_the_end_of_the_request(hang_up: bool) -> None:
    def handle(connection: socket.socket) -> None:
        read_head(connection)
        connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\n\r\nmuch")
        if hang_up:
            connection.shutdown(socket.SHUT_WR)
        read_head(connection)

    with raw_peer(handle) as url, client(url, options=Options(timeout=5.0)) as ours:
        response = ours.request("POST", body=[bytes(1 << 24)] * 4)
        assert (response.status, response.read()) == (413, b"much")
        assert not response.is_over


def test_a_proxy() -> None:
    with peer([Reply(200, b"by proxy")]) as proxy:
        environment = {"http_proxy": proxy.url.replace("://", "://me:word@")}
        with HttpClient("http://pacs.invalid:8042/x", auth=Bearer(SECRET), environment=environment) as ours:
            assert ours.request("GET").read() == b"by proxy"
        headers = proxy.requests[0].headers
        assert proxy.requests[0].path == "http://pacs.invalid:8042/x"
        assert headers["host"] == "pacs.invalid:8042"
        assert headers["proxy-authorization"] == Basic("me", "word").header("")


def test_a_proxy_that_makes_no_tunnel() -> None:
    with peer([Reply(407)]) as proxy:
        environment = {"https_proxy": proxy.url.replace("://", "://me:word@")}
        ours = HttpClient("https://pacs.invalid/x", auth=Bearer(SECRET), environment=environment)
        with pytest.raises(ConnectError, match="makes no tunnel"):
            ours.request("GET")
    assert [(r.method, r.path) for r in proxy.requests] == [("CONNECT", "pacs.invalid:443")]
    assert "authorization" not in proxy.requests[0].headers


# --- TLS ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    if not which("openssl"):
        pytest.skip("no openssl")
    directory = tmp_path_factory.mktemp("tls")
    certificate, key = str(directory / "cert.pem"), str(directory / "key.pem")
    words: Sequence[str] = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2")
    names = ("-subj", "/CN=peer", "-addext", "subjectAltName=IP:127.0.0.1")
    subprocess.run([*words, *names, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return certificate, key


def test_tls_with_certificates_on_both_sides(pair: tuple[str, str], tmp_path: Path) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=pair[0])
    context.load_cert_chain(*pair)
    context.verify_mode = ssl.CERT_REQUIRED
    content = bytes(range(256)) * 4096
    path = tmp_path / "file"
    path.write_bytes(content)
    with peer([Reply(200, b"fine")], context) as server:
        options = Options(ca_file=pair[0], certificate=pair[0], key=pair[1])
        with client(server.url, options=options) as ours:
            for _ in range(2):
                assert ours.request("POST", body=[b"a", FileRange(str(path), 1, len(content) - 1)]).read() == b"fine"
        assert server.requests[0].body == b"a" + content[1:]


def test_tls_through_a_proxy(pair: tuple[str, str]) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*pair)
    asked: list[bytes] = []

    def pump(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    with peer([Reply(200, b"fine")], context) as server:

        def tunnel(connection: socket.socket) -> None:
            asked.append(read_head(connection))
            host, port = server.address.split(":")
            with socket.create_connection((host, int(port))) as onward:
                connection.sendall(b"HTTP/1.1 200 Connection established\r\nVia: 1.1 proxy\r\n\r\n")
                back = threading.Thread(target=pump, args=(onward, connection))
                back.start()
                pump(connection, onward)
                back.join()

        with raw_peer(tunnel) as proxy:
            options = Options(ca_file=pair[0], proxy=proxy.replace("://", "://me:word@"))
            with client(server.url, auth=Bearer(SECRET), options=options) as ours:
                for _ in range(2):
                    assert ours.request("POST", body=[b"x" * 300_000]).read() == b"fine"
        assert [len(request.body) for request in server.requests] == [300_000, 300_000]
        assert server.requests[0].headers["authorization"] == f"Bearer {SECRET}"
    (head,) = asked
    assert head.startswith(f"CONNECT {server.address} ".encode())
    assert Basic("me", "word").header("").encode() in head
    assert SECRET.encode() not in head


def test_tls_without_trust(pair: tuple[str, str]) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*pair)
    with peer([Reply(200)], context) as server:
        with pytest.raises(ConnectError, match="is not trusted"):
            client(server.url).request("GET")
        assert not server.requests


def test_tls_without_a_look_at_who_is_there(pair: tuple[str, str]) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*pair)
    options = Options(insecure=True)
    with peer([Reply(200, b"fine")], context) as server:
        with client(server.url, options=options) as ours:
            assert ours.request("GET").read() == b"fine"
        shared = tls_context(options)
        one, two = (HttpClient(server.url, options=options, environment={}, context=shared) for _ in range(2))
        assert one._context is two._context is shared
        assert one.request("GET").read() == b"fine"
        one.close()


def test_certificates_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "bad.pem").write_text("no certificate")
    for options in (
        Options(ca_file=str(tmp_path / "bad.pem")),
        Options(ca_file=str(tmp_path / "none.pem")),
        Options(certificate=str(tmp_path / "bad.pem"), key_password=SECRET),
    ):
        with pytest.raises(InputError, match="cannot be used"):
            client("https://pacs.invalid", options=options)


def test_requests_are_recorded_as_they_came() -> None:
    seen: list[Request] = []

    def answer(request: Request) -> Reply:
        seen.append(request)
        return Reply(200, request.body)

    with peer(answer) as server, client(server.url) as ours:
        assert ours.request("POST", "/p", body=[b"echo"]).read() == b"echo"
    assert seen == server.requests


def test_another_thread_interrupts() -> None:
    asked = threading.Event()

    def say_nothing(connection: socket.socket) -> None:
        read_head(connection)
        asked.set()
        connection.recv(1)

    with raw_peer(say_nothing) as url, HttpClient(url, options=Options(proxy="")) as client:
        client.interrupt()  # nobody waits
        thread = threading.Thread(target=lambda: asked.wait(10) and client.interrupt())
        thread.start()
        with pytest.raises(ConnectionLostError):
            client.request("GET", "/")
        thread.join()
