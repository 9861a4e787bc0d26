"""From settings to a running service: sockets bound, archive open, associations served until told to stop."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple, Protocol

from dcmkit.logs import get_logger
from dcmkit.net.dispatch import AssociationThreads, WorkerProcesses
from dcmkit.net.listener import Listener, bind
from dcmkit.services.application_entity import ApplicationEntity
from dcmkit.services.storage import StorageSCP
from dcmkit.services.verification import VerificationSCP

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from dcmkit.archive.store import Archive
    from dcmkit.net.association import Association
    from dcmkit.net.listener import Dispatcher
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
    on_ready: Callable[[Listener], None] | None = None,
) -> None:
    """Serve associations until SIGTERM or SIGINT.

    Args:
        port, listener, association, on_ready: as for `serve_storage`.
        entities: who decides about associations and answers them.
        archives: what they use; opened here, and closed.
        forwarders: who passes on what comes into the archives.

    Raises:
        ListenError: the port cannot be had.
        OutputError: an archive cannot be used.
    """
    sockets = bind(listener.bind, port)
    opened: list[Archive | Forwarder] = []
    needed: list[Archive | Forwarder] = [*archives, *forwarders]
    try:
        for one in needed:
            opened.append(one.open())
        _tune()
        dispatcher = _dispatcher(entities, archives, forwarders, association, listener, sockets)
        service = Listener(sockets, dispatcher, artim=association.acse_timeout)
        if isinstance(dispatcher, WorkerProcesses):
            dispatcher.inherited = service.inherited
        log.info("%s listens on port %d", association.calling_ae_title, service.port)
        if listener.workers == 1:
            _start(forwarders)
        if on_ready is not None:
            on_ready(service)
        service.run(handle_signals=on_ready is None)
    finally:
        for sock in sockets:
            sock.close()
        _close(opened)


def _start(forwarders: Sequence[Forwarder]) -> None:
    for forwarder in forwarders:
        forwarder.start()


def _close(opened: Sequence[Archive | Forwarder]) -> None:
    """All of them, the last first, even where one cannot be closed in order."""
    with ExitStack() as stack:
        for one in opened:
            stack.callback(one.close)


def _dispatcher(
    entities: Entities,
    archives: Sequence[Archive],
    forwarders: Sequence[Forwarder],
    association: AssociationSettings,
    listener: ListenerSettings,
    sockets: list[socket.socket],
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

    if listener.workers == 1:
        return threads()

    def in_worker(on_end: Callable[[], None]) -> AssociationThreads:
        for archive in archives:
            archive.after_fork()
        for forwarder in forwarders:
            forwarder.after_fork()
        _start(forwarders)
        return threads(on_end)

    def recover(pid: int) -> None:
        for archive in archives:
            archive.recover_process(pid)

    return WorkerProcesses(
        listener.workers,
        in_worker,
        lambda: _close((*archives, *forwarders)),
        limit=listener.max_associations,
        on_death=recover,
        inherited=lambda: sockets,
    )


def _tune() -> None:
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
