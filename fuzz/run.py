"""Run the fuzz targets.

Usage: python fuzz/run.py [--seconds N] [--plain] [--corpus DIRECTORY] [TARGET ...]

With atheris each target runs in a process of its own under libFuzzer, guided by coverage; without it, or with
--plain, in a loop of random mutations of the seeds. A finding ends its target, is printed with its traceback and is
kept in fuzz/findings/. The exit code is 0 when nothing was found, 1 otherwise.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import random
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent
FINDINGS = HERE / "findings"
SLOW = 10
"""Seconds one input may take: bounded work is part of what is tested."""
MAXIMUM_LENGTH = 1 << 16


def main() -> int:
    """Run what the command line says."""
    arguments = parse_arguments()
    if arguments.one:
        run_under_atheris(arguments.one, arguments.seconds, arguments.work)
    import targets

    unknown = [name for name in arguments.targets if name not in targets.TARGETS]
    if unknown:
        print(f"no such target: {', '.join(unknown)} (there are {', '.join(targets.TARGETS)})", file=sys.stderr)
        return 1
    names = arguments.targets or list(targets.TARGETS)
    plain = arguments.plain or importlib.util.find_spec("atheris") is None
    FINDINGS.mkdir(exist_ok=True)
    failed = []
    for name in names:
        print(f"=== {name}: {arguments.seconds} s {'of random mutations' if plain else 'under atheris'}", flush=True)
        good = run_plain(name, arguments.seconds, arguments.seed) if plain else start_atheris(name, arguments)
        if not good:
            failed.append(name)
    print(f"findings in: {', '.join(failed)} (see {FINDINGS})" if failed else "nothing found")
    return 1 if failed else 0


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Run dcmkit's fuzz targets.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help="default: all")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default: 60)")
    parser.add_argument("--plain", action="store_true", help="random mutations even where atheris is there")
    parser.add_argument("--seed", type=int, help="of the random mutations; default: another each time")
    parser.add_argument("--corpus", type=Path, help="keep what atheris learns here (default: forget it)")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def run_plain(name: str, seconds: float, seed: int | None) -> bool:
    """Mutate the seeds of one target until the time is over; False at the first finding."""
    from mutation import mutate
    from targets import TARGETS

    target = TARGETS[name]
    source = random.Random(seed)
    until = time.monotonic() + seconds
    count = 0
    while time.monotonic() < until:
        data = mutate(target.seeds, source)
        began = time.monotonic()
        try:
            target.run(data)
        except Exception:
            traceback.print_exc()
            print(f"kept as {keep(name, data)}", file=sys.stderr)
            return False
        if time.monotonic() - began > SLOW:
            print(f"took {time.monotonic() - began:.0f} s; kept as {keep(name, data)}", file=sys.stderr)
            return False
        count += 1
    print(f"{count} inputs")
    return True


def keep(name: str, data: bytes) -> Path:
    """Save a finding."""
    path = FINDINGS / f"{name}-{hashlib.sha256(data).hexdigest()[:16]}"
    path.write_bytes(data)
    return path


def start_atheris(name: str, arguments: argparse.Namespace) -> bool:
    """One target in a process of its own, since libFuzzer ends its process."""
    from targets import TARGETS

    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        (work / "seeds").mkdir()
        for number, seed in enumerate(TARGETS[name].seeds):
            (work / "seeds" / str(number)).write_bytes(seed)
        learnt = arguments.corpus.resolve() / name if arguments.corpus else work / "learnt"
        learnt.mkdir(parents=True, exist_ok=True)
        if arguments.corpus:
            (work / "learnt").symlink_to(learnt)
        command = [sys.executable, str(HERE / "run.py"), "--one", name, "--seconds", str(arguments.seconds)]
        return subprocess.run([*command, "--work", directory], check=False).returncode == 0


def run_under_atheris(name: str, seconds: int, work: Path) -> None:
    """Does not return. `work` holds the seeds, and takes what is learnt."""
    import atheris

    with atheris.instrument_imports(include=["dcmkit"]):
        from targets import TARGETS
    options = [
        f"-max_total_time={seconds}", f"-timeout={SLOW}", f"-max_len={MAXIMUM_LENGTH}", "-rss_limit_mb=1024",
        f"-artifact_prefix={FINDINGS}/{name}-", "-verbosity=0", "-print_final_stats=1",
    ]  # fmt: skip
    atheris.Setup([sys.argv[0], *options, str(work / "learnt"), str(work / "seeds")], TARGETS[name].run)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
