"""kill -9 of a router under load, and of what it forwards to: whatever was answered Success arrives, whole.

DCMKIT_KILL_ROUNDS says how often (5; a release is worth 50).
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from dcmkit.services.spool import Spool

from .part10 import read_part10
from .peers import Receiver, dcmkit_command, dcmkit_storescp, files_by_uid
from .process import free_port, run, serving, wait_until
from .test_kill import KILLS_PER_ARCHIVE, LONGEST_ROUND, ROUNDS, Load, templates

__all__ = ["templates"]

pytestmark = [pytest.mark.interop, pytest.mark.timeout(900)]

OPTIONS = [(), ("--workers", "2"), ("--forward-delete",), ("--durability", "none", "--forward-delete")]
DELIVERED_IN = 120.0


@contextlib.contextmanager
def destination(directory: Path, port: int) -> Iterator[Receiver]:
    """Where the router forwards to, at a certain port."""
    output = directory / "objects"
    output.mkdir(parents=True, exist_ok=True)

    def command(port: int) -> Sequence[str | os.PathLike[str]]:
        return dcmkit_command("storescp", str(port), "-aet", "LAST", "-od", output)

    with serving("destination", command, directory, port=port) as server:
        yield Receiver(server, lambda: files_by_uid(output))


@contextlib.contextmanager
def router(place: Path, port: int, *options: str) -> Iterator[Receiver]:
    peer = ("--forward", f"LAST@127.0.0.1:{port}", "--forward-max-delay", "0.1")
    with dcmkit_storescp(place / "router", *peer, *options) as receiver:
        yield receiver


def test_nothing_answered_success_is_lost_on_the_way(
    tmp_path: Path, templates: list[Path], need: Callable[..., None]
) -> None:
    need("dcmkit")
    chance = random.Random(os.environ.get("DCMKIT_KILL_SEED", "kill"))
    kills = 0
    while kills < ROUNDS:
        place = tmp_path / f"site{kills}"
        load, turns, port = Load(templates), min(ROUNDS - kills, KILLS_PER_ARCHIVE), free_port()
        for turn in range(turns):
            kill_under_load(place, port, load, OPTIONS[(kills + turn) % len(OPTIONS)], chance)
        restart_and_check(place, port, load)
        kills += turns
        shutil.rmtree(place)


def kill_under_load(place: Path, port: int, load: Load, options: tuple[str, ...], chance: random.Random) -> None:
    """Kill the router, and its destination shortly before or after; which is not there at all in some rounds."""
    already, there = len(load.answered), chance.random() < 0.7
    with contextlib.ExitStack() as stack:
        last = stack.enter_context(destination(place / "last", port)) if there else None
        receiver = stack.enter_context(router(place, port, *options))
        threads = load.run(receiver.port)
        assert wait_until(lambda: len(load.answered) > already, 20), receiver.server.log_text()
        victims = [one for one in (receiver, last) if one is not None]
        chance.shuffle(victims)
        for victim in victims:
            time.sleep(chance.uniform(0, LONGEST_ROUND / len(victims)))
            victim.server.kill()
        for thread in threads:
            thread.join(20)
        assert load.other == [], receiver.server.log_text()


def restart_and_check(place: Path, port: int, load: Load) -> None:
    """In the end all that was answered Success is there, and nothing waits."""
    with destination(place / "last", port) as last, router(place, port, "--forward-delete", "-v") as receiver:
        spool = Spool(str(place / "router" / "objects"))
        assert wait_until(lambda: not spool.entries(), DELIVERED_IN), receiver.server.log_text()[-2000:]
        spool.close()
        stored = last.stored()
        lost = load.answered - set(stored)
        assert not lost, f"{len(lost)} of {len(load.answered)} objects answered Success are lost"
        damaged = [path for uid, path in stored.items() if read_part10(path).data_set != load.sent[uid]]
        assert damaged == []
    checked = run(dcmkit_command("index", "check", "-od", place / "router" / "objects"))
    assert checked.returncode == 0, checked.stdout + checked.stderr
