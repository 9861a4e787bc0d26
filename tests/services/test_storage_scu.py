"""Sending files: planned, read ahead, streamed, converted, and reported each (PS3.4 Annex B)."""

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from dcmkit.dataset.part10 import FileHeader, read_file_header
from dcmkit.errors import AssociationRejectedError, ConnectError
from dcmkit.net.association import Association
from dcmkit.net.listener import Listener
from dcmkit.protocol.message import C_STORE_RQ, C_STORE_RSP, Message
from dcmkit.services import sending
from dcmkit.services.sending import PIECE, File, Sent
from dcmkit.services.storage_scu import GIVE_UP_AFTER, plan, send_files
from dcmkit.settings import AssociationSettings, ListenerSettings, RequestorSettings
from dcmkit.uids import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    STORAGE_SOP_CLASSES,
)
from tests.net.server import listening
from tests.services.objects import CT, MR, element, fresh_uid, image, implicit_image, part10

JPEG_BASELINE = "1.2.840.10008.1.2.4.50"
JPEG_2000 = "1.2.840.10008.1.2.4.90"


class Recorder:
    """A storage SCP that keeps what it gets and answers as it is told.

    Args:
        syntaxes: the transfer syntaxes it takes; () for all.
        answers: called with the number of the object (from 0); a status with its comment, or None to abort.

    Attributes:
        received: the data sets by SOP Instance UID, in the order of arrival.
        associations: how many there were.
    """

    def __init__(
        self,
        syntaxes: Sequence[str] = (),
        answers: Callable[[int], tuple[int, str] | None] = lambda number: (0, ""),
        before_answer: Callable[[str], None] = lambda uid: None,
    ) -> None:
        self.received: dict[str, bytes] = {}
        self.syntaxes: dict[str, str] = {}
        self.associations: list[Association] = []
        self.handlers: dict[type[Message], Callable[[Association, int, Message], None]] = {C_STORE_RQ: self._store}
        self._syntaxes = syntaxes
        self._answers = answers
        self._before_answer = before_answer
        self._number = 0

    def transfer_syntaxes(self, abstract_syntax: str) -> Sequence[str] | None:
        return self._syntaxes if abstract_syntax in STORAGE_SOP_CLASSES else None

    def _store(self, association: Association, context_id: int, message: Message) -> None:
        assert isinstance(message, C_STORE_RQ)
        if association not in self.associations:
            self.associations.append(association)
        data = association.read_data_set(64 * 1024 * 1024)
        uid = message.affected_sop_instance_uid
        verdict = self._answers(self._number)
        self._number += 1
        if verdict is None:
            association.abort()
            return
        self.received[uid] = data
        self.syntaxes[uid] = association.contexts.by_id(context_id)[1]
        self._before_answer(uid)
        response = C_STORE_RSP(
            message_id_being_responded_to=message.message_id, status=verdict[0], error_comment=verdict[1] or None
        )
        association.send(context_id, response)


@contextmanager
def recording(recorder: Recorder, **association: object) -> Iterator[Listener]:
    with listening((recorder,), AssociationSettings(calling_ae_title="SCP", **association)) as listener:
        yield listener


def send(port: int, files: Sequence[File], **how: object) -> list[Sent]:
    """Send, and what was reported."""
    reports: list[Sent] = []
    settings = RequestorSettings(calling_ae_title="SCU", called_ae_title="SCP", dimse_timeout=15.0)
    send_files("127.0.0.1", port, files, settings, report=reports.append, **how)  # type: ignore[arg-type]
    return reports


def stored_file(
    directory: Path, data: bytes | None = None, syntax: str = EXPLICIT_VR_LITTLE_ENDIAN, **how: object
) -> File:
    """A file on disk, and its header."""
    uid = fresh_uid()
    path = directory / f"{uid}.dcm"
    path.write_bytes(part10(uid, image(uid, **how) if data is None else data, syntax=syntax))  # type: ignore[arg-type]
    return File(str(path), read_file_header(path))


def data_set(file: File) -> bytes:
    return Path(file.path).read_bytes()[file.header.offset :]


def named(sop_class: str, syntax: str, number: int = 0) -> File:
    """A file that is only its header."""
    return File(f"{sop_class}-{number}", FileHeader(sop_class, f"1.2.{number}", syntax, 300, 10))


# --- the plan ---


def test_one_association_for_what_fits_into_one() -> None:
    files = [named(MR, JPEG_2000, 1), named(CT, EXPLICIT_VR_LITTLE_ENDIAN, 2), named(MR, JPEG_BASELINE, 3)]
    ((contexts, group),) = plan(files)
    assert group == files
    assert [(c.context_id, c.abstract_syntax, c.transfer_syntaxes) for c in contexts] == [
        (1, MR, (JPEG_2000,)),
        (3, MR, (JPEG_BASELINE,)),
        (5, MR, (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)),
        (7, CT, (EXPLICIT_VR_LITTLE_ENDIAN,)),
        (9, CT, (IMPLICIT_VR_LITTLE_ENDIAN,)),
    ]


def test_nothing_to_send_needs_no_association() -> None:
    assert plan([]) == []


def test_beyond_128_contexts_there_are_more_associations() -> None:
    files = [named(f"1.2.3.{i % 100}", JPEG_2000, i) for i in range(300)]
    groups = plan(files)
    assert len(groups) == 2
    for contexts, group in groups:
        assert len(contexts) <= 128
        assert {file.header.sop_class_uid for file in group} == {c.abstract_syntax for c in contexts}
        assert group == sorted(group, key=files.index)
    assert sorted((file for _, group in groups for file in group), key=files.index) == files


def test_a_sop_class_in_more_syntaxes_than_an_association_holds() -> None:
    """Every file still goes out once, in an association that proposes its own syntax."""
    files = [named(CT, f"1.2.3.{i % 150}", i) for i in range(300)]
    groups = plan(files)
    assert sorted((file for _, group in groups for file in group), key=files.index) == files
    for contexts, group in groups:
        proposed = {syntax for context in contexts for syntax in context.transfer_syntaxes}
        assert {file.header.transfer_syntax_uid for file in group} <= proposed


# --- sending ---


def test_files_arrive_as_they_are_and_each_is_reported(tmp_path: Path) -> None:
    files = [stored_file(tmp_path, pixels=bytes(100 * i)) for i in range(1, 20)]
    recorder = Recorder()
    with recording(recorder) as listener:
        reports = send(listener.port, files)
    assert [sent.path for sent in reports] == [file.path for file in files]
    assert list(recorder.received) == [file.header.sop_instance_uid for file in files]
    for file, sent in zip(files, reports, strict=True):
        assert recorder.received[sent.sop_instance_uid] == data_set(file)
        assert (sent.status, sent.comment, sent.transcoded, sent.stored) == (0, "", False, True)
        assert (sent.sop_class_uid, sent.size) == (CT, file.header.length)
        assert 0 < sent.seconds < 15
    assert len(recorder.associations) == 1


@pytest.mark.parametrize("max_pdu", [4096, 16384, 262144, 16777216])
@pytest.mark.parametrize("size", [PIECE - 200, PIECE, 5 * PIECE + 12346])
def test_large_files_are_streamed_byte_for_byte(tmp_path: Path, size: int, max_pdu: int) -> None:
    pixels = b"".join(number.to_bytes(4, "big") for number in range(size // 4)) + bytes(size % 4)
    files = [stored_file(tmp_path, pixels=pixels), stored_file(tmp_path), stored_file(tmp_path, pixels=pixels[::-1])]
    recorder = Recorder()
    with recording(recorder, max_pdu=max_pdu) as listener:
        reports = send(listener.port, files)
    assert [sent.status for sent in reports] == [0, 0, 0]
    assert [recorder.received[file.header.sop_instance_uid] == data_set(file) for file in files] == [True] * 3


@pytest.mark.parametrize("size", [3, PIECE - 301, PIECE + 1001, 3 * PIECE + 7])
def test_an_odd_data_set_is_padded(tmp_path: Path, size: int) -> None:
    """PS3.8 Annex E wants fragments of even length, PS3.5 7.1.1 even values: many writers keep neither."""
    uid = fresh_uid()
    data = image(uid)[: -len(element(0x7FE00010, b"OW", b"1234"))]
    data += element(0x7FE00010, b"OB", bytes(range(1, 256)) * (size // 255) + b"\1" * (size % 255), length=size)
    assert len(data) % 2
    file = stored_file(tmp_path, data)
    recorder = Recorder()
    with recording(recorder) as listener:
        reports = send(listener.port, [file, stored_file(tmp_path)])
    assert [sent.status for sent in reports] == [0, 0]
    assert recorder.received[file.header.sop_instance_uid] == data + b"\0"


def test_the_next_file_is_read_while_the_peer_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [stored_file(tmp_path) for _ in range(3)]
    read: dict[str, threading.Event] = {file.path: threading.Event() for file in files}
    real = os.open

    def noted(path: str, flags: int, *rest: int, **more: int) -> int:
        descriptor = real(path, flags, *rest, **more)
        if path in read:
            read[path].set()
        return descriptor

    monkeypatch.setattr(sending.os, "open", noted)
    following = {one.header.sop_instance_uid: other.path for one, other in pairwise(files)}

    def before_answer(uid: str) -> None:
        if uid in following:
            assert read[following[uid]].wait(10), "not read before the answer"

    recorder = Recorder(before_answer=before_answer)
    with recording(recorder) as listener:
        reports = send(listener.port, files)
    assert [sent.status for sent in reports] == [0, 0, 0]
    assert [recorder.received[file.header.sop_instance_uid] for file in files] == [data_set(file) for file in files]


def test_statuses_and_comments_are_reported_and_the_rest_goes_on(tmp_path: Path) -> None:
    verdicts = [(0, ""), (0xA700, "out of disk space"), (0xB007, ""), (0xC123, ""), (0x0122, ""), (0, "")]
    recorder = Recorder(answers=lambda number: verdicts[number])
    with recording(recorder) as listener:
        reports = send(listener.port, [stored_file(tmp_path) for _ in verdicts])
    assert [sent.status for sent in reports] == [status for status, _ in verdicts]
    assert [sent.stored for sent in reports] == [True, False, True, False, False, True]
    assert reports[1].comment == "out of disk space"
    assert "C123" in reports[3].comment
    assert len(recorder.associations) == 1


# --- files that are not what they were ---


@pytest.mark.parametrize("change", ["longer", "shorter", "gone", "garbage", "empty", "a directory"])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_file_that_changed_since_it_was_scanned(tmp_path: Path, change: str, place: int) -> None:
    files = [stored_file(tmp_path) for _ in range(3)]
    path = Path(files[place].path)
    whole = path.read_bytes()
    path.unlink()
    if change == "longer":
        path.write_bytes(whole + b"more")
    elif change == "shorter":
        path.write_bytes(whole[:-1])
    elif change == "empty":
        path.write_bytes(b"")
    elif change == "garbage":
        path.write_bytes(whole[: files[place].header.offset].ljust(len(whole), b"\xff"))
    elif change == "a directory":
        path.mkdir()
    recorder = Recorder()
    with recording(recorder) as listener:
        reports = send(listener.port, files)
    assert [sent.status for sent in reports] == [None if i == place else 0 for i in range(3)]
    assert reports[place].comment
    assert not reports[place].stored
    assert len(recorder.received) == 2
    assert len(recorder.associations) == 1


def test_a_file_that_shrinks_while_it_is_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The peer has half an object by then: only an abort tells it. The others go in a new association."""
    files = [stored_file(tmp_path), stored_file(tmp_path, pixels=bytes(6 * PIECE)), stored_file(tmp_path)]
    real = Association.send_data_set
    shrunk: list[str] = []

    def send_data_set(self: Association, context_id: int, piece: bytes | memoryview, *, last: bool) -> None:
        real(self, context_id, piece, last=last)
        if not shrunk:
            shrunk.append(files[1].path)
            os.truncate(files[1].path, 3 * PIECE)

    monkeypatch.setattr(Association, "send_data_set", send_data_set)
    recorder = Recorder()
    with recording(recorder) as listener:
        reports = send(listener.port, files)
    assert [sent.status for sent in reports] == [0, None, 0]
    assert reports[1].comment == "the file became shorter while it was sent"
    assert set(recorder.received) == {files[0].header.sop_instance_uid, files[2].header.sop_instance_uid}
    assert len(recorder.associations) == 2


@pytest.mark.parametrize(
    ("field", "uid"),
    [
        ("sop_class_uid", ""),
        ("sop_class_uid", "1.2.\ufffd"),
        ("sop_class_uid", "1." * 150),
        ("transfer_syntax_uid", "\x1b[2J"),
        ("transfer_syntax_uid", "../../etc"),
        ("sop_instance_uid", ""),
        ("sop_instance_uid", "1.2.\ufffd"),
    ],
)
def test_a_file_whose_uids_are_none_does_not_stop_the_others(tmp_path: Path, field: str, uid: str) -> None:
    files = [stored_file(tmp_path) for _ in range(3)]
    files[1] = files[1]._replace(header=files[1].header._replace(**{field: uid}))
    recorder = Recorder()
    with recording(recorder) as listener:
        reports = {sent.path: sent for sent in send(listener.port, files)}
    assert [reports[file.path].status for file in files] == [0, None, 0]
    assert "UID" in reports[files[1].path].comment
    assert len(recorder.received) == 2


def test_no_descriptor_stays_open(tmp_path: Path) -> None:
    descriptors = Path("/dev/fd")
    if not descriptors.is_dir():
        pytest.skip("this system does not list open files")
    files = [stored_file(tmp_path, pixels=bytes(2 * PIECE)) for _ in range(4)]
    Path(files[2].path).unlink()
    recorder = Recorder(answers=lambda number: (0, "") if number != 1 else None)
    with recording(recorder) as listener:
        before = len(list(descriptors.iterdir()))
        reports = send(listener.port, files)
    assert [sent.status for sent in reports] == [0, None, None, 0]
    assert len(list(descriptors.iterdir())) <= before


# --- associations that end ---


def test_after_a_lost_association_the_rest_goes_in_another(tmp_path: Path) -> None:
    files = [stored_file(tmp_path) for _ in range(6)]
    recorder = Recorder(answers=lambda number: None if number == 2 else (0, ""))
    with recording(recorder) as listener:
        reports = send(listener.port, files)
    assert [sent.path for sent in reports] == [file.path for file in files]
    assert [sent.status for sent in reports] == [0, 0, None, 0, 0, 0]
    assert "aborted" in reports[2].comment
    assert len(recorder.associations) == 2


def test_a_peer_that_takes_nothing_is_given_up(tmp_path: Path) -> None:
    files = [stored_file(tmp_path) for _ in range(8)]
    recorder = Recorder(answers=lambda number: None)
    with recording(recorder) as listener:
        reports = send(listener.port, files)
    assert len(recorder.associations) == GIVE_UP_AFTER
    assert [sent.path for sent in reports] == [file.path for file in files]
    assert {sent.status for sent in reports} == {None}
    assert all(sent.comment for sent in reports)


def test_every_object_stored_renews_the_patience(tmp_path: Path) -> None:
    files = [stored_file(tmp_path) for _ in range(20)]
    recorder = Recorder(answers=lambda number: None if number % 2 else (0, ""))
    with recording(recorder) as listener:
        reports = send(listener.port, files)
    assert [sent.status for sent in reports] == [0, None] * 10


def test_a_peer_that_answers_another_message_is_left(tmp_path: Path) -> None:
    class Confused(Recorder):
        def _store(self, association: Association, context_id: int, message: Message) -> None:
            association.skip_data_set()
            association.send(context_id, C_STORE_RSP(message_id_being_responded_to=999, status=0))

    recorder = Confused()
    recorder.handlers[C_STORE_RQ] = recorder._store
    with recording(recorder) as listener:
        (sent,) = send(listener.port, [stored_file(tmp_path)])
    assert sent.status is None
    assert "peer answered the C-STORE with C_STORE_RSP" in sent.comment


def test_a_peer_that_never_answers_is_given_up(tmp_path: Path) -> None:
    done = threading.Event()
    recorder = Recorder(before_answer=lambda uid: (done.wait(15), None)[1])
    reports: list[Sent] = []
    with recording(recorder) as listener:
        settings = RequestorSettings(dimse_timeout=0.1)
        try:
            send_files("127.0.0.1", listener.port, [stored_file(tmp_path)], settings, report=reports.append)
        finally:
            done.set()
    assert [sent.status for sent in reports] == [None]
    assert "silent" in reports[0].comment


def test_nobody_there_is_an_error_and_nothing_is_reported(tmp_path: Path) -> None:
    with listening() as listener:
        port = listener.port
    with pytest.raises(ConnectError):
        send(port, [stored_file(tmp_path)])


def test_a_rejected_association_is_an_error(tmp_path: Path) -> None:
    with listening(settings=ListenerSettings(check_called_ae_title=True)) as listener:
        settings = RequestorSettings(called_ae_title="ELSE")
        with pytest.raises(AssociationRejectedError):
            send_files("127.0.0.1", listener.port, [stored_file(tmp_path)], settings, report=pytest.fail)


def test_who_stops_it_has_the_association_released(tmp_path: Path) -> None:
    files = [stored_file(tmp_path) for _ in range(3)]
    recorder, seen = Recorder(), threading.Event()
    recorder._before_answer = lambda uid: seen.set()
    with recording(recorder) as listener:
        reports = send(listener.port, files, stopped=seen.is_set)
    assert [sent.stored for sent in reports] == [True]
    assert list(recorder.received) == [files[0].header.sop_instance_uid]


def test_an_interrupt_ends_the_association(tmp_path: Path) -> None:
    class Interrupt(BaseException):
        pass

    def report(sent: Sent) -> None:
        raise Interrupt

    files = [stored_file(tmp_path, pixels=bytes(2 * PIECE)) for _ in range(3)]
    recorder = Recorder()
    with recording(recorder) as listener, pytest.raises(Interrupt):
        send_files("127.0.0.1", listener.port, files, RequestorSettings(), report=report)
    assert list(recorder.received) == [files[0].header.sop_instance_uid]


# --- conversions ---


def deflated(directory: Path) -> File:
    uid = fresh_uid()
    compressor = zlib.compressobj(wbits=-15)
    data = compressor.compress(image(uid)) + compressor.flush()
    data += b"\0" * (len(data) % 2)  # PS3.5 A.5
    return stored_file(directory, data, DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN)


def test_what_the_peer_does_not_take_is_converted_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    files = [deflated(tmp_path), deflated(tmp_path), stored_file(tmp_path)]
    recorder = Recorder(syntaxes=(IMPLICIT_VR_LITTLE_ENDIAN,))
    with recording(recorder) as listener:
        reports = send(listener.port, files)
    assert [(sent.status, sent.transcoded) for sent in reports] == [(0, True)] * 3
    assert set(recorder.syntaxes.values()) == {IMPLICIT_VR_LITTLE_ENDIAN}
    for received in recorder.received.values():
        assert element(0x00100020, b"", b"4711") in received
        assert received.endswith(element(0x7FE00010, b"", b"\1\2\3\4"))
    assert len([line for line in caplog.messages if "is converted to" in line]) == 2  # once for each syntax


def test_an_accepted_syntax_is_never_converted(tmp_path: Path) -> None:
    files = [deflated(tmp_path), stored_file(tmp_path)]
    recorder = Recorder(syntaxes=(DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN))
    with recording(recorder) as listener:
        reports = send(listener.port, files)
    assert [(sent.status, sent.transcoded) for sent in reports] == [(0, False)] * 2
    assert list(recorder.received.values()) == [data_set(file) for file in files]


def test_never_transcode(tmp_path: Path) -> None:
    recorder = Recorder(syntaxes=(IMPLICIT_VR_LITTLE_ENDIAN,))
    uid = fresh_uid()
    files = [deflated(tmp_path), stored_file(tmp_path, implicit_image(uid), IMPLICIT_VR_LITTLE_ENDIAN)]
    with recording(recorder) as listener:
        reports = send(listener.port, files, transcode=False)
    assert [sent.status for sent in reports] == [None, 0]
    assert reports[0].comment.startswith("peer does not take CT Image Storage in Deflated Explicit VR Little Endian")


def test_a_class_the_peer_does_not_take(tmp_path: Path) -> None:
    uid = fresh_uid()
    path = tmp_path / "private.dcm"
    path.write_bytes(part10(uid, image(uid, sop_class="1.2.3.4"), sop_class="1.2.3.4"))
    files = [File(str(path), read_file_header(path)), stored_file(tmp_path)]
    recorder = Recorder()
    with recording(recorder) as listener:
        reports = send(listener.port, files)
    assert [sent.status for sent in reports] == [None, 0]
    assert "no presentation context for 1.2.3.4" in reports[0].comment
    assert "the peer does not support it" in reports[0].comment


def test_what_cannot_be_converted_is_passed_over(tmp_path: Path) -> None:
    files = [
        stored_file(tmp_path, image(fresh_uid(), pixels=b"no JPEG at all."), JPEG_2000),
        stored_file(tmp_path, b"\x01\x02 no deflate stream", DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN),
        stored_file(tmp_path),
    ]
    recorder = Recorder(syntaxes=(EXPLICIT_VR_LITTLE_ENDIAN,))
    with recording(recorder) as listener:
        reports = send(listener.port, files)
    assert [sent.status for sent in reports] == [None, None, 0]
    assert "cannot be converted from JPEG 2000" in reports[0].comment


def test_big_endian_goes_out_as_it_is_or_swapped(tmp_path: Path) -> None:
    data = b"".join(
        (
            (8).to_bytes(2, "big") + (0x0016).to_bytes(2, "big") + b"UI\0\x1a" + CT.encode() + b"\0",
            (0x0028).to_bytes(2, "big") + (0x0010).to_bytes(2, "big") + b"US\0\2\x01\x02",
        )
    )
    file = stored_file(tmp_path, data, EXPLICIT_VR_BIG_ENDIAN)
    with recording(as_it_is := Recorder()) as listener:
        assert [sent.transcoded for sent in send(listener.port, [file])] == [False]
    with recording(swapped := Recorder(syntaxes=(IMPLICIT_VR_LITTLE_ENDIAN,))) as listener:
        assert [sent.transcoded for sent in send(listener.port, [file])] == [True]
    assert list(as_it_is.received.values()) == [data]
    assert list(swapped.received.values()) == [
        element(0x00080016, b"", CT.encode()) + element(0x00280010, b"", b"\x02\x01")
    ]
