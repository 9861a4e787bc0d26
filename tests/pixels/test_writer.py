"""Files of images, written frame by frame."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread

from dcmkit.dataset import elements
from dcmkit.dataset.elements import DataSet
from dcmkit.dataset.raw import EXPLICIT, RawElements, encoded_elements, walk
from dcmkit.dataset.recode import swapped
from dcmkit.errors import InvalidDataSetError, OutputDirectoryError, OutputError, UsageError
from dcmkit.pixels import writer as module
from dcmkit.pixels.image_file import ImageFile
from dcmkit.pixels.writer import ImageWriter, WriterOptions
from dcmkit.uids import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)
from tests.pixels.files import JPEG, SOI, attributes, element, encapsulated, native, table
from tests.pixels.test_image_file import bundled

UNCOMPRESSED = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN)


@pytest.mark.parametrize("name", ["CT_small.dcm", "rtdose.dcm", "examples_palette.dcm"])
@pytest.mark.parametrize("syntax", UNCOMPRESSED)
def test_what_is_written_is_what_pydicom_reads(tmp_path: Path, name: str, syntax: str) -> None:
    source, target = bundled(name), tmp_path / "out.dcm"
    with (
        ImageFile(source) as image,
        ImageWriter(target, image.elements, syntax, sop_class_uid="1.2", sop_instance_uid="1.2.3") as writer,
    ):
        for index in range(image.number_of_frames):
            writer.write_frame(image.frame(index))
        writer.commit()
    written, wanted = dcmread(target), dcmread(source)
    wanted.pop("DataSetTrailingPadding", None)
    assert written.file_meta.TransferSyntaxUID == syntax
    assert written.PixelData == wanted.PixelData
    assert {str(one) for one in written if one.VR != "UN"} <= {str(one) for one in wanted} | {str(written["PixelData"])}
    assert list(tmp_path.iterdir()) == [target]


ATTRIBUTES = attributes(2, 3, 8, 3)


def raw(data: bytes = ATTRIBUTES) -> RawElements:
    view = memoryview(data)
    return RawElements(view, EXPLICIT, walk(view, 0, len(view), EXPLICIT))


def start(path: Path, syntax: str = JPEG, data: RawElements | DataSet | None = None, **options: object) -> ImageWriter:
    return ImageWriter(
        path, raw() if data is None else data, syntax, sop_class_uid="1.2", sop_instance_uid="1.2.3",
        options=WriterOptions(**options),  # type: ignore[arg-type]
    )  # fmt: skip


def put(
    path: Path, frames: list[bytes], syntax: str = JPEG, data: RawElements | DataSet | None = None, **options: object
) -> Path:
    with start(path, syntax, data, **options) as writer:
        for frame in frames:
            writer.write_frame(frame)
        writer.commit()
    return path


def read(path: Path) -> list[bytes]:
    with ImageFile(path) as image:
        assert not image.warnings
        return [bytes(image.frame(index)) for index in range(image.number_of_frames)]


FRAMES = [SOI + b"one!", SOI + b"second", SOI + b"3rd!"]


def test_a_basic_offset_table(tmp_path: Path) -> None:
    path = put(tmp_path / "a.dcm", FRAMES)
    assert read(path) == FRAMES
    assert encapsulated(FRAMES, [0, 16, 34]) in path.read_bytes()
    assert list(tmp_path.iterdir()) == [path]
    assert encapsulated(FRAMES) in put(path, FRAMES, basic_offset_table=False).read_bytes()


def test_an_extended_offset_table(tmp_path: Path) -> None:
    odd = [SOI + b"1", SOI + b"22", SOI + b"333"]
    data = put(tmp_path / "a.dcm", odd, extended_offset_table=True).read_bytes()
    expected = element(0x7FE00001, "OV", table([0, 14, 28], "Q")) + element(0x7FE00002, "OV", table([5, 6, 7], "Q"))
    assert expected + encapsulated([one + b"\0" * (len(one) & 1) for one in odd]) in data
    with pytest.raises(UsageError):
        start(tmp_path / "b.dcm", extended_offset_table=True, fragment_size=100)


def test_more_than_a_basic_offset_table_can_hold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OFFSET_LIMIT", 20)
    for data in (ATTRIBUTES, attributes(1, 1, 8, 3)):  # to be expected, and not
        path = put(tmp_path / "a.dcm", FRAMES, data=raw(data))
        assert read(path) == FRAMES
        assert element(0x7FE00001, "OV", table([0, 16, 34], "Q")) in path.read_bytes()
        assert list(tmp_path.iterdir()) == [path]
    path = put(tmp_path / "a.dcm", FRAMES, fragment_size=8)
    assert read(path) == FRAMES
    assert b"\xfe\xff\x00\xe0\0\0\0\0" in path.read_bytes()


def test_frames_in_fragments(tmp_path: Path) -> None:
    path = put(tmp_path / "a.dcm", FRAMES, fragment_size=5)
    assert read(path) == FRAMES
    pieces = [one[at : at + 4] for one in FRAMES for at in range(0, len(one), 4)]
    assert encapsulated(pieces, [0, 24, 24 + 34]) in path.read_bytes()


@pytest.mark.parametrize("syntax", [*UNCOMPRESSED, EXPLICIT_VR_BIG_ENDIAN])
def test_native_frames(tmp_path: Path, syntax: str) -> None:
    frames = [bytes(range(at, at + 12)) for at in (0, 12, 24)]
    path = put(tmp_path / "a.dcm", frames, syntax, raw(attributes(2, 3, 16, 3)))
    theirs = dcmread(path)
    swap = syntax == EXPLICIT_VR_BIG_ENDIAN
    assert theirs.PixelData == (swapped(b"".join(frames), 2) if swap else b"".join(frames))
    assert theirs["PixelData"].VR == "OW"
    assert (theirs.Rows, theirs.PatientName) == (2, "A^B")
    assert read(path) == ([swapped(one, 2) for one in frames] if swap else frames)


@given(st.integers(1, 5), st.integers(1, 9), st.integers(1, 5), st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_one_bit_frames_follow_without_a_gap(rows: int, columns: int, count: int, random: Random) -> None:
    size = rows * columns
    frames = [random.getrandbits(size).to_bytes((size + 7) // 8, "little") for _ in range(count)]
    with TemporaryDirectory() as directory:
        path = Path(directory) / "a.dcm"
        assert read(put(path, frames, EXPLICIT_VR_LITTLE_ENDIAN, raw(attributes(rows, columns, 1, count)))) == frames
        assert len(dcmread(path).PixelData) == (size * count + 7) // 8 + (size * count + 7) // 8 % 2


def test_data_sets_in_memory_and_layers(tmp_path: Path) -> None:
    changes = {0x00100010: elements.element(0x00100010, "C^D"), 0x00280008: elements.element(0x00280008, "1")}
    with ImageFile(put(tmp_path / "a.dcm", FRAMES)) as image:
        layers = [image.elements, encoded_elements(changes)]
        with ImageWriter(tmp_path / "b.dcm", layers, JPEG, sop_class_uid="1.2", sop_instance_uid="1.2.4") as writer:
            assert writer.description.number_of_frames == 1
            writer.write_frame(FRAMES[0])
            writer.commit()
        whole = {**image.data_set, **changes}
    assert read(tmp_path / "b.dcm") == FRAMES[:1]
    assert read(put(tmp_path / "c.dcm", [b"123456"], EXPLICIT_VR_LITTLE_ENDIAN, whole)) == [b"123456"]
    assert dcmread(tmp_path / "b.dcm").PatientName == "C^D"


def test_without_pixel_data(tmp_path: Path) -> None:
    path = put(tmp_path / "a.dcm", [], EXPLICIT_VR_LITTLE_ENDIAN, raw(), number_of_frames=0, sync=True)
    assert "PixelData" not in dcmread(path)
    path = put(path, [], EXPLICIT_VR_LITTLE_ENDIAN, raw(element(0x00100010, "PN", b"A^B")), padding=512)
    assert path.stat().st_size % 512 == 0
    assert dcmread(path).PatientName == "A^B"


def test_nothing_is_left_of_what_failed(tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    with pytest.raises(InvalidDataSetError, match="2 frames, and should be 3"):
        put(path, FRAMES[:2])
    with pytest.raises(InvalidDataSetError, match="more frames than the 3"):
        put(path, [*FRAMES, SOI])
    with pytest.raises(InvalidDataSetError, match="has 5 bytes, and should have 6"):
        put(path, [bytes(6), bytes(5)], EXPLICIT_VR_LITTLE_ENDIAN)
    with pytest.raises(InvalidDataSetError, match="more than a value can have"):
        start(path, EXPLICIT_VR_LITTLE_ENDIAN, raw(attributes(65535, 65535, 16, 1)))
    with pytest.raises(ZeroDivisionError), start(path) as writer:
        writer.write_frame(FRAMES[1 // 0])
    writer = start(path)
    assert len(list(tmp_path.iterdir())) == 1
    writer.abandon()
    writer.abandon()
    with pytest.raises(OutputError, match="closed"):
        writer.write_frame(b"")
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_there_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = put(tmp_path / "a.dcm", FRAMES)
    before = path.read_bytes()
    with start(path) as writer:
        writer.write_frame(SOI)
        assert path.read_bytes() == before
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputDirectoryError):
        start(tmp_path / "missing" / "a.dcm")
    with pytest.raises(OutputError, match="not a regular file"):
        start(tmp_path)
    writer = start(tmp_path / "a.dcm")
    assert writer._file is not None
    os.close(writer._file.fileno())
    with pytest.raises(OutputError, match="cannot be written"):
        writer.write_frame(SOI + bytes(3 << 20))
    assert not list(tmp_path.iterdir())


CHILD = """
import sys
from dcmkit.pixels.image_file import ImageFile
from dcmkit.pixels.writer import ImageWriter, WriterOptions
source, target, syntax = sys.argv[1:]
with ImageFile(source) as image, ImageWriter(
    target, image.elements, syntax, sop_class_uid="1.2", sop_instance_uid="1.2.3"
) as writer:
    for index in range(image.number_of_frames):
        writer.write_frame(image.frame(index))
        if index == 255:  # what is on its way to the disk is enough
            break
    for index in range(256, image.number_of_frames):
        assert not image.frame(index)[::4096].tobytes().strip(bytes(1))
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured on Linux only")
@pytest.mark.parametrize("syntax", [EXPLICIT_VR_LITTLE_ENDIAN, JPEG])
def test_memory_stays_flat(tmp_path: Path, syntax: str) -> None:
    """2 GB in frames of 1 MB: all are read, a part is written."""
    if shutil.disk_usage(tmp_path).free < 2 << 30:
        pytest.skip("not enough space")
    source = native(tmp_path / "a.dcm", b"", attributes(1024, 1024, 8, 2000))
    with source.open("r+b") as file:
        file.seek(-4, os.SEEK_END)
        file.write((2000 << 20).to_bytes(4, "little"))
        file.truncate(file.tell() + (2000 << 20))
    command = [sys.executable, "-c", CHILD, str(source), str(tmp_path / "b.dcm"), syntax]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 200 << 10
    assert list(tmp_path.iterdir()) == [source]
    source.unlink()
