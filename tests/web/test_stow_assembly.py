"""Instances that come as metadata and bulk data."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dcmkit.archive.store import Archive
from dcmkit.dataset.elements import decode
from dcmkit.dataset.json_model import to_json
from dcmkit.dataset.part10 import read_file_header
from dcmkit.dataset.xml_model import to_native_xml
from dcmkit.errors import InvalidDataSetError
from dcmkit.web import stow_assembly
from dcmkit.web.exchange import HttpError, Reply
from dcmkit.web.multipart import BodyTooLargeError, MultipartError
from dcmkit.web.storing import Storing
from tests.archive.objects import CT, EXPLICIT, archive_in, arriving, image, rows
from tests.web.test_storing import asking, body_of, reasons

JSON = 'multipart/related; type="application/dicom+json"; boundary=xyz'
XML = 'multipart/related; type="application/dicom+xml"; boundary=xyz'
META = {"Content-Type": "application/dicom+json"}
PIXELS = "7FE00010"
JPEG = (
    bytes.fromhex("ffd8 ffe0 0010 4a46494600 0101 00 0001 0001 0000")
    + bytes.fromhex("ffc0 0011 08 0002 0003 03 012200 021101 031101")
    + bytes.fromhex("ffda 000c 03 0100 0211 0311 00 3f 00")
    + bytes(64)
    + b"\xff\xd9\0"
)
"""The frame of 2 rows and 3 columns, as far as anybody looks."""


def metadata(uid: str = "1.1", uri: str = "bulk/1", without: tuple[int, ...] = (), **how: Any) -> dict[str, Any]:
    found = to_json(decode(image(uid, without=without, **how), EXPLICIT))
    if uri:
        found[PIXELS] = {"vr": "OW", "BulkDataURI": uri}
    return found


def bulk(location: str, media_type: str = "application/octet-stream") -> dict[str, str]:
    return {"Content-Type": media_type, "Content-Location": location}


def stored(archive: Archive, found: object, *parts: tuple[dict[str, str], bytes]) -> Reply:
    body = body_of(json.dumps(found).encode(), *(part for _, part in parts), headers=[META, *(h for h, _ in parts)])
    return Storing(archive).store(asking(body, content_type=JSON))


def content(archive: Archive, tmp_path: Path, uid: str) -> tuple[str, bytes]:
    path = tmp_path / rows(archive, uid)[0]
    header = read_file_header(path)
    return header.transfer_syntax_uid, path.read_bytes()[header.offset :]


@pytest.mark.parametrize("location", ["bulk/1", "/bulk/1", "http://elsewhere/bulk/1", "./bulk/1"])
def test_metadata_and_bulk_data_are_the_object(tmp_path: Path, location: str):
    pixels = bytes(range(256)) * 9000 + b"\1"
    with archive_in(tmp_path) as archive:
        reply = stored(archive, [metadata()], (bulk(location), pixels))
        assert (reply.status, reasons(reply)) == (200, (["1.1"], {}, []))
        assert content(archive, tmp_path, "1.1") == (EXPLICIT, image("1.1", pixels=pixels + b"\0"))
    assert arriving(tmp_path) == []


def test_several_of_them_and_one_that_lacks_its_bulk_data(tmp_path: Path):
    with archive_in(tmp_path) as archive:
        found = [metadata("1.1"), metadata("1.2", "bulk/2"), metadata("1.3", ""), 7, {"x": 1}]
        reply = stored(archive, found, (bulk("bulk/1"), b"abcd"))
        assert reply.status == 202
        assert reasons(reply) == (["1.1", "1.3"], {"1.2": 0xC000}, [0xC000, 0xC000])


def test_without_parts(tmp_path: Path):
    with archive_in(tmp_path) as archive:
        body = json.dumps(metadata("1.1", "")).encode()
        reply = Storing(archive).store(asking(body, content_type="application/dicom+json"))
        assert reply.status == 200
        xml = to_native_xml(decode(image("1.2"), EXPLICIT)).encode()
        reply = Storing(archive).store(asking(xml, content_type="application/dicom+xml"))
        assert reply.status == 200
        assert content(archive, tmp_path, "1.2") == (EXPLICIT, image("1.2"))


def test_xml(tmp_path: Path):
    documents = [
        to_native_xml(decode(image(uid), EXPLICIT), bulk_data=lambda *_: "urn:1").encode() for uid in ("1.1", "1.2")
    ]
    headers = [{"Content-Type": "application/dicom+xml"}] * 2 + [{"Content-Type": "a/b", "Content-Location": "urn:1"}]
    with archive_in(tmp_path) as archive:
        body = body_of(*documents, b"abcd", headers=headers)
        reply = Storing(archive).store(asking(body, content_type=XML))
        assert reasons(reply) == (["1.1", "1.2"], {}, [])
        assert content(archive, tmp_path, "1.2") == (EXPLICIT, image("1.2", pixels=b"abcd"))


def fragments(data: bytes) -> Iterator[bytes]:
    at = data.index(b"\xe0\x7f\x10\0OB\0\0\xff\xff\xff\xff") + 12
    while data[at : at + 4] != b"\xfe\xff\xdd\xe0":
        (length,) = struct.unpack_from("<I", data, at + 4)
        yield data[at + 8 : at + 8 + length]
        at += 8 + length
    assert data[at + 4 :] == bytes(4)


def test_a_jpeg_describes_itself(tmp_path: Path):
    found = metadata(without=(0x00280010, 0x00280011))
    with archive_in(tmp_path) as archive:
        reply = stored(archive, [found], (bulk("bulk/1", "image/jpeg"), JPEG))
        assert reply.status == 200
        syntax, data = content(archive, tmp_path, "1.1")
        assert syntax == "1.2.840.10008.1.2.4.50"
        assert list(fragments(data)) == [b"", JPEG + b"\0" * (len(JPEG) % 2)]
        values = decode(data[: data.index(b"\xe0\x7f\x10\0OB")], EXPLICIT)
        assert {tag: values[tag].value for tag in values if tag >> 16 == 0x28} == {
            0x00280002: "3", 0x00280004: "YBR_FULL_422", 0x00280006: "0", 0x00280010: "2", 0x00280011: "3",
            0x00280100: "8", 0x00280101: "8", 0x00280102: "7", 0x00280103: "0", 0x00282110: "01",
            0x00282114: "ISO_10918_1",
        }  # fmt: skip


def test_frames_in_parts_of_their_own(tmp_path: Path):
    parts = [(bulk(f"bulk/1/frames/{number}", "image/jpeg"), JPEG + bytes(number)) for number in (2, 1, 3)]
    with archive_in(tmp_path) as archive:
        assert stored(archive, [metadata()], *parts).status == 200
        _, data = content(archive, tmp_path, "1.1")
        table, *frames = fragments(data)
        assert [len(frame) for frame in frames] == [len(JPEG) + n + (len(JPEG) + n) % 2 for n in (1, 2, 3)]
        assert len(table) == 12
        assert struct.unpack("<3I", table)[1] == len(frames[0]) + 8
        assert decode(data[: data.index(b"\xe0\x7f\x10\0OB")], EXPLICIT)[0x00280008].value == "3"


def test_video_is_passed_on(tmp_path: Path):
    with archive_in(tmp_path) as archive:
        said = "video/mp4; transfer-syntax=1.2.840.10008.1.2.4.105"
        for uid, media_type, syntax in (("1.1", "video/mp4", "102"), ("1.2", said, "105")):
            reply = stored(archive, [metadata(uid)], (bulk("bulk/1", media_type), b"video" * 10))
            assert reply.status == 200
            assert content(archive, tmp_path, uid)[0] == f"1.2.840.10008.1.2.4.{syntax}"


def test_a_document(tmp_path: Path):
    found = metadata("1.1", "", without=(0x7FE00010,)) | {"00420011": {"vr": "OB", "BulkDataURI": "cid:doc"}}
    with archive_in(tmp_path) as archive:
        part = {"Content-Type": "application/pdf", "Content-ID": "<doc>"}, b"%PDF-1"
        assert stored(archive, [found], part).status == 200
        assert decode(content(archive, tmp_path, "1.1")[1], EXPLICIT)[0x00420011].value == b"%PDF-1"


def test_bulk_data_within_sequences_and_after_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    found = metadata()
    found["54000100"] = {"vr": "SQ", "Value": [{"54001010": {"vr": "OW", "BulkDataURI": "bulk/w"}}]}
    found["FFFCFFFC"] = {"vr": "OB", "InlineBinary": "AAAA"}
    found["00081030"] = {"vr": "LO", "Value": ["Kopf \u00fc"]}
    parts = (bulk("bulk/1"), b"abcd"), (bulk("bulk/w"), b"wave")
    with archive_in(tmp_path) as archive:
        assert stored(archive, [found], *parts).status == 200
        values = decode(content(archive, tmp_path, "1.1")[1], EXPLICIT)
        assert values[0x00081030].value == "Kopf \u00fc"
        assert values[0x7FE00010].value == b"abcd"
        items = values[0x54000100].value
        assert isinstance(items, list)
        assert items[0] == {0x54001010: ("OW", b"wave")}  # type: ignore[comparison-overlap]
        monkeypatch.setattr(stow_assembly, "IN_MEMORY", 3)
        assert reasons(stored(archive, [found | metadata("1.2")], *parts)) == ([], {"1.2": 0xC000}, [])


@pytest.mark.parametrize("charset", ["ISO_IR 100", "", "ISO_IR 192", "nonsense"])
def test_text_is_unicode_whatever_is_declared(tmp_path: Path, charset: str):
    found = metadata()
    found["00080005"] = {"vr": "CS", "Value": [charset]} if charset else {"vr": "CS"}
    found["00100010"] = {"vr": "PN", "Value": [{"Alphabetic": "M\u00fcller", "Ideographic": "\u5c71\u7530"}]}
    with archive_in(tmp_path) as archive:
        assert stored(archive, [found], (bulk("bulk/1"), b"abcd")).status == 200
        values = decode(content(archive, tmp_path, "1.1")[1], EXPLICIT)
        assert values[0x00100010].value == "M\u00fcller=\u5c71\u7530"
        assert values[0x00080005].value == "ISO_IR 192"


@pytest.mark.parametrize(
    ("media_type", "part", "reason"),
    [
        ("image/jpeg", b"no JPEG", 0xC000),
        ("image/jpeg", b"", 0xC000),
        ("image/gif", JPEG, 0xC122),
        ("image/jpeg; transfer-syntax=1.2.840.10008.1.2.5", JPEG, 0xC122),
        ("application/octet-stream; transfer-syntax=1.2.840.10008.1.2.4.80", JPEG, 0xC000),
    ],
)
def test_frames_that_are_none(tmp_path: Path, media_type: str, part: bytes, reason: int):
    with archive_in(tmp_path) as archive:
        reply = stored(archive, [metadata()], (bulk("bulk/1", media_type), part))
        assert reasons(reply) == ([], {"1.1": reason}, [])
    assert arriving(tmp_path) == []


@pytest.mark.parametrize("uri", ["file:///etc/passwd", "http://127.0.0.1/x", "//[", "../../etc/passwd", ""])
def test_references_are_never_followed(tmp_path: Path, uri: str):
    with archive_in(tmp_path) as archive:
        found = metadata() | {PIXELS: {"vr": "OW", "BulkDataURI": uri}}
        assert reasons(stored(archive, [found], (bulk("bulk/1"), b"abcd"))) == ([], {"1.1": 0xC000}, [])


def test_file_meta_information_in_metadata_is_left_out(tmp_path: Path):
    found = metadata() | {"00020010": {"vr": "UI", "Value": ["1.2.840.10008.1.2.4.50"]}}
    with archive_in(tmp_path) as archive:
        assert stored(archive, [found], (bulk("bulk/1"), b"abcd")).status == 200
        assert content(archive, tmp_path, "1.1") == (EXPLICIT, image("1.1", pixels=b"abcd"))


@pytest.mark.parametrize("found", [b"", b"{", b"[" * 100_000, b"nul", b"\xff\xfe"])
def test_metadata_that_is_no_json(tmp_path: Path, found: bytes):
    with archive_in(tmp_path) as archive:
        with pytest.raises(InvalidDataSetError) as caught:
            Storing(archive).store(asking(body_of(found, headers=[META]), content_type=JSON))
        assert caught.value.http_status == 400
        assert stored(archive, [{"a": 1e999}, None]).status == 400
    assert arriving(tmp_path) == []


def test_bodies_without_an_object(tmp_path: Path):
    with archive_in(tmp_path) as archive:
        for body in (body_of(b"[]", headers=[META]), body_of(b"x", headers=[bulk("bulk/1")])):
            with pytest.raises(HttpError):
                Storing(archive).store(asking(body, content_type=JSON))
        with pytest.raises(MultipartError):
            Storing(archive).store(asking(body_of(b"[]", headers=[META])[:-9], content_type=JSON))


def test_metadata_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stow_assembly, "METADATA_LIMIT", 100)
    with archive_in(tmp_path) as archive, pytest.raises(BodyTooLargeError):
        stored(archive, [metadata()], (bulk("bulk/1"), b"abcd"))
    assert arriving(tmp_path) == []


def test_who_they_are(tmp_path: Path):
    assert stow_assembly.identified(metadata()) == (CT, "1.1")
    assert stow_assembly.identified({"00080018": {"Value": ["../x"]}}) == ("", "")
    assert stow_assembly.identified({"00080018": {"Value": [7]}, "00080016": 7}) == ("", "")
    assert stow_assembly.identified(None) == ("", "")
