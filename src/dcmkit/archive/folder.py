"""A folder of DICOM files without an index: the same door as an archive's for what is received."""

from __future__ import annotations

import os
import time
from types import TracebackType

from dcmkit.archive import disk
from dcmkit.archive.attributes import SERIES_INSTANCE_UID, SOP_INSTANCE_UID, STUDY_INSTANCE_UID, WANTED, Attribute
from dcmkit.archive.claims import Claims
from dcmkit.archive.directories import Directories
from dcmkit.archive.filing import IDENTICAL, KEPT_BOTH, STORED, Stored
from dcmkit.archive.incoming import Incoming
from dcmkit.archive.layout import DEFAULT_LAYOUT, Layout, is_safe_uid, with_suffix
from dcmkit.archive.record import Record
from dcmkit.dataset.part10 import read_file_header
from dcmkit.errors import InputError, InvalidDataSetError, OutputDirectoryError
from dcmkit.settings import ArchiveSettings

_PREFIX, _SUFFIX = ".dcmkit-", ".part"
_FORGOTTEN = 86400.0
"""Seconds after which an unfinished object has no process any more."""
_ATTEMPTS = 5


class Folder(Claims):
    """A directory that objects are received into; safe for many threads and beside other processes.

    An object has a temporary name, beginning with a dot, until it is complete. A file that is there already with the
    same content is left as it is; with other content it stays, and the new one gets `~2` to its name.

    Args:
        directory: made when it is missing.
        layout: a template as `--layout` takes it.
        settings: what else `ArchiveSettings` says about receiving; its directory and layout do not count.

    Raises:
        UsageError: the layout cannot be.
    """

    def __init__(self, directory: str, layout: str = DEFAULT_LAYOUT, settings: ArchiveSettings | None = None) -> None:
        self.settings = settings or ArchiveSettings(durability="file")
        self.directories = Directories(directory)
        self.layout = Layout(layout, _attribute_of)
        self.extra: tuple[Attribute, ...] = ()
        self.wanted = WANTED | {attribute.tag for attribute in self.layout.attributes}
        super().__init__()

    @property
    def root(self) -> str:
        """The absolute path."""
        return self.directories.root

    def open(self) -> Folder:
        """Make the directory, and remove unfinished objects of long ago.

        Raises:
            OutputDirectoryError: it cannot be made or written.
        """
        try:
            os.makedirs(self.root, exist_ok=True)
            for name in os.listdir(self.root):
                path = os.path.join(self.root, name)
                unfinished = name.startswith(_PREFIX) and name.endswith(_SUFFIX)
                if unfinished and time.time() - os.stat(path).st_mtime > _FORGOTTEN:
                    disk.remove(path)
        except OSError as error:
            message = f"the directory cannot be used: {error.strerror}"
            raise OutputDirectoryError(message, hint=self.root) from None
        if not os.access(self.root, os.W_OK | os.X_OK):
            raise OutputDirectoryError("no permission to write to the directory", hint=self.root)
        return self

    def close(self) -> None:
        """Nothing waits to be written."""

    def flush(self) -> None:
        """Nothing waits to be written."""

    def __enter__(self) -> Folder:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def incoming(
        self, sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str, source_ae_title: str = ""
    ) -> Incoming:
        """An object that is about to come. Raises: InvalidDataSetError when a UID is none."""
        for uid, tag in ((sop_instance_uid, 0x00080018), (sop_class_uid, 0x00080016)):
            if not is_safe_uid(uid):
                raise InvalidDataSetError("the UID of an object is not a UID", offending_element=tag)
        return Incoming(self, sop_class_uid, sop_instance_uid, transfer_syntax_uid, source_ae_title)

    # --- for Incoming ----------------------------------------------------------------------------------------

    def temporary(self) -> str:
        """A path nobody else uses."""
        return f"{self.root}{os.sep}{_PREFIX}{os.getpid()}-{os.urandom(6).hex()}{_SUFFIX}"

    def another_temporary(self) -> str:
        """The directory turned out to be gone. Raises: FileNotFoundError."""
        os.stat(self.root)
        return self.temporary()

    def known(self, sop_instance_uid: str) -> list[tuple[str, str, int]]:
        """The files of a SOP Instance: a folder does not know."""
        return []

    def file(self, record: Record, temporary: str, fd: int, known: list[tuple[str, str, int]] | None = None) -> Stored:
        """Give an object that is complete its name. Raises: OutputError, OSError."""
        durable = self.settings.durability
        if durable != "none":
            disk.sync_data(fd)
        stored = self._take_name(record, temporary)
        if durable == "full" and stored.outcome != IDENTICAL:
            self.directories.sync((os.path.relpath(os.path.dirname(stored.path), self.root).replace(os.sep, "/"),))
        return stored

    def _take_name(self, record: Record, temporary: str) -> Stored:
        path = candidate = self._path(record)
        number, vanished, outcome = 1, 0, STORED
        while True:
            directory, _, name = candidate.rpartition("/")
            final = f"{self.directories.prepare(directory)}{os.sep}{name}"
            try:
                disk.give_name(temporary, final)
            except FileNotFoundError:
                self.directories.forget(directory)
                vanished += 1
                if vanished > _ATTEMPTS:
                    raise
            except FileExistsError:
                if _holds(final, temporary, record.data_set_offset):
                    return Stored(final, IDENTICAL)
                outcome = KEPT_BOTH
                number += 1
                candidate = with_suffix(path, f"~{number}")
            else:
                return Stored(final, outcome, 0, "" if outcome == STORED else "another file has this name: kept both")

    def _path(self, record: Record) -> str:
        values = {attribute.tag: record.text(attribute) for attribute in self.layout.attributes}
        if self.layout.is_default:
            values[STUDY_INSTANCE_UID] = record.study_instance_uid
            values[SERIES_INSTANCE_UID] = record.series_instance_uid
        values[SOP_INSTANCE_UID] = record.sop_instance_uid
        return self.layout.path(values)


def _attribute_of(keyword: str) -> Attribute:
    from dcmkit.archive.store import attribute_of  # with the index and all: not for the layouts people have

    return attribute_of(keyword)


def _holds(path: str, temporary: str, offset: int) -> bool:
    """Whether the file that has the name is the same object with the same content."""
    try:
        return disk.same_data_set(path, read_file_header(path).offset, temporary, offset)
    except (OSError, InputError):
        return False
