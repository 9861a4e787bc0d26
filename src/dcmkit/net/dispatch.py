"""Who serves the associations: a thread each in this process, or a thread each in one of several worker processes."""

from __future__ import annotations

import os
import signal
import socket
import threading
from typing import TYPE_CHECKING

from dcmkit.errors import DcmkitError, NetworkError, UsageError
from dcmkit.logs import get_logger
from dcmkit.net.association import Association
from dcmkit.net.deadline import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dcmkit.net.association import Decision
    from dcmkit.settings import AssociationSettings

    Serve = Callable[[Association], None]

log = get_logger("net")

_STACK_SIZE = 1024 * 1024


class AssociationThreads:
    """One thread per association, in this process.

    Args:
        decide: answers an A-ASSOCIATE-RQ.
        serve: runs an established association to its end.
        settings: time-outs and limits of the associations.
        limit: associations at a time.
        idle_timeout: seconds an association may be idle; 0 is for ever.
        on_end: called after each association, from its thread.
    """

    def __init__(
        self,
        decide: Decision,
        serve: Serve,
        settings: AssociationSettings,
        *,
        limit: int,
        idle_timeout: float = 0.0,
        on_end: Callable[[], None] | None = None,
    ) -> None:
        self._decide = decide
        self._serve = serve
        self._settings = settings
        self._limit = limit
        self._idle_timeout = idle_timeout
        self._on_end = on_end
        self._lock = threading.Lock()
        self._ended = threading.Condition(self._lock)
        self._count = 0
        self._associations: set[Association] = set()
        self._stopping = False

    def full(self) -> bool:
        """Whether a further association is over the limit."""
        return self._count >= self._limit

    def start(self, sock: socket.socket, received: bytes) -> None:
        """Serve a connection whose A-ASSOCIATE-RQ has been read, in a thread of its own."""
        with self._lock:
            self._count += 1
        try:
            threading.stack_size(_STACK_SIZE)
            threading.Thread(target=self._run, args=(sock, received), name="association", daemon=True).start()
        except RuntimeError:
            self._end(None)
            raise

    def watched(self) -> Iterable[socket.socket]:
        """Nothing to watch."""
        return ()

    def ready(self, sock: socket.socket) -> None:
        """Nothing is watched."""

    def _run(self, sock: socket.socket, received: bytes) -> None:
        association: Association | None = None
        try:
            association = Association.accept(
                sock, received, self._settings, self._decide, idle_timeout=self._idle_timeout
            )
            if association is not None:
                with self._lock:
                    self._associations.add(association)
                    association.stopping = self._stopping
                self._serve(association)
        except NetworkError as error:
            who = association.peer_address if association is not None else "a peer"
            log.warning("association with %s ended: %s", who, error)
        except DcmkitError as error:
            log.error("association ended: %s", error)
        except Exception as error:
            log.error("association ended by a defect in dcmkit: %r", error, exc_info=True)
        finally:
            if association is not None:
                association.close()
            else:
                sock.close()
            self._end(association)

    def _end(self, association: Association | None) -> None:
        if self._on_end is not None:
            self._on_end()
        with self._ended:
            self._count -= 1
            if association is not None:
                self._associations.discard(association)
            self._ended.notify_all()

    def stop(self) -> None:
        """Associations end once the message in progress is answered."""
        with self._lock:
            self._stopping = True
            associations = list(self._associations)
        for association in associations:
            association.interrupt()

    def join(self, timeout: float) -> bool:
        """Wait for the end of all associations; False when `timeout` seconds (0: for ever) were not enough."""
        with self._ended:
            return self._ended.wait_for(lambda: not self._count, timeout or None)


class Worker:
    """A worker process, as the parent sees it."""

    __slots__ = ("channel", "count", "pid")

    def __init__(self, pid: int, channel: socket.socket) -> None:
        self.pid = pid
        self.channel = channel
        self.count = 0


class WorkerProcesses:
    """Associations spread over forked worker processes, each given to the one that has the fewest.

    Must be made before the process has threads. A worker that dies is replaced.

    Args:
        number: how many processes.
        make_threads: called in each new process; makes what serves there, given the callback for the end of each
            association.
        leave: called in a worker process when it has served its last association.
        limit: associations at a time, over all processes.
        on_death: called in the parent with the process ID of a worker that died.

    Attributes:
        inherited: the parent's sockets, which a new worker process closes.
    """

    def __init__(
        self,
        number: int,
        make_threads: Callable[[Callable[[], None]], AssociationThreads],
        leave: Callable[[], None],
        *,
        limit: int,
        grace: float = 60.0,
        on_death: Callable[[int], None] | None = None,
        inherited: Callable[[], Iterable[socket.socket]] = tuple,
    ) -> None:
        self.inherited = inherited
        if not hasattr(os, "fork") or not hasattr(socket, "send_fds"):
            raise UsageError("more than one worker needs a POSIX system", hint="leave --workers at 1")
        self._make_threads = make_threads
        self._leave = leave
        self._limit = limit
        self._grace = grace
        self._on_death = on_death
        self._workers: list[Worker] = []
        for _ in range(number):
            self._workers.append(self._fork())

    def full(self) -> bool:
        """Whether a further association is over the limit."""
        return sum(worker.count for worker in self._workers) >= self._limit

    def start(self, sock: socket.socket, received: bytes) -> None:
        """Hand a connection to the worker that has the fewest."""
        worker = min(self._workers, key=lambda worker: worker.count)
        try:
            worker.channel.setblocking(True)
            socket.send_fds(worker.channel, [len(received).to_bytes(4, "big")], [sock.fileno()])
            worker.channel.sendall(received)
            worker.count += 1
        finally:
            sock.close()

    def watched(self) -> Iterable[socket.socket]:
        """The channels on which workers say that an association has ended."""
        return [worker.channel for worker in self._workers]

    def ready(self, sock: socket.socket) -> None:
        """A worker has said something, or died."""
        worker = next(worker for worker in self._workers if worker.channel is sock)
        try:
            ended = sock.recv(4096, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            ended = b""
        if ended:
            worker.count -= len(ended)
            return
        log.error("worker process %d died and is replaced", worker.pid)
        os.waitpid(worker.pid, 0)
        self._workers.remove(worker)
        sock.close()
        if self._on_death is not None:
            self._on_death(worker.pid)
        self._workers.append(self._fork())

    def stop(self) -> None:
        """Workers end once their messages in progress are answered."""
        for worker in self._workers:
            worker.channel.shutdown(socket.SHUT_WR)

    def join(self, timeout: float) -> bool:
        """Wait for all workers; those not done after `timeout` seconds are killed."""
        deadline = Deadline(timeout)
        in_order = True
        for worker in self._workers:
            worker.channel.settimeout(max(0.001, deadline.remaining()) if timeout else None)
            try:
                while worker.channel.recv(4096):
                    pass
            except OSError:
                in_order = False
                os.kill(worker.pid, signal.SIGKILL)
            os.waitpid(worker.pid, 0)
            worker.channel.close()
        self._workers.clear()
        return in_order

    # --- in the worker ---

    def _fork(self) -> Worker:
        mine, theirs = socket.socketpair()
        pid = os.fork()
        if pid:
            theirs.close()
            return Worker(pid, mine)
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal's Ctrl-C goes to the parent, which tells us
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            for sock in (mine, *(worker.channel for worker in self._workers), *self.inherited()):
                sock.close()
            self._work(theirs)
            code = 0
        except BaseException as error:
            log.error("worker process ended by a defect in dcmkit: %r", error, exc_info=True)
        finally:
            os._exit(code)

    def _work(self, channel: socket.socket) -> None:
        threads = self._make_threads(lambda: _tell(channel))
        while True:
            header, descriptors, _, _ = socket.recv_fds(channel, 4, 1)
            if not header:
                break
            while len(header) < 4:
                header += channel.recv(4 - len(header))
            length = int.from_bytes(header, "big")
            received = bytearray()
            while len(received) < length:
                received += channel.recv(length - len(received))
            threads.start(socket.socket(fileno=descriptors[0]), bytes(received))
        threads.stop()
        threads.join(self._grace)
        self._leave()


def _tell(channel: socket.socket) -> None:
    try:
        channel.send(b".")
    except OSError:
        pass  # the parent has gone: it counts no more
