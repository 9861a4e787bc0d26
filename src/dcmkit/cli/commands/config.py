"""Show, check or begin the configuration file"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from dcmkit.cli.configuration import Configuration, node_settings, standard_paths
from dcmkit.cli.invocation import Invocation, known_keys
from dcmkit.cli.options import Tool, describe, invocation, tool_group
from dcmkit.cli.output import FORMATS, emit, say
from dcmkit.errors import ExitCode, OutputError, UsageError
from dcmkit.settings import Option, Settings
from dcmkit.toml import suggestion

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = (
    ("Begin a configuration file", "dcmkit config init"),
    ("See where storescp's settings come from", "dcmkit config show storescp"),
    ("Look for mistakes in a file", "dcmkit config check --config site.toml"),
)

command = tool_group(
    "config",
    """Show where settings come from, check the configuration file, or begin one.

    A setting's value is taken from the command line, else from the node named as @NODE, the environment variable
    DCMKIT_<KEY>, the configuration file (the tool's own section first, then the shared one), the tool's default.""",
)


@command.command("show")
@click.argument("tool", required=False)
@click.option("--format", type=click.Choice(FORMATS), default="table", help="how to print it", show_default=True)
def show(tool: str | None, format: str) -> None:  # noqa: A002 - the option's name
    """Print the settings in force for TOOL (or those shared by all tools), each with its origin, and the nodes."""
    run = invocation()
    if tool is None:
        run = Invocation("", run.configuration, {})
        classes: tuple[type[Settings], ...] = shared_classes()
    else:
        found = tools().get(tool)
        if found is None:
            raise UsageError(f"no such tool: {tool}", hint="dcmkit --help lists them")
        run = Invocation(tool, run.configuration, found.tool_defaults)
        classes = found.settings_classes
    emit([*_setting_rows(run, classes), *_node_rows(run.configuration)], ("section", "key", "value", "origin"), format)


def _setting_rows(run: Invocation, classes: tuple[type[Settings], ...]) -> Iterator[dict[str, Any]]:
    for option, section in fields(classes):
        value, origin = run.value(option, section)
        yield {"section": section, "key": option.name, "value": shown(option, value), "origin": origin}


def _node_rows(configuration: Configuration) -> Iterator[dict[str, Any]]:
    options = {option.name: option for option, _ in fields(node_settings())}
    for name in configuration.node_names():
        node = configuration.any_node(name)
        rows: dict[str, Any] = {"host": node.host, "port": node.port} if node.host else {}
        rows |= {"url": _plain_url(node.url)} if node.url else {}
        rows |= {key: shown(options.get(key), entry.value) for key, entry in node.settings.items()}
        for key, value in rows.items():
            yield {"section": f"nodes.{name}", "key": key, "value": value, "origin": f"@{name}"}


def _plain_url(text: str) -> str:
    """A URL without who asks, and without its query, which may be a token."""
    from dcmkit.web.http_url import parse_url

    try:
        url = parse_url(text)
    except UsageError:
        return "***"
    return f"{url.origin}{url.target.partition('?')[0]}"


def shown(option: Option | None, value: Any) -> Any:
    """A value as it may be shown: secrets are not."""
    if option is not None and option.secret and value:
        return "***"
    return list(value) if isinstance(value, tuple) else value


@command.command("check")
def check() -> ExitCode:
    """Check the configuration files (or the one given with --config) and the environment: keys, values, nodes.

    Prints each problem on stderr; exits with 0 if there is none and with 1 otherwise.
    """
    configuration = invocation().configuration
    problems = [*find_problems(configuration), *_bad_variables()]
    for problem in problems:
        say(problem)
    if problems:
        say(f"{len(problems)} problem{'s' if len(problems) > 1 else ''} found")
        return ExitCode.BAD_USAGE
    read = ", ".join(configuration.files) or f"no file (looked for {', '.join(standard_paths())})"
    say(f"no problem found; read: {read}")
    return ExitCode.DONE


def find_problems(configuration: Configuration) -> Iterator[str]:
    """A sentence for each thing that is wrong with the files."""
    all_tools = tools()
    known = known_keys((), "")
    for name, found in all_tools.items():
        known.setdefault(name, set()).update(option.name for option, _ in fields(found.settings_classes))
    for name, table in configuration.sections.items():
        if name not in known:
            yield f"{next(iter(table.values())).origin if table else name}: there is no section [{name}]"
    yield from configuration.unknown_keys(known)
    by_section = _options_by_section(all_tools)
    for name, table in configuration.sections.items():
        for key, entry in table.items():
            yield from _bad_value(by_section.get((name, key)), entry.value, entry.origin)
    node_options = {option.name: option for option, _ in fields(node_settings())}
    for name in configuration.node_names():
        try:
            node = configuration.any_node(name)
            for key, entry in node.settings.items():
                yield from _bad_value(node_options.get(key), entry.value, entry.origin)
            if node.url and _plain_url(node.url) == "***":
                yield f"node @{name}: its url cannot be used (say https://HOST:PORT/PATH)"
        except UsageError as error:
            yield error.message
    yield from _readable_secrets(configuration)


def _bad_value(option: Option | None, value: Any, origin: str) -> Iterator[str]:
    try:
        if option is not None:
            option.convert(value)
    except UsageError as error:
        yield f"{origin}: {error}"


def _bad_variables() -> Iterator[str]:
    options = {option.environment_variable: option for option in _options_by_section(tools()).values()}
    for name in sorted(os.environ):
        if not name.startswith("DCMKIT_") or name == "DCMKIT_CONFIG" or not os.environ[name]:
            continue
        if name in options:
            yield from _bad_value(options[name], os.environ[name], f"environment variable {name}")
        else:
            yield f"environment variable {name}: no such setting{suggestion(name, set(options))}"


def _readable_secrets(configuration: Configuration) -> Iterator[str]:
    if os.name != "posix":
        return
    for path in configuration.files:
        if os.stat(path).st_mode & 0o077 and _holds_secret(configuration, path):
            yield f"{path}: holds a password and can be read by others (chmod 600 {path})"


def _holds_secret(configuration: Configuration, path: str) -> bool:
    tables = [
        *configuration.sections.values(),
        *(configuration.any_node(name).settings for name in _good_nodes(configuration)),
    ]
    secret = {name for (_, name), option in _options_by_section(tools()).items() if option.secret}
    secret |= {option.name for option, _ in fields(node_settings()) if option.secret}
    return any(
        key in secret and entry.value and entry.origin.startswith(f"{path},")
        for table in tables
        for key, entry in table.items()
    )


def _good_nodes(configuration: Configuration) -> Iterator[str]:
    for name in configuration.node_names():
        try:
            configuration.any_node(name)
        except UsageError:
            continue
        yield name


@command.command("init")
@click.option("--output", metavar="FILE", default="", help="write there; - for stdout [default: the user's file]")
@click.option("--force", is_flag=True, help="replace a file that is there")
def init(output: str, force: bool) -> None:
    """Write a configuration file with every setting in it, commented out, to begin from."""
    if output == "-":
        click.echo(sample(), nl=False)
        return
    path = output or standard_paths()[-1]
    try:
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | (os.O_TRUNC if force else os.O_EXCL)
        with open(os.open(path, flags, 0o600), "w", encoding="utf-8") as file:
            file.write(sample())
    except OSError as error:
        if os.path.isfile(path) and not force:
            raise UsageError(f"{path} is there already", hint="--force replaces it") from None
        raise OutputError(f"{path} cannot be written: {error.strerror}") from None
    say(f"wrote {path}")


def sample() -> str:
    """The text that `init` writes: TOML, generated from the settings classes."""
    lines = [
        "# dcmkit's configuration (TOML). Take away the # before a key to set it; what is shown is the default.",
        "# A section named after a tool, such as [storescp], sets the same keys for that tool only.",
        "# dcmkit config check: looks for mistakes. dcmkit config show TOOL: what is in force, and why.",
        "",
        "# Peers by name: dcmkit echoscu @pacs. Keys of [association], [user_identity] and [query] may stand here too.",
        "# [nodes.pacs]",
        '# host = "192.0.2.10"',
        "# port = 11112",
        '# called_ae_title = "PACS"',
        "# A DICOMweb server has a url in place of host and port, or beside them, and may have keys of [web_client].",
    ]
    section = ""
    for option, its_section in fields(shared_classes()):
        if its_section != section:
            section = its_section
            lines += ["", f"[{section}]"]
        lines += ["", f"# {describe(option, '' if not option.is_flag else False)}"]
        lines += [f"# {option.name} = {toml_text(option.default)}"]
    return "\n".join(lines) + "\n"


def toml_text(value: Any) -> str:
    """A settings value in TOML."""
    import json

    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)


def tools() -> dict[str, Tool]:
    """All tools with settings, by the name of their section; of a command with subcommands, one with all of theirs."""
    from dcmkit.cli.group import group

    found: dict[str, Tool] = {}
    context = click.Context(group)
    for name in group.list_commands(context):
        loaded = group.get_command(context, name)
        members = loaded.commands.values() if isinstance(loaded, click.Group) else [loaded]
        its_tools = [member for member in members if isinstance(member, Tool)]
        for member in its_tools:
            if name not in found or len(member.settings_classes) > len(found[name].settings_classes):
                found[name] = member
    return found


def shared_classes() -> tuple[type[Settings], ...]:
    """The settings classes of `dcmkit.settings`; one that another extends is left to that one."""
    import dcmkit.settings

    classes = [cls for cls in vars(dcmkit.settings).values() if isinstance(cls, type) and issubclass(cls, Settings)]
    return tuple(cls for cls in classes if cls.options and not any(cls in other.__bases__ for other in classes))


def fields(classes: tuple[type[Settings], ...]) -> list[tuple[Option, str]]:
    """The options of the classes with their section, each once."""
    found: dict[str, tuple[Option, str]] = {}
    for cls in classes:
        for option in cls.options.values():
            found.setdefault(option.name, (option, cls.section))
    return list(found.values())


def _options_by_section(all_tools: dict[str, Tool]) -> dict[tuple[str, str], Option]:
    shared = {(section, option.name): option for option, section in fields(shared_classes())}
    for name, found in all_tools.items():
        for option, section in fields(found.settings_classes):
            shared.setdefault((section, option.name), option)
            shared[name, option.name] = option
    return shared
