"""From settings to the user identity sub-item (PS3.7 D.3.3.7)."""

from __future__ import annotations

from pathlib import Path

import pytest

from dcmkit.errors import InputError, UsageError
from dcmkit.protocol.pdu import PresentationContextRQ
from dcmkit.protocol.user_information import UserIdentity
from dcmkit.services.association_request import association_request
from dcmkit.services.user_identity import LIMIT, identity
from dcmkit.settings import RequestorSettings, UserIdentitySettings


def of(**settings: object) -> UserIdentity | None:
    return identity(UserIdentitySettings(**settings))


def test_none_by_default() -> None:
    assert of() is None
    assert of(positive_response=True) is None


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"user": "jörg"}, UserIdentity(1, False, "jörg".encode(), b"")),
        ({"user": "u", "positive_response": True}, UserIdentity(1, True, b"u", b"")),
        ({"user": "u", "password": "geheim"}, UserIdentity(2, False, b"u", b"geheim")),
        ({"user": "u", "empty_password": True}, UserIdentity(2, False, b"u", b"")),
    ],
)
def test_users(settings: dict[str, object], expected: UserIdentity) -> None:
    assert of(**settings) == expected


@pytest.mark.parametrize(("name", "kind"), [("kerberos", 3), ("saml", 4), ("jwt", 5)])
def test_tickets_assertions_and_tokens_come_from_files(name: str, kind: int, tmp_path: Path) -> None:
    path = tmp_path / "identity"
    path.write_bytes(b"\0ticket\r\n")
    assert of(**{name: str(path)}) == UserIdentity(kind, False, b"\0ticket\r\n", b"")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"user": "u", "jwt": "token"}, "--user and --jwt are two identities"),
        ({"saml": "a", "kerberos": "b"}, "--kerberos and --saml are two identities"),
        ({"password": "geheim"}, "a password without a user"),
        ({"empty_password": True}, "a password without a user"),
        ({"password": "geheim", "jwt": "token"}, "a password without a user"),
        ({"user": "u", "password": "geheim", "empty_password": True}, "contradict each other"),
    ],
)
def test_what_cannot_be(settings: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        of(**settings)
    assert "geheim" not in str(caught.value)


def test_a_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"token cannot be read: No such file"):
        of(jwt=str(tmp_path / "token"))


def encoded(found: UserIdentity | None) -> bytes:
    """The association request that carries it."""
    context = PresentationContextRQ(1, "1.2.840.10008.1.1", ("1.2.840.10008.1.2",))
    return association_request(RequestorSettings(), [context], found).encode()


def test_the_longest_file_fits_an_association_request(tmp_path: Path) -> None:
    path = tmp_path / "assertion"
    path.write_bytes(b"x" * LIMIT)
    assert b"x" * LIMIT in encoded(of(saml=str(path)))
    path.write_bytes(b"x" * (LIMIT + 1))
    with pytest.raises(InputError, match="longer than a user identity may be"):
        of(saml=str(path))


def test_the_longest_user_and_password() -> None:
    assert b"p" * (LIMIT - 1) in encoded(of(user="u", password="p" * (LIMIT - 1)))
    for settings in ({"user": "u" * (LIMIT + 1)}, {"user": "u", "password": "p" * LIMIT}):
        with pytest.raises(UsageError, match="longer than a user identity may be") as caught:
            of(**settings)
        assert "ppp" not in str(caught.value)
