"""De-identification: files per second of one process, beside gdcmanon and dicognito; memory over a file of 2 GB."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.make_data import ensure, filled, header, warm, write
from benchmarks.measure import Bar, BenchError, Cost, Row, count_objects, interleave, peak_of_command, time_commands
from benchmarks.transfer import Command, Setting
from tests.interop import peers

ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
FRAMES = 4096
"""Of 512 x 512, 16 bit: 2 GiB."""
SETS = {"ct": (200, "525 kB CT", 400.0), "mr": (2000, "12 kB MR", 2000.0)}
"""How many files of a set, what they are, and the files per second that are asked for."""
LONG = 3
DICOGNITO = "BENCH_DICOGNITO"
"""Names dicognito's wheel, where it is not installed."""


def _folder(setting: Setting, name: str) -> Path:
    """So many files of a set, linked, in the page cache."""
    ensure(setting.data, (name,))
    count = SETS[name][0]
    place = setting.data / "anonymize" / f"{name}{count}"
    if not place.exists():
        partial = place.with_suffix(".part")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for path in sorted((setting.data / name).rglob("*.dcm"))[:count]:
            os.link(path, partial / path.name)
        partial.rename(place)
    warm(place)
    return place


def _key(setting: Setting) -> Path:
    path = setting.scratch / "anonymize.key"
    if not path.exists():
        time_commands([peers.dcmkit_command("anonymize", "keygen", path)])
    return path


def _ours(setting: Setting, source: Path, *options: str) -> Callable[[Path], Command]:
    key = _key(setting)
    words = ("anonymize", source, "--key", key, "--jobs", "1", *options, "-o")
    return lambda target: peers.dcmkit_command(*words, target)


def _gdcmanon(setting: Setting, source: Path) -> Callable[[Path], Command] | None:
    """gdcmanon over a folder; it encrypts what it removes, with a certificate."""
    program, openssl = peers.program_path("gdcmanon"), shutil.which("openssl")
    if not (program and openssl):
        return None
    certificate, key = setting.scratch / "bench.pem", setting.scratch / "bench.key.pem"
    if not certificate.exists():
        words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=bench", "-keyout"]
        subprocess.run([openssl, *words, key, "-out", certificate], capture_output=True, check=True)
    return lambda target: [program, "-e", "-c", certificate, "-r", "-i", source, "-o", target]


def _dicognito(setting: Setting, source: Path) -> Callable[[Path], Command] | None:
    """dicognito over a folder, from its wheel unpacked or as it is installed."""
    program = "import sys; from dicognito.__main__ import main; main(sys.argv[1:])"
    if wheel := os.environ.get(DICOGNITO):
        place = setting.scratch / "dicognito"
        if not place.exists():
            zipfile.ZipFile(wheel).extractall(place)
        program = f"import sys; sys.path.insert(0, {str(place)!r}); {program}"
    elif not importlib.util.find_spec("dicognito"):
        return None
    return lambda target: [sys.executable, "-c", program, "-q", "-o", target, source]


def _timed(setting: Setting, command: Callable[[Path], Command], objects: int) -> Callable[[], Cost]:
    def once() -> Cost:
        target = setting.fresh_directory()
        wall, cpu = time_commands([command(target)])
        if (written := count_objects(target)) != objects:
            raise BenchError(f"{written} of {objects} files were written")
        shutil.rmtree(target)
        return Cost(wall, cpu, 0.0)

    return once


def folders(setting: Setting) -> Iterator[Row]:
    """Folders of files, one process each: dcmkit with and without its search for leaks, and the others."""
    for name, (objects, what, asked) in SETS.items():
        if name not in setting.sets:
            continue
        source = _folder(setting, name)
        commands = {
            "dcmkit": _ours(setting, source, "--no-verify"),
            "verified": _ours(setting, source, "--verify"),
            "gdcmanon": _gdcmanon(setting, source),
            "dicognito": _dicognito(setting, source),
        }
        contenders = {who: _timed(setting, command, objects) for who, command in commands.items() if command}
        slow = contenders.pop("dicognito", None)
        times = interleave(contenders, setting.rounds)
        if slow:
            times |= interleave({"dicognito": slow}, 1 if setting.rounds < LONG else LONG)
        theirs = ", ".join(f"{who} {times[who].text(objects)}" for who in ("gdcmanon", "dicognito") if who in times)
        note = "" if "gdcmanon" in times else "gdcmanon is not here"
        limit = min(asked, objects / times["gdcmanon"].median) if "gdcmanon" in times else asked
        for who, bar in (("dcmkit", Bar(round(limit, 1), asked, at_least=True)), ("verified", None)):
            rate = objects / times[who].median
            text = what if who == "dcmkit" else f"{what}, outputs searched for what was removed"
            yield Row(f"{objects} files, {text}", rate, "/s", bar, times[who].text(objects), theirs, note)
        if "gdcmanon" in times:
            figure = times["gdcmanon"].median / times["dcmkit"].median
            yield Row(f"{objects} files, {what}, against gdcmanon", figure, "x")


def flat(setting: Setting) -> Iterator[Row]:
    """Peak memory over one file of 2 GB, its pixels a hole in the file."""
    source = setting.data / "anonymize" / "2GB.dcm"
    if not source.exists():
        source.parent.mkdir(parents=True, exist_ok=True)
        partial = source.with_suffix(".part")
        data_set = header(ENHANCED_CT, 9, 1, 1, "CT")
        data_set.update(filled({"Rows": 512, "Columns": 512, "NumberOfFrames": FRAMES}))
        write(partial, data_set, None)
        length = FRAMES * 512 * 512 * 2
        with partial.open("ab") as sink:
            sink.write(b"\xe0\x7f\x10\x00OW\0\0" + length.to_bytes(4, "little"))
            sink.truncate(sink.tell() + length)
        partial.rename(source)
    for what, option, limit in (("", "--no-verify", 100), (", searched", "--verify", 200)):
        target = setting.scratch / "2GB.dcm"
        wall, peak = peak_of_command(_ours(setting, source, option)(target))
        if target.stat().st_size < FRAMES * 512 * 512 * 2:
            raise BenchError("the output is too short")
        target.unlink()
        yield Row(f"one file of 2 GB{what}, peak memory", peak, "MB", Bar(limit), f"{wall:.1f} s")


def anonymize(setting: Setting) -> Iterator[Row]:
    """Files per second of `dcmkit anonymize`, gdcmanon and dicognito; memory."""
    for part in (folders, flat):
        yield from part(setting)
