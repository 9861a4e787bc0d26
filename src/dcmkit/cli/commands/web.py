"""Serve an archive by DICOMweb, and look after who gets in"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any

import click

from dcmkit.cli.anonymized import AnonymizeSettings, anonymization_of
from dcmkit.cli.configuration import port_number
from dcmkit.cli.forwarding import ForwardSettings, forwards_of
from dcmkit.cli.options import ToolGroup, build, invocation, settings_options
from dcmkit.cli.output import FORMATS, emit, say
from dcmkit.cli.serving_web import leave
from dcmkit.errors import ExitCode, InputError, UsageError
from dcmkit.settings import ArchiveSettings, AssociationSettings
from dcmkit.web.settings import WebSettings

EXAMPLES = (
    ("Serve the directory archive to this machine, at http://127.0.0.1:8042/dicom-web", "dcmkit web 8042 -od archive"),
    ("With a viewer, and two processes", "dcmkit web 8042 -od archive --ohif viewer/dist --workers 2"),
    (
        "To the network, encrypted, to those who have a password",
        "dcmkit web 8443 -od archive --bind 0.0.0.0 --auth users:users --tls-cert cert.pem --tls-key key.pem",
    ),
    (
        "Behind a proxy that has the public name",
        "dcmkit web -od archive --trusted-proxy 127.0.0.1 --public-url https://pacs.example.org/dicom-web",
    ),
    ("Give somebody a password; it is asked for, or read from standard input", "dcmkit web passwd users alice"),
    ("A token for a program that stores", "dcmkit web token tokens add modality --scopes store --expires 365d"),
    ("The secret of links, once", "dcmkit web keygen link.key"),
    (
        "A link to one study for a week",
        "dcmkit web link --key link.key --study 1.2.3 --expires 7d https://pacs.example.org/dicom-web/studies/1.2.3",
    ),
)

_SCOPES = "all, or some of query, retrieve, store, delete and admin with commas between them"


class Web(ToolGroup):
    """`dcmkit web 8042` is `dcmkit web serve 8042`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the word in where none of the others is."""
        at = 2 if args[:1] == ["--config"] else 0
        word = args[at] if len(args) > at else ""
        if word not in self.commands and word not in ("-h", "--help", "--version") and not word.startswith("--config="):
            args = [*args[:at], "serve", *args[at:]]
        return super().parse_args(ctx, args)


command = Web(
    "web",
    help="""Serve an archive by DICOMweb (PS3.18): search, retrieve, store, rendered images, WADO-URI.

    `dcmkit web PORT` is `dcmkit web serve PORT`, with the options of `dcmkit web serve --help`. The other commands make
    the files that --auth names: passwords, tokens, and links to a single study.""",
)


@command.command("serve")
@settings_options(WebSettings, ArchiveSettings, ForwardSettings, AnonymizeSettings, AssociationSettings)
@click.argument("port", required=False)
def serve(port: str | None) -> None:
    """Serve the archive of --output-directory on PORT, by default 8042, to this machine or to where --bind says.

    Without --auth everybody on this machine may do everything, and nobody else anything. SIGTERM or Ctrl-C end the
    service in order: requests are answered to their end, and what was not yet forwarded waits in the directory for the
    next start.
    """
    from dcmkit.web.server import PORT, serve_web

    forwards = forwards_of(build(ForwardSettings), build(AssociationSettings), invocation().configuration)
    ended = serve_web(
        PORT if port is None else port_number(port),
        build(WebSettings),
        build(ArchiveSettings),
        forwards=forwards,
        anonymization=anonymization_of(build(AnonymizeSettings)),
    )
    if not ended:
        leave()


@command.command("passwd")
@click.argument("file", metavar="FILE")
@click.argument("user", metavar="USER")
@click.option("--scopes", metavar="SCOPES", default=None,
              help=f"what the user may do: {_SCOPES} [default: as before, or query,retrieve,store]")  # fmt: skip
@click.option("--studies", metavar="UIDS", default=None,
              help="limit the user to these studies; all for no limit [default: as before]")  # fmt: skip
@click.option("--remove", is_flag=True, help="let the user in no longer")
def passwd(file: str, user: str, scopes: str | None, studies: str | None, remove: bool) -> ExitCode:
    """Give USER a password in FILE, which is made if there is none, or a new one.

    The password is asked for, or is the first line of standard input; it is never an argument, which others could see.
    A running service sees the change at once.
    """
    from dcmkit.web import passwords
    from dcmkit.web.identity import parse_scopes, parse_studies

    if remove:
        return _told(passwords.remove_user(file, user), f"{user} is let in no longer", f"there is no user {user}")
    wanted = parse_scopes(scopes) if scopes is not None else None
    limit = None if studies is None else () if studies == "all" else parse_studies(studies)
    passwords.set_password(file, user, _password(user), wanted, limit)
    say(f"{user} has a new password")
    return ExitCode.DONE


def _password(user: str) -> str:
    """Asked for twice, or the first line of standard input. Raises: UsageError, InputError."""
    if sys.stdin is not None and sys.stdin.isatty():
        from getpass import getpass

        password = getpass(f"Password of {user}: ")
        if getpass("Again: ") != password:
            raise UsageError("the two passwords differ", hint="nothing was changed")
    else:
        try:
            password = sys.stdin.readline().rstrip("\r\n") if sys.stdin is not None else ""
        except (OSError, ValueError):
            raise InputError("the password cannot be read from standard input") from None
    if not password:
        raise UsageError("the password is empty", hint="nothing was changed")
    return password


@command.command("token")
@click.argument("file", metavar="FILE")
@click.argument("action", type=click.Choice(["add", "ls", "rm"]), metavar="(add | ls | rm)")
@click.argument("name", metavar="[NAME]", default="")
@click.option("--scopes", metavar="SCOPES", default=None,
              help=f"of add: what it allows: {_SCOPES} [default: query,retrieve]")  # fmt: skip
@click.option("--studies", metavar="UIDS", default=None, help="of add: limit it to these studies, commas between them")
@click.option("--expires", metavar="WHEN", default=None,
              help="of add: 12h, 30d, 6w or 1y from now, or a date as 2027-01-31 [default: never]")  # fmt: skip
@click.option("--format", type=click.Choice(FORMATS), default="table", help="of ls: how to print it")
def token(
    file: str, action: str, name: str, scopes: str | None, studies: str | None, expires: str | None, format: str  # noqa: A002
) -> ExitCode:  # fmt: skip
    """Make a token in FILE and print it (add), list those there are (ls), or take one away (rm).

    A token is shown when it is made, and never again: the file has but its digest. Programs send it as
    `Authorization: Bearer TOKEN`. A running service sees the change at once.
    """
    from dcmkit.web import tokens
    from dcmkit.web.identity import parse_scopes, parse_studies

    if action != "add" and (scopes, studies, expires) != (None, None, None):
        raise UsageError(f"--scopes, --studies and --expires are of add, not of {action}", hint="leave them out")
    if action == "ls":
        if name:
            raise UsageError("ls takes no NAME", hint="leave it out")
        emit(_tokens(tokens.Tokens(file).all()), ("name", "scopes", "expires", "studies"), format)
        return ExitCode.DONE
    if not name:
        raise UsageError(f"{action} which?", hint="say the NAME of the token")
    if action == "rm":
        return _told(tokens.revoke(file, name), f"{name} is good no longer", f"there is no token {name}")
    made = tokens.create(
        file,
        name,
        parse_scopes(scopes or "query,retrieve"),
        expires=_moment(expires) if expires is not None else None,
        studies=parse_studies(studies) if studies is not None else None,
    )
    click.echo(made)
    return ExitCode.DONE


def _tokens(found: list[Any]) -> Iterator[dict[str, Any]]:
    from dcmkit.web.identity import in_order
    from dcmkit.web.tokens import format_moment

    for one in found:
        expires = format_moment(one.expires) if one.expires is not None else ""
        yield {
            "name": one.name, "scopes": in_order(one.scopes), "expires": expires,
            "studies": ",".join(sorted(one.studies or ())),
        }  # fmt: skip


@command.command("keygen")
@click.argument("file", metavar="FILE")
def keygen(file: str) -> ExitCode:
    """Write a new secret to FILE, with which links are made: for --auth links:FILE and `dcmkit web link --key FILE`."""
    from dcmkit.web.links import create_secret

    create_secret(file)
    say(f"{file} has a new secret: links made with it are good as long as the service has it")
    return ExitCode.DONE


@command.command("link")
@click.argument("url", metavar="URL")
@click.option("--key", metavar="FILE", required=True, help="the secret of the service, from dcmkit web keygen")
@click.option("--study", metavar="UID", required=True, help="the study it is good for")
@click.option("--expires", metavar="WHEN", default="7d",
              help="12h, 30d, 6w or 1y from now, at most a year, or a date as 2027-01-31 [default: 7d]")  # fmt: skip
@click.option("--scopes", metavar="SCOPES", default="query,retrieve",
              help="what it allows: some of query, retrieve and store [default: query,retrieve]")  # fmt: skip
def link(url: str, key: str, study: str, expires: str, scopes: str) -> None:
    """Print URL with what lets whoever has it in to one study, until it expires.

    URL is of the service, of the study, of a viewer: of whatever is asked for with the parameters that are added. A
    link can be taken back by a new secret only.
    """
    from urllib.parse import urlencode

    from dcmkit.web.identity import parse_scopes
    from dcmkit.web.links import Links

    parameters = Links(key).sign(study, _moment(expires), parse_scopes(scopes))
    place, hash_sign, fragment = url.partition("#")
    separator = "&" if "?" in place else "?"
    click.echo(f"{place}{separator}{urlencode(parameters)}{hash_sign}{fragment}")


_UNITS = {"h": 3600, "d": 86400, "w": 7 * 86400, "y": 365 * 86400}


def _moment(text: str) -> float:
    """Seconds since 1970. Raises: UsageError."""
    from dcmkit.web.tokens import parse_moment

    number, unit = text[:-1], text[-1:]
    if unit in _UNITS and number.isascii() and number.isdigit() and 0 < len(number) < 7:
        return time.time() + int(number) * _UNITS[unit]
    try:
        return parse_moment(text)
    except UsageError:
        raise UsageError(f"--expires: {text!r} is no time", hint="12h, 30d, 6w, 1y, or a date as 2027-01-31") from None


def _told(done: bool, what: str, otherwise: str) -> ExitCode:
    say(what if done else otherwise)
    return ExitCode.DONE if done else ExitCode.NOTHING_DONE
