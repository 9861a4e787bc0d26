"""DICOMweb servers of dcmkit as processes, and images to give them."""

from __future__ import annotations

import contextlib
import http.client
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.archive.objects import image, part10
from tests.web.pictures import pixel_elements, ramp

from .peers import Receiver, dcmkit_command, files_by_uid
from .process import Server, free_port, serving

ROOT = "1.2.826.0.1.3680043.9.9999.6"


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes


class WebServer(NamedTuple):
    """A running service, and the directory of its archive."""

    server: Server
    port: int
    objects: Path

    @property
    def url(self) -> str:
        """Of the service."""
        return f"http://127.0.0.1:{self.port}/dicom-web"

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None, root: str = "/dicom-web"
    ) -> Answer:
        """One request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, root + path, body, headers or {})
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, found, answer.read())
        finally:
            connection.close()

    def stored(self) -> dict[str, Path]:
        """Its files by SOP Instance UID."""
        return files_by_uid(self.objects)


def is_well(port: int) -> bool:
    """Whether a service answers on `port`."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/dicom-web/health")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


@contextlib.contextmanager
def dcmkit_web(directory: Path, *options: str, port: int = 0) -> Iterator[WebServer]:
    """`dcmkit web` over `directory`/objects."""
    objects = directory / "objects"
    objects.mkdir(parents=True, exist_ok=True)

    def command(port: int) -> Sequence[str | os.PathLike[str]]:
        return dcmkit_command("web", str(port), "-od", objects, "--durability", "none", *options)

    with serving("web", command, directory, ready=is_well, port=port) as server:
        yield WebServer(server, server.port, objects)


@contextlib.contextmanager
def dcmkit_two_doors(directory: Path, *options: str) -> Iterator[tuple[Receiver, WebServer]]:
    """`dcmkit qrscp --web`: associations and HTTP over one archive."""
    objects, port = directory / "objects", free_port()
    objects.mkdir(parents=True, exist_ok=True)

    def command(dicom_port: int) -> Sequence[str | os.PathLike[str]]:
        words = ("qrscp", str(dicom_port), "-aet", "DCMKIT", "-od", objects, "--web", str(port))
        return dcmkit_command(*words, "--durability", "none", *options)

    with serving("qrscp", command, directory, ready=lambda _: is_well(port)) as server:
        yield Receiver(server, lambda: files_by_uid(objects)), WebServer(server, port, objects)


class Picture(NamedTuple):
    """An image and its file."""

    study: str
    series: str
    instance: str
    path: Path
    frames: int

    @property
    def resource(self) -> str:
        """Its path."""
        return f"/studies/{self.study}/series/{self.series}/instances/{self.instance}"


def make_picture(directory: Path, study: int = 1, series: int = 1, number: int = 1, frames: int = 1) -> Picture:
    """An image with UIDs made of the numbers."""
    study_uid = f"{ROOT}.{study}"
    series_uid = f"{study_uid}.{series}"
    uid = f"{series_uid}.{number}"
    pixels = ramp(frames, 64, 48)
    data = image(
        uid, study=study_uid, series=series_uid, instance=number, patient=f"P{study}", name=f"Doe^Number{study}",
        pixels=pixels.tobytes(), more=pixel_elements(pixels),
    )  # fmt: skip
    path = directory / f"{study}-{series}-{number}.dcm"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(part10(uid, data))
    return Picture(study_uid, series_uid, uid, path, frames)


def make_pictures(directory: Path) -> list[Picture]:
    """Two studies: one of two series, with an image of three frames."""
    return [
        *(make_picture(directory, number=number) for number in range(1, 5)),
        make_picture(directory, series=2, frames=3),
        *(make_picture(directory, study=2, number=number) for number in (1, 2)),
    ]
