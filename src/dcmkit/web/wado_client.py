"""WADO-RS as user agent (PS3.18 10.4): objects straight from the answer to where they are received.

An answer is read in pieces, in parts or not, or as a ZIP archive; no object is ever held. What is complete is kept,
whatever happens to the rest. No name from the server is a file's name: objects are named by their own UIDs.
"""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from dcmkit.errors import DcmkitError, InvalidDataSetError, OutputError, ProtocolError
from dcmkit.logs import get_logger
from dcmkit.services.retrieve_scu import Arrival
from dcmkit.web.http_response import HttpStatusError
from dcmkit.web.media_types import MediaType, boundary_of, parse_media_type
from dcmkit.web.multipart import Limits, MultipartReader, PartBegan, PartData, PartEnded
from dcmkit.web.part10_stream import Part10Stream
from dcmkit.web.repeating import bounded, warnings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dcmkit.services.storage import Destination
    from dcmkit.web.http_response import Response
    from dcmkit.web.repeating import Asker

log = get_logger("web")

ANY_SYNTAX = "*"
"""As stored (PS3.18 8.7.3.5.2)."""
_LIMITS = Limits(parts=10_000_000)
_WORST = 1000
"""After so many parts that are no objects, nothing is expected any more."""
_OBJECT_TYPES = frozenset({"application/dicom", "application/octet-stream", ""})
_ZIP_TYPES = frozenset({"application/zip", "application/x-zip-compressed", "application/x-zip"})
_PROCESSING_FAILURE = 0x0110
_ZIP_RATIO, _ZIP_FREE = 200, 64 << 20
"""How many times its size a ZIP archive may become, above what is always taken."""
_SPOOLED = 8 << 20


class Fetched(NamedTuple):
    """How an answer ended.

    Attributes:
        status: of HTTP: 200, or 206 where the server says that some is missing.
        warning: what its Warning header says.
        parts: objects it had, good or bad.
    """

    status: int
    warning: str
    parts: int


class WadoClient:
    """Retrieves objects.

    Args:
        asker: speaks to the server.
        destination: where objects go; None forgets them.
        transfer_syntax: UID to ask for; "*" is as stored.
        accept: the Accept header in place of ours; "" for ours.
        source: AE title that files name as their source.
    """

    def __init__(
        self,
        asker: Asker,
        destination: Destination | None,
        *,
        transfer_syntax: str = ANY_SYNTAX,
        accept: str = "",
        source: str = "",
    ) -> None:
        self._asker, self._destination, self._source = asker, destination, source
        self._syntax = transfer_syntax
        suffix = f"; transfer-syntax={transfer_syntax}"
        self._accepts = (accept,) if accept else (
            f'multipart/related; type="application/dicom"{suffix}',
            f"application/dicom{suffix}",
            f"application/zip{suffix}",
        )  # fmt: skip

    def fetch(self, target: str, take: Callable[[Arrival], None], *, single: bool = False) -> Fetched:
        """Retrieve all a resource has; each object is told to `take` when it is safe, or when it is not.

        Args:
            target: path and query of the resource.
            single: that it is one instance by WADO-URI (PS3.18 9.4.1.2): there is nothing to negotiate.

        Raises:
            HttpStatusError: the server refuses.
            NetworkError: there is no answer, or not all of it; what came before is kept.
            OutputError: objects cannot be written.
        """
        response = self._response(target, single)
        counted = _Counted(take, self._syntax)
        try:
            self._read(response, counted)
        except BaseException:
            response.close()
            raise
        if counted.otherwise:
            log.warning("%d objects came in another transfer syntax than was asked for", counted.otherwise)
        return Fetched(response.status, warnings(response), counted.count)

    def _response(self, target: str, single: bool) -> Response:
        if single:
            return self._asker.get(target, "application/dicom, */*;q=0.1", identity=True)
        for accept in self._accepts[:-1]:
            try:
                return self._asker.get(target, accept, identity=True)
            except HttpStatusError as error:
                if error.status != 406:
                    raise
        return self._asker.get(target, self._accepts[-1], identity=True)

    def _read(self, response: Response, take: _Counted) -> None:
        if response.status == 204:
            return
        content = content_of(response)
        if content.name.startswith("multipart/"):
            self._read_parts(response, content, take)
        elif content.name in _ZIP_TYPES:
            self._read_zip(response, take)
        elif content.name in _OBJECT_TYPES:
            self._read_object(bounded(response), take)
        else:
            raise unexpected(content)

    # --- in parts --------------------------------------------------------------------------------------------------

    def _read_parts(self, response: Response, content: MediaType, take: _Counted) -> None:
        reader = MultipartReader(boundary_of(content), _LIMITS)
        part = _Part(self._destination, self._source, take)
        try:
            for piece in bounded(response):
                for event in reader.feed(piece):
                    if type(event) is PartData:
                        part.feed(event.view)
                    elif type(event) is PartBegan:
                        part = _Part(self._destination, self._source, take, event.content_type)
                    elif type(event) is PartEnded:
                        part.end(event.as_claimed)
                        if take.bad > _WORST and not take.good:
                            raise ProtocolError("the server sends things that are no objects, again and again")
            reader.close()
        finally:
            part.abandon()

    # --- one object ------------------------------------------------------------------------------------------------

    def _read_object(self, pieces: Iterator[bytes], take: _Counted) -> None:
        part = _Part(self._destination, self._source, take)
        try:
            for piece in pieces:
                part.feed(memoryview(piece))
            part.end(True)
        finally:
            part.abandon()

    # --- ZIP -------------------------------------------------------------------------------------------------------

    def _read_zip(self, response: Response, take: _Counted) -> None:
        """A ZIP archive's directory is at its end: it has to be there as a whole."""
        with tempfile.SpooledTemporaryFile(max_size=_SPOOLED) as file:
            size = 0
            try:
                for piece in bounded(response):
                    file.write(piece)
                    size += len(piece)
                file.seek(0)
            except OSError as error:
                raise OutputError(f"the ZIP archive cannot be kept for a moment: {error.strerror}") from None
            self._read_members(file, size, take)  # type: ignore[arg-type]

    def _read_members(self, file: BinaryIO, size: int, take: _Counted) -> None:
        import zipfile
        import zlib

        left = _ZIP_FREE + size * _ZIP_RATIO
        try:
            with zipfile.ZipFile(file) as archive:
                for member in archive.infolist():
                    if member.is_dir() or member.filename.rpartition("/")[2].upper() == "DICOMDIR":
                        continue
                    left -= member.file_size
                    if left < 0 or member.flag_bits & 1:
                        raise ProtocolError("the server's ZIP archive is encrypted, or far larger than it looks")
                    with archive.open(member) as content:
                        self._read_object(iter(lambda content=content: content.read(1 << 16), b""), take)  # type: ignore[misc]
        except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, RuntimeError):
            raise ProtocolError("the server's ZIP archive is damaged") from None


class _Counted:
    """Counts what is told."""

    def __init__(self, take: Callable[[Arrival], None], syntax: str = ANY_SYNTAX) -> None:
        self._take, self._syntax = take, syntax
        self.good = self.bad = self.otherwise = 0

    @property
    def count(self) -> int:
        return self.good + self.bad

    def came_as(self, transfer_syntax_uid: str) -> None:
        """An object's transfer syntax."""
        self.otherwise += self._syntax not in (ANY_SYNTAX, transfer_syntax_uid)

    def __call__(self, arrival: Arrival) -> None:
        if arrival.stored:
            self.good += 1
        else:
            self.bad += 1
        self._take(arrival)


class _Part:
    """One object on its way: what is wrong with it is told when it ends, and the others go on."""

    def __init__(self, destination: Destination | None, source: str, take: _Counted, kind: str = "") -> None:
        self._stream: Part10Stream | None = Part10Stream(destination, source)
        self._take = take
        self._error: DcmkitError | None = None
        name = kind.partition(";")[0].strip().lower()
        if name not in _OBJECT_TYPES:
            self._error = InvalidDataSetError("the server sent a part that is no DICOM object")

    def feed(self, view: memoryview) -> None:
        if self._error is None and self._stream is not None:
            try:
                self._stream.feed(view)
            except OutputError:
                raise
            except DcmkitError as error:
                self._error = error

    def end(self, as_claimed: bool) -> None:
        stream = self._stream
        if stream is None:
            return
        error = self._error
        if error is None and not as_claimed:
            error = InvalidDataSetError("the object is not all there: its length is not what its part says")
        taken = None
        if error is None:
            try:
                taken = stream.finish()
            except DcmkitError as failure:
                if isinstance(failure, OutputError):
                    raise
                error = failure
        header = stream.header
        self.abandon()
        if taken is not None:
            found = taken.header
            self._take.came_as(found.transfer_syntax_uid)
            self._take(Arrival(found.sop_class_uid, found.sop_instance_uid, taken.status, taken.message, taken.path))
            return
        assert error is not None
        status = error.dimse_status or _PROCESSING_FAILURE
        names = ("", "") if header is None else (header.sop_class_uid, header.sop_instance_uid)
        self._take(Arrival(*names, status, str(error), ""))

    def abandon(self) -> None:
        """Nothing is left of it, unless it has ended well."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.abandon()


def content_of(response: Response) -> MediaType:
    """The media type of an answer. Raises: MediaTypeError: it is none."""
    text = response.header("Content-Type")
    return parse_media_type(text) if text.strip() else MediaType("", {})


def unexpected(content: MediaType) -> ProtocolError:
    """The answer is of a media type that nobody asked for."""
    return ProtocolError(
        f"the server answers with {content.name[:80]}, which nobody asked for",
        hint="is this the URL of a DICOMweb service?",
    )
