"""What strangers store by DICOMweb, over real sockets: taken whole, or refused for a reason, and others are served."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

import pytest

from dcmkit.dataset.part10 import read_file_header
from tests.archive.objects import CT, image, part10
from tests.hostile import web
from tests.hostile.web import BOUNDARY, MULTIPART, Answer, Site, ask, multipart, until

pytestmark = pytest.mark.hostile
JSON = "application/dicom+json"
REASON, FAILED, OTHERS = "00081197", "00081198", "0008119A"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with web.site(tmp_path_factory.mktemp("around") / "archive") as running:
        web.seed(running.port, "1.2.3")
        yield running


@pytest.fixture
def here(shared: Site) -> Iterator[Site]:
    """Well after each test, with nothing on its way in, and nothing outside of the archive."""
    yield shared
    web.assert_well(shared.port)
    assert until(lambda: not shared.incoming())
    assert [path.name for path in shared.root.parent.iterdir()] == ["archive"]


def post(port: int, body: bytes | Iterator[bytes], content_type: str = MULTIPART, **headers: str) -> Answer:
    said = {"Content-Type": content_type, "Accept": JSON, **{name.replace("_", "-"): v for name, v in headers.items()}}
    return ask(port, "POST", "/studies", body, said)


def reasons(answer: Answer) -> list[int]:
    """Why objects were not stored."""
    said = json.loads(answer.body)
    return [item[REASON]["Value"][0] for name in (FAILED, OTHERS) for item in said.get(name, {}).get("Value", [])]


def stored(port: int, uid: str, study: str = web.STUDY) -> bool:
    """Whether it is found and comes whole."""
    found = ask(
        port, "GET", f"/studies/{study}/series/{web.SERIES}/instances/{uid}", headers={"Accept": "application/dicom"}
    )
    return found.status == 200 and f"{uid}".encode() in found.body


def held(root: Path) -> int:
    return sum(path.is_file() for path in root.rglob("*") if ".dcmkit" not in path.parts)


# --- multipart -------------------------------------------------------------------------------------------------------


def test_bodies_that_are_cut(here: Site) -> None:
    """Wherever, with the connection or without: what was whole is stored, and nothing of the rest."""
    before = held(here.root)
    whole = multipart(part10("1.2.3"), part10("1.2.5", study="1.9"))
    second = whole.rindex(b"--" + BOUNDARY.encode() + b"\r\n")
    for cut in (0, 1, 30, 100, second - 40, second, second + 10, second + 200, len(whole) - 10):
        assert post(here.port, whole[:cut]).status in ((200, 202) if cut > second + 20 else (400,)), cut
        head = (
            f"POST /dicom-web/studies HTTP/1.1\r\nHost: a\r\nContent-Type: {MULTIPART}\r\nContent-Length: 9999\r\n\r\n"
        )
        web.say(here.port, head.encode() + whole[:cut], half_close=True)
    assert until(lambda: not here.incoming())
    assert held(here.root) == before
    assert not stored(here.port, "1.2.5", "1.9")


@pytest.mark.parametrize(
    "boundary",
    ["x" * 71, "x" * 70000, "", '"', "x y ", "a\tb", "\x01", "ü"],
    ids=["71", "70000", "", "quote", "space", "tab", "control", "umlaut"],
)
def test_boundaries_that_are_none(here: Site, boundary: str) -> None:
    answer = post(here.port, b"--x\r\n\r\n", f'multipart/related; type="application/dicom"; boundary={boundary}')
    assert answer.status in (400, 415, 431)


def test_part_headers_without_end(here: Site) -> None:
    for piece in (b"X: " + b"x" * 65536, b"X: x\r\n" * 10000):
        answer = post(here.port, iter([f"--{BOUNDARY}\r\n".encode(), *[piece] * 160]))
        assert answer.status in (0, 400)


def test_a_hundred_thousand_parts(here: Site) -> None:
    empty = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n\r\n".encode()
    for part in (empty, f"--{BOUNDARY}\r\n\r\n\r\n".encode()):
        answer = post(here.port, iter([part * 1000] * 101))
        assert answer.status in (0, 400, 413)


def test_parts_in_parts(here: Site) -> None:
    inner = multipart(part10("1.2.6"))
    for _ in range(200):
        inner = f"--{BOUNDARY}\r\nContent-Type: {MULTIPART}\r\n\r\n".encode() + inner
    assert post(here.port, inner).status in (200, 202, 400, 409)


def test_a_part_of_gigabytes_takes_no_memory(tmp_path: Path) -> None:
    """Here it is a quarter of one; the last bytes do not come, and nothing is left of it."""
    with web.process(tmp_path, "--durability", "none") as server:
        web.seed(server.port, "1.2.3")
        before = web.resident(server.pid)
        most = 0

        def pieces() -> Iterator[bytes]:
            nonlocal most
            data = image("1.2.7", pixels=b"")
            yield multipart(part10("1.2.7")[: -len(data)] + data[:-8] + struct.pack("<I", 3 << 30), end=False)[:-2]
            for number in range(256):
                yield bytes(1 << 20)
                if number % 16 == 0:
                    most = max(most, web.resident(server.pid))

        answer = post(server.port, pieces())
        assert answer.status in (400, 409)
        assert most - before < 48 << 20
        assert not stored(server.port, "1.2.7")
        assert not list((tmp_path / "archive" / ".dcmkit" / "incoming").rglob("*.part"))


# --- compressed, and structured --------------------------------------------------------------------------------------


def test_bombs(here: Site) -> None:
    """Nothing is inflated that was not asked for: a coding, or an archive, is refused before it is read."""
    bomb = gzip.compress(bytes(50 << 20))
    for coding in ("gzip", "deflate", "br", "zstd", "gzip, gzip", "identity, gzip"):
        assert post(here.port, bomb, Content_Encoding=coding).status == 415
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../outside.dcm", bytes(50 << 20))
    for kind in ("application/zip", 'multipart/related; type="application/zip"; boundary=x', "application/gzip"):
        assert post(here.port, packed.getvalue(), kind).status == 415
    for part in (bomb, packed.getvalue()):
        answer = post(here.port, multipart(part))
        assert (answer.status, reasons(answer)) == (400, [0xC000])


def metadata(document: bytes, kind: str = JSON) -> tuple[bytes, str]:
    """The document as metadata of a request, and the media type of that."""
    return multipart(document, kind=kind), f'multipart/related; type="{kind}"; boundary={BOUNDARY}'


def attributes(uid: str = "1.2.8", **more: object) -> dict[str, object]:
    """Metadata of a small image."""
    uids = {"00080016": CT, "00080018": uid, "0020000D": web.STUDY, "0020000E": web.SERIES}
    return {**{tag: {"vr": "UI", "Value": [value]} for tag, value in uids.items()}, **more}


@pytest.mark.parametrize(
    "document",
    [
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'[{"00081199":{"vr":"SQ","Value":[' * 50_000,
        b'[{"00081199":{"vr":"SQ","Value":[' * 50_000 + b"]}}]" * 50_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b"[" + b"9" * 1_000_000 + b"]",
        b"[1e999999999]",
        b'[{"00280010":{"vr":"US","Value":[' + b"9" * 100_000 + b"]}}]",
        b"\xff\xfe[\0]\0",
        b'["\xff\xff"]',
        b'["\\ud800"]',
        b"NaN",
        b"null",
        b"[[[{}]]]",
        b"",
    ],
    ids=range(15),
)
def test_json_that_is_none(here: Site, document: bytes) -> None:
    assert post(here.port, *metadata(document)).status in (400, 409)


@pytest.mark.parametrize("what", ["file:///etc/passwd", "/etc/passwd", "../../../etc/passwd", "http://{}/", "//{}/x", "ftp://{}/",
                                  "gopher://{}/", "cid:none", "data:,hello", "\0", "x" * 100_000, ""])  # fmt: skip
def test_bulk_data_that_is_elsewhere(here: Site, what: str) -> None:
    """Neither a file of the server's nor another host is ever asked."""
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        elsewhere.settimeout(0)
        uri = what.replace("{}", f"127.0.0.1:{elsewhere.getsockname()[1]}")
        for where in (
            attributes(**{"7FE00010": {"vr": "OW", "BulkDataURI": uri}}),
            attributes(**{"00420011": {"vr": "OB", "BulkDataURI": uri}}),
            attributes(**{"00100010": {"vr": "PN", "BulkDataURI": uri}}),
            attributes(**{"00081199": {"vr": "SQ", "Value": [{"00420011": {"vr": "OB", "BulkDataURI": uri}}]}}),
        ):
            answer = post(here.port, *metadata(json.dumps([where]).encode()))
            assert answer.status in (400, 409)
            assert b"root:" not in answer.body
        with pytest.raises(BlockingIOError):
            elsewhere.accept()
    assert not stored(here.port, "1.2.8")


LAUGHS = "".join(f'<!ENTITY a{n + 1} "{f"&a{n};" * 10}">' for n in range(9))


@pytest.mark.parametrize(
    "document",
    [
        f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a0 "ha">{LAUGHS}]><NativeDicomModel>&a9;</NativeDicomModel>',
        '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><NativeDicomModel>&e;</NativeDicomModel>',
        '<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd"><NativeDicomModel/>',
        '<!DOCTYPE x [<!ENTITY % p SYSTEM "file:///etc/passwd">%p;]><NativeDicomModel/>',
        "<a>" * 100_000,
        "<NativeDicomModel" + "".join(f' a{n}="x"' for n in range(50_000)) + "/>",
        '<?xml version="1.0" encoding="utf-7"?><NativeDicomModel/>',
        "<NativeDicomModel>",
        "",
    ],
    ids=["laughs", "file", "dtd", "parameter", "deep", "attributes", "utf-7", "open", "nothing"],
)
def test_xml_that_is_none(here: Site, document: str) -> None:
    answer = post(here.port, *metadata(document.encode(), "application/dicom+xml"))
    assert answer.status in (400, 409)
    assert b"root:" not in answer.body


@pytest.mark.parametrize(
    "uid", ["..", "../../../tmp/x", "/etc/x", "a\\b", "1.2\0.3", "1" * 300, "", "1.2;rm", "C:\\x", "1..2", "\x1b[2J"]
)
def test_uids_that_are_paths(here: Site, uid: str) -> None:
    before = held(here.root)
    for how in ({"uid": uid}, {"study": uid}, {"series": uid}):
        if not uid and "uid" not in how:
            continue  # old objects have none; nothing is named by it
        answer = post(here.port, multipart(part10(**{"uid": "1.2.9", **how})))
        assert (answer.status, reasons(answer)) in ((400, [0xC000]), (409, [0xA900]), (409, [0xC000])), how
    for tag in ("00080018", *(("0020000D", "0020000E") if uid else ())):
        document = json.dumps([attributes("1.2.9", **{tag: {"vr": "UI", "Value": [uid]}})]).encode()
        assert post(here.port, *metadata(document)).status in (400, 409)
    assert held(here.root) == before
    assert not uid or ask(here.port, "GET", "/studies/" + "".join(f"%{byte:02x}" for byte in uid.encode())).status in (
        400,
        404,
        405,
    )


# --- disks and ends --------------------------------------------------------------------------------------------------


def test_a_disk_that_is_full(tmp_path: Path) -> None:
    """A file system of its own that is really full: A700 for each, nothing half; and well again when there is room."""
    probe = ["unshare", "-m", "sh", "-c", f"mount -t tmpfs -o size=1m none {tmp_path}"]
    if not shutil.which("unshare") or subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("mounting needs rights this process does not have")
    archive = tmp_path / "archive"
    archive.mkdir()
    inner = (f"mount -t tmpfs -o size=24m none {archive}", 'exec "$@"')
    with web.process(
        tmp_path, "--delete-policy", "remove", shell=f"exec unshare -m sh -c '{'; '.join(inner)}' sh \"$@\""
    ) as server:
        big = 3 << 20
        answers = [post(server.port, multipart(part10(f"1.2.{n}", pixels=bytes(big)))) for n in range(12)]
        assert {answer.status for answer in answers} == {200, 409}
        assert {reason for answer in answers if answer.status == 409 for reason in reasons(answer)} == {0xA700}
        together = post(server.port, multipart(*(part10(f"1.3.{n}", pixels=bytes(big)) for n in range(12))))
        assert set(reasons(together)) == {0xA700}
        assert together.status in (202, 409)
        for n, answer in enumerate(answers):
            assert stored(server.port, f"1.2.{n}") == (answer.status == 200)
        root = Path(f"/proc/{_web_pid(server.pid)}/root") / str(archive).lstrip("/")
        assert not [
            path for path in (root / ".dcmkit" / "incoming").rglob("*") if path.is_file() and path.name != "owner"
        ]
        assert ask(server.port, "DELETE", f"/studies/{web.STUDY}").status in (200, 204)
        assert post(server.port, multipart(part10("1.4", pixels=bytes(big)))).status == 200
        web.assert_well(server.port)


def _web_pid(pid: int) -> int:
    """The server itself, whatever began it."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return _web_pid(int(children[0])) if children else pid


def test_files_that_may_not_be_so_large(tmp_path: Path) -> None:
    """A limit of the process: the one that is too large is refused, those before and after it are stored."""
    with web.process(tmp_path, "--durability", "none", shell="ulimit -f 8192") as server:
        large = part10("1.2.5", pixels=bytes(6 << 20))
        answer = post(server.port, multipart(part10("1.2.4"), large, part10("1.2.6")))
        assert (answer.status, reasons(answer)) == (202, [0xA700])
        assert [stored(server.port, f"1.2.{n}") for n in (4, 5, 6)] == [True, False, True]
        web.assert_well(server.port)


@pytest.mark.parametrize("options", [("--durability", "none"), ()], ids=["none", "full"])
def test_kill_in_the_middle_of_storing(tmp_path: Path, options: tuple[str, ...]) -> None:
    """Whatever was answered with success is there and found after the next start; nothing is there in half."""
    acknowledged: set[str] = set()
    tried: set[str] = set()
    for round_ in range(4):
        with web.process(tmp_path, *options) as server:
            for uid in sorted(acknowledged)[-20:]:
                assert stored(server.port, uid)
            stop = threading.Event()

            def sender(
                number: int, round_: int = round_, port: int = server.port, stop: threading.Event = stop
            ) -> None:
                count = 0
                while not stop.is_set():
                    uids = [f"1.2.{round_ + 1}.{number + 1}.{count + n}" for n in range(3)]
                    count += 3
                    tried.update(uids)
                    parts = (part10(uid, pixels=bytes(50_000)) for uid in uids)
                    try:
                        answer = post(port, multipart(*parts))
                    except OSError:
                        return
                    if answer.status == 200:
                        acknowledged.update(uids)
                    elif not answer.status:
                        return

            threads = [threading.Thread(target=sender, args=(number,)) for number in range(4)]
            for thread in threads:
                thread.start()
            already = len(acknowledged)
            assert until(lambda already=already: len(acknowledged) > already + 15)
            os.killpg(server.pid, signal.SIGKILL)
            stop.set()
            for thread in threads:
                thread.join(30)
    with web.process(tmp_path, *options) as server:
        answer = ask(server.port, "GET", "/instances?limit=10000&includefield=00080018", headers={"Accept": JSON})
        found = {one["00080018"]["Value"][0] for one in json.loads(answer.body)}
        assert acknowledged <= found <= tried
        for uid in found:
            assert stored(server.port, uid)
    files = [path for path in (tmp_path / "archive").rglob("*") if path.is_file() and ".dcmkit" not in path.parts]
    assert {read_file_header(path).sop_instance_uid for path in files} == found
    assert {path.stat().st_size for path in files} <= {len(part10(uid, pixels=bytes(50_000))) for uid in found}


# --- at once ---------------------------------------------------------------------------------------------------------


def test_one_instance_from_eight_at_once(here: Site) -> None:
    """The same: stored once, and all are told so. Eight different ones: one of them, and the others are told."""
    same = multipart(part10("1.2.10", pixels=bytes(200_000)))
    with ThreadPoolExecutor(8) as many:
        answers = list(many.map(lambda _: post(here.port, same), range(8)))
        assert {answer.status for answer in answers} == {200}
        different = [multipart(part10("1.2.11", pixels=bytes([n]) * 200_000)) for n in range(8)]
        answers = list(many.map(lambda body: post(here.port, body), different))
    assert {answer.status for answer in answers} <= {200, 202, 409}
    assert any(answer.status in (200, 202) for answer in answers)
    for uid in ("1.2.10", "1.2.11"):
        assert stored(here.port, uid)
        found = json.loads(ask(here.port, "GET", f"/instances?SOPInstanceUID={uid}", headers={"Accept": JSON}).body)
        assert len(found) == 1


def test_more_uploads_than_there_is_room_for(tmp_path: Path) -> None:
    """Those that only hold their place do not keep others from searching; who stores is told to come again."""
    settings = web.SETTINGS.replace(max_uploads=2, stall_timeout=1.0)
    with web.site(tmp_path, settings) as here:
        web.seed(here.port, "1.2.3")
        slow = [HTTPConnection("127.0.0.1", here.port) for _ in range(4)]
        for one in slow:
            one.putrequest("POST", "/dicom-web/studies")
            one.putheader("Content-Type", MULTIPART)
            one.putheader("Content-Length", "1000000")
            one.endheaders(multipart(part10("1.2.4"), end=False)[:100])
        assert until(lambda: post(here.port, multipart(part10("1.2.5"))).status == 503)
        web.assert_well(here.port)
        assert ask(here.port, "GET", "/studies").status == 200
        assert until(lambda: post(here.port, multipart(part10("1.2.5"))).status == 200)
        for one in slow:
            one.close()


def test_an_upload_that_drips_is_ended(tmp_path: Path) -> None:
    """A byte now and then is not enough to keep a place."""
    settings = web.SETTINGS.replace(max_uploads=1, stall_timeout=1.0)
    with web.site(tmp_path, settings) as here, web.connect(here.port) as sock:
        sock.settimeout(0.05)
        head = f"POST /dicom-web/studies HTTP/1.1\r\nHost: a\r\nContent-Type: {MULTIPART}\r\n"
        sock.sendall(head.encode() + b"Content-Length: 1000000\r\n\r\n")

        def ended() -> bool:
            try:
                sock.sendall(b"-")
                return sock.recv(100).startswith(b"HTTP/1.1 408")
            except TimeoutError:
                return False

        assert until(ended)
        assert post(here.port, multipart(part10("1.2.5"))).status == 200
