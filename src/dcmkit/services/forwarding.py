"""Passing on what is received: into the spool before Success, from there to each destination until it has it.

`Forwarding` is the door that objects come through; `Forwarder` the threads that deliver, one for each destination. Of
several processes on a directory one delivers to a destination: the one that holds its lock.
"""

from __future__ import annotations

import hashlib
import os
import random
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from dcmkit.archive.filing import IDENTICAL, KEPT
from dcmkit.archive.slot import lock
from dcmkit.errors import DcmkitError, NetworkError, OutputError
from dcmkit.logs import get_logger
from dcmkit.services import spool as states
from dcmkit.services.delivery import DELIVERED, FAILED, GONE, REFUSED, UNTRIED, Outcome, Transport
from dcmkit.services.spool import Entry, Failure, Spool

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dcmkit.archive.batch import Batch
    from dcmkit.archive.batch import Outcome as Settled
    from dcmkit.archive.filing import Stored
    from dcmkit.archive.layout import Layout
    from dcmkit.services.storage import Destination, IncomingObject

log = get_logger("services")

BATCH = 500
"""Objects read from the spool at a time, for one association."""
SHORTEST_DELAY = 1.0
_SETTLE_AFTER, _SETTLE_EVERY = 100, 0.5
"""Deliveries, and seconds, after which their outcomes are written down: what a kill forgets is delivered again."""
_POLL = 0.25
"""Seconds between looks into the spool: other processes write to it too."""
_CLEAR_AFTER, _CLEAR_EVERY = 100, 0.5
"""Objects, and seconds, after which files that have been delivered everywhere are removed together."""
_TELL_EVERY = 10.0
_LOOK_EVERY = 30.0
_GRACE = 10.0
"""Seconds an object on its way gets to arrive when the service stops; undelivered stays in the spool."""


class Target(NamedTuple):
    """Where objects are forwarded to.

    Attributes:
        name: as it was given; rows of the spool are kept under it.
    """

    name: str
    transport: Transport


class Policy(NamedTuple):
    """When to try again, and when to give up.

    Attributes:
        attempts: refusals after which an object becomes a dead letter.
        longest_delay: seconds between attempts at most.
    """

    attempts: int = 5
    longest_delay: float = 300.0

    def delay(self, failures: int) -> float:
        """Seconds to wait after so many failures: doubled each time, and never the same for all who wait."""
        longest = min(self.longest_delay, SHORTEST_DELAY * 2.0 ** min(failures - 1, 30))
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 - no secret


class Forwarding:
    """The door of a `Destination`, behind which whatever is stored is also put into the spool."""

    def __init__(self, inner: Destination, forwarder: Forwarder) -> None:
        self._inner, self._forwarder = inner, forwarder

    @property
    def layout(self) -> Layout:
        """Of the destination."""
        return self._inner.layout

    def incoming(
        self, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, source_ae_title: str = ""
    ) -> IncomingObject:
        """An object that is about to come."""
        inner = self._inner.incoming(sop_class_uid, sop_instance_uid, transfer_syntax_uid, source_ae_title)
        return _Forwarded(inner, sop_instance_uid, self._forwarder)

    def batch(self) -> _ForwardedBatch | None:
        """Where several objects wait to be stored together; None where the destination has no such place."""
        batch = getattr(self._inner, "batch", None)
        return _ForwardedBatch(batch(), self._forwarder) if batch is not None else None


class _ForwardedBatch:
    """Objects that are stored together, and then passed on, see `archive.batch.Batch`."""

    def __init__(self, inner: Batch, forwarder: Forwarder) -> None:
        self._inner, self._forwarder = inner, forwarder
        self._uids: list[str] = []

    def add(self, incoming: _Forwarded) -> None:
        """Take an object of this door that is complete."""
        self._inner.add(incoming.inner)  # type: ignore[arg-type]
        self._uids.append(incoming.uid)

    def settle(self) -> list[Settled]:
        """Store them and put them into the spool; how that went for each."""
        uids, self._uids = self._uids, []
        outcomes = self._inner.settle()
        for number, (uid, stored) in enumerate(zip(uids, outcomes, strict=True)):
            if not isinstance(stored, DcmkitError):
                try:
                    self._forwarder.add(stored, uid)
                except DcmkitError as error:
                    outcomes[number] = error
        return outcomes


class _Forwarded:
    """An object being received, that is to be passed on."""

    __slots__ = ("_forwarder", "abandon", "begin", "complete", "inner", "uid", "write")

    def __init__(self, inner: IncomingObject, uid: str, forwarder: Forwarder) -> None:
        self.inner, self.uid, self._forwarder = inner, uid, forwarder
        self.begin, self.write, self.abandon = inner.begin, inner.write, inner.abandon
        self.complete = getattr(inner, "complete", None)

    def commit(self) -> Stored:
        """The object is complete: stored, then in the spool. Raises: as the inner one, and OutputError."""
        stored = self.inner.commit()
        self._forwarder.add(stored, self.uid)
        return stored


class Forwarder:
    """Delivers what is in a spool.

    Args:
        spool: of the directory objects are stored in.
        targets: who gets every object.
        remove: removes files, by their paths in the directory, that were delivered to all; None keeps them.
    """

    def __init__(
        self,
        spool: Spool,
        targets: Sequence[Target],
        policy: Policy | None = None,
        remove: Callable[[list[str]], None] | None = None,
    ) -> None:
        self.spool, self.targets = spool, targets
        self.policy = policy or Policy()
        self.remove = remove
        self._names = tuple(target.name for target in targets)
        self._couriers: list[Courier] = []

    def open(self) -> Forwarder:
        """Make the spool ready. Raises: OutputError."""
        self.spool.open()
        if self.remove is None:
            self.spool.forget(state=states.DELIVERED)  # from when files were still removed
        for name, hold in self.spool.destinations().items():
            if name not in self._names:
                left = sum(number for _, state, number, _ in self.spool.counts(name) if state != states.DELIVERED)
                if left:
                    log.warning("%d objects wait for %s, to which nothing is forwarded now", left, name)
            elif hold.failures:
                self.spool.hold(name, 0, 0.0, hold.reason)  # a new start, a new try
        self.spool.close()
        return self

    def start(self) -> None:
        """Begin to deliver, in threads of this process."""
        self._couriers = [Courier(self, target) for target in self.targets]
        for courier in self._couriers:
            courier.start()

    def after_fork(self) -> None:
        """In a new process, before it uses the spool."""
        self.spool.after_fork()
        self._couriers = []

    def add(self, stored: Stored, sop_instance_uid: str) -> None:
        """An object has been stored: from now on it is delivered, whatever happens. Raises: OutputError."""
        own = stored.outcome not in (IDENTICAL, KEPT)  # what was there before us is not ours to remove
        self.spool.add(self._names, stored.path, sop_instance_uid, removable=own and self.remove is not None)
        for courier in self._couriers:
            courier.wake()

    def close(self) -> None:
        """Stop delivering; an object on its way is finished if that does not take long."""
        couriers, self._couriers = self._couriers, []
        for courier in couriers:
            courier.stop()
        deadline = time.monotonic() + _GRACE
        in_order = [courier.join(max(0.0, deadline - time.monotonic())) for courier in couriers]
        if all(in_order):
            self.spool.close()
        else:
            log.warning("an object was still on its way to a destination: it will be sent again")


class Courier:
    """Delivers to one destination, as long as no other process does."""

    def __init__(self, forwarder: Forwarder, target: Target) -> None:
        self._forwarder, self._spool, self._policy = forwarder, forwarder.spool, forwarder.policy
        self._target, self._name = target, target.name
        self._news = threading.Event()
        self._stopping = threading.Event()
        self._lock_fd = -1
        self._delivered = self._untold = self._errors = 0
        self._told = self._looked = self._cleared = float("-inf")
        self._removable: list[str] = []
        self._thread = threading.Thread(target=self._run, name=f"forward {target.name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def wake(self) -> None:
        """There is something to deliver."""
        self._news.set()

    def stop(self) -> None:
        """End soon."""
        self._stopping.set()
        self._news.set()

    def join(self, timeout: float) -> bool:
        """Wait for the end; whether it came."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    # --- the thread ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                if not self._turn() and not self._stopping.is_set():
                    self._news.wait(_POLL)
                    self._news.clear()
            if self._lock_fd >= 0:
                self._clear(0.0)
                self._tell()
        except DcmkitError as error:
            log.error("forwarding to %s: %s", self._name, error)
        finally:
            if self._lock_fd >= 0:
                os.close(self._lock_fd)

    def _turn(self) -> bool:
        """Deliver, if it is for this process; whether there may be more at once."""
        try:
            busy = self._locked() and self._round()
        except DcmkitError as error:  # the disk is full, perhaps: what was delivered will be delivered once more
            log.error("forwarding to %s: %s", self._name, error)
        except Exception as error:
            log.error("forwarding to %s met a defect in dcmkit: %r", self._name, error, exc_info=True)
        else:
            self._errors = 0
            return busy
        self._errors += 1
        self._stopping.wait(self._policy.delay(self._errors))
        return False

    def _locked(self) -> bool:
        """Whether this process is the one that delivers to this destination."""
        if self._lock_fd >= 0:
            return True
        digest = hashlib.sha256(self._name.encode("utf-8", "surrogateescape")).hexdigest()[:12]
        path = os.path.join(os.path.dirname(self._spool.path), f"forward-{digest}.lock")
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
        except OSError as error:
            raise OutputError(f"the lock cannot be opened: {error.strerror}", hint=path) from None
        if lock(fd):
            self._lock_fd = fd
            return True
        os.close(fd)
        return False

    def _round(self) -> bool:
        """Deliver what is due; whether there may be more at once."""
        hold = self._spool.held(self._name)
        now = time.time()
        if now < hold.next_attempt <= now + 2 * self._policy.longest_delay:
            return False
        entries = self._spool.due(self._name, BATCH)
        if not entries:
            self._look_around()
            return False
        round_ = _Round(self._forwarder, self._name, entries)
        reason = told = ""
        try:
            self._target.transport.deliver(round_.paths, round_.report, self._stopping.is_set)
        except NetworkError as error:
            reason, told = str(error), error.message
        except Exception as error:
            if not isinstance(error, DcmkitError):  # an object that we fail at does not stop the others
                round_.blame(error)
            raise
        finally:
            round_.settle()
        self._removable += round_.removable
        self._clear(_CLEAR_EVERY)
        self._delivered += round_.delivered
        self._untold += round_.delivered
        reason, told = reason or round_.unreachable, told or round_.unreachable_told
        if reason and not round_.delivered:
            failures = hold.failures + 1
            delay = self._policy.delay(failures)
            self._spool.hold(self._name, failures, time.time() + delay, reason)
            log.warning("%s is not reached: %s; next attempt in %.0f s", self._name, told, delay)
            self._tell()
            return False
        if hold.failures:
            self._spool.hold(self._name, 0, 0.0, "")
            log.warning("%s is reached again", self._name)
        if time.monotonic() > self._told + _TELL_EVERY:
            self._tell()
        return True

    def _look_around(self) -> None:
        """Nothing is to be done: say what was done; see to what an interrupted run or a changed clock has left."""
        self._clear(_CLEAR_EVERY)
        if self._untold:
            self._tell()
        if time.monotonic() > self._looked + _LOOK_EVERY:
            self._looked = time.monotonic()
            self._spool.hurry(self._name, self._policy.longest_delay)
            remove = self._forwarder.remove
            while remove is not None and self._spool.clear(remove):
                pass

    def _clear(self, every: float) -> None:
        """Remove the files of what has been delivered everywhere, if that has waited long enough."""
        remove, now = self._forwarder.remove, time.monotonic()
        if not self._removable or (len(self._removable) < _CLEAR_AFTER and now < self._cleared + every):
            return
        paths, self._removable, self._cleared = self._removable, [], now
        try:
            for at in range(0, len(paths) if remove is not None else 0, _CLEAR_AFTER):
                assert remove is not None
                self._spool.clear(remove, paths[at : at + _CLEAR_AFTER])
        except DcmkitError as error:  # tried again when there is nothing to deliver
            log.error("what has been delivered cannot be removed: %s", error.message)

    def _tell(self) -> None:
        """The figures."""
        numbers: dict[str, int] = {}
        for _, state, number, _ in self._spool.counts(self._name):
            numbers[state] = numbers.get(state, 0) + number
        log.info(
            "forwarding to %s: %d delivered, %d waiting, %d failing, %d dead letters",
            self._name,
            self._delivered,
            numbers.get(states.WAITING, 0),
            numbers.get(states.FAILING, 0),
            numbers.get(states.DEAD, 0),
        )
        self._told, self._untold = time.monotonic(), 0


class _Round:
    """The deliveries of one batch, written down now and then.

    Attributes:
        paths: the files, absolute.
        delivered: how many are there.
        removable: the paths of those that are to be removed once all have them.
        unreachable, unreachable_told: why the destination could not be reached any more, and the same for the log.
    """

    def __init__(self, forwarder: Forwarder, name: str, entries: Sequence[Entry]) -> None:
        self._forwarder, self._spool, self._policy = forwarder, forwarder.spool, forwarder.policy
        self._name = name
        self._entries = {forwarder.spool.absolute(entry.path): entry for entry in entries}
        self._done: list[Entry] = []
        self._failed: list[Failure] = []
        self._settled = time.monotonic()
        self._told: set[str] = set()
        self.paths = list(self._entries)
        self.delivered = 0
        self.removable: list[str] = []
        self.unreachable = self.unreachable_told = ""

    def report(self, path: str, outcome: Outcome) -> None:
        """An object has been dealt with."""
        entry = self._entries[path]
        self._told.add(path)
        if outcome.kind == DELIVERED:
            self._done.append(entry)
            self.delivered += 1
        elif outcome.kind == UNTRIED:
            self.unreachable, self.unreachable_told = outcome.reason, outcome.told
        else:
            self._fail(entry, outcome)
        waiting = len(self._done) + len(self._failed)
        if waiting >= _SETTLE_AFTER or (waiting and time.monotonic() > self._settled + _SETTLE_EVERY):
            self.settle()

    def blame(self, error: Exception) -> None:
        """The first object of which nothing is known yet has to wait: a defect met it, or one after it."""
        path = next((path for path in self.paths if path not in self._told), None)
        if path is not None:
            reason = f"a defect in dcmkit: {type(error).__name__}"
            self.report(path, Outcome(FAILED, reason, reason))

    def _fail(self, entry: Entry, outcome: Outcome) -> None:
        attempts = entry.attempts + 1
        dead = outcome.kind == GONE or (outcome.kind == REFUSED and attempts >= self._policy.attempts)
        self._failed.append(Failure(entry, time.time() + self._policy.delay(attempts), outcome.reason, dead))
        uid = entry.sop_instance_uid
        if dead:
            log.error("%s to %s is a dead letter after %d attempts: %s", uid, self._name, attempts, outcome.told)
        else:
            log.warning("%s to %s: attempt %d: %s", uid, self._name, attempts, outcome.told)

    def settle(self) -> None:
        """Write it down. Raises: OutputError."""
        done, failed = self._done, self._failed
        if not done and not failed:
            return
        self._done, self._failed = [], []
        self._settled = time.monotonic()
        self._spool.settle(self._name, done, failed)
        self.removable += [entry.path for entry in done if entry.removable]
