"""What paths name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dcmkit.archive.store import Archive
from dcmkit.web.exchange import NotFoundError, Request
from dcmkit.web.identity import ForbiddenError, Identity
from dcmkit.web.resources import etag_of, instances_of, located
from tests.archive.objects import archive_in, put


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with archive_in(tmp_path) as archive:
        put(archive, "1.1.1.1", study="1.1", series="1.1.1")
        put(archive, "1.2.1.1", study="1.2", series="1.2.1")
        yield archive


def test_what_a_path_names(archive: Archive) -> None:
    (found,) = instances_of(archive, Request(variables={"study": "1.1"}))
    assert found.instance == "1.1.1.1"
    assert [found] == located(archive, Request(), {"instance": "1.1.1.1"})
    assert etag_of([found]) == etag_of([found]) != etag_of([found], "rendered")


@pytest.mark.parametrize("variables", [{}, {"study": "9"}, {"study": "../.."}, {"study": "1.1", "series": "1.2.1"}])
def test_what_is_not_there(archive: Archive, variables: dict[str, str]) -> None:
    with pytest.raises(NotFoundError) as caught:
        instances_of(archive, Request(variables=variables))
    assert caught.value.http_status == 404


def test_who_is_limited_to_studies(archive: Archive) -> None:
    limited = Identity("a", "link", frozenset({"retrieve"}), frozenset({"1.2"}))
    assert instances_of(archive, Request(variables={"study": "1.2"}, identity=limited))
    with pytest.raises(ForbiddenError):
        located(archive, Request(identity=limited), {"instance": "1.1.1.1"})
