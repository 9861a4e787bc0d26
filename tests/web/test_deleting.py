"""DELETE, and the trash over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dcmkit.archive.store import Archive
from dcmkit.archive.trash import NeededError, NotInTrashError
from dcmkit.web.deleting import Deleting
from dcmkit.web.exchange import HttpError, NotFoundError, Request
from dcmkit.web.identity import ALL_SCOPES, ForbiddenError, Identity
from dcmkit.web.routes import Routes
from tests.archive.objects import archive_in, put, visible


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with archive_in(tmp_path / "archive") as made:
        for number in range(4):
            put(made, f"1.2.{number}", study=f"1.3.{number % 2}", series=f"1.4.{number}")
        yield made


def request(**variables: str) -> Request:
    return Request("DELETE", variables=variables)


def files(archive: Archive) -> list[str]:
    return visible(Path(archive.root))


def shown(deleting: Deleting) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(deleting.show(Request()).body)  # type: ignore[arg-type]
    return found


def test_there_and_back(archive: Archive) -> None:
    deleting = Deleting(archive)
    reply = deleting.delete(request(study="1.3.1"))
    assert (reply.status, reply.body) == (204, b"")
    assert len(files(archive)) == 2
    (found,) = shown(deleting)
    assert (found["study"], found["instances"], found["by"]) == ("1.3.1", 2, "-")
    assert "Doe" not in json.dumps(found)
    done = deleting.restore(request(id=found["id"]))
    assert json.loads(done.body) == {"restored": 2, "left": 0, "reasons": []}  # type: ignore[arg-type]
    assert len(files(archive)) == 4
    assert shown(deleting) == []


def test_series_and_instances(archive: Archive) -> None:
    deleting = Deleting(archive)
    deleting.delete(request(study="1.3.1", series="1.4.1"))
    deleting.delete(request(study="1.3.0", series="1.4.0", instance="1.2.0"))
    assert files(archive) == ["1.3.0/1.4.2/1.2.2.dcm", "1.3.1/1.4.3/1.2.3.dcm"]
    assert {one.get("instance") for one in shown(deleting)} == {None, "1.2.0"}


@pytest.mark.parametrize(
    "path",
    [
        {"study": "1.9"},
        {"study": "../.."},
        {"study": "1.3.1' OR 1"},
        {"study": "1.3.1", "series": "1.4.0"},
        {"study": "1.3.0", "series": "1.4.1", "instance": "1.2.1"},
        {"study": "1.3.1", "series": "", "instance": "1.2.1"},
    ],
)
def test_what_is_not_there(archive: Archive, path: dict[str, str]) -> None:
    with pytest.raises(NotFoundError):
        Deleting(archive).delete(request(**path))
    assert len(files(archive)) == 4


def test_without_trash(archive: Archive) -> None:
    deleting = Deleting(archive, trash=False)
    assert deleting.delete(request(study="1.3.1")).status == 204
    assert shown(deleting) == []
    assert {route.template for route in deleting.routes()} == {
        "/studies/{study}",
        "/studies/{study}/series/{series}",
        "/studies/{study}/series/{series}/instances/{instance}",
    }


def test_who_may(archive: Archive) -> None:
    routes = Routes(Deleting(archive).routes())
    assert {(route.method, route.template): route.scopes for route in routes.all} == {
        ("DELETE", "/studies/{study}"): ("delete",),
        ("DELETE", "/studies/{study}/series/{series}"): ("delete",),
        ("DELETE", "/studies/{study}/series/{series}/instances/{instance}"): ("delete",),
        ("GET", "/trash"): ("admin",),
        ("DELETE", "/trash"): ("admin",),
        ("DELETE", "/trash/{id}"): ("admin",),
        ("POST", "/trash/{id}/restore"): ("admin",),
    }
    limited = Identity("link", "link", ALL_SCOPES, frozenset({"1.3.0"}))
    deleting = Deleting(archive)
    with pytest.raises(ForbiddenError):
        deleting.delete(request(study="1.3.1")._replace(identity=limited))
    assert deleting.delete(request(study="1.3.0")._replace(identity=limited)).status == 204


def test_what_waits_to_be_delivered(archive: Archive) -> None:
    archive.needed = lambda paths: True
    with pytest.raises(NeededError):
        Deleting(archive).delete(request(study="1.3.1"))
    assert len(files(archive)) == 4


def test_a_changed_file(archive: Archive) -> None:
    archive.flush()
    path = Path(archive.root) / "1.3.1/1.4.1/1.2.1.dcm"
    path.write_bytes(path.read_bytes() + b"\0\0")
    with pytest.raises(HttpError, match="1 files were not deleted") as refused:
        Deleting(archive).delete(request(study="1.3.1"))
    assert refused.value.http_status == 409
    assert files(archive)[-1] == "1.3.1/1.4.1/1.2.1.dcm"


def test_nothing_can_come_back(tmp_path: Path) -> None:
    with archive_in(tmp_path / "archive", on_duplicate="reject") as archive:
        deleting = Deleting(archive)
        put(archive, "1.2.1")
        deleting.delete(request(study="1.2.3.1"))
        put(archive, "1.2.1", pixels=b"\5\6\7\x08")
        with pytest.raises(HttpError, match="nothing of it can come back") as refused:
            deleting.restore(request(id=shown(deleting)[0]["id"]))
        assert refused.value.http_status == 409


def test_emptying(archive: Archive) -> None:
    deleting = Deleting(archive)
    deleting.delete(request(study="1.3.1"))
    deleting.delete(request(study="1.3.0"))
    assert deleting.discard(request(id=shown(deleting)[0]["id"])).status == 204
    assert deleting.empty(Request("DELETE", parameters=(("days", "1"),))).status == 204
    assert len(shown(deleting)) == 1
    for days in ("x", "nan", "-1", "1e300"):
        with pytest.raises(HttpError):
            deleting.empty(Request("DELETE", parameters=(("days", days),)))
    assert deleting.empty(Request("DELETE")).status == 204
    assert shown(deleting) == []
    for handler in (deleting.discard, deleting.restore):
        with pytest.raises(NotInTrashError):
            handler(request(id="../../etc"))
