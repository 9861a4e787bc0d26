"""dcmkit storescp as its own process: what arrives, signals, and what it refuses to start with."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dcmkit.cli.commands.storescu import command as storescu
from dcmkit.dataset.part10 import file_meta, read_file_header
from dcmkit.errors import ExitCode
from dcmkit.protocol.message import C_STORE_RQ
from dcmkit.protocol.pdu import PresentationContextRQ
from tests.archive.objects import CT, EXPLICIT, image
from tests.net.server import Rude, assert_alive, pdv, rq

PRIVATE = "1.2.840.99999.1.2.3"


class Receiver:
    """A running `dcmkit storescp`."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self.port = port
        self.log = ""

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, take the rest of the log, and the exit code."""
        self.process.send_signal(number)
        return self.end()

    def end(self) -> int:
        self.log += self.process.communicate(timeout=30)[1]
        return self.process.returncode


@contextmanager
def receiver(directory: Path, *options: str) -> Iterator[Receiver]:
    """Started on a free port; killed at the end if the test did not stop it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    arguments = [sys.executable, "-m", "dcmkit", "storescp", str(port), "-od", str(directory), "-v", *options]
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    running = Receiver(process, port)
    try:
        assert process.stderr is not None
        for line in process.stderr:
            running.log += line
            if "listens on port" in line:
                break
        yield running
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def write(path: Path, uid: str, sop_class: str = CT, **attributes: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(file_meta(sop_class, uid, EXPLICIT) + image(uid, sop_class=sop_class, **attributes))
    return path


def send(port: int, *paths: Path) -> int:
    """Send with dcmkit's own storescu, in this process."""
    code = storescu.main(["127.0.0.1", str(port), *map(str, paths)], standalone_mode=False)
    assert isinstance(code, int)
    return code


def stored(directory: Path) -> dict[str, bytes]:
    """The data sets in an archive, by SOP Instance UID."""
    found = {}
    for path in directory.rglob("*.dcm"):
        header = read_file_header(path)
        found[header.sop_instance_uid] = path.read_bytes()[header.offset :]
    return found


def test_what_arrives_is_filed_as_it_was_and_indexed(tmp_path: Path) -> None:
    for number in range(5):
        write(tmp_path / "in" / f"{number}.dcm", f"1.2.3.1.{number}")
    write(tmp_path / "in" / "private.dcm", "1.2.3.1.9", PRIVATE)
    with receiver(tmp_path / "archive", "-aet", "RACCOON_SCP") as running:
        assert send(running.port, tmp_path / "in") == 0
        assert running.stop() == 0
    found = stored(tmp_path / "archive")
    assert len(found) == 6
    assert found["1.2.3.1.3"] == image("1.2.3.1.3")
    assert (tmp_path / "archive" / "1.2.3.1" / "1.2.3.2" / "1.2.3.1.3.dcm").exists()
    assert "Doe" not in running.log
    listed = subprocess.run(
        [sys.executable, "-m", "dcmkit", "index", "ls", "-od", str(tmp_path / "archive"), "--format", "json"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(listed.stdout)[0]["NumberOfStudyRelatedInstances"] == 6


@pytest.mark.skipif(not hasattr(os, "fork"), reason="worker processes need a POSIX system")
@pytest.mark.parametrize("durability", ["none", "full"])
def test_workers_take_everything(tmp_path: Path, durability: str) -> None:
    for number in range(20):
        write(tmp_path / "in" / f"{number}.dcm", f"1.2.3.1.{number}")
    with receiver(tmp_path / "archive", "--workers", "2", "--durability", durability) as running:
        senders = [
            subprocess.Popen([sys.executable, "-m", "dcmkit", "storescu", "127.0.0.1", str(running.port), str(path)])
            for path in (tmp_path / "in", tmp_path / "in", tmp_path / "in")
        ]
        assert [sender.wait(60) for sender in senders] == [0, 0, 0]
        assert running.stop() == 0
    assert len(stored(tmp_path / "archive")) == 20
    check = [sys.executable, "-m", "dcmkit", "index", "check", "-od", str(tmp_path / "archive")]
    assert subprocess.run(check, capture_output=True).returncode == 0


def test_known_only_refuses_private_classes(tmp_path: Path) -> None:
    write(tmp_path / "in" / "private.dcm", "1.2.3.1.9", PRIVATE)
    with receiver(tmp_path / "archive", "--known-only") as running:
        assert send(running.port, tmp_path / "in") == ExitCode.NO_PRESENTATION_CONTEXT


def test_ignore_keeps_nothing(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.dcm", "1.2.3.1.9")
    with receiver(tmp_path / "archive", "--ignore") as running:
        assert send(running.port, tmp_path / "in") == 0
    assert not (tmp_path / "archive").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_object_in_flight_is_finished_at_a_signal(tmp_path: Path, number: int) -> None:
    data_set = image("1.2.3.1.1", pixels=bytes(200_000))
    command = C_STORE_RQ(message_id=1, affected_sop_class_uid=CT, affected_sop_instance_uid="1.2.3.1.1").encode()
    with receiver(tmp_path / "archive") as running:
        with Rude(running.port) as peer:
            peer.associate(rq([PresentationContextRQ(1, CT, (EXPLICIT,))]))
            peer.send(pdv(1, 3, command) + pdv(1, 0, data_set[:1000]))
            assert_alive(running.port)  # by then the first bytes have been taken
            running.process.send_signal(number)
            while True:  # until nobody listens any more: the signal has come through
                try:
                    socket.create_connection(("127.0.0.1", running.port), 5).close()
                except ConnectionRefusedError:
                    break
            peer.send(pdv(1, 2, data_set[1000:]))
            pdu_type, body = peer.read()
            assert pdu_type == 4
            at = body.index(struct.pack("<HHI", 0, 0x0900, 2))
            assert body[at + 8 : at + 10] == b"\0\0"
        assert running.end() == 0
    assert stored(tmp_path / "archive") == {"1.2.3.1.1": data_set}


def start(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dcmkit", "storescp", *arguments], capture_output=True, text=True, timeout=60
    )


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        result = start(port, "--bind", "127.0.0.1", "-od", str(tmp_path))
    assert result.returncode == ExitCode.CANNOT_LISTEN
    assert "choose another port" in result.stderr


def test_an_output_directory_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = start("11112", "-od", str(tmp_path / "file"))
    assert result.returncode == ExitCode.INVALID_OUTPUT_DIRECTORY
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("port",),
        ("0x1",),
        ("70000",),
        ("11112", "--durability", "some"),
        ("11112", "+xy"),
        ("11112", "--layout", ".."),
    ],
)
def test_bad_usage(arguments: tuple[str, ...], tmp_path: Path) -> None:
    result = start(*arguments, "-od", str(tmp_path / "archive"))
    assert result.returncode == ExitCode.BAD_USAGE
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "archive").exists()
