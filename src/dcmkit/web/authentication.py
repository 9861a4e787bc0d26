"""Who may do what on the DICOMweb server; independent of what serves it.

A request comes as its method, its path, what it needs (the route knows), and its headers and query parameters as
mappings. It is answered with an Identity, or with an AccessError that has the HTTP status and headers. Every refusal is
logged, without any secret.

    access = Authenticator(basic=Basic("users"), tokens=Tokens("tokens"))
    identity = access.authorize("GET", path, ("retrieve",), headers, studies=(study_instance_uid,), client=address)

Credentials are tried in this order: an Authorization header, then the parameters of a link, then none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dcmkit.logs import get_logger
from dcmkit.web.identity import SCOPES, AccessError, ForbiddenError, Identity, UnauthorizedError
from dcmkit.web.links import is_link
from dcmkit.web.tokens import PREFIX

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from dcmkit.web.basic import Basic
    from dcmkit.web.bearer import JWTs
    from dcmkit.web.links import Links
    from dcmkit.web.tokens import Tokens

log = get_logger("web")

LONGEST = 8200
"""Characters of an Authorization header: a token and its scheme."""

_REALM = 'realm="dcmkit"'
_NO_QUERY: Mapping[str, str] = {}
_PATH_IN_LOG = 200
_MALFORMED = "malformed credentials"


class Authenticator:
    """Decides about requests.

    Args:
        basic, tokens, jwts, links: the ways to be known; None where one is not offered.
        anonymous: what those may do who say nothing about themselves. All the scopes make an open server.
    """

    def __init__(
        self,
        *,
        basic: Basic | None = None,
        tokens: Tokens | None = None,
        jwts: JWTs | None = None,
        links: Links | None = None,
        anonymous: Collection[str] = (),
    ) -> None:
        self._basic, self._tokens, self._jwts, self._links = basic, tokens, jwts, links
        self._anonymous = Identity("-", "anonymous", frozenset(anonymous))

    def authorize(
        self,
        method: str,
        path: str,
        needs: Collection[str],
        headers: Mapping[str, str],
        *,
        studies: Collection[str] = (),
        filters: bool = False,
        query: Mapping[str, str] = _NO_QUERY,
        client: str = "",
    ) -> Identity:
        """Whom a request comes from, if it may.

        Args:
            path: without the query; for the log.
            needs: the scopes, all of which it needs.
            headers: by lower-case name, or by any (as Starlette's).
            studies: the Study Instance UIDs that path or query name.
            filters: the caller keeps to `identity.studies` itself (a search by adding it to the query, a store by
                `identity.require` for each instance). Otherwise who is limited to studies must name them.
            query: query parameters. Those of links (`links.PARAMETERS`) are to be taken out before others are read.
            client: the address it comes from.

        Raises:
            UnauthorizedError: 401, with WWW-Authenticate.
            ForbiddenError: 403.
            TooManyAttemptsError: 429, with Retry-After.
        """
        try:
            if _is_preflight(method, headers):
                return self._anonymous
            identity, scheme = self._identify(headers, query, client)
            self._check(identity, scheme, needs, studies, filters)
        except AccessError as error:
            log.warning(
                "refused with %d: %s %s from %s: %s",
                error.http_status, method[:20], path[:_PATH_IN_LOG], client or "-", error.reason,
            )  # fmt: skip
            raise
        return identity

    def is_quick(self, headers: Mapping[str, str]) -> bool:
        """Whether `authorize` answers without delay. If not, a password has to be hashed: call it in a thread."""
        scheme, credentials = _split(_header(headers, "authorization"))
        return scheme != "basic" or self._basic is None or self._basic.is_remembered(credentials)

    @property
    def is_open(self) -> bool:
        """Whether nobody needs to be known."""
        return self._anonymous.scopes.issuperset(SCOPES)

    def _identify(self, headers: Mapping[str, str], query: Mapping[str, str], client: str) -> tuple[Identity, str]:
        """Whom it comes from, and the scheme by which that was told, in small letters."""
        header = _header(headers, "authorization")
        if header:
            scheme, credentials = _split(header)
            identity, wrong = self._by_header(scheme, credentials, client)
            if identity is None:
                raise self._unauthorized(wrong, scheme)
            return identity, scheme
        if self._links is not None and is_link(query):
            identity, wrong = self._links.identify(query)
            if identity is None:
                raise ForbiddenError(wrong)  # no challenge: there is nothing to type in that would mend a link
            return identity, "link"
        return self._anonymous, ""

    def _by_header(self, scheme: str, credentials: str, client: str) -> tuple[Identity | None, str]:
        if not credentials:
            return None, _MALFORMED
        if scheme == "basic" and self._basic is not None:
            return self._basic.identify(credentials, client)
        if scheme == "bearer" and self._tokens is not None and credentials.startswith(PREFIX):
            return self._tokens.identify(credentials)
        if scheme == "bearer" and self._jwts is not None:
            return self._jwts.identify(credentials)
        if scheme == "bearer" and self._tokens is not None:
            return None, "unknown token"
        return None, "credentials of a kind that is not taken here"

    def _check(
        self, identity: Identity, scheme: str, needs: Collection[str], studies: Collection[str], filters: bool
    ) -> None:
        missing = [scope for scope in needs if scope not in identity.scopes]
        if missing and identity.kind == "anonymous":
            raise self._unauthorized("no credentials", "")
        who = f"{identity.kind} {identity.name}"
        if missing:
            headers = _insufficient(needs) if scheme == "bearer" else ()
            what = f"not allowed to {' and '.join(missing)}"
            raise ForbiddenError(what, headers=headers, reason=f"{who} is {what}")
        if identity.studies is None:
            return
        if not all(study in identity.studies for study in studies):
            raise ForbiddenError("not allowed for this study", reason=f"{who} is not allowed for this study")
        if not studies and not filters:
            raise ForbiddenError("limited to studies: name one", reason=f"{who} is limited to studies and named none")

    def _unauthorized(self, reason: str, scheme: str) -> AccessError:
        """With a challenge for each way in (RFC 9110 11.6.1); where links are the only one, there is none to give."""
        challenges = []
        if self._tokens is not None or self._jwts is not None:
            # what exactly is wrong with a token is the log's business (RFC 6750 3.1 has one code for all of it)
            challenges.append(f"Bearer {_REALM}" + (', error="invalid_token"' if scheme == "bearer" else ""))
        if self._basic is not None:
            challenges.append(self._basic.challenge)
        if not challenges:
            return ForbiddenError("not allowed", reason=reason)
        headers = tuple(("WWW-Authenticate", value) for value in challenges)
        return UnauthorizedError("credentials are missing or wrong", headers=headers, reason=reason)


def _insufficient(needs: Collection[str]) -> tuple[tuple[str, str], ...]:
    """RFC 6750 3.1."""
    scopes = " ".join(scope for scope in SCOPES if scope in needs)
    return (("WWW-Authenticate", f'Bearer {_REALM}, error="insufficient_scope", scope="{scopes}"'),)


def _is_preflight(method: str, headers: Mapping[str, str]) -> bool:
    """Browsers ask before they send credentials (Fetch 4.8); what they ask for is not done."""
    return method == "OPTIONS" and bool(_header(headers, "access-control-request-method"))


def _header(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name)
    if value is None:
        value = next((headers[key] for key in headers if key.lower() == name), "")
    return value


def _split(header: str) -> tuple[str, str]:
    """Scheme in small letters, and credentials; none where the header is longer than any that is good."""
    if len(header) > LONGEST:
        return header[:7].rstrip().lower(), ""
    scheme, _, credentials = header.strip().partition(" ")
    return scheme.lower(), credentials.strip()
