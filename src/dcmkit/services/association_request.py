"""The A-ASSOCIATE-RQ of dcmkit's SCUs (PS3.8 7.1, PS3.7 D.3.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dcmkit import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from dcmkit.protocol.pdu import AssociateRQ
from dcmkit.protocol.user_information import Role, SOPClassExtended, UserIdentity, UserInformation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dcmkit.protocol.pdu import PresentationContextRQ
    from dcmkit.settings import RequestorSettings


def association_request(
    settings: RequestorSettings,
    contexts: Sequence[PresentationContextRQ],
    user_identity: UserIdentity | None = None,
    roles: Sequence[Role] = (),
    extended: Sequence[SOPClassExtended] = (),
) -> AssociateRQ:
    """What an SCU asks for.

    Args:
        settings: AE titles and the maximum length to announce.
        contexts: the presentation contexts to propose, at most 128.
        user_identity: who is asking (PS3.7 D.3.3.7).
        roles: role selection (PS3.7 D.3.3.4).
        extended: SOP class extended negotiation (PS3.7 D.3.3.5).
    """
    return AssociateRQ(
        settings.called_ae_title,
        settings.calling_ae_title,
        tuple(contexts),
        UserInformation(
            maximum_length=settings.max_pdu,
            implementation_class_uid=IMPLEMENTATION_CLASS_UID,
            implementation_version_name=IMPLEMENTATION_VERSION_NAME,
            roles=tuple(roles),
            extended=tuple(extended),
            user_identity=user_identity,
        ),
    )
