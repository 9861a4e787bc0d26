"""What one frame goes through, and the order of many."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from dcmkit.errors import InvalidDataSetError, UnsupportedSyntaxError
from dcmkit.pixels import plan, syntaxes
from dcmkit.pixels.description import PixelDescription
from dcmkit.pixels.frames import EncodeOptions
from dcmkit.pixels.image_file import ImageFile
from dcmkit.pixels.recoding import Frame, FrameRecoder, holds, in_order
from tests.pixels import files

DESCRIPTION = PixelDescription(2, 3, bits_allocated=8, bits_stored=8, high_bit=7)


def test_frames_come_in_order_however_long_each_takes():
    gate = threading.Event()

    def recode(index: int) -> Frame:
        if not index:
            gate.wait(10)
        elif index == 3:
            gate.set()
        return Frame(bytes([index]), DESCRIPTION)

    with ThreadPoolExecutor(4) as pool:
        assert [frame.data[0] for frame in in_order(recode, 20, pool, 100, 4)] == list(range(20))


def test_no_more_frames_at_once_than_there_is_room_for():
    begun: list[int] = []

    def recode(index: int) -> Frame:
        begun.append(index)
        return Frame(b"", DESCRIPTION)

    with ThreadPoolExecutor(2) as pool:
        frames = in_order(recode, 100, pool, 20 << 20, 8)
        next(frames)
        assert len(begun) <= 4
        frames.close()


@pytest.mark.parametrize("jobs", [1, 4])
def test_the_first_frame_that_fails_ends_it(jobs):
    def recode(index: int) -> Frame:
        if index == 2:
            raise InvalidDataSetError("bad")
        return Frame(b"", DESCRIPTION)

    with ThreadPoolExecutor(4) as pool, pytest.raises(InvalidDataSetError):
        list(in_order(recode, 9, pool if jobs > 1 else None, 1, jobs))


def test_an_error_says_which_frame(tmp_path):
    path = files.write(
        tmp_path / "x", files.RLE, files.attributes(frames=2), files.encapsulated([b"\1" + bytes(63) + b"ab"] * 2)
    )
    with ImageFile(path) as image:
        recoder = FrameRecoder(image, plan.Steps(files.RLE, syntaxes.EXPLICIT, plan.DECODE), EncodeOptions())
        with pytest.raises(InvalidDataSetError, match=r"^frame 2: "):
            recoder(1)


def test_twelve_bits_in_sixteen_are_no_eight(tmp_path):
    attributes = files.attributes(bits=16).replace(b"\x01\x01US\x02\0\x10\0", b"\x01\x01US\x02\0\x08\0")
    path = files.native(tmp_path / "x", b"\xff\1" * 6, attributes, "OW")
    with ImageFile(path) as image:
        steps = plan.Steps(syntaxes.EXPLICIT, syntaxes.JPEG_BASELINE, plan.ENCODE, lossy=True)
        with pytest.raises(UnsupportedSyntaxError, match="above Bits Stored"):
            FrameRecoder(image, steps, EncodeOptions())(0)


def test_conditions_are_asked_of_every_frame(tmp_path):
    path = files.write(
        tmp_path / "x", syntaxes.JPEG_LOSSLESS, files.attributes(frames=2),
        files.encapsulated([b"\xff\xd8garbage!"] * 2),
    )  # fmt: skip
    steps = plan.Steps(syntaxes.JPEG_LOSSLESS, syntaxes.JPEG_LOSSLESS_SV1, plan.RELABEL, condition=plan.SV1_PREDICTOR)
    with ImageFile(path) as image, pytest.raises(InvalidDataSetError):
        holds(image, steps)
