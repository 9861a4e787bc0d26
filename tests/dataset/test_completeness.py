"""A file's data set is followed to its end, and no further than needed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydicom.data import get_testdata_file

from dcmkit.dataset import completeness
from dcmkit.dataset.completeness import require_complete
from dcmkit.dataset.part10 import FileHeader, file_meta, read_file_header
from dcmkit.errors import InvalidDataSetError
from tests.archive.objects import CT, EXPLICIT, image

JPEG_2000 = "1.2.840.10008.1.2.4.90"


def fragments(*values: bytes) -> bytes:
    item = b"\xfe\xff\x00\xe0"
    body = b"".join(item + len(value).to_bytes(4, "little") + value for value in values)
    return b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff" + body + b"\xfe\xff\xdd\xe0\0\0\0\0"


def check(path: Path, first: int) -> None:
    """Check with only the first bytes of the data set at hand."""
    header = read_file_header(path)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        data = os.pread(descriptor, min(first, header.length), header.offset)
        require_complete(descriptor, header, data)
    finally:
        os.close(descriptor)


def write(path: Path, data_set: bytes, syntax: str = EXPLICIT) -> Path:
    path.write_bytes(file_meta(CT, "1.2.3", syntax) + data_set)
    return path


@pytest.mark.parametrize("first", [0, 10, 300, 1 << 20])
def test_whole_files_pass_however_little_was_read(tmp_path: Path, first: int) -> None:
    check(write(tmp_path / "native", image(pixels=bytes(100_000))), first)
    encapsulated = image().partition(b"\xe0\x7f\x10\x00")[0] + fragments(b"", bytes(50_000), bytes(9_998))
    check(write(tmp_path / "encapsulated", encapsulated, JPEG_2000), first)


@pytest.mark.parametrize("missing", [1, 7, 50_000])
@pytest.mark.parametrize("first", [300, 1 << 20])
def test_truncated_files_do_not(tmp_path: Path, missing: int, first: int) -> None:
    with pytest.raises(InvalidDataSetError):
        check(write(tmp_path / "native", image(pixels=bytes(100_000))[:-missing]), first)
    encapsulated = image().partition(b"\xe0\x7f\x10\x00")[0] + fragments(b"", bytes(100_000))
    with pytest.raises(InvalidDataSetError):
        check(write(tmp_path / "encapsulated", encapsulated[:-missing], JPEG_2000), first)


def test_pixels_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "big", image(pixels=bytes(10_000_000)))
    read: list[int] = []
    real = completeness.read_at

    def read_at(descriptor: int, count: int, offset: int) -> bytes:
        read.append(count)
        return real(descriptor, count, offset)

    monkeypatch.setattr(completeness, "read_at", read_at)
    check(path, 4096)
    assert sum(read) < 10_000


def test_an_empty_data_set_is_none(tmp_path: Path) -> None:
    path = write(tmp_path / "empty", b"")
    header = FileHeader(CT, "1.2.3", EXPLICIT, path.stat().st_size, 0)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with pytest.raises(InvalidDataSetError, match="empty"):
            require_complete(descriptor, header, b"")
    finally:
        os.close(descriptor)


@pytest.mark.parametrize(
    "name",
    [
        "CT_small.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm", "MR_small_RLE.dcm", "JPEG2000.dcm",
        "SC_rgb_rle_2frame.dcm", "image_dfl.dcm", "reportsi.dcm", "rtplan.dcm", "waveform_ecg.dcm",
    ],
)  # fmt: skip
def test_real_files_are_whole_and_no_beginning_of_them_is(tmp_path: Path, name: str) -> None:
    source = Path(str(get_testdata_file(name, download=False)))
    check(source, 4096)
    header = read_file_header(source)
    content = source.read_bytes()
    cut = tmp_path / name
    for length in (len(content) - 20, header.offset + header.length // 2, header.offset + 3):
        cut.write_bytes(content[:length])
        with pytest.raises(InvalidDataSetError):
            check(cut, 4096)


def test_a_file_that_becomes_shorter_while_it_is_followed(tmp_path: Path) -> None:
    path = write(tmp_path / "shrinking", image(pixels=bytes(100_000)))
    header = read_file_header(path)
    os.truncate(path, header.offset + 50)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with pytest.raises(InvalidDataSetError, match="shorter than it was"):
            require_complete(descriptor, header, b"")
    finally:
        os.close(descriptor)
