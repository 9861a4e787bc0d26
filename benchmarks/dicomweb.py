"""DICOMweb: `dcmkit web` beside Orthanc with its DICOMweb plugin, in its default and its tuned configuration."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import statistics
import struct
import sys
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.http_load import Connection, Request, get, latencies, load
from benchmarks.make_data import ROOT
from benchmarks.measure import Bar, BenchError, Row, descendants, wait_for_quiet
from benchmarks.transfer import Setting
from tests.interop.orthanc import orthanc
from tests.interop.peers import dcmkit_command, program_path
from tests.interop.process import Server, serving

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
SMALL, STUDIES, SERIES_OF_STUDY = 20_000, 200, 2
BOUNDARY = "benchmark-boundary-7b1"
TUNED = {
    "SyncStorageArea": False, "StoreMD5ForAttachments": False, "HttpCompressionEnabled": False,
    "StorageAccessOnFind": "Never", "MaximumStorageCacheSize": 1024, "StableAge": 3600, "HttpThreadsCount": 100,
    "SaveJobs": False, "MetricsEnabled": False,
    "DicomWeb": {"Enable": True, "StudiesMetadata": "MainDicomTags", "SeriesMetadata": "MainDicomTags"},
}  # fmt: skip
"""As fast as its manual makes it: nothing is synced, compressed, hashed or opened for a search."""
FULL, NONE, DEFAULT, TUNED_ONE = "dcmkit full", "dcmkit none", "Orthanc default", "Orthanc tuned"
MULTIPART = 'multipart/related; type="application/octet-stream"; transfer-syntax=*'


class Web(NamedTuple):
    """A running server."""

    name: str
    port: int
    server: Server

    @property
    def memory(self) -> float:
        """MB: the most its processes have had resident, each at its own time."""
        total = 0
        for pid in descendants(self.server.process.pid):
            with contextlib.suppress(OSError):
                lines = Path(f"/proc/{pid}/status").read_text().splitlines()
                total += next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)
        return total / 1024


def alive(port: int) -> bool:
    """Whether a DICOMweb server answers searches."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/dicom-web/studies?limit=1", timeout=5) as answer:
            return bool(answer.status in (200, 204))
    except OSError:
        return False


@contextlib.contextmanager
def running(setting: Setting, name: str) -> Iterator[Web]:
    """One of the contenders over an empty archive."""
    place = setting.fresh_directory()
    place.mkdir(parents=True)
    try:
        if name in (FULL, NONE):
            durability = name.split()[1]

            def command(port: int) -> Sequence[Any]:
                return dcmkit_command("web", str(port), "-od", str(place / "archive"), "--durability", durability)

            with serving("dcmkit-web", command, place, ready=alive) as server:
                yield Web(name, server.port, server)
        else:
            options = TUNED if name == TUNED_ONE else {"StableAge": 60}
            with orthanc(place, plugins=[str(PLUGIN)], **options) as peer:  # type: ignore[arg-type]
                yield Web(name, peer.http_port, peer.server)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def contenders() -> list[str]:
    """Those that can be run here."""
    return [FULL, NONE, *((DEFAULT, TUNED_ONE) if program_path("Orthanc") and PLUGIN.exists() else ())]


# --- data ----------------------------------------------------------------------------------------------------------


def ct_series(setting: Setting) -> list[bytes]:
    """The 500 CT as one series."""
    files = sorted(setting.sources("ct")[0].rglob("*.dcm"))
    found = []
    for path in files:
        content = path.read_bytes()
        of_series = content.index(b"\x20\x00\x0e\x00UI", 132) + 8
        uid = f"{ROOT}.1.1".encode()
        found.append(content[:of_series] + uid + content[of_series + len(uid) :])
    return found


def uid_of(content: bytes, tag: bytes) -> str:
    """A UID of an object in explicit VR little endian."""
    at = content.index(tag + b"UI", 132)
    (length,) = struct.unpack_from("<H", content, at + 6)
    return content[at + 8 : at + 8 + length].rstrip(b"\0").decode()


def small_objects(setting: Setting) -> list[bytes]:
    """20,000 objects of 32 by 32 pixels in 200 studies; made once."""
    pack = setting.data / "small-web.pack"
    if not pack.exists():
        pack.parent.mkdir(parents=True, exist_ok=True)
        with pack.with_suffix(".part").open("wb") as sink:
            for number in range(SMALL):
                content = small_object(number)
                sink.write(struct.pack("<I", len(content)) + content)
        pack.with_suffix(".part").rename(pack)
    raw, found, at = pack.read_bytes(), [], 0
    while at < len(raw):
        (length,) = struct.unpack_from("<I", raw, at)
        found.append(raw[at + 4 : at + 4 + length])
        at += 4 + length
    return found


def small_object(number: int) -> bytes:
    """A Part 10 file with the attributes that searches are made by."""
    study, rest = divmod(number, SMALL // STUDIES)
    series = rest // (SMALL // STUDIES // SERIES_OF_STUDY)
    study_uid = f"{ROOT}.77.{study + 1}"
    modality = ("CT", "MR")[study % 2]
    sop_class = "1.2.840.10008.5.1.4.1.1.2" if modality == "CT" else "1.2.840.10008.5.1.4.1.1.4"
    family = f"Fam{study % 50:02}"
    elements: list[tuple[int, str, bytes]] = [
        (0x00080005, "CS", b"ISO_IR 100"),
        (0x00080008, "CS", b"ORIGINAL\\PRIMARY\\AXIAL"),
        (0x00080016, "UI", sop_class.encode()),
        (0x00080018, "UI", f"{study_uid}.{series + 1}.{rest + 1}".encode()),
        (0x00080020, "DA", f"2024{study % 12 + 1:02}{study % 28 + 1:02}".encode()),
        (0x00080030, "TM", b"101530.000000"),
        (0x00080050, "SH", f"A{study:06}".encode()),
        (0x00080060, "CS", modality.encode()),
        (0x00080070, "LO", b"Synthetic Scanners"),
        (0x00080090, "PN", b"Referrer^Rita"),
        (0x00081030, "LO", f"Study {study}".encode()),
        (0x0008103E, "LO", f"Series {series}".encode()),
        (0x00100010, "PN", f"{family}^Given{study}".encode()),
        (0x00100020, "LO", f"PID{study:05}".encode()),
        (0x00100030, "DA", b"19700101"),
        (0x00100040, "CS", b"F"),
        (0x0020000D, "UI", study_uid.encode()),
        (0x0020000E, "UI", f"{study_uid}.{series + 1}".encode()),
        (0x00200010, "SH", str(study).encode()),
        (0x00200011, "IS", str(series + 1).encode()),
        (0x00200013, "IS", str(rest + 1).encode()),
        (0x00280002, "US", struct.pack("<H", 1)),
        (0x00280004, "CS", b"MONOCHROME2"),
        (0x00280010, "US", struct.pack("<H", 32)),
        (0x00280011, "US", struct.pack("<H", 32)),
        (0x00280100, "US", struct.pack("<H", 16)),
        (0x00280101, "US", struct.pack("<H", 12)),
        (0x00280102, "US", struct.pack("<H", 11)),
        (0x00280103, "US", struct.pack("<H", 0)),
    ]
    pixels = random.Random(number).randbytes(2048)
    body = b"".join(_element(*one) for one in elements) + struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OW", 0, 2048) + pixels
    meta = b"".join(_element(tag, "UI", value.encode()) for tag, value in (
        (0x00020002, sop_class), (0x00020003, f"{study_uid}.{series + 1}.{rest + 1}"),
        (0x00020010, "1.2.840.10008.1.2.1"), (0x00020012, ROOT),
    ))  # fmt: skip
    version = struct.pack("<HH2sHI", 2, 1, b"OB", 0, 2) + b"\0\1"
    group = struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(version) + len(meta))
    return bytes(128) + b"DICM" + group + version + meta + body


def _element(tag: int, vr: str, value: bytes) -> bytes:
    value += (b"\0" if vr == "UI" else b" ") * (len(value) % 2)
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr.encode(), len(value)) + value


# --- requests ------------------------------------------------------------------------------------------------------


def stow(contents: Sequence[bytes]) -> Request:
    """A STOW-RS request."""
    pieces: list[bytes] = []
    for content in contents:
        pieces += [f"\r\n--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode(), content]
    pieces.append(f"\r\n--{BOUNDARY}--\r\n".encode())
    length = sum(map(len, pieces))
    head = (
        "POST /dicom-web/studies HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/dicom+json\r\n"
        f'Content-Type: multipart/related; type="application/dicom"; boundary={BOUNDARY}\r\n'
        f"Content-Length: {length}\r\n\r\n"
    )
    return [head.encode(), *pieces]


def batches(contents: Sequence[bytes], size: int, connections: int) -> list[list[Request]]:
    """Requests of so many objects each, dealt out to connections."""
    requests = [stow(contents[at : at + size]) for at in range(0, len(contents), size)]
    return [requests[number::connections] for number in range(connections)]


def store(web: Web, contents: Sequence[bytes], size: int, connections: int) -> float:
    """Files a second. Raises: BenchError when not all are there afterwards."""
    work = batches(contents, size, connections)
    wait_for_quiet()
    try:
        seconds, _ = load(web.port, work, lambda status: status == 200)
    except BenchError as error:
        raise BenchError(f"{web.name}: {error}") from None
    return len(contents) / seconds


def count_instances(web: Web, study: str) -> int:
    """How many instances of a study a server has."""
    path = f"/dicom-web/studies?StudyInstanceUID={study}&includefield=00201208"
    connection = Connection(web.port)
    try:
        _, _, body = connection.request(get(path, Accept="application/dicom+json"), keep=True)
    finally:
        connection.close()
    found = json.loads(body)
    return int(found[0]["00201208"]["Value"][0]) if found else 0


# --- benches -------------------------------------------------------------------------------------------------------


def dicomweb(setting: Setting) -> Iterator[Row]:
    """STOW-RS, QIDO-RS and WADO-RS, beside Orthanc."""
    names = contenders()
    series = ct_series(setting)
    yield from storing(setting, names, series)
    small = small_objects(setting)
    with contextlib.ExitStack() as stack:
        webs = {name: stack.enter_context(running(setting, name)) for name in names if name != FULL}
        rates: dict[str, list[float]] = {}
        for name, web in webs.items():
            rates[name] = [store(web, small, 50, 2)]
            store(web, series, 10, 2)
            for _ in range(2):  # what is still being worked on in the background is no part of the questions
                wait_for_quiet()
        yield compared("STOW 20,000 small, 50 × 2", rates, NONE, TUNED_ONE, Bar(1.5, 3, True), "files/s")
        yield from asking(setting, webs, series)
        peers = ", ".join(f"{name} {web.memory:.0f} MB" for name, web in webs.items() if name != NONE)
        yield Row("memory under all of this", webs[NONE].memory, "MB", Bar(200, 150), theirs=peers)


def storing(setting: Setting, names: Sequence[str], series: Sequence[bytes]) -> Iterator[Row]:
    """500 CT into empty archives."""
    study = uid_of(series[0], b"\x20\x00\x0d\x00")
    for size, connections in ((1, 1), (10, 4)):
        rates: dict[str, list[float]] = {name: [] for name in names}
        for turn in range(setting.rounds):
            order = names[turn % len(names) :] + names[: turn % len(names)]  # type: ignore[operator]
            for name in order:
                with running(setting, name) as web:
                    rates[name].append(store(web, series, size, connections))
                    if (found := count_instances(web, study)) != len(series):
                        raise BenchError(f"{name} has {found} of {len(series)} instances")
            print(".", end="", file=sys.stderr, flush=True)
        what = f"STOW 500 CT, {size} × {connections}"
        yield compared(f"{what}, synced", rates, FULL, DEFAULT, Bar(1.5, 2.5, True), "files/s")
        yield compared(f"{what}, not synced", rates, NONE, TUNED_ONE, Bar(1.5, 2.5, True), "files/s")


def asking(setting: Setting, webs: dict[str, Web], series: Sequence[bytes]) -> Iterator[Row]:
    """What is there already: searches and retrieves of 20,500 instances."""
    study, one_series = uid_of(series[0], b"\x20\x00\x0d\x00"), uid_of(series[0], b"\x20\x00\x0e\x00")
    instances = [uid_of(content, b"\x08\x00\x18\x00") for content in series]
    base = f"/dicom-web/studies/{study}/series/{one_series}"
    frames = [get(f"{base}/instances/{uid}/frames/1", Accept=MULTIPART) for uid in instances]
    qido = "/dicom-web/studies?"
    answers = "application/dicom+json"
    ten = Bar(10, 20, True)
    kinds: list[tuple[str, Bar, Callable[[int], Request], int]] = [
        ("QIDO 25 of 201 studies", ten, lambda n: get(f"{qido}limit=25", Accept=answers), 30),
        ("QIDO PatientID", ten, lambda n: get(f"{qido}PatientID=PID{n * 7 % STUDIES:05}", Accept=answers), 30),
        ("QIDO name prefix", ten, lambda n: get(f"{qido}PatientName=Fam{n % 50:02}*", Accept=answers), 30),
        ("QIDO date range", ten, lambda n: get(f"{qido}StudyDate=2024{n % 12 + 1:02}01-2024{n % 12 + 1:02}28",
                                               Accept=answers), 30),
        ("metadata of 500 CT", Bar(10, 50, True), lambda n: get(f"{base}/metadata", Accept=answers), 5),
        ("frame as stored", Bar(1.5, 3, True), lambda n: frames[n % len(frames)], 200),
        ("rendered JPEG", Bar(1.5, 3, True),
         lambda n: get(f"{base}/instances/{instances[n % 500]}/rendered", Accept="image/jpeg"), 200),
        ("thumbnail (Orthanc: rendered, 128 by 128)", Bar(1.5, 3, True), lambda n: thumbnail(base, instances[n % 500]),
         200),
    ]  # fmt: skip
    for what, bar, request, count in kinds:
        times: dict[str, list[float]] = {name: [] for name in webs}
        for turn in range(setting.rounds + 1):
            for name, web in webs.items():
                wait_for_quiet()
                requests = [_of(name, request(turn * count + n)) for n in range(count)]
                found = latencies(web.port, requests)
                if turn or count < 100:
                    times[name] += found
        yield faster(what, times, bar)
    rates: dict[str, list[float]] = {name: [] for name in webs}
    whole = get(base, Accept='multipart/related; type="application/dicom"; transfer-syntax=*')
    size = sum(map(len, series))
    for turn in range(max(3, setting.rounds) + 1):
        for name, web in webs.items():
            wait_for_quiet()
            (milliseconds,) = latencies(web.port, [whole], least=size)
            if turn:
                rates[name].append(size / milliseconds / 1000)
    yield compared("series of 500 CT as stored", rates, NONE, TUNED_ONE, Bar(1.0, 1.3, True), "MB/s")
    mixed_rates: dict[str, list[float]] = {name: [] for name in webs}
    for turn in range(setting.rounds):
        for name, web in webs.items():
            wait_for_quiet()
            work = [mixed(base, instances, frames, client + 10 * turn) for client in range(4)]
            seconds, _ = load(web.port, work, lambda status: status == 200)
            mixed_rates[name].append(sum(map(len, work)) / seconds)
    for peer in (DEFAULT, TUNED_ONE):
        yield compared(f"mixed, 4 clients, {peer}", mixed_rates, NONE, peer, Bar(2, 4, True), "requests/s")


def mixed(base: str, instances: Sequence[str], frames: Sequence[Request], seed: int) -> list[Request]:
    """300 requests: 70 % frames, 20 % searches, 10 % metadata of an instance."""
    chance = random.Random(seed)
    requests = []
    for _ in range(300):
        kind = chance.random()
        if kind < 0.7:
            requests.append(chance.choice(frames))
        elif kind < 0.9:
            patient = chance.randrange(STUDIES)
            requests.append(get(f"/dicom-web/studies?PatientID=PID{patient:05}", Accept="application/dicom+json"))
        else:
            uid = chance.choice(instances)
            requests.append(get(f"{base}/instances/{uid}/metadata", Accept="application/dicom+json"))
    return requests


def thumbnail(base: str, uid: str) -> Request:
    """See `_of`."""
    return get(f"{base}/instances/{uid}/thumbnail", Accept="image/jpeg")


def _of(name: str, request: Request) -> Request:
    """A request as this server knows it: Orthanc's plugin has no thumbnails in this version."""
    if name in (DEFAULT, TUNED_ONE) and b"/thumbnail " in request[0]:
        return [request[0].replace(b"/thumbnail ", b"/rendered?viewport=128,128 ")]
    return request


def faster(what: str, times: dict[str, list[float]], bar: Bar) -> Row:
    """Orthanc's median time, in the faster of its configurations, over ours."""
    medians = {name: statistics.median(found) for name, found in times.items()}
    texts = {name: f"{name} {median:.2f} ms" for name, median in medians.items()}
    peers = [name for name in medians if name.startswith("Orthanc")]
    if not peers:
        return Row(what, None, "x", bar, texts[NONE], "not available")
    best = min(peers, key=lambda name: medians[name])
    return Row(what, medians[best] / medians[NONE], "x", bar, texts[NONE], ", ".join(texts[name] for name in peers))


def compared(what: str, rates: dict[str, list[float]], ours: str, theirs: str, bar: Bar, unit: str) -> Row:
    """Our median rate over theirs."""
    texts = {
        name: f"{statistics.median(found):,.0f} {unit} (best {max(found):,.0f})"
        for name, found in rates.items()
        if found
    }
    if theirs not in texts:
        return Row(what, None, "x", bar, texts[ours], "not available")
    figure = statistics.median(rates[ours]) / statistics.median(rates[theirs])
    return Row(what, figure, "x", bar, texts[ours], texts[theirs])
