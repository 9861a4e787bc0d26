"""Start-up: the standard modules that click imports and the common paths never use, and where the commands are.

click imports `inspect` (with `ast`, `dis`, `tokenize`, `linecache`) and, through `uuid`, `platform`: 15 to 20 ms for
code that runs only in unusual cases. Inside `deferred()` such a module is replaced by a stand-in that imports the real
one at its first attribute; afterwards the stand-ins are gone from `sys.modules`, so nobody but the modules imported
meanwhile (click's own) ever holds one.
"""

from __future__ import annotations

import gc
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


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


class deferred:  # noqa: N801 - a context manager, without contextlib
    """While it lasts, importing one of these modules costs nothing (unless it is imported already)."""

    def __init__(self, *stand_ins: _Deferred) -> None:
        self._used = {module.__name__: module for module in stand_ins if module.__name__ not in sys.modules}

    def __enter__(self) -> None:
        sys.modules.update(self._used)

    def __exit__(self, *_: object) -> None:
        for name, module in self._used.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]


def stand_in(name: str, **functions: Any) -> _Deferred:
    """A stand-in for module `name` that has these functions already, so that calling them does not import it."""
    module = _Deferred(name)
    module.__dict__.update(functions)
    return module


def _cleandoc(doc: str) -> str:
    """`inspect.cleandoc`, which click calls on every help text it is given; here without `inspect` for one line."""
    if "\n" not in doc:
        return doc.expandtabs().lstrip(" ")
    from inspect import cleandoc

    return cleandoc(doc)


def import_click() -> None:
    """Import click the cheap way; afterwards `import click` is free."""
    if "click" in sys.modules:
        return
    with deferred(stand_in("inspect", cleandoc=_cleandoc), stand_in("platform", **_system())):
        import click  # noqa: F401


def started() -> None:
    """The command begins: what is there stays; from now on garbage is collected."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def _system() -> dict[str, Any]:
    """`platform.system`, which `uuid` calls when imported, where the system has the call behind it."""
    return {"system": lambda: os.uname().sysname} if hasattr(os, "uname") else {}


def command_names() -> list[str]:
    """The subcommands: one for each file in `cli/commands`."""
    names = [name[:-3] for name in os.listdir(_commands_directory()) if name.endswith(".py") and name[0] != "_"]
    return sorted(name.replace("_", "-") for name in names)


def summary(name: str) -> str:
    """The first line of a command's module docstring, read without executing the module."""
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
