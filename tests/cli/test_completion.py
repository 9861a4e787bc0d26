"""What shells ask."""

from __future__ import annotations

import pytest

from dcmkit.cli.completion import main


def complete(capsys, *args):
    code = main(list(args))
    captured = capsys.readouterr()
    assert captured.err == ""
    return code, captured.out.split()


def test_nodes(capsys, tmp_path):
    path = tmp_path / "c.toml"
    path.write_text("[nodes.pacs]\nhost='h'\nport=1\n[nodes.archive]\n[nodes.\"a b\\u001b\"]\n")
    assert complete(capsys, "nodes", str(path)) == (0, ["@archive", "@pacs"])
    assert complete(capsys, "nodes") == (0, [])


def test_transfer_syntaxes_and_sop_classes(capsys):
    assert "ExplicitVRLittleEndian" in complete(capsys, "transfer-syntaxes")[1]
    assert "CTImageStorage" in complete(capsys, "sop-classes")[1]


@pytest.mark.parametrize("args", [[], ["else"], ["nodes", "/nonexistent"]])
def test_errors_are_silent(args, capsys):
    assert complete(capsys, *args) == (1, [])
