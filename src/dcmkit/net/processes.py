"""Forked worker processes, each with a channel to its parent: begun, told to end, waited for."""

from __future__ import annotations

import os
import signal
import socket
from typing import TYPE_CHECKING, Protocol

from dcmkit.errors import DcmkitError
from dcmkit.logs import get_logger
from dcmkit.net.deadline import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from dcmkit.net.listener import Closable

log = get_logger("net")


class Worker(Protocol):
    """A worker process as its parent sees it."""

    @property
    def pid(self) -> int:
        """Its process ID."""

    @property
    def channel(self) -> socket.socket:
        """What it says comes here; nothing more does when it has ended."""


def fork(
    work: Callable[[socket.socket], None], held: Callable[[], Iterable[Closable]], name: str
) -> tuple[int, socket.socket]:
    """A process that does `work` with its end of a channel, and ends; its ID, and the parent's end.

    Args:
        held: what it is to close first: the parent's sockets.
        name: of such a process, for the log.

    Raises:
        OSError: the system does not allow one more.
    """
    mine, theirs = socket.socketpair()
    try:
        pid = os.fork()
    except OSError:
        mine.close()
        theirs.close()
        raise
    if pid:
        theirs.close()
        return pid, mine
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C goes to the parent, which tells us
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        for one in (mine, *held()):
            one.close()
        work(theirs)
        code = 0
    except DcmkitError as error:
        log.error("%s ended: %s", name, error)
    except BaseException as error:
        log.error("%s ended by a defect in dcmkit: %r", name, error, exc_info=True)
    finally:
        os._exit(code)


def stop(workers: Iterable[Worker]) -> None:
    """Tell them to end; returns at once."""
    for worker in workers:
        try:
            worker.channel.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it is dead


def join(workers: list[Worker] | Sequence[Worker], timeout: float) -> bool:
    """Wait for all of them; whether they ended in order.

    Args:
        timeout: those not done after so many seconds (0: for ever) are killed.
    """
    deadline = Deadline(timeout)
    in_order = True
    for worker in workers:
        try:
            worker.channel.settimeout(max(0.001, deadline.remaining()) if timeout else None)
            while worker.channel.recv(4096):
                pass
        except OSError:
            in_order = False
            os.kill(worker.pid, signal.SIGKILL)
        worker.channel.close()
        os.waitpid(worker.pid, 0)
    return in_order
