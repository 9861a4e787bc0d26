"""Child processes of the tests and benchmarks: their log in a file, waited for, and always ended by pid."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from .wire import Requestor, WireError

POLL = 0.005
START_DEADLINE = 30.0
STOP_DEADLINE = 10.0
FAST = {"TCP_NODELAY": "1"}
"""What makes DCMTK fast: without it Nagle's algorithm costs it 40 ms and more per object."""

DIE_WITH_PARENT = ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []
"""No server outlives a test run that is itself killed; the program replaces setpriv, so the pid is its own."""


class PeerError(Exception):
    """A peer did not start or failed; the text carries the end of its log."""


class Server:
    """A running process that listens on `port`; its stdout and stderr are in the file `log`."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], port: int, directory: Path, log: Path) -> None:
        self.name = name
        self.process = process
        self.port = port
        self.directory = directory
        self.log = log

    @property
    def pid(self) -> int:
        """The process id, of the parent where there are workers."""
        return self.process.pid

    def log_text(self) -> str:
        """Everything the process has said."""
        return self.log.read_text(errors="replace")

    def kill(self) -> None:
        """SIGKILL to the process and, where it leads a group of its own, to its children."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM, then SIGKILL when it does not help; the exit code."""
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(STOP_DEADLINE)
        self.kill()
        return self.process.returncode


def free_port() -> int:
    """A port nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def environment(extra: dict[str, str] | None = None) -> dict[str, str]:
    """This process's environment without what would change a peer's speed, plus `extra`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TCP_", "DCMKIT_"))}
    return kept | (extra or {})


def answers_echo(port: int) -> bool:
    """Whether a C-ECHO succeeds on `port` now."""
    try:
        with Requestor(port, timeout=5.0) as association:
            return association.echo() == 0
    except (OSError, WireError):
        return False


def listens(port: int) -> bool:
    """Whether anything takes connections on `port` now."""
    try:
        socket.create_connection(("127.0.0.1", port), 5.0).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def serving(
    name: str,
    command: Callable[[int], Sequence[str | os.PathLike[str]]],
    directory: Path,
    *,
    extra_environment: dict[str, str] | None = FAST,
    ready: Callable[[int], bool] = answers_echo,
    attempts: int = 3,
    port: int = 0,
) -> Iterator[Server]:
    """Run `command(port)` in `directory` until the block ends; entered when `ready(port)` says yes.

    Another process may take the free port first, so a server that exits at once is tried again on another one, unless
    it is to be on a certain `port`.

    Raises:
        PeerError: it did not become ready, with the end of its log.
    """
    directory.mkdir(parents=True, exist_ok=True)
    server = None
    for _ in range(attempts):
        server = launch(name, command, directory, extra_environment, port)
        if came_up(server, ready):
            break
        server.kill()
    else:
        raise PeerError(f"{name} did not start: {server.log_text()[-2000:] if server else ''}")
    try:
        yield server
    finally:
        server.stop()


def launch(
    name: str,
    command: Callable[[int], Sequence[str | os.PathLike[str]]],
    directory: Path,
    extra_environment: dict[str, str] | None = FAST,
    port: int = 0,
) -> Server:
    """Start `command(port)` on a free port without waiting; the caller ends it."""
    port, log = port or free_port(), directory / f"{name}.log"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            [*DIE_WITH_PARENT, *(os.fspath(word) for word in command(port))],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            env=environment(extra_environment),
            start_new_session=True,
        )
    return Server(name, process, port, directory, log)


def came_up(server: Server, ready: Callable[[int], bool]) -> bool:
    """Wait until the server is ready or has ended; whether it is ready."""
    wait_until(lambda: server.process.poll() is not None or ready(server.port), START_DEADLINE)
    return server.process.poll() is None and ready(server.port)


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Poll `condition` until it holds; False when `seconds` pass first."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL)
    return True


def run(
    command: Sequence[str | os.PathLike[str]],
    *,
    stdin: str = "",
    timeout: float = 300.0,
    extra_environment: dict[str, str] | None = FAST,
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; stdout and stderr come back as text. It is killed at `timeout` seconds."""
    return subprocess.run(
        [os.fspath(word) for word in command],
        input=stdin,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout,
        env=environment(extra_environment),
        check=False,
    )
