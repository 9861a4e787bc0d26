"""Frames, as they are stored and in other transfer syntaxes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import imagecodecs
import numpy as np
import pytest

from dcmkit.archive.store import Archive
from dcmkit.errors import DcmkitError
from dcmkit.pixels import syntaxes
from dcmkit.uids import EXPLICIT_VR_BIG_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from dcmkit.web import framing
from dcmkit.web.exchange import FileSlice, NotModified, Rope
from dcmkit.web.framing import Frames
from dcmkit.web.identity import ALL_SCOPES, Identity
from dcmkit.web.routes import Routes
from tests.archive.objects import archive_in, put
from tests.web.pictures import INSTANCE, SERIES, STUDY, asking, parts, put_image, ramp, whole

OCTETS = 'multipart/related; type="application/octet-stream"'
OHIF = "multipart/related; type=application/octet-stream; transfer-syntax=*"


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    with archive_in(tmp_path / "archive") as made:
        yield made


@pytest.fixture
def frames(archive: Archive) -> Frames:
    return Frames(archive)


def ask(frames: Frames, wanted: str | None = "1", accept: str | None = OHIF, **more: object):
    variables = {} if wanted is None else {"frames": wanted}
    return frames.retrieve(asking(accept=accept, variables=variables, **more))


def status(frames: Frames, wanted: str | None = "1", accept: str | None = OHIF) -> int:
    with pytest.raises(DcmkitError) as caught:
        ask(frames, wanted, accept)
    return caught.value.http_status


def test_routes(frames: Frames) -> None:
    found = Routes(frames.routes()).find("/studies/1/series/2/instances/3/frames/1,2")
    assert found is not None
    assert found.variables["frames"] == "1,2"
    assert Routes(frames.routes()).find("/studies/1/series/2/instances/3/frames") is not None


@pytest.mark.parametrize("accept", [OHIF, OCTETS + "; transfer-syntax=*", OCTETS, None, "*/*"])
def test_a_native_frame_is_a_slice_of_its_file(archive: Archive, frames: Frames, accept: str) -> None:
    pixels = ramp(3)
    put_image(archive, pixels)
    reply = ask(frames, "2", accept)
    assert reply.content_type.startswith('multipart/related; type="application/octet-stream"; boundary=')
    assert isinstance(reply.body, Rope)
    assert sum(isinstance(piece, FileSlice) for piece in reply.body.pieces) == 1
    ((headers, content),) = parts(reply)
    assert content == pixels[1].tobytes()
    assert headers["content-type"] == "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1"
    path = f"studies/{STUDY}/series/{SERIES}/instances/{INSTANCE}/frames/2"
    assert headers["content-location"] == f"http://localhost/{path}"


def test_one_frame_without_parts(archive: Archive, frames: Frames) -> None:
    pixels = ramp(2)
    put_image(archive, pixels)
    reply = ask(frames, "2", "application/octet-stream")
    assert reply.content_type == "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1"
    assert whole(reply) == pixels[1].tobytes()
    assert status(frames, "1,2", "application/octet-stream") == 406


def test_lists_and_all(archive: Archive, frames: Frames) -> None:
    pixels = ramp(5)
    put_image(archive, pixels)
    assert [content for _, content in parts(ask(frames, "5,1, 3"))] == [pixels[at].tobytes() for at in (4, 0, 2)]
    assert [content for _, content in parts(ask(frames, None))] == [frame.tobytes() for frame in pixels]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [("3", 404), ("0", 404), ("9999999999", 404), ("", 400), ("1-2", 400), ("a", 400), ("1,,2", 400), ("-1", 400),
     ("99999999999", 400), ("²", 400), ("1," * 20_000, 400)],
)  # fmt: skip
def test_frames_that_are_none(archive: Archive, frames: Frames, wanted: str, expected: int) -> None:
    put_image(archive, ramp(2))
    assert status(frames, wanted) == expected


def test_too_many_frames_for_one_answer(archive: Archive, frames: Frames, monkeypatch: pytest.MonkeyPatch) -> None:
    put_image(archive, ramp(3))
    monkeypatch.setattr(framing, "LIST_LIMIT", 2)
    assert status(frames, None) == 413


@pytest.mark.parametrize("syntax", [IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN, syntaxes.DEFLATED])
def test_native_frames_are_little_endian(archive: Archive, frames: Frames, syntax: str) -> None:
    pixels = ramp(2) * 200
    put_image(archive, pixels, syntax=syntax)
    for accept in (OHIF, OCTETS, OCTETS + "; transfer-syntax=" + EXPLICIT_VR_LITTLE_ENDIAN):
        ((headers, content),) = parts(ask(frames, "2", accept))
        assert content == pixels[1].tobytes()
        assert headers["content-type"].endswith("transfer-syntax=1.2.840.10008.1.2.1")


@pytest.mark.parametrize(
    ("syntax", "media_type"),
    [
        (syntaxes.JPEG_LOSSLESS_SV1, "image/jpeg"),
        (syntaxes.JPEG_LS, "image/jls"),
        (syntaxes.JPEG_2000_LOSSLESS, "image/jp2"),
        (syntaxes.RLE, "image/dicom-rle"),
        (syntaxes.HTJ2K_LOSSLESS, "image/jphc"),
        (syntaxes.JPEG_XL_LOSSLESS, "image/jxl"),
    ],
)
def test_compressed_frames(archive: Archive, frames: Frames, syntax: str, media_type: str) -> None:
    pixels = ramp(2)
    put_image(archive, pixels, syntax=syntax)
    ((headers, stored),) = parts(ask(frames, "2", OHIF))
    assert headers["content-type"] == f"application/octet-stream; transfer-syntax={syntax}"
    reply = ask(frames, "2", f'multipart/related; type="{media_type}"')
    ((headers, content),) = parts(reply)
    assert content == stored
    assert headers["content-type"] == f"{media_type}; transfer-syntax={syntax}"
    assert isinstance(reply.body, Rope)
    assert any(isinstance(piece, FileSlice) for piece in reply.body.pieces)
    ((headers, content),) = parts(ask(frames, "2", OCTETS))  # decoded
    assert headers["content-type"] == f"application/octet-stream; transfer-syntax={EXPLICIT_VR_LITTLE_ENDIAN}"
    assert content == pixels[1].tobytes()


@pytest.mark.parametrize(
    ("accept", "decode"),
    [
        ("image/jls", imagecodecs.jpegls_decode),
        ("image/jp2", imagecodecs.jpeg2k_decode),
        ("image/jpeg", imagecodecs.ljpeg_decode),
        ("image/jphc", imagecodecs.htj2k_decode),
        ("image/jxl", imagecodecs.jpegxl_decode),
    ],
)
def test_transcoded_on_the_way(archive: Archive, frames: Frames, accept: str, decode) -> None:
    pixels = ramp(2)
    put_image(archive, pixels)
    reply = ask(frames, "2", accept)
    assert reply.content_type.startswith(accept + "; transfer-syntax=1.2.840.10008.1.2.4.")
    assert np.array_equal(decode(whole(reply)), pixels[1])
    assert whole(ask(frames, "2", accept)) == whole(reply)


def test_lossy_only_for_who_names_it(archive: Archive, frames: Frames) -> None:
    put_image(archive, ramp(1, dtype="u1"))
    assert ask(frames, "1", "image/jpeg").content_type.endswith(syntaxes.JPEG_LOSSLESS_SV1)
    named = ask(frames, "1", "image/jpeg; transfer-syntax=" + syntaxes.JPEG_BASELINE)
    assert named.content_type.endswith(syntaxes.JPEG_BASELINE)
    assert imagecodecs.jpeg8_decode(whole(named)).shape == (20, 30)


def test_long_answers_are_made_on_the_way(archive: Archive, frames: Frames, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = ramp(4)
    put_image(archive, pixels)
    monkeypatch.setattr(framing, "_AT_ONCE", 2000)
    reply = ask(frames, None, 'multipart/related; type="image/jls"')
    assert not isinstance(reply.body, (bytes, Rope))
    assert [imagecodecs.jpegls_decode(content).tolist() for _, content in parts(reply)] == pixels.tolist()


def test_what_is_not_acceptable(archive: Archive, frames: Frames) -> None:
    put_image(archive)
    assert status(frames, "1", "image/png") == 406
    assert status(frames, "1", "application/dicom") == 406
    assert status(frames, "1", OCTETS + "; transfer-syntax=1.2.3") == 406
    assert status(frames, "1", ",") == 400
    assert status(frames, "1", "image/jpeg; transfer-syntax=" + syntaxes.JPEG_BASELINE) == 406  # 16 bits


def test_unknown_and_without_frames(archive: Archive, frames: Frames) -> None:
    assert status(frames) == 404
    data_set = [0x7FE00010]
    put(archive, INSTANCE, without=data_set)
    archive.flush()
    assert status(frames) == 404
    assert status(frames, None) == 404


def test_a_file_that_has_gone(archive: Archive, frames: Frames) -> None:
    put_image(archive)
    (path,) = Path(archive.root).rglob("*.dcm")
    path.unlink()
    assert status(frames) == 410


def test_damaged_objects_are_not_the_clients_fault(archive: Archive, frames: Frames) -> None:
    put_image(archive, ramp(2), syntax=syntaxes.JPEG_2000_LOSSLESS)
    (path,) = Path(archive.root).rglob("*.dcm")
    content = bytearray(path.read_bytes())
    found = content.find(b"\xff\x4f\xff\x51")
    content[found + 40 : found + 200] = os.urandom(160)
    path.write_bytes(content)
    assert status(frames, "1", OCTETS) == 406
    assert ask(frames, "2", OCTETS).status == 200
    cut = path.read_bytes()[: found + 100]
    path.write_bytes(cut)
    os.utime(path, ns=(1, 1))
    assert status(Frames(archive), "1", OCTETS) == 406


def test_video_is_one_stream(archive: Archive, frames: Frames) -> None:
    from tests.pixels.files import VIDEO, encapsulated
    from tests.web.pictures import pixel_elements

    stream = b"\0\0\0\x18ftypmp42" + bytes(100)
    from tests.archive.objects import image

    data = image(INSTANCE, more=pixel_elements(ramp(7, dtype="u1")), without=[0x7FE00010])
    put(archive, INSTANCE, data + encapsulated([stream]), syntax=VIDEO)
    archive.flush()
    reply = ask(frames, "1", None)
    ((headers, content),) = parts(reply)
    assert content == stream
    assert headers["content-type"] == f"video/mp4; transfer-syntax={VIDEO}"
    assert len(parts(ask(frames, None, "*/*"))) == 1
    assert status(frames, "2", None) == 404


def test_who_has_it_gets_nothing_and_who_may_not_neither(archive: Archive, frames: Frames) -> None:
    put_image(archive)
    reply = ask(frames)
    with pytest.raises(NotModified):
        ask(frames, headers={"if-none-match": f'"{reply.etag}"'})
    assert ask(frames, accept="application/octet-stream").etag != reply.etag
    stranger = Identity("x", "link", ALL_SCOPES, frozenset({"9.9"}))
    with pytest.raises(DcmkitError) as caught:
        ask(frames, identity=stranger)
    assert caught.value.http_status in (403, 404)
