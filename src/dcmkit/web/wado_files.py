"""What is retrieved that is no DICOM file: metadata, frames, bulk data, rendered images, ZIP archives, each to a file.

Files are named by UIDs that were checked, and by what was asked for; never by what the server calls them. They have a
temporary name until they are complete.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple
from urllib.parse import urljoin

from dcmkit.archive import disk
from dcmkit.errors import OutputDirectoryError, ProtocolError, UsageError
from dcmkit.logs import get_logger
from dcmkit.services.retrieve_scu import Arrival
from dcmkit.web.http_response import HttpStatusError
from dcmkit.web.http_url import parse_url
from dcmkit.web.media_types import boundary_of, covers
from dcmkit.web.multipart import MultipartReader, PartBegan, PartData, PartEnded
from dcmkit.web.repeating import bounded, warnings
from dcmkit.web.wado_client import content_of, unexpected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dcmkit.web.http_response import Response
    from dcmkit.web.repeating import Asker
    from dcmkit.web.wado_targets import Target

log = get_logger("web")

EXTENSIONS = {
    "application/dicom": "dcm", "application/dicom+json": "json", "application/dicom+xml": "xml",
    "application/json": "json", "application/pdf": "pdf", "application/zip": "zip", "image/dicom-rle": "rle",
    "image/gif": "gif", "image/jls": "jls", "image/jp2": "jp2", "image/jpeg": "jpg", "image/jphc": "jphc",
    "image/jpx": "jpx", "image/jxl": "jxl", "image/png": "png", "image/webp": "webp", "text/html": "html",
    "text/plain": "txt", "text/rtf": "rtf", "text/xml": "xml", "video/H265": "h265", "video/mp4": "mp4",
    "video/mpeg": "mpg",
}  # fmt: skip
"""What files of a media type are called; all others are `.bin`."""
_JSON = 64 << 20
_MOST_BULK = 100_000
_BULK_DEPTH = 200


class What(NamedTuple):
    """What is wanted of each target.

    Attributes:
        kind: "metadata", "frames", "bulkdata", "rendered", "thumbnail" or "zip".
        frames: numbers from 1; for frames, and rendered ones.
        accept: the Accept header; "" for the usual.
        transfer_syntax: of frames and ZIP archives; "*" as stored.
        parameters: of the query, encoded.
    """

    kind: str
    frames: tuple[int, ...] = ()
    accept: str = ""
    transfer_syntax: str = "*"
    parameters: str = ""

    @property
    def of_instances(self) -> bool:
        """Whether only instances have it, or it is taken of each by itself."""
        return self.kind in ("frames", "bulkdata", "rendered")

    def path(self) -> str:
        """Below a target."""
        numbers = ",".join(map(str, self.frames))
        return {
            "metadata": "/metadata",
            "frames": f"/frames/{numbers}",
            "bulkdata": "/metadata",
            "rendered": f"/frames/{numbers}/rendered" if numbers else "/rendered",
            "thumbnail": f"/frames/{numbers}/thumbnail" if numbers else "/thumbnail",
            "zip": "",
        }[self.kind]

    def accepts(self) -> tuple[str, ...]:
        """Accept headers, the next where the one before is refused."""
        if self.accept:
            return (self.accept,)
        suffix = f"; transfer-syntax={self.transfer_syntax}"
        return {
            "metadata": ("application/dicom+json",),
            "frames": (f'multipart/related; type="application/octet-stream"{suffix}', "*/*"),
            "bulkdata": ("application/dicom+json",),
            "rendered": ("image/jpeg", "*/*"),
            "thumbnail": ("image/jpeg", "*/*"),
            "zip": (f"application/zip{suffix}", "application/zip"),
        }[self.kind]

    def expects(self, name: str) -> bool:
        """Whether an answer or part of this media type can be what is wanted."""
        patterns = {
            "metadata": ("application/dicom+json", "application/json", "application/dicom+xml", "text/xml"),
            "bulkdata": ("application/dicom+json", "application/json"),
            "zip": ("application/zip", "application/x-zip-compressed"),
        }.get(self.kind, ("image/*", "video/*", "application/octet-stream", "application/pdf", "text/*"))
        if self.kind == "frames" and name.startswith("text/"):
            return False
        return any(covers(pattern, name) for pattern in (*patterns, *self.accept.split(";")[0].split(",")) if pattern)


class FileFetcher:
    """Retrieves one kind of thing into a directory.

    Args:
        asker: speaks to the server.
        root: the path of the service.
        directory: where files go; made when it is missing.
        what: is wanted.

    Raises:
        OutputDirectoryError: the directory cannot be made.
    """

    def __init__(self, asker: Asker, root: str, directory: str, what: What) -> None:
        self._asker, self._root, self._directory, self._what = asker, root, directory, what
        try:
            os.makedirs(directory, exist_ok=True)
        except OSError as error:
            raise OutputDirectoryError(f"the directory cannot be made: {error.strerror}", hint=directory) from None

    def fetch(self, target: Target, take: Callable[[Arrival], None], place: str = "") -> str:
        """Retrieve it; `take` is told of the target when all its files are there.

        Args:
            place: path and query to ask for in place of the resource's own (WADO-URI).

        Raises:
            HttpStatusError: the server refuses.
            NetworkError: there is no answer, or another than was asked for.
            OutputError: a file cannot be written.
        """
        if self._what.kind == "bulkdata":
            return self._fetch_bulk(target, take)
        query = f"?{self._what.parameters}" if self._what.parameters else ""
        place = place or f"{self._root}{target.path}{self._what.path()}{query}"
        response = self._response(place, self._what.accepts())
        with _Files(self._directory) as files:
            for number, (kind, pieces) in enumerate(_parts(response), 1):
                if not self._what.expects(kind):
                    raise unexpected(content_of(response)._replace(name=kind or "nothing that has a name"))
                files.add(self._name(target, number), kind, pieces)
            if not files.count:
                raise ProtocolError("the server's answer is empty")
            wanted = len(self._what.frames)
            if wanted and files.count < wanted:
                raise ProtocolError(f"the server sends {files.count} of {wanted} frames")
            path = files.keep(single=target.uid if not wanted or self._what.kind == "thumbnail" else "")
        take(Arrival("", target.uid, 0, "", path))
        return warnings(response)

    def _name(self, target: Target, number: int) -> str:
        frames = self._what.frames
        kind = ".thumbnail" if self._what.kind == "thumbnail" else ""
        if frames and number <= len(frames):
            number = frames[number - 1]
        return f"{target.uid}{kind}.{number:04}"

    def _response(self, target: str, accepts: tuple[str, ...]) -> Response:
        for accept in accepts[:-1]:
            try:
                return self._asker.get(target, accept, identity=True)
            except HttpStatusError as error:
                if error.status not in (400, 406, 415):
                    raise
        return self._asker.get(target, accepts[-1], identity=True)

    # --- bulk data ---------------------------------------------------------------------------------------------------

    def _fetch_bulk(self, target: Target, take: Callable[[Arrival], None]) -> str:
        """What the metadata of an instance refers to (PS3.18 F.2.6)."""
        place = f"{self._root}{target.path}/metadata"
        _, body = self._asker.fetch(place, "application/dicom+json", _JSON)
        kind = self._what.accept or 'multipart/related; type="application/octet-stream"; transfer-syntax=*'
        path = ""
        with _Files(self._directory) as files:
            for name, uri in bulk_uris(body):
                where = self._same_origin(place, uri)
                begun = files.count
                for number, (media_type, pieces) in enumerate(_parts(self._response(where, (kind, "*/*"))), 1):
                    files.add(f"{target.uid}.{name}.{number:04}", media_type, pieces)  # frames come one by one
                if files.count == begun:
                    raise ProtocolError("the server's answer is empty")
                if files.count == begun + 1:
                    files.rename_last(f"{target.uid}.{name}")
            path = files.keep(single="")
        take(Arrival("", target.uid, 0, "", path))
        if not path:
            log.info("%s: there is no bulk data", target)
        return ""

    def _same_origin(self, place: str, uri: str) -> str:
        """Path and query of a URI, if it is the server's own: nobody else is asked, nor shown who we are."""
        origin = self._asker.client.url.origin
        try:
            url = parse_url(urljoin(f"{origin}{place}", uri))
        except (UsageError, ValueError):
            raise ProtocolError("the server names bulk data by what is no URL") from None
        if url.origin != origin:
            raise ProtocolError("the server says that bulk data are somewhere else, where they are not fetched")
        return url.target


def bulk_uris(metadata: bytes) -> Iterator[tuple[str, str]]:
    """The bulk data of an instance: tags and item numbers that lead there, joined by dots, and URI.

    Raises:
        ProtocolError: it is no DICOM JSON, or has more of them than can be.
    """
    try:
        found: Any = json.loads(metadata)
    except (ValueError, RecursionError):
        raise ProtocolError("the server's metadata are no DICOM JSON") from None
    count = 0
    waiting: list[tuple[tuple[str, ...], Any]] = [((), found[0] if isinstance(found, list) and found else found)]
    while waiting:
        above, item = waiting.pop()
        if not isinstance(item, dict) or len(above) > _BULK_DEPTH:
            continue
        for tag, attribute in item.items():
            if len(tag) != 8 or not tag.isalnum() or not tag.isascii() or not isinstance(attribute, dict):
                continue
            uri, values = attribute.get("BulkDataURI"), attribute.get("Value")
            path = (*above, tag.upper())
            if isinstance(uri, str):
                count += 1
                if count > _MOST_BULK:
                    raise ProtocolError(f"the server's metadata refer to more than {_MOST_BULK} values")
                yield ".".join(path), uri
            elif attribute.get("vr") == "SQ" and isinstance(values, list):
                waiting += [((*path, str(at)), one) for at, one in enumerate(values, 1)]


# --- parts and files ---------------------------------------------------------------------------------------------


def _parts(response: Response) -> Iterator[tuple[str, Iterator[memoryview | bytes]]]:
    """The media type and content of each part of an answer; of the answer itself where it has none."""
    if response.status == 204:
        return
    content = content_of(response)
    if not content.name.startswith("multipart/"):
        yield content.name, bounded(response)
        return
    reader = MultipartReader(boundary_of(content))
    events = (event for piece in bounded(response) for event in reader.feed(piece))
    for event in events:
        if type(event) is PartBegan:
            name = event.content_type.partition(";")[0].strip().lower()
            yield name or "application/octet-stream", _content(events)
    reader.close()


def _content(events: Iterator[object]) -> Iterator[memoryview]:
    for event in events:
        if type(event) is PartData:
            yield event.view
        elif type(event) is PartEnded:
            if not event.as_claimed:
                raise ProtocolError("a part of the server's answer is not all there")
            return
    raise ProtocolError("a part of the server's answer is not all there")


class _Files:
    """Files that get their names together, or are not there."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._files: list[tuple[str, str, str]] = []
        self.count = 0

    def __enter__(self) -> _Files:
        return self

    def __exit__(self, *_: object) -> None:
        for temporary, _name, _extension in self._files:
            disk.remove(temporary)

    def add(self, name: str, media_type: str, pieces: Iterator[memoryview | bytes]) -> None:
        """Write one. Raises: OutputError, NetworkError."""
        temporary = os.path.join(self._directory, f".dcmkit-{os.getpid()}-{os.urandom(6).hex()}.part")
        self._files.append((temporary, name, EXTENSIONS.get(media_type, "bin")))
        try:
            file: BinaryIO = open(temporary, "xb")  # noqa: SIM115 - the next line
        except OSError as error:
            raise disk.output_error(error) from None
        with file:
            for piece in pieces:
                try:
                    file.write(piece)
                except OSError as error:
                    raise disk.output_error(error) from None
        self.count += 1

    def rename_last(self, name: str) -> None:
        """Another name for the one that was written last."""
        temporary, _, extension = self._files.pop()
        self._files.append((temporary, name, extension))

    def keep(self, single: str) -> str:
        """Give all of them their names, the first last; `single` is the name for the only one. The first one's path."""
        path = ""
        alone = single if self.count == 1 else ""
        for temporary, name, extension in reversed(self._files):
            if alone:
                name = name.rpartition(".")[0]
            path = os.path.join(self._directory, f"{name}.{extension}")
            try:
                os.replace(temporary, path)
            except OSError as error:
                raise disk.output_error(error) from None
        self._files = []
        return path
