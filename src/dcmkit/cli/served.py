"""The AE titles of `[qrscp.ae.*]` in a configuration file, and where a C-MOVE may go.

[qrscp.ae.ARCHIVE1]
directory = "/data/archive1"
access = "RW"                       # R, W, RW, or a list of query, retrieve, store, delete
max_studies = 200
max_size = "500g"
peers = ["@pacs", "CT1", { ae_title = "MR1", host = "192.0.2.7", access = "W" }]    # default: anyone
"""

from __future__ import annotations

from typing import Any

from dcmkit.cli.configuration import Configuration, Entry, plain_host, port_number
from dcmkit.errors import UsageError
from dcmkit.logs import get_logger
from dcmkit.services.access import ALL, Peer, Rights, Rule, Served, rights
from dcmkit.settings import ae_title, size_of, size_text
from dcmkit.toml import suggestion

log = get_logger("qrscp")

_KEYS = {"directory", "access", "peers", "max_studies", "max_size", "max_study_size"}
_PEER_KEYS = {"ae_title", "host", "port", "access"}


def served_of(tables: Any, origin: str, configuration: Configuration) -> list[Served]:
    """The AE titles of `[qrscp.ae.*]`.

    Args:
        tables: what the configuration file has there.
        origin: where that is.
        configuration: for the nodes.

    Raises:
        UsageError: something there is not what it must be.
    """
    found: list[Served] = []
    for title, table in tables.items():
        where = f"{origin}.{title}"
        try:
            if not isinstance(table, dict):
                raise UsageError("this is no section of keys and values")
            found.append(_served(ae_title(title), table, configuration))
        except UsageError as error:
            raise UsageError(f"{where}: {error.message}", hint=error.hint) from None
    return found


def _served(title: str, table: dict[str, Any], configuration: Configuration) -> Served:
    _check_keys(table, _KEYS)
    directory = table.get("directory")
    if not isinstance(directory, str) or not directory:
        raise UsageError("directory is missing", hint="say where its archive is")
    allowed = _access(table.get("access"))
    peers = table.get("peers", ["ANY"])
    if not isinstance(peers, list):
        raise UsageError("peers is no list")
    rules = tuple(_rule(peer, configuration) for peer in peers)
    studies = table.get("max_studies", 0)
    if not isinstance(studies, int) or isinstance(studies, bool) or studies < 0:
        raise UsageError(f"max_studies: {studies!r} is not a number of studies")
    return Served(
        title,
        directory,
        allowed,
        rules,
        studies,
        size_of(size_text(str(table.get("max_size", "0")))),
        size_of(size_text(str(table.get("max_study_size", "0")))),
    )


def _access(value: Any) -> Rights:
    if value is None:
        return ALL
    if not isinstance(value, str) and not (isinstance(value, list) and all(isinstance(v, str) for v in value)):
        raise UsageError("access is neither a text nor a list of texts")
    return rights(value)


def _rule(value: Any, configuration: Configuration) -> Rule:
    if value == "ANY":
        return Rule(None, ALL)
    if isinstance(value, str):
        return Rule((_node(value[1:], configuration) if value.startswith("@") else Peer(ae_title(value)),), ALL)
    if not isinstance(value, dict):
        raise UsageError(f"{value!r} is no peer", hint='"ANY", "@node", "AETITLE", or { ae_title = ..., host = ... }')
    _check_keys(value, _PEER_KEYS)
    access = _access(value.get("access"))
    title, host = value.get("ae_title", "ANY"), value.get("host", "")
    if not isinstance(title, str) or not isinstance(host, str):
        raise UsageError("ae_title and host of a peer are texts")
    if title == "ANY":
        return Rule(None, access)
    port = port_number(value["port"]) if "port" in value else 0
    return Rule((Peer(ae_title(title), plain_host(host), port),), access)


def _check_keys(table: dict[str, Any], known: set[str]) -> None:
    for key in table:
        if key not in known:
            raise UsageError(
                f"no such key: {key}{suggestion(key, known)}", hint=f"there are {', '.join(sorted(known))}"
            )


def _node(name: str, configuration: Configuration) -> Peer:
    node = configuration.node(name)
    return Peer(_title_of(node.settings.get("called_ae_title"), node.name), node.host, node.port)


def _title_of(entry: Entry | None, name: str) -> str:
    try:
        return ae_title(entry.value if entry is not None else name)
    except (UsageError, AttributeError):
        raise UsageError(f"node @{name} has no usable AE title", hint="set its called_ae_title") from None


def destinations_of(configuration: Configuration, given: tuple[str, ...]) -> dict[str, Peer]:
    """The move destinations: the configured nodes by their AE titles, and those of --move-destination before them.

    Raises:
        UsageError: one of them is none.
    """
    found: dict[str, Peer] = {}
    for text in given:
        peer = _destination(text)
        found[peer.ae_title] = peer
    for name in configuration.node_names():
        try:
            peer = _node(name, configuration)
        except UsageError as error:  # it may be good for other tools
            log.info("node @%s is no move destination: %s", name, error)
        else:
            found.setdefault(peer.ae_title, peer)
    return found


def _destination(text: str) -> Peer:
    """`TITLE=HOST:PORT`."""
    title, equals, place = text.rpartition("=")
    host, colon, port = place.rpartition(":")
    if not equals or not colon or not host:
        raise UsageError(f"move destination {text!r} is not TITLE=HOST:PORT")
    return Peer(ae_title(title), plain_host(host), port_number(port, f"move destination {text!r}: "))
