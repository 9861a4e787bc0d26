"""Files of images made to harm, through `dcmkit transcode` and through the decoder for what strangers send.

The command runs in one process, so that what a file takes can be told from what a start takes.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dcmkit.errors import DcmkitError
from dcmkit.pixels import guard, syntaxes
from dcmkit.pixels.codecs import decode_frame
from dcmkit.pixels.image_file import ImageFile
from dcmkit.pixels.transcode import transcode_file

from . import codestreams

pytestmark = pytest.mark.hostile
HOSTILE = list(codestreams.hostile())
SECONDS, MEBIBYTES = 3.0, 300
"""Of the processor and of memory, for each file. On a machine that is not busy it takes a third of that time."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """All of them, by name."""
    directory = tmp_path_factory.mktemp("hostile")
    return {
        name: codestreams.file(
            directory / f"{number:03}{'-rle' if uid == syntaxes.RLE else ''}.dcm", uid, described, pixels
        )
        for number, (name, uid, described, pixels) in enumerate(HOSTILE)
    }


_RUN = """
import json, sys, time
from dcmkit.cli import main

def memory(field):
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(field)) >> 10

def run(source):
    to = "explicit" if "-rle" in source else "rle"  # what is in the target syntax already is only copied
    sys.argv = ["dcmkit", "transcode", source, "-o", sys.argv_output, "--to", to, "--overwrite", "--jobs", "1"]
    try:
        return main() or 0
    except SystemExit as exit:
        return exit.code or 0

sys.argv_output, warm, *sources = sys.argv[1:]
run(warm)
for source in sources:
    with open("/proc/self/clear_refs", "w") as clear:
        clear.write("5")
    before, begun = memory("VmRSS"), time.process_time()
    code = run(source)
    print(json.dumps([source, int(code), time.process_time() - begun, memory("VmHWM") - before]), flush=True)
"""


@pytest.fixture(scope="module")
def outcomes(files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Exit code, seconds and mebibytes that each file took `dcmkit transcode`."""
    directory = tmp_path_factory.mktemp("converted")
    data, described = codestreams.stream(syntaxes.JPEG_LOSSLESS_SV1)
    good = codestreams.file(
        directory / "good.dcm", syntaxes.JPEG_LOSSLESS_SV1, described, codestreams.encapsulated([data])
    )
    out = directory / "out.dcm"
    command = [sys.executable, "-c", _RUN, out, good, *files.values()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert out.exists(), done.stderr  # the good one
    assert done.returncode == 0, done.stderr
    names = {str(path): name for name, path in files.items()}
    return {names[line[0]]: line[1:] for line in map(json.loads, done.stdout.splitlines())}


def test_there_are_more_than_fifty() -> None:
    assert len({name for name, *_ in HOSTILE}) == len(HOSTILE) > 50


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")
@pytest.mark.parametrize("name", [name for name, *_ in HOSTILE])
def test_transcode_refuses_it_soon_and_takes_little(outcomes: dict[str, Any], name: str) -> None:
    assert name in outcomes, "the process ended before it"
    exit_code, seconds, mebibytes = outcomes[name]
    assert exit_code != 0
    assert seconds < SECONDS  # of the processor: the suite runs beside itself
    assert mebibytes < MEBIBYTES


def test_nothing_is_left_of_what_was_refused(files: dict[str, Path], tmp_path: Path) -> None:
    for name in ("lossless cut in the middle", "more frames than fragments", "native, cut"):
        with pytest.raises(DcmkitError):
            transcode_file(files[name], tmp_path / "out.dcm", syntaxes.RLE)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module", autouse=True)
def _no_worker_stays() -> Iterator[None]:
    yield
    guard.close()


def test_the_guarded_decoder_refuses_every_frame_of_them(files: dict[str, Path]) -> None:
    for name, path in files.items():
        with contextlib.suppress(DcmkitError):
            with ImageFile(path) as image:
                assert image.description is not None
                guarded = guard.decode_guarded(
                    bytes(image.frame(image.number_of_frames - 1)), image.transfer_syntax_uid, image.description,
                    seconds=SECONDS, memory=MEBIBYTES << 20,
                )  # fmt: skip
            pytest.fail(f"{name}: {guarded}")


@pytest.mark.parametrize(
    ("offsets", "extended"),
    [one[1:] for one in codestreams.lying_tables()],
    ids=[one[0] for one in codestreams.lying_tables()],
)
def test_offset_tables_that_lie_change_no_frame(tmp_path: Path, offsets: tuple[int, ...], extended: bytes) -> None:
    data, described = codestreams.stream(syntaxes.JPEG_LOSSLESS_SV1, codestreams.CINE)
    pixels = extended + codestreams.encapsulated([data] * 3, offsets)
    three = described._replace(number_of_frames=3)
    source = codestreams.file(tmp_path / "in.dcm", syntaxes.JPEG_LOSSLESS_SV1, three, pixels)
    outcome = transcode_file(source, tmp_path / "out.dcm", syntaxes.EXPLICIT)
    assert outcome.warnings
    with ImageFile(tmp_path / "out.dcm") as image:
        assert image.description is not None
        for index in range(3):
            found = decode_frame(image.frame(index), image.transfer_syntax_uid, image.description)
            assert np.array_equal(found.array, codestreams.CINE[0])


def test_frames_that_are_promised_get_no_room(tmp_path: Path) -> None:
    """A table of the offsets of hundreds of millions of frames has gigabytes: not before the last frame is found."""
    data, described = codestreams.stream(syntaxes.JPEG_LOSSLESS_SV1)
    for count in (400_000_000, (1 << 31) - 1):
        promised = described._replace(number_of_frames=count)
        fragment = codestreams.encapsulated([data])
        path = codestreams.file(tmp_path / "promises.dcm", syntaxes.JPEG_LOSSLESS_SV1, promised, fragment)
        for syntax in (syntaxes.JPEG_LS, syntaxes.RLE):
            with pytest.raises(DcmkitError, match="frame"):
                transcode_file(path, tmp_path / "out.dcm", syntax)
    assert [one.name for one in tmp_path.iterdir()] == ["promises.dcm"]
