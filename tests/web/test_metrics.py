"""GET /metrics."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dcmkit.archive.store import Archive
from dcmkit.services.spool import Failure, Spool
from dcmkit.web import metrics, passwords
from dcmkit.web.admission import authenticator_of
from dcmkit.web.service import ServiceOptions, build
from dcmkit.web.settings import WebSettings
from tests.archive.objects import archive_in, put
from tests.web.asgi import call

PATH = "/dicom-web/metrics"
SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-z]+="(?:[^"\\\n]|\\["\\n])*",?)+)\})? ([0-9.e+-]+|\+Inf)')


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with archive_in(tmp_path / "archive") as made:
        for number in range(3):
            put(made, f"1.2.{number}", study=f"1.3.{number % 2}")
        made.flush()
        yield made


@pytest.fixture
def service(archive: Archive) -> Iterator[Any]:
    made = build(archive, archive, ServiceOptions())
    yield made
    made.close()


def figures(service: Any, path: str = PATH) -> dict[str, float]:
    """What is shown, each line checked against the format."""
    answer = call(service, "GET", path)
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    text = answer.body.decode()
    assert text.endswith("\n")
    found, described = {}, ""
    for line in text.splitlines():
        if line.startswith("# HELP "):
            described = line.split(" ")[2]
        elif line.startswith("# TYPE "):
            assert line.split(" ")[2:] in [[described, kind] for kind in ("counter", "gauge", "histogram")]
        else:
            sample = SAMPLE.fullmatch(line)
            assert sample, line
            assert sample[1].startswith(described)
            name = f"{sample[1]}{{{sample[2]}}}" if sample[2] else sample[1]
            assert name not in found
            found[name] = float(sample[3])
    return found


def test_requests_are_counted(service: Any) -> None:
    call(service, "GET", "/dicom-web/studies")
    call(service, "HEAD", "/dicom-web/studies")
    call(service, "GET", "/dicom-web/studies/1.9/metadata")
    call(service, "GET", "/elsewhere")
    call(service, "POST", "/dicom-web/studies", {"content-type": "text/plain"}, b"x" * 1000)
    found = figures(service)
    total = "dcmkit_http_requests_total"
    assert found[f'{total}{{method="GET",operation="searchForStudies",status="2xx"}}'] == 1
    assert found[f'{total}{{method="HEAD",operation="searchForStudies",status="2xx"}}'] == 1
    assert found[f'{total}{{method="GET",operation="none",status="4xx"}}'] == 1
    assert sum(number for name, number in found.items() if name.startswith(total)) == 5
    search = 'method="GET",operation="searchForStudies"'
    assert found[f"dcmkit_http_sent_bytes_total{{{search}}}"] > 100
    assert found[f'dcmkit_http_request_seconds_bucket{{{search},le="+Inf"}}'] == 1
    assert found[f"dcmkit_http_request_seconds_count{{{search}}}"] == 1
    assert 0 < found[f"dcmkit_http_request_seconds_sum{{{search}}}"] < 60
    received = [number for name, number in found.items() if name.startswith("dcmkit_http_received") and "POST" in name]
    assert received == [1000]
    assert found["dcmkit_uploads"] == 0
    again = figures(service, "/metrics")
    assert again[f'{total}{{method="GET",operation="getMetrics",status="2xx"}}'] == 1


def test_the_archive_is_counted(archive: Archive, service: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found = figures(service)
    assert (found["dcmkit_studies"], found["dcmkit_instances"]) == (2, 3)
    assert found["dcmkit_stored_bytes"] == sum(file.stat().st_size for file in Path(archive.root).rglob("*.dcm"))
    assert not any(name.startswith("dcmkit_forward") for name in found)
    put(archive, "1.2.9", study="1.3.9")
    archive.flush()
    monkeypatch.setattr(metrics, "_HELD", 0.0)
    time_of = time.monotonic() + 10
    monkeypatch.setattr("dcmkit.web.metrics.time.monotonic", lambda: time_of)
    assert figures(service)["dcmkit_studies"] == 3


def test_what_is_to_be_forwarded(archive: Archive, service: Any) -> None:
    spool = Spool(archive.root).open()
    for number in range(4):
        path = Path(archive.root) / f"{number}"
        path.write_bytes(b"x")
        spool.add(["http://far.example/dicom-web", 'odd"\\\n'], str(path), f"1.2.{number}")
    first, second, third, _ = spool.due("http://far.example/dicom-web", 9)
    failed = [Failure(first, time.time() + 60, "full", False), Failure(second, 0.0, "never", True)]
    spool.settle("http://far.example/dicom-web", [third], failed)
    spool.close()
    found = figures(service)
    to = 'destination="http://far.example/dicom-web"'
    for state in ("waiting", "retrying", "dead"):
        assert found[f'dcmkit_forward_objects{{{to},state="{state}"}}'] == 1
    assert found[f"dcmkit_forward_delivered_total{{{to}}}"] == 1
    assert 0 <= found[f"dcmkit_forward_oldest_seconds{{{to}}}"] < 60
    assert found['dcmkit_forward_objects{destination="odd\\"\\\\\\n",state="waiting"}'] == 4


def test_a_spool_that_cannot_be_read_takes_nothing_else_away(archive: Archive, service: Any) -> None:
    (Path(archive.root) / ".dcmkit" / "spool.sqlite").write_bytes(b"nothing of the kind" * 100)
    assert figures(service)["dcmkit_studies"] == 2


def test_only_for_those_who_look_after_the_service(archive: Archive, tmp_path: Path) -> None:
    users = str(tmp_path / "users")
    passwords.set_password(users, "alice", "secret", frozenset({"query", "retrieve"}))
    passwords.set_password(users, "admin", "secret", frozenset({"admin"}))
    settings = WebSettings(auth=(f"users:{users}",))
    made = build(archive, archive, ServiceOptions(authenticator=authenticator_of(settings, exposed=True)))
    try:
        assert call(made, "GET", PATH).status == 401
        assert call(made, "GET", PATH, {"authorization": "Basic YWxpY2U6c2VjcmV0"}).status == 403
        assert call(made, "GET", PATH, {"authorization": "Basic YWRtaW46c2VjcmV0"}).status == 200
    finally:
        made.close()
