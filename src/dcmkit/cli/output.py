"""stdout is data, stderr is talk: results in four formats, progress, errors and exit codes.

Nothing from a peer or a file reaches a terminal raw (`escape`). rich, tqdm, json and csv are imported when used.
"""

from __future__ import annotations

import io
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from dcmkit import logs
from dcmkit.errors import DcmkitError, ExitCode, OutputError
from dcmkit.logs import escape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

FORMATS = ("table", "json", "jsonl", "csv")
"""What `--format` takes."""

__all__ = ["FORMATS", "Environment", "Progress", "emit", "escape", "run_command", "say"]


class Environment:
    """Where this process stands: its streams, whether a person is looking, its name.

    Attributes:
        program: what error lines begin with ("dcmkit storescu").
    """

    program = "dcmkit"

    @property
    def stdout(self) -> TextIO:
        """Results go here, and nothing else."""
        return sys.stdout

    @property
    def stderr(self) -> TextIO:
        """Everything a person reads while waiting."""
        return sys.stderr

    @property
    def stdout_is_terminal(self) -> bool:
        """Whether results are looked at rather than read by a program."""
        return _is_terminal(sys.stdout)

    @property
    def stderr_is_terminal(self) -> bool:
        """Whether progress would be seen."""
        return _is_terminal(sys.stderr)

    @property
    def color(self) -> bool:
        """Whether stdout may carry colours: a terminal, no NO_COLOR (no-color.org), not a dumb one."""
        return self.stdout_is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


environment = Environment()


def _is_terminal(stream: Any) -> bool:
    try:
        return bool(stream is not None and stream.isatty())
    except ValueError:  # closed
        return False


def prepare_stdout() -> None:
    """Results are UTF-8 whatever the locale; a terminal that cannot show a character gets its escape."""
    stdout = sys.stdout
    if isinstance(stdout, io.TextIOWrapper) and stdout.encoding.lower() not in ("utf-8", "utf8"):
        if _is_terminal(stdout):
            stdout.reconfigure(errors="backslashreplace")
        else:
            stdout.reconfigure(encoding="utf-8")


def say(message: str) -> None:
    """A line for a person, on stderr: not a result, not a log message."""
    logs.write(f"{escape(message)}\n")


# --- results -----------------------------------------------------------------------------------------------------


def emit(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], format: str) -> int:  # noqa: A002
    """Write rows to stdout and return their number.

    Args:
        rows: one mapping for each; a missing key is an empty cell (json: left out). Values are text, numbers, booleans,
            None, or (json and jsonl only) lists and mappings of these.
        columns: the keys to show, in order; for json and jsonl only their order counts and further keys follow.
        format: one of `FORMATS`. jsonl, csv and json are written row by row; a table needs all rows for its widths.

    Raises:
        OutputError: stdout cannot be written (not for a reader that has gone: BrokenPipeError).
    """
    writer = {"json": _emit_json, "jsonl": _emit_jsonl, "csv": _emit_csv, "table": _emit_table}[format]
    with stdout_errors():
        return writer(rows, columns)


@contextmanager
def stdout_errors() -> Iterator[None]:
    """What goes wrong with stdout, as ours; BrokenPipeError is left as it is."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"the results cannot be written: {error.strerror or error}") from None


def _emit_json(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> int:
    count = 0
    for count, row in enumerate(rows, 1):
        sys.stdout.write(("[\n" if count == 1 else ",\n") + json_text(_ordered(row, columns)))
    sys.stdout.write("\n]\n" if count else "[]\n")
    return count


def _emit_jsonl(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> int:
    count = 0
    for row in rows:
        sys.stdout.write(json_text(_ordered(row, columns)) + "\n")
        count += 1
    return count


def _ordered(row: Mapping[str, Any], columns: Sequence[str]) -> dict[str, Any]:
    first = {name: row[name] for name in columns if name in row}
    return {**first, **{name: value for name, value in row.items() if name not in first}}


def json_text(value: Any) -> str:
    """JSON in UTF-8 with nothing in it that a terminal obeys: those characters are `\\uXXXX`, as JSON allows."""
    import json

    return escape_json(json.dumps(value, ensure_ascii=False, default=str))


def escape_json(text: str) -> str:
    """JSON on one line with `\\uXXXX` for what a terminal would obey or what would hide."""
    if escape(text) == text:
        return text
    return "".join(character if escape(character) == character else f"\\u{ord(character):04x}" for character in text)


def _emit_csv(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> int:
    import csv

    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    count = 0
    for row in rows:
        writer.writerow([_cell(row.get(name)) for name in columns])
        count += 1
    return count


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, (list, tuple)):
        return "\\".join(_cell(item) for item in value)  # DICOM's own separator of values
    return escape(value if isinstance(value, str) else str(value))


def _emit_table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> int:
    cells = [[_cell(row.get(name)) for name in columns] for row in rows]
    numeric = [all(isinstance(row, list) and _is_number(row[i]) for row in cells) for i in range(len(columns))]
    if environment.stdout_is_terminal and cells:
        _rich_table(cells, columns, numeric)
    else:
        _plain_table(cells, columns, numeric)
    return len(cells)


def _is_number(text: str) -> bool:
    return text == "" or text.replace(".", "", 1).lstrip("-").isdigit()


def _rich_table(cells: list[list[str]], columns: Sequence[str], numeric: list[bool]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name, is_number in zip(columns, numeric, strict=True):
        table.add_column(name, justify="right" if is_number else "left", overflow="fold")
    for row in cells:
        table.add_row(*(Text(cell) for cell in row))  # Text: no markup is read out of values
    Console(file=sys.stdout, no_color=not environment.color, highlight=False).print(table)


def _plain_table(cells: list[list[str]], columns: Sequence[str], numeric: list[bool]) -> None:
    widths = [max([len(name), *(len(row[i]) for row in cells)]) for i, name in enumerate(columns)]
    for row in ([*columns], *cells):
        padded = (
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        )
        sys.stdout.write("  ".join(padded).rstrip() + "\n")


# --- progress ----------------------------------------------------------------------------------------------------


class Progress:
    """Objects, bytes, rate and time left, on a terminal; elsewhere, when quiet or when logging at info, nothing.

    Use as a context manager. `objects` and `size` (bytes) are the totals, 0 where unknown.
    """

    def __init__(self, what: str, *, objects: int = 0, size: int = 0) -> None:
        self._bar: Any = None
        self._objects = 0
        self._of = f"/{objects}" if objects else ""
        self._by_size = bool(size)
        if environment.stderr_is_terminal and logs.level_enabled(logs.ERROR) and not logs.level_enabled(logs.INFO):
            from tqdm import tqdm

            unit = {"unit": "B", "unit_scale": True} if size else {"unit": " objects"}
            self._bar = tqdm(desc=what, total=size or objects or None, leave=False, file=sys.stderr, **unit)
            logs.set_writer(self._write_above)

    def advance(self, objects: int = 1, size: int = 0) -> None:
        """So many more objects are done, of `size` bytes together."""
        self._objects += objects
        if self._bar is not None:
            if self._by_size:
                self._bar.set_postfix_str(f"{self._objects}{self._of} objects", refresh=False)
            self._bar.update(size if self._by_size else objects)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            logs.set_writer(None)
            self._bar.close()
            self._bar = None

    def _write_above(self, text: str) -> None:
        """Lines for a person and log messages go above the bar, not into it."""
        self._bar.write(text, file=sys.stderr, end="")

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


# --- errors and exit codes ---------------------------------------------------------------------------------------


def run_command(main: Callable[..., Any], args: Any, program: str, **extra: Any) -> int:
    """Run click's `main` and leave with an exit code of `ExitCode`; every failure is one line on stderr.

    With `standalone_mode=False` the code is returned instead.
    """
    environment.program = program
    standalone = extra.pop("standalone_mode", True)
    code = _outcome(lambda: main(args=args, prog_name=program, standalone_mode=False, **extra))
    if standalone:
        sys.exit(code)
    return code


def _outcome(run: Callable[[], Any]) -> int:
    import click

    try:
        result = run()
        if sys.stdout is not None:
            with stdout_errors():
                sys.stdout.flush()
        return int(result) if isinstance(result, int) else ExitCode.DONE
    except DcmkitError as error:
        return _fail(error.message, error.hint, error.exit_code)
    except click.ClickException as error:
        text = error.format_message()
        usage = f"{environment.program} --help shows the usage"
        return _fail((text[:1].lower() + text[1:]).rstrip("."), usage, ExitCode.BAD_USAGE)
    except (KeyboardInterrupt, click.Abort):
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        return broken_pipe()
    except MemoryError:
        return _fail("out of memory", "", ExitCode.INTERNAL_ERROR)
    except Exception as error:
        if logs.wants_tracebacks():
            logs.get_logger("cli").error("%s", type(error).__name__, exc_info=True)
        hint = "this is a defect; please report it with the output of --debug"
        return _fail(f"{type(error).__name__}: {error}", hint, ExitCode.INTERNAL_ERROR)


def broken_pipe() -> int:
    """The reader of stdout has gone (`| head`): say nothing, and let the interpreter's last flush succeed."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError, AttributeError):
        pass
    return ExitCode.BROKEN_PIPE


def _fail(message: str, hint: str, code: ExitCode) -> int:
    text = f"{message} ({hint})" if hint else message
    if logs.is_json():
        logs.get_logger("cli").fatal("%s", text)
    else:
        say(f"{environment.program}: error: {text}")
    return code
