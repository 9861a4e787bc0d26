"""dcmkit config: show, check, init."""

from __future__ import annotations

import json
import os
import stat
import sys

import pytest
from click.testing import CliRunner

from dcmkit.cli.commands.config import fields, sample, shared_classes
from dcmkit.cli.configuration import Configuration, load
from dcmkit.cli.group import group

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@pytest.fixture
def path(tmp_path):
    return tmp_path / "xdg" / "dcmkit" / "config.toml"


def run(*args, env=None):
    return CliRunner().invoke(group, ["config", *args], env=env)


def write(path, text, mode=0o600):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def shown(*args, env=None):
    result = run("show", "--format", "jsonl", *args, env=env)
    assert result.exit_code == 0, result.stderr
    return {(row["section"], row["key"]): row for row in map(json.loads, result.stdout.splitlines())}


def test_show_tells_values_and_origins(path):
    write(path, "[association]\nmax_pdu = 8192\n[echoscu]\nacse_timeout = 5\n[user_identity]\npassword = 'secret'")
    rows = shown("echoscu", env={"DCMKIT_CALLED_AE_TITLE": "ENV"})
    got = {key: (row["value"], row["origin"]) for (_, key), row in rows.items()}
    assert got["max_pdu"] == (8192, f"{path}, [association] max_pdu")
    assert got["acse_timeout"] == (5, f"{path}, [echoscu] acse_timeout")
    assert got["called_ae_title"] == ("ENV", "environment variable DCMKIT_CALLED_AE_TITLE")
    assert got["calling_ae_title"] == ("ECHOSCU", "default of echoscu")
    assert got["dimse_timeout"] == (600, "default")
    assert got["password"][0] == "***"
    assert ("archive", "layout") not in rows


def test_show_without_a_tool_shows_all_shared_settings_and_nodes(path):
    write(path, "[nodes.pacs]\nhost = 'h'\nport = 104\npassword = 'secret'\ncalled_ae_title = 'PACS'")
    rows = shown()
    assert ("archive", "layout") in rows
    assert rows["nodes.pacs", "port"]["value"] == 104
    assert rows["nodes.pacs", "called_ae_title"]["value"] == "PACS"
    assert "secret" not in run("show").stdout


def test_nodes_that_are_dicomweb_servers(path):
    write(
        path,
        """
        [web_client]
        timeout = 5
        [nodes.web]
        url = "https://jane:secret@h/dicom-web?key=secret"
        bearer = "secret"
        header = ["X-Key: secret"]
        [nodes.both]
        host = "h"
        port = 104
        url = "http://h/dicom-web"
        """,
    )
    assert run("check").exit_code == 0
    rows = shown()
    assert rows["nodes.web", "url"]["value"] == "https://h/dicom-web"
    assert ("nodes.web", "host") not in rows
    assert (rows["nodes.both", "host"]["value"], rows["nodes.both", "url"]["value"]) == ("h", "http://h/dicom-web")
    assert "secret" not in run("show").stdout
    write(path, "[nodes.web]\nurl = 'ftp://secret'\n[nodes.open]\nurl = 'http://h'\nbearer = 'secret'", 0o644)
    result = run("check")
    assert result.exit_code == 1
    assert "node @web: its url cannot be used" in result.stderr
    assert "holds a password and can be read by others" in result.stderr
    assert "secret" not in result.stderr


def test_show_of_an_unknown_tool():
    result = run("show", "nothing")
    assert result.exit_code == 1
    assert "no such tool: nothing" in result.stderr


def test_check_without_a_file():
    result = run("check")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "no problem found" in result.stderr


def test_check_finds_everything(path):
    write(
        path,
        """
        [association]
        max_pud = 1
        max_pdu = 1
        [echoscu]
        bind = ["::1"]
        [storescp]
        workers = "two"
        [nonsense]
        x = 1
        [nodes.good]
        host = "h"
        port = 1
        acse_timeout = -1
        password = "secret"
        [nodes.bad]
        host = "h"
        """,
        0o644,
    )
    result = run("check")
    assert result.exit_code == 1
    for text in (
        "[association] max_pud: no such key; did you mean max_pdu?",
        "[association] max_pdu: 1 is too small; the smallest is 4096 bytes",
        "[echoscu] bind: no such key",
        "[storescp] workers: 'two' is not a whole number",
        "there is no section [nonsense]",
        "[nodes.good] acse_timeout: -1 is too small",
        "node @bad has no port",
        "holds a password and can be read by others",
        "8 problems found",
    ):
        assert text in result.stderr, text


def test_check_looks_at_the_environment():
    result = run("check", env={"DCMKIT_MAX_PUD": "1", "DCMKIT_WORKERS": "two", "DCMKIT_CALLED_AE_TITLE": "FINE"})
    assert result.exit_code == 1
    assert "environment variable DCMKIT_MAX_PUD: no such setting; did you mean DCMKIT_MAX_PDU?" in result.stderr
    assert "environment variable DCMKIT_WORKERS: 'two' is not a whole number" in result.stderr
    assert "2 problems found" in result.stderr


def test_check_of_a_named_file(tmp_path):
    other = tmp_path / "other.toml"
    write(other, "[association]\nmax_pdu = 8192")
    result = run("check", "--config", str(other))
    assert result.exit_code == 0
    assert str(other) in result.stderr


def test_init_writes_a_file_that_checks_out_and_only_its_owner_reads(path):
    assert run("init").exit_code == 0
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert run("check").exit_code == 0
    result = run("init")
    assert result.exit_code == 1
    assert "is there already (--force replaces it)" in result.stderr
    assert run("init", "--force").exit_code == 0


def test_init_where_it_cannot_write(tmp_path):
    (tmp_path / "file").touch()
    assert run("init", "--output", str(tmp_path / "file" / "x")).exit_code == 40


def test_the_sample_uncommented_is_the_defaults(tmp_path):
    assert run("init", "--output", "-").stdout == sample()
    lines = [
        line for line in sample().splitlines() if line.startswith(("[", "# ")) and (" = " in line or line[0] == "[")
    ]
    text = "\n".join(line.removeprefix("# ") for line in lines if "host" not in line and "port =" not in line)
    text = text.replace('called_ae_title = "PACS"\n', "", 1)
    file = tmp_path / "sample.toml"
    file.write_text(text)
    tables = tomllib.loads(text)
    for option, section in fields(shared_classes()):
        value = tables[section][option.name]
        assert option.convert(value) == option.default, option.name
    assert load(str(file)).unknown_keys({name: set(table) for name, table in tables.items()}) == []


def test_shared_classes_leave_out_those_that_others_extend():
    assert "AssociationSettings" not in {cls.__name__ for cls in shared_classes()}
    assert Configuration().node_names() == []
