"""Objects of images for tests of what shows them, in archives."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from dcmkit.archive.store import Archive
from dcmkit.dataset.part10 import file_meta, read_file_header
from dcmkit.pixels.transcode import TranscodeOptions, transcode_file
from dcmkit.web.exchange import FileSlice, Reply, Request, Rope
from tests.archive.objects import EXPLICIT, image, put

STUDY, SERIES, INSTANCE = "1.2.3.1", "1.2.3.2", "1.2.3"
VARIABLES = {"study": STUDY, "series": SERIES, "instance": INSTANCE}
PHOTOGRAPH = "1.2.840.10008.5.1.4.1.1.77.1.4"


def ramp(frames: int = 1, rows: int = 20, columns: int = 30, dtype: str = "<u2") -> Any:
    """Frames with other values each."""
    values = np.arange(frames * rows * columns).reshape(frames, rows, columns)
    return (values % 251).astype(dtype)


def pixel_elements(frames: Any, color: bool = False) -> list[tuple[int, str, Any]]:
    """The image pixel module of an array of frames."""
    bits = 8 * frames.dtype.itemsize
    found: list[tuple[int, str, Any]] = [
        (0x00280002, "US", struct.pack("<H", 3 if color else 1)),
        (0x00280004, "CS", b"RGB" if color else b"MONOCHROME2"),
        (0x00280010, "US", struct.pack("<H", frames.shape[1])),
        (0x00280011, "US", struct.pack("<H", frames.shape[2])),
        (0x00280100, "US", struct.pack("<H", bits)),
        (0x00280101, "US", struct.pack("<H", bits)),
        (0x00280102, "US", struct.pack("<H", bits - 1)),
        (0x00280103, "US", b"\0\0"),
    ]
    if color:
        found.append((0x00280006, "US", b"\0\0"))
    if len(frames) > 1:
        found.append((0x00280008, "IS", str(len(frames)).encode()))
    return found


def put_image(archive: Archive, frames: Any = None, uid: str = INSTANCE, **how: Any) -> None:
    """An image of an array of frames."""
    frames = ramp() if frames is None else frames
    more = [*pixel_elements(frames, frames.ndim == 4), *how.pop("more", ())]
    syntax, sop_class = how.pop("syntax", EXPLICIT), how.pop("sop_class", "1.2.840.10008.5.1.4.1.1.2")
    data = image(uid, pixels=frames.tobytes(), more=more, sop_class=sop_class, **how)
    if syntax == EXPLICIT:
        put(archive, uid, data, sop_class=sop_class)
        archive.flush()
        return
    source = Path(archive.root) / ".dcmkit" / "incoming" / "source"
    target = source.with_name("target")
    source.write_bytes(file_meta(sop_class, uid, EXPLICIT) + data)
    transcode_file(source, target, syntax, TranscodeOptions(uid="never"))
    source.unlink()
    put_file(archive, target, uid, sop_class, syntax)
    target.unlink()


def put_file(archive: Archive, path: Path, uid: str, sop_class: str, syntax: str) -> None:
    """The data set of a file."""
    put(archive, uid, path.read_bytes()[read_file_header(path).offset :], sop_class=sop_class, syntax=syntax)
    archive.flush()


def asking(
    path: str = "", accept: str | None = None, parameters: Iterable[tuple[str, str]] = (), **more: Any
) -> Request:
    """A request for an instance, or what is below it."""
    variables = {**VARIABLES, **more.pop("variables", {})}
    headers = {"accept": accept} if accept is not None else {}
    headers.update(more.pop("headers", {}))
    return Request(path=path, variables=variables, parameters=tuple(parameters), headers=headers, **more)


def whole(reply: Reply) -> bytes:
    """The body of a reply."""
    body = reply.body
    if isinstance(body, bytes):
        return body
    pieces = body.pieces if isinstance(body, Rope) else body
    return b"".join(_bytes(piece) for piece in pieces)


def _bytes(piece: Any) -> bytes:
    if isinstance(piece, FileSlice):
        with open(piece.path, "rb") as file:
            file.seek(piece.offset)
            return file.read(piece.length)
    return bytes(piece)


def parts(reply: Reply) -> list[tuple[dict[str, str], bytes]]:
    """Headers and contents of a multipart reply."""
    from dcmkit.web.media_types import boundary_of, parse_media_type
    from dcmkit.web.multipart import MultipartReader, PartBegan, PartData

    reader = MultipartReader(boundary_of(parse_media_type(reply.content_type)))
    found: list[tuple[dict[str, str], bytes]] = []
    for event in reader.feed(whole(reply)):
        if isinstance(event, PartBegan):
            found.append((dict(event.headers), b""))
        elif isinstance(event, PartData):
            found[-1] = found[-1][0], found[-1][1] + bytes(event.view)
    reader.close()
    for headers, content in found:
        assert int(headers["content-length"]) == len(content)
    return found
