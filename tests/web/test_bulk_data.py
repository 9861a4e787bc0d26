"""Bulk data by its URIs, and all of it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dcmkit import uids
from dcmkit.archive.located import locate
from dcmkit.archive.store import Archive
from dcmkit.dataset.elements import Element, encode
from dcmkit.errors import DcmkitError
from dcmkit.pixels import syntaxes
from dcmkit.web.application import Application
from dcmkit.web.bulk_data import BulkData
from dcmkit.web.exchange import FileSlice, GoneError, NotFoundError, NotModified, Reply, Request, Rope
from dcmkit.web.metadata import Metadata
from dcmkit.web.negotiation import NotAcceptableError
from dcmkit.web.routes import Routes
from tests.archive.objects import archive_in, put
from tests.web.asgi import call
from tests.web.pictures import INSTANCE, SERIES, STUDY, VARIABLES, asking, parts, put_image, ramp, whole

OCTETS = "application/octet-stream"
PDF_CLASS = "1.2.840.10008.5.1.4.1.1.104.1"
URL = f"http://localhost/studies/{STUDY}/series/{SERIES}/instances/{INSTANCE}"
DEFLATED, BIG = uids.DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, uids.EXPLICIT_VR_BIG_ENDIAN


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with archive_in(tmp_path / "archive") as made:
        yield made


@pytest.fixture
def bulk(archive: Archive) -> Iterator[BulkData]:
    made = BulkData(archive)
    yield made
    made.close()


def ask(bulk: BulkData, path: str, accept: str | None = None) -> Reply:
    return bulk.one(asking(accept=accept, variables={"path": path}))


def everything(bulk: BulkData, what: str = "bulkdata", accept: str | None = None, **names: str) -> Reply:
    handler = bulk.everything if what == "bulkdata" else bulk.pixels
    return handler(Request(variables=names or {"study": STUDY}, headers={"accept": accept} if accept else {}))


def put_elements(archive: Archive, more: dict[int, Element], syntax: str = syntaxes.EXPLICIT) -> None:
    elements = {
        0x00080016: Element("UI", PDF_CLASS), 0x00080018: Element("UI", INSTANCE), 0x00100020: Element("LO", "1"),
        0x0020000D: Element("UI", STUDY), 0x0020000E: Element("UI", SERIES), **more,
    }  # fmt: skip
    put(archive, INSTANCE, encode(elements, syntax), sop_class=PDF_CLASS, syntax=syntax)
    archive.flush()


def test_native_pixels_are_a_slice_of_their_file(archive: Archive, bulk: BulkData) -> None:
    pixels = ramp(3)
    put_image(archive, pixels)
    reply = ask(bulk, "7FE00010", OCTETS)
    assert reply.content_type == OCTETS
    assert isinstance(reply.body, Rope)
    assert isinstance(reply.body.pieces[0], FileSlice)
    assert whole(reply) == pixels.tobytes()
    assert reply.headers == (("Content-Location", f"{URL}/bulkdata/7FE00010"),)
    with pytest.raises(NotModified):
        bulk.one(asking(accept=OCTETS, variables={"path": "7FE00010"}, headers={"if-none-match": reply.etag}))
    for accept in (None, "*/*", 'multipart/related; type="application/octet-stream"; transfer-syntax=*'):
        reply = ask(bulk, "7FE00010", accept)
        ((headers, content),) = parts(reply)
        assert content == pixels.tobytes()
        assert headers["content-location"] == f"{URL}/bulkdata/7FE00010"


def test_every_uri_of_the_metadata_leads_somewhere(archive: Archive, bulk: BulkData) -> None:
    wave = {0x54001010: Element("OW", b"\1\2\3\4")}
    more = {0x54000100: Element("SQ", [{}, wave]), 0x00091001: Element("UN", b"x" * 3000),
            0x60003000: Element("OW", b"\5\6")}  # fmt: skip
    put_elements(archive, more)
    metadata = Metadata(archive, ahead=False)
    app = Application(Routes((*metadata.routes(), *bulk.routes())), root="")
    base = f"/studies/{STUDY}/series/{SERIES}/instances/{INSTANCE}"
    (found,) = json.loads(call(app, "GET", f"{base}/metadata").body)
    uri = found["54000100"]["Value"][1]["54001010"]["BulkDataURI"]
    assert uri.endswith("/bulkdata/54000100/2/54001010")
    answer = call(app, "GET", uri.partition("archive.example")[2], {"accept": OCTETS})
    assert (answer.status, answer.body) == (200, b"\1\2\3\4")
    uri = found["00091001"]["BulkDataURI"].partition("archive.example")[2]
    answer = call(app, "GET", uri, {"accept": OCTETS, "range": "bytes=10-19"})
    assert (answer.status, answer.body) == (206, b"x" * 10)
    assert call(app, "GET", base + "/bulkdata/00100020").status == 404
    app.close()
    metadata.close()


@pytest.mark.parametrize("path", ["", "..", "PixelData", "7FE00010/1", "00100020", "00091001", "7FE00010/1/7FE00010"])
def test_what_is_no_bulk_data(archive: Archive, bulk: BulkData, path: str) -> None:
    put_image(archive)
    with pytest.raises(NotFoundError):
        ask(bulk, path)


def test_encapsulated_pixels_come_in_frames(archive: Archive, bulk: BulkData) -> None:
    pixels = ramp(2)
    put_image(archive, pixels, syntax=syntaxes.RLE)
    stored = parts(ask(bulk, "7FE00010", 'multipart/related; type="image/dicom-rle"'))
    assert [headers["content-location"] for headers, _ in stored] == [f"{URL}/frames/1", f"{URL}/frames/2"]
    decoded = parts(ask(bulk, "7FE00010"))
    assert [content for _, content in decoded] == [frame.tobytes() for frame in pixels]
    for what in ("bulkdata", "pixeldata"):
        reply = everything(bulk, what, 'multipart/related; type="image/dicom-rle"')
        assert reply.content_type.startswith('multipart/related; type="image/dicom-rle"')
        assert isinstance(reply.body, Rope)
        assert [content for _, content in parts(reply)] == [content for _, content in stored]
        found = parts(everything(bulk, what))
        assert [content for _, content in found] == [frame.tobytes() for frame in pixels]
        assert found[0][0]["content-type"] == f"{OCTETS}; transfer-syntax={syntaxes.EXPLICIT}"


@pytest.mark.parametrize("syntax", [BIG, DEFLATED])
def test_bytes_come_in_little_endian_whatever_they_are_in(archive: Archive, bulk: BulkData, syntax: str) -> None:
    pixels = ramp(2)
    put_image(archive, pixels, syntax=syntax)
    reply = ask(bulk, "7FE00010", OCTETS)
    assert reply.length == pixels.nbytes
    assert whole(reply) == pixels.tobytes()
    ((_, content),) = parts(everything(bulk))
    assert content == pixels.tobytes()
    reply = everything(bulk)
    assert reply.length == len(whole(reply))


def test_an_encapsulated_document(archive: Archive, bulk: BulkData) -> None:
    document = {0x00420011: Element("OB", b"%PDF-1.7\n\0"), 0x00420012: Element("LO", "application/pdf"),
                0x00420015: Element("UL", "9")}  # fmt: skip
    put_elements(archive, document)
    reply = ask(bulk, "00420011", "application/pdf")
    assert (reply.content_type, whole(reply)) == ("application/pdf", b"%PDF-1.7\n")
    ((headers, content),) = parts(ask(bulk, "00420011", 'multipart/related; type="application/pdf"'))
    assert (headers["content-type"], content) == ("application/pdf", b"%PDF-1.7\n")
    with pytest.raises(NotAcceptableError):
        ask(bulk, "00420011", "image/png")
    ((headers, _),) = parts(everything(bulk, accept='multipart/related; type="application/pdf"'))
    assert headers["content-location"] == f"{URL}/bulkdata/00420011"


def test_a_document_of_no_media_type(archive: Archive, bulk: BulkData) -> None:
    put_elements(archive, {0x00420011: Element("OB", b"ab"), 0x00420012: Element("LO", "a/b\r\nX: y")})
    assert ask(bulk, "00420011", OCTETS).content_type == OCTETS


def test_all_of_a_study(archive: Archive, bulk: BulkData) -> None:
    pixels = ramp()
    put_image(archive, pixels)
    put_image(archive, pixels, "1.2.4", syntax=syntaxes.RLE, instance=2, more=[(0x60003000, "OW", b"\1\2")])
    reply = everything(bulk, accept='multipart/related; type="application/octet-stream"; transfer-syntax=*')
    found = parts(reply)
    assert [headers["content-location"].rpartition("instances/")[2] for headers, _ in found] == [
        f"{INSTANCE}/bulkdata/7FE00010", "1.2.4/bulkdata/60003000", "1.2.4/frames/1"
    ]  # fmt: skip
    assert len(parts(everything(bulk, "pixeldata"))) == 2
    assert len(parts(everything(bulk, "pixeldata", **VARIABLES))) == 1
    with pytest.raises(NotModified):
        bulk.everything(Request(variables={"study": STUDY}, headers={"if-none-match": everything(bulk).etag}))


def test_what_has_gone_or_is_damaged(archive: Archive, bulk: BulkData) -> None:
    put_image(archive)
    put_image(archive, uid="1.2.4", instance=2)
    first, second = locate(archive, STUDY)
    os.unlink(first.path)
    reply = everything(bulk)
    assert len(parts(reply)) == 1
    assert reply.headers == (("Warning", "299 http://localhost: 1 instances have gone"),)
    with open(second.path, "r+b") as file:
        file.seek(second.offset)
        file.write(b"\xff" * 100)
    with pytest.raises(DcmkitError) as caught:
        everything(bulk)
    assert caught.value.http_status == 406
    os.unlink(second.path)
    with pytest.raises(GoneError):
        everything(bulk)
    with pytest.raises(GoneError):
        ask(bulk, "7FE00010")


def test_a_damaged_codestream_is_refused_before_anything_is_sent(archive: Archive, bulk: BulkData) -> None:
    put_image(archive, ramp(2), syntax=syntaxes.RLE)
    (instance,) = locate(archive, STUDY)
    with open(instance.path, "r+b") as file:
        content = file.read()
        file.seek(content.index(b"\x02\0\0\0\x40\0\0\0"))  # two segments, the first one after the header
        file.write(b"\xff" * 64)
    with pytest.raises(DcmkitError) as caught:
        everything(bulk, "pixeldata")
    assert caught.value.http_status == 406


def test_nothing_to_send(archive: Archive, bulk: BulkData) -> None:
    put_elements(archive, {})
    with pytest.raises(NotFoundError):
        everything(bulk)
    with pytest.raises(NotFoundError):
        everything(bulk, "pixeldata")


def test_routes(bulk: BulkData) -> None:
    routes = Routes(bulk.routes())
    found = routes.find("/studies/1/series/2/instances/3/bulkdata/54000100/1/54001010")
    assert found is not None
    assert found.variables["path"] == "54000100/1/54001010"
    for path in ("/studies/1", "/studies/1/series/2", "/studies/1/series/2/instances/3"):
        assert routes.find(path + "/bulkdata") is not None
        assert routes.find(path + "/pixeldata") is not None
