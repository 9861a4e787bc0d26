"""dcmkit echoscu against dcmkit, pynetdicom and nobody."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager

import pytest
from click.testing import CliRunner

from dcmkit.cli.group import group
from dcmkit.errors import ExitCode
from dcmkit.protocol.pdu import Abort, AssociateRJ
from dcmkit.settings import ListenerSettings
from tests.net.server import listening


def run(*args):
    return CliRunner().invoke(group, ["echoscu", *map(str, args)])


@pytest.fixture(scope="module")
def port():
    with listening(settings=ListenerSettings(check_called_ae_title=True)) as listener:
        yield listener.port


def test_nothing_is_said_when_the_peer_answers(port):
    result = run("localhost", port, "-aec", "SCP")
    assert (result.exit_code, result.output) == (0, "")


def test_verbose_tells_the_round_trip(port):
    result = run("-v", "127.0.0.1", port, "-aec", "SCP", "--repeat", "3")
    assert result.exit_code == 0
    assert result.stderr.count("SCP answered") == 3
    assert result.stdout == ""


def test_abort_ends_the_association_too(port):
    assert run("127.0.0.1", port, "-aec", "SCP", "--abort").exit_code == 0


def test_refused(port):
    result = run("127.0.0.1", port, "-aec", "OTHER")
    assert result.exit_code == ExitCode.ASSOCIATION_REFUSED
    assert "called AE title not recognised" in result.stderr
    assert "-aec" in result.stderr


def test_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as server:
        free = server.getsockname()[1]
    result = run("127.0.0.1", free)
    assert result.exit_code == ExitCode.ASSOCIATION_REFUSED
    assert "nothing listens" in result.stderr


def test_a_peer_that_offers_no_verification():
    pynetdicom = pytest.importorskip("pynetdicom")
    ae = pynetdicom.AE("SCP")
    ae.add_supported_context("1.2.840.10008.5.1.4.1.1.2")
    server = ae.start_server(("127.0.0.1", 0), block=False)
    try:
        result = run("127.0.0.1", server.server_address[1])
    finally:
        server.shutdown()
    assert result.exit_code == ExitCode.NO_PRESENTATION_CONTEXT
    assert "does not support it" in result.stderr


def test_a_failure_status_is_no_success():
    pynetdicom = pytest.importorskip("pynetdicom")
    ae = pynetdicom.AE("SCP")
    ae.add_supported_context("1.2.840.10008.1.1")
    handlers = [(pynetdicom.evt.EVT_C_ECHO, lambda event: 0x0122)]
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    try:
        result = run("127.0.0.1", server.server_address[1])
    finally:
        server.shutdown()
    assert result.exit_code == ExitCode.REQUEST_FAILED
    assert "0122" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [(), ("localhost",), ("localhost", "port"), ("localhost", "99999"), ("localhost", "104", "--repeat", "0")],
)
def test_bad_usage(arguments):
    result = run(*arguments)
    assert result.exit_code == ExitCode.BAD_USAGE
    assert result.stderr.count("\n") == 1


def test_an_option_that_is_not_there_yet_is_refused():
    result = run("localhost", "104", "+tls", "key.pem", "cert.pem")
    assert result.exit_code == ExitCode.BAD_USAGE
    assert "does not have it yet" in result.stderr


def test_user_identity_is_sent(port):
    assert run("127.0.0.1", port, "-aec", "SCP", "--user", "me", "--password", "secret", "-rsp").exit_code == 0
    assert run("127.0.0.1", port, "--password", "secret").exit_code == ExitCode.BAD_USAGE


def test_a_configured_node(port, tmp_path):
    config = tmp_path / "xdg" / "dcmkit" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text(f'[nodes.pacs]\nhost = "127.0.0.1"\nport = {port}\ncalled_ae_title = "SCP"\n')
    assert run("@pacs").exit_code == 0
    assert run("@pacs", "-aec", "OTHER").exit_code == ExitCode.ASSOCIATION_REFUSED
    result = run("@pcas")
    assert result.exit_code == ExitCode.BAD_USAGE
    assert "@pcas" in result.stderr


@pytest.mark.parametrize("seconds", ["1e9", "1e300"])
def test_timeouts_may_be_as_long_as_anybody_likes(port, seconds):
    result = run("127.0.0.1", port, "-aec", "SCP", "-ta", seconds, "-to", seconds, "-td", seconds, "-ts", seconds)
    assert (result.exit_code, result.output) == (0, "")


@contextmanager
def peer_that_says(answer):
    """Reads a request, says this, and closes when the test ends (at once where it says nothing)."""
    over = threading.Event()

    def serve():
        sock, _ = server.accept()
        with sock:
            sock.recv(65536)
            sock.sendall(answer)
            over.wait(20 if answer else 0)

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            over.set()
            thread.join(20)


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", ExitCode.ASSOCIATION_ABORTED, "speaks HTTP"),
        (b"\x15\x03\x01\x00\x02\x02\x0a", ExitCode.ASSOCIATION_ABORTED, "speaks TLS"),
        (Abort(2, 1).encode(), ExitCode.ASSOCIATION_ABORTED, "aborted the association: unrecognised PDU"),
        (AssociateRJ(2, 3, 2).encode(), ExitCode.ASSOCIATION_REFUSED, "local limit exceeded"),
        (b"\x02\0", ExitCode.ASSOCIATION_ABORTED, "silent"),
        (b"", ExitCode.TRANSPORT_ERROR, "closed the connection"),
    ],
)
def test_peers_that_are_none(answer, code, words):
    with peer_that_says(answer) as strange:
        result = run("127.0.0.1", strange, "-ta", "0.1", "-ts", "0.1")
    assert (result.exit_code, result.stderr.count("\n")) == (code, 1), result.stderr
    assert words in result.stderr


def test_what_the_peer_is_called_cannot_write_to_the_terminal(port):
    result = run("127.0.0.1", port, "-aec", "A\x1b[2J")
    assert result.exit_code != 0
    assert "\x1b" not in result.output
