"""The directories of an archive: made when needed, proven to lie inside it, synced up to the root."""

from __future__ import annotations

import os
from collections.abc import Iterable

from dcmkit.archive import disk
from dcmkit.errors import OutputError

OWN = ".dcmkit"
"""The directory in an archive that is the archive's own: index, lock, objects on their way in."""
_ABSOLUTE = ("/", "\\")
_CACHE_LIMIT = 50000
_ATTEMPTS = 20


class Directories:
    """Directories below `root`, by their paths relative to it ("" is the root itself).

    Safe for many threads: what two of them do twice does no harm.
    """

    def __init__(self, root: str) -> None:
        self.root = os.path.realpath(root)
        self._inside = self.root.rstrip(os.sep) + os.sep
        self._durable: dict[str, bool] = {}

    def absolute(self, relative: str) -> str:
        """The path on this system; `relative` may be absolute already (a file indexed in place)."""
        if not relative:
            return self.root
        return relative if relative.startswith(_ABSOLUTE) or relative[1:2] == ":" else self._inside + relative

    def prepare(self, relative: str) -> str:
        """Make a directory where it is missing; its absolute path.

        Raises:
            OutputError: it lies outside the archive (a symbolic link leads there), or cannot be made.
        """
        path = self.absolute(relative)
        if relative in self._durable:
            return path
        if not self.holds(path):
            hint = f"{path} is {os.path.realpath(path)}"
            raise OutputError("a directory of the archive leads out of it", hint=hint)
        try:
            _make(path)
        except OSError as error:
            if isinstance(error, (FileExistsError, NotADirectoryError)):
                raise OutputError("a file stands where a directory must be", hint=str(error)) from None
            raise disk.output_error(error) from None
        if len(self._durable) >= _CACHE_LIMIT:
            self._durable.clear()
        self._durable[relative] = False
        return path

    def holds(self, path: str) -> bool:
        """Whether a directory lies inside the archive, symbolic links followed."""
        real = os.path.realpath(path)
        return real == self.root or real.startswith(self._inside)

    def forget(self, relative: str) -> None:
        """A directory turned out to be gone."""
        while relative:
            self._durable.pop(relative, None)
            relative = relative.rpartition("/")[0]

    def sync(self, relatives: Iterable[str]) -> None:
        """Make the names in these directories, and the directories' own names, survive a power cut.

        Raises:
            OSError: a sync failed.
        """
        done: set[str] = set()
        for relative in relatives:
            here = relative
            while True:
                if here not in done:
                    disk.sync_directory(self.absolute(here))
                    done.add(here)
                if not here or self._durable.get(here) or os.path.isabs(here):
                    break
                here = here.rpartition("/")[0]
        for relative in done:
            if relative in self._durable:
                self._durable[relative] = True


def _make(path: str) -> None:
    """Make a directory and those above it; a removal may take empty ones away at the same moment."""
    for attempt in range(_ATTEMPTS, -1, -1):
        try:
            os.makedirs(path, exist_ok=True)
            break
        except (FileNotFoundError, FileExistsError):
            if not attempt or (os.path.lexists(path) and not os.path.isdir(path)):
                raise


def list_directory(path: str, relative: str) -> tuple[dict[str, os.stat_result], list[str]]:
    """The regular files in a directory, and the directories below it (symbolic links are neither)."""
    files: dict[str, os.stat_result] = {}
    below: list[str] = []
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                try:
                    if entry.is_dir(follow_symlinks=False):
                        if relative or entry.name != OWN:
                            below.append(f"{relative}/{entry.name}" if relative else entry.name)
                    elif entry.is_file(follow_symlinks=False):
                        files[entry.name] = entry.stat(follow_symlinks=False)
                except OSError:
                    continue
    except OSError:
        pass
    return files, below
