"""Answers with objects, in every form. The command: tests/cli/commands/test_wado.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from dcmkit.archive.folder import Folder
from dcmkit.errors import DcmkitError, OutputError
from dcmkit.services.retrieve_scu import Arrival
from dcmkit.web.http_client import HttpClient, Options
from dcmkit.web.repeating import Asker, Patience
from dcmkit.web.wado_client import WadoClient
from tests.web.dicomweb_peer import multipart, some
from tests.web.http_peer import Reply, peer

OBJECTS = [one.content for one in some(3)]
UNQUOTED = (("Content-Type", "multipart/related;type=application/dicom;boundary=b0undary"),)
DICOM = (("Content-Type", "application/dicom"),)


def fetched(reply: Reply, directory: Path) -> tuple[list[Arrival], str]:
    arrivals: list[Arrival] = []
    error = ""
    with (
        peer([reply]) as server,
        HttpClient(server.url, options=Options(proxy="")) as client,
        Folder(str(directory)) as folder,
    ):
        try:
            WadoClient(Asker(client, Patience(0)), folder).fetch("/x", arrivals.append)
        except DcmkitError as failure:
            error = type(failure).__name__
    return arrivals, error


@pytest.mark.parametrize(
    ("reply", "stored"),
    [
        (multipart(OBJECTS), 3),
        (multipart(OBJECTS, boundary="a b'c"), 3),
        (multipart(OBJECTS)._replace(headers=UNQUOTED), 3),
        (multipart(OBJECTS, kind="application/octet-stream"), 3),
        (Reply(200, OBJECTS[0], DICOM), 1),
        (Reply(200, OBJECTS[0]), 1),
        (Reply(204), 0),
        (multipart([]), 0),
    ],
)  # fmt: skip
def test_forms(tmp_path: Path, reply: Reply, stored: int) -> None:
    if "a b'c" in str(reply.headers):
        reply = reply._replace(headers=(("Content-Type", 'multipart/related; boundary="a b\'c"'),))
    arrivals, error = fetched(reply, tmp_path)
    assert error == ""
    assert [arrival.stored for arrival in arrivals] == [True] * stored


@pytest.mark.parametrize("cut", [5, 40, 300, 700, 1100])
def test_what_was_complete_is_kept(tmp_path: Path, cut: int) -> None:
    whole = multipart(OBJECTS)
    arrivals, error = fetched(whole._replace(body=whole.body[:-cut]), tmp_path)
    assert error == "MultipartError"
    assert len(arrivals) == len(list(tmp_path.rglob("*.dcm")))
    assert not list(tmp_path.rglob("*.part"))


def test_bad_parts_among_good_ones(tmp_path: Path) -> None:
    arrivals, error = fetched(multipart([OBJECTS[0], b"", b"x" * 9999, OBJECTS[1][:-1], OBJECTS[2]]), tmp_path)
    assert error == ""
    assert [arrival.stored for arrival in arrivals] == [True, False, False, False, True]


def test_parts_without_end(tmp_path: Path) -> None:
    arrivals, error = fetched(multipart([b"x"] * 5000), tmp_path)
    assert error == "ProtocolError"
    assert len(arrivals) < 1100


def test_another_transfer_syntax_than_asked_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with peer([multipart(OBJECTS)]) as server, HttpClient(server.url, options=Options(proxy="")) as client:
        arrivals: list[Arrival] = []
        WadoClient(Asker(client), None, transfer_syntax="1.2.840.10008.1.2.4.80").fetch("/x", arrivals.append)
    assert len(arrivals) == 3
    assert "3 objects came in another transfer syntax" in caplog.text


def test_a_full_disk_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OutputError("no space left")

    monkeypatch.setattr("dcmkit.archive.incoming.Incoming.write", full)
    arrivals, error = fetched(multipart(OBJECTS), tmp_path)
    assert (arrivals, error) == ([], "OutputError")
    assert list(tmp_path.iterdir()) == []
