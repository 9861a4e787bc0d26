"""Every real file from every sender to every receiver wherever one side is dcmkit: it arrives, byte for byte.

A tap between the two keeps what was sent, so that dcmkit is judged by what it was given: as a receiver by the bytes
that came to it, whatever the peer made of the file before; as a sender by the bytes of the file.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from .orthanc import as_receiver, orthanc
from .part10 import difference, read_part10
from .peers import (
    Receiver,
    Sent,
    available,
    dcmkit_command,
    dcmkit_storescp,
    dcmkit_storescu,
    dcmsend,
    dcmtk_storescp,
    dcmtk_storescu,
    pynetdicom_storescp,
    pynetdicom_storescu,
)
from .process import run
from .wire import Message, Tap

pytestmark = [pytest.mark.interop, pytest.mark.xdist_group("interop-matrix")]

AFFECTED_SOP_INSTANCE_UID = 0x00001000
Need = Callable[..., None]
Samples = dict[str, Path]


class Passage(NamedTuple):
    """What came of one sender and one receiver."""

    sent: Sent
    messages: dict[str, Message]
    stored: dict[str, Path]


def passage(receiver: Receiver, send: Callable[[int], Sent]) -> Passage:
    """Send through a tap; everything by SOP Instance UID."""
    with Tap(receiver.port) as tap:
        sent = send(tap.port)
    messages = {message.uid(AFFECTED_SOP_INSTANCE_UID): message for message in tap.messages()}
    return Passage(sent, messages, receiver.stored())


# --- dcmkit receives ---------------------------------------------------------------------------------------------


@pytest.fixture
def archive(tmp_path: Path, need: Need) -> Iterator[Receiver]:
    need("dcmkit")
    with dcmkit_storescp(tmp_path / "dcmkit", "--durability", "none") as receiver:
        yield receiver


def stored_as_sent(done: Passage, samples: Samples) -> dict[str, str]:
    """What is wrong with the archive after a passage, by SOP Instance UID.

    Every object whose command names the UID in its data set must be there with the bytes that came; one whose
    command names another UID must not (A900 by default).
    """
    wrong = {}
    for uid, message in done.messages.items():
        if uid in samples:
            if uid not in done.stored:
                wrong[uid] = f"{samples[uid].name} is missing"
            elif read_part10(done.stored[uid]).data_set != message.data_set:
                wrong[uid] = f"{samples[uid].name} differs from what was sent"
        elif uid in done.stored:
            wrong[uid] = "stored under a UID that is not in its data set"
    return wrong


def index_agrees(receiver: Receiver) -> str:
    """What `dcmkit index check` complains of; "" when files and index agree."""
    checked = run(dcmkit_command("index", "check", "-od", receiver.server.directory / "objects"))
    return "" if checked.returncode == 0 else f"exit code {checked.returncode}: {checked.stdout}{checked.stderr}"


@pytest.mark.parametrize(
    ("peer", "send", "least"),
    [
        ("DCMTK", dcmsend, 0.93),
        ("DCMTK", dcmtk_storescu, 0.93),
        ("pynetdicom", pynetdicom_storescu, 0.97),
        ("dcmkit", dcmkit_storescu, 1.0),
    ],
    ids=["dcmsend", "storescu", "pynetdicom", "dcmkit"],
)
def test_dcmkit_stores_what_a_peer_sends(
    peer: str, send: Callable[..., Sent], least: float, archive: Receiver, samples: Samples, need: Need
) -> None:
    """`least`: the part of the samples the peer can read and send at all."""
    need(peer)
    done = passage(archive, lambda port: send(port, samples.values()))
    assert stored_as_sent(done, samples) == {}, archive.server.log_text()[-2000:]
    assert len(done.messages) >= least * len(samples), done.sent.talk[-2000:]
    assert index_agrees(archive) == ""


def test_dcmkit_stores_what_orthanc_sends(archive: Receiver, samples: Samples, tmp_path: Path, need: Need) -> None:
    need("Orthanc")
    with orthanc(tmp_path / "orthanc") as peer:
        identifiers = peer.upload(samples.values())
        assert len(identifiers) > 0.9 * len(samples)
        done = passage(archive, lambda port: peer.send(port, identifiers.values()))
    assert stored_as_sent(done, samples) == {}, archive.server.log_text()[-2000:]
    assert len(done.messages) > 0.9 * len(samples), done.sent.talk
    assert index_agrees(archive) == ""


# --- dcmkit sends ------------------------------------------------------------------------------------------------


PALETTES = r"fall|hotiron|hotmetalblue|pet|pet20step|spring|summer|winter"
MISLABELLED = r"SC_rgb_jpeg|rtdose_rle|rtdose_rle_1frame|explicit_VR-UN"
"""Their data sets are not encoded as their transfer syntax says; a receiver that parses them says so."""
NEAR_LOSSLESS = r"JPEGLSNearLossless_\d\d|SC_rgb_jls_lossy_\w+"


class Kind(NamedTuple):
    """A receiver: the peer it belongs to, how it starts, and the samples it has reason to refuse."""

    peer: str
    start: Callable[[Path], contextlib.AbstractContextManager[Receiver]]
    refuses: str = r"(?!)"
    uncompressed_only: bool = False


@contextlib.contextmanager
def orthanc_receiver(directory: Path) -> Iterator[Receiver]:
    with orthanc(directory) as running:
        yield as_receiver(running)


RECEIVERS = {
    "storescp": Kind("DCMTK", dcmtk_storescp, f"{PALETTES}|{MISLABELLED}", uncompressed_only=True),
    "storescp+B+xa": Kind("DCMTK", lambda directory: dcmtk_storescp(directory, "+B", "+xa"), PALETTES),
    "pynetdicom": Kind("pynetdicom", pynetdicom_storescp),
    "orthanc": Kind("Orthanc", orthanc_receiver, f"{PALETTES}|{MISLABELLED}|{NEAR_LOSSLESS}"),
    "dcmkit": Kind("dcmkit", dcmkit_storescp),
}


@pytest.mark.parametrize("name", RECEIVERS)
@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, about what the samples hold on purpose
def test_dcmkit_sends_every_file(name: str, samples: Samples, tmp_path: Path, need: Need) -> None:
    kind = RECEIVERS[name]
    need("dcmkit", kind.peer)
    report = tmp_path / "report.jsonl"
    with kind.start(tmp_path / "peer") as receiver:
        done = passage(receiver, lambda port: dcmkit_storescu(port, samples.values(), "--report", str(report)))
    entries = {entry["file"]: entry for entry in map(json.loads, report.read_text().splitlines())}
    assert len(entries) == len(samples)
    wrong = {}
    for uid, path in samples.items():
        stored = entries[str(path)]["status"] == "0000"
        found = arrived(uid, path, done) if stored or not may_refuse(kind, path) else ""
        if found:
            wrong[path.name] = f"{found}: {entries[str(path)]}"
    assert wrong == {}, done.sent.talk[-2000:]


def arrived(uid: str, path: Path, done: Passage) -> str:
    """What is wrong with one file after a passage; "" when it went out and lies at the peer as it should."""
    if uid not in done.messages:
        return "was not sent"
    if uid not in done.stored:
        return "did not arrive"
    ours, kept = read_part10(path), read_part10(done.stored[uid])
    if kept.transfer_syntax_uid == ours.transfer_syntax_uid:
        even = ours.data_set + b"\0" * (len(ours.data_set) % 2)  # PS3.5 A.5: a deflated stream may be padded
        if done.messages[uid].data_set != even:
            return "was sent with other bytes"
        if kept.data_set == even:
            return ""
    return difference(path, done.stored[uid])


def may_refuse(kind: Kind, path: Path) -> bool:
    """Whether a receiver has a reason not to take a sample, or there is no decoder for what it would take."""
    if re.fullmatch(rf"\d+-({kind.refuses})\.dcm", path.name):
        return True
    return kind.uncompressed_only and is_compressed(path) and not can_decode(path)


def is_compressed(path: Path) -> bool:
    """Whether the pixels are encapsulated."""
    return read_part10(path).transfer_syntax_uid.startswith(("1.2.840.10008.1.2.4.", "1.2.840.10008.1.2.5"))


def can_decode(path: Path) -> bool:
    """Whether pydicom decodes the file with what is installed."""
    from pydicom import dcmread

    try:
        return dcmread(path).pixel_array is not None
    except Exception:  # whatever a plugin raises: it cannot
        return False


def test_matrix_needs_a_peer() -> None:
    """Somewhere the matrix must not be empty: where nothing but dcmkit is, this says so."""
    if not any(available(name) for name in ("DCMTK", "Orthanc")):
        pytest.skip("absent peers: DCMTK, Orthanc; dcmkit was tried against itself and pynetdicom only")
