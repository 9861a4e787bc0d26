"""The store transaction (PS3.18 10.5): objects stream from the parts of a body into the archive, and are answered for.

An object whose part is complete is stored, whatever becomes of the rest of the body: when the connection is lost, or
the body turns out to be damaged, what was complete stays. Storing it again does no harm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from dcmkit.archive import disk
from dcmkit.archive.filing import Stored as Filed
from dcmkit.dataset.part10 import FileHeader
from dcmkit.errors import DcmkitError, InvalidDataSetError, NetworkError
from dcmkit.logs import INFO, get_logger
from dcmkit.uids import is_uid
from dcmkit.web import store_answer
from dcmkit.web.exchange import HttpError
from dcmkit.web.identity import AccessError
from dcmkit.web.media_types import UnsupportedMediaTypeError, parse_store_content
from dcmkit.web.multipart import (
    BodyTooLargeError,
    Limits,
    MultipartError,
    MultipartReader,
    PartBegan,
    PartData,
    PartEnded,
)
from dcmkit.web.negotiation import DICOM_JSON, DICOM_XML, select
from dcmkit.web.routes import Route
from dcmkit.web.store_answer import Stored
from dcmkit.web.store_parts import Arrival, StudyMismatchError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dcmkit.archive.batch import Outcome
    from dcmkit.services.storage import Destination
    from dcmkit.web.exchange import Reply, Request
    from dcmkit.web.stow_assembly import Parts

log = get_logger("web")

TOGETHER = 64
"""Objects that are stored in one go at most: each of them holds a file open."""
PART_LIMITS = Limits(parts=20_000)
_DICOM = "application/dicom"
_ACCEPTS = (
    f'multipart/related; type="{_DICOM}"',
    f'multipart/related; type="{DICOM_JSON}"',
    f'multipart/related; type="{DICOM_XML}"',
    _DICOM,
    DICOM_JSON,
    DICOM_XML,
    "multipart/form-data",
)
_STATUSES = {
    200: "everything is stored",
    202: "something is stored; the answer says what is not, or has warnings",
    409: "nothing is stored; the answer says why",
    413: "more bytes than are taken; what came before may be stored",
    415: "a media type that cannot be stored",
    503: "too much is being stored at the moment",
}


class Storing:
    """STOW-RS.

    Args:
        destination: where objects go: an archive, or a door before it.
        limits: what a body may have.
        on_stored: told the SOP Instance UIDs of what a request has stored, after that, and before it is answered.
    """

    def __init__(
        self,
        destination: Destination,
        *,
        limits: Limits = PART_LIMITS,
        on_stored: Callable[[Sequence[str]], None] | None = None,
    ) -> None:
        self._destination = destination
        self._limits = limits
        self._on_stored = on_stored

    def routes(self) -> tuple[Route, ...]:
        """POST to all studies, and to one."""
        return (
            self._route("/studies", "storeInstances", "Store instances"),
            self._route("/studies/{study}", "storeInstancesOfStudy", "Store instances of one study"),
        )

    def _route(self, template: str, operation: str, summary: str) -> Route:
        produces = tuple(offer.media_type for offer in store_answer.OFFERS)
        return Route(
            "POST", template, self.store, ("store",), operation, summary, "Store",
            accepts=_ACCEPTS, produces=produces, statuses=_STATUSES, filters=True, stores=True,
        )  # fmt: skip

    def store(self, request: Request) -> Reply:
        """The handler.

        Raises:
            DcmkitError: the request cannot be read, or nothing in it can be stored by whoever asks.
        """
        study = request.variables.get("study", "")
        if study and not is_uid(study):
            raise HttpError(400, "the study in the path is no UID")
        if request.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
            raise UnsupportedMediaTypeError("a body that is compressed", hint="send it as it is")
        content = parse_store_content(request.headers.get("content-type"))
        choice = select(store_answer.OFFERS, *request.accept)
        upload = Upload(self._destination, request, study)
        try:
            if content.media_type in (DICOM_JSON, DICOM_XML):
                self._assembled(upload, request, content.media_type, content.boundary)
            elif content.boundary:
                self._parts(upload, request, content.boundary, form=not content.media_type)
            else:
                self._one(upload, request)
        except MultipartError as error:
            upload.settle()
            if isinstance(error, BodyTooLargeError) or not any(one.is_stored for one in upload.outcomes):
                raise
            upload.refuse(error)
        finally:
            upload.close()
            stored = [one.sop_instance_uid for one in upload.outcomes if one.is_stored]
            if stored and self._on_stored is not None:
                self._on_stored(stored)
        if not upload.outcomes:
            raise HttpError(400, "a store request without any object", hint="send at least one part")
        return store_answer.reply_to(request, choice, upload.outcomes)

    def _parts(self, upload: Upload, request: Request, boundary: str, *, form: bool) -> None:
        reader = MultipartReader(boundary, self._limits)
        arrival: Arrival | None = None
        try:
            for block in request.body:
                for event in reader.feed(block):
                    if isinstance(event, PartData):
                        if arrival is not None:
                            arrival.write(event.view)
                    elif isinstance(event, PartBegan):
                        if not form or _is_file(event):
                            arrival = upload.begin()
                            if event.is_encoded:
                                arrival.fail(InvalidDataSetError("the part is encoded as text"))
                    elif isinstance(event, PartEnded) and arrival is not None:
                        upload.end(arrival, whole=event.as_claimed)
                        arrival = None
            reader.close()
        finally:
            if arrival is not None:
                arrival.fail(InvalidDataSetError("the part is not all there"))

    def _one(self, upload: Upload, request: Request) -> None:
        arrival = upload.begin()
        size, limit = 0, min(filter(None, (self._limits.part, self._limits.body)), default=0)
        try:
            for block in request.body:
                size += len(block)
                if 0 < limit < size:
                    raise BodyTooLargeError(f"an object of more than {limit} bytes")
                arrival.write(memoryview(block))
        except BaseException:
            arrival.fail(InvalidDataSetError("the object is not all there"))
            raise
        if not size:
            raise HttpError(400, "a store request without a body")
        upload.end(arrival)

    def _assembled(self, upload: Upload, request: Request, media_type: str, boundary: str) -> None:
        """Metadata with bulk data (PS3.18 10.5.2): nothing can be stored before all of it is there."""
        from dcmkit.web.stow_assembly import Parts

        parts = Parts(self._destination, media_type)
        try:
            if boundary:
                self._collect(parts, request, boundary)
            else:
                parts.begin(None)
                for block in request.body:
                    parts.write(memoryview(block))
                parts.end()
            for found in parts.objects():
                upload.put(found, parts)
            upload.settle()
        finally:
            parts.close()

    def _collect(self, parts: Parts, request: Request, boundary: str) -> None:
        reader = MultipartReader(boundary, self._limits)
        for block in request.body:
            for event in reader.feed(block):
                if isinstance(event, PartData):
                    parts.write(event.view)
                elif isinstance(event, PartBegan):
                    if event.is_encoded:
                        raise MultipartError("a part that is encoded as text")
                    parts.begin(event)
                elif isinstance(event, PartEnded):
                    if not event.as_claimed:
                        raise MultipartError("a part has another length than it says")
                    parts.end()
        reader.close()


class Waiting(Protocol):
    """Objects that wait to be stored together: `archive.batch.Batch`, or one of a door before it."""

    def add(self, incoming: Any) -> None:
        """Take one that is complete."""

    def settle(self) -> list[Outcome]:
        """Store them."""


class Upload:
    """What one request brings.

    Attributes:
        outcomes: what became of the objects, in their order; complete after `settle`.
    """

    def __init__(self, destination: Destination, request: Request, study: str) -> None:
        self._destination, self._request, self._study = destination, request, study
        self._anonymous = bool(getattr(destination, "anonymous", False))
        batch = getattr(destination, "batch", None)
        self._batch: Waiting | None = batch() if batch is not None else None
        self._waiting: list[tuple[int, Arrival]] = []
        self.outcomes: list[Stored] = []

    def begin(self) -> Arrival:
        """An object is about to come."""
        return Arrival(self._destination, together=self._batch is not None)

    def end(self, arrival: Arrival, *, whole: bool = True) -> None:
        """Its end has come; `whole` is whether nothing was lost before it."""
        arrival.finish()
        if not whole:
            arrival.fail(InvalidDataSetError("the part has another length than it says"))
        try:
            if arrival.failure is not None:
                raise arrival.failure
            self._require_allowed(arrival)
            assert arrival.incoming is not None
            if self._batch is None:
                self._note(arrival, arrival.incoming.commit())
                return
            self._batch.add(arrival.incoming)
        except DcmkitError as error:
            arrival.fail(error)
            self._note(arrival, error)
            return
        self._waiting.append((len(self.outcomes), arrival))
        self.outcomes.append(Stored("", ""))
        if len(self._waiting) >= TOGETHER:
            self.settle()

    def put(self, found: object, parts: Parts) -> None:
        """An object that came as metadata, with bulk data elsewhere."""
        from dcmkit.web.stow_assembly import assemble, identified

        arrival = self.begin()
        try:
            assembled = assemble(found, parts)
            arrival.begin(assembled.header)
            for piece in assembled.pieces:
                arrival.write(memoryview(piece))
        except OSError as error:
            arrival.fail(disk.output_error(error))
        except DcmkitError as error:
            arrival.fail(error)
        if arrival.header is None:
            arrival.header = FileHeader(*identified(found), "", 0, 0)
        self.end(arrival)

    def refuse(self, error: DcmkitError) -> None:
        """The rest of the body is no object."""
        self.outcomes.append(Stored("", "", status=_reason(error), comment=error.message))

    def settle(self) -> None:
        """Store what waits."""
        waiting, self._waiting = self._waiting, []
        if self._batch is None or not waiting:
            return
        for (number, arrival), outcome in zip(waiting, self._batch.settle(), strict=True):
            self.outcomes[number] = self._outcome(arrival, outcome)

    def close(self) -> None:
        """No more will come: what is complete is stored, and told in one line."""
        self.settle()
        failures = [one for one in self.outcomes if not one.is_stored]
        who = self._request.client or self._request.identity.name
        if failures:
            first = failures[0]
            log.error(
                "refused %d objects from %s, the first with reason 0x%04X: %s",
                len(failures), who, first.status, first.comment,
            )  # fmt: skip
        if len(failures) < len(self.outcomes) and log.enabled_for(INFO):
            log.info("stored %d objects from %s", len(self.outcomes) - len(failures), who)

    def _require_allowed(self, arrival: Arrival) -> None:
        """Whether the object belongs to the study it is sent to, and to one that whoever asks may store to.

        Raises:
            StudyMismatchError, ForbiddenError.
        """
        if self._study and arrival.study != self._study:
            raise StudyMismatchError("the object belongs to another study than that of the path")
        self._request.identity.require("store", arrival.study)

    def _note(self, arrival: Arrival, outcome: Outcome) -> None:
        self.outcomes.append(self._outcome(arrival, outcome))

    def _outcome(self, arrival: Arrival, outcome: Outcome) -> Stored:
        header = arrival.header
        sop_class, sop_instance = (header.sop_class_uid, header.sop_instance_uid) if header is not None else ("", "")
        if not (is_uid(sop_class) and is_uid(sop_instance)):
            sop_class = sop_instance = ""
        if isinstance(outcome, Filed):
            study, series = ("", "") if self._anonymous else (arrival.study, arrival.series)
            return Stored(sop_class, sop_instance, study, series, outcome.dimse_status, outcome.message)
        return Stored(sop_class, sop_instance, status=_reason(outcome), comment=outcome.message)


def _reason(error: DcmkitError) -> int:
    """The failure reason (PS3.18 Table I.2-2): that of C-STORE, but a body that is none cannot be understood."""
    return 0xC000 if isinstance(error, NetworkError) and not isinstance(error, AccessError) else error.dimse_status


def _is_file(part: PartBegan) -> bool:
    """Whether a part of a form is a file, rather than a field of text."""
    return bool(part.field[1]) or part.content_type.startswith((_DICOM, "application/octet-stream"))
