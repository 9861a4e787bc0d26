"""Query/retrieve servers with one interface: `dcmkit qrscp`, DCMTK's dcmqrscp, Orthanc and pynetdicom's qrscp.

dcmkit and DCMTK are configured by the same dcmqrscp.cfg, as it is DCMTK's.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from .orthanc import orthanc
from .part10 import read_part10
from .peers import available, dcmkit_command, files_by_uid, program_path
from .process import Server, serving
from .wire import Requestor

TITLE = "ARCHIVE"
"""The called AE title every one of them answers to."""


class QueryServer(NamedTuple):
    """A running query/retrieve server over the directory it was given.

    Attributes:
        stored: its files by SOP Instance UID, where they lie as files of their own.
    """

    server: Server
    stored: Callable[[], dict[str, Path]] = dict

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.server.port


Destinations = Mapping[str, int]
"""Ports of move destinations on 127.0.0.1, by AE title."""
StartServer = Callable[..., contextlib.AbstractContextManager[QueryServer]]

CONFIGURATION = """\
NetworkTCPPort = {port}
MaxPDUSize = 131072
MaxAssociations = 100
HostTable BEGIN
{hosts}
HostTable END
VendorTable BEGIN
VendorTable END
AETable BEGIN
{title} {storage} {access} ({studies}, {size}) {peers}
AETable END
"""


def can_serve(name: str) -> bool:
    """Whether a peer's query/retrieve server can be run here."""
    if not available(name):
        return False
    if name == "DCMTK":
        return program_path("dcmqrscp") is not None
    if name == "dcmkit":
        return importlib.util.find_spec("dcmkit.cli.commands.qrscp") is not None
    return name != "pynetdicom" or importlib.util.find_spec("sqlalchemy") is not None


def write_configuration(
    directory: Path, destinations: Destinations, *, access: str = "RW", studies: int = 1_000_000, size: str = "100gb",
    peers: str = "ANY", storage: Path | None = None,
) -> Path:  # fmt: skip
    """A dcmqrscp.cfg with one AE title; its storage area is made, below `directory` unless given."""
    directory.mkdir(parents=True, exist_ok=True)
    storage = storage or directory / "objects"
    storage.mkdir(parents=True, exist_ok=True)
    hosts = "\n".join(f"{name.lower()} = ({name}, localhost, {port})" for name, port in destinations.items())
    path = directory / "dcmqrscp.cfg"
    text = CONFIGURATION.format(
        port=104, hosts=hosts, title=TITLE, storage=storage, access=access, studies=studies, size=size, peers=peers
    )
    path.write_text(text)
    return path


@contextlib.contextmanager
def dcmqrscp(
    directory: Path, destinations: Destinations | None = None, *options: str, **configuration: str | int | Path
) -> Iterator[QueryServer]:
    """DCMTK's dcmqrscp."""
    path = write_configuration(directory, destinations or {}, **configuration)  # type: ignore[arg-type]

    def command(port: int) -> Sequence[str | os.PathLike[str]]:
        return [str(program_path("dcmqrscp")), "-c", path, *options, str(port)]

    with serving("dcmqrscp", command, directory, ready=takes_title) as server:
        yield QueryServer(server, lambda: files_by_uid(directory / "objects"))


@contextlib.contextmanager
def dcmkit_qrscp(
    directory: Path, destinations: Destinations | None = None, *options: str, **configuration: str | int | Path
) -> Iterator[QueryServer]:
    """dcmkit's qrscp, configured by the same file."""
    path = write_configuration(directory, destinations or {}, **configuration)  # type: ignore[arg-type]

    def command(port: int) -> Sequence[str | os.PathLike[str]]:
        return dcmkit_command("qrscp", "-c", path, *options, str(port))

    with serving("qrscp", command, directory, ready=takes_title) as server:
        yield QueryServer(server, lambda: files_by_uid(directory / "objects"))


@contextlib.contextmanager
def orthanc_server(
    directory: Path, destinations: Destinations | None = None, **options: object
) -> Iterator[QueryServer]:
    """Orthanc, which answers anybody and sends to the destinations."""
    modalities = {name: [name, "127.0.0.1", port] for name, port in (destinations or {}).items()}
    allowed = {f"DicomAlwaysAllow{what}": True for what in ("Find", "FindWorklist", "Get", "Move")}
    settings = {"DicomModalities": modalities, **allowed, "SynchronousCMove": True, "DicomScpTimeout": 30, **options}
    directory.mkdir(parents=True, exist_ok=True)
    with orthanc(directory, **settings) as running:
        yield QueryServer(running.server, running.stored)


PYNETDICOM_INI = """\
[DEFAULT]
ae_title: {title}
port: {port}
max_pdu: 131072
acse_timeout: 30
dimse_timeout: 30
network_timeout: 30
bind_address: 127.0.0.1
instance_location: {storage}
database_location: {database}
log_identifier: False
"""


@contextlib.contextmanager
def pynetdicom_qrscp(directory: Path, destinations: Destinations | None = None) -> Iterator[QueryServer]:
    """pynetdicom's qrscp, the program."""
    (directory / "objects").mkdir(parents=True, exist_ok=True)
    path = directory / "qrscp.ini"

    def command(port: int) -> Sequence[str | os.PathLike[str]]:
        text = PYNETDICOM_INI.format(
            title=TITLE, port=port, storage=directory / "objects", database=directory / "instances.sqlite"
        )
        for name, where in (destinations or {}).items():
            text += f"[{name}]\naddress: 127.0.0.1\nport: {where}\n"
        path.write_text(text)
        return [sys.executable, "-W", "ignore", "-m", "pynetdicom", "qrscp", "-q", "-c", path]

    with serving("pynetdicom-qrscp", command, directory, ready=takes_title) as server:
        yield QueryServer(server, lambda: files_by_uid(directory / "objects"))


SERVERS: dict[str, StartServer] = {
    "dcmkit": dcmkit_qrscp, "DCMTK": dcmqrscp, "Orthanc": orthanc_server, "pynetdicom": pynetdicom_qrscp,
}  # fmt: skip


def takes_title(port: int) -> bool:
    """Whether a server answers a C-ECHO under its own AE title."""
    try:
        with Requestor(port, called=TITLE, timeout=5.0) as association:
            return association.echo() == 0
    except Exception:  # not yet, in whatever way
        return False


def fill(port: int, paths: Iterable[Path]) -> None:
    """Store files one after the other over one association; every one must be taken."""
    objects = [read_part10(path) for path in paths]
    contexts = sorted({(one.sop_class_uid, one.transfer_syntax_uid) for one in objects})
    with Requestor(port, [(abstract, [transfer]) for abstract, transfer in contexts], called=TITLE) as association:
        for part10 in objects:
            status = association.store(*part10)
            if status:
                raise AssertionError(f"{part10.sop_instance_uid} was answered {status:04X}")
