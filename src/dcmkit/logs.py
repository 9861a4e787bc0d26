"""Loggers for library code: `log = get_logger("net")`, then `log.info("%s accepted", name)` as with `logging`.

A switched-off message costs one comparison, and this module imports nothing: `logging` costs a program 6 ms to start,
which is more than an association takes. Until a program calls `configure`, messages go to the standard `logging`
under the name `dcmkit.<package>`, so an application that uses dcmkit as a library configures them as usual.

What a peer says is never trusted here: a line is one line (control characters are escaped) and of bounded length.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

TRACE, DEBUG, INFO, WARNING, ERROR, FATAL = 5, 10, 20, 30, 40, 50
"""The levels, numbered as in `logging` (5 is between its DEBUG and NOTSET)."""

LEVELS = {"fatal": FATAL, "error": ERROR, "warn": WARNING, "info": INFO, "debug": DEBUG, "trace": TRACE}
"""DCMTK's names of the levels."""

MAX_MESSAGE_LENGTH = 2000
"""A longer message is cut: a peer must not fill the disk with one text. Tracebacks are not cut."""

_NAMES = {number: name for name, number in LEVELS.items()}


class _Escapes(dict[int, str]):
    """For `str.translate`: control, bidirectional and unpaired surrogate characters become backslash escapes."""

    def __missing__(self, code: int) -> str:
        escaped = _escape_character(code)
        if len(self) < 0x10000:
            self[code] = escaped
        return escaped


def _escape_character(code: int) -> str:
    if code < 0x20 or 0x7F <= code < 0xA0:
        return {0x09: "\\t", 0x0A: "\\n", 0x0D: "\\r"}.get(code) or f"\\x{code:02x}"
    hidden = (
        code == 0x061C
        or 0x200B <= code <= 0x200F
        or 0x2028 <= code <= 0x202E
        or 0x2060 <= code <= 0x2069
        or 0xD800 <= code <= 0xDFFF
        or code == 0xFEFF
    )
    return f"\\u{code:04x}" if hidden else chr(code)


_ESCAPES = _Escapes()


def escape(text: str) -> str:
    """`text` without anything that a terminal would obey or that would hide what it says.

    Control characters (C0, DEL, C1), line and paragraph separators, bidirectional controls, zero-width characters and
    unpaired surrogates come out as `\\x1b`, `\\u202e`, ... Printable text is returned as it is.
    """
    return text if text.isprintable() else text.translate(_ESCAPES)


class Logger:
    """One named source of messages, with the methods of `logging.Logger` that dcmkit uses."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def enabled_for(self, level: int) -> bool:
        """Whether a message of this level would be written; ask before preparing an expensive one."""
        return level >= _threshold and (_sink is not _forward or _standard_logger(self.name).isEnabledFor(level))

    def trace(self, message: str, *args: object) -> None:
        if _threshold <= TRACE:
            _log(self.name, TRACE, message, args)

    def debug(self, message: str, *args: object, exc_info: bool = False) -> None:
        if _threshold <= DEBUG:
            _log(self.name, DEBUG, message, args, exc_info)

    def info(self, message: str, *args: object) -> None:
        if _threshold <= INFO:
            _log(self.name, INFO, message, args)

    def warning(self, message: str, *args: object) -> None:
        if _threshold <= WARNING:
            _log(self.name, WARNING, message, args)

    def error(self, message: str, *args: object, exc_info: bool = False) -> None:
        """`exc_info` adds the traceback of the exception being handled, when debug messages are on."""
        if _threshold <= ERROR:
            _log(self.name, ERROR, message, args, exc_info and (_sink is _forward or wants_tracebacks()))

    def fatal(self, message: str, *args: object) -> None:
        if _threshold <= FATAL:
            _log(self.name, FATAL, message, args)


def get_logger(package: str) -> Logger:
    """The logger `dcmkit.<package>`."""
    return Logger(f"dcmkit.{package}")


def configure(level: str = "warn", format: str = "text") -> None:  # noqa: A002 - the option's own name
    """Write messages of `level` (a key of `LEVELS`) and above to stderr, as `format` "text" or "json" lines."""
    global _threshold, _sink
    _threshold = LEVELS[level]
    _sink = _write_json if format == "json" else _write_text


def reset() -> None:
    """Back to handing everything to the standard `logging`, as before `configure`."""
    global _threshold, _sink
    _threshold, _sink = TRACE, _forward


def level_enabled(level: int) -> bool:
    """Whether messages of this level are written at all."""
    return _threshold <= level


def wants_tracebacks() -> bool:
    """Whether debug messages are written by this program itself."""
    return _sink is not _forward and _threshold <= DEBUG


def is_json() -> bool:
    """Whether stderr is read by a program, as JSON lines."""
    return _sink is _write_json


def _log(name: str, level: int, message: str, args: tuple[object, ...], exc_info: bool = False) -> None:
    _sink(name, level, message, args, exc_info)


def _compose(message: str, args: tuple[object, ...]) -> str:
    try:
        text = message % args if args else message
    except (TypeError, ValueError):
        text = f"{message} {args!r}"
    if len(text) > MAX_MESSAGE_LENGTH:
        text = f"{text[:MAX_MESSAGE_LENGTH]}... ({len(text)} characters)"
    return escape(text)


def _traceback() -> str:
    import traceback

    return "\n".join(escape(line) for line in traceback.format_exc().rstrip().split("\n"))


def set_writer(writer: Callable[[str], None] | None) -> None:
    """While something else owns the terminal's last line (a progress bar), let it write our lines; None: no longer."""
    global _writer
    _writer = writer


def write(text: str) -> None:
    """Text to stderr, in one piece so that lines of several threads and worker processes do not mix."""
    try:
        if _writer is not None:
            _writer(text)
        elif sys.stderr is not None:
            sys.stderr.write(text)
            sys.stderr.flush()
    except (OSError, ValueError):
        pass  # stderr is closed or its reader is gone: nothing is left to say it to


def _write_text(name: str, level: int, message: str, args: tuple[object, ...], exc_info: bool) -> None:
    text = f"{_NAMES[level][0].upper()}: {_compose(message, args)}\n"
    write(text + _traceback() + "\n" if exc_info else text)


def _write_json(name: str, level: int, message: str, args: tuple[object, ...], exc_info: bool) -> None:
    import json
    import os
    import time

    now = time.time()
    record = {
        "time": f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now))}.{int(now % 1 * 1000):03}Z",
        "level": _NAMES[level],
        "logger": name,
        "pid": os.getpid(),
        "message": _compose(message, args),
    }
    if exc_info:
        record["traceback"] = _traceback()
    write(json.dumps(record, ensure_ascii=False) + "\n")


def _standard_logger(name: str) -> Any:
    import logging

    return logging.getLogger(name)


def _forward(name: str, level: int, message: str, args: tuple[object, ...], exc_info: bool) -> None:
    """To `logging`. Below WARNING only if the application has imported it: nobody else could be listening."""
    if level >= WARNING or "logging" in sys.modules:
        logger = _standard_logger(name)
        if logger.isEnabledFor(level):
            logger.log(level, "%s", _compose(message, args), exc_info=exc_info)


_threshold: int = TRACE
_writer: Callable[[str], None] | None = None
_sink: Callable[[str, int, str, tuple[object, ...], bool], None] = _forward
