"""Destinations, from the command line and the configuration to transports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dcmkit.cli.configuration import Configuration
from dcmkit.cli.forwarding import ForwardSettings, forwards_of
from dcmkit.errors import UsageError
from dcmkit.services.delivery import StoreTransport
from dcmkit.services.forwarding import Policy
from dcmkit.settings import AssociationSettings
from dcmkit.web.delivery import StowTransport
from dcmkit.web.http_auth import basic

ASSOCIATION = AssociationSettings(calling_ae_title="ROUTER", max_pdu=65536)
NODES = """
[nodes.pacs]
host = "192.0.2.10"
port = 11112
called_ae_title = "ARCHIVE"
dimse_timeout = 30
user = "router"
charset = "ISO_IR 100"

[nodes.raccoon]
url = "https://pacs.invalid/dicom-web/studies"
bearer = "t0ken-of-node"
header = ["X-Site: north"]
insecure = true

[nodes.open]
url = "http://pacs.invalid/dicom-web"
timeout = 5

[nodes.bad]
host = "192.0.2.11"
port = 104
max_send_pdu = "much"
"""


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    (tmp_path / "config.toml").write_text(NODES)
    made = Configuration()
    made.read(str(tmp_path / "config.toml"))
    return made


def made(configuration: Configuration, *peers: str, **settings: Any) -> list[tuple[str, dict[str, Any]]]:
    """The names of the targets, and what their transports are made of."""
    found = forwards_of(ForwardSettings(forward=peers, **settings), ASSOCIATION, configuration)
    assert found is not None
    assert all(isinstance(target.transport, StoreTransport) for target in found.targets)
    return [(target.name, vars(target.transport)) for target in found.targets]


def test_nothing_is_forwarded_unless_asked(configuration: Configuration) -> None:
    assert forwards_of(ForwardSettings(), ASSOCIATION, configuration) is None
    with pytest.raises(UsageError, match="--forward-delete without --forward"):
        forwards_of(ForwardSettings(forward_delete=True), ASSOCIATION, configuration)


def test_host_and_port(configuration: Configuration) -> None:
    ((name, transport),) = made(configuration, "[2001:db8::1]:104")
    assert (name, transport["_host"], transport["_port"]) == ("[2001:db8::1]:104", "2001:db8::1", 104)
    settings = transport["_settings"]
    assert (settings.calling_ae_title, settings.called_ae_title, settings.max_pdu) == ("ROUTER", "ANY-SCP", 65536)


def test_an_ae_title(configuration: Configuration) -> None:
    ((_, transport),) = made(configuration, "ARCHIVE@pacs.example:104")
    assert (transport["_host"], transport["_settings"].called_ae_title) == ("pacs.example", "ARCHIVE")


def test_a_node_brings_its_own_settings(configuration: Configuration) -> None:
    ((name, transport),) = made(configuration, "@pacs")
    assert (name, transport["_host"], transport["_port"]) == ("@pacs", "192.0.2.10", 11112)
    settings = transport["_settings"]
    assert (settings.called_ae_title, settings.dimse_timeout, settings.max_pdu) == ("ARCHIVE", 30, 65536)
    assert transport["_user_identity"].primary == b"router"


def test_several_each_once(configuration: Configuration) -> None:
    found = forwards_of(
        ForwardSettings(
            forward=("a:1", "@pacs", "a:1"), forward_delete=True, forward_attempts=2, forward_max_delay=3.0
        ),
        ASSOCIATION,
        configuration,
    )
    assert found is not None
    assert [target.name for target in found.targets] == ["a:1", "@pacs"]
    assert (found.policy, found.delete) == (Policy(2, 3.0), True)


@pytest.mark.parametrize(
    ("peer", "message"),
    [
        ("pacs", "is no peer"),
        (":104", "is no peer"),
        ("@pacs.example:104", "no node @pacs.example:104 is configured"),
        ("pacs:0", "out of range"),
        ("pacs:x", "not a port number"),
        ("A TITLE THAT IS LONG@pacs:104", "AE title"),
        ("@bad", "nodes.bad.*max_send_pdu"),
    ],
)
def test_what_is_no_peer(configuration: Configuration, peer: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        made(configuration, peer)


# --- DICOMweb ---


def web(configuration: Configuration, url: str, **settings: Any) -> tuple[str, Any]:
    """The name of a target, and the client of its transport."""
    found = forwards_of(ForwardSettings(forward_stow=(url,), **settings), ASSOCIATION, configuration)
    assert found is not None
    ((name, transport),) = found.targets
    assert isinstance(transport, StowTransport)
    return name, transport._client


def test_a_dicomweb_server(configuration: Configuration, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text("machine pacs.invalid login jane password word")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    name, client = web(configuration, "http://pacs.invalid:8042/dicom-web")
    assert (name, str(client.url)) == ("http://pacs.invalid:8042/dicom-web",) * 2
    assert client._auth.header("pacs.invalid") == basic("jane", "word")


def test_who_asks_is_not_in_the_name_of_a_target(configuration: Configuration) -> None:
    name, client = web(configuration, "https://jane:s3cret@pacs.invalid/dicom-web")
    assert name == "https://pacs.invalid/dicom-web"
    assert client._auth.header("") == basic("jane", "s3cret")


def test_tokens(configuration: Configuration) -> None:
    _, client = web(configuration, "http://pacs.invalid", forward_bearer="t0ken")
    assert client._auth.header("") == "Bearer t0ken"
    _, client = web(configuration, "http://pacs.invalid", forward_bearer_cmd="echo t1ken")
    assert client._auth.header("") == "Bearer t1ken"
    assert "t0ken" not in repr(ForwardSettings(forward_bearer="t0ken"))
    with pytest.raises(UsageError, match="--forward-stow only"):
        forwards_of(ForwardSettings(forward=("h:1",), forward_bearer="t0ken"), ASSOCIATION, configuration)


def test_nodes_that_are_dicomweb_servers(configuration: Configuration) -> None:
    name, client = web(configuration, "@raccoon", forward_bearer="another")
    assert (name, str(client.url)) == ("@raccoon", "https://pacs.invalid/dicom-web/studies")
    assert client._auth.header("") == "Bearer t0ken-of-node"
    assert (client.options.headers, client.options.insecure) == ((("X-Site", "north"),), True)
    name, client = web(configuration, "@open", forward_bearer="t0ken")
    assert (name, client._auth.header(""), client.options.timeout) == ("@open", "Bearer t0ken", 5.0)
    with pytest.raises(UsageError, match="no url"):
        web(configuration, "@pacs")
    with pytest.raises(UsageError, match="DICOMweb server only"):
        made(configuration, "@raccoon")


def test_both_ways_at_once(configuration: Configuration) -> None:
    settings = ForwardSettings(forward=("h:104",), forward_stow=("http://h/studies",), forward_delete=True)
    found = forwards_of(settings, ASSOCIATION, configuration)
    assert found is not None
    assert [target.name for target in found.targets] == ["h:104", "http://h/studies"]


def test_what_is_no_url(configuration: Configuration) -> None:
    with pytest.raises(UsageError, match="URL"):
        web(configuration, "pacs:8042")
