"""Requests by URI (PS3.18 9): one object, as it is or as it is looked at, named by parameters of a query.

With `anonymize=yes` everything that is answered is made of a copy that was de-identified before anything else was done
with it: nothing below `_Anonymous` ever sees the file of the archive.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import unquote

from dcmkit.dataset.part10 import file_meta, read_file_header
from dcmkit.errors import DcmkitError, InputError, UsageError
from dcmkit.logs import get_logger
from dcmkit.pixels import syntaxes
from dcmkit.web.exchange import FileSlice, GoneError, NotFoundError, Reply, Request, Rope
from dcmkit.web.image_cache import blaming_object, open_image
from dcmkit.web.negotiation import ANY, DICOM, ONE, Choice, Offer, select
from dcmkit.web.rendered import Showing, find_state, media_types, open_state, warnings_of
from dcmkit.web.rendering import MEDIA_TYPES, RenderingParameters, read_wado_uri
from dcmkit.web.rendering import WadoURI as Parameters
from dcmkit.web.representation import blocks_of
from dcmkit.web.resources import etag_of, located
from dcmkit.web.routes import QueryParameter, Route

if TYPE_CHECKING:
    from dcmkit.archive.located import Located
    from dcmkit.archive.store import Archive
    from dcmkit.deid.unnamed import UnnamedFile
    from dcmkit.pixels.image_file import ImageFile
    from dcmkit.pixels.presentation import PresentationState
    from dcmkit.services.anonymizing import Anonymization

log = get_logger("web")

KEY_NAME = "pseudonyms.key"
_SMALL = 4 << 20
_BLOCK = 1 << 20
_QUERY = (
    QueryParameter("requestType", "what kind of request it is", values=("WADO",), required=True),
    QueryParameter("studyUID", "Study Instance UID", required=True),
    QueryParameter("seriesUID", "Series Instance UID", required=True),
    QueryParameter("objectUID", "SOP Instance UID", required=True),
    QueryParameter("contentType", "media types that will do, the best first"),
    QueryParameter("charset", "of text"),
    QueryParameter("anonymize", "whether the answer must not identify the patient", values=("yes", "no")),
    QueryParameter("transferSyntax", "of application/dicom: a UID, or * for as it is stored"),
    QueryParameter("frameNumber", "counted from 1", "integer"),
    QueryParameter("rows", "of the picture", "integer"),
    QueryParameter("columns", "of the picture", "integer"),
    QueryParameter("overlay", "which overlay planes are shown: yes, no, or their numbers from 0; an extension"),
    QueryParameter("region", "left, top, right and bottom, from 0 to 1"),
    QueryParameter("windowCenter", "of the VOI LUT", "number"),
    QueryParameter("windowWidth", "of the VOI LUT", "number"),
    QueryParameter("imageQuality", "of lossy compression, 1 to 100", "integer"),
    QueryParameter("annotation", "patient, technique, or both"),
    QueryParameter("presentationUID", "SOP Instance UID of a presentation state"),
    QueryParameter("presentationSeriesUID", "Series Instance UID of that"),
)


class WadoURI:
    """The transaction on one archive.

    Args:
        showing: shared with others who show objects.
        how: what becomes of objects for who asks for `anonymize=yes`; the Basic Profile with a key of the archive's
            own, so that the same object has the same pseudonyms tomorrow.
    """

    def __init__(self, archive: Archive, showing: Showing | None = None, *, how: Anonymization | None = None) -> None:
        self._archive = archive
        self._shown = showing if showing is not None else Showing()
        self._how = how
        self._anonymous: _Anonymous | None = None
        self._lock = threading.Lock()

    def routes(self) -> tuple[Route, ...]:
        """What it answers."""
        return (
            Route(
                "GET", "/wado", self.retrieve, ("retrieve",), "retrieveByURI",
                "one object by URI (PS3.18 9)", "URI", _QUERY, produces=(*MEDIA_TYPES, DICOM),
                statuses={409: "it cannot be de-identified", 410: "its file has gone"}, filters=True,
            ),
        )  # fmt: skip

    def retrieve(self, request: Request) -> Reply:
        """The object that a query names."""
        uri = read_wado_uri(request.parameters)
        named = {"study": uri.study, "series": uri.series, "instance": uri.instance}
        instance = located(self._archive, request, named)[0]
        states = find_state(self._archive, request, instance.study, uri.rendering)
        seed = self._copies.seed if uri.anonymize else ""
        etag = etag_of([instance, *states], repr(uri), request.headers.get("accept", ""), seed)
        request.unless_known(etag)
        if not uri.anonymize:
            with self._shown.images.lend(instance) as image:
                return self._reply(request, uri, image, open_state(states), etag)
        with ExitStack() as kept:
            image = kept.enter_context(self._copies.image(instance))
            reply = self._reply(request, uri, image, self._copies.state(states), etag)
            return _held(reply, kept)

    @property
    def _copies(self) -> _Anonymous:
        with self._lock:  # one key, whoever comes first
            if self._anonymous is None:
                self._anonymous = _Anonymous(self._archive, self._how or usual_anonymization(self._archive))
            return self._anonymous

    def _reply(
        self, request: Request, uri: Parameters, image: ImageFile, state: PresentationState | None, etag: str
    ) -> Reply:
        """An answer made of a file, which is the one of the archive or a copy."""
        with blaming_object():
            choice = chosen(image, uri, request.headers.get("accept"))
        headers = warnings_of(request, uri.rendering)
        if choice.media_type == DICOM:
            return _dicom(image, uri.transfer_syntax or choice.transfer_syntax, headers, etag)
        frame = uri.rendering.frame
        if frame is not None and frame >= max(1, image.number_of_frames):
            raise NotFoundError(f"there is no frame {frame + 1}, only {image.number_of_frames}")
        shown = self._shown.show(
            image, choice.media_type, uri.rendering, frame, state, charset=uri.charset, key=etag + choice.media_type
        )
        return Reply(body=shown.body, content_type=shown.content_type, headers=(*headers, *shown.headers), etag=etag)


def chosen(image: ImageFile, uri: Parameters, accept: str | None) -> Choice:
    """What is sent: one of those that the query, else the header, names (PS3.18 9.1.2.2.1).

    A single image is a JPEG by default, a report is HTML, all else what it is.

    Raises:
        MediaTypeError (400), NotAcceptableError (406): as `negotiation.select`.
    """
    wanted = uri.content_type
    if "%2f" in wanted.lower():  # encoded twice, as some do
        wanted = unquote(wanted)
    if not wanted and uri.transfer_syntax:
        wanted = DICOM
    types = media_types(image)
    looked_at = image.number_of_frames < 2 or image.is_video or uri.rendering != RenderingParameters()
    return select(_offers(types, image.transfer_syntax_uid, bool(types) and looked_at), wanted or accept)


@cache
def _encodable() -> tuple[str, ...]:
    from dcmkit.pixels.codecs import available

    return tuple(one.transfer_syntax_uid for one in available() if one.encoders)


def _offers(types: tuple[str, ...], stored: str, looked_at: bool) -> tuple[Offer, ...]:
    usual = stored if stored in syntaxes.PASSED_THROUGH else syntaxes.EXPLICIT
    object_itself = Offer(DICOM, tuple(dict.fromkeys((usual, stored, *_encodable()))), usual, ANY, (ONE,))
    shown = tuple(Offer(name, forms=(ONE,)) for name in types)
    return (*shown, object_itself) if looked_at else (object_itself, *shown)


# --- the object itself -------------------------------------------------------------------------------------------


def _dicom(image: ImageFile, wanted: str, headers: tuple[tuple[str, str], ...], etag: str) -> Reply:
    """An object as a file, in the transfer syntax that is wanted.

    Raises:
        UnsupportedSyntaxError: there is no way to it (406).
        UnusableError: it is damaged (406).
    """
    header, stored = image.header, image.transfer_syntax_uid
    name = (("Content-Disposition", f'attachment; filename="{_name(header.sop_instance_uid)}.dcm"'),)
    target = stored if wanted == ANY else wanted
    if target != stored and image.description is None and target not in syntaxes.NATIVE:
        target = syntaxes.EXPLICIT  # without pixels nothing is compressed
    if target == stored:
        body: tuple[bytes | FileSlice, ...]
        try:
            size = os.stat(image.path).st_size
        except OSError:
            raise GoneError("a file has gone from the archive", hint="dcmkit index check finds such") from None
        body = (FileSlice(image.path, 0, size),)
        if not header.offset:  # a data set alone
            body = (file_meta(header.sop_class_uid, header.sop_instance_uid, stored), *body)
        return Reply(body=Rope(body), content_type=_type(stored), headers=(*name, *headers), etag=etag)
    from dcmkit.services.conversion import convert

    with blaming_object():
        made = convert(image.path, ((0, target),))
    meta = file_meta(header.sop_class_uid, made.sop_instance_uid, made.transfer_syntax_uid)
    content = _Converted(meta, made.descriptor, made.length)
    return Reply(
        body=content, content_type=_type(made.transfer_syntax_uid), headers=(*name, *headers), etag=etag,
        length=len(meta) + made.length,
    )  # fmt: skip


def _type(transfer_syntax: str) -> str:
    return Choice(DICOM, transfer_syntax, ONE).part_type()


def _name(uid: str) -> str:
    return "".join(char for char in uid if char in "0123456789.")[:64] or "object"


class _Converted:
    """A file that was made on the way, and is closed when it was sent, or nobody wants it."""

    def __init__(self, meta: bytes, descriptor: int, length: int) -> None:
        self._meta, self._descriptor, self._left = meta, descriptor, length

    def __iter__(self) -> _Converted:
        return self

    def __next__(self) -> bytes:
        block, self._meta = self._meta, b""
        if not block:
            block = os.read(self._descriptor, min(self._left, _BLOCK)) if self._left else b""
            self._left -= len(block)
        if not block:
            self.close()
            raise StopIteration
        return block

    def close(self) -> None:
        """Close the file."""
        descriptor, self._descriptor, self._left = self._descriptor, -1, 0
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self) -> None:
        self.close()


# --- without identity --------------------------------------------------------------------------------------------


def usual_anonymization(archive: Archive) -> Anonymization:
    """The Basic Profile, with the key of an archive; where none can be kept there, with one for this process."""
    from dcmkit.deid import keys
    from dcmkit.deid.profile import Plan, parse
    from dcmkit.deid.pseudonyms import Pseudonyms
    from dcmkit.services.anonymizing import Anonymization

    path = os.path.join(os.path.dirname(archive.lock_path), KEY_NAME)
    try:
        if not os.path.exists(path):
            try:
                keys.create(path)
            except UsageError:  # another process was faster
                pass
        key = keys.read(path)
    except DcmkitError as error:
        log.warning("anonymize=yes gives other pseudonyms after each start: %s", error.message)
        key = keys.ephemeral()
    return Anonymization(Plan(parse("basic")), Pseudonyms(key, recording=False))


class _Anonymous:
    """De-identified copies of what is in an archive.

    Attributes:
        seed: another one for another key.
    """

    def __init__(self, archive: Archive, how: Anonymization) -> None:
        from dcmkit.services.anonymizing import Copies

        self._copies = Copies(archive, how)
        self.seed = how.pseudonyms.uid("1.2.3")

    @contextmanager
    def image(self, instance: Located) -> Iterator[ImageFile]:
        """A copy of an object, open. Raises: NotAnonymizedError (409), GoneError."""
        with self._file(instance) as file, open_image(file.path) as image:
            yield image

    def state(self, found: tuple[Located, ...]) -> PresentationState | None:
        """A copy of a presentation state: it refers to the copy of the image, and says no names."""
        if not found:
            return None
        from dcmkit.pixels.presentation import read_state

        with self._file(found[0]) as file, blaming_object():
            return read_state(file.path)

    @contextmanager
    def _file(self, instance: Located) -> Iterator[UnnamedFile]:
        try:
            read_file_header(instance.path, allow_bare=True)
        except InputError:
            if not os.path.exists(instance.path):
                raise GoneError("a file has gone from the archive", hint="dcmkit index check finds such") from None
        file, _ = self._copies.make(instance.path)
        with file:
            yield file


def _held(reply: Reply, kept: ExitStack) -> Reply:
    """A reply that has all it is made of: a copy is there as long as it is sent, and not longer."""
    body = reply.body
    if not isinstance(body, Rope) or not any(isinstance(piece, FileSlice) for piece in body.pieces):
        return reply
    if body.length <= _SMALL:
        return reply._replace(body=b"".join(blocks_of(body)))
    return reply._replace(body=_Held(body, kept.pop_all()), length=body.length)


class _Held:
    """The bytes of a rope, and what has to stay open meanwhile."""

    def __init__(self, body: Rope, kept: ExitStack) -> None:
        self._blocks, self._kept = blocks_of(body), kept

    def __iter__(self) -> _Held:
        return self

    def __next__(self) -> bytes:
        block = next(self._blocks, None)
        if block is None:
            self.close()
            raise StopIteration
        return block

    def close(self) -> None:
        """Let go of it."""
        self._kept.close()

    def __del__(self) -> None:
        self.close()
