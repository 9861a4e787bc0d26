"""What the tools that send files share: which files, and what became of each of them."""

from __future__ import annotations

import os
import sys
from typing import IO, TYPE_CHECKING, Any, ClassVar

import click

from dcmkit.cli.output import say
from dcmkit.cli.report import Report
from dcmkit.errors import DcmkitError, ExitCode, InputError
from dcmkit.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dcmkit.services.sending import Sent

_PIECE, _LONGEST_NAME = 64 * 1024, 64 * 1024

_OPTIONS = (
    click.option("+sd", "--scan-directories", is_flag=True, help="take directories as well as files; always so"),
    click.option("+sp", "--scan-pattern", metavar="PATTERN", default="", help="from directories only files named so"),
    click.option("+r/-r", "--recurse/--no-recurse", default=True, help="enter directories within directories"),
)


def path_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a tool the options about files and directories: `scan_pattern`, `recurse`, and one that changes nothing."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


class SendOutcome:
    """Counts what became of the files, tells failures on stderr, and writes the report.

    Args:
        report: path of the report, or "".
    """

    log: ClassVar[Any] = get_logger("cli")

    def __init__(self, report: str) -> None:
        self.done = 0
        self.failed = 0
        self._reasons: set[ExitCode] = set()
        self._report = Report(report)

    def unreadable(self, path: str, error: DcmkitError) -> None:
        """A file that cannot be sent."""
        self._count(error)
        say(f"{path}: {error}")
        self._report.write({"file": path, "status": None, "comment": str(error)})

    def unsent(self, path: str, error: DcmkitError) -> None:
        """A file that was not even tried; the reason is told once, for all of them."""
        self._count(error)
        self._report.write({"file": path, "status": None, "comment": f"not sent: {error}"})

    def _count(self, error: DcmkitError) -> None:
        self.failed += 1
        self._reasons.add(error.exit_code)

    def add(self, sent: Sent) -> None:
        """A file that was sent, or could not be."""
        if sent.stored:
            self.done += 1
            if sent.status:
                self.log.warning("%s: stored with warning 0x%04X: %s", sent.path, sent.status, sent.comment)
            else:
                self.log.info("%s: stored in %.1f ms", sent.path, sent.seconds * 1000)
        else:
            self.failed += 1
            self._reasons.add(sent.error.exit_code if sent.error is not None else ExitCode.REQUEST_FAILED)
            status = "" if sent.status is None else f"refused with status 0x{sent.status:04X}: "
            say(f"{sent.path}: {status}{sent.comment}")
        if self._report:
            self._report.write(self.row(sent))

    def row(self, sent: Sent) -> dict[str, Any]:
        """A file's line in the report."""
        return {
            "file": sent.path,
            "sop_class_uid": sent.sop_class_uid,
            "sop_instance_uid": sent.sop_instance_uid,
            "status": None if sent.status is None else f"{sent.status:04X}",
            "comment": sent.comment,
            "seconds": round(sent.seconds, 6),
            "bytes": sent.size,
            "transcoded": sent.transcoded,
        }

    def close(self) -> None:
        """Finish the report."""
        self._report.close()

    def exit_code(self) -> ExitCode:
        """All, some or none; and where it is none, whether the peer just does not take such objects."""
        self.log.info("%d stored, %d failed", self.done, self.failed)
        if not self.failed:
            return ExitCode.DONE
        if self._reasons == {ExitCode.NO_PRESENTATION_CONTEXT} and not self.done:
            return ExitCode.NO_PRESENTATION_CONTEXT
        return ExitCode.PARTLY_DONE if self.done else ExitCode.NOTHING_DONE


# --- lists of files --------------------------------------------------------------------------------------------------


def listed(path: str) -> Iterator[str]:
    """The paths that a list names, one on each line, or each ended by NUL (`find -print0`); taken as they come.

    Args:
        path: of the list, or `-` for stdin.

    Raises:
        InputError: it cannot be read, or is no list.
    """
    try:
        if path == "-":
            yield from _names(sys.stdin.buffer)
        else:
            with open(path, "rb") as file:
                yield from _names(file)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}") from None


def _names(stream: IO[bytes]) -> Iterator[str]:
    read = getattr(stream, "read1", stream.read)
    left, separator = b"", b""
    for piece in iter(lambda: read(_PIECE), b""):
        left += piece
        if not separator:
            if left[128:132] == b"DICM":
                raise InputError("is an object, and not a list of files", hint="name it by its path")
            separator = b"\0" if b"\0" in left else b"\n" if b"\n" in left else b""
        if separator:
            *names, left = left.split(separator)
            yield from _paths(names, separator)
        if len(left) > _LONGEST_NAME:
            raise InputError("is no list of files", hint="it has one path on each line")
    yield from _paths([left], separator)


def _paths(names: list[bytes], separator: bytes) -> Iterator[str]:
    for name in names:
        path = os.fsdecode(name if separator == b"\0" else name.removesuffix(b"\r"))
        if path:
            yield path
