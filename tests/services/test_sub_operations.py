"""Sub-operations counted, and a C-MOVE's performed without the association it came on."""

from __future__ import annotations

import threading

import pytest

from dcmkit.dataset.part10 import FileHeader, read_file_header
from dcmkit.errors import InputError
from dcmkit.services.sending import File, lost
from dcmkit.services.sub_operations import Destination, Mover, Tally, unusable
from dcmkit.settings import RequestorSettings
from tests.archive.objects import CT, EXPLICIT, part10
from tests.net.server import listening
from tests.services.test_retrieve import Receiver


def header(uid: str = "1.2.3", **changes: str) -> FileHeader:
    return FileHeader(CT, uid, EXPLICIT, 0, 0)._replace(**changes)


def outcome(uid: str, status: int | None):
    file = File("x", header(uid))
    return lost(file, InputError("gone"))._replace(status=status, error=None if status is not None else InputError("x"))


@pytest.mark.parametrize(
    ("statuses", "final"),
    [
        ([0, 0], 0x0000),
        ([], 0x0000),
        ([0, 0xB000], 0xB000),
        ([0xB000, 0xB007], 0xB000),
        ([0, 0xA700], 0xB000),
        ([0xB000, None], 0xB000),
        ([None, 0xC000], 0xA702),
    ],
)
def test_the_final_status(statuses, final):
    tally = Tally([File("x", header(str(number))) for number in range(len(statuses))])
    for number, status in enumerate(statuses):
        tally.take(outcome(str(number), status))
    assert tally.final_status() == final
    assert (tally.remaining, tally.done) == (0, len(statuses))
    assert len(tally.failed_uids) == tally.failed


def test_more_failures_than_a_list_holds_and_more_objects_than_a_count():
    tally = Tally([File("none", header(f"1.2.{number}")) for number in range(70000)])
    tally.take(outcome("1.2.0", 0))
    tally.fail_rest("no")
    assert (tally.completed, tally.failed, len(tally.failed_uids)) == (1, 69999, 69999)
    assert (tally.final_status(), tally.comment) == (0xB000, "no")


@pytest.mark.parametrize(
    ("changes", "usable"),
    [
        ({}, True),
        ({"sop_class_uid": "../x"}, False),
        ({"transfer_syntax_uid": ""}, False),
        ({"sop_instance_uid": ""}, False),
        ({"sop_instance_uid": "1.2.ä"}, False),
    ],
)
def test_what_can_be_proposed(changes, usable):
    assert (unusable(File("x", header(**changes))) is None) is usable


@pytest.fixture
def files(tmp_path):
    found = []
    for number in range(4):
        path = tmp_path / f"{number}.dcm"
        path.write_bytes(part10(f"1.2.{number}"))
        found.append(File(str(path), read_file_header(path)))
    return found


def mover(port: int, files: list[File]) -> tuple[Mover, Tally]:
    settings = RequestorSettings(calling_ae_title="QR", called_ae_title="DEST")
    tally = Tally(files)
    return Mover(Destination("127.0.0.1", port, settings), files, tally, ("SCU", 5), True), tally


def test_everything_is_moved(files):
    with listening([Receiver()]) as peer:
        moving, tally = mover(peer.port, [*files, File("x", header(sop_class_uid="x"))])
        moving.start()
        assert moving.ended.wait(20)
        moving.join()
    assert (tally.completed, tally.failed, tally.remaining) == (4, 1, 0)


def test_what_is_abandoned_ends_and_is_not_counted(files):
    gate = threading.Event()
    receiver = Receiver(gate=gate)
    with listening([receiver]) as peer:
        moving, tally = mover(peer.port, files)
        moving.start()
        assert receiver.arrived.wait(20)
        moving.stop()
        moving.close_account()
        moving.abandon()
        moving.join(20)
        assert not moving.is_alive()
        gate.set()
    assert (tally.done, tally.remaining) == (0, 4)
