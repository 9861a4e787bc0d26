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
from dcmkit.deid import keys
from dcmkit.deid.pseudonyms import Pseudonyms
from dcmkit.errors import AssociationRejectedError, ExitCode
from dcmkit.protocol.message import C_STORE_RQ
from dcmkit.protocol.pdu import PresentationContextRQ
from tests.archive.objects import CT, EXPLICIT, image
from tests.interop.process import wait_until
from tests.net.server import Rude, associate, pdv, rq

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


def named(directory: Path) -> list[str]:
    """The names of the files in an archive from which files are being removed."""
    return [name for _, _, names in os.walk(directory) for name in names if name.endswith(".dcm")]


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


def test_what_comes_is_passed_on_to_a_node(tmp_path: Path) -> None:
    write(tmp_path / "in" / "1.dcm", "1.2.3.1.1")
    with receiver(tmp_path / "last", "-aet", "LAST", "--check-called-ae-title") as last:
        node = f'[nodes.last]\nhost = "127.0.0.1"\nport = {last.port}\ncalled_ae_title = "LAST"\n'
        (tmp_path / "config.toml").write_text(node)
        options = ("--config", str(tmp_path / "config.toml"), "--forward", "@last", "--forward-delete")
        with receiver(tmp_path / "router", *options) as running:
            assert send(running.port, tmp_path / "in") == 0
            assert wait_until(lambda: bool(stored(tmp_path / "last")) and not named(tmp_path / "router"), 20)
            assert running.stop() == 0
        assert "forwarding to @last: 1 delivered, 0 waiting, 0 failing, 0 dead letters" in running.log
        assert last.stop() == 0
    assert "Doe" not in running.log


@pytest.mark.parametrize("options", [(), ("--workers", "2"), ("--layout", "{PatientName}/{SOPInstanceUID}.dcm")])
def test_what_comes_is_anonymized_and_passed_on(tmp_path: Path, options: tuple[str, ...]) -> None:
    for number in range(3):
        write(tmp_path / "in" / f"{number}.dcm", f"1.2.3.1.{number}", study="1.2.3.1")
    keys.create(str(tmp_path / "key"))
    pseudonyms = Pseudonyms(keys.read(str(tmp_path / "key")))
    with receiver(tmp_path / "last") as last:
        anonymize = ("--anonymize", "basic", "--anonymize-key", str(tmp_path / "key"))
        forward = ("--forward", f"127.0.0.1:{last.port}")
        with receiver(tmp_path / "first", *anonymize, *forward, *options) as running:
            assert send(running.port, tmp_path / "in") == 0
            assert wait_until(lambda: len(stored(tmp_path / "last")) == 3, 20)
            assert running.stop() == 0
        assert last.stop() == 0
    for directory in ("first", "last"):
        assert set(stored(tmp_path / directory)) == {pseudonyms.uid(f"1.2.3.1.{number}") for number in range(3)}
    for path in (tmp_path / "first").rglob("*"):
        assert "Doe" not in str(path)
        assert not path.is_file() or b"Doe" not in path.read_bytes()
    for log in (running.log, last.log):
        assert "Doe" not in log
        assert "1.2.3.1." not in log


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
            assert wait_until(lambda: bool(arriving(tmp_path / "archive")), 20)
            running.process.send_signal(number)
            assert wait_until(lambda: not listens(running.port), 20)  # the signal has come through
            peer.send(pdv(1, 2, data_set[1000:]))
            pdu_type, body = peer.read()
            assert pdu_type == 4
            at = body.index(struct.pack("<HHI", 0, 0x0900, 2))
            assert body[at + 8 : at + 10] == b"\0\0"
        assert running.end() == 0
    assert stored(tmp_path / "archive") == {"1.2.3.1.1": data_set}


def test_an_independent_sender_finds_its_objects_again(tmp_path: Path) -> None:
    from pydicom import dcmread
    from pydicom.data import get_testdata_file
    from pynetdicom import AE

    names = ("CT_small.dcm", "MR_small_RLE.dcm", "JPEG2000.dcm", "rtplan.dcm")
    sources = [dcmread(str(get_testdata_file(name, download=False))) for name in names]
    with receiver(tmp_path / "archive") as running:
        entity = AE("SCU")
        for source in sources:
            entity.add_requested_context(source.SOPClassUID, source.file_meta.TransferSyntaxUID)
        association = entity.associate("127.0.0.1", running.port)
        assert association.is_established
        assert [association.send_c_store(source).Status for source in sources] == [0] * 4
        association.release()
        assert running.stop() == 0
    for source in sources:
        (path,) = (tmp_path / "archive").rglob(f"{source.SOPInstanceUID}.dcm")
        found = dcmread(path)
        assert found == source
        assert found.file_meta.TransferSyntaxUID == source.file_meta.TransferSyntaxUID
        assert found.file_meta.SourceApplicationEntityTitle == "SCU"


def test_an_archive_that_cannot_be_written_any_more_refuses_and_goes_on(tmp_path: Path) -> None:
    good, bad = write(tmp_path / "in" / "1.dcm", "1.2.3.1.1"), write(tmp_path / "in" / "2.dcm", "1.2.3.9.1")
    with receiver(tmp_path / "archive", "--layout", "{SOPInstanceUID}/object.dcm") as running:
        (tmp_path / "archive" / "1.2.3.9.1").write_text("where a directory must be")
        assert send(running.port, bad, good) == ExitCode.PARTLY_DONE
        assert running.stop() == 0
    assert "0xA700" in running.log
    assert list(stored(tmp_path / "archive")) == ["1.2.3.1.1"]


def test_who_may_call_whom(tmp_path: Path) -> None:
    options = ("-aet", "ARCHIVE", "--check-called-ae-title", "--allow-calling-ae-title", "WARD")
    with receiver(tmp_path / "archive", *options, "--bind", "127.0.0.1") as running:
        with pytest.raises(AssociationRejectedError, match="called AE title"):
            associate(running.port, calling_ae_title="WARD", called_ae_title="OTHER")
        with pytest.raises(AssociationRejectedError, match="calling AE title"):
            associate(running.port, called_ae_title="ARCHIVE")
        associate(running.port, calling_ae_title="WARD", called_ae_title="ARCHIVE").release()
        assert running.stop() == 0
    assert "rejected an association from 'SCU' to 'ARCHIVE'" in running.log


def test_how_many_at_a_time(tmp_path: Path) -> None:
    with receiver(tmp_path / "archive", "--max-associations", "1") as running:
        association = associate(running.port)
        with pytest.raises(AssociationRejectedError, match="local limit"):
            associate(running.port)
        association.release()
        assert running.stop() == 0


def test_dcmtks_options_that_are_always_so(tmp_path: Path) -> None:
    options = ("+B", "+xa", "-pm", "--fork", "-dhl", "+F", "-pdu", "16384", "-ta", "5", "-td", "1e9")
    write(tmp_path / "in" / "a.dcm", "1.2.3.1.9")
    with receiver(tmp_path / "archive", *options) as running:
        assert send(running.port, tmp_path / "in") == 0
        assert running.stop(signal.SIGINT) == 0
    assert list(stored(tmp_path / "archive")) == ["1.2.3.1.9"]


def test_the_log_as_json_lines(tmp_path: Path) -> None:
    write(tmp_path / "in" / "a.dcm", "1.2.3.1.9")
    with receiver(tmp_path / "archive", "--log-format", "json") as running:
        assert send(running.port, tmp_path / "in") == 0
        assert running.stop() == 0
    records = [json.loads(line) for line in running.log.splitlines()]
    assert {"stored 1.2.3.1.9 from STORESCU"} <= {record["message"] for record in records}
    assert {record["level"] for record in records} == {"info"}


def test_a_second_signal_does_not_wait(tmp_path: Path) -> None:
    command = C_STORE_RQ(message_id=1, affected_sop_class_uid=CT, affected_sop_instance_uid="1.2.3.1.1").encode()
    with receiver(tmp_path / "archive") as running, Rude(running.port) as peer:
        peer.associate(rq([PresentationContextRQ(1, CT, (EXPLICIT,))]))
        peer.send(pdv(1, 3, command) + pdv(1, 0, image("1.2.3.1.1")[:100]))
        assert wait_until(lambda: bool(arriving(tmp_path / "archive")), 20)
        running.process.send_signal(signal.SIGTERM)
        assert wait_until(lambda: not listens(running.port), 20)
        assert running.stop() == 0
        assert peer.read()[0] in (0, 7)
    assert "stopped again: not waiting for messages in progress" in running.log
    assert stored(tmp_path / "archive") == {}


def arriving(archive: Path) -> list[Path]:
    """Objects on their way in."""
    return [path for path in (archive / ".dcmkit" / "incoming").glob("*/*") if path.name.isdigit()]


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except ConnectionRefusedError:
        return False
    except ConnectionResetError:
        pass  # it closed in between
    return True


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


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_an_output_directory_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        assert start("11112", "-od", str(tmp_path / "archive")).returncode == ExitCode.INVALID_OUTPUT_DIRECTORY
    finally:
        tmp_path.chmod(0o700)


def test_an_address_that_is_not_ours(tmp_path: Path) -> None:
    result = start("11112", "--bind", "203.0.113.9", "-od", str(tmp_path / "archive"))
    assert result.returncode == ExitCode.CANNOT_LISTEN
    assert "not one of this machine" in result.stderr
    assert not (tmp_path / "archive").exists()


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
        ("11112", "--max-associations", "0"),
        ("11112", "--workers", "0"),
        ("11112", "12"),
        ("11112", "+tls", "key.pem", "cert.pem"),
        ("11112", "--exec-on-reception", "rm -rf #p"),
        ("11112", "-ss", "x"),
        ("11112", "--forward", "nobody"),
        ("11112", "--forward-delete"),
        ("11112", "--forward", "pacs:104", "--ignore"),
        ("11112", "--anonymize", "basic"),
        ("11112", "--anonymize", "all"),
    ],
)
def test_bad_usage(arguments: tuple[str, ...], tmp_path: Path) -> None:
    result = start(*arguments, "-od", str(tmp_path / "archive"))
    assert result.returncode == ExitCode.BAD_USAGE
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "archive").exists()
