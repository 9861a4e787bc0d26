"""Storage service class as SCP (PS3.4 Annex B): from the association into the archive. The SCU is `storage_scu`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from dcmkit.errors import DcmkitError, InvalidDataSetError, NetworkError, SOPClassNotSupportedError
from dcmkit.logs import INFO, get_logger
from dcmkit.protocol.message import C_STORE_RQ, C_STORE_RSP, Message
from dcmkit.uids import SOP_CLASSES, STORAGE_SOP_CLASSES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dcmkit.archive.filing import Stored
    from dcmkit.archive.layout import Layout
    from dcmkit.net.association import Association
    from dcmkit.services.application_entity import Handler

log = get_logger("services")


class IncomingObject(Protocol):
    """An object being received, as `archive.incoming.Incoming`.

    One that is stored under another SOP Instance UID has this as `told`, once it is known.
    """

    def begin(self) -> None:
        """Do what can be done before the first piece is there."""

    def write(self, view: memoryview) -> None:
        """Append a piece of the data set."""

    def abandon(self) -> None:
        """Forget the object."""

    def commit(self) -> Stored:
        """The object is complete."""


class Destination(Protocol):
    """Where objects go: an archive, or a folder without an index.

    One may have `anonymous`: where that is true, the UIDs of what comes are not for the log.
    """

    @property
    def layout(self) -> Layout:
        """How files are named."""

    def incoming(
        self, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, source_ae_title: str = ""
    ) -> IncomingObject:
        """An object that is about to come."""


class Received(NamedTuple):
    """A C-STORE that has been dealt with, just before its response goes out.

    Attributes:
        status: what the peer is about to be told, with its comment.
        path: the file, "" where there is none.
    """

    association: Association
    rq: C_STORE_RQ
    status: int
    comment: str
    path: str


class StorageSCP:
    """Answers C-STORE-RQ: file first, index second, Success last.

    Args:
        archive: where objects go; None receives and forgets them.
        known_only: refuse SOP classes PS3.4 B.5 does not list (private ones, for instance).
        requestor: the associations are our own (C-GET): objects come from the AE that was called.
        on_object: called with every C-STORE, from the thread of its association.
    """

    def __init__(
        self,
        archive: Destination | None,
        *,
        known_only: bool = False,
        requestor: bool = False,
        on_object: Callable[[Received], None] | None = None,
    ) -> None:
        self._archive = archive
        self._known_only = known_only
        self._requestor = requestor
        self._on_object = on_object
        # Hints name paths, and a layout may put names of patients into those: no patient data in the log.
        self._hints = archive is None or all(attribute.vr == "UI" for attribute in archive.layout.attributes)
        self._anonymous = bool(getattr(archive, "anonymous", False))
        self.handlers: dict[type[Message], Handler] = {C_STORE_RQ: self._store}

    def transfer_syntaxes(self, abstract_syntax: str) -> Sequence[str] | None:
        """Every transfer syntax, for every storage SOP class and whatever else is in no other service."""
        if abstract_syntax in STORAGE_SOP_CLASSES:
            return ()
        return None if self._known_only or abstract_syntax in SOP_CLASSES else ()

    def _store(self, association: Association, context_id: int, message: Message) -> None:
        rq = message
        assert isinstance(rq, C_STORE_RQ)
        status, comment, offending, path = 0, None, None, ""
        try:
            if rq.affected_sop_class_uid != association.contexts.by_id(context_id)[0]:
                if rq.has_data_set:
                    association.skip_data_set()
                raise SOPClassNotSupportedError("SOP class is not that of the presentation context")
            if self._archive is None:
                association.skip_data_set()
            else:
                stored = self._receive(self._archive, association, context_id, rq)
                status, path = stored.dimse_status, stored.path
        except NetworkError:
            raise
        except DcmkitError as error:
            status = error.dimse_status
            comment = error.message
            tag = getattr(error, "offending_element", None)
            offending = None if tag is None else (tag,)
            log.error(
                "refused %s from %s with status 0x%04X: %s",
                "an object" if self._anonymous else rq.affected_sop_instance_uid,
                self._source(association),
                status,
                error if self._hints else error.message,
            )
        if self._on_object is not None:
            self._on_object(Received(association, rq, status, comment or "", path))
        association.send(
            context_id,
            C_STORE_RSP(
                message_id_being_responded_to=rq.message_id,
                affected_sop_class_uid=rq.affected_sop_class_uid,
                affected_sop_instance_uid=rq.affected_sop_instance_uid,
                status=status,
                error_comment=comment,
                offending_element=offending,
            ),
        )

    def _source(self, association: Association) -> str:
        rq = association.rq
        return rq.called_ae_title if self._requestor else rq.calling_ae_title

    def _receive(self, archive: Destination, association: Association, context_id: int, rq: C_STORE_RQ) -> Stored:
        """Take the data set into the archive.

        Whatever goes wrong, the data set is read to its end, so that the association can go on.
        """
        if not rq.has_data_set:
            raise InvalidDataSetError("a C-STORE-RQ without a data set")
        transfer_syntax = association.contexts.by_id(context_id)[1]
        failure: DcmkitError | None = None
        incoming = None
        fragments = association.fragments()
        try:
            incoming = archive.incoming(
                rq.affected_sop_class_uid,
                rq.affected_sop_instance_uid,
                transfer_syntax,
                self._source(association),
            )
            incoming.begin()
            for view in fragments:
                incoming.write(view)
        except NetworkError:
            if incoming is not None:
                incoming.abandon()
            raise
        except DcmkitError as error:
            failure = error
        except BaseException:
            if incoming is not None:
                incoming.abandon()
            raise
        if failure is not None:
            if incoming is not None:
                incoming.abandon()
            for _ in fragments:
                pass
            raise failure
        assert incoming is not None
        stored = incoming.commit()
        told: str = getattr(incoming, "told", rq.affected_sop_instance_uid)
        if log.enabled_for(INFO):
            log.info("%s %s from %s", stored.outcome, told, self._source(association))
        if stored.message:
            log.warning("%s: %s", told, stored.message)
        return stored
