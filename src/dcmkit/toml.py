"""TOML files: configuration, and rules of de-identification. The parser is imported when one is read."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from dcmkit.errors import UsageError


def read(path: str, what: str) -> dict[str, Any]:
    """The tables of a file.

    Args:
        what: the file is called in errors, for example `configuration file`.

    Raises:
        UsageError: it cannot be read or is not TOML.
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        with open(path, "rb") as file:
            tables: dict[str, Any] = tomllib.load(file)
    except OSError as error:
        raise UsageError(f"{what} {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{what} {path} is not TOML: byte {error.start} is not UTF-8") from None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"{what} {path} is not TOML: {error}") from None
    return tables


def suggestion(key: str, known: Iterable[str]) -> str:
    """`; did you mean ...?` if something like `key` is known, else nothing."""
    from difflib import get_close_matches

    close = get_close_matches(key, list(known), 1)
    return f"; did you mean {close[0]}?" if close else ""
