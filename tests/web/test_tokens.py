"""API tokens and the file of their digests."""

from __future__ import annotations

import hashlib

import pytest

from dcmkit.errors import UsageError
from dcmkit.web import tokens
from dcmkit.web.tokens import Tokens

DIGEST = hashlib.sha256(b"dcmkit_x").hexdigest()


class Clock:
    now = 1_800_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "tokens")


def test_a_token_is_told_once_and_only_its_digest_is_kept(path):
    token = tokens.create(path, "ct-scanner", ["store"])
    assert token.startswith(tokens.PREFIX)
    assert len(token) > 48
    with open(path, encoding="utf-8") as file:
        content = file.read()
    assert token not in content
    assert content == f"ct-scanner sha256:{hashlib.sha256(token.encode()).hexdigest()} scopes=store\n"
    identity, wrong = Tokens(path).identify(token)
    assert identity == ("ct-scanner", "token", frozenset(("store",)), None)
    assert wrong == ""


def test_expiry_and_limits(path):
    clock = Clock()
    token = tokens.create(path, "a", ["query", "retrieve"], expires=clock.now + 60, studies=["1.2.3", "1.2.4"])
    known = Tokens(path, clock)
    assert known.identify(token)[0].studies == {"1.2.3", "1.2.4"}
    assert [entry.expires for entry in known.all()] == [clock.now + 60]
    clock.now += 60
    assert known.identify(token) == (None, "expired token")


def test_revocation_is_seen_at_once(path):
    first = tokens.create(path, "a", ["query"])
    second = tokens.create(path, "b", ["query"])
    known = Tokens(path)
    assert known.identify(first)[0]
    assert tokens.revoke(path, "a")
    assert not tokens.revoke(path, "a")
    assert known.identify(first) == (None, "unknown token")
    assert known.identify(second)[0].name == "b"


@pytest.mark.parametrize("token", ["", "dcmkit_", "dcmkit_y", "\ud800", "x" * 10000, "dcmkit_\u0131"])
def test_unknown_tokens(path, token):
    tokens.create(path, "a", ["query"])
    assert Tokens(path).identify(token) == (None, "unknown token")


def test_the_digest_is_no_token(path):
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"a sha256:{DIGEST} scopes=query\n")
    assert Tokens(path).identify(DIGEST)[0] is None
    assert Tokens(path).identify("dcmkit_x")[0]


@pytest.mark.parametrize(
    "line",
    [
        "a",
        f"a {DIGEST} scopes=query",
        f"a sha256:{DIGEST[1:]} scopes=query",
        f"a sha256:{DIGEST}",
        f"a sha256:{DIGEST} scopes=",
        f"a sha256:{DIGEST} scopes=everything",
        f"a sha256:{DIGEST} scopes=query scopes=store",
        f"a sha256:{DIGEST} scopes=query expires=tomorrow",
        f"a sha256:{DIGEST} scopes=query expires=2027-02-30",
        f"a sha256:{DIGEST} scopes=query studies=1.2.x",
        f"a sha256:{DIGEST} scopes=query limit=1.2",
        f"a/b sha256:{DIGEST} scopes=query",
    ],
)
def test_lines_that_are_no_token(line):
    with pytest.raises(UsageError) as caught:
        tokens.parse_token(line)
    assert DIGEST not in str(caught.value)


def test_names_are_taken_once(path):
    tokens.create(path, "a", ["query"])
    with pytest.raises(UsageError, match="already"):
        tokens.create(path, "a", ["query"])
    for name in ("", "a b", "#a", "a\nb"):
        with pytest.raises(UsageError):
            tokens.create(path, name, ["query"])


def test_what_is_no_token_is_not_written(path, tmp_path):
    for scopes, studies, expires in (([], None, None), (["query"], ["x"], None), (["query"], None, 1e30)):
        with pytest.raises(UsageError):
            tokens.create(path, "a", scopes, studies=studies, expires=expires)
    assert list(tmp_path.iterdir()) == []


def test_moments():
    assert tokens.format_moment(tokens.parse_moment("2027-01-31T12:00:01Z")) == "2027-01-31T12:00:01Z"
    assert tokens.format_moment(tokens.parse_moment("2027-01-31")) == "2027-01-31T00:00:00Z"
    for text in ("", "2027", "2027-01-31T12:00:01", "2027-01-31T25:00:00Z", "2027-01-31Z"):
        with pytest.raises(UsageError):
            tokens.parse_moment(text)
