"""Frames, images and metadata as files. The command: tests/cli/commands/test_wado.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given

from dcmkit.errors import DcmkitError, ProtocolError
from dcmkit.services.retrieve_scu import Arrival
from dcmkit.web.http_client import HttpClient, Options
from dcmkit.web.repeating import Asker, Patience
from dcmkit.web.wado_files import FileFetcher, What, bulk_uris
from dcmkit.web.wado_targets import Target
from tests.web.dicomweb_peer import multipart
from tests.web.http_peer import Reply, peer
from tests.web.test_qido_client import ANY_JSON

CUT = multipart([b"1"], "image/jls")._replace(body=b"--b0undary\r\nContent-Type: image/jls\r\n\r\nabc")
TARGET = Target("1.2", "1.2.3", "1.2.3.4")


def fetched(reply: Reply, directory: Path, what: What) -> tuple[list[str], str]:
    arrivals: list[Arrival] = []
    error = ""
    with peer([reply]) as server, HttpClient(server.url, options=Options(proxy="")) as client:
        try:
            FileFetcher(Asker(client, Patience(0)), "", str(directory), what).fetch(TARGET, arrivals.append)
        except DcmkitError as failure:
            error = str(failure)
    found = sorted(path.name for path in directory.iterdir())
    assert len(arrivals) == (1 if found else 0)
    return found, error


@pytest.mark.parametrize(
    ("what", "reply", "found"),
    [
        (What("rendered"), Reply(200, b"x", (("Content-Type", "image/png"),)), ["1.2.3.4.png"]),
        (What("rendered"), multipart([b"1", b"2"], "image/jpeg"), ["1.2.3.4.0001.jpg", "1.2.3.4.0002.jpg"]),
        (What("rendered"), Reply(200, b"x", (("Content-Type", "video/mp4"),)), ["1.2.3.4.mp4"]),
        (What("frames", (7,)), multipart([b"1"], "image/jls"), ["1.2.3.4.0007.jls"]),
        (What("frames", (2, 5)), multipart([b"1", b"2"], "image/jp2"), ["1.2.3.4.0002.jp2", "1.2.3.4.0005.jp2"]),
        (What("thumbnail"), Reply(200, b"x", (("Content-Type", "image/jpeg"),)), ["1.2.3.4.thumbnail.jpg"]),
        (What("metadata"), Reply(200, b"[]", (("Content-Type", "application/dicom+json"),)), ["1.2.3.4.json"]),
    ],
)
def test_names(tmp_path: Path, what: What, reply: Reply, found: list[str]) -> None:
    assert fetched(reply, tmp_path, what) == (found, "")


@pytest.mark.parametrize(
    ("what", "reply"),
    [
        (What("rendered"), Reply(200, b"{}", (("Content-Type", "application/json"),))),
        (What("rendered"), Reply(204)),
        (What("metadata"), Reply(200, b"<html>", (("Content-Type", "text/html"),))),
        (What("frames", (1, 2)), multipart([b"1"], "image/jls")),
        (What("frames", (1,)), CUT),
        (What("frames", (1,)), Reply(200, b"1", (("Content-Type", "multipart/related"),))),
        (What("zip"), Reply(404)),
    ],
)  # fmt: skip
def test_nothing_is_left_of_what_is_not_all_there(tmp_path: Path, what: What, reply: Reply) -> None:
    found, error = fetched(reply, tmp_path, what)
    assert found == []
    assert error


def test_bulk_data_in_sequences() -> None:
    inner = {"00420011": {"vr": "OB", "BulkDataURI": "b"}}
    row = {
        "7FE00010": {"vr": "OW", "BulkDataURI": "a"},
        "00081199": {"vr": "SQ", "Value": [{}, inner]},
        "../x": {"BulkDataURI": "c"},
    }
    assert sorted(bulk_uris(json.dumps([row]).encode())) == [("00081199.2.00420011", "b"), ("7FE00010", "a")]
    for text in (b"[]", b"3", b"[3]", b'[{"00081199":{"vr":"SQ","Value":3}}]'):
        assert list(bulk_uris(text)) == []


@given(ANY_JSON)
def test_any_metadata_give_uris_or_the_documented_error(row: object) -> None:
    for name, _ in bulk_uris(json.dumps([row]).encode()):
        assert "/" not in name
        assert not name.startswith(".")


@pytest.mark.parametrize("text", [b"", b"[" * 99999, b"\xff"])
def test_what_is_no_metadata(text: bytes) -> None:
    with pytest.raises(ProtocolError):
        list(bulk_uris(text))
