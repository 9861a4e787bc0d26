"""Processes that share listening sockets: forked, told when to end, replaced when they die."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from dcmkit.errors import DcmkitError, ListenError, UsageError
from dcmkit.logs import get_logger
from dcmkit.net import processes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dcmkit.net.listener import Closable

    Work = Callable[[socket.socket], None]

log = get_logger("web")

READY = b"r"
"""What a worker says to its parent when it serves."""

_LONGEST_PAUSE = 30.0


class _Worker:
    __slots__ = ("channel", "pid", "ready")

    def __init__(self, pid: int, channel: socket.socket) -> None:
        self.pid, self.channel, self.ready = pid, channel, False


class Workers:
    """Forked processes; to be made before the process has threads.

    Args:
        number: how many.
        work: called in each with its channel: to say `READY` on it, and to return when it ends (reads nothing).
        on_death: called in the parent with the process ID of one that died.
        inherited: what a new process is to close.

    Raises:
        UsageError: the system cannot do it.
        ListenError: the system does not allow so many processes.
    """

    def __init__(
        self,
        number: int,
        work: Work,
        *,
        on_death: Callable[[int], None] | None = None,
        inherited: Callable[[], Iterable[Closable]] = tuple,
    ) -> None:
        if not hasattr(os, "fork"):
            raise UsageError("more than one worker needs a POSIX system", hint="leave --workers at 1")
        self._work = work
        self._on_death = on_death
        self._inherited = inherited
        self._workers: list[_Worker] = []
        self._stopping = False
        self._early = 0
        try:
            while len(self._workers) < number:
                self._workers.append(self._fork(0.0))
        except OSError as error:
            self.stop()
            self.join(1.0)
            raise ListenError(f"cannot start {number} worker processes: {error.strerror}") from error

    def watched(self) -> list[socket.socket]:
        """The channels on which workers are heard."""
        return [worker.channel for worker in self._workers]

    def ready(self, sock: socket.socket) -> None:
        """A worker has said something, or died."""
        worker = next((worker for worker in self._workers if worker.channel is sock), None)
        if worker is None:
            return
        try:
            said = sock.recv(64, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        if said:
            worker.ready, self._early = True, 0
            return
        self._workers.remove(worker)
        sock.close()
        os.waitpid(worker.pid, 0)
        if self._stopping:
            return
        log.error("web worker %d died%s", worker.pid, " and is replaced" if worker.ready else " before it was ready")
        if self._on_death is not None:
            try:
                self._on_death(worker.pid)
            except (DcmkitError, OSError) as error:
                log.error("what web worker %d left cannot be put in order: %s", worker.pid, error)
        self._early += not worker.ready
        pause = min(_LONGEST_PAUSE, 2.0 ** min(self._early, 10)) if self._early else 0.0
        try:
            self._workers.append(self._fork(pause))
        except OSError as error:
            log.error("cannot start a web worker: %s", error)

    @property
    def pids(self) -> list[int]:
        """Of the processes there are."""
        return [worker.pid for worker in self._workers]

    @property
    def all_ready(self) -> bool:
        """Whether all of them serve."""
        return all(worker.ready for worker in self._workers)

    def stop(self) -> None:
        """Tell them to end; returns at once."""
        self._stopping = True
        processes.stop(self._workers)

    def join(self, timeout: float) -> bool:
        """Wait for all of them; those not done after `timeout` seconds (0: for ever) are killed."""
        in_order = processes.join(self._workers, timeout)
        self._workers.clear()
        return in_order

    def _fork(self, pause: float) -> _Worker:
        def work(channel: socket.socket) -> None:
            if not pause or _still_wanted(channel, pause):
                self._work(channel)

        return _Worker(*processes.fork(work, lambda: (*self.watched(), *self._inherited()), "web worker"))


def _still_wanted(channel: socket.socket, pause: float) -> bool:
    """Wait, so that what dies at once is not tried all the time; whether the parent has not ended meanwhile."""
    channel.settimeout(pause)
    try:
        channel.recv(1)
    except TimeoutError:
        channel.settimeout(None)
        return True
    except OSError:
        pass
    return False
