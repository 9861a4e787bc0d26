"""getscu as people run it: against dcmkit's engine, pynetdicom, and peers that misbehave."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pydicom
import pytest
from click.testing import CliRunner, Result
from pynetdicom import AE, evt
from pynetdicom.events import Event

from dcmkit.archive.store import Archive
from dcmkit.cli.group import group
from dcmkit.errors import ExitCode
from dcmkit.net.association import Association
from dcmkit.services.models import STUDY_ROOT
from dcmkit.settings import ArchiveSettings
from tests.archive.objects import CT, MR, part10
from tests.services.retrieve_peer import LEVEL, Peer, Stored, retrieving, some

STUDIES = [*some(3, "1.2.1"), *some(2, "1.2.2", accession="A2"), Stored("1.2.2.9.1", "1.2.2", "1.2.2.9", MR)]


def run(port: int, *args: object) -> Result:
    words = ["getscu", "127.0.0.1", str(port), "-aec", "PEER", *map(str, args)]
    return CliRunner().invoke(group, words)


def started(port: int, *args: object) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "dcmkit", "getscu", "127.0.0.1", str(port), *map(str, args)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def got(peer: Peer, *args: object) -> Result:
    with retrieving(peer) as listener:
        return run(listener.port, *args)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_study_into_a_folder(tmp_path: Path) -> None:
    result = got(Peer(STUDIES), "--study", "1.2.1", "-od", tmp_path / "out")
    assert (result.exit_code, result.output) == (0, "")
    assert names(tmp_path / "out") == ["CT.1.2.1.1.1", "CT.1.2.1.1.2", "CT.1.2.1.1.3"]
    assert pydicom.dcmread(tmp_path / "out" / "CT.1.2.1.1.1").file_meta.SourceApplicationEntityTitle == "PEER"


def test_as_scripts_for_dcmtk_call_it(tmp_path: Path) -> None:
    peer = Peer(STUDIES)
    words = ["-S", "+B", "-aet", "ME", "-k", "0008,0052=STUDY", "-k", "0020,000D=1.2.1", "-od", tmp_path, "-to", "5"]
    assert got(peer, *words).exit_code == 0
    assert len(names(tmp_path)) == 3
    assert peer.associations[0].rq.calling_ae_title == "ME"


def test_into_an_archive_with_its_index(tmp_path: Path) -> None:
    result = got(Peer(STUDIES), "--accession", "A2", "--archive", tmp_path / "archive", "--durability", "none")
    assert (result.exit_code, result.output) == (0, "")
    with Archive(ArchiveSettings(output_directory=str(tmp_path / "archive"))) as archive:
        assert len(archive.index.find("1.2.2.9.1")) == 1


def test_objects_may_be_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert got(Peer(STUDIES), "--study", "1.2.1", "--ignore").exit_code == 0
    assert names(tmp_path) == []


def test_a_list_with_jobs_and_a_report(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("StudyInstanceUID,AccessionNumber\n1.2.1,\n,A2\n,NONE\n")
    words = ["--list", tmp_path / "list.csv", "--jobs", 2, "--report", tmp_path / "report", "-od", tmp_path / "out"]
    result = got(Peer(STUDIES), *words)
    assert result.exit_code == ExitCode.PARTLY_DONE
    assert result.output == f"line 4 of {tmp_path / 'list.csv'}: the peer has nothing that matches\n"
    assert len(names(tmp_path / "out")) == 6
    rows = [json.loads(line) for line in (tmp_path / "report").read_text().splitlines()]
    assert sorted(row["arrived"] for row in rows if "arrived" in row) == [3, 3]
    assert len([row for row in rows if "object" in row]) == 6


def test_what_failed_is_told_and_makes_the_exit_code(tmp_path: Path) -> None:
    result = got(Peer(STUDIES, refuses={"1.2.1.1.2"}), "--study", "1.2.1", "-od", tmp_path)
    assert result.exit_code == ExitCode.MOVE_WARNING
    assert result.output == "study 1.2.1: 1 of 3 sub-operations failed\nstudy 1.2.1: failed: 1.2.1.1.2\n"


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        (["--study", "9.9"], "study 9.9: the peer has nothing that matches"),
        (["--accession", "X"], "accession X: the peer has nothing that matches"),
        (["--patient", "X"], "patient X: the peer has nothing that matches"),
        (["-P", "--patient", "X"], "patient X: the peer has nothing that matches"),
        (["-S", "-k", "StudyInstanceUID=9.9"], "the keys: the peer has nothing that matches"),
    ],
)
def test_nothing_of_what_was_named(tmp_path: Path, args: list[str], sentence: str) -> None:
    result = got(Peer(STUDIES), *args, "-od", tmp_path)
    assert result.exit_code == ExitCode.NOTHING_DONE
    assert sentence in result.output


def test_a_model_that_is_refused(tmp_path: Path) -> None:
    models = (STUDY_ROOT.get, STUDY_ROOT.find)
    result = got(Peer(STUDIES, models=models), "-k", "0008,0052=STUDY", "-k", "0020,000D=1.2.1", "-od", tmp_path)
    assert result.exit_code == ExitCode.NO_PRESENTATION_CONTEXT
    assert "try -S" in result.output


def test_nobody_listens(tmp_path: Path) -> None:
    with retrieving(Peer()) as listener:
        port = listener.port
    result = run(port, "--study", "1.2", "-od", tmp_path, "--retries", 1, "--retry-delay", 0)
    assert result.exit_code == ExitCode.ASSOCIATION_REFUSED


def test_cancelling(tmp_path: Path) -> None:
    waited = threading.Event()

    def before(association: Association, number: int) -> None:
        while number == 2 and not association.cancelled(1) and not waited.wait(0.001):
            pass

    result = got(Peer(STUDIES, before_store=before), "--study", "1.2.1", "-od", tmp_path, "--cancel", 2)
    assert result.exit_code == 0
    assert len(names(tmp_path)) <= 3


def test_again_and_again(tmp_path: Path) -> None:
    peer = Peer(STUDIES)
    assert got(peer, "--study", "1.2.1", "-od", tmp_path, "--repeat", 3, "--abort").exit_code == 0
    assert len(peer.requests) == 3
    assert len(names(tmp_path)) == 3
    assert got(peer, "--study", "1.2.1", "--repeat", 2, "--journal", tmp_path / "j").exit_code == ExitCode.BAD_USAGE


def test_a_lost_association_is_made_up_for(tmp_path: Path) -> None:
    peer = Peer(STUDIES)
    peer.before_store = lambda association, number: (
        association.abort() if number == 2 and len(peer.requests) == 1 else None
    )
    result = got(peer, "--study", "1.2.1", "-od", tmp_path, "--retries", 1, "--retry-delay", 0)
    assert result.exit_code == 0
    assert len(names(tmp_path)) == 3


@pytest.mark.skipif(os.name != "posix", reason="no SIGKILL there")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_killed_and_taken_up_again(tmp_path: Path, how: signal.Signals) -> None:
    """Nothing half done is left under any name people see, and only the rest is asked for."""
    reached, go_on = threading.Event(), threading.Event()

    def before(association: Association, number: int) -> None:
        if number == 2:
            reached.set()
            go_on.wait(30)

    peer = Peer(STUDIES, before_store=before)
    words = ["--study", "1.2.1", "-od", tmp_path / "out", "--journal", tmp_path / "journal"]
    with retrieving(peer) as listener:
        process = started(listener.port, *words)
        assert reached.wait(30)
        process.send_signal(how)
        if how != signal.SIGKILL:
            go_on.set()
        process.communicate(timeout=30)
        go_on.set()
        assert process.returncode == {signal.SIGINT: ExitCode.INTERRUPTED}.get(how, -how)
        assert names(tmp_path / "out")[:2] == ["CT.1.2.1.1.1", "CT.1.2.1.1.2"]
        peer.requests.clear()
        peer.before_store = lambda association, number: None
        assert run(listener.port, *words).exit_code == 0
    assert len(names(tmp_path / "out")) == 3
    assert [identifier[LEVEL].value for identifier in peer.requests] == ["IMAGE"]


def test_an_interrupted_run_again_when_all_is_done_asks_for_nothing(tmp_path: Path) -> None:
    peer = Peer(STUDIES)
    words = ["--study", "1.2.1", "-od", tmp_path / "out", "--journal", tmp_path / "journal"]
    assert got(peer, *words).exit_code == 0
    assert got(peer, *words).exit_code == 0
    assert len(peer.requests) == 1


# --- pynetdicom ---


@contextmanager
def pynetdicom_peer(directory: Path, number: int, *, roles: bool = True) -> Iterator[int]:
    """pynetdicom answering C-GET at study level with CT images, and no C-FIND."""

    def answer(event: Event) -> Iterator[object]:
        yield number
        for i in range(number):
            yield 0xFF00, pydicom.dcmread(directory / f"{i}.dcm")

    for i in range(number):
        (directory / f"{i}.dcm").write_bytes(part10(f"1.2.1.1.{i}"))
    entity = AE("PEER")
    entity.add_supported_context(STUDY_ROOT.get)
    entity.add_supported_context(CT, scu_role=roles or None, scp_role=roles or None)
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_GET, answer)])
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()


def test_pynetdicom_sends(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    with pynetdicom_peer(source, 4) as port:
        result = run(port, "--study", "1.2.1", "-od", tmp_path / "out")
    assert (result.exit_code, result.output) == (0, "")
    assert len(names(tmp_path / "out")) == 4
