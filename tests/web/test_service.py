"""The whole service over an archive, asked without a server; and that what others got wrong goes right here."""

from __future__ import annotations

import gzip
import json
import os
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import imagecodecs
import pytest

from dcmkit.archive.store import Archive
from dcmkit.dataset.part10 import read_file_header
from dcmkit.pixels import syntaxes
from dcmkit.web.authentication import Authenticator
from dcmkit.web.basic import Basic
from dcmkit.web.links import Links, create_secret
from dcmkit.web.service import ServiceOptions, build
from tests.archive.objects import archive_in, image, part10, put, visible
from tests.web.asgi import Answer, call
from tests.web.pictures import INSTANCE, SERIES, STUDY, pixel_elements, put_image, ramp

ROOT = "/dicom-web"
ALL = f"{ROOT}/studies"
ONE = f"{ALL}/{STUDY}/series/{SERIES}/instances/{INSTANCE}"
WADO = f"requestType=WADO&studyUID={STUDY}&seriesUID={SERIES}&objectUID={INSTANCE}"
DICOM = {"content-type": "application/dicom"}
AS_STORED = {"accept": "application/dicom; transfer-syntax=*"}
Building = Callable[..., Any]


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with archive_in(tmp_path / "archive") as made:
        yield made


@pytest.fixture
def make(archive: Archive) -> Iterator[Building]:
    """Services over the archive, by their options."""
    made: list[Any] = []

    def building(**options: Any) -> Any:
        made.append(build(archive, archive, ServiceOptions(**options)))
        return made[-1]

    yield building
    for service in made:
        service.close()


@pytest.fixture
def service(make: Building) -> Any:
    return make()


def get(service: Any, path: str, accept: str = "", **headers: str) -> Answer:
    found = {name.replace("_", "-"): value for name, value in headers.items()}
    return call(service, "GET", path, found | ({"accept": accept} if accept else {}))


def related(*contents: bytes, newline: bytes = b"\r\n") -> tuple[dict[str, str], bytes]:
    parts = [newline.join((b"--b", b"Content-Type: application/dicom", b"", content)) for content in contents]
    body = newline.join((*parts, b"--b--", b""))
    return {"content-type": 'multipart/related; type="application/dicom"; boundary=b'}, body


def uids(answer: Answer, tag: str = "0020000D") -> list[str]:
    assert answer.status == 200, answer
    return [row[tag]["Value"][0] for row in json.loads(answer.body)]


def test_what_is_stored_is_found_shown_fetched_and_deleted(service: Any) -> None:
    pixels = ramp()
    file = part10(INSTANCE, image(INSTANCE, pixels=pixels.tobytes(), more=pixel_elements(pixels)))
    headers, body = related(file)
    stored = call(service, "POST", ALL, headers, [body[at : at + 100] for at in range(0, len(body), 100)])
    assert stored.status == 200
    assert stored.headers["content-type"] == "application/dicom+json"
    url = json.loads(stored.body)["00081199"]["Value"][0]["00081190"]["Value"][0]
    assert url == f"http://archive.example{ONE}"
    assert uids(get(service, ALL)) == [STUDY]
    assert uids(get(service, f"{ALL}/{STUDY}/instances"), "00080018") == [INSTANCE]
    assert get(service, ONE, "application/dicom; transfer-syntax=*").body.endswith(file[-1000:])
    metadata = json.loads(get(service, f"{ONE}/metadata").body)[0]
    bulk = metadata["7FE00010"]["BulkDataURI"].removeprefix("http://archive.example")
    assert get(service, bulk, "application/octet-stream").body == pixels.tobytes()
    assert get(service, f"{ONE}/frames/1", "application/octet-stream").body == pixels.tobytes()
    assert get(service, f"{ONE}/rendered").headers["content-type"] == "image/jpeg"
    assert call(service, "DELETE", f"{ALL}/{STUDY}").status == 204
    assert uids(get(service, ALL)) == []
    assert get(service, ONE).status == 404


def test_head_of_everything(archive: Archive, service: Any) -> None:
    put_image(archive)
    for path in (ALL, ONE, f"{ONE}/metadata", f"{ONE}/frames/1", f"{ONE}/rendered", f"{ROOT}/openapi.json",
                 f"{ALL}/{STUDY}", f"{ROOT}/wado?{WADO}", f"{ROOT}/health"):  # fmt: skip
        whole, head = get(service, path), call(service, "HEAD", path)
        assert (head.status, head.body) == (200, b""), path
        for name in ("content-type", "content-length", "etag"):
            if "boundary" not in whole.headers.get(name, ""):
                assert head.headers.get(name) == whole.headers.get(name), path


def test_entity_tags_of_everything_change_with_what_they_stand_for(archive: Archive, service: Any) -> None:
    put_image(archive)
    paths = (ALL, f"{ALL}/{STUDY}", f"{ALL}/{STUDY}/metadata", f"{ALL}/{STUDY}/series", f"{ALL}/{STUDY}/instances")
    before = {}
    for path in paths:
        before[path] = get(service, path).headers["etag"]
        same = get(service, path, if_none_match=before[path])
        assert (same.status, same.body, same.headers["etag"]) == (304, b"", before[path])
    put_image(archive, ramp() + 1, uid="1.2.4", instance=2)
    for path in paths:
        changed = get(service, path, if_none_match=before[path])
        assert changed.status == 200, path
        assert changed.headers["etag"] != before[path]


def test_texts_are_compressed_and_images_are_not(archive: Archive, service: Any) -> None:
    put_image(archive)
    for number in range(9):
        put(archive, f"1.9.{number}", study=f"1.9.{number}.1")
    archive.flush()
    for path in (ALL, f"{ALL}/{STUDY}/metadata", f"{ROOT}/openapi.json", f"{ROOT}/docs"):
        plain, packed = get(service, path), get(service, path, accept_encoding="gzip, deflate")
        assert packed.headers["content-encoding"] == "gzip", path
        assert gzip.decompress(packed.body) == plain.body
        assert "Accept-Encoding" in packed.headers["vary"]
    assert "content-encoding" not in get(service, f"{ONE}/rendered", accept_encoding="gzip").headers


def test_ranges_of_bulk_data_frames_and_objects(archive: Archive, service: Any) -> None:
    pixels = ramp(2)
    put_image(archive, pixels)
    for path, accept in (
        (f"{ONE}/bulkdata/7FE00010", "application/octet-stream"),
        (f"{ONE}/frames/1", "application/octet-stream"),
        (ONE, AS_STORED["accept"]),
    ):
        whole = get(service, path, accept)
        part = get(service, path, accept, range="bytes=10-29")
        assert (part.status, part.body) == (206, whole.body[10:30])
        assert part.headers["content-range"] == f"bytes 10-29/{len(whole.body)}"
        assert get(service, path, accept, range="bytes=-5").body == whole.body[-5:]
        assert get(service, path, accept, range="bytes=99999999-").status == 416


def test_pages_of_other_origins(make: Building) -> None:
    closed, open_, some = make(), make(cors=("*",)), make(cors=("https://viewer.example",))
    assert "access-control-allow-origin" not in get(closed, ALL, origin="https://viewer.example").headers
    assert get(open_, ALL, origin="https://any.example").headers["access-control-allow-origin"] == "*"
    found = get(some, ALL, origin="https://viewer.example").headers
    assert found["access-control-allow-origin"] == "https://viewer.example"
    assert "ETag" in found["access-control-expose-headers"]
    assert "access-control-allow-origin" not in get(some, ALL, origin="https://evil.example").headers
    asked = {"origin": "https://viewer.example", "access-control-request-method": "POST",
             "access-control-request-headers": "content-type, authorization"}  # fmt: skip
    preflight = call(some, "OPTIONS", ALL, asked)
    assert preflight.status == 200
    assert "POST" in preflight.headers["access-control-allow-methods"]


def test_urls_are_those_the_world_knows(archive: Archive, make: Building) -> None:
    put_image(archive)
    forwarded = {"x-forwarded-proto": "https", "x-forwarded-host": "pacs.example", "x-forwarded-prefix": "/x"}

    def told(service: Any, **how: Any) -> str:
        found = json.loads(call(service, "GET", ALL, forwarded, **how).body)
        url: str = found[0]["00081190"]["Value"][0]
        return url.removesuffix(f"/studies/{STUDY}")

    assert told(make()) == "http://archive.example/dicom-web"
    assert told(make(trusted_proxies=("127.0.0.1",))) == "https://pacs.example/x/dicom-web"
    assert told(make(trusted_proxies=("10.0.0.0/8",))) == "http://archive.example/dicom-web"
    assert told(make(public_url="https://known.example/y")) == "https://known.example/y"


def test_capabilities_in_each_form(service: Any) -> None:
    assert get(service, f"{ROOT}/").status in (404, 405)
    wadl = call(service, "OPTIONS", f"{ROOT}/")
    assert wadl.headers["content-type"] == "application/vnd.sun.wadl+xml"
    document = json.loads(get(service, f"{ROOT}/openapi.json").body)
    assert document["servers"][0]["url"] == "http://archive.example/dicom-web"
    assert call(service, "OPTIONS", f"{ROOT}/", {"accept": "application/json"}).status == 200
    page = get(service, f"{ROOT}/docs")
    assert (
        b"http" not in page.body.replace(b"http://www.w3.org", b"").replace(b"http:", b"") or b"src=" not in page.body
    )
    assert call(service, "OPTIONS", ALL).headers["allow"].split(", ")[0] in ("GET", "POST")
    assert call(service, "PATCH", ALL).status == 405


def test_searches_that_find_nothing(make: Building) -> None:
    for path in ("studies", "series", "instances", "patients", f"studies/{STUDY}/series"):
        found = get(
            make(), f"{ROOT}/{path}?PatientID=nobody" if path != f"studies/{STUDY}/series" else f"{ROOT}/{path}"
        )
        assert (found.status, found.body) == (200, b"[]")
        assert get(make(no_match_status=204), f"{ROOT}/{path}").status == 204


def test_the_accept_parameter_stands_in_for_the_header(archive: Archive, service: Any) -> None:
    put_image(archive)
    for path, wanted, found in (
        (f"{ALL}?accept=text/csv", "text/csv", "text/csv"),
        (f"{ONE}/metadata?accept=multipart/related;type=application/dicom%2Bxml", "dicom+xml", "multipart/related"),
        (f"{ONE}/rendered?accept=image/png", "image/png", "image/png"),
        (f"{ONE}?accept=application/zip", "application/zip", "application/zip"),
    ):
        answer = get(service, path)
        assert answer.status == 200, path
        assert answer.headers["content-type"].startswith(found)
        assert wanted in answer.headers["content-type"]


def test_pages_of_results_in_an_order(archive: Archive, service: Any) -> None:
    for number in range(1, 6):
        put(archive, f"1.9.{number}", study=f"1.9.{number}.1", series=f"1.9.{number}.2", patient=f"P{number}",
            date=f"2024010{number}")  # fmt: skip
    archive.flush()
    first = get(service, f"{ALL}?limit=2")
    assert first.headers["x-total-count"] == "5"
    assert "299" in first.headers["warning"]
    assert uids(first) == ["1.9.5.1", "1.9.4.1"]
    rest = get(service, f"{ALL}?limit=100&offset=2")
    assert "warning" not in rest.headers
    assert uids(rest) == ["1.9.3.1", "1.9.2.1", "1.9.1.1"]
    assert uids(get(service, f"{ALL}?orderby=StudyDate&limit=1")) == ["1.9.1.1"]
    assert uids(get(service, f"{ALL}?orderby=-PatientID&limit=1")) == ["1.9.5.1"]
    assert json.loads(get(service, f"{ALL}/count").body) == {"count": 5}


def test_values_that_are_empty_and_lists_of_values(archive: Archive, service: Any) -> None:
    put(archive, "1.9.1", study="1.9.1.1", patient="A", modality="CT")
    put(archive, "1.9.2", study="1.9.2.1", patient="", modality="MR")
    archive.flush()
    assert uids(get(service, f"{ALL}?PatientID=%22%22&emptyvaluematching=true")) == ["1.9.2.1"]
    assert len(uids(get(service, f"{ALL}?ModalitiesInStudy=CT,MR&multiplevaluematching=true"))) == 2


def test_frames_in_every_media_type(archive: Archive, service: Any) -> None:
    put_image(archive)
    decoders = {
        "image/jls": imagecodecs.jpegls_decode, "image/jp2": imagecodecs.jpeg2k_decode,
        "image/jphc": imagecodecs.jpeg2k_decode, "image/jxl": imagecodecs.jpegxl_decode,
    }  # fmt: skip
    for media_type, decode in decoders.items():
        answer = get(service, f"{ONE}/frames/1", media_type)
        assert (answer.status, answer.headers["content-type"].partition(";")[0]) == (200, media_type)
        if media_type != "image/jphc" or imagecodecs.HTJ2K.available:
            assert (decode(answer.body) == ramp()[0]).all()
    assert get(service, f"{ONE}/frames/1", "image/dicom-rle").status == 200
    assert get(service, f"{ONE}/frames/1", "image/jpeg").status == 200
    assert get(service, f"{ONE}/frames/2").status == 404
    assert get(service, f"{ONE}/frames/0").status == 404


def test_pictures_in_every_media_type(archive: Archive, service: Any) -> None:
    put_image(archive)
    for media_type in ("image/jpeg", "image/png", "image/gif", "image/webp", "image/jxl"):
        for path in (f"{ONE}/rendered", f"{ONE}/frames/1/rendered", f"{ONE}/thumbnail"):
            answer = get(service, path, media_type)
            assert (answer.status, answer.headers["content-type"]) == (200, media_type)
    assert get(service, f"{ONE}/rendered", "image/tiff").status == 406


def test_limited_links_see_their_study_only(archive: Archive, make: Building, tmp_path: Path) -> None:
    put_image(archive)
    put(archive, "1.9.1", study="1.9.1.1")
    archive.flush()
    secret = str(tmp_path / "secret")
    create_secret(secret)
    links = Links(secret)
    service = make(authenticator=Authenticator(links=links))
    signed = "&".join(f"{name}={value}" for name, value in links.sign(STUDY, time.time() + 600).items())
    assert get(service, ALL).status == 403
    assert uids(get(service, f"{ALL}?{signed}")) == [STUDY]
    assert get(service, f"{ONE}/rendered?{signed}").status == 200
    assert get(service, f"{ROOT}/wado?{WADO}&{signed}").status == 200
    assert get(service, f"{ALL}/1.9.1.1?{signed}").status in (403, 404)
    assert call(service, "DELETE", f"{ALL}/{STUDY}?{signed}").status in (401, 403)


def test_more_than_may_be_stored(make: Building) -> None:
    service = make(max_body=1000)
    assert call(service, "POST", ALL, DICOM, part10(pixels=bytes(2000))).status == 413
    assert call(service, "POST", ALL, DICOM | {"content-length": "999999"}, b"x").status == 413
    assert call(service, "POST", ALL, DICOM, part10()).status == 200


def test_no_trash(archive: Archive, make: Building) -> None:
    put_image(archive)
    service = make(trash=False)
    assert call(service, "DELETE", f"{ALL}/{STUDY}").status == 204
    assert get(service, f"{ROOT}/trash").status == 404


def test_the_service_at_another_path(archive: Archive, make: Building) -> None:
    put_image(archive)
    for root in ("", "/a/b"):
        service = make(root=root)
        assert uids(get(service, f"{root}/studies")) == [STUDY]
    assert get(service, "/studies").status == 404
    assert get(service, f"/wado?{WADO}").status == 200  # by its usual name, wherever the rest is


# --- what DicomSCP got wrong -------------------------------------------------------------------------------------


def test_regression_dicomscp_anonymize_gave_the_original(archive: Archive, service: Any) -> None:
    """`anonymize=yes` without another transfer syntax sent the file as it was."""
    put_image(archive, name="Secret^Sally", patient="SECRET-ID")
    for syntax in ("", "&transferSyntax=*", f"&transferSyntax={syntaxes.EXPLICIT}"):
        query = f"{WADO}&contentType=application/dicom{syntax}"
        assert b"Secret^Sally" in get(service, f"{ROOT}/wado?{query}").body
        answer = get(service, f"{ROOT}/wado?{query}&anonymize=yes")
        assert answer.status == 200
        for secret in (b"Secret^Sally", b"SECRET-ID", INSTANCE.encode() + b"\0", STUDY.encode()):
            assert secret not in answer.body, syntax
    answer = get(service, f"{ROOT}/wado?{WADO}&anonymize=yes", "image/png")
    assert answer.status == 200


def test_regression_dicomscp_wado_and_viewers_were_open_to_all(make: Building, tmp_path: Path) -> None:
    """Whoever may not, may not by URI either; nor is there a user with a password everybody knows."""
    (tmp_path / "users").write_text("")
    os.chmod(tmp_path / "users", 0o600)
    service = make(authenticator=Authenticator(basic=Basic(str(tmp_path / "users"))))
    for path in (f"{ROOT}/wado?{WADO}", f"/wado?{WADO}", f"{ONE}/rendered", f"{ALL}/{STUDY}", ALL, f"{ROOT}/trash"):
        assert get(service, path).status == 401, path
        assert get(service, path, authorization="Basic YWRtaW46YWRtaW4=").status == 401  # admin:admin


def test_regression_dicomscp_deleted_a_path_made_of_attributes(archive: Archive, service: Any, tmp_path: Path) -> None:
    """A Study Date that climbs, and a UID that does, lead nowhere else."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("stays")
    put_image(archive, date="../../out")
    for path in ("..", "../outside", "..%2Foutside", "%2e%2e/outside", "1.2/../../outside"):
        assert call(service, "DELETE", f"{ALL}/{path}").status in (404, 405), path
    assert call(service, "DELETE", f"{ALL}/{STUDY}").status == 204
    assert (outside / "file").read_text() == "stays"


# --- what Raccoon got wrong --------------------------------------------------------------------------------------


def test_regression_raccoon_window_width_was_the_centre(archive: Archive, service: Any) -> None:
    put_image(archive)

    def shown(**window: float) -> Any:
        more = "".join(f"&window{name}={value}" for name, value in window.items())
        return imagecodecs.png_decode(get(service, f"{ROOT}/wado?{WADO}&contentType=image/png{more}").body)

    narrow, wide = shown(Center=100, Width=10), shown(Center=100, Width=200)
    assert not (narrow == wide).all()
    assert (shown(Center=100, Width=100) != narrow).any()


def test_regression_raccoon_lost_the_wrong_rows_of_what_had_gone(archive: Archive, service: Any) -> None:
    """Of several missing files each is missed, and every other one is sent."""
    instances = [f"1.2.3.{number}" for number in range(10, 20)]
    for number, uid in enumerate(instances):
        put_image(archive, uid=uid, instance=number)
    gone = [instances[at] for at in (0, 1, 4, 5, 9)]
    for path in visible(Path(archive.root)):
        if any(path.endswith(f"{uid}.dcm") for uid in gone):
            os.unlink(os.path.join(archive.root, path))
    answer = get(service, f"{ALL}/{STUDY}", 'multipart/related; type="application/dicom"; transfer-syntax=*')
    assert answer.status == 206
    assert "5" in answer.headers["warning"]
    for uid in instances:
        assert (uid.encode() in answer.body) == (uid not in gone), uid


def test_regression_raccoon_had_no_way_to_store_into_a_study(service: Any) -> None:
    right, wrong = part10("1.9.1", study="1.9"), part10("1.8.1", study="1.8")
    headers, body = related(right, wrong)
    answer = call(service, "POST", f"{ALL}/1.9", headers, body)
    assert answer.status == 202
    found = json.loads(answer.body)
    assert [one["00081155"]["Value"] for one in found["00081199"]["Value"]] == [["1.9.1"]]
    (failed,) = found["00081198"]["Value"]
    assert failed["00081155"]["Value"] == ["1.8.1"]
    assert failed["00081197"]["Value"][0] in range(0xA900, 0xAA00)
    assert uids(get(service, ALL)) == ["1.9"]


def test_regression_raccoon_answered_json_as_dicom(service: Any) -> None:
    answer = call(service, "POST", ALL, DICOM, part10())
    assert (answer.status, answer.headers["content-type"]) == (200, "application/dicom+json")


def test_regression_raccoon_failed_without_an_accept_header(archive: Archive, service: Any) -> None:
    put_image(archive)
    below = ("", "/metadata", "/rendered", "/thumbnail", "/frames/1", "/bulkdata/7FE00010")
    for path in (ALL, f"{ALL}/{STUDY}", *(ONE + one for one in below), f"{ROOT}/wado?{WADO}"):
        assert get(service, path).status == 200, path
        assert get(service, path, accept="*/*").status == 200, path


def test_regression_raccoon_made_regular_expressions_of_queries(archive: Archive, service: Any) -> None:
    put_image(archive, name="Doe^Jane (x)", patient="a.b[c")
    assert uids(get(service, f"{ALL}?PatientID=a.b%5Bc")) == [STUDY]
    assert uids(get(service, f"{ALL}?PatientID=a?b*")) == [STUDY]
    for pattern in ("a.b.c", "(", "[", ".*", "^a", "a{2}", "(a+)+$", "%25", "_._[_", "'; DROP TABLE x; --"):
        assert uids(get(service, f"{ALL}?PatientID={pattern.replace(';', '%3B').replace(' ', '+')}")) == [], pattern
    began = time.monotonic()
    assert uids(get(service, f"{ALL}?PatientID={'*a' * 30}")) == []
    assert time.monotonic() - began < 5


def test_regression_raccoon_refused_a_limit_above_100_and_the_parameters_of_rendering(
    archive: Archive, service: Any
) -> None:
    put_image(archive)
    assert uids(get(service, f"{ALL}?limit=101&offset=0&fuzzymatching=true&includefield=00081030,00080060")) == [STUDY]
    assert get(service, f"{ONE}/rendered?window=40,400,linear&annotation=patient&quality=80").status == 200


def test_regression_raccoon_cut_after_it_resized(archive: Archive, service: Any) -> None:
    """The region is of the source, and a negative size flips."""
    put_image(archive)

    def shown(viewport: str) -> Any:
        return imagecodecs.png_decode(
            get(service, f"{ONE}/rendered?window=125,251&viewport={viewport}", "image/png").body
        )

    whole, part = shown("30,20"), shown("15,10,0,0,15,10")
    assert part.shape[:2] == (10, 15)
    assert (part == whole[:10, :15]).all()
    assert (shown("30,20,0,0,-30,20") == whole[:, ::-1]).all()
    assert (shown("30,20,0,0,30,-20") == whole[::-1]).all()


def test_regression_raccoon_appended_objects_to_bulk_data(archive: Archive, service: Any) -> None:
    put_image(archive)
    answer = get(service, f"{ALL}/{STUDY}/bulkdata")
    assert answer.status == 200
    assert b"DICM" not in answer.body
    assert answer.body.count(b"Content-Type:") == 1


# --- what Orthanc got wrong --------------------------------------------------------------------------------------


def test_regression_orthanc_crashed_at_jpeg_ls(archive: Archive, service: Any) -> None:
    put_image(archive)
    answer = get(service, f"{ONE}/frames/1", 'multipart/related; type="image/jls"')
    assert answer.status == 200
    assert get(service, f"{ONE}/frames/1", "image/jls").body.startswith(b"\xff\xd8")


def test_regression_orthanc_accepted_nothing_to_store(service: Any) -> None:
    headers, body = related()
    for content in (b"", body, b"--b--\r\n"):
        assert call(service, "POST", ALL, headers, content).status == 400, content


def test_regression_orthanc_answered_everything_where_a_key_was_unknown(archive: Archive, make: Building) -> None:
    put_image(archive)
    for query in ("NoSuchAttribute=1", "00279999=1", "PatientNam=x", "00400275.99999999=1"):
        assert get(make(), f"{ALL}?{query}").status == 400, query
    lenient = get(make(strict=False), f"{ALL}?NoSuchAttribute=1")
    assert lenient.status == 200
    assert "299" in lenient.headers["warning"]


def test_regression_orthanc_did_not_say_that_there_is_more(archive: Archive, service: Any) -> None:
    for number in (1, 2):
        put(archive, f"1.9.{number}", study=f"1.9.{number}.1")
    archive.flush()
    assert "299" in get(service, f"{ALL}?limit=1").headers["warning"]
    assert "warning" not in get(service, f"{ALL}?limit=2").headers


def test_regression_orthanc_took_an_encoded_slash_for_an_error(archive: Archive, service: Any) -> None:
    put_image(archive)
    for content_type in ("application%2Fdicom", "application/dicom", "application%252Fdicom"):
        answer = get(service, f"{ROOT}/wado?{WADO}&contentType={content_type}")
        assert (answer.status, answer.headers["content-type"].partition(";")[0]) == (200, "application/dicom")
    answer = get(service, f"{ROOT}/wado?{WADO}&contentType=image%2Fpng")
    assert answer.headers["content-type"] == "image/png"


def test_regression_orthanc_sent_a_png_that_was_asked_for_as_jpeg(archive: Archive, service: Any) -> None:
    put_image(archive)
    answer = get(service, f"{ROOT}/wado?{WADO}&contentType=image/jpeg")
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.body.startswith(b"\xff\xd8")


def test_regression_orthanc_knew_no_single_parts_and_no_zip(archive: Archive, service: Any, tmp_path: Path) -> None:
    put_image(archive)
    (tmp_path / "one").write_bytes(get(service, ONE, AS_STORED["accept"]).body)
    assert read_file_header(tmp_path / "one").sop_instance_uid == INSTANCE
    with ZipFile(BytesIO(get(service, f"{ALL}/{STUDY}", "application/zip").body)) as zipped:
        assert len(zipped.namelist()) == 1
    assert get(service, f"{ONE}/frames/1", "application/octet-stream").body == ramp().tobytes()
