"""STOW-RS against a scripted server: what goes out, and what is made of every kind of answer."""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from dcmkit.dataset.part10 import read_file_header
from dcmkit.errors import ConnectError, ConnectionLostError, InputError, InvalidDataSetError
from dcmkit.services.sending import Sent
from dcmkit.uids import EXPLICIT_VR_LITTLE_ENDIAN
from dcmkit.web.http_client import HttpClient, Options
from dcmkit.web.http_response import HttpStatusError
from dcmkit.web.stow_client import Limits, StowClient, read_part, retry_after, studies_target
from tests.services.objects import CT, fresh_uid, image, part10
from tests.services.test_storage_scu import stored_file
from tests.web.http_peer import Reply, Request, peer, raw_peer, read_head


def files(directory: Path, number: int) -> list[str]:
    return [stored_file(directory).path for _ in range(number)]


def uid_of(path: str) -> str:
    return read_file_header(path).sop_instance_uid


def contents(request: Request) -> list[bytes]:
    """The parts of a request, found without dcmkit."""
    found = re.fullmatch(
        r'multipart/related; type="application/dicom"; boundary=([0-9A-Za-z\'()+_,./:=?-]{1,70})',
        request.headers["content-type"],
    )
    assert found
    parts = request.body.split(b"--" + found[1].encode())
    assert parts[0] == b""
    assert parts[-1] == b"--\r\n"
    found_contents = []
    for part in parts[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        size = len(content) - 2
        assert head == b"\r\nContent-Type: application/dicom\r\nContent-Length: %d" % size
        assert content.endswith(b"\r\n")
        found_contents.append(content[:-2])
    return found_contents


def uids(request: Request) -> list[str]:
    """The instances of a request, by their file meta information."""
    found = []
    for content in contents(request):
        at = content.index(b"\2\0\3\0UI") + 8
        length = int.from_bytes(content[at - 2 : at], "little")
        found.append(content[at : at + length].rstrip(b"\0").decode())
    return found


def answer(stored: list[str], failed: dict[str, int] | None = None, other: list[int] | None = None) -> bytes:
    """The body of an answer."""

    def item(uid: str, reason: int = 0) -> dict[str, object]:
        named = {"00081155": {"vr": "UI", "Value": [uid]}} if uid else {}
        return named | ({"00081197": {"vr": "US", "Value": [reason]}} if reason else {})

    found: dict[str, object] = {"00081190": {"vr": "UR", "Value": ["http://h/studies"]}}
    found["00081199"] = {"vr": "SQ", "Value": [item(uid) for uid in stored]}
    if failed:
        found["00081198"] = {"vr": "SQ", "Value": [item(uid, reason) for uid, reason in failed.items()]}
    if other:
        found["0008119A"] = {"vr": "SQ", "Value": [item("", reason) for reason in other]}
    return json.dumps(found).encode()


def everything(request: Request) -> Reply:
    return Reply(200, answer(uids(request)), (("Content-Type", "application/dicom+json"),))


class Stored:
    """What a client did with files."""

    def __init__(self, url: str, paths: list[str], limits: Limits | None = None, timeout: float = 20.0) -> None:
        self.reports: list[Sent] = []
        self.waits: list[float] = []
        self.error: Exception | None = None
        with HttpClient(url, options=Options(timeout=timeout), environment={}) as http:
            client = StowClient(http, limits, sleep=self.waits.append)
            try:
                client.store(paths, self.reports.append)
            except (ConnectError, HttpStatusError, ConnectionLostError) as error:
                self.error = error

    @property
    def stored(self) -> list[str]:
        return [sent.path for sent in self.reports if sent.stored]


def test_files_go_out_as_they_are_in_batches(tmp_path: Path) -> None:
    paths = files(tmp_path, 5)
    with peer(everything) as server:
        done = Stored(server.url + "/dicom-web/", paths, Limits(files=2))
    assert done.stored == paths
    assert done.error is None
    assert [request.path for request in server.requests] == ["/dicom-web/studies"] * 3
    assert [content for request in server.requests for content in contents(request)] == [
        Path(path).read_bytes() for path in paths
    ]
    assert server.connections == 1
    assert "application/dicom+json" in server.requests[0].headers["accept"]
    sent = done.reports[0]
    assert (sent.sop_instance_uid, sent.status, sent.comment) == (uid_of(paths[0]), 0, "")
    assert sent.size == os.path.getsize(paths[0])


def test_batches_by_bytes_and_an_instance_once_in_each(tmp_path: Path) -> None:
    paths = files(tmp_path, 4)
    size = os.path.getsize(paths[0])
    with peer(everything) as server:
        assert Stored(server.url, paths, Limits(size=2 * size + 1)).stored == paths
        assert [len(contents(request)) for request in server.requests] == [2, 2]
    with peer(everything) as server:
        assert Stored(server.url, paths, Limits(size=1)).stored == paths
        assert [len(contents(request)) for request in server.requests] == [1, 1, 1, 1]
    with peer(everything) as server:
        assert Stored(server.url, [paths[0], paths[0], paths[1]]).stored == [paths[0], paths[0], paths[1]]
        assert [len(contents(request)) for request in server.requests] == [1, 2]


def test_file_meta_information_is_repaired(tmp_path: Path) -> None:
    uid = fresh_uid()
    data = image(uid)
    whole = part10(uid, data)
    cut = whole.index(b"\2\0\x10\0UI")
    wrong_length = whole[:140] + b"\1\0\0\0" + whole[144:]
    other = whole.replace(uid.encode(), uid[:-1].encode() + b"x", 1)
    for name, content in {"bare": data, "no syntax": whole[:cut] + data, "l": wrong_length, "other": other}.items():
        path = tmp_path / name
        path.write_bytes(content)
        with peer(everything) as server:
            assert Stored(server.url, [str(path)]).stored == [str(path)]
        (tmp_path / "sent").write_bytes(contents(server.requests[0])[0])
        header = read_file_header(tmp_path / "sent")
        assert header[:3] == (CT, uid, EXPLICIT_VR_LITTLE_ENDIAN)
        assert (tmp_path / "sent").read_bytes()[header.offset :] == data


def test_files_that_cannot_be_sent_stop_nothing(tmp_path: Path) -> None:
    good = files(tmp_path, 2)
    (tmp_path / "text").write_text("no DICOM " * 100)
    (tmp_path / "empty").write_bytes(b"")
    whole = Path(good[0]).read_bytes()
    (tmp_path / "cut").write_bytes(whole[: len(whole) - 10])
    bad = [str(tmp_path / name) for name in ("text", "empty", "cut", "none", "\0")]
    with peer(everything) as server:
        done = Stored(server.url, [*bad[:3], good[0], *bad[3:], good[1]])
    assert done.stored == good
    errors = {sent.path: sent.error for sent in done.reports if not sent.stored}
    assert list(errors) == bad
    assert all(isinstance(errors[path], InvalidDataSetError) for path in bad[:3])
    assert all(isinstance(errors[path], InputError) for path in bad[3:])


def test_some_fail_with_their_reasons(tmp_path: Path) -> None:
    paths = files(tmp_path, 3)
    names = [uid_of(path) for path in paths]
    body = answer([names[0]], {names[1]: 0xA700, names[2]: 0x0107})
    with peer([Reply(202, body)]) as server:
        done = Stored(server.url, paths)
    assert [(sent.stored, sent.status) for sent in done.reports] == [(True, 0), (False, 0xA700), (False, 0x0110)]
    assert done.reports[1].comment == "refused, out of resources (A700H)"


def test_warnings_count_as_stored(tmp_path: Path) -> None:
    paths = files(tmp_path, 1)
    body = json.loads(answer([uid_of(paths[0])]))
    body["00081199"]["Value"][0]["00081196"] = {"vr": "US", "Value": [0xB000]}
    with peer([Reply(202, json.dumps(body).encode())]) as server:
        (sent,) = Stored(server.url, paths).reports
    assert (sent.stored, sent.status, sent.comment) == (True, 0xB000, "stored with data elements coerced (B000H)")


@pytest.mark.parametrize("status", [409, 400])
def test_none_stored(tmp_path: Path, status: int) -> None:
    paths = files(tmp_path, 2)
    with peer([Reply(status, answer([], {uid_of(path): 0xC000 for path in paths}))]) as server:
        done = Stored(server.url, paths)
    assert [sent.status for sent in done.reports] == [0xC000, 0xC000]
    assert len(server.requests) == 1


@pytest.mark.parametrize("body", [b"", b"OK", b"{}", b"<html></html>", answer(["1.2.3"])])
def test_an_answer_that_names_nothing_is_no_success(tmp_path: Path, body: bytes) -> None:
    paths = files(tmp_path, 2)
    with peer([Reply(200, body)]) as server:
        done = Stored(server.url, paths)
    assert not done.stored
    assert len(done.reports) == 2
    assert all(isinstance(sent.error, HttpStatusError) for sent in done.reports)


def test_a_server_that_vouches_for_all(tmp_path: Path) -> None:
    paths = files(tmp_path, 2)
    body = b'{"00081190": {"vr": "UR", "Value": ["http://h/studies/1"]}}'
    with peer([Reply(200, body)]) as server:
        assert Stored(server.url, paths).stored == paths
    with peer([Reply(202, body)]) as server:
        assert not Stored(server.url, paths).stored


def refusing(bad: list[str], status: int, body: bytes = b"") -> Callable[[Request], Reply]:
    """A server that answers a request with one of `bad` in it as a whole."""

    def handle(request: Request) -> Reply:
        found = [uid for uid in uids(request) if uid in bad]
        return Reply(status, body, (("Content-Type", "text/plain"),)) if found else everything(request)

    return handle


@pytest.mark.parametrize("status", [400, 409, 415, 422, 500])
def test_the_one_that_spoils_a_request_is_found(tmp_path: Path, status: int) -> None:
    paths = files(tmp_path, 9)
    with peer(refusing([uid_of(paths[4])], status, b"Doe^Jane")) as server:
        done = Stored(server.url, paths)
    assert sorted(done.stored) == sorted(paths[:4] + paths[5:])
    assert [sent.path for sent in done.reports] == paths
    (sent,) = [sent for sent in done.reports if not sent.stored]
    assert sent.comment.endswith(": Doe^Jane")
    assert "Doe" not in str(sent.error)
    assert isinstance(sent.error, HttpStatusError)
    assert sent.error.status == status
    assert len(server.requests) < 12


def test_a_server_that_fails_at_everything_is_left_alone(tmp_path: Path) -> None:
    paths = files(tmp_path, 20)
    with peer([Reply(500)]) as server:
        done = Stored(server.url, paths)
    assert isinstance(done.error, HttpStatusError)
    assert [sent.path for sent in done.reports] == paths[:3]
    assert len(server.requests) < 12


def test_too_large_a_request_is_halved_and_the_next_are_smaller(tmp_path: Path) -> None:
    paths = files(tmp_path, 8)
    size = os.path.getsize(paths[0])

    def handle(request: Request) -> Reply:
        return Reply(413) if len(request.body) > 2.5 * size else everything(request)

    with peer(handle) as server:
        done = Stored(server.url, paths, Limits(files=4))
    assert done.stored == paths
    assert [len(contents(request)) for request in server.requests] == [4, 2, 2, 2, 2]


def test_one_object_too_large(tmp_path: Path) -> None:
    paths = files(tmp_path, 2)
    with peer([Reply(413)]) as server:
        done = Stored(server.url, paths)
    assert [type(sent.error) for sent in done.reports] == [HttpStatusError] * 2
    assert "too large" in done.reports[0].comment


@pytest.mark.parametrize("status", [429, 503, 502, 504, 507])
def test_busy_and_then_not(tmp_path: Path, status: int) -> None:
    paths = files(tmp_path, 2)
    busy = [Reply(status, b"", (("Retry-After", "3"),)), Reply(status)]
    with peer([*busy, Reply(200, answer([uid_of(path) for path in paths]))]) as server:
        done = Stored(server.url, paths)
    assert done.stored == paths
    assert sum(done.waits[:12]) == 3.0
    assert sum(done.waits[12:]) == 2.0


def test_busy_for_ever(tmp_path: Path) -> None:
    paths = files(tmp_path, 3)
    with peer([Reply(503, b"", (("Retry-After", "86400"),))]) as server:
        done = Stored(server.url, paths, Limits(files=1, attempts=3, longest_wait=5.0))
    assert isinstance(done.error, HttpStatusError)
    assert done.reports == []
    assert len(server.requests) == 3
    assert sum(done.waits) == 10.0


@pytest.mark.parametrize("status", [401, 403, 404, 405, 302, 501])
def test_a_server_that_does_not_want_us(tmp_path: Path, status: int) -> None:
    with peer([Reply(status, b"", (("Location", "https://elsewhere.invalid/"),))]) as server:
        done = Stored(server.url, files(tmp_path, 3))
    assert isinstance(done.error, HttpStatusError)
    assert done.error.status == status
    assert (done.reports, len(server.requests)) == ([], 1)


def test_a_connection_lost_in_the_middle(tmp_path: Path) -> None:
    paths = files(tmp_path, 2)
    with peer([Reply(hang_up=True), Reply(200, answer([uid_of(path) for path in paths]))]) as server:
        assert Stored(server.url, paths).stored == paths
        assert len(server.requests) == 2


def test_a_connection_lost_again_and_again(tmp_path: Path) -> None:
    def handle(connection: socket.socket) -> None:
        read_head(connection)

    paths = files(tmp_path, 5)
    with raw_peer(handle) as url:
        done = Stored(url, paths, Limits(files=1, attempts=2))
    assert [sent.path for sent in done.reports] == paths[:3]
    assert all("it is not known whether" in sent.comment for sent in done.reports)
    assert all(isinstance(sent.error, ConnectionLostError) for sent in done.reports)
    assert isinstance(done.error, ConnectionLostError)


def test_nobody_there(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    done = Stored(f"http://127.0.0.1:{port}", files(tmp_path, 1), Limits(attempts=2))
    assert isinstance(done.error, ConnectError)
    assert (done.reports, sum(done.waits)) == ([], 1.0)


def test_a_file_that_is_cut_while_it_is_sent(tmp_path: Path) -> None:
    paths = files(tmp_path, 3)
    with peer(everything) as server, HttpClient(server.url, environment={}) as http:
        client = StowClient(http)
        parts = [read_part(path) for path in paths]
        os.truncate(paths[1], 100)
        reports: list[Sent] = []
        assert client._request(parts, reports.append, lambda: False) == []
    assert [(sent.path, sent.stored) for sent in reports] == [(paths[1], False), (paths[0], True), (paths[2], True)]


def test_stopping(tmp_path: Path) -> None:
    paths = files(tmp_path, 4)
    reports: list[Sent] = []
    with peer(everything) as server, HttpClient(server.url, environment={}) as http:
        StowClient(http, Limits(files=1)).store(paths, reports.append, lambda: len(reports) > 1)
    assert [sent.path for sent in reports] == paths[:2]
    with peer([Reply(503)]) as busy, HttpClient(busy.url, environment={}) as http:
        StowClient(http).store(paths, reports.append, lambda: bool(busy.requests))
    assert len(reports) == 2
    assert len(busy.requests) == 1


def test_failures_that_name_no_object(tmp_path: Path) -> None:
    paths = files(tmp_path, 2)
    with peer([Reply(202, answer([uid_of(paths[0])], other=[0xA700]))]) as server:
        done = Stored(server.url, paths)
    assert [(sent.stored, sent.status) for sent in done.reports] == [(True, 0), (False, 0xA700)]


@pytest.mark.parametrize(
    ("given", "target"),
    [("/", "/studies"), ("/dicom-web", "/dicom-web/studies"), ("/dicom-web/studies/", "/dicom-web/studies"),
     ("/a/studies/1.2", "/a/studies/1.2"), ("/a?b=c", "/a/studies?b=c"), ("/studies/x/y", "/studies/x/y/studies")],
)  # fmt: skip
def test_targets(given: str, target: str) -> None:
    assert studies_target(given) == target


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("", None), ("7", 7.0), ("soon", None), ("-1", None), ("9" * 400, 999999999.0),
     ("Thu, 01 Jan 1970 00:01:40 GMT", 90.0),
     ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0)],
)  # fmt: skip
def test_retry_after(text: str, seconds: float | None) -> None:
    assert retry_after(text, 10.0) == seconds
