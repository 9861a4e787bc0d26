"""Basic authentication (RFC 7617) with the users of a password file.

A password costs some 100 ms and 32 MiB to check, on purpose. So a right one is remembered for a while, only a few are
checked at the same time, and who is wrong again and again is told to wait.
"""

from __future__ import annotations

import base64
import binascii
import math
import threading
from time import monotonic
from typing import TYPE_CHECKING

from dcmkit.web import passwords
from dcmkit.web.attempts import Brake, Remembered
from dcmkit.web.identity import Identity, TooManyAttemptsError

if TYPE_CHECKING:
    from collections.abc import Callable

_REMEMBER = 600.0
"""Seconds a right password is remembered; a change of its line in the file is seen at once all the same."""

_AT_ONCE = 2
_WAITING = 8
"""Passwords that are being checked, and that wait for it, each of which holds a thread."""

_UNKNOWN = f"$scrypt$ln=15,r=8,p=1${'A' * 22}${'A' * 43}"
"""What the password of an unknown user is compared with, so that it takes as long to be wrong."""

_LONGEST_NAME = 128


class Basic:
    """The users of a password file.

    Raises:
        InputError, UsageError: as `passwords.read`.
    """

    challenge = 'Basic realm="dcmkit", charset="UTF-8"'

    def __init__(self, path: str, clock: Callable[[], float] = monotonic) -> None:
        self._users = passwords.read(path)
        self._right: Remembered[bool] = Remembered(_REMEMBER, clock=clock)
        self._by_name = Brake(free=5, clock=clock)
        self._by_client = Brake(free=50, clock=clock)
        self._checking = threading.BoundedSemaphore(_AT_ONCE)
        self._places = threading.BoundedSemaphore(_AT_ONCE + _WAITING)

    def identify(self, credentials: str, client: str = "") -> tuple[Identity | None, str]:
        """Who it is by `base64(user:password)`; or None, and what is wrong with it. May take a while.

        Args:
            client: the address it comes from.

        Raises:
            TooManyAttemptsError: it comes too soon after wrong ones.
        """
        name, password = _decode(credentials)
        if not name:
            return None, "malformed credentials"
        user = self._users.get(name)
        if user is None or not self._right.get(user.hash, name, password):
            if not self._check(user, name, password, client):
                return None, f"wrong password of {name}" if user else "unknown user"
            assert user is not None
            self._right.put(True, user.hash, name, password)
        return Identity(name, "basic", user.scopes, user.studies), ""

    def is_remembered(self, credentials: str) -> bool:
        """Whether `identify` will not take long."""
        name, password = _decode(credentials)
        user = self._users.get(name)
        return not name or (user is not None and bool(self._right.get(user.hash, name, password)))

    def _check(self, user: passwords.User | None, name: str, password: str, client: str) -> bool:
        who = f"{client} {name[:_LONGEST_NAME]}"
        self._hold_back(who, client)
        if not self._places.acquire(blocking=False):
            raise _too_many(1.0, "too many passwords to be checked")
        try:
            with self._checking:
                self._hold_back(who, client)  # others may have been wrong meanwhile
                right = passwords.verify(user.hash if user else self._stand_in(), password) and user is not None
                if right:
                    self._by_name.right(who)
                else:
                    self._by_name.wrong(who)
                    if client:
                        self._by_client.wrong(client)
                return right
        finally:
            self._places.release()

    def _hold_back(self, who: str, client: str) -> None:
        wait = max(self._by_name.wait(who), self._by_client.wait(client) if client else 0.0)
        if wait > 0:
            raise _too_many(wait, "too many wrong passwords")

    def _stand_in(self) -> str:
        """A hash that takes as long as those of users do."""
        return next((user.hash for user in self._users.entries().values()), _UNKNOWN)


def _too_many(seconds: float, message: str) -> TooManyAttemptsError:
    return TooManyAttemptsError(message, hint="wait", headers=(("Retry-After", str(math.ceil(seconds))),))


def _decode(credentials: str) -> tuple[str, str]:
    """User and password; two empty texts where it is not both."""
    try:
        text = base64.b64decode(credentials.strip(), validate=True).decode()
    except (binascii.Error, ValueError):  # ValueError: not ASCII, not UTF-8
        return "", ""
    name, colon, password = text.partition(":")
    return (name, password) if colon else ("", "")
