"""The store transaction: what comes in parts is in the archive, and is answered for."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from dcmkit.archive import disk
from dcmkit.archive.filing import Stored
from dcmkit.archive.folder import Folder
from dcmkit.archive.store import Archive
from dcmkit.dataset.part10 import file_meta, read_file_header
from dcmkit.deid.profile import Plan, parse
from dcmkit.errors import NetworkError, OutputError
from dcmkit.services.anonymizing import Anonymization, Anonymizing
from dcmkit.services.forwarding import Forwarding
from dcmkit.uids import MEDIA_STORAGE_DIRECTORY_STORAGE
from dcmkit.web.exchange import HttpError, Reply, Request, WholeBody
from dcmkit.web.identity import ForbiddenError, Identity
from dcmkit.web.media_types import MediaTypeError, UnsupportedMediaTypeError
from dcmkit.web.multipart import BodyTooLargeError, Limits, MultipartError, lay_out
from dcmkit.web.negotiation import NotAcceptableError
from dcmkit.web.routes import Routes
from dcmkit.web.storing import TOGETHER, Storing
from dcmkit.web.stow_answer import parse_answer
from tests.archive.objects import CT, archive_in, arriving, image, part10, put, rows, visible
from tests.deid.test_engine import PSEUDONYMS

RELATED = 'multipart/related; type="application/dicom"; boundary=xyz'
DICOM = {"Content-Type": "application/dicom"}
STUDY = "1.2.3.1"


class Blocks:
    """A body that comes in pieces of a size, and may break off."""

    def __init__(self, content: bytes, size: int = 1 << 20, broken: bool = False) -> None:
        self._content, self._size, self._broken = content, size, broken

    def __iter__(self) -> Iterator[bytes]:
        for start in range(0, len(self._content), self._size):
            yield self._content[start : start + self._size]
        if self._broken:
            raise NetworkError("the connection was lost")

    def read(self, limit: int) -> bytes:
        return self._content


def body_of(*parts: bytes, headers: Sequence[dict[str, str]] = (), boundary: str = "xyz") -> bytes:
    laid = [((headers[at] if headers else DICOM), len(part), [part]) for at, part in enumerate(parts)]
    pieces, _ = lay_out(boundary, laid)
    return b"".join(pieces)


def asking(body: bytes | Blocks, *, content_type: str = RELATED, study: str = "", **more: Any) -> Request:
    headers = {"content-type": content_type, **more.pop("headers", {})}
    variables = {"study": study} if study else {}
    return Request(
        "POST",
        "/studies",
        variables,
        headers=headers,
        body=WholeBody(body) if isinstance(body, bytes) else body,
        **more,
    )


def stored(archive: Archive, body: bytes | Blocks, *, limits: Limits | None = None, **more: Any) -> Reply:
    return (Storing(archive, limits=limits) if limits else Storing(archive)).store(asking(body, **more))


def answer(reply: Reply) -> dict[str, Any]:
    assert isinstance(reply.body, bytes)
    assert reply.content_type == "application/dicom+json"
    found: dict[str, Any] = json.loads(reply.body)
    return found


def reasons(reply: Reply) -> tuple[list[str], dict[str, int], list[int]]:
    """What is stored, what failed and why, and what is no object."""
    assert isinstance(reply.body, bytes)
    found = parse_answer(reply.body)
    return list(found.stored), {uid: one.reason for uid, one in found.failed.items()}, [o.reason for o in found.other]


def content(path: Path | str) -> bytes:
    return Path(path).read_bytes()[read_file_header(path).offset :]


def test_the_routes(tmp_path: Path):
    with archive_in(tmp_path) as archive:
        routes = Routes(Storing(archive).routes())
    for path in ("/studies", "/studies/1.2"):
        found = routes.find(path)
        assert found is not None
        route = found.methods["POST"]
        assert route.scopes == ("store",)
        assert route.stores
        assert route.filters


@pytest.mark.parametrize("content_type", [RELATED, RELATED.replace('"', ""), "multipart/related; boundary=xyz"])
@pytest.mark.parametrize("size", [1 << 20, 1, 7, 1000])
def test_objects_are_stored_as_they_came(tmp_path: Path, content_type: str, size: int):
    data = [image(f"1.2.{number}", pixels=bytes(3000 * number)) for number in (1, 2, 3, 4)]
    parts = [part10(f"1.2.{number}", one) for number, one in enumerate(data, 1)]
    with archive_in(tmp_path) as archive:
        reply = stored(archive, Blocks(body_of(*parts), size), content_type=content_type)
        assert reply.status == 200
        found = answer(reply)
        assert found["00081190"]["Value"] == [f"http://localhost/studies/{STUDY}"]
        assert "00081198" not in found
        items = found["00081199"]["Value"]
        assert items[0] == {
            "00081150": {"vr": "UI", "Value": [CT]},
            "00081155": {"vr": "UI", "Value": ["1.2.1"]},
            "00081190": {
                "vr": "UR", "Value": [f"http://localhost/studies/{STUDY}/series/1.2.3.2/instances/1.2.1"],
            },
        }  # fmt: skip
        assert [item["00081155"]["Value"][0] for item in items] == ["1.2.1", "1.2.2", "1.2.3", "1.2.4"]
        for number, one in enumerate(data, 1):
            (path,) = rows(archive, f"1.2.{number}")
            assert content(tmp_path / path) == one
    assert arriving(tmp_path) == []


def test_repeating_it_changes_nothing(tmp_path: Path):
    body = body_of(part10("1.1"), part10("1.2"))
    with archive_in(tmp_path) as archive:
        first, second = stored(archive, body), stored(archive, body)
        assert (second.status, second.body) == (200, first.body)
        assert len(rows(archive, "1.1")) == 1


def test_more_than_are_stored_together(tmp_path: Path):
    uids = [f"1.2.{number}" for number in range(1, TOGETHER + 20)]
    with archive_in(tmp_path) as archive:
        reply = stored(archive, body_of(*(part10(uid) for uid in uids)))
        assert reply.status == 200
        assert reasons(reply)[0] == uids


def test_one_object_without_parts(tmp_path: Path):
    data = image("1.1", pixels=bytes(50000))
    with archive_in(tmp_path) as archive:
        reply = stored(archive, Blocks(part10("1.1", data), 999), content_type="application/dicom")
        assert reply.status == 200
        assert content(tmp_path / rows(archive, "1.1")[0]) == data
        with pytest.raises(HttpError, match="without a body") as caught:
            stored(archive, b"", content_type="application/dicom")
        assert caught.value.http_status == 400
        with pytest.raises(BodyTooLargeError):
            stored(archive, part10("1.2"), content_type="application/dicom", limits=Limits(part=100))
        with pytest.raises(NetworkError):
            stored(archive, Blocks(part10("1.2"), 99, broken=True), content_type="application/dicom")
        assert rows(archive, "1.2") == []
    assert arriving(tmp_path) == []


def test_a_form_as_uploaders_send_it(tmp_path: Path):
    parts = part10("1.1"), b"on", part10("1.2")
    headers = (
        {"Content-Disposition": 'form-data; name="0"; filename="a.dcm"', "Content-Type": "application/octet-stream"},
        {"Content-Disposition": 'form-data; name="overwrite"'},
        {"Content-Disposition": 'form-data; name="dicom"; filename="b"'},
    )
    with archive_in(tmp_path) as archive:
        reply = stored(archive, body_of(*parts, headers=headers), content_type="multipart/form-data; boundary=xyz")
        assert reply.status == 200
        assert reasons(reply)[0] == ["1.1", "1.2"]
        with pytest.raises(HttpError, match="without any object"):
            stored(archive, body_of(b"on", headers=headers[1:2]), content_type="multipart/form-data; boundary=xyz")


def test_as_xml(tmp_path: Path):
    with archive_in(tmp_path) as archive:
        reply = stored(archive, body_of(part10("1.1"), b"x"), headers={"accept": "application/dicom+xml"})
        assert (reply.status, reply.content_type) == (202, "application/dicom+xml")
        assert reasons(reply) == (["1.1"], {}, [0xC000])
        accept = {"accept": "multipart/related; type=application/dicom+xml"}
        reply = stored(archive, body_of(part10("1.1")), headers=accept)
        assert reply.content_type.startswith('multipart/related; type="application/dicom+xml"; boundary=')
        with pytest.raises(NotAcceptableError):
            stored(archive, body_of(part10("1.2")), headers={"accept": "image/png"})
        assert rows(archive, "1.2") == []


# --- what is not stored ---


def test_a_part_that_is_no_object_among_others(tmp_path: Path):
    with archive_in(tmp_path) as archive:
        reply = stored(archive, body_of(part10("1.1"), b"no DICOM" * 2000, b"", part10("1.2")))
        assert reply.status == 202
        assert reasons(reply) == (["1.1", "1.2"], {}, [0xC000, 0xC000])
        assert answer(reply)["0008119A"]["Value"][0]["00081197"] == {"vr": "US", "Value": [0xC000]}
        assert reply.headers[0][0] == "Warning"
        assert reply.headers[0][1].startswith("299 http://localhost: 2 of 4 were not stored")
    assert arriving(tmp_path) == []


def test_nothing_but_garbage(tmp_path: Path):
    with archive_in(tmp_path) as archive:
        reply = stored(archive, body_of(b"no DICOM" * 2000))
        assert reply.status == 400
        assert reasons(reply) == ([], {}, [0xC000])


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        (part10("1.9", image("1.9")[:-3]), 0xC000),
        (part10("1.9", image("1.9", without=[0x00080018])), 0xC000),
        (part10("1.9", sop_class=MEDIA_STORAGE_DIRECTORY_STORAGE), 0x0122),
        (file_meta(CT, "1.9", "1.2.840.10008.1.2.77") + image("1.9"), 0xC122),
        (file_meta(CT, "1.9", "implicit") + image("1.9"), 0xC122),
        (part10("1.9", image("1.9", study="../x")), 0xC000),
    ],
)  # fmt: skip
def test_objects_that_are_refused(tmp_path: Path, part: bytes, reason: int):
    with archive_in(tmp_path) as archive:
        reply = stored(archive, body_of(part))
        assert reply.status == 409
        assert reasons(reply) == ([], {"1.9": reason}, [])
        reply = stored(archive, body_of(part10("1.1"), part))
        assert reply.status == 202
        assert reasons(reply) == (["1.1"], {"1.9": reason}, [])
        assert rows(archive, "1.9") == []
    assert arriving(tmp_path) == []


@pytest.mark.parametrize("uid", ["..", "../../x", "a/b", "1" * 70, "x" * 10000, "1.2\0.3"])
def test_uids_that_are_none(tmp_path: Path, uid: str):
    with archive_in(tmp_path / "archive") as archive:
        reply = stored(archive, body_of(part10(uid, image(uid))))
        assert reply.status == 400
        assert reasons(reply)[2] == [0xC000]
        assert uid not in str(reply.body)
    assert [path.name for path in tmp_path.iterdir()] == ["archive"]


def test_files_as_they_are_found(tmp_path: Path):
    """No preamble, no file meta information, one that contradicts the data set."""
    bare = image("1.1", pixels=bytes(20000))
    without_preamble = part10("1.2")[128:]
    another = file_meta(CT, "1.99", "1.2.840.10008.1.2.1") + image("1.3")
    with archive_in(tmp_path) as archive:
        reply = stored(archive, Blocks(body_of(bare, without_preamble, another), 500))
        assert reasons(reply) == (["1.1", "1.2", "1.3"], {}, [])


def test_another_study_than_that_of_the_path(tmp_path: Path):
    body = body_of(part10("1.1"), part10("1.2", study="1.5"))
    with archive_in(tmp_path) as archive:
        reply = stored(archive, body, study=STUDY)
        assert reply.status == 202
        assert reasons(reply) == (["1.1"], {"1.2": 0xA901}, [])
        reply = stored(archive, body, study="1.7")
        assert reply.status == 409
        with pytest.raises(HttpError) as caught:
            stored(archive, body, study="../..")
        assert caught.value.http_status == 400


def test_who_is_limited_to_studies(tmp_path: Path):
    limited = Identity("me", "link", frozenset({"store"}), frozenset({STUDY}))
    with archive_in(tmp_path) as archive:
        reply = stored(archive, body_of(part10("1.1"), part10("1.2", study="1.5")), identity=limited)
        assert reasons(reply) == (["1.1"], {"1.2": 0x0124}, [])
        with pytest.raises(ForbiddenError):
            stored(archive, body_of(part10("1.2", study="1.5")), identity=limited)
        assert rows(archive, "1.2") == []
    assert arriving(tmp_path) == []


def test_duplicates_with_other_content(tmp_path: Path):
    with archive_in(tmp_path, on_duplicate="reject") as archive:
        put(archive, "1.1", name="Somebody")
        reply = stored(archive, body_of(part10("1.1")))
        assert reply.status == 409
        assert reasons(reply) == ([], {"1.1": 0x0111}, [])


def test_a_warning_is_told(tmp_path: Path):
    with archive_in(tmp_path, on_invalid="store") as archive:
        reply = stored(archive, body_of(part10("1.1"), part10("1.2", image("1.2")[:-1])))
        assert reply.status == 202
        items = answer(reply)["00081199"]["Value"]
        assert items[1]["00081196"] == {"vr": "US", "Value": [0xB007]}
        assert "00081196" not in items[0]


@pytest.mark.parametrize("durability", ["none", "full"])
def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durability: str):
    with archive_in(tmp_path, durability=durability) as archive:

        def full(path: str) -> int:
            raise OSError(errno.ENOSPC, "full")

        with monkeypatch.context() as patched:
            patched.setattr(disk, "create", full)
            reply = stored(archive, body_of(part10("1.1"), part10("1.2")))
        assert reply.status == 409
        assert reasons(reply) == ([], {"1.1": 0xA700, "1.2": 0xA700}, [])
        assert stored(archive, body_of(part10("1.1"))).status == 200
    assert arriving(tmp_path) == []


# --- bodies ---


@pytest.mark.parametrize(
    ("content_type", "error"),
    [
        ("", UnsupportedMediaTypeError),
        ("text/plain", UnsupportedMediaTypeError),
        ("multipart/related; type=image/jpeg; boundary=xyz", UnsupportedMediaTypeError),
        ("multipart/related; type=application/dicom", MediaTypeError),
        ("nonsense", MediaTypeError),
    ],
)
def test_content_types_that_are_refused(tmp_path: Path, content_type: str, error: type[MediaTypeError]):
    with archive_in(tmp_path) as archive, pytest.raises(error) as caught:
        stored(archive, body_of(part10()), content_type=content_type)
    assert caught.value.http_status == error.http_status


def test_a_compressed_body(tmp_path: Path):
    with archive_in(tmp_path) as archive, pytest.raises(UnsupportedMediaTypeError):
        stored(archive, body_of(part10()), headers={"content-encoding": "gzip"})


@pytest.mark.parametrize(
    "body", [b"", b"--xyz--\r\n", b"--xyz--", b"no boundary" * 10, body_of(part10(), boundary="abc")]
)
def test_bodies_without_an_object(tmp_path: Path, body: bytes):
    with archive_in(tmp_path) as archive:
        with pytest.raises((HttpError, MultipartError)) as caught:
            stored(archive, body)
        assert caught.value.http_status == 400


@pytest.mark.parametrize("broken", [False, True])
def test_what_was_complete_stays_when_the_body_breaks_off(tmp_path: Path, broken: bool):
    told: list[str] = []
    body = body_of(part10("1.1"), part10("1.2"), part10("1.3"))
    cut = body.index(b"DICM", body.index(b"1.2.3.1", body.index(b"--xyz", 10))) + 300
    with archive_in(tmp_path) as archive:
        storing = Storing(archive, on_stored=told.extend)
        if broken:
            with pytest.raises(NetworkError, match="lost"):
                storing.store(asking(Blocks(body[:cut], 100, broken=True)))
        else:
            reply = storing.store(asking(Blocks(body[:cut], 100)))
            assert reply.status == 202
            assert reasons(reply) == (["1.1", "1.2"], {}, [0xC000])
        assert told == ["1.1", "1.2"]
        assert len(rows(archive, "1.2")) == 1
        assert rows(archive, "1.3") == []
    assert len(visible(tmp_path)) == 2
    assert arriving(tmp_path) == []


def test_a_part_that_is_shorter_than_it_says(tmp_path: Path):
    body = body_of(part10("1.1")).replace(b"Content-Length: ", b"Content-Length: 9")
    with archive_in(tmp_path) as archive:
        assert reasons(stored(archive, body)) == ([], {"1.1": 0xC000}, [])


def test_limits(tmp_path: Path):
    body = body_of(part10("1.1"), part10("1.2", pixels=bytes(9000)))
    with archive_in(tmp_path) as archive:
        for limits in (Limits(part=5000), Limits(body=5000)):
            with pytest.raises(BodyTooLargeError) as caught:
                stored(archive, Blocks(body, 500), limits=limits)
            assert caught.value.http_status == 413
        assert len(rows(archive, "1.1")) == 1
        reply = stored(archive, body, limits=Limits(parts=1))
        assert (reply.status, reasons(reply)) == (202, (["1.1"], {}, [0xC000]))
    assert arriving(tmp_path) == []


def test_base64_is_not_taken_for_an_object(tmp_path: Path):
    headers = [{**DICOM, "Content-Transfer-Encoding": "base64"}]
    with archive_in(tmp_path) as archive:
        assert stored(archive, body_of(part10(), headers=headers)).status == 400


def test_who_wants_to_know_is_told(tmp_path: Path):
    told: list[list[str]] = []
    with archive_in(tmp_path) as archive:
        storing = Storing(archive, on_stored=lambda uids: told.append(list(uids)))
        storing.store(asking(body_of(part10("1.1"), b"x", part10("1.2"))))
        storing.store(asking(body_of(b"x")))
    assert told == [["1.1", "1.2"]]


# --- doors before the archive ---


class Remembering:
    """As `forwarding.Forwarder`; does not want one of them."""

    def __init__(self) -> None:
        self.added: list[tuple[str, str]] = []

    def add(self, stored: Stored, sop_instance_uid: str) -> None:
        if sop_instance_uid == "1.3":
            raise OutputError("the spool is full")
        self.added.append((stored.path, sop_instance_uid))


def test_what_is_stored_is_passed_on(tmp_path: Path):
    forwarder = Remembering()
    with archive_in(tmp_path) as archive:
        storing = Storing(Forwarding(archive, forwarder))  # type: ignore[arg-type]
        body = body_of(part10("1.1"), b"x", part10("1.2"), part10("1.3"), part10("1.4", study="1.5"))
        reply = storing.store(asking(body, study=STUDY))
        assert reasons(reply) == (["1.1", "1.2"], {"1.3": 0xA700, "1.4": 0xA901}, [0xC000])
        assert [uid for _, uid in forwarder.added] == ["1.1", "1.2"]
        assert all(Path(path).exists() for path, _ in forwarder.added)
    assert arriving(tmp_path) == []


def test_a_door_that_knows_no_batches(tmp_path: Path):
    with Folder(str(tmp_path / "folder")) as folder:
        storing = Storing(Forwarding(folder, Remembering()))  # type: ignore[arg-type]
        body = body_of(part10("1.1"), part10("1.2", study="1.5"), part10("1.3"), image("1.4")[:-1])
        reply = storing.store(asking(body, study=STUDY))
        assert reasons(reply) == (["1.1"], {"1.2": 0xA901, "1.3": 0xA700, "1.4": 0xC000}, [])
        items = answer(reply)["00081199"]["Value"]
        assert items[0]["00081190"]["Value"][0].endswith("/series/1.2.3.2/instances/1.1")


def test_what_is_de_identified_is_answered_by_the_uids_that_were_sent(tmp_path: Path):
    with archive_in(tmp_path) as archive:
        storing = Storing(Anonymizing(archive, archive, Anonymization(Plan(parse("basic")), PSEUDONYMS)))
        reply = storing.store(asking(body_of(part10("1.1"), b"x", part10("1.2", study="1.5")), study=STUDY))
        assert reasons(reply) == (["1.1"], {"1.2": 0xA901}, [0xC000])
        found = answer(reply)
        assert "00081190" not in found
        assert "00081190" not in found["00081199"]["Value"][0]
        assert rows(archive, "1.1") == []
        assert len(rows(archive, PSEUDONYMS.uid("1.1"))) == 1
        metadata = b'[{"00080016": {"vr": "UI", "Value": ["1.2"]}}]'
        assert storing.store(asking(metadata, content_type="application/dicom+json")).status == 400
    assert arriving(tmp_path) == []
