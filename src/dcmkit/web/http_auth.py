"""Who we say we are to an HTTP server: bearer tokens, given or fetched by a command, and names with passwords.

Secrets are in no message, log line or `repr` of this module, and a command's output is never shown.
"""

from __future__ import annotations

import os
import threading
from typing import Protocol

from dcmkit.errors import InputError, UsageError

_COMMAND_SECONDS = 60.0
_LONGEST_TOKEN = 1 << 16


class Auth(Protocol):
    """Makes the Authorization header (RFC 9110 11.6.2)."""

    def header(self, host: str) -> str:
        """Its value for a host; "" for none. Raises: InputError."""

    def renew(self) -> bool:
        """The server did not accept it: whether there may be another one now."""


class Bearer:
    """A token (RFC 6750 2.1)."""

    def __init__(self, token: str) -> None:
        self._value = f"Bearer {_token(token, 'the bearer token')}"

    def header(self, host: str) -> str:
        """See `Auth`."""
        return self._value

    def renew(self) -> bool:
        """It stays the same."""
        return False


class BearerCommand:
    """A token that a command prints; asked for once, and again when the server does not accept it any more.

    Args:
        command: a command line; words are split as a shell does, and no shell is started.

    Raises:
        UsageError: the command line cannot be split.
    """

    def __init__(self, command: str) -> None:
        import shlex

        try:
            self._words = shlex.split(command)
        except ValueError as error:
            raise UsageError(f"the command for the bearer token cannot be read: {error}") from None
        if not self._words:
            raise UsageError("the command for the bearer token is empty")
        self._lock = threading.Lock()
        self._value = ""

    def header(self, host: str) -> str:
        """See `Auth`. Raises: InputError."""
        with self._lock:
            if not self._value:
                self._value = f"Bearer {_token(self._ask(), 'what the command for the bearer token printed')}"
            return self._value

    def renew(self) -> bool:
        """Ask the command again."""
        with self._lock:
            self._value = ""
        return True

    def _ask(self) -> str:
        import subprocess

        try:
            done = subprocess.run(
                self._words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=_COMMAND_SECONDS, check=False
            )
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it is no command line"
            raise InputError(f"the command for the bearer token cannot be run: {reason}") from None
        except subprocess.TimeoutExpired:
            raise InputError(f"the command for the bearer token took longer than {_COMMAND_SECONDS:.0f} s") from None
        if done.returncode:
            raise InputError(f"the command for the bearer token failed with exit code {done.returncode}")
        return done.stdout[:_LONGEST_TOKEN].decode("ascii", "replace").strip()


class Basic:
    """A name and a password (RFC 7617)."""

    def __init__(self, user: str, password: str) -> None:
        self._value = basic(user, password)

    def header(self, host: str) -> str:
        """See `Auth`."""
        return self._value

    def renew(self) -> bool:
        """It stays the same."""
        return False


class Netrc:
    """Names and passwords of a netrc file, by host.

    Args:
        path: the file; "" for the one that NETRC names, or `.netrc` in the home directory, if it is there.
    """

    def __init__(self, path: str = "") -> None:
        self._path = path or os.environ.get("NETRC", "")
        self._needed = bool(self._path)

    def header(self, host: str) -> str:
        """See `Auth`. Raises: InputError."""
        import netrc

        path = self._path or os.path.join(os.path.expanduser("~"), ".netrc")
        try:
            found = netrc.netrc(path).authenticators(host)
        except FileNotFoundError:
            if self._needed:
                raise InputError(f"{path} does not exist") from None
            return ""
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}") from None
        except (netrc.NetrcParseError, UnicodeDecodeError) as error:
            line = getattr(error, "lineno", None)  # its message may repeat a password
            raise InputError(f"{path} is no netrc file" + (f": line {line}" if line else "")) from None
        if found is None:
            return ""
        user, account, password = found
        return basic(user or account or "", password or "")

    def renew(self) -> bool:
        """It stays the same."""
        return False


def basic(user: str, password: str) -> str:
    """The value of the header (RFC 7617 2). Raises: UsageError."""
    from base64 import b64encode

    if ":" in user or any(ord(letter) < 32 for letter in user + password):
        raise UsageError("a user name has no colon, and neither it nor a password has control characters")
    return "Basic " + b64encode(f"{user}:{password}".encode("utf-8", "surrogateescape")).decode("ascii")


def _token(text: str, what: str) -> str:
    if not text or len(text) >= _LONGEST_TOKEN or not all(33 <= ord(letter) < 127 for letter in text):
        raise InputError(f"{what} is no token", hint="it is one line of letters, digits and punctuation")
    return text
