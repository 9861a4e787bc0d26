"""DCMTK's way with arguments, in place of click's parser.

* A name is matched whole: `-aet` is never `-a -e -t`, `+x=` is a name like any other; `--long=value` works too.
* Options and operands come in any order; an option's value may begin with `-` or `+`.
* What begins with a digit after its sign is an operand (`-5`), and so is a lone `-`; `--` ends the options.
* `@file` is replaced by the words of the file, which are not expanded again.

click's parser would cut an unknown `-aex` into letters, and cannot take a name that ends in `=`. This one has the
methods that `click.Command` and `click.Parameter` call, and uses nothing private of click.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from dcmkit.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import click


class Given(NamedTuple):
    """A value of a settings option as given on the command line, and the spelling that gave it."""

    value: Any
    flag: str


class _Flag(NamedTuple):
    obj: Any
    dest: str
    action: str
    nargs: int
    const: Any


class ArgumentParser:
    """Fills `opts` for the parameters of one command.

    A parameter with a true `keeps_flag` gets `Given` instead of the bare value; one with a `take` method says itself
    how many operands are its own.
    """

    def __init__(self, ctx: click.Context) -> None:
        self._ctx = ctx
        self._flags: dict[str, _Flag] = {}
        self._arguments: list[tuple[Any, str, int]] = []
        self._opt_prefixes: set[str] = set()

    def add_option(
        self, obj: Any, opts: Iterable[str], dest: str, action: str | None = None, nargs: int = 1, const: Any = None
    ) -> None:
        """Called by `click.Option.add_to_parser`."""
        for flag in opts:
            self._flags[flag] = _Flag(obj, dest, action or "store", nargs, const)

    def add_argument(self, obj: Any, dest: str, nargs: int = 1) -> None:
        """Called by `click.Argument.add_to_parser`."""
        self._arguments.append((obj, dest, nargs))

    def parse_args(self, args: list[str]) -> tuple[dict[str, Any], list[str], list[Any]]:
        """Values by parameter name, operands nobody took, parameters in the order given.

        Raises:
            UsageError: an unknown option, or an option without its value.
        """
        opts: dict[str, Any] = {}
        order: list[Any] = []
        operands: list[str] = []
        rest = list(reversed(args))
        while rest:
            arg = rest.pop()
            if arg == "--":
                operands += reversed(rest)
                break
            if not is_option(arg):
                operands.append(arg)
                if not self._ctx.allow_interspersed_args:
                    operands += reversed(rest)
                    break
                continue
            flag = self._take_option(arg, rest, opts)
            order.append(flag.obj)
        leftover = self._distribute(operands, opts, order)
        if leftover and not self._ctx.allow_extra_args:
            raise UsageError(f"unexpected argument {leftover[0]!r}", hint=self._usage())
        return opts, leftover, order

    def _take_option(self, arg: str, rest: list[str], opts: dict[str, Any]) -> _Flag:
        name, value = arg, None
        if arg not in self._flags and arg.startswith("--") and "=" in arg:
            name, value = arg.split("=", 1)
        flag = self._flags.get(name)
        if flag is None:
            raise unknown_option(name, self._flags, self._ctx)
        if flag.action.endswith("_const") or flag.action == "count":
            if value is not None:
                raise UsageError(f"option {name} takes no value")
            self._store(flag, name, flag.const, opts)
        elif value is not None and flag.nargs == 1:
            self._store(flag, name, value, opts)
        elif value is not None or len(rest) < flag.nargs:
            needs = "a value" if flag.nargs == 1 else f"{flag.nargs} values"
            raise UsageError(f"option {name} needs {needs}", hint=self._usage())
        else:
            values = tuple(rest.pop() for _ in range(flag.nargs))
            self._store(flag, name, values[0] if flag.nargs == 1 else values, opts)
        return flag

    @staticmethod
    def _store(flag: _Flag, name: str, value: Any, opts: dict[str, Any]) -> None:
        if flag.action == "count":
            opts[flag.dest] = opts.get(flag.dest, 0) + 1
            return
        if flag.action.startswith("append"):
            earlier = opts.get(flag.dest, ())
            value = [*(earlier.value if isinstance(earlier, Given) else earlier), value]
        opts[flag.dest] = Given(value, name) if getattr(flag.obj, "keeps_flag", False) else value

    def _distribute(self, operands: list[str], opts: dict[str, Any], order: list[Any]) -> list[str]:
        """Give the operands to the arguments in order; the one with `nargs=-1` takes what the others leave."""
        for position, (obj, dest, nargs) in enumerate(self._arguments):
            order.append(obj)
            take: Callable[[list[str]], int] | None = getattr(obj, "take", None)
            if take is not None:
                count = take(operands)
            elif nargs < 0:
                later = sum(following for _, _, following in self._arguments[position + 1 :])
                count = max(0, len(operands) - later)
            else:
                count = nargs
            mine, operands = operands[:count], operands[count:]
            if mine and (take is not None or nargs < 0):
                opts[dest] = tuple(mine)
            elif mine and len(mine) == count:
                opts[dest] = mine[0] if nargs == 1 else tuple(mine)
        return operands

    def _usage(self) -> str:
        return f"usage: {' '.join(self._ctx.command.get_usage(self._ctx).split()[1:])}"


def is_option(arg: str) -> bool:
    """Whether DCMTK would take it for an option: a sign, and then not a digit."""
    return len(arg) > 1 and arg[0] in "-+" and not arg[1].isdigit()


def unknown_option(name: str, known: Iterable[str], ctx: click.Context) -> UsageError:
    """What to say about an option that is not there: not yet, or perhaps misspelt."""
    from difflib import get_close_matches

    from dcmkit.cli.dcmtk import has_option

    tool = tool_name(ctx)
    if has_option(tool, name):
        return UsageError(
            f"option {name} is DCMTK's; dcmkit {tool} does not have it yet",
            hint=f"nothing was done; {ctx.command_path} --help lists what there is",
        )
    names = list(known)
    other_sign = name.translate(str.maketrans("+-", "-+"))  # -sd is easily written for +sd
    close = [other_sign] if other_sign in names else get_close_matches(name, names, 1, 0.6)
    hint = f"did you mean {close[0]}?" if close else f"{ctx.command_path} --help lists the options"
    return UsageError(f"no such option: {name}", hint=hint)


def tool_name(ctx: click.Context) -> str:
    """The subcommand of dcmkit: `index` also for `dcmkit index ls`, whatever the program is called."""
    tool = ctx
    while tool.parent is not None and tool.parent.parent is not None:
        tool = tool.parent
    return tool.command.name or ""


def option_value(args: list[str], flag: str) -> str | None:
    """The value of one long option, before anything is parsed: `--config FILE` decides what `@name` means."""
    found = None
    for position, arg in enumerate(args):
        if arg == "--":
            break
        if arg == flag and position + 1 < len(args):
            found = args[position + 1]
        elif arg.startswith(f"{flag}="):
            found = arg[len(flag) + 1 :]
    return found


def expand(args: list[str], is_node: Callable[[str], bool]) -> list[str]:
    """Replace each `@file` by the words in it, but leave `@name` where a node is called so.

    Raises:
        UsageError: neither a node nor a readable file has that name.
    """
    expanded: list[str] = []
    for position, arg in enumerate(args):
        if arg == "--":
            return expanded + args[position:]
        if len(arg) < 2 or arg[0] != "@" or is_node(arg[1:]):
            expanded.append(arg)
        else:
            expanded += words(_read(arg[1:]))
    return expanded


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except FileNotFoundError:
        hint = "add it to the configuration file, or write ./ before a file name that begins with @"
        name = path if not os.path.dirname(path) else os.path.basename(path)
        raise UsageError(f"@{path}: no node {name!r} is configured and there is no such file", hint=hint) from None
    except OSError as error:
        raise UsageError(f"@{path}: cannot be read: {error.strerror}") from None


def words(text: str) -> list[str]:
    """Split at white space, except between two equal quotation marks, which are taken away."""
    found: list[str] = []
    word: list[str] | None = None
    quote = ""
    for character in text:
        if quote:
            if character == quote:
                quote = ""
            else:
                word.append(character)  # type: ignore[union-attr]
        elif character.isspace():
            if word is not None:
                found.append("".join(word))
            word = None
        else:
            word = [] if word is None else word
            if character in "\"'":
                quote = character
            else:
                word.append(character)
    if word is not None:
        found.append("".join(word))
    return found
