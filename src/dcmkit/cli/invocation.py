"""One run of a tool: what was given where, and the settings made of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from dcmkit.cli.configuration import Configuration, Entry, Node
from dcmkit.errors import UsageError
from dcmkit.settings import Option, Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dcmkit.cli.parser import Given

_SettingsT = TypeVar("_SettingsT", bound=Settings)


class Peer(NamedTuple):
    """Whom to call: `HOST PORT` from the command line, or a configured node (then `name` is its name)."""

    host: str
    port: int
    name: str = ""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}" + (f" (@{self.name})" if self.name else "")


class Invocation:
    """Knows every source of values and their precedence.

    Attributes:
        tool: the subcommand, which is also its section in the configuration file.
        given: field name to the value from the command line.
    """

    def __init__(self, tool: str, configuration: Configuration, tool_defaults: Mapping[str, Any]) -> None:
        self.tool = tool
        self.configuration = configuration
        self.tool_defaults = tool_defaults
        self.given: dict[str, Given] = {}
        self.node: Node | None = None
        self._built: dict[type[Settings], Settings] = {}

    def settings(self, cls: type[_SettingsT]) -> _SettingsT:
        """The settings of this run; checked once.

        Raises:
            UsageError: a value is not what the option takes; the message begins with where it came from.
        """
        built = self._built.get(cls)
        if built is None:
            values = {}
            for option in cls.options.values():
                value, origin = self.value(option, cls.section)
                if origin != "default":
                    values[option.name] = value
            built = self._built[cls] = cls(**values)
        return built  # type: ignore[return-value]

    def forget(self) -> None:
        """Make all settings anew when they are asked for: the configuration has changed."""
        self._built.clear()

    def value(self, option: Option, section: str) -> tuple[Any, str]:
        """A field's value and where it came from ("default" for the class default)."""
        entry = self._first(option, section)
        if entry is None:
            return option.default, "default"
        try:
            return option.convert(entry.value), entry.origin
        except UsageError as error:
            raise UsageError(f"{entry.origin}: {error.message}", hint=error.hint) from None

    def _first(self, option: Option, section: str) -> Entry | None:
        name = option.name
        if name in self.given:
            return Entry(self.given[name].value, f"option {self.given[name].flag}")
        if self.node is not None and name in self.node.settings:
            return self.node.settings[name]
        variable = option.environment_variable
        if os.environ.get(variable):
            return Entry(os.environ[variable], f"environment variable {variable}")
        for table in (self.tool, section):
            entry = self.configuration.sections.get(table, {}).get(name)
            if entry is not None:
                return entry
        if name in self.tool_defaults:
            return Entry(self.tool_defaults[name], f"default of {self.tool}")
        return None


def known_keys(classes: Iterable[type[Settings]], tool: str) -> dict[str, set[str]]:
    """Section to the keys it may have, as far as the loaded settings classes tell; `tool`'s own section too."""
    known: dict[str, set[str]] = {}
    loaded = list(Settings.__subclasses__())
    for cls in loaded:
        loaded += cls.__subclasses__()
        known.setdefault(cls.section, set()).update(cls.options)
    known[tool] = known.get(tool, set()).union(*(cls.options for cls in classes))
    return known
