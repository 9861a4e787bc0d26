"""The search transactions as handlers: what is answered, in which form, and with which headers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dcmkit.archive.query import Query
from dcmkit.archive.removal import remove
from dcmkit.archive.store import Archive
from dcmkit.errors import DcmkitError, UsageError
from dcmkit.web import qido
from dcmkit.web.exchange import OPEN, Reply, Request
from dcmkit.web.identity import Identity
from dcmkit.web.negotiation import NotAcceptableError
from dcmkit.web.routes import Routes
from dcmkit.web.searching import Searching
from tests.archive.objects import archive_in, put, visible

BASE = "http://pacs.example/dicom-web"


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with archive_in(tmp_path) as archive:
        for study in (1, 2, 3):
            for series in (1, 2):
                for instance in (1, 2):
                    put(
                        archive, f"1.{study}.{series}.{instance}", study=f"1.{study}", series=f"1.{study}.{series}",
                        patient=f"P{study // 2}", name=f"Doe^{'ABC'[study - 1]}nn", instance=instance,
                        date=f"2024010{study}", modality="CT" if series == 1 else "SR",
                        more=[(0x00180050, "DS", b"2.5"), (0x00101040, "LO", b"Main St"), (0x00181020, "LO", b"v1")],
                    )  # fmt: skip
        yield archive


def ask(where: Archive | Searching, path: str, *parameters: tuple[str, str], **how: Any) -> Reply:
    searching = where if isinstance(where, Searching) else Searching(where)
    accept = how.pop("accept", None)
    found = Routes(searching.routes()).find(path)
    assert found is not None
    headers = {"accept": accept} if accept else {}
    request = Request("GET", path, found.variables, parameters, headers, base_url=BASE, **how)
    return found.methods["GET"].handler(request)


def rows(reply: Reply) -> list[dict[str, Any]]:
    assert reply.status == 200
    assert isinstance(reply.body, bytes)
    found: list[dict[str, Any]] = json.loads(reply.body)
    return found


def header(reply: Reply, name: str) -> list[str]:
    return [value for key, value in reply.headers if key == name]


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("/studies", 3), ("/series", 6), ("/instances", 12), ("/patients", 2), ("/studies/1.1/series", 2),
        ("/studies/1.1/instances", 4), ("/studies/1.1/series/1.1.2/instances", 2), ("/studies/9/series", 0),
        ("/studies/1.1/series/1.2.1/instances", 0), ("/studies/..%2f/series", 0),
    ],
)  # fmt: skip
def test_every_resource_and_its_count(archive: Archive, path: str, number: int):
    reply = ask(archive, path)
    assert reply.content_type == "application/dicom+json"
    assert len(rows(reply)) == number
    assert header(reply, "X-Total-Count") == [str(number)]
    assert header(reply, "Warning") == []
    counted = ask(archive, path + "/count", ("limit", "1"))
    assert (counted.body, counted.content_type) == (b'{"count": %d}' % number, "application/json")


def test_routes_are_distinct_and_say_who_filters(archive: Archive):
    routes = Searching(archive).routes()
    assert len(routes) == 14
    assert all(route.filters and route.scopes == ("query",) for route in routes)
    assert len({route.operation for route in routes}) == 14
    assert Routes(routes).find("studies/count").methods["GET"].operation == "countStudies"  # type: ignore[union-attr]


def test_pages(archive: Archive):
    reply = ask(archive, "/studies", ("limit", "1"), ("offset", "1"))
    assert [row["0020000D"]["Value"] for row in rows(reply)] == [["1.2"]]
    assert header(reply, "Warning") == [f"299 {BASE}: There are 1 additional results that can be requested"]
    assert header(reply, "X-Total-Count") == ["3"]
    assert rows(ask(archive, "/studies", ("limit", "500")))  # Raccoon refuses more than 100


def test_friendly_names_and_fuzzy_matching(archive: Archive):
    reply = ask(archive, "/studies", ("patientName", "ann d"), ("fuzzy", "true"))
    assert [row["0020000D"]["Value"] for row in rows(reply)] == [["1.1"]]
    assert header(reply, "Warning") == []


def test_representations(archive: Archive):
    assert ask(archive, "/studies", accept="application/json").content_type == "application/json"
    xml = ask(archive, "/studies", accept='multipart/related; type="application/dicom+xml"')
    assert xml.content_type.startswith('multipart/related; type="application/dicom+xml"')
    assert isinstance(xml.body, bytes)
    assert xml.body.count(b"<NativeDicomModel") == 3
    table = ask(archive, "/studies", ("accept", "text/csv"), accept="application/dicom+json")
    assert isinstance(table.body, bytes)
    assert b"StudyInstanceUID" in table.body.split(b"\r\n")[0]
    with pytest.raises(NotAcceptableError):
        ask(archive, "/studies", accept="image/png")
    with pytest.raises(NotAcceptableError):
        ask(archive, "/studies/count", accept="text/html")


def test_nothing_matches(archive: Archive):
    assert ask(archive, "/studies", ("PatientID", "no")).body == b"[]"
    other = Searching(archive, no_match_status=204)
    reply = ask(other, "/studies", ("PatientID", "no"))
    assert (reply.status, reply.body, reply.content_type) == (204, b"", "")
    assert ask(other, "/studies", ("limit", "0")).status == 200
    assert ask(other, "/studies").status == 200


def test_unknown_parameters(archive: Archive):
    with pytest.raises(UsageError):
        ask(archive, "/studies", ("Nonsense", "1"))
    reply = ask(Searching(archive, strict=False), "/studies", ("Nonsense", "1"))
    assert len(rows(reply)) == 3
    assert header(reply, "Warning") == [f"299 {BASE}: The parameter 'Nonsense' is not supported and was ignored."]


def test_too_long(archive: Archive, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(qido, "_SEARCH_SECONDS", -1.0)
    with pytest.raises(DcmkitError) as caught:
        ask(archive, "/studies")
    assert caught.value.http_status == 413


@pytest.mark.parametrize("size", [100, 3000])
def test_too_large(archive: Archive, monkeypatch: pytest.MonkeyPatch, size: int):
    monkeypatch.setattr(qido, "SIZE_LIMIT", size)
    assert rows(ask(archive, "/studies", ("limit", "1"))) if size > 100 else True
    with pytest.raises(DcmkitError) as caught:
        ask(archive, "/instances", ("limit", "3"), ("includefield", "all"))
    assert caught.value.http_status == 413


def test_limited_to_studies(archive: Archive):
    who = Identity("guest", "link", OPEN.scopes, frozenset({"1.1"}))
    assert [row["0020000D"]["Value"][0] for row in rows(ask(archive, "/studies", identity=who))] == ["1.1"]
    assert len(rows(ask(archive, "/instances", identity=who))) == 4
    assert rows(ask(archive, "/studies/1.2/series", identity=who)) == []
    assert ask(archive, "/instances/count", identity=who).body == b'{"count": 4}'
    (patient,) = rows(ask(archive, "/patients", ("includefield", "NumberOfPatientRelatedStudies"), identity=who))
    assert not {"00201200", "00201202", "00201204"} & set(patient)  # how many others there are is nobody's business


def test_one_answers_cache_does_not_serve_another(archive: Archive):
    searching = Searching(archive)
    who = Identity("guest", "link", OPEN.scopes, frozenset({"1.1"}))
    assert len(rows(ask(searching, "/studies"))) == 3
    assert len(rows(ask(searching, "/studies", identity=who))) == 1
    assert len(rows(ask(searching, "/studies/1.1/series"))) == 2
    assert len(rows(ask(searching, "/series"))) == 6


def test_an_answer_is_made_again_only_when_the_index_changed(archive: Archive, monkeypatch: pytest.MonkeyPatch):
    searching = Searching(archive)
    first = ask(searching, "/studies")
    assert first.etag
    with monkeypatch.context() as patched:
        patched.setattr(qido, "answer", lambda *_, **__: pytest.fail("asked the index"))
        assert ask(searching, "/studies") is first
    put(archive, "1.4.1.1", study="1.4", series="1.4.1")  # seen in the same moment
    second = ask(searching, "/studies")
    assert len(rows(second)) == 4
    assert second.etag != first.etag
    remove(archive, Query("study", {"StudyInstanceUID": "1.4"}))
    assert ask(searching, "/studies").etag == first.etag


def test_everything_of_an_instance_is_its_header(archive: Archive):
    (found,) = rows(ask(archive, "/instances", ("SOPInstanceUID", "1.1.1.1"), ("includefield", "all")))
    assert list(found) == sorted(found)
    assert found["00180050"] == {"vr": "DS", "Value": [2.5]}
    assert found["00081190"]["Value"] == [f"{BASE}/studies/1.1/series/1.1.1/instances/1.1.1.1"]
    assert found["00080005"]["Value"] == ["ISO_IR 192"]
    assert found["7FE00010"]["BulkDataURI"].startswith(BASE)
    assert "00080056" in found


def test_everything_of_a_level_is_what_its_first_instance_says(archive: Archive):
    (study,) = rows(ask(archive, "/studies", ("StudyInstanceUID", "1.1"), ("includefield", "all")))
    assert study["00101040"]["Value"] == ["Main St"]
    assert study["00201208"]["Value"] == [4]
    assert "00181020" not in study
    (series,) = rows(ask(archive, "/series", ("SeriesInstanceUID", "1.1.2"), ("includefield", "all")))
    assert series["00181020"]["Value"] == ["v1"]
    assert series["00080060"]["Value"] == ["SR"]
    assert "00180050" not in series
    assert len(rows(ask(archive, "/patients", ("includefield", "all")))) == 2


def test_an_attribute_that_the_index_does_not_have_is_read(archive: Archive, monkeypatch: pytest.MonkeyPatch):
    (found,) = rows(ask(archive, "/instances", ("SOPInstanceUID", "1.1.1.1"), ("includefield", "SliceThickness")))
    assert found["00180050"]["Value"] == [2.5]
    assert "00181020" not in found
    (found,) = rows(ask(archive, "/studies", ("StudyInstanceUID", "1.1"), ("includefield", "00101040,00080060")))
    assert found["00101040"]["Value"] == ["Main St"]
    assert "00080060" not in found  # of a level below
    monkeypatch.setattr("dcmkit.web.whole_header.read_header", lambda *_: pytest.fail("read a file"))
    assert rows(ask(archive, "/studies", ("includefield", "00081030,00080060")))  # as OHIF asks


def test_everything_where_the_file_has_gone(archive: Archive, tmp_path: Path):
    archive.flush()
    for name in visible(tmp_path):
        (tmp_path / name).unlink()
    (found,) = rows(ask(archive, "/instances", ("SOPInstanceUID", "1.1.1.1"), ("includefield", "all")))
    assert found["00080018"]["Value"] == ["1.1.1.1"]
    assert "00180050" not in found


def quickly(searching: Searching, path: str, *parameters: tuple[str, str], accept: str = "") -> Reply | None:
    found = Routes(searching.routes()).find(path)
    assert found is not None
    quick = found.methods["GET"].quick
    assert quick is not None
    headers = {"accept": accept} if accept else {}
    return quick(Request("GET", path, found.variables, parameters, headers, base_url=BASE))


def test_what_is_found_at_once_is_what_is_found_otherwise(archive: Archive) -> None:
    archive.flush()
    for path, parameters in (
        ("/studies", ()), ("/studies", (("PatientID", "P0"),)), ("/studies", (("PatientID", "none"),)),
        ("/studies/1.1/series", ()), ("/instances", (("limit", "2"),)), ("/studies", (("limit", "0"),)),
    ):  # fmt: skip
        reply = quickly(Searching(archive), path, *parameters)
        assert reply is not None
        assert reply == ask(Searching(archive), path, *parameters)


def test_what_may_take_longer_is_left_to_a_thread(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    archive.flush()
    with monkeypatch.context() as patch:
        patch.setattr(type(archive.committer), "behind", property(lambda committer: True))
        assert quickly(Searching(archive), "/studies") is None
    searching = Searching(archive)
    assert quickly(searching, "/studies", ("includefield", "all")) is None
    assert quickly(searching, "/studies", ("fuzzymatching", "true"), ("PatientName", "doe")) is None
    assert quickly(searching, "/studies", accept="text/csv") is None
    monkeypatch.setattr("dcmkit.web.searching._FEW", 3)
    assert quickly(searching, "/studies") is None
    assert quickly(searching, "/studies", ("PatientID", "P0")) is not None
    assert ask(searching, "/studies").status == 200
    assert quickly(searching, "/studies") is not None  # it is remembered
    monkeypatch.setattr("dcmkit.web.searching._AT_ONCE", -1.0)
    monkeypatch.setattr("dcmkit.archive.query._INSTRUCTIONS", 1)
    assert quickly(Searching(archive), "/instances", ("Rows", "512")) is None


def test_errors_are_told_at_once(archive: Archive) -> None:
    archive.flush()
    with pytest.raises(UsageError):
        quickly(Searching(archive), "/studies", ("NoSuchThing", "1"))
