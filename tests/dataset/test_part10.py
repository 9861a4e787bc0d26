"""DICOM files: where the data set lies, whatever surrounds it; and what is no DICOM file."""

from __future__ import annotations

import io
import os
import struct
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcmkit import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dcmkit.dataset import part10
from dcmkit.dataset.part10 import BLOCK, FileHeader, clean_uid, file_meta, read_at, read_file_header
from dcmkit.errors import DcmkitError, InputError, InvalidDataSetError
from dcmkit.uids import (
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
)
from tests.dataset.encoding import SYNTAXES, Element, encode, header

CT = "1.2.840.10008.5.1.4.1.1.2"
UID = "1.2.3.4"
PARTS: list[Element] = [
    (0x00080005, "CS", b"ISO_IR 100"),
    (0x00080016, "UI", CT.encode()),
    (0x00080018, "UI", UID.encode()),
    (0x00100010, "PN", b"Doe^Jane"),
]
DATA = encode(PARTS)


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file.dcm"


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_a_file_as_we_write_it(path: Path, syntax: str):
    meta = file_meta(CT, UID, syntax, source_ae_title="SENDER")
    data = encode(PARTS, syntax)
    write(path, meta + data)
    assert read_file_header(path) == FileHeader(CT, UID, syntax, len(meta), len(data), "SENDER")
    with path.open("rb") as file:
        assert read_file_header(file.fileno()).offset == len(meta)


@pytest.mark.parametrize("uid", ["1.2.3", "1.2.34"])
@pytest.mark.parametrize("source", ["", "AE", "A TITLE OF 16 CHR"])
def test_pydicom_reads_the_meta_information_we_write(uid: str, source: str):
    import pydicom

    meta = file_meta(CT, uid, EXPLICIT_VR_LITTLE_ENDIAN, source_ae_title=source)
    found = pydicom.dcmread(io.BytesIO(meta + DATA)).file_meta
    assert found.MediaStorageSOPClassUID == CT
    assert found.MediaStorageSOPInstanceUID == uid
    assert found.TransferSyntaxUID == EXPLICIT_VR_LITTLE_ENDIAN
    assert found.ImplementationClassUID == IMPLEMENTATION_CLASS_UID
    assert found.ImplementationVersionName == IMPLEMENTATION_VERSION_NAME
    assert found.FileMetaInformationGroupLength == len(meta) - 144
    assert found.FileMetaInformationVersion == b"\0\1"
    assert found.get("SourceApplicationEntityTitle", "") == source[:16]


def test_meta_information_is_made_quickly():
    file_meta(CT, UID, EXPLICIT_VR_LITTLE_ENDIAN)
    started = time.process_time()
    for number in range(2000):
        file_meta(CT, f"1.2.3.{number}", EXPLICIT_VR_LITTLE_ENDIAN)
    assert (time.process_time() - started) / 2000 < 50e-6  # about 1e-6 on an idle machine


def test_no_preamble(path: Path):
    content = file_meta(CT, UID, EXPLICIT_VR_LITTLE_ENDIAN)[128:] + DATA
    found = read_file_header(write(path, content))
    assert (found.sop_instance_uid, found.length) == (UID, len(DATA))


def test_a_preamble_of_something_else(path: Path):
    """A TIFF header in the preamble (PS3.10 7.1)."""
    content = b"II*\0" + os.urandom(124) + file_meta(CT, UID, EXPLICIT_VR_LITTLE_ENDIAN)[128:] + DATA
    assert read_file_header(write(path, content)).length == len(DATA)


@pytest.mark.parametrize("length", [0, 1, 4711, 0xFFFFFFFF])
def test_a_wrong_group_length(path: Path, length: int):
    content = bytearray(file_meta(CT, UID, EXPLICIT_VR_LITTLE_ENDIAN) + DATA)
    struct.pack_into("<L", content, 140, length)
    assert read_file_header(write(path, bytes(content))).length == len(DATA)


def test_no_group_length(path: Path):
    meta = file_meta(CT, UID, EXPLICIT_VR_LITTLE_ENDIAN)
    found = read_file_header(write(path, meta[:132] + meta[144:] + DATA))
    assert (found.sop_class_uid, found.length) == (CT, len(DATA))


def test_meta_information_in_implicit_vr(path: Path):
    meta = encode(
        [(0x00020002, "UI", CT.encode()), (0x00020003, "UI", UID.encode()), (0x00020010, "UI", b"1.2.840.10008.1.2")],
        IMPLICIT_VR_LITTLE_ENDIAN,
    )
    data = encode(PARTS, IMPLICIT_VR_LITTLE_ENDIAN)
    found = read_file_header(write(path, bytes(128) + b"DICM" + meta + data))
    assert found == FileHeader(CT, UID, IMPLICIT_VR_LITTLE_ENDIAN, 132 + len(meta), len(data))


def test_meta_information_longer_than_a_block(path: Path):
    private = encode([(0x00020100, "UI", b"1.2"), (0x00020102, "OB", bytes(5 * BLOCK))])
    meta = file_meta(CT, UID, EXPLICIT_VR_LITTLE_ENDIAN) + private
    assert read_file_header(write(path, meta + DATA)) == FileHeader(
        CT, UID, EXPLICIT_VR_LITTLE_ENDIAN, len(meta), len(DATA)
    )


@pytest.mark.parametrize("syntax", SYNTAXES[:3])
def test_no_uids_and_no_transfer_syntax_in_the_meta_information(path: Path, syntax: str):
    data = encode(PARTS, syntax)
    content = bytes(128) + b"DICM" + encode([(0x00020001, "OB", b"\0\1")]) + data
    found = read_file_header(write(path, content))
    assert found[:3] == (CT, UID, syntax)
    assert found.length == len(data)


def test_uids_of_the_data_set_are_told_where_the_meta_information_has_others(path: Path):
    content = file_meta(CT, "1.9.9", EXPLICIT_VR_LITTLE_ENDIAN) + DATA
    assert read_file_header(write(path, content)).sop_instance_uid == UID


@pytest.mark.parametrize("syntax", SYNTAXES[:3])
def test_a_bare_data_set_is_taken_when_asked_for(path: Path, syntax: str):
    data = encode(PARTS, syntax)
    write(path, data)
    with pytest.raises(InvalidDataSetError, match="not a DICOM file"):
        read_file_header(path)
    assert read_file_header(path, allow_bare=True) == FileHeader(CT, UID, syntax, 0, len(data))


def test_bare_files_of_pydicom():
    from pydicom.data import get_testdata_file

    for name in ("ExplVR_BigEndNoMeta.dcm", "ExplVR_LitEndNoMeta.dcm"):
        found = read_file_header(str(get_testdata_file(name, download=False)), allow_bare=True)
        assert found.offset == 0
        assert (found.transfer_syntax_uid == EXPLICIT_VR_BIG_ENDIAN) == ("BigEnd" in name)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0",
        b"hello world, this is no DICOM file" * 10,
        os.urandom(64) + bytes(500),
        bytes(1000),
        b"\x1f\x8b" * 99,
    ],
    ids=["empty", "one byte", "text", "random", "zeros", "gzip"],
)
def test_what_is_not_dicom(path: Path, content: bytes):
    write(path, content)
    with pytest.raises(InvalidDataSetError):
        read_file_header(path)


@pytest.mark.parametrize("content", [b"", b"text, and more text", bytes(1000), b"%PDF-1.4 and so on"])
def test_what_is_not_even_a_bare_data_set(path: Path, content: bytes):
    write(path, content)
    with pytest.raises(InvalidDataSetError):
        read_file_header(path, allow_bare=True)


@pytest.mark.parametrize("kept", [133, 136, 140, 143, 150, 155, 200, 300])
def test_truncated_meta_information(path: Path, kept: int):
    meta = file_meta(CT, UID, EXPLICIT_VR_LITTLE_ENDIAN, source_ae_title="A")
    assert kept < len(meta)
    write(path, meta[:kept])
    with pytest.raises(InvalidDataSetError):
        read_file_header(path)


def test_meta_information_and_nothing_else(path: Path):
    assert read_file_header(write(path, file_meta(CT, UID, EXPLICIT_VR_LITTLE_ENDIAN))).length == 0


def test_meta_information_that_never_ends(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(part10, "META_LIMIT", 1 << 16)
    one = header(0x00020102, "OB", 1000, EXPLICIT_VR_LITTLE_ENDIAN) + bytes(1000)
    write(path, bytes(128) + b"DICM" + one * 200)
    with pytest.raises(InvalidDataSetError, match="meta information"):
        read_file_header(path)


def test_unreadable(tmp_path: Path):
    with pytest.raises(InputError, match="No such file"):
        read_file_header(tmp_path / "none")
    with pytest.raises(InputError, match="directory"):
        read_file_header(tmp_path)
    with pytest.raises(InputError):
        read_file_header("nul\0byte")


def test_reading_without_pread(path: Path, monkeypatch: pytest.MonkeyPatch):
    write(path, file_meta(CT, UID, EXPLICIT_VR_LITTLE_ENDIAN) + DATA)
    monkeypatch.delattr(os, "pread")
    assert read_file_header(path).sop_instance_uid == UID
    with path.open("rb") as file:
        assert read_at(file.fileno(), 4, 128) == b"DICM"


@given(st.binary(max_size=400), st.booleans())
def test_any_bytes_give_a_header_or_the_documented_error(content: bytes, allow_bare: bool):
    for prefix in (b"", b"DICM", bytes(128) + b"DICM"):
        block = prefix + content
        reader, writer = os.pipe()
        try:
            part10.parse_file_header(block, reader, len(block), allow_bare=allow_bare)
        except DcmkitError:
            pass
        finally:
            os.close(reader)
            os.close(writer)


def test_pydicom_is_not_needed():
    import subprocess
    import sys

    code = (
        "import sys, dcmkit.dataset.part10, dcmkit.archive.store\n"
        "print([m for m in ('pydicom', 'numpy', 'click') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_uids_lose_their_padding_only():
    assert clean_uid(b"1.2.3\0") == "1.2.3"
    assert clean_uid(b" 1.2.3 \0") == "1.2.3"
    assert clean_uid(b"../\xff") == "../\ufffd"
