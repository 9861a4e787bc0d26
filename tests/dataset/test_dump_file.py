"""Files opened to be looked at."""

from __future__ import annotations

import zlib

import pytest
from pydicom.data import get_testdata_file

from dcmkit.dataset import dump_file
from dcmkit.dataset.dump_file import DumpFile, Reading
from dcmkit.dataset.part10 import file_meta
from dcmkit.errors import InputError, InvalidDataSetError
from dcmkit.uids import EXPLICIT_VR_BIG_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN

DEFLATED = "1.2.840.10008.1.2.1.99"
NAME = b"\x10\0\x10\0PN\4\0A^B "


def written(tmp_path, data: bytes) -> str:
    path = tmp_path / "file.dcm"
    path.write_bytes(data)
    return str(path)


@pytest.mark.parametrize(
    ("name", "syntax", "meta"),
    [
        ("CT_small.dcm", EXPLICIT_VR_LITTLE_ENDIAN, 8),
        ("MR_small_implicit.dcm", IMPLICIT_VR_LITTLE_ENDIAN, 8),
        ("ExplVR_BigEndNoMeta.dcm", EXPLICIT_VR_BIG_ENDIAN, 0),
        ("ExplVR_LitEndNoMeta.dcm", EXPLICIT_VR_LITTLE_ENDIAN, 0),
        ("image_dfl.dcm", DEFLATED, 8),
    ],
)
def test_file_meta_and_syntax(name, syntax, meta):
    with DumpFile(get_testdata_file(name)) as file:
        assert file.transfer_syntax_uid == syntax
        assert len(file.meta) == meta
        assert not file.errors
        assert len(file.nodes) > 10


@pytest.mark.parametrize("data", [b"", b"root:x:0:0:root:/root:/bin/sh\n", b"\x89PNG\r\n\x1a\n" * 40])
def test_what_is_no_dicom_is_told(tmp_path, data):
    with pytest.raises(InvalidDataSetError):
        DumpFile(written(tmp_path, data))


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        DumpFile(str(tmp_path / "none"))


def test_files_without_meta_can_be_refused(tmp_path):
    path = written(tmp_path, NAME)
    with DumpFile(path) as file:
        assert [node.tag for node in file.nodes] == [0x00100010]
    with pytest.raises(InvalidDataSetError, match="not a DICOM file"):
        DumpFile(path, Reading(bare=False))


def test_a_data_set_in_the_other_vr_encoding_is_read_and_told(tmp_path):
    with DumpFile(written(tmp_path, file_meta("1.2", "1.3", IMPLICIT_VR_LITTLE_ENDIAN) + NAME)) as file:
        assert file.nodes[0].vr == "PN"
        assert "against its file meta" in file.warnings[0]


def test_a_bomb_is_inflated_to_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(dump_file, "INFLATED_LIMIT", 1 << 20)
    deflater = zlib.compressobj(wbits=-15)
    packed = deflater.compress(NAME + b"\x10\0\x20\0UN\0\0\0\0\0\4" + b"\0" * (64 << 20)) + deflater.flush()
    with DumpFile(written(tmp_path, file_meta("1.2", "1.3", DEFLATED) + packed)) as file:
        assert "longer than" in str(file.errors[0])
        assert file.nodes[0].tag == 0x00100010
        assert len(file.data) <= 1 << 20


def test_damaged_deflation_keeps_what_is_before_it(tmp_path):
    packed = b"\0\1\2\3garbage"
    with DumpFile(written(tmp_path, file_meta("1.2", "1.3", DEFLATED) + packed)) as file:
        assert "deflated data set is damaged" in str(file.errors[0])
