"""Transfers: receive, send, pair, parallel, durable, pynetdicom. The time is always the senders' wall time."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.make_data import SERIES, ensure, warm
from benchmarks.measure import Bar, BenchError, Cost, Row, count_objects, cpu_seconds, interleave, ratio, time_commands
from tests.interop import peers
from tests.interop.orthanc import orthanc
from tests.interop.process import FAST, Server

OBJECTS = {"ct": 500, "mr": 2000, "multiframe": 2}
DEFAULT_ENVIRONMENT: dict[str, str] = {}
"""DCMTK as it comes, with Nagle's algorithm on."""

Command = Sequence[str | os.PathLike[str]]
Sender = Callable[[int, Path], Command]
Running = tuple[Server, Callable[[], int]]
ReceiverFactory = Callable[[Path], contextlib.AbstractContextManager[Running]]


class Setting(NamedTuple):
    """Where the data is, where receivers may write, how many rounds are run, and on which sets."""

    data: Path
    scratch: Path
    rounds: int
    sets: tuple[str, ...]

    def fresh_directory(self) -> Path:
        """The name of a directory that is not there yet, somewhere else on the disk than the one before.

        ext4 passes over inodes freed in the last minutes and pays for the search with up to 1 ms per file, so
        rounds must not follow each other in one place. Directories below one marked as top of a hierarchy (chattr +T)
        are spread over the disk by their name.
        """
        return self.scratch / os.urandom(6).hex()

    def sources(self, name: str, folders: int = 0) -> list[Path]:
        """The folder of a set, or its first `folders` series; made and in the page cache."""
        ensure(self.data, (name,))
        root = self.data / name
        chosen = [root / str(series) for series in range(1, folders + 1)] if folders else [root]
        for folder in chosen:
            warm(folder)
        return chosen


# --- the contenders ----------------------------------------------------------------------------------------------


def dcmtk_sender(port: int, source: Path) -> Command:
    """DCMTK's storescu over a directory tree."""
    return [str(peers.program_path("storescu")), "+sd", "+r", "127.0.0.1", str(port), source]


def dcmkit_sender(port: int, source: Path) -> Command:
    """dcmkit's storescu over a directory tree."""
    return peers.dcmkit_command("storescu", "+sd", "+r", "127.0.0.1", str(port), source)


def pynetdicom_program_sender(port: int, source: Path) -> Command:
    """pynetdicom's own storescu."""
    return [sys.executable, "-m", "pynetdicom", "storescu", "-q", "-r", "-cx", "127.0.0.1", str(port), source]


def dcmtk_receiver(*options: str, environment: dict[str, str] = FAST) -> ReceiverFactory:
    """DCMTK's storescp with `options`."""
    return keeping_files(lambda place: peers.dcmtk_storescp(place, *options, extra_environment=environment))


def dcmkit_receiver(*options: str) -> ReceiverFactory:
    """dcmkit's storescp with `options`."""
    return keeping_files(lambda place: peers.dcmkit_storescp(place, *options))


def pynetdicom_receiver() -> ReceiverFactory:
    """pynetdicom's AE, writing the bytes as received."""
    return keeping_files(peers.pynetdicom_storescp)


def pynetdicom_program_receiver() -> ReceiverFactory:
    """pynetdicom's own storescp."""
    return keeping_files(peers.pynetdicom_program)


def keeping_files(start: Callable[[Path], contextlib.AbstractContextManager[peers.Receiver]]) -> ReceiverFactory:
    """A receiver whose objects are counted as files."""

    @contextlib.contextmanager
    def running(place: Path) -> Iterator[Running]:
        with start(place) as receiver:
            yield receiver.server, lambda: count_objects(place / "objects")

    return running


def orthanc_receiver() -> ReceiverFactory:
    """Orthanc, storing as by its own default, which syncs."""

    @contextlib.contextmanager
    def running(place: Path) -> Iterator[Running]:
        with orthanc(place, OverwriteInstances=False) as peer:
            yield peer.server, lambda: int(peer.json("GET", "/statistics")["CountInstances"])

    return running


# --- one round ---------------------------------------------------------------------------------------------------


def one_round(
    setting: Setting,
    receiver: ReceiverFactory,
    sender: Sender,
    sources: Sequence[Path],
    *,
    expected: int,
    environment: dict[str, str] = FAST,
) -> Cost:
    """Start a receiver on an empty directory, send every source at once, and check that all arrived.

    Args:
        expected: how many objects the receiver must hold afterwards.

    Raises:
        BenchError: a sender failed, or objects are missing.
    """
    place = setting.fresh_directory()
    os.sync()
    try:
        with receiver(place) as (server, count):
            before = cpu_seconds(server.pid)
            with blame(server):
                wall, sender_cpu = time_commands([sender(server.port, source) for source in sources], environment)
            receiver_cpu = cpu_seconds(server.pid) - before
            if count() != expected:
                raise BenchError(f"{count()} of {expected} objects arrived: {server.log_text()[-1000:]}")
            return Cost(wall, sender_cpu, receiver_cpu)
    finally:
        shutil.rmtree(place, ignore_errors=True)


@contextlib.contextmanager
def blame(server: Server) -> Iterator[None]:
    """Add what the receiver said to a sender's failure."""
    try:
        yield
    except BenchError as error:
        raise BenchError(f"{error}\n{server.name} said: {server.log_text()[-1500:]}") from None


class Contender(NamedTuple):
    """One side of a comparison."""

    receiver: ReceiverFactory
    sender: Sender
    keeps: bool = True
    environment: dict[str, str] = FAST


def compare(
    setting: Setting, contenders: dict[str, Contender], sources: Sequence[Path], objects: int, rounds: int = 0
) -> dict[str, object]:
    """Interleave the contenders that can run here over the same sources."""
    runnable = {name: who for name, who in contenders.items() if all(map(peers.available, needed(name)))}

    def measured(who: Contender) -> Callable[[], Cost]:
        expected = objects if who.keeps else 0
        return lambda: one_round(
            setting, who.receiver, who.sender, sources, expected=expected, environment=who.environment
        )

    return interleave({name: measured(who) for name, who in runnable.items()}, rounds or setting.rounds)


def needed(name: str) -> list[str]:
    """The peers a contender's name speaks of; DCMTK is the other side wherever none is named."""
    return [peer for peer in peers.NAMES if peer in name] + ["DCMTK"]


# --- the benches -------------------------------------------------------------------------------------------------

RECEIVE_BARS = {"ct": Bar(1.3, 1.0), "mr": Bar(1.5, 1.0), "multiframe": Bar(1.1, 1.0)}
SEND_BARS = {"ct": Bar(1.2, 1.0), "mr": Bar(1.5, 1.0), "multiframe": Bar(1.2, 1.0)}


def receive(setting: Setting) -> Iterator[Row]:
    """DCMTK's storescu into dcmkit, which indexes, and into DCMTK's storescp, which does not."""
    contenders = {
        "dcmkit": Contender(dcmkit_receiver("--durability", "none"), dcmtk_sender),
        "DCMTK +B": Contender(dcmtk_receiver("+B"), dcmtk_sender),
        "DCMTK as people run it": Contender(dcmtk_receiver(), dcmtk_sender),
    }
    for name in setting.sets:
        times = compare(setting, contenders, setting.sources(name), OBJECTS[name])
        yield ratio(
            f"receive {name}: dcmkit / DCMTK +B", times, "dcmkit", "DCMTK +B", RECEIVE_BARS[name], OBJECTS[name]
        )
        as_run = "DCMTK as people run it"
        yield ratio(f"receive {name}: dcmkit / {as_run}", times, "dcmkit", as_run, Bar(0.7, 0.4), OBJECTS[name])


def nagle(setting: Setting) -> Iterator[Row]:
    """DCMTK as it comes, without TCP_NODELAY: shown, not held against anything. One round; it is slow."""
    slow = DEFAULT_ENVIRONMENT
    contenders = {
        "DCMTK default": Contender(dcmtk_receiver(environment=slow), dcmtk_sender, environment=slow),
        "DCMTK fast": Contender(dcmtk_receiver(), dcmtk_sender),
        "dcmkit": Contender(dcmkit_receiver("--durability", "none"), dcmtk_sender, environment=slow),
    }
    times = compare(setting, contenders, setting.sources("ct", 1), OBJECTS["ct"] // SERIES, rounds=1)
    for other in ("DCMTK fast", "dcmkit"):
        yield ratio(f"125 ct: {other} / DCMTK default", times, other, "DCMTK default", None, OBJECTS["ct"] // SERIES)


def send(setting: Setting) -> Iterator[Row]:
    """dcmkit's storescu and DCMTK's storescu into a receiver that forgets."""
    sink = dcmtk_receiver("--ignore")
    contenders = {
        "dcmkit": Contender(sink, dcmkit_sender, keeps=False),
        "DCMTK": Contender(sink, dcmtk_sender, keeps=False),
    }
    for name in setting.sets:
        times = compare(setting, contenders, setting.sources(name), OBJECTS[name])
        yield ratio(f"send {name}: dcmkit / DCMTK", times, "dcmkit", "DCMTK", SEND_BARS[name], OBJECTS[name])


def pair(setting: Setting) -> Iterator[Row]:
    """dcmkit to dcmkit, and DCMTK to DCMTK."""
    contenders = {
        "dcmkit": Contender(dcmkit_receiver("--durability", "none"), dcmkit_sender),
        "DCMTK +B": Contender(dcmtk_receiver("+B"), dcmtk_sender),
    }
    for name in setting.sets:
        times = compare(setting, contenders, setting.sources(name), OBJECTS[name])
        yield ratio(f"pair {name}: dcmkit / DCMTK +B", times, "dcmkit", "DCMTK +B", Bar(1.2, 0.8), OBJECTS[name])


def parallel(setting: Setting) -> Iterator[Row]:
    """Four of DCMTK's storescu at once into two workers, and into DCMTK's forking storescp."""
    contenders = {
        "dcmkit --workers 2": Contender(dcmkit_receiver("--durability", "none", "--workers", "2"), dcmtk_sender),
        "DCMTK --fork +B": Contender(dcmtk_receiver("--fork", "+B"), dcmtk_sender),
        "dcmkit, one process": Contender(dcmkit_receiver("--durability", "none"), dcmtk_sender),
    }
    for name in (name for name in setting.sets if name != "multiframe"):
        times = compare(setting, contenders, setting.sources(name, SERIES), OBJECTS[name])
        yield ratio(
            f"4 senders {name}: dcmkit / DCMTK --fork +B",
            times, "dcmkit --workers 2", "DCMTK --fork +B", Bar(1.2, 1.0), OBJECTS[name],
        )  # fmt: skip
        yield ratio(
            f"4 senders {name}: two workers / one process",
            times, "dcmkit --workers 2", "dcmkit, one process", None, OBJECTS[name],
        )  # fmt: skip


def durable(setting: Setting) -> Iterator[Row]:
    """dcmkit and Orthanc with the durability each has by default, from one and from four of DCMTK's storescu."""
    contenders = {
        "dcmkit": Contender(dcmkit_receiver(), dcmtk_sender),
        "Orthanc": Contender(orthanc_receiver(), dcmtk_sender),
    }
    for name, folders in (("mr", 1), ("ct", 1), ("mr", SERIES)):
        if name in setting.sets:
            objects = OBJECTS[name] * folders // SERIES
            times = compare(setting, contenders, setting.sources(name, folders), objects)
            what = f"durable {name}, {folders} sender{'s' * (folders > 1)}: dcmkit / Orthanc, objects/s"
            yield ratio(what, times, "dcmkit", "Orthanc", Bar(2, 4, at_least=True), objects)


def pynetdicom(setting: Setting) -> Iterator[Row]:
    """pynetdicom's storescp and storescu, and a bare receiver of its AE; DCMTK at the other end."""
    objects, bar = OBJECTS["mr"] // SERIES, Bar(10, 20, at_least=True)
    source = setting.sources("mr", 1)
    receivers = {
        "dcmkit": Contender(dcmkit_receiver("--durability", "none"), dcmtk_sender),
        "pynetdicom storescp": Contender(pynetdicom_program_receiver(), dcmtk_sender),
        "pynetdicom AE": Contender(pynetdicom_receiver(), dcmtk_sender),
    }
    times = compare(setting, receivers, source, objects)
    yield ratio("receive mr: dcmkit / pynetdicom storescp", times, "dcmkit", "pynetdicom storescp", bar, objects)
    helped = Bar(1, None, at_least=True)
    yield ratio("receive mr: dcmkit / pynetdicom AE writing bytes", times, "dcmkit", "pynetdicom AE", helped, objects)
    sink = dcmtk_receiver("--ignore")
    senders = {
        "dcmkit": Contender(sink, dcmkit_sender, keeps=False),
        "pynetdicom storescu": Contender(sink, pynetdicom_program_sender, keeps=False),
    }
    times = compare(setting, senders, source, objects)
    yield ratio("send mr: dcmkit / pynetdicom storescu", times, "dcmkit", "pynetdicom storescu", bar, objects)
