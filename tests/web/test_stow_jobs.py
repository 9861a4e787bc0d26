"""Several connections: every file once, and all stop where one cannot go on."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from dcmkit.errors import InputError, OutputError
from dcmkit.services.sending import Sent
from dcmkit.web.http_client import HttpClient, Options
from dcmkit.web.http_response import HttpStatusError
from dcmkit.web.stow_client import Limits
from dcmkit.web.stow_jobs import StowJobs
from tests.web.http_peer import Reply, Request, peer
from tests.web.test_stow_client import everything, files, uid_of, uids


def client(url: str) -> HttpClient:
    return HttpClient(url, options=Options(proxy="", timeout=20.0))


@pytest.mark.parametrize("jobs", [1, 3])
def test_every_file_once(tmp_path: Path, jobs: int) -> None:
    paths = files(tmp_path, 20)
    (tmp_path / "text").write_text("no DICOM " * 100)
    reports: list[Sent] = []
    with peer(everything) as server:
        work = StowJobs(lambda: client(server.url), jobs=jobs, limits=Limits(files=3), target="/x/studies")
        assert work.store([*paths, str(tmp_path / "text")], reports.append) == []
    assert work.error is None
    assert Counter(sent.path for sent in reports) == Counter([*paths, str(tmp_path / "text")])
    assert sorted(uid for request in server.requests for uid in uids(request)) == sorted(map(uid_of, paths))
    assert {request.path for request in server.requests} == {"/x/studies"}


def test_connections_work_side_by_side(tmp_path: Path) -> None:
    paths = files(tmp_path, 4)
    together = threading.Barrier(2)

    def handle(request: Request) -> Reply:
        together.wait(20)
        return everything(request)

    with peer(handle) as server:
        work = StowJobs(lambda: client(server.url), jobs=2, limits=Limits(files=2))
        assert work.store(paths, lambda sent: None) == []
    assert server.connections == 2


@pytest.mark.parametrize("jobs", [1, 3])
def test_what_was_not_sent(tmp_path: Path, jobs: int) -> None:
    paths = files(tmp_path, 10)
    source = iter(paths)
    reports: list[Sent] = []
    with peer([Reply(403)]) as server:
        work = StowJobs(lambda: client(server.url), jobs=jobs, limits=Limits(files=2))
        unsent = work.store(source, reports.append)
    assert isinstance(work.error, HttpStatusError)
    assert reports == []
    assert sorted([*unsent, *source]) == sorted(paths)


def bad_row(paths: list[str]) -> Iterator[str]:
    yield from paths
    raise InputError("the list ends early")


@pytest.mark.parametrize("jobs", [1, 3])
def test_what_others_raise_comes_out(tmp_path: Path, jobs: int) -> None:
    paths = files(tmp_path, 4)

    def full(sent: Sent) -> None:
        raise OutputError(f"no space for {os.path.basename(sent.path)}")

    with peer(everything) as server:
        with pytest.raises(OutputError):
            StowJobs(lambda: client(server.url), jobs=jobs).store(paths, full)
        with pytest.raises(InputError):
            StowJobs(lambda: client(server.url), jobs=jobs, limits=Limits(files=1)).store(
                bad_row(paths), lambda _: None
            )
