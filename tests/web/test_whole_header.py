"""Headers of objects, whole or those of a level."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dcmkit.archive.located import locate
from dcmkit.errors import DcmkitError
from dcmkit.uids import DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from dcmkit.web.whole_header import WholeHeaders, read_header, wanted
from tests.archive.objects import EXPLICIT, archive_in, put, visible


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT_VR_LITTLE_ENDIAN, DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN])
def test_a_header_without_bulk_data(tmp_path: Path, syntax: str):
    with archive_in(tmp_path) as archive:
        put(archive, syntax=syntax, more=[(0x00091001, "UN", bytes(2000))])
        archive.flush()
        (located,) = locate(archive, instance="1.2.3")
        found = json.loads(read_header(located, "http://a/b"))
        assert found["00100010"]["Value"] == [{"Alphabetic": "Doe^Jane"}]
        place = "http://a/b/studies/1.2.3.1/series/1.2.3.2/instances/1.2.3/bulkdata/"
        assert found["7FE00010"]["BulkDataURI"] == place + "7FE00010"
        assert found["00091001"]["BulkDataURI"] == place + "00091001"


def test_what_belongs_to_a_level(tmp_path: Path):
    row = {"0020000D": {"vr": "UI", "Value": ["1.2.3.1"]}, "0020000E": {"vr": "UI", "Value": ["1.2.3.2"]}}
    with archive_in(tmp_path) as archive:
        put(archive)
        archive.flush()
        headers = WholeHeaders(archive)
        assert "00081030" in headers.read(row, "study", "", wanted("study", True))
        assert "00080060" not in headers.read(row, "study", "", wanted("study", True))
        assert "00080060" in headers.read(row, "series", "", wanted("series", True))
        assert "00280010" not in headers.read(row, "series", "", wanted("series", True))
        assert headers.read({"0020000D": {"vr": "UI", "Value": ["9"]}}, "study", "", None) == {}
        for name in visible(tmp_path):
            (tmp_path / name).unlink()
        with pytest.raises(DcmkitError):
            headers.read(row, "series", "", wanted("series", True))


def test_who_knows_is_asked(tmp_path: Path):
    row = {name: {"vr": "UI", "Value": [uid]} for name, uid in
           (("0020000D", "1.2.3.1"), ("0020000E", "1.2.3.2"), ("00080018", "1.2.3"))}  # fmt: skip
    with archive_in(tmp_path) as archive:
        put(archive)
        archive.flush()
        headers = WholeHeaders(archive, lambda one, base_url: json.dumps({"of": one.instance, "at": base_url}).encode())
        assert headers.read(row, "instance", "http://a", None) == {"of": "1.2.3", "at": "http://a"}


def test_what_is_wanted_of_a_level():
    assert wanted("instance", True) is None
    assert wanted("instance", False) == wanted("patient", False, {0x00180050}) == frozenset()
    assert wanted("instance", False, {0x00180050, 0x00091001}) == {"00180050", "00091001", "00090010"}
    assert wanted("study", False, {0x00080060, 0x00101040}) == {"00101040"}  # Modality is of series
