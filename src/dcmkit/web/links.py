"""Links: query parameters that allow what they say for one study until a moment, signed with a secret of the server.

    linkStudy=1.2.3&linkExpires=1796083200&linkScope=query,retrieve&linkSignature=...

A file holds the secret, 32 bytes or more in hexadecimal, a line each: the first one signs, all of them are believed.
Without its secret a link is void.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
import time
from typing import TYPE_CHECKING

from dcmkit.errors import UsageError
from dcmkit.uids import is_uid
from dcmkit.web.credential_file import WatchedFile, read_lines, warn_of_readers, write_lines
from dcmkit.web.identity import Identity, in_order, parse_scopes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

WHAT = "link secret"

STUDY, EXPIRES, SCOPE, SIGNATURE = PARAMETERS = ("linkStudy", "linkExpires", "linkScope", "linkSignature")

LINK_SCOPES = frozenset(("query", "retrieve", "store"))
"""What a link can allow: it can be passed on, so nothing that destroys."""

LONGEST = 366 * 86400.0
"""Seconds a link may be good for."""

_SECRET = 32
_MOMENT = re.compile(r"[1-9][0-9]{0,11}")


class Links:
    """Makes links and believes them.

    Args:
        path: the file with the secret.
        clock: for tests.

    Raises:
        InputError: it cannot be read.
        UsageError: it holds no secret.
    """

    def __init__(self, path: str, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._secrets: WatchedFile[tuple[bytes, ...]] = WatchedFile(path, self._load, ())
        warn_of_readers(path, WHAT)

    def sign(self, study: str, expires: float, scopes: Collection[str] = ("query", "retrieve")) -> dict[str, str]:
        """The query parameters that allow this.

        Args:
            expires: seconds since 1970.

        Raises:
            UsageError: no UID, a moment in the past or too far away, scopes that a link cannot have, no secret.
        """
        if not is_uid(study):
            raise UsageError("a link is for one study, by its UID")
        now = self._clock()
        if not now < expires <= now + LONGEST:
            raise UsageError(f"a link expires later than now and within {LONGEST / 86400:.0f} days")
        wanted = parse_scopes(list(scopes))
        if not wanted <= LINK_SCOPES:
            raise UsageError("a link cannot allow this", hint=f"it can allow {in_order(LINK_SCOPES)}")
        secrets = self._secrets.current()
        if not secrets:
            raise UsageError(f"{WHAT} {self._path} is missing")
        text = str(int(expires))
        signature = _sign(secrets[0], study, text, in_order(wanted))
        return {STUDY: study, EXPIRES: text, SCOPE: in_order(wanted), SIGNATURE: signature}

    def identify(self, query: Mapping[str, str]) -> tuple[Identity | None, str]:
        """What these parameters allow; or None, and what is wrong with them."""
        study, expires, scope, signature = (query.get(name, "") for name in PARAMETERS)
        try:
            scopes = parse_scopes(scope[:100])
        except UsageError:
            scopes = frozenset()
        well_formed = is_uid(study) and _MOMENT.fullmatch(expires) and scopes and scopes <= LINK_SCOPES
        if not well_formed or scope != in_order(scopes) or len(signature) > 100:
            return None, "malformed link"
        given = signature.encode("utf-8", "surrogatepass")
        good = [
            hmac.compare_digest(_sign(secret, study, expires, scope).encode(), given)
            for secret in self._secrets.current()
        ]
        if not any(good):
            return None, "link with a wrong signature"
        if int(expires) <= self._clock():
            return None, "expired link"
        return Identity(f"link to {study}", "link", scopes, frozenset((study,))), ""

    def _load(self, _: bool) -> tuple[bytes, ...]:
        lines = [line.strip() for line in read_lines(self._path, WHAT)]
        wanted = [line for line in lines if line and not line.startswith("#")]
        try:
            secrets = tuple(bytes.fromhex(line) for line in wanted)
        except ValueError:
            secrets = ()
        if not 0 < len(secrets) <= 16 or min(map(len, secrets)) < _SECRET:
            raise UsageError(f"{WHAT} {self._path} is not {_SECRET} bytes in hexadecimal, a line for each secret")
        return secrets


def is_link(query: Mapping[str, str]) -> bool:
    """Whether there is any parameter of a link."""
    return any(name in query for name in PARAMETERS)


def create_secret(path: str) -> None:
    """Write a new secret to a new file that only its owner may read.

    Raises:
        UsageError: there is something of that name already.
        OutputError: it cannot be written.
    """
    if os.path.lexists(path):
        raise UsageError(f"{path} is there already", hint="links made with it would be void; name another file")
    write_lines(
        path, WHAT, ["# Who has this can make links into the archive: keep it secret.", os.urandom(_SECRET).hex()]
    )


def _sign(secret: bytes, study: str, expires: str, scope: str) -> str:
    text = f"dcmkit link 1\n{study}\n{expires}\n{scope}".encode()
    return base64.urlsafe_b64encode(hmac.digest(secret, text, hashlib.sha256)).decode().rstrip("=")
