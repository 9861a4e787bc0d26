"""Whole processes that do little: what a command costs beyond the bare interpreter. And the index keys of headers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.make_data import ensure
from benchmarks.measure import Bar, BenchError, Cost, Row, Times, interleave, time_commands
from benchmarks.transfer import Setting
from tests.interop import peers

RUNS_PER_ROUND = 5
INDEX_SCRIPT = Path(__file__).parent / "index_keys.py"
Command = Sequence[str | os.PathLike[str]]


def startup(setting: Setting) -> Iterator[Row]:
    """`--help`, `echoscu` and `storescu` of one small file, as whole processes, beyond `python -c pass`."""
    ensure(setting.data, ("mr",))
    small = setting.data / "mr" / "1" / "00001.dcm"
    with peers.dcmtk_storescp(setting.scratch / "startup", "--ignore") as sink:
        at = ("127.0.0.1", str(sink.port))
        commands: dict[str, Command] = {
            "bare": [sys.executable, "-c", "pass"],
            "DCMTK echoscu": [str(peers.program_path("echoscu")), *at],
            "DCMTK storescu": [str(peers.program_path("storescu")), *at, small],
        }
        if peers.available("dcmkit"):
            commands["--help"] = peers.dcmkit_command("--help")
            commands["echoscu"] = peers.dcmkit_command("echoscu", *at)
            commands["storescu"] = peers.dcmkit_command("storescu", *at, small)
        times = interleave({name: timed(command) for name, command in commands.items()}, max(setting.rounds, 5))
    bars = {"--help": Bar(80, 50), "echoscu": Bar(80, 50), "storescu": Bar(110, 70)}
    for name, bar in bars.items():
        if name not in times:
            yield Row(f"dcmkit {name}, beyond the interpreter", None, bar=bar, note="dcmkit is not available")
            continue
        beyond = (times[name].median - times["bare"].median) * 1000
        reference = f"DCMTK {name}"
        theirs = in_milliseconds(times[reference]) if reference in times else ""
        note = f"bare interpreter {in_milliseconds(times['bare'])}"
        yield Row(
            f"dcmkit {name}, beyond the interpreter", beyond, "ms", bar, in_milliseconds(times[name]), theirs, note
        )


def in_milliseconds(times: Times) -> str:
    """Median and best of one contender."""
    best = min(cost.wall for cost in times.costs)
    return f"{times.median * 1000:.1f} ms (best {best * 1000:.1f})"


def timed(command: Command) -> Callable[[], Cost]:
    """One round of a command: the mean of some runs one after the other."""

    def once() -> Cost:
        costs = [time_commands([command]) for _ in range(RUNS_PER_ROUND)]
        wall, cpu = (sum(values) / RUNS_PER_ROUND for values in zip(*costs, strict=True))
        return Cost(wall, cpu, 0.0)

    return once


def index(setting: Setting) -> Iterator[Row]:
    """The index keys of a typical CT header, and `index add` in one process, per file."""
    ensure(setting.data, ("ct",))
    if not INDEX_SCRIPT.exists():
        yield Row("index keys", None, bar=Bar(0.25, 0.12), note="benchmarks/index_keys.py is not there")
        return
    done = subprocess.run(
        [sys.executable, INDEX_SCRIPT, setting.data / "ct", "--json"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BenchError(f"index_keys.py ended with {done.returncode}: {done.stderr[-1000:]}")
    for what, milliseconds in json.loads(done.stdout).items():
        yield Row(f"index: {what}, per file", milliseconds, "ms", Bar(0.25, 0.12))
