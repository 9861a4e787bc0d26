"""`--report FILE`: a JSON line for each thing a command dealt with."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from dcmkit.errors import ExitCode, OutputError

if TYPE_CHECKING:
    from collections.abc import Mapping


class ReportError(OutputError):
    """The report cannot be written."""

    exit_code = ExitCode.CANNOT_WRITE_REPORT


class Report:
    """A report being written.

    Args:
        path: where to, or "" for no report.

    Raises:
        ReportError: by every method, and once only.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            self._file = open(path, "w", encoding="utf-8") if path else None  # noqa: SIM115 - close()
        except OSError as error:
            raise self._error(error) from None

    def __bool__(self) -> bool:
        """Whether anything is written."""
        return self._file is not None

    def write(self, row: Mapping[str, Any], *, flush: bool = False) -> None:
        """Add a line; with `flush` it is there for others to read at once."""
        if self._file is None:
            return
        import json

        try:
            self._file.write(json.dumps(row) + "\n")
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
