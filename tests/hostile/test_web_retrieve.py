"""What is retrieved by DICOMweb while somebody means harm: damaged pixels, objects that go, readers that never read."""

from __future__ import annotations

import contextlib
import http.client
import struct
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle
from pathlib import Path

import pytest

from dcmkit.dataset.elements import Element
from dcmkit.dataset.part10 import file_meta
from dcmkit.dataset.raw import encoded_elements
from tests.archive.objects import CT, image, part10
from tests.hostile import codestreams, web
from tests.hostile.web import Site, ask, connect, instance, until

pytestmark = pytest.mark.hostile
HOSTILE = list(codestreams.hostile())
MIB = 1 << 20


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with web.site(tmp_path_factory.mktemp("site")) as running:
        yield running


# --- pixels made to harm ---------------------------------------------------------------------------------------------


def hostile_object(number: int) -> bytes:
    """A file with one of the hostile pixel data."""
    _, syntax, described, pixels = HOSTILE[number]
    uid = f"1.2.3.{number + 10}"
    numbers = {
        0x00280002: described.samples_per_pixel, 0x00280010: described.rows, 0x00280011: described.columns,
        0x00280100: described.bits_allocated, 0x00280101: described.bits_stored, 0x00280102: described.high_bit,
        0x00280103: described.pixel_representation, 0x00280006: 0,
    }  # fmt: skip
    elements = {tag: Element("US", str(value)) for tag, value in numbers.items()} | {
        0x00080016: Element("UI", CT), 0x00080018: Element("UI", uid),
        0x0020000D: Element("UI", web.STUDY), 0x0020000E: Element("UI", web.SERIES),
        0x00280004: Element("CS", described.photometric_interpretation),
        0x00280008: Element("IS", str(described.number_of_frames)),
    }  # fmt: skip
    encoded = encoded_elements(dict(sorted(elements.items())))
    head = b"".join(bytes(encoded.data[one.start : one.end]) for one in encoded)
    return file_meta(CT, uid, syntax) + head + pixels


REQUESTS = (
    ("/rendered", "image/jpeg"),
    ("/rendered?viewport=100,100&window=40,400,linear", "image/png"),
    ("/thumbnail", "image/jpeg"),
    ("/frames/1", "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1"),
    ("/frames/1,2", 'multipart/related; type="image/jls"'),
    ("/frames/1/rendered", "image/gif"),
    ("", "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.80"),
    ("", "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"),
)


def test_pixels_made_to_harm(tmp_path: Path) -> None:
    """Every one of them, in some of the ways it can be asked for: a status, in bounds; others are served meanwhile."""
    with web.process(tmp_path, "--durability", "none") as server:
        parts = [hostile_object(number) for number in range(len(HOSTILE))]
        kept = web.store(server.port, *parts)
        assert kept.status in (200, 202), kept.body
        found = [number for number in range(len(HOSTILE)) if f"1.2.3.{number + 10}".encode() in kept.body]
        assert len(found) > 50
        ask(server.port, "GET", instance("1.2.3.10") + "/rendered")  # what it takes to begin with
        slowest, most, done = 0.0, 0, threading.Event()

        def one(job: tuple[int, tuple[str, str]]) -> tuple[int, bytes]:
            number, (path, accept) = job
            answer = ask(server.port, "GET", instance(f"1.2.3.{number + 10}") + path, headers={"Accept": accept})
            return answer.status, answer.body[:200]

        def others() -> None:
            nonlocal slowest, most
            while not done.is_set():
                began = time.monotonic()
                assert ask(server.port, "GET", "/health").status == 200
                slowest = max(slowest, time.monotonic() - began)
                most = max(most, web.whole_resident(server.pid))
                done.wait(0.02)

        watching = threading.Thread(target=others)
        watching.start()
        try:
            with ThreadPoolExecutor(6) as many:
                jobs = [(number, request) for number in found for request in REQUESTS[number % 3 :: 3]]
                answers = dict(zip(jobs, many.map(one, jobs), strict=True))
        finally:
            done.set()
            watching.join()
        strange = {job: answer for job, answer in answers.items() if answer[0] in (0, 500)}
        assert not strange
        assert slowest < 1.5
        assert most < 400 * MIB
        web.assert_well(server.port)


# --- what changes while it is sent -----------------------------------------------------------------------------------


@contextlib.contextmanager
def begun(port: int, path: str) -> Iterator[http.client.HTTPResponse]:
    """An answer of which the head has been read."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", web.ROOT + path, headers={"Accept": "application/dicom"})
        answer = connection.getresponse()
        assert answer.status == 200
        yield answer
    finally:
        connection.close()


def rest(answer: http.client.HTTPResponse) -> bytes:
    """What still comes; cut off or not."""
    try:
        return answer.read()
    except http.client.IncompleteRead as error:
        return error.partial
    except ConnectionError:
        return b""


@pytest.mark.parametrize("policy", ["trash", "remove"])
def test_deleted_while_it_is_retrieved(tmp_path: Path, policy: str) -> None:
    """Whoever has begun gets all of it, or is cut off; nobody waits, and nobody gets another's bytes."""
    content = part10("1.2.3", pixels=bytes(range(256)) * (64 << 10))
    with web.site(tmp_path, web.SETTINGS.replace(delete_policy=policy)) as here:
        for _ in range(3):
            assert web.store(here.port, content).status == 200
            with contextlib.ExitStack() as stack:
                answers = [stack.enter_context(begun(here.port, instance("1.2.3"))) for _ in range(4)]
                assert ask(here.port, "DELETE", instance("1.2.3")).status in (200, 202, 204)
                for answer in answers:
                    got = rest(answer)
                    assert content.endswith(got[-1000:]) or len(got) < len(content)
            assert ask(here.port, "GET", instance("1.2.3"), headers={"Accept": "application/dicom"}).status in (
                404,
                410,
            )
            assert ask(here.port, "GET", instance("1.2.3") + "/rendered").status in (404, 410)


def test_deleted_and_stored_and_retrieved_at_once(shared: Site) -> None:
    """No request fails for a reason of ours, and what comes is whole."""
    content = part10("1.2.3", pixels=bytes(100_000))
    stop = threading.Event()
    statuses: set[tuple[str, int]] = set()

    def going(method: str, path: str) -> None:
        while not stop.is_set():
            if method == "POST":
                statuses.add((method, web.store(shared.port, content).status))
                continue
            answer = ask(shared.port, method, path, headers={"Accept": "*/*"})
            statuses.add((method, answer.status))
            if answer.status == 200 and path == one and method == "GET":
                assert len(answer.body) > 100_000

    one = instance("1.2.3")
    ways = [("POST", ""), ("DELETE", one), ("GET", one), ("GET", one + "/metadata"), ("GET", f"/studies/{web.STUDY}"),
            ("GET", "/instances")]  # fmt: skip
    with ThreadPoolExecutor(len(ways)) as many:
        running = [many.submit(going, *way) for way in ways]
        try:
            assert not until(lambda: any(job.done() for job in running), 2.0)
        finally:
            stop.set()
        for job in running:
            job.result(30)
    assert {status for _, status in statuses} <= {200, 202, 204, 206, 404, 409, 410}
    web.assert_well(shared.port)


def test_replaced_while_it_is_sent(shared: Site) -> None:
    """Shorter: cut off. Another file in its place: what was begun goes on."""
    content = part10("1.2.30", pixels=b"a" * (16 << 20))
    assert web.store(shared.port, content).status == 200
    file = next(path for path in shared.root.rglob("*") if path.is_file() and "1.2.30" in path.name)
    with begun(shared.port, instance("1.2.30")) as answer:
        other = file.with_name("other")
        other.write_bytes(content[:-100].replace(b"a", b"b"))
        other.replace(file)
        got = rest(answer)
        assert len(got) <= len(content)
        assert not (b"a" in got[2000:-2000] and b"b" in got[2000:-2000])
    with begun(shared.port, instance("1.2.30")) as answer:
        with file.open("r+b") as shorter:
            shorter.truncate(3000)
        assert len(rest(answer)) < len(content)
    for path in ("", "/rendered", "/metadata", "/frames/1", "/thumbnail"):
        answered = ask(shared.port, "GET", instance("1.2.30") + path, headers={"Accept": "*/*"})
        assert answered.status not in (0, 500), path
    web.assert_well(shared.port)


def test_readers_that_do_not_read(tmp_path: Path) -> None:
    """A gigabyte each, to many: it is not kept in memory for them, and others are served. The file has holes."""
    archive = tmp_path / "archive"
    archive.mkdir()
    data = image("1.2.3", pixels=b"")
    with (archive / "large.dcm").open("wb") as large:
        large.write(file_meta(CT, "1.2.3", "1.2.840.10008.1.2.1") + data[:-4] + struct.pack("<I", 1 << 30))
        large.truncate(large.tell() + (1 << 30))
    with web.process(tmp_path, "--durability", "none") as server:
        web.assert_well(server.port)
        before = web.resident(server.pid)
        readers = []
        try:
            for path in (instance("1.2.3"), f"/studies/{web.STUDY}"):
                for _ in range(60):
                    readers.append(connect(server.port))
                    readers[-1].sendall(f"GET {web.ROOT}{path} HTTP/1.1\r\nHost: here\r\n\r\n".encode())
            for reader in readers:
                assert reader.recv(12) == b"HTTP/1.1 200"
            for _ in range(20):
                web.assert_well(server.port)
            assert web.resident(server.pid) - before < 300 * MIB
        finally:
            for reader in readers:
                reader.close()
        assert until(lambda: web.descriptors(server.pid) < 80)


# --- over time -------------------------------------------------------------------------------------------------------


def test_memory_stays_flat_over_two_thousand_requests(tmp_path: Path) -> None:
    """Of all kinds, good and bad."""
    with web.process(tmp_path, "--durability", "none") as server:
        pixels = bytes(128 * 1024)
        body = [part10(f"1.2.3.{n}", pixels=pixels, instance=n) for n in range(20)]
        assert web.store(server.port, *body).status == 200
        study = f"/studies/{web.STUDY}"
        some = cycle(
            [
                ("GET", "/studies?PatientName=D*"), ("GET", "/instances?limit=10"), ("GET", f"{study}/metadata"),
                ("GET", study), ("GET", instance("1.2.3.1")), ("GET", instance("1.2.3.2") + "/rendered"),
                ("GET", instance("1.2.3.3") + "/frames/1"), ("GET", "/nothing"), ("GET", "/studies?" + "x" * 3000),
                ("POST", "/studies"), ("GET", f"{study}?accept=application/zip"), ("PUT", "/studies"),
            ]
        )  # fmt: skip
        lock = threading.Lock()
        numbers = iter(range(10**6))

        def work(count: int) -> None:
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
            for _ in range(count):
                with lock:
                    (method, path), number = next(some), next(numbers)
                content = None
                if method == "POST":
                    content = web.multipart(
                        part10(f"1.2.4.{number}", study=f"1.9.{number}", pixels=pixels), b"no object"
                    )
                connection.request(method, web.ROOT + path, content, {"Content-Type": web.MULTIPART, "Accept": "*/*"})
                answer = connection.getresponse()
                answer.read()
                assert answer.status not in (0, 500), path
            connection.close()

        def all_of_them(count: int) -> None:
            with ThreadPoolExecutor(8) as many:
                for one in [many.submit(work, count) for _ in range(8)]:
                    one.result(100)

        all_of_them(60)
        before = web.whole_resident(server.pid)
        all_of_them(190)
        after = web.whole_resident(server.pid)
        assert after - before < 24 * MIB
        assert after < 200 * MIB


# --- what nobody else should know ------------------------------------------------------------------------------------


def test_no_secret_and_no_patient_in_the_log(tmp_path: Path) -> None:
    """At any level: neither what opens doors nor what is searched for."""

    def dcmkit(*words: str, stdin: str = "") -> str:
        command = [sys.executable, "-m", "dcmkit", "web", *words]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, check=True, cwd=tmp_path).stdout

    dcmkit("passwd", "users", "alice", "--scopes", "all", stdin="Kn0ck-kn0ck\n")
    token = dcmkit("token", "tokens", "add", "robot").split()[-1]
    dcmkit("keygen", "key")
    options = [
        "--auth",
        f"users:{tmp_path}/users",
        "--auth",
        f"tokens:{tmp_path}/tokens",
        "--auth",
        f"links:{tmp_path}/key",
    ]
    with web.process(tmp_path, *options, "--log-level", "trace", "--durability", "none") as server:
        link = dcmkit(
            "link", "--key", "key", "--study", web.STUDY, f"http://127.0.0.1:{server.port}/dicom-web/studies"
        ).strip()
        signature = link.split("linkSignature=")[1].split("&")[0]
        basic = b64encode(b"alice:Kn0ck-kn0ck").decode()
        wrong = b64encode(b"alice:Wr0ng-wr0ng").decode()
        jwt = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJtYWxsb3J5In0."
        searched = "Surname%5EForename", "Surname^Forename", "PAT-ID-77"
        query = f"?PatientName={searched[0]}&PatientID={searched[2]}"
        good = {"Authorization": f"Basic {basic}"}
        assert ask(server.port, "GET", "/studies" + query, headers=good).status == 200
        assert ask(server.port, "GET", "/studies" + query, headers={"Authorization": f"Bearer {token}"}).status == 200
        assert ask(server.port, "GET", f"/studies?{link.split('?')[1]}&PatientID={searched[2]}").status == 200
        for header in (f"Basic {wrong}", f"Bearer {token}x", f"Bearer {jwt}", f"Digest {token}"):
            assert ask(server.port, "GET", "/studies" + query, headers={"Authorization": header}).status == 401
        assert ask(server.port, "GET", "/studies" + query, headers={"Authorization": "Basic \x1b[2J"}).status == 400
        assert ask(server.port, "GET", f"/studies?{link.split('?')[1]}x").status in (401, 403)
        named = part10("1.2.3", name="Surname^Forename", patient="PAT-ID-77")
        said = {"Content-Type": web.MULTIPART, **good}
        assert ask(server.port, "POST", "/studies", web.multipart(named, named[:-9], b"no"), said).status == 202
        for path in ("", "/metadata", "/rendered", "/frames/9", "/wrong"):
            ask(server.port, "GET", instance("1.2.3") + path, headers={"Accept": "*/*", **good})
        ask(server.port, "GET", f"/studies{query}&Wrong={searched[2]}&limit=x", headers=good)
        authorization = f"Authorization: Basic {basic}\r\n\r\n"
        web.say(server.port, f"GET /dicom-web/studies{query} HTTP/9.9\r\n{authorization}".encode())
        web.say(
            server.port, f"GET /dicom-web/studies{query}#\0 HTTP/1.1\r\nAuthorization: Basic {basic}\r\n\r\n".encode()
        )
        assert ask(server.port, "DELETE", instance("1.2.3"), headers=good).status in (200, 202, 204)
        log = server.log_text()
        assert "/dicom-web/studies" in log
        for secret in (
            "Kn0ck",
            "Wr0ng",
            basic,
            wrong,
            token,
            jwt,
            signature,
            "Authorization: ",
            "linkSig",
            *searched,
            "\x1b",
        ):
            assert secret not in log, secret
