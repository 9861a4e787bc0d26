"""JSON Web Tokens (RFC 7519) as bearer tokens, checked with the keys of a file: a JWK Set (RFC 7517) or a secret.

PyJWT does the checking (the extra `web`). What is decided here is which key may be used with which algorithm: that is
said by the key and by what the server allows, never by the token (RFC 8725 3.1).
"""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from dcmkit.errors import InputError, UsageError
from dcmkit.logs import get_logger
from dcmkit.uids import is_uid
from dcmkit.web.attempts import Remembered
from dcmkit.web.credential_file import LARGEST, WatchedFile, warn_of_readers
from dcmkit.web.identity import ALL_SCOPES, Identity

log = get_logger("web")

ALGORITHMS = (
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
)  # fmt: skip
"""All that can be allowed (RFC 7518 3.1, RFC 8037 3.1); `none` cannot."""

LONGEST = 8192
"""Characters of a token."""

SCOPE_CLAIMS = ("scope", "scp", "permissions")

_MOST_KEYS = 32
_SMALLEST_RSA, _LARGEST_RSA = 2048, 8192
_SECRET_OF = {"HS256": 32, "HS384": 48, "HS512": 64}
"""Bytes a secret must have (RFC 7518 3.2)."""

_CURVES = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512", "Ed25519": "EdDSA"}
_PRIVATE = frozenset(("d", "p", "q", "dp", "dq", "qi", "oth"))
_REMEMBER = 60.0
_WHAT = "key file"


class JWTRules(NamedTuple):
    """What a token must be like.

    Attributes:
        key_file: a JWK Set, or a file with nothing but one shared secret for HS256, HS384, HS512.
        algorithms: those allowed.
        issuer, audience: what `iss` must be and `aud` must have in it; "" for any issuer, and for no audience.
        leeway: seconds that clocks may differ.
        scope_prefix: words of scope claims that begin so count, without it: `dicom.` makes `dicom.query` a query.
        studies_claim: a claim that limits to studies, a list of UIDs or a text; "" for none. A token without the
            claim has no limit.
    """

    key_file: str
    algorithms: tuple[str, ...] = ALGORITHMS
    issuer: str = ""
    audience: str = ""
    leeway: float = 30.0
    scope_prefix: str = ""
    studies_claim: str = ""


class _Key(NamedTuple):
    """A key, and the algorithms it may be used with."""

    kid: str
    algorithms: frozenset[str]
    key: Any


class _Good(NamedTuple):
    """A token that was good, with these keys."""

    identity: Identity
    expires: float
    keys: tuple[_Key, ...]


class JWTs:
    """Tells who a token stands for.

    Raises:
        InputError: the key file cannot be read.
        UsageError: it holds no key that fits, an algorithm is unknown, or PyJWT is not installed.
    """

    def __init__(self, rules: JWTRules) -> None:
        unknown = [name for name in rules.algorithms if name not in ALGORITHMS]
        if unknown or not rules.algorithms:
            raise UsageError(f"{', '.join(unknown) or 'nothing'} is no algorithm for tokens that can be allowed")
        _require_library()
        self._rules = rules
        self._good: Remembered[_Good] = Remembered(_REMEMBER)
        self._keys: WatchedFile[tuple[_Key, ...]] = WatchedFile(rules.key_file, self._load, ())
        self._options: dict[str, Any] = {"require": ["exp"]}
        self._options["require"] += ["iss"] * bool(rules.issuer) + ["aud"] * bool(rules.audience)
        if any(key.algorithms & _SECRET_OF.keys() for key in self._keys.current()):
            warn_of_readers(rules.key_file, _WHAT)

    def identify(self, token: str) -> tuple[Identity | None, str]:
        """Who it stands for; or None, and what is wrong with it."""
        if len(token) > LONGEST:
            return None, "token too long"
        keys = self._keys.current()
        known = self._good.get(token)
        if known is not None and known.keys is keys and known.expires > time.time():
            return known.identity, ""
        claims, wrong = self._verify(token, keys)
        if claims is None:
            return None, wrong
        identity = self._identity(claims)
        if identity is None:
            return None, f"malformed claim {self._rules.studies_claim}"
        self._good.put(_Good(identity, float(claims["exp"]) + self._rules.leeway, keys), token)
        return identity, ""

    def _verify(self, token: str, keys: tuple[_Key, ...]) -> tuple[dict[str, Any] | None, str]:
        import jwt

        try:
            header = jwt.get_unverified_header(token)
        except Exception:  # a stranger's bytes in somebody else's code: whatever it says, the answer is no
            return None, "malformed token"
        algorithm, kid = header.get("alg"), header.get("kid", "")
        if not isinstance(algorithm, str) or algorithm not in self._rules.algorithms:
            return None, "algorithm not allowed"
        if "crit" in header or "b64" in header or not isinstance(kid, str):
            return None, "header not understood"
        fitting = [key for key in keys if algorithm in key.algorithms and kid in ("", key.kid)]
        for key in fitting or [key for key in keys if algorithm in key.algorithms and not key.kid]:
            try:
                return self._decode(token, key.key, algorithm), ""
            except jwt.InvalidSignatureError:
                continue
            except Exception as error:
                return None, _reason(error)
        return None, "wrong signature" if fitting else "no key for it"

    def _decode(self, token: str, key: Any, algorithm: str) -> dict[str, Any]:
        import jwt

        rules = self._rules
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            issuer=rules.issuer or None,
            audience=rules.audience or None,
            leeway=rules.leeway,
            options=self._options,
        )
        float(claims["exp"])  # a number by now; what is too large for one is no date
        return claims

    def _identity(self, claims: dict[str, Any]) -> Identity | None:
        studies = _studies(claims, self._rules.studies_claim)
        if studies is not None and not all(is_uid(uid) for uid in studies):
            return None
        subject = claims.get("sub")
        name = subject[:128] if isinstance(subject, str) and subject else "-"
        return Identity(name, "jwt", _scopes(claims, self._rules.scope_prefix), studies)

    def _load(self, _: bool) -> tuple[_Key, ...]:
        path = self._rules.key_file
        content = _read(path)
        keys = _shared_secret(content, path) if not content.lstrip().startswith(b"{") else _key_set(content, path)
        allowed = frozenset(self._rules.algorithms)
        usable = tuple(key._replace(algorithms=key.algorithms & allowed) for key in keys if key.algorithms & allowed)
        if not usable:
            raise UsageError(f"{_WHAT} {path} has no key for any of {', '.join(self._rules.algorithms)}")
        return usable


def _require_library() -> None:
    try:
        import jwt  # noqa: F401
    except ImportError:
        raise UsageError("JWTs need the package PyJWT", hint="pip install 'dcmkit[web]'") from None


def _reason(error: Exception) -> str:
    import jwt

    for kind, said in (
        (jwt.ExpiredSignatureError, "expired token"),
        (jwt.ImmatureSignatureError, "token of the future"),
        (jwt.MissingRequiredClaimError, "claim missing"),
        (jwt.InvalidIssuerError, "other issuer"),
        (jwt.InvalidAudienceError, "other audience"),
    ):
        if isinstance(error, kind):
            return said
    return "malformed token"


def _scopes(claims: dict[str, Any], prefix: str) -> frozenset[str]:
    words: set[str] = set()
    for name in SCOPE_CLAIMS:
        claim = claims.get(name)
        if isinstance(claim, str):
            words.update(claim.split())
        elif isinstance(claim, list):
            words.update(word for word in claim if isinstance(word, str))
    return frozenset(word.removeprefix(prefix) for word in words if word.startswith(prefix)) & ALL_SCOPES


def _studies(claims: dict[str, Any], name: str) -> frozenset[str] | None:
    """The limit; with something that is no UID in it where the claim is not what it must be."""
    if not name or name not in claims:
        return None
    claim = claims[name]
    listed = claim.replace(",", " ").split() if isinstance(claim, str) else claim
    return (
        frozenset(uid if isinstance(uid, str) else "" for uid in listed) if isinstance(listed, list) else frozenset("-")
    )


# --- keys --------------------------------------------------------------------------------------------------------


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST + 1)
    except OSError as error:
        raise InputError(f"{_WHAT} {path} cannot be read: {error.strerror or error}") from None
    if len(content) > LARGEST:
        raise InputError(f"{_WHAT} {path} has more than {LARGEST} bytes")
    return content


def _shared_secret(content: bytes, path: str) -> list[_Key]:
    secret = content.rstrip(b"\r\n")
    if b"-----BEGIN" in secret:
        raise UsageError(f"{_WHAT} {path} is PEM", hint="public keys come as a JWK Set; a PEM file is no shared secret")
    if len(secret) < _SECRET_OF["HS256"]:
        raise UsageError(f"{_WHAT} {path} is neither a JWK Set nor a secret of {_SECRET_OF['HS256']} bytes or more")
    return [_Key("", _algorithms_of_secret(secret), secret)]


def _key_set(content: bytes, path: str) -> list[_Key]:
    import json

    try:
        keys = json.loads(content).get("keys")
    except (ValueError, RecursionError, AttributeError):
        keys = None
    if not isinstance(keys, list) or len(keys) > _MOST_KEYS or not all(isinstance(key, dict) for key in keys):
        raise UsageError(f"{_WHAT} {path} is not a JWK Set of up to {_MOST_KEYS} keys")
    found = []
    for number, data in enumerate(keys, 1):
        try:
            key = _key(data)
        except UsageError as error:
            log.warning("%s %s, key %d is left out: %s", _WHAT, path, number, error)
            continue
        found.append(key)
    return found


def _key(data: dict[str, Any]) -> _Key:
    """One JWK (RFC 7517 4), its public part only, with the algorithms that its kind allows, and `alg` if it has one.

    Raises:
        UsageError: it is not for signatures, of an unknown kind, too small, or malformed.
    """
    import jwt

    operations = data.get("key_ops", ["verify"])
    if data.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        raise UsageError("not for checking signatures")
    kind, curve = data.get("kty"), data.get("crv")
    if kind == "RSA":
        possible = frozenset(name for name in ALGORITHMS if name[:2] in ("RS", "PS"))
    elif kind in ("EC", "OKP") and isinstance(curve, str) and curve in _CURVES:
        possible = frozenset((_CURVES[curve],))
    elif kind == "oct":
        possible = frozenset(_SECRET_OF)
    else:
        raise UsageError("of a kind that is not known here")
    if "alg" in data:
        possible &= frozenset((str(data["alg"]),))
    if not possible:
        raise UsageError("for an algorithm that is not of its kind")
    public = {name: value for name, value in data.items() if name not in _PRIVATE}
    try:
        key = jwt.PyJWK.from_dict(public, sorted(possible)[0]).key
    except Exception as error:
        hint = "pip install 'dcmkit[web]'" if "cryptography" in str(error) else ""
        raise UsageError("it cannot be read", hint=hint) from None
    if kind == "oct":
        possible &= _algorithms_of_secret(key)
    if not possible or (kind == "RSA" and not _SMALLEST_RSA <= key.key_size <= _LARGEST_RSA):
        raise UsageError("too small or too large")
    kid = data.get("kid", "")
    return _Key(kid if isinstance(kid, str) else "", possible, key)


def _algorithms_of_secret(secret: bytes) -> frozenset[str]:
    return frozenset(name for name, size in _SECRET_OF.items() if len(secret) >= size)
