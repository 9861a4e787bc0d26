"""Every real file from every sender to every receiver wherever one side is dcmkit: it arrives, byte for byte.

A tap between the two keeps what was sent, so that dcmkit is judged by what it was given: as a receiver by the bytes
that came to it, whatever the peer made of the file before; as a sender by the bytes of the file.
"""

from __future__ import annotations

import contextlib
import json
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
        ("pynetdicom", pynetdicom_storescu, 1.0),
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


RECEIVERS: dict[str, tuple[str, Callable[[Path], contextlib.AbstractContextManager[Receiver]]]] = {
    "storescp": ("DCMTK", dcmtk_storescp),
    "storescp+B+xa": ("DCMTK", lambda directory: dcmtk_storescp(directory, "+B", "+xa")),
    "pynetdicom": ("pynetdicom", pynetdicom_storescp),
    "orthanc": ("Orthanc", lambda directory: orthanc_receiver(directory)),
    "dcmkit": ("dcmkit", dcmkit_storescp),
}


@contextlib.contextmanager
def orthanc_receiver(directory: Path) -> Iterator[Receiver]:
    with orthanc(directory) as running:
        yield as_receiver(running)


@pytest.mark.parametrize("name", RECEIVERS)
@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, about what the samples hold on purpose
def test_dcmkit_sends_every_file(name: str, samples: Samples, tmp_path: Path, need: Need) -> None:
    peer, start = RECEIVERS[name]
    need("dcmkit", peer)
    report = tmp_path / "report.jsonl"
    with start(tmp_path / "peer") as receiver:
        done = passage(receiver, lambda port: dcmkit_storescu(port, samples.values(), "--report", str(report)))
    lines = [json.loads(line) for line in report.read_text().splitlines()]
    assert len(lines) == len(samples)
    wrong = {uid: found for uid, path in samples.items() if (found := arrived(uid, path, done))}
    assert wrong == {}, done.sent.talk[-3000:]


def arrived(uid: str, path: Path, done: Passage) -> str:
    """What is wrong with one file after a passage; "" when it went out and lies at the peer as it should."""
    part10 = read_part10(path)
    if uid not in done.messages:
        return f"{path.name} was not sent"
    if uid not in done.stored:
        return f"{path.name} did not arrive"
    kept = read_part10(done.stored[uid])
    same_syntax = kept.transfer_syntax_uid == part10.transfer_syntax_uid
    if same_syntax and done.messages[uid].data_set != part10.data_set:
        return f"{path.name} was sent with other bytes"
    return difference(path, done.stored[uid])


def test_matrix_needs_a_peer() -> None:
    """Somewhere the matrix must not be empty: where nothing but dcmkit is, this says so."""
    if not any(available(name) for name in ("DCMTK", "Orthanc")):
        pytest.skip("absent peers: DCMTK, Orthanc; dcmkit was tried against itself and pynetdicom only")
