"""Which associations an AE takes, and who answers what in them."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest

from dcmkit import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dcmkit.errors import NetworkError
from dcmkit.protocol import message as dimse
from dcmkit.protocol.events import MessageReceived
from dcmkit.protocol.message import Message, Response
from dcmkit.protocol.negotiation import AcceptedContexts
from dcmkit.protocol.pdu import AssociateAC, AssociateRJ, PresentationContextAC, PresentationContextRQ
from dcmkit.protocol.user_information import Role, SOPClassExtended, UserIdentity, UserInformation
from dcmkit.services.application_entity import ApplicationEntities, ApplicationEntity, refusal
from dcmkit.services.storage import StorageSCP
from dcmkit.services.verification import VerificationSCP
from dcmkit.settings import AssociationSettings, ListenerSettings
from dcmkit.uids import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, VERIFICATION
from tests.net.server import ECHO_CONTEXT, rq

CT = "1.2.840.10008.5.1.4.1.1.2"
FIND = "1.2.840.10008.5.1.4.1.2.2.1"
BOTH = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)


def entity(*, known_only: bool = False, max_pdu: int = 262144, **listener: object) -> ApplicationEntity:
    services = (VerificationSCP(), StorageSCP(None, known_only=known_only))
    settings = AssociationSettings(calling_ae_title="SCP", max_pdu=max_pdu)
    return ApplicationEntity(services, settings, ListenerSettings(**listener))


def accepted(ae: ApplicationEntity, *contexts: PresentationContextRQ, **changes: object) -> AssociateAC:
    decision = ae.decide(rq(contexts or (ECHO_CONTEXT,), **changes))
    assert not isinstance(decision, AssociateRJ)
    return decision[0]


# --- whom it lets in ---


def test_the_acceptance_says_who_we_are() -> None:
    ac = accepted(entity(max_pdu=65536), called_ae_title="WHATEVER", calling_ae_title="MODALITY")
    assert (ac.called_ae_title, ac.calling_ae_title) == ("WHATEVER", "MODALITY")
    assert ac.user_information.maximum_length == 65536
    assert ac.user_information.implementation_class_uid == IMPLEMENTATION_CLASS_UID
    assert ac.user_information.implementation_version_name == IMPLEMENTATION_VERSION_NAME


@pytest.mark.parametrize(
    ("listener", "request_", "reason"),
    [
        ({"check_called_ae_title": True}, {"called_ae_title": "OTHER"}, 7),
        ({"allowed_calling_ae_titles": ("A", "B")}, {"calling_ae_title": "C"}, 3),
        ({}, {"application_context_name": "1.2.3"}, 2),
    ],
)
def test_rejections(
    listener: dict[str, Any], request_: dict[str, Any], reason: int, caplog: pytest.LogCaptureFixture
) -> None:
    assert entity(**listener).decide(rq(**request_)) == AssociateRJ(1, 1, reason)
    (line,) = caplog.messages
    assert line == (
        f"rejected an association from '{request_.get('calling_ae_title', 'SCU')}' to"
        f" '{request_.get('called_ae_title', 'SCP')}': source 1, reason {reason}"
    )


def test_titles_that_are_let_in() -> None:
    accepted(entity(check_called_ae_title=True), called_ae_title="SCP")
    accepted(entity(allowed_calling_ae_titles=("A", "B")), calling_ae_title="B")


def test_a_title_with_control_characters_reaches_no_log(caplog: pytest.LogCaptureFixture) -> None:
    assert isinstance(entity().decide(rq(calling_ae_title="\x1b]0;x\x07\n")), AssociateRJ)
    assert len(caplog.messages) == 1
    assert caplog.messages[0].isprintable()


# --- what it offers ---


@pytest.mark.parametrize(
    ("abstract_syntax", "result"),
    [(VERIFICATION, 0), (CT, 0), ("1.2.3.4.5", 0), (FIND, 3), ("1.2.840.10008.1.20.1", 3), ("../..", 3), ("", 3)],
)
def test_what_is_accepted(abstract_syntax: str, result: int) -> None:
    ac = accepted(entity(), PresentationContextRQ(1, abstract_syntax, BOTH))
    assert [context.result for context in ac.presentation_contexts] == [result]


def test_only_known_sop_classes() -> None:
    contexts = [PresentationContextRQ(1, CT, BOTH), PresentationContextRQ(3, "1.2.3.4.5", BOTH)]
    ac = accepted(entity(known_only=True), *contexts)
    assert [context.result for context in ac.presentation_contexts] == [0, 3]


def test_every_transfer_syntax_is_taken_one_context_each() -> None:
    syntaxes = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.2", "1.2.3.4")
    contexts = [PresentationContextRQ(2 * i + 1, CT, (syntax,)) for i, syntax in enumerate(syntaxes)]
    ac = accepted(entity(), *contexts)
    assert [context.transfer_syntax for context in ac.presentation_contexts] == list(syntaxes)


def test_identity_and_roles_are_taken_for_what_they_are() -> None:
    information = UserInformation(
        maximum_length=16384,
        implementation_class_uid="1.2.3",
        roles=(Role(CT, True, True),),
        user_identity=UserIdentity(1, True, b"user", b""),
    )
    ac = accepted(entity(), PresentationContextRQ(1, CT, BOTH), user_information=information)
    assert all(not role.scp for role in ac.user_information.roles)
    assert ac.user_information.user_identity_response is None


def test_the_first_service_that_knows_a_class_answers() -> None:
    ae = entity()
    assert ae.service_for(VERIFICATION) is ae.services[0]
    assert ae.service_for(CT) is ae.services[1]
    assert ae.service_for(FIND) is None


# --- what happens in an association ---


class Scripted:
    """An association in which these messages arrive."""

    def __init__(self, *messages: Message) -> None:
        self.rq = rq([ECHO_CONTEXT])
        self.contexts = AcceptedContexts([ECHO_CONTEXT], [PresentationContextAC(1, 0, IMPLICIT_VR_LITTLE_ENDIAN)])
        self.peer_address = "192.0.2.7"
        self.sent: list[Message] = []
        self.skipped = 0
        self.aborted = False
        self._messages = list(messages)

    def receive(self) -> MessageReceived | None:
        return MessageReceived(1, self._messages.pop(0)) if self._messages else None

    def send(self, context_id: int, message: Message) -> None:
        assert context_id == 1
        self.sent.append(message)

    def skip_data_set(self) -> None:
        self.skipped += 1

    def abort(self) -> None:
        self.aborted = True


def served(*messages: Message) -> Scripted:
    association: Any = Scripted(*messages)
    entity().serve(association)
    return association  # type: ignore[no-any-return]


REQUESTS = [
    dimse.C_STORE_RQ(message_id=9, affected_sop_class_uid=VERIFICATION, affected_sop_instance_uid="1.2"),
    dimse.C_FIND_RQ(message_id=9, affected_sop_class_uid=VERIFICATION),
    dimse.C_GET_RQ(message_id=9, affected_sop_class_uid=VERIFICATION),
    dimse.C_MOVE_RQ(message_id=9, affected_sop_class_uid=VERIFICATION, move_destination="X"),
    dimse.N_EVENT_REPORT_RQ(
        message_id=9, affected_sop_class_uid="1.2", affected_sop_instance_uid="1.2", event_type_id=1
    ),
    dimse.N_GET_RQ(message_id=9, requested_sop_class_uid="1.2", requested_sop_instance_uid="1.2"),
    dimse.N_SET_RQ(message_id=9, requested_sop_class_uid="1.2", requested_sop_instance_uid="1.2"),
    dimse.N_ACTION_RQ(message_id=9, requested_sop_class_uid="1.2", requested_sop_instance_uid="1.2", action_type_id=1),
    dimse.N_CREATE_RQ(message_id=9, affected_sop_class_uid="1.2"),
    dimse.N_DELETE_RQ(message_id=9, requested_sop_class_uid="1.2", requested_sop_instance_uid="1.2"),
]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: type(request).__name__)
def test_a_request_that_is_not_offered_gets_the_response_of_its_kind(
    request_: Message, caplog: pytest.LogCaptureFixture
) -> None:
    association = served(request_)
    (response,) = association.sent
    assert isinstance(response, Response)
    assert type(response).__name__ == type(request_).__name__.replace("_RQ", "_RSP")
    assert (response.status, response.message_id_being_responded_to) == (0x0211, 9)
    assert association.skipped == request_.has_data_set
    assert caplog.messages == [f"{type(request_).__name__} from 192.0.2.7 is not offered here"]


def test_an_unknown_command_field_is_answered() -> None:
    unknown = dimse.UnknownMessage(message_id=4)
    unknown.__dict__["command_field"] = 0x0077
    response = refusal(unknown, 4)
    decoded = dimse.decode(response.encode())
    assert decoded.command_field == 0x8077
    assert served(unknown).sent == [response]


def test_a_cancel_for_nothing_is_ignored() -> None:
    association = served(
        dimse.C_CANCEL_RQ(message_id_being_responded_to=5),
        dimse.C_ECHO_RQ(message_id=6, affected_sop_class_uid=VERIFICATION),
    )
    assert [type(message) for message in association.sent] == [dimse.C_ECHO_RSP]


@pytest.mark.parametrize(
    "message",
    [dimse.C_ECHO_RSP(message_id_being_responded_to=1, status=0), dimse.UnknownMessage()],
    ids=["a response", "no message ID"],
)
def test_what_cannot_be_answered_ends_the_association(message: Message) -> None:
    association: Any = Scripted(message)
    with pytest.raises(NetworkError, match="to which there is no answer"):
        entity().serve(association)
    assert association.aborted
    assert association.sent == []


def test_one_line_at_the_start_and_one_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "dcmkit"):
        served(dimse.C_ECHO_RQ(message_id=6))
    assert caplog.messages == ["association from SCU (192.0.2.7) to SCP", "association from SCU (192.0.2.7) ended"]


def test_a_context_is_looked_up_once() -> None:
    ae = entity()
    asked: list[str] = []
    real = ae.service_for
    ae.service_for = lambda syntax: (asked.append(syntax), real(syntax))[1]  # type: ignore[method-assign]
    association: Any = Scripted(*[dimse.C_ECHO_RQ(message_id=i) for i in range(1, 6)])
    ae.serve(association)
    assert asked == [VERIFICATION]
    assert len(association.sent) == 5


def test_a_service_of_ones_own() -> None:
    """Anything with handlers and transfer syntaxes is a service."""
    handled: list[Message] = []
    service = SimpleNamespace(
        handlers={dimse.C_FIND_RQ: lambda association, context_id, message: handled.append(message)},
        transfer_syntaxes=lambda abstract_syntax: (EXPLICIT_VR_LITTLE_ENDIAN,) if abstract_syntax == FIND else None,
    )
    ae = ApplicationEntity((service,), AssociationSettings(), ListenerSettings())
    ac = accepted(ae, PresentationContextRQ(1, FIND, BOTH))
    assert [context.transfer_syntax for context in ac.presentation_contexts] == [EXPLICIT_VR_LITTLE_ENDIAN]
    association: Any = Scripted(dimse.C_FIND_RQ(message_id=1, affected_sop_class_uid=FIND))
    association.contexts = AcceptedContexts(
        [PresentationContextRQ(1, FIND, BOTH)], [PresentationContextAC(1, 0, EXPLICIT_VR_LITTLE_ENDIAN)]
    )
    ae.serve(association)
    assert len(handled) == 1
    only_implicit = accepted(ae, PresentationContextRQ(1, FIND, (IMPLICIT_VR_LITTLE_ENDIAN,)))
    assert [context.result for context in only_implicit.presentation_contexts] == [4]


# --- several of them, and services that say more ---


def test_the_called_title_chooses_the_entity() -> None:
    entities = ApplicationEntities({"ONE": entity(max_pdu=65536), "TWO": entity(max_pdu=131072)})
    lengths = []
    for title in ("ONE", "TWO"):
        decision = entities.decide(rq(called_ae_title=title))
        assert not isinstance(decision, AssociateRJ)
        lengths.append(decision[0].user_information.maximum_length)
    assert lengths == [65536, 131072]
    refused = entities.decide(rq(called_ae_title="THREE"))
    assert isinstance(refused, AssociateRJ)
    assert (refused.result, refused.source, refused.reason) == (1, 1, 7)
    with_default = ApplicationEntities({"ONE": entity()}, default=entity())
    assert not isinstance(with_default.decide(rq(called_ae_title="THREE")), AssociateRJ)


class Retrieving:
    """A service that lets the requestor be SCP, and negotiates."""

    def __init__(self) -> None:
        self.handlers: dict[type[Message], Any] = {}

    def transfer_syntaxes(self, abstract_syntax: str) -> tuple[str, ...] | None:
        return () if abstract_syntax == FIND else None

    def scp_role(self, abstract_syntax: str) -> bool:
        return abstract_syntax == CT

    def extended(self, item: SOPClassExtended) -> bytes | None:
        return item.information[:1]


def test_services_grant_roles_and_answer_extended_negotiation() -> None:
    settings = AssociationSettings(calling_ae_title="SCP")
    ae = ApplicationEntity((Retrieving(), StorageSCP(None)), settings, ListenerSettings())
    information = UserInformation(
        maximum_length=16384,
        roles=(Role(CT, False, True), Role(FIND, True, True)),
        extended=(SOPClassExtended(FIND, b"\1\1\1"), SOPClassExtended(CT, b"\1")),
    )
    contexts = (PresentationContextRQ(1, CT, BOTH), PresentationContextRQ(3, FIND, BOTH))
    answered = accepted(ae, *contexts, user_information=information).user_information
    assert answered.roles == (Role(CT, False, True), Role(FIND, True, False))
    assert answered.extended == (SOPClassExtended(FIND, b"\1"),)
