"""Servers that stay up: the C-ECHO round trip, memory and threads under many associations, and a 3 GB object."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import statistics
import time
from collections.abc import Callable, Iterator

from benchmarks.make_data import warm
from benchmarks.measure import Bar, Row, peak_of_command, resident, status_of, threads
from benchmarks.transfer import Setting, blame, dcmkit_sender, dcmtk_sender
from tests.interop import peers
from tests.interop.wire import Requestor

ECHOES = 2000
IDLE_ASSOCIATIONS = 1000
IDLE_SECONDS = 5
"""How long they have done nothing when their memory is looked at."""
CONNECTS = 10_000
ASSOCIATIONS = 5_000
FLAT = 0.02
"""What resident memory may grow by, as a part of itself, between the first tenth of a load and its end."""

ECHO_BAR = Bar(0.1, 0.05)
ECHO_UNDER_LOAD = Bar(50)


# --- echo --------------------------------------------------------------------------------------------------------


def echo(setting: Setting) -> Iterator[Row]:
    """C-ECHO round trips on one open association, by dcmkit's own association and by a bare socket."""
    place = setting.scratch / "echo"
    servers: dict[str, Callable[[], contextlib.AbstractContextManager[peers.Receiver]]] = {
        "dcmkit": lambda: peers.dcmkit_storescp(place),
        "DCMTK": lambda: peers.dcmtk_storescp(place),
        "pynetdicom": lambda: peers.pynetdicom_storescp(place),
    }
    for name, start in servers.items():
        if not peers.available(name):
            yield Row(f"C-ECHO to {name}", None, note=f"{name} is not available")
            continue
        shutil.rmtree(place, ignore_errors=True)
        with start() as receiver:
            if peers.available("dcmkit"):
                bar = ECHO_BAR if name == "dcmkit" else None
                yield Row(f"C-ECHO, dcmkit to {name}", dcmkit_echo(receiver.port), "ms", bar)
            yield Row(f"C-ECHO, bare socket to {name}", wire_echo(receiver.port), "ms")


def wire_echo(port: int) -> float:
    """Median round trip in milliseconds from a bare socket."""
    with Requestor(port) as association:
        return median_milliseconds(association.echo)


def dcmkit_echo(port: int) -> float:
    """Median round trip in milliseconds on dcmkit's association."""
    from dcmkit.net.association import Association
    from dcmkit.protocol.pdu import PresentationContextRQ
    from dcmkit.services.association_request import association_request
    from dcmkit.services.verification import echo as send_echo
    from dcmkit.settings import RequestorSettings
    from dcmkit.uids import IMPLICIT_VR_LITTLE_ENDIAN, VERIFICATION

    settings = RequestorSettings()
    contexts = [PresentationContextRQ(1, VERIFICATION, (IMPLICIT_VR_LITTLE_ENDIAN,))]
    association = Association.request("127.0.0.1", port, association_request(settings, contexts), settings)
    try:
        return median_milliseconds(lambda: send_echo(association))
    finally:
        association.release()


def median_milliseconds(action: Callable[[], object]) -> float:
    """The median time of many calls, after some that do not count."""
    times = []
    for turn in range(ECHOES + ECHOES // 10):
        began = time.perf_counter()
        action()
        if turn >= ECHOES // 10:
            times.append(time.perf_counter() - began)
    return statistics.median(times) * 1000


# --- memory ------------------------------------------------------------------------------------------------------


def memory(setting: Setting) -> Iterator[Row]:
    """Resident memory and threads: idle, with idle associations, after many connects and associations; 3 GB object."""
    place = setting.scratch / "memory"
    if not peers.available("dcmkit"):
        yield Row("memory", None, note="dcmkit is not available")
        return
    with peers.dcmkit_storescp(place, "--max-associations", str(IDLE_ASSOCIATIONS + 100)) as receiver:
        pid, port = receiver.server.pid, receiver.port
        yield Row("RSS of the idle server", resident(pid), "MB", Bar(60))
        yield from idle_associations(pid, port)
        yield from flat(f"{CONNECTS} connect and close", pid, port, connect_and_close, CONNECTS)
        yield from flat(f"{ASSOCIATIONS} associations", pid, port, associate_and_echo, ASSOCIATIONS)
    shutil.rmtree(place, ignore_errors=True)
    yield from huge(setting)


def idle_associations(pid: int, port: int) -> Iterator[Row]:
    """What an association that does nothing costs, and whether the server still answers at once."""
    before = resident(pid)
    with contextlib.ExitStack() as open_associations:
        for _ in range(IDLE_ASSOCIATIONS):
            open_associations.enter_context(Requestor(port))
        time.sleep(IDLE_SECONDS)
        each = (resident(pid) - before) / IDLE_ASSOCIATIONS
        note = f"{threads(pid)} threads"
        yield Row(f"RSS of each of {IDLE_ASSOCIATIONS} idle associations", each, "MB", Bar(0.2), note=note)
        yield Row("C-ECHO beside them", whole_echo(port), "ms", ECHO_UNDER_LOAD)


def flat(what: str, pid: int, port: int, once: Callable[[int], None], times: int) -> Iterator[Row]:
    """Do something many times; resident memory and threads must end where they were after the first tenth."""
    slowest = 0.0
    began = time.perf_counter()
    first: tuple[float, int] | None = None
    for turn in range(times):
        once(port)
        if turn == times // 10:
            settle(pid)
            first = resident(pid), threads(pid)
        if turn % (times // 20) == 0:
            slowest = max(slowest, whole_echo(port))
    seconds = time.perf_counter() - began
    settle(pid)
    assert first is not None
    after = resident(pid), threads(pid)
    note = f"RSS {first[0]:.1f} to {after[0]:.1f} MB, {first[1]} to {after[1]} threads, {times / seconds:,.0f}/s"
    yield Row(f"RSS after {what}, growth", after[0] / first[0] - 1, "of it", Bar(FLAT), note=note)
    yield Row(f"threads after {what}, growth", after[1] - first[1], "threads", Bar(0))
    yield Row(f"slowest association and C-ECHO during {what}", slowest, "ms", ECHO_UNDER_LOAD)


def settle(pid: int) -> None:
    """Give a server's threads a moment to end: until their number stays the same for a tenth of a second."""
    deadline, seen = time.monotonic() + 5, -1
    while threads(pid) != seen and time.monotonic() < deadline:
        seen = threads(pid)
        time.sleep(0.1)


def connect_and_close(port: int) -> None:
    """A connection that says nothing."""
    socket.create_connection(("127.0.0.1", port), 10).close()


def associate_and_echo(port: int) -> None:
    """A whole association."""
    with Requestor(port) as association:
        association.echo()


def whole_echo(port: int) -> float:
    """Milliseconds for a connection, an association, one C-ECHO and the release."""
    began = time.perf_counter()
    associate_and_echo(port)
    return (time.perf_counter() - began) * 1000


def huge(setting: Setting) -> Iterator[Row]:
    """Peak resident memory of both ends while one object of 3 GB goes from dcmkit to dcmkit, and of DCMTK's."""
    source = setting.sources("huge")[0]
    warm(source)
    for who, sender, receiver in (
        ("dcmkit", dcmkit_sender, lambda place: peers.dcmkit_storescp(place, "--durability", "none")),
        ("DCMTK", dcmtk_sender, lambda place: peers.dcmtk_storescp(place, "+B")),
    ):
        bar = Bar(120) if who == "dcmkit" else None
        place = setting.scratch / "huge"
        shutil.rmtree(place, ignore_errors=True)
        os.sync()
        with receiver(place) as running, blame(running.server):
            seconds, sender_peak = peak_of_command(sender(running.port, source))
            receiver_peak = status_of(running.server.pid, "VmHWM") / 1024
        shutil.rmtree(place, ignore_errors=True)
        note = f"{3145.7 / seconds:,.0f} MB/s"
        yield Row(f"peak RSS of {who}'s storescu, 3 GB object", sender_peak, "MB", bar, note=note)
        yield Row(f"peak RSS of {who}'s storescp, 3 GB object", receiver_peak, "MB", bar)
