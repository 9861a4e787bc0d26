"""movescu as people run it: receiving by itself, or sending somebody else; and what to tell the administrator."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pydicom
import pytest
from click.testing import CliRunner, Result
from pynetdicom import AE, evt
from pynetdicom.events import Event

from dcmkit.cli.group import group
from dcmkit.dataset.elements import DataSet
from dcmkit.errors import ExitCode
from dcmkit.net.association import Association
from dcmkit.net.listener import bind
from dcmkit.protocol.message import C_MOVE_RQ
from dcmkit.services.models import STUDY_ROOT
from tests.archive.objects import CT, part10
from tests.services.retrieve_peer import Peer, retrieving, send_store, sending, some


def free_port() -> int:
    (sock,) = bind(("127.0.0.1",), 0)
    with sock:
        port: int = sock.getsockname()[1]
        return port


def run(port: int, *args: object) -> Result:
    words = ["movescu", "127.0.0.1", str(port), "-aec", "PEER", *map(str, args)]
    return CliRunner().invoke(group, words)


def moved(peer: Peer, *args: object, receive: bool = True) -> Result:
    """With a port to receive on, which the peer knows as MOVESCU's."""
    port = free_port()
    if receive:
        peer.destinations["MOVESCU"] = port
        args = ("+P", port, *args)
    with retrieving(peer) as listener:
        return run(listener.port, *args)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_study_into_a_folder(tmp_path: Path) -> None:
    result = moved(Peer(some(3)), "--study", "1.2.1", "-od", tmp_path)
    assert (result.exit_code, result.output) == (0, "")
    assert names(tmp_path) == ["CT.1.2.1.1.1", "CT.1.2.1.1.2", "CT.1.2.1.1.3"]


def test_as_scripts_for_dcmtk_call_it(tmp_path: Path) -> None:
    keys = ["-k", "0008,0052=STUDY", "-k", "0020,000D=1.2.1"]
    result = moved(Peer(some(2)), "-S", "-aem", "MOVESCU", "+B", "+xa", "-pr", "-up", "-dhl", *keys, "-od", tmp_path)
    assert (result.exit_code, result.output) == (0, "")
    assert len(names(tmp_path)) == 2


def test_many_at_once(tmp_path: Path) -> None:
    peer = Peer([stored for i in range(6) for stored in some(2, f"1.2.{i}")])
    studies = [word for i in range(6) for word in ("--study", f"1.2.{i}")]
    result = moved(peer, *studies, "--jobs", 3, "--archive", tmp_path, "--durability", "none")
    assert (result.exit_code, result.output) == (0, "")
    assert len(list(tmp_path.rglob("*.dcm"))) == 12


def test_any_free_port_is_told(tmp_path: Path) -> None:
    with retrieving(Peer()) as listener:
        result = run(listener.port, "--study", "1.2.1", "+P", "0", "-od", tmp_path)
    assert result.output.startswith("receiving on port ")
    assert result.exit_code == ExitCode.MOVE_ERROR


def test_somewhere_else(tmp_path: Path) -> None:
    port = free_port()
    peer = Peer(some(3), destinations={"OTHER": port})
    receiver = subprocess.Popen(
        [sys.executable, "-m", "dcmkit", "storescp", str(port), "-od", str(tmp_path / "there"), "-v"],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert receiver.stderr is not None
        assert "listens" in receiver.stderr.readline()
        result = moved(peer, "--study", "1.2.1", "-aem", "OTHER", receive=False)
    finally:
        receiver.terminate()
        receiver.communicate(timeout=30)
    assert (result.exit_code, result.output) == (0, "")
    assert len(list((tmp_path / "there").rglob("*.dcm"))) == 3


def test_what_the_administrator_has_to_add(tmp_path: Path) -> None:
    port = free_port()
    with retrieving(Peer(some(1))) as listener:
        studies = ["--study", "1.2.1", "--study", "1.2.2"]
        result = run(listener.port, *studies, "+P", port, "-od", tmp_path, "-aet", "READER")
    assert result.exit_code == ExitCode.MOVE_ERROR
    assert f"in general: AE title READER, address 127.0.0.1, port {port}\n" in result.output
    assert f"HostTable: reader = (READER, 127.0.0.1, {port})\n" in result.output
    assert f'DicomModalities: "reader" : [ "READER", "127.0.0.1", {port} ]\n' in result.output
    assert result.output.count("in general") == 1


def test_who_is_somewhere_else_is_not_known_here() -> None:
    result = moved(Peer(some(1)), "--study", "1.2.1", "-aem", "NOBODY", receive=False)
    assert result.exit_code == ExitCode.MOVE_ERROR
    assert "AE title NOBODY, address HOST, port PORT" in result.output


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    (sock,) = bind(("127.0.0.1",), 0)
    with sock, retrieving(Peer()) as listener:
        result = run(listener.port, "--study", "1.2.1", "+P", sock.getsockname()[1], "-od", tmp_path)
    assert result.exit_code == ExitCode.CANNOT_LISTEN


def test_what_was_promised_and_does_not_come(tmp_path: Path) -> None:
    def script(association: Association, context_id: int, rq: C_MOVE_RQ, _: DataSet) -> None:
        Peer.answer(association, context_id, rq, 0xFF00, 1, 1, 0)
        Peer.answer(association, context_id, rq, 0, None, 2, 0)

    result = moved(Peer(move=script), "--study", "1.2.1", "-od", tmp_path, "--wait", 0)
    assert result.exit_code == ExitCode.MOVE_WARNING
    assert "study 1.2.1: the peer says that it has sent 2 objects, and nothing arrived\n" in result.output


def test_strangers_are_told(tmp_path: Path) -> None:
    def script(association: Association, context_id: int, rq: C_MOVE_RQ, _: DataSet) -> None:
        with sending(peer.destinations["MOVESCU"], "STRANGER") as out:
            send_store(out, some(1, "6.6")[0], ("SOMEBODY", 1))
        peer.honest_move(association, context_id, rq, _)

    peer = Peer(some(1), move=script)
    result = moved(peer, "--study", "1.2.1", "-od", tmp_path)
    assert result.exit_code == 0, result.output
    assert "1 objects came that we did not ask for" in result.output
    assert len(names(tmp_path)) == 2


@pytest.mark.skipif(os.name != "posix", reason="no SIGINT there")
def test_ctrl_c_ends_it_in_order(tmp_path: Path) -> None:
    reached, ended = threading.Event(), threading.Event()

    def script(association: Association, context_id: int, rq: C_MOVE_RQ, _: DataSet) -> None:
        reached.set()
        try:
            while association.receive() is not None:
                pass
        finally:
            ended.set()

    with retrieving(Peer(move=script)) as listener:
        words = ["movescu", "127.0.0.1", str(listener.port), "--study", "1.2.1", "+P", "0", "-od", str(tmp_path)]
        process = subprocess.Popen([sys.executable, "-m", "dcmkit", *words], stderr=subprocess.PIPE, text=True)
        assert reached.wait(30)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        assert ended.wait(30)
    assert process.returncode == ExitCode.INTERRUPTED
    assert names(tmp_path) == []


def test_pynetdicom_sends(tmp_path: Path) -> None:
    source, port = tmp_path / "source", free_port()
    source.mkdir()
    for i in range(3):
        (source / f"{i}.dcm").write_bytes(part10(f"1.2.1.1.{i}"))

    def answer(event: Event) -> object:
        if event.move_destination != "MOVESCU":
            yield None, None
            return
        yield "127.0.0.1", port
        yield 3
        for i in range(3):
            yield 0xFF00, pydicom.dcmread(source / f"{i}.dcm")

    entity = AE("PEER")
    entity.add_supported_context(STUDY_ROOT.move)
    entity.add_requested_context(CT)
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_MOVE, answer)])
    try:
        known = run(server.server_address[1], "--study", "1.2.1", "+P", port, "-od", tmp_path / "out")
        unknown = run(server.server_address[1], "--study", "1.2.1", "-aem", "NOBODY")
    finally:
        server.shutdown()
    assert (known.exit_code, known.output) == (0, "")
    assert len(names(tmp_path / "out")) == 3
    assert unknown.exit_code == ExitCode.MOVE_ERROR
    assert "AE title NOBODY" in unknown.output
