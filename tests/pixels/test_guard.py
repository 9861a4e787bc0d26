"""Codestreams that are broken, truncated or made to harm: an error each, in bounded time and memory."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from dcmkit.errors import DcmkitError, InvalidDataSetError, OutputError, UnsupportedSyntaxError
from dcmkit.pixels import guard, syntaxes
from dcmkit.pixels.codecs import encode_frame
from dcmkit.pixels.description import PixelDescription

from .images import IMAGES, after, can_encode, described, waves

MIB = 1 << 20
LIMITS = {"seconds": 1.0, "memory": 300 * MIB}
CT = described(waves(256, 256, -1024, 3071), 16, signed=True)
RGB = described(np.stack([waves(120, 160, 0, 255)] * 3, -1), 8, 8, color="RGB")
GREY = described(waves(120, 160, 0, 255), 8, 8)


@pytest.fixture(autouse=True, scope="module")
def _no_worker_stays() -> Iterator[None]:
    yield
    guard.close()


def stream(uid: str, image: tuple[np.ndarray, PixelDescription] = CT) -> tuple[bytes, PixelDescription]:
    encoded = encode_frame(*(image[0], uid, image[1]))
    return encoded.data, after(image[1], encoded)


def truncated() -> Iterator[tuple[str, str, bytes, PixelDescription]]:
    """Cut in the header, in the middle, before the end; and with an end marker put behind the cut."""
    for name, uid, image, end in (
        ("baseline", syntaxes.JPEG_BASELINE, RGB, b""), ("extended", syntaxes.JPEG_EXTENDED, GREY, b""),
        ("lossless", syntaxes.JPEG_LOSSLESS_SV1, CT, b""), ("jpeg-ls", syntaxes.JPEG_LS, CT, b"\xff\xd9"),
        ("near-lossless", syntaxes.JPEG_LS_NEAR, CT, b"\xff\xd9"),
        ("j2k", syntaxes.JPEG_2000_LOSSLESS, CT, b"\xff\xd9"),
        ("lossy j2k", syntaxes.JPEG_2000, CT, b"\xff\xd9"), ("htj2k", syntaxes.HTJ2K_LOSSLESS, CT, b"\xff\xd9"),
        ("lossy htj2k", syntaxes.HTJ2K, CT, b"\xff\xd9"), ("jxl", syntaxes.JPEG_XL_LOSSLESS, CT, b"\0\0"),
        ("recompressed", syntaxes.JPEG_XL_RECOMPRESSION, RGB, b"\0"), ("rle", syntaxes.RLE, CT, b"\0"),
        ("deflated", syntaxes.DEFLATED_FRAME, CT, b"\0"),
    ):  # fmt: skip
        if not can_encode(uid):
            continue
        data, description = stream(uid, image)
        yield f"{name} cut in the header", uid, data[:30], description
        yield f"{name} cut in the middle", uid, data[: len(data) // 2] + end, description


def resized_sof(data: bytes, rows: int, columns: int) -> bytes:
    """Another size in the frame header of a JPEG."""
    at = next(i for i in range(len(data)) if data[i] == 0xFF and data[i + 1] in (0xC0, 0xC1, 0xC3, 0xF7))
    return data[: at + 5] + struct.pack(">HH", rows, columns) + data[at + 9 :]


def resized_siz(data: bytes, **fields: int) -> bytes:
    """Other fields in SIZ, by their place."""
    out = bytearray(data)
    places = {"x": 8, "y": 12, "x0": 16, "tile_x": 24, "tile_y": 28, "tile_x0": 32}
    for name, value in fields.items():
        struct.pack_into(">I", out, places[name], value)
    return bytes(out)


def bombs() -> Iterator[tuple[str, str, bytes, PixelDescription]]:
    """Much out of little, and numbers that lie."""
    lossless, grey = stream(syntaxes.JPEG_LOSSLESS_SV1)
    near, _ = stream(syntaxes.JPEG_LS)
    huge = grey._replace(rows=65535, columns=65535)
    large = grey._replace(rows=20000, columns=20000)
    yield (
        "jpeg of 4 gigapixels, the data set too",
        syntaxes.JPEG_LOSSLESS_SV1,
        resized_sof(lossless, 65535, 65535),
        huge,
    )
    yield "jpeg of 400 megapixels", syntaxes.JPEG_LOSSLESS_SV1, resized_sof(lossless, 20000, 20000), large
    yield "jpeg of 65500 rows in a small data set", syntaxes.JPEG_LOSSLESS_SV1, resized_sof(lossless, 65500, 256), grey
    yield "jpeg of no rows", syntaxes.JPEG_LOSSLESS_SV1, resized_sof(lossless, 0, 256), grey
    yield "jpeg-ls of 400 megapixels", syntaxes.JPEG_LS, resized_sof(near, 20000, 20000), large
    yield "jpeg-ls of more rows than it has", syntaxes.JPEG_LS, resized_sof(near, 4096, 256), grey._replace(rows=4096)
    for name, uid in (("j2k", syntaxes.JPEG_2000_LOSSLESS), ("htj2k", syntaxes.HTJ2K_LOSSLESS)):
        if not can_encode(uid):
            continue
        data, _ = stream(uid)
        yield f"{name} of 4 gigapixels", uid, resized_siz(data, x=65535, y=65535), huge
        yield f"{name} of 400 megapixels", uid, resized_siz(data, x=20000, y=20000, tile_x=20000, tile_y=20000), large
        yield f"{name} with an origin", uid, resized_siz(data, x0=1), grey
        yield f"{name} with a million tiles", uid, resized_siz(data, tile_x=1, tile_y=1), grey
        yield f"{name} without tiles", uid, resized_siz(data, tile_x=0), grey
        yield f"{name} whose tile is elsewhere", uid, resized_siz(data, tile_x0=1 << 31), grey
    jxl, _ = stream(syntaxes.JPEG_XL_LOSSLESS)
    yield "jpeg xl in a data set of 4 gigapixels", syntaxes.JPEG_XL_LOSSLESS, jxl, huge
    rle = struct.pack("<16I", 2, 64, 66, *[0] * 13)
    yield "rle of runs of nothing", syntaxes.RLE, rle + b"\x80" * 2 * MIB, grey
    yield "rle of one run", syntaxes.RLE, rle + b"\x81\0\x81\0", grey
    yield "rle of 15 segments", syntaxes.RLE, struct.pack("<16I", 15, *range(64, 79)) + bytes(100), grey
    deflater = zlib.compressobj(9, wbits=-15)
    bomb = deflater.compress(bytes(64 * MIB)) + deflater.flush()
    yield "64 MiB deflated", syntaxes.DEFLATED_FRAME, bomb, grey
    yield "deflated, and 400 megapixels", syntaxes.DEFLATED_FRAME, bomb, large
    yield "nothing at all", syntaxes.JPEG_2000, b"", grey
    yield "zeros", syntaxes.JPEG_BASELINE, bytes(1000), grey
    yield "another format", syntaxes.JPEG_2000, lossless, grey
    yield "an image of another depth", syntaxes.JPEG_LOSSLESS, lossless, grey._replace(bits_allocated=8, bits_stored=8)


HARM = [*truncated(), *bombs()]


def test_there_are_fifty() -> None:
    assert len(HARM) >= 50 or not can_encode(syntaxes.HTJ2K)


@pytest.mark.parametrize(("uid", "data", "description"), [one[1:] for one in HARM], ids=[one[0] for one in HARM])
def test_harm_is_an_error_soon_and_takes_little(uid: str, data: bytes, description: PixelDescription) -> None:
    guard.decode_guarded(stream(syntaxes.RLE)[0], syntaxes.RLE, CT[1])  # there is a worker
    begun = time.monotonic()
    with pytest.raises((InvalidDataSetError, UnsupportedSyntaxError)):
        guard.decode_guarded(data, uid, description, **LIMITS)
    assert time.monotonic() - begun < 1.5


@pytest.mark.parametrize(
    "uid",
    [
        syntaxes.JPEG_LOSSLESS_SV1, syntaxes.JPEG_LS, syntaxes.HTJ2K_LOSSLESS, syntaxes.RLE, syntaxes.JPEG_2000,
        syntaxes.EXPLICIT, syntaxes.ENCAPSULATED_UNCOMPRESSED,
    ],
)  # fmt: skip
def test_what_is_well_is_decoded_as_it_is_without_a_guard(uid: str) -> None:
    if not can_encode(uid):
        pytest.skip("this imagecodecs does not encode it")
    from dcmkit.pixels.codecs import decode_frame

    data, description = stream(uid)
    alone, guarded = decode_frame(data, uid, description), guard.decode_guarded(data, uid, description, **LIMITS)
    assert np.array_equal(alone.array, guarded.array)
    assert alone.array.dtype == guarded.array.dtype
    assert alone[1:] == guarded[1:]


def test_frames_at_a_time() -> None:
    data, description = stream(syntaxes.JPEG_LS)

    def once(_: int) -> bool:
        return np.array_equal(guard.decode_guarded(data, syntaxes.JPEG_LS, description).array, CT[0])

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(once, range(20)))
    assert len(guard._pool._idle) <= (os.cpu_count() or 1)


def test_a_worker_is_used_again_and_replaced_when_it_died() -> None:
    data, description = stream(syntaxes.RLE)
    guard.decode_guarded(data, syntaxes.RLE, description)
    first = guard._pool._idle[-1]._process
    guard.decode_guarded(data, syntaxes.RLE, description)
    assert guard._pool._idle[-1]._process is first
    for worker in guard._pool._idle:
        worker._process.kill()
        worker._process.wait()
    assert np.array_equal(guard.decode_guarded(data, syntaxes.RLE, description).array, CT[0])
    assert guard._pool._idle[-1]._process.pid != first.pid


def test_what_does_not_end_is_killed() -> None:
    data, description = stream(syntaxes.JPEG_LS)
    guard.decode_guarded(data, syntaxes.JPEG_LS, description)
    worker = guard._pool._idle[-1]
    with pytest.raises(InvalidDataSetError, match="too much time"):
        guard.decode_guarded(data, syntaxes.JPEG_LS, description, seconds=0.0)
    assert not worker.is_alive


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux limits the memory of a process")
def test_a_decoder_that_wants_too_much_is_told_and_the_worker_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    data, description = stream(syntaxes.JPEG_2000_LOSSLESS)
    monkeypatch.setattr(guard, "_WORKING_COPIES", 0)
    with pytest.raises(InvalidDataSetError):
        guard.decode_guarded(data, syntaxes.JPEG_2000_LOSSLESS, description, memory=0)
    assert np.array_equal(guard.decode_guarded(data, syntaxes.JPEG_2000_LOSSLESS, description).array, CT[0])


def test_what_is_not_decoded_here_is_refused() -> None:
    with pytest.raises(UnsupportedSyntaxError):
        guard.decode_guarded(b"", "1.2.840.10008.1.2.4.102", IMAGES["rgb"][1])


def test_no_process_to_decode_in(monkeypatch: pytest.MonkeyPatch) -> None:
    data, description = stream(syntaxes.RLE)
    guard.close()
    with monkeypatch.context() as context:
        context.setattr(sys, "executable", "/nowhere/python")
        with pytest.raises(OutputError, match="no process"):
            guard.decode_guarded(data, syntaxes.RLE, description)
    with monkeypatch.context() as context:
        context.setattr(guard, "_START", "{path!r}")
        with pytest.raises(OutputError, match="no process"):
            guard.decode_guarded(data, syntaxes.RLE, description)
    guard.decode_guarded(data, syntaxes.RLE, description)


@pytest.mark.parametrize(
    "reply",
    [
        {}, {"error": "SystemExit", "message": "", "hint": ""}, {"error": "ExitCode", "message": "", "hint": ""},
        {"shape": [256, 256], "dtype": "O"}, {"shape": [1, 1], "dtype": "<i2"}, {"shape": [256, 256], "dtype": "<i4"},
        {"shape": "x", "dtype": "u1"}, {"shape": [256, 256, -1], "dtype": "u1"},
    ],
)  # fmt: skip
def test_a_worker_is_not_trusted(reply: dict[str, object]) -> None:
    with pytest.raises(DcmkitError):
        guard._decoded({"photometric_interpretation": "X", **reply}, bytearray(256 * 256 * 2), CT[1])


def test_workers_end_with_their_process() -> None:
    """A process that is killed leaves no worker behind: their input ends."""
    program = (
        "import sys, os, signal; sys.path[:] = {path!r}\n"
        "from dcmkit.pixels import guard\n"
        "worker = guard._Worker(); print(worker._process.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    if os.name != "posix":
        pytest.skip("signals")
    done = subprocess.run([sys.executable, "-c", program.format(path=[p for p in sys.path if p])], capture_output=True)
    pid = int(done.stdout)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and os.path.exists(f"/proc/{pid}") and _state(pid) != "Z":
        os.sched_yield()
    assert not os.path.exists(f"/proc/{pid}") or _state(pid) == "Z"


def _state(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0]
    except OSError:
        return "Z"
