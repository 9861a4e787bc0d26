"""What the index keys of a header cost: `index_keys.py DIRECTORY [--json]`.

Milliseconds per file, the best of several rounds over the files of DIRECTORY, in this one process:
- scanning a header that is in memory and decoding every index key of it;
- `index add` as a whole: listing, opening, reading, scanning, decoding, SQLite, commit.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

from dcmkit.archive.adding import add
from dcmkit.archive.attributes import LEVELS, WANTED
from dcmkit.archive.record import Record
from dcmkit.archive.store import Archive
from dcmkit.dataset.part10 import FileHeader, read_file_header
from dcmkit.dataset.scanner import DataSetScanner
from dcmkit.settings import ArchiveSettings

ROUNDS = 7


def best(work: Callable[[], int]) -> float:
    """Milliseconds per file of the best round; `work` returns how many files it did."""
    figures = []
    for _ in range(ROUNDS):
        began = perf_counter()
        count = work()
        figures.append((perf_counter() - began) / count * 1000)
    return min(figures)


def keys(headers: list[tuple[FileHeader, memoryview]]) -> int:
    """Scan headers in memory, and decode their keys at all four levels."""
    for header, data_set in headers:
        scanner = DataSetScanner(header.transfer_syntax_uid, WANTED)
        scanner.feed(data_set)
        record = Record(scanner.finish(), header.sop_class_uid, header.sop_instance_uid, header.transfer_syntax_uid)
        for level in LEVELS:
            record.columns(level)
    return len(headers)


def index_add(directory: Path) -> int:
    """Index the directory in place, in a new archive."""
    with tempfile.TemporaryDirectory() as place, Archive(ArchiveSettings(output_directory=place)) as archive:
        return add(archive, [str(directory)], jobs=1).added


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    headers = []
    for path in sorted(path for path in arguments.directory.rglob("*") if path.is_file())[:500]:
        header = read_file_header(path)
        headers.append((header, memoryview(path.read_bytes())[header.offset :]))
    figures = {
        "index keys of a header": best(lambda: keys(headers)),
        "index add, one process": best(lambda: index_add(arguments.directory)),
    }
    if arguments.json:
        print(json.dumps(figures))
    else:
        for what, figure in figures.items():
            print(f"{what:40} {figure:.3f} ms")


if __name__ == "__main__":
    main()
