"""Limits of an archive: studies over them leave, the one that got nothing for the longest time first.

Storing only notes that something came; a thread of its own looks at the totals (table `usage`, one pass over narrow
rows) and removes what must go. Processes on the same archive take turns. Limits are kept soon after an object came,
not before it is answered.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from dcmkit.archive import disk
from dcmkit.archive.removal import remove_study
from dcmkit.archive.slot import locked
from dcmkit.errors import DcmkitError, OutputError
from dcmkit.logs import get_logger
from dcmkit.settings import ArchiveSettings, size_of, size_text

if TYPE_CHECKING:
    from dcmkit.archive.record import Record
    from dcmkit.archive.store import Archive

log = get_logger("archive")

_INTERVAL = 0.2
"""Seconds between two looks at the totals."""
_FRESH = 1.0
"""Seconds the size of a study read from the index is good for: other processes may add to it."""
_SIZES_LIMIT = 1000

_TOTALS = "SELECT COUNT(*), COALESCE(SUM(size), 0) FROM usage"
_OLDEST = "SELECT study, size FROM usage ORDER BY received, study"
_FILES = (
    "SELECT d.path, i.name FROM instance i JOIN series e ON e.id = i.series JOIN directory d ON d.id = i.directory"
    " WHERE e.study = ?"
)
_UID = "SELECT StudyInstanceUID FROM study WHERE id = ?"
_SIZE_OF_STUDY = "SELECT u.size FROM usage u JOIN study s ON s.id = u.study WHERE s.StudyInstanceUID = ?"


class Quota(NamedTuple):
    """How much an archive may hold; 0 is no limit.

    Attributes:
        studies: the number of studies.
        size: bytes of all files.
        study_size: bytes of the files of one study.
    """

    studies: int = 0
    size: int = 0
    study_size: int = 0

    @classmethod
    def of(cls, settings: ArchiveSettings) -> Quota:
        """The limits the settings name. Raises: UsageError."""
        sizes = [size_of(size_text(text)) for text in (settings.max_size, settings.max_study_size)]
        return cls(settings.max_studies, *sizes)

    def allows(self, studies: int, size: int) -> bool:
        """Whether an archive may hold so many studies and bytes."""
        return not (self.studies and studies > self.studies) and not (self.size and size > self.size)


def enforce(archive: Archive, quota: Quota, newest: str | None = None) -> int:
    """Remove studies until the quota is kept; how many.

    Args:
        newest: the Study Instance UID of what came last: this study stays, and so does what `archive.needed` wants.

    Raises:
        OutputError: a study cannot be removed.
    """
    removed = 0
    try:
        with locked(archive.quota_lock_path):
            with archive.index.reading() as connection:
                studies, size = connection.execute(_TOTALS).fetchone()
                if quota.allows(studies, size):
                    return 0
                oldest = connection.execute(_OLDEST).fetchall()
            for number, bytes_of_study in oldest:
                if quota.allows(studies, size):
                    break
                uid = _uid(archive, number)
                if uid != newest and not _is_needed(archive, number):
                    gone = remove_study(archive, number)
                    log.warning(
                        "over the quota: removed study %s (%d instances, %d bytes)",
                        uid or "without UID", gone.instances, gone.size,
                    )  # fmt: skip
                    removed += 1
                    studies, size = (studies, size - gone.size) if gone.kept else (studies - 1, size - bytes_of_study)
    except OSError as error:
        raise disk.output_error(error) from None
    return removed


def _is_needed(archive: Archive, number: int) -> bool:
    if archive.needed is None:
        return False
    with archive.index.reading() as connection:
        files = connection.execute(_FILES, (number,)).fetchall()
    return archive.needed([f"{directory}/{name}" if directory else name for directory, name in files])


def _uid(archive: Archive, number: int) -> str:
    with archive.index.reading() as connection:
        row = connection.execute(_UID, (number,)).fetchone()
        return str(row[0]) if row else ""


class Keeper:
    """Sees that an archive keeps its quota, in this process."""

    def __init__(self, archive: Archive, quota: Quota) -> None:
        self._archive = archive
        self.quota = quota
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._thread: threading.Thread | None = None
        self._newest: str | None = None
        self._due = False
        self._closing = threading.Event()
        self._sizes: dict[str, tuple[int, float]] = {}

    def admit(self, record: Record) -> None:
        """Called before an object gets its name. Raises: OutputError: its study would be too big."""
        limit = self.quota.study_size
        if not limit:
            return
        uid = record.study_instance_uid
        with self._lock:
            size, read = self._sizes.get(uid, (0, 0.0))
            if time.monotonic() - read > _FRESH or size + record.size > limit:
                size, read = self._size_of(uid), time.monotonic()
            if size + record.size > limit:
                raise OutputError("the study has reached the largest size allowed", hint=f"{limit} bytes")
            if len(self._sizes) >= _SIZES_LIMIT:
                self._sizes.clear()
            self._sizes[uid] = size + record.size, read

    def _size_of(self, uid: str) -> int:
        self._archive.committer.flush()
        with self._archive.index.reading() as connection:
            row = connection.execute(_SIZE_OF_STUDY, (uid,)).fetchone()
            return int(row[0]) if row else 0

    def stored(self, record: Record) -> None:
        """Called when an object has its name and its row, or will have it soon."""
        if not (self.quota.studies or self.quota.size):
            return
        with self._lock:
            self._newest = record.study_instance_uid
            if self._due:
                return
            self._due = True
            if self._thread is None and not self._closing.is_set():
                self._thread = threading.Thread(target=self._run, name="dcmkit-quota", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def settle(self) -> None:
        """Keep the quota now, with what waits to be indexed counted. Raises: OutputError."""
        self._archive.committer.flush()
        self._enforce()

    def close(self) -> None:
        """End the thread, and look once more if anything ever came; what cannot be removed is logged."""
        with self._lock:
            self._closing.set()
            thread, self._thread = self._thread, None
            self._changed.notify_all()
        if thread is not None:
            thread.join()
        self._closing.clear()
        self._try()

    def _run(self) -> None:
        while not self._closing.wait(_INTERVAL):
            with self._lock:
                while not self._due and not self._closing.is_set():
                    self._changed.wait()
            if not self._closing.is_set():
                self._try()

    def _try(self) -> None:
        try:
            self.settle()
        except DcmkitError as error:
            log.error("the quota is not kept: %s", error.message)

    def _enforce(self) -> None:
        with self._lock:
            newest, self._due = self._newest, False
        if newest is not None:
            enforce(self._archive, self.quota, newest)
