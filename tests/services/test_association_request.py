"""What dcmkit's SCUs ask for (PS3.8 7.1, PS3.7 D.3.3)."""

from __future__ import annotations

from dcmkit import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dcmkit.protocol import pdu
from dcmkit.protocol.pdu import AssociateRQ, PresentationContextRQ
from dcmkit.protocol.user_information import Role, SOPClassExtended, UserIdentity
from dcmkit.services.association_request import association_request
from dcmkit.settings import RequestorSettings

CONTEXT = PresentationContextRQ(1, "1.2.840.10008.1.1", ("1.2.840.10008.1.2",))
SETTINGS = RequestorSettings(calling_ae_title="ME", called_ae_title="YOU", max_pdu=32768)


def sent(rq: AssociateRQ) -> AssociateRQ:
    """The request as the peer reads it."""
    encoded = rq.encode()
    received = pdu.decode(encoded[0], encoded[6:])
    assert isinstance(received, AssociateRQ)
    return received


def test_titles_contexts_and_limits_come_from_the_settings() -> None:
    rq = sent(association_request(SETTINGS, [CONTEXT]))
    assert (rq.calling_ae_title, rq.called_ae_title) == ("ME", "YOU")
    assert rq.presentation_contexts == (CONTEXT,)
    assert rq.user_information.maximum_length == 32768
    assert rq.user_information.implementation_class_uid == IMPLEMENTATION_CLASS_UID
    assert rq.user_information.implementation_version_name == IMPLEMENTATION_VERSION_NAME


def test_nothing_is_negotiated_that_was_not_asked_for() -> None:
    information = sent(association_request(SETTINGS, [CONTEXT])).user_information
    assert information.user_identity is None
    assert information.asynchronous_operations is None
    assert (information.roles, information.extended, information.common_extended) == ((), (), ())


def test_identity_and_roles_go_along() -> None:
    identity = UserIdentity(2, True, b"user", b"secret")
    role = Role("1.2.840.10008.5.1.4.1.1.2", False, True)
    information = sent(association_request(SETTINGS, [CONTEXT], identity, [role])).user_information
    assert information.user_identity == identity
    assert information.roles == (role,)


def test_extended_negotiation_goes_along() -> None:
    extended = SOPClassExtended("1.2.840.10008.5.1.4.1.2.2.1", b"\1\0\1")
    assert sent(association_request(SETTINGS, [CONTEXT], extended=[extended])).user_information.extended == (extended,)


def test_as_many_contexts_as_an_association_holds() -> None:
    contexts = [PresentationContextRQ(2 * i + 1, f"1.2.3.{i}", ("1.2.840.10008.1.2",)) for i in range(128)]
    assert sent(association_request(SETTINGS, contexts)).presentation_contexts == tuple(contexts)
