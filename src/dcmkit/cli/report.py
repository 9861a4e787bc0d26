"""`--report FILE`: a JSON line for each thing a command dealt with."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any

from dcmkit.errors import ExitCode, OutputError

if TYPE_CHECKING:
    from collections.abc import Mapping


class ReportError(OutputError):
    """The report cannot be written."""

    exit_code = ExitCode.CANNOT_WRITE_REPORT


class ReportFile:
    """Text being written for whoever wants a report.

    Args:
        path: where to, or "" for no report.
        private: only its owner may read it.

    Raises:
        ReportError: by every method, and once only.
    """

    def __init__(self, path: str, *, private: bool = False) -> None:
        self._path = path
        self._file: IO[str] | None = None
        try:
            if path:
                flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_CLOEXEC", 0)
                fd = os.open(path, flags, 0o600 if private else 0o666)
                if private and hasattr(os, "fchmod"):
                    with suppress(OSError):
                        os.fchmod(fd, 0o600)
                self._file = open(fd, "w", encoding="utf-8", errors="surrogateescape")  # noqa: SIM115 - close()
        except OSError as error:
            raise self._error(error) from None

    def __bool__(self) -> bool:
        """Whether anything is written."""
        return self._file is not None

    def write_text(self, text: str, *, flush: bool = False) -> None:
        """Add to it; with `flush` it is there for others to read at once."""
        if self._file is None:
            return
        try:
            self._file.write(text)
            if flush:
                self._file.flush()
        except OSError as error:
            file, self._file = self._file, None
            with suppress(OSError):
                file.close()
            raise self._error(error) from None

    def close(self) -> None:
        """Finish the report; may be called again."""
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except OSError as error:
                raise self._error(error) from None

    def _error(self, error: OSError) -> ReportError:
        return ReportError(f"report {self._path} cannot be written: {error.strerror}")


class Report(ReportFile):
    """A report of JSON lines being written."""

    def write(self, row: Mapping[str, Any], *, flush: bool = False) -> None:
        """Add a line."""
        if self._file is not None:
            import json

            self.write_text(json.dumps(row) + "\n", flush=flush)
