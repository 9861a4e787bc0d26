"""What is to be retrieved, from words to requests."""

from __future__ import annotations

from pathlib import Path

import pytest

from dcmkit.cli.wado_wants import AsFiles, InFolder, frame_numbers, named_by_url, requests_for, url_lines
from dcmkit.cli.wanted import by_options
from dcmkit.dataset.elements import element
from dcmkit.errors import UsageError
from dcmkit.services.retrieve_plan import NothingMatchedError, Want
from dcmkit.web.http_client import HttpClient, Options
from dcmkit.web.http_url import parse_url
from dcmkit.web.qido_client import QidoClient
from dcmkit.web.repeating import Asker
from dcmkit.web.wado_jobs import target_of
from dcmkit.web.wado_targets import Target
from tests.archive.objects import part10
from tests.web.dicomweb_peer import ROOT, Service, some
from tests.web.http_peer import peer

SERVER = parse_url("http://host:1/dicom-web")


@pytest.mark.parametrize(
    "word", ["http://host:1/dicom-web/studies/1.2/metadata", "/studies/1.2/metadata", "studies/1.2/metadata"]
)
def test_urls(word: str) -> None:
    assert named_by_url(word, SERVER, ROOT)[1:] == (Target("1.2"), "/metadata")


@pytest.mark.parametrize(
    "word", ["http://host:2/dicom-web/studies/1.2", "https://host:1/dicom-web/studies/1.2", "http://host:1/x/studies/1.2",
             "x/studies/1.2", "studies", "/etc/passwd"],
)  # fmt: skip
def test_other_urls(word: str) -> None:
    with pytest.raises(UsageError):
        named_by_url(word, SERVER, ROOT)


def test_lists_of_urls(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("# these\nhttp://host/studies/1\n\n/studies/2\n")
    assert url_lines(str(tmp_path / "a")) == ["http://host/studies/1", "/studies/2"]
    (tmp_path / "b").write_text("1.2\n")
    assert url_lines(str(tmp_path / "b")) == url_lines(str(tmp_path / "none")) == []


@pytest.mark.parametrize(
    ("options", "targets", "asked"),
    [
        ((["1.2.1"], [], [], [], []), [Target("1.2.1")], 0),
        ((["1.2.1"], ["1.2.1.1"], [], [], []), [Target("1.2.1", "1.2.1.1")], 0),
        (([], ["1.2.1.1"], [], [], []), [Target("1.2.1", "1.2.1.1")], 1),
        (([], [], ["1.2.1.1.2"], [], []), [Target("1.2.1", "1.2.1.1", "1.2.1.1.2")], 1),
        (([], [], [], ["A-1"], []), [Target("1.2.1")], 1),
        (([], [], [], [], ["4711"]), [Target("1.2.1")], 1),
    ],
)
def test_what_is_looked_up(options: tuple[list[str], ...], targets: list[Target], asked: int) -> None:
    with peer(Service(some(3))) as server, HttpClient(server.url, options=Options(proxy="")) as client:
        finder = QidoClient(Asker(client), ROOT)
        found = [target_of(one.identifier) for want in by_options(*options) for one in requests_for(want, finder)]
        assert (found, len(server.requests)) == (targets, asked)


def test_nothing_found_or_asked() -> None:
    with peer(Service([])) as server, HttpClient(server.url, options=Options(proxy="")) as client:
        finder = QidoClient(Asker(client), ROOT)
        with pytest.raises(NothingMatchedError):
            list(requests_for(Want("x", {0x00080050: element(0x00080050, "A")}), finder))
        with pytest.raises(UsageError):
            list(requests_for(Want("x", {}), finder))


def test_frames() -> None:
    assert frame_numbers("1,3-5, 3") == (1, 3, 4, 5)
    for text in ("", "0", "3-1", "a", "1-", "-1", "1-999999999", "²"):
        with pytest.raises(UsageError):
            frame_numbers(text)


def test_what_is_here(tmp_path: Path) -> None:
    (tmp_path / "CT.1.2.3").write_bytes(part10("1.2.3"))
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "1.2.4.dcm").write_bytes(part10("1.2.4"))
    (tmp_path / "CT.1.2.5").write_text("text")
    flat, deep = InFolder(str(tmp_path)), InFolder(str(tmp_path), 1)
    assert [flat.has(uid) for uid in ("1.2.3", "1.2.4", "1.2.5", "1.2.6")] == [True, False, False, False]
    assert deep.has("1.2.4")
    (tmp_path / "1.2.0001.jpg").touch()
    (tmp_path / "1.3.jpg").touch()
    assert AsFiles(str(tmp_path), frames=(1,)).has("1.2")
    assert not AsFiles(str(tmp_path), frames=(1, 2)).has("1.2")
    assert AsFiles(str(tmp_path)).has("1.3")
