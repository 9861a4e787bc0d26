"""C-MOVE and C-GET as SCP (PS3.4 C.4.2, C.4.3, Y, Z): objects of an archive, to a third AE or back to who asked.

A C-GET sends on the association it came on. A C-MOVE sends from a thread of its own, so that the association it came
on can be told how it goes, and can cancel, whatever the destination does.
"""

from __future__ import annotations

import os
import tempfile
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from dcmkit.archive.query import select_values
from dcmkit.dataset.elements import Element, decode, encode
from dcmkit.dataset.part10 import FileHeader
from dcmkit.errors import DcmkitError, InvalidDataSetError, NetworkError, NoPresentationContextError
from dcmkit.logs import escape, get_logger
from dcmkit.net.association import Association
from dcmkit.protocol.message import C_GET_RQ, C_GET_RSP, C_MOVE_RQ, C_MOVE_RSP, DATA_SET_PRESENT, NO_DATA_SET, Message
from dcmkit.protocol.status import (
    MOVE_DESTINATION_UNKNOWN,
    NOT_AUTHORIZED,
    STATUS_CANCEL,
    STATUS_PENDING,
    STATUS_SUCCESS,
)
from dcmkit.services.find import IDENTIFIER_SYNTAXES, Watch, agreed_information, catch_up, failure, read_identifier
from dcmkit.services.identifier import read_retrieve
from dcmkit.services.models import (
    BY_GET,
    BY_MOVE,
    MODELS,
    Model,
    RetrieveExtended,
    decode_retrieve_extended,
    encode_extended,
)
from dcmkit.services.sending import File, Sender, Sent, lost
from dcmkit.services.sub_operations import Destination, Mover, Tally, store_one, unusable
from dcmkit.uids import SOP_CLASSES, STORAGE_SOP_CLASSES

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from dcmkit.archive.query import Query
    from dcmkit.archive.store import Archive
    from dcmkit.protocol.user_information import SOPClassExtended
    from dcmkit.services.application_entity import Handler

log = get_logger("services")

FAILED_SOP_INSTANCE_UID_LIST = 0x00080058
_LIST_BYTES = 65534
"""As much as an element of VR UI holds where VRs are explicit."""
_MOST = 65535
"""A number of sub-operations has two bytes."""

PENDING_EVERY = 1.0
"""Seconds between two pending responses, at most."""
PENDING_AFTER = 50
"""Sub-operations between two pending responses, at most."""
_TICK = 0.02
"""Seconds between two looks at the requestor while a C-MOVE goes on."""
_PATIENCE = 0.05
"""Seconds the object on its way is given when a C-MOVE is cancelled."""


class Destinations(Protocol):
    """The move destinations there are."""

    def find(self, ae_title: str, association: Association) -> Destination | None:
        """The one of this AE title, as far as the requestor of `association` may use it."""


class RetrieveSCP:
    """Answers C-GET-RQ and C-MOVE-RQ from an archive.

    Args:
        archive: whose objects.
        destinations: where a C-MOVE may go; nowhere else.
        models: the information models offered.
        get, move: whether C-GET and C-MOVE are offered.
        strict: refuse identifiers that are not as PS3.4 C.4.2.2.1 asks.
        transcode: convert what is not taken as it is stored.
        require_find: refuse a retrieve where C-FIND of its model was not negotiated too.
    """

    def __init__(
        self,
        archive: Archive,
        destinations: Destinations,
        *,
        models: Collection[Model] = MODELS,
        get: bool = True,
        move: bool = True,
        strict: bool = False,
        transcode: bool = True,
        require_find: bool = False,
    ) -> None:
        self._archive = archive
        self._destinations = destinations
        self._get_models = {uid: model for uid, model in BY_GET.items() if get and model in models}
        self._move_models = {uid: model for uid, model in BY_MOVE.items() if move and model in models}
        self._strict = strict
        self._transcode = transcode
        self._require_find = require_find
        self.handlers: dict[type[Message], Handler] = {C_GET_RQ: self._get, C_MOVE_RQ: self._move}

    # --- negotiation ---

    def transfer_syntaxes(self, abstract_syntax: str) -> Sequence[str] | None:
        """Those of identifiers for the models, and all for what a C-GET may send."""
        if abstract_syntax in self._get_models or abstract_syntax in self._move_models:
            return IDENTIFIER_SYNTAXES
        return () if self.scp_role(abstract_syntax) else None

    def scp_role(self, abstract_syntax: str) -> bool:
        """Whether the requestor may be SCP: of every storage SOP class, where C-GET is offered."""
        storage = abstract_syntax in STORAGE_SOP_CLASSES or abstract_syntax not in SOP_CLASSES
        return bool(self._get_models) and storage

    def extended(self, item: SOPClassExtended) -> bytes | None:
        """Relational retrieve: yes, where asked (PS3.4 C.5.2.1, C.5.3.1)."""
        if item.sop_class_uid not in self._get_models and item.sop_class_uid not in self._move_models:
            return None
        agreed = RetrieveExtended(relational=decode_retrieve_extended(item.information).relational)
        return encode_extended(agreed, len(item.information)) if item.information else None

    # --- the two operations ---

    def _get(self, association: Association, context_id: int, message: Message) -> None:
        rq = message
        assert isinstance(rq, C_GET_RQ)
        conversation = _Conversation(association, context_id, rq)
        try:
            files, model = self._files(conversation, context_id, rq, self._get_models)
        except NetworkError:
            raise
        except DcmkitError as error:
            conversation.refuse(error)
            return
        if conversation.cancelled_before(len(files)):
            return
        tally = Tally(files)
        _Get(conversation, files, tally, bulk_data=model.bulk_data, transcode=self._transcode).run()

    def _move(self, association: Association, context_id: int, message: Message) -> None:
        rq = message
        assert isinstance(rq, C_MOVE_RQ)
        conversation = _Conversation(association, context_id, rq)
        try:
            files, _ = self._files(conversation, context_id, rq, self._move_models)
            destination = self._destinations.find(rq.move_destination, association)
            if destination is None:
                raise MoveDestinationUnknownError(f"move destination {escape(rq.move_destination)} is not configured")
        except NetworkError:
            raise
        except DcmkitError as error:
            conversation.refuse(error)
            return
        if conversation.cancelled_before(len(files)):
            return
        tally = Tally(files)
        mover = Mover(destination, files, tally, (association.rq.calling_ae_title, rq.message_id), self._transcode)
        _attend(conversation, mover, tally)

    def _files(
        self, conversation: _Conversation, context_id: int, rq: C_GET_RQ | C_MOVE_RQ, models: dict[str, Model]
    ) -> tuple[list[File], Model]:
        """What a request asks for; a part of it when it is cancelled meanwhile."""
        association = conversation.association
        abstract_syntax, transfer_syntax = association.contexts.by_id(context_id)
        data = read_identifier(association, rq, rq.affected_sop_class_uid, abstract_syntax)
        model = models[abstract_syntax]
        if self._require_find and not association.contexts.transfer_syntaxes(model.find):
            raise RetrieveRefusedError(f"{model.name} FIND was not negotiated, and is required here")
        level, query = read_retrieve(
            decode(data, transfer_syntax),
            model,
            decode_retrieve_extended(agreed_information(association, abstract_syntax)),
            strict=self._strict,
        )
        files = self._found(query, conversation.watch)
        log.info("%s retrieves at %s level: %d objects", association.rq.calling_ae_title, level, len(files))
        return files, model

    def _found(self, query: Query, stop: Callable[[], bool]) -> list[File]:
        """Where the objects are and what their headers say, as the index has it."""
        catch_up(self._archive)
        files: list[File] = []
        for row in select_values(self._archive.index, query, stop=stop):
            instance, sop_class, syntax, offset, size, path = row
            assert isinstance(offset, int)
            assert isinstance(size, int)
            header = FileHeader(str(sop_class), str(instance), str(syntax), offset, max(0, size - offset))
            files.append(File(os.path.join(self._archive.root, str(path)), header))
        return files


class MoveDestinationUnknownError(DcmkitError):
    """The AE title of a C-MOVE-RQ is no configured destination (PS3.4 C.4.2.1.5)."""

    dimse_status = MOVE_DESTINATION_UNKNOWN


class RetrieveRefusedError(DcmkitError):
    """The requestor may not retrieve this, or not so."""

    dimse_status = NOT_AUTHORIZED


# --- what both have in common ------------------------------------------------------------------------------------


class _Conversation:
    """The association a retrieve came on, and what is said there."""

    def __init__(self, association: Association, context_id: int, rq: C_GET_RQ | C_MOVE_RQ) -> None:
        self.association = association
        self.message_id = rq.message_id
        self.watch = Watch(association, rq.message_id)
        self._context_id = context_id
        self._rq = rq
        self._next = monotonic()
        self._told = 0

    def refuse(self, error: DcmkitError) -> None:
        """Answer with a failure."""
        status, comment, offending = failure(error)
        log.warning("a retrieve of %s was refused: %s", self.association.rq.calling_ae_title, error.message)
        self._send(self._response(status, error_comment=comment, offending_element=offending))

    def progress(self, tally: Tally) -> None:
        """A pending response, where one is due."""
        now = monotonic()
        if now < self._next and tally.done - self._told < PENDING_AFTER:
            return
        if not tally.remaining:
            return
        self._next, self._told = now + PENDING_EVERY, tally.done
        self._send(self._response(STATUS_PENDING, remaining=tally.remaining, tally=tally))

    def cancelled_before(self, found: int) -> bool:
        """Whether it was cancelled while its objects were looked for; then it is answered."""
        if not self.watch.said_so():
            return False
        tally = Tally(())
        tally.remaining = found
        self.finish(tally, cancelled=True)
        return True

    def finish(self, tally: Tally, *, cancelled: bool) -> None:
        """The final response, with the UIDs that failed (PS3.4 C.4.2.1.4.2)."""
        status = STATUS_CANCEL if cancelled else tally.final_status()
        data = b""
        if tally.failed_uids and status != STATUS_SUCCESS:
            data = self._failed_list(tally)
        response = self._response(
            status,
            remaining=tally.remaining if cancelled else None,
            tally=tally,
            error_comment=tally.comment if tally.failed else None,
            command_data_set_type=DATA_SET_PRESENT if data else NO_DATA_SET,
        )
        self._send(response, data)
        log.info(
            "retrieve of %s ended with status %04X: %d completed, %d failed, %d with a warning, %d not performed",
            self.association.rq.calling_ae_title,
            status,
            tally.completed,
            tally.failed,
            tally.warning,
            tally.remaining,
        )

    def _failed_list(self, tally: Tally) -> bytes:
        text = "\\".join(tally.failed_uids)
        if len(text) > _LIST_BYTES:
            text = text[: text.rindex("\\", 0, _LIST_BYTES)]
            log.warning("only the first %d failed UIDs fit into the response", text.count("\\") + 1)
        syntax = self.association.contexts.by_id(self._context_id)[1]
        return encode({FAILED_SOP_INSTANCE_UID_LIST: Element("UI", text)}, syntax)

    def _response(
        self, status: int, *, remaining: int | None = None, tally: Tally | None = None, **more: object
    ) -> Message:
        cls = C_GET_RSP if isinstance(self._rq, C_GET_RQ) else C_MOVE_RSP
        counts: dict[str, int | None] = {}
        if tally is not None:
            counts = {
                "number_of_completed_suboperations": min(tally.completed, _MOST),
                "number_of_failed_suboperations": min(tally.failed, _MOST),
                "number_of_warning_suboperations": min(tally.warning, _MOST),
            }
            if remaining is not None:
                counts["number_of_remaining_suboperations"] = min(remaining, _MOST)
        return cls(
            message_id_being_responded_to=self.message_id,
            affected_sop_class_uid=self._rq.affected_sop_class_uid,
            status=status,
            **counts,  # type: ignore[arg-type]
            **more,  # type: ignore[arg-type]
        )

    def _send(self, response: Message, data: bytes = b"") -> None:
        self.association.send(self._context_id, response, data)


# --- C-GET -------------------------------------------------------------------------------------------------------


class _Get:
    """The sub-operations of one C-GET, on its own association."""

    def __init__(
        self, conversation: _Conversation, files: Sequence[File], tally: Tally, *, bulk_data: bool, transcode: bool
    ) -> None:
        self._conversation = conversation
        self._files = files
        self._tally = tally
        self._bulk_data = bulk_data
        self._cancelled = False
        self._sender = Sender(conversation.association, transcode=transcode, on_cancel=self._on_cancel)

    def run(self) -> None:
        """Send everything, unless cancelled, and answer. Raises: NetworkError."""
        files, tally, conversation = self._files, self._tally, self._conversation
        try:
            for number, file in enumerate(files):
                if self._cancelled or conversation.watch():
                    break
                conversation.progress(tally)
                tally.take(self._perform(file, files[number + 1] if number + 1 < len(files) else None))
        finally:
            self._sender.close()
        conversation.finish(tally, cancelled=(conversation.watch.said_so() or self._cancelled) and tally.remaining > 0)

    def _on_cancel(self, message_id: int) -> None:
        if message_id == self._conversation.message_id:
            self._cancelled = True

    def _perform(self, file: File, after: File | None) -> Sent:
        association = self._conversation.association
        error = unusable(file)
        role = association.contexts.roles.get(file.header.sop_class_uid)
        if error is None and (role is None or not role.scp):
            error = NoPresentationContextError("the requestor did not offer to be SCP of its SOP class")
        if error is not None:
            return lost(file, error)
        return store_one(self._sender, file, after) if self._bulk_data else self._without_bulk_data(file)

    def _without_bulk_data(self, file: File) -> Sent:
        from dcmkit.dataset.bulk_data import without_bulk_data

        try:
            data, syntax = without_bulk_data(*file)
            descriptor, path = tempfile.mkstemp(prefix="dcmkit-")
            try:
                with open(descriptor, "wb") as short:
                    short.write(data)
                header = file.header._replace(transfer_syntax_uid=syntax, offset=0, length=len(data))
                return self._sender.store(File(path, header))
            finally:
                os.unlink(path)
        except NetworkError:
            raise
        except DcmkitError as error:
            return lost(file, error)
        except OSError as error:
            return lost(file, InvalidDataSetError(f"no room for a copy without bulk data: {error.strerror}"))


# --- C-MOVE ------------------------------------------------------------------------------------------------------


def _attend(conversation: _Conversation, mover: Mover, tally: Tally) -> None:
    """Tell the requestor of a C-MOVE how it goes, and listen for a C-CANCEL-RQ. Raises: NetworkError."""
    if tally.remaining:
        conversation.progress(tally)
        mover.start()
        try:
            while not mover.ended.wait(_TICK):
                if conversation.watch() or conversation.association.stopping:
                    break
                conversation.progress(tally)
        finally:
            mover.stop()
            if not mover.ended.wait(_PATIENCE):
                mover.abandon()
            mover.close_account()
    cancelled = conversation.watch.said_so() and tally.remaining > 0
    if tally.remaining and not cancelled:  # we are stopping
        tally.fail_rest("the archive is shut down")
    conversation.finish(tally, cancelled=cancelled)
