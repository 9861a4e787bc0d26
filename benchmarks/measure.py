"""How the benchmarks measure: interleaved rounds, medians, bars, and what a process costs while it runs."""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.interop.process import FAST, environment

POLL = 0.01


class BenchError(Exception):
    """A round did not do what it was to measure; its time would be a lie."""


class Bar(NamedTuple):
    """What a figure is held against. `at_least` says that more is better."""

    limit: float
    aim: float | None = None
    at_least: bool = False

    def verdict(self, figure: float) -> str:
        """PASS when the bar is met, and whether the aim is; MISS otherwise."""
        if not self._meets(figure, self.limit):
            return "MISS"
        return "PASS, aim" if self.aim is not None and self._meets(figure, self.aim) else "PASS"

    def _meets(self, figure: float, limit: float) -> bool:
        return figure >= limit if self.at_least else figure <= limit

    def text(self, limit: float | None) -> str:
        """A limit as the table shows it."""
        return "" if limit is None else f"{'≥' if self.at_least else '≤'} {limit:g}"


class Row(NamedTuple):
    """One line of a result: a figure and what it is held against.

    Attributes:
        what: what was measured.
        figure: a ratio, or a quantity in `unit`; None when it could not be measured.
        unit: "x" for a ratio.
        ours, theirs: the quantities behind a ratio, with their unit.
        note: anything a reader must know, such as an absent peer.
    """

    what: str
    figure: float | None
    unit: str = "x"
    bar: Bar | None = None
    ours: str = ""
    theirs: str = ""
    note: str = ""

    @property
    def verdict(self) -> str:
        """PASS, MISS, or "" where there is no bar or no figure."""
        return "" if self.bar is None or self.figure is None else self.bar.verdict(self.figure)

    def as_json(self) -> dict[str, Any]:
        """The row for the results file."""
        bar = {} if self.bar is None else {"bar": self.bar.limit, "aim": self.bar.aim, "at_least": self.bar.at_least}
        return {**self._asdict(), "verdict": self.verdict, **bar}


class Cost(NamedTuple):
    """What one round took: wall seconds, and CPU seconds of both sides."""

    wall: float
    sender_cpu: float
    receiver_cpu: float


class Times(NamedTuple):
    """The rounds of one contender."""

    name: str
    costs: list[Cost]

    @property
    def median(self) -> float:
        """Median wall seconds."""
        return statistics.median(cost.wall for cost in self.costs)

    def text(self, objects: int) -> str:
        """Median and best time, rate, and the median CPU time of both sides."""
        best = min(cost.wall for cost in self.costs)
        sender = statistics.median(cost.sender_cpu for cost in self.costs)
        receiver = statistics.median(cost.receiver_cpu for cost in self.costs)
        rate = objects / self.median
        return f"{self.median:.3f} s (best {best:.3f}), {rate:,.0f}/s, cpu {sender:.2f}+{receiver:.2f}"


PATIENCE = 10.0
"""Seconds a round waits for other programs to leave the processors alone, before it starts anyway."""
IDLE = 0.9


def wait_for_quiet() -> None:
    """Wait until the processors are idle for a fifth of a second, up to `PATIENCE`. Nothing where /proc is not."""
    deadline = time.monotonic() + PATIENCE
    with contextlib.suppress(OSError):
        while time.monotonic() < deadline:
            before = processor_times()
            time.sleep(0.2)
            idle, total = (new - old for new, old in zip(processor_times(), before, strict=True))
            if idle >= IDLE * total:
                return


def processor_times() -> tuple[int, int]:
    """Ticks of all processors since the start: idle ones, and all."""
    ticks = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return ticks[3] + ticks[4], sum(ticks)


def interleave(contenders: dict[str, Callable[[], Cost]], rounds: int) -> dict[str, Times]:
    """Run every contender once per round, the order turning each round, after one round that does not count."""
    names = list(contenders)
    for name in names:
        contenders[name]()
    times: dict[str, Times] = {name: Times(name, []) for name in names}
    for turn in range(rounds):
        start = turn % len(names)
        for name in names[start:] + names[:start]:
            wait_for_quiet()
            times[name].costs.append(contenders[name]())
        print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return times


def ratio(what: str, times: dict[str, Times], ours: str, theirs: str, bar: Bar | None, objects: int) -> Row:
    """Our median time over theirs; with a bar that asks for more, their time over ours."""
    if ours not in times or theirs not in times:
        texts = [times[name].text(objects) if name in times else "not available" for name in (ours, theirs)]
        return Row(what, None, "x", bar, *texts)
    figure = times[ours].median / times[theirs].median
    if bar is not None and bar.at_least:
        figure = 1 / figure
    return Row(what, figure, "x", bar, times[ours].text(objects), times[theirs].text(objects))


def time_commands(
    commands: Sequence[Sequence[str | os.PathLike[str]]],
    extra_environment: dict[str, str] | None = FAST,
    *,
    timeout: float = 600.0,
) -> tuple[float, float]:
    """Run all `commands` at once: wall seconds until the last one ended, and their CPU seconds.

    Raises:
        BenchError: one of them failed or took more than `timeout` seconds.
    """
    surroundings = environment(extra_environment)
    processes: list[subprocess.Popen[bytes]] = []
    spent = time_of_children()
    started = time.perf_counter()
    try:
        for command in commands:
            words = [os.fspath(word) for word in command]
            processes.append(
                subprocess.Popen(
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    env=surroundings,
                )
            )
        talk = [process.communicate(timeout=timeout)[1] for process in processes]
        wall = time.perf_counter() - started
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"{error.cmd[0]} took more than {timeout:.0f} s") from error
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.communicate()
    for process, said in zip(processes, talk, strict=True):
        if process.returncode:
            raise BenchError(f"{processes[0].args!r} ended with {process.returncode}: {said[-1000:]!r}")
    return wall, time_of_children() - spent


def time_of_children() -> float:
    """CPU seconds of all children waited for so far."""
    times = os.times()
    return times.children_user + times.children_system


def descendants(pid: int) -> Iterator[int]:
    """`pid` and every process below it."""
    yield pid
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split():
                yield from descendants(int(child))


def cpu_seconds(pid: int) -> float:
    """CPU seconds of a running process, its children, and its children that ended."""
    ticks = 0
    for process in descendants(pid):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(int(field) for field in fields[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def status_of(pid: int, field: str) -> int:
    """A number of /proc/PID/status: kB for VmRSS and VmHWM, a count for Threads. 0 when the process is gone."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1])
    return 0


def resident(pid: int) -> float:
    """Resident memory of a process and its children, in MB."""
    return sum(status_of(process, "VmRSS") for process in descendants(pid)) / 1024


def threads(pid: int) -> int:
    """Threads of a process and its children."""
    return sum(status_of(process, "Threads") for process in descendants(pid))


def peak_of_command(command: Sequence[str | os.PathLike[str]], *, timeout: float = 600.0) -> tuple[float, float]:
    """Run a program to its end: wall seconds, and its peak resident memory in MB.

    The peak is polled: the system's own account at exit would include this process's memory before the exec.

    Raises:
        BenchError: it failed or took more than `timeout` seconds.
    """
    started = time.perf_counter()
    with tempfile.TemporaryFile() as talk:
        process = subprocess.Popen(
            [os.fspath(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=talk,
            env=environment(FAST),
        )
        peak = watch_peak(process, started, timeout)
        talk.seek(0)
        if process.returncode:
            raise BenchError(f"{command!r} ended with {process.returncode}: {talk.read()[-1000:]!r}")
    return time.perf_counter() - started, peak / 1024


def watch_peak(process: subprocess.Popen[bytes], started: float, timeout: float) -> int:
    """The peak resident memory of a process that is watched to its end, in kB."""
    peak = 0
    try:
        while process.poll() is None:
            peak = max(peak, status_of(process.pid, "VmHWM"))
            if time.perf_counter() - started > timeout:
                raise BenchError(f"{process.args!r} took more than {timeout:.0f} s")
            time.sleep(POLL)
    finally:
        process.kill()
        process.wait()
    return peak


def count_objects(directory: Path) -> int:
    """The files below `directory`, but for hidden ones and those in hidden directories."""
    found = 0
    for _, folders, names in os.walk(directory):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += sum(not name.startswith(".") for name in names)
    return found
