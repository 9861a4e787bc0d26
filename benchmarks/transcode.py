"""Transfer syntaxes and pictures: folders as people convert them, cost per image, threads, memory, a rendered CT."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.make_data import CT, CT_TECHNIQUE, MULTIFRAME_CT, ensure, filled, header, warm, write
from benchmarks.measure import Bar, BenchError, Cost, Row, Times, interleave, peak_of_command, time_commands
from benchmarks.transfer import Command, Setting
from tests.interop import peers

IMAGES, FRAMES = 200, 41
LONG = 3
"""Rounds at most: one takes a minute and a half."""
NATIVE = "explicit"


class Case(NamedTuple):
    """One conversion, and the programs of the others that do it: words before the input file, words before the output.

    Attributes:
        source: short name of the syntax it begins with.
    """

    what: str
    source: str
    to: str
    others: dict[str, tuple[tuple[str, ...], tuple[str, ...]]]


def _gdcm(option: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return ("gdcmconv", option, "-i"), ("-o",)


CASES = (
    Case("SV1 encoding", NATIVE, "jpeg-lossless", {"DCMTK": (("dcmcjpeg", "+e1"), ()), "gdcm": _gdcm("--jpeg")}),
    Case("SV1 decoding", "jpeg-lossless", NATIVE, {"DCMTK": (("dcmdjpeg",), ()), "gdcm": _gdcm("--raw")}),
    Case("JPEG-LS encoding", NATIVE, "jpegls", {"DCMTK": (("dcmcjpls",), ()), "gdcm": _gdcm("--jpegls")}),
    Case("JPEG-LS decoding", "jpegls", NATIVE, {"DCMTK": (("dcmdjpls",), ()), "gdcm": _gdcm("--raw")}),
    Case("RLE encoding", NATIVE, "rle", {"DCMTK": (("dcmcrle",), ()), "gdcm": _gdcm("--rle")}),
    Case("RLE decoding", "rle", NATIVE, {"DCMTK": (("dcmdrle",), ()), "gdcm": _gdcm("--raw")}),
    Case("JPEG 2000 encoding", NATIVE, "j2k", {"gdcm": _gdcm("--j2k")}),
    Case("JPEG 2000 decoding", "j2k", NATIVE, {"gdcm": _gdcm("--raw")}),
)


def slices(count: int) -> Iterator[bytes]:
    """CT slices of a noisy body in air: 512 x 512, signed, -1024 to about 1300."""
    import numpy as np

    random = np.random.default_rng(4)
    y, x = np.mgrid[-1:1:512j, -1:1:512j]
    body = np.where(x * x / 0.7 + y * y / 0.45 < 1, 40 + 300 * np.sin(9 * x) * np.cos(7 * y), -1000)
    noise = random.normal(0, 12, (512 + count, 512))
    for number in range(count):
        yield np.clip(np.rint(body + noise[number : number + 512]), -1024, 3071).astype("<i2").tobytes()


def _ensure_images(setting: Setting) -> Path:
    """The folder of CT files, and files of 1 and of 41 frames, in each syntax that is begun with."""
    root = setting.data / "transcode"
    if not (root / "complete").exists():
        shutil.rmtree(root, ignore_errors=True)
        (root / NATIVE).mkdir(parents=True)
        signed = {"PixelRepresentation": 1, "Rows": 512, "Columns": 512}
        pixels = list(slices(IMAGES))
        for number, one in enumerate(pixels, 1):
            data_set = header(CT, 7, 1, number, "CT")
            data_set.update(filled(CT_TECHNIQUE, signed))
            write(root / NATIVE / f"{number:05}.dcm", data_set, one)
        for frames in (1, FRAMES, IMAGES):
            data_set = header(MULTIFRAME_CT, 7, 2, frames, "OT")
            data_set.update(filled(signed, {"NumberOfFrames": frames, "FrameIncrementPointer": 0x00181063}))
            data_set.FrameTime = "40"
            write(root / f"{NATIVE}-{frames}.dcm", data_set, b"".join(pixels[:frames]))
        for name in sorted({case.source for case in CASES} - {NATIVE}):
            time_commands([_ours(root / NATIVE, root / name, name)])
            for frames in (1, FRAMES):
                time_commands([_ours(root / f"{NATIVE}-{frames}.dcm", root / f"{name}-{frames}.dcm", name)])
        (root / "complete").touch()
    warm(root)
    return root


def _ours(source: Path, target: Path, to: str, *options: str) -> Command:
    return peers.dcmkit_command("transcode", source, "-o", target, "--to", to, "--overwrite", *options)


def _theirs(words: tuple[tuple[str, ...], tuple[str, ...]], source: Path, target: Path) -> Command:
    (program, *before), between = words
    return [str(peers.program_path(program)), *before, source, *between, target]


_LOOP = 'in=$1 out=$2; shift 2; mkdir -p "$out"; for f in "$in"/*.dcm; do {} || exit 1; done'


def _folder(words: tuple[tuple[str, ...], tuple[str, ...]], source: Path, target: Path) -> Command:
    """A program called once per file, by a shell."""
    (program, *before), between = words
    call = " ".join([str(peers.program_path(program)), *before, '"$f"', *between, '"$out/${f##*/}"'])
    return ["sh", "-c", _LOOP.format(call), "sh", source, target]


def _here(case: Case) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    return {name: words for name, words in case.others.items() if peers.program_path(words[0][0])}


def _timed(setting: Setting, command: Callable[[Path], Command], name: str) -> Callable[[], Cost]:
    def once() -> Cost:
        target = setting.fresh_directory().with_suffix(name)
        wall, cpu = time_commands([command(target)])
        shutil.rmtree(target, ignore_errors=True)
        target.unlink(missing_ok=True)
        return Cost(wall, cpu, 0.0)

    return once


def folders(setting: Setting) -> Iterator[Row]:
    """200 CT files in a folder: one `dcmkit transcode`, and the others' programs once per file."""
    root = _ensure_images(setting)
    for case in CASES:
        contenders = {
            "dcmkit": _timed(setting, lambda target, case=case: _ours(root / case.source, target, case.to), "")
        } | {
            name: _timed(setting, lambda target, case=case, words=words: _folder(words, root / case.source, target), "")
            for name, words in _here(case).items()
        }
        times = interleave(contenders, min(setting.rounds, LONG))
        yield _against_the_fastest(f"folder of {IMAGES}, {case.what}", times, Bar(5, at_least=True), IMAGES)


def _against_the_fastest(what: str, times: dict[str, Times], bar: Bar, objects: int) -> Row:
    ours = times.pop("dcmkit")
    if not times:
        return Row(what, None, "x", bar, ours.text(objects), note="nobody else is here")
    fastest = min(times.values(), key=_best)
    note = ", ".join(f"{name} {_best(one):.2f} s" for name, one in times.items() if one is not fastest)
    theirs = f"{fastest.name} {fastest.text(objects)}"
    return Row(what, _best(fastest) / _best(ours), "x", bar, ours.text(objects), theirs, note)


def _best(times: Times) -> float:
    """Wall seconds: what takes two cores suffers more from another program than what takes one."""
    return min(cost.wall for cost in times.costs)


def frames(setting: Setting) -> Iterator[Row]:
    """Milliseconds for an image, reading and writing included: 41 frames less 1, whole processes, one thread."""
    root = _ensure_images(setting)
    for case in CASES:
        contenders: dict[str, Callable[[], Cost]] = {}
        for count in (1, FRAMES):
            source = root / f"{case.source}-{count}.dcm"
            for name, options in (("dcmkit", ("--no-verify",)), ("verified", ())):
                contenders[f"{name} {count}"] = _timed(
                    setting,
                    lambda target, s=source, c=case, o=options: _ours(s, target, c.to, "--jobs", "1", *o), ".dcm",
                )  # fmt: skip
            for name, words in _here(case).items():
                contenders[f"{name} {count}"] = _timed(
                    setting, lambda target, s=source, w=words: _theirs(w, s, target), ".dcm"
                )
        times = interleave(contenders, setting.rounds)
        cost = {name: _slope(times, name, wall=True) for name in ("dcmkit", "verified", *_here(case))}
        cpu = {name: _slope(times, name, wall=False) for name in cost}
        others = {name: cost[name] for name in _here(case)}
        starts = {name: times[f"{name} 1"].median * 1000 for name in cost}
        note = "a file of one frame: " + ", ".join(f"{name} {start:.0f} ms" for name, start in starts.items())
        note += "; processor time per image: " + ", ".join(f"{name} {spent:.2f} ms" for name, spent in cpu.items())
        theirs = ", ".join(f"{name} {milliseconds:.2f} ms" for name, milliseconds in others.items())
        yield Row(
            f"per image, {case.what}",
            min(others.values()) / cost["dcmkit"] if others and cost["dcmkit"] > 0 else None, "x",
            Bar(1, at_least=True), f"{cost['dcmkit']:.2f} ms; verified {cost['verified']:.2f} ms", theirs, note,
        )  # fmt: skip


def _slope(times: dict[str, Times], name: str, *, wall: bool) -> float:
    """Milliseconds for a frame, of the best rounds: what another program takes away only makes a round longer."""
    best = {
        count: min(cost.wall if wall else cost.sender_cpu for cost in times[f"{name} {count}"].costs)
        for count in (1, FRAMES)
    }
    return (best[FRAMES] - best[1]) / (FRAMES - 1) * 1000


def threads(setting: Setting) -> Iterator[Row]:
    """A file of 200 frames, and the folder of 200, with `--jobs 1` and with `--jobs 2`."""
    root = _ensure_images(setting)
    for what, source, to, suffix in (
        ("200 frames", root / f"{NATIVE}-{IMAGES}.dcm", "jpegls", ".dcm"),
        ("200 frames", root / f"{NATIVE}-{IMAGES}.dcm", "j2k", ".dcm"),
        ("200 files", root / NATIVE, "jpegls", ""),
        ("200 files", root / "jpeg-lossless", NATIVE, ""),
    ):
        contenders = {
            jobs: _timed(setting, lambda target, s=source, t=to, j=jobs: _ours(s, target, t, "--jobs", j), suffix)
            for jobs in ("1", "2")
        }
        times = interleave(contenders, min(setting.rounds, LONG))
        figure = _best(times["1"]) / _best(times["2"])
        yield Row(f"{what} to {to}, two threads", figure, "x", Bar(1.7, at_least=True), times["2"].text(IMAGES),
                  f"one: {times['1'].text(IMAGES)}")  # fmt: skip


_RENDER = """
import json, sys, time
from dcmkit.pixels.image_file import ImageFile
from dcmkit.pixels.pictures import encode_rendered
from dcmkit.pixels.render import Rendering, render
how, spent = Rendering(), []
for path in sys.argv[1:]:
    begun = time.perf_counter()
    with ImageFile(path) as image:
        picture = encode_rendered(render(image, 0, how), "image/jpeg", 90)
    spent.append(1000 * (time.perf_counter() - begun))
    assert picture[:2] == bytes((0xFF, 0xD8))
print(json.dumps(spent))
"""


def rendering(setting: Setting) -> Iterator[Row]:
    """A CT file opened, its frame windowed and encoded as JPEG, in a process that runs."""
    files = sorted((_ensure_images(setting) / NATIVE).iterdir())
    done = subprocess.run([sys.executable, "-c", _RENDER, *files], capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(done.stderr[-1000:])
    spent = json.loads(done.stdout)[20:]
    note = f"best {min(spent):.2f} ms, 95 % below {sorted(spent)[len(spent) * 95 // 100]:.2f} ms"
    yield Row("CT rendered as JPEG", statistics.median(spent), "ms", Bar(1.5), note=note)


def flat(setting: Setting) -> Iterator[Row]:
    """Peak memory while 3 GB of frames are encoded, and decoded again."""
    ensure(setting.data, ("huge",))
    packed, raw = setting.scratch / "huge.rle.dcm", setting.scratch / "huge.raw.dcm"
    for what, command in (
        ("encoded into RLE", _ours(setting.data / "huge" / "huge.dcm", packed, "rle")),
        ("decoded from it", _ours(packed, raw, NATIVE)),
    ):
        wall, peak = peak_of_command(command)
        yield Row(f"3 GB of frames {what}, peak memory", peak, "MB", Bar(200), f"{wall:.1f} s")
    packed.unlink()
    raw.unlink()


def transcode(setting: Setting) -> Iterator[Row]:
    """Everything about transcoding and rendering: what an image costs, folders, threads, memory."""
    for part in (rendering, frames, threads, flat, folders):
        yield from part(setting)
