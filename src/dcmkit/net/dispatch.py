"""Who serves the associations: a thread each in this process, or a thread each in one of several worker processes."""

from __future__ import annotations

import os
import socket
import threading
from typing import TYPE_CHECKING

from dcmkit.errors import DcmkitError, ListenError, NetworkError, UsageError
from dcmkit.logs import get_logger
from dcmkit.net import processes
from dcmkit.net.association import Association

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dcmkit.net.association import Decision
    from dcmkit.net.listener import Closable
    from dcmkit.settings import AssociationSettings

    Serve = Callable[[Association], None]

log = get_logger("net")

_STACK_SIZE = 1024 * 1024
_READY, _ENDED = b"r", b"e"
"""What a worker says to its parent: it can serve; an association has ended."""


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

    __slots__ = ("channel", "count", "pid", "ready")

    def __init__(self, pid: int, channel: socket.socket) -> None:
        self.pid = pid
        self.channel = channel
        self.count = 0
        self.ready = False


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

    Raises:
        UsageError: the system cannot do it.
        ListenError: the system does not allow so many processes.

    Attributes:
        inherited: what a new worker process closes: the parent's sockets. A connection of which a worker holds a copy
            would not end when the parent closes it.
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
        inherited: Callable[[], Iterable[Closable]] = tuple,
    ) -> None:
        self.inherited = inherited
        if not hasattr(os, "fork") or not hasattr(socket, "send_fds"):
            raise UsageError("more than one worker needs a POSIX system", hint="leave --workers at 1")
        self._make_threads = make_threads
        self._leave = leave
        self._limit = limit
        self._grace = grace
        self._on_death = on_death
        self._number = number
        self._workers: list[Worker] = []
        try:
            while len(self._workers) < number:
                self._workers.append(self._fork())
        except OSError as error:
            self.stop()
            self.join(1.0)
            raise ListenError(f"cannot start {number} worker processes: {error.strerror}") from error

    def full(self) -> bool:
        """Whether a further association is over the limit."""
        return sum(worker.count for worker in self._workers) >= self._limit

    def start(self, sock: socket.socket, received: bytes) -> None:
        """Hand a connection to the worker that has the fewest.

        Raises:
            OSError: no worker is alive.
        """
        self._replenish(sock)
        try:
            for worker in sorted(self._workers, key=lambda worker: worker.count):
                try:
                    socket.send_fds(worker.channel, [len(received).to_bytes(4, "big")], [sock.fileno()])
                    worker.channel.sendall(received)
                except OSError as error:  # it died a moment ago: `ready` will hear of it
                    log.debug("worker process %d takes nothing: %s", worker.pid, error)
                else:
                    worker.count += 1
                    return
            raise OSError("no worker process is alive")
        finally:
            sock.close()

    def watched(self) -> Iterable[socket.socket]:
        """The channels on which workers say that an association has ended."""
        return [worker.channel for worker in self._workers]

    def ready(self, sock: socket.socket) -> None:
        """A worker has said something, or died."""
        worker = next((worker for worker in self._workers if worker.channel is sock), None)
        if worker is None:  # heard of twice: a process just forked still had a copy of its channel
            return
        try:
            said = sock.recv(4096, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        if said:
            worker.ready = worker.ready or _READY in said
            worker.count -= said.count(_ENDED)
            return
        log.error(
            "worker process %d died%s", worker.pid, " and is replaced" if worker.ready else " before it was ready"
        )
        os.waitpid(worker.pid, 0)
        self._workers.remove(worker)
        sock.close()
        if self._on_death is not None:
            try:
                self._on_death(worker.pid)
            except (DcmkitError, OSError) as error:
                log.error("what worker process %d left cannot be put in order: %s", worker.pid, error)
        if worker.ready:
            self._replenish()  # else the next would die as soon: it is tried when there is work for it

    def _replenish(self, *in_hand: socket.socket) -> None:
        """As many workers as there should be, or as many as the system allows now."""
        while len(self._workers) < self._number:
            try:
                self._workers.append(self._fork(*in_hand))
            except OSError as error:
                log.error("cannot start a worker process: %s", error)
                return

    def stop(self) -> None:
        """Workers end once their messages in progress are answered."""
        processes.stop(self._workers)

    def join(self, timeout: float) -> bool:
        """Wait for all workers; those not done after `timeout` seconds (0: for ever) are killed."""
        in_order = processes.join(self._workers, timeout)
        self._workers.clear()
        return in_order

    def _fork(self, *in_hand: socket.socket) -> Worker:
        def held() -> Iterable[Closable]:
            return (*in_hand, *(worker.channel for worker in self._workers), *self.inherited())

        return Worker(*processes.fork(self._work, held, "worker process"))

    # --- in the worker ---

    def _work(self, channel: socket.socket) -> None:
        threads = self._make_threads(lambda: _tell(channel, _ENDED))
        _tell(channel, _READY)
        while True:
            try:
                header, descriptors, _, _ = socket.recv_fds(channel, 4, 1)
            except ConnectionResetError:  # killed before it read what we told it
                header, descriptors = b"", []
            header += _exactly(channel, 4 - len(header)) if header else b""
            length = int.from_bytes(header, "big")
            received = _exactly(channel, length)
            if len(header) < 4 or len(received) < length:  # the parent has stopped, or is gone
                for descriptor in descriptors:
                    os.close(descriptor)
                break
            if not descriptors:
                log.error("cannot serve an association: out of file descriptors")
                _tell(channel, _ENDED)
                continue
            sock = socket.socket(fileno=descriptors[0])
            try:
                threads.start(sock, received)
            except RuntimeError as error:  # no thread to be had
                log.error("cannot serve an association: %s", error)
                sock.close()
        threads.stop()
        if not threads.join(self._grace):
            log.warning("associations were still busy after %g s and are dropped", self._grace)
        self._leave()


def _exactly(channel: socket.socket, count: int) -> bytes:
    """So many bytes, or fewer when the other end is gone."""
    data = bytearray()
    while len(data) < count:
        try:
            piece = channel.recv(count - len(data))
        except ConnectionResetError:
            break
        if not piece:
            break
        data += piece
    return bytes(data)


def _tell(channel: socket.socket, what: bytes) -> None:
    try:
        channel.send(what)
    except OSError:
        pass  # the parent has gone: it counts no more
