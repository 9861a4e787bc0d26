"""Many retrieves: several side by side, tried again where that can help, taken up again where a journal knows them.

What is tried again is only what has not arrived, as far as the peer tells what there is. A refusal that will be the
same the next time (an unknown move destination, an identifier the peer does not take) is not tried again, and where
it concerns all requests, the others are not made.
"""

from __future__ import annotations

import threading
from collections import deque
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple, Protocol

from dcmkit.errors import (
    AssociationRejectedError,
    ConnectError,
    DcmkitError,
    ExitCode,
    NetworkError,
    NoPresentationContextError,
    OutputError,
    UsageError,
)
from dcmkit.logs import get_logger
from dcmkit.protocol.status import FAILURE, MOVE_DESTINATION_UNKNOWN, category
from dcmkit.services.retrieve_plan import missing
from dcmkit.services.retrieve_scu import Arrival, Arrivals
from dcmkit.services.tally import Tally, merged, problems

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dcmkit.net.association import Association
    from dcmkit.services.journal import Journal
    from dcmkit.services.models import Model
    from dcmkit.services.retrieve_plan import Request
    from dcmkit.services.retrieve_scu import Counts

log = get_logger("retrieve")

_WORTH_ANOTHER_TRY = (0xA700, 0xA701, 0xA702, 0x0110, 0x0213)
"""Failures that pass: out of resources, processing failure, resource limitation; and C000H to CFFFH."""

_JOIN = 10.0
"""Seconds the other threads get to end after an interrupt."""


class RetrieveSCU(Protocol):
    """C-GET or C-MOVE: `get_scu.GetSCU`, `move_scu.MoveSCU`."""

    @property
    def service(self) -> str:
        """ "get" or "move"."""

    model: Model

    def association(self) -> Association:
        """One that can ask a C-FIND."""

    def fetch(self, request: Request, arrivals: Arrivals, on_pending: Callable[[Counts], None] | None = None) -> Tally:
        """One request."""

    def interrupt(self) -> None:
        """From another thread: end at the next message."""

    def drop(self) -> None:
        """Abort the association."""

    def close(self) -> None:
        """Release the association."""


class Result(NamedTuple):
    """What became of one request.

    Attributes:
        request: what was asked for.
        tally: the last outcome; None where there was none.
        error: what prevented an outcome.
        problems: what is wrong, in sentences; none where all of it is there.
        stored, refused: the objects that came, by SOP Instance UID, over all attempts.
        seconds: how long it took.
        attempts: how often it was asked for.
        skipped: the journal says that all of it is here.
    """

    request: Request
    tally: Tally | None = None
    error: DcmkitError | None = None
    problems: tuple[str, ...] = ()
    stored: dict[str, Arrival] = {}  # noqa: RUF012 - never changed
    refused: dict[str, Arrival] = {}  # noqa: RUF012
    seconds: float = 0.0
    attempts: int = 0
    skipped: bool = False

    @property
    def complete(self) -> bool:
        """Whether all that was asked for is there."""
        return not self.problems and self.error is None


class Observer(Protocol):
    """Is told what happens, from any thread but never from two at once."""

    def arrived(self, request: Request, arrival: Arrival) -> None:
        """An object came."""

    def pending(self, request: Request, counts: Counts) -> None:
        """The peer counts its sub-operations."""

    def finished(self, result: Result) -> None:
        """A request is over."""


class Retrieval:
    """Makes requests with SCUs of its own.

    Args:
        make: makes an SCU, one for each job.
        observer: who is told.
        jobs: requests at a time.
        retries: how often more a request is made that did not bring everything.
        retry_delay: seconds before that.
        journal: what has been done before, and is being done.
        abort: abort associations at the end instead of releasing them.
    """

    def __init__(
        self,
        make: Callable[[], RetrieveSCU],
        observer: Observer,
        *,
        jobs: int = 1,
        retries: int = 0,
        retry_delay: float = 5.0,
        journal: Journal | None = None,
        abort: bool = False,
    ) -> None:
        self._make = make
        self._observer = observer
        self._jobs = jobs
        self._retries = retries
        self._retry_delay = retry_delay
        self._journal = journal
        self._abort = abort
        self._lock = threading.RLock()
        self._stop = threading.Event()
        self._queue: deque[Request] = deque()
        self._scus: list[RetrieveSCU] = []
        self._fatal: DcmkitError | None = None
        self._broken: BaseException | None = None

    def run(self, requests: Iterable[Request]) -> None:
        """Make them all; each is told to the observer once.

        Raises:
            OutputError: the journal or a report cannot be written; what is left was not asked for.
            KeyboardInterrupt: after the associations have ended.
        """
        self._queue.extend(requests)
        jobs = min(self._jobs, len(self._queue))
        if jobs <= 1:
            self._work(self._new_scu())
        else:
            self._side_by_side(jobs)
        if self._broken is not None:
            raise self._broken

    def _new_scu(self) -> RetrieveSCU:
        scu = self._make()
        self._scus.append(scu)
        return scu

    def _side_by_side(self, jobs: int) -> None:
        scus = [self._new_scu() for _ in range(jobs)]
        threads = [threading.Thread(target=self._guarded, args=(scu,), name="retrieve", daemon=True) for scu in scus]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        except BaseException:
            self._stop.set()
            self._queue.clear()
            for scu in scus:
                scu.interrupt()
            for thread in threads:
                thread.join(_JOIN)
            raise

    def _guarded(self, scu: RetrieveSCU) -> None:
        try:
            self._work(scu)
        except BaseException as error:
            with self._lock:
                self._broken = self._broken or error
            self._stop.set()

    def _work(self, scu: RetrieveSCU) -> None:
        ended = False
        try:
            while self._broken is None and not self._stop.is_set():
                try:
                    request = self._queue.popleft()
                except IndexError:
                    break
                result = self._one(scu, request)
                with self._lock:
                    self._observer.finished(result)
            ended = True
        finally:
            if ended and not self._abort:
                scu.close()
            else:
                scu.drop()

    # --- one request ---

    def _one(self, scu: RetrieveSCU, request: Request) -> Result:
        journal, key = self._journal, request.key
        if journal is not None and journal.is_done(key):
            return Result(request, skipped=True)
        if self._fatal is not None:
            return Result(request, error=self._fatal, problems=(self._fatal.message,))
        have = journal.arrived(key) if journal is not None else set()
        arrivals = _Collected(lambda arrival: self._arrived(request, arrival))
        began = perf_counter()
        attempts = 0
        while True:
            attempts += 1
            result = self._attempt(scu, request, arrivals, have)
            again = attempts <= self._retries and _worth_another_try(result) and self._broken is None
            if result.complete or not again or self._stop.is_set():
                break
            log.warning("%s: %s; trying again", request.name, "; ".join(result.problems))
            have = have | arrivals.stored.keys()
            if self._stop.wait(self._retry_delay):
                break
        if result.complete and journal is not None:
            journal.finish(key)
        elif _concerns_all(result):
            self._fatal = result.error or _RefusedError(result.problems[0])
        return result._replace(
            stored=arrivals.stored,
            refused=arrivals.refused,
            seconds=perf_counter() - began,
            attempts=attempts,
        )

    def _attempt(self, scu: RetrieveSCU, request: Request, all_arrivals: _Collected, have: set[str]) -> Result:
        tallies: list[Tally] = []
        sentences: list[str] = []
        try:
            parts = missing(scu.association(), scu.model, request, have) if have else None
            for part in [request] if parts is None else parts:
                arrivals = all_arrivals.another()
                found = scu.fetch(part, arrivals, lambda counts: self._pending(request, counts))
                tallies.append(found)
                sentences += problems(found, part, scu.service)
                if found.unasked_uids:
                    log.warning("%s: %d objects came that were not asked for", request.name, len(found.unasked_uids))
        except NetworkError as error:
            if not isinstance(error, NoPresentationContextError):
                scu.drop()
            return Result(request, merged(tallies) if tallies else None, error, (str(error), *sentences))
        except (UsageError, OutputError) as error:
            return Result(request, None, error, (str(error),))
        return Result(request, merged(tallies), None, tuple(dict.fromkeys(sentences)))

    def _arrived(self, request: Request, arrival: Arrival) -> None:
        try:
            if self._journal is not None and arrival.stored:
                self._journal.add(request.key, arrival.sop_instance_uid, arrival.path)
            with self._lock:
                self._observer.arrived(request, arrival)
        except BaseException as error:
            with self._lock:
                self._broken = self._broken or error
            raise

    def _pending(self, request: Request, counts: Counts) -> None:
        with self._lock:
            self._observer.pending(request, counts)


class _Collected:
    """The arrivals of all attempts at one request."""

    def __init__(self, on_arrival: Callable[[Arrival], None]) -> None:
        self.stored: dict[str, Arrival] = {}
        self.refused: dict[str, Arrival] = {}
        self._on_arrival = on_arrival

    def another(self) -> Arrivals:
        """For one more attempt."""
        return Arrivals(self._take)

    def _take(self, arrival: Arrival) -> None:
        uid = arrival.sop_instance_uid
        if arrival.stored:
            self.stored[uid] = arrival
            self.refused.pop(uid, None)
        elif uid not in self.stored:
            self.refused[uid] = arrival
        self._on_arrival(arrival)


class _RefusedError(NetworkError):
    """A failure status that every other request would get as well."""

    exit_code = ExitCode.MOVE_ERROR


def _worth_another_try(result: Result) -> bool:
    error, found = result.error, result.tally
    if isinstance(error, AssociationRejectedError):
        return error.result == 2  # transient (PS3.8 9.3.4)
    if error is not None:
        return isinstance(error, NetworkError) and not isinstance(error, NoPresentationContextError)
    if found is not None and category(found.status) == FAILURE:
        return found.status in _WORTH_ANOTHER_TRY or found.status >> 12 == 0xC
    return found is not None and not found.nothing


def _concerns_all(result: Result) -> bool:
    """Whether the next request will fail in the same way."""
    if result.tally is not None and result.tally.status == MOVE_DESTINATION_UNKNOWN:
        return True
    rejected = isinstance(result.error, AssociationRejectedError)
    return rejected or isinstance(result.error, (ConnectError, NoPresentationContextError))
