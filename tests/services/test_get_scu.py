"""C-GET: contexts and roles, objects on the same association, peers that have their own ideas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dcmkit.archive.folder import Folder
from dcmkit.dataset.elements import DataSet, element
from dcmkit.errors import AssociationAbortedError, NetworkError, NoPresentationContextError, ProtocolError
from dcmkit.net.association import Association
from dcmkit.protocol.message import C_GET_RQ, C_STORE_RQ, C_STORE_RSP
from dcmkit.protocol.negotiation import MAXIMUM_CONTEXTS
from dcmkit.services import get_scu
from dcmkit.services.get_scu import (
    COMPRESSED,
    OBJECT_CONTEXTS,
    UNCOMPRESSED,
    GetSCU,
    Proposal,
    proposals,
    storage_contexts,
)
from dcmkit.services.models import PATIENT_ROOT, STUDY_ROOT
from dcmkit.services.retrieve_plan import Request
from dcmkit.services.retrieve_scu import Arrivals
from dcmkit.services.tally import Tally, problems
from dcmkit.settings import RequestorSettings
from dcmkit.uids import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, STORAGE_SOP_CLASSES
from tests.archive.objects import CT, MR
from tests.services.retrieve_peer import LEVEL, STUDY, Peer, Stored, retrieving, send_store, some

J2K, RLE = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.5"
IDENTIFIER: DataSet = {LEVEL: element(LEVEL, "STUDY"), STUDY: element(STUDY, "1.2.1")}
OF_CT = Request("study 1.2.1", IDENTIFIER, (CT,), all_classes=True)
OF_ANY = Request("study 1.2.1", IDENTIFIER)


def settings(**changes: Any) -> RequestorSettings:
    return RequestorSettings(calling_ae_title="GETSCU", called_ae_title="PEER", dimse_timeout=20.0).replace(**changes)


def get(peer: Peer, folder: Path | None, request: Request = OF_CT, **how: Any) -> tuple[Tally, Arrivals]:
    """One request; also that nothing half done is left."""
    arrivals = Arrivals()
    with retrieving(peer) as listener:
        store = Folder(str(folder), "{Modality}.{SOPInstanceUID}").open() if folder is not None else None
        scu = GetSCU("127.0.0.1", listener.port, how.pop("settings", settings()), STUDY_ROOT, store, **how)
        try:
            found = scu.fetch(request, arrivals)
            scu.close()
        finally:
            scu.drop()
            if folder is not None:
                assert not [path for path in folder.rglob("*") if path.name.startswith(".")]
    return found, arrivals


# --- what is proposed ---


def test_a_single_class_is_proposed_in_every_syntax_by_itself() -> None:
    contexts = storage_contexts(Proposal((CT,)), OBJECT_CONTEXTS)
    assert len(contexts) <= OBJECT_CONTEXTS
    alone = {syntaxes[0] for _, syntaxes in contexts if len(syntaxes) == 1}
    assert alone >= {*COMPRESSED, IMPLICIT_VR_LITTLE_ENDIAN}


@pytest.mark.parametrize("others", [0, 1, 20, 60, 63])
@pytest.mark.parametrize("number", [1, 2, 3, 10, 31, 40, 42, 63])
def test_there_is_room_for_all_and_every_syntax_is_proposed(number: int, others: int) -> None:
    classes = list(STORAGE_SOP_CLASSES)
    proposal = Proposal(tuple(classes[:number]), tuple(classes[number : number + others]))
    contexts = storage_contexts(proposal, OBJECT_CONTEXTS)
    assert len(contexts) <= OBJECT_CONTEXTS
    for sop_class in proposal.sop_classes:
        proposed = [syntax for uid, syntaxes in contexts if uid == sop_class for syntax in syntaxes]
        assert sorted(proposed) == sorted({*UNCOMPRESSED, *COMPRESSED})


def test_a_preferred_syntax_comes_first() -> None:
    assert storage_contexts(Proposal((CT,)), 126, [RLE])[0] == (CT, (RLE,))
    assert storage_contexts(Proposal((), ("1.2.3",) * 63), 126, [RLE])[0][1][0] == RLE
    assert storage_contexts(Proposal((CT,)), 126, [EXPLICIT_VR_LITTLE_ENDIAN])[0][1][0] == EXPLICIT_VR_LITTLE_ENDIAN
    assert storage_contexts(Proposal((CT,)), 126, [IMPLICIT_VR_LITTLE_ENDIAN], only_preferred=True) == [
        (CT, (IMPLICIT_VR_LITTLE_ENDIAN,))
    ]


def test_classes_are_split_over_associations() -> None:
    every = tuple(STORAGE_SOP_CLASSES)
    assert proposals(OF_CT) == [Proposal((CT,))]
    unknown = proposals(OF_ANY)
    assert CT in unknown[0].others
    assert sorted(uid for proposal in unknown for uid in proposal.sop_classes) == sorted(every)
    assert all(len(storage_contexts(proposal, OBJECT_CONTEXTS)) <= OBJECT_CONTEXTS for proposal in unknown)
    many = OF_CT._replace(sop_classes=tuple(f"1.2.3.{i}" for i in range(100)))
    assert [len(proposal.known) for proposal in proposals(many)] == [63, 37]


@pytest.mark.parametrize("number", [1, 2, 5, 60, 70])
def test_a_sample_of_classes_is_proposed_with_others_beside_it(number: int) -> None:
    known = tuple(f"1.2.3.{i}" for i in range(10, 10 + number))
    sampled = proposals(OF_ANY._replace(sop_classes=(*known, "not a UID")))
    assert sampled[0].known == known[:63]
    assert bool(sampled[0].others) == (number < 63)
    assert sorted(uid for part in sampled for uid in part.sop_classes) == sorted({*known, *STORAGE_SOP_CLASSES})
    assert all(len(storage_contexts(part, OBJECT_CONTEXTS)) <= OBJECT_CONTEXTS for part in sampled)


def test_roles_are_proposed_for_what_is_to_come() -> None:
    peer = Peer(some(1))
    get(peer, None)
    (association,) = peer.associations
    assert [(role.sop_class_uid, role.scu, role.scp) for role in association.rq.user_information.roles] == [
        (CT, False, True)
    ]
    assert len(association.rq.presentation_contexts) <= MAXIMUM_CONTEXTS


# --- objects ---


def test_objects_come_and_are_filed(tmp_path: Path) -> None:
    objects = some(5)
    found, arrivals = get(Peer(objects), tmp_path)
    assert problems(found, OF_CT, "get") == []
    assert (found.total, found.promised, found.operations) == (5, 5, 5)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"CT.{stored.uid}" for stored in objects]
    assert [Path(arrival.path).read_bytes()[-4:] for arrival in arrivals.stored.values()] == [b"\1\2\3\4"] * 5
    assert b"PEER" in next(tmp_path.iterdir()).read_bytes()[:400]  # Source Application Entity Title


def test_objects_may_be_forgotten() -> None:
    found, arrivals = get(Peer(some(3)), None)
    assert found.operations == 3
    assert {arrival.path for arrival in arrivals.stored.values()} == {""}


@pytest.mark.parametrize("roles", [True, False])
def test_a_peer_that_ignores_roles_is_taken_at_its_c_stores(tmp_path: Path, roles: bool) -> None:
    found, _ = get(Peer(some(3), roles=roles), tmp_path)
    assert problems(found, OF_CT, "get") == []
    assert len(list(tmp_path.iterdir())) == 3


def test_what_the_peer_cannot_send_is_listed(tmp_path: Path) -> None:
    found, _ = get(Peer(some(3), refuses={"1.2.1.1.2"}), tmp_path)
    assert found.failed_uids == ("1.2.1.1.2",)
    assert problems(found, OF_CT, "get") == ["1 of 3 sub-operations failed", "failed: 1.2.1.1.2"]


def test_what_cannot_be_written_is_refused_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Folder.incoming

    def incoming(self: Folder, sop_class: str, uid: str, *rest: str) -> Any:
        found = real(self, sop_class, uid, *rest)
        if uid.endswith(".2"):
            self.directories.root = str(tmp_path / "gone")
        else:
            self.directories.root = str(tmp_path)
        return found

    monkeypatch.setattr(Folder, "incoming", incoming)
    found, arrivals = get(Peer(some(3)), tmp_path)
    assert arrivals.refused["1.2.1.1.2"].status == 0xA700
    assert found.failed == 1
    assert found.operations == 2


def test_classes_nobody_told_of_are_found_in_the_next_association(tmp_path: Path) -> None:
    rare = proposals(OF_ANY)[2].others[0]
    for status, associations in ((0xC000, 3), (None, 2)):  # the peer tells which it has, or does not
        peer = Peer([*some(2), Stored("1.2.1.1.9", sop_class=rare)], no_find=status)
        found, arrivals = get(peer, tmp_path, OF_ANY)
        assert problems(found, OF_ANY, "get") == []
        assert len(arrivals.stored) == 3
        assert len(peer.requests) == associations


def test_what_fails_for_another_reason_is_not_asked_for_again() -> None:
    peer = Peer(some(2), refuses={"1.2.1.1.1"})
    found, _ = get(peer, None, OF_ANY)
    assert found.failed == 1
    assert len(peer.requests) == 1


def test_the_association_is_used_again_where_it_suits() -> None:
    peer = Peer([*some(2), *some(2, "1.2.2"), *some(1, "1.2.3", sop_class=MR)])
    with retrieving(peer) as listener:
        scu = GetSCU("127.0.0.1", listener.port, settings(), STUDY_ROOT, None)
        for study, sop_class in (("1.2.1", CT), ("1.2.2", CT), ("1.2.3", MR)):
            request = Request("", {**IDENTIFIER, STUDY: element(STUDY, study)}, (sop_class,), all_classes=True)
            assert problems(scu.fetch(request, Arrivals()), request, "get") == []
        assert scu.association() is scu.association()
        scu.close()
    assert len({id(association) for association in peer.associations}) == 2


def test_a_model_the_peer_does_not_take() -> None:
    with pytest.raises(NoPresentationContextError) as caught:
        get(Peer(some(1), models=(PATIENT_ROOT.get,)), None)
    assert "-P" in caught.value.hint


# --- hostile ---


def test_an_abort_in_the_middle_keeps_what_came(tmp_path: Path) -> None:
    peer = Peer(some(5), before_store=lambda association, number: association.abort() if number == 3 else None)
    arrivals = Arrivals()
    with retrieving(peer) as listener, Folder(str(tmp_path), "{SOPInstanceUID}") as folder:
        scu = GetSCU("127.0.0.1", listener.port, settings(), STUDY_ROOT, folder)
        with pytest.raises(AssociationAbortedError):
            scu.fetch(OF_CT, arrivals)
    assert len(arrivals.stored) == 3
    assert len(list(tmp_path.iterdir())) == 3


def test_an_abort_inside_an_object_leaves_no_half_file(tmp_path: Path) -> None:
    def script(association: Association, context_id: int, rq: C_GET_RQ, _: DataSet) -> None:
        found = some(1)[0]
        store_context = association.contexts.find(CT, EXPLICIT_VR_LITTLE_ENDIAN)
        assert store_context is not None
        store = C_STORE_RQ(message_id=1, affected_sop_class_uid=CT, affected_sop_instance_uid=found.uid)
        association.send(store_context, store)
        association.send_data_set(store_context, found.data[:100], last=False)
        association.abort()

    with pytest.raises(AssociationAbortedError):
        get(Peer(get=script), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_counts_that_lie_are_found_out(tmp_path: Path) -> None:
    def script(association: Association, context_id: int, rq: C_GET_RQ, _: DataSet) -> None:
        send_store(association, some(1)[0])
        Peer.answer(association, context_id, rq, 0, None, 65535, 0)

    found, _ = get(Peer(get=script), tmp_path)
    assert problems(found, OF_CT, "get") == ["the peer says that it has sent 65535 objects, and 1 arrived"]


@pytest.mark.parametrize("uid", ["..", "../../x", "1.2\x1b[2J", "", "a" * 300])
def test_an_object_whose_uid_is_none_is_refused(tmp_path: Path, uid: str) -> None:
    statuses: list[int | None] = []

    def script(association: Association, context_id: int, rq: C_GET_RQ, _: DataSet) -> None:
        statuses.append(send_store(association, Stored(uid)))
        Peer.answer(association, context_id, rq, 0xB000, None, 0, 1)

    found, arrivals = get(Peer(get=script), tmp_path)
    assert statuses == [0xC000]
    assert found.failed == 1
    assert not arrivals.stored
    assert list(tmp_path.iterdir()) == []


def test_objects_that_were_not_asked_for_are_kept_and_told(tmp_path: Path) -> None:
    def script(association: Association, context_id: int, rq: C_GET_RQ, _: DataSet) -> None:
        for stored in some(2, "6.6"):
            send_store(association, stored)
        Peer.answer(association, context_id, rq, 0, None, 1, 0)

    found, _ = get(Peer(get=script), tmp_path)
    assert problems(found, OF_CT, "get") == ["the peer says that it has sent 1 objects, and 2 arrived"]
    assert len(list(tmp_path.iterdir())) == 2


def test_the_final_response_before_the_last_object_is_answered(tmp_path: Path) -> None:
    """The object is read, the response to it comes too late for the peer: the association is the worse for it."""

    def script(association: Association, context_id: int, rq: C_GET_RQ, _: DataSet) -> None:
        found = some(1)[0]
        store_context = association.contexts.find(CT, EXPLICIT_VR_LITTLE_ENDIAN)
        assert store_context is not None
        store = C_STORE_RQ(message_id=1, affected_sop_class_uid=CT, affected_sop_instance_uid=found.uid)
        association.send(store_context, store, found.data)
        Peer.answer(association, context_id, rq, 0, None, 1, 0)
        received = association.receive()
        assert received is not None
        assert isinstance(received.message, C_STORE_RSP)

    found, _ = get(Peer(get=script), tmp_path)
    assert problems(found, OF_CT, "get") == []
    assert len(list(tmp_path.iterdir())) == 1


def test_an_answer_to_nothing_ends_it(tmp_path: Path) -> None:
    def script(association: Association, context_id: int, rq: C_GET_RQ, _: DataSet) -> None:
        association.send(context_id, C_STORE_RSP(message_id_being_responded_to=7, status=0))

    with pytest.raises(ProtocolError):
        get(Peer(get=script), tmp_path)


def test_a_peer_that_falls_silent_is_given_up(tmp_path: Path) -> None:
    def script(association: Association, context_id: int, rq: C_GET_RQ, _: DataSet) -> None:
        with pytest.raises(NetworkError):
            association.receive()

    with pytest.raises(AssociationAbortedError):
        get(Peer(get=script), tmp_path, settings=settings(dimse_timeout=0.1))


def test_ctrl_c_cancels_and_aborts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cancelled: list[bool] = []

    def script(association: Association, context_id: int, rq: C_GET_RQ, _: DataSet) -> None:
        send_store(association, some(1)[0])
        Peer.answer(association, context_id, rq, 0xFF00, 1, 1, 0)
        while not association.cancelled(rq.message_id):
            pass
        cancelled.append(True)
        with pytest.raises(AssociationAbortedError):
            association.receive()

    def press(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(get_scu.ask.__globals__["_Asking"], "_take_pending", press)
    with pytest.raises(KeyboardInterrupt):
        get(Peer(get=script), tmp_path)
    assert cancelled
    assert len(list(tmp_path.iterdir())) == 1
