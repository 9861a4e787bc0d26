"""What the index keys of a header cost, and a whole `index add`, per file, in one process with the files cached.

    python benchmarks/index_keys.py DIRECTORY [--rounds N] [--json]

Prints milliseconds per file: `index keys` (scan the header in memory and decode every value), `index add` (open, read,
decode, write the index), and with more detail what the parts cost.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from dcmkit.archive.adding import add
from dcmkit.archive.attributes import LEVELS
from dcmkit.archive.reading import read_record
from dcmkit.archive.record import Record
from dcmkit.archive.store import Archive
from dcmkit.dataset.part10 import read_file_header
from dcmkit.dataset.scanner import WINDOW, DataSetScanner
from dcmkit.settings import ArchiveSettings


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    files = sorted(str(path) for path in chosen.directory.rglob("*") if path.is_file())
    if not files:
        print(f"no files in {chosen.directory}", file=sys.stderr)
        return 1
    found = measure(chosen.directory, files, chosen.rounds)
    if chosen.json:
        print(json.dumps({what: found[what] for what in ("index keys", "index add")}))
    else:
        for what, milliseconds in found.items():
            print(f"{what:20} {milliseconds:8.4f} ms")
    return 0


def measure(directory: Path, files: list[str], rounds: int) -> dict[str, float]:
    """Milliseconds per file of each part: the median of `rounds`."""
    scratch = tempfile.mkdtemp(prefix="dcmkit-index-")
    try:
        archive = Archive(ArchiveSettings(output_directory=os.path.join(scratch, "keys"), durability="none"))
        headers = [_header(path) for path in files]
        work: dict[str, Callable[[int], None]] = {
            "index keys": lambda _: _keys(headers, archive.wanted),
            "open and read": lambda _: _read(files, archive.wanted),
            "index add": lambda number: _add(os.path.join(scratch, str(number)), str(directory)),
        }
        return {what: _median(run, rounds) / len(files) * 1000 for what, run in work.items()}
    finally:
        shutil.rmtree(scratch)


def _header(path: str) -> tuple[str, str, memoryview, int]:
    """Transfer syntax, SOP instance, the first bytes of the data set, and how many come after them."""
    header = read_file_header(path)
    with open(path, "rb") as file:
        file.seek(header.offset)
        first = file.read(WINDOW)
    return header.transfer_syntax_uid, header.sop_instance_uid, memoryview(first), header.length - len(first)


def _keys(headers: list[tuple[str, str, memoryview, int]], wanted: frozenset[int]) -> None:
    for syntax, uid, first, rest in headers:
        scanner = DataSetScanner(syntax, wanted)
        scanner.feed(first)
        scanner.skip(rest)
        record = Record(scanner.finish(), "", uid, syntax)
        for level in LEVELS:
            record.columns(level)


def _read(files: list[str], wanted: frozenset[int]) -> None:
    for path in files:
        read_record(path, wanted)


def _add(archive_directory: str, directory: str) -> None:
    with Archive(ArchiveSettings(output_directory=archive_directory, durability="none")) as archive:
        add(archive, [directory])


def _median(run: Callable[[int], None], rounds: int) -> float:
    times = []
    for number in range(rounds):
        started = time.perf_counter()
        run(number)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


if __name__ == "__main__":
    sys.exit(main())
