"""From settings classes to click options to frozen settings objects. A command is written like this:

    @tool("echoscu")
    @settings_options(RequestorSettings, tool_defaults={"calling_ae_title": "ECHOSCU"})
    @peer_argument
    @click.option("--repeat", ...)
    def command(peer: Peer, repeat: int) -> int | None:
        settings = build(RequestorSettings)

Every tool also has LoggingSettings, `--config`, `--version` and `--help`. A field's value comes from the command line,
else from the node named as `@NAME`, the environment, the configuration file (the tool's own section, then the class's),
the tool's default, the class's default; a bad value is reported with the place it came from. All settings are built
and checked before the command's function runs. What it returns is the exit code (None: done).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from dcmkit.cli.startup import import_click, started

import_click()

import click  # noqa: E402

from dcmkit import logs  # noqa: E402
from dcmkit.cli.configuration import load, plain_host, port_number  # noqa: E402
from dcmkit.cli.invocation import Invocation, Peer, known_keys  # noqa: E402
from dcmkit.cli.output import broken_pipe, environment, run_command  # noqa: E402
from dcmkit.cli.parser import ArgumentParser, expand, option_value, tool_name  # noqa: E402
from dcmkit.errors import UsageError  # noqa: E402
from dcmkit.settings import LoggingSettings, Option, Settings, Shortcut  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = [
    "Invocation",
    "NodeOption",
    "Peer",
    "Tool",
    "ToolGroup",
    "build",
    "invocation",
    "peer_argument",
    "settings_options",
    "tool",
    "web_peer_argument",
]

_SettingsT = TypeVar("_SettingsT", bound=Settings)
_META, _CONFIGURATION = "dcmkit.invocation", "dcmkit.configuration"


class SettingOption(click.Option):
    """A settings field on the command line. Its value stays out of the function's parameters: see `build`."""

    keeps_flag = True

    def __init__(self, option: Option, section_title: str, default: Any) -> None:
        self.setting = option
        self.section_title = section_title
        self.setting_default = default
        super().__init__(
            [option.name, *option.flags],
            is_flag=option.is_flag or None,
            flag_value=True if option.is_flag else None,
            metavar=option.metavar or None,
            multiple=option.multiple,
            expose_value=False,
        )
        self.help = option.help
        self.secondary_opts = list(option.off_flags)

    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:
        """To dcmkit's parser; nothing of click's handling of defaults and flags is used."""
        if self.setting.is_flag:
            parser.add_option(self, self.opts, self.setting.name, "store_const", const=True)
            parser.add_option(self, self.secondary_opts, self.setting.name, "store_const", const=False)
        else:
            parser.add_option(self, self.opts, self.setting.name, "append" if self.setting.multiple else "store")

    def handle_parse_result(self, ctx: click.Context, opts: Mapping[str, Any], args: list[str]) -> Any:
        """Keep what was given for `Invocation`; conversion and defaults are its business."""
        given = opts.get(self.setting.name)
        if given is not None:
            invocation(ctx).given[self.setting.name] = given
        return None, args

    def get_help_record(self, ctx: click.Context) -> tuple[str, str]:
        """Spellings and sentence, with choices, range and default."""
        names = " ".join(self.opts) + (f" / {' '.join(self.secondary_opts)}" if self.secondary_opts else "")
        return f"{names} {self.setting.metavar}".rstrip(), describe(self.setting, self.setting_default)


class ShortcutOption(click.Option):
    """A flag that stands for one value of a settings field (`-v`)."""

    keeps_flag = True

    def __init__(self, option: Option, shortcut: Shortcut, section_title: str) -> None:
        self.setting = option
        self.shortcut = shortcut
        self.section_title = section_title
        super().__init__(
            [f"{option.name}_{shortcut.value}", *shortcut.flags],
            is_flag=True,
            flag_value=True,
            expose_value=False,
        )
        self.help = shortcut.help

    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:
        """As another way to give the field: the rightmost wins, as in DCMTK."""
        parser.add_option(self, self.opts, self.setting.name, "store_const", const=self.shortcut.value)

    def handle_parse_result(self, ctx: click.Context, opts: Mapping[str, Any], args: list[str]) -> Any:
        """Nothing: the field's own option takes the value."""
        return None, args

    def get_help_record(self, ctx: click.Context) -> tuple[str, str]:
        """Spellings and sentence."""
        return " ".join(self.opts), self.shortcut.help


class PeerArgument(click.Argument):
    """`HOST PORT`, or `@NODE` for both; the function gets a `Peer`."""

    def take(self, operands: list[str]) -> int:
        """How many operands are mine."""
        return 1 if operands and operands[0][0:1] == "@" else 2

    def handle_parse_result(self, ctx: click.Context, opts: Mapping[str, Any], args: list[str]) -> Any:
        """Look the node up, or check host and port."""
        operands = opts.get(self.name or "") or ()
        if not operands:
            raise UsageError("no peer: HOST PORT or @NODE is missing", hint=_usage(ctx))
        if operands[0].startswith("@"):
            node = invocation(ctx).configuration.node(operands[0][1:])
            invocation(ctx).node = node
            peer = Peer(node.host, node.port, node.name)
        elif len(operands) == 1:
            raise UsageError(f"the port of {operands[0]} is missing", hint=_usage(ctx))
        else:
            peer = Peer(plain_host(operands[0]), port_number(operands[1]))
        ctx.params[self.name or ""] = peer
        return peer, args

    def make_metavar(self, *_: Any) -> str:
        """As shown in the usage line."""
        return "(HOST PORT | @NODE)"


class WebPeerArgument(PeerArgument):
    """`URL`, or `@NODE` for one with a url; the function gets the text. See `dcmkit.cli.web_peer`."""

    def take(self, operands: list[str]) -> int:
        """How many operands are mine."""
        return 1

    def handle_parse_result(self, ctx: click.Context, opts: Mapping[str, Any], args: list[str]) -> Any:
        """Look the node up, so that its keys are settings of this run."""
        operands = opts.get(self.name or "") or ()
        text = operands if isinstance(operands, str) else operands[0] if operands else ""
        if not text:
            raise UsageError("no server: URL or @NODE is missing", hint=_usage(ctx))
        if text.startswith("@"):
            invocation(ctx).node = invocation(ctx).configuration.web_node(text[1:])
        ctx.params[self.name or ""] = text
        return text, args

    def make_metavar(self, *_: Any) -> str:
        """As shown in the usage line."""
        return "(URL | @NODE)"


class NodeOption(click.Option):
    """An option whose value may be the name of a node: `@pacs` is then not read as a file of arguments."""


class _Command(click.Command):
    """What tools and groups of tools have in common: the parser, and how they end."""

    def make_parser(self, ctx: click.Context) -> Any:
        """dcmkit's parser in place of click's."""
        parser = ArgumentParser(ctx)
        for param in self.get_params(ctx):
            param.add_to_parser(parser, ctx)  # type: ignore[arg-type]
        return parser

    def main(  # type: ignore[override]
        self, args: Any = None, prog_name: str | None = None, **extra: Any
    ) -> Any:
        """Run, with errors turned into one line on stderr and an exit code."""
        if prog_name in (None, self.name):
            prog_name = " ".join(dict.fromkeys(("dcmkit", self.name or "")))
        return run_command(super().main, args, prog_name or "dcmkit", **extra)


class Tool(_Command):
    """A subcommand: DCMTK's arguments, settings, one-line errors and exit codes."""

    settings_classes: tuple[type[Settings], ...] = ()
    tool_defaults: Mapping[str, Any] = {}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        callback = self.callback
        self.settings_classes = (*getattr(callback, "settings_classes", ()), LoggingSettings)
        self.tool_defaults = getattr(callback, "tool_defaults", {})
        self.add_help_option = False
        self.params += list(_options(self.settings_classes, self.tool_defaults))
        self.params += _general_options()

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the configuration, expand `@file`, then parse."""
        environment.program = ctx.command_path
        named = option_value(args, "--config")
        configuration = load(named) if named else ctx.meta.get(_CONFIGURATION) or load()
        ctx.meta[_META] = Invocation(tool_name(ctx), configuration, self.tool_defaults)
        args = expand(args, configuration.has_node if any(map(_takes_node, self.params)) else lambda _: False)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Check all settings, set the log up, run."""
        run = invocation(ctx)
        logging = run.settings(LoggingSettings)
        logs.configure(logging.log_level, logging.log_format)
        warn_of_unknown_keys(run, self.settings_classes)
        for cls in self.settings_classes:
            run.settings(cls)
        started()
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # click would make it exit code 1
            return broken_pipe()

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The tool's own options, then those of each settings class under its title, general options last."""
        for title, params in option_groups(self, ctx):
            with formatter.section(title):
                formatter.write_dl([record for param in params if (record := param.get_help_record(ctx))])


class ToolGroup(_Command, click.Group):
    """A subcommand with subcommands (`dcmkit index ls`); its `command` decorator makes `Tool`s."""

    command_class = Tool

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.add_help_option = False
        self.params += _general_options(_read_configuration)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse up to the subcommand; `--config` may stand before it."""
        environment.program = ctx.command_path
        if not args:
            raise UsageError("a command is missing", hint=f"one of {', '.join(self.list_commands(ctx))}")
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The subcommands with their whole first sentences, then the options."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        with formatter.section("commands"):
            formatter.write_dl([(name, found.get_short_help_str(200)) for name, found in commands if found])
        with formatter.section("options"):
            formatter.write_dl([record for param in self.params if (record := param.get_help_record(ctx))])

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Find the subcommand.

        Raises:
            UsageError: there is none of that name; with a suggestion.
        """
        if self.get_command(ctx, args[0]) is None:
            from difflib import get_close_matches

            close = get_close_matches(args[0], self.list_commands(ctx), 1)
            hint = f"did you mean {close[0]}?" if close else f"{ctx.command_path} --help lists the commands"
            raise UsageError(f"no such command: {args[0]}", hint=hint)
        return super().resolve_command(ctx, args)


def _takes_node(param: click.Parameter) -> bool:
    """Whether `@name` may be a configured peer in its place."""
    if isinstance(param, SettingOption):
        return param.setting.complete == "node"
    return isinstance(param, (PeerArgument, NodeOption))


def tool(name: str, **attributes: Any) -> Callable[[Callable[..., Any]], Tool]:
    """Make a function the command `name`; its docstring is the description in help and man page."""
    return click.command(name, cls=Tool, **attributes)


def tool_group(name: str, description: str, **attributes: Any) -> ToolGroup:
    """A command with subcommands; add them with `@group.command("ls")`."""
    return ToolGroup(name, help=description, **attributes)


def settings_options(
    *classes: type[Settings], tool_defaults: Mapping[str, Any] | None = None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a tool the options of these classes; `tool_defaults` replaces class defaults, by field name."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        function.settings_classes = classes  # type: ignore[attr-defined]
        function.tool_defaults = dict(tool_defaults or {})  # type: ignore[attr-defined]
        return function

    return decorate


def peer_argument(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a tool the operands `HOST PORT` (or `@NODE`), as the parameter `peer`."""
    return click.argument("peer", cls=PeerArgument)(function)


def web_peer_argument(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a tool the operand `URL` (or `@NODE`), as the parameter `server`."""
    return click.argument("server", cls=WebPeerArgument)(function)


def build(cls: type[_SettingsT], **changes: Any) -> _SettingsT:
    """The settings of the running command; `changes` win over everything."""
    built = invocation().settings(cls)
    return built.replace(**changes) if changes else built


def invocation(ctx: click.Context | None = None) -> Invocation:
    """The run of the current (or given) context."""
    found: Invocation = (ctx or click.get_current_context()).meta[_META]
    return found


def describe(option: Option, default: Any) -> str:
    """The help sentence with choices, range and default."""
    facts = []
    if option.choices:
        facts.append("one of " + ", ".join(option.choices))
    if option.minimum is not None and option.maximum is not None:
        facts.append(f"{option.minimum:.12g} to {option.maximum:.12g}")
    if not option.is_flag and default not in ("", ()):
        unit = f" {option.unit}" if option.unit else ""
        shown = ", ".join(default) if option.multiple else f"{default:.12g}" if isinstance(default, float) else default
        facts.append(f"default: {shown}{unit}")
    elif option.is_flag and default:
        facts.append("default")
    return f"{option.help} [{'; '.join(facts)}]" if facts else option.help


def option_groups(command: click.Command, ctx: click.Context) -> list[tuple[str, list[click.Option]]]:
    """A command's visible options under their headings, in the order help texts and man pages show them."""
    groups: dict[str, list[click.Option]] = {f"{command.name} options": []}
    for param in command.get_params(ctx):
        if isinstance(param, click.Option) and not param.hidden:
            title = getattr(param, "section_title", f"{command.name} options")
            groups.setdefault(title, []).append(param)
    general = groups.pop(LoggingSettings.title, [])
    return [(title, params) for title, params in [*groups.items(), (LoggingSettings.title, general)] if params]


def _options(classes: Iterable[type[Settings]], tool_defaults: Mapping[str, Any]) -> Iterable[click.Option]:
    seen: set[str] = set()
    for cls in classes:
        for option in cls.options.values():
            if option.name in seen or not (option.flags or option.shortcuts):
                continue
            seen.add(option.name)
            yield SettingOption(option, cls.title, tool_defaults.get(option.name, option.default))
            for shortcut in option.shortcuts:
                yield ShortcutOption(option, shortcut, cls.title)


def _general_options(read: Callable[..., None] | None = None) -> list[click.Option]:
    """`--config`, `--version` and `--help`, made here because click's own texts start its translation machinery."""
    config = click.Option(["--config"], metavar="FILE", callback=read, expose_value=False)
    config.help = "read this configuration file instead of the user's and the system's"
    version = click.Option(["--version"], is_flag=True, is_eager=True, callback=_show_version, expose_value=False)
    version.help = "print the version and exit"
    usage = click.Option(["help", "-h", "--help"], is_flag=True, is_eager=True, callback=_show_help, expose_value=False)
    usage.help = "show this message and exit"
    for option in (config, version, usage):
        option.section_title = LoggingSettings.title  # type: ignore[attr-defined]
    return [config, version, usage]


def _read_configuration(ctx: click.Context, _: click.Parameter, path: str | None) -> None:
    if path:
        ctx.meta[_CONFIGURATION] = load(path)


def _show_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        from dcmkit import __version__

        click.echo(f"dcmkit {__version__}")
        ctx.exit()


def _show_help(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        click.echo(ctx.get_help())
        ctx.exit()


def warn_of_unknown_keys(run: Invocation, classes: tuple[type[Settings], ...], path: str = "") -> None:
    """Name the keys of the configuration files, or of the one at `path` alone, that no option has."""
    if not run.configuration.files:
        return
    known = known_keys(classes, run.tool)
    for sentence in run.configuration.unknown_keys(known):
        if sentence.startswith(f"{path}, " if path else ""):
            logs.get_logger("cli").warning("%s (ignored)", sentence)


def _usage(ctx: click.Context) -> str:
    return f"usage: {' '.join(ctx.command.get_usage(ctx).split()[1:])}"
