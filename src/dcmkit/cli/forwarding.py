"""The options of forwarding, and the destinations they name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from dcmkit.cli.configuration import Configuration, plain_host, port_number
from dcmkit.cli.web_peer import WebPeerSettings, of_node, peer_of
from dcmkit.errors import UsageError
from dcmkit.settings import AssociationSettings, RequestorSettings, Settings, UserIdentitySettings, ae_title, option

if TYPE_CHECKING:
    from dcmkit.services.forwarding import Target
    from dcmkit.services.server import Forwards


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
        (), "--forward-stow", metavar="URL", multiple=True, complete="node",
        help="pass on what is stored to a DICOMweb server by STOW-RS, as --forward does: the URL of its service, of its"
        " studies or of one study, or @NODE, which may have keys of [web_client]; may be given several times. Names and"
        " passwords are taken from a netrc file, proxies from the environment",
    )  # fmt: skip
    forward_bearer: str = option(
        "",
        "--forward-bearer",
        metavar="TOKEN",
        secret=True,
        help="show this token to all of --forward-stow whose node has none",
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
    targets += [_web_target(text, settings, configuration) for text in dict.fromkeys(settings.forward_stow)]
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


def _web_target(text: str, settings: ForwardSettings, configuration: Configuration) -> Target:
    """A DICOMweb server. Its name in the spool and in logs is that of its node, or its URL without who asks."""
    from dcmkit.services.forwarding import Target
    from dcmkit.web.delivery import StowTransport
    from dcmkit.web.http_url import parse_url

    entries = configuration.web_node(text[1:]).settings if text.startswith("@") else {}
    common: dict[str, object] = {}
    if not entries.keys() & {"bearer", "bearer_cmd", "user"}:
        common = {"bearer": settings.forward_bearer, "bearer_cmd": settings.forward_bearer_cmd}
    peer = peer_of(text, of_node(WebPeerSettings, entries, common), configuration)
    name = text if text.startswith("@") else str(parse_url(text))
    return Target(name, StowTransport(peer.url, auth=peer.auth, options=peer.options))
