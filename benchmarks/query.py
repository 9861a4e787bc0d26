"""Queries: keyed ones and long answers over an index of 1,000,000 instances, and 10,000 instances beside the peers."""

from __future__ import annotations

import contextlib
import math
import os
import statistics
import struct
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.measure import Bar, BenchError, Cost, Row, interleave, ratio, wait_for_quiet
from benchmarks.synthetic import CT, EXPLICIT_VR_LITTLE_ENDIAN, INSTANCES_OF_STUDY, Study, ensure_index, objects, study
from benchmarks.transfer import Setting
from tests.interop import peers
from tests.interop.process import FAST, environment
from tests.interop.query_peers import SERVERS, TITLE, QueryServer, can_serve
from tests.interop.wire import Requestor
from tests.interop.wire_query import FIND, STUDY_ROOT, Identifier, Querier, pack

if TYPE_CHECKING:
    from dcmkit.dataset.elements import DataSet
    from dcmkit.net.association import Association

MILLION = 1_000_000
TEN_THOUSAND = 10_000
ASKED = 40
"""Different studies asked for by each kind of query."""
MOST = 25
"""A keyed query has no more answers than this."""

CANCELLED = 0xFE00

TOLD = (0x00080020, 0x00080030, 0x00080050, 0x00081030, 0x00100010, 0x00100020, 0x0020000D)
"""What every server can tell of a study."""
COMPUTED = (0x00080061, 0x00201206, 0x00201208)
"""Modalities in study, number of series and instances: what a study list shows besides."""

KEYED_BAR = Bar(10, 3)
BESIDE_PEERS_BAR = Bar(0.2, 0.1)


class Keyed(NamedTuple):
    """A kind of query: its matching key, and the value that finds a study."""

    name: str
    tag: int
    value: Callable[[Study], str]


def _days(one: Study) -> str:
    """Three days of one month; one of the first two, which have twice as many studies."""
    if one.date[6:] <= "02":
        return f"{one.date}-{one.date}"
    first = min(int(one.date[6:]), 26)
    return f"{one.date[:6]}{first:02}-{one.date[:6]}{first + 2:02}"


KEYED = (
    Keyed("study by UID", 0x0020000D, lambda one: one.uid),
    Keyed("study by Patient ID", 0x00100020, lambda one: one.patient_id),
    Keyed("study by accession number", 0x00080050, lambda one: one.accession),
    Keyed("study by date range", 0x00080020, _days),
    Keyed("study by name prefix", 0x00100010, lambda one: one.patient_name.partition("^")[0][:-1] + "*"),
)


# --- asking ------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def association_to(port: int) -> Iterator[Association]:
    """dcmkit's own association as SCU."""
    from dcmkit.net.association import Association
    from dcmkit.services.association_request import association_request
    from dcmkit.services.find_scu import STUDY_ROOT_FIND, find_contexts
    from dcmkit.settings import RequestorSettings

    settings = RequestorSettings(called_ae_title=TITLE, calling_ae_title="BENCH")
    request = association_request(settings, find_contexts([STUDY_ROOT_FIND]))
    association = Association.request("127.0.0.1", port, request, settings)
    try:
        yield association
    finally:
        association.release()


def identifier_for(kind: Keyed, one: Study, told: Sequence[int]) -> DataSet:
    """A query at study level."""
    from dcmkit.dataset.elements import element

    asked = {tag: element(tag) for tag in told}
    return asked | {0x00080052: element(0x00080052, "STUDY"), kind.tag: element(kind.tag, kind.value(one))}


def ask(association: Association, identifier: DataSet) -> tuple[float, int]:
    """Milliseconds to the final response, and how many answers came."""
    from dcmkit.services.find_scu import STUDY_ROOT_FIND, find

    began = time.perf_counter()
    finding = find(association, STUDY_ROOT_FIND, identifier, charset="")
    count = sum(1 for _ in finding)
    milliseconds = (time.perf_counter() - began) * 1000
    if finding.status:
        raise BenchError(f"the query was answered {finding.status:04X} {finding.comment}")
    return milliseconds, count


def ask_keyed(
    association: Association,
    kind: Keyed,
    instances: int,
    told: Sequence[int],
    asked: int = ASKED,
    *,
    crowded: bool = True,
) -> list[float]:
    """The times of `asked` queries of one kind, each for another study, spread over all.

    Args:
        crowded: whether the studies are those of an index of `synthetic`, not those of its files.

    Raises:
        BenchError: a query did not find its study, or many.
    """
    studies = instances // INSTANCES_OF_STUDY
    times = []
    for number in range(asked):
        one = study((number * 2 + 1) * studies // (2 * asked), studies, crowded=crowded)
        milliseconds, count = ask(association, identifier_for(kind, one, told))
        if not 1 <= count <= MOST:
            raise BenchError(f"{kind.name}: {count} answers for {kind.value(one)!r}")
        times.append(milliseconds)
    return times


def percentile(times: Sequence[float], part: float) -> float:
    """The smallest time that `part` of all do not exceed."""
    return sorted(times)[math.ceil(part * len(times)) - 1]


@contextlib.contextmanager
def over(setting: Setting, archive: Path, name: str = "dcmkit", *options: str) -> Iterator[QueryServer]:
    """A server over an existing storage area."""
    with SERVERS[name](setting.fresh_directory(), None, *options, storage=archive) as running:
        yield running


# --- a million instances -----------------------------------------------------------------------------------------


def query(setting: Setting) -> Iterator[Row]:
    """C-FIND on an index of 1,000,000 instances: keyed queries, and all 20,000 studies."""
    if not can_serve("dcmkit"):
        yield Row("query", None, note="dcmkit qrscp is not available")
        return
    archive = ensure_index(setting.data, MILLION, real=True)
    with over(setting, archive) as server:
        yield from keyed_rows(server.port, setting.rounds)
        yield server_part(server.port, setting.rounds)
        yield cancelling(server.port, setting.rounds)
        yield from all_studies(server, setting)


def keyed_rows(port: int, rounds: int) -> Iterator[Row]:
    """The median time of each kind of query at dcmkit's association, the kinds in turn."""
    told = TOLD + COMPUTED
    times: dict[str, list[float]] = {kind.name: [] for kind in KEYED}
    with association_to(port) as association:
        for turn in range(rounds + 1):
            wait_for_quiet()
            for kind in KEYED:
                found = ask_keyed(association, kind, MILLION, told)
                if turn:
                    times[kind.name] += found
    for name, found in times.items():
        note = f"p95 {percentile(found, 0.95):.2f}, slowest {max(found):.2f} ms, of {len(found)}"
        yield Row(f"C-FIND, 1,000,000 instances: {name}", statistics.median(found), "ms", KEYED_BAR, note=note)


def everything(told: Sequence[int]) -> Identifier:
    """All studies, for a bare socket."""
    return {0x00080052: b"STUDY", **dict.fromkeys(told, b"")}


def server_part(port: int, rounds: int) -> Row:
    """Seconds until a reader that only counts PDUs has had all answers."""
    times = []
    for turn in range(rounds + 1):
        wait_for_quiet()
        with Querier(port, called=TITLE) as querier:
            seconds, answers = read_all(querier, everything(TOLD + COMPUTED))
        if turn:
            times.append(seconds)
    note = f"{answers} answers, {answers / statistics.median(times):,.0f}/s, best {min(times):.3f} s"
    return Row(f"{answers} C-FIND answers to a bare reader", statistics.median(times), "s", Bar(2, 0.8), note=note)


def cancelling(port: int, rounds: int) -> Row:
    """From a C-CANCEL among 20,000 answers to the final response."""
    times = []
    for _ in range(rounds + 1):
        with Querier(port, called=TITLE) as querier:
            began = 0.0

            def cancelled() -> None:
                nonlocal began
                began = time.perf_counter()

            outcome = querier.find(everything(TOLD), cancel_after=100, on_cancel=cancelled)
            times.append((time.perf_counter() - began) * 1000)
        if outcome.status != CANCELLED:
            raise BenchError(f"a query cancelled after 100 answers was answered {outcome.status:04X}")
    note = f"slowest {max(times):.1f} ms, {len(outcome.answers)} answers had come"
    return Row(
        "C-CANCEL of such a query to its final response", statistics.median(times[1:]), "ms", Bar(100), note=note
    )


def read_all(querier: Querier, identifier: Identifier) -> tuple[float, int]:
    """Ask, and read to the final response without understanding the answers: seconds, and how many there were."""
    context_id = querier.context_of(STUDY_ROOT + FIND)
    sock = querier._socket
    began = time.perf_counter()
    querier._request(context_id, 0x0020, (STUDY_ROOT + FIND).encode() + b"\0", [], pack(identifier))
    buffer, start, answers = bytearray(), 0, 0
    view = memoryview(bytearray(1 << 18))
    while True:
        received = sock.recv_into(view)
        if not received:
            raise BenchError("the server closed the connection")
        buffer += view[:received]
        end = len(buffer)
        while start + 12 <= end:
            length = 6 + int.from_bytes(buffer[start + 2 : start + 6], "big")
            if start + length > end:
                break
            place = start + 6
            start += length
            while place < start:
                size = 4 + int.from_bytes(buffer[place : place + 4], "big")
                if buffer[place + 5] == 3:
                    if NO_DATA_SET in buffer[place : place + size]:
                        return time.perf_counter() - began, answers
                    answers += 1
                place += size
        del buffer[:start]
        start = 0


NO_DATA_SET = struct.pack("<HHIH", 0, 0x0800, 2, 0x0101)


def all_studies(server: QueryServer, setting: Setting) -> Iterator[Row]:
    """All studies to whole processes: dcmkit's findscu and DCMTK's, from the same server."""
    commands = findscu_commands(server.port)
    contenders = {name: quietly(command, server) for name, command in commands.items() if name_runs(name)}
    times = interleave(contenders, setting.rounds)
    studies = MILLION // INSTANCES_OF_STUDY
    yield ratio("all studies to findscu: dcmkit / DCMTK", times, "dcmkit", "DCMTK", Bar(1.2, 0.8), studies)
    yield ratio("all studies to findscu: dcmkit --format jsonl / DCMTK", times, "dcmkit jsonl", "DCMTK", None, studies)


def name_runs(name: str) -> bool:
    """Whether a contender's program is here."""
    return all(peers.available(peer) for peer in peers.NAMES if peer in name)


def findscu_commands(port: int) -> dict[str, list[str | os.PathLike[str]]]:
    """The same query by each program, with their usual output."""
    keys = [word for tag in TOLD + COMPUTED for word in ("-k", f"{tag >> 16:04x},{tag & 0xFFFF:04x}")]
    words = ["-S", "-aec", TITLE, "-k", "0008,0052=STUDY", *keys, "127.0.0.1", str(port)]
    return {
        "dcmkit": peers.dcmkit_command("findscu", *words),
        "dcmkit jsonl": peers.dcmkit_command("findscu", "--format", "jsonl", *words),
        "DCMTK": [str(peers.program_path("findscu")), *words],
    }


def quietly(command: Sequence[str | os.PathLike[str]], server: QueryServer) -> Callable[[], Cost]:
    """One round of a command whose whole output goes nowhere."""

    def once() -> Cost:
        before = os.times()
        began = time.perf_counter()
        done = subprocess.run(
            [os.fspath(word) for word in command],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env=environment(FAST), timeout=300, check=False,
        )  # fmt: skip
        wall, after = time.perf_counter() - began, os.times()
        if done.returncode:
            raise BenchError(f"{command!r} ended with {done.returncode}: {server.server.log_text()[-1000:]}")
        cpu = after.children_user + after.children_system - before.children_user - before.children_system
        return Cost(wall, cpu, 0.0)

    return once


# --- ten thousand, beside the peers ------------------------------------------------------------------------------


def query10k(setting: Setting) -> Iterator[Row]:
    """C-FIND at 10,000 instances: dcmkit's qrscp, DCMTK's dcmqrscp and Orthanc over the same objects."""
    with contextlib.ExitStack() as stack:
        ports = {}
        for name in ("dcmkit", "DCMTK", "Orthanc"):
            if can_serve(name):
                ports[name] = stack.enter_context(filled_server(setting, name)).port
        times = times_beside_peers(ports, setting.rounds)
    for kind in KEYED:
        medians = {name: statistics.median(times[name, kind.name]) for name in ports}
        what = f"C-FIND, 10,000 instances: {kind.name}: dcmkit / the faster of the others"
        others = {name: median for name, median in medians.items() if name != "dcmkit"}
        if "dcmkit" not in medians or not others:
            yield Row(what, None, bar=BESIDE_PEERS_BAR, theirs=in_words(others), note="a side is not available")
        else:
            figure = medians["dcmkit"] / min(others.values())
            yield Row(what, figure, "x", BESIDE_PEERS_BAR, in_words({"dcmkit": medians["dcmkit"]}), in_words(others))


def in_words(medians: dict[str, float]) -> str:
    """Medians by name."""
    return ", ".join(f"{name} {median:.2f} ms" for name, median in medians.items())


def times_beside_peers(ports: dict[str, int], rounds: int) -> dict[tuple[str, str], list[float]]:
    """Milliseconds of every query by server and kind; each server in turn, on one association that stays open."""
    times: dict[tuple[str, str], list[float]] = {}
    with contextlib.ExitStack() as stack:
        associations = {name: stack.enter_context(association_to(port)) for name, port in ports.items()}
        for turn in range(rounds + 1):
            for name, association in associations.items():
                wait_for_quiet()
                for kind in KEYED:
                    found = ask_keyed(association, kind, TEN_THOUSAND, TOLD, 10, crowded=False)
                    if turn:
                        times.setdefault((name, kind.name), []).extend(found)
    return times


@contextlib.contextmanager
def filled_server(setting: Setting, name: str) -> Iterator[QueryServer]:
    """A server that holds the 10,000 objects; its storage is kept in the data directory."""
    place = setting.data / f"query10k-{name}"
    place.mkdir(parents=True, exist_ok=True)
    with SERVERS[name](place) as running:
        if not (place / "filled").exists():
            print(f"storing 10,000 objects into {name} ...")
            store_all(running.port)
            (place / "filled").touch()
        yield running


def store_all(port: int) -> None:
    """C-STORE all objects over one association."""
    with Requestor(port, [(CT, [EXPLICIT_VR_LITTLE_ENDIAN])], called=TITLE) as association:
        for uid, data_set in objects(TEN_THOUSAND // INSTANCES_OF_STUDY):
            status = association.store(CT, uid, EXPLICIT_VR_LITTLE_ENDIAN, data_set)
            if status:
                raise BenchError(f"an object was answered {status:04X}")
