"""A small query/retrieve SCP on dcmkit's own net layer, honest or as bad as a test wants it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from dcmkit.dataset.elements import DataSet, decode, element, encode, text
from dcmkit.net.association import Association
from dcmkit.net.listener import Listener
from dcmkit.protocol.message import (
    C_CANCEL_RQ,
    C_FIND_RQ,
    C_FIND_RSP,
    C_GET_RQ,
    C_GET_RSP,
    C_MOVE_RQ,
    C_MOVE_RSP,
    C_STORE_RQ,
    C_STORE_RSP,
    DATA_SET_PRESENT,
    Message,
)
from dcmkit.protocol.pdu import PresentationContextRQ
from dcmkit.services.association_request import association_request
from dcmkit.services.models import BY_FIND, BY_GET, BY_MOVE
from dcmkit.settings import AssociationSettings, RequestorSettings
from dcmkit.uids import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from tests.archive.objects import CT, MR, image
from tests.net.server import listening

LEVEL, FAILED_LIST = 0x00080052, 0x00080058
PATIENT_ID, ACCESSION, STUDY_DATE = 0x00100020, 0x00080050, 0x00080020
STUDY, SERIES, INSTANCE, SOP_CLASS = 0x0020000D, 0x0020000E, 0x00080018, 0x00080016
CLASSES_IN_STUDY, NUMBER_IN_STUDY = 0x00080062, 0x00201208


class Stored(NamedTuple):
    """An object the peer has."""

    uid: str
    study: str = "1.2.1"
    series: str = "1.2.1.1"
    sop_class: str = CT
    patient: str = "P1"
    accession: str = "A1"

    @property
    def data(self) -> bytes:
        """Its data set."""
        return image(self.uid, study=self.study, series=self.series, sop_class=self.sop_class, patient=self.patient)

    def value(self, tag: int) -> str:
        """As a key is matched."""
        return {
            PATIENT_ID: self.patient,
            ACCESSION: self.accession,
            STUDY: self.study,
            SERIES: self.series,
            INSTANCE: self.uid,
            SOP_CLASS: self.sop_class,
            STUDY_DATE: "20240131",
        }.get(tag, "")


def some(number: int, study: str = "1.2.1", **how: str) -> list[Stored]:
    """CT images of one series."""
    return [Stored(f"{study}.1.{i}", study, f"{study}.1", **how) for i in range(1, number + 1)]


class Peer:
    """C-FIND, C-GET and C-MOVE SCP.

    Attributes:
        objects: what it has.
        destinations: port by AE title, for C-MOVE.
        no_find: the status it answers every C-FIND with, or None.
        tells_classes: whether it knows SOPClassesInStudy.
        get, move: replace the honest answer: called with the association, context id, request and identifier.
        refuses: SOP instances it cannot send.
        models: Q/R SOP classes it takes, () for all.
        roles: whether it answers role selection.
        requests: identifiers of the retrieves, in order.
        queries: identifiers of the finds.
        before_store: called before each C-STORE sub-operation, with the number of it.
        originator: whether it names the move originator.
    """

    def __init__(self, objects: Sequence[Stored] = (), **changes: object) -> None:
        self.objects = list(objects)
        self.destinations: dict[str, int] = {}
        self.no_find: int | None = None
        self.tells_classes = True
        self.get: Callable[[Association, int, C_GET_RQ, DataSet], None] | None = None
        self.move: Callable[[Association, int, C_MOVE_RQ, DataSet], None] | None = None
        self.refuses: set[str] = set()
        self.models: Sequence[str] = ()
        self.roles = True
        self.storage_syntaxes: Sequence[str] = (EXPLICIT_VR_LITTLE_ENDIAN,)
        self.requests: list[DataSet] = []
        self.queries: list[DataSet] = []
        self.associations: list[Association] = []
        self.before_store: Callable[[Association, int], None] = lambda association, number: None
        self.originator = True
        self.calling = "PEER"
        self.handlers: dict[type[Message], Callable[[Association, int, Message], None]] = {
            C_FIND_RQ: self._find,
            C_GET_RQ: self._get,
            C_MOVE_RQ: self._move,
        }
        for name, value in changes.items():
            assert hasattr(self, name), name
            setattr(self, name, value)

    # --- as a service ---

    def transfer_syntaxes(self, abstract_syntax: str) -> Sequence[str] | None:
        if abstract_syntax in BY_FIND or abstract_syntax in BY_GET or abstract_syntax in BY_MOVE:
            return () if not self.models or abstract_syntax in self.models else None
        return self.storage_syntaxes

    def scp_role(self, abstract_syntax: str) -> bool:
        return self.roles

    # --- finding ---

    def matches(self, identifier: DataSet) -> list[Stored]:
        """What the keys with values match: lists of values, no wild cards."""
        keys = {tag: text(identifier, tag).split("\\") for tag in identifier if tag > LEVEL and text(identifier, tag)}
        keys.update({ACCESSION: [text(identifier, ACCESSION)]} if text(identifier, ACCESSION) else {})
        keys.update({INSTANCE: text(identifier, INSTANCE).split("\\")} if text(identifier, INSTANCE) else {})
        return [found for found in self.objects if all(found.value(tag) in values for tag, values in keys.items())]

    def _find(self, association: Association, context_id: int, rq: Message) -> None:
        assert isinstance(rq, C_FIND_RQ)
        identifier = self._identifier(association, context_id)
        self.queries.append(identifier)
        syntax = association.contexts.by_id(context_id)[1]
        if self.no_find is None:
            unique = {"PATIENT": PATIENT_ID, "STUDY": STUDY, "SERIES": SERIES}.get(text(identifier, LEVEL), INSTANCE)
            answers: dict[str, Stored] = {}
            for found in self.matches(identifier):
                answers.setdefault(found.value(unique), found)
            for found in answers.values():
                data = encode(self._answer(identifier, found), syntax)
                association.send(
                    context_id,
                    C_FIND_RSP(
                        message_id_being_responded_to=rq.message_id,
                        status=0xFF00,
                        command_data_set_type=DATA_SET_PRESENT,
                    ),
                    data,
                )
                if association.cancelled(rq.message_id):
                    break
        association.send(context_id, C_FIND_RSP(message_id_being_responded_to=rq.message_id, status=self.no_find or 0))

    def _answer(self, identifier: DataSet, found: Stored) -> DataSet:
        of_study = [other for other in self.objects if other.study == found.study]
        answer = {LEVEL: identifier[LEVEL]}
        for tag in identifier:
            if tag == CLASSES_IN_STUDY:
                classes = "\\".join(dict.fromkeys(other.sop_class for other in of_study))
                answer[tag] = element(tag, classes if self.tells_classes else "")
            elif tag == NUMBER_IN_STUDY:
                answer[tag] = element(tag, str(len(of_study)))
            elif tag > LEVEL or tag in (ACCESSION, STUDY_DATE, INSTANCE, SOP_CLASS):
                answer[tag] = element(tag, found.value(tag))
        return answer

    def _identifier(self, association: Association, context_id: int) -> DataSet:
        return decode(association.read_data_set(), association.contexts.by_id(context_id)[1])

    # --- C-GET ---

    def _get(self, association: Association, context_id: int, rq: Message) -> None:
        assert isinstance(rq, C_GET_RQ)
        identifier = self._identifier(association, context_id)
        self.requests.append(identifier)
        self.associations.append(association)
        if self.get is not None:
            self.get(association, context_id, rq, identifier)
        else:
            self.honest_get(association, context_id, rq, identifier)

    def honest_get(self, association: Association, context_id: int, rq: C_GET_RQ, identifier: DataSet) -> None:
        """Send everything, count, and say so."""
        matches = self.matches(identifier)
        failed: list[str] = []
        for number, found in enumerate(matches):
            if association.cancelled(rq.message_id):
                self.answer(association, context_id, rq, 0xFE00, len(matches) - number, number, 0)
                return
            self.before_store(association, number)
            if found.uid in self.refuses or send_store(association, found) not in (0, 0xB000, 0xB007):
                failed.append(found.uid)
            done = number + 1
            self.answer(association, context_id, rq, 0xFF00, len(matches) - done, done - len(failed), len(failed))
        status = 0xB000 if failed else 0
        self.answer(association, context_id, rq, status, None, len(matches) - len(failed), len(failed), failed)

    @staticmethod
    def answer(
        association: Association,
        context_id: int,
        rq: C_GET_RQ | C_MOVE_RQ,
        status: int,
        remaining: int | None = None,
        completed: int | None = None,
        failed: int | None = None,
        failed_uids: Sequence[str] = (),
        comment: str | None = None,
        warning: int | None = 0,
    ) -> None:
        """A response to the retrieve."""
        data = b""
        if failed_uids:
            syntax = association.contexts.by_id(context_id)[1]
            data = encode({FAILED_LIST: element(FAILED_LIST, "\\".join(failed_uids))}, syntax)
        cls = C_GET_RSP if isinstance(rq, C_GET_RQ) else C_MOVE_RSP
        response = cls(
            message_id_being_responded_to=rq.message_id,
            affected_sop_class_uid=rq.affected_sop_class_uid,
            status=status,
            error_comment=comment,
            number_of_remaining_suboperations=remaining,
            number_of_completed_suboperations=completed,
            number_of_failed_suboperations=failed,
            number_of_warning_suboperations=warning,
        )
        if data:
            response.__dict__["command_data_set_type"] = DATA_SET_PRESENT
        association.send(context_id, response, data)

    # --- C-MOVE ---

    def _move(self, association: Association, context_id: int, rq: Message) -> None:
        assert isinstance(rq, C_MOVE_RQ)
        identifier = self._identifier(association, context_id)
        self.requests.append(identifier)
        if self.move is not None:
            self.move(association, context_id, rq, identifier)
        else:
            self.honest_move(association, context_id, rq, identifier)

    def honest_move(self, association: Association, context_id: int, rq: C_MOVE_RQ, identifier: DataSet) -> None:
        """Send everything to the destination, if it is known."""
        port = self.destinations.get(rq.move_destination)
        if port is None:
            self.answer(association, context_id, rq, 0xA801)
            return
        matches = self.matches(identifier)
        failed: list[str] = []
        with sending(port, self.calling) as out:
            for number, found in enumerate(matches):
                self.before_store(association, number)
                originator = (association.rq.calling_ae_title, rq.message_id) if self.originator else None
                if found.uid in self.refuses or send_store(out, found, originator) not in (0, 0xB000, 0xB007):
                    failed.append(found.uid)
                done = number + 1
                self.answer(association, context_id, rq, 0xFF00, len(matches) - done, done - len(failed), len(failed))
        status = 0xB000 if failed else 0
        self.answer(association, context_id, rq, status, None, len(matches) - len(failed), len(failed), failed)


@contextmanager
def sending(port: int, calling: str = "PEER", called: str = "MOVESCU") -> Iterator[Association]:
    """An association to store with."""
    contexts = [
        PresentationContextRQ(2 * i + 1, uid, (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN))
        for i, uid in enumerate((CT, MR))
    ]
    settings = RequestorSettings(calling_ae_title=calling, called_ae_title=called)
    association = Association.request("127.0.0.1", port, association_request(settings, contexts), settings)
    yield association
    association.release()


def send_store(
    association: Association, found: Stored, originator: tuple[str, int] | None = None, message_id: int = 0
) -> int | None:
    """One C-STORE sub-operation; its status, None where there is no context for it."""
    context_id = association.contexts.find(found.sop_class, EXPLICIT_VR_LITTLE_ENDIAN)
    if context_id is None:
        return None
    message_id = message_id or association.next_message_id()
    request = C_STORE_RQ(
        message_id=message_id,
        affected_sop_class_uid=found.sop_class,
        affected_sop_instance_uid=found.uid,
        move_originator_ae_title=originator[0] if originator else None,
        move_originator_message_id=originator[1] if originator else None,
    )
    association.send(context_id, request, found.data)
    while True:
        received = association.receive()
        assert received is not None
        if isinstance(received.message, C_STORE_RSP):
            return received.message.status
        assert isinstance(received.message, C_CANCEL_RQ)


@contextmanager
def retrieving(peer: Peer) -> Iterator[Listener]:
    """The peer, listening."""
    with listening((peer,), AssociationSettings(calling_ae_title="PEER")) as listener:
        yield listener
