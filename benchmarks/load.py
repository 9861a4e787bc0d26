"""What size and company cost: growing from 10 k to 1 M instances, and 50 clients that ask while 4 senders store."""

from __future__ import annotations

import contextlib
import shutil
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.make_data import SERIES
from benchmarks.measure import Bar, BenchError, Cost, Row, Times, interleave, time_commands, wait_for_quiet
from benchmarks.query import KEYED, MILLION, TOLD, ask_keyed, association_to, identifier_for, over, percentile
from benchmarks.retrieve import title_sender
from benchmarks.synthetic import INSTANCES_OF_STUDY, ensure_index, study
from benchmarks.transfer import OBJECTS, Setting, blame
from tests.interop.query_peers import TITLE, QueryServer, can_serve
from tests.interop.wire import WireError
from tests.interop.wire_query import Identifier, Querier

SIZES = (10_000, 100_000, MILLION)
INGEST_BAR = Bar(1.3, 1.05)
LATENCY_BAR = Bar(2.0, 1.1)
CLIENTS, SENDERS = 50, 4
CROWD_SECONDS = 15.0
THINKING = 0.5
"""Seconds a client waits between its queries: 50 clients ask 100 times a second."""
CROWD_BAR = Bar(50, 20)
DURABILITY = ("--durability", "none")


# --- growth ------------------------------------------------------------------------------------------------------


def growth(setting: Setting) -> Iterator[Row]:
    """The same 500 MR into indexes of 10 k, 100 k and 1 M instances, and keyed queries of each."""
    places = {size: working_copy(setting, size) for size in SIZES}
    try:
        yield from insert_rows(setting, places)
        if not can_serve("dcmkit"):
            yield Row("growth", None, note="dcmkit qrscp is not available")
            return
        with contextlib.ExitStack() as stack:
            servers = {
                size: stack.enter_context(over(setting, place, "dcmkit", *DURABILITY)) for size, place in places.items()
            }
            yield from latency_rows(servers, setting.rounds)
            yield ingest_row(setting, servers)
    finally:
        for place in places.values():
            shutil.rmtree(place, ignore_errors=True)


def working_copy(setting: Setting, size: int) -> Path:
    """A copy of an index that may be written."""
    place = setting.fresh_directory()
    shutil.copytree(ensure_index(setting.data, size), place)
    return place


def grown(what: str, bar: Bar, medians: dict[int, float], unit: str) -> Row:
    """The time at the biggest size over that at the smallest."""
    texts = {size: f"{median:.2f} {unit}" for size, median in medians.items()}
    small, *between, big = SIZES
    note = ", ".join(f"{texts[size]} at {size:,}" for size in between)
    return Row(what, medians[big] / medians[small], "x", bar, f"{texts[big]} at {big:,}", f"{texts[small]}", note)


def insert_rows(setting: Setting, places: dict[int, Path]) -> Iterator[Row]:
    """`Index.insert` of 500 records, each in a transaction of its own, and all in one."""
    from dcmkit.archive.index import Index
    from dcmkit.archive.store import Archive
    from dcmkit.settings import ArchiveSettings

    files = sorted(setting.sources("mr", 1)[0].rglob("*.dcm"))
    for together, what in ((1, "one by one"), (len(files), "in one transaction")):
        contenders: dict[str, Callable[[], Cost]] = {}
        for size, place in places.items():
            reader = Archive(ArchiveSettings(output_directory=str(place), durability="none"))
            records = [reader.read_record(str(path)) for path in files]
            for record, path in zip(records, files, strict=True):
                record.directory, record.name = "bench", path.name
            index = Index(str(place / ".dcmkit" / "index.sqlite"), "none")
            contenders[str(size)] = inserting(index, records, together)
        times = interleave(contenders, max(setting.rounds, 5))
        medians = {size: times[str(size)].median * 1000 for size in SIZES}
        yield grown(f"Index.insert of 500 records {what}, 1 M over 10 k", INGEST_BAR, medians, "ms")


def inserting(index: object, records: Sequence[object], together: int) -> Callable[[], Cost]:
    """A round of inserting records, which are removed again."""

    def once() -> Cost:
        began = time.perf_counter()
        for start in range(0, len(records), together):
            index.insert(records[start : start + together])  # type: ignore[attr-defined]
        seconds = time.perf_counter() - began
        files = [(record.directory, record.name) for record in records]  # type: ignore[attr-defined]
        index.write(lambda connection: index.remove_rows(connection, files))  # type: ignore[attr-defined]
        index.close()  # type: ignore[attr-defined]
        return Cost(seconds, 0.0, 0.0)

    return once


def latency_rows(servers: dict[int, QueryServer], rounds: int) -> Iterator[Row]:
    """Keyed queries; the sizes in turn."""
    times: dict[tuple[int, str], list[float]] = {}
    with contextlib.ExitStack() as stack:
        open_ones = {size: stack.enter_context(association_to(server.port)) for size, server in servers.items()}
        for turn in range(rounds + 1):
            for size, association in open_ones.items():
                wait_for_quiet()
                for kind in KEYED:
                    found = ask_keyed(association, kind, size, TOLD)
                    if turn:
                        times.setdefault((size, kind.name), []).extend(found)
    for kind in KEYED:
        medians = {size: statistics.median(times[size, kind.name]) for size in SIZES}
        yield grown(f"C-FIND, 1 M over 10 k: {kind.name}", LATENCY_BAR, medians, "ms")


def ingest_row(setting: Setting, servers: dict[int, QueryServer]) -> Row:
    """C-STORE of 500 MR at each size; every round stores another series, so that nothing is there already."""
    folders = [setting.sources("mr", SERIES)[turn] for turn in range(SERIES)]
    turns = {size: iter(folders) for size in servers}

    def storing(size: int, server: QueryServer) -> Callable[[], Cost]:
        def once() -> Cost:
            with blame(server.server):
                return Cost(*time_commands([title_sender(server.port, next(turns[size]))]), 0.0)

        return once

    contenders = {str(size): storing(size, server) for size, server in servers.items()}
    times: dict[str, Times] = interleave(contenders, SERIES - 1)
    medians = {size: times[str(size)].median for size in SIZES}
    return grown(f"C-STORE of {OBJECTS['mr'] // SERIES} MR into qrscp, 1 M over 10 k", INGEST_BAR, medians, "s")


# --- crowd -------------------------------------------------------------------------------------------------------


def crowd(setting: Setting) -> Iterator[Row]:
    """50 clients that query every half second while 4 of DCMTK's storescu store without pause."""
    if not can_serve("dcmkit"):
        yield Row("crowd", None, note="dcmkit qrscp is not available")
        return
    place = working_copy(setting, MILLION)
    sources = setting.sources("mr", SENDERS)
    try:
        with over(setting, place, "dcmkit", *DURABILITY) as server:
            alone, failures = asked_by_many(server.port, lambda: time.sleep(CROWD_SECONDS / 3))
            yield crowd_row(f"{CLIENTS} clients, nobody stores: p95 of keyed queries", alone, failures, None)
            rounds: list[float] = []
            stored = crowded(server, sources, rounds)
            times, failures = asked_by_many(server.port, stored)
            text = f"{CLIENTS} clients while {SENDERS} store: p95 of keyed queries"
            yield crowd_row(text, times, failures, CROWD_BAR)
            failed = Bar(0)
            note = "; ".join(sorted(set(failures))[:3]) or f"{len(rounds) * OBJECTS['mr']:,} objects stored meanwhile"
            yield Row(f"{CLIENTS} clients while {SENDERS} store: failures", len(failures), "", failed, note=note)
            yield Row("objects stored meanwhile", len(rounds) * OBJECTS["mr"] / sum(rounds), "/s")
    finally:
        shutil.rmtree(place, ignore_errors=True)


def crowded(server: QueryServer, sources: Sequence[Path], rounds: list[float]) -> Callable[[], None]:
    """Store with all senders at once, again and again; what is there already is received all the same."""

    def store() -> None:
        deadline = time.monotonic() + CROWD_SECONDS
        with blame(server.server):
            while time.monotonic() < deadline:
                seconds, _ = time_commands([title_sender(server.port, source) for source in sources])
                rounds.append(seconds)

    return store


def crowd_row(what: str, times: Sequence[float], failures: Sequence[str], bar: Bar | None) -> Row:
    """The 95th percentile, with the median and the slowest."""
    if not times:
        raise BenchError(f"no query was answered: {failures[:3]}")
    note = f"median {statistics.median(times):.1f}, slowest {max(times):.1f} ms, {len(times)} queries"
    return Row(what, percentile(times, 0.95), "ms", bar, note=note)


def asked_by_many(port: int, meanwhile: Callable[[], None]) -> tuple[list[float], list[str]]:
    """Milliseconds of every query of the clients while something is done, and what failed."""
    over_now = threading.Event()
    times: list[float] = []
    failures: list[str] = []
    clients = [
        threading.Thread(target=client, args=(port, number, over_now, times, failures)) for number in range(CLIENTS)
    ]
    for thread in clients:
        thread.start()
    try:
        meanwhile()
    finally:
        over_now.set()
        for thread in clients:
            thread.join(60)
    return times, failures


def client(port: int, number: int, over_now: threading.Event, times: list[float], failures: list[str]) -> None:
    """Ask from a bare socket until it is over, each time of another kind and for another study."""
    studies = MILLION // INSTANCES_OF_STUDY
    try:
        with Querier(port, called=TITLE, timeout=60) as querier:
            over_now.wait(THINKING * number / CLIENTS)
            turn = number
            while not over_now.is_set():
                turn += 1
                kind = KEYED[turn % len(KEYED)]
                identifier = wire_identifier(kind, study(turn * 7877 % studies, studies, crowded=True))
                began = time.perf_counter()
                outcome = querier.find(identifier)
                times.append((time.perf_counter() - began) * 1000)
                if outcome.status or not outcome.answers:
                    failures.append(f"{kind.name}: status {outcome.status:04X}, {len(outcome.answers)} answers")
                over_now.wait(THINKING)
    except (OSError, WireError) as error:
        failures.append(f"{type(error).__name__}: {error}")


def wire_identifier(kind: object, one: object) -> Identifier:
    """A keyed query for a bare socket."""
    asked = identifier_for(kind, one, TOLD)  # type: ignore[arg-type]
    return {tag: str(found.value).encode() for tag, found in asked.items()}
