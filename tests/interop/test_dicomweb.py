"""One archive, two doors, with dcmkit's clients: what came by C-STORE is there by DICOMweb at once, and vice versa."""

from __future__ import annotations

import csv
import http.client
import io
import json
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .part10 import read_part10
from .peers import dcmkit_command, dcmkit_storescp, dcmkit_storescu, files_by_uid, program_path
from .process import run, wait_until
from .web_peers import Picture, WebServer, dcmkit_two_doors, dcmkit_web, make_picture, make_pictures

pytestmark = [pytest.mark.interop, pytest.mark.timeout(240)]

UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
DICOM = {"Content-Type": "application/dicom"}
AS_STORED = {"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Picture]:
    return make_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory, samples: dict[str, Path]) -> Iterator[WebServer]:
    """`dcmkit web` with every sample in it that it takes."""
    with dcmkit_web(tmp_path_factory.mktemp("web"), "--on-invalid", "store") as server:
        done = dcmkit("stow", server.url, *samples.values(), "--report", server.objects.parent / "report")
        assert done.returncode in (0, 10), done.stderr
        yield server


def dcmkit(tool: str, *words: str | os.PathLike[str]) -> object:
    return run([*dcmkit_command(tool, *words), "--no-proxy"])


def rows(server: WebServer, *words: str) -> list[dict[str, str]]:
    done = dcmkit("qido", server.url, *words, "--format", "csv")
    assert done.returncode == 0, done.stderr
    return list(csv.DictReader(io.StringIO(done.stdout)))


# --- dcmkit's clients --------------------------------------------------------------------------------------------


def test_every_sample_is_stored_found_and_fetched(filled: WebServer, samples: dict[str, Path], tmp_path: Path) -> None:
    report = [json.loads(line) for line in (filled.objects.parent / "report").read_text().splitlines()]
    stored = filled.stored()
    assert len(report) == len(samples)
    refused = len(samples) - len(stored)
    assert refused < len(samples) // 10, report
    for uid, path in stored.items():
        assert read_part10(path).data_set == read_part10(samples[uid]).data_set, uid
    found = rows(filled, "--level", "instance", *(word for uid in UIDS for word in ("-k", uid)))
    stored = {uid: path for uid, path in stored.items() if "unknown" not in path.parts}  # has a study
    assert len(stored) > len(samples) * 0.9
    assert {row["SOPInstanceUID"] for row in found} == set(stored)
    (tmp_path / "list").write_text("\n".join({row["StudyInstanceUID"] for row in found}))
    done = dcmkit("wado", filled.url, "--list", tmp_path / "list", "-od", tmp_path / "out", "--jobs", "2")
    assert done.returncode == 0, done.stderr
    came = files_by_uid(tmp_path / "out")
    assert set(came) == set(stored)
    for uid, path in came.items():
        assert read_part10(path).data_set == read_part10(samples[uid]).data_set, uid


def test_stored_again_nothing_changes(filled: WebServer, samples: dict[str, Path]) -> None:
    before = filled.stored()
    some = [samples[uid] for uid in list(before)[:20]]
    done = dcmkit("stow", filled.url, *some)
    assert done.returncode == 0, done.stderr
    assert filled.stored() == before


def test_metadata_frames_pictures_and_zip(filled: WebServer, pictures: list[Picture], tmp_path: Path) -> None:
    picture = pictures[4]
    assert filled.ask("POST", "/studies", picture.path.read_bytes(), DICOM).status == 200
    named = ["--study", picture.study, "--series", picture.series, "--instance", picture.instance]
    for words, names in (
        (["--metadata"], ["json"]),
        (["--rendered"], ["jpg"]),
        (["--rendered", "--accept", "image/png", "--parameter", "viewport=24,24"], ["png"]),
        (["--thumbnail"], ["thumbnail.jpg"]),
        (["--frames", "1,3"], ["0001.bin", "0003.bin"]),
    ):
        folder = tmp_path / "".join(words).replace("/", "")
        done = dcmkit("wado", filled.url, *named, *words, "-od", folder)
        assert done.returncode == 0, (words, done.stderr)
        assert sorted(path.name for path in folder.iterdir()) == [f"{picture.instance}.{name}" for name in names]
    pixels = read_part10(picture.path).data_set[-picture.frames * 64 * 48 * 2 :]
    assert (tmp_path / "--frames1,3" / f"{picture.instance}.0003.bin").read_bytes() == pixels[2 * 64 * 48 * 2 :]
    done = dcmkit("wado", filled.url, *named, "--bulkdata", "-od", tmp_path / "bulk")
    assert done.returncode == 0, done.stderr
    assert [path.read_bytes() for path in (tmp_path / "bulk").iterdir()] == [pixels]
    done = dcmkit("wado", filled.url, "--study", picture.study, "--zip", "-od", tmp_path / "zip")
    assert done.returncode == 0, done.stderr
    (archive,) = (tmp_path / "zip").iterdir()
    with zipfile.ZipFile(archive) as zipped:
        assert zipped.testzip() is None
    done = dcmkit("wado", filled.url, *named, "--uri", "/wado", "-od", tmp_path / "uri")
    assert done.returncode == 0, done.stderr
    assert read_part10(files_by_uid(tmp_path / "uri")[picture.instance]).data_set.endswith(pixels)


def test_every_format_and_level_of_a_search(filled: WebServer) -> None:
    for level in ("patient", "study", "series", "instance"):
        assert rows(filled, "--level", level, "--limit", "2"), level
    for form in ("table", "json", "jsonl", "xml"):
        assert dcmkit("qido", filled.url, "--format", form, "--limit", "3").returncode == 0


def test_the_samples_as_anything_else_never_fail_in_the_server(filled: WebServer) -> None:
    """Each of what the standard offers, of each sample: an answer, or a reason, never a 500."""
    found = rows(filled, "--level", "instance", *(word for uid in UIDS for word in ("-k", uid)))
    wrong = []
    for row in found:
        base = "/studies/{}/series/{}/instances/{}".format(*(row[uid] for uid in UIDS))
        for path, accept in (
            ("", "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"),
            ("/metadata", "application/dicom+json"),
            ("/metadata", 'multipart/related; type="application/dicom+xml"'),
            ("/rendered", "*/*"),
            ("/thumbnail", "*/*"),
            ("/frames/1", "*/*"),
            ("/bulkdata", "*/*"),
        ):
            try:
                answer = filled.ask("GET", base + path, headers={"Accept": accept})
            except http.client.HTTPException as error:
                wrong.append((row["SOPInstanceUID"], path, accept, repr(error)[:80]))
                continue
            if answer.status >= 500 or (path in ("/metadata", "") and answer.status not in (200, 406)):
                wrong.append((row["SOPInstanceUID"], path, accept, answer.status, answer.body[:200]))
    assert wrong == []


# --- one archive, two doors --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def doors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, WebServer]]:
    with dcmkit_two_doors(tmp_path_factory.mktemp("doors")) as (associations, web):
        yield associations.port, web


def test_what_c_store_stored_is_found_by_qido_in_the_same_moment(
    doors: tuple[int, WebServer], pictures: list[Picture], tmp_path: Path
) -> None:
    port, web = doors
    for picture in pictures[:5]:
        assert dcmkit_storescu(port, [picture.path]).exit_code == 0
        answer = web.ask("GET", f"/instances?SOPInstanceUID={picture.instance}")
        assert [row["00080018"]["Value"] for row in json.loads(answer.body)] == [[picture.instance]]
        fetched = web.ask("GET", picture.resource, headers={"Accept": "application/dicom; transfer-syntax=*"})
        (tmp_path / "fetched").write_bytes(fetched.body)
        assert read_part10(tmp_path / "fetched").data_set == read_part10(picture.path).data_set
    study = pictures[0].study
    (row,) = json.loads(web.ask("GET", f"/studies?StudyInstanceUID={study}").body)
    assert row["00201208"]["Value"] == [5]
    assert len(json.loads(web.ask("GET", f"/studies/{study}/metadata").body)) == 5


def test_what_stow_stored_is_found_by_c_find_and_sent_by_c_get(
    doors: tuple[int, WebServer], pictures: list[Picture], tmp_path: Path
) -> None:
    port, web = doors
    for picture in pictures[5:]:
        assert web.ask("POST", "/studies", picture.path.read_bytes(), DICOM).status == 200
        peer = ("-aec", "DCMKIT", "127.0.0.1", str(port))
        keys = ["-k", "QueryRetrieveLevel=IMAGE"]
        for name, value in zip(UIDS, picture[:3], strict=True):
            keys += ["-k", f"{name}={value}"]
        found = run([*dcmkit_command("findscu", "-S", *keys, "--format", "json", *peer)])
        assert found.returncode == 0, found.stderr
        assert picture.instance in found.stdout
    study = pictures[5].study
    got = run([*dcmkit_command(
        "getscu", "-S", "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study}", "-od", tmp_path / "got",
        *peer,
    )])  # fmt: skip
    assert got.returncode == 0, got.stderr
    came = files_by_uid(tmp_path / "got")
    assert set(came) == {picture.instance for picture in pictures[5:]}
    for picture in pictures[5:]:
        assert read_part10(came[picture.instance]).data_set == read_part10(picture.path).data_set


def test_dcmtk_finds_what_stow_stored(doors: tuple[int, WebServer], need: Callable[..., None], tmp_path: Path) -> None:
    need("DCMTK")
    port, web = doors
    picture = make_picture(tmp_path, study=7)
    assert web.ask("POST", "/studies", picture.path.read_bytes(), DICOM).status == 200
    done = run([
        str(program_path("findscu")), "-S", "-aec", "DCMKIT", "-k", "QueryRetrieveLevel=STUDY", "-k", "PatientID=P7",
        "-k", "StudyInstanceUID", "127.0.0.1", str(port),
    ])  # fmt: skip
    assert picture.study in done.stdout + done.stderr


def test_what_one_door_deletes_the_other_has_no_longer(doors: tuple[int, WebServer], tmp_path: Path) -> None:
    port, web = doors
    picture = make_picture(tmp_path, study=6)
    assert dcmkit_storescu(port, [picture.path]).exit_code == 0
    assert web.ask("DELETE", f"/studies/{picture.study}").status == 204
    found = run([*dcmkit_command(
        "findscu", "-S", "-aec", "DCMKIT", "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={picture.study}",
        "--format", "json", "127.0.0.1", str(port),
    )])  # fmt: skip
    assert picture.study not in found.stdout.replace(f"StudyInstanceUID={picture.study}", "")
    assert web.ask("GET", f"/studies/{picture.study}").status == 404


# --- the forwarder -----------------------------------------------------------------------------------------------


def test_storescp_passes_on_to_dcmkit_web(tmp_path: Path, pictures: list[Picture]) -> None:
    with (
        dcmkit_web(tmp_path / "web") as web,
        dcmkit_storescp(tmp_path / "router", "--forward-stow", f"{web.url}/studies", "--forward-delete") as router,
    ):
        assert dcmkit_storescu(router.port, [picture.path for picture in pictures]).exit_code == 0
        assert wait_until(lambda: len(web.stored()) == len(pictures), 60)
        assert wait_until(lambda: not router.stored(), 30)
        for uid, path in web.stored().items():
            source = next(picture.path for picture in pictures if picture.instance == uid)
            assert read_part10(path).data_set == read_part10(source).data_set


def test_what_was_received_while_the_server_was_down_is_delivered(tmp_path: Path, pictures: list[Picture]) -> None:
    """StoreSCPStowRS loses it: it deletes files on any answer, and without one."""
    with dcmkit_web(tmp_path / "web") as web:
        port = web.port
    options = ("--forward-stow", f"http://127.0.0.1:{port}/dicom-web", "--forward-max-delay", "0.5")
    with dcmkit_storescp(tmp_path / "router", *options) as router:
        assert dcmkit_storescu(router.port, [picture.path for picture in pictures]).exit_code == 0
        assert len(router.stored()) == len(pictures)
        with dcmkit_web(tmp_path / "web", port=port) as web:
            assert wait_until(lambda: len(web.stored()) == len(pictures), 60)
