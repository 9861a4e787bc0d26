"""Elements by their path."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.data import get_testdata_files

from dcmkit import uids
from dcmkit.dataset.element_path import bulk_elements, find, parse_path
from dcmkit.dataset.elements import Element, encode
from dcmkit.dataset.json_header import bulk_path, json_of
from dcmkit.dataset.part10 import read_file_header
from dcmkit.dataset.raw import BIG_ENDIAN, EXPLICIT, IMPLICIT, encoding_of, guess
from dcmkit.errors import DcmkitError, InvalidDataSetError

SYNTAXES = {
    uids.EXPLICIT_VR_LITTLE_ENDIAN: EXPLICIT,
    uids.IMPLICIT_VR_LITTLE_ENDIAN: IMPLICIT,
    uids.EXPLICIT_VR_BIG_ENDIAN: BIG_ENDIAN,
}
WAVE = {0x54001010: Element("OW", b"\1\2\3\4")}
DATA = {
    0x00100010: Element("PN", "A"),
    0x54000100: Element("SQ", [{}, WAVE]),
    0x7FE00010: Element("OW", b"\0\1"),
}
FILES = sorted(path for path in get_testdata_files() if Path(path).is_file())


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_found_by_path(syntax: str) -> None:
    data = encode(DATA, syntax)
    encoding = SYNTAXES[syntax]
    found = find(data, 0, len(data), encoding, (0x54000100, 1, 0x54001010))
    assert found is not None
    assert data[found.element.value_start : found.element.end] == b"\1\2\3\4"
    assert found.encoding == encoding
    for path in ((0x54000100,), (0x54000100, 0, 0x54001010), (0x54000100, 9, 0x54001010), (0x00100010, 0, 0x00100010),
                 (0x00100020,)):  # fmt: skip
        assert find(data, 0, len(data), encoding, path) is None
    assert [one.path for one in bulk_elements(data, 0, len(data), encoding)] == [
        (0x54000100, 1, 0x54001010),
        (0x7FE00010,),
    ]


def test_paths_as_text() -> None:
    path = 0x54000100, 1, 0x54001010
    assert bulk_path(path) == "54000100/2/54001010"
    assert parse_path("54000100/2/54001010") == path
    assert parse_path("7fe00010") == (0x7FE00010,)
    for text in ("", "PixelData", "7FE00010/1", "54000100/0/54001010", "../7FE00010", "7FE00010/", "1/" * 1000 + "2"):
        assert parse_path(text) is None


def uris(model: object) -> set[str]:
    if isinstance(model, dict):
        own = {str(model["BulkDataURI"]).removeprefix("@/bulkdata/")} if "BulkDataURI" in model else set()
        return own.union(*(uris(value) for value in model.values()))
    return set().union(*(uris(value) for value in model)) if isinstance(model, list) else set()


@pytest.mark.parametrize("path", FILES, ids=lambda path: Path(path).name)
def test_what_has_a_uri_is_found(path: str) -> None:
    try:
        with open(path, "rb") as file:
            header = read_file_header(file.fileno(), allow_bare=True)
        data = Path(path).read_bytes()
        text = json_of(data, header.offset, len(data), header.transfer_syntax_uid)
    except DcmkitError:
        pytest.skip("cannot be read")
    encoding = guess(memoryview(data), header.offset, len(data), encoding_of(header.transfer_syntax_uid))
    expected = uris(json.loads(text.replace(b"\0", b"@")))
    found = list(bulk_elements(data, header.offset, len(data), encoding))
    assert {bulk_path(one.path) for one in found} == expected
    for one in found:
        assert find(data, header.offset, len(data), encoding, one.path) == one


@given(st.binary(max_size=120), st.sampled_from(list(SYNTAXES.values())))
def test_anything_is_followed_or_refused(data, encoding) -> None:
    try:
        for one in bulk_elements(data, 0, len(data), encoding):
            assert one.in_fragments or one.element.end <= len(data)
    except InvalidDataSetError:
        pass
