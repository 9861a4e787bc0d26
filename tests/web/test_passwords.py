"""Hashes of passwords, and the file they are in."""

from __future__ import annotations

import hashlib

import pytest

from dcmkit.errors import UsageError
from dcmkit.web import passwords
from dcmkit.web.identity import ALL_SCOPES, USUAL_SCOPES

CHEAP = "$scrypt$ln=4,r=8,p=1$AjgrYaNT2kTiJ7tYpgaEZw$v+OkVvPpI6icGRbHJANLBr4g3ro0J+U9+1XvGFg23No"
"""Of `secret`; always the same one, since names of tests are made of it."""


@pytest.mark.parametrize("password", ["secret", "Grüße, 世界", "with:colon", " ", "x" * 1024])
def test_a_hash_knows_its_password(password):
    stored = passwords.hash_password(password, cost=4)
    assert passwords.verify(stored, password)
    assert not passwords.verify(stored, password + "x")
    assert not passwords.verify(stored, "")
    assert password == " " or password not in stored


def test_each_hash_has_its_own_salt():
    assert passwords.hash_password("secret", cost=4) != CHEAP


def test_the_usual_cost():
    assert passwords.hash_password("secret").startswith("$scrypt$ln=15,r=8,p=1$")


def test_scrypt_as_rfc_7914_says():
    """RFC 7914 12, the second vector: N=1024, r=8, p=16 is more than is read here, so that N=1024, r=8, p=1 is made."""
    digest = hashlib.scrypt(b"password", salt=b"NaClNaCl", n=1024, r=8, p=1, dklen=32)
    stored = f"$scrypt$ln=10,r=8,p=1${passwords._base64(b'NaClNaCl')}${passwords._base64(digest)}"
    assert passwords.verify(stored, "password")


@pytest.mark.parametrize("password", ["", "x" * 1025])
def test_passwords_that_are_none(password):
    with pytest.raises(UsageError):
        passwords.hash_password(password)
    assert not passwords.verify(CHEAP, password)


def test_surrogates_and_nul_are_only_wrong():
    assert not passwords.verify(CHEAP, "\ud800\0")


@pytest.mark.parametrize(
    ("line", "name", "scopes"),
    [
        (f"anna:{CHEAP}", "anna", USUAL_SCOPES),
        (f"anna:{CHEAP}:", "anna", USUAL_SCOPES),
        (f"Anna B.:{CHEAP}:query, retrieve", "Anna B.", {"query", "retrieve"}),
        (f"a@example.org:{CHEAP}:all", "a@example.org", ALL_SCOPES),
    ],
)
def test_lines(line, name, scopes):
    key, user = passwords.parse_user(line)
    assert (key, user.name, user.hash, user.scopes) == (name, name, CHEAP, scopes)


def test_what_destroys_must_be_named():
    assert {"query", "retrieve", "store"} == USUAL_SCOPES


@pytest.mark.parametrize(
    "line",
    [
        "anna",
        "anna:",
        f":{CHEAP}",
        "anna:secret",
        "anna:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
        "anna:$apr1$4lqxq1d5$ZLTXKGSZkjWTmpt9gWxGx0",
        f"anna:{CHEAP}:everything",
        f"anna:{CHEAP.replace('ln=4', 'ln=40')}",
        f"anna:{CHEAP.replace('r=8', 'r=99')}",
        f"anna:{CHEAP.replace('p=1', 'p=0')}",
        "anna:$2b$31$" + "a" * 53,
        "anna:$argon2id$v=19$m=9999999,t=3,p=4$c29tZXNhbHQ$aGFzaA",
    ],
)
def test_lines_that_are_no_user(line):
    with pytest.raises(UsageError) as caught:
        passwords.parse_user(line)
    assert "secret" not in str(caught.value)
    assert CHEAP[-20:] not in str(caught.value)


def test_bcrypt(tmp_path):
    bcrypt = pytest.importorskip("bcrypt")
    stored = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
    for prefix in ("$2b$", "$2y$"):  # htpasswd writes the latter
        line = f"anna:{prefix}{stored[4:]}:query"
        user = passwords.parse_user(line)[1]
        assert passwords.verify(user.hash, "secret")
        assert not passwords.verify(user.hash, "Secret")
        assert not passwords.verify(user.hash, "x" * 100)
        assert not passwords.verify(user.hash, "a\0b")


def test_argon2():
    argon2 = pytest.importorskip("argon2")
    stored = argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash("secret")
    user = passwords.parse_user(f"anna:{stored}")[1]
    assert passwords.verify(user.hash, "secret")
    assert not passwords.verify(user.hash, "Secret")


@pytest.mark.parametrize("stored", ["$2b$04$" + "a" * 53, "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$aGFzaGhhc2hoYXNo"])
def test_a_package_that_is_missing_is_named(stored, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install (bcrypt|argon2-cffi)"):
        passwords.parse_user(f"anna:{stored}")


@pytest.fixture
def cheap(monkeypatch):
    monkeypatch.setattr(passwords.hash_password, "__kwdefaults__", {"cost": 4})


@pytest.mark.usefixtures("cheap")
def test_setting_changing_and_removing(tmp_path):
    path = str(tmp_path / "users")
    passwords.set_password(path, "anna", "one", ["query", "retrieve"])
    passwords.set_password(path, "bert", "two")
    passwords.set_password(path, "anna", "three")
    users = passwords.read(path)
    assert list(users.entries()) == ["anna", "bert"]
    anna, bert = users.entries().values()
    assert passwords.verify(anna.hash, "three")
    assert anna.scopes == {"query", "retrieve"}
    assert bert.scopes == USUAL_SCOPES
    passwords.set_password(path, "anna", "three", ["query"])
    assert users.entries()["anna"].scopes == {"query"}
    assert passwords.remove_user(path, "anna")
    assert not passwords.remove_user(path, "anna")
    assert list(users.entries()) == ["bert"]


@pytest.mark.usefixtures("cheap")
def test_comments_and_other_lines_stay(tmp_path):
    path = tmp_path / "users"
    path.write_text(f"# ours\nbert:{CHEAP}:admin\n\n", encoding="utf-8")
    passwords.set_password(str(path), "anna", "one")
    assert path.read_text(encoding="utf-8").splitlines()[:2] == ["# ours", f"bert:{CHEAP}:admin"]


@pytest.mark.parametrize("name", ["", "a:b", "a\nb", "#a", " a", "a ", "x" * 200])
def test_names_that_are_none(tmp_path, name):
    with pytest.raises(UsageError):
        passwords.set_password(str(tmp_path / "users"), name, "secret")
    assert list(tmp_path.iterdir()) == []


def test_a_user_may_be_limited_to_studies(tmp_path):
    path = str(tmp_path / "users")
    passwords.set_password(path, "alice", "secret", studies=("1.2.4", "1.2.3"))
    assert passwords.read(path).get("alice")[2:] == (USUAL_SCOPES, {"1.2.3", "1.2.4"})
    passwords.set_password(path, "alice", "other", ("query",))
    assert passwords.read(path).get("alice")[2:] == ({"query"}, {"1.2.3", "1.2.4"})
    passwords.set_password(path, "alice", "other", studies=())
    assert passwords.read(path).get("alice")[2:] == ({"query"}, None)
    with pytest.raises(UsageError):
        passwords.set_password(path, "alice", "other", studies=("x",))
