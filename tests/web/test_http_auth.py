"""Who we say we are, and that nobody else learns it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from dcmkit.errors import InputError, UsageError
from dcmkit.web.http_auth import Basic, Bearer, BearerCommand, Netrc, basic

SECRET = "s3cret-Token"


def test_bearer() -> None:
    assert Bearer(SECRET).header("any") == f"Bearer {SECRET}"
    assert not Bearer(SECRET).renew()
    assert SECRET not in repr(Bearer(SECRET))


@pytest.mark.parametrize("token", ["", "two words", "line\nbreak", "\u00e9", "x" * 70000])
def test_what_is_no_token(token: str) -> None:
    with pytest.raises(InputError, match="is no token") as caught:
        Bearer(token)
    assert not token or token not in str(caught.value)


def test_basic() -> None:
    assert Basic("Aladdin", "open sesame").header("any") == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    assert not Basic("a", "b").renew()
    assert basic("é", "ü") == "Basic w6k6w7w="
    with pytest.raises(UsageError) as caught:
        basic("a:b", SECRET)
    assert SECRET not in str(caught.value)


def test_a_command_is_asked_once_and_again_when_told(tmp_path: Path) -> None:
    count = tmp_path / "count"
    script = tmp_path / "token.py"
    script.write_text(
        f"import pathlib; p = pathlib.Path({str(count)!r}); n = len(p.read_text()) if p.exists() else 0;"
        "p.write_text('x' * (n + 1)); print(f'token{n}')"
    )
    command = BearerCommand(f"'{sys.executable}' '{script}'")
    assert command.header("h") == command.header("h") == "Bearer token0"
    assert command.renew()
    assert command.header("h") == "Bearer token1"


def test_commands_that_do_not_work() -> None:
    with pytest.raises(InputError, match="exit code 3"):
        BearerCommand(f"'{sys.executable}' -c 'raise SystemExit(3)'").header("h")
    with pytest.raises(InputError, match="cannot be run"):
        BearerCommand("/no/such/program").header("h")
    with pytest.raises(InputError, match="is no token") as caught:
        BearerCommand(f"'{sys.executable}' -c 'print(\"{SECRET} and more\")'").header("h")
    assert SECRET not in str(caught.value)
    for text in ("", "'open"):
        with pytest.raises(UsageError):
            BearerCommand(text)


def test_netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "netrc"
    path.write_text(f"machine here login jane password {SECRET}\n")
    assert Netrc(str(path)).header("here") == basic("jane", SECRET)
    assert Netrc(str(path)).header("there") == ""
    monkeypatch.setenv("NETRC", str(path))
    assert Netrc().header("here") == basic("jane", SECRET)
    assert not Netrc().renew()
    path.write_text(f"machine here login jane passwort {SECRET}\n")
    with pytest.raises(InputError, match="is no netrc file: line") as caught:
        Netrc().header("here")
    assert SECRET not in str(caught.value)


def test_no_netrc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NETRC", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Netrc().header("here") == ""
    with pytest.raises(InputError, match="does not exist"):
        Netrc(str(tmp_path / "none")).header("here")
