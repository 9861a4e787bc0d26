"""A listener with worker processes, for tests: `python -m tests.net.worker_server WORKERS LIMIT GRACE`.

Says its port on stdout; C-ECHO is answered with the process ID of the worker as comment. A process of its own because
processes are forked from it. Also what tests need to run it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dcmkit import logs
from dcmkit.net.association import Association
from dcmkit.net.dispatch import AssociationThreads, WorkerProcesses
from dcmkit.net.listener import Listener, bind
from dcmkit.protocol.message import C_ECHO_RQ, C_ECHO_RSP, Message
from dcmkit.services.application_entity import ApplicationEntity
from dcmkit.settings import AssociationSettings, ListenerSettings
from dcmkit.uids import VERIFICATION
from tests.interop.process import DIE_WITH_PARENT
from tests.net.server import Rude, associate

ROOT = Path(__file__).parents[2]
NOT_NOW = "not-now"
"""While a file of this name is in the server's directory, no worker process can begin."""


class WhoAnswers:
    """Verification that says which process answered."""

    def __init__(self) -> None:
        self.handlers = {C_ECHO_RQ: self._echo}

    def transfer_syntaxes(self, abstract_syntax: str) -> tuple[str, ...] | None:
        return () if abstract_syntax == VERIFICATION else None

    def _echo(self, association: Association, context_id: int, message: Message) -> None:
        assert isinstance(message, C_ECHO_RQ)
        response = C_ECHO_RSP(
            message_id_being_responded_to=message.message_id,
            affected_sop_class_uid=VERIFICATION,
            status=0,
            error_comment=str(os.getpid()),
        )
        association.send(context_id, response)


def main() -> None:
    """Serve until told to stop."""
    workers, limit, grace = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    logs.configure("info")
    association = AssociationSettings(calling_ae_title="SCP")
    ae = ApplicationEntity((WhoAnswers(),), association, ListenerSettings())  # type: ignore[arg-type]
    sockets = bind(("127.0.0.1",), 0)

    def threads(on_end: object) -> AssociationThreads:
        if os.path.exists(NOT_NOW):
            raise OSError("not now")
        return AssociationThreads(ae.decide, ae.serve, association, limit=limit, on_end=on_end)  # type: ignore[arg-type]

    dispatcher = WorkerProcesses(
        workers,
        threads,
        lambda: logs.get_logger("test").info("worker %d leaves", os.getpid()),
        limit=limit,
        grace=grace,
        on_death=lambda pid: logs.get_logger("test").info("mourning %d", pid),
        inherited=lambda: sockets,
    )
    listener = Listener(sockets, dispatcher, grace=grace)
    dispatcher.inherited = listener.inherited
    print(listener.port, flush=True)
    listener.run(handle_signals=True)


class Server:
    """The running program."""

    def __init__(self, process: subprocess.Popen[str], directory: Path) -> None:
        self.process = process
        self.directory = directory
        assert process.stdout is not None
        self.port = int(process.stdout.readline())
        self._held: list[Association | Rude] = []

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text()

    def associate(self) -> Association:
        """An association; closed with the server, if not before."""
        association = associate(self.port)
        self._held.append(association)
        return association

    def rude(self) -> Rude:
        """A raw connection; closed with the server."""
        rude = Rude(self.port)
        self._held.append(rude)
        return rude

    def close(self) -> None:
        """What `associate` and `rude` gave."""
        for held in self._held:
            held.close() if isinstance(held, Association) else held.sock.close()

    def workers(self) -> list[int]:
        """Process IDs of the children, oldest first."""
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def terminate(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        return self.process.wait(20)


@contextmanager
def workers(directory: Path, number: int = 2, *, limit: int = 100, grace: float = 20.0) -> Iterator[Server]:
    """The program running in `directory`; it and its children are gone afterwards."""
    arguments = [sys.executable, "-m", "tests.net.worker_server", str(number), str(limit), str(grace)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with (
        (directory / "log").open("w") as log,
        subprocess.Popen(
            [*DIE_WITH_PARENT, *arguments],
            cwd=directory,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        ) as process,
    ):
        server = Server(process, directory)
        try:
            yield server
        finally:
            server.close()
            process.kill()  # workers leave when their parent is gone


if __name__ == "__main__":
    main()
