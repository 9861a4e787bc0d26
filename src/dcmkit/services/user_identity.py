"""User identity negotiation, from settings to the sub-item (PS3.7 D.3.3.7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dcmkit.errors import InputError, UsageError

if TYPE_CHECKING:
    from dcmkit.protocol.user_information import UserIdentity
    from dcmkit.settings import UserIdentitySettings

LIMIT = 65000
"""Bytes of an identity. The user information item around it has a 16-bit length (PS3.8 9.3.2.3) and holds more."""


def identity(settings: UserIdentitySettings) -> UserIdentity | None:
    """The user identity to send, or None where none is set.

    Raises:
        UsageError: several kinds at once, a password without a user, or longer than the field for it.
        InputError: the file with the ticket, assertion or token cannot be read, or is too long.
    """
    kinds = [name for name in ("user", "kerberos", "saml", "jwt") if getattr(settings, name)]
    if len(kinds) > 1:
        raise UsageError(f"--{kinds[0]} and --{kinds[1]} are two identities", hint="give one of them")
    if (settings.password or settings.empty_password) and not settings.user:
        raise UsageError("a password without a user", hint="give --user as well")
    if settings.password and settings.empty_password:
        raise UsageError("--password and --empty-password contradict each other")
    if not kinds:
        return None
    from dcmkit.protocol import user_information as item

    response = settings.positive_response
    if kinds[0] == "user":
        user, password = settings.user.encode(), settings.password.encode()
        if len(user) + len(password) > LIMIT:
            raise UsageError(f"user and password are longer than a user identity may be ({LIMIT} bytes)")
        if password or settings.empty_password:
            return item.UserIdentity(item.USERNAME_AND_PASSWORD, response, user, password)
        return item.UserIdentity(item.USERNAME, response, user, b"")
    kind = {"kerberos": item.KERBEROS, "saml": item.SAML, "jwt": item.JWT}[kinds[0]]
    return item.UserIdentity(kind, response, _read(getattr(settings, kinds[0])), b"")


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            data = file.read(LIMIT + 1)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    if len(data) > LIMIT:
        raise InputError(f"{path} is longer than a user identity may be ({LIMIT} bytes)")
    return data
