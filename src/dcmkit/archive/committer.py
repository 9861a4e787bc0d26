"""From a name on disk to a row that lasts: group commit.

Whoever comes while nobody is committing leads: it writes the rows of all who wait, in one transaction, while a thread
syncs their directories, and wakes them when both are done. So N associations share directory syncs and SQLite commits.
With durability "none" records are queued, and a thread writes them in batches; a killed process is repaired by
recovery.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue

from dcmkit.archive import disk
from dcmkit.archive.index import Index
from dcmkit.archive.record import Record
from dcmkit.errors import DcmkitError, OutputError
from dcmkit.logs import get_logger

log = get_logger("archive")

QUEUE_LIMIT = 2048
QUEUE_BYTES = 16 << 20
"""Records, and bytes of their values, that may wait for the thread; beyond that `post` writes them itself."""
BATCH_DELAY = 0.05
"""Seconds records wait for company."""
_RETRY_DELAY = 1.0
_UNWRITTEN = OutputError("the index cannot be written")
"""What a record fails with whose writer was itself interrupted."""


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
        self._posted: list[Record] = []
        self._posted_bytes = 0
        self._pending: dict[str, Record] = {}
        self._thread: threading.Thread | None = None
        self._closing = False
        self._background = _Background()

    def commit(self, record: Record) -> None:
        """Returns when the row is in the index. Raises: OutputError when it is not."""
        self.commit_all([record])
        if record.error is not None:
            raise type(record.error)(record.error.message, hint=record.error.hint)

    def commit_all(self, records: Sequence[Record]) -> None:
        """Returns when the rows are in the index, together with those of others who come now.

        Each record has its `error` where its row is not.
        """
        if not records:
            return
        last = records[-1]  # they are written in one batch, so they are done at the same moment
        with self._lock:
            self._queue += records
            while self._leading and not last.done:
                self._changed.wait()
            if not last.done:
                self._leading = True
                batch, self._queue = self._queue, []
        if not last.done:
            try:
                self._write(batch)
            finally:
                with self._lock:
                    self._leading = False
                    self._changed.notify_all()

    def post(self, record: Record) -> None:
        """Leave a record to the thread. Raises: OutputError, the record not taken, when the queue stays full."""
        if len(self._posted) >= QUEUE_LIMIT or self._posted_bytes >= QUEUE_BYTES:
            self.flush()
        length = sum(map(len, record.header.values.values()))
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="dcmkit-index", daemon=True)
                self._thread.start()
            self._pending[record.sop_instance_uid] = record
            self._posted.append(record)
            self._posted_bytes += length
            if len(self._posted) == 1:
                self._changed.notify_all()

    def pending(self, sop_instance_uid: str) -> Record | None:
        """A record that was posted and is not in the index yet."""
        return self._pending.get(sop_instance_uid)

    @property
    def behind(self) -> bool:
        """Whether something that was posted is not in the index yet."""
        return bool(self._pending)

    def flush(self) -> None:
        """Returns when whatever was posted is in the index. Raises: OutputError; it stays posted then."""
        with self._lock:
            while self._leading:
                self._changed.wait()
            if not self._posted:
                return
            self._leading = True
            batch, self._posted, self._posted_bytes = self._posted, [], 0
        try:
            self._write(batch)
        finally:
            failed = [record for record in batch if record.error is not None]
            errors = [record.error for record in failed if record.error is not None]
            with self._lock:
                for record in batch:
                    if record.error is None and self._pending.get(record.sop_instance_uid) is record:
                        del self._pending[record.sop_instance_uid]
                    record.done, record.error = False, None
                self._posted[:0] = failed
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
        try:
            self.flush()
        finally:
            self._background.close()

    def _run(self) -> None:
        while True:
            with self._lock:
                while not self._posted and not self._closing:
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
        for record in batch:
            record.error = _UNWRITTEN
        try:
            if not self._try(batch) and len(batch) > 1:
                for record in batch:
                    self._try([record])
        finally:
            for record in batch:  # not before: whoever waits takes it as the end
                record.done = True

    def _try(self, batch: list[Record]) -> bool:
        """The directories are synced while SQLite commits: whichever lasts longer, the other is free."""
        error: DcmkitError | None = None
        unsynced: OSError | None = None
        if self._sync is not None:
            self._background.begin(self._sync, {record.directory for record in batch})
        try:
            self._index.insert(batch)
        except OSError as failure:
            error = disk.output_error(failure)
        except DcmkitError as failure:
            error = failure
        finally:
            if self._sync is not None:
                unsynced = self._background.end()
        if unsynced is not None:
            if error is None:
                self._take_back(batch)
            error = disk.output_error(unsynced)
        for record in batch:
            record.error = error
        return error is None

    def _take_back(self, batch: list[Record]) -> None:
        """Rows whose files are about to go."""
        files = [(record.directory, record.name) for record in batch]
        try:
            self._index.write(lambda connection: self._index.remove_rows(connection, files))
        except DcmkitError as error:
            log.error("%d rows stay without their files until the next check: %s", len(batch), error)


class _Background:
    """One thread that syncs directories; one request at a time."""

    def __init__(self) -> None:
        self._requests: SimpleQueue[tuple[Callable[[set[str]], None], set[str]] | None] = SimpleQueue()
        self._answers: SimpleQueue[OSError | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def begin(self, sync: Callable[[set[str]], None], directories: set[str]) -> None:
        """Start syncing; `end` must follow."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="dcmkit-sync", daemon=True)
            self._thread.start()
        self._requests.put((sync, directories))

    def end(self) -> OSError | None:
        """Wait for it; what went wrong."""
        return self._answers.get()

    def close(self) -> None:
        """End the thread."""
        if self._thread is not None:
            self._requests.put(None)
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while (request := self._requests.get()) is not None:
            sync, directories = request
            try:
                sync(directories)
            except OSError as error:
                self._answers.put(error)
            else:
                self._answers.put(None)
