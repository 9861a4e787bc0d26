"""How objects of the spool get to a destination: the door that transports share, and C-STORE behind it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple, Protocol

from dcmkit.dataset.part10 import read_file_header
from dcmkit.errors import (
    AssociationRejectedError,
    ConnectError,
    DcmkitError,
    NetworkError,
    NoPresentationContextError,
    ProtocolError,
)
from dcmkit.protocol.status import describe
from dcmkit.services.sending import File, Sent
from dcmkit.services.storage_scu import send_files

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dcmkit.protocol.user_information import UserIdentity
    from dcmkit.settings import RequestorSettings

DELIVERED, REFUSED, GONE, FAILED, UNTRIED = "delivered", "refused", "gone", "failed", "untried"
"""The destination has it; it says no and will say no again; there is no file any more; this time it did not work; it
was not even tried, because the destination cannot be reached."""

_PROCESSING_FAILURE, _RESOURCE_LIMITATION = 0x0110, 0x0213
_OUT_OF_RESOURCES = range(0xA700, 0xA800)


class Outcome(NamedTuple):
    """How the delivery of an object ended.

    Attributes:
        kind: `DELIVERED`, `REFUSED`, `GONE`, `FAILED` or `UNTRIED`.
        reason: why it is not there, for whoever looks into the spool: it may hold what the peer has said.
        told: the same for the log, without a word of the peer's.
    """

    kind: str
    reason: str = ""
    told: str = ""


class Transport(Protocol):
    """A way to a destination."""

    def deliver(
        self, paths: Sequence[str], report: Callable[[str, Outcome], None], stopped: Callable[[], bool]
    ) -> None:
        """Deliver files, in this order as far as that can be.

        Args:
            paths: the files, each once.
            report: is told the outcome of each, as soon as it is known.
            stopped: asked between objects: once it says yes, the others are neither sent nor reported.

        Raises:
            NetworkError: the destination cannot be reached; what was not reported was not tried.
        """


class StoreTransport:
    """C-STORE, as `storescu` does it: many objects over one association, converted where the peer needs that.

    Args:
        host, port: the peer.
        settings: AE titles, limits, time-outs.
    """

    def __init__(
        self, host: str, port: int, settings: RequestorSettings, *, user_identity: UserIdentity | None = None
    ) -> None:
        self._host, self._port, self._settings, self._user_identity = host, port, settings, user_identity

    def deliver(
        self, paths: Sequence[str], report: Callable[[str, Outcome], None], stopped: Callable[[], bool]
    ) -> None:
        """See `Transport`."""
        files: list[File] = []
        for path in paths:
            try:
                files.append(File(path, read_file_header(path)))
            except DcmkitError as error:
                if os.path.lexists(path):
                    report(path, Outcome(REFUSED, str(error), "its file cannot be read"))
                else:
                    reason = "its file was removed before it was delivered"
                    report(path, Outcome(GONE, reason, reason))
        if files:
            send_files(
                self._host,
                self._port,
                files,
                self._settings,
                user_identity=self._user_identity,
                report=lambda sent: report(sent.path, outcome_of(sent)),
                stopped=stopped,
            )


def outcome_of(sent: Sent) -> Outcome:
    """What an answer, or why there was none, means for the spool."""
    if sent.stored:
        return Outcome(DELIVERED)
    if sent.status is not None:
        told = f"refused with status 0x{sent.status:04X}: {describe(sent.status, 'storage')}"
        kind = FAILED if _passes(sent.status) else REFUSED
        return Outcome(kind, f"refused with status 0x{sent.status:04X}: {sent.comment}", told)
    error = sent.error
    if isinstance(error, (ConnectError, AssociationRejectedError)):
        return Outcome(UNTRIED, sent.comment, error.message)
    if isinstance(error, NetworkError) and not isinstance(error, NoPresentationContextError):
        told = "the peer broke the protocol" if isinstance(error, ProtocolError) else error.message
        return Outcome(FAILED, sent.comment, told)
    return Outcome(REFUSED, sent.comment, error.message if error is not None else "")


def _passes(status: int) -> bool:
    """Whether a failure may be over next time (PS3.4 B.2.3, PS3.7 C.5): the others are about the object itself."""
    return status in _OUT_OF_RESOURCES or status in (_PROCESSING_FAILURE, _RESOURCE_LIMITATION)
