"""The programs with everyday arguments: C-ECHO with every peer, whole directories both ways, peers that give up."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from .orthanc import orthanc
from .part10 import difference, read_part10
from .peers import (
    dcmkit_command,
    dcmkit_storescp,
    dcmkit_storescu,
    dcmtk_storescp,
    program_path,
    pynetdicom_storescp,
)
from .process import free_port, run

pytestmark = pytest.mark.interop

EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
ASSOCIATION_REFUSED, NOTHING_DONE = 61, 11
Need = Callable[..., None]


@pytest.fixture(scope="module")
def study(samples: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Uncompressed CT objects in directories within directories, with a file that is no DICOM among them."""
    root = tmp_path_factory.mktemp("study")
    (root / "notes.txt").write_text("not an object\n")
    placed = {}
    for number, (uid, path) in enumerate(samples.items()):
        meta = read_part10(path)
        if meta.sop_class_uid.endswith(".1.1.2") and meta.transfer_syntax_uid == EXPLICIT_VR_LITTLE_ENDIAN:
            folder = root / f"series{number % 3}" / "objects"
            folder.mkdir(parents=True, exist_ok=True)
            placed[uid] = Path(shutil.copy(path, folder))
    assert len(placed) > 20
    return placed


def root_of(study: dict[str, Path]) -> Path:
    return next(iter(study.values())).parents[2]


# --- C-ECHO ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("peer", "start"),
    [("DCMTK", dcmtk_storescp), ("pynetdicom", pynetdicom_storescp), ("Orthanc", orthanc), ("dcmkit", dcmkit_storescp)],
)
def test_echoscu_is_answered(
    peer: str, start: Callable[[Path], contextlib.AbstractContextManager[object]], tmp_path: Path, need: Need
) -> None:
    need("dcmkit", peer)
    with start(tmp_path / "peer") as running:
        done = run(dcmkit_command("echoscu", "127.0.0.1", str(running.port), "--repeat", "3"))  # type: ignore[attr-defined]
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_echoscu_of_dcmtk_is_answered(tmp_path: Path, need: Need) -> None:
    need("dcmkit", "DCMTK")
    many = ("-ppc", "128", "-pts", "38", "--repeat", "3")
    with dcmkit_storescp(tmp_path / "dcmkit") as receiver:
        done = run([str(program_path("echoscu")), *many, "127.0.0.1", str(receiver.port)])
    assert (done.returncode, done.stderr) == (0, "")


def test_echoscu_says_so_where_nobody_listens(need: Need) -> None:
    need("dcmkit")
    done = run(dcmkit_command("echoscu", "127.0.0.1", str(free_port())))
    assert done.returncode == ASSOCIATION_REFUSED
    assert done.stderr.count("\n") == 1


# --- directories -------------------------------------------------------------------------------------------------


def test_dcmtk_sends_a_directory(study: dict[str, Path], tmp_path: Path, need: Need) -> None:
    need("dcmkit", "DCMTK")
    with dcmkit_storescp(tmp_path / "dcmkit") as receiver:
        words = ("--scan-directories", "--recurse", "--no-halt", "127.0.0.1", str(receiver.port), root_of(study))
        run([str(program_path("storescu")), *words])
        assert what_differs(study, receiver.stored()) == {}


def test_dcmkit_sends_a_directory(study: dict[str, Path], tmp_path: Path, need: Need) -> None:
    need("dcmkit", "DCMTK")
    with dcmtk_storescp(tmp_path / "peer", "+B") as receiver:
        words = ("127.0.0.1", str(receiver.port), "--scan-directories", root_of(study))
        done = run(dcmkit_command("storescu", *words))
        stored = receiver.stored()
        assert {uid: read_part10(path) for uid, path in stored.items()} == {
            uid: read_part10(path) for uid, path in study.items()
        }
    assert "notes.txt" in done.stderr
    assert done.returncode == 10, "partly done: one file was no DICOM"


def what_differs(study: dict[str, Path], stored: dict[str, Path]) -> dict[str, str]:
    """What is wrong with the objects stored, by SOP Instance UID; encodings may differ."""
    wrong = dict.fromkeys(stored.keys() - study.keys(), "was not sent")
    for uid, path in study.items():
        found = difference(path, stored[uid]) if uid in stored else "did not arrive"
        if found:
            wrong[uid] = found
    return wrong


# --- peers that give up ------------------------------------------------------------------------------------------


def test_storescu_says_so_where_it_is_refused(study: dict[str, Path], tmp_path: Path, need: Need) -> None:
    need("dcmkit", "DCMTK")
    with dcmtk_storescp(tmp_path / "peer", "--refuse") as receiver:
        sent = dcmkit_storescu(receiver.port, list(study.values())[:3])
    assert sent.exit_code == ASSOCIATION_REFUSED
    assert sent.talk.count("\n") == 1


@pytest.mark.parametrize("fault", ["--abort-after", "--abort-during"])
def test_storescu_is_honest_about_a_peer_that_aborts(
    fault: str, study: dict[str, Path], tmp_path: Path, need: Need
) -> None:
    need("dcmkit", "DCMTK")
    report, some = tmp_path / "report.jsonl", list(study.values())[:3]
    with dcmtk_storescp(tmp_path / "peer", fault) as receiver:
        sent = dcmkit_storescu(receiver.port, some, "--report", str(report))
    assert sent.exit_code == NOTHING_DONE, sent.talk
    assert "Traceback" not in sent.talk
    entries = [json.loads(line) for line in report.read_text().splitlines()]
    assert [entry["status"] for entry in entries] == [None] * len(some)
