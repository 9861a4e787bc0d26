"""Basic authentication: right passwords are quick the second time, wrong ones are slow."""

from __future__ import annotations

import base64
import threading

import pytest

from dcmkit.web import basic as module
from dcmkit.web import passwords
from dcmkit.web.basic import Basic
from dcmkit.web.identity import TooManyAttemptsError

HASH = passwords.hash_password("Grüße:1", cost=4)
OTHER = passwords.hash_password("other", cost=4)


def encoded(name, password):
    return base64.b64encode(f"{name}:{password}".encode()).decode()


GOOD = encoded("anna", "Grüße:1")


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "users"
    path.write_text(f"anna:{HASH}:query\nbert:{OTHER}\n", encoding="utf-8")
    path.chmod(0o600)
    return path


@pytest.fixture
def checked(monkeypatch):
    """The hashes that passwords were compared with."""
    seen = []
    real = passwords.verify

    def verify(stored, password):
        seen.append(stored)
        return real(stored, password)

    monkeypatch.setattr(passwords, "verify", verify)
    return seen


def test_a_right_password(path):
    identity, wrong = Basic(str(path)).identify(GOOD)
    assert (identity.name, identity.kind, identity.scopes, identity.studies) == ("anna", "basic", {"query"}, None)
    assert wrong == ""


def test_a_limit_to_studies(path):
    path.write_text(f"anna:{HASH}:query:1.2.3\n", encoding="utf-8")
    assert Basic(str(path)).identify(GOOD)[0].studies == {"1.2.3"}


def test_it_is_hashed_once_until_it_is_forgotten(path, clock, checked):
    users = Basic(str(path), clock)
    assert not users.is_remembered(GOOD)
    for _ in range(5):
        assert users.identify(GOOD)[0]
    assert users.is_remembered(GOOD)
    assert len(checked) == 1
    clock.now = 601.0
    assert users.identify(GOOD)[0]
    assert len(checked) == 2


def test_a_changed_password_is_forgotten_at_once(path):
    users = Basic(str(path))
    assert users.identify(GOOD)[0]
    path.write_text(f"anna:{OTHER}\n", encoding="utf-8")
    assert users.identify(GOOD) == (None, "wrong password of anna")
    assert users.identify(encoded("anna", "other"))[0].scopes == {"query", "retrieve", "store"}
    path.write_text("", encoding="utf-8")
    assert users.identify(encoded("anna", "other")) == (None, "unknown user")


def test_who_is_unknown_costs_as_much(path, checked):
    users = Basic(str(path))
    assert users.identify(encoded("nobody", "x")) == (None, "unknown user")
    assert checked == [HASH]
    path.write_text("", encoding="utf-8")
    assert users.identify(encoded("nobody", "x")) == (None, "unknown user")
    assert checked[1].startswith("$scrypt$ln=15,r=8,p=1$")


def test_the_password_of_somebody_else(path):
    assert Basic(str(path)).identify(encoded("nobody", "Grüße:1"))[0] is None
    assert Basic(str(path)).identify(encoded("bert", "Grüße:1"))[0] is None


@pytest.mark.parametrize(
    "credentials",
    [
        "",
        "x",
        "====",
        "anna:secret",
        "\u00e9",
        base64.b64encode(b"anna").decode(),
        base64.b64encode(b"anna:\xff").decode(),
        base64.b64encode(b":secret").decode(),
        GOOD + "\n!",
    ],
)
def test_what_is_malformed_costs_nothing(path, checked, credentials):
    users = Basic(str(path))
    assert users.identify(credentials) == (None, "malformed credentials")
    assert users.is_remembered(credentials)
    assert checked == []


def test_guessing_is_slowed_down(path, clock, checked):
    users = Basic(str(path), clock)
    for number in range(6):
        assert users.identify(encoded("anna", str(number)), "10.0.0.1")[0] is None
    with pytest.raises(TooManyAttemptsError) as caught:
        users.identify(encoded("anna", "6"), "10.0.0.1")
    assert caught.value.headers == (("Retry-After", "2"),)
    assert len(checked) == 6
    with pytest.raises(TooManyAttemptsError):
        users.identify(GOOD, "10.0.0.1")
    assert users.identify(GOOD, "10.0.0.2")[0], "another client is not hindered"
    assert users.identify(GOOD, "10.0.0.1")[0], "nor is who is known already"
    clock.now = 2.0
    assert users.identify(encoded("anna", "6"), "10.0.0.1")[0] is None


def test_guessing_names_is_slowed_down(path, clock, checked):
    users = Basic(str(path), clock)
    for number in range(51):
        users.identify(encoded(f"user{number}", "x"), "10.0.0.1")
    with pytest.raises(TooManyAttemptsError):
        users.identify(encoded("another", "x"), "10.0.0.1")
    assert len(checked) == 51


def test_being_right_forgives(path, clock):
    users = Basic(str(path), clock)
    for _ in range(3):
        for number in range(5):
            users.identify(encoded("bert", str(number)), "10.0.0.1")
        clock.now += 1000.0
        assert users.identify(encoded("bert", "other"), "10.0.0.1")[0]


def test_only_some_wait_for_a_place(path, monkeypatch):
    """Whoever sends many passwords at once does not get all the threads of the server."""
    users = Basic(str(path))
    started, done = threading.Semaphore(0), threading.Event()

    def verify(stored, password):
        started.release()
        done.wait(30)
        return False

    monkeypatch.setattr(passwords, "verify", verify)
    places = module._AT_ONCE + module._WAITING
    threads = [threading.Thread(target=users.identify, args=(encoded(f"u{n}", "x"),)) for n in range(places)]
    for thread in threads:
        thread.start()
    for _ in range(module._AT_ONCE):
        assert started.acquire(timeout=30)
    while users._places._value:
        done.wait(0.001)
    with pytest.raises(TooManyAttemptsError):
        users.identify(encoded("anna", "x"))
    assert not started.acquire(blocking=False), "no more than some are hashed at once"
    done.set()
    for thread in threads:
        thread.join(30)
