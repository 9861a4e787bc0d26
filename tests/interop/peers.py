"""The peers: which are here, how each receives and how each sends.

A receiver is a context manager that gives a `Receiver`; a sender is a function of a port and files. Every process runs
on a free loopback port in a directory of its own, and ends with the block.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from subprocess import CompletedProcess
from typing import NamedTuple

from .part10 import read_part10
from .process import FAST, Server, answers_echo, listens, run, serving

HERE = Path(__file__).parent
NAMES = ("DCMTK", "pynetdicom", "Orthanc", "dcmkit")
_PROGRAMS = {"DCMTK": ("storescp", "storescu", "echoscu", "dcmsend"), "Orthanc": ("Orthanc",)}
STORESCU_PROPOSES = {
    "1.2.840.10008.1.2.1.99": "-xd",
    "1.2.840.10008.1.2.4.50": "-xy",
    "1.2.840.10008.1.2.4.51": "-xx",
    "1.2.840.10008.1.2.4.70": "-xs",
    "1.2.840.10008.1.2.4.80": "-xt",
    "1.2.840.10008.1.2.4.81": "-xu",
    "1.2.840.10008.1.2.4.90": "-xv",
    "1.2.840.10008.1.2.4.91": "-xw",
    "1.2.840.10008.1.2.5": "-xr",
    "1.2.840.10008.1.2": "-xi",
    "1.2.840.10008.1.2.1": "-xe",
    "1.2.840.10008.1.2.2": "-xb",
}
"""DCMTK's storescu proposes one compressed transfer syntax per run; this option asks for it."""


class Receiver(NamedTuple):
    """A running receiver: its process, and its files by SOP Instance UID (asked for anew at each call)."""

    server: Server
    stored: Callable[[], dict[str, Path]]

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.server.port


class Sent(NamedTuple):
    """How a sender ended: its exit code, and what it said."""

    exit_code: int
    talk: str


@functools.cache
def available(name: str) -> bool:
    """Whether the peer `name` can be run here; INTEROP_WITHOUT names some to do without, separated by commas."""
    if name in os.environ.get("INTEROP_WITHOUT", "").split(","):
        return False
    if name in _PROGRAMS:
        return all(program_path(program) for program in _PROGRAMS[name])
    if name == "dcmkit":
        commands = ("storescp", "storescu", "echoscu")
        return all(importlib.util.find_spec(f"dcmkit.cli.commands.{command}") for command in commands)
    return importlib.util.find_spec(name) is not None


def absent() -> list[str]:
    """The peers that cannot be run here."""
    return [name for name in NAMES if not available(name)]


@functools.cache
def program_path(program: str) -> str | None:
    """Where a peer's program lies; servers are often in sbin. Never a link to dcmkit in our own environment."""
    ours = str(Path(sys.executable).parent)
    directories = [entry for entry in os.environ.get("PATH", "").split(os.pathsep) if entry != ours]
    return shutil.which(program, path=os.pathsep.join([*directories, "/usr/local/sbin", "/usr/sbin"]))


def dcmkit_command(*words: str | os.PathLike[str]) -> list[str | os.PathLike[str]]:
    """The command line that runs dcmkit from the interpreter under test."""
    script = Path(sys.executable).parent / "dcmkit"
    return [script, *words] if script.exists() else [sys.executable, "-m", "dcmkit", *words]


def files_by_uid(root: Path) -> dict[str, Path]:
    """The Part 10 files below `root` by SOP Instance UID; what is not Part 10, hidden, or gone, is passed over."""
    found = {}
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(folder) / name
            if not name.startswith("."):
                with contextlib.suppress(ValueError, FileNotFoundError):
                    found[read_part10(path).sop_instance_uid] = path
    return found


# --- receivers ---------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def dcmtk_storescp(
    directory: Path, *options: str, extra_environment: dict[str, str] | None = FAST, port: int = 0
) -> Iterator[Receiver]:
    """DCMTK's storescp with `options`, such as +B (bytes as received), +xa (any transfer syntax), --ignore, --fork.

    On `port`, where one is given: a move destination is known before it listens.
    """
    output = directory / "objects"
    output.mkdir(parents=True)
    program = str(program_path("storescp"))

    def command(port: int) -> Sequence[str | os.PathLike[str]]:
        return [program, "-pm", "-od", output, *options, str(port)]

    ready = listens if "--refuse" in options else answers_echo
    with serving("storescp", command, directory, extra_environment=extra_environment, ready=ready, port=port) as server:
        yield Receiver(server, lambda: files_by_uid(output))


@contextlib.contextmanager
def pynetdicom_storescp(directory: Path) -> Iterator[Receiver]:
    """A storage SCP made of pynetdicom's AE that writes the data set's bytes as received."""
    output = directory / "objects"
    output.mkdir(parents=True)

    def command(port: int) -> Sequence[str | os.PathLike[str]]:
        return [sys.executable, HERE / "pynetdicom_scp.py", str(port), output]

    with serving("pynetdicom", command, directory) as server:
        yield Receiver(server, lambda: files_by_uid(output))


@contextlib.contextmanager
def pynetdicom_program(directory: Path) -> Iterator[Receiver]:
    """pynetdicom's own storescp, the program."""
    output = directory / "objects"
    output.mkdir(parents=True)

    def command(port: int) -> Sequence[str | os.PathLike[str]]:
        return [sys.executable, "-m", "pynetdicom", "storescp", "-q", "-od", output, str(port)]

    with serving("pynetdicom", command, directory) as server:
        yield Receiver(server, lambda: files_by_uid(output))


@contextlib.contextmanager
def dcmkit_storescp(directory: Path, *options: str, name: str = "dcmkit") -> Iterator[Receiver]:
    """dcmkit's storescp filing into `directory`/objects."""
    output = directory / "objects"
    output.mkdir(parents=True, exist_ok=True)

    def command(port: int) -> Sequence[str | os.PathLike[str]]:
        return dcmkit_command("storescp", str(port), "-aet", "DCMKIT_SCP", "-od", output, *options)

    with serving(name, command, directory) as server:
        yield Receiver(server, lambda: files_by_uid(output))


# --- senders -----------------------------------------------------------------------------------------------------


def dcmtk_storescu(port: int, paths: Iterable[Path], *options: str) -> Sent:
    """DCMTK's storescu, one run per transfer syntax of the files, as it proposes one compressed syntax at a time."""
    groups: dict[str, list[Path]] = {}
    for path in paths:
        groups.setdefault(STORESCU_PROPOSES.get(read_part10(path).transfer_syntax_uid, "-x="), []).append(path)
    return _worst(
        run([str(program_path("storescu")), "-v", "-nh", "-R", option, *options, "127.0.0.1", str(port), *files])
        for option, files in groups.items()
    )


def dcmsend(port: int, paths: Iterable[Path]) -> Sent:
    """DCMTK's dcmsend, which negotiates each file's own transfer syntax; told never to decompress."""
    program = str(program_path("dcmsend"))
    return _worst([run([program, "-v", "-dn", "-nh", "-nuc", "127.0.0.1", str(port), *paths])])


def pynetdicom_storescu(port: int, paths: Iterable[Path]) -> Sent:
    """pynetdicom's AE sending each file's bytes in its own transfer syntax."""
    command = [sys.executable, HERE / "pynetdicom_scu.py", str(port)]
    return _worst([run(command, stdin="\n".join(str(path) for path in paths))])


def dcmkit_storescu(port: int, paths: Iterable[Path], *options: str) -> Sent:
    """dcmkit's storescu."""
    return _worst([run(dcmkit_command("storescu", "-v", *options, "127.0.0.1", str(port), *paths))])


def _worst(runs: Iterable[CompletedProcess[str]]) -> Sent:
    done = list(runs)
    exit_code = next((entry.returncode for entry in done if entry.returncode), 0)
    return Sent(exit_code, "".join(entry.stdout + entry.stderr for entry in done))
