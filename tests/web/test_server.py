"""The service as it runs: in a thread, in worker processes, encrypted, bounded, and to its end in order."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dcmkit.dataset.part10 import file_meta
from dcmkit.errors import InputError, ListenError, UsageError
from dcmkit.services import server as services_server
from dcmkit.settings import ArchiveSettings
from dcmkit.web import passwords, server, service
from dcmkit.web.server import Offering, Running, listen, options_of, serve_web
from dcmkit.web.settings import WebSettings
from tests.archive.objects import CT, EXPLICIT, image
from tests.web import stub_service
from tests.web.certificates import self_signed

HERE = WebSettings(web_bind=("127.0.0.1",), root="", keep_alive=5.0, grace=10.0)


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "build", stub_service.build)
    monkeypatch.setattr(services_server, "tune", lambda: None)
    stub_service.stubs.clear()


def until(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        threading.Event().wait(0.02)
    return None


@contextmanager
def running(directory: Path, settings: WebSettings = HERE, **how: Any) -> Iterator[Running]:
    """A service in a thread of this process."""
    ready: list[Running] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            archive = ArchiveSettings(output_directory=str(directory), durability="none")
            serve_web(0, settings, archive, on_ready=ready.append, **how)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert until(lambda: ready or failures)
        assert not failures, failures
        yield ready[0]
    finally:
        for one in ready:
            one.stop()
        thread.join(30)
        assert not thread.is_alive()
    assert failures == []


def get(port: int, path: str, headers: dict[str, str] | None = None, host: str = "127.0.0.1") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(host, port, timeout=30)
    try:
        connection.request("GET", path, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_it_answers_with_what_is_in_the_archive(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with running(tmp_path) as web:
        assert get(web.port, "/count") == (200, b"0")
        assert get(web.port, "/nothing")[0] == 404
        assert get(web.port, "/base?PatientName=Doe") == (200, f"http://127.0.0.1:{web.port}".encode())
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", web.port), 5)
    text = "\n".join(record.getMessage() for record in caplog.records)
    assert f"DICOMweb listens on port {web.port}: http://127.0.0.1:{web.port}" in text
    assert "/base" in text
    assert "Doe" not in text
    assert stub_service.stubs[0].release.is_set()  # the application was closed


def test_files_without_an_index_are_taken_over(tmp_path: Path) -> None:
    (tmp_path / "one.dcm").write_bytes(file_meta(CT, "1.2.3", EXPLICIT) + image("1.2.3"))
    with running(tmp_path) as web:
        assert get(web.port, "/count") == (200, b"1")


def test_this_machine_only_unless_told_otherwise() -> None:
    sockets = listen(WebSettings(), 0)
    assert {sock.getsockname()[0] for sock in sockets} <= {"127.0.0.1", "::1"}
    assert len({sock.getsockname()[1] for sock in sockets}) == 1
    port = sockets[0].getsockname()[1]
    with pytest.raises(ListenError, match="cannot listen"):
        listen(WebSettings(), port)
    for sock in sockets:
        sock.close()


def test_a_stranger_is_refused_and_a_user_is_not(tmp_path: Path) -> None:
    users = str(tmp_path / "users")
    passwords.set_password(users, "alice", "secret")
    with running(tmp_path / "archive", HERE.replace(auth=(f"users:{users}",))) as web:
        assert get(web.port, "/count")[0] == 401
        assert get(web.port, "/count", {"Authorization": "Basic YWxpY2U6c2VjcmV0"}) == (200, b"0")


def test_others_are_listened_to_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with running(tmp_path, HERE.replace(web_bind=("0.0.0.0",))) as web:
        assert get(web.port, "/count")[0] in (401, 403)
    text = "\n".join(record.getMessage() for record in caplog.records)
    assert "nobody may do anything at 0.0.0.0" in text


def test_encrypted(tmp_path: Path) -> None:
    pair = self_signed(tmp_path)
    settings = HERE.replace(tls_cert=pair.certificate, tls_key=pair.key)
    with running(tmp_path / "archive", settings) as web:
        context = ssl.create_default_context(cafile=pair.certificate)
        connection = http.client.HTTPSConnection("127.0.0.1", web.port, timeout=30, context=context)
        connection.request("GET", "/base")
        assert connection.getresponse().read() == f"https://127.0.0.1:{web.port}".encode()
        connection.close()
        with pytest.raises((OSError, http.client.HTTPException)):
            get(web.port, "/base")  # plain
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        with socket.create_connection(("127.0.0.1", web.port), 10) as plain, pytest.raises(ssl.SSLError):
            old.wrap_socket(plain)


def test_only_clients_with_a_certificate(tmp_path: Path) -> None:
    pair, client = self_signed(tmp_path), self_signed(tmp_path, "client")
    settings = HERE.replace(tls_cert=pair.certificate, tls_key=pair.key, tls_ca=client.certificate)
    with running(tmp_path / "archive", settings) as web:
        context = ssl.create_default_context(cafile=pair.certificate)

        def ask() -> int:
            connection = http.client.HTTPSConnection("127.0.0.1", web.port, timeout=30, context=context)
            try:
                connection.request("GET", "/count")
                return connection.getresponse().status
            finally:
                connection.close()

        with pytest.raises((ssl.SSLError, ConnectionError)):
            ask()
        context.load_cert_chain(*client)
        assert ask() == 200


def test_what_is_being_answered_is_finished(tmp_path: Path) -> None:
    answers: list[tuple[int, bytes]] = []
    with running(tmp_path) as web:
        asking = threading.Thread(target=lambda: answers.append(get(web.port, "/slow")))
        asking.start()
        stub = stub_service.stubs[0]
        assert stub.waiting.wait(20)
        web.stop()
        assert until(lambda: _refused(web.port))  # nobody new gets in meanwhile
        stub.release.set()
        asking.join(20)
    assert answers == [(200, b"slow")]


def _refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except OSError:
        return True
    return False


def test_what_takes_too_long_does_not_keep_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with running(tmp_path, HERE.replace(grace=0.2)) as web:
        asking = socket.create_connection(("127.0.0.1", web.port), 10)
        asking.sendall(b"GET /slow HTTP/1.1\r\nHost: here\r\n\r\n")
        stub = stub_service.stubs[0]
        assert stub.waiting.wait(20)
        began = time.monotonic()
        web.stop()
        assert until(lambda: web.service.is_stuck)
        assert time.monotonic() - began < 10
        stub.release.set()
        asking.close()
    assert "is dropped" in caplog.text


def test_what_is_wrong_is_said_before_it_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = ArchiveSettings(output_directory=str(tmp_path))
    with pytest.raises(UsageError, match="without --tls-cert"):
        serve_web(0, HERE.replace(tls_key="key"), archive)
    with pytest.raises(InputError, match="no viewer"):
        serve_web(0, HERE.replace(ohif=str(tmp_path)), archive)
    with pytest.raises(InputError):
        serve_web(0, HERE.replace(auth=(f"users:{tmp_path / 'none'}",)), archive)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"uvicorn \(pip install 'dcmkit\[web\]'\)"):
        serve_web(0, HERE, archive)


def test_an_application_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(*_: Any) -> Any:
        raise UsageError("it cannot be")

    monkeypatch.setattr(service, "build", build)
    with pytest.raises(UsageError, match="it cannot be"):
        serve_web(0, HERE, ArchiveSettings(output_directory=str(tmp_path)))


def test_options_reach_the_service() -> None:
    settings = WebSettings(
        root="/x", max_body="2k", web_threads=3, lenient_query=True, no_match_status="204", delete_policy="remove"
    )
    options = options_of(settings)
    assert (options.root, options.max_body, options.threads, options.strict) == ("/x", 2048, 3, False)
    assert (options.no_match_status, options.trash) == (204, False)


def test_an_offering_that_is_not_taken_up_lets_go_of_its_port() -> None:
    offering = Offering(HERE, 0)
    port = offering.sockets[0].getsockname()[1]
    offering.close()
    listen(HERE, port)[0].close()


def test_signals_end_it(tmp_path: Path) -> None:
    """In the main thread, as a process of its own has it."""
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    handled = threading.Thread(target=lambda: until(lambda: signal.getsignal(signal.SIGTERM) != before[0] and _kill()))
    handled.start()
    try:
        ended = serve_web(0, HERE, ArchiveSettings(output_directory=str(tmp_path), durability="none"))
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGINT, before[1])
    handled.join(20)
    assert ended


def _kill() -> bool:
    os.kill(os.getpid(), signal.SIGTERM)
    return True


def test_the_port_is_the_one_people_know() -> None:
    assert server.PORT == 8042
