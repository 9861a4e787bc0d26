"""Metadata of what is in an archive, over all the ways it comes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from dcmkit.archive.located import locate
from dcmkit.archive.store import Archive
from dcmkit.web.exchange import GoneError, NotFoundError, NotModified, Reply, Request
from dcmkit.web.identity import ForbiddenError, Identity
from dcmkit.web.metadata import Metadata
from dcmkit.web.multipart import MultipartReader, PartBegan, PartData
from dcmkit.web.negotiation import NotAcceptableError
from dcmkit.web.routes import Routes
from tests.archive.objects import archive_in, put

BASE = "https://pacs.example/dicom-web"
STUDY, SERIES = {"study": "1.1"}, {"study": "1.1", "series": "1.1.1"}
INSTANCE = {**SERIES, "instance": "1.1.1.2"}
XML = 'multipart/related; type="application/dicom+xml"'
MORE = [(0x00090010, "LO", b"ACME"), (0x00091001, "LO", b"secret"), (0x00420011, "OB", b"%PDF")]


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with archive_in(tmp_path) as archive:
        for number in (1, 2, 3):
            put(archive, f"1.1.1.{number}", study="1.1", series="1.1.1", instance=number, more=MORE)
        put(archive, "1.1.2.1", study="1.1", series="1.1.2")
        put(archive, "1.2.1.1", study="1.2", series="1.2.1")
        archive.flush()
        yield archive


@pytest.fixture
def metadata(archive: Archive) -> Iterator[Metadata]:
    metadata = Metadata(archive, ahead=False)
    yield metadata
    metadata.close()


def ask(variables: dict[str, str], accept: str | None = None, *parameters: tuple[str, str], **more: Any) -> Request:
    headers = {"accept": accept} if accept else {}
    return Request(variables=variables, headers={**headers, **more.pop("headers", {})}, parameters=parameters,
                   base_url=BASE, **more)  # fmt: skip


def body(reply: Reply) -> bytes:
    found = reply.body
    return found if isinstance(found, bytes) else b"".join(bytes(piece) for piece in found)


def objects(reply: Reply) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(body(reply))
    return found


def test_a_study_a_series_an_instance(metadata: Metadata) -> None:
    for _ in range(2):
        reply = metadata.retrieve(ask(SERIES))
        assert (reply.status, reply.content_type) == (200, "application/dicom+json")
        found = objects(reply)
        assert [one["00080018"]["Value"] for one in found] == [["1.1.1.1"], ["1.1.1.2"], ["1.1.1.3"]]
        assert len(objects(metadata.retrieve(ask(STUDY)))) == 4
        (one,) = objects(metadata.retrieve(ask(INSTANCE)))
        assert one == found[1]
        assert one["00100010"]["Value"] == [{"Alphabetic": "Doe^Jane"}]
        url = f"{BASE}/studies/1.1/series/1.1.1/instances/1.1.1.2/bulkdata"
        assert one["7FE00010"] == {"vr": "OW", "BulkDataURI": f"{url}/7FE00010"}
        assert one["00420011"]["BulkDataURI"] == f"{url}/00420011"
        assert one["00083002"]["Value"] == ["1.2.840.10008.1.2.1"]


def test_it_is_kept_beside_the_index(archive: Archive, metadata: Metadata) -> None:
    first = body(metadata.retrieve(ask(STUDY)))
    metadata.close()
    for one in locate(archive, "1.1"):  # of the same size and time: only what was kept can be right
        content = Path(one.path).read_bytes()
        Path(one.path).write_bytes(b"\0" * len(content))
        os.utime(one.path, ns=(one.mtime_ns, one.mtime_ns))
    other = Metadata(archive, ahead=False)
    assert body(other.retrieve(ask(STUDY))) == first
    assert other.json_of(locate(archive, instance="1.1.1.2")[0], BASE) in first
    other.close()


def test_another_file_is_another_answer(archive: Archive, metadata: Metadata) -> None:
    first = metadata.retrieve(ask(INSTANCE))
    (one,) = locate(archive, instance="1.1.1.2")
    content = Path(one.path).read_bytes().replace(b"Doe^Jane", b"Doe^John")
    Path(one.path).unlink()
    Path(one.path).write_bytes(content)
    os.utime(one.path, ns=(one.mtime_ns + 10**9,) * 2)
    second = metadata.retrieve(ask(INSTANCE))
    assert first.etag != second.etag
    assert objects(second)[0]["00100010"]["Value"] == [{"Alphabetic": "Doe^John"}]


def test_what_the_user_agent_has(metadata: Metadata) -> None:
    reply = metadata.retrieve(ask(SERIES))
    with pytest.raises(NotModified):
        metadata.retrieve(ask(SERIES, headers={"if-none-match": f'"{reply.etag}"'}))
    others = [metadata.retrieve(ask(SERIES, XML)), metadata.retrieve(ask(SERIES, None, ("excludeprivate", "true"))),
              metadata.retrieve(ask(SERIES)._replace(base_url="http://other"))]  # fmt: skip
    assert len({reply.etag, *(other.etag for other in others)}) == 4


def test_gzip_is_made_for_who_takes_it(metadata: Metadata) -> None:
    import gzip

    assert metadata.retrieve(ask(SERIES)).gzipped is None
    reply = metadata.retrieve(ask(SERIES, headers={"accept-encoding": "br, gzip"}))
    assert gzip.decompress(reply.gzipped or b"") == reply.body


def test_files_that_have_gone(archive: Archive, metadata: Metadata) -> None:
    whole = metadata.retrieve(ask(SERIES))
    found = locate(archive, **SERIES)
    os.unlink(found[0].path)
    reply = metadata.retrieve(ask(SERIES))
    assert len(objects(reply)) == 2
    assert reply.etag != whole.etag
    (warning,) = reply.headers
    assert warning == ("Warning", f"299 {BASE}: 1 files have gone from the archive")
    for one in found[1:]:
        os.unlink(one.path)
    with pytest.raises(GoneError):
        metadata.retrieve(ask(SERIES))


def test_what_is_not_there(archive: Archive, metadata: Metadata) -> None:
    with pytest.raises(NotFoundError):
        metadata.retrieve(ask({"study": "9"}))
    limited = Identity("a", "link", frozenset({"retrieve"}), frozenset({"1.2"}))
    assert metadata.retrieve(ask({"study": "1.2"}, identity=limited)).status == 200
    metadata.retrieve(ask(STUDY))
    with pytest.raises(ForbiddenError):
        metadata.retrieve(ask(STUDY, identity=limited))
    put(archive, "1.1.1.9", study="1.1", series="1.1.1")
    assert len(objects(metadata.retrieve(ask(SERIES)))) == 4


def test_a_data_set_that_cannot_be_followed(archive: Archive, metadata: Metadata) -> None:
    (one,) = locate(archive, instance="1.1.1.2")
    with open(one.path, "r+b") as file:
        file.seek(one.offset)
        file.write(b"\xff" * 60)
    found = objects(metadata.retrieve(ask(SERIES)))
    assert found[1].keys() == {"00080016", "00080018", "0020000D", "0020000E"}
    assert found[1]["00080018"]["Value"] == ["1.1.1.2"]
    assert b"1.1.1.2" in body(metadata.retrieve(ask(INSTANCE, "application/dicom+xml")))


def test_xml(metadata: Metadata) -> None:
    reply = metadata.retrieve(ask(SERIES, XML))
    boundary = reply.content_type.rpartition("boundary=")[2]
    assert reply.content_type.startswith('multipart/related; type="application/dicom+xml"')
    reader = MultipartReader(boundary)
    parts: list[bytes] = []
    for event in reader.feed(body(reply)):
        if isinstance(event, PartBegan):
            assert event.content_type == "application/dicom+xml"
            parts.append(b"")
        elif isinstance(event, PartData):
            parts[-1] += bytes(event.view)
    reader.close()
    assert len(parts) == 3
    one = metadata.retrieve(ask(INSTANCE, "application/dicom+xml"))
    assert (one.content_type, one.body) == ("application/dicom+xml", parts[1])
    root = ElementTree.fromstring(parts[1])
    (pixels,) = [found for found in root if found.get("keyword") == "PixelData"]
    assert pixels[0].get("uri") == f"{BASE}/studies/1.1/series/1.1.1/instances/1.1.1.2/bulkdata/7FE00010"


def test_media_types(metadata: Metadata) -> None:
    assert metadata.retrieve(ask(INSTANCE, "application/json")).content_type == "application/json"
    assert metadata.retrieve(ask(INSTANCE, None, ("accept", "application/json"))).content_type == "application/json"
    with pytest.raises(NotAcceptableError):
        metadata.retrieve(ask(SERIES, "image/png"))


def test_some_attributes_only(metadata: Metadata) -> None:
    (one,) = objects(metadata.retrieve(ask(INSTANCE, None, ("includefield", "PatientName,00200013"))))
    assert one.keys() == {"00080005", "00080016", "00080018", "00100010", "0020000D", "0020000E", "00200013"}
    (one,) = objects(metadata.retrieve(ask(INSTANCE, None, ("excludeprivate", "true"))))
    assert "00091001" not in one
    assert "00100010" in one
    reply = metadata.retrieve(ask(INSTANCE, None, ("includefield", "NoSuchThing")))
    assert len(reply.headers) == 1
    xml = body(metadata.retrieve(ask(INSTANCE, "application/dicom+xml", ("excludeprivate", "true"))))
    assert b"secret" not in xml


def test_a_long_body_is_sent_as_it_is_made(metadata: Metadata, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = body(metadata.retrieve(ask(STUDY)))
    monkeypatch.setattr("dcmkit.web.body_cache.WHOLE", 1)
    metadata._bodies._bodies.clear()
    reply = metadata.retrieve(ask(STUDY))
    assert not isinstance(reply.body, bytes)
    assert body(reply) == whole


def test_routes(metadata: Metadata) -> None:
    routes = Routes(metadata.routes())
    for path in ("/studies/1/metadata", "/studies/1/series/2/metadata", "/studies/1/series/2/instances/3/metadata"):
        found = routes.find(path)
        assert found is not None
        assert found.methods["GET"].scopes == ("retrieve",)
