"""Many retrieves by WADO-RS: side by side, checked against what a search promises, each instance by itself where a
study or series breaks off, and taken up again where a journal or the files themselves say what is there.
"""

from __future__ import annotations

import threading
from collections import deque
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple, Protocol

from dcmkit.dataset.elements import DataSet, element, text
from dcmkit.errors import (
    ConnectError,
    ConnectionLostError,
    DcmkitError,
    InputError,
    NetworkError,
    OutputError,
    UsageError,
)
from dcmkit.logs import get_logger
from dcmkit.services.models import IMAGE, QUERY_RETRIEVE_LEVEL, SERIES, STUDY, UNIQUE_KEYS
from dcmkit.services.retrieve_jobs import Result
from dcmkit.services.retrieve_plan import Request
from dcmkit.services.tally import Tally, named
from dcmkit.uids import is_uid
from dcmkit.web.http_response import HttpStatusError
from dcmkit.web.qido_client import QidoClient, Query
from dcmkit.web.wado_targets import Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from dcmkit.services.journal import Journal
    from dcmkit.services.retrieve_jobs import Observer
    from dcmkit.services.retrieve_scu import Arrival
    from dcmkit.web.repeating import Asker

log = get_logger("web")

_JOIN = 10.0
"""Seconds the other threads get to end after an interrupt."""
_STRIKES = 3
"""Lost requests one after the other, after which the server is given up."""
_UNWANTED = frozenset({401, 403, 407})
_FAILURE, _WARNING = 0xA702, 0xB000


class Plan(NamedTuple):
    """What one thread retrieves with.

    Attributes:
        asker: whose client is this thread's.
        finder: searches over it.
        fetch: gets all of a target, telling each object (or file); what the server says of it in words, "" for nothing.
            Raises: NetworkError, OutputError.
    """

    asker: Asker
    finder: QidoClient
    fetch: Callable[[Target, Callable[[Arrival], None]], str]


class Present(Protocol):
    """Knows what is here."""

    def has(self, uid: str) -> bool:
        """Whether an instance was retrieved before."""


class Kind(NamedTuple):
    """What is retrieved, as far as it matters how.

    Attributes:
        name: tells it from others in a journal.
        whole: whether all of a study or series can be asked for at once; else each instance is.
        checked: whether what comes are instances, which a search can promise.
    """

    name: str = "objects"
    whole: bool = True
    checked: bool = True


OBJECTS = Kind()


class Retrieval:
    """Retrieves many targets.

    Args:
        make: makes what one thread retrieves with.
        observer: is told.
        kind: what is retrieved.
        jobs: threads.
        journal: what has been done before, and is being done.
        present: knows what else is here.
        server: the service's URL, which the journal's entries are for.
    """

    def __init__(
        self,
        make: Callable[[], Plan],
        observer: Observer,
        *,
        kind: Kind = OBJECTS,
        jobs: int = 1,
        journal: Journal | None = None,
        present: Present | None = None,
        server: str = "",
    ) -> None:
        self._make, self._observer, self._kind = make, observer, kind
        self._jobs, self._journal, self._present, self._server = jobs, journal, present, server
        self._lock = threading.RLock()
        self._stop = threading.Event()
        self._queue: deque[Request] = deque()
        self._plans: list[Plan] = []
        self._fatal: DcmkitError | None = None
        self._broken: BaseException | None = None

    @property
    def stopped(self) -> bool:
        """Whether it is to end."""
        return self._stop.is_set()

    def run(self, requests: Iterable[Request]) -> None:
        """Make them all; each is told to the observer once.

        Raises:
            OutputError: the journal or a report cannot be written; what is left was not asked for.
            KeyboardInterrupt: what is complete is kept.
        """
        self._queue.extend(requests)
        jobs = min(self._jobs, len(self._queue))
        if jobs <= 1:
            self._work()
        else:
            self._side_by_side(jobs)
        if self._broken is not None:
            raise self._broken

    def _side_by_side(self, jobs: int) -> None:
        threads = [threading.Thread(target=self._guarded, name="retrieve", daemon=True) for _ in range(jobs)]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        except BaseException:
            self._stop.set()
            self._queue.clear()
            for plan in list(self._plans):
                plan.asker.client.interrupt()
            for thread in threads:
                thread.join(_JOIN)
            raise

    def _guarded(self) -> None:
        try:
            self._work()
        except BaseException as error:
            with self._lock:
                self._broken = self._broken or error
            self._stop.set()

    def _work(self) -> None:
        plan: Plan | None = None
        try:
            while self._broken is None and not self._stop.is_set():
                try:
                    request = self._queue.popleft()
                except IndexError:
                    break
                if plan is None:
                    plan = self._make()
                    self._plans.append(plan)
                result = self._one(plan, request)
                with self._lock:
                    self._observer.finished(result)
        finally:
            if plan is not None:
                plan.asker.client.close()

    # --- one request -------------------------------------------------------------------------------------------------

    def _one(self, plan: Plan, request: Request) -> Result:
        key = f"{self._server} {self._kind.name} {request.key}"
        if self._journal is not None and self._journal.is_done(key):
            return Result(request, skipped=True)
        if self._fatal is not None:
            return Result(request, error=self._fatal, problems=(self._fatal.message,))
        began = perf_counter()
        result = _One(self, plan, request, key).run()
        if result.complete and self._journal is not None:
            self._journal.finish(key)
        error = result.error
        refused = isinstance(error, HttpStatusError) and error.status in _UNWANTED
        if refused or isinstance(error, (ConnectError, OutputError)):
            self._fatal = error
        return result._replace(seconds=perf_counter() - began)

    def before(self, key: str) -> set[str]:
        """What of a request the journal has."""
        return self._journal.arrived(key) if self._journal is not None else set()

    def has(self, uid: str) -> bool:
        """Whether an instance is here."""
        return self._present is not None and self._present.has(uid)

    def told(self, request: Request, key: str, arrival: Arrival) -> None:
        """An object came. Raises: ConnectionLostError: and it was the last: all is to end."""
        try:
            if self._journal is not None and arrival.stored:
                self._journal.add(key, arrival.sop_instance_uid, arrival.path)
            with self._lock:
                self._observer.arrived(request, arrival)
        except BaseException as error:
            with self._lock:
                self._broken = self._broken or error
            raise
        if self._stop.is_set():
            raise ConnectionLostError("interrupted")

    @property
    def kind(self) -> Kind:
        """What is retrieved."""
        return self._kind


class _One:
    """One request, from what there is to what has come."""

    def __init__(self, retrieval: Retrieval, plan: Plan, request: Request, key: str) -> None:
        self._retrieval, self._plan, self._request, self._key = retrieval, plan, request, key
        self._target = target_of(request.identifier)
        self._stored: dict[str, Arrival] = {}
        self._refused: dict[str, Arrival] = {}
        self._operations = self._attempts = self._strikes = 0
        self._problems: list[str] = []
        self._error: DcmkitError | None = None

    def run(self) -> Result:
        kind = self._retrieval.kind
        try:
            promised = self._promised()
        except DcmkitError as error:
            return Result(self._request, error=error, problems=(str(error),))
        if promised is None:
            self._fetch(self._target)
            self._settle(self._error, ["all"])
            return self._result(None, set())
        journalled = self._retrieval.before(self._key)
        have = {uid for uid in promised if uid in journalled or self._retrieval.has(uid)}
        if kind.whole and not have:
            self._fetch(self._target)
        self._each(promised, have)
        return self._result(promised, have)

    def _promised(self) -> dict[str, Target] | None:
        """The instances there are; None where the server does not tell, or where it does not matter."""
        target, kind = self._target, self._retrieval.kind
        if target.instance:
            return {target.instance: target}
        if kind.whole and not kind.checked:
            return None
        query = Query(IMAGE, {UNIQUE_KEYS[IMAGE]: element(UNIQUE_KEYS[IMAGE]), UNIQUE_KEYS[SERIES]: element(
            UNIQUE_KEYS[SERIES])}, Target(target.study, target.series))  # fmt: skip
        found: dict[str, Target] = {}
        try:
            for answer in self._plan.finder.answers(query):
                uid = text(answer, UNIQUE_KEYS[IMAGE])
                series = target.series or text(answer, UNIQUE_KEYS[SERIES])
                if not (is_uid(uid) and is_uid(series)):
                    raise InputError("the server does not tell of which series its instances are")
                found[uid] = Target(target.study, series, uid)
        except (HttpStatusError, InputError) as error:
            if isinstance(error, HttpStatusError) and error.status in _UNWANTED:
                raise
            if not kind.whole:
                raise
            log.warning("%s: the server does not tell what is in it, which is not checked: %s", target, error.message)
            return None
        return found or None

    def _each(self, promised: dict[str, Target], have: set[str]) -> None:
        """What has not come, one by one."""
        missing = [uid for uid in promised if uid not in have and uid not in self._stored]
        failed = self._error
        if not missing or (failed is not None and not _may_be_of_one(failed)):
            self._settle(failed, missing)
            return
        if self._target.instance and self._attempts:
            self._settle(failed, missing)
            return
        if self._attempts:
            why = f": {failed.message}" if failed is not None else ""
            log.warning("%s: %d instances did not come%s; each is asked for by itself", self._target, len(missing), why)
        last: DcmkitError | None = None
        for uid in missing:
            if self._retrieval.stopped:
                break
            self._error = None
            self._fetch(promised[uid])
            last = self._error or last
            if self._error is not None and not _may_be_of_one(self._error):
                break
            if self._strikes >= _STRIKES:
                break
        self._settle(last, [uid for uid in missing if uid not in self._stored])

    def _settle(self, error: DcmkitError | None, missing: list[str]) -> None:
        """An error that took nothing away is none."""
        self._error = error if missing or isinstance(error, OutputError) else None
        if self._error is not None:
            self._problems.append(str(self._error))

    def _fetch(self, target: Target) -> None:
        """All of a target, again while that may help."""
        attempt = 0
        while True:
            self._attempts += 1
            before = len(self._stored)
            try:
                said = self._plan.fetch(target, self._take)
            except NetworkError as error:
                self._error = error
                may_help = target.instance or not self._stored
                if may_help and not isinstance(error, HttpStatusError) and self._plan.asker.wait(attempt, error):
                    attempt += 1
                    continue
                self._strikes += not isinstance(error, HttpStatusError) or not self._stored
            except DcmkitError as error:
                self._error = error
            else:
                self._error = None
                self._strikes = 0
                if said:
                    log.warning("%s: %s", target, said)
            if len(self._stored) > before:
                self._strikes = 0
            return

    def _take(self, arrival: Arrival) -> None:
        uid = arrival.sop_instance_uid
        if arrival.stored:
            self._operations += 1
            self._stored[uid] = arrival
            self._refused.pop(uid, None)
        elif uid not in self._stored:
            self._refused[uid] = arrival
        self._retrieval.told(self._request, self._key, arrival)

    # --- how it ended ------------------------------------------------------------------------------------------------

    def _result(self, promised: dict[str, Target] | None, have: set[str]) -> Result:
        stored, refused = self._stored, self._refused
        missing = [uid for uid in promised or () if uid not in have and uid not in stored]
        problems = list(dict.fromkeys(self._problems))
        if missing and promised is not None and (len(promised) > 1 or not problems):
            problems.append(f"{len(missing)} of {len(promised)} instances did not come: {named(missing)}")
        if not missing and promised is not None and refused.pop("", None) is not None:
            log.warning("%s: something came that is no object; all objects are there", self._target)
        for uid, arrival in refused.items():
            if len(problems) < _MOST_SENTENCES:
                problems.append(f"{uid or 'something'} could not be kept: {arrival.comment}")
        nothing = not stored and not have and not refused
        if nothing and not problems and self._request.named:
            problems.append("the server has nothing that matches")
        checked = self._retrieval.kind.checked
        extra = [uid for uid in stored if promised is not None and uid not in promised] if checked else []
        if extra:
            log.warning("%s: %d instances came that were not asked for", self._target, len(extra))
        failed = bool(problems) and not (nothing and self._error is None)
        tally = Tally(
            (_WARNING if stored or have else _FAILURE) if failed else 0,
            total=None if promised is None else len(promised),
            promised=None if promised is None else len(promised),
            warnings=sum(1 for arrival in stored.values() if arrival.status),
            failed=len(refused) + len(missing),
            operations=self._operations,
            failed_uids=tuple(uid for uid in refused if uid),
            missing_uids=tuple(missing),
            unasked_uids=tuple(extra),
        )
        no_tally = self._error is not None and not stored and not have
        return Result(
            self._request,
            None if no_tally else tally,
            self._error,
            tuple(problems),
            stored,
            refused,
            attempts=self._attempts,
            skipped=bool(have) and not self._attempts,
        )


_MOST_SENTENCES = 20


def _may_be_of_one(error: DcmkitError) -> bool:
    """Whether other instances may be had although one, or all together, could not."""
    if isinstance(error, HttpStatusError):
        return error.status not in _UNWANTED
    return isinstance(error, NetworkError) and not isinstance(error, ConnectError)


# --- requests ----------------------------------------------------------------------------------------------------


def target_of(identifier: DataSet) -> Target:
    """What a request names. Raises: UsageError: it names no study."""
    uids = [text(identifier, UNIQUE_KEYS[level]) for level in (STUDY, SERIES, IMAGE)]
    if not uids[0]:
        raise UsageError("a request without a Study Instance UID")
    return Target(*uids)


def request_of(target: Target, label: str, *, expected: int = 0, is_named: bool = True) -> Request:
    """A request for a target."""
    identifier = {QUERY_RETRIEVE_LEVEL: element(QUERY_RETRIEVE_LEVEL, target.level)}
    for level, uid in zip((STUDY, SERIES, IMAGE), target, strict=True):
        if uid:
            identifier[UNIQUE_KEYS[level]] = element(UNIQUE_KEYS[level], uid)
    return Request(label, identifier, expected=expected, named=is_named)


def found_requests(finder: QidoClient, query: Query, label: str, *, is_named: bool) -> Iterator[Request]:
    """Requests for what a search finds. Raises: NetworkError."""
    number = {STUDY: 0x00201208, SERIES: 0x00201209}.get(query.level)
    levels = {STUDY: (STUDY,), SERIES: (STUDY, SERIES)}.get(query.level, (STUDY, SERIES, IMAGE))
    for answer in finder.answers(query):
        above = query.within or Target("")
        given = dict(zip((STUDY, SERIES, IMAGE), above, strict=True))
        uids = [text(answer, UNIQUE_KEYS[level]) or given[level] or text(query.keys, UNIQUE_KEYS[level])
                for level in levels]  # fmt: skip
        if not all(map(is_uid, uids)):
            finder.faulty += 1
            log.warning("an answer of the server does not say which object it is of")
            continue
        count = text(answer, number) if number else ""
        expected = int(count) if count.isdecimal() and len(count) < 10 else 0
        yield request_of(Target(*uids), label, expected=expected, is_named=is_named)
