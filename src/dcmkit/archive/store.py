"""The archive: a directory of DICOM files and their index; and the one door into it, `Incoming` (`incoming.py`)."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from types import TracebackType

from dcmkit.archive import disk, removal
from dcmkit.archive.adding import fill
from dcmkit.archive.attributes import BY_KEYWORD, WANTED, Attribute
from dcmkit.archive.batch import Batch
from dcmkit.archive.claims import Claims
from dcmkit.archive.committer import Committer
from dcmkit.archive.directories import OWN, Directories
from dcmkit.archive.filing import IDENTICAL, KEPT, Filing, Stored
from dcmkit.archive.incoming import Incoming
from dcmkit.archive.index import Index
from dcmkit.archive.layout import Layout, is_safe_uid
from dcmkit.archive.quota import Keeper, Quota
from dcmkit.archive.reading import read_record
from dcmkit.archive.record import Record
from dcmkit.archive.recovery import MARGIN, files_in_place, remove_leftovers, set_aside, sweep
from dcmkit.archive.slot import Slot, locked, others_active
from dcmkit.dataset.dictionary import look_up
from dcmkit.errors import (
    IndexDamagedError,
    IndexVersionError,
    InvalidDataSetError,
    OutputDirectoryError,
    OutputError,
    UsageError,
)
from dcmkit.logs import get_logger
from dcmkit.settings import ArchiveSettings

__all__ = ["Archive", "Incoming", "Stored"]

log = get_logger("archive")


class Archive(Claims):
    """One archive, open for this process; safe for many threads, beside other processes on the same directory.

    Args:
        quota: the limits, where they are others than those of the settings.

    Raises:
        UsageError: the layout or an index keyword cannot be.

    Attributes:
        needed: whether any of some files, by their paths in the archive, must stay whatever the quota says.
    """

    def __init__(self, settings: ArchiveSettings, quota: Quota | None = None) -> None:
        self.settings = settings
        self.needed: Callable[[Sequence[str]], bool] | None = None
        self.quota = quota or Quota.of(settings)
        self.directories = Directories(settings.output_directory)
        self.layout = Layout(settings.layout, attribute_of)
        self.extra = tuple(attribute_of(keyword) for keyword in settings.index_keywords if keyword not in BY_KEYWORD)
        self.wanted = WANTED | {attribute.tag for attribute in (*self.layout.attributes, *self.extra)}
        self.index = Index(self._own("index.sqlite"), settings.durability)
        self._reset()

    def _reset(self) -> None:
        self.committer = Committer(self.index, self.directories.sync if self.settings.durability == "full" else None)
        self._slot: Slot | None = None
        self._pid = os.getpid()
        self._lock = threading.Lock()
        Claims.__init__(self)
        self.keeper = Keeper(self, self.quota)

    def _own(self, *names: str) -> str:
        return os.path.join(self.directories.root, OWN, *names)

    @property
    def root(self) -> str:
        """The absolute path of the archive."""
        return self.directories.root

    @property
    def lock_path(self) -> str:
        """The file that repairs and removals lock, for all processes on this archive."""
        return self._own("lock")

    @property
    def quota_lock_path(self) -> str:
        """The file that whoever enforces the quota locks."""
        return self._own("quota.lock")

    @property
    def keywords(self) -> tuple[str, ...]:
        """The configured index keywords beyond those every index has."""
        return tuple(attribute.keyword for attribute in self.extra)

    @property
    def lenient(self) -> bool:
        """Whether data sets that cannot be followed to their end are in the archive on purpose."""
        return self.settings.on_invalid == "store"

    def open(self) -> Archive:
        """Make what is missing, and repair what a killed process left.

        Raises:
            OutputDirectoryError: the directory cannot be made or written.
            IndexVersionError: a newer dcmkit wrote the index.
            IndexDamagedError: the index is damaged, and another process uses it.
            OutputError: the index cannot be opened.
        """
        existed = os.path.isdir(self._own())
        try:
            os.makedirs(self._own("incoming"), exist_ok=True)
            self._slot = Slot(self._own("incoming"))
            if self.settings.durability != "none":
                self.directories.sync((f"{OWN}/incoming", OWN))
            with locked(self.lock_path):
                self._repair(existed)
        except OSError as error:
            self._leave()
            raise OutputDirectoryError(f"the archive cannot be used: {error.strerror}", hint=self.root) from None
        except BaseException:
            self._leave()
            raise
        return self

    def _repair(self, existed: bool) -> None:
        """What a killed process or a power cut left; ends without an open connection, so that workers can be forked."""
        new, in_place = self._open_index()
        dead, rebooted = remove_leftovers(self._own("incoming"))
        if rebooted and not new and not self.index.is_sound():
            in_place = self._replace_index("damaged by a power cut")
            new = True
        if new and existed:
            log.warning("the index of %s is made anew from the files", self.root)
            log.warning("the index has %d objects again", fill(self, self.index, in_place).added)
        else:
            self._finish_removals()
            if dead:
                sweep(self, self.index.last_received() - MARGIN)
        self.index.close()

    def _finish_removals(self) -> None:
        try:
            removal.finish(self)
        except OutputError as error:  # a read-only disk, perhaps: what is there can be looked at
            log.error("objects that were being removed stay for now: %s", error.message)

    def _open_index(self) -> tuple[bool, dict[str, set[str]]]:
        """Whether the index is a new one, and files indexed in place that it must have.

        Raises:
            IndexDamagedError: it is damaged, and another process uses it.
        """
        try:
            return self.index.open() == 0, {}
        except IndexVersionError:
            raise
        except IndexDamagedError as error:
            if self._slot is None or others_active(self._own("incoming"), self._slot.path):
                raise
            return True, self._replace_index(error.hint)

    def _replace_index(self, why: str) -> dict[str, set[str]]:
        in_place = files_in_place(self.index)
        self.index.close()
        aside = set_aside(self.index.path)
        log.error("the index is damaged (%s): set aside as %s, a new one is made from the files", why, aside)
        self.index.open()
        return in_place

    def recover_process(self, pid: int) -> None:
        """Repair what a dead worker process left, while others go on. Raises: OutputError."""
        with locked(self.lock_path):
            dead, _ = remove_leftovers(self._own("incoming"))
            if dead:
                log.warning("worker %d died: looking for objects it did not index", pid)
                self._finish_removals()
                sweep(self, self.index.last_received() - MARGIN)

    def read_record(self, path: str) -> Record:
        """The record of a file of this archive. Raises: InvalidDataSetError, InputError."""
        return read_record(path, self.wanted, self.extra, lenient=self.lenient)

    def _leave(self) -> None:
        self.index.close()
        slot, self._slot = self._slot, None
        if slot is not None:
            slot.close()

    def close(self) -> None:
        """Write what waits to be indexed, and go in order.

        Raises:
            OutputError: something could not be indexed; the next `open` will do it.
        """
        try:
            try:
                self.committer.close()
            finally:
                self.keeper.close()
        except BaseException:
            if self._slot is not None:  # as if this process had been killed
                self._slot.leave()
                self._slot = None
            raise
        finally:
            self._leave()

    def __enter__(self) -> Archive:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def after_fork(self) -> None:
        """In a new process, before it uses the archive: nothing of the parent's is touched."""
        if self._slot is not None:
            self._slot.leave()
        self.index.after_fork()
        self._reset()
        self.slot()

    def flush(self) -> None:
        """Returns when everything committed is in the index. Raises: OutputError."""
        self.committer.flush()

    # --- for Incoming ----------------------------------------------------------------------------------------

    def incoming(
        self, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, source_ae_title: str = ""
    ) -> Incoming:
        """An object that is about to come. Raises: InvalidDataSetError when a UID is none."""
        if self._pid != os.getpid():
            self.after_fork()
        if not is_safe_uid(sop_instance_uid):
            raise InvalidDataSetError("the SOP Instance UID is not a UID", offending_element=0x00080018)
        if not is_safe_uid(sop_class_uid):
            raise InvalidDataSetError("the SOP Class UID is not a UID", offending_element=0x00080016)
        return Incoming(self, sop_class_uid, sop_instance_uid, transfer_syntax_uid, source_ae_title)

    def batch(self) -> Batch:
        """Where several objects wait to be stored together."""
        return Batch(self)

    def slot(self) -> Slot:
        """This process's slot, made when first needed. Raises: OutputError."""
        if self._slot is None:
            with self._lock:
                if self._slot is None:
                    try:
                        os.makedirs(self._own("incoming"), exist_ok=True)
                        self._slot = Slot(self._own("incoming"))
                    except OSError as error:
                        raise disk.output_error(error) from None
        return self._slot

    def temporary(self) -> str:
        """A path nobody else uses. Raises: OutputError."""
        return self.slot().temporary()

    def another_temporary(self) -> str:
        """A path in a new slot, for one whose directory somebody removed.

        Raises:
            FileNotFoundError: the whole archive has gone (unmounted, moved away), and is not to be begun anew here.
            OutputError: the slot cannot be made.
        """
        os.stat(self._own("incoming"))
        with self._lock:
            if self._slot is not None and not os.path.isdir(self._slot.path):
                self._slot.leave()
                self._slot = None
        return self.temporary()

    def known(self, sop_instance_uid: str) -> list[tuple[str, str, int]]:
        """Directory, name and data set offset of every file of a SOP Instance. Raises: OutputError."""
        return self.index.find(sop_instance_uid)

    def file(self, record: Record, temporary: str, fd: int, known: list[tuple[str, str, int]] | None = None) -> Stored:
        """Give an object that is complete its name and its row. Raises: DuplicateError, OutputError, OSError."""
        stored = Filing(self, record, temporary, fd).file(known)
        if stored.outcome not in (IDENTICAL, KEPT):
            self.keeper.stored(record)
        return stored


def attribute_of(keyword: str) -> Attribute:
    """An index key, or any attribute of the data dictionary. Raises: UsageError for an unknown keyword."""
    attribute = BY_KEYWORD.get(keyword)
    if attribute is not None:
        return attribute
    found = look_up(keyword)
    if found is None or found[1] in ("SQ", "OB", "OW", "OF", "OD", "OL", "OV", "UN", "UR"):
        raise UsageError(f"{keyword!r} is not an attribute that can be indexed or name files")
    return Attribute(keyword, found[0], "instance", found[1])
