"""Configuration files, merging, nodes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from dcmkit.cli import configuration as c
from dcmkit.errors import UsageError


@pytest.fixture
def write(tmp_path):
    def write_file(text, name="config.toml"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write_file


def test_sections_nodes_and_origins(write):
    path = write(
        """
        [association]
        max_pdu = 8192
        [storescp]
        max_pdu = 16384
        [nodes.pacs]
        host = "[::1]"
        port = 104
        called_ae_title = "PACS"
        """
    )
    found = c.load(path)
    assert found.files == [path]
    assert found.sections["association"]["max_pdu"] == c.Entry(8192, f"{path}, [association] max_pdu")
    assert found.sections["storescp"]["max_pdu"].value == 16384
    node = found.node("pacs")
    assert (node.host, node.port) == ("::1", 104)
    assert node.settings["called_ae_title"] == c.Entry("PACS", f"{path}, [nodes.pacs] called_ae_title")


def test_the_users_file_goes_over_the_systems_key_by_key(write, tmp_path):
    system = write('[association]\nmax_pdu = 1\nacse_timeout = 2\n[nodes.a]\nhost = "h"\nport = 1', "etc/config.toml")
    user = write("[association]\nmax_pdu = 3\n[nodes.a]\nport = 4", "xdg/dcmkit/config.toml")
    found = c.load()
    assert found.files == [system, user] == c.standard_paths()
    assert found.sections["association"]["max_pdu"].value == 3
    assert found.sections["association"]["acse_timeout"].value == 2
    assert found.node("a")[:3] == ("a", "h", 4)


def test_a_named_file_stands_alone(write, monkeypatch):
    write("[association]\nmax_pdu = 1", "etc/config.toml")
    named = write("[logging]\nlog_level = 'info'")
    assert list(c.load(named).sections) == ["logging"]
    monkeypatch.setenv("DCMKIT_CONFIG", named)
    assert list(c.load().sections) == ["logging"]


def test_no_file_is_no_error_and_imports_no_toml():
    code = """
import sys
import dcmkit.cli.configuration as c
c.SYSTEM_FILE = "/nonexistent"
c.load()
print("tomllib" in sys.modules or "tomli" in sys.modules)
"""
    env = {"XDG_CONFIG_HOME": "/nonexistent", "PATH": ""}
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env).stdout == "False\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_pdu = 1", "max_pdu = ... stands outside any section"),
        ("[association\n", "is not TOML"),
        ("[nodes]\npacs = 1", r"\[nodes.pacs\] is not a section"),
        ("a = [" * 3000, "is not TOML"),
        ("[a]\nb = '\udcff'", "is not TOML: byte 9 is not UTF-8"),
    ],
)
def test_broken_files_are_usage_errors(tmp_path, text, message):
    path = tmp_path / "config.toml"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UsageError, match=message):
        c.load(str(path))


def test_a_named_file_that_is_missing(tmp_path):
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        c.load(str(tmp_path / "none"))


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ("port = 104", "node @x has no host"),
        ("host = 'h'", "node @x has no port"),
        ("host = ''\nport = 1", "is not a host name"),
        ("host = 'h'\nport = 0", "port 0 is out of range"),
        ("host = 'h'\nport = true", "True is not a port number"),
        ("host = 'h'\nport = 1.5", "1.5 is not a port number"),
    ],
)
def test_nodes_that_cannot_be_called(write, node, message):
    with pytest.raises(UsageError, match=message):
        c.load(write(f"[nodes.x]\n{node}")).node("x")


def test_nodes_with_a_url(write):
    found = c.load(
        write("[nodes.web]\nurl='http://h'\ntimeout=5\n[nodes.both]\nurl='u'\nhost='h'\nport=1\n[nodes.no]\nurl=1")
    )
    node = found.web_node("web")
    assert (node.host, node.port, node.url, list(node.settings)) == ("", 0, "http://h", ["timeout"])
    assert found.node("both")[:3] == ("both", "h", 1)
    assert found.any_node("both").url == "u"
    assert found.unknown_keys({}) == []
    with pytest.raises(UsageError, match="DICOMweb server only"):
        found.node("web")
    with pytest.raises(UsageError, match="that is no URL"):
        found.any_node("no")


def test_an_unknown_node_names_the_known_ones(write):
    with pytest.raises(UsageError, match=r"no node @b is configured \(configured: @a;"):
        c.load(write("[nodes.a]\nhost='h'\nport=1")).node("b")


def test_unknown_keys_are_found_with_a_suggestion(write):
    found = c.load(write("[association]\nmax_pud = 1\n[other]\nx = 1\n[nodes.a]\nhost='h'\nport=1\ncaled_ae_title='X'"))
    first, second = found.unknown_keys({"association": {"max_pdu"}})
    assert first.endswith("[association] max_pud: no such key; did you mean max_pdu?")
    assert second.endswith("[nodes.a] caled_ae_title: no such key; did you mean called_ae_title?")


@pytest.mark.parametrize(("text", "host"), [("[::1]", "::1"), ("::1", "::1"), ("h", "h"), ("192.0.2.1", "192.0.2.1")])
def test_plain_host(text, host):
    assert c.plain_host(text) == host


@pytest.mark.parametrize("value", ["0", "65536", "-1", "x", "", "1.0", "²", 70000, None])
def test_port_numbers_that_are_none(value):
    with pytest.raises(UsageError):
        c.port_number(value)


@pytest.mark.parametrize("value", ["1", 104, "65535", "011112"])
def test_port_numbers(value):
    assert c.port_number(value) == int(value)
