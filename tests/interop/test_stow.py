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
from .peers import dcmkit_storescp, dcmkit_storescu
from .process import wait_until

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
