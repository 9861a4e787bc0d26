"""dcmkit web as its own process: signals, workers, and the files of those who get in."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from dcmkit.cli.commands.web import command as web
from dcmkit.errors import ExitCode
from dcmkit.web.basic import Basic
from dcmkit.web.links import Links
from dcmkit.web.tokens import Tokens
from tests.web.certificates import self_signed

REPOSITORY = Path(__file__).parents[3]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


class Served:
    """A running service."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.log = ""

    def wait_for(self, text: str) -> None:
        """Until it says so."""
        assert self.process.stderr is not None
        while text not in self.log:
            line = self.process.stderr.readline()
            assert line, self.log
            self.log += line

    def end(self, number: int = signal.SIGTERM) -> int:
        """Its exit code, after a signal."""
        self.process.send_signal(number)
        self.log += self.process.communicate(timeout=40)[1]
        return self.process.returncode


@contextmanager
def running(*arguments: str, says: str = "DICOMweb listens on port") -> Iterator[Served]:
    """A `dcmkit` that listens, with a small application; ended in order."""
    words = [sys.executable, "-m", "tests.web.stub_service", *arguments, "--durability", "none", "-v"]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY)
    try:
        served = Served(process)
        served.wait_for(says)
        yield served
        if process.poll() is None:
            assert served.end() == 0, served.log
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def get(port: int, path: str, timeout: float = 30) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_a_signal(tmp_path: Path, number: int) -> None:
    port = free_port()
    with running("web", str(port), "-od", str(tmp_path)) as served:
        assert get(port, "/dicom-web/count") == (200, b"0")
        assert served.end(number) == 0
    assert f"http://127.0.0.1:{port}/dicom-web" in served.log
    assert "ERROR" not in served.log.upper()
    left = [name for _, names, files in os.walk(tmp_path) for name in (*names, *files)]
    assert not [name for name in left if name.endswith((".part", "-wal"))]


@contextmanager
def waiting(served: Served, port: int, seconds: str) -> Iterator[socket.socket]:
    """Somebody who waits for an answer."""
    with socket.create_connection(("127.0.0.1", port), 30) as sock:
        sock.sendall(f"GET /slow{seconds} HTTP/1.1\r\nHost: here\r\n\r\n".encode())
        served.wait_for("somebody waits")
        yield sock


def test_what_is_being_answered_is_finished(tmp_path: Path) -> None:
    port = free_port()
    with (
        running("web", "serve", str(port), "-od", str(tmp_path), "--root", "/") as served,
        waiting(served, port, "?seconds=1") as sock,
    ):
        assert served.end() == 0
        assert sock.recv(65536).startswith(b"HTTP/1.1 200")


def test_a_second_signal_waits_for_nothing(tmp_path: Path) -> None:
    port = free_port()
    with (
        running("web", str(port), "-od", str(tmp_path), "--root", "/") as served,
        waiting(served, port, ""),
    ):
        served.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 30
        while not _refused(port):
            assert time.monotonic() < deadline
        began = time.monotonic()
        assert served.end(signal.SIGINT) == 0
        assert time.monotonic() - began < 15
    assert "stopped again" in served.log


def _refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except OSError:
        return True
    return False


def test_workers_share_the_port_and_are_replaced(tmp_path: Path) -> None:
    port = free_port()
    with running("web", str(port), "-od", str(tmp_path), "--workers", "2", "--root", "/") as served:
        assert get(port, "/pid")[1] != str(served.process.pid).encode()
        with pytest.raises((http.client.HTTPException, OSError)):
            get(port, "/die")
        served.wait_for("died and is replaced")
        assert get(port, "/count") == (200, b"0")
        children = _children(served.process.pid)
        assert served.end() == 0
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]


def _children(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []


def test_workers_end_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    port = free_port()
    with running("web", str(port), "-od", str(tmp_path), "--workers", "2", "--root", "/") as served:
        assert get(port, "/count") == (200, b"0")
        served.process.kill()
        served.process.communicate(timeout=30)  # ends when nobody has its stderr any more
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), 5)


def run(capsys: Any, *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        web.main(list(arguments))
    code = caught.value.code
    assert isinstance(code, int)
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nonsense",), "'nonsense' is not a port"),
        (("8042", "--auth", "users"), "no way to be known"),
        (("8042", "--anonymous", "everything"), "no scope"),
        (("8042", "--tls-key", "key"), "--tls-key and --tls-ca without --tls-cert"),
        (("8042", "--forward-delete"), "--forward-delete without --forward"),
        (("serve", "8042", "--no-match-status", "404"), "none of 200, 204"),
    ],
)
def test_what_it_refuses(capsys: Any, tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    code, _, err = run(capsys, *arguments)
    assert code == ExitCode.BAD_USAGE
    assert said in err


def test_a_port_that_is_taken(capsys: Any, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, _, err = run(capsys, str(taken.getsockname()[1]), "-od", str(tmp_path))
    assert code == ExitCode.CANNOT_LISTEN
    assert "another program listens there" in err


def test_a_missing_certificate(capsys: Any, tmp_path: Path) -> None:
    code, _, err = run(capsys, "--tls-cert", str(tmp_path / "none.pem"))
    assert code == ExitCode.CANNOT_READ_INPUT
    assert self_signed(tmp_path).certificate not in err


def test_passwords(capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    users = str(tmp_path / "users")
    monkeypatch.setattr("sys.stdin", StringIO("secret\n"))
    assert run(capsys, "passwd", users, "alice", "--scopes", "query", "--studies", "1.2.3")[0] == 0
    found, _ = Basic(users).identify("YWxpY2U6c2VjcmV0")
    assert found is not None
    assert (found.name, found.scopes, found.studies) == ("alice", {"query"}, {"1.2.3"})
    assert "secret" not in Path(users).read_text()
    monkeypatch.setattr("sys.stdin", StringIO("\n"))
    code, _, err = run(capsys, "passwd", users, "bob")
    assert (code, "the password is empty" in err) == (ExitCode.BAD_USAGE, True)
    assert run(capsys, "passwd", users, "alice", "--remove")[0] == 0
    assert run(capsys, "passwd", users, "alice", "--remove")[0] == ExitCode.NOTHING_DONE


def test_passwords_are_asked_for_twice(capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    users = str(tmp_path / "users")
    monkeypatch.setattr("sys.stdin", Terminal())
    answers = ["one", "two", "secret", "secret"]
    monkeypatch.setattr("getpass.getpass", lambda prompt: answers.pop(0))
    code, _, err = run(capsys, "passwd", users, "alice")
    assert (code, "differ" in err) == (ExitCode.BAD_USAGE, True)
    assert not Path(users).exists()
    assert run(capsys, "passwd", users, "alice")[0] == 0
    assert Basic(users).identify("YWxpY2U6c2VjcmV0")[0] is not None


def test_tokens(capsys: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "tokens")
    code, made, _ = run(
        capsys, "token", path, "add", "robot", "--scopes", "store", "--studies", "1.2.3", "--expires", "30d"
    )
    assert code == 0
    found, _ = Tokens(path).identify(made.strip())
    assert found is not None
    assert (found.name, found.scopes, found.studies) == ("robot", {"store"}, {"1.2.3"})
    assert run(capsys, "token", path, "add", "robot")[0] == ExitCode.BAD_USAGE
    code, out, _ = run(capsys, "token", path, "ls", "--format", "json")
    (row,) = json.loads(out)
    assert (row["name"], row["scopes"], row["studies"]) == ("robot", "store", "1.2.3")
    assert row["expires"].endswith("Z")
    assert run(capsys, "token", path, "rm", "robot")[0] == 0
    assert run(capsys, "token", path, "rm", "robot")[0] == ExitCode.NOTHING_DONE
    assert Tokens(path).identify(made.strip())[0] is None


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("add",), "add which?"),
        (("rm",), "rm which?"),
        (("ls", "robot"), "takes no NAME"),
        (("rm", "robot", "--scopes", "query"), "are of add"),
        (("add", "robot", "--expires", "soon"), "is no time"),
        (("add", "robot", "--studies", "x"), "not a list of UIDs"),
        (("mend", "robot"), "mend"),
    ],
)
def test_tokens_that_cannot_be(capsys: Any, tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    path = tmp_path / "tokens"
    path.write_text("")
    code, _, err = run(capsys, "token", str(path), *arguments)
    assert (code, said in err) == (ExitCode.BAD_USAGE, True)


def test_links(capsys: Any, tmp_path: Path) -> None:
    from urllib.parse import parse_qsl

    key = str(tmp_path / "link.key")
    assert run(capsys, "keygen", key)[0] == 0
    assert run(capsys, "keygen", key)[0] == ExitCode.BAD_USAGE  # never in place of one that is there
    code, out, _ = run(capsys, "link", "--key", key, "--study", "1.2.3", "https://here/viewer?a=b#c")
    assert code == 0
    place, _, fragment = out.strip().partition("#")
    url, _, query = place.partition("?")
    assert (url, fragment) == ("https://here/viewer", "c")
    found, _ = Links(key).identify(dict(parse_qsl(query)))
    assert found is not None
    assert (found.scopes, found.studies) == ({"query", "retrieve"}, {"1.2.3"})
    code, _, err = run(capsys, "link", "--key", key, "--study", "1.2.3", "--expires", "2y", "https://here")
    assert (code, "within 366 days" in err) == (ExitCode.BAD_USAGE, True)


def test_help_names_all_commands(capsys: Any) -> None:
    code, out, _ = run(capsys, "--help")
    assert code == 0
    assert all(f"\n  {name} " in out for name in ("serve", "passwd", "token", "keygen", "link"))
    assert "--bind" in run(capsys, "serve", "--help")[1]
