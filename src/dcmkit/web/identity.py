"""Who asks, what they may do, and how they are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dcmkit.errors import DcmkitError, ExitCode, UsageError
from dcmkit.uids import is_uid

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

SCOPES = ("query", "retrieve", "store", "delete", "admin")
"""What can be allowed; none of them includes another."""

ALL_SCOPES = frozenset(SCOPES)
USUAL_SCOPES = frozenset(("query", "retrieve", "store"))
"""Of those who are listed without scopes: what destroys is never given silently."""


class AccessError(DcmkitError):
    """A request that is not allowed.

    Attributes:
        headers: names and values that belong into the answer; a name may come several times.
        reason: what exactly is wrong, for the log only: whoever is guessing must not learn whether a user exists.
    """

    exit_code = ExitCode.REQUEST_FAILED
    dimse_status = 0x0124
    """Refused: not authorized (PS3.7 C.5.22)."""
    http_status = 403

    def __init__(
        self, message: str, *, hint: str = "", headers: tuple[tuple[str, str], ...] = (), reason: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.headers = headers
        self.reason = reason or message


class UnauthorizedError(AccessError):
    """Nobody known: no credentials, or wrong ones (RFC 9110 15.5.2); `headers` has the challenges."""

    http_status = 401


class ForbiddenError(AccessError):
    """Somebody known, who may not do this (RFC 9110 15.5.4)."""


class TooManyAttemptsError(AccessError):
    """Wrong passwords came too fast (RFC 6585 4); `headers` has Retry-After."""

    http_status = 429


class Identity(NamedTuple):
    """Whom a request comes from.

    Attributes:
        name: of the user, the token, the subject; for logs.
        kind: "basic", "token", "jwt", "link" or "anonymous".
        scopes: what it may do.
        studies: the Study Instance UIDs it is limited to; None for no limit.
    """

    name: str
    kind: str
    scopes: frozenset[str]
    studies: frozenset[str] | None = None

    def may(self, scope: str, study: str | None = None) -> bool:
        """Whether it may do this, with this study where one is named."""
        return scope in self.scopes and (study is None or self.may_reach(study))

    def may_reach(self, study: str) -> bool:
        """Whether this study is within its limits."""
        return self.studies is None or study in self.studies

    def require(self, scope: str, study: str | None = None) -> None:
        """To be asked for what only turns up within a request, for example the study of each instance to be stored.

        Raises:
            ForbiddenError: it may not.
        """
        if scope not in self.scopes:
            raise ForbiddenError(f"not allowed to {scope}")
        if study is not None and not self.may_reach(study):
            raise ForbiddenError("not allowed for this study")


def parse_scopes(text: str | Iterable[str]) -> frozenset[str]:
    """The scopes of `query,retrieve`, of words with blanks between them, or of a list; `all` is all of them.

    Raises:
        UsageError: there is none, or one of them is unknown.
    """
    words = text.replace(",", " ").split() if isinstance(text, str) else list(text)
    if words == ["all"]:
        return ALL_SCOPES
    unknown = [word for word in words if word not in ALL_SCOPES]
    if unknown or not words:
        said = unknown[0] if unknown else ""
        raise UsageError(f"{said!r} is no scope", hint=f"say all, or some of {', '.join(SCOPES)}")
    return frozenset(words)


def parse_studies(text: str | Iterable[str]) -> frozenset[str]:
    """The UIDs of `1.2.3,1.2.4`, or of a list.

    Raises:
        UsageError: there is none, or one of them is no UID.
    """
    uids = text.replace(",", " ").split() if isinstance(text, str) else list(text)
    if not uids or not all(is_uid(uid) for uid in uids):
        raise UsageError("a limit to studies is not a list of UIDs")
    return frozenset(uids)


def in_order(scopes: Collection[str]) -> str:
    """Scopes with commas between them, in the order of SCOPES."""
    return ",".join(scope for scope in SCOPES if scope in scopes)
