"""Links allow what they say, for one study, until a moment; nothing about them can be changed."""

from __future__ import annotations

import os

import pytest

from dcmkit.errors import InputError, UsageError
from dcmkit.web import links
from dcmkit.web.links import PARAMETERS, Links, create_secret, is_link


class Clock:
    now = 1_800_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def path(tmp_path):
    path = str(tmp_path / "secret")
    create_secret(path)
    return path


def test_a_link(path, clock):
    made = Links(path, clock)
    query = made.sign("1.2.3", clock.now + 60)
    assert tuple(query) == PARAMETERS
    assert is_link(query)
    identity, wrong = made.identify(query)
    assert identity == ("link to 1.2.3", "link", frozenset(("query", "retrieve")), frozenset(("1.2.3",)))
    assert wrong == ""
    clock.now += 60
    assert made.identify(query) == (None, "expired link")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("linkStudy", "1.2.4"),
        ("linkExpires", "1900000000"),
        ("linkScope", "query,retrieve,store"),
        ("linkScope", "query"),
        ("linkSignature", "A" * 43),
        ("linkSignature", ""),
    ],
)
def test_nothing_can_be_changed(path, clock, name, value):
    made = Links(path, clock)
    query = made.sign("1.2.3", clock.now + 60)
    assert made.identify({**query, name: value}) == (None, "link with a wrong signature")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("linkStudy", "../1"),
        ("linkStudy", "1" * 10000),
        ("linkExpires", "1e9"),
        ("linkExpires", "9" * 10000),
        ("linkExpires", "\u0661"),
        ("linkScope", "admin"),
        ("linkScope", "retrieve,query"),
        ("linkScope", "query," * 10000),
        ("linkSignature", "x" * 10000),
    ],
)
def test_what_is_malformed(path, clock, name, value):
    made = Links(path, clock)
    query = made.sign("1.2.3", clock.now + 60)
    assert made.identify({**query, name: value}) == (None, "malformed link")
    assert made.identify({key: text for key, text in query.items() if key != name})[0] is None


def test_a_signature_that_is_no_ascii(path, clock):
    made = Links(path, clock)
    query = made.sign("1.2.3", clock.now + 60)
    assert made.identify({**query, "linkSignature": "é\ud800"})[0] is None


def test_what_a_link_cannot_be(path, clock):
    made = Links(path, clock)
    for study, expires, scopes in (
        ("x", 60, ["query"]),
        ("1.2.3", 0, ["query"]),
        ("1.2.3", links.LONGEST + 1, ["query"]),
        ("1.2.3", float("nan"), ["query"]),
        ("1.2.3", 60, []),
        ("1.2.3", 60, ["delete"]),
        ("1.2.3", 60, ["admin"]),
    ):
        with pytest.raises(UsageError):
            made.sign(study, clock.now + expires, scopes)


def test_secrets_can_be_changed(path, clock, tmp_path):
    made = Links(path, clock)
    query = made.sign("1.2.3", clock.now + 60)
    with open(path, encoding="utf-8") as file:
        old = file.read().splitlines()[-1]
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"{'ab' * 32}\n{old}\n")
    assert made.identify(query)[0], "still believed"
    assert made.sign("1.2.3", clock.now + 60) != query
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"{'ab' * 32}\n")
    assert made.identify(query)[0] is None
    os.unlink(path)
    assert made.identify(query)[0] is None
    with pytest.raises(UsageError, match="missing"):
        made.sign("1.2.3", clock.now + 60)


def test_a_secret_is_never_replaced(path):
    with pytest.raises(UsageError, match="already"):
        create_secret(path)


@pytest.mark.parametrize("content", ["", "# only a comment\n", "ab" * 31, "secret" * 10, ("ab" * 32 + "\n") * 17])
def test_what_is_no_secret(tmp_path, content):
    path = tmp_path / "secret"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UsageError, match="is not 32 bytes") as caught:
        Links(str(path))
    assert "ab" * 31 not in str(caught.value)
    with pytest.raises(InputError):
        Links(str(tmp_path / "none"))
