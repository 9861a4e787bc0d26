"""One object on its way in: write, scan, sync, name, index, and only then Success.

It arrives under a temporary name in the archive's own file system, gets its final name when it is complete, and a row
in the index after that. A name once given is never overwritten, unless the duplicate setting says replace.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Protocol

from dcmkit.archive import disk
from dcmkit.archive.attributes import SOP_CLASS_UID, SOP_INSTANCE_UID, Attribute
from dcmkit.archive.filing import IDENTICAL, KEPT, Stored
from dcmkit.archive.layout import is_safe_uid
from dcmkit.archive.record import Record
from dcmkit.dataset.part10 import clean_uid, file_meta
from dcmkit.dataset.scanner import DataSetScanner, ScannedHeader
from dcmkit.errors import (
    DataSetMismatchError,
    DcmkitError,
    InvalidDataSetError,
    OutputError,
)

if TYPE_CHECKING:
    from dcmkit.settings import ArchiveSettings

DATA_SET_DOES_NOT_MATCH = 0xB007
"""Stored, but: Data Set does not match SOP Class (PS3.4 B.2.3)."""


class Door(Protocol):
    """What objects come through: an archive, or a folder (`folder.py`)."""

    settings: ArchiveSettings
    wanted: frozenset[int]
    extra: tuple[Attribute, ...]
    filings: int

    def temporary(self) -> str: ...

    def another_temporary(self) -> str: ...

    def known(self, sop_instance_uid: str) -> list[tuple[str, str, int]]: ...

    def claim(self, sop_instance_uid: str) -> None: ...

    def release(self, sop_instance_uid: str) -> None: ...

    def file(
        self, record: Record, temporary: str, fd: int, known: list[tuple[str, str, int]] | None = None
    ) -> Stored: ...


class Incoming:
    """An object being received. One thread writes the pieces of its data set and then commits or abandons it."""

    __slots__ = (
        "_archive",
        "_failure",
        "_fd",
        "_head",
        "_invalid",
        "_known",
        "_message",
        "_meta_length",
        "_record",
        "_scanner",
        "_size",
        "_sop_class",
        "_sop_instance",
        "_sop_instance_asked",
        "_source",
        "_status",
        "_temporary",
        "_transfer_syntax",
    )  # fmt: skip

    def __init__(
        self, archive: Door, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, source: str
    ) -> None:
        self._archive = archive
        self._sop_class = sop_class_uid
        self._sop_instance = self._sop_instance_asked = sop_instance_uid
        self._known: tuple[int, list[tuple[str, str, int]]] = (-1, [])
        self._transfer_syntax = transfer_syntax_uid
        self._source = source
        self._scanner = DataSetScanner(transfer_syntax_uid, archive.wanted)
        self._fd = -1
        self._temporary = ""
        self._size = self._meta_length = 0
        self._head = b""
        self._invalid: InvalidDataSetError | None = None
        self._failure: DcmkitError | None = None
        self._record: Record | None = None
        self._status, self._message = 0, ""

    def write(self, view: memoryview) -> None:
        """Append a piece of the data set; it is not kept.

        Raises:
            OutputError: it cannot be written (disk full, ...).
            InvalidDataSetError: it is no data set, and the setting says reject.
            Either way the object is abandoned, and `commit` raises the same.
        """
        if self._failure is not None:
            return
        try:
            if len(self._head) < 2:
                self._look_at_head(view)
            if self._invalid is None:
                self._scan(view)
            if self._meta_length:
                _write_all(self._fd, view)
            else:
                self._start(view)
            self._size += len(view)
        except OSError as error:
            raise self._fail(disk.output_error(error)) from None
        except DcmkitError as error:
            raise self._fail(error) from None

    def _look_at_head(self, view: memoryview) -> None:
        """Group 0002 at the start would be read as file meta information, and overrule ours (PS3.10 7.1)."""
        self._head += bytes(view[: 2 - len(self._head)])
        if self._head == b"\2\0":
            raise InvalidDataSetError("there is file meta information in the data set", offending_element=0x00020000)

    def _scan(self, view: memoryview) -> None:
        try:
            self._scanner.feed(view)
        except InvalidDataSetError as error:
            if self._archive.settings.on_invalid != "store":
                raise
            self._invalid = error

    def begin(self) -> None:
        """Do what can be done before the first piece is there: a peer takes its time between command and data.

        Raises:
            OutputError: the temporary file cannot be made, or the index cannot be read.
        """
        try:
            self._create()
            self._known = (self._archive.filings, self._archive.known(self._sop_instance))
        except OSError as error:
            raise self._fail(disk.output_error(error)) from None

    def _create(self) -> None:
        self._temporary = self._archive.temporary()
        try:
            self._fd = disk.create(self._temporary)
        except FileNotFoundError:
            self._temporary = self._archive.another_temporary()
            self._fd = disk.create(self._temporary)

    def _start(self, view: memoryview | bytes) -> None:
        """The first piece: the file and its meta information go before it."""
        if self._fd < 0:
            self._create()
        meta = file_meta(self._sop_class, self._sop_instance, self._transfer_syntax, source_ae_title=self._source)
        self._meta_length = len(meta)
        if hasattr(os, "writev"):
            written = os.writev(self._fd, (meta, view)) - len(meta)
            if written < 0:
                _write_all(self._fd, memoryview(meta)[written:])
                written = 0
            if written < len(view):
                _write_all(self._fd, memoryview(view)[written:])
        else:
            _write_all(self._fd, memoryview(meta))
            _write_all(self._fd, memoryview(view))

    def abandon(self) -> None:
        """Forget the object; its temporary file goes. May be called at any time, and again."""
        if self._failure is None:
            self._failure = OutputError("the object was abandoned")
        self._discard()

    def _fail(self, error: DcmkitError) -> DcmkitError:
        self._failure = error
        self._discard()
        return error

    def _discard(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        if self._temporary:
            disk.remove(self._temporary)
            self._temporary = ""

    # --- commit ----------------------------------------------------------------------------------------------

    def commit(self) -> Stored:
        """The object is complete: give it its name and its row. Returns when it is as safe as the setting says.

        Raises:
            InvalidDataSetError: the data set is empty, cannot be followed to its end, or lacks a UID.
            DataSetMismatchError: a UID in it differs from the request's.
            DuplicateError: another object has this UID, and the setting says reject.
            OutputError: it cannot be stored or indexed. Nothing of the object is left then.
        """
        record = self.complete()
        try:
            claimed = record.sop_instance_uid
            self._archive.claim(claimed)
            try:
                return self.filed(self._archive.file(record, self._temporary, self._fd, self._still_known(claimed)))
            finally:
                self._archive.release(claimed)
        except OSError as error:
            raise disk.output_error(error) from None
        finally:
            self.end()

    def complete(self) -> Record:
        """Everything has been written: what the index is to know of it. May be called before `commit`.

        Raises:
            InvalidDataSetError, DataSetMismatchError, OutputError: as `commit`; the object is abandoned then.
        """
        if self._failure is not None:
            raise self._failure
        if self._record is None:
            try:
                self._record, self._status, self._message = self._checked()
            except OSError as error:
                raise self._fail(disk.output_error(error)) from None
            except DcmkitError as error:
                raise self._fail(error) from None
            except BaseException:
                self.end()
                raise
        return self._record

    # --- for a batch, which does what `commit` does, for several --------------------------------------------------

    @property
    def file(self) -> tuple[str, int]:
        """The temporary file: its path, and its descriptor, open."""
        return self._temporary, self._fd

    def filed(self, stored: Stored) -> Stored:
        """It has been filed like this: what is to be told of it."""
        if stored.outcome not in (IDENTICAL, KEPT):
            self._temporary = ""
        if self._status:
            stored = stored._replace(dimse_status=self._status, message=stored.message or self._message)
        return stored

    def end(self) -> None:
        """Whatever became of it, nothing more is done with it; what is left of it goes."""
        self._failure = self._failure or OutputError("the object was committed already")
        self._discard()

    def _still_known(self, sop_instance_uid: str) -> list[tuple[str, str, int]] | None:
        """The files of this SOP Instance as `begin` found them, if nothing was filed since and the UID is the same.

        Another process may have filed it meanwhile: the name it took is seen when ours is taken.
        """
        filings, found = self._known
        return found if filings == self._archive.filings and sop_instance_uid == self._sop_instance_asked else None

    def _checked(self) -> tuple[Record, int, str]:
        """The object as the index takes it, with the status and the message of what is odd about it."""
        store_invalid = self._archive.settings.on_invalid == "store"
        status, message = 0, ""
        try:
            if self._invalid is not None:
                raise self._invalid
            header = self._scanner.finish()
        except InvalidDataSetError as error:
            if not store_invalid or not self._size:
                raise
            header = self._scanner.header()
            status, message = DATA_SET_DOES_NOT_MATCH, f"stored as it is: {error.message}"
        class_uid, instance_uid = self._uid(header, SOP_CLASS_UID), self._uid(header, SOP_INSTANCE_UID)
        if class_uid != self._sop_class or instance_uid != self._sop_instance:
            message = self._mismatch(class_uid, instance_uid, store_invalid)
            status = DATA_SET_DOES_NOT_MATCH
        record = Record(header, self._sop_class, self._sop_instance, self._transfer_syntax, self._archive.extra)
        facts = os.fstat(self._fd)
        record.data_set_offset, record.size, record.mtime_ns = self._meta_length, facts.st_size, facts.st_mtime_ns
        record.received = int(time.time())
        record.source_ae_title = self._source
        return record, status, message

    def _uid(self, header: ScannedHeader, tag: int) -> str:
        return clean_uid(header.values.get(tag, b""))

    def _mismatch(self, class_uid: str, instance_uid: str, store_invalid: bool) -> str:
        """The data set's UIDs are not those of the request: refuse, or go by the data set's."""
        for uid, tag, name in (
            (instance_uid, SOP_INSTANCE_UID, "SOP Instance UID"),
            (class_uid, SOP_CLASS_UID, "SOP Class UID"),
        ):
            if not uid and not store_invalid:
                raise InvalidDataSetError(f"the data set has no {name}", offending_element=tag)
            if uid and not is_safe_uid(uid):
                raise InvalidDataSetError(f"the {name} in the data set is not a UID", offending_element=tag)
            expected = self._sop_instance if tag == SOP_INSTANCE_UID else self._sop_class
            if uid and uid != expected and self._archive.settings.on_mismatch != "store":
                raise DataSetMismatchError(f"the {name} in the data set is another one", offending_element=tag)
        if not (class_uid and instance_uid):
            message = "stored although the data set lacks a UID"
        else:
            message = "stored under the UIDs of the data set, which are not those of the request"
        self._sop_class, self._sop_instance = class_uid or self._sop_class, instance_uid or self._sop_instance
        self._rewrite()
        return message

    def _rewrite(self) -> None:
        """Copy the temporary file, with the file meta information the data set deserves."""
        old_path, old_fd, offset = self._temporary, self._fd, self._meta_length
        self._fd, self._temporary = -1, ""
        try:
            self._start(b"")
            source = disk.open_for_reading(old_path)
            try:
                os.lseek(source, offset, os.SEEK_SET)
                while piece := os.read(source, 1 << 20):
                    _write_all(self._fd, memoryview(piece))
            finally:
                os.close(source)
        finally:
            os.close(old_fd)
            disk.remove(old_path)


def _write_all(fd: int, view: memoryview) -> None:
    written = os.write(fd, view)
    while written < len(view):
        written += os.write(fd, view[written:])
