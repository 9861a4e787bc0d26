"""dcmkit's STOW-RS client against Orthanc's DICOMweb plugin, where it is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dcmkit.services.sending import Sent
from dcmkit.web.http_auth import Basic
from dcmkit.web.http_client import HttpClient, Options
from dcmkit.web.http_response import HttpStatusError
from dcmkit.web.stow_client import Limits, StowClient

from .orthanc import Orthanc, orthanc
from .part10 import read_part10
from .peers import dcmkit_command, dcmkit_storescp, dcmkit_storescu
from .process import run, wait_until

pytestmark = [pytest.mark.interop, pytest.mark.timeout(300)]

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, need: Callable[..., None]) -> Iterator[Orthanc]:
    need("Orthanc")
    if not PLUGIN.exists():
        pytest.skip("Orthanc is here without its DICOMweb plugin")
    users = {"AuthenticationEnabled": False, "RegisteredUsers": {"jane": "word"}}
    with orthanc(tmp_path_factory.mktemp("orthanc"), plugins=[str(PLUGIN)], **users) as running:
        yield running


def store(server: Orthanc, paths: list[str], limits: Limits | None = None) -> list[Sent]:
    reports: list[Sent] = []
    url = f"http://127.0.0.1:{server.http_port}/dicom-web"
    with HttpClient(url, auth=Basic("jane", "word"), options=Options(proxy="")) as client:
        StowClient(client, limits).store(paths, reports.append)
        assert client.connections <= 2
    return reports


def test_every_sample_arrives_as_it_is(server: Orthanc, samples: dict[str, Path]) -> None:
    reports = store(server, [str(path) for path in samples.values()], Limits(files=10))
    refused = {sent.sop_instance_uid: sent.comment for sent in reports if not sent.stored}
    assert len(reports) == len(samples)
    arrived = server.stored()
    assert not set(arrived) & set(refused), refused
    for sent in reports:
        if sent.stored:
            assert read_part10(arrived[sent.sop_instance_uid]).data_set == read_part10(Path(sent.path)).data_set
    assert len(refused) < len(samples) // 4, refused


def test_what_it_refuses_spoils_nothing(server: Orthanc, samples: dict[str, Path], tmp_path: Path) -> None:
    good = [str(path) for path in list(samples.values())[:2]]
    (tmp_path / "bare").write_bytes(read_part10(Path(good[0])).data_set)
    (tmp_path / "text").write_text("no DICOM " * 100)
    reports = store(server, [good[0], str(tmp_path / "text"), good[1], str(tmp_path / "bare")])
    assert {sent.path: sent.stored for sent in reports if sent.path.startswith(str(tmp_path))}[
        str(tmp_path / "text")
    ] is False
    assert [sent.path for sent in reports if sent.stored][:2] == good


def test_a_path_that_is_none(server: Orthanc, samples: dict[str, Path]) -> None:
    url = f"http://127.0.0.1:{server.http_port}/nowhere"
    with HttpClient(url, options=Options(proxy="")) as client, pytest.raises(HttpStatusError) as caught:
        StowClient(client).store([str(next(iter(samples.values())))], lambda sent: None)
    assert caught.value.status == 404


def test_a_router_passes_on_by_stow(server: Orthanc, samples: dict[str, Path], tmp_path: Path) -> None:
    uids = list(samples)[:5]
    url = f"http://jane:word@127.0.0.1:{server.http_port}/dicom-web/studies"
    for identifier in server.json("GET", "/instances"):
        server.request("DELETE", f"/instances/{identifier}")
    with dcmkit_storescp(tmp_path, "--forward-stow", url, "--forward-delete") as router:
        assert dcmkit_storescu(router.port, [samples[uid] for uid in uids]).exit_code == 0
        assert wait_until(lambda: len(server.json("GET", "/instances")) == len(uids), 30)
        assert wait_until(lambda: not router.stored(), 30)


def test_a_router_passes_on_to_a_node(server: Orthanc, samples: dict[str, Path], tmp_path: Path) -> None:
    uids = list(samples)[5:8]
    config = configured(server, tmp_path)
    with dcmkit_storescp(tmp_path, "--forward-stow", "@orthanc", "--forward-delete", "--config", str(config)) as router:
        assert dcmkit_storescu(router.port, [samples[uid] for uid in uids]).exit_code == 0
        assert wait_until(lambda: set(uids) <= set(server.stored()), 30)
        assert wait_until(lambda: not router.stored(), 30)


# --- the command ---


def configured(server: Orthanc, directory: Path) -> Path:
    config = directory / "config.toml"
    url = f"http://127.0.0.1:{server.http_port}/dicom-web/studies"
    config.write_text(f"[nodes.orthanc]\nurl = '{url}'\nuser = 'jane'\npassword = 'word'\nproxy = 'none'\n")
    config.chmod(0o600)
    return config


def copies(directory: Path, sample: Path, number: int) -> list[str]:
    """Objects that differ by their SOP Instance UIDs, in folders."""
    import pydicom

    data_set = pydicom.dcmread(sample)
    root = str(data_set.SOPInstanceUID)[:50]
    names = []
    for count in range(number):
        data_set.SOPInstanceUID = data_set.file_meta.MediaStorageSOPInstanceUID = f"{root}.{count + 1}"
        path = directory / f"series{count % 3}" / f"{count}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        data_set.save_as(path)
        names.append(str(data_set.SOPInstanceUID))
    return names


@pytest.mark.parametrize("options", [("--batch", "7", "--jobs", "3"), ("--batch-bytes", "1m")])
def test_a_folder_with_bad_files(
    server: Orthanc, samples: dict[str, Path], tmp_path: Path, options: tuple[str, ...]
) -> None:
    for identifier in server.json("GET", "/instances"):
        server.request("DELETE", f"/instances/{identifier}")
    uids = copies(tmp_path / "study", next(iter(samples.values())), 55)
    (tmp_path / "study" / "notes.txt").write_text("no DICOM " * 100)
    (tmp_path / "study" / "empty").write_bytes(b"")
    whole = (tmp_path / "study" / "series0" / "0.dcm").read_bytes()
    (tmp_path / "study" / "cut.dcm").write_bytes(whole[: len(whole) - 50])
    common = ["--config", str(configured(server, tmp_path)), "--journal", str(tmp_path / "journal"), *options]
    done = run([*dcmkit_command("stow", "@orthanc", str(tmp_path / "study")), *common])
    assert done.returncode == 10, done.stderr
    assert sorted(server.stored()) == sorted(uids)
    lines = done.stderr.splitlines()
    assert len(lines) == 3, done.stderr
    assert all(any(name in line for line in lines) for name in ("notes.txt", "empty", "cut.dcm"))
    (tmp_path / "study" / "notes.txt").unlink()
    (tmp_path / "study" / "empty").unlink()
    (tmp_path / "study" / "cut.dcm").unlink()
    again = run(
        [*dcmkit_command("stow", "@orthanc", str(tmp_path / "study")), *common, "--report", str(tmp_path / "r")]
    )
    assert (again.returncode, again.stderr) == (0, "")
    assert (tmp_path / "r").read_text().count("stored before") == 55


def test_exit_codes(server: Orthanc, samples: dict[str, Path], tmp_path: Path) -> None:
    config = configured(server, tmp_path)
    (tmp_path / "text").write_text("no DICOM " * 100)
    sample = next(iter(samples.values()))
    for code, words in [
        (0, ["@orthanc", str(sample)]),
        (23, ["@orthanc", str(tmp_path / "text")]),
        (21, ["@orthanc"]),
        (1, ["@nobody", str(sample)]),
        (11, ["@orthanc", str(sample), "--study", "1.2.3"]),
        (72, [f"http://127.0.0.1:{server.http_port}/nowhere", str(sample), "--no-proxy"]),
    ]:
        done = run([*dcmkit_command("stow", *words), "--config", str(config), "--retries", "0"])
        assert done.returncode == code, (words, done.stderr)
        assert bool(done.stderr) == bool(code)
