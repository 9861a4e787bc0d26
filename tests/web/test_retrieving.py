"""Whole objects, as they are and converted."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dcmkit.archive.located import locate
from dcmkit.archive.store import Archive
from dcmkit.dataset.part10 import read_file_header
from dcmkit.errors import DcmkitError
from dcmkit.pixels import guard
from dcmkit.pixels.plan import named
from dcmkit.pixels.transcode import transcode_file
from dcmkit.web import retrieving
from dcmkit.web.exchange import GoneError, NotFoundError, NotModified, Reply, Request, Rope
from dcmkit.web.identity import ForbiddenError, Identity
from dcmkit.web.media_types import boundary_of, parse_media_type
from dcmkit.web.multipart import BodyEnded, MultipartReader, PartBegan, PartData, PartEnded
from dcmkit.web.negotiation import NotAcceptableError
from dcmkit.web.representation import blocks_of, prepare
from dcmkit.web.retrieving import Retrieving
from dcmkit.web.routes import Routes
from tests.archive.objects import archive_in, part10, put
from tests.dataset.encoding import number

STUDY, SERIES = "1.2.3.1", "1.2.3.2"
EXPLICIT, IMPLICIT = named("explicit"), named("implicit")
JPEG_LS, RLE, MPEG = named("jpegls"), named("rle"), "1.2.840.10008.1.2.4.102"
PIXELS = [
    (0x00280002, "US", number(1, EXPLICIT)), (0x00280004, "CS", b"MONOCHROME2 "),
    (0x00280010, "US", number(4, EXPLICIT)), (0x00280011, "US", number(4, EXPLICIT)),
    (0x00280100, "US", number(16, EXPLICIT)),
    (0x00280101, "US", number(16, EXPLICIT)), (0x00280102, "US", number(15, EXPLICIT)),
    (0x00280103, "US", number(0, EXPLICIT)),
]  # fmt: skip
AS_STORED = 'multipart/related; type="application/dicom"; transfer-syntax=*'
SR = "1.2.840.10008.5.1.4.1.1.88.11"


@pytest.fixture(autouse=True)
def no_workers_left() -> Iterator[None]:
    yield
    guard.close()


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with archive_in(tmp_path / "archive") as made:
        yield made


def data(uid: str, **how: Any) -> bytes:
    return part10(uid, pixels=bytes(range(32)), more=PIXELS, **how)


def store(archive: Archive, raw: bytes) -> Path:
    """A file with its meta information, through the door; its path in the archive."""
    path = Path(archive.root) / ".source"
    path.write_bytes(raw)
    header = read_file_header(path)
    path.unlink()
    incoming = archive.incoming(header.sop_class_uid, header.sop_instance_uid, header.transfer_syntax_uid)
    incoming.write(memoryview(raw)[header.offset :])
    return Path(incoming.commit().path)


def compressed(tmp_path: Path, raw: bytes, syntax: str) -> bytes:
    source = tmp_path / "source.dcm"
    source.write_bytes(raw)
    transcode_file(source, tmp_path / "target.dcm", syntax)
    return (tmp_path / "target.dcm").read_bytes()


def request(accept: str | None = None, *parameters: tuple[str, str], **variables: str) -> Request:
    variables = variables or {"study": STUDY}
    headers = {"accept": accept} if accept is not None else {}
    return Request(variables=variables, parameters=parameters, headers=headers, base_url="http://here/dicom-web")


def body(reply: Reply) -> bytes:
    if isinstance(reply.body, bytes):
        return reply.body
    found = b"".join(blocks_of(reply.body) if isinstance(reply.body, Rope) else reply.body)
    assert reply.length in (None, len(found))
    if isinstance(reply.body, Rope):
        assert reply.body.length == len(found)
    return found


def parts(reply: Reply) -> list[tuple[dict[str, str], bytes]]:
    found: list[tuple[dict[str, str], bytearray]] = []
    reader = MultipartReader(boundary_of(parse_media_type(reply.content_type)))
    ended = False
    for event in reader.feed(body(reply)):
        if isinstance(event, PartBegan):
            found.append((event.headers, bytearray()))
        elif isinstance(event, PartData):
            found[-1][1].extend(event.view)
        elif isinstance(event, PartEnded):
            assert event.as_claimed
        ended = ended or isinstance(event, BodyEnded)
    assert ended
    return [(headers, bytes(content)) for headers, content in found]


def syntaxes_of(reply: Reply, tmp_path: Path) -> list[str]:
    """Of each part, by what is in it; its header says the same."""
    found = []
    for headers, content in parts(reply):
        (tmp_path / "part").write_bytes(content)
        found.append(read_file_header(tmp_path / "part").transfer_syntax_uid)
        assert headers["content-type"] == f"application/dicom; transfer-syntax={found[-1]}"
    return found


# --- as stored -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("accept", [AS_STORED, AS_STORED.replace('"', ""), None, "*/*", "multipart/related"])
def test_a_study_as_it_is_stored(archive: Archive, accept: str | None) -> None:
    paths = [store(archive, data(f"1.2.{uid}", instance=uid)) for uid in (1, 2)]
    reply = Retrieving(archive).retrieve(request(accept))
    assert (reply.status, reply.headers) == (200, ())
    assert isinstance(reply.body, Rope)
    found = parts(reply)
    assert [content for _, content in found] == [path.read_bytes() for path in paths]
    assert found[1][0] == {
        "content-type": f"application/dicom; transfer-syntax={EXPLICIT}",
        "content-location": f"http://here/dicom-web/studies/{STUDY}/series/{SERIES}/instances/1.2.2",
        "content-length": str(paths[1].stat().st_size),
    }


def test_series_and_instances(archive: Archive) -> None:
    for uid, series in ((1, "1.5"), (2, "1.5"), (3, "1.6")):
        store(archive, data(f"1.2.{uid}", series=series))
    retrieve = Retrieving(archive).retrieve
    assert len(parts(retrieve(request(study=STUDY, series="1.5")))) == 2
    assert len(parts(retrieve(request(study=STUDY, series="1.6", instance="1.2.3")))) == 1
    for wrong in ({"study": "1.9"}, {"study": STUDY, "series": "1.5", "instance": "1.2.3"}, {"study": "../.."}):
        with pytest.raises(NotFoundError):
            retrieve(request(**wrong))


def test_one_alone(archive: Archive) -> None:
    path = store(archive, data("1.2.1"))
    asked = {"study": STUDY, "series": SERIES, "instance": "1.2.1"}
    reply = Retrieving(archive).retrieve(request("application/dicom", **asked))
    assert reply.content_type == f"application/dicom; transfer-syntax={EXPLICIT}"
    assert body(reply) == path.read_bytes()
    assert reply.headers[0][0] == "Content-Location"
    with pytest.raises(NotAcceptableError):
        Retrieving(archive).retrieve(request("application/dicom", study=STUDY))


def test_parameters_stand_in_for_headers(archive: Archive) -> None:
    store(archive, data("1.2.1"))
    found = Retrieving(archive).retrieve(
        request(None, ("accept", "application/zip;transfer-syntax=*"), ("charset", "utf-8"))
    )
    assert found.content_type == "application/zip"


def test_implicit_is_sent_to_who_takes_what_is_stored(archive: Archive, tmp_path: Path) -> None:
    put(archive, "1.2.1", syntax=IMPLICIT)
    assert syntaxes_of(Retrieving(archive).retrieve(request(AS_STORED)), tmp_path) == [IMPLICIT]
    assert syntaxes_of(Retrieving(archive).retrieve(request()), tmp_path) == [EXPLICIT]


def test_a_file_without_meta_information_gets_some(archive: Archive, tmp_path: Path) -> None:
    store(archive, data("1.2.1"))
    archive.flush()
    one = locate(archive, STUDY)[0]
    bare = tmp_path / "bare"
    bare.write_bytes(Path(one.path).read_bytes()[one.offset :])
    item = retrieving.Item(one._replace(path=str(bare), offset=0), bare.stat().st_size, EXPLICIT)
    found = b"".join(blocks_of(Rope(retrieving._stored(item))))
    assert len(found) == item.stored_size
    assert b"".join(retrieving.stored(item).blocks()) == found
    (tmp_path / "whole").write_bytes(found)
    assert read_file_header(tmp_path / "whole").sop_instance_uid == "1.2.1"


# --- tags, ranges ------------------------------------------------------------------------------------------------


def test_entity_tags(archive: Archive) -> None:
    store(archive, data("1.2.1"))
    retrieving = Retrieving(archive)
    first = retrieving.retrieve(request())
    again = request()._replace(headers={"if-none-match": f'"{first.etag}"'})
    with pytest.raises(NotModified):
        retrieving.retrieve(again)
    assert body(retrieving.retrieve(request())) == body(first)
    tags = {
        first.etag,
        retrieving.retrieve(request("application/zip")).etag,
        retrieving.retrieve(request()._replace(base_url="http://there")).etag,
        Retrieving(archive, key=b"another").retrieve(request()).etag,
    }
    store(archive, data("1.2.2"))
    tags.add(retrieving.retrieve(again).etag)
    assert len(tags) == 5


def test_ranges(archive: Archive) -> None:
    store(archive, data("1.2.1"))
    reply = Retrieving(archive).retrieve(request())
    whole = body(reply)
    outgoing = prepare(reply, {"range": "bytes=100-599"})
    assert outgoing.status == 206
    assert b"".join(outgoing.blocks) == whole[100:600]


# --- converted -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["jpegls", "htj2k", "rle", "j2k", "deflated", "jpeg-lossless"])
def test_named_transfer_syntaxes(archive: Archive, tmp_path: Path, name: str) -> None:
    store(archive, data("1.2.1"))
    store(archive, compressed(tmp_path, data("1.2.2"), JPEG_LS))
    accept = AS_STORED.replace("*", named(name))
    reply = Retrieving(archive).retrieve(request(accept))
    assert reply.status == 200
    assert syntaxes_of(reply, tmp_path) == [named(name)] * 2


def test_the_default_is_explicit(archive: Archive, tmp_path: Path) -> None:
    native = data("1.2.1")
    store(archive, compressed(tmp_path, native, JPEG_LS))
    reply = Retrieving(archive).retrieve(request())
    assert reply.length is None
    assert syntaxes_of(reply, tmp_path) == [EXPLICIT]
    assert syntaxes_of(Retrieving(archive).retrieve(request(AS_STORED)), tmp_path) == [JPEG_LS]
    assert parts(Retrieving(archive).retrieve(request()))[0][1].endswith(bytes(range(32)))


def test_one_alone_is_converted_before_it_is_answered(archive: Archive, tmp_path: Path) -> None:
    store(archive, compressed(tmp_path, data("1.2.1"), RLE))
    asked = {"study": STUDY, "series": SERIES, "instance": "1.2.1"}
    reply = Retrieving(archive).retrieve(request("application/dicom", **asked))
    assert reply.length == len(body(reply))
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    unread = Retrieving(archive).retrieve(request("application/dicom", **asked))
    prepare(unread, {}, head=True)
    assert before == (len(os.listdir("/proc/self/fd")) if before else 0)


def test_lossy_compression_makes_another_instance(archive: Archive, tmp_path: Path) -> None:
    store(archive, data("1.2.1"))
    asked = {"study": STUDY, "series": SERIES, "instance": "1.2.1"}
    accept = f"application/dicom; transfer-syntax={named('j2k-lossy')}"
    (tmp_path / "got").write_bytes(body(Retrieving(archive).retrieve(request(accept, **asked))))
    assert read_file_header(tmp_path / "got").sop_instance_uid != "1.2.1"


def test_video_stays_as_it_is(archive: Archive, tmp_path: Path) -> None:
    """PS3.18 8.7.3.4"""
    fragment = b"\xfe\xff\0\xe0\0\0\0\0\xfe\xff\0\xe0\4\0\0\0abcd\xfe\xff\xdd\xe0\0\0\0\0"
    raw = part10("1.2.1", syntax=EXPLICIT, more=PIXELS)
    start = raw.index(b"\xe0\x7f\x10\0OW")
    meta_free = raw[: start + 8] + b"\xff\xff\xff\xff" + fragment
    header_end = raw.index(b"\x08\0\x05\0CS")
    put(archive, "1.2.1", meta_free[header_end:], syntax=MPEG)
    assert syntaxes_of(Retrieving(archive).retrieve(request()), tmp_path) == [MPEG]
    store(archive, compressed(tmp_path, data("1.2.2", instance=2), RLE))
    assert syntaxes_of(Retrieving(archive).retrieve(request()), tmp_path) == [MPEG, EXPLICIT]
    partly = Retrieving(archive).retrieve(request(AS_STORED.replace("*", JPEG_LS)))
    assert partly.status == 206
    assert "1 of 2 instances are left out" in dict(partly.headers)["Warning"]
    assert syntaxes_of(partly, tmp_path) == [JPEG_LS]
    assert partly.etag == ""


def test_reports_are_not_compressed(archive: Archive, tmp_path: Path) -> None:
    store(archive, data("1.2.1"))
    put(archive, "1.2.9", sop_class=SR, without=(0x7FE00010, 0x00280010, 0x00280011), instance=2, syntax=IMPLICIT)
    reply = Retrieving(archive).retrieve(request(AS_STORED.replace("*", RLE)))
    assert reply.status == 200
    assert syntaxes_of(reply, tmp_path) == [RLE, EXPLICIT]


def test_what_cannot_be_had_at_all(archive: Archive) -> None:
    with_float = [(0x00280010, "US", number(1, EXPLICIT)), *PIXELS[4:]]
    put(archive, "1.2.1", more=with_float, syntax=EXPLICIT)
    with pytest.raises(NotAcceptableError):
        Retrieving(archive).retrieve(request(AS_STORED.replace("*", "1.2.840.10008.1.2.4.204")))
    with pytest.raises(NotAcceptableError):
        Retrieving(archive).retrieve(request("image/jpeg"))


def test_the_next_best_of_what_is_accepted(archive: Archive, tmp_path: Path) -> None:
    put(archive, "1.2.1", more=[*PIXELS[:7], (0x00280103, "US", number(1, EXPLICIT))], pixels=bytes(32))
    both = AS_STORED.replace("*", named("jpeg")) + ", " + AS_STORED.replace("*", RLE) + "; q=0.5"
    assert syntaxes_of(Retrieving(archive).retrieve(request(both)), tmp_path) == [RLE]
    with pytest.raises(NotAcceptableError, match="no instance can be had in JPEG Baseline"):
        Retrieving(archive).retrieve(request(AS_STORED.replace("*", named("jpeg"))))


def test_what_turns_out_to_be_damaged(archive: Archive, tmp_path: Path) -> None:
    """In parts it comes as it is; alone it is refused."""
    raw = compressed(tmp_path, data("1.2.2", instance=2), JPEG_LS)
    store(archive, compressed(tmp_path, data("1.2.1"), JPEG_LS))
    middle = raw.rindex(b"\xff\xda") + 6
    store(
        archive,
        raw[:middle] + b"\xff\xd9" * ((len(raw) - 8 - middle) // 2) + raw[middle + (len(raw) - 8 - middle) // 2 * 2 :],
    )
    reply = Retrieving(archive).retrieve(request())
    assert syntaxes_of(reply, tmp_path) == [EXPLICIT, JPEG_LS]
    asked = {"study": STUDY, "series": SERIES, "instance": "1.2.2"}
    with pytest.raises(NotAcceptableError):
        Retrieving(archive).retrieve(request("application/dicom", **asked))


# --- what is not there ---------------------------------------------------------------------------------------------


def test_files_that_have_gone(archive: Archive) -> None:
    paths = [store(archive, data(f"1.2.{uid}", instance=uid)) for uid in (1, 2)]
    paths[0].unlink()
    reply = Retrieving(archive).retrieve(request())
    assert reply.status == 206
    assert reply.headers == (
        ("Warning", "299 http://here/dicom-web: 1 of 2 instances are left out: 1 have gone from the archive"),
    )
    assert [content for _, content in parts(reply)] == [paths[1].read_bytes()]
    assert prepare(reply, {"range": "bytes=0-9"}).status == 206
    paths[1].unlink()
    with pytest.raises(GoneError) as gone:
        Retrieving(archive).retrieve(request())
    assert gone.value.http_status == 410


def test_limited_links(archive: Archive) -> None:
    store(archive, data("1.2.1"))
    limited = Identity("link", "link", frozenset({"retrieve"}), frozenset({"1.9"}))
    with pytest.raises(ForbiddenError):
        Retrieving(archive).retrieve(request()._replace(identity=limited))


# --- zip -----------------------------------------------------------------------------------------------------------


def test_zip(archive: Archive, tmp_path: Path) -> None:
    path = store(archive, data("1.2.1"))
    store(archive, compressed(tmp_path, data("1.2.2"), RLE))
    reply = Retrieving(archive).retrieve(request("application/zip; transfer-syntax=*"))
    assert reply.headers == (("Content-Disposition", f'attachment; filename="{STUDY}.zip"'),)
    content = body(reply)
    assert reply.length == len(content)
    with zipfile.ZipFile(io.BytesIO(content)) as made:
        assert made.testzip() is None
        assert made.namelist() == [f"{STUDY}/{SERIES}/1.2.1.dcm", f"{STUDY}/{SERIES}/1.2.2.dcm"]
        assert made.read(made.namelist()[0]) == path.read_bytes()
    converted = Retrieving(archive).retrieve(request("application/zip"))
    assert converted.length is None
    with zipfile.ZipFile(io.BytesIO(body(converted))) as made:
        (tmp_path / "got").write_bytes(made.read(made.namelist()[1]))
    assert read_file_header(tmp_path / "got").transfer_syntax_uid == EXPLICIT


def test_a_file_set(archive: Archive, tmp_path: Path) -> None:
    from pydicom.fileset import FileSet

    for uid, series in ((1, "1.5"), (2, "1.5"), (3, "1.6")):
        store(archive, data(f"1.2.{uid}", series=series, instance=uid))
    reply = Retrieving(archive).retrieve(request("*/*", ("dicomdir", "true")))
    assert reply.content_type == "application/zip"
    with zipfile.ZipFile(io.BytesIO(body(reply))) as made:
        made.extractall(tmp_path / "set")
        assert made.namelist()[-1] == "DICOMDIR"
    read = FileSet(tmp_path / "set" / "DICOMDIR")
    assert sorted(one.SOPInstanceUID for one in read) == ["1.2.1", "1.2.2", "1.2.3"]
    assert all(one.load().PatientID == "4711" for one in read)
    read._stage["t"].cleanup()
    with pytest.raises(NotAcceptableError):
        Retrieving(archive).retrieve(request("application/dicom", ("dicomdir", "true")))


def test_names_in_a_zip_lead_nowhere_else(archive: Archive) -> None:
    store(archive, data("1.2.1"))
    archive.flush()
    one = locate(archive, STUDY)[0]._replace(study="../..", series="", instance="/etc/passwd\n")
    name = retrieving._file_name(one)
    assert ".." not in name.split("/")
    assert name.count("/") == 2
    assert name.isprintable()


def test_over_the_application(archive: Archive, tmp_path: Path) -> None:
    """HEAD, ranges and 304 of what is sent as it is, and of what is made on the way."""
    from dcmkit.web.application import Application
    from tests.web.asgi import call

    store(archive, compressed(tmp_path, data("1.2.1"), RLE))
    application = Application(Routes(Retrieving(archive).routes()))
    path = f"/dicom-web/studies/{STUDY}"
    try:
        for accept in (AS_STORED, AS_STORED.replace("*", JPEG_LS), "application/zip; transfer-syntax=*"):
            status, headers, whole = call(application, "GET", path, {"accept": accept})
            assert status == 200
            again = call(application, "HEAD", path, {"accept": accept})
            assert again[0] == 200
            assert again[2] == b""
            assert again[1].get("content-length") == headers.get("content-length")
            assert call(application, "GET", path, {"accept": accept, "if-none-match": headers["etag"]})[0] == 304
            assert headers.get("content-length") in (None, str(len(whole)))
        status, headers, part = call(application, "GET", path, {"accept": AS_STORED, "range": "bytes=10-19"})
        assert (status, len(part)) == (206, 10)
        assert call(application, "GET", path, {"accept": "image/png"})[0] == 406
        assert call(application, "GET", path + "/series/1.9", {})[0] == 404
    finally:
        application.close()


# --- routes --------------------------------------------------------------------------------------------------------


def test_routes(archive: Archive) -> None:
    routes = Routes(Retrieving(archive).routes())
    found = routes.find(f"/studies/{STUDY}/series/{SERIES}/instances/1.2.1")
    assert found is not None
    assert found.methods["GET"].scopes == ("retrieve",)
    assert "application/dicom" in found.methods["GET"].produces
    assert "application/dicom" not in routes.find(f"/studies/{STUDY}").methods["GET"].produces  # type: ignore[union-attr]


def test_hostile_accept_headers(archive: Archive) -> None:
    store(archive, data("1.2.1"))
    for accept in (";", "a" * 9000, "multipart/related; type=\x00", "application/dicom; transfer-syntax=../x"):
        with pytest.raises(DcmkitError) as refused:
            Retrieving(archive).retrieve(request(accept))
        assert refused.value.http_status in (400, 406)
