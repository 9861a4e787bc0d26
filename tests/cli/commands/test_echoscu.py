"""dcmkit echoscu against dcmkit, pynetdicom and nobody."""

from __future__ import annotations

import socket

import pytest
from click.testing import CliRunner

from dcmkit.cli.group import group
from dcmkit.errors import ExitCode
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
