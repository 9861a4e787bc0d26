"""C-MOVE and C-GET over loopback: counts, statuses, cancelling, destinations that refuse, go away, or want it plain."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from dcmkit.dataset.elements import decode, encode
from dcmkit.dataset.part10 import read_file_header
from dcmkit.errors import OutputError
from dcmkit.net.association import Association
from dcmkit.protocol.message import C_CANCEL_RQ, C_GET_RQ, C_GET_RSP, C_MOVE_RQ, C_MOVE_RSP, C_STORE_RQ, C_STORE_RSP
from dcmkit.protocol.pdu import PresentationContextRQ
from dcmkit.protocol.user_information import Role, SOPClassExtended
from dcmkit.services.association_request import association_request
from dcmkit.services.models import COMPOSITE_INSTANCE_ROOT, PATIENT_ROOT, STUDY_ROOT, WITHOUT_BULK_DATA
from dcmkit.services.retrieve import RetrieveSCP
from dcmkit.services.storage import StorageSCP
from dcmkit.services.sub_operations import Destination
from dcmkit.settings import RequestorSettings
from dcmkit.uids import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from tests.archive.objects import CT, MR, archive_in, image, put
from tests.net.server import associate, listening
from tests.services.test_identifier import identifier

EXPLICIT, IMPLICIT = EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
STUDY = identifier(StudyInstanceUID="1.1")
COUNT = 8


@pytest.fixture
def archive(tmp_path):
    with archive_in(tmp_path / "archive") as archive:
        for number in range(COUNT):
            put(archive, f"1.1.1.{number}", study="1.1", series="1.1.1", patient="P", instance=number)
        put(archive, "1.1.2.1", study="1.1", series="1.1.2", patient="P", sop_class=MR, modality="MR")
        put(archive, "1.2.1.1", study="1.2", series="1.2.1", patient="P")
        archive.flush()
        yield archive


def remove(archive, uid: str) -> None:
    ((directory, name, _),) = archive.index.find(uid)
    os.unlink(os.path.join(archive.root, directory, name))


# --- C-MOVE ---


class Nodes:
    """Destinations for tests."""

    def __init__(self, **ports: int) -> None:
        self.ports = ports

    def find(self, ae_title, association):
        if ae_title not in self.ports:
            return None
        settings = RequestorSettings(calling_ae_title="QR", called_ae_title=ae_title, connection_timeout=5)
        return Destination("127.0.0.1", self.ports[ae_title], settings)


class Receiver:
    """A storage SCP in memory, with faults to order."""

    def __init__(self, *, syntaxes=(), sop_classes=(CT, MR), status=lambda n: 0, abort_at=(), gate=None) -> None:
        self.requests: list[C_STORE_RQ] = []
        self.handlers = {C_STORE_RQ: self._store}
        self._syntaxes, self._sop_classes, self._status = syntaxes, sop_classes, status
        self._abort_at, self._gate = set(abort_at), gate
        self.arrived = threading.Event()

    def transfer_syntaxes(self, abstract_syntax):
        return self._syntaxes if abstract_syntax in self._sop_classes else None

    def _store(self, association, context_id, rq):
        association.skip_data_set()
        number = len(self.requests)
        self.requests.append(rq)
        self.arrived.set()
        if number in self._abort_at:
            association.abort()
            raise OutputError("aborted on purpose")
        if self._gate is not None:
            self._gate.wait(20)
        response = C_STORE_RSP(message_id_being_responded_to=rq.message_id, status=self._status(number))
        association.send(context_id, response)


def move(port: int, found=STUDY, *, destination="DEST", model=STUDY_ROOT, association=None):
    """Ask, and take all responses: the pending ones, the final one and its failed list."""
    own = association or associate(port, PresentationContextRQ(1, model.move, (EXPLICIT,)))
    rq = C_MOVE_RQ(message_id=own.next_message_id(), affected_sop_class_uid=model.move, move_destination=destination)
    own.send(1, rq, encode(found, EXPLICIT))
    pending, final, failed = responses(own)
    if association is None:
        own.release()
    return pending, final, failed


def responses(association):
    pending = []
    while True:
        response = association.receive().message
        assert isinstance(response, (C_MOVE_RSP, C_GET_RSP))
        if response.status == 0xFF00:
            pending.append(response)
            continue
        failed = []
        if response.has_data_set:
            failed = decode(association.read_data_set(), EXPLICIT)[0x00080058].value.split("\\")
        return pending, response, failed


def counts(response):
    return (
        response.number_of_remaining_suboperations,
        response.number_of_completed_suboperations,
        response.number_of_failed_suboperations,
        response.number_of_warning_suboperations,
    )


def test_a_study_is_moved(archive):
    receiver = Receiver()
    with listening([receiver]) as peer, listening([RetrieveSCP(archive, Nodes(DEST=peer.port))]) as listener:
        pending, final, failed = move(listener.port)
    assert (final.status, counts(final), failed) == (0, (None, 9, 0, 0), [])
    assert counts(pending[0]) == (9, 0, 0, 0)
    assert {rq.affected_sop_instance_uid for rq in receiver.requests} == {
        *(f"1.1.1.{n}" for n in range(COUNT)),
        "1.1.2.1",
    }
    assert {(rq.move_originator_ae_title, rq.move_originator_message_id) for rq in receiver.requests} == {("SCU", 1)}


@pytest.mark.parametrize(
    ("level", "model", "keys", "count"),
    [
        ("PATIENT", PATIENT_ROOT, {"PatientID": "P"}, 10),
        ("STUDY", PATIENT_ROOT, {"PatientID": "P", "StudyInstanceUID": "1.1\\1.2"}, 10),
        ("SERIES", STUDY_ROOT, {"StudyInstanceUID": "1.1", "SeriesInstanceUID": "1.1.2\\1.2.1"}, 1),
        ("IMAGE", STUDY_ROOT, {"SOPInstanceUID": "1.1.2.1\\1.2.1.1"}, 2),
        ("IMAGE", COMPOSITE_INSTANCE_ROOT, {"SOPInstanceUID": "1.1.2.1"}, 1),
        ("STUDY", STUDY_ROOT, {"StudyInstanceUID": "9.9"}, 0),
    ],
)
def test_levels(archive, level, model, keys, count):
    receiver = Receiver()
    with listening([receiver]) as peer, listening([RetrieveSCP(archive, Nodes(DEST=peer.port))]) as listener:
        _, final, _ = move(listener.port, identifier(level, **keys), model=model)
    assert (final.status, counts(final), len(receiver.requests)) == (0, (None, count, 0, 0), count)


@pytest.mark.parametrize("title", ["ELSEWHERE", "127.0.0.1", "DEST\\x", "\x1b[31mRED", "dest", "a" * 16])
def test_never_to_an_unknown_destination(archive, title):
    with listening([RetrieveSCP(archive, Nodes(DEST=1))]) as listener:
        pending, final, _ = move(listener.port, destination=title)
    assert (pending, final.status) == ([], 0xA801)
    assert "\x1b" not in final.error_comment
    assert "not configured" in final.error_comment


@pytest.mark.parametrize(
    ("found", "status", "offending"),
    [
        (identifier("PATIENT", PatientID="P"), 0xA900, (0x00080052,)),
        (identifier("STUDY", StudyInstanceUID="*"), 0xA900, (0x0020000D,)),
        (identifier("STUDY", PatientID="P"), 0xA900, (0x0020000D,)),
    ],
)
def test_identifiers_that_do_not_match(archive, found, status, offending):
    with listening([RetrieveSCP(archive, Nodes(DEST=1))]) as listener:
        _, final, _ = move(listener.port, found)
    assert (final.status, final.offending_element) == (status, offending)


def test_a_destination_that_cannot_be_reached(archive):
    with listening() as gone:
        port = gone.port
    with listening([RetrieveSCP(archive, Nodes(DEST=port))]) as listener:
        _, final, failed = move(listener.port)
    assert (final.status, counts(final), len(failed)) == (0xA702, (None, 0, 9, 0), 9)
    assert final.error_comment


def test_a_destination_that_takes_some_sop_classes_only(archive):
    with (
        listening([Receiver(sop_classes=(MR,))]) as peer,
        listening([RetrieveSCP(archive, Nodes(DEST=peer.port))]) as listener,
    ):
        _, final, failed = move(listener.port)
    assert (final.status, counts(final), len(failed)) == (0xB000, (None, 1, 8, 0), 8)


def test_a_destination_that_wants_implicit(archive, tmp_path):
    with archive_in(tmp_path / "other") as other:
        storage = StorageSCP(other)
        storage.transfer_syntaxes = lambda abstract_syntax: (IMPLICIT,)
        with listening([storage]) as peer, listening([RetrieveSCP(archive, Nodes(DEST=peer.port))]) as listener:
            _, final, _ = move(listener.port)
        assert (final.status, counts(final)) == (0, (None, 9, 0, 0))
        other.flush()
        ((directory, name, _),) = other.index.find("1.1.2.1")
        assert read_file_header(os.path.join(other.root, directory, name)).transfer_syntax_uid == IMPLICIT


def test_warnings_and_refusals_are_counted(archive):
    receiver = Receiver(status=lambda number: {0: 0xB000, 1: 0xA700}.get(number, 0))
    with listening([receiver]) as peer, listening([RetrieveSCP(archive, Nodes(DEST=peer.port))]) as listener:
        _, final, failed = move(listener.port)
    assert (final.status, counts(final)) == (0xB000, (None, 7, 1, 1))
    assert failed == [receiver.requests[1].affected_sop_instance_uid]


def test_a_lost_association_is_made_once_more(archive):
    receiver = Receiver(abort_at={3})
    with listening([receiver]) as peer, listening([RetrieveSCP(archive, Nodes(DEST=peer.port))]) as listener:
        _, final, _ = move(listener.port)
    assert (final.status, counts(final), len(receiver.requests)) == (0, (None, 9, 0, 0), 10)


def test_an_object_that_ends_every_association_is_given_up(archive):
    receiver = Receiver(abort_at={3, 4})
    with listening([receiver]) as peer, listening([RetrieveSCP(archive, Nodes(DEST=peer.port))]) as listener:
        _, final, failed = move(listener.port)
    assert (final.status, counts(final)) == (0xB000, (None, 8, 1, 0))
    assert failed == [receiver.requests[4].affected_sop_instance_uid]


def test_a_destination_that_always_aborts_is_given_up(archive):
    receiver = Receiver(abort_at=range(100))
    with listening([receiver]) as peer, listening([RetrieveSCP(archive, Nodes(DEST=peer.port))]) as listener:
        _, final, failed = move(listener.port)
    assert (final.status, counts(final), len(failed)) == (0xA702, (None, 0, 9, 0), 9)
    assert len(receiver.requests) == 3


def test_a_file_that_is_gone_is_a_failed_sub_operation(archive):
    remove(archive, "1.1.1.3")
    receiver = Receiver()
    with listening([receiver]) as peer, listening([RetrieveSCP(archive, Nodes(DEST=peer.port))]) as listener:
        _, final, failed = move(listener.port)
    assert (final.status, counts(final), failed) == (0xB000, (None, 8, 1, 0), ["1.1.1.3"])


def test_a_file_that_was_changed_is_looked_at_again(archive):
    ((directory, name, offset),) = archive.index.find("1.1.1.3")
    path = Path(archive.root, directory, name)
    path.write_bytes(path.read_bytes()[:offset] + image("1.1.1.3", name="Doe^Jane^Longer Name", study="1.1"))
    receiver = Receiver()
    with listening([receiver]) as peer, listening([RetrieveSCP(archive, Nodes(DEST=peer.port))]) as listener:
        _, final, _ = move(listener.port)
    assert (final.status, counts(final)) == (0, (None, 9, 0, 0))


def test_to_itself(archive):
    nodes = Nodes()
    with listening([StorageSCP(archive), RetrieveSCP(archive, nodes)]) as listener:
        nodes.ports["SCP"] = listener.port
        _, final, _ = move(listener.port, destination="SCP")
    assert (final.status, counts(final)) == (0, (None, 9, 0, 0))


def test_a_cancel_is_answered_while_the_destination_is_silent(archive):
    gate = threading.Event()
    receiver = Receiver(gate=gate)
    with listening([receiver]) as peer, listening([RetrieveSCP(archive, Nodes(DEST=peer.port))]) as listener:
        association = associate(listener.port, PresentationContextRQ(1, STUDY_ROOT.move, (EXPLICIT,)))
        rq = C_MOVE_RQ(message_id=7, affected_sop_class_uid=STUDY_ROOT.move, move_destination="DEST")
        association.send(1, rq, encode(STUDY, EXPLICIT))
        assert receiver.arrived.wait(20)
        association.send(1, C_CANCEL_RQ(message_id_being_responded_to=8))  # another message: ignored
        association.send(1, C_CANCEL_RQ(message_id_being_responded_to=7))
        _, final, failed = responses(association)
        gate.set()
        assert (final.status, counts(final), failed) == (0xFE00, (9, 0, 0, 0), [])
        assert move(listener.port, association=association)[1].status == 0
        association.release()


@pytest.mark.parametrize("kind", [C_MOVE_RQ, C_GET_RQ])
def test_a_cancel_is_answered_while_objects_are_looked_for(archive, kind, monkeypatch):
    monkeypatch.setattr("dcmkit.services.find._LOOK_EVERY", 0.0)
    uid = STUDY_ROOT.move if kind is C_MOVE_RQ else STUDY_ROOT.get
    more = {"move_destination": "DEST"} if kind is C_MOVE_RQ else {}
    with listening([Receiver()]) as peer, listening([RetrieveSCP(archive, Nodes(DEST=peer.port))]) as listener:
        association = associate(listener.port, PresentationContextRQ(1, uid, (EXPLICIT,)))
        association.send_pending(1, kind(message_id=7, affected_sop_class_uid=uid, **more), encode(STUDY, EXPLICIT))
        association.send(1, C_CANCEL_RQ(message_id_being_responded_to=7))
        pending, final, failed = responses(association)
        assert (pending, final.status, failed) == ([], 0xFE00, [])
        association.release()


def test_relational_retrieve_where_it_is_strict(archive):
    settings = RequestorSettings(calling_ae_title="SCU", called_ae_title="SCP")
    contexts = (PresentationContextRQ(1, STUDY_ROOT.move, (EXPLICIT,)),)
    found = identifier("IMAGE", SOPInstanceUID="1.1.2.1")
    with (
        listening([Receiver()]) as peer,
        listening([RetrieveSCP(archive, Nodes(DEST=peer.port), strict=True)]) as listener,
    ):
        for asked, status in ((b"\1\1", 0), (b"\0", 0xA900)):
            rq = association_request(settings, contexts, extended=(SOPClassExtended(STUDY_ROOT.move, asked),))
            association = Association.request("127.0.0.1", listener.port, rq, settings)
            (answer,) = association.ac.user_information.extended
            assert answer.information == (b"\1\0" if asked[0] else b"\0")
            assert move(listener.port, found, association=association)[1].status == status
            association.release()


def test_a_find_context_may_be_required(archive):
    with listening([RetrieveSCP(archive, Nodes(DEST=1), require_find=True)]) as listener:
        assert move(listener.port)[1].status == 0x0124


# --- C-GET ---

CONTEXTS = (
    PresentationContextRQ(1, STUDY_ROOT.get, (EXPLICIT,)),
    PresentationContextRQ(3, CT, (EXPLICIT,)),
    PresentationContextRQ(5, MR, (IMPLICIT,)),
    PresentationContextRQ(7, WITHOUT_BULK_DATA.get, (EXPLICIT,)),
)
ROLES = (Role(CT, False, True), Role(MR, False, True))


def getter(port: int, roles=ROLES) -> Association:
    settings = RequestorSettings(calling_ae_title="SCU", called_ae_title="SCP")
    rq = association_request(settings, CONTEXTS, roles=roles)
    return Association.request("127.0.0.1", port, rq, settings)


def get(port: int, found=STUDY, *, roles=ROLES, model=STUDY_ROOT, context_id=1, cancel_at=-1):
    """The objects that came, and the final response with its failed list."""
    association = getter(port, roles)
    rq = C_GET_RQ(message_id=association.next_message_id(), affected_sop_class_uid=model.get)
    association.send(context_id, rq, encode(found, EXPLICIT))
    objects = {}
    while True:
        context, message = association.receive()
        if isinstance(message, C_STORE_RQ):
            assert message.move_originator_ae_title is None
            syntax = association.contexts.by_id(context)[1]
            objects[message.affected_sop_instance_uid] = decode(association.read_data_set(), syntax)
            if len(objects) == cancel_at:
                association.send(context_id, C_CANCEL_RQ(message_id_being_responded_to=rq.message_id))
            association.send(context, C_STORE_RSP(message_id_being_responded_to=message.message_id, status=0))
        elif message.status != 0xFF00:
            failed = []
            if message.has_data_set:
                failed = decode(association.read_data_set(), EXPLICIT)[0x00080058].value.split("\\")
            association.release()
            return objects, message, failed


def test_a_study_comes_back_on_the_same_association(archive):
    with listening([RetrieveSCP(archive, Nodes())]) as listener:
        objects, final, failed = get(listener.port)
    assert (final.status, counts(final), failed) == (0, (None, 9, 0, 0), [])
    assert len(objects) == 9
    assert all(0x7FE00010 in found for found in objects.values())


def test_only_in_the_roles_agreed_on(archive):
    with listening([RetrieveSCP(archive, Nodes())]) as listener:
        objects, final, failed = get(listener.port, roles=(Role(MR, False, True), Role(CT, True, False)))
    assert (final.status, counts(final), len(failed)) == (0xB000, (None, 1, 8, 0), 8)
    assert list(objects) == ["1.1.2.1"]


def test_a_get_that_is_cancelled(archive):
    with listening([RetrieveSCP(archive, Nodes())]) as listener:
        objects, final, _ = get(listener.port, cancel_at=3)
        assert final.status == 0xFE00
        assert counts(final) == (9 - len(objects), len(objects), 0, 0)
        assert len(objects) < 9


def test_without_bulk_data(archive):
    found = identifier("IMAGE", SOPInstanceUID="1.1.1.0\\1.1.2.1\\9.9.9")
    with listening([RetrieveSCP(archive, Nodes())]) as listener:
        objects, final, _ = get(listener.port, found, model=WITHOUT_BULK_DATA, context_id=7)
    assert (final.status, counts(final)) == (0, (None, 2, 0, 0))
    assert all(0x7FE00010 not in each and 0x00100010 in each for each in objects.values())


def test_without_bulk_data_of_what_is_gone(archive):
    remove(archive, "1.1.1.0")
    found = identifier("IMAGE", SOPInstanceUID="1.1.1.0")
    with listening([RetrieveSCP(archive, Nodes())]) as listener:
        _, final, failed = get(listener.port, found, model=WITHOUT_BULK_DATA, context_id=7)
    assert (final.status, failed) == (0xA702, ["1.1.1.0"])


def test_get_can_be_switched_off(archive):
    with listening([RetrieveSCP(archive, Nodes(), get=False)]) as listener:
        association = getter(listener.port)
        assert not association.contexts.contexts
        association.release()


def test_failures_beyond_the_list_are_cut_at_a_whole_uid(archive, monkeypatch):
    monkeypatch.setattr("dcmkit.services.retrieve._LIST_BYTES", 20)
    with listening() as gone:
        port = gone.port
    with listening([RetrieveSCP(archive, Nodes(DEST=port))]) as listener:
        _, final, failed = move(listener.port)
    assert final.number_of_failed_suboperations == 9
    assert len(failed) == 2
