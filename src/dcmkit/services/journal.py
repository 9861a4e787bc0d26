"""What a retrieve has done so far, on disk, so that it can be killed and taken up again.

JSON lines, only ever added to. Each names a request by its key and says that an object of it has arrived, or that all
of it is done. A line cut short by a kill is passed over: its object is asked for once more, and found to be there.
"""

from __future__ import annotations

import json
import os
import stat
import threading
from types import TracebackType

from dcmkit.errors import ExitCode, OutputError

_BEGIN = '{"request": "'
"""Every line begins so."""


class JournalError(OutputError):
    """The journal cannot be used."""

    exit_code = ExitCode.CANNOT_WRITE_REPORT


class Journal:
    """The journal in `path`; safe for many threads, not for two processes.

    Raises:
        JournalError: it cannot be read or written, is another kind of file, or another process writes it.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._done: set[str] = set()
        self._arrived: dict[str, dict[str, str]] = {}
        try:
            self._file = open(path, "a+", encoding="utf-8")  # noqa: SIM115 - close()
        except OSError as error:
            raise JournalError(f"journal {path} cannot be opened: {error.strerror}") from None
        try:
            if not stat.S_ISREG(os.fstat(self._file.fileno()).st_mode):
                raise JournalError(f"{path} is no file", hint="name a file that does not exist yet")
            self._only_one()
            self._read()
        except BaseException:
            self._file.close()
            raise

    def _only_one(self) -> None:
        try:
            import fcntl
        except ImportError:  # Windows
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise JournalError(f"journal {self._path} is in use by another process") from None

    def _read(self) -> None:
        self._file.seek(0)
        try:
            lines = self._file.read().split("\n")
        except (OSError, UnicodeDecodeError):
            raise JournalError(f"{self._path} is no journal", hint="name a file that does not exist yet") from None
        for line in lines:
            if line:
                self._take(line)
        if lines[-1]:
            self._write("\n")

    def _take(self, line: str) -> None:
        try:
            entry = json.loads(line)
            key = entry["request"]
            if entry.get("done"):
                self._done.add(key)
            else:
                self._arrived.setdefault(key, {})[entry["object"]] = entry["file"]
        except (ValueError, KeyError, TypeError, AttributeError):
            if not line.startswith(_BEGIN[: len(line)]):
                raise JournalError(f"{self._path} is no journal", hint="name a file that does not exist yet") from None

    def is_done(self, key: str) -> bool:
        """Whether all of a request has arrived, and its files are still there."""
        return key in self._done and all(_still_there(path) for path in self._arrived.get(key, {}).values())

    def arrived(self, key: str) -> set[str]:
        """The SOP Instance UIDs of a request that have arrived, and are still there."""
        return {uid for uid, path in self._arrived.get(key, {}).items() if _still_there(path)}

    def add(self, key: str, sop_instance_uid: str, path: str) -> None:
        """An object has arrived. Raises: JournalError."""
        self._append({"request": key, "object": sop_instance_uid, "file": path and os.path.abspath(path)})

    def finish(self, key: str) -> None:
        """All of a request has arrived. Raises: JournalError."""
        self._append({"request": key, "done": True})

    def _append(self, entry: dict[str, object]) -> None:
        self._write(json.dumps(entry) + "\n")

    def _write(self, line: str) -> None:
        with self._lock:
            try:
                self._file.write(line)
                self._file.flush()
            except OSError as error:
                raise JournalError(f"journal {self._path} cannot be written: {error.strerror}") from None

    def close(self) -> None:
        """Done with it."""
        try:
            self._file.close()
        except OSError as error:
            raise JournalError(f"journal {self._path} cannot be written: {error.strerror}") from None

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _still_there(path: str) -> bool:
    return not path or os.path.exists(path)
