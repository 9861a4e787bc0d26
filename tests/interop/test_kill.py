"""kill -9 of the server under load: what was answered Success is there, whole, and the index agrees after restart.

DCMKIT_KILL_ROUNDS says how often (5; a release is worth 50).
"""

from __future__ import annotations

import os
import random
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from .part10 import read_part10
from .peers import Receiver, dcmkit_command, dcmkit_storescp
from .process import listens, run, wait_until
from .wire import Requestor, WireError

pytestmark = [pytest.mark.interop, pytest.mark.timeout(900)]

ROUNDS = int(os.environ.get("DCMKIT_KILL_ROUNDS", "5"))
SENDERS = 3
KILLS_PER_ARCHIVE = 5
"""A killed server is followed by another over the same archive; after so many a new archive is begun."""

LONGEST_ROUND = 0.6
"""Seconds; the kill falls at a random moment within, after the first Success."""

OPTIONS = [(), ("--workers", "2"), ("--durability", "none"), ("--durability", "file")]


class Load:
    """Senders that store ever new instances until their connection breaks, and remember what they were answered.

    Attributes:
        sent: every data set that was begun, by SOP Instance UID.
        answered: the SOP Instance UIDs that were answered Success.
        other: statuses that were not Success.
    """

    def __init__(self, templates: list[Path]) -> None:
        self.templates = [read_part10(path) for path in templates]
        self.sent: dict[str, bytes] = {}
        self.answered: set[str] = set()
        self.other: list[int] = []
        self._lock = threading.Lock()
        self._number = 0

    def fresh(self) -> tuple[str, str, str, bytes]:
        """A template under a UID of its own: the digits after the first of its longest component count up."""
        with self._lock:
            self._number += 1
            template = self.templates[self._number % len(self.templates)]
            longest = max(template.sop_instance_uid.split("."), key=len)
            component = f"{longest[0]}{self._number:0{len(longest) - 1}}"
            uid = template.sop_instance_uid.replace(longest, component)
            data_set = template.data_set.replace(template.sop_instance_uid.encode(), uid.encode())
            self.sent[uid] = data_set
            return template.sop_class_uid, uid, template.transfer_syntax_uid, data_set

    def run(self, port: int) -> list[threading.Thread]:
        """Start the senders."""
        threads = [threading.Thread(target=self._send, args=(port,), daemon=True) for _ in range(SENDERS)]
        for thread in threads:
            thread.start()
        return threads

    def _send(self, port: int) -> None:
        contexts = sorted({(one.sop_class_uid, one.transfer_syntax_uid) for one in self.templates})
        try:
            association = Requestor(port, [(abstract, [transfer]) for abstract, transfer in contexts])
        except (OSError, WireError):
            return
        try:
            while True:
                instance = self.fresh()
                status = association.store(*instance)
                if status == 0:
                    self.answered.add(instance[1])
                else:
                    self.other.append(status)
        except (OSError, WireError):
            return
        finally:
            association.close()


@pytest.fixture(scope="module")
def templates(samples: dict[str, Path]) -> list[Path]:
    wanted = ("-CT_small.dcm", "-examples_overlay.dcm", "-MR_small.dcm")
    return [path for path in samples.values() if path.name.endswith(wanted)]


def test_nothing_answered_success_is_lost(tmp_path: Path, templates: list[Path], need: Callable[..., None]) -> None:
    need("dcmkit")
    chance = random.Random(os.environ.get("DCMKIT_KILL_SEED", "kill"))
    kills = begun = answered = 0
    while kills < ROUNDS:
        place = tmp_path / f"archive{kills}"
        load, turns = Load(templates), min(ROUNDS - kills, KILLS_PER_ARCHIVE)
        for turn in range(turns):
            kill_under_load(place, load, OPTIONS[(kills + turn) % len(OPTIONS)], chance.uniform(0, LONGEST_ROUND))
        restart_and_check(place, load)
        kills, begun, answered = kills + turns, begun + len(load.sent), answered + len(load.answered)
        shutil.rmtree(place)
    print(f"{kills} kills, {begun} objects begun, {answered} answered Success")


def kill_under_load(place: Path, load: Load, options: tuple[str, ...], seconds: float) -> None:
    """Serve the archive in `place`, and kill the server so many seconds after the first new Success."""
    already = len(load.answered)
    with dcmkit_storescp(place, *options) as receiver:
        threads = load.run(receiver.port)
        assert wait_until(lambda: len(load.answered) > already, 20), receiver.server.log_text()
        time.sleep(seconds)
        receiver.server.kill()
        for thread in threads:
            thread.join(20)
        assert load.other == [], receiver.server.log_text()
        check_files(receiver, load)


def restart_and_check(place: Path, load: Load) -> None:
    """A server started anew finds everything, and `index check` agrees, with and without digests."""
    with dcmkit_storescp(place) as receiver:
        check_files(receiver, load)
        for options in ((), ("--digests",)):
            checked = run(dcmkit_command("index", "check", *options, "-od", place / "objects"))
            assert checked.returncode == 0, checked.stdout + checked.stderr


def check_files(receiver: Receiver, load: Load) -> None:
    """Everything answered Success is there, and every file that can be seen is whole."""
    stored = receiver.stored()
    lost = load.answered - set(stored)
    assert not lost, f"{len(lost)} of {len(load.answered)} objects answered Success are lost"
    damaged = [path for uid, path in stored.items() if read_part10(path).data_set != load.sent.get(uid)]
    assert damaged == []
    visible = [path for path in (receiver.server.directory / "objects").rglob("*") if path.is_file()]
    strays = [path for path in visible if path not in stored.values() and not hidden(path, receiver)]
    assert strays == []


def hidden(path: Path, receiver: Receiver) -> bool:
    """Whether a file is dcmkit's own business: its name, or a directory above it, begins with a dot."""
    return any(part.startswith(".") for part in path.relative_to(receiver.server.directory).parts)


def test_workers_end_with_their_parent(tmp_path: Path, need: Callable[..., None]) -> None:
    need("dcmkit")
    with dcmkit_storescp(tmp_path, "--workers", "2") as receiver:
        receiver.server.process.kill()
        receiver.server.process.wait()
        assert wait_until(lambda: not listens(receiver.port), 5), "a worker outlives its parent"
