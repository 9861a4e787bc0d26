"""JWTs: whatever a token says, the key and the server's rules decide."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import sys
import time

import pytest

from dcmkit.errors import InputError, UsageError
from dcmkit.web import bearer
from dcmkit.web.bearer import JWTRules, JWTs

jwt = pytest.importorskip("jwt")
pytest.importorskip("cryptography")

from cryptography.hazmat.primitives import serialization  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa  # noqa: E402

SECRET = "a secret that only the issuer and this server know, 64 bytes and more"
RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
OTHER_RSA = rsa.generate_private_key(65537, 2048)


def jwk(key, **more):
    """The public half of a key."""
    algorithm = {
        rsa.RSAPrivateKey: jwt.algorithms.RSAAlgorithm,
        ec.EllipticCurvePrivateKey: jwt.algorithms.ECAlgorithm,
        ed25519.Ed25519PrivateKey: jwt.algorithms.OKPAlgorithm,
    }
    kind = next(value for cls, value in algorithm.items() if isinstance(key, cls))
    return {**kind.to_jwk(key.public_key(), as_dict=True), "key_ops": ["verify"], **more}


def oct_key(secret=SECRET, **more):
    return {"kty": "oct", "k": base64.urlsafe_b64encode(secret.encode()).decode().rstrip("="), **more}


@pytest.fixture
def server(tmp_path):
    """Makes a server that believes these keys."""

    def make(*keys, **rules):
        path = tmp_path / "keys.json"
        path.write_text(json.dumps({"keys": list(keys)}), encoding="utf-8")
        path.chmod(0o600)
        return JWTs(JWTRules(str(path), **rules))

    return make


def claims(**more):
    now = int(time.time())
    return {"sub": "anna", "iat": now, "exp": now + 60, "scope": "query retrieve", **more}


def signed(key=SECRET, algorithm="HS256", headers=None, **more):
    return jwt.encode({k: v for k, v in claims(**more).items() if v is not None}, key, algorithm, headers)


def raw(header, payload=b"{}", signature=b""):
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (header, payload, signature))


@pytest.mark.parametrize(
    ("public", "private", "algorithms"),
    [
        (oct_key(), SECRET, ["HS256", "HS384", "HS512"]),
        (jwk(RSA), RSA, ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]),
        (jwk(EC), EC, ["ES256"]),
        (jwk(ED), ED, ["EdDSA"]),
    ],
)
def test_all_algorithms_of_a_key(server, public, private, algorithms):
    tokens = server(public)
    for algorithm in algorithms:
        identity, wrong = tokens.identify(signed(private, algorithm))
        assert (identity, wrong) == (("anna", "jwt", frozenset(("query", "retrieve")), None), "")


def test_a_shared_secret_alone(tmp_path):
    path = tmp_path / "secret"
    path.write_text(SECRET + "\n", encoding="utf-8")
    tokens = JWTs(JWTRules(str(path)))
    assert tokens.identify(signed())[0].name == "anna"
    assert tokens.identify(signed("x" * 64)) == (None, "wrong signature")


def test_algorithm_none(server):
    tokens = server(oct_key(), jwk(RSA))
    for name in ("none", "None", "NONE", "nOnE", ""):
        header = json.dumps({"alg": name, "typ": "JWT"}).encode()
        assert tokens.identify(raw(header, json.dumps(claims()).encode())) == (None, "algorithm not allowed")
    with pytest.raises(UsageError, match="no algorithm"):
        server(oct_key(), algorithms=("none",))


def test_a_public_key_is_never_a_secret(server):
    """RFC 8725 2.1: HS256 with the public key as its secret."""
    tokens = server(jwk(RSA, kid="1"))
    public = RSA.public_key()
    form = serialization.PublicFormat
    for encoding, layout in (
        (serialization.Encoding.PEM, form.SubjectPublicKeyInfo),
        (serialization.Encoding.DER, form.SubjectPublicKeyInfo),
        (serialization.Encoding.PEM, form.PKCS1),
    ):
        secret = public.public_bytes(encoding, layout)
        body = raw(b'{"alg":"HS256","kid":"1"}', json.dumps(claims()).encode()).rpartition(".")[0]
        digest = hmac.digest(secret, body.encode(), hashlib.sha256)
        token = f"{body}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"
        assert tokens.identify(token) == (None, "no key for it")


def test_a_pem_file_is_no_shared_secret(tmp_path):
    path = tmp_path / "public.pem"
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    path.write_bytes(RSA.public_key().public_bytes(serialization.Encoding.PEM, form))
    with pytest.raises(UsageError, match="is PEM"):
        JWTs(JWTRules(str(path)))


def test_only_what_the_server_allows(server):
    tokens = server(jwk(RSA), jwk(EC), algorithms=("ES256",))
    assert tokens.identify(signed(EC, "ES256"))[0]
    assert tokens.identify(signed(RSA, "RS256")) == (None, "algorithm not allowed")


def test_only_what_the_key_is_for(server):
    tokens = server(jwk(RSA, alg="RS512"))
    assert tokens.identify(signed(RSA, "RS512"))[0]
    assert tokens.identify(signed(RSA, "RS256"))[0] is None


def test_keys_by_their_id(server):
    tokens = server(jwk(RSA, kid="1"), jwk(OTHER_RSA, kid="2"))
    assert tokens.identify(signed(OTHER_RSA, "RS256", {"kid": "2"}))[0]
    assert tokens.identify(signed(OTHER_RSA, "RS256"))[0], "without one all are tried"
    assert tokens.identify(signed(OTHER_RSA, "RS256", {"kid": "1"})) == (None, "wrong signature")
    assert tokens.identify(signed(OTHER_RSA, "RS256", {"kid": "3"})) == (None, "no key for it")


def test_keys_that_change(server, tmp_path):
    tokens = server(jwk(RSA))
    token = signed(RSA, "RS256")
    assert tokens.identify(token)[0]
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [jwk(OTHER_RSA)]}), encoding="utf-8")
    assert tokens.identify(token) == (None, "wrong signature")
    (tmp_path / "keys.json").unlink()
    assert tokens.identify(token) == (None, "no key for it")


@pytest.mark.parametrize(
    ("more", "wrong"),
    [
        ({"exp": 1}, "expired token"),
        ({"exp": None}, "claim missing"),
        ({"exp": "soon"}, "malformed token"),
        ({"exp": float("inf")}, "malformed token"),
        ({"exp": float("nan")}, "malformed token"),
        ({"exp": [1]}, "malformed token"),
        ({"nbf": 4_000_000_000}, "token of the future"),
        ({"iat": 4_000_000_000}, "token of the future"),
        ({"aud": "somebody else"}, "other audience"),
    ],
)
def test_claims_that_are_wrong(server, more, wrong):
    assert server(oct_key()).identify(signed(**more)) == (None, wrong)


def test_leeway(server):
    now = int(time.time())
    assert server(oct_key()).identify(signed(exp=now - 10, nbf=now + 10, iat=now + 10))[0]
    assert server(oct_key(), leeway=0).identify(signed(exp=now - 10))[0] is None
    assert server(oct_key(), leeway=0).identify(signed(nbf=now + 10))[0] is None
    assert server(oct_key(), leeway=0).identify(signed(iat=now + 10))[0] is None


def test_issuer_and_audience(server):
    tokens = server(oct_key(), issuer="https://issuer.example", audience="dcmkit")
    good = {"iss": "https://issuer.example", "aud": ["other", "dcmkit"]}
    assert tokens.identify(signed(**good))[0]
    assert tokens.identify(signed(**{**good, "iss": "https://evil.example"})) == (None, "other issuer")
    assert tokens.identify(signed(**{**good, "aud": ["other"]})) == (None, "other audience")
    for name in good:
        assert tokens.identify(signed(**{**good, name: None})) == (None, "claim missing")


@pytest.mark.parametrize(
    ("more", "scopes"),
    [
        ({"scope": "query openid profile"}, {"query"}),
        ({"scope": None, "scp": ["query", "store"]}, {"query", "store"}),
        ({"scope": None, "scp": "query store"}, {"query", "store"}),
        ({"scope": None, "permissions": ["delete", 5, None]}, {"delete"}),
        ({"scope": "query", "permissions": ["admin"]}, {"query", "admin"}),
        ({"scope": "all"}, set()),
        ({"scope": {"query": 1}}, set()),
        ({"scope": None}, set()),
    ],
)
def test_scopes(server, more, scopes):
    assert server(oct_key()).identify(signed(**more))[0].scopes == scopes


def test_scopes_with_a_prefix(server):
    tokens = server(oct_key(), scope_prefix="dicom.")
    assert tokens.identify(signed(scope="dicom.query store"))[0].scopes == {"query"}


@pytest.mark.parametrize(
    ("claim", "studies"),
    [(["1.2", "1.3"], {"1.2", "1.3"}), ("1.2,1.3", {"1.2", "1.3"}), ("1.2 1.3", {"1.2", "1.3"}), ([], set())],
)
def test_studies(server, claim, studies):
    assert server(oct_key(), studies_claim="studies").identify(signed(studies=claim))[0].studies == studies
    assert server(oct_key()).identify(signed(studies=claim))[0].studies is None


@pytest.mark.parametrize("claim", [5, {"a": 1}, [5], ["../1"], [["1.2"]], "x", True])
def test_studies_that_are_none_let_nobody_in(server, claim):
    tokens = server(oct_key(), studies_claim="studies")
    assert tokens.identify(signed(studies=claim)) == (None, "malformed claim studies")
    assert tokens.identify(signed())[0].studies is None


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "a.b.c",
        "a.b.c.d",
        "\u00e9.\u00e9.\u00e9",
        "\ud800..",
        raw(b"\xff\xfe"),
        raw(b"[]"),
        raw(b'"HS256"'),
        raw(b"5"),
        raw(b"[" * 5000),
        raw(b'{"alg":' + b'{"a":' * 1000),
        raw(b'{"alg":["HS256"]}'),
        raw(b'{"alg":{}}'),
        raw(b'{"alg":"HS256","kid":5}'),
        raw(b'{"alg":"HS256","kid":null}'),
        raw(b'{"alg":"HS256","crit":["x"],"x":1}'),
        raw(b'{"alg":"HS256","b64":false,"crit":["b64"]}'),
        raw(b'{"alg":"HS256"}', b"[" * 5000),
        raw(b'{"alg":"HS256","jku":"http://127.0.0.1/keys","jwk":{"kty":"oct","k":"AA"}}'),
        "x" * 10000,
    ],
)
def test_hostile_tokens(server, token):
    identity, wrong = server(oct_key(), jwk(RSA)).identify(token)
    assert identity is None
    assert wrong
    assert len(wrong) < 40


@pytest.mark.parametrize("payload", [b"[" * 5000, b"5", b"[]", b"\xff", b"", b"null", b'{"exp":1e400}', b'{"a":' * 900])
def test_what_is_signed_is_not_believed_blindly(server, payload):
    token = jwt.api_jws.encode(payload, SECRET, "HS256")
    assert server(oct_key()).identify(token) == (None, "malformed token") or b"exp" in payload


def test_a_good_token_is_checked_once(server, tmp_path, monkeypatch):
    tokens = server(oct_key())
    os.utime(tmp_path / "keys.json", (1_700_000_000, 1_700_000_000))
    tokens.identify("x")  # reads the file again: it was too new to be sure of
    token = signed()
    assert tokens.identify(token)[0]
    monkeypatch.setattr(bearer.JWTs, "_verify", lambda *_: pytest.fail("checked again"))
    assert tokens.identify(token)[0]


def test_a_token_expires_although_it_is_remembered(server, monkeypatch):
    tokens = server(oct_key(), leeway=0)
    token = signed()
    assert tokens.identify(token)[0]
    later = time.time() + 61
    monkeypatch.setattr(time, "time", lambda: later)
    monkeypatch.setattr(bearer.JWTs, "_verify", lambda *_: (None, "checked again"))
    assert tokens.identify(token) == (None, "checked again")


@pytest.mark.parametrize(
    "key",
    [
        {},
        {"kty": "oct"},
        {"kty": 5},
        {"kty": "EC", "crv": ["P-256"]},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
        oct_key("too short"),
        oct_key(use="enc"),
        oct_key(key_ops=["sign"]),
        oct_key(key_ops=5),
        oct_key(alg="RS256"),
        jwk(RSA, alg="HS256"),
        jwk(rsa.generate_private_key(65537, 1024)),
    ],
)
def test_keys_that_are_left_out(server, key, caplog):
    assert server(key, jwk(EC)).identify(signed(EC, "ES256"))[0]
    assert "key 1 is left out" in caplog.text
    with pytest.raises(UsageError, match="has no key"):
        server(key)


def test_private_halves_are_not_used(server):
    private = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(RSA))
    tokens = server({**private, "key_ops": ["verify"]})
    assert tokens.identify(signed(RSA, "RS256"))[0]
    assert not hasattr(tokens._keys.current()[0].key, "private_numbers")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"short",
        b"{",
        b"{}",
        b'{"keys":5}',
        b'{"keys":[5]}',
        b'{"keys":[]}',
        b'{"keys":' + b"[" * 100000,
        b"{\xff}",
    ],
)
def test_files_that_hold_no_keys(tmp_path, content):
    path = tmp_path / "keys.json"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"key file .*keys\.json"):
        JWTs(JWTRules(str(path)))


def test_too_many_keys_and_no_file(server, tmp_path):
    with pytest.raises(UsageError, match="up to 32 keys"):
        server(*[oct_key()] * 33)
    with pytest.raises(InputError, match="cannot be read"):
        JWTs(JWTRules(str(tmp_path / "none")))


def test_without_the_library(server, monkeypatch):
    monkeypatch.setitem(sys.modules, "jwt", None)
    with pytest.raises(UsageError, match=r"pip install 'dcmkit\[web\]'"):
        server(oct_key())
