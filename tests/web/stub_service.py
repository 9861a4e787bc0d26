"""A small application in place of the whole service, for tests of what runs it.

python -m tests.web.stub_service ARGUMENTS is `dcmkit ARGUMENTS` with it.
"""

from __future__ import annotations

import os
import signal
import sys
import threading

from dcmkit.archive.attributes import INSTANCE
from dcmkit.archive.query import Query, count
from dcmkit.archive.store import Archive
from dcmkit.logs import get_logger
from dcmkit.services.find import catch_up
from dcmkit.services.storage import Destination
from dcmkit.web import service
from dcmkit.web.application import Application, Limits
from dcmkit.web.exchange import Reply, Request
from dcmkit.web.routes import Route, Routes
from dcmkit.web.service import ServiceOptions

log = get_logger("web")


class Stub:
    """What it answers; a request of /slow waits until `release` is set, or until /release is asked for."""

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self.release = threading.Event()
        self.waiting = threading.Event()

    def routes(self) -> Routes:
        """A route for each handler."""
        handlers = (self.count, self.pid, self.slow, self.die, self.base, self.big)
        return Routes(
            [
                Route("GET", f"/{handler.__name__}", handler, ("query",), handler.__name__, "", "Search", filters=True)
                for handler in handlers
            ]
        )

    def count(self, request: Request) -> Reply:
        catch_up(self.archive)
        number = count(self.archive.index, Query(INSTANCE))
        return Reply(body=str(number).encode(), content_type="text/plain")

    def pid(self, request: Request) -> Reply:
        return Reply(body=str(os.getpid()).encode(), content_type="text/plain")

    def slow(self, request: Request) -> Reply:
        self.waiting.set()
        log.info("somebody waits")
        seconds = request.parameter("seconds")
        self.release.wait(float(seconds) if seconds else 60)
        return Reply(body=b"slow", content_type="text/plain")

    def die(self, request: Request) -> Reply:
        os.kill(os.getpid(), signal.SIGKILL)
        return Reply()

    def base(self, request: Request) -> Reply:
        return Reply(body=request.base_url.encode(), content_type="text/plain")

    def big(self, request: Request) -> Reply:
        return Reply(body=bytes(64 << 20), content_type="application/octet-stream")


class StubApplication(Application):
    """Lets go of who waits, when it is closed."""

    stub: Stub

    def close(self) -> None:
        super().close()
        self.stub.release.set()


stubs: list[Stub] = []


def build(archive: Archive, destination: Destination, options: ServiceOptions) -> Application:
    """As `service.build`."""
    stub = Stub(archive)
    stubs.append(stub)
    application = StubApplication(
        stub.routes(),
        root=options.root,
        public=options.public_url,
        proxies=options.trusted_proxies,
        authenticator=options.authenticator,
        limits=Limits(options.max_body, options.threads, options.max_uploads, options.patience),
    )
    application.stub = stub
    return application


if __name__ == "__main__":
    service.build = build
    from dcmkit.cli import main

    sys.exit(main())
