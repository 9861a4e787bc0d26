"""Requests are let in or refused: with the right status and challenges, a line in the log, and no secret in it."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dcmkit.web import passwords, tokens
from dcmkit.web.authentication import Authenticator
from dcmkit.web.basic import Basic
from dcmkit.web.identity import ALL_SCOPES, AccessError, ForbiddenError, TooManyAttemptsError, UnauthorizedError
from dcmkit.web.links import PARAMETERS, Links, create_secret
from dcmkit.web.tokens import Tokens

HASH = passwords.hash_password("open sesame", cost=4)
SECRET = "a secret that only the issuer and this server know"
PATH = "/studies/1.2.3/metadata"


def basic(name, password):
    return {"authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def bearer(token):
    return {"authorization": f"Bearer {token}"}


GOOD = basic("anna", "open sesame")


@pytest.fixture
def users(tmp_path):
    path = tmp_path / "users"
    path.write_text(f"anna:{HASH}:query,retrieve\n", encoding="utf-8")
    path.chmod(0o600)
    return Basic(str(path))


@pytest.fixture
def token_path(tmp_path):
    return str(tmp_path / "tokens")


@pytest.fixture
def links(tmp_path):
    path = str(tmp_path / "secret")
    create_secret(path)
    return Links(path)


@pytest.fixture
def jwts(tmp_path):
    pytest.importorskip("jwt")
    from dcmkit.web.bearer import JWTRules, JWTs

    path = tmp_path / "jwt"
    path.write_text(SECRET, encoding="utf-8")
    path.chmod(0o600)
    return JWTs(JWTRules(str(path), studies_claim="studies"))


def jwt_token(**claims):
    import jwt

    return jwt.encode({"sub": "carl", "exp": int(time.time()) + 60, **claims}, SECRET, "HS256")


def challenges(error):
    return [value for name, value in error.headers if name == "WWW-Authenticate"]


def test_who_is_known_gets_in(users):
    identity = Authenticator(basic=users).authorize("GET", PATH, ("retrieve",), GOOD, studies=("1.2.3",))
    assert (identity.name, identity.kind) == ("anna", "basic")


@pytest.mark.parametrize("name", ["authorization", "Authorization", "AUTHORIZATION"])
def test_headers_in_any_case(users, name):
    assert Authenticator(basic=users).authorize("GET", PATH, (), {"x": "y", name: GOOD["authorization"]})


@pytest.mark.parametrize("scheme", ["basic", "BASIC", " Basic", "Basic  "])
def test_schemes_in_any_case(users, scheme):
    header = scheme + " " + GOOD["authorization"].partition(" ")[2]
    assert Authenticator(basic=users).authorize("GET", PATH, (), {"authorization": header})


def test_without_credentials_each_way_in_is_named(users, token_path):
    token_of = tokens.create(token_path, "a", ["query"])
    access = Authenticator(basic=users, tokens=Tokens(token_path))
    with pytest.raises(UnauthorizedError) as caught:
        access.authorize("GET", PATH, ("query",), {})
    assert caught.value.http_status == 401
    assert challenges(caught.value) == ['Bearer realm="dcmkit"', 'Basic realm="dcmkit", charset="UTF-8"']
    assert access.authorize("GET", PATH, ("query",), bearer(token_of)).name == "a"


def test_a_bad_token_is_told_so(token_path):
    tokens.create(token_path, "a", ["query"])
    with pytest.raises(UnauthorizedError) as caught:
        Authenticator(tokens=Tokens(token_path)).authorize("GET", PATH, ("query",), bearer("dcmkit_x"))
    assert challenges(caught.value) == ['Bearer realm="dcmkit", error="invalid_token"']


def test_a_missing_scope_is_forbidden(users, token_path):
    token = tokens.create(token_path, "a", ["query"])
    access = Authenticator(basic=users, tokens=Tokens(token_path))
    with pytest.raises(ForbiddenError) as caught:
        access.authorize("DELETE", PATH, ("delete", "query"), bearer(token))
    assert caught.value.http_status == 403
    assert challenges(caught.value) == ['Bearer realm="dcmkit", error="insufficient_scope", scope="query delete"']
    with pytest.raises(ForbiddenError) as caught:
        access.authorize("DELETE", PATH, ("delete",), GOOD)
    assert challenges(caught.value) == []


def test_who_is_guessing_does_not_learn_who_exists(users):
    said = []
    for headers in (basic("anna", "wrong"), basic("nobody", "wrong"), {"authorization": "Basic !"}, {}):
        with pytest.raises(UnauthorizedError) as caught:
            Authenticator(basic=users).authorize("GET", PATH, ("query",), headers)
        said.append((str(caught.value), caught.value.headers))
    assert len(set(said)) == 1


def test_wrong_credentials_are_refused_even_where_none_are_needed(users):
    access = Authenticator(basic=users, anonymous=ALL_SCOPES)
    assert access.is_open
    assert access.authorize("GET", PATH, ("query",), {}).kind == "anonymous"
    with pytest.raises(UnauthorizedError):
        access.authorize("GET", PATH, ("query",), basic("anna", "wrong"))


def test_what_is_open_to_all(users):
    access = Authenticator(basic=users, anonymous=("query",))
    assert not access.is_open
    assert access.authorize("GET", "/studies", ("query",), {}).kind == "anonymous"
    with pytest.raises(UnauthorizedError):
        access.authorize("GET", PATH, ("retrieve",), {})
    assert access.authorize("GET", PATH, ("retrieve",), GOOD).name == "anna"


def test_a_closed_server_without_a_way_in():
    with pytest.raises(ForbiddenError):
        Authenticator().authorize("GET", PATH, ("query",), {})
    with pytest.raises(ForbiddenError):
        Authenticator().authorize("GET", PATH, ("query",), GOOD)


def test_limits_to_studies(token_path):
    token = tokens.create(token_path, "a", ["query", "retrieve"], studies=["1.2.3", "1.2.4"])
    access = Authenticator(tokens=Tokens(token_path))
    headers = bearer(token)
    assert access.authorize("GET", PATH, ("retrieve",), headers, studies=("1.2.3",))
    assert access.authorize("GET", PATH, ("retrieve",), headers, studies=("1.2.3", "1.2.4"))
    for studies in (("1.2.5",), ("1.2.3", "1.2.5")):
        with pytest.raises(ForbiddenError):
            access.authorize("GET", PATH, ("retrieve",), headers, studies=studies)
    with pytest.raises(ForbiddenError, match="name one"):
        access.authorize("GET", "/studies", ("query",), headers)
    identity = access.authorize("GET", "/studies", ("query",), headers, filters=True)
    assert identity.studies == {"1.2.3", "1.2.4"}


def test_links(links, users):
    access = Authenticator(links=links, basic=users)
    query = links.sign("1.2.3", time.time() + 60, ["retrieve"])
    identity = access.authorize("GET", PATH, ("retrieve",), {}, studies=("1.2.3",), query=query)
    assert identity.kind == "link"
    assert access.authorize("GET", PATH, ("query",), GOOD, query=query).name == "anna"
    for needs, study, shown in (
        (("retrieve",), "1.2.4", query),
        (("query",), "1.2.3", query),
        (("retrieve",), "1.2.3", {**query, "linkExpires": "4000000000"}),
        (("retrieve",), "1.2.3", {"linkStudy": "1.2.3"}),
    ):
        with pytest.raises(ForbiddenError) as caught:
            access.authorize("GET", f"/studies/{study}", needs, {}, studies=(study,), query=shown)
        assert challenges(caught.value) == []
    with pytest.raises(UnauthorizedError):
        Authenticator(basic=users).authorize("GET", PATH, ("retrieve",), {}, studies=("1.2.3",), query=query)


def test_jwts(jwts):
    access = Authenticator(jwts=jwts)
    headers = bearer(jwt_token(scope="retrieve", studies=["1.2.3"]))
    assert access.authorize("GET", PATH, ("retrieve",), headers, studies=("1.2.3",)).name == "carl"
    for needs, studies in ((("store",), ("1.2.3",)), (("retrieve",), ("1.2.4",))):
        with pytest.raises(ForbiddenError):
            access.authorize("GET", PATH, needs, headers, studies=studies)


def test_tokens_of_both_kinds(jwts, token_path):
    token = tokens.create(token_path, "a", ["query"])
    access = Authenticator(jwts=jwts, tokens=Tokens(token_path))
    assert access.authorize("GET", PATH, ("query",), bearer(token)).kind == "token"
    assert access.authorize("GET", PATH, ("query",), bearer(jwt_token(scp=["query"]))).kind == "jwt"
    for other in (Authenticator(jwts=jwts), Authenticator(tokens=Tokens(token_path))):
        refused = 0
        for credentials in (token, jwt_token(scp=["query"])):
            try:
                other.authorize("GET", PATH, ("query",), bearer(credentials))
            except UnauthorizedError:
                refused += 1
        assert refused == 1


@pytest.mark.parametrize(
    "header",
    [
        "Basic",
        "Bearer",
        "Bearer ",
        "x",
        " ",
        "Negotiate abc",
        "Digest username=anna",
        "Bearer " + "x" * 10_000,
        "Basic " + "QQ" * 10_000,
        "Bearer " + "dcmkit_" * 1_000,
        "Bearer \udcff\udcfe",
        "Bearer \x00",
        "Basic \u00ff",
        "Bearer a b c",
        "x" * 1_000_000,
        "Bearer " + ("eyJhbGciOiJub25lIn0." + "W1tbW1tb" * 1000),
    ],
)
def test_hostile_headers(users, jwts, token_path, header):
    tokens.create(token_path, "a", ["query"])
    access = Authenticator(basic=users, jwts=jwts, tokens=Tokens(token_path))
    begun = time.process_time()
    with pytest.raises(UnauthorizedError):
        access.authorize("GET", PATH, (), {"authorization": header})
    assert time.process_time() - begun < 1


PIECES = st.one_of(
    st.text(max_size=30),
    st.binary(max_size=30).map(lambda data: base64.urlsafe_b64encode(data).decode()),
    st.dictionaries(st.sampled_from(["alg", "kid", "crit", "exp"]), st.sampled_from(["HS256", "none", 5, [], {}])).map(
        lambda header: base64.urlsafe_b64encode(json.dumps(header).encode()).decode().rstrip("=")
    ),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(
    scheme=st.sampled_from(["Basic ", "Bearer ", "Bearer dcmkit_", ""]),
    pieces=st.lists(PIECES, max_size=4),
    query=st.dictionaries(st.sampled_from(PARAMETERS), st.text(max_size=20)),
)
def test_anything_is_refused(jwts, links, scheme, pieces, query):
    access = Authenticator(jwts=jwts, links=links)
    with pytest.raises(AccessError):
        access.authorize("GET", PATH, ("query",), {"authorization": scheme + ".".join(pieces)}, query=query)


def test_every_refusal_is_logged_without_its_secret(users, jwts, links, token_path, caplog):
    access = Authenticator(basic=users, jwts=jwts, tokens=Tokens(token_path_with_one(token_path)), links=links)
    query = links.sign("1.2.3", time.time() + 60)
    attempts = [
        (basic("anna", "hunter2"), {}, "wrong password of anna"),
        (basic("hunter2", "hunter2"), {}, "unknown user"),
        (bearer("dcmkit_hunter2"), {}, "unknown token"),
        (bearer("hunter2.hunter2.hunter2"), {}, "malformed token"),
        ({"authorization": "hunter2"}, {}, "malformed credentials"),
        ({"authorization": "hunter2 hunter2"}, {}, "of a kind that is not taken here"),
        ({}, {**query, "linkSignature": "hunter2"}, "link with a wrong signature"),
        ({}, {}, "no credentials"),
        (GOOD, {}, "basic anna is not allowed to admin"),
    ]
    for headers, shown, reason in attempts:
        caplog.clear()
        with pytest.raises((UnauthorizedError, ForbiddenError)):
            access.authorize("GET", PATH, ("admin",), headers, query=shown, client="10.0.0.1")
        assert len(caplog.records) == 1
        assert reason in caplog.text
        assert f"GET {PATH} from 10.0.0.1" in caplog.text
        for secret in ("hunter2", base64.b64encode(b"hunter2").decode()[:8], "sesame"):
            assert secret not in caplog.text


def token_path_with_one(path):
    tokens.create(path, "a", ["query"])
    return path


def test_a_path_cannot_forge_lines_of_the_log(users, caplog):
    with pytest.raises(UnauthorizedError):
        Authenticator(basic=users).authorize("GET", "/x\nWARNING all is well" + "y" * 10_000, ("query",), {})
    assert "\\nWARNING" in caplog.text
    assert len(caplog.records[0].getMessage()) < 400


def test_guessing_is_answered_with_429(users):
    access = Authenticator(basic=users)
    for number in range(6):
        with pytest.raises(UnauthorizedError):
            access.authorize("GET", PATH, (), basic("anna", str(number)), client="10.0.0.1")
    with pytest.raises(TooManyAttemptsError) as caught:
        access.authorize("GET", PATH, (), basic("anna", "x"), client="10.0.0.1")
    assert caught.value.http_status == 429
    assert caught.value.headers[0][0] == "Retry-After"
    assert 1 <= int(caught.value.headers[0][1]) <= 2


def test_preflights_come_without_credentials(users):
    access = Authenticator(basic=users)
    headers = {"access-control-request-method": "DELETE"}
    assert not access.authorize("OPTIONS", PATH, ("delete",), headers).scopes
    for method, shown in (("OPTIONS", {}), ("GET", headers)):
        with pytest.raises(UnauthorizedError):
            access.authorize(method, PATH, ("delete",), shown)


def test_what_is_quick(users, jwts):
    access = Authenticator(basic=users, jwts=jwts)
    assert access.is_quick({})
    assert access.is_quick(bearer(jwt_token()))
    assert access.is_quick({"authorization": "Basic !"})
    assert not access.is_quick(GOOD)
    access.authorize("GET", PATH, (), GOOD)
    assert access.is_quick(GOOD)
    assert Authenticator(jwts=jwts).is_quick(GOOD)


def test_optional_libraries_are_imported_by_who_needs_them():
    code = "import sys, dcmkit.web.authentication, dcmkit.web.bearer, dcmkit.web.basic, dcmkit.web.links\n"
    code += "print(sorted({'jwt', 'cryptography', 'bcrypt', 'argon2', 'pydicom', 'starlette'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
