"""Keeps what was read, and reads what came last before anybody asks: a thread beside the service.

It works while nothing is stored, in small steps with pauses, in one process of those that serve an archive. Between
steps it looks for rows of instances that are no longer in the index.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from dcmkit.archive.located import locate, newer, newest
from dcmkit.archive.slot import lock
from dcmkit.errors import DcmkitError
from dcmkit.logs import get_logger

if TYPE_CHECKING:
    from dcmkit.archive.located import Located
    from dcmkit.archive.store import Archive
    from dcmkit.web.metadata_store import Key, MetadataStore, Row

log = get_logger("web")

QUIET = 1.0
"""Seconds without a change of the index after which there is time to read."""
_STEP, _PAUSE = 32, 0.02
"""Instances read at once, and seconds before the next ones."""
_SWEEP = 200
"""Rows looked at while there is nothing else to do."""
_WAITING = 16 << 20
"""Bytes of rows that wait to be written; more are forgotten."""


class Filler:
    """The thread; begins when it is told to.

    Args:
        read: what makes the row of an instance; None where that cannot be.
        lock_path: of the file that the process holds which reads ahead.
    """

    def __init__(
        self, archive: Archive, store: MetadataStore, read: Callable[[Located], Row | None], lock_path: str
    ) -> None:
        self._archive, self._store, self._read, self._lock_path = archive, store, read, lock_path
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closing = False
        self._rows: list[Row] = []
        self._size = 0
        self._asked: list[Located] = []
        self._seen = -1
        self._revision: tuple[int, int] | None = None
        self._swept: Key = ("", "", "")
        self._clean: tuple[int, int] | None = None
        self._fd = -1

    def start(self) -> None:
        """Begin, in this process, where that has not been done."""
        if self._pid != os.getpid():
            self._reset()
        with self._wake:
            if self._thread is None and not self._closing:
                self._thread = threading.Thread(target=self._run, name="metadata", daemon=True)
                self._thread.start()

    def keep(self, rows: Iterable[Row]) -> None:
        """Rows that were just made, to be written soon."""
        self.start()
        with self._wake:
            for row in rows:
                if self._size + len(row.json) > _WAITING:
                    break
                self._rows.append(row)
                self._size += len(row.json)
            self._wake.notify()

    def remember(self, instances: Iterable[Located]) -> None:
        """Instances that will be asked for."""
        self.start()
        with self._wake:
            self._asked = [*self._asked, *instances][-100_000:]

    def close(self) -> None:
        """Write what waits, and end."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        thread, self._thread = self._thread, None
        if thread is not None and self._pid == os.getpid():
            thread.join()
        self.write()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    # --- the thread ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        pause = QUIET
        while True:
            with self._wake:
                if not self._rows and not self._closing:
                    self._wake.wait(pause)
                if self._closing:
                    return
            self.write()
            try:
                pause = _PAUSE if self.step() else QUIET
            except DcmkitError as error:
                log.debug("no metadata is read ahead now: %s", error.message)
                pause = QUIET

    def write(self) -> None:
        """Write the rows that wait."""
        with self._wake:
            rows, self._rows, self._size = self._rows, [], 0
        if rows:
            self._store.write(rows)

    def step(self) -> bool:
        """Read some instances, if nothing is being stored; whether there may be more. Raises: OutputError."""
        archive = self._archive
        revision = archive.index.revision()
        if self._seen < 0:
            self._seen = newest(archive)
        if revision != self._revision:
            self._revision = revision
            return False
        mine = self._is_mine()
        if not mine:
            self._seen = newest(archive)
        found = self._next()
        if not found:
            return mine and self._sweep()
        known = self._known(found)
        rows = [row for one in found if one.instance not in known and (row := self._read(one)) is not None]
        if rows:
            self._store.write(rows)
        return True

    def _next(self) -> list[Located]:
        with self._wake:
            if self._asked:
                found, self._asked = self._asked[:_STEP], self._asked[_STEP:]
                return found
        found = newer(self._archive, self._seen, _STEP)
        self._seen = found[-1].number if found else self._seen
        return found

    def _known(self, instances: list[Located]) -> set[str]:
        """Those that have their row already."""
        known: set[str] = set()
        for study, series in {(one.study, one.series) for one in instances}:
            some = [one for one in instances if (one.study, one.series) == (study, series)]
            rows = self._store.read(study, series, [one.instance for one in some])
            for one in some:
                row = rows.get(one.instance)
                if row is not None and (row.size, row.mtime_ns) == (one.size, one.mtime_ns):
                    known.add(one.instance)
        return known

    def _sweep(self) -> bool:
        """Forget some of what is no longer in the index; False when there is nothing more to look at."""
        if self._clean == self._revision:
            return False
        keys = self._store.keys_after(self._swept, _SWEEP)
        gone = [key for key in keys if not locate(self._archive, *key)]
        if gone:
            self._store.forget(gone)
        self._swept = keys[-1] if len(keys) == _SWEEP else ("", "", "")
        if len(keys) < _SWEEP:
            self._clean = self._revision
        return len(keys) == _SWEEP

    def _is_mine(self) -> bool:
        """Whether this process is the one that reads ahead."""
        if self._fd >= 0:
            return True
        try:
            fd = os.open(self._lock_path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
        except OSError:
            return False
        if lock(fd):
            self._fd = fd
            return True
        os.close(fd)
        return False
