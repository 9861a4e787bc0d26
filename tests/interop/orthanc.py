"""Orthanc as a peer: started with a configuration of its own, spoken to over its REST interface."""

from __future__ import annotations

import contextlib
import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from .part10 import read_part10
from .peers import Receiver, Sent, program_path
from .process import FAST, PeerError, Server, free_port, serving


class Orthanc:
    """A running Orthanc: a receiver, and a sender of what it holds."""

    def __init__(self, server: Server, http_port: int) -> None:
        self.server = server
        self.http_port = http_port

    @property
    def port(self) -> int:
        """Its DICOM port."""
        return self.server.port

    def request(self, method: str, path: str, body: bytes | None = None, *, timeout: float = 300.0) -> bytes:
        """One HTTP request; the body of the answer.

        Raises:
            PeerError: an HTTP error, with what Orthanc said.
        """
        url = f"http://127.0.0.1:{self.http_port}{path}"
        request = urllib.request.Request(url, data=body, method=method)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                content: bytes = answer.read()
                return content
        except urllib.error.HTTPError as error:
            with error:
                raise PeerError(f"{method} {path}: {error.code} {error.read()[:500]!r}") from error

    def json(self, method: str, path: str, value: Any = None) -> Any:
        """One request whose body and answer are JSON."""
        answer = self.request(method, path, None if value is None else json.dumps(value).encode())
        return json.loads(answer) if answer.strip() else None

    def stored(self) -> dict[str, Path]:
        """Its instances, downloaded, by SOP Instance UID."""
        output = self.server.directory / "downloaded"
        output.mkdir(exist_ok=True)
        found = {}
        for identifier in self.json("GET", "/instances"):
            path = output / f"{identifier}.dcm"
            if not path.exists():
                path.write_bytes(self.request("GET", f"/instances/{identifier}/file"))
            found[read_part10(path).sop_instance_uid] = path
        return found

    def upload(self, paths: Iterable[Path]) -> dict[Path, str]:
        """Hand it files over HTTP; its identifiers. A file it will not take is left out."""
        identifiers = {}
        for path in paths:
            with contextlib.suppress(PeerError):
                answer = json.loads(self.request("POST", "/instances", path.read_bytes()))
                identifiers[path] = answer["ID"]
        return identifiers

    def send(self, port: int, identifiers: Iterable[str]) -> Sent:
        """C-STORE what it holds to 127.0.0.1:`port`, going on after a failure."""
        name = f"peer{port}"
        self.json("PUT", f"/modalities/{name}", {"AET": "ANY-SCP", "Host": "127.0.0.1", "Port": port})
        order = {"Resources": list(identifiers), "Synchronous": True, "Permissive": True}
        answer = self.json("POST", f"/modalities/{name}/store", order)
        return Sent(1 if answer.get("FailedInstancesCount") else 0, json.dumps(answer))

    def is_ready(self) -> bool:
        """Whether its REST interface answers."""
        try:
            self.request("GET", "/system", timeout=5.0)
        except (OSError, PeerError):
            return False
        return True


@contextlib.contextmanager
def orthanc(
    directory: Path,
    *,
    plugins: Sequence[str] = (),
    extra_environment: dict[str, str] | None = FAST,
    port: int = 0,
    **options: Any,
) -> Iterator[Orthanc]:
    """Orthanc with `options` over a configuration that takes everything; synchronous storage as by its default.

    After a data set it cannot read it says nothing until its time-out ends the association; that is short here.
    """
    http_port = free_port()

    def command(port: int) -> Sequence[str | os.PathLike[str]]:
        storage = str(directory / "storage")
        configuration = {
            "Name": "peer", "StorageDirectory": storage, "IndexDirectory": storage, "Plugins": list(plugins),
            "DicomAet": "ORTHANC", "DicomPort": port, "HttpPort": http_port, "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False, "DicomAlwaysAllowStore": True, "DicomAlwaysAllowEcho": True,
            "DicomCheckCalledAet": False, "UnknownSopClassAccepted": True,
            "AcceptedTransferSyntaxes": ["1.2.840.10008.1.*"], "TemporaryDirectory": str(directory),
            "DicomModalities": {}, "StableAge": 3600, "OverwriteInstances": True,
            "DicomScpTimeout": 2, **options,
        }  # fmt: skip
        path = directory / "orthanc.json"
        path.write_text(json.dumps(configuration, indent=1))
        return [str(program_path("Orthanc")), path]

    with serving("orthanc", command, directory, extra_environment=extra_environment, port=port) as server:
        running = Orthanc(server, http_port)
        if not running.is_ready():
            raise PeerError(f"Orthanc has no REST interface: {server.log_text()[-2000:]}")
        yield running


def as_receiver(running: Orthanc) -> Receiver:
    """The shape the other receivers have."""
    return Receiver(running.server, running.stored)
