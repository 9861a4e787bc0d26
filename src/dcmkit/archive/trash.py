"""What was deleted and can be had back: files moved to a folder of the archive's own, and what they were.

A folder for each deletion, `.dcmkit/trash/<time>-<id>/`, with the files under the numbers of their rows and a manifest
in JSON. The manifest is there first; then files move and rows go as `removal.py` has it, so that after a kill the next
`Archive.open` ends what was begun: a file is in the archive or in the trash, at any moment. Nothing depends on the
manifest but the time of receipt: files tell themselves what they are. They come back through the archive's one door.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import time
from calendar import timegm
from typing import TYPE_CHECKING, Any, NamedTuple

from dcmkit.archive import disk
from dcmkit.archive.directories import OWN
from dcmkit.archive.filing import KEPT
from dcmkit.archive.removal import TRASH, Removed, folder_of, remove_batch
from dcmkit.archive.slot import locked
from dcmkit.errors import DcmkitError, DuplicateError, InputError, OutputError
from dcmkit.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dcmkit.archive.store import Archive

log = get_logger("archive")

MANIFEST = "manifest.json"
_PURGED = ".purged"
_NAME = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}")
_FILE = re.compile(r"\d{1,19}\.dcm")
_MOMENT = "%Y%m%dT%H%M%SZ"
_MANIFEST_LIMIT = 1 << 28

_SELECT = "SELECT i.id, i.size, i.mtime_ns, d.path, i.name, i.SOPInstanceUID, i.received"
_FROM_ABOVE = (
    f"{_SELECT} FROM study s CROSS JOIN series e ON e.study = s.id CROSS JOIN instance i ON i.series = e.id"
    " CROSS JOIN directory d ON d.id = i.directory WHERE s.StudyInstanceUID = ?%s ORDER BY i.id"
)
_FROM_BELOW = (
    f"{_SELECT} FROM instance i CROSS JOIN series e ON e.id = i.series CROSS JOIN study s ON s.id = e.study"
    " CROSS JOIN directory d ON d.id = i.directory WHERE i.SOPInstanceUID = ? AND s.StudyInstanceUID = ?%s"
)


class NeededError(DcmkitError):
    """What is to be deleted still waits to be delivered."""

    http_status = 409


class NotInTrashError(InputError):
    """There is no such thing in the trash."""


class Discarded(NamedTuple):
    """What is in the trash: one deletion.

    Attributes:
        identifier: of the deletion.
        deleted: when, in seconds since 1970.
        study, series, instance: what was deleted; the last two are "" for a study, the last for a series.
        by: who did it.
        instances, size: files there are, and their bytes.
    """

    identifier: str
    deleted: int
    study: str
    series: str
    instance: str
    by: str
    instances: int
    size: int


class Restored(NamedTuple):
    """How many instances are back, and why others are not."""

    instances: int
    left: list[str]


class _Row(NamedTuple):
    number: int
    size: int
    mtime_ns: int
    directory: str
    name: str
    instance: str
    received: int

    @property
    def path(self) -> str:
        return f"{self.directory}/{self.name}" if self.directory else self.name


# --- deleting ------------------------------------------------------------------------------------------------------


def delete(
    archive: Archive, study: str, series: str = "", instance: str = "", *, trash: bool = True, by: str = ""
) -> Removed | None:
    """Delete a study, a series of it, or an instance of that, with all files there are of them.

    Files indexed in place stay where they are; their rows go.

    Args:
        trash: whether it can be had back.
        by: who does it, for the manifest.

    Returns:
        None where there is no such thing.

    Raises:
        NeededError: part of it waits to be delivered; nothing is deleted.
        OutputError: a file or row cannot be removed; what was is in the trash.
    """
    archive.flush()
    try:
        with locked(archive.lock_path):
            rows = _rows(archive, study, series, instance)
            if not rows:
                return None
            if archive.needed is not None and archive.needed([row.path for row in rows]):
                raise NeededError("part of it waits to be delivered", hint="dcmkit spool ls shows what waits")
            into = ""
            if trash:
                into = f"{time.strftime(_MOMENT, time.gmtime())}-{secrets.token_hex(4)}"
                what = {"study": study, "series": series, "instance": instance, "by": by}
                _write_manifest(archive, into, what, rows)
            done = remove_batch(archive, [row[:3] for row in rows], into=into)
            if into and not _files(folder_of(archive, into)) and done.kept:
                shutil.rmtree(folder_of(archive, into), ignore_errors=True)
            return done
    except OSError as error:
        raise disk.output_error(error) from None


def _rows(archive: Archive, study: str, series: str, instance: str) -> list[_Row]:
    also = " AND e.SeriesInstanceUID = ?" if series else ""
    if instance:
        sql, parameters = _FROM_BELOW % also, [instance, study]
    else:
        sql, parameters = _FROM_ABOVE % also, [study]
    parameters += [series] if series else []
    with archive.index.reading() as connection:
        return [_Row(*row) for row in connection.execute(sql, parameters)]


def _write_manifest(archive: Archive, into: str, what: dict[str, str], rows: list[_Row]) -> None:
    folder = folder_of(archive, into)
    os.makedirs(folder)
    files = [
        {"file": f"{row.number}.dcm", "path": row.path, "instance": row.instance, "received": row.received}
        for row in rows
    ]
    manifest = {"version": 1, "deleted": int(time.time()), **what, "files": files}
    fd = disk.create(os.path.join(folder, MANIFEST))
    try:
        with os.fdopen(fd, "wb", closefd=False) as file:
            file.write(json.dumps(manifest).encode())
        if archive.settings.durability == "full":
            disk.sync_data(fd)
    finally:
        os.close(fd)
    if archive.settings.durability == "full":
        archive.directories.sync((f"{OWN}/{TRASH}/{into}", f"{OWN}/{TRASH}", OWN))


# --- looking -------------------------------------------------------------------------------------------------------


def discarded(archive: Archive) -> list[Discarded]:
    """What is in the trash, the newest first."""
    found: list[Discarded] = []
    for name in _names(archive):
        folder = folder_of(archive, name)
        manifest = _manifest(folder)
        sizes = _files(folder).values()
        count = len(sizes) + sum(os.path.isabs(str(one.get("path"))) for one in manifest["files"])
        if count:
            texts = [str(manifest.get(key, "")) for key in ("study", "series", "instance", "by")]
            study, series, instance, by = texts
            found.append(Discarded(name, _deleted(name), study, series, instance, by, count, sum(sizes)))
    return found


def _names(archive: Archive) -> list[str]:
    try:
        names = os.listdir(folder_of(archive, ""))
    except OSError:
        return []
    return sorted(filter(_NAME.fullmatch, names), reverse=True)


def _deleted(name: str) -> int:
    return timegm(time.strptime(name.partition("-")[0], _MOMENT))


def _manifest(folder: str) -> dict[str, Any]:
    """The manifest; one without files where it is damaged or missing."""
    try:
        with open(os.path.join(folder, MANIFEST), "rb") as file:
            found = json.loads(file.read(_MANIFEST_LIMIT))
    except (OSError, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        found = {}
    files = found.get("files")
    found["files"] = [one for one in files if isinstance(one, dict)] if isinstance(files, list) else []
    return found


def _files(folder: str) -> dict[str, int]:
    """The files in a folder and their sizes."""
    found: dict[str, int] = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if _FILE.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                    found[entry.name] = entry.stat(follow_symlinks=False).st_size
    except OSError:
        pass
    return found


def _folder(archive: Archive, identifier: str) -> str:
    """The folder of a deletion. Raises: NotInTrashError."""
    folder = folder_of(archive, identifier)
    if not _NAME.fullmatch(identifier) or not os.path.isdir(folder):
        raise NotInTrashError("there is no such deletion in the trash")
    return folder


# --- having back ---------------------------------------------------------------------------------------------------


def restore(archive: Archive, identifier: str) -> Restored:
    """Have back what a deletion took. What cannot come back stays in the trash.

    Nothing that has come meanwhile is replaced. It may be done again, whatever interrupted it.

    Raises:
        NotInTrashError: there is no such deletion.
        OutputError: the trash cannot be used.
    """
    back, left = 0, list[str]()
    try:
        with _locked(archive):
            folder = _folder(archive, identifier)
            files = _manifest(folder)["files"]
            received = {one.get("file"): one.get("received") for one in files}
            for name in sorted(_files(folder), key=lambda name: int(name[:-4])):
                when = received.get(name)
                try:
                    _restore_file(archive, os.path.join(folder, name), when if isinstance(when, int) else 0)
                    back += 1
                except DcmkitError as error:
                    left.append(error.message)
            back += _restore_in_place(archive, [str(one.get("path")) for one in files], left)
            archive.flush()
            if not left:
                _discard(folder)
    except OSError as error:
        raise disk.output_error(error) from None
    log.info("restored %d instances from the trash, %d are left there", back, len(left))
    return Restored(back, left)


def _restore_file(archive: Archive, path: str, received: int) -> None:
    """One file, through the door; in the trash until it is stored. Raises: DcmkitError, OSError."""
    record = archive.read_record(path)
    record.received = received or record.received
    uid = record.sop_instance_uid
    temporary = archive.temporary()
    try:
        os.link(path, temporary)
    except OSError:
        shutil.copy2(path, temporary)
    try:
        archive.claim(uid)
        try:
            fd = disk.open_for_reading(temporary)
            try:
                if archive.settings.on_duplicate == "replace":
                    _require_same(archive, uid, temporary, record.data_set_offset)
                stored = archive.file(record, temporary, fd)
            finally:
                os.close(fd)
        finally:
            archive.release(uid)
    finally:
        disk.remove(temporary)
    if stored.outcome == KEPT:
        raise DuplicateError("another object with this SOP Instance UID has come meanwhile")
    os.unlink(path)


def _require_same(archive: Archive, uid: str, path: str, offset: int) -> None:
    """What came meanwhile is newer: it is not replaced by what was deleted. Raises: DuplicateError."""
    archive.flush()
    for directory, name, other in archive.known(uid):
        try:
            there = os.path.join(archive.directories.absolute(directory), name)
            same = disk.same_data_set(there, other, path, offset)
        except OSError:
            continue
        if not same:
            raise DuplicateError("another object with this SOP Instance UID has come meanwhile")


def _restore_in_place(archive: Archive, paths: list[str], left: list[str]) -> int:
    """Index again what never left its place."""
    from dcmkit.archive.adding import add

    outside = [path for path in paths if os.path.isabs(path)]
    if not outside:
        return 0
    done = add(archive, outside, problem=lambda _, error: left.append(error.message))
    return done.added + done.known


# --- emptying ------------------------------------------------------------------------------------------------------


def discard(archive: Archive, identifier: str) -> None:
    """Remove what a deletion took, for good.

    Raises:
        NotInTrashError: there is no such deletion.
        OutputError: it cannot be removed.
    """
    try:
        with _locked(archive):
            _discard(_folder(archive, identifier))
    except OSError as error:
        raise disk.output_error(error) from None


def purge(archive: Archive, older_than: float = 0.0) -> int:
    """Empty the trash of what was deleted more than `older_than` seconds ago; how many deletions that was.

    Raises:
        OutputError: something cannot be removed.
    """
    before = time.time() - older_than
    gone = 0
    try:
        with _locked(archive), locked(archive.lock_path):  # nobody is just deleting
            for folder in _half_purged(archive):
                shutil.rmtree(folder)
            for name in _names(archive):
                if _deleted(name) <= before:
                    _discard(folder_of(archive, name))
                    gone += 1
    except OSError as error:
        raise disk.output_error(error) from None
    return gone


def _half_purged(archive: Archive) -> Iterator[str]:
    root = folder_of(archive, "")
    try:
        names = os.listdir(root)
    except OSError:
        return
    for name in names:
        if name.endswith(_PURGED) and _NAME.fullmatch(name.removesuffix(_PURGED)):
            yield os.path.join(root, name)


def _discard(folder: str) -> None:
    """Out of sight first, so that nobody restores half of it. Raises: OSError."""
    os.replace(folder, folder + _PURGED)
    shutil.rmtree(folder + _PURGED)


def _locked(archive: Archive) -> Any:
    """One process at a time takes things out of the trash. Raises: OSError, OutputError."""
    if not os.path.isdir(os.path.join(archive.root, OWN)):
        raise OutputError("the archive's directory is gone")
    return locked(os.path.join(archive.root, OWN, "trash.lock"))
