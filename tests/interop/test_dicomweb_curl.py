"""Command lines of curl as people write them, against `dcmkit web`: RaccoonSCP's, DicomSCP's, viewers' and our own."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .part10 import read_part10
from .process import run
from .web_peers import Picture, WebServer, dcmkit_web, make_picture, make_pictures

pytestmark = [pytest.mark.interop, pytest.mark.skipif(shutil.which("curl") is None, reason="curl is absent")]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebServer]:
    with dcmkit_web(tmp_path_factory.mktemp("web")) as running:
        yield running


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory, server: WebServer) -> list[Picture]:
    """In the server, by one upload."""
    made = make_pictures(tmp_path_factory.mktemp("pictures"))
    files = [word for picture in made for word in ("-F", f"file=@{picture.path}")]
    assert curl(*files, f"{server.url}/studies")[0] == 200
    return made


def curl(*words: object) -> tuple[int, bytes]:
    """The status and the body of an answer."""
    command = ["curl", "-sS", "--noproxy", "*", "--max-time", "30", "-o", "-", "-w", "\n%{http_code}", *map(str, words)]
    done = run(command)
    assert done.returncode == 0, done.stderr
    body, _, status = done.stdout.rpartition("\n")
    return int(status), body.encode(errors="replace")


def fetch(path: Path, *words: object) -> tuple[int, str]:
    """The status and the media type of an answer whose body goes to a file."""
    write = ("-o", path, "-w", "%{http_code} %{content_type}")
    done = run(["curl", "-sS", "--noproxy", "*", "--max-time", "30", *map(str, write), *map(str, words)])
    assert done.returncode == 0, done.stderr
    status, _, media_type = done.stdout.partition(" ")
    return int(status), media_type


def test_a_form_as_raccoonscp_sends_it(server: WebServer, tmp_path: Path) -> None:
    picture = make_picture(tmp_path, study=31)
    status, body = curl("-F", f"file=@{picture.path}", f"{server.url}/studies")
    assert status == 200
    answer = json.loads(body)
    assert [item["00081155"]["Value"] for item in answer["00081199"]["Value"]] == [[picture.instance]]
    stored = server.stored()[picture.instance]
    assert read_part10(stored).data_set == read_part10(picture.path).data_set


def test_forms_of_several_files_with_other_fields(server: WebServer, tmp_path: Path) -> None:
    several = [make_picture(tmp_path, study=32, number=number) for number in (1, 2, 3)]
    files = [word for picture in several for word in ("-F", f"files=@{picture.path};type=application/dicom")]
    assert curl("-F", "comment=from the CT", *files, f"{server.url}/studies")[0] in (200, 202)
    assert {picture.instance for picture in several} <= set(server.stored())


def test_one_file_as_it_is(server: WebServer, tmp_path: Path) -> None:
    picture = make_picture(tmp_path, study=33)
    words = ("-X", "POST", "-H", "Content-Type: application/dicom", "--data-binary", f"@{picture.path}")
    assert curl(*words, f"{server.url}/studies/{picture.study}")[0] == 200
    assert curl(*words, f"{server.url}/studies/1.2.3")[0] == 409
    assert curl(*words, "-H", "Accept: application/dicom+xml", f"{server.url}/studies")[1].startswith(b"<?xml")


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_multipart_related_made_by_hand(server: WebServer, tmp_path: Path, newline: bytes) -> None:
    picture = make_picture(tmp_path, study=34, series=len(newline))
    head = newline.join([b"--myboundary", b"Content-Type: application/dicom", b"", b""])
    (tmp_path / "body").write_bytes(head + picture.path.read_bytes() + newline + b"--myboundary--" + newline)
    kind = "Content-Type: multipart/related; type=application/dicom; boundary=myboundary"
    words = ("-X", "POST", "-H", kind, "--data-binary", f"@{tmp_path / 'body'}")
    assert curl(*words, f"{server.url}/studies")[0] == 200
    assert read_part10(server.stored()[picture.instance]).data_set == read_part10(picture.path).data_set


def test_chunked_and_awaited(server: WebServer, tmp_path: Path) -> None:
    picture = make_picture(tmp_path, study=35, frames=60)
    words = ("-H", "Transfer-Encoding: chunked", "-H", "Expect: 100-continue", "-F", f"file=@{picture.path}")
    assert curl(*words, f"{server.url}/studies")[0] == 200


def test_garbage_is_told_so(server: WebServer, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no DICOM " * 100)
    assert curl("-F", f"file=@{tmp_path / 'text'}", f"{server.url}/studies")[0] == 400
    assert curl("-X", "POST", "-H", "Content-Type: text/plain", "-d", "x", f"{server.url}/studies")[0] == 415
    assert curl("-X", "POST", f"{server.url}/studies")[0] == 415
    assert curl("-X", "POST", "-H", "Content-Type: application/dicom", f"{server.url}/studies")[0] == 400
    assert curl("-X", "PUT", "-d", "x", f"{server.url}/studies")[0] == 405


def test_searches(server: WebServer, pictures: list[Picture]) -> None:
    for query, number in (
        ("PatientID=P1", 1),
        ("00100020=P1", 1),
        ("PatientName=DOE*r1", 1),
        ("StudyDate=20240101-20241231&PatientID=P2", 1),
        (f"StudyInstanceUID={pictures[0].study},{pictures[5].study}", 2),
        (f"StudyInstanceUID={pictures[0].study}%5C{pictures[5].study}", 2),
        ("PatientID=P1&includefield=all", 1),
        ("PatientID=P1&includefield=StudyDescription&includefield=00081030", 1),
        ("PatientID=P1&limit=101&offset=0&fuzzymatching=true&includefield=00081030,00080060", 1),
    ):
        status, body = curl(f"{server.url}/studies?{query}")
        assert (status, len(json.loads(body))) == (200, number), query
    assert curl(f"{server.url}/studies?NoSuchAttribute=1")[0] == 400
    assert curl("-H", "Accept: image/png", f"{server.url}/studies")[0] == 406
    assert curl("-H", "Accept: text/csv", f"{server.url}/studies?PatientID=P1")[1].count(b"\n") == 2
    assert curl("-I", f"{server.url}/studies?PatientID=P1")[0] == 200
    assert b"wadl" in curl("-X", "OPTIONS", f"{server.url}/")[1]


@pytest.mark.parametrize("accept", [
    "multipart/related; type=application/octet-stream; transfer-syntax=*",
    'multipart/related; type="application/octet-stream"; transfer-syntax=*',
    'multipart/related;type="application/octet-stream";transfer-syntax="*"',
    "application/octet-stream",
    "*/*",
])  # fmt: skip
def test_frames_as_viewers_ask_for_them(
    server: WebServer, pictures: list[Picture], tmp_path: Path, accept: str
) -> None:
    picture = pictures[0]
    status, media_type = fetch(tmp_path / "f", "-H", f"Accept: {accept}", f"{server.url}{picture.resource}/frames/1")
    assert status == 200
    pixels = read_part10(picture.path).data_set[-64 * 48 * 2 :]
    content = (tmp_path / "f").read_bytes()
    assert content == pixels if media_type.startswith("application/octet-stream") else pixels in content


def test_wado_uri_as_dicomscp_answers_it(server: WebServer, pictures: list[Picture], tmp_path: Path) -> None:
    picture = pictures[0]
    base = f"requestType=WADO&studyUID={picture.study}&seriesUID={picture.series}&objectUID={picture.instance}"
    original = read_part10(picture.path).data_set
    for url in (f"{server.url}/wado", f"http://127.0.0.1:{server.port}/wado"):
        status, media_type = fetch(tmp_path / "o", f"{url}?{base}&contentType=application%2Fdicom")
        assert (status, media_type.partition(";")[0]) == (200, "application/dicom")
        assert read_part10(tmp_path / "o").data_set == original
    where = f"http://127.0.0.1:{server.port}/wado?{base}"
    for more, wanted in (
        ("", "image/jpeg"),
        ("&contentType=image/jpeg&rows=32&columns=32", "image/jpeg"),
        ("&contentType=image/png&windowCenter=100&windowWidth=200", "image/png"),
        ("&contentType=application/dicom&transferSyntax=1.2.840.10008.1.2.4.90", "application/dicom"),
        ("&contentType=image/jpeg&region=0,0,0.5,0.5&imageQuality=80", "image/jpeg"),
    ):
        status, media_type = fetch(tmp_path / "i", where + more)
        assert (status, media_type.partition(";")[0]) == (200, wanted), more
    status, _ = fetch(tmp_path / "a", where + "&contentType=application/dicom&anonymize=yes")
    assert status in (200, 409)
    assert b"Number1" not in (tmp_path / "a").read_bytes()
    assert fetch(tmp_path / "x", where.replace("requestType=WADO&", ""))[0] == 400


def test_thumbnails_of_a_size(server: WebServer, pictures: list[Picture], tmp_path: Path) -> None:
    for path in ("", f"/series/{pictures[0].series}", f"/series/{pictures[0].series}/instances/{pictures[0].instance}"):
        for query in ("", "?size=32", "?viewport=32,32"):
            url = f"{server.url}/studies/{pictures[0].study}{path}/thumbnail{query}"
            assert fetch(tmp_path / "t", url) == (200, "image/jpeg"), (path, query)
    small, large = tmp_path / "small", tmp_path / "large"
    for target, size in ((small, 16), (large, 60)):
        fetch(target, f"{server.url}{pictures[0].resource}/thumbnail?size={size}", "-H", "Accept: image/png")
    assert small.read_bytes()[16:24] != large.read_bytes()[16:24]


def test_a_study_as_zip_and_what_was_cut_off(server: WebServer, pictures: list[Picture], tmp_path: Path) -> None:
    url = f"{server.url}/studies/{pictures[0].study}"
    assert fetch(tmp_path / "z", "-H", "Accept: application/zip", url) == (200, "application/zip")
    with zipfile.ZipFile(tmp_path / "z") as zipped:
        assert zipped.testzip() is None
        assert len(zipped.namelist()) == 5
    as_stored = ("-H", "Accept: application/dicom; transfer-syntax=*", server.url + pictures[0].resource)
    fetch(tmp_path / "whole", *as_stored)
    whole = (tmp_path / "whole").read_bytes()
    (tmp_path / "part").write_bytes(whole[:1000])
    assert fetch(tmp_path / "part", "-C", "1000", *as_stored)[0] == 206
    assert (tmp_path / "part").read_bytes() == whole


def test_gzip_and_what_is_known_already(server: WebServer, pictures: list[Picture], tmp_path: Path) -> None:
    url = f"{server.url}/studies/{pictures[0].study}/metadata"
    plain, packed = fetch(tmp_path / "plain", url), fetch(tmp_path / "packed", "--compressed", url)
    assert plain == packed
    assert (tmp_path / "plain").read_bytes() == (tmp_path / "packed").read_bytes()
    tag = tmp_path / "etag"
    assert fetch(tmp_path / "one", "--etag-save", tag, url)[0] == 200
    assert fetch(tmp_path / "two", "--etag-compare", tag, url)[0] == 304


def test_what_is_deleted_can_be_had_back(server: WebServer, tmp_path: Path) -> None:
    picture = make_picture(tmp_path, study=36)
    curl("-F", f"file=@{picture.path}", f"{server.url}/studies")
    url = f"{server.url}/studies/{picture.study}"
    assert curl("-X", "DELETE", url)[0] == 204
    assert curl("-H", "Accept: application/dicom+json", f"{url}/metadata")[0] == 404
    (one,) = [entry for entry in json.loads(curl(f"{server.url}/trash")[1]) if entry["study"] == picture.study]
    assert curl("-X", "POST", f"{server.url}/trash/{one['id']}/restore")[0] == 200
    assert curl(f"{url}/metadata")[0] == 200
