"""Orthanc's DICOMweb client against `dcmkit web`, where Orthanc is installed with its plugin."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .orthanc import Orthanc, orthanc
from .part10 import read_part10
from .process import PeerError
from .web_peers import ROOT, Picture, WebServer, dcmkit_web, make_picture, make_pictures

pytestmark = [pytest.mark.interop, pytest.mark.timeout(240)]

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
US = "/dicom-web/servers/dcmkit"
DICOM = {"Content-Type": "application/dicom"}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Picture]:
    return make_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def pair(
    tmp_path_factory: pytest.TempPathFactory, need: Callable[..., None], pictures: list[Picture]
) -> Iterator[tuple[Orthanc, WebServer]]:
    """Orthanc with all pictures, and dcmkit as its server, with the first four."""
    need("Orthanc")
    if not PLUGIN.exists():
        pytest.skip("Orthanc is here without its DICOMweb plugin")
    with dcmkit_web(tmp_path_factory.mktemp("web")) as web:
        for picture in pictures[:4]:
            assert web.ask("POST", "/studies", picture.path.read_bytes(), DICOM).status == 200
        servers = {"Servers": {"dcmkit": {"Url": f"{web.url}/", "HasDelete": True, "ChunkedTransfers": True}}}
        with orthanc(tmp_path_factory.mktemp("orthanc"), plugins=[str(PLUGIN)], DicomWeb=servers) as running:
            running.upload(picture.path for picture in pictures)
            yield running, web


def identifiers(server: Orthanc, level: str, tag: str, uid: str) -> list[str]:
    return [one["ID"] for one in server.json("GET", f"/{level}?expand") if one["MainDicomTags"].get(tag) == uid]


def search(server: Orthanc, uri: str, **arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = server.json("POST", f"{US}/qido", {"Uri": uri, "Arguments": arguments})
    return found


def test_orthanc_stores_here(pair: tuple[Orthanc, WebServer], pictures: list[Picture]) -> None:
    server, web = pair
    studies = [identifier for uid in (f"{ROOT}.1", f"{ROOT}.2")
               for identifier in identifiers(server, "studies", "StudyInstanceUID", uid)]  # fmt: skip
    assert len(studies) == 2
    server.json("POST", f"{US}/stow", {"Resources": studies, "Synchronous": True})
    stored = web.stored()
    assert set(stored) == {picture.instance for picture in pictures}
    for picture in pictures:
        assert read_part10(stored[picture.instance]).data_set == read_part10(picture.path).data_set


def test_orthanc_searches_here(pair: tuple[Orthanc, WebServer], pictures: list[Picture]) -> None:
    server, _ = pair
    every = {row["0020000D"]["Value"] for row in search(server, "/studies")}
    assert f"{ROOT}.1" in every
    assert len(search(server, "/studies", PatientID="P1")) == 1
    assert len(search(server, f"/studies/{ROOT}.1/series")) == 2
    assert len(search(server, f"/studies/{ROOT}.1/instances", limit="3")) == 3
    assert search(server, "/studies", PatientID="nobody") == []


def test_orthanc_retrieves_from_here(pair: tuple[Orthanc, WebServer], tmp_path: Path) -> None:
    server, web = pair
    pictures = [make_picture(tmp_path, study=5, number=number, frames=number) for number in (1, 2)]
    for picture in pictures:
        assert web.ask("POST", "/studies", picture.path.read_bytes(), DICOM).status == 200
    for resource in (
        {"Study": pictures[0].study},
        {"Study": pictures[0].study, "Series": pictures[0].series},
        {"Study": pictures[0].study, "Series": pictures[0].series, "Instance": pictures[0].instance},
    ):
        order = {"Resources": [resource], "Synchronous": True}
        assert server.json("POST", f"{US}/retrieve", order)
        arrived = server.stored()
        for picture in pictures if len(resource) < 3 else pictures[:1]:
            assert read_part10(arrived[picture.instance]).data_set == read_part10(picture.path).data_set
        for identifier in identifiers(server, "studies", "StudyInstanceUID", pictures[0].study):
            server.request("DELETE", f"/studies/{identifier}")


def test_orthanc_gets_anything_from_here(pair: tuple[Orthanc, WebServer], pictures: list[Picture]) -> None:
    server, _ = pair
    for uri, headers, begins in (
        ("/rendered", {"Accept": "image/jpeg"}, b"\xff\xd8"),
        ("/rendered", {"Accept": "image/png"}, b"\x89PNG"),
        ("/metadata", {"Accept": "application/dicom+json"}, b"[{"),
        ("/thumbnail", {}, b"\xff\xd8"),
    ):
        order = {"Uri": pictures[0].resource + uri, "HttpHeaders": headers}
        answer = server.request("POST", f"{US}/get", json.dumps(order).encode())
        assert answer.startswith(begins), uri


def test_orthanc_is_told_what_was_refused(pair: tuple[Orthanc, WebServer]) -> None:
    server, _ = pair
    with pytest.raises(PeerError):
        server.json("POST", f"{US}/retrieve", {"Resources": [{"Study": "1.2.3.4.5.6.7.8"}], "Synchronous": True})
    with pytest.raises(PeerError):
        search(server, "/studies", NoSuchAttribute="1")


def test_orthanc_deletes_here(pair: tuple[Orthanc, WebServer], tmp_path: Path) -> None:
    server, web = pair
    picture = make_picture(tmp_path, study=4)
    assert web.ask("POST", "/studies", picture.path.read_bytes(), DICOM).status == 200
    server.request("POST", f"{US}/delete", b'{"Level": "Study", "StudyInstanceUID": "%s"}' % picture.study.encode())
    assert web.ask("GET", f"/studies/{picture.study}").status == 404
