"""The options of the DICOMweb service."""

from __future__ import annotations

from typing import ClassVar

from dcmkit.errors import UsageError
from dcmkit.settings import Settings, Shortcut, option, size_text

AUTH_KINDS = ("users", "tokens", "links", "jwt")


def _auth(text: str) -> str:
    kind, colon, path = text.partition(":")
    if kind not in AUTH_KINDS or not colon or not path:
        raise UsageError(f"{text!r} is no way to be known", hint="users:FILE, tokens:FILE, links:FILE or jwt:FILE")
    return text


def _anonymous(text: str) -> str:
    from dcmkit.web.identity import parse_scopes

    if text not in ("", "none"):
        parse_scopes(text)
    return text


def _root(text: str) -> str:
    path = text.strip("/")
    if any(character in path for character in "?#%\\ ") or not path.isascii() or not path.isprintable():
        raise UsageError(f"{text!r} is no path of a service", hint="as /dicom-web, or / for none")
    return f"/{path}" if path else ""


def _public_url(text: str) -> str:
    if text and (not text.startswith(("http://", "https://")) or any(character in text for character in "?# ")):
        raise UsageError(f"{text!r} is no URL of a service", hint="as https://pacs.example.org/dicom-web")
    return text.rstrip("/")


def _origin(text: str) -> str:
    scheme, colon, host = text.partition("://")
    if text not in ("*", "null") and (not scheme or not colon or not host or "/" in host or "*" in host):
        raise UsageError(f"{text!r} is no origin", hint="as https://viewer.example.org, without a path, or *")
    return text


def _proxy(text: str) -> str:
    from ipaddress import ip_network

    try:
        ip_network(text, strict=False)
    except ValueError:
        raise UsageError(f"{text!r} is no address", hint="as 192.0.2.7, or 10.0.0.0/8 for a network") from None
    return text


class WebSettings(Settings):
    """How the archive is served by DICOMweb."""

    section: ClassVar[str] = "web"
    title: ClassVar[str] = "web service options"

    root: str = option("/dicom-web", "--root", metavar="PATH", check=_root, help="path of the service within its URL")
    public_url: str = option(
        "", "--public-url", metavar="URL", check=_public_url,
        help="URL of the service as the world knows it, for what answers refer to (default: as each request came)",
    )  # fmt: skip
    trusted_proxies: tuple[str, ...] = option(
        (), "--trusted-proxy", metavar="ADDRESS", multiple=True, check=_proxy,
        help="believe the Forwarded and X-Forwarded headers of this address or network; may be given several times",
    )  # fmt: skip
    web_bind: tuple[str, ...] = option(
        (), "--bind", metavar="ADDRESS", multiple=True,
        help="listen on this address, 0.0.0.0 or :: for all; may be given several times (default: this machine only,"
        " 127.0.0.1 and ::1)",
    )  # fmt: skip
    auth: tuple[str, ...] = option(
        (), "--auth", metavar="KIND:FILE", multiple=True, check=_auth,
        help="who gets in: users:FILE of names and passwords (dcmkit web passwd), tokens:FILE (dcmkit web token),"
        " links:FILE with the secret of links to studies (dcmkit web link), or jwt:FILE with the keys of JSON Web"
        " Tokens, a JWK Set or a shared secret; may be given several times",
    )  # fmt: skip
    anonymous: str = option(
        "", "--anonymous", metavar="SCOPES", check=_anonymous,
        help="what those may do who say nothing about themselves: all, none, or some of query, retrieve, store, delete"
        " and admin with commas between them (default: all where only this machine is listened to and there is no"
        " --auth, else none)",
    )  # fmt: skip
    jwt_issuer: str = option("", "--jwt-issuer", metavar="TEXT", help="who must have issued JSON Web Tokens")
    jwt_audience: str = option("", "--jwt-audience", metavar="TEXT", help="for whom JSON Web Tokens must be")
    jwt_algorithms: tuple[str, ...] = option(
        (), "--jwt-algorithm", metavar="NAME", multiple=True,
        help="take JSON Web Tokens signed so, as RS256; may be given several times (default: all that fit the keys)",
    )  # fmt: skip
    jwt_scope_prefix: str = option(
        "", "--jwt-scope-prefix", metavar="TEXT", help="what scopes in JSON Web Tokens begin with, as dicom."
    )
    jwt_studies_claim: str = option(
        "", "--jwt-studies-claim", metavar="NAME", help="the claim of JSON Web Tokens that limits them to studies"
    )
    tls_cert: str = option(
        "", "--tls-cert", metavar="FILE", complete="file",
        help="serve HTTPS with this certificate and its chain, PEM; it is read again when it is renewed",
    )  # fmt: skip
    tls_key: str = option(
        "", "--tls-key", metavar="FILE", complete="file", help="its private key, where that is in a file of its own"
    )
    tls_ca: str = option(
        "", "--tls-ca", metavar="FILE", complete="file", help="let in only clients with a certificate of one of these"
    )
    cors: tuple[str, ...] = option(
        (), "--cors", metavar="ORIGIN", multiple=True, check=_origin,
        help="let pages of this origin use the service, * for all; may be given several times",
    )  # fmt: skip
    max_body: str = option(
        "0", "--max-body", metavar="BYTES", check=size_text,
        help="refuse to store more than this with one request, with k, m, g or t for powers of 1024 (0: no limit)",
    )  # fmt: skip
    max_uploads: int = option(
        16, "--max-uploads", metavar="NUMBER", minimum=1, maximum=1024,
        help="requests that store at a time, in each worker; further ones are told to come again",
    )  # fmt: skip
    max_connections: int = option(
        1024, "--max-connections", metavar="NUMBER", minimum=8, maximum=100000,
        help="connections at a time, in each worker; beyond it, idle ones are closed",
    )  # fmt: skip
    web_threads: int = option(
        16, "--threads", metavar="NUMBER", minimum=1, maximum=1024,
        help="requests that are answered at a time, in each worker",
    )  # fmt: skip
    web_workers: int = option(
        1, "--workers", metavar="NUMBER", minimum=1, maximum=256,
        help="processes that share the port; one that dies is replaced (more than one needs a POSIX system)",
    )  # fmt: skip
    no_match_status: str = option(
        "200", "--no-match-status", metavar="STATUS", choices=("200", "204"),
        help="answer a search that finds nothing with an empty list (200) or with nothing (204)",
    )  # fmt: skip
    lenient_query: bool = option(
        False, "--lenient-query", off_flags=("--strict-query",),
        help="leave out attributes of a search that cannot be matched, with a warning, rather than refuse it",
    )  # fmt: skip
    delete_policy: str = option(
        "trash", "--delete-policy", metavar="WHAT", choices=("trash", "remove"),
        help="what becomes of deleted objects: they can be had back from the trash, or are removed at once",
        shortcuts=(
            Shortcut(("--trash",), "trash", "deleted objects go to the trash"),
            Shortcut(("--no-trash",), "remove", "deleted objects are removed at once"),
        ),
    )  # fmt: skip
    trash_keep: float = option(
        0.0, "--trash-keep", metavar="DAYS", minimum=0, maximum=36500, unit="days",
        help="remove for good what was deleted longer ago, when the service begins and once a day (0: never)",
    )  # fmt: skip
    ohif: str = option(
        "", "--ohif", metavar="DIRECTORY", complete="directory",
        help="serve the viewer in this directory, a build of OHIF, at /ohif/",
    )  # fmt: skip
    keep_alive: float = option(
        30.0, "--keep-alive", metavar="SECONDS", minimum=0.1, maximum=86400, unit="seconds",
        help="close a connection on which nothing is asked for so long",
    )  # fmt: skip
    head_timeout: float = option(
        30.0, "--head-timeout", metavar="SECONDS", minimum=0.1, maximum=86400, unit="seconds",
        help="close a connection that has not sent all headers of a request by then",
    )  # fmt: skip
    stall_timeout: float = option(
        60.0, "--stall-timeout", metavar="SECONDS", minimum=1, maximum=86400, unit="seconds",
        help="close a connection that sends nothing of its request, or takes nothing of its answer, for so long",
    )  # fmt: skip
    grace: float = option(
        30.0, "--grace", metavar="SECONDS", minimum=0.1, maximum=3600, unit="seconds",
        help="how long requests that are being answered get to finish when the service ends",
    )  # fmt: skip
