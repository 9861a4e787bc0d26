"""The DICOMweb service as a process, or beside others in one: sockets, processes or a thread, and an end in order.

The loop of uvicorn runs in a thread of this process, or in worker processes; the main thread waits for signals and for
workers that die. So it is the same for `dcmkit web` and for a service of associations that it accompanies.
"""

from __future__ import annotations

import errno
import os
import selectors
import signal
import socket
import threading
from contextlib import ExitStack
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Protocol

from dcmkit.errors import InputError, ListenError, UsageError
from dcmkit.logs import get_logger
from dcmkit.net.listener import bind
from dcmkit.settings import size_of
from dcmkit.web.admission import authenticator_of, warn_of_exposure
from dcmkit.web.counters import shared_file
from dcmkit.web.identity import ALL_SCOPES
from dcmkit.web.workers import READY, Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from types import FrameType

    from dcmkit.archive.store import Archive
    from dcmkit.net.listener import Closable
    from dcmkit.services.anonymizing import Anonymization
    from dcmkit.services.server import Forwards, Processes
    from dcmkit.services.storage import Destination
    from dcmkit.settings import ArchiveSettings
    from dcmkit.web.service import ServiceOptions
    from dcmkit.web.settings import WebSettings
    from dcmkit.web.tls import Certificates
    from dcmkit.web.uvicorn_server import Bounds, Server

log = get_logger("web")

PORT = 8042
"""Where nothing else is said."""

_MARGIN = 5.0
"""Seconds beyond its grace that a service has to end."""
_NO_SUCH_ADDRESS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT)


class ASGI(Protocol):
    """What answers requests."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """ASGI 3."""

    def close(self) -> None:
        """End what runs beside requests."""


class Offering:
    """A service that is ready to begin: sockets bound, certificates and credentials read.

    Raises:
        UsageError: something is set that cannot be, or a package is missing.
        InputError: a file cannot be read.
        ListenError: the port cannot be had.
    """

    def __init__(self, settings: WebSettings, port: int) -> None:
        require(settings)
        self._settings = settings
        self._certificates = certificates_of(settings)
        self._counts = -1
        self.sockets = listen(settings, port)
        self.exposed = [address for address in map(_address, self.sockets) if not _is_loopback(address)]
        try:
            authenticator_of(settings, exposed=bool(self.exposed))  # what is wrong with it is wrong at once
        except BaseException:
            self.close()
            raise
        warn_of_exposure(settings, self.exposed)
        self._counts = shared_file()

    def over(self, archive: Archive, destination: Destination, rights: Collection[str] = ALL_SCOPES) -> WebService:
        """The service over an archive, which is opened before it begins.

        Args:
            rights: what those may do at most who say nothing about themselves.
        """
        from dcmkit.web.uvicorn_server import Bounds

        settings = self._settings
        authenticator = authenticator_of(settings, exposed=bool(self.exposed), rights=rights)
        options = options_of(settings)._replace(authenticator=authenticator, counts=self._counts)

        def build() -> ASGI:
            from dcmkit.web import service

            application: ASGI = service.build(archive, destination, options)
            return application

        bounds = Bounds(settings.max_connections, settings.keep_alive, settings.head_timeout, settings.stall_timeout)
        return WebService(self.sockets, build, bounds, self._certificates, settings.grace, settings.root)

    def close(self) -> None:
        """Listen no more."""
        for sock in self.sockets:
            sock.close()
        if self._counts >= 0:
            os.close(self._counts)
            self._counts = -1


class WebService:
    """See `services.server.Companion`.

    Args:
        sockets: bound and listening; closed in the end.
        build: makes what answers, in the process that is to serve.
        bounds: what connections may cost.
        certificates: for HTTPS.
        grace: seconds that requests get to finish in the end.
        root: path of the service, for the log.

    Attributes:
        is_stuck: whether a request did not end in time. Its thread then keeps the process from ending by itself.
    """

    def __init__(
        self,
        sockets: list[socket.socket],
        build: Callable[[], ASGI],
        bounds: Bounds,
        certificates: Certificates | None = None,
        grace: float = 30.0,
        root: str = "",
    ) -> None:
        self.port: int = sockets[0].getsockname()[1]
        self.grace = grace
        self.is_stuck = False
        self._sockets = sockets
        self._build, self._bounds, self._certificates = build, bounds, certificates
        self._scheme = "https" if certificates is not None else "http"
        self._root = root
        self._workers: Workers | None = None
        self._server: Server | None = None
        self._application: ASGI | None = None
        self._thread: threading.Thread | None = None

    @property
    def urls(self) -> list[str]:
        """Of its root, one for each address."""
        return [f"{self._scheme}://{_host(_address(sock))}:{self.port}{self._root}" for sock in self._sockets]

    def begin(self, processes: Processes | None) -> None:
        """See `Companion`."""
        urls = " ".join(self.urls)  # of sockets that are still open
        if processes is None:
            self._begin_here()
        else:
            self._workers = Workers(
                processes.number,
                lambda channel: self._work(channel, processes),
                on_death=processes.recover,
                inherited=processes.inherited,
            )
        log.info("DICOMweb listens on port %d: %s", self.port, urls)

    def held(self) -> list[Closable]:
        """See `Companion`."""
        return [*self._sockets, *self.watched()]

    def watched(self) -> Iterable[socket.socket]:
        """See `Companion`."""
        return self._workers.watched() if self._workers is not None else ()

    def ready(self, sock: socket.socket) -> None:
        """See `Companion`."""
        if self._workers is not None:
            self._workers.ready(sock)

    def stop(self) -> None:
        """See `Companion`."""
        for sock in self._sockets if self._workers is not None else ():
            sock.close()
        if self._workers is not None:
            self._workers.stop()
        if self._server is not None:
            self._server.stop()

    def join(self, timeout: float) -> bool:
        """See `Companion`. Whoever has no time left for it does not get it either."""
        ended = (
            self._workers.join(min(timeout or _FOREVER, self.grace + _MARGIN)) if self._workers is not None else True
        )
        if self._server is not None and self._thread is not None:
            if timeout and timeout < self.grace:
                self._server.stop_now()
            self._thread.join(timeout or None)
            ended = not self._thread.is_alive() and ended and self._close_application(timeout)
        self.is_stuck = not ended and self._workers is None
        return ended

    @property
    def pids(self) -> list[int]:
        """Of its worker processes."""
        return self._workers.pids if self._workers is not None else []

    # --- in a thread of this process ---

    def _begin_here(self) -> None:
        started = threading.Event()
        self._application = self._build()
        self._server = self._new_server(self._application, started.set)
        self._thread = threading.Thread(target=self._serve, args=(started,), name="web", daemon=True)
        self._thread.start()
        started.wait()
        if not self._thread.is_alive():
            raise ListenError("the web service cannot begin", hint="see the log")

    def _serve(self, started: threading.Event) -> None:
        try:
            assert self._server is not None
            self._server.run(self._sockets)
        except BaseException as error:  # uvicorn may even exit
            log.error("the web service ended by a defect: %r", error, exc_info=True)
        finally:
            started.set()

    def _close_application(self, timeout: float) -> bool:
        """Its threads may be busy with what nobody waits for any more: only so long."""
        application, self._application = self._application, None
        if application is None:
            return not self.is_stuck
        closing = threading.Thread(target=application.close, name="web-end", daemon=True)
        closing.start()
        closing.join(min(timeout or _MARGIN, _MARGIN))
        if closing.is_alive():
            log.warning("a request was still being answered and is dropped")
        return not closing.is_alive()

    def _new_server(self, application: ASGI, on_started: Callable[[], None]) -> Server:
        from dcmkit.web.uvicorn_server import Server

        return Server(application, self._bounds, self._certificates, self.grace, on_started)

    # --- in a worker process ---

    def _work(self, channel: socket.socket, processes: Processes) -> None:
        processes.enter()
        self._application = self._build()
        server = self._new_server(self._application, lambda: _tell(channel))
        threading.Thread(target=_until_told, args=(channel, server.stop), daemon=True).start()
        server.run(self._sockets)
        self._close_application(_MARGIN)
        processes.leave()


_FOREVER = 1e9


def _tell(channel: socket.socket) -> None:
    try:
        channel.send(READY)
    except OSError:
        pass  # the parent has gone: the thread that listens to it hears of it


def _until_told(channel: socket.socket, then: Callable[[], None]) -> None:
    """The parent has stopped, or is gone."""
    try:
        while channel.recv(1):
            pass
    except OSError:
        pass
    then()


class Running:
    """A service that is the only one of its process, until it is stopped.

    Args:
        service: not yet begun.
    """

    def __init__(self, service: WebService) -> None:
        self.service = service
        self.port = service.port
        self._stopping = False
        self._joining = False
        self._patience = service.grace + _MARGIN
        self._wake_receiver, self._wake_sender = socket.socketpair()
        for sock in (self._wake_receiver, self._wake_sender):
            sock.setblocking(False)

    def stop(self) -> None:
        """End `run` in order. From any thread."""
        self._stopping = True
        try:
            self._wake_sender.send(b"\0")
        except OSError:
            pass  # full: it wakes anyway; closed: it has ended already

    def inherited(self) -> list[Closable]:
        """What new worker processes are to close."""
        return [self._wake_receiver, self._wake_sender]

    def run(self, *, handle_signals: bool) -> None:
        """Until `stop`, or SIGTERM or SIGINT; a second signal does not wait for what is being answered."""
        if handle_signals:
            signal.set_wakeup_fd(self._wake_sender.fileno(), warn_on_full_buffer=False)
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, self._on_signal)
        try:
            while not self._stopping:
                self._wait()
        finally:
            self._end()
            if handle_signals:
                signal.set_wakeup_fd(-1)

    def close(self) -> None:
        """Let go of what it wakes itself with."""
        self._wake_receiver.close()
        self._wake_sender.close()

    def _wait(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake_receiver, selectors.EVENT_READ)
            for channel in self.service.watched():
                selector.register(channel, selectors.EVENT_READ)
            found = [key.fileobj for key, _ in selector.select()]
        for sock in found:
            assert isinstance(sock, socket.socket)
            if sock is self._wake_receiver:
                sock.recv(4096)
            else:
                self.service.ready(sock)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._stopping:
            log.warning("stopped again: not waiting for requests that are being answered")
            self._patience = 0.001
            if self._joining:
                raise KeyboardInterrupt
        self._stopping = True

    def _end(self) -> None:
        self.service.stop()
        self._joining = True
        try:
            self.service.join(self._patience)
            self._joining = False
        except KeyboardInterrupt:
            self._joining = False
            self.service.join(self._patience)


def serve_web(
    port: int,
    settings: WebSettings,
    archive: ArchiveSettings,
    *,
    forwards: Forwards | None = None,
    anonymization: Anonymization | None = None,
    on_ready: Callable[[Running], None] | None = None,
) -> bool:
    """Serve an archive until SIGTERM or SIGINT.

    Args:
        port: where to listen; 0 lets the system choose.
        settings, archive: as set.
        forwards: where what is stored goes next.
        anonymization: what is done with it before it is stored.
        on_ready: called with what runs when it is about to; without it signals are handled here.

    Returns:
        Whether everything ended. If not, a thread is left that keeps the process from ending by itself.

    Raises:
        UsageError, InputError: something is set that cannot be.
        ListenError: the port cannot be had.
        OutputError: the archive cannot be used.
    """
    from dcmkit.archive.store import Archive
    from dcmkit.services.query_retrieve import take_over
    from dcmkit.services.server import door, opened, processes_of, start_all, tune

    with ExitStack() as stack:
        offering = Offering(settings, port)
        stack.callback(offering.close)
        store = Archive(archive)
        take_over(store)
        destination, forwarders = door(store, forwards, anonymization)
        service = offering.over(store, destination)
        stack.enter_context(opened((store,), forwarders))
        tune()
        running = Running(service)
        stack.callback(running.close)
        processes = processes_of(settings.web_workers, (store,), forwarders, running.inherited)
        service.begin(processes)
        if processes is None:
            start_all(forwarders)
        if on_ready is not None:
            on_ready(running)
        running.run(handle_signals=on_ready is None)
    return not service.is_stuck


def require(settings: WebSettings) -> None:
    """Raises UsageError where a package is missing, or something is set that does not fit together."""
    from importlib.util import find_spec

    for name in ("uvicorn", *(("starlette",) if settings.cors else ())):
        if find_spec(name) is None:
            raise UsageError(f"a DICOMweb service needs the package {name}", hint="pip install 'dcmkit[web]'")
    if (settings.tls_key or settings.tls_ca) and not settings.tls_cert:
        raise UsageError("--tls-key and --tls-ca without --tls-cert", hint="say which certificate the service shows")
    if settings.ohif:
        try:
            with open(f"{settings.ohif}/index.html", "rb"):
                pass
        except OSError as error:
            hint = "name the directory with its index.html, dist of @ohif/app for example"
            raise InputError(f"{settings.ohif} is no viewer: {error.strerror}", hint=hint) from None


def certificates_of(settings: WebSettings) -> Certificates | None:
    """For HTTPS; None for HTTP. Raises: InputError, UsageError."""
    if not settings.tls_cert:
        return None
    from dcmkit.web.tls import Certificates

    return Certificates(settings.tls_cert, settings.tls_key, settings.tls_ca)


def listen(settings: WebSettings, port: int) -> list[socket.socket]:
    """Listening sockets, of this machine only where nothing is said. Raises: ListenError."""
    if settings.web_bind:
        return bind(settings.web_bind, port)
    sockets = bind(("127.0.0.1",), port)
    try:
        sockets += bind(("::1",), sockets[0].getsockname()[1])
    except ListenError as error:
        code = getattr(error.__cause__, "errno", None)
        if code not in _NO_SUCH_ADDRESS and (port or code != errno.EADDRINUSE):
            for sock in sockets:
                sock.close()
            raise
    return sockets


def options_of(settings: WebSettings) -> ServiceOptions:
    """What the service is told, but for who may do what."""
    from dcmkit.web.service import ServiceOptions

    return ServiceOptions(
        root=settings.root,
        public_url=settings.public_url,
        trusted_proxies=settings.trusted_proxies,
        cors=settings.cors,
        max_body=size_of(settings.max_body),
        threads=settings.web_threads,
        max_uploads=settings.max_uploads,
        strict=not settings.lenient_query,
        no_match_status=int(settings.no_match_status),
        trash=settings.delete_policy == "trash",
        trash_keep=settings.trash_keep,
        ohif=settings.ohif,
        patience=settings.stall_timeout,
        key=os.urandom(32),
    )


def _address(sock: socket.socket) -> str:
    return str(sock.getsockname()[0])


def _is_loopback(address: str) -> bool:
    return ip_address(address.partition("%")[0]).is_loopback


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address
