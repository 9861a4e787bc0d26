"""Bulk data left out, everything else byte for byte."""

from __future__ import annotations

import os

import pytest

from dcmkit.dataset.bulk_data import stripped, without_bulk_data
from dcmkit.dataset.part10 import file_meta, read_file_header
from dcmkit.errors import DcmkitError, InputError, InvalidDataSetError
from dcmkit.uids import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
)
from tests.dataset.encoding import SYNTAXES, Items, encode

JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
KEPT = [
    (0x00080018, "UI", b"1.2.3"),
    (0x00080100, "SH", b"code"),
    (0x00100010, "PN", b"Doe^Jane"),
]
ICON = (0x00880200, "SQ", Items([[(0x00280010, "US", b"\1\0"), (0x7FE00010, "OW", b"icon")]]))
BULK = [
    (0x00287FE0, "UR", b"https://example.org"),
    (0x50003000, "OW", b"curve"),
    (0x5000200C, "OW", b"sound"),
    (0x56000020, "OF", b"\0" * 8),
    (0x60023000, "OW", b"overlay!"),
    (0x7FE00008, "OF", b"\0" * 8),
    (0x7FE00010, "OW", b"pixels"),
]
PADDING = (0xFFFCFFFC, "OB", b"\0\0")


@pytest.mark.parametrize("syntax", [uid for uid in SYNTAXES if uid != DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN])
@pytest.mark.parametrize("defined", [True, False])
def test_bulk_data_goes_and_all_else_stays(syntax, defined):
    icon = (ICON[0], ICON[1], Items(ICON[2], defined=defined))
    elements = sorted([*KEPT, icon, *BULK, PADDING])
    assert stripped(encode(elements, syntax), syntax) == encode([*KEPT, icon], syntax)
    assert stripped(encode(KEPT, syntax), syntax) == encode(KEPT, syntax)


@pytest.mark.parametrize("syntax", [uid for uid in SYNTAXES if uid != DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN])
def test_waveforms_lose_their_data_only(syntax):
    group = [(0x003A0005, "US", b"\2\0"), (0x54001010, "OW", b"wave")]
    for defined in (True, False):
        elements = [*KEPT, (0x54000100, "SQ", Items([group, group], defined=defined))]
        expected = [*KEPT, (0x54000100, "SQ", Items([group[:1], group[:1]], defined=True))]
        assert stripped(encode(elements, syntax), syntax) == encode(expected, syntax)


@pytest.mark.parametrize(
    ("syntax", "becomes"),
    [
        (EXPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN),
        (DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN),
        (JPEG_BASELINE, EXPLICIT_VR_LITTLE_ENDIAN),
    ],
)
@pytest.mark.parametrize("size", [10, 300_000])
def test_files(tmp_path, syntax, becomes, size):
    kept = [*KEPT, (0x54000110, "OW", b"k" * size)]
    path = str(tmp_path / "a.dcm")
    with open(path, "wb") as file:
        file.write(file_meta("1.2", "1.2.3", syntax) + encode([*kept, BULK[-1]], syntax))
    assert without_bulk_data(path, read_file_header(path)) == (encode(kept, EXPLICIT_VR_LITTLE_ENDIAN), becomes)


@pytest.mark.parametrize("syntax", SYNTAXES[:3])
def test_any_cut_or_garbage_is_told(syntax):
    data = encode([*KEPT, ICON, (0x54000100, "SQ", Items([[(0x54001010, "OW", b"wave")]]))], syntax)
    for cut in range(len(data)):
        try:
            stripped(data[:cut], syntax)
        except InvalidDataSetError:
            pass
    for _ in range(300):
        try:
            stripped(os.urandom(64), syntax)
        except InvalidDataSetError:
            pass


def test_nesting_is_bounded_and_missing_files_are_told(tmp_path):
    nested = b"\x08\x00\x11\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff" * 2000
    with pytest.raises(InvalidDataSetError):
        stripped(nested, EXPLICIT_VR_LITTLE_ENDIAN)
    path = tmp_path / "a.dcm"
    path.write_bytes(file_meta("1.2", "1.2.3", DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN) + b"\xff\xff\xff\xff")
    header = read_file_header(str(path))
    with pytest.raises(DcmkitError):
        without_bulk_data(str(path), header)
    with pytest.raises(InputError):
        without_bulk_data(str(tmp_path / "none"), header)
