"""From settings to a running service: sockets bound, archive open, associations served until told to stop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dcmkit.logs import get_logger
from dcmkit.net.dispatch import AssociationThreads, WorkerProcesses
from dcmkit.net.listener import Listener, bind
from dcmkit.services.application_entity import ApplicationEntity
from dcmkit.services.storage import StorageSCP
from dcmkit.services.verification import VerificationSCP

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from dcmkit.archive.store import Archive
    from dcmkit.net.listener import Dispatcher
    from dcmkit.settings import ArchiveSettings, AssociationSettings, ListenerSettings

log = get_logger("services")


def serve_storage(
    port: int,
    listener: ListenerSettings,
    association: AssociationSettings,
    archive: ArchiveSettings | None,
    *,
    known_only: bool = False,
    on_ready: Callable[[Listener], None] | None = None,
) -> None:
    """Receive objects until SIGTERM or SIGINT.

    Args:
        port: where to listen; 0 lets the system choose.
        listener, association, archive: as set; no archive receives and forgets.
        known_only: refuse SOP classes the standard does not list.
        on_ready: called with the listener when it is about to serve; without it signals are handled here.

    Raises:
        ListenError: the port cannot be had.
        OutputError: the archive cannot be used.
    """
    store: Archive | None = None
    if archive is not None:
        from dcmkit.archive.store import Archive

        store = Archive(archive)
    sockets = bind(listener.bind, port)
    try:
        ae = ApplicationEntity((VerificationSCP(), StorageSCP(store, known_only=known_only)), association, listener)
        if store is not None:
            store.open()
        _tune()
        dispatcher = _dispatcher(ae, store, association, listener, sockets)
        service = Listener(sockets, dispatcher, artim=association.acse_timeout)
        if isinstance(dispatcher, WorkerProcesses):
            dispatcher.inherited = service.inherited
        log.info("%s listens on port %d", association.calling_ae_title, service.port)
        if on_ready is not None:
            on_ready(service)
        service.run(handle_signals=on_ready is None)
    finally:
        for sock in sockets:
            sock.close()
        if store is not None:
            store.close()


def _dispatcher(
    ae: ApplicationEntity,
    store: Archive | None,
    association: AssociationSettings,
    listener: ListenerSettings,
    sockets: list[socket.socket],
) -> Dispatcher:
    def threads(on_end: Callable[[], None] | None = None) -> AssociationThreads:
        return AssociationThreads(
            ae.decide,
            ae.serve,
            association,
            limit=listener.max_associations,
            idle_timeout=listener.idle_timeout,
            on_end=on_end,
        )

    if listener.workers == 1:
        return threads()

    def in_worker(on_end: Callable[[], None]) -> AssociationThreads:
        if store is not None:
            store.after_fork()
        return threads(on_end)

    return WorkerProcesses(
        listener.workers,
        in_worker,
        lambda: store.close() if store is not None else None,
        limit=listener.max_associations,
        on_death=store.recover_process if store is not None else None,
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
