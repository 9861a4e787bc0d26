"""Measure what the README promises, side by side with the peers that are installed.

    python benchmarks/run.py [BENCH ...] [--rounds N] [--patience SECONDS] [--sets ct mr multiframe] [--data DIRECTORY]
                             [--scratch DIRECTORY]

Prints a table to stdout and writes benchmarks/results/BENCH.json. Exit code 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import compileall
import json
import os
import platform
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import alive, anonymize, dicomweb, load, measure, query, retrieve, startup, transcode, transfer  # noqa: E402
from benchmarks.make_data import DEFAULT_DIRECTORY  # noqa: E402
from benchmarks.measure import BenchError, Row  # noqa: E402
from tests.interop.peers import absent  # noqa: E402
from tests.interop.process import PeerError  # noqa: E402

RESULTS = Path(__file__).parent / "results"
BENCHES: dict[str, Callable[[transfer.Setting], Iterator[Row]]] = {
    "receive": transfer.receive, "nagle": transfer.nagle, "send": transfer.send, "pair": transfer.pair,
    "parallel": transfer.parallel, "durable": transfer.durable, "pynetdicom": transfer.pynetdicom,
    "echo": alive.echo, "startup": startup.startup, "index": startup.index, "memory": alive.memory,
    "qstore": retrieve.qstore, "retrieve": retrieve.retrieve, "query": query.query, "query10k": query.query10k,
    "growth": load.growth, "crowd": load.crowd, "transcode": transcode.transcode,
    "anonymize": anonymize.anonymize, "dicomweb": dicomweb.dicomweb,
}  # fmt: skip


def machine() -> dict[str, object]:
    """What the figures were measured on; nothing that names the machine."""
    return {
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
        "load": os.getloadavg()[0],
        "absent": absent(),
    }


def run_bench(name: str, setting: transfer.Setting) -> list[Row]:
    """Run one bench, printing its rows as they come; what stops it becomes a row."""
    print(f"\n{name}: {(BENCHES[name].__doc__ or '').splitlines()[0]}", flush=True)
    rows = []
    try:
        for row in BENCHES[name](setting):
            rows.append(row)
            print_row(row)
    except (BenchError, PeerError) as error:
        rows.append(Row(f"{name} stopped", None, note=str(error)))
        print_row(rows[-1])
    return rows


def print_row(row: Row) -> None:
    """One row over one to three lines."""
    figure = "-" if row.figure is None else f"{row.figure:.{2 if abs(row.figure) >= 0.2 else 3}f} {row.unit}"
    limits = f"bar {row.bar.text(row.bar.limit)}, aim {row.bar.text(row.bar.aim) or '-'}" if row.bar else ""
    print(f"  {row.what:58} {figure:>12}   {limits:24} {row.verdict}")
    for who, text in (("ours", row.ours), ("theirs", row.theirs), ("note", row.note)):
        if text:
            print(f"      {who:7} {text}")
    sys.stdout.flush()


def write_results(name: str, rows: list[Row], setting: transfer.Setting) -> None:
    """Keep a bench's rows beside the others."""
    RESULTS.mkdir(exist_ok=True)
    document = {
        "bench": name,
        "when": time.strftime("%Y-%m-%dT%H:%M:%S"),
        "rounds": setting.rounds,
        "machine": machine(),
        "rows": [row.as_json() for row in rows],
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")


def main() -> int:
    """Run the benches asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("benches", nargs="*", metavar="BENCH", help=f"of {', '.join(BENCHES)} (default: all)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count, after one that does not")
    parser.add_argument("--patience", type=float, default=measure.PATIENCE, help="seconds to wait for a quiet machine")
    parser.add_argument("--sets", nargs="+", choices=list(transfer.OBJECTS), default=list(transfer.OBJECTS))
    parser.add_argument("--data", type=Path, default=DEFAULT_DIRECTORY, help="where the data is, or is made")
    parser.add_argument("--scratch", type=Path, default=None, help="where receivers write; both sides the same")
    arguments = parser.parse_args()
    if unknown := set(arguments.benches) - set(BENCHES):
        parser.error(f"no such bench: {', '.join(sorted(unknown))}")
    measure.PATIENCE = arguments.patience
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    compileall.compile_dir(ROOT / "src", quiet=2)  # as installed; Python may not write its caches by itself here
    if absent():
        print(f"absent here: {', '.join(absent())}")
    missed = False
    scratch = arguments.scratch or arguments.data
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="round-", dir=scratch, ignore_cleanup_errors=True) as place:
        if chattr := shutil.which("chattr"):  # see Setting.fresh_directory; a file system without it says no
            subprocess.run([chattr, "+T", place], stderr=subprocess.DEVNULL, check=False)
        setting = transfer.Setting(arguments.data, Path(place), arguments.rounds, tuple(arguments.sets))
        for name in arguments.benches or BENCHES:
            rows = run_bench(name, setting)
            write_results(name, rows, setting)
            missed |= any(row.verdict == "MISS" for row in rows)
    return int(missed)


if __name__ == "__main__":
    raise SystemExit(main())
