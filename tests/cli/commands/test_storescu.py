"""dcmkit storescu against peers that take everything, little, or nothing: what is sent, said, reported, returned."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from click.testing import CliRunner, Result
from pydicom.data import get_testdata_file
from pynetdicom import AE, evt
from pynetdicom.events import Event

from dcmkit.cli.group import group
from dcmkit.dataset.part10 import file_meta, read_file_header
from dcmkit.errors import ExitCode, ListenError
from dcmkit.net.association import Association
from dcmkit.net.dispatch import AssociationThreads
from dcmkit.net.listener import Listener, bind
from dcmkit.protocol.message import C_STORE_RQ, C_STORE_RSP, Message
from dcmkit.services.application_entity import ApplicationEntity
from dcmkit.settings import AssociationSettings, ListenerSettings
from dcmkit.uids import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, STORAGE_SOP_CLASSES
from tests.archive.objects import CT, MR, image
from tests.net.server import listening

ANY = [*pydicom.uid.UncompressedTransferSyntaxes, *pydicom.uid.AllTransferSyntaxes]


# --- peers ---


class Answers:
    """A storage SCP of dcmkit's engine that answers as it is told.

    Args:
        statuses: for one object after the other, the last for all that follow; None aborts.

    Attributes:
        received: data sets by SOP Instance UID.
        associations: how many there were with an object.
    """

    def __init__(self, *statuses: int | None, comment: str = "") -> None:
        self.received: dict[str, bytes] = {}
        self.associations: list[Association] = []
        self.hold: threading.Event | None = None
        self.arrived = threading.Event()
        self.handlers: dict[type[Message], Callable[[Association, int, Message], None]] = {C_STORE_RQ: self._store}
        self._statuses = [*statuses] or [0]
        self._comment = comment or None

    def transfer_syntaxes(self, abstract_syntax: str) -> Sequence[str] | None:
        return ()

    def _store(self, association: Association, context_id: int, message: Message) -> None:
        assert isinstance(message, C_STORE_RQ)
        if association not in self.associations:
            self.associations.append(association)
        data = association.read_data_set()
        self.arrived.set()
        if self.hold is not None:
            self.hold.wait(20)
        status = self._statuses.pop(0) if len(self._statuses) > 1 else self._statuses[0]
        if status is None:
            association.abort()
            return
        if status >> 12 != 0xA:
            self.received[message.affected_sop_instance_uid] = data
        response = C_STORE_RSP(
            message_id_being_responded_to=message.message_id, status=status, error_comment=self._comment
        )
        association.send(context_id, response)


@contextmanager
def peer(answers: Answers | None = None, **settings: object) -> Iterator[Listener]:
    association = AssociationSettings(calling_ae_title="SCP")
    with listening((answers or Answers(),), association, ListenerSettings(**settings)) as listener:
        yield listener


class Independent:
    """pynetdicom's storage SCP, taking these transfer syntaxes only."""

    def __init__(self, sop_classes: Sequence[str], syntaxes: Sequence[str]) -> None:
        self.received: dict[str, tuple[str, bytes]] = {}
        """Transfer syntax and data set by SOP Instance UID."""
        entity = AE("SCP")
        for sop_class in sop_classes:
            entity.add_supported_context(sop_class, list(dict.fromkeys(syntaxes)))
        self._server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, self._store)])
        self.port: int = self._server.server_address[1]

    def _store(self, event: Event) -> int:
        self.received[event.request.AffectedSOPInstanceUID] = (
            event.context.transfer_syntax,
            event.request.DataSet.getvalue(),
        )
        return 0x0000

    def __enter__(self) -> Independent:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()

    def pixels(self, uid: str) -> np.ndarray:
        """As pydicom reads them."""
        syntax, data = self.received[uid]
        assert syntax in (IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN)
        data_set = pydicom.filereader.read_dataset(BytesIO(data), syntax == IMPLICIT_VR_LITTLE_ENDIAN, True)
        data_set.file_meta = pydicom.dataset.FileMetaDataset()
        data_set.file_meta.TransferSyntaxUID = syntax
        return data_set.pixel_array


# --- running it ---


def run(*args: object) -> Result:
    """In this process."""
    return CliRunner().invoke(group, ["storescu", *map(str, args)])


def run_apart(*args: object, **how: object) -> subprocess.CompletedProcess[str]:
    """In a process of its own, so that stderr is its own."""
    command = [sys.executable, "-m", "dcmkit", "storescu", *map(os.fspath, map(_text, args))]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **how)  # type: ignore[call-overload, no-any-return]


def _text(argument: object) -> str | bytes:
    return argument if isinstance(argument, (str, bytes)) else str(argument)


def write(path: Path, uid: str, sop_class: str = CT, **how: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        file_meta(sop_class, uid, EXPLICIT_VR_LITTLE_ENDIAN) + image(uid, sop_class=sop_class, **how)  # type: ignore[arg-type]
    )
    return path


def some_files(directory: Path, number: int) -> list[Path]:
    return [write(directory / f"{i:02}.dcm", f"1.2.3.{i}") for i in range(number)]


def sample(name: str) -> Path:
    path = get_testdata_file(name, download=False)
    assert isinstance(path, str), f"{name} is not bundled with pydicom"
    return Path(path)


def rows(report: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in report.read_text().splitlines()]


# --- all goes well ---


def test_files_and_directories_are_sent_as_they_are_and_nothing_is_said(tmp_path: Path) -> None:
    some_files(tmp_path / "a", 2)
    write(tmp_path / "a" / "deeper" / "still" / "no-suffix", "1.2.4")
    single = write(tmp_path / "b.dcm", "1.2.5")
    answers = Answers()
    with peer(answers) as listener:
        result = run_apart("127.0.0.1", listener.port, tmp_path / "a", single)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert sorted(answers.received) == ["1.2.3.0", "1.2.3.1", "1.2.4", "1.2.5"]
    assert answers.received["1.2.4"] == image("1.2.4")
    assert len(answers.associations) == 1


def test_verbose_tells_each_file_and_the_sum(tmp_path: Path) -> None:
    files = some_files(tmp_path, 2)
    with peer() as listener:
        result = run_apart("-v", "127.0.0.1", listener.port, *files)
    lines = result.stderr.splitlines()
    assert [line.startswith(f"I: {file}: stored in ") for file, line in zip(files, lines, strict=False)] == [True] * 2
    assert lines[-1] == "I: 2 stored, 0 failed"
    assert "Doe" not in result.stderr


def test_over_ipv6(tmp_path: Path) -> None:
    answers = Answers()
    settings = AssociationSettings()
    ae = ApplicationEntity((answers,), settings, ListenerSettings())
    try:
        sockets = bind(("::1",), 0)
    except ListenError as error:
        pytest.skip(str(error))
    listener = Listener(sockets, AssociationThreads(ae.decide, ae.serve, settings, limit=5))
    thread = threading.Thread(target=listener.run)
    thread.start()
    try:
        for host in ("::1", "[::1]"):
            assert run(host, listener.port, *some_files(tmp_path, 1)).exit_code == 0
    finally:
        listener.stop()
        thread.join(20)
    assert len(answers.associations) == 2


BUNDLED = (
    "CT_small.dcm", "JPEG2000.dcm", "MR_small_RLE.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm",
    "SC_rgb_jpeg_dcmtk.dcm", "image_dfl.dcm", "reportsi.dcm", "rtplan.dcm", "waveform_ecg.dcm",
)  # fmt: skip


def test_an_independent_peer_gets_the_very_bytes(tmp_path: Path) -> None:
    files = [sample(name) for name in BUNDLED]
    headers = [read_file_header(file) for file in files]
    report = tmp_path / "report"
    with Independent([header.sop_class_uid for header in headers], ANY) as independent:
        result = run("127.0.0.1", independent.port, *files, "--report", report)
    assert (result.exit_code, result.output) == (0, "")
    for file, row in zip(files, rows(report), strict=True):
        header = read_file_header(file)
        assert (row["file"], row["transcoded"]) == (str(file), False)
        data = file.read_bytes()[header.offset :]
        syntax, received = independent.received[header.sop_instance_uid]
        if file.name not in ("MR_small_bigendian.dcm", "MR_small_implicit.dcm", "MR_small_RLE.dcm"):  # one instance
            assert (syntax, received) == (header.transfer_syntax_uid, data + b"\0" * (len(data) % 2))


# --- some of it fails ---


def test_what_is_broken_is_told_and_passed_over(tmp_path: Path) -> None:
    write(tmp_path / "good.dcm", "1.2.3")
    whole = write(tmp_path / "truncated.dcm", "1.2.4", pixels=bytes(5000)).read_bytes()
    (tmp_path / "truncated.dcm").write_bytes(whole[:-1000])
    (tmp_path / "notes.txt").write_text("nothing to see here\n" * 20)
    (tmp_path / "empty").touch()
    answers = Answers()
    report = tmp_path.parent / f"{tmp_path.name}.jsonl"
    with peer(answers) as listener:
        result = run_apart("127.0.0.1", listener.port, "+sd", tmp_path, "--report", report)
    assert result.returncode == ExitCode.PARTLY_DONE
    assert list(answers.received) == ["1.2.3"]
    told = sorted(line.split(": ", 1) for line in result.stderr.splitlines())
    assert [(Path(path).name, text) for path, text in told] == [
        ("empty", "the file is empty"),
        ("notes.txt", "the file is not a DICOM file (it lacks the DICM prefix)"),
        ("truncated.dcm", "the data set is truncated in (7FE0,0010)"),
    ]
    assert result.stdout == ""
    by_name = {Path(str(row["file"])).name: row for row in rows(report)}
    assert {name: row["status"] for name, row in by_name.items()} == {
        "good.dcm": "0000", "truncated.dcm": None, "notes.txt": None, "empty": None,
    }  # fmt: skip
    assert by_name["empty"]["comment"] == "the file is empty"


def test_a_refusal_for_every_object_is_nothing_done(tmp_path: Path) -> None:
    files = some_files(tmp_path, 2)
    with peer(Answers(0xA700, comment="out of disk space")) as listener:
        result = run_apart("127.0.0.1", listener.port, *files)
    assert result.returncode == ExitCode.NOTHING_DONE
    assert result.stderr.splitlines() == [f"{file}: refused with status 0xA700: out of disk space" for file in files]


def test_a_refusal_without_a_comment_is_put_into_words(tmp_path: Path) -> None:
    with peer(Answers(0, 0xA900)) as listener:
        result = run_apart("127.0.0.1", listener.port, *some_files(tmp_path, 2))
    assert result.returncode == ExitCode.PARTLY_DONE
    assert "status 0xA900: " in result.stderr
    assert "does not match" in result.stderr


@pytest.mark.parametrize("status", [0xB000, 0xB006, 0xB007])
def test_a_warning_counts_as_stored(tmp_path: Path, status: int) -> None:
    (file,) = some_files(tmp_path, 1)
    with peer(Answers(status, comment="changed a little")) as listener:
        result = run_apart("127.0.0.1", listener.port, file)
        assert result.returncode == 0
        assert result.stderr == f"W: {file}: stored with warning 0x{status:04X}: changed a little\n"
        assert run_apart("-q", "127.0.0.1", listener.port, file).stderr == ""


def test_after_an_abort_the_rest_goes_in_a_new_association(tmp_path: Path) -> None:
    files = some_files(tmp_path, 8)
    answers = Answers(0, 0, 0, None, 0)
    with peer(answers) as listener:
        result = run_apart("127.0.0.1", listener.port, tmp_path)
    assert result.returncode == ExitCode.PARTLY_DONE
    assert len(answers.associations) == 2
    assert sorted(answers.received) == [f"1.2.3.{i}" for i in range(8) if i != 3]
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"{files[3]}: peer aborted the association")


def test_a_peer_that_always_aborts_is_left_alone(tmp_path: Path) -> None:
    some_files(tmp_path, 8)
    answers = Answers(None)
    with peer(answers) as listener:
        result = run_apart("127.0.0.1", listener.port, tmp_path)
    assert result.returncode == ExitCode.NOTHING_DONE
    assert len(answers.associations) == 3
    assert len(result.stderr.splitlines()) == 8


def test_names_from_the_disk_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    try:
        (tmp_path / "a\x1b[2Jb\nc").write_text("no DICOM")
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")).write_text("no DICOM")
    except OSError as error:
        pytest.skip(str(error))
    report = tmp_path.parent / f"{tmp_path.name}.jsonl"
    result = run_apart("127.0.0.1", 1, tmp_path, "--report", report)
    assert result.returncode == ExitCode.NO_VALID_INPUT_FILES
    assert "\x1b" not in result.stderr
    assert "a\\x1b[2Jb\\nc: the file is not" in result.stderr
    assert "caf\\udce9: the file is not" in result.stderr
    assert [os.fsencode(str(row["file"]))[-4:] for row in rows(report)] == [b"Jb\nc", b"caf\xe9"]


# --- peers that take little ---


CONVERTED = (
    "CT_small.dcm", "JPEG2000.dcm", "MR_small_RLE.dcm", "SC_rgb_rle_2frame.dcm", "image_dfl.dcm", "693_J2KI.dcm",
)  # fmt: skip


def test_a_peer_of_implicit_vr_only_gets_equal_pixels_and_it_is_said(tmp_path: Path) -> None:
    files = [sample(name) for name in CONVERTED]
    headers = [read_file_header(file) for file in files]
    report = tmp_path / "report"
    classes = [header.sop_class_uid for header in headers]
    with Independent(classes, [IMPLICIT_VR_LITTLE_ENDIAN]) as independent:
        result = run_apart("127.0.0.1", independent.port, *files, "--report", report)
    assert result.returncode == 0
    assert [row["transcoded"] for row in rows(report)] == [True] * len(files)
    for file, header in zip(files, headers, strict=True):
        assert independent.received[header.sop_instance_uid][0] == IMPLICIT_VR_LITTLE_ENDIAN
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert np.array_equal(independent.pixels(header.sop_instance_uid), pydicom.dcmread(file).pixel_array)
    for syntax in ("Explicit VR Little Endian", "JPEG 2000 Image Compression", "RLE Lossless", "Deflated Explicit VR"):
        assert f"W: {syntax}" in result.stderr
    assert result.stderr.count("is converted to Implicit VR Little Endian") == 4  # once for each syntax
    assert result.stderr.count("\n") == 4


def test_never_transcode_sends_as_it_is_or_not_at_all(tmp_path: Path) -> None:
    rle, implicit = sample("MR_small_RLE.dcm"), sample("rtplan.dcm")
    classes = [read_file_header(file).sop_class_uid for file in (rle, implicit)]
    with Independent(classes, [IMPLICIT_VR_LITTLE_ENDIAN]) as independent:
        result = run("127.0.0.1", independent.port, rle, implicit, "--never-transcode")
        assert result.exit_code == ExitCode.PARTLY_DONE
        assert list(independent.received) == [read_file_header(implicit).sop_instance_uid]
        assert "peer does not take MR Image Storage in RLE Lossless (leave out --never-transcode)" in result.stderr
        result = run("127.0.0.1", independent.port, rle, "--never-transcode")
    assert result.exit_code == ExitCode.NO_PRESENTATION_CONTEXT


def test_a_truncated_file_is_not_converted_either(tmp_path: Path) -> None:
    """Half an image is no image, in whatever syntax."""
    with Independent([MR], [IMPLICIT_VR_LITTLE_ENDIAN]) as independent:
        result = run("127.0.0.1", independent.port, sample("MR_truncated.dcm"))
    assert result.exit_code == ExitCode.NOTHING_DONE
    assert "the data set ends inside a value" in result.stderr
    assert independent.received == {}


def test_a_peer_that_takes_no_such_objects(tmp_path: Path) -> None:
    ct, mr = write(tmp_path / "ct", "1.2.3"), write(tmp_path / "mr", "1.2.4", MR)
    with Independent([MR], ANY) as independent:
        result = run("127.0.0.1", independent.port, ct)
        assert result.exit_code == ExitCode.NO_PRESENTATION_CONTEXT
        assert "no presentation context for CT Image Storage" in result.stderr
        assert "the peer does not support it" in result.stderr
        assert run("127.0.0.1", independent.port, ct, mr).exit_code == ExitCode.PARTLY_DONE
        (tmp_path / "text").write_text("no DICOM")
        assert run("127.0.0.1", independent.port, ct, tmp_path / "text").exit_code == ExitCode.NOTHING_DONE


def test_more_contexts_than_an_association_holds(tmp_path: Path) -> None:
    classes = [*STORAGE_SOP_CLASSES][:70]
    for number, sop_class in enumerate(classes):
        write(tmp_path / str(number), f"1.2.3.{number}", sop_class)
    answers = Answers()
    with peer(answers) as listener:
        result = run("127.0.0.1", listener.port, tmp_path)
    assert (result.exit_code, result.output) == (0, "")
    assert len(answers.associations) == 2
    assert len(answers.received) == 70
    assert max(len(association.rq.presentation_contexts) for association in answers.associations) <= 128


# --- peers that take nothing ---


def test_refused(tmp_path: Path) -> None:
    report = tmp_path / "report"
    with peer(check_called_ae_title=True) as listener:
        result = run_apart("127.0.0.1", listener.port, *some_files(tmp_path, 2), "--report", report)
    assert result.returncode == ExitCode.ASSOCIATION_REFUSED
    (line,) = result.stderr.splitlines()
    assert line.startswith("dcmkit storescu: error: peer refused the association: called AE title not recognised")
    assert rows(report) == []


def test_nobody_listens(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    result = run("127.0.0.1", port, *some_files(tmp_path, 1))
    assert result.exit_code == ExitCode.ASSOCIATION_REFUSED
    assert "nothing listens" in result.stderr


def test_what_cannot_be_a_host(tmp_path: Path) -> None:
    result = run("a..b", 104, *some_files(tmp_path, 1))
    assert result.exit_code == ExitCode.ASSOCIATION_REFUSED
    assert "cannot be a host name" in result.stderr


def test_a_peer_that_never_answers(tmp_path: Path) -> None:
    answers = Answers()
    answers.hold = threading.Event()
    with peer(answers) as listener:
        result = run("127.0.0.1", listener.port, *some_files(tmp_path, 1), "-td", "0.05")
        answers.hold.set()
    assert result.exit_code == ExitCode.NOTHING_DONE
    assert "silent for 0.05 s" in result.stderr


@pytest.mark.skipif(os.name != "posix", reason="no SIGINT to send here")
def test_interrupted_by_the_user(tmp_path: Path) -> None:
    answers = Answers()
    answers.hold = threading.Event()
    files = some_files(tmp_path, 3)
    with peer(answers) as listener:
        command = [sys.executable, "-m", "dcmkit", "storescu", "127.0.0.1", str(listener.port), *map(str, files)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            try:
                assert answers.arrived.wait(20)
                process.send_signal(signal.SIGINT)
                _, said = process.communicate(timeout=20)
            finally:
                process.kill()
                answers.hold.set()
    assert process.returncode == ExitCode.INTERRUPTED
    assert "Traceback" not in said


# --- the command line ---


def test_nothing_to_send(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").write_text("no DICOM")
    for args, code in (
        ((), ExitCode.NO_INPUT_FILES),
        ((tmp_path / "empty",), ExitCode.NO_INPUT_FILES),
        ((tmp_path / "text",), ExitCode.NO_VALID_INPUT_FILES),
        ((tmp_path / "gone",), ExitCode.NO_VALID_INPUT_FILES),
    ):
        result = run("127.0.0.1", 1, *args)
        assert (result.exit_code, result.stderr.count("\n")) == (code, 1), result.stderr


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ((), "HOST PORT or @NODE is missing"),
        (("localhost",), "port of localhost is missing"),
        (("localhost", "0"), "port"),
        (("localhost", "dicom", "x"), "port"),
        (("@nowhere", "x"), "nowhere"),
        (("localhost", "104", "x", "--max-pdu", "1"), "too small"),
        (("localhost", "104", "x", "-ta", "soon"), "not a number"),
        (("localhost", "104", "x", "--reprot", "y"), "did you mean --report?"),
        (("localhost", "104", "x", "--report"), "needs a value"),
        (("localhost", "104", "x", "--password", "p"), "password without a user"),
        (("localhost", "104", "x", "+tls", "key", "cert"), "does not have it yet"),
        (("localhost", "104", "x", "-xe"), "does not have it yet"),
        (("localhost", "104", "x", "--repeat", "2"), "does not have it yet"),
        (("localhost", "104", "x", "+IP", "1"), "does not have it yet"),
        (("localhost", "104", "x", "-sd"), "no such option: -sd (did you mean +sd?)"),
    ],
)
def test_bad_usage(args: tuple[str, ...], words: str) -> None:
    result = run(*args)
    assert result.exit_code == ExitCode.BAD_USAGE
    assert words in result.stderr
    assert result.stderr.count("\n") == 1


def test_dcmtks_options_for_directories(tmp_path: Path) -> None:
    some_files(tmp_path, 2)
    write(tmp_path / "IM0001", "1.2.4")
    write(tmp_path / "sub" / "IM0002", "1.2.5")
    for options, expected in (
        (["+sd", "+r"], ["1.2.3.0", "1.2.3.1", "1.2.4", "1.2.5"]),
        (["--scan-directories", "-r"], ["1.2.3.0", "1.2.3.1", "1.2.4"]),
        (["--no-recurse"], ["1.2.3.0", "1.2.3.1", "1.2.4"]),
        (["+sd", "+r", "+sp", "IM*"], ["1.2.4", "1.2.5"]),
        (["--scan-pattern", "*.dcm", "-nh", "-R"], ["1.2.3.0", "1.2.3.1"]),
    ):
        answers = Answers()
        with peer(answers) as listener:
            assert run(*options, "127.0.0.1", listener.port, tmp_path).exit_code == 0
        assert sorted(answers.received) == expected


def test_options_and_operands_in_any_order(tmp_path: Path) -> None:
    (file,) = some_files(tmp_path, 1)
    with peer(check_called_ae_title=True) as listener:
        assert run("127.0.0.1", listener.port, file, "-aec", "SCP", "-aet", "ME").exit_code == 0
        assert run("-aec", "SCP", "127.0.0.1", "-aet", "ME", listener.port, "--", file).exit_code == 0


def test_a_node_and_a_list_of_files(tmp_path: Path) -> None:
    files = some_files(tmp_path / "in", 3)
    listed = tmp_path / "list.txt"
    listed.write_text("\n".join(map(str, files)))
    answers = Answers()
    with peer(answers, check_called_ae_title=True) as listener:
        config = tmp_path / "xdg" / "dcmkit" / "config.toml"
        config.parent.mkdir(parents=True)
        config.write_text(
            f'[nodes.pacs]\nhost = "127.0.0.1"\nport = {listener.port}\ncalled_ae_title = "SCP"\n'
            '[storescu]\ncalling_ae_title = "WARD"\n'
        )
        result = run("@pacs", f"@{listed}")
    assert (result.exit_code, result.output) == (0, "")
    assert len(answers.received) == 3
    assert answers.associations[0].rq.calling_ae_title == "WARD"


def test_files_without_file_meta_information(tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.write_bytes(image("1.2.3"))
    answers = Answers()
    with peer(answers) as listener:
        assert run("127.0.0.1", listener.port, bare).exit_code == ExitCode.NO_VALID_INPUT_FILES
        assert run("127.0.0.1", listener.port, bare, "-f").exit_code == 0
    assert answers.received == {"1.2.3": image("1.2.3")}


# --- the report ---


def test_the_report_has_a_line_for_each_file(tmp_path: Path) -> None:
    files = some_files(tmp_path / "in", 3)
    report = tmp_path / "report.jsonl"
    with peer(Answers(0, 0xA700, None, comment="so so")) as listener:
        result = run("127.0.0.1", listener.port, *files, "--report", report)
    assert result.exit_code == ExitCode.PARTLY_DONE
    first, second, third = rows(report)
    assert first == {
        "file": str(files[0]),
        "sop_class_uid": CT,
        "sop_instance_uid": "1.2.3.0",
        "status": "0000",
        "comment": "so so",
        "seconds": first["seconds"],
        "bytes": len(image("1.2.3.0")),
        "transcoded": False,
    }
    assert 0 < float(str(first["seconds"])) < 20
    assert (second["status"], second["comment"]) == ("A700", "so so")
    assert third["status"] is None
    assert "aborted" in str(third["comment"])


def test_a_report_that_cannot_be_written_is_known_before_anything_is_sent(tmp_path: Path) -> None:
    answers = Answers()
    with peer(answers) as listener:
        for report in (tmp_path, tmp_path / "gone" / "report"):
            result = run("127.0.0.1", listener.port, *some_files(tmp_path, 1), "--report", report)
            assert result.exit_code == ExitCode.CANNOT_WRITE_REPORT
            assert str(report) in result.stderr
    assert answers.received == {}


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no full disk at hand")
@pytest.mark.parametrize("number", [1, 60])
def test_a_full_disk_under_the_report(tmp_path: Path, number: int) -> None:
    """Whether it shows at the end or on the way."""
    with peer() as listener:
        result = run_apart("127.0.0.1", listener.port, *some_files(tmp_path, number), "--report", "/dev/full")
    assert result.returncode == ExitCode.CANNOT_WRITE_REPORT
    assert result.stderr.count("\n") == 1
    assert "report /dev/full cannot be written: No space left" in result.stderr
