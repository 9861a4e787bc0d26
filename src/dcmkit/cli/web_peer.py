"""DICOMweb servers as the clients' commands name them: a URL or a node, who we are there, and how to speak to it.

Nothing secret is in an error, a log line or a `repr` of this module.
"""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING, ClassVar, TypeVar

from dcmkit.cli.startup import deferred, stand_in
from dcmkit.errors import InputError, UsageError
from dcmkit.logs import get_logger
from dcmkit.settings import Settings, Shortcut, option

if TYPE_CHECKING:
    import ssl

    from dcmkit.cli.configuration import Configuration, Entry
    from dcmkit.web.http_auth import Auth
    from dcmkit.web.http_client import HttpClient, Options

log = get_logger("web")

_SettingsT = TypeVar("_SettingsT", bound=Settings)
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,127}")
_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "content-type"})
_UID = re.compile(r"[0-9][0-9.]{0,63}")
_NO_PROXY = "none"
_SELDOM = ("ssl", "ipaddress", "email.header", "calendar", "datetime")


def header_text(text: str) -> str:
    """A header, `Name: value`. What it says is not repeated.

    Raises:
        UsageError: it is none, or one that belongs to the request itself.
    """
    name, colon, value = text.partition(":")
    if not colon or not _NAME.fullmatch(name.strip()) or not value.strip().isprintable():
        raise UsageError("that is no header", hint="say 'Name: value'")
    if name.strip().lower() in _OURS:
        raise UsageError(f"the header {name.strip()} cannot be set")
    return f"{name.strip()}: {value.strip()}"


def user_name(text: str) -> str:
    """A user's name (RFC 7617 2); one with a password behind it is not repeated.

    Raises:
        UsageError: it has a colon or control characters.
    """
    if ":" in text or not text.isprintable():
        raise UsageError("a user's name has no colon", hint="the password is an option of its own, or DCMKIT_PASSWORD")
    return text


class WebPeerSettings(Settings):
    """How HTTP is spoken to a DICOMweb server, and who asks."""

    section: ClassVar[str] = "web_client"
    title: ClassVar[str] = "HTTP options"

    bearer: str = option(
        "", "--bearer", metavar="TOKEN", secret=True,
        help="show this token to the server. Others can see it in the list of processes: DCMKIT_BEARER, a node's"
        " bearer or --bearer-cmd hide it",
    )  # fmt: skip
    bearer_cmd: str = option(
        "", "--bearer-cmd", metavar="COMMAND",
        help="show the token that this command prints; it is asked again when the server takes the token no longer",
    )  # fmt: skip
    user: str = option(
        "", "--user", metavar="NAME", check=user_name,
        help="say who asks, by name and password; without --password the password is asked for on the terminal",
    )  # fmt: skip
    password: str = option(
        "", "--password", metavar="PASSWORD", secret=True,
        help="the password of --user. Others can see it in the list of processes: DCMKIT_PASSWORD, a node's password"
        " or a netrc file hide it",
    )  # fmt: skip
    netrc: str = option(
        "", "--netrc", metavar="FILE", complete="file",
        help="take name and password from this netrc file; without it, and without the others, from ~/.netrc or the"
        " file that NETRC names",
    )  # fmt: skip
    header: tuple[str, ...] = option(
        (), "--header", metavar="'NAME: VALUE'", multiple=True, secret=True, check=header_text,
        help="send this header with every request; may be given several times",
    )  # fmt: skip
    cacert: str = option(
        "", "--cacert", metavar="FILE", complete="file",
        help="trust the authorities whose certificates are in this PEM file, in place of the system's",
    )  # fmt: skip
    cert: str = option(
        "", "--cert", metavar="FILE", complete="file", help="show the client certificate in this PEM file"
    )
    cert_key: str = option(
        "", "--cert-key", metavar="FILE", complete="file", help="its private key, where that is in another PEM file"
    )
    insecure: bool = option(
        False, "--insecure",
        help="do not check the server's certificate: whoever is on the way can read and change everything",
    )  # fmt: skip
    proxy: str = option(
        "", "--proxy", metavar="URL", secret=True,
        help="go through this HTTP proxy; without it, as http_proxy, https_proxy, all_proxy and no_proxy say",
        shortcuts=(Shortcut(("--no-proxy",), _NO_PROXY, "go through no proxy, whatever the environment says"),),
    )  # fmt: skip
    timeout: float = option(
        60.0, "--timeout", metavar="SECONDS", minimum=0.001, maximum=86400, unit="seconds",
        help="how long to wait for the server's next byte, or until it takes one",
    )  # fmt: skip
    connection_timeout: float = option(
        10.0, "--connection-timeout", metavar="SECONDS", minimum=0, maximum=86400, unit="seconds",
        help="how long to wait for a connection (0: as long as --timeout)",
    )  # fmt: skip


class WebPeer:
    """A DICOMweb server.

    Attributes:
        name: what to call it in messages: the URL of its service, without who asks and without a query.
        url: of its service, as a client takes it; never to be shown.
        resource: what the URL names below the service, for example ("studies", UID); () for all.
        auth, options: for clients.
    """

    def __init__(self, text: str, auth: Auth | None, options: Options) -> None:
        from dcmkit.web.http_url import parse_url

        self.url = text
        self.auth, self.options = auth, options
        url = parse_url(text)
        path, mark, query = url.target.partition("?")
        self._root, self.resource = split_resource(path)
        self._query = mark + query
        self.name = f"{url.origin}{self._root}"
        self._lock = threading.Lock()
        self._context: ssl.SSLContext | None = None

    def __repr__(self) -> str:
        return f"WebPeer({self.name})"

    @property
    def study(self) -> str:
        """The Study Instance UID that the URL names; "" for none."""
        return self.resource[1] if len(self.resource) > 1 and self.resource[0] == "studies" else ""

    def target(self, *segments: str, query: str = "") -> str:
        """Path and query of a resource below the service, for `HttpClient.request`.

        Args:
            segments: of the path; they are escaped here.
            query: encoded; what the URL itself has comes before it.
        """
        from urllib.parse import quote

        path = "/".join([self._root, *(quote(segment, safe="") for segment in segments)]) or "/"
        both = "&".join(part for part in (self._query.removeprefix("?"), query) if part)
        return f"{path}?{both}" if both else path

    def client(self) -> HttpClient:
        """A new client, for one thread; all of them share the token and what was read of certificates.

        Raises:
            UsageError, InputError: the URL, a certificate or the proxy is not usable.
        """
        from dcmkit.web.http_client import HttpClient, tls_context

        with self._lock:
            if self._context is None and self.name.startswith("https:"):
                self._context = tls_context(self.options)
        return HttpClient(self.url, auth=self.auth, options=self.options, context=self._context)


def split_resource(path: str) -> tuple[str, tuple[str, ...]]:
    """The path of a service, without a slash at its end, and what is named below it (PS3.18 Table 8.2-1)."""
    from urllib.parse import unquote

    segments = path.rstrip("/").split("/")
    for position, segment in enumerate(segments):
        below = segments[position + 1 :]
        if (segment == "studies" and (not below or _UID.fullmatch(below[0]))) or (
            segment in ("series", "instances") and not below
        ):
            return "/".join(segments[:position]), tuple(map(unquote, segments[position:]))
    return "/".join(segments), ()


def peer_of(text: str, settings: WebPeerSettings, configuration: Configuration) -> WebPeer:
    """The server that a URL or `@NODE` names.

    Args:
        settings: with what the node says already in them: see `WebPeerArgument`, `of_node`.

    Raises:
        UsageError: it is no URL, there is no such node, or the settings cannot be.
        InputError: the password cannot be asked for.
    """
    import_client()
    from dcmkit.web.http_url import parse_url

    url = configuration.web_node(text[1:]).url if text.startswith("@") else text
    if settings.cert_key and not settings.cert:
        raise UsageError("a private key without its certificate", hint="--cert names it")
    try:
        parsed = parse_url(url)
    except UsageError as error:
        raise UsageError(
            f"{text}: {error.message}" if text.startswith("@") else error.message, hint=error.hint
        ) from None
    if settings.insecure and parsed.origin.scheme == "https":
        log.warning("the certificate of %s is not checked: who is on the way can read and change all", parsed.origin)
    return WebPeer(url, _auth(settings, bool(parsed.user)), options_of(settings))


def import_client() -> None:
    """Import the HTTP client without modules that take long and are seldom needed; they come when they are first used.

    Those are `ssl`, for https only, and what the standard library's parser of headers can do beyond what answers need.
    """
    with deferred(*map(stand_in, _SELDOM)):
        import dcmkit.web.http_client  # noqa: F401


def options_of(settings: WebPeerSettings) -> Options:
    """What of the settings is the client's business."""
    from dcmkit.web.http_client import Options

    headers = [header.partition(": ") for header in settings.header]
    return Options(
        connect_timeout=settings.connection_timeout or settings.timeout,
        timeout=settings.timeout,
        ca_file=settings.cacert,
        certificate=settings.cert,
        key=settings.cert_key,
        insecure=settings.insecure,
        proxy="" if settings.proxy == _NO_PROXY else settings.proxy or None,
        headers=tuple((name, value) for name, _, value in headers),
    )


def _auth(settings: WebPeerSettings, named_in_url: bool) -> Auth | None:
    """Who we are: a token before a name, and what is said before what lies in a file."""
    from dcmkit.web.http_auth import Basic, Bearer, BearerCommand, Netrc

    if settings.bearer:
        return Bearer(settings.bearer)
    if settings.bearer_cmd:
        return BearerCommand(settings.bearer_cmd)
    if settings.user:
        return Basic(settings.user, settings.password or _ask(settings.user))
    return None if named_in_url else Netrc(settings.netrc)


def _ask(user: str) -> str:
    """The password, from the terminal. Raises: UsageError: nobody is there."""
    import getpass
    import sys
    import warnings

    if not sys.stderr.isatty():
        raise UsageError("--user without a password", hint="set DCMKIT_PASSWORD, or use a netrc file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", getpass.GetPassWarning)  # where it would be seen
            return getpass.getpass(f"Password of {user!a}: ")
    except (getpass.GetPassWarning, EOFError, OSError):
        raise InputError("the password cannot be asked for", hint="set DCMKIT_PASSWORD, or use a netrc file") from None


def of_node(cls: type[_SettingsT], entries: dict[str, Entry], values: dict[str, object]) -> _SettingsT:
    """Settings as a node has them, over `values`. Raises: UsageError: the message begins with where a value stands."""
    values = dict(values)
    for name, setting in cls.options.items():
        entry = entries.get(name)
        if entry is not None:
            try:
                values[name] = setting.convert(entry.value)
            except UsageError as error:
                raise UsageError(f"{entry.origin}: {error.message}", hint=error.hint) from None
    return cls(**values)
