"""STOW-RS as a way to a destination of the spool."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dcmkit.errors import InputError
from dcmkit.services.delivery import DELIVERED, FAILED, GONE, REFUSED, Outcome, outcome_of
from dcmkit.web.http_body import FileChangedError
from dcmkit.web.http_response import HttpStatusError
from dcmkit.web.stow_answer import describe_reason
from dcmkit.web.stow_client import Limits, StowClient

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dcmkit.services.sending import Sent
    from dcmkit.web.http_auth import Auth
    from dcmkit.web.http_client import HttpClient, Options

ATTEMPTS, LONGEST_WAIT = 2, 30.0
"""Beyond that the spool is patient itself."""
_FAILS = (500,)
"""What a server answers that fails; with other statuses it refuses."""


class StowTransport:
    """See `dcmkit.services.delivery.Transport`.

    A server that cannot be reached, does not want us or is busy is tried again for ever; an object that it refuses
    becomes a dead letter in the end.

    Args:
        url: of the service, of its studies, or of one study.
        files, size: of one request at most.

    Raises:
        UsageError, InputError: the URL or a certificate is not usable.
    """

    def __init__(
        self,
        url: str,
        *,
        auth: Auth | None = None,
        options: Options | None = None,
        files: int = 50,
        size: int = 64 << 20,
    ) -> None:
        from dcmkit.web.http_client import HttpClient

        self._client: HttpClient = HttpClient(url, auth=auth, options=options)
        self._limits = Limits(files, size, ATTEMPTS, LONGEST_WAIT)

    def deliver(
        self, paths: Sequence[str], report: Callable[[str, Outcome], None], stopped: Callable[[], bool]
    ) -> None:
        """See `Transport`."""
        with self._client:
            stow = StowClient(self._client, self._limits)
            stow.store(paths, lambda sent: report(sent.path, outcome_of_stow(sent)), stopped)


def outcome_of_stow(sent: Sent) -> Outcome:
    """What an answer, or why there was none, means for the spool."""
    if isinstance(sent.error, InputError):
        if not os.path.lexists(sent.path):
            reason = "its file was removed before it was delivered"
            return Outcome(GONE, reason, reason)
        if isinstance(sent.error, FileChangedError):
            return Outcome(FAILED, sent.comment, sent.error.message)
        return Outcome(REFUSED, sent.comment, "its file cannot be read")
    if isinstance(sent.error, HttpStatusError) and sent.error.status not in _FAILS:  # else it would not be of an object
        return Outcome(REFUSED, sent.comment, sent.error.message)
    outcome = outcome_of(sent)
    if sent.status is None or outcome.kind == DELIVERED:
        return outcome
    return outcome._replace(told=f"refused: {describe_reason(sent.status)}")
