"""Who gets in, as set."""

from __future__ import annotations

from pathlib import Path

import pytest

from dcmkit.errors import InputError, UsageError
from dcmkit.web import links, passwords, tokens
from dcmkit.web.admission import anonymous_scopes, authenticator_of, warn_of_exposure
from dcmkit.web.identity import ALL_SCOPES, UnauthorizedError
from dcmkit.web.settings import WebSettings


def test_by_default_this_machine_and_nobody_else() -> None:
    assert authenticator_of(WebSettings(), exposed=False) is None
    guarded = authenticator_of(WebSettings(), exposed=True)
    assert guarded is not None
    assert not guarded.is_open
    assert anonymous_scopes(WebSettings(anonymous="none"), exposed=False) == frozenset()
    assert anonymous_scopes(WebSettings(anonymous="query"), exposed=True) == {"query"}
    assert anonymous_scopes(WebSettings(auth=("users:x",)), exposed=False) == frozenset()
    assert authenticator_of(WebSettings(anonymous="all"), exposed=True) is None


def test_rights_of_the_archive_limit_strangers() -> None:
    guarded = authenticator_of(WebSettings(), exposed=False, rights=("query", "retrieve"))
    assert guarded is not None
    assert guarded.authorize("GET", "/studies", ("query",), {}, filters=True).scopes == {"query", "retrieve"}
    with pytest.raises(Exception, match="not allowed"):
        guarded.authorize("POST", "/studies", ("store",), {}, filters=True)


def test_all_ways_together(tmp_path: Path) -> None:
    passwords.set_password(str(tmp_path / "users"), "alice", "secret")
    token = tokens.create(str(tmp_path / "tokens"), "robot", ("store",))
    links.create_secret(str(tmp_path / "key"))
    (tmp_path / "jwk").write_text("x" * 64)
    settings = WebSettings(
        auth=tuple(f"{kind}:{tmp_path / name}" for kind, name in
                   (("users", "users"), ("tokens", "tokens"), ("links", "key"), ("jwt", "jwk"))),
        jwt_issuer="https://idp.example.org",
    )  # fmt: skip
    guarded = authenticator_of(settings, exposed=True)
    assert guarded is not None
    headers = {"authorization": f"Bearer {token}"}
    assert guarded.authorize("POST", "/studies", ("store",), headers, filters=True).name == "robot"
    with pytest.raises(UnauthorizedError) as caught:
        guarded.authorize("GET", "/studies", ("query",), {}, filters=True)
    assert [value.split()[0] for _, value in caught.value.headers] == ["Bearer", "Basic"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (WebSettings(auth=("users:{}/users", "users:{}/users")), "twice"),
        (WebSettings(jwt_issuer="x"), "--jwt-issuer without"),
    ],
)
def test_what_does_not_fit_together(tmp_path: Path, settings: WebSettings, said: str) -> None:
    passwords.set_password(str(tmp_path / "users"), "alice", "secret")
    settings = settings.replace(auth=tuple(one.format(tmp_path) for one in settings.auth))
    with pytest.raises(UsageError, match=said):
        authenticator_of(settings, exposed=False)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        authenticator_of(WebSettings(auth=(f"users:{tmp_path / 'none'}",)), exposed=False)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (WebSettings(), ["nobody may do anything", "can be read there"]),
        (WebSettings(anonymous="all"), ["everybody who reaches 0.0.0.0 may query,retrieve", "can be read there"]),
        (WebSettings(anonymous="query", tls_cert="cert"), ["may query here"]),
        (WebSettings(auth=("users:x",), tls_cert="cert"), []),
        (WebSettings(auth=("users:x",), trusted_proxies=("10.0.0.1",)), []),
    ],
)
def test_warnings(caplog: pytest.LogCaptureFixture, settings: WebSettings, said: list[str]) -> None:
    warn_of_exposure(settings, [])
    assert not caplog.records
    warn_of_exposure(settings, ["0.0.0.0"])
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == len(said)
    assert all(part in message for part, message in zip(said, messages, strict=True))


def test_all_scopes_are_meant() -> None:
    assert {"query", "retrieve", "store", "delete", "admin"} == ALL_SCOPES
