"""Objects into and out of the query/retrieve server, against DCMTK's dcmqrscp: C-STORE, C-GET, C-MOVE."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.measure import Bar, BenchError, Cost, Row, count_objects, cpu_seconds, interleave, ratio, time_commands
from benchmarks.transfer import OBJECTS, Command, Contender, ReceiverFactory, Setting, blame, compare, dcmtk_sender
from tests.interop import peers
from tests.interop.process import free_port
from tests.interop.query_peers import SERVERS, TITLE, QueryServer, can_serve, fill

STORE_BAR = Bar(0.5, 0.25)
RETRIEVE_BAR = Bar(1.0, 0.7)
SERVER_OPTIONS = {"dcmkit": ("--durability", "none"), "DCMTK": ()}
DESTINATION = "BENCHSCP"


def title_sender(port: int, source: Path) -> Command:
    """DCMTK's storescu to the archive's AE title."""
    program, *words = dcmtk_sender(port, source)
    return [program, "-aec", TITLE, *words]


def storing(name: str) -> ReceiverFactory:
    """A query/retrieve server that receives; its objects are counted as files, without its own."""

    @contextlib.contextmanager
    def running(place: Path) -> Iterator[tuple[object, Callable[[], int]]]:
        with SERVERS[name](place, None, *SERVER_OPTIONS[name]) as server:
            yield server.server, lambda: count_objects(place / "objects") - (name == "DCMTK")  # its index.dat

    return running  # type: ignore[return-value]


def qstore(setting: Setting) -> Iterator[Row]:
    """DCMTK's storescu into `qrscp --durability none` and into dcmqrscp."""
    contenders = {name: Contender(storing(name), title_sender) for name in SERVER_OPTIONS if can_serve(name)}
    for name in (name for name in setting.sets if name != "multiframe"):
        times = compare(setting, contenders, setting.sources(name), OBJECTS[name])
        yield ratio(f"C-STORE {name}: qrscp / dcmqrscp", times, "dcmkit", "DCMTK", STORE_BAR, OBJECTS[name])


# --- retrieving --------------------------------------------------------------------------------------------------


def retrieve(setting: Setting) -> Iterator[Row]:
    """500 CT by C-GET to DCMTK's getscu and to dcmkit's, by C-MOVE to DCMTK's storescp +B; qrscp and dcmqrscp."""
    source = setting.sources("ct")[0]
    paths = sorted(source.rglob("*.dcm"))
    study_uid = study_of(paths[0])
    port = free_port()
    with contextlib.ExitStack() as stack:
        servers: dict[str, QueryServer] = {}
        for name in ("dcmkit", "DCMTK"):
            if can_serve(name):
                options = SERVER_OPTIONS[name]
                place = setting.fresh_directory()
                servers[name] = stack.enter_context(SERVERS[name](place, {DESTINATION: port}, *options))
                fill(servers[name].port, paths)
        os.sync()
        for client in ("DCMTK", "dcmkit"):
            contenders = {
                name: getting(setting, client, server, study_uid, len(paths))
                for name, server in servers.items()
                if peers.available(client)
            }
            times = interleave(contenders, setting.rounds)
            what = f"C-GET of {len(paths)} CT to {client}'s getscu: from qrscp / from dcmqrscp"
            yield ratio(what, times, "dcmkit", "DCMTK", RETRIEVE_BAR, len(paths))
        contenders = {name: moving(setting, port, server, study_uid, len(paths)) for name, server in servers.items()}
        times = interleave(contenders, setting.rounds)
        what = f"C-MOVE of {len(paths)} CT to DCMTK's storescp +B: from qrscp / from dcmqrscp"
        yield ratio(what, times, "dcmkit", "DCMTK", RETRIEVE_BAR, len(paths))


def study_of(path: Path) -> str:
    """Study Instance UID of a file."""
    from pydicom import dcmread

    return str(dcmread(path, specific_tags=["StudyInstanceUID"], stop_before_pixels=True).StudyInstanceUID)


def getting(setting: Setting, client: str, server: QueryServer, study_uid: str, expected: int) -> Callable[[], Cost]:
    """A round of one client's getscu from one server into a new directory."""
    words = ("-S", "-aec", TITLE, "-k", "0008,0052=STUDY", "-k", f"0020,000d={study_uid}")
    program: list[str | os.PathLike[str]] = (
        peers.dcmkit_command("getscu") if client == "dcmkit" else [str(peers.program_path("getscu"))]
    )

    def once() -> Cost:
        place = setting.fresh_directory()
        place.mkdir(parents=True)
        try:
            command = [*program, *words, "-od", place, "127.0.0.1", str(server.port)]
            return one_retrieve(command, server, lambda: count_objects(place), expected)
        finally:
            shutil.rmtree(place, ignore_errors=True)

    return once


def moving(setting: Setting, port: int, server: QueryServer, study_uid: str, expected: int) -> Callable[[], Cost]:
    """A round of DCMTK's movescu, from one server to a new storescp on `port`."""
    words = ("-S", "-aec", TITLE, "-aem", DESTINATION, "-k", "0008,0052=STUDY", "-k", f"0020,000d={study_uid}")

    def once() -> Cost:
        place = setting.fresh_directory()
        try:
            with peers.dcmtk_storescp(place, "+B", port=port):
                command = [str(peers.program_path("movescu")), *words, "127.0.0.1", str(server.port)]
                return one_retrieve(command, server, lambda: count_objects(place / "objects"), expected)
        finally:
            shutil.rmtree(place, ignore_errors=True)

    return once


def one_retrieve(command: Command, server: QueryServer, count: Callable[[], int], expected: int) -> Cost:
    """Run the command, and count what it brought.

    Raises:
        BenchError: it failed, or objects are missing.
    """
    os.sync()
    before = cpu_seconds(server.server.pid)
    with blame(server.server):
        wall, client_cpu = time_commands([command])
    if count() != expected:
        raise BenchError(f"{count()} of {expected} objects arrived: {server.server.log_text()[-1000:]}")
    return Cost(wall, client_cpu, cpu_seconds(server.server.pid) - before)
