"""dcmkit qrscp as its own process: out of the box, from a dcmqrscp.cfg, from TOML, and what it refuses."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dcmkit.cli.commands.qrscp import command as qrscp
from dcmkit.cli.commands.storescu import command as storescu
from dcmkit.errors import AssociationRejectedError, ExitCode
from dcmkit.protocol.pdu import PresentationContextRQ
from dcmkit.services.models import STUDY_ROOT
from tests.archive.objects import EXPLICIT, part10
from tests.cli.commands.test_web import get
from tests.cli.commands.test_web import running as served
from tests.net.server import associate, listening
from tests.services.test_find import answers, send
from tests.services.test_identifier import identifier
from tests.services.test_retrieve import Receiver, move

FIND = PresentationContextRQ(1, STUDY_ROOT.find, (EXPLICIT,))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@contextmanager
def running(*arguments: str, workers: int = 1) -> Iterator[subprocess.Popen[str]]:
    """A `dcmkit qrscp` that listens; ended in order."""
    words = [sys.executable, "-m", "dcmkit", "qrscp", *arguments, "--bind", "127.0.0.1", "--durability", "none", "-v"]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        log = ""
        for line in process.stderr:
            log += line
            if "listens on port" in line:
                break
        assert process.poll() is None, log
        yield process
        process.send_signal(signal.SIGTERM)
        _, rest = process.communicate(timeout=30)
        assert process.returncode == 0, log + rest
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def files(directory: Path, count: int = 3) -> Path:
    directory.mkdir()
    for number in range(count):
        path = directory / f"{number}.dcm"
        path.write_bytes(part10(f"1.1.{number}", study="1.1", series="1.1.0", instance=number))
    return directory


def store(port: int, title: str, path: Path) -> int:
    code = storescu.main(["127.0.0.1", str(port), "-aec", title, str(path)], standalone_mode=False)
    assert isinstance(code, int)
    return code


def studies(port: int, title: str, **settings: str) -> list[str]:
    association = associate(port, FIND, called_ae_title=title, **settings)
    send(association, identifier(NumberOfStudyRelatedInstances=""))
    found = answers(association)[0]
    association.release()
    return [str(each[0x00201208].value) for each in found]


@pytest.mark.parametrize("workers", [1, 2])
def test_out_of_the_box(tmp_path, workers):
    port = free_port()
    receiver = Receiver()
    with (
        listening([receiver]) as peer,
        running(
            str(port),
            *("-od", str(tmp_path / "archive"), "--workers", str(workers)),
            *("--move-destination", f"VIEWER=127.0.0.1:{peer.port}"),
        ),
    ):
        assert store(port, "ANYTHING", files(tmp_path / "files")) == 0
        deadline = time.monotonic() + 20
        while studies(port, "ANYTHING") != ["3"]:  # another worker's rows may come a moment later
            assert time.monotonic() < deadline
        assert move(port, destination="VIEWER")[1].status == 0
        assert move(port, destination="OTHER")[1].status == 0xA801
    assert len(receiver.requests) == 3


def test_as_dcmqrscp_is_configured(tmp_path):
    port = free_port()
    configuration = tmp_path / "dcmqrscp.cfg"
    configuration.write_text(
        f"""
NetworkTCPPort = {port}
MaxPDUSize = 16384
MaxAssociations = 4
HostTable BEGIN
scu = (SCU, 127.0.0.1, 104)
HostTable END
VendorTable BEGIN
VendorTable END
AETable BEGIN
RW {tmp_path / "rw"} RW (10, 1mb) ANY
MINE {tmp_path / "rw"} R (10, 1mb) scu
AETable END
"""
    )
    with running("-c", str(configuration)):
        assert store(port, "RW", files(tmp_path / "files")) == 0
        assert studies(port, "RW") == studies(port, "MINE") == ["3"]
        with pytest.raises(AssociationRejectedError, match="calling AE title"):
            studies(port, "MINE", calling_ae_title="STRANGER")
        with pytest.raises(AssociationRejectedError, match="called AE title"):
            studies(port, "NOBODY")
        association = associate(port, FIND, called_ae_title="RW")
        assert association.ac.user_information.maximum_length == 16384
        association.release()


def test_from_toml(tmp_path):
    port = free_port()
    configuration = tmp_path / "qrscp.toml"
    configuration.write_text(
        f'[qrscp]\nmax_results = 1\n[qrscp.ae.ONE]\ndirectory = "{tmp_path / "one"}"\naccess = "RW"\n'
        f'[qrscp.ae.TWO]\ndirectory = "{tmp_path / "two"}"\npeers = ["NOBODY"]\n'
    )
    for flag in ("-c", "--config"):
        with running(str(port), flag, str(configuration)):
            assert studies(port, "ONE") == []
            with pytest.raises(AssociationRejectedError):
                studies(port, "TWO")


def run(capsys, *arguments: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as caught:
        qrscp.main(list(arguments))
    code = caught.value.code
    assert isinstance(code, int)
    return code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "port is missing"),
        (("0x",), "not a port"),
        (("104", "--move-destination", "A=b"), "TITLE=HOST:PORT"),
        (("104", "-c", "/nowhere/at/all"), "cannot be read"),
        (("104", "-c", "/dev/null", "-od", "/"), "whole file system"),
        (("104", "--allow-shutdown"), "does not have it yet"),
        (("104", "+x"), "no such option"),
        (("104", "--max-results", "-1"), "too small"),
    ],
)
def test_what_cannot_be_is_refused(capsys, arguments, says):
    code, told = run(capsys, *arguments)
    assert code == ExitCode.BAD_USAGE
    assert says in told


def test_configurations_that_cannot_be(tmp_path, capsys):
    path = tmp_path / "a.cfg"
    for text, says in (
        ("AETable BEGIN\nAETable END\n", "serves no AE title"),
        ("AETable BEGIN\nA\nAETable END\n", "line 2"),
        ("[qrscp.ae.A]\nx = 1\n", "no such key"),
        ("[qrscp]\nae = 1\n", "no section"),
    ):
        path.write_text(text)
        code, told = run(capsys, "104", "-c", str(path))
        assert code == ExitCode.BAD_USAGE
        assert says in told
    path.write_text(f'[qrscp.ae.A]\ndirectory = "{tmp_path}"\n')
    code, told = run(capsys, "104", "-c", str(path), "-od", str(tmp_path))
    assert code == ExitCode.BAD_USAGE
    assert "several" in told


def test_files_that_are_no_configuration(tmp_path, capsys):
    (tmp_path / "binary").write_bytes(bytes(range(256)))
    (tmp_path / "directory").mkdir()
    for name, says in (("binary", "byte 128"), ("directory", "Is a directory"), ("missing", "No such file")):
        code, told = run(capsys, "104", "-c", str(tmp_path / name))
        assert code == ExitCode.BAD_USAGE
        assert told.count("\n") == 1
        assert str(tmp_path / name) in told
        assert says in told


def test_unknown_keys_of_the_configuration_are_named_once(tmp_path, capsys):
    path = tmp_path / "a.toml"
    path.write_text('[qrscp]\ntime_zone = "+0100"\n[association]\nmax_pud = 1\n[qrscp.ae.A]\nx = 1\n')
    code, told = run(capsys, "104", "-c", str(path))
    assert code == ExitCode.BAD_USAGE
    assert told.count("[qrscp] time_zone: no such key; did you mean timezone? (ignored)") == 1
    assert told.count("[association] max_pud: no such key") == 1


def test_a_time_zone_that_is_none(capsys):
    code, told = run(capsys, "104", "--timezone", "Mars")
    assert code == ExitCode.BAD_USAGE
    assert "time zone 'Mars' is unknown" in told


def test_a_port_that_is_taken(tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, told = run(capsys, str(taken.getsockname()[1]), "-od", str(tmp_path), "--bind", "127.0.0.1")
    assert code == ExitCode.CANNOT_LISTEN
    assert "already in use" in told


def test_a_directory_that_cannot_be_used(tmp_path, capsys):
    (tmp_path / "file").write_text("x")
    code, told = run(capsys, str(free_port()), "-od", str(tmp_path / "file"), "--bind", "127.0.0.1")
    assert code == ExitCode.INVALID_OUTPUT_DIRECTORY
    assert "cannot be used" in told


def test_every_option_of_dcmqrscp_that_makes_sense_is_taken(capsys):
    flags = "-s --fork -ac -dhl -XF --no-check-find -XM --no-check-move --move-unrestricted -ZA -ZH -ZV -QP -QS -QO"
    flags += " --require-find --disable-get +x= +xs +xv -x= -xs -xd +Cr -Cr +A7 +U8 +L1 -Ct -Cd +B +F +t="
    code, told = run(
        capsys, "0", *flags.split(), "-to", "5", "-ta", "5", "-td", "5", "-pdu", "16384", "+C", "ISO_IR 100"
    )
    assert code == ExitCode.BAD_USAGE
    assert "port 0 is out of range" in told


@pytest.mark.parametrize("workers", [1, 2])
def test_dimse_and_dicomweb_over_one_archive(tmp_path, workers):
    port, web = free_port(), free_port()
    with served("qrscp", str(port), "-od", str(tmp_path / "archive"), "--web", str(web), "--workers", str(workers),
                "--bind", "127.0.0.1", says="listens on port " + str(port)) as process:  # fmt: skip
        assert get(web, "/dicom-web/count") == (200, b"0")
        assert store(port, "ANYTHING", files(tmp_path / "files")) == 0
        deadline = time.monotonic() + 20
        while get(web, "/dicom-web/count") != (200, b"3"):
            assert workers > 1, "what was stored is found in the same moment"
            assert time.monotonic() < deadline  # another worker's rows may come a moment later
        if workers > 1:
            with pytest.raises((http.client.HTTPException, OSError)):
                get(web, "/dicom-web/die")
            process.wait_for("died and is replaced")
            assert get(web, "/dicom-web/count") == (200, b"3")
            assert store(port, "ANYTHING", tmp_path / "files") == 0
        assert process.end() == 0
    for each in (port, web):
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", each), 5)
    left = [name for _, names, found in os.walk(tmp_path / "archive") for name in (*names, *found)]
    assert not [name for name in left if name.endswith((".part", "-wal"))]


def test_what_came_by_one_door_is_found_by_the_other_in_the_same_moment(tmp_path):
    port, web = free_port(), free_port()
    with running(str(port), "-od", str(tmp_path / "archive"), "--web", str(web)):
        assert store(port, "ANYTHING", files(tmp_path / "files")) == 0
        assert [study["00201208"]["Value"] for study in json.loads(get(web, "/dicom-web/studies")[1])] == [[3]]
        connection = http.client.HTTPConnection("127.0.0.1", web, timeout=30)
        body = part10("1.1.9", study="1.1", series="1.1.0", instance=9)
        connection.request("POST", "/dicom-web/studies", body, {"Content-Type": "application/dicom"})
        assert connection.getresponse().status == 200
        connection.close()
        assert studies(port, "ANYTHING") == ["4"]


def test_dicomweb_of_one_of_several_archives(tmp_path):
    port, web = free_port(), free_port()
    configuration = tmp_path / "qrscp.toml"
    configuration.write_text(
        f'[qrscp.ae.ONE]\ndirectory = "{tmp_path / "one"}"\n[qrscp.ae.TWO]\ndirectory = "{tmp_path / "two"}"\n'
        '[web]\nroot = "/here"\n'
    )
    with served("qrscp", str(port), "-c", str(configuration), "--bind", "127.0.0.1",
                "--web", str(web), "--web-ae", "TWO", says="listens on port " + str(port)):  # fmt: skip
        assert store(port, "TWO", files(tmp_path / "files")) == 0
        assert get(web, "/here/count") == (200, b"3")


def test_dicomweb_that_cannot_be(capsys, tmp_path):
    code, said = run(capsys, "11112", "-od", str(tmp_path), "--web-ae", "ONE")
    assert (code, "--web-ae without --web" in said) == (ExitCode.BAD_USAGE, True)
    code, said = run(capsys, str(free_port()), "-od", str(tmp_path), "--web", str(free_port()), "--web-ae", "ONE")
    assert (code, "no AE title ONE" in said) == (ExitCode.BAD_USAGE, True)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, said = run(capsys, str(free_port()), "-od", str(tmp_path), "--web", str(taken.getsockname()[1]))
    assert (code, "another program" in said) == (ExitCode.CANNOT_LISTEN, True)
