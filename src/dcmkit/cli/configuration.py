"""The configuration files: TOML, the user's over the system's, or the one `--config` names.

    [association]               settings of a section, for every tool
    calling_ae_title = "RACCOON"

    [storescp]                  the same for one tool only
    max_pdu = 131072

    [nodes.pacs]                a peer, used as @pacs in place of HOST PORT
    host = "192.0.2.10"
    port = 11112
    called_ae_title = "ARCHIVE"

    [nodes.raccoon]             a DICOMweb server, used as @raccoon in place of its URL; a node may be both
    url = "https://pacs.example/dicom-web"
    bearer_cmd = "token-of raccoon"

Nothing is imported for it unless such a file exists.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from dcmkit import toml
from dcmkit.errors import UsageError
from dcmkit.settings import QuerySettings, RequestorSettings, Settings, UserIdentitySettings


class Entry(NamedTuple):
    """A value from a configuration file; `origin` names the file and the key."""

    value: Any
    origin: str


class Node(NamedTuple):
    """A configured peer.

    Attributes:
        host, port: for associations; "" and 0 where it is a DICOMweb server only.
        settings: its further keys.
        url: of its DICOMweb service; "" where it has none.
    """

    name: str
    host: str
    port: int
    settings: dict[str, Entry]
    url: str = ""


def node_settings() -> tuple[type[Settings], ...]:
    """The classes whose fields a node may set."""
    from dcmkit.cli.web_peer import WebPeerSettings

    return RequestorSettings, UserIdentitySettings, QuerySettings, WebPeerSettings


SYSTEM_FILE = "/etc/dcmkit/config.toml"
"""Except on Windows."""


class Configuration:
    """What the files say, merged key by key. Values are checked when they are used.

    Attributes:
        files: the files read, the system's first.
        sections: section (or tool) name to key to entry.
    """

    def __init__(self) -> None:
        self.files: list[str] = []
        self.sections: dict[str, dict[str, Entry]] = {}
        self._nodes: dict[str, dict[str, Entry]] = {}

    def read(self, path: str) -> None:
        """Merge a file over what was read before.

        Raises:
            UsageError: it cannot be read or is not TOML.
        """
        for section, table in toml.read(path, "configuration file").items():
            if not isinstance(table, dict):
                raise UsageError(
                    f"{path}: {section} = ... stands outside any section", hint="put it below a [section] line"
                )
            if section == "nodes":
                for name, node in table.items():
                    self._merge(self._nodes, name, node, path, f"nodes.{name}")
            else:
                self._merge(self.sections, section, table, path, section)
        self.files.append(path)

    @staticmethod
    def _merge(into: dict[str, dict[str, Entry]], name: str, table: Any, path: str, heading: str) -> None:
        if not isinstance(table, dict):
            raise UsageError(f"{path}: [{heading}] is not a section of keys and values")
        entries = into.setdefault(name, {})
        for key, value in table.items():
            entries[key] = Entry(value, f"{path}, [{heading}] {key}")

    def node_names(self) -> list[str]:
        """The configured nodes, sorted."""
        return sorted(self._nodes)

    def has_node(self, name: str) -> bool:
        """Whether `@name` is a configured peer."""
        return name in self._nodes

    def node(self, name: str) -> Node:
        """The peer called `name`, to make associations with.

        Raises:
            UsageError: there is none, or it lacks a usable host or port.
        """
        node = self.any_node(name)
        if not node.host:
            raise UsageError(
                f"node @{name} has no host in the configuration file: it is a DICOMweb server only",
                hint="give it host and port as well",
            )
        return node

    def web_node(self, name: str) -> Node:
        """The DICOMweb server called `name`.

        Raises:
            UsageError: there is none, or it lacks a URL.
        """
        node = self.any_node(name)
        if not node.url:
            raise UsageError(
                f"node @{name} has no url in the configuration file", hint="it takes associations only; give it a url"
            )
        return node

    def any_node(self, name: str) -> Node:
        """The node called `name`, whatever it can be asked by.

        Raises:
            UsageError: there is none, or it lacks a usable host and port as well as a URL.
        """
        if name not in self._nodes:
            known = ", ".join(f"@{known}" for known in self.node_names()) or "none"
            raise UsageError(f"no node @{name} is configured", hint=f"configured: {known}; see dcmkit config show")
        entries = dict(self._nodes[name])
        host, port, url = entries.pop("host", None), entries.pop("port", None), entries.pop("url", None)
        if url is not None and (not isinstance(url.value, str) or not url.value):
            raise UsageError(f"{url.origin}: that is no URL")
        where = "" if url is None else url.value
        if url is not None and host is None and port is None:
            return Node(name, "", 0, entries, where)
        if host is None or port is None:
            raise UsageError(f"node @{name} has no {'host' if host is None else 'port'} in the configuration file")
        if not isinstance(host.value, str) or not host.value:
            raise UsageError(f"{host.origin}: {host.value!r} is not a host name or address")
        number = port_number(port.value, f"{port.origin}: ")
        return Node(name, plain_host(host.value), number, entries, where)

    def unknown_keys(self, known_sections: dict[str, set[str]]) -> list[str]:
        """A sentence for each key that no option has, among `known_sections` (section to its keys) and the nodes."""
        node_keys = {"host", "port", "url"}.union(*(settings.options for settings in node_settings()))
        tables = [(table, known_sections[name]) for name, table in self.sections.items() if name in known_sections]
        tables += [(table, node_keys) for table in self._nodes.values()]
        sentences = []
        for table, known in tables:
            for key, entry in table.items():
                if key not in known:
                    sentences.append(f"{entry.origin}: no such key{toml.suggestion(key, known)}")
        return sentences


def plain_host(text: str) -> str:
    """A host as `getaddrinfo` wants it: an IPv6 address without its brackets."""
    return text[1:-1] if text.startswith("[") and text.endswith("]") else text


def port_number(value: Any, where: str = "") -> int:
    """A TCP port to connect to.

    Raises:
        UsageError: not a whole number from 1 to 65535.
    """
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole and not (isinstance(value, str) and value.isascii() and value.isdigit()):
        raise UsageError(f"{where}{value!r} is not a port number")
    if not 1 <= int(value) <= 65535:
        raise UsageError(f"{where}port {value} is out of range", hint="ports are 1 to 65535")
    return int(value)


def standard_paths() -> list[str]:
    """Where configuration files are looked for, the system's before the user's."""
    if os.name == "nt":
        roots = [os.environ.get("PROGRAMDATA", ""), os.environ.get("APPDATA", "")]
        return [os.path.join(root, "dcmkit", "config.toml") for root in roots if root]
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    return [SYSTEM_FILE, os.path.join(home, "dcmkit", "config.toml")]


def load(explicit: str | None = None) -> Configuration:
    """The configuration of this process: `explicit` (or `DCMKIT_CONFIG`) alone, else the standard files that exist.

    Raises:
        UsageError: a file is named but missing, cannot be read or is not TOML.
    """
    configuration = Configuration()
    named = explicit or os.environ.get("DCMKIT_CONFIG")
    for path in [named] if named else [path for path in standard_paths() if os.path.isfile(path)]:
        configuration.read(path)
    return configuration
