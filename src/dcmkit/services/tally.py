"""What was asked for, promised and has arrived, compared: the outcome of a retrieve is not what the peer says it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dcmkit.protocol.status import CANCEL, FAILURE, WARNING, category, describe
from dcmkit.services.models import IMAGE
from dcmkit.services.retrieve_plan import NUMBER_OF_RELATED_INSTANCES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dcmkit.services.retrieve_plan import Request
    from dcmkit.services.retrieve_scu import Answer, Arrivals

SHOWN = 20
"""UIDs named in one sentence."""


class Tally(NamedTuple):
    """The outcome of one C-MOVE or C-GET (or of the several it takes for many SOP classes).

    Attributes:
        status: of the final response; success where later associations brought what the first could not.
        comment: the peer's Error Comment.
        total: sub-operations there were, as the peer counts; None where it does not.
        promised: those it calls completed, with or without a warning; None where it does not.
        warnings, failed, remaining: as it counts.
        operations: objects stored here; None where they go somewhere else.
        failed_uids: the SOP Instances it could not send, and those we refused.
        missing_uids: those asked for by name that neither came nor failed.
        unasked_uids: those that came although others were asked for by name.
        cancelled: whether we asked it to stop.
    """

    status: int = 0
    comment: str = ""
    total: int | None = None
    promised: int | None = None
    warnings: int = 0
    failed: int = 0
    remaining: int = 0
    operations: int | None = None
    failed_uids: tuple[str, ...] = ()
    missing_uids: tuple[str, ...] = ()
    unasked_uids: tuple[str, ...] = ()
    cancelled: bool = False

    @property
    def nothing(self) -> bool:
        """Whether the peer had nothing of it."""
        return not (self.operations or self.total or self.failed) and category(self.status) not in (FAILURE, CANCEL)


def tally(request: Request, answers: Sequence[Answer], arrivals: Arrivals | None) -> Tally:
    """Compare.

    Args:
        request: what was asked for.
        answers: one; or those to the same request on associations for different SOP classes.
        arrivals: what came for it; None where objects go somewhere else.
    """
    first, last = answers[0], answers[-1]
    known = first.counts.known
    total, promised = first.counts.total, sum(answer.counts.sent for answer in answers)
    status, failed = last.status, last.counts.failed or 0
    failed_uids = dict.fromkeys(uid for answer in answers for uid in answer.failed_uids)
    missing: list[str] = []
    unasked: list[str] = []
    if arrivals is not None:
        failed_uids.update(dict.fromkeys(arrivals.refused))
        failed_uids = {uid: None for uid in failed_uids if uid not in arrivals.stored}
        if len(answers) > 1:
            failed = max(0, total - len(arrivals.stored))
            status = last.status if failed or category(status) == FAILURE else 0
        if request.level == IMAGE:
            asked = request.uids()
            missing = [uid for uid in asked if uid not in arrivals.stored and uid not in failed_uids]
            unasked = [uid for uid in arrivals.stored if uid not in asked]
    return Tally(
        status,
        last.comment,
        total if known else None,
        promised if known else None,
        sum(answer.counts.warning or 0 for answer in answers),
        failed,
        last.counts.remaining or 0,
        None if arrivals is None else arrivals.operations,
        tuple(failed_uids),
        tuple(missing),
        tuple(unasked),
        last.cancelled,
    )


def merged(tallies: Sequence[Tally]) -> Tally:
    """The outcome of a request that was made in parts."""
    if len(tallies) == 1:
        return tallies[0]
    worst = next((found for found in tallies if category(found.status) == FAILURE), None)
    worst = worst or next((found for found in tallies if found.status), tallies[0] if tallies else Tally(total=0))
    return worst._replace(
        total=_sum(found.total for found in tallies),
        promised=_sum(found.promised for found in tallies),
        warnings=sum(found.warnings for found in tallies),
        failed=sum(found.failed for found in tallies),
        remaining=sum(found.remaining for found in tallies),
        operations=_sum(found.operations for found in tallies),
        failed_uids=tuple(uid for found in tallies for uid in found.failed_uids),
        missing_uids=tuple(uid for found in tallies for uid in found.missing_uids),
        unasked_uids=tuple(uid for found in tallies for uid in found.unasked_uids),
    )


def _sum(numbers: Iterable[int | None]) -> int | None:
    known = list(numbers)
    return None if None in known else sum(number or 0 for number in known)


def problems(found: Tally, request: Request, service: str) -> list[str]:
    """What is wrong, a sentence for each; nothing where all that was asked for is there.

    Args:
        found: the outcome.
        request: what was asked for.
        service: "get" or "move".
    """
    kind = category(found.status)
    sentences = []
    comment = f": {found.comment}" if found.comment else ""
    if kind == FAILURE or (kind == CANCEL and not found.cancelled):
        sentences.append(f"the peer answered: {describe(found.status, service)}{comment}")
    if found.failed:
        of = f" of {found.total}" if found.total is not None else ""
        sentences.append(f"{found.failed}{of} sub-operations failed{'' if sentences else comment}")
    elif kind == WARNING and not found.warnings:
        sentences.append(f"the peer answered: {describe(found.status, service)}{comment}")
    if found.remaining and not found.cancelled and kind != CANCEL:
        sentences.append(f"the peer ended with {found.remaining} sub-operations remaining")
    if found.operations is not None:
        sentences += _differences(found, request)
    if found.missing_uids and not found.nothing and kind != FAILURE and not found.cancelled:
        sentences.append(f"asked for, not sent and not failed: {named(found.missing_uids)}")
    if found.failed_uids:
        sentences.append(f"failed: {named(found.failed_uids)}")
    if found.nothing and request.named and not found.cancelled:
        sentences.append("the peer has nothing that matches")
    return sentences


def _differences(found: Tally, request: Request) -> list[str]:
    operations = found.operations or 0
    if found.promised is not None and operations != found.promised:
        if operations:
            return [f"the peer says that it has sent {found.promised} objects, and {operations} arrived"]
        return [f"the peer says that it has sent {found.promised} objects, and nothing arrived"]
    whole = request.level in NUMBER_OF_RELATED_INSTANCES or request.level == IMAGE
    if found.promised is None and whole and not found.failed and operations < request.expected and not found.cancelled:
        return [f"the peer has {request.expected} objects by its own account, and {operations} arrived"]
    return []


def named(uids: Sequence[str]) -> str:
    """UIDs for a sentence, not too many."""
    more = f" and {len(uids) - SHOWN} more" if len(uids) > SHOWN else ""
    return ", ".join(uids[:SHOWN]) + more
