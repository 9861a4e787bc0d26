"""The options of forwarding, and the destinations they name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from dcmkit.cli.configuration import Configuration, plain_host, port_number
from dcmkit.cli.web_peer import of_node
from dcmkit.errors import UsageError
from dcmkit.settings import AssociationSettings, RequestorSettings, Settings, UserIdentitySettings, ae_title, option

if TYPE_CHECKING:
    from dcmkit.services.forwarding import Target
    from dcmkit.services.server import Forwards
    from dcmkit.web.http_auth import Auth


class ForwardSettings(Settings):
    """Where what is stored goes next."""

    section: ClassVar[str] = "forward"
    title: ClassVar[str] = "forwarding options"

    forward: tuple[str, ...] = option(
        (), "--forward", metavar="PEER", multiple=True, complete="node",
        help="pass on what is stored to HOST:PORT, AETITLE@HOST:PORT or @NODE; may be given several times. Whatever was"
        " answered with Success is delivered, in the end: see dcmkit spool",
    )  # fmt: skip
    forward_stow: tuple[str, ...] = option(
        (), "--forward-stow", metavar="URL", multiple=True,
        help="pass on what is stored to a DICOMweb server by STOW-RS, as --forward does: the URL of its service, of its"
        " studies or of one study; may be given several times. Names and passwords are taken from a netrc file, proxies"
        " from the environment",
    )  # fmt: skip
    forward_bearer: str = option(
        "", "--forward-bearer", metavar="TOKEN", secret=True, help="show this token to all of --forward-stow"
    )
    forward_bearer_cmd: str = option(
        "", "--forward-bearer-cmd", metavar="COMMAND",
        help="show the token that this command prints; it is asked again when the server takes the token no longer",
    )  # fmt: skip
    forward_delete: bool = option(
        False, "--forward-delete", help="remove an object once it has been delivered to all of them"
    )
    forward_attempts: int = option(
        5, "--forward-attempts", metavar="NUMBER", minimum=1, maximum=1000000,
        help="refusals after which an object becomes a dead letter; one that only cannot be reached is tried for ever",
    )  # fmt: skip
    forward_max_delay: float = option(
        300.0, "--forward-max-delay", metavar="SECONDS", minimum=0.01, maximum=86400, unit="seconds",
        help="wait so long at most before the next attempt; the first wait is of a second, each further one doubled",
    )  # fmt: skip


def forwards_of(
    settings: ForwardSettings, association: AssociationSettings, configuration: Configuration
) -> Forwards | None:
    """Where to pass things on, or None.

    Args:
        association: what is set for associations; a node's own keys come before it.
        configuration: for the nodes.

    Raises:
        UsageError: a destination is none.
        InputError: a file with the identity to show to one cannot be read.
    """
    if not settings.forward_stow and (settings.forward_bearer or settings.forward_bearer_cmd):
        raise UsageError("a token is shown to --forward-stow only", hint="say the URL")
    if not settings.forward and not settings.forward_stow:
        if settings.forward_delete:
            raise UsageError("--forward-delete without --forward", hint="say where objects are to go first")
        return None
    from dcmkit.services.forwarding import Policy
    from dcmkit.services.server import Forwards

    targets = [_target(text, association, configuration) for text in dict.fromkeys(settings.forward)]
    targets += [_web_target(text, settings) for text in dict.fromkeys(settings.forward_stow)]
    policy = Policy(settings.forward_attempts, settings.forward_max_delay)
    return Forwards(targets, policy, settings.forward_delete)


def _target(text: str, association: AssociationSettings, configuration: Configuration) -> Target:
    from dcmkit.services.delivery import StoreTransport
    from dcmkit.services.forwarding import Target
    from dcmkit.services.user_identity import identity

    common: dict[str, Any] = {name: getattr(association, name) for name in association.options}
    if text.startswith("@"):
        node = configuration.node(text[1:])
        settings = of_node(RequestorSettings, node.settings, common)
        who = identity(of_node(UserIdentitySettings, node.settings, {}))
        return Target(text, StoreTransport(node.host, node.port, settings, user_identity=who))
    title, at, place = text.rpartition("@")
    host, colon, port = place.rpartition(":")
    if not colon or not host or (at and not title):
        raise UsageError(f"--forward {text!r} is no peer", hint="say HOST:PORT, AETITLE@HOST:PORT or @NODE")
    if title:
        common["called_ae_title"] = ae_title(title)
    number = port_number(port, f"--forward {text!r}: ")
    return Target(text, StoreTransport(plain_host(host), number, RequestorSettings(**common)))


def _web_target(text: str, settings: ForwardSettings) -> Target:
    """A DICOMweb server. Its name in the spool and in logs is its URL without a user or a password."""
    from dcmkit.services.forwarding import Target
    from dcmkit.web.delivery import StowTransport
    from dcmkit.web.http_auth import Bearer, BearerCommand, Netrc
    from dcmkit.web.http_url import parse_url

    url = parse_url(text)
    auth: Auth | None = None
    if settings.forward_bearer:
        auth = Bearer(settings.forward_bearer)
    elif settings.forward_bearer_cmd:
        auth = BearerCommand(settings.forward_bearer_cmd)
    elif not url.user:
        auth = Netrc()
    return Target(str(url), StowTransport(text, auth=auth))
