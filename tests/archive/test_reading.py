"""Records from files on disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dcmkit.archive.attributes import INSTANCE, PATIENT, WANTED
from dcmkit.archive.reading import read_record
from dcmkit.errors import InputError, InvalidDataSetError
from tests.archive.objects import CT, EXPLICIT, image, part10
from tests.dataset.encoding import SYNTAXES, fragments, header
from tests.interop.samples import sources


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_file_gives_what_receiving_it_gave(tmp_path: Path, syntax: str):
    path = tmp_path / "file"
    path.write_bytes(part10("1.2.3", syntax=syntax, pixels=bytes(200000)))
    record = read_record(str(path), WANTED)
    assert (record.sop_class_uid, record.sop_instance_uid, record.transfer_syntax_uid) == (CT, "1.2.3", syntax)
    assert record.size == path.stat().st_size
    assert record.mtime_ns == path.stat().st_mtime_ns
    assert record.columns(PATIENT)[2] == "Doe^Jane"
    assert "ORIGINAL\\PRIMARY" in record.columns(INSTANCE)


def test_the_pixels_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "file"
    data = image(without=[0x7FE00010]) + header(0x7FE00010, "OW", 1 << 30, EXPLICIT)
    path.write_bytes(part10("1.2.3", data))
    os.truncate(path, path.stat().st_size + (1 << 30))
    read = 0
    real = os.pread

    def pread(fd: int, count: int, offset: int) -> bytes:
        nonlocal read
        found = real(fd, count, offset)
        read += len(found)
        return found

    monkeypatch.setattr(os, "pread", pread)
    assert read_record(str(path), WANTED).sop_instance_uid == "1.2.3"
    assert read < 100000


def test_a_long_header_is_read_to_its_end(tmp_path: Path):
    path = tmp_path / "file"
    path.write_bytes(part10("1.2.3", image(more=[(0x00091010, "OB", bytes(300000))])))
    assert read_record(str(path), WANTED).columns(INSTANCE)[2] == 1


def test_encapsulated_pixel_data_ends_the_reading(tmp_path: Path):
    path = tmp_path / "file"
    path.write_bytes(part10("1.2.3", image(without=[0x7FE00010]) + fragments(bytes(50000), ended=False)))
    assert read_record(str(path), WANTED).sop_instance_uid == "1.2.3"


@pytest.mark.parametrize("content", [b"", b"text", part10("1.2.3", b""), part10("1.2.3", image()[:-20])])
def test_what_cannot_be_indexed(tmp_path: Path, content: bytes):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(InvalidDataSetError):
        read_record(str(path), WANTED)


def test_a_broken_data_set_is_taken_leniently(tmp_path: Path):
    path = tmp_path / "file"
    path.write_bytes(part10("1.2.3", image()[:-20]))
    assert read_record(str(path), WANTED, lenient=True).columns(PATIENT)[2] == "Doe^Jane"


def test_uids_of_the_data_set_go_before_those_of_the_meta_information(tmp_path: Path):
    path = tmp_path / "file"
    path.write_bytes(part10("1.2.9", image("1.2.3")))
    assert read_record(str(path), WANTED).sop_instance_uid == "1.2.3"


def test_no_uid_anywhere(tmp_path: Path):
    path = tmp_path / "file"
    path.write_bytes(part10("", image(without=[0x00080018])))
    with pytest.raises(InvalidDataSetError, match="no SOP Instance UID"):
        read_record(str(path), WANTED)


def test_unreadable(tmp_path: Path):
    for path in (tmp_path, tmp_path / "none", "a\0b"):
        with pytest.raises(InputError):
            read_record(str(path), WANTED)


def test_every_sample_has_a_record_or_a_reason():
    taken = 0
    for path in sources():
        try:
            record = read_record(str(path), WANTED)
        except InputError:
            continue
        for level in ("patient", "study", "series", "instance"):
            record.columns(level)
        taken += 1
    assert taken > 100
