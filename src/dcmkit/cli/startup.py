"""Start-up: the standard modules that click imports and the common paths never use, and where the commands are.

click imports `inspect` (with `ast`, `dis`, `tokenize`, `linecache`: 15 ms) for code that runs only in unusual
cases. Inside `deferred()` such a module is replaced by a stand-in that imports the real one at its first attribute;
afterwards the stand-ins are gone from `sys.modules`, so nobody outside click's own modules ever sees one.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFERRED = ("inspect",)
"""Modules click holds as a whole (`import x`) and touches only inside functions, in every version from 8.1 on."""


class _Deferred(type(sys)):  # type: ignore[misc] # types.ModuleType, without importing types
    """Looks like a module; becomes it when first used. Thread-safe because `import` is."""

    def __getattr__(self, attribute: str) -> Any:
        name = self.__name__
        if sys.modules.get(name) is self:
            del sys.modules[name]
        __import__(name)
        module = sys.modules[name]
        self.__dict__.update(module.__dict__)
        return getattr(module, attribute)


@contextmanager
def deferred(*names: str) -> Iterator[None]:
    """While it lasts, importing one of these modules costs nothing (unless it is imported already)."""
    stand_ins = {name: _Deferred(name) for name in names if name not in sys.modules}
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name, stand_in in stand_ins.items():
            if sys.modules.get(name) is stand_in:
                del sys.modules[name]


def import_click() -> None:
    """Import click the cheap way; afterwards `import click` is free."""
    if "click" not in sys.modules:
        with deferred(*DEFERRED):
            import click  # noqa: F401


def command_names() -> list[str]:
    """The subcommands: one for each file in `cli/commands`."""
    import os

    names = [name[:-3] for name in os.listdir(_commands_directory()) if name.endswith(".py") and name[0] != "_"]
    return sorted(name.replace("_", "-") for name in names)


def summary(name: str) -> str:
    """The first line of a command's module docstring, read without executing the module."""
    import os

    path = os.path.join(_commands_directory(), f"{name.replace('-', '_')}.py")
    with open(path, encoding="utf-8") as file:
        return file.readline().strip().strip('"').rstrip(".")


def _commands_directory() -> str:
    import dcmkit.cli.commands

    return next(iter(dcmkit.cli.commands.__path__))


def overview() -> str:
    """What `dcmkit --help` prints."""
    from dcmkit import __version__

    names = command_names()
    width = max([12, *(len(name) for name in names)])
    commands = "".join(f"  {name:<{width}}  {summary(name)}\n" for name in names)
    return (
        f"dcmkit {__version__}: the DICOM toolbox\n\n"
        "Usage: dcmkit COMMAND [OPTIONS] [ARGUMENTS]\n\n"
        f"Commands:\n{commands}\n"
        "Options:\n"
        "  -h, --help     show this message and exit\n"
        "  --version      print the version and exit\n"
        "  --config FILE  read this configuration file instead of the user's and the system's\n\n"
        "dcmkit COMMAND --help shows a command's options. Arguments are those of the DCMTK tool of the same name,\n"
        "and a link to dcmkit that is called like a command behaves as that command.\n"
    )
