"""Verification service class (PS3.4 Annex A)."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

from dcmkit.errors import NoPresentationContextError, ProtocolError, StatusError
from dcmkit.protocol.message import C_ECHO_RQ, C_ECHO_RSP, Message
from dcmkit.uids import VERIFICATION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dcmkit.net.association import Association
    from dcmkit.services.application_entity import Handler


class VerificationSCP:
    """Answers C-ECHO-RQ."""

    def __init__(self) -> None:
        self.handlers: dict[type[Message], Handler] = {C_ECHO_RQ: self._echo}

    def transfer_syntaxes(self, abstract_syntax: str) -> Sequence[str] | None:
        """Any transfer syntax: a C-ECHO has no data set."""
        return () if abstract_syntax == VERIFICATION else None

    def _echo(self, association: Association, context_id: int, message: Message) -> None:
        assert isinstance(message, C_ECHO_RQ)
        if message.has_data_set:  # not allowed, but harmless
            association.skip_data_set()
        association.send(
            context_id,
            C_ECHO_RSP(message_id_being_responded_to=message.message_id, affected_sop_class_uid=VERIFICATION, status=0),
        )


def echo(association: Association) -> float:
    """One C-ECHO (PS3.7 9.1.5).

    Returns:
        The round trip in seconds.

    Raises:
        NoPresentationContextError: the peer does not offer verification.
        StatusError: it answered with a failure.
        NetworkError: the association ended.
    """
    contexts = association.contexts.transfer_syntaxes(VERIFICATION)
    if not contexts:
        why = association.contexts.why_not(VERIFICATION)
        raise NoPresentationContextError(f"no presentation context for the Verification SOP class: {why}")
    message_id = association.next_message_id()
    began = perf_counter()
    association.send(contexts[0][0], C_ECHO_RQ(message_id=message_id, affected_sop_class_uid=VERIFICATION))
    received = association.receive()
    seconds = perf_counter() - began
    response = received.message if received is not None else None
    if not isinstance(response, C_ECHO_RSP) or response.message_id_being_responded_to != message_id:
        association.abort()
        raise ProtocolError(f"peer answered the C-ECHO with {response!r}", reason=2)
    if response.status:
        raise StatusError(f"peer answered the C-ECHO with status 0x{response.status:04X}", status=response.status)
    return seconds
