"""A complete object finds its name; the policy for duplicates is here."""

from __future__ import annotations

import os
from copy import copy
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from dcmkit.archive import disk
from dcmkit.archive.attributes import SERIES_INSTANCE_UID, SOP_INSTANCE_UID, STUDY_INSTANCE_UID
from dcmkit.archive.layout import with_suffix
from dcmkit.archive.slot import locked
from dcmkit.dataset.part10 import read_file_header
from dcmkit.errors import DuplicateError, InputError

if TYPE_CHECKING:
    from dcmkit.archive.record import Record
    from dcmkit.archive.store import Archive

STORED, IDENTICAL, REPLACED, KEPT, KEPT_BOTH = "stored", "identical", "replaced", "kept", "kept-both"

_ATTEMPTS = 20
"""How often a directory may vanish between being made and being used."""


class Stored(NamedTuple):
    """How a commit ended.

    Attributes:
        path: the file that holds the object now, absolute.
        outcome: `stored`; `identical` (it was there already, nothing was written); or, where there was an object of
            the same SOP Instance UID with other content, `replaced`, `kept` (the one that was there), `kept-both`.
        dimse_status: 0x0000, or a warning.
        message: "" or what the log should say.
    """

    path: str
    outcome: str
    dimse_status: int = 0
    message: str = ""


class Filing:
    """One object about to get its name and its row. The caller has claimed its SOP Instance UID in this process;
    other processes may be at the same UID, so a name is only ever taken exclusively.

    Args:
        temporary: the object's file, complete.
        fd: the same, open.
    """

    __slots__ = ("_archive", "_fd", "_gone", "_outcome", "_path_taken", "_record", "_replaced", "_temporary")

    def __init__(self, archive: Archive, record: Record, temporary: str, fd: int) -> None:
        self._archive = archive
        self._record = record
        self._temporary = temporary
        self._fd = fd
        self._outcome, self._path_taken = STORED, ""
        self._replaced: dict[str, tuple[str, str]] = {}
        self._gone: list[tuple[str, str]] = []

    def file(self, known: list[tuple[str, str, int]] | None = None) -> Stored:
        """Do it.

        Args:
            known: the files of this SOP Instance, as `Index.find` tells them, where that is known.

        Raises:
            DuplicateError, OutputError, OSError.
        """
        settled = self.place(known)
        if settled is not None:
            return settled
        try:
            self._index(self._record)
        except BaseException:
            self.undo()
            raise
        return self.finish()

    def place(self, known: list[tuple[str, str, int]] | None = None, *, synced: bool = False) -> Stored | None:
        """Give the object its name; None where it has one, and lacks its row, else how that was settled.

        Args:
            known: see `file`.
            synced: whether the file's content has been.

        Raises:
            DuplicateError, OutputError, OSError.
        """
        archive, record = self._archive, self._record
        if archive.committer.pending(record.sop_instance_uid) is not None:
            archive.committer.flush()
            known = None
        for directory, name, offset in archive.index.find(record.sop_instance_uid) if known is None else known:
            settled = self._meet(directory, name, offset, indexed=True)
            if settled is not None:
                return settled
        archive.keeper.admit(record)
        if archive.settings.durability != "none" and not synced:
            disk.sync_data(self._fd)
        path = self._take_name()
        if isinstance(path, Stored):
            return path
        self._path_taken = path
        record.supersedes = (*self._replaced.values(), *self._gone)
        return None

    def undo(self) -> None:
        """There is no row: the name goes again."""
        if self._path_taken not in self._replaced:
            disk.remove(self._path_taken)

    def finish(self) -> Stored:
        """The row is there: what it replaces goes."""
        for old in self._replaced:
            if old != self._path_taken:
                disk.remove(old)
        message = "" if self._outcome == STORED else f"an object with this UID was here: {self._outcome}"
        return Stored(self._path_taken, self._outcome, 0, message)

    def _index(self, record: Record) -> None:
        if self._archive.settings.durability == "none":
            self._archive.committer.post(record)
        else:
            self._archive.committer.commit(record)

    def _meet(self, directory: str, name: str, offset: int, *, indexed: bool) -> Stored | None:
        """There is a file of the same SOP Instance: settled by it, or None to go on."""
        path = os.path.join(self._archive.directories.absolute(directory), name)
        try:
            same = disk.same_data_set(path, offset, self._temporary, self._record.data_set_offset)
            if self._archive.index.is_going(directory, name):
                raise FileNotFoundError(path)
            os.lstat(path)  # after looking at the table: gone by now, it was decided before (removal.py)
            if same:
                if not indexed:
                    self._index_existing(path, directory, name, offset)
                elif self._archive.settings.durability == "full":
                    self._archive.directories.sync((directory,))  # its own process may still be about to
                return Stored(path, IDENTICAL)
        except FileNotFoundError:
            self._gone.append((directory, name))  # its row goes when ours comes
            return None
        policy = self._archive.settings.on_duplicate
        if policy == "reject":
            raise DuplicateError("an object with this SOP Instance UID is here already")
        if policy == "keep":
            return Stored(path, KEPT, 0, "an object with this UID was here, with other content: kept")
        if policy == "replace":
            self._replaced[path] = (directory, name)
            self._outcome = REPLACED
        else:
            self._outcome = KEPT_BOTH
        return None

    def _index_existing(self, path: str, directory: str, name: str, offset: int) -> None:
        """The same object got its name a moment ago, or its process died then: Success needs its row as well.

        Raises:
            FileNotFoundError: it was removed before the row was there, and the removal did not see the row.
        """
        facts = os.stat(path)
        record = copy(self._record)
        record.directory, record.name, record.data_set_offset = directory, name, offset
        record.size, record.mtime_ns = facts.st_size, facts.st_mtime_ns
        self._index(record)
        self._archive.committer.flush()
        os.lstat(path)  # a removal from now on finds the row

    def _take_name(self) -> str | Stored:
        """The path the object has now; or how it was settled by one that had the name."""
        stem = candidate = self._path()
        hashed, number, vanished = False, 1, 0
        directories, record = self._archive.directories, self._record
        while True:
            directory, _, name = candidate.rpartition("/")
            path = f"{directories.prepare(directory)}{os.sep}{name}"
            try:
                if path in self._replaced:
                    with locked(self._archive.lock_path):  # a removal may be about to unlink what it has looked at
                        os.replace(self._temporary, path)
                else:
                    disk.give_name(self._temporary, path)
            except FileNotFoundError:
                directories.forget(directory)
                vanished += 1
                if vanished > _ATTEMPTS:
                    raise
                continue
            except FileExistsError:
                offset = self._offset_if_same_instance(path)
                if offset is not None:
                    settled = self._meet(directory, name, offset, indexed=False)
                    if settled is not None:
                        return settled
                    if path in self._replaced or not os.path.lexists(path):
                        continue
                elif not hashed:  # another SOP Instance to which the layout gives the same path
                    digest = sha256(record.sop_instance_uid.encode()).hexdigest()[:12]
                    stem = candidate = with_suffix(stem, f"~{digest}")
                    hashed = True
                    continue
                number += 1
                candidate = with_suffix(stem, f"~{number}")
            else:
                record.directory, record.name = directory, name
                return path

    def _path(self) -> str:
        layout, record = self._archive.layout, self._record
        if layout.is_default:
            values = {
                STUDY_INSTANCE_UID: record.study_instance_uid,
                SERIES_INSTANCE_UID: record.series_instance_uid,
                SOP_INSTANCE_UID: record.sop_instance_uid,
            }
        else:
            values = {attribute.tag: record.text(attribute) for attribute in layout.attributes}
            values[SOP_INSTANCE_UID] = record.sop_instance_uid
        return layout.path(values)

    def _offset_if_same_instance(self, path: str) -> int | None:
        try:
            header = read_file_header(path)
        except InputError:
            return None
        return header.offset if header.sop_instance_uid == self._record.sop_instance_uid else None
