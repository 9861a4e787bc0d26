"""The command tree as plain data, for everything that is generated from it: man pages, completions, tables."""

from __future__ import annotations

from importlib import import_module
from typing import NamedTuple

from dcmkit.cli.options import PeerArgument, SettingOption, ShortcutOption, Tool, describe, option_groups
from dcmkit.cli.startup import command_names, summary
from dcmkit.settings import Settings

import click  # isort: skip - after dcmkit.cli.options, which imports it the cheap way


class OptionSpec(NamedTuple):
    """An option as documented and completed.

    Attributes:
        flags: every spelling.
        metavar: the name of its value, "" for a flag.
        text: the sentence, with choices, range and default.
        choices: the values a shell offers.
        complete: "file", "directory", "node", "transfer-syntax", "sop-class" or "".
        values: how many words follow the flag.
    """

    flags: tuple[str, ...]
    metavar: str
    text: str
    choices: tuple[str, ...] = ()
    complete: str = ""
    values: int = 0


class CommandSpec(NamedTuple):
    """A command or a group of commands.

    Attributes:
        path: its words after `dcmkit`, () for dcmkit itself.
        summary: one line.
        usage: the synopsis without the program's name.
        description: paragraphs.
        groups: headings and their options.
        operands: what a shell may offer for operands: "peer", "file", "directory".
        commands: the subcommands.
        settings: the settings classes.
        examples: pairs of what it does and the command line.
    """

    path: tuple[str, ...]
    summary: str
    usage: str
    description: tuple[str, ...]
    groups: tuple[tuple[str, tuple[OptionSpec, ...]], ...]
    operands: tuple[str, ...] = ()
    commands: tuple[CommandSpec, ...] = ()
    settings: tuple[type[Settings], ...] = ()
    examples: tuple[tuple[str, str], ...] = ()

    @property
    def options(self) -> list[OptionSpec]:
        """All options, whatever their heading."""
        return [option for _, options in self.groups for option in options]


def command_tree() -> CommandSpec:
    """dcmkit with all its commands; imports every one of them."""
    from dcmkit.cli.group import group

    root = click.Context(group, info_name="dcmkit")
    commands = []
    for name in command_names():
        module = import_module(f"dcmkit.cli.commands.{name.replace('-', '_')}")
        spec = _command(module.command, (name,), root)
        commands.append(spec._replace(summary=summary(name), examples=tuple(getattr(module, "EXAMPLES", ()))))
    own = _command(group, (), None)
    return own._replace(summary="the DICOM toolbox", commands=tuple(commands))


def _command(command: click.Command, path: tuple[str, ...], parent: click.Context | None) -> CommandSpec:
    context = click.Context(command, info_name=path[-1] if path else "dcmkit", parent=parent)
    members = command.commands if isinstance(command, click.Group) else {}
    return CommandSpec(
        path=path,
        summary=command.get_short_help_str(200).rstrip("."),
        usage=" ".join(command.collect_usage_pieces(context)),
        description=_paragraphs(command.help or ""),
        groups=tuple((title, tuple(map(_option, params))) for title, params in option_groups(command, context)),
        operands=tuple(kind for param in command.params if (kind := _operand(param))),
        commands=tuple(_command(member, (*path, name), context) for name, member in members.items()),
        settings=command.settings_classes if isinstance(command, Tool) else (),
    )


def _paragraphs(text: str) -> tuple[str, ...]:
    """The paragraphs of a docstring, each on one line."""
    return tuple(" ".join(paragraph.split()) for paragraph in text.split("\n\n") if paragraph.strip())


def _option(param: click.Option) -> OptionSpec:
    flags = (*param.opts, *param.secondary_opts)
    if isinstance(param, ShortcutOption):
        return OptionSpec(flags, "", param.shortcut.help)
    if isinstance(param, SettingOption):
        setting = param.setting
        text = describe(setting, param.setting_default)
        values = 0 if setting.is_flag else 1
        return OptionSpec(flags, setting.metavar, text, setting.choices, setting.complete, values)
    choices = tuple(map(str, param.type.choices)) if isinstance(param.type, click.Choice) else ()
    text = _text(param)
    if param.is_flag or param.count:
        return OptionSpec(flags, "", text)
    metavar = param.metavar or (param.type.name.upper() if not choices else (param.name or "").upper())
    return OptionSpec(flags, metavar, text, choices, _kind(metavar), param.nargs)


def _text(param: click.Option) -> str:
    """The help sentence with the facts that a settings option's has, whatever this version of click would print."""
    facts = []
    if isinstance(param.type, click.Choice):
        facts.append("one of " + ", ".join(map(str, param.type.choices)))
    if param.show_default and param.default not in (None, False):
        facts.append(f"default: {param.default}")
    return f"{param.help} [{'; '.join(facts)}]" if facts else param.help or ""


def _operand(param: click.Parameter) -> str:
    if isinstance(param, PeerArgument):
        return "peer"
    return _kind(param.metavar or param.name or "") if isinstance(param, click.Argument) else ""


def _kind(name: str) -> str:
    """What a value of that name is, as far as a shell is concerned."""
    name = name.upper().strip("[].")
    if name in ("FILE", "FILES", "PATH", "PATHS"):
        return "file"
    return "directory" if name in ("DIRECTORY", "DIRECTORIES", "DIR") else ""
