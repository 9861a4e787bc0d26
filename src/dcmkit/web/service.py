"""The DICOMweb service over one archive: its transactions, put together."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from dcmkit.web.application import Application, Limits
from dcmkit.web.counters import Counters
from dcmkit.web.routes import Route, Routes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dcmkit.archive.store import Archive
    from dcmkit.services.storage import Destination
    from dcmkit.web.authentication import Authenticator


class ServiceOptions(NamedTuple):
    """How an archive is served.

    Attributes:
        root: path of the service.
        public_url: its URL as the world knows it; "" to go by each request.
        trusted_proxies: addresses whose X-Forwarded headers are believed.
        authenticator: who may do what; None lets everybody do everything.
        cors: origins whose pages may use the service, or `*`.
        max_body: bytes of what is stored with one request; 0 for no limit.
        threads, max_uploads: requests that are answered, and that store, at a time.
        strict: refuse searches by attributes that are not known, rather than ignore these.
        no_match_status: 200 or 204, for a search that finds nothing.
        trash: what is deleted can be had back.
        trash_keep: days after which it cannot any more; 0 for no end.
        ohif: folder of a prebuilt viewer, served at /ohif/; "" for none.
        patience: seconds in which more of a body has to come.
        key: a secret that the processes of a service share: bodies in parts are the same in all of them.
        counts: a file that they count requests in (`counters.shared_file`); -1 for none.
    """

    root: str = "/dicom-web"
    public_url: str = ""
    trusted_proxies: Sequence[str] = ()
    authenticator: Authenticator | None = None
    cors: Sequence[str] = ()
    max_body: int = 0
    threads: int = 16
    max_uploads: int = 16
    strict: bool = True
    no_match_status: int = 200
    trash: bool = True
    trash_keep: float = 0.0
    ohif: str = ""
    patience: float = 60.0
    key: bytes = b""
    counts: int = -1


def build(archive: Archive, destination: Destination, options: ServiceOptions) -> Any:
    """The ASGI application, with `close` to end it.

    Args:
        archive: open; what is asked for is in it.
        destination: where what is stored goes: the archive, or a door before it.
    """
    return _Service(archive, destination, options)


class _Service:
    """The application with what stands before it: pages of other origins, and the files of a viewer."""

    def __init__(self, archive: Archive, destination: Destination, options: ServiceOptions) -> None:
        counters = Counters(options.counts)
        routes, closers = transactions(archive, destination, options, counters)
        self._application = Application(
            routes,
            root=options.root,
            public=options.public_url,
            proxies=options.trusted_proxies,
            authenticator=options.authenticator,
            limits=Limits(options.max_body, options.threads, options.max_uploads, options.patience),
            counters=counters,
        )
        self._closers = [*closers, counters.close]
        if options.trash_keep:
            from dcmkit.web.trash_keeper import TrashKeeper

            self._closers.append(TrashKeeper(archive, options.trash_keep).close)
        self._app: Any = self._application
        if options.ohif:
            from dcmkit.web.viewer import WithViewer

            viewer = WithViewer(self._app, options.ohif, options.root)
            self._closers.append(viewer.close)
            self._app = viewer
        if options.cors:
            from starlette.middleware.cors import CORSMiddleware

            self._app = CORSMiddleware(
                self._app,
                allow_origins=list(options.cors),
                allow_methods=["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"],
                allow_headers=["*"],
                expose_headers=["Content-Location", "Content-Range", "ETag", "Location", "Warning", "X-Total-Count"],
                max_age=3600,
            )

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """ASGI 3."""
        await self._app(scope, receive, send)

    def close(self) -> None:
        """End what runs beside requests."""
        self._application.close()
        for closer in self._closers:
            closer()


def transactions(
    archive: Archive, destination: Destination, options: ServiceOptions, counters: Counters | None = None
) -> tuple[Routes, list[Any]]:
    """All routes, and what is to be called at the end."""
    from dcmkit.web.bulk_data import BulkData
    from dcmkit.web.capabilities import Capabilities
    from dcmkit.web.deleting import Deleting
    from dcmkit.web.framing import Frames
    from dcmkit.web.image_cache import ImageCache, ResultCache
    from dcmkit.web.metadata import Metadata
    from dcmkit.web.metrics import Metrics
    from dcmkit.web.rendered import Rendered, Showing
    from dcmkit.web.retrieving import Retrieving
    from dcmkit.web.searching import Searching
    from dcmkit.web.storing import Storing
    from dcmkit.web.wado_uri import WadoURI

    metadata = Metadata(archive)
    images, results = ImageCache(), ResultCache()
    showing = Showing(images, results)
    key = options.key or os.urandom(32)
    everything: list[Route] = []
    parts = (
        Searching(archive, strict=options.strict, no_match_status=options.no_match_status, json_of=metadata.json_of),
        Retrieving(archive, key=key),
        metadata,
        BulkData(archive, images, key=key),
        Frames(archive, images, results, key=key),
        Rendered(archive, showing, key=key),
        WadoURI(archive, showing),
        Storing(destination),
        Deleting(archive, trash=options.trash),
        Capabilities(lambda: everything),
        Metrics(archive, counters or Counters()),
    )
    for part in parts:
        everything += part.routes()
    return Routes(everything), [part.close for part in parts if hasattr(part, "close")]
