"""What `AssociationProtocol.next_event` returns. A `None` instead of an event means: more bytes are needed."""

from __future__ import annotations

from typing import NamedTuple

from dcmkit.protocol.message import Message
from dcmkit.protocol.pdu import AssociateAC, AssociateRJ, AssociateRQ


class AssociateRequested(NamedTuple):
    """A-ASSOCIATE indication: the requestor's A-ASSOCIATE-RQ (PS3.8 7.1.1)."""

    rq: AssociateRQ


class AssociateAccepted(NamedTuple):
    """A-ASSOCIATE confirmation, accepted (PS3.8 7.1.1)."""

    ac: AssociateAC


class AssociateRejected(NamedTuple):
    """A-ASSOCIATE confirmation, rejected (PS3.8 7.1.1); the transport connection is to be closed."""

    rj: AssociateRJ


class MessageReceived(NamedTuple):
    """The command set of a message is complete.

    Where `message.has_data_set`, `DataSetFragment` events for the same context follow, up to one with `last`.
    """

    context_id: int
    message: Message


class DataSetFragment(NamedTuple):
    """A piece of the data set of the last `MessageReceived`.

    `view` is lent: it is valid until the next call of `lend`. A piece is as much of a PDV as has arrived, so the
    cuts say nothing about the data set.
    """

    view: memoryview
    last: bool


class ReleaseRequested(NamedTuple):
    """A-RELEASE indication (PS3.8 7.2); answer with `release_response`."""


class Released(NamedTuple):
    """A-RELEASE confirmation (PS3.8 7.2); the transport connection is to be closed."""


class Aborted(NamedTuple):
    """A-ABORT or A-P-ABORT indication (PS3.8 7.3, 7.4)."""

    source: int
    reason: int


class TransportClosed(NamedTuple):
    """The transport connection was closed where neither release nor abort was."""


Event = (
    AssociateRequested
    | AssociateAccepted
    | AssociateRejected
    | MessageReceived
    | DataSetFragment
    | ReleaseRequested
    | Released
    | Aborted
    | TransportClosed
)
