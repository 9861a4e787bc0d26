"""kill -9 of qrscp during C-MOVE and while a quota is kept, of `index rm`: files and index agree after the restart.

And deleting while objects are retrieved: failed sub-operations, nothing worse. DCMKIT_KILL_ROUNDS says how often (2).
"""

from __future__ import annotations

import os
import random
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from .part10 import read_part10
from .peers import dcmkit_command, dcmtk_storescp, files_by_uid
from .process import free_port, launch, run, wait_until
from .query_objects import CT
from .query_peers import TITLE, can_serve, dcmkit_qrscp
from .wire import Requestor, WireError
from .wire_query import Querier

pytestmark = [pytest.mark.interop, pytest.mark.timeout(900)]

ROUNDS = int(os.environ.get("DCMKIT_KILL_ROUNDS", "2"))
CHANCE = random.Random(os.environ.get("DCMKIT_KILL_SEED", "kill"))
LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
ROOT = "1.2.826.0.1.3680043.9.9999.66"
OBJECTS = 150
"""Of each study."""
DESTINATION = "SINK"
Objects = dict[str, bytes]


@pytest.fixture(autouse=True)
def needed() -> None:
    if not can_serve("dcmkit"):
        pytest.skip("absent peers: dcmkit")


def study(number: int, count: int = OBJECTS) -> Objects:
    """The data sets of one study, by SOP Instance UID."""
    uid = f"{ROOT}.{number}"
    return {f"{uid}.1.{each}": data_set(uid, f"{uid}.1.{each}") for each in range(1, count + 1)}


def data_set(study_uid: str, uid: str) -> bytes:
    """A small object of 8 kB in explicit VR little endian."""
    texts = (
        (0x00080016, b"UI", CT), (0x00080018, b"UI", uid), (0x00080020, b"DA", "20240101"),
        (0x00080060, b"CS", "CT"), (0x00100010, b"PN", "Kill^Nine"), (0x00100020, b"LO", "K9"),
        (0x0020000D, b"UI", study_uid), (0x0020000E, b"UI", f"{study_uid}.1"),
    )  # fmt: skip
    parts = []
    for tag, vr, text in texts:
        value = text.encode() + (b"\0" if vr == b"UI" else b" ") * (len(text) % 2)
        parts.append(struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value)) + value)
    pixels = uid.encode().ljust(64, b".") * 128
    return b"".join(parts) + struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, len(pixels)) + pixels


def store(port: int, objects: Objects, answered: set[str] | None = None) -> None:
    """C-STORE objects over one association; what is answered Success is noted."""
    with Requestor(port, [(CT, [LITTLE_ENDIAN])], called=TITLE) as association:
        for uid, data in objects.items():
            assert association.store(CT, uid, LITTLE_ENDIAN, data) == 0
            if answered is not None:
                answered.add(uid)


def level(study_number: int) -> dict[int, bytes]:
    """Identifier of a study to retrieve."""
    return {0x00080052: b"STUDY", 0x0020000D: f"{ROOT}.{study_number}".encode()}


def agrees(place: Path) -> None:
    """Index and files agree, digests too."""
    checked = run(dcmkit_command("index", "check", "--digests", "-od", place / "objects"))
    assert checked.returncode == 0, checked.stdout + checked.stderr


def stored(place: Path) -> dict[str, Path]:
    """The files of the archive, every one whole: those that differ from what was sent fail the test."""
    found = files_by_uid(place / "objects")
    for uid, path in found.items():
        assert read_part10(path).data_set == data_set(uid.rsplit(".", 2)[0], uid), f"{path} is damaged"
    return found


def told(port: int) -> set[str]:
    """Every instance that queries tell of."""
    found = set()
    with Querier(port, called=TITLE) as querier:
        for answer in querier.find({0x00080052: b"STUDY", 0x0020000D: b""}).answers:
            below = {**answer, 0x00080052: b"IMAGE", 0x0020000E: answer[0x0020000D].strip(b"\0") + b".1"}
            found |= {text(one[0x00080018]) for one in querier.find({**below, 0x00080018: b""}).answers}
    return found


def text(value: object) -> str:
    assert isinstance(value, bytes)
    return value.strip(b" \0").decode()


# --- C-MOVE ------------------------------------------------------------------------------------------------------


def test_killed_during_a_move(tmp_path: Path, need: Callable[..., None]) -> None:
    need("DCMTK")
    sink, objects = free_port(), study(1)
    with dcmkit_qrscp(tmp_path, {DESTINATION: sink}) as server:
        store(server.port, objects)
    for _ in range(ROUNDS):
        with (
            dcmtk_storescp(tmp_path / f"sink{time.monotonic_ns()}", "--ignore", port=sink),
            dcmkit_qrscp(tmp_path, {DESTINATION: sink}) as server,
        ):
            mover = threading.Thread(target=move_until_it_breaks, args=(server.port,))
            mover.start()
            time.sleep(CHANCE.uniform(0.02, 0.3))
            server.server.kill()
            mover.join(20)
        agrees(tmp_path)
        assert set(stored(tmp_path)) == set(objects)
    with (
        dcmtk_storescp(tmp_path / "sink", "--ignore", port=sink),
        dcmkit_qrscp(tmp_path, {DESTINATION: sink}) as server,
        Querier(server.port, called=TITLE) as querier,
    ):
        done = querier.move(level(1), DESTINATION)
    assert (done.status, done.count(0x00001021)) == (0, OBJECTS)


def move_until_it_breaks(port: int) -> None:
    """C-MOVE again and again."""
    try:
        with Querier(port, called=TITLE) as querier:
            while querier.move(level(1), DESTINATION).status == 0:
                pass
    except (OSError, WireError):
        return


# --- index rm ----------------------------------------------------------------------------------------------------


def test_killed_during_removal(tmp_path: Path) -> None:
    kept = study(9, 20)
    with dcmkit_qrscp(tmp_path, {}) as server:
        store(server.port, kept)
    for number in range(ROUNDS):
        doomed = study(number)
        with dcmkit_qrscp(tmp_path, {}) as server:
            store(server.port, doomed)
        remove_and_kill(tmp_path, number, len(kept) + len(doomed))
        agrees(tmp_path)
        left = set(stored(tmp_path))
        assert left >= set(kept)
        with dcmkit_qrscp(tmp_path, {}) as server:
            assert told(server.port) == left


def remove_and_kill(place: Path, number: int, before: int) -> None:
    """Kill `index rm` a moment after it has begun to unlink."""
    objects = place / "objects"
    words = ("index", "rm", "--yes", "-od", objects, f"StudyInstanceUID={ROOT}.{number}")
    removal = launch("rm", lambda _: dcmkit_command(*words), place)
    assert wait_until(lambda: len(files_in(objects)) < before or removal.process.poll() is not None, 20)
    time.sleep(CHANCE.uniform(0, 0.02))
    removal.kill()


def files_in(directory: Path) -> list[str]:
    """The names of the archive's files, without its own."""
    found: list[str] = []
    for _, folders, names in os.walk(directory):
        folders[:] = [folder for folder in folders if not folder.startswith(".")]
        found += names
    return found


# --- quota -------------------------------------------------------------------------------------------------------


def test_killed_while_studies_leave(tmp_path: Path) -> None:
    """Two studies may stay; more come all the time, until the server is killed."""
    number = 0
    for _ in range(ROUNDS):
        answered: set[str] = set()
        with dcmkit_qrscp(tmp_path, {}, studies=2) as server:
            sender = threading.Thread(target=store_studies, args=(server.port, number, answered))
            sender.start()
            time.sleep(CHANCE.uniform(0.3, 1.2))
            server.server.kill()
            sender.join(20)
        agrees(tmp_path)
        number += 100
        newest = max((int(uid.split(".")[-3]) for uid in answered), default=-1)
        lost = {uid for uid in answered if int(uid.split(".")[-3]) == newest} - set(stored(tmp_path))
        assert lost == set(), "of the study that came last nothing may leave"
    with dcmkit_qrscp(tmp_path, {}, studies=2) as server:
        store(server.port, study(9999, 1))
        assert wait_until(lambda: len(studies_in(server.port)) <= 2, 20), server.server.log_text()
        assert told(server.port) == set(stored(tmp_path))
    agrees(tmp_path)


def store_studies(port: int, first: int, answered: set[str]) -> None:
    """Study after study, until the connection breaks."""
    try:
        for number in range(first, first + 100):
            store(port, study(number, 20), answered)
    except (OSError, WireError, AssertionError):
        return


def studies_in(port: int) -> list[object]:
    """The studies the server tells of."""
    with Querier(port, called=TITLE) as querier:
        return list(querier.find({0x00080052: b"STUDY", 0x0020000D: b""}).answers)


# --- deleted while being retrieved -------------------------------------------------------------------------------


def test_deleted_while_being_retrieved(tmp_path: Path) -> None:
    """After five objects the study is removed: what was not sent yet are failed sub-operations."""
    objects = study(1)

    def remove(count: int) -> None:
        if count == 5:
            done = run(dcmkit_command("index", "rm", "--yes", "-od", tmp_path / "objects", f"{ROOT}.1"))
            assert done.returncode == 0, done.stdout + done.stderr

    with dcmkit_qrscp(tmp_path, {}) as server:
        store(server.port, objects)
        with Querier(server.port, storage=[CT], called=TITLE) as querier:
            done = querier.get(level(1), remove)
            assert querier.find(level(1)).answers == []
        completed, failed = done.count(0x00001021), done.count(0x00001022)
        assert (done.status, completed + failed) == (0xB000, OBJECTS), server.server.log_text()
        assert 5 <= completed == len(done.stored) < OBJECTS
        assert len(text(done.failed[0x00080058]).split("\\")) == failed
        assert all(objects[uid] == data for uid, data in done.stored.items())
    agrees(tmp_path)
