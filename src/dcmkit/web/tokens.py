"""API tokens: random texts of which a file holds digests, a line for each.

    NAME sha256:DIGEST scopes=query,retrieve expires=2027-01-31T00:00:00Z studies=1.2.3,1.2.4

`expires` and `studies` may be missing. A token is revoked by removing its line.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, NamedTuple

from dcmkit.errors import UsageError
from dcmkit.web import credential_file
from dcmkit.web.credential_file import CredentialFile
from dcmkit.web.identity import Identity, in_order, parse_scopes, parse_studies

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

WHAT = "token file"

PREFIX = "dcmkit_"
"""Of every token: tells it from a JWT, and is found by what searches texts for secrets."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_DIGEST = re.compile(r"sha256:([0-9a-f]{64})")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d(?:T\d\d:\d\d:\d\dZ)?")


class Token(NamedTuple):
    """One line of a token file.

    Attributes:
        expires: seconds since 1970, None for never.
        studies: the Study Instance UIDs it is limited to; None for no limit.
    """

    name: str
    digest: str
    scopes: frozenset[str]
    expires: float | None = None
    studies: frozenset[str] | None = None


class Tokens:
    """The tokens of a file, as the file is now.

    Raises:
        InputError: it cannot be read.
        UsageError: a line of it is no token.
    """

    def __init__(self, path: str, clock: Callable[[], float] = time.time) -> None:
        self._file = CredentialFile(path, WHAT, _parse_by_digest)
        self._clock = clock

    def identify(self, token: str) -> tuple[Identity | None, str]:
        """Whose token it is; or None, and what is wrong with it."""
        digest = _digest(token)
        entry = self._file.get(digest)  # by digest: what is compared early says nothing about the token
        if entry is None or not hmac.compare_digest(entry.digest, digest):
            return None, "unknown token"
        if entry.expires is not None and entry.expires <= self._clock():
            return None, "expired token"
        return Identity(entry.name, "token", entry.scopes, entry.studies), ""

    def all(self) -> list[Token]:
        """All of them."""
        return list(self._file.entries().values())


def parse_token(line: str) -> Token:
    """One line.

    Raises:
        UsageError: it is no token.
    """
    name, *rest = line.split()
    digest = _DIGEST.fullmatch(rest[0]) if rest else None
    if not _NAME.fullmatch(name) or digest is None:
        raise UsageError("not of the form NAME sha256:DIGEST scopes=SCOPES")
    fields: dict[str, str] = {}
    for word in rest[1:]:
        key, _, value = word.partition("=")
        if key not in ("scopes", "expires", "studies") or key in fields or not value:
            raise UsageError("something other than scopes=, expires= and studies=, or one of them twice")
        fields[key] = value
    if "scopes" not in fields:
        raise UsageError("no scopes=")
    expires = parse_moment(fields["expires"]) if "expires" in fields else None
    studies = parse_studies(fields["studies"]) if "studies" in fields else None
    return Token(name, digest[1], parse_scopes(fields["scopes"]), expires, studies)


def create(
    path: str,
    name: str,
    scopes: Collection[str],
    *,
    expires: float | None = None,
    studies: Collection[str] | None = None,
) -> str:
    """Add a token to a file, which is made if there is none. It is told this once only.

    Args:
        expires: seconds since 1970; None for never.

    Raises:
        UsageError: the name is none or taken, or scopes or studies are none.
        InputError, OutputError: the file cannot be read or written.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no name of a token", hint="letters, digits and ._@- are, up to 64")
    token = PREFIX + secrets.token_urlsafe(32)
    line = f"{name} sha256:{_digest(token)} scopes={in_order(parse_scopes(list(scopes)))}"
    if expires is not None:
        line += f" expires={format_moment(expires)}"
    if studies is not None:
        line += f" studies={','.join(sorted(parse_studies(list(studies))))}"

    def edit(lines: list[str]) -> list[str]:
        if any(known.split()[:1] == [name] for known in lines):
            raise UsageError(f"there is a token {name} already", hint="revoke it, or take another name")
        return [*lines, line]

    credential_file.change(path, WHAT, edit)
    return token


def revoke(path: str, name: str) -> bool:
    """Take a token out of a file; whether there was one.

    Raises:
        InputError, OutputError: the file cannot be read or written.
    """
    found = False

    def edit(lines: list[str]) -> list[str]:
        nonlocal found
        kept = [line for line in lines if line.split()[:1] != [name]]
        found = len(kept) < len(lines)
        return kept

    credential_file.change(path, WHAT, edit)
    return found


def parse_moment(text: str) -> float:
    """Seconds since 1970 of `2027-01-31` (its beginning) or `2027-01-31T12:00:00Z`, both in UTC.

    Raises:
        UsageError: it is neither.
    """
    try:
        if not _MOMENT.fullmatch(text):
            raise ValueError
        return datetime.fromisoformat(text.rstrip("Z")).replace(tzinfo=timezone.utc).timestamp()
    except ValueError:
        raise UsageError("a moment that is none", hint="for example 2027-01-31 or 2027-01-31T12:00:00Z") from None


def format_moment(moment: float) -> str:
    """As `parse_moment` reads it.

    Raises:
        UsageError: it lies beyond the year 9999.
    """
    try:
        return datetime.fromtimestamp(int(moment), timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        raise UsageError("a moment beyond all calendars") from None


def _parse_by_digest(line: str) -> tuple[str, Token]:
    token = parse_token(line)
    return token.digest, token


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
