"""The DICOM JSON of whole data sets, straight from their bytes: the same as by way of the model."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.data import get_testdata_files

from dcmkit import uids
from dcmkit.dataset.elements import Element, encode
from dcmkit.dataset.json_header import THRESHOLD, bulk_path, is_bulk, json_of, json_of_file, slow_json
from dcmkit.dataset.json_model import to_json
from dcmkit.dataset.part10 import read_file_header
from dcmkit.dataset.raw import encoding_of, guess
from dcmkit.errors import DcmkitError, InputError, InvalidDataSetError
from dcmkit.pixels.image_file import ImageFile

EXPLICIT, IMPLICIT, BIG = (
    uids.EXPLICIT_VR_LITTLE_ENDIAN,
    uids.IMPLICIT_VR_LITTLE_ENDIAN,
    uids.EXPLICIT_VR_BIG_ENDIAN,
)
FILES = sorted(path for path in get_testdata_files() if Path(path).is_file())
PIXELS = ("7FE00008", "7FE00009", "7FE00010")


def read(text: bytes):
    assert text.count(b"\0") == text.count(b'"BulkDataURI":"\0/bulkdata/')
    return json.loads(text.replace(b"\0", b"@"))


def bulk(path, element):
    large = is_bulk(path[-1], element.vr, len(element.value))
    return f"@/bulkdata/{bulk_path(path)}" if large else ""


@pytest.mark.parametrize("path", FILES, ids=lambda path: Path(path).name)
def test_every_file_of_pydicom_is_as_the_model_has_it(path):
    try:
        with ImageFile(path) as image:
            header, model = image.header, to_json(image.data_set, bulk_data=bulk)
    except DcmkitError:
        try:
            with open(path, "rb") as file:
                header = read_file_header(file.fileno(), allow_bare=True)
        except DcmkitError:
            pytest.skip("no DICOM file")
        try:
            read(json_of_file(path, header.offset, header.transfer_syntax_uid))
        except DcmkitError:
            pass
        return
    found = read(json_of_file(path, header.offset, header.transfer_syntax_uid))
    assert found.pop("00083002")["Value"][0] == header.transfer_syntax_uid
    assert list(found) == sorted(found)
    for name in PIXELS:
        if name in found:
            assert "BulkDataURI" in found.pop(name)
    for name in ("7FE00001", "7FE00002"):  # offset tables, which an image file keeps to itself
        found.pop(name, None)
    model = {name: value for name, value in model.items() if name[:4] not in ("0000", "0002")}
    assert found == model


@pytest.mark.parametrize("path", FILES, ids=lambda path: Path(path).name)
def test_both_ways_are_one(path):
    try:
        with open(path, "rb") as file:
            header = read_file_header(file.fileno(), allow_bare=True)
    except DcmkitError:
        pytest.skip("no DICOM file")
    if header.transfer_syntax_uid == uids.DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
        pytest.skip("deflated")
    data = Path(path).read_bytes()
    encoding = guess(memoryview(data), header.offset, len(data), encoding_of(header.transfer_syntax_uid))
    try:
        slow = slow_json(data, header.offset, len(data), encoding, {})
    except InvalidDataSetError:
        slow = b""
    for _ in range(2):  # and out of what is remembered
        try:
            assert json_of(data, header.offset, len(data), header.transfer_syntax_uid) == slow
        except InvalidDataSetError:
            assert not slow


VALUES = {
    0x00080005: Element("CS", "ISO_IR 192"),
    0x00080008: Element("CS", "ORIGINAL\\PRIMARY\\\\AXIAL"),
    0x00081140: Element("SQ", [{0x00081150: Element("UI", "1.2"), 0x00091010: Element("OB", b"x" * 2000)}, {}]),
    0x00090010: Element("LO", "ACME"),
    0x00091001: Element("UN", b"\1\2"),
    0x00091002: Element("UN", b"\1\2" * 600),
    0x00100010: Element("PN", "Äneas^Ödön=漢字"),
    0x00100020: Element("LO", ""),
    0x00101030: Element("DS", "70.50\\1e3\\abc\\"),
    0x00200013: Element("IS", "007"),
    0x00280009: Element("AT", "00181063"),
    0x00280010: Element("US", "512"),
    0x00282000: Element("OB", b"icc"),
    0x00420011: Element("OB", b"%PDF"),
    0x00189087: Element("FD", "nan\\1.5\\-inf"),
    0x00400A160: Element("UT", 'a "b" \\ c\n'),
    0x60003000: Element("OW", b"\1\0"),
    0x7FE00010: Element("OW", b"\0\1"),
}


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG])
def test_values_of_all_kinds(syntax):
    data = encode(VALUES, syntax)
    found = read(json_of(data, 0, len(data), syntax))
    assert found["00080008"] == {"vr": "CS", "Value": ["ORIGINAL", "PRIMARY", None, "AXIAL"]}
    assert found["00081140"]["Value"][0]["00081150"] == {"vr": "UI", "Value": ["1.2"]}
    assert found["00081140"]["Value"][0]["00091010"]["BulkDataURI"] == "@/bulkdata/00081140/1/00091010"
    assert found["00081140"]["Value"][1] == {}
    assert found["00091001"] == {"vr": "UN", "InlineBinary": "AQI="}
    assert found["00091002"] == {"vr": "UN", "BulkDataURI": "@/bulkdata/00091002"}
    assert found["00100010"]["Value"] == [{"Alphabetic": "Äneas^Ödön", "Ideographic": "漢字"}]
    assert found["00100020"] == {"vr": "LO"}
    assert found["00101030"]["Value"] == [70.5, 1000, "abc", None]
    assert found["00200013"]["Value"] == [7]
    assert found["00280009"]["Value"] == ["00181063"]
    assert found["00280010"]["Value"] == [512]
    assert found["00189087"]["Value"] == ["NaN", 1.5, "-Infinity"]
    assert found["00420011"] == {"vr": "OB", "BulkDataURI": "@/bulkdata/00420011"}
    assert found["60003000"]["BulkDataURI"] == "@/bulkdata/60003000"
    assert found["7FE00010"] == {"vr": "OW", "BulkDataURI": "@/bulkdata/7FE00010"}


def test_values_up_to_the_threshold_are_inline():
    data = encode(
        {0x00091001: Element("OB", b"x" * THRESHOLD), 0x00091002: Element("OB", b"x" * (THRESHOLD + 2))}, EXPLICIT
    )
    found = read(json_of(data, 0, len(data), EXPLICIT))
    assert set(found["00091001"]) == {"vr", "InlineBinary"}
    assert set(found["00091002"]) == {"vr", "BulkDataURI"}


def test_text_cannot_look_like_a_place():
    text = '\0/bulkdata/ "BulkDataURI":"\0/bulkdata/'
    data = encode({0x00204000: Element("LT", f"a{text}b"), 0x00080005: Element("CS", "ISO_IR 192")}, EXPLICIT)
    encoded = json_of(data, 0, len(data), EXPLICIT)
    assert b"\0" not in encoded
    assert json.loads(encoded)["00204000"]["Value"] == [f"a{text}b"]


def test_a_character_set_counts_for_its_own_data_set_only():
    for charset, raw, text in (
        ("ISO_IR 100", b"\xc4", "Ä"),
        ("ISO_IR 144", b"\xc4", "Ф"),
        ("ISO_IR 100", b"\xc4", "Ä"),
    ):
        data = encode({0x00080005: Element("CS", charset)}, EXPLICIT) + b"\x10\0\x20\0LO\2\0" + raw + b" "
        assert read(json_of(data, 0, len(data), EXPLICIT))["00100020"]["Value"] == [text]


def test_a_character_set_of_a_wrong_vr():
    data = b"\x08\0\x05\0AS\x0a\0ISO_IR 100"
    for _ in range(2):
        assert read(json_of(data, 0, len(data), EXPLICIT))["00080005"] == {"vr": "CS", "Value": ["ISO_IR 100"]}


def test_group_0002_is_left_out():
    data = b"\2\0\x10\0UI\2\0" + b"1 " + b"\x10\0\x20\0LO\2\0X "
    assert read(json_of(data, 0, len(data), EXPLICIT)) == {"00100020": {"vr": "LO", "Value": ["X"]}}


def test_elements_behind_large_pixels_are_there(tmp_path):
    data = encode({0x00100020: Element("LO", "1"), 0x7FE00010: Element("OW", b"\0" * 100_000)}, EXPLICIT)
    path = tmp_path / "a.dcm"
    path.write_bytes(b"head" + data + b"\xe1\x7f\x10\0LO\2\0Z ")
    found = read(json_of_file(str(path), 4, EXPLICIT))
    assert found["7FE10010"]["Value"] == ["Z"]
    assert found["00083002"]["Value"] == [EXPLICIT]


def test_a_deflated_file(tmp_path):
    deflater = zlib.compressobj(wbits=-15)
    content = deflater.compress(encode(VALUES, EXPLICIT)) + deflater.flush()
    path = tmp_path / "a.dcm"
    path.write_bytes(b"head" + content)
    found = read(json_of_file(str(path), 4, uids.DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN))
    assert found["00280010"]["Value"] == [512]


def test_fragments_of_pixels(tmp_path):
    data = encode({0x00100020: Element("LO", "1")}, EXPLICIT)
    data += (
        b"\xe0\x7f\x10\0OB\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\0\0\0\0\xfe\xff\0\xe0\2\0\0\0ab\xfe\xff\xdd\xe0\0\0\0\0"
    )
    path = tmp_path / "a.dcm"
    path.write_bytes(data)
    assert read(json_of_file(str(path), 0, "1.2.840.10008.1.2.4.50"))["7FE00010"]["BulkDataURI"]
    for cut in range(len(data) - 1, 20, -1):
        path.write_bytes(data[:cut])
        with pytest.raises(InvalidDataSetError):
            json_of_file(str(path), 0, "1.2.840.10008.1.2.4.50")


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError):
        json_of_file(str(tmp_path / "none"), 0, EXPLICIT)
    (tmp_path / "short").write_bytes(b"ab")
    with pytest.raises(DcmkitError):
        json_of_file(str(tmp_path / "short"), 132, EXPLICIT)
    with pytest.raises(InvalidDataSetError):
        json_of_file(str(tmp_path / "short"), 0, uids.DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN)


@given(st.binary(max_size=200), st.sampled_from([EXPLICIT, IMPLICIT, BIG]))
def test_anything_is_json_or_the_documented_error(data, syntax):
    try:
        read(json_of(data, 0, len(data), syntax))
    except InvalidDataSetError:
        pass
