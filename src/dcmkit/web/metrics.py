"""What monitoring asks for: GET /metrics, in the text format of Prometheus.

Nothing in it is about patients: names of operations, of destinations of forwarding, and numbers.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from dcmkit import __version__
from dcmkit.errors import DcmkitError
from dcmkit.logs import get_logger
from dcmkit.services.spool import backlog
from dcmkit.web.counters import BOUNDS
from dcmkit.web.exchange import Reply, Request
from dcmkit.web.routes import Route

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from dcmkit.archive.store import Archive
    from dcmkit.services.spool import Backlog
    from dcmkit.web.counters import Counted, Counters

log = get_logger("web")

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_HELD = 1.0
"""Seconds for which what is read from the archive is shown again."""
_TOTALS = "SELECT COUNT(*), COALESCE(SUM(instances), 0), COALESCE(SUM(size), 0) FROM usage"


class Metrics:
    """The route.

    Args:
        archive: open; its index is counted, and what is still to be forwarded from it.
        counters: of the requests of this service.
    """

    def __init__(self, archive: Archive, counters: Counters) -> None:
        self._archive, self._counters = archive, counters
        self._lock = threading.Lock()
        self._lines: list[str] = []
        self._until = 0.0

    def routes(self) -> tuple[Route, ...]:
        """For those who look after the service."""
        return (
            Route("GET", "/metrics", self.show, ("admin",), "getMetrics", "Figures for monitoring, as Prometheus reads"
                  " them.", "Server", produces=("text/plain",)),
        )  # fmt: skip

    def show(self, request: Request) -> Reply:
        """All figures."""
        uploads, counted = self._counters.read()
        lines = [*_requests(counted), *_metric("dcmkit_uploads", "gauge", "Requests that store at the moment.",
                                               (("", uploads),)), *self._of_archive()]  # fmt: skip
        return Reply(200, ("\n".join(lines) + "\n").encode(), MEDIA_TYPE, (("Cache-Control", "no-store"),))

    def _of_archive(self) -> list[str]:
        """Read once for all who ask within a second: a spool may be long."""
        with self._lock:
            if time.monotonic() >= self._until:
                self._lines = [*self._index(), *self._spool()]
                self._until = time.monotonic() + _HELD
            return self._lines

    def _index(self) -> Iterator[str]:
        try:
            with self._archive.index.reading() as connection:
                studies, instances, size = connection.execute(_TOTALS).fetchone()
        except DcmkitError as error:
            log.warning("the index cannot be counted: %s", error)
            return
        yield from _metric("dcmkit_studies", "gauge", "Studies in the index.", (("", studies),))
        yield from _metric("dcmkit_instances", "gauge", "SOP Instances in the index.", (("", instances),))
        yield from _metric("dcmkit_stored_bytes", "gauge", "Bytes of the files in the index.", (("", size),))

    def _spool(self) -> Iterator[str]:
        try:
            found = backlog(self._archive.root)
        except DcmkitError as error:
            log.warning("what is to be forwarded cannot be counted: %s", error)
            return
        if found:
            yield from _forwarding(found, time.time())


def _forwarding(found: Mapping[str, Backlog], now: float) -> Iterator[str]:
    to = {name: _labels(destination=name) for name in found}
    states = [
        (_labels(destination=name, state=state), number)
        for name, one in found.items()
        for state, number in (("waiting", one.waiting), ("retrying", one.failing), ("dead", one.dead))
    ]
    ages = [(to[name], max(0.0, now - one.oldest) if one.oldest else 0.0) for name, one in found.items()]
    delivered = [(to[name], one.delivered) for name, one in found.items()]
    yield from _metric("dcmkit_forward_objects", "gauge", "Objects that a destination has not got.", states)
    yield from _metric(
        "dcmkit_forward_oldest_seconds", "gauge", "Since when the oldest object waits; 0 for none.", ages
    )
    yield from _metric("dcmkit_forward_delivered_total", "counter", "Objects that a destination has got.", delivered)


def _requests(counted: list[Counted]) -> Iterator[str]:
    yield from _metric("dcmkit_build_info", "gauge", "The version.", ((_labels(version=__version__), 1),))
    labels = [(one, {"method": one.method, "operation": one.operation}) for one in counted]
    yield from _metric(
        "dcmkit_http_requests_total", "counter", "Requests that were answered.",
        [(_labels(**names, status=f"{digit}xx"), number)
         for one, names in labels for digit, number in one.statuses.items()],
    )  # fmt: skip
    for name, text, values in (
        ("sent", "Bytes of bodies of answers.", [(_labels(**names), one.sent) for one, names in labels]),
        ("received", "Bytes of bodies of requests.", [(_labels(**names), one.received) for one, names in labels]),
    ):
        yield from _metric(f"dcmkit_http_{name}_bytes_total", "counter", text, values)
    durations: list[tuple[str, float]] = []
    for one, names in labels:
        below = 0
        for bound, number in zip((*map(str, BOUNDS), "+Inf"), one.buckets, strict=True):
            below += number
            durations.append((f"_bucket{_labels(**names, le=bound)}", below))
        durations.append((f"_sum{_labels(**names)}", one.seconds))
        durations.append((f"_count{_labels(**names)}", below))
    yield from _metric("dcmkit_http_request_seconds", "histogram", "How long requests took.", durations)


def _metric(name: str, kind: str, text: str, values: Iterable[tuple[str, float]]) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"
    for labels, value in values:
        yield f"{name}{labels} {value:.15g}"


def _labels(**values: str) -> str:
    inside = ",".join(f'{name}="{_escaped(value)}"' for name, value in values.items())
    return f"{{{inside}}}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
