"""What `dcmkit anonymize --check` does: tells what in files could still identify somebody, and never the values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from dcmkit.cli.output import emit, say
from dcmkit.dataset.files import find_files
from dcmkit.deid import mapping, profile
from dcmkit.deid.checking import Checker
from dcmkit.deid.profile import Plan
from dcmkit.errors import DcmkitError, ExitCode, NoInputError, UsageError

if TYPE_CHECKING:
    from dcmkit.deid.boxes import Box
    from dcmkit.deid.rules import Rules

COLUMNS = ("file", "path", "keyword", "action", "rule")


def run(given: Mapping[str, Any], options: Sequence[str], rules: Rules | None, boxes: Sequence[Box]) -> ExitCode:
    """Look at what was named.

    Raises:
        UsageError, InputError: nothing can be done at all.
    """
    if not given["paths"]:
        raise NoInputError("no files to check", hint="name files or directories")
    if given["output"]:
        raise UsageError("--check writes nothing", hint="leave out either --check or --output")
    chosen = profile.parse(",".join([given["profile"], *options]))
    known = mapping.read(given["map_file"]) if given["map_file"] else None
    plan = Plan(chosen, rules)
    found = Found(Checker(plan, rules=rules, uid_root=given["uid_root"], given=known, boxes=boxes))
    paths = find_files(
        given["paths"], found.unreadable, recurse=given["recurse"], pattern=given["scan_pattern"], directories=True
    )
    emit(found.rows(paths), COLUMNS, given["form"])
    return found.exit_code()


class Found:
    """Goes over files and counts what is found."""

    def __init__(self, checker: Checker) -> None:
        self._checker = checker
        self.files = self.failed = self.suspects = 0

    def unreadable(self, path: str, error: DcmkitError) -> None:
        """A file that cannot be looked at."""
        self.failed += 1
        say(f"{path}: {error}")

    def rows(self, paths: Iterable[str]) -> Iterator[dict[str, str]]:
        """One for each thing that is found, as soon as its file has been read."""
        for path in paths:
            try:
                suspects = list(self._checker(path))
            except DcmkitError as error:
                self.unreadable(path, error)
                continue
            self.files += 1
            self.suspects += len(suspects)
            for one in suspects:
                yield {"file": path, **one._asdict()}

    def exit_code(self) -> ExitCode:
        """What could not be read may hide anything, so that counts first."""
        if self.failed:
            return ExitCode.PARTLY_DONE if self.files else ExitCode.NOTHING_DONE
        if not self.files:
            raise NoInputError("no files to check: the directories are empty")
        return ExitCode.DIFFERENT if self.suspects else ExitCode.DONE
