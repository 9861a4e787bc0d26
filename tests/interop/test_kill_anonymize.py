"""kill -9 of a service that de-identifies, under load: nothing identified is on its disk, and nothing promised is lost.

DCMKIT_KILL_ROUNDS says how often (5; a release is worth 50).
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dcmkit.dataset.elements import decode
from dcmkit.deid import keys
from dcmkit.deid.pseudonyms import Pseudonyms

from .part10 import read_part10
from .peers import Receiver, dcmkit_command, dcmkit_storescp
from .process import run, wait_until
from .test_kill import LONGEST_ROUND, ROUNDS, Load

pytestmark = [pytest.mark.interop, pytest.mark.timeout(900)]

OPTIONS = [(), ("--workers", "2"), ("--durability", "none")]


@pytest.fixture(scope="module")
def templates(samples: dict[str, Path]) -> list[Path]:
    return [path for path in samples.values() if path.name.endswith(("-CT_small.dcm", "-MR_small.dcm"))]


def test_a_kill_leaves_nothing_identified_and_loses_nothing(
    tmp_path: Path, templates: list[Path], need: Callable[..., None]
) -> None:
    need("dcmkit")
    keys.create(str(tmp_path / "key"))
    chance = random.Random(os.environ.get("DCMKIT_KILL_SEED", "kill"))
    load, secrets = Load(templates), identities(templates)
    anonymize = ("--anonymize", "basic", "--anonymize-key", str(tmp_path / "key"))
    for turn in range(ROUNDS):
        already = len(load.answered)
        with dcmkit_storescp(tmp_path / "site", *anonymize, *OPTIONS[turn % len(OPTIONS)]) as receiver:
            threads = load.run(receiver.port)
            assert wait_until(lambda: len(load.answered) > already, 30), receiver.server.log_text()  # noqa: B023
            time.sleep(chance.uniform(0, LONGEST_ROUND))
            receiver.server.kill()
            for thread in threads:
                thread.join(20)
            assert load.other == [], receiver.server.log_text()
            assert identified(receiver, secrets) == []
    pseudonyms = Pseudonyms(keys.read(str(tmp_path / "key")))
    with dcmkit_storescp(tmp_path / "site", *anonymize) as receiver:
        lost = {pseudonyms.uid(uid) for uid in load.answered} - set(receiver.stored())
        assert not lost, f"{len(lost)} of {len(load.answered)} objects answered Success are lost"
        assert identified(receiver, secrets) == []
        checked = run(dcmkit_command("index", "check", "-od", tmp_path / "site" / "objects"))
        assert checked.returncode == 0, checked.stdout + checked.stderr


def identities(templates: list[Path]) -> list[bytes]:
    """The names and IDs of the patients."""
    found = []
    for path in templates:
        template = read_part10(path)
        elements = decode(template.data_set, template.transfer_syntax_uid)
        found += [str(elements[tag].value).encode() for tag in (0x00100010, 0x00100020)]
    assert all(len(one) >= 4 for one in found)
    return found


def identified(receiver: Receiver, secrets: list[bytes]) -> list[Path]:
    """The files of the service, its log among them, in which one of the patients can be found."""
    paths = [path for path in receiver.server.directory.rglob("*") if path.is_file()]
    assert len(paths) > 2
    return [path for path in paths if any(secret in path.read_bytes() for secret in secrets)]
