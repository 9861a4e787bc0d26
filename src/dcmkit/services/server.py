"""From settings to a running service: sockets bound, archive open, associations served until told to stop."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NamedTuple, Protocol

from dcmkit.logs import get_logger
from dcmkit.net.dispatch import AssociationThreads, WorkerProcesses
from dcmkit.net.listener import Listener, bind
from dcmkit.services.application_entity import ApplicationEntity
from dcmkit.services.storage import StorageSCP
from dcmkit.services.verification import VerificationSCP

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from dcmkit.archive.store import Archive
    from dcmkit.net.association import Association
    from dcmkit.net.listener import Closable, Dispatcher
    from dcmkit.protocol.negotiation import AcceptedContexts
    from dcmkit.protocol.pdu import AssociateAC, AssociateRJ, AssociateRQ
    from dcmkit.services.anonymizing import Anonymization
    from dcmkit.services.forwarding import Forwarder, Policy, Target
    from dcmkit.services.storage import Destination
    from dcmkit.settings import ArchiveSettings, AssociationSettings, ListenerSettings

log = get_logger("services")


class Entities(Protocol):
    """One AE, or several (`application_entity`)."""

    def decide(self, rq: AssociateRQ) -> tuple[AssociateAC, AcceptedContexts] | AssociateRJ:
        """The answer to an association request."""

    def serve(self, association: Association) -> None:
        """Answer every message of an association until it ends."""


class Processes(NamedTuple):
    """How worker processes live with archives that were opened before they were forked.

    Attributes:
        number: how many.
        enter: called first in a new process.
        leave: called last in it, where it ends in order.
        recover: called in the parent with the ID of one that died.
        inherited: what a new process is to close.
    """

    number: int
    enter: Callable[[], None]
    leave: Callable[[], None]
    recover: Callable[[int], None]
    inherited: Callable[[], Iterable[Closable]]


class Companion(Protocol):
    """Another service over the same archives, which begins and ends with this one: in a thread, or in processes."""

    def begin(self, processes: Processes | None) -> None:
        """Serve from now on: in this process, or in others, of which it forks the first ones now."""

    def held(self) -> Iterable[Closable]:
        """What worker processes of this service are to close."""

    def watched(self) -> Iterable[socket.socket]:
        """Sockets that are to be watched for it."""

    def ready(self, sock: socket.socket) -> None:
        """A watched socket is readable."""

    def stop(self) -> None:
        """Let what is being answered finish; returns at once."""

    def join(self, timeout: float) -> bool:
        """Wait for the end; False when `timeout` seconds (0: for ever) were not enough."""


class Forwards(NamedTuple):
    """Where to pass on what is stored, how patiently, and whether its files go once it is delivered."""

    targets: Sequence[Target]
    policy: Policy
    delete: bool = False


def serve_storage(
    port: int,
    listener: ListenerSettings,
    association: AssociationSettings,
    archive: ArchiveSettings | None,
    *,
    known_only: bool = False,
    forwards: Forwards | None = None,
    anonymization: Anonymization | None = None,
    on_ready: Callable[[Listener], None] | None = None,
) -> None:
    """Receive objects until SIGTERM or SIGINT.

    Args:
        port: where to listen; 0 lets the system choose.
        listener, association, archive: as set; no archive receives and forgets.
        known_only: refuse SOP classes the standard does not list.
        forwards: where what is stored goes next.
        anonymization: what is done with it before it is stored.
        on_ready: called with the listener when it is about to serve; without it signals are handled here.

    Raises:
        ListenError: the port cannot be had.
        OutputError: the archive cannot be used.
    """
    archives: list[Archive] = []
    forwarders: list[Forwarder] = []
    destination: Destination | None = None
    if archive is not None:
        from dcmkit.archive.store import Archive

        archives.append(Archive(archive))
        destination, forwarders = door(archives[0], forwards, anonymization)
    ae = ApplicationEntity((VerificationSCP(), StorageSCP(destination, known_only=known_only)), association, listener)
    serve(port, listener, association, ae, archives, forwarders, on_ready=on_ready)


def door(
    archive: Archive, forwards: Forwards | None, anonymization: Anonymization | None
) -> tuple[Destination, list[Forwarder]]:
    """What objects go through on their way into an archive, and who passes them on afterwards."""
    destination: Destination = archive
    forwarders: list[Forwarder] = []
    if forwards is not None:
        destination, forwarder = _forwarding(archive, forwards)
        forwarders.append(forwarder)
    if anonymization is not None:
        from dcmkit.services.anonymizing import Anonymizing

        destination = Anonymizing(destination, archive, anonymization)
    return destination, forwarders


def _forwarding(archive: Archive, forwards: Forwards) -> tuple[Destination, Forwarder]:
    from dcmkit.archive.removal import remove_files
    from dcmkit.services.forwarding import Forwarder, Forwarding
    from dcmkit.services.spool import Spool

    def remove(paths: Sequence[str]) -> None:
        remove_files(archive, paths)

    spool = Spool(archive.root, archive.settings.durability)
    archive.needed = spool.needs
    forwarder = Forwarder(spool, forwards.targets, forwards.policy, remove if forwards.delete else None)
    return Forwarding(archive, forwarder), forwarder


def serve(
    port: int,
    listener: ListenerSettings,
    association: AssociationSettings,
    entities: Entities,
    archives: Sequence[Archive],
    forwarders: Sequence[Forwarder] = (),
    *,
    companion: Companion | None = None,
    on_ready: Callable[[Listener], None] | None = None,
) -> None:
    """Serve associations until SIGTERM or SIGINT.

    Args:
        port, listener, association, on_ready: as for `serve_storage`.
        entities: who decides about associations and answers them.
        archives: what they use; opened here, and closed.
        forwarders: who passes on what comes into the archives.
        companion: another service over the same archives.

    Raises:
        ListenError: the port cannot be had.
        OutputError: an archive cannot be used.
    """
    sockets = bind(listener.bind, port)
    try:
        with opened(archives, forwarders):
            tune()
            _serve(sockets, listener, association, entities, archives, forwarders, companion, on_ready)
    finally:
        for sock in sockets:
            sock.close()


def _serve(
    sockets: list[socket.socket],
    listener: ListenerSettings,
    association: AssociationSettings,
    entities: Entities,
    archives: Sequence[Archive],
    forwarders: Sequence[Forwarder],
    companion: Companion | None,
    on_ready: Callable[[Listener], None] | None,
) -> None:
    services: list[Listener] = []

    def own() -> list[Closable]:
        return [*services[0].inherited()] if services else [*sockets]

    def of_workers() -> list[Closable]:
        return [*own(), *(companion.held() if companion is not None else ())]

    def of_companion() -> list[Closable]:
        return [*own(), *dispatcher.watched()]

    processes = processes_of(listener.workers, archives, forwarders, of_workers)
    dispatcher = _dispatcher(entities, association, listener, processes)
    everything = dispatcher
    if companion is not None:
        everything = _Both(dispatcher, companion)
        try:
            companion.begin(processes and processes._replace(inherited=of_companion))
        except BaseException:
            dispatcher.stop()
            dispatcher.join(1.0)
            raise
    service = Listener(sockets, everything, artim=association.acse_timeout)
    services.append(service)
    log.info("%s listens on port %d", association.calling_ae_title, service.port)
    if processes is None:
        start_all(forwarders)
    if on_ready is not None:
        on_ready(service)
    service.run(handle_signals=on_ready is None)


class _Both:
    """A dispatcher and its companion, as the listener sees them. See `Dispatcher`."""

    def __init__(self, dispatcher: Dispatcher, companion: Companion) -> None:
        self._dispatcher, self._companion = dispatcher, companion
        self.full, self.start = dispatcher.full, dispatcher.start

    def watched(self) -> Iterable[socket.socket]:
        """Those of both."""
        return [*self._dispatcher.watched(), *self._companion.watched()]

    def ready(self, sock: socket.socket) -> None:
        """Whichever it belongs to."""
        one = self._companion if sock in self._companion.watched() else self._dispatcher
        one.ready(sock)

    def stop(self) -> None:
        """Both."""
        self._dispatcher.stop()
        self._companion.stop()

    def join(self, timeout: float) -> bool:
        """Both, each as long."""
        ended = self._dispatcher.join(timeout)
        return self._companion.join(timeout) and ended


@contextmanager
def opened(archives: Sequence[Archive], forwarders: Sequence[Forwarder]) -> Iterator[None]:
    """Archives and forwarders, open; in the end all are closed, the last first, even where one cannot be in order.

    Raises:
        OutputError: one cannot be used.
    """
    with ExitStack() as stack:
        needed: list[Archive | Forwarder] = [*archives, *forwarders]
        for one in needed:
            stack.callback(one.open().close)
        yield


def start_all(forwarders: Sequence[Forwarder]) -> None:
    """Let them deliver; not before worker processes are forked."""
    for forwarder in forwarders:
        forwarder.start()


def processes_of(
    number: int,
    archives: Sequence[Archive],
    forwarders: Sequence[Forwarder],
    inherited: Callable[[], Iterable[Closable]],
) -> Processes | None:
    """How worker processes live with these; None where there are to be none."""
    if number == 1:
        return None
    needed: list[Archive | Forwarder] = [*archives, *forwarders]

    def enter() -> None:
        for archive in archives:
            archive.after_fork()
        for forwarder in forwarders:
            forwarder.after_fork()
        start_all(forwarders)

    def leave() -> None:
        with ExitStack() as stack:
            for one in needed:
                stack.callback(one.close)

    def recover(pid: int) -> None:
        for archive in archives:
            archive.recover_process(pid)

    return Processes(number, enter, leave, recover, inherited)


def _dispatcher(
    entities: Entities, association: AssociationSettings, listener: ListenerSettings, processes: Processes | None
) -> Dispatcher:
    def threads(on_end: Callable[[], None] | None = None) -> AssociationThreads:
        return AssociationThreads(
            entities.decide,
            entities.serve,
            association,
            limit=listener.max_associations,
            idle_timeout=listener.idle_timeout,
            on_end=on_end,
        )

    if processes is None:
        return threads()
    enter = processes.enter

    def in_worker(on_end: Callable[[], None]) -> AssociationThreads:
        enter()
        return threads(on_end)

    return WorkerProcesses(
        processes.number,
        in_worker,
        processes.leave,
        limit=listener.max_associations,
        on_death=processes.recover,
        inherited=processes.inherited,
    )


def tune() -> None:
    """As many descriptors as allowed, short turns for threads, no garbage collection of what lives for ever."""
    import gc
    import sys

    sys.setswitchinterval(0.0005)
    try:
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    except (ImportError, OSError, ValueError):
        pass  # Windows has no such limit; where it cannot be raised, the listener lives with it
    gc.collect()
    gc.freeze()
