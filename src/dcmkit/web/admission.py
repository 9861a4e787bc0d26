"""From settings to who may do what on the DICOMweb server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dcmkit.errors import UsageError
from dcmkit.logs import get_logger
from dcmkit.web.authentication import Authenticator
from dcmkit.web.identity import ALL_SCOPES, in_order, parse_scopes

if TYPE_CHECKING:
    from collections.abc import Collection

    from dcmkit.web.settings import WebSettings

log = get_logger("web")


def authenticator_of(
    settings: WebSettings, *, exposed: bool, rights: Collection[str] = ALL_SCOPES
) -> Authenticator | None:
    """Who decides about requests; None where everybody may do everything.

    Args:
        exposed: whether others than this machine reach the service.
        rights: what is allowed with the archive at all, to those who say nothing about themselves.

    Raises:
        UsageError, InputError: a file is missing, or not what it must be.
    """
    ways = _ways(settings)
    anonymous = anonymous_scopes(settings, exposed=exposed) & frozenset(rights)
    if anonymous >= ALL_SCOPES and not ways:
        return None
    return Authenticator(anonymous=anonymous, **ways)


def anonymous_scopes(settings: WebSettings, *, exposed: bool) -> frozenset[str]:
    """What those may do who say nothing about themselves."""
    if settings.anonymous == "none":
        return frozenset()
    if settings.anonymous:
        return parse_scopes(settings.anonymous)
    return frozenset() if exposed or settings.auth else ALL_SCOPES


def warn_of_exposure(settings: WebSettings, addresses: Collection[str]) -> None:
    """Say what others than this machine can do, where that may not be meant.

    Args:
        addresses: those listened to that are not of this machine alone.
    """
    if not addresses:
        return
    where = ", ".join(addresses)
    anonymous = anonymous_scopes(settings, exposed=True)
    if anonymous:
        log.warning("everybody who reaches %s may %s here, without a password", where, in_order(anonymous))
    elif not settings.auth:
        log.warning("nobody may do anything at %s: say who, with --auth, or --anonymous query,retrieve", where)
    if not settings.tls_cert and not settings.trusted_proxies:
        log.warning("what goes over the network to and from %s can be read there: say --tls-cert", where)


def _ways(settings: WebSettings) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for text in settings.auth:
        kind, _, path = text.partition(":")
        name = {"users": "basic", "jwt": "jwts"}.get(kind, kind)
        if name in found:
            raise UsageError(f"--auth {kind}: twice", hint="put all of them into one file")
        found[name] = _way(kind, path, settings)
    if "jwts" not in found:
        for option in ("jwt_issuer", "jwt_audience", "jwt_algorithms", "jwt_scope_prefix", "jwt_studies_claim"):
            if getattr(settings, option):
                flag = settings.options[option].flags[0]
                raise UsageError(f"{flag} without --auth jwt:FILE", hint="say which keys their tokens are checked with")
    return found


def _way(kind: str, path: str, settings: WebSettings) -> Any:
    if kind == "users":
        from dcmkit.web.basic import Basic

        return Basic(path)
    if kind == "tokens":
        from dcmkit.web.tokens import Tokens

        return Tokens(path)
    if kind == "links":
        from dcmkit.web.links import Links

        return Links(path)
    from dcmkit.web.bearer import ALGORITHMS, JWTRules, JWTs

    return JWTs(
        JWTRules(
            path,
            settings.jwt_algorithms or ALGORITHMS,
            settings.jwt_issuer,
            settings.jwt_audience,
            scope_prefix=settings.jwt_scope_prefix,
            studies_claim=settings.jwt_studies_claim,
        )
    )
