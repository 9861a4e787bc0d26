"""The group `dcmkit`: its subcommands are the files in `cli/commands`, each imported only when it is called."""

from __future__ import annotations

from dcmkit.cli.options import ToolGroup
from dcmkit.cli.startup import command_names, overview

import click  # isort: skip - after dcmkit.cli.options, which imports it the cheap way


class LazyGroup(ToolGroup):
    """Lists commands without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The files in `cli/commands`."""
        return command_names()

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command's module; its `command` is the command."""
        if cmd_name not in command_names():
            return None
        from importlib import import_module

        module = import_module(f"dcmkit.cli.commands.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def get_help(self, ctx: click.Context) -> str:
        """The overview that `dcmkit --help` prints without importing click."""
        return overview().rstrip("\n")


group = LazyGroup("dcmkit")
