"""Rendered resources and thumbnails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest

from dcmkit.archive.store import Archive
from dcmkit.dataset.elements import encode
from dcmkit.errors import DcmkitError
from dcmkit.pixels import syntaxes
from dcmkit.uids import EXPLICIT_VR_LITTLE_ENDIAN
from dcmkit.web import rendered as module
from dcmkit.web.exchange import NotModified, Rope
from dcmkit.web.rendered import Rendered, icon
from dcmkit.web.routes import Routes
from tests.archive.objects import archive_in, image, put
from tests.pixels.files import VIDEO, encapsulated
from tests.web.pictures import INSTANCE, SERIES, STUDY, asking, parts, pixel_elements, put_image, ramp, whole

SR, PDF_CLASS, CDA_CLASS = (f"1.2.840.10008.5.1.4.1.1.{end}" for end in ("88.33", "104.1", "104.2"))


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with archive_in(tmp_path / "archive") as made:
        yield made


@pytest.fixture
def rendered(archive: Archive) -> Rendered:
    return Rendered(archive)


def ask(rendered: Rendered, accept: str | None = None, frames: str | None = None, **parameters: str) -> Any:
    variables = {} if frames is None else {"frames": frames}
    return rendered.rendered(asking("/x/rendered", accept, parameters.items(), variables=variables))


def level(rendered: Rendered, accept: str | None = None, *, series: str = SERIES, **parameters: str) -> Any:
    return rendered.rendered(
        asking("/x/rendered", accept, parameters.items(), variables={"instance": "", "series": series})
    )


def status(call: Any, *arguments: Any, **more: Any) -> int:
    with pytest.raises(DcmkitError) as caught:
        call(*arguments, **more)
    return caught.value.http_status


def put_report(archive: Archive, uid: str = "1.2.9") -> None:
    from dcmkit.dataset.elements import Element
    from tests.web.test_documents import REPORT

    changed = {0x00080018: Element("UI", uid), 0x0020000D: Element("UI", STUDY), 0x0020000E: Element("UI", SERIES)}
    put(archive, uid, encode(dict(sorted({**REPORT, **changed}.items())), EXPLICIT_VR_LITTLE_ENDIAN), sop_class=SR)
    archive.flush()


def test_routes(rendered: Rendered) -> None:
    routes = Routes(rendered.routes())
    for path in ("/studies/1", "/studies/1/series/2", "/studies/1/series/2/instances/3",
                 "/studies/1/series/2/instances/3/frames/4"):  # fmt: skip
        assert routes.find(path + "/rendered") is not None
        assert routes.find(path + "/thumbnail") is not None


@pytest.mark.parametrize(
    ("accept", "media_type", "decode"),
    [
        (None, "image/jpeg", imagecodecs.jpeg8_decode),
        ("*/*", "image/jpeg", imagecodecs.jpeg8_decode),
        ("image/png", "image/png", imagecodecs.png_decode),
        ("image/gif", "image/gif", imagecodecs.gif_decode),
        ("image/webp", "image/webp", imagecodecs.webp_decode),
        ("image/jxl", "image/jxl", imagecodecs.jpegxl_decode),
    ],
)
def test_an_image(archive: Archive, rendered: Rendered, accept: str, media_type: str, decode: Any) -> None:
    put_image(archive)
    reply = ask(rendered, accept)
    assert reply.content_type == media_type
    assert decode(whole(reply)).shape[:2] == (20, 30)
    assert whole(ask(rendered, accept)) == whole(reply)
    assert ask(rendered, accept, "1").content_type == media_type


def test_parameters(archive: Archive, rendered: Rendered) -> None:
    put_image(archive)
    small = ask(rendered, "image/png", viewport="15,10")
    assert imagecodecs.png_decode(whole(small)).shape == (10, 15)
    assert small.etag != ask(rendered, "image/png").etag
    white = ask(rendered, "image/png", window="-5000,1")
    assert imagecodecs.png_decode(whole(white)).min() == 255
    assert ask(rendered, "image/jxl", quality="100").content_type == "image/jxl"
    odd = ask(rendered, "image/png", colour="red\r\nX: y")
    assert [name for name, _ in odd.headers] == ["Warning"]
    assert "\n" not in odd.headers[0][1]
    for name, value in (("viewport", "0,0"), ("viewport", "999999999,999999999"), ("window", "nan,1"),
                        ("quality", "0"), ("viewport", "9,9,500,500,9,9")):  # fmt: skip
        assert status(ask, rendered, **{name: value}) == 400
    assert ask(rendered, "image/png", annotation="patient,technique").status == 200
    assert status(ask, rendered, "image/bmp") == 406


def test_who_has_it_gets_nothing(archive: Archive, rendered: Rendered) -> None:
    put_image(archive)
    etag = ask(rendered).etag
    with pytest.raises(NotModified):
        rendered.rendered(asking(headers={"if-none-match": f'"{etag}"'}))


def test_frames(archive: Archive, rendered: Rendered) -> None:
    pixels = np.stack([np.full((20, 30), level, "u1") for level in (10, 100, 200)])
    put_image(archive, pixels)
    second = imagecodecs.png_decode(whole(ask(rendered, "image/png", "2")))
    assert second.min() == second.max() == 100
    found = parts(ask(rendered, 'multipart/related; type="image/png"', "3,1"))
    assert [imagecodecs.png_decode(content).max() for _, content in found] == [200, 10]
    assert found[0][0]["content-location"].endswith("/frames/3/rendered")
    assert found[0][0]["content-type"] == "image/png"
    assert status(ask, rendered, "image/png", "3,1") == 406
    assert status(ask, rendered, None, "4") == 404
    assert status(ask, rendered, None, "x") == 400
    everything = parts(ask(rendered, 'multipart/related; type="image/jpeg"'))
    assert len(everything) == 3
    moving = whole(ask(rendered, "image/gif"))
    assert moving.count(b"\x21\xf9\x04") == 3
    assert whole(ask(rendered, "image/gif", "2")).count(b"\x21\xf9\x04") == 1


def test_bounds(archive: Archive, rendered: Rendered, monkeypatch: pytest.MonkeyPatch) -> None:
    put_image(archive, ramp(3))
    monkeypatch.setattr(module, "ANIMATION_FRAMES", 2)
    reply = ask(rendered, "image/gif")
    assert whole(reply).count(b"\x21\xf9\x04") == 2
    assert "first 2 of 3 frames" in dict(reply.headers)["Warning"]
    monkeypatch.setattr(module, "PARTS_LIMIT", 2)
    assert status(ask, rendered, "multipart/related; type=image/jpeg") == 413
    for number in range(2):
        put_image(archive, uid=f"1.2.7.{number}")
    assert status(level, rendered) == 413


def test_frames_larger_than_can_be(archive: Archive, rendered: Rendered, monkeypatch: pytest.MonkeyPatch) -> None:
    put_image(archive)
    monkeypatch.setattr("dcmkit.web.rendering.FRAME_LIMIT", 100)
    assert status(ask, rendered) == 406
    assert rendered.thumbnail(asking()).status == 200


def test_series_and_studies(archive: Archive, rendered: Rendered) -> None:
    for number in range(3):
        put_image(archive, uid=f"1.2.3.{number}", instance=number)
    put_report(archive)
    for series in (SERIES, ""):
        found = parts(level(rendered, series=series))
        assert [headers["content-type"] for headers, _ in found] == ["image/jpeg"] * 3
        assert "/instances/1.2.3.0/rendered" in found[0][0]["content-location"]
    texts = parts(level(rendered, 'multipart/related; type="text/plain"'))
    assert len(texts) == 1
    assert status(level, rendered, 'multipart/related; type="application/pdf"') == 406
    assert status(level, rendered, "image/jpeg") == 406  # several cannot be one


def test_one_damaged_image_does_not_hide_the_others(archive: Archive, rendered: Rendered) -> None:
    for number in range(3):
        put_image(archive, uid=f"1.2.3.{number}", instance=number)
    (path,) = Path(archive.root).rglob("1.2.3.1.dcm")
    path.unlink()
    assert len(parts(level(rendered))) == 2


@pytest.mark.parametrize("syntax", [syntaxes.JPEG_BASELINE, syntaxes.JPEG_2000_LOSSLESS, syntaxes.RLE])
def test_compressed(archive: Archive, rendered: Rendered, syntax: str) -> None:
    put_image(archive, ramp(1, dtype="u1"), syntax=syntax)
    assert imagecodecs.png_decode(whole(ask(rendered, "image/png"))).shape == (20, 30)


def test_a_presentation_state(archive: Archive, rendered: Rendered) -> None:
    from tests.web.states import put_state

    put_image(archive)
    put_state(archive, "1.2.8")
    plain = imagecodecs.png_decode(whole(ask(rendered, "image/png", window="100,200")))
    shown = imagecodecs.png_decode(whole(ask(rendered, "image/png", presentationUID="1.2.8")))
    assert shown.shape == plain.shape
    assert not np.array_equal(shown, plain)
    assert ask(rendered, presentationUID="1.2.8").etag != ask(rendered).etag
    assert status(ask, rendered, presentationUID="1.2.99") == 404
    assert status(ask, rendered, presentationUID=INSTANCE) == 406


def test_video_as_it_is(archive: Archive, rendered: Rendered) -> None:
    stream = b"\0\0\0\x18ftypmp42" + bytes(100)
    data = image(INSTANCE, more=pixel_elements(ramp(7, dtype="u1")), without=[0x7FE00010])
    put(archive, INSTANCE, data + encapsulated([stream]), syntax=VIDEO)
    archive.flush()
    reply = ask(rendered)
    assert reply.content_type == "video/mp4"
    assert isinstance(reply.body, Rope)
    assert whole(reply) == stream
    assert status(ask, rendered, "image/jpeg") == 406
    assert rendered.thumbnail(asking(accept="image/png")).content_type == "image/png"


def put_document(archive: Archive, content: bytes, sop_class: str, mime: bytes) -> None:
    more = [(0x00420011, "OB", content + b"\0" * (len(content) % 2)), (0x00420012, "LO", mime)]
    pixels = [0x00280010, 0x00280011, 0x7FE00010]
    put(archive, INSTANCE, image(INSTANCE, more=more, without=pixels, sop_class=sop_class), sop_class=sop_class)
    archive.flush()


def test_documents(archive: Archive, rendered: Rendered) -> None:
    put_document(archive, b"%PDF-1.4 and more", PDF_CLASS, b"text/html")
    reply = ask(rendered)
    assert reply.content_type == "application/pdf"
    assert whole(reply).startswith(b"%PDF-1.4 and more")
    assert status(ask, rendered, "text/html") == 406
    assert status(ask, rendered, None, "1") == 404


def test_scripts_in_documents_stay_where_they_are(archive: Archive, rendered: Rendered) -> None:
    put_document(archive, b"<html><script>alert(1)</script></html>", CDA_CLASS, b"text/html")
    reply = ask(rendered, "text/html, */*;q=0.1")
    assert reply.content_type == "application/xml"
    assert "sandbox" in dict(reply.headers)["Content-Security-Policy"]


def test_what_is_no_pdf(archive: Archive, rendered: Rendered) -> None:
    put_document(archive, b"<script>alert(1)</script>", PDF_CLASS, b"application/pdf")
    assert status(ask, rendered) == 406
    assert rendered.thumbnail(asking()).status == 200


def test_reports(archive: Archive, rendered: Rendered) -> None:
    put_report(archive, INSTANCE)
    page = ask(rendered)
    assert page.content_type == "text/html; charset=utf-8"
    assert b"<h1>" in whole(page)
    assert "sandbox" in dict(page.headers)["Content-Security-Policy"]
    plain = ask(rendered, "text/plain", charset="iso-8859-1")
    assert plain.content_type == "text/plain; charset=iso-8859-1"


def thumbnail(rendered: Rendered, **variables: str) -> Any:
    return rendered.thumbnail(asking("/studies/1/thumbnail", "image/png", variables=variables))


def test_thumbnails(archive: Archive, rendered: Rendered) -> None:
    for number, level_ in enumerate((10, 100, 200)):
        frames = np.full((1, 400, 200), level_, "u1")
        put_image(archive, frames, uid=f"1.2.3.{number}", instance=number)
    put_report(archive)
    for variables in ({"instance": ""}, {"instance": "", "series": ""}):
        picture = imagecodecs.png_decode(whole(thumbnail(rendered, **variables)))
        assert picture.shape == (128, 64)
        assert picture.max() == 100  # the one in the middle
    one = thumbnail(rendered, instance="1.2.3.2", frames="1")
    assert imagecodecs.png_decode(whole(one)).max() == 200
    small = rendered.thumbnail(asking(accept="image/png", parameters=[("size", "64")], variables={"instance": ""}))
    assert imagecodecs.png_decode(whole(small)).shape == (64, 32)
    assert rendered.thumbnail(asking(variables={"instance": "1.2.3.0"})).content_type == "image/jpeg"
    several = rendered.thumbnail(
        asking("/studies/1/thumbnail", "multipart/related; type=image/png", variables={"instance": ""})
    )
    assert len(parts(several)) == 1
    assert status(thumbnail, rendered, instance="1.2.3.2", frames="2") == 404
    assert status(thumbnail, rendered, instance="1.2.99") == 404


def test_thumbnails_of_what_has_no_picture(archive: Archive, rendered: Rendered) -> None:
    put_report(archive)
    sign = imagecodecs.png_decode(whole(thumbnail(rendered, instance="1.2.9")))
    assert sign.shape == (128, 128)
    assert np.unique(sign).tolist() == [50, 230]


def test_thumbnails_skip_what_is_damaged(archive: Archive, rendered: Rendered) -> None:
    for number in range(3):
        put_image(archive, uid=f"1.2.3.{number}", instance=number)
    (path,) = Path(archive.root).rglob("1.2.3.1.dcm")
    path.unlink()
    assert imagecodecs.png_decode(whole(thumbnail(rendered, instance=""))).shape == (85, 128)


def test_icons() -> None:
    assert icon("SR", (64, 32)).shape == (64, 32)
    assert icon("", None).max() == 230
    assert icon("\x1b[31m" * 100, (8192, 8192)).shape == (256, 256)
