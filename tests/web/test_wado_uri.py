"""Requests by URI; and that `anonymize=yes` never lets the original out, whatever else is asked for."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dcmkit.archive.store import Archive
from dcmkit.dataset.elements import Element, decode, encode
from dcmkit.dataset.part10 import read_file_header
from dcmkit.errors import DcmkitError
from dcmkit.pixels import syntaxes
from dcmkit.pixels.image_file import ImageFile
from dcmkit.uids import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from dcmkit.web import wado_uri as module
from dcmkit.web.exchange import FileSlice, NotModified, Request, Rope
from dcmkit.web.identity import ALL_SCOPES, Identity
from dcmkit.web.routes import Routes
from dcmkit.web.wado_uri import KEY_NAME, WadoURI
from tests.archive.objects import archive_in, image, put
from tests.pixels.files import VIDEO, encapsulated
from tests.web.pictures import INSTANCE, SERIES, STUDY, pixel_elements, put_image, ramp, whole
from tests.web.states import put_state

SECRETS = (b"Doe^Jane", b"DOE^JANE", b"LO\4\0" + b"4711", b"20240131", STUDY.encode() + b"\0", b"1.2.3\0")
"""Long enough not to stand in compressed pixels or pseudonyms by chance."""
DICOM = "application/dicom"


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with archive_in(tmp_path / "archive") as made:
        yield made


@pytest.fixture
def wado(archive: Archive) -> WadoURI:
    return WadoURI(archive)


def ask(wado: WadoURI, uid: str = INSTANCE, accept: str | None = None, headers: Any = None, **query: str) -> Any:
    names = {"requestType": "WADO", "studyUID": STUDY, "seriesUID": SERIES, "objectUID": uid, **query}
    found = {**(headers or {}), **({"accept": accept} if accept is not None else {})}
    return wado.retrieve(Request(path="/wado", parameters=tuple(names.items()), headers=found))


def status(wado: WadoURI, *arguments: Any, **query: Any) -> int:
    with pytest.raises(DcmkitError) as caught:
        ask(wado, *arguments, **query)
    return caught.value.http_status


def opened(content: bytes, path: Path) -> Any:
    path.write_bytes(content)
    return ImageFile(path)


def test_route(wado: WadoURI) -> None:
    found = Routes(wado.routes()).find("/wado")
    assert found is not None
    assert found.methods["GET"].filters


# --- what is sent ---


def test_the_default_is_a_jpeg_of_a_single_image(archive: Archive, wado: WadoURI) -> None:
    put_image(archive)
    for accept in (None, "*/*"):
        reply = ask(wado, accept=accept)
        assert reply.content_type == "image/jpeg"
        assert imagecodecs.jpeg8_decode(whole(reply)).shape == (20, 30)


def test_the_default_of_several_frames_is_the_object(archive: Archive, wado: WadoURI) -> None:
    pixels = np.stack([np.full((20, 30), level, "u1") for level in (10, 100, 200)])
    put_image(archive, pixels)
    assert ask(wado).content_type.startswith(DICOM)
    assert ask(wado, frameNumber="2").content_type == "image/jpeg"
    second = imagecodecs.png_decode(whole(ask(wado, contentType="image/png", frameNumber="2")))
    assert second.min() == second.max() == 100
    assert whole(ask(wado, contentType="image/gif")).count(b"\x21\xf9\x04") == 3
    assert status(wado, frameNumber="4") == 404
    assert status(wado, frameNumber="0") == 400


@pytest.mark.parametrize("content_type", [DICOM, "application%2Fdicom", "foo/bar, application/dicom"])
def test_the_object(archive: Archive, wado: WadoURI, content_type: str) -> None:
    put_image(archive)
    reply = ask(wado, contentType=content_type)
    (path,) = Path(archive.root).rglob("*.dcm")
    assert reply.content_type == "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"
    assert isinstance(reply.body, Rope)
    assert isinstance(reply.body.pieces[0], FileSlice)
    assert whole(reply) == path.read_bytes()
    assert dict(reply.headers)["Content-Disposition"] == 'attachment; filename="1.2.3.dcm"'


@pytest.mark.parametrize(
    ("stored", "wanted", "sent"),
    [
        (IMPLICIT_VR_LITTLE_ENDIAN, "", EXPLICIT_VR_LITTLE_ENDIAN),
        (IMPLICIT_VR_LITTLE_ENDIAN, "*", IMPLICIT_VR_LITTLE_ENDIAN),
        (syntaxes.JPEG_2000_LOSSLESS, "", EXPLICIT_VR_LITTLE_ENDIAN),
        (syntaxes.JPEG_2000_LOSSLESS, "*", syntaxes.JPEG_2000_LOSSLESS),
        (EXPLICIT_VR_LITTLE_ENDIAN, syntaxes.JPEG_LS, syntaxes.JPEG_LS),
        (EXPLICIT_VR_LITTLE_ENDIAN, syntaxes.RLE, syntaxes.RLE),
    ],
)
def test_transfer_syntaxes(
    archive: Archive, wado: WadoURI, tmp_path: Path, stored: str, wanted: str, sent: str
) -> None:  # fmt: skip
    pixels = ramp()
    put_image(archive, pixels, syntax=stored)
    more = {"transferSyntax": wanted} if wanted else {"contentType": DICOM}
    reply = ask(wado, **more)
    assert reply.content_type == f"{DICOM}; transfer-syntax={sent}"
    content = whole(reply)
    assert reply.length in (None, len(content))
    with opened(content, tmp_path / "found") as found:
        assert found.transfer_syntax_uid == sent
        assert found.header.sop_instance_uid == INSTANCE
        if sent == EXPLICIT_VR_LITTLE_ENDIAN:
            assert bytes(found.frame(0)) == pixels.tobytes()


def test_what_cannot_be(archive: Archive, wado: WadoURI) -> None:
    put_image(archive)
    assert status(wado, contentType="image/bmp") == 406
    assert status(wado, contentType="video/mp4") == 406
    assert status(wado, contentType=",") == 400
    assert status(wado, transferSyntax="1.2.3.4.5") == 406
    assert status(wado, transferSyntax=syntaxes.JPEG_BASELINE) == 406  # 16 bits
    assert status(wado, transferSyntax="x") == 400
    assert status(wado, anonymize="perhaps") == 400
    assert status(wado, "1.2.99") == 404
    assert status(wado, studyUID="1.2.99") == 404
    assert status(wado, requestType="x") == 400
    assert status(wado, objectUID="../x") == 400
    with pytest.raises(DcmkitError) as caught:
        wado.retrieve(Request(path="/wado"))
    assert caught.value.http_status == 400


def test_rendering_parameters(archive: Archive, wado: WadoURI) -> None:
    put_image(archive)
    png = {"contentType": "image/png"}
    assert imagecodecs.png_decode(whole(ask(wado, rows="10", columns="15", **png))).shape == (10, 15)
    assert imagecodecs.png_decode(whole(ask(wado, region="0,0,0.5,0.5", **png))).shape == (10, 15)
    assert imagecodecs.png_decode(whole(ask(wado, windowCenter="-5000", windowWidth="1", **png))).min() == 255
    assert len(whole(ask(wado, imageQuality="5"))) < len(whole(ask(wado, imageQuality="95")))
    assert status(wado, rows="0") == 400
    assert status(wado, region="0,0,2,2") == 400
    put_state(archive, "1.2.8")
    state = {"presentationUID": "1.2.8", "presentationSeriesUID": "1.2.3.77"}
    assert whole(ask(wado, **png, **state)) != whole(ask(wado, **png))
    assert status(wado, presentationUID="1.2.8", presentationSeriesUID="1.2.99") == 404


def test_who_has_it_gets_nothing_and_who_may_not_neither(archive: Archive, wado: WadoURI) -> None:
    put_image(archive)
    for anonymize in ("yes", "no"):
        etag = ask(wado, anonymize=anonymize).etag
        with pytest.raises(NotModified):
            ask(wado, anonymize=anonymize, headers={"if-none-match": f'"{etag}"'})
    assert ask(wado, anonymize="yes").etag != ask(wado, anonymize="no").etag
    stranger = Identity("x", "link", ALL_SCOPES, frozenset({"9.9"}))
    names = {"requestType": "WADO", "studyUID": STUDY, "seriesUID": SERIES, "objectUID": INSTANCE}
    with pytest.raises(DcmkitError) as caught:
        wado.retrieve(Request(path="/wado", parameters=tuple(names.items()), identity=stranger))
    assert caught.value.http_status in (403, 404)


def test_video(archive: Archive, wado: WadoURI) -> None:
    stream = b"\0\0\0\x18ftypmp42" + bytes(100)
    data = image(INSTANCE, more=pixel_elements(ramp(7, dtype="u1")), without=[0x7FE00010])
    put(archive, INSTANCE, data + encapsulated([stream]), syntax=VIDEO)
    archive.flush()
    assert whole(ask(wado, contentType="video/mp4")) == stream
    assert ask(wado, contentType=DICOM).content_type.endswith(VIDEO)
    assert status(wado, transferSyntax=syntaxes.RLE) == 406


def test_a_file_that_has_gone(archive: Archive, wado: WadoURI) -> None:
    put_image(archive)
    for path in Path(archive.root).rglob("*.dcm"):
        path.unlink()
    for anonymize, content_type in itertools.product(("yes", "no"), (DICOM, "image/png")):
        assert status(wado, anonymize=anonymize, contentType=content_type) == 410


# --- without identity ---


def harmless(content: bytes) -> bool:
    return not any(secret in content for secret in SECRETS)


@pytest.mark.parametrize("stored", [EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, syntaxes.JPEG_LS])
def test_never_the_original(archive: Archive, wado: WadoURI, tmp_path: Path, stored: str) -> None:
    """Where no transfer syntax, or the one of the file, was asked for, a server of this kind sent the file itself."""
    put_image(archive, syntax=stored)
    (path,) = Path(archive.root).rglob("*.dcm")
    assert not harmless(path.read_bytes())
    for syntax, content_type, accept in itertools.product(
        ("", "*", EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, syntaxes.JPEG_LS, syntaxes.RLE),
        ("", DICOM, "application%2Fdicom", DICOM + ",image/jpeg"),
        (None, "*/*", DICOM, "image/jpeg"),
    ):
        query = {"transferSyntax": syntax, "contentType": content_type}
        reply = ask(wado, accept=accept, anonymize="yes", **{name: one for name, one in query.items() if one})
        content = whole(reply)
        assert harmless(content), query
        assert harmless(repr(reply.headers).encode() + reply.etag.encode())
        if reply.content_type.startswith(DICOM):
            with opened(content, tmp_path / "found") as found:
                assert found.data_set[0x00120062].value == "YES"
                assert found.header.sop_instance_uid != INSTANCE
                assert found.data_set[0x00080018].value == found.header.sop_instance_uid
                assert np.array_equal(found.description.rows, 20)
    assert not list((Path(archive.root) / ".dcmkit" / "incoming").rglob("*.part"))


def test_pictures_are_made_of_copies_too(
    archive: Archive, wado: WadoURI, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    put_image(archive)
    opened_images: list[str] = []

    def show(self: Any, image: Any, *arguments: Any, **more: Any) -> Any:
        opened_images.append(image.data_set[0x00100010].value)
        return original(self, image, *arguments, **more)

    original = module.Showing.show
    monkeypatch.setattr(module.Showing, "show", show)
    for content_type in ("image/jpeg", "image/png", "image/gif", "image/webp", "image/jxl"):
        reply = ask(wado, anonymize="yes", contentType=content_type, annotation="technique")
        assert reply.content_type == content_type
    assert opened_images
    assert not any("Doe" in name for name in opened_images)
    assert status(wado, anonymize="yes", annotation="patient") == 400


def test_a_picture_made_before_is_not_given_to_who_must_not_see_it(archive: Archive, wado: WadoURI) -> None:
    put_image(archive, np.zeros((1, 200, 200), "u1"))
    query = {"contentType": "image/png", "annotation": "technique"}
    seen = whole(ask(wado, **query))
    assert whole(ask(wado, anonymize="yes", **query)) != seen  # its study date is burned in
    assert whole(ask(wado, **query)) == seen


def test_pseudonyms_are_the_same_tomorrow(archive: Archive, wado: WadoURI) -> None:
    put_image(archive)
    first = whole(ask(wado, anonymize="yes", contentType=DICOM))
    assert whole(ask(WadoURI(archive), anonymize="yes", contentType=DICOM)) == first
    key = Path(archive.root) / ".dcmkit" / KEY_NAME
    assert key.stat().st_mode & 0o077 == 0
    key.write_text("garbage")
    other = whole(ask(WadoURI(archive), anonymize="yes", contentType=DICOM))
    assert other != first
    assert harmless(other)


def test_what_is_burned_in_is_refused(archive: Archive, wado: WadoURI) -> None:
    put_image(archive, more=[(0x00280301, "CS", b"YES")])
    for content_type in (DICOM, "image/jpeg", "image/png", ""):
        query = {"contentType": content_type} if content_type else {}
        assert status(wado, anonymize="yes", **query) == 409
    assert ask(wado).status == 200


def test_presentation_states_are_copies_as_well(archive: Archive, wado: WadoURI) -> None:
    put_image(archive, np.full((1, 100, 400), 100, "u1"))
    texts = {}
    for uid, text in (("1.2.8", "Jane Doe 4711"), ("1.2.9", "John Roe 1234")):
        put_state(archive, uid, text)
        query = {"contentType": "image/png", "presentationUID": uid}
        texts[uid] = whole(ask(wado, **query)), whole(ask(wado, anonymize="yes", **query))
    assert texts["1.2.8"][0] != texts["1.2.9"][0]
    assert texts["1.2.8"][1] == texts["1.2.9"][1]  # nothing of what they said is left
    assert np.unique(imagecodecs.png_decode(texts["1.2.8"][1]))[0] == 155  # and the rest of the state counts


def test_reports(archive: Archive, wado: WadoURI) -> None:
    from tests.web.test_documents import REPORT

    changed = {0x00080018: Element("UI", INSTANCE), 0x0020000D: Element("UI", STUDY), 0x0020000E: Element("UI", SERIES),
               0x00100010: Element("PN", "Doe^Jane")}  # fmt: skip
    data = encode(dict(sorted({**REPORT, **changed}.items())), EXPLICIT_VR_LITTLE_ENDIAN)
    put(archive, INSTANCE, data, sop_class="1.2.840.10008.5.1.4.1.1.88.33")
    archive.flush()
    assert ask(wado).content_type == "text/html; charset=utf-8"
    assert ask(wado, contentType="text/plain", charset="iso-8859-1").content_type == "text/plain; charset=iso-8859-1"
    assert b"Doe Jane" in whole(ask(wado))
    for content_type in ("text/html", "text/plain", DICOM):
        assert harmless(whole(ask(wado, anonymize="yes", contentType=content_type)))


def test_large_copies_are_there_while_they_are_sent(
    archive: Archive, wado: WadoURI, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    put_image(archive)
    small = whole(ask(wado, anonymize="yes", contentType=DICOM))
    monkeypatch.setattr(module, "_SMALL", 100)
    reply = ask(wado, anonymize="yes", contentType=DICOM)
    assert reply.length == len(small)
    assert not isinstance(reply.body, (bytes, Rope))
    assert whole(reply) == small
    dropped = ask(wado, anonymize="yes", contentType=DICOM)
    dropped.body.close()
    converted = ask(wado, transferSyntax=syntaxes.RLE)
    next(iter(converted.body))
    converted.body.close()
    converted.body.close()


NAMES = ("contentType", "charset", "anonymize", "transferSyntax", "frameNumber", "rows", "columns", "region", "accept",
         "windowCenter", "windowWidth", "imageQuality", "annotation", "presentationUID", "iccprofile", "x")  # fmt: skip
VALUES = st.sampled_from(
    ("yes", "no", "*", "1", "0", "99999", "nan", "1e9", "image/png", "image/gif", DICOM, "text/html", "patient",
     "technique", syntaxes.RLE, syntaxes.JPEG_LS, "1.2.8", "0,0,1,1", "-1", "srgb", "")
) | st.text(max_size=20)  # fmt: skip


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=6))
def test_any_query_is_answered_or_refused(archive: Archive, wado: WadoURI, query: dict[str, str]) -> None:
    if not list(Path(archive.root).rglob("1.2.8.dcm")):
        put_image(archive)
        put_state(archive, "1.2.8")
    try:
        reply = ask(wado, **query)
    except DcmkitError as error:
        if error.http_status >= 500:
            raise
        return
    content = whole(reply)
    assert content
    if query.get("anonymize", "").strip().lower() == "yes":
        assert harmless(content)


def test_the_data_set_that_is_sent_says_so(archive: Archive, wado: WadoURI, tmp_path: Path) -> None:
    put_image(archive)
    path = tmp_path / "found"
    path.write_bytes(whole(ask(wado, anonymize="yes", contentType=DICOM)))
    header = read_file_header(path)
    found = decode(path.read_bytes()[header.offset :], header.transfer_syntax_uid)
    assert found[0x00080018].value == header.sop_instance_uid
    assert found[0x0020000D].value != STUDY
