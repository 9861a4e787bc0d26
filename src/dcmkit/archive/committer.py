"""From a name on disk to a row that lasts: group commit.

Whoever comes while nobody is committing leads: it syncs the directories and writes the rows of all who wait, in one
transaction, and wakes them. So N associations share directory syncs and SQLite commits without a thread of their own.
With durability "none" records are queued, and a thread writes them in batches; a killed process is repaired by
recovery.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from dcmkit.archive import disk
from dcmkit.archive.index import Index
from dcmkit.archive.record import Record
from dcmkit.errors import DcmkitError
from dcmkit.logs import get_logger

log = get_logger("archive")

QUEUE_LIMIT = 2048
"""Records waiting for the thread; beyond that `post` writes them itself."""
BATCH_DELAY = 0.05
"""Seconds records wait for company."""
_RETRY_DELAY = 1.0


class Committer:
    """Brings records into the index.

    Args:
        index: where to.
        sync: syncs directories before records in them enter the index; None where that is not wanted.
    """

    def __init__(self, index: Index, sync: Callable[[set[str]], None] | None) -> None:
        self._index = index
        self._sync = sync
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._queue: list[Record] = []
        self._leading = False
        self._pending: dict[str, Record] = {}
        self._thread: threading.Thread | None = None
        self._closing = False

    def commit(self, record: Record) -> None:
        """Returns when the row is in the index. Raises: OutputError when it is not."""
        with self._lock:
            self._queue.append(record)
            while self._leading and not record.done:
                self._changed.wait()
            if not record.done:
                self._leading = True
                batch, self._queue = self._queue, []
        if not record.done:
            try:
                self._write(batch)
            finally:
                with self._lock:
                    self._leading = False
                    self._changed.notify_all()
        if record.error is not None:
            raise type(record.error)(record.error.message, hint=record.error.hint)

    def post(self, record: Record) -> None:
        """Leave a record to the thread. Raises: OutputError, the record not taken, when the queue stays full."""
        if len(self._queue) >= QUEUE_LIMIT:
            self.flush()
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="dcmkit-index", daemon=True)
                self._thread.start()
            self._pending[record.sop_instance_uid] = record
            self._queue.append(record)
            if len(self._queue) == 1:
                self._changed.notify_all()

    def pending(self, sop_instance_uid: str) -> Record | None:
        """A record that was posted and is not in the index yet."""
        return self._pending.get(sop_instance_uid)

    def flush(self) -> None:
        """Returns when whatever was posted is in the index. Raises: OutputError; it stays posted then."""
        with self._lock:
            while self._leading:
                self._changed.wait()
            if not self._queue:
                return
            self._leading = True
            batch, self._queue = self._queue, []
        try:
            self._write(batch)
        finally:
            failed = [record for record in batch if record.error is not None or not record.done]
            errors = [record.error for record in failed if record.error is not None]
            with self._lock:
                for record in batch:
                    if record.done and record.error is None and self._pending.get(record.sop_instance_uid) is record:
                        del self._pending[record.sop_instance_uid]
                    record.done, record.error = False, None
                self._queue[:0] = failed
                self._leading = False
                self._changed.notify_all()
        if errors:
            raise errors[0]

    def close(self) -> None:
        """Write what was posted and end the thread. Raises: OutputError."""
        with self._lock:
            self._closing = True
            thread, self._thread = self._thread, None
            self._changed.notify_all()
        if thread is not None:
            thread.join()
        self._closing = False
        self.flush()

    def _run(self) -> None:
        while True:
            with self._lock:
                while not self._queue and not self._closing:
                    self._changed.wait()
                if self._closing:
                    return
                self._changed.wait(BATCH_DELAY)
            try:
                self.flush()
            except DcmkitError as error:
                log.error("%d objects wait to be indexed: %s", len(self._pending), error)
                with self._lock:
                    if not self._closing:
                        self._changed.wait(_RETRY_DELAY)

    def _write(self, batch: list[Record]) -> None:
        """Bring `batch` into the index, all at once or, where that fails, one by one; each record knows how it went."""
        if not self._try(batch) and len(batch) > 1:
            for record in batch:
                self._try([record])

    def _try(self, batch: list[Record]) -> bool:
        error: DcmkitError | None = None
        try:
            if self._sync is not None:
                self._sync({record.directory for record in batch})
            self._index.insert(batch)
        except OSError as failure:
            error = disk.output_error(failure)
        except DcmkitError as failure:
            error = failure
        for record in batch:
            record.done, record.error = True, error
        return error is None
