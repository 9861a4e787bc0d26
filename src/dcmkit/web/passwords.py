"""Passwords: a file with a line `user:hash`, `user:hash:scopes` or `user:hash:scopes:studies` for each user.

Hashes are made with scrypt of the standard library (RFC 7914), written as `$scrypt$ln=15,r=8,p=1$salt$hash`. Hashes
of bcrypt (`htpasswd -B`) and argon2 are read where their packages are installed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import re
from typing import TYPE_CHECKING, NamedTuple

from dcmkit.errors import UsageError
from dcmkit.web import credential_file
from dcmkit.web.credential_file import CredentialFile
from dcmkit.web.identity import USUAL_SCOPES, in_order, parse_scopes, parse_studies

if TYPE_CHECKING:
    from collections.abc import Collection

WHAT = "password file"

LONGEST = 1024
"""Bytes of a password; a longer one is wrong without being hashed."""

_COST, _BLOCK, _PARALLEL = 15, 8, 1
"""Of scrypt: 32 MiB and some 100 ms for each password that is tried."""

_HIGHEST_COST = 18
_SCRYPT = re.compile(
    r"\$scrypt\$ln=([0-9]{1,2}),r=([0-9]{1,2}),p=([0-9]{1,2})\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{43,86})"
)
_BCRYPT = re.compile(r"\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}")
_ARGON2 = re.compile(
    r"\$argon2(?:id|i|d)\$(?:v=[0-9]+\$)?m=([0-9]{1,7}),t=([0-9]{1,2}),p=([0-9]{1,2})\$[A-Za-z0-9+/=-]+\$[A-Za-z0-9+/=-]+"
)
_NAME = re.compile(r"[^\x00-\x20:#\x7f][^\x00-\x1f:\x7f]{0,127}")
_BCRYPT_READS = 72
"""Bytes of a password that bcrypt looks at."""


class User(NamedTuple):
    """One line of a password file; `studies` are the Study Instance UIDs it is limited to, None for no limit."""

    name: str
    hash: str
    scopes: frozenset[str]
    studies: frozenset[str] | None = None


def read(path: str) -> CredentialFile[User]:
    """The users of a password file.

    Raises:
        InputError: it cannot be read.
        UsageError: a line of it is no user, or its hash needs a package that is not installed.
    """
    return CredentialFile(path, WHAT, parse_user)


def parse_user(line: str) -> tuple[str, User]:
    """One line, by the user's name.

    Raises:
        UsageError: it is no user.
    """
    name, _, rest = line.partition(":")
    stored, _, limits = rest.partition(":")
    scopes, _, studies = limits.partition(":")
    if not _NAME.fullmatch(name):
        raise UsageError("no user name before a colon")
    _check_hash(stored)
    allowed = parse_scopes(scopes) if scopes.strip() else USUAL_SCOPES
    return name, User(name, stored, allowed, parse_studies(studies) if studies.strip() else None)


def hash_password(password: str, *, cost: int = _COST) -> str:
    """What a password file holds of a password.

    Args:
        cost: the logarithm of scrypt's cost.

    Raises:
        UsageError: the password is empty or too long.
    """
    secret = _encoded(password)
    if not secret or len(secret) > LONGEST:
        raise UsageError("a password is empty" if not secret else f"a password is longer than {LONGEST} bytes")
    salt = os.urandom(16)
    digest = _scrypt(secret, salt, cost, _BLOCK, _PARALLEL, 32)
    return f"$scrypt$ln={cost},r={_BLOCK},p={_PARALLEL}${_base64(salt)}${_base64(digest)}"


def verify(stored: str, password: str) -> bool:
    """Whether `stored` was made of this password; takes as long for a wrong one as for the right one."""
    secret = _encoded(password)
    if len(secret) > LONGEST:
        return False
    match = _SCRYPT.fullmatch(stored)
    if match:
        salt, digest = _from_base64(match[4]), _from_base64(match[5])
        tried = _scrypt(secret, salt, int(match[1]), int(match[2]), int(match[3]), len(digest))
        return hmac.compare_digest(tried, digest)
    return _verify_bcrypt(stored, secret) if _BCRYPT.fullmatch(stored) else _verify_argon2(stored, secret)


def set_password(
    path: str,
    name: str,
    password: str,
    scopes: Collection[str] | None = None,
    studies: Collection[str] | None = None,
) -> None:
    """Give a user a password, in a file that is made if there is none.

    Args:
        scopes: what the user may do; None for what the line said, or the usual where there was none.
        studies: the Study Instance UIDs the user is limited to, none for no limit; None for what the line said.

    Raises:
        UsageError: no name, no password, unknown scopes, no UIDs.
        InputError, OutputError: the file cannot be read or written.
    """
    if not _NAME.fullmatch(name) or name != name.strip():
        raise UsageError("a user name is empty, too long, or has a colon or control character in it")
    entry = f"{name}:{hash_password(password)}"
    allowed = None if scopes is None else in_order(parse_scopes(list(scopes)))
    limit = ",".join(sorted(parse_studies(list(studies)))) if studies else None if studies is None else ""

    def line_of(known: str) -> str:
        old_scopes, _, old_studies = known.strip().partition(":")[2].partition(":")[2].partition(":")
        fields = (entry, old_scopes if allowed is None else allowed, old_studies if limit is None else limit)
        return ":".join(fields).rstrip(":")

    def edit(lines: list[str]) -> list[str]:
        for place, line in enumerate(lines):
            if line.strip().partition(":")[0] == name:
                return [*lines[:place], line_of(line), *lines[place + 1 :]]
        return [*lines, line_of("")]

    credential_file.change(path, WHAT, edit)


def remove_user(path: str, name: str) -> bool:
    """Take a user out of a file; whether there was one.

    Raises:
        InputError, OutputError: the file cannot be read or written.
    """
    found = False

    def edit(lines: list[str]) -> list[str]:
        nonlocal found
        kept = [line for line in lines if line.strip().partition(":")[0] != name]
        found = len(kept) < len(lines)
        return kept

    credential_file.change(path, WHAT, edit)
    return found


def _check_hash(stored: str) -> None:
    """Raises UsageError for what is no hash, what would take too long, and what no package here can read."""
    if match := _SCRYPT.fullmatch(stored):
        cost, block, parallel = int(match[1]), int(match[2]), int(match[3])
        fits = 1 <= cost <= _HIGHEST_COST and 1 <= block <= 16 and 1 <= parallel <= 4
        try:
            _from_base64(match[4]), _from_base64(match[5])
        except binascii.Error:
            fits = False
    elif match := _BCRYPT.fullmatch(stored):
        fits = 4 <= int(match[1]) <= 15
        _need("bcrypt", "bcrypt")
    elif match := _ARGON2.fullmatch(stored):
        fits = int(match[1]) <= 1 << 18 and int(match[2]) <= 16 and int(match[3]) <= 16
        _need("argon2", "argon2-cffi")
    else:
        raise UsageError("no scrypt, bcrypt or argon2 hash after the user name", hint="htpasswd makes them with -B")
    if not fits:
        raise UsageError("a hash with parameters out of range")


def _need(module: str, package: str) -> None:
    from importlib.util import find_spec

    if find_spec(module) is None:
        raise UsageError(f"a hash that only the package {package} can read", hint=f"pip install {package}")


def _verify_bcrypt(stored: str, secret: bytes) -> bool:
    import bcrypt

    try:
        return bool(bcrypt.checkpw(secret[:_BCRYPT_READS], stored.encode()))
    except ValueError:  # a NUL in the password, a salt that is none
        return False


def _verify_argon2(stored: str, secret: bytes) -> bool:
    import argon2

    try:
        return bool(argon2.PasswordHasher().verify(stored, secret))
    except (argon2.exceptions.Argon2Error, argon2.exceptions.InvalidHash):
        return False


def _scrypt(secret: bytes, salt: bytes, cost: int, block: int, parallel: int, length: int) -> bytes:
    n = 1 << cost
    memory = 128 * block * (n + parallel + 2) + (1 << 16)
    return hashlib.scrypt(secret, salt=salt, n=n, r=block, p=parallel, maxmem=memory, dklen=length)


def _encoded(password: str) -> bytes:
    return password.encode("utf-8", "surrogatepass")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")


def _from_base64(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
