"""Why an association does not come about or ends early: the acceptor's checks, and what the fields mean in words.

PS3.8 9.3.4 (A-ASSOCIATE-RJ) and 9.3.8 (A-ABORT).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dcmkit.protocol.pdu import Abort, AssociateRJ
from dcmkit.uids import APPLICATION_CONTEXT_NAME

if TYPE_CHECKING:
    from collections.abc import Collection

    from dcmkit.protocol.pdu import AssociateRQ

PERMANENT, TRANSIENT = 1, 2
"""Results of an A-ASSOCIATE-RJ."""

SERVICE_USER, SERVICE_PROVIDER_ACSE, SERVICE_PROVIDER_PRESENTATION = 1, 2, 3
"""Sources of an A-ASSOCIATE-RJ."""

LOCAL_LIMIT_EXCEEDED = AssociateRJ(TRANSIENT, SERVICE_PROVIDER_PRESENTATION, 2)
TEMPORARY_CONGESTION = AssociateRJ(TRANSIENT, SERVICE_PROVIDER_PRESENTATION, 1)
PROTOCOL_VERSION_NOT_SUPPORTED = AssociateRJ(PERMANENT, SERVICE_PROVIDER_ACSE, 2)
APPLICATION_CONTEXT_NAME_NOT_SUPPORTED = AssociateRJ(PERMANENT, SERVICE_USER, 2)
CALLING_AE_TITLE_NOT_RECOGNIZED = AssociateRJ(PERMANENT, SERVICE_USER, 3)
CALLED_AE_TITLE_NOT_RECOGNIZED = AssociateRJ(PERMANENT, SERVICE_USER, 7)
NO_REASON_GIVEN = AssociateRJ(PERMANENT, SERVICE_USER, 1)

_REJECT_REASONS = {
    (1, 1): ("no reason given", "the peer's log may tell; often it wants to know this AE title or user first"),
    (1, 2): ("application context name not supported", "this does not look like a DICOM peer of today"),
    (1, 3): ("calling AE title not recognised", "the peer has to be told about this AE title, or try another -aet"),
    (1, 7): ("called AE title not recognised", "it knows itself by another name; try -aec"),
    (2, 1): ("no reason given by its association control", "the peer's log may tell"),
    (2, 2): ("protocol version not supported", "this does not look like a DICOM peer of today"),
    (3, 1): ("temporary congestion", "try again later"),
    (3, 2): ("local limit exceeded", "the peer has as many associations as it takes; try again later"),
}

_ABORT_REASONS = {
    0: "reason not specified",
    1: "unrecognised PDU",
    2: "unexpected PDU",
    4: "unrecognised PDU parameter",
    5: "unexpected PDU parameter",
    6: "invalid PDU parameter value",
}


class Explanation(NamedTuple):
    """What happened, and what to do next; made for the two arguments of a `DcmkitError`."""

    message: str
    hint: str


def refuse(
    rq: AssociateRQ,
    *,
    called_ae_titles: Collection[str] | None = None,
    calling_ae_titles: Collection[str] | None = None,
) -> AssociateRJ | None:
    """The rejection a request deserves before its contexts are looked at, or None.

    Args:
        called_ae_titles: the titles this side answers to; None for any that is not blank or unprintable.
        calling_ae_titles: the titles that may call; None likewise.
    """
    if not rq.protocol_version & 1:
        return PROTOCOL_VERSION_NOT_SUPPORTED
    if rq.application_context_name != APPLICATION_CONTEXT_NAME:
        return APPLICATION_CONTEXT_NAME_NOT_SUPPORTED
    if not _is_recognized(rq.called_ae_title, called_ae_titles):
        return CALLED_AE_TITLE_NOT_RECOGNIZED
    if not _is_recognized(rq.calling_ae_title, calling_ae_titles):
        return CALLING_AE_TITLE_NOT_RECOGNIZED
    return None


def _is_recognized(title: str, titles: Collection[str] | None) -> bool:
    """PS3.5 6.2: an AE title has at least one character that is not a space, and no control characters."""
    if not title or any(character < " " or character == "\x7f" for character in title):
        return False
    return titles is None or title in titles


def reject_reason(rejection: AssociateRJ) -> Explanation:
    """An A-ASSOCIATE-RJ in words, with the likely fix."""
    reason, hint = _REJECT_REASONS.get((rejection.source, rejection.reason), ("", ""))
    if not reason:
        reason = f"source {rejection.source}, reason {rejection.reason}, which PS3.8 does not define"
    if rejection.result == TRANSIENT and not hint.endswith("try again later"):
        hint = f"{hint}; the peer calls this transient, so a later attempt may succeed".removeprefix("; ")
    return Explanation(f"peer refused the association: {reason}", hint)


def abort_reason(abort: Abort) -> Explanation:
    """An A-ABORT in words; only the service provider gives reasons."""
    if abort.source == 0:
        return Explanation("peer aborted the association", "its application gave up; the peer's log may tell why")
    reason = _ABORT_REASONS.get(abort.reason) or f"undefined reason {abort.reason}"
    hint = "the peer did not understand what it received; its log may tell more"
    return Explanation(f"peer aborted the association: {reason}", hint if abort.reason else "")
