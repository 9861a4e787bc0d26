"""Every file at hand through every transfer syntax that can hold it: the whole matrix, of which the tests run a part.

    python benchmarks/transcode_matrix.py [--jobs N] [--only TEXT] [--to UID ...] [--out FILE]

Files of pydicom and pydicom-data, and WG-04's where they are at hand. Prints a table of transfer syntaxes, and
everything that is wrong; `--out` writes a line for each conversion, separated by tabs.
Exit code 1 when something is wrong.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from dcmkit.errors import DcmkitError  # noqa: E402
from dcmkit.pixels.image_file import ImageFile  # noqa: E402
from dcmkit.uids import name_of  # noqa: E402
from tests.interop.samples import sources  # noqa: E402
from tests.interop.transcoding import TARGETS, Verdict, judge  # noqa: E402


def has_pixels(path: Path) -> bool:
    """Whether it is a file of an image; what is none has nothing to lose."""
    try:
        with ImageFile(path) as image:
            return image.description is not None
    except DcmkitError:
        return False


def row_of(path: Path, targets: tuple[str, ...]) -> list[Verdict]:
    """One file through all transfer syntaxes."""
    with tempfile.TemporaryDirectory(prefix="matrix-") as directory:
        found = []
        for target in targets:
            try:
                found.append(judge(path, target, Path(directory)))
            except Exception as error:  # a defect: it is told, and the rest goes on
                found.append(Verdict(path.name, target, "wrong", f"{type(error).__name__}: {error}"))
        return found


def table(verdicts: list[Verdict]) -> None:
    """How many of each state, by target."""
    print(
        f"{'transfer syntax':60} {'right':>6} {'lossy':>6} {'relabelled':>10} {'peer':>6} {'refused':>8} {'wrong':>6}"
    )
    by_target: dict[str, list[Verdict]] = defaultdict(list)
    for one in verdicts:
        by_target[one.target].append(one)
    for target, those in by_target.items():
        right = [one for one in those if one.state == "right"]
        states = Counter(one.state for one in those)
        print(
            f"{name_of(target)[:60]:60} {len(right):6} {sum(one.lossy for one in right):6}"
            f" {sum(one.action in ('relabel', 'recompress') for one in right):10}"
            f" {sum(bool(one.peer) for one in right):6} {states['refused']:8} {states['wrong']:6}"
        )


def main() -> int:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="", help="files with this in their name")
    parser.add_argument("--to", nargs="+", default=list(TARGETS), help="transfer syntax UIDs")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    paths = [path for path in sources() if arguments.only in path.name and has_pixels(path)]
    verdicts: list[Verdict] = []
    with ProcessPoolExecutor(arguments.jobs) as pool:
        for row in pool.map(partial(row_of, targets=tuple(arguments.to)), paths):
            verdicts += row
            for one in row:
                if one.state == "wrong":
                    print(f"{one.source} -> {one.target}: {one.text}", flush=True)
    if arguments.out:
        arguments.out.write_text("".join("\t".join(map(str, one)).replace("\n", " ") + "\n" for one in verdicts))
    print(f"{len(paths)} files")
    table(verdicts)
    for reason, count in Counter(one.text for one in verdicts if one.state == "refused").most_common(40):
        print(f"{count:6} refused: {reason}")
    return int(any(one.state == "wrong" for one in verdicts))


if __name__ == "__main__":
    raise SystemExit(main())
