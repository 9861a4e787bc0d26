"""DICOMweb servers by URL or node: where, who we are, and that nothing secret is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from dcmkit.cli.configuration import Configuration
from dcmkit.cli.options import build, invocation, settings_options, tool, web_peer_argument
from dcmkit.cli.web_peer import WebPeer, WebPeerSettings, of_node, peer_of, split_resource
from dcmkit.errors import InputError, UsageError
from dcmkit.web.http_auth import basic
from dcmkit.web.http_client import Options
from tests.web.http_peer import Reply, peer

NODES = """
[nodes.raccoon]
url = "https://pacs.invalid/dicom-web/"
bearer = "t0ken-of-node"
header = ["X-Site: north, south"]
timeout = 5

[nodes.both]
host = "192.0.2.10"
port = 11112
url = "http://192.0.2.10:8042/dicom-web"
user = "jane"
password = "s3cret"

[nodes.pacs]
host = "192.0.2.10"
port = 11112

[nodes.bad]
url = "ftp://s3cret"
"""


@pytest.fixture
def configuration(tmp_path: Path) -> Configuration:
    (tmp_path / "config.toml").write_text(NODES)
    made = Configuration()
    made.read(str(tmp_path / "config.toml"))
    return made


def of(text: str, configuration: Configuration | None = None, **settings: Any) -> WebPeer:
    return peer_of(text, WebPeerSettings(**settings), configuration or Configuration())


@pytest.mark.parametrize(
    ("path", "root", "resource"),
    [
        ("/", "", ()),
        ("", "", ()),
        ("/dicom-web/", "/dicom-web", ()),
        ("/dicom-web/studies/", "/dicom-web", ("studies",)),
        ("/studies/1.2.3", "", ("studies", "1.2.3")),
        ("/x/studies/1.2/series/3.4/instances/5.6/frames/1%2C2", "/x",
         ("studies", "1.2", "series", "3.4", "instances", "5.6", "frames", "1,2")),
        ("/studies/dicom-web/studies", "/studies/dicom-web", ("studies",)),
        ("/x/series", "/x", ("series",)),
        ("/series/dicom-web", "/series/dicom-web", ()),
    ],
)  # fmt: skip
def test_the_service_and_what_is_named_below_it(path: str, root: str, resource: tuple[str, ...]) -> None:
    assert split_resource(path) == (root, resource)


def test_targets() -> None:
    found = of("http://jane:s3cret@pacs.invalid:8042/a%20b/studies/1.2.3?token=x")
    assert (found.name, found.study) == ("http://pacs.invalid:8042/a%20b", "1.2.3")
    assert found.target("studies", "1/2") == "/a%20b/studies/1%2F2?token=x"
    assert found.target("studies", query="limit=1") == "/a%20b/studies?token=x&limit=1"
    root = of("http://pacs.invalid")
    assert (root.target("studies"), root.target(), root.study) == ("/studies", "/", "")


@pytest.mark.parametrize(
    ("settings", "header"),
    [
        ({"bearer": "t0ken", "user": "jane", "password": "word"}, "Bearer t0ken"),
        ({"bearer_cmd": "echo t1ken"}, "Bearer t1ken"),
        ({"user": "jane", "password": "word"}, basic("jane", "word")),
    ],
)
def test_who_we_are(settings: dict[str, str], header: str) -> None:
    auth = of("http://pacs.invalid", **settings).auth
    assert auth is not None
    assert auth.header("pacs.invalid") == header


def test_a_netrc_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("machine pacs.invalid login jane password word")
    auth = of("http://pacs.invalid", netrc=str(tmp_path / "netrc")).auth
    assert auth is not None
    assert auth.header("pacs.invalid") == basic("jane", "word")
    assert of("http://jane:word@pacs.invalid").auth is None  # the client takes it from the URL


def test_a_password_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="DCMKIT_PASSWORD"):
        of("http://pacs.invalid", user="jane")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setattr("getpass.getpass", lambda _: "word")
    auth = of("http://pacs.invalid", user="jane").auth
    assert auth is not None
    assert auth.header("") == basic("jane", "word")

    def nobody(_: str) -> str:
        raise EOFError

    monkeypatch.setattr("getpass.getpass", nobody)
    with pytest.raises(InputError, match="cannot be asked"):
        of("http://pacs.invalid", user="jane")


def test_options() -> None:
    found = of(
        "https://pacs.invalid", cacert="ca", cert="c", cert_key="k", insecure=True, header=("A: b: c",), proxy="none",
        timeout=5.0, connection_timeout=0.0,
    ).options  # fmt: skip
    assert found == Options(5.0, 5.0, "ca", "c", "k", "", True, "", (("A", "b: c"),))
    assert of("http://h").options.proxy is None
    assert of("http://h", proxy="http://p:1").options.proxy == "http://p:1"


def test_no_check_of_certificates_is_said_aloud(caplog: pytest.LogCaptureFixture) -> None:
    of("https://pacs.invalid", insecure=True)
    of("http://pacs.invalid", insecure=True)
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_clients_share_what_was_read_of_certificates() -> None:
    found = of("https://pacs.invalid")
    assert found.client()._context is found.client()._context is not None
    assert of("http://pacs.invalid").client()._context is None


def test_nodes(configuration: Configuration) -> None:
    node = configuration.web_node("raccoon")
    settings = of_node(WebPeerSettings, node.settings, {"timeout": 9.0, "connection_timeout": 3.0})
    assert (settings.bearer, settings.timeout, settings.connection_timeout) == ("t0ken-of-node", 5.0, 3.0)
    found = peer_of("@raccoon", settings, configuration)
    assert found.name == "https://pacs.invalid/dicom-web"
    assert found.options.headers == (("X-Site", "north, south"),)
    assert configuration.node("both")[:3] == ("both", "192.0.2.10", 11112)
    assert configuration.web_node("both").url == "http://192.0.2.10:8042/dicom-web"


@pytest.mark.parametrize(
    ("text", "message"),
    [("@pacs", "no url"), ("@none", "no node @none"), ("@bad", "@bad: that is no URL"), ("pacs", "no URL")],
)
def test_what_is_no_server(configuration: Configuration, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        of(text, configuration)
    assert "s3cret" not in str(caught.value)


def test_a_web_node_is_no_peer_of_associations(configuration: Configuration) -> None:
    with pytest.raises(UsageError, match="DICOMweb server only"):
        configuration.node("raccoon")


def test_a_key_without_a_certificate() -> None:
    with pytest.raises(UsageError, match="--cert names it"):
        of("https://pacs.invalid", cert_key="k")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("header", ["no header s3cret"]),
        ("header", ["Host: s3cret"]),
        ("header", ["A: b\r\ns3cret: c"]),
        ("user", "jane:s3cret"),
        ("bearer", 17),
        ("password", 17),
    ],
)
def test_what_is_wrong_with_a_secret_is_told_without_it(name: str, value: Any) -> None:
    with pytest.raises(UsageError) as caught:
        WebPeerSettings.options[name].convert(value)
    assert "s3cret" not in str(caught.value)
    assert "17" not in str(caught.value)


def test_nothing_secret_is_shown() -> None:
    settings = WebPeerSettings(bearer="s3cret", password="s3cret", header=("X-Key: s3cret",), proxy="http://a:s3cret@p")
    found = peer_of("http://jane:s3cret@pacs.invalid/studies?key=s3cret", settings, Configuration())
    assert "s3cret" not in repr((settings, found, found.options, found.auth)) + found.name


# --- on a command line -----------------------------------------------------------------------------------------------


@tool("asking")
@settings_options(WebPeerSettings)
@web_peer_argument
@click.argument("paths", nargs=-1)
def asking(server: str, paths: tuple[str, ...]) -> None:
    found = peer_of(server, build(WebPeerSettings), invocation().configuration)
    with found.client() as client:
        response = client.request("GET", found.target("studies", query="limit=1"))
        click.echo(f"{response.status} {' '.join(paths)}")


def run(*args: str) -> tuple[int, str]:
    result = CliRunner().invoke(asking, list(args))
    return result.exit_code, result.output


def test_a_url_on_the_command_line() -> None:
    with peer([Reply(204)]) as server:
        assert run(f"{server.url}/dicom-web", "a", "b", "--bearer", "t0ken", "--header", "X-A: b") == (0, "204 a b\n")
    (request,) = server.requests
    assert request.path == "/dicom-web/studies?limit=1"
    assert (request.headers["authorization"], request.headers["x-a"]) == ("Bearer t0ken", "b")


def test_a_node_on_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    with peer([Reply(200), Reply(200)]) as server:
        file.write_text(f"[nodes.a]\nurl = '{server.url}/x/studies'\nbearer = 'of-node'\nmistake = 1")
        assert run("@a", "b", "--config", str(file))[0] == 0
        assert run("@a", "--config", str(file), "--bearer", "given")[0] == 0
    assert [request.path for request in server.requests] == ["/x/studies?limit=1"] * 2
    assert [request.headers["authorization"] for request in server.requests] == ["Bearer of-node", "Bearer given"]


def test_no_server() -> None:
    code, output = run()
    assert code == 1
    assert "URL or @NODE is missing" in output
