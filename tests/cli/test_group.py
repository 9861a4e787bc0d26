"""The group: commands found lazily."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from dcmkit.cli.group import group
from dcmkit.cli.startup import command_names, overview


def test_help_is_the_overview():
    assert CliRunner().invoke(group, ["--help"]).stdout == overview()


def test_every_command_loads_and_is_called_as_its_file():
    context = click.Context(group)
    for name in group.list_commands(context):
        assert group.get_command(context, name).name == name


def test_every_command_shows_its_help():
    for name in command_names():
        result = CliRunner().invoke(group, [name, "--help"])
        assert result.exit_code == 0, result.output
        assert result.stdout.startswith(f"Usage: dcmkit {name} ")


def test_unknown_command():
    result = CliRunner().invoke(group, ["ecoscu"])
    assert result.exit_code == 1
    assert result.stderr == "dcmkit: error: no such command: ecoscu (did you mean echoscu?)\n"


@pytest.mark.parametrize("args", [["nothing"], ["../x"], ["commands.config"], [""]])
def test_odd_names(args):
    assert CliRunner().invoke(group, args).exit_code == 1


def test_a_command_is_imported_alone():
    code = """
import sys
from dcmkit.cli import main
try:
    main(["dcmkit", "config", "--help"])
except SystemExit:
    print(sorted(name for name in sys.modules if name.startswith("dcmkit.cli.commands.")), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr == "['dcmkit.cli.commands.config']\n"
