"""qido and wado against Orthanc's DICOMweb plugin, where it is installed."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dcmkit.cli.group import group
from dcmkit.dataset.part10 import read_file_header

from .orthanc import Orthanc, orthanc
from .part10 import read_part10

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
CT = "1.2.840.10008.5.1.4.1.1.2"
NATIVE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1")
UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, need: Callable[..., None], samples: dict[str, Path]
) -> Iterator[Orthanc]:
    need("Orthanc")
    if not PLUGIN.exists():
        pytest.skip("Orthanc is here without its DICOMweb plugin")
    with orthanc(tmp_path_factory.mktemp("orthanc"), plugins=[str(PLUGIN)]) as running:
        running.upload(samples.values())
        yield running


def run(server: Orthanc, tool: str, *args: object) -> Result:
    url = f"http://127.0.0.1:{server.http_port}/dicom-web"
    return CliRunner().invoke(group, [tool, url, "--no-proxy", *map(str, args)])


def rows(server: Orthanc, *args: object) -> list[dict[str, str]]:
    result = run(server, "qido", *args, "--format", "csv")
    assert result.exit_code == 0, result.output
    return list(csv.DictReader(io.StringIO(result.stdout)))


@pytest.fixture(scope="module")
def held(server: Orthanc) -> dict[str, Path]:
    """What it has, by SOP Instance UID, as its own interface gives it."""
    server.stored()
    directory = server.server.directory / "downloaded"
    instances = server.json("GET", "/instances?expand")
    return {one["MainDicomTags"]["SOPInstanceUID"]: directory / f"{one['ID']}.dcm" for one in instances}


@pytest.fixture(scope="module")
def studies(server: Orthanc) -> set[str]:
    """Its studies, without those that two patients have, of which it finds neither."""
    uids = [one["MainDicomTags"]["StudyInstanceUID"] for one in server.json("GET", "/studies?expand")]
    return {uid for uid in uids if uids.count(uid) == 1}


def test_every_level_is_found(server: Orthanc, held: dict[str, Path]) -> None:
    found = rows(server, "--level", "instance", *(word for uid in UIDS for word in ("-k", uid)))
    assert {row["SOPInstanceUID"] for row in found} == set(held)
    assert len(found) == len(held)
    series = rows(server, "--level", "series", "-k", "SeriesInstanceUID")
    assert {row["SeriesInstanceUID"] for row in series} == {row["SeriesInstanceUID"] for row in found}
    studies = rows(server, "-k", "StudyInstanceUID")
    assert {row["StudyInstanceUID"] for row in studies} == {row["StudyInstanceUID"] for row in found}


def test_all_formats(server: Orthanc) -> None:
    for form in ("table", "json", "jsonl", "xml"):
        assert run(server, "qido", "--format", form).exit_code == 0


def test_limits_and_matching(server: Orthanc) -> None:
    assert len(rows(server, "--level", "instance", "--limit", 3)) == 3
    assert rows(server, "-k", "PatientID=nobody has this") == []
    every = rows(server, "-k", "StudyInstanceUID")
    one = every[0]["StudyInstanceUID"]
    assert [row["StudyInstanceUID"] for row in rows(server, "--study", one, "-k", "StudyInstanceUID")] == [one]


def retrieved(folder: Path) -> dict[str, Path]:
    return {read_file_header(path).sop_instance_uid: path for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("words", [[], ["--jobs", "3"], ["--uri", "/wado"]])
def test_what_it_stores_comes_byte_for_byte(
    server: Orthanc, held: dict[str, Path], studies: set[str], tmp_path: Path, words: list[str]
) -> None:
    found = rows(server, "--level", "instance", *(word for uid in UIDS for word in ("-k", uid)))
    wanted = {row["SOPInstanceUID"] for row in found if row["StudyInstanceUID"] in studies}
    (tmp_path / "list").write_text("\n".join(studies))
    result = run(server, "wado", "--list", tmp_path / "list", "-od", tmp_path / "out", *words)
    came = retrieved(tmp_path / "out")
    assert (result.exit_code, result.output) == (0, "")
    assert set(came) == wanted
    for uid, path in came.items():
        assert read_part10(path).data_set == read_part10(held[uid]).data_set, uid


def test_again_nothing_comes(server: Orthanc, tmp_path: Path) -> None:
    study = rows(server, "-k", "StudyInstanceUID")[0]["StudyInstanceUID"]
    words = ["wado", "--study", study, "-od", tmp_path / "out", "--report"]
    first = run(server, *words, tmp_path / "a")
    second = run(server, *words, tmp_path / "b")
    assert (first.exit_code, second.exit_code) == (0, 0), first.output + second.output
    assert json.loads((tmp_path / "b").read_text().splitlines()[-1])["skipped"] is True


def syntax(path: Path) -> str:
    return read_file_header(path).transfer_syntax_uid


def images(server: Orthanc, held: dict[str, Path]) -> list[dict[str, str]]:
    found = rows(server, "--level", "instance", *(word for uid in (*UIDS, "SOPClassUID") for word in ("-k", uid)))
    return [row for row in found if row["SOPClassUID"] == CT and syntax(held[row["SOPInstanceUID"]]) in NATIVE]


def test_metadata_frames_and_images(server: Orthanc, held: dict[str, Path], tmp_path: Path) -> None:
    image = images(server, held)[0]
    named = ["--study", image["StudyInstanceUID"], "--series", image["SeriesInstanceUID"]]
    named += ["--instance", image["SOPInstanceUID"]]
    for words, names in (
        (["--metadata"], ["json"]),
        (["--rendered"], ["jpg"]),
        (["--rendered", "--accept", "image/png"], ["png"]),
        (["--frames", "1"], ["0001.bin"]),
    ):
        folder = tmp_path / "".join(words).replace("/", "")
        result = run(server, "wado", *named, *words, "-od", folder)
        assert (result.exit_code, result.output) == (0, ""), words
        assert [path.name for path in folder.iterdir()] == [f"{image['SOPInstanceUID']}.{name}" for name in names]
        assert next(folder.iterdir()).stat().st_size > 100
    result = run(server, "wado", *named, "--bulkdata", "-od", tmp_path / "bulk")
    assert result.exit_code == 0, result.output


def test_another_transfer_syntax(server: Orthanc, held: dict[str, Path], tmp_path: Path) -> None:
    image = images(server, held)[0]
    words = [
        "--study",
        image["StudyInstanceUID"],
        "--series",
        image["SeriesInstanceUID"],
        "--transfer-syntax",
        "ExplicitVRLittleEndian",
    ]
    result = run(server, "wado", *words, "-od", tmp_path / "out")
    assert result.exit_code == 0, result.output
    syntaxes = {read_file_header(path).transfer_syntax_uid for path in (tmp_path / "out").iterdir()}
    assert syntaxes == {"1.2.840.10008.1.2.1"}


def test_what_is_not_there(server: Orthanc, tmp_path: Path) -> None:
    result = run(server, "wado", "--study", "1.2.3.4.5.6.7", "-od", tmp_path / "out")
    assert result.exit_code != 0
    assert "1.2.3.4.5.6.7" in result.output
