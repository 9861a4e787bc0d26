"""C-GET as SCU (PS3.4 C.4.3): the objects come on the association that asks for them, so their presentation contexts
are proposed before anything is known but what the peer told when asked.

Each SOP class is proposed in as many contexts as there is room for, most with one transfer syntax alone: an acceptor
picks one syntax per context, and can send unchanged what it has in any of them. The requestor takes the SCP role
(PS3.7 D.3.3.4); a peer that says nothing about roles is taken at its C-STOREs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dcmkit.errors import NoPresentationContextError, UsageError
from dcmkit.logs import get_logger
from dcmkit.net.association import Association
from dcmkit.protocol.message import C_STORE_RQ
from dcmkit.protocol.negotiation import MAXIMUM_CONTEXTS
from dcmkit.protocol.pdu import PresentationContextRQ
from dcmkit.protocol.user_information import Role
from dcmkit.services.association_request import association_request
from dcmkit.services.retrieve_plan import all_sop_classes
from dcmkit.services.retrieve_scu import Answer, Arrivals, OwnAssociation, ask
from dcmkit.services.storage import StorageSCP
from dcmkit.services.tally import Tally, tally
from dcmkit.uids import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    EXPLICIT_VR_BIG_ENDIAN,
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    STORAGE_SOP_CLASSES,
    TRANSFER_SYNTAXES,
    is_uid,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dcmkit.protocol.user_information import UserIdentity
    from dcmkit.services.models import Model
    from dcmkit.services.retrieve_plan import Request
    from dcmkit.services.retrieve_scu import Counts
    from dcmkit.services.storage import Destination, Received
    from dcmkit.settings import RequestorSettings

log = get_logger("retrieve")

IDENTIFIER_SYNTAXES = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN)

_JPEG = "1.2.840.10008.1.2.4."
_COMMON_COMPRESSED = (
    *(_JPEG + number for number in ("70", "90", "80", "50", "91", "51", "81", "57")),
    "1.2.840.10008.1.2.5",
    *(_JPEG + number for number in ("201", "202", "203", "102", "103", "100", "101", "107", "110", "112", "111")),
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
)
_NEVER_STORED = frozenset(
    (
        *(_JPEG + number for number in ("94", "95", "204", "205")),
        *("1.2.840.10008.1.2." + number for number in ("6.1", "6.2", "7.1", "7.2", "7.3")),
        "1.2.840.10008.1.20",
    )
)
"""Pixels that are somewhere else, live video, and encodings of other things."""

UNCOMPRESSED = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_BIG_ENDIAN)
COMPRESSED = tuple(
    syntax
    for syntax in dict.fromkeys((*_COMMON_COMPRESSED, *TRANSFER_SYNTAXES))
    if syntax not in _NEVER_STORED and syntax not in UNCOMPRESSED
)
"""What an archive may have, the common ones first."""
_COMMON = 9
"""How many of them are common indeed."""

_IMAGES = "1.2.840.10008.5.1.4.1.1."
COMMON_SOP_CLASSES = tuple(
    _IMAGES + number
    for number in (
        "2", "4", "7", "1", "1.1", "6.1", "3.1", "2.1", "4.1", "128", "20", "12.1", "12.2", "1.2", "1.1.1", "1.2.1",
        "88.11", "88.22", "88.33", "88.67", "88.59", "11.1", "104.1", "66.4", "481.1", "481.2", "481.3", "481.5",
        "481.4", "481.8", "7.2", "7.3", "7.4", "7.1", "12.1.1", "12.2.1", "77.1.1", "77.1.2", "77.1.4", "77.1.6",
        "77.1.5.1", "77.1.5.2", "77.1.5.4", "9.1.1", "9.1.2", "13.1.3", "66", "66.1", "66.2", "67", "30", "130",
        "11.2", "4.2", "77.1.1.1", "77.1.4.1", "6.2", "88.34", "88.50", "104.2",
    )
)  # fmt: skip
"""What is proposed first where the peer does not tell what it has."""

OBJECT_CONTEXTS = MAXIMUM_CONTEXTS - 2
"""Contexts for objects; one is the C-GET's, one the C-FIND's."""
_ALL_ALONE = len(COMPRESSED) + 3
"""Contexts in which one SOP class has every transfer syntax alone."""
_MANY = OBJECT_CONTEXTS // 2
"""SOP classes that fit into one association with two contexts each."""


class Proposal(NamedTuple):
    """The SOP classes of one association.

    Attributes:
        known: those that will come; proposed in every transfer syntax there is room for.
        others: those that may come; proposed uncompressed, and compressed in whatever the peer picks.
    """

    known: tuple[str, ...]
    others: tuple[str, ...] = ()

    @property
    def sop_classes(self) -> tuple[str, ...]:
        """All of them."""
        return self.known + self.others


def storage_contexts(
    proposal: Proposal, room: int, prefer: Sequence[str] = (), *, only_preferred: bool = False
) -> list[tuple[str, tuple[str, ...]]]:
    """Abstract and transfer syntaxes of the contexts to propose, at most `room`.

    Args:
        proposal: at most `room` SOP classes.
        room: contexts to have.
        prefer: transfer syntaxes to propose before the others.
        only_preferred: and no others.
    """
    known, others = proposal
    each_other = _sets(2 if 2 * len(others) <= room - 2 * len(known) else 1, prefer, only_preferred)
    left = room - len(others) * len(each_other)
    each_known = _sets(left // max(1, len(known)), prefer, only_preferred)
    wanted = [(sop_class, syntaxes) for sop_class in known for syntaxes in each_known]
    return wanted + [(sop_class, syntaxes) for sop_class in others for syntaxes in each_other]


def _sets(contexts: int, prefer: Sequence[str], only_preferred: bool) -> list[tuple[str, ...]]:
    """The transfer syntaxes of each of so many contexts of one SOP class."""
    if only_preferred:
        return [tuple(prefer)]
    if contexts <= 2:
        sets = [UNCOMPRESSED, COMPRESSED] if contexts == 2 else [(*UNCOMPRESSED, *COMPRESSED)]
    else:
        first = UNCOMPRESSED[:1]
        rest = (*COMPRESSED[:_COMMON], EXPLICIT_VR_BIG_ENDIAN, *COMPRESSED[_COMMON:])
        alone = [(syntax,) for syntax in rest[: contexts - 3]]
        left = rest[contexts - 3 :]
        sets = [first, (IMPLICIT_VR_LITTLE_ENDIAN,), *alone, *([left] if left else [])]
    for syntax in reversed(prefer):
        sets = [_moved_first(part, syntax) for part in sets]
        sets.sort(key=lambda part: syntax not in part)
    return sets


def _moved_first(syntaxes: tuple[str, ...], first: str) -> tuple[str, ...]:
    return (first, *(syntax for syntax in syntaxes if syntax != first)) if first in syntaxes else syntaxes


def proposals(request: Request) -> list[Proposal]:
    """What to propose in the first association, then in each further one, if objects are left."""
    known = tuple(sorted(uid for uid in request.sop_classes if is_uid(uid)))
    if request.all_classes and known:
        return [Proposal(part) for part in _split(known, _MANY)]
    others = [uid for uid in dict.fromkeys((*COMMON_SOP_CLASSES, *STORAGE_SOP_CLASSES)) if uid not in known]
    if not known:
        return [Proposal((), part) for part in _split(others, _MANY)]
    for_known = max(2, min(_ALL_ALONE, OBJECT_CONTEXTS // len(known) * 2 // 3))
    first = max(0, (OBJECT_CONTEXTS - len(known) * for_known) // 2)
    head = [Proposal(known[:_MANY], tuple(others[:first]) if len(known) <= _MANY else ())]
    rest = (*known[_MANY:], *others[len(head[0].others) :])
    return head + [Proposal((), part) for part in _split(rest, _MANY)]


def _split(sop_classes: Sequence[str], size: int) -> list[tuple[str, ...]]:
    return [tuple(sop_classes[start : start + size]) for start in range(0, len(sop_classes), size)]


class GetSCU(OwnAssociation):
    """Retrieves by C-GET, one request after the other; its association is used as long as it suits.

    Args:
        host, port: the peer.
        settings: AE titles, limits, time-outs.
        model: the information model.
        destination: where objects go; None forgets them.
        user_identity: sent with every association request.
        prefer, only_preferred: transfer syntaxes, see `storage_contexts`.
        identifier_syntaxes: what to propose for the C-GET itself.
        cancel_after: send a C-CANCEL-RQ after so many pending responses (0: never).
    """

    service = "get"

    def __init__(
        self,
        host: str,
        port: int,
        settings: RequestorSettings,
        model: Model,
        destination: Destination | None,
        *,
        user_identity: UserIdentity | None = None,
        prefer: Sequence[str] = (),
        only_preferred: bool = False,
        identifier_syntaxes: Sequence[str] = IDENTIFIER_SYNTAXES,
        cancel_after: int = 0,
    ) -> None:
        self.model = model
        self._peer = host, port
        self._settings = settings
        self._user_identity = user_identity
        self._prefer, self._only_preferred = prefer, only_preferred
        self._identifier_syntaxes = tuple(identifier_syntaxes)
        self._cancel_after = cancel_after
        self._arrivals: Arrivals | None = None
        self._storage = StorageSCP(destination, requestor=True, on_object=self._take)
        super().__init__()
        self._proposal = Proposal(())

    def association(self, proposal: Proposal | None = None) -> Association:
        """An association with these SOP classes; without any, one that can ask a C-FIND. Raises: NetworkError."""
        if self._association is not None:
            if proposal is None or proposal == self._proposal:
                return self._association
            self.close()
        proposal = proposal or Proposal(())
        model = self.model
        wanted: list[tuple[str, tuple[str, ...]]] = [
            (uid, self._identifier_syntaxes) for uid in (model.get, model.find) if uid
        ]
        room = MAXIMUM_CONTEXTS - len(wanted)
        wanted += storage_contexts(proposal, room, self._prefer, only_preferred=self._only_preferred)
        contexts = [PresentationContextRQ(2 * number + 1, *pair) for number, pair in enumerate(wanted)]
        roles = [Role(uid, scu=False, scp=True) for uid in proposal.sop_classes]
        rq = association_request(self._settings, contexts, self._user_identity, roles)
        self._association = Association.request(*self._peer, rq, self._settings)
        self._proposal = proposal
        return self._association

    def fetch(self, request: Request, arrivals: Arrivals, on_pending: Callable[[Counts], None] | None = None) -> Tally:
        """One request; with several groups of SOP classes, as many associations as it takes.

        Args:
            request: what to ask for.
            arrivals: new; takes what comes.
            on_pending: called with the counts of each pending response.

        Raises:
            NetworkError: the association is over, or could not be had; what came before is in `arrivals`.
            NoPresentationContextError: the peer does not take the information model.
        """
        answers: list[Answer] = []
        planned = proposals(request)
        while planned:
            proposal = planned.pop(0)
            if answers:
                log.info("%s: objects are left; asking again with other SOP classes", request.name)
            answer = self._ask(request, proposal, arrivals, on_pending)
            answers.append(answer)
            left = answers[0].counts.total - len(arrivals.stored)
            if not answer.counts.failed or answer.cancelled or left <= 0:
                break
            if len(answers) == 1 and planned:
                told = all_sop_classes(self.association(), self.model, request)
                unproposed = tuple(uid for uid in told if uid not in proposal.sop_classes)
                if unproposed:
                    planned = proposals(request._replace(sop_classes=unproposed, all_classes=True))
                elif told:  # it is not for want of a SOP class
                    break
        return tally(request, answers, arrivals)

    def _ask(
        self,
        request: Request,
        proposal: Proposal,
        arrivals: Arrivals,
        on_pending: Callable[[Counts], None] | None,
    ) -> Answer:
        association = self.association(proposal)
        self._arrivals = arrivals
        try:
            return ask(
                association,
                self.model.get,
                request.identifier,
                on_store=self._storage.handlers[C_STORE_RQ],
                on_pending=on_pending,
                cancel_after=self._cancel_after,
                patience=self._settings.dimse_timeout,
            )
        except (NoPresentationContextError, UsageError):
            self.close()
            raise
        except BaseException:
            self.drop()
            raise
        finally:
            self._arrivals = None

    def _take(self, received: Received) -> None:
        assert self._arrivals is not None
        self._arrivals.take(received)
